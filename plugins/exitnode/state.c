/*
 * The states of an exit node.
 */
#include "exitnode.h"

enum exitnode_state exitnode_state(bool advertise, const struct warren_router_serving *serving)
{
	bool stuck = false;

	if (!advertise)
		return EXITNODE_OFF;
	for (int six = 0; six < 2; six++) {
		if (serving->ready[six])
			return EXITNODE_SERVES;
		stuck = stuck || serving->approved[six];
	}
	return stuck ? EXITNODE_STUCK : EXITNODE_WAITS;
}

const char *exitnode_state_name(enum exitnode_state state)
{
	static const char *const names[] = { "off", "waiting", "stuck", "serving" };

	return names[state];
}

const char *exitnode_state_words(enum exitnode_state state)
{
	static const char *const words[] = {
		"not offered as an exit node",
		"offered as an exit node, not approved yet",
		"approved as an exit node, but the host leads nowhere: warren doctor exitnode",
		"exit node: peers are led to the internet",
	};

	return words[state];
}
