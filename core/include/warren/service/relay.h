/*
 * warren/service/relay.h - service "relay-client" 0.1: packets through relays
 *
 * `derp` offers it, `paths` alone uses it. Region numbers are those of the relay map. Lane of the
 * provider; callbacks run on the lane of @ctx.
 */
#ifndef WARREN_SERVICE_RELAY_H
#define WARREN_SERVICE_RELAY_H

#include <warren/plugin.h>

enum warren_relay_state { WARREN_RELAY_CLOSED = 0, WARREN_RELAY_CONNECTING, WARREN_RELAY_CONNECTED,
			  WARREN_RELAY_FAILED };

struct warren_relay_events {
	uint32_t size;
	/* A packet that @key sent to us through @region; @data lives for the call. */
	void (*received)(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
			 size_t len);
	/* @why: a sentence for FAILED and CLOSED, else NULL. */
	void (*state)(void *arg, uint32_t region, enum warren_relay_state state, const char *why);
	/* The relay says that @key is (not) connected to it. */
	void (*peer)(void *arg, uint32_t region, const uint8_t key[32], bool present);
};

struct warren_relay_ops {
	uint32_t size;
	/* One consumer at a time; the events stop with @ctx. */
	int (*attach)(void *self, struct warren_ctx *ctx, const struct warren_relay_events *events,
		      void *arg);
	/* Keeps a connection to @region; idempotent. @home: it is our home region. */
	int (*open)(void *self, uint32_t region, bool home);
	void (*close)(void *self, uint32_t region);
	/* Copies @data, opens the region if need be. -ENOBUFS: queue full, oldest dropped. */
	int (*send)(void *self, uint32_t region, const uint8_t key[32], const uint8_t *data,
		    size_t len);
};

#endif
