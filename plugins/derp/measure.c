/*
 * How far a region is, where STUN is not answered (path-protocols.md 5.5): one request to a relay
 * over HTTPS. The ways of the map are tried in order; dial and TLS are not part of the time.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"

#include "client.h"

static const char path[] = "/derp/latency-check";

struct measure {
	struct derp_client *client;
	uint32_t region, family;
	const struct warren_netmap *map;	/* a reference, for `ways` */
	void *tie;			/* drops it with the context */
	struct derp_way ways[DERP_WAYS];
	uint32_t n_ways, way;		/* the one being tried is ways[way - 1] */
	uint64_t deadline, sent;
	struct warren_timer *timer;	/* the end of it */
	struct warren_dial *dial;
	struct warren_http *http;
	bool dropping;			/* what is given up says so */
};

static void drop_map(void *arg)
{
	struct measure *m = arg;

	warren_obj_unref(m->map);
	m->map = NULL;
}

static void drop_way(struct measure *m)
{
	m->dropping = true;
	warren_dial_cancel(m->dial);
	warren_http_close(m->http);
	m->dial = NULL;
	m->http = NULL;
	m->dropping = false;
}

static void measure_free(struct measure *m)
{
	drop_way(m);
	drop_map(m);
	warren_release(m->timer);
	warren_release(m->tie);
	warren_release(m);
}

static void finish(struct measure *m, uint64_t usec)
{
	const struct derp_client *client = m->client;
	uint32_t region = m->region, family = m->family;

	measure_free(m);
	if (client->consumer && client->events->measured)
		client->events->measured(client->arg, region, family, usec);
}

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg);

static void next_way(struct measure *m)
{
	drop_way(m);
	while (!m->dial) {
		uint64_t now = warren_now(), left = m->deadline > now ? m->deadline - now : 0;
		struct warren_err err = ERR_INIT;

		if (m->way == m->n_ways || left == 0) {
			finish(m, 0);
			return;
		}
		m->way++;
		m->dial = derp_dial(m->client, &m->ways[m->way - 1],
				    left / (m->n_ways - m->way + 1), dialled, m, &err);
		err_free(&err);
	}
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct measure *m = arg;
	uint64_t usec = warren_now() - m->sent;

	(void)x;
	if (head->status > 299)
		next_way(m);
	else
		finish(m, usec ? usec : 1);
}

static void on_broken(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct measure *m = arg;

	(void)x;
	(void)result;
	(void)why;
	if (!m->dropping)
		next_way(m);
}

static const struct warren_exchange_events exchange_events = {
	.size = sizeof(exchange_events), .head = on_head, .failed = on_broken,
};

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct measure *m = arg;

	(void)http;
	(void)result;
	(void)why;
	if (!m->dropping)
		next_way(m);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = on_ended,
};

static void dialled(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		    void *arg)
{
	struct measure *m = arg;
	const struct warren_http_options options = { .size = sizeof(options),
						     .version = WARREN_HTTP_1 };
	char at[512];
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = path, .scheme = "https",
		.authority = at,
	};
	struct warren_addrport peer;

	(void)ctx;
	(void)why;
	m->dial = NULL;
	if (!stream) {
		next_way(m);
		return;
	}
	m->family = warren_stream_peer(stream, &peer) ? peer.addr.family : 0;
	derp_authority(m->client, m->ways[m->way - 1].node, at, sizeof(at));
	m->http = warren_http_client_take(stream, &options, &http_events, m);
	m->sent = warren_now();
	if (!m->http || !warren_http_request(m->http, &head, &exchange_events, m))
		next_way(m);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	finish(arg, 0);
}

/* The first way is dialled from the loop, as every callback comes from there. */
static void on_begin(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	next_way(arg);
}

int derp_measure(void *self, uint32_t region)
{
	struct derp_client *client = self;
	const struct warren_relay_region *there = derp_map_find(client->map, region);
	struct measure *m;

	if (!there)
		return -ENOENT;
	m = warren_zalloc(client->ctx, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->client = client;
	m->region = region;
	m->map = warren_obj_ref(client->map);
	m->n_ways = derp_ways(there, m->ways);
	m->deadline = warren_now() + DERP_MEASURE_USEC;
	m->tie = warren_on_end(client->ctx, drop_map, m);
	m->timer = warren_timer_new(client->ctx, on_timer, m);
	if (!m->tie || !m->timer || warren_defer(client->ctx, on_begin, m)) {
		measure_free(m);
		return -ENOMEM;
	}
	warren_timer_set(m->timer, DERP_MEASURE_USEC);
	return 0;
}
