#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tailnet/make.h"
#include "base/addr.h"
#include "base/hex.h"
#include "base/str.h"

static void need(bool ok)
{
	if (!ok)
		abort();
}

struct tailnet_node *rows_node(int64_t id, int64_t machine)
{
	struct tailnet_node *node = node_new();
	char name[32], addr[64];

	need(node);
	snprintf(name, sizeof(name), "node-%lld", (long long)id);
	need(set_text(&node->name, name, TAILNET_LABEL));
	node->id = id;
	node->machine = machine;
	node->user = 1;
	node->created = 11;
	node->authorized = true;
	memcpy(node->node_key, &id, sizeof(id));
	snprintf(addr, sizeof(addr), "100.64.1.%lld", (long long)id);
	need(addr_parse(addr, &node->v4) == 0);
	return node;
}

static void add_nodes(struct store_tx *tx)
{
	static const struct tailnet_endpoint endpoints[2] = {
		{ { { 4, { 192, 0, 2, 1 } }, 41641 }, 2 },
		{ { { 6, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } }, 41641 }, 1 },
	};
	static const struct warren_prefix routes[2] = {
		{ { 4, { 10, 1, 2, 3 } }, 16 }, { { 4, { 0 } }, 0 },
	};
	static const char *const tags[] = { "tag:web", "tag:db" };
	static const char *const attributes[] = { "custom:tier=\"a b\"", "custom:risk=1.5" };
	struct tailnet_node *node = rows_node(1, 1);

	need(addr_parse("100.64.0.1", &node->v4) == 0);
	need(addr_parse("fd7a:115c:a1e0::1", &node->v6) == 0);
	need(set_text(&node->name, "laptop", TAILNET_LABEL));
	need(set_text(&node->hostname, "Laptop of W\xc3\xa9", TAILNET_HOSTNAME));
	need(set_endpoints(&node->soft.endpoints, endpoints, 2));
	need(set_bytes(&node->soft.hostinfo, "{\"OS\":\"linux\"}", 14));
	need(set_prefixes(&node->announced, routes, 2));
	need(set_prefixes(&node->approved, routes, 1));
	need(set_strings(&node->attributes, attributes, 2));
	node->auth_key = 1;
	node->soft.disco_key[31] = 9;
	node->soft.home_derp = 900;
	node->soft.capver = 113;
	node->soft.last_seen = 77;
	node->automatic = node->interactive = true;
	store_tx_node(tx, node);
	tailnet_node_unref(node);

	node = rows_node(2, 2);
	node->user = 0;
	node->expiry = INT64_C(4102444800000000);
	node->ephemeral = true;
	need(set_strings(&node->tags, tags, 2));
	store_tx_node(tx, node);
	tailnet_node_unref(node);
}

static void add_keys(struct store_tx *tx)
{
	static const char *const tag = "tag:web";
	struct tailnet_key *key;

	for (int i = 1; i <= 2; i++) {
		key = key_new();
		need(key && set_text(&key->prefix, "wkey-auth-0123", 64));
		need(set_text(&key->note, "for the \"lab\"", 64));
		need(set_strings(&key->tags, &tag, 1));
		key->id = i;
		key->user = i == 1 ? 1 : 0;
		key->hash[0] = (uint8_t)i;
		key->expiry = 99;
		key->reusable = i == 1;
		key->preauthorized = true;
		store_tx_key(tx, key);
		tailnet_key_unref(key);
	}
}

struct store_tx *rows_full(void)
{
	static const char *const groups[] = { "b", "a" };
	static const struct warren_addr held = { 4, { 100, 64, 0, 9 } };
	struct store_machine machine = { .created = 5 };
	struct store_tx *tx = store_tx_new();
	struct tailnet_user *user = user_new();

	need(tx && user);
	need(set_text(&user->login, "wells", 64) && set_text(&user->display, "Wells", 64));
	need(set_text(&user->email, "wells@example.com", 64));
	need(set_text(&user->picture, "http://p/", 64) && set_text(&user->provider, "oidc", 64));
	need(set_text(&user->subject, "https://i#1", 64) && set_strings(&user->groups, groups, 2));
	user->id = 1;
	user->role = TAILNET_ADMIN;
	user->pinned = true;
	store_tx_user(tx, user);
	tailnet_user_unref(user);
	for (int i = 1; i <= 2; i++) {
		machine.id = i;
		machine.key[0] = (uint8_t)i;
		store_tx_machine(tx, &machine);
	}
	store_tx_pin(tx, 1, 1, true);
	add_keys(tx);
	add_nodes(tx);
	store_tx_hold(tx, &held, 1234);
	need(!store_tx_failed(tx));
	return tx;
}

static void add_strings(struct str *out, const struct tailnet_strings *list)
{
	str_addc(out, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, "%s%s", i ? " " : "", list->at[i]);
	str_addc(out, ']');
}

static void add_prefixes(struct str *out, const struct tailnet_prefixes *list)
{
	char text[PREFIX_TEXT];

	str_addc(out, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, "%s%s", i ? " " : "", prefix_format(&list->at[i], text));
	str_addc(out, ']');
}

static int see_user(void *self, const struct tailnet_user *u)
{
	if (!self)
		return 0;
	str_addf(self, "user %lld %s \"%s\" %s %s %s %s ", (long long)u->id, u->login, u->display,
		 u->email, u->picture, u->provider, u->subject);
	add_strings(self, u->groups);
	str_addf(self, " %s%s\n", tailnet_role_name(u->role), u->pinned ? " pinned" : "");
	return 0;
}

static int see_machine(void *self, const struct store_machine *m)
{
	char hex[65];

	hex_encode(hex, m->key, 32);
	if (self)
		str_addf(self, "machine %lld %lld %s\n", (long long)m->id, (long long)m->created,
			 hex);
	return 0;
}

static int see_pin(void *self, int64_t machine, int64_t user)
{
	if (self)
		str_addf(self, "pin %lld %lld\n", (long long)machine, (long long)user);
	return 0;
}

static int see_key(void *self, const struct tailnet_key *k)
{
	char hex[65];

	hex_encode(hex, k->hash, 32);
	if (!self)
		return 0;
	str_addf(self, "key %lld user %lld %lld %lld %lld %lld %s %s \"%s\" ", (long long)k->id,
		 (long long)k->user, (long long)k->created, (long long)k->expiry,
		 (long long)k->used, (long long)k->revoked, hex, k->prefix, k->note);
	add_strings(self, k->tags);
	str_addf(self, " %d%d%d\n", k->reusable, k->ephemeral, k->preauthorized);
	return 0;
}

static int see_node(void *self, const struct tailnet_node *n)
{
	char hex[65], v4[ADDR_TEXT], v6[ADDR_TEXT], text[ADDRPORT_TEXT];
	const struct tailnet_endpoints *e = n->soft.endpoints;

	if (!self)
		return 0;
	hex_encode(hex, n->node_key, 32);
	str_addf(self, "node %lld machine %lld %02x user %lld key %lld %lld %lld %s %s %s %s "
		 "\"%s\" ", (long long)n->id, (long long)n->machine, n->machine_key[0],
		 (long long)n->user, (long long)n->auth_key, (long long)n->created,
		 (long long)n->expiry, hex,
		 addr_format(&n->v4, v4), addr_format(&n->v6, v6), n->name, n->hostname);
	add_strings(self, n->tags);
	add_prefixes(self, n->announced);
	add_prefixes(self, n->approved);
	str_addf(self, " %d%d%d%d", n->automatic, n->ephemeral, n->authorized, n->interactive);
	if (n->attributes)		/* since schema 2 */
		add_strings(self, n->attributes);
	str_add(self, " endpoints");
	for (uint32_t i = 0; e && i < e->count; i++)
		str_addf(self, " %s/%u", addrport_format(&e->at[i].at, text), e->at[i].type);
	str_addf(self, " disco %02x hostinfo %s derp %u capver %u seen %lld\n",
		 n->soft.disco_key[31], n->soft.hostinfo ? n->soft.hostinfo : "-",
		 n->soft.home_derp, n->soft.capver, (long long)n->soft.last_seen);
	return 0;
}

static int see_held(void *self, const struct store_held *held)
{
	char text[ADDR_TEXT];

	if (self)
		str_addf(self, "held %s %lld\n", addr_format(&held->addr, text),
			 (long long)held->until);
	return 0;
}

static int see_last(void *self, int64_t user, int64_t machine, int64_t key, int64_t node)
{
	if (self)
		str_addf(self, "last %lld %lld %lld %lld\n", (long long)user, (long long)machine,
			 (long long)key, (long long)node);
	return 0;
}

struct store_visitor rows_visitor(struct str *out)
{
	return (struct store_visitor){
		.self = out, .user = see_user, .machine = see_machine, .pin = see_pin,
		.key = see_key, .node = see_node, .held = see_held, .last = see_last,
	};
}

char *rows_dump(struct store *store)
{
	struct str out = STR_INIT;
	struct store_visitor visitor = rows_visitor(&out);
	char why[STORE_WHY];

	if (store_load(store, &visitor, why) != 0) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	return str_take(&out);
}
