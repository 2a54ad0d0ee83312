/*
 * From the pieces of a map message to a delta. Nothing of the map is touched here: what a message
 * says is collected, and applied in its own order when it ended well.
 *
 * A piece that is no JSON makes the message malformed. A piece that is JSON but holds what a record
 * must not is bad: it is reported and left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "map_impl.h"

enum { FILTER_NAMES_MAX = 4096 };

const char *const ctl_decode_split[] = {
	"Peers", "PeersChanged", "PeersRemoved", "PeersChangedPatch", "PeerSeenChange",
	"OnlineChange", "PacketFilter", "PacketFilters", "UserProfiles", NULL,
};
const char *const ctl_decode_deep[] = { "PacketFilters", NULL };

/*
 * ---- Lists that grow ----
 */

void *ctl_vec_add(struct ctl_vec *vec, size_t size)
{
	uint32_t room = vec->room ? 2 * vec->room : 8;
	void *grown;

	if (vec->n == vec->room) {
		grown = reallocarray(vec->items, room, size);
		if (!grown)
			return NULL;
		vec->items = grown;
		vec->room = room;
	}
	return memset((char *)vec->items + size * vec->n++, 0, size);
}

void ctl_vec_free(struct ctl_vec *vec)
{
	free(vec->items);
	memset(vec, 0, sizeof(*vec));
}

static void free_items(struct ctl_vec *vec)
{
	struct ctl_item *items = vec->items;

	for (uint32_t i = 0; i < vec->n; i++) {
		if (items[i].record && !items[i].shared)
			ctl_owned_free(&items[i].record->owned);
	}
	ctl_vec_free(vec);
}

void ctl_delta_clear(struct ctl_delta *delta)
{
	struct ctl_user **users = delta->users.items;
	struct ctl_filter_change *filters = delta->filters.items;

	if (delta->self.record && !delta->self.shared)
		ctl_owned_free(&delta->self.record->owned);
	free_items(&delta->peers);
	free_items(&delta->changed);
	for (uint32_t i = 0; i < delta->users.n; i++) {
		if (users[i])
			ctl_owned_free(&users[i]->owned);
	}
	for (uint32_t i = 0; i < delta->filters.n; i++)
		ctl_part_unref(filters[i].filter);
	ctl_vec_free(&delta->users);
	ctl_vec_free(&delta->filters);
	ctl_vec_free(&delta->removed);
	ctl_vec_free(&delta->seen);
	ctl_vec_free(&delta->online);
	ctl_vec_free(&delta->patches);
	ctl_filter_abort(&delta->build);
	ctl_part_unref(delta->filter);
	ctl_part_unref(delta->dns);
	ctl_part_unref(delta->relays);
	ctl_part_unref(delta->ssh);
	ctl_part_unref(delta->domain);
	json_decref(delta->health);
	json_decref(delta->messages);
	arena_free(&delta->arena);
	memset(delta, 0, sizeof(*delta));
}

/*
 * ---- Pieces ----
 */

static void left_out(void *arg, const char *why)
{
	ctl_map_bad(arg, why);
}

struct ctl_parse ctl_decode_parse(struct ctl_map *map, struct arena *arena)
{
	return (struct ctl_parse){ .arena = arena, .list_max = map->limits.list_max,
				   .left_out = left_out, .arg = map };
}

int ctl_decode_done(struct ctl_map *map, const struct ctl_parse *p, const char *what)
{
	char why[sizeof(p->why) + 400];

	if (!p->failed)
		return 0;
	if (p->no_memory)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	(void)snprintf(why, sizeof(why), "%s: %s", what, p->why);
	ctl_map_bad(map, why);
	return 0;
}

/* The value of a piece; NULL with *@result 0: it was bad, and that is told. */
static json_t *load(struct ctl_map *map, const struct warren_json_piece *piece, int *result)
{
	json_error_t error;
	json_t *value = json_loadb(piece->text, piece->len, JSON_DECODE_ANY, &error);
	const char *what = "a number that is too big";
	char why[400];

	*result = 0;
	if (value)
		return value;
	switch (json_error_code(&error)) {
	case json_error_null_character:
	case json_error_invalid_utf8:
		what = "text that is not UTF-8, or has a NUL";
		__attribute__((fallthrough));
	case json_error_numeric_overflow:
		(void)snprintf(why, sizeof(why), "%s: %s", piece->key, what);
		ctl_map_bad(map, why);
		return NULL;
	case json_error_out_of_memory:
		*result = ctl_map_error(map, -ENOMEM, "out of memory");
		return NULL;
	default:
		*result = ctl_map_error(map, -EBADMSG, "not JSON, at byte %d of a value",
					error.position);
		return NULL;
	}
}

/* "peer 12 (gw.example.)" for reports. */
static void name_node(char *out, size_t size, const char *what, int64_t id, const char *name)
{
	AUTO(str_free) struct str clean = STR_INIT;

	if (name)
		str_add_clean(&clean, name, strlen(name), 100);
	(void)snprintf(out, size, "%s %" PRId64 "%s%s%s", what, id, name ? " (" : "",
		       str_text(&clean), name ? ")" : "");
}

/*
 * ---- Nodes ----
 */

static void digest(const struct warren_json_piece *piece, uint8_t out[CTL_DIGEST])
{
	crypto_generichash(out, CTL_DIGEST, (const uint8_t *)piece->text, piece->len, NULL, 0);
}

/* The record of that id in the newest snapshot, as the server sent it. */
static struct ctl_record *known_record(const struct ctl_map *map, int64_t id, bool self)
{
	const struct ctl_state *state;
	struct ctl_record *record;

	if (!map->current)
		return NULL;
	state = &map->current->state;
	record = self ? state->self : ctl_table_get(state->peers, id);
	return record ? ctl_record_base(record) : NULL;
}

/*
 * Section 6.5, step 5: in a full list, an offline peer that was not seen since does not bring back
 * an older disco key. True: the view is not what the server sent.
 */
static bool keep_disco(const struct ctl_map *map, const struct ctl_record *known,
		       struct warren_node *view, int64_t last_seen_ns)
{
	if (map->fresh || !known || view->online != WARREN_TRI_NO ||
	    ctl_key_is_zero(&view->disco_key) || ctl_key_is_zero(&known->node.disco_key) ||
	    !last_seen_ns || !known->last_seen_ns || last_seen_ns > known->last_seen_ns ||
	    !memcmp(&view->disco_key, &known->node.disco_key, sizeof(view->disco_key)))
		return false;
	view->disco_key = known->node.disco_key;
	return true;
}

static int make_item(struct ctl_map *map, const struct warren_json_piece *piece,
		     struct ctl_record *known, struct warren_node *view, int64_t last_seen_ns,
		     bool kept, struct ctl_item *item)
{
	if (known && known->last_seen_ns == last_seen_ns && !ctl_node_diff(&known->node, view)) {
		item->record = known;
		item->shared = true;
		return 0;
	}
	item->record = ctl_record_new(view, last_seen_ns);
	if (!item->record)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	if (!kept)
		digest(piece, item->record->digest);
	return 0;
}

enum node_kind { NODE_SELF, NODE_FULL, NODE_CHANGED };

/* @item stays empty where the record is bad. */
static int read_node(struct ctl_map *map, const struct warren_json_piece *piece,
		     enum node_kind kind, struct ctl_item *item)
{
	struct arena arena = ARENA_INIT;
	struct ctl_parse p = ctl_decode_parse(map, &arena);
	struct warren_node view = { 0 };
	struct ctl_record *known;
	int64_t last_seen_ns = 0;
	bool kept = false;
	char what[256];
	int result;
	json_t *o = load(map, piece, &result);

	if (!o)
		return result;
	if (ctl_node_parse(&p, o, kind == NODE_SELF, &view, &last_seen_ns)) {
		known = known_record(map, view.id, kind == NODE_SELF);
		if (kind == NODE_FULL)
			kept = keep_disco(map, known, &view, last_seen_ns);
		result = make_item(map, piece, known, &view, last_seen_ns, kept, item);
	} else {
		name_node(what, sizeof(what), kind == NODE_SELF ? "this node" : "peer", view.id,
			  view.name);
		result = ctl_decode_done(map, &p, what);
	}
	json_decref(o);
	arena_free(&arena);
	return result;
}

/*
 * A server that sends the same again, as some do with everything, is answered from what is known.
 * The id is at the front of what Go writes; any other text is read in full.
 */
static bool same_as_known(struct ctl_map *map, const struct warren_json_piece *piece,
			  struct ctl_item *item)
{
	static const char start[] = "{\"ID\":";
	struct ctl_record *known;
	uint8_t now[CTL_DIGEST];
	char number[24];
	size_t n = 0;

	if (piece->len < sizeof(start) || memcmp(piece->text, start, sizeof(start) - 1))
		return false;
	for (size_t i = sizeof(start) - 1; i < piece->len && n < sizeof(number) - 1 &&
	     piece->text[i] >= '0' && piece->text[i] <= '9'; i++)
		number[n++] = piece->text[i];
	number[n] = '\0';
	known = known_record(map, strtoll(number, NULL, 10), false);
	if (!known)
		return false;
	digest(piece, now);
	if (sodium_memcmp(now, known->digest, sizeof(now)))
		return false;
	item->record = known;
	item->shared = true;
	return true;
}

static int add_peer(struct ctl_map *map, const struct warren_json_piece *piece,
		    struct ctl_vec *vec, enum node_kind kind)
{
	struct ctl_item item = { 0 }, *slot;
	int result = 0;

	if (!same_as_known(map, piece, &item))
		result = read_node(map, piece, kind, &item);
	if (result || !item.record)
		return result;
	slot = ctl_vec_add(vec, sizeof(*slot));
	if (!slot) {
		if (!item.shared)
			ctl_owned_free(&item.record->owned);
		return ctl_map_error(map, -ENOMEM, "out of memory");
	}
	*slot = item;
	return 0;
}

static int add_removed(struct ctl_map *map, const json_t *value)
{
	int64_t *id;

	if (!json_is_integer(value)) {
		ctl_map_bad(map, "PeersRemoved: an element is not a number");
		return 0;
	}
	id = ctl_vec_add(&map->delta.removed, sizeof(*id));
	if (!id)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	*id = json_integer_value(value);
	return 0;
}

static int add_flag(struct ctl_map *map, struct ctl_vec *vec, const char *key, const char *name,
		    const json_t *value)
{
	struct ctl_flag *flag;
	char why[128], *end;
	int64_t id;

	errno = 0;
	id = strtoll(name, &end, 10);
	if (errno || end == name || *end || !json_is_boolean(value)) {
		(void)snprintf(why, sizeof(why), "%s: a member is no node with true or false", key);
		ctl_map_bad(map, why);
		return 0;
	}
	flag = ctl_vec_add(vec, sizeof(*flag));
	if (!flag)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	flag->id = id;
	flag->value = json_is_true(value);
	return 0;
}

static int add_patch(struct ctl_map *map, const json_t *value)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);
	struct ctl_patch patch, *slot;
	char what[64];

	if (!ctl_patch_parse(&p, value, &patch)) {
		(void)snprintf(what, sizeof(what), "patch of peer %" PRId64, patch.id);
		return ctl_decode_done(map, &p, what);
	}
	slot = ctl_vec_add(&map->delta.patches, sizeof(*slot));
	if (!slot)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	*slot = patch;
	return 0;
}

static int add_user(struct ctl_map *map, const json_t *value)
{
	struct arena arena = ARENA_INIT;
	struct ctl_parse p = ctl_decode_parse(map, &arena);
	struct ctl_user *user = ctl_user_parse(&p, value), **slot;

	arena_free(&arena);
	if (!user)
		return ctl_decode_done(map, &p, "user profile");
	slot = ctl_vec_add(&map->delta.users, sizeof(struct ctl_user *));
	if (!slot) {
		ctl_owned_free(&user->owned);
		return ctl_map_error(map, -ENOMEM, "out of memory");
	}
	*slot = user;
	return 0;
}

/*
 * ---- Packet filters ----
 */

static int filter_begin(struct ctl_map *map, const char *name)
{
	ctl_filter_abort(&map->delta.build);
	if (ctl_filter_begin(&map->delta.build, name, map->limits.rules_max,
			     map->limits.rule_ips_max))
		return ctl_map_error(map, -ENOMEM, "out of memory");
	return 0;
}

static int filter_rule(struct ctl_map *map, const struct warren_json_piece *piece)
{
	struct arena arena = ARENA_INIT;
	struct ctl_parse p = ctl_decode_parse(map, &arena);
	int result;
	json_t *o = load(map, piece, &result);

	if (!o)
		return result;
	result = ctl_filter_rule(&map->delta.build, &p, o, piece->text, piece->len);
	json_decref(o);
	arena_free(&arena);
	if (result == -EMSGSIZE)
		return ctl_map_error(map, result, "the packet filter has more than %u rules or %u "
				     "addresses", map->limits.rules_max, map->limits.rule_ips_max);
	return result ? ctl_map_error(map, result, "out of memory") : 0;
}

/* A filter that is as we have it already is that one: then nothing has changed. */
static struct ctl_filter *filter_share(const struct ctl_map *map, struct ctl_filter *made)
{
	const struct ctl_filters *known = map->current ? map->current->state.filters : NULL;

	for (uint32_t i = 0; known && i < known->n_named; i++) {
		if (strcmp(known->named[i]->name, made->name) ||
		    strcmp(known->named[i]->json, made->json))
			continue;
		ctl_part_unref(made);
		return ctl_part_ref(known->named[i]);
	}
	return made;
}

static int filter_end(struct ctl_map *map, struct ctl_filter **out)
{
	struct ctl_filter *made = ctl_filter_end(&map->delta.build);

	if (!made)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	ctl_part_unref(*out);
	*out = filter_share(map, made);
	return 0;
}

static bool is_filter_name(struct ctl_map *map, const char *name)
{
	if (strlen(name) <= CTL_TEXT_MAX)
		return true;
	ctl_map_bad(map, "PacketFilters: a name that is too long");
	return false;
}

/* @filter NULL: the name goes. Takes @filter. */
static int add_change(struct ctl_map *map, const char *name, struct ctl_filter *filter)
{
	const char *copy = arena_text(&map->delta.arena, name, strlen(name));
	struct ctl_filter_change *change = copy ? ctl_vec_add(&map->delta.filters, sizeof(*change))
						: NULL;

	if (!change) {
		ctl_part_unref(filter);
		return ctl_map_error(map, -ENOMEM, "out of memory");
	}
	change->name = copy;
	change->filter = filter;
	return 0;
}

/* A value in PacketFilters that is no list of rules. */
static int filter_value(struct ctl_map *map, const struct warren_json_piece *piece)
{
	if (piece->len == 4 && !memcmp(piece->text, "null", 4))
		return is_filter_name(map, piece->name) ? add_change(map, piece->name, NULL) : 0;
	ctl_map_bad(map, "PacketFilters: a member is not a list of rules");
	return 0;
}

/* The rules of one name come one by one: no filter is ever one tree, nor one turn's work. */
static int filter_list(struct ctl_map *map, const struct warren_json_piece *piece)
{
	map->list_ok = map->member_ok && is_filter_name(map, piece->name);
	return map->list_ok ? filter_begin(map, piece->name) : 0;
}

static int filter_list_end(struct ctl_map *map, const struct warren_json_piece *piece)
{
	struct ctl_filter *filter = NULL;
	int result;

	if (!map->list_ok)
		return 0;
	result = filter_end(map, &filter);
	return result ? result : add_change(map, piece->name, filter);
}

/*
 * ---- Members that are read as a whole ----
 */

static int member_dns(struct ctl_map *map, const json_t *o, const struct warren_json_piece *piece)
{
	const struct ctl_dns *known = map->current ? map->current->state.dns : NULL;
	struct ctl_parse p = ctl_decode_parse(map, NULL);

	if (known && strlen(known->json) == piece->len &&
	    !memcmp(known->json, piece->text, piece->len)) {
		map->delta.dns = ctl_part_ref(map->current->state.dns);
		return 0;
	}
	map->delta.dns = ctl_dns_new(&p, o, piece->text, piece->len);
	return ctl_decode_done(map, &p, "DNSConfig");
}

static bool same_text(const char *a, const char *b)
{
	return str_equal(a, b);
}

static int member_relays(struct ctl_map *map, const json_t *o,
	const struct warren_json_piece *piece)
{
	struct ctl_relays *known = map->current ? map->current->state.relays : NULL, *made;
	struct ctl_parse p = ctl_decode_parse(map, NULL);

	(void)piece;
	made = ctl_relays_new(&p, o, map->fresh ? NULL : known);
	if (made && known && same_text(made->regions_json, known->regions_json) &&
	    same_text(made->params_json, known->params_json)) {
		ctl_part_unref(made);
		made = ctl_part_ref(known);
	}
	map->delta.relays = made;
	return ctl_decode_done(map, &p, "DERPMap");
}

static int member_ssh(struct ctl_map *map, const json_t *o, const struct warren_json_piece *piece)
{
	struct ctl_ssh *known = map->current ? map->current->state.ssh : NULL;
	struct ctl_parse p = ctl_decode_parse(map, NULL);

	if (known && strlen(known->json) == piece->len &&
	    !memcmp(known->json, piece->text, piece->len)) {
		map->delta.ssh = ctl_part_ref(known);
		return 0;
	}
	map->delta.ssh = ctl_ssh_new(&p, o, piece->text, piece->len);
	if (!map->delta.ssh && !p.no_memory) {
		/* What cannot be read may have taken rights away: none are left. */
		struct ctl_parse empty = ctl_decode_parse(map, NULL);
		json_t *none = json_object();

		map->delta.ssh = ctl_ssh_new(&empty, none, "{\"rules\":[]}", 12);
		json_decref(none);
	}
	return ctl_decode_done(map, &p, "SSHPolicy (no rule holds)");
}

static int member_domain(struct ctl_map *map, const json_t *o,
	const struct warren_json_piece *piece)
{
	struct ctl_text *known = map->current ? map->current->state.domain : NULL;

	(void)piece;
	if (!json_is_string(o) || json_string_length(o) > CTL_TEXT_MAX) {
		ctl_map_bad(map, "Domain: not a string of a sensible length");
		return 0;
	}
	if (!json_string_length(o))
		return 0;
	if (known && !strcmp(known->text, json_string_value(o))) {
		map->delta.domain = ctl_part_ref(known);
		return 0;
	}
	map->delta.domain = ctl_part_new(sizeof(*map->delta.domain));
	if (map->delta.domain)
		map->delta.domain->text = arena_text(&map->delta.domain->part.arena,
						     json_string_value(o), json_string_length(o));
	if (!map->delta.domain || !map->delta.domain->text)
		return ctl_map_error(map, -ENOMEM, "out of memory");
	return 0;
}

static int member_self(struct ctl_map *map, const json_t *o, const struct warren_json_piece *piece)
{
	(void)o;
	return read_node(map, piece, NODE_SELF, &map->delta.self);
}

static const struct {
	const char *key;
	int (*read)(struct ctl_map *map, const json_t *o, const struct warren_json_piece *piece);
} members[] = {
	{ "KeepAlive", ctl_member_flag },
	{ "CollectServices", ctl_member_flag },
	{ "ControlTime", ctl_member_time },
	{ "PingRequest", ctl_member_ping },
	{ "PopBrowserURL", ctl_member_browser },
	{ "Debug", ctl_member_debug },
	{ "ControlDialPlan", ctl_member_plan },
	{ "ClientVersion", ctl_member_version },
	{ "Node", member_self },
	{ "DERPMap", member_relays },
	{ "DNSConfig", member_dns },
	{ "SSHPolicy", member_ssh },
	{ "Domain", member_domain },
	{ "Health", ctl_member_health },
	{ "DisplayMessages", ctl_member_health },
};

static bool is_split(const char *key)
{
	for (size_t i = 0; ctl_decode_split[i]; i++) {
		if (!strcmp(ctl_decode_split[i], key))
			return true;
	}
	return false;
}

/* Unknown members are looked at all the same: a message that is no JSON is no message. */
static int read_member(struct ctl_map *map, const struct warren_json_piece *piece)
{
	char why[128];
	int result;
	json_t *o = load(map, piece, &result);

	if (!o)
		return result;
	if (!json_is_null(o) && is_split(piece->key)) {
		(void)snprintf(why, sizeof(why), "%s: not a list", piece->key);
		ctl_map_bad(map, why);
	}
	for (size_t i = 0; !json_is_null(o) && i < ARRAY_SIZE(members); i++) {
		if (!strcmp(members[i].key, piece->key)) {
			result = members[i].read(map, o, piece);
			break;
		}
	}
	json_decref(o);
	return result;
}

/*
 * ---- Members that come one by one ----
 */

static bool is_map(const char *key)
{
	return !strcmp(key, "PeerSeenChange") || !strcmp(key, "OnlineChange") ||
	       !strcmp(key, "PacketFilters");
}

static int begin_member(struct ctl_map *map, const struct warren_json_piece *piece)
{
	char why[128];

	map->member_ok = (piece->text[0] == '{') == is_map(piece->key);
	if (!map->member_ok) {
		(void)snprintf(why, sizeof(why), "%s: a list for an object, or the reverse",
			       piece->key);
		ctl_map_bad(map, why);
		return 0;
	}
	return strcmp(piece->key, "PacketFilter") ? 0 : filter_begin(map, "base");
}

static bool too_many(const struct ctl_map *map)
{
	const struct ctl_delta *d = &map->delta;
	uint32_t max = map->limits.peers_max;

	return d->peers.n > max || d->changed.n > max || d->removed.n > max || d->seen.n > max ||
	       d->online.n > max || d->patches.n > max || d->users.n > map->limits.users_max ||
	       d->filters.n > FILTER_NAMES_MAX;
}

static int read_value(struct ctl_map *map, const struct warren_json_piece *piece)
{
	struct ctl_delta *d = &map->delta;
	int result;
	json_t *value = load(map, piece, &result);

	if (!value)
		return result;
	if (!strcmp(piece->key, "PeersRemoved"))
		result = add_removed(map, value);
	else if (!strcmp(piece->key, "PeersChangedPatch"))
		result = json_is_null(value) ? 0 : add_patch(map, value);
	else if (!strcmp(piece->key, "PeerSeenChange"))
		result = add_flag(map, &d->seen, piece->key, piece->name, value);
	else if (!strcmp(piece->key, "OnlineChange"))
		result = add_flag(map, &d->online, piece->key, piece->name, value);
	else
		result = add_user(map, value);
	json_decref(value);
	return result;
}

static int read_element(struct ctl_map *map, const struct warren_json_piece *piece)
{
	struct ctl_delta *d = &map->delta;
	int result;

	if (!map->member_ok)
		return 0;
	if (!strcmp(piece->key, "Peers")) {
		result = add_peer(map, piece, &d->peers, NODE_FULL);
	} else if (!strcmp(piece->key, "PeersChanged")) {
		result = add_peer(map, piece, &d->changed, NODE_CHANGED);
	} else if (!strcmp(piece->key, "PacketFilter")) {
		result = filter_rule(map, piece);
	} else if (!strcmp(piece->key, "PacketFilters")) {
		result = filter_value(map, piece);
	} else {
		result = read_value(map, piece);
	}
	if (!result && too_many(map))
		return ctl_map_error(map, -EMSGSIZE, "%s: more elements than are allowed (%u)",
				     piece->key, map->limits.peers_max);
	return result;
}

int ctl_decode_piece(void *arg, const struct warren_json_piece *piece)
{
	struct ctl_map *map = arg;
	int result;

	switch (piece->kind) {
	case WARREN_JSON_MEMBER:
		return read_member(map, piece);
	case WARREN_JSON_BEGIN:
		return begin_member(map, piece);
	case WARREN_JSON_ELEMENT:
		return read_element(map, piece);
	case WARREN_JSON_END:
		if (map->member_ok && !strcmp(piece->key, "PacketFilter"))
			return filter_end(map, &map->delta.filter);
		return 0;
	case WARREN_JSON_LIST:
		return filter_list(map, piece);
	case WARREN_JSON_ITEM:
		return map->list_ok ? filter_rule(map, piece) : 0;
	case WARREN_JSON_LIST_END:
		result = filter_list_end(map, piece);
		return result || !too_many(map) ? result :
		       ctl_map_error(map, -EMSGSIZE, "%s: too many names", piece->key);
	}
	return 0;
}
