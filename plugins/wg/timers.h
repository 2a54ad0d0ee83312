/*
 * The five timers of a peer and the age of keys (dataplane.md 1.9), as a pure state machine: time
 * and jitter come in, actions and the next deadline come out.
 *
 * Two halves. `struct wg_marks` is what packets do to the timers: a few relaxed atomics that any
 * thread stores with its coarse clock, once per batch and peer, not per packet. `struct wg_timers`
 * belongs to the lane, which calls wg_timers_run() at the deadline that the last call gave, and in
 * between every 100 to 250 ms for peers with traffic (a mark may have set a deadline; none is
 * nearer than 10 s). Deadlines are exact: they count from the marks, not from the tick.
 *
 * Every time is warren_now(): microseconds since boot, never 0.
 */
#ifndef WG_TIMERS_H
#define WG_TIMERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "messages.h"

#define WG_NEVER UINT64_MAX

struct wg_marks {
	_Atomic uint64_t sent, received;	/* last authenticated packet; 0 never */
	_Atomic uint64_t unanswered;	/* first data sent after the last packet received; 0 none */
	_Atomic uint64_t unthanked;	/* first data received after the last packet sent; 0 none */
	_Atomic bool another;		/* and there was more */
};

/*
 * Any thread. "Sent" and "received" cover handshake messages, data and keepalives; cookie replies
 * never count. For a data packet (inner packet not empty) call the data function, which does both.
 * Call them in the order in which the packets came or went.
 */
void wg_marks_sent(struct wg_marks *marks, uint64_t now);
void wg_marks_received(struct wg_marks *marks, uint64_t now);
void wg_marks_data_sent(struct wg_marks *marks, uint64_t now);
void wg_marks_data_received(struct wg_marks *marks, uint64_t now);

enum {				/* what wg_timers_run() asks for, to be done in this order */
	WG_DO_ZERO_KEYS = 1u << 0,	/* wipe all key pairs and the waiting handshake */
	WG_DO_GIVE_UP = 1u << 1,	/* the retries are used up: drop the staged packets */
	WG_DO_FORGET_SOURCE = 1u << 2,	/* forget the cached local address of the path */
	WG_DO_INITIATE = 1u << 3,	/* send an initiation; the hold-off is over */
	WG_DO_KEEPALIVE = 1u << 4,	/* send an empty packet (no key: start a handshake) */
};

struct wg_timers {
	/* A random number of microseconds up to @bound; NULL: libsodium's. */
	uint64_t (*jitter)(void *arg, uint64_t bound);
	void *jitter_arg;
	uint64_t handshake_sent;	/* last initiation or response we sent; 0: no hold-off */
	uint64_t retry_at;		/* timer 1; 0 off */
	uint32_t retries;
	bool rekeyed_on_receive;	/* once per session */
	uint64_t unanswered;		/* timer 3: the mark that no_answer_at was made for */
	uint64_t no_answer_at;
	uint64_t zero_at;		/* timer 4; 0 off */
	uint64_t keepalive;		/* timer 5: interval; 0 off */
	uint64_t keepalive_base;	/* it counts from here if no packet went since */
	bool keepalive_now;
};

void wg_timers_init(struct wg_timers *timers, uint64_t (*jitter)(void *, uint64_t), void *arg);
/* The device is down or the peer goes: nothing is due any more. */
void wg_timers_stop(struct wg_timers *timers, struct wg_marks *marks);

/* Interval in microseconds, 0 off. On: an empty packet is due at once. */
void wg_timers_set_keepalive(struct wg_timers *timers, uint64_t interval, uint64_t now);

/*
 * Somebody wants a handshake (packets without a key, rekey, operator): true if it may start now.
 * False inside the 5 s hold-off: skipped, not delayed. Both ways the count of retries starts anew.
 */
bool wg_timers_want_handshake(struct wg_timers *timers, uint64_t now);
/* An initiation went out (or was tried). Marks the packet sent. */
void wg_timers_initiation_sent(struct wg_timers *timers, struct wg_marks *marks, uint64_t now);
/*
 * There is a path now, and was none for the last initiation: true if the handshake is still wanted;
 * the hold-off is lifted, since what never left asks nothing of the peer.
 */
bool wg_timers_path_found(struct wg_timers *timers);
/* A response went out: the hold-off begins anew. Marks the packet sent. */
void wg_timers_response_sent(struct wg_timers *timers, struct wg_marks *marks, uint64_t now);
/* Keys derived, in either role: arms the 540 s. */
void wg_timers_session_derived(struct wg_timers *timers, uint64_t now);
/* Initiator: response accepted. Responder: first packet with `next`. Ends the retries. */
void wg_timers_handshake_complete(struct wg_timers *timers);
/* A peer that was made without a session (2, lazy peers): arms the 540 s if they are not. */
void wg_timers_created(struct wg_timers *timers, uint64_t now);
/* Our key or the peer's PSK changed, or the peer was reset: ends retries, lifts the hold-off. */
void wg_timers_reset_handshake(struct wg_timers *timers);

/* What is due at @now: a set of WG_DO_. *@next gets the next deadline or WG_NEVER. */
uint32_t wg_timers_run(struct wg_timers *timers, struct wg_marks *marks, uint64_t now,
		       uint64_t *next);

/*
 * Age of keys. @born: when the session was derived. @counter: of the next packet to send, or of
 * the packet received. Any thread.
 */
bool wg_key_usable(uint64_t born, uint64_t counter, uint64_t now);	/* sends and receives */
/* Asked after a type 4 packet was sent with the key. */
bool wg_key_rekey_on_send(bool initiator, uint64_t born, uint64_t counter, uint64_t now);
/* Asked after a type 4 packet was received; the lane then asks the next function. */
bool wg_key_rekey_on_receive(bool initiator, uint64_t born, uint64_t now);
/* Lane: true once per session; then wg_timers_want_handshake(). */
bool wg_timers_rekey_on_receive(struct wg_timers *timers);

#endif
