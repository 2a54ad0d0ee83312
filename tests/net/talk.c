#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "talk.h"

/* ---- the server ---- */

static void answer_in_pieces(struct warren_exchange *x, const struct str *body)
{
	const struct warren_http_field field = { "X-Way", "pieces" };
	const struct warren_http_head head = { .size = sizeof(head), .status = 200, .length = -1,
					       .fields = &field, .n_fields = 1 };

	assert_int_equal(warren_exchange_head(x, &head), 0);
	for (size_t at = 0, n; at < body->len; at += n) {
		n = body->len - at < 1000 ? body->len - at : 1000;
		assert_int_equal(warren_exchange_write(x, body->s + at, n), 0);
	}
	assert_int_equal(warren_exchange_end(x), 0);
}

static void echo(struct warren_exchange *x, const struct str *body)
{
	int result = warren_exchange_reply(x, 200, "text/x-echo", str_text(body), body->len);

	/* The client may have gone when its last byte was on its way. */
	assert_true(result == 0 || result == -EPIPE);
}

static bool is(const struct talk_server *server, const char *path)
{
	const char *line = strrchr(str_text(&server->log), '\t');

	return line && strcmp(line + 1, path) == 0;
}

static void server_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct talk_server *server = arg;

	assert_string_equal(head->authority, "a.example");
	str_addf(&server->log, "%s%s\t%s", server->log.len ? "\n" : "", head->method, head->path);
	str_cut(&server->body, 0);
	server->complete = false;
	if (is(server, "/early"))
		assert_int_equal(warren_exchange_reply(x, 403, NULL, "no\n", 3), 0);
}

static int server_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct talk_server *server = arg;

	(void)x;
	assert_true(len > 0);
	str_addn(&server->body, (const char *)data, len);
	server->pauses += server->pause;
	return server->pause ? WARREN_PENDING : 0;
}

static void server_complete(struct warren_exchange *x, void *arg)
{
	struct talk_server *server = arg;

	assert_false(server->complete);
	server->complete = true;
	if (is(server, "/echo"))
		echo(x, &server->body);
	else if (is(server, "/chunks"))
		answer_in_pieces(x, &server->body);
	else if (is(server, "/empty"))
		assert_int_equal(warren_exchange_reply(x, 204, NULL, NULL, 0), 0);
	else if (is(server, "/hold"))
		server->held = true;
	else
		assert_true(is(server, "/early"));
}

static void server_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct talk_server *server = arg;

	assert_true(result < 0 && why && *why);
	assert_false(server->failed);
	if (x == server->x)
		server->x = NULL;
	server->failed = true;
	server->result = result;
	snprintf(server->why, sizeof(server->why), "%s", why);
}

static const struct warren_exchange_events server_exchange_events = {
	.size = sizeof(server_exchange_events), .head = server_head, .body = server_body,
	.complete = server_complete, .failed = server_failed,
};

static void server_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct talk_server *server = arg;

	assert_ptr_equal(http, server->http);
	server->x = x;
	warren_exchange_set(x, &server_exchange_events, server);
}

static void server_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct talk_server *server = arg;

	assert_ptr_equal(http, server->http);
	assert_false(server->ended);
	assert_true(!why == (result == 0));
	server->ended = true;
	server->result = result;
	snprintf(server->why, sizeof(server->why), "%s", why ? why : "");
	warren_http_close(http);
	server->http = NULL;
	server->x = NULL;
}

const struct warren_http_events talk_server_events = {
	.size = sizeof(talk_server_events), .request = server_request, .ended = server_ended,
};

void talk_server_free(struct talk_server *server)
{
	warren_http_close(server->http);
	str_free(&server->log);
	str_free(&server->body);
	memset(server, 0, sizeof(*server));
}

/* ---- the client ---- */

static void client_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct talk_client *client = arg;

	assert_ptr_equal(x, client->x);
	assert_int_equal(client->status, 0);
	client->status = head->status;
	client->length = head->length;
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcmp(head->fields[i].name, "date") != 0)
			str_addf(&client->fields, "%s: %s\n", head->fields[i].name,
				 head->fields[i].value);
	}
}

static int client_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct talk_client *client = arg;

	assert_ptr_equal(x, client->x);
	assert_true(len > 0 && client->status > 0 && !client->done);
	str_addn(&client->body, (const char *)data, len);
	client->pauses += client->pause;
	return client->pause ? WARREN_PENDING : 0;
}

static void client_complete(struct warren_exchange *x, void *arg)
{
	struct talk_client *client = arg;

	assert_ptr_equal(x, client->x);
	assert_true(client->status > 0 && !client->done);
	client->done = true;
	client->x = NULL;
}

static void client_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct talk_client *client = arg;

	assert_ptr_equal(x, client->x);
	assert_true(result < 0 && why && *why && !client->done);
	client->done = true;
	client->x = NULL;
	client->result = result;
	snprintf(client->why, sizeof(client->why), "%s", why);
}

/* Sends what the stream takes without keeping much of it. */
static void client_send(struct warren_exchange *x, void *arg)
{
	struct talk_client *client = arg;

	while (client->out_len > 0 && warren_exchange_pending(x) < 256 << 10) {
		size_t n = client->out_len < 50000 ? client->out_len : 50000;

		assert_int_equal(warren_exchange_write(x, client->out, n), 0);
		client->out += n;
		client->out_len -= n;
		if (client->out_len == 0)
			assert_int_equal(warren_exchange_end(x), 0);
	}
}

const struct warren_exchange_events talk_client_events = {
	.size = sizeof(talk_client_events), .head = client_head, .body = client_body,
	.complete = client_complete, .drained = client_send, .failed = client_failed,
};

void talk_request(struct talk_client *client, struct warren_http *http, const char *method,
		  const char *path, const void *body, size_t len, int64_t length)
{
	const struct warren_http_head head = {
		.size = sizeof(head), .method = method, .scheme = "http", .authority = "a.example",
		.path = path, .length = length,
	};
	bool pause = client->pause;

	talk_client_free(client);
	client->pause = pause;
	client->x = warren_http_request(http, &head, &talk_client_events, client);
	assert_non_null(client->x);
	client->out = body;
	client->out_len = len;
	if (len > 0)
		client_send(client->x, client);
	else if (length)
		assert_int_equal(warren_exchange_end(client->x), 0);
}

void talk_client_free(struct talk_client *client)
{
	str_free(&client->fields);
	str_free(&client->body);
	memset(client, 0, sizeof(*client));
}

static void client_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct talk_end *end = arg;

	(void)http;
	assert_false(end->ended);
	assert_true(!why == (result == 0));
	end->ended = true;
	end->result = result;
	snprintf(end->why, sizeof(end->why), "%s", why ? why : "");
}

const struct warren_http_events talk_end_events = {
	.size = sizeof(talk_end_events), .ended = client_ended,
};
