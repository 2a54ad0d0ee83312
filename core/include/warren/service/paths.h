/*
 * warren/service/paths.h - service "paths" 0.1: where this node is, as seen from outside
 *
 * `paths` offers it. Lane of the provider: main. How a single peer is reached is told by the data
 * plane, service/dataplane.h.
 */
#ifndef WARREN_SERVICE_PATHS_H
#define WARREN_SERVICE_PATHS_H

#include <warren/plugin.h>

struct warren_paths_ops {
	uint32_t size;
	/* The relay region that is nearest by our own measurement; 0: none is known. */
	uint32_t (*home)(void *self);
	/* Examines network and endpoints anew; @reason, a word, is for the log. */
	void (*refresh)(void *self, const char *reason);
};

#endif
