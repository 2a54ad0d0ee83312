/*
 * What clients are told of DNS (control-protocol.md 6.10, coordinator.md 5). It is the same for all
 * of them, but where a resolver of NextDNS is among them: that one learns which device asks, and
 * the policy may give a node a profile of its own.
 */
#include "dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "server.h"

static const char nextdns[] = "https://dns.nextdns.io";

struct coord_dns {
	json_t *config;			/* without the records of the file */
	json_t *records;		/* of the file; NULL: none is named */
	char *text;			/* the whole */
	bool nextdns;			/* differs from node to node */
	char certify[254];		/* the base domain, so that each has a name to prove */
};

/* ---- options ---- */

static int check_resolver(const struct warren_conf *at, struct warren_err *err)
{
	const char *text = warren_conf_str(at, NULL);
	struct warren_addrport port;
	struct warren_addr addr;
	struct warren_url url;

	if (addr_parse(text, &addr) == 0 || addrport_parse(text, &port) == 0 ||
	    (str_starts(text, "https://") && warren_url_parse(text, &url, NULL) == 0))
		return 0;
	return warren_fail(err, at, "\"%s\" is no resolver: expected an address, an address with "
			   "a port, or the https URL of one that speaks DNS over HTTPS", text);
}

static bool is_domain(const char *text)
{
	size_t len = strlen(text), label = 0;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len == 0 || len > 253)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool plain = (text[i] >= 'a' && text[i] <= 'z') || text[i] == '-' ||
			     text[i] == '_' || (text[i] >= '0' && text[i] <= '9');

		if (text[i] == '.' ? label == 0 : !plain || ++label > 63)
			return false;
		if (text[i] == '.')
			label = 0;
	}
	return label > 0;
}

static const char *const record_types[] = { "A", "AAAA", NULL };
static const struct warren_option record_options[] = {
	{ .key = "name", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 1, .max = 253,
	  .brief = "The whole name, in lower case.", .example = "wiki.corp.example.com" },
	{ .key = "type", .type = WARREN_ENUM, .values = record_types, .def = "A",
	  .brief = "Of an IPv4 or an IPv6 address." },
	{ .key = "value", .type = WARREN_ADDR, .flags = WARREN_REQUIRED,
	  .brief = "The address.", .example = "100.64.0.7" },
};

const struct warren_option coord_dns_options[COORD_DNS_OPTIONS] = {
	{ .key = "magic-dns", .type = WARREN_BOOL, .def = "true",
	  .brief = "Clients resolve each other's names." },
	{ .key = "nameservers", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 255,
	  .check = check_resolver, .brief = "Resolvers that clients use for all other names.",
	  .help = "Addresses, or https URLs of DNS over HTTPS. A URL of NextDNS is given the "
		  "device's name; the policy's attributes nextdns:PROFILE and "
		  "nextdns:no-device-info change that.",
	  .example = "[9.9.9.9]" },
	{ .key = "override-local", .type = WARREN_BOOL, .def = "true",
	  .brief = "They replace those that a client has from its network.",
	  .help = "Else they are used only where a client has to resolve other names itself and "
		  "knows none." },
	{ .key = "split", .type = WARREN_STRING, .flags = WARREN_KEYED | WARREN_MANY, .max = 255,
	  .check = check_resolver, .brief = "Resolvers of single domains and what is below them.",
	  .example = "{corp.example.com: [10.0.0.53]}" },
	{ .key = "search", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 253,
	  .brief = "Search domains besides the base domain.", .example = "[corp.example.com]" },
	{ .key = "extra-records", .type = WARREN_MAP, .flags = WARREN_MANY,
	  .sub = WARREN_TABLE(record_options), .brief = "Names that clients answer themselves.",
	  .help = "One outside the base domain is answered only where `split` names a domain "
		  "that it is in." },
	{ .key = "extra-records-file", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "More of them, from a JSON file that is read again when it changes.",
	  .help = "A list of objects with name, type and value.",
	  .example = "/etc/warren/records.json" },
};

static int check_records(const struct warren_conf *dns, struct warren_err *err)
{
	for (uint32_t i = 0; i < warren_conf_count(dns, "extra-records"); i++) {
		const struct warren_conf *at = warren_conf_at(dns, "extra-records", i);
		const struct warren_addr addr = warren_conf_addr(at, "value");
		bool six = warren_conf_enum(at, "type") == 1;

		if (!is_domain(warren_conf_str(at, "name")))
			return warren_fail_key(err, -EINVAL, at, "name", "\"%s\" is no name: "
					       "expected one in lower case as in "
					       "wiki.corp.example.com",
					       warren_conf_str(at, "name"));
		if (addr.family != (six ? 6 : 4))
			return warren_fail_key(err, -EINVAL, at, "value", "a record of type %s "
					       "has an IPv%d address", six ? "AAAA" : "A",
					       six ? 6 : 4);
	}
	return 0;
}

int coord_dns_check(const struct warren_conf *dns, struct warren_err *err)
{
	if (!dns)
		return 0;
	for (uint32_t i = 0; i < warren_conf_count(dns, "split"); i++) {
		const struct warren_conf *at = warren_conf_at(dns, "split", i);

		if (!is_domain(warren_conf_name(at)))
			return warren_fail(err, at, "\"%s\" is no domain: expected one in lower "
					   "case as in corp.example.com", warren_conf_name(at));
	}
	return check_records(dns, err);
}

/* ---- the configuration that clients get ---- */

static json_t *resolver(const char *text)
{
	return json_pack("{s:s}", "Addr", text);
}

static json_t *resolvers(const struct warren_conf *conf, const char *key)
{
	json_t *list = json_array();

	for (uint32_t i = 0; conf && i < warren_conf_count(conf, key); i++)
		json_array_append_new(list, resolver(warren_conf_str(warren_conf_at(conf, key, i),
								     NULL)));
	return list;
}

static json_t *record(const char *name, const char *type, const char *value)
{
	return json_pack("{s:s,s:s,s:s}", "Name", name, "Type", type, "Value", value);
}

static void add_records(json_t *o, const struct warren_conf *dns)
{
	json_t *list = json_array();
	char text[ADDR_TEXT];

	for (uint32_t i = 0; i < warren_conf_count(dns, "extra-records"); i++) {
		const struct warren_conf *at = warren_conf_at(dns, "extra-records", i);
		const struct warren_addr addr = warren_conf_addr(at, "value");

		json_array_append_new(list, record(warren_conf_str(at, "name"),
						   record_types[warren_conf_enum(at, "type")],
						   addr_format(&addr, text)));
	}
	if (json_array_size(list) > 0)
		json_object_set(o, "ExtraRecords", list);
	json_decref(list);
}

static void add_options(json_t *o, const struct warren_conf *dns)
{
	json_t *routes = json_object_get(o, "Routes"), *domains = json_object_get(o, "Domains");
	json_t *global = resolvers(dns, "nameservers");
	bool override = warren_conf_bool(dns, "override-local") && json_array_size(global) > 0;

	json_object_set_new(o, override ? "Resolvers" : "FallbackResolvers", global);
	for (uint32_t i = 0; i < warren_conf_count(dns, "split"); i++) {
		const struct warren_conf *at = warren_conf_at(dns, "split", i);

		json_object_set_new(routes, warren_conf_name(at), resolvers(at, NULL));
	}
	for (uint32_t i = 0; i < warren_conf_count(dns, "search"); i++)
		json_array_append_new(domains, json_string(warren_conf_str(
				      warren_conf_at(dns, "search", i), NULL)));
	add_records(o, dns);
}

static bool names_nextdns(const json_t *list)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		if (str_starts(json_string_value(json_object_get(one, "Addr")), nextdns))
			return true;
	}
	return false;
}

static bool finish(struct coord_dns *dns)
{
	json_t *whole = json_deep_copy(dns->config);
	json_t *list = json_object_get(whole, "ExtraRecords");

	if (dns->records && !list)
		json_object_set(whole, "ExtraRecords", dns->records);
	else if (dns->records)
		json_array_extend(list, dns->records);
	free(dns->text);
	dns->text = json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(whole);
	dns->nextdns = names_nextdns(json_object_get(dns->config, "Resolvers")) ||
		       names_nextdns(json_object_get(dns->config, "FallbackResolvers"));
	return dns->text;
}

struct coord_dns *coord_dns_new(const struct warren_conf *options, const char *base_domain)
{
	struct coord_dns *dns = calloc(1, sizeof(*dns));
	bool magic = !options || warren_conf_bool(options, "magic-dns");

	if (!dns)
		return NULL;
	dns->config = json_pack("{s:b,s:[s],s:{}}", "Proxied", magic, "Domains", base_domain,
				"Routes");
	if (magic)			/* an empty list: clients answer by themselves */
		json_object_set_new(json_object_get(dns->config, "Routes"), base_domain,
				    json_array());
	if (options)
		add_options(dns->config, options);
	if (dns->config && finish(dns))
		return dns;
	coord_dns_free(dns);
	return NULL;
}

void coord_dns_certify(struct coord_dns *dns, const char *base_domain)
{
	str_copy(dns->certify, sizeof(dns->certify), base_domain ? base_domain : "");
}

void coord_dns_resolvers(struct coord_dns *dns, json_t *list)
{
	json_object_set(dns->config, "Resolvers", list);
	(void)finish(dns);
}

void coord_dns_free(struct coord_dns *dns)
{
	if (!dns)
		return;
	json_decref(dns->config);
	json_decref(dns->records);
	free(dns->text);
	free(dns);
}

/* ---- records of a file ---- */

/* What is wrong with it, or NULL and it is in @out. */
static const char *read_record(const json_t *from, json_t *out)
{
	const char *name = json_string_value(json_object_get(from, "name"));
	const char *type = json_string_value(json_object_get(from, "type"));
	const char *value = json_string_value(json_object_get(from, "value"));
	bool six = type && strcmp(type, "AAAA") == 0;
	struct warren_addr addr;

	if (!name || !is_domain(name))
		return "its \"name\" is no name in lower case";
	if (type && type[0] && strcmp(type, "A") != 0 && !six)
		return "its \"type\" is neither A nor AAAA";
	if (!value || addr_parse(value, &addr) || (type && type[0] && addr.family != (six ? 6 : 4)))
		return "its \"value\" is no address of that type";
	json_array_append_new(out, record(name, addr.family == 6 ? "AAAA" : "A", value));
	return NULL;
}

static int read_records(json_t *list, json_t *out, struct warren_err *err)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *wrong = read_record(one, out);

		if (wrong)
			return warren_fail_key(err, -EINVAL, NULL, NULL, "record %zu of the file "
					       "of DNS records is refused: %s", i + 1, wrong);
	}
	return 0;
}

int coord_dns_records(struct coord_dns *dns, const char *text, size_t len, struct warren_err *err)
{
	json_error_t error;
	json_t *list = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	json_t *out = json_array();
	int result;
	bool same;

	if (!list)
		result = warren_fail_key(err, -EINVAL, NULL, NULL, "the file of DNS records is no "
					 "JSON: line %d: %s", error.line, error.text);
	else if (!json_is_array(list) || json_array_size(list) > COORD_DNS_RECORDS)
		result = warren_fail_key(err, -EINVAL, NULL, NULL, "the file of DNS records is no "
					 "list of %d objects at most", COORD_DNS_RECORDS);
	else
		result = read_records(list, out, err);
	json_decref(list);
	if (result) {
		json_decref(out);
		return result;
	}
	same = dns->records && json_equal(dns->records, out);
	json_decref(dns->records);
	dns->records = out;
	if (same)
		return 0;
	return finish(dns) ? 1 : -ENOMEM;
}

/* ---- of one node ---- */

/* What NextDNS learns of it, as its own clients say it. */
static void add_device(struct str *url, const struct tailnet_node *node)
{
	json_t *info = node->soft.hostinfo ? json_loads(node->soft.hostinfo, 0, NULL) : NULL;
	const char *os = json_string_value(json_object_get(info, "OS"));
	const struct warren_addr *addr = node->v4.family ? &node->v4 : &node->v6;
	char text[ADDR_TEXT];

	str_addf(url, "?device_ip=%s&device_model=", addr_format(addr, text));
	coord_escape(url, os ? os : "");
	str_add(url, "&device_name=");
	coord_escape(url, node->hostname);
	json_decref(info);
}

static void rewrite(json_t *list, const struct tailnet_node *node, const char *profile,
		    bool device)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one) {
		const char *addr = json_string_value(json_object_get(one, "Addr"));
		struct str url = STR_INIT;

		if (!str_starts(addr, nextdns))
			continue;
		if (profile)
			str_addf(&url, "%s/%s", nextdns, profile);
		else
			str_add(&url, addr);
		if (device)
			add_device(&url, node);
		json_object_set_new(one, "Addr", json_string(str_text(&url)));
		str_free(&url);
	}
}

static void add_nextdns(const struct coord_dns *dns, const struct tailnet_node *node,
			const json_t *caps, struct str *out)
{
	const char *cap, *profile = NULL;
	bool device = true;
	json_t *whole, *value;
	char *text;

	json_object_foreach((json_t *)(uintptr_t)caps, cap, value) {
		if (strcmp(cap, "nextdns:no-device-info") == 0)
			device = false;
		else if (str_starts(cap, "nextdns:") && !strpbrk(cap + 8, "/?#%& "))
			profile = cap + 8;
	}
	whole = json_loads(dns->text, 0, NULL);
	rewrite(json_object_get(whole, "Resolvers"), node, profile, device);
	rewrite(json_object_get(whole, "FallbackResolvers"), node, profile, device);
	text = whole ? json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	str_add(out, text ? text : "null");
	out->failed = out->failed || !text;
	free(text);
	json_decref(whole);
}

void coord_dns_add(const struct coord_dns *dns, const struct tailnet_node *node,
		   const json_t *caps, struct str *out)
{
	size_t before = out->len;

	if (dns->nextdns)
		add_nextdns(dns, node, caps, out);
	else
		str_add(out, dns->text);
	if (!dns->certify[0] || out->failed || out->len == before)
		return;
	str_cut(out, out->len - 1);	/* the object goes on */
	str_addf(out, ",\"CertDomains\":[\"%s.%s\"]}", node->name, dns->certify);
}

bool coord_dns_differs(const struct coord_dns *dns)
{
	return dns->nextdns || dns->certify[0];
}
