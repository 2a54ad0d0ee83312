/*
 * map.h - the network map of a control server: bytes of the map stream in, snapshots out
 *
 * Reference: control-protocol.md section 6. The stream is a sequence of messages, each a full map
 * or a delta. A message is decoded in pieces, less than 5 ms per turn of the loop, into a
 * candidate; when it ended well, the candidate is applied and the new snapshot is announced. A
 * message that is cut short or malformed changes nothing. A record that is bad (a node, a rule,
 * ...) is left out and reported, the rest of its message applies.
 *
 * All functions and events: the lane of the context, but where "any thread" is said. Events come
 * from inside ctl_map_feed(), ctl_map_load() and ctl_map_clear() as well as from timers; they may
 * call every function of this header but ctl_map_free() and ctl_map_feed(); `bad_record` none.
 */
#ifndef CTL_MAP_H
#define CTL_MAP_H

#include <warren/service/netmap.h>

#include "plan.h"

struct ctl_map_limits {			/* 0: the default */
	uint64_t message_max;		/* bytes of a message as it comes; 64 MiB */
	uint64_t decoded_max;		/* bytes of its JSON; 64 MiB */
	uint32_t peers_max;		/* 100,000 */
	uint32_t record_max;		/* bytes of JSON of one record or filter; 16 MiB */
	uint32_t list_max;		/* of a node: addresses, endpoints, ... each; 4,096 */
	uint32_t rules_max;		/* of all packet filters; 50,000 */
	uint32_t rule_ips_max;		/* sources and destinations of all rules; 500,000 */
	uint32_t users_max;		/* 100,000 */
};

struct ctl_ping {			/* PingRequest, section 4.6 */
	const char *url;
	bool url_is_noise, log;
	const char *types;		/* "TSMP,disco,...", "c2n"; "": HEAD to the URL only */
	struct warren_addr ip;		/* family 0: none */
	const uint8_t *payload;
	size_t n_payload;
};

struct ctl_debug {
	uint64_t sleep;			/* microseconds, at most 5 minutes; 0: no */
	bool disable_log_tail;
	bool has_exit;			/* the server wants the process to end; we do not */
};

struct ctl_client_version {
	bool running_latest, urgent, notify;
	const char *latest, *notify_url, *notify_text;	/* NULL: not given */
};

/* Objects live for the call. Any event may be NULL. */
struct ctl_map_events {
	/* There is a new snapshot: of a message, of the clock (a key expired), loaded, or empty. */
	void (*published)(void *arg, const struct warren_netmap *map);
	/* A whole message came, keep-alives included, after it was applied: feeds the watchdog. */
	void (*message)(void *arg, bool keepalive);
	/* After WARREN_PENDING: more may be fed. */
	void (*resume)(void *arg);
	/* After WARREN_PENDING: the stream is no good; the same as an error of ctl_map_feed(). */
	void (*failed)(void *arg, int result, const char *why);
	/* Its URL differs from that of the last one. */
	void (*ping)(void *arg, const struct ctl_ping *ping);
	/* It differs from the last one; nobody has checked it. */
	void (*browser_url)(void *arg, const char *url);
	void (*debug)(void *arg, const struct ctl_debug *debug);
	/* n 0: the plan is withdrawn. */
	void (*dial_plan)(void *arg, const struct ctl_dial_candidate *candidates, uint32_t n);
	void (*client_version)(void *arg, const struct ctl_client_version *version);
	/* Record or field that was left out: "peer 12 (gw.example.): Addresses: ...". */
	void (*bad_record)(void *arg, const char *why);
};

struct ctl_map_stats {
	uint64_t messages, keepalives, bad_records, bytes, decoded_bytes;
	uint64_t usec;			/* spent decoding and applying */
	int64_t control_time;		/* the server's clock in its last message; 0: never told */
	int64_t clock_delta;		/* seconds the server's clock is ahead; 0 within a minute */
	int64_t updated;		/* when the newest snapshot was made, seconds since 1970 */
};

struct ctl_map;

/* Copies @limits (NULL: defaults), keeps @events. @ctx NULL: nothing is ever put off (tests). */
struct ctl_map *ctl_map_new(struct warren_ctx *ctx, const struct ctl_map_limits *limits,
			    const struct ctl_map_events *events, void *arg);
void ctl_map_free(struct ctl_map *map);		/* NULL is allowed; snapshots live on */

/* Any thread: a reference to the newest snapshot, or NULL: none was loaded, received or cleared. */
const struct warren_netmap *ctl_map_current(struct ctl_map *map);

/* Logged out: announces a snapshot without self and peers (once), and forgets all else. */
int ctl_map_clear(struct ctl_map *map);

/*
 * A new stream begins: what is held of the one before is dropped. The next message that is no
 * keep-alive must be a full map; the snapshot stays until then.
 */
void ctl_map_begin(struct ctl_map *map);
/*
 * Bytes of the response's body, in portions of any size. 0; WARREN_PENDING: the bytes are taken,
 * the turn's time is used up, feed no more until `resume` (or `failed`); or -errno with a
 * sentence, and the stream must begin anew: -EBADMSG malformed, -EMSGSIZE a limit, -ENOMEM.
 */
int ctl_map_feed(struct ctl_map *map, const void *data, size_t len, struct warren_err *err);
/* The stream ended in order: false when that cut a message. */
bool ctl_map_at_boundary(const struct ctl_map *map);

/*
 * The last verified map on disk. Save: any number of calls; the newest snapshot is written off the
 * lane, at most once in 30 s. An empty one removes nothing but makes the document empty.
 * Load, in `start`: 0 and `published`, -ENOENT: none, or of another node key; other errors (with a
 * sentence) are of a damaged document, which is as good as none.
 */
void ctl_map_save(struct ctl_map *map);
/* In `stop`: what is still to be saved is saved now; the context waits for it. */
void ctl_map_flush(struct ctl_map *map);
int ctl_map_load(struct ctl_map *map, const uint8_t node_key[32], struct warren_err *err);

void ctl_map_stats_get(const struct ctl_map *map, struct ctl_map_stats *out);
/* CollectServices (WARREN_TRI_), as last told. */
uint8_t ctl_map_collect_services(const struct ctl_map *map);

#endif
