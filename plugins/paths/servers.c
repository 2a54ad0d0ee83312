/*
 * Which peers may relay for us (path-protocols.md 8.1): those to whom the packet filter grants it
 * towards this node. And the keys of relays with which handshakes are under way.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "paths.h"

#define RELAY_TARGET "tailscale.com/cap/relay-target"

/*
 * ---- Candidates ----
 */

static bool has_cap(const struct warren_cap *caps, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(caps[i].name, name) == 0)
			return true;
	return false;
}

static bool is_server(const struct warren_netmap *map, const struct warren_filter_rule *rule,
		      const struct warren_node *node)
{
	if (node->cap_version < PATHS_RELAY_CAPABLE || node->unsigned_peerapi_only ||
	    node->dormant || sodium_is_zero(node->disco_key.bytes, 32) || !node->home_region)
		return false;
	for (uint32_t i = 0; i < rule->n_grants; i++)
		if (has_cap(rule->grants[i].caps, rule->grants[i].n_caps, RELAY_TARGET) &&
		    warren_netmap_granted(map, rule, &rule->grants[i], node))
			return true;
	return false;
}

static void add_server(struct paths_servers *servers, const struct warren_node *node)
{
	struct paths_server *s = &servers->list[servers->n];

	for (uint32_t i = 0; i < servers->n; i++)
		if (memcmp(servers->list[i].key, node->key.bytes, sizeof(s->key)) == 0)
			return;
	memcpy(s->key, node->key.bytes, sizeof(s->key));
	memcpy(s->disco, node->disco_key.bytes, sizeof(s->disco));
	s->region = node->home_region;
	servers->n++;
}

static bool grants_relays(const struct warren_filter_rule *rule)
{
	for (uint32_t i = 0; i < rule->n_grants; i++)
		if (has_cap(rule->grants[i].caps, rule->grants[i].n_caps, RELAY_TARGET))
			return true;
	return false;
}

void paths_servers_see(struct paths *p, const struct warren_netmap *map)
{
	const uint32_t news = WARREN_NETMAP_SELF | WARREN_NETMAP_PEERS | WARREN_NETMAP_FILTER;
	const struct warren_node *self = map->self;

	if (map->previous && !(map->changed & news))
		return;
	p->servers.n = 0;
	p->no_peer_relays = self && has_cap(self->caps, self->n_caps, "disable-relay-client");
	if (!self || p->no_peer_relays)
		return;
	for (uint32_t r = 0; r < map->n_filter; r++) {
		if (!grants_relays(&map->filter[r]))
			continue;
		for (uint32_t i = 0; i < map->n_peers && p->servers.n < PATHS_PEER_RELAYS; i++)
			if (is_server(map, &map->filter[r], map->peers[i]))
				add_server(&p->servers, map->peers[i]);
	}
}

/*
 * ---- Those that are awaited ----
 */

struct paths_expected *paths_expected(const struct paths *p, const uint8_t server[32])
{
	return hash_get(&p->expected, server, 32);
}

static struct paths_expected *expected_new(struct paths *p, const uint8_t server[32])
{
	static const uint8_t zero[16];
	struct paths_expected *relay = calloc(1, sizeof(*relay));
	uint8_t secret[32];

	if (!relay)
		return NULL;
	memcpy(relay->server, server, sizeof(relay->server));
	if (p->identity->dh(p->identity_self, WARREN_KEY_DISCO, server, secret) < 0 ||
	    hash_put(&p->expected, relay->server, 32, relay, NULL) < 0) {
		free(relay);
		return NULL;
	}
	crypto_core_hsalsa20(relay->shared, zero, secret, NULL);
	sodium_memzero(secret, sizeof(secret));
	return relay;
}

int paths_expect(struct paths *p, const uint8_t server[32], bool on)
{
	struct paths_expected *relay = paths_expected(p, server);

	if (on && !relay)
		relay = expected_new(p, server);
	if (!relay)
		return -ENOKEY;
	relay->handshakes += on ? 1 : -1;
	if (relay->handshakes)
		return 0;
	hash_del(&p->expected, relay->server, 32);
	sodium_memzero(relay, sizeof(*relay));
	free(relay);
	return 0;
}
