#include "node.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"
#include "tests/unit/parts.h"

extern const struct warren_plugin warren_plugin_derp, warren_plugin_identity;

static struct node node;
static uint64_t now;

struct node *node_of(void)
{
	return &node;
}

/*
 * ---- The world: a provider of network maps ----
 */

struct map {
	struct warren_netmap map;	/* its object comes first */
	struct warren_relay_region regions[NODE_REGIONS];
	struct warren_relay_node nodes[NODE_REGIONS][NODE_NODES];
};

static void map_free(struct warren_obj *obj)
{
	free(obj);
}

void node_map(const struct warren_relay_region *regions, uint32_t n)
{
	struct map *map = calloc(1, sizeof(*map));

	assert_non_null(map);
	assert_true(n <= NODE_REGIONS);
	warren_obj_init(&map->map.obj, sizeof(map->map), map_free);
	for (uint32_t i = 0; i < n; i++) {
		assert_true(regions[i].n_nodes <= NODE_NODES);
		map->regions[i] = regions[i];
		memcpy(map->nodes[i], regions[i].nodes,
		       regions[i].n_nodes * sizeof(map->nodes[0][0]));
		map->regions[i].nodes = map->nodes[i];
	}
	map->map.serial = 1;
	map->map.regions = map->regions;
	map->map.n_regions = n;
	assert_int_equal(warren_publish_take(node.world, "netmap", map), 0);
	for (int i = 0; i < 5; i++)
		node_turn();
}

static const struct warren_netmap *world_current(void *self)
{
	(void)self;
	return NULL;
}

static const struct warren_netmap_ops world_ops = {
	.size = sizeof(world_ops), .current = world_current, .provider = "world",
};
static const struct warren_port world_offers[] = { { .name = "netmap", .minor = 1 } };
static const struct warren_topic world_topics[] = {
	{ .name = "netmap", .flags = WARREN_STICKY, .brief = "Maps." },
};

static int world_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	(void)conf;
	(void)err;
	node.world = ctx;
	return warren_offer(ctx, "netmap", &world_ops, NULL);
}

/*
 * ---- The consumer ----
 */

static struct node_region *told(uint32_t region)
{
	assert_true(region > 0 && region < NODE_REGIONS);
	return &node.told[region];
}

static bool on_received(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
			size_t len)
{
	struct node_region *t = told(region);

	(void)arg;
	t->received++;
	memcpy(t->from, key, 32);
	assert_true(len <= NODE_DATA);
	if (len > 0)
		memcpy(t->data, data, len);
	t->len = len;
	return !node.stranger;
}

static void on_state(void *arg, uint32_t region, enum warren_relay_state state, const char *why)
{
	struct node_region *t = told(region);

	(void)arg;
	t->state = state;
	t->connecting += state == WARREN_RELAY_CONNECTING;
	t->connected += state == WARREN_RELAY_CONNECTED;
	t->failed += state == WARREN_RELAY_FAILED;
	t->closed += state == WARREN_RELAY_CLOSED;
	assert_true(!why == (state == WARREN_RELAY_CONNECTING || state == WARREN_RELAY_CONNECTED));
	if (why)
		snprintf(t->why, sizeof(t->why), "%s", why);
}

static void on_gone(void *arg, uint32_t region, const uint8_t key[32], uint32_t reason)
{
	(void)arg;
	(void)key;
	told(region)->gone++;
	told(region)->reason = reason;
}

static void on_health(void *arg, uint32_t region, const char *problem)
{
	struct node_region *t = told(region);

	(void)arg;
	t->unwell += problem != NULL;
	t->well += problem == NULL;
	snprintf(t->health, sizeof(t->health), "%s", problem ? problem : "");
}

static const struct warren_relay_events events = {
	.size = sizeof(events), .received = on_received, .state = on_state, .gone = on_gone,
	.health = on_health,
};
static const struct warren_port user_needs[] = { { .name = "relay-client", .minor = 2 } };

static int user_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct warren_err *err)
{
	const void *ops;
	int result = warren_need(ctx, "relay-client", &ops, &node.self);

	(void)conf;
	(void)err;
	if (result)
		return result;
	node.ops = ops;
	return node.ops->attach(node.self, ctx, &events, NULL);
}

/*
 * ---- The engine ----
 */

static const struct wcore_plugin *const *plugins(void)
{
	static char path[] = "test";
	static struct wcore_plugin identity, derp;
	static struct wcore_plugin world = {
		.desc = { .name = "world", .offers = WARREN_TABLE(world_offers),
			  .topics = WARREN_TABLE(world_topics), .start = world_start },
		.path = path,
	};
	static struct wcore_plugin user = {
		.desc = { .name = "user", .needs = WARREN_TABLE(user_needs), .start = user_start },
		.path = path,
	};
	static const struct wcore_plugin *const list[] = { &identity, &derp, &world, &user, NULL };

	identity.desc = warren_plugin_identity;
	derp.desc = warren_plugin_derp;
	identity.path = derp.path = path;
	return list;
}

void node_apply(const char *derp, bool consumer)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct wcore_conf_source source = { .name = "test.yaml", .fd = -1 };
	struct warren_err err = ERR_INIT;
	struct wcore_config *config;
	char *answer = NULL;
	int result;

	str_addf(&text, "identity: {}\nworld: {}\nderp: {%s}\n%s", derp,
		 consumer ? "user: {}\n" : "");
	source.bytes = str_text(&text);
	source.len = text.len;
	config = wcore_config_parse(&source, 1, &err);
	if (!config)
		fail_msg("%s", err_first(&err));
	result = wcore_engine_apply_wait(node.engine, config, &answer);
	if (result)
		fail_msg("%s", answer);
	free(answer);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

int node_setup(void **state)
{
	struct wcore_engine_options options = { .extra = plugins(), .extra_only = true };

	(void)state;
	memset(&node, 0, sizeof(node));
	assert_true(sodium_init() >= 0);
	snprintf(node.folder, sizeof(node.folder), "/tmp/warren-derp-test-XXXXXX");
	assert_non_null(mkdtemp(node.folder));
	options.state_dir = open(node.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	options.state_shown = node.folder;
	node.engine = wcore_engine_new(&options, NULL);
	assert_non_null(node.engine);
	node.ctx = parts_ctx(node.engine, wcore_engine_main(node.engine));
	now = warren_now();
	wcore_clock_set_fake(now, warren_realtime());
	node_apply("tls: false", true);
	return 0;
}

int node_teardown(void **state)
{
	char *text = NULL;

	(void)state;
	wcore_clock_set_fake(0, 0);
	wcore_ctx_close(node.ctx);
	wcore_engine_stop_wait(node.engine, &text);
	free(text);
	wcore_engine_free(node.engine);
	nftw(node.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

void node_turn(void)
{
	now += 1000;
	wcore_clock_set_fake(now, warren_realtime());
	wcore_lane_turn(wcore_engine_main(node.engine), false);
	usleep(200);
}

void node_pass(uint64_t usec)
{
	now += usec;
	for (int i = 0; i < 50; i++)
		node_turn();
}

void node_real_time(void)
{
	wcore_clock_set_fake(0, 0);
}

void node_wait(void)
{
	wcore_lane_turn(wcore_engine_main(node.engine), true);
}

int64_t node_stat(const char *name, const char *label)
{
	char *text = warren_stats_text(node.ctx), line[128], *at;
	int64_t value;

	if (label)
		snprintf(line, sizeof(line), "\nwarren_derp_%s=\"%s\"} ", name, label);
	else
		snprintf(line, sizeof(line), "\nwarren_derp_%s ", name);
	at = text ? strstr(text, line) : NULL;
	if (!at)
		fail_msg("no metric %s in\n%s", line, text);
	value = strtoll(at + strlen(line), NULL, 10);
	free(text);
	return value;
}

static struct warren_ctx *identity_ctx(void)
{
	const struct wcore_instance *p = wcore_engine_plugins(node.engine);

	for (; p; p = p->next) {
		if (!strcmp(p->name, "derp"))
			return p->ctx;
	}
	return NULL;
}

static const struct warren_identity_ops *identity(void **self)
{
	const void *ops;

	assert_int_equal(warren_need(identity_ctx(), "identity", &ops, self), 0);
	return ops;
}

void node_public_key(uint8_t out[32])
{
	void *self;
	const struct warren_identity_ops *ops = identity(&self);

	ops->public_key(self, WARREN_KEY_NODE, out);
}

void node_rotate(void)
{
	void *self;
	const struct warren_identity_ops *ops = identity(&self);

	assert_int_equal(ops->rotate(self, WARREN_KEY_NODE), 0);
}
