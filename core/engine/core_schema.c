/*
 * The core's own sections. `system:` is applied by the monitor, which reads it from its own tree;
 * the rows here give it the same checks, messages and manual as everything else, and make a reload
 * refuse what only a new start of the daemon can change.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/log.h"

static int check_hostname(const struct warren_conf *at, struct warren_err *err)
{
	static const char label[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-";
	const char *name = warren_conf_str(at, NULL);
	size_t len = strspn(name, label);

	/* One label of RFC 1123 2.1: what follows the first dot is the network's to choose. */
	if (name[len] || name[0] == '-' || name[len - 1] == '-')
		return warren_fail(err, at, "\"%s\" is no host name: letters, digits and \"-\" "
				   "inside, as in gw-taipei", name);
	return 0;
}

static const struct warren_option node_options[] = {
	{
		.key = "hostname", .type = WARREN_STRING, .min = 1, .max = 63,
		.brief = "Name of this node in the network.", .example = "gw-taipei",
		.help = "The default is the first label of the machine's host name.",
		.check = check_hostname,
	}, {
		.key = "operator", .type = WARREN_STRING, .min = 1, .max = 32,
		.brief = "Local user who may give commands.", .example = "admin",
		.help = "Commands that change something are for root and for this user; without "
			"it, for root alone.",
	},
};

static const char *const levels[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const formats[] = {
	[WCORE_LOG_TEXT] = "text", [WCORE_LOG_JSON] = "json", NULL,
};
static const char *const targets[] = {
	[WCORE_LOG_AUTO] = "auto", [WCORE_LOG_STDERR] = "stderr", [WCORE_LOG_SYSLOG] = "syslog",
	[WCORE_LOG_JOURNAL] = "journal", NULL,
};

static const struct warren_option log_options[] = {
	{
		.key = "level", .type = WARREN_ENUM, .def = "notice", .values = levels,
		.brief = "Least severe message that is logged.",
		.help = "error: somebody must act. warning: something works less well. notice: a "
			"state changed. info: once in a session. debug: everything.",
	}, {
		.key = "format", .type = WARREN_ENUM, .def = "text", .values = formats,
		.brief = "Form of a line on standard error.",
	}, {
		.key = "target", .type = WARREN_ENUM, .def = "auto", .values = targets,
		.brief = "Where messages go.",
		.help = "auto is the journal if standard error leads there, else standard error.",
	},
};

static int check_priorities(const struct warren_conf *at, struct warren_err *err)
{
	char low[8], high[8];
	int64_t from, to;
	int end = 0;

	if (sscanf(warren_conf_str(at, NULL), "%7[0-9]-%7[0-9]%n", low, high, &end) != 2 ||
	    warren_conf_str(at, NULL)[end] || units_parse_int(low, &from) < 0 ||
	    units_parse_int(high, &to) < 0 || from < 1 || to > 32765 || from > to)
		return warren_fail(err, at, "\"rule-priorities\" must be a range within 1-32765, "
				   "as in 5210-5270, not \"%s\"", warren_conf_str(at, NULL));
	return 0;
}

static int check_marks(const struct warren_conf *at, struct warren_err *err)
{
	int64_t mask = warren_conf_int(at, "mask");

	for (int i = 0; i < 2; i++) {
		const char *key = i ? "subnet" : "bypass";
		int64_t mark = warren_conf_int(at, key);

		if (mark & ~mask)
			return warren_fail_key(err, -EINVAL, at, key, "\"%s\" 0x%llx has bits "
					       "outside \"mask\" 0x%llx", key,
					       (unsigned long long)mark, (unsigned long long)mask);
	}
	if (warren_conf_int(at, "bypass") == warren_conf_int(at, "subnet"))
		return warren_fail_key(err, -EINVAL, at, "subnet",
				       "\"subnet\" and \"bypass\" must be two marks");
	return 0;
}

static const struct warren_option mark_options[] = {
	{
		.key = "mask", .type = WARREN_INT, .flags = WARREN_COLD, .def = "0xff0000",
		.min = 1, .max = UINT32_MAX, .brief = "Bits of packet marks that are ours.",
	}, {
		.key = "bypass", .type = WARREN_INT, .flags = WARREN_COLD, .def = "0x80000",
		.min = 1, .max = UINT32_MAX,
		.brief = "Mark of our own encrypted packets.",
		.help = "Packets with this mark leave by the host's own routes.",
	}, {
		.key = "subnet", .type = WARREN_INT, .flags = WARREN_COLD, .def = "0x40000",
		.min = 1, .max = UINT32_MAX,
		.brief = "Mark of packets that the firewall rules have approved.",
		.help = "Those out of the tunnel, and answers to them.",
	},
};

static const struct warren_option system_options[] = {
	{
		.key = "user", .type = WARREN_STRING, .flags = WARREN_COLD, .def = "warren",
		.min = 1, .max = 32, .brief = "User that the engine runs as.",
		.help = "A name, or numbers as \"uid:gid\".",
	}, {
		.key = "plugin-dir", .type = WARREN_PATH, .flags = WARREN_COLD,
		.brief = "Folder of the plugins.", .example = WARREN_PLUGINDIR,
	}, {
		.key = "interfaces", .type = WARREN_STRING, .flags = WARREN_MANY,
		.def = "[\"warren*\"]", .min = 1, .max = 15,
		.brief = "Interfaces that the engine may make.",
		.help = "A name that ends in * stands for all that begin so. The one in "
			"wg.interface needs no mention.",
	}, {
		.key = "ports", .type = WARREN_INT, .flags = WARREN_MANY, .min = 1, .max = 65535,
		.brief = "Further ports that may be bound.", .example = "[8443]",
		.help = "Ports that are written in other sections need no mention.",
	}, {
		.key = "route-table", .type = WARREN_INT, .def = "52", .min = 1, .max = UINT32_MAX,
		.brief = "Routing table that is ours.",
	}, {
		.key = "main-table", .type = WARREN_BOOL, .def = "false",
		.brief = "Allow routes in the main table too.",
	}, {
		.key = "rule-priorities", .type = WARREN_STRING, .def = "5200-5279", .min = 3,
		.max = 11, .brief = "Range of rule priorities that is ours.",
		.check = check_priorities,
	}, {
		.key = "marks", .type = WARREN_MAP, .def = "{}", .sub = WARREN_TABLE(mark_options),
		.brief = "Packet marks that are ours.", .check = check_marks,
	},
};

const struct wcore_conf_schema *wcore_core_schemas(size_t *count)
{
	static const struct wcore_conf_schema schemas[] = {
		{
			.name = "node", .brief = "This machine.", .flags = WCORE_SCHEMA_ALWAYS,
			.options = WARREN_TABLE(node_options),
		}, {
			.name = "log", .brief = "The log.", .flags = WCORE_SCHEMA_ALWAYS,
			.options = WARREN_TABLE(log_options),
		}, {
			.name = "system", .flags = WCORE_SCHEMA_ALWAYS,
			.brief = "What the daemon may do to this machine.",
			.help = "The limits that the privileged process sets for the rest. They "
				"are read from the files in /etc only. Two daemons on one machine "
				"need different interfaces, tables, priorities and ports.",
			.options = WARREN_TABLE(system_options),
		},
	};

	*count = ARRAY_SIZE(schemas);
	return schemas;
}
