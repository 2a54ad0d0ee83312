/*
 * What a map leads to, by the code of the plugins themselves: `wg` follows the changes in a device
 * without sockets and workers; `filter` and `router` are functions of the map.
 */
#include "outcome.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <warren/packet.h>

#include "../../filter/flow.h"
#include "../../filter/table.h"
#include "../../router/desired.h"
#include "../../wg/device.h"
#include "../../wg/guard.h"
#include "../../wg/netmap.h"
#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/engine.h"

static void require(bool holds)
{
	if (!holds)
		abort();
}

int outcome_node_order(const void *a, const void *b)
{
	int64_t x = (*(const struct warren_node *const *)a)->id;
	int64_t y = (*(const struct warren_node *const *)b)->id;

	return (x > y) - (x < y);
}

/*
 * ---- The data plane ----
 */

static struct warren_ctx *context(void)
{
	static struct wcore_engine *engine;
	char dir[] = "/tmp/t_replay.XXXXXX";
	struct wcore_engine_options options = { .state_shown = dir };
	struct warren_err err = ERR_INIT;

	if (engine)
		return wcore_engine_ctx(engine);
	require(mkdtemp(dir));
	options.state_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Nothing is kept: reads find nothing, writes fail. */
	require(!rmdir(dir));
	engine = wcore_engine_new(&options, &err);
	require(engine);
	return wcore_engine_ctx(engine);
}

static void identity_key(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	(void)self;
	(void)kind;
	memset(out, 1, 32);
}

static const struct warren_identity_ops identity = {
	.size = sizeof(identity),
	.public_key = identity_key,
};

static void no_timer(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	(void)arg;
}

static struct wg_device *device_new(void)
{
	struct warren_ctx *ctx = context();
	struct wg_device *dev = calloc(1, sizeof(*dev));
	struct warren_err err = ERR_INIT;

	require(dev);
	dev->ctx = ctx;
	dev->tun_fd = dev->lane_fd = -1;
	dev->timer_at = WG_NEVER;
	dev->options.new_peers = 10;
	dev->options.ring_slots = 2;
	dev->identity = &identity;
	dev->guard = wg_guard_new(ctx, &err);
	dev->sessions = wg_slab_new(sizeof(struct wg_session));
	dev->lives = wg_slab_new(sizeof(struct wg_live));
	dev->ratelimit = wg_ratelimit_new(16);
	dev->timer = warren_timer_new(ctx, no_timer, NULL);
	dev->slice = warren_timer_new(ctx, no_timer, NULL);
	require(dev->guard && dev->sessions && dev->lives && dev->ratelimit && dev->timer &&
		dev->slice);
	require(!wg_peers_init(&dev->peers) && !wg_netmap_init(dev) &&
		!wg_device_set_mtu(dev, 1280));
	return dev;
}

static void device_free(struct wg_device *dev)
{
	wg_device_stop(dev);
	wg_device_free(dev);
}

static void put_owner(void *arg, const struct warren_prefix *prefix, void *owner)
{
	const struct wg_peer *peer = owner;
	char text[PREFIX_TEXT];

	str_addf(arg, "%s ", prefix_format(prefix, text));
	for (int i = 0; i < 32; i++)
		str_addf(arg, "%02x", peer->key[i]);
	str_addc(arg, '\n');
}

static void device_text(const struct wg_device *dev, struct str *out)
{
	str_addf(out, "%u peers\n", dev->peers.count);
	wg_allowedips_walk(atomic_load(&dev->allowed), NULL, put_owner, out);
}

static void compare_devices(const struct wg_device *a, const struct warren_netmap *fresh)
{
	struct str x = STR_INIT, y = STR_INIT;
	struct wg_device *b = device_new();

	require(!wg_netmap_apply(b, fresh));
	device_text(a, &x);
	device_text(b, &y);
	require(x.s && y.s && !strcmp(x.s, y.s));
	str_free(&x);
	str_free(&y);
	device_free(b);
}

/*
 * ---- The packet filter ----
 */

static size_t packet(uint8_t out[64], const struct warren_addr *from, const struct warren_addr *to,
		     uint8_t protocol, uint16_t port)
{
	const size_t head = from->family == 4 ? 20 : 40, len = head + 20;
	uint8_t *inner = out + head;

	memset(out, 0, 64);
	if (from->family == 4) {
		out[0] = 0x45;
		out[3] = (uint8_t)len;
		out[8] = 64;
		out[9] = protocol;
		memcpy(out + 12, from->bytes, 4);
		memcpy(out + 16, to->bytes, 4);
	} else {
		out[0] = 0x60;
		out[5] = 20;
		out[6] = protocol;
		out[7] = 64;
		memcpy(out + 8, from->bytes, 16);
		memcpy(out + 24, to->bytes, 16);
	}
	if (protocol == 1 || protocol == 58) {
		inner[0] = protocol == 1 ? 8 : 128;
		return len;
	}
	inner[0] = 0xc0;
	inner[2] = (uint8_t)(port >> 8);
	inner[3] = (uint8_t)port;
	inner[12] = 0x50;
	inner[13] = 2;			/* SYN; of UDP it is data */
	if (protocol == 17)
		inner[5] = 20;
	return len;
}

static void compare_verdicts(const struct filter_table *a, const struct filter_table *b,
			     const struct warren_addr *from, const struct warren_addr *to)
{
	static const uint16_t ports[] = { 22, 53, 80, 443, 5000 };
	const uint8_t protocols[] = { 6, 17, from->family == 4 ? 1 : 58, 132 };
	uint8_t data[64];

	for (size_t i = 0; i < sizeof(protocols); i++) {
		for (size_t k = 0; k < sizeof(ports) / sizeof(ports[0]); k++) {
			size_t len = packet(data, from, to, protocols[i], ports[k]);

			require(filter_table_decide(a, WARREN_PKT_IN, data, len, 1) ==
				filter_table_decide(b, WARREN_PKT_IN, data, len, 1));
		}
	}
}

static void compare_filters(const struct warren_netmap *x, const struct warren_netmap *y)
{
	static struct filter_flows flows[2][FILTER_FLOW_TABLES];
	struct filter_table *a, *b;
	int result;

	for (int i = 0; i < FILTER_FLOW_TABLES; i++) {
		filter_flows_init(&flows[0][i]);
		filter_flows_init(&flows[1][i]);
	}
	a = filter_table_new(x, flows[0], &result);
	b = filter_table_new(y, flows[1], &result);
	require(a && b);
	require(filter_table_rules(a) == filter_table_rules(b) &&
		filter_table_bytes(a) == filter_table_bytes(b) &&
		filter_table_state(a) == filter_table_state(b));
	for (uint32_t i = 0; i < x->n_peers; i++) {
		for (uint32_t k = 0; k < x->peers[i]->n_addresses; k++) {
			for (uint32_t s = 0; s < x->self->n_addresses; s++) {
				if (x->peers[i]->addresses[k].addr.family ==
				    x->self->addresses[s].addr.family)
					compare_verdicts(a, b, &x->peers[i]->addresses[k].addr,
							 &x->self->addresses[s].addr);
			}
		}
	}
	filter_table_free(a);
	filter_table_free(b);
}

/*
 * ---- The router ----
 */

static void compare_routes(const struct warren_netmap *x, const struct warren_netmap *y)
{
	static const struct router_conf conf = {
		.table = 52, .rule_priority = 5210, .mark = 0x80000, .mask = 0xff0000,
		.routes = true, .rules = true, .ipv6 = true,
	};
	struct router_state a = { 0 }, b = { 0 };

	require(!router_desired(x, &conf, "warren0", &a) &&
		!router_desired(y, &conf, "warren0", &b));
	for (int i = 0; i < ROUTER_PARTS; i++) {
		require(a.parts[i].n == b.parts[i].n);
		require(!memcmp(a.parts[i].items, b.parts[i].items,
				a.parts[i].n * router_part_size((enum router_part)i)));
	}
	router_state_free(&a);
	router_state_free(&b);
}

/*
 * ---- All of it ----
 */

void outcome_open(struct outcome *outcome)
{
	outcome->dev = device_new();
	outcome->now = NULL;
}

void outcome_close(struct outcome *outcome)
{
	device_free(outcome->dev);
	warren_obj_unref(outcome->now);
}

void outcome_follow(struct outcome *outcome, const struct warren_netmap *map)
{
	warren_obj_unref(outcome->now);
	outcome->now = warren_obj_ref(map);
	require(!wg_netmap_apply(outcome->dev, map));
}

void outcome_compare(struct outcome *outcome, const struct warren_netmap *fresh)
{
	compare_devices(outcome->dev, fresh);
	compare_filters(outcome->now, fresh);
	compare_routes(outcome->now, fresh);
}
