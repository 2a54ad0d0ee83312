/*
 * Who may send to whom: by the server's capabilities, and by what the operator says.
 */
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "taildrop.h"

static const char sharing[] = "https://tailscale.com/cap/file-sharing";
static const char may_send[] = "https://tailscale.com/cap/file-send";
static const char may_target[] = "https://tailscale.com/cap/file-sharing-target";

static bool has_cap(const struct warren_cap *caps, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(caps[i].name, name) == 0)
			return true;
	}
	return false;
}

/* What the packet filter grants @from towards us. */
static bool peer_has_cap(const struct warren_netmap *map, const struct warren_node *from,
			 const char *name)
{
	for (uint32_t i = 0; i < map->n_filter; i++) {
		const struct warren_filter_rule *rule = &map->filter[i];

		for (uint32_t k = 0; k < rule->n_grants; k++) {
			if (has_cap(rule->grants[k].caps, rule->grants[k].n_caps, name) &&
			    warren_netmap_granted(map, rule, &rule->grants[k], from))
				return true;
		}
	}
	return false;
}

/* All tagged nodes carry one user, so tags count. */
static bool is_same_user(const struct warren_netmap *map, const struct warren_node *node)
{
	return node->n_tags == 0 && map->self->n_tags == 0 && node->user == map->self->user;
}

static bool has_name(const struct warren_node *node, const char *name)
{
	const char *full = node->name ? node->name : "";
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	return len > 0 && strncasecmp(full, name, len) == 0 &&
	       (full[len] == '\0' || full[len] == '.');
}

static bool has_address(const struct warren_node *node, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (addr_equal(&node->addresses[i].addr, addr))
			return true;
	}
	return false;
}

/* A name or address of @node, a tag of it, or the login of its user. */
static bool is_called(const struct warren_netmap *map, const struct warren_node *node,
		      const char *word)
{
	struct warren_addr addr;

	for (uint32_t i = 0; i < node->n_tags; i++) {
		if (strcmp(node->tags[i], word) == 0)
			return true;
	}
	for (uint32_t i = 0; node->n_tags == 0 && i < map->n_users; i++) {
		if (map->users[i].id == node->user && map->users[i].login &&
		    strcasecmp(map->users[i].login, word) == 0)
			return true;
	}
	return addr_parse(word, &addr) == 0 ? has_address(node, &addr) : has_name(node, word);
}

bool drop_may_send(const struct taildrop *td, const struct warren_netmap *map,
		   const struct warren_node *from)
{
	uint32_t n = warren_conf_count(td->conf, "accept-from");
	bool listed = n == 0;

	if (!has_cap(map->self->caps, map->self->n_caps, sharing) ||
	    from->unsigned_peerapi_only || !drop_id_ok(from->stable_id) ||
	    (!is_same_user(map, from) && !peer_has_cap(map, from, may_send)))
		return false;
	for (uint32_t i = 0; i < n && !listed; i++)
		listed = is_called(map, from,
				   warren_conf_str(warren_conf_at(td->conf, "accept-from", i),
						   NULL));
	return listed;
}

const char *drop_not_a_target(const struct taildrop *td, const struct warren_netmap *map,
			      const struct warren_node *node)
{
	struct warren_addrport at;

	if (!has_cap(map->self->caps, map->self->n_caps, sharing))
		return "missing required Taildrop capability";
	if (node->os && strcmp(node->os, "tvOS") == 0)
		return "target's OS does not support Taildrop";
	if (!is_same_user(map, node) && !peer_has_cap(map, node, may_target))
		return "peer is owned by a different user";
	if (!td->peerapi->base(td->peerapi_self, node, &at))
		return "target is not advertising a file sharing API";
	return NULL;
}

const struct warren_node *drop_find(const struct warren_netmap *map, const char *name, bool *self)
{
	struct warren_addr addr;
	bool by_addr = addr_parse(name, &addr) == 0;

	*self = by_addr ? has_address(map->self, &addr) : has_name(map->self, name);
	for (uint32_t i = 0; !*self && i < map->n_peers; i++) {
		if (by_addr ? has_address(map->peers[i], &addr) : has_name(map->peers[i], name))
			return map->peers[i];
	}
	return NULL;
}
