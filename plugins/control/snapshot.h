/*
 * snapshot.h - immutable maps, and who owns the records in them
 *
 * Snapshots follow each other in a lineage. A record (node, user) is born with one snapshot and
 * dies with a later one; in between it is shared by all of them without a count. A generation
 * belongs to each snapshot and holds what died with it; it is freed when its snapshot and all
 * earlier ones are gone, wherever their last reference is dropped. So a delta costs what it
 * changes and one array of pointers. The other parts count their references (parts.h).
 */
#ifndef CTL_SNAPSHOT_H
#define CTL_SNAPSHOT_H

#include "node.h"
#include "parts.h"

struct ctl_table {			/* peers, sorted by id */
	struct ctl_part part;
	int64_t *ids;			/* beside the nodes: a search touches no record */
	const struct warren_node **nodes;
	uint32_t n;
	int64_t next_expiry;		/* no key expires before; INT64_MAX: never */
};
/* Room for @n. NULL: no memory. */
struct ctl_table *ctl_table_new(uint32_t n);
/* The place of @id, or where it would be. @table may be NULL. */
uint32_t ctl_table_find(const struct ctl_table *table, int64_t id, bool *there);
/* The record with that id, or NULL. */
struct ctl_record *ctl_table_get(const struct ctl_table *table, int64_t id);

struct ctl_user {
	struct ctl_owned owned;
	struct warren_user user;	/* its strings follow */
};
struct ctl_user *ctl_user_parse(struct ctl_parse *p, const json_t *o);

struct ctl_users {			/* sorted by id */
	struct ctl_part part;
	struct warren_user *users;
	struct ctl_user **records;
	uint32_t n;
};
struct ctl_users *ctl_users_new(uint32_t n);
struct ctl_user *ctl_users_get(const struct ctl_users *users, int64_t id);

/* What a snapshot consists of; NULL: none. */
struct ctl_state {
	struct ctl_record *self;
	struct ctl_table *peers;
	struct ctl_users *users;
	struct ctl_filters *filters;
	struct ctl_dns *dns;
	struct ctl_relays *relays;
	struct ctl_ssh *ssh;
	struct ctl_health *health;
	struct ctl_text *domain;
};
void ctl_state_unref(struct ctl_state *state);	/* its parts; not what the lineage owns */

struct ctl_changes {
	struct warren_netmap_change *list;
	uint32_t n, room;
};

struct ctl_gen;
struct ctl_snapshot {
	struct warren_netmap map;
	struct ctl_state state;
	struct ctl_gen *gen;
	struct warren_prefix networks[2];
};
struct ctl_snapshot *ctl_snapshot_of(const struct warren_netmap *map);

/*
 * The snapshot after @before (NULL: the first); takes the parts of @state, the list of @changes
 * and the @dead. NULL: no memory, and nothing is taken.
 */
struct ctl_snapshot *ctl_snapshot_new(struct ctl_snapshot *before, struct ctl_state *state,
				      struct ctl_changes *changes, struct ctl_owned *dead);
/* No snapshot follows: what @last has dies with it. @last keeps its references. */
void ctl_snapshot_end(struct ctl_snapshot *last);

#endif
