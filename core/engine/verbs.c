/*
 * The core's own commands: their rows, in the order of the manual.
 */
#include "engine/verbs.h"

#include "engine/cmd.h"

#define FILE_OPERAND \
	{ .key = "file", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 4096,	\
	  .brief = "The file, with conf.d/*.yaml beside it; else the installed one." }

static const char *const shells[] = { "bash", "zsh", "fish", NULL };

static const struct warren_option file_args[] = { FILE_OPERAND };

static const struct warren_option check_args[] = {
	FILE_OPERAND,
	{ .key = "config", .type = WARREN_STRING, .max = 4096,
	  .brief = "The same, for scripts that know it from warrend." },
};

static const struct warren_option status_args[] = {
	{ .key = "peers", .type = WARREN_BOOL, .def = "true",
	  .brief = "Show the peers." },
	{ .key = "self", .type = WARREN_BOOL, .def = "true",
	  .brief = "Show this node." },
	{ .key = "active", .type = WARREN_BOOL, .def = "false",
	  .brief = "Only peers with traffic in the last two minutes." },
	{ .key = "header", .type = WARREN_BOOL, .def = "false",
	  .brief = "Say what the columns are." },
	{ .key = "all", .type = WARREN_BOOL, .def = "false",
	  .brief = "Also what the daemon and each plugin say about themselves." },
};

static const struct warren_option show_args[] = {
	{ .key = "origin", .type = WARREN_BOOL, .def = "false",
	  .brief = "Say for each value in which file and line it stands." },
	{ .key = "all", .type = WARREN_BOOL, .def = "false",
	  .brief = "Also show what no file says: the defaults." },
};

static const struct warren_option example_args[] = {
	{ .key = "role", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 64,
	  .brief = "What the box is for; without it, all options with their defaults." },
};

static const struct warren_option log_args[] = {
	{ .key = "what", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 64,
	  .brief = "A plugin, or \"core\"; or a level, for all that have none of their own." },
	{ .key = "level", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 16,
	  .brief = "error, warning, notice, info, debug; \"default\" ends an own level." },
};

static const struct warren_option doctor_args[] = {
	{ .key = "area", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 64,
	  .brief = "Only these checks: \"core\", the name of a plugin, or of a check." },
};

static const struct warren_option help_args[] = {
	{ .key = "command", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .max = 64, .brief = "The words of a command, or the first of them." },
	{ .key = "all", .type = WARREN_BOOL, .def = "false",
	  .brief = "Also commands of plugins that are installed and not switched on." },
};

static const struct warren_option completion_args[] = {
	{ .key = "shell", .type = WARREN_ENUM, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .values = shells, .brief = "Whose script." },
};

static const struct warren_option complete_args[] = {
	{ .key = "word", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .max = 4096, .brief = "The words of the command line; the last one is completed." },
};

static const struct warren_option ssh_args[] = {
	{ .key = "host", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .max = 512, .brief = "A peer, by name or address; USER@ may go before it." },
	{ .key = "argument", .type = WARREN_STRING,
	  .flags = WARREN_POSITIONAL | WARREN_MANY | WARREN_VERBATIM, .max = 65536,
	  .brief = "What ssh(1) is to know behind its destination: options, a command." },
};

static const struct warren_command verbs[] = {
	{ .path = "status", .flags = WARREN_CMD_STOCK, .run = wcore_verb_status,
	  .args = WARREN_TABLE(status_args),
	  .brief = "Show what the daemon does: plugins, peers, traffic.",
	  .help = "In a network with a control server: a line for this node and one for each peer, "
		  "and exit status 1 where it is stopped or logged out. Elsewhere, and with --all, "
		  "a line about the daemon itself and the part of each plugin that has something "
		  "to tell. A plugin that does not run is named with the reason.",
	  .example = "warren status --json" },
	{ .path = "plugins", .run = wcore_verb_plugins,
	  .brief = "List the plugins of the running configuration.",
	  .help = "Name, version, state and since when; which plugin switched it on, where the "
		  "configuration does not name it; the services that it offers and needs (an "
		  "optional one in brackets); and why it does not run.",
	  .example = "warren plugins" },
	{ .path = "config check", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_config_check,
	  .args = WARREN_TABLE(check_args),
	  .brief = "Check configuration files without using them.",
	  .help = "Prints every error as file:line:column: sentence, and exits 1 if there is one. "
		  "Runs without the daemon, with the plugins that are installed. Secrets that "
		  "you may not read are not judged.",
	  .example = "warren config check /etc/warren/warren.yaml" },
	{ .path = "config show", .flags = WARREN_CMD_OPERATOR, .run = wcore_verb_config_show,
	  .args = WARREN_TABLE(show_args),
	  .brief = "Show the configuration that the daemon runs.",
	  .help = "As one YAML file that means the same. Secrets appear as the reference that "
		  "they were given as. A section that no file has is marked with the plugin that "
		  "implied it.",
	  .example = "warren config show --origin" },
	{ .path = "config diff", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_config_diff,
	  .args = WARREN_TABLE(file_args),
	  .brief = "Show what a reload would change.",
	  .help = "Compares what the daemon runs with the files as they are now. Says for each "
		  "change whether it needs a restart of a plugin or of the daemon. You need to be "
		  "able to read the files.",
	  .example = "warren config diff" },
	{ .path = "config schema", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_config_schema,
	  .brief = "Print the JSON schema of warren.yaml, for editors.",
	  .help = "JSON Schema, draft 2020-12, with the sections of all plugins that are "
		  "installed.",
	  .example = "warren config schema > warren.schema.json" },
	{ .path = "config example", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_config_example,
	  .args = WARREN_TABLE(example_args),
	  .brief = "Print a sample configuration with all options explained.",
	  .help = "Every option is there as a comment with its default. With a role, the sections "
		  "that such a box needs are switched on.",
	  .example = "warren config example > /etc/warren/warren.yaml" },
	{ .path = "reload", .flags = WARREN_CMD_OPERATOR, .run = wcore_verb_reload,
	  .brief = "Read the configuration files again and apply what changed.",
	  .help = "All files are checked before anything is changed. If something is wrong the "
		  "running configuration stays in force and the exit status is 1. What was done "
		  "is said plugin by plugin.",
	  .example = "warren reload" },
	{ .path = "metrics", .run = wcore_verb_metrics,
	  .brief = "Print all counters, in the text format of Prometheus.",
	  .help = "With --json as a list of objects.",
	  .example = "warren metrics" },
	{ .path = "log level", .flags = WARREN_CMD_OPERATOR, .run = wcore_verb_log_level,
	  .args = WARREN_TABLE(log_args),
	  .brief = "Show or set how much is logged, until the daemon restarts.",
	  .help = "Without operands: shows all levels. With a plugin: shows its level. With a "
		  "level, alone or after a plugin: sets it.",
	  .example = "warren log level wg debug" },
	{ .path = "doctor", .run = wcore_verb_doctor, .args = WARREN_TABLE(doctor_args),
	  .brief = "Check the host and the daemon for what is known to go wrong.",
	  .help = "Each finding says what is wrong and what to do. ok: nothing found; note: worth "
		  "knowing; warning: works, but not well; bad: does not work. Exits 1 if "
		  "something is bad.",
	  .example = "warren doctor wg" },
	{ .path = "ssh", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_ssh,
	  .args = WARREN_TABLE(ssh_args),
	  .brief = "Open an SSH session on a peer.",
	  .help = "Runs the ssh(1) of this host, which believes the host keys that the network "
		  "map has for the peer, and what this host's administrator has listed, but not "
		  "what you once said yes to; they are kept in warren/ssh_known_hosts below your "
		  "configuration folder. It connects to the address in the map, whatever "
		  "resolvers say. A host that is no peer is left to ssh(1), and has to be known "
		  "to it.",
	  .example = "warren ssh root@gw-tokyo" },
	{ .path = "version", .flags = WCORE_CMD_BOTH, .run = wcore_verb_version,
	  .brief = "Print the version of the daemon, or of this program.",
	  .help = "If no daemon runs, the version of this program. `warren --version` is always "
		  "that.",
	  .example = "warren version" },
	{ .path = "help", .flags = WCORE_CMD_BOTH, .run = wcore_verb_help,
	  .args = WARREN_TABLE(help_args),
	  .brief = "Explain a command, or list all of them.",
	  .help = "`warren help wg import` is `warren wg import --help`.",
	  .example = "warren help config check" },
	{ .path = "completion", .flags = WARREN_CMD_OFFLINE, .run = wcore_verb_completion,
	  .args = WARREN_TABLE(completion_args),
	  .brief = "Print the completion script of a shell.",
	  .help = "The scripts are also installed where the shells look for them.",
	  .example = "source <(warren completion bash)" },
	{ .path = "__complete", .flags = WCORE_CMD_BOTH | WCORE_CMD_HIDDEN,
	  .run = wcore_verb_complete, .args = WARREN_TABLE(complete_args),
	  .brief = "Complete a command line, for the scripts of the shells.",
	  .help = "One candidate a line: a word, a blank, what it means.",
	  .example = "warren __complete -- config ch" },
};

const struct warren_table wcore_verbs = WARREN_TABLE(verbs);
