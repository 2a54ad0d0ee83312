/*
 * warren node list, show, pending
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <warren/net.h>

#include "../server/server.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

static void show_key(struct warren_reply *reply, const char *name, enum warren_keytext kind,
		     const uint8_t key[32])
{
	char text[WARREN_KEYTEXT_MAX];

	warren_reply_str(reply, name, "%s", warren_keytext_format(kind, key, text));
}

static void show_addresses(const struct tailnet_node *node, struct warren_reply *reply)
{
	char text[ADDR_TEXT];

	warren_reply_open(reply, "addresses", '[');
	if (node->v4.family)
		warren_reply_str(reply, NULL, "%s", addr_format(&node->v4, text));
	if (node->v6.family)
		warren_reply_str(reply, NULL, "%s", addr_format(&node->v6, text));
	warren_reply_close(reply);
}

void coord_show_node(struct tailnet *tn, const struct tailnet_node *node,
		     struct warren_reply *reply)
{
	char fqdn[TAILNET_FQDN];

	warren_reply_int(reply, "id", node->id);
	warren_reply_str(reply, "name", "%s", node->name);
	warren_reply_str(reply, "fqdn", "%s", tailnet_fqdn(tn, node, fqdn));
	warren_reply_str(reply, "hostname", "%s", node->hostname);
	warren_reply_str(reply, "user", "%s", coord_owner(tn, node));
	coord_show_strings(reply, "tags", node->tags);
	show_addresses(node, reply);
	warren_reply_bool(reply, "online", node->live.online);
	warren_reply_bool(reply, "authorized", node->authorized);
	warren_reply_bool(reply, "ephemeral", node->ephemeral);
	warren_reply_bool(reply, "expired", node->live.expired);
	coord_show_time(reply, "expiry", node->expiry);
	coord_show_time(reply, "created", node->created);
	coord_show_time(reply, "last_seen", node->soft.last_seen);
	warren_reply_bool(reply, "pinned", node->user &&
			  tailnet_pinned(tn, node->machine, node->user));
	warren_reply_str(reply, "registered_by", node->interactive ? "login" : "auth-key");
	warren_reply_int(reply, "auth_key", node->auth_key);
	coord_show_prefixes(reply, "announced", node->announced);
	coord_show_prefixes(reply, "approved", node->approved);
	coord_show_prefixes(reply, "primary", node->live.primary);
	coord_show_strings(reply, "attributes", node->attributes);
	show_key(reply, "node_key", WARREN_KEYTEXT_NODE, node->node_key);
	show_key(reply, "machine_key", WARREN_KEYTEXT_MACHINE, node->machine_key);
}

static const char *state_of(const struct tailnet_node *node)
{
	if (!node->authorized)
		return "waits for approval";
	if (node->live.expired)
		return "expired";
	return node->live.online ? "online" : "offline";
}

static void add_strings(struct str *out, const struct tailnet_strings *list)
{
	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, "%s%s", out->len ? ", " : "", list->at[i]);
}

static void add_prefixes(struct str *out, const struct tailnet_prefixes *list)
{
	char text[PREFIX_TEXT];

	for (uint32_t i = 0; list && i < list->count; i++)
		str_addf(out, "%s%s", i ? ", " : "", prefix_format(&list->at[i], text));
}

static void list_row(struct tailnet *tn, const struct tailnet_node *node,
		     struct warren_reply *reply)
{
	char v4[ADDR_TEXT], v6[ADDR_TEXT], until[COORD_TIME];
	AUTO(str_free) struct str owner = STR_INIT;

	if (node->user)
		str_add(&owner, coord_owner(tn, node));
	else
		add_strings(&owner, node->tags);
	warren_reply_text(reply, "%" PRId64 "\t%s\t%s\t%s\t%s\t%s%s\t%s", node->id, node->name,
			  str_text(&owner),
			  node->v4.family ? addr_format(&node->v4, v4) : "-",
			  node->v6.family ? addr_format(&node->v6, v6) : "-",
			  state_of(node), node->ephemeral ? ", ephemeral" : "",
			  coord_time_text(node->expiry, until));
}

int coord_run_node_list(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	uint32_t n, pos = 0, waiting = 0;
	const struct tailnet_node *const *nodes = tailnet_nodes(tn, &n);
	const struct tailnet_user *user = NULL;

	if (warren_conf_has(args, "user")) {
		user = coord_find_user(tn, warren_conf_str(args, "user"), err);
		if (!user)
			return -EINVAL;
	}
	warren_reply_text(reply, "ID\tNAME\tOWNER\tIPV4\tIPV6\tSTATE\tEXPIRES");
	warren_reply_open(reply, "nodes", '[');
	for (uint32_t i = 0; i < n; i++) {
		if (user && nodes[i]->user != user->id)
			continue;
		list_row(tn, nodes[i], reply);
		warren_reply_open(reply, NULL, '{');
		coord_show_node(tn, nodes[i], reply);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	while (tailnet_pending_next(tn, &pos))
		waiting++;
	if (waiting && !warren_reply_json(reply))
		warren_reply_note(reply, "%u device%s for approval: `warren node pending`", waiting,
				  waiting == 1 ? " waits" : "s wait");
	return 0;
}

static void text_of(struct tailnet *tn, const struct tailnet_node *node,
		    struct warren_reply *reply)
{
	AUTO(str_free) struct str tags = STR_INIT, announced = STR_INIT, approved = STR_INIT;
	char fqdn[TAILNET_FQDN], v4[ADDR_TEXT], v6[ADDR_TEXT], time[COORD_TIME];
	char key[WARREN_KEYTEXT_MAX];

	add_strings(&tags, node->tags);
	add_prefixes(&announced, node->announced);
	add_prefixes(&approved, node->approved);
	warren_reply_text(reply, "name\t%s (%s)", node->name, tailnet_fqdn(tn, node, fqdn));
	warren_reply_text(reply, "calls itself\t%s", node->hostname);
	warren_reply_text(reply, "owner\t%s", coord_owner(tn, node));
	warren_reply_text(reply, "tags\t%s", tags.len ? str_text(&tags) : "none");
	warren_reply_text(reply, "addresses\t%s %s", addr_format(&node->v4, v4),
			  addr_format(&node->v6, v6));
	warren_reply_text(reply, "state\t%s%s", state_of(node),
			  node->ephemeral ? ", ephemeral" : "");
	warren_reply_text(reply, "key expires\t%s", coord_time_text(node->expiry, time));
	warren_reply_text(reply, "joined\t%s by %s", coord_time_text(node->created, time),
			  node->interactive ? "login" : "auth key");
	warren_reply_text(reply, "announces\t%s", announced.len ? str_text(&announced) : "none");
	warren_reply_text(reply, "approved\t%s", approved.len ? str_text(&approved) : "none");
	for (uint32_t i = 0; node->attributes && i < node->attributes->count; i++)
		warren_reply_text(reply, "%s\t%s", i ? "" : "attributes",
				  node->attributes->at[i]);
	warren_reply_text(reply, "machine\t%s", warren_keytext_format(WARREN_KEYTEXT_MACHINE,
								      node->machine_key, key));
}

int coord_run_node_show(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	const struct tailnet_node *node = coord_find_node(tn, warren_conf_str(args, "node"), err);

	if (!node)
		return -EINVAL;
	text_of(tn, node, reply);
	coord_show_node(tn, node, reply);
	return 0;
}

/* Sessions that the policy wants to have checked; nothing is said where none waits. */
static void show_ssh(const struct coord *coord, struct warren_reply *reply)
{
	struct coord_ssh_check check;
	uint32_t pos = 0;

	warren_reply_open(reply, "ssh", '[');
	while (coord_ssh_next(coord, &pos, &check)) {
		warren_reply_text(reply, "%s\tSSH from %s to %s as %s", check.code,
				  check.src->name, check.dst->name, check.login);
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "code", "%s", check.code);
		warren_reply_str(reply, "src", "%s", check.src->name);
		warren_reply_str(reply, "dst", "%s", check.dst->name);
		warren_reply_str(reply, "login", "%s", check.login);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

int coord_run_node_pending(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	const struct tailnet_pending *p;
	char until[COORD_TIME], from[ADDR_TEXT];
	uint32_t pos = 0;

	(void)args;
	(void)err;
	show_ssh(warren_self(ctx), reply);
	if (!tailnet_pending_next(tn, &pos))
		warren_reply_text(reply, "No device waits.");
	else
		warren_reply_text(reply, "CODE\tCALLS ITSELF\tTAGS\tFROM\tUNTIL");
	pos = 0;
	warren_reply_open(reply, "pending", '[');
	while ((p = tailnet_pending_next(tn, &pos))) {
		AUTO(str_free) struct str tags = STR_INIT;

		add_strings(&tags, p->tags);
		addr_format(&p->from, from);
		warren_reply_text(reply, "%s\t%s\t%s\t%s\t%s", p->code, p->hostname,
				  tags.len ? str_text(&tags) : "-", p->from.family ? from : "-",
				  coord_time_text(p->until, until));
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "code", "%s", p->code);
		warren_reply_str(reply, "hostname", "%s", p->hostname);
		coord_show_strings(reply, "tags", p->tags);
		warren_reply_str(reply, "from", "%s", p->from.family ? from : "");
		show_key(reply, "machine_key", WARREN_KEYTEXT_MACHINE, p->machine_key);
		warren_reply_int(reply, "followers", p->followers);
		coord_show_time(reply, "created", p->created);
		coord_show_time(reply, "until", p->until);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	return 0;
}
