/*
 * The state machine of one peer, with a clock of its own: the tables of path-protocols.md section 4
 * and the pitfalls of section 11 that concern it.
 */
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "peer_world.h"

/*
 * ---- 4.3 Send, 4.4 full ping, CallMeMaybe ----
 */

static void test_lazy(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	pass(w, 600 * PATHS_SECOND, false);
	assert_int_equal(w->n_sent, 0);
	assert_int_equal(paths_peer_deadline(&w->peer), PATHS_NEVER);
	/* The relay is ready, and the first packet is news. */
	assert_path(w, NULL, REGION);
	assert_true(w->peer.told.tell);
}

static void test_first_packet(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 2);
	assert_int_equal(w->n_calls, 1);
	assert_path(w, NULL, REGION);
	assert_false(w->peer.told.tell);
	/* More packets at once change nothing. */
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 2);
	assert_int_equal(w->n_calls, 1);
	assert_true(answer(w, WAN, 20 * PATHS_MSEC));
	assert_path(w, WAN, 0);
	assert_reason(w, PATHS_FIRST_ANSWER);
	assert_int_equal(w->event.latency, 20 * PATHS_MSEC);
}

static void test_no_call_without_relay_or_candidate(void **state)
{
	struct world *w = *state;

	map(w, 0, 2, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 2);
	assert_int_equal(w->n_calls, 0);
	assert_path(w, NULL, 0);
	map(w, REGION, 0, NULL);
	pass(w, 30 * PATHS_SECOND, true);
	assert_int_equal(w->n_calls, 0);
	assert_path(w, NULL, REGION);
}

static void test_learned_relay(void **state)
{
	struct world *w = *state;

	map(w, 0, 1, LAN_WAN);
	paths_peer_relay(&w->peer, w->now, REGION);
	assert_path(w, NULL, REGION);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_calls, 1);
	paths_peer_relay(&w->peer, w->now, 0);
	assert_path(w, NULL, 0);
}

static void test_discovery_rhythm(void **state)
{
	struct world *w = *state;
	uint32_t before;

	map(w, REGION, 1, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	before = w->n_sent;
	/* Ticks of 3 s and a spacing of 5 s make one ping in 6 s, as long as there is traffic. */
	pass(w, 60 * PATHS_SECOND, true);
	assert_int_equal(w->n_sent - before, 10);
	assert_int_equal(w->n_calls, 11);
}

static void test_refused_ping_is_forgotten(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	w->refuse = -101;
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->peer.n_pings, 0);
	w->refuse = 0;
	pass(w, 4 * PATHS_SECOND, true);
	assert_int_equal(w->n_sent, 0);		/* but it counts for the spacing */
	pass(w, 4 * PATHS_SECOND, true);
	assert_int_equal(w->n_sent, 1);
}

static void test_expired(void **state)
{
	struct world *w = *state;
	struct warren_addrport list[1] = { at(WAN) };

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, 1);
	paths_peer_map(&w->peer, w->now, list, 1, REGION, true);
	assert_path(w, NULL, 0);
	paths_peer_send(&w->peer, w->now);
	paths_peer_command(&w->peer, w->now, w, 0);
	pass(w, 60 * PATHS_SECOND, true);
	assert_int_equal(w->n_sent, 1);
}

/*
 * ---- 4.5 Pong, 4.6 better address ----
 */

static void test_pong(void **state)
{
	static const uint8_t unknown[WARREN_DISCO_TXID] = { 77 };
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	assert_false(paths_peer_got_pong(&w->peer, w->now, unknown));
	assert_path(w, NULL, REGION);
	assert_true(answer(w, WAN, 30 * PATHS_MSEC));
	assert_false(answer(w, WAN, 30 * PATHS_MSEC));	/* single use */
	/* Too late is no answer. */
	pass(w, 4 * PATHS_SECOND, true);
	assert_true(answer(w, WAN, PATHS_MSEC));
	pass(w, 10 * PATHS_SECOND, true);
	assert_path(w, NULL, REGION);
	assert_false(paths_peer_got_pong(&w->peer, w->now, w->sent[0].txid));
}

static void test_pong_of_no_candidate(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	map(w, REGION, 1, LAN_WAN);
	assert_true(answer(w, WAN, PATHS_MSEC));
	assert_path(w, NULL, REGION);
}

static void test_better_table(void **state)
{
	static const struct {
		const char *a;
		uint64_t a_msec;
		const char *b;
		uint64_t b_msec;
		bool better;
	} rows[] = {
		{ WAN, 100, "192.0.2.8:1", 101, false },	/* noise */
		{ WAN, 101, "192.0.2.8:1", 100, false },
		{ WAN, 100, "192.0.2.8:1", 103, true },
		{ WAN, 103, "192.0.2.8:1", 100, false },
		{ LAN, 100, WAN, 91, true },			/* near beats a little faster */
		{ WAN, 91, LAN, 100, false },
		{ LAN, 100, WAN, 70, false },
		{ WAN, 70, LAN, 100, true },
		{ SIX, 100, WAN, 91, true },
		{ WAN, 91, SIX, 100, false },
		{ LAN, 100, SIX, 101, true },
		{ SIX, 101, LAN, 100, false },
		{ "127.0.0.1:1", 100, LAN, 100, true },
		{ "[::1]:1", 100, "127.0.0.1:1", 100, true },
		{ "169.254.1.1:1", 100, LAN, 100, true },
		{ "[fe80::1]:1", 100, LAN, 100, true },
		{ "[fd00::1]:1", 100, "172.16.0.1:1", 100, true },
		{ "172.32.0.1:1", 100, "192.168.0.1:1", 100, false },
		{ WAN, 100, "192.0.2.8:1", 100, false },
		{ WAN, 1, WAN, 100, false },			/* the same */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct warren_addrport a = at(rows[i].a), b = at(rows[i].b), none = { .port = 0 };

		if (paths_better(&a, rows[i].a_msec * PATHS_MSEC, &b,
				 rows[i].b_msec * PATHS_MSEC) != rows[i].better)
			fail_msg("row %zu: %s and %s", i, rows[i].a, rows[i].b);
		assert_true(paths_better(&a, 1, &none, 0));
		assert_false(paths_better(&none, 0, &a, 1));
	}
	assert_true(paths_better(&(struct warren_addrport){ { 4, { 1 } }, 1 }, 0,
				 &(struct warren_addrport){ { 4, { 2 } }, 1 }, 5));
}

static void test_switch_to_better(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	direct(w, WAN, 50 * PATHS_MSEC);
	assert_true(answer(w, LAN, 51 * PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_BETTER);
	/* What is worse changes neither path nor trust. */
	pass(w, 5 * PATHS_SECOND, true);
	paths_peer_send(&w->peer, w->now);
	assert_path(w, LAN, 0);
}

/*
 * ---- 4.7 Heartbeat, trust, failover ----
 */

static void test_heartbeats(void **state)
{
	struct world *w = *state;
	uint32_t before;

	map(w, REGION, 2, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	before = w->n_sent;
	for (int i = 0; i < 20; i++) {
		pass(w, PATHS_HEARTBEAT, true);
		assert_true(answer(w, LAN, PATHS_MSEC));
	}
	/* Fast and direct: one ping each 3 s, and nothing to the others. */
	assert_int_equal(w->n_sent - before, 20);
	assert_int_equal(sent_to(w, WAN, before), 0);
	assert_path(w, LAN, 0);
	assert_int_equal(w->n_calls, 1);
}

static void test_upgrade(void **state)
{
	struct world *w = *state;
	uint32_t before;

	map(w, REGION, 2, LAN_WAN);
	direct(w, WAN, 30 * PATHS_MSEC);
	before = w->n_sent;
	for (int i = 0; i < 40; i++) {
		pass(w, PATHS_HEARTBEAT, true);
		answer(w, WAN, 30 * PATHS_MSEC);
	}
	/* 120 s on a direct path that is not fast: everything is tried each minute. */
	assert_in_range(sent_to(w, LAN, before), 1, 2);
}

static void test_one_lost_heartbeat(void **state)
{
	struct world *w = *state;
	uint32_t paths;

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	paths = w->n_paths;
	pass(w, PATHS_HEARTBEAT, true);		/* this one is lost */
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_int_equal(w->n_paths, paths);
}

/* The reference's time line of a path that dies silently just after a good pong. */
static void test_failover(void **state)
{
	struct world *w = *state;
	uint64_t dead;

	map(w, REGION, 2, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	dead = w->now;
	pass(w, PATHS_TRUST, true);
	assert_path(w, LAN, 0);
	pass(w, 1, true);
	assert_path(w, LAN, REGION);		/* on both */
	assert_reason(w, PATHS_IN_DOUBT);
	pass(w, 1500 * PATHS_MSEC, true);	/* the ping of second 3 has timed out */
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NO_ANSWER);
	assert_in_range(w->now - dead, 8 * PATHS_SECOND, 8100 * PATHS_MSEC);
	/* And back. */
	pass(w, 6 * PATHS_SECOND, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_FIRST_ANSWER);
}

static void test_doubt_ends(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	pass(w, 7 * PATHS_SECOND, true);
	assert_path(w, LAN, REGION);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_ANSWERS_AGAIN);
	pass(w, 6600 * PATHS_MSEC, true);
	paths_peer_send(&w->peer, w->now);
	assert_true(answer(w, WAN, 100 * PATHS_MSEC));	/* any answer is better than doubt */
	assert_path(w, WAN, 0);
	assert_reason(w, PATHS_REPLACED);
}

static void test_idle(void **state)
{
	struct world *w = *state;
	uint32_t sent, calls;

	map(w, REGION, 2, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	for (int i = 0; i < 30; i++) {
		pass(w, PATHS_HEARTBEAT, false);
		answer(w, LAN, PATHS_MSEC);
	}
	assert_reason(w, PATHS_IDLE);
	assert_int_equal(paths_peer_deadline(&w->peer), PATHS_NEVER);
	sent = w->n_sent;
	calls = w->n_calls;
	pass(w, 600 * PATHS_SECOND, false);
	assert_int_equal(w->n_sent, sent);
	/* The first packet after that goes both ways, is news, and starts discovery. */
	assert_path(w, LAN, REGION);
	assert_true(w->peer.told.tell);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, sent + 2);
	assert_int_equal(w->n_calls, calls + 1);
	assert_reason(w, PATHS_BUSY);
	assert_path(w, LAN, REGION);
	assert_false(w->peer.told.tell);
}

/* What others send keeps nothing alive; their pings are answered and that is all. */
static void test_pings_keep_nothing_alive(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	for (uint8_t i = 0; i < 100; i++) {
		assert_true(ping_from(w, WAN, i));
		pass(w, PATHS_HEARTBEAT, false);
	}
	assert_int_equal(w->n_sent, 0);		/* never answered by a ping */
	assert_int_equal(w->n_events, 0);
	assert_path(w, NULL, REGION);
}

/*
 * ---- Candidates: 2.6, 4.2, 4.4 ----
 */

static void test_ping_makes_candidate(void **state)
{
	struct world *w = *state;

	map(w, REGION, 0, NULL);
	assert_true(ping_from(w, WAN, 1));
	assert_false(ping_from(w, WAN, 1));	/* the same, seen twice */
	assert_true(ping_from(w, WAN, 2));
	assert_int_equal(w->n_sent, 0);
	direct(w, WAN, PATHS_MSEC);
	/* Quiet for 45 s, it is dropped by the next full ping, and the path with it. */
	pass(w, 46 * PATHS_SECOND, false);
	paths_peer_send(&w->peer, w->now);
	assert_path(w, NULL, REGION);
	assert_int_equal(w->peer.n_candidates, 0);
}

/* Ours came before the peer's NAT was open; that of the peer's shows that it is now. */
static void test_ping_is_returned(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 2);
	pass(w, PATHS_MSEC, true);
	assert_true(ping_from(w, WAN, 1));
	assert_int_equal(sent_to(w, WAN, 2), 1);
	assert_false(ping_from(w, WAN, 1));
	assert_true(ping_from(w, WAN, 2));
	assert_int_equal(w->n_sent, 3);		/* once a second */
	pass(w, PATHS_RETURN_SPACING, true);
	assert_true(ping_from(w, WAN, 3));
	assert_int_equal(w->n_sent, 4);
	assert_true(answer(w, WAN, PATHS_MSEC));
	assert_path(w, WAN, 0);
	pass(w, PATHS_SECOND, true);
	assert_true(ping_from(w, LAN, 4));
	assert_int_equal(sent_to(w, LAN, 4), 0);	/* there is a path */
}

static void test_call(void **state)
{
	static const char *const first[] = { WAN, SIX }, *const second[] = { SIX };
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 1);
	/* All are pinged at once, whatever was sent lately, and there is no call in return. */
	call(w, 2, first);
	assert_int_equal(w->n_sent, 4);
	assert_int_equal(w->n_calls, 1);
	assert_true(answer(w, WAN, PATHS_MSEC));
	assert_path(w, WAN, 0);
	/* What an earlier call named and this one does not is gone, and the path with it. */
	call(w, 1, second);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_WITHDRAWN);
	assert_int_equal(w->peer.n_candidates, 2);
	call(w, 0, NULL);
	assert_int_equal(w->peer.n_candidates, 1);
}

static void test_call_withdraws_what_the_map_names(void **state)
{
	static const char *const both[] = { LAN, WAN }, *const one[] = { WAN };
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	call(w, 2, both);
	call(w, 1, one);
	assert_int_equal(w->peer.n_candidates, 1);
	map(w, REGION, 2, LAN_WAN);
	assert_int_equal(w->peer.n_candidates, 2);
}

static void test_call_without_traffic(void **state)
{
	struct world *w = *state;

	map(w, REGION, 0, NULL);
	call(w, 2, LAN_WAN);
	assert_int_equal(w->n_sent, 2);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_int_equal(w->n_calls, 0);
	/* No heart beats for somebody else's wish. */
	pass(w, 20 * PATHS_SECOND, false);
	assert_int_equal(w->n_sent, 2);
	assert_path(w, LAN, REGION);
}

static void test_candidates_are_limited(void **state)
{
	struct world *w = *state;
	char text[ADDRPORT_TEXT];

	map(w, REGION, 2, LAN_WAN);
	for (int i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "192.0.2.9:%d", 1000 + i);
		assert_true(ping_from(w, text, 1));
		w->now++;
	}
	assert_int_equal(w->peer.n_candidates, 2 + PATHS_LEARNED);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_sent, 2 + PATHS_LEARNED);
	assert_int_equal(sent_to(w, "192.0.2.9:1499", 0), 1);
	assert_int_equal(sent_to(w, "192.0.2.9:1000", 0), 0);
	assert_int_equal(sent_to(w, LAN, 0), 1);
}

static void test_map_removes(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	direct(w, WAN, PATHS_MSEC);
	map(w, REGION, 1, LAN_WAN);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_WITHDRAWN);
	map(w, REGION + 1, 1, LAN_WAN);
	assert_reason(w, PATHS_RELAY_MOVED);
	assert_path(w, NULL, REGION + 1);
}

/*
 * ---- Commands, changes of this host ----
 */

static void test_command(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	paths_peer_command(&w->peer, w->now, w, 0);
	assert_int_equal(w->n_sent, 3);		/* both, and by the relay */
	assert_int_equal(w->n_calls, 0);
	assert_int_equal(w->sent[2].region, REGION);
	w->now += 40 * PATHS_MSEC;
	assert_true(paths_peer_got_pong(&w->peer, w->now, w->sent[2].txid));
	assert_int_equal(w->n_pongs, 1);
	assert_int_equal(w->pong.region, REGION);
	assert_int_equal(w->pong.latency, 40 * PATHS_MSEC);
	assert_path(w, NULL, REGION);		/* a pong by relay is no path */
	assert_true(answer(w, LAN, 50 * PATHS_MSEC));
	assert_int_equal(w->n_pongs, 2);
	assert_path(w, LAN, 0);
	/* Trusted and direct: that one only, spacing or not. */
	paths_peer_command(&w->peer, w->now, w, 0);
	assert_int_equal(w->n_sent, 4);
	assert_int_equal(sent_to(w, LAN, 3), 1);
	paths_peer_forget_command(&w->peer, w);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_int_equal(w->n_pongs, 2);
}

static void test_reset(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	paths_peer_reset(&w->peer, w->now);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_LINK_CHANGE);
	assert_int_equal(w->peer.n_candidates, 2);
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, WAN, PATHS_MSEC));
	assert_path(w, WAN, 0);
}

static void test_history(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	assert_null(paths_peer_past(&w->peer, 0));
	for (uint32_t i = 0; i < 300; i++) {
		paths_peer_reset(&w->peer, w->now);
		w->n_sent = 0;
		paths_peer_send(&w->peer, w->now);
		assert_true(answer(w, LAN, i));
	}
	assert_int_equal(w->peer.n_history, PATHS_HISTORY);
	assert_non_null(paths_peer_past(&w->peer, PATHS_HISTORY - 1));
	assert_null(paths_peer_past(&w->peer, PATHS_HISTORY));
	assert_int_equal(paths_peer_past(&w->peer, 0)->latency, 299);
	assert_int_equal(paths_peer_past(&w->peer, 0)->reason, PATHS_FIRST_ANSWER);
	assert_int_equal(paths_peer_past(&w->peer, 1)->reason, PATHS_LINK_CHANGE);
	for (uint32_t i = 1; i < PATHS_HISTORY; i++)
		assert_true(paths_peer_past(&w->peer, i)->at <=
			    paths_peer_past(&w->peer, i - 1)->at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lazy), TEST(first_packet), TEST(no_call_without_relay_or_candidate),
		TEST(learned_relay), TEST(discovery_rhythm), TEST(refused_ping_is_forgotten),
		TEST(expired), TEST(pong), TEST(pong_of_no_candidate), TEST(better_table),
		TEST(switch_to_better), TEST(heartbeats), TEST(upgrade), TEST(one_lost_heartbeat),
		TEST(failover), TEST(doubt_ends), TEST(idle), TEST(pings_keep_nothing_alive),
		TEST(ping_makes_candidate), TEST(ping_is_returned), TEST(call),
		TEST(call_withdraws_what_the_map_names), TEST(call_without_traffic),
		TEST(candidates_are_limited), TEST(map_removes), TEST(command), TEST(reset),
		TEST(history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
