/*
 * Rows of the audit log: who, what, and of what changed how it was and how it is. No secret is in
 * a record, and of a key only the prefix is written.
 */
#include <stdio.h>
#include <string.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/hex.h"
#include "base/util.h"
#include "impl.h"

struct object {				/* two JSON objects with the same keys */
	struct str s[2];
	bool any;
};

static void begin(struct object *o)
{
	*o = (struct object){ { STR_INIT, STR_INIT }, false };
}

static void add_key(struct object *o, const char *key)
{
	for (size_t i = 0; i < 2; i++)
		str_addf(&o->s[i], "%s\"%s\":", o->any ? "," : "{", key);
	o->any = true;
}

static void diff_text(struct object *o, const char *key, const char *a, const char *b)
{
	if (strcmp(a, b) == 0)
		return;
	add_key(o, key);
	str_add_json(&o->s[0], a, strlen(a));
	str_add_json(&o->s[1], b, strlen(b));
}

static void diff_int(struct object *o, const char *key, int64_t a, int64_t b)
{
	if (a == b)
		return;
	add_key(o, key);
	str_addf(&o->s[0], "%lld", (long long)a);
	str_addf(&o->s[1], "%lld", (long long)b);
}

static void diff_bool(struct object *o, const char *key, bool a, bool b)
{
	if (a == b)
		return;
	add_key(o, key);
	str_add(&o->s[0], a ? "true" : "false");
	str_add(&o->s[1], b ? "true" : "false");
}

static void list_strings(struct str *s, const struct tailnet_strings *list)
{
	str_addc(s, '[');
	for (uint32_t i = 0; list && i < list->count; i++) {
		str_add(s, i ? "," : "");
		str_add_json(s, list->at[i], strlen(list->at[i]));
	}
	str_addc(s, ']');
}

static void diff_strings(struct object *o, const char *key, const struct tailnet_strings *a,
			 const struct tailnet_strings *b)
{
	if (strings_equal(a, b))
		return;
	add_key(o, key);
	list_strings(&o->s[0], a);
	list_strings(&o->s[1], b);
}

static void list_prefixes(struct str *s, const struct tailnet_prefixes *list)
{
	char text[PREFIX_TEXT];

	str_addc(s, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(s, "%s\"%s\"", i ? "," : "", prefix_format(&list->at[i], text));
	str_addc(s, ']');
}

static void diff_prefixes(struct object *o, const char *key, const struct tailnet_prefixes *a,
			  const struct tailnet_prefixes *b)
{
	if (prefix_lists_equal(a, b))
		return;
	add_key(o, key);
	list_prefixes(&o->s[0], a);
	list_prefixes(&o->s[1], b);
}

static void diff_addr(struct object *o, const char *key, const struct warren_addr *a,
		      const struct warren_addr *b)
{
	char old[ADDR_TEXT], now[ADDR_TEXT];

	if (!addr_equal(a, b))
		diff_text(o, key, a->family ? addr_format(a, old) : "",
			  b->family ? addr_format(b, now) : "");
}

static void diff_hex(struct object *o, const char *key, const uint8_t a[32], const uint8_t b[32])
{
	char old[65], now[65];

	hex_encode(old, a, 32);
	hex_encode(now, b, 32);
	diff_text(o, key, old, now);
}

static void end(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const char *kind, int64_t target, const char *name,
		struct object *o, bool before, bool after)
{
	const char *text[2];

	for (size_t i = 0; i < 2; i++) {
		str_add(&o->s[i], o->any ? "}" : "{}");
		text[i] = (i ? after : before) ? str_text(&o->s[i]) : NULL;
	}
	audit_text(ch, tn, who, action, kind, target, name, text[0], text[1]);
	str_free(&o->s[0]);
	str_free(&o->s[1]);
}

void audit_text(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const char *kind, int64_t target, const char *name,
		const char *before, const char *after)
{
	const struct store_audit row = {
		.time = now_wall(tn), .actor = who->actor ? who->actor : "coordinator",
		.origin = who->origin ? who->origin : "", .action = action, .kind = kind,
		.target = target, .name = name, .before = before, .after = after,
	};

	store_tx_audit(change_tx(ch), &row);
}

void audit_node(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const struct tailnet_node *before,
		const struct tailnet_node *after)
{
	static const struct tailnet_node none = { .name = "", .hostname = "" };
	const struct tailnet_node *a = before ? before : &none, *b = after ? after : &none;
	struct object o;

	begin(&o);
	diff_text(&o, "name", a->name, b->name);
	diff_text(&o, "hostname", a->hostname, b->hostname);
	diff_int(&o, "user", a->user, b->user);
	diff_strings(&o, "tags", a->tags, b->tags);
	diff_addr(&o, "ipv4", &a->v4, &b->v4);
	diff_addr(&o, "ipv6", &a->v6, &b->v6);
	diff_hex(&o, "machine-key", a->machine_key, b->machine_key);
	diff_hex(&o, "node-key", a->node_key, b->node_key);
	diff_int(&o, "key", a->auth_key, b->auth_key);
	diff_int(&o, "expiry", a->expiry, b->expiry);
	diff_prefixes(&o, "announced", a->announced, b->announced);
	diff_prefixes(&o, "approved", a->approved, b->approved);
	diff_strings(&o, "attributes", a->attributes, b->attributes);
	diff_bool(&o, "automatic-name", a->automatic, b->automatic);
	diff_bool(&o, "ephemeral", a->ephemeral, b->ephemeral);
	diff_bool(&o, "authorized", a->authorized, b->authorized);
	end(ch, tn, who, action, "node", (after ? after : before)->id,
	    (after ? after : before)->name, &o, before, after);
}

void audit_user(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
		const char *action, const struct tailnet_user *before,
		const struct tailnet_user *after)
{
	static const struct tailnet_user none = {
		.login = "", .display = "", .email = "", .picture = "", .provider = "",
		.subject = "",
	};
	const struct tailnet_user *a = before ? before : &none, *b = after ? after : &none;
	struct object o;

	begin(&o);
	diff_text(&o, "login", a->login, b->login);
	diff_text(&o, "display", a->display, b->display);
	diff_text(&o, "email", a->email, b->email);
	diff_text(&o, "picture", a->picture, b->picture);
	diff_text(&o, "provider", a->provider, b->provider);
	diff_text(&o, "subject", a->subject, b->subject);
	diff_strings(&o, "groups", a->groups, b->groups);
	diff_text(&o, "role", before ? tailnet_role_name(a->role) : "",
		  after ? tailnet_role_name(b->role) : "");
	diff_bool(&o, "pinned", a->pinned, b->pinned);
	if (before && after && !o.any)
		return;		/* what changes nothing is no act */
	end(ch, tn, who, action, "user", (after ? after : before)->id,
	    (after ? after : before)->login, &o, before, after);
}

void audit_key(struct change *ch, const struct tailnet *tn, const struct tailnet_act *who,
	       const char *action, const struct tailnet_key *before,
	       const struct tailnet_key *after)
{
	static const struct tailnet_key none = { .prefix = "", .note = "" };
	const struct tailnet_key *a = before ? before : &none, *b = after ? after : &none;
	struct object o;

	begin(&o);
	diff_text(&o, "prefix", a->prefix, b->prefix);
	diff_text(&o, "note", a->note, b->note);
	diff_int(&o, "user", a->user, b->user);
	diff_strings(&o, "tags", a->tags, b->tags);
	diff_int(&o, "expiry", a->expiry, b->expiry);
	diff_int(&o, "revoked", a->revoked, b->revoked);
	diff_bool(&o, "reusable", a->reusable, b->reusable);
	diff_bool(&o, "ephemeral", a->ephemeral, b->ephemeral);
	diff_bool(&o, "preauthorized", a->preauthorized, b->preauthorized);
	end(ch, tn, who, action, "key", (after ? after : before)->id,
	    (after ? after : before)->prefix, &o, before, after);
}

void pin_machine(struct tailnet *tn, struct change *ch, const struct tailnet_act *who,
		 int64_t machine, const uint8_t key[32], const struct tailnet_user *user,
		 bool pinned)
{
	char hex[65], text[2][128];

	if (tailnet_pinned(tn, machine, user->id) == pinned)
		return;
	hex_encode(hex, key, 32);
	for (int i = 0; i < 2; i++)
		snprintf(text[i], sizeof(text[i]), "{\"machine-key\":\"%s\",\"pinned\":%s}", hex,
			 (i == 1) == pinned ? "true" : "false");
	change_pin(ch, machine, user->id, pinned);
	audit_text(ch, tn, who, "machine.pin", "user", user->id, user->login, text[0], text[1]);
}
