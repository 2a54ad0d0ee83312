/*
 * From a delta to the newest snapshot, in the order of section 6.5.
 *
 * Peers that a delta touches are collected in slots, where all its changes meet in their order; a
 * full list is nothing but slots for all its nodes. The slots are then merged with the table
 * before, which yields the new table, the list of changes and the records that die. What comes out
 * equal to what was there stays the very same record.
 *
 * The stock client turns changed nodes into patches where it can, and loses some changes by that
 * (section 6.5, step 4; pitfall 28). We do not: a node replaces the one before as a whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "map_impl.h"

struct slot {
	int64_t id;
	struct ctl_record *record;	/* as the server sent it; NULL: there is none */
	bool owned;			/* not the lineage's */
};

struct apply {
	struct ctl_map *map;
	struct ctl_delta *delta;
	struct ctl_snapshot *before;	/* NULL: the first */
	struct ctl_state from;		/* what the delta is applied to: before's, or nothing */
	struct ctl_state to;		/* what becomes of it; its parts are references */
	struct ctl_changes changes;
	struct ctl_owned *dead, *born;
	struct ctl_vec slots;		/* sorted by id */
	bool touched;			/* the table is not the one before */
	int64_t now;			/* the server's clock */
};

static void link_owned(struct ctl_owned **list, struct ctl_owned *owned)
{
	owned->next = *list;
	*list = owned;
}

/*
 * ---- Slots ----
 */

static void slot_set(struct slot *slot, struct ctl_record *record, bool owned)
{
	if (slot->record && slot->owned)
		ctl_owned_free(&slot->record->owned);
	slot->record = record;
	slot->owned = owned;
}

static int slot_order(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* The ids are all named before the first slot is looked for. */
static struct slot *slot_find(struct apply *a, int64_t id)
{
	const struct slot key = { .id = id };

	return a->slots.n ? bsearch(&key, a->slots.items, a->slots.n, sizeof(key), slot_order)
			  : NULL;
}

static int slot_name(struct apply *a, int64_t id)
{
	struct slot *slot = ctl_vec_add(&a->slots, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	slot->id = id;
	return 0;
}

/* Sorts, and leaves each id once. */
static void slots_sort(struct apply *a)
{
	struct slot *slots = a->slots.items;
	uint32_t kept = 0;

	if (a->slots.n)
		qsort(slots, a->slots.n, sizeof(*slots), slot_order);
	for (uint32_t i = 0; i < a->slots.n; i++) {
		if (kept == 0 || slots[kept - 1].id != slots[i].id)
			slots[kept++] = slots[i];
	}
	a->slots.n = kept;
}

static int name_flags(struct apply *a, const struct ctl_vec *vec)
{
	const struct ctl_flag *flags = vec->items;
	int result = 0;

	for (uint32_t i = 0; !result && i < vec->n; i++)
		result = slot_name(a, flags[i].id);
	return result;
}

/* A slot for each id that the delta names, with what is there now. */
static int slots_open(struct apply *a)
{
	const struct ctl_delta *d = a->delta;
	const struct ctl_item *changed = d->changed.items;
	const struct ctl_patch *patches = d->patches.items;
	const int64_t *removed = d->removed.items;
	struct slot *slots;
	int result = 0;

	for (uint32_t i = 0; !result && i < d->removed.n; i++)
		result = slot_name(a, removed[i]);
	for (uint32_t i = 0; !result && i < d->changed.n; i++)
		result = slot_name(a, changed[i].record->node.id);
	for (uint32_t i = 0; !result && i < d->patches.n; i++)
		result = slot_name(a, patches[i].id);
	if (!result)
		result = name_flags(a, &d->seen);
	if (!result)
		result = name_flags(a, &d->online);
	slots_sort(a);
	slots = a->slots.items;
	for (uint32_t i = 0; i < a->slots.n; i++) {
		struct ctl_record *record = ctl_table_get(a->from.peers, slots[i].id);

		slots[i].record = record ? ctl_record_base(record) : NULL;
	}
	return result;
}

static void slots_free(struct apply *a)
{
	struct slot *slots = a->slots.items;

	for (uint32_t i = 0; i < a->slots.n; i++)
		slot_set(&slots[i], NULL, false);
	ctl_vec_free(&a->slots);
}

/*
 * ---- Changes of peers ----
 */

/* Self among the peers is a mistake of the server (pitfall 30). */
static bool is_self(struct apply *a, const struct ctl_record *record)
{
	const struct ctl_record *self = a->to.self ? a->to.self : a->from.self;
	char why[96];

	if (!self || self->node.id != record->node.id)
		return false;
	(void)snprintf(why, sizeof(why), "peer %" PRId64 ": it is this node itself",
		       record->node.id);
	ctl_map_bad(a->map, why);
	return true;
}

static void put_item(struct apply *a, struct ctl_item *item)
{
	struct slot *slot;

	if (is_self(a, item->record))
		return;
	slot = slot_find(a, item->record->node.id);
	slot_set(slot, item->record, !item->shared);
	item->record = NULL;
}

/* Peers that a full list has; those that it has not are gone. */
static int fill_full(struct apply *a)
{
	struct ctl_item *items = a->delta->peers.items;
	int result = 0;

	for (uint32_t i = 0; !result && i < a->delta->peers.n; i++)
		result = slot_name(a, items[i].record->node.id);
	slots_sort(a);
	if (!result && a->slots.n < a->delta->peers.n)
		ctl_map_bad(a->map, "Peers: a node is in the list twice; the last one counts");
	for (uint32_t i = 0; !result && i < a->delta->peers.n; i++)
		put_item(a, &items[i]);
	return result;
}

static int patch_slot(struct slot *slot, const struct ctl_patch *patch)
{
	struct ctl_record *made = ctl_record_patch(slot->record, patch);

	if (!made)
		return -ENOMEM;
	slot_set(slot, made, true);
	return 0;
}

static int apply_seen(struct apply *a)
{
	const struct ctl_flag *flags = a->delta->seen.items;
	int result = 0;

	for (uint32_t i = 0; !result && i < a->delta->seen.n; i++) {
		struct slot *slot = slot_find(a, flags[i].id);
		struct ctl_record *made;

		if (!slot->record)
			continue;
		made = ctl_record_new(&slot->record->node, flags[i].value ? a->now * 1000000000
									  : 0);
		if (made)
			slot_set(slot, made, true);
		else
			result = -ENOMEM;
	}
	return result;
}

static int apply_online(struct apply *a)
{
	const struct ctl_flag *flags = a->delta->online.items;
	int result = 0;

	for (uint32_t i = 0; !result && i < a->delta->online.n; i++) {
		const struct ctl_patch patch = {
			.online = flags[i].value ? WARREN_TRI_YES : WARREN_TRI_NO,
		};
		struct slot *slot = slot_find(a, flags[i].id);

		if (slot->record)
			result = patch_slot(slot, &patch);
	}
	return result;
}

/* Section 6.5, step 5: what an offline peer is said to have had earlier is not news. */
static bool is_stale(const struct ctl_patch *patch, const struct ctl_record *stored)
{
	return !ctl_key_is_zero(&patch->disco_key) && patch->online == WARREN_TRI_NO &&
	       patch->last_seen_ns && stored->last_seen_ns &&
	       patch->last_seen_ns <= stored->last_seen_ns;
}

static int apply_patches(struct apply *a)
{
	const struct ctl_patch *patches = a->delta->patches.items;
	int result = 0;

	for (uint32_t i = 0; !result && i < a->delta->patches.n; i++) {
		struct slot *slot = slot_find(a, patches[i].id);
		const struct ctl_record *stored = ctl_table_get(a->from.peers, patches[i].id);

		if (slot->record && !(stored && is_stale(&patches[i], stored)))
			result = patch_slot(slot, &patches[i]);
	}
	return result;
}

/* This node may have become another one, which was a peer before. */
static bool self_was_peer(const struct apply *a)
{
	return ctl_table_get(a->from.peers, a->to.self->node.id) != NULL;
}

static int fill_delta(struct apply *a)
{
	struct ctl_item *changed = a->delta->changed.items;
	const int64_t *removed = a->delta->removed.items;
	int result = self_was_peer(a) ? slot_name(a, a->to.self->node.id) : 0;

	if (!result)
		result = slots_open(a);
	if (!result && self_was_peer(a))
		slot_set(slot_find(a, a->to.self->node.id), NULL, false);
	for (uint32_t i = 0; !result && i < a->delta->removed.n; i++)
		slot_set(slot_find(a, removed[i]), NULL, false);
	for (uint32_t i = 0; !result && i < a->delta->changed.n; i++)
		put_item(a, &changed[i]);
	if (!result)
		result = apply_seen(a);
	if (!result)
		result = apply_online(a);
	return result ? result : apply_patches(a);
}

/*
 * ---- The new table ----
 */

static int add_change(struct apply *a, uint32_t what, const struct warren_node *before,
		      const struct warren_node *after, uint32_t fields)
{
	struct ctl_changes *changes = &a->changes;
	uint32_t room = changes->room ? 2 * changes->room : 8;
	struct warren_netmap_change *grown;

	if (changes->n == changes->room) {
		grown = reallocarray(changes->list, room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		changes->list = grown;
		changes->room = room;
	}
	changes->list[changes->n++] = (struct warren_netmap_change){
		.what = what, .fields = fields, .before = before, .after = after,
	};
	return 0;
}

static bool same_record(const struct ctl_record *x, const struct ctl_record *y)
{
	return x->last_seen_ns == y->last_seen_ns && !ctl_node_diff(&x->node, &y->node);
}

/*
 * Settles one record against the one @before: the result is what goes into the table. A record
 * that is new belongs to the snapshot from here on; one whose key has expired is wrapped. NULL: no
 * memory.
 */
static struct ctl_record *settle(struct apply *a, struct ctl_record *before, struct slot *slot,
				 bool self)
{
	struct ctl_record *base = slot->record, *made;

	if (before && slot->owned && same_record(ctl_record_base(before), base)) {
		slot_set(slot, ctl_record_base(before), false);
		base = slot->record;
	}
	if (before && before != base && ctl_record_base(before) == base)
		return before;
	made = ctl_clock_expired(a->map, &base->node) ? ctl_record_expired(base, self) : base;
	if (made && (made != base || slot->owned)) {
		link_owned(&a->born, &made->owned);
		slot->owned = false;
	}
	return made;
}

static void bury(struct apply *a, struct ctl_record *old, const struct ctl_record *made)
{
	/* One that was wrapped lives on inside. */
	if (old && !(made && made->owned.also == &old->owned))
		link_owned(&a->dead, &old->owned);
}

static void table_put(struct ctl_table *table, int64_t id, const struct warren_node *node)
{
	table->ids[table->n] = id;
	table->nodes[table->n++] = node;
}

/* The table's bound of expiry, for a record that comes in. */
static void table_bound(struct ctl_table *table, const struct warren_node *node)
{
	if (!node->expired && node->key_expiry && node->key_expiry < table->next_expiry)
		table->next_expiry = node->key_expiry;
}

/* One id: @old or NULL before, @slot or NULL after. */
static int merge_one(struct apply *a, struct ctl_table *table, struct ctl_record *old,
		     struct slot *slot)
{
	struct ctl_record *made = NULL;
	uint32_t fields;

	if (slot && slot->record) {
		made = settle(a, old, slot, false);
		if (!made)
			return -ENOMEM;
		table_put(table, made->node.id, &made->node);
	}
	if (made == old)
		return 0;
	a->touched = true;
	bury(a, old, made);
	if (!made)
		return add_change(a, WARREN_CHANGE_REMOVED, &old->node, NULL, 0);
	if (!old)
		return add_change(a, WARREN_CHANGE_ADDED, NULL, &made->node, 0);
	fields = ctl_node_diff(&old->node, &made->node);
	return fields ? add_change(a, WARREN_CHANGE_MODIFIED, &old->node, &made->node, fields) : 0;
}

/* The slots are all that there is. */
static int merge_full(struct apply *a, struct ctl_table *table)
{
	const struct ctl_table *before = a->before ? a->before->state.peers : NULL;
	uint32_t n_before = before ? before->n : 0, i = 0, k = 0;
	struct slot *slots = a->slots.items;
	int result = 0;

	while (!result && (i < n_before || k < a->slots.n)) {
		bool old = i < n_before && (k == a->slots.n || before->ids[i] <= slots[k].id);
		bool now = k < a->slots.n && (i == n_before || slots[k].id <= before->ids[i]);

		result = merge_one(a, table, old ? ctl_record_of(before->nodes[i]) : NULL,
				   now ? &slots[k] : NULL);
		i += old;
		k += now;
	}
	for (i = 0; i < table->n; i++)
		table_bound(table, table->nodes[i]);
	return result;
}

static void copy_segment(struct ctl_table *to, const struct ctl_table *from, uint32_t at,
			 uint32_t end)
{
	if (!from || at == end)
		return;
	memcpy(&to->ids[to->n], &from->ids[at], (end - at) * sizeof(*to->ids));
	memcpy(&to->nodes[to->n], &from->nodes[at], (end - at) * sizeof(*to->nodes));
	to->n += end - at;
}

/* The slots replace what the table has of them. */
static int merge_delta(struct apply *a, struct ctl_table *table)
{
	const struct ctl_table *from = a->from.peers;
	struct slot *slots = a->slots.items;
	uint32_t at = 0;
	int result = 0;

	table->next_expiry = from ? from->next_expiry : INT64_MAX;
	for (uint32_t i = 0; !result && i < a->slots.n; i++) {
		bool there;
		uint32_t end = ctl_table_find(from, slots[i].id, &there), n;
		struct ctl_record *old = there ? ctl_record_of(from->nodes[end]) : NULL;

		copy_segment(table, from, at, end);
		n = table->n;
		result = merge_one(a, table, old, &slots[i]);
		if (table->n > n)
			table_bound(table, table->nodes[n]);
		at = end + there;
	}
	copy_segment(table, from, at, from ? from->n : 0);
	return result;
}

static int merge_peers(struct apply *a, bool full)
{
	uint32_t n_from = a->from.peers ? a->from.peers->n : 0;
	struct ctl_table *before = a->before ? a->before->state.peers : NULL;
	struct ctl_table *table;
	int result;

	if (!full && !a->slots.n) {
		a->to.peers = ctl_part_ref(a->from.peers);
		return 0;
	}
	table = ctl_table_new(a->slots.n + (full ? 0 : n_from));
	if (!table)
		return -ENOMEM;
	result = full ? merge_full(a, table) : merge_delta(a, table);
	if (!result && table->n > a->map->limits.peers_max)
		result = -EMSGSIZE;
	if (result || (before && !a->touched)) {
		ctl_part_unref(table);
		a->to.peers = result ? NULL : ctl_part_ref(before);
		return result;
	}
	a->to.peers = table;
	return 0;
}

/*
 * ---- Self and users ----
 */

static int apply_self(struct apply *a)
{
	struct ctl_record *old = a->before ? a->before->state.self : NULL;
	struct ctl_item *item = &a->delta->self;
	struct slot slot = { .record = item->record, .owned = !item->shared };

	if (!item->record) {
		if (!a->from.self)
			return ctl_map_error(a->map, -EBADMSG, "the first message of the map does "
					     "not say what this node is");
		/* Its key may have expired meanwhile. */
		slot.record = ctl_record_base(a->from.self);
		slot.owned = false;
	}
	item->record = NULL;
	a->to.self = settle(a, old, &slot, true);
	slot_set(&slot, NULL, false);
	if (!a->to.self)
		return -ENOMEM;
	if (a->to.self != old)
		bury(a, old, a->to.self);
	return 0;
}

static int user_order(const void *a, const void *b)
{
	int64_t x = (*(struct ctl_user *const *)a)->user.id;
	int64_t y = (*(struct ctl_user *const *)b)->user.id;

	return (x > y) - (x < y);
}

static bool same_user(const struct ctl_user *x, const struct ctl_user *y)
{
	return x && y && x->user.id == y->user.id && str_equal(x->user.login, y->user.login) &&
	       str_equal(x->user.name, y->user.name) && str_equal(x->user.picture, y->user.picture);
}

/* Users that turn out to be known are replaced by those; which of them are new is in @born. */
static void share_users(struct apply *a, struct ctl_users *users)
{
	const struct ctl_users *before = a->before ? a->before->state.users : NULL;
	uint32_t k = 0;

	for (uint32_t i = 0; i < users->n; i++) {
		struct ctl_user *known = ctl_users_get(before, users->users[i].id);

		if (known == users->records[i])
			continue;
		if (same_user(known, users->records[i])) {
			ctl_owned_free(&users->records[i]->owned);
			users->records[i] = known;
			users->users[i] = known->user;
		} else {
			link_owned(&a->born, &users->records[i]->owned);
		}
	}
	for (uint32_t i = 0; before && i < before->n; i++) {
		while (k < users->n && users->users[k].id < before->users[i].id)
			k++;
		if (k == users->n || users->records[k] != before->records[i])
			link_owned(&a->dead, &before->records[i]->owned);
	}
}

static void users_put(struct ctl_users *users, struct ctl_user *user)
{
	users->records[users->n] = user;
	users->users[users->n++] = user->user;
}

/* Takes the delta's users into a new list, merged with those from before. */
static void merge_users(struct apply *a, struct ctl_users *users)
{
	const struct ctl_users *from = a->from.users;
	struct ctl_user **now = a->delta->users.items;
	uint32_t n_now = a->delta->users.n, i = 0;

	if (n_now)
		qsort(now, n_now, sizeof(struct ctl_user *), user_order);
	for (uint32_t k = 0; k < n_now; k++) {
		struct ctl_user *user = now[k];

		now[k] = NULL;
		while (from && i < from->n && from->users[i].id < user->user.id)
			users_put(users, from->records[i++]);
		if (from && i < from->n && from->users[i].id == user->user.id)
			i++;
		if (k + 1 < n_now && now[k + 1]->user.id == user->user.id)
			ctl_owned_free(&user->owned);
		else
			users_put(users, user);
	}
	while (from && i < from->n)
		users_put(users, from->records[i++]);
}

static int apply_users(struct apply *a)
{
	struct ctl_users *before = a->before ? a->before->state.users : NULL, *users;
	uint32_t n = (a->from.users ? a->from.users->n : 0) + a->delta->users.n;
	bool same;

	if (!a->delta->users.n && a->from.users == before) {
		a->to.users = ctl_part_ref(before);
		return 0;
	}
	users = ctl_users_new(n);
	if (!users)
		return -ENOMEM;
	merge_users(a, users);
	share_users(a, users);
	same = before && users->n == before->n &&
	       !memcmp(users->records, before->records, users->n * sizeof(*users->records));
	if (same) {
		ctl_part_unref(users);
		users = ctl_part_ref(before);
	}
	a->to.users = users;
	return users->n > a->map->limits.users_max ? -EMSGSIZE : 0;
}

/*
 * ---- The other parts ----
 */

static bool same_filters(const struct ctl_filters *x, const struct ctl_filters *y)
{
	if (!x || !y || x->n_named != y->n_named)
		return false;
	return !x->n_named || !memcmp(x->named, y->named, x->n_named * sizeof(*x->named));
}

/* PacketFilter is the name "base", and comes before PacketFilters. */
static int apply_filters(struct apply *a)
{
	struct ctl_filters *before = a->before ? a->before->state.filters : NULL;
	const struct ctl_filter_change base = { "base", a->delta->filter };
	struct ctl_filters *first = NULL, *made;
	int result = 0;

	if (!a->delta->filter && !a->delta->filters.n) {
		a->to.filters = ctl_part_ref(a->from.filters);
		return 0;
	}
	if (a->delta->filter) {
		first = ctl_filters_new(a->from.filters, &base, 1, &a->map->limits, &result);
		if (!first)
			return result;
	}
	made = ctl_filters_new(first ? first : a->from.filters, a->delta->filters.items,
			       a->delta->filters.n, &a->map->limits, &result);
	ctl_filters_unref(first);
	if (made && same_filters(made, before)) {
		ctl_filters_unref(made);
		made = ctl_part_ref(before);
	}
	a->to.filters = made;
	return made ? 0 : result;
}

static bool same_texts(const char *const *x, uint32_t n_x, const char *const *y, uint32_t n_y)
{
	for (uint32_t i = 0; n_x == n_y && i < n_x; i++) {
		if (!str_equal(x[i], y[i]))
			return false;
	}
	return n_x == n_y;
}

static bool same_health(const struct ctl_health *x, const struct ctl_health *y)
{
	if (!y || !same_texts(x->health, x->n_health, y->health, y->n_health) ||
	    x->n_messages != y->n_messages)
		return false;
	for (uint32_t i = 0; i < x->n_messages; i++) {
		if (!str_equal(x->messages[i].id, y->messages[i].id) ||
		    !str_equal(x->messages[i].json, y->messages[i].json))
			return false;
	}
	return true;
}

static void health_left_out(void *arg, const char *why)
{
	ctl_map_bad(arg, why);
}

static int apply_health(struct apply *a)
{
	struct ctl_health *before = a->before ? a->before->state.health : NULL, *made;
	struct ctl_parse p = { .list_max = 1000, .left_out = health_left_out, .arg = a->map };

	if (!a->delta->health && !a->delta->messages) {
		a->to.health = ctl_part_ref(a->from.health);
		return 0;
	}
	made = ctl_health_new(&p, a->delta->health, a->delta->messages, a->from.health);
	if (p.no_memory)
		return -ENOMEM;
	if (!made) {
		ctl_map_bad(a->map, p.why);
		made = ctl_part_ref(a->from.health);
	} else if (same_health(made, before)) {
		ctl_part_unref(made);
		made = ctl_part_ref(before);
	}
	a->to.health = made;
	return 0;
}

static void apply_parts(struct apply *a)
{
	const struct ctl_delta *d = a->delta;

	a->to.dns = ctl_part_ref(d->dns ? d->dns : a->from.dns);
	a->to.relays = ctl_part_ref(d->relays ? d->relays : a->from.relays);
	a->to.ssh = ctl_part_ref(d->ssh ? d->ssh : a->from.ssh);
	a->to.domain = ctl_part_ref(d->domain ? d->domain : a->from.domain);
}

/*
 * ---- All of it ----
 */

static bool nothing_new(const struct apply *a)
{
	const struct ctl_state *x = &a->to, *y;

	if (!a->before)
		return false;
	y = &a->before->state;
	return x->self == y->self && x->peers == y->peers && x->users == y->users &&
	       x->filters == y->filters && x->dns == y->dns && x->relays == y->relays &&
	       x->ssh == y->ssh && x->health == y->health && x->domain == y->domain;
}

/* What was made is thrown away; what it wraps stays with the snapshot before. */
static void undo(struct apply *a)
{
	const struct ctl_state *before = a->before ? &a->before->state : NULL;

	while (a->born) {
		struct ctl_owned *next = a->born->next, *also = a->born->also;
		const struct ctl_record *inner = also
			? CONTAINER_OF(also, struct ctl_record, owned) : NULL;

		if (inner && before &&
		    (before->self == inner || ctl_table_get(before->peers,
			inner->node.id) == inner))
			a->born->also = NULL;
		ctl_owned_free(a->born);
		a->born = next;
	}
	ctl_state_unref(&a->to);
	free(a->changes.list);
}

static int install(struct apply *a)
{
	struct ctl_map *map = a->map;
	struct ctl_snapshot *made;

	if (nothing_new(a)) {
		undo(a);
		return 0;
	}
	made = ctl_snapshot_new(a->before, &a->to, &a->changes, a->dead);
	if (!made) {
		undo(a);
		return -ENOMEM;
	}
	pthread_mutex_lock(&map->lock);
	map->current = made;
	pthread_mutex_unlock(&map->lock);
	map->stats.updated = warren_realtime() / 1000000;
	warren_obj_ref(&made->map);
	if (map->events->published)
		map->events->published(map->arg, &made->map);
	warren_obj_unref(&made->map);
	if (a->before)
		warren_obj_unref(&a->before->map);
	return 0;
}

static int finish(struct apply *a, int result)
{
	slots_free(a);
	if (result) {
		undo(a);
		if (result == -ENOMEM)
			ctl_map_error(a->map, result, "out of memory");
		else if (result == -EMSGSIZE)
			ctl_map_error(a->map, result, "the map has more peers, users or rules "
				      "than are allowed");
		return result;
	}
	result = install(a);
	return result ? ctl_map_error(a->map, result, "out of memory") : 0;
}

static void begin(struct apply *a, struct ctl_map *map, struct ctl_delta *delta, bool fresh)
{
	memset(a, 0, sizeof(*a));
	a->map = map;
	a->delta = delta;
	a->before = map->current;
	a->now = ctl_map_time(map);
	if (a->before && !fresh)
		a->from = a->before->state;
}

/* All but this node and its peers. */
static int apply_rest(struct apply *a)
{
	int result = apply_users(a);

	if (!result)
		result = apply_filters(a);
	if (!result)
		result = apply_health(a);
	if (!result)
		apply_parts(a);
	return result;
}

int ctl_apply(struct ctl_map *map, struct ctl_delta *delta, bool fresh)
{
	struct apply a;
	bool full;
	int result;

	begin(&a, map, delta, fresh);
	/* An empty list, or one of bad records only, is no list of all (pitfall 16). */
	full = delta->peers.n > 0;
	result = apply_self(&a);
	if (!result)
		result = full ? fill_full(&a) : fill_delta(&a);
	if (!result)
		result = merge_peers(&a, full || fresh);
	if (!result)
		result = apply_rest(&a);
	return finish(&a, result);
}

int ctl_apply_expiry(struct ctl_map *map)
{
	struct ctl_delta none = { 0 };
	struct slot *slot;
	struct apply a;
	int result = 0;

	begin(&a, map, &none, false);
	for (uint32_t i = 0; !result && a.from.peers && i < a.from.peers->n; i++) {
		if (!ctl_clock_expired(map, a.from.peers->nodes[i]))
			continue;
		result = slot_name(&a, a.from.peers->ids[i]);
		if (result)
			break;
		slot = (struct slot *)a.slots.items + (a.slots.n - 1);
		slot->record = ctl_record_of(a.from.peers->nodes[i]);
	}
	if (!result && a.from.self)
		result = apply_self(&a);
	if (!result)
		result = merge_peers(&a, false);
	if (!result)
		result = apply_rest(&a);
	return finish(&a, result);
}

int ctl_apply_nothing(struct ctl_map *map)
{
	struct ctl_delta none = { 0 };
	struct apply a;
	int result;

	begin(&a, map, &none, true);
	if (a.before && a.before->state.self)
		bury(&a, a.before->state.self, NULL);
	result = merge_peers(&a, true);
	if (!result)
		result = apply_users(&a);
	return finish(&a, result);
}
