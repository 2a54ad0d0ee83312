/*
 * Dialling: proxy, name, race, tunnel, TLS, one step after the other and one time limit over all.
 * Exactly one step exists at a time; all of it is memory of the context and goes with it. Nothing
 * is told before the loop has turned: the first step is begun by a timer.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "dial_impl.h"
#include "tls_impl.h"

enum { TIMEOUT_USEC = 10000000, ALPN_MAX = 8, FILE_NAME = 4096 };

struct trust {				/* a job; one that was given up stays until its end */
	struct warren_dial *dial;	/* NULL: given up */
};

struct warren_dial {
	struct warren_ctx *ctx;
	warren_stream_fn *done;
	void *arg;
	struct warren_timer *timer;	/* of the whole */
	struct warren_timer *kick;
	const char *doing;		/* "resolving", for a timeout's sentence */

	struct warren_dial_options options;	/* its pointers go to what follows */
	char name[DIAL_NAME], given_proxy[DIAL_PROXY], given_auth[DIAL_AUTH];
	struct warren_addr addrs[DIAL_ADDRS];
	struct warren_tls_client tls;
	char server_name[DIAL_NAME], verify_name[DIAL_NAME];
	char ca_file[FILE_NAME], proxy_ca_file[FILE_NAME];
	char *ca_pem;
	char alpn_text[ALPN_MAX][32];
	const char *alpn[ALPN_MAX + 1];
	uint8_t pin[32];

	struct dial_proxy proxy;
	struct trust *trust;
	struct dial_lookup *lookup;
	struct dial_race *race;
	struct dial_tunnel *tunnel;
	struct warren_stream *stream;	/* while TLS is begun */
	char peer[ADDRPORT_TEXT];
	struct warren_addr found[DIAL_ADDRS];	/* by the look-up */
	uint32_t n_found;
	void *tie;			/* wipes with the context */
};

static void wipe(void *arg)
{
	struct warren_dial *dial = arg;

	dial_proxy_wipe(&dial->proxy);
	sodium_memzero(dial->given_proxy, sizeof(dial->given_proxy));
	sodium_memzero(dial->given_auth, sizeof(dial->given_auth));
}

void warren_dial_cancel(struct warren_dial *dial)
{
	if (!dial)
		return;
	if (dial->trust)
		dial->trust->dial = NULL;
	dial_lookup_cancel(dial->lookup);
	dial_race_cancel(dial->race);
	dial_tunnel_cancel(dial->tunnel);
	warren_stream_close(dial->stream);
	warren_release(dial->timer);
	warren_release(dial->kick);
	warren_release(dial->ca_pem);
	wipe(dial);
	warren_release(dial->tie);
	warren_release(dial);
}

/* Whose addresses are wanted. */
static const char *looked_up(const struct warren_dial *dial)
{
	return dial->proxy.port ? dial->proxy.host : dial->name;
}

static void finish(struct warren_dial *dial, struct warren_stream *stream, const char *why)
{
	struct warren_ctx *ctx = dial->ctx;
	warren_stream_fn *done = dial->done;
	void *arg = dial->arg;

	if (stream) {
		dial->stream = NULL;
		dial_memory_put(ctx, looked_up(dial), dial->found, dial->n_found);
	}
	warren_dial_cancel(dial);
	done(ctx, stream, why, arg);
}

/* "cannot reach hq.example.com:443 through the proxy 192.0.2.1:3128: @what@why" */
static void failed(struct warren_dial *dial, const char *what, const char *why)
{
	bool six = strchr(dial->name, ':');
	char text[1024];
	int n;

	n = snprintf(text, sizeof(text), "cannot reach %s%s%s:%u", six ? "[" : "", dial->name,
		     six ? "]" : "", dial->options.port);
	if (dial->proxy.port && n > 0 && (size_t)n < sizeof(text))
		n += snprintf(text + n, sizeof(text) - (size_t)n, " through the proxy %s:%u",
			      dial->proxy.host, dial->proxy.port);
	if (n > 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s%s", what, why);
	finish(dial, NULL, text);
}

static void on_timeout(struct warren_ctx *ctx, void *arg)
{
	struct warren_dial *dial = arg;
	char why[ADDRPORT_TEXT + 96];
	unsigned long long ms = dial->options.timeout / 1000;

	(void)ctx;
	snprintf(why, sizeof(why), "no success within %llu.%llu s, while %s%s%s", ms / 1000,
		 ms % 1000 / 100, dial->doing, dial->peer[0] ? " " : "", dial->peer);
	failed(dial, why, "");
}

/*
 * ---- The steps, the last one first ----
 */

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct warren_dial *dial = arg;
	char what[ADDRPORT_TEXT + 8];

	if (result == 0) {
		finish(dial, stream, NULL);
		return;
	}
	snprintf(what, sizeof(what), "%s: ", dial->peer);
	failed(dial, what, why);	/* closes the stream */
}

static void connected(struct warren_dial *dial, struct warren_stream *stream)
{
	struct warren_err err = ERR_INIT;
	char why[320];

	if (!dial->options.tls) {
		finish(dial, stream, NULL);
		return;
	}
	dial->doing = "beginning TLS with";
	dial->stream = warren_tls_connect_take(stream, &dial->tls, shaken, dial, &err);
	if (dial->stream)
		return;
	snprintf(why, sizeof(why), "%s", err_first(&err));
	err_free(&err);
	failed(dial, why, "");
}

static void tunnelled(struct warren_stream *stream, const char *why, void *arg)
{
	struct warren_dial *dial = arg;

	dial->tunnel = NULL;
	if (stream)
		connected(dial, stream);
	else
		failed(dial, why, "");
}

/* The proxy resolves names, but where the caller has an address, that one is meant. */
static const char *tunnel_host(struct warren_dial *dial, char out[ADDR_TEXT])
{
	if (dial->options.n_addresses == 0)
		return dial->name;
	return addr_format(&dial->addrs[0], out);
}

static void tunnel(struct warren_dial *dial, struct warren_stream *stream)
{
	char text[ADDR_TEXT];

	dial->doing = "waiting for an answer of";
	dial->tunnel = dial_tunnel_new(dial->ctx, stream, tunnel_host(dial, text),
				       dial->options.port, dial->proxy.auth, tunnelled, dial);
	if (!dial->tunnel)
		failed(dial, "no memory", "");
}

static void proxy_shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct warren_dial *dial = arg;

	if (result) {
		failed(dial, "TLS with the proxy: ", why);	/* closes the stream */
		return;
	}
	dial->stream = NULL;
	tunnel(dial, stream);
}

static void secure_proxy(struct warren_dial *dial, struct warren_stream *stream)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	const struct warren_tls_client tls = {
		.size = sizeof(tls), .server_name = dial->proxy.host, .alpn = alpn,
		.ca_file = dial->options.proxy_ca_file,
	};
	AUTO(err_free) struct warren_err err = ERR_INIT;

	dial->doing = "beginning TLS with";
	dial->stream = warren_tls_connect_take(stream, &tls, proxy_shaken, dial, &err);
	if (!dial->stream)
		failed(dial, "TLS with the proxy: ", err_first(&err));
}

static void raced(int fd, const char *why, void *arg)
{
	struct warren_dial *dial = arg;
	struct warren_stream *stream;
	struct warren_addrport peer;

	dial->race = NULL;
	if (fd == -1) {
		failed(dial, why, "");
		return;
	}
	stream = warren_stream_new_take(dial->ctx, fd);
	if (!stream) {
		failed(dial, "no memory", "");
		return;
	}
	if (warren_stream_peer(stream, &peer))
		addrport_format(&peer, dial->peer);
	if (!dial->proxy.port)
		connected(dial, stream);
	else if (dial->proxy.tls)
		secure_proxy(dial, stream);
	else
		tunnel(dial, stream);
}

static void race(struct warren_dial *dial, const struct warren_addr *addrs, uint32_t n)
{
	uint16_t port = dial->proxy.port ? dial->proxy.port : dial->options.port;

	dial->doing = "connecting";
	dial->race = dial_race_new(dial->ctx, addrs, n, port, dial->options.via, raced, dial);
	if (!dial->race)
		failed(dial, "no memory", "");
}

static void resolved(const struct warren_addr *addrs, uint32_t n, const char *why, void *arg)
{
	struct warren_dial *dial = arg;
	uint32_t flags = dial->proxy.port ? 0 : dial->options.flags, wanted = 0;
	struct warren_addr some[DIAL_ADDRS];

	dial->lookup = NULL;
	if (n == 0) {
		failed(dial, "the name does not resolve: ", why);
		return;
	}
	dial->n_found = n < DIAL_ADDRS ? n : DIAL_ADDRS;
	memcpy(dial->found, addrs, dial->n_found * sizeof(*addrs));
	for (uint32_t i = 0; i < dial->n_found; i++) {
		if (!(flags & (addrs[i].family == 4 ? WARREN_DIAL_NO_IPV4 : WARREN_DIAL_NO_IPV6)))
			some[wanted++] = addrs[i];
	}
	if (wanted > 0)
		race(dial, some, wanted);
	else
		failed(dial, "the name has no address of the family that is to be used", "");
}

static void find(struct warren_dial *dial)
{
	if (!dial->proxy.port && dial->options.n_addresses > 0) {
		race(dial, dial->addrs, dial->options.n_addresses);
		return;
	}
	if (dial->proxy.port && dial->options.proxy_address.family) {
		race(dial, &dial->options.proxy_address, 1);
		return;
	}
	dial->doing = "resolving the name";
	dial->lookup = dial_lookup_new(dial->ctx, looked_up(dial), resolved, dial);
	if (!dial->lookup)
		failed(dial, "no memory", "");
}

/*
 * ---- The system's authorities, before anything else ----
 */

static bool uses_authorities(const struct warren_dial *dial)
{
	const struct warren_tls_client *tls = dial->options.tls;

	return (dial->proxy.tls && !dial->options.proxy_ca_file) ||
	       (tls && !tls->ca_file && !tls->ca_pem && !tls->pin_sha256 &&
		!(tls->flags & WARREN_TLS_INSECURE));
}

static void authorities_job(void *arg)
{
	(void)arg;
	tls_trust_read();
	/* What OpenSSL keeps for this thread of the pool would outlive its last use. */
	OPENSSL_thread_stop();
}

static void authorities_read(struct warren_ctx *ctx, void *arg)
{
	struct trust *trust = arg;
	struct warren_dial *dial = trust->dial;

	(void)ctx;
	warren_release(trust);
	if (!dial)
		return;
	dial->trust = NULL;
	find(dial);
}

/* False: not now; older ones do, and if there are none, TLS reads them when it begins. */
static bool read_authorities(struct warren_dial *dial)
{
	struct trust *trust = warren_zalloc(dial->ctx, sizeof(*trust));

	if (!trust || warren_work(dial->ctx, authorities_job, authorities_read, trust)) {
		warren_release(trust);
		return false;
	}
	trust->dial = dial;
	dial->trust = trust;
	dial->doing = "reading the system's certificates";
	return true;
}

static void begin(struct warren_ctx *ctx, void *arg)
{
	struct warren_dial *dial = arg;
	struct warren_err err = ERR_INIT;
	char why[320];

	(void)ctx;
	if (dial->options.via == WARREN_VIA_UPLINK &&
	    !(dial->options.flags & WARREN_DIAL_NO_PROXY) &&
	    dial_proxy_choose(&dial->proxy, dial->options.proxy, dial->options.proxy_auth,
			      dial->name, dial->options.port, &err)) {
		snprintf(why, sizeof(why), "%s", err_first(&err));
		err_free(&err);
		failed(dial, why, "");
		return;
	}
	if (uses_authorities(dial) && !tls_trust_is_fresh() && read_authorities(dial))
		return;
	find(dial);
}

/*
 * ---- Copying ----
 */

static bool copy_tls(struct warren_dial *dial, const struct warren_tls_client *tls)
{
	const char *name = tls->server_name ? tls->server_name : dial->name;
	size_t n = 0;

	dial->tls = *tls;
	dial->options.tls = &dial->tls;
	dial->tls.server_name = dial->server_name;
	if (!str_copy(dial->server_name, sizeof(dial->server_name), name))
		return false;
	if (tls->verify_name) {
		dial->tls.verify_name = dial->verify_name;
		if (!str_copy(dial->verify_name, sizeof(dial->verify_name), tls->verify_name))
			return false;
	}
	if (tls->ca_file) {
		dial->tls.ca_file = dial->ca_file;
		if (!str_copy(dial->ca_file, sizeof(dial->ca_file), tls->ca_file))
			return false;
	}
	if (tls->ca_pem) {
		dial->ca_pem = warren_zalloc(dial->ctx, strlen(tls->ca_pem) + 1);
		if (!dial->ca_pem)
			return false;
		memcpy(dial->ca_pem, tls->ca_pem, strlen(tls->ca_pem));
		dial->tls.ca_pem = dial->ca_pem;
	}
	if (tls->pin_sha256) {
		memcpy(dial->pin, tls->pin_sha256, sizeof(dial->pin));
		dial->tls.pin_sha256 = dial->pin;
	}
	if (!tls->alpn)
		return true;
	for (; tls->alpn[n]; n++) {
		if (n == ALPN_MAX || !str_copy(dial->alpn_text[n], 32, tls->alpn[n]))
			return false;
		dial->alpn[n] = dial->alpn_text[n];
	}
	dial->tls.alpn = dial->alpn;
	return true;
}

/* False: something is longer than it may be. */
static bool copy_options(struct warren_dial *dial, const struct warren_dial_options *options)
{
	struct warren_dial_options *own = &dial->options;

	*own = *options;
	own->name = dial->name;
	own->addresses = dial->addrs;
	if (own->n_addresses > DIAL_ADDRS)
		own->n_addresses = DIAL_ADDRS;
	if (own->n_addresses > 0)
		memcpy(dial->addrs, options->addresses,
		       own->n_addresses * sizeof(dial->addrs[0]));
	if (!own->timeout)
		own->timeout = TIMEOUT_USEC;
	if (!str_copy(dial->name, sizeof(dial->name), options->name))
		return false;
	if (options->proxy) {
		own->proxy = dial->given_proxy;
		if (!str_copy(dial->given_proxy, sizeof(dial->given_proxy), options->proxy))
			return false;
	}
	if (options->proxy_auth) {
		own->proxy_auth = dial->given_auth;
		if (!str_copy(dial->given_auth, sizeof(dial->given_auth), options->proxy_auth))
			return false;
	}
	if (options->proxy_ca_file) {
		own->proxy_ca_file = dial->proxy_ca_file;
		if (!str_copy(dial->proxy_ca_file, sizeof(dial->proxy_ca_file),
			      options->proxy_ca_file))
			return false;
	}
	return !options->tls || copy_tls(dial, options->tls);
}

struct warren_dial *warren_dial(struct warren_ctx *ctx, const struct warren_dial_options *options,
				warren_stream_fn *done, void *arg)
{
	struct warren_dial *dial = warren_zalloc(ctx, sizeof(*dial));

	if (!dial)
		return NULL;
	dial->ctx = ctx;
	dial->done = done;
	dial->arg = arg;
	dial->doing = "beginning";
	dial->timer = warren_timer_new(ctx, on_timeout, dial);
	dial->kick = warren_timer_new(ctx, begin, dial);
	dial->tie = warren_on_end(ctx, wipe, dial);
	if (!dial->timer || !dial->kick || !dial->tie || !copy_options(dial, options)) {
		warren_dial_cancel(dial);
		return NULL;
	}
	warren_timer_set(dial->timer, dial->options.timeout);
	warren_timer_set(dial->kick, 0);
	return dial;
}
