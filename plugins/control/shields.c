/*
 * The map as consumers get it: what the server sent, with our own word on `shields-up` and
 * `accept-routes`. The filter takes the first from the self node, where a server may or may not
 * repeat what we said of ourselves; the operator's word must hold whatever the server says.
 */
#include <errno.h>
#include <stdlib.h>

#include "session_impl.h"

struct shielded {
	struct warren_netmap map;
	struct warren_node self;
	const struct warren_netmap *inner;
};

static void shielded_free(struct warren_obj *obj)
{
	struct shielded *shielded = (struct shielded *)obj;

	warren_obj_unref(shielded->inner);
	free(shielded);
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
	made->map.addresses_only = !warren_conf_bool(s->conf, "accept-routes");
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
	} else if (before && !gap && map->previous && map->previous == before->inner->serial) {
		made->map.previous = before->map.serial;
	} else {
		made->map.previous = 0;
		made->map.changed = WARREN_NETMAP_ALL;
	}
	if (map->self) {
		made->self = *map->self;
		made->self.shields_up = warren_conf_bool(s->conf, "shields-up");
		made->map.self = &made->self;
		ctl_known_drop(s);
	}
	pthread_mutex_lock(&s->lock);
	s->published = warren_obj_ref(made);
	pthread_mutex_unlock(&s->lock);
	warren_obj_unref(before);
	return warren_publish_take(s->ctx, "netmap", made);
}

const struct warren_netmap *ctl_session_map(struct ctl_session *s)
{
	const struct warren_netmap *map;

	pthread_mutex_lock(&s->lock);
	map = s->published ? warren_obj_ref(s->published) : NULL;
	pthread_mutex_unlock(&s->lock);
	return map;
}
