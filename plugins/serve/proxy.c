/*
 * A request on its way to a backend, and the answer on its way back: both as they come, no faster
 * than the other side takes them. After a 101 the two connections are a pair.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

#include "base/util.h"
#include "serve.h"

struct proxied {
	struct list link;
	struct serve *s;
	struct srv_from from;
	struct warren_exchange *down;	/* the client's; NULL: over */
	struct warren_exchange *up;	/* the backend's; NULL: not yet, or over */
	struct warren_http *http;
	struct warren_dial *dial;
	bool opening;			/* the monitor's answer is waited for */
	bool answered;			/* the client has a head */
	bool whole;			/* the request is complete */
	struct warren_tls_client tls;
	struct arena arena;		/* of all texts of the request */
	struct warren_http_head head;
	struct srv_fields fields;
	struct str early;		/* of the body, before there is a backend */
	char name[SRV_HOST];
};

static void proxied_free(struct proxied *p)
{
	list_del(&p->link);
	warren_dial_cancel(p->dial);
	warren_http_close(p->http);
	str_free(&p->early);
	arena_free(&p->arena);
	warren_release(p);
}

/* Nothing is left to be said to the client. */
static void over(struct proxied *p)
{
	p->down = NULL;
	p->up = NULL;
	warren_http_close(p->http);
	p->http = NULL;
	if (!p->opening)
		proxied_free(p);
}

static void failed(struct proxied *p, const char *why)
{
	struct warren_exchange *down = p->down;

	warren_stat_add(p->s->failed, 1);
	warren_log_limit(p->s->ctx, &p->s->log_backend, LOG_WARNING,
			 "port %u is served, but its backend %s fails: %s", p->from.port, p->name,
			 why);
	if (down && p->answered) {
		warren_exchange_cancel(down);
	} else if (down) {
		warren_exchange_say(down, 502, "the backend does not answer");
	}
	over(p);
}

/* ---- the backend's side ---- */

static void become_pair(struct proxied *p, struct warren_exchange *x)
{
	struct serve *s = p->s;
	struct srv_from from = p->from;
	struct warren_stream *up = warren_exchange_upgrade(x, NULL, 0), *down;

	if (!up) {
		failed(p, "it switched to another protocol, and cannot be followed");
		return;
	}
	p->up = NULL;
	down = warren_exchange_upgrade(p->down, p->fields.v, p->fields.n);
	if (!down) {
		warren_stream_close(up);
		failed(p, "it switched to another protocol, which the client has not waited for");
		return;
	}
	over(p);
	srv_pair_take(s, &from, down, up);
}

static int64_t length_of(const struct proxied *p, const struct warren_http_head *head)
{
	const char *length = warren_http_field(head, "content-length");

	/* What a GET would have brought; of HEAD it is the only thing that is told. */
	if (strcmp(p->head.method, "HEAD") == 0)
		return length ? strtoll(length, NULL, 10) : -1;
	return head->length;
}

static void up_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct proxied *p = arg;
	struct warren_http_head answer = { .size = sizeof(answer), .status = head->status,
					   .fields = p->fields.v };
	struct warren_exchange *down = p->down;

	if (!down)
		return;
	memset(&p->fields, 0, sizeof(p->fields));
	srv_fields_down(&p->fields, &p->arena, head);
	answer.n_fields = p->fields.n;
	answer.length = length_of(p, head);
	if (p->fields.failed) {
		failed(p, "its answer has too many fields");
	} else if (head->status == 101) {
		become_pair(p, x);
	} else {
		p->answered = true;
		/* With a head that says so the exchange may be over. */
		if (answer.length == 0) {
			p->down = NULL;
			warren_exchange_let_go(down);
		}
		if (warren_exchange_head(down, &answer)) {
			warren_exchange_cancel(down);
			over(p);
		}
	}
}

static int up_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct proxied *p = arg;

	(void)x;
	if (!p->down)
		return 0;
	if (warren_exchange_write(p->down, data, len)) {
		warren_exchange_cancel(p->down);
		over(p);
		return 0;
	}
	return warren_exchange_pending(p->down) > SRV_HIGH ? WARREN_PENDING : 0;
}

static void up_complete(struct warren_exchange *x, void *arg)
{
	struct proxied *p = arg;
	struct warren_exchange *down = p->down;

	(void)x;
	p->up = NULL;
	if (down) {
		warren_exchange_let_go(down);
		if (warren_exchange_end(down))
			warren_exchange_cancel(down);
	}
	over(p);
}

static void up_drained(struct warren_exchange *x, void *arg)
{
	struct proxied *p = arg;

	(void)x;
	if (p->down)
		warren_exchange_resume(p->down);
}

static void up_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct proxied *p = arg;

	(void)x;
	(void)result;
	p->up = NULL;
	failed(p, why);
}

static const struct warren_exchange_events up_events = {
	.size = sizeof(up_events), .head = up_head, .body = up_body, .complete = up_complete,
	.drained = up_drained, .failed = up_failed,
};

static void up_over(struct warren_http *http, int result, const char *why, void *arg)
{
	struct proxied *p = arg;

	(void)result;
	/* After its exchange: nothing follows on this connection. Before: there was none yet. */
	if (p->http == http && !p->up && p->down && !p->answered)
		failed(p, why ? why : "it closed the connection");
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = up_over,
};

static void send_request(struct proxied *p)
{
	p->up = warren_http_request(p->http, &p->head, &up_events, p);
	if (!p->up) {
		failed(p, "the request cannot be passed on to it");
		return;
	}
	if (p->early.len && warren_exchange_write(p->up, p->early.s, p->early.len)) {
		failed(p, "the request cannot be passed on to it");
		return;
	}
	str_free(&p->early);
	if (p->whole && p->head.length != 0 && warren_exchange_end(p->up))
		failed(p, "the request cannot be passed on to it");
	else if (!p->whole)
		warren_exchange_resume(p->down);
}

static void reached(struct proxied *p, struct warren_stream *stream)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .body_max = -1,
	};

	p->http = warren_http_client_take(stream, &options, &http_events, p);
	if (p->http)
		send_request(p);
	else
		failed(p, "no memory");
}

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct proxied *p = arg;

	(void)ctx;
	p->dial = NULL;
	if (stream)
		reached(p, stream);
	else
		failed(p, why);
}

static void opened(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct proxied *p = arg;
	struct warren_stream *stream = NULL;

	p->opening = false;
	if (!result && !srv_socket_ok(fd)) {
		close(fd);
		why = "that is the daemon's own socket";
	} else if (!result) {
		stream = warren_stream_new_take(ctx, fd);
		why = "no memory";
	}
	if (!p->down) {
		warren_stream_close(stream);
		proxied_free(p);
	} else if (stream) {
		reached(p, stream);
	} else {
		failed(p, why);
	}
}

/* ---- the client's side ---- */

static int down_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct proxied *p = arg;

	if (!p->up) {
		/* Until there is a backend; paused, so that this comes once. */
		str_addn(&p->early, (const char *)data, len);
		if (p->early.failed)
			failed(p, "no memory");
		return WARREN_PENDING;
	}
	if (warren_exchange_write(p->up, data, len)) {
		warren_exchange_cancel(x);
		over(p);
		return 0;
	}
	return warren_exchange_pending(p->up) > SRV_HIGH ? WARREN_PENDING : 0;
}

static void down_complete(struct warren_exchange *x, void *arg)
{
	struct proxied *p = arg;

	(void)x;
	p->whole = true;
	if (p->up && p->head.length != 0 && warren_exchange_end(p->up))
		failed(p, "the request cannot be passed on to it");
}

static void down_drained(struct warren_exchange *x, void *arg)
{
	struct proxied *p = arg;

	(void)x;
	if (p->up)
		warren_exchange_resume(p->up);
}

static void down_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	over(arg);
}

static const struct warren_exchange_events down_events = {
	.size = sizeof(down_events), .body = down_body, .complete = down_complete,
	.drained = down_drained, .failed = down_failed,
};

/* ---- the beginning ---- */

static const struct warren_user *user_of(const struct serve *s, const struct srv_from *from)
{
	const struct warren_node *node = from->node ? srv_peer(s, from) : NULL;

	for (uint32_t i = 0; node && node->n_tags == 0 && i < s->map->n_users; i++) {
		if (s->map->users[i].id == node->user)
			return &s->map->users[i];
	}
	return NULL;
}

static char *text_of(struct proxied *p, const char *text)
{
	return arena_text(&p->arena, text, strlen(text));
}

static bool compose(struct proxied *p, const struct warren_http_head *head,
		    const struct srv_mount *mount, const char *clean)
{
	const char *rest = srv_mount_rest(mount->mount, clean), *query = strchr(head->path, '?');
	AUTO(str_free) struct str path = STR_INIT;

	str_addf(&path, "%s%s%s%s", mount->target.path, rest[0] || mount->target.path[0] ? "" : "/",
		 rest, query ? query : "");
	srv_fields_up(&p->fields, &p->arena, head, &p->from.remote.addr,
		      p->from.kind == SRV_HTTPS, user_of(p->s, &p->from));
	p->head = (struct warren_http_head){
		.size = sizeof(p->head), .method = text_of(p, head->method), .scheme = "http",
		.authority = text_of(p, mount->what == SRV_UNIX ? "localhost" : head->authority),
		.path = text_of(p, str_text(&path)), .fields = p->fields.v,
		.n_fields = p->fields.n, .length = head->length,
	};
	return !path.failed && !p->fields.failed && p->head.method && p->head.authority &&
	       p->head.path;
}

static int go(struct proxied *p, const struct srv_mount *mount)
{
	struct warren_dial_options options = {
		.size = sizeof(options), .flags = WARREN_DIAL_NO_PROXY, .name = mount->target.host,
		.port = mount->target.port, .timeout = SRV_DIAL_USEC,
	};

	if (mount->what == SRV_UNIX) {
		int result = warren_conf_open(p->s->ctx, mount->conf, "unix", opened, p);

		p->opening = result == 0;
		return result;
	}
	if (mount->target.tls) {
		p->tls = (struct warren_tls_client){
			.size = sizeof(p->tls), .server_name = text_of(p, mount->target.host),
			.flags = mount->target.insecure ? WARREN_TLS_INSECURE : 0,
		};
		options.tls = &p->tls;
	}
	p->dial = warren_dial(p->s->ctx, &options, dialled, p);
	return p->dial ? 0 : -ENOMEM;
}

void srv_proxy(struct serve *s, struct warren_exchange *x, const struct warren_http_head *head,
	       const struct srv_from *from, const struct srv_mount *mount, const char *clean)
{
	struct proxied *p = warren_zalloc(s->ctx, sizeof(*p));
	int result;

	if (!p) {
		warren_exchange_say(x, 503, "no memory");
		return;
	}
	p->s = s;
	p->from = *from;
	p->down = x;
	str_copy(p->name, sizeof(p->name), mount->text);
	list_add_tail(&s->proxied, &p->link);
	if (!compose(p, head, mount, clean)) {
		warren_exchange_say(x, 431, "the request has too many fields");
		over(p);
		return;
	}
	warren_exchange_set(x, &down_events, p);
	p->whole = head->length == 0;
	result = go(p, mount);
	if (result)
		failed(p, strerror(-result));
}

void srv_proxy_end(struct serve *s)
{
	struct proxied *p, *next;

	list_for_each_safe(p, next, &s->proxied, link) {
		if (p->down)
			warren_exchange_cancel(p->down);
		over(p);
	}
}
