/*
 * The nodes of net.h. The stand-in for the monitor answers the four operations that `wg` uses with
 * real descriptors; everything above it is the real engine and the real plugin.
 */
#include "net.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/priv.h>
#include <warren/service/identity.h>

#include "base/err.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/plugin_load.h"
#include "engine/priv_client.h"
#include "engine/stat.h"
#include "priv/channel.h"

#define REQUIRE(x)									\
	do {										\
		if (!(x)) {								\
			fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #x);	\
			abort();							\
		}									\
	} while (0)

extern const struct warren_plugin warren_plugin_wg;

struct net_impl {
	pthread_t thread, monitor;
	int monitor_fd;
	struct wcore_priv *priv;
	sem_t ready;
	char *yaml;
	_Atomic bool stop;
};

static _Thread_local struct net_node *here;	/* the node whose engine runs on this thread */

/*
 * ---- The monitor ----
 */

static int open_udp(const struct warren_priv_socket *request, int64_t *port)
{
	int family = request->family == 6 ? AF_INET6 : AF_INET, one = 1;
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(request->bind.port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(request->bind.port) };
	socklen_t len = family == AF_INET6 ? sizeof(v6) : sizeof(v4);
	struct sockaddr *name = family == AF_INET6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;

	if (fd == -1)
		return -errno;
	memcpy(&v6.sin6_addr, request->bind.addr.bytes, 16);
	memcpy(&v4.sin_addr, request->bind.addr.bytes, 4);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, name, len) == -1 || getsockname(fd, name, &len) == -1) {
		int r = -errno;

		close(fd);
		return r;
	}
	*port = ntohs(family == AF_INET6 ? v6.sin6_port : v4.sin_port);
	return fd;
}

static int open_tun(struct net_node *node)
{
	int pair[2], size = 4 << 20;

	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0);
	for (int i = 0; i < 2; i++) {
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		setsockopt(pair[i], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	}
	node->tun = pair[0];
	return pair[1];
}

static void answer(struct net_node *node, const struct wpriv_msg *msg)
{
	const struct wpriv_request *request = (const void *)msg->data;
	const uint8_t *items = msg->data + sizeof(*request);
	struct wpriv_answer reply = { 0 };
	struct wpriv_head head = { .type = WPRIV_ANSWER, .seq = msg->head.seq };
	struct wpriv_part part = { &reply, sizeof(reply) };
	struct warren_priv_socket socket_request;
	int fd = -1, r;

	switch (request->op) {
	case WARREN_OP_TUN:
		fd = open_tun(node);
		reply.value = 7;
		reply.handle = 1;
		break;
	case WARREN_OP_SOCKET:
		memcpy(&socket_request, items, sizeof(socket_request));
		fd = open_udp(&socket_request, &reply.value);
		reply.handle = 2;
		if (fd < 0)
			head.result = fd;
		break;
	default:
		break;
	}
	r = wpriv_send(node->impl->monitor_fd, &head, &part, 1, &fd, fd >= 0);
	REQUIRE(r == 0 || r == -EPIPE);	/* it may have gone after its last request */
	if (fd >= 0)
		close(fd);
}

static void *monitor_run(void *arg)
{
	struct net_node *node = arg;
	_Alignas(16) static _Thread_local uint8_t buf[WPRIV_MSG_MAX];
	struct pollfd pfd = { node->impl->monitor_fd, POLLIN, 0 };
	struct wpriv_msg msg;

	for (;;) {
		int r;

		poll(&pfd, 1, -1);
		r = wpriv_recv(node->impl->monitor_fd, buf, &msg);
		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			return NULL;
		if (msg.head.type == WPRIV_REQUEST)
			answer(node, &msg);
		wpriv_msg_close(&msg);
	}
}

static void monitor_hello(struct net_node *node)
{
	struct wpriv_hello hello = {
		.version = WPRIV_VERSION, .generation = 1, .log_level = UINT32_MAX,
	};
	struct wpriv_head head = { .type = WPRIV_HELLO };
	struct wpriv_part part = { &hello, sizeof(hello) };
	int control = open("/dev/null", O_RDWR | O_CLOEXEC);

	snprintf(hello.state, sizeof(hello.state), "%s", node->state);
	snprintf(hello.config, sizeof(hello.config), "test.yaml");
	REQUIRE(wpriv_send(node->impl->monitor_fd, &head, &part, 1, &control, 1) == 0);
	close(control);
}

/*
 * ---- The plugin `fixture`: identity and map ----
 */

static void fixture_public(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	(void)kind;
	memcpy(out, ((struct net_node *)self)->public_key, 32);
}

static int fixture_dh(void *self, enum warren_key_kind kind, const uint8_t peer[32], uint8_t out[32])
{
	(void)kind;
	return crypto_scalarmult(out, ((struct net_node *)self)->private_key, peer) ? -EINVAL : 0;
}

static const struct warren_identity_ops identity_ops = {
	.size = sizeof(identity_ops), .public_key = fixture_public, .dh = fixture_dh,
};

static const struct warren_netmap *fixture_current(void *self)
{
	const struct net_node *node = self;

	return node->map ? warren_obj_ref(node->map) : NULL;
}

static const struct warren_netmap_ops netmap_ops = {
	.size = sizeof(netmap_ops), .current = fixture_current, .provider = "fixture",
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
	.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR, .abi_minor = WARREN_ABI_MINOR,
	.size = sizeof(struct warren_plugin), .name = "fixture", .version = "1", .license = "ISC",
	.brief = "Identity and map.", .offers = WARREN_TABLE(fixture_offers),
	.topics = WARREN_TABLE(fixture_topics), .start = fixture_start,
};

/*
 * ---- The plugin `probe`: paths, relay and filter ----
 */

static int probe_start(struct warren_ctx *ctx, const struct warren_conf *conf, struct warren_err *err)
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
	.magic = WARREN_ABI_MAGIC, .abi_major = WARREN_ABI_MAJOR, .abi_minor = WARREN_ABI_MINOR,
	.size = sizeof(struct warren_plugin), .name = "probe", .version = "1", .license = "ISC",
	.brief = "Plays paths, relay and filter.", .needs = WARREN_TABLE(probe_needs),
	.start = probe_start,
};

static void probe_proved(void *arg, const uint8_t peer[32], const struct warren_addrport *address)
{
	struct net_node *node = arg;

	(void)peer;
	node->proved++;
	node->proved_at = *address;
}

static void probe_session(void *arg, const uint8_t peer[32], uint32_t state)
{
	(void)peer;
	((struct net_node *)arg)->sessions[state]++;
}

static void probe_wanted(void *arg, const uint8_t peer[32])
{
	(void)peer;
	((struct net_node *)arg)->wanted++;
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
	.size = sizeof(path_events), .proved = probe_proved, .session = probe_session,
	.wanted = probe_wanted, .relay_out = probe_relay_out,
};

static void probe_foreign(struct net_node *node, uint32_t class_, uint32_t vni, const uint8_t *data,
			  size_t len)
{
	struct net_foreign *f = &node->foreign[node->n_foreign++ % NET_FOREIGN_KEPT];

	f->class_ = class_;
	f->vni = vni;
	f->len = len;
	memcpy(f->data, data, len < sizeof(f->data) ? len : sizeof(f->data));
}

#define FOREIGN_FN(name, class_)								\
	static void name(void *arg, const struct warren_addrport *from, uint32_t vni,		\
			 const uint8_t *data, size_t len)					\
	{											\
		(void)from;									\
		probe_foreign(arg, class_, vni, data, len);					\
	}
FOREIGN_FN(foreign_stun, WARREN_FOREIGN_STUN)
FOREIGN_FN(foreign_disco, WARREN_FOREIGN_DISCO)
FOREIGN_FN(foreign_geneve, WARREN_FOREIGN_GENEVE_DISCO)

/*
 * ---- Nodes ----
 */

static struct wcore_config *make_config(const char *yaml)
{
	char text[4096];
	struct warren_err err = ERR_INIT;
	struct wcore_conf_source source = { .name = "test.yaml", .bytes = text, .fd = -1 };
	struct wcore_config *config;

	source.len = (size_t)snprintf(text, sizeof(text), "fixture: {}\nprobe: {}\nwg: {port: 0%s%s}\n",
				      *yaml ? ", " : "", yaml);
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
	.reload = ignore_reload, .stop = ignore, .lost = ignore,
};

static void *node_run(void *arg)
{
	struct net_node *node = arg;
	struct net_impl *impl = node->impl;
	struct warren_err err = ERR_INIT;
	struct wcore_engine_options options = {
		.extra = plugins(), .state_dir = open(node->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
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
	monitor_hello(node);
	REQUIRE(pthread_create(&impl->monitor, NULL, monitor_run, node) == 0);
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

static void remove_tree(const char *path)
{
	char command[128];
	pid_t pid;

	(void)command;
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", path, NULL);
		_exit(127);
	}
}

void net_free(struct net_node *node)
{
	net_stop(node);
	remove_tree(node->state);
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

static void pause_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

int net_reload(struct net_node *node, const char *yaml, char **text)
{
	struct reload_call call = { .yaml = yaml, .text = text };

	net_call(node, reload_run, &call);
	for (int i = 0; i < 10000 && !atomic_load(&call.done); i++)
		pause_ms(1);
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
		pause_ms(1);
}

/*
 * ---- Maps ----
 */

struct net_map {
	struct warren_node **nodes;
	uint32_t count;
};

struct snapshot {
	struct warren_netmap map;
	struct warren_node **nodes;
	struct warren_netmap_change *changes;
	const struct warren_netmap *previous;	/* `before` of the changes points into it */
};

struct net_map *net_map_new(void)
{
	struct net_map *map = calloc(1, sizeof(*map));

	REQUIRE(map);
	REQUIRE(map);
	map->nodes = calloc(NET_PEERS, sizeof(*map->nodes));
	REQUIRE(map->nodes);
	return map;
}

static void *copy(const void *data, size_t size)
{
	void *made = malloc(size ? size : 1);

	REQUIRE(made);
	return size ? memcpy(made, data, size) : made;
}

static void node_free(struct warren_node *node)
{
	free((void *)node->allowed_ips);
	free((void *)node->endpoints);
	free((void *)node->psk);
	free((void *)node->name);
	free(node);
}

void net_map_add(struct net_map *map, const struct warren_node *node)
{
	struct warren_node *made = copy(node, sizeof(*node));

	made->allowed_ips = copy(node->allowed_ips, node->n_allowed_ips * sizeof(*node->allowed_ips));
	made->endpoints = copy(node->endpoints, node->n_endpoints * sizeof(*node->endpoints));
	if (node->psk)
		made->psk = copy(node->psk, sizeof(*node->psk));
	if (node->name)
		made->name = strdup(node->name);
	REQUIRE(map->count < NET_PEERS);
	map->nodes[map->count++] = made;
}

static void snapshot_free(struct warren_obj *obj)
{
	struct snapshot *s = (struct snapshot *)obj;

	for (uint32_t i = 0; i < s->map.n_peers; i++)
		node_free(s->nodes[i]);
	free(s->nodes);
	free(s->changes);
	warren_obj_unref(s->previous);
	free(s);
}

static const struct warren_node *find(const struct warren_netmap *map, int64_t id)
{
	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		if (map->peers[i]->id == id)
			return map->peers[i];
	}
	return NULL;
}

static int by_id(const void *a, const void *b)
{
	int64_t x = (*(struct warren_node *const *)a)->id, y = (*(struct warren_node *const *)b)->id;

	return (x > y) - (x < y);
}

/* Every node counts as modified: what did not change is for the consumer to see. */
static void list_changes(struct snapshot *s, const struct warren_netmap *old)
{
	uint32_t n = 0;

	s->changes = calloc(s->map.n_peers + (old ? old->n_peers : 0) + 1, sizeof(*s->changes));
	REQUIRE(s->changes);
	for (uint32_t i = 0; i < s->map.n_peers; i++) {
		const struct warren_node *before = find(old, s->nodes[i]->id);

		s->changes[n++] = (struct warren_netmap_change){
			.what = before ? WARREN_CHANGE_MODIFIED : WARREN_CHANGE_ADDED,
			.fields = before ? UINT32_MAX : 0, .before = before, .after = s->nodes[i],
		};
	}
	for (uint32_t i = 0; old && i < old->n_peers; i++) {
		if (!find(&s->map, old->peers[i]->id))
			s->changes[n++] = (struct warren_netmap_change){
				.what = WARREN_CHANGE_REMOVED, .before = old->peers[i],
			};
	}
	s->map.changes = s->changes;
	s->map.n_changes = n;
}

struct publish_call {
	struct net_map *map;
	uint32_t policy;
	bool gap;
};

static void publish_run(struct net_node *node, void *arg)
{
	static const struct warren_dns no_dns;
	struct publish_call *call = arg;
	struct snapshot *s = calloc(1, sizeof(*s));

	REQUIRE(s);
	qsort(call->map->nodes, call->map->count, sizeof(*call->map->nodes), by_id);
	s->nodes = call->map->nodes;
	warren_obj_init(&s->map.obj, sizeof(s->map), snapshot_free);
	s->map.peers = (const struct warren_node *const *)s->nodes;
	s->map.n_peers = call->map->count;
	s->map.builtin_policy = call->policy;
	s->map.dns = &no_dns;
	s->map.changed = WARREN_NETMAP_ALL;
	node->serial += call->gap ? 2 : 1;
	s->map.serial = node->serial;
	s->map.previous = node->map ? node->serial - 1 : 0;
	s->previous = node->map ? warren_obj_ref(node->map) : NULL;
	list_changes(s, node->map);
	warren_obj_unref(node->map);
	node->map = warren_obj_ref(s);
	REQUIRE(warren_publish_take(node->fixture, "netmap", s) == 0);
	free(call->map);
}

static void nothing(struct net_node *node, void *arg)
{
	(void)node;
	(void)arg;
}

void net_publish_take(struct net_node *node, struct net_map *map, uint32_t policy, bool gap)
{
	struct publish_call call = { map, policy, gap };

	net_call(node, publish_run, &call);
	/* Events come after the publisher has returned, in order: one more round and it is there. */
	net_call(node, nothing, NULL);
	net_call(node, nothing, NULL);
}

void net_peer_init(struct net_peer *peer, const struct net_node *of, uint8_t host, bool endpoint)
{
	memset(peer, 0, sizeof(*peer));
	peer->node.id = host;
	peer->node.name = of->name;
	memcpy(peer->node.key.bytes, of->public_key, 32);
	peer->allowed[0] = (struct warren_prefix){ { 4, { 10, 0, 0, host } }, 32 };
	peer->node.allowed_ips = peer->allowed;
	peer->node.n_allowed_ips = 1;
	peer->endpoint[0] = (struct warren_addrport){ { 4, { 127, 0, 0, 1 } }, of->port };
	peer->node.endpoints = peer->endpoint;
	peer->node.n_endpoints = endpoint;
}

static void know(struct net_node *node, const struct net_node *of, uint8_t host)
{
	struct net_map *map = net_map_new();
	struct net_peer peer;

	net_peer_init(&peer, of, host, true);
	net_map_add(map, &peer.node);
	net_publish_take(node, map, WARREN_POLICY_ALLOWED_IPS, false);
}

void net_join(struct net_node *a, struct net_node *b)
{
	know(a, b, 2);
	know(b, a, 1);
}

/*
 * ---- Packets ----
 */

void net_packet(uint8_t *out, size_t len, uint8_t from, uint8_t to, uint32_t tag)
{
	const uint8_t head[] = {
		0x45, 0, (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, 0, 64, 17, 0, 0,
		10, 0, 0, from, 10, 0, 0, to,
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
			if (n == sizeof(packet) && !memcmp(got, packet, n))
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

bool net_wait_metric(struct net_node *node, const char *name, const char *label, int64_t least, int ms)
{
	for (int waited = 0; waited < ms; waited += 5) {
		if (net_metric(node, name, label) >= least)
			return true;
		pause_ms(5);
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
	((struct probe_call *)arg)->result =
		node->ops->paths_attach(node->dev, node->probe, &path_events, node);
}

int net_attach_paths(struct net_node *node)
{
	struct probe_call call = { 0 };

	net_call(node, attach_run, &call);
	return call.result;
}

static void foreign_run(struct net_node *node, void *arg)
{
	static warren_foreign_fn *const fns[] = { foreign_stun, foreign_disco, foreign_geneve };
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

int net_path(struct net_node *node, const struct net_node *peer, const struct warren_data_path *path)
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

int net_status(struct net_node *node, const struct net_node *peer, struct warren_peer_status *status)
{
	struct probe_call call = { .peer = peer, .status = status };

	net_call(node, status_run, &call);
	return call.result;
}
