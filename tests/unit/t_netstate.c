/*
 * Reading the kernel's routes and rules: messages made by hand, damaged ones, and this host's own.
 */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/err.h"
#include "engine/netstate.h"

enum { SEQ = 7 };

/* A datagram that grows. */
struct datagram {
	uint8_t data[512];
	size_t len, message;		/* message: where the newest one begins */
};

static void put(struct datagram *d, const void *bytes, size_t n)
{
	assert_true(d->len + n <= sizeof(d->data));
	memcpy(d->data + d->len, bytes, n);
	d->len += (n + 3) & ~(size_t)3;
}

static void message_end(struct datagram *d)
{
	uint32_t len = (uint32_t)(d->len - d->message);

	memcpy(d->data + d->message, &len, sizeof(len));
}

static void message_begin(struct datagram *d, uint16_t type, uint32_t seq, const void *body,
			  size_t n)
{
	const struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_seq = seq };

	d->message = d->len;
	put(d, &header, sizeof(header));
	put(d, body, n);
	message_end(d);
}

static void attribute(struct datagram *d, uint16_t type, const void *value, uint16_t n)
{
	const struct nlattr attr = { .nla_len = (uint16_t)(sizeof(attr) + n), .nla_type = type };

	put(d, &attr, sizeof(attr));
	put(d, value, n);
	message_end(d);
}

static void attribute_u32(struct datagram *d, uint16_t type, uint32_t value)
{
	attribute(d, type, &value, sizeof(value));
}

struct seen {
	int routes, rules, filters;
	struct warren_net_route route;
	struct warren_net_rule rule;
	struct warren_net_filter filter;
};

static void see_route(const struct warren_net_route *route, void *arg)
{
	((struct seen *)arg)->route = *route;
	((struct seen *)arg)->routes++;
}

static void see_rule(const struct warren_net_rule *rule, void *arg)
{
	((struct seen *)arg)->rule = *rule;
	((struct seen *)arg)->rules++;
}

static void see_filter(const struct warren_net_filter *filter, void *arg)
{
	((struct seen *)arg)->filter = *filter;
	((struct seen *)arg)->filters++;
}

static struct wcore_net_dump dump_into(struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	return (struct wcore_net_dump){ SEQ, see_route, see_rule, see_filter, seen };
}

static void add_route(struct datagram *d, uint32_t seq)
{
	const struct rtmsg msg = { .rtm_family = AF_INET, .rtm_dst_len = 16,
				   .rtm_protocol = 87, .rtm_type = RTN_UNICAST };
	const uint8_t dst[] = { 10, 99, 0, 0 }, gateway[] = { 192, 0, 2, 1 };

	message_begin(d, RTM_NEWROUTE, seq, &msg, sizeof(msg));
	attribute_u32(d, RTA_TABLE, 5200);
	attribute(d, RTA_DST, dst, sizeof(dst));
	attribute_u32(d, RTA_OIF, 4);
	attribute_u32(d, RTA_PRIORITY, 1024);
	attribute(d, RTA_GATEWAY, gateway, sizeof(gateway));
}

static void takes_messages_apart(void **state)
{
	const struct fib_rule_hdr rule = { .family = AF_INET6, .table = 52,
					   .action = FR_ACT_TO_TBL };
	const struct netconfmsg conf = { .ncm_family = AF_INET };
	const uint8_t protocol = 87;
	struct datagram d = { .len = 0 };
	struct seen seen;
	struct wcore_net_dump dump = dump_into(&seen);
	char text[PREFIX_TEXT];

	(void)state;
	add_route(&d, SEQ);
	message_begin(&d, RTM_NEWRULE, SEQ, &rule, sizeof(rule));
	attribute_u32(&d, FRA_PRIORITY, 5210);
	attribute_u32(&d, FRA_FWMARK, 0x80000);
	attribute_u32(&d, FRA_FWMASK, 0xff0000);
	attribute(&d, FRA_PROTOCOL, &protocol, 1);
	message_begin(&d, RTM_NEWNETCONF, SEQ, &conf, sizeof(conf));
	attribute_u32(&d, NETCONFA_IFINDEX, (uint32_t)-1);
	attribute_u32(&d, NETCONFA_RP_FILTER, 2);
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), 1);
	assert_int_equal(seen.routes, 1);
	assert_int_equal(seen.route.table, 5200);
	assert_int_equal(seen.route.metric, 1024);
	assert_int_equal(seen.route.ifindex, 4);
	assert_int_equal(seen.route.protocol, 87);
	assert_string_equal(prefix_format(&seen.route.dst, text), "10.99.0.0/16");
	assert_string_equal(addr_format(&seen.route.gateway, text), "192.0.2.1");
	assert_int_equal(seen.rules, 1);
	assert_int_equal(seen.rule.family, 6);
	assert_int_equal(seen.rule.pref, 5210);
	assert_int_equal(seen.rule.table, 52);
	assert_int_equal(seen.rule.mark, 0x80000);
	assert_int_equal(seen.rule.mask, 0xff0000);
	assert_int_equal(seen.rule.protocol, 87);
	assert_int_equal(seen.filters, 1);
	assert_int_equal(seen.filter.ifindex, -1);
	assert_int_equal(seen.filter.rp_filter, 2);
}

/* A gateway of the wrong length is none; neither is that of one next hop among several. */
static void knows_a_gateway(void **state)
{
	const struct rtmsg msg = { .rtm_family = AF_INET, .rtm_type = RTN_UNICAST };
	const uint8_t gateway[16] = { 192, 0, 2, 1 };
	struct datagram d = { .len = 0 };
	struct seen seen;
	struct wcore_net_dump dump = dump_into(&seen);

	(void)state;
	message_begin(&d, RTM_NEWROUTE, SEQ, &msg, sizeof(msg));
	attribute(&d, RTA_GATEWAY, gateway, sizeof(gateway));
	attribute(&d, RTA_MULTIPATH, gateway, 8);
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), 1);
	assert_int_equal(seen.routes, 1);
	assert_int_equal(seen.route.gateway.family, 0);
}

static void ends_as_the_kernel_says(void **state)
{
	int32_t error = -EPERM;
	struct datagram d = { .len = 0 };
	struct seen seen;
	struct wcore_net_dump dump = dump_into(&seen);

	(void)state;
	/* What belongs to another request is skipped, its end too. */
	message_begin(&d, NLMSG_DONE, SEQ + 1, &error, sizeof(error));
	add_route(&d, SEQ + 1);
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), 1);
	assert_int_equal(seen.routes, 0);
	message_begin(&d, NLMSG_ERROR, SEQ, &error, sizeof(error));
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), -EPERM);
	d.len = 0;
	error = 1;
	message_begin(&d, NLMSG_ERROR, SEQ, &error, sizeof(error));
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), -EBADMSG);
	d.len = 0;
	message_begin(&d, NLMSG_DONE, SEQ, &error, sizeof(error));
	add_route(&d, SEQ);
	assert_int_equal(wcore_net_parse(&dump, d.data, d.len), 0);
	assert_int_equal(seen.routes, 0);
}

/* Cut anywhere, and with any length in any place: no read past the end, which ASan would see. */
static void bears_damage(void **state)
{
	struct datagram d = { .len = 0 };
	struct seen seen;
	struct wcore_net_dump dump = dump_into(&seen);

	(void)state;
	add_route(&d, SEQ);
	for (size_t cut = 0; cut < d.len; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, d.data, cut);
		assert_int_equal(wcore_net_parse(&dump, exact, cut),
				 cut < sizeof(struct nlmsghdr) ? 1 : -EBADMSG);
		free(exact);
	}
	for (size_t at = 0; at < d.len; at++) {
		for (int value = 0; value < 256; value++) {
			uint8_t *exact = malloc(d.len);

			memcpy(exact, d.data, d.len);
			exact[at] = (uint8_t)value;
			wcore_net_parse(&dump, exact, d.len);
			free(exact);
		}
	}
}

/* Every network namespace has the rule for table local, and address 127.0.0.1 is in it. */
static void reads_this_host(void **state)
{
	struct warren_err err = ERR_INIT;
	struct seen seen;

	(void)state;
	dump_into(&seen);
	if (warren_net_rules(see_rule, &seen, &err)) {
		print_message("no netlink here: %s\n", err_first(&err));
		err_free(&err);
		skip();
	}
	assert_true(seen.rules > 0);
	assert_int_equal(warren_net_routes(255, see_route, &seen, &err), 0);
	if (seen.routes > 0)
		assert_int_equal(seen.route.table, 255);
	/* No such table: no routes and no error. */
	seen.routes = 0;
	assert_int_equal(warren_net_routes(4123456789, see_route, &seen, &err), 0);
	assert_int_equal(seen.routes, 0);
	for (uint8_t family = 4; family <= 6; family += 2) {
		const char *path = family == 4 ? "/proc/sys/net/ipv4/ip_forward" :
				   "/proc/sys/net/ipv6/conf/all/forwarding";
		FILE *f = fopen(path, "r");
		bool on = true;

		assert_int_equal(warren_net_forwarding(family, &on, &err), 0);
		assert_int_equal(on, f && fgetc(f) != '0');
		if (f)
			fclose(f);
	}
	assert_int_equal(warren_net_filters(see_filter, &seen, &err), 0);
	assert_true(seen.filters >= 2);
	err_free(&err);
}

static void tells_news_apart(void **state)
{
	const struct { uint16_t type; uint32_t what; } kinds[] = {
		{ RTM_NEWLINK, WARREN_NET_LINKS }, { RTM_DELLINK, WARREN_NET_LINKS },
		{ RTM_NEWADDR, WARREN_NET_ADDRESSES }, { RTM_DELADDR, WARREN_NET_ADDRESSES },
		{ RTM_NEWROUTE, 0 }, { NLMSG_DONE, 0 },
	};
	struct datagram both = { .len = 0 };
	const uint8_t body[21] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct datagram d = { .len = 0 };

		message_begin(&d, kinds[i].type, SEQ, body, sizeof(body));
		assert_int_equal(wcore_net_news(d.data, d.len), kinds[i].what);
		/* Cut short it is nothing. */
		for (size_t len = 0; len < sizeof(struct nlmsghdr) + sizeof(body); len++)
			assert_int_equal(wcore_net_news(d.data, len), 0);
		message_begin(&both, kinds[i].type, SEQ, body, sizeof(body));
	}
	assert_int_equal(wcore_net_news(both.data, both.len),
			 WARREN_NET_LINKS | WARREN_NET_ADDRESSES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_messages_apart),
		cmocka_unit_test(knows_a_gateway),
		cmocka_unit_test(ends_as_the_kernel_says),
		cmocka_unit_test(bears_damage),
		cmocka_unit_test(tells_news_apart),
		cmocka_unit_test(reads_this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
