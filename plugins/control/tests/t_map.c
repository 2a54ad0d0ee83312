/*
 * The map: every kind of delta, the order of their application, what is bad and left out, and what
 * breaks a stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "dump.h"
#include "feed.h"

/*
 * ---- Full maps ----
 */

static void test_full(void **state)
{
	struct feed *feed = *state;
	const struct warren_netmap *map = feed->now;

	assert_int_equal(feed->published, 1);
	assert_int_equal(map->serial, 1);
	assert_int_equal(map->previous, 0);
	assert_int_equal(map->changed, WARREN_NETMAP_ALL);
	assert_string_equal(map->domain, "ts.example");
	assert_int_equal(map->self->id, 1);
	assert_true(map->self->machine_authorized);
	assert_int_equal(map->n_peers, 3);
	assert_int_equal(map->peers[2]->id, 4);
	assert_false(map->peers[0]->dormant);
	/* Pitfall 39: no AllowedIPs is a copy of Addresses. */
	assert_int_equal(map->peers[0]->n_allowed_ips, 1);
	assert_int_equal(map->n_users, 1);
	assert_string_equal(map->users[0].login, "alice");
	assert_int_equal(map->n_filter, 1);
	assert_int_equal(map->filter[0].srcs[0].kind, WARREN_SRC_ANY);
	assert_int_equal(map->builtin_policy, WARREN_POLICY_NONE);
	/* The stock client leads its IPv6 network into the tunnel, and what serves it. */
	assert_int_equal(map->n_networks, 2);
	assert_int_equal(map->networks[0].bits, 32);
	assert_int_equal(map->networks[0].addr.bytes[3], 100);
	assert_int_equal(map->networks[1].bits, 48);
}

static void test_first_without_self(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"Peers\":[" PEER(2, "") "]}"), -EBADMSG);
	assert_int_equal(feed->published, 0);
	/* Nothing more until the stream begins anew. */
	assert_int_equal(feed_json(feed, FULL), -EBADMSG);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, FULL), 0);
	assert_int_equal(feed->published, 1);
}

static void test_same_again(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *peer = feed_peer(feed, 3);

	assert_int_equal(feed_json(feed, FULL), 0);
	assert_int_equal(feed->published, 1);
	/* Another stream starts from nothing, but finds the same. */
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, FULL), 0);
	assert_int_equal(feed->published, 1);
	assert_ptr_equal(feed_peer(feed, 3), peer);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, "{\"Node\":" SELF ",\"Peers\":[" PEER(3, "") "]}"), 0);
	assert_int_equal(feed->published, 2);
	assert_int_equal(feed->now->n_peers, 1);
	assert_ptr_equal(feed->now->peers[0], peer);
	assert_int_equal(feed->now->n_changes, 2);
	assert_int_equal(feed->now->n_filter, 0);
	assert_int_equal(feed->now->n_users, 0);
	assert_null(feed->now->domain);
	assert_true(feed->now->changed & WARREN_NETMAP_FILTER);
}

/* Pitfall 16: an empty list is no list. */
static void test_empty_peers(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"Peers\":[]}"), 0);
	assert_int_equal(feed_json(feed, "{\"Peers\":null,\"PeersChanged\":null}"), 0);
	assert_int_equal(feed->published, 1);
	assert_int_equal(feed_json(feed, "{\"Peers\":[],\"PeersRemoved\":[3]}"), 0);
	assert_int_equal(feed->now->n_peers, 2);
	/* With a full list, everything else about peers is ignored. */
	assert_int_equal(feed_json(feed, "{\"PeersRemoved\":[2],\"Peers\":[" PEER(2, "") "]}"), 0);
	assert_int_equal(feed->now->n_peers, 1);
	assert_int_equal(feed->now->peers[0]->id, 2);
	assert_string_equal(str_text(&feed->bad), "");
}

/*
 * ---- Deltas of peers ----
 */

static const struct warren_netmap_change *only_change(const struct feed *feed)
{
	assert_int_equal(feed->now->n_changes, 1);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_PEERS);
	return feed->now->changes;
}

static void test_changed_and_removed(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *two = feed_peer(feed, 2);
	const struct warren_netmap_change *change;

	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[" PEER(5, "") "]}"), 0);
	change = only_change(feed);
	assert_int_equal(change->what, WARREN_CHANGE_ADDED);
	assert_null(change->before);
	assert_int_equal(change->after->id, 5);
	assert_ptr_equal(feed_peer(feed, 2), two);
	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[" PEER(2, ",\"HomeDERP\":9") "]}"), 0);
	change = only_change(feed);
	assert_int_equal(change->what, WARREN_CHANGE_MODIFIED);
	assert_int_equal(change->fields, WARREN_NODE_HOME_REGION);
	assert_int_equal(change->before->home_region, 0);
	assert_int_equal(change->after->home_region, 9);
	assert_int_equal(feed_json(feed, "{\"PeersRemoved\":[3,99]}"), 0);
	change = only_change(feed);
	assert_int_equal(change->what, WARREN_CHANGE_REMOVED);
	assert_int_equal(change->before->id, 3);
	assert_null(feed_peer(feed, 3));
	/* Removed and changed at once: removal comes first. */
	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[" PEER(4, ",\"Cap\":5") "],"
				   "\"PeersRemoved\":[4]}"), 0);
	assert_int_equal(only_change(feed)->what, WARREN_CHANGE_MODIFIED);
	assert_int_equal(feed_peer(feed, 4)->cap_version, 5);
	assert_string_equal(str_text(&feed->bad), "");
}

static void test_seen_and_online(void **state)
{
	struct feed *feed = *state;
	int64_t now = warren_realtime() / 1000000;

	assert_int_equal(feed_json(feed, "{\"OnlineChange\":{\"2\":true,\"3\":false,\"77\":true},"
				   "\"PeerSeenChange\":{\"3\":true}}"), 0);
	assert_int_equal(feed_peer(feed, 2)->online, WARREN_TRI_YES);
	assert_int_equal(feed_peer(feed, 3)->online, WARREN_TRI_NO);
	assert_int_equal(feed_peer(feed, 4)->online, WARREN_TRI_UNKNOWN);
	assert_in_range(feed_peer(feed, 3)->last_seen, now, now + 5);
	assert_int_equal(feed->now->n_changes, 2);
	assert_int_equal(feed->now->changes[0].fields, WARREN_NODE_PRESENCE);
	assert_int_equal(feed_json(feed, "{\"PeerSeenChange\":{\"3\":false}}"), 0);
	assert_int_equal(feed_peer(feed, 3)->last_seen, 0);
	assert_string_equal(str_text(&feed->bad), "");
	/* Pitfall 17: the wrong kinds of keys and values. */
	assert_int_equal(feed_json(feed, "{\"OnlineChange\":{\"x\":true,\"2\":1},"
				   "\"PeersRemoved\":[\"3\"]}"), 0);
	assert_int_equal(feed->published, 3);
	assert_string_equal(str_text(&feed->bad),
			    "OnlineChange: a member is no node with true or false\n"
			    "OnlineChange: a member is no node with true or false\n"
			    "PeersRemoved: an element is not a number\n");
}

static void test_patch(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *peer;

	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"DERPRegion\":901,"
				   "\"Cap\":130,\"CapMap\":{\"x\":[1]},"
				   "\"Endpoints\":[\"192.0.2.1:5\",\"[fe80::1%eth0]:5\"],"
				   "\"Key\":\"" KEY(D("b")) "\",\"DiscoKey\":\"" DISCO(D("c")) "\","
				   "\"KeySignature\":\"AQID\",\"Online\":true,"
				   "\"LastSeen\":\"2026-01-02T03:04:05.5Z\","
				   "\"KeyExpiry\":\"2099-01-01T00:00:00Z\"},"
				   "{\"NodeID\":4242,\"Online\":true}]}"), 0);
	peer = feed_peer(feed, 2);
	assert_int_equal(peer->home_region, 901);
	assert_int_equal(peer->cap_version, 130);
	assert_int_equal(peer->n_caps, 1);
	assert_string_equal(peer->caps[0].values[0], "1");
	assert_int_equal(peer->n_endpoints, 1);
	assert_int_equal(peer->key.bytes[0], 0xbb);
	assert_int_equal(peer->disco_key.bytes[31], 0xcc);
	assert_int_equal(peer->n_key_signature, 3);
	assert_int_equal(peer->online, WARREN_TRI_YES);
	assert_int_equal(peer->last_seen, 1767323045);
	assert_int_equal(peer->key_expiry, 4070908800);
	assert_string_equal(peer->name, "p2.ts.example.");
	assert_int_equal(only_change(feed)->fields, 0xff & ~(unsigned)(WARREN_NODE_ALLOWED_IPS |
								     WARREN_NODE_PSK));
	/* Zero and absent are unchanged; an empty list clears; the zero time is never. */
	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"DERPRegion\":0,"
				   "\"Cap\":0,\"Endpoints\":null,\"CapMap\":null}]}"), 0);
	assert_int_equal(feed->published, 2);
	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Endpoints\":[],"
				   "\"CapMap\":{},\"KeyExpiry\":\"0001-01-01T00:00:00Z\"}]}"), 0);
	peer = feed_peer(feed, 2);
	assert_int_equal(peer->n_endpoints, 0);
	assert_int_equal(peer->n_caps, 0);
	assert_int_equal(peer->key_expiry, 0);
	assert_int_equal(peer->home_region, 901);
	assert_string_equal(str_text(&feed->bad), "");
}

/* Pitfall 29: what an offline peer had earlier is not news; the whole patch goes. */
static void test_stale_patch(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Online\":true,"
				   "\"LastSeen\":\"2026-01-02T00:00:00.000000005Z\"}]}"), 0);
	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Online\":false,"
				   "\"LastSeen\":\"2026-01-02T00:00:00.000000005Z\","
				   "\"DiscoKey\":\"" DISCO(D("e")) "\",\"DERPRegion\":3}]}"), 0);
	assert_int_equal(feed->published, 2);
	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,\"Online\":false,"
				   "\"LastSeen\":\"2026-01-02T00:00:00.000000006Z\","
				   "\"DiscoKey\":\"" DISCO(D("e")) "\",\"DERPRegion\":3}]}"), 0);
	assert_int_equal(feed_peer(feed, 2)->disco_key.bytes[0], 0xee);
	assert_int_equal(feed_peer(feed, 2)->home_region, 3);
	/* A full list that is older than that does not bring the old key back. */
	assert_int_equal(feed_json(feed, "{\"Peers\":["
				   PEER(2, ",\"Online\":false,\"LastSeen\":\"2026-01-01T00:00"
					":00Z\"")
				   "]}"), 0);
	assert_int_equal(feed->now->n_peers, 1);
	assert_int_equal(feed_peer(feed, 2)->disco_key.bytes[0], 0xee);
	assert_int_equal(feed_json(feed, "{\"Peers\":["
				   PEER(2, ",\"Online\":true,\"LastSeen\":\"2026-01-01T00:00:00Z\"")
				   "]}"), 0);
	assert_int_equal(feed_peer(feed, 2)->disco_key.bytes[0], 0x22);
}

/* Section 6.5, step 6: the order does not depend on that in the message. */
static void test_order(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":5,\"Online\":false}],"
				   "\"OnlineChange\":{\"5\":true,\"2\":true},"
				   "\"PeersChanged\":[" PEER(5, "") "],\"PeersRemoved\":[5,2]"
					"}"), 0);
	assert_int_equal(feed_peer(feed, 5)->online, WARREN_TRI_NO);
	assert_null(feed_peer(feed, 2));
	assert_string_equal(str_text(&feed->bad), "");
}

/* Pitfall 40 and section 0.2: ids have 64 bits. */
static void test_large_ids(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[{\"ID\":9007199254740993,\"Key\":\""
				   KEY(D("b")) "\"}],\"OnlineChange\":{\"9007199254740993\":t"
					"rue}}"),
			 0);
	assert_int_equal(feed_peer(feed, 9007199254740993)->online, WARREN_TRI_YES);
	assert_null(feed_peer(feed, 9007199254740992));
}

/*
 * ---- Nodes ----
 */

/* Pitfall 42: neither disco key nor home region. */
static void test_dormant(void **state)
{
	struct feed *feed = *state;
	static const char bare[] = "{\"PeersChanged\":["
		"{\"ID\":5,\"Key\":\"" KEY(D("5")) "\"},"
		"{\"ID\":6,\"Key\":\"" KEY(D("6")) "\",\"HomeDERP\":1},"
		"{\"ID\":7,\"Key\":\"" KEY(D("7")) "\",\"IsWireGuardOnly\":true},"
		"{\"ID\":8,\"Key\":\"" KEY(D("8")) "\",\"DERP\":\"127.3.3.40:12\"},"
		PEER(9, ",\"Expired\":true") "]}";

	assert_int_equal(feed_json(feed, bare), 0);
	assert_true(feed_peer(feed, 5)->dormant);
	assert_false(feed_peer(feed, 6)->dormant);
	assert_false(feed_peer(feed, 7)->dormant);
	assert_int_equal(feed_peer(feed, 8)->home_region, 12);
	assert_false(feed_peer(feed, 8)->dormant);
	assert_true(feed_peer(feed, 9)->dormant);
	assert_int_equal(feed_peer(feed, 9)->key.bytes[0], 0x99);
}

static void test_allowed_ips(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *peer;

	assert_int_equal(feed_json(feed, "{\"PeersChanged\":["
		PEER(2, ",\"AllowedIPs\":[\"100.64.0.2/32\",\"0.0.0.0/0\",\"::/0\",\"10.1.2.3/8\"]")
		"," PEER(3, ",\"AllowedIPs\":[]")
		"," PEER(4, ",\"AllowedIPs\":[\"10.0.0.0/8\"],\"UnsignedPeerAPIOnly\":true")
		"]}"), 0);
	peer = feed_peer(feed, 2);
	assert_int_equal(peer->n_allowed_ips, 2);
	assert_int_equal(peer->allowed_ips[1].bits, 8);
	assert_int_equal(peer->allowed_ips[1].addr.bytes[1], 0);
	assert_true(peer->exit_v4 && peer->exit_v6);
	assert_int_equal(feed_peer(feed, 3)->n_allowed_ips, 0);
	assert_int_equal(feed_peer(feed, 4)->n_allowed_ips, 1);
	assert_int_equal(feed_peer(feed, 4)->allowed_ips[0].bits, 32);
	assert_true(feed_peer(feed, 4)->unsigned_peerapi_only);
}

static void test_self(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"Node\":{\"ID\":1,\"Key\":\"" KEY(D("a")) "\","
				   "\"Capabilities\":[\"one-cgnat?v=true\",\"b\"],"
				   "\"CapMap\":{\"b\":[true],\"a\":null},"
				   "\"KeyExpiry\":\"2001-01-01T00:00:00Z\"}}"), 0);
	assert_int_equal(feed->now->changed, WARREN_NETMAP_SELF);
	assert_int_equal(feed->now->self->n_caps, 3);
	assert_string_equal(feed->now->self->caps[1].name, "b");
	assert_int_equal(feed->now->self->caps[1].n_values, 1);
	assert_int_equal(feed->now->networks[0].bits, 10);
	assert_true(feed->now->self->expired);
	assert_int_equal(feed->now->self->key.bytes[0], 0xaa);
	assert_false(feed->now->self->machine_authorized);
	/* A bad one is left out, and what was there stays. */
	assert_int_equal(feed_json(feed, "{\"Node\":{\"ID\":1,\"Key\":\"nodekey:12\"}}"), 0);
	assert_int_equal(feed->published, 2);
	assert_string_equal(str_text(&feed->bad), "this node 1: Key: not a key of its kind\n");
}

/* Pitfall 30, the other way round. */
static void test_self_that_was_a_peer(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"Node\":" PEER(3, "") "}"), 0);
	assert_int_equal(feed->now->self->id, 3);
	assert_int_equal(feed->now->n_peers, 2);
	assert_null(feed_peer(feed, 3));
	assert_int_equal(feed->now->changes[0].what, WARREN_CHANGE_REMOVED);
}

/* Section 1.2: by the server's clock, and only in one direction. */
static void test_client_side_expiry(void **state)
{
	struct feed *feed = *state;
	const struct warren_node *peer;
	struct ctl_map_stats stats;

	/* The stock test control server's constant is no clock. */
	assert_int_equal(feed_json(feed, "{\"ControlTime\":\"2020-08-03T00:00:00Z\"}"), 0);
	ctl_map_stats_get(feed->map, &stats);
	assert_int_equal(stats.clock_delta, 0);

	assert_int_equal(feed_json(feed, "{\"PeersChanged\":["
		PEER(2, ",\"KeyExpiry\":\"2024-08-04T00:00:00Z\",\"HomeDERP\":4,"
			"\"Endpoints\":[\"192.0.2.2:1\"]") "],"
		"\"ControlTime\":\"2024-08-03T00:00:00Z\"}"), 0);
	assert_false(feed_peer(feed, 2)->expired);
	assert_int_equal(feed_json(feed, "{\"ControlTime\":\"2024-08-05T00:00:00Z\"}"), 0);
	ctl_clock_fired(NULL, feed->map);
	peer = feed_peer(feed, 2);
	assert_true(peer->expired);
	assert_true(peer->dormant);
	assert_int_equal(peer->n_endpoints, 0);
	assert_int_equal(peer->home_region, 0);
	assert_memory_equal(peer->key.bytes, "\x6d\xa7\x74\xd5\xd7\x74\x22", 7);
	assert_int_equal(feed->now->n_changes, 1);
	assert_int_equal(feed_json(feed, "{\"ControlTime\":\"2024-08-03T00:00:00Z\"}"), 0);
	ctl_clock_fired(NULL, feed->map);
	assert_true(feed_peer(feed, 2)->expired);
	/* A patch works on what the server sent. */
	assert_int_equal(feed_json(feed, "{\"PeersChangedPatch\":[{\"NodeID\":2,"
				   "\"KeyExpiry\":\"2024-09-01T00:00:00Z\"}]}"), 0);
	peer = feed_peer(feed, 2);
	assert_false(peer->expired);
	assert_int_equal(peer->n_endpoints, 1);
	assert_int_equal(peer->home_region, 4);
	assert_int_equal(peer->key.bytes[0], 0x22);
}

static void test_bad_peers(void **state)
{
	static const struct {
		const char *json, *why;
	} cases[] = {
		{ "5", "peer 0: not an object" },
		{ "{\"ID\":0,\"Key\":\"" KEY(D("5")) "\"}", "peer 0: ID: there is none" },
		{ "{\"ID\":\"5\"}", "peer 0: ID: not a whole number" },
		{ "{\"ID\":5.5}", "peer 0: ID: not a whole number" },
		{ "{\"ID\":99999999999999999999}", "PeersChanged: a number that is too big" },
		{ "{\"ID\":5}", "peer 5: Key: there is none" },
		{ "{\"ID\":5,\"Key\":\"mkey:" D("1") D("1") D("1") D("1") "\"}",
		  "peer 5: Key: not a key of its kind" },
		{ "{\"ID\":5,\"Key\":\"nodekey:" D("0") D("0") D("0") D("0") "\"}",
		  "peer 5: Key: there is none" },
		{ PEER(5, ",\"AllowedIPs\":[\"10.0.0.0/33\"]"),
		  "peer 5 (p5.ts.example.): AllowedIPs: element 0 is no prefix" },
		{ PEER(5, ",\"AllowedIPs\":\"10.0.0.0/8\""),
		  "peer 5 (p5.ts.example.): AllowedIPs: not a list" },
		{ PEER(5, ",\"Endpoints\":[\"192.0.2.1\"]"),
		  "peer 5 (p5.ts.example.): Endpoints: element 0 is no address and port" },
		{ PEER(5, ",\"KeyExpiry\":\"tomorrow\""),
		  "peer 5 (p5.ts.example.): KeyExpiry: not a time of RFC 3339" },
		{ PEER(5, ",\"Online\":\"yes\""),
		  "peer 5 (p5.ts.example.): Online: neither true nor false" },
		{ PEER(5, ",\"CapMap\":{\"x\":5}"),
		  "peer 5 (p5.ts.example.): CapMap: a value is not a list" },
		{ PEER(5, ",\"Hostinfo\":{\"Services\":[{\"Port\":70000}]}"),
		  "peer 5 (p5.ts.example.): Port: 70000 is out of range" },
		{ PEER(5, ",\"SelfNodeV4MasqAddrForThisPeer\":\"::1\""),
		  "peer 5 (p5.ts.example.): masquerade address of the other family" },
		{ PEER(5, ",\"Tags\":[5]"), "peer 5 (p5.ts.example.): Tags: not a string" },
		{ "{\"ID\":5,\"Name\":\"a\\tb\",\"Key\":\"" KEY(D("5")) "\"}",
		  "peer 5 (a\\x09b): Name: a character that no name has" },
		{ "{\"ID\":5,\"Name\":\"a\\u0000b\"}",
		  "PeersChanged: text that is not UTF-8, or has a NUL" },
		{ "{\"ID\":1,\"Key\":\"" KEY(D("5")) "\"}", "peer 1: it is this node itself" },
	};
	struct feed *feed = *state;
	char json[2048], want[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(json, sizeof(json), "{\"PeersChanged\":[%s],\"Domain\":\"d%zu\"}",
			       cases[i].json, i);
		(void)snprintf(want, sizeof(want), "%s\n", cases[i].why);
		assert_int_equal(feed_json(feed, json), 0);
		assert_string_equal(str_text(&feed->bad), want);
		/* The rest of the message holds. */
		assert_int_equal(feed->published, i + 2);
		assert_int_equal(feed->now->n_peers, 3);
		feed_forget(feed);
	}
}

static void test_long_lists(void **state)
{
	struct feed *feed = *state;
	struct str json = STR_INIT;

	str_add(&json, "{\"PeersChanged\":[{\"ID\":5,\"Key\":\"" KEY(D("5")) "\",\"Endpoints\":[");
	for (int i = 0; i < 4097; i++)
		str_addf(&json, "%s\"192.0.2.1:%d\"", i ? "," : "", i + 1);
	str_add(&json, "]}]}");
	assert_int_equal(feed_json(feed, json.s), 0);
	assert_string_equal(str_text(&feed->bad), "peer 5: Endpoints: more than 4096 elements\n");
	str_free(&json);
}

/*
 * ---- Events ----
 */

static void test_events(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(feed_json(feed, "{\"KeepAlive\":true,\"Domain\":\"ignored\","
		"\"PingRequest\":{\"URL\":\"https://c/1\",\"Types\":\"disco\",\"IP\":\"100.64"
			".0.2\","
		"\"Payload\":\"AQID\",\"Log\":true},\"PopBrowserURL\":\"https://c/2\","
		"\"ClientVersion\":{\"LatestVersion\":\"9\",\"Notify\":true},"
		"\"ControlDialPlan\":{\"Candidates\":[{\"IP\":\"192.0.2.9\",\"ACEHost\":\"h\","
		"\"DialStartDelaySec\":1.5,\"DialTimeoutSec\":10,\"Priority\":2}]},"
		"\"Debug\":{\"SleepSeconds\":1}}"), 0);
	assert_string_equal(str_text(&feed->events),
		"ping https://c/1 noise=0 log=1 types=disco family=4 payload=3\n"
		"browser https://c/2\n"
		"version latest=9 notify=1 url=- text=-\n"
		"plan 1 family=4 host=h delay=1500000 timeout=10000000 priority=2\n"
		"keepalive\n");
	assert_int_equal(feed->published, 1);
	feed_forget(feed);
	/* The same ping, the same URL: nothing. */
	assert_int_equal(feed_json(feed, "{\"PingRequest\":{\"URL\":\"https://c/1\"},"
		"\"PopBrowserURL\":\"https://c/2\",\"Debug\":{\"SleepSeconds\":9999,"
		"\"DisableLogTail\":true,\"Exit\":1},\"CollectServices\":true}"), 0);
	assert_string_equal(str_text(&feed->events),
		"debug sleep=300000000 logtail=1 exit=1\nmessage\n");
	assert_int_equal(ctl_map_collect_services(feed->map), WARREN_TRI_YES);
	assert_int_equal(feed->published, 1);
	feed_forget(feed);
	assert_int_equal(feed_json(feed, "{\"PingRequest\":{\"Types\":\"c2n\"},\"Debug\":5,"
				   "\"ControlTime\":true,\"Peers\":7,\"OnlineChange\":[]}"), 0);
	assert_string_equal(str_text(&feed->bad),
		"PingRequest: URL: there is none\nDebug: not an object\n"
		"ControlTime: not a time of RFC 3339\nPeers: not a list\n"
		"OnlineChange: a list for an object, or the reverse\n");
}

static void test_clear(void **state)
{
	struct feed *feed = *state;

	assert_int_equal(ctl_map_clear(feed->map), 0);
	assert_null(feed->now->self);
	assert_int_equal(feed->now->n_peers, 0);
	assert_int_equal(feed->now->n_changes, 3);
	assert_int_equal(feed->now->n_filter, 0);
	assert_int_equal(feed->now->n_users, 0);
	assert_int_equal(ctl_map_clear(feed->map), 0);
	assert_int_equal(feed->published, 2);
	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[]}"), -EBADMSG);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, FULL), 0);
	assert_int_equal(feed->now->n_peers, 3);
}

/*
 * ---- Streams that are no good ----
 */

static void test_broken(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int result;
	} cases[] = {
		{ "\0\0\0\0", 4, -EBADMSG },
		{ "\1\0\0\x05", 4, -EMSGSIZE },
		{ "\2\0\0\0[]", 6, -EBADMSG },
		{ "\2\0\0\0{ ", 6, -EBADMSG },
		{ "\4\0\0\0{}{}", 8, -EBADMSG },
		{ "\x08\0\0\0{\"a\":01}", 12, -EBADMSG },
		{ "\x0f\0\0\0{\"Peers\":[{,}]}", 19, -EBADMSG },
		{ "\x10\0\0\0{\"Domain\":\"\\q\"} ", 20, -EBADMSG },
		{ "\x08\0\0\0\x28\xb5\x2f\xfdxxxx", 12, -EBADMSG },
	};
	struct feed *feed = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(ctl_map_feed(feed->map, cases[i].bytes, cases[i].len, NULL),
				 cases[i].result);
		assert_int_equal(ctl_map_feed(feed->map, "", 0, NULL), -EBADMSG);
		ctl_map_begin(feed->map);
	}
	assert_int_equal(feed->published, 1);
	assert_int_equal(feed->now->n_peers, 3);
}

/* A message that is cut anywhere changes nothing; one that is whole does, in any portions. */
static void test_cut(void **state)
{
	struct feed *feed = *state;
	static const char json[] = "{\"Node\":" SELF ",\"Peers\":[" PEER(5, "") "]}";

	for (int compress = 0; compress < 2; compress++) {
		size_t n;
		uint8_t *data = feed_frame(json, strlen(json), compress, &n);

		for (size_t cut = 0; cut < n; cut++) {
			assert_int_equal(ctl_map_feed(feed->map, data, cut, NULL), 0);
			assert_int_equal(ctl_map_at_boundary(feed->map), cut == 0);
			ctl_map_begin(feed->map);
		}
		assert_int_equal(feed->published, 1 + compress);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(ctl_map_feed(feed->map, data + i, 1, NULL), 0);
		assert_int_equal(feed->now->n_peers, 1);
		ctl_map_begin(feed->map);
		assert_int_equal(feed_json(feed, FULL), 0);
		free(data);
		feed->published = 2;
	}
}

static void test_trailing_frame(void **state)
{
	struct feed *feed = *state;
	size_t n;
	uint8_t *data = feed_frame(FULL, strlen(FULL), true, &n);

	data = realloc(data, n + 1);
	assert_non_null(data);
	data[n] = 0;
	data[0]++;
	assert_int_equal(ctl_map_feed(feed->map, data, n + 1, NULL), -EBADMSG);
	free(data);
}

static void test_limits(void **state)
{
	const struct ctl_map_limits limits = {
		.message_max = 4096, .decoded_max = 8192, .peers_max = 3, .rules_max = 2,
		.rule_ips_max = 4, .users_max = 2, .record_max = 2048,
	};
	struct feed *feed = *state;
	struct str json = STR_INIT;

	feed_close(feed);
	feed_open(feed, NULL, &limits);
	assert_int_equal(feed_json(feed, FULL), 0);
	/* A fourth peer is one too many, though each message has few. */
	assert_int_equal(feed_json(feed, "{\"PeersChanged\":[" PEER(5, "") "]}"), -EMSGSIZE);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, FULL), 0);
	assert_int_equal(feed_json(feed, "{\"PacketFilters\":{\"a\":[" RULE("*", "1") "],\"b\":["
				   RULE("*", "2") "]}}"), -EMSGSIZE);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, "{\"Node\":" SELF ",\"PacketFilter\":[{\"SrcIPs\":[\"*\","
				   "\"*\",\"*\",\"*\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":"
					"{}}]}]}"),
			 -EMSGSIZE);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, "{\"Node\":" SELF ",\"UserProfiles\":[{\"ID\":1},{"
		"\"ID\":2},"
				   "{\"ID\":3}]}"), -EMSGSIZE);
	ctl_map_begin(feed->map);
	/* A small message that is large inside. */
	str_add(&json, "{\"Domain\":\"");
	for (int i = 0; i < 9000; i++)
		str_addc(&json, 'x');
	str_add(&json, "\"}");
	assert_int_equal(feed_zstd(feed, json.s, json.len, 100), -EMSGSIZE);
	ctl_map_begin(feed->map);
	assert_int_equal(feed_json(feed, json.s), -EMSGSIZE);
	assert_int_equal(feed->now->n_peers, 3);
	str_free(&json);
}

/*
 * ---- Memory of snapshots ----
 */

/* Old snapshots stay whole while they are held, in whatever order they go. */
static void test_held_snapshots(void **state)
{
	struct feed *feed = *state;
	const struct warren_netmap *held[4];
	struct str before[4], after = STR_INIT;
	char json[256];

	memset(before, 0, sizeof(before));
	for (int i = 0; i < 4; i++) {
		(void)snprintf(json, sizeof(json), "{\"PeersChangedPatch\":[{\"NodeID\":%d,"
			       "\"DERPRegion\":%d}],\"UserProfiles\":[{\"ID\":7,\"LoginName"
				"\":\"u%d\""
			       "}]}", 2 + i % 3, 100 + i, i);
		assert_int_equal(feed_json(feed, json), 0);
		held[i] = ctl_map_current(feed->map);
		dump_map(&before[i], held[i]);
	}
	assert_int_equal(ctl_map_clear(feed->map), 0);
	for (int i = 0; i < 4; i++) {
		int at = (i * 3 + 1) % 4;	/* 1 0 3 2 */

		str_cut(&after, 0);
		dump_map(&after, held[at]);
		assert_string_equal(after.s, before[at].s);
		assert_int_equal(held[at]->changes[0].before->user, 7);
		warren_obj_unref(held[at]);
		str_free(&before[at]);
	}
	str_free(&after);
}

static void test_store(void **state)
{
	struct feed *feed = *state, other;
	struct str json = STR_INIT, a = STR_INIT, b = STR_INIT;

	ctl_store_write(ctl_snapshot_of(feed->now), &json);
	feed_open(&other, NULL, NULL);
	assert_int_equal(feed_json_n(&other, json.s, json.len), 0);
	dump_map(&a, feed->now);
	dump_map(&b, other.now);
	assert_string_equal(a.s, b.s);
	assert_string_equal(str_text(&other.bad), "");
	feed_close(&other);
	str_free(&json);
	str_free(&a);
	str_free(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define FRESH(test) cmocka_unit_test_setup_teardown(test, feed_setup, feed_teardown)
#define ON_FULL(test) cmocka_unit_test_setup_teardown(test, feed_setup_full, feed_teardown)
		ON_FULL(test_full),
		FRESH(test_first_without_self),
		ON_FULL(test_same_again),
		ON_FULL(test_empty_peers),
		ON_FULL(test_changed_and_removed),
		ON_FULL(test_seen_and_online),
		ON_FULL(test_patch),
		ON_FULL(test_stale_patch),
		ON_FULL(test_order),
		ON_FULL(test_large_ids),
		ON_FULL(test_dormant),
		ON_FULL(test_allowed_ips),
		ON_FULL(test_self),
		ON_FULL(test_self_that_was_a_peer),
		ON_FULL(test_client_side_expiry),
		ON_FULL(test_bad_peers),
		ON_FULL(test_long_lists),
		ON_FULL(test_events),
		ON_FULL(test_clear),
		ON_FULL(test_broken),
		ON_FULL(test_cut),
		ON_FULL(test_trailing_frame),
		FRESH(test_limits),
		ON_FULL(test_held_snapshots),
		ON_FULL(test_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
