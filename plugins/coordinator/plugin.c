/*
 * coordinator: the coordination server of a tailnet, for stock clients and for gateways of ours.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <zstd.h>

#include <warren/priv.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/cli.h"
#include "server/server.h"
#include "store/store.h"
#include "tailnet/host.h"

enum { POLICY_MAX = HJ_SIZE, KEY_FORMAT = 1 };

static int check_url(const struct warren_conf *at, struct warren_err *err)
{
	struct warren_url url;

	if (warren_url_parse(warren_conf_str(at, NULL), &url, NULL) || strcmp(url.path, "/") != 0)
		return warren_fail(err, at, "\"%s\" is no URL of a coordinator: expected "
				   "https://hq.example.com", warren_conf_str(at, NULL));
	return 0;
}

static int check_domain(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);

	if (!strchr(text, '.') || text[0] == '.' || text[strlen(text) - 1] == '.' ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(text))
		return warren_fail(err, at, "\"%s\" is no domain: expected one in lower case as in "
				   "tail.example.com", text);
	return 0;
}

static const char *const approvals[] = { "none", "required", NULL };

static const struct warren_option dns_options[] = {
	{ .key = "magic-dns", .type = WARREN_BOOL, .def = "true",
	  .brief = "Clients resolve each other's names." },
	{ .key = "nameservers", .type = WARREN_ADDR, .flags = WARREN_MANY,
	  .brief = "Resolvers that clients use for all other names.", .example = "[9.9.9.9]" },
	{ .key = "search", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 253,
	  .brief = "Search domains besides the base domain.", .example = "[corp.example.com]" },
};

static const struct warren_option options[] = {
	{ .key = "url", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 10, .max = 255,
	  .check = check_url, .brief = "How clients reach this server.",
	  .help = "What they are given as --login-server. With https the plugin `front` serves "
		  "it, unless `listen` is set.",
	  .example = "https://hq.example.com" },
	{ .key = "listen", .type = WARREN_ADDRPORT, .example = "127.0.0.1:8080",
	  .brief = "Serve plain HTTP here instead of through `front`.",
	  .help = "For tests, and behind a proxy that passes the upgrade of /ts2021 on." },
	{ .key = "base-domain", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 3,
	  .max = 253, .check = check_domain, .brief = "Domain of the nodes' names.",
	  .help = "Not one that the URL's host is in: clients would look for the server inside "
		  "the tailnet.",
	  .example = "tail.example.com" },
	{ .key = "ipv4", .type = WARREN_PREFIX, .def = "100.64.0.0/10",
	  .brief = "Addresses of nodes are from here." },
	{ .key = "ipv6", .type = WARREN_PREFIX, .def = "fd7a:115c:a1e0::/48",
	  .brief = "The same for IPv6." },
	{ .key = "policy", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "The policy file (HuJSON); read again when it changes.",
	  .help = "Without one members reach only their own devices.",
	  .example = "/etc/warren/policy.hujson" },
	{ .key = "derp-map", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "Relays, as a DERPMap in JSON; read again when it changes.",
	  .example = "/etc/warren/derp.json" },
	{ .key = "key-expiry", .type = WARREN_DURATION, .def = "180d",
	  .brief = "How long a user's device stays logged in; 0: for ever.",
	  .help = "Tagged nodes do not expire." },
	{ .key = "ephemeral-timeout", .type = WARREN_DURATION, .def = "30m",
	  .brief = "An ephemeral node that is away for so long is deleted." },
	{ .key = "approval", .type = WARREN_ENUM, .values = approvals, .def = "none",
	  .brief = "Whether new devices wait for `warren node approve`." },
	{ .key = "dns", .type = WARREN_MAP, .sub = WARREN_TABLE(dns_options),
	  .brief = "What clients are told of DNS." },
};

static const struct warren_port needs[] = {
	{ .name = "front", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "The public listeners." },
};

static const struct warren_metric metrics[] = {
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Connections to a listener of its own." },
	{ .name = "sessions", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Noise sessions that were opened." },
	{ .name = "streams", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Map streams that were opened." },
	{ .name = "registrations", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Requests to register." },
	{ .name = "maps", .kind = WARREN_COUNTER, .unit = "1", .brief = "Map messages sent." },
	{ .name = "shed", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Streams that were ended because the client did not read." },
};

static int coord_check(const struct warren_conf *conf, struct warren_err *err)
{
	const char *base = warren_conf_str(conf, "base-domain");
	struct warren_url url;
	size_t host, len = strlen(base);

	if (warren_url_parse(warren_conf_str(conf, "url"), &url, NULL))
		return -EINVAL;
	host = strlen(url.host);
	if (host >= len && strcmp(url.host + host - len, base) == 0 &&
	    (host == len || url.host[host - len - 1] == '.'))
		return warren_fail_key(err, -EINVAL, conf, "base-domain", "\"%s\" holds the "
				       "server's own name %s: clients would look for it inside the "
				       "tailnet; take another domain", base, url.host);
	if (strcmp(url.scheme, "http") == 0 && !warren_conf_has(conf, "listen"))
		return warren_fail_key(err, -EINVAL, conf, "url", "a URL with http needs "
				       "\"listen\" as well");
	return 0;
}

/* ---- the server's key ---- */

static int dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	const struct coord *coord = arg;

	return crypto_scalarmult_curve25519(out, coord->key.secret, peer) ? -EINVAL : 0;
}

static int load_key(struct coord *coord, struct warren_err *err)
{
	char text[WARREN_PRIVATE_TEXT];
	void *data = NULL;
	size_t len = 0;
	int result = warren_state_read(coord->ctx, "noise.key", WARREN_STATE_KEY, KEY_FORMAT,
				       &data, &len, err);

	if (result == -ENOENT) {
		warren_private_new(&coord->key);
		warren_private_format(&coord->key, text);
		result = warren_state_write_wait(coord->ctx, "noise.key", WARREN_STATE_KEY,
						 KEY_FORMAT, text, strlen(text), err);
	} else if (!result) {
		snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)data);
		result = warren_private_parse(text, &coord->key, err);
	}
	explicit_bzero(text, sizeof(text));
	warren_release(data);
	if (result)
		return result;
	coord->noise = (struct warren_noise_key){ .size = sizeof(coord->noise), .dh = dh,
						  .arg = coord };
	warren_private_public(&coord->key, coord->noise.public_key);
	return 0;
}

/* ---- settings ---- */

static struct tailnet_config config_of(const struct warren_conf *conf)
{
	return (struct tailnet_config){
		.v4 = warren_conf_prefix(conf, "ipv4"), .v6 = warren_conf_prefix(conf, "ipv6"),
		.base_domain = warren_conf_str(conf, "base-domain"),
		.key_expiry = warren_conf_int(conf, "key-expiry"),
		.ephemeral_timeout = warren_conf_int(conf, "ephemeral-timeout"),
		.approval = warren_conf_enum(conf, "approval") == 1,
	};
}

static bool add_resolvers(json_t *o, const struct warren_conf *dns)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; dns && i < warren_conf_count(dns, "nameservers"); i++) {
		struct warren_addr addr =
			warren_conf_addr(warren_conf_at(dns, "nameservers", i), NULL);

		json_array_append_new(list, json_pack("{s:s}", "Addr", addr_format(&addr, text)));
	}
	return json_object_set_new(o, json_array_size(list) > 0 ? "Resolvers" : "FallbackResolvers",
				   list) == 0;
}

/* DNSConfig (control-protocol.md 6.9). */
static char *dns_config(const struct warren_conf *conf)
{
	const struct warren_conf *dns = warren_conf_map(conf, "dns");
	bool magic = !dns || warren_conf_bool(dns, "magic-dns");
	const char *base = warren_conf_str(conf, "base-domain");
	json_t *o = json_pack("{s:b,s:[s],s:{}}", "Proxied", magic, "Domains", base, "Routes");
	char *text;

	if (magic)			/* an empty list: clients answer by themselves */
		json_object_set_new(json_object_get(o, "Routes"), base, json_array());
	for (uint32_t i = 0; dns && i < warren_conf_count(dns, "search"); i++)
		json_array_append_new(json_object_get(o, "Domains"), json_string(warren_conf_str(
				      warren_conf_at(dns, "search", i), NULL)));
	text = add_resolvers(o, dns) ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

/* All of @fd, which is closed, for free(). NULL: no memory, too long, or an error of the disk. */
static char *read_text(int fd, size_t *len)
{
	char *text = malloc(POLICY_MAX + 1);
	ssize_t n = 1;

	*len = 0;
	while (text && n > 0 && *len <= POLICY_MAX) {
		n = read(fd, text + *len, POLICY_MAX + 1 - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (text && n == 0 && *len <= POLICY_MAX)
		return text;
	free(text);
	return NULL;
}

/* A file of the configuration as text; *@out NULL when none is named. */
static int read_file(struct coord *coord, const char *key, char **out, size_t *len,
		     struct warren_err *err)
{
	int fd;

	*out = NULL;
	*len = 0;
	if (!warren_conf_has(coord->conf, key))
		return 0;
	fd = warren_conf_open_wait(coord->ctx, coord->conf, key, err);
	if (fd < 0)
		return fd;
	*out = read_text(fd, len);
	if (*out)
		return 0;
	return warren_fail_key(err, -EIO, coord->conf, key, "this file cannot be read, or is "
			       "longer than %d bytes", POLICY_MAX);
}

/* *@out NULL: none is configured. */
static int load_derp(struct coord *coord, json_t **out, struct warren_err *err)
{
	char *text;
	size_t len;
	int result = read_file(coord, "derp-map", &text, &len, err);

	*out = NULL;
	if (result || !text)
		return result;
	*out = coord_derp_parse(text, len, err);
	free(text);
	return *out ? 0 : -EINVAL;
}

static int load_policy(struct coord *coord, struct warren_err *err)
{
	char *text;
	size_t len;
	int result = read_file(coord, "policy", &text, &len, err);

	if (!result)
		result = coord_view_policy(coord, text, len, err);
	free(text);
	return result;
}

/* ---- a file changes: the policy, the map of relays ---- */

static char *take_file(struct warren_ctx *ctx, const struct warren_priv_answer *answer,
		       const char *key, size_t *len)
{
	bool opened = answer->result >= 0 && answer->count == 1;
	char *text = opened ? read_text(answer->fds[0], len) : NULL;

	if (!text)
		warren_log(ctx, LOG_WARNING, "coordinator.%s has changed and cannot be read: %s; "
			   "what it said before stays in force", key,
			   answer->error ? answer->error : "too long, or an error of the disk");
	return text;
}

static void policy_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer,
			  void *arg)
{
	size_t len;
	char *text = take_file(ctx, answer, "policy", &len);

	if (text)
		coord_view_reloaded(arg, text, len);
	free(text);
}

static void derp_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer,
			void *arg)
{
	struct coord *coord = arg;
	struct warren_err err = ERR_INIT;
	size_t len;
	char *text = take_file(ctx, answer, "derp-map", &len);
	json_t *map = text ? coord_derp_parse(text, len, &err) : NULL;

	if (map) {
		json_decref(coord->derp_map);
		coord->derp_map = map;
		coord_tell_everybody(coord);
		warren_log(ctx, LOG_NOTICE, "the new map of relays is in force");
	} else if (text) {
		warren_log(ctx, LOG_WARNING, "%s; the one before it stays in force",
			   err_first(&err));
	}
	err_free(&err);
	free(text);
}

static void file_changed(struct coord *coord, const char *key, warren_priv_fn *opened)
{
	struct warren_priv_open item = { .access = WARREN_READ };

	str_copy(item.key, sizeof(item.key), key);
	if (warren_priv(coord->ctx, WARREN_OP_OPEN, &item, sizeof(item), opened, coord))
		warren_log(coord->ctx, LOG_WARNING, "%s has changed and cannot be opened; what it "
			   "said before stays in force", key);
}

static void policy_changed(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	file_changed(arg, "coordinator.policy", policy_opened);
}

static void derp_changed(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	file_changed(arg, "coordinator.derp-map", derp_opened);
}

static int watch_files(struct coord *coord)
{
	int result = 0;

	if (warren_conf_has(coord->conf, "policy"))
		result = warren_watch(coord->ctx, coord->conf, "policy", policy_changed, coord);
	if (!result && warren_conf_has(coord->conf, "derp-map"))
		result = warren_watch(coord->ctx, coord->conf, "derp-map", derp_changed, coord);
	return result;
}

/* ---- life ---- */

static int open_tailnet(struct coord *coord, struct warren_err *err)
{
	const struct tailnet_config config = config_of(coord->conf);
	char path[4096], why[TAILNET_WHY] = "";
	struct store *store;
	int result = warren_state_path(coord->ctx, "coordinator.db", path, sizeof(path), err);

	if (result)
		return result;
	if (tailnet_config_check(&config, why))
		return warren_fail(err, coord->conf, "%s", why);
	store = store_open(path, &result, why);
	if (!store) {
		warren_fail(err, NULL, "%s", why);
		return result;
	}
	coord->host = tailnet_host_new(coord->ctx);
	coord->tailnet = coord->host ? tailnet_open(tailnet_host_env(coord->host), &config, store,
						    why) : NULL;
	if (!coord->tailnet) {
		store_close(store);
		return warren_fail(err, NULL, "%s", why[0] ? why : "no memory");
	}
	tailnet_host_set(coord->host, coord->tailnet);
	return 0;
}

static void open_stats(struct coord *coord)
{
	struct coord_stats *s = &coord->stats;

	s->connections = warren_stat_open(coord->ctx, "connections", NULL);
	s->sessions = warren_stat_open(coord->ctx, "sessions", NULL);
	s->streams = warren_stat_open(coord->ctx, "streams", NULL);
	s->registrations = warren_stat_open(coord->ctx, "registrations", NULL);
	s->maps = warren_stat_open(coord->ctx, "maps", NULL);
	s->shed = warren_stat_open(coord->ctx, "shed", NULL);
}

static int listen_here(struct coord *coord, struct warren_err *err)
{
	const struct warren_listen_options wanted = {
		.size = sizeof(wanted), .flags = WARREN_LISTEN_KEEP, .key = "coordinator.listen",
		.at = warren_conf_addrport(coord->conf, "listen"), .connections = 8192,
	};

	return warren_listen_wait(coord->ctx, &wanted, coord_accept, coord, &coord->listener, err);
}

static int serve(struct coord *coord, struct warren_err *err)
{
	const void *ops;
	void *self;

	if (warren_conf_has(coord->conf, "listen"))
		return listen_here(coord, err);
	if (warren_need(coord->ctx, "front", &ops, &self))
		return 0;		/* told when it comes */
	coord->routed = true;
	return coord_route(coord, ops, self, err);
}

/* Whom clients reach no more; what is on its way to the disk is not touched. */
static void let_go(struct coord *coord)
{
	warren_listener_close(coord->listener);
	coord->listener = NULL;
	coord_streams_close(coord);
	coord_sessions_close(coord);
	coord_outers_close(coord);
	coord_view_stop(coord);
	coord_fragments_free(coord);
	hash_free(&coord->by_node);
	json_decref(coord->derp_map);
	coord->derp_map = NULL;
	free(coord->dns_config);
	coord->dns_config = NULL;
	ZSTD_freeCCtx(coord->zstd);
	coord->zstd = NULL;
	warren_private_wipe(&coord->key);
}

static int begin(struct coord *coord, struct warren_err *err)
{
	int result = load_key(coord, err);

	if (!result)
		result = load_derp(coord, &coord->derp_map, err);
	if (!result && !coord->derp_map)
		warren_log(coord->ctx, LOG_WARNING, "no \"derp-map\": clients have no relay, and "
			   "stock ones do not come up before they have reached a peer without one");
	coord->dns_config = dns_config(coord->conf);
	coord->zstd = ZSTD_createCCtx();
	if (!result && (!coord->dns_config || !coord->zstd))
		result = -ENOMEM;
	if (!result)
		result = open_tailnet(coord, err);
	if (!result)
		result = coord_view_start(coord, err);
	if (!result)
		result = load_policy(coord, err);
	if (!result)
		result = watch_files(coord);
	return result ? result : serve(coord, err);
}

static void take_names(struct coord *coord)
{
	const char *url = warren_conf_str(coord->conf, "url");
	size_t len = strlen(url);

	while (len > 0 && url[len - 1] == '/')
		len--;
	snprintf(coord->url, sizeof(coord->url), "%.*s", (int)len, url);
	str_copy(coord->base_domain, sizeof(coord->base_domain),
		 warren_conf_str(coord->conf, "base-domain"));
}

static int coord_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct coord *coord = warren_zalloc(ctx, sizeof(*coord));
	int result;

	if (!coord)
		return -ENOMEM;
	coord->ctx = ctx;
	coord->conf = conf;
	list_init(&coord->outers);
	list_init(&coord->asked);
	list_init(&coord->sessions);
	list_init(&coord->streams);
	list_init(&coord->dirty);
	hash_init(&coord->by_node);
	hash_init(&coord->fragments);
	randombytes_buf(coord->secret, sizeof(coord->secret));
	take_names(coord);
	open_stats(coord);
	warren_self_set(ctx, coord);
	result = begin(coord, err);
	if (!result)
		return 0;
	let_go(coord);
	if (coord->tailnet) {		/* nothing was started that would have to be waited for */
		tailnet_host_set(coord->host, NULL);
		tailnet_free(coord->tailnet);
	}
	return result;
}

/* All is read and checked before the first of it is in force; the policy is the last to refuse. */
static int take_settings(struct coord *coord, struct warren_err *err)
{
	const struct tailnet_config config = config_of(coord->conf);
	char why[TAILNET_WHY], *dns = dns_config(coord->conf);
	json_t *derp = NULL;
	int result = dns ? load_derp(coord, &derp, err) : -ENOMEM;

	if (!result && tailnet_config_check(&config, why))
		result = warren_fail(err, coord->conf, "%s", why);
	if (!result)
		result = watch_files(coord);
	if (!result)
		result = load_policy(coord, err);
	if (!result && tailnet_configure(coord->tailnet, &config, why))
		result = warren_fail(err, coord->conf, "%s", why);
	if (result) {
		free(dns);
		json_decref(derp);
		return result;
	}
	free(coord->dns_config);
	coord->dns_config = dns;
	json_decref(coord->derp_map);
	coord->derp_map = derp;
	take_names(coord);
	return 0;
}

static int coord_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			const struct warren_conf *now, struct warren_err *err)
{
	struct coord *coord = warren_self(ctx);
	int result;

	if (!warren_conf_equal(old, now, "listen") || !warren_conf_equal(old, now, "url"))
		return warren_fail_key(err, -EINVAL, now, "url", "\"url\" and \"listen\" of a "
				       "coordinator that runs cannot change: restart warrend");
	coord->conf = now;
	result = take_settings(coord, err);
	if (result) {
		coord->conf = old;
		return result;
	}
	if (warren_conf_equal(old, now, "base-domain")) {
		coord_tell_everybody(coord);
	} else {			/* all names are other ones: they come again */
		coord_fragments_free(coord);
		coord_streams_close(coord);
	}
	return 0;
}

static void drained(void *arg)
{
	struct coord *coord = arg;

	tailnet_host_set(coord->host, NULL);
	tailnet_free(coord->tailnet);
	coord->tailnet = NULL;
	warren_stopped(coord->ctx);
}

static int coord_stop(struct warren_ctx *ctx)
{
	struct coord *coord = warren_self(ctx);

	let_go(coord);
	tailnet_drain(coord->tailnet, drained, coord);
	return WARREN_PENDING;
}

static void coord_found(struct warren_ctx *ctx, const char *service, const void *ops, void *self)
{
	struct coord *coord = warren_self(ctx);
	struct warren_err err = ERR_INIT;

	(void)service;
	if (warren_conf_has(coord->conf, "listen") || coord->routed)
		return;
	coord->routed = true;
	if (coord_route(coord, ops, self, &err))
		warren_log(ctx, LOG_ERR, "clients do not reach the coordinator: %s",
			   err_first(&err));
	err_free(&err);
}

static void coord_lost(struct warren_ctx *ctx, const char *service)
{
	struct coord *coord = warren_self(ctx);

	(void)service;
	if (!coord->routed)
		return;
	coord->routed = false;
	coord_streams_close(coord);
	coord_sessions_close(coord);
	coord_outers_close(coord);
}

struct tailnet *coord_cli_tailnet(struct warren_ctx *ctx)
{
	const struct coord *coord = warren_self(ctx);

	return coord->tailnet;
}

static void coord_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct coord *coord = warren_self(ctx);
	struct tailnet_stats stats;
	char key[WARREN_KEYTEXT_MAX];
	uint32_t nodes, users;

	tailnet_stats(coord->tailnet, &stats);
	tailnet_nodes(coord->tailnet, &nodes);
	tailnet_users(coord->tailnet, &users);
	warren_keytext_format(WARREN_KEYTEXT_MACHINE, coord->noise.public_key, key);
	warren_reply_str(reply, "url", "%s", coord->url);
	warren_reply_str(reply, "key", "%s", key);
	warren_reply_int(reply, "nodes", nodes);
	warren_reply_int(reply, "online", stats.online);
	warren_reply_int(reply, "users", users);
	warren_reply_bool(reply, "served", coord->listener || coord->routed);
	warren_reply_text(reply, "%s: %u of %u nodes online, users: %u%s", coord->url,
			  stats.online, nodes, users, coord->listener || coord->routed ? "" :
			  "; not served: no listen, and front does not run");
}

WARREN_PLUGIN(coordinator, "coordinator",
	.version = "0.1",
	.license = "ISC",
	.brief = "The coordination server of a tailnet.",
	.help = "Stock clients and gateways join it. It gives addresses and names, says who may "
		"reach whom, and keeps all of it in one SQLite database.",
	.options = WARREN_TABLE(options),
	.commands = { sizeof(struct warren_command), COORD_COMMANDS, coord_commands },
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.privops = WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(OPEN) | WARREN_PRIVOP(WATCH),
	.check = coord_check,
	.start = coord_start,
	.reload = coord_reload,
	.stop = coord_stop,
	.found = coord_found,
	.lost = coord_lost,
	.status = coord_status,
);
