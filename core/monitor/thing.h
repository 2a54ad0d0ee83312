/*
 * monitor/thing.h - what the monitor has made or holds for the engine
 *
 * One entry per interface, socket, watch, address, route, rule, sysctl value, socket file, table
 * and rule of the packet filter, with the plugin that asked for it. What would
 * outlive both processes also stands in the journal; the same structure is read back from there
 * and undone.
 */
#ifndef WARREN_MONITOR_THING_H
#define WARREN_MONITOR_THING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <warren/priv.h>

#include "base/hash.h"
#include "base/list.h"
#include "monitor/nft.h"
#include "priv/wire.h"

enum mon_kind {
	MON_TUN = 1,
	MON_SOCKET,
	MON_WATCH,
	MON_ADDR,
	MON_ROUTE,
	MON_RULE,
	MON_SYSCTL,
	MON_PATH,			/* a unix socket in the file system */
	MON_NFT,			/* our table of packet filter rules */
	MON_MARK,			/* our rule in somebody else's chain */
	MON_NETNS,			/* the service namespace */
	MON_RESOLVER,			/* whom the host asks for names */
	MON_KIND_LAST = MON_RESOLVER,
};

enum {
	MON_THINGS_MAX = 65536,
	MON_KEY_MAX = 96,
};

struct mon_tun {
	struct warren_priv_tun req;
	int index;			/* of the interface */
	uint32_t up;			/* as LINK_SET left it: 0 never set, 1 up, 2 down */
};
struct mon_socket {
	struct warren_priv_socket req;
	uint16_t port;			/* that was bound */
};
struct mon_sysctl {
	struct warren_priv_sysctl req;
	int32_t previous;
};
struct mon_path {
	uint64_t dev, ino;		/* of the socket file, so that nobody else's is removed */
	char path[WPRIV_PATH];
};
struct mon_watch {
	struct list node;		/* of mon_things.watches */
	int wd;				/* inotify; -1: the folder is gone */
	uint64_t due, since;		/* microseconds; 0: nothing happened */
	bool resolver;			/* the monitor's own, for MON_RESOLVER */
	char path[WPRIV_PATH];		/* whole; the monitor's own: all of a folder, with "/" */
};
struct mon_mark {
	struct nft_place place;
	struct nft_marks marks;
};
struct mon_netns {			/* fds: the TUN queue, the namespace */
	struct warren_priv_tun req;
	int index;			/* of the interface, in there */
};
enum mon_resolver_form { MON_RESOLVER_NONE = 0, MON_RESOLVER_FILE, MON_RESOLVER_LINK,
			 MON_RESOLVER_RESOLVCONF,	/* whose file it is; ours is our word */
			 MON_RESOLVER_RESOLVED };
struct mon_resolver {			/* what the file was */
	uint32_t form;
	uint32_t mode, uid, gid;	/* FILE; its text is in the state folder */
	uint64_t sum;			/* of what we wrote */
	char link[WPRIV_PATH];		/* LINK; RESOLVED: the interface */
};
union mon_what {
	struct mon_tun tun;
	struct mon_socket socket;
	struct mon_watch watch;
	struct warren_priv_addr addr;	/* verb as it was added */
	struct warren_priv_route route;
	struct warren_priv_rule rule;
	struct mon_sysctl sysctl;
	struct mon_path path;
	struct warren_priv_nft nft;	/* the TABLE of the request */
	struct mon_mark mark;
	struct mon_netns netns;
	struct mon_resolver resolver;
};

struct mon_thing {
	struct list node;
	uint32_t id;			/* never 0: handle of answers, its name in the journal */
	uint8_t kind;			/* enum mon_kind */
	bool claimed;			/* the engine that runs now asked for it */
	bool journaled;
	bool shuts;			/* mon_undo_open() leaves it */
	uint8_t key_len;		/* 0: not in the map */
	uint32_t step;			/* of the transaction that is going on, from 1; else 0 */
	uint8_t key[MON_KEY_MAX];
	char owner[WPRIV_OWNER];
	uint32_t n_fds;
	int fds[WARREN_PRIV_FDS];
	union mon_what what;		/* only as much as its kind needs is allocated: last */
};

struct mon_things {
	struct list all;		/* in the order they were made */
	struct list watches;		/* of them, those of kind MON_WATCH */
	struct hash by_key;
	uint32_t next_id, count;
};

void mon_things_init(struct mon_things *things);
/* Forgets all, closes their descriptors, undoes nothing. */
void mon_things_free(struct mon_things *things);

/* Bytes of @kind in union mon_what. */
size_t mon_kind_size(uint32_t kind);
const char *mon_kind_name(uint32_t kind);
/*
 * A new entry at the end, with a copy of @what, claimed. NULL: no memory, or MON_THINGS_MAX. One
 * with the same key must not be there.
 */
struct mon_thing *mon_thing_new(struct mon_things *things, uint32_t kind, const char *owner,
				const union mon_what *what);
/* Takes it out, closes its descriptors, frees it. */
void mon_thing_free(struct mon_things *things, struct mon_thing *thing);
/* The entry of that interface, address, route (same table, metric, destination), rule or sysctl. */
struct mon_thing *mon_thing_find(const struct mon_things *things, uint32_t kind,
				 const union mon_what *what);
struct mon_thing *mon_thing_by_id(const struct mon_things *things, uint32_t kind, uint32_t id);
/* The interface, held or claimed. */
struct mon_thing *mon_thing_tun(const struct mon_things *things, const char *ifname);

#endif
