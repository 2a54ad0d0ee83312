/*
 * rtnetlink by libmnl (rtnetlink(7)).
 *
 * Routes and rules carry our protocol number. The kernel compares it when it deletes, so a route or
 * rule that somebody else has put in place of ours stays.
 */
#include "monitor/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "priv/check.h"
#include "priv/limits.h"

enum {
	REQUEST_MAX = 1024,		/* the longest request below has a quarter of it */
	IP6_METRIC = 1024,		/* the kernel's choice (IP6_RT_PRIO_USER) */
	ANSWER_MAX = 32 << 10,		/* one RTM_NEWLINK with all its attributes */
};

union request {
	struct nlmsghdr head;
	char bytes[REQUEST_MAX];
};

int mon_netlink_open(struct mon_netlink *nl, struct warren_err *err)
{
	const int on = 1;

	nl->seq = 0;
	nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->socket || mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) == -1) {
		int result = -errno;

		mon_netlink_close(nl);
		return wpriv_refuse(err, result, "cannot open netlink: %s", strerror(-result));
	}
	nl->port = mnl_socket_get_portid(nl->socket);
	/* Words beside the error number, and errors without a copy of the request. */
	mnl_socket_setsockopt(nl->socket, NETLINK_EXT_ACK, (void *)&on, sizeof(on));
	mnl_socket_setsockopt(nl->socket, NETLINK_CAP_ACK, (void *)&on, sizeof(on));
	return 0;
}

void mon_netlink_close(struct mon_netlink *nl)
{
	if (nl->socket)
		mnl_socket_close(nl->socket);
	nl->socket = NULL;
}

static struct nlmsghdr *begin(struct mon_netlink *nl, union request *req, uint16_t type,
			      uint16_t flags)
{
	struct nlmsghdr *nlh;

	memset(req, 0, sizeof(*req));
	nlh = mnl_nlmsg_put_header(req->bytes);
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nlh->nlmsg_seq = ++nl->seq;
	return nlh;
}

static int attr_text(const struct nlattr *attr, void *data)
{
	const char **text = data;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG &&
	    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*text = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

/* The acknowledgement @nlh as 0 or -errno, with the kernel's sentence if it gave one. */
static int read_ack(const struct nlmsghdr *nlh, struct warren_err *err)
{
	const struct nlmsgerr *ack = mnl_nlmsg_get_payload(nlh);
	const char *text = NULL;

	if (ack->error == 0)
		return 0;
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS)
		mnl_attr_parse(nlh, sizeof(*ack), attr_text, &text);
	return wpriv_refuse(err, ack->error, "%s%s%s", strerror(-ack->error), text ? ": " : "",
			    text ? text : "");
}

/* Sends and waits for the answer to this request; @answer may be NULL where only an ack comes. */
static int talk(struct mon_netlink *nl, struct nlmsghdr *nlh, char *answer,
		struct nlmsghdr **found, struct warren_err *err)
{
	char ack[2048];
	char *buf = answer ? answer : ack;
	size_t size = answer ? ANSWER_MAX : sizeof(ack);

	if (!answer)
		nlh->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(nl->socket, nlh, nlh->nlmsg_len) == -1)
		return wpriv_refuse(err, -errno, "netlink: %s", strerror(errno));
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, buf, size);
		struct nlmsghdr *got = (struct nlmsghdr *)buf;
		int len = (int)n;

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return wpriv_refuse(err, -errno, "netlink: %s", strerror(errno));
		for (; mnl_nlmsg_ok(got, len); got = mnl_nlmsg_next(got, &len)) {
			if (got->nlmsg_seq != nlh->nlmsg_seq)
				continue;	/* of a request that was given up */
			if (got->nlmsg_type == NLMSG_ERROR)
				return read_ack(got, err);
			if (found) {
				*found = got;
				return 0;
			}
		}
	}
}

int mon_netlink_link(struct mon_netlink *nl, int index, uint32_t mtu, uint32_t up,
		     struct warren_err *err)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, RTM_NEWLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));

	link->ifi_index = index;
	if (up != 0) {
		link->ifi_change = IFF_UP;
		link->ifi_flags = up == 1 ? IFF_UP : 0;
	}
	if (mtu != 0)
		mnl_attr_put_u32(nlh, IFLA_MTU, mtu);
	return talk(nl, nlh, NULL, NULL, err);
}

int mon_netlink_unlink(struct mon_netlink *nl, int index)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, RTM_DELLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));

	link->ifi_index = index;
	return talk(nl, nlh, NULL, NULL, NULL);
}

int mon_netlink_no_autoconf(struct mon_netlink *nl, int index)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, RTM_NEWLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	struct nlattr *spec, *inet6;

	link->ifi_index = index;
	spec = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(nlh, AF_INET6);
	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, inet6);
	mnl_attr_nest_end(nlh, spec);
	return talk(nl, nlh, NULL, NULL, NULL);
}

static int find_info(const struct nlattr *attr, void *data)
{
	const struct nlattr **info = data;

	if (mnl_attr_get_type(attr) == IFLA_LINKINFO || mnl_attr_get_type(attr) == IFLA_INFO_DATA)
		*info = attr;
	return MNL_CB_OK;
}

static int count_queues(const struct nlattr *attr, void *data)
{
	uint16_t type = mnl_attr_get_type(attr);

	if ((type == IFLA_TUN_NUM_QUEUES || type == IFLA_TUN_NUM_DISABLED_QUEUES) &&
	    mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
		*(int *)data += (int)mnl_attr_get_u32(attr);
	return MNL_CB_OK;
}

int mon_netlink_tun_queues(struct mon_netlink *nl, int index)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, RTM_GETLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	const struct nlattr *info = NULL;
	struct nlmsghdr *found = NULL;
	char answer[ANSWER_MAX];
	int queues = 0, result;

	link->ifi_index = index;
	result = talk(nl, nlh, answer, &found, NULL);
	if (result || !found)
		return result ? result : -ENODEV;
	mnl_attr_parse(found, sizeof(*link), find_info, &info);
	if (info) {
		const struct nlattr *linkinfo = info;

		info = NULL;
		mnl_attr_parse_nested(linkinfo, find_info, &info);
	}
	if (!info)
		return -ENOTSUP;	/* before Linux 4.18 */
	mnl_attr_parse_nested(info, count_queues, &queues);
	return queues;
}

static uint8_t family_of(const struct warren_addr *addr)
{
	return addr->family == 6 ? AF_INET6 : AF_INET;
}

static void put_addr(struct nlmsghdr *nlh, uint16_t type, const struct warren_addr *addr)
{
	mnl_attr_put(nlh, type, addr_size(addr), addr->bytes);
}

static uint16_t flags_of(enum mon_change change)
{
	switch (change) {
	case MON_ADD:
		return NLM_F_CREATE | NLM_F_EXCL;
	case MON_REPLACE:
		return NLM_F_CREATE | NLM_F_REPLACE;
	case MON_DEL:
		return 0;
	}
	return 0;
}

int mon_netlink_addr(struct mon_netlink *nl, enum mon_change change, int index,
		     const struct warren_priv_addr *addr, struct warren_err *err)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, change == MON_DEL ? RTM_DELADDR : RTM_NEWADDR,
				     flags_of(change));
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	ifa->ifa_family = family_of(&addr->prefix.addr);
	ifa->ifa_prefixlen = addr->prefix.bits;
	ifa->ifa_index = (uint32_t)index;
	/* Nobody else is on our link, so there are no duplicates to look for. */
	if (addr->prefix.addr.family == 6)
		ifa->ifa_flags = IFA_F_NODAD;
	put_addr(nlh, IFA_LOCAL, &addr->prefix.addr);
	put_addr(nlh, IFA_ADDRESS, &addr->prefix.addr);
	return talk(nl, nlh, NULL, NULL, err);
}

static uint8_t route_type(uint32_t type)
{
	switch (type) {
	case WARREN_ROUTE_THROW:
		return RTN_THROW;
	case WARREN_ROUTE_UNREACHABLE:
		return RTN_UNREACHABLE;
	case WARREN_ROUTE_BLACKHOLE:
		return RTN_BLACKHOLE;
	default:
		return RTN_UNICAST;
	}
}

int mon_netlink_route(struct mon_netlink *nl, enum mon_change change, int index,
		      const struct warren_priv_route *route, struct warren_err *err)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, change == MON_DEL ? RTM_DELROUTE : RTM_NEWROUTE,
				     flags_of(change));
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	uint32_t metric = route->metric;

	rt->rtm_family = family_of(&route->dst.addr);
	rt->rtm_dst_len = route->dst.bits;
	rt->rtm_table = route->table < 256 ? (uint8_t)route->table : RT_TABLE_UNSPEC;
	rt->rtm_protocol = WPRIV_RT_PROTOCOL;
	rt->rtm_type = route_type(route->type);
	if (change == MON_DEL) {
		/* Any scope and interface, but our protocol and type only. */
		rt->rtm_scope = RT_SCOPE_NOWHERE;
		/* No type counts in IPv6, and no metric would be any: another route's too. */
		if (metric == 0 && rt->rtm_family == AF_INET6)
			metric = IP6_METRIC;
	} else {
		/* A route without gateway ends on the link. */
		rt->rtm_scope = route->type == WARREN_ROUTE_UNICAST ? RT_SCOPE_LINK :
								      RT_SCOPE_UNIVERSE;
	}
	mnl_attr_put_u32(nlh, RTA_TABLE, route->table);
	put_addr(nlh, RTA_DST, &route->dst.addr);
	if (metric != 0)
		mnl_attr_put_u32(nlh, RTA_PRIORITY, metric);
	if (index != 0 && change != MON_DEL)
		mnl_attr_put_u32(nlh, RTA_OIF, (uint32_t)index);
	if (route->source.family != 0 && change != MON_DEL)
		put_addr(nlh, RTA_PREFSRC, &route->source);
	return talk(nl, nlh, NULL, NULL, err);
}

int mon_netlink_all_local(struct mon_netlink *nl, uint32_t family, uint32_t table,
			  struct warren_err *err)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, RTM_NEWROUTE, flags_of(MON_ADD));
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));

	rt->rtm_family = family == 6 ? AF_INET6 : AF_INET;
	rt->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	rt->rtm_protocol = WPRIV_RT_PROTOCOL;
	rt->rtm_type = RTN_LOCAL;
	rt->rtm_scope = family == 6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST;
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	mnl_attr_put_u32(nlh, RTA_OIF, if_nametoindex("lo"));
	return talk(nl, nlh, NULL, NULL, err);
}

int mon_netlink_rule(struct mon_netlink *nl, enum mon_change change,
		     const struct warren_priv_rule *rule, struct warren_err *err)
{
	union request req;
	struct nlmsghdr *nlh = begin(nl, &req, change == MON_DEL ? RTM_DELRULE : RTM_NEWRULE,
				     flags_of(change));
	struct fib_rule_hdr *fib = mnl_nlmsg_put_extra_header(nlh, sizeof(*fib));

	fib->family = rule->family == 6 ? AF_INET6 : AF_INET;
	fib->action = rule->action == WARREN_RULE_UNREACHABLE ? FR_ACT_UNREACHABLE : FR_ACT_TO_TBL;
	fib->table = rule->table < 256 ? (uint8_t)rule->table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, rule->pref);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, WPRIV_RT_PROTOCOL);
	if (rule->table != 0)
		mnl_attr_put_u32(nlh, FRA_TABLE, rule->table);
	if (rule->mask != 0) {
		mnl_attr_put_u32(nlh, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(nlh, FRA_FWMASK, rule->mask);
	}
	if (rule->to.addr.family != 0) {
		fib->dst_len = rule->to.bits;
		if (rule->to.bits > 0)
			put_addr(nlh, FRA_DST, &rule->to.addr);
	}
	if (rule->flags & WARREN_RULE_SPECIFIC)
		mnl_attr_put_u32(nlh, FRA_SUPPRESS_PREFIXLEN, 0);
	if (rule->flags & WARREN_RULE_UIDS) {
		const struct fib_rule_uid_range range = { rule->uid_first, rule->uid_last };

		mnl_attr_put(nlh, FRA_UID_RANGE, sizeof(range), &range);
	}
	if (rule->iif[0] != '\0')
		mnl_attr_put_strz(nlh, FRA_IIFNAME, rule->iif);
	if (rule->oif[0] != '\0')
		mnl_attr_put_strz(nlh, FRA_OIFNAME, rule->oif);
	return talk(nl, nlh, NULL, NULL, err);
}
