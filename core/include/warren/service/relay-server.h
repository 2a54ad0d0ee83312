/*
 * warren/service/relay-server.h - service "relay-server" 0.2: the relay of this box
 *
 * `relay` offers it; a coordinator beside it tells clients of the relay and says who may use it.
 * All functions and callbacks: lane main.
 */
#ifndef WARREN_SERVICE_RELAY_SERVER_H
#define WARREN_SERVICE_RELAY_SERVER_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

struct warren_relay_server_info {
	uint32_t size;
	uint16_t region;
	const char *code, *name;	/* of the region; both live as long as the service */
	const char *host;		/* for clients; NULL: the coordinator's */
	uint16_t port, stun_port;	/* TCP with TLS; UDP, 0: none */
	bool port80;			/* it answers plain HTTP there too */
	bool pinned;			/* its certificate is known by its SHA-256 alone: */
	uint8_t sha256[32];
};

/* May the node with this key, which it has proven to have, use the relay? */
typedef bool warren_relay_judge_fn(void *arg, const uint8_t key[32]);

struct warren_relay_server {
	uint32_t size;
	void (*describe)(void *self, struct warren_relay_server_info *out);
	/*
	 * Until @ctx ends @fn is asked, where relay.verify is "coordinator". Until somebody has
	 * registered, nobody is let in. @changed: what `describe` tells has changed. -EEXIST:
	 * another one judges.
	 */
	int (*judge)(void *self, struct warren_ctx *ctx, warren_relay_judge_fn *fn,
		     void (*changed)(void *arg), void *arg, struct warren_err *err);
	/* 0.2: clients are told @host where `describe` tells none; copied. */
	void (*host)(void *self, const char *host);
};

#ifdef __cplusplus
}
#endif
#endif
