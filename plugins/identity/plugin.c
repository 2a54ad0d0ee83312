/*
 * identity: the machine, node and disco keys of this node.
 *
 * Machine and node key are made at the first start and kept in key files of the state folder; a
 * file that is unreadable, of a wrong mode or of wrong content makes the plugin refuse to start,
 * because a new key would silently make this a different node. `node-key` names a file of the
 * operator's that is used instead. The disco key lives in memory only and is new at each start:
 * peers take a changed disco key as the sign that this node restarted (control-protocol.md 1.2).
 *
 * A key that changes while the plugin runs is stored first, then put into force, then told on
 * topic "identity": a crash in between leaves a key that nobody has seen yet.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/plugin.h>
#include <warren/service/identity.h>

#include "base/base64.h"
#include "base/hex.h"
#include "keyring.h"

enum { TEXT_MAX = 12 + 2 * IDENTITY_KEY_LEN };

static const struct warren_option options[] = {
	{
		.key = "node-key",
		.type = WARREN_SECRET_REF,
		.brief = "Private key of this node, instead of a generated one.",
		.help = "A file with a private WireGuard key: base64 as `wg genkey` writes it, or "
			"\"privkey:\" and 64 hex digits. Peers know this node by the public half, "
			"which `warren identity show` prints. Without this option the key is made "
			"at the first start and kept in the state folder.",
	},
};

static int identity_show(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err);

static const struct warren_command commands[] = {
	{
		.path = "identity show",
		.flags = WARREN_CMD_ANY,
		.brief = "Prints this node's public keys.",
		.help = "The node key is what other nodes write as public-key.",
		.example = "warren identity show",
		.run = identity_show,
	},
};

static const struct warren_port offers[] = {
	{ .name = "identity", .major = 0, .minor = 1, .brief = "Keys of this node." },
};

static const struct warren_topic topics[] = {
	{ .name = "identity", .flags = WARREN_STICKY, .brief = "The public keys of this node." },
};

static const struct {
	const char *name, *file, *text;	/* file NULL: memory only */
	const char *next;		/* where a prepared one is kept; NULL: memory only */
} kinds[WARREN_KEY_KINDS] = {
	[WARREN_KEY_MACHINE] = { "machine", "machine.key", "mkey:", NULL },
	[WARREN_KEY_NODE] = { "node", "node.key", "nodekey:", "node.next" },
	[WARREN_KEY_DISCO] = { "disco", NULL, "discokey:", NULL },
};

struct identity {
	struct warren_ctx *ctx;
	struct identity_ring ring;
	struct identity_key *next[WARREN_KEY_KINDS];	/* being stored, then put into force */
	struct identity_key *prepared[WARREN_KEY_KINDS];	/* for a commit to come */
	bool stored[WARREN_KEY_KINDS];		/* that one is on disk, or is in memory only */
	bool node_key_given;			/* by `node-key` */
};

/*
 * ---- Changing a key ----
 */

static void event_free(struct warren_obj *obj)
{
	free(obj);
}

static int identity_publish(struct identity *id, uint32_t changed)
{
	struct warren_identity_event *event = calloc(1, sizeof(*event));

	if (!event)
		return -ENOMEM;
	warren_obj_init(&event->obj, sizeof(*event), event_free);
	event->changed = changed;
	for (int i = 0; i < WARREN_KEY_KINDS; i++)
		identity_ring_public(&id->ring, (enum warren_key_kind)i, event->public_key[i]);
	return warren_publish_take(id->ctx, "identity", event);
}

static void identity_enforce(struct identity *id, enum warren_key_kind kind)
{
	struct identity_key *key = id->next[kind];

	id->next[kind] = NULL;
	identity_ring_set_take(&id->ring, kind, key);
	warren_log(id->ctx, LOG_NOTICE, "the %s key changed", kinds[kind].name);
	if (identity_publish(id, 1u << kind))
		warren_fatal(id->ctx, "out of memory: nobody learns of the new %s key",
			     kinds[kind].name);
}

static void identity_stored(struct warren_ctx *ctx, int result, enum warren_key_kind kind)
{
	struct identity *id = warren_self(ctx);

	if (!id->next[kind])
		return;
	if (result == 0) {
		identity_enforce(id, kind);
		return;
	}
	warren_log(ctx, LOG_ERR, "cannot store the new %s key: %s; the old one stays in force",
		   kinds[kind].name, strerror(-result));
	identity_key_unref(id->next[kind]);
	id->next[kind] = NULL;
}

static void machine_stored(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	identity_stored(ctx, result, WARREN_KEY_MACHINE);
}

static void node_stored(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	identity_stored(ctx, result, WARREN_KEY_NODE);
}

/* Takes @key: stores it, then puts it into force. */
static int identity_store_take(struct identity *id, enum warren_key_kind kind,
			       struct identity_key *key)
{
	char text[IDENTITY_TEXT_MAX];
	int result;

	identity_key_unref(id->next[kind]);
	id->next[kind] = key;
	result = warren_state_write(id->ctx, kinds[kind].file, WARREN_STATE_KEY, 0, text,
				    identity_key_text(key, text),
				    kind == WARREN_KEY_NODE ? node_stored : machine_stored, NULL);
	sodium_memzero(text, sizeof(text));
	if (result) {
		identity_key_unref(key);
		id->next[kind] = NULL;
	}
	return result;
}

/* Takes @key: the one in force from now on, or from when it is stored. */
static int identity_change_take(struct identity *id, enum warren_key_kind kind,
				struct identity_key *key)
{
	if (kinds[kind].file)
		return identity_store_take(id, kind, key);
	id->next[kind] = key;
	identity_enforce(id, kind);
	return 0;
}

static int identity_rotate(void *self, enum warren_key_kind kind)
{
	struct identity *id = self;
	struct identity_key *key;

	if (kind == WARREN_KEY_NODE && id->node_key_given)
		return -EPERM;		/* the operator's key: not ours to change */
	if (id->next[kind])
		return -EALREADY;
	key = identity_key_new();
	return key ? identity_change_take(id, kind, key) : -ENOMEM;
}

static void next_stored(struct warren_ctx *ctx, int result, void *arg)
{
	struct identity *id = warren_self(ctx);

	(void)arg;
	id->stored[WARREN_KEY_NODE] = result == 0 && id->prepared[WARREN_KEY_NODE];
	if (result == 0)
		return;
	warren_log(ctx, LOG_ERR, "cannot store the node key to come: %s; the one in force stays",
		   strerror(-result));
	identity_key_unref(id->prepared[WARREN_KEY_NODE]);
	id->prepared[WARREN_KEY_NODE] = NULL;
}

/* What somebody else may accept is on disk before he hears of it. */
static int identity_store_next(struct identity *id, enum warren_key_kind kind)
{
	uint8_t current[IDENTITY_KEY_LEN];
	char text[IDENTITY_NEXT_MAX];
	size_t len;
	int result;

	if (!kinds[kind].next) {
		id->stored[kind] = true;
		return 0;
	}
	identity_ring_public(&id->ring, kind, current);
	len = identity_next_text(current, id->prepared[kind], text);
	result = warren_state_write(id->ctx, kinds[kind].next, WARREN_STATE_KEY, 0, text, len,
				    next_stored, NULL);
	sodium_memzero(text, sizeof(text));
	return result;
}

static int identity_prepare(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	struct identity *id = self;
	int result;

	if (kind == WARREN_KEY_NODE && id->node_key_given)
		return -EPERM;
	if (!id->prepared[kind]) {
		id->stored[kind] = false;
		id->prepared[kind] = identity_key_new();
		if (!id->prepared[kind])
			return -ENOMEM;
		result = identity_store_next(id, kind);
		if (result) {
			identity_key_unref(id->prepared[kind]);
			id->prepared[kind] = NULL;
			return result;
		}
	}
	if (!id->stored[kind])
		return WARREN_PENDING;
	memcpy(out, identity_key_public(id->prepared[kind]), IDENTITY_KEY_LEN);
	return 0;
}

static bool identity_prepared(void *self, enum warren_key_kind kind)
{
	const struct identity *id = self;

	return id->prepared[kind] && id->stored[kind];
}

static int identity_commit(void *self, enum warren_key_kind kind)
{
	struct identity *id = self;
	struct identity_key *key = id->prepared[kind];

	if (!key)
		return -ENOENT;
	id->prepared[kind] = NULL;
	return identity_change_take(id, kind, key);
}

static void identity_abandon(void *self, enum warren_key_kind kind)
{
	struct identity *id = self;

	identity_key_unref(id->prepared[kind]);
	id->prepared[kind] = NULL;
}

/*
 * ---- The service ----
 */

static void ops_public_key(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	identity_ring_public(&((struct identity *)self)->ring, kind, out);
}

static int ops_dh(void *self, enum warren_key_kind kind, const uint8_t peer[32], uint8_t out[32])
{
	return identity_ring_dh(&((struct identity *)self)->ring, kind, peer, out);
}

static int ops_seal(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		    const uint8_t *msg, size_t len, uint8_t *out)
{
	return identity_ring_seal(&((struct identity *)self)->ring, kind, peer, msg, len, out);
}

static int ops_open(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		    const uint8_t *box, size_t len, uint8_t *out)
{
	return identity_ring_open(&((struct identity *)self)->ring, kind, peer, box, len, out);
}

static const struct warren_identity_ops ops = {
	.size = sizeof(ops),
	.public_key = ops_public_key,
	.dh = ops_dh,
	.seal = ops_seal,
	.open = ops_open,
	.rotate = identity_rotate,
	.prepare = identity_prepare,
	.commit = identity_commit,
	.abandon = identity_abandon,
	.prepared = identity_prepared,
};

/*
 * ---- Life ----
 */

/* Reads a key file's text with @after NULL, else a key to come after that one. */
static int identity_load_file(struct warren_ctx *ctx, const char *file, const uint8_t *after,
			      struct identity_key **out, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0;
	int result;

	result = warren_state_read(ctx, file, WARREN_STATE_KEY, 0, &data, &len, err);
	if (result == -ENOENT)
		return 0;
	if (result)
		return result;
	result = after ? identity_next_parse(data, len, after, out)
		       : identity_key_parse(data, len, out);
	warren_release(data);
	if (result == -EINVAL)
		warren_fail(err, NULL, "%s in the state folder holds no private key: restore it "
			    "from a backup, or remove it%s", file,
			    after ? "" : " to become a new node");
	else if (result)
		warren_fail(err, NULL, "out of memory");
	return result;
}

/* The key in the state folder; *@out stays NULL where there is none yet. */
static int identity_load(struct warren_ctx *ctx, enum warren_key_kind kind,
			 struct identity_key **out, struct warren_err *err)
{
	return identity_load_file(ctx, kinds[kind].file, NULL, out, err);
}

/* The key of the state folder, made and stored now if there is none. */
static int identity_load_or_make(struct identity *id, enum warren_key_kind kind,
				 struct warren_err *err)
{
	char text[IDENTITY_TEXT_MAX];
	struct identity_key *key = NULL;
	int result = identity_load(id->ctx, kind, &key, err);

	if (result)
		return result;
	if (!key) {
		key = identity_key_new();
		if (!key)
			return warren_fail(err, NULL, "out of memory");
		result = warren_state_write_wait(id->ctx, kinds[kind].file, WARREN_STATE_KEY, 0,
						 text, identity_key_text(key, text), err);
		sodium_memzero(text, sizeof(text));
		if (result) {
			identity_key_unref(key);
			return result;
		}
		warren_log(id->ctx, LOG_NOTICE, "made a new %s key", kinds[kind].name);
	}
	identity_ring_set_take(&id->ring, kind, key);
	return 0;
}

/* The key that `node-key` names. */
static int identity_given(const struct warren_conf *conf, struct identity_key **out,
			  struct warren_err *err)
{
	size_t len = 0;
	const struct warren_secret *secret = warren_conf_secret(conf, "node-key");
	const uint8_t *bytes = secret ? warren_secret_bytes(secret, &len) : NULL;
	int result = bytes ? identity_key_parse(bytes, len, out) : -EINVAL;

	if (result == -ENOMEM)
		return warren_fail(err, NULL, "out of memory");
	if (result)
		return warren_fail_key(err, -EINVAL, conf, "node-key",
				       "the file holds no private key: expected base64 as "
				       "`wg genkey` writes it, or \"privkey:\" and 64 hex digits");
	return 0;
}

/* A file that cannot be read yet, as in `config check` by others than root, is not judged. */
static int identity_check(const struct warren_conf *conf, struct warren_err *err)
{
	struct identity_key *key = NULL;
	size_t len;
	int result = 0;

	if (warren_secret_bytes(warren_conf_secret(conf, "node-key"), &len))
		result = identity_given(conf, &key, err);
	identity_key_unref(key);
	return result;
}

static void identity_end(void *arg)
{
	struct identity *id = arg;

	identity_ring_fini(&id->ring);
	for (int i = 0; i < WARREN_KEY_KINDS; i++) {
		identity_key_unref(id->next[i]);
		identity_key_unref(id->prepared[i]);
	}
}

/* A key that was prepared before a restart and never came into force. */
static int identity_load_next(struct identity *id, struct warren_err *err)
{
	uint8_t current[IDENTITY_KEY_LEN];
	struct identity_key *key = NULL;
	int result;

	identity_ring_public(&id->ring, WARREN_KEY_NODE, current);
	result = identity_load_file(id->ctx, kinds[WARREN_KEY_NODE].next, current, &key, err);
	id->prepared[WARREN_KEY_NODE] = key;
	id->stored[WARREN_KEY_NODE] = key != NULL;
	return result;
}

static int identity_make_keys(struct identity *id, const struct warren_conf *conf,
			      struct warren_err *err)
{
	struct identity_key *key = NULL;
	int result = identity_load_or_make(id, WARREN_KEY_MACHINE, err);

	if (result)
		return result;
	id->node_key_given = warren_conf_has(conf, "node-key");
	if (id->node_key_given) {
		result = identity_given(conf, &key, err);
		if (result)
			return result;
		identity_ring_set_take(&id->ring, WARREN_KEY_NODE, key);
	} else {
		result = identity_load_or_make(id, WARREN_KEY_NODE, err);
		if (!result)
			result = identity_load_next(id, err);
		if (result)
			return result;
	}
	key = identity_key_new();
	if (!key)
		return warren_fail(err, NULL, "out of memory");
	identity_ring_set_take(&id->ring, WARREN_KEY_DISCO, key);
	return 0;
}

static int identity_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			  struct warren_err *err)
{
	struct identity *id = warren_zalloc(ctx, sizeof(*id));
	int result;

	if (!id || identity_ring_init(&id->ring))
		return warren_fail(err, NULL, "out of memory");
	id->ctx = ctx;
	warren_self_set(ctx, id);
	if (!warren_on_end(ctx, identity_end, id)) {
		identity_ring_fini(&id->ring);
		return warren_fail(err, NULL, "out of memory");
	}
	result = identity_make_keys(id, conf, err);
	if (result)
		return result;
	result = warren_offer(ctx, "identity", &ops, id);
	if (result)
		return result;
	return identity_publish(id, (1u << WARREN_KEY_KINDS) - 1);
}

/* `node-key` came, went, or names another key: the change is put into force at once. */
static int identity_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			   const struct warren_conf *now, struct warren_err *err)
{
	struct identity *id = warren_self(ctx);
	bool given = warren_conf_has(now, "node-key");
	struct identity_key *key = NULL;
	uint8_t current[IDENTITY_KEY_LEN];
	int result;

	(void)old;
	if (!given && !id->node_key_given)
		return 0;
	result = given ? identity_given(now, &key, err)
		       : identity_load(ctx, WARREN_KEY_NODE, &key, err);
	if (result)
		return result;
	if (!key) {
		key = identity_key_new();
		if (!key)
			return warren_fail(err, NULL, "out of memory");
		result = identity_store_take(id, WARREN_KEY_NODE, key);
		if (result)
			return warren_fail(err, NULL, "cannot store a new node key: %s",
					   strerror(-result));
		id->node_key_given = false;
		return 0;
	}
	id->node_key_given = given;
	identity_ring_public(&id->ring, WARREN_KEY_NODE, current);
	if (!memcmp(current, identity_key_public(key), sizeof(current))) {
		identity_key_unref(key);
		return 0;
	}
	identity_key_unref(id->next[WARREN_KEY_NODE]);
	id->next[WARREN_KEY_NODE] = key;
	identity_enforce(id, WARREN_KEY_NODE);
	return 0;
}

/*
 * ---- What the operator sees ----
 */

static void public_text(struct identity *id, enum warren_key_kind kind, char out[TEXT_MAX],
			char base64[BASE64_KEY_TEXT])
{
	uint8_t key[IDENTITY_KEY_LEN];
	size_t at = strlen(kinds[kind].text);

	identity_ring_public(&id->ring, kind, key);
	memcpy(out, kinds[kind].text, at);
	hex_encode(out + at, key, sizeof(key));
	base64_encode(base64, key, sizeof(key));
}

static int identity_show(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	struct identity *id = warren_self(ctx);
	char text[TEXT_MAX], base64[BASE64_KEY_TEXT];

	(void)args;
	(void)err;
	for (int i = 0; i < WARREN_KEY_KINDS; i++) {
		public_text(id, (enum warren_key_kind)i, text, base64);
		warren_reply_open(reply, kinds[i].name, '{');
		warren_reply_str(reply, "key", "%s", text);
		warren_reply_str(reply, "base64", "%s", base64);
		warren_reply_close(reply);
		warren_reply_text(reply, "%s\t%s\t%s", kinds[i].name, base64, text);
	}
	return 0;
}

static void identity_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	struct identity *id = warren_self(ctx);
	char text[TEXT_MAX], base64[BASE64_KEY_TEXT];

	for (int i = 0; i < WARREN_KEY_KINDS; i++) {
		public_text(id, (enum warren_key_kind)i, text, base64);
		warren_reply_str(reply, kinds[i].name, "%s", text);
		if (i == WARREN_KEY_NODE)
			warren_reply_text(reply, "public key %s%s", base64,
					  id->node_key_given ? " (from node-key)" : "");
	}
}

WARREN_PLUGIN(identity, "identity",
	.version = "0.1",
	.license = "ISC",
	.brief = "Machine, node and disco keys.",
	.help = "Makes the keys at the first start and keeps them in the state folder. No other "
		"plugin sees a private key.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.offers = WARREN_TABLE(offers),
	.topics = WARREN_TABLE(topics),
	.check = identity_check, .start = identity_start,
	.reload = identity_reload,
	.status = identity_status,
);
