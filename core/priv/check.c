/*
 * The validators.
 *
 * They are the border between a process that may have been taken over and one that runs as root,
 * so they are written for reading: each function goes through its structure field by field, in
 * the order of warren/priv.h, and nothing is accepted because it "cannot happen". What needs the
 * YAML tree or the kernel (does the port stand there, is the interface ours) is the executor's.
 */
#include "priv/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

enum {
	MTU_MIN = 576,			/* RFC 791; IPv6 needs 1280, which `router` looks after */
	MTU_MAX = 65535,
	TABLE_MAIN = 254,		/* RT_TABLE_MAIN */
	BACKLOG_MAX = 65535,
	BUFFER_MAX = 64 << 20,
};

static const struct op {
	const char *name;
	size_t size;
	bool many;
} ops[] = {
	[WARREN_OP_OPEN] = { "OPEN", sizeof(struct warren_priv_open), false },
	[WARREN_OP_WATCH] = { "WATCH", sizeof(struct warren_priv_watch), false },
	[WARREN_OP_FILE] = { "FILE", sizeof(struct warren_priv_file), false },
	[WARREN_OP_TUN] = { "TUN", sizeof(struct warren_priv_tun), false },
	[WARREN_OP_SOCKET] = { "SOCKET", sizeof(struct warren_priv_socket), false },
	[WARREN_OP_ADDR] = { "ADDR", sizeof(struct warren_priv_addr), true },
	[WARREN_OP_ROUTE] = { "ROUTE", sizeof(struct warren_priv_route), true },
	[WARREN_OP_RULE] = { "RULE", sizeof(struct warren_priv_rule), true },
	[WARREN_OP_SYSCTL] = { "SYSCTL", sizeof(struct warren_priv_sysctl), false },
	[WARREN_OP_CLOSE] = { "CLOSE", sizeof(struct warren_priv_close), false },
	[WARREN_OP_NFT] = { "NFT", sizeof(struct warren_priv_nft), true },
	[WARREN_OP_NFT_READ] = { "NFT_READ", sizeof(struct warren_priv_nft_read), false },
	[WARREN_OP_RESOLVER] = { "RESOLVER", sizeof(struct warren_priv_resolver), false },
};

int wpriv_refuse(struct warren_err *err, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vadd(err, NULL, fmt, ap);
	va_end(ap);
	return result;
}

size_t wpriv_op_size(uint32_t op)
{
	return op < ARRAY_SIZE(ops) ? ops[op].size : 0;
}

const char *wpriv_op_name(uint32_t op)
{
	return op < ARRAY_SIZE(ops) && ops[op].name ? ops[op].name : "unknown operation";
}

bool wpriv_op_many(uint32_t op)
{
	return op < ARRAY_SIZE(ops) && ops[op].many;
}

static bool zeroes(const void *data, size_t len)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < len; i++) {
		if (at[i] != 0)
			return false;
	}
	return true;
}

/* NUL-terminated, zeroes after the NUL. */
static bool text_valid(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	return len < size && zeroes(text + len, size - len);
}

bool wpriv_owner_valid(const char *owner, size_t size)
{
	if (!text_valid(owner, size) || owner[0] == '\0')
		return false;
	for (const char *c = owner; *c; c++) {
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' ||
		      *c == '_' || *c == '.'))
			return false;
	}
	return true;
}

bool wpriv_name_valid(const char *name)
{
	const char *at = name;

	for (;;) {
		size_t len = strcspn(at, "/");

		if (len == 0 || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (at[len] == '\0')
			return true;
		at += len + 1;
	}
}

static bool ifname_valid(const char *name)
{
	if (!text_valid(name, WARREN_PRIV_IFNAME) || name[0] == '\0' || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return false;
	/* The kernel refuses '/', ':' and white space; '%' would be a pattern to it. */
	for (const char *c = name; *c; c++) {
		if (*c <= ' ' || *c > '~' || strchr("/:%*", *c))
			return false;
	}
	return true;
}

/* @limits NULL: only the form counts, as for what is removed. */
static int check_ifname(const struct wpriv_limits *limits, const char *name,
			struct warren_err *err)
{
	if (!ifname_valid(name))
		return wpriv_refuse(err, -EINVAL, "malformed interface name");
	if (limits && !wpriv_limits_interface(limits, name))
		return wpriv_refuse(err, -EPERM, "interface %s is not among system.interfaces: "
				    "add it there", name);
	return 0;
}

static int check_key(const char *key, struct warren_err *err)
{
	if (!text_valid(key, WARREN_PRIV_KEY) || key[0] == '\0')
		return wpriv_refuse(err, -EINVAL, "malformed key path");
	return 0;
}

static int check_name(const char *name, bool needed, struct warren_err *err)
{
	if (!text_valid(name, WARREN_PRIV_NAME))
		return wpriv_refuse(err, -EINVAL, "malformed file name");
	if (name[0] == '\0' ? needed : !wpriv_name_valid(name))
		return wpriv_refuse(err, -EINVAL, "a file name must be relative, without empty, "
				    "\".\" and \"..\" parts");
	return 0;
}

static bool addr_valid(const struct warren_addr *addr, bool none_allowed)
{
	switch (addr->family) {
	case 0:
		return none_allowed && zeroes(addr->bytes, sizeof(addr->bytes));
	case 4:
		return zeroes(addr->bytes + 4, sizeof(addr->bytes) - 4);
	case 6:
		return true;
	default:
		return false;
	}
}

static bool prefix_valid(const struct warren_prefix *prefix, bool none_allowed)
{
	if (!addr_valid(&prefix->addr, none_allowed))
		return false;
	return prefix->bits <= (prefix->addr.family == 6 ? 128 : prefix->addr.family == 4 ? 32 : 0);
}

static bool host_bits_zero(const struct warren_prefix *prefix)
{
	for (uint32_t bit = prefix->bits; bit < 128; bit++) {
		if (prefix->addr.bytes[bit / 8] & (0x80u >> (bit % 8)))
			return false;
	}
	return true;
}

int wpriv_check_open(const struct wpriv_limits *limits, const struct warren_priv_open *req,
		     struct warren_err *err)
{
	int result = check_key(req->key, err);

	(void)limits;	/* the limit of OPEN is the tree */
	if (result)
		return result;
	if (req->access != WARREN_READ && req->access != WARREN_WRITE &&
	    req->access != WARREN_CONNECT)
		return wpriv_refuse(err, -EINVAL, "OPEN knows read, write or connect; a folder is "
				    "used through FILE");
	return check_name(req->name, false, err);
}

int wpriv_check_watch(const struct wpriv_limits *limits, const struct warren_priv_watch *req,
		      struct warren_err *err)
{
	(void)limits;	/* the limit of WATCH is the tree */
	if (req->reserved != 0)
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	return check_key(req->key, err);
}

int wpriv_check_file(const struct wpriv_limits *limits, const struct warren_priv_file *req,
		     struct warren_err *err)
{
	int result = check_key(req->key, err);

	(void)limits;	/* the limit of FILE is the tree */
	if (result)
		return result;
	if (req->verb < WARREN_FILE_OPEN || req->verb > WARREN_FILE_LIST)
		return wpriv_refuse(err, -EINVAL, "unknown verb %u of FILE", req->verb);
	if (req->mode & ~0777u)
		return wpriv_refuse(err, -EINVAL, "mode %o of FILE: 0777 at most", req->mode);
	if (req->flags & ~(uint32_t)WARREN_FILE_ALONE ||
	    (req->flags && req->verb != WARREN_FILE_RENAME))
		return wpriv_refuse(err, -EINVAL, "flags %x of FILE verb %u", req->flags,
				    req->verb);
	if (!text_valid(req->owner, WARREN_PRIV_KEY))
		return wpriv_refuse(err, -EINVAL, "malformed key path of the owner");
	result = check_name(req->name, req->verb != WARREN_FILE_LIST &&
			    req->verb != WARREN_FILE_STAT, err);
	if (result)
		return result;
	if (req->verb != WARREN_FILE_RENAME && req->to[0] != '\0')
		return wpriv_refuse(err, -EINVAL, "only RENAME has a second name");
	return check_name(req->to, req->verb == WARREN_FILE_RENAME, err);
}

int wpriv_check_tun(const struct wpriv_limits *limits, const struct warren_priv_tun *req,
		    struct warren_err *err)
{
	bool service = req->namespace_ == WARREN_NS_SERVICE;
	/* In there no name can be anybody else's. */
	int result = check_ifname(service ? NULL : limits, req->ifname, err);

	if (result)
		return result;
	if (req->queues < 1 || req->queues > WARREN_PRIV_FDS)
		return wpriv_refuse(err, -EINVAL, "%u queues: 1 to %d", req->queues,
				    WARREN_PRIV_FDS);
	if (req->flags & ~(uint32_t)(WARREN_TUN_VNET_HDR | WARREN_TUN_MULTI_QUEUE))
		return wpriv_refuse(err, -EINVAL, "unknown flags 0x%x of TUN", req->flags);
	if (req->queues > 1 && !(req->flags & WARREN_TUN_MULTI_QUEUE))
		return wpriv_refuse(err, -EINVAL, "several queues need MULTI_QUEUE");
	if (req->mtu != 0 && (req->mtu < MTU_MIN || req->mtu > MTU_MAX))
		return wpriv_refuse(err, -EINVAL, "MTU %u: %d to %d, or 0 to leave it", req->mtu,
				    MTU_MIN, MTU_MAX);
	if (req->namespace_ != WARREN_NS_HOST && !service)
		return wpriv_refuse(err, -EINVAL, "unknown namespace %u of TUN", req->namespace_);
	if (service && (req->queues != 1 || req->flags != 0 || req->mtu == 0))
		return wpriv_refuse(err, -EINVAL, "the service namespace has one plain queue and "
				    "an MTU");
	return 0;
}

/* A socket in the service namespace: udp or tcp, of one address, and nothing that is the host's. */
static int check_service_socket(const struct warren_priv_socket *req, struct warren_err *err)
{
	if (req->type != WARREN_SOCK_UDP && req->type != WARREN_SOCK_TCP)
		return wpriv_refuse(err, -EINVAL, "the service namespace has udp and tcp only");
	if (req->bind.addr.family == 0 || !(req->flags & WARREN_SOCK_TRANSPARENT))
		return wpriv_refuse(err, -EINVAL, "a socket of the service namespace is bound to "
				    "an address and TRANSPARENT");
	if (req->flags & (WARREN_SOCK_KEEP | WARREN_SOCK_BYPASS | WARREN_SOCK_OPEN) ||
	    req->mark != 0 ||
	    req->device[0] != '\0' || req->key[0] != '\0')
		return wpriv_refuse(err, -EINVAL, "a socket of the service namespace has no key, "
				    "mark, device or KEEP");
	return 0;
}

static int check_socket_flags(const struct warren_priv_socket *req, struct warren_err *err)
{
	const uint32_t known = WARREN_SOCK_KEEP | WARREN_SOCK_TRANSPARENT | WARREN_SOCK_V6ONLY |
			       WARREN_SOCK_REUSEPORT | WARREN_SOCK_BYPASS |
			       WARREN_SOCK_OPEN;
	bool inet = req->type != WARREN_SOCK_UNIX;

	if (req->flags & ~known)
		return wpriv_refuse(err, -EINVAL, "unknown flags 0x%x of SOCKET", req->flags);
	if (req->flags & WARREN_SOCK_V6ONLY && req->family != 6)
		return wpriv_refuse(err, -EINVAL, "V6ONLY is for family 6");
	if (!inet && req->flags & (WARREN_SOCK_TRANSPARENT | WARREN_SOCK_REUSEPORT |
				   WARREN_SOCK_BYPASS))
		return wpriv_refuse(err, -EINVAL, "a unix socket has no such flags (0x%x)",
				    req->flags);
	if (req->flags & WARREN_SOCK_OPEN && req->type != WARREN_SOCK_UDP)
		return wpriv_refuse(err, -EINVAL, "OPEN is for udp sockets");
	if (req->flags & WARREN_SOCK_BYPASS && req->mark != 0)
		return wpriv_refuse(err, -EINVAL, "a mark, and BYPASS, which is another");
	if (req->backlog > BACKLOG_MAX)
		return wpriv_refuse(err, -EINVAL, "backlog %u: %d at most", req->backlog,
				    BACKLOG_MAX);
	if (req->backlog > 0 && req->type != WARREN_SOCK_TCP && req->type != WARREN_SOCK_UNIX)
		return wpriv_refuse(err, -EINVAL, "only tcp and unix sockets listen");
	if (req->recv_buffer > BUFFER_MAX || req->send_buffer > BUFFER_MAX)
		return wpriv_refuse(err, -EINVAL, "socket buffers of more than %d bytes",
				    BUFFER_MAX);
	if (req->mode & ~0777u || (inet && req->mode != 0))
		return wpriv_refuse(err, -EINVAL, "mode %o of SOCKET: 0777 at most, unix only",
				    req->mode);
	if (req->namespace_ == WARREN_NS_SERVICE)
		return check_service_socket(req, err);
	if (req->namespace_ != WARREN_NS_HOST)
		return wpriv_refuse(err, -EINVAL, "unknown namespace %u of SOCKET",
				    req->namespace_);
	return 0;
}

int wpriv_check_socket(const struct wpriv_limits *limits, const struct warren_priv_socket *req,
		       struct warren_err *err)
{
	const struct warren_addr *addr = &req->bind.addr;

	if (!text_valid(req->key, WARREN_PRIV_KEY))
		return wpriv_refuse(err, -EINVAL, "malformed key path");
	if (req->type < WARREN_SOCK_UDP || req->type > WARREN_SOCK_ICMP)
		return wpriv_refuse(err, -EINVAL, "unknown type %u of SOCKET", req->type);
	if (req->type == WARREN_SOCK_UNIX ? req->family != 0 :
					    req->family != 4 && req->family != 6)
		return wpriv_refuse(err, -EINVAL, "family %u does not go with the type of SOCKET",
				    req->family);
	if (!addr_valid(addr, true) || (addr->family != 0 && addr->family != req->family))
		return wpriv_refuse(err, -EINVAL, "malformed address to bind to");
	if (req->bind.port != 0 &&
	    (req->type == WARREN_SOCK_UNIX || req->type == WARREN_SOCK_ICMP))
		return wpriv_refuse(err, -EINVAL, "only udp and tcp have a port");
	if (req->device[0] != '\0' ? !ifname_valid(req->device) :
				     !text_valid(req->device, sizeof(req->device)))
		return wpriv_refuse(err, -EINVAL, "malformed interface name");
	if (req->mark != 0 && req->mark != limits->mark_bypass)
		return wpriv_refuse(err, -EPERM, "mark 0x%x is not one of system.marks (bypass is "
				    "0x%x)", req->mark, limits->mark_bypass);
	return check_socket_flags(req, err);
}

int wpriv_check_addr(const struct wpriv_limits *limits, const struct warren_priv_addr *req,
		     struct warren_err *err)
{
	int result = check_ifname(req->verb == WARREN_ADDR_DEL ? NULL : limits, req->ifname, err);

	if (result)
		return result;
	if (!zeroes(req->reserved, sizeof(req->reserved)))
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	switch (req->verb) {
	case WARREN_LINK_SET:
		if (req->mtu != 0 && (req->mtu < MTU_MIN || req->mtu > MTU_MAX))
			return wpriv_refuse(err, -EINVAL, "%s: MTU %u: %d to %d, or 0 to leave it",
					    req->ifname, req->mtu, MTU_MIN, MTU_MAX);
		if (req->up > 2 || !zeroes(&req->prefix, sizeof(req->prefix)))
			return wpriv_refuse(err, -EINVAL, "%s: malformed LINK_SET", req->ifname);
		return 0;
	case WARREN_ADDR_ADD:
	case WARREN_ADDR_DEL:
		if (req->mtu != 0 || req->up != 0 || !prefix_valid(&req->prefix, false))
			return wpriv_refuse(err, -EINVAL, "%s: malformed address", req->ifname);
		return 0;
	default:
		return wpriv_refuse(err, -EINVAL, "unknown verb %u of ADDR", req->verb);
	}
}

static int check_table(const struct wpriv_limits *limits, uint32_t table, struct warren_err *err)
{
	if (table == limits->table || (table == TABLE_MAIN && limits->main_table))
		return 0;
	return wpriv_refuse(err, -EPERM, "table %u: system.route-table is %u%s", table,
			    limits->table, table == TABLE_MAIN ?
			    ", and system.main-table does not allow the main table" : "");
}

/*
 * The limits hold for what is added. Only what this engine has added before can be removed, which
 * the executor looks after, and it must be possible after the operator has changed the limits.
 */
int wpriv_check_route(const struct wpriv_limits *limits, const struct warren_priv_route *req,
		      struct warren_err *err)
{
	bool add = req->verb == WARREN_ROUTE_ADD;
	int result = add ? check_table(limits, req->table, err) : 0;

	if (result)
		return result;
	if (!add && req->verb != WARREN_ROUTE_DEL)
		return wpriv_refuse(err, -EINVAL, "unknown verb %u of ROUTE", req->verb);
	if (req->type < WARREN_ROUTE_UNICAST || req->type > WARREN_ROUTE_BLACKHOLE)
		return wpriv_refuse(err, -EINVAL, "unknown type %u of ROUTE", req->type);
	if (!prefix_valid(&req->dst, false) || !host_bits_zero(&req->dst))
		return wpriv_refuse(err, -EINVAL, "malformed destination of ROUTE");
	if (!addr_valid(&req->source, true) ||
	    (req->source.family != 0 && req->source.family != req->dst.addr.family))
		return wpriv_refuse(err, -EINVAL, "malformed source address of ROUTE");
	if (!zeroes(req->reserved, sizeof(req->reserved)))
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	if (req->stays > 1 || (req->stays == 1 && (req->type != WARREN_ROUTE_UNREACHABLE ||
						   req->dst.bits != 0)))
		return wpriv_refuse(err, -EINVAL, "only an unreachable default route stays");
	if (req->type == WARREN_ROUTE_UNICAST)
		return check_ifname(add ? limits : NULL, req->ifname, err);
	if (!zeroes(req->ifname, sizeof(req->ifname)))
		return wpriv_refuse(err, -EINVAL, "only a unicast route has an interface");
	return 0;
}

static bool ifname_or_none(const char ifname[WARREN_PRIV_IFNAME])
{
	return ifname[0] != '\0' ? ifname_valid(ifname) : text_valid(ifname, WARREN_PRIV_IFNAME);
}

static int check_rule_limits(const struct wpriv_limits *limits, const struct warren_priv_rule *req,
			     struct warren_err *err)
{
	if (req->pref < limits->rule_low || req->pref > limits->rule_high)
		return wpriv_refuse(err, -EPERM, "priority %u: system.rule-priorities is %u-%u",
				    req->pref, limits->rule_low, limits->rule_high);
	/* Any of these may be looked up but only ours filled: 253 and 254 are the host's own. */
	if (req->action == WARREN_RULE_TABLE && req->table != limits->table &&
	    req->table != TABLE_MAIN && req->table != TABLE_MAIN - 1)
		return wpriv_refuse(err, -EPERM,
				    "a rule may look up table %u (system.route-table), main or "
				    "default, not %u",
				    limits->table, req->table);
	if ((req->mark | req->mask) & ~limits->mark_mask)
		return wpriv_refuse(err, -EPERM, "mark 0x%x/0x%x is outside the mask 0x%x of "
				    "system.marks", req->mark, req->mask, limits->mark_mask);
	return 0;
}

static int check_rule_flags(const struct warren_priv_rule *req, struct warren_err *err)
{
	if (req->flags & ~(uint32_t)(WARREN_RULE_SPECIFIC | WARREN_RULE_UIDS))
		return wpriv_refuse(err, -EINVAL, "unknown flags 0x%x of RULE", req->flags);
	if (req->flags & WARREN_RULE_SPECIFIC && req->action != WARREN_RULE_TABLE)
		return wpriv_refuse(err, -EINVAL, "an unreachable rule has no table");
	if (req->flags & WARREN_RULE_UIDS ? req->uid_first > req->uid_last ||
					    req->uid_last == UINT32_MAX :
					    req->uid_first != 0 || req->uid_last != 0)
		return wpriv_refuse(err, -EINVAL, "malformed range of users of RULE");
	return 0;
}

int wpriv_check_rule(const struct wpriv_limits *limits, const struct warren_priv_rule *req,
		     struct warren_err *err)
{
	bool add = req->verb == WARREN_RULE_ADD;

	if (!add && req->verb != WARREN_RULE_DEL)
		return wpriv_refuse(err, -EINVAL, "unknown verb %u of RULE", req->verb);
	if (req->action != WARREN_RULE_TABLE && req->action != WARREN_RULE_UNREACHABLE)
		return wpriv_refuse(err, -EINVAL, "unknown action %u of RULE", req->action);
	if (req->family != 4 && req->family != 6)
		return wpriv_refuse(err, -EINVAL, "family %u of RULE: 4 or 6", req->family);
	if (req->action == WARREN_RULE_UNREACHABLE && req->table != 0)
		return wpriv_refuse(err, -EINVAL, "an unreachable rule has no table");
	if (req->mark & ~req->mask)
		return wpriv_refuse(err, -EINVAL, "mark 0x%x has bits outside its mask 0x%x",
				    req->mark, req->mask);
	if (!prefix_valid(&req->to, true) || !host_bits_zero(&req->to) ||
	    (req->to.addr.family != 0 && req->to.addr.family != req->family))
		return wpriv_refuse(err, -EINVAL, "malformed destination of RULE");
	if (!ifname_or_none(req->iif) || !ifname_or_none(req->oif))
		return wpriv_refuse(err, -EINVAL, "malformed interface name");
	if (!zeroes(req->reserved, sizeof(req->reserved)))
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	if (check_rule_flags(req, err))
		return -EINVAL;
	return add ? check_rule_limits(limits, req, err) : 0;
}

int wpriv_check_sysctl(const struct wpriv_limits *limits, const struct warren_priv_sysctl *req,
		       struct warren_err *err)
{
	/* Largest value; `all`: whether the name has interfaces, "all" among them. */
	static const struct { uint32_t max; bool per_interface; } names[] = {
		[WARREN_SYSCTL_IP4_FORWARD] = { 1, false },
		[WARREN_SYSCTL_IP6_FORWARD] = { 1, true },
		[WARREN_SYSCTL_RP_FILTER] = { 2, true },
		[WARREN_SYSCTL_SRC_VALID_MARK] = { 1, true },
		[WARREN_SYSCTL_IP6_DISABLE] = { 1, true },
		[WARREN_SYSCTL_ACCEPT_RA] = { 2, true },
	};

	if (req->name < WARREN_SYSCTL_IP4_FORWARD || req->name >= ARRAY_SIZE(names))
		return wpriv_refuse(err, -EINVAL, "unknown name %u of SYSCTL", req->name);
	if (req->value > names[req->name].max)
		return wpriv_refuse(err, -EINVAL, "value %u of SYSCTL: %u at most", req->value,
				    names[req->name].max);
	if (!names[req->name].per_interface) {
		if (!zeroes(req->ifname, sizeof(req->ifname)))
			return wpriv_refuse(err, -EINVAL, "this SYSCTL has no interface");
		return 0;
	}
	if (!ifname_valid(req->ifname))
		return wpriv_refuse(err, -EINVAL, "malformed interface name");
	/* Switching IPv6 off is for our interface only: on "all" it would cut the host off. */
	if (strcmp(req->ifname, "all") == 0 && req->name != WARREN_SYSCTL_IP6_DISABLE &&
	    req->name != WARREN_SYSCTL_ACCEPT_RA)
		return 0;
	return check_ifname(limits, req->ifname, err);
}

static int check_nft_table(const struct wpriv_limits *limits, const struct warren_priv_nft *req,
			   struct warren_err *err)
{
	const uint32_t known = WARREN_NFT_SNAT | WARREN_NFT_STATEFUL | WARREN_NFT_EXIT4 |
			       WARREN_NFT_EXIT6 | WARREN_NFT_ANSWER;

	if (req->mode > WARREN_NFT_AUTO || req->flags & ~known)
		return wpriv_refuse(err, -EINVAL, "unknown mode %u or flags 0x%x of NFT", req->mode,
				    req->flags);
	return check_ifname(limits, req->ifname, err);
}

int wpriv_check_nft(const struct wpriv_limits *limits, const struct warren_priv_nft *req,
		    struct warren_err *err)
{
	const struct warren_prefix *prefix = &req->prefix;
	bool open = req->kind == WARREN_NFT_OPEN, table = req->kind == WARREN_NFT_TABLE;
	uint32_t all = prefix->addr.family == 6 ? 128 : 32;

	if (req->kind < WARREN_NFT_TABLE || req->kind > WARREN_NFT_MAPPED)
		return wpriv_refuse(err, -EINVAL, "unknown kind %u of NFT", req->kind);
	if (req->reserved != 0)
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	if (req->kind == WARREN_NFT_MAPPED ?
	    !prefix_valid(&req->local, false) || !host_bits_zero(&req->local) ||
	    req->local.addr.family != prefix->addr.family || req->local.bits != prefix->bits :
	    !zeroes(&req->local, sizeof(req->local)))
		return wpriv_refuse(err, -EINVAL, "only MAPPED of NFT has two networks, of the "
				    "same length");
	if (!table && (req->mode != 0 || req->flags != 0 ||
		       !zeroes(req->ifname, sizeof(req->ifname))))
		return wpriv_refuse(err, -EINVAL, "only the TABLE of NFT has mode, flags and name");
	if (!open && (req->index != 0 || req->port != 0 || req->protocol != 0))
		return wpriv_refuse(err, -EINVAL, "only OPEN of NFT has a port");
	if ((open || table) && !zeroes(prefix, sizeof(*prefix)))
		return wpriv_refuse(err, -EINVAL, "OPEN and TABLE of NFT have no network");
	if (table)
		return check_nft_table(limits, req, err);
	if (open)
		return req->port != 0 && (req->protocol == IPPROTO_TCP ||
					  req->protocol == IPPROTO_UDP) ? 0 :
			wpriv_refuse(err, -EINVAL, "OPEN of NFT takes a port of tcp or udp");
	if (!prefix_valid(prefix, false) || !host_bits_zero(prefix) || prefix->bits == 0 ||
	    (req->kind == WARREN_NFT_SELF && prefix->bits != all))
		return wpriv_refuse(err, -EINVAL, "malformed network of NFT");
	return 0;
}

/* Of the list as a whole: the table first, and alone where there is to be none. */
static int check_nft_list(const void *items, size_t count, struct warren_err *err)
{
	struct warren_priv_nft item;

	if (count > WARREN_NFT_ITEMS)
		return wpriv_refuse(err, -E2BIG, "%zu items in one NFT: %d at most", count,
				    WARREN_NFT_ITEMS);
	for (size_t i = 0; i < count; i++) {
		memcpy(&item, (const char *)items + i * sizeof(item), sizeof(item));
		if ((item.kind == WARREN_NFT_TABLE) != (i == 0))
			return wpriv_refuse(err, -EINVAL, "NFT begins with its only TABLE");
		if (i == 0 && item.mode == WARREN_NFT_OFF && count > 1)
			return wpriv_refuse(err, -EINVAL, "NFT that is off has one item");
	}
	return 0;
}

static int check_nft_read(const struct warren_priv_nft_read *req, struct warren_err *err)
{
	return req->reserved == 0 ? 0 :
	       wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
}

/* A domain, which goes into a file that every program of the host reads, and scripts too. */
static bool domain_valid(const char *name)
{
	if (!text_valid(name, WARREN_PRIV_NAME) || name[0] == '\0' || strchr(".-", name[0]))
		return false;
	for (const char *c = name; *c; c++) {
		if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' ||
		      *c == '_' || *c == '.'))
			return false;
	}
	return true;
}

int wpriv_check_resolver(const struct wpriv_limits *limits, const struct warren_priv_resolver *req,
			 struct warren_err *err)
{
	bool set = req->verb == WARREN_RESOLVER_SET;

	(void)limits;	/* the only servers that can be named are our own */
	if (!set && req->verb != WARREN_RESOLVER_READ)
		return wpriv_refuse(err, -EINVAL, "unknown verb %u of RESOLVER", req->verb);
	if (req->servers & ~(uint32_t)(WARREN_RESOLVER_IPV4 | WARREN_RESOLVER_IPV6) ||
	    set != (req->servers != 0))
		return wpriv_refuse(err, -EINVAL, "servers %#x of RESOLVER", req->servers);
	if (req->n_search > (set ? WARREN_PRIV_SEARCH : 0))
		return wpriv_refuse(err, -EINVAL, "%u search domains of RESOLVER", req->n_search);
	for (uint32_t i = 0; i < req->n_search; i++) {
		if (!domain_valid(req->search[i]))
			return wpriv_refuse(err, -EINVAL, "malformed search domain of RESOLVER");
	}
	if (req->by > (set ? WARREN_RESOLVER_BY_LAST : 0))
		return wpriv_refuse(err, -EINVAL, "way %u of RESOLVER", req->by);
	if (!zeroes(req->search[req->n_search],
		    sizeof(req->search) - req->n_search * WARREN_PRIV_NAME))
		return wpriv_refuse(err, -EINVAL, "reserved bytes are not zero");
	return 0;
}

int wpriv_check_close(const struct wpriv_limits *limits, const struct warren_priv_close *req,
		      struct warren_err *err)
{
	(void)limits;	/* the executor knows whose handle it is */
	if (req->op != WARREN_OP_TUN && req->op != WARREN_OP_SOCKET &&
	    req->op != WARREN_OP_WATCH && req->op != WARREN_OP_SYSCTL &&
	    req->op != WARREN_OP_RESOLVER)
		return wpriv_refuse(err, -EINVAL,
				    "CLOSE of %s: only TUN, SOCKET, WATCH, SYSCTL and RESOLVER "
				    "have handles", wpriv_op_name(req->op));
	if (req->handle == 0)
		return wpriv_refuse(err, -EINVAL, "CLOSE of handle 0");
	return 0;
}

static int check_item(const struct wpriv_limits *limits, uint32_t op, const void *item,
		      struct warren_err *err)
{
	union {
		struct warren_priv_open open;
		struct warren_priv_watch watch;
		struct warren_priv_file file;
		struct warren_priv_tun tun;
		struct warren_priv_socket socket;
		struct warren_priv_addr addr;
		struct warren_priv_route route;
		struct warren_priv_rule rule;
		struct warren_priv_sysctl sysctl;
		struct warren_priv_close close;
		struct warren_priv_nft nft;
		struct warren_priv_nft_read nft_read;
		struct warren_priv_resolver resolver;
	} req;

	memcpy(&req, item, wpriv_op_size(op));
	switch ((enum warren_op)op) {
	case WARREN_OP_OPEN:
		return wpriv_check_open(limits, &req.open, err);
	case WARREN_OP_WATCH:
		return wpriv_check_watch(limits, &req.watch, err);
	case WARREN_OP_FILE:
		return wpriv_check_file(limits, &req.file, err);
	case WARREN_OP_TUN:
		return wpriv_check_tun(limits, &req.tun, err);
	case WARREN_OP_SOCKET:
		return wpriv_check_socket(limits, &req.socket, err);
	case WARREN_OP_ADDR:
		return wpriv_check_addr(limits, &req.addr, err);
	case WARREN_OP_ROUTE:
		return wpriv_check_route(limits, &req.route, err);
	case WARREN_OP_RULE:
		return wpriv_check_rule(limits, &req.rule, err);
	case WARREN_OP_SYSCTL:
		return wpriv_check_sysctl(limits, &req.sysctl, err);
	case WARREN_OP_CLOSE:
		return wpriv_check_close(limits, &req.close, err);
	case WARREN_OP_NFT:
		return wpriv_check_nft(limits, &req.nft, err);
	case WARREN_OP_NFT_READ:
		return check_nft_read(&req.nft_read, err);
	case WARREN_OP_RESOLVER:
		return wpriv_check_resolver(limits, &req.resolver, err);
	}
	return wpriv_refuse(err, -EINVAL, "unknown operation %u", op);
}

int wpriv_check(const struct wpriv_limits *limits, uint32_t op, const void *items, size_t count,
		struct warren_err *err)
{
	size_t size = wpriv_op_size(op);

	if (size == 0)
		return wpriv_refuse(err, -EINVAL, "unknown operation %u", op);
	if (count == 0 || count > (wpriv_op_many(op) ? WARREN_PRIV_ITEMS : 1))
		return wpriv_refuse(err, -EINVAL, "%zu items in one %s", count, wpriv_op_name(op));
	for (size_t i = 0; i < count; i++) {
		AUTO(err_free) struct warren_err why = ERR_INIT;
		int result = check_item(limits, op, (const char *)items + i * size, &why);

		if (result)
			return count > 1 ? wpriv_refuse(err, result, "%s, item %zu: %s",
							wpriv_op_name(op), i, err_first(&why)) :
					   wpriv_refuse(err, result, "%s: %s", wpriv_op_name(op),
							err_first(&why));
	}
	return op == WARREN_OP_NFT ? check_nft_list(items, count, err) : 0;
}
