/*
 * Network maps of test nodes: snapshots with deep copies and a list of changes.
 */
#include <string.h>

#include "net_impl.h"

struct net_map {
	struct warren_node **nodes;
	uint32_t count;
	bool addresses_only;
	int64_t exit_node;
};

struct snapshot {
	struct warren_netmap map;
	struct warren_node **nodes;
	struct warren_netmap_change *changes;
	const struct warren_netmap *previous; /* `before` of the changes points into it */
};

struct net_map *net_map_new(void)
{
	struct net_map *map = calloc(1, sizeof(*map));

	REQUIRE(map);
	REQUIRE(map);
	map->nodes = calloc(NET_PEERS, sizeof(*map->nodes));
	REQUIRE(map->nodes);
	return map;
}

void net_map_addresses_only(struct net_map *map)
{
	map->addresses_only = true;
}

void net_map_exit(struct net_map *map, int64_t id)
{
	map->exit_node = id;
}

static void *copy(const void *data, size_t size)
{
	void *made = malloc(size ? size : 1);

	REQUIRE(made);
	return size ? memcpy(made, data, size) : made;
}

static void node_free(struct warren_node *node)
{
	free((void *)node->addresses);
	free((void *)node->allowed_ips);
	free((void *)node->endpoints);
	free((void *)node->psk);
	free((void *)node->name);
	free(node);
}

void net_map_add(struct net_map *map, const struct warren_node *node)
{
	struct warren_node *made = copy(node, sizeof(*node));

	made->addresses = copy(node->addresses, node->n_addresses * sizeof(*node->addresses));
	made->allowed_ips = copy(node->allowed_ips,
				 node->n_allowed_ips * sizeof(*node->allowed_ips));
	made->endpoints = copy(node->endpoints, node->n_endpoints * sizeof(*node->endpoints));
	if (node->psk)
		made->psk = copy(node->psk, sizeof(*node->psk));
	if (node->name)
		made->name = strdup(node->name);
	REQUIRE(map->count < NET_PEERS);
	map->nodes[map->count++] = made;
}

static void snapshot_free(struct warren_obj *obj)
{
	struct snapshot *s = (struct snapshot *)obj;

	for (uint32_t i = 0; i < s->map.n_peers; i++)
		node_free(s->nodes[i]);
	free(s->nodes);
	free(s->changes);
	warren_obj_unref(s->previous);
	free(s);
}

static const struct warren_node *find(const struct warren_netmap *map, int64_t id)
{
	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		if (map->peers[i]->id == id)
			return map->peers[i];
	}
	return NULL;
}

static int by_id(const void *a, const void *b)
{
	int64_t x = (*(struct warren_node *const *)a)->id,
		y = (*(struct warren_node *const *)b)->id;

	return (x > y) - (x < y);
}

/* Every node counts as modified: what did not change is for the consumer to see. */
static void list_changes(struct snapshot *s, const struct warren_netmap *old)
{
	uint32_t n = 0;

	s->changes = calloc(s->map.n_peers + (old ? old->n_peers : 0) + 1, sizeof(*s->changes));
	REQUIRE(s->changes);
	for (uint32_t i = 0; i < s->map.n_peers; i++) {
		const struct warren_node *before = find(old, s->nodes[i]->id);

		s->changes[n++] = (struct warren_netmap_change){
			.what = before ? WARREN_CHANGE_MODIFIED : WARREN_CHANGE_ADDED,
			.fields = before ? UINT32_MAX : 0,
			.before = before,
			.after = s->nodes[i],
		};
	}
	for (uint32_t i = 0; old && i < old->n_peers; i++) {
		if (!find(&s->map, old->peers[i]->id))
			s->changes[n++] = (struct warren_netmap_change){
				.what = WARREN_CHANGE_REMOVED,
				.before = old->peers[i],
			};
	}
	s->map.changes = s->changes;
	s->map.n_changes = n;
}

struct publish_call {
	struct net_map *map;
	uint32_t policy;
	bool gap;
};

static void publish_run(struct net_node *node, void *arg)
{
	static const struct warren_dns no_dns;
	struct publish_call *call = arg;
	struct snapshot *s = calloc(1, sizeof(*s));

	REQUIRE(s);
	qsort(call->map->nodes, call->map->count, sizeof(*call->map->nodes), by_id);
	s->nodes = call->map->nodes;
	warren_obj_init(&s->map.obj, sizeof(s->map), snapshot_free);
	s->map.peers = (const struct warren_node *const *)s->nodes;
	s->map.n_peers = call->map->count;
	s->map.builtin_policy = call->policy;
	s->map.dns = &no_dns;
	s->map.addresses_only = call->map->addresses_only;
	s->map.exit_chosen = call->map->exit_node != 0;
	s->map.exit_node = call->map->exit_node;
	s->map.changed = WARREN_NETMAP_ALL;
	node->serial += call->gap ? 2 : 1;
	s->map.serial = node->serial;
	s->map.previous = node->map ? node->serial - 1 : 0;
	s->previous = node->map ? warren_obj_ref(node->map) : NULL;
	list_changes(s, node->map);
	warren_obj_unref(node->map);
	node->map = warren_obj_ref(s);
	REQUIRE(warren_publish_take(node->fixture, "netmap", s) == 0);
	free(call->map);
}

static void nothing(struct net_node *node, void *arg)
{
	(void)node;
	(void)arg;
}

void net_publish_take(struct net_node *node, struct net_map *map, uint32_t policy, bool gap)
{
	struct publish_call call = { map, policy, gap };

	net_call(node, publish_run, &call);
	/* Events come after the publisher has returned, in order: a round later it is there. */
	net_call(node, nothing, NULL);
	net_call(node, nothing, NULL);
}

void net_peer_init(struct net_peer *peer, const struct net_node *of, uint8_t host, bool endpoint)
{
	memset(peer, 0, sizeof(*peer));
	peer->node.id = host;
	peer->node.name = of->name;
	memcpy(peer->node.key.bytes, of->public_key, 32);
	peer->allowed[0] = (struct warren_prefix){ { 4, { 10, 0, 0, host } }, 32 };
	peer->node.allowed_ips = peer->allowed;
	peer->node.n_allowed_ips = 1;
	peer->endpoint[0] = (struct warren_addrport){ { 4, { 127, 0, 0, 1 } }, of->port };
	peer->node.endpoints = peer->endpoint;
	peer->node.n_endpoints = endpoint;
}

static void know(struct net_node *node, const struct net_node *of, uint8_t host)
{
	struct net_map *map = net_map_new();
	struct net_peer peer;

	net_peer_init(&peer, of, host, true);
	net_map_add(map, &peer.node);
	net_publish_take(node, map, WARREN_POLICY_ALLOWED_IPS, false);
}

void net_join(struct net_node *a, struct net_node *b)
{
	know(a, b, 2);
	know(b, a, 1);
}
