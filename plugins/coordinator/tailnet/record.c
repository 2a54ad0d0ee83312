/*
 * Records and what they point to. Each is one counted block; a copy of a record shares all that
 * did not change, so that a change of one field costs one block of a fixed size.
 */
#include "record.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "make.h"
#include "tailnet.h"

struct counted {
	_Atomic uint32_t refs;
	max_align_t data[];
};

void *counted_new(size_t size)
{
	struct counted *block = calloc(1, sizeof(*block) + size);

	if (!block)
		return NULL;
	block->refs = 1;
	return block->data;
}

const void *counted_ref(const void *data)
{
	if (data)
		atomic_fetch_add(&CONTAINER_OF(data, struct counted, data)->refs, 1);
	return data;
}

/* True: that was the last reference, and nobody else can see the block any more. */
static bool counted_drop(const void *data)
{
	return data && atomic_fetch_sub(&CONTAINER_OF(data, struct counted, data)->refs, 1) == 1;
}

static void counted_free(const void *data)
{
	free(CONTAINER_OF(data, struct counted, data));
}

void counted_unref(const void *data)
{
	if (counted_drop(data))
		counted_free(data);
}

static void replace(const void *field, const void *block)
{
	const void *old;

	/* The fields are pointers of several types; all have one representation. */
	memcpy(&old, field, sizeof(old));
	memcpy((void *)field, &block, sizeof(block));
	counted_unref(old);
}

/*
 * ---- Texts and lists ----
 */

bool set_bytes(const char **field, const char *text, size_t len)
{
	char *copy = NULL;

	if (text) {
		copy = counted_new(len + 1);
		if (!copy)
			return false;
		memcpy(copy, text, len);
	}
	replace(field, copy);
	return true;
}

bool set_text(const char **field, const char *text, size_t max)
{
	size_t len = text ? strnlen(text, max + 1) : 0;

	if (len > max)
		len = str_utf8_check(text, max);
	return set_bytes(field, text ? text : "", len);
}

static int compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One block: the head, the pointers, the bytes. */
static struct tailnet_strings *strings_new(const char *const *at, uint32_t count)
{
	size_t size = sizeof(struct tailnet_strings) + count * sizeof(char *), len;
	struct tailnet_strings *list;
	const char **to;
	char *bytes;

	for (uint32_t i = 0; i < count; i++)
		size += strlen(at[i]) + 1;
	list = counted_new(size);
	if (!list)
		return NULL;
	to = (const char **)(list + 1);
	bytes = (char *)(to + count);
	list->at = to;
	for (uint32_t i = 0; i < count; i++) {
		len = strlen(at[i]) + 1;
		to[i] = memcpy(bytes, at[i], len);
		bytes += len;
	}
	if (count)
		qsort(to, count, sizeof(*to), compare_text);
	for (uint32_t i = 0; i < count; i++) {
		if (!list->count || strcmp(to[list->count - 1], to[i]) != 0)
			to[list->count++] = to[i];
	}
	return list;
}

bool set_strings(const struct tailnet_strings **field, const char *const *at, uint32_t count)
{
	struct tailnet_strings *list = NULL;

	if (count) {
		list = strings_new(at, count);
		if (!list)
			return false;
	}
	replace(field, list);
	return true;
}

static int compare_prefix(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

bool set_prefixes(const struct tailnet_prefixes **field, const struct warren_prefix *at,
		  uint32_t count)
{
	struct tailnet_prefixes *list = NULL;

	if (count) {
		list = counted_new(sizeof(*list) + count * sizeof(list->at[0]));
		if (!list)
			return false;
		memcpy(list->at, at, count * sizeof(list->at[0]));
		for (uint32_t i = 0; i < count; i++) {
			struct warren_addr *addr = &list->at[i].addr;

			prefix_mask(&list->at[i]);
			/* Prefixes are keys of a hash: no byte without a meaning differs. */
			memset(addr->bytes + addr_size(addr), 0,
			       sizeof(addr->bytes) - addr_size(addr));
		}
		qsort(list->at, count, sizeof(list->at[0]), compare_prefix);
		for (uint32_t i = 0; i < count; i++) {
			if (!list->count ||
			    !prefix_equal(&list->at[list->count - 1], &list->at[i]))
				list->at[list->count++] = list->at[i];
		}
	}
	replace(field, list);
	return true;
}

bool set_endpoints(const struct tailnet_endpoints **field, const struct tailnet_endpoint *at,
		   uint32_t count)
{
	struct tailnet_endpoints *list = NULL;

	if (count) {
		list = counted_new(sizeof(*list) + count * sizeof(list->at[0]));
		if (!list)
			return false;
		list->count = count;
		memcpy(list->at, at, count * sizeof(list->at[0]));
	}
	replace(field, list);
	return true;
}

void share_strings(const struct tailnet_strings **field, const struct tailnet_strings *list)
{
	replace(field, counted_ref(list));
}

void share_soft(struct tailnet_soft *soft, const struct tailnet_soft *from)
{
	struct tailnet_soft old = *soft;

	*soft = *from;
	counted_ref(soft->endpoints);
	counted_ref(soft->hostinfo);
	counted_unref(old.endpoints);
	counted_unref(old.hostinfo);
}

void share_live(struct tailnet_live *live, const struct tailnet_live *from)
{
	struct tailnet_live old = *live;

	*live = *from;
	counted_ref(live->primary);
	counted_unref(old.primary);
}

/*
 * ---- Records ----
 */

struct tailnet_user *user_new(void)
{
	struct tailnet_user *user = counted_new(sizeof(*user));

	if (user && !(set_text(&user->login, "", 0) && set_text(&user->display, "", 0) &&
		      set_text(&user->email, "", 0) && set_text(&user->picture, "", 0) &&
		      set_text(&user->provider, "", 0) && set_text(&user->subject, "", 0))) {
		tailnet_user_unref(user);
		return NULL;
	}
	return user;
}

struct tailnet_user *user_copy(const struct tailnet_user *old)
{
	struct tailnet_user *user = counted_new(sizeof(*user));

	if (!user)
		return NULL;
	*user = *old;
	counted_ref(user->login);
	counted_ref(user->display);
	counted_ref(user->email);
	counted_ref(user->picture);
	counted_ref(user->provider);
	counted_ref(user->subject);
	counted_ref(user->groups);
	return user;
}

const struct tailnet_user *tailnet_user_ref(const struct tailnet_user *user)
{
	return counted_ref(user);
}

void tailnet_user_unref(const struct tailnet_user *user)
{
	if (!counted_drop(user))
		return;
	counted_unref(user->login);
	counted_unref(user->display);
	counted_unref(user->email);
	counted_unref(user->picture);
	counted_unref(user->provider);
	counted_unref(user->subject);
	counted_unref(user->groups);
	counted_free(user);
}

struct tailnet_node *node_new(void)
{
	struct tailnet_node *node = counted_new(sizeof(*node));

	if (node && !(set_text(&node->name, "", 0) && set_text(&node->hostname, "", 0))) {
		tailnet_node_unref(node);
		return NULL;
	}
	return node;
}

struct tailnet_node *node_copy(const struct tailnet_node *old)
{
	struct tailnet_node *node = counted_new(sizeof(*node));

	if (!node)
		return NULL;
	*node = *old;
	counted_ref(node->name);
	counted_ref(node->hostname);
	counted_ref(node->tags);
	counted_ref(node->announced);
	counted_ref(node->approved);
	counted_ref(node->attributes);
	counted_ref(node->soft.endpoints);
	counted_ref(node->soft.hostinfo);
	counted_ref(node->live.primary);
	return node;
}

const struct tailnet_node *tailnet_node_ref(const struct tailnet_node *node)
{
	return counted_ref(node);
}

void tailnet_node_unref(const struct tailnet_node *node)
{
	if (!counted_drop(node))
		return;
	counted_unref(node->name);
	counted_unref(node->hostname);
	counted_unref(node->tags);
	counted_unref(node->announced);
	counted_unref(node->approved);
	counted_unref(node->attributes);
	counted_unref(node->soft.endpoints);
	counted_unref(node->soft.hostinfo);
	counted_unref(node->live.primary);
	counted_free(node);
}

struct tailnet_key *key_new(void)
{
	struct tailnet_key *key = counted_new(sizeof(*key));

	if (key && !(set_text(&key->prefix, "", 0) && set_text(&key->note, "", 0))) {
		tailnet_key_unref(key);
		return NULL;
	}
	return key;
}

struct tailnet_key *key_copy(const struct tailnet_key *old)
{
	struct tailnet_key *key = counted_new(sizeof(*key));

	if (!key)
		return NULL;
	*key = *old;
	counted_ref(key->prefix);
	counted_ref(key->note);
	counted_ref(key->tags);
	return key;
}

const struct tailnet_key *tailnet_key_ref(const struct tailnet_key *key)
{
	return counted_ref(key);
}

void tailnet_key_unref(const struct tailnet_key *key)
{
	if (!counted_drop(key))
		return;
	counted_unref(key->prefix);
	counted_unref(key->note);
	counted_unref(key->tags);
	counted_free(key);
}

/*
 * ---- Questions ----
 */

const char *tailnet_role_name(enum tailnet_role role)
{
	static const char *const names[TAILNET_ROLES] = {
		"member", "owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor",
	};

	return (unsigned)role < TAILNET_ROLES ? names[role] : "member";
}

bool tailnet_strings_have(const struct tailnet_strings *list, const char *text)
{
	return list && list->count &&
	       bsearch(&text, list->at, list->count, sizeof(list->at[0]), compare_text);
}

bool tailnet_prefixes_have(const struct tailnet_prefixes *list,
			   const struct warren_prefix *prefix)
{
	return list && list->count &&
	       bsearch(prefix, list->at, list->count, sizeof(list->at[0]), compare_prefix);
}

bool tailnet_node_serves(const struct tailnet_node *node, const struct warren_prefix *prefix)
{
	return tailnet_prefixes_have(node->announced, prefix) &&
	       tailnet_prefixes_have(node->approved, prefix);
}

bool strings_equal(const struct tailnet_strings *a, const struct tailnet_strings *b)
{
	uint32_t n = a ? a->count : 0;

	if (a == b)
		return true;
	if (n != (b ? b->count : 0))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(a->at[i], b->at[i]) != 0)
			return false;
	}
	return true;
}

bool prefix_lists_equal(const struct tailnet_prefixes *a, const struct tailnet_prefixes *b)
{
	return a == b || prefixes_equal(a ? a->at : NULL, a ? a->count : 0, b ? b->at : NULL,
					b ? b->count : 0);
}

bool endpoints_equal(const struct tailnet_endpoints *a, const struct tailnet_endpoints *b)
{
	uint32_t n = a ? a->count : 0;

	if (a == b)
		return true;
	if (n != (b ? b->count : 0))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (!addrport_equal(&a->at[i].at, &b->at[i].at) || a->at[i].type != b->at[i].type)
			return false;
	}
	return true;
}

static uint32_t soft_diff(const struct tailnet_soft *a, const struct tailnet_soft *b)
{
	uint32_t f = 0;

	if (memcmp(a->disco_key, b->disco_key, sizeof(a->disco_key)) != 0)
		f |= TAILNET_F_DISCO_KEY;
	if (!endpoints_equal(a->endpoints, b->endpoints))
		f |= TAILNET_F_ENDPOINTS;
	if (a->home_derp != b->home_derp)
		f |= TAILNET_F_HOME_DERP;
	if (a->hostinfo != b->hostinfo && !str_equal(a->hostinfo, b->hostinfo))
		f |= TAILNET_F_HOSTINFO;
	if (a->capver != b->capver)
		f |= TAILNET_F_CAPVER;
	if (a->last_seen != b->last_seen)
		f |= TAILNET_F_LAST_SEEN;
	return f;
}

static uint32_t live_diff(const struct tailnet_live *a, const struct tailnet_live *b)
{
	uint32_t f = 0;

	if (a->online != b->online)
		f |= TAILNET_F_ONLINE;
	if (a->unhealthy != b->unhealthy)
		f |= TAILNET_F_HEALTH;
	if (a->expired != b->expired)
		f |= TAILNET_F_EXPIRED;
	if (!prefix_lists_equal(a->primary, b->primary))
		f |= TAILNET_F_PRIMARY;
	return f;
}

uint32_t node_diff(const struct tailnet_node *a, const struct tailnet_node *b)
{
	uint32_t f = soft_diff(&a->soft, &b->soft) | live_diff(&a->live, &b->live);

	if (memcmp(a->node_key, b->node_key, sizeof(a->node_key)) != 0)
		f |= TAILNET_F_NODE_KEY;
	if (a->expiry != b->expiry)
		f |= TAILNET_F_EXPIRY;
	if (strcmp(a->name, b->name) != 0)
		f |= TAILNET_F_NAME;
	if (strcmp(a->hostname, b->hostname) != 0)
		f |= TAILNET_F_HOSTNAME;
	if (a->user != b->user)
		f |= TAILNET_F_USER;
	if (!strings_equal(a->tags, b->tags))
		f |= TAILNET_F_TAGS;
	if (!addr_equal(&a->v4, &b->v4) || !addr_equal(&a->v6, &b->v6))
		f |= TAILNET_F_ADDRESSES;
	if (!prefix_lists_equal(a->announced, b->announced))
		f |= TAILNET_F_ANNOUNCED;
	if (!prefix_lists_equal(a->approved, b->approved))
		f |= TAILNET_F_APPROVED;
	if (a->authorized != b->authorized)
		f |= TAILNET_F_AUTHORIZED;
	if (!strings_equal(a->attributes, b->attributes))
		f |= TAILNET_F_ATTRIBUTES;
	if (a->auth_key != b->auth_key || a->ephemeral != b->ephemeral ||
	    a->automatic != b->automatic || a->interactive != b->interactive)
		f |= TAILNET_F_OTHER;
	return f;
}
