/*
 * The peers of the network map, each with its machine, and what the data plane and the machines
 * tell each other. One timer serves all that have a deadline.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/util.h"
#include "paths.h"

enum { SLICE = 3000 };			/* microseconds of one turn of the timer */

static bool is_zero(const uint8_t key[32])
{
	return sodium_is_zero(key, 32);
}

struct paths_node *paths_node(const struct paths *p, const uint8_t key[32])
{
	return hash_get(&p->by_key, key, 32);
}

struct paths_node *paths_node_of_disco(const struct paths *p, const uint8_t disco[32])
{
	return hash_get(&p->by_disco, disco, 32);
}

const struct warren_node *paths_in_map(const struct paths *p, const struct paths_node *node)
{
	uint32_t low = 0, high = p->map ? p->map->n_peers : 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct warren_node *found = p->map->peers[middle];

		if (found->id == node->id)
			return found;
		if (found->id < node->id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/*
 * ---- Time ----
 */

static void wake(struct paths_node *node)
{
	schedule_set(&node->paths->due, &node->due, paths_peer_deadline(&node->peer));
}

void paths_arm(struct paths *p)
{
	const struct schedule_entry *first = schedule_first(&p->due);
	uint64_t now = warren_now();

	if (!first)
		warren_timer_stop(p->timer);
	else
		warren_timer_set(p->timer, first->deadline > now ? first->deadline - now : 0);
}

void paths_touched(struct paths_node *node)
{
	wake(node);
	paths_arm(node->paths);
}

void paths_turn(struct warren_ctx *ctx, void *arg)
{
	struct paths *p = arg;
	uint64_t start = warren_now(), now = start;
	struct schedule_entry *due;

	(void)ctx;
	for (; now - start < SLICE; now = warren_now()) {
		struct paths_node *node;

		due = schedule_first(&p->due);
		if (!due || due->deadline > now)
			break;
		node = CONTAINER_OF(due, struct paths_node, due);
		paths_peer_turn(&node->peer, now);
		wake(node);
	}
	paths_arm(p);
}

/*
 * ---- The path in the data plane ----
 */

/*
 * Without disco nothing proves an address but WireGuard itself: as if nobody chose paths. The same
 * where disco has no answer and no relay is connected: to try is better than to drop.
 */
static struct warren_addrport plain_address(const struct paths_node *node)
{
	static const struct warren_addrport none;
	const struct warren_addrport *named;

	if (node->heard.addr.family)
		return node->heard;
	named = paths_peer_named(&node->peer, node->endpoint);
	return named ? *named : none;
}

void paths_set_path(struct paths_node *node)
{
	struct paths *p = node->paths;
	struct paths_path path = paths_peer_path(&node->peer, warren_now());
	struct warren_data_path data = { .size = sizeof(data), .tell = path.tell };
	int result;

	if (node->plain && !node->peer.expired) {
		path.address = plain_address(node);
		path.vni = 0;
		path.region = path.address.addr.family ? 0 : node->peer.home;
		data.tell = false;
	}
	if (!p->relays.ops)
		path.region = 0;
	if (!path.address.addr.family && !node->peer.expired &&
	    !paths_relay_connected(p, path.region))
		path.address = plain_address(node);
	data.generation = ++p->generation;
	if (path.address.addr.family) {
		data.kind = path.vni ? WARREN_PATH_GENEVE : WARREN_PATH_UDP;
		data.address = path.address;
		data.vni = path.vni;
		data.copy_region = path.region;
	} else if (path.region) {
		data.kind = WARREN_PATH_RELAY;
		data.region = path.region;
	}
	result = p->dataplane->path_set(p->dataplane_self, node->key, &data);
	/* The data plane may learn of the map after us; it asks by `wanted` then. */
	if (result < 0 && result != -ENOENT)
		warren_log_limit(p->ctx, &p->log_change, LOG_ERR, "cannot set a path: %s",
				 strerror(-result));
}

static void on_proved(void *arg, const uint8_t key[32], const struct warren_addrport *address)
{
	struct paths_node *node = paths_node(arg, key);

	if (!node || addrport_equal(&node->heard, address))
		return;
	/* It counts where there is nothing better: see paths_set_path(). */
	node->heard = *address;
	paths_set_path(node);
}

static void on_wanted(void *arg, const uint8_t key[32])
{
	struct paths_node *node = paths_node(arg, key);

	if (!node)
		return;
	/* No answer for long: the next of its endpoints, and not where it was heard. */
	if (node->plain || paths_peer_active(&node->peer)) {
		node->heard.addr.family = 0;
		node->endpoint++;
	}
	if (!node->plain) {
		paths_peer_send(&node->peer, warren_now());
		paths_touched(node);
	}
	/* What was told to a data plane that did not know the peer yet is told again. */
	paths_set_path(node);
}

static void on_relay_out(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
			 size_t len)
{
	paths_relay_send(arg, region, key, data, len);
}

const struct warren_path_events paths_events = {
	.size = sizeof(paths_events),
	.proved = on_proved,
	.wanted = on_wanted,
	.relay_out = on_relay_out,
};

/*
 * ---- The map ----
 */

static void disco_unlink(struct paths_node *node)
{
	struct paths *p = node->paths;
	struct paths_node *first = paths_node_of_disco(p, node->disco), **at = &first;

	sodium_memzero(node->shared, sizeof(node->shared));
	node->has_shared = false;
	if (!first)
		return;
	hash_del(&p->by_disco, node->disco, 32);
	while (*at && *at != node)
		at = &(*at)->twin;
	if (*at)
		*at = node->twin;
	node->twin = NULL;
	if (first)
		hash_put(&p->by_disco, first->disco, 32, first, NULL);
}

static int disco_link(struct paths_node *node, const uint8_t disco[32])
{
	struct paths *p = node->paths;
	void *twin = NULL;

	memcpy(node->disco, disco, 32);
	node->plain = is_zero(disco);
	if (node->plain)
		return 0;
	if (hash_put(&p->by_disco, node->disco, 32, node, &twin) < 0)
		return -ENOMEM;
	node->twin = twin;
	return 0;
}

static void node_free(struct paths_node *node)
{
	disco_unlink(node);
	hash_del(&node->paths->by_key, node->key, 32);
	list_del(&node->all);
	schedule_set(&node->paths->due, &node->due, SCHEDULE_NEVER);
	paths_peer_fini(&node->peer);
	free(node);
}

static struct paths_node *node_new(struct paths *p, const struct warren_node *from)
{
	struct paths_node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->paths = p;
	node->id = from->id;
	memcpy(node->key, from->key.bytes, 32);
	paths_peer_init(&node->peer, &paths_acts, node);
	node->peer.servers = &p->servers;
	list_add_tail(&p->all, &node->all);
	if (schedule_reserve(&p->due) < 0 || hash_put(&p->by_key, node->key, 32, node, NULL) < 0 ||
	    disco_link(node, from->disco_key.bytes) < 0) {
		node_free(node);
		return NULL;
	}
	return node;
}

static bool takes_part(const struct paths *p, const struct warren_node *node)
{
	return node && !node->dormant && !is_zero(node->key.bytes) &&
	       memcmp(node->key.bytes, p->node_key, 32) != 0;
}

/* @from is how it is now. */
static int node_update(struct paths_node *node, const struct warren_node *from)
{
	struct warren_addrport usable[PATHS_CANDIDATES];
	uint64_t now = warren_now();
	uint32_t n = 0;
	bool was_plain = node->plain;

	node->id = from->id;
	if (memcmp(node->disco, from->disco_key.bytes, 32) != 0) {
		disco_unlink(node);
		paths_peer_rekey(&node->peer);
		if (disco_link(node, from->disco_key.bytes) < 0)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < from->n_endpoints && n < PATHS_CANDIDATES; i++)
		if (paths_may_ping(&from->endpoints[i], true))
			usable[n++] = from->endpoints[i];
	node->peer.relay_capable = from->cap_version >= PATHS_RELAY_CAPABLE;
	paths_peer_map(&node->peer, now, usable, n, from->home_region, from->expired);
	if (node->plain || was_plain)
		paths_set_path(node);
	wake(node);
	return 0;
}

/* From @before to @after; either may be NULL, or a node that takes no part. */
static int step(struct paths *p, const struct warren_node *before, const struct warren_node *after)
{
	struct paths_node *node;

	if (takes_part(p, before) &&
	    (!takes_part(p, after) || memcmp(&before->key, &after->key, sizeof(before->key)))) {
		node = paths_node(p, before->key.bytes);
		if (node && node->id == before->id)
			node_free(node);
	}
	if (!takes_part(p, after))
		return 0;
	node = paths_node(p, after->key.bytes);
	if (!node)
		node = node_new(p, after);
	return node ? node_update(node, after) : -ENOMEM;
}

/*
 * One element of the way from the map before to p->map. What another plugin asks of a peer that has
 * not had its turn yet is asked again: a first map of thousands must not hold up the loop.
 */
static int apply_one(struct paths *p, struct paths_apply *apply)
{
	const struct warren_netmap *map = p->map, *old = apply->old;
	const struct warren_node *before = NULL;
	uint32_t i = apply->at++;

	switch (apply->what) {
	case APPLY_CHANGES:
		if (i < map->n_changes)
			return step(p, map->changes[i].before, map->changes[i].after);
		apply->what = APPLY_NOTHING;
		return 0;
	case APPLY_GONE:
		if (!old || i == old->n_peers) {
			apply->what = APPLY_THERE;
			apply->at = apply->other = 0;
			return 0;
		}
		while (apply->other < map->n_peers &&
		       map->peers[apply->other]->id < old->peers[i]->id)
			apply->other++;
		if (apply->other < map->n_peers &&
		    map->peers[apply->other]->id == old->peers[i]->id)
			return 0;
		return step(p, old->peers[i], NULL);
	case APPLY_THERE:
		if (i == map->n_peers) {
			apply->what = APPLY_NOTHING;
			return 0;
		}
		while (old && apply->other < old->n_peers &&
		       old->peers[apply->other]->id < map->peers[i]->id)
			apply->other++;
		if (old && apply->other < old->n_peers &&
		    old->peers[apply->other]->id == map->peers[i]->id)
			before = old->peers[apply->other];
		return before == map->peers[i] ? 0 : step(p, before, map->peers[i]);
	case APPLY_NOTHING:
		break;
	}
	return 0;
}

static void apply_later(struct warren_ctx *ctx, void *arg);

static void apply(struct paths *p, bool all)
{
	uint64_t start = warren_now();
	int result = 0;

	while (result == 0 && p->apply.what != APPLY_NOTHING &&
	       (all || p->apply.at % 16 || warren_now() - start < SLICE))
		result = apply_one(p, &p->apply);
	if (result == 0 && p->apply.what != APPLY_NOTHING && !p->apply.later) {
		result = warren_defer(p->ctx, apply_later, p);
		p->apply.later = result == 0;
	}
	if (result < 0)
		warren_fatal(p->ctx, "out of memory");
	if (p->apply.what == APPLY_NOTHING) {
		warren_obj_unref(p->apply.old);
		p->apply.old = NULL;
	}
	paths_arm(p);
}

static void apply_later(struct warren_ctx *ctx, void *arg)
{
	struct paths *p = arg;

	(void)ctx;
	p->apply.later = false;
	apply(p, false);
}

void paths_map(struct paths *p, const struct warren_netmap *map)
{
	const struct warren_netmap *old = p->map;

	if (map == old)
		return;
	apply(p, true);
	p->apply.old = old;
	p->apply.at = p->apply.other = 0;
	p->apply.what = warren_netmap_follows(map, old) ? APPLY_CHANGES : APPLY_GONE;
	p->map = warren_obj_ref(map);
	apply(p, false);
}

void paths_nodes_free(struct paths *p)
{
	struct paths_node *node, *next;

	list_for_each_safe(node, next, &p->all, all)
		node_free(node);
	hash_free(&p->by_key);
	hash_free(&p->by_disco);
	hash_free(&p->expected);
	schedule_fini(&p->due);
	warren_obj_unref(p->apply.old);
	p->apply = (struct paths_apply){ 0 };
	warren_obj_unref(p->map);
	p->map = NULL;
}

/*
 * ---- All of them ----
 */

void paths_reset_all(struct paths *p)
{
	uint64_t now = warren_now();
	struct paths_node *node;

	list_for_each(node, &p->all, all) {
		paths_peer_reset(&node->peer, now);
		if (paths_peer_active(&node->peer))
			paths_peer_send(&node->peer, now);
		wake(node);
	}
	paths_arm(p);
}

void paths_rekey_all(struct paths *p)
{
	struct paths_node *node;

	list_for_each(node, &p->all, all) {
		sodium_memzero(node->shared, sizeof(node->shared));
		node->has_shared = false;
		paths_peer_rekey(&node->peer);
		wake(node);
	}
}
