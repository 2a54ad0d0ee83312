/*
 * A request and its answer. The exchange tells when it failed; we tell our caller once, and cancel
 * it when the answer is longer or later than allowed.
 */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct ctl_request {
	struct warren_ctx *ctx;
	struct warren_exchange *x;	/* NULL: it is over */
	struct warren_timer *timer;
	ctl_request_fn *done;
	void *arg;
	struct str body;
	size_t limit;
	int status;
	uint64_t retry_after;
};

const char *ctl_http_error(int status, const uint8_t *body, size_t len, char out[CTL_HTTP_ERROR])
{
	struct str text = STR_INIT;

	while (len > 0 && (body[len - 1] == '\n' || body[len - 1] == '\r' || body[len - 1] == ' '))
		len--;
	str_addf(&text, "http %d: ", status);
	str_add_clean(&text, (const char *)body, len < 200 ? len : 200, 200);
	str_cut(&text, CTL_HTTP_ERROR - 1);
	str_copy(out, CTL_HTTP_ERROR, str_text(&text));
	str_free(&text);
	return out;
}

/*
 * ---- The exchange ----
 */

static void request_free(struct ctl_request *request)
{
	if (request->x)
		warren_exchange_cancel(request->x);
	warren_release(request->timer);
	str_free(&request->body);
	free(request);
}

static void request_end(struct ctl_request *request, int status, const char *why)
{
	struct ctl_answer answer = {
		.status = status,
		.why = why,
		.body = (const uint8_t *)str_text(&request->body),
		.len = request->body.len,
		.retry_after = request->retry_after,
	};

	warren_timer_stop(request->timer);
	request->done(request->ctx, &answer, request->arg);
	request_free(request);
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct ctl_request *request = arg;
	const char *after = warren_http_field(head, "retry-after");

	(void)x;
	request->status = head->status;
	request->retry_after = after ? warren_http_retry_after(after, warren_realtime() / 1000000,
							       CTL_RETRY_AFTER_MAX) : 0;
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct ctl_request *request = arg;

	if (len <= request->limit - request->body.len) {
		str_addn(&request->body, (const char *)data, len);
		if (!request->body.failed)
			return 0;
	}
	request->x = NULL;
	warren_exchange_cancel(x);
	request_end(request, 0, request->body.failed ? "out of memory"
						     : "the server's answer is too long");
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct ctl_request *request = arg;

	(void)x;
	request->x = NULL;
	request_end(request, request->status, NULL);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct ctl_request *request = arg;

	(void)x;
	(void)result;
	request->x = NULL;
	request_end(request, 0, why);
}

static void on_timeout(struct warren_ctx *ctx, void *arg)
{
	struct ctl_request *request = arg;

	(void)ctx;
	request_end(request, 0, "the server did not answer in time");
}

static const struct warren_exchange_events events = {
	.size = sizeof(events),
	.head = on_head,
	.body = on_body,
	.complete = on_complete,
	.failed = on_failed,
};

static int request_send(struct ctl_request *request, struct warren_http *http,
			const struct ctl_request_options *options)
{
	struct warren_http_field fields[2];
	struct warren_http_head head = {
		.size = sizeof(head),
		.method = options->method,
		.scheme = "https",	/* as Go clients say, whatever the URL (section 3.7) */
		.authority = options->authority,
		.path = options->path,
		.fields = fields,
		.length = (int64_t)options->body_len,
	};
	int result;

	if (options->lb)
		fields[head.n_fields++] = (struct warren_http_field){ "ts-lb", options->lb };
	if (options->type)
		fields[head.n_fields++] = (struct warren_http_field){ "content-type",
								      options->type };
	request->x = warren_http_request(http, &head, &events, request);
	if (!request->x)
		return -EPIPE;
	if (!options->body_len)
		return 0;
	result = warren_exchange_write(request->x, options->body, options->body_len);
	return result ? result : warren_exchange_end(request->x);
}

struct ctl_request *ctl_request_new(struct warren_ctx *ctx, struct warren_http *http,
				    const struct ctl_request_options *options,
				    ctl_request_fn *done, void *arg)
{
	struct ctl_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->ctx = ctx;
	request->done = done;
	request->arg = arg;
	request->limit = options->limit;
	request->timer = warren_timer_new(ctx, on_timeout, request);
	if (!request->timer || request_send(request, http, options)) {
		request_free(request);
		return NULL;
	}
	if (options->timeout)
		warren_timer_set(request->timer, options->timeout);
	return request;
}

void ctl_request_cancel(struct ctl_request *request)
{
	if (request)
		request_free(request);
}
