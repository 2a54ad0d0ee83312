/*
 * A machine that has proven its key: HTTP/2 inside Noise. A request's body is collected, then it
 * goes to whoever has its path. The machine key is the only credential (control-protocol.md 4.2).
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/str.h"
#include "base/util.h"

/* A connection without a request is idle; a map stream is one. */
enum { STREAMS_MAX = 128, IDLE_USEC = 300000000 };

static void asked_free(struct request *r)
{
	list_del(&r->link);
	r->coord->bodies -= r->body->len;
	str_free(r->body);
	free(r->body);
	free(r);
}

/* The client is gone, or we do not want it any more. */
static void abandon(struct request *r)
{
	r->x = NULL;
	if (r->gone)
		r->gone(r);
	asked_free(r);
}

void answer_text(struct request *r, int status, const char *text)
{
	struct warren_exchange *x = r->x;

	warren_exchange_set(x, NULL, NULL);
	warren_exchange_reply(x, status, "text/plain; charset=utf-8", text, strlen(text));
	asked_free(r);
}

void answer_json_take(struct request *r, json_t *body)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct warren_exchange *x = r->x;

	json_decref(body);
	if (!text) {
		answer_text(r, 500, "no memory\n");
		return;
	}
	warren_exchange_set(x, NULL, NULL);
	warren_exchange_reply(x, 200, "application/json", text, strlen(text));
	free(text);
	asked_free(r);
}

struct warren_exchange *answer_steal(struct request *r)
{
	struct warren_exchange *x = r->x;

	asked_free(r);
	return x;
}

const struct tailnet_node *asked_node(const struct request *r, const uint8_t key[32])
{
	const struct tailnet_node *node = tailnet_node_by_key(r->coord->tailnet, key);

	return node && memcmp(node->machine_key, r->session->machine, 32) == 0 ? node : NULL;
}

/* ---- paths ---- */

static const struct {
	const char *method, *path;	/* method NULL: it looks by itself */
	void (*fn)(struct request *request);
} routes[] = {
	{ "POST", "/machine/register", coord_register },
	{ "POST", "/machine/map", coord_map },
	{ "POST", "/machine/feature/query", coord_feature },
	{ "POST", "/machine/audit-log", coord_report },
	{ "PATCH", "/machine/set-device-attr", coord_attributes },
	{ "POST", "/machine/set-dns", coord_set_dns },
	{ NULL, "/machine/ping-response", coord_pong },
};

/* Known and left out: the client goes on without, and its commands print the sentence (4.1). */
static const struct {
	const char *path, *sentence;
} absent[] = {
	{ "/machine/id-token", "this coordination server issues no identity tokens\n" },
	{ "/machine/whoami", "this coordination server does not answer that\n" },
};

static void dispatch(struct request *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, r->path) != 0)
			continue;
		if (!routes[i].method || strcmp(routes[i].method, r->method) == 0)
			routes[i].fn(r);
		else
			answer_text(r, 405, "method not allowed\n");
		return;
	}
	if (str_starts(r->path, COORD_SSH_PATH) && strcmp(r->method, "GET") == 0) {
		coord_ssh_action(r);
		return;
	}
	if (strcmp(r->path, "/machine/update-health") == 0) {
		warren_exchange_set(r->x, NULL, NULL);
		warren_exchange_reply(answer_steal(r), 204, NULL, NULL, 0);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		if (strcmp(absent[i].path, r->path) == 0) {
			answer_text(r, 501, absent[i].sentence);
			return;
		}
	}
	answer_text(r, 404, "not found\n");
}

/* ---- exchanges ---- */

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct request *r = arg;
	size_t len = strcspn(head->path, "?");

	(void)x;
	if (!str_copy(r->method, sizeof(r->method), head->method))
		r->method[0] = '\0';
	if (len >= sizeof(r->path))
		len = 0;
	memcpy(r->path, head->path, len);
	r->path[len] = '\0';
	if (!str_copy(r->query, sizeof(r->query), head->path + strcspn(head->path, "?")))
		r->query[0] = '\0';
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct request *r = arg;

	(void)x;
	if (r->body->len + len > COORD_BODY) {
		answer_text(r, 413, "the request is too long\n");
	} else if (r->coord->bodies + len > COORD_BODIES) {
		answer_text(r, 503, "too much is being received\n");
	} else {
		size_t before = r->body->len;

		str_addn(r->body, (const char *)data, len);
		r->coord->bodies += r->body->len - before;
	}
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct request *r = arg;

	(void)x;
	if (r->body->failed)
		answer_text(r, 500, "no memory\n");
	else
		dispatch(r);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	abandon(arg);
}

static const struct warren_exchange_events request_events = {
	.size = sizeof(request_events), .head = on_head, .body = on_body,
	.complete = on_complete, .failed = on_failed,
};

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct session *s = arg;
	struct request *r = calloc(1, sizeof(*r));
	struct str *body = calloc(1, sizeof(*body));

	(void)http;
	if (!r || !body) {
		free(r);
		free(body);
		warren_exchange_cancel(x);
		return;
	}
	*r = (struct request){ .session = s, .coord = s->coord, .x = x, .body = body };
	list_add_tail(&s->requests, &r->link);
	warren_exchange_set(x, &request_events, r);
}

static void session_free(struct session *s)
{
	struct request *r, *next;

	list_del(&s->link);
	/* Its end is not told of: the exchanges are gone without a word. */
	list_for_each_safe(r, next, &s->requests, link)
		abandon(r);
	warren_http_close(s->http);
	free(s);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;
	session_free(arg);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = on_ended,
};

void coord_session_take(struct coord *coord, struct warren_stream *stream,
			const struct warren_addr *from)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_2, .idle_timeout = IDLE_USEC,
		.body_max = COORD_BODY, .streams_max = STREAMS_MAX,
	};
	const struct warren_noise *noise = warren_noise_session(stream);
	struct session *s = calloc(1, sizeof(*s));

	if (!s) {
		warren_stream_close(stream);
		return;
	}
	s->coord = coord;
	s->from = *from;
	list_init(&s->requests);
	memcpy(s->machine, warren_noise_peer(noise), 32);
	s->capver = warren_noise_version(noise);
	list_add_tail(&coord->sessions, &s->link);
	s->http = warren_http_server_take(stream, &options, &http_events, s);
	if (!s->http)
		session_free(s);
	else
		warren_stat_add(coord->stats.sessions, 1);
}

void coord_sessions_close(struct coord *coord)
{
	struct session *s, *next;

	list_for_each_safe(s, next, &coord->sessions, link)
		session_free(s);
}
