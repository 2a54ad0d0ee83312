/*
 * What the operator sees. `serve status` has the stock client's words and its ServeConfig.
 */
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "serve.h"

static void host_of(const struct serve *s, char out[SRV_HOST])
{
	srv_own_name(s, out);
	if (!out[0])
		str_copy(out, SRV_HOST, "localhost");
}

/* "http://127.0.0.1:3000" for what was written as 3000. */
static void proxy_text(const struct srv_mount *mount, enum srv_kind kind, struct str *out)
{
	const struct srv_target *to = &mount->target;
	bool six = strchr(to->host, ':');

	if (mount->what == SRV_UNIX) {
		str_addf(out, "unix:%s", mount->text);
		return;
	}
	if (kind != SRV_TCP)
		str_add(out, to->insecure ? "https+insecure://" : to->tls ? "https://" : "http://");
	str_addf(out, "%s%s%s:%u%s", six ? "[" : "", to->host, six ? "]" : "", to->port, to->path);
}

static const char *what_name(const struct srv_mount *mount, bool stock)
{
	switch (mount->what) {
	case SRV_PROXY:
	case SRV_UNIX: return stock ? "Proxy" : "proxy";
	case SRV_FILES: return stock ? "Path" : "path";
	case SRV_TEXT: return stock ? "Text" : "text";
	case SRV_REDIRECT: return stock ? "Redirect" : "redirect";
	}
	return "";
}

static void value_text(const struct srv_mount *mount, enum srv_kind kind, struct str *out)
{
	if (mount->what == SRV_PROXY || mount->what == SRV_UNIX)
		proxy_text(mount, kind, out);
	else
		str_add(out, mount->text);
}

/* ---- data ---- */

static void ports_tcp(struct warren_reply *reply, const struct list *ports)
{
	const struct srv_port *port;
	char number[8];

	warren_reply_open(reply, "TCP", '{');
	list_for_each(port, ports, link) {
		const struct srv_mount *mount = list_first(&port->mounts, struct srv_mount, link);
		AUTO(str_free) struct str text = STR_INIT;

		if (!mount)
			continue;
		snprintf(number, sizeof(number), "%u", port->port);
		warren_reply_open(reply, number, '{');
		if (port->kind != SRV_TCP) {
			warren_reply_bool(reply, port->kind == SRV_HTTP ? "HTTP" : "HTTPS", true);
		} else {
			value_text(mount, port->kind, &text);
			warren_reply_str(reply, "TCPForward", "%s", str_text(&text));
			if (port->proxy_protocol)
				warren_reply_int(reply, "ProxyProtocol", port->proxy_protocol);
		}
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

static void handlers(struct warren_reply *reply, const struct srv_port *port)
{
	const struct srv_mount *mount;

	list_for_each(mount, &port->mounts, link) {
		AUTO(str_free) struct str text = STR_INIT;

		value_text(mount, port->kind, &text);
		warren_reply_open(reply, mount->mount, '{');
		warren_reply_str(reply, what_name(mount, true), "%s", str_text(&text));
		warren_reply_close(reply);
	}
}

static void ports_web(struct warren_reply *reply, const struct list *ports, const char *host)
{
	const struct srv_port *port;
	char site[SRV_HOST + 8];
	bool any = false;

	list_for_each(port, ports, link) {
		if (port->kind == SRV_TCP)
			continue;
		if (!any)
			warren_reply_open(reply, "Web", '{');
		any = true;
		snprintf(site, sizeof(site), "%s:%u", host, port->port);
		warren_reply_open(reply, site, '{');
		warren_reply_open(reply, "Handlers", '{');
		handlers(reply, port);
		warren_reply_close(reply);
		warren_reply_close(reply);
	}
	if (any)
		warren_reply_close(reply);
}

static void ports_data(struct warren_reply *reply, const struct list *ports, const char *host)
{
	if (list_empty(ports))
		return;
	ports_tcp(reply, ports);
	ports_web(reply, ports, host);
}

static void data(struct warren_reply *reply, const struct serve *s)
{
	const struct srv_session *session;
	char host[SRV_HOST], id[24];
	unsigned n = 0;

	host_of(s, host);
	ports_data(reply, &s->ports, host);
	if (list_empty(&s->sessions))
		return;
	warren_reply_open(reply, "Foreground", '{');
	list_for_each(session, &s->sessions, link) {
		snprintf(id, sizeof(id), "%u", ++n);
		warren_reply_open(reply, id, '{');
		ports_data(reply, &session->ports, host);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

/* ---- text ---- */

static void http_text(struct warren_reply *reply, const struct srv_port *port, const char *host)
{
	const char *scheme = srv_kind_name(port->kind);
	const struct srv_mount *mount;

	if (port->port == (port->kind == SRV_HTTP ? 80 : 443))
		warren_reply_text(reply, "%s://%s (tailnet only)", scheme, host);
	else
		warren_reply_text(reply, "%s://%s:%u (tailnet only)", scheme, host, port->port);
	list_for_each(mount, &port->mounts, link) {
		AUTO(str_free) struct str text = STR_INIT;

		value_text(mount, port->kind, &text);
		warren_reply_text(reply, "|-- %s %s %s", mount->mount, what_name(mount, false),
				  str_text(&text));
	}
}

static void ports_text(struct warren_reply *reply, const struct list *ports, const char *host)
{
	const struct srv_port *port;

	list_for_each(port, ports, link) {
		const struct srv_mount *mount = list_first(&port->mounts, struct srv_mount, link);
		AUTO(str_free) struct str text = STR_INIT;

		if (port->kind != SRV_TCP) {
			http_text(reply, port, host);
		} else if (mount) {
			value_text(mount, port->kind, &text);
			warren_reply_text(reply, "|-- tcp://%s:%u (tailnet only)", host,
					  port->port);
			warren_reply_text(reply, "|--> tcp://%s", str_text(&text));
		}
		warren_reply_text(reply, "%s", "");
	}
}

static void problems(struct warren_reply *reply, const struct serve *s)
{
	const struct srv_listener *l;

	list_for_each(l, &s->listeners, link) {
		const char *problem = l->listener ?
				      s->svcnet->problem(s->svcnet_self, l->listener) :
				      "it cannot be listened on: see the log";

		if (problem)
			warren_reply_text(reply, "# port %u: %s", l->port, problem);
	}
}

int srv_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	struct warren_ctx *plugin = warren_running(ctx, "serve");
	const struct serve *s = plugin ? warren_self(plugin) : NULL;
	const struct srv_session *session;
	char host[SRV_HOST];

	(void)args;
	(void)err;
	if (!s || (list_empty(&s->ports) && list_empty(&s->sessions))) {
		warren_reply_text(reply, "No serve config");
		return 0;
	}
	data(reply, s);
	host_of(s, host);
	ports_text(reply, &s->ports, host);
	list_for_each(session, &s->sessions, link)
		ports_text(reply, &session->ports, host);
	problems(reply, s);
	return 0;
}

void srv_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct serve *s = warren_self(ctx);
	const struct srv_listener *l;

	warren_reply_open(reply, "ports", '[');
	list_for_each(l, &s->listeners, link) {
		const char *problem = l->listener ?
				      s->svcnet->problem(s->svcnet_self, l->listener) :
				      "it cannot be listened on: see the log";

		warren_reply_open(reply, NULL, '{');
		warren_reply_int(reply, "port", l->port);
		warren_reply_str(reply, "kind", "%s", srv_kind_name(l->kind));
		if (problem)
			warren_reply_str(reply, "problem", "%s", problem);
		else
			warren_reply_null(reply, "problem");
		warren_reply_close(reply);
		warren_reply_text(reply, "port %u is served by %s%s%s", l->port,
				  srv_kind_name(l->kind), problem ? ": " : "",
				  problem ? problem : "");
	}
	warren_reply_close(reply);
	warren_reply_int(reply, "connections", s->n_conns);
}

bool srv_check_reachable(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct serve *s = warren_self(ctx);
	const struct srv_listener *l;
	bool good = true;

	list_for_each(l, &s->listeners, link) {
		const char *problem = l->listener ?
				      s->svcnet->problem(s->svcnet_self, l->listener) :
				      "it cannot be listened on: see the log";

		if (!problem)
			continue;
		warren_finding(result, "port %u: %s", l->port, problem);
		good = false;
	}
	return good;
}
