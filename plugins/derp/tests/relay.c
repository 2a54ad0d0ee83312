#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/service/identity.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "tests/net/certs.h"

struct stand_conn {
	struct relay *relay;
	struct warren_stream *stream;	/* TLS under way, or after the upgrade */
	struct warren_http *http;
	struct warren_derp_reader reader;
	bool logged_in;
};

static void conn_free(struct stand_conn *conn)
{
	if (!conn)
		return;
	if (conn->relay->conn == conn)
		conn->relay->conn = NULL;
	warren_http_close(conn->http);
	warren_stream_close(conn->stream);
	free(conn);
}

void stand_drop(struct relay *relay)
{
	conn_free(relay->conn);
}

void stand_write(struct relay *relay, const void *data, size_t len)
{
	assert_non_null(relay->conn);
	assert_int_equal(warren_stream_write(relay->conn->stream, data, len), 0);
}

void stand_send(struct relay *relay, const struct warren_derp_frame *frame)
{
	static uint8_t out[WARREN_DERP_FRAME_MAX];
	size_t n = warren_derp_put(frame, out, sizeof(out));

	assert_true(n > 0);
	stand_write(relay, out, n);
}

static void tell_key(struct relay *relay)
{
	struct warren_private other;
	uint8_t key[32];
	const struct warren_derp_frame frame = { .type = WARREN_DERP_SERVER_KEY, .key = key };

	memset(&other, 0x42, sizeof(other));
	warren_private_public(&relay->key, key);
	stand_send(relay, &frame);
	if (relay->flags & RELAY_FORGED)
		relay->key = other;
}

static void log_in(struct stand_conn *conn, const struct warren_derp_frame *frame)
{
	struct relay *relay = conn->relay;
	struct warren_derp_server_info server = { .version = WARREN_DERP_VERSION };
	struct warren_derp_client_info info;
	uint8_t plain[1024], box[WARREN_DERP_INFO_TEXT + WARREN_BOX_OVERHEAD];
	char text[WARREN_DERP_INFO_TEXT];
	struct warren_derp_frame answer = { .type = WARREN_DERP_SERVER_INFO, .data = box };
	size_t n;

	memcpy(relay->client, frame->key, 32);
	if (relay->flags & RELAY_LOCKED) {
		warren_stream_finish(conn->stream);
		return;
	}
	if (!(relay->flags & RELAY_FORGED)) {
		assert_int_equal(warren_private_open(&relay->key, frame->key, frame->data,
						     frame->len, plain), 0);
		assert_int_equal(warren_derp_client_info_parse(
			plain, frame->len - WARREN_BOX_OVERHEAD, &info, NULL), 0);
		assert_true(info.can_ack_pings && info.version == WARREN_DERP_VERSION);
		assert_false(info.has_mesh_key);
	}
	if (relay->flags & RELAY_LIMITED) {
		server.bytes_per_second = 1;
		server.burst = 1000;
	}
	relay->logins++;
	conn->logged_in = true;
	n = warren_derp_server_info_text(&server, text);
	assert_int_equal(warren_private_seal(&relay->key, frame->key, (uint8_t *)text, n, box), 0);
	answer.len = n + WARREN_BOX_OVERHEAD;
	stand_send(relay, &answer);
}

static void take_frame(struct stand_conn *conn, const struct warren_derp_frame *frame)
{
	struct relay *relay = conn->relay;
	struct warren_derp_frame pong = { .type = WARREN_DERP_PONG, .data = frame->data,
					  .len = frame->len };

	relay->seen[frame->type]++;
	switch (frame->type) {
	case WARREN_DERP_CLIENT_INFO:
		log_in(conn, frame);
		break;
	case WARREN_DERP_NOTE_PREFERRED:
		relay->preferred = frame->preferred;
		break;
	case WARREN_DERP_PING:
		if (!(relay->flags & RELAY_SILENT))
			stand_send(relay, &pong);
		break;
	case WARREN_DERP_SEND_PACKET:
		memcpy(relay->to, frame->key, 32);
		relay->len = frame->len < RELAY_DATA ? frame->len : RELAY_DATA;
		if (relay->len > 0)
			memcpy(relay->data, frame->data, relay->len);
		break;
	default:
		break;
	}
}

static void readable(struct warren_stream *stream, void *arg)
{
	struct stand_conn *conn = arg;
	struct warren_derp_frame frame;
	size_t len, used;
	const uint8_t *data;

	for (;;) {
		data = warren_stream_input(stream, &len);
		if (warren_derp_read(&conn->reader, data, len, &used, &frame, NULL))
			break;
		take_frame(conn, &frame);
		warren_stream_drain(stream, used);
	}
	warren_stream_drain(stream, used);
}

static void ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	(void)why;
	conn_free(arg);
}

static const struct warren_stream_events stream_events = {
	.size = sizeof(stream_events), .readable = readable, .ended = ended,
};

static void head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	static const struct warren_http_field fields[] = {
		{ "Upgrade", "DERP" }, { "Connection", "Upgrade" },
	};
	struct stand_conn *conn = arg;
	struct relay *relay = conn->relay;
	bool fast = warren_http_field(head, "derp-fast-start") != NULL;
	const char *ideal = warren_http_field(head, "ideal-node");

	assert_string_equal(head->method, "GET");
	assert_string_equal(head->path, "/derp");
	assert_string_equal(warren_http_field(head, "upgrade"), "DERP");
	assert_true(!fast || relay->flags & RELAY_META);
	snprintf(relay->ideal, sizeof(relay->ideal), "%s", ideal ? ideal : "");
	if (relay->flags & RELAY_REFUSE) {
		warren_exchange_reply(x, 403, NULL, "no\n", 3);
		return;
	}
	relay->fast += fast;
	conn->stream = warren_exchange_upgrade(x, fast ? NULL : fields, fast ? 0 : 2);
	assert_non_null(conn->stream);
	conn->reader = (struct warren_derp_reader){ .size = sizeof(conn->reader),
						    .side = WARREN_DERP_SERVER };
	warren_stream_limits(conn->stream, WARREN_DERP_FRAME_MAX, 64 << 10, 256 << 10);
	warren_stream_set(conn->stream, &stream_events, conn);
	relay->conn = conn;
	tell_key(relay);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = head,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	(void)http;
	warren_exchange_set(x, &exchange_events, arg);
}

static void http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct stand_conn *conn = arg;

	(void)result;
	(void)why;
	conn->http = NULL;
	warren_http_close(http);
	if (!conn->stream)
		free(conn);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = http_ended,
};

static void serve(struct stand_conn *conn, struct warren_stream *stream)
{
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };

	conn->http = warren_http_server_take(stream, &options, &http_events, conn);
	assert_non_null(conn->http);
}

static void shaken(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct stand_conn *conn = arg;

	(void)why;
	conn->stream = NULL;
	if (result) {
		warren_stream_close(stream);
		free(conn);
		return;
	}
	serve(conn, stream);
}

static void on_accept(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct relay *relay = arg;
	struct stand_conn *conn;
	struct warren_stream *stream;
	int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (got == -1)
		return;
	relay->connects++;
	conn = calloc(1, sizeof(*conn));
	assert_non_null(conn);
	conn->relay = relay;
	stream = warren_stream_new_take(ctx, got);
	if (!relay->tls)
		serve(conn, stream);
	else
		conn->stream = warren_tls_accept_take(stream, relay->tls, shaken, conn, NULL);
}

static void begin_tls(struct relay *relay, const struct cert *cert)
{
	AUTO(str_free) struct str chain = STR_INIT;
	struct warren_err err = ERR_INIT;
	uint8_t key[32];
	char *marker;

	warren_private_public(&relay->key, key);
	marker = warren_derp_meta_new(key, warren_realtime() / 1000000, &err);
	assert_non_null(marker);
	str_addf(&chain, "%s%s", cert->pem, relay->flags & RELAY_META ? marker : "");
	free(marker);
	relay->tls = warren_tls_server_new(str_text(&chain), (const uint8_t *)cert->key_pem,
					   strlen(cert->key_pem), NULL, &err);
	if (!relay->tls)
		fail_msg("%s", err_first(&err));
}

void stand_open(struct relay *relay, struct warren_ctx *ctx, const struct cert *cert,
		uint32_t flags)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memset(relay, 0, sizeof(*relay));
	relay->ctx = ctx;
	relay->flags = flags;
	warren_private_new(&relay->key);
	if (cert)
		begin_tls(relay, cert);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	relay->port = ntohs(at.sin_port);
	relay->io = warren_io_new_take(ctx, fd, on_accept, relay);
	assert_non_null(relay->io);
	warren_io_want(relay->io, WARREN_IN);
}

void stand_close(struct relay *relay)
{
	stand_drop(relay);
	warren_release(relay->io);
	relay->io = NULL;
	warren_tls_server_free(relay->tls);
	relay->tls = NULL;
}
