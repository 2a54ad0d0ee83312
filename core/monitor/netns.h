/*
 * monitor/netns.h - the service namespace: a network of the daemon's own
 *
 * It holds `lo` and one TUN interface, whose queue the engine has. Every packet that the engine
 * writes there is delivered locally, whatever its destination; every packet that its sockets send
 * comes out at the queue. Nothing else leads in or out. The kernel ends it with the last of its
 * descriptors, so a dead daemon leaves nothing. One at a time, of one plugin, which alone gets
 * sockets in it.
 */
#ifndef WARREN_MONITOR_NETNS_H
#define WARREN_MONITOR_NETNS_H

struct mon;
struct mon_reply;
struct mon_request;
struct mon_thing;
struct warren_err;

enum {
	MON_NETNS_TABLE = 100,		/* routing table in there that says "all of it is local" */
	/* Ports of dialed connections; the host's own are below (ip_local_port_range). */
	MON_NETNS_PORT_LOW = 61000,
	MON_NETNS_PORT_HIGH = 65535,
};

/* TUN with namespace_ SERVICE: makes the namespace and its interface. */
int mon_netns_tun(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  struct warren_err *err);
/*
 * Between the two, what this thread makes is made in the namespace of @req's owner. Returns the way
 * back, a descriptor, or -errno with a sentence.
 */
int mon_netns_enter(struct mon *mon, const struct mon_request *req, struct warren_err *err);
/* Takes @back. A monitor that cannot come back ends: it must not change another network. */
void mon_netns_leave(int back);
/* Removes its interface; the namespace goes when the last socket in it is closed. */
void mon_netns_end(const struct mon_thing *thing);

#endif
