/*
 * What the rules answer to a single question: tests of the policy (coordinator.md 2.11), and why
 * something may or may not reach something else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "posture.h"
#include "world_impl.h"

enum { ICMP = 1, TCP = 6, UDP = 17, ICMP6 = 58 };

/* ---- one packet ---- */

static bool protocol_fits(int rule, int protocol)
{
	if (rule != POLICY_ANY_PROTOCOL)
		return rule == protocol;
	return protocol == TCP || protocol == UDP || protocol == ICMP || protocol == ICMP6;
}

static bool ports_fit(const struct grant *g, int protocol, uint16_t port)
{
	for (uint32_t i = 0; i < g->n_ip; i++) {
		const struct ipspec *spec = &g->ip[i];

		if (!protocol_fits(spec->protocol, protocol))
			continue;
		for (uint32_t k = 0; k < spec->n; k++) {
			if ((spec->ports[k].first <= port && port <= spec->ports[k].last) ||
			    protocol == ICMP || protocol == ICMP6)
				return true;
		}
	}
	return false;
}

static const struct wnode *holder(const struct policy_world *w, const struct range *addr,
				  uint32_t *slot)
{
	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *n = w->slots[i];

		for (uint32_t k = 0; n && k < n->n_addr; k++) {
			if (range_equal(&n->addr[k], addr)) {
				*slot = i;
				return n;
			}
		}
	}
	return NULL;
}

/* To a device of the same person. */
static bool self_fits(const struct policy_world *w, const struct wgrant *g,
		      const struct range *src, const struct range *dst)
{
	uint32_t a, b;
	const struct wnode *from = g->self ? holder(w, src, &a) : NULL;
	const struct wnode *to = from ? holder(w, dst, &b) : NULL;

	return to && from->owner && from->owner == to->owner && bits_get(g->self_bits, a);
}

static bool item_fits(const struct wgrant *g, const struct range *dst)
{
	for (uint32_t i = 0; i < g->n_items; i++) {
		if (g->items[i].all || range_inside(dst, &g->items[i].range))
			return true;
	}
	return false;
}

/* The grant that lets @src (one address) reach @dst; NULL: none does. */
static const struct wgrant *rule_for(const struct policy_world *w, const struct range *src,
				     const struct range *dst, int protocol, uint16_t port)
{
	for (uint32_t i = 0; i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];
		bool source = g->any || ranges_contain(&g->src, src);

		if (ports_fit(g->grant, protocol, port) &&
		    ((source && item_fits(g, dst)) || self_fits(w, g, src, dst)))
			return g;
	}
	return NULL;
}

/* ---- the addresses of a selector ---- */

static bool collect(const struct policy_world *w, const struct sel *sel, struct ranges *out)
{
	if (sel->kind == SEL_ANY)
		for (uint32_t i = 0; i < w->n_slots; i++) {
			for (uint32_t k = 0; w->slots[i] && k < w->slots[i]->n_addr; k++)
				ranges_add(out, &w->slots[i]->addr[k]);
		}
	else
		sel_ranges(w, sel, out);
	return out->n > 0 && !out->failed;
}

/* How many of the pairs pass: all, some or none of them. */
static void count(const struct policy_world *w, const struct ranges *src,
		  const struct ranges *dst, int protocol, uint16_t port, uint32_t *passing,
		  uint32_t *all)
{
	*passing = *all = 0;
	for (uint32_t i = 0; i < src->n; i++) {
		for (uint32_t k = 0; k < dst->n; k++) {
			++*all;
			*passing += rule_for(w, &src->at[i], &dst->at[k], protocol, port) != NULL;
		}
	}
}

/* ---- tests ---- */

static bool target_holds(const struct policy_world *w, const struct ranges *src,
			 const struct policy_target *target, int protocol, bool accept)
{
	struct ranges dst = { .at = NULL };
	uint32_t passing = 0, all = 0;

	if (!target->usable)
		return false;
	if (collect(w, &target->dst, &dst))
		count(w, src, &dst, protocol == POLICY_ANY_PROTOCOL ? TCP : protocol, target->port,
		      &passing, &all);
	ranges_free(&dst);
	return accept ? all > 0 && passing == all : passing == 0;
}

static bool test_holds(const struct policy_world *w, const struct policy_test *test)
{
	struct ranges src = { .at = NULL };
	bool ok = test->usable && test->n_accept + test->n_deny > 0 && collect(w, &test->src, &src);

	for (uint32_t i = 0; ok && i < test->n_accept; i++)
		ok = target_holds(w, &src, &test->accept[i], test->protocol, true);
	for (uint32_t i = 0; ok && i < test->n_deny; i++)
		ok = target_holds(w, &src, &test->deny[i], test->protocol, false);
	ranges_free(&src);
	return ok;
}

/* ---- sshTests ---- */

enum { DENIED = 0, ACCEPTED = 1, CHECKED = 2 };

static bool login_fits(const struct ssh_rule *rule, const struct wnode *src, const char *login)
{
	const char *email = src->owner ? (src->owner->email[0] ? src->owner->email :
					  src->owner->login) : "";
	const char *at = strrchr(email, '@');

	if (strcmp(login, "root") == 0)
		return rule->root;
	if (rule->nonroot)
		return true;
	for (uint32_t i = 0; i < rule->n_users; i++) {
		if (strcmp(rule->users[i], login) == 0)
			return true;
	}
	for (uint32_t i = 0; at && i < rule->n_localparts; i++) {
		if (strcasecmp(rule->localparts[i], at + 1) == 0 &&
		    strlen(login) == (size_t)(at - email) &&
		    strncmp(login, email, (size_t)(at - email)) == 0)
			return true;
	}
	return false;
}

static bool ssh_dst_fits(const struct policy_world *w, const struct ssh_rule *rule,
			 const struct wnode *src, const struct wnode *dst)
{
	for (uint32_t i = 0; i < rule->dst.n; i++) {
		const struct sel *sel = &rule->dst.at[i];

		if (sel->kind == SEL_SELF ? src->owner && src->owner == dst->owner :
					    sel_matches(w, sel, dst))
			return true;
	}
	return false;
}

static int ssh_result(const struct policy_world *w, const struct wnode *src,
		      const struct wnode *dst, const char *login)
{
	int result = DENIED;

	for (uint32_t i = 0; i < w->policy->n_ssh; i++) {
		const struct ssh_rule *rule = &w->policy->ssh[i];

		if (is_source_node(w, &rule->src, &rule->postures, src) &&
		    ssh_dst_fits(w, rule, src, dst) && login_fits(rule, src, login))
			result |= rule->check ? CHECKED : ACCEPTED;
	}
	return result;
}

const struct ssh_rule *ssh_rule_of(const struct policy_world *w, const struct wnode *src,
				   const struct wnode *dst, const char *login)
{
	for (int pass = 0; w->policy && pass < 2; pass++) {
		for (uint32_t i = 0; i < w->policy->n_ssh; i++) {
			const struct ssh_rule *rule = &w->policy->ssh[i];

			if (rule->check == (pass == 0) &&
			    is_source_node(w, &rule->src, &rule->postures, src) &&
			    ssh_dst_fits(w, rule, src, dst) && login_fits(rule, src, login))
				return rule;
		}
	}
	return NULL;
}

/* All pairs of sources and destinations are as @wanted says. */
static bool ssh_holds(const struct policy_world *w, const struct ssh_test *test,
		      const char *const *users, uint32_t n, int wanted)
{
	for (uint32_t a = 0; a < w->n_slots && n > 0; a++) {
		const struct wnode *src = w->slots[a];

		if (!src || !sel_matches(w, &test->src, src))
			continue;
		for (uint32_t b = 0; b < w->n_slots; b++) {
			const struct wnode *dst = w->slots[b];

			if (!dst || !sels_match(w, &test->dst, dst))
				continue;
			for (uint32_t i = 0; i < n; i++) {
				int result = ssh_result(w, src, dst, users[i]);

				if (wanted == DENIED ? result != DENIED : !(result & wanted))
					return false;
			}
		}
	}
	return true;
}

static bool ssh_test_holds(const struct policy_world *w, const struct ssh_test *test)
{
	bool any_src = false, any_dst = false;

	if (!test->usable || test->n_accept + test->n_check + test->n_deny == 0)
		return false;
	for (uint32_t i = 0; i < w->n_slots; i++) {
		const struct wnode *n = w->slots[i];

		any_src = any_src || (n && sel_matches(w, &test->src, n));
		any_dst = any_dst || (n && sels_match(w, &test->dst, n));
	}
	return any_src && any_dst &&
	       ssh_holds(w, test, test->accept, test->n_accept, ACCEPTED | CHECKED) &&
	       ssh_holds(w, test, test->check, test->n_check, CHECKED) &&
	       ssh_holds(w, test, test->deny, test->n_deny, DENIED);
}

static bool failed(struct policy_error *error, uint32_t line, uint32_t column)
{
	error->line = line;
	error->column = column;
	snprintf(error->text, sizeof(error->text), "test(s) failed");
	return false;
}

bool policy_world_tests(struct policy_world *w, struct policy_error *error)
{
	const struct policy *policy = w->policy;

	for (uint32_t i = 0; policy && i < policy->n_tests; i++) {
		if (!test_holds(w, &policy->tests[i]))
			return failed(error, policy->tests[i].line, policy->tests[i].column);
	}
	for (uint32_t i = 0; policy && i < policy->n_ssh_tests; i++) {
		if (!ssh_test_holds(w, &policy->ssh_tests[i]))
			return failed(error, policy->ssh_tests[i].line,
				      policy->ssh_tests[i].column);
	}
	return true;
}

/* ---- explain ---- */

static const char *protocol_name(int protocol, char out[16])
{
	const char *name = protocol == TCP ? "tcp" : protocol == UDP ? "udp" : protocol == ICMP ?
			   "icmp" : NULL;

	if (name)
		snprintf(out, 16, "%s", name);
	else
		snprintf(out, 16, "protocol %d", protocol);
	return out;
}

static bool read_selector(struct policy_world *w, const char *text, struct sel *sel,
			  struct ranges *out, char why[HJ_ERROR])
{
	struct policy_error error = { .line = 0 };

	if (!w->policy) {
		snprintf(why, HJ_ERROR, "there is no policy: nothing is allowed");
		return false;
	}
	if (!policy_selector(w->policy, text, sel, &error)) {
		snprintf(why, HJ_ERROR, "%s", error.text);
		return false;
	}
	if (collect(w, sel, out))
		return true;
	snprintf(why, HJ_ERROR, "%.200s has no address: no device of it is there", text);
	return false;
}

static void say_rule(const struct wgrant *g, char out[HJ_ERROR])
{
	if (g->grant->section[0])
		snprintf(out, HJ_ERROR, "allowed by %s[%u], line %u", g->grant->section,
			 g->grant->index, g->grant->line);
	else
		snprintf(out, HJ_ERROR, "allowed: the policy has no acls and no grants");
}

static void say_none(const struct policy_world *w, const struct range *src,
		     const struct range *dst, int protocol, uint16_t port, char out[HJ_ERROR])
{
	char from[RANGE_TEXT], to[RANGE_TEXT], name[16];
	uint32_t sources = 0;
	const struct wgrant *near = NULL;

	for (uint32_t i = 0; i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];
		bool source = g->any || ranges_contain(&g->src, src);

		sources += source;
		if (!near && source && item_fits(g, dst))
			near = g;
	}
	range_format(src, from);
	range_format(dst, to);
	protocol_name(protocol, name);
	if (near)
		snprintf(out, HJ_ERROR,
			 "not allowed: %s[%u], line %u, lets %s reach %s, but not on "
			 "%s port %u",
			 near->grant->section, near->grant->index, near->grant->line, from, to,
			 name, port);
	else
		snprintf(out, HJ_ERROR, "not allowed: none of the %u rule%s with %s as a "
			 "source has %s as a destination", sources, sources == 1 ? "" : "s", from,
			 to);
}

bool policy_world_explain(struct policy_world *w, const char *src, const char *dst, int protocol,
			  uint16_t port, char out[HJ_ERROR])
{
	struct ranges from = { .at = NULL }, to = { .at = NULL };
	struct sel src_sel, dst_sel;
	const struct wgrant *g = NULL;
	bool ok = read_selector(w, src, &src_sel, &from, out) &&
		  read_selector(w, dst, &dst_sel, &to, out), allowed = ok;

	for (uint32_t i = 0; allowed && i < from.n; i++) {
		for (uint32_t k = 0; allowed && k < to.n; k++) {
			if (from.at[i].family != to.at[k].family && from.n > 1 && to.n > 1)
				continue;
			g = rule_for(w, &from.at[i], &to.at[k], protocol, port);
			allowed = g != NULL;
			if (!allowed)
				say_none(w, &from.at[i], &to.at[k], protocol, port, out);
		}
	}
	if (allowed && g)
		say_rule(g, out);
	ranges_free(&from);
	ranges_free(&to);
	return allowed && g;
}

/* ---- flows ---- */

static void add_flows(json_t *list, const struct grant *g)
{
	char text[64], name[16];

	for (uint32_t i = 0; i < g->n_ip; i++) {
		for (uint32_t k = 0; k < g->ip[i].n; k++) {
			const struct ports *p = &g->ip[i].ports[k];
			int n = g->ip[i].protocol == POLICY_ANY_PROTOCOL ? 0 :
				snprintf(text, sizeof(text), "%s:",
					 protocol_name(g->ip[i].protocol, name));

			if (p->first == 0 && p->last == 65535)
				snprintf(text + n, sizeof(text) - (size_t)n, "*");
			else if (p->first == p->last)
				snprintf(text + n, sizeof(text) - (size_t)n, "%u", p->first);
			else
				snprintf(text + n, sizeof(text) - (size_t)n, "%u-%u", p->first,
					 p->last);
			json_array_append_new(list, json_string(text));
		}
	}
}

json_t *policy_world_flows(const struct policy_world *w, int64_t src_id, int64_t dst_id)
{
	json_t *list = json_array();
	uint32_t s, d;
	const struct wnode *src = world_node(w, src_id, &s), *dst = world_node(w, dst_id, &d);

	for (uint32_t i = 0; src && dst && src != dst && i < w->n_grants; i++) {
		const struct wgrant *g = &w->grants[i];
		bool fits = false;

		for (uint32_t k = 0; k < dst->n_addr && !fits; k++)
			fits = (bits_get(g->src_bits, s) && item_fits(g, &dst->addr[k])) ||
			       (bits_get(g->self_bits, s) && src->owner == dst->owner);
		if (fits)
			add_flows(list, g->grant);
	}
	return list;
}
