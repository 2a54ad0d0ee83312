/*
 * warren node ..., the verbs that change something
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../server/server.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

/* The node of the operand, in the act; NULL with a sentence. */
static const struct tailnet_node *aim(struct warren_ctx *ctx, const struct warren_conf *args,
				      struct tailnet_act *act, struct warren_err *err)
{
	const struct tailnet_node *node = coord_find_node(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "node"), err);

	act->node = node ? node->id : 0;
	return node;
}

/*
 * ---- Devices that want to join ----
 */

static bool looks_like_code(const char *text)
{
	return strlen(text) == 24 && strspn(text, "0123456789abcdef") == 24;
}

/* Without --user: the only user there is. */
static const struct tailnet_user *for_whom(struct tailnet *tn, const struct warren_conf *args,
					   struct warren_err *err)
{
	uint32_t n;
	const struct tailnet_user *const *users = tailnet_users(tn, &n);

	if (warren_conf_has(args, "user"))
		return coord_find_user(tn, warren_conf_str(args, "user"), err);
	if (n == 1)
		return users[0];
	if (n == 0)
		warren_fail(err, NULL, "there is no user yet that could own the device: `warren "
			    "user create NAME` makes one");
	else
		warren_fail(err, NULL, "there are %u users: say with --user whose device this is",
			    n);
	return NULL;
}

static int approve_login(struct warren_ctx *ctx, const struct tailnet_pending *pending,
			 const struct warren_conf *args, struct warren_reply *reply,
			 struct warren_err *err)
{
	const struct tailnet_user *user = for_whom(coord_cli_tailnet(ctx), args, err);
	struct tailnet_act act = {
		.verb = TAILNET_LOGIN_APPROVE, .code = pending->code,
		.flag = warren_conf_bool(args, "pin"), .preauthorized = true,
	};
	struct coord_said said = { .kind = "login" };

	if (!user)
		return -EINVAL;
	act.user = user->id;
	if (warren_conf_int(args, "expiry"))
		act.time = warren_realtime() + warren_conf_int(args, "expiry");
	snprintf(said.text, sizeof(said.text), "The device \"%s\" has joined for %s.",
		 pending->hostname, user->login);
	return coord_do(ctx, &act, &said, reply, err);
}

/*
 * ---- SSH sessions that wait ----
 */

struct ssh_op {
	struct warren_reply *reply;
	char text[512];
};

static void ssh_decided(void *arg, const char *error)
{
	struct ssh_op *op = arg;

	if (!error) {
		warren_reply_text(op->reply, "%s", op->text);
		warren_reply_str(op->reply, "done", "ssh");
	}
	warren_reply_end(op->reply, error ? 1 : 0, error);
	free(op);
}

static int decide_ssh(struct warren_ctx *ctx, const struct coord_ssh_check *check, bool yes,
		      struct warren_reply *reply, struct warren_err *err)
{
	const struct coord_ssh_decision decision = {
		.code = check->code, .yes = yes, .actor = warren_reply_caller(reply),
		.origin = "command",
	};
	struct ssh_op *op = calloc(1, sizeof(*op));
	int result;

	if (!op)
		return warren_fail(err, NULL, "there is no memory for the command");
	op->reply = reply;
	snprintf(op->text, sizeof(op->text), "The SSH session from %s to %s as %s is %s.",
		 check->src->name, check->dst->name, check->login, yes ? "let in" : "refused");
	result = coord_ssh_decide(warren_self(ctx), &decision, ssh_decided, op, err);
	if (!result)
		return WARREN_PENDING;
	free(op);
	return result;
}

int coord_run_node_approve(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	const char *what = warren_conf_str(args, "node");
	const struct tailnet_pending *pending = tailnet_pending(tn, what);
	struct tailnet_act act = { .verb = TAILNET_NODE_APPROVE, .flag = true };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node;
	struct coord_ssh_check check;

	if (pending)
		return approve_login(ctx, pending, args, reply, err);
	if (coord_ssh_shown(warren_self(ctx), what, &check))
		return decide_ssh(ctx, &check, true, reply, err);
	if (looks_like_code(what) && !tailnet_node_by_name(tn, what))
		return warren_fail(err, NULL, "no login waits under this code: it is over, older "
				   "than 15 minutes, or from before a restart; try again on the "
				   "device");
	node = aim(ctx, args, &act, err);
	if (!node)
		return -EINVAL;
	if (warren_conf_has(args, "user") || warren_conf_bool(args, "pin") ||
	    warren_conf_int(args, "expiry"))
		return warren_fail(err, NULL, "--user, --expiry and --pin go with the code of a "
				   "login; node %s is in already: `warren node move`, `warren node "
				   "expire`, `warren node pin`", node->name);
	snprintf(said.text, sizeof(said.text), "Node %s is approved: it sees and is seen as the "
		 "policy says.", node->name);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_reject(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = {
		.verb = TAILNET_LOGIN_REJECT, .code = warren_conf_str(args, "code"),
	};
	struct coord_said said = { .kind = "login", .text = "The login is refused." };
	struct coord_ssh_check check;

	if (coord_ssh_shown(warren_self(ctx), act.code, &check))
		return decide_ssh(ctx, &check, false, reply, err);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_suspend(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = { .verb = TAILNET_NODE_APPROVE, .flag = false };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);

	if (!node || !coord_confirmed(args, err, "This takes back the approval of node %s of %s: "
				      "it sees nobody and nobody sees it until `warren node "
				      "approve %s`", node->name,
				      coord_owner(coord_cli_tailnet(ctx), node), node->name))
		return -EINVAL;
	snprintf(said.text, sizeof(said.text), "Node %s is not approved any more.", node->name);
	return coord_do(ctx, &act, &said, reply, err);
}

/*
 * ---- Nodes ----
 */

int coord_run_node_rename(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	bool automatic = warren_conf_bool(args, "automatic");
	const char *name = warren_conf_str(args, "name");
	struct tailnet_act act = { .verb = TAILNET_NODE_RENAME, .text = automatic ? "" : name };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);

	if (!node)
		return -EINVAL;
	if (automatic == (name && name[0]))
		return warren_fail(err, NULL, "say either the new name or --automatic");
	if (automatic)
		snprintf(said.text, sizeof(said.text), "The name of node %s follows what the "
			 "device calls itself from now on.", node->name);
	else
		snprintf(said.text, sizeof(said.text), "Node %s is called %s from now on.",
			 node->name, name);
	return coord_do(ctx, &act, &said, reply, err);
}

/* Whether the wish is to be done: it would change nothing, or it is confirmed. */
static bool expiry_confirmed(struct warren_ctx *ctx, const struct warren_conf *args,
			     const struct tailnet_node *node, int64_t time, struct warren_err *err)
{
	const char *owner = coord_owner(coord_cli_tailnet(ctx), node);
	char when[COORD_TIME];

	if (!time)
		return !node->expiry ||
		       coord_confirmed(args, err, "With this the key of node %s of %s never "
				       "expires: %s", node->name, owner, node->live.expired ?
				       "it is let in again without a login" :
				       "nobody has to log in on it any more");
	if (warren_conf_has(args, "in"))
		return coord_confirmed(args, err, "This lets the key of node %s of %s expire at %s "
				       "UTC: it is cut off then until somebody logs in on it",
				       node->name, owner, coord_time_text(time, when));
	return node->live.expired ||
	       coord_confirmed(args, err, "This expires the key of node %s of %s now: it is cut "
			       "off until somebody logs in on it", node->name, owner);
}

int coord_run_node_expire(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	bool never = warren_conf_bool(args, "never"), later = warren_conf_has(args, "in");
	struct tailnet_act act = { .verb = TAILNET_NODE_EXPIRY };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);
	char when[COORD_TIME];

	if (!node)
		return -EINVAL;
	if (never && later)
		return warren_fail(err, NULL, "say either --in or --never");
	if (!never)
		act.time = warren_realtime() + warren_conf_int(args, "in");
	if (!expiry_confirmed(ctx, args, node, act.time, err))
		return -EINVAL;
	if (never)
		snprintf(said.text, sizeof(said.text), "The key of node %s does not expire.",
			 node->name);
	else
		snprintf(said.text, sizeof(said.text), "The key of node %s expires %s.",
			 node->name, later ? coord_time_text(act.time, when) : "now");
	return coord_do(ctx, &act, &said, reply, err);
}

/* "tag:a, tag:b" */
static void list_tags(struct str *out, const char *const *tags, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		str_addf(out, "%s%s", i ? ", " : "", tags[i]);
}

static bool among(const char *const *list, uint32_t n, const char *text)
{
	for (uint32_t i = 0; i < n; i++) {
		if (strcmp(list[i], text) == 0)
			return true;
	}
	return false;
}

static bool has_tags(const struct tailnet_node *node, const struct tailnet_act *act)
{
	for (uint32_t i = 0; i < act->n_strings; i++) {
		if (!tailnet_strings_have(node->tags, act->strings[i]))
			return false;
	}
	for (uint32_t k = 0; node->tags && k < node->tags->count; k++) {
		if (!among(act->strings, act->n_strings, node->tags->at[k]))
			return false;
	}
	return true;
}

static bool tags_confirmed(struct warren_ctx *ctx, const struct warren_conf *args,
			   const struct tailnet_node *node, const struct tailnet_act *act,
			   struct warren_err *err)
{
	AUTO(str_free) struct str now = STR_INIT, then = STR_INIT;

	if (has_tags(node, act))
		return true;
	list_tags(&then, act->strings, act->n_strings);
	if (node->user)
		return coord_confirmed(args, err, "Node %s belongs to %s; with tags it belongs to "
				       "%s instead, and its key does not expire", node->name,
				       coord_owner(coord_cli_tailnet(ctx), node), str_text(&then));
	list_tags(&now, node->tags->at, node->tags->count);
	return coord_confirmed(args, err, "Node %s is tagged %s; with this it is tagged %s, and "
			       "what the policy says of these holds for it", node->name,
			       str_text(&now), str_text(&then));
}

int coord_run_node_tag(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const char *tags[TAILNET_TAGS];
	struct tailnet_act act = { .verb = TAILNET_NODE_TAG, .strings = tags };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);
	AUTO(str_free) struct str list = STR_INIT;

	if (!node)
		return -EINVAL;
	act.n_strings = warren_conf_count(args, "tag");
	if (act.n_strings > TAILNET_TAGS)
		return warren_fail(err, NULL, "a node has at most %d tags", TAILNET_TAGS);
	for (uint32_t i = 0; i < act.n_strings; i++)
		tags[i] = warren_conf_str(warren_conf_at(args, "tag", i), NULL);
	if (!tags_confirmed(ctx, args, node, &act, err))
		return -EINVAL;
	list_tags(&list, act.strings, act.n_strings);
	snprintf(said.text, sizeof(said.text), "Node %s is tagged %s.", node->name,
		 str_text(&list));
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_move(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	struct tailnet_act act = { .verb = TAILNET_NODE_MOVE };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);
	const struct tailnet_user *user;

	user = node ? coord_find_user(tn, warren_conf_str(args, "user"), err) : NULL;
	if (!user)
		return -EINVAL;
	if (node->user != user->id &&
	    !coord_confirmed(args, err, "This gives node %s of %s to %s%s: the policy treats it as "
			     "a device of %s", node->name, coord_owner(tn, node), user->login,
			     node->user ? "" : ", drops its tags and lets its key expire as those "
			     "of users do", user->login))
		return -EINVAL;
	act.user = user->id;
	snprintf(said.text, sizeof(said.text), "Node %s belongs to %s from now on.", node->name,
		 user->login);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_address(struct warren_ctx *ctx, const struct warren_conf *args,
			   struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = {
		.verb = TAILNET_NODE_ADDRESS, .addr = warren_conf_addr(args, "address"),
	};
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);
	const struct warren_addr *old;
	char text[ADDR_TEXT], was[ADDR_TEXT];

	if (!node)
		return -EINVAL;
	old = act.addr.family == 4 ? &node->v4 : &node->v6;
	addr_format(&act.addr, text);
	if (old->family && !addr_equal(old, &act.addr) &&
	    !coord_confirmed(args, err, "This gives node %s of %s the address %s in the place of "
			     "%s: connections to the old one break", node->name,
			     coord_owner(coord_cli_tailnet(ctx), node), text,
			     addr_format(old, was)))
		return -EINVAL;
	snprintf(said.text, sizeof(said.text), "Node %s has the address %s from now on.",
		 node->name, text);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_pin(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = {
		.verb = TAILNET_MACHINE_PIN, .flag = !warren_conf_bool(args, "off"),
	};
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);

	if (!node)
		return -EINVAL;
	if (!node->user)
		return warren_fail(err, NULL, "node %s belongs to its tags: a device is pinned to "
				   "a user", node->name);
	act.user = node->user;
	snprintf(said.text, sizeof(said.text), "The device of node %s is %spinned to %s.",
		 node->name, act.flag ? "" : "not ",
		 coord_owner(coord_cli_tailnet(ctx), node));
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_logout(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = { .verb = TAILNET_NODE_LOGOUT };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);

	if (!node || !coord_confirmed(args, err, "This logs node %s of %s out: %s", node->name,
				      coord_owner(coord_cli_tailnet(ctx), node),
				      node->ephemeral ? "it is ephemeral and will be gone" :
				      "it is cut off until somebody logs in on it"))
		return -EINVAL;
	snprintf(said.text, sizeof(said.text), "Node %s is logged out.", node->name);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_node_delete(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet_act act = { .verb = TAILNET_NODE_DELETE };
	struct coord_said said = { .kind = "node" };
	const struct tailnet_node *node = aim(ctx, args, &act, err);
	char text[ADDR_TEXT];

	if (!node || !coord_confirmed(args, err, "This deletes node %s (id %" PRId64 ", %s) of %s, "
				      "with its approved routes; its name and addresses go to "
				      "others later", node->name, node->id,
				      addr_format(node->v4.family ? &node->v4 : &node->v6, text),
				      coord_owner(coord_cli_tailnet(ctx), node)))
		return -EINVAL;
	said.id = node->id;
	snprintf(said.text, sizeof(said.text), "Node %s is deleted.", node->name);
	return coord_do(ctx, &act, &said, reply, err);
}
