/*
 * warren key ...: pre-auth keys
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"
#include "base/util.h"

static const char *state_of(const struct tailnet_key *key)
{
	if (key->revoked)
		return "revoked";
	if (key->expiry && key->expiry <= warren_realtime())
		return "expired";
	return key->used && !key->reusable ? "used" : "good";
}

void coord_show_key(struct tailnet *tn, const struct tailnet_key *key,
		    struct warren_reply *reply)
{
	const struct tailnet_user *user = key->user ? tailnet_user(tn, key->user) : NULL;

	warren_reply_int(reply, "id", key->id);
	warren_reply_str(reply, "prefix", "%s", key->prefix);
	warren_reply_str(reply, "user", "%s", user ? user->login : "");
	coord_show_strings(reply, "tags", key->tags);
	warren_reply_str(reply, "state", "%s", state_of(key));
	warren_reply_bool(reply, "reusable", key->reusable);
	warren_reply_bool(reply, "ephemeral", key->ephemeral);
	warren_reply_bool(reply, "preauthorized", key->preauthorized);
	warren_reply_str(reply, "note", "%s", key->note);
	coord_show_time(reply, "created", key->created);
	coord_show_time(reply, "expiry", key->expiry);
	coord_show_time(reply, "used", key->used);
	coord_show_time(reply, "revoked", key->revoked);
}

static void list_row(struct tailnet *tn, const struct tailnet_key *key,
		     struct warren_reply *reply)
{
	const struct tailnet_user *user = key->user ? tailnet_user(tn, key->user) : NULL;
	AUTO(str_free) struct str owner = STR_INIT;
	char until[COORD_TIME];

	if (user)
		str_add(&owner, user->login);
	for (uint32_t i = 0; key->tags && i < key->tags->count; i++)
		str_addf(&owner, "%s%s", owner.len ? ", " : "", key->tags->at[i]);
	warren_reply_text(reply, "%" PRId64 "\t%s\t%s\t%s%s%s%s\t%s\t%s", key->id, key->prefix,
			  str_text(&owner), state_of(key), key->reusable ? ", reusable" : "",
			  key->ephemeral ? ", ephemeral" : "",
			  key->preauthorized ? ", preauthorized" : "",
			  coord_time_text(key->expiry, until), key->note);
}

int coord_run_key_list(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	uint32_t n;
	const struct tailnet_key *const *keys = tailnet_keys(tn, &n);

	(void)args;
	(void)err;
	if (n)
		warren_reply_text(reply, "ID\tBEGINS WITH\tOWNER\tSTATE\tEXPIRES\tNOTE");
	else
		warren_reply_text(reply, "There is no key: `warren key create` makes one.");
	warren_reply_open(reply, "keys", '[');
	for (uint32_t i = 0; i < n; i++) {
		list_row(tn, keys[i], reply);
		warren_reply_open(reply, NULL, '{');
		coord_show_key(tn, keys[i], reply);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	return 0;
}

int coord_run_key_create(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	const char *tags[TAILNET_TAGS];
	const struct tailnet_user *user = NULL;
	struct tailnet_act act = {
		.verb = TAILNET_KEY_CREATE, .strings = tags,
		.n_strings = warren_conf_count(args, "tag"),
		.text = warren_conf_str(args, "note"),
		.reusable = warren_conf_bool(args, "reusable"),
		.ephemeral = warren_conf_bool(args, "ephemeral"),
		.preauthorized = warren_conf_bool(args, "preauthorized"),
	};
	struct coord_said said = { .kind = "key" };
	char until[COORD_TIME];

	if (act.n_strings > TAILNET_TAGS)
		return warren_fail(err, NULL, "a key has at most %d tags", TAILNET_TAGS);
	for (uint32_t i = 0; i < act.n_strings; i++)
		tags[i] = warren_conf_str(warren_conf_at(args, "tag", i), NULL);
	if (warren_conf_has(args, "user")) {
		user = coord_find_user(coord_cli_tailnet(ctx), warren_conf_str(args, "user"), err);
		if (!user)
			return -EINVAL;
		act.user = user->id;
	}
	if (warren_conf_int(args, "expiry"))
		act.time = warren_realtime() + warren_conf_int(args, "expiry");
	snprintf(said.text, sizeof(said.text), "A key for %s, good %s%s%s. This is the only time "
		 "that it is shown:", act.reusable ? "any number of devices" : "one device",
		 act.time ? "until " : "for ever", act.time ? coord_time_text(act.time, until) : "",
		 act.time ? " UTC" : "");
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_key_revoke(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_key *key = coord_find_key(coord_cli_tailnet(ctx), args, err);
	struct tailnet_act act = { .verb = TAILNET_KEY_REVOKE };
	struct coord_said said = { .kind = "key" };

	if (!key)
		return -EINVAL;
	if (!key->revoked &&
	    !coord_confirmed(args, err, "This revokes key %" PRId64 " (%s) for good: it lets "
			     "nobody in any more; nodes that came with it stay", key->id,
			     key->prefix))
		return -EINVAL;
	act.key = key->id;
	snprintf(said.text, sizeof(said.text), "Key %" PRId64 " (%s) lets nobody in any more; "
		 "nodes that came with it stay.", key->id, key->prefix);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_key_delete(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_key *key = coord_find_key(coord_cli_tailnet(ctx), args, err);
	struct tailnet_act act = { .verb = TAILNET_KEY_DELETE };
	struct coord_said said = { .kind = "key" };

	if (!key || !coord_confirmed(args, err, "This deletes key %" PRId64 " (%s): it lets nobody "
				     "in any more; nodes that came with it stay", key->id,
				     key->prefix))
		return -EINVAL;
	act.key = said.id = key->id;
	snprintf(said.text, sizeof(said.text), "Key %" PRId64 " is deleted.", key->id);
	return coord_do(ctx, &act, &said, reply, err);
}
