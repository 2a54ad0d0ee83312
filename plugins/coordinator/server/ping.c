/*
 * What the server asks of a node (control-protocol.md 4.6): a PingRequest in its map streams, which
 * it answers to a path that only the two know. The answer comes inside Noise, from the machine that
 * was asked, or it is none.
 */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/hex.h"
#include "base/str.h"

enum { ID_BYTES = 16, ID_TEXT = ID_BYTES * 2 + 1 };

struct coord_ping {
	struct list link;
	struct coord *coord;
	struct warren_timer *timer;
	int64_t node;
	char id[ID_TEXT];
	uint64_t asked_at;
	coord_pinged_fn *done;
	void *arg;
};

static void ping_free(struct coord_ping *p)
{
	list_del(&p->link);
	warren_release(p->timer);
	free(p);
}

static void answer(struct coord_ping *p, int result, const char *body, size_t len)
{
	const struct coord_pong pong = {
		.result = result, .usec = warren_now() - p->asked_at, .body = body, .len = len,
	};
	coord_pinged_fn *done = p->done;
	void *arg = p->arg;

	ping_free(p);
	done(arg, &pong);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	answer(arg, -ETIMEDOUT, "", 0);
}

/* A message of its own: clients take a PingRequest of a keep-alive as well. */
static bool compose(const struct coord_ping *p, const struct coord_ping_options *o,
		    struct str *out)
{
	size_t len = o->payload ? strlen(o->payload) : 0;
	char ip[ADDR_TEXT], *text = NULL;

	str_addf(out, "{\"KeepAlive\":true,\"PingRequest\":{\"URL\":\"%s/machine/ping-response?"
		 "id=%s\",\"URLIsNoise\":true", p->coord->url, p->id);
	if (o->types)
		str_addf(out, ",\"Types\":\"%s\"", o->types);
	if (o->ip)
		str_addf(out, ",\"IP\":\"%s\"", addr_format(o->ip, ip));
	if (len > 0) {
		text = malloc(BASE64_TEXT(len));
		if (!text)
			return false;
		base64_encode(text, o->payload, len);
		str_addf(out, ",\"Payload\":\"%s\"", text);
		free(text);
	}
	str_add(out, "}}");
	return !out->failed;
}

static int ping_send(struct coord_ping *p, const struct coord_ping_options *o)
{
	struct str text = STR_INIT;
	int result = compose(p, o, &text) ?
		     coord_stream_say(p->coord, p->node, str_text(&text), text.len, o->age) :
		     -ENOMEM;

	str_free(&text);
	return result;
}

int coord_ping(struct coord *coord, const struct coord_ping_options *options,
	       coord_pinged_fn *done, void *arg, struct coord_ping **out)
{
	struct coord_ping *p = calloc(1, sizeof(*p));
	uint8_t random[ID_BYTES];
	int result = -ENOMEM;

	*out = NULL;
	if (!p)
		return -ENOMEM;
	*p = (struct coord_ping){ .coord = coord, .node = options->node, .done = done, .arg = arg,
				  .asked_at = warren_now() };
	randombytes_buf(random, sizeof(random));
	hex_encode(p->id, random, sizeof(random));
	list_add_tail(&coord->pings, &p->link);
	p->timer = warren_timer_new(coord->ctx, on_timer, p);
	if (p->timer)
		result = ping_send(p, options);
	if (result) {
		ping_free(p);
		return result;
	}
	warren_timer_set(p->timer, options->timeout);
	*out = p;
	return 0;
}

void coord_ping_cancel(struct coord_ping *p)
{
	ping_free(p);
}

void coord_pings_close(struct coord *coord)
{
	struct coord_ping *p;

	while ((p = list_first(&coord->pings, struct coord_ping, link)))
		answer(p, -ESHUTDOWN, "", 0);
}

/* ---- the answer ---- */

static struct coord_ping *find(const struct request *r)
{
	struct coord_ping *p;
	const struct tailnet_node *node;

	if (!str_starts(r->query, "?id="))
		return NULL;
	list_for_each(p, &r->coord->pings, link) {
		node = tailnet_node(r->coord->tailnet, p->node);
		if (sodium_memcmp(p->id, r->query + 4, ID_TEXT) == 0 && node &&
		    memcmp(node->machine_key, r->session->machine, 32) == 0)
			return p;
	}
	return NULL;
}

void coord_pong(struct request *r)
{
	bool head = strcmp(r->method, "HEAD") == 0;
	struct coord_ping *p = strlen(r->query) == 4 + ID_TEXT - 1 ? find(r) : NULL;
	struct str body = *r->body;

	if (!head && strcmp(r->method, "POST") != 0) {
		answer_text(r, 405, "method not allowed\n");
		return;
	}
	if (!p) {
		answer_text(r, 404, "nothing of that id was asked of this machine\n");
		return;
	}
	*r->body = (struct str)STR_INIT;
	r->coord->bodies -= body.len;
	answer_text(r, 200, "");
	answer(p, 0, str_text(&body), body.len);
	str_free(&body);
}
