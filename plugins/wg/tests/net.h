/*
 * Nodes for tests of the data plane: each is a whole engine with the plugin `wg`, on a thread of
 * its own, over real loopback sockets. A thread plays the monitor and speaks its protocol; the TUN
 * queue is one end of a pair of datagram sockets. Two plugins belong to the test: `fixture`
 * offers identity and network map, `probe` plays paths, relay and filter.
 */
#ifndef WG_TEST_NET_H
#define WG_TEST_NET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>

struct wcore_engine;
struct wg_device;

enum { NET_FOREIGN_KEPT = 16, NET_PEERS = 4096 };

struct net_foreign {
	uint32_t class_, vni;
	size_t len;
	uint8_t data[2048];
};

struct net_node {
	const char *name;
	uint8_t private_key[32], public_key[32];
	char state[64]; /* folder; kept over a restart */
	int tun; /* our end: write = the host sends, read = it receives */
	uint16_t port; /* IPv4, as bound */

	/* of its thread */
	struct wcore_engine *engine;
	struct warren_ctx *fixture, *probe;
	const struct warren_dataplane_ops *ops;
	struct wg_device *dev; /* self of the service */
	struct warren_netmap *map; /* the last one published */
	uint64_t serial;

	/* what the probe was told; lane writes, test reads by net_call() */
	_Atomic uint32_t wanted, proved, sessions[4];
	struct warren_addrport proved_at;
	struct net_foreign foreign[NET_FOREIGN_KEPT];
	_Atomic uint32_t n_foreign;
	struct net_node *relay_to; /* relay_out goes to inject of this node */
	bool relay_hold; /* or is thrown away */
	_Atomic uint32_t relayed;

	/* internal */
	struct net_impl *impl;
};

/* Starts a node with `wg:` options @yaml (may be ""). The test fails where it cannot. */
struct net_node *net_start(const char *name, const char *yaml);
/* Stops it; @keep leaves keys and state for net_restart(). */
void net_stop(struct net_node *node);
void net_restart(struct net_node *node, const char *yaml);
void net_free(struct net_node *node);
/* Applies another configuration. 0 or -errno; text for free() in *@text. */
int net_reload(struct net_node *node, const char *yaml, char **text);

/* Runs @fn on the node's lane and waits. */
void net_call(struct net_node *node, void (*fn)(struct net_node *node, void *arg), void *arg);

/* A map under construction: nodes are copied with all their lists. */
struct net_map;
struct net_map *net_map_new(void);
void net_map_add(struct net_map *map, const struct warren_node *node);
void net_map_addresses_only(struct net_map *map);	/* publish it with @gap */
void net_map_exit(struct net_map *map, int64_t id);	/* the way to the internet; 0: unsaid */
/*
 * Publishes it and frees @map; the policy is WARREN_POLICY_. @gap: as if a snapshot had been
 * missed, so that the consumer must compare instead of following the change list.
 */
void net_publish_take(struct net_node *node, struct net_map *map, uint32_t policy, bool gap);

/* A peer entry for @of: its key, one allowed IP 10.0.0.@host/32, its endpoint (if @endpoint). */
struct net_peer {
	struct warren_node node;
	struct warren_prefix allowed[4];
	struct warren_addrport endpoint[4];
};
void net_peer_init(struct net_peer *peer, const struct net_node *of, uint8_t host, bool endpoint);
/* Two nodes that know each other: 10.0.0.1 and 10.0.0.2, built-in policy. */
void net_join(struct net_node *a, struct net_node *b);

/* An IPv4 UDP packet from 10.0.0.@from to 10.0.0.@to with @len bytes in all; @tag marks it. */
void net_packet(uint8_t *out, size_t len, uint8_t from, uint8_t to, uint32_t tag);
void net_send(struct net_node *node, const uint8_t *packet, size_t len);
/* The next packet that the host of @node receives; 0 after @ms without one. */
size_t net_receive(struct net_node *node, uint8_t *out, size_t room, int ms);
/* Sends packets from a to b until one arrives; false after @ms. Empties b's queue. */
bool net_ping(struct net_node *a, uint8_t from, struct net_node *b, uint8_t to, int ms);

/* A metric of wg: sum over labels, or of one label. */
int64_t net_metric(struct net_node *node, const char *name, const char *label);
/* Waits until the metric is at least @least; false after @ms. */
bool net_wait_metric(struct net_node *node, const char *name, const char *label, int64_t least,
		     int ms);

/* The probe, on the node's lane by net_call() inside: */
int net_attach_paths(struct net_node *node);
int net_take_foreign(struct net_node *node, uint32_t class_, bool take);
int net_path(struct net_node *node, const struct net_node *peer,
	     const struct warren_data_path *path);
int net_status(struct net_node *node, const struct net_node *peer,
	       struct warren_peer_status *status);
/* Stops the plugin `probe`, starts it again. */
void net_restart_probe(struct net_node *node);

/* Gives the node another key and tells topic "identity". */
void net_new_key(struct net_node *node);

void net_pause(int ms);

/* cmocka's set-up and tear-down for tests with two nodes that know each other. */
struct net_pair {
	struct net_node *a, *b;
};
int net_two_nodes(void **state); /* *state: struct net_pair */
int net_end_nodes(void **state);

/* Sends packets 0 ... count - 1 from host 1 to host 2 behind @node. */
void net_send_many(struct net_node *node, uint32_t count);

/*
 * The same and their receipt, on two threads, while the test does something else. Never more than
 * a few packets are under way, so that no queue is too short, however busy the machine is.
 */
struct net_traffic {
	struct net_node *from, *to;
	uint32_t count;
	/* internal */
	_Atomic uint32_t received;
	pthread_t sender, receiver;
};
void net_traffic_start(struct net_traffic *traffic);
/* Waits for the end; how many different ones arrived. None may come twice. */
uint32_t net_traffic_end(struct net_traffic *traffic);

#endif
