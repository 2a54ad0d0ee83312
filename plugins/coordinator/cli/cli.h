/*
 * cli/cli.h - the coordinator's verbs: warren user, node, key, route, coordinator;
 * and the rows of warren policy (policy_verbs.h)
 *
 * plugin.c puts coord_commands into its table and says with coord_cli_tailnet() where the tailnet
 * is; of the server they ask for the SSH sessions that wait (server.h). All runs on the plugin's
 * lane. A verb that changes something answers when the change is on the disk and in force; its
 * audit row names who typed it.
 */
#ifndef WARREN_COORDINATOR_CLI_H
#define WARREN_COORDINATOR_CLI_H

#include <warren/plugin.h>

#include "../tailnet/tailnet.h"

enum { COORD_COMMANDS = 36 };
extern const struct warren_command coord_commands[COORD_COMMANDS];

/* By the plugin: its tailnet; never NULL while the plugin runs. */
struct tailnet *coord_cli_tailnet(struct warren_ctx *ctx);

/*
 * ---- Between the files of this folder ----
 */

typedef int coord_run_fn(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err);
coord_run_fn coord_run_user_list, coord_run_user_create, coord_run_user_rename,
	coord_run_user_role, coord_run_user_pin, coord_run_user_delete;		/* user.c */
coord_run_fn coord_run_node_list, coord_run_node_show, coord_run_node_pending;	/* show.c */
coord_run_fn coord_run_node_approve, coord_run_node_reject, coord_run_node_suspend,
	coord_run_node_rename, coord_run_node_expire, coord_run_node_tag, coord_run_node_move,
	coord_run_node_address, coord_run_node_pin, coord_run_node_logout,
	coord_run_node_delete;							/* node.c */
coord_run_fn coord_run_node_attr;						/* attribute.c */
coord_run_fn coord_run_key_list, coord_run_key_create, coord_run_key_revoke,
	coord_run_key_delete;							/* key.c */
coord_run_fn coord_run_route_list, coord_run_route_approve,
	coord_run_route_revoke;							/* route.c */
coord_run_fn coord_run_backup, coord_run_log;					/* log.c */

/*
 * What an operand means. NULL with a sentence that says what there is instead. A user is a login
 * or an id; a node a name, with or without the domain, an address or an id.
 */
const struct tailnet_user *coord_find_user(struct tailnet *tn, const char *text,
					   struct warren_err *err);
const struct tailnet_node *coord_find_node(struct tailnet *tn, const char *text,
					   struct warren_err *err);
const struct tailnet_key *coord_find_key(struct tailnet *tn, const struct warren_conf *args,
					 struct warren_err *err);
/* "wells"; "tagged-devices" of a node that is owned by its tags. */
const char *coord_owner(struct tailnet *tn, const struct tailnet_node *node);

/* False, with the sentence and how to confirm it, unless --yes was given. */
bool coord_confirmed(const struct warren_conf *args, struct warren_err *err, const char *fmt, ...)
	WARREN_PRINTF(3, 4);

/*
 * Does @act on behalf of the caller of @reply, and answers with @said and the object as it is then;
 * of one that is gone with its @kind and name. Returns what `run` returns.
 */
struct coord_said {
	const char *kind;		/* "node", "user", "key", "login" */
	int64_t id;			/* of what is deleted; else 0 */
	char text[512];
};
int coord_do(struct warren_ctx *ctx, struct tailnet_act *act, const struct coord_said *said,
	     struct warren_reply *reply, struct warren_err *err);

/* Members of the object that is open, or a document of its own. */
void coord_show_node(struct tailnet *tn, const struct tailnet_node *node,
		     struct warren_reply *reply);
void coord_show_user(struct tailnet *tn, const struct tailnet_user *user,
		     struct warren_reply *reply);
void coord_show_key(struct tailnet *tn, const struct tailnet_key *key,
		    struct warren_reply *reply);

enum { COORD_TIME = 32 };
/* RFC 3339, in UTC; "" for 0. */
const char *coord_time_rfc(int64_t usec, char out[COORD_TIME]);
/* For people: "2026-11-26 12:00", "never" for 0. */
const char *coord_time_text(int64_t usec, char out[COORD_TIME]);
/* The member @key: a time, or null for 0. */
void coord_show_time(struct warren_reply *reply, const char *key, int64_t usec);
void coord_show_strings(struct warren_reply *reply, const char *key,
			const struct tailnet_strings *list);
void coord_show_prefixes(struct warren_reply *reply, const char *key,
			 const struct tailnet_prefixes *list);

#endif
