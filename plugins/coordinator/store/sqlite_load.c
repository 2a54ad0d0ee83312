/*
 * Reading all rows into records, once, at start. What is not as we write it is damage, and said
 * with its table and id: nothing is guessed, and nothing is left out.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tailnet/make.h"
#include "base/addr.h"
#include "base/util.h"
#include "sqlite_impl.h"

struct reader {
	const struct store_visitor *visitor;
	sqlite3_stmt *stmt;
	int at;				/* next column */
	bool broken;			/* a column was not what it should be */
};

static int64_t get_int(struct reader *r)
{
	return sqlite3_column_int64(r->stmt, r->at++);
}

static bool get_bool(struct reader *r)
{
	return get_int(r) != 0;
}

static const char *get_text(struct reader *r)
{
	return (const char *)sqlite3_column_text(r->stmt, r->at++);
}

static void get_bytes(struct reader *r, uint8_t *out, int len)
{
	const void *bytes = sqlite3_column_blob(r->stmt, r->at);

	if (bytes && sqlite3_column_bytes(r->stmt, r->at) == len)
		memcpy(out, bytes, (size_t)len);
	else
		r->broken = true;
	r->at++;
}

static void get_addr(struct reader *r, struct warren_addr *out, uint8_t family)
{
	const char *text = get_text(r);

	if (text && (addr_parse(text, out) != 0 || out->family != family))
		r->broken = true;
}

static void put_text(struct reader *r, const char **field, size_t max)
{
	const char *text = get_text(r);

	if (!text || !set_text(field, text, max))
		r->broken = true;
}

static void put_strings(struct reader *r, const struct tailnet_strings **field)
{
	if (!store_strings_parse(get_text(r), field))
		r->broken = true;
}

static void put_prefixes(struct reader *r, const struct tailnet_prefixes **field)
{
	if (!store_prefixes_parse(get_text(r), field))
		r->broken = true;
}

static int load_user(struct reader *r)
{
	struct tailnet_user *user = user_new();
	int rc = -EILSEQ;

	if (!user)
		return -ENOMEM;
	user->id = get_int(r);
	user->created = get_int(r);
	put_text(r, &user->login, TAILNET_TEXT);
	put_text(r, &user->display, TAILNET_TEXT);
	put_text(r, &user->email, TAILNET_TEXT);
	put_text(r, &user->picture, TAILNET_URL);
	put_text(r, &user->provider, TAILNET_TEXT);
	put_text(r, &user->subject, TAILNET_URL);
	put_strings(r, &user->groups);
	user->role = (enum tailnet_role)get_int(r);
	user->pinned = get_bool(r);
	if (!r->broken && (unsigned)user->role < TAILNET_ROLES)
		rc = r->visitor->user(r->visitor->self, user);
	tailnet_user_unref(user);
	return rc;
}

static int load_machine(struct reader *r)
{
	struct store_machine machine = { .id = get_int(r), };

	machine.created = get_int(r);
	get_bytes(r, machine.key, sizeof(machine.key));
	return r->broken ? -EILSEQ : r->visitor->machine(r->visitor->self, &machine);
}

static int load_pin(struct reader *r)
{
	int64_t machine = get_int(r), user = get_int(r);

	return r->visitor->pin(r->visitor->self, machine, user);
}

static int load_key(struct reader *r)
{
	struct tailnet_key *key = key_new();
	int rc;

	if (!key)
		return -ENOMEM;
	key->id = get_int(r);
	key->user = get_int(r);
	key->created = get_int(r);
	key->expiry = get_int(r);
	key->used = get_int(r);
	key->revoked = get_int(r);
	get_bytes(r, key->hash, sizeof(key->hash));
	put_text(r, &key->prefix, TAILNET_TEXT);
	put_text(r, &key->note, TAILNET_TEXT);
	put_strings(r, &key->tags);
	key->reusable = get_bool(r);
	key->ephemeral = get_bool(r);
	key->preauthorized = get_bool(r);
	rc = r->broken ? -EILSEQ : r->visitor->key(r->visitor->self, key);
	tailnet_key_unref(key);
	return rc;
}

static void load_soft(struct reader *r, struct tailnet_soft *soft)
{
	const char *hostinfo;

	get_bytes(r, soft->disco_key, sizeof(soft->disco_key));
	if (!store_endpoints_parse(get_text(r), &soft->endpoints))
		r->broken = true;
	hostinfo = get_text(r);
	if (!set_bytes(&soft->hostinfo, hostinfo, hostinfo ? strlen(hostinfo) : 0))
		r->broken = true;
	soft->home_derp = (uint32_t)get_int(r);
	soft->capver = (uint32_t)get_int(r);
	soft->last_seen = get_int(r);
}

static int load_node(struct reader *r)
{
	struct tailnet_node *node = node_new();
	int rc;

	if (!node)
		return -ENOMEM;
	node->id = get_int(r);
	node->machine = get_int(r);
	get_bytes(r, node->machine_key, sizeof(node->machine_key));
	node->user = get_int(r);
	node->auth_key = get_int(r);
	node->created = get_int(r);
	node->expiry = get_int(r);
	get_bytes(r, node->node_key, sizeof(node->node_key));
	get_addr(r, &node->v4, 4);
	get_addr(r, &node->v6, 6);
	put_text(r, &node->name, TAILNET_LABEL);
	put_text(r, &node->hostname, TAILNET_HOSTNAME);
	put_strings(r, &node->tags);
	put_prefixes(r, &node->announced);
	put_prefixes(r, &node->approved);
	node->automatic = get_bool(r);
	node->ephemeral = get_bool(r);
	node->authorized = get_bool(r);
	node->interactive = get_bool(r);
	put_strings(r, &node->attributes);
	if (node->attributes && node->attributes->count > TAILNET_ATTRIBUTES)
		r->broken = true;
	load_soft(r, &node->soft);
	rc = r->broken ? -EILSEQ : r->visitor->node(r->visitor->self, node);
	tailnet_node_unref(node);
	return rc;
}

static int load_held(struct reader *r)
{
	struct store_held held = { .until = 0 };
	const char *text = get_text(r);

	held.until = get_int(r);
	if (!text || addr_parse(text, &held.addr) != 0)
		return -EILSEQ;
	return r->visitor->held(r->visitor->self, &held);
}

static int load_last(struct reader *r)
{
	int64_t user = get_int(r), machine = get_int(r), key = get_int(r), node = get_int(r);

	return r->visitor->last(r->visitor->self, user, machine, key, node);
}

#define LAST_OF(table) "ifnull((SELECT seq FROM sqlite_sequence WHERE name = '" table "'), 0)"

static const struct {
	const char *what, *sql;
	int (*row)(struct reader *r);
} tables[] = {
	{ "user", "SELECT id, created, login, display, email, picture, provider, subject, groups,"
	  " role, pinned FROM users WHERE tailnet_id = 1 ORDER BY id", load_user },
	{ "machine", "SELECT id, created, key FROM machines WHERE tailnet_id = 1 ORDER BY id",
	  load_machine },
	{ "pin of machine", "SELECT machine_id, user_id FROM pins WHERE tailnet_id = 1"
	  " ORDER BY machine_id, user_id", load_pin },
	{ "pre-auth key", "SELECT id, user_id, created, expiry, used, revoked, hash, prefix, note,"
	  " tags, reusable, ephemeral, preauthorized FROM auth_keys WHERE tailnet_id = 1"
	  " ORDER BY id", load_key },
	{ "node", "SELECT n.id, n.machine_id, m.key, n.user_id, n.auth_key_id, n.created, n.expiry,"
	  " n.node_key, n.v4, n.v6, n.name, n.hostname, n.tags, n.announced, n.approved,"
	  " n.automatic, n.ephemeral, n.authorized, n.interactive, n.attributes, n.disco_key,"
	  " n.endpoints, n.hostinfo, n.home_derp, n.capver, n.last_seen FROM nodes AS n"
	  " JOIN machines AS m ON m.id = n.machine_id WHERE n.tailnet_id = 1 ORDER BY n.id",
	  load_node },
	{ "held address", "SELECT address, until FROM held_addresses WHERE tailnet_id = 1"
	  " ORDER BY address", load_held },
	{ "row of ids", "SELECT " LAST_OF("users") ", " LAST_OF("machines") ", "
	  LAST_OF("auth_keys") ", " LAST_OF("nodes"), load_last },
};

int store_load(struct store *store, const struct store_visitor *visitor, char why[STORE_WHY])
{
	struct reader r = { .visitor = visitor };
	int rc = SQLITE_OK, result = 0;

	why[0] = '\0';
	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_SIZE(tables); i++) {
		rc = sqlite3_prepare_v2(store->db, tables[i].sql, -1, &r.stmt, NULL);
		while (rc == SQLITE_OK && (rc = sqlite3_step(r.stmt)) == SQLITE_ROW && !result) {
			r.at = 0;
			result = tables[i].row(&r);
			if (result == -EILSEQ)
				store_say(why, "%s: %s %s is not as this program writes "
					 "it; put a backup in the database's place", store->path,
					 tables[i].what, sqlite3_column_text(r.stmt, 0));
			rc = SQLITE_OK;
			if (result)
				break;
		}
		sqlite3_finalize(r.stmt);
		r.stmt = NULL;
		if (result)
			return result;
		rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	return rc == SQLITE_OK ? 0 : store_explain(store->db, rc, store->path, "read", why);
}
