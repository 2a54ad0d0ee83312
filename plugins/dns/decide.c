/*
 * What becomes of a query: the first step that knows it decides.
 *
 * Names that must not leave this host (RFC 7686, 6761, the network's own) are stopped here; the
 * canary of browsers is denied, so that they go on asking this host (see README.md).
 */
#include "decide.h"

#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

enum { META_FIRST = 249, META_LAST = 254 };	/* TKEY ... MAILA: of servers among themselves */

struct steps {
	const struct dns_plan *plan;
	const struct dns_query *q;
	struct dns_decision *out;
	struct str *why;
};

static void say(const struct steps *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct steps *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->why)
		return;
	va_start(ap, fmt);
	str_vaddf(s->why, fmt, ap);
	va_end(ap);
	str_addc(s->why, '\n');
}

static bool refuse(const struct steps *s, int rcode)
{
	s->out->verdict = DNS_REFUSE;
	s->out->rcode = rcode;
	return true;
}

static bool absent(const struct steps *s, const struct dns_name *zone)
{
	s->out->verdict = DNS_ABSENT;
	s->out->zone = zone;
	return true;
}

/*
 * ---- The steps ----
 */

static bool is_no_question(const struct steps *s)
{
	if (s->q->class_ != DNS_IN) {
		say(s, "class %u is not the internet's: refused", s->q->class_);
		return refuse(s, DNS_REFUSED);
	}
	if (s->q->type >= META_FIRST && s->q->type <= META_LAST) {
		say(s, "type %u is for name servers among themselves: not implemented",
		    s->q->type);
		return refuse(s, DNS_NOTIMP);
	}
	return false;
}

static bool is_under(const struct steps *s, const char *zone)
{
	struct dns_name name;

	return dns_name_parse(zone, &name) == 0 && dns_name_under(&s->q->name, &name);
}

static bool is_special(const struct steps *s)
{
	static const struct {
		const char *zone, *words;
	} never[] = {
		{ "onion", "names of Tor are never looked up: does not exist" },
		{ "invalid", "nothing is ever below \"invalid\": does not exist" },
		{ "use-application-dns.net", "browsers ask it before they go past this host's "
		  "resolver: does not exist, which keeps them here" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		if (is_under(s, never[i].zone)) {
			say(s, "%s", never[i].words);
			return absent(s, NULL);
		}
	}
	if (!is_under(s, "localhost"))
		return false;
	say(s, "\"localhost\" is this host: its loopback address");
	s->out->verdict = DNS_ADDRESS;
	s->out->addr = (struct warren_addr){ 4, { 127, 0, 0, 1 } };
	if (s->q->type == DNS_AAAA)
		s->out->addr = (struct warren_addr){ 6, { [15] = 1 } };
	return true;
}

static bool is_service(const struct steps *s)
{
	if (!is_under(s, "magicdns.localhost-tailscale-daemon"))
		return false;
	say(s, "the name of this resolver: its service address");
	s->out->verdict = DNS_ADDRESS;
	s->out->addr = dns_service[s->q->type == DNS_AAAA];
	return true;
}

/* "b._dns-sd._udp.": lists of domains to browse, of which we have none (RFC 6763 11). */
static bool is_browsing(const struct steps *s)
{
	static const char *const kinds[] = { "\1b", "\2db", "\1r", "\2dr", "\2lb" };
	static const uint8_t tail[] = "\7_dns-sd\4_udp";
	const struct dns_name *name = &s->q->name;
	size_t at = 1u + name->wire[0];

	if (!is_under(s, "arpa") || name->len < at + sizeof(tail) ||
	    memcmp(name->wire + at, tail, sizeof(tail) - 1) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (memcmp(name->wire, kinds[i], at) == 0) {
			say(s, "a list of domains to browse, of which there is none");
			return absent(s, NULL);
		}
	}
	return false;
}

/* A decimal number of at most @max in front of @end. */
static bool read_number(const char **at, char end, unsigned long max, unsigned long *out)
{
	char *stop;

	if (**at < '0' || **at > '9')
		return false;
	*out = strtoul(*at, &stop, 10);
	if (*stop != end || *out > max)
		return false;
	*at = stop + 1;
	return true;
}

/* "10-1-1-16-via-7": fd7a:115c:a1e0:b1a:0:7:a01:110. */
static bool read_via(const char *label, struct warren_addr *out)
{
	static const uint8_t prefix[] = { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0x0b, 0x1a };
	const char *at = label;
	unsigned long number;
	char *end;

	*out = (struct warren_addr){ .family = 6 };
	memcpy(out->bytes, prefix, sizeof(prefix));
	for (int i = 0; i < 4; i++) {
		if (!read_number(&at, '-', 255, &number))
			return false;
		out->bytes[12 + i] = (uint8_t)number;
	}
	if (!str_starts(at, "via-") || at[4] < '0' || at[4] > '9')
		return false;
	number = strtoul(at + 4, &end, 0);
	if (*end || number > UINT32_MAX)
		return false;
	for (int i = 0; i < 4; i++)
		out->bytes[8 + i] = (uint8_t)(number >> (24 - 8 * i));
	return true;
}

static bool is_via(const struct steps *s)
{
	const struct dns_name *name = &s->q->name;
	char label[DNS_LABEL_MAX + 1];
	struct dns_name zone;

	if (!dns_name_parent(name, &zone))
		return false;
	memcpy(label, name->wire + 1, name->wire[0]);
	label[name->wire[0]] = '\0';
	if ((zone.len > 1 && !dns_name_equal(&zone, &s->plan->suffix) && !is_under(s, "ts.net") &&
	     !is_under(s, "tailscale.net")) || !read_via(label, &s->out->addr))
		return false;
	say(s, "an IPv4 address behind a numbered site (4via6): its IPv6 address");
	s->out->verdict = DNS_ADDRESS;
	return true;
}

static bool is_known(const struct steps *s)
{
	const struct dns_host *host = dns_zone_find(&s->plan->zone, &s->q->name);
	const struct dns_route *route;
	char text[DNS_NAME_TEXT];

	if (!host)
		return false;
	if (s->q->type == DNS_NS || s->q->type == DNS_SOA || s->q->type == DNS_HINFO) {
		say(s, "it is %s, which has no such records: not implemented", host->origin);
		return refuse(s, DNS_NOTIMP);
	}
	if (dns_name_equal(&host->name, &s->q->name))
		say(s, "it is %s: answered here", host->origin);
	else
		say(s, "it is below %s, which answers for all below: answered here",
		    dns_name_text(&host->name, text));
	s->out->verdict = DNS_HOST;
	s->out->host = host;
	route = dns_plan_route(s->plan, &s->q->name);
	s->out->zone = route && route->local ? &route->suffix : NULL;
	return true;
}

static bool is_reverse(const struct steps *s)
{
	static const struct dns_name service = {
		37, "\10magicdns\32localhost-tailscale-daemon",
	};
	struct warren_addr addr;
	char text[DNS_NAME_TEXT];

	if (!dns_name_address(&s->q->name, &addr))
		return false;
	s->out->name = dns_is_service(&addr) ? &service : dns_zone_whose(&s->plan->zone, &addr);
	if (!s->out->name)
		return false;
	say(s, "it is an address of %s: answered here", dns_name_text(s->out->name, text));
	s->out->verdict = DNS_WHOSE;
	return true;
}

static void is_anywhere(const struct steps *s)
{
	struct dns_route *route = dns_plan_route(s->plan, &s->q->name);
	char text[DNS_NAME_TEXT];

	if (!route) {
		say(s, "no resolver is known for other names: failed (set dns.upstream)");
		refuse(s, DNS_SERVFAIL);
		return;
	}
	dns_name_text(&route->suffix, text);
	if (route->local) {
		bool apex = dns_name_equal(&route->suffix, &s->q->name);

		say(s, "it is in %s (%s), which is never asked for outside: %s", text,
		    route->origin, apex ? "has no such record" : "does not exist");
		absent(s, &route->suffix);
		if (apex)
			s->out->verdict = DNS_NODATA;
	} else if (route->n == 0) {
		say(s, "%s goes to %s, none of which can be asked: failed", text, route->origin);
		refuse(s, DNS_SERVFAIL);
	} else {
		say(s, "the longest match is %s, by %s: asked there", text, route->origin);
		s->out->verdict = DNS_FORWARD;
		s->out->route = route;
	}
}

void dns_decide(const struct dns_plan *plan, const struct dns_query *q, struct dns_decision *out,
		struct str *why)
{
	static bool (*const first[])(const struct steps *) = {
		is_no_question, is_special, is_service, is_browsing, is_via, is_known, is_reverse,
	};
	const struct steps s = { plan, q, out, why };

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < ARRAY_SIZE(first); i++) {
		if (first[i](&s))
			return;
	}
	is_anywhere(&s);
}

/*
 * ---- Peers ----
 */

/* RFC 1918, 4193, 3927, 4291, 6598: whose names nobody on the internet knows. */
static bool is_private(const struct warren_addr *addr)
{
	static const struct warren_prefix private[] = {
		{ { 4, { 0 } }, 8 },		{ { 4, { 10 } }, 8 },
		{ { 4, { 100, 64 } }, 10 },	{ { 4, { 127 } }, 8 },
		{ { 4, { 169, 254 } }, 16 },	{ { 4, { 172, 16 } }, 12 },
		{ { 4, { 192, 168 } }, 16 },	{ { 6, { 0 } }, 8 },
		{ { 6, { 0xfc } }, 7 },		{ { 6, { 0xfe, 0x80 } }, 10 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(private); i++) {
		if (prefix_contains(&private[i], addr))
			return true;
	}
	return false;
}

/* Of the neighbours: by the zones that are theirs (RFC 6762, 8375), or without a domain. */
static bool is_neighbour(const struct steps *s)
{
	static const char *const zones[] = { "local", "home.arpa", "internal", "test" };
	bool single = dns_name_labels(&s->q->name) == 1;
	struct warren_addr addr;

	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		if (is_under(s, zones[i]))
			return true;
	}
	/* Who validates asks for these of "com" too. */
	if (s->q->type == DNS_NS || s->q->type == DNS_SOA || s->q->type == DNS_DS ||
	    s->q->type == DNS_DNSKEY)
		single = false;
	return single || (dns_name_address(&s->q->name, &addr) && is_private(&addr));
}

static bool is_filtered(const struct steps *s)
{
	for (uint32_t i = 0; i < s->plan->n_filtered; i++) {
		const struct dns_filtered *filtered = &s->plan->filtered[i];

		if (filtered->below ? dns_name_under(&s->q->name, &filtered->name) &&
				      !dns_name_equal(&s->q->name, &filtered->name) :
				      dns_name_equal(&s->q->name, &filtered->name))
			return true;
	}
	return false;
}

void dns_decide_peer(const struct dns_plan *plan, const struct dns_query *q,
		     struct dns_decision *out)
{
	const struct steps s = { plan, q, out, NULL };

	dns_decide(plan, q, out, NULL);
	if (out->verdict == DNS_REFUSE || (out->verdict == DNS_ABSENT && !out->zone))
		return;			/* nobody is told these */
	/* Nor is one exit node asked by another: that might be a circle. */
	if (out->verdict == DNS_FORWARD && out->route->suffix.len == 1 &&
	    !out->route->up[0].peer && !is_neighbour(&s) && !is_filtered(&s))
		return;
	memset(out, 0, sizeof(*out));
	refuse(&s, DNS_REFUSED);
}
