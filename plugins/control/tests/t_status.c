/*
 * `warren status` against what the stock client printed about the same network: node alpha with
 * two peers. The table is compared byte for byte, the JSON value by value; what differs is in the
 * lists below, each with its reason.
 */
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "../status_view.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/reply.h"
#include "stock.h"

static const uint64_t now = UINT64_C(100000) * 1000000;
static const int64_t realtime = INT64_C(1795628430) * 1000000;	/* 2026-11-25T17:40:30Z */

/* The data plane's counters by first byte of the key. */
static struct warren_peer_status counters[256];
static bool with_peers;

static int fake_peer(void *self, const uint8_t peer[32], struct warren_peer_status *status)
{
	(void)self;
	*status = counters[peer[0]];
	status->size = sizeof(*status);
	return 0;
}

static const struct warren_dataplane_ops dataplane = {
	.size = sizeof(dataplane), .peer = fake_peer,
};

static void get_line(void *arg, const char *json, size_t len)
{
	struct str *out = arg;
	json_t *line = json_loadb(json, len, 0, NULL);
	json_t *text = json_object_get(line, "text"), *data = json_object_get(line, "data");

	assert_non_null(line);
	if (text)
		str_addf(out, "%s\n", json_string_value(text));
	if (data) {
		char *dump = json_dumps(data, JSON_COMPACT);

		str_add(out, dump);
		free(dump);
	}
	json_decref(line);
}

static void get_end(void *arg, struct warren_reply *reply, int exit)
{
	(void)arg;
	(void)reply;
	(void)exit;
}

static const struct wcore_reply_sink sink = { .line = get_line, .end = get_end };

/* The answer to @view, with the peers' counters if @with_peers; its exit status goes to *@exit. */
static void show(const struct ctl_view *view, bool json, struct str *out, int *exit)
{
	struct warren_reply *reply = wcore_reply_new(&sink, out, json ? WCORE_REPLY_JSON : 0, 0);
	struct ctl_view full = *view;

	assert_non_null(reply);
	str_cut(out, 0);
	*exit = 0;
	if (with_peers)
		assert_int_equal(ctl_view_gather(&full, &dataplane, NULL), 0);
	if (json)
		ctl_view_json(&full, reply);
	else
		*exit = ctl_view_text(&full, reply);
	free(full.statuses);
	warren_reply_end(reply, *exit, NULL);
}

static struct ctl_view view_of(const struct warren_netmap *map, enum ctl_state state)
{
	return (struct ctl_view){
		.state = state, .logged_in = true,
		.connected = state == CTL_RUNNING || state == CTL_NEEDS_MACHINE_AUTH,
		.map = map, .now = now, .realtime = realtime, .self = true,
	};
}

static int setup(void **state)
{
	memset(counters, 0, sizeof(counters));
	with_peers = true;
	*state = stock_map_new();
	return 0;
}

static int teardown(void **state)
{
	stock_map_free(*state);
	return 0;
}

/* Traffic as it was; the times are those that the stock client says. */
static void traffic(uint8_t key, uint64_t tx, uint64_t rx, const char *direct, int64_t last_tx,
		    int64_t handshake)
{
	struct warren_peer_status *p = &counters[key];

	*p = (struct warren_peer_status){ .tx_bytes = tx, .rx_bytes = rx };
	p->last_tx = now - (uint64_t)(realtime - last_tx);
	p->last_handshake_realtime = handshake;
	p->path.kind = direct ? WARREN_PATH_UDP : WARREN_PATH_RELAY;
	if (direct)
		assert_int_equal(addrport_parse(direct, &p->path.address), 0);
}

/* Past 17:00. */
#define AT(minute, second, usec) \
	((realtime / 1000000 - 2430 + (minute) * 60 + (second)) * 1000000 + (usec))

static void set_traffic(void)
{
	traffic(0x6c, 1268, 684, "10.77.0.12:41641", AT(39, 45, 60302), AT(39, 44, 861702));
	traffic(0xe9, 436, 156, NULL, AT(39, 51, 149652), AT(39, 51, 148401));
}

/*
 * As in status-peer-offline and later: both peers are away, delta offers an exit. Their server
 * calls the default routes primary, which make the stock client miss --accept-routes; ours are
 * told of a network instead.
 */
static const struct warren_netmap *set_offline(struct feed *feed)
{
	const struct warren_netmap *map = stock_map_feed(feed, "offline.json");

	traffic(0x6c, 29612, 5980, NULL, AT(40, 27, 486363), AT(39, 44, 861702));
	traffic(0xe9, 436, 188, NULL, AT(39, 51, 149652), AT(39, 51, 148401));
	return map;
}

/* Byte for byte, but for the name of the program. */
static void expect_text(const struct ctl_view *view, const char *name)
{
	struct stock stock;
	AUTO(str_free) struct str out = STR_INIT;
	int exit;

	stock_read(name, &stock);
	stock_rename(&stock.out);
	show(view, false, &out, &exit);
	assert_string_equal(str_text(&out), str_text(&stock.out));
	assert_int_equal(exit, stock.exit);
	stock_free(&stock);
}

static void test_table(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_RUNNING);

	expect_text(&view, "status-idle");
	set_traffic();
	expect_text(&view, "status");
	view.header = true;
	expect_text(&view, "status-header");
	view.header = false;
	view.active = true;
	expect_text(&view, "status-active");
	view.active = false;
	with_peers = false;
	expect_text(&view, "status-peers-false");
	with_peers = true;
	view.self = false;
	expect_text(&view, "status-self-false");
}

/* Only those with traffic in the last two minutes. */
static void test_active(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_RUNNING);
	AUTO(str_free) struct str out = STR_INIT;
	int exit;

	set_traffic();
	view.now += UINT64_C(80) * 1000000;
	view.active = true;
	show(&view, false, &out, &exit);
	assert_null(strstr(str_text(&out), "bravo"));
	assert_non_null(strstr(str_text(&out), "delta"));
	view.active = false;
	show(&view, false, &out, &exit);
	assert_non_null(strstr(str_text(&out), "linux  idle, tx 1268 rx 684 "));
}

/* The view of a node that accepts no routes; @copy is its map. */
static void accept_none(struct ctl_view *view, struct warren_netmap *copy)
{
	*copy = *view->map;
	copy->addresses_only = true;
	view->map = copy;
}

static void use_exit(struct warren_netmap *copy)
{
	copy->exit_chosen = true;
	for (uint32_t i = 0; i < copy->n_peers; i++) {
		if (copy->peers[i]->exit_v4)
			copy->exit_node = copy->peers[i]->id;
	}
	assert_true(copy->exit_node != 0);
}

static void test_trouble(void **state)
{
	struct warren_netmap copy;
	struct ctl_view view;

	set_traffic();
	stock_map_feed(*state, "map.json");
	view = view_of(stock_map_feed(*state, "exit.json"), CTL_RUNNING);
	accept_none(&view, &copy);
	counters[0x6c].rx_bytes = 716;
	counters[0x6c].path.kind = WARREN_PATH_RELAY;
	expect_text(&view, "status-with-exit-node-auto");
	use_exit(&copy);
	counters[0x6c].path.kind = WARREN_PATH_UDP;
	expect_text(&view, "status-with-exit-node");
	counters[0x6c].path.kind = WARREN_PATH_RELAY;
	view = view_of(set_offline(*state), CTL_RUNNING);
	accept_none(&view, &copy);
	expect_text(&view, "status-peer-offline");
}

static void test_not_running(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_STOPPED);
	char url[] = "http://10.77.0.1:8081/auth/8ac4b1c165d29bbf4053";

	expect_text(&view, "status-stopped");
	view.state = CTL_NEEDS_LOGIN;
	expect_text(&view, "status-logged-out");
	expect_text(&view, "needslogin-status");
	view.auth_url = url;
	expect_text(&view, "needslogin-status-with-url");
	view.auth_url = NULL;
	view.state = CTL_NEEDS_MACHINE_AUTH;
	expect_text(&view, "needsapproval-status");
}

/*
 * ---- JSON ----
 */

static struct {
	const char *pattern, *reason;
	unsigned used;
} differs[] = {
	{ "/Version *", "another program", 0 },
	{ "/Self/Capabilities *", "theirs begins with the address of a bug of theirs", 0 },
	{ "/Peer/*/TaildropTarget *", "no file sharing here: not known", 0 },
	{ "/Health *\"Tailscale is stopped.\"* \\[\\]", "logged out, to be exact", 0 },
	{ "/Peer/*/CapMap/* \\[\\] null", "a capability without values is null", 0 },
	{ "/Peer/*/PrimaryRoutes *", "see set_offline()", 0 },
	{ "/Self/Addrs * null", "told by the server, with the map", 0 },
	{ "/Self/Relay \"lab\" \"\"", "likewise", 0 },
	{ "/Self/HostName *", "before the map: that of the host", 0 },
	{ "/Peer * null", "no peers without a map", 0 },
};

static void judge(const char *name, char *differences)
{
	for (char *line; (line = strsep(&differences, "\n"));) {
		bool known = line[0] == '\0';

		for (size_t i = 0; i < ARRAY_SIZE(differs) && !known; i++) {
			known = fnmatch(differs[i].pattern, line, 0) == 0;
			differs[i].used += known;
		}
		if (!known)
			print_error("%s: %s\n", name, line);
		assert_true(known);
	}
}

static void expect_json(const struct ctl_view *view, const char *name)
{
	AUTO(str_free) struct str out = STR_INIT;
	AUTO(str_free) struct str found = STR_INIT;
	json_t *theirs, *ours;
	struct stock stock;
	int exit;

	stock_read(name, &stock);
	show(view, true, &out, &exit);
	ours = json_loads(str_text(&out), 0, NULL);
	assert_non_null(ours);
	theirs = json_loads(str_text(&stock.out), 0, NULL);
	assert_non_null(theirs);
	if (strcmp(json_string_value(json_object_get(theirs, "BackendState")), "Stopped") == 0)
		json_array_set_new(json_object_get(theirs, "Health"), 0,
				   json_string("Warren is stopped."));
	stock_compare(theirs, ours, &found);
	if (found.len > 0)
		judge(name, found.s);
	assert_int_equal(exit, stock.exit);
	json_decref(theirs);
	json_decref(ours);
	stock_free(&stock);
}

static void test_json(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_RUNNING);

	set_traffic();
	expect_json(&view, "status-json");
	with_peers = false;
	expect_json(&view, "status-json-no-peers");
}

/* The stock client filters Peer too. */
static void test_json_active(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_RUNNING);
	AUTO(str_free) struct str out = STR_INIT;
	json_t *all, *active;
	int exit;

	set_traffic();
	show(&view, true, &out, &exit);
	all = json_loads(str_text(&out), 0, NULL);
	view.now += UINT64_C(80) * 1000000;
	view.active = true;
	show(&view, true, &out, &exit);
	active = json_loads(str_text(&out), 0, NULL);
	assert_int_equal(json_object_size(json_object_get(all, "Peer")), 2);
	assert_int_equal(json_object_size(json_object_get(active, "Peer")), 1);
	json_decref(all);
	json_decref(active);
}

/* Through a peer relay; and home is where we chose, whatever the map says of it. */
static void test_json_of_an_exit_node(void **state)
{
	AUTO(str_free) struct str out = STR_INIT;
	struct warren_netmap copy;
	struct ctl_view view;
	const char *id, *address;
	json_t *status, *peer;
	const char *key;
	int exit, used = 0, online;

	stock_map_feed(*state, "map.json");
	view = view_of(stock_map_feed(*state, "exit.json"), CTL_RUNNING);
	accept_none(&view, &copy);
	use_exit(&copy);
	show(&view, true, &out, &exit);
	status = json_loads(str_text(&out), 0, NULL);
	assert_int_equal(json_unpack(status, "{s:{s:s, s:b, s:[s]}}", "ExitNodeStatus", "ID", &id,
				     "Online", &online, "TailscaleIPs", &address), 0);
	assert_string_equal(address, "100.64.0.3/32");
	json_object_foreach(json_object_get(status, "Peer"), key, peer)
		used += json_is_true(json_object_get(peer, "ExitNode"));
	assert_int_equal(used, 1);
	json_decref(status);
}

static void test_ways(void **state)
{
	struct ctl_view view = view_of(stock_map_feed(*state, "map.json"), CTL_RUNNING);
	struct warren_data_path *path = &counters[0x6c].path;
	AUTO(str_free) struct str out = STR_INIT;
	struct warren_node self = *view.map->self;
	struct warren_netmap map = *view.map;
	const char *address, *relay, *home;
	json_t *status, *peer;
	int exit, seen = 0;
	const char *key;

	set_traffic();
	path->kind = WARREN_PATH_GENEVE;
	path->vni = 7;
	view.home = map.regions[0].id;
	self.home_region = 0;
	map.self = &self;
	view.map = &map;
	show(&view, false, &out, &exit);
	assert_non_null(strstr(str_text(&out), "active; peer-relay 10.77.0.12:41641:vni:7, tx"));
	show(&view, true, &out, &exit);
	status = json_loads(str_text(&out), 0, NULL);
	assert_int_equal(json_unpack(status, "{s:{s:s}}", "Self", "Relay", &home), 0);
	assert_string_equal(home, map.regions[0].code);
	json_object_foreach(json_object_get(status, "Peer"), key, peer) {
		assert_int_equal(json_unpack(peer, "{s:s, s:s}", "CurAddr", &address, "PeerRelay",
					     &relay), 0);
		assert_string_equal(address, "");
		if (*relay) {
			assert_string_equal(relay, "10.77.0.12:41641:vni:7");
			seen++;
		}
	}
	assert_int_equal(seen, 1);
	json_decref(status);
	/* In doubt it is one by relay. */
	path->copy_region = 900;
	show(&view, false, &out, &exit);
	assert_null(strstr(str_text(&out), "peer-relay"));
}

static void test_json_in_trouble(void **state)
{
	struct warren_netmap copy;
	struct ctl_view view = view_of(set_offline(*state), CTL_RUNNING);

	accept_none(&view, &copy);
	expect_json(&view, "status-json-peer-offline");
	view.state = CTL_STOPPED;
	view.connected = false;
	counters[0x6c].last_tx = counters[0xe9].last_tx = 0;	/* nothing is sent any more */
	expect_json(&view, "status-json-stopped");
	view.map = NULL;
	view.state = CTL_NEEDS_LOGIN;
	view.logged_in = false;
	expect_json(&view, "status-json-logged-out");
}

/* The list above says no more than is true. */
static void test_all_differences_are_there(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(differs); i++) {
		if (differs[i].used == 0)
			print_error("%s does not differ any more\n", differs[i].pattern);
		assert_true(differs[i].used > 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_active, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trouble, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_running, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_active, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_of_an_exit_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_in_trouble, setup, teardown),
		cmocka_unit_test(test_all_differences_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
