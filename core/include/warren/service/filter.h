/*
 * warren/service/filter.h - service "filter" 0.2: what the policy says about a packet
 *
 * `filter` offers it. That it is there means that the rules of the network map are enforced.
 */
#ifndef WARREN_SERVICE_FILTER_H
#define WARREN_SERVICE_FILTER_H

#include <warren/plugin.h>

struct warren_filter_query {		/* a packet from a peer */
	uint32_t size;
	struct warren_addr source, destination;	/* of one family */
	uint8_t protocol;		/* IP protocol number */
	uint16_t port;			/* destination port of TCP, UDP, SCTP */
};

struct warren_filter_ops {
	uint32_t size;
	/*
	 * Lane of the caller, which is the provider's. Would the first packet of a flow be let in?
	 * 0: yes; -EACCES: no rule allows it; -EADDRNOTAVAIL: this node does not serve the
	 * destination; -EAGAIN: no policy is in force yet, everything is dropped.
	 */
	int (*test)(void *self, const struct warren_filter_query *query);
	/*
	 * Lane (0.2). For the plugin that serves the peer API: its ports on this node's IPv4 and
	 * IPv6 address, which peers learn whose ping by TSMP is answered. 0, as at first: none.
	 */
	void (*peerapi_ports)(void *self, uint16_t port4, uint16_t port6);
};

#endif
