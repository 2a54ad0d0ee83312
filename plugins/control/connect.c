/*
 * Connecting: the server's key, unless it is known, then two tries side by side. The plaintext port
 * is tried first, since TLS around Noise only costs; the TLS port follows after 500 ms, or at once
 * when the other failed. The first complete Noise handshake wins.
 *
 * If the handshake fails with a key that was known from before, the server may have a new one: it
 * is fetched and all is tried again, once, within the same time.
 */
#include "connect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "connect_impl.h"

enum {
	TOTAL_USEC = 10 * 1000000, STAGGER_USEC = 500 * 1000,	/* section 3.5 */
	RECENT_USEC = 120 * 1000000,	/* of the last dial: port 80 is not trusted */
	SPARE_USEC = 100 * 1000,	/* dials end before the whole: they know more */
};
enum which { PLAIN, TLS, WHICH };

struct ctl_connect {
	struct warren_ctx *ctx;
	ctl_connect_fn *done;
	void *arg;
	struct ctl_connect_options options;	/* its texts are these */
	char url_text[256], proxy[512], ca_file[4096];
	struct warren_url url;
	uint64_t deadline;
	struct warren_timer *total, *stagger, *kick;
	struct ctl_keyget *get;
	struct ctl_try *tries[WHICH];
	uint16_t port[WHICH];		/* 0: not to be tried, or begun already */
	bool recent, fetched, noise_failed;
	char why[2 * CTL_WHY + 4];
};

void ctl_connect_cancel(struct ctl_connect *c)
{
	if (!c)
		return;
	ctl_keyget_cancel(c->get);
	ctl_try_cancel(c->tries[PLAIN]);
	ctl_try_cancel(c->tries[TLS]);
	warren_release(c->total);
	warren_release(c->stagger);
	warren_release(c->kick);
	warren_release(c);
}

static void finish(struct ctl_connect *c, struct warren_http *http, const char *why)
{
	struct warren_ctx *ctx = c->ctx;
	ctl_connect_fn *done = c->done;
	void *arg = c->arg;

	ctl_connect_cancel(c);
	done(ctx, http, why, arg);
}

static void failed(struct ctl_connect *c, const char *why)
{
	char text[sizeof(c->why) + 320];

	snprintf(text, sizeof(text), "cannot connect to the control server %s: %s", c->url_text,
		 why);
	finish(c, NULL, text);
}

static uint64_t time_left(const struct ctl_connect *c)
{
	uint64_t now = warren_now() + SPARE_USEC;

	return now + SPARE_USEC < c->deadline ? c->deadline - now : SPARE_USEC;
}

static void on_total(struct warren_ctx *ctx, void *arg)
{
	struct ctl_connect *c = arg;
	char why[sizeof(c->why) + 320], text[160] = "the server's key";
	size_t len;

	(void)ctx;
	len = (size_t)snprintf(why, sizeof(why), "no answer in time, while waiting for ");
	if (c->get)
		len += (size_t)snprintf(why + len, sizeof(why) - len, "%s", text);
	for (int i = 0, n = 0; i < WHICH; i++) {
		if (!c->tries[i])
			continue;
		ctl_try_describe(c->tries[i], text, sizeof(text));
		len += (size_t)snprintf(why + len, sizeof(why) - len, "%s%s", n++ ? " and " : "",
					text);
	}
	if (c->why[0])
		snprintf(why + len, sizeof(why) - len, "; %s", c->why);
	failed(c, why);
}

/*
 * ---- The two tries ----
 */

/* Section 3.5, the row "never": nothing listens for TLS there. */
static bool is_private(const char *host)
{
	static const char *const networks[] = {
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7",
		"::1/128",
	};
	struct warren_prefix prefix;
	struct warren_addr addr;

	if (addr_parse(host, &addr))
		return strcasecmp(host, "localhost") == 0;
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		if (prefix_parse(networks[i], &prefix) == 0 && prefix_contains(&prefix, &addr))
			return true;
	}
	return false;
}

static void choose_ports(struct ctl_connect *c)
{
	bool https = strcmp(c->url.scheme, "https") == 0;

	c->port[PLAIN] = https ? 80 : c->url.port;
	c->port[TLS] = https ? c->url.port : is_private(c->url.host) ? 0 : 443;
	if (c->options.force_443 && c->port[TLS])
		c->port[PLAIN] = 0;
}

static void succeed(struct ctl_connect *c, struct warren_stream *stream)
{
	struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_2, .head_timeout = UINT64_MAX,
		.idle_timeout = UINT64_MAX, .body_max = -1,
	};
	struct warren_http *http = warren_http_client_take(stream, &options, c->options.events,
							   c->options.arg);

	if (http)
		finish(c, http, NULL);
	else
		failed(c, "no memory");
}

static void begin(struct ctl_connect *c);
static void try_done(struct ctl_try *try, struct warren_stream *stream, bool noise,
		     const char *why, void *arg);

/* False: there is no such try, or it was begun before. */
static bool start(struct ctl_connect *c, enum which which)
{
	const struct ctl_try_options options = {
		.host = c->url.host, .port = c->port[which], .tls = which == TLS,
		.version = c->options.version, .proxy = c->options.proxy,
		.server_key = c->options.memory->server_key, .identity = c->options.identity,
		.identity_self = c->options.identity_self, .timeout = time_left(c),
	};

	if (!c->port[which])
		return false;
	c->port[which] = 0;
	c->tries[which] = ctl_try_new(c->ctx, &options, try_done, c);
	return c->tries[which] != NULL;
}

static void all_failed(struct ctl_connect *c)
{
	char why[sizeof(c->why)];

	if (c->noise_failed)
		c->options.memory->has_key = false;
	if (c->noise_failed && !c->fetched) {
		c->noise_failed = false;
		c->why[0] = '\0';
		begin(c);
		return;
	}
	memcpy(why, c->why, sizeof(why));
	failed(c, why[0] ? why : "no memory");
}

static void try_done(struct ctl_try *try, struct warren_stream *stream, bool noise,
		     const char *why, void *arg)
{
	struct ctl_connect *c = arg;
	enum which which = try == c->tries[TLS] ? TLS : PLAIN;
	size_t len = strlen(c->why);

	c->tries[which] = NULL;
	if (stream) {
		succeed(c, stream);
		return;
	}
	c->noise_failed = c->noise_failed || noise;
	snprintf(c->why + len, sizeof(c->why) - len, "%s%s", len > 0 ? "; " : "", why);
	if (!start(c, !which) && !c->tries[!which])
		all_failed(c);
}

static void on_stagger(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	start(arg, TLS);
}

static void start_tries(struct ctl_connect *c)
{
	choose_ports(c);
	c->options.memory->dialled = warren_now();
	/* TLS alone first where port 80 failed us; the other is left for when TLS fails too. */
	if (c->recent && start(c, TLS))
		return;
	if (start(c, PLAIN))
		warren_timer_set(c->stagger, STAGGER_USEC);
	else if (!start(c, TLS))
		all_failed(c);
}

/*
 * ---- The key ----
 */

static void key_done(const uint8_t key[32], const char *why, void *arg)
{
	struct ctl_connect *c = arg;
	struct ctl_memory *memory = c->options.memory;

	c->get = NULL;
	if (!key) {
		finish(c, NULL, why);
		return;
	}
	c->fetched = true;
	memory->has_key = str_copy(memory->url, sizeof(memory->url), c->url_text);
	memcpy(memory->server_key, key, 32);
	start_tries(c);
}

static void begin(struct ctl_connect *c)
{
	const struct ctl_memory *memory = c->options.memory;
	const struct ctl_keyget_options options = {
		.url = &c->url, .version = c->options.version, .proxy = c->options.proxy,
		.ca_file = c->options.ca_file, .timeout = time_left(c),
	};

	if (memory->has_key && strcmp(memory->url, c->url_text) == 0) {
		start_tries(c);
		return;
	}
	c->get = ctl_keyget_new(c->ctx, &options, key_done, c);
	if (!c->get)
		failed(c, "no memory");
}

static void on_kick(struct warren_ctx *ctx, void *arg)
{
	struct ctl_connect *c = arg;
	struct warren_err err = ERR_INIT;
	char why[256];

	(void)ctx;
	if (warren_url_parse(c->url_text, &c->url, &err) == 0 && strcmp(c->url.path, "/") != 0)
		warren_fail(&err, NULL, "the URL of a control server has no path");
	if (!err_any(&err)) {
		begin(c);
		return;
	}
	snprintf(why, sizeof(why), "%s", err_first(&err));
	err_free(&err);
	failed(c, why);
}

static bool copy_options(struct ctl_connect *c, const struct ctl_connect_options *options)
{
	c->options = *options;
	c->options.url = c->url_text;
	if (options->proxy)
		c->options.proxy = c->proxy;
	if (options->ca_file)
		c->options.ca_file = c->ca_file;
	return str_copy(c->url_text, sizeof(c->url_text), options->url) &&
	       str_copy(c->proxy, sizeof(c->proxy), options->proxy ? options->proxy : "") &&
	       str_copy(c->ca_file, sizeof(c->ca_file), options->ca_file ? options->ca_file : "");
}

struct ctl_connect *ctl_connect(struct warren_ctx *ctx, const struct ctl_connect_options *options,
				ctl_connect_fn *done, void *arg)
{
	struct ctl_connect *c = warren_zalloc(ctx, sizeof(*c));
	uint64_t timeout = options->timeout ? options->timeout : TOTAL_USEC;
	uint64_t now = warren_now(), before = options->memory->dialled;

	if (!c)
		return NULL;
	c->ctx = ctx;
	c->done = done;
	c->arg = arg;
	c->deadline = now + timeout;
	c->recent = before && now - before < RECENT_USEC;
	c->total = warren_timer_new(ctx, on_total, c);
	c->stagger = warren_timer_new(ctx, on_stagger, c);
	c->kick = warren_timer_new(ctx, on_kick, c);
	if (!c->total || !c->stagger || !c->kick || !copy_options(c, options)) {
		ctl_connect_cancel(c);
		return NULL;
	}
	warren_timer_set(c->total, timeout);
	warren_timer_set(c->kick, 0);
	return c;
}
