/*
 * The verbs: their rows, in the order of the manual.
 */
#include "cli.h"

#include "../ping_verb.h"
#include "../policy_verbs.h"

#define LONGEST (INT64_C(36500) * 86400 * 1000000)	/* durations: a century */
#define OPERAND WARREN_POSITIONAL | WARREN_REQUIRED
#define NODE_OPERAND								\
	{ .key = "node", .type = WARREN_STRING, .flags = OPERAND, .min = 1, .max = 255,	\
	  .brief = "Its name, an address of it, or its id.", .example = "nas" }
#define USER_OPERAND								\
	{ .key = "user", .type = WARREN_STRING, .flags = OPERAND, .min = 1, .max = 255,	\
	  .brief = "The login or the id.", .example = "wells" }
#define LOGIN_OPERAND								\
	{ .key = "login", .type = WARREN_STRING, .flags = OPERAND, .min = 1, .max = 255, \
	  .brief = "The name: a letter, then letters, digits, and . _ - @.",		\
	  .example = "wells" }
#define ROLE(option_flags, default_)						\
	{ .key = "role", .type = WARREN_ENUM, .flags = option_flags, .def = default_,	\
	  .values = roles, .brief = "What the policy's autogroups go by." }
#define YES									\
	{ .key = "yes", .type = WARREN_BOOL, .def = "false",				\
	  .brief = "Do it; without it the command says what it would do." }
#define OFF									\
	{ .key = "off", .type = WARREN_BOOL, .def = "false", .brief = "Take it back." }
#define KEY_OPERAND								\
	{ .key = "key", .type = WARREN_INT, .flags = OPERAND, .min = 1, .max = INT64_MAX, \
	  .brief = "The id, as `warren key list` shows it.", .example = "3" }
#define NETWORKS								\
	{ .key = "network", .type = WARREN_STRING, .flags = OPERAND | WARREN_MANY,	\
	  .min = 1, .max = 63, .brief = "A network, or the word exit for an exit node.", \
	  .example = "10.0.0.0/8" }

static const char *const roles[] = {	/* in the order of enum tailnet_role */
	"member", "owner", "admin", "it-admin", "network-admin", "billing-admin", "auditor", NULL,
};

static const struct warren_option user_create_args[] = {
	LOGIN_OPERAND,
	{ .key = "display-name", .type = WARREN_STRING, .max = TAILNET_TEXT,
	  .brief = "The name that clients show.", .example = "Allan Wells" },
	{ .key = "email", .type = WARREN_STRING, .max = TAILNET_TEXT,
	  .brief = "An address, for people.", .example = "wells@example.com" },
	ROLE(0, "member"),
};
static const struct warren_option user_rename_args[] = { USER_OPERAND, LOGIN_OPERAND, YES };
static const struct warren_option user_role_args[] = { USER_OPERAND, ROLE(OPERAND, NULL) };
static const struct warren_option user_pin_args[] = { USER_OPERAND, OFF };
static const struct warren_option user_delete_args[] = { USER_OPERAND, YES };

static const struct warren_option node_list_args[] = {
	{ .key = "user", .type = WARREN_STRING, .min = 1, .max = 255,
	  .brief = "Only nodes of this user.", .example = "wells" },
};
static const struct warren_option node_args[] = { NODE_OPERAND };
static const struct warren_option node_yes_args[] = { NODE_OPERAND, YES };
static const struct warren_option node_approve_args[] = {
	{ .key = "node", .type = WARREN_STRING, .flags = OPERAND, .min = 1, .max = 255,
	  .brief = "The code of a login or a session, or a node that waits for approval.",
	  .example = "5f2b9c0d1e3a4b5c6d7e8f90" },
	{ .key = "user", .type = WARREN_STRING, .min = 1, .max = 255,
	  .brief = "Whose device it is; not needed while there is one user.",
	  .example = "wells" },
	{ .key = "expiry", .type = WARREN_DURATION, .max = LONGEST,
	  .brief = "Log in again after that; else as coordinator.key-expiry says.",
	  .example = "30d" },
	{ .key = "pin", .type = WARREN_BOOL, .def = "false",
	  .brief = "Pin the device to the user." },
};
static const struct warren_option node_reject_args[] = {
	{ .key = "code", .type = WARREN_STRING, .flags = OPERAND, .min = 1, .max = 255,
	  .brief = "The code of a login.", .example = "5f2b9c0d1e3a4b5c6d7e8f90" },
};
static const struct warren_option node_rename_args[] = {
	NODE_OPERAND,
	{ .key = "name", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 255,
	  .brief = "The new name.", .example = "files" },
	{ .key = "automatic", .type = WARREN_BOOL, .def = "false",
	  .brief = "Follow what the device calls itself." },
};
static const struct warren_option node_expire_args[] = {
	NODE_OPERAND,
	{ .key = "in", .type = WARREN_DURATION, .max = LONGEST,
	  .brief = "After that, instead of now.", .example = "7d" },
	{ .key = "never", .type = WARREN_BOOL, .def = "false",
	  .brief = "Not at all; brings an expired node back." },
	YES,
};
static const struct warren_option node_tag_args[] = {
	NODE_OPERAND,
	{ .key = "tag", .type = WARREN_STRING, .flags = OPERAND | WARREN_MANY, .min = 1,
	  .max = 255, .brief = "All tags it is to have; the policy's tagOwners has them.",
	  .example = "tag:server" },
	YES,
};
static const struct warren_option node_move_args[] = { NODE_OPERAND, USER_OPERAND, YES };
static const struct warren_option node_address_args[] = {
	NODE_OPERAND,
	{ .key = "address", .type = WARREN_ADDR, .flags = OPERAND,
	  .brief = "Free, and inside coordinator.ipv4 or ipv6.", .example = "100.64.0.10" },
	YES,
};
static const struct warren_option node_attr_args[] = {
	NODE_OPERAND,
	{ .key = "attribute", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .min = 1, .max = 255, .brief = "NAME=VALUE; NAME= takes it away.",
	  .example = "tier=prod" },
};
static const struct warren_option node_pin_args[] = { NODE_OPERAND, OFF };

static const struct warren_option key_create_args[] = {
	{ .key = "user", .type = WARREN_STRING, .min = 1, .max = 255,
	  .brief = "Whose devices they will be.", .example = "wells" },
	{ .key = "tag", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1, .max = 255,
	  .brief = "Devices belong to these tags instead.", .example = "tag:server" },
	{ .key = "expiry", .type = WARREN_DURATION, .def = "1h", .max = LONGEST,
	  .brief = "How long the key is good; off: for ever." },
	{ .key = "reusable", .type = WARREN_BOOL, .def = "false",
	  .brief = "For any number of devices." },
	{ .key = "ephemeral", .type = WARREN_BOOL, .def = "false",
	  .brief = "Devices are deleted when they have been offline for a while." },
	{ .key = "preauthorized", .type = WARREN_BOOL, .def = "false",
	  .brief = "Devices need no approval." },
	{ .key = "note", .type = WARREN_STRING, .max = TAILNET_TEXT,
	  .brief = "What it is for.", .example = "branch office" },
};
static const struct warren_option key_args[] = { KEY_OPERAND, YES };

static const struct warren_option route_list_args[] = {
	{ .key = "node", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 255,
	  .brief = "Only those of this node.", .example = "gw-taipei" },
};
static const struct warren_option route_approve_args[] = { NODE_OPERAND, NETWORKS };
static const struct warren_option route_revoke_args[] = { NODE_OPERAND, NETWORKS, YES };

static const struct warren_option backup_args[] = {
	{ .key = "file", .type = WARREN_FD_OUT, .flags = OPERAND,
	  .brief = "Where the copy goes.", .example = "/var/backups/coordinator.db" },
};
static const struct warren_option log_args[] = {
	{ .key = "since", .type = WARREN_DURATION, .max = LONGEST,
	  .brief = "Not older than that.", .example = "7d" },
	{ .key = "limit", .type = WARREN_INT, .def = "100", .min = 1, .max = 10000,
	  .brief = "At most so many, the newest." },
};

#define VERB(path_, args_, run_) .path = path_, .flags = WARREN_CMD_OPERATOR,	\
	.args = WARREN_TABLE(args_), .run = run_
#define BARE(path_, run_) .path = path_, .flags = WARREN_CMD_OPERATOR, .run = run_

const struct warren_command coord_commands[COORD_COMMANDS] = {
	{
		BARE("user list", coord_run_user_list),
		.brief = "List the users of the tailnet.",
		.help = "Local users are made here; those of a login provider come by "
			"themselves.",
		.example = "warren user list --json",
	}, {
		VERB("user create", user_create_args, coord_run_user_create),
		.brief = "Make a user whose devices the operator approves.",
		.help = "Users of a login provider come by themselves when they log in.",
		.example = "warren user create wells --role admin",
	}, {
		VERB("user rename", user_rename_args, coord_run_user_rename),
		.brief = "Change the login of a user.",
		.help = "The policy knows users by their login: look whether it names this one.",
		.example = "warren user rename wells allan --yes",
	}, {
		VERB("user role", user_role_args, coord_run_user_role),
		.brief = "Give a user another role.",
		.help = "It is what autogroup:admin and its like in the policy mean, no right "
			"on this box.",
		.example = "warren user role wells admin",
	}, {
		VERB("user pin", user_pin_args, coord_run_user_pin),
		.brief = "Let only known devices join for a user.",
		.help = "Devices that have a node of the user are known, and those that were "
			"approved with --pin or named by `warren node pin`.",
		.example = "warren user pin wells",
	}, {
		VERB("user delete", user_delete_args, coord_run_user_delete),
		.brief = "Delete a user who owns no node.",
		.help = "The auth keys of the user go as well. Nodes are deleted or moved "
			"before.",
		.example = "warren user delete wells --yes",
	}, {
		VERB("node list", node_list_args, coord_run_node_list),
		.brief = "List the nodes of the tailnet.",
		.help = "Nodes with tags belong to their tags, and to no user.",
		.example = "warren node list --user wells",
	}, {
		VERB("node show", node_args, coord_run_node_show),
		.brief = "Show all about a node.",
		.help = "With its keys, and the networks that it announces and may serve.",
		.example = "warren node show nas",
	}, {
		BARE("node pending", coord_run_node_pending),
		.brief = "List the devices that wait for their login, and SSH sessions.",
		.help = "Each waits for 15 minutes. Sessions are held where the policy says check.",
		.example = "warren node pending",
	}, {
		VERB("node approve", node_approve_args, coord_run_node_approve),
		.brief = "Let a device join, approve a node, or let an SSH session in.",
		.help = "The page that a login leads to shows the code. Look who asks: whoever "
			"holds that device will be in the tailnet as this user.",
		.example = "warren node approve 5f2b9c0d1e3a4b5c6d7e8f90 --user wells",
	}, {
		VERB("node reject", node_reject_args, coord_run_node_reject),
		.brief = "Refuse a device that waits for its login, or an SSH session.",
		.help = "The device is told so; it may ask again.",
		.example = "warren node reject 5f2b9c0d1e3a4b5c6d7e8f90",
	}, {
		VERB("node suspend", node_yes_args, coord_run_node_suspend),
		.brief = "Take the approval of a node back.",
		.help = "It stays in the list, but sees nobody and nobody sees it.",
		.example = "warren node suspend nas --yes",
	}, {
		VERB("node rename", node_rename_args, coord_run_node_rename),
		.brief = "Give a node another name.",
		.help = "The name is its first label in the tailnet's domain; connections stay.",
		.example = "warren node rename nas files",
	}, {
		VERB("node expire", node_expire_args, coord_run_node_expire),
		.brief = "Say when the key of a node expires.",
		.help = "Without options it does now.",
		.example = "warren node expire nas --in 7d --yes",
	}, {
		VERB("node tag", node_tag_args, coord_run_node_tag),
		.brief = "Give a node tags, which own it from then on.",
		.help = "Who may tag is for the policy's tagOwners; whoever types this is "
			"above that.",
		.example = "warren node tag nas tag:server tag:files --yes",
	}, {
		VERB("node move", node_move_args, coord_run_node_move),
		.brief = "Give a node to a user; its tags are dropped.",
		.help = "From then on the policy treats it as that user's, and its key may "
			"expire.",
		.example = "warren node move nas wells --yes",
	}, {
		VERB("node address", node_address_args, coord_run_node_address),
		.brief = "Give a node another address.",
		.help = "Peers learn it at once; connections to the old address break.",
		.example = "warren node address nas 100.64.0.10 --yes",
	}, {
		VERB("node attr", node_attr_args, coord_run_node_attr),
		.brief = "Set attributes of a node, or show them.",
		.help = "Postures of the policy see them as custom:NAME. A value is a number, "
			"true, false, or else a text; in double quotes it is always a text.",
		.example = "warren node attr nas tier=prod risk=1.5",
	}, {
		VERB("node pin", node_pin_args, coord_run_node_pin),
		.brief = "Pin the device of a node to its user.",
		.help = "This matters for users for whom `warren user pin` was said.",
		.example = "warren node pin nas",
	}, {
		VERB("node ping", ping_args, ping_run),
		.brief = "Ask a node whether it answers the coordinator, or another node.",
		.help = "Alone it goes through the node's stream of maps and proves that it reads "
			"and acts on it. With --from another node is asked to ping it, and says "
			"what way that took.",
		.example = "warren node ping nas --from laptop",
	}, {
		VERB("node logout", node_yes_args, coord_run_node_logout),
		.brief = "Log a node out, as its own `logout` does.",
		.help = "It is cut off, and an ephemeral node is deleted.",
		.example = "warren node logout nas --yes",
	}, {
		VERB("node delete", node_yes_args, coord_run_node_delete),
		.brief = "Delete a node.",
		.help = "The device may come back with a login or a key, as a new node.",
		.example = "warren node delete nas --yes",
	}, {
		BARE("key list", coord_run_key_list),
		.brief = "List the auth keys.",
		.help = "What they begin with is shown, never the whole.",
		.example = "warren key list",
	}, {
		VERB("key create", key_create_args, coord_run_key_create),
		.brief = "Make an auth key, with which devices join without a login.",
		.help = "The key is shown once.",
		.example = "warren key create --user wells --reusable --expiry 7d",
	}, {
		VERB("key revoke", key_args, coord_run_key_revoke),
		.brief = "Let nobody in with an auth key any more.",
		.help = "Nodes that came with it stay.",
		.example = "warren key revoke 3 --yes",
	}, {
		VERB("key delete", key_args, coord_run_key_delete),
		.brief = "Delete an auth key.",
		.help = "As revoke does, and the key is not listed any more. Nodes that came "
			"with it stay.",
		.example = "warren key delete 3 --yes",
	}, {
		VERB("route list", route_list_args, coord_run_route_list),
		.brief = "List what nodes announce and may serve.",
		.help = "Of several nodes that may serve a network one does, the others stand "
			"by.",
		.example = "warren route list gw-taipei",
	}, {
		VERB("route approve", route_approve_args, coord_run_route_approve),
		.brief = "Let a node serve a network, or be an exit node.",
		.help = "One that it does not announce yet is approved in advance.",
		.example = "warren route approve gw-taipei 10.0.0.0/8 exit",
	}, {
		VERB("route revoke", route_revoke_args, coord_run_route_revoke),
		.brief = "Take the approval of networks back.",
		.help = "Of an exit node both default routes go.",
		.example = "warren route revoke gw-taipei exit --yes",
	}, {
		VERB("coordinator backup", backup_args, coord_run_backup),
		.brief = "Copy the database as a whole, while it is in use.",
		.help = "Users, nodes, keys (hashed), the audit log. The server's own key is in "
			"the state folder, not in the database. The client makes the file: say "
			"umask 077 before, if others can look into that folder.",
		.example = "warren coordinator backup /var/backups/coordinator.db",
	}, {
		VERB("coordinator log", log_args, coord_run_log),
		.brief = "Show who changed what, and when.",
		.help = "Rows are made with the change itself; one that was tampered with is "
			"said.",
		.example = "warren coordinator log --since 7d",
	},
	{ .path = "policy check", .flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
	  .args = WARREN_TABLE(policy_file_args), .brief = "Says whether this file is a policy.",
	  .help = "What is wrong is said with line and column. Needs no daemon.",
	  .example = "warren policy check policy.hujson", .run = policy_run_check },
	{ .path = "policy diff", .flags = WARREN_CMD_OPERATOR,
	  .args = WARREN_TABLE(policy_file_args),
	  .brief = "Says which flows this policy would open, and which close.",
	  .help = "Between the nodes that are there now, against the policy in force.",
	  .example = "warren policy diff policy.hujson", .run = policy_run_diff },
	{ .path = "policy eval", .flags = WARREN_CMD_ANY | WARREN_CMD_OFFLINE,
	  .args = WARREN_TABLE(policy_file_args),
	  .brief = "What follows from a policy for given users and nodes.",
	  .help = "The file is an object with policy, users and nodes; the answer has accepted, "
		  "response, and for every node its packet filter, SSH policy, peers and "
		  "capabilities. Needs no daemon.",
	  .example = "warren policy eval case.json", .run = policy_run_eval },
	{ .path = "policy explain", .flags = WARREN_CMD_OPERATOR,
	  .args = WARREN_TABLE(policy_explain_args),
	  .brief = "Which rule lets somebody reach something, or why none.",
	  .help = "The exit status is 1 where it is not allowed.",
	  .example = "warren policy explain alice@example.com tag:db:5432",
	  .run = policy_run_explain },
	{ .path = "policy test", .flags = WARREN_CMD_OPERATOR,
	  .args = WARREN_TABLE(policy_file_args),
	  .brief = "Runs the tests of this policy over the nodes that are there now.",
	  .help = "Nothing is put in force. The first test that does not pass is named by line "
		  "and column.",
	  .example = "warren policy test policy.hujson", .run = policy_run_test },
};
