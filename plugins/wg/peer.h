/*
 * Peers, their live half, and sessions.
 *
 * A `struct wg_peer` exists for each node of the network map: a few hundred bytes with what the
 * workers read, so that a path, an argument or a counter has a place before the first packet. Keys,
 * handshake and timers are in its `struct wg_live`, which is made when the first packet or a
 * proven initiation comes, and goes when the zero-key timer finds the peer idle (dataplane.md 2).
 *
 * Written by the lane alone unless the field says otherwise. What workers may hold is unlinked
 * first and then given to warren_retire().
 */
#ifndef WG_PEER_H
#define WG_PEER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/service/netmap.h>

#include "base/schedule.h"
#include "cookie.h"
#include "noise.h"
#include "path.h"
#include "replay.h"
#include "stage.h"
#include "timers.h"

struct wg_device;
struct wg_live;
struct wg_peer;

enum { WG_ENTRY_HANDSHAKE = 1, WG_ENTRY_SESSION = 2 };
struct wg_entry {			/* what the index table points to; first field of both */
	uint32_t kind;
	struct wg_peer *peer;
	struct wg_device *device;
};

struct wg_session { /* one key pair; constant once published, but for the last group */
	struct wg_entry entry;
	struct wg_noise_session keys;
	uint64_t born;
	_Atomic uint64_t counter;	/* next to send; workers add */
	/* the worker that receives for it, alone: */
	bool confirmed;			/* responder: the first packet was told to the lane */
	struct wg_replay replay;
};

enum {					/* bits of wg_peer.asked: news on its way to the lane */
	WG_ASK_HANDSHAKE = 1u << 0,	/* packets wait, or the key is old */
	WG_ASK_REKEY = 1u << 1,		/* received with an old key */
	WG_ASK_LOOK = 1u << 2,		/* a mark may have set a deadline before look_at */
	WG_ASK_MOVED = 1u << 3,		/* authentic, and not from the path */
	WG_ASK_PATH = 1u << 4,		/* packets and no path */
	WG_ASK_SOURCE = 1u << 5,	/* the sticky source address is no longer ours */
};

enum { /* bits of wg_peer.todo: orders for the worker */
       WG_TODO_FLUSH = 1u << 0, /* send the staged packets */
       WG_TODO_KEEPALIVE = 1u << 1, /* send an empty packet; with FLUSH: only if none is staged */
       WG_TODO_DROP = 1u << 2, /* the retries are used up: drop the staged packets */
};

struct wg_arg {				/* what a verdict provider bound to a peer; immutable */
	struct warren_ctx *ctx;
	void *arg;
	void (*free)(void *arg);
};

struct wg_peer {
	/* workers read */
	uint32_t number;
	uint64_t serial; /* unique in the device's life; number and serial name a peer */
	_Atomic(struct wg_session *) send;	/* NULL: no session to send with */
	_Atomic(struct wg_path *) path;	/* NULL: none */
	_Atomic(struct wg_arg *) arg;
	_Atomic uint64_t look_at;	/* when the lane looks at the timers next */
	_Atomic uint64_t quiet_until;	/* no handshake may start before: do not ask */
	/* workers write */
	struct wg_marks marks;
	_Atomic uint32_t asked;		/* WG_ASK_: set by workers, cleared by the lane */
	_Atomic uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
	struct wg_staged staged;	/* the worker alone, and the lane after the grace */
	/* the stack of orders */
	_Atomic uint32_t todo;		/* WG_TODO_: set by the lane, cleared by the worker */
	struct wg_peer *todo_next;

	/* the lane's own */
	struct wg_device *device;
	uint8_t key[32];
	int64_t node_id;		/* in the current snapshot */
	struct wg_live *live;		/* NULL: idle */
	uint32_t endpoint_next;		/* candidate for the next retry */
	struct warren_addrport proved;	/* the last address it roamed to; family 0: none */
	uint32_t proved_scope;
	uint16_t keepalive;		/* seconds */
	uint32_t session_state;		/* WARREN_SESSION_, as told to the path writer */
	uint64_t last_handshake;
	int64_t last_handshake_realtime;
	uint64_t wanted_at;		/* when the path writer was told last */
	bool unusable;			/* its key is none: not tried again */
};

struct wg_live {			/* in the slab of keys */
	struct wg_entry entry;		/* the waiting handshake */
	struct wg_noise_peer noise;
	struct wg_cookie_peer cookie;
	struct wg_timers timers;
	struct wg_session *current, *previous, *next;
	bool secret_stale;		/* our key changed: noise.ss must be computed anew */
	bool pathless;			/* there was no path for the last initiation */
	struct schedule_entry due;
};

/*
 * ---- The table of peers, lane ----
 */

struct wg_peers {
	struct wg_peer **slots;		/* open addressing by key */
	uint32_t mask, count;
	uint8_t hash_key[16];
	struct wg_peer **by_number;	/* [number]; 0 is never used */
	uint32_t numbers, lowest_free;
	uint64_t serials;
};

int wg_peers_init(struct wg_peers *peers);	/* -ENOMEM */
void wg_peers_fini(struct wg_peers *peers);	/* the peers themselves are the caller's */
struct wg_peer *wg_peers_find(const struct wg_peers *peers, const uint8_t key[32]);
/* NULL: no such number, or it is another peer by now. */
struct wg_peer *wg_peers_get(const struct wg_peers *peers, uint32_t number, uint64_t serial);
/* A new peer of @device, not idle-counted anywhere yet; NULL: no memory. The key is not in use. */
struct wg_peer *wg_peers_add(struct wg_peers *peers, struct wg_device *device,
			     const uint8_t key[32]);
/* Takes it out of the table; the caller retires it. */
void wg_peers_remove(struct wg_peers *peers, struct wg_peer *peer);
/* Next peer with a number above *@at, which is set to it; start with 0. NULL: that was all. */
struct wg_peer *wg_peers_next(const struct wg_peers *peers, uint32_t *at);

/*
 * ---- Live peers and sessions, lane ----
 */

/* Makes the live half if there is none. -ENOMEM; -EINVAL: its key is none; other -errno of DH. */
int wg_peer_wake(struct wg_peer *peer, uint64_t now);
/* The same with the static-static secret that the caller has. */
int wg_peer_wake_with(struct wg_peer *peer, const uint8_t ss[32], uint64_t now);
/* Back to idle: sessions, handshake and timers go. */
void wg_peer_sleep(struct wg_peer *peer);
/* Drops all sessions and the waiting handshake; it is live. */
void wg_peer_drop_keys(struct wg_peer *peer);
/* Takes the peer out of the data plane and retires it; it is in no trie any more. */
void wg_peer_remove(struct wg_peer *peer);
/* Our key changed (dataplane.md 1.10, last rule). */
void wg_peer_rekey(struct wg_peer *peer);
/* PSK or keepalive of the map changed: reaches the next handshake; sessions stay. */
void wg_peer_settings(struct wg_peer *peer, const struct warren_node *node, uint64_t now);

/* NULL: no memory. Not yet in the index table. */
struct wg_session *wg_session_new(struct wg_peer *peer, uint64_t now);
/* Out of all tables, retired. NULL is allowed. */
void wg_session_drop(struct wg_session *session);
/* The rules of dataplane.md 1.10 for a derived session; takes it. */
void wg_session_install_initiator(struct wg_live *live, struct wg_session *session);
void wg_session_install_responder(struct wg_live *live, struct wg_session *session);
/* The first packet came with `next`. false: it is not that any more. */
bool wg_session_confirm(struct wg_live *live, struct wg_session *session);

/* Swaps the path; takes @path (NULL: none), retires the old one. */
void wg_peer_set_path(struct wg_peer *peer, struct wg_path *path);
/* Drops the sticky source of the path: the kernel chooses until the peer is heard again. */
void wg_peer_forget_source(struct wg_peer *peer);
/* Swaps the argument; takes @arg (NULL: none), retires the old one. */
void wg_peer_set_arg(struct wg_peer *peer, struct wg_arg *arg);
/* Gives the worker orders (WG_TODO_). */
void wg_peer_order(struct wg_peer *peer, uint32_t todo);
/* Any thread that has just set the first order bit: puts the peer on the stack. */
void wg_peer_push_order(struct wg_peer *peer);
/* Tells the path writer, if the state is another than before. */
void wg_peer_session_state(struct wg_peer *peer, uint32_t state);

#endif
