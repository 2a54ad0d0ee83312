/*
 * The session as a whole, with the real `identity`, state folder and map, against a coordinator of
 * our own (coordinator.h): logging in in every way, the poll, what survives a restart, logging out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "../request.h"
#include "base/addr.h"
#include "base/hex.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "node.h"
#include "tests/unit/parts.h"

#define OK_REPLY "{\"User\":{\"ID\":1},\"Login\":{\"LoginName\":\"alice@example.com\"}," \
	"\"MachineAuthorized\":true,\"AuthURL\":\"\",\"Error\":\"\"}"
#define LINK_REPLY(x) "{\"AuthURL\":\"http://ctl.example/register/" x "\"}"

static uint32_t peers(struct node *node)
{
	const struct warren_netmap *map = ctl_session_map(node->session);
	uint32_t n = map ? map->n_peers : 0;

	warren_obj_unref(map);
	return n;
}

static uint64_t serial_of(struct node *node)
{
	const struct warren_netmap *map = ctl_session_map(node->session);
	uint64_t serial = map ? map->serial : 0;

	warren_obj_unref(map);
	return serial;
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	assert_non_null(text);
	return text;
}

/* A full map for the key that the node has: itself and one peer; @more are further members. */
static const char *full_map(struct node *node, const char *more)
{
	char key[WARREN_KEYTEXT_MAX];

	node_key(node, key);
	snprintf(node->map, sizeof(node->map), "{\"Node\":{\"ID\":7,\"StableID\":\"7\",\"Name\":"
		 "\"gw1.example.\",\"User\":1,\"Key\":\"%s\",\"Addresses\":[\"100.64.0.7/32\"],"
		 "\"MachineAuthorized\":true%s},\"Peers\":[{\"ID\":5,\"StableID\":\"5\",\"Name\":"
		 "\"b.example.\",\"User\":1,\"Key\":\"nodekey:%064d\",\"DiscoKey\":"
		 "\"discokey:%064d\",\"Addresses\":[\"100.64.0.5/32\"]}],\"Domain\":\"example\"}",
		 key, more, 5, 6);
	return node->map;
}

/* Logged in and Running. */
static void node_join_with(struct node *node, const char *control)
{
	node->coord.reply = OK_REPLY;
	node_start(node, control);
	WAIT(node, node->coord.stream);
	coord_send(&node->coord, full_map(node, ""));
	WAIT(node, node_state(node) == CTL_RUNNING);
	WAIT(node, node->coord.n_updates == 1);
}

static void node_join(struct node *node)
{
	node_join_with(node, "");
}

static void reload(struct node *node, const char *control)
{
	char *text = NULL;

	assert_int_equal(wcore_engine_apply_wait(node->engine, node_config(control), &text), 0);
	free(text);
}

/*
 * ---- Tests ----
 */

/* Scripts read these: the stock client's words (ipn/backend.go). */
static void test_state_names(void **state)
{
	(void)state;
	assert_string_equal(ctl_state_name(CTL_NO_STATE), "NoState");
	assert_string_equal(ctl_state_name(CTL_NEEDS_LOGIN), "NeedsLogin");
	assert_string_equal(ctl_state_name(CTL_NEEDS_MACHINE_AUTH), "NeedsMachineAuth");
	assert_string_equal(ctl_state_name(CTL_STOPPED), "Stopped");
	assert_string_equal(ctl_state_name(CTL_STARTING), "Starting");
	assert_string_equal(ctl_state_name(CTL_RUNNING), "Running");
}

/* n squared times 10 ms, at most 30 s, times 0.5 to 1.5 (section 5.3). */
static void test_backoff(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_in_range(ctl_backoff(1), 5000, 15000);
		assert_in_range(ctl_backoff(10), 500000, 1500000);
		assert_in_range(ctl_backoff(55), 15000000, 45000000);
		assert_in_range(ctl_backoff(4000000000u), 15000000, 45000000);
	}
}

static void test_http_error(void **state)
{
	char out[CTL_HTTP_ERROR], body[400];

	(void)state;
	memset(body, 'a', sizeof(body));
	ctl_http_error(500, (const uint8_t *)"broken \x1b[2J\n", 12, out);
	assert_string_equal(out, "http 500: broken \\x1b[2J");
	ctl_http_error(404, (const uint8_t *)body, sizeof(body), out);
	assert_in_range(strlen(out), 200, 220);
}

/* The stream and a lite update begin at once; the server's map is published. */
static void test_join(void **state)
{
	struct node *node = *state;
	char key[WARREN_KEYTEXT_MAX];
	const json_t *body;

	node->coord.reply = OK_REPLY;
	node_start(node, ", tags: [tag:gw], advertise-exit-node: true, ephemeral: true");
	assert_int_equal(peers(node), 0);
	WAIT(node, node->coord.stream && node->coord.n_updates == 1);
	assert_int_equal(node->coord.n_registers, 1);
	node_key(node, key);
	body = node->coord.registers[0].json;
	assert_string_equal(text_at(body, "NodeKey"), key);
	assert_string_equal(text_at(body, "Followup"), "");
	assert_null(json_object_get(body, "Auth"));
	assert_true(json_is_true(json_object_get(body, "Ephemeral")));
	body = json_object_get(body, "Hostinfo");
	assert_string_equal(text_at(body, "Hostname"), "gw1");
	assert_int_equal(json_array_size(json_object_get(body, "RoutableIPs")), 2);
	assert_int_equal(json_array_size(json_object_get(body, "RequestTags")), 1);

	body = node->coord.streams[0].json;
	assert_string_equal(text_at(body, "Compress"), "zstd");
	assert_true(json_is_true(json_object_get(body, "KeepAlive")));
	assert_null(json_object_get(body, "OmitPeers"));
	body = node->coord.updates[0].json;
	assert_true(json_is_true(json_object_get(body, "OmitPeers")));
	assert_string_equal(text_at(body, "NodeKey"), key);
	/* Nobody here answers disco. */
	assert_true(!strncmp(text_at(body, "DiscoKey"), "discokey:00000000", 17));
	assert_int_equal(ctl_session_facet(node->session, node->coord.ctx, WARREN_FACET_ENDPOINTS,
					   "{\"Endpoints\":[\"192.0.2.1:9\"],"
					   "\"EndpointTypes\":[2]}"), 0);
	WAIT(node, node->coord.n_updates == 2);
	body = node->coord.updates[1].json;
	assert_true(strncmp(text_at(body, "DiscoKey"), "discokey:00000000", 17) != 0);
	assert_string_equal(json_string_value(json_array_get(json_object_get(body, "Endpoints"),
							     0)), "192.0.2.1:9");

	assert_int_equal(node_state(node), CTL_STARTING);
	coord_send(&node->coord, full_map(node, ""));
	WAIT(node, node_state(node) == CTL_RUNNING);
	assert_int_equal(peers(node), 1);
}

/* Not approved by an administrator: known, but not running. */
static void test_machine_auth(void **state)
{
	struct node *node = *state;
	char *flag;

	node->coord.reply = "{}";
	node_start(node, "");
	WAIT(node, node->coord.stream);
	full_map(node, "");
	flag = strstr(node->map, "\"MachineAuthorized\":true");
	memcpy(flag, "\"MachineAuthorized\":null", 24);
	coord_send(&node->coord, node->map);
	WAIT(node, node_state(node) == CTL_NEEDS_MACHINE_AUTH);
}

/* The user logs in: the second request waits for that, and the link may change meanwhile. */
static void test_interactive(void **state)
{
	struct node *node = *state;
	struct ctl_session_info info;

	node->coord.reply = LINK_REPLY("a");
	node_start(node, "");
	WAIT(node, node->coord.n_registers == 1);
	node->coord.reply = NULL;
	WAIT(node, node->coord.held);
	assert_string_equal(text_at(node->coord.registers[node->coord.n_registers - 1].json,
				    "Followup"), "http://ctl.example/register/a");
	ctl_session_info(node->session, &info);
	assert_int_equal(info.state, CTL_NEEDS_LOGIN);
	assert_string_equal(info.auth_url, "http://ctl.example/register/a");

	coord_answer(&node->coord, LINK_REPLY("b"));
	WAIT(node, node->coord.held);
	assert_string_equal(text_at(node->coord.registers[node->coord.n_registers - 1].json,
				    "Followup"), "http://ctl.example/register/b");
	assert_string_equal(text_at(node->coord.registers[0].json, "NodeKey"),
			    text_at(node->coord.registers[node->coord.n_registers - 1].json,
				    "NodeKey"));
	coord_answer(&node->coord, OK_REPLY);
	WAIT(node, node->coord.stream);
	ctl_session_info(node->session, &info);
	assert_null(info.auth_url);
	assert_string_equal(info.login, "alice@example.com");
}

/* An auth key from the command line: used once, and not again by a restart. */
static void test_auth_key(void **state)
{
	struct node *node = *state;

	node->coord.reply = LINK_REPLY("a");
	node_start(node, "");
	WAIT(node, node->coord.n_registers >= 1);
	node->coord.reply = OK_REPLY;
	assert_int_equal(ctl_session_login(node->session, "tskey-1--TLsig-key", false, NULL), 0);
	WAIT(node, node->coord.stream);
	assert_string_equal(text_at(json_object_get(node->coord.registers[
			    node->coord.n_registers - 1].json, "Auth"), "AuthKey"), "tskey-1");
	node_stop(node);
	coord_forget(&node->coord);
	node_start(node, "");
	WAIT(node, node->coord.stream);
	assert_int_equal(node->coord.n_registers, 1);
	assert_null(json_object_get(node->coord.registers[0].json, "Auth"));
}

/* The server's "no" is shown, and tried again with growing pauses. */
static void test_error(void **state)
{
	struct node *node = *state;
	struct ctl_session_info info;

	node->coord.reply = "{\"Error\":\"authkey already used\"}";
	node_start(node, "");
	WAIT(node, node->coord.n_registers >= 3);
	ctl_session_info(node->session, &info);
	assert_int_equal(info.state, CTL_NEEDS_LOGIN);
	assert_true(info.error_final);
	assert_string_equal(info.error, "http://ctl.example says: authkey already used");
	node->coord.reply = OK_REPLY;
	WAIT(node, node->coord.stream);
	ctl_session_info(node->session, &info);
	assert_null(info.error);
}

static void test_http_status(void **state)
{
	struct node *node = *state;
	struct ctl_session_info info;
	uint64_t since;

	node->coord.register_status = 429;
	node->coord.retry_after = "1";
	node->coord.reply = OK_REPLY;
	node_start(node, "");
	WAIT(node, node->coord.n_registers == 1);
	since = warren_now();
	for (int i = 0; i < 50; i++)
		node_turn(node);
	ctl_session_info(node->session, &info);
	assert_string_equal(info.error, "register request: http 429: no such luck");
	node->coord.register_status = 0;
	WAIT(node, node->coord.n_registers == 2);
	assert_in_range(warren_now() - since, 900000, 5000000);
}

/* "Throw the key away": a new one, with the old one named; a second time is an error. */
static void test_node_key_expired(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX];

	node_join(node);
	node_key(node, old);
	node_stop(node);
	coord_forget(&node->coord);
	node->coord.reply = "{\"NodeKeyExpired\":true}";
	node_start(node, "");
	WAIT(node, node->coord.n_registers >= 2);
	assert_string_equal(text_at(node->coord.registers[0].json, "NodeKey"), old);
	assert_string_not_equal(text_at(node->coord.registers[1].json, "NodeKey"), old);
	assert_string_equal(text_at(node->coord.registers[1].json, "OldNodeKey"), old);
	WAIT(node, node->session->error_final);
	node_key(node, now);
	assert_string_equal(now, old);	/* not accepted: not in force */
	node->coord.reply = OK_REPLY;
	WAIT(node, node->coord.stream);
	node_key(node, now);
	assert_string_not_equal(now, old);
	assert_string_equal(text_at(node->coord.streams[node->coord.n_streams - 1].json,
				    "NodeKey"), now);
}

/* The data plane keeps the old key, and the stream goes on, until the new one is accepted. */
static void test_rotation(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX];
	uint32_t streams;

	node_join(node);
	node_key(node, old);
	streams = node->coord.n_streams;
	node->coord.reply = NULL;
	assert_int_equal(ctl_session_login(node->session, NULL, true, NULL), 0);
	WAIT(node, node->coord.held);
	assert_string_equal(text_at(node->coord.registers[1].json, "OldNodeKey"), old);
	assert_string_not_equal(text_at(node->coord.registers[1].json, "NodeKey"), old);
	node_key(node, now);
	assert_string_equal(now, old);
	assert_true(node->coord.stream && node->coord.n_streams == streams);
	coord_answer(&node->coord, OK_REPLY);
	WAIT(node, node->coord.n_streams == streams + 1);
	node_key(node, now);
	assert_string_equal(now, text_at(node->coord.registers[1].json, "NodeKey"));
	assert_string_equal(now, text_at(node->coord.streams[streams].json, "NodeKey"));
	WAIT(node, node->coord.stream);
	coord_send(&node->coord, full_map(node, ""));
	WAIT(node, node_state(node) == CTL_RUNNING);
}

/* The server's yes to a new key that is lost in a crash: the same key is shown again. */
static void test_rotation_cut_off(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX], next[WARREN_KEYTEXT_MAX];

	node_join(node);
	node_key(node, old);
	node->coord.reply = NULL;
	assert_int_equal(ctl_session_login(node->session, NULL, true, NULL), 0);
	WAIT(node, node->coord.held);
	str_copy(next, sizeof(next), text_at(node->coord.registers[1].json, "NodeKey"));
	node_stop(node);
	coord_forget(&node->coord);
	node->coord.reply = LINK_REPLY("unknown");
	node_start(node, "");
	WAIT(node, node->coord.n_registers >= 2);
	assert_string_equal(text_at(node->coord.registers[0].json, "NodeKey"), old);
	assert_string_equal(text_at(node->coord.registers[1].json, "NodeKey"), next);
	assert_string_equal(text_at(node->coord.registers[1].json, "OldNodeKey"), old);
	node->coord.reply = OK_REPLY;
	WAIT(node, node->coord.stream);
	node_key(node, now);
	assert_string_equal(now, next);
	node_stop(node);
	coord_forget(&node->coord);
	node->coord.reply = LINK_REPLY("forgotten");
	node_start(node, "");
	WAIT(node, node->coord.n_registers >= 2);
	/* In force, it is no key to come any more. */
	assert_string_equal(text_at(node->coord.registers[0].json, "NodeKey"), next);
	assert_string_equal(text_at(node->coord.registers[1].json, "NodeKey"), next);
}

/* An expired key: a login with a new one begins by itself. */
static void test_expiry(void **state)
{
	struct node *node = *state;

	node_join(node);
	node->coord.reply = LINK_REPLY("again");
	coord_send(&node->coord, full_map(node, ",\"KeyExpiry\":\"2020-01-01T00:00:00Z\""));
	WAIT(node, node_state(node) == CTL_NEEDS_LOGIN);
	WAIT(node, node->coord.n_registers >= 2);
	assert_string_not_equal(text_at(node->coord.registers[1].json, "NodeKey"),
				text_at(node->coord.registers[0].json, "NodeKey"));
}

/* A server that calls every key expired gets one new key, not one after the other. */
static void test_expiry_again(void **state)
{
	struct node *node = *state;

	node_join(node);
	coord_send(&node->coord, full_map(node, ",\"KeyExpiry\":\"2020-01-01T00:00:00Z\""));
	WAIT(node, node->coord.n_streams == 2);
	coord_send(&node->coord, full_map(node, ",\"KeyExpiry\":\"2020-01-01T00:00:00Z\""));
	WAIT(node, node_state(node) == CTL_NEEDS_LOGIN);
	for (int i = 0; i < 300; i++)
		node_turn(node);
	assert_int_equal(node->coord.n_registers, 2);
	/* But somebody may ask for it. */
	assert_int_equal(ctl_session_login(node->session, NULL, true, NULL), 0);
	WAIT(node, node->coord.n_registers == 3);
}

/* Peers work on while the server is away, and after a restart in that time. */
static void test_away(void **state)
{
	struct node *node = *state;
	uint32_t connects;

	node_join(node);
	node->coord.away = true;
	coord_drop(&node->coord);
	connects = node->coord.connects;
	WAIT(node, node->coord.connects >= connects + 2);
	assert_int_equal(peers(node), 1);
	assert_int_equal(node_state(node), CTL_RUNNING);
	node_stop(node);
	node_start(node, "");
	assert_int_equal(peers(node), 1);
	assert_int_equal(node_state(node), CTL_RUNNING);
	node->coord.away = false;
	WAIT(node, node->coord.stream);
}

/* The server does not know the node any more: it registers again. */
static void test_forgotten(void **state)
{
	struct node *node = *state;

	node_join(node);
	node->coord.map_status = 404;
	coord_drop(&node->coord);
	WAIT(node, node->coord.n_registers == 2);
	assert_string_equal(text_at(node->coord.registers[0].json, "NodeKey"),
			    text_at(node->coord.registers[1].json, "NodeKey"));
	assert_int_equal(node->coord.n_streams, 4);
}

/* The server is busy and says for how long; what is known stays in force meanwhile. */
static void test_map_comes_again(void **state)
{
	struct node *node = *state;
	uint64_t since;

	node_join(node);
	node->coord.map_status = 503;
	node->coord.retry_after = "1";
	coord_drop(&node->coord);
	WAIT(node, node->coord.n_streams == 2);
	since = warren_now();
	for (int i = 0; i < 50; i++)
		node_turn(node);
	assert_int_equal(node->coord.n_streams, 2);
	assert_int_equal(peers(node), 1);
	assert_int_equal(node_state(node), CTL_RUNNING);
	node->coord.map_status = 0;
	WAIT(node, node->coord.stream);
	assert_int_equal(node->coord.n_streams, 3);
	assert_in_range(warren_now() - since, 900000, 5000000);
	assert_int_equal(node->coord.n_registers, 1);
}

static void logged_out(struct warren_ctx *ctx, int result, const char *why, void *arg)
{
	(void)ctx;
	(void)why;
	*(int *)arg = result;
}

static void test_logout(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX];
	struct ctl_session_info info;
	int result = 1;

	node_join(node);
	node_key(node, old);
	assert_int_equal(ctl_session_logout(node->session, logged_out, &result), 0);
	WAIT(node, result == 0);
	assert_string_equal(text_at(node->coord.registers[1].json, "Expiry"),
			    "1970-01-01T00:02:03Z");
	assert_string_equal(text_at(node->coord.registers[1].json, "NodeKey"), old);
	/* The new key comes into force when it is on disk. */
	WAIT(node, (node_key(node, now), strcmp(old, now) != 0));
	for (int i = 0; i < 100; i++)
		node_turn(node);
	ctl_session_info(node->session, &info);
	assert_true(info.state == CTL_NEEDS_LOGIN && info.logged_out && !info.login);
	assert_int_equal(peers(node), 0);
	assert_int_equal(node->coord.n_registers, 2);

	/* It stays so after a restart, until somebody logs in. */
	node_stop(node);
	node_start(node, "");
	for (int i = 0; i < 100; i++)
		node_turn(node);
	assert_int_equal(node->coord.n_registers, 2);
	assert_int_equal(ctl_session_login(node->session, NULL, false, NULL), 0);
	WAIT(node, node->coord.stream);
}

static void stopped(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	bool *done = arg;

	(void)engine;
	(void)result;
	(void)text;
	*done = true;
}

/* An ephemeral node says goodbye with the daemon, and may come again. */
static void test_ephemeral_leaves(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX];
	bool done = false;

	node_join_with(node, ", ephemeral: true");
	node_key(node, old);
	wcore_engine_stop(node->engine, stopped, &done);
	WAIT(node, done);
	assert_int_equal(node->coord.n_registers, 2);
	assert_string_equal(text_at(node->coord.registers[1].json, "Expiry"),
			    "1970-01-01T00:02:03Z");
	assert_string_equal(text_at(node->coord.registers[1].json, "NodeKey"), old);
	node_stop(node);
	coord_forget(&node->coord);
	node_start(node, ", ephemeral: true");
	WAIT(node, node->coord.stream);
	node_key(node, now);
	assert_string_not_equal(now, old);
	assert_int_equal(node->coord.n_registers, 1);
}

static void test_down_and_up(void **state)
{
	struct node *node = *state;
	char old[WARREN_KEYTEXT_MAX], now[WARREN_KEYTEXT_MAX];

	node_join(node);
	node_key(node, old);
	reload(node, ", up: false");
	assert_int_equal(node_state(node), CTL_STOPPED);
	assert_int_equal(peers(node), 0);
	node->coord.map = full_map(node, "");
	reload(node, "");
	WAIT(node, node_state(node) == CTL_RUNNING);
	assert_int_equal(peers(node), 1);
	node_key(node, now);
	assert_string_equal(old, now);
}

/* The operator's word holds, whatever the server repeats of it. */
static void test_shields(void **state)
{
	struct node *node = *state;
	const struct warren_netmap *map;
	uint64_t serial;

	node_join(node);
	map = ctl_session_map(node->session);
	assert_false(map->self->shields_up);
	serial = map->serial;
	warren_obj_unref(map);
	reload(node, ", shields-up: true");
	map = ctl_session_map(node->session);
	assert_true(map->self->shields_up);
	assert_int_equal(map->serial, serial + 1);
	assert_int_equal(map->previous, serial);
	warren_obj_unref(map);
	WAIT(node, node->coord.n_updates == 2);
	assert_non_null(strstr(node->coord.updates[1].body, "\"ShieldsUp\":true"));
}

/* Told to consumers with the map; another answer makes them rebuild. */
static void test_accept_routes(void **state)
{
	struct node *node = *state;
	struct warren_ctx *router, *other;
	const struct warren_netmap *map;
	uint64_t serial;

	node_join(node);
	router = parts_ctx(node->engine, wcore_engine_main(node->engine));
	other = parts_ctx(node->engine, wcore_engine_main(node->engine));
	map = ctl_session_map(node->session);
	assert_true(map->addresses_only);
	serial = map->serial;
	warren_obj_unref(map);
	assert_int_equal(ctl_session_accept(node->session, router, true), 0);
	assert_int_equal(ctl_session_accept(node->session, other, false), -EBUSY);
	map = ctl_session_map(node->session);
	assert_false(map->addresses_only);
	assert_int_equal(map->serial, serial + 1);
	assert_int_equal(map->previous, 0);
	assert_int_equal(map->changed, WARREN_NETMAP_ALL);
	warren_obj_unref(map);
	/* What the server sends then follows as a delta. */
	coord_send(&node->coord, "{\"PeersChangedPatch\":[{\"NodeID\":5,\"DERPRegion\":2}]}");
	WAIT(node, serial_of(node) == serial + 2);
	map = ctl_session_map(node->session);
	assert_false(map->addresses_only);
	assert_int_equal(map->previous, serial + 1);
	assert_int_equal(map->n_changes, 1);
	warren_obj_unref(map);
	/* Without its owner it is over. */
	wcore_ctx_close(router);
	map = ctl_session_map(node->session);
	assert_true(map->addresses_only);
	assert_int_equal(map->previous, 0);
	warren_obj_unref(map);
	assert_int_equal(ctl_session_accept(node->session, other, true), 0);
	wcore_ctx_close(other);
}

static void test_an_exit_node_is_chosen_by_one(void **state)
{
	struct node *node = *state;
	struct warren_ctx *owner, *other;
	const struct warren_netmap *map;
	uint64_t serial;

	node_join(node);
	owner = parts_ctx(node->engine, wcore_engine_main(node->engine));
	other = parts_ctx(node->engine, wcore_engine_main(node->engine));
	map = ctl_session_map(node->session);
	assert_false(map->exit_chosen);
	serial = map->serial;
	warren_obj_unref(map);
	assert_int_equal(ctl_session_exit(node->session, owner, true, 5), 0);
	assert_int_equal(ctl_session_exit(node->session, other, true, 6), -EBUSY);
	assert_int_equal(ctl_session_exit(node->session, owner, true, 5), 0);
	map = ctl_session_map(node->session);
	assert_true(map->exit_chosen);
	assert_int_equal(map->exit_node, 5);
	assert_int_equal(map->serial, serial + 1);
	warren_obj_unref(map);
	wcore_ctx_close(owner);
	map = ctl_session_map(node->session);
	assert_false(map->exit_chosen);
	assert_int_equal(map->exit_node, 0);
	warren_obj_unref(map);
	wcore_ctx_close(other);
}

static bool serves(struct node *node, const char *text, uint32_t of)
{
	const struct warren_netmap *map = ctl_session_map(node->session);
	struct warren_prefix wanted;
	bool found = false;

	assert_int_equal(prefix_parse(text, &wanted), 0);
	assert_int_equal(map->self->n_allowed_ips, of);
	for (uint32_t i = 0; i < of; i++)
		found |= prefix_equal(&map->self->allowed_ips[i], &wanted);
	warren_obj_unref(map);
	return found;
}

static bool is_exit(struct node *node)
{
	const struct warren_netmap *map = ctl_session_map(node->session);
	bool is = map->self->exit_v4 && map->self->exit_v6;

	assert_int_equal(map->self->exit_v4, map->self->exit_v6);
	warren_obj_unref(map);
	return is;
}

/* The server approves of what is offered; what is not, it cannot make this node lead to. */
static void test_only_offers_are_served(void **state)
{
	struct node *node = *state;
	struct warren_ctx *router, *other;

	node->coord.reply = OK_REPLY;
	node_start(node, "");
	WAIT(node, node->coord.stream);
	coord_send(&node->coord, full_map(node, ",\"AllowedIPs\":[\"100.64.0.7/32\","
		   "\"10.33.0.0/16\",\"10.34.0.0/16\",\"0.0.0.0/0\",\"::/0\"]"));
	WAIT(node, node_state(node) == CTL_RUNNING);
	assert_true(serves(node, "100.64.0.7", 1));
	assert_false(is_exit(node));
	router = parts_ctx(node->engine, wcore_engine_main(node->engine));
	assert_int_equal(ctl_session_facet(node->session, router, WARREN_FACET_ROUTES,
					   "[\"10.33.0.0/16\",\"10.35.0.0/16\"]"), 0);
	assert_true(serves(node, "10.33.0.0/16", 2));
	assert_false(is_exit(node));
	assert_int_equal(ctl_session_facet(node->session, router, WARREN_FACET_ROUTES, NULL), 0);
	reload(node, ", advertise-exit-node: true");
	assert_true(serves(node, "100.64.0.7", 1));
	assert_true(is_exit(node));
	/* Another plugin's offers count while it runs. */
	other = parts_ctx(node->engine, wcore_engine_main(node->engine));
	assert_int_equal(ctl_session_facet(node->session, other, WARREN_FACET_ROUTES,
					   "[\"10.34.0.0/16\"]"), 0);
	assert_true(serves(node, "10.34.0.0/16", 2));
	wcore_ctx_close(other);
	assert_true(serves(node, "100.64.0.7", 1));
	wcore_ctx_close(router);
	reload(node, "");
	assert_false(is_exit(node));
}

/* Both default routes are told once, whether or not they are listed too. */
static void test_exit_node_offer(void **state)
{
	static const char *const told =
		"\"RoutableIPs\":[\"10.33.0.0/16\",\"0.0.0.0/0\",\"::/0\"]";
	struct node *node = *state;
	struct warren_ctx *router;

	node_join(node);
	router = parts_ctx(node->engine, wcore_engine_main(node->engine));
	assert_int_equal(ctl_session_facet(node->session, router, WARREN_FACET_ROUTES,
					   "[\"10.33.0.0/16\"]"), 0);
	reload(node, ", advertise-exit-node: true");
	WAIT(node, node->coord.n_updates == 2);
	assert_non_null(strstr(node->coord.updates[1].body, told));
	assert_int_equal(ctl_session_facet(node->session, router, WARREN_FACET_ROUTES,
					   "[\"10.33.0.0/16\",\"0.0.0.0/0\"]"), 0);
	reload(node, ", advertise-exit-node: true, shields-up: true");
	WAIT(node, node->coord.n_updates == 3);
	assert_non_null(strstr(node->coord.updates[2].body, told));
	wcore_ctx_close(router);
}

static void test_pings(void **state)
{
	struct node *node = *state;

	node_join(node);
	coord_send(&node->coord, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":"
		   "\"https://unused/machine/ping?id=1\",\"URLIsNoise\":true}}");
	WAIT(node, node->coord.n_others == 1);
	assert_string_equal(node->coord.others[0].method, "HEAD");
	assert_string_equal(node->coord.others[0].path, "/machine/ping?id=1");
	/* "GET /echo HTTP/1.1\r\n\r\nhi" */
	coord_send(&node->coord, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":"
		   "\"https://unused/machine/c2n?id=2\",\"URLIsNoise\":true,\"Types\":\"c2n\","
		   "\"Payload\":\"R0VUIC9lY2hvIEhUVFAvMS4xDQoNCmhp\"}}");
	WAIT(node, node->coord.n_others == 2);
	assert_string_equal(node->coord.others[1].method, "POST");
	assert_non_null(strstr(node->coord.others[1].body, "HTTP/1.1 200 OK\r\n"));
	assert_non_null(strstr(node->coord.others[1].body, "\r\n\r\nhi"));
	/* The same URL again is ignored; a peer that is not there is said to be so. */
	coord_send(&node->coord, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":"
		   "\"https://unused/machine/c2n?id=2\",\"Types\":\"c2n\"}}");
	coord_send(&node->coord, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":"
		   "\"https://unused/p?id=3\",\"Types\":\"TSMP\",\"IP\":\"100.64.0.99\"}}");
	WAIT(node, node->coord.n_others == 3);
	assert_string_equal(text_at(node->coord.others[2].json, "Type"), "TSMP");
	assert_string_equal(text_at(node->coord.others[2].json, "Err"), "no matching peer");
	/* Outside Noise only the control server itself is asked. */
	coord_send(&node->coord, "{\"PingRequest\":{\"URL\":\"http://192.0.2.9/metadata\"}}");
	coord_send(&node->coord, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":"
		   "\"http://ctl.example/machine/ping-response?id=4\"}}");
	WAIT(node, node->coord.fetched[0]);
	assert_string_equal(node->coord.fetched,
			    "HEAD http://ctl.example/machine/ping-response?id=4");
}

/* Two minutes without a message: the connection is dead, whatever TCP says (section 6.2). */
static void test_watchdog(void **state)
{
	struct node *node = *state;
	uint64_t now;
	uint32_t connects;

	node_join(node);
	connects = node->coord.connects;
	now = warren_now();
	wcore_clock_set_fake(now + 119000000, warren_realtime());
	for (int i = 0; i < 20; i++)
		node_turn(node);
	assert_true(node->session->link.http);
	coord_send(&node->coord, "{\"KeepAlive\":true}");
	for (int i = 0; i < 20; i++)
		node_turn(node);
	wcore_clock_set_fake(now + 238000000, warren_realtime());
	for (int i = 0; i < 20; i++)
		node_turn(node);
	assert_int_equal(node->coord.connects, connects);
	wcore_clock_set_fake(now + 240000000, warren_realtime());
	for (int i = 0; i < 20; i++)
		node_turn(node);
	assert_non_null(strstr(node->session->error, "no message for two minutes"));
	assert_int_equal(peers(node), 1);
	wcore_clock_set_fake(now + 300000000, warren_realtime());
	WAIT(node, node->coord.connects == connects + 1);
	wcore_clock_set_fake(0, 0);
}

static void watched(struct ctl_session *session, void *arg)
{
	(void)session;
	(*(int *)arg)++;
}

static void test_watch(void **state)
{
	struct node *node = *state;
	struct ctl_watch *watch;
	int calls = 0;

	node->coord.reply = LINK_REPLY("a");
	node_start(node, "");
	watch = ctl_session_watch(node->session, watched, &calls);
	assert_non_null(watch);
	WAIT(node, calls >= 1);
	calls = 0;
	node->coord.reply = OK_REPLY;
	WAIT(node, calls >= 1);
	ctl_session_unwatch(watch);
	calls = 0;
	WAIT(node, node->coord.stream);
	assert_int_equal(calls, 0);
}

#define NODE_TEST(fn) cmocka_unit_test_setup_teardown(fn, node_setup, node_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_names),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_http_error),
		NODE_TEST(test_join),
		NODE_TEST(test_machine_auth),
		NODE_TEST(test_interactive),
		NODE_TEST(test_auth_key),
		NODE_TEST(test_error),
		NODE_TEST(test_http_status),
		NODE_TEST(test_node_key_expired),
		NODE_TEST(test_rotation),
		NODE_TEST(test_rotation_cut_off),
		NODE_TEST(test_expiry),
		NODE_TEST(test_expiry_again),
		NODE_TEST(test_away),
		NODE_TEST(test_forgotten),
		NODE_TEST(test_map_comes_again),
		NODE_TEST(test_logout),
		NODE_TEST(test_ephemeral_leaves),
		NODE_TEST(test_down_and_up),
		NODE_TEST(test_shields),
		NODE_TEST(test_accept_routes),
		NODE_TEST(test_an_exit_node_is_chosen_by_one),
		NODE_TEST(test_exit_node_offer),
		NODE_TEST(test_only_offers_are_served),
		NODE_TEST(test_pings),
		NODE_TEST(test_watchdog),
		NODE_TEST(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
