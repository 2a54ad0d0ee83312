/*
 * The peer API of other nodes: where it is, a connection to it, a ping.
 *
 * A dial cannot be called off, so a call that was lives until the dial is done, or our own context
 * ends. Calls are on that: what they call back is our code, which goes with it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "guard.h"
#include "peerapi.h"

struct warren_peerapi_call {
	struct list link;
	struct warren_ctx *owner;
	void *tie;			/* of warren_on_end(), on the owner's context */
	warren_stream_fn *connected;	/* NULL: a ping; all NULL: called off */
	warren_peerapi_ping_fn *pinged;
	void *arg;
	bool dialing;
	struct warren_http *http;
	struct warren_timer *timer;
	uint64_t began;
	char host[ADDRPORT_TEXT];
};

static void call_free(struct warren_peerapi_call *call)
{
	list_del(&call->link);
	warren_http_close(call->http);
	warren_release(call->tie);
	warren_release(call->timer);
	warren_release(call);
}

/* Nobody waits for it any more. */
static void drop(struct warren_peerapi_call *call)
{
	call->connected = NULL;
	call->pinged = NULL;
	warren_release(call->tie);
	call->tie = NULL;
	warren_timer_stop(call->timer);
	if (!call->dialing)
		call_free(call);
}

static void owner_ended(void *arg)
{
	struct warren_peerapi_call *call = arg;

	call->tie = NULL;
	drop(call);
}

bool papi_base(void *self, const struct warren_node *node, struct warren_addrport *out)
{
	static const uint8_t families[] = { 4, 6 };
	const struct peerapi *p = self;

	for (int i = 0; p->map && p->map->self && i < 2; i++) {
		const struct warren_addr *addr = papi_address(node, families[i]);
		uint16_t port = papi_told_port(node, families[i]);

		if (!addr || !port || !papi_address(p->map->self, families[i]))
			continue;
		out->addr = *addr;
		out->port = port;
		return true;
	}
	return false;
}

/* ---- ping ---- */

static void ping_end(struct warren_peerapi_call *call, int result, const char *why)
{
	warren_peerapi_ping_fn *done = call->pinged;
	struct warren_ctx *owner = call->owner;
	uint64_t usec = warren_now() - call->began;
	void *arg = call->arg;
	char text[256];

	str_copy(text, sizeof(text), why ? why : "");
	call_free(call);
	done(owner, result, result ? text : NULL, usec, arg);
}

static void ping_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	char why[64];

	(void)x;
	if (head->status == 200) {
		ping_end(arg, 0, NULL);
		return;
	}
	snprintf(why, sizeof(why), "HTTP status %d", head->status);
	ping_end(arg, -EPROTO, why);
}

static void ping_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	ping_end(arg, result, why);
}

static const struct warren_exchange_events ping_events = {
	.size = sizeof(ping_events), .head = ping_head, .failed = ping_failed,
};

static void http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	ping_end(arg, result ? result : -ECONNRESET, why ? why : "it closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = http_ended,
};

static void ping_late(struct warren_ctx *ctx, void *arg)
{
	struct warren_peerapi_call *call = arg;
	warren_peerapi_ping_fn *done = call->pinged;

	(void)ctx;
	if (!call->dialing) {
		ping_end(call, -ETIMEDOUT, "no answer");
		return;
	}
	call->pinged = NULL;
	done(call->owner, -ETIMEDOUT, "no answer", warren_now() - call->began, call->arg);
}

static void ping_begin(struct warren_peerapi_call *call, struct warren_stream *stream)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1,
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "HEAD", .authority = call->host, .path = "/",
	};

	call->http = warren_http_client_take(stream, &options, &http_events, call);
	if (!call->http || !warren_http_request(call->http, &head, &ping_events, call))
		ping_end(call, -ENOMEM, "no memory");
}

/* ---- calls ---- */

static void connect_end(struct warren_peerapi_call *call, struct warren_stream *stream,
			const char *why)
{
	warren_stream_fn *done = call->connected;
	struct warren_ctx *owner = call->owner;
	void *arg = call->arg;

	call_free(call);
	done(owner, stream, why, arg);
}

static void dialed(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct warren_peerapi_call *call = arg;
	struct warren_stream *stream;

	call->dialing = false;
	if (!call->connected && !call->pinged) {
		if (fd >= 0)
			close(fd);
		call_free(call);
		return;
	}
	stream = result ? NULL : warren_stream_new_take(call->connected ? call->owner : ctx, fd);
	if (!stream && !result) {
		result = -ENOMEM;
		why = "no memory";
	}
	if (call->connected)
		connect_end(call, stream, why);
	else if (result)
		ping_end(call, result, why);
	else
		ping_begin(call, stream);
}

static struct warren_peerapi_call *call_new(struct peerapi *p, struct warren_ctx *ctx,
					    const struct warren_node *node, uint64_t timeout,
					    struct warren_err *err)
{
	struct warren_svc_dial dial = {
		.size = sizeof(dial), .protocol = WARREN_SVC_TCP, .timeout = timeout,
	};
	struct warren_peerapi_call *call;
	int result;

	if (!papi_base(p, node, &dial.to)) {
		warren_fail(err, NULL, "%s tells of no peer API: its daemon may not run, or lets "
			    "nobody in", node->name ? node->name : "the peer");
		return NULL;
	}
	call = warren_zalloc(p->ctx, sizeof(*call));
	if (call) {
		call->timer = warren_timer_new(p->ctx, ping_late, call);
		call->tie = warren_on_end(ctx, owner_ended, call);
	}
	if (call)
		list_add_tail(&p->calls, &call->link);
	if (!call || !call->timer || !call->tie) {
		if (call)
			call_free(call);
		warren_fail(err, NULL, "no memory");
		return NULL;
	}
	call->owner = ctx;
	call->dialing = true;
	call->began = warren_now();
	addrport_format(&dial.to, call->host);
	result = p->svcnet->dial(p->svcnet_self, p->ctx, &dial, dialed, call);
	if (result) {
		call_free(call);
		warren_fail(err, NULL, "cannot connect to the peer: %s", strerror(-result));
		return NULL;
	}
	return call;
}

struct warren_peerapi_call *papi_connect(void *self, struct warren_ctx *ctx,
					 const struct warren_node *node, uint64_t timeout,
					 warren_stream_fn *done, void *arg,
					 struct warren_err *err)
{
	struct warren_peerapi_call *call = call_new(self, ctx, node, timeout, err);

	if (call) {
		call->connected = done;
		call->arg = arg;
	}
	return call;
}

struct warren_peerapi_call *papi_ping(void *self, struct warren_ctx *ctx,
				      const struct warren_node *node, uint64_t timeout,
				      warren_peerapi_ping_fn *done, void *arg,
				      struct warren_err *err)
{
	struct warren_peerapi_call *call = call_new(self, ctx, node, timeout, err);

	if (call) {
		call->pinged = done;
		call->arg = arg;
		warren_timer_set(call->timer, timeout);
	}
	return call;
}

void papi_cancel(void *self, struct warren_peerapi_call *call)
{
	(void)self;
	if (call)
		drop(call);
}

void papi_calls_drop(struct peerapi *p)
{
	struct warren_peerapi_call *call, *next;

	list_for_each_safe(call, next, &p->calls, link)
		drop(call);
}
