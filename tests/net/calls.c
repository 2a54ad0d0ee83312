#include "calls.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What the test wants at this point; true: the exchange is gone. */
static bool strike(struct call *call, enum when when)
{
	struct warren_exchange *x = call->x;

	if (call->close == when) {
		warren_http_close(call->side->http);
		call->side->http = NULL;
	} else if (call->cancel == when) {
		warren_exchange_cancel(x);
	} else {
		return false;
	}
	call->x = NULL;
	return true;
}

static void finished(struct call *call)
{
	call->done = true;
	if (call->failed)
		call->side->n_failed++;
	else
		call->side->n_complete++;
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct call *call = arg;

	assert_ptr_equal(call->x, x);
	assert_int_equal(call->head.len, 0);
	call->status = head->status;
	call->length = head->length;
	if (head->method)
		str_addf(&call->head, "%s %s://%s%s", head->method, head->scheme,
			 head->authority, head->path);
	else
		str_addf(&call->head, "%d", head->status);
	for (uint32_t i = 0; i < head->n_fields; i++)
		str_addf(&call->head, "|%s=%s", head->fields[i].name, head->fields[i].value);
	strike(call, AT_HEAD);
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct call *call = arg;

	assert_ptr_equal(call->x, x);
	assert_false(call->paused);
	assert_true(len > 0);
	str_addn(&call->body, (const char *)data, len);
	call->pieces++;
	if (strike(call, AT_BODY))
		return 0;
	call->paused = call->pause;
	return call->pause ? WARREN_PENDING : 0;
}

void call_send(struct call *call)
{
	while (call->sent < call->send_len && warren_exchange_pending(call->x) < CALL_WINDOW) {
		size_t n = call->send_len - call->sent;

		n = n < 50000 ? n : 50000;
		assert_int_equal(warren_exchange_write(call->x, call->send + call->sent, n), 0);
		call->sent += n;
	}
	if (call->sent < call->send_len || call->ended)
		return;
	call->ended = true;
	assert_int_equal(warren_exchange_end(call->x), 0);
	if (call->complete)
		call->x = NULL;
}

static void answer(struct call *call)
{
	const struct side *side = call->side;
	static const struct warren_http_field fields[] = { { "X-Test", "a b" } };
	const struct warren_http_head head = {
		.size = sizeof(head), .status = 200, .fields = fields, .n_fields = 1,
		.length = side->answer ? (int64_t)side->answer_len : -1,
	};

	assert_int_equal(warren_exchange_head(call->x, &head), 0);
	call->send = side->answer ? side->answer : str_text(&call->body);
	call->send_len = side->answer ? side->answer_len : call->body.len;
	call_send(call);
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct call *call = arg;

	assert_ptr_equal(call->x, x);
	assert_false(call->complete);
	call->complete = true;
	if (!strike(call, AT_COMPLETE) && call->status == 0 && !call->side->hold)
		answer(call);
	if (call->status)
		call->x = NULL;
	finished(call);
}

static void on_drained(struct warren_exchange *x, void *arg)
{
	struct call *call = arg;

	if (!call->x)
		return;			/* our part is done */
	assert_ptr_equal(call->x, x);
	if (!strike(call, AT_DRAINED) && call->send)
		call_send(call);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct call *call = arg;

	assert_true(call->x == x || (!call->x && call->ended));
	assert_false(call->failed);
	assert_true(result < 0 && why && *why);
	call->failed = true;
	call->result = result;
	snprintf(call->why, sizeof(call->why), "%s", why);
	if (call->x)
		strike(call, AT_FAILED);
	call->x = NULL;
	finished(call);
}

const struct warren_exchange_events call_events = {
	.size = sizeof(call_events), .head = on_head, .body = on_body, .complete = on_complete,
	.drained = on_drained, .failed = on_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct side *side = arg;
	struct call *call = &side->calls[side->n_calls];

	assert_ptr_equal(side->http, http);
	assert_true(side->n_calls < CALLS);
	side->n_calls++;
	*call = (struct call){ .side = side, .x = x, .cancel = side->cancel,
			       .close = side->close, .pause = side->pause };
	warren_exchange_set(x, &call_events, call);
	strike(call, AT_REQUEST);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct side *side = arg;

	assert_ptr_equal(side->http, http);
	assert_false(side->done);
	assert_true(!why == (result == 0));
	side->done = true;
	side->result = result;
	snprintf(side->why, sizeof(side->why), "%s", why ? why : "");
	warren_http_close(http);
	side->http = NULL;
}

const struct warren_http_events side_events = {
	.size = sizeof(side_events), .request = on_request, .ended = on_ended,
};

bool call_request(struct side *client, struct call *call, const char *method, const char *path,
		  int64_t length)
{
	static const struct warren_http_field fields[] = { { "Accept", "*/*" }, { "x-n", "1" } };
	const struct warren_http_head head = {
		.size = sizeof(head), .method = method, .authority = "box.example:8443",
		.path = path, .fields = fields, .n_fields = 2, .length = length,
	};

	*call = (struct call){ .side = client };
	call->x = warren_http_request(client->http, &head, &call_events, call);
	return call->x != NULL;
}

void call_free(struct call *call)
{
	str_free(&call->head);
	str_free(&call->body);
}

void side_close(struct side *side)
{
	warren_http_close(side->http);
	side->http = NULL;
	for (uint32_t i = 0; i < side->n_calls; i++)
		call_free(&side->calls[i]);
}
