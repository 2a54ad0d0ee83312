/*
 * connect.h - from a control server's URL to an HTTP/2 connection inside Noise
 *
 * Fetches the server's key (GET /key, the one answer whose certificate counts), upgrades to ts2021
 * on the plaintext and the TLS port at once (control protocol, sections 2, 3.5), speaks Noise with
 * the machine key, takes the early payload and begins HTTP/2. All functions: the lane of the
 * context.
 */
#ifndef CTL_CONNECT_H
#define CTL_CONNECT_H

#include <warren/net.h>
#include <warren/service/identity.h>

#include "plan.h"

/*
 * What is remembered between connections, for as long as the process lives: the server's key, and
 * when Noise was dialled last. Zeroed at first by its owner, and again to forget the key.
 */
struct ctl_memory {
	char url[256];			/* whose key it is */
	bool has_key;
	uint8_t server_key[32];
	uint64_t dialled;		/* warren_now() of the newest upgrade; 0: never */
};

struct ctl_connect_options {
	const char *url;		/* of the section; http or https, no path */
	uint16_t version;		/* capability version */
	bool force_443;			/* never the plaintext port (not for private hosts) */
	const char *proxy;		/* as in warren_dial_options */
	const char *proxy_auth;
	const char *ca_file;		/* for /key and https:// proxies; NULL: the system's */
	const struct ctl_plan *plan;	/* to be tried before the name; NULL: none */
	const struct warren_identity_ops *identity;
	void *identity_self;
	struct ctl_memory *memory;	/* outlives the attempt */
	uint64_t timeout;		/* of the whole; 0: 10 s, with a plan its time and 5 s */
	/*
	 * Of the HTTP/2 connection. It has no limits in time or size of its own: a map stream is
	 * one body that lasts for days, so that whoever requests something bounds its answer.
	 */
	const struct warren_http_events *events;	/* `ended`; static */
	void *arg;
};

/*
 * Called from the loop, once. @http is the callee's, to close; no event of it came yet. NULL: @why
 * is a sentence for the operator, with URL or address, what failed, and what to do.
 */
struct ctl_connect;
typedef void ctl_connect_fn(struct warren_ctx *ctx, struct warren_http *http, const char *why,
			    void *arg);

/* Copies @options. NULL: no memory. A wrong URL is told by @done. Ends with the context. */
struct ctl_connect *ctl_connect(struct warren_ctx *ctx, const struct ctl_connect_options *options,
				ctl_connect_fn *done, void *arg);
void ctl_connect_cancel(struct ctl_connect *connect);	/* @done is not called; NULL is allowed */

#endif
