/*
 * front/reach.h - are our names ours, and our ports open?
 *
 * Asked from this box itself, some seconds after the start or a change, then every six hours. On
 * the plugin's lane.
 */
#ifndef WARREN_FRONT_REACH_H
#define WARREN_FRONT_REACH_H

#include "front.h"

struct front_reach;
struct front_reach *front_reach_new(struct front *front);	/* NULL: no memory */
void front_reach_free(struct front_reach *reach);		/* NULL is allowed */
/* Names or ports have changed: asks again soon. NULL is allowed. */
void front_reach_again(struct front_reach *reach);
/* True: @path is ours, and is answered. NULL @reach is allowed. */
bool front_reach_http(const struct front_reach *reach, struct warren_exchange *x,
		      const char *path);
/* What was found wrong last, one sentence each. */
void front_reach_each(const struct front_reach *reach, void (*fn)(const char *why, void *arg),
		      void *arg);
/* Rounds that are over. */
uint32_t front_reach_rounds(const struct front_reach *reach);

#endif
