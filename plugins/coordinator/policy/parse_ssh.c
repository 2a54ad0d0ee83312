/*
 * ssh (coordinator.md 2.10), and what is tested: tests and sshTests (2.11).
 */
#include "parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

enum { HOUR = 3600, PERIOD_DEFAULT = 12 * HOUR, PERIOD_MOST = 168 * HOUR };

/* ---- durations as Go writes them ---- */

/* Seconds of "1h30m", fractions allowed; false: it is none. */
static bool duration(const char *text, double *out)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {
		{ "ns", 1e-9 }, { "us", 1e-6 }, { "ms", 1e-3 }, { "s", 1 }, { "m", 60 },
		{ "h", HOUR },
	};
	bool minus = *text == '-';

	*out = 0;
	text += *text == '-' || *text == '+';
	if (strcmp(text, "0") == 0)
		return true;
	if (!*text)
		return false;
	while (*text) {
		size_t digits = strspn(text, "0123456789."), unit, i;
		char number[32];

		unit = strspn(text + digits, "nusmh");
		if (digits == 0 || digits >= sizeof(number) || unit == 0)
			return false;
		memcpy(number, text, digits);
		number[digits] = '\0';
		/* "1m30s": one unit at a time. */
		for (i = 0; i < ARRAY_SIZE(units); i++) {
			if (strlen(units[i].unit) == unit &&
			    strncmp(text + digits, units[i].unit, unit) == 0)
				break;
		}
		if (i == ARRAY_SIZE(units))
			return false;
		*out += strtod(number, NULL) * units[i].seconds;
		text += digits + unit;
	}
	if (minus)
		*out = -*out;
	return true;
}

static const char *go_duration(int64_t seconds, char out[48])
{
	const char *minus = seconds < 0 ? "-" : "";
	int64_t s = seconds < 0 ? -seconds : seconds;

	if (s >= HOUR)
		snprintf(out, 48, "%s%lldh%lldm%llds", minus, (long long)(s / HOUR),
			 (long long)(s / 60 % 60), (long long)(s % 60));
	else if (s >= 60)
		snprintf(out, 48, "%s%lldm%llds", minus, (long long)(s / 60), (long long)(s % 60));
	else
		snprintf(out, 48, "%s%llds", minus, (long long)s);
	return out;
}

static bool check_period(struct parser *p, const struct hj *o, struct ssh_rule *rule)
{
	struct hj *m;
	double seconds;
	char text[48];

	rule->check_period = PERIOD_DEFAULT;
	if (!parse_member(p, o, "checkPeriod", HJ_STRING, &m))
		return false;
	if (!m)
		return true;
	if (!rule->check)
		return hj_fail(p->error, m, "checkPeriod is for action \"check\" only");
	rule->check_period = 0;
	if (strcmp(m->text, "always") == 0)
		return true;
	if (!duration(m->text, &seconds) || seconds > 1e12 || seconds < -1e12)
		return hj_fail(p->error, m, "time: invalid duration \"%s\"", m->text);
	rule->check_period = (int64_t)seconds;
	if (seconds <= 0)
		return hj_fail(p->error, m, "checkPeriod %s must be a positive duration",
			       go_duration(rule->check_period, text));
	if (rule->check_period > PERIOD_MOST)
		return hj_fail(p->error, m, "checkPeriod %s is above the max (168h)",
			       go_duration(rule->check_period, text));
	return true;
}

/* ---- ssh ---- */

static bool own_domain(const struct parser *p, const char *domain)
{
	bool own = !p->options;

	for (uint32_t i = 0; p->options && i < p->options->n_domains; i++)
		own = own || strcasecmp(p->options->domains[i], domain) == 0;
	return own;
}

static bool ssh_user(struct parser *p, const struct hj *at, struct ssh_rule *rule)
{
	const char *text = parse_trim(p, at);

	if (!text)
		return false;
	if (!text[0] || strcmp(text, "*") == 0)
		return hj_fail(p->error, at, "user \"%s\" is not valid", text);
	if (strcmp(text, "root") == 0) {
		rule->root = true;
	} else if (strcmp(text, "autogroup:nonroot") == 0) {
		rule->nonroot = true;
	} else if (str_starts(text, "localpart:*@")) {
		if (!own_domain(p, text + 12))
			return hj_fail(p->error, at, "%s is not associated with this Tailnet and "
				       "cannot be used in user:*@<domain> expressions", text + 12);
		rule->localparts[rule->n_localparts++] = text + 12;
	} else {
		rule->users[rule->n_users++] = text;
	}
	return true;
}

static bool ssh_users(struct parser *p, const struct hj *o, struct ssh_rule *rule)
{
	struct hj *list;

	if (!parse_member(p, o, "users", HJ_ARRAY, &list))
		return false;
	if (!list || list->count == 0)
		return hj_fail(p->error, list ? list : o, "users must be specified");
	rule->users = parse_alloc(p, list->count, sizeof(*rule->users));
	rule->localparts = parse_alloc(p, list->count, sizeof(*rule->localparts));
	for (const struct hj *item = list->first; rule->users && rule->localparts && item;
	     item = item->next) {
		if (!ssh_user(p, item, rule))
			return false;
	}
	return rule->users && rule->localparts;
}

static bool ssh_action(struct parser *p, const struct hj *o, struct ssh_rule *rule)
{
	struct hj *action;

	if (!parse_member(p, o, "action", HJ_STRING, &action))
		return false;
	if (!action || !action->text[0])
		return hj_fail(p->error, action ? action : o, "action must be specified");
	rule->check = strcmp(action->text, "check") == 0;
	return rule->check || strcmp(action->text, "accept") == 0 ||
	       hj_fail(p->error, action, "\"%s\" is not a valid action", action->text);
}

static bool ssh_env(struct parser *p, const struct hj *o, struct ssh_rule *rule)
{
	if (!parse_strings(p, o, "acceptEnv", &rule->accept_env, &rule->n_accept_env))
		return false;
	for (uint32_t i = 0; i < rule->n_accept_env; i++) {
		if (!rule->accept_env[i][0])
			return hj_fail(p->error, hj_get(o, "acceptEnv"),
				       "acceptEnv values cannot be empty");
	}
	return true;
}

static bool is_person(const struct sel *sel)
{
	return sel->kind != SEL_TAG && sel->kind != SEL_TAGGED;
}

/* Never from a tag to a person's device, never to that of another person (2.10). */
static bool ssh_pair(struct parser *p, const struct ssh_rule *rule, const struct sel *dst)
{
	struct hj place = { .line = dst->line, .column = dst->column };

	if (dst->kind == SEL_USER &&
	    (rule->src.n != 1 || rule->src.at[0].kind != SEL_USER ||
	     strcmp(rule->src.at[0].name, dst->name) != 0))
		return hj_fail(p->error, &place, "dst \"%s\": a user's devices can only be reached "
			       "by the same user, who is then the only src", dst->text);
	if (dst->kind != SEL_SELF && dst->kind != SEL_USER && dst->kind != SEL_MEMBER)
		return true;
	for (uint32_t i = 0; i < rule->src.n; i++) {
		if (is_person(&rule->src.at[i]))
			continue;
		if (dst->kind == SEL_SELF)
			return hj_fail(p->error, &place, "autogroup:self can only be used with "
				       "users, groups, or supported autogroups");
		return hj_fail(p->error, &place, "dst \"%s\": tagged devices cannot reach those of "
			       "users", dst->text);
	}
	return true;
}

static bool ssh_rule(struct parser *p, const struct hj *o, struct ssh_rule *rule)
{
	static const char *const known[] = {
		"action", "src", "dst", "users", "checkPeriod", "acceptEnv", "srcPosture",
		"recorder", "enforceRecorder", NULL,
	};
	struct hj *enforce;

	rule->line = o->line;
	rule->column = o->column;
	if (!parse_known(p, o, known) || !ssh_action(p, o, rule) ||
	    !parse_selectors(p, PLACE_SSH_SRC, hj_get(o, "src"), &rule->src) ||
	    !parse_selectors(p, PLACE_SSH_DST, hj_get(o, "dst"), &rule->dst) ||
	    !ssh_users(p, o, rule) || !check_period(p, o, rule) || !ssh_env(p, o, rule) ||
	    !parse_postures(p, hj_get(o, "srcPosture"), &rule->postures) ||
	    !parse_selectors(p, PLACE_SSH_DST, hj_get(o, "recorder"), &rule->recorder) ||
	    !parse_member(p, o, "enforceRecorder", HJ_BOOL, &enforce))
		return false;
	rule->enforce_recorder = enforce && enforce->text[0] == 't';
	for (uint32_t i = 0; i < rule->dst.n; i++) {
		if (!ssh_pair(p, rule, &rule->dst.at[i]))
			return false;
	}
	return true;
}

bool parse_ssh(struct parser *p, const struct hj *root)
{
	struct policy *policy = p->policy;
	struct hj *list;

	if (!parse_member(p, root, "ssh", HJ_ARRAY, &list))
		return false;
	policy->has_ssh = list != NULL;
	if (!list)
		return true;
	policy->ssh = parse_alloc(p, list->count, sizeof(*policy->ssh));
	for (const struct hj *o = list->first; policy->ssh && o; o = o->next) {
		policy->ssh[policy->n_ssh].index = policy->n_ssh;
		if (!ssh_rule(p, o, &policy->ssh[policy->n_ssh++]))
			return false;
	}
	return policy->ssh != NULL;
}

/* ---- tests: what makes no sense does not pass, but is no error of the policy ---- */

static bool test_src(struct parser *p, const struct hj *o, struct sel *src)
{
	struct policy_error before = *p->error;
	struct hj *m = hj_get(o, "src");
	char *text = m && m->type == HJ_STRING ? parse_trim(p, m) : NULL;
	bool ok = text && text[0] && parse_selector(p, PLACE_TEST, m, text, src) &&
		  src->kind != SEL_SELF && src->kind != SEL_INTERNET;

	*p->error = before;
	return ok;
}

/* One host or kind of node, one port. */
static bool test_target(struct parser *p, const struct hj *at, int protocol,
			struct policy_target *out)
{
	struct policy_error before = *p->error;
	const char *text;
	char *host;
	struct ports *ports;
	uint32_t n;

	out->usable = at->type == HJ_STRING && parse_target(p, at, &host, &text) &&
		      parse_selector(p, PLACE_TEST, at, host, &out->dst) &&
		      out->dst.kind != SEL_ANY && out->dst.kind != SEL_SELF &&
		      (out->dst.kind != SEL_PREFIX || out->dst.range.lo == out->dst.range.hi);
	if (out->usable && protocol == 1 && strcmp(text, "0") == 0) {
		*p->error = before;
		return true;
	}
	out->usable = out->usable && parse_ports(p, at, "", text, &ports, &n) && n == 1 &&
		      ports[0].first == ports[0].last;
	*p->error = before;
	out->port = out->usable ? ports[0].first : 0;
	return true;
}

static bool test_targets(struct parser *p, const struct hj *o, const char *key, int protocol,
			 struct policy_target **out, uint32_t *n)
{
	struct hj *list;

	if (!parse_member(p, o, key, HJ_ARRAY, &list))
		return false;
	if (!list)
		return true;
	*out = parse_alloc(p, list->count, sizeof(**out));
	for (const struct hj *item = list->first; *out && item; item = item->next)
		test_target(p, item, protocol, &(*out)[(*n)++]);
	return *out != NULL;
}

static bool attributes(struct parser *p, const struct hj *o, json_t **out)
{
	struct hj *m;

	if (!parse_member(p, o, "srcPostureAttrs", HJ_OBJECT, &m))
		return false;
	*out = m ? parse_keep(p, m) : NULL;
	return !m || *out;
}

static bool policy_test(struct parser *p, const struct hj *o, struct policy_test *test)
{
	static const char *const known[] = { "src", "proto", "accept", "allow", "deny",
					     "srcPostureAttrs", NULL };
	struct hj *proto;

	test->line = o->line;
	test->column = o->column;
	test->protocol = POLICY_ANY_PROTOCOL;
	if (!parse_known(p, o, known) || !parse_member(p, o, "proto", HJ_STRING, &proto) ||
	    (proto && !parse_protocol(p, proto, proto->text, &test->protocol)))
		return false;
	test->usable = test_src(p, o, &test->src);
	return test_targets(p, o, hj_get(o, "accept") ? "accept" : "allow", test->protocol,
			    &test->accept, &test->n_accept) &&
	       test_targets(p, o, "deny", test->protocol, &test->deny, &test->n_deny) &&
	       attributes(p, o, &test->attributes);
}

static bool ssh_test_dst(struct parser *p, const struct hj *o, struct ssh_test *test)
{
	struct policy_error before = *p->error;
	struct hj *list;

	if (!parse_member(p, o, "dst", HJ_ARRAY, &list))
		return false;
	test->dst.at = list ? parse_alloc(p, list->count, sizeof(*test->dst.at)) : NULL;
	for (const struct hj *item = list ? list->first : NULL; test->dst.at && item;
	     item = item->next) {
		char *text = parse_trim(p, item);

		if (!text)
			return false;
		if (str_starts(text, "tag:") && !policy_find(&p->policy->tags, text))
			return hj_fail(p->error, item, "SSH tests dst contains unknown tag \"%s\"",
				       text);
		if (parse_selector(p, PLACE_TEST, item, text, &test->dst.at[test->dst.n]))
			test->dst.n++;
		else
			test->usable = false;
		*p->error = before;
	}
	test->usable = test->usable && test->dst.n > 0;
	return !list || test->dst.at;
}

static bool ssh_test(struct parser *p, const struct hj *o, struct ssh_test *test)
{
	static const char *const known[] = { "src", "dst", "accept", "check", "deny",
					     "srcPostureAttrs", NULL };

	test->line = o->line;
	test->column = o->column;
	if (!parse_known(p, o, known))
		return false;
	test->usable = test_src(p, o, &test->src);
	return ssh_test_dst(p, o, test) &&
	       parse_strings(p, o, "accept", &test->accept, &test->n_accept) &&
	       parse_strings(p, o, "check", &test->check, &test->n_check) &&
	       parse_strings(p, o, "deny", &test->deny, &test->n_deny) &&
	       attributes(p, o, &test->attributes);
}

bool parse_tests(struct parser *p, const struct hj *root)
{
	struct policy *policy = p->policy;
	struct hj *tests, *ssh;

	if (!parse_member(p, root, "tests", HJ_ARRAY, &tests) ||
	    !parse_member(p, root, "sshTests", HJ_ARRAY, &ssh))
		return false;
	policy->tests = tests ? parse_alloc(p, tests->count, sizeof(*policy->tests)) : NULL;
	policy->ssh_tests = ssh ? parse_alloc(p, ssh->count, sizeof(*policy->ssh_tests)) : NULL;
	for (const struct hj *o = tests ? tests->first : NULL; policy->tests && o; o = o->next) {
		policy->tests[policy->n_tests].index = policy->n_tests;
		if (!policy_test(p, o, &policy->tests[policy->n_tests++]))
			return false;
	}
	for (const struct hj *o = ssh ? ssh->first : NULL; policy->ssh_tests && o; o = o->next) {
		policy->ssh_tests[policy->n_ssh_tests].index = policy->n_ssh_tests;
		if (!ssh_test(p, o, &policy->ssh_tests[policy->n_ssh_tests++]))
			return false;
	}
	return (!tests || policy->tests) && (!ssh || policy->ssh_tests);
}
