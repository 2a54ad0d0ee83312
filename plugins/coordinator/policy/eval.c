/*
 * One case, as they were recorded of the hosted service: a policy, a tailnet, and what follows from
 * it for every node.
 *
 * A case does not say how old nodes are, which decides between routers of one network, nor the
 * roles of users. Here "id" of a node counts where it has one; without, numbered siblings are taken
 * in their order (ha-1 before ha-2), then those that announce more networks, then by name from the
 * end. The first user is the owner, the others are administrators, and the owner's domain is the
 * tailnet's.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "world.h"

enum { NODES_MAX = 4096, PREFIXES_MAX = 1024, TAGS_MAX = 256 };

struct enode {
	const char *name;
	const json_t *o;
	int64_t id;
	struct warren_prefix *announced, *approved;
	uint32_t n_announced, n_approved, n_given;	/* @n_given of these are in the case */
	const char **tags;
	uint32_t n_tags;
};
struct eval {
	const json_t *users, *nodes;
	struct enode *list;
	uint32_t n;
	struct policy_world *world;
	struct policy *policy;
	struct policy_error error;
	char domain[256];
	const char *owner;
};

/* ---- reading ---- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static bool take_prefixes(const json_t *list, struct warren_prefix **out, uint32_t *n)
{
	*out = calloc(json_array_size(list) + 1, sizeof(**out));
	for (size_t i = 0; *out && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || *n >= PREFIXES_MAX || prefix_parse(text, &(*out)[*n]))
			return false;
		prefix_mask(&(*out)[(*n)++]);
	}
	return *out != NULL;
}

static bool take_tags(const json_t *list, struct enode *n)
{
	n->tags = calloc(json_array_size(list) + 1, sizeof(*n->tags));
	for (size_t i = 0; n->tags && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		if (!text || n->n_tags >= TAGS_MAX)
			return false;
		n->tags[n->n_tags++] = text;
	}
	return n->tags != NULL;
}

/* The number at the end of a name; 0: none. */
static unsigned long number_of(const char *name)
{
	size_t len = strlen(name);

	while (len > 0 && isdigit((unsigned char)name[len - 1]))
		len--;
	return strtoul(name + len, NULL, 10);
}

static int by_age(const void *a, const void *b)
{
	const struct enode *x = a, *y = b;
	unsigned long n = number_of(x->name), m = number_of(y->name);

	if (x->id != y->id)
		return !x->id ? 1 : !y->id ? -1 : x->id < y->id ? -1 : 1;
	if (x->n_announced != y->n_announced)
		return x->n_announced > y->n_announced ? -1 : 1;
	if (n && m)
		return strcmp(x->name, y->name);
	if (n || m)
		return n ? -1 : 1;
	return -strcmp(x->name, y->name);
}

static bool take_nodes(struct eval *e)
{
	const char *name;
	json_t *o;

	e->list = calloc(json_object_size(e->nodes) + 1, sizeof(*e->list));
	if (!e->list || json_object_size(e->nodes) > NODES_MAX)
		return false;
	json_object_foreach((json_t *)(uintptr_t)e->nodes, name, o) {
		struct enode *n = &e->list[e->n++];

		n->name = name;
		n->o = o;
		n->id = json_integer_value(json_object_get(o, "id"));
		if (!take_prefixes(json_object_get(o, "routable_ips"), &n->announced,
				   &n->n_announced) ||
		    !take_prefixes(json_object_get(o, "approved_routes"), &n->approved,
				   &n->n_approved) || !take_tags(json_object_get(o, "tags"), n))
			return false;
		n->n_given = n->n_approved;
	}
	qsort(e->list, e->n, sizeof(*e->list), by_age);
	for (uint32_t i = 0; i < e->n; i++)
		e->list[i].id = (int64_t)i + 1;
	return true;
}

static const json_t *owner_of(const json_t *users)
{
	const json_t *first = NULL;

	for (size_t i = 0; i < json_array_size(users); i++) {
		const json_t *u = json_array_get(users, i);

		if (!first || json_integer_value(json_object_get(u, "id")) <
			      json_integer_value(json_object_get(first, "id")))
			first = u;
	}
	return first;
}

static bool put_users(struct eval *e)
{
	const json_t *owner = owner_of(e->users);
	const char *at;

	e->owner = text_of(owner, "email");
	at = strrchr(e->owner, '@');
	snprintf(e->domain, sizeof(e->domain), "%s", at ? at + 1 : "");
	for (size_t i = 0; i < json_array_size(e->users); i++) {
		const json_t *u = json_array_get(e->users, i);
		struct policy_user user = {
			.id = (int64_t)json_integer_value(json_object_get(u, "id")) + 1,
			.login = text_of(u, "name"), .name = text_of(u, "name"),
			.email = text_of(u, "email"),
			.role = u == owner ? POLICY_OWNER : POLICY_ADMIN,
		};

		if (policy_world_user(e->world, &user, NULL))
			return false;
	}
	return true;
}

static int64_t user_id(const struct eval *e, const char *name)
{
	for (size_t i = 0; name[0] && i < json_array_size(e->users); i++) {
		const json_t *u = json_array_get(e->users, i);

		if (strcmp(text_of(u, "name"), name) == 0)
			return (int64_t)json_integer_value(json_object_get(u, "id")) + 1;
	}
	return 0;
}

static struct policy_node node_as(const struct eval *e, const struct enode *n)
{
	struct policy_node node = {
		.id = n->id, .user = user_id(e, text_of(n->o, "user")), .tags = n->tags,
		.n_tags = n->n_tags, .announced = n->announced, .n_announced = n->n_announced,
		.approved = n->approved, .n_approved = n->n_approved,
		.attributes = json_object_get(n->o, "attributes"),
	};

	(void)addr_parse(text_of(n->o, "ipv4"), &node.v4);
	(void)addr_parse(text_of(n->o, "ipv6"), &node.v6);
	return node;
}

static int put_node(struct eval *e, const struct enode *n)
{
	const struct policy_node node = node_as(e, n);

	return policy_world_put(e->world, &node, NULL);
}

/* What the policy's autoApprovers approve is approved. */
static bool approve(struct eval *e, struct enode *n)
{
	const size_t most = n->n_approved + n->n_announced + 1;
	struct warren_prefix *grown = realloc(n->approved, most * sizeof(*grown));
	struct policy_node node;

	if (!grown)
		return false;
	n->approved = grown;
	node = node_as(e, n);
	for (uint32_t i = 0; i < n->n_announced; i++) {
		if (policy_world_approves(e->world, &node, &n->announced[i]))
			n->approved[n->n_approved++] = n->announced[i];
	}
	return put_node(e, n) == 0;
}

static bool read_policy(struct eval *e, const json_t *policy)
{
	const char *const domains[] = { e->domain };
	const struct policy_options options = { .domains = domains, .n_domains = 1 };
	char *text = json_is_string(policy) ? NULL : json_dumps(policy, JSON_COMPACT);
	const char *from = text ? text : json_string_value(policy);

	e->policy = from ? policy_parse(from, strlen(from), &options, &e->error) : NULL;
	free(text);
	return e->policy != NULL;
}

/* ---- answering ---- */

/* What the hosted service gives every device, whatever the policy. */
static json_t *caps_of(const struct eval *e, const struct enode *n)
{
	static const char *const all[] = {
		"https://tailscale.com/cap/file-sharing", "https://tailscale.com/cap/ssh",
		"https://tailscale.com/cap/tailnet-lock", "probe-udp-lifetime", "ssh-behavior-v1",
		"ssh-env-vars", "store-appc-routes", NULL,
	};
	json_t *caps = policy_world_caps(e->world, n->id);
	const char *user = text_of(n->o, "user");
	bool owner = n->n_tags > 0 || !user[0] ||
		     strcmp(user, text_of(owner_of(e->users), "name")) == 0;

	for (size_t i = 0; all[i]; i++)
		json_object_set_new(caps, all[i], json_null());
	if (json_object_get(caps, "funnel"))	/* without certificates */
		json_object_set_new(caps, "https://tailscale.com/cap/warn-funnel-no-https",
				    json_null());
	json_object_set_new(caps, "tailnet-display-name", json_pack("[s]", e->owner[0] ? e->owner :
								     "odin@example.com"));
	if (owner)
		json_object_set_new(caps, "https://tailscale.com/cap/is-owner", json_null());
	if (n->n_tags == 0)
		json_object_set_new(caps, "https://tailscale.com/cap/is-admin", json_null());
	return caps;
}

static json_t *peers_of(const struct eval *e, const struct enode *n)
{
	json_t *out = json_object();

	for (uint32_t i = 0; i < e->n; i++) {
		const struct enode *peer = &e->list[i];
		json_t *tags = json_array(), *subnets, *allowed;

		if (!policy_world_sees(e->world, n->id, peer->id)) {
			json_decref(tags);
			continue;
		}
		for (uint32_t k = 0; k < peer->n_tags; k++)
			json_array_append_new(tags, json_string(peer->tags[k]));
		allowed = policy_world_allowed(e->world, n->id, peer->id, &subnets);
		json_object_set_new(out, peer->name, json_pack("{s:o,s:o,s:o,s:o}",
				    "allowed_ips", allowed, "caps",
				    policy_world_peer_caps(e->world, peer->id),
				    "primary_routes", subnets, "tags", tags));
	}
	return out;
}

static json_t *node_of(const struct eval *e, const struct enode *n)
{
	json_t *filter = policy_world_filter(e->world, n->id);

	if (json_array_size(filter) == 0) {
		json_decref(filter);
		filter = json_null();
	}
	return json_pack("{s:o,s:o,s:o,s:o}", "caps", caps_of(e, n), "filter", filter, "peers",
			 peers_of(e, n), "ssh",
			 policy_world_ssh(e->world, n->id, "https://unused"));
}

static json_t *answer(const struct eval *e, bool accepted)
{
	json_t *expect = json_object();

	for (uint32_t i = 0; i < e->n; i++)
		json_object_set_new(expect, e->list[i].name, node_of(e, &e->list[i]));
	return json_pack("{s:b,s:o,s:o}", "accepted", accepted, "response", accepted ?
			 json_null() : json_pack("{s:s}", "message", e->error.text),
			 "expect", expect);
}

static void forget_approved(struct eval *e)
{
	for (uint32_t i = 0; i < e->n; i++)
		e->list[i].n_approved = e->list[i].n_given;
}

/* The nodes as they are in the case, with what the policy in force approves. */
static bool put_nodes(struct eval *e)
{
	bool ok = policy_world_set(e->world, e->policy, NULL) == 0;

	for (uint32_t i = 0; ok && i < e->n; i++)
		ok = put_node(e, &e->list[i]) == 0;
	for (uint32_t i = 0; ok && i < e->n; i++)
		ok = approve(e, &e->list[i]);
	return ok;
}

/* The policy before the refused one stays: in the recordings that was one without any rule. */
static bool put_empty(struct eval *e)
{
	struct policy *refused = e->policy;
	struct policy_error ignored;
	bool ok;

	e->policy = policy_parse("{}", 2, NULL, &ignored);
	ok = e->policy && put_nodes(e);
	policy_free(refused);
	return ok;
}

static json_t *evaluate(struct eval *e, const json_t *policy, struct warren_err *err)
{
	bool accepted, ok;

	if (!e->world || !put_users(e) || !take_nodes(e)) {
		warren_fail(err, NULL, "the case's users or nodes are not as expected");
		return NULL;
	}
	accepted = read_policy(e, policy) && put_nodes(e) &&
		   policy_world_tests(e->world, &e->error);
	if (!accepted)
		forget_approved(e);	/* by what was refused */
	ok = accepted || put_empty(e);
	if (ok)
		return answer(e, accepted);
	warren_fail(err, NULL, "no memory");
	return NULL;
}

json_t *policy_eval(const json_t *one, struct warren_err *err)
{
	struct eval e = { .users = json_object_get(one, "users"),
			  .nodes = json_object_get(one, "nodes"),
			  .world = policy_world_new() };
	const json_t *policy = json_object_get(one, "policy");
	json_t *out = NULL;

	if (json_is_array(e.users) && json_is_object(e.nodes) &&
	    (json_is_object(policy) || json_is_string(policy)))
		out = evaluate(&e, policy, err);
	else
		warren_fail(err, NULL, "a case is an object with policy, users and nodes");
	policy_world_free(e.world);
	policy_free(e.policy);
	for (uint32_t i = 0; i < e.n; i++) {
		free(e.list[i].announced);
		free(e.list[i].approved);
		free(e.list[i].tags);
	}
	free(e.list);
	return out;
}
