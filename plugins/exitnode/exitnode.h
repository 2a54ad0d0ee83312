/*
 * exitnode.h - being a way to all of the internet, and using one
 */
#ifndef EXITNODE_EXITNODE_H
#define EXITNODE_EXITNODE_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>
#include <warren/service/paths.h>
#include <warren/service/router.h>

/*
 * ---- Being one (state.c) ----
 */

enum exitnode_state {
	EXITNODE_OFF,			/* not offered */
	EXITNODE_WAITS,			/* offered, not approved */
	EXITNODE_STUCK,			/* approved, but the host does not do it */
	EXITNODE_SERVES,		/* in one family at least */
};
enum exitnode_state exitnode_state(bool advertise, const struct warren_router_serving *serving);
const char *exitnode_state_name(enum exitnode_state state);
const char *exitnode_state_words(enum exitnode_state state);

/*
 * ---- Using one: whose it is (choose.c) ----
 */

enum exitnode_found {
	EXITNODE_UNUSED,		/* nothing is wanted */
	EXITNODE_NO_MAP,		/* nobody is known yet */
	EXITNODE_UNKNOWN,		/* no such peer */
	EXITNODE_AMBIGUOUS,
	EXITNODE_SELF,
	EXITNODE_NOT_OFFERED,		/* it leads to no internet, or is not approved */
	EXITNODE_NOBODY,		/* auto: there is none */
	EXITNODE_OFFLINE,		/* it is used, but the server does not see it */
	EXITNODE_USED,
};
const char *exitnode_found_name(enum exitnode_found found);
bool exitnode_is_auto(const char *use);		/* "auto", "auto:any" */

enum { EXITNODE_AVOIDED = 16 };
struct exitnode_avoid {			/* peers that did not answer */
	struct { int64_t id; uint64_t until; } list[EXITNODE_AVOIDED];
};
void exitnode_avoid(struct exitnode_avoid *avoid, int64_t id, uint64_t until);

struct exitnode_wish {
	const char *use;		/* name, address, stable id, "auto"; "" none */
	uint32_t home;			/* our home region, 0: not known */
	int64_t before;			/* the one that is used by now, or 0 */
	const struct exitnode_avoid *avoid;
	uint64_t now;
};
/* The peer that is wanted; NULL where *@found says that there is none. */
const struct warren_node *exitnode_find(const struct warren_netmap *map,
					const struct exitnode_wish *wish,
					enum exitnode_found *found);
/* The nearest that lives, of those that the provider suggests if there are such; or NULL. */
const struct warren_node *exitnode_nearest(const struct warren_netmap *map,
					   const struct exitnode_wish *wish);
/* The sentence about @use that the stock client has, or "" where all is well. */
void exitnode_refusal(enum exitnode_found found, const char *use, char *out, size_t size);
/* Whether the provider suggests exit nodes. */
bool exitnode_any_suggested(const struct warren_netmap *map);
/* It cannot be reached, as far as the provider knows. */
bool exitnode_is_away(const struct warren_node *node);
/* Without the dot at its end. */
void exitnode_name(const struct warren_node *node, char *out, size_t size);

/*
 * ---- What goes around it (bypass.c) ----
 */

/* "10.0.0.0/16", "interface:wt0", "uid:1000", "uid:1000-1999". 0 or -EINVAL. */
int exitnode_bypass_parse(const char *text, struct warren_router_bypass *out);

/*
 * ---- Which there are (list.c) ----
 */

/* What a node tells of its place, or "". */
const char *exitnode_country(const struct warren_node *node);
const char *exitnode_city(const struct warren_node *node);

struct exitnode_row {
	const struct warren_node *node;
	bool any;			/* it stands for its country: the best of several cities */
	bool shown;			/* in a list for people */
};
/*
 * By country and city, of those of the country @filter, or of all where that is "". Of a city the
 * best is shown, and the one that is @used; with @filter all are. 0, or -ENOMEM; the caller frees
 * *@out.
 */
int exitnode_rows(const struct warren_netmap *map, const char *filter, int64_t used,
		  struct exitnode_row **out, size_t *n_out);

/*
 * ---- The plugin ----
 */

struct exitnode {
	struct warren_ctx *ctx;
	const struct warren_router_ops *router;
	void *router_self;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	const struct warren_paths_ops *paths;	/* NULL: not there */
	void *paths_self;
	const struct warren_conf *conf;
	const struct warren_netmap *map;	/* the newest, with a reference */
	enum exitnode_found found;
	int64_t used;			/* 0: nobody */
	struct exitnode_avoid avoid;
	struct warren_timer *watch;	/* auto: does it answer? */
	uint64_t silent;		/* since when it has been called in vain; 0: it is not */
	uint64_t heard;			/* when it last said something, as of the last look */
};

struct exitnode_wish exitnode_wish(const struct exitnode *e, const char *use);

/* exit-node list, exit-node suggest (commands.c). */
enum { EXITNODE_COMMANDS = 2 };
extern const struct warren_command exitnode_commands[EXITNODE_COMMANDS];

#endif
