/*
 * The sections of the test schema. "types" has one row for each type, "limits" the same with
 * limits, "defaults" with defaults; the others have one way of nesting each.
 */
#include "schema.h"

#include <string.h>

#include "base/util.h"
#include "engine/conf.h"

static const char *const colours[] = { "red", "green", "blue", NULL };

static const struct warren_option types[] = {
	{ .key = "bool", .type = WARREN_BOOL, .brief = "A boolean." },
	{ .key = "int", .type = WARREN_INT, .brief = "A number." },
	{ .key = "size", .type = WARREN_SIZE, .brief = "A size." },
	{ .key = "duration", .type = WARREN_DURATION, .brief = "A duration." },
	{ .key = "string", .type = WARREN_STRING, .brief = "A text." },
	{ .key = "enum", .type = WARREN_ENUM, .values = colours, .brief = "A colour." },
	{ .key = "addr", .type = WARREN_ADDR, .brief = "An address." },
	{ .key = "addrport", .type = WARREN_ADDRPORT, .brief = "An address with a port." },
	{ .key = "prefix", .type = WARREN_PREFIX, .brief = "A network." },
	{ .key = "ifaddr", .type = WARREN_PREFIX, .flags = WARREN_HOST_BITS,
	  .brief = "An interface's address." },
	{ .key = "path", .type = WARREN_PATH, .flags = WARREN_READ, .brief = "A path." },
	{ .key = "secret", .type = WARREN_SECRET_REF, .brief = "A secret." },
};

static const struct warren_option limits[] = {
	{ .key = "int", .type = WARREN_INT, .min = -10, .max = 100, .brief = "A number." },
	{ .key = "size", .type = WARREN_SIZE, .min = 1024, .max = 1 << 20, .brief = "A size." },
	{ .key = "duration", .type = WARREN_DURATION, .min = 1000000, .max = 3600000000,
	  .brief = "A duration." },
	{ .key = "string", .type = WARREN_STRING, .min = 2, .max = 8, .brief = "A text." },
	{ .key = "ports", .type = WARREN_INT, .flags = WARREN_MANY, .min = 1, .max = 65535,
	  .brief = "Numbers." },
	{ .key = "secret", .type = WARREN_SECRET_REF, .min = 4, .max = 16, .brief = "A secret." },
};

static const struct warren_option inner[] = {
	{ .key = "on", .type = WARREN_BOOL, .def = "yes", .brief = "A boolean." },
	{ .key = "wait", .type = WARREN_DURATION, .def = "1m30s", .brief = "A duration." },
};

static const struct warren_option defaults[] = {
	{ .key = "port", .type = WARREN_INT, .flags = WARREN_COLD, .def = "41641",
	  .brief = "A number." },
	{ .key = "size", .type = WARREN_SIZE, .def = "64KiB", .brief = "A size." },
	{ .key = "text", .type = WARREN_STRING, .def = "\"a: b\"", .brief = "A text." },
	{ .key = "list", .type = WARREN_PREFIX, .flags = WARREN_MANY,
	  .def = "[10.0.0.0/8, fd00::/8]", .brief = "Networks." },
	{ .key = "map", .type = WARREN_MAP, .flags = WARREN_RESTART, .def = "{}",
	  .sub = WARREN_TABLE(inner), .brief = "A map." },
	{ .key = "none", .type = WARREN_MAP, .sub = WARREN_TABLE(inner), .brief = "A map." },
};

static int check_key(const struct warren_conf *at, struct warren_err *err)
{
	if (strlen(warren_conf_str(at, NULL)) != 4)
		return warren_fail(err, at, "\"%s\" is no key of four letters",
				   warren_conf_str(at, NULL));
	return 0;
}

static int check_peer(const struct warren_conf *at, struct warren_err *err)
{
	if (warren_conf_has(at, "psk") && !warren_conf_has(at, "endpoint"))
		return warren_fail(err, at, "peer \"%s\" has a psk but no endpoint",
				   warren_conf_name(at));
	return 0;
}

static const struct warren_option peer[] = {
	{ .key = "key", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .check = check_key,
	  .example = "abcd", .brief = "Its key." },
	{ .key = "endpoint", .type = WARREN_ADDRPORT, .brief = "Its address." },
	{ .key = "allowed", .type = WARREN_PREFIX, .flags = WARREN_MANY, .brief = "Its networks." },
	{ .key = "psk", .type = WARREN_SECRET_REF, .flags = WARREN_RESTART,
	  .brief = "Its secret." },
	{ .key = "keepalive", .type = WARREN_DURATION, .def = "off", .brief = "Its pause." },
};

static const struct warren_option rule[] = {
	{ .key = "from", .type = WARREN_PREFIX, .flags = WARREN_MANY, .brief = "Sources." },
	{ .key = "ports", .type = WARREN_STRING, .flags = WARREN_MANY | WARREN_REQUIRED,
	  .brief = "Ports." },
};

static const struct warren_option network[] = {
	{ .key = "peers", .type = WARREN_MAP, .flags = WARREN_KEYED, .sub = WARREN_TABLE(peer),
	  .brief = "Peers by name.", .check = check_peer },
	{ .key = "accept", .type = WARREN_MAP, .flags = WARREN_MANY, .sub = WARREN_TABLE(rule),
	  .brief = "Rules." },
	{ .key = "routes", .type = WARREN_ADDR, .flags = WARREN_KEYED,
	  .brief = "Routers by name." },
	{ .key = "groups", .type = WARREN_STRING, .flags = WARREN_KEYED | WARREN_MANY,
	  .brief = "Members by group." },
	{ .key = "speed", .type = WARREN_INT, .flags = WARREN_DEPRECATED,
	  .brief = "It is measured now." },
};

static int check_network(const struct warren_conf *conf, struct warren_err *err)
{
	if (warren_conf_count(conf, "peers") > 3)
		return warren_fail_key(err, -1, conf, "peers", "more than three peers");
	return 0;
}

static const struct warren_option target[] = {
	{ .type = WARREN_STRING, .min = 1, .max = 40, .brief = "A path and its target." },
};
static const struct warren_option web[] = {
	{ .type = WARREN_MAP, .sub = WARREN_TABLE(target), .brief = "A port and its paths." },
};

const struct wcore_conf_schema *golden_schemas(size_t *count)
{
	static const struct wcore_conf_schema schemas[] = {
		{ .name = "types", .options = WARREN_TABLE(types), .brief = "Types." },
		{ .name = "limits", .options = WARREN_TABLE(limits), .brief = "Limits." },
		{ .name = "defaults", .options = WARREN_TABLE(defaults), .brief = "Defaults." },
		{ .name = "network", .options = WARREN_TABLE(network), .check = check_network,
		  .brief = "Nesting." },
		{ .name = "web", .options = WARREN_TABLE(web), .brief = "Open maps." },
		{ .name = "plain", .brief = "No options." },
		{ .name = "broken", .flags = WCORE_SCHEMA_OPAQUE, .brief = "Not loaded." },
	};

	*count = ARRAY_SIZE(schemas);
	return schemas;
}
