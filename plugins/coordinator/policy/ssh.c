/*
 * The SSH policy of one node (coordinator.md 2.10).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/str.h"
#include "posture.h"
#include "world_impl.h"

struct build {
	const struct policy_world *w;
	const struct wnode *node;	/* whose policy it is */
	const char *url;
	json_t *out;
	bool failed;
};

/* ---- pieces ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "nodeIP")),
		      json_string_value(json_object_get(*(json_t *const *)b, "nodeIP")));
}

/* The addresses of @nodes as principals, sorted. NULL: there are none. */
static json_t *principals(struct build *b, const struct wnode *const *nodes, uint32_t n)
{
	json_t **all = calloc(2 * n + 1, sizeof(*all)), *list = NULL;
	char text[RANGE_TEXT];
	uint32_t count = 0;

	for (uint32_t i = 0; all && i < n; i++) {
		for (uint32_t k = 0; k < nodes[i]->n_addr; k++) {
			all[count] = json_pack("{s:s}", "nodeIP",
					       range_format(&nodes[i]->addr[k], text));
			b->failed = b->failed || !all[count];
			count += all[count] != NULL;
		}
	}
	if (count > 0) {
		qsort(all, count, sizeof(json_t *), by_text);
		list = json_array();
	}
	for (uint32_t i = 0; i < count; i++)
		json_array_append_new(list, all[i]);
	b->failed = b->failed || !all;
	free(all);
	return list;
}

static json_t *recorders(struct build *b, const struct ssh_rule *rule)
{
	struct ranges set = { .at = NULL };
	json_t *list = json_array();
	char text[RANGE_TEXT], with_port[RANGE_TEXT + 8];

	for (uint32_t i = 0; i < rule->recorder.n; i++)
		sel_ranges(b->w, &rule->recorder.at[i], &set);
	for (uint32_t i = 0; i < set.n; i++) {
		range_format(&set.at[i], text);
		snprintf(with_port, sizeof(with_port), set.at[i].family == 6 ? "[%s]:80" : "%s:80",
			 text);
		json_array_append_new(list, json_string(with_port));
	}
	ranges_free(&set);
	return list;
}

static json_t *let_in(struct build *b, const struct ssh_rule *rule)
{
	json_t *o = json_pack("{s:b,s:b,s:b,s:b}", "accept", 1, "allowAgentForwarding", 1,
			      "allowLocalPortForwarding", 1, "allowRemotePortForwarding", 1);

	if (rule->recorder.n > 0)
		json_object_set_new(o, "recorders", recorders(b, rule));
	if (rule->recorder.n > 0 && rule->enforce_recorder)
		json_object_set_new(o, "onRecordingFailure", json_pack("{s:s,s:s}",
				    "RejectSessionWithMessage", "# Session rejected: it cannot be "
				    "recorded", "TerminateSessionWithMessage",
				    "# Session ended: it is no longer recorded"));
	return o;
}

static json_t *action(struct build *b, const struct ssh_rule *rule)
{
	char url[512];

	if (!rule->check)
		return let_in(b, rule);
	snprintf(url, sizeof(url), "%s/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?"
		 "local_user=$LOCAL_USER", b->url);
	return json_pack("{s:s}", "holdAndDelegate", url);
}

static json_t *logins(const struct ssh_rule *rule)
{
	json_t *o = json_pack("{s:s}", "root", rule->root ? "root" : "");

	if (rule->nonroot)
		json_object_set_new(o, "*", json_string("="));
	for (uint32_t i = 0; i < rule->n_users; i++)
		json_object_set_new(o, rule->users[i], json_string(rule->users[i]));
	return o;
}

/* Takes @users; borrows @from. */
static void emit_take(struct build *b, const struct ssh_rule *rule, json_t *from, json_t *users)
{
	json_t *o = from && users ? json_pack("{s:O,s:o,s:o}", "principals", from, "sshUsers",
					      users, "action", action(b, rule)) : NULL;
	json_t *env = rule->n_accept_env > 0 ? json_array() : NULL;

	for (uint32_t i = 0; i < rule->n_accept_env; i++)
		json_array_append_new(env, json_string(rule->accept_env[i]));
	if (env)
		json_object_set_new(o, "acceptEnv", env);
	if (from && (!o || json_array_append_new(b->out, o)))
		b->failed = true;
	if (!from)
		json_decref(users);
}

/* ---- one rule ---- */

/* The part before "@" of an address in one of the rule's domains; false: in none. */
static bool local_part(const struct ssh_rule *rule, const struct wuser *u, char *out, size_t size)
{
	const char *email = u->email[0] ? u->email : u->login, *at = strrchr(email, '@');

	for (uint32_t i = 0; at && i < rule->n_localparts; i++) {
		if (strcasecmp(rule->localparts[i], at + 1) == 0 && (size_t)(at - email) < size) {
			memcpy(out, email, (size_t)(at - email));
			out[at - email] = '\0';
			return true;
		}
	}
	return false;
}

static void emit_user(struct build *b, const struct ssh_rule *rule, const struct wuser *u,
		      const struct wnode *const *nodes, uint32_t n)
{
	json_t *from = principals(b, nodes, n);
	char name[256];

	emit_take(b, rule, from, logins(rule));
	if (from && local_part(rule, u, name, sizeof(name)))
		emit_take(b, rule, from, json_pack("{s:s}", name, name));
	json_decref(from);
}

/* The nodes of @all that are @owner's (NULL: the tagged ones), into @out. */
static uint32_t pick(const struct wnode *const *all, uint32_t n, const struct wuser *owner,
		     const struct wnode **out)
{
	uint32_t picked = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (owner ? all[i]->owner == owner : !all[i]->owner)
			out[picked++] = all[i];
	}
	return picked;
}

/* With localpart a rule is one per person, by id, and one for what is nobody's. */
enum { PERSONS = 1, TAGGED = 2 };
static void emit_split(struct build *b, const struct ssh_rule *rule,
		       const struct wnode *const *all, uint32_t n, const struct wuser *only,
		       uint32_t what)
{
	const struct wnode **some = calloc(n + 1, sizeof(*some));
	int64_t after = 0;
	uint32_t count;
	json_t *from;

	while (some && (what & PERSONS)) {
		const struct wuser *next = NULL;

		for (uint32_t i = 0; i < n; i++) {
			if (all[i]->owner && all[i]->owner->id > after &&
			    (!next || all[i]->owner->id < next->id))
				next = all[i]->owner;
		}
		if (!next)
			break;
		after = next->id;
		count = pick(all, n, next, some);
		if (!only || only == next)
			emit_user(b, rule, next, some, count);
	}
	count = some && (what & TAGGED) ? pick(all, n, NULL, some) : 0;
	from = count > 0 ? principals(b, some, count) : NULL;
	if (from)
		emit_take(b, rule, from, logins(rule));
	json_decref(from);
	b->failed = b->failed || !some;
	free(some);
}

static void emit_rule(struct build *b, const struct ssh_rule *rule,
		      const struct wnode *const *all, uint32_t n)
{
	json_t *from;

	if (rule->n_localparts > 0) {
		emit_split(b, rule, all, n, NULL, PERSONS | TAGGED);
		return;
	}
	from = principals(b, all, n);
	emit_take(b, rule, from, from ? logins(rule) : NULL);
	json_decref(from);
}

/* ---- which nodes ---- */

static uint32_t sources(const struct build *b, const struct ssh_rule *rule,
			const struct wnode **out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->w->n_slots; i++) {
		const struct wnode *node = b->w->slots[i];

		if (node && is_source_node(b->w, &rule->src, &rule->postures, node))
			out[n++] = node;
	}
	return n;
}

static bool is_dst(const struct build *b, const struct ssh_rule *rule, bool *self)
{
	bool plain = false;

	*self = false;
	for (uint32_t i = 0; i < rule->dst.n; i++) {
		const struct sel *sel = &rule->dst.at[i];

		if (sel->kind == SEL_SELF)
			*self = b->node->owner != NULL;
		else
			plain = plain || sel_matches(b->w, sel, b->node);
	}
	return plain;
}

static bool among(const struct wnode *const *all, uint32_t n, const struct wnode *node)
{
	for (uint32_t i = 0; i < n; i++) {
		if (all[i] == node)
			return true;
	}
	return false;
}

static bool has_self(const struct ssh_rule *rule)
{
	for (uint32_t i = 0; i < rule->dst.n; i++) {
		if (rule->dst.at[i].kind == SEL_SELF)
			return true;
	}
	return false;
}

static void add_rule(struct build *b, const struct ssh_rule *rule, const struct wnode **all,
		     const struct wnode **some)
{
	uint32_t n = sources(b, rule, all);
	bool self, plain = is_dst(b, rule, &self);

	if (self) {
		/* All of the person's devices, once one of them is a source. */
		uint32_t own = pick(all, n, b->node->owner, some);

		if (own > 0) {
			own = 0;
			for (uint32_t i = 0; i < b->w->n_slots; i++) {
				const struct wnode *other = b->w->slots[i];

				if (other && other->owner == b->node->owner)
					some[own++] = other;
			}
			emit_rule(b, rule, some, own);
		}
	}
	if (plain)
		emit_rule(b, rule, all, n);
	else if (!self && !has_self(rule) && rule->n_localparts > 0 && among(all, n, b->node))
		/* As recorded: a node that is only a source has the part of its own. */
		emit_split(b, rule, all, n, b->node->owner, b->node->owner ? PERSONS : TAGGED);
}

json_t *policy_world_ssh(const struct policy_world *w, int64_t id, const char *url)
{
	struct build b = { .w = w, .url = url, .out = json_array() };
	const struct wnode **all = calloc(w->n_slots + 1, sizeof(*all));
	const struct wnode **some = calloc(w->n_slots + 1, sizeof(*some));
	uint32_t slot;

	b.node = world_node(w, id, &slot);
	for (int pass = 0; all && some && b.node && w->policy && pass < 2; pass++) {
		for (uint32_t i = 0; i < w->policy->n_ssh; i++) {
			if (w->policy->ssh[i].check == (pass == 0))
				add_rule(&b, &w->policy->ssh[i], all, some);
		}
	}
	if (b.failed || !all || !some) {
		json_decref(b.out);
		b.out = NULL;
	}
	free(all);
	free(some);
	return b.out;
}

enum policy_ssh policy_world_ssh_of(const struct policy_world *w, int64_t src, int64_t dst,
				    const char *login, int64_t *period, json_t **action)
{
	struct build b = { .w = w };
	uint32_t slot;
	const struct wnode *from = world_node(w, src, &slot), *to = world_node(w, dst, &slot);
	const struct ssh_rule *rule = from && to ? ssh_rule_of(w, from, to, login) : NULL;

	*period = 0;
	*action = NULL;
	if (!rule)
		return POLICY_SSH_DENY;
	*action = let_in(&b, rule);
	*period = rule->check_period;
	return rule->check ? POLICY_SSH_CHECK : POLICY_SSH_ACCEPT;
}
