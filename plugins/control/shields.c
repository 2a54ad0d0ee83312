/*
 * The map as consumers get it: what the server sent, with our own word on `shields-up`, on the
 * networks behind peers and on what this node leads to. The filter takes the first and the last
 * from the self node, where a server may or may not repeat what we said of ourselves; the
 * operator's word must hold whatever the server says: it approves of what we offer and adds
 * nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/util.h"
#include "session_impl.h"

struct shielded {
	struct warren_netmap map;
	struct warren_node self;
	struct warren_prefix *served;	/* its allowed IPs */
	const struct warren_netmap *inner;
};

static void shielded_free(struct warren_obj *obj)
{
	struct shielded *shielded = (struct shielded *)obj;

	warren_obj_unref(shielded->inner);
	free(shielded->served);
	free(shielded);
}

static const struct warren_prefix all[] = { { { .family = 4 }, 0 }, { { .family = 6 }, 0 } };

static bool has(const struct warren_prefix *list, uint32_t n, const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < n; i++) {
		if (prefix_equal(&list[i], prefix))
			return true;
	}
	return false;
}

uint32_t ctl_offers(const struct ctl_session *s, struct warren_prefix *out, uint32_t room)
{
	uint32_t n = ctl_facets_routes(&s->facets, out, room);

	for (size_t i = 0; warren_conf_bool(s->conf, "advertise-exit-node") &&
			   i < ARRAY_SIZE(all); i++) {
		if (n < room && !has(out, n, &all[i]))
			out[n++] = all[i];
	}
	return n;
}

bool ctl_forwarding_problem(const struct ctl_session *s, char why[CTL_FORWARDING_TEXT])
{
	struct warren_prefix routes[CTL_ROUTES_MAX];
	uint32_t n = ctl_offers(s, routes, CTL_ROUTES_MAX);
	bool offered[2] = { false, false }, on[2] = { true, true };

	/* Once the server approves, `router` switches it on. */
	if (s->router && s->router->forwards(s->router_self))
		return false;
	for (uint32_t i = 0; i < n; i++)
		offered[routes[i].addr.family == 6] = true;
	for (int six = 0; six < 2; six++) {
		/* What cannot be read is not blamed. */
		if (offered[six] && warren_net_forwarding(six ? 6 : 4, &on[six], NULL))
			on[six] = true;
	}
	if (on[0] && on[1])
		return false;
	snprintf(why, CTL_FORWARDING_TEXT, "IP forwarding is disabled, the networks that this node "
		 "offers cannot be reached: set %s%s%s to 1", on[0] ? "" : "net.ipv4.ip_forward",
		 on[0] || on[1] ? "" : " and ", on[1] ? "" : "net.ipv6.conf.all.forwarding");
	return true;
}

/* What the server lets us serve of what we offer, and our own addresses. */
static int fill_self(struct ctl_session *s, struct shielded *made, const struct warren_node *self)
{
	struct warren_prefix offers[CTL_ROUTES_MAX];
	uint32_t n = ctl_offers(s, offers, CTL_ROUTES_MAX);

	made->served = calloc(self->n_allowed_ips + 1, sizeof(*made->served));
	if (!made->served)
		return -ENOMEM;
	made->self = *self;
	made->self.allowed_ips = made->served;
	made->self.n_allowed_ips = 0;
	for (uint32_t i = 0; i < self->n_allowed_ips; i++) {
		const struct warren_prefix *prefix = &self->allowed_ips[i];

		if (has(self->addresses, self->n_addresses, prefix) || has(offers, n, prefix))
			made->served[made->self.n_allowed_ips++] = *prefix;
	}
	made->self.exit_v4 = self->exit_v4 && has(offers, n, &all[0]);
	made->self.exit_v6 = self->exit_v6 && has(offers, n, &all[1]);
	made->self.shields_up = warren_conf_bool(s->conf, "shields-up");
	made->map.self = &made->self;
	return 0;
}

void ctl_known_keep(struct ctl_session *s)
{
	ctl_known_drop(s);
	s->known = ctl_session_map(s);
}

void ctl_known_drop(struct ctl_session *s)
{
	warren_obj_unref(s->known);
	s->known = NULL;
}

const struct warren_netmap *ctl_session_known(struct ctl_session *s)
{
	return s->known ? warren_obj_ref(s->known) : ctl_session_map(s);
}

int ctl_shields_publish(struct ctl_session *s, const struct warren_netmap *map)
{
	const struct shielded *before = (const struct shielded *)s->published;
	struct shielded *made = calloc(1, sizeof(*made));
	bool same, gap;

	if (!made)
		return -ENOMEM;
	made->map = *map;
	made->map.addresses_only = !s->accept;
	made->map.exit_chosen = s->exit_chosen;
	made->map.exit_node = s->exit_node;
	gap = before && before->map.addresses_only != made->map.addresses_only;
	same = before && before->inner == map && !gap;
	warren_obj_init(&made->map.obj, sizeof(*made), shielded_free);
	made->inner = warren_obj_ref(map);
	made->map.serial = ++s->serial;
	if (same) {
		made->map.previous = before->map.serial;
		made->map.changed = WARREN_NETMAP_SELF;
		made->map.changes = NULL;
		made->map.n_changes = 0;
	} else if (before && !gap && warren_netmap_follows(map, before->inner)) {
		made->map.previous = before->map.serial;
	} else {
		made->map.previous = 0;
		made->map.changed = WARREN_NETMAP_ALL;
	}
	if (map->self && fill_self(s, made, map->self)) {
		warren_obj_unref(made);
		return -ENOMEM;
	}
	if (map->self)
		ctl_known_drop(s);
	pthread_mutex_lock(&s->lock);
	s->published = warren_obj_ref(made);
	pthread_mutex_unlock(&s->lock);
	warren_obj_unref(before);
	return warren_publish_take(s->ctx, "netmap", made);
}

int ctl_shields_again(struct ctl_session *s)
{
	const struct warren_netmap *map = s->published ? ctl_map_current(s->map) : NULL;
	int result = map ? ctl_shields_publish(s, map) : 0;

	warren_obj_unref(map);
	return result;
}

int ctl_shields_offers(struct ctl_session *s)
{
	const struct shielded *now = (const struct shielded *)s->published;
	struct shielded next = { .served = NULL };
	bool same;
	int result;

	if (!now || !now->map.self)
		return 0;
	result = fill_self(s, &next, now->inner->self);
	if (result)
		return result;
	same = next.self.exit_v4 == now->self.exit_v4 && next.self.exit_v6 == now->self.exit_v6 &&
	       prefixes_equal(next.served, next.self.n_allowed_ips, now->served,
			      now->self.n_allowed_ips);
	free(next.served);
	return same ? 0 : ctl_shields_again(s);
}

const struct warren_netmap *ctl_session_map(struct ctl_session *s)
{
	const struct warren_netmap *map;

	pthread_mutex_lock(&s->lock);
	map = s->published ? warren_obj_ref(s->published) : NULL;
	pthread_mutex_unlock(&s->lock);
	return map;
}
