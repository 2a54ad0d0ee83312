/*
 * The register of things. Interfaces, addresses, routes, rules and sysctl values are looked up by
 * what identifies them to the kernel, through a map: a large site has thousands of routes.
 */
#include "monitor/thing.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "base/util.h"

static const struct {
	const char *name;
	size_t size;
} kinds[] = {
	[MON_TUN] = { "interface", sizeof(struct mon_tun) },
	[MON_SOCKET] = { "socket", sizeof(struct mon_socket) },
	[MON_WATCH] = { "watch", sizeof(struct mon_watch) },
	[MON_ADDR] = { "address", sizeof(struct warren_priv_addr) },
	[MON_ROUTE] = { "route", sizeof(struct warren_priv_route) },
	[MON_RULE] = { "rule", sizeof(struct warren_priv_rule) },
	[MON_SYSCTL] = { "sysctl", sizeof(struct mon_sysctl) },
	[MON_PATH] = { "socket file", sizeof(struct mon_path) },
	[MON_NFT] = { "firewall table", sizeof(struct warren_priv_nft) },
	[MON_MARK] = { "firewall rule", sizeof(struct mon_mark) },
	[MON_NETNS] = { "service namespace", sizeof(struct mon_netns) },
	[MON_RESOLVER] = { "resolver configuration", sizeof(struct mon_resolver) },
};

size_t mon_kind_size(uint32_t kind)
{
	return kind < ARRAY_SIZE(kinds) ? kinds[kind].size : 0;
}

const char *mon_kind_name(uint32_t kind)
{
	return kind < ARRAY_SIZE(kinds) && kinds[kind].name ? kinds[kind].name : "thing";
}

static void put_prefix(struct buf_writer *w, const struct warren_prefix *prefix)
{
	buf_put_u8(w, prefix->addr.family);
	buf_put_bytes(w, prefix->addr.bytes, sizeof(prefix->addr.bytes));
	buf_put_u8(w, prefix->bits);
}

/* What identifies it to the kernel; returns the length, 0 for kinds that are not looked up. */
static uint8_t make_key(uint8_t key[MON_KEY_MAX], uint32_t kind, const union mon_what *what)
{
	struct buf_writer w;

	buf_writer_init(&w, key, MON_KEY_MAX);
	buf_put_u8(&w, (uint8_t)kind);
	switch ((enum mon_kind)kind) {
	case MON_TUN:
		buf_put_bytes(&w, what->tun.req.ifname, WARREN_PRIV_IFNAME);
		break;
	case MON_ADDR:
		buf_put_bytes(&w, what->addr.ifname, WARREN_PRIV_IFNAME);
		put_prefix(&w, &what->addr.prefix);
		break;
	case MON_ROUTE:
		buf_put_be32(&w, what->route.table);
		buf_put_be32(&w, what->route.metric);
		put_prefix(&w, &what->route.dst);
		break;
	case MON_RULE:
		buf_put_be32(&w, what->rule.action);
		buf_put_be32(&w, what->rule.family);
		buf_put_be32(&w, what->rule.pref);
		buf_put_be32(&w, what->rule.table);
		buf_put_be32(&w, what->rule.mark);
		buf_put_be32(&w, what->rule.mask);
		buf_put_be32(&w, what->rule.flags);
		buf_put_be32(&w, what->rule.uid_first);
		buf_put_be32(&w, what->rule.uid_last);
		put_prefix(&w, &what->rule.to);
		buf_put_bytes(&w, what->rule.iif, WARREN_PRIV_IFNAME);
		buf_put_bytes(&w, what->rule.oif, WARREN_PRIV_IFNAME);
		break;
	case MON_SYSCTL:
		buf_put_be32(&w, what->sysctl.req.name);
		buf_put_bytes(&w, what->sysctl.req.ifname, WARREN_PRIV_IFNAME);
		break;
	case MON_NFT:
	case MON_RESOLVER:
		break;	/* there is one at most */
	case MON_SOCKET:
	case MON_WATCH:
	case MON_PATH:
	case MON_MARK:
	case MON_NETNS:
		return 0;
	}
	return (uint8_t)buf_written(&w);
}

void mon_things_init(struct mon_things *things)
{
	list_init(&things->all);
	list_init(&things->watches);
	hash_init(&things->by_key);
	things->next_id = 1;
	things->count = 0;
}

void mon_things_free(struct mon_things *things)
{
	struct mon_thing *thing, *next;

	list_for_each_safe(thing, next, &things->all, node)
		mon_thing_free(things, thing);
	hash_free(&things->by_key);
}

struct mon_thing *mon_thing_new(struct mon_things *things, uint32_t kind, const char *owner,
				const union mon_what *what)
{
	size_t size = mon_kind_size(kind);
	struct mon_thing *thing;

	if (things->count >= MON_THINGS_MAX)
		return NULL;
	thing = calloc(1, offsetof(struct mon_thing, what) + size);
	if (!thing)
		return NULL;
	thing->id = things->next_id;
	thing->kind = (uint8_t)kind;
	thing->claimed = true;
	str_copy(thing->owner, sizeof(thing->owner), owner);
	memcpy(&thing->what, what, size);
	thing->key_len = make_key(thing->key, kind, what);
	if (thing->key_len > 0 &&
	    hash_put(&things->by_key, thing->key, thing->key_len, thing, NULL)) {
		free(thing);
		return NULL;
	}
	list_add_tail(&things->all, &thing->node);
	if (kind == MON_WATCH)
		list_add_tail(&things->watches, &thing->what.watch.node);
	things->count++;
	/* Ids are handed out once; 4 billion of them outlast any engine. */
	things->next_id = things->next_id == UINT32_MAX ? 1 : things->next_id + 1;
	return thing;
}

void mon_thing_free(struct mon_things *things, struct mon_thing *thing)
{
	if (thing->key_len > 0)
		hash_del(&things->by_key, thing->key, thing->key_len);
	for (uint32_t i = 0; i < thing->n_fds; i++)
		auto_close(&thing->fds[i]);
	list_del(&thing->node);
	if (thing->kind == MON_WATCH)
		list_del(&thing->what.watch.node);
	things->count--;
	free(thing);
}

struct mon_thing *mon_thing_find(const struct mon_things *things, uint32_t kind,
				 const union mon_what *what)
{
	uint8_t key[MON_KEY_MAX];
	uint8_t len = make_key(key, kind, what);

	return len > 0 ? hash_get(&things->by_key, key, len) : NULL;
}

struct mon_thing *mon_thing_by_id(const struct mon_things *things, uint32_t kind, uint32_t id)
{
	struct mon_thing *thing;

	list_for_each(thing, &things->all, node) {
		if (thing->id == id && thing->kind == kind)
			return thing;
	}
	return NULL;
}

struct mon_thing *mon_thing_tun(const struct mon_things *things, const char *ifname)
{
	union mon_what what = { 0 };

	if (!str_copy(what.tun.req.ifname, sizeof(what.tun.req.ifname), ifname))
		return NULL;
	return mon_thing_find(things, MON_TUN, &what);
}
