/*
 * warren/service/exitnode.h - service "exitnode" 0.1: the way to the internet that is used
 *
 * `exitnode` offers it. Lane of the provider: main. Which peer is used stands in the network map
 * (exit_node), for all to see.
 */
#ifndef WARREN_SERVICE_EXITNODE_H
#define WARREN_SERVICE_EXITNODE_H

#include <warren/plugin.h>

enum { WARREN_EXITNODE_TEXT = 384 };
struct warren_exitnode_ops {
	uint32_t size;
	/*
	 * Would exitnode.use @use, which an operator types, lead anywhere now? False: @why is a
	 * sentence, in the stock client's words. Without a network map everything may.
	 */
	bool (*usable)(void *self, const char *use, char why[WARREN_EXITNODE_TEXT]);
};

#endif
