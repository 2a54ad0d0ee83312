/*
 * One request to a URL: dial, TLS, HTTP in the version that the server chose, the body collected. A
 * redirect ends the connection and begins again with another URL. Everything that the caller gave
 * is copied; what is told is told once, from the loop, and the fetch is gone after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "redirect.h"

enum { LIMIT = 1 << 20, TIMEOUT = 30 * 1000000, DIAL_TIMEOUT = 10 * 1000000, ALPN_MAX = 4 };

struct kept {				/* memory that lives as long as the fetch */
	struct kept *next;
	char text[];
};

struct warren_fetch {
	struct warren_ctx *ctx;
	void *tie;			/* of warren_on_end() */
	struct kept *kept;
	warren_fetch_fn *done;
	void *arg;
	bool telling;			/* `done` is running */

	const char *method;
	struct warren_url url;
	struct warren_http_field fields[WARREN_HTTP_FIELDS];
	uint32_t n_fields;
	void *out;
	size_t out_size, out_len, out_sent, limit;
	uint64_t timeout;
	uint32_t redirects, hops;
	struct warren_tls_client tls;
	uint32_t flags;
	const char *proxy, *proxy_auth, *proxy_ca_file;
	const char *alpn[ALPN_MAX + 1];
	uint8_t pin[32];

	struct warren_timer *timer;	/* the whole */
	struct warren_timer *start;
	struct warren_dial *dial;
	struct warren_http *http;
	char bad[512];			/* why it cannot begin */

	struct warren_http_head head;
	struct warren_http_field got[WARREN_HTTP_FIELDS];
	struct str body;
};

static void destroy(struct warren_fetch *f)
{
	struct kept *next;

	warren_release(f->tie);
	warren_release(f->timer);
	warren_release(f->start);
	for (; f->kept; f->kept = next) {
		next = f->kept->next;
		explicit_bzero(f->kept->text, strlen(f->kept->text));	/* a field, a password */
		free(f->kept);
	}
	if (f->out)
		explicit_bzero(f->out, f->out_size);
	free(f->out);
	str_free(&f->body);
	free(f);
}

/* What was dialled or connected is younger, and has ended with the context already. */
static void context_ends(void *arg)
{
	struct warren_fetch *f = arg;

	f->tie = NULL;
	destroy(f);
}

static const char *keep(struct warren_fetch *f, const char *text)
{
	size_t len = strlen(text);
	struct kept *kept = malloc(sizeof(*kept) + len + 1);

	if (!kept)
		return NULL;
	memcpy(kept->text, text, len + 1);
	kept->next = f->kept;
	f->kept = kept;
	return kept->text;
}

static bool keep_fields(struct warren_fetch *f, struct warren_http_field *to,
			const struct warren_http_field *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		to[i].name = keep(f, from[i].name);
		to[i].value = keep(f, from[i].value);
		if (!to[i].name || !to[i].value)
			return false;
	}
	return true;
}

static void disconnect(struct warren_fetch *f)
{
	warren_dial_cancel(f->dial);
	f->dial = NULL;
	warren_http_close(f->http);
	f->http = NULL;
}

static void tell(struct warren_fetch *f, const char *why)
{
	disconnect(f);
	warren_timer_stop(f->timer);
	f->telling = true;
	if (why)
		f->done(f->ctx, 0, NULL, NULL, 0, why, f->arg);
	else
		f->done(f->ctx, f->head.status, &f->head, (const uint8_t *)str_text(&f->body),
			f->body.len, NULL, f->arg);
	destroy(f);
}

/* With the place in front; the path is left out, which may be a secret. */
static void fail(struct warren_fetch *f, const char *why)
{
	struct str text = STR_INIT;

	redirect_add_origin(&text, &f->url);
	str_addf(&text, ": %s", why);
	tell(f, text.failed ? why : str_text(&text));
	str_free(&text);
}

/* ---- redirects ---- */

/* What a server elsewhere may see of the fields that were meant for this one. */
static bool is_harmless(const char *name)
{
	static const char *const names[] = { "accept", "accept-language", "content-type",
					     "user-agent" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static void leave_origin(struct warren_fetch *f)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n_fields; i++) {
		if (is_harmless(f->fields[i].name))
			f->fields[n++] = f->fields[i];
	}
	f->n_fields = n;
	f->tls.flags &= ~(uint32_t)WARREN_TLS_INSECURE;	/* that was said of another server */
}

static void drop_body(struct warren_fetch *f)
{
	uint32_t n = 0;

	f->method = "GET";
	f->out_len = 0;
	for (uint32_t i = 0; i < f->n_fields; i++) {
		if (strcasecmp(f->fields[i].name, "content-type") != 0)
			f->fields[n++] = f->fields[i];
	}
	f->n_fields = n;
}

static void redirect(struct warren_fetch *f, int status, const char *location)
{
	struct warren_err err = ERR_INIT;
	struct warren_url next;
	char why[512];

	if (f->hops++ >= f->redirects) {
		snprintf(why, sizeof(why), "there are more than %u redirects", f->redirects);
		fail(f, why);
		return;
	}
	if (redirect_resolve(&f->url, location, &next, &err)) {
		snprintf(why, sizeof(why), "its redirect is not followed: %s", err_first(&err));
		err_free(&err);
		fail(f, why);
		return;
	}
	if (redirect_drops_body(status, f->method))
		drop_body(f);
	if (!redirect_same_origin(&f->url, &next)) {
		if (f->out_len > 0) {
			fail(f, "its redirect is not followed: it would hand the request's body "
				"to another server");
			return;
		}
		leave_origin(f);
	}
	f->url = next;
	disconnect(f);
	warren_timer_set(f->start, 0);
}

/* ---- the answer ---- */

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct warren_fetch *f = arg;
	const char *location = warren_http_field(head, "location");

	(void)x;
	if (head->status == 101) {
		fail(f, "the server switches to another protocol, which was not asked for");
		return;
	}
	if (redirect_status(head->status) && location && f->redirects > 0) {
		redirect(f, head->status, location);
		return;
	}
	f->head = (struct warren_http_head){
		.size = sizeof(f->head), .status = head->status, .fields = f->got,
		.n_fields = head->n_fields < WARREN_HTTP_FIELDS ? head->n_fields :
								  WARREN_HTTP_FIELDS,
		.length = head->length,
	};
	if (!keep_fields(f, f->got, head->fields, f->head.n_fields))
		fail(f, "there is not enough memory for the answer");
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct warren_fetch *f = arg;
	char why[128];

	(void)x;
	if (len > f->limit - f->body.len) {
		snprintf(why, sizeof(why), "the answer is longer than %zu bytes", f->limit);
		fail(f, why);
		return 0;
	}
	str_addn(&f->body, (const char *)data, len);
	if (f->body.failed)
		fail(f, "there is not enough memory for the answer");
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	tell(arg, NULL);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	fail(arg, why);
}

/* More of the request's body, as the connection takes it. Its failures are told to on_failed(). */
static void send_body(struct warren_exchange *x, void *arg)
{
	enum { PIECE = 64 << 10, ENOUGH = 512 << 10 };	/* above the marks of streams */
	struct warren_fetch *f = arg;

	while (f->out_sent < f->out_len && warren_exchange_pending(x) < ENOUGH) {
		size_t n = f->out_len - f->out_sent < PIECE ? f->out_len - f->out_sent : PIECE;

		if (warren_exchange_write(x, (const char *)f->out + f->out_sent, n))
			return;
		f->out_sent += n;
		if (f->out_sent == f->out_len)
			warren_exchange_end(x);
	}
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head, .body = on_body,
	.complete = on_complete, .drained = send_body, .failed = on_failed,
};
static const struct warren_http_events http_events = { .size = sizeof(http_events) };

static void ask(struct warren_fetch *f)
{
	struct warren_http_head head = {
		.size = sizeof(head), .method = f->method, .scheme = f->url.scheme,
		.path = f->url.path, .fields = f->fields, .n_fields = f->n_fields,
		.length = (int64_t)f->out_len,
	};
	struct str authority = STR_INIT;
	struct warren_exchange *x;

	redirect_add_authority(&authority, &f->url);
	head.authority = str_text(&authority);
	x = warren_http_request(f->http, &head, &exchange_events, f);
	str_free(&authority);
	f->out_sent = 0;
	if (x)
		send_body(x, f);
	else
		fail(f, "the request cannot be sent: its method or a field is not valid");
}

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct warren_fetch *f = arg;
	struct warren_tls_info info = { .size = sizeof(info) };
	struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .body_max = -1,
		.idle_timeout = UINT64_MAX,
	};

	(void)ctx;
	f->dial = NULL;
	if (!stream) {
		tell(f, why);		/* names the place itself */
		return;
	}
	if (warren_tls_info(stream, &info) && info.alpn && strcmp(info.alpn, "h2") == 0)
		options.version = WARREN_HTTP_2;
	f->http = warren_http_client_take(stream, &options, &http_events, f);
	if (f->http)
		ask(f);
	else
		fail(f, "there is not enough memory");
}

static void begin(struct warren_fetch *f)
{
	struct warren_dial_options options = {
		.size = sizeof(options), .name = f->url.host, .port = f->url.port,
		.flags = f->flags & WARREN_FETCH_NO_PROXY ? WARREN_DIAL_NO_PROXY : 0,
		.timeout = f->timeout < DIAL_TIMEOUT ? f->timeout : DIAL_TIMEOUT,
		.proxy = f->proxy, .proxy_auth = f->proxy_auth,
		.proxy_ca_file = f->proxy_ca_file,
	};

	if (strcmp(f->url.scheme, "https") == 0) {
		f->tls.server_name = f->url.host;
		options.tls = &f->tls;
	}
	f->dial = warren_dial(f->ctx, &options, dialled, f);
	if (!f->dial)
		fail(f, "there is not enough memory");
}

static void started(struct warren_ctx *ctx, void *arg)
{
	struct warren_fetch *f = arg;

	(void)ctx;
	if (f->bad[0])
		tell(f, f->bad);
	else
		begin(f);
}

static void timed_out(struct warren_ctx *ctx, void *arg)
{
	struct warren_fetch *f = arg;
	char why[128];

	(void)ctx;
	snprintf(why, sizeof(why), "there was no complete answer within %llu.%llu s",
		 (unsigned long long)(f->timeout / 1000000),
		 (unsigned long long)(f->timeout / 100000 % 10));
	fail(f, why);
}

/* ---- what the caller gave ---- */

static bool copy_tls(struct warren_fetch *f, const struct warren_tls_client *tls)
{
	static const char *const usual[] = { "h2", "http/1.1", NULL };
	const char *const *alpn = tls && tls->alpn ? tls->alpn : usual;
	size_t n = 0;

	f->tls.size = sizeof(f->tls);
	for (; alpn[n]; n++) {
		f->alpn[n] = n < ALPN_MAX ? keep(f, alpn[n]) : NULL;
		if (!f->alpn[n])
			return false;
	}
	f->tls.alpn = f->alpn;
	if (!tls)
		return true;
	f->tls.flags = tls->flags;
	if (tls->ca_file && !(f->tls.ca_file = keep(f, tls->ca_file)))
		return false;
	if (tls->ca_pem && !(f->tls.ca_pem = keep(f, tls->ca_pem)))
		return false;
	if (tls->pin_sha256) {
		memcpy(f->pin, tls->pin_sha256, sizeof(f->pin));
		f->tls.pin_sha256 = f->pin;
	}
	return true;
}

static bool copy_proxy(struct warren_fetch *f, const struct warren_fetch_options *options)
{
	f->proxy = options->proxy ? keep(f, options->proxy) : NULL;
	f->proxy_auth = options->proxy_auth ? keep(f, options->proxy_auth) : NULL;
	f->proxy_ca_file = options->proxy_ca_file ? keep(f, options->proxy_ca_file) : NULL;
	return (f->proxy || !options->proxy) && (f->proxy_auth || !options->proxy_auth) &&
	       (f->proxy_ca_file || !options->proxy_ca_file);
}

static bool copy(struct warren_fetch *f, const struct warren_fetch_options *options)
{
	f->limit = options->limit ? options->limit : LIMIT;
	f->timeout = options->timeout ? options->timeout : TIMEOUT;
	f->redirects = options->redirects;
	f->flags = options->flags;
	f->method = keep(f, options->method ? options->method : "GET");
	if (!f->method || !copy_tls(f, options->tls) || !copy_proxy(f, options))
		return false;
	if (options->n_fields > WARREN_HTTP_FIELDS)
		snprintf(f->bad, sizeof(f->bad), "the request has more than %d fields",
			 WARREN_HTTP_FIELDS);
	else if (!keep_fields(f, f->fields, options->fields, options->n_fields))
		return false;
	else
		f->n_fields = options->n_fields;
	if (options->body_len == 0)
		return true;
	f->out = malloc(options->body_len);
	if (!f->out)
		return false;
	memcpy(f->out, options->body, options->body_len);
	f->out_len = f->out_size = options->body_len;
	return true;
}

struct warren_fetch *warren_fetch(struct warren_ctx *ctx,
				  const struct warren_fetch_options *options,
				  warren_fetch_fn *done, void *arg)
{
	struct warren_fetch *f = calloc(1, sizeof(*f));
	struct warren_err err = ERR_INIT;

	if (!f)
		return NULL;
	f->ctx = ctx;
	f->done = done;
	f->arg = arg;
	f->tie = warren_on_end(ctx, context_ends, f);
	f->timer = warren_timer_new(ctx, timed_out, f);
	f->start = warren_timer_new(ctx, started, f);
	if (!f->tie || !f->timer || !f->start || !copy(f, options)) {
		destroy(f);
		return NULL;
	}
	if (warren_url_parse(options->url, &f->url, &err))
		snprintf(f->bad, sizeof(f->bad), "%s", err_first(&err));
	err_free(&err);
	warren_timer_set(f->timer, f->timeout);
	warren_timer_set(f->start, 0);
	return f;
}

void warren_fetch_cancel(struct warren_fetch *f)
{
	if (!f || f->telling)
		return;
	disconnect(f);
	destroy(f);
}
