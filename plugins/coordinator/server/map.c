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
#include "dns.h"

enum {
	PEERS_DIRTY = 512,		/* news of more peers than that: all of them anew */
	PEERS_KEPT = 32,		/* memory for so many stays with a stream */
	BEHIND = 1 << 20,		/* bytes not taken: nothing more until they are */
	ZSTD_LEVEL = 1,
	TURN = 16,			/* so many peers between two looks at the clock */
};
static const uint64_t second = 1000000, batch = 50000, slice = 3000;
enum { KEEPALIVE = 50, KEEPALIVE_SPREAD = 9 };

struct news {
	int64_t peer;
	enum peer_news kind;
	uint32_t fields;
};
struct known {
	int64_t id;
	uint64_t generation;
};
struct whole {				/* all peers, gathered over as many turns as it takes */
	int64_t *ids;
	uint32_t n, pos, given;
	struct str peers, profiles;
};
struct stream {
	struct list link, dirty_link;
	struct stream *same;		/* the next one of this node */
	struct coord *coord;
	struct warren_exchange *x;
	struct warren_timer *timer;	/* keep-alive; stuck */
	int64_t node;
	uint64_t begun;			/* when it had its first message; 0: not yet */
	bool zstd, first, is_dirty, behind, lives;	/* @lives: more than one message */
	bool alone;			/* it asked for no peers */
	uint32_t what;			/* DIRTY_ */
	struct whole *whole;		/* NULL: none is being gathered */
	struct news *news;
	uint32_t n_news, cap_news;
	struct known *users;		/* whose profile it has */
	uint32_t n_users, cap_users;
	uint64_t told_self, told_filter, told_dns;	/* hashes of what it was told last */
	size_t said;			/* length of a message that says nothing yet */
};

static void mark(struct stream *s);

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

static void whole_free(struct stream *s)
{
	if (!s->whole)
		return;
	str_free(&s->whole->peers);
	str_free(&s->whole->profiles);
	free(s->whole->ids);
	free(s->whole);
	s->whole = NULL;
	s->coord->wholes--;
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
	whole_free(s);
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

	warren_timer_set(s->timer, s->behind ? s->coord->stuck : KEEPALIVE * second + spread);
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

int coord_stream_say(struct coord *coord, int64_t node, const char *json, size_t len, uint64_t age)
{
	int result = -ENOTCONN;
	struct stream *s, *next;

	for (s = streams_of(coord, node); s; s = next) {
		next = s->same;
		if (!s->lives)
			continue;
		if (!s->begun || warren_now() - s->begun < age)
			result = result == -ENOTCONN ? -EAGAIN : result;
		else if (s->behind)
			result = result ? -ENOBUFS : 0;
		else if (stream_write(s, json, len))
			result = 0;
		else
			stream_end(s);
	}
	return result;
}

size_t coord_streams_pending(const struct coord *coord, int64_t node)
{
	size_t sum = 0;

	for (const struct stream *s = streams_of(coord, node); s; s = s->same)
		sum += warren_exchange_pending(s->x);
	return sum;
}

/* Where the profile of user @id is among those that it has, by id; NULL: no memory. */
static struct known *known_user(struct stream *s, int64_t id)
{
	uint32_t from = 0, to = s->n_users;
	struct known *grown;

	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (s->users[mid].id < id)
			from = mid + 1;
		else
			to = mid;
	}
	if (from < s->n_users && s->users[from].id == id)
		return &s->users[from];
	if (s->n_users == s->cap_users) {
		grown = realloc(s->users, (s->cap_users * 2 + 8) * sizeof(*grown));
		if (!grown)
			return NULL;
		s->users = grown;
		s->cap_users = s->cap_users * 2 + 8;
	}
	memmove(&s->users[from + 1], &s->users[from], (s->n_users - from) * sizeof(*s->users));
	s->users[from] = (struct known){ .id = id };
	s->n_users++;
	return &s->users[from];
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

static void add_dns(struct stream *s, const struct tailnet_node *node, struct str *out)
{
	json_t *caps = policy_world_caps(s->coord->world, node->id);
	size_t from = out->len;

	str_add(out, ",\"DNSConfig\":");
	coord_dns_add(s->coord->dns, node, caps, out);
	drop_same(s, out, from, &s->told_dns);
	json_decref(caps);
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

static struct whole *whole_new(const struct stream *s)
{
	struct whole *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->n = policy_world_peers(s->coord->world, s->node, NULL, 0);
	w->ids = calloc(w->n + 1, sizeof(*w->ids));
	if (!w->ids) {
		free(w);
		return NULL;
	}
	policy_world_peers(s->coord->world, s->node, w->ids, w->n);
	s->coord->wholes++;
	return w;
}

/*
 * Goes on with the list of all peers, until @until; true: it is complete, or there is no memory
 * for it. What changes meanwhile is news, which follow.
 */
static bool gather(struct stream *s, uint64_t until)
{
	struct coord *coord = s->coord;
	struct whole *w;

	if (!(s->what & DIRTY_ALL))
		return true;
	if (!s->whole) {
		s->whole = whole_new(s);
		s->n_news = s->n_users = 0;
	}
	w = s->whole;
	for (; w && w->pos < w->n; w->pos++) {
		const struct tailnet_node *peer = tailnet_node(coord->tailnet, w->ids[w->pos]);

		if (w->pos % TURN == TURN - 1 && warren_now() > until)
			return false;
		if (!peer || !policy_world_sees(coord->world, s->node, peer->id))
			continue;
		str_add(&w->peers, w->given++ ? "," : "");
		if (!coord_encode_peer(coord, s->node, peer, &w->peers))
			w->peers.failed = true;
		add_profile(s, coord_user_id(peer), &w->profiles);
	}
	return true;
}

/* All peers; false: there are none. */
static bool add_all_peers(struct stream *s, struct str *out, struct str *profiles)
{
	struct whole *w = s->whole;
	bool given = w && w->given > 0;

	out->failed = out->failed || !w || w->peers.failed || w->profiles.failed;
	add_part(out, "Peers", w ? &w->peers : &(const struct str)STR_INIT);
	if (w && w->profiles.len > 0) {
		str_add(profiles, profiles->len > 0 ? "," : "");
		str_add(profiles, str_text(&w->profiles));
	}
	whole_free(s);
	return given;
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
	s->n_news = 0;
}

static void add_first(struct stream *s, struct str *out)
{
	struct coord *coord = s->coord;

	str_add(out, ",\"Domain\":");
	str_add_json(out, coord->base_domain, strlen(coord->base_domain));
	str_add(out, ",\"CollectServices\":false,\"Debug\":{\"DisableLogTail\":true}");
	if (coord->derp_map) {
		str_add(out, ",\"DERPMap\":");
		str_add(out, coord->derp_map);
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
	if (s->first || ((s->what & DIRTY_SELF) && coord_dns_differs(s->coord->dns)))
		add_dns(s, node, out);
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
		ok = add_all_peers(s, out, &profiles) || !s->begun;
	else
		add_news(s, out, &profiles);
	add_part(out, "UserProfiles", &profiles);
	str_free(&profiles);
	if (out->len == s->said && !out->failed && ok)
		str_cut(out, 0);
	else
		str_add(out, "}");
	if (s->n_news == 0 && s->cap_news > PEERS_KEPT) {
		free(s->news);
		s->news = NULL;
		s->cap_news = 0;
	}
	s->what = 0;
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
	if (!ok) {
		stream_end(s);
		return false;
	}
	warren_stat_add(s->coord->stats.maps, 1);
	if (!s->begun)
		s->begun = warren_now();
	if (s->n_news > 0)		/* came while the list of all was gathered */
		mark(s);
	return true;
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
		if (!s->behind && !gather(s, until)) {
			warren_timer_set(coord->flush, 0);
			return;
		}
		list_del(&s->dirty_link);
		s->is_dirty = false;
		/* One that is behind is told when it has caught up. */
		if (!s->behind && stream_tell(s) && !s->lives)
			stream_finish(s);
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
	if (s->alone)
		return;
	for (uint32_t i = 0; i < s->n_news; i++) {
		if (s->news[i].peer != peer)
			continue;
		if (kind > s->news[i].kind)
			s->news[i].kind = kind;
		s->news[i].fields |= fields;
		mark(s);
		return;
	}
	if (room_for_news(s)) {
		s->news[s->n_news++] = (struct news){ peer, kind, fields };
	} else {			/* all anew, from what is there then */
		s->what |= DIRTY_ALL;
		whole_free(s);
	}
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

/* The first message goes out at once, if it is not too long for this turn; others by the flush. */
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
	s->alone = from->omit_peers;
	s->what = DIRTY_SELF | DIRTY_FILTER | (s->alone ? 0 : DIRTY_ALL);
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
	/* One list after the other: each has room for the whole network while it is made. */
	if (coord->wholes > 0 || !gather(s, warren_now() + slice)) {
		mark(s);
		warren_timer_set(coord->flush, 0);
	} else if (stream_tell(s) && !s->lives) {
		stream_finish(s);
	}
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
