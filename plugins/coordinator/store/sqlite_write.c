/*
 * The writer: transactions become rows. Each one has a savepoint inside the one BEGIN ... COMMIT
 * of the batch, so that a refused one takes nothing with it, and all share the fsync.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/util.h"
#include "sqlite_impl.h"
#include "sqlite_tx.h"

static const char *const op_sql[STORE_OPS] = {
	[STORE_OP_USER] =
		"INSERT INTO users (id, tailnet_id, created, login, display, email, picture,"
		" provider, subject, groups, role, pinned)"
		" VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
		" ON CONFLICT (id) DO UPDATE SET login = ?3, display = ?4, email = ?5,"
		" picture = ?6, provider = ?7, subject = ?8, groups = ?9, role = ?10, pinned = ?11",
	[STORE_OP_MACHINE] =
		"INSERT INTO machines (id, tailnet_id, created, key) VALUES (?1, 1, ?2, ?3)",
	[STORE_OP_KEY] =
		"INSERT INTO auth_keys (id, tailnet_id, user_id, created, expiry, used, revoked,"
		" hash, prefix, note, tags, reusable, ephemeral, preauthorized)"
		" VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
		" ON CONFLICT (id) DO UPDATE SET expiry = ?4, used = ?5, revoked = ?6, note = ?9",
	[STORE_OP_NODE] =
		"INSERT INTO nodes (id, tailnet_id, machine_id, user_id, auth_key_id, created,"
		" expiry, node_key, v4, v6, name, hostname, tags, announced, approved, automatic,"
		" ephemeral, authorized, interactive, attributes, disco_key, endpoints, hostinfo,"
		" home_derp, capver, last_seen)"
		" VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
		" ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25)"
		" ON CONFLICT (id) DO UPDATE SET user_id = ?3, auth_key_id = ?4, expiry = ?6,"
		" node_key = ?7, v4 = ?8, v6 = ?9, name = ?10, hostname = ?11, tags = ?12,"
		" announced = ?13, approved = ?14, automatic = ?15, ephemeral = ?16,"
		" authorized = ?17, interactive = ?18, attributes = ?19",
	[STORE_OP_SOFT] =
		"UPDATE nodes SET disco_key = ?2, endpoints = ?3, hostinfo = ?4, home_derp = ?5,"
		" capver = ?6, last_seen = ?7 WHERE id = ?1",
	[STORE_OP_CONSUME] =
		"UPDATE auth_keys SET used = ?2 WHERE id = ?1 AND used = 0",
	[STORE_OP_PIN] =
		"INSERT INTO pins (tailnet_id, machine_id, user_id) VALUES (1, ?1, ?2)"
		" ON CONFLICT DO NOTHING",
	[STORE_OP_UNPIN] = "DELETE FROM pins WHERE machine_id = ?1 AND user_id = ?2",
	[STORE_OP_DROP_USER] = "DELETE FROM users WHERE id = ?1",
	[STORE_OP_DROP_KEY] = "DELETE FROM auth_keys WHERE id = ?1",
	[STORE_OP_DROP_NODE] = "DELETE FROM nodes WHERE id = ?1",
	[STORE_OP_DROP_MACHINE] = "DELETE FROM machines WHERE id = ?1",
	[STORE_OP_HOLD] =
		"INSERT INTO held_addresses (tailnet_id, address, until) VALUES (1, ?1, ?2)"
		" ON CONFLICT DO UPDATE SET until = ?2",
	[STORE_OP_RELEASE] = "DELETE FROM held_addresses WHERE tailnet_id = 1 AND address = ?1",
	[STORE_OP_AUDIT] =
		"INSERT INTO audit (tailnet_id, time, actor, origin, action, kind, target, name,"
		" before, after, hash) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
};

int store_prepare(struct store *store)
{
	const struct { const char *sql; sqlite3_stmt **stmt; } others[] = {
		{ "BEGIN IMMEDIATE", &store->begin }, { "COMMIT", &store->commit },
		{ "ROLLBACK", &store->rollback }, { "SAVEPOINT one", &store->save },
		{ "RELEASE one", &store->release }, { "ROLLBACK TO one", &store->back },
	};
	int rc = SQLITE_OK;

	for (int i = 0; rc == SQLITE_OK && i < STORE_OPS; i++)
		rc = sqlite3_prepare_v3(store->db, op_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
					&store->ops[i], NULL);
	for (size_t i = 0; rc == SQLITE_OK && i < ARRAY_SIZE(others); i++)
		rc = sqlite3_prepare_v3(store->db, others[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
					others[i].stmt, NULL);
	return rc;
}

void store_finalize(struct store *store)
{
	for (int i = 0; i < STORE_OPS; i++)
		sqlite3_finalize(store->ops[i]);
	sqlite3_finalize(store->begin);
	sqlite3_finalize(store->commit);
	sqlite3_finalize(store->rollback);
	sqlite3_finalize(store->save);
	sqlite3_finalize(store->release);
	sqlite3_finalize(store->back);
}

/*
 * ---- Binding ----
 *
 * Parameters are bound in the order of their numbers. Failure is remembered.
 */

struct binder {
	sqlite3_stmt *stmt;
	int at, rc;
};

static void note(struct binder *b, int rc)
{
	if (b->rc == SQLITE_OK)
		b->rc = rc;
}

static void bind_int(struct binder *b, int64_t value)
{
	note(b, sqlite3_bind_int64(b->stmt, ++b->at, value));
}

static void bind_id(struct binder *b, int64_t id)
{
	if (id)
		bind_int(b, id);
	else
		note(b, sqlite3_bind_null(b->stmt, ++b->at));
}

/* Lives until the statement has run: records and transactions do. */
static void bind_text(struct binder *b, const char *text)
{
	note(b, sqlite3_bind_text(b->stmt, ++b->at, text, -1, SQLITE_STATIC));
}

static void bind_text_take(struct binder *b, char *text)
{
	++b->at;
	note(b, text ? sqlite3_bind_text(b->stmt, b->at, text, -1, free) : SQLITE_NOMEM);
}

static void bind_bytes(struct binder *b, const uint8_t *bytes, int len)
{
	note(b, sqlite3_bind_blob(b->stmt, ++b->at, bytes, len, SQLITE_STATIC));
}

static void bind_addr(struct binder *b, const struct warren_addr *addr)
{
	char text[ADDR_TEXT];

	++b->at;
	if (addr->family)
		note(b, sqlite3_bind_text(b->stmt, b->at, addr_format(addr, text), -1,
					  SQLITE_TRANSIENT));
	else
		note(b, sqlite3_bind_null(b->stmt, b->at));
}

static void bind_user(struct binder *b, const struct tailnet_user *user)
{
	bind_int(b, user->id);
	bind_int(b, user->created);
	bind_text(b, user->login);
	bind_text(b, user->display);
	bind_text(b, user->email);
	bind_text(b, user->picture);
	bind_text(b, user->provider);
	bind_text(b, user->subject);
	bind_text_take(b, store_strings_text(user->groups));
	bind_int(b, user->role);
	bind_int(b, user->pinned);
}

static void bind_key(struct binder *b, const struct tailnet_key *key)
{
	bind_int(b, key->id);
	bind_id(b, key->user);
	bind_int(b, key->created);
	bind_int(b, key->expiry);
	bind_int(b, key->used);
	bind_int(b, key->revoked);
	bind_bytes(b, key->hash, sizeof(key->hash));
	bind_text(b, key->prefix);
	bind_text(b, key->note);
	bind_text_take(b, store_strings_text(key->tags));
	bind_int(b, key->reusable);
	bind_int(b, key->ephemeral);
	bind_int(b, key->preauthorized);
}

static void bind_soft(struct binder *b, const struct tailnet_soft *soft)
{
	bind_bytes(b, soft->disco_key, sizeof(soft->disco_key));
	bind_text_take(b, store_endpoints_text(soft->endpoints));
	bind_text(b, soft->hostinfo);
	bind_int(b, soft->home_derp);
	bind_int(b, soft->capver);
	bind_int(b, soft->last_seen);
}

static void bind_node(struct binder *b, const struct tailnet_node *node)
{
	bind_int(b, node->id);
	bind_int(b, node->machine);
	bind_id(b, node->user);
	bind_id(b, node->auth_key);
	bind_int(b, node->created);
	bind_int(b, node->expiry);
	bind_bytes(b, node->node_key, sizeof(node->node_key));
	bind_addr(b, &node->v4);
	bind_addr(b, &node->v6);
	bind_text(b, node->name);
	bind_text(b, node->hostname);
	bind_text_take(b, store_strings_text(node->tags));
	bind_text_take(b, store_prefixes_text(node->announced));
	bind_text_take(b, store_prefixes_text(node->approved));
	bind_int(b, node->automatic);
	bind_int(b, node->ephemeral);
	bind_int(b, node->authorized);
	bind_int(b, node->interactive);
	bind_text_take(b, store_strings_text(node->attributes));
	bind_soft(b, &node->soft);
}

static void bind_audit(struct binder *b, const struct store_audit *audit, const uint8_t *hash)
{
	bind_int(b, audit->time);
	bind_text(b, audit->actor);
	bind_text(b, audit->origin);
	bind_text(b, audit->action);
	bind_text(b, audit->kind);
	bind_int(b, audit->target);
	bind_text(b, audit->name);
	bind_text(b, audit->before);
	bind_text(b, audit->after);
	bind_bytes(b, hash, STORE_HASH);
}

static void bind_op(struct binder *b, struct store_op *op, uint8_t chain[STORE_HASH])
{
	switch (op->kind) {
	case STORE_OP_USER:
		bind_user(b, op->user);
		break;
	case STORE_OP_MACHINE:
		bind_int(b, op->machine.id);
		bind_int(b, op->machine.created);
		bind_bytes(b, op->machine.key, sizeof(op->machine.key));
		break;
	case STORE_OP_KEY:
		bind_key(b, op->key);
		break;
	case STORE_OP_NODE:
		bind_node(b, op->node);
		break;
	case STORE_OP_SOFT:
		bind_int(b, op->node->id);
		bind_soft(b, &op->node->soft);
		break;
	case STORE_OP_CONSUME: case STORE_OP_PIN: case STORE_OP_UNPIN:
		bind_int(b, op->id);
		bind_int(b, op->value);
		break;
	case STORE_OP_DROP_USER: case STORE_OP_DROP_KEY: case STORE_OP_DROP_NODE:
	case STORE_OP_DROP_MACHINE:
		bind_int(b, op->id);
		break;
	case STORE_OP_HOLD:
		bind_addr(b, &op->addr);
		bind_int(b, op->value);
		break;
	case STORE_OP_RELEASE:
		bind_addr(b, &op->addr);
		break;
	case STORE_OP_AUDIT:
		store_chain(chain, op->audit);
		bind_audit(b, op->audit, chain);
		break;
	case STORE_OPS:
		break;
	}
}

static void hash_text(crypto_generichash_state *state, const char *text)
{
	uint64_t len = text ? strlen(text) : UINT64_MAX, wire = htole64(len);

	crypto_generichash_update(state, (const uint8_t *)&wire, sizeof(wire));
	if (text)
		crypto_generichash_update(state, (const uint8_t *)text, len);
}

void store_chain(uint8_t chain[STORE_HASH], const struct store_audit *audit)
{
	const uint64_t numbers[] = {
		htole64((uint64_t)audit->time), htole64((uint64_t)audit->target),
	};
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, STORE_HASH);
	crypto_generichash_update(&state, chain, STORE_HASH);
	crypto_generichash_update(&state, (const uint8_t *)numbers, sizeof(numbers));
	hash_text(&state, audit->actor);
	hash_text(&state, audit->origin);
	hash_text(&state, audit->action);
	hash_text(&state, audit->kind);
	hash_text(&state, audit->name);
	hash_text(&state, audit->before);
	hash_text(&state, audit->after);
	crypto_generichash_final(&state, chain, STORE_HASH);
}

/*
 * ---- Committing ----
 */

static int run(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	sqlite3_reset(stmt);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* SQLITE_..., or with SQLITE_OK *@stale: the key has been used. */
static int run_op(struct store *store, struct store_op *op, uint8_t chain[STORE_HASH], bool *stale)
{
	struct binder b = { .stmt = store->ops[op->kind] };

	bind_op(&b, op, chain);
	if (b.rc == SQLITE_OK)
		b.rc = run(b.stmt);
	sqlite3_clear_bindings(b.stmt);
	if (b.rc == SQLITE_OK && op->kind == STORE_OP_CONSUME)
		*stale = sqlite3_changes(store->db) == 0;
	return b.rc;
}

/* True: the transaction is over, one way or the other. False: so is the whole batch. */
static bool run_tx(struct store *store, struct store_tx *tx, uint8_t chain[STORE_HASH], int *result,
		   char why[STORE_WHY])
{
	uint8_t before[STORE_HASH];
	bool stale = false;
	int rc = run(store->save);

	memcpy(before, chain, sizeof(before));
	*result = tx->failed ? -ENOMEM : 0;
	for (uint32_t i = 0; rc == SQLITE_OK && !*result && i < tx->count; i++) {
		rc = run_op(store, &tx->ops[i], chain, &stale);
		if (rc != SQLITE_OK)
			*result = store_explain(store->db, rc, store->path, "write", why);
		else if (stale)
			*result = -ESTALE;
	}
	/* Only what the transaction itself is to blame for leaves the others alone. */
	if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_CONSTRAINT)
		return false;
	if (*result) {
		memcpy(chain, before, sizeof(before));
		rc = run(store->back);
	}
	if (!*result || rc == SQLITE_OK)
		rc = run(store->release);
	if (rc != SQLITE_OK)
		*result = store_explain(store->db, rc, store->path, "write", why);
	return rc == SQLITE_OK;
}

static void fail_all(struct store *store, int *results, uint32_t n, int result)
{
	/* A full disk or a lost file has rolled back already. */
	if (!sqlite3_get_autocommit(store->db))
		(void)run(store->rollback);
	for (uint32_t i = 0; i < n; i++) {
		if (!results[i])
			results[i] = result;
	}
}

void store_commit(struct store *store, struct store_tx *const *txs, uint32_t n, int *results,
		  char why[STORE_WHY])
{
	uint8_t chain[STORE_HASH];
	int rc, result;

	why[0] = '\0';
	memcpy(chain, store->chain, sizeof(chain));
	memset(results, 0, n * sizeof(*results));
	rc = run(store->begin);
	for (uint32_t i = 0; rc == SQLITE_OK && i < n; i++) {
		if (!run_tx(store, txs[i], chain, &results[i], why)) {
			fail_all(store, results, n, results[i] ? results[i] : -EIO);
			return;
		}
	}
	if (rc == SQLITE_OK)
		rc = run(store->commit);
	if (rc == SQLITE_OK) {
		memcpy(store->chain, chain, sizeof(chain));
		return;
	}
	result = store_explain(store->db, rc, store->path, "write", why);
	fail_all(store, results, n, result);
}
