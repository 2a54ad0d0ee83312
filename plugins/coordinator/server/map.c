/*
 * POST /machine/map (control-protocol.md 6, 7): what a client tells of itself, and the stream of
 * what it has to know. A stream has a set of what it has not been told yet, not a queue: a client
 * that reads slowly gets the newest state in fewer messages; one that does not read at all goes.
 */
#include "server.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <zstd.h>

#include "base/err.h"
#include "base/str.h"

enum {
	PEERS_DIRTY = 512,		/* news of more peers than that: all of them anew */
	PEERS_KEPT = 32,		/* memory for so many stays with a stream */
	BEHIND = 1 << 20,		/* bytes not taken: nothing more until they are */
	ZSTD_LEVEL = 1,
};
static const uint64_t second = 1000000, batch = 50000, slice = 3000;
enum { KEEPALIVE = 50, KEEPALIVE_SPREAD = 9, STUCK = 60 };

struct news {
	int64_t peer;
	enum peer_news kind;
	uint32_t fields;
};
struct known {
	int64_t id;
	uint64_t generation;
};
struct stream {
	struct list link, dirty_link;
	struct stream *same;		/* the next one of this node */
	struct coord *coord;
	struct warren_exchange *x;
	struct warren_timer *timer;	/* keep-alive; stuck */
	int64_t node;
	bool zstd, first, is_dirty, behind, lives;	/* @lives: more than one message */
	uint32_t what;			/* DIRTY_ */
	struct news *news;
	uint32_t n_news, cap_news;
	struct known *users;		/* whose profile it has */
	uint32_t n_users, cap_users;
	uint64_t told_self, told_filter;	/* hashes of what it was told last */
	size_t said;			/* length of a message that says nothing yet */
};

static struct stream *streams_of(const struct coord *coord, int64_t node)
{
	return hash_get(&coord->by_node, &node, sizeof(node));
}

static bool index_add(struct stream *s)
{
	s->same = streams_of(s->coord, s->node);
	return hash_put(&s->coord->by_node, &s->node, sizeof(s->node), s, NULL) == 0;
}

static void index_remove(struct stream *s)
{
	struct coord *coord = s->coord;
	struct stream *first = streams_of(coord, s->node), **at = &first;

	while (*at && *at != s)
		at = &(*at)->same;
	if (*at)
		*at = s->same;
	hash_del(&coord->by_node, &s->node, sizeof(s->node));
	if (first)		/* in the slot that is free now: it cannot fail */
		(void)hash_put(&coord->by_node, &first->node, sizeof(first->node), first, NULL);
}

static void stream_free(struct stream *s)
{
	struct coord *coord = s->coord;

	index_remove(s);
	list_del(&s->link);
	if (s->is_dirty)
		list_del(&s->dirty_link);
	warren_release(s->timer);
	if (s->lives)
		tailnet_stream_closed(coord->tailnet, s->node);
	free(s->news);
	free(s->users);
	free(s);
}

/* Ends the exchange; the client comes again. */
static void stream_end(struct stream *s)
{
	struct warren_exchange *x = s->x;

	warren_exchange_set(x, NULL, NULL);
	warren_exchange_cancel(x);
	stream_free(s);
}

/* The same in order: what was written gets there first. */
static void stream_finish(struct stream *s)
{
	struct warren_exchange *x = s->x;

	warren_exchange_set(x, NULL, NULL);
	warren_exchange_end(x);
	stream_free(s);
}

/* ---- writing ---- */

static void keepalive_in(struct stream *s)
{
	uint64_t spread = (uint64_t)s->node * 7919 % (KEEPALIVE_SPREAD * second);

	warren_timer_set(s->timer, s->behind ? STUCK * second : KEEPALIVE * second + spread);
}

/* One message: its length, little-endian, and the JSON, compressed where that was asked for. */
static bool stream_write(struct stream *s, const char *json, size_t len)
{
	size_t bound = s->zstd ? ZSTD_compressBound(len) : len, n = len;
	uint8_t *out = malloc(4 + bound);
	uint32_t head;
	bool ok = out;

	if (ok && s->zstd) {
		n = ZSTD_compressCCtx(s->coord->zstd, out + 4, bound, json, len, ZSTD_LEVEL);
		ok = !ZSTD_isError(n);
	} else if (ok) {
		memcpy(out + 4, json, len);
	}
	head = htole32((uint32_t)n);
	if (ok) {
		memcpy(out, &head, 4);
		ok = warren_exchange_write(s->x, out, 4 + n) == 0;
	}
	free(out);
	s->behind = ok && warren_exchange_pending(s->x) > BEHIND;
	keepalive_in(s);
	return ok;
}

/* Where the profile of user @id is among those that it has; NULL: no memory. */
static struct known *known_user(struct stream *s, int64_t id)
{
	struct known *grown;

	for (uint32_t i = 0; i < s->n_users; i++) {
		if (s->users[i].id == id)
			return &s->users[i];
	}
	if (s->n_users == s->cap_users) {
		grown = realloc(s->users, (s->cap_users * 2 + 8) * sizeof(*grown));
		if (!grown)
			return NULL;
		s->users = grown;
		s->cap_users = s->cap_users * 2 + 8;
	}
	s->users[s->n_users] = (struct known){ .id = id };
	return &s->users[s->n_users++];
}

/* Adds a profile to @out where the stream has not got it as it is now. */
static void add_profile(struct stream *s, int64_t id, struct str *out)
{
	const struct tailnet_user *user = tailnet_user(s->coord->tailnet, id);
	uint64_t generation = user ? user->generation : 1;
	struct known *known = known_user(s, id);

	if (!known)
		out->failed = true;
	if (!known || known->generation == generation)
		return;
	known->generation = generation;
	if (out->len > 0)
		str_add(out, ",");
	coord_encode_user(user, out);
}

static void add_changed_profiles(struct stream *s, struct str *out)
{
	for (uint32_t i = 0; i < s->n_users; i++)
		add_profile(s, s->users[i].id, out);
}

static void add_part(struct str *out, const char *key, const struct str *list)
{
	if (list->len > 0)
		str_addf(out, ",\"%s\":[%s]", key, str_text(list));
	out->failed = out->failed || list->failed;
}

/* ---- the parts of a message ---- */

/* Is what @out has from @from on what was told last? Then it is taken out again. */
static void drop_same(struct stream *s, struct str *out, size_t from, uint64_t *told)
{
	uint64_t hash = hash_siphash(s->coord->secret, str_text(out) + from, out->len - from);

	if (hash == *told && !s->first)
		str_cut(out, from);
	*told = hash;
}

static void add_self(struct stream *s, const struct tailnet_node *node, struct str *out)
{
	size_t from = out->len;

	str_add(out, ",\"Node\":");
	coord_encode_self(s->coord, node, out);
	drop_same(s, out, from, &s->told_self);
}

static void add_filter(struct stream *s, const struct tailnet_node *node, struct str *out)
{
	const struct coord *coord = s->coord;
	size_t from = out->len;

	str_add(out, ",\"PacketFilters\":{\"base\":");
	coord_encode_json_take(policy_world_filter(coord->world, node->id), out);
	str_add(out, "},\"SSHPolicy\":{\"rules\":");
	coord_encode_json_take(policy_world_ssh(coord->world, node->id, coord->url), out);
	str_add(out, "}");
	drop_same(s, out, from, &s->told_filter);
}

/* All peers; false: there are none. */
static bool add_all_peers(struct stream *s, struct str *out, struct str *profiles)
{
	struct coord *coord = s->coord;
	uint32_t n = policy_world_peers(coord->world, s->node, NULL, 0), given = 0;
	int64_t *ids = calloc(n + 1, sizeof(*ids));

	if (!ids) {
		out->failed = true;
		return false;
	}
	policy_world_peers(coord->world, s->node, ids, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct tailnet_node *peer = tailnet_node(coord->tailnet, ids[i]);

		if (!peer)
			continue;
		str_add(out, given++ ? "," : ",\"Peers\":[");
		if (!coord_encode_peer(coord, s->node, peer, out))
			out->failed = true;
		add_profile(s, coord_user_id(peer), profiles);
	}
	free(ids);
	str_add(out, given > 0 ? "]" : "");
	return given > 0;
}

static int by_peer(const void *a, const void *b)
{
	int64_t x = ((const struct news *)a)->peer, y = ((const struct news *)b)->peer;

	return (x > y) - (x < y);
}

/* Lists of peers are sorted by id (6.3). */
static void add_news(struct stream *s, struct str *out, struct str *profiles)
{
	struct str changed = STR_INIT, removed = STR_INIT, patches = STR_INIT;
	struct coord *coord = s->coord;

	if (s->n_news > 1)
		qsort(s->news, s->n_news, sizeof(*s->news), by_peer);
	for (uint32_t i = 0; i < s->n_news; i++) {
		const struct news *news = &s->news[i];
		const struct tailnet_node *peer = tailnet_node(coord->tailnet, news->peer);

		if (!peer || !policy_world_sees(coord->world, s->node, news->peer)) {
			str_addf(&removed, "%s%" PRId64, removed.len > 0 ? "," : "", news->peer);
		} else if (news->kind == PEER_PATCH) {
			str_add(&patches, patches.len > 0 ? "," : "");
			coord_encode_patch(peer, news->fields, &patches);
		} else {
			str_add(&changed, changed.len > 0 ? "," : "");
			if (!coord_encode_peer(coord, s->node, peer, &changed))
				changed.failed = true;
			add_profile(s, coord_user_id(peer), profiles);
		}
	}
	add_part(out, "PeersRemoved", &removed);
	add_part(out, "PeersChanged", &changed);
	add_part(out, "PeersChangedPatch", &patches);
	str_free(&removed);
	str_free(&changed);
	str_free(&patches);
}

static void add_first(struct stream *s, struct str *out)
{
	struct coord *coord = s->coord;

	str_add(out, ",\"Domain\":");
	str_add_json(out, coord->base_domain, strlen(coord->base_domain));
	str_add(out, ",\"CollectServices\":false,\"Debug\":{\"DisableLogTail\":true}");
	str_addf(out, ",\"DNSConfig\":%s", coord->dns_config);
	if (coord->derp_map) {
		str_add(out, ",\"DERPMap\":");
		coord_encode_json_take(json_incref(coord->derp_map), out);
	}
}

/*
 * What the stream has not been told; empty: nothing after all. False: it cannot be told, and has to
 * end.
 */
static bool compose(struct stream *s, const struct tailnet_node *node, struct str *out)
{
	struct str profiles = STR_INIT;
	bool ok = true;

	str_add(out, "{\"ControlTime\":");
	coord_encode_time(warren_realtime(), out);
	s->said = out->len;
	if (s->first)
		add_first(s, out);
	if (s->what & DIRTY_USERS)
		add_changed_profiles(s, &profiles);
	if (s->what & DIRTY_SELF) {
		add_self(s, node, out);
		add_profile(s, coord_user_id(node), &profiles);
	}
	if (s->what & DIRTY_FILTER)
		add_filter(s, node, out);
	/* An empty list of all peers means "as before": then nobody can be taken away with it. */
	if (s->what & DIRTY_ALL)
		ok = add_all_peers(s, out, &profiles) || s->first;
	else
		add_news(s, out, &profiles);
	add_part(out, "UserProfiles", &profiles);
	str_free(&profiles);
	if (out->len == s->said && !out->failed && ok)
		str_cut(out, 0);
	else
		str_add(out, "}");
	if (s->cap_news > PEERS_KEPT) {
		free(s->news);
		s->news = NULL;
		s->cap_news = 0;
	}
	s->what = s->n_news = 0;
	s->first = false;
	return ok && !out->failed;
}

/* False: it is gone. */
static bool stream_tell(struct stream *s)
{
	const struct tailnet_node *node = tailnet_node(s->coord->tailnet, s->node);
	struct str text = STR_INIT;
	bool ok;

	if (!node) {
		stream_end(s);
		return false;
	}
	ok = compose(s, node, &text) &&
	     (text.len == 0 || stream_write(s, str_text(&text), text.len));
	str_free(&text);
	if (ok)
		warren_stat_add(s->coord->stats.maps, 1);
	else
		stream_end(s);
	return ok;
}

/* ---- what is to be told ---- */

static void flush(struct warren_ctx *ctx, void *arg)
{
	struct coord *coord = arg;
	uint64_t until = warren_now() + slice;
	struct stream *s;

	(void)ctx;
	coord->flushed = warren_now();
	while ((s = list_first(&coord->dirty, struct stream, dirty_link))) {
		if (warren_now() > until) {
			warren_timer_set(coord->flush, 0);
			return;
		}
		list_del(&s->dirty_link);
		s->is_dirty = false;
		if (!s->behind)
			stream_tell(s);	/* else when it has caught up */
	}
}

/* The first news go at once, so that peers know a node before it calls them; then they gather. */
static void mark(struct stream *s)
{
	uint64_t now = warren_now(), next = s->coord->flushed + batch;

	if (s->is_dirty)
		return;
	if (!s->coord->flush)
		s->coord->flush = warren_timer_new(s->coord->ctx, flush, s->coord);
	if (list_empty(&s->coord->dirty) && s->coord->flush)
		warren_timer_set(s->coord->flush, next > now ? next - now : 0);
	s->is_dirty = true;
	list_add_tail(&s->coord->dirty, &s->dirty_link);
}

static bool room_for_news(struct stream *s)
{
	uint32_t cap = s->cap_news ? s->cap_news * 2 : PEERS_KEPT / 4;
	struct news *grown;

	if (s->n_news < s->cap_news)
		return true;
	grown = cap <= PEERS_DIRTY ? realloc(s->news, cap * sizeof(*grown)) : NULL;
	if (!grown)
		return false;
	s->news = grown;
	s->cap_news = cap;
	return true;
}

static void stream_news(struct stream *s, int64_t peer, enum peer_news kind, uint32_t fields)
{
	for (uint32_t i = 0; i < s->n_news; i++) {
		if (s->news[i].peer != peer)
			continue;
		if (kind > s->news[i].kind)
			s->news[i].kind = kind;
		s->news[i].fields |= fields;
		mark(s);
		return;
	}
	if (room_for_news(s))
		s->news[s->n_news++] = (struct news){ peer, kind, fields };
	else
		s->what |= DIRTY_ALL;
	mark(s);
}

void coord_tell_node(struct coord *coord, int64_t node, uint32_t what)
{
	for (struct stream *s = streams_of(coord, node); s; s = s->same) {
		s->what |= what;
		mark(s);
	}
}

void coord_tell_peer(struct coord *coord, int64_t viewer, int64_t peer, enum peer_news news,
		     uint32_t fields)
{
	for (struct stream *s = streams_of(coord, viewer); s; s = s->same)
		stream_news(s, peer, news, fields);
}

void coord_tell_viewers(struct coord *coord, int64_t peer, enum peer_news news, uint32_t fields)
{
	struct stream *s;

	list_for_each(s, &coord->streams, link) {
		if (s->node != peer && policy_world_sees(coord->world, s->node, peer))
			stream_news(s, peer, news, fields);
	}
}

void coord_tell_everybody(struct coord *coord)
{
	struct stream *s;

	list_for_each(s, &coord->streams, link) {
		s->first = true;	/* DNS, DERP map and so on once more */
		s->what |= DIRTY_SELF | DIRTY_FILTER;
		mark(s);
	}
}

void coord_tell_users(struct coord *coord)
{
	struct stream *s;

	list_for_each(s, &coord->streams, link) {
		s->what |= DIRTY_USERS;
		mark(s);
	}
}

void coord_streams_of(struct coord *coord, int64_t node)
{
	struct stream *s;

	while ((s = streams_of(coord, node)))
		stream_end(s);
}

/* A client that was deleted asks on and on; one that is told that its key is over logs in (5.3). */
void coord_streams_part(struct coord *coord, const struct tailnet_node *before)
{
	struct tailnet_node last = *before;
	struct str text = STR_INIT;
	struct stream *s;

	last.expiry = before->created;
	last.live.expired = true;
	str_add(&text, "{\"Node\":");
	coord_encode_self(coord, &last, &text);
	str_add(&text, "}");
	while ((s = streams_of(coord, before->id))) {
		if (!text.failed && !s->behind && stream_write(s, str_text(&text), text.len))
			stream_finish(s);
		else
			stream_end(s);
	}
	str_free(&text);
}

void coord_streams_close(struct coord *coord)
{
	struct stream *s, *next;

	list_for_each_safe(s, next, &coord->streams, link)
		stream_end(s);
	warren_release(coord->flush);
	coord->flush = NULL;
}

/* ---- the exchange ---- */

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	static const char keepalive[] = "{\"KeepAlive\":true}";
	struct stream *s = arg;

	(void)ctx;
	if (s->behind) {
		warren_stat_add(s->coord->stats.shed, 1);
		stream_end(s);
		return;
	}
	if (!stream_write(s, keepalive, sizeof(keepalive) - 1))
		stream_end(s);
}

static void on_drained(struct warren_exchange *x, void *arg)
{
	struct stream *s = arg;

	(void)x;
	s->behind = false;
	keepalive_in(s);
	if (s->what || s->n_news > 0 || s->first)
		mark(s);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	stream_free(arg);
}

static const struct warren_exchange_events stream_events = {
	.size = sizeof(stream_events), .drained = on_drained, .failed = on_failed,
};

/* The first message goes out at once; later ones by the flush. */
static void begin_stream(struct request *r, const struct map_request *from, int64_t node)
{
	static const struct warren_http_field type = { "Content-Type", "application/json" };
	const struct warren_http_head head = { .size = sizeof(head), .status = 200,
					       .fields = &type, .n_fields = 1, .length = -1 };
	struct coord *coord = r->coord;
	struct stream *s = calloc(1, sizeof(*s));
	struct warren_exchange *x;

	if (!s || !(s->timer = warren_timer_new(coord->ctx, on_timer, s))) {
		free(s);
		answer_text(r, 500, "no memory\n");
		return;
	}
	x = answer_steal(r);
	s->coord = coord;
	s->x = x;
	s->node = node;
	s->zstd = from->zstd;
	s->first = true;
	s->what = DIRTY_SELF | DIRTY_FILTER | (from->omit_peers ? 0 : DIRTY_ALL);
	list_add_tail(&coord->streams, &s->link);
	if (!index_add(s)) {
		stream_end(s);
		return;
	}
	warren_exchange_set(x, &stream_events, s);
	warren_exchange_head(x, &head);
	s->lives = from->stream;
	if (s->lives) {
		warren_stat_add(coord->stats.streams, 1);
		tailnet_stream_opened(coord->tailnet, node);
	}
	if (stream_tell(s) && !s->lives)
		stream_finish(s);
}

/* What the request says of the node itself. A stream's silence erases nothing (6.1). */
static void take_update(struct coord *coord, const struct map_request *from,
			const struct tailnet_node *node)
{
	const struct tailnet_update update = {
		.disco_key = from->disco_key, .endpoints = from->endpoints,
		.n_endpoints = from->n_endpoints,
		.has_endpoints = !from->stream || from->n_endpoints > 0,
		.hostinfo = from->hostinfo, .hostname = from->hostname ? from->hostname : "",
		.routes = from->routes, .n_routes = from->n_routes, .home_derp = from->home_derp,
		.capver = (uint32_t)from->version,
	};

	(void)tailnet_update(coord->tailnet, node->id, &update, NULL, NULL);
}

void coord_map(struct request *r)
{
	struct map_request from;
	struct warren_err err = ERR_INIT;
	const struct tailnet_node *node;
	int64_t id;

	if (map_request_parse(str_text(r->body), r->body->len, &from, &err)) {
		answer_text(r, 400, err_first(&err));
	} else if (from.version < COORD_CAPVER) {
		answer_text(r, 400, "this client is too old for this server: update it\n");
	} else if (!(node = asked_node(r, from.node_key))) {
		answer_text(r, 404, "node not found\n");
	} else {
		id = node->id;
		take_update(r->coord, &from, node);
		if (!from.stream && from.omit_peers)
			answer_text(r, 200, "");
		else
			begin_stream(r, &from, id);
	}
	map_request_free(&from);
	err_free(&err);
}
