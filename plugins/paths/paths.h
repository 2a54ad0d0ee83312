/*
 * The plugin's parts and what they share. All of it is on lane main.
 */
#ifndef PATHS_PATHS_H
#define PATHS_PATHS_H

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/schedule.h"
#include "endpoints.h"
#include "netcheck.h"
#include "peer.h"
#include "portmapper.h"
#include "relays.h"
#include "uplinks.h"

#define PATHS_FRESH (27 * PATHS_SECOND)		/* endpoints that may go into a CallMeMaybe */
enum { PATHS_STATIC_MAX = 16 };

struct paths_rate {			/* of messages of one sender */
	uint64_t second;
	uint32_t messages;		/* in that one */
};

struct paths_node {			/* a peer of the map */
	struct paths *paths;
	struct list all;
	struct schedule_entry due;	/* when its machine wants to be called */
	struct paths_node *twin;	/* the next one with the same disco key */
	uint8_t key[32], disco[32];
	int64_t id;
	struct paths_peer peer;
	uint8_t shared[32];		/* with `disco`, for boxes */
	bool has_shared;
	/* Without a disco key: it is where it was heard last, or at one of the map's endpoints. */
	bool plain;
	uint32_t endpoint;		/* which of those; rises with each that was in vain */
	struct warren_addrport heard;	/* family 0: not yet */
	bool call_waits;		/* a CallMeMaybe goes out when our endpoints are fresh */
	uint32_t call_region;
	struct paths_rate rate;
	uint64_t rx, tx;		/* disco messages */
};

enum paths_stat {
	PATHS_STAT_BAD_PEER, PATHS_STAT_BAD_BOX, PATHS_STAT_BAD_MESSAGE, PATHS_STAT_BAD_WAY,
	PATHS_STAT_TOO_MANY, PATHS_STATS
};

/* How far the peers are on their way to a new map. */
struct paths_apply {
	enum { APPLY_NOTHING, APPLY_CHANGES, APPLY_GONE, APPLY_THERE } what;
	const struct warren_netmap *old;	/* with a reference, or NULL */
	uint32_t at, other;		/* in the list that `what` says; in that of the other map */
	bool later;			/* a turn is on its way */
};

/* A peer relay in whose hands handshakes are: what it sends is awaited. */
struct paths_expected {
	uint8_t server[32], shared[32];	/* its disco key; with it, for boxes */
	uint32_t handshakes;
	struct paths_rate rate;
};

struct paths {
	struct warren_ctx *ctx;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	const struct warren_identity_ops *identity;
	void *identity_self;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_peerapi_ops *peerapi;	/* or NULL */
	void *peerapi_self;
	struct paths_relays relays;

	const struct warren_netmap *map;	/* with a reference, or NULL */
	uint8_t disco_key[32], node_key[32];
	struct hash by_key, by_disco;
	struct hash expected;		/* struct paths_expected, by the server's disco key */
	struct paths_servers servers;	/* which peers may be relays to others */
	bool no_peer_relays;		/* the server wants us to use none */
	struct list all;
	struct paths_apply apply;
	struct schedule due;
	struct warren_timer *timer;

	struct warren_addrport fixed[PATHS_STATIC_MAX];
	uint32_t n_fixed;
	bool loopback, port_fixed, metered;
	bool mtu_series;		/* the server wants path MTUs probed, without fragments */

	struct paths_endpoints tracked, published;
	struct paths_endpoints local;	/* of interfaces, with port 1: to see what changed */
	bool published_once;
	char netinfo[384];		/* what the server was told, but for latencies */
	struct warren_timer *period, *links;
	uint64_t links_at;
	uint64_t endpoints_at;		/* when they were gathered; 0: never */
	uint64_t generation;		/* of paths set in the data plane */
	struct netcheck netcheck;
	struct portmapper portmapper;
	struct uplinks uplinks;
	bool uplink_lost;		/* what the last netcheck saw of us is not so any more */
	struct list pings;		/* commands that wait for answers */

	struct warren_stat *sent[WARREN_DISCO_ALLOCATED + 1], *received[WARREN_DISCO_ALLOCATED + 1];
	struct warren_stat *dropped[PATHS_STATS], *changes, *direct, *peer_relayed;
	struct warren_stat *stun_sent, *stun_received;
	struct warren_limit log_change, log_bad;
};

/* nodes.c: peers of the map, their machines, their paths in the data plane */
void paths_map(struct paths *p, const struct warren_netmap *map);
void paths_nodes_free(struct paths *p);
void paths_arm(struct paths *p);	/* after anything that moved a deadline */
warren_call_fn paths_turn;		/* the timer; arg: struct paths */
void paths_touched(struct paths_node *node);	/* the same, and of just this one */
struct paths_node *paths_node(const struct paths *p, const uint8_t key[32]);
struct paths_node *paths_node_of_disco(const struct paths *p, const uint8_t disco[32]);
const struct warren_node *paths_in_map(const struct paths *p, const struct paths_node *node);
void paths_reset_all(struct paths *p);		/* this host's links changed */
void paths_rekey_all(struct paths *p);		/* our disco key changed */
void paths_set_path(struct paths_node *node);
extern const struct warren_path_events paths_events;

/* disco.c: messages in and out */
struct paths_way {			/* how a message came or goes */
	struct warren_addrport address;	/* family 0: by relay */
	uint32_t vni;			/* not 0: the address is a peer relay's */
	uint32_t region;
	const uint8_t *relay_key;	/* came by relay: the key that it vouches for */
};
void paths_disco_received(struct paths *p, const struct paths_way *way, const uint8_t *data,
			  size_t len);
/* 0 or -errno. */
int paths_disco_send(struct paths_node *node, const struct paths_way *way,
		     const struct warren_disco *msg);
warren_foreign_fn paths_on_disco, paths_on_geneve;
extern const struct paths_acts paths_acts;
void paths_send_calls(struct paths *p);		/* those that waited for our endpoints */

/* servers.c: peer relays of the map */
void paths_servers_see(struct paths *p, const struct warren_netmap *map);
int paths_expect(struct paths *p, const uint8_t server[32], bool on);
struct paths_expected *paths_expected(const struct paths *p, const uint8_t server[32]);

/* gather.c: our own endpoints, their publication, what our links do */
void paths_gather(struct paths *p, const char *reason);
void paths_gathered(struct paths *p);		/* netcheck has a report */
void paths_publish(struct paths *p);		/* our endpoints, if they are others than before */
void paths_tell_netinfo(struct paths *p);	/* the server, if it is other news */
void paths_home_lost(struct paths *p);		/* our home relay is not reached any more */
int paths_watch(struct paths *p, struct warren_err *err);

/* ping.c, show.c, explain.c: what the operator sees */
void paths_log_event(struct paths_node *node, const struct paths_event *event);
void paths_ping_answer(void *command, const struct paths_pong *pong);
warren_foreign_fn paths_on_pong;
void paths_pings_end(struct paths *p);
void paths_peerapi_found(struct paths *p, const void *ops, void *self);	/* NULL: it goes */
int paths_command_ping(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err);
int paths_command_history(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err);
int paths_command_why(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err);
int paths_command_netcheck(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err);
void paths_status(struct warren_ctx *ctx, struct warren_reply *reply);
/* The peer of that name or address; NULL: none, or this node (*@self). */
const struct warren_node *paths_find(const struct paths *p, const char *text, bool *self);
const char *paths_region_code(const struct paths *p, uint32_t id);	/* "", never NULL */
void paths_node_name(const struct warren_node *node, char *out, size_t size);

#endif
