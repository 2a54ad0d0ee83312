/*
 * Whether large packets arrive (path-protocols.md 2.8): the padded pings of one peer's machine.
 */
#include "peer_world.h"

/* The rounds of a check, in which small pings are answered at once. */
static void rounds(struct world *w, const char *address, int n)
{
	for (int i = 0; i < n; i++) {
		uint32_t before = w->n_sent;

		pass(w, PATHS_CHECK_WAIT + 2 * PATHS_MSEC, true);
		if (w->n_sent > before)
			assert_true(answer(w, address, PATHS_MSEC));
	}
}

static void narrow(struct world *w, const char *address)
{
	w->width = FULL - 1;
	paths_peer_send(&w->peer, w->now);
	assert_true(answer(w, address, PATHS_MSEC));
	rounds(w, address, PATHS_CHECKS);
	assert_path(w, address, 0);
	assert_false(paths_peer_narrow(&w->peer));
	rounds(w, address, 1);
	assert_true(paths_peer_narrow(&w->peer));
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NARROW);
	assert_false(w->event.trusted);
}

static void test_full_size_first(void **state)
{
	struct world *w = *state;
	struct paths_candidate *c;

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	c = &w->peer.candidates[0];
	assert_int_equal(w->n_checks, 1);
	assert_int_equal(c->size, FULL);
	assert_int_equal(paths_candidate_mtu(c), FULL + 28);
	/* Then after so much data, and not with each heartbeat. */
	for (int i = 0; i < 20; i++) {
		w->tunnel.bytes += PATHS_CHECK_BYTES / 4;
		pass(w, PATHS_HEARTBEAT, true);
		assert_true(answer(w, LAN, PATHS_MSEC));
	}
	assert_in_range(w->n_checks, 5, 6);
	/* Of a little, none. */
	w->n_checks = 0;
	w->tunnel.bytes += PATHS_CHECK_BYTES / 4;
	for (int i = 0; i < 20; i++) {
		pass(w, PATHS_HEARTBEAT, true);
		assert_true(answer(w, LAN, PATHS_MSEC));
	}
	assert_in_range(w->n_checks, 0, 1);
	assert_path(w, LAN, 0);
}

static void test_narrow(void **state)
{
	struct world *w = *state;
	struct paths_candidate *c;

	map(w, REGION, 1, LAN_WAN);
	narrow(w, LAN);
	c = &w->peer.candidates[0];
	deliver(w);
	assert_int_equal(paths_candidate_mtu(c), 1280);	/* what does arrive is found out */
	/* It stays so, whatever is answered of small ones, and a command does not go there. */
	for (int i = 0; i < 10; i++) {
		pass(w, PATHS_HEARTBEAT, true);
		assert_true(answer(w, LAN, PATHS_MSEC));
	}
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NARROW);
	assert_false(paths_peer_trusted(&w->peer, w->now));
	w->n_sent = 0;
	paths_peer_command(&w->peer, w->now, w, 0);
	assert_int_equal(w->n_sent, 1);
	assert_int_equal(w->sent[0].region, REGION);
	/* Without a relay it is used. */
	map(w, 0, 1, LAN_WAN);
	assert_path(w, LAN, 0);
	assert_false(paths_peer_trusted(&w->peer, w->now));
	map(w, REGION, 1, LAN_WAN);
	/* When it is wide again, the next heartbeat shows that. */
	w->width = FULL;
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_WIDE_AGAIN);
	assert_true(w->event.trusted);
}

/* Data has proven it before: that takes longer, and so much data to begin with. */
static void narrow_later(struct world *w)
{
	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	w->width = FULL - 1;
	for (int i = 0; i < 20; i++) {
		pass(w, PATHS_HEARTBEAT, true);
		assert_true(answer(w, LAN, PATHS_MSEC));
	}
	assert_path(w, LAN, 0);
	w->tunnel.bytes += PATHS_CHECK_BYTES;
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	rounds(w, LAN, PATHS_CHECKS_PROVEN - 1);
	assert_path(w, LAN, 0);
	rounds(w, LAN, 1);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NARROW);
	assert_int_equal(paths_candidate_mtu(&w->peer.candidates[0]), 1280);
}

static void test_narrow_later(void **state)
{
	narrow_later(*state);
}

/* What arrives of the smaller sizes that are probed as well excuses nothing. */
static void test_narrow_later_with_series(void **state)
{
	struct world *w = *state;

	w->tunnel.series = true;
	narrow_later(w);
}

/* Nothing at all arrives: that is not about size. */
static void test_dead_is_not_narrow(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	w->width = 0;
	w->tunnel.bytes += PATHS_CHECK_BYTES;
	pass(w, 9 * PATHS_SECOND, true);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NO_ANSWER);
	assert_false(w->peer.candidates[0].narrow);
	assert_int_equal(w->peer.check_due, PATHS_NEVER);
}

/* Loss is not narrowness: one answer in PATHS_CHECKS rounds is enough. */
static void test_lossy_is_not_narrow(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	w->width = 0;
	paths_peer_send(&w->peer, w->now);
	assert_true(answer(w, LAN, PATHS_MSEC));
	rounds(w, LAN, PATHS_CHECKS - 1);
	assert_int_equal(w->peer.candidates[0].lost, PATHS_CHECKS - 2);
	w->width = FULL;
	rounds(w, LAN, 1);
	assert_path(w, LAN, 0);
	assert_int_equal(w->peer.candidates[0].lost, 0);
	assert_int_equal(w->peer.check_due, PATHS_NEVER);
}

/* A wide address is better than a narrow one, however far, and a narrow one than none. */
static void test_narrow_and_wide(void **state)
{
	struct world *w = *state;

	map(w, REGION, 2, LAN_WAN);
	narrow(w, LAN);
	w->wide = at(WAN);
	pass(w, 2 * PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_true(answer(w, WAN, 100 * PATHS_MSEC));
	assert_path(w, WAN, 0);
	assert_reason(w, PATHS_REPLACED);
	/* The narrow one is faster by far. */
	call(w, 2, LAN_WAN);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, WAN, 0);
	/* But it answers, when the other one does not any more. */
	pass(w, 9 * PATHS_SECOND, true);
	assert_path(w, NULL, REGION);
	call(w, 2, LAN_WAN);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, NULL, REGION);
	assert_true(paths_peer_narrow(&w->peer));
	/* The other one is back, and preferred again; then the narrow one has become wide. */
	assert_true(answer(w, WAN, 100 * PATHS_MSEC));
	assert_path(w, WAN, 0);
	w->width = FULL;
	call(w, 2, LAN_WAN);
	deliver(w);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_BETTER);
}

/* The server wants all sizes: the largest that was answered is kept. */
static void test_series(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	w->tunnel.series = true;
	w->width = 1472;
	direct(w, LAN, PATHS_MSEC);
	assert_int_equal(w->n_checks, 7);
	assert_int_equal(paths_candidate_mtu(&w->peer.candidates[0]), 1500);
	/* `ping --size` goes where it is known to arrive, else everywhere. */
	w->n_sent = 0;
	paths_peer_command(&w->peer, w->now, w, 1472);
	assert_int_equal(w->n_sent, 1);
	paths_peer_command(&w->peer, w->now, w, 1473);
	assert_int_equal(w->n_sent, 3);
	assert_int_equal(w->sent[2].region, REGION);
}

static void test_series_over_ipv6(void **state)
{
	static const char *const six[] = { SIX };
	struct world *w = *state;

	map(w, REGION, 1, six);
	w->tunnel.series = true;
	w->width = 1340;
	direct(w, SIX, PATHS_MSEC);
	assert_int_equal(paths_candidate_mtu(&w->peer.candidates[0]), 1360);
}

/* The MTU of the tunnel has grown. */
static void test_larger_tunnel(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	w->tunnel.largest = 20000;
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_int_equal(w->peer.candidates[0].size, PATHS_LARGEST);
	assert_path(w, LAN, 0);
	assert_int_equal(w->n_checks, 2);
	pass(w, PATHS_HEARTBEAT, true);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_int_equal(w->n_checks, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(full_size_first), TEST(narrow), TEST(narrow_later),
		TEST(narrow_later_with_series), TEST(dead_is_not_narrow),
		TEST(lossy_is_not_narrow), TEST(narrow_and_wide), TEST(series),
		TEST(series_over_ipv6), TEST(larger_tunnel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
