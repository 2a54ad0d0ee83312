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
#include "login/desk.h"
#include "server/dns.h"
#include "server/server.h"
#include "store/store.h"
#include "tailnet/host.h"
#include "zone/zone.h"

static const uint64_t stuck = 60000000;
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

static const struct warren_option options[] = {
	{ .key = "url", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 10, .max = 255,
	  .check = check_url, .brief = "How clients reach this server.",
	  .help = "What they are given as --login-server. With https the plugin `front` serves "
		  "it, unless `listen` is set.",
	  .example = "https://hq.example.com" },
	{ .key = "listen", .type = WARREN_ADDRPORT, .example = "127.0.0.1:8080",
	  .brief = "Serve plain HTTP here instead of through `front`.",
	  .help = "For tests, and behind a proxy that passes the upgrade of /ts2021 on." },
	{ .key = "trusted-proxies", .type = WARREN_PREFIX, .flags = WARREN_MANY,
	  .example = "127.0.0.1/32",
	  .brief = "Proxies in front of this server whose X-Forwarded-For is believed.",
	  .help = "The audit log and `node pending` say from where a device comes, and of one "
		  "address 64 logins at most wait. Without this they have the proxy's." },
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
	{ .key = "oidc", .type = WARREN_MAP,
	  .sub = { sizeof(struct warren_option), LOGIN_OPTIONS, login_options },
	  .brief = "The provider that users log in at.",
	  .help = "Without one the operator lets every device in: `warren node approve`. That goes "
		  "on to work with one." },
	{ .key = "probe-interval", .type = WARREN_DURATION, .def = "10s", .min = 2000000,
	  .max = INT64_C(3600) * 1000000,
	  .brief = "How often routers that serve the same network are asked whether they live.",
	  .help = "One that does not answer within half of it hands the network to another one "
		  "that does. Those that nobody could stand in for are not asked." },
	{ .key = "dns", .type = WARREN_MAP, .sub = WARREN_TABLE(coord_dns_options),
	  .brief = "What clients are told of DNS." },
	{ .key = "zone", .type = WARREN_MAP,
	  .sub = { sizeof(struct warren_option), ZONE_OPTIONS, coord_zone_options },
	  .brief = "The public zone of the base domain, so that devices get certificates.",
	  .help = "A device proves its name to an authority such as Let's Encrypt with a record "
		  "in there. Left out: names of devices cannot have certificates.",
	  .example = "{listen: [\"203.0.113.7:53\"]}" },
};

static const struct warren_port needs[] = {
	{ .name = "front", .major = 0, .minor = 1, .flags = WARREN_SOFT,
	  .brief = "The public listeners." },
	{ .name = "relay-server", .major = 0, .minor = 2, .flags = WARREN_SOFT,
	  .brief = "The relay of this box, which clients are told of." },
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

static bool is_served(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct coord *coord = warren_self(ctx);

	if (coord->listener || coord->routed)
		return true;
	warren_finding(result, "no client reaches %s: the section `coordinator` has no `listen`, "
		       "and the plugin front does not run; add the section `front`, or `listen` "
		       "behind a proxy of your own", coord->url);
	return false;
}

static const struct warren_check checks[] = {
	{
		.id = "coordinator.zone", .severity = WARREN_BAD,
		.brief = "Devices can prove their names to an authority.",
		.help = "That takes the sockets of the zone that is served here, or the server "
			"elsewhere that took the last change.",
		.run = coord_zone_served,
	},
	{
		.id = "coordinator.served", .severity = WARREN_BAD,
		.brief = "Something listens for the coordinator's clients.",
		.help = "That is `front` with its public ports, or `listen` for a proxy or a test.",
		.run = is_served,
	},
};

static int check_proxies(const struct warren_conf *conf, struct warren_err *err)
{
	uint32_t n = warren_conf_count(conf, "trusted-proxies");

	if (n > COORD_PROXIES)
		return warren_fail_key(err, -EINVAL, conf, "trusted-proxies", "%u proxies are too "
				       "many; %d is the limit: larger networks have room for "
				       "several", n, COORD_PROXIES);
	for (uint32_t i = 0; i < n; i++) {
		const struct warren_conf *at = warren_conf_at(conf, "trusted-proxies", i);

		if (warren_conf_prefix(at, NULL).bits == 0)
			return warren_fail(err, at, "with this everybody is a trusted proxy, and "
					   "may say any address: name the network of the proxies");
	}
	return 0;
}

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
	if (check_proxies(conf, err))
		return -EINVAL;
	if (warren_conf_has(conf, "oidc") &&
	    login_options_check(warren_conf_map(conf, "oidc"), err))
		return -EINVAL;
	if (warren_conf_has(conf, "zone") &&
	    coord_zone_check(warren_conf_map(conf, "zone"), base, url.host, err))
		return -EINVAL;
	return coord_dns_check(warren_conf_map(conf, "dns"), err);
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

/* A file that @conf names, as text; *@out NULL when none is named. */
static int read_file(struct coord *coord, const struct warren_conf *conf, const char *key,
		     char **out, size_t *len, struct warren_err *err)
{
	int fd;

	*out = NULL;
	*len = 0;
	if (!conf || !warren_conf_has(conf, key))
		return 0;
	fd = warren_conf_open_wait(coord->ctx, conf, key, err);
	if (fd < 0)
		return fd;
	*out = read_text(fd, len);
	if (*out)
		return 0;
	return warren_fail_key(err, -EIO, conf, key, "this file cannot be read, or is "
			       "longer than %d bytes", POLICY_MAX);
}

/* *@out NULL: none is configured. */
static int load_derp(struct coord *coord, char **out, struct warren_err *err)
{
	char *text;
	size_t len;
	int result = read_file(coord, coord->conf, "derp-map", &text, &len, err);

	*out = NULL;
	if (result || !text)
		return result;
	*out = coord_derp_parse(text, len, err);
	free(text);
	return *out ? 0 : -EINVAL;
}

/* NULL with a sentence, or where memory has run out. */
static struct coord_dns *load_dns(struct coord *coord, struct warren_err *err)
{
	const struct warren_conf *section = warren_conf_map(coord->conf, "dns");
	struct coord_dns *dns = coord_dns_new(section, warren_conf_str(coord->conf,
								       "base-domain"));
	char *text = NULL;
	size_t len;
	int result = dns ? read_file(coord, section, "extra-records-file", &text, &len, err) :
			   -ENOMEM;

	if (!result && text)
		result = coord_dns_records(dns, text, len, err);
	free(text);
	if (result >= 0)
		return dns;
	coord_dns_free(dns);
	return NULL;
}

static int load_policy(struct coord *coord, struct warren_err *err)
{
	char *text;
	size_t len;
	int result = read_file(coord, coord->conf, "policy", &text, &len, err);

	if (!result)
		result = coord_view_policy(coord, text, len, err);
	free(text);
	return result;
}

/* *@out NULL: no provider is configured. */
static int load_login(struct coord *coord, struct login_settings **out, struct warren_err *err)
{
	const struct warren_conf *oidc = warren_conf_map(coord->conf, "oidc");
	char *pem = NULL;
	size_t len;
	int result = oidc ? read_file(coord, oidc, "ca-file", &pem, &len, err) : 0;

	*out = NULL;
	if (result || !oidc)
		return result;
	if (pem)
		pem[len] = '\0';	/* read_text() leaves room */
	*out = login_settings_new(oidc, coord->url, pem);
	return *out ? 0 : -ENOMEM;
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
	char *map = text ? coord_derp_parse(text, len, &err) : NULL;

	if (map) {
		free(coord->derp_file);
		coord->derp_file = map;
		coord_derp_merge(coord);
		coord_tell_everybody(coord);
		warren_log(ctx, LOG_NOTICE, "the new map of relays is in force");
	} else if (text) {
		warren_log(ctx, LOG_WARNING, "%s; the one before it stays in force",
			   err_first(&err));
	}
	err_free(&err);
	free(text);
}

static void records_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer,
			   void *arg)
{
	struct coord *coord = arg;
	struct warren_err err = ERR_INIT;
	size_t len;
	char *text = take_file(ctx, answer, "dns.extra-records-file", &len);
	int result = text && coord->dns ? coord_dns_records(coord->dns, text, len, &err) : 0;

	if (result > 0) {
		coord_tell_everybody(coord);
		warren_log(ctx, LOG_NOTICE, "the new DNS records are in force");
	} else if (result < 0) {
		warren_log(ctx, LOG_WARNING, "%s; the ones before them stay in force",
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

static void records_changed(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	file_changed(arg, "coordinator.dns.extra-records-file", records_opened);
}

static int watch_files(struct coord *coord)
{
	const struct warren_conf *dns = warren_conf_map(coord->conf, "dns");
	int result = 0;

	if (warren_conf_has(coord->conf, "policy"))
		result = warren_watch(coord->ctx, coord->conf, "policy", policy_changed, coord);
	if (!result && warren_conf_has(coord->conf, "derp-map"))
		result = warren_watch(coord->ctx, coord->conf, "derp-map", derp_changed, coord);
	if (!result && dns && warren_conf_has(dns, "extra-records-file"))
		result = warren_watch(coord->ctx, dns, "extra-records-file", records_changed,
				      coord);
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
	coord_probe_stop(coord);
	coord_pings_close(coord);
	coord_ssh_stop(coord);
	coord_streams_close(coord);
	coord_sessions_close(coord);
	coord_outers_close(coord);
	coord_view_stop(coord);
	login_desk_free(coord->desk);
	coord->desk = NULL;
	coord_fragments_free(coord);
	hash_free(&coord->by_node);
	free(coord->derp_map);
	free(coord->derp_file);
	coord->derp_map = coord->derp_file = NULL;
	coord_dns_free(coord->dns);
	coord->dns = NULL;
	coord_zone_use_take(coord, NULL);
	ZSTD_freeCCtx(coord->zstd);
	coord->zstd = NULL;
	warren_private_wipe(&coord->key);
}

static int open_desk(struct coord *coord, struct warren_err *err)
{
	struct login_settings *settings;
	int result = load_login(coord, &settings, err);

	if (result)
		return result;
	coord->desk = login_desk_new(coord->ctx, coord->tailnet, coord->url);
	if (!coord->desk) {
		login_settings_free(settings);
		return -ENOMEM;
	}
	login_desk_set_checks(coord->desk, &coord_ssh_checks, coord);
	login_desk_set_take(coord->desk, settings, true);
	return 0;
}

/* ---- the relay of this box ---- */

static bool may_relay(void *arg, const uint8_t key[32])
{
	const struct coord *coord = arg;
	const struct tailnet_node *node = coord->tailnet ?
					  tailnet_node_by_key(coord->tailnet, key) : NULL;

	return node && node->authorized && !node->live.expired;
}

static void relay_changed(void *arg)
{
	struct coord *coord = arg;

	coord_derp_merge(coord);
	coord_tell_everybody(coord);
}

static void use_relay(struct coord *coord, const void *ops, void *self)
{
	struct warren_err err = ERR_INIT;
	struct warren_url url;

	coord->relay = ops;
	coord->relay_self = self;
	if (!warren_url_parse(coord->url, &url, NULL))
		coord->relay->host(self, url.host);
	if (coord->relay->judge(self, coord->ctx, may_relay, relay_changed, coord, &err))
		warren_log(coord->ctx, LOG_ERR, "the relay of this box asks somebody else who may "
			   "use it: %s", err_first(&err));
	err_free(&err);
	coord_derp_merge(coord);
}

static void take_relay(struct coord *coord)
{
	const void *ops;
	void *self;
	int result = warren_need(coord->ctx, "relay-server", &ops, &self);

	if (!result)
		use_relay(coord, ops, self);
	else
		coord_derp_merge(coord);
	if (!coord->derp_map && result != -EAGAIN)	/* else told of by `found` */
		warren_log(coord->ctx, LOG_WARNING, "no \"derp-map\" and no section \"relay\": "
			   "clients have no relay, and stock ones do not come up before they have "
			   "reached a peer without one");
}

static int begin(struct coord *coord, struct warren_err *err)
{
	int result = load_key(coord, err);

	if (!result)
		result = load_derp(coord, &coord->derp_file, err);
	if (!result)
		take_relay(coord);
	coord->dns = result ? NULL : load_dns(coord, err);
	coord->zstd = ZSTD_createCCtx();
	if (!result && (!coord->dns || !coord->zstd || !coord_zone_load(coord, &coord->zone, err)))
		result = -EINVAL;
	if (coord->zone)
		coord_dns_certify(coord->dns, coord->base_domain);
	if (!result)
		result = open_tailnet(coord, err);
	if (!result)
		result = open_desk(coord, err);
	if (!result)
		result = coord_view_start(coord, err);
	if (!result)
		result = load_policy(coord, err);
	if (!result)
		result = watch_files(coord);
	if (!result)
		result = coord_probe_start(coord);
	if (!result)
		result = coord_ssh_start(coord);
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
	coord->probe_interval = (uint64_t)warren_conf_int(coord->conf, "probe-interval");
	coord->proxies.n = warren_conf_count(coord->conf, "trusted-proxies");
	for (uint32_t i = 0; i < coord->proxies.n; i++)
		coord->proxies.at[i] = warren_conf_prefix(
			warren_conf_at(coord->conf, "trusted-proxies", i), NULL);
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
	list_init(&coord->pings);
	list_init(&coord->sessions);
	list_init(&coord->streams);
	list_init(&coord->dirty);
	coord->stuck = stuck;
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
static int take_settings(struct coord *coord, const struct warren_conf *old,
			 struct warren_err *err)
{
	const struct tailnet_config config = config_of(coord->conf);
	struct coord_dns *dns = load_dns(coord, err);
	char why[TAILNET_WHY];
	struct login_settings *login = NULL;
	bool groups = login_desk_policy_groups(coord->desk);
	bool same = warren_conf_equal(old, coord->conf, "zone") &&
		    warren_conf_equal(old, coord->conf, "base-domain");
	struct zone *zone = NULL;
	char *derp = NULL;
	int result = dns ? load_derp(coord, &derp, err) : -EINVAL;

	if (!result)
		result = load_login(coord, &login, err);
	if (!result && !same && !coord_zone_load(coord, &zone, err))
		result = -EINVAL;
	if (!result && tailnet_config_check(&config, why))
		result = warren_fail(err, coord->conf, "%s", why);
	if (!result)
		result = watch_files(coord);
	if (!result)
		result = load_policy(coord, err);
	if (!result && tailnet_configure(coord->tailnet, &config, why))
		result = warren_fail(err, coord->conf, "%s", why);
	if (result) {
		coord_dns_free(dns);
		coord_zone_free(zone);
		free(derp);
		login_settings_free(login);
		return result;
	}
	login_desk_set_take(coord->desk, login, !warren_conf_equal(old, coord->conf, "oidc"));
	if (groups != login_desk_policy_groups(coord->desk))
		coord_view_users(coord);
	coord_dns_free(coord->dns);
	coord->dns = dns;
	free(coord->derp_file);
	coord->derp_file = derp;
	take_names(coord);
	if (!same)
		coord_zone_use_take(coord, zone);
	if (coord->zone)
		coord_dns_certify(coord->dns, coord->base_domain);
	coord_derp_merge(coord);
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
	result = take_settings(coord, old, err);
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

	if (strcmp(service, "relay-server") == 0) {
		use_relay(coord, ops, self);
		coord_tell_everybody(coord);
		return;
	}
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

	if (strcmp(service, "relay-server") == 0) {
		coord->relay = NULL;
		coord_derp_merge(coord);
		coord_tell_everybody(coord);
		return;
	}
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
	.checks = WARREN_TABLE(checks),
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
