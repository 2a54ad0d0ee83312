/*
 * How far this node is on the way to lead peers to the internet.
 */
#ifndef EXITNODE_EXITNODE_H
#define EXITNODE_EXITNODE_H

#include <stdbool.h>

#include <warren/service/router.h>

enum exitnode_state {
	EXITNODE_OFF,			/* not offered */
	EXITNODE_WAITS,			/* offered, not approved */
	EXITNODE_STUCK,			/* approved, but the host does not do it */
	EXITNODE_SERVES,		/* in one family at least */
};
enum exitnode_state exitnode_state(bool advertise, const struct warren_router_serving *serving);
const char *exitnode_state_name(enum exitnode_state state);
const char *exitnode_state_words(enum exitnode_state state);

#endif
