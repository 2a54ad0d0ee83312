/*
 * `warren status` against what the stock client printed about the same network: node alpha with
 * two peers, in the table and in JSON. The blanks at the end of its lines are not ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "../status_view.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/reply.h"

static const uint64_t now = UINT64_C(1000) * 1000000;
static const int64_t realtime = INT64_C(1795628385) * 1000000;	/* 2026-11-25T17:39:45Z */

static const struct warren_service bravo_services[] = {
	{ "peerapi4", 46590, NULL }, { "peerapi6", 46590, NULL }, { "peerapi-dns-proxy", 1, NULL },
};
static struct warren_prefix addresses[3][2];
static struct warren_node alpha = {
	.id = 1, .stable_id = "TESTCTRL00000001", .name = "alpha.lab.example.", .user = 123,
	.hostname = "alpha", .os = "linux", .key = { { 0x3c } }, .home_region = 900,
};
static struct warren_node bravo = {
	.id = 2, .stable_id = "TESTCTRL00000002", .name = "bravo.lab.example.", .user = 123,
	.hostname = "bravo", .os = "linux", .key = { { 0x6c } }, .home_region = 900,
	.services = bravo_services, .n_services = ARRAY_SIZE(bravo_services),
	.online = WARREN_TRI_YES,
};
static struct warren_node delta = {
	.id = 3, .stable_id = "TESTCTRL00000003", .name = "delta.lab.example.", .user = 123,
	.hostname = "delta", .os = "linux", .key = { { 0xe9 } }, .home_region = 900,
	.online = WARREN_TRI_YES,
};
/* Sorted by id, as the service promises. */
static const struct warren_node *const peers[] = { &bravo, &delta };
static const struct warren_user users[] = {
	{ 123, "user-123@fake-control.example.net", "User 123", "https://pictures.example/1.jpg" },
};
static const struct warren_relay_region regions[] = { { .id = 900, .code = "lab" } };
static const struct warren_dns dns = { .proxied = true };
static const struct warren_netmap map = {
	.domain = "fake-control.example.net", .self = &alpha, .peers = peers, .n_peers = 2,
	.users = users, .n_users = 1, .regions = regions, .n_regions = 1, .dns = &dns,
};

/* The data plane's counters by first byte of the key. */
static struct warren_peer_status counters[256];

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

static const struct wcore_reply_sink sink = { get_line, get_end };

/* The answer to @view; its exit status goes to *@exit. */
static void show(const struct ctl_view *view, bool json, struct str *out, int *exit)
{
	struct warren_reply *reply = wcore_reply_new(&sink, out, json ? WCORE_REPLY_JSON : 0, 0);

	assert_non_null(reply);
	str_cut(out, 0);
	*exit = 0;
	if (json)
		ctl_view_json(view, reply);
	else
		*exit = ctl_view_text(view, reply);
	warren_reply_end(reply, *exit, NULL);
}

static struct ctl_view view_of(enum ctl_state state)
{
	return (struct ctl_view){
		.info = { .state = state, .login = "user-123@fake-control.example.net" },
		.map = &map, .dataplane = &dataplane, .now = now, .realtime = realtime,
		.peers = true, .self = true,
	};
}

static int setup(void **state)
{
	struct warren_node *nodes[] = { &alpha, &bravo, &delta };
	char text[ADDR_TEXT];

	(void)state;
	memset(counters, 0, sizeof(counters));
	for (uint32_t i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "100.64.0.%u", i + 1);
		assert_int_equal(prefix_parse(text, &addresses[i][0]), 0);
		snprintf(text, sizeof(text), "fd7a:115c:a1e0:ab12:4843:cd96:6240:%u", i + 1);
		assert_int_equal(prefix_parse(text, &addresses[i][1]), 0);
		nodes[i]->addresses = nodes[i]->allowed_ips = addresses[i];
		nodes[i]->n_addresses = nodes[i]->n_allowed_ips = 2;
		nodes[i]->last_seen = 0;
	}
	bravo.online = delta.online = WARREN_TRI_YES;
	return 0;
}

static void set_traffic(void)
{
	struct warren_peer_status *b = &counters[0x6c], *d = &counters[0xe9];

	b->tx_bytes = 1268;
	b->rx_bytes = 684;
	b->last_tx = b->last_rx = now - 1000000;
	b->last_handshake_realtime = realtime;
	b->path.kind = WARREN_PATH_UDP;
	assert_int_equal(addrport_parse("10.77.0.12:41641", &b->path.address), 0);
	d->tx_bytes = 436;
	d->rx_bytes = 156;
	d->last_tx = now - 1000000;
	d->path.kind = WARREN_PATH_RELAY;
}

static void test_table(void **state)
{
	struct ctl_view view = view_of(CTL_RUNNING);
	AUTO(str_free) struct str out = STR_INIT;
	int exit;

	(void)state;
	show(&view, false, &out, &exit);
	assert_int_equal(exit, 0);
	assert_string_equal(str_text(&out), "100.64.0.1  alpha  user-123@  linux  -\n"
			    "100.64.0.2  bravo  user-123@  linux  -\n"
			    "100.64.0.3  delta  user-123@  linux  -\n");
	set_traffic();
	view.header = true;
	show(&view, false, &out, &exit);
	assert_string_equal(str_text(&out),
		"IP          Hostname  Owner      OS     Status\n"
		"--          --------  -----      --     ------\n"
		"100.64.0.1  alpha     user-123@  linux  -\n"
		"100.64.0.2  bravo     user-123@  linux  active; direct 10.77.0.12:41641, "
		"tx 1268 rx 684\n"
		"100.64.0.3  delta     user-123@  linux  active; relay \"lab\", tx 436 rx 156\n");
}

static void test_offline_and_idle(void **state)
{
	struct ctl_view view = view_of(CTL_RUNNING);
	AUTO(str_free) struct str out = STR_INIT;
	int exit;

	(void)state;
	set_traffic();
	counters[0x6c].last_tx = counters[0x6c].last_rx = now - UINT64_C(500) * 1000000;
	delta.online = WARREN_TRI_NO;
	delta.last_seen = realtime / 1000000 - 3700;
	view.self = false;
	show(&view, false, &out, &exit);
	assert_string_equal(str_text(&out),
		"100.64.0.2  bravo  user-123@  linux  idle, tx 1268 rx 684\n"
		"100.64.0.3  delta  user-123@  linux  active; relay \"lab\"; offline, last seen "
		"1h ago, tx 436 rx 156\n");
	view.active = true;
	show(&view, false, &out, &exit);
	assert_null(strstr(str_text(&out), "bravo"));
	counters[0xe9] = (struct warren_peer_status){ 0 };
	view.active = false;
	show(&view, false, &out, &exit);
	assert_non_null(strstr(str_text(&out), "linux  offline, last seen 1h ago\n"));
}

static void test_not_running(void **state)
{
	struct ctl_view view = view_of(CTL_STOPPED);
	AUTO(str_free) struct str out = STR_INIT;
	int exit;

	(void)state;
	show(&view, false, &out, &exit);
	assert_int_equal(exit, 1);
	assert_string_equal(str_text(&out), "Warren is stopped.\n");
	view.info.state = CTL_NEEDS_LOGIN;
	view.info.auth_url = "http://10.77.0.1:8081/auth/8ac4";
	show(&view, false, &out, &exit);
	assert_int_equal(exit, 1);
	assert_string_equal(str_text(&out),
			    "Logged out.\nLog in at: http://10.77.0.1:8081/auth/8ac4\n");
	view.info.state = CTL_NEEDS_MACHINE_AUTH;
	show(&view, false, &out, &exit);
	assert_string_equal(str_text(&out), "Machine is not yet approved by tailnet admin.\n");
}

/* Form and values of what the stock client wrote; a script must find its keys. */
static void test_json(void **state)
{
	static const char *const keys[] = {
		"Version", "TUN", "BackendState", "AuthURL", "TailscaleIPs", "Self", "Health",
		"MagicDNSSuffix", "CurrentTailnet", "CertDomains", "ExtraRecords", "Peer", "User",
		"ClientVersion",
	};
	static const char *const peer_keys[] = {
		"ID", "NodeID", "PublicKey", "HostName", "DNSName", "OS", "UserID", "TailscaleIPs",
		"AllowedIPs", "Addrs", "CurAddr", "Relay", "PeerRelay", "RxBytes", "TxBytes",
		"Created", "LastWrite", "LastSeen", "LastHandshake", "Online", "ExitNode",
		"ExitNodeOption", "Active", "PeerAPIURL", "TaildropTarget", "NoFileSharingReason",
		"InNetworkMap", "InMagicSock", "InEngine",
	};
	struct ctl_view view = view_of(CTL_RUNNING);
	AUTO(str_free) struct str out = STR_INIT;
	json_t *root, *peer;
	int exit;

	(void)state;
	set_traffic();
	show(&view, true, &out, &exit);
	root = json_loads(str_text(&out), 0, NULL);
	assert_non_null(root);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(json_object_get(root, keys[i]));
	assert_string_equal(json_string_value(json_object_get(root, "BackendState")), "Running");
	assert_string_equal(json_string_value(json_object_get(root, "MagicDNSSuffix")),
			    "lab.example");
	assert_int_equal(json_object_size(json_object_get(root, "Peer")), 2);
	peer = json_object_get(json_object_get(root, "Peer"),
		"nodekey:6c00000000000000000000000000000000000000000000000000000000000000");
	assert_non_null(peer);
	for (size_t i = 0; i < ARRAY_SIZE(peer_keys); i++)
		assert_non_null(json_object_get(peer, peer_keys[i]));
	assert_string_equal(json_string_value(json_object_get(peer, "CurAddr")),
			    "10.77.0.12:41641");
	assert_string_equal(json_string_value(json_object_get(peer, "Created")),
			    "0001-01-01T00:00:00Z");
	assert_string_equal(json_string_value(json_object_get(peer, "LastHandshake")),
			    "2026-11-25T17:39:45Z");
	assert_string_equal(json_string_value(json_array_get(json_object_get(peer, "PeerAPIURL"),
							     1)),
			    "http://[fd7a:115c:a1e0:ab12:4843:cd96:6240:2]:46590");
	assert_true(json_is_true(json_object_get(peer, "Active")));
	assert_true(json_is_null(json_object_get(peer, "Addrs")));
	json_decref(root);
	/* Nobody is anywhere. */
	view.map = NULL;
	view.info = (struct ctl_session_info){ .state = CTL_NEEDS_LOGIN };
	show(&view, true, &out, &exit);
	root = json_loads(str_text(&out), 0, NULL);
	assert_true(json_is_null(json_object_get(root, "Peer")));
	assert_true(json_is_null(json_object_get(root, "CurrentTailnet")));
	assert_non_null(json_object_get(root, "Self"));
	json_decref(root);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_table, setup),
		cmocka_unit_test_setup(test_offline_and_idle, setup),
		cmocka_unit_test_setup(test_not_running, setup),
		cmocka_unit_test_setup(test_json, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
