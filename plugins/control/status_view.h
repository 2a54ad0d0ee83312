/*
 * status_view.h - what the head of `warren status` is made of, apart from where it comes from
 */
#ifndef CTL_STATUS_VIEW_H
#define CTL_STATUS_VIEW_H

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>

#include "session.h"

/* Everything that is looked at, so that it can be written on another thread. */
struct ctl_view {
	enum ctl_state state;
	bool connected, logged_in;
	char *auth_url, *error;			/* or NULL */
	const struct warren_netmap *map;	/* or NULL */
	struct warren_peer_status *statuses;	/* by the map's order of peers; NULL: no peers */
	uint64_t now;			/* warren_now() */
	int64_t realtime;		/* warren_realtime() */
	bool self, active, header;
	uint32_t home;			/* relay region of this node, by its own choice; 0: none */
};

/*
 * Sets `statuses`, for free(): counters and path of each peer. Only `peer` of @dataplane is used;
 * NULL: there is none. -ENOMEM.
 */
int ctl_view_gather(struct ctl_view *view, const struct warren_dataplane_ops *dataplane,
		    void *self);
/* The stock client's table; returns its exit status. And its JSON, at the top of the answer. */
int ctl_view_text(const struct ctl_view *view, struct warren_reply *reply);
void ctl_view_json(const struct ctl_view *view, struct warren_reply *reply);

/* A peer is in charge of networks that this node does not accept; and the word for that. */
bool ctl_routes_unused(const struct warren_netmap *map);
#define CTL_ROUTES_UNUSED "Some peers are advertising routes but --accept-routes is false"

/* Inside an open list. */
void ctl_write_prefixes(const struct warren_prefix *list, uint32_t n, struct warren_reply *reply);
/* "AllowedIPs", with the way to all of the internet that @node offers. */
void ctl_write_allowed(const struct warren_node *node, struct warren_reply *reply);

const struct warren_user *ctl_user_find(const struct warren_netmap *map, int64_t id);
/* "UserProfile" or, @by_id, under its number. */
void ctl_write_user(const struct warren_user *user, bool by_id, struct warren_reply *reply);
void ctl_write_caps(const struct warren_cap *caps, uint32_t n, struct warren_reply *reply);

#endif
