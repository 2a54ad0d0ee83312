/*
 * The reference implementations arm and delete kernel timers per packet. Here packets leave marks
 * (when something happened first or last) and the lane derives from them when the same timers
 * would have expired. Section numbers are those of dataplane.md; timers are numbered as in 1.9.
 *
 * Clocks are coarse and cached per thread, so a mark may lie a little after the lane's `now`: times
 * are compared as sums, never as differences. A mark that the lane consumes is taken by
 * compare-and-swap: if a worker stored a newer one at the same moment, that one stands for a timer
 * of its own.
 */
#include "timers.h"

#include <sodium.h>
#include <string.h>

static uint64_t load(const _Atomic uint64_t *mark)
{
	return atomic_load_explicit(mark, memory_order_relaxed);
}

static void store(_Atomic uint64_t *mark, uint64_t value)
{
	atomic_store_explicit(mark, value, memory_order_relaxed);
}

/* Stores only what changes: the line stays shared between threads. */
static void set(_Atomic uint64_t *mark, uint64_t value)
{
	if (load(mark) != value)
		store(mark, value);
}

void wg_marks_sent(struct wg_marks *marks, uint64_t now)
{
	set(&marks->sent, now);
	set(&marks->unthanked, 0);
	if (atomic_load_explicit(&marks->another, memory_order_relaxed))
		atomic_store_explicit(&marks->another, false, memory_order_relaxed);
}

void wg_marks_received(struct wg_marks *marks, uint64_t now)
{
	set(&marks->received, now);
	set(&marks->unanswered, 0);
}

void wg_marks_data_sent(struct wg_marks *marks, uint64_t now)
{
	wg_marks_sent(marks, now);
	if (!load(&marks->unanswered))
		store(&marks->unanswered, now);
}

void wg_marks_data_received(struct wg_marks *marks, uint64_t now)
{
	wg_marks_received(marks, now);
	if (!load(&marks->unthanked))
		store(&marks->unthanked, now);
	else if (!atomic_load_explicit(&marks->another, memory_order_relaxed))
		atomic_store_explicit(&marks->another, true, memory_order_relaxed);
}

static uint64_t random_up_to(void *arg, uint64_t bound)
{
	(void)arg;
	return randombytes_uniform((uint32_t)bound + 1);
}

void wg_timers_init(struct wg_timers *timers, uint64_t (*jitter)(void *, uint64_t), void *arg)
{
	memset(timers, 0, sizeof(*timers));
	timers->jitter = jitter ? jitter : random_up_to;
	timers->jitter_arg = arg;
}

void wg_timers_stop(struct wg_timers *timers, struct wg_marks *marks)
{
	wg_timers_init(timers, timers->jitter, timers->jitter_arg);
	store(&marks->unanswered, 0);
	store(&marks->unthanked, 0);
	atomic_store_explicit(&marks->another, false, memory_order_relaxed);
}

void wg_timers_set_keepalive(struct wg_timers *timers, uint64_t interval, uint64_t now)
{
	timers->keepalive = interval;
	timers->keepalive_base = now;
	timers->keepalive_now = interval != 0;
}

static bool hold_off(const struct wg_timers *timers, uint64_t now)
{
	return timers->handshake_sent && now < timers->handshake_sent + WG_REKEY_TIMEOUT;
}

bool wg_timers_want_handshake(struct wg_timers *timers, uint64_t now)
{
	timers->retries = 0;
	return !hold_off(timers, now);
}

void wg_timers_initiation_sent(struct wg_timers *timers, struct wg_marks *marks, uint64_t now)
{
	timers->handshake_sent = now;
	timers->retry_at = now + WG_REKEY_TIMEOUT +
			   timers->jitter(timers->jitter_arg, WG_REKEY_JITTER);
	wg_marks_sent(marks, now);
}

bool wg_timers_path_found(struct wg_timers *timers)
{
	if (!timers->retry_at)
		return false;
	timers->handshake_sent = 0;
	return true;
}

void wg_timers_response_sent(struct wg_timers *timers, struct wg_marks *marks, uint64_t now)
{
	timers->handshake_sent = now;
	wg_marks_sent(marks, now);
}

void wg_timers_session_derived(struct wg_timers *timers, uint64_t now)
{
	timers->zero_at = now + WG_ZERO_KEYS_TIME;
}

void wg_timers_handshake_complete(struct wg_timers *timers)
{
	timers->retry_at = 0;
	timers->retries = 0;
	timers->rekeyed_on_receive = false;
}

void wg_timers_created(struct wg_timers *timers, uint64_t now)
{
	if (!timers->zero_at)
		timers->zero_at = now + WG_ZERO_KEYS_TIME;
}

void wg_timers_reset_handshake(struct wg_timers *timers)
{
	timers->retry_at = 0;
	timers->retries = 0;
	timers->handshake_sent = 0;
}

/* Timer 1. A retry inside the hold-off (we answered meanwhile) is skipped and arms nothing. */
static uint32_t run_retry(struct wg_timers *timers, struct wg_marks *marks, uint64_t now)
{
	if (!timers->retry_at || now < timers->retry_at)
		return 0;
	timers->retry_at = 0;
	if (timers->retries >= WG_MAX_RETRIES) {
		store(&marks->unthanked, 0);
		atomic_store_explicit(&marks->another, false, memory_order_relaxed);
		wg_timers_created(timers, now);
		return WG_DO_GIVE_UP;
	}
	timers->retries++;
	return WG_DO_FORGET_SOURCE | (hold_off(timers, now) ? 0 : WG_DO_INITIATE);
}

/* Timer 2: passive keepalive. */
static uint32_t run_keepalive(struct wg_marks *marks, uint64_t now)
{
	uint64_t since = load(&marks->unthanked);

	if (!since || now < since + WG_KEEPALIVE_TIMEOUT)
		return 0;
	/* Sending it clears both marks again; this is for the case that it cannot be sent. */
	atomic_compare_exchange_strong_explicit(&marks->unthanked, &since,
		atomic_exchange_explicit(&marks->another, false, memory_order_relaxed) ? now : 0,
		memory_order_relaxed, memory_order_relaxed);
	return WG_DO_KEEPALIVE;
}

/* Timer 3: no answer to data. Its jitter is drawn once for each mark. */
static uint32_t run_no_answer(struct wg_timers *timers, struct wg_marks *marks, uint64_t now)
{
	uint64_t since = load(&marks->unanswered);

	if (since != timers->unanswered) {
		timers->unanswered = since;
		timers->no_answer_at = since + WG_NO_ANSWER_TIMEOUT +
				       timers->jitter(timers->jitter_arg, WG_REKEY_JITTER);
	}
	if (!since || now < timers->no_answer_at)
		return 0;
	atomic_compare_exchange_strong_explicit(&marks->unanswered, &since, 0,
						memory_order_relaxed, memory_order_relaxed);
	timers->unanswered = 0;
	return WG_DO_FORGET_SOURCE |
	       (wg_timers_want_handshake(timers, now) ? WG_DO_INITIATE : 0);
}

/* Timer 4. */
static uint32_t run_zero(struct wg_timers *timers, uint64_t now)
{
	if (!timers->zero_at || now < timers->zero_at)
		return 0;
	timers->zero_at = 0;
	return WG_DO_ZERO_KEYS;
}

static uint64_t persistent_at(const struct wg_timers *timers, const struct wg_marks *marks)
{
	uint64_t base = timers->keepalive_base, sent = load(&marks->sent);
	uint64_t received = load(&marks->received);

	if (timers->keepalive_now)
		return base;
	if (sent > base)
		base = sent;
	if (received > base)
		base = received;
	return base + timers->keepalive;
}

/*
 * Timer 5. The reference arms it again by the packet that it makes; we count from the expiry if
 * there is none (no path, hold-off), so that it goes on.
 */
static uint32_t run_persistent(struct wg_timers *timers, const struct wg_marks *marks, uint64_t now)
{
	if (!timers->keepalive || now < persistent_at(timers, marks))
		return 0;
	timers->keepalive_now = false;
	timers->keepalive_base = now;
	return WG_DO_KEEPALIVE;
}

static void earliest(uint64_t *next, uint64_t at)
{
	if (at && at < *next)
		*next = at;
}

uint32_t wg_timers_run(struct wg_timers *timers, struct wg_marks *marks, uint64_t now,
		       uint64_t *next)
{
	uint32_t todo = run_zero(timers, now);
	uint64_t unthanked;

	todo |= run_retry(timers, marks, now);
	todo |= run_no_answer(timers, marks, now);
	todo |= run_keepalive(marks, now);
	todo |= run_persistent(timers, marks, now);

	*next = WG_NEVER;
	unthanked = load(&marks->unthanked);
	earliest(next, timers->retry_at);
	earliest(next, timers->unanswered ? timers->no_answer_at : 0);
	earliest(next, unthanked ? unthanked + WG_KEEPALIVE_TIMEOUT : 0);
	earliest(next, timers->zero_at);
	earliest(next, timers->keepalive ? persistent_at(timers, marks) : 0);
	return todo;
}

bool wg_key_usable(uint64_t born, uint64_t counter, uint64_t now)
{
	return counter < WG_REJECT_AFTER_MESSAGES && now < born + WG_REJECT_AFTER_TIME;
}

bool wg_key_rekey_on_send(bool initiator, uint64_t born, uint64_t counter, uint64_t now)
{
	return counter > WG_REKEY_AFTER_MESSAGES ||
	       (initiator && now >= born + WG_REKEY_AFTER_TIME);
}

bool wg_key_rekey_on_receive(bool initiator, uint64_t born, uint64_t now)
{
	return initiator && now >= born + WG_REKEY_ON_RECEIVE_TIME;
}

bool wg_timers_rekey_on_receive(struct wg_timers *timers)
{
	if (timers->rekeyed_on_receive)
		return false;
	timers->rekeyed_on_receive = true;
	return true;
}
