/*
 * exit-node list, exit-node suggest: in the stock client's words.
 */
#include <stdlib.h>

#include "base/addr.h"
#include "exitnode.h"

static const char *or_dash(const char *text)
{
	return text[0] ? text : "-";
}

static const char *status_of(const struct exitnode *e, const struct warren_node *node)
{
	bool away = exitnode_is_away(node);

	if (node->id == e->used)
		return away ? "selected but offline" : "selected";
	return away ? "offline" : "-";
}

/* People are shown some, programs all. */
static void write_row(const struct exitnode *e, const struct exitnode_row *row,
		      struct warren_reply *reply)
{
	const struct warren_node *node = row->node;
	char name[256], address[ADDR_TEXT] = "-";

	exitnode_name(node, name, sizeof(name));
	if (node->n_addresses > 0)
		addr_format(&node->addresses[0].addr, address);
	if (row->shown)
		warren_reply_text(reply, " %s\t%s\t%s\t%s\t%s", address, name,
				  or_dash(exitnode_country(node)),
				  row->any ? "Any" : or_dash(exitnode_city(node)),
				  status_of(e, node));
	if (row->any)
		return;
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "id", "%s", node->stable_id ? node->stable_id : "");
	warren_reply_str(reply, "ip", "%s", address);
	warren_reply_str(reply, "name", "%s", name);
	warren_reply_str(reply, "country", "%s", or_dash(exitnode_country(node)));
	warren_reply_str(reply, "city", "%s", or_dash(exitnode_city(node)));
	warren_reply_bool(reply, "selected", node->id == e->used);
	warren_reply_bool(reply, "online", !exitnode_is_away(node));
	warren_reply_close(reply);
}

static void write_rows(const struct exitnode *e, const struct exitnode_row *rows, size_t n,
		       struct warren_reply *reply)
{
	warren_reply_text(reply, " IP\tHOSTNAME\tCOUNTRY\tCITY\tSTATUS");
	warren_reply_open(reply, "nodes", '[');
	for (size_t i = 0; i < n; i++)
		write_row(e, &rows[i], reply);
	warren_reply_close(reply);
	warren_reply_text(reply, "\n# To view the complete list of exit nodes for a country, use "
			  "`warren exit-node list --filter=` followed by the country name.");
	warren_reply_text(reply, "# To use an exit node, use `warren set --exit-node=` followed "
			  "by the IP or hostname.");
	if (exitnode_any_suggested(e->map))
		warren_reply_text(reply, "# To have Warren suggest an exit node, use "
				  "`warren exit-node suggest`.");
}

static int run_list(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	const struct exitnode *e = warren_self(ctx);
	const char *filter = warren_conf_str(args, "filter");
	struct exitnode_row *rows;
	size_t n;

	filter = filter ? filter : "";
	if (exitnode_rows(e->map, filter, e->used, &rows, &n))
		return warren_fail(err, NULL, "out of memory");
	if (n > 0)
		write_rows(e, rows, n, reply);
	free(rows);
	if (n == 0 && filter[0])
		return warren_fail(err, NULL, "no exit nodes found for \"%s\"", filter);
	return n > 0 ? 0 : warren_fail(err, NULL, "no exit nodes found");
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
	  .brief = "All of this country." },
};

const struct warren_command exitnode_commands[EXITNODE_COMMANDS] = {
	{ .path = "exit-node list", .flags = WARREN_CMD_ANY, .run = run_list,
	  .args = WARREN_TABLE(list_args),
	  .brief = "Show exit nodes.",
	  .help = "Peers that offer a way to all of the internet, and which of them is used. With "
		  "`control`, only those that an administrator has approved. Of those that tell "
		  "where they are, the best of each city and of each country; all of a country "
		  "with --filter, and all there are with --json.",
	  .example = "warren exit-node list" },
	{ .path = "exit-node suggest", .flags = WARREN_CMD_ANY, .run = run_suggest,
	  .brief = "Suggest the best available exit node.",
	  .help = "The nearest that lives, by the relay region that this node is closest to: what "
		  "`exitnode.use: auto` takes.",
	  .example = "warren exit-node suggest" },
};
