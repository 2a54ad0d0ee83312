/*
 * serve: ports of this host for the network. Read this first: the tables that declare it, and its
 * listeners.
 *
 *	config.c	what is served, out of YAML
 *	target.c	targets, paths, ranges: all that can be said without a connection
 *	conn.c		connections, and each request on its way to what is at its path
 *	fields.c	who asks, told to backends so that nobody else can tell it
 *	proxy.c		requests that go on to a backend
 *	files.c		files and folders
 *	forward.c	TCP, with the PROXY protocol
 *	pair.c		two streams that became one
 *	commands.c	`warren serve`
 *	show.c		status, doctor
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/str.h"
#include "serve.h"

static const struct warren_option handler_options[] = {
	{ .key = "proxy", .type = WARREN_STRING, .max = SRV_PATH - 1,
	  .brief = "Backend: a port of this host, HOST:PORT, or a URL.",
	  .help = "https:// verifies the backend's certificate, https+insecure:// does not. The "
		  "backend is told who asks in fields that clients cannot forge, which anybody "
		  "could who reaches it past `serve`: let it listen on 127.0.0.1.",
	  .example = "http://127.0.0.1:3000" },
	{ .key = "unix", .type = WARREN_PATH, .flags = WARREN_CONNECT,
	  .brief = "Backend: a unix socket that speaks HTTP.", .example = "/run/app.sock" },
	{ .key = "path", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "A file, or a folder with all that is below it.",
	  .help = "Links below the folder are not followed. What has no index.html is listed.",
	  .example = "/srv/docs/" },
	{ .key = "text", .type = WARREN_STRING, .max = 65536, .brief = "These words.",
	  .example = "hello" },
	{ .key = "redirect", .type = WARREN_STRING, .min = 1, .max = SRV_PATH - 1,
	  .brief = "Another place, with a status in front or 302.",
	  .help = "${HOST} and ${REQUEST_URI} stand for what was asked for.",
	  .example = "\"301:https://wiki.example.com${REQUEST_URI}\"" },
};

static const struct warren_option mount_options[] = {
	{ .key = NULL, .type = WARREN_MAP, .flags = WARREN_OR_TEXT,
	  .sub = WARREN_TABLE(handler_options),
	  .brief = "What is at that path and below; a single value is a backend." },
};

static const struct warren_option tcp_options[] = {
	{ .key = "to", .type = WARREN_STRING, .max = 300,
	  .brief = "A port of this host, or HOST:PORT.", .example = "127.0.0.1:5432" },
	{ .key = "unix", .type = WARREN_PATH, .flags = WARREN_CONNECT,
	  .brief = "A unix socket instead.", .example = "/run/postgresql/.s.PGSQL.5432" },
	{ .key = "proxy-protocol", .type = WARREN_INT, .def = "0", .max = 2,
	  .brief = "Version of the PROXY protocol that tells the peer's address; 0: none." },
};

static const struct warren_option tls_options[] = { WARREN_PAIR_OPTIONS };

static const struct warren_option options[] = {
	{ .key = "http", .type = WARREN_MAP, .flags = WARREN_KEYED,
	  .sub = WARREN_TABLE(mount_options),
	  .brief = "HTTP, by port, and by path below that.",
	  .help = "The longest path that fits has the request.",
	  .example = "{80: {/: 3000, /docs/: {path: /srv/docs/}}}" },
	{ .key = "https", .type = WARREN_MAP, .flags = WARREN_KEYED,
	  .sub = WARREN_TABLE(mount_options),
	  .brief = "The same over TLS, with the certificate of `tls`.",
	  .example = "{443: {/: 3000}}" },
	{ .key = "tls", .type = WARREN_MAP, .sub = WARREN_TABLE(tls_options),
	  .brief = "The certificate for `https`, as files." },
	{ .key = "tcp", .type = WARREN_MAP, .flags = WARREN_KEYED | WARREN_OR_TEXT,
	  .sub = WARREN_TABLE(tcp_options),
	  .brief = "TCP, by port: what it leads to.", .example = "{5432: \"127.0.0.1:5432\"}" },
	{ .key = "names", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1, .max = 253,
	  .brief = "Further names by which browsers may call this node.",
	  .help = "Its own names and addresses are known. Other names are refused, or any page "
		  "could have a browser ask here and read the answer, as whoever sits there.",
	  .example = "[wiki.example.com]" },
	{ .key = "foreground", .type = WARREN_BOOL, .def = "true",
	  .brief = "Whether `warren serve` without --bg may serve.",
	  .help = "The command sets it where `serve` is not on yet." },
	{ .key = "connections", .type = WARREN_INT, .def = "1024", .min = 1, .max = 65536,
	  .brief = "Connections of all together.", .help = "Those above it are closed at once." },
	{ .key = "per-peer", .type = WARREN_INT, .def = "256", .min = 1, .max = 65536,
	  .brief = "Connections of one peer.", .help = "Those above it are closed at once." },
};

static const struct warren_option serve_args[] = {
	{ .key = "bg", .type = WARREN_BOOL, .def = "false",
	  .brief = "Go on after the command has ended, and after a restart." },
	{ .key = "http", .type = WARREN_INT, .min = 1, .max = 65535, .brief = "Port for HTTP." },
	{ .key = "https", .type = WARREN_INT, .min = 1, .max = 65535,
	  .brief = "Port for HTTPS; 443 where none is named." },
	{ .key = "tcp", .type = WARREN_INT, .min = 1, .max = 65535, .brief = "Port for TCP." },
	{ .key = "proxy-protocol", .type = WARREN_INT, .def = "0", .max = 2,
	  .brief = "With --tcp: the version of the PROXY protocol." },
	{ .key = "set-path", .type = WARREN_STRING, .max = SRV_PATH - 1,
	  .brief = "Path to serve at instead of all of them." },
	{ .key = "yes", .type = WARREN_BOOL, .def = "false",
	  .brief = "Nothing is asked anyway; for scripts of the stock client." },
	{ .key = "target", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .max = SRV_PATH - 1,
	  .brief = "What is served, or `off`: a port, a URL, unix:PATH, PATH, text:WORDS." },
};

static const struct warren_command commands[] = {
	{ .path = "serve", .flags = WARREN_CMD_OPERATOR | WARREN_CMD_ALWAYS | WARREN_CMD_STOCK,
	  .args = WARREN_TABLE(serve_args),
	  .brief = "Serve a port, a file or a folder to the network.",
	  .help = "Without --bg until the command is interrupted. Files and sockets are opened "
		  "with the rights of whoever types this, and need --bg.",
	  .example = "warren serve --bg --http=80 3000", .run = srv_run_serve },
	{ .path = "serve status", .flags = WARREN_CMD_ANY | WARREN_CMD_ALWAYS | WARREN_CMD_STOCK,
	  .brief = "Show what is served.",
	  .help = "With --json in the stock client's form. A port that another program keeps from "
		  "this host itself is named with it.",
	  .example = "warren serve status",
	  .run = srv_run_status },
	{ .path = "serve reset",
	  .flags = WARREN_CMD_OPERATOR | WARREN_CMD_ALWAYS | WARREN_CMD_STOCK,
	  .brief = "End all that commands have set to be served.",
	  .help = "What files of the configuration set stays, and so does what a command serves "
		  "that still runs.",
	  .example = "warren serve reset", .run = srv_run_reset },
};

static const struct warren_metric metrics[] = {
	{ .name = "connections", .kind = WARREN_COUNTER, .unit = "1", .brief = "Connections." },
	{ .name = "requests", .kind = WARREN_COUNTER, .unit = "1", .brief = "Requests of HTTP." },
	{ .name = "refused", .kind = WARREN_COUNTER, .unit = "1", .label = "reason",
	  .brief = "Connections and requests that were refused." },
	{ .name = "backend_failures", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Backends that could not be reached or broke off." },
};

static const struct warren_port needs[] = {
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "Who is at which address." },
	{ .name = "svcnet", .major = 0, .minor = 1, .flags = WARREN_ENABLE, .provider = "svcnet",
	  .brief = "Sockets on the tailnet." },
};

static const struct warren_check checks[] = {
	{
		.id = "serve.reachable", .severity = WARREN_WARN,
		.brief = "Peers and this host reach what is served.",
		.help = "Another program on the same port keeps this host's own access.",
		.run = srv_check_reachable,
	},
};

/*
 * ---- Listeners ----
 */

static void want(struct serve *s, const struct srv_port *port)
{
	struct srv_listener *l;

	list_for_each(l, &s->listeners, link) {
		if (l->port != port->port || strcmp(l->key, port->key) != 0)
			continue;
		l->wanted = true;
		l->kind = port->kind;
		return;
	}
	l = warren_zalloc(s->ctx, sizeof(*l));
	if (!l) {
		warren_log(s->ctx, LOG_ERR, "port %u is not served: out of memory", port->port);
		return;
	}
	l->s = s;
	l->port = port->port;
	l->kind = port->kind;
	l->wanted = true;
	str_copy(l->key, sizeof(l->key), port->key);
	list_add_tail(&s->listeners, &l->link);
}

/* A port that a file names is the file's, whatever commands put there beside it. */
static bool is_in_files(const struct serve *s, uint16_t port)
{
	const struct srv_port *p;

	list_for_each(p, &s->ports, link) {
		if (p->port == port)
			return true;
	}
	return false;
}

static void listener_open(struct serve *s, struct srv_listener *l)
{
	static const struct warren_svc_events events = {
		.size = sizeof(events), .accepted = srv_accepted,
	};
	const struct warren_svc_listen listen = {
		.size = sizeof(listen), .protocol = WARREN_SVC_TCP, .at = WARREN_SVC_SELF,
		.port = l->port, .key = l->key[0] ? l->key : NULL,
	};

	if (s->svcnet->listen(s->svcnet_self, s->ctx, &listen, &events, l, &l->listener, NULL))
		warren_log(s->ctx, LOG_ERR, "port %u is not served: another plugin has it, or "
			   "there is no memory", l->port);
}

void srv_listen(struct serve *s)
{
	const struct srv_session *session;
	const struct srv_port *port;
	struct srv_listener *l, *next;

	list_for_each(l, &s->listeners, link)
		l->wanted = false;
	list_for_each(port, &s->ports, link)
		want(s, port);
	list_for_each(session, &s->sessions, link) {
		list_for_each(port, &session->ports, link) {
			if (!is_in_files(s, port->port))
				want(s, port);
		}
	}
	/* First what goes: a port may come back from another key. */
	list_for_each_safe(l, next, &s->listeners, link) {
		if (l->wanted)
			continue;
		s->svcnet->close(s->svcnet_self, l->listener);
		list_del(&l->link);
		warren_release(l);
	}
	list_for_each(l, &s->listeners, link) {
		if (!l->listener)
			listener_open(s, l);
	}
}

static void find_in(const struct list *ports, uint16_t number, enum srv_kind kind,
		    const char *clean, const char *raw, size_t *best,
		    const struct srv_mount **found, const struct srv_port **of)
{
	const struct srv_mount *mount;
	const struct srv_port *port;

	list_for_each(port, ports, link) {
		if (port->port != number || port->kind != kind)
			continue;
		list_for_each(mount, &port->mounts, link) {
			size_t fits = kind == SRV_TCP ? 1 :
				      srv_mount_fits(mount->mount, clean, raw);

			if (fits <= *best)
				continue;
			*best = fits;
			*found = mount;
			*of = port;
		}
	}
}

const struct srv_mount *srv_find(const struct serve *s, uint16_t port, enum srv_kind kind,
				 const char *clean, const char *raw, const struct srv_port **of)
{
	const struct srv_session *session;
	const struct srv_mount *found = NULL;
	size_t best = 0;

	*of = NULL;
	list_for_each(session, &s->sessions, link)
		find_in(&session->ports, port, kind, clean, raw, &best, &found, of);
	find_in(&s->ports, port, kind, clean, raw, &best, &found, of);
	return found;
}

/*
 * ---- The certificate ----
 */

static int take_pair(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
		     struct warren_err *err)
{
	static const char *const alpn[] = { "h2", "http/1.1", NULL };
	struct serve *s = arg;
	struct warren_tls_server *tls = warren_tls_server_new(cert_pem, key_pem, key_len, alpn,
							      err);

	if (!tls)
		return -EINVAL;
	warren_tls_server_free(s->tls);
	s->tls = tls;
	return 0;
}

static int load_tls(struct serve *s, const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");
	int result;

	if (!tls || !warren_conf_has(tls, "cert"))
		return 0;
	result = warren_pair_files_wait(s->ctx, tls, take_pair, s, err);
	return result ? result : warren_pair_watch(s->ctx, tls, "serve.tls", take_pair, s, err);
}

/*
 * ---- Life ----
 */

static void on_map(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct serve *s = arg;

	(void)ctx;
	(void)topic;
	warren_obj_unref(s->map);
	s->map = warren_obj_ref(obj);
	srv_recheck(s, false);
}

static void conf_read(struct serve *s, const struct warren_conf *conf)
{
	s->conf = conf;
	s->connections_max = (uint32_t)warren_conf_int(conf, "connections");
	s->per_peer_max = (uint32_t)warren_conf_int(conf, "per-peer");
}

static int srv_check(const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(conf, "tls");
	bool cert = tls && warren_conf_has(tls, "cert");
	struct list ports;
	int result = srv_ports_read(NULL, conf, &ports, err);

	if (result)
		return result;
	srv_ports_free(&ports);
	if (tls && cert != warren_conf_has(tls, "key"))
		return warren_fail(err, tls, "\"tls\" needs both \"cert\" and \"key\"");
	if (warren_conf_count(conf, "https") > 0 && !cert)
		return warren_fail_key(err, -EINVAL, conf, "https", "HTTPS needs a certificate for "
				       "this node: name its files in serve.tls, `cert` and `key`");
	return 0;
}

static int init(struct serve *s, struct warren_ctx *ctx)
{
	s->ctx = ctx;
	list_init(&s->ports);
	list_init(&s->sessions);
	list_init(&s->listeners);
	list_init(&s->conns);
	list_init(&s->proxied);
	list_init(&s->files);
	list_init(&s->forwards);
	list_init(&s->pairs);
	s->accepted = warren_stat_open(ctx, "connections", NULL);
	s->requests = warren_stat_open(ctx, "requests", NULL);
	s->unknown = warren_stat_open(ctx, "refused", "unknown");
	s->full = warren_stat_open(ctx, "refused", "full");
	s->invalid = warren_stat_open(ctx, "refused", "invalid");
	s->failed = warren_stat_open(ctx, "backend_failures", NULL);
	return s->accepted && s->requests && s->unknown && s->full && s->invalid && s->failed ?
	       0 : -ENOMEM;
}

static int srv_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		     struct warren_err *err)
{
	struct serve *s = warren_zalloc(ctx, sizeof(*s));
	const void *found;
	int result;

	if (!s || init(s, ctx)) {
		warren_fail(err, NULL, "out of memory");
		return -ENOMEM;
	}
	warren_self_set(ctx, s);
	conf_read(s, conf);
	result = warren_need(ctx, "netmap", &found, &s->netmap_self);
	if (result)
		return result;
	s->netmap = found;
	result = warren_need(ctx, "svcnet", &found, &s->svcnet_self);
	if (result)
		return result;
	s->svcnet = found;
	result = load_tls(s, conf, err);
	if (!result)
		result = srv_ports_read(ctx, conf, &s->ports, err);
	if (result) {
		warren_tls_server_free(s->tls);
		return result;
	}
	/* Sticky: the map of now follows. */
	result = warren_subscribe(ctx, "netmap", on_map, s);
	if (result) {
		srv_ports_free(&s->ports);
		warren_tls_server_free(s->tls);
		return result;
	}
	srv_listen(s);
	return 0;
}

static int srv_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		      const struct warren_conf *now, struct warren_err *err)
{
	struct serve *s = warren_self(ctx);
	struct list ports;
	int result = srv_ports_read(ctx, now, &ports, err);

	if (result)
		return result;
	if (!warren_conf_equal(old, now, "tls"))
		result = load_tls(s, now, err);
	if (result) {
		srv_ports_free(&ports);
		return result;
	}
	srv_files_end(s);
	srv_ports_free(&s->ports);
	list_splice_tail(&s->ports, &ports);
	conf_read(s, now);
	srv_listen(s);
	return 0;
}

static int srv_stop(struct warren_ctx *ctx)
{
	struct serve *s = warren_self(ctx);

	srv_sessions_end(s);
	srv_forward_end(s);
	srv_recheck(s, true);
	srv_proxy_end(s);
	srv_files_end(s);
	srv_pairs_end(s, true);
	srv_ports_free(&s->ports);
	srv_listen(s);
	warren_obj_unref(s->map);
	s->map = NULL;
	warren_tls_server_free(s->tls);
	s->tls = NULL;
	return 0;
}

WARREN_PLUGIN(serve, "serve",
	.version = "0.1",
	.license = "ISC",
	.brief = "Ports of this host for the network.",
	.help = "HTTP that leads to backends, files and folders, and TCP. Peers reach it on this "
		"node's addresses in the network and nowhere else, whatever the host's firewall "
		"and programs do there; the policy decides which of them. Backends learn who "
		"asks.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(SOCKET) | WARREN_PRIVOP(OPEN) | WARREN_PRIVOP(FILE) |
		   WARREN_PRIVOP(WATCH),
	.check = srv_check,
	.start = srv_start,
	.reload = srv_reload,
	.stop = srv_stop,
	.status = srv_status,
);
