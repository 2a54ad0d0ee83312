/*
 * map_impl.h - the insides of a map, shared by its files: map.c (the stream), decode.c (pieces to a
 * delta), apply.c (a delta to a snapshot), clock.c (expiry), store.c (disk)
 */
#ifndef CTL_MAP_IMPL_H
#define CTL_MAP_IMPL_H

#include <pthread.h>
#include <zstd.h>

#include "map.h"
#include "snapshot.h"

struct ctl_vec {
	void *items;
	uint32_t n, room;
};
/* A zeroed item of @size bytes at the end; NULL: no memory. */
void *ctl_vec_add(struct ctl_vec *vec, size_t size);
void ctl_vec_free(struct ctl_vec *vec);

struct ctl_item {			/* a node of a message */
	struct ctl_record *record;
	bool shared;			/* the lineage owns it: the server sent what we have */
};
struct ctl_flag {			/* of PeerSeenChange, OnlineChange */
	int64_t id;
	bool value;
};

/* What one message says. */
struct ctl_delta {
	struct arena arena;		/* patches, strings of events */
	bool keepalive;
	struct ctl_item self;
	struct ctl_vec peers, changed;	/* struct ctl_item */
	struct ctl_vec removed;		/* int64_t */
	struct ctl_vec seen, online;	/* struct ctl_flag */
	struct ctl_vec patches;		/* struct ctl_patch */
	struct ctl_vec users;		/* struct ctl_user * */
	struct ctl_filter *filter;	/* PacketFilter */
	struct ctl_vec filters;		/* struct ctl_filter_change */
	struct ctl_filter_build build;	/* of the one under way */
	struct ctl_dns *dns;
	struct ctl_relays *relays;
	struct ctl_ssh *ssh;
	struct ctl_text *domain;
	json_t *health, *messages;
	uint8_t collect_services;
	int64_t control_time;		/* nanoseconds */
	const char *browser_url;
	bool has_ping, has_debug, has_plan, has_version;
	struct ctl_ping ping;
	struct ctl_debug debug;
	struct ctl_dial_candidate *plan;
	uint32_t n_plan;
	struct ctl_client_version version;
};
void ctl_delta_clear(struct ctl_delta *delta);

enum ctl_format { CTL_UNKNOWN = 0, CTL_JSON, CTL_ZSTD };

struct ctl_map {
	struct warren_ctx *ctx;
	struct ctl_map_limits limits;
	const struct ctl_map_events *events;
	void *arg;
	pthread_mutex_t lock;		/* of `current`, written on the lane only */
	struct ctl_snapshot *current;
	struct ctl_map_stats stats;
	uint8_t collect_services;
	struct str last_browser_url, last_ping_url;

	/* The stream. */
	uint32_t epoch;			/* of ctl_map_begin(): what runs for an older one stops */
	bool fresh;			/* the next message must be a full map */
	bool broken;			/* until the next ctl_map_begin() */
	uint8_t prefix[4];
	uint32_t n_prefix;
	uint64_t left;			/* bytes of the message to come */
	bool inside;			/* of a message */
	enum ctl_format format;
	ZSTD_DCtx *zstd;
	bool frame_done;
	struct warren_json *json;
	struct ctl_delta delta;
	bool member_ok;			/* the split member under way has the right brackets */
	bool list_ok;			/* the rules of the name under way are taken */
	char why[256];			/* the reason of the newest error */

	/* What waits for the next turn. */
	uint8_t *held;
	size_t held_len, held_at, held_room;
	bool pending;
	struct warren_timer *resume;

	struct warren_timer *expiry;

	/* The map on disk. */
	const uint8_t *loading;		/* the node key that it must be of; NULL: a stream */
	struct warren_timer *save;
	struct ctl_save *saving;	/* under way, or NULL */
	bool save_due, save_set;	/* after that one; the timer runs */
	bool flushing;			/* there will be no timer any more */
	uint64_t saved;			/* warren_now() of the last write; 0: none */
};

/* Counts and reports. */
void ctl_map_bad(struct ctl_map *map, const char *why);
int ctl_map_error(struct ctl_map *map, int result, const char *fmt, ...) WARREN_PRINTF(3, 4);
/* Time by the server's clock, seconds since 1970. */
int64_t ctl_map_time(const struct ctl_map *map);

struct ctl_parse ctl_decode_parse(struct ctl_map *map, struct arena *arena);
/* What came of a parse of the record @what: 0, or -ENOMEM. A bad one is reported. */
int ctl_decode_done(struct ctl_map *map, const struct ctl_parse *p, const char *what);
/* One member of the document each. 0 or -errno. */
typedef int ctl_member_fn(struct ctl_map *map, const json_t *o,
			  const struct warren_json_piece *piece);
ctl_member_fn ctl_member_flag, ctl_member_time, ctl_member_browser, ctl_member_ping,
	ctl_member_debug, ctl_member_plan, ctl_member_version, ctl_member_health;
/* Handles one piece of a message; 0 or -errno with the reason in @map->why. */
int ctl_decode_piece(void *map, const struct warren_json_piece *piece);
/* The names whose members come one by one. */
extern const char *const ctl_decode_split[];
extern const char *const ctl_decode_deep[];

/*
 * Makes the delta the newest snapshot and announces it. @fresh: on top of nothing. 0 or -errno with
 * the reason in @map->why, and nothing has changed.
 */
int ctl_apply(struct ctl_map *map, struct ctl_delta *delta, bool fresh);
/* Looks for keys that have expired; or makes the map empty. Likewise. */
int ctl_apply_expiry(struct ctl_map *map);
int ctl_apply_nothing(struct ctl_map *map);
/* Whole bodies of a stream at once, without putting anything off. */
int ctl_map_run(struct ctl_map *map, const void *data, size_t len);

/* What the message just decoded says about time. */
void ctl_clock_told(struct ctl_map *map, int64_t control_time_ns);
bool ctl_clock_expired(const struct ctl_map *map, const struct warren_node *node);
/* Arms the timer for the next key that expires. */
void ctl_clock_arm(struct ctl_map *map);
void ctl_clock_fired(struct warren_ctx *ctx, void *map);

void ctl_store_fired(struct warren_ctx *ctx, void *map);
void ctl_store_end(struct ctl_map *map);	/* forgets what is under way */
/* A document; 0 or -errno as ctl_map_load(), with the reason in @map->why. */
int ctl_store_read(struct ctl_map *map, const uint8_t *data, size_t len,
		   const uint8_t node_key[32]);
/* The state of a snapshot as one map message of plain JSON. */
void ctl_store_write(const struct ctl_snapshot *snapshot, struct str *out);

#endif
