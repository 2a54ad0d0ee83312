/*
 * acls, grants and nodeAttrs.
 */
#include "parse.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"

/* ---- what holds between source and destination ---- */

static bool has_kind(const struct sels *sels, enum sel_kind kind)
{
	for (uint32_t i = 0; i < sels->n; i++) {
		if (sels->at[i].kind == kind)
			return true;
	}
	return false;
}

/* Whose "self" is meant must be a person; a grant takes no "*" either. */
static bool check_self(struct parser *p, const struct grant *g, const struct hj *at)
{
	bool acl = strcmp(g->section, "acls") == 0;

	if (!has_kind(&g->dst, SEL_SELF))
		return true;
	for (uint32_t i = 0; i < g->src.n; i++) {
		switch (g->src.at[i].kind) {
		case SEL_USER: case SEL_DOMAIN: case SEL_GROUP: case SEL_MEMBER: case SEL_ROLE:
			continue;
		case SEL_ANY:
			if (acl)
				continue;
			break;
		case SEL_TAG: case SEL_PREFIX: case SEL_IPSET: case SEL_SERVICE: case SEL_TAGGED:
		case SEL_SELF: case SEL_INTERNET: case SEL_DANGER_ALL: case SEL_SHARED:
			break;
		}
		return hj_fail(p->error, at, "autogroup:self can only be used with users, groups, "
			       "or supported autogroups");
	}
	return true;
}

/* ---- acls ---- */

/* The destinations of an ACL with the same selector are one grant. */
static struct grant *find_grant(struct grant *grants, uint32_t n, const char *host)
{
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(grants[i].dst.at[0].text, host) == 0)
			return &grants[i];
	}
	return NULL;
}

static bool acl_target(struct parser *p, const struct grant *rule, const struct hj *at,
		       int protocol, struct grant *grants, uint32_t *n)
{
	struct grant *g;
	struct sel sel;
	char what[300], *host;
	const char *text;
	struct ports *ports;
	uint32_t n_ports;

	if (at->type != HJ_STRING)
		return hj_fail(p->error, at, "a destination is a text in quotes");
	if (!parse_target(p, at, &host, &text))
		return false;
	/* "autogroup:self" alone: its last part is taken for the ports, as they do it. */
	snprintf(what, sizeof(what), "dst=\"%.200s\": ", parse_trim(p, at));
	if (!parse_ports(p, at, what, text, &ports, &n_ports) ||
	    !parse_selector(p, PLACE_DST, at, host, &sel))
		return false;
	if (protocol != POLICY_ANY_PROTOCOL && protocol != 6 && protocol != 17 &&
	    protocol != 132 && (n_ports != 1 || ports[0].last != 65535 || ports[0].first))
		return hj_fail(p->error, at, "dst=\"%s:%s\": protocol %d has no ports: use "
			       "\"%s:*\"", host, text, protocol, host);
	g = find_grant(grants, *n, host);
	if (!g) {
		g = &grants[(*n)++];
		*g = *rule;
		g->dst.at = parse_alloc(p, 1, sizeof(sel));
		if (!g->dst.at)
			return false;
		g->dst.at[0] = sel;
		g->dst.n = 1;
	}
	return ipspec_add(p, &g->ip, &g->n_ip, protocol, ports, n_ports) && check_self(p, g, at);
}

static bool acl_fields(struct parser *p, const struct hj *o, struct grant *rule, int *protocol)
{
	static const char *const known[] = { "action", "src", "users", "proto", "dst", "ports",
					     "srcPosture", NULL };
	struct hj *action = hj_get(o, "action"), *proto;
	const struct hj *src = hj_get(o, "src");

	if (!parse_known(p, o, known))
		return false;
	if (!action || action->type != HJ_STRING || strcmp(action->text, "accept") != 0)
		return hj_fail(p->error, action ? action : o, "action=\"%s\" is not supported",
			       action && action->type == HJ_STRING ? action->text : "");
	if (!parse_member(p, o, "proto", HJ_STRING, &proto))
		return false;
	*protocol = POLICY_ANY_PROTOCOL;
	return (!proto || parse_protocol(p, proto, proto->text, protocol)) &&
	       parse_selectors(p, PLACE_SRC, src ? src : hj_get(o, "users"), &rule->src) &&
	       parse_postures(p, hj_get(o, "srcPosture"), &rule->postures);
}

/* What goes to the user's own devices comes last, as the hosted service orders it. */
static void append(struct policy *policy, const struct grant *grants, uint32_t n)
{
	for (int self = 0; self < 2; self++) {
		for (uint32_t i = 0; i < n; i++) {
			if ((grants[i].dst.at[0].kind == SEL_SELF) == (self == 1))
				policy->grants[policy->n_grants++] = grants[i];
		}
	}
}

static bool acl(struct parser *p, const struct hj *o, uint32_t index)
{
	struct grant rule = { .section = "acls", .index = index, .line = o->line,
			      .column = o->column }, *grants;
	struct hj *dst;
	uint32_t n = 0;
	int protocol;

	if (!acl_fields(p, o, &rule, &protocol) || !parse_member(p, o, hj_get(o, "dst") ? "dst" :
								  "ports", HJ_ARRAY, &dst))
		return false;
	if (!dst)
		return true;
	grants = parse_alloc(p, dst->count, sizeof(*grants));
	if (!grants)
		return false;
	for (const struct hj *item = dst->first; item; item = item->next) {
		if (!acl_target(p, &rule, item, protocol, grants, &n))
			return false;
	}
	append(p->policy, grants, n);
	return true;
}

/* ---- grants ---- */

/* DOMAIN/PATH; of tailscale.com those that are meant to be granted. */
static bool check_capability(struct parser *p, const struct hj *m)
{
	static const char *const granted[] = {
		"cap/drive", "cap/relay", "cap/webui", "cap/kubernetes", "cap/tsidp",
		"cap/secrets", "cap/aperture", "cap/golink", NULL,
	};
	struct hj place = { .line = m->key_line, .column = m->key_column };
	const char *slash = strchr(m->key, '/');

	if (!slash || slash == m->key || !slash[1] || strstr(m->key, "://"))
		return hj_fail(p->error, &place,
			       "capability name must have the form {domain}/{path}");
	if (!str_starts(m->key, "tailscale.com/"))
		return true;
	for (size_t i = 0; granted[i]; i++) {
		if (strcmp(slash + 1, granted[i]) == 0)
			return true;
	}
	return hj_fail(p->error, &place,
		       "capability name must not be in the tailscale.com domain");
}

static bool parse_app(struct parser *p, const struct hj *o, json_t **out)
{
	struct hj *app;

	*out = NULL;
	if (!parse_member(p, o, "app", HJ_OBJECT, &app))
		return false;
	if (!app || app->count == 0)
		return true;
	for (const struct hj *m = app->first; m; m = m->next) {
		if (m->type != HJ_ARRAY && m->type != HJ_NULL)
			return hj_fail(p->error, m, "\"%s\" must be a list in [ ]", m->key);
		if (!check_capability(p, m))
			return false;
	}
	*out = parse_keep(p, app);
	return *out != NULL;
}

static bool parse_via(struct parser *p, const struct hj *o, struct sels *out)
{
	struct hj *list;

	if (!parse_member(p, o, "via", HJ_ARRAY, &list))
		return false;
	if (!list)
		return true;
	out->at = parse_alloc(p, list->count, sizeof(*out->at));
	for (const struct hj *item = list->first; out->at && item; item = item->next) {
		struct sel *sel = &out->at[out->n++];
		char *text = parse_trim(p, item);

		if (!text)
			return false;
		if (!str_starts(text, "tag:"))
			return hj_fail(p->error, item, "via can only be a tag");
		*sel = (struct sel){ .kind = SEL_TAG, .text = text, .name = text,
				     .line = item->line, .column = item->column,
				     .def = policy_find(&p->policy->tags, text) };
		if (!sel->def)
			return hj_fail(p->error, item, "tag \"%s\" not found", text);
	}
	return out->at != NULL;
}

static bool check_grant(struct parser *p, const struct grant *g, const struct hj *o)
{
	if (g->n_ip == 0 && !g->app)
		return hj_fail(p->error, o, "ip and app can not both be empty");
	if (g->app && has_kind(&g->dst, SEL_INTERNET))
		return hj_fail(p->error, o, "cannot use app grants with autogroup:internet");
	for (uint32_t i = 0; i < g->dst.n; i++) {
		const struct sel *sel = &g->dst.at[i];
		struct hj place = { .line = sel->line, .column = sel->column };

		if (sel->kind == SEL_PREFIX && sel->range.lo == 0 &&
		    sel->range.hi == (sel->range.family == 4 ? UINT32_MAX : ~(ranges_int)0))
			return hj_fail(p->error, &place, "dst \"%s\": to allow all IP addresses, "
				       "use \"*\" or \"autogroup:internet\"", sel->text);
	}
	return check_self(p, g, o);
}

static bool grant(struct parser *p, const struct hj *o, uint32_t index)
{
	static const char *const known[] = { "src", "dst", "ip", "app", "via", "srcPosture", NULL };
	struct grant *g = &p->policy->grants[p->policy->n_grants];

	*g = (struct grant){ .section = "grants", .index = index, .line = o->line,
			     .column = o->column };
	if (!parse_known(p, o, known) || !parse_ipspecs(p, hj_get(o, "ip"), &g->ip, &g->n_ip) ||
	    !parse_app(p, o, &g->app) ||
	    !parse_selectors(p, PLACE_SRC, hj_get(o, "src"), &g->src) ||
	    !parse_selectors(p, PLACE_DST, hj_get(o, "dst"), &g->dst) ||
	    !parse_via(p, o, &g->via) ||
	    !parse_postures(p, hj_get(o, "srcPosture"), &g->postures) || !check_grant(p, g, o))
		return false;
	p->policy->n_grants++;
	return true;
}

bool parse_grants(struct parser *p, const struct hj *root)
{
	struct hj *acls, *grants;
	uint32_t n = 0, index;

	if (!parse_member(p, root, "acls", HJ_ARRAY, &acls) ||
	    !parse_member(p, root, "grants", HJ_ARRAY, &grants))
		return false;
	p->policy->has_rules = acls || grants;
	for (const struct hj *o = acls ? acls->first : NULL; o; o = o->next) {
		const struct hj *dst = hj_get(o, hj_get(o, "dst") ? "dst" : "ports");

		n += dst ? dst->count : 0;
	}
	n += grants ? grants->count : 0;
	p->policy->grants = parse_alloc(p, n, sizeof(*p->policy->grants));
	if (!p->policy->grants)
		return false;
	index = 0;
	for (const struct hj *o = grants ? grants->first : NULL; o; o = o->next) {
		if (!grant(p, o, index++))
			return false;
	}
	index = 0;
	for (const struct hj *o = acls ? acls->first : NULL; o; o = o->next) {
		if (!acl(p, o, index++))
			return false;
	}
	return true;
}

/* ---- nodeAttrs ---- */

static bool parse_pools(struct parser *p, const struct hj *o, struct node_attr *out)
{
	struct hj *list;

	if (!parse_member(p, o, "ipPool", HJ_ARRAY, &list))
		return false;
	if (!list)
		return true;
	out->pools = parse_alloc(p, list->count, sizeof(*out->pools));
	for (const struct hj *item = list->first; out->pools && item; item = item->next) {
		char *text = parse_trim(p, item);

		if (!text)
			return false;
		if (!range_parse(text, &out->pools[out->n_pools++]))
			return hj_fail(p->error, item, "ipPool: \"%s\": invalid address", text);
	}
	return out->pools != NULL;
}

static bool node_attr(struct parser *p, const struct hj *o, struct node_attr *out)
{
	static const char *const known[] = { "target", "attr", "app", "ipPool", NULL };
	struct hj *app;

	if (!parse_known(p, o, known) ||
	    !parse_selectors(p, PLACE_TARGET, hj_get(o, "target"), &out->target) ||
	    !parse_strings(p, o, "attr", &out->attrs, &out->n_attrs) ||
	    !parse_pools(p, o, out) || !parse_member(p, o, "app", HJ_OBJECT, &app))
		return false;
	out->app = app ? parse_keep(p, app) : NULL;
	return !app || out->app;
}

bool parse_node_attrs(struct parser *p, const struct hj *root)
{
	struct policy *policy = p->policy;
	struct hj *list;

	if (!parse_member(p, root, "nodeAttrs", HJ_ARRAY, &list))
		return false;
	if (!list)
		return true;
	policy->attrs = parse_alloc(p, list->count, sizeof(*policy->attrs));
	for (const struct hj *o = list->first; policy->attrs && o; o = o->next) {
		if (!node_attr(p, o, &policy->attrs[policy->n_attrs++]))
			return false;
	}
	return policy->attrs != NULL;
}
