/*
 * Ports and protocols (coordinator.md 2.3).
 */
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

/* Digits and nothing else, at most 65535; -1: none. */
static int32_t number(const char *text, size_t len)
{
	int32_t value = 0;

	if (len == 0 || len > 5)
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value <= 65535 ? value : -1;
}

static bool bad(struct parser *p, const struct hj *at, const char *what, const char *text,
		size_t len, const char *why)
{
	return hj_fail(p->error, at, "%sport range \"%.*s\": %s", what, (int)len, text, why);
}

static bool one(struct parser *p, const struct hj *at, const char *what, const char *text,
		size_t len, struct ports *out)
{
	const char *dash = memchr(text, '-', len);
	size_t first_len = dash ? (size_t)(dash - text) : len;
	int32_t first = number(text, first_len), last = first;

	if (len == 1 && text[0] == '*') {
		*out = (struct ports){ 0, 65535 };
		return true;
	}
	if (dash)
		last = number(dash + 1, len - first_len - 1);
	if (first < 0)
		return bad(p, at, what, text, len, "invalid first integer");
	if (last < 0)
		return bad(p, at, what, text, len, "invalid last integer");
	if (first == 0)
		return bad(p, at, what, text, len,
			   "first port must be >0, or use '*' for wildcard");
	if (first > last)
		return bad(p, at, what, text, len, "first port must be <= last port");
	*out = (struct ports){ (uint16_t)first, (uint16_t)last };
	return true;
}

bool parse_ports(struct parser *p, const struct hj *at, const char *what, const char *text,
		 struct ports **out, uint32_t *n)
{
	uint32_t count = 1;

	for (const char *c = text; *c; c++)
		count += *c == ',';
	*n = 0;
	*out = parse_alloc(p, count, sizeof(**out));
	while (*out) {
		const char *item = text + strspn(text, " ");
		size_t len = strcspn(item, ",");

		text = item + len;
		while (len > 0 && item[len - 1] == ' ')
			len--;
		if (!one(p, at, what, item, len, &(*out)[(*n)++]))
			return false;
		if (!*text++)
			return true;
	}
	return false;
}

bool parse_protocol(struct parser *p, const struct hj *at, const char *text, int *out)
{
	static const struct {
		const char *name;
		int number;
	} all[] = {
		{ "icmp", 1 }, { "igmp", 2 }, { "ipv4", 4 }, { "ip-in-ip", 4 }, { "tcp", 6 },
		{ "egp", 8 }, { "igp", 9 }, { "udp", 17 }, { "gre", 47 }, { "esp", 50 },
		{ "ah", 51 }, { "ipv6-icmp", 58 }, { "sctp", 132 }, { "fc", 133 },
	};

	*out = POLICY_ANY_PROTOCOL;
	if (!text[0])
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (strcasecmp(all[i].name, text) == 0) {
			*out = all[i].number;
			return true;
		}
	}
	*out = text[0] == '0' ? -1 : number(text, strlen(text));
	if (*out >= 1 && *out <= 255)
		return true;
	return hj_fail(p->error, at, "proto \"%s\" is not supported: expected a name as tcp, udp, "
		       "icmp or a number from 1 to 255", text);
}

static bool has_ports(int protocol)
{
	return protocol == POLICY_ANY_PROTOCOL || protocol == 6 || protocol == 17 ||
	       protocol == 132;
}

bool ipspec_add(struct parser *p, struct ipspec **specs, uint32_t *n, int protocol,
		const struct ports *ports, uint32_t n_ports)
{
	struct ipspec *spec = NULL, *grown;
	struct ports *all;

	for (uint32_t i = 0; i < *n; i++) {
		if ((*specs)[i].protocol == protocol)
			spec = &(*specs)[i];
	}
	if (!spec) {
		grown = parse_alloc(p, *n + 1, sizeof(*grown));
		if (!grown)
			return false;
		if (*n > 0)
			memcpy(grown, *specs, *n * sizeof(*grown));
		*specs = grown;
		spec = &grown[(*n)++];
		spec->protocol = protocol;
	}
	all = parse_alloc(p, spec->n + n_ports, sizeof(*all));
	if (!all)
		return false;
	if (spec->n > 0)
		memcpy(all, spec->ports, spec->n * sizeof(*all));
	memcpy(all + spec->n, ports, n_ports * sizeof(*all));
	spec->ports = all;
	spec->n += n_ports;
	return true;
}

static bool entry(struct parser *p, const struct hj *at, struct ipspec **out, uint32_t *n)
{
	char *text = parse_trim(p, at), *colon = text ? strchr(text, ':') : NULL;
	int protocol = POLICY_ANY_PROTOCOL;
	struct ports *ports;
	uint32_t n_ports;

	if (!text)
		return false;
	if (colon) {
		*colon = '\0';
		if (!text[0] || strcmp(text, "*") == 0)
			return hj_fail(p->error, at, "ip=\"%s:%s\": a protocol is expected before "
				       "the colon", text, colon + 1);
		if (!parse_protocol(p, at, text, &protocol))
			return false;
	}
	if (!parse_ports(p, at, "", colon ? colon + 1 : text, &ports, &n_ports))
		return false;
	if (!has_ports(protocol) && (n_ports != 1 || ports[0].last != 65535 || ports[0].first))
		return hj_fail(p->error, at, "protocol %s has no ports: use \"%s:*\"", text, text);
	return ipspec_add(p, out, n, protocol, ports, n_ports);
}

bool parse_ipspecs(struct parser *p, const struct hj *list, struct ipspec **out, uint32_t *n)
{
	*out = NULL;
	*n = 0;
	if (!list || list->type == HJ_NULL)
		return true;
	if (list->type != HJ_ARRAY)
		return hj_fail(p->error, list, "\"ip\" is a list, as in [\"tcp:443\"]");
	for (const struct hj *item = list->first; item; item = item->next) {
		if (!entry(p, item, out, n))
			return false;
	}
	return true;
}
