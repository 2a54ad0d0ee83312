/*
 * The schema, as steps from one version to the next: a new database takes them all, an older one
 * the rest. A step that was released is never edited.
 *
 * What memory decides the database checks once more: whoever owns a node, keys, addresses and
 * names are unique by index; a node is owned by a user or by tags, never by both or neither.
 *
 * In a table WITHOUT ROWID the columns of the primary key come first: quick_check of SQLite 3.40
 * finds NULL in others.
 */
#include "sqlite_impl.h"

#include <stdio.h>

static const char schema_1[] =
	"PRAGMA application_id = 0x7761726e;"
	"CREATE TABLE tailnets ("
	" id INTEGER PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE,"
	" created INTEGER NOT NULL) STRICT;"
	"INSERT INTO tailnets VALUES (1, 'default', unixepoch() * 1000000);"

	"CREATE TABLE users ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" created INTEGER NOT NULL,"
	" login TEXT NOT NULL CHECK (login <> ''),"
	" display TEXT NOT NULL,"
	" email TEXT NOT NULL,"
	" picture TEXT NOT NULL,"
	" provider TEXT NOT NULL,"
	" subject TEXT NOT NULL,"
	" groups TEXT NOT NULL,"
	" role INTEGER NOT NULL,"
	" pinned INTEGER NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX users_login ON users (tailnet_id, login) WHERE subject = '';"
	"CREATE UNIQUE INDEX users_subject ON users (tailnet_id, subject) WHERE subject <> '';"

	"CREATE TABLE machines ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" created INTEGER NOT NULL,"
	" key BLOB NOT NULL CHECK (length(key) = 32)) STRICT;"
	"CREATE UNIQUE INDEX machines_key ON machines (tailnet_id, key);"

	"CREATE TABLE pins ("
	" machine_id INTEGER NOT NULL REFERENCES machines (id),"
	" user_id INTEGER NOT NULL REFERENCES users (id),"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" PRIMARY KEY (machine_id, user_id)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX pins_user ON pins (user_id);"

	"CREATE TABLE auth_keys ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" user_id INTEGER REFERENCES users (id),"
	" created INTEGER NOT NULL,"
	" expiry INTEGER NOT NULL,"
	" used INTEGER NOT NULL,"
	" revoked INTEGER NOT NULL,"
	" hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
	" prefix TEXT NOT NULL,"
	" note TEXT NOT NULL,"
	" tags TEXT NOT NULL,"
	" reusable INTEGER NOT NULL,"
	" ephemeral INTEGER NOT NULL,"
	" preauthorized INTEGER NOT NULL,"
	" CHECK (user_id IS NOT NULL OR tags <> '[]')) STRICT;"
	"CREATE INDEX auth_keys_user ON auth_keys (user_id);"

	"CREATE TABLE nodes ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" machine_id INTEGER NOT NULL REFERENCES machines (id),"
	" user_id INTEGER REFERENCES users (id),"
	" auth_key_id INTEGER REFERENCES auth_keys (id) ON DELETE SET NULL,"
	" created INTEGER NOT NULL,"
	" expiry INTEGER NOT NULL,"
	" node_key BLOB NOT NULL UNIQUE CHECK (length(node_key) = 32),"
	" v4 TEXT,"
	" v6 TEXT,"
	" name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 63),"
	" hostname TEXT NOT NULL,"
	" tags TEXT NOT NULL,"
	" announced TEXT NOT NULL,"
	" approved TEXT NOT NULL,"
	" automatic INTEGER NOT NULL,"
	" ephemeral INTEGER NOT NULL,"
	" authorized INTEGER NOT NULL,"
	" interactive INTEGER NOT NULL,"
	" disco_key BLOB NOT NULL CHECK (length(disco_key) = 32),"
	" endpoints TEXT NOT NULL,"
	" hostinfo TEXT,"
	" home_derp INTEGER NOT NULL,"
	" capver INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL,"
	" CHECK ((user_id IS NULL) = (tags <> '[]'))) STRICT;"
	"CREATE UNIQUE INDEX nodes_owner ON nodes (tailnet_id, machine_id, ifnull(user_id, 0));"
	"CREATE UNIQUE INDEX nodes_v4 ON nodes (tailnet_id, v4);"
	"CREATE UNIQUE INDEX nodes_v6 ON nodes (tailnet_id, v6);"
	"CREATE UNIQUE INDEX nodes_name ON nodes (tailnet_id, name);"
	"CREATE INDEX nodes_user ON nodes (user_id);"
	"CREATE INDEX nodes_auth_key ON nodes (auth_key_id);"

	"CREATE TABLE held_addresses ("
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" address TEXT NOT NULL,"
	" until INTEGER NOT NULL,"
	" PRIMARY KEY (tailnet_id, address)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE audit ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" tailnet_id INTEGER NOT NULL REFERENCES tailnets (id),"
	" time INTEGER NOT NULL,"
	" actor TEXT NOT NULL,"
	" origin TEXT NOT NULL,"
	" action TEXT NOT NULL,"
	" kind TEXT NOT NULL,"
	" target INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" before TEXT,"
	" after TEXT,"
	" hash BLOB NOT NULL CHECK (length(hash) = 32)) STRICT;"
	"CREATE INDEX audit_time ON audit (tailnet_id, time);"
	"CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN"
	" SELECT RAISE(ABORT, 'the audit log is append-only'); END;"
	"CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit BEGIN"
	" SELECT RAISE(ABORT, 'the audit log is append-only'); END;";

static const char schema_2[] =
	"ALTER TABLE nodes ADD COLUMN attributes TEXT NOT NULL DEFAULT '[]';";

const struct store_step store_steps[STORE_SCHEMA] = {
	{ schema_1 }, { schema_2 },
};

int store_migrate(sqlite3 *db, int from, const struct store_step *steps, int n)
{
	char version[48];
	int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	for (int i = from; rc == SQLITE_OK && i < n; i++)
		rc = sqlite3_exec(db, steps[i].sql, NULL, NULL, NULL);
	snprintf(version, sizeof(version), "PRAGMA user_version = %d", n);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, version, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	return rc;
}
