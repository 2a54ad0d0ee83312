/*
 * The guard.
 *
 * A look is cheap to decide and simple to do: everything of ours is added once more, and the kernel
 * says of what is still there that it exists. Our own removals are told by the sender's port in
 * the notification. When repairs follow each other, somebody is fighting us: then the guard slows
 * down and says so, instead of burning the CPU in a duel.
 */
#include "monitor/guard.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum {
	SETTLE = 100000,		/* microseconds between the event and the look */
	WINDOW = 60000000,
	REPAIRS_MAX = 10,		/* in a window; then one per window */
};

int mon_guard_open(struct mon_guard *guard, struct warren_err *err)
{
	const int groups[] = {
		RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,
	};

	guard->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!guard->socket || mnl_socket_bind(guard->socket, 0, MNL_SOCKET_AUTOPID) == -1)
		return wpriv_refuse(err, -errno, "cannot open netlink: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		int group = groups[i];

		/* A kernel without IPv6 has fewer of them. */
		(void)mnl_socket_setsockopt(guard->socket, NETLINK_ADD_MEMBERSHIP, &group,
					    sizeof(group));
	}
	return 0;
}

void mon_guard_close(struct mon_guard *guard)
{
	if (guard->socket)
		mnl_socket_close(guard->socket);
	guard->socket = NULL;
}

int mon_guard_fd(const struct mon_guard *guard)
{
	return guard->socket ? mnl_socket_get_fd(guard->socket) : -1;
}

static bool is_ours(const struct mon *mon, int index, const struct mon_thing **tun)
{
	const struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_TUN && thing->what.tun.index == index) {
			*tun = thing;
			return true;
		}
	}
	return false;
}

/* Whether the notification says that something of ours is gone. */
static bool matters(const struct mon *mon, const struct nlmsghdr *nlh)
{
	const struct mon_thing *tun;

	if (nlh->nlmsg_pid == mon->netlink.port)
		return false;
	switch (nlh->nlmsg_type) {
	case RTM_DELROUTE:
		return ((const struct rtmsg *)mnl_nlmsg_get_payload(nlh))->rtm_protocol ==
		       WPRIV_RT_PROTOCOL;
	case RTM_DELRULE:
		return true;	/* rules are few */
	case RTM_DELADDR:
		return is_ours(mon, (int)((const struct ifaddrmsg *)
					  mnl_nlmsg_get_payload(nlh))->ifa_index, &tun);
	case RTM_NEWLINK: {
		const struct ifinfomsg *link = mnl_nlmsg_get_payload(nlh);

		return is_ours(mon, link->ifi_index, &tun) && tun->what.tun.up == 1 &&
		       !(link->ifi_flags & IFF_UP);
	}
	default:
		return false;
	}
}

void mon_guard_read(struct mon *mon)
{
	char buf[16384];
	bool look = false;

	for (int i = 0; i < 64; i++) {
		ssize_t n = mnl_socket_recvfrom(mon->guard.socket, buf, sizeof(buf));
		const struct nlmsghdr *nlh = (const struct nlmsghdr *)buf;
		int len = (int)n;

		/* Notifications were lost: anything may have happened. */
		if (n == -1 && errno == ENOBUFS)
			look = true;
		if (n <= 0)
			break;
		for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len))
			look = look || matters(mon, nlh);
	}
	if (look && mon->guard.due == 0)
		mon->guard.due = mon_now() + SETTLE;
}

static bool put_back(struct mon *mon, const struct mon_thing *thing)
{
	switch ((enum mon_kind)thing->kind) {
	case MON_TUN:
		/* Only the kernel knows whether it is down; setting it up again changes nothing. */
		if (thing->what.tun.up == 1)
			(void)mon_netlink_link(&mon->netlink, thing->what.tun.index,
					       thing->what.tun.req.mtu, 1, NULL);
		return false;
	case MON_ADDR:
	case MON_ROUTE:
	case MON_RULE:
		return mon_net_change(mon, MON_ADD, thing->kind, &thing->what, NULL) == 0;
	case MON_SOCKET:
	case MON_WATCH:
	case MON_SYSCTL:
	case MON_PATH:
	case MON_NETNS:
	case MON_RESOLVER:
	case MON_NFT:
	case MON_MARK:
		break;	/* op_nft.c looks after the last two */
	}
	return false;
}

uint64_t mon_guard_repair(struct mon *mon, uint64_t now)
{
	struct mon_guard *guard = &mon->guard;
	const struct mon_thing *thing;
	uint32_t done[MON_KIND_LAST + 1] = { 0 };

	if (guard->due == 0 || now < guard->due)
		return guard->due;
	guard->due = 0;
	if (now - guard->window > WINDOW) {
		guard->window = now;
		guard->repairs = 0;
	}
	if (guard->repairs >= REPAIRS_MAX) {
		guard->due = guard->window + WINDOW + 1;
		return guard->due;
	}
	/* In the order in which they were made, so that what others need comes first. */
	list_for_each(thing, &mon->things.all, node)
		done[thing->kind] += put_back(mon, thing);
	if (done[MON_ADDR] + done[MON_ROUTE] + done[MON_RULE] == 0)
		return 0;
	guard->repairs++;
	mon_log(LOG_WARNING,
		"another program has removed addresses, routes or rules of ours: put back "
		"%u addresses, %u routes, %u rules",
		done[MON_ADDR], done[MON_ROUTE], done[MON_RULE]);
	if (guard->repairs == REPAIRS_MAX)
		mon_log(LOG_ERR,
			"another program keeps removing them: from now on they are put back once "
			"a minute; configure it to leave table %u and rules %u-%u alone (for "
			"systemd-networkd: ManageForeignRoutes=no, "
			"ManageForeignRoutingPolicyRules=no)",
			mon->config->limits.table, mon->config->limits.rule_low,
			mon->config->limits.rule_high);
	return 0;
}
