/*
 * warren/service/relay.h - service "relay-client" 0.3: packets through relays
 *
 * `derp` offers it, `paths` alone uses it. A region is a number of the network map's relay map, and
 * has one connection at most, to the first of its nodes that lets us in. Times are microseconds,
 * lengths bytes, keys X25519 public keys.
 *
 * Threads: every function on the lane of the provider, which is also that of the consumer's
 * context: main. Callbacks come from the loop, never from inside a function of the service; they
 * may call all of its functions. What they are given lives for the call.
 * Source: path-protocols.md 1.12.
 */
#ifndef WARREN_SERVICE_RELAY_H
#define WARREN_SERVICE_RELAY_H

#include <warren/plugin.h>

enum warren_relay_state {
	WARREN_RELAY_CLOSED = 0,	/* not needed, or idle: the next send opens it */
	WARREN_RELAY_CONNECTING,
	WARREN_RELAY_CONNECTED,		/* logged in */
	WARREN_RELAY_FAILED,		/* tried again soon, as long as it is wanted */
};
enum {					/* more reasons may come */
	WARREN_RELAY_DISCONNECTED = 0,	/* was there, and has left all nodes of the region */
	WARREN_RELAY_NOT_HERE = 1,	/* what we sent reached nobody */
};
enum { WARREN_RELAY_PACKET_MAX = 64 << 10 };

struct warren_relay_events {		/* all but `received` may be NULL */
	uint32_t size;
	/*
	 * A packet that @key, for which the relay vouches, sent to us through @region. True: it is
	 * a peer of ours, to be answered that way while its home is not known or not reached.
	 */
	bool (*received)(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
			 size_t len);
	/* @why: a sentence for FAILED and for CLOSED, else NULL. Not told of our own close(). */
	void (*state)(void *arg, uint32_t region, enum warren_relay_state state, const char *why);
	/* The relay says that @key is not connected to it: WARREN_RELAY_DISCONNECTED, _NOT_HERE. */
	void (*gone)(void *arg, uint32_t region, const uint8_t key[32], uint32_t reason);
	/* What the relay says about itself, cleaned; NULL: it is well again. */
	void (*health)(void *arg, uint32_t region, const char *problem);
	/*
	 * The answer to measure(): how long a request over HTTPS and its answer took, and the
	 * family of addresses that it went over (4, 6). @usec 0: no node answered within 5 s.
	 */
	void (*measured)(void *arg, uint32_t region, uint32_t family, uint64_t usec);
};

struct warren_relay_status {
	uint32_t size;
	uint32_t region;
	enum warren_relay_state state;
	bool home;
	const char *code;		/* of the map, or "" */
	const char *node;		/* name in the map of the one we are connected to, or "" */
	struct warren_addrport peer, local;	/* of the connection; family 0: none */
	const char *why;		/* FAILED: the last failure; else "" */
	const char *health;		/* or "" */
	/* warren_now() clock, 0 never: logged in; last frame from it; last packet to it. */
	uint64_t since, last_rx, last_tx;
	uint64_t rtt;			/* of the last ping; 0: not measured */
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, dropped;	/* of the region */
};

struct warren_relay_ops {
	uint32_t size;
	/* Becomes the one consumer, until @ctx ends. -EBUSY: there is one. */
	int (*attach)(void *self, struct warren_ctx *ctx, const struct warren_relay_events *events,
		      void *arg);
	/*
	 * Our home region, 0 for none: kept connected, and all relays are told whether they are it.
	 * It need not be in the map yet. The one before becomes a region as others.
	 */
	void (*home)(void *self, uint32_t region);
	/* Connects unless it is; as if a packet had been sent. -ENOENT: not in the map. */
	int (*open)(void *self, uint32_t region);
	void (*close)(void *self, uint32_t region);	/* now; the home is opened again */
	/*
	 * Sends @data (copied) to @key, whose home is @region, 0 if that is not known. It goes over
	 * the connection to @region, else over the one by which @key last sent to us, else
	 * @region is opened. *@via (may be NULL): the region that was chosen.
	 *
	 * Of waiting packets of a region the oldest is dropped for a new one; of disco packets,
	 * which wait and go before the others, the new one, with -ENOBUFS. -EHOSTUNREACH: no
	 * @region and nothing learned; -ENOENT: not in the map; -EMSGSIZE; -ENOMEM.
	 */
	int (*send)(void *self, uint32_t region, const uint8_t key[32], const uint8_t *data,
		    size_t len, uint32_t *via);
	/* The region by which @key last sent to us, over a connection that still is; 0: none. */
	uint32_t (*route)(void *self, const uint8_t key[32]);
	/*
	 * Links or addresses of this host have changed: connections whose local address @keep
	 * refuses are made anew, the others must answer a ping within 3 s.
	 */
	void (*rebind)(void *self, bool (*keep)(void *arg, const struct warren_addr *local),
		       void *arg);
	/* False: a region that is not in use; @status says what the map does about it. */
	bool (*status)(void *self, uint32_t region, struct warren_relay_status *status);
	/* Calls @fn for each region in use. */
	void (*regions)(void *self, void (*fn)(const struct warren_relay_status *, void *),
			void *arg);
	/*
	 * Asks a relay of @region how far it is, over a connection of its own: for hosts that no
	 * STUN server answers. `measured` is told once. -ENOENT: not in the map; -ENOMEM.
	 * Source: path-protocols.md 5.5.
	 */
	int (*measure)(void *self, uint32_t region);
};

#endif
