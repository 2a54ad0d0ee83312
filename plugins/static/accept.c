/*
 * `accept:` as rules of the packet filter.
 *
 * Each entry says from whom, to what and which ports. The ports are sorted by the protocols they
 * mean; each group becomes one rule whose destinations are all pairs of `to` and port range. Rules
 * only allow: what no entry names is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "base/addr.h"
#include "base/util.h"
#include "static.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58, PROTO_SCTP = 132 };

struct port_spec {			/* one element of `ports` */
	uint8_t protocols[2];
	uint32_t n_protocols;		/* 0: TCP, UDP, ICMP and ICMPv6, as in the filter */
	uint16_t first, last;
};

static const struct {
	const char *name;
	uint8_t protocols[2];
	uint32_t n_protocols;
} with_ports[] = {
	{ "tcp/", { PROTO_TCP }, 1 },
	{ "udp/", { PROTO_UDP }, 1 },
	{ "sctp/", { PROTO_SCTP }, 1 },
	{ "", { PROTO_TCP, PROTO_UDP }, 2 },
};

static const struct {
	const char *name;
	struct port_spec spec;
} whole[] = {
	{ "*", { { 0 }, 0, 0, 65535 } },
	{ "icmp", { { PROTO_ICMP, PROTO_ICMP6 }, 2, 0, 65535 } },
	{ "tcp/*", { { PROTO_TCP }, 1, 0, 65535 } },
	{ "udp/*", { { PROTO_UDP }, 1, 0, 65535 } },
	{ "sctp/*", { { PROTO_SCTP }, 1, 0, 65535 } },
};

/*
 * ---- Ports ----
 */

static bool number_parse(const char *text, size_t len, uint32_t max, uint16_t *out)
{
	uint32_t value = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value == 0 || value > max)
		return false;
	*out = (uint16_t)value;
	return true;
}

static bool range_parse(const char *text, struct port_spec *out)
{
	const char *dash = strchr(text, '-');
	size_t len = dash ? (size_t)(dash - text) : strlen(text);

	if (!number_parse(text, len, 65535, &out->first))
		return false;
	out->last = out->first;
	return !dash || (number_parse(dash + 1, strlen(dash + 1), 65535, &out->last) &&
			 out->first <= out->last);
}

static bool port_parse_spec(const char *text, struct port_spec *out)
{
	uint16_t number;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		if (!strcmp(text, whole[i].name)) {
			*out = whole[i].spec;
			return true;
		}
	}
	if (!strncmp(text, "proto/", 6)) {
		if (!number_parse(text + 6, strlen(text + 6), 254, &number))
			return false;
		out->protocols[0] = (uint8_t)number;
		out->n_protocols = 1;
		out->last = 65535;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(with_ports); i++) {
		size_t len = strlen(with_ports[i].name);

		if (!strncmp(text, with_ports[i].name, len)) {
			memcpy(out->protocols, with_ports[i].protocols, sizeof(out->protocols));
			out->n_protocols = with_ports[i].n_protocols;
			return range_parse(text + len, out);
		}
	}
	return false;
}

int static_check_ports(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct port_spec spec;

	if (port_parse_spec(text, &spec))
		return 0;
	return warren_fail(err, at, "\"%s\" is no port: expected 22, 8000-8100 (TCP and UDP), "
			   "tcp/80, udp/53, tcp/*, icmp, proto/47 or *", text);
}

/*
 * ---- Sources and destinations ----
 */

struct target {				/* what one element of `from` or `to` means */
	bool any;
	const struct warren_prefix *prefixes;
	uint32_t n_prefixes;
};

struct compile {
	const struct static_plan *plan;
	struct static_policy *policy;
	struct warren_prefix *self;	/* host prefixes of this node */
	struct warren_prefix *served;
	uint32_t n_served, max_served;
	struct warren_err *err;
	bool failed;
};

static void *compile_alloc(struct compile *c, size_t n, size_t size)
{
	size_t bytes;
	void *memory = size_mul(n, size, &bytes) ? arena_alloc(&c->policy->arena, bytes) : NULL;

	if (!memory && !c->failed) {
		warren_fail(c->err, NULL, "accept: out of memory");
		c->failed = true;
	}
	return memory;
}

/* False with a sentence: neither a prefix nor a name that we know. */
static bool target_resolve(struct compile *c, const struct warren_conf *at, bool is_to,
			   struct target *out)
{
	const char *text = warren_conf_str(at, NULL);
	const struct static_peer_plan *peer;
	struct warren_prefix *prefix;

	memset(out, 0, sizeof(*out));
	if (!strcmp(text, "*")) {
		out->any = true;
		return true;
	}
	if (is_to && !strcmp(text, "self")) {
		out->prefixes = c->self;
		out->n_prefixes = c->plan->n_addresses;
		return true;
	}
	peer = hash_get_str(&c->plan->by_name, text);
	if (peer) {
		out->prefixes = peer->allowed;
		out->n_prefixes = peer->n_allowed;
		return true;
	}
	prefix = compile_alloc(c, 1, sizeof(*prefix));
	if (!prefix)
		return false;
	if (prefix_parse(text, prefix)) {
		warren_fail(c->err, at, "\"%s\" is neither an address, a prefix, a peer of "
			    "`peers:`%s nor \"*\"", text, is_to ? ", \"self\"" : "");
		c->failed = true;
		return false;
	}
	if (prefix_mask(prefix)) {
		warren_fail(c->err, at, "\"%s\" has bits set after its length: write the network's "
			    "first address", text);
		c->failed = true;
		return false;
	}
	out->prefixes = prefix;
	out->n_prefixes = 1;
	return true;
}

/* All targets of one list; the sum of their prefixes, an `any` counting once, is in *@total. */
static struct target *targets_of(struct compile *c, const struct warren_conf *entry,
				 const char *key, uint32_t *count, uint32_t *total)
{
	bool is_to = !strcmp(key, "to");
	uint32_t n = warren_conf_count(entry, key);
	struct target *targets = compile_alloc(c, n ? n : 1, sizeof(*targets));

	*count = n;
	*total = 0;
	if (!targets)
		return NULL;
	if (n == 0 && is_to && !warren_conf_has(entry, key)) {
		targets[0].prefixes = c->self;
		targets[0].n_prefixes = c->plan->n_addresses;
		*count = 1;
	} else if (n == 0) {
		warren_fail_key(c->err, -EINVAL, entry, key, "an empty list matches nothing: "
				"remove the entry, or name somebody");
		c->failed = true;
	}
	for (uint32_t i = 0; i < n; i++)
		target_resolve(c, warren_conf_at(entry, key, i), is_to, &targets[i]);
	for (uint32_t i = 0; i < *count; i++)
		*total += targets[i].any ? 1 : targets[i].n_prefixes;
	return targets;
}

static struct warren_src *sources_of(struct compile *c, const struct warren_conf *entry,
				     uint32_t *count)
{
	uint32_t n, total, at = 0;
	const struct target *targets = targets_of(c, entry, "from", &n, &total);
	struct warren_src *srcs;

	*count = 0;
	if (!targets)
		return NULL;
	srcs = compile_alloc(c, total ? total : 1, sizeof(*srcs));
	if (!srcs)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		if (targets[i].any)
			srcs[at++].kind = WARREN_SRC_ANY;
		for (uint32_t k = 0; k < targets[i].n_prefixes; k++) {
			srcs[at].kind = WARREN_SRC_PREFIX;
			srcs[at++].prefix = targets[i].prefixes[k];
		}
	}
	*count = at;
	return srcs;
}

static void serve(struct compile *c, const struct warren_prefix *prefix)
{
	struct warren_prefix *grown;

	if (c->n_served == c->max_served) {
		grown = compile_alloc(c, 2 * (size_t)c->max_served + 8, sizeof(*grown));
		if (!grown)
			return;
		if (c->n_served > 0)
			memcpy(grown, c->served, c->n_served * sizeof(*grown));
		c->served = grown;
		c->max_served = 2 * c->max_served + 8;
	}
	c->served[c->n_served++] = *prefix;
}

static void serve_targets(struct compile *c, const struct target *targets, uint32_t n)
{
	static const struct warren_prefix all[] = {
		{ { .family = 4 }, 0 }, { { .family = 6 }, 0 },
	};

	for (uint32_t i = 0; i < n; i++) {
		if (targets[i].any) {
			serve(c, &all[0]);
			serve(c, &all[1]);
		}
		for (uint32_t k = 0; k < targets[i].n_prefixes; k++)
			serve(c, &targets[i].prefixes[k]);
	}
}

/*
 * ---- Rules ----
 */

static struct port_spec *ports_of(struct compile *c, const struct warren_conf *entry,
				  uint32_t *count)
{
	uint32_t n = warren_conf_count(entry, "ports");
	struct port_spec *specs = compile_alloc(c, n ? n : 1, sizeof(*specs));

	*count = n;
	if (!specs)
		return NULL;
	if (n == 0 && !warren_conf_has(entry, "ports")) {
		specs[0] = whole[0].spec;
		*count = 1;
	} else if (n == 0) {
		warren_fail_key(c->err, -EINVAL, entry, "ports", "an empty list matches nothing: "
				"remove it to mean every port, or name some");
		c->failed = true;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!port_parse_spec(warren_conf_str(warren_conf_at(entry, "ports", i), NULL),
				     &specs[i]))
			c->failed = true;	/* the row's check has said so */
	}
	return specs;
}

static bool same_protocols(const struct port_spec *a, const struct port_spec *b)
{
	return a->n_protocols == b->n_protocols &&
	       !memcmp(a->protocols, b->protocols, sizeof(a->protocols));
}

static uint32_t dsts_add(struct warren_dst *dsts, uint32_t n, const struct target *target,
			 const struct port_spec *ports)
{
	uint32_t count = target->any ? 1 : target->n_prefixes;

	for (uint32_t i = 0; i < count; i++, n++) {
		dsts[n].kind = target->any ? WARREN_SRC_ANY : WARREN_SRC_PREFIX;
		if (!target->any)
			dsts[n].prefix = target->prefixes[i];
		dsts[n].port_first = ports->first;
		dsts[n].port_last = ports->last;
	}
	return n;
}

/* The rule for the protocols of specs[@at]: its destinations are targets times port ranges. */
static void rule_fill(struct compile *c, struct warren_filter_rule *rule,
		      const struct port_spec *specs, uint32_t n_specs, uint32_t at,
		      const struct target *targets, uint32_t n_targets, uint32_t total)
{
	struct warren_dst *dsts = compile_alloc(c, (size_t)total * n_specs + 1, sizeof(*dsts));
	uint8_t *protocols = compile_alloc(c, sizeof(specs->protocols), 1);
	uint32_t n = 0;

	if (!dsts || !protocols)
		return;
	for (uint32_t s = at; s < n_specs; s++) {
		if (!same_protocols(&specs[s], &specs[at]))
			continue;
		for (uint32_t t = 0; t < n_targets; t++)
			n = dsts_add(dsts, n, &targets[t], &specs[s]);
	}
	memcpy(protocols, specs[at].protocols, sizeof(specs->protocols));
	rule->protocols = protocols;
	rule->n_protocols = specs[at].n_protocols;
	rule->dsts = dsts;
	rule->n_dsts = n;
}

static bool first_of_its_kind(const struct port_spec *specs, uint32_t at)
{
	for (uint32_t i = 0; i < at; i++) {
		if (same_protocols(&specs[i], &specs[at]))
			return false;
	}
	return true;
}

/* One entry: a rule per group of protocols. @rules has room for one per element of `ports`. */
static void entry_compile(struct compile *c, const struct warren_conf *entry)
{
	uint32_t n_srcs, n_targets, total, n_specs;
	struct warren_src *srcs = sources_of(c, entry, &n_srcs);
	struct target *targets = targets_of(c, entry, "to", &n_targets, &total);
	struct port_spec *specs = ports_of(c, entry, &n_specs);

	if (!srcs || !targets || !specs || c->failed)
		return;
	if ((uint64_t)total * n_specs > STATIC_DSTS_MAX) {
		warren_fail(c->err, entry, "%u destinations times %u ports are more than %d: split "
			    "the entry", total, n_specs, STATIC_DSTS_MAX);
		c->failed = true;
		return;
	}
	serve_targets(c, targets, n_targets);
	for (uint32_t i = 0; i < n_specs; i++) {
		struct warren_filter_rule *rule = &c->policy->rules[c->policy->n_rules];

		if (!first_of_its_kind(specs, i))
			continue;
		rule->srcs = srcs;
		rule->n_srcs = n_srcs;
		rule_fill(c, rule, specs, n_specs, i, targets, n_targets, total);
		c->policy->n_rules++;
	}
}

static int by_prefix(const void *a, const void *b)
{
	return prefix_compare(a, b);
}

/* Sorts and removes what stands there twice; returns how many are left. */
static uint32_t served_sort(struct warren_prefix *served, uint32_t n)
{
	uint32_t kept = 0;

	if (n > 0)
		qsort(served, n, sizeof(*served), by_prefix);
	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || !prefix_equal(&served[kept - 1], &served[i]))
			served[kept++] = served[i];
	}
	return kept;
}

static void compile_all(struct compile *c, const struct warren_conf *conf)
{
	uint32_t n = warren_conf_count(conf, "accept");
	size_t rules = 1;

	for (uint32_t i = 0; i < n; i++)
		rules += 1 + warren_conf_count(warren_conf_at(conf, "accept", i), "ports");
	c->policy->rules = compile_alloc(c, rules, sizeof(*c->policy->rules));
	c->self = compile_alloc(c, c->plan->n_addresses + 1, sizeof(*c->self));
	if (!c->policy->rules || !c->self)
		return;
	for (uint32_t i = 0; i < c->plan->n_addresses; i++)
		c->self[i] = prefix_of_host(&c->plan->addresses[i].addr);
	for (uint32_t i = 0; i < n; i++)
		entry_compile(c, warren_conf_at(conf, "accept", i));
	c->policy->served = c->served;
	c->policy->n_served = served_sort(c->served, c->n_served);
}

struct static_policy *static_policy_new(const struct warren_conf *conf,
					const struct static_plan *plan, struct warren_err *err)
{
	struct compile c = { .plan = plan, .err = err };

	c.policy = calloc(1, sizeof(*c.policy));
	if (!c.policy) {
		warren_fail(err, NULL, "accept: out of memory");
		return NULL;
	}
	atomic_init(&c.policy->refs, 1);
	compile_all(&c, conf);
	if (!c.failed)
		return c.policy;
	static_policy_unref(c.policy);
	return NULL;
}

struct static_policy *static_policy_ref(struct static_policy *policy)
{
	if (policy)
		atomic_fetch_add(&policy->refs, 1);
	return policy;
}

void static_policy_unref(struct static_policy *policy)
{
	if (!policy || atomic_fetch_sub(&policy->refs, 1) != 1)
		return;
	arena_free(&policy->arena);
	free(policy);
}

static bool rule_equal(const struct warren_filter_rule *a, const struct warren_filter_rule *b)
{
	if (a->n_srcs != b->n_srcs || a->n_dsts != b->n_dsts ||
	    a->n_protocols != b->n_protocols ||
	    (a->n_protocols > 0 && memcmp(a->protocols, b->protocols, a->n_protocols)))
		return false;
	for (uint32_t i = 0; i < a->n_srcs; i++) {
		if (a->srcs[i].kind != b->srcs[i].kind ||
		    !prefix_equal(&a->srcs[i].prefix, &b->srcs[i].prefix))
			return false;
	}
	for (uint32_t i = 0; i < a->n_dsts; i++) {
		if (a->dsts[i].kind != b->dsts[i].kind ||
		    !prefix_equal(&a->dsts[i].prefix, &b->dsts[i].prefix) ||
		    a->dsts[i].port_first != b->dsts[i].port_first ||
		    a->dsts[i].port_last != b->dsts[i].port_last)
			return false;
	}
	return true;
}

bool static_policy_equal(const struct static_policy *a, const struct static_policy *b)
{
	if (!a || !b)
		return a == b;
	if (a->n_rules != b->n_rules || a->n_served != b->n_served)
		return false;
	for (uint32_t i = 0; i < a->n_rules; i++) {
		if (!rule_equal(&a->rules[i], &b->rules[i]))
			return false;
	}
	for (uint32_t i = 0; i < a->n_served; i++) {
		if (!prefix_equal(&a->served[i], &b->served[i]))
			return false;
	}
	return true;
}
