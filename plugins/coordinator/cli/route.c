/*
 * warren route ...: which of the announced networks a node may serve, exit nodes included
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

static const struct warren_prefix exits[] = {
	{ .addr = { .family = 4 } }, { .addr = { .family = 6 } },
};

static void list_one(const struct tailnet_node *node, const struct warren_prefix *prefix,
		     struct warren_reply *reply)
{
	bool announced = tailnet_prefixes_have(node->announced, prefix);
	bool approved = tailnet_prefixes_have(node->approved, prefix);
	bool primary = tailnet_prefixes_have(node->live.primary, prefix);
	const char *state;
	char text[PREFIX_TEXT];

	prefix_format(prefix, text);
	if (!approved)
		state = "not approved";
	else if (!announced)
		state = "approved, not announced";
	else if (prefix->bits == 0)
		state = node->live.online ? "exit node" : "exit node, offline";
	else
		state = primary ? "serves" : "stands by";
	warren_reply_text(reply, "%s\t%s\t%s", text, node->name, state);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "prefix", "%s", text);
	warren_reply_str(reply, "node", "%s", node->name);
	warren_reply_int(reply, "node_id", node->id);
	warren_reply_bool(reply, "announced", announced);
	warren_reply_bool(reply, "approved", approved);
	warren_reply_bool(reply, "primary", primary);
	warren_reply_close(reply);
}

static void list_node(const struct tailnet_node *node, struct warren_reply *reply)
{
	for (uint32_t i = 0; node->announced && i < node->announced->count; i++)
		list_one(node, &node->announced->at[i], reply);
	for (uint32_t i = 0; node->approved && i < node->approved->count; i++) {
		if (!tailnet_prefixes_have(node->announced, &node->approved->at[i]))
			list_one(node, &node->approved->at[i], reply);
	}
}

int coord_run_route_list(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	uint32_t n;
	const struct tailnet_node *const *nodes = tailnet_nodes(tn, &n);
	const struct tailnet_node *only = NULL;

	if (warren_conf_has(args, "node")) {
		only = coord_find_node(tn, warren_conf_str(args, "node"), err);
		if (!only)
			return -EINVAL;
	}
	warren_reply_text(reply, "NETWORK\tNODE\tSTATE");
	warren_reply_open(reply, "routes", '[');
	for (uint32_t i = 0; i < n; i++) {
		if (!only || nodes[i]->id == only->id)
			list_node(nodes[i], reply);
	}
	warren_reply_close(reply);
	return 0;
}

/* What is typed: networks, and "exit" for both default routes. */
struct wish {
	struct warren_prefix at[TAILNET_ROUTES];
	uint32_t n;
};

static bool wish_has(const struct wish *wish, const struct warren_prefix *prefix)
{
	for (uint32_t i = 0; i < wish->n; i++) {
		if (prefix_equal(&wish->at[i], prefix))
			return true;
	}
	return false;
}

static bool wish_add(struct wish *wish, const struct warren_prefix *prefix)
{
	if (wish_has(wish, prefix))
		return true;
	if (wish->n == TAILNET_ROUTES)
		return false;
	wish->at[wish->n++] = *prefix;
	return true;
}

static int too_many(struct warren_err *err)
{
	return warren_fail(err, NULL, "a node serves at most %d networks", TAILNET_ROUTES);
}

static int wish_read(const struct warren_conf *args, struct wish *wish, struct warren_err *err)
{
	struct warren_prefix prefix;

	for (uint32_t i = 0; i < warren_conf_count(args, "network"); i++) {
		const char *text = warren_conf_str(warren_conf_at(args, "network", i), NULL);

		if (strcmp(text, "exit") == 0) {
			if (!wish_add(wish, &exits[0]) || !wish_add(wish, &exits[1]))
				return too_many(err);
			continue;
		}
		if (prefix_parse(text, &prefix))
			return warren_fail(err, NULL, "\"%s\" is no network: 10.0.0.0/8, "
					   "2001:db8::/48, or the word exit", text);
		if (prefix_mask(&prefix))
			return warren_fail(err, NULL, "%s has host bits set: is the network before "
					   "the slash right?", text);
		if ((prefix.bits == 0 && (!wish_add(wish, &exits[0]) ||
					  !wish_add(wish, &exits[1]))) ||
		    !wish_add(wish, &prefix))
			return too_many(err);
	}
	return 0;
}

static int put(struct warren_ctx *ctx, const struct tailnet_node *node, const struct wish *all,
	       const char *text, struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = {
		.verb = TAILNET_NODE_ROUTES, .node = node->id, .prefixes = all->at,
		.n_prefixes = all->n,
	};
	struct coord_said said = { .kind = "node" };

	snprintf(said.text, sizeof(said.text), "%s", text);
	return coord_do(ctx, &act, &said, reply, err);
}

static int approve(struct warren_ctx *ctx, const struct tailnet_node *node, struct wish *wish,
		   struct warren_reply *reply, struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT;
	char shown[PREFIX_TEXT];

	str_addf(&text, "Node %s may serve", node->name);
	for (uint32_t i = 0; i < wish->n; i++)
		str_addf(&text, "%s %s%s", i ? "," : "", prefix_format(&wish->at[i], shown),
			 tailnet_prefixes_have(node->announced, &wish->at[i]) ? "" :
			 " (as soon as it announces that)");
	str_addc(&text, '.');
	for (uint32_t i = 0; node->approved && i < node->approved->count; i++) {
		if (!wish_add(wish, &node->approved->at[i]))
			return too_many(err);
	}
	return put(ctx, node, wish, str_text(&text), reply, err);
}

int coord_run_route_approve(struct warren_ctx *ctx, const struct warren_conf *args,
			    struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_node *node = coord_find_node(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "node"), err);
	AUTO(auto_free) struct wish *wish = calloc(1, sizeof(*wish));
	int rc;

	if (!node)
		return -EINVAL;
	rc = wish ? wish_read(args, wish, err) : -ENOMEM;
	return rc ? rc : approve(ctx, node, wish, reply, err);
}

/* Of an exit node no half is left: one default route alone is none. */
static int revoke(struct warren_ctx *ctx, const struct tailnet_node *node,
		  const struct warren_conf *args, const struct wish *wish, struct wish *left,
		  struct warren_reply *reply, struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT, list = STR_INIT;
	char shown[PREFIX_TEXT];
	uint32_t gone = 0;

	for (uint32_t i = 0; node->approved && i < node->approved->count; i++) {
		const struct warren_prefix *prefix = &node->approved->at[i];

		if (!wish_has(wish, prefix)) {
			wish_add(left, prefix);
			continue;
		}
		str_addf(&list, "%s%s", gone++ ? ", " : "", prefix_format(prefix, shown));
	}
	if (!gone)
		return warren_fail(err, NULL, "none of that is approved for node %s: `warren route "
				   "list %s` shows what is", node->name, node->name);
	if (!coord_confirmed(args, err, "With this node %s of %s does not serve %s any more: what "
			     "goes there through it is cut off", node->name,
			     coord_owner(coord_cli_tailnet(ctx), node), str_text(&list)))
		return -EINVAL;
	str_addf(&text, "Node %s does not serve %s any more.", node->name, str_text(&list));
	return put(ctx, node, left, str_text(&text), reply, err);
}

int coord_run_route_revoke(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_node *node = coord_find_node(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "node"), err);
	AUTO(auto_free) struct wish *wish = calloc(2, sizeof(*wish));
	int rc;

	if (!node)
		return -EINVAL;
	rc = wish ? wish_read(args, &wish[0], err) : -ENOMEM;
	return rc ? rc : revoke(ctx, node, args, &wish[0], &wish[1], reply, err);
}
