/*
 * HTTP: both sides against each other, over both versions: bodies of every kind, pauses that hold
 * the other side back, ends from within callbacks, messages that are refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/net.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"

#include "../unit/parts.h"
#include "talk.h"

enum { BIG = 3 << 20 };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct talk_server server;
static struct talk_client client;
static struct talk_end end;
static struct warren_http *http;	/* the client's connection */

/* Carries bytes between the two sides, one each way and turn. */
static struct warren_timer *carrier;
static int carried[2];

static void carry(struct warren_ctx *of, void *arg)
{
	char byte;

	(void)of;
	(void)arg;
	for (int i = 0; i < 2; i++) {
		if (recv(carried[i], &byte, 1, MSG_DONTWAIT) == 1)
			assert_int_equal(send(carried[!i], &byte, 1, MSG_NOSIGNAL), 1);
	}
	warren_timer_set(carrier, 0);
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&end, 0, sizeof(end));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	talk_server_free(&server);
	warren_http_close(http);
	http = NULL;
	talk_client_free(&client);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

static void connect_over(int a, int b, const struct warren_http_options *options)
{
	http = warren_http_client_take(warren_stream_new_take(ctx, a), options, &talk_end_events,
				       &end);
	server.http = warren_http_server_take(warren_stream_new_take(ctx, b), options,
					      &talk_server_events, &server);
	assert_true(http && server.http);
}

static void connect_both(uint32_t version)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	connect_over(fds[0], fds[1], &options);
}

static void wait_done(void)
{
	assert_true(parts_until(engine, &client.done));
}

static void ask(const char *method, const char *path, const char *body, int64_t length)
{
	talk_request(&client, http, method, path, body, strlen(body), length);
	wait_done();
	if (client.result)
		fail_msg("%s", client.why);
}

static void expect(int status, int64_t length, const char *body)
{
	assert_int_equal(client.status, status);
	if (length >= -1)
		assert_int_equal(client.length, length);
	assert_string_equal(str_text(&client.body), body);
}

static void ask_all(uint32_t version)
{
	int64_t chunked = version == WARREN_HTTP_1 ? -1 : -2;	/* -2: whatever */

	ask("GET", "/echo", "", 0);
	expect(200, 0, "");
	ask("POST", "/echo", "hello", 5);
	expect(200, 5, "hello");
	assert_non_null(strstr(str_text(&client.fields), "content-type: text/x-echo\n"));
	ask("PUT", "/chunks", "in pieces", -1);
	expect(200, -1, "in pieces");
	assert_non_null(strstr(str_text(&client.fields), "x-way: pieces\n"));
	ask("POST", "/chunks", "", -1);
	expect(200, chunked, "");
	ask("DELETE", "/empty", "", 0);
	expect(204, 0, "");
}

static void the_log_is_right(void)
{
	assert_string_equal(str_text(&server.log), "GET\t/echo\nPOST\t/echo\nPUT\t/chunks\n"
			    "POST\t/chunks\nDELETE\t/empty");
	assert_false(end.ended || server.ended || server.failed);
}

static void one_after_another_over(uint32_t version)
{
	connect_both(version);
	ask_all(version);
	the_log_is_right();
	/* The client is done: the server hears of it. */
	warren_http_close(http);
	http = NULL;
	assert_true(parts_until(engine, &server.ended));
	assert_int_equal(server.result, 0);
}

static void byte_by_byte_over(uint32_t version)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version };
	int a[2], b[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
	carried[0] = a[1];
	carried[1] = b[1];
	carrier = warren_timer_new(ctx, carry, NULL);
	assert_non_null(carrier);
	warren_timer_set(carrier, 0);
	connect_over(a[0], b[0], &options);
	ask_all(version);
	the_log_is_right();
	warren_release(carrier);
	close(a[1]);
	close(b[1]);
}

static void heads_without_bodies_over(uint32_t version)
{
	static const struct warren_http_head later = { .size = sizeof(later), .status = 200,
						       .length = 1000 };

	connect_both(version);
	/* HEAD: the length of what would have come. The answer is given in steps, from the loop. */
	talk_request(&client, http, "HEAD", "/hold", NULL, 0, 0);
	assert_true(parts_until(engine, &server.held));
	assert_int_equal(warren_exchange_head(server.x, &later), 0);
	parts_settle(engine);
	assert_int_equal(warren_exchange_end(server.x), 0);
	wait_done();
	expect(200, -2, "");
	ask("GET", "/echo", "", 0);
	expect(200, 0, "");
	assert_false(end.ended || server.ended);
}

static uint8_t *big_body(void)
{
	uint8_t *body = malloc(BIG);

	assert_non_null(body);
	for (size_t i = 0; i < BIG; i++)
		body[i] = (uint8_t)(i * 13 + i / 255);
	return body;
}

static void pauses_hold_the_sender_over(uint32_t version)
{
	uint8_t *body = big_body();
	size_t pauses;

	connect_both(version);
	server.pause = true;
	talk_request(&client, http, "POST", "/echo", body, BIG, BIG);
	for (int i = 0; i < 20; i++)
		parts_settle(engine);
	/* Nobody resumes: what has come is one piece, and most of the body has not even left. */
	assert_int_equal(server.pauses, 1);
	assert_true(client.out_len > 0);
	for (pauses = 1; pauses < 5; pauses++) {
		warren_exchange_resume(server.x);
		parts_settle(engine);
		assert_int_equal(server.pauses, pauses + 1);
	}
	server.pause = false;
	client.pause = true;
	warren_exchange_resume(server.x);
	for (int i = 0; i < 2000 && client.pauses == 0; i++)
		parts_settle(engine);
	assert_int_equal(client.pauses, 1);
	parts_settle(engine);
	assert_int_equal(client.pauses, 1);
	assert_false(client.done);
	client.pause = false;
	warren_exchange_resume(client.x);
	wait_done();
	expect(200, BIG, str_text(&client.body));
	assert_int_equal(client.body.len, BIG);
	assert_memory_equal(client.body.s, body, BIG);
	free(body);
}

static void long_bodies_over(uint32_t version)
{
	uint8_t *body = big_body();

	connect_both(version);
	talk_request(&client, http, "POST", "/chunks", body, BIG, -1);
	wait_done();
	assert_int_equal(client.body.len, BIG);
	assert_memory_equal(client.body.s, body, BIG);
	ask("POST", "/echo", "again", 5);
	expect(200, 5, "again");
	free(body);
}

static void answers_before_the_body_over(uint32_t version)
{
	connect_both(version);
	talk_request(&client, http, "POST", "/early", NULL, 0, 0);
	wait_done();
	expect(403, 3, "no\n");
	/* The body never comes: the answer is there all the same. */
	talk_client_free(&client);
	client.x = warren_http_request(http, &(struct warren_http_head){
		.size = sizeof(struct warren_http_head), .method = "POST", .path = "/early",
		.authority = "a.example", .scheme = "http", .length = 100000,
	}, &talk_client_events, &client);
	assert_non_null(client.x);
	wait_done();
	assert_int_equal(client.result, 0);
	expect(403, 3, "no\n");
}

static void too_long_bodies_over(uint32_t version)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version,
						     .body_max = 1000 };
	char body[1002];
	int fds[2];

	memset(body, 'x', sizeof(body));
	body[1001] = '\0';
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	connect_over(fds[0], fds[1], &options);
	ask("POST", "/echo", body + 1, 1000);
	expect(200, 1000, body + 1);
	talk_request(&client, http, "POST", "/echo", body, 1001, -1);
	assert_true(parts_until(engine, &server.failed));
	assert_int_equal(server.result, -EMSGSIZE);
	assert_non_null(strstr(server.why, "longer than"));
	wait_done();
	if (version == WARREN_HTTP_1)
		assert_int_equal(client.status, 413);
	else
		assert_true(client.result < 0);
}

static void refused(const struct warren_http_head *head)
{
	assert_null(warren_http_request(http, head, &talk_client_events, &client));
}

/* What goes out says what it should say, or nothing. */
static void heads_that_smuggle_over(uint32_t version)
{
	static const struct warren_http_field bad[] = {
		{ "x", "a\r\nInjected: yes" }, { "x", "a\nb" }, { "x", "a\rb" }, { "x\r\ny", "a" },
		{ "", "a" }, { "a b", "c" }, { "x:", "y" }, { "Content-Length", "5" },
		{ "transfer-encoding", "chunked" }, { "host", "b.example" },
	};
	const struct warren_http_head good = { .size = sizeof(good), .method = "GET",
					       .scheme = "http", .authority = "a.example",
					       .path = "/hold" };
	struct warren_http_head head;

	connect_both(version);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		head = good;
		head.fields = &bad[i];
		head.n_fields = 1;
		refused(&head);
	}
	head = good;
	head.method = "GET /x HTTP/1.1\r\nA: b\r\n\r\nGET";
	refused(&head);
	head = good;
	head.path = "/x HTTP/1.1";
	refused(&head);
	head.path = "/\r\n";
	refused(&head);
	head.path = "";
	refused(&head);
	head = good;
	head.authority = "a.example\r\nA: b";
	refused(&head);

	talk_request(&client, http, "GET", "/hold", NULL, 0, 0);
	assert_true(parts_until(engine, &server.held));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		head = (struct warren_http_head){ .size = sizeof(head), .status = 200,
						  .fields = &bad[i], .n_fields = 1 };
		assert_int_equal(warren_exchange_head(server.x, &head), -EINVAL);
	}
	head = (struct warren_http_head){ .size = sizeof(head), .status = 101 };
	assert_int_equal(warren_exchange_head(server.x, &head), -EINVAL);
	assert_int_equal(warren_exchange_reply(server.x, 200, "a\r\nb: c", "x", 1), -EINVAL);
	assert_int_equal(warren_exchange_write(server.x, "x", 1), -EINVAL);
	assert_int_equal(warren_exchange_reply(server.x, 200, NULL, "good", 4), 0);
	wait_done();
	expect(200, 4, "good");
}

static void cancelled_over(uint32_t version)
{
	connect_both(version);
	talk_request(&client, http, "GET", "/hold", NULL, 0, 0);
	assert_true(parts_until(engine, &server.held));
	warren_exchange_cancel(client.x);
	if (version == WARREN_HTTP_2) {
		assert_true(parts_until(engine, &server.failed));
		assert_true(server.result < 0);
		ask("GET", "/echo", "", 0);
		expect(200, 0, "");
		return;
	}
	/* HTTP/1.1 has no other way than to close, which is no more than the request's end. */
	assert_true(parts_until(engine, &end.ended));
	warren_http_close(http);
	http = NULL;
	parts_settle(engine);
	assert_false(client.done || server.failed || server.ended);
	assert_int_equal(warren_exchange_reply(server.x, 200, NULL, "late", 4), -EPIPE);
	assert_true(parts_until(engine, &server.ended));
	assert_true(server.failed);
	assert_string_equal(server.why, "the connection was closed before the message was sent");
}

/* ---- a server that has no word for requests, and answers each at its head ---- */

static struct {
	struct warren_http *http;
	uint32_t heads;
	volatile bool ended;
} curt;

static void curt_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	assert_ptr_equal(arg, &curt);
	assert_non_null(head->method);
	curt.heads++;
	warren_exchange_say(x, 403, "no");
}

static void curt_ended(struct warren_http *of, int result, const char *why, void *arg)
{
	(void)result;
	(void)why;
	assert_ptr_equal(of, curt.http);
	assert_ptr_equal(arg, &curt);
	curt.ended = true;
}

static void unexpected(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)arg;
	fail_msg("told of what was let go: %s", why);
}

static void answered_and_let_go_over(uint32_t version)
{
	static const struct warren_exchange_events refusing = {
		.size = sizeof(refusing), .head = curt_head, .failed = unexpected,
	};
	static const struct warren_http_events events = {
		.size = sizeof(events), .exchange = &refusing, .ended = curt_ended,
	};
	const struct warren_http_options options = { .size = sizeof(options), .version = version };
	int fds[2];

	memset(&curt, 0, sizeof(curt));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http = warren_http_client_take(warren_stream_new_take(ctx, fds[0]), &options,
				       &talk_end_events, &end);
	curt.http = warren_http_server_take(warren_stream_new_take(ctx, fds[1]), &options, &events,
					    &curt);
	for (uint32_t i = 1; i <= 3; i++) {
		ask("GET", "/", "", 0);
		expect(403, 3, "no\n");
		assert_int_equal(curt.heads, i);
		talk_client_free(&client);
	}
	/* A body that nobody wants ends it: with HTTP/1.1 there is no way but to close. */
	talk_request(&client, http, "POST", "/", "0123456789", 10, -1);
	wait_done();
	assert_int_equal(curt.heads, 4);
	if (version == WARREN_HTTP_1)
		assert_true(parts_until(engine, &curt.ended));
	warren_http_close(curt.http);
}

/* ---- callbacks that end what calls them ---- */

enum moment { REQUEST, HEAD, BODY, COMPLETE, DRAINED, FAILED, ENDED, MOMENTS };
enum deed { CANCEL, CLOSE, DEEDS };
static struct {
	struct warren_http *http;
	enum moment moment;
	enum deed deed;
	bool done;
} act;

/* What was told after it is a mistake, and what is read or freed after it is ASan's to see. */
static void reach(struct warren_http **of, struct warren_exchange *x, enum moment moment)
{
	assert_false(act.done);
	if (act.moment != moment)
		return;
	act.done = true;
	if (act.deed == CANCEL && x) {
		warren_exchange_cancel(x);
		return;
	}
	warren_http_close(*of);
	*of = NULL;
}

static void act_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)head;
	reach(arg, x, HEAD);
}

static int act_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	reach(arg, x, BODY);
	return 0;
}

static void act_complete(struct warren_exchange *x, void *arg)
{
	reach(arg, x, COMPLETE);
}

static void act_drained(struct warren_exchange *x, void *arg)
{
	reach(arg, x, DRAINED);
}

static void act_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	reach(arg, NULL, FAILED);
}

static const struct warren_exchange_events acting = {
	.size = sizeof(acting), .head = act_head, .body = act_body, .complete = act_complete,
	.drained = act_drained, .failed = act_failed,
};

static void act_request(struct warren_http *of, struct warren_exchange *x, void *arg)
{
	(void)of;
	warren_exchange_set(x, &acting, arg);
	reach(arg, x, REQUEST);
}

static void act_ended(struct warren_http *of, int result, const char *why, void *arg)
{
	(void)of;
	(void)result;
	(void)why;
	if (act.moment != ENDED && act.done)
		return;			/* a cancelled exchange takes HTTP/1.1 with it */
	reach(arg, NULL, ENDED);
}

static const struct warren_http_events acting_http = {
	.size = sizeof(acting_http), .request = act_request, .ended = act_ended,
};

static void act_as_client(uint32_t version, const uint8_t *body)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version };
	const struct warren_http_head head = { .size = sizeof(head), .method = "POST",
					       .scheme = "http", .authority = "a.example",
					       .path = act.moment < FAILED ? "/echo" : "/hold",
					       .length = BIG };
	struct warren_exchange *x;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	act.http = warren_http_client_take(warren_stream_new_take(ctx, fds[0]), &options,
					   &acting_http, &act.http);
	server.http = warren_http_server_take(warren_stream_new_take(ctx, fds[1]), &options,
					      &talk_server_events, &server);
	x = warren_http_request(act.http, &head, &acting, &act.http);
	assert_non_null(x);
	assert_int_equal(warren_exchange_write(x, body, BIG), 0);
	assert_int_equal(warren_exchange_end(x), 0);
	for (int i = 0; i < 5000 && !act.done; i++) {
		if (i == 20 && (act.moment == FAILED || act.moment == ENDED)) {
			warren_http_close(server.http);
			server.http = NULL;
		}
		parts_settle(engine);
	}
}

static void act_as_server(uint32_t version, const uint8_t *body)
{
	const struct warren_http_options options = { .size = sizeof(options), .version = version };
	const struct warren_http_head head = { .size = sizeof(head), .method = "POST",
					       .scheme = "http", .authority = "a.example",
					       .path = "/echo", .length = -1 };
	struct warren_exchange *x;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http = warren_http_client_take(warren_stream_new_take(ctx, fds[0]), &options,
				       &talk_end_events, &end);
	act.http = warren_http_server_take(warren_stream_new_take(ctx, fds[1]), &options,
					   &acting_http, &act.http);
	x = warren_http_request(http, &head, &talk_client_events, &client);
	assert_non_null(x);
	client.x = x;
	assert_int_equal(warren_exchange_write(x, body, 20000), 0);
	if (act.moment < FAILED)
		assert_int_equal(warren_exchange_end(x), 0);
	for (int i = 0; i < 100 && !act.done; i++) {
		if (i == 5 && (act.moment == FAILED || act.moment == ENDED)) {
			warren_http_close(http);
			http = NULL;
		}
		parts_settle(engine);
	}
}

static void ends_from_within_over(uint32_t version)
{
	uint8_t *body = big_body();

	for (int i = 0; i < 2 * MOMENTS * DEEDS; i++) {
		bool as_server = i >= MOMENTS * DEEDS;

		act.moment = (enum moment)(i / DEEDS % MOMENTS);
		act.deed = (enum deed)(i % DEEDS);
		act.done = false;
		if (act.moment == (as_server ? DRAINED : REQUEST))
			continue;
		if (as_server)
			act_as_server(version, body);
		else
			act_as_client(version, body);
		if (!act.done)
			fail_msg("moment %d of the %s never came", act.moment,
				 as_server ? "server" : "client");
		parts_settle(engine);
		warren_http_close(act.http);
		warren_http_close(http);
		http = NULL;
		memset(&end, 0, sizeof(end));
		talk_server_free(&server);
		talk_client_free(&client);
		parts_settle(engine);
	}
	free(body);
}

/* The context ends under both sides, in the middle of things: nobody is told, nothing leaks. */
static void the_context_ends_over(uint32_t version)
{
	connect_both(version);
	talk_request(&client, http, "POST", "/hold", NULL, 0, 0);
	assert_true(parts_until(engine, &server.held));
	wcore_ctx_close(ctx);
	assert_false(client.done || end.ended || server.failed || server.ended);
	http = server.http = NULL;
	server.x = NULL;
	ctx = parts_ctx(engine, wcore_engine_main(engine));
}

#define BOTH(test)									\
	static void test##_1(void **state) { (void)state; test##_over(WARREN_HTTP_1); }	\
	static void test##_2(void **state) { (void)state; test##_over(WARREN_HTTP_2); }
#define RUN(test)									\
	cmocka_unit_test_setup_teardown(test##_1, begin, finish),			\
	cmocka_unit_test_setup_teardown(test##_2, begin, finish)

BOTH(one_after_another)
BOTH(byte_by_byte)
BOTH(heads_without_bodies)
BOTH(pauses_hold_the_sender)
BOTH(long_bodies)
BOTH(answers_before_the_body)
BOTH(too_long_bodies)
BOTH(heads_that_smuggle)
BOTH(cancelled)
BOTH(answered_and_let_go)
BOTH(ends_from_within)
BOTH(the_context_ends)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RUN(one_after_another),
		RUN(byte_by_byte),
		RUN(heads_without_bodies),
		RUN(pauses_hold_the_sender),
		RUN(long_bodies),
		RUN(answers_before_the_body),
		RUN(too_long_bodies),
		RUN(heads_that_smuggle),
		RUN(cancelled),
		RUN(answered_and_let_go),
		RUN(ends_from_within),
		RUN(the_context_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
