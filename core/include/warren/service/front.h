/*
 * warren/service/front.h - the box's public listeners, shared by name and path
 *
 * One plugin holds 443 and 80, the certificates and the limits; others register what they serve.
 * All functions and callbacks: the provider's lane. What a plugin registered goes with its context;
 * by then it has cancelled the exchanges and closed the streams that it was given, and in `lost` as
 * well: they belong to the provider's context and go with it.
 */
#ifndef WARREN_SERVICE_FRONT_H
#define WARREN_SERVICE_FRONT_H

#include <warren/net.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	/* On the plain port too; without it a request there is sent to https (308). */
	WARREN_FRONT_PLAIN = 1u << 0,
};

/*
 * Requests of one path. The most exact one gets a request: its host before no host, the longest
 * path before a shorter one. Two plugins with the same pair are an error of the second.
 */
struct warren_front_route {
	uint32_t size, flags;
	const char *host;		/* lower case, no port; NULL: every name and address */
	const char *path;		/* "/key" is that and what is below it; "/" is all */
	/*
	 * For the exchange: `head` is called with @arg at once and may set other ones. The stream
	 * of an upgrade is on the provider's context.
	 */
	const struct warren_exchange_events *events;
	void *arg;
};

/*
 * Raw TLS: a connection whose ClientHello names @server_name or offers @alpn, before anything was
 * answered; the hello is the stream's input. Either may be NULL; both: both must fit.
 */
struct warren_front_raw {
	uint32_t size, flags;
	const char *server_name, *alpn;
	void (*accept)(struct warren_stream *stream, void *arg);	/* takes @stream */
	void *arg;
};

struct warren_front {
	uint32_t size;
	/* Copies; 0, or -EEXIST, -EINVAL, -ENOMEM with a sentence. Owned by @ctx. */
	int (*route)(void *self, struct warren_ctx *ctx, const struct warren_front_route *route,
		     struct warren_err *err);
	int (*raw)(void *self, struct warren_ctx *ctx, const struct warren_front_raw *raw,
		   struct warren_err *err);
	/* @name (lower case) is a public name of this box: it gets a certificate. Owned by @ctx. */
	int (*name)(void *self, struct warren_ctx *ctx, const char *name, struct warren_err *err);
	/* Did the request of @x come over TLS, here or at a proxy that is trusted? */
	bool (*secure)(void *self, const struct warren_exchange *x);
	/*
	 * DERP's meta certificate (warren/derp.h) at the end of every chain, until @ctx ends; again
	 * to replace it. -EEXIST: another plugin's is there.
	 */
	int (*marker)(void *self, struct warren_ctx *ctx, const char *pem, struct warren_err *err);
	/* The port for TLS, or the plain one; 0: none is served, or not yet. */
	uint16_t (*port)(void *self, bool tls);
	/* Self-signed: true with the SHA-256 of the certificate that clients must know. */
	bool (*pin)(void *self, uint8_t sha256[32]);
};

#ifdef __cplusplus
}
#endif
#endif
