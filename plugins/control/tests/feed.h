/*
 * feed.h - a map in a test: messages in, events and snapshots out
 */
#ifndef CTL_TESTS_FEED_H
#define CTL_TESTS_FEED_H

#include "../map_impl.h"
#include "base/str.h"

struct feed {
	struct ctl_map *map;
	const struct warren_netmap *now;	/* the newest published, with a reference */
	uint32_t published;
	struct str bad;				/* reports, one a line */
	struct str events;			/* the others, one a line */
};

/* @ctx NULL: nothing is put off. Aborts when there is no memory, as all of these. */
void feed_open(struct feed *feed, struct warren_ctx *ctx, const struct ctl_map_limits *limits);
void feed_close(struct feed *feed);
/* One message of plain JSON, in one piece: what ctl_map_feed() returned. */
int feed_json(struct feed *feed, const char *json);
int feed_json_n(struct feed *feed, const char *json, size_t len);
/* The same as a zstd frame, fed in portions of @portion bytes. */
int feed_zstd(struct feed *feed, const char *json, size_t len, size_t portion);
/* The framed message, for tests that feed it themselves; free() it. */
uint8_t *feed_frame(const char *json, size_t len, bool compress, size_t *out_len);
/* The peer of the newest snapshot, or NULL. */
const struct warren_node *feed_peer(const struct feed *feed, int64_t id);
/* Forgets the events and reports so far. */
void feed_forget(struct feed *feed);

#endif
