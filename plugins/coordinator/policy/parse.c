/*
 * A policy file as a whole, and its definitions: groups, hosts, tags, ipsets, approvers.
 */
#include "parse.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"

/* ---- helpers ---- */

void *parse_alloc(struct parser *p, size_t n, size_t size)
{
	void *made = n < 1 << 24 ? arena_alloc(&p->policy->arena, n > 0 ? n * size : size) : NULL;

	if (!made)
		hj_fail(p->error, NULL, "no memory");
	return made;
}

char *parse_trim(struct parser *p, const struct hj *at)
{
	const char *text = at->text;
	size_t len = at->len;
	char *made;

	if (at->type != HJ_STRING)
		return hj_fail(p->error, at, "a text in quotes is expected"), NULL;
	while (len > 0 && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	made = arena_text(&p->policy->arena, text, len);
	if (!made)
		hj_fail(p->error, NULL, "no memory");
	return made;
}

/* The same about the name of a member. */
static bool fail_key(struct parser *p, const struct hj *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool fail_key(struct parser *p, const struct hj *at, const char *fmt, ...)
{
	struct hj place = { .line = at->key_line, .column = at->key_column };
	char text[HJ_ERROR];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return hj_fail(p->error, &place, "%s", text);
}

bool parse_known(struct parser *p, const struct hj *o, const char *const *known)
{
	if (o->type != HJ_OBJECT)
		return hj_fail(p->error, o, "an object in { } is expected");
	for (const struct hj *m = o->first; m; m = m->next) {
		bool found = m->key[0] == '#';

		for (size_t i = 0; known[i] && !found; i++)
			found = strcasecmp(known[i], m->key) == 0;
		if (!found)
			return fail_key(p, m, "unknown field \"%s\"", m->key);
	}
	return true;
}

bool parse_member(struct parser *p, const struct hj *o, const char *key, enum hj_type type,
		  struct hj **out)
{
	struct hj *m = hj_get(o, key);

	*out = m && m->type != HJ_NULL ? m : NULL;
	if (!*out || m->type == type)
		return true;
	return hj_fail(p->error, m, "\"%s\" must be %s", key, type == HJ_ARRAY ? "a list in [ ]" :
		       type == HJ_OBJECT ? "an object in { }" : type == HJ_BOOL ?
		       "true or false" : "a text in quotes");
}

bool parse_strings(struct parser *p, const struct hj *o, const char *key, const char ***out,
		   uint32_t *n)
{
	struct hj *list;

	*n = 0;
	*out = NULL;
	if (!parse_member(p, o, key, HJ_ARRAY, &list))
		return false;
	if (!list)
		return true;
	*out = parse_alloc(p, list->count, sizeof(**out));
	for (const struct hj *item = list->first; *out && item; item = item->next) {
		(*out)[*n] = parse_trim(p, item);
		if (!(*out)[(*n)++])
			return false;
	}
	return *out != NULL;
}

json_t *parse_keep(struct parser *p, const struct hj *value)
{
	json_t *made = hj_json(value);

	if (made && !json_array_append_new(p->values, made))
		return made;
	hj_fail(p->error, NULL, "no memory");
	return NULL;
}

const struct named *policy_find(const struct names *names, const char *name)
{
	for (uint32_t i = 0; i < names->n; i++) {
		if (strcmp(names->at[i].name, name) == 0)
			return &names->at[i];
	}
	return NULL;
}

/* ---- definitions ---- */

/* The names of a section, so that what comes before may refer to what comes after. */
static bool collect(struct parser *p, const struct hj *root, const char *section,
		    const char *prefix, struct names *out)
{
	size_t len = strlen(prefix);
	struct hj *o;

	if (!parse_member(p, root, section, HJ_OBJECT, &o))
		return false;
	if (!o)
		return true;
	out->at = parse_alloc(p, o->count, sizeof(*out->at));
	for (const struct hj *m = o->first; out->at && m; m = m->next) {
		if (strncmp(m->key, prefix, len) != 0 || !m->key[len]) {
			return fail_key(p, m, "%s[\"%s\"]: a name that begins with \"%s\" is "
					"expected", section, m->key, prefix);
		}
		out->at[out->n].name = m->key;
		out->at[out->n++].place = m;
	}
	return out->at != NULL;
}

static bool parse_groups(struct parser *p)
{
	struct names *groups = &p->policy->groups;

	for (uint32_t i = 0; i < groups->n; i++) {
		const struct hj *list = groups->at[i].place;
		struct sels *out = &groups->at[i].members;

		if (list->type != HJ_ARRAY)
			return hj_fail(p->error, list, "groups[\"%s\"] must be a list in [ ]",
				       groups->at[i].name);
		out->at = parse_alloc(p, list->count, sizeof(*out->at));
		for (const struct hj *item = list->first; out->at && item; item = item->next) {
			struct sel *sel = &out->at[out->n++];
			char *text = parse_trim(p, item);

			if (!text)
				return false;
			if (str_starts(text, "group:"))
				return hj_fail(p->error, item, "groups[\"%s\"]: \"%s\": group "
					       "members cannot be recursive", groups->at[i].name,
					       text);
			if (!strchr(text, '@') || str_starts(text, "user:"))
				return hj_fail(p->error, item, "groups[\"%s\"]: \"%s\": a user is "
					       "expected, as in alice@example.com",
					       groups->at[i].name, text);
			*sel = (struct sel){ .kind = SEL_USER, .line = item->line,
					     .column = item->column, .text = text, .name = text };
		}
		if (!out->at)
			return false;
	}
	return true;
}

static bool parse_hosts(struct parser *p)
{
	struct names *hosts = &p->policy->hosts;

	for (uint32_t i = 0; i < hosts->n; i++) {
		const struct hj *m = hosts->at[i].place;
		char *text;

		if (strchr(m->key, '@') || strchr(m->key, ':'))
			return fail_key(p, m, "hosts[\"%s\"]: the name of a host has no \"@\" and "
					"no \":\"", m->key);
		text = parse_trim(p, m);
		if (!text)
			return false;
		if (!range_parse(text, &hosts->at[i].range))
			return hj_fail(p->error, m, "hosts[\"%s\"]: \"%s\": invalid address",
				       m->key, text);
	}
	return true;
}

/* The name of a tag behind "tag:": a letter, then letters, digits and hyphens. */
static bool check_tag(struct parser *p, const struct hj *m)
{
	const char *name = m->key + 4;

	if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z')))
		return fail_key(p, m,
				"tagOwners[\"%s\"]: tag names must start with a letter, after "
				"'tag:'",
				m->key);
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && *name != '-')
			return fail_key(p, m, "tagOwners[\"%s\"]: tag names can only contain "
					"numbers, letters, or dashes", m->key);
	}
	return true;
}

static bool parse_tag_owners(struct parser *p)
{
	struct names *tags = &p->policy->tags;

	for (uint32_t i = 0; i < tags->n; i++) {
		if (!check_tag(p, tags->at[i].place) ||
		    !parse_selectors(p, PLACE_OWNER, tags->at[i].place, &tags->at[i].members))
			return false;
	}
	return true;
}

/* ---- ipsets ---- */

static bool evaluate(struct parser *p, struct named *set);

static bool ipset_target(struct parser *p, const struct hj *at, const char *text,
			 struct ranges *out)
{
	const struct named *host = policy_find(&p->policy->hosts, text);
	struct range range;
	struct named *other;

	if (strcmp(text, "autogroup:internet") == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(ranges_internet); i++)
			ranges_add(out, &ranges_internet[i]);
	} else if (str_starts(text, "ipset:")) {
		other = (struct named *)(uintptr_t)policy_find(&p->policy->ipsets, text);
		if (!other)
			return hj_fail(p->error, at, "ipset not found: \"%s\"", text);
		if (!evaluate(p, other))
			return false;
		ranges_add_all(out, &other->set);
	} else if (host || range_parse(text, &range)) {
		ranges_add(out, host ? &host->range : &range);
	} else {
		return hj_fail(p->error, at, "\"%s\": invalid address", text);
	}
	return !out->failed || hj_fail(p->error, NULL, "no memory");
}

static bool ipset_entry(struct parser *p, struct named *set, const struct hj *item)
{
	struct ranges part = { .at = NULL };
	char *text = parse_trim(p, item);
	bool minus = text && str_starts(text, "remove "), ok;

	if (!text)
		return false;
	if (minus || str_starts(text, "add "))
		text += minus ? 7 : 4;
	text += strspn(text, " ");
	ok = ipset_target(p, item, text, &part);
	ranges_join(&set->set);
	ranges_join(&part);
	for (uint32_t i = 0; ok && i < part.n; i++) {
		if (minus)
			ranges_remove(&set->set, &part.at[i]);
		else
			ranges_add(&set->set, &part.at[i]);
	}
	ranges_join(&set->set);
	ranges_free(&part);
	return ok && (!set->set.failed || hj_fail(p->error, NULL, "no memory"));
}

/* In order; what it refers to first. */
static bool evaluate(struct parser *p, struct named *set)
{
	enum { OPEN = 1, DONE };

	if (set->mark == DONE)
		return true;
	if (set->mark == OPEN)
		return hj_fail(p->error, set->place, "\"%s\" refers to itself", set->name);
	if (set->place->type != HJ_ARRAY)
		return hj_fail(p->error, set->place, "ipsets[\"%s\"] must be a list in [ ]",
			       set->name);
	set->mark = OPEN;
	for (const struct hj *item = set->place->first; item; item = item->next) {
		if (!ipset_entry(p, set, item))
			return false;
	}
	set->mark = DONE;
	return true;
}

/* ---- autoApprovers ---- */

static bool approvers(struct parser *p, const struct hj *o, bool routes, struct approver **out,
		      uint32_t *n)
{
	if (!o)
		return true;
	*out = parse_alloc(p, o->count, sizeof(**out));
	for (const struct hj *m = o->first; *out && m; m = m->next) {
		struct approver *a = &(*out)[(*n)++];

		a->name = m->key;
		if (routes && !range_parse(m->key, &a->range))
			return fail_key(p, m, "autoApprovers.routes: \"%s\": invalid address",
					m->key);
		if (!routes && !str_starts(m->key, "svc:") && !str_starts(m->key, "tag:"))
			return fail_key(p, m, "autoApprovers.services: \"%s\" is no service and no "
					"tag", m->key);
		if (!parse_selectors(p, PLACE_APPROVER, m, &a->who))
			return false;
	}
	return *out != NULL;
}

static bool parse_approvers(struct parser *p, const struct hj *root)
{
	static const char *const known[] = { "routes", "exitNode", "services", NULL };
	struct policy *policy = p->policy;
	struct hj *o, *routes, *services;

	if (!parse_member(p, root, "autoApprovers", HJ_OBJECT, &o))
		return false;
	if (!o)
		return true;
	return parse_known(p, o, known) && parse_member(p, o, "routes", HJ_OBJECT, &routes) &&
	       parse_member(p, o, "services", HJ_OBJECT, &services) &&
	       approvers(p, routes, true, &policy->routes, &policy->n_routes) &&
	       approvers(p, services, false, &policy->services, &policy->n_services) &&
	       parse_selectors(p, PLACE_APPROVER, hj_get(o, "exitNode"), &policy->exit_node);
}

bool parse_flag(struct parser *p, const struct hj *root, const char *key, bool *out)
{
	struct hj *m;

	if (!parse_member(p, root, key, HJ_BOOL, &m))
		return false;
	*out = m && m->text[0] == 't';
	return true;
}

static bool parse_rest(struct parser *p, const struct hj *root)
{
	struct hj *derp, *cgnat = hj_get(root, "oneCGNATRoute");

	if (!parse_flag(p, root, "randomizeClientPort", &p->policy->randomize_client_port) ||
	    !parse_flag(p, root, "disableIPv4", &p->policy->disable_ipv4) ||
	    !parse_member(p, root, "derpMap", HJ_OBJECT, &derp))
		return false;
	if (cgnat && cgnat->type != HJ_NULL) {
		if (cgnat->type != HJ_STRING || (cgnat->len > 0 &&
		    strcmp(cgnat->text, "mac-always") && strcmp(cgnat->text, "mac-never")))
			return hj_fail(p->error, cgnat, "\"oneCGNATRoute\" is \"\", \"mac-always\" "
				       "or \"mac-never\"");
		p->policy->one_cgnat = strcmp(cgnat->text, "mac-always") == 0;
	}
	p->policy->derp_map = derp ? parse_keep(p, derp) : NULL;
	return !derp || p->policy->derp_map;
}

bool parse_definitions(struct parser *p, const struct hj *root)
{
	struct policy *policy = p->policy;

	if (!collect(p, root, "groups", "group:", &policy->groups) ||
	    !collect(p, root, "hosts", "", &policy->hosts) ||
	    !collect(p, root, "ipsets", "ipset:", &policy->ipsets) ||
	    !collect(p, root, "tagOwners", "tag:", &policy->tags) ||
	    !collect(p, root, "postures", "posture:", &policy->postures))
		return false;
	if (!parse_groups(p) || !parse_hosts(p) || !parse_tag_owners(p))
		return false;
	for (uint32_t i = 0; i < policy->ipsets.n; i++) {
		if (!evaluate(p, &policy->ipsets.at[i]))
			return false;
	}
	for (uint32_t i = 0; i < policy->postures.n; i++) {
		struct named *named = &policy->postures.at[i];
		struct posture_test *tests;

		if (named->place->type != HJ_ARRAY)
			return hj_fail(p->error, named->place, "postures[\"%s\"] must be a list in "
				       "[ ]", named->name);
		tests = parse_alloc(p, named->place->count, sizeof(*tests));
		named->tests = tests;
		for (const struct hj *item = named->place->first; tests && item;
		     item = item->next) {
			if (!parse_posture_test(p, item, &tests[named->n_tests++]))
				return false;
		}
		if (!tests)
			return false;
	}
	return parse_approvers(p, root) && parse_rest(p, root) &&
	       parse_postures(p, hj_get(root, "defaultSrcPosture"), &policy->default_postures);
}

/* ---- the whole ---- */

static bool parse_root(struct parser *p, const struct hj *root)
{
	static const char *const known[] = {
		"groups", "hosts", "ipsets", "postures", "defaultSrcPosture", "tagOwners", "acls",
		"grants", "ssh", "nodeAttrs", "attrConfig", "autoApprovers", "tests", "sshTests",
		"derpMap", "disableIPv4", "oneCGNATRoute", "randomizeClientPort", NULL,
	};

	if (root->type != HJ_OBJECT)
		return hj_fail(p->error, root, "a policy is an object in { }");
	return parse_known(p, root, known) && parse_definitions(p, root) &&
	       parse_grants(p, root) && parse_ssh(p, root) && parse_node_attrs(p, root) &&
	       parse_attr_config(p, root) && parse_tests(p, root);
}

struct policy *policy_parse(const char *text, size_t len, const struct policy_options *options,
			    struct policy_error *error)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	struct parser p = { .policy = policy, .options = options, .error = error };
	struct hj *root;

	memset(error, 0, sizeof(*error));
	p.values = json_array();
	if (!policy || !p.values) {
		hj_fail(error, NULL, "no memory");
		json_decref(p.values);
		free(policy);
		return NULL;
	}
	policy->values = p.values;
	root = hj_parse(&policy->arena, text, len, error);
	policy->text = root ? arena_text(&policy->arena, text, len) : NULL;
	policy->len = len;
	if (root && !policy->text)
		hj_fail(error, NULL, "no memory");
	if (policy->text && parse_root(&p, root))
		return policy;
	policy_free(policy);
	return NULL;
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (uint32_t i = 0; i < policy->ipsets.n; i++)
		ranges_free(&policy->ipsets.at[i].set);
	json_decref(policy->values);
	arena_free(&policy->arena);
	free(policy);
}

struct policy *policy_default(void)
{
	static const char text[] = "{\"grants\": [{\"src\": [\"autogroup:member\"], "
				   "\"dst\": [\"autogroup:self\"], \"ip\": [\"*\"]}]}";
	struct policy_error error;

	return policy_parse(text, sizeof(text) - 1, NULL, &error);
}
