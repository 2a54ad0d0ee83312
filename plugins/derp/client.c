/*
 * Regions in use. One is connected while it is home, or was sent to in the last minute; what
 * failed is tried again after a pause that grows. Callbacks to the consumer come from here only,
 * and from the loop only: what a function of the service begins is begun by a timer.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

enum {
	IDLE_CHECK_USEC = 15 * 1000000,	/* path-protocols.md 1.12 */
	PAUSE_UNIT = 10 * 1000, PAUSE_MAX = 5 * 1000000, QUIET_PAUSE = 250 * 1000,
	ROUTES_MAX = 16384,		/* learned; beyond them all are learned anew */
	DISCO_MIN = 62,			/* 1.7: what a relay takes for disco */
};

struct derp_route {
	uint8_t key[32];
	uint32_t region;
	uint64_t generation;		/* of the connection */
};

void derp_count(struct derp_client *client, enum derp_stat stat, int64_t n)
{
	warren_stat_add(client->stats[stat], n);
}

const char *derp_region_label(const struct derp_region *region, char out[DERP_LABEL])
{
	const struct warren_relay_region *there = derp_map_find(region->client->map, region->id);
	const char *code = there && there->code ? there->code : "not in the map";

	snprintf(out, DERP_LABEL, "relay region %u (%.64s)", region->id, code);
	return out;
}

static struct derp_region *region_find(struct derp_client *client, uint32_t id)
{
	struct derp_region *region;

	list_for_each(region, &client->regions, link) {
		if (region->id == id)
			return region;
	}
	return NULL;
}

/*
 * ---- States ----
 */

static bool is_home(const struct derp_region *region)
{
	return region->client->home == region->id;
}

static bool is_wanted(const struct derp_region *region)
{
	return is_home(region) || (region->last_tx &&
				   warren_now() - region->last_tx < DERP_IDLE_USEC);
}

static void set_state(struct derp_region *region, enum warren_relay_state state, const char *why)
{
	struct derp_client *client = region->client;
	char text[DERP_WHY];

	snprintf(text, sizeof(text), "%s", why ? why : "");
	if (state == WARREN_RELAY_FAILED || state == WARREN_RELAY_CONNECTED)
		str_copy(region->why, sizeof(region->why), text);
	if (region->state == state && state != WARREN_RELAY_FAILED)
		return;
	region->state = state;
	if (client->consumer && client->events->state)
		client->events->state(client->arg, region->id, state, why ? text : NULL);
}

static void stop_waiting(struct derp_region *region)
{
	warren_timer_stop(region->begin);
	region->waiting = false;
}

static void wait_for(struct derp_region *region, uint64_t usec)
{
	region->waiting = true;
	warren_timer_set(region->begin, usec);
}

static void close_conn(struct derp_region *region)
{
	struct derp_conn *conn = region->conn;

	if (region->generation)
		derp_count(region->client, DERP_CONNECTED, -1);
	region->conn = NULL;
	region->generation = 0;
	region->since = region->rtt = 0;
	region->health[0] = '\0';
	derp_conn_close(conn);
}

/* Ends what there is, and what waits. Nobody is told. */
static void shut(struct derp_region *region)
{
	uint32_t n = derp_queue_clear(&region->disco) + derp_queue_clear(&region->data);

	region->dropped += n;
	derp_count(region->client, DERP_DROP_CLOSED, n);
	stop_waiting(region);
	close_conn(region);
	region->failures = 0;
}

/* n^2 x 10 ms, at most 5 s, times 0.5 to 1.5: path-protocols.md 1.12. */
static uint64_t pause_after(const struct derp_region *region)
{
	uint64_t n = region->failures < 32 ? region->failures : 32, usec = n * n * PAUSE_UNIT;

	usec = usec < PAUSE_MAX ? usec : PAUSE_MAX;
	return usec / 2 + randombytes_uniform((uint32_t)usec + 1);
}

/* Once per outage as a warning; what repeats itself is for those who look. */
static void log_failure(struct derp_region *region, const char *why, bool expected)
{
	char label[DERP_LABEL];
	int level = region->failures > 1 ? LOG_DEBUG : expected ? LOG_INFO : LOG_WARNING;

	warren_log_limit(region->client->ctx, &region->client->limit, level, "%s: %s",
			 derp_region_label(region, label), why);
}

/* A server that restarts said when to come back, and how long to try before it is a failure. */
static uint64_t restart_pause(struct derp_region *region, uint64_t now)
{
	uint64_t pause = region->restart_in;

	if (!region->restart_told || now - region->restart_told > DERP_RESTART_MAX)
		return 0;
	region->restart_told = 0;
	region->quiet_until = now + pause + region->restart_try;
	return pause + 1;
}

void derp_region_failed(struct derp_region *region, const char *why, bool now)
{
	uint64_t at = warren_now(), pause;
	bool lasted = region->generation && at - region->since >= DERP_STEADY_USEC;
	bool quiet;

	region->failures = lasted ? 1 : region->failures + 1;
	pause = now ? 0 : restart_pause(region, at);
	quiet = now || at < region->quiet_until;
	if (!now && !pause)
		pause = quiet ? QUIET_PAUSE / 2 + randombytes_uniform(QUIET_PAUSE) :
			pause_after(region);
	close_conn(region);
	derp_count(region->client, DERP_FAILURES, 1);
	if (!is_wanted(region)) {
		shut(region);
		set_state(region, WARREN_RELAY_CLOSED, why);
		return;
	}
	wait_for(region, pause);
	log_failure(region, why, quiet);
	if (quiet)
		set_state(region, WARREN_RELAY_CONNECTING, NULL);
	else
		set_state(region, WARREN_RELAY_FAILED, why);
}

void derp_region_opened(struct derp_region *region)
{
	struct derp_client *client = region->client;
	struct warren_addrport peer, local;
	char label[DERP_LABEL], at[ADDRPORT_TEXT];

	region->generation = ++client->generations;
	region->since = warren_now();
	region->quiet_until = region->restart_told = 0;
	derp_count(client, DERP_CONNECTS, 1);
	derp_count(client, DERP_CONNECTED, 1);
	derp_conn_addresses(region->conn, &peer, &local);
	warren_log(client->ctx, region->failures > 0 && is_home(region) ? LOG_NOTICE : LOG_INFO,
		   "%s: connected to %s, %s", derp_region_label(region, label),
		   derp_conn_node(region->conn), addrport_format(&peer, at));
	set_state(region, WARREN_RELAY_CONNECTED, NULL);
}

static void on_begin(struct warren_ctx *ctx, void *arg)
{
	struct derp_region *region = arg;

	(void)ctx;
	region->waiting = false;
	if (region->conn)
		return;
	/* Asked for, and taken back or forgotten since. */
	if (!is_wanted(region)) {
		shut(region);
		set_state(region, WARREN_RELAY_CLOSED, "no longer needed");
		return;
	}
	region->conn = derp_conn_new(region);
	if (!region->conn)
		derp_region_failed(region, "no memory for a connection", false);
	else if (region->state != WARREN_RELAY_FAILED)
		set_state(region, WARREN_RELAY_CONNECTING, NULL);
}

/* Unless it is connected, or will be after its pause. */
static void want(struct derp_region *region)
{
	if (!region->conn && !region->waiting)
		wait_for(region, 0);
}

static void region_free(struct derp_region *region)
{
	derp_queue_fini(&region->disco);
	derp_queue_fini(&region->data);
	list_del(&region->link);
	warren_release(region->begin);
	warren_release(region);
}

/* NULL: no memory. */
static struct derp_region *region_make(struct derp_client *client, uint32_t id)
{
	struct derp_region *region = region_find(client, id);
	uint32_t queue = (uint32_t)warren_conf_int(client->conf, "queue");

	if (region)
		return region;
	region = warren_zalloc(client->ctx, sizeof(*region));
	if (!region)
		return NULL;
	region->client = client;
	region->id = id;
	list_init(&region->link);
	region->begin = warren_timer_new(client->ctx, on_begin, region);
	if (!region->begin || derp_queue_init(&region->disco, DERP_DISCO_QUEUE) ||
	    derp_queue_init(&region->data, queue)) {
		region_free(region);
		return NULL;
	}
	list_add_tail(&client->regions, &region->link);
	return region;
}

/* Gone from the map: it is forgotten, but for a home that may come back. */
static void region_removed(struct derp_region *region)
{
	shut(region);
	set_state(region, WARREN_RELAY_FAILED, "the relay map does not have it any more");
	if (!is_home(region))
		region_free(region);
}

static void on_idle(struct warren_ctx *ctx, void *arg)
{
	struct derp_client *client = arg;
	struct derp_region *region, *next;

	(void)ctx;
	list_for_each_safe(region, next, &client->regions, link) {
		if (!region->conn || is_wanted(region))
			continue;
		shut(region);
		set_state(region, WARREN_RELAY_CLOSED, "nothing was sent for a minute");
	}
	warren_timer_set(client->idle, IDLE_CHECK_USEC);
}

/*
 * ---- Learned routes ----
 */

static void routes_clear(struct derp_client *client)
{
	struct derp_route *route;

	for (uint32_t pos = 0; (route = hash_next(&client->routes, &pos)); )
		free(route);
	hash_free(&client->routes);
}

static void route_learn(struct derp_region *region, const uint8_t key[32])
{
	struct derp_client *client = region->client;
	struct derp_route *route = hash_get(&client->routes, key, 32);

	if (!route) {
		if (client->routes.count >= ROUTES_MAX)
			routes_clear(client);
		route = calloc(1, sizeof(*route));
		if (!route)
			return;
		memcpy(route->key, key, 32);
		if (hash_put(&client->routes, route->key, 32, route, NULL)) {
			free(route);
			return;
		}
	}
	route->region = region->id;
	route->generation = region->generation;
}

/* NULL: none, or the connection it came by is gone. */
static struct derp_region *route_region(struct derp_client *client, const uint8_t key[32])
{
	const struct derp_route *route = hash_get(&client->routes, key, 32);
	struct derp_region *region = route ? region_find(client, route->region) : NULL;

	return region && region->generation && region->generation == route->generation ? region :
	       NULL;
}

/*
 * ---- Frames ----
 */

void derp_region_received(struct derp_region *region, const struct warren_derp_frame *frame)
{
	struct derp_client *client = region->client;
	uint64_t generation = region->generation;

	region->rx_packets++;
	region->rx_bytes += frame->len;
	derp_count(client, DERP_RX, 1);
	derp_count(client, DERP_RX_BYTES, (int64_t)frame->len);
	if (client->consumer && client->events->received(client->arg, region->id, frame->key,
							 frame->data, frame->len) &&
	    region->generation == generation)
		route_learn(region, frame->key);
}

void derp_region_gone(struct derp_region *region, const struct warren_derp_frame *frame)
{
	struct derp_client *client = region->client;
	struct derp_route *route = hash_get(&client->routes, frame->key, 32);

	if (route && route->region == region->id) {
		hash_del(&client->routes, frame->key, 32);
		free(route);
	}
	if (client->consumer && client->events->gone)
		client->events->gone(client->arg, region->id, frame->key, frame->reason);
}

void derp_region_health(struct derp_region *region, const struct warren_derp_frame *frame)
{
	struct derp_client *client = region->client;
	AUTO(str_free) struct str text = STR_INIT;
	char label[DERP_LABEL];

	str_add_clean(&text, (const char *)frame->data, frame->len, 160);
	snprintf(region->health, sizeof(region->health), "%s", str_text(&text));
	warren_log_limit(client->ctx, &client->limit, frame->len ? LOG_WARNING : LOG_NOTICE,
			 frame->len ? "%s says of itself: %s" : "%s is well again%s",
			 derp_region_label(region, label), region->health);
	if (client->consumer && client->events->health)
		client->events->health(client->arg, region->id,
				       frame->len ? region->health : NULL);
}

/* It will close the connection itself; when, is its own affair. */
void derp_region_restarting(struct derp_region *region, const struct warren_derp_frame *frame)
{
	char label[DERP_LABEL];

	region->restart_told = warren_now();
	region->restart_in = frame->reconnect_in < DERP_RESTART_MAX ? frame->reconnect_in :
			     DERP_RESTART_MAX;
	region->restart_try = frame->try_for < DERP_RESTART_MAX ? frame->try_for :
			      DERP_RESTART_MAX;
	warren_log_limit(region->client->ctx, &region->client->limit, LOG_INFO,
			 "%s restarts: it wants us back in %llu ms",
			 derp_region_label(region, label),
			 (unsigned long long)region->restart_in / 1000);
}

/*
 * ---- Map, keys, settings ----
 */

/* Whatever failed before may work now. */
static void reconnect(struct derp_region *region, const char *why)
{
	region->failures = 0;
	if (region->conn)
		derp_region_failed(region, why, true);
	else if (region->waiting)
		wait_for(region, 0);
}

void derp_client_reconnect(struct derp_client *client, const char *why)
{
	struct derp_region *region, *next;

	list_for_each_safe(region, next, &client->regions, link)
		reconnect(region, why);
}

static void on_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct derp_client *client = arg;
	const struct warren_netmap *before = client->map;
	struct derp_region *region, *next;

	(void)ctx;
	(void)topic;
	client->map = warren_obj_ref(obj);
	list_for_each_safe(region, next, &client->regions, link) {
		const struct warren_relay_region *was = derp_map_find(before, region->id);
		const struct warren_relay_region *is = derp_map_find(client->map, region->id);

		if (!is && was)
			region_removed(region);
		else if (is && !was)
			want(region);
		else if (is && is != was && !derp_region_same(is, was))
			reconnect(region, "the relay map says otherwise now");
	}
	warren_obj_unref(before);
}

static void on_identity(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_identity_event *event = obj;

	(void)ctx;
	(void)topic;
	if (event->changed & 1u << WARREN_KEY_NODE)
		derp_client_reconnect(arg, "this node has another key now");
}

/*
 * ---- The service ----
 */

static void consumer_ends(void *arg)
{
	struct derp_client *client = arg;
	struct derp_region *region;

	client->consumer = NULL;
	client->consumer_tie = NULL;	/* it is the caller */
	client->home = 0;
	list_for_each(region, &client->regions, link) {
		shut(region);
		region->state = WARREN_RELAY_CLOSED;
	}
	routes_clear(client);
}

static int ops_attach(void *self, struct warren_ctx *ctx, const struct warren_relay_events *events,
		      void *arg)
{
	struct derp_client *client = self;

	if (client->consumer)
		return -EBUSY;
	client->consumer_tie = warren_on_end(ctx, consumer_ends, client);
	if (!client->consumer_tie)
		return -ENOMEM;
	client->consumer = ctx;
	client->events = events;
	client->arg = arg;
	return 0;
}

static void ops_home(void *self, uint32_t id)
{
	struct derp_client *client = self;
	struct derp_region *before = region_find(client, client->home), *now;

	if (client->home == id)
		return;
	client->home = id;
	if (before) {
		before->last_tx = warren_now();	/* idle from now on */
		if (before->conn)
			derp_conn_preferred(before->conn, false);
	}
	now = id ? region_make(client, id) : NULL;
	if (now && now->conn)
		derp_conn_preferred(now->conn, true);
	else if (now && derp_map_find(client->map, id))
		want(now);
}

static int ops_open(void *self, uint32_t id)
{
	struct derp_client *client = self;
	struct derp_region *region;

	if (!derp_map_find(client->map, id))
		return -ENOENT;
	region = region_make(client, id);
	if (!region)
		return -ENOMEM;
	region->last_tx = warren_now();
	want(region);
	return 0;
}

static void ops_close(void *self, uint32_t id)
{
	struct derp_region *region = region_find(self, id);

	if (!region)
		return;
	shut(region);
	region->last_tx = 0;
	region->state = WARREN_RELAY_CLOSED;
	if (is_home(region))
		want(region);
}

static bool is_disco(const uint8_t *data, size_t len)
{
	static const uint8_t magic[] = { 0x54, 0x53, 0xf0, 0x9f, 0x92, 0xac };

	return len >= DISCO_MIN && memcmp(data, magic, sizeof(magic)) == 0;
}

static void dropped(struct derp_region *region, enum derp_stat why)
{
	region->dropped++;
	derp_count(region->client, why, 1);
}

static int enqueue(struct derp_region *region, const struct warren_derp_frame *frame)
{
	bool disco = is_disco(frame->data, frame->len);
	int result = derp_queue_put(disco ? &region->disco : &region->data, frame, !disco,
				    region->last_tx);

	if (result == 1)
		dropped(region, DERP_DROP_OLD);
	else if (result == -ENOBUFS)
		dropped(region, DERP_DROP_DISCO);
	else if (result)
		dropped(region, DERP_DROP_MEMORY);
	return result < 0 ? result : 0;
}

/* path-protocols.md 1.12, choice of connection. NULL with *@result. */
static struct derp_region *choose(struct derp_client *client, uint32_t id, const uint8_t key[32],
				  int *result)
{
	struct derp_region *region = id ? region_find(client, id) : NULL, *learned;

	if (region && region->generation)
		return region;
	learned = route_region(client, key);
	if (learned)
		return learned;
	*result = id ? -ENOENT : -EHOSTUNREACH;
	if (!id || !derp_map_find(client->map, id))
		return NULL;
	*result = -ENOMEM;
	return region_make(client, id);
}

static int ops_send(void *self, uint32_t id, const uint8_t key[32], const uint8_t *data,
		    size_t len, uint32_t *via)
{
	const struct warren_derp_frame frame = { .type = WARREN_DERP_SEND_PACKET, .key = key,
						 .data = data, .len = len };
	struct derp_region *region;
	int result = 0;

	if (len > WARREN_RELAY_PACKET_MAX)
		return -EMSGSIZE;
	region = choose(self, id, key, &result);
	if (!region)
		return result;
	if (via)
		*via = region->id;
	region->last_tx = warren_now();
	want(region);
	if (region->conn && !derp_conn_allows(region->conn, len)) {
		dropped(region, DERP_DROP_LIMIT);
		return 0;
	}
	result = enqueue(region, &frame);
	if (result == 0 && region->conn)
		derp_conn_flush(region->conn);
	return result;
}

static uint32_t ops_route(void *self, const uint8_t key[32])
{
	const struct derp_region *region = route_region(self, key);

	return region ? region->id : 0;
}

static void ops_rebind(void *self, bool (*keep)(void *arg, const struct warren_addr *local),
		       void *arg)
{
	struct derp_client *client = self;
	struct derp_region *region;

	list_for_each(region, &client->regions, link) {
		struct warren_addrport peer, local;

		region->failures = 0;
		if (region->waiting)
			wait_for(region, 0);
		if (!region->conn)
			continue;
		derp_conn_addresses(region->conn, &peer, &local);
		if (region->generation && (!local.addr.family || keep(arg, &local.addr))) {
			derp_conn_ping(region->conn, DERP_REBIND_USEC);
			continue;
		}
		close_conn(region);
		wait_for(region, 0);
	}
}

void derp_client_status(const struct derp_region *region, struct warren_relay_status *out)
{
	const struct warren_relay_region *there = derp_map_find(region->client->map, region->id);

	*out = (struct warren_relay_status){
		.size = sizeof(*out), .region = region->id, .state = region->state,
		.home = is_home(region), .code = there && there->code ? there->code : "",
		.node = "", .why = region->state == WARREN_RELAY_FAILED ? region->why : "",
		.health = region->health, .since = region->since, .last_rx = region->last_rx,
		.last_tx = region->last_tx, .rtt = region->rtt,
		.rx_packets = region->rx_packets, .tx_packets = region->tx_packets,
		.rx_bytes = region->rx_bytes, .tx_bytes = region->tx_bytes,
		.dropped = region->dropped,
	};
	if (region->conn && region->generation) {
		out->node = derp_conn_node(region->conn);
		derp_conn_addresses(region->conn, &out->peer, &out->local);
	}
}

static bool ops_status(void *self, uint32_t id, struct warren_relay_status *status)
{
	const struct derp_region *region = region_find(self, id);

	if (region)
		derp_client_status(region, status);
	return region != NULL;
}

static void ops_regions(void *self, void (*fn)(const struct warren_relay_status *, void *),
			void *arg)
{
	struct derp_client *client = self;
	struct derp_region *region, *next;

	list_for_each_safe(region, next, &client->regions, link) {
		struct warren_relay_status status;

		derp_client_status(region, &status);
		fn(&status, arg);
	}
}

const struct warren_relay_ops derp_ops = {
	.size = sizeof(derp_ops), .attach = ops_attach, .home = ops_home, .open = ops_open,
	.close = ops_close, .send = ops_send, .route = ops_route, .rebind = ops_rebind,
	.status = ops_status, .regions = ops_regions, .measure = derp_measure,
};

/*
 * ---- Life ----
 */

static void client_end(void *arg)
{
	struct derp_client *client = arg;
	struct derp_region *region, *next;

	list_for_each_safe(region, next, &client->regions, link) {
		close_conn(region);
		region_free(region);
	}
	routes_clear(client);
	warren_release(client->consumer_tie);	/* a consumer may outlive us */
	warren_obj_unref(client->map);
	client->map = NULL;
}

static int open_stats(struct derp_client *client)
{
	static const struct {
		const char *name, *label;
	} rows[DERP_STATS] = {
		[DERP_CONNECTS] = { "connects", NULL }, [DERP_FAILURES] = { "failures", NULL },
		[DERP_CONNECTED] = { "connections", NULL },
		[DERP_RX] = { "packets", "received" }, [DERP_TX] = { "packets", "sent" },
		[DERP_RX_BYTES] = { "bytes", "received" }, [DERP_TX_BYTES] = { "bytes", "sent" },
		[DERP_DROP_OLD] = { "drops", "queue-full" },
		[DERP_DROP_DISCO] = { "drops", "disco-full" },
		[DERP_DROP_STALE] = { "drops", "stale" },
		[DERP_DROP_LIMIT] = { "drops", "rate" },
		[DERP_DROP_MEMORY] = { "drops", "memory" },
		[DERP_DROP_CLOSED] = { "drops", "closed" },
		[DERP_UNKNOWN] = { "passed_over", "unknown" },
		[DERP_MALFORMED] = { "passed_over", "malformed" },
	};

	for (size_t i = 0; i < DERP_STATS; i++) {
		client->stats[i] = warren_stat_open(client->ctx, rows[i].name, rows[i].label);
		if (!client->stats[i])
			return -ENOMEM;
	}
	return 0;
}

int derp_client_init(struct derp_client *client, struct warren_ctx *ctx, struct warren_err *err)
{
	const void *identity;
	int result = warren_need(ctx, "identity", &identity, &client->identity_self);

	if (result)
		return result;
	client->ctx = ctx;
	client->identity = identity;
	list_init(&client->regions);
	hash_init(&client->routes);
	if (!warren_on_end(ctx, client_end, client))
		return warren_fail(err, NULL, "out of memory");
	client->idle = warren_timer_new(ctx, on_idle, client);
	if (!client->idle || open_stats(client) ||
	    warren_subscribe(ctx, "netmap", on_netmap, client) ||
	    warren_subscribe(ctx, "identity", on_identity, client))
		return warren_fail(err, NULL, "out of memory");
	warren_timer_set(client->idle, IDLE_CHECK_USEC);
	return 0;
}
