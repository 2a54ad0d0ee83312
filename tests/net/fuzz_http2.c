/*
 * Fuzz target: HTTP/2 from the other side. The first byte chooses our side and what its owner does;
 * the preface is given, so that each input gets behind it. Whatever comes, an exchange is told its
 * head first and one end, and the connection is told its end.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/net.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "net/http1.h"

#include "../unit/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CLIENT = 1, PAUSE = 2, CANCEL = 4, HOLD = 8, CLOSE = 16 };
enum { CALLS = 512, INPUT_MAX = 32 << 10 };

struct call {
	struct run *run;
	struct warren_exchange *x;	/* NULL: over */
	bool head, complete, paused;
};

struct run {
	uint8_t choice;
	struct warren_http *http;
	struct call calls[CALLS];
	uint32_t n;
	bool ended;
};

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void close_run(struct run *run)
{
	warren_http_close(run->http);
	run->http = NULL;
	for (uint32_t i = 0; i < run->n; i++)
		run->calls[i].x = NULL;
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct call *call = arg;

	require(call->x == x && !call->head && head->length >= -1);
	require(head->n_fields <= WARREN_HTTP_FIELDS);
	require(call->run->choice & CLIENT ? head->status >= 200 && head->status <= 999 :
		head->method && head->scheme && head->authority && head->path);
	for (uint32_t i = 0; i < head->n_fields; i++) {
		require(http1_is_token(head->fields[i].name, strlen(head->fields[i].name)));
		require(http1_is_value(head->fields[i].value, strlen(head->fields[i].value)));
	}
	call->head = true;
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct call *call = arg;

	(void)data;
	require(call->x == x && call->head && !call->complete && !call->paused && len > 0);
	if (call->run->choice & CANCEL) {
		call->x = NULL;
		warren_exchange_cancel(x);
		return 0;
	}
	if (call->run->choice & CLOSE) {
		close_run(call->run);
		return 0;
	}
	call->paused = call->run->choice & PAUSE;
	return call->paused ? WARREN_PENDING : 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct call *call = arg;

	require(call->x == x && call->head && !call->complete && !call->paused);
	call->complete = true;
	if (!(call->run->choice & (CLIENT | HOLD)))
		require(warren_exchange_reply(x, 200, NULL, "hello\n", 6) == 0);
	if (!(call->run->choice & HOLD) || call->run->choice & CLIENT)
		call->x = NULL;
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct call *call = arg;

	/* An answer that is on its way may still fail: its owner need not be told of each. */
	require((call->x == x || call->complete) && result < 0 && why && *why);
	call->x = NULL;
}

static const struct warren_exchange_events events = {
	.size = sizeof(events), .head = on_head, .body = on_body, .complete = on_complete,
	.failed = on_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct run *run = arg;

	require(run->http == http && run->n < CALLS);
	run->calls[run->n] = (struct call){ .run = run, .x = x };
	warren_exchange_set(x, &events, &run->calls[run->n++]);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct run *run = arg;

	require(run->http == http && !run->ended && !why == (result == 0));
	run->ended = true;
	for (uint32_t i = 0; i < run->n; i++)
		require(!run->calls[i].x);
	close_run(run);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = on_ended,
};

static void ask(struct run *run)
{
	const struct warren_http_head head = { .size = sizeof(head), .method = "GET", .path = "/",
					       .authority = "a" };

	for (int i = 0; i < 3; i++) {
		struct call *call = &run->calls[run->n];

		*call = (struct call){ .run = run };
		call->x = warren_http_request(run->http, &head, &events, call);
		require(call->x);
		run->n++;
	}
}

static void go_on(struct run *run)
{
	for (uint32_t i = 0; i < run->n; i++) {
		struct call *call = &run->calls[i];

		if (call->x && call->paused) {
			call->paused = false;
			warren_exchange_resume(call->x);
		}
	}
}

/* Of the other side: the preface, its settings and the input, in two portions. */
static void send_all(struct wcore_engine *engine, struct run *run, int fd, const uint8_t *data,
		     size_t size)
{
	static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const char settings[] = "\0\0\0\4\0\0\0\0\0";

	if (!(run->choice & CLIENT))
		require(send(fd, magic, sizeof(magic) - 1, MSG_NOSIGNAL) > 0);
	require(send(fd, settings, sizeof(settings) - 1, MSG_NOSIGNAL) > 0);
	for (size_t at = 0; at < size;) {
		size_t n = at == 0 && size > 1 ? size / 2 : size - at;

		if (send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
			break;		/* it was closed: all the same */
		at += n;
		parts_settle(engine);
	}
	shutdown(fd, SHUT_WR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wcore_engine *engine;
	static struct warren_ctx *ctx;
	static struct run run;
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_2 };
	struct warren_stream *stream;
	int fds[2];

	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (!engine) {
		engine = parts_engine(-1);
		ctx = parts_ctx(engine, wcore_engine_main(engine));
	}
	memset(&run, 0, sizeof(run));
	run.choice = data[0];
	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	stream = warren_stream_new_take(ctx, fds[0]);
	run.http = run.choice & CLIENT ?
			   warren_http_client_take(stream, &options, &http_events, &run) :
			   warren_http_server_take(stream, &options, &http_events, &run);
	require(run.http);
	if (run.choice & CLIENT)
		ask(&run);
	send_all(engine, &run, fds[1], data + 1, size - 1);
	for (int i = 0; i < 100 && run.http; i++) {
		parts_settle(engine);
		go_on(&run);
	}
	require(!run.http);
	close(fds[1]);
	parts_settle(engine);
	return 0;
}
