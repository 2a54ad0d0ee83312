/*
 * Records: nodes as the network map has them.
 *
 * A record is one block: the node, then the lists that it points to. It never changes once it is in
 * a set, so that snapshots can share it; a change makes a new record, and one that turns out equal
 * to the old is thrown away for it.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/util.h"
#include "static.h"

/*
 * ---- Records ----
 */

struct record_size {
	size_t name;
	uint32_t addresses, allowed, endpoints, networks;
};

/* A record with room for lists of these sizes, which are zero. */
static struct static_record *record_new(const struct record_size *size)
{
	size_t ports = size->endpoints * sizeof(struct warren_addrport);
	size_t prefixes = ((size_t)size->addresses + size->allowed + size->networks) *
			  sizeof(struct warren_prefix);
	size_t total = sizeof(struct static_record) + ports + prefixes + size->name + 1;
	struct static_record *record = calloc(1, total);
	struct warren_prefix *at;

	if (!record)
		return NULL;
	atomic_init(&record->refs, 1);
	record->node.endpoints = (struct warren_addrport *)(record + 1);
	at = (struct warren_prefix *)((char *)(record + 1) + ports);
	record->node.addresses = at;
	record->node.allowed_ips = at + size->addresses;
	record->networks = at + size->addresses + size->allowed;
	record->node.name = (char *)(at + size->addresses + size->allowed + size->networks);
	return record;
}

struct static_record *static_record_ref(struct static_record *record)
{
	atomic_fetch_add(&record->refs, 1);
	return record;
}

void static_record_unref(struct static_record *record)
{
	if (!record || atomic_fetch_sub(&record->refs, 1) != 1)
		return;
	sodium_memzero(&record->psk, sizeof(record->psk));
	free(record);
}

struct static_record *static_record_of(const struct warren_node *node)
{
	return CONTAINER_OF((struct warren_node *)(uintptr_t)node, struct static_record, node);
}

/* The lists of a record are constant to all but the function that fills it. */
static void list_add(const struct warren_prefix *list, uint32_t *n,
		     const struct warren_prefix *prefix)
{
	((struct warren_prefix *)(uintptr_t)list)[(*n)++] = *prefix;
}

uint32_t static_record_diff(const struct static_record *ra, const struct static_record *rb)
{
	const struct warren_node *a = &ra->node, *b = &rb->node;
	uint32_t fields = 0;

	if (memcmp(&a->key, &b->key, sizeof(a->key)))
		fields |= WARREN_NODE_KEY;
	if (!prefixes_equal(a->allowed_ips, a->n_allowed_ips, b->allowed_ips, b->n_allowed_ips))
		fields |= WARREN_NODE_ALLOWED_IPS;
	if (!addrports_equal(a->endpoints, a->n_endpoints, b->endpoints, b->n_endpoints))
		fields |= WARREN_NODE_ENDPOINTS;
	if (!a->psk != !b->psk || sodium_memcmp(&ra->psk, &rb->psk, sizeof(ra->psk)) ||
	    a->keepalive != b->keepalive)
		fields |= WARREN_NODE_PSK;
	if (a->id != b->id || a->exit_v4 != b->exit_v4 || a->exit_v6 != b->exit_v6 ||
	    !str_equal(a->name, b->name) ||
	    !prefixes_equal(a->addresses, a->n_addresses, b->addresses, b->n_addresses) ||
	    !prefixes_equal(ra->networks, ra->n_networks, rb->networks, rb->n_networks))
		fields |= WARREN_NODE_OTHER;
	return fields;
}

/* Takes @made; returns the one to use: @before if they are equal, with a reference. */
static struct static_record *record_share(struct static_record *made, struct static_record *before)
{
	if (!made || !before || static_record_diff(made, before))
		return made;
	static_record_unref(made);
	return static_record_ref(before);
}

/*
 * ---- Self ----
 */

/* Host prefixes of one family, IPv4 first in the lists of the map. */
static void add_addresses(struct static_record *record, const struct static_plan *plan)
{
	for (uint8_t family = 4; family <= 6; family += 2) {
		for (uint32_t i = 0; i < plan->n_addresses; i++) {
			struct warren_prefix host = prefix_of_host(&plan->addresses[i].addr);

			if (host.addr.family == family)
				list_add(record->node.addresses, &record->node.n_addresses, &host);
		}
	}
}

static bool list_has(const struct warren_prefix *list, uint32_t n,
		     const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < n; i++) {
		if (prefix_equal(&list[i], prefix))
			return true;
	}
	return false;
}

/*
 * What services of this host are asked at, like `dns`, whatever the numbering is: it is led into
 * the tunnel as with a control server, else questions would leave by the host's own routes.
 */
static void add_services(struct static_record *self)
{
	static const char *const services[2] = { "100.100.100.100/32", "fd7a:115c:a1e0::53/128" };
	struct warren_prefix service;

	for (int six = 0; six < 2; six++) {
		bool any = false, held = prefix_parse(services[six], &service) != 0;

		for (uint32_t i = 0; i < self->node.n_addresses; i++)
			any |= self->node.addresses[i].addr.family == service.addr.family;
		for (uint32_t i = 0; i < self->n_networks; i++)
			held |= prefix_contains(&self->networks[i], &service.addr);
		if (any && !held)
			list_add(self->networks, &self->n_networks, &service);
	}
}

static struct static_record *self_new(const struct static_plan *plan, const uint8_t own_key[32])
{
	struct record_size size = {
		.addresses = plan->n_addresses,
		.allowed = plan->n_addresses + (plan->policy ? plan->policy->n_served : 0),
		.networks = plan->n_addresses + 2,
	};
	struct static_record *self = record_new(&size);

	if (!self)
		return NULL;
	self->node.id = 1;
	self->node.name = NULL;
	memcpy(self->node.key.bytes, own_key, 32);
	add_addresses(self, plan);
	for (uint32_t i = 0; i < self->node.n_addresses; i++)
		list_add(self->node.allowed_ips, &self->node.n_allowed_ips,
			 &self->node.addresses[i]);
	for (uint32_t i = 0; plan->policy && i < plan->policy->n_served; i++) {
		if (!list_has(self->node.addresses, self->node.n_addresses,
			      &plan->policy->served[i]))
			list_add(self->node.allowed_ips, &self->node.n_allowed_ips,
				 &plan->policy->served[i]);
	}
	for (uint32_t i = 0; i < plan->n_addresses; i++) {
		struct warren_prefix network = plan->addresses[i];

		prefix_mask(&network);
		if (network.bits < 8 * addr_size(&network.addr) &&
		    !list_has(self->networks, self->n_networks, &network))
			list_add(self->networks, &self->n_networks, &network);
	}
	add_services(self);
	return self;
}

static struct static_record *self_copy(const struct static_record *from)
{
	struct record_size size = { 0, from->node.n_addresses, from->node.n_allowed_ips, 0,
				    from->n_networks };
	struct static_record *self = record_new(&size);

	if (!self)
		return NULL;
	self->node.id = from->node.id;
	self->node.name = NULL;
	self->node.key = from->node.key;
	for (uint32_t i = 0; i < from->node.n_addresses; i++)
		list_add(self->node.addresses, &self->node.n_addresses, &from->node.addresses[i]);
	for (uint32_t i = 0; i < from->node.n_allowed_ips; i++)
		list_add(self->node.allowed_ips, &self->node.n_allowed_ips,
			 &from->node.allowed_ips[i]);
	for (uint32_t i = 0; i < from->n_networks; i++)
		list_add(self->networks, &self->n_networks, &from->networks[i]);
	return self;
}

int static_set_rekey(struct static_set *set, const uint8_t own_key[32])
{
	struct static_record *self = self_copy(set->self);

	if (!self)
		return -ENOMEM;
	memcpy(self->node.key.bytes, own_key, 32);
	self = record_share(self, set->self);
	static_record_unref(set->self);
	set->self = self;
	return 0;
}

/*
 * ---- Peers ----
 */

static void peer_free(struct static_peer *peer)
{
	if (!peer)
		return;
	static_record_unref(peer->record);
	free(peer);
}

/* A record with the same lists and strings, but for its endpoints, which have room for @n. */
static struct static_record *peer_record(const struct warren_node *like,
					 const struct warren_key32 *psk,
					 const struct warren_addr *addrs, uint32_t n, uint16_t port)
{
	struct record_size size = { strlen(like->name), 0, like->n_allowed_ips, n, 0 };
	struct static_record *record;
	struct warren_addrport *endpoints;
	size_t full;

	for (uint32_t i = 0; i < like->n_allowed_ips; i++) {
		full = 8 * addr_size(&like->allowed_ips[i].addr);
		size.addresses += like->allowed_ips[i].bits == full;
	}
	record = record_new(&size);
	if (!record)
		return NULL;
	record->node.id = like->id;
	record->node.key = like->key;
	record->node.keepalive = like->keepalive;
	record->node.exit_v4 = like->exit_v4;
	record->node.exit_v6 = like->exit_v6;
	memcpy((char *)(uintptr_t)record->node.name, like->name, size.name);
	if (psk) {
		record->psk = *psk;
		record->node.psk = &record->psk;
	}
	for (uint8_t family = 4; family <= 6; family += 2) {
		for (uint32_t i = 0; i < like->n_allowed_ips; i++) {
			full = 8 * addr_size(&like->allowed_ips[i].addr);
			if (like->allowed_ips[i].addr.family == family &&
			    like->allowed_ips[i].bits == full)
				list_add(record->node.addresses, &record->node.n_addresses,
					 &like->allowed_ips[i]);
		}
	}
	for (uint32_t i = 0; i < like->n_allowed_ips; i++)
		list_add(record->node.allowed_ips, &record->node.n_allowed_ips,
			 &like->allowed_ips[i]);
	endpoints = (struct warren_addrport *)(uintptr_t)record->node.endpoints;
	for (uint32_t i = 0; i < n; i++) {
		endpoints[i].addr = addrs[i];
		endpoints[i].port = port;
	}
	record->node.n_endpoints = n;
	return record;
}

/* Lookups that were made for the same name stay good. */
static void peer_host(struct static_peer *peer, const struct static_endpoint *endpoint,
		      const struct static_peer *before)
{
	if (endpoint->literal) {
		peer->host.addrs[0] = endpoint->addr;
		peer->host.n_addrs = 1;
	} else if (endpoint->given && before && !strcmp(before->host.name, endpoint->host)) {
		peer->host = before->host;
		peer->host.busy = false;
	} else if (endpoint->given) {
		memcpy(peer->host.name, endpoint->host, sizeof(peer->host.name));
	}
	peer->host.port = endpoint->port;
}

static struct static_peer *peer_new(const struct static_peer_plan *plan, int64_t id,
				    const struct static_peer *before)
{
	struct static_peer *peer = calloc(1, sizeof(*peer));
	struct warren_node like = {
		.id = id,
		.name = plan->name,
		.key = plan->key,
		.allowed_ips = plan->allowed,
		.n_allowed_ips = plan->n_allowed,
		.keepalive = plan->keepalive,
		.exit_v4 = plan->exit_node,
		.exit_v6 = plan->exit_node,
	};

	if (!peer)
		return NULL;
	peer_host(peer, &plan->endpoint, before);
	peer->record = peer_record(&like, plan->has_psk ? &plan->psk : NULL, peer->host.addrs,
				   peer->host.n_addrs, peer->host.port);
	peer->record = record_share(peer->record, before ? before->record : NULL);
	if (!peer->record) {
		peer_free(peer);
		return NULL;
	}
	return peer;
}

int static_peer_resolved(struct static_peer *peer, const struct warren_addr *addrs, uint32_t n)
{
	struct static_host *host = &peer->host;
	struct static_record *old = peer->record, *record;

	host->n_addrs = n < STATIC_ADDRS_MAX ? n : STATIC_ADDRS_MAX;
	memcpy(host->addrs, addrs, host->n_addrs * sizeof(*addrs));
	record = peer_record(&old->node, old->node.psk, host->addrs, host->n_addrs, host->port);
	if (!record)
		return -ENOMEM;
	peer->record = record_share(record, old);
	static_record_unref(old);
	return peer->record != old;
}

/*
 * ---- Sets ----
 */

static int by_id(const void *a, const void *b)
{
	int64_t x = (*(struct static_peer *const *)a)->record->node.id;
	int64_t y = (*(struct static_peer *const *)b)->record->node.id;

	return (x > y) - (x < y);
}

struct index {				/* of a set: who had this key, this name */
	struct hash keys, names;
	bool failed;
};

static void index_make(struct index *index, const struct static_set *set)
{
	hash_init(&index->keys);
	hash_init(&index->names);
	index->failed = false;
	for (uint32_t i = 0; set && i < set->n_peers; i++) {
		struct static_peer *peer = set->peers[i];

		if (hash_put(&index->keys, peer->record->node.key.bytes, 32, peer, NULL) ||
		    hash_put_str(&index->names, peer->record->node.name, peer, NULL))
			index->failed = true;
	}
}

/* Takes the peer out, so that nobody else inherits its id. */
static struct static_peer *index_take(struct index *index, struct static_peer *peer)
{
	if (!peer)
		return NULL;
	hash_del(&index->keys, peer->record->node.key.bytes, 32);
	hash_del_str(&index->names, peer->record->node.name);
	return peer;
}

/*
 * Who is who: the same key is the same peer, even under another name; of the rest, the same name is
 * the same peer with another key.
 */
static int set_fill(struct static_set *set, const struct static_plan *plan, struct index *index)
{
	for (uint32_t i = 0; i < plan->n_peers; i++) {
		struct static_peer *before = hash_get(&index->keys, plan->peers[i].key.bytes, 32);

		if (!before)
			continue;
		index_take(index, before);
		set->peers[i] = peer_new(&plan->peers[i], before->record->node.id, before);
		if (!set->peers[i])
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < plan->n_peers; i++) {
		struct static_peer *before;

		if (set->peers[i])
			continue;
		before = index_take(index, hash_get_str(&index->names, plan->peers[i].name));
		set->peers[i] = peer_new(&plan->peers[i],
					 before ? before->record->node.id : set->next_id++, before);
		if (!set->peers[i])
			return -ENOMEM;
	}
	return 0;
}

struct static_set *static_set_new(const struct static_plan *plan, const uint8_t own_key[32],
				  const struct static_set *before)
{
	struct static_set *set = calloc(1, sizeof(*set));
	struct index index;
	int result;

	if (!set)
		return NULL;
	set->next_id = before ? before->next_id : 2;
	set->peers = calloc(plan->n_peers ? plan->n_peers : 1, sizeof(struct static_peer *));
	set->n_peers = set->peers ? plan->n_peers : 0;
	set->self = record_share(self_new(plan, own_key), before ? before->self : NULL);
	if (plan->policy)
		set->policy = static_policy_ref(before && static_policy_equal(before->policy,
									      plan->policy)
						? before->policy : plan->policy);
	index_make(&index, before);
	result = !set->peers || !set->self || index.failed ? -ENOMEM : set_fill(set, plan, &index);
	hash_free(&index.keys);
	hash_free(&index.names);
	if (result) {
		static_set_free(set);
		return NULL;
	}
	qsort(set->peers, set->n_peers, sizeof(struct static_peer *), by_id);
	return set;
}

void static_set_free(struct static_set *set)
{
	if (!set)
		return;
	for (uint32_t i = 0; i < set->n_peers; i++)
		peer_free(set->peers[i]);
	static_record_unref(set->self);
	static_policy_unref(set->policy);
	free(set->peers);
	free(set);
}
