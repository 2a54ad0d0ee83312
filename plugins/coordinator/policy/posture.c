/*
 * Device postures (coordinator.md 2.9): "node:os == 'linux'" and so on.
 */
#include "posture.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"
#include "parse.h"

static const struct {
	const char *text;
	enum posture_op op;
} ops[] = {		/* longer ones before what they begin with */
	{ "==", POSTURE_EQUAL }, { "!=", POSTURE_DIFFERS }, { "<=", POSTURE_LESS_EQUAL },
	{ ">=", POSTURE_GREATER_EQUAL }, { "<", POSTURE_LESS }, { ">", POSTURE_GREATER },
	{ "NOT IN", POSTURE_NOT_IN }, { "IN", POSTURE_IN }, { "IS SET", POSTURE_SET },
	{ "NOT SET", POSTURE_NOT_SET },
};

/* A value in quotes of either kind, or bare; *@text goes behind it. NULL with the error. */
static const char *posture_value(struct parser *p, const struct hj *at, const char **text)
{
	const char *from = *text, *end;
	char *made;

	if (*from == '\'' || *from == '"') {
		end = strchr(from + 1, *from);
		if (!end)
			return hj_fail(p->error, at, "\"%s\": a quote is not closed", at->text),
			       NULL;
		*text = end + 1;
		from++;
	} else {
		end = from + strcspn(from, " ,]");
		*text = end;
	}
	if (end == from && **text != '\'' && from == *text)
		return hj_fail(p->error, at, "\"%s\": a value is expected", at->text), NULL;
	made = arena_text(&p->policy->arena, from, (size_t)(end - from));
	if (!made)
		hj_fail(p->error, NULL, "no memory");
	return made;
}

static bool posture_list(struct parser *p, const struct hj *at, const char *text,
			 struct posture_test *out)
{
	const char **values;
	size_t most = 1;

	if (*text++ != '[')
		return hj_fail(p->error, at, "\"%s\": a list in [ ] is expected", at->text);
	for (const char *c = text; *c; c++)
		most += *c == ',';
	values = parse_alloc(p, most, sizeof(*values));
	out->values = values;
	while (values && *text && *text != ']') {
		text += strspn(text, " ,");
		if (*text == ']')
			break;
		values[out->n] = posture_value(p, at, &text);
		if (!values[out->n])
			return false;
		out->n++;
		text += strspn(text, " ");
		if (*text && *text != ',' && *text != ']')
			return hj_fail(p->error, at, "\"%s\": a comma is expected between values",
				       at->text);
	}
	if (!values || *text != ']' || text[1 + strspn(text + 1, " ")])
		return values && hj_fail(p->error, at, "\"%s\": ] is expected at the end",
					 at->text);
	return true;
}

bool parse_posture_test(struct parser *p, const struct hj *at, struct posture_test *out)
{
	char *text = parse_trim(p, at);
	const char *rest;
	const char **value;
	size_t len, i;

	if (!text)
		return false;
	len = strcspn(text, " <>=!");
	out->attribute = arena_text(&p->policy->arena, text, len);
	rest = text + len + strspn(text + len, " ");
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strncasecmp(rest, ops[i].text, strlen(ops[i].text)) == 0)
			break;
	}
	if (!out->attribute || !strchr(out->attribute, ':') || i == ARRAY_SIZE(ops))
		return hj_fail(p->error, at, "\"%s\": expected as in node:os == 'linux'", text);
	out->op = ops[i].op;
	rest += strlen(ops[i].text);
	rest += strspn(rest, " ");
	if (out->op == POSTURE_IN || out->op == POSTURE_NOT_IN)
		return posture_list(p, at, rest, out);
	if (out->op != POSTURE_SET && out->op != POSTURE_NOT_SET) {
		value = parse_alloc(p, 1, sizeof(*value));
		if (!value || !(*value = posture_value(p, at, &rest)))
			return false;
		out->values = value;
		out->n = 1;
	}
	return !rest[strspn(rest, " ")] ||
	       hj_fail(p->error, at, "\"%s\": there is more behind the value", text);
}

bool parse_postures(struct parser *p, const struct hj *list, struct postures *out)
{
	const struct named **at;

	if (!list || list->type == HJ_NULL)
		return true;
	if (list->type != HJ_ARRAY)
		return hj_fail(p->error, list, "a list of postures is expected");
	at = parse_alloc(p, list->count, sizeof(*at));
	out->at = at;
	for (const struct hj *item = list->first; at && item; item = item->next) {
		char *text = parse_trim(p, item);

		if (!text)
			return false;
		at[out->n] = policy_find(&p->policy->postures, text);
		if (!at[out->n++])
			return hj_fail(p->error, item, "posture not found: \"%s\"", text);
	}
	return at != NULL;
}

/* ---- attrConfig ---- */

static bool attr_type(struct parser *p, const struct hj *o, enum attr_type *out)
{
	static const struct {
		const char *name;
		enum attr_type type;
	} types[] = {
		{ "string", ATTR_STRING }, { "number", ATTR_NUMBER }, { "bool", ATTR_BOOL },
		{ "boolean", ATTR_BOOL },
	};
	const struct hj *type = hj_get(o, "type");

	*out = ATTR_ANY;
	if (!type || type->type == HJ_NULL)
		return true;
	for (size_t i = 0; type->type == HJ_STRING && i < ARRAY_SIZE(types); i++) {
		if (strcmp(type->text, types[i].name) == 0) {
			*out = types[i].type;
			return true;
		}
	}
	return hj_fail(p->error, type, "\"type\" is \"string\", \"number\" or \"bool\"");
}

bool parse_attr_config(struct parser *p, const struct hj *root)
{
	static const char *const known[] = { "type", "allowSetByNode", NULL };
	struct policy *policy = p->policy;
	struct attr_config *config;
	struct hj *all;

	if (!parse_member(p, root, "attrConfig", HJ_OBJECT, &all))
		return false;
	if (!all)
		return true;
	policy->attr_configs = parse_alloc(p, all->count, sizeof(*config));
	for (const struct hj *o = all->first; policy->attr_configs && o; o = o->next) {
		config = &policy->attr_configs[policy->n_attr_configs++];
		config->name = o->key;
		if (!str_starts(o->key, "custom:"))
			return hj_fail(p->error, o, "attrConfig: \"%s\" does not begin with "
				       "\"custom:\"", o->key);
		if (o->type != HJ_OBJECT)
			return hj_fail(p->error, o, "attrConfig[\"%s\"] must be an object in { }",
				       o->key);
		if (!parse_known(p, o, known) || !attr_type(p, o, &config->type) ||
		    !parse_flag(p, o, "allowSetByNode", &config->by_node))
			return false;
	}
	return policy->attr_configs != NULL;
}

static bool is_of_type(enum attr_type type, const json_t *value)
{
	switch (type) {
	case ATTR_ANY:
		return true;
	case ATTR_STRING:
		return json_is_string(value);
	case ATTR_NUMBER:
		return json_is_number(value);
	case ATTR_BOOL:
		return json_is_boolean(value);
	}
	return false;
}

bool posture_by_node(const struct policy *policy, const char *name, const json_t *value)
{
	for (uint32_t i = 0; i < policy->n_attr_configs; i++) {
		const struct attr_config *config = &policy->attr_configs[i];

		if (strcmp(config->name, name) == 0)
			return config->by_node && (!value || is_of_type(config->type, value));
	}
	return false;
}

/* ---- enforcement ---- */

/* Fields of digits by number, others by text: 1.9 is before 1.10. */
int posture_compare(const char *a, const char *b)
{
	while (*a || *b) {
		bool digits = isdigit((unsigned char)*a) && isdigit((unsigned char)*b);
		size_t n = strspn(a, "0123456789"), m = strspn(b, "0123456789");
		int order;

		if (!digits) {
			if (*a != *b)
				return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
			a++;
			b++;
			continue;
		}
		for (; n > 1 && *a == '0'; n--)
			a++;
		for (; m > 1 && *b == '0'; m--)
			b++;
		order = n != m ? (n < m ? -1 : 1) : strncmp(a, b, n);
		if (order)
			return order < 0 ? -1 : 1;
		a += n;
		b += m;
	}
	return 0;
}

static bool among(const struct posture_test *test, const char *value)
{
	for (uint32_t i = 0; i < test->n; i++) {
		if (strcmp(test->values[i], value) == 0)
			return true;
	}
	return false;
}

/* An attribute that is not set fails every test but those for that. */
static bool test_holds(const struct posture_test *test, const char *value)
{
	int order;

	if (test->op == POSTURE_SET || test->op == POSTURE_NOT_SET)
		return (value != NULL) == (test->op == POSTURE_SET);
	if (!value)
		return false;
	order = posture_compare(value, test->values && test->n > 0 ? test->values[0] : "");
	switch (test->op) {
	case POSTURE_EQUAL:
		return among(test, value);
	case POSTURE_DIFFERS:
	case POSTURE_NOT_IN:
		return !among(test, value);
	case POSTURE_IN:
		return among(test, value);
	case POSTURE_LESS:
		return order < 0;
	case POSTURE_LESS_EQUAL:
		return order <= 0;
	case POSTURE_GREATER:
		return order > 0;
	case POSTURE_GREATER_EQUAL:
		return order >= 0;
	case POSTURE_SET:
	case POSTURE_NOT_SET:
		break;
	}
	return false;
}

/* A number is compared as one: 1.5 is 1.50, and more than 1.10. */
static bool number_of(const char *text, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return text[0] && !text[strspn(text, "0123456789.eE+-")] && !*end;
}

static bool number_among(const struct posture_test *test, double value)
{
	double wanted;

	for (uint32_t i = 0; i < test->n; i++) {
		if (number_of(test->values[i], &wanted) && !(value < wanted || value > wanted))
			return true;
	}
	return false;
}

/* What is no number is neither less nor more than one. */
static bool number_holds(const struct posture_test *test, double value)
{
	double wanted = 0;
	bool known = test->n > 0 && number_of(test->values[0], &wanted);

	switch (test->op) {
	case POSTURE_EQUAL: case POSTURE_IN:
		return number_among(test, value);
	case POSTURE_DIFFERS: case POSTURE_NOT_IN:
		return !number_among(test, value);
	case POSTURE_LESS:
		return known && value < wanted;
	case POSTURE_LESS_EQUAL:
		return known && value <= wanted;
	case POSTURE_GREATER:
		return known && value > wanted;
	case POSTURE_GREATER_EQUAL:
		return known && value >= wanted;
	case POSTURE_SET:
		return true;
	case POSTURE_NOT_SET:
		break;
	}
	return false;
}

static bool holds(const struct named *posture, const json_t *attributes)
{
	for (uint32_t i = 0; i < posture->n_tests; i++) {
		const struct posture_test *test = &posture->tests[i];
		const json_t *value = json_object_get(attributes, test->attribute);
		const char *text = json_string_value(value);

		if (json_is_boolean(value))
			text = json_is_true(value) ? "true" : "false";
		if (json_is_number(value) ? !number_holds(test, json_number_value(value)) :
					    !test_holds(test, text))
			return false;
	}
	return true;
}

bool posture_allows(const struct policy *policy, const struct postures *postures,
		    const json_t *attributes)
{
	const struct postures *wanted = postures->n > 0 ? postures : &policy->default_postures;

	for (uint32_t i = 0; i < wanted->n; i++) {
		if (holds(wanted->at[i], attributes))
			return true;
	}
	return wanted->n == 0;
}
