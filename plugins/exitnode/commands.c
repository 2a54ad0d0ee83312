/*
 * exit-node list, exit-node suggest: in the stock client's words.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "exitnode.h"

static const char *country_of(const struct warren_node *node)
{
	return node->location && node->location->country ? node->location->country : "-";
}

static const char *city_of(const struct warren_node *node)
{
	return node->location && node->location->city ? node->location->city : "-";
}

static const char *status_of(const struct exitnode *e, const struct warren_node *node)
{
	bool away = exitnode_is_away(node);

	if (node->id == e->used)
		return away ? "selected but offline" : "selected";
	return away ? "offline" : "-";
}

static void write_one(const struct exitnode *e, const struct warren_node *node,
		      struct warren_reply *reply)
{
	char name[256], address[ADDR_TEXT] = "-";

	exitnode_name(node, name, sizeof(name));
	if (node->n_addresses > 0)
		addr_format(&node->addresses[0].addr, address);
	warren_reply_text(reply, " %s\t%s\t%s\t%s\t%s", address, name, country_of(node),
			  city_of(node), status_of(e, node));
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "id", "%s", node->stable_id ? node->stable_id : "");
	warren_reply_str(reply, "ip", "%s", address);
	warren_reply_str(reply, "name", "%s", name);
	warren_reply_str(reply, "country", "%s", country_of(node));
	warren_reply_str(reply, "city", "%s", city_of(node));
	warren_reply_bool(reply, "selected", node->id == e->used);
	warren_reply_bool(reply, "online", !exitnode_is_away(node));
	warren_reply_close(reply);
}

static bool is_shown(const struct warren_node *node, const char *filter)
{
	return warren_netmap_is_exit(node) &&
	       (!filter[0] || strcasecmp(country_of(node), filter) == 0);
}

static int run_list(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	const struct exitnode *e = warren_self(ctx);
	const char *filter = warren_conf_str(args, "filter");
	uint32_t n = 0;

	filter = filter ? filter : "";
	for (uint32_t i = 0; e->map && i < e->map->n_peers; i++)
		n += is_shown(e->map->peers[i], filter);
	if (n == 0 && filter[0])
		return warren_fail(err, NULL, "no exit nodes found for \"%s\"", filter);
	if (n == 0)
		return warren_fail(err, NULL, "no exit nodes found");
	warren_reply_text(reply, " IP\tHOSTNAME\tCOUNTRY\tCITY\tSTATUS");
	warren_reply_open(reply, "nodes", '[');
	for (uint32_t i = 0; i < e->map->n_peers; i++) {
		if (is_shown(e->map->peers[i], filter))
			write_one(e, e->map->peers[i], reply);
	}
	warren_reply_close(reply);
	warren_reply_text(reply, "\n# To use an exit node, use `warren set --exit-node=` followed "
			  "by the IP or hostname.");
	return 0;
}

static int run_suggest(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const struct exitnode *e = warren_self(ctx);
	const struct exitnode_wish wish = exitnode_wish(e, "auto");
	const struct warren_node *node = e->map ? exitnode_nearest(e->map, &wish) : NULL;
	char name[256];

	(void)args;
	(void)err;
	if (!node) {
		warren_reply_str(reply, "id", "%s", "");
		warren_reply_str(reply, "name", "%s", "");
		warren_reply_text(reply, "No exit node suggestion is available.");
		return 0;
	}
	exitnode_name(node, name, sizeof(name));
	warren_reply_str(reply, "id", "%s", node->stable_id ? node->stable_id : "");
	warren_reply_str(reply, "name", "%s", name);
	warren_reply_text(reply, "Suggested exit node: %s", name);
	warren_reply_text(reply, "To accept this suggestion, use `warren set --exit-node=%s`.",
			  name);
	return 0;
}

static const struct warren_option list_args[] = {
	{ .key = "filter", .type = WARREN_STRING, .max = 64,
	  .brief = "Only those of this country." },
};

const struct warren_command exitnode_commands[EXITNODE_COMMANDS] = {
	{ .path = "exit-node list", .flags = WARREN_CMD_ANY, .run = run_list,
	  .args = WARREN_TABLE(list_args),
	  .brief = "Show exit nodes.",
	  .help = "Peers that offer a way to all of the internet, and which of them is used. With "
		  "`control`, only those that an administrator has approved.",
	  .example = "warren exit-node list" },
	{ .path = "exit-node suggest", .flags = WARREN_CMD_ANY, .run = run_suggest,
	  .brief = "Suggest the best available exit node.",
	  .help = "The nearest that lives, by the relay region that this node is closest to: what "
		  "`exitnode.use: auto` takes.",
	  .example = "warren exit-node suggest" },
};
