/*
 * Connecting: the server's key, unless it is known, then up to CTL_PLAN_MAX + 1 ways to it, each
 * with two tries side by side. Of a way the plaintext port is tried first, since TLS around
 * Noise only costs; the TLS port follows after 500 ms, or at once when the other failed. The first
 * complete Noise handshake of all wins, with the server's own key: whatever a plan leads to, what
 * is not the server fails there.
 *
 * The ways of the server's dial plan are begun when it says; its name is the way that is left when
 * all of them have failed or their time is over, and the only one without a plan.
 *
 * If the handshake fails, at the server's name, with a key that was known from before, the server
 * may have a new one: it is fetched and the name is tried again, once, within the same time.
 */
#include "connect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "connect_impl.h"

enum {
	TOTAL_USEC = 10 * 1000000, STAGGER_USEC = 500 * 1000,	/* section 3.5 */
	NAME_USEC = 5 * 1000000,	/* kept for the name, after a plan */
	RECENT_USEC = 120 * 1000000,	/* of the last dial: port 80 is not trusted */
	SPARE_USEC = 100 * 1000,	/* dials end before the whole: they know more */
};
enum which { PLAIN, TLS, WHICH };

struct way {
	struct ctl_connect *connect;
	const struct ctl_plan_way *plan;	/* NULL: by the server's name */
	struct warren_timer *begin, *stagger, *limit;
	struct ctl_try *tries[WHICH];
	uint16_t port[WHICH];		/* 0: not to be tried, or begun already */
	bool over;
};

struct ctl_connect {
	struct warren_ctx *ctx;
	ctl_connect_fn *done;
	void *arg;
	struct ctl_connect_options options;	/* its texts are these */
	char url_text[256], proxy[512], proxy_auth[512], ca_file[4096];
	struct ctl_plan plan;
	struct warren_url url;
	uint64_t deadline;
	struct warren_timer *total, *plan_limit, *kick;
	struct ctl_keyget *get;
	struct way ways[CTL_PLAN_MAX + 1];	/* of the plan, then the name */
	uint32_t n_ways;
	void *tie;			/* wipes with the context */
	bool recent, fetched, noise_failed;
	char why[2 * CTL_WHY + 4];
};

static void wipe(void *arg)
{
	struct ctl_connect *c = arg;

	sodium_memzero(c->proxy_auth, sizeof(c->proxy_auth));
}

static void way_stop(struct way *way)
{
	ctl_try_cancel(way->tries[PLAIN]);
	ctl_try_cancel(way->tries[TLS]);
	warren_release(way->begin);
	warren_release(way->stagger);
	warren_release(way->limit);
	way->tries[PLAIN] = way->tries[TLS] = NULL;
	way->begin = way->stagger = way->limit = NULL;
	way->over = true;
}

void ctl_connect_cancel(struct ctl_connect *c)
{
	if (!c)
		return;
	ctl_keyget_cancel(c->get);
	for (uint32_t i = 0; i < c->n_ways; i++)
		way_stop(&c->ways[i]);
	warren_release(c->total);
	warren_release(c->plan_limit);
	warren_release(c->kick);
	wipe(c);
	warren_release(c->tie);
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
	for (uint32_t i = 0, n = 0; i < 2 * c->n_ways && len < sizeof(why); i++) {
		const struct ctl_try *try = c->ways[i / 2].tries[i % 2];

		if (!try)
			continue;
		ctl_try_describe(try, text, sizeof(text));
		len += (size_t)snprintf(why + len, sizeof(why) - len, "%s%s", n++ ? " and " : "",
					text);
	}
	if (c->why[0] && len < sizeof(why))
		snprintf(why + len, sizeof(why) - len, "; %s", c->why);
	failed(c, why);
}

/*
 * ---- One way ----
 */

static void choose_ports(struct way *way)
{
	struct ctl_connect *c = way->connect;
	bool https = strcmp(c->url.scheme, "https") == 0;

	way->port[PLAIN] = https ? 80 : c->url.port;
	way->port[TLS] = https ? c->url.port : ctl_host_is_private(c->url.host) ? 0 : 443;
	/* The proxy is told the one port; what goes through it is proven by Noise as well. */
	if (way->plan && way->plan->ace[0])
		way->port[TLS] = 0;
	else if (c->options.force_443 && way->port[TLS])
		way->port[PLAIN] = 0;
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
static void way_over(struct way *way);
static void try_done(struct ctl_try *try, struct warren_stream *stream, bool noise,
		     const char *why, void *arg);

/* False: there is no such try, or it was begun before. */
static bool start(struct way *way, enum which which)
{
	struct ctl_connect *c = way->connect;
	char ace[CTL_PLAN_HOST + 16];
	struct ctl_try_options options = {
		.host = c->url.host, .port = way->port[which], .tls = which == TLS,
		.version = c->options.version, .proxy = c->options.proxy,
		.proxy_auth = c->options.proxy_auth, .ca_file = c->options.ca_file,
		.server_key = c->options.memory->server_key, .identity = c->options.identity,
		.identity_self = c->options.identity_self, .timeout = time_left(c),
	};

	if (!way->port[which])
		return false;
	way->port[which] = 0;
	if (way->plan && way->plan->ace[0]) {
		snprintf(ace, sizeof(ace), "https://%s", way->plan->ace);
		options.proxy = ace;
		options.proxy_auth = NULL;
		options.proxy_address = way->plan->ip;
	} else if (way->plan) {
		options.address = way->plan->ip;
	}
	way->tries[which] = ctl_try_new(c->ctx, &options, try_done, way);
	return way->tries[which] != NULL;
}

static void try_done(struct ctl_try *try, struct warren_stream *stream, bool noise,
		     const char *why, void *arg)
{
	struct way *way = arg;
	struct ctl_connect *c = way->connect;
	enum which which = try == way->tries[TLS] ? TLS : PLAIN;
	size_t len = strlen(c->why);

	way->tries[which] = NULL;
	if (stream) {
		succeed(c, stream);
		return;
	}
	/* What answers elsewhere says nothing about the key of the server. */
	c->noise_failed = c->noise_failed || (noise && !way->plan);
	snprintf(c->why + len, sizeof(c->why) - len, "%s%s", len > 0 ? "; " : "", why);
	if (!start(way, !which) && !way->tries[!which])
		way_over(way);
}

static void on_stagger(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	start(arg, TLS);
}

static void on_limit(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	way_over(arg);
}

static void on_begin(struct warren_ctx *ctx, void *arg)
{
	struct way *way = arg;

	(void)ctx;
	choose_ports(way);
	if (way->plan)
		warren_timer_set(way->limit, way->plan->timeout);
	/* TLS alone first where port 80 failed us; the other is left for when TLS fails too. */
	if (way->connect->recent && start(way, TLS))
		return;
	if (start(way, PLAIN))
		warren_timer_set(way->stagger, STAGGER_USEC);
	else if (!start(way, TLS))
		way_over(way);
}

/* False: no memory. */
static bool way_add(struct ctl_connect *c, const struct ctl_plan_way *plan, uint64_t delay)
{
	struct way *way = &c->ways[c->n_ways++];

	*way = (struct way){ .connect = c, .plan = plan };
	way->begin = warren_timer_new(c->ctx, on_begin, way);
	way->stagger = warren_timer_new(c->ctx, on_stagger, way);
	way->limit = warren_timer_new(c->ctx, on_limit, way);
	if (!way->begin || !way->stagger || !way->limit)
		return false;
	warren_timer_set(way->begin, delay);
	return true;
}

/*
 * ---- All ways ----
 */

static void all_failed(struct ctl_connect *c)
{
	char why[sizeof(c->why)];

	if (c->noise_failed)
		c->options.memory->has_key = false;
	if (c->noise_failed && !c->fetched) {
		c->noise_failed = false;
		c->why[0] = '\0';
		c->plan.n = 0;
		begin(c);
		return;
	}
	memcpy(why, c->why, sizeof(why));
	failed(c, why[0] ? why : "no memory");
}

static void start_name(struct ctl_connect *c)
{
	for (uint32_t i = 0; i < c->n_ways; i++)
		way_stop(&c->ways[i]);
	warren_timer_stop(c->plan_limit);
	c->n_ways = 0;
	if (!way_add(c, NULL, 0))
		failed(c, "no memory");
}

static void on_plan_limit(struct warren_ctx *ctx, void *arg)
{
	struct ctl_connect *c = arg;

	warren_log(ctx, LOG_DEBUG, "nothing of the dial plan of %s leads to it in time%s%s",
		   c->url_text, c->why[0] ? ": " : "", c->why);
	c->why[0] = '\0';
	start_name(c);
}

static void way_over(struct way *way)
{
	struct ctl_connect *c = way->connect;
	bool name = !way->plan;

	way_stop(way);
	if (name) {
		all_failed(c);
		return;
	}
	for (uint32_t i = 0; i < c->n_ways; i++) {
		if (!c->ways[i].over)
			return;
	}
	/* By the timer, since a try that has failed is still being told of. */
	warren_timer_set(c->plan_limit, 0);
}

static void start_ways(struct ctl_connect *c)
{
	uint64_t left = time_left(c), time = ctl_plan_time(&c->plan);

	c->options.memory->dialled = warren_now();
	if (!c->plan.n || left <= NAME_USEC) {
		start_name(c);
		return;
	}
	c->n_ways = 0;
	warren_timer_set(c->plan_limit, time < left - NAME_USEC ? time : left - NAME_USEC);
	for (uint32_t i = 0; i < c->plan.n; i++) {
		if (!way_add(c, &c->plan.ways[i], c->plan.ways[i].delay)) {
			failed(c, "no memory");
			return;
		}
	}
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
	start_ways(c);
}

static void begin(struct ctl_connect *c)
{
	const struct ctl_memory *memory = c->options.memory;
	const struct ctl_keyget_options options = {
		.url = &c->url, .version = c->options.version, .proxy = c->options.proxy,
		.proxy_auth = c->options.proxy_auth, .ca_file = c->options.ca_file,
		.timeout = time_left(c),
	};

	if (memory->has_key && strcmp(memory->url, c->url_text) == 0) {
		start_ways(c);
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
	if (options->proxy_auth)
		c->options.proxy_auth = c->proxy_auth;
	if (options->ca_file)
		c->options.ca_file = c->ca_file;
	if (options->plan)
		c->plan = *options->plan;
	return str_copy(c->url_text, sizeof(c->url_text), options->url) &&
	       str_copy(c->proxy, sizeof(c->proxy), options->proxy ? options->proxy : "") &&
	       str_copy(c->proxy_auth, sizeof(c->proxy_auth),
			options->proxy_auth ? options->proxy_auth : "") &&
	       str_copy(c->ca_file, sizeof(c->ca_file), options->ca_file ? options->ca_file : "");
}

struct ctl_connect *ctl_connect(struct warren_ctx *ctx, const struct ctl_connect_options *options,
				ctl_connect_fn *done, void *arg)
{
	struct ctl_connect *c = warren_zalloc(ctx, sizeof(*c));
	uint64_t timeout = options->timeout, now = warren_now(), before = options->memory->dialled;

	if (!c)
		return NULL;
	if (!timeout)
		timeout = options->plan && options->plan->n ?
			  ctl_plan_time(options->plan) + NAME_USEC : TOTAL_USEC;
	c->ctx = ctx;
	c->done = done;
	c->arg = arg;
	c->deadline = now + timeout;
	c->recent = before && now - before < RECENT_USEC;
	c->total = warren_timer_new(ctx, on_total, c);
	c->plan_limit = warren_timer_new(ctx, on_plan_limit, c);
	c->kick = warren_timer_new(ctx, on_kick, c);
	c->tie = warren_on_end(ctx, wipe, c);
	if (!c->total || !c->plan_limit || !c->kick || !c->tie || !copy_options(c, options)) {
		ctl_connect_cancel(c);
		return NULL;
	}
	warren_timer_set(c->total, timeout);
	warren_timer_set(c->kick, 0);
	return c;
}
