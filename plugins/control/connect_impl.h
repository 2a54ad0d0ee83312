/*
 * connect_impl.h - the two steps of connecting: the server's key, and one upgrade to Noise
 *
 * Each calls @done once, from the loop, and is gone then; or it is cancelled (NULL is allowed).
 * Failures are told by a timer, so that what ends with the context tells nobody.
 */
#ifndef CTL_CONNECT_IMPL_H
#define CTL_CONNECT_IMPL_H

#include <warren/net.h>
#include <warren/service/identity.h>

enum {
	CTL_HOST = 256,
	CTL_WHY = 1024,
	CTL_AUTHORITY = CTL_HOST + 8,	/* [host]:port */
};

/* "host:port", "[2001:db8::1]:port". */
const char *ctl_authority(const char *host, uint16_t port, char out[CTL_AUTHORITY]);

/*
 * ---- connect_key.c: GET /key (section 2) ----
 */
struct ctl_keyget;
struct ctl_keyget_options {		/* what it points to lives as long as the request */
	const struct warren_url *url;
	uint16_t version;
	const char *proxy, *proxy_auth, *ca_file;
	uint64_t timeout;
};
/* @key NULL: @why is a sentence with the URL. */
typedef void ctl_keyget_fn(const uint8_t key[32], const char *why, void *arg);
struct ctl_keyget *ctl_keyget_new(struct warren_ctx *ctx, const struct ctl_keyget_options *options,
				  ctl_keyget_fn *done, void *arg);
void ctl_keyget_cancel(struct ctl_keyget *get);
/* The answer's body; 0, or -errno with a sentence. */
int ctl_key_parse(const void *body, size_t len, uint8_t key[32], struct warren_err *err);

/*
 * ---- connect_try.c: one upgrade (sections 3.2, 3.5), over plain TCP or TLS ----
 */
struct ctl_try;
struct ctl_try_options {		/* likewise */
	const char *host;
	uint16_t port, version;
	bool tls;
	struct warren_addr address;	/* instead of resolving @host; family 0: none */
	const char *proxy, *proxy_auth, *ca_file;	/* the last for a proxy that speaks TLS */
	struct warren_addr proxy_address;
	const uint8_t *server_key;
	const struct warren_identity_ops *identity;
	void *identity_self;
	uint64_t timeout;
};
/*
 * @stream speaks Noise. NULL: @why is a sentence; @noise: the server switched to Noise, but then
 * the handshake failed, as with a key that is not its own any more.
 */
typedef void ctl_try_fn(struct ctl_try *try, struct warren_stream *stream, bool noise,
			const char *why, void *arg);
struct ctl_try *ctl_try_new(struct warren_ctx *ctx, const struct ctl_try_options *options,
			    ctl_try_fn *done, void *arg);
void ctl_try_cancel(struct ctl_try *try);
/* What it waits for: "port 443: the Noise handshake" */
void ctl_try_describe(const struct ctl_try *try, char *out, size_t size);

#endif
