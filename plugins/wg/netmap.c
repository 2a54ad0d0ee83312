/*
 * Reconciliation with the network map. Both ways in, the change list and the comparison with the
 * snapshot before, end in one function that gets a node as it was and as it is.
 *
 * Allowed IPs change in one batch, so that workers see the old map or the new one. Where two nodes
 * claim the very same prefix, the one that comes last in the map (the higher id) has it. While
 * such claims exist a change rebuilds the whole trie, so that the result depends on the map alone
 * and not on the way that led to it.
 */
#include "netmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "device.h"
#include "handshake.h"

struct change {
	struct wg_device *dev;
	const struct warren_netmap *map;
	struct wg_allowedips *trie; /* with an open batch */
	bool rebuild; /* the trie must be made from the snapshot */
	struct wg_peer **gone; /* to be removed once no trie has them */
	uint32_t n_gone;
	uint64_t now;
};

static bool is_zero(const struct warren_key32 *key)
{
	static const struct warren_key32 zero;

	return !memcmp(key, &zero, sizeof(zero));
}

/* A node that takes part, with a key that is not ours. */
static bool is_peer(const struct wg_device *dev, const struct warren_node *node)
{
	return node && !node->expired && !node->dormant && !is_zero(&node->key) &&
	       memcmp(node->key.bytes, dev->local.public_key, 32);
}

/*
 * ---- Allowed IPs ----
 */

/* All that the operator takes of @node; *@conflicts: how often somebody else had it. */
static int insert_taken(const struct warren_netmap *map, struct wg_allowedips *trie,
			struct wg_peer *peer, const struct warren_node *node, uint32_t *conflicts)
{
	struct warren_prefix exits[2];
	uint32_t n = warren_netmap_exits(map, node, exits);

	for (uint32_t i = 0; i < node->n_allowed_ips + n; i++) {
		const struct warren_prefix *prefix = i < n ? &exits[i] : &node->allowed_ips[i - n];
		void *former = NULL;

		if (i >= n && !warren_netmap_takes(map, node, prefix))
			continue;
		if (wg_allowedips_insert(trie, prefix, peer, &former) == -ENOMEM)
			return -ENOMEM;
		*conflicts += former && former != peer;
	}
	return 0;
}

static int insert_prefixes(struct change *change, struct wg_peer *peer,
			   const struct warren_node *node)
{
	uint32_t conflicts = 0;
	int result = insert_taken(change->map, change->trie, peer, node, &conflicts);

	if (conflicts > 0)
		change->rebuild = true;
	return result;
}

static int remove_prefixes(struct change *change, const struct wg_peer *peer,
			   const struct warren_node *node)
{
	/* It may have been the way to the internet. */
	static const struct warren_prefix all[2] = { { { .family = 4 }, 0 },
						     { { .family = 6 }, 0 } };

	for (uint32_t i = 0; i < node->n_allowed_ips + 2; i++) {
		const struct warren_prefix *prefix = i < 2 ? &all[i] : &node->allowed_ips[i - 2];

		if (wg_allowedips_remove(change->trie, prefix, peer) == -ENOMEM)
			return -ENOMEM;
	}
	return 0;
}

static void table_retire(void *arg, void *ptr)
{
	warren_retire(((struct wg_device *)arg)->ctx, ptr, free);
}

static void trie_free(void *ptr)
{
	wg_allowedips_free(ptr);
}

int wg_netmap_init(struct wg_device *dev)
{
	dev->index = wg_index_new(NULL, table_retire, dev);
	atomic_store(&dev->allowed, wg_allowedips_new(table_retire, dev));
	return dev->index && atomic_load(&dev->allowed) ? 0 : -ENOMEM;
}

/* A trie of the whole map, in the map's order. */
static int build_trie(struct change *change)
{
	struct wg_device *dev = change->dev;
	struct wg_allowedips *trie = wg_allowedips_new(table_retire, dev), *old;
	uint32_t conflicts = 0;

	if (!trie)
		return -ENOMEM;
	wg_allowedips_begin(trie);
	for (uint32_t i = 0; i < change->map->n_peers; i++) {
		const struct warren_node *node = change->map->peers[i];
		struct wg_peer *peer = wg_peers_find(&dev->peers, node->key.bytes);

		if (!peer || peer->node_id != node->id)
			continue;
		if (insert_taken(change->map, trie, peer, node, &conflicts)) {
			wg_allowedips_free(trie);
			return -ENOMEM;
		}
	}
	wg_allowedips_commit(trie);
	if (conflicts && conflicts != dev->prefix_conflicts)
		warren_log_limit(
			dev->ctx, &dev->log_map, LOG_WARNING,
			"%u allowed IPs are claimed by two peers; the later one in the map has"
			" each. Give every prefix one owner",
			conflicts);
	dev->prefix_conflicts = conflicts;
	old = atomic_exchange_explicit(&dev->allowed, trie, memory_order_acq_rel);
	if (old)
		warren_retire(dev->ctx, old, trie_free);
	return 0;
}

/*
 * ---- One node ----
 */

/* The map's endpoints replace the path, unless it leads to one of them; with a writer: never. */
static void set_endpoint(struct wg_peer *peer, const struct warren_node *node)
{
	const struct wg_path *path = atomic_load_explicit(&peer->path, memory_order_relaxed);
	struct warren_data_path data = { .size = sizeof(data), .kind = WARREN_PATH_UDP };
	struct wg_path *made;

	if (peer->device->writer.ctx || !node->n_endpoints)
		return;
	for (uint32_t i = 0; path && i < node->n_endpoints; i++) {
		if (path->kind == WARREN_PATH_UDP &&
		    wg_addrport_equal(&path->to, &node->endpoints[i]))
			return;
	}
	data.address = node->endpoints[0];
	peer->endpoint_next = 0;
	peer->proved.addr.family = 0;
	made = wg_path_new(&data, peer->key);
	if (made)
		wg_peer_set_path(peer, made);
}

static int add_peer(struct change *change, const struct warren_node *node)
{
	struct wg_device *dev = change->dev;
	struct wg_peer *peer = wg_peers_add(&dev->peers, dev, node->key.bytes);

	if (!peer)
		return -ENOMEM;
	peer->node_id = node->id;
	set_endpoint(peer, node);
	wg_peer_settings(peer, node, change->now);
	return insert_prefixes(change, peer, node);
}

static int remove_peer(struct change *change, const struct warren_node *before)
{
	struct wg_device *dev = change->dev;
	struct wg_peer *peer = wg_peers_find(&dev->peers, before->key.bytes);

	/* Another node of the map may have the key by now: a node that was replaced. */
	if (!peer || peer->node_id != before->id)
		return 0;
	if (dev->prefix_conflicts && before->n_allowed_ips)
		change->rebuild = true;
	if (remove_prefixes(change, peer, before) < 0)
		return -ENOMEM;
	peer->node_id = 0;
	change->gone[change->n_gone++] = peer;
	return 0;
}

static int change_peer(struct change *change, struct wg_peer *peer,
		       const struct warren_node *before, const struct warren_node *after)
{
	if (!prefixes_equal(before->allowed_ips, before->n_allowed_ips, after->allowed_ips,
			    after->n_allowed_ips)) {
		if (change->dev->prefix_conflicts)
			change->rebuild = true;
		if (remove_prefixes(change, peer, before) < 0 ||
		    insert_prefixes(change, peer, after) < 0)
			return -ENOMEM;
	}
	/* Ways to the internet are in no list. */
	if (before->exit_v4 != after->exit_v4 || before->exit_v6 != after->exit_v6)
		change->rebuild = true;
	if (!addrports_equal(before->endpoints, before->n_endpoints, after->endpoints,
			     after->n_endpoints))
		set_endpoint(peer, after);
	/* Disco keys live as long as a process: it restarted, and has no session with us. */
	if (!is_zero(&before->disco_key) && memcmp(&before->disco_key, &after->disco_key,
						   sizeof(before->disco_key)) != 0)
		wg_peer_rekey(peer);
	wg_peer_settings(peer, after, change->now);
	return 0;
}

static bool keeps_key(const struct wg_device *dev, const struct warren_node *before,
		      const struct warren_node *after)
{
	return is_peer(dev, before) && is_peer(dev, after) &&
	       !memcmp(&before->key, &after->key, sizeof(before->key));
}

/* The same key under another id, in one change: the peer stays, with all its sessions. */
static int keep_peer(struct change *change, struct wg_peer *peer, const struct warren_node *node)
{
	for (uint32_t i = 0; i < change->n_gone; i++) {
		if (change->gone[i] == peer)
			change->gone[i] = change->gone[--change->n_gone];
	}
	peer->node_id = node->id;
	set_endpoint(peer, node);
	wg_peer_settings(peer, node, change->now);
	return insert_prefixes(change, peer, node);
}

/*
 * From @before to @after, in two passes over all nodes: either may be NULL, or a node that takes no
 * part. What goes is taken out first, so that a key can move from one node to another.
 */
typedef int step_fn(struct change *change, const struct warren_node *before,
		    const struct warren_node *after);

static int take_out(struct change *change, const struct warren_node *before,
		    const struct warren_node *after)
{
	if (!is_peer(change->dev, before) || keeps_key(change->dev, before, after))
		return 0;
	return remove_peer(change, before);
}

static int put_in(struct change *change, const struct warren_node *before,
		  const struct warren_node *after)
{
	struct wg_device *dev = change->dev;
	struct wg_peer *peer;

	if (!is_peer(dev, after))
		return 0;
	peer = wg_peers_find(&dev->peers, after->key.bytes);
	if (!peer)
		return add_peer(change, after);
	if (!peer->node_id)
		return keep_peer(change, peer, after);
	if (peer->node_id == after->id && keeps_key(dev, before, after))
		return change_peer(change, peer, before, after);
	warren_log_limit(dev->ctx, &dev->log_map, LOG_WARNING,
			 "the map has two nodes with the key of %s; the first one counts",
			 after->name ? after->name : "?");
	return 0;
}

/*
 * ---- A whole map ----
 */

static int each_change(struct change *change, step_fn *step)
{
	const struct warren_netmap *map = change->map;
	int r = 0;

	for (uint32_t i = 0; !r && i < map->n_changes; i++)
		r = step(change, map->changes[i].before, map->changes[i].after);
	return r;
}

static int each_difference(struct change *change, step_fn *step)
{
	const struct warren_netmap *map = change->map, *old = change->dev->map;
	int r = 0;

	for (uint32_t i = 0; !r && old && i < old->n_peers; i++) {
		if (!warren_netmap_peer(map, old->peers[i]->id))
			r = step(change, old->peers[i], NULL);
	}
	for (uint32_t i = 0; !r && i < map->n_peers; i++) {
		const struct warren_node *before = warren_netmap_peer(old, map->peers[i]->id);

		if (before != map->peers[i])
			r = step(change, before, map->peers[i]);
	}
	return r;
}

int wg_netmap_apply(struct wg_device *dev, const struct warren_netmap *map)
{
	struct change change = {
		.dev = dev,
		.map = map,
		.now = warren_now(),
		.trie = atomic_load_explicit(&dev->allowed, memory_order_relaxed),
	};
	const struct warren_netmap *old = dev->map;
	int (*each)(struct change *change, step_fn *step);
	int r;

	change.gone = calloc(dev->peers.count + 1, sizeof(*change.gone));
	if (!change.gone)
		return -ENOMEM;
	change.rebuild = old && (old->addresses_only != map->addresses_only ||
				 old->exit_chosen != map->exit_chosen ||
				 old->exit_node != map->exit_node);
	wg_allowedips_begin(change.trie);
	each = warren_netmap_follows(map, dev->map) ? each_change : each_difference;
	r = each(&change, take_out);
	if (!r)
		r = each(&change, put_in);
	if (r < 0)
		wg_allowedips_abort(change.trie);
	else if (!change.rebuild)
		wg_allowedips_commit(change.trie);
	else {
		wg_allowedips_abort(change.trie);
		r = build_trie(&change);
	}
	for (uint32_t i = 0; !r && i < change.n_gone; i++)
		wg_peer_remove(change.gone[i]);
	free(change.gone);
	if (r < 0)
		return r;
	dev->map = warren_obj_ref(map);
	warren_obj_unref(old);
	r = wg_verdict_builtin(dev, map->builtin_policy == WARREN_POLICY_ALLOWED_IPS);
	if (dev->keepalive_asleep)
		wg_device_wake_keepalive(dev);
	return r;
}

void wg_netmap_restore_endpoints(struct wg_device *dev)
{
	struct wg_peer *peer;

	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));) {
		const struct warren_node *node = warren_netmap_peer(dev->map, peer->node_id);

		wg_peer_set_path(peer, NULL);
		if (node)
			set_endpoint(peer, node);
	}
}

void wg_netmap_fini(struct wg_device *dev)
{
	warren_obj_unref(dev->map);
	dev->map = NULL;
}
