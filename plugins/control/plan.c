/*
 * The dial plan: what of a server's candidates is taken over.
 */
#include "plan.h"

#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "json.h"

static const uint64_t second = 1000000;
enum { LISTED_MAX = 64, DEFAULT_SECONDS = 5, WAY_SECONDS = 55 };

bool ctl_host_is_private(const char *host)
{
	static const char *const networks[] = {
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "fc00::/7",
		"::1/128",
	};
	struct warren_prefix prefix;
	struct warren_addr addr;

	if (addr_parse(host, &addr))
		return strcasecmp(host, "localhost") == 0;
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		if (prefix_parse(networks[i], &prefix) == 0 && prefix_contains(&prefix, &addr))
			return true;
	}
	return false;
}

/*
 * ---- What makes sense ----
 */

/* An address of one host, and not of this one or its link: those are nobody else's. */
static bool is_good_ip(const struct warren_addr *ip, const char *host)
{
	static const char *const bad[] = {
		"0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8", "::ffff:0:0/96",
	};
	static const char *const near[] = {
		"127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10",
	};
	struct warren_prefix prefix;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (prefix_parse(bad[i], &prefix) == 0 && prefix_contains(&prefix, ip))
			return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(near) && !ctl_host_is_private(host); i++) {
		if (prefix_parse(near[i], &prefix) == 0 && prefix_contains(&prefix, ip))
			return false;
	}
	return true;
}

/* A name as DNS has them: addresses stand in the other member. */
static bool is_good_name(const char *name)
{
	struct warren_addr addr;
	size_t label = 0;

	if (addr_parse(name, &addr) == 0)
		return false;
	for (; *name; name++) {
		bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
			      (*name >= '0' && *name <= '9') || *name == '-';

		if (*name == '.' ? label == 0 : !letter)
			return false;
		label = *name == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0;
}

static bool take(struct ctl_plan_way *to, const char *host, const struct ctl_dial_candidate *from)
{
	const uint64_t most = WAY_SECONDS * second;

	memset(to, 0, sizeof(*to));
	if (!from->ip.family && !from->ace_host[0])
		return false;
	if (from->ip.family && !is_good_ip(&from->ip, host))
		return false;
	if (from->ace_host[0] && (!is_good_name(from->ace_host) ||
				  !str_copy(to->ace, sizeof(to->ace), from->ace_host)))
		return false;
	to->ip = from->ip;
	to->priority = from->priority;
	to->delay = from->delay;
	to->timeout = from->timeout ? from->timeout : DEFAULT_SECONDS * second;
	if (to->delay >= most)
		return false;
	if (to->timeout > most - to->delay)
		to->timeout = most - to->delay;
	return true;
}

static bool goes_before(const struct ctl_plan_way *a, const struct ctl_plan_way *b)
{
	return a->delay != b->delay ? a->delay < b->delay : a->priority > b->priority;
}

/* Of equal ones the one that was sent first stays first; of too many the last goes. */
static void insert(struct ctl_plan *plan, const struct ctl_plan_way *way)
{
	uint32_t at = plan->n;

	while (at > 0 && goes_before(way, &plan->ways[at - 1]))
		at--;
	if (at == CTL_PLAN_MAX)
		return;
	if (plan->n < CTL_PLAN_MAX)
		plan->n++;
	memmove(&plan->ways[at + 1], &plan->ways[at],
		(plan->n - 1 - at) * sizeof(plan->ways[0]));
	plan->ways[at] = *way;
}

uint32_t ctl_plan_set(struct ctl_plan *plan, const char *host,
		      const struct ctl_dial_candidate *candidates, uint32_t n)
{
	struct ctl_plan_way way;

	memset(plan, 0, sizeof(*plan));
	for (uint32_t i = 0; i < n; i++) {
		if (take(&way, host, &candidates[i]))
			insert(plan, &way);
	}
	return n - plan->n;
}

bool ctl_plan_equal(const struct ctl_plan *a, const struct ctl_plan *b)
{
	if (a->n != b->n)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		const struct ctl_plan_way *x = &a->ways[i], *y = &b->ways[i];

		if (x->ip.family != y->ip.family ||
		    (x->ip.family && !addr_equal(&x->ip, &y->ip)) || strcmp(x->ace, y->ace) ||
		    x->delay != y->delay || x->timeout != y->timeout ||
		    x->priority != y->priority)
			return false;
	}
	return true;
}

uint64_t ctl_plan_time(const struct ctl_plan *plan)
{
	uint64_t time = DEFAULT_SECONDS * second;

	for (uint32_t i = 0; i < plan->n; i++) {
		if (plan->ways[i].delay + plan->ways[i].timeout > time)
			time = plan->ways[i].delay + plan->ways[i].timeout;
	}
	return time;
}

/*
 * ---- The server's form ----
 */

struct ctl_dial_candidate *ctl_plan_parse(struct ctl_parse *p, const json_t *o, uint32_t *n)
{
	const double longest = 300;
	struct ctl_dial_candidate *made;
	const json_t *list;

	p->list_max = LISTED_MAX;
	if (!json_is_object(o))
		ctl_parse_fail(p, "not an object");
	list = ctl_get_array(p, o, "Candidates", n);
	made = ctl_parse_alloc(p, *n, sizeof(*made));
	for (uint32_t i = 0; !p->failed && i < *n; i++) {
		const json_t *from = json_array_get(list, i);

		made[i].ip = ctl_get_addr(p, from, "IP");
		made[i].ace_host = ctl_get_str(p, from, "ACEHost", CTL_PLAN_HOST - 1);
		made[i].ace_host = made[i].ace_host ? made[i].ace_host : "";
		made[i].delay = ctl_get_micros(p, from, "DialStartDelaySec", longest);
		made[i].timeout = ctl_get_micros(p, from, "DialTimeoutSec", longest);
		made[i].priority = (int32_t)ctl_get_int(p, from, "Priority", INT32_MIN, INT32_MAX);
	}
	return made;
}

json_t *ctl_plan_json(const struct ctl_plan *plan)
{
	json_t *list = json_array();
	char ip[ADDR_TEXT];

	for (uint32_t i = 0; list && i < plan->n; i++) {
		const struct ctl_plan_way *way = &plan->ways[i];
		json_t *o = json_pack("{s:f,s:f,s:i}", "DialStartDelaySec",
				      (double)way->delay / 1e6, "DialTimeoutSec",
				      (double)way->timeout / 1e6, "Priority", (int)way->priority);

		if (o && way->ip.family)
			json_object_set_new(o, "IP", json_string(addr_format(&way->ip, ip)));
		if (o && way->ace[0])
			json_object_set_new(o, "ACEHost", json_string(way->ace));
		if (json_array_append_new(list, o)) {
			json_decref(list);
			return NULL;
		}
	}
	return list ? json_pack("{s:o}", "Candidates", list) : NULL;
}

bool ctl_plan_load(struct ctl_plan *plan, const char *host, const json_t *o)
{
	struct arena arena = { 0 };
	struct ctl_parse p = { .arena = &arena };
	const struct ctl_dial_candidate *candidates;
	uint32_t n;

	candidates = ctl_plan_parse(&p, o, &n);
	ctl_plan_set(plan, host, candidates, p.failed ? 0 : n);
	arena_free(&arena);
	return !p.failed;
}
