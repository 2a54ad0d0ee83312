/*
 * warren node attr: what postures of the policy see of a node beside what it says itself
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../tailnet/rules.h"
#include "base/str.h"
#include "base/util.h"

static int show(const struct tailnet_node *node, struct warren_reply *reply)
{
	uint32_t n = node->attributes ? node->attributes->count : 0;

	if (!n)
		warren_reply_text(reply, "Node %s has no attributes.", node->name);
	for (uint32_t i = 0; i < n; i++)
		warren_reply_text(reply, "%s", node->attributes->at[i]);
	coord_show_strings(reply, "attributes", node->attributes);
	return 0;
}

/* What is typed, as it is kept: the name with its prefix, the value as JSON. */
static void spell(struct str *out, const char *typed, const char *equals)
{
	const char *value = equals + 1;
	bool whole = memchr(typed, ':', (size_t)(equals - typed));
	AUTO(str_free) struct str plain = STR_INIT;

	str_addf(&plain, "custom:x=%s", value);
	str_addf(out, "%s%.*s=", whole ? "" : "custom:", (int)(equals - typed), typed);
	if (!value[0])
		str_add(out, "null");
	else if (rules_attribute_valid(str_text(&plain), false))
		str_add(out, value);
	else
		str_addf(out, "\"%s\"", value);
}

static int set(struct warren_ctx *ctx, const struct warren_conf *args,
	       const struct tailnet_node *node, struct str *texts, struct warren_reply *reply,
	       struct warren_err *err)
{
	const char *strings[TAILNET_ATTRIBUTES];
	struct tailnet_act act = {
		.verb = TAILNET_NODE_ATTRIBUTES, .node = node->id, .strings = strings,
		.n_strings = warren_conf_count(args, "attribute"),
	};
	struct coord_said said = { .kind = "node" };

	for (uint32_t i = 0; i < act.n_strings; i++) {
		const char *typed = warren_conf_str(warren_conf_at(args, "attribute", i), NULL);
		const char *equals = strchr(typed, '=');

		if (!equals)
			return warren_fail(err, NULL, "\"%s\" is no attribute: NAME=VALUE, or "
					   "NAME= to take it away", typed);
		spell(&texts[i], typed, equals);
		strings[i] = str_text(&texts[i]);
	}
	snprintf(said.text, sizeof(said.text), "Node %s has these attributes from now on: "
		 "`warren node attr %s`.", node->name, node->name);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_attr(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_node *node = coord_find_node(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "node"), err);
	struct str texts[TAILNET_ATTRIBUTES] = { 0 };
	uint32_t n = warren_conf_count(args, "attribute");
	int rc;

	if (!node)
		return -EINVAL;
	if (!n)
		return show(node, reply);
	if (n > TAILNET_ATTRIBUTES)
		return warren_fail(err, NULL, "a node has at most %d attributes",
				   TAILNET_ATTRIBUTES);
	rc = set(ctx, args, node, texts, reply, err);
	for (uint32_t i = 0; i < n; i++)
		str_free(&texts[i]);
	return rc;
}
