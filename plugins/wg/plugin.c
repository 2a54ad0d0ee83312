/*
 * wg: the WireGuard data plane. Read this first: the tables that declare it, and how it starts.
 *
 *	device.c	the lane: news of workers, timers of peers, start, stop, reload
 *	handshake.c	the lane: initiations, responses, cookies
 *	netmap.c	the lane: peers and allowed IPs from the network map
 *	service.c	what other plugins may do
 *	worker.c	the worker's loop; inbound.c and outbound.c its two directions
 *
 * The protocol itself (noise.c, cookie.c, transport.c, timers.c and the tables) is pure code that
 * knows no plugin. README.md has the design on one page.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/dataplane.h>

#include "commands.h"
#include "device.h"
#include "service.h"
#include "status.h"
#include "udpio.h"

static int check_interface(const struct warren_conf *at, struct warren_err *err);
static int check_listen(const struct warren_conf *at, struct warren_err *err);
static int check_ring(const struct warren_conf *at, struct warren_err *err);

static const struct warren_option options[] = {
	{
		.key = "interface",
		.type = WARREN_STRING,
		.flags = WARREN_RESTART,
		.def = "warren0",
		.min = 1,
		.max = IFNAMSIZ - 1,
		.check = check_interface,
		.brief = "Name of the TUN interface.",
		.help = "A change takes the tunnel down and makes a new interface. Two daemons "
			"on one "
			"host need different names.",
	},
	{
		.key = "port",
		.type = WARREN_INT,
		.def = "41641",
		.min = 0,
		.max = 65535,
		.brief = "UDP port, 0 for any free one.",
		.help = "The port that peers send to. A change by reload drops no session: peers "
			"follow "
			"with the next packet from here.",
	},
	{
		.key = "listen",
		.type = WARREN_STRING,
		.flags = WARREN_MANY,
		.def = "any",
		.min = 2,
		.max = 45,
		.check = check_listen,
		.brief = "Local addresses of the UDP sockets, or any.",
		.help = "At most one IPv4 and one IPv6 address. If one family is not named, "
			"there is no "
			"socket for it.",
	},
	{
		.key = "mtu",
		.type = WARREN_INT,
		.def = "1280",
		.min = WG_MIN_MTU,
		.max = WG_MAX_MTU,
		.brief = "MTU of the interface.",
		.help = "Largest inner packet. The outer one is up to 80 bytes longer: 1280 "
			"passes every "
			"path, 1420 fits Ethernet.",
	},
	{
		.key = "mark",
		.type = WARREN_INT,
		.def = "0x80000",
		.min = 0,
		.max = UINT32_MAX,
		.brief = "Firewall mark of the UDP sockets.",
		.help = "Keeps the tunnel's own packets out of the tunnel; one of system.marks.",
	},
	{
		.key = "socket-buffer",
		.type = WARREN_SIZE,
		.def = "7MiB",
		.min = 65536,
		.max = 256 << 20,
		.brief = "Send and receive buffer of each UDP socket.",
		.help = "Takes bursts while the CPU is busy elsewhere. The memory is used only "
			"when "
			"packets wait.",
	},
	{
		.key = "staged-memory",
		.type = WARREN_SIZE,
		.flags = WARREN_COLD,
		.def = "4MiB",
		.min = 128 << 10,
		.max = 1 << 30,
		.brief = "Memory for packets that wait for a handshake.",
		.help = "Shared by all peers; each may have 128 packets waiting. The oldest go "
			"first.",
	},
	{
		.key = "ring-slots",
		.type = WARREN_INT,
		.flags = WARREN_COLD,
		.def = "256",
		.min = 16,
		.max = 65536,
		.check = check_ring,
		.brief = "Packets that may wait between relay and worker.",
		.help = "A power of two, for each direction; a slot takes one packet of the MTU, "
			"2 KiB at "
			"least. When it is full the oldest packet is dropped.",
	},
	{
		.key = "receive-batch",
		.type = WARREN_INT,
		.flags = WARREN_COLD,
		.def = "32",
		.min = 1,
		.max = WG_BATCH,
		.brief = "Datagrams received by one system call.",
		.help = "Each has a buffer of 66 KiB, of which only what is used becomes resident.",
	},
	{
		.key = "new-peers",
		.type = WARREN_INT,
		.def = "1000",
		.min = 1,
		.max = 1000000,
		.brief = "Idle peers that may wake us, per second.",
		.help = "Bounds what a storm of handshakes costs. More are dropped and try again "
			"5 s later.",
	},
};

static const struct warren_metric metrics[] = {
	{ "drops", WARREN_COUNTER, 0, "packets", "reason", "Packets that were dropped, by "
							   "reason." },
	{ "rx_packets", WARREN_COUNTER, 0, "packets", NULL, "Inner packets received from peers." },
	{ "tx_packets", WARREN_COUNTER, 0, "packets", NULL, "Inner packets sent to peers." },
	{ "rx_bytes", WARREN_COUNTER, 0, "bytes", NULL, "Inner bytes received from peers." },
	{ "tx_bytes", WARREN_COUNTER, 0, "bytes", NULL, "Inner bytes sent to peers." },
	{ "keepalives", WARREN_COUNTER, 0, "packets", "direction", "Empty packets." },
	{ "handshakes", WARREN_COUNTER, 0, "1", "event", "Steps of handshakes." },
	{ "cookies_sent", WARREN_COUNTER, 0, "packets", NULL, "Cookie replies sent under load." },
	{ "cookies_received", WARREN_COUNTER, 0, "packets", NULL, "Cookie replies taken from "
								  "peers." },
	{ "foreign", WARREN_COUNTER, 0, "packets", NULL, "STUN and disco packets passed on." },
	{ "relayed", WARREN_COUNTER, 0, "packets", "direction", "Messages through relays." },
	{ "peer_relayed", WARREN_COUNTER, 0, "packets", "direction",
	  "Messages through peer relays, in Geneve." },
	{ "send_blocked", WARREN_COUNTER, 0, "1", NULL, "Times that a socket's queue was full." },
};

static const struct warren_port needs[] = {
	{ "identity", 0, 1, WARREN_ENABLE, "identity", "Private key of this node." },
	{ "netmap", 0, 1, 0, NULL, "Peers, their addresses and keys." },
};

static const struct warren_port offers[] = {
	{ .name = "dataplane", .major = 0, .minor = 5, .brief = "Packets to and from peers." },
};

static int check_interface(const struct warren_conf *at, struct warren_err *err)
{
	const char *name = warren_conf_str(at, NULL);

	if (!strcmp(name, ".") || !strcmp(name, "..") || strpbrk(name, "/: \t%"))
		return warren_fail(err, at, "\"%s\" cannot be the name of an interface: no "
					    "slash, colon,"
				   " percent sign or blank", name);
	return 0;
}

static bool parse_addr(const char *text, struct warren_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	if (inet_pton(AF_INET, text, addr->bytes) == 1)
		addr->family = 4;
	else if (inet_pton(AF_INET6, text, addr->bytes) == 1)
		addr->family = 6;
	return addr->family != 0;
}

static int check_listen(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_addr addr;

	if (!strcmp(text, "any") || parse_addr(text, &addr))
		return 0;
	return warren_fail(err, at, "\"%s\" is neither an address nor \"any\"", text);
}

static int check_ring(const struct warren_conf *at, struct warren_err *err)
{
	int64_t n = warren_conf_int(at, NULL);

	if (n & (n - 1))
		return warren_fail(err, at, "%lld is no power of two", (long long)n);
	return 0;
}

/* Addresses of `listen`; one per family. */
static int read_listen(struct wg_options *out, const struct warren_conf *conf,
			struct warren_err *err)
{
	uint32_t n = warren_conf_count(conf, "listen");

	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(conf, "listen", i);
		const char *text = warren_conf_str(at, NULL);
		struct warren_addr addr;
		int which;

		if (!strcmp(text, "any")) {
			if (n > 1)
				return warren_fail(err, at, "\"any\" stands alone: remove it or "
							    "the addresses");
			out->listen_family[0] = out->listen_family[1] = true;
			return 0;
		}
		if (!parse_addr(text, &addr))
			return -EINVAL;	/* told by check_listen */
		which = addr.family == 6;
		if (out->listen_family[which])
			return warren_fail(err, at, "a second IPv%d address: one per family can "
						    "be used",
					   addr.family);
		out->listen_family[which] = true;
		out->listen[which] = addr;
	}
	return 0;
}

static int read_options(struct wg_options *out, const struct warren_conf *conf,
			struct warren_err *err)
{
	const char *name = warren_conf_str(conf, "interface");

	memset(out, 0, sizeof(*out));
	memcpy(out->interface, name, strnlen(name, sizeof(out->interface) - 1));
	out->port = (uint16_t)warren_conf_int(conf, "port");
	out->mtu = (uint32_t)warren_conf_int(conf, "mtu");
	out->mark = (uint32_t)warren_conf_int(conf, "mark");
	out->socket_buffer = (uint32_t)warren_conf_int(conf, "socket-buffer");
	out->staged_memory = (size_t)warren_conf_int(conf, "staged-memory");
	out->ring_slots = (uint32_t)warren_conf_int(conf, "ring-slots");
	out->receive_batch = (uint32_t)warren_conf_int(conf, "receive-batch");
	out->new_peers = (uint32_t)warren_conf_int(conf, "new-peers");
	return read_listen(out, conf, err);
}

static int wg_check(const struct warren_conf *conf, struct warren_err *err)
{
	struct wg_options ignored;

	return read_options(&ignored, conf, err);
}

static int wg_start(struct warren_ctx *ctx, const struct warren_conf *conf, struct warren_err *err)
{
	struct wg_device *dev;
	int r;

	if (sodium_init() < 0)
		return warren_fail(err, NULL, "the system has no random numbers");
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return warren_fail(err, NULL, "out of memory");
	dev->ctx = ctx;
	r = read_options(&dev->options, conf, err);
	if (!r)
		r = wg_device_start(dev, err);
	if (!r) {
		r = warren_offer(ctx, "dataplane", &wg_service_ops, dev);
		if (r < 0)
			wg_device_stop(dev);
	}
	if (r < 0) {
		wg_device_free(dev);
		return r;
	}
	warren_self_set(ctx, dev);
	return 0;
}

static int wg_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		     const struct warren_conf *now, struct warren_err *err)
{
	struct wg_options next;
	int r = read_options(&next, now, err);

	(void)old;
	return r < 0 ? r : wg_device_reload(warren_self(ctx), &next, err);
}

static int wg_stop(struct warren_ctx *ctx)
{
	wg_device_stop(warren_self(ctx));
	return 0;
}

static void wg_fini(struct warren_ctx *ctx)
{
	struct wg_device *dev = warren_self(ctx);

	if (dev)
		wg_device_free(dev);
}

WARREN_PLUGIN(wg, "wg",
	.version = VERSION,
	.license = "ISC",
	.brief = "WireGuard data plane: TUN interface, UDP sockets, encryption.",
	.help = "Carries IP packets between the peers of the network map inside WireGuard. What "
		"may "
		"pass is decided by a policy plugin, `filter`.",
	.options = WARREN_TABLE(options),
	.commands = { sizeof(struct warren_command), WG_COMMANDS, wg_commands },
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = { sizeof(struct warren_check), WG_CHECKS, wg_checks },
	.privops = WARREN_PRIVOP(TUN) | WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(ADDR) |
		   WARREN_PRIVOP(CLOSE),
	.check = wg_check,
	.start = wg_start,
	.reload = wg_reload,
	.stop = wg_stop,
	.fini = wg_fini,
	.status = wg_status);
