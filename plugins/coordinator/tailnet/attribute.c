/*
 * Attributes of nodes, for postures (coordinator.md 2.9): "custom:name=VALUE", the value as JSON.
 */
#include <errno.h>
#include <string.h>

#include "act.h"
#include "base/str.h"
#include "rules.h"

static const char prefix[] = "custom:";

/* Nothing in it has to be escaped: each text is written in one way. */
static bool text_valid(const char *value, size_t len)
{
	if (len < 2 || len > TAILNET_ATTRIBUTE + 2 || value[len - 1] != '"')
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		if (value[i] < ' ' || value[i] > '~' || value[i] == '"' || value[i] == '\\')
			return false;
	}
	return true;
}

static bool number_valid(const char *value)
{
	size_t whole, part = 0;

	value += value[0] == '-';
	whole = strspn(value, "0123456789");
	if (!whole || (value[0] == '0' && whole > 1))
		return false;
	value += whole;
	if (value[0] == '.') {
		part = strspn(value + 1, "0123456789");
		if (!part)
			return false;
		value += 1 + part;
	}
	return !value[0] && whole + part <= 15;
}

bool rules_attribute_valid(const char *text, bool gone)
{
	const char *equals = strchr(text, '='), *value;
	size_t name;

	if (!equals || !str_starts(text, prefix))
		return false;
	name = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
	if (text + name != equals || name == sizeof(prefix) - 1 || name > TAILNET_ATTRIBUTE)
		return false;
	value = equals + 1;
	if (value[0] == '"')
		return text_valid(value, strlen(value));
	return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ||
	       (gone && strcmp(value, "null") == 0) || number_valid(value);
}

static bool same_name(const char *a, const char *b)
{
	size_t len = strcspn(a, "=");

	return strncmp(a, b, len) == 0 && b[len] == '=';
}

/* Those of @list whose name is another than that of @text stay. */
static uint32_t without(const char **list, uint32_t n, const char *text)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!same_name(text, list[i]))
			list[kept++] = list[i];
	}
	return kept;
}

/* What @act sets beside what there is; said twice, the last holds. Room for both in @out. */
static uint32_t merge(const struct tailnet_strings *now, const struct tailnet_act *act,
		      const char **out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; now && i < now->count; i++)
		out[n++] = now->at[i];
	for (uint32_t i = 0; i < act->n_strings; i++) {
		n = without(out, n, act->strings[i]);
		if (strcmp(strchr(act->strings[i], '='), "=null") != 0)
			out[n++] = act->strings[i];
	}
	return n;
}

static int check(struct tailnet_request *request)
{
	const struct tailnet_act *act = &request->act;

	if (act->n_strings > TAILNET_ATTRIBUTES)
		return request_fail(request, -EINVAL, "%u attributes at once are too many; %d is "
				    "the limit", act->n_strings, TAILNET_ATTRIBUTES);
	for (uint32_t i = 0; i < act->n_strings; i++) {
		if (!rules_attribute_valid(act->strings[i], true))
			return request_fail(request, -EINVAL, "\"%.120s\" is no attribute: "
					    "\"custom:\", letters, digits and _, then a text of "
					    "%d ASCII characters at most without quotes, a number "
					    "of 15 digits at most, true or false",
					    act->strings[i], TAILNET_ATTRIBUTE);
	}
	return 0;
}

int act_node_attributes(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const char *list[2 * TAILNET_ATTRIBUTES];
	const struct tailnet_node *before;
	struct tailnet_node *now;
	uint32_t n;
	int rc = check(request);

	if (rc)
		return rc;
	now = act_edit(tn, request, ch, &before, &rc);
	if (!now)
		return rc;
	n = merge(before->attributes, &request->act, list);
	if (n > TAILNET_ATTRIBUTES)
		rc = request_fail(request, -EINVAL, "%s would have %u attributes; %d is the limit",
				  before->name, n, TAILNET_ATTRIBUTES);
	else if (!set_strings(&now->attributes, list, n))
		rc = -ENOMEM;
	return act_put_take(tn, request, ch, before, now, rc);
}
