/*
 * status_view.h - what the head of `warren status` is made of, apart from where it comes from
 */
#ifndef CTL_STATUS_VIEW_H
#define CTL_STATUS_VIEW_H

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>

#include "session.h"

struct ctl_view {
	struct ctl_session_info info;
	const struct warren_netmap *map;	/* or NULL */
	const struct warren_dataplane_ops *dataplane;	/* or NULL; only `peer` is used */
	void *dataplane_self;
	uint64_t now;			/* warren_now() */
	int64_t realtime;		/* warren_realtime() */
	bool peers, self, active, header;
};

/* The stock client's table; returns its exit status. And its JSON, at the top of the answer. */
int ctl_view_text(const struct ctl_view *view, struct warren_reply *reply);
void ctl_view_json(const struct ctl_view *view, struct warren_reply *reply);
/* Counters and path of @node; `size` is 0 where the data plane knows none. */
struct warren_peer_status ctl_view_peer(const struct ctl_view *view,
					const struct warren_node *node);

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
