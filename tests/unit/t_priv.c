/*
 * The validators of privileged operations, and the channel between monitor and engine.
 *
 * Each operation has one request that is accepted; every test changes one thing in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "priv/channel.h"
#include "priv/check.h"

static struct wpriv_limits limits;

static int setup(void **state)
{
	(void)state;
	wpriv_limits_init(&limits);
	return 0;
}

/* @words is part of the sentence. */
static void expect_line(int line, int expected, const char *words, uint32_t op, const void *items,
			size_t count)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result = wpriv_check(&limits, op, items, count, &err);

	if (result != expected || (words && !strstr(err_first(&err), words)))
		fail_msg("line %d: %d, \"%s\"", line, result, err_first(&err));
}
#define accepted(op, item) expect_line(__LINE__, 0, NULL, WARREN_OP_##op, &(item), 1)
#define malformed(op, item, words) expect_line(__LINE__, -EINVAL, words, WARREN_OP_##op, &(item), 1)
#define forbidden(op, item, words) expect_line(__LINE__, -EPERM, words, WARREN_OP_##op, &(item), 1)

static const struct warren_prefix net4 = { { 4, { 10, 1 } }, 16 };
static const struct warren_prefix net6 = { { 6, { 0xfd, 0x7a } }, 48 };

static void test_interface_names(void **state)
{
	struct warren_priv_tun req = { .ifname = "warren0", .queues = 1, .mtu = 1280 };

	(void)state;
	accepted(TUN, req);
	memset(req.ifname, 'w', sizeof(req.ifname));
	malformed(TUN, req, "interface name");
	memcpy(req.ifname, "warren0\0garbage", 16);
	malformed(TUN, req, "interface name");
	memcpy(req.ifname, "warren/../x\0\0\0\0", 16);
	malformed(TUN, req, "interface name");
	memcpy(req.ifname, "warren%d\0\0\0\0\0\0\0", 16);
	malformed(TUN, req, "interface name");
	memcpy(req.ifname, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	malformed(TUN, req, "interface name");
	memcpy(req.ifname, "eth0\0\0\0\0\0\0\0\0\0\0\0", 16);
	forbidden(TUN, req, "interface eth0 is not among system.interfaces: add it there");
	memcpy(limits.interfaces[0], "eth0\0\0\0\0", 8);
	accepted(TUN, req);
	memcpy(req.ifname, "eth01\0\0\0\0\0\0\0\0\0\0", 16);
	forbidden(TUN, req, "eth01");
}

static void test_tun(void **state)
{
	const struct warren_priv_tun good = { .ifname = "warren0", .queues = 4, .mtu = 1280,
					      .flags = WARREN_TUN_MULTI_QUEUE };
	struct warren_priv_tun req = good;

	(void)state;
	accepted(TUN, req);
	req.queues = 0;
	malformed(TUN, req, "0 queues");
	req.queues = 5;
	malformed(TUN, req, "5 queues: 1 to 4");
	req = good;
	req.flags = 0;
	malformed(TUN, req, "MULTI_QUEUE");
	req.flags = 0x80;
	malformed(TUN, req, "unknown flags 0x80");
	req = good;
	req.mtu = 68;
	malformed(TUN, req, "MTU 68");
	req = good;
	req.namespace_ = 2;
	malformed(TUN, req, "unknown namespace 2");
	/* The service namespace: any name, one plain queue. */
	req.namespace_ = WARREN_NS_SERVICE;
	malformed(TUN, req, "one plain queue");
	req = (struct warren_priv_tun){ .ifname = "svc0", .queues = 1, .mtu = 1280,
					.namespace_ = WARREN_NS_SERVICE };
	accepted(TUN, req);
	req.mtu = 0;
	malformed(TUN, req, "an MTU");
}

static void test_socket_in_the_service_namespace(void **state)
{
	const struct warren_priv_socket good = {
		.family = 4, .type = WARREN_SOCK_TCP, .backlog = 128,
		.flags = WARREN_SOCK_TRANSPARENT, .namespace_ = WARREN_NS_SERVICE,
		.bind = { .addr = { 4, { 100, 64, 0, 1 } }, .port = 443 },
	};
	struct warren_priv_socket req = good;

	(void)state;
	accepted(SOCKET, req);
	req.namespace_ = 2;
	malformed(SOCKET, req, "unknown namespace 2");
	req = good;
	req.type = WARREN_SOCK_ICMP;
	req.backlog = 0;
	req.bind.port = 0;
	malformed(SOCKET, req, "udp and tcp only");
	req = good;
	req.flags = 0;
	malformed(SOCKET, req, "TRANSPARENT");
	req = good;
	req.bind.addr = (struct warren_addr){ 0, { 0 } };
	malformed(SOCKET, req, "bound to an address");
	req = good;
	req.flags |= WARREN_SOCK_KEEP;
	malformed(SOCKET, req, "or KEEP");
	req = good;
	req.flags |= WARREN_SOCK_BYPASS;
	malformed(SOCKET, req, "no key, mark");
	req = good;
	memcpy(req.device, "lo", 3);
	malformed(SOCKET, req, "no key, mark");
	req = good;
	memcpy(req.key, "wg.port", 8);
	malformed(SOCKET, req, "no key");
}

static void test_socket(void **state)
{
	const struct warren_priv_socket good = {
		.key = "wg.port", .family = 6, .type = WARREN_SOCK_UDP, .bind = { .port = 41641 },
		.mark = 0x80000, .flags = WARREN_SOCK_KEEP | WARREN_SOCK_V6ONLY,
		.recv_buffer = 1 << 20,
	};
	struct warren_priv_socket req = good;

	(void)state;
	accepted(SOCKET, req);
	req.mark = 0x40000;
	forbidden(SOCKET, req, "mark 0x40000 is not one of system.marks (bypass is 0x80000)");
	req = good;
	req.flags |= WARREN_SOCK_BYPASS;
	malformed(SOCKET, req, "a mark, and BYPASS");
	req.mark = 0;
	accepted(SOCKET, req);
	req = good;
	req.family = 4;
	malformed(SOCKET, req, "V6ONLY");
	req.family = 0;
	malformed(SOCKET, req, "family 0");
	req = good;
	req.type = 5;
	malformed(SOCKET, req, "unknown type 5");
	req = good;
	req.bind.addr.family = 4;
	malformed(SOCKET, req, "address to bind");
	req = good;
	req.bind.addr = (struct warren_addr){ 7, { 0 } };
	malformed(SOCKET, req, "address to bind");
	req = good;
	req.backlog = 5;
	malformed(SOCKET, req, "listen");
	req = good;
	req.recv_buffer = 65 << 20;
	malformed(SOCKET, req, "buffers");
	req = good;
	req.mode = 0644;
	malformed(SOCKET, req, "unix only");
	req = good;
	memset(req.key, 'k', sizeof(req.key));
	malformed(SOCKET, req, "key path");
	req = good;
	req.device[0] = '/';
	malformed(SOCKET, req, "interface name");
	req = (struct warren_priv_socket){ .key = "localapi.socket", .type = WARREN_SOCK_UNIX,
					   .mode = 0666, .backlog = 10 };
	accepted(SOCKET, req);
	req.bind.port = 1;
	malformed(SOCKET, req, "have a port");
	req.bind.port = 0;
	req.mode = 04755;
	malformed(SOCKET, req, "mode 4755");
}

static void test_names_below_a_folder(void **state)
{
	static const char *const bad[] = { "/etc/shadow", "..", "a/../b", "a//b", "a/", ".", "./a",
					   "a/..", "" };
	struct warren_priv_file req = { .key = "taildrop.inbox", .verb = WARREN_FILE_OPEN };

	(void)state;
	memcpy(req.name, "a/b..c/.d", 10);
	accepted(FILE, req);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(req.name, 0, sizeof(req.name));
		memcpy(req.name, bad[i], strlen(bad[i]));
		malformed(FILE, req, "relative");
	}
	memcpy(req.name, "a", 2);
	req.to[0] = 'b';
	malformed(FILE, req, "second name");
	req.verb = WARREN_FILE_RENAME;
	accepted(FILE, req);
	req.mode = 01777;
	malformed(FILE, req, "0777 at most");
	req.mode = 0;
	req.to[0] = '\0';
	req.verb = WARREN_FILE_UNLINK;
	req.flags = WARREN_FILE_ALONE;
	malformed(FILE, req, "flags 1");
	req.flags = 0;
	req.verb = 8;
	malformed(FILE, req, "unknown verb 8");
}

static void test_open_watch_close(void **state)
{
	struct warren_priv_open open_req = { .key = "a.b", .access = WARREN_READ };
	struct warren_priv_watch watch = { .key = "a.b" };
	struct warren_priv_close close_req = { .op = WARREN_OP_TUN, .handle = 1 };

	(void)state;
	accepted(OPEN, open_req);
	open_req.access = WARREN_READ | WARREN_WRITE;
	malformed(OPEN, open_req, "read, write or connect");
	open_req.access = WARREN_DIR;
	malformed(OPEN, open_req, "FILE");
	accepted(WATCH, watch);
	watch.reserved = 1;
	malformed(WATCH, watch, "reserved");
	watch = (struct warren_priv_watch){ .key = "" };
	malformed(WATCH, watch, "key path");
	accepted(CLOSE, close_req);
	close_req.handle = 0;
	malformed(CLOSE, close_req, "handle 0");
	close_req = (struct warren_priv_close){ .op = WARREN_OP_ROUTE, .handle = 1 };
	malformed(CLOSE, close_req, "CLOSE of ROUTE");
}

static void test_addr(void **state)
{
	const struct warren_priv_addr good = { .verb = WARREN_ADDR_ADD, .ifname = "warren0",
					       .prefix = { { 4, { 10, 0, 0, 1 } }, 24 } };
	struct warren_priv_addr req = good;

	(void)state;
	accepted(ADDR, req);
	req.prefix.bits = 33;
	malformed(ADDR, req, "malformed address");
	req = good;
	req.prefix.addr.bytes[4] = 1;
	malformed(ADDR, req, "malformed address");
	req = good;
	req.up = 1;
	malformed(ADDR, req, "malformed address");
	req = good;
	req.reserved[5] = 1;
	malformed(ADDR, req, "reserved");
	req = (struct warren_priv_addr){ .verb = WARREN_LINK_SET, .ifname = "warren0", .up = 1 };
	accepted(ADDR, req);
	req.up = 3;
	malformed(ADDR, req, "LINK_SET");
}

static void test_route(void **state)
{
	const struct warren_priv_route good = { .verb = WARREN_ROUTE_ADD, .table = 52,
						.type = WARREN_ROUTE_UNICAST, .dst = net4,
						.ifname = "warren0" };
	struct warren_priv_route req = good;

	(void)state;
	accepted(ROUTE, req);
	req.table = 254;
	forbidden(ROUTE, req, "system.main-table");
	limits.main_table = true;
	accepted(ROUTE, req);
	req.table = 255;
	forbidden(ROUTE, req, "table 255: system.route-table is 52");
	req = good;
	req.dst.addr.bytes[2] = 1;
	malformed(ROUTE, req, "destination");
	req = good;
	req.source = net6.addr;
	malformed(ROUTE, req, "source");
	req = good;
	req.type = WARREN_ROUTE_THROW;
	malformed(ROUTE, req, "only a unicast route has an interface");
	memset(req.ifname, 0, sizeof(req.ifname));
	accepted(ROUTE, req);
	req.verb = 3;
	malformed(ROUTE, req, "unknown verb 3");
	/* What was added under other limits can be removed. */
	req.verb = WARREN_ROUTE_DEL;
	req.table = 99;
	accepted(ROUTE, req);
	req = good;
	memcpy(req.ifname, "eth0\0\0\0", 8);
	forbidden(ROUTE, req, "eth0");
	req = good;
	req.stays = 1;
	malformed(ROUTE, req, "only an unreachable default");
}

static void test_rule(void **state)
{
	const struct warren_priv_rule good = { .verb = WARREN_RULE_ADD, .table = 52, .family = 4,
					       .action = WARREN_RULE_TABLE, .pref = 5270,
					       .mark = 0x80000, .mask = 0xff0000, .to = net4 };
	struct warren_priv_rule req = good;

	(void)state;
	accepted(RULE, req);
	req.pref = 5280;
	forbidden(RULE, req, "priority 5280: system.rule-priorities is 5200-5279");
	req.pref = 0;
	forbidden(RULE, req, "priority 0");
	req.verb = WARREN_RULE_DEL;
	accepted(RULE, req);
	req = good;
	req.table = 99;
	forbidden(RULE, req, "not 99");
	req.table = 255;
	forbidden(RULE, req, "not 255");
	req = good;
	req.flags = WARREN_RULE_UIDS | WARREN_RULE_SPECIFIC;
	req.uid_last = 1000;
	accepted(RULE, req);
	req.uid_first = 1001;
	malformed(RULE, req, "range of users");
	req = good;
	req.uid_last = 1;
	malformed(RULE, req, "range of users");
	req = good;
	req.flags = 4;
	malformed(RULE, req, "unknown flags 0x4");
	req = good;
	req.action = WARREN_RULE_UNREACHABLE;
	req.table = 0;
	req.flags = WARREN_RULE_SPECIFIC;
	malformed(RULE, req, "no table");
	req = good;
	req.mask = 0xffffff;
	forbidden(RULE, req, "outside the mask");
	req = good;
	req.mark = 0x1;
	malformed(RULE, req, "outside its mask");
	req = good;
	req.to = net6;
	malformed(RULE, req, "destination");
	req = good;
	req.family = 10;
	malformed(RULE, req, "family 10");
	req = good;
	req.action = WARREN_RULE_UNREACHABLE;
	malformed(RULE, req, "no table");
}

static void test_rule_interface(void **state)
{
	const struct warren_priv_rule good = { .verb = WARREN_RULE_ADD, .table = 254, .family = 4,
					       .action = WARREN_RULE_TABLE, .pref = 5205 };
	struct warren_priv_rule req = good;

	(void)state;
	memcpy(req.oif, "wt0", 4);	/* also one that is not ours, or not there yet */
	accepted(RULE, req);
	memcpy(req.oif, "..", 3);
	malformed(RULE, req, "interface name");
	req = good;
	memset(req.oif, 'x', sizeof(req.oif));
	malformed(RULE, req, "interface name");
	req = good;
	req.oif[1] = 'x';
	malformed(RULE, req, "interface name");
}

static void test_sysctl(void **state)
{
	struct warren_priv_sysctl req = { .name = WARREN_SYSCTL_IP4_FORWARD, .value = 1 };

	(void)state;
	accepted(SYSCTL, req);
	req.value = 2;
	malformed(SYSCTL, req, "1 at most");
	req.value = 1;
	req.ifname[0] = 'x';
	malformed(SYSCTL, req, "no interface");
	req = (struct warren_priv_sysctl){ WARREN_SYSCTL_RP_FILTER, 2, "all" };
	accepted(SYSCTL, req);
	req = (struct warren_priv_sysctl){ WARREN_SYSCTL_IP6_DISABLE, 1, "all" };
	forbidden(SYSCTL, req, "system.interfaces");
	req = (struct warren_priv_sysctl){ WARREN_SYSCTL_IP6_DISABLE, 1, "eth0" };
	forbidden(SYSCTL, req, "eth0");
	req = (struct warren_priv_sysctl){ 7, 1, "all" };
	malformed(SYSCTL, req, "unknown name 7");
	req.name = 0;
	malformed(SYSCTL, req, "unknown name 0");
}

static void test_resolver(void **state)
{
	struct warren_priv_resolver good = { .verb = WARREN_RESOLVER_SET, .n_search = 2,
					     .servers = WARREN_RESOLVER_IPV4,
					     .search = { "tail.example.com", "lan" } }, req = good;

	(void)state;
	accepted(RESOLVER, req);
	req = (struct warren_priv_resolver){ .verb = WARREN_RESOLVER_READ };
	accepted(RESOLVER, req);
	req.servers = WARREN_RESOLVER_IPV6;
	malformed(RESOLVER, req, "servers 0x2");
	req = good;
	req.verb = 3;
	malformed(RESOLVER, req, "unknown verb 3");
	req = good;
	req.servers = 0;
	malformed(RESOLVER, req, "servers 0");
	req.servers = 4;
	malformed(RESOLVER, req, "servers 0x4");
	req = good;
	req.by = WARREN_RESOLVER_BY_LAST;
	accepted(RESOLVER, req);
	req.by++;
	malformed(RESOLVER, req, "way");
	req = (struct warren_priv_resolver){ .verb = WARREN_RESOLVER_READ, .by = 1 };
	malformed(RESOLVER, req, "way 1");
	req = good;
	req.n_search = WARREN_PRIV_SEARCH + 1;
	malformed(RESOLVER, req, "17 search domains");
	req.n_search = 1;
	malformed(RESOLVER, req, "not zero");
	req = good;
	memset(req.search[1], 'a', WARREN_PRIV_NAME);
	malformed(RESOLVER, req, "malformed search domain");
	/* Nothing but one domain fits into a line of a file that every program reads. */
	for (const char *bad = " \n\t#;*:/\\\"'ABC\x7f\x80"; *bad; bad++) {
		req = good;
		req.search[1][1] = *bad;
		malformed(RESOLVER, req, "malformed search domain");
	}
	req = good;
	req.search[0][0] = '.';
	malformed(RESOLVER, req, "malformed search domain");
	/* A script of resolvconf's must not take it for an option. */
	req.search[0][0] = '-';
	malformed(RESOLVER, req, "malformed search domain");
}

static const struct warren_priv_nft *many_items(void)
{
	static struct warren_priv_nft items[WARREN_NFT_ITEMS + 1];

	items[0] = (struct warren_priv_nft){ .kind = WARREN_NFT_TABLE, .mode = WARREN_NFT_AUTO,
					     .ifname = "warren0" };
	for (size_t i = 1; i <= WARREN_NFT_ITEMS; i++)
		items[i] = (struct warren_priv_nft){ .kind = WARREN_NFT_BEHIND, .prefix = net4 };
	return items;
}

static void test_nft_list(void **state)
{
	const struct warren_priv_nft table = { .kind = WARREN_NFT_TABLE, .mode = WARREN_NFT_AUTO,
					       .flags = WARREN_NFT_SNAT | WARREN_NFT_EXIT6,
					       .ifname = "warren0" };
	struct warren_priv_nft list[5] = {
		table,
		{ .kind = WARREN_NFT_SELF, .prefix = { { 4, { 100, 64, 0, 1 } }, 32 } },
		{ .kind = WARREN_NFT_POOL, .prefix = net6 },
		{ .kind = WARREN_NFT_BEHIND, .prefix = net4 },
		{ .kind = WARREN_NFT_OPEN, .protocol = 17, .port = 3478, .index = 3 },
	};
	struct warren_priv_nft req;

	(void)state;
	expect_line(__LINE__, 0, NULL, WARREN_OP_NFT, list, 5);
	for (size_t i = 1; i < 5; i++) {	/* none but the table comes first */
		expect_line(__LINE__, -EINVAL, "only TABLE", WARREN_OP_NFT, &list[i], 1);
		req = list[i];
		req.mode = WARREN_NFT_AUTO;
		malformed(NFT, req, "only the TABLE");
		req = list[i];
		req.reserved = 1;
		malformed(NFT, req, "reserved");
		req = list[i];
		req.local.bits = 1;
		malformed(NFT, req, "of the same length");
	}
	list[4] = table;
	expect_line(__LINE__, -EINVAL, "only TABLE", WARREN_OP_NFT, list, 5);
	list[0].mode = WARREN_NFT_OFF;
	expect_line(__LINE__, 0, NULL, WARREN_OP_NFT, list, 1);
	expect_line(__LINE__, -EINVAL, "has one item", WARREN_OP_NFT, list, 2);
	expect_line(__LINE__, -E2BIG, "1025 items", WARREN_OP_NFT, many_items(),
		    WARREN_NFT_ITEMS + 1);
	accepted(NFT_READ, (struct warren_priv_nft_read){ 0 });
	malformed(NFT_READ, (struct warren_priv_nft_read){ 1 }, "reserved");
}

static void test_nft_items(void **state)
{
	const struct warren_priv_nft table = { .kind = WARREN_NFT_TABLE, .mode = WARREN_NFT_AUTO,
					       .ifname = "warren0" };
	struct warren_priv_nft req;

	(void)state;
	req = table;
	req.mode = WARREN_NFT_AUTO + 1;
	malformed(NFT, req, "unknown mode 4");
	req = table;
	req.flags = 32;
	malformed(NFT, req, "flags 0x20");
	req = table;
	req.prefix = net4;
	malformed(NFT, req, "no network");
	req = table;
	req.port = 1;
	malformed(NFT, req, "has a port");
	memcpy(req.ifname, "eth0\0\0\0", 8);
	req.port = 0;
	forbidden(NFT, req, "eth0");
	req.kind = 0;
	malformed(NFT, req, "unknown kind 0");
	req.kind = WARREN_NFT_MAPPED + 1;
	malformed(NFT, req, "unknown kind 7");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_SELF, .prefix = net4 };
	malformed(NFT, req, "malformed network");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_MAPPED, .prefix = net4, .local = net4 };
	expect_line(__LINE__, 0, NULL, WARREN_OP_NFT,
		    (const struct warren_priv_nft[]){ table, req }, 2);
	req.local.bits--;
	malformed(NFT, req, "of the same length");
	req.kind = WARREN_NFT_BEHIND;
	malformed(NFT, req, "of the same length");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_BEHIND, .prefix = net4 };
	req.prefix.bits = 0;
	malformed(NFT, req, "malformed network");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_BEHIND, .prefix = net4 };
	req.prefix.addr.bytes[3] = 1;		/* behind the 16 bits */
	malformed(NFT, req, "malformed network");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_OPEN, .protocol = 1, .port = 1 };
	malformed(NFT, req, "tcp or udp");
	req = (struct warren_priv_nft){ .kind = WARREN_NFT_OPEN, .protocol = 6 };
	malformed(NFT, req, "tcp or udp");
}

static void test_counts(void **state)
{
	const struct warren_priv_route route = { .verb = WARREN_ROUTE_ADD, .table = 52,
						 .type = WARREN_ROUTE_BLACKHOLE, .dst = net4 };
	struct warren_priv_route two[] = { route, route };
	const struct warren_priv_tun tuns[2] = { { .ifname = "warren0" } };

	(void)state;
	expect_line(__LINE__, 0, NULL, WARREN_OP_ROUTE, two, 2);
	two[1].table = 1;
	expect_line(__LINE__, -EPERM, "ROUTE, item 1: table 1", WARREN_OP_ROUTE, two, 2);
	expect_line(__LINE__, -EINVAL, "0 items", WARREN_OP_ROUTE, two, 0);
	expect_line(__LINE__, -EINVAL, "16385 items", WARREN_OP_ROUTE, two, WARREN_PRIV_ITEMS + 1);
	expect_line(__LINE__, -EINVAL, "2 items in one TUN", WARREN_OP_TUN, tuns, 2);
	expect_line(__LINE__, -EINVAL, "unknown operation 0", 0, two, 1);
	expect_line(__LINE__, -EINVAL, "unknown operation 14", WARREN_OP_LAST + 1, two, 1);
	expect_line(__LINE__, -EINVAL, "unknown operation", UINT32_MAX, two, 1);
}

static void test_owners(void **state)
{
	char long_name[WPRIV_OWNER];

	(void)state;
	assert_true(wpriv_owner_valid("wg", 3));
	assert_false(wpriv_owner_valid("", 1));
	assert_false(wpriv_owner_valid("W", 2));
	assert_false(wpriv_owner_valid("a b", 4));
	assert_false(wpriv_owner_valid("a\0b", 4));
	memset(long_name, 'a', sizeof(long_name));
	assert_false(wpriv_owner_valid(long_name, sizeof(long_name)));
}

/*
 * ---- Channel ----
 */

static _Alignas(16) uint8_t buffer[WPRIV_MSG_MAX];

static void test_message_with_descriptors(void **state)
{
	const struct wpriv_head head = { .type = WPRIV_ANSWER, .seq = 7, .result = -5 };
	const struct wpriv_part parts[] = { { "abc", 3 }, { NULL, 0 }, { "de", 2 } };
	struct wpriv_msg msg;
	int pair[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int fds[WPRIV_MSG_FDS];

	(void)state;
	for (size_t i = 0; i < WPRIV_MSG_FDS; i++)
		fds[i] = null;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), -EAGAIN);
	assert_int_equal(wpriv_send(pair[0], &head, parts, 3, fds, WPRIV_MSG_FDS), 0);
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), 1);
	assert_int_equal(msg.head.type, WPRIV_ANSWER);
	assert_int_equal(msg.head.seq, 7);
	assert_int_equal(msg.head.result, -5);
	assert_int_equal(msg.head.len, 5);
	assert_memory_equal(msg.data, "abcde", 5);
	assert_int_equal(msg.n_fds, WPRIV_MSG_FDS);
	assert_int_equal(fcntl(msg.fds[3], F_GETFD), FD_CLOEXEC);
	wpriv_msg_close(&msg);
	assert_int_equal(wpriv_send(pair[0], &head, parts, 3, fds, WPRIV_MSG_FDS + 1), -EMSGSIZE);
	close(pair[0]);
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), 0);
	assert_int_equal(wpriv_send(pair[1], &head, NULL, 0, NULL, 0), -EPIPE);
	close(pair[1]);
	close(null);
}

static void test_broken_messages(void **state)
{
	struct wpriv_head head = { .type = WPRIV_READY, .len = 1 };
	uint8_t *huge = calloc(1, WPRIV_MSG_MAX + 1);
	struct wpriv_msg msg;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(send(pair[0], "x", 1, 0), 1);
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), -EBADMSG);
	assert_int_equal(send(pair[0], &head, sizeof(head), 0), sizeof(head));
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), -EBADMSG);
	assert_int_equal(send(pair[0], huge, WPRIV_MSG_MAX + 1, 0), WPRIV_MSG_MAX + 1);
	assert_int_equal(wpriv_recv(pair[1], buffer, &msg), -EBADMSG);
	assert_int_equal(wpriv_send(pair[0], &head, &(struct wpriv_part){ huge, WPRIV_MSG_MAX }, 1,
				    NULL, 0), -EMSGSIZE);
	free(huge);
	close(pair[0]);
	close(pair[1]);
}

static void test_sealed_memory(void **state)
{
	int fd = wpriv_memfd("test", "0123456789", 10);
	int open_fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), ends[2];
	char bytes[10];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 5), -1);
	assert_int_equal(wpriv_memfd_read(fd, bytes, 10), 0);
	assert_memory_equal(bytes, "0123456789", 10);
	assert_int_equal(wpriv_memfd_read(fd, bytes, 9), -EBADF);
	/* The bytes of one that is not sealed could change between check and use. */
	assert_int_equal(write(open_fd, "0123456789", 10), 10);
	assert_int_equal(wpriv_memfd_read(open_fd, bytes, 10), -EBADF);
	assert_int_equal(wpriv_memfd_read(null, bytes, 0), -EBADF);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(wpriv_memfd_read(ends[0], bytes, 10), -EBADF);
	close(ends[0]);
	close(ends[1]);
	close(fd);
	close(open_fd);
	close(null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_interface_names, setup),
		cmocka_unit_test_setup(test_tun, setup),
		cmocka_unit_test_setup(test_socket, setup),
		cmocka_unit_test_setup(test_socket_in_the_service_namespace, setup),
		cmocka_unit_test_setup(test_names_below_a_folder, setup),
		cmocka_unit_test_setup(test_open_watch_close, setup),
		cmocka_unit_test_setup(test_addr, setup),
		cmocka_unit_test_setup(test_route, setup),
		cmocka_unit_test_setup(test_rule, setup),
		cmocka_unit_test_setup(test_rule_interface, setup),
		cmocka_unit_test_setup(test_sysctl, setup),
		cmocka_unit_test_setup(test_resolver, setup),
		cmocka_unit_test_setup(test_nft_list, setup),
		cmocka_unit_test_setup(test_nft_items, setup),
		cmocka_unit_test_setup(test_counts, setup),
		cmocka_unit_test(test_owners),
		cmocka_unit_test(test_message_with_descriptors),
		cmocka_unit_test(test_broken_messages),
		cmocka_unit_test(test_sealed_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
