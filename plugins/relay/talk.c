/*
 * A client's way in: dial, upgrade, login. The check of a relay has a key that nobody knows, a
 * relay of a mesh its own.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "talk.h"

enum { REQUEST_MAX = 768, INPUT_MAX = WARREN_DERP_FRAME_MAX, DIAL_USEC = 5000000 };

void talk_authority(const struct warren_url *url, char *out, size_t size)
{
	bool six = strchr(url->host, ':') != NULL;
	int n = snprintf(out, size, "%s%s%s", six ? "[" : "", url->host, six ? "]" : "");

	if (url->port_given && n > 0 && (size_t)n < size)
		snprintf(out + n, size - (size_t)n, ":%u", url->port);
}

static void changed(struct talk *talk, enum talk_state state, const char *why)
{
	talk->state = state;
	if (why)
		snprintf(talk->why, sizeof(talk->why), "%s", why);
	talk->options.changed(talk, talk->options.arg);
}

static void broken(struct talk *talk, const char *why)
{
	if (talk->state != TALK_FAILED && talk->state != TALK_REFUSED)
		changed(talk, talk->state == TALK_MET ? TALK_REFUSED : TALK_FAILED, why);
}

int talk_put(struct talk *talk, const struct warren_derp_frame *frame)
{
	uint8_t head[WARREN_DERP_HEAD_MAX];
	size_t n = warren_derp_head(frame, head);
	int result = n > 0 ? warren_stream_write(talk->stream, head, n) : -EMSGSIZE;

	return result || frame->len == 0 ? result :
	       warren_stream_write(talk->stream, frame->data, frame->len);
}

/* ClientInfo behind the @len bytes of @request, in one write. */
static int log_in(struct talk *talk, const char *request, size_t len)
{
	struct warren_derp_client_info info = {
		.version = WARREN_DERP_VERSION, .can_ack_pings = true,
		.prober = talk->options.prober, .has_mesh_key = talk->options.mesh_key != NULL,
	};
	char text[WARREN_DERP_INFO_TEXT];
	uint8_t box[WARREN_DERP_INFO_TEXT + 40];
	uint8_t out[REQUEST_MAX + WARREN_DERP_HEAD_MAX + sizeof(box)];
	struct warren_derp_frame frame = {
		.type = WARREN_DERP_CLIENT_INFO, .key = talk->public_key, .data = box,
	};
	size_t n, wire;
	int result;

	if (info.has_mesh_key)
		memcpy(info.mesh_key, talk->options.mesh_key, sizeof(info.mesh_key));
	n = warren_derp_client_info_text(&info, text);
	frame.len = n + 40;
	result = warren_private_seal(&talk->key, talk->server_key, (uint8_t *)text, n, box);
	sodium_memzero(&info, sizeof(info));
	sodium_memzero(text, sizeof(text));
	if (result)
		return result;
	memcpy(out, request, len);
	wire = warren_derp_put(&frame, out + len, sizeof(out) - len);
	return wire > 0 ? warren_stream_write(talk->stream, out, len + wire) : -EMSGSIZE;
}

static void met(struct talk *talk, const uint8_t key[32])
{
	if (talk->fast && memcmp(talk->server_key, key, 32) != 0) {
		changed(talk, TALK_FAILED, "its first frame tells another key than its "
			"certificates: is what ends TLS a proxy with another relay's marker?");
		return;
	}
	memcpy(talk->server_key, key, 32);
	if (!talk->fast && log_in(talk, "", 0))
		changed(talk, TALK_FAILED, "its key cannot be used");
	else
		changed(talk, TALK_MET, NULL);
}

static void informed(struct talk *talk, const struct warren_derp_frame *frame)
{
	struct warren_derp_server_info info = { .size = sizeof(info) };
	uint8_t text[WARREN_DERP_INFO_MAX];

	if (frame->len < 40 || frame->len - 40 > sizeof(text) ||
	    warren_private_open(&talk->key, talk->server_key, frame->data, frame->len, text) ||
	    warren_derp_server_info_parse(text, frame->len - 40, &info, NULL))
		changed(talk, TALK_FAILED, "its ServerInfo was not made with the key that it told");
	else
		changed(talk, TALK_UP, NULL);
}

static void take_frame(struct talk *talk, const struct warren_derp_frame *frame)
{
	if (talk->state == TALK_AWAIT_KEY && frame->type == WARREN_DERP_SERVER_KEY)
		met(talk, frame->key);
	else if (talk->state == TALK_MET && frame->type == WARREN_DERP_SERVER_INFO)
		informed(talk, frame);
	else if (talk->state == TALK_UP)
		talk->options.frame(talk, frame, talk->options.arg);
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct talk *talk = arg;
	struct warren_err err = ERR_INIT;
	struct warren_derp_frame frame;
	size_t len, used;
	int result = 0;

	while (result == 0) {
		const uint8_t *data = warren_stream_input(stream, &len);

		result = warren_derp_read(&talk->reader, data, len, &used, &frame, &err);
		if (result == 0)
			take_frame(talk, &frame);
		if (result >= 0)
			warren_stream_drain(stream, used);
	}
	if (result < 0)
		broken(talk, err_first(&err));
	err_free(&err);
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	(void)result;
	broken(arg, why ? why : "it closed the connection");
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = on_readable, .ended = on_ended,
};

static void take_stream(struct talk *talk, struct warren_stream *stream)
{
	talk->stream = stream;
	talk->state = TALK_AWAIT_KEY;
	talk->reader = (struct warren_derp_reader){ .size = sizeof(talk->reader),
						    .side = WARREN_DERP_CLIENT };
	warren_stream_limits(stream, INPUT_MAX, 16 << 10, 64 << 10);
	warren_stream_set(stream, &events, talk);
}

/* ---- the upgrade ---- */

static void fast_start(struct talk *talk, struct warren_stream *stream)
{
	char at[300], text[REQUEST_MAX];
	int n;

	take_stream(talk, stream);
	talk_authority(talk->options.url, at, sizeof(at));
	n = snprintf(text, sizeof(text), "GET /derp HTTP/1.1\r\nHost: %s\r\nUpgrade: DERP\r\n"
		     "Connection: Upgrade\r\nDerp-Fast-Start: 1\r\n\r\n", at);
	if (n <= 0 || (size_t)n >= sizeof(text) || log_in(talk, text, (size_t)n))
		changed(talk, TALK_FAILED, "its key cannot be used");
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct talk *talk = arg;
	const char *to = warren_http_field(head, "upgrade");
	struct warren_stream *stream;
	char why[TALK_WHY];

	if (head->status != 101 || !to || strcasecmp(to, "DERP") != 0) {
		snprintf(why, sizeof(why), "its answer to GET /derp has status %d instead of "
			 "switching to DERP: %s", head->status, head->status == 503 ?
			 "it is full, or takes no more in this second" :
			 "no relay, or a proxy that does not pass the upgrade on");
		changed(talk, TALK_FAILED, why);
		return;
	}
	stream = warren_exchange_upgrade(x, NULL, 0);
	if (!stream) {
		changed(talk, TALK_FAILED, "the connection ended in the middle of the upgrade");
		return;
	}
	take_stream(talk, stream);
}

static void on_broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	broken(arg, why);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head, .failed = on_broken,
};

static void on_http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct talk *talk = arg;

	(void)http;
	(void)result;
	if (talk->state == TALK_UPGRADING)
		broken(talk, why ? why : "it closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = on_http_ended,
};

static void upgrade(struct talk *talk, struct warren_stream *stream)
{
	static const struct warren_http_options options = { .size = sizeof(options),
							    .version = WARREN_HTTP_1 };
	static const struct warren_http_field fields[] = {
		{ "Upgrade", "DERP" }, { "Connection", "Upgrade" },
	};
	char at[300];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = "/derp", .scheme = "https",
		.authority = at, .fields = fields, .n_fields = 2,
	};

	talk->state = TALK_UPGRADING;
	talk_authority(talk->options.url, at, sizeof(at));
	talk->http = warren_http_client_take(stream, &options, &http_events, talk);
	if (!talk->http || !warren_http_request(talk->http, &head, &exchange_events, talk))
		changed(talk, TALK_FAILED, "no memory, or a name that HTTP does not take");
}

static void on_dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		       void *arg)
{
	struct talk *talk = arg;

	(void)ctx;
	talk->dial = NULL;
	talk->sent = warren_now();
	if (!stream)
		changed(talk, TALK_FAILED, why);
	else if (!talk->fast)
		upgrade(talk, stream);
	else if (warren_derp_meta_key(stream, talk->server_key))
		fast_start(talk, stream);
	else {				/* the packet wants two clients */
		talk->fast = false;
		upgrade(talk, stream);
	}
}

void talk_begin(struct talk *talk, const struct talk_options *options)
{
	const struct warren_dial_options dial = {
		.size = sizeof(dial), .flags = WARREN_DIAL_NO_PROXY, .name = options->url->host,
		.port = options->url->port, .addresses = options->address,
		.n_addresses = options->address ? 1 : 0, .timeout = DIAL_USEC,
		.tls = options->tls,
	};

	*talk = (struct talk){ .options = *options, .state = TALK_DIALLING,
			       .fast = options->fast };
	talk->options.tls = NULL;
	if (options->key)
		talk->key = *options->key;
	else
		warren_private_new(&talk->key);
	warren_private_public(&talk->key, talk->public_key);
	talk->dial = warren_dial(options->ctx, &dial, on_dialled, talk);
	if (!talk->dial)
		changed(talk, TALK_FAILED, "no memory");
}

void talk_end(struct talk *talk)
{
	warren_dial_cancel(talk->dial);
	warren_http_close(talk->http);
	warren_stream_close(talk->stream);
	warren_private_wipe(&talk->key);
	memset(talk, 0, sizeof(*talk));
}
