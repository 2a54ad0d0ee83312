/*
 * warren/priv.h - what an unprivileged engine may ask of the monitor
 *
 * The monitor is a small root process without plugins. The engine sends it requests from the table
 * below; each has a fixed layout, a validator and an executor in core/priv and core/monitor, and is
 * limited by the operator's `system:` section. No request holds a pointer, a command line or raw
 * netlink bytes. All strings are NUL-terminated inside their array; all unused bytes are zero.
 *
 * warren_priv(): the answer comes later, on the context's lane, never before it returns.
 * warren_priv_wait(): inside `start` and `reload` only.
 * A plugin may request the operations in its `privops` mask and no other.
 *
 * What the monitor changes on the host it writes to its journal first, and undoes it when the
 * context that asked ends (unless flagged KEEP), when the engine dies, at the daemon's stop, and at
 * the next start after a crash of both. An UNREACHABLE default route of our table shuts the way to
 * the internet: it, the THROW routes beside it and the rules of its family outlive a crash of both,
 * are taken over by the next engine if it asks for them, and are undone by `warrend --cleanup`.
 */
#ifndef WARREN_PRIV_H
#define WARREN_PRIV_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum warren_op {
	WARREN_OP_OPEN = 1,		/* a path that stands in the YAML files */
	WARREN_OP_WATCH = 2,		/* "that file changed" */
	WARREN_OP_FILE = 3,		/* files inside a configured folder */
	WARREN_OP_TUN = 4,
	WARREN_OP_SOCKET = 5,
	WARREN_OP_ADDR = 6,		/* addresses and link settings of our own interfaces */
	WARREN_OP_ROUTE = 7,
	WARREN_OP_RULE = 8,
	WARREN_OP_SYSCTL = 9,
	WARREN_OP_CLOSE = 10,		/* give back a TUN, SOCKET, WATCH, SYSCTL or RESOLVER */
	WARREN_OP_NFT = 11,		/* our packet filter, and rules in the host's */
	WARREN_OP_NFT_READ = 12,
	WARREN_OP_RESOLVER = 13,	/* whom the host asks for names */
	WARREN_OP_LAST = WARREN_OP_RESOLVER,
};
#define WARREN_PRIVOP(op) (UINT64_C(1) << WARREN_OP_##op)

enum {
	WARREN_PRIV_KEY = 128,		/* bytes of a key path, "static.peers.nas.psk.file" */
	WARREN_PRIV_NAME = 256,		/* bytes of a file name */
	WARREN_PRIV_IFNAME = 16,
	WARREN_PRIV_FDS = 4,		/* descriptors of one answer */
	WARREN_PRIV_ITEMS = 16384,	/* items of one transaction */
};

struct warren_priv_open {
	char key[WARREN_PRIV_KEY];	/* key path in the monitor's own tree */
	uint32_t index;			/* element, where the value is a list */
	uint32_t access;		/* WARREN_READ ... WARREN_CONNECT */
	char name[WARREN_PRIV_NAME];	/* relative name below a configured folder, or empty */
};

struct warren_priv_watch {
	char key[WARREN_PRIV_KEY];
	uint32_t index, reserved;
};

enum { WARREN_FILE_OPEN = 1, WARREN_FILE_CREATE, WARREN_FILE_RENAME, WARREN_FILE_UNLINK,
       WARREN_FILE_MKDIR, WARREN_FILE_STAT, WARREN_FILE_LIST };
enum { WARREN_FILE_ALONE = 1u << 0 };	/* RENAME: not over what is there */
/*
 * Done by a child that has the rights of the user whom `owner` names, in the files of /etc; else of
 * the folder's owner; or, where a command named the folder, of whoever gave that.
 */
struct warren_priv_file {
	char key[WARREN_PRIV_KEY];	/* of the WARREN_PATH|WARREN_DIR option */
	uint32_t index;
	uint32_t verb;
	uint32_t mode;			/* of what is created, 0777 at most */
	uint32_t flags;
	char name[WARREN_PRIV_NAME];	/* below the folder; no "..", no leading "/" */
	char to[WARREN_PRIV_NAME];	/* RENAME */
	char owner[WARREN_PRIV_KEY];	/* key path of the user's name, or empty */
};

enum { WARREN_NS_HOST = 0, WARREN_NS_SERVICE = 1 };
enum { WARREN_TUN_VNET_HDR = 1u << 0, WARREN_TUN_MULTI_QUEUE = 1u << 1 };
struct warren_priv_tun {
	char ifname[WARREN_PRIV_IFNAME];
	uint32_t queues;		/* 1 ... WARREN_PRIV_FDS descriptors in the answer */
	uint32_t flags;
	uint32_t mtu;
	uint32_t namespace_;
};					/* answer: value = interface index */

enum { WARREN_SOCK_UDP = 1, WARREN_SOCK_TCP, WARREN_SOCK_UNIX, WARREN_SOCK_ICMP };
enum { WARREN_SOCK_KEEP = 1u << 0, WARREN_SOCK_TRANSPARENT = 1u << 1, WARREN_SOCK_V6ONLY = 1u << 2,
       WARREN_SOCK_REUSEPORT = 1u << 3,
       WARREN_SOCK_BYPASS = 1u << 4,	/* the mark is system.marks.bypass, whatever that is */
       /* UDP: while NFT has a table, everybody may reach this port of the host; until CLOSE. */
       WARREN_SOCK_OPEN = 1u << 5 };
struct warren_priv_socket {
	char key[WARREN_PRIV_KEY];	/* where the port or the path stands in YAML: "wg.port" */
	uint32_t index;
	uint32_t family;		/* 4, 6; 0 for unix */
	uint32_t type, flags;
	struct warren_addrport bind;	/* port 0: any */
	char device[WARREN_PRIV_IFNAME];
	uint32_t mark;			/* one of the marks of `system:` */
	uint32_t backlog;		/* > 0: listen */
	uint32_t recv_buffer, send_buffer;	/* bytes, 0: the system's; forced past its limit */
	uint32_t mode;			/* permissions of a unix socket */
	uint32_t namespace_;
};					/* answer: one descriptor; value = the port bound */

enum { WARREN_LINK_SET = 1, WARREN_ADDR_ADD, WARREN_ADDR_DEL };
struct warren_priv_addr {		/* one item of an ADDR transaction */
	uint32_t verb;
	char ifname[WARREN_PRIV_IFNAME];	/* an interface that our TUN operation made */
	uint32_t mtu;			/* LINK_SET: 0 leaves it */
	uint32_t up;			/* LINK_SET: 0 leaves it, 1 up, 2 down */
	struct warren_prefix prefix;	/* ADDR_*: host bits are kept in `addr` here */
	uint8_t reserved[6];
};

enum { WARREN_ROUTE_ADD = 1, WARREN_ROUTE_DEL };
enum { WARREN_ROUTE_UNICAST = 1, WARREN_ROUTE_THROW, WARREN_ROUTE_UNREACHABLE,
       WARREN_ROUTE_BLACKHOLE };
struct warren_priv_route {		/* one item of a ROUTE transaction */
	uint32_t verb, type;
	uint32_t table;			/* system.route-table (52), or 254 (main) where it allows */
	uint32_t metric;
	struct warren_prefix dst;
	struct warren_addr source;	/* preferred source, or family 0 */
	char ifname[WARREN_PRIV_IFNAME];	/* UNICAST: an interface of ours */
	uint8_t stays;			/* UNREACHABLE default: after a stop, as after a crash */
	uint8_t reserved[4];
};

enum { WARREN_RULE_ADD = 1, WARREN_RULE_DEL };
enum { WARREN_RULE_TABLE = 1, WARREN_RULE_UNREACHABLE };
enum { WARREN_RULE_SPECIFIC = 1u << 0,	/* TABLE: its default route does not count */
       WARREN_RULE_UIDS = 1u << 1 };
struct warren_priv_rule {		/* one item of a RULE transaction */
	uint32_t verb, action;
	uint32_t family;		/* 4, 6 */
	uint32_t pref;			/* within system.rule-priorities */
	uint32_t table;
	uint32_t mark, mask;		/* fwmark; both 0: none */
	uint32_t flags;			/* WARREN_RULE_ */
	uint32_t uid_first, uid_last;	/* UIDS: of the local sender, both inclusive; else 0 */
	struct warren_prefix to;	/* family 0: any */
	char iif[WARREN_PRIV_IFNAME];	/* empty: any */
	/* Empty: any; else what a socket is bound to, or the kernel looks for the gateway of. */
	char oif[WARREN_PRIV_IFNAME];
	uint8_t reserved[2];
};

enum { WARREN_SYSCTL_IP4_FORWARD = 1, WARREN_SYSCTL_IP6_FORWARD, WARREN_SYSCTL_RP_FILTER,
       WARREN_SYSCTL_SRC_VALID_MARK, WARREN_SYSCTL_IP6_DISABLE, WARREN_SYSCTL_ACCEPT_RA };
/*
 * Forwarding of IPv6 on "all" would make the host deaf to router advertisements, so interfaces that
 * listen to them (ACCEPT_RA 1) are set to 2 with it, and back with it.
 */
struct warren_priv_sysctl {		/* answer: a handle; CLOSE sets the value back */
	uint32_t name;
	uint32_t value;
	char ifname[WARREN_PRIV_IFNAME];	/* ours, or "all" where the name has interfaces */
};

/*
 * The whole packet filter as it should be: a list of these, the first of kind TABLE and no other.
 * It replaces what was there at once, or nothing changes. Own table `inet warren` ("warren-IFNAME"
 * for an interface other than warren0): what comes out of the tunnel gets system.marks.subnet and
 * may be forwarded to what is BEHIND this node alone; what does not, may not use the tunnel's
 * addresses. Rules that accept the mark go into the base chains of others that drop, as the mode
 * says, and are put back. Answer: a descriptor that is readable after NFT_READ would say something
 * new (an eventfd: read it); and one that keeps the table if the monitor is killed, to be held as
 * long as packets are written to the tunnel.
 * Source: firewall-cooperation.md 1, 3, 6, 7.
 */
enum { WARREN_NFT_TABLE = 1, WARREN_NFT_SELF, WARREN_NFT_POOL, WARREN_NFT_BEHIND,
       WARREN_NFT_OPEN,
       WARREN_NFT_MAPPED };		/* BEHIND, with addresses that others know it by */
enum { WARREN_NFT_OFF = 0,		/* TABLE: nothing is there; it stands alone */
       WARREN_NFT_OWN_TABLE,		/* chains of others are left alone */
       WARREN_NFT_APPEND,		/* at their ends, where that is of use */
       WARREN_NFT_AUTO };		/* at their tops */
enum { WARREN_NFT_SNAT = 1u << 0,	/* TABLE: hide peers behind this node in BEHIND networks */
       WARREN_NFT_STATEFUL = 1u << 1,	/* nobody behind this node begins a conversation */
       WARREN_NFT_EXIT4 = 1u << 2,	/* everything is behind this node, and peers are hidden */
       WARREN_NFT_EXIT6 = 1u << 3,
       /* What came in elsewhere than from a peer is answered there, by system.marks.bypass. */
       WARREN_NFT_ANSWER = 1u << 4 };
enum { WARREN_NFT_ITEMS = 1024 };	/* of one request */
struct warren_priv_nft {
	uint32_t kind;
	uint32_t mode, flags;		/* TABLE */
	uint32_t index;			/* OPEN: element of router.firewall.open in the files */
	uint16_t port;			/* OPEN */
	uint8_t protocol;		/* OPEN: 6, 17 */
	uint8_t reserved;
	char ifname[WARREN_PRIV_IFNAME];	/* TABLE: the tunnel */
	/* SELF: own inner address; POOL: inner network; BEHIND; MAPPED: as peers know it */
	struct warren_prefix prefix;
	struct warren_prefix local;	/* MAPPED: as it is, of the same length */
};

struct warren_priv_nft_read {		/* answer: value = repairs so far; data: see below */
	uint32_t reserved;
};
enum { WARREN_NFT_PASSES = 1,		/* our rule stands in it */
       WARREN_NFT_DROPS,		/* it would drop what we approve, and has no rule of ours */
       WARREN_NFT_LOCKED,		/* the same, because another process owns its table */
       WARREN_NFT_LEGACY };		/* iptables-legacy, which cannot be changed from here */
struct warren_nft_chain {		/* a base chain of somebody else that may drop */
	uint32_t state;
	int32_t priority;
	uint32_t family;		/* 4, 6; 0: both (inet) */
	uint32_t hook;			/* NF_INET_: 0 prerouting, 1 input, 2 forward */
	char table[64], chain[64];
	/* That would drop, in words close to nft's. LEGACY: a match of what we approve. */
	char rule[192];
};

/*
 * Whom the host asks for names. READ: data is what other programs have said, in the form of
 * resolv.conf(5), whether or not ours counts; value: WARREN_RESOLVER_OURS, it does, and who keeps
 * it. SET: names the service addresses and nobody else, by way of `by`; a handle, with which CLOSE
 * sets it back. SET again says it again; what another program has written until then into the file
 * is what is set back. Both: an eventfd that is readable after something has changed.
 */
enum { WARREN_RESOLVER_READ = 1, WARREN_RESOLVER_SET };
enum { WARREN_RESOLVER_FILE = 0,	/* /etc/resolv.conf itself */
       WARREN_RESOLVER_RESOLVCONF,	/* the program, Debian's or openresolv */
       WARREN_RESOLVER_RESOLVED,	/* systemd-resolved, by way of the tunnel's link */
       WARREN_RESOLVER_BY_LAST = WARREN_RESOLVER_RESOLVED };
enum { WARREN_RESOLVER_OURS = 1,
       WARREN_RESOLVER_BY_SHIFT = 8 };	/* of who keeps it, in `value` */
enum { WARREN_RESOLVER_IPV4 = 1u << 0,	/* 100.100.100.100 */
       WARREN_RESOLVER_IPV6 = 1u << 1 };	/* fd7a:115c:a1e0::53 */
enum { WARREN_PRIV_SEARCH = 16 };
struct warren_priv_resolver {
	uint32_t verb;
	uint32_t servers;		/* SET */
	uint32_t n_search;
	uint32_t by;			/* SET */
	char search[WARREN_PRIV_SEARCH][WARREN_PRIV_NAME];	/* a-z 0-9 - _ . */
};

struct warren_priv_close {
	uint32_t op;			/* WARREN_OP_TUN, _SOCKET, _WATCH, _SYSCTL, _RESOLVER */
	uint32_t handle;		/* from the answer */
};

struct warren_priv_answer {
	uint32_t size;
	int32_t result;			/* 0 or -errno */
	int64_t value;
	uint32_t handle;		/* for CLOSE and for events */
	uint32_t count;			/* descriptors in fds; the callback owns them */
	int fds[WARREN_PRIV_FDS];
	const char *error;		/* a sentence when result < 0 */
	const void *data;		/* FILE LIST/STAT: records; lives for the callback */
	size_t len;
};

typedef void warren_priv_fn(struct warren_ctx *ctx, const struct warren_priv_answer *answer,
			    void *arg);

/*
 * @req points to @len bytes: one structure of the operation, or @len / sizeof items of a
 * transaction (ADDR ROUTE RULE), which is applied whole or not at all.
 * Returns 0 (then @done will be called, unless the context ends first), -EPERM: not in `privops`.
 */
int warren_priv(struct warren_ctx *ctx, enum warren_op op, const void *req, size_t len,
		warren_priv_fn *done, void *arg);
/* `start` and `reload` only; fills @answer, whose error and data live until the next call. */
int warren_priv_wait(struct warren_ctx *ctx, enum warren_op op, const void *req, size_t len,
		     struct warren_priv_answer *answer, struct warren_err *err);

/* WATCH: called on the lane each time the watched file changed, was replaced or removed. */
typedef void warren_watch_fn(struct warren_ctx *ctx, void *arg);
int warren_watch(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		 warren_watch_fn *fn, void *arg);

/*
 * ---- Folders ----
 *
 * Files below a folder, by names that cannot lead out of it: one of the plugin's own below its
 * state folder, worked on by the job pool; or one that the operator named, worked on by FILE. All
 * functions: the context's lane; @done is called later, on it, while the context lives. -EAGAIN:
 * the queue is full; -EINVAL: such a name cannot be.
 */
struct warren_dir;
struct warren_dir_entry {
	const char *name;
	uint64_t size;
	int64_t mtime;			/* microseconds since 1970 */
	uint32_t mode;			/* st_mode */
};
struct warren_dir_answer {		/* lives for the call */
	uint32_t size;
	int result;			/* 0 or -errno */
	const char *why;		/* a sentence with it */
	int fd;				/* the callee's; -1: none */
	const struct warren_dir_entry *entries;	/* of a list, in no order */
	uint32_t n_entries;
};
typedef void warren_dir_fn(struct warren_ctx *ctx, const struct warren_dir_answer *answer,
			   void *arg);

/* In `start` and `reload`: made if it is not there. -errno with a sentence. */
int warren_dir_state(struct warren_ctx *ctx, const char *name, struct warren_dir **out,
		     struct warren_err *err);
/*
 * The folder that the WARREN_PATH|WARREN_DIR option @key of @conf names; @owner is the key beside
 * it that names the user whose the files are, or NULL. Needs WARREN_PRIVOP(FILE). -ENOMEM.
 */
int warren_dir_conf(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		    const char *owner, struct warren_dir **out);
/* What is under way goes on, and nobody is told. NULL is allowed. */
void warren_dir_close(struct warren_dir *dir);

/* To read; or to read and write, made with @mode if it is not there. */
int warren_dir_open(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg);
int warren_dir_create(struct warren_dir *dir, const char *name, uint32_t mode,
		      warren_dir_fn *done, void *arg);
/* @alone: -EEXIST where something is called @to. */
int warren_dir_rename(struct warren_dir *dir, const char *name, const char *to, bool alone,
		      warren_dir_fn *done, void *arg);
int warren_dir_unlink(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg);
int warren_dir_list(struct warren_dir *dir, warren_dir_fn *done, void *arg);
/* The same of a folder below it. */
int warren_dir_list_at(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg);

/*
 * ---- Paths, later than at the start ----
 *
 * As warren_conf_open_wait(), whenever: @fd is the callee's, or -1 and @result with a sentence.
 * Needs WARREN_PRIVOP(OPEN). 0, or -errno: @done is not called.
 */
typedef void warren_open_fn(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg);
int warren_conf_open(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		     warren_open_fn *done, void *arg);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
