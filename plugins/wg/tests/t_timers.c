/*
 * Timers, sentence by sentence of dataplane.md 1.9, with a device around them that does what they
 * ask for and writes down when. It looks every 250 ms and at the deadlines it was given, so exact
 * times in the tests show that deadlines do not depend on the tick.
 */
#include "../timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000)
#define S WG_SECOND
enum { LOG = 4096 };
static const uint64_t T = 1000 * S;

struct device {
	struct wg_timers timers;
	struct wg_marks marks;
	uint64_t now, jitter;
	bool key;				/* can send; else a packet starts a handshake */
	bool mute;				/* packets cannot be sent (no path) */
	struct {
		uint64_t at;
		uint32_t what;
	} log[LOG];
	size_t n;
};

static uint64_t fixed_jitter(void *arg, uint64_t bound)
{
	const struct device *d = arg;

	assert_true(bound == S / 3);
	return d->jitter;
}

static int setup(void **state)
{
	static struct device d;

	memset(&d, 0, sizeof(d));
	d.now = T;
	d.jitter = 123 * MS;
	wg_timers_init(&d.timers, fixed_jitter, &d);
	*state = &d;
	return 0;
}

static void initiate(struct device *d)
{
	if (wg_timers_want_handshake(&d->timers, d->now))
		wg_timers_initiation_sent(&d->timers, &d->marks, d->now);
}

static void act(struct device *d, uint32_t todo)
{
	assert_true(d->n < LOG);
	if (todo) {
		d->log[d->n].at = d->now;
		d->log[d->n++].what = todo;
	}
	if (todo & WG_DO_ZERO_KEYS)
		d->key = false;
	if (todo & WG_DO_INITIATE)
		wg_timers_initiation_sent(&d->timers, &d->marks, d->now);
	if ((todo & WG_DO_KEEPALIVE) && d->key && !d->mute)
		wg_marks_sent(&d->marks, d->now);
	if ((todo & WG_DO_KEEPALIVE) && !d->key)
		initiate(d);
}

static void run_until(struct device *d, uint64_t end)
{
	uint64_t next;

	for (;;) {
		act(d, wg_timers_run(&d->timers, &d->marks, d->now, &next));
		if (d->now == end)
			return;
		assert_true(next > d->now || next == WG_NEVER);
		if (next > d->now + 250 * MS)
			next = d->now + 250 * MS;
		d->now = next < end ? next : end;
	}
}

/* Entry @i of the log, or the first of all that has @what in it. */
static void expect(const struct device *d, size_t i, uint64_t at, uint32_t what)
{
	assert_true(i < d->n);
	assert_true(d->log[i].at == at);
	assert_int_equal(d->log[i].what, what);
}

static const uint32_t RETRY = WG_DO_FORGET_SOURCE | WG_DO_INITIATE;

/* ---- 1: retransmit handshake ---- */

static void retries_then_gives_up(void **state)
{
	struct device *d = *state;
	uint64_t each = 5 * S + d->jitter;

	initiate(d);
	run_until(d, T + 1000 * S);
	for (size_t i = 0; i < 19; i++)
		expect(d, i, T + (i + 1) * each, RETRY);
	expect(d, 19, T + 20 * each, WG_DO_GIVE_UP);
	/* The zero-key timer was not armed: giving up arms it. */
	expect(d, 20, T + 20 * each + 540 * S, WG_DO_ZERO_KEYS);
	assert_int_equal(d->n, 21);
}

static void complete_handshake_ends_retries(void **state)
{
	struct device *d = *state;

	initiate(d);
	run_until(d, T + 12 * S);
	assert_int_equal(d->n, 2);
	wg_timers_session_derived(&d->timers, d->now);
	wg_timers_handshake_complete(&d->timers);
	run_until(d, T + 500 * S);
	assert_int_equal(d->n, 2);
	/* The next handshake has all its retries again; old keys going meanwhile do not end it. */
	initiate(d);
	run_until(d, T + 1000 * S);
	expect(d, 12, T + 552 * S, WG_DO_ZERO_KEYS);
	expect(d, 21, T + 500 * S + 19 * (5 * S + d->jitter), RETRY);
	expect(d, 22, T + 500 * S + 20 * (5 * S + d->jitter), WG_DO_GIVE_UP);
}

static void giving_up_keeps_an_armed_zero_timer(void **state)
{
	struct device *d = *state;

	wg_timers_session_derived(&d->timers, T);
	initiate(d);
	run_until(d, T + 600 * S);
	expect(d, 20, T + 540 * S, WG_DO_ZERO_KEYS);
}

static void giving_up_stops_the_passive_keepalive(void **state)
{
	struct device *d = *state;

	initiate(d);
	run_until(d, T + 99 * S);		/* 19 retries are out */
	wg_marks_data_received(&d->marks, d->now);
	run_until(d, T + 300 * S);
	for (size_t i = 0; i < d->n; i++)
		assert_false(d->log[i].what & WG_DO_KEEPALIVE);
}

static void hold_off_is_5_s_without_jitter(void **state)
{
	struct device *d = *state;

	initiate(d);
	assert_false(wg_timers_want_handshake(&d->timers, T + 5 * S - 1));
	assert_true(wg_timers_want_handshake(&d->timers, T + 5 * S));
	/* It counts from a response that we sent as well. */
	wg_timers_response_sent(&d->timers, &d->marks, T + 20 * S);
	assert_false(wg_timers_want_handshake(&d->timers, T + 25 * S - 1));
	assert_true(wg_timers_want_handshake(&d->timers, T + 25 * S));
	/* A reset lifts it. */
	wg_timers_response_sent(&d->timers, &d->marks, T + 30 * S);
	wg_timers_reset_handshake(&d->timers);
	assert_true(wg_timers_want_handshake(&d->timers, T + 30 * S + 1));
}

static void retry_inside_hold_off_is_skipped_for_good(void **state)
{
	struct device *d = *state;

	initiate(d);
	d->now = T + 3 * S;
	wg_timers_response_sent(&d->timers, &d->marks, d->now);
	run_until(d, T + 300 * S);
	expect(d, 0, T + 5 * S + d->jitter, WG_DO_FORGET_SOURCE);
	assert_int_equal(d->n, 1);
}

static void wanting_again_restarts_the_count(void **state)
{
	struct device *d = *state;

	initiate(d);
	run_until(d, T + 60 * S);
	wg_timers_want_handshake(&d->timers, d->now);	/* a packet was staged */
	run_until(d, T + 150 * S);
	for (size_t i = 0; i < d->n; i++)
		assert_int_equal(d->log[i].what, RETRY);
}

/* ---- 2: passive keepalive ---- */

static void keepalive_10_s_after_data_received(void **state)
{
	struct device *d = *state;

	d->key = true;
	d->now = T + 70 * MS;
	wg_marks_data_received(&d->marks, d->now);
	run_until(d, T + 100 * S);
	expect(d, 0, T + 70 * MS + 10 * S, WG_DO_KEEPALIVE);
	assert_int_equal(d->n, 1);
}

static void anything_sent_clears_the_keepalive(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_data_received(&d->marks, T);
	run_until(d, T + 9 * S);
	wg_marks_sent(&d->marks, d->now);	/* a handshake message or a keepalive, even */
	run_until(d, T + 100 * S);
	assert_int_equal(d->n, 0);
}

static void received_keepalives_do_not_arm_it(void **state)
{
	struct device *d = *state;

	d->key = true;
	for (int i = 0; i < 20; i++) {
		wg_marks_received(&d->marks, d->now);
		run_until(d, d->now + 7 * S);
	}
	assert_int_equal(d->n, 0);
}

static void keepalive_counts_from_the_receive(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_data_sent(&d->marks, T);
	run_until(d, T + 4 * S);
	wg_marks_data_received(&d->marks, d->now);
	run_until(d, T + 8 * S);
	wg_marks_data_received(&d->marks, d->now);
	run_until(d, T + 100 * S);
	expect(d, 0, T + 14 * S, WG_DO_KEEPALIVE);
	/* Sending it cleared the timer and "need another" with it. */
	assert_int_equal(d->n, 1);
}

static void need_another_if_the_first_could_not_be_sent(void **state)
{
	struct device *d = *state;

	d->key = d->mute = true;
	wg_marks_data_received(&d->marks, T);
	wg_marks_data_received(&d->marks, T + 1);
	run_until(d, T + 100 * S);
	expect(d, 0, T + 10 * S, WG_DO_KEEPALIVE);
	expect(d, 1, T + 20 * S, WG_DO_KEEPALIVE);
	assert_int_equal(d->n, 2);
}

/* ---- 3: no answer ---- */

static void no_answer_after_15_s(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_data_sent(&d->marks, T);
	for (int i = 0; i < 14; i++) {		/* more data does not put it off */
		run_until(d, d->now + S);
		wg_marks_data_sent(&d->marks, d->now);
	}
	run_until(d, T + 16 * S);
	expect(d, 0, T + 15 * S + d->jitter, RETRY);
	assert_int_equal(d->n, 1);
	assert_int_equal(d->timers.retries, 0);
}

static void anything_received_clears_no_answer(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_data_sent(&d->marks, T);
	run_until(d, T + 14 * S);
	wg_marks_received(&d->marks, d->now);
	run_until(d, T + 200 * S);
	assert_int_equal(d->n, 0);
	/* And the next data arms it anew, from its own time. */
	wg_marks_data_sent(&d->marks, d->now);
	run_until(d, d->now + 16 * S);
	expect(d, 0, T + 215 * S + d->jitter, RETRY);
}

static void keepalives_sent_do_not_arm_no_answer(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_sent(&d->marks, T);
	run_until(d, T + 200 * S);
	assert_int_equal(d->n, 0);
}

static void no_answer_respects_hold_off(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_marks_data_sent(&d->marks, T);
	run_until(d, T + 14 * S);
	wg_timers_response_sent(&d->timers, &d->marks, d->now);
	run_until(d, T + 60 * S);
	expect(d, 0, T + 15 * S + d->jitter, WG_DO_FORGET_SOURCE);
	assert_int_equal(d->n, 1);
}

/* ---- 4: zero keys ---- */

static void keys_are_zeroed_540_s_after_the_last_session(void **state)
{
	struct device *d = *state;

	wg_timers_session_derived(&d->timers, T);
	run_until(d, T + 100 * S);
	wg_timers_session_derived(&d->timers, d->now);
	run_until(d, T + 2000 * S);
	expect(d, 0, T + 640 * S, WG_DO_ZERO_KEYS);
	assert_int_equal(d->n, 1);
}

static void lazy_peer_goes_after_540_s(void **state)
{
	struct device *d = *state;

	wg_timers_created(&d->timers, T);
	wg_timers_created(&d->timers, T + S);
	run_until(d, T + 2000 * S);
	expect(d, 0, T + 540 * S, WG_DO_ZERO_KEYS);
	assert_int_equal(d->n, 1);
}

/* ---- 5: persistent keepalive ---- */

static void persistent_keepalive(void **state)
{
	struct device *d = *state;

	d->key = true;
	wg_timers_set_keepalive(&d->timers, 25 * S, d->now);
	run_until(d, T + 60 * S);
	expect(d, 0, T, WG_DO_KEEPALIVE);	/* configuring it sends one at once */
	expect(d, 1, T + 25 * S, WG_DO_KEEPALIVE);
	expect(d, 2, T + 50 * S, WG_DO_KEEPALIVE);
	wg_marks_received(&d->marks, d->now);	/* re-armed by anything received, */
	run_until(d, T + 80 * S);
	wg_marks_sent(&d->marks, d->now);	/* or sent */
	run_until(d, T + 110 * S);
	expect(d, 3, T + 105 * S, WG_DO_KEEPALIVE);
	wg_timers_set_keepalive(&d->timers, 0, d->now);
	run_until(d, T + 500 * S);
	assert_int_equal(d->n, 4);
}

static void persistent_keepalive_brings_up_the_session(void **state)
{
	struct device *d = *state;

	wg_timers_set_keepalive(&d->timers, 25 * S, d->now);
	run_until(d, T + 1 * S);
	expect(d, 0, T, WG_DO_KEEPALIVE);
	assert_true(d->timers.handshake_sent == T);
	/* The peer never answers: after giving up it goes on, an interval after the last try. */
	run_until(d, T + 150 * S);
	expect(d, 20, T + 20 * (5 * S + d->jitter), WG_DO_GIVE_UP);
	expect(d, 21, T + 19 * (5 * S + d->jitter) + 25 * S, WG_DO_KEEPALIVE);
	expect(d, 22, T + 20 * (5 * S + d->jitter) + 25 * S, RETRY);
}

static void persistent_keepalive_survives_silence(void **state)
{
	struct device *d = *state;

	d->key = d->mute = true;
	wg_timers_set_keepalive(&d->timers, 10 * S, d->now);
	run_until(d, T + 100 * S);
	assert_int_equal(d->n, 11);
}

/* ---- Both, and keys ---- */

static void stop_ends_everything(void **state)
{
	struct device *d = *state;
	uint64_t next;

	d->key = true;
	initiate(d);
	wg_timers_session_derived(&d->timers, T);
	wg_timers_set_keepalive(&d->timers, 25 * S, T);
	wg_marks_data_received(&d->marks, T);
	wg_marks_data_sent(&d->marks, T);
	wg_timers_stop(&d->timers, &d->marks);
	assert_int_equal(wg_timers_run(&d->timers, &d->marks, T + 1000 * S, &next), 0);
	assert_true(next == WG_NEVER);
}

static void marks_of_a_clock_ahead(void **state)
{
	struct device *d = *state;
	uint64_t next;

	/* A worker's clock may be a little ahead of the lane's. */
	wg_marks_data_sent(&d->marks, T + 50 * MS);
	wg_marks_data_received(&d->marks, T + 50 * MS);
	assert_int_equal(wg_timers_run(&d->timers, &d->marks, T, &next), 0);
	assert_true(next == T + 50 * MS + 10 * S);
	assert_true(wg_key_usable(T + 50 * MS, 0, T));
	assert_false(wg_key_rekey_on_send(true, T + 50 * MS, 0, T));
	assert_false(wg_key_rekey_on_receive(true, T + 50 * MS, T));
}

static void ages_of_keys(void **state)
{
	const uint64_t limit = UINT64_MAX - 8192;	/* 2^64 - 2^13 - 1 */

	(void)state;
	assert_true(wg_key_usable(T, 0, T + 180 * S - 1));
	assert_false(wg_key_usable(T, 0, T + 180 * S));
	assert_true(wg_key_usable(T, limit - 1, T));
	assert_false(wg_key_usable(T, limit, T));
	/* 120 s: the initiator only. */
	assert_false(wg_key_rekey_on_send(true, T, 0, T + 120 * S - 1));
	assert_true(wg_key_rekey_on_send(true, T, 0, T + 120 * S));
	assert_false(wg_key_rekey_on_send(false, T, 0, T + 179 * S));
	/* 2^60 messages: either role. */
	assert_false(wg_key_rekey_on_send(false, T, UINT64_C(1) << 60, T));
	assert_true(wg_key_rekey_on_send(false, T, (UINT64_C(1) << 60) + 1, T));
	assert_true(wg_key_rekey_on_send(true, T, (UINT64_C(1) << 60) + 1, T));
	/* 165 s on receive: the initiator only. */
	assert_false(wg_key_rekey_on_receive(true, T, T + 165 * S - 1));
	assert_true(wg_key_rekey_on_receive(true, T, T + 165 * S));
	assert_false(wg_key_rekey_on_receive(false, T, T + 179 * S));
}

static void last_minute_rekey_once_per_session(void **state)
{
	struct device *d = *state;

	assert_true(wg_timers_rekey_on_receive(&d->timers));
	assert_false(wg_timers_rekey_on_receive(&d->timers));
	wg_timers_handshake_complete(&d->timers);
	assert_true(wg_timers_rekey_on_receive(&d->timers));
}

static void default_jitter_is_bounded(void **state)
{
	uint64_t least = WG_NEVER, most = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct wg_marks marks = { 0 };
		struct wg_timers timers;
		uint64_t jitter;

		wg_timers_init(&timers, NULL, NULL);
		wg_timers_initiation_sent(&timers, &marks, T);
		jitter = timers.retry_at - T - 5 * S;
		assert_true(jitter <= S / 3);
		least = jitter < least ? jitter : least;
		most = jitter > most ? jitter : most;
	}
	assert_true(least < S / 30);
	assert_true(most > S / 3 - S / 30);
}

#define TEST(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(retries_then_gives_up),
		TEST(complete_handshake_ends_retries),
		TEST(giving_up_keeps_an_armed_zero_timer),
		TEST(giving_up_stops_the_passive_keepalive),
		TEST(hold_off_is_5_s_without_jitter),
		TEST(retry_inside_hold_off_is_skipped_for_good),
		TEST(wanting_again_restarts_the_count),
		TEST(keepalive_10_s_after_data_received),
		TEST(anything_sent_clears_the_keepalive),
		TEST(received_keepalives_do_not_arm_it),
		TEST(keepalive_counts_from_the_receive),
		TEST(need_another_if_the_first_could_not_be_sent),
		TEST(no_answer_after_15_s),
		TEST(anything_received_clears_no_answer),
		TEST(keepalives_sent_do_not_arm_no_answer),
		TEST(no_answer_respects_hold_off),
		TEST(keys_are_zeroed_540_s_after_the_last_session),
		TEST(lazy_peer_goes_after_540_s),
		TEST(persistent_keepalive),
		TEST(persistent_keepalive_brings_up_the_session),
		TEST(persistent_keepalive_survives_silence),
		TEST(stop_ends_everything),
		TEST(marks_of_a_clock_ahead),
		TEST(ages_of_keys),
		TEST(last_minute_rekey_once_per_session),
		TEST(default_jitter_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
