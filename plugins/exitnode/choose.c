/*
 * Whose way to the internet is used.
 *
 * A name is what `warren status` shows, with or without its domain. Of several ways `auto` takes
 * the nearest that lives: that in our own relay region, else that whose region is the least far
 * on the globe. It stays with the one it has while that lives, so that addresses do not change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/str.h"
#include "exitnode.h"

static const int64_t farthest = INT64_MAX;

bool exitnode_is_auto(const char *use)
{
	return strcmp(use, "auto") == 0 || strcmp(use, "auto:any") == 0;
}

const char *exitnode_found_name(enum exitnode_found found)
{
	static const char *const names[] = { "unused", "waiting", "unknown", "ambiguous", "self",
					     "not-offered", "nobody", "offline", "used" };

	return names[found];
}

bool exitnode_is_away(const struct warren_node *node)
{
	return node->expired || node->dormant || node->online == WARREN_TRI_NO;
}

void exitnode_name(const struct warren_node *node, char *out, size_t size)
{
	const char *name = node->name ? node->name : node->stable_id ? node->stable_id : "";
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	snprintf(out, size, "%.*s", (int)len, name);
}

/*
 * ---- By name ----
 */

static bool has_address(const struct warren_node *node, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		if (addr_equal(&node->addresses[i].addr, addr))
			return true;
	}
	return false;
}

/* Of @name its first label, or all of it: "gw", "gw.tail.example.com", the same with a dot. */
static bool has_name(const struct warren_node *node, const char *name, bool whole)
{
	const char *own = node->name ? node->name : "";
	size_t len = strlen(name), own_len = whole ? strlen(own) : strcspn(own, ".");

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (whole && own_len > 0 && own[own_len - 1] == '.')
		own_len--;
	return len > 0 && len == own_len && strncasecmp(own, name, len) == 0;
}

/* What says more comes first; who has the address must not be outdone by a name. */
enum { BY_ADDRESS, BY_ID, BY_NAME, BY_LABEL, BY_NOTHING };

static int how_meant(const struct warren_node *node, const char *use,
		     const struct warren_addr *addr)
{
	if (addr->family != 0 && has_address(node, addr))
		return BY_ADDRESS;
	if (node->stable_id && strcmp(node->stable_id, use) == 0)
		return BY_ID;
	return has_name(node, use, true) ? BY_NAME :
	       has_name(node, use, false) ? BY_LABEL : BY_NOTHING;
}

static const struct warren_node *by_words(const struct warren_netmap *map, const char *use,
					  enum exitnode_found *found)
{
	const struct warren_node *node = NULL;
	struct warren_addr addr;
	uint32_t n = 0;
	int best;

	if (addr_parse(use, &addr))
		addr.family = 0;
	best = how_meant(map->self, use, &addr);
	for (uint32_t i = 0; i < map->n_peers; i++) {
		int how = how_meant(map->peers[i], use, &addr);

		/* This node itself comes before peers that are meant in no better way. */
		if (how > best || how == BY_NOTHING || (how == best && n == 0))
			continue;
		n = how < best ? 1 : n + 1;
		best = how;
		node = map->peers[i];
	}
	*found = n > 1 ? EXITNODE_AMBIGUOUS : n == 1 ? EXITNODE_USED :
		 best != BY_NOTHING ? EXITNODE_SELF : EXITNODE_UNKNOWN;
	return n == 1 ? node : NULL;
}

/*
 * ---- By distance ----
 */

void exitnode_avoid(struct exitnode_avoid *avoid, int64_t id, uint64_t until)
{
	size_t at = 0;

	for (size_t i = 0; i < EXITNODE_AVOIDED; i++) {
		if (avoid->list[i].id == id) {
			at = i;
			break;
		}
		if (avoid->list[i].until < avoid->list[at].until)
			at = i;
	}
	avoid->list[at].id = id;
	avoid->list[at].until = until;
}

static bool is_avoided(const struct exitnode_wish *wish, const struct warren_node *node)
{
	for (size_t i = 0; wish->avoid && i < EXITNODE_AVOIDED; i++) {
		if (wish->avoid->list[i].id == node->id && wish->avoid->list[i].until > wish->now)
			return true;
	}
	return false;
}

static bool has_cap(const struct warren_node *node, const char *name)
{
	for (uint32_t i = 0; i < node->n_caps; i++) {
		if (strcmp(node->caps[i].name, name) == 0)
			return true;
	}
	return false;
}

static const struct warren_relay_region *region_of(const struct warren_netmap *map, uint32_t id)
{
	for (uint32_t i = 0; id && i < map->n_regions; i++) {
		if (map->regions[i].id == id)
			return &map->regions[i];
	}
	return NULL;
}

/* Only to be compared: squares of degrees, which at these distances is order enough. */
static int64_t apart(int64_t lat_a, int64_t lon_a, int64_t lat_b, int64_t lon_b)
{
	int64_t lat = lat_a - lat_b, lon = llabs(lon_a - lon_b);

	if (lon > 1800000)
		lon = 3600000 - lon;
	return lat * lat + lon * lon;
}

static int64_t distance(const struct warren_netmap *map, const struct exitnode_wish *wish,
			const struct warren_node *node)
{
	const struct warren_relay_region *home = region_of(map, wish->home);
	const struct warren_relay_region *theirs = region_of(map, node->home_region);

	if (wish->home && wish->home == node->home_region)
		return 0;
	if (!home || (home->latitude_e4 == 0 && home->longitude_e4 == 0))
		return farthest;
	if (node->location)
		return 1 + apart(home->latitude_e4, home->longitude_e4,
				 node->location->latitude_e4, node->location->longitude_e4);
	if (!theirs || (theirs->latitude_e4 == 0 && theirs->longitude_e4 == 0))
		return farthest;
	return 1 + apart(home->latitude_e4, home->longitude_e4, theirs->latitude_e4,
			 theirs->longitude_e4);
}

static bool lives(const struct warren_node *node)
{
	return warren_netmap_is_exit(node) && !exitnode_is_away(node);
}

bool exitnode_any_suggested(const struct warren_netmap *map)
{
	for (uint32_t i = 0; i < map->n_peers; i++) {
		if (lives(map->peers[i]) && has_cap(map->peers[i], "suggest-exit-node"))
			return true;
	}
	return false;
}

const struct warren_node *exitnode_nearest(const struct warren_netmap *map,
					   const struct exitnode_wish *wish)
{
	const struct warren_node *best = NULL;
	bool suggested = exitnode_any_suggested(map), best_avoided = false;
	int64_t best_distance = 0;

	for (uint32_t i = 0; i < map->n_peers; i++) {
		const struct warren_node *node = map->peers[i];
		bool avoided = is_avoided(wish, node);
		int64_t away;

		if (!lives(node) || (suggested && !has_cap(node, "suggest-exit-node")))
			continue;
		if (node->id == wish->before && !avoided)
			return node;
		away = distance(map, wish, node);
		/* One that did not answer is better than none. */
		if (best && (avoided != best_avoided ? avoided : away >= best_distance))
			continue;
		best = node;
		best_avoided = avoided;
		best_distance = away;
	}
	return best;
}

/*
 * ---- Both ----
 */

const struct warren_node *exitnode_find(const struct warren_netmap *map,
					const struct exitnode_wish *wish,
					enum exitnode_found *found)
{
	const struct warren_node *node;

	*found = EXITNODE_UNUSED;
	if (!wish->use[0])
		return NULL;
	*found = EXITNODE_NO_MAP;
	if (!map || !map->self)
		return NULL;
	if (exitnode_is_auto(wish->use)) {
		node = exitnode_nearest(map, wish);
		*found = node ? EXITNODE_USED : EXITNODE_NOBODY;
		return node;
	}
	node = by_words(map, wish->use, found);
	if (!node)
		return NULL;
	if (!warren_netmap_is_exit(node)) {
		*found = EXITNODE_NOT_OFFERED;
		return NULL;
	}
	if (exitnode_is_away(node))
		*found = EXITNODE_OFFLINE;
	return node;
}

void exitnode_refusal(enum exitnode_found found, const char *use, char *out, size_t size)
{
	out[0] = '\0';
	switch (found) {
	case EXITNODE_UNKNOWN:
		snprintf(out, size, "invalid value \"%s\" for --exit-node; must be IP or peer "
			 "hostname", use);
		break;
	case EXITNODE_AMBIGUOUS:
		snprintf(out, size, "ambiguous exit node name \"%s\"", use);
		break;
	case EXITNODE_SELF:
		snprintf(out, size, "cannot use %s as an exit node as it is a local IP address to "
			 "this machine; did you mean --advertise-exit-node?", use);
		break;
	case EXITNODE_NOT_OFFERED:
		snprintf(out, size, "node \"%s\" is not advertising an exit node", use);
		break;
	case EXITNODE_UNUSED:
	case EXITNODE_NO_MAP:
	case EXITNODE_NOBODY:
	case EXITNODE_OFFLINE:
	case EXITNODE_USED:
		break;
	}
}
