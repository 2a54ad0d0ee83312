/*
 * Reads routes, rules and reverse-path filters over rtnetlink (rtnetlink(7)).
 *
 * A socket per dump: it is rare, and nothing is left over from the one before. With strict checking
 * (Linux 4.20) the kernel sends one table only; an older one sends all, so tables are compared
 * here too. Messages are taken apart with a bounded reader, although the kernel made them.
 */
#include "engine/netstate.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/util.h"
#include "priv/limits.h"

_Static_assert(WARREN_NET_PROTOCOL == WPRIV_RT_PROTOCOL, "routes of ours");

enum { ANSWER_SECONDS = 2, DATAGRAM = 32768 };

static uint8_t family_of(uint8_t af)
{
	return af == AF_INET ? 4 : af == AF_INET6 ? 6 : 0;
}

/* The next attribute: its type without flags, and a reader over its payload. */
static bool next_attr(struct buf_reader *r, uint16_t *type, struct buf_reader *payload)
{
	struct nlattr attr;

	if (buf_left(r) < sizeof(attr) || !buf_bytes(r, &attr, sizeof(attr)) ||
	    attr.nla_len < sizeof(attr) || !buf_sub(r, attr.nla_len - sizeof(attr), payload))
		return false;
	buf_skip(r, buf_left(r) < (size_t)(-attr.nla_len & 3) ? buf_left(r)
							       : (size_t)(-attr.nla_len & 3));
	*type = attr.nla_type & NLA_TYPE_MASK;
	return true;
}

static uint32_t attr_u32(struct buf_reader *payload)
{
	uint32_t v = 0;

	buf_bytes(payload, &v, sizeof(v));
	return v;
}

static void parse_route(const struct wcore_net_dump *dump, struct buf_reader *r)
{
	struct warren_net_route route = { .size = sizeof(route) };
	struct buf_reader payload;
	struct rtmsg msg;
	uint16_t type;

	if (!buf_bytes(r, &msg, sizeof(msg)))
		return;
	route.family = family_of(msg.rtm_family);
	route.table = msg.rtm_table;
	route.protocol = msg.rtm_protocol;
	route.type = msg.rtm_type;
	route.dst.addr.family = route.family;
	route.dst.bits = msg.rtm_dst_len;
	route.dead = msg.rtm_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN);
	if (!route.family || msg.rtm_flags & RTM_F_CLONED)
		return;
	while (next_attr(r, &type, &payload)) {
		if (type == RTA_TABLE)
			route.table = attr_u32(&payload);
		else if (type == RTA_PRIORITY)
			route.metric = attr_u32(&payload);
		else if (type == RTA_OIF)
			route.ifindex = attr_u32(&payload);
		else if (type == RTA_DST)
			buf_bytes(&payload, route.dst.addr.bytes, addr_size(&route.dst.addr));
		else if (type == RTA_GATEWAY && buf_left(&payload) == addr_size(&route.dst.addr)) {
			route.gateway.family = route.family;
			buf_bytes(&payload, route.gateway.bytes, addr_size(&route.gateway));
		}
	}
	dump->route(&route, dump->arg);
}

static void parse_selector(struct warren_net_rule *rule, uint16_t type, struct buf_reader *payload)
{
	switch (type) {
	case FRA_DST:
		buf_bytes(payload, rule->dst.addr.bytes, rule->family == 6 ? 16 : 4);
		break;
	case FRA_SUPPRESS_PREFIXLEN:
		rule->suppress = (int32_t)attr_u32(payload);
		break;
	case FRA_UID_RANGE:
		rule->uid_first = attr_u32(payload);
		rule->uid_last = attr_u32(payload);
		break;
	case FRA_IIFNAME:
	case FRA_OIFNAME:
	case FRA_L3MDEV:
	case FRA_IP_PROTO:
	case FRA_SPORT_RANGE:
	case FRA_DPORT_RANGE:
	case FRA_TUN_ID:
		rule->narrow = true;
		break;
	default:
		break;
	}
}

static void parse_rule(const struct wcore_net_dump *dump, struct buf_reader *r)
{
	struct warren_net_rule rule = { .size = sizeof(rule), .uid_last = UINT32_MAX,
					.suppress = -1 };
	struct buf_reader payload;
	struct fib_rule_hdr msg;
	uint16_t type;

	if (!buf_bytes(r, &msg, sizeof(msg)))
		return;
	rule.family = family_of(msg.family);
	rule.table = msg.table;
	rule.action = msg.action;
	rule.inverse = msg.flags & FIB_RULE_INVERT;
	rule.narrow = msg.src_len > 0 || msg.tos != 0;
	if (!rule.family || msg.dst_len > (rule.family == 6 ? 128 : 32))
		return;
	rule.dst.addr.family = msg.dst_len > 0 ? rule.family : 0;
	rule.dst.bits = msg.dst_len;
	while (next_attr(r, &type, &payload)) {
		if (type == FRA_PRIORITY)
			rule.pref = attr_u32(&payload);
		else if (type == FRA_TABLE)
			rule.table = attr_u32(&payload);
		else if (type == FRA_FWMARK)
			rule.mark = attr_u32(&payload);
		else if (type == FRA_FWMASK)
			rule.mask = attr_u32(&payload);
		else if (type == FRA_PROTOCOL)
			buf_u8(&payload, &rule.protocol);
		else
			parse_selector(&rule, type, &payload);
	}
	dump->rule(&rule, dump->arg);
}

static void parse_filter(const struct wcore_net_dump *dump, struct buf_reader *r)
{
	struct warren_net_filter filter = { .size = sizeof(filter) };
	struct buf_reader payload;
	struct netconfmsg msg;
	bool have = false;
	uint16_t type;

	if (!buf_bytes(r, &msg, sizeof(msg)))
		return;
	/* The structure is one byte; attributes are aligned to four. */
	buf_skip(r, 3);
	while (next_attr(r, &type, &payload)) {
		if (type == NETCONFA_IFINDEX)
			filter.ifindex = (int32_t)attr_u32(&payload);
		if (type == NETCONFA_RP_FILTER) {
			filter.rp_filter = (int32_t)attr_u32(&payload);
			have = true;
		}
		if (type == NETCONFA_FORWARDING) {
			filter.forwarding = (int32_t)attr_u32(&payload);
			have = true;
		}
	}
	if (have)
		dump->filter(&filter, dump->arg);
}

/* The kernel's error, 0 for an acknowledgement. */
static int parse_error(struct buf_reader *r)
{
	int32_t error;

	if (!buf_bytes(r, &error, sizeof(error)))
		return -EBADMSG;
	return error > 0 || error < -4095 ? -EBADMSG : error;
}

int wcore_net_parse(const struct wcore_net_dump *dump, const void *data, size_t len)
{
	struct buf_reader r, body;
	struct nlmsghdr header;

	buf_reader_init(&r, data, len);
	while (buf_left(&r) >= sizeof(header)) {
		buf_bytes(&r, &header, sizeof(header));
		if (header.nlmsg_len < sizeof(header) ||
		    !buf_sub(&r, header.nlmsg_len - sizeof(header), &body))
			return -EBADMSG;
		if (buf_left(&r) > 0 && !buf_skip(&r, -header.nlmsg_len & 3))
			return -EBADMSG;
		if (header.nlmsg_seq != dump->seq)
			continue;
		if (header.nlmsg_flags & NLM_F_DUMP_INTR)
			return -EINTR;
		if (header.nlmsg_type == NLMSG_DONE)
			return 0;
		if (header.nlmsg_type == NLMSG_ERROR)
			return parse_error(&body);
		if (header.nlmsg_type == RTM_NEWROUTE && dump->route)
			parse_route(dump, &body);
		else if (header.nlmsg_type == RTM_NEWRULE && dump->rule)
			parse_rule(dump, &body);
		else if (header.nlmsg_type == RTM_NEWNETCONF && dump->filter)
			parse_filter(dump, &body);
	}
	return 1;
}

uint32_t wcore_net_news(const void *data, size_t len)
{
	struct buf_reader r, body;
	struct nlmsghdr header;
	struct rtmsg route;
	uint32_t news = 0;

	buf_reader_init(&r, data, len);
	while (buf_left(&r) >= sizeof(header)) {
		buf_bytes(&r, &header, sizeof(header));
		if (header.nlmsg_len < sizeof(header) ||
		    !buf_sub(&r, header.nlmsg_len - sizeof(header), &body))
			break;
		if (header.nlmsg_type == RTM_NEWLINK || header.nlmsg_type == RTM_DELLINK)
			news |= WARREN_NET_LINKS;
		if (header.nlmsg_type == RTM_NEWADDR || header.nlmsg_type == RTM_DELADDR)
			news |= WARREN_NET_ADDRESSES;
		if ((header.nlmsg_type == RTM_NEWROUTE || header.nlmsg_type == RTM_DELROUTE) &&
		    buf_bytes(&body, &route, sizeof(route)) && route.rtm_table == RT_TABLE_MAIN)
			news |= WARREN_NET_ROUTES;
		if (buf_left(&r) > 0)
			buf_skip(&r, -header.nlmsg_len & 3);
	}
	return news;
}

/*
 * ---- Asking ----
 */

static int dump_open(void)
{
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };
	const int one = 1;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd == -1)
		return -errno;
	/* Without strict checking all tables come; they are told apart by us. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1) {
		int result = -errno;

		close(fd);
		return result;
	}
	return fd;
}

static int dump_read(int fd, const struct wcore_net_dump *dump)
{
	uint8_t data[DATAGRAM] __attribute__((aligned(8)));
	struct sockaddr_nl from;
	int result = 1;

	while (result > 0) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), MSG_TRUNC, (struct sockaddr *)&from,
				     &size);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		if ((size_t)n > sizeof(data))
			return -EMSGSIZE;
		if (size == sizeof(from) && from.nl_pid == 0)
			result = wcore_net_parse(dump, data, (size_t)n);
	}
	return result;
}

/* Sends @body of @len bytes as a dump request of @type and hands out what comes back. */
static int dump_run(struct wcore_net_dump *dump, uint16_t type, const void *body, size_t len)
{
	struct {
		struct nlmsghdr header;
		uint8_t body[64];
	} request = { .header = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
				  .nlmsg_seq = 1 } };
	AUTO(auto_close) int fd = dump_open();

	if (fd < 0)
		return fd;
	dump->seq = request.header.nlmsg_seq;
	request.header.nlmsg_len = (uint32_t)(sizeof(request.header) + len);
	memcpy(request.body, body, len);
	if (send(fd, &request, request.header.nlmsg_len, 0) == -1)
		return -errno;
	return dump_read(fd, dump);
}

static int dump_failed(struct warren_err *err, int result, const char *what)
{
	warren_fail(err, NULL, "cannot read the kernel's %s: %s", what, strerror(-result));
	return result;
}

/* A kernel without IPv6 answers for the other family or not at all: that is no failure. */
static bool family_absent(int family, int result)
{
	return family == AF_INET6 && (result == -EOPNOTSUPP || result == -EAFNOSUPPORT);
}

struct table_filter {
	uint32_t table;
	uint8_t family;
	warren_net_route_fn *fn;
	void *arg;
};

static void route_of_table(const struct warren_net_route *route, void *arg)
{
	const struct table_filter *filter = arg;

	if (route->table == filter->table && route->family == filter->family)
		filter->fn(route, filter->arg);
}

int warren_net_routes(uint32_t table, warren_net_route_fn *fn, void *arg, struct warren_err *err)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct table_filter filter = { table, family_of(families[i]), fn, arg };
		struct wcore_net_dump dump = { .route = route_of_table, .arg = &filter };
		struct {
			struct rtmsg msg;
			struct nlattr attr;
			uint32_t table;
		} body = {
			.msg = { .rtm_family = families[i] },
			.attr = { .nla_len = sizeof(struct nlattr) + 4, .nla_type = RTA_TABLE },
			.table = table,
		};
		int result = dump_run(&dump, RTM_GETROUTE, &body, sizeof(body));

		/* -ENOENT: there is no such table yet. */
		if (result < 0 && result != -ENOENT && !family_absent(families[i], result))
			return dump_failed(err, result, "routes");
	}
	return 0;
}

int warren_net_rules(warren_net_rule_fn *fn, void *arg, struct warren_err *err)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct wcore_net_dump dump = { .rule = fn, .arg = arg };
		const struct fib_rule_hdr body = { .family = families[i] };
		int result = dump_run(&dump, RTM_GETRULE, &body, sizeof(body));

		if (result < 0 && !family_absent(families[i], result))
			return dump_failed(err, result, "routing rules");
	}
	return 0;
}

int warren_net_filters(warren_net_filter_fn *fn, void *arg, struct warren_err *err)
{
	struct wcore_net_dump dump = { .filter = fn, .arg = arg };
	const struct netconfmsg body = { .ncm_family = AF_INET };
	const uint8_t padded[4] = { body.ncm_family };
	int result = dump_run(&dump, RTM_GETNETCONF, padded, sizeof(padded));

	return result < 0 ? dump_failed(err, result, "reverse-path filters") : 0;
}

static void all_interfaces(const struct warren_net_filter *filter, void *arg)
{
	bool *on = arg;

	if (filter->ifindex == NETCONFA_IFINDEX_ALL)
		*on = filter->forwarding != 0;
}

int warren_net_forwarding(uint8_t family, bool *on, struct warren_err *err)
{
	const uint8_t body[4] = { family == 4 ? AF_INET : AF_INET6 };
	struct wcore_net_dump dump = { .filter = all_interfaces, .arg = on };
	int result;

	*on = false;
	result = dump_run(&dump, RTM_GETNETCONF, body, sizeof(body));
	if (result >= 0 || family_absent(body[0], result))
		return 0;
	return dump_failed(err, result, "forwarding");
}
