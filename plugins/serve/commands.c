/*
 * `warren serve`, with the stock client's words. What --bg sets is laid into the overlay, as any
 * setting is; without it, it is there for as long as the command runs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "serve.h"

struct ask {				/* what a command wants */
	struct warren_ctx *ctx;		/* the core's */
	struct warren_reply *reply;
	bool gone;			/* the client hung up */
	bool off, background;
	enum srv_kind kind;
	uint16_t port;
	uint32_t proxy_protocol;
	char mount[SRV_PATH];
	enum srv_what what;
	char value[SRV_PATH + SRV_HOST + 32];
	struct srv_target target;
	struct str json;
};

static void ask_end(struct ask *ask, int exit, const char *error)
{
	if (!ask->gone)
		warren_reply_end(ask->reply, exit, error);
	str_free(&ask->json);
	warren_release(ask);
}

static void ask_gone(struct warren_reply *reply, void *arg)
{
	(void)reply;
	((struct ask *)arg)->gone = true;
}

static struct serve *running(struct warren_ctx *ctx)
{
	struct warren_ctx *plugin = warren_running(ctx, "serve");

	return plugin ? warren_self(plugin) : NULL;
}

/*
 * ---- Words ----
 */

static int read_port(const struct warren_conf *args, struct ask *ask, struct warren_err *err)
{
	bool http = warren_conf_has(args, "http"), tcp = warren_conf_has(args, "tcp");
	bool https = warren_conf_has(args, "https");
	const struct serve *s = running(ask->ctx);

	if (http + tcp + https > 1)
		return warren_fail(err, NULL, "cannot serve multiple types for a single mount "
				   "point: give one of --http, --https and --tcp");
	if (!http && !tcp && !ask->off && (!s || !s->tls))
		return warren_fail(err, NULL, "HTTPS needs a certificate for this node: name its "
				   "files in serve.tls; or a port for HTTP with --http=80, or for "
				   "TCP with --tcp=PORT, both of which the tunnel encrypts");
	ask->kind = tcp ? SRV_TCP : http ? SRV_HTTP : SRV_HTTPS;
	ask->port = http || tcp || https ?
		    (uint16_t)warren_conf_int(args, srv_kind_name(ask->kind)) : 443;
	ask->proxy_protocol = (uint32_t)warren_conf_int(args, "proxy-protocol");
	if (ask->proxy_protocol && !tcp)
		return warren_fail(err, NULL, "--proxy-protocol goes with --tcp");
	if (tcp && warren_conf_has(args, "set-path"))
		return warren_fail(err, NULL, "cannot mount a path for TCP serve");
	return 0;
}

static int read_mount(const struct warren_conf *args, struct ask *ask, struct warren_err *err)
{
	const char *path = warren_conf_has(args, "set-path") ?
			   warren_conf_str(args, "set-path") : "/";

	if ((size_t)snprintf(ask->mount, sizeof(ask->mount), "%s%s", path[0] == '/' ? "" : "/",
			     path) >= sizeof(ask->mount) || !srv_mount_ok(ask->mount))
		return warren_fail(err, NULL, "\"%s\" is no path: it is as a browser sends it",
				   path);
	return 0;
}

static void keep_target(struct ask *ask, bool http)
{
	const struct srv_target *to = &ask->target;
	bool six = strchr(to->host, ':');

	snprintf(ask->value, sizeof(ask->value), "%s%s%s%s:%u%s", !http ? "" : to->insecure ?
		 "https+insecure://" : to->tls ? "https://" : "http://", six ? "[" : "", to->host,
		 six ? "]" : "", to->port, to->path);
}

static int read_target(const char *text, struct ask *ask, struct warren_err *err)
{
	static const char words[] = "text:", local[] = "unix:";
	int result = 0;

	ask->what = SRV_PROXY;
	if (str_starts(text, local)) {
		ask->what = SRV_UNIX;
		str_copy(ask->value, sizeof(ask->value), text + sizeof(local) - 1);
		if (ask->value[0] != '/')
			return warren_fail(err, NULL, "%s: the path of a socket begins with \"/\"",
					   text);
	} else if (ask->kind == SRV_TCP) {
		result = srv_target_tcp(text, &ask->target, err);
		if (!result)
			keep_target(ask, false);
	} else if (str_starts(text, words)) {
		ask->what = SRV_TEXT;
		str_copy(ask->value, sizeof(ask->value), text + sizeof(words) - 1);
		if (!ask->value[0])
			return warren_fail(err, NULL, "unable to serve; text cannot be an empty "
					   "string");
	} else if (text[0] == '/') {
		ask->what = SRV_FILES;
		str_copy(ask->value, sizeof(ask->value), text);
	} else if (text[0] == '.') {
		return warren_fail(err, NULL, "%s: give the whole path, beginning with \"/\"",
				   text);
	} else {
		result = srv_target_http(text, &ask->target, err);
		if (!result)
			keep_target(ask, true);
	}
	if (!result && !ask->background && !ask->off &&
	    (ask->what == SRV_FILES || ask->what == SRV_UNIX))
		return warren_fail(err, NULL, "files and unix sockets are opened as whoever set "
				   "them, which is kept with the settings: add --bg");
	return result;
}

static int read_words(const struct warren_conf *args, struct ask *ask, struct warren_err *err)
{
	uint32_t n = warren_conf_count(args, "target");
	const char *first = n ? warren_conf_str(warren_conf_at(args, "target", 0), NULL) : NULL;
	const char *last = n ? warren_conf_str(warren_conf_at(args, "target", n - 1), NULL) : NULL;
	int result;

	if (!n)
		return warren_fail(err, NULL, "what is to be served? `warren serve --http=80 "
				   "3000`; `warren serve --help` has more");
	ask->background = warren_conf_bool(args, "bg");
	ask->off = strcmp(last, "off") == 0;
	if (n > (ask->off ? 2 : 1))
		return warren_fail(err, NULL, "invalid number of arguments (%u)", n);
	result = read_port(args, ask, err);
	if (!result)
		result = read_mount(args, ask, err);
	if (!result && !(ask->off && n == 1))
		result = read_target(first, ask, err);
	return result;
}

/*
 * ---- What is there ----
 */

static const struct srv_port *port_of(const struct list *ports, uint16_t number)
{
	const struct srv_port *port;

	list_for_each(port, ports, link) {
		if (port->port == number)
			return port;
	}
	return NULL;
}

static const struct srv_mount *mount_of(const struct srv_port *port, const struct ask *ask)
{
	const struct srv_mount *mount;

	list_for_each(mount, &port->mounts, link) {
		if (ask->kind == SRV_TCP || strcmp(mount->mount, ask->mount) == 0)
			return mount;
	}
	return NULL;
}

/* Another kind of port, or another command's. */
static int in_the_way(const struct serve *s, const struct ask *ask, struct warren_err *err)
{
	const struct srv_port *port = s ? port_of(&s->ports, ask->port) : NULL;
	const struct srv_session *session;

	if (port && port->kind != ask->kind)
		return warren_fail(err, NULL, "want to serve \"%s\", but port %u is already "
				   "serving \"%s\"", srv_kind_name(ask->kind), ask->port,
				   srv_kind_name(port->kind));
	if (!s)
		return 0;
	list_for_each(session, &s->sessions, link) {
		port = port_of(&session->ports, ask->port);
		if (port && (port->kind != ask->kind || mount_of(port, ask)))
			return warren_fail(err, NULL, "port %u is served by a command that still "
					   "runs", ask->port);
	}
	return 0;
}

static const char *key_of(enum srv_what what, enum srv_kind kind)
{
	switch (what) {
	case SRV_PROXY: return kind == SRV_TCP ? "to" : "proxy";
	case SRV_UNIX: return "unix";
	case SRV_FILES: return "path";
	case SRV_TEXT: return "text";
	case SRV_REDIRECT: return "redirect";
	}
	return "";
}

/* A command takes nothing away from the files: what it says there would be said for nothing. */
static int to_take(const struct serve *s, const struct ask *ask, struct warren_err *err)
{
	const struct srv_port *port = s ? port_of(&s->ports, ask->port) : NULL;
	const struct srv_mount *mount = port && port->kind == ask->kind ? mount_of(port, ask) :
									  NULL;
	const char *where;

	if (!mount)
		return warren_fail(err, NULL, "failed to remove web serve: error: handler does not "
				   "exist");
	where = warren_conf_where(mount->conf, key_of(mount->what, port->kind));
	if (strstr(where, "/monitor/overlay.yaml:"))
		return 0;
	return warren_fail(err, NULL, "that is set in %s: take it out there", where);
}

/*
 * ---- Settings ----
 */

static void add_value(struct ask *ask)
{
	static const char *const http[] = { "proxy", "unix", "path", "text", "redirect" };
	static const char *const tcp[] = { "to", "unix" };
	const char *const *keys = ask->kind == SRV_TCP ? tcp : http;
	size_t n = ask->kind == SRV_TCP ? ARRAY_SIZE(tcp) : ARRAY_SIZE(http);
	const char *mine = key_of(ask->what, ask->kind);

	/* What was there under another key goes. */
	for (size_t i = 0; i < n; i++) {
		str_addf(&ask->json, "%s\"%s\":", i ? "," : "{", keys[i]);
		if (strcmp(keys[i], mine) == 0)
			str_add_json(&ask->json, ask->value, strlen(ask->value));
		else
			str_add(&ask->json, "null");
	}
	if (ask->kind == SRV_TCP && ask->proxy_protocol)
		str_addf(&ask->json, ",\"proxy-protocol\":%u", ask->proxy_protocol);
	else if (ask->kind == SRV_TCP)
		str_add(&ask->json, ",\"proxy-protocol\":null");
	str_addc(&ask->json, '}');
}

static void add_change(struct ask *ask)
{
	str_addf(&ask->json, "{\"%u\":", ask->port);
	if (ask->kind != SRV_TCP) {
		str_addc(&ask->json, '{');
		str_add_json(&ask->json, ask->mount, strlen(ask->mount));
		str_addc(&ask->json, ':');
	}
	if (ask->off)
		str_add(&ask->json, "null");
	else
		add_value(ask);
	str_add(&ask->json, ask->kind != SRV_TCP ? "}}" : "}");
}

/* As browsers and the stock client spell it. */
static void say_served(const struct serve *s, const struct ask *ask)
{
	char host[SRV_HOST];
	char port[8] = "";

	srv_own_name(s, host);
	if (ask->port != (ask->kind == SRV_HTTP ? 80 : ask->kind == SRV_HTTPS ? 443 : 0))
		snprintf(port, sizeof(port), ":%u", ask->port);
	warren_reply_note(ask->reply, "Available within your tailnet:\n");
	if (ask->kind == SRV_TCP) {
		warren_reply_note(ask->reply, "|-- tcp://%s%s", host, port);
		warren_reply_note(ask->reply, "|--> tcp://%s\n", ask->value);
		return;
	}
	warren_reply_note(ask->reply, "%s://%s%s%s", srv_kind_name(ask->kind), host, port,
			  ask->mount);
	warren_reply_note(ask->reply, "|-- %s %s%s\n", ask->what == SRV_FILES ? "path" :
			  ask->what == SRV_TEXT ? "text" : "proxy",
			  ask->what == SRV_UNIX ? "unix:" : "", ask->value);
}

static void set_done(struct warren_ctx *ctx, int result, const char *text, void *arg)
{
	struct ask *ask = arg;
	const struct serve *s = running(ctx);

	if (result < 0 || ask->gone) {
		ask_end(ask, 1, text);
		return;
	}
	if (!ask->off && s) {
		say_served(s, ask);
		warren_reply_note(ask->reply, "Serve started and running in the background.");
		warren_reply_note(ask->reply, "To disable the proxy, run: warren serve --%s=%u off",
				  srv_kind_name(ask->kind), ask->port);
	}
	ask_end(ask, 0, NULL);
}

static int set(struct ask *ask, const struct warren_overlay_change *changes, uint32_t n,
	       warren_overlay_fn *done, struct warren_err *err)
{
	int result = ask->json.failed ? -ENOMEM :
		     warren_overlay_set(ask->ctx, ask->reply, changes, n, 0, done, ask, err);

	if (result) {
		str_free(&ask->json);
		warren_release(ask);
		return result;
	}
	warren_reply_on_cancel(ask->reply, ask_gone, ask);
	return WARREN_PENDING;
}

static int set_background(struct ask *ask, struct warren_err *err)
{
	struct warren_overlay_change change;
	char key[SRV_KEY];

	snprintf(key, sizeof(key), "serve.%s", srv_kind_name(ask->kind));
	change.key = key;
	add_change(ask);
	change.value = str_text(&ask->json);
	return set(ask, &change, 1, set_done, err);
}

/*
 * ---- As long as the command runs ----
 */

static void session_free(struct srv_session *session)
{
	list_del(&session->link);
	srv_ports_free(&session->ports);
	warren_release(session);
}

static void session_gone(struct warren_reply *reply, void *arg)
{
	struct srv_session *session = arg;
	struct serve *s = session->s;

	(void)reply;
	session_free(session);
	srv_listen(s);
}

void srv_sessions_end(struct serve *s)
{
	struct srv_session *session, *next;

	list_for_each_safe(session, next, &s->sessions, link) {
		struct warren_reply *reply = session->reply;

		session_free(session);
		warren_reply_end(reply, 1, "plugin serve ends");
	}
}

static bool fill(struct srv_session *session, const struct ask *ask)
{
	struct srv_port *port = srv_port_new(&session->ports, ask->kind, ask->port);
	struct srv_mount *mount = port ? srv_mount_new(port, ask->kind == SRV_TCP ? "" : ask->mount,
						       ask->what, ask->value) : NULL;

	if (!mount)
		return false;
	port->proxy_protocol = ask->proxy_protocol;
	mount->target = ask->target;
	return true;
}

/* Ends @ask in any case. */
static void begin_session(struct serve *s, struct ask *ask)
{
	struct srv_session *session = warren_zalloc(s->ctx, sizeof(*session));
	struct warren_reply *reply = ask->reply;

	if (session) {
		session->s = s;
		session->reply = reply;
		list_init(&session->ports);
		list_add_tail(&s->sessions, &session->link);
	}
	if (!session || !fill(session, ask)) {
		if (session)
			session_free(session);
		ask_end(ask, 1, "out of memory");
		return;
	}
	srv_listen(s);
	say_served(s, ask);
	warren_reply_note(reply, "Press Ctrl+C to exit.");
	warren_reply_on_cancel(reply, session_gone, session);
	str_free(&ask->json);
	warren_release(ask);
}

static void switched_on(struct warren_ctx *ctx, int result, const char *text, void *arg)
{
	struct ask *ask = arg;
	struct serve *s = running(ctx);

	if (result < 0 || ask->gone)
		ask_end(ask, 1, text);
	else if (!s)
		ask_end(ask, 1, "plugin serve does not run; `warren plugins` says why");
	else
		begin_session(s, ask);
}

static int set_foreground(struct serve *s, struct ask *ask, struct warren_err *err)
{
	static const struct warren_overlay_change on = { "serve.foreground", "true" };

	if (!s)
		return set(ask, &on, 1, switched_on, err);
	if (!warren_conf_bool(s->conf, "foreground")) {
		str_free(&ask->json);
		warren_release(ask);
		return warren_fail(err, NULL, "serve.foreground is false: nothing is served but "
				   "what stands in the settings; add --bg");
	}
	begin_session(s, ask);
	return WARREN_PENDING;
}

int srv_run_serve(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err)
{
	struct serve *s = running(ctx);
	struct ask *ask = warren_zalloc(ctx, sizeof(*ask));
	int result;

	if (!ask) {
		warren_fail(err, NULL, "out of memory");
		return -ENOMEM;
	}
	ask->ctx = ctx;
	ask->reply = reply;
	result = read_words(args, ask, err);
	if (!result)
		result = ask->off ? to_take(s, ask, err) : in_the_way(s, ask, err);
	if (result) {
		warren_release(ask);
		return result;
	}
	return ask->off || ask->background ? set_background(ask, err) :
					     set_foreground(s, ask, err);
}

static void reset_done(struct warren_ctx *ctx, int result, const char *text, void *arg)
{
	(void)ctx;
	ask_end(arg, result < 0 ? 1 : 0, result < 0 ? text : NULL);
}

int srv_run_reset(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err)
{
	static const struct warren_overlay_change none[] = {
		{ "serve.http", NULL }, { "serve.https", NULL }, { "serve.tcp", NULL },
	};
	struct ask *ask = warren_zalloc(ctx, sizeof(*ask));

	(void)args;
	if (!ask) {
		warren_fail(err, NULL, "out of memory");
		return -ENOMEM;
	}
	ask->ctx = ctx;
	ask->reply = reply;
	return set(ask, none, ARRAY_SIZE(none), reset_done, err);
}
