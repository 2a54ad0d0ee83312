/*
 * One way to a control server: a connection, the upgrade of section 3.5, the Noise handshake. With
 * TLS the certificate does not matter, since Noise proves the server by its key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"

#include "connect_impl.h"

static const char protocol[] = "tailscale-control-protocol";

struct ctl_try {
	ctl_try_fn *done;
	void *arg;
	struct ctl_try_options options;
	const char *doing;
	struct warren_dial *dial;
	struct warren_http *http;
	struct warren_noise *noise;	/* until the upgrade */
	struct warren_stream *stream;	/* from then on */
	struct warren_timer *timer;	/* tells a failure */
	void *tie;			/* frees noise with the context */
	bool noise_failed;
	char why[CTL_WHY];
};

static void on_end(void *arg)
{
	struct ctl_try *try = arg;

	warren_noise_free(try->noise);
	try->noise = NULL;
}

void ctl_try_cancel(struct ctl_try *try)
{
	if (!try)
		return;
	warren_dial_cancel(try->dial);
	warren_http_close(try->http);
	warren_stream_close(try->stream);
	on_end(try);
	warren_release(try->tie);
	warren_release(try->timer);
	warren_release(try);
}

void ctl_try_describe(const struct ctl_try *try, char *out, size_t size)
{
	snprintf(out, size, "port %u%s: %s", try->options.port, try->options.tls ? " (TLS)" : "",
		 try->doing);
}

static void failed(struct ctl_try *try, const char *why)
{
	if (try->why[0])
		return;
	/* A dial's sentence has the address in it. */
	if (try->http || try->stream)
		snprintf(try->why, sizeof(try->why), "port %u: %s", try->options.port, why);
	else
		snprintf(try->why, sizeof(try->why), "%s", why);
	warren_timer_set(try->timer, 0);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct ctl_try *try = arg;

	(void)ctx;
	try->done(try, NULL, try->noise_failed, try->why, try->arg);
	ctl_try_cancel(try);
}

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct ctl_try *try = arg;

	if (result) {
		try->noise_failed = true;
		failed(try, why);
		return;
	}
	try->stream = NULL;
	try->done(try, stream, true, NULL, try->arg);
	ctl_try_cancel(try);
}

static void head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct ctl_try *try = arg;
	const char *to = warren_http_field(head, "upgrade");
	struct warren_stream *stream;
	char why[160];

	if (head->status != 101 || !to || strcasecmp(to, protocol) != 0) {
		snprintf(why, sizeof(why), "the answer to POST /ts2021 has status %d instead of "
			 "switching to %s: no control server, or a proxy that does not pass the "
			 "upgrade on", head->status, protocol);
		failed(try, why);
		return;
	}
	stream = warren_exchange_upgrade(x, NULL, 0);
	if (!stream) {
		failed(try, "the connection ended in the middle of the upgrade");
		return;
	}
	warren_http_close(try->http);
	try->http = NULL;
	try->doing = "the Noise handshake";
	try->stream = warren_noise_connect_take(stream, try->noise, shaken, try);
	try->noise = NULL;
	if (!try->stream)
		failed(try, "no memory");
}

static void broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	failed(arg, why);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = head, .failed = broken,
};

static void ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	failed(arg, why ? why : "the server closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = ended,
};

static int machine_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	struct ctl_try *try = arg;

	return try->options.identity->dh(try->options.identity_self, WARREN_KEY_MACHINE, peer, out);
}

/* Writes the field's value. */
static int make_init(struct ctl_try *try, char text[BASE64_TEXT(WARREN_NOISE_INIT)],
		     struct warren_err *err)
{
	struct warren_noise_key self = { .size = sizeof(self), .dh = machine_dh, .arg = try };
	uint8_t init[WARREN_NOISE_INIT];

	try->options.identity->public_key(try->options.identity_self, WARREN_KEY_MACHINE,
					  self.public_key);
	try->noise = warren_noise_client_new(try->options.version, &self, try->options.server_key,
					     init, err);
	if (!try->noise)
		return -EINVAL;
	base64_encode(text, init, sizeof(init));
	return 0;
}

static void request(struct ctl_try *try, const char *init)
{
	const struct warren_http_field fields[] = {
		{ "upgrade", protocol }, { "connection", "upgrade" },
		{ "x-tailscale-handshake", init },
	};
	char at[CTL_AUTHORITY];
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .path = "/ts2021",
		.scheme = try->options.tls ? "https" : "http",
		.authority = ctl_authority(try->options.host, try->options.port, at),
		.fields = fields, .n_fields = sizeof(fields) / sizeof(fields[0]),
	};

	try->doing = "the answer to POST /ts2021";
	if (!warren_http_request(try->http, &head, &exchange_events, try))
		failed(try, "no memory");
}

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct ctl_try *try = arg;
	struct warren_http_options http = { .size = sizeof(http), .version = WARREN_HTTP_1 };
	struct warren_err err = ERR_INIT;
	char init[BASE64_TEXT(WARREN_NOISE_INIT)];

	(void)ctx;
	try->dial = NULL;
	if (!stream) {
		failed(try, why);
		return;
	}
	if (make_init(try, init, &err)) {
		failed(try, err_first(&err));
		err_free(&err);
		warren_stream_close(stream);
		return;
	}
	try->http = warren_http_client_take(stream, &http, &http_events, try);
	if (try->http)
		request(try, init);
	else
		failed(try, "no memory");
}

struct ctl_try *ctl_try_new(struct warren_ctx *ctx, const struct ctl_try_options *options,
			    ctl_try_fn *done, void *arg)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	struct warren_tls_client tls = {
		.size = sizeof(tls), .flags = WARREN_TLS_INSECURE, .server_name = options->host,
		.alpn = alpn,
	};
	struct warren_dial_options dial = {
		.size = sizeof(dial), .name = options->host, .port = options->port,
		.timeout = options->timeout, .proxy = options->proxy,
		.proxy_auth = options->proxy_auth, .proxy_ca_file = options->ca_file,
		.proxy_address = options->proxy_address, .addresses = &options->address,
		.n_addresses = options->address.family != 0, .tls = options->tls ? &tls : NULL,
	};
	struct ctl_try *try = warren_zalloc(ctx, sizeof(*try));

	if (!try)
		return NULL;
	try->done = done;
	try->arg = arg;
	try->options = *options;
	try->doing = "the connection";
	try->timer = warren_timer_new(ctx, on_timer, try);
	try->tie = warren_on_end(ctx, on_end, try);
	if (try->timer && try->tie)
		try->dial = warren_dial(ctx, &dial, dialled, try);
	if (!try->dial) {
		ctl_try_cancel(try);
		return NULL;
	}
	return try;
}
