/*
 * The uplinks that are not in use: interfaces whose default route another one beats. What STUN
 * servers see of each is asked beforehand, so that peers know it when the one in use is lost.
 */
#ifndef PATHS_UPLINKS_H
#define PATHS_UPLINKS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/stun.h>

#include "endpoints.h"

struct paths;
struct warren_reply;

enum { UPLINKS = 4, UPLINK_TRIES = 3 };

struct uplink {
	uint32_t ifindex;
	struct warren_addr self;
	struct warren_addrport seen;	/* of us, by a STUN server; family 0: never */
	uint64_t at;			/* when that was */
	uint8_t txid[WARREN_STUN_TXID];
	uint32_t tries;			/* of the question that is under way; 0: none */
};

struct uplinks {
	struct paths *paths;
	struct warren_timer *timer;	/* for those that were not answered */
	struct warren_addr in_use;	/* our address on that one; family 0: not known */
	struct uplink list[UPLINKS];
	uint32_t n;
};

int uplinks_init(struct uplinks *u, struct paths *p);
/* Finds out which there are, and asks what they look like from outside. */
void uplinks_look(struct uplinks *u);
/* False: not the answer to one of its questions. */
bool uplinks_on_stun(struct uplinks *u, const uint8_t *data, size_t len);
/* Where they are seen from outside goes to @out. */
void uplinks_endpoints(const struct uplinks *u, struct paths_endpoints *out);
/*
 * Addresses were lost, and @local are left. Whether the uplink in use went with them; where the
 * others are seen from outside, of those that are still there, goes to @tracked then.
 */
bool uplinks_lost(struct uplinks *u, const struct paths_endpoints *local,
		  struct paths_endpoints *tracked);
void uplinks_write(const struct uplinks *u, struct warren_reply *reply);

#endif
