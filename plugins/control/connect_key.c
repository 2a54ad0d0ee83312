/*
 * GET /key: the one answer of a control server that nothing but its certificate vouches for, and on
 * which all else rests. So no redirect is followed, and what is not exactly a key is refused.
 */
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

#include "connect_impl.h"

enum { BODY_MAX = 64 << 10 };		/* section 2.1 */

struct ctl_keyget {
	struct warren_ctx *ctx;
	ctl_keyget_fn *done;
	void *arg;
	struct ctl_keyget_options options;
	struct warren_dial *dial;
	struct warren_http *http;
	struct warren_timer *timer;	/* tells a failure */
	char why[CTL_WHY];		/* not empty: it has failed */
	size_t len;
	uint8_t body[BODY_MAX];
};

const char *ctl_authority(const char *host, uint16_t port, char out[CTL_AUTHORITY])
{
	bool six = strchr(host, ':');
	int n = snprintf(out, CTL_AUTHORITY, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "",
			 port);

	return n > 0 ? out : "";
}

void ctl_keyget_cancel(struct ctl_keyget *get)
{
	if (!get)
		return;
	warren_dial_cancel(get->dial);
	warren_http_close(get->http);
	warren_release(get->timer);
	warren_release(get);
}

static void failed(struct ctl_keyget *get, const char *why)
{
	const struct warren_url *url = get->options.url;
	char at[CTL_AUTHORITY];

	if (get->why[0])
		return;
	snprintf(get->why, sizeof(get->why), "cannot fetch the control server's key from "
		 "%s://%s/key: %s", url->scheme, ctl_authority(url->host, url->port, at), why);
	warren_timer_set(get->timer, 0);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct ctl_keyget *get = arg;
	ctl_keyget_fn *done = get->done;
	void *owner = get->arg;
	char why[CTL_WHY];

	(void)ctx;
	memcpy(why, get->why, sizeof(why));
	ctl_keyget_cancel(get);
	done(NULL, why, owner);
}

int ctl_key_parse(const void *body, size_t len, uint8_t key[32], struct warren_err *err)
{
	json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(root, "publicKey"));
	int result = 0;

	memset(key, 0, 32);
	if (!json_is_object(root))
		result = warren_fail(err, NULL, "the answer is not what a control server says: "
				     "is control.url right?");
	else if (!text)
		result = warren_fail(err, NULL, "the answer has no \"publicKey\": the server is "
				     "too old, or no control server");
	else
		result = warren_keytext_parse(WARREN_KEYTEXT_MACHINE, text, key, err);
	if (result == 0 && sodium_is_zero(key, 32))
		result = warren_fail(err, NULL, "the server has no key for Noise: it is too old");
	json_decref(root);
	return result;
}

static void head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	AUTO(str_free) struct str why = STR_INIT;
	const char *to = warren_http_field(head, "location");

	(void)x;
	if (head->status == 200)
		return;
	str_addf(&why, "the answer has status %d", head->status);
	if (to && head->status >= 300 && head->status < 400) {
		str_add(&why, " and leads to ");
		str_add_clean(&why, to, strlen(to), 200);
	}
	str_add(&why, ": is control.url right?");
	failed(arg, str_text(&why));
}

static int body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct ctl_keyget *get = arg;

	(void)x;
	if (len > sizeof(get->body) - get->len) {
		failed(get, "the answer is longer than 64 KiB: is control.url right?");
		return 0;
	}
	memcpy(get->body + get->len, data, len);
	get->len += len;
	return 0;
}

static void complete(struct warren_exchange *x, void *arg)
{
	struct ctl_keyget *get = arg;
	ctl_keyget_fn *done = get->done;
	void *owner = get->arg;
	struct warren_err err = ERR_INIT;
	uint8_t key[32];

	(void)x;
	if (get->why[0])
		return;
	if (ctl_key_parse(get->body, get->len, key, &err)) {
		failed(get, err_first(&err));
		err_free(&err);
		return;
	}
	ctl_keyget_cancel(get);
	done(key, NULL, owner);
}

static void broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	failed(arg, why);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = head, .body = body, .complete = complete,
	.failed = broken,
};

/* The exchange has told all that matters. */
static void ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	failed(arg, why ? why : "the server closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = ended,
};

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct ctl_keyget *get = arg;
	const struct warren_url *url = get->options.url;
	struct warren_http_options http = { .size = sizeof(http), .version = WARREN_HTTP_1,
					    .body_max = -1 };
	char at[CTL_AUTHORITY], path[32];
	struct warren_http_head request = {
		.size = sizeof(request), .method = "GET", .scheme = url->scheme, .path = path,
		.authority = url->port_given || strchr(url->host, ':') ?
			     ctl_authority(url->host, url->port, at) : url->host,
	};

	(void)ctx;
	get->dial = NULL;
	if (!stream) {
		failed(get, why);
		return;
	}
	snprintf(path, sizeof(path), "/key?v=%u", get->options.version);
	get->http = warren_http_client_take(stream, &http, &http_events, get);
	if (!get->http || !warren_http_request(get->http, &request, &exchange_events, get))
		failed(get, "no memory");
}

struct ctl_keyget *ctl_keyget_new(struct warren_ctx *ctx, const struct ctl_keyget_options *options,
				  ctl_keyget_fn *done, void *arg)
{
	static const char *const alpn[] = { "http/1.1", NULL };
	const struct warren_url *url = options->url;
	struct warren_tls_client tls = {
		.size = sizeof(tls), .server_name = url->host, .alpn = alpn,
		.ca_file = options->ca_file,
	};
	struct warren_dial_options dial = {
		.size = sizeof(dial), .name = url->host, .port = url->port,
		.timeout = options->timeout, .proxy = options->proxy,
		.proxy_auth = options->proxy_auth, .proxy_ca_file = options->ca_file,
		.tls = strcmp(url->scheme, "https") == 0 ? &tls : NULL,
	};
	struct ctl_keyget *get = warren_zalloc(ctx, sizeof(*get));

	if (!get)
		return NULL;
	get->ctx = ctx;
	get->done = done;
	get->arg = arg;
	get->options = *options;
	get->timer = warren_timer_new(ctx, on_timer, get);
	get->dial = get->timer ? warren_dial(ctx, &dial, dialled, get) : NULL;
	if (!get->dial) {
		ctl_keyget_cancel(get);
		return NULL;
	}
	return get;
}
