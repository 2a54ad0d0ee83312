/*
 * warren user ...
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"

static uint32_t nodes_of(struct tailnet *tn, int64_t user)
{
	uint32_t n, count = 0;
	const struct tailnet_node *const *nodes = tailnet_nodes(tn, &n);

	for (uint32_t i = 0; i < n; i++)
		count += nodes[i]->user == user;
	return count;
}

void coord_show_user(struct tailnet *tn, const struct tailnet_user *user,
		     struct warren_reply *reply)
{
	warren_reply_int(reply, "id", user->id);
	warren_reply_str(reply, "login", "%s", user->login);
	warren_reply_str(reply, "display_name", "%s", user->display);
	warren_reply_str(reply, "email", "%s", user->email);
	warren_reply_str(reply, "role", "%s", tailnet_role_name(user->role));
	warren_reply_str(reply, "provider", "%s", user->provider);
	warren_reply_str(reply, "subject", "%s", user->subject);
	coord_show_strings(reply, "groups", user->groups);
	warren_reply_bool(reply, "pinned", user->pinned);
	warren_reply_int(reply, "nodes", nodes_of(tn, user->id));
	coord_show_time(reply, "created", user->created);
}

int coord_run_user_list(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	struct tailnet *tn = coord_cli_tailnet(ctx);
	uint32_t n;
	const struct tailnet_user *const *users = tailnet_users(tn, &n), *u;

	(void)args;
	(void)err;
	if (n)
		warren_reply_text(reply, "ID\tLOGIN\tNAME\tROLE\tLOGS IN BY\tNODES");
	else
		warren_reply_text(reply, "There is no user yet: `warren user create NAME` makes "
				  "one.");
	warren_reply_open(reply, "users", '[');
	for (uint32_t i = 0; i < n; i++) {
		u = users[i];
		warren_reply_text(reply, "%" PRId64 "\t%s\t%s\t%s\t%s\t%u", u->id, u->login,
				  u->display, tailnet_role_name(u->role),
				  u->provider[0] ? u->provider : "approval",
				  nodes_of(tn, u->id));
		warren_reply_open(reply, NULL, '{');
		coord_show_user(tn, u, reply);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	return 0;
}

int coord_run_user_create(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	struct coord_said said = { .kind = "user" };
	struct tailnet_act act = {
		.verb = TAILNET_USER_CREATE, .text = warren_conf_str(args, "login"),
		.display = warren_conf_str(args, "display-name"),
		.email = warren_conf_str(args, "email"),
		.role = (enum tailnet_role)warren_conf_enum(args, "role"),
	};

	snprintf(said.text, sizeof(said.text), "User %s is there.", act.text);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_user_rename(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_user *user = coord_find_user(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "user"), err);
	struct tailnet_act act = {
		.verb = TAILNET_USER_RENAME, .text = warren_conf_str(args, "login"),
	};
	struct coord_said said = { .kind = "user" };

	if (!user)
		return -EINVAL;
	if (!str_equal(user->login, act.text) &&
	    !coord_confirmed(args, err, "This gives user %s (id %" PRId64 ") the login %s: rules "
			     "of the policy for %s do not mean this user any more", user->login,
			     user->id, act.text, user->login))
		return -EINVAL;
	act.user = user->id;
	snprintf(said.text, sizeof(said.text), "User %s is called %s from now on.", user->login,
		 act.text);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_user_role(struct warren_ctx *ctx, const struct warren_conf *args,
			struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_user *user = coord_find_user(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "user"), err);
	struct tailnet_act act = {
		.verb = TAILNET_USER_ROLE,
		.role = (enum tailnet_role)warren_conf_enum(args, "role"),
	};
	struct coord_said said = { .kind = "user" };

	if (!user)
		return -EINVAL;
	act.user = user->id;
	snprintf(said.text, sizeof(said.text), "User %s is %s from now on.", user->login,
		 tailnet_role_name(act.role));
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_user_pin(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_user *user = coord_find_user(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "user"), err);
	struct tailnet_act act = {
		.verb = TAILNET_USER_PIN, .flag = !warren_conf_bool(args, "off"),
	};
	struct coord_said said = { .kind = "user" };

	if (!user)
		return -EINVAL;
	act.user = user->id;
	snprintf(said.text, sizeof(said.text), act.flag ?
		 "Only devices that are pinned to %s may join for that user from now on." :
		 "Any device may join for %s from now on.", user->login);
	return coord_do(ctx, &act, &said, reply, err);
}

int coord_run_user_delete(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err)
{
	const struct tailnet_user *user = coord_find_user(coord_cli_tailnet(ctx),
							  warren_conf_str(args, "user"), err);
	struct tailnet_act act = { .verb = TAILNET_USER_DELETE };
	struct coord_said said = { .kind = "user" };

	if (!user || !coord_confirmed(args, err, "This deletes user %s (id %" PRId64 ") and the "
				      "auth keys of that user", user->login, user->id))
		return -EINVAL;
	act.user = said.id = user->id;
	snprintf(said.text, sizeof(said.text), "User %s is deleted.", user->login);
	return coord_do(ctx, &act, &said, reply, err);
}
