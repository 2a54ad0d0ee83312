/*
 * client.h - the relay client: regions in use, each with one connection at most
 *
 * client.c has the regions and the service, conn.c one connection from the dial to the login,
 * talk.c what is said after it. All of it is on the plugin's lane and in memory of its context.
 */
#ifndef DERP_CLIENT_H
#define DERP_CLIENT_H

#include <warren/derp.h>
#include <warren/net.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>
#include <warren/service/relay.h>

#include "base/hash.h"
#include "base/list.h"

#include "queue.h"
#include "ways.h"

enum {
	DERP_LOGIN_USEC = 10 * 1000000,	/* from the dial to ServerInfo: path-protocols.md 1.1 */
	DERP_IDLE_USEC = 60 * 1000000,	/* without a packet sent: 1.12 */
	DERP_SILENCE_USEC = 75 * 1000000,	/* a server's keep-alive is due every 60 to 65 s */
	DERP_PING_USEC = 5 * 1000000,
	DERP_REBIND_USEC = 3 * 1000000,	/* 1.12 */
	DERP_STALE_USEC = 3 * 1000000,	/* a packet that waited that long is of no use */
	DERP_STEADY_USEC = 10 * 1000000,	/* a login that lasts: no failure any more */
	DERP_RESTART_MAX = 60 * 1000000,	/* most that a server can make us wait */
	DERP_MEASURE_USEC = 5 * 1000000,	/* 5.3 */
	DERP_WHY = 256, DERP_HEALTH = 256, DERP_NODE = 64,
	DERP_DISCO_QUEUE = 32,
};

enum derp_stat {
	DERP_CONNECTS, DERP_FAILURES, DERP_RX, DERP_TX, DERP_RX_BYTES, DERP_TX_BYTES,
	DERP_DROP_OLD, DERP_DROP_DISCO, DERP_DROP_STALE, DERP_DROP_LIMIT, DERP_DROP_MEMORY,
	DERP_DROP_CLOSED, DERP_UNKNOWN, DERP_MALFORMED, DERP_CONNECTED, DERP_STATS
};

struct derp_conn;
struct derp_region {
	struct list link;
	struct derp_client *client;
	uint32_t id;
	enum warren_relay_state state;
	char why[DERP_WHY], health[DERP_HEALTH];
	struct derp_conn *conn;		/* NULL: none, and none is begun */
	uint64_t generation;		/* of the connection that is logged in; 0: none is */
	struct warren_timer *begin;	/* of the next attempt */
	bool waiting;			/* it is set */
	uint32_t failures;		/* in a row */
	/* Told by a server that restarts, at restart_told; until then it is no failure. */
	uint64_t restart_told, restart_in, restart_try, quiet_until;
	uint64_t since, last_rx, last_tx, rtt;
	struct derp_queue disco, data;
	uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, dropped;
};

struct derp_client {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	const struct warren_identity_ops *identity;
	void *identity_self;
	const struct warren_netmap *map;	/* a reference; NULL: none has come */
	struct list regions;
	uint32_t home;
	struct hash routes;		/* struct derp_route, by its key */
	uint64_t generations;
	struct warren_timer *idle;
	struct warren_ca_file ca;
	struct warren_stat *stats[DERP_STATS];
	struct warren_limit limit;	/* of lines that a relay can cause */

	struct warren_ctx *consumer;	/* NULL: none */
	void *consumer_tie;
	const struct warren_relay_events *events;
	void *arg;
};

extern const struct warren_relay_ops derp_ops;

/* In `start`; @conf must have been taken. 0 or -errno with a sentence. */
int derp_client_init(struct derp_client *client, struct warren_ctx *ctx, struct warren_err *err);
/* Connections with other settings, keys or nodes are made anew. */
void derp_client_reconnect(struct derp_client *client, const char *why);
void derp_client_status(const struct derp_region *region, struct warren_relay_status *out);
/* "region 900 (tpe)" */
enum { DERP_LABEL = 96 };
const char *derp_region_label(const struct derp_region *region, char out[DERP_LABEL]);
void derp_count(struct derp_client *client, enum derp_stat stat, int64_t n);

/*
 * ---- What connections tell their region, from the loop ----
 */

void derp_region_opened(struct derp_region *region);
/* The connection (attempt) is over and must not be used any more. @now: try again at once. */
void derp_region_failed(struct derp_region *region, const char *why, bool now);
void derp_region_received(struct derp_region *region, const struct warren_derp_frame *frame);
void derp_region_gone(struct derp_region *region, const struct warren_derp_frame *frame);
void derp_region_health(struct derp_region *region, const struct warren_derp_frame *frame);
void derp_region_restarting(struct derp_region *region, const struct warren_derp_frame *frame);

/*
 * ---- One connection ----
 */

/* Begins to connect, as the map says. NULL: no memory. */
struct derp_conn *derp_conn_new(struct derp_region *region);
void derp_conn_close(struct derp_conn *conn);	/* tells nobody; NULL is allowed */
/* Something waits in the region's queues. */
void derp_conn_flush(struct derp_conn *conn);
void derp_conn_preferred(struct derp_conn *conn, bool home);
/* An answer is due within @usec, or the connection has failed. */
void derp_conn_ping(struct derp_conn *conn, uint64_t usec);
/* False: over the server's rate. */
bool derp_conn_allows(struct derp_conn *conn, size_t len);
const char *derp_conn_node(const struct derp_conn *conn);
bool derp_conn_fast(const struct derp_conn *conn);	/* TLS told the server's key */
void derp_conn_addresses(const struct derp_conn *conn, struct warren_addrport *peer,
			 struct warren_addrport *local);

/*
 * ---- Ways, for connections and measurements ----
 */

/* NULL with a sentence: no memory, or a map that makes no sense. */
struct warren_dial *derp_dial(const struct derp_client *client, const struct derp_way *way,
			      uint64_t timeout, warren_stream_fn *done, void *arg,
			      struct warren_err *err);
/* What a request to @node says in its field Host. */
void derp_authority(const struct derp_client *client, const struct warren_relay_node *node,
		    char *out, size_t size);

/* warren_relay_ops.measure: measure.c. */
int derp_measure(void *self, uint32_t region);

#endif
