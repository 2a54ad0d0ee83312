/*
 * What nodes tell each other about refused packets, at run time: answers to peers from the hot
 * path, and what peers answer to the operator.
 */
#ifndef FILTER_TALK_H
#define FILTER_TALK_H

#include <stdint.h>

#include <warren/plugin.h>
#include <warren/service/dataplane.h>

#include "table.h"
#include "tsmp.h"

struct filter_talk {
	struct warren_ctx *ctx;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	struct filter_pace answers;		/* what is sent to peers */
	struct filter_pace reports;		/* refusals told to the lane */
	struct filter_pace pongs;		/* answers to our pings, handed over */
	_Atomic uint16_t peerapi[2];		/* ports of this node's, IPv4 and IPv6; 0: none */
	struct warren_stat *sent[2];		/* refusals, pongs */
	struct warren_stat *received[FILTER_TSMP_REASONS];
	/* lane */
	struct warren_limit limit;
	struct filter_tsmp last;		/* refusal by a peer; kind OTHER: none yet */
	uint64_t last_at;
};

/* Lane, in `start`. -ENOMEM, -EBUSY. @talk lives as long as @ctx. */
int filter_talk_start(struct filter_talk *talk, struct warren_ctx *ctx,
		      const struct warren_dataplane_ops *dataplane, void *self);
/* Any worker. @data from a peer was dropped because of @why: tells the peer, if he is to know. */
void filter_talk_refuse(struct filter_talk *talk, const struct filter_table *table,
			const uint8_t *data, size_t len, enum filter_reason why, uint64_t now);
/*
 * Any worker. Is the accepted packet @data from a peer TSMP, or the answer to a ping of our own?
 * Then it is dealt with here.
 */
bool filter_talk_takes(struct filter_talk *talk, const struct filter_table *table,
		       const uint8_t *data, size_t len, uint64_t now);
/* Lane. The last refusal by a peer. */
void filter_talk_status(const struct filter_talk *talk, struct warren_reply *reply);

#endif
