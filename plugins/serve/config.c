/*
 * What is served, out of YAML.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"
#include "serve.h"

static const struct {
	const char *key;
	enum srv_what what;
} whats[] = {
	{ "proxy", SRV_PROXY }, { "unix", SRV_UNIX }, { "path", SRV_FILES }, { "text", SRV_TEXT },
	{ "redirect", SRV_REDIRECT },
};

const char *srv_kind_name(enum srv_kind kind)
{
	switch (kind) {
	case SRV_HTTP: return "http";
	case SRV_HTTPS: return "https";
	case SRV_TCP: return "tcp";
	}
	return "";
}

static void mount_free(struct srv_mount *mount)
{
	list_del(&mount->link);
	warren_dir_close(mount->dir);
	free(mount->mount);
	free(mount->text);
	free(mount);
}

static void port_free(struct srv_port *port)
{
	struct srv_mount *mount, *next;

	list_for_each_safe(mount, next, &port->mounts, link)
		mount_free(mount);
	list_del(&port->link);
	free(port);
}

void srv_ports_free(struct list *ports)
{
	struct srv_port *port, *next;

	list_for_each_safe(port, next, ports, link)
		port_free(port);
}

struct srv_port *srv_port_new(struct list *ports, enum srv_kind kind, uint16_t number)
{
	struct srv_port *port = calloc(1, sizeof(*port));

	if (port) {
		port->kind = kind;
		port->port = number;
		list_init(&port->mounts);
		list_add_tail(ports, &port->link);
	}
	return port;
}

struct srv_mount *srv_mount_new(struct srv_port *port, const char *at, enum srv_what what,
				const char *text)
{
	struct srv_mount *mount = calloc(1, sizeof(*mount));

	if (!mount)
		return NULL;
	list_add_tail(&port->mounts, &mount->link);
	mount->what = what;
	mount->mount = strdup(at);
	mount->text = strdup(text);
	if (mount->mount && mount->text)
		return mount;
	mount_free(mount);
	return NULL;
}

static int no_memory(struct warren_err *err)
{
	warren_fail(err, NULL, "out of memory");
	return -ENOMEM;
}

/* A sentence about a target gets the place of the value. */
static int parse(const struct warren_conf *conf, const char *key, enum srv_kind kind,
		 struct srv_target *out, struct warren_err *err)
{
	const char *text = warren_conf_str(conf, key);
	struct srv_target unused;
	int (*fn)(const char *, struct srv_target *, struct warren_err *) =
		kind == SRV_TCP ? srv_target_tcp : srv_target_http;

	if (fn(text, out ? out : &unused, NULL) == 0)
		return 0;
	return warren_fail_key(err, -EINVAL, conf, key, kind == SRV_TCP ?
			       "\"%s\" is no target: give a port, HOST:PORT or tcp://HOST:PORT" :
			       "\"%s\" is no target: give a port, HOST:PORT, or a URL of http, "
			       "https or https+insecure without a query; a unix socket has the key "
			       "`unix`", text);
}

static int open_dir(struct warren_ctx *ctx, struct srv_mount *mount, struct warren_err *err)
{
	size_t len = strlen(mount->text);

	mount->below = len > 0 && mount->text[len - 1] == '/';
	if (ctx && warren_dir_conf(ctx, mount->conf, "path", NULL, &mount->dir))
		return no_memory(err);
	return 0;
}

static int read_mount(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct srv_port *port, struct warren_err *err)
{
	const char *at = warren_conf_name(conf), *key = NULL;
	struct srv_mount *mount;
	enum srv_what what = SRV_TEXT;
	uint32_t n = 0;

	if (!srv_mount_ok(at))
		return warren_fail(err, conf, "\"%s\" is no path: it begins with \"/\" and is as "
				   "a browser sends it", at);
	for (size_t i = 0; i < ARRAY_SIZE(whats); i++) {
		if (!warren_conf_has(conf, whats[i].key))
			continue;
		n++;
		key = whats[i].key;
		what = whats[i].what;
	}
	if (n != 1)
		return warren_fail(err, conf, "%s: exactly one of proxy, unix, path, text and "
				   "redirect says what is there", at);
	mount = srv_mount_new(port, at, what, warren_conf_str(conf, key));
	if (!mount)
		return no_memory(err);
	mount->conf = conf;
	if (what == SRV_PROXY)
		return parse(conf, key, SRV_HTTP, &mount->target, err);
	return what == SRV_FILES ? open_dir(ctx, mount, err) : 0;
}

static int read_tcp(const struct warren_conf *conf, struct srv_port *port, struct warren_err *err)
{
	bool to = warren_conf_has(conf, "to"), local = warren_conf_has(conf, "unix");
	struct srv_mount *mount;

	if (to == local)
		return warren_fail(err, conf, "port %u: either `to` or `unix` says where "
				   "connections go", port->port);
	port->proxy_protocol = (uint32_t)warren_conf_int(conf, "proxy-protocol");
	if (local && port->proxy_protocol)
		return warren_fail_key(err, -EINVAL, conf, "proxy-protocol", "the PROXY protocol "
				       "says addresses, which a unix socket has none of");
	mount = srv_mount_new(port, "", to ? SRV_PROXY : SRV_UNIX,
			      warren_conf_str(conf, to ? "to" : "unix"));
	if (!mount)
		return no_memory(err);
	mount->conf = conf;
	return to ? parse(conf, "to", SRV_TCP, &mount->target, err) : 0;
}

static int read_port(struct warren_ctx *ctx, const struct warren_conf *conf, enum srv_kind kind,
		     struct list *ports, struct warren_err *err)
{
	const char *name = warren_conf_name(conf);
	const struct srv_port *other;
	struct srv_port *port;
	uint16_t number;
	int result = 0;

	if (port_parse(name, &number) || number == 0)
		return warren_fail(err, conf, "\"%s\" is no port", name);
	list_for_each(other, ports, link) {
		if (other->port == number)
			return warren_fail(err, conf, "port %u is served by %s already", number,
					   srv_kind_name(other->kind));
	}
	port = srv_port_new(ports, kind, number);
	if (!port)
		return no_memory(err);
	snprintf(port->key, sizeof(port->key), "serve.%s.%s", srv_kind_name(kind), name);
	if (kind == SRV_TCP)
		return read_tcp(conf, port, err);
	for (uint32_t i = 0; !result && i < warren_conf_count(conf, NULL); i++)
		result = read_mount(ctx, warren_conf_at(conf, NULL, i), port, err);
	return result;
}

int srv_ports_read(struct warren_ctx *ctx, const struct warren_conf *conf, struct list *ports,
		   struct warren_err *err)
{
	int result = 0;

	list_init(ports);
	for (int kind = SRV_HTTP; kind <= SRV_TCP; kind++) {
		const char *key = srv_kind_name((enum srv_kind)kind);

		for (uint32_t i = 0; !result && i < warren_conf_count(conf, key); i++)
			result = read_port(ctx, warren_conf_at(conf, key, i), (enum srv_kind)kind,
					   ports, err);
	}
	if (result)
		srv_ports_free(ports);
	return result;
}
