/*
 * The rows of the plugin's verbs. Flags that the stock client has too are spelled as there; one
 * whose plugin is not installed is refused (commands_settings.c).
 */
#include "commands.h"

#define SETTINGS									\
	{ .key = "hostname", .type = WARREN_STRING, .max = 63,				\
	  .brief = "Name of this node; empty: the machine's." },			\
	{ .key = "operator", .type = WARREN_STRING, .max = 32,				\
	  .brief = "Local user who may give commands too; empty: nobody." },		\
	{ .key = "accept-dns", .type = WARREN_BOOL,					\
	  .brief = "Take names and resolvers from the network." },			\
	{ .key = "accept-routes", .type = WARREN_BOOL,					\
	  .brief = "Reach the networks behind peers too." },				\
	{ .key = "advertise-exit-node", .type = WARREN_BOOL,				\
	  .brief = "Offer a way to all of the internet." },				\
	{ .key = "advertise-routes", .type = WARREN_STRING, .max = 4096,		\
	  .brief = "Networks to offer, with commas between them; empty: none." },	\
	{ .key = "advertise-tags", .type = WARREN_STRING, .max = 4096,			\
	  .brief = "Tags to ask for, with commas between them; empty: none." },	\
	{ .key = "exit-node", .type = WARREN_STRING, .max = 255,			\
	  .brief = "Lead all of the internet through this peer; empty: none." },	\
	{ .key = "exit-node-allow-lan-access", .type = WARREN_BOOL,			\
	  .brief = "Reach the local network beside the exit node." },			\
	{ .key = "netfilter-mode", .type = WARREN_STRING, .max = 32,			\
	  .brief = "What is done to the host's firewall; off: nothing." },		\
	{ .key = "snat-subnet-routes", .type = WARREN_BOOL,				\
	  .brief = "Hide peers behind this node in the networks that it leads to." },	\
	{ .key = "ssh", .type = WARREN_BOOL, .brief = "Run an SSH server for peers." },	\
	{ .key = "stateful-filtering", .type = WARREN_BOOL,				\
	  .brief = "Forward only packets of flows that are allowed." },			\
	{ .key = "shields-up", .type = WARREN_BOOL,					\
	  .brief = "Let no peer begin a conversation." },				\
	{ .key = "override", .type = WARREN_BOOL, .def = "false",			\
	  .brief = "Set also what a file in /etc sets." }

static const struct warren_option up_args[] = {
	{ .key = "login-server", .type = WARREN_STRING, .max = 255,
	  .brief = "URL of the control server." },
	{ .key = "auth-key", .type = WARREN_FD_IN, .flags = WARREN_OR_TEXT, .max = 4096,
	  .brief = "Pre-auth key, or file:PATH to read it from; it is not stored." },
	SETTINGS,
	{ .key = "force-reauth", .type = WARREN_BOOL, .def = "false",
	  .brief = "Log in again, with a new node key." },
	{ .key = "reset", .type = WARREN_BOOL, .def = "false",
	  .brief = "Forget the settings of earlier commands that are not given now." },
	{ .key = "timeout", .type = WARREN_DURATION, .def = "off",
	  .brief = "How long to wait for the network; off: until it is there." },
	{ .key = "qr", .type = WARREN_BOOL, .def = "true",
	  .brief = "Show the link as a QR code too." },
};

static const struct warren_option set_args[] = { SETTINGS };

static const struct warren_option ip_args[] = {
	{ .key = "peer", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 255,
	  .brief = "Name or address of a peer; else this node." },
	{ .key = "4", .type = WARREN_BOOL, .def = "false", .brief = "Only the IPv4 address." },
	{ .key = "6", .type = WARREN_BOOL, .def = "false", .brief = "Only the IPv6 address." },
	{ .key = "1", .type = WARREN_BOOL, .def = "false", .brief = "Only the first address." },
	{ .key = "assert", .type = WARREN_ADDR,
	  .brief = "Print nothing, and fail if the node does not have this address." },
};

static const struct warren_option whois_args[] = {
	{ .key = "address", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 255,
	  .brief = "An address inside the network, with or without a port." },
};

#define OPERATOR (WARREN_CMD_OPERATOR | WARREN_CMD_ALWAYS | WARREN_CMD_STOCK)

const struct warren_command ctl_commands[CTL_COMMANDS] = {
	{ .path = "up", .flags = OPERATOR, .run = ctl_run_up,
	  .args = WARREN_TABLE(up_args),
	  .brief = "Join the network, and log in if that is needed.",
	  .help = "Settings that are given are kept for later, beside the files in /etc; none has "
		  "to be repeated. Shows the link where a user logs in and waits. Interrupt it at "
		  "any time: the daemon goes on, and another `warren up` waits again.",
	  .example = "warren up --login-server https://hq.example.com" },
	{ .path = "login", .flags = OPERATOR, .run = ctl_run_up,
	  .args = WARREN_TABLE(up_args),
	  .brief = "Log in to the control server; the same as `warren up`.",
	  .help = "Where this node is logged in already nothing happens, unless --force-reauth is "
		  "given.",
	  .example = "warren login --auth-key file:/etc/warren/join.key" },
	{ .path = "down", .flags = OPERATOR, .run = ctl_run_down,
	  .brief = "Leave the network and stay logged in.",
	  .help = "Until `warren up`, also after a restart.",
	  .example = "warren down" },
	{ .path = "logout", .flags = OPERATOR, .run = ctl_run_logout,
	  .brief = "Leave the network and forget the login.",
	  .help = "The control server is told, so that the node's key is worth nothing any more.",
	  .example = "warren logout" },
	{ .path = "set", .flags = OPERATOR, .run = ctl_run_set,
	  .args = WARREN_TABLE(set_args),
	  .brief = "Change settings.",
	  .help = "Only what is given changes. A key that a file in /etc sets is refused with its "
		  "file and line; --override sets it all the same, and `warren status` says that "
		  "it differs from the file.",
	  .example = "warren set --advertise-routes 10.146.0.0/20" },
	{ .path = "ip", .flags = WARREN_CMD_STOCK, .run = ctl_run_ip,
	  .args = WARREN_TABLE(ip_args),
	  .brief = "Print the addresses of this node or of a peer.",
	  .help = "-4, -6 and -1 exclude each other.",
	  .example = "warren ip -4 gw-tokyo" },
	{ .path = "whois", .flags = WARREN_CMD_STOCK, .run = ctl_run_whois,
	  .args = WARREN_TABLE(whois_args),
	  .brief = "Say whose an address is.",
	  .help = "The node, its user, and the capabilities that it has towards this node.",
	  .example = "warren whois 100.64.0.2" },
};
