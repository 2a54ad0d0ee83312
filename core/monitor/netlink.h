/*
 * monitor/netlink.h - addresses, routes, rules and link settings in the kernel
 *
 * One request, one acknowledgement, one after the other; the kernel answers at once. Functions
 * return 0 or -errno, and write the kernel's own words into @err where it has some.
 */
#ifndef WARREN_MONITOR_NETLINK_H
#define WARREN_MONITOR_NETLINK_H

#include <stdint.h>

#include <warren/priv.h>

struct mnl_socket;
struct warren_err;

struct mon_netlink {
	struct mnl_socket *socket;
	uint32_t port, seq;
};

int mon_netlink_open(struct mon_netlink *nl, struct warren_err *err);
void mon_netlink_close(struct mon_netlink *nl);

/* MTU 0 leaves it; @up: 0 leaves it, 1 up, 2 down. */
int mon_netlink_link(struct mon_netlink *nl, int index, uint32_t mtu, uint32_t up,
		     struct warren_err *err);
/* Removes the interface, whoever still has a queue of it open. */
int mon_netlink_unlink(struct mon_netlink *nl, int index);
/* Switches off the link-local address that the kernel gives to each interface that goes up. */
int mon_netlink_no_autoconf(struct mon_netlink *nl, int index);
/* Queues of a TUN device, attached or not, or -errno. */
int mon_netlink_tun_queues(struct mon_netlink *nl, int index);

enum mon_change {
	MON_ADD,			/* -EEXIST when it is there */
	MON_REPLACE,			/* routes only */
	MON_DEL,			/* only what carries our protocol number */
};
int mon_netlink_addr(struct mon_netlink *nl, enum mon_change change, int index,
		     const struct warren_priv_addr *addr, struct warren_err *err);
/* @index is the interface of a unicast route, 0 else. */
int mon_netlink_route(struct mon_netlink *nl, enum mon_change change, int index,
		      const struct warren_priv_route *route, struct warren_err *err);
/* In @table: every destination of @family (4, 6) is local. For the service namespace. */
int mon_netlink_all_local(struct mon_netlink *nl, uint32_t family, uint32_t table,
			  struct warren_err *err);
int mon_netlink_rule(struct mon_netlink *nl, enum mon_change change,
		     const struct warren_priv_rule *rule, struct warren_err *err);

#endif
