/*
 * One selector: what it is, and whether it may stand where it does (coordinator.md 2.2).
 */
#include "parse.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"

#define AT(place) (1u << (place))
enum {
	RULES = AT(PLACE_SRC) | AT(PLACE_DST),
	PEOPLE = AT(PLACE_OWNER) | AT(PLACE_APPROVER),
	ALL = RULES | PEOPLE | AT(PLACE_TARGET) | AT(PLACE_SSH_SRC) | AT(PLACE_SSH_DST) |
	      AT(PLACE_TEST),
};

static const struct {
	const char *name;
	enum sel_kind kind;
	enum policy_role role;
	uint32_t places;
} autogroups[] = {
	{ "member", SEL_MEMBER, POLICY_MEMBER, ALL },
	{ "members", SEL_MEMBER, POLICY_MEMBER, ALL },
	{ "tagged", SEL_TAGGED, POLICY_MEMBER, ALL },
	{ "self", SEL_SELF, POLICY_MEMBER, AT(PLACE_DST) | AT(PLACE_SSH_DST) | AT(PLACE_TEST) },
	{ "internet", SEL_INTERNET, POLICY_MEMBER, AT(PLACE_DST) },
	{ "danger-all", SEL_DANGER_ALL, POLICY_MEMBER, AT(PLACE_SRC) },
	{ "shared", SEL_SHARED, POLICY_MEMBER, AT(PLACE_SRC) | AT(PLACE_SSH_SRC) },
	{ "owner", SEL_ROLE, POLICY_OWNER, ALL & ~AT(PLACE_SSH_DST) },
	{ "admin", SEL_ROLE, POLICY_ADMIN, ALL & ~AT(PLACE_SSH_DST) },
	{ "it-admin", SEL_ROLE, POLICY_IT_ADMIN, ALL & ~AT(PLACE_SSH_DST) },
	{ "network-admin", SEL_ROLE, POLICY_NETWORK_ADMIN, ALL & ~AT(PLACE_SSH_DST) },
	{ "billing-admin", SEL_ROLE, POLICY_BILLING_ADMIN, ALL & ~AT(PLACE_SSH_DST) },
	{ "auditor", SEL_ROLE, POLICY_AUDITOR, ALL & ~AT(PLACE_SSH_DST) },
};

/* "src=tag not found: ..."; what is wrong is said as the hosted service says it. */
static bool wrong(struct parser *p, enum sel_place place, const struct hj *at, const char *text,
		  const char *why)
{
	switch (place) {
	case PLACE_SRC:
		return hj_fail(p->error, at, "src=%s", why);
	case PLACE_DST:
		return hj_fail(p->error, at, "dst=\"%s\": %s", text, why);
	case PLACE_SSH_DST:
		return hj_fail(p->error, at, "invalid dst \"%s\"", text);
	case PLACE_OWNER: case PLACE_APPROVER: case PLACE_TARGET: case PLACE_SSH_SRC:
	case PLACE_TEST:
		break;
	}
	return hj_fail(p->error, at, "%s", why);
}

static bool autogroup(struct parser *p, enum sel_place place, const struct hj *at, struct sel *out)
{
	char why[HJ_ERROR];

	for (size_t i = 0; i < ARRAY_SIZE(autogroups); i++) {
		if (strcmp(autogroups[i].name, out->text + 10) != 0)
			continue;
		out->kind = autogroups[i].kind;
		out->role = autogroups[i].role;
		if (autogroups[i].places & AT(place))
			return true;
		if (place == PLACE_SRC)
			return hj_fail(p->error, at, "\"%s\" not valid on the src side of a rule",
				       out->text);
		if (place == PLACE_DST)
			return hj_fail(p->error, at, "cannot use %s as a dst", out->text);
		snprintf(why, sizeof(why), "\"%.200s\" cannot be used here", out->text);
		return wrong(p, place, at, out->text, why);
	}
	snprintf(why, sizeof(why), "\"%.200s\" is not a valid autogroup", out->text);
	return wrong(p, place, at, out->text, why);
}

static bool defined(struct parser *p, enum sel_place place, const struct hj *at, struct sel *out,
		    const struct names *names, const char *what)
{
	char why[HJ_ERROR];

	out->name = out->text;
	out->def = policy_find(names, out->name);
	if (out->def)
		return true;
	snprintf(why, sizeof(why), "%s not found: \"%.200s\"", what, out->text);
	return wrong(p, place, at, out->text, why);
}

static bool domain(struct parser *p, enum sel_place place, const struct hj *at, struct sel *out)
{
	bool own = !p->options;

	out->kind = SEL_DOMAIN;
	out->name = out->text + 7;	/* behind "user:*@" */
	for (uint32_t i = 0; p->options && i < p->options->n_domains; i++)
		own = own || strcasecmp(p->options->domains[i], out->name) == 0;
	if (own)
		return true;
	return hj_fail(p->error, at, "%s%s is not associated with this Tailnet and cannot be used "
		       "in user:*@<domain> expressions", place == PLACE_SSH_SRC ? "[ssh] " : "",
		       out->name);
}

static bool host(struct parser *p, enum sel_place place, const struct hj *at, struct sel *out)
{
	const struct named *named = policy_find(&p->policy->hosts, out->text);
	char why[HJ_ERROR];

	out->kind = SEL_PREFIX;
	if (named) {
		out->range = named->range;
		return true;
	}
	snprintf(why, sizeof(why), "\"%.200s\": invalid address", out->text);
	return wrong(p, place, at, out->text, why);
}

/* Kinds that make no sense at a place, though they are well formed. */
static bool fits(struct parser *p, enum sel_place place, const struct hj *at,
		 const struct sel *sel)
{
	bool people = sel->kind == SEL_USER || sel->kind == SEL_GROUP || sel->kind == SEL_TAG ||
		      sel->kind == SEL_ROLE || sel->kind == SEL_MEMBER || sel->kind == SEL_TAGGED;
	char why[HJ_ERROR];

	if (place == PLACE_SSH_DST && sel->kind != SEL_TAG && sel->kind != SEL_SELF &&
	    sel->kind != SEL_MEMBER && sel->kind != SEL_TAGGED && sel->kind != SEL_USER)
		return wrong(p, place, at, sel->text, "");
	if (place == PLACE_SSH_SRC && !people && sel->kind != SEL_DOMAIN &&
	    sel->kind != SEL_SHARED)
		return hj_fail(p->error, at, "invalid src \"%s\"", sel->text);
	if ((AT(place) & PEOPLE) && !people) {
		snprintf(why, sizeof(why), "\"%.200s\" is no user, group, tag or autogroup",
			 sel->text);
		return wrong(p, place, at, sel->text, why);
	}
	if (sel->kind == SEL_SERVICE && place != PLACE_DST) {
		snprintf(why, sizeof(why), "\"%.200s\": a service can only be a dst", sel->text);
		return wrong(p, place, at, sel->text, why);
	}
	return true;
}

static bool classify(struct parser *p, enum sel_place place, const struct hj *at, struct sel *out)
{
	const char *text = out->text;

	if (range_parse(text, &out->range)) {
		out->kind = SEL_PREFIX;
		return true;
	}
	if (strcmp(text, "*") == 0) {
		out->kind = SEL_ANY;
		return true;
	}
	if (str_starts(text, "user:*@"))
		return domain(p, place, at, out);
	if (str_starts(text, "group:")) {
		out->kind = SEL_GROUP;
		return defined(p, place, at, out, &p->policy->groups, "group");
	}
	if (str_starts(text, "tag:")) {
		out->kind = SEL_TAG;
		return defined(p, place, at, out, &p->policy->tags, "tag");
	}
	if (str_starts(text, "autogroup:"))
		return autogroup(p, place, at, out);
	if (str_starts(text, "ipset:")) {
		out->kind = SEL_IPSET;
		return defined(p, place, at, out, &p->policy->ipsets, "ipset");
	}
	if (str_starts(text, "svc:")) {
		out->kind = SEL_SERVICE;
		out->name = text;
		return true;
	}
	if (strchr(text, '@')) {
		out->kind = SEL_USER;
		out->name = text;
		return true;
	}
	return host(p, place, at, out);
}

bool parse_selector(struct parser *p, enum sel_place place, const struct hj *at, const char *text,
		    struct sel *out)
{
	memset(out, 0, sizeof(*out));
	out->line = at ? at->line : 0;
	out->column = at ? at->column : 0;
	out->text = text;
	return classify(p, place, at, out) && fits(p, place, at, out);
}

bool parse_selectors(struct parser *p, enum sel_place place, const struct hj *list,
		     struct sels *out)
{
	const struct hj *first = list;
	uint32_t n = 1;

	*out = (struct sels){ .at = NULL };
	if (!list || list->type == HJ_NULL)
		return true;
	if (list->type == HJ_ARRAY) {
		first = list->first;
		n = list->count;
	} else if (list->type != HJ_STRING) {
		return hj_fail(p->error, list, "a list of selectors is expected");
	}
	out->at = parse_alloc(p, n, sizeof(*out->at));
	for (const struct hj *item = first; out->at && n > 0; item = item->next, n--) {
		char *text = parse_trim(p, item);

		if (!text || !parse_selector(p, place, item, text, &out->at[out->n]))
			return false;
		out->n++;
	}
	return out->at != NULL;
}

/* One colon in what has no brackets splits; an IPv6 address without them ends at its last one. */
bool parse_target(struct parser *p, const struct hj *at, char **host_out, const char **ports)
{
	char *text = parse_trim(p, at), *colon = text ? strrchr(text, ':') : NULL;
	char *close = text && text[0] == '[' ? strchr(text, ']') : NULL;

	if (!text)
		return false;
	if (!colon || (close && colon < close))
		return hj_fail(p->error, at, "dst=\"%s\": hostport must contain a colon", text);
	*ports = colon + 1;
	*colon = '\0';
	*host_out = text;
	if (!close)
		return true;
	/* "[fd7a::1]" and "[fd7a::]/48" without the brackets. */
	memmove(text, text + 1, (size_t)(close - text - 1));
	memmove(close - 1, close + 1, strlen(close + 1) + 1);
	return true;
}

bool policy_selector(const struct policy *policy, const char *text, struct sel *out,
		     struct policy_error *error)
{
	struct parser p = { .policy = (struct policy *)(uintptr_t)policy, .error = error };

	return parse_selector(&p, PLACE_TEST, NULL, text, out);
}
