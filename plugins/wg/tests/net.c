/*
 * The nodes of net.h: the real engine and the real plugin over net_monitor.c, with two plugins of
 * the test.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/service/identity.h>

#include "base/err.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/plugin_load.h"
#include "engine/priv_client.h"
#include "engine/stat.h"
#include "net_impl.h"

extern const struct warren_plugin warren_plugin_wg;

static _Thread_local struct net_node *here; /* the node whose engine runs on this thread */

/*
 * ---- The plugin `fixture`: identity and map ----
 */

static void fixture_public(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	(void)kind;
	memcpy(out, ((struct net_node *)self)->public_key, 32);
}

static int fixture_dh(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		      uint8_t out[32])
{
	(void)kind;
	return crypto_scalarmult(out, ((struct net_node *)self)->private_key, peer) ? -EINVAL : 0;
}

static void event_free(struct warren_obj *obj)
{
	free(obj);
}

static const struct warren_identity_ops identity_ops = {
	.size = sizeof(identity_ops),
	.public_key = fixture_public,
	.dh = fixture_dh,
};

static const struct warren_netmap *fixture_current(void *self)
{
	const struct net_node *node = self;

	return node->map ? warren_obj_ref(node->map) : NULL;
}

static const struct warren_netmap_ops netmap_ops = {
	.size = sizeof(netmap_ops),
	.current = fixture_current,
	.provider = "fixture",
};

static int fixture_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			 struct warren_err *err)
{
	int r;

	(void)conf;
	(void)err;
	here->fixture = ctx;
	r = warren_offer(ctx, "identity", &identity_ops, here);
	return r ? r : warren_offer(ctx, "netmap", &netmap_ops, here);
}

static const struct warren_port fixture_offers[] = {
	{ .name = "identity", .minor = 1, .brief = "Keys." },
	{ .name = "netmap", .minor = 1, .brief = "Map." },
};
static const struct warren_topic fixture_topics[] = {
	{ .name = "netmap", .flags = WARREN_STICKY, .brief = "Map." },
	{ .name = "identity", .flags = WARREN_STICKY, .brief = "Keys." },
};
static const struct warren_plugin fixture_plugin = {
	.magic = WARREN_ABI_MAGIC,
	.abi_major = WARREN_ABI_MAJOR,
	.abi_minor = WARREN_ABI_MINOR,
	.size = sizeof(struct warren_plugin),
	.name = "fixture",
	.version = "1",
	.license = "ISC",
	.brief = "Identity and map.",
	.offers = WARREN_TABLE(fixture_offers),
	.topics = WARREN_TABLE(fixture_topics),
	.start = fixture_start,
};

/*
 * ---- The plugin `probe`: paths, relay and filter ----
 */

static int probe_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	const void *ops;
	void *self;
	int r = warren_need(ctx, "dataplane", &ops, &self);

	(void)conf;
	(void)err;
	here->probe = ctx;
	here->ops = ops;
	here->dev = self;
	return r;
}

static const struct warren_port probe_needs[] = {
	{ .name = "dataplane", .minor = 1, .brief = "Packets." },
};
static const struct warren_plugin probe_plugin = {
	.magic = WARREN_ABI_MAGIC,
	.abi_major = WARREN_ABI_MAJOR,
	.abi_minor = WARREN_ABI_MINOR,
	.size = sizeof(struct warren_plugin),
	.name = "probe",
	.version = "1",
	.license = "ISC",
	.brief = "Plays paths, relay and filter.",
	.needs = WARREN_TABLE(probe_needs),
	.start = probe_start,
};

static void probe_proved(void *arg, const uint8_t peer[32], const struct warren_addrport *address)
{
	struct net_node *node = arg;

	(void)peer;
	node->proved_at = *address;
	atomic_fetch_add(&node->proved, 1);
}

static void probe_session(void *arg, const uint8_t peer[32], uint32_t state)
{
	(void)peer;
	((struct net_node *)arg)->sessions[state]++;
}

static void probe_wanted(void *arg, const uint8_t peer[32])
{
	(void)peer;
	atomic_fetch_add(&((struct net_node *)arg)->wanted, 1);
}

struct relayed {
	struct net_node *to;
	uint32_t region;
	uint8_t from[32];
	size_t len;
	uint8_t data[2048];
};

static void relay_arrives(struct warren_ctx *ctx, void *arg)
{
	struct relayed *r = arg;

	(void)ctx;
	r->to->ops->inject(r->to->dev, r->region, r->from, r->data, r->len);
	free(r);
}

static void probe_relay_out(void *arg, uint32_t region, const uint8_t peer[32], const uint8_t *data,
			    size_t len)
{
	struct net_node *node = arg;
	struct relayed *r;

	(void)peer;
	atomic_fetch_add(&node->relayed, 1);
	if (node->relay_hold || !node->relay_to || len > sizeof(r->data))
		return;
	r = malloc(sizeof(*r));
	REQUIRE(r);
	r->to = node->relay_to;
	r->region = region;
	memcpy(r->from, node->public_key, 32);
	r->len = len;
	memcpy(r->data, data, len);
	/* The other node lives on another thread: its lane takes it from here. */
	if (warren_defer(r->to->probe, relay_arrives, r))
		free(r);
}

static const struct warren_path_events path_events = {
	.size = sizeof(path_events),
	.proved = probe_proved,
	.session = probe_session,
	.wanted = probe_wanted,
	.relay_out = probe_relay_out,
};

static void probe_foreign(struct net_node *node, uint32_t class_, uint32_t vni, const uint8_t *data,
			  size_t len)
{
	struct net_foreign *f = &node->foreign[atomic_load(&node->n_foreign) % NET_FOREIGN_KEPT];

	f->class_ = class_;
	f->vni = vni;
	f->len = len;
	memcpy(f->data, data, len < sizeof(f->data) ? len : sizeof(f->data));
	atomic_fetch_add(&node->n_foreign, 1);
}

#define FOREIGN_FN(name, class_) \
	static void name(void *arg, const struct warren_addrport *from, uint32_t vni, \
			 const uint8_t *data, size_t len) \
	{ \
		(void)from; \
		probe_foreign(arg, class_, vni, data, len); \
	}
FOREIGN_FN(foreign_stun, WARREN_FOREIGN_STUN)
FOREIGN_FN(foreign_disco, WARREN_FOREIGN_DISCO)
FOREIGN_FN(foreign_geneve, WARREN_FOREIGN_GENEVE_DISCO)
FOREIGN_FN(foreign_tsmp, WARREN_FOREIGN_TSMP)
FOREIGN_FN(foreign_pong, WARREN_FOREIGN_PONG)

/*
 * ---- Nodes ----
 */

static struct wcore_config *make_config(const char *yaml)
{
	char text[4096];
	struct warren_err err = ERR_INIT;
	struct wcore_conf_source source = { .name = "test.yaml", .bytes = text, .fd = -1 };
	struct wcore_config *config;

	source.len = (size_t)snprintf(text, sizeof(text), "fixture: {}\nprobe: {}\nwg: {%s%s}\n",
				      strstr(yaml, "port:") ? "" : "port: 0, ", yaml);
	config = wcore_config_parse(&source, 1, &err);
	if (!config)
		fprintf(stderr, "%s\n", err_first(&err));
	REQUIRE(config);
	err_free(&err);
	return config;
}

static const struct wcore_plugin *const *plugins(void)
{
	static struct wcore_plugin fixture, probe, wg;
	static char path[] = "test";
	static const struct wcore_plugin *const list[] = { &fixture, &probe, &wg, NULL };
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	if (!wg.path) {
		fixture.desc = fixture_plugin;
		probe.desc = probe_plugin;
		wg.desc = warren_plugin_wg;
		fixture.path = probe.path = wg.path = path;
	}
	pthread_mutex_unlock(&lock);
	return list;
}

static void ignore_reload(struct wcore_engine *engine, struct wcore_priv_files *files)
{
	(void)engine;
	wcore_priv_files_free(files);
}

static void ignore(struct wcore_engine *engine)
{
	(void)engine;
}

static const struct wcore_priv_handlers handlers = {
	.reload = ignore_reload,
	.stop = ignore,
	.lost = ignore,
};

static void *node_run(void *arg)
{
	struct net_node *node = arg;
	struct net_impl *impl = node->impl;
	struct warren_err err = ERR_INIT;
	struct wcore_engine_options options = {
		.extra = plugins(),
		.state_dir = open(node->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.state_shown = node->state,
	};
	struct wcore_priv_files files;
	char *text = NULL;
	int pair[2], r;

	here = node;
	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	impl->monitor_fd = pair[0];
	node->engine = wcore_engine_new(&options, &err);
	if (!node->engine)
		fprintf(stderr, "%s\n", err_first(&err));
	REQUIRE(node->engine);
	net_monitor_hello(node);
	REQUIRE(pthread_create(&impl->monitor, NULL, net_monitor_run, node) == 0);
	impl->priv = wcore_priv_attach(node->engine, pair[1], &handlers, &err);
	if (!impl->priv)
		fprintf(stderr, "%s\n", err_first(&err));
	REQUIRE(impl->priv && wcore_priv_start(impl->priv) == 0);
	close(wcore_priv_take_control(impl->priv));
	wcore_priv_take_files(impl->priv, &files);
	wcore_priv_files_free(&files);
	r = wcore_engine_apply_wait(node->engine, make_config(impl->yaml), &text);
	if (r)
		fprintf(stderr, "%s: %s\n", node->name, text);
	REQUIRE(r == 0);
	free(text);
	node->port = node->ops->port(node->dev, 4);
	sem_post(&impl->ready);
	while (!atomic_load(&impl->stop))
		wcore_lane_turn(wcore_engine_main(node->engine), true);
	wcore_engine_stop_wait(node->engine, &text);
	free(text);
	warren_obj_unref(node->map);
	node->map = NULL;
	wcore_priv_free(impl->priv);
	shutdown(impl->monitor_fd, SHUT_RDWR);
	pthread_join(impl->monitor, NULL);
	close(impl->monitor_fd);
	wcore_engine_free(node->engine);
	err_free(&err);
	return NULL;
}

static void run(struct net_node *node, const char *yaml)
{
	node->impl = calloc(1, sizeof(*node->impl));
	REQUIRE(node->impl);
	node->impl->yaml = strdup(yaml);
	sem_init(&node->impl->ready, 0, 0);
	REQUIRE(pthread_create(&node->impl->thread, NULL, node_run, node) == 0);
	sem_wait(&node->impl->ready);
}

struct net_node *net_start(const char *name, const char *yaml)
{
	struct net_node *node = calloc(1, sizeof(*node));

	REQUIRE(node && sodium_init() >= 0);
	node->name = name;
	randombytes_buf(node->private_key, 32);
	crypto_scalarmult_base(node->public_key, node->private_key);
	snprintf(node->state, sizeof(node->state), "/tmp/warren-wg-test-XXXXXX");
	REQUIRE(mkdtemp(node->state));
	run(node, yaml);
	return node;
}

static void stop_turning(struct net_node *node, void *arg)
{
	(void)arg;
	atomic_store(&node->impl->stop, true);
}

void net_stop(struct net_node *node)
{
	if (!node->impl)
		return;
	net_call(node, stop_turning, NULL);
	pthread_join(node->impl->thread, NULL);
	sem_destroy(&node->impl->ready);
	free(node->impl->yaml);
	free(node->impl);
	node->impl = NULL;
	close(node->tun);
}

void net_restart(struct net_node *node, const char *yaml)
{
	node->serial = 0;
	run(node, yaml);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void net_free(struct net_node *node)
{
	net_stop(node);
	nftw(node->state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(node);
}

/*
 * ---- Calls onto the lane ----
 */

struct call {
	void (*fn)(struct net_node *node, void *arg);
	struct net_node *node;
	void *arg;
	sem_t done;
};

static void call_run(struct warren_ctx *ctx, void *arg)
{
	struct call *call = arg;

	(void)ctx;
	call->fn(call->node, call->arg);
	sem_post(&call->done);
}

void net_call(struct net_node *node, void (*fn)(struct net_node *node, void *arg), void *arg)
{
	struct call call = { .fn = fn, .node = node, .arg = arg };

	sem_init(&call.done, 0, 0);
	REQUIRE(warren_defer(node->fixture, call_run, &call) == 0);
	while (sem_wait(&call.done) == -1)
		;
	sem_destroy(&call.done);
}

struct reload_call {
	const char *yaml;
	char **text;
	int result;
	_Atomic bool done;
};

static void reloaded(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	struct reload_call *call = arg;

	(void)engine;
	call->result = result;
	*call->text = text ? strdup(text) : NULL;
	atomic_store(&call->done, true);
}

static void reload_run(struct net_node *node, void *arg)
{
	struct reload_call *call = arg;

	wcore_engine_apply_take(node->engine, make_config(call->yaml), reloaded, call);
}

void net_pause(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

int net_reload(struct net_node *node, const char *yaml, char **text)
{
	struct reload_call call = { .yaml = yaml, .text = text };

	net_call(node, reload_run, &call);
	for (int i = 0; i < 10000 && !atomic_load(&call.done); i++)
		net_pause(1);
	REQUIRE(atomic_load(&call.done));
	node->port = node->ops->port(node->dev, 4);
	return call.result;
}

struct restart_call {
	_Atomic bool done;
};

static void restarted(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	(void)engine;
	if (result)
		fprintf(stderr, "restart of probe: %s\n", text);
	atomic_store(&((struct restart_call *)arg)->done, true);
}

static void restart_run(struct net_node *node, void *arg)
{
	wcore_engine_restart(node->engine, "probe", restarted, arg);
}

void net_restart_probe(struct net_node *node)
{
	struct restart_call call = { false };

	net_call(node, restart_run, &call);
	while (!atomic_load(&call.done))
		net_pause(1);
}

/*
 * ---- Packets ----
 */

void net_packet(uint8_t *out, size_t len, uint8_t from, uint8_t to, uint32_t tag)
{
	const uint8_t head[] = {
		0x45,
		0,
		(uint8_t)(len >> 8),
		(uint8_t)len,
		0,
		0,
		0,
		0,
		64,
		17,
		0,
		0,
		10,
		0,
		0,
		from,
		10,
		0,
		0,
		to,
	};

	memset(out, 0xab, len);
	memcpy(out, head, sizeof(head));
	if (len >= 24)
		memcpy(out + 20, &tag, 4);
}

void net_send(struct net_node *node, const uint8_t *packet, size_t len)
{
	REQUIRE(send(node->tun, packet, len, 0) == (ssize_t)len);
}

size_t net_receive(struct net_node *node, uint8_t *out, size_t room, int ms)
{
	struct pollfd pfd = { node->tun, POLLIN, 0 };
	ssize_t n;

	if (poll(&pfd, 1, ms) <= 0)
		return 0;
	n = recv(node->tun, out, room, MSG_DONTWAIT);
	return n > 0 ? (size_t)n : 0;
}

bool net_ping(struct net_node *a, uint8_t from, struct net_node *b, uint8_t to, int ms)
{
	uint8_t packet[100], got[2048];
	static _Atomic uint32_t tags = 1000000;
	uint32_t tag = atomic_fetch_add(&tags, 1);

	net_packet(packet, sizeof(packet), from, to, tag);
	for (int waited = 0; waited < ms; waited += 50) {
		size_t n;

		net_send(a, packet, sizeof(packet));
		while ((n = net_receive(b, got, sizeof(got), 50))) {
			if (n != sizeof(packet) || memcmp(got, packet, n) != 0)
				continue;
			/* What was sent again on a busy machine is not for the next test. */
			while (waited > 0 && net_receive(b, got, sizeof(got), 50))
				waited -= 50;
			return true;
		}
	}
	return false;
}

/*
 * ---- Metrics, and the probe from outside ----
 */

struct metric_call {
	const char *name, *label;
	int64_t sum;
};

static void metric_run(struct net_node *node, void *arg)
{
	struct metric_call *call = arg;
	char *text = wcore_stats_text(wcore_engine_stats(node->engine)), *save = NULL;
	char prefix[96], label[96];

	REQUIRE(text);
	snprintf(prefix, sizeof(prefix), "warren_wg_%s", call->name);
	snprintf(label, sizeof(label), "=\"%s\"}", call->label ? call->label : "");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(prefix);

		if (strncmp(line, prefix, n) || (line[n] != ' ' && line[n] != '{'))
			continue;
		if (call->label && !strstr(line, label))
			continue;
		call->sum += strtoll(strrchr(line, ' ') + 1, NULL, 10);
	}
	free(text);
}

int64_t net_metric(struct net_node *node, const char *name, const char *label)
{
	struct metric_call call = { name, label, 0 };

	net_call(node, metric_run, &call);
	return call.sum;
}

bool net_wait_metric(struct net_node *node, const char *name, const char *label, int64_t least,
		     int ms)
{
	for (int waited = 0; waited < ms; waited += 5) {
		if (net_metric(node, name, label) >= least)
			return true;
		net_pause(5);
	}
	return false;
}

struct probe_call {
	const struct net_node *peer;
	const struct warren_data_path *path;
	struct warren_peer_status *status;
	uint32_t class_;
	bool take;
	int result;
};

static void attach_run(struct net_node *node, void *arg)
{
	((struct probe_call *)arg)->result = node->ops->paths_attach(node->dev, node->probe,
								     &path_events, node);
}

int net_attach_paths(struct net_node *node)
{
	struct probe_call call = { 0 };

	net_call(node, attach_run, &call);
	return call.result;
}

static void foreign_run(struct net_node *node, void *arg)
{
	static warren_foreign_fn *const fns[] = { foreign_stun, foreign_disco, foreign_geneve,
						 foreign_tsmp, foreign_pong };
	_Static_assert(sizeof(fns) / sizeof(fns[0]) == WARREN_FOREIGN_CLASSES, "one each");
	struct probe_call *call = arg;

	call->result = node->ops->foreign(node->dev, node->probe, call->class_,
					  call->take ? fns[call->class_] : NULL, node);
}

int net_take_foreign(struct net_node *node, uint32_t class_, bool take)
{
	struct probe_call call = { .class_ = class_, .take = take };

	net_call(node, foreign_run, &call);
	return call.result;
}

static void path_run(struct net_node *node, void *arg)
{
	struct probe_call *call = arg;

	call->result = node->ops->path_set(node->dev, call->peer->public_key, call->path);
}

int net_path(struct net_node *node, const struct net_node *peer,
	     const struct warren_data_path *path)
{
	struct probe_call call = { .peer = peer, .path = path };

	net_call(node, path_run, &call);
	return call.result;
}

static void status_run(struct net_node *node, void *arg)
{
	struct probe_call *call = arg;

	call->result = node->ops->peer(node->dev, call->peer->public_key, call->status);
}

int net_status(struct net_node *node, const struct net_node *peer,
	       struct warren_peer_status *status)
{
	struct probe_call call = { .peer = peer, .status = status };

	net_call(node, status_run, &call);
	return call.result;
}

/*
 * ---- Two nodes, and traffic between them ----
 */

static void nothing(struct net_node *node, void *arg)
{
	(void)node;
	(void)arg;
}

static void new_key_run(struct net_node *node, void *arg)
{
	struct warren_identity_event *event = calloc(1, sizeof(*event));

	(void)arg;
	REQUIRE(event);
	randombytes_buf(node->private_key, 32);
	crypto_scalarmult_base(node->public_key, node->private_key);
	warren_obj_init(&event->obj, sizeof(*event), event_free);
	event->changed = 1u << WARREN_KEY_NODE;
	memcpy(event->public_key[WARREN_KEY_NODE], node->public_key, 32);
	REQUIRE(warren_publish_take(node->fixture, "identity", event) == 0);
}

void net_new_key(struct net_node *node)
{
	net_call(node, new_key_run, NULL);
	/* As in net_publish_take(). */
	net_call(node, nothing, NULL);
	net_call(node, nothing, NULL);
}

int net_two_nodes(void **state)
{
	struct net_pair *p = calloc(1, sizeof(*p));

	REQUIRE(p);
	p->a = net_start("a", "");
	p->b = net_start("b", "");
	net_join(p->a, p->b);
	*state = p;
	return 0;
}

int net_end_nodes(void **state)
{
	struct net_pair *p = *state;

	net_free(p->a);
	net_free(p->b);
	free(p);
	return 0;
}

enum { WINDOW = 64 };

static void send_one(struct net_node *node, uint32_t tag)
{
	uint8_t packet[600];

	net_packet(packet, sizeof(packet), 1, 2, tag);
	net_send(node, packet, sizeof(packet));
}

void net_send_many(struct net_node *node, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		send_one(node, i);
}

static void *traffic_send(void *arg)
{
	struct net_traffic *t = arg;

	for (uint32_t i = 0; i < t->count; i++) {
		/* A lost packet must fail the test, not hang it. */
		for (int ms = 0; ms < 10000 && i - atomic_load(&t->received) >= WINDOW; ms++)
			net_pause(1);
		send_one(t->from, i);
	}
	return NULL;
}

static void *traffic_receive(void *arg)
{
	struct net_traffic *t = arg;
	uint8_t *seen = calloc(t->count, 1), got[2048];
	uint32_t tag;

	REQUIRE(seen);
	while (atomic_load(&t->received) < t->count && net_receive(t->to, got, sizeof(got), 5000)) {
		memcpy(&tag, got + 20, 4);
		if (tag < t->count) {
			REQUIRE(!seen[tag]); /* nothing comes twice */
			seen[tag] = 1;
			atomic_fetch_add(&t->received, 1);
		}
	}
	free(seen);
	return NULL;
}

void net_traffic_start(struct net_traffic *t)
{
	atomic_store(&t->received, 0);
	REQUIRE(pthread_create(&t->receiver, NULL, traffic_receive, t) == 0);
	REQUIRE(pthread_create(&t->sender, NULL, traffic_send, t) == 0);
}

uint32_t net_traffic_end(struct net_traffic *t)
{
	pthread_join(t->sender, NULL);
	pthread_join(t->receiver, NULL);
	return atomic_load(&t->received);
}
