/*
 * The coordinator of coordinator.h.
 */
#include "coordinator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <zstd.h>

#include "../connect.h"
#include "base/str.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../../../tests/unit/parts.h"

#define REQUIRE(cond) do { if (!(cond)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
					  #cond); abort(); } } while (0)

static struct coord *here;		/* ctl_connect() leads to it */

/*
 * ---- Requests ----
 */

struct incoming {
	struct coord *coord;
	char method[8], path[256];
	struct str body;
};

static struct coord_request *keep(struct coord_request *list, uint32_t *n,
				  const struct incoming *in, json_t *json)
{
	struct coord_request *kept = &list[*n];

	REQUIRE(*n < COORD_KEPT);
	(*n)++;
	str_copy(kept->method, sizeof(kept->method), in->method);
	str_copy(kept->path, sizeof(kept->path), in->path);
	snprintf(kept->body, sizeof(kept->body), "%s", str_text(&in->body));
	kept->json = json_incref(json);
	return kept;
}

static void reply(struct warren_exchange *x, int status, const char *after, const char *text)
{
	const struct warren_http_field field = { "retry-after", after };
	const struct warren_http_head head = {
		.size = sizeof(head), .status = status, .fields = &field, .n_fields = after != NULL,
		.length = (int64_t)strlen(text),
	};

	REQUIRE(warren_exchange_head(x, &head) == 0);
	if (!*text)
		return;
	REQUIRE(warren_exchange_write(x, text, strlen(text)) == 0);
	REQUIRE(warren_exchange_end(x) == 0);
}

static void on_register(struct coord *coord, struct warren_exchange *x)
{
	if (coord->register_status)
		reply(x, coord->register_status, coord->retry_after, "no such luck\n");
	else if (coord->reply)
		reply(x, 200, NULL, coord->reply);
	else
		coord->held = x;
}

static void on_stream(struct coord *coord, struct warren_exchange *x)
{
	const struct warren_http_head head = { .size = sizeof(head), .status = 200, .length = -1 };

	if (coord->map_status) {
		reply(x, coord->map_status, coord->retry_after, "node not found\n");
		return;
	}
	REQUIRE(warren_exchange_head(x, &head) == 0);
	coord->stream = x;
	if (coord->map)
		coord_send(coord, coord->map);
}

static void request_free(struct incoming *in)
{
	str_free(&in->body);
	free(in);
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct incoming *in = arg;

	(void)x;
	str_addn(&in->body, (const char *)data, len);
	return 0;
}

static void quiet_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct coord *coord = arg;

	(void)result;
	(void)why;
	if (coord->stream == x)
		coord->stream = NULL;
	if (coord->held == x)
		coord->held = NULL;
}

static const struct warren_exchange_events quiet = {
	.size = sizeof(quiet), .failed = quiet_failed,
};

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct incoming *in = arg;
	struct coord *coord = in->coord;
	json_t *json = json_loads(str_text(&in->body), JSON_REJECT_DUPLICATES, NULL);

	warren_exchange_set(x, &quiet, coord);
	if (!strcmp(in->path, "/machine/register")) {
		keep(coord->registers, &coord->n_registers, in, json);
		on_register(coord, x);
	} else if (!strcmp(in->path, "/machine/map") &&
		   json_is_true(json_object_get(json, "Stream"))) {
		keep(coord->streams, &coord->n_streams, in, json);
		on_stream(coord, x);
	} else if (!strcmp(in->path, "/machine/map")) {
		keep(coord->updates, &coord->n_updates, in, json);
		reply(x, 200, NULL, "");
	} else {
		keep(coord->others, &coord->n_others, in, json);
		reply(x, 200, NULL, "");
	}
	json_decref(json);
	request_free(in);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	request_free(arg);
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct incoming *in = arg;

	(void)x;
	str_copy(in->method, sizeof(in->method), head->method);
	str_copy(in->path, sizeof(in->path), head->path);
}

static const struct warren_exchange_events incoming_events = {
	.size = sizeof(incoming_events), .head = on_head, .body = on_body,
	.complete = on_complete, .failed = on_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct incoming *in = calloc(1, sizeof(*in));

	(void)http;
	REQUIRE(in);
	in->coord = arg;
	warren_exchange_set(x, &incoming_events, in);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct coord *coord = arg;

	(void)result;
	(void)why;
	warren_http_close(http);
	if (coord->http == http)
		coord->http = NULL;
}

static const struct warren_http_events server_events = {
	.size = sizeof(server_events), .request = on_request, .ended = on_ended,
};

/*
 * ---- In place of connect.c ----
 */

struct ctl_connect {
	struct ctl_connect_options options;
	ctl_connect_fn *done;
	void *arg;
	bool cancelled;
};

static void connect_now(struct warren_ctx *ctx, void *arg)
{
	static const struct warren_http_options http = {
		.size = sizeof(http), .version = WARREN_HTTP_2, .idle_timeout = UINT64_MAX,
		.body_max = -1,
	};
	struct ctl_connect *connect = arg;
	struct warren_http *client = NULL;
	int fds[2];

	if (connect->cancelled) {
		warren_release(connect);
		return;
	}
	here->connects++;
	if (!here->away) {
		REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
				   fds) == 0);
		warren_http_close(here->http);
		here->http = warren_http_server_take(warren_stream_new_take(here->ctx, fds[0]),
						     &http, &server_events, here);
		client = warren_http_client_take(warren_stream_new_take(ctx, fds[1]), &http,
						 connect->options.events, connect->options.arg);
		REQUIRE(here->http && client);
	}
	connect->done(ctx, client, client ? NULL : "nobody is there", connect->arg);
	warren_release(connect);
}

struct ctl_connect *ctl_connect(struct warren_ctx *ctx, const struct ctl_connect_options *options,
				ctl_connect_fn *done, void *arg)
{
	/* Of the context: the call is dropped when that ends before. */
	struct ctl_connect *connect = warren_zalloc(ctx, sizeof(*connect));

	REQUIRE(connect);
	connect->options = *options;
	connect->done = done;
	connect->arg = arg;
	if (warren_defer(ctx, connect_now, connect)) {
		warren_release(connect);
		return NULL;
	}
	return connect;
}

void ctl_connect_cancel(struct ctl_connect *connect)
{
	if (connect)
		connect->cancelled = true;
}

/*
 * ---- In place of fetch.c ----
 */

struct warren_fetch *warren_fetch(struct warren_ctx *ctx,
				  const struct warren_fetch_options *options,
				  warren_fetch_fn *done, void *arg)
{
	(void)ctx;
	(void)done;
	(void)arg;
	snprintf(here->fetched, sizeof(here->fetched), "%s %s", options->method, options->url);
	return NULL;
}

void warren_fetch_cancel(struct warren_fetch *fetch)
{
	(void)fetch;
}

/*
 * ---- The test's side ----
 */

void coord_init(struct coord *coord, struct wcore_engine *engine)
{
	coord->ctx = parts_ctx(engine, wcore_engine_main(engine));
	here = coord;
}

static void forget(struct coord_request *list, uint32_t *n)
{
	for (uint32_t i = 0; i < *n; i++)
		json_decref(list[i].json);
	*n = 0;
}

void coord_forget(struct coord *coord)
{
	forget(coord->registers, &coord->n_registers);
	forget(coord->streams, &coord->n_streams);
	forget(coord->updates, &coord->n_updates);
	forget(coord->others, &coord->n_others);
}

void coord_fini(struct coord *coord)
{
	coord_drop(coord);
	coord_forget(coord);
}

void coord_answer(struct coord *coord, const char *text)
{
	struct warren_exchange *x = coord->held;

	REQUIRE(x);
	coord->held = NULL;
	reply(x, 200, NULL, text);
}

void coord_send(struct coord *coord, const char *message)
{
	uint8_t frame[16384];
	size_t n = ZSTD_compress(frame + 4, sizeof(frame) - 4, message, strlen(message), 1);

	REQUIRE(!ZSTD_isError(n) && coord->stream);
	for (int i = 0; i < 4; i++)
		frame[i] = (uint8_t)(n >> 8 * i);
	REQUIRE(warren_exchange_write(coord->stream, frame, n + 4) == 0);
}

void coord_drop(struct coord *coord)
{
	warren_http_close(coord->http);
	coord->http = NULL;
	coord->stream = coord->held = NULL;
}
