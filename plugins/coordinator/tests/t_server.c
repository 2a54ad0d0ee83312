/*
 * The server over loopback, with the toolkit's own client side as its clients: key, upgrade, Noise,
 * registration, map streams and what they are told; and what is refused.
 */
#include "clients.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void maps_and_deltas(void **state)
{
	struct client a, b;
	json_t *o, *node, *peers;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, true);
	node = map_with(&a, "Node");
	assert_string_equal(json_string_value(json_object_get(node, "Name")),
			    "laptop.tail.example.com.");

	stream(&b, false);
	o = next_map(&b);
	node = json_object_get(o, "Node");
	peers = json_object_get(o, "Peers");
	assert_string_equal(json_string_value(json_object_get(node, "Name")),
			    "db.tail.example.com.");
	assert_int_equal(json_array_size(peers), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(peers, 0), "Name")),
			    "laptop.tail.example.com.");
	assert_int_equal(json_array_size(json_object_get(json_object_get(o, "PacketFilters"),
							 "base")), 1);
	assert_int_equal(json_array_size(json_object_get(o, "UserProfiles")), 2);
	json_decref(o);

	/* It came online while the other one listened. */
	node = json_array_get(map_with(&a, "PeersChangedPatch"), 0);
	assert_true(json_is_true(json_object_get(node, "Online")));

	/* Its endpoints come by a lite update, and reach the other as a patch. */
	lite(&b, ",\"DiscoKey\":\"discokey:00000000000000000000000000000000"
		 "00000000000000000000000000000005\",\"Endpoints\":[\"192.0.2.7:41641\"],"
		 "\"EndpointTypes\":[1],\"Hostinfo\":{\"Hostname\":\"db\","
		 "\"OS\":\"linux\",\"NetInfo\":{\"PreferredDERP\":7}}");
	do {
		node = json_array_get(map_with(&a, "PeersChangedPatch"), 0);
	} while (!json_object_get(node, "Endpoints"));
	assert_string_equal(json_string_value(json_array_get(json_object_get(node, "Endpoints"),
							     0)), "192.0.2.7:41641");
	assert_int_equal(json_integer_value(json_object_get(node, "DERPRegion")), 7);

	/* One that has endpoints and no such key does without discovery: the others are told. */
	lite(&a, ",\"Endpoints\":[\"192.0.2.8:41641\"]");
	node = json_array_get(map_with(&b, "PeersChanged"), 0);
	assert_true(json_is_true(json_object_get(node, "IsWireGuardOnly")));

	/* A policy without the rule takes it away. */
	assert_int_equal(coord_view_policy(&coord, "{\"acls\": []}", 12, NULL), 0);
	assert_int_equal(json_array_size(map_with(&a, "PeersRemoved")), 1);
	o = map_with(&b, "PacketFilters");
	assert_int_equal(json_array_size(json_object_get(o, "base")), 0);
	assert_int_equal(coord_view_policy(&coord, "{\"a\": []}", 9, NULL), -EINVAL);
	client_end(&a);
	client_end(&b);
}

/* What is as it was is not told again, whatever made us look. */
static void only_what_differs(void **state)
{
	struct client a, b;
	const struct tailnet_user *user;
	json_t *o, *profile;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, true);
	assert_non_null(map_with(&a, "DNSConfig"));
	assert_non_null(map_with(&b, "DNSConfig"));
	assert_non_null(map_with(&a, "PeersChangedPatch"));	/* the other one came online */
	assert_int_equal(coord_view_policy(&coord, clients_policy,
					   strlen(clients_policy), NULL), 0);
	user = tailnet_user_by_login(coord.tailnet, "alice");
	act((struct tailnet_act){ .verb = TAILNET_USER_RENAME, .user = user->id, .text = "eve" });
	while ((o = next_map(&a)) && !json_object_get(o, "UserProfiles")) {
		assert_null(json_object_get(o, "Node"));
		assert_null(json_object_get(o, "PacketFilters"));
		json_decref(o);
	}
	assert_int_equal(json_array_size(json_object_get(o, "UserProfiles")), 1);
	profile = json_array_get(json_object_get(o, "UserProfiles"), 0);
	assert_string_equal(json_string_value(json_object_get(profile, "LoginName")), "eve");
	assert_null(json_object_get(o, "Node"));
	assert_null(json_object_get(o, "PacketFilters"));
	assert_null(json_object_get(o, "DNSConfig"));
	json_decref(o);
	profile = json_array_get(map_with(&b, "UserProfiles"), 0);
	assert_string_equal(json_string_value(json_object_get(profile, "LoginName")), "eve");
	client_end(&a);
	client_end(&b);
}

/* A node that was given a new key: its streams end, others get the key with what belongs to it. */
static void another_key(void **state)
{
	struct client a, b;
	json_t *o, *patch;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, false);
	assert_non_null(map_with(&a, "DNSConfig"));
	assert_non_null(map_with(&b, "DNSConfig"));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .reusable = true, .user =
		tailnet_user_by_login(coord.tailnet, "alice")->id });
	warren_private_new(&a.node);
	warren_private_public(&a.node, a.node_key);
	o = do_register(&a, "Laptop", secret, "");
	assert_true(json_is_true(json_object_get(o, "MachineAuthorized")));
	json_decref(o);
	do {
		patch = json_array_get(map_with(&b, "PeersChangedPatch"), 0);
	} while (!json_object_get(patch, "Key"));
	assert_string_equal(json_string_value(json_object_get(patch, "Key")), key_text(a.node_key));
	assert_non_null(json_object_get(patch, "DiscoKey"));
	assert_non_null(json_object_get(patch, "Endpoints"));
	assert_non_null(json_object_get(patch, "KeyExpiry"));
	(void)map_with(&a, "-");
	assert_null(a.stream);
	client_end(&a);
	client_end(&b);
}

static void count_registered(void *arg, const struct tailnet_registered *answer)
{
	assert_int_equal(answer->as, TAILNET_REGISTERED);
	++*(uint32_t *)arg;
}

/* Ids of peers that a message adds, into @seen; how many are new. */
static uint32_t see_peers(const json_t *list, bool *seen, size_t max)
{
	uint32_t added = 0;
	int64_t before = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		int64_t id = json_integer_value(json_object_get(json_array_get(list, i), "ID"));

		assert_true(id > before && (size_t)id < max);
		added += !seen[id];
		seen[id] = true;
		before = id;
	}
	return added;
}

/* More come at once than a stream remembers one by one. */
static void many_at_once(void **state)
{
	enum { MANY = 700 };
	static const char *const tags[] = { "tag:db" };
	static bool seen[MANY + 10];
	struct tailnet_register reg = { .hostname = "db", .auth_key = secret, .capver = 137 };
	uint32_t registered = 0, told = 0;
	struct client a;
	json_t *o;

	(void)state;
	memset(seen, 0, sizeof(seen));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .reusable = true, .user = act(
		(struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "alice" }) });
	join_as(&a, "watcher");
	stream(&a, true);
	assert_non_null(map_with(&a, "DNSConfig"));
	act((struct tailnet_act){ .verb = TAILNET_KEY_CREATE, .strings = tags, .n_strings = 1,
				  .reusable = true });
	for (int i = 0; i < MANY; i++) {
		randombytes_buf(reg.machine_key, 32);
		randombytes_buf(reg.node_key, 32);
		assert_non_null(tailnet_register(coord.tailnet, &reg, count_registered,
						 &registered));
	}
	while (told < MANY) {
		o = next_map(&a);
		assert_non_null(o);
		told += see_peers(json_object_get(o, "Peers"), seen, MANY + 10);
		told += see_peers(json_object_get(o, "PeersChanged"), seen, MANY + 10);
		json_decref(o);
	}
	for (int i = 0; i < 1000 && registered < MANY; i++)
		parts_settle(engine);
	assert_int_equal(registered, MANY);
	client_end(&a);
}

static int held_back(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	(void)data;
	*(size_t *)arg += len;
	return WARREN_PENDING;		/* and never resumed: its window closes */
}

static void gone(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

/* Big enough that some of them fill what the server holds for one that does not read. */
static void news(struct client *b, uint32_t round)
{
	struct str info = STR_INIT;

	str_addf(&info, ",\"Hostinfo\":{\"Hostname\":\"db\",\"Location\":{\"City\":\"%u", round);
	for (uint32_t i = 0; i < 7000; i++)
		str_addf(&info, "%08x", randombytes_random());
	str_add(&info, "\"}}");
	lite(b, str_text(&info));
	str_free(&info);
}

/* A client that reads nothing: what is held for it is bounded, and after a while it goes. */
static void who_does_not_read_goes(void **state)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .body = held_back, .failed = gone,
	};
	const struct tailnet_node *node;
	struct client a, b;
	size_t got = 0, before, most = 0;
	char body[256];
	int64_t id;

	(void)state;
	coord.stuck = 300000;
	two_kinds_of_nodes(&a, &b);
	id = tailnet_node_by_key(coord.tailnet, a.node_key)->id;
	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true}",
		 key_text(a.node_key));
	post(&a, "/machine/map", body, &events, &got);
	for (uint32_t i = 0; i < 400; i++) {
		news(&b, i);
		before = coord_streams_pending(&coord, id);
		most = before > most ? before : most;
		node = tailnet_node(coord.tailnet, id);
		if (i > 10 && node->live.sessions == 0)
			break;
		usleep(20000);
	}
	assert_true(got > 0);
	assert_true(most > 1 << 20);	/* it was behind */
	assert_true(most < 3 << 20);	/* and no more was kept for it */
	for (int i = 0; i < 2000 && tailnet_node(coord.tailnet, id)->live.sessions > 0; i++) {
		parts_settle(engine);
		usleep(1000);
	}
	assert_int_equal(tailnet_node(coord.tailnet, id)->live.sessions, 0);
	client_end(&a);
	client_end(&b);
}

static void assert_no_peers(const json_t *o)
{
	assert_non_null(o);
	assert_null(json_object_get(o, "PeersChanged"));
	assert_null(json_object_get(o, "PeersRemoved"));
	assert_null(json_object_get(o, "PeersChangedPatch"));
}

/* Who asked for no peers is told of none, whatever happens to them. */
static void without_peers(void **state)
{
	struct client a, b;
	json_t *o;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream_as(&a, ",\"OmitPeers\":true");
	o = next_map(&a);
	assert_non_null(json_object_get(o, "Node"));
	assert_null(json_object_get(o, "Peers"));
	json_decref(o);
	lite(&b, ",\"Hostinfo\":{\"Hostname\":\"db\",\"OS\":\"plan9\"}");
	stream(&b, true);
	assert_non_null(map_with(&b, "Peers"));
	assert_int_equal(coord_view_policy(&coord, "{\"acls\": []}", 12, NULL), 0);
	act((struct tailnet_act){ .verb = TAILNET_USER_RENAME, .text = "eve",
		.user = tailnet_user_by_login(coord.tailnet, "alice")->id });
	while ((o = next_map(&a)) && !json_object_get(o, "UserProfiles")) {
		assert_no_peers(o);
		json_decref(o);
	}
	assert_no_peers(o);
	json_decref(o);
	client_end(&a);
	client_end(&b);
}

/* What a posture judges is known before there is one. */
static void the_first_posture(void **state)
{
	static const char text[] =
		"{\"tagOwners\": {\"tag:db\": []}, \"postures\": {\"posture:p\": "
		"[\"node:os == 'plan9'\"]}, \"grants\": [{\"src\": [\"tag:db\"], \"srcPosture\": "
		"[\"posture:p\"], \"dst\": [\"autogroup:member\"], \"ip\": [\"*\"]}]}";
	struct client a, b;
	int64_t laptop, db;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	laptop = tailnet_node_by_name(coord.tailnet, "laptop")->id;
	db = tailnet_node_by_name(coord.tailnet, "db")->id;
	lite(&b, ",\"Hostinfo\":{\"Hostname\":\"db\",\"OS\":\"plan9\"}");
	assert_int_equal(coord_view_policy(&coord, text, strlen(text), NULL), 0);
	assert_true(policy_world_sees(coord.world, laptop, db));
	lite(&b, ",\"Hostinfo\":{\"Hostname\":\"db\",\"OS\":\"linux\"}");
	assert_false(policy_world_sees(coord.world, laptop, db));
	client_end(&a);
	client_end(&b);
}

static void deleted(void **state)
{
	struct client a, b;
	const struct tailnet_node *node;
	json_t *o;

	(void)state;
	two_kinds_of_nodes(&a, &b);
	stream(&a, false);
	stream(&b, false);
	assert_non_null(map_with(&a, "Node"));
	assert_non_null(map_with(&b, "Node"));
	node = tailnet_node_by_name(coord.tailnet, "db");
	act((struct tailnet_act){ .verb = TAILNET_NODE_DELETE, .node = node->id });
	assert_int_equal(json_array_size(map_with(&a, "PeersRemoved")), 1);
	do {				/* it is told to log in, */
		o = map_with(&b, "Node");
	} while (!json_object_get(o, "Expired"));
	assert_true(strcmp(json_string_value(json_object_get(o, "KeyExpiry")), "2026") > 0);
	(void)map_with(&b, "-");
	assert_null(b.stream);		/* it has to come again, and is not known then */
	{
		char body[256];

		snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true}",
			 key_text(b.node_key));
		o = ask(&b, "/machine/map", body, 404);
		assert_string_equal(json_string_value(o), "node not found\n");
		json_decref(o);
	}
	client_end(&a);
	client_end(&b);
}

static void by_link(void **state)
{
	struct client a;
	const struct tailnet_pending *pending;
	uint32_t pos = 0;
	int64_t user = act((struct tailnet_act){ .verb = TAILNET_USER_CREATE, .text = "bob" });
	json_t *o;
	char rest[300];

	(void)state;
	connect_client(&a);
	o = do_register(&a, "phone", NULL, "");
	assert_true(str_starts(json_string_value(json_object_get(o, "AuthURL")), coord.url));
	snprintf(rest, sizeof(rest), ",\"Followup\":\"%s\"",
		 json_string_value(json_object_get(o, "AuthURL")));
	json_decref(o);
	pending = tailnet_pending_next(coord.tailnet, &pos);
	assert_non_null(pending);
	act((struct tailnet_act){ .verb = TAILNET_LOGIN_APPROVE, .code = pending->code,
				  .user = user });
	o = do_register(&a, "phone", NULL, rest);
	assert_string_equal(json_string_value(json_object_get(o, "AuthURL")), "");
	assert_true(json_is_true(json_object_get(o, "MachineAuthorized")));
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "Login"),
							      "LoginName")), "bob");
	json_decref(o);
	o = do_register(&a, "phone", NULL, ",\"Followup\":\"https://elsewhere/register/1\"");
	json_decref(o);
	client_end(&a);
}

static void unheard(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	(void)arg;
}

/* A server that stops has clients that wait; what they wait for must not find them any more. */
static void stopped_while_one_waits(void **state)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .failed = unheard,
	};
	const struct tailnet_pending *pending;
	char body[600];
	struct client a;
	uint32_t pos = 0;
	json_t *o;

	(void)state;
	connect_client(&a);
	o = do_register(&a, "phone", NULL, "");
	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Followup\":\"%s\"}",
		 key_text(a.node_key), json_string_value(json_object_get(o, "AuthURL")));
	json_decref(o);
	post(&a, "/machine/register", body, &events, NULL);
	do {
		pos = 0;
		pending = tailnet_pending_next(coord.tailnet, &pos);
		assert_non_null(pending);
		parts_settle(engine);
	} while (pending->followers == 0);
	coord_sessions_close(&coord);
	pos = 0;
	assert_int_equal(tailnet_pending_next(coord.tailnet, &pos)->followers, 0);
	client_end(&a);
}

static void refused(void **state)
{
	struct client a, b;
	json_t *o;
	char body[256];

	(void)state;
	two_kinds_of_nodes(&a, &b);
	/* Another machine with somebody's node key. */
	snprintf(body, sizeof(body), "{\"Version\":137,\"NodeKey\":\"%s\",\"Stream\":true}",
		 key_text(a.node_key));
	json_decref(ask(&b, "/machine/map", body, 404));
	o = ask(&b, "/machine/map", "{\"Version\":7,\"NodeKey\":\"\"}", 400);
	assert_non_null(strstr(json_string_value(o), "too old"));
	json_decref(o);
	json_decref(ask(&b, "/machine/map", "[]", 400));
	json_decref(ask(&b, "/machine/register", "{\"Version\":\"x\"}", 400));
	json_decref(ask(&b, "/machine/elsewhere", "{}", 404));
	json_decref(ask(&b, "/machine/set-dns", "{}", 501));
	warren_private_new(&b.node);
	warren_private_public(&b.node, b.node_key);
	o = do_register(&b, "x", "wkey-auth-nothing", "");
	assert_string_not_equal(json_string_value(json_object_get(o, "Error")), "");
	json_decref(o);
	client_end(&a);
	client_end(&b);
}

/* ---- without Noise ---- */

static struct str answer;
static char answer_policy[256];		/* Content-Security-Policy */
static int answer_status;
static volatile bool answer_came;

static void fetched(struct warren_ctx *c, int status, const struct warren_http_head *head,
		    const uint8_t *body, size_t len, const char *why, void *arg)
{
	const char *csp = head ? warren_http_field(head, "content-security-policy") : NULL;

	(void)c;
	(void)arg;
	str_copy(answer_policy, sizeof(answer_policy), csp ? csp : "");
	str_free(&answer);
	str_addn(&answer, body ? (const char *)body : why, body ? len : strlen(why));
	answer_status = status;
	answer_came = true;
}

static const char *get(const char *method, const char *path, const char *body, int status)
{
	char url[512];
	const struct warren_fetch_options options = {
		.size = sizeof(options), .method = method, .url = url, .body = body,
		.body_len = body ? strlen(body) : 0,
	};

	snprintf(url, sizeof(url), "%s%s", coord.url, path);
	answer_came = false;
	assert_non_null(warren_fetch(ctx, &options, fetched, NULL));
	assert_true(parts_until(engine, &answer_came));
	if (answer_status != status)
		fail_msg("%s: %d %s", path, answer_status, str_text(&answer));
	return str_text(&answer);
}

/* Whatever a messenger hung behind the link. */
static void page(void **state)
{
	const struct tailnet_pending *pending;
	char path[128], command[64];
	struct client a;
	uint32_t pos = 0;

	(void)state;
	connect_client(&a);
	json_decref(do_register(&a, "<b>phone", NULL, ""));
	pending = tailnet_pending_next(coord.tailnet, &pos);
	assert_non_null(pending);
	snprintf(path, sizeof(path), "/register/%s?utm=1", pending->code);
	snprintf(command, sizeof(command), "warren node approve %s", pending->code);
	assert_non_null(strstr(get("GET", path, NULL, 200), command));
	assert_non_null(strstr(str_text(&answer), "&lt;b&gt;phone"));
	assert_non_null(strstr(answer_policy, "frame-ancestors 'none'"));
	snprintf(path, sizeof(path), "/register/%s0", pending->code);
	assert_null(strstr(get("GET", path, NULL, 404), "approve"));
	client_end(&a);
	str_free(&answer);
}

static void outside(void **state)
{
	struct client a, b;
	char body[128];

	(void)state;
	two_kinds_of_nodes(&a, &b);
	assert_non_null(strstr(get("GET", "/key?v=137", NULL, 200), "\"publicKey\":\"mkey:"));
	assert_non_null(strstr(get("GET", "/key?a=b&v=7777&c", NULL, 200), "mkey:0000"));
	assert_string_equal(get("GET", "/key?v=20", NULL, 200), "");
	assert_string_equal(get("GET", "/key?v=", NULL, 400), "invalid capability version\n");
	assert_string_equal(get("GET", "/key?w=1", NULL, 400), "capability version must be set\n");
	get("GET", "/health", NULL, 200);
	get("GET", "/", NULL, 404);
	for (int i = 0; i < 1000 && !strstr(get("GET", "/bootstrap-dns", NULL, 200), "}"); i++)
		parts_settle(engine);
	assert_string_equal(get("GET", "/bootstrap-dns", NULL, 200),
			    "{\"127.0.0.1\":[\"127.0.0.1\"]}");
	get("POST", "/ts2021", "", 400);
	get("GET", "/register/nothing", NULL, 404);
	snprintf(body, sizeof(body), "{\"NodePublic\":\"%s\"}", key_text(a.node_key));
	assert_string_equal(get("POST", "/verify", body, 200), "{\"Allow\":true}");
	snprintf(body, sizeof(body), "{\"NodePublic\":\"%s\"}", key_text(a.machine.secret));
	assert_string_equal(get("POST", "/verify", body, 200), "{\"Allow\":false}");
	get("POST", "/verify", "{}x", 400);
	client_end(&a);
	client_end(&b);
	str_free(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(maps_and_deltas),
		ON_LOOP(only_what_differs), ON_LOOP(the_first_posture),
		ON_LOOP(another_key),
		ON_LOOP(many_at_once),
		ON_LOOP(who_does_not_read_goes),
		ON_LOOP(without_peers),
		ON_LOOP(deleted),
		ON_LOOP(by_link),
		ON_LOOP(stopped_while_one_waits),
		ON_LOOP(refused),
		ON_LOOP(page),
		ON_LOOP(outside),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
