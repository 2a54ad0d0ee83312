/*
 * SOCKET: sockets with what only root may set, bound to what the operator named.
 *
 * A port may be bound when it stands at the key path of the request, is that key's built-in
 * default, or is listed in system.ports; on an address of our own interface also when it is the
 * last key of that path, as in a map of what is served. Sockets flagged KEEP have a copy here,
 * which the next engine gets when it asks for the same: peers see a pause, not a dead port.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "monitor/netns.h"
#include "monitor/op.h"
#include "monitor/undo.h"
#include "priv/check.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75		/* linux/in6.h, which netinet/in.h excludes */
#endif

enum { UNPRIVILEGED = 1024 };		/* the kernel's default of ip_unprivileged_port_start */

/* Ports that are bound although no file names them: the defaults of option tables. */
static const struct {
	const char *key;
	uint16_t port;
} default_ports[] = {
	{ "front.http-port", 80 },
	{ "front.https-port", 443 },
	{ "relay.stun-port", 3478 },
	{ "wg.port", 41641 },
};

/* "443", ":443", "192.0.2.1:443", "[::]:443". */
static bool text_has_port(const char *text, uint16_t port)
{
	const char *colon = strrchr(text, ':');
	uint16_t value;

	return port_parse(colon ? colon + 1 : text, &value) == 0 && value == port;
}

/*
 * On an address that we have given to our own interface. To let it in from outside opens the port
 * at other addresses as well.
 */
static bool at_ours(const struct mon *mon, const struct warren_priv_socket *item)
{
	const struct mon_thing *thing;

	if (item->bind.addr.family == 0 || item->flags & WARREN_SOCK_OPEN)
		return false;
	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_ADDR &&
		    addr_equal(&thing->what.addr.prefix.addr, &item->bind.addr))
			return true;
	}
	return false;
}

/* The operator, or who may give commands, has written it as the key of what is served there. */
static bool is_key(const struct mon_config *config, const struct warren_priv_socket *item)
{
	const struct ytree_node *node = ytree_at(config->root, item->key, item->index);

	return node && node->key && text_has_port(node->key, item->bind.port);
}

static int check_port(const struct mon *mon, const struct mon_request *req,
		      const struct warren_priv_socket *item, struct warren_err *err)
{
	AUTO(err_free) struct warren_err none = ERR_INIT;
	const struct ytree_node *node;

	if (item->bind.port == 0 || wpriv_limits_port(&req->config->limits, item->bind.port))
		return 0;
	/* What any user of the host may bind takes nothing from anybody there. */
	if (at_ours(mon, item) && (item->bind.port >= UNPRIVILEGED || is_key(req->config, item)))
		return 0;
	node = item->key[0] ? mon_config_scalar(req->config, item->key, item->index,
						   NULL, &none) : NULL;
	if (node) {
		if (text_has_port(node->text, item->bind.port))
			return 0;
	} else if (!ytree_at(req->config->root, item->key, item->index)) {
		for (size_t i = 0; i < ARRAY_SIZE(default_ports); i++) {
			if (strcmp(default_ports[i].key, item->key) == 0 &&
			    default_ports[i].port == item->bind.port)
				return 0;
		}
	}
	return wpriv_refuse(err, -EPERM,
			    "port %u does not stand at %s in the files: write it there, or "
			    "add it to system.ports",
			    item->bind.port, item->key[0] ? item->key : "any key");
}

static int set_int(int fd, int level, int name, int value, const char *what,
		   struct warren_err *err)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) == -1)
		return wpriv_refuse(err, -errno, "cannot set %s of a socket: %s", what,
				    strerror(errno));
	return 0;
}

static int set_options(int fd, const struct warren_priv_socket *item,
		       const struct wpriv_limits *limits, struct warren_err *err)
{
	uint32_t mark = item->flags & WARREN_SOCK_BYPASS ? limits->mark_bypass : item->mark;
	bool six = item->family == 6;
	int result = 0;

	if (six)
		result = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY,
				 (item->flags & WARREN_SOCK_V6ONLY) != 0, "V6ONLY", err);
	if (!result && mark != 0)
		result = set_int(fd, SOL_SOCKET, SO_MARK, (int)mark, "the mark", err);
	if (!result && item->flags & WARREN_SOCK_TRANSPARENT)
		result = set_int(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
				 six ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1, "TRANSPARENT", err);
	if (!result && item->flags & WARREN_SOCK_REUSEPORT)
		result = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1, "REUSEPORT", err);
	if (!result && item->backlog > 0 && item->type == WARREN_SOCK_TCP)
		result = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1, "REUSEADDR", err);
	if (!result && item->recv_buffer > 0)
		result = set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, (int)item->recv_buffer,
				 "the receive buffer", err);
	if (!result && item->send_buffer > 0)
		result = set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, (int)item->send_buffer,
				 "the send buffer", err);
	if (!result && item->device[0] &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, item->device,
		       (socklen_t)strlen(item->device) + 1) == -1)
		result = wpriv_refuse(err, -errno, "cannot bind a socket to interface %s: %s",
				      item->device, strerror(errno));
	return result;
}

static int new_socket(const struct warren_priv_socket *item)
{
	int domain = item->family == 6 ? AF_INET6 : AF_INET;
	int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;

	switch (item->type) {
	case WARREN_SOCK_UDP:
		return socket(domain, SOCK_DGRAM | flags, 0);
	case WARREN_SOCK_TCP:
		return socket(domain, SOCK_STREAM | flags, 0);
	default:
		/* Raw: hosts close ICMP datagram sockets to all groups (ping_group_range). */
		return socket(domain, SOCK_RAW | flags,
			      item->family == 6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	}
}

static int bind_socket(int fd, const struct warren_priv_socket *item, struct warren_err *err)
{
	struct warren_addrport ap = item->bind;
	struct sockaddr_storage ss;
	char text[ADDRPORT_TEXT];
	socklen_t len;

	/* A socket that only dials is bound by the kernel. */
	if (ap.addr.family == 0 && ap.port == 0 && item->backlog == 0 &&
	    item->type != WARREN_SOCK_UDP)
		return 0;
	ap.addr.family = (uint8_t)item->family;
	len = addrport_to_sockaddr(&ap, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) == -1)
		return wpriv_refuse(err, -errno, "cannot bind %s %s: %s%s",
				    item->type == WARREN_SOCK_TCP ? "tcp" : "udp",
				    addrport_format(&ap, text), strerror(errno),
				    errno == EADDRINUSE ? ": another program has it (ss -lnup, ss "
				    "-lntp), or choose another port" : "");
	if (item->backlog > 0 && listen(fd, (int)item->backlog) == -1)
		return wpriv_refuse(err, -errno, "cannot listen on %s: %s",
				    addrport_format(&ap, text), strerror(errno));
	return 0;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage ss;
	struct warren_addrport ap;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) == -1 ||
	    addrport_from_sockaddr((struct sockaddr *)&ss, len, &ap))
		return 0;
	return ap.port;
}

static bool same(const struct warren_priv_socket *a, const struct warren_priv_socket *b)
{
	return a->family == b->family && a->type == b->type && a->flags == b->flags &&
	       addrport_equal(&a->bind, &b->bind) && strcmp(a->device, b->device) == 0 &&
	       a->mark == b->mark && a->backlog == b->backlog &&
	       a->recv_buffer == b->recv_buffer && a->send_buffer == b->send_buffer &&
	       strcmp(a->key, b->key) == 0 && a->index == b->index;
}

static struct mon_thing *claim(struct mon *mon, const struct mon_request *req)
{
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_SOCKET && !thing->claimed && thing->n_fds == 1 &&
		    strcmp(thing->owner, req->owner) == 0 &&
		    same(&thing->what.socket.req, req->items)) {
			thing->claimed = true;
			return thing;
		}
	}
	return NULL;
}

/*
 * A socket that waits in vain, because settings changed, must not keep its port from a successor.
 */
static void drop_rivals(struct mon *mon, const struct warren_priv_socket *item)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &mon->things.all, node) {
		if (thing->kind == MON_SOCKET && !thing->claimed && item->bind.port != 0 &&
		    thing->what.socket.port == item->bind.port &&
		    thing->what.socket.req.type == item->type)
			mon_undo(mon, thing);
	}
}

static int give(struct mon_thing *thing, struct mon_reply *reply)
{
	reply->fds[0] = thing->fds[0];
	reply->n_fds = 1;
	reply->handle = thing->id;
	reply->value = thing->what.socket.port;
	return 0;
}

static int keep(struct mon *mon, const struct mon_request *req, int fd, uint16_t port,
		struct mon_reply *reply, struct warren_err *err)
{
	union mon_what what = { .socket = { .port = port } };
	struct mon_thing *thing;

	memcpy(&what.socket.req, req->items, sizeof(what.socket.req));
	thing = mon_thing_new(&mon->things, MON_SOCKET, req->owner, &what);
	if (!thing)
		return wpriv_refuse(err, -ENOMEM, "no room to keep another socket");
	thing->fds[0] = fd;
	thing->n_fds = 1;
	mon->nft.stale = true;
	return give(thing, reply);
}

/* No copy of the socket, but its port is known. */
static int note_open(struct mon *mon, const struct mon_request *req, uint16_t port,
		     struct mon_reply *reply, struct warren_err *err)
{
	union mon_what what = { .socket = { .port = port } };
	const struct mon_thing *thing;

	memcpy(&what.socket.req, req->items, sizeof(what.socket.req));
	thing = mon_thing_new(&mon->things, MON_SOCKET, req->owner, &what);
	if (!thing)
		return wpriv_refuse(err, -ENOMEM, "no room for another open port");
	mon->nft.stale = true;
	reply->handle = thing->id;
	return 0;
}

/* A new socket as @item says, bound. A descriptor, or -errno with a sentence. */
static int make_socket(const struct warren_priv_socket *item, const struct wpriv_limits *limits,
		       struct warren_err *err)
{
	AUTO(auto_close) int fd = new_socket(item);
	int result;

	if (fd == -1)
		return wpriv_refuse(err, -errno, "cannot make a socket: %s%s", strerror(errno),
				    errno == EAFNOSUPPORT ? ": the kernel lacks this address family"
							  : "");
	result = set_options(fd, item, limits, err);
	if (!result)
		result = bind_socket(fd, item, err);
	return result ? result : TAKE_FD(fd);
}

/* In the service namespace nobody else has ports, so none is refused there. */
static int open_service(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
			struct warren_err *err)
{
	int back = mon_netns_enter(mon, req, err), fd;

	if (back < 0)
		return back;
	fd = make_socket(req->items, &req->config->limits, err);
	mon_netns_leave(back);
	if (fd < 0)
		return fd;
	reply->value = bound_port(fd);
	reply->fds[0] = fd;
	reply->n_fds = 1;
	reply->give = true;
	return 0;
}

static int open_inet(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		     struct warren_err *err)
{
	const struct warren_priv_socket *item = req->items;
	struct mon_thing *kept = claim(mon, req);
	AUTO(auto_close) int fd = -1;
	int result;

	if (kept)
		return give(kept, reply);
	drop_rivals(mon, item);
	fd = make_socket(item, &req->config->limits, err);
	if (fd < 0)
		return fd;
	if (item->flags & WARREN_SOCK_KEEP) {
		result = keep(mon, req, fd, bound_port(fd), reply, err);
		if (result)
			return result;
		(void)TAKE_FD(fd);
		return 0;
	}
	if (item->flags & WARREN_SOCK_OPEN) {
		result = note_open(mon, req, bound_port(fd), reply, err);
		if (result)
			return result;
	}
	reply->value = bound_port(fd);
	reply->fds[0] = TAKE_FD(fd);
	reply->n_fds = 1;
	reply->give = true;
	return 0;
}

/*
 * ---- unix ----
 */

static int fill_sun(struct sockaddr_un *sun, const char *path)
{
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return str_copy(sun->sun_path, sizeof(sun->sun_path), path) ? 0 : -ENAMETOOLONG;
}

static bool somebody_listens(const struct sockaddr_un *sun)
{
	AUTO(auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd == -1 || connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
	       errno != ECONNREFUSED;
}

bool mon_path_busy(const struct mon_path *path)
{
	struct sockaddr_un sun;
	struct stat st;

	return fill_sun(&sun, path->path) == 0 && lstat(path->path, &st) == 0 &&
	       S_ISSOCK(st.st_mode) && somebody_listens(&sun);
}

void mon_path_remove(const struct mon_path *path)
{
	struct sockaddr_un sun;
	struct stat st;

	if (fill_sun(&sun, path->path) || lstat(path->path, &st) == -1 || !S_ISSOCK(st.st_mode))
		return;
	if (path->ino != 0 ? st.st_ino != path->ino || st.st_dev != path->dev :
			     somebody_listens(&sun))
		return;
	if (unlink(path->path) == -1 && errno != ENOENT)
		mon_log(LOG_WARNING, "cannot remove %s: %s", path->path, strerror(errno));
}

static int bind_unix(struct mon_path *what, uint32_t mode, int backlog, struct warren_err *err)
{
	AUTO(auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun;
	struct stat st;
	mode_t mask;
	int result;

	if (fd == -1)
		return wpriv_refuse(err, -errno, "cannot make a unix socket: %s", strerror(errno));
	fill_sun(&sun, what->path);
	/* One that a dead daemon has left makes room. */
	mon_path_remove(what);
	mask = umask(0777 & ~mode);
	result = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1 ? -errno : 0;
	umask(mask);
	if (result)
		return wpriv_refuse(err, result, "cannot make the socket %s: %s%s", what->path,
				    strerror(-result), result == -EADDRINUSE ? ": another daemon "
				    "listens there" : "");
	if (listen(fd, backlog) == -1 || lstat(what->path, &st) == -1)
		return wpriv_refuse(err, -errno, "cannot listen on %s: %s", what->path,
				    strerror(errno));
	what->dev = st.st_dev;
	what->ino = st.st_ino;
	return TAKE_FD(fd);
}

int mon_listen_unix(struct mon *mon, const char *owner, const char *path, uint32_t mode,
		    int backlog, struct warren_err *err)
{
	union mon_what what = { .path = { .dev = 0 } };
	struct mon_thing *thing;
	struct sockaddr_un sun;
	int result;

	if (path[0] != '/' || fill_sun(&sun, path) ||
	    !str_copy(what.path.path, sizeof(what.path.path), path))
		return wpriv_refuse(err, -EINVAL, "socket %s: give an absolute path of at most %zu "
				    "bytes", path, sizeof(sun.sun_path) - 1);
	thing = mon_thing_new(&mon->things, MON_PATH, owner, &what);
	if (!thing)
		return wpriv_refuse(err, -ENOMEM, "no room for another socket");
	mon_journal_add(&mon->journal, thing);
	result = mon_journal_flush(&mon->journal, err);
	if (!result)
		result = bind_unix(&thing->what.path, mode, backlog, err);
	if (result < 0) {
		mon_journal_del(&mon->journal, thing);
		mon_thing_free(&mon->things, thing);
	}
	return result;
}

static struct mon_thing *find_path(const struct mon *mon, const char *path)
{
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.all, node) {
		if (thing->kind == MON_PATH && strcmp(thing->what.path.path, path) == 0)
			return thing;
	}
	return NULL;
}

static int open_unix(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		     struct warren_err *err)
{
	const struct warren_priv_socket *item = req->items;
	const struct ytree_node *node = mon_config_scalar(req->config, item->key, item->index, NULL,
							  err);
	struct mon_thing *thing;
	int fd;

	if (!node)
		return -ENOENT;
	thing = find_path(mon, node->text);
	if (thing && (thing->claimed || strcmp(thing->owner, req->owner) != 0))
		return wpriv_refuse(err, -EADDRINUSE, "socket %s is open already", node->text);
	if (!thing) {
		fd = mon_listen_unix(mon, req->owner, node->text, item->mode ? item->mode : 0600,
				     item->backlog ? (int)item->backlog : SOMAXCONN, err);
		if (fd < 0)
			return fd;
		thing = find_path(mon, node->text);
		thing->fds[0] = fd;
		thing->n_fds = 1;
	}
	thing->claimed = true;
	reply->fds[0] = thing->fds[0];
	reply->n_fds = 1;
	reply->handle = thing->id;
	if (!(item->flags & WARREN_SOCK_KEEP)) {
		thing->n_fds = 0;
		reply->give = true;
	}
	return 0;
}

int mon_op_socket(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  struct warren_err *err)
{
	const struct warren_priv_socket *item = req->items;
	int result;

	if (item->type == WARREN_SOCK_UNIX)
		return open_unix(mon, req, reply, err);
	if (item->namespace_ == WARREN_NS_SERVICE)
		return open_service(mon, req, reply, err);
	result = check_port(mon, req, item, err);
	return result ? result : open_inet(mon, req, reply, err);
}
