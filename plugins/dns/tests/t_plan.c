/*
 * A map and the operator's words, and what becomes of queries by them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "plugins/dns/decide.h"
#include "plugins/dns/hostconf.h"
#include "plugins/dns/record.h"

struct world {
	struct warren_netmap map;
	struct warren_dns dns;
	struct warren_dns_record records[8];
	struct warren_dns_route routes[8];
	struct warren_resolver resolvers[8];
	struct warren_node nodes[4];
	const struct warren_node *peers[3];
	struct warren_prefix addresses[4][4];
	struct warren_cap caps[2];
	struct dns_words words;
	struct dns_plan *plan;
};

static void add_addr(struct world *w, int node, const char *text)
{
	struct warren_node *n = &w->nodes[node];

	n->addresses = n->allowed_ips = w->addresses[node];
	assert_int_equal(prefix_parse(text, &w->addresses[node][n->n_addresses++]), 0);
	n->n_allowed_ips = n->n_addresses;
}

static int setup(void **state)
{
	static const char *const search[] = { "tail.example.com", "corp.example.com" };
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	w->nodes[0].name = "self.tail.example.com.";
	w->nodes[1].name = "NAS.tail.example.com.";
	w->nodes[2].name = "six.tail.example.com.";
	w->nodes[3].name = "guest.other.example.net.";
	add_addr(w, 0, "100.64.0.1/32");
	add_addr(w, 0, "fd7a:115c:a1e0::1/128");
	add_addr(w, 1, "100.64.0.2/32");
	add_addr(w, 1, "fd7a:115c:a1e0::2/128");
	add_addr(w, 2, "fd7a:115c:a1e0::3/128");
	add_addr(w, 3, "100.64.0.4/32");
	for (int i = 0; i < 3; i++)
		w->peers[i] = &w->nodes[i + 1];
	w->map = (struct warren_netmap){ .self = &w->nodes[0], .peers = w->peers, .n_peers = 3,
					 .dns = &w->dns };
	w->dns = (struct warren_dns){ .proxied = true, .search = search, .n_search = 2,
				      .records = w->records, .routes = w->routes,
				      .resolvers = w->resolvers };
	w->words.accept = true;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dns_plan_free(w->plan);
	free(w->words.split);
	free(w);
	return 0;
}

static void make(struct world *w)
{
	dns_plan_free(w->plan);
	w->plan = dns_plan_new(&w->words, &w->map);
	assert_non_null(w->plan);
}

/* "NOERROR 100.64.0.2", "NXDOMAIN", "FORWARD 10.0.0.53 10.0.0.54!": "!" is through the tunnel. */
static const char *ask_class(const struct world *w, const char *name, const char *type,
			     uint16_t class_)
{
	static const char *const codes[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
					     "NOTIMP", "REFUSED" };
	static char out[1024];
	AUTO(str_free) struct str text = STR_INIT, why = STR_INIT;
	struct dns_query q = { .type = dns_type_parse(type), .class_ = class_, .flags = DNS_RD };
	struct dns_record_view record;
	struct dns_decision d;
	struct dns_walk walk;
	uint8_t msg[4096];
	char addr[ADDR_TEXT];
	size_t len;

	assert_int_equal(dns_name_parse(name, &q.name), 0);
	dns_decide(w->plan, &q, &d, &why);
	assert_true(why.len > 0);
	if (d.verdict == DNS_FORWARD) {
		str_add(&text, "FORWARD");
		for (uint32_t i = 0; i < d.route->n; i++)
			str_addf(&text, " %s%s", addr_format(&d.route->up[i].at.addr, addr),
				 d.route->up[i].tailnet ? "!" : "");
	} else {
		len = dns_answer_local(&d, &q, 7, msg, sizeof(msg));
		str_add(&text, codes[msg[3] & DNS_RCODE]);
		assert_true(dns_walk_begin(&walk, msg, len));
		while (dns_walk_next(&walk, &record) == 1) {
			str_add(&text, " ");
			if (record.type == DNS_SOA)
				str_add(&text, "SOA");
			else
				dns_record_text(msg, len, &record, &text);
		}
	}
	snprintf(out, sizeof(out), "%s", str_text(&text));
	return out;
}

static const char *ask(const struct world *w, const char *name, const char *type)
{
	return ask_class(w, name, type, DNS_IN);
}

static void test_nodes(void **state)
{
	struct world *w = *state;

	make(w);
	assert_string_equal(ask(w, "nas.tail.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "NaS.TAIL.example.com.", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "nas", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "self", "A"), "NOERROR 100.64.0.1");
	assert_string_equal(ask(w, "nas.tail.example.com", "AAAA"), "NOERROR SOA");
	assert_string_equal(ask(w, "six.tail.example.com", "AAAA"),
			    "NOERROR fd7a:115c:a1e0::3");
	assert_string_equal(ask(w, "six.tail.example.com", "A"), "NOERROR SOA");
	assert_string_equal(ask(w, "nas.tail.example.com", "TXT"), "NOERROR SOA");
	assert_string_equal(ask(w, "nas.tail.example.com", "ANY"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "nas.tail.example.com", "NS"), "NOTIMP");
	assert_string_equal(ask(w, "guest.other.example.net", "A"), "NOERROR 100.64.0.4");
	/* A guest's name is whole: the same word may be somebody else in our own domain. */
	assert_string_equal(ask(w, "guest", "A"), "SERVFAIL");
	assert_string_equal(ask(w, "nobody.tail.example.com", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "x.nas.tail.example.com", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "tail.example.com", "A"), "NOERROR SOA");
	assert_string_equal(ask_class(w, "nas.tail.example.com", "A", 3), "REFUSED");
	assert_string_equal(ask(w, "nas.tail.example.com", "AXFR"), "NOTIMP");
	w->words.ipv6 = true;
	make(w);
	assert_string_equal(ask(w, "nas.tail.example.com", "AAAA"), "NOERROR fd7a:115c:a1e0::2");
	w->words.ipv6 = false;
	w->caps[0].name = "magicdns-aaaa";
	w->nodes[0].caps = w->caps;
	w->nodes[0].n_caps = 1;
	make(w);
	assert_string_equal(ask(w, "nas", "AAAA"), "NOERROR fd7a:115c:a1e0::2");
}

static void test_below_a_node(void **state)
{
	struct world *w = *state;

	w->caps[0].name = "dns-subdomain-resolve";
	w->nodes[1].caps = w->caps;
	w->nodes[1].n_caps = 1;
	make(w);
	assert_string_equal(ask(w, "a.b.nas.tail.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "a.six.tail.example.com", "A"), "NXDOMAIN SOA");
}

static void test_reverse(void **state)
{
	struct world *w = *state;

	make(w);
	assert_string_equal(ask(w, "2.0.64.100.in-addr.arpa", "PTR"),
			    "NOERROR nas.tail.example.com.");
	assert_string_equal(ask(w, "9.0.64.100.in-addr.arpa", "PTR"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "9.0.128.100.in-addr.arpa", "PTR"), "SERVFAIL");
	assert_string_equal(ask(w, "100.100.100.100.in-addr.arpa", "PTR"),
			    "NOERROR magicdns.localhost-tailscale-daemon.");
	assert_string_equal(ask(w, "3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7."
				"d.f.ip6.arpa", "PTR"), "NOERROR six.tail.example.com.");
	assert_string_equal(ask(w, "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.e.1.a.c.5.1.1.a.7."
				"d.f.ip6.arpa", "PTR"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "lb._dns-sd._udp.0.64.100.in-addr.arpa", "PTR"), "NXDOMAIN");
	assert_string_equal(ask(w, "b._dns-sd._udp.1.168.192.in-addr.arpa", "PTR"), "NXDOMAIN");
}

static void test_special_names(void **state)
{
	struct world *w = *state;

	make(w);
	assert_string_equal(ask(w, "x.onion", "A"), "NXDOMAIN");
	assert_string_equal(ask(w, "use-application-dns.net", "A"), "NXDOMAIN");
	assert_string_equal(ask(w, "localhost", "A"), "NOERROR 127.0.0.1");
	assert_string_equal(ask(w, "x.localhost", "AAAA"), "NOERROR ::1");
	assert_string_equal(ask(w, "magicdns.localhost-tailscale-daemon", "A"),
			    "NOERROR 100.100.100.100");
	assert_string_equal(ask(w, "magicdns.localhost-tailscale-daemon", "AAAA"),
			    "NOERROR fd7a:115c:a1e0::53");
}

static void test_sites(void **state)
{
	struct world *w = *state;

	make(w);
	assert_string_equal(ask(w, "10-1-1-16-via-7", "AAAA"),
			    "NOERROR fd7a:115c:a1e0:b1a:0:7:a01:110");
	assert_string_equal(ask(w, "10-1-1-16-via-0x10.tail.example.com", "AAAA"),
			    "NOERROR fd7a:115c:a1e0:b1a:0:10:a01:110");
	assert_string_equal(ask(w, "10-1-1-16-via-4294967295.x.ts.net", "AAAA"),
			    "NOERROR fd7a:115c:a1e0:b1a:ffff:ffff:a01:110");
	assert_string_equal(ask(w, "10-1-1-16-via-7.tail.example.com", "A"), "NOERROR");
	assert_string_equal(ask(w, "10-1-1-16-via-4294967296.tail.example.com", "AAAA"),
			    "NXDOMAIN SOA");
	assert_string_equal(ask(w, "10-1-1-256-via-7.tail.example.com", "AAAA"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "10-1-1-via-7.tail.example.com", "AAAA"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "10-1-1-16-via-7.example.org", "AAAA"), "SERVFAIL");
}

static void test_split(void **state)
{
	static const struct warren_resolver corp[] = { { .address = "10.0.0.53" },
						       { .address = "100.64.0.2" },
						       { .address = "https://x.example/dns" } };
	static const struct warren_resolver lab[] = { { .address = "10.0.0.54:5353" } };
	static const struct warren_resolver other[] = { { .address = "192.0.2.53" },
							{ .address = "100.100.100.100" } };
	struct world *w = *state;

	w->routes[0] = (struct warren_dns_route){ "corp.example.com", corp, 3 };
	w->routes[1] = (struct warren_dns_route){ "lab.corp.example.com", lab, 1 };
	w->routes[2] = (struct warren_dns_route){ "internal", NULL, 0 };
	w->routes[3] = (struct warren_dns_route){ "dev.tail.example.com", lab, 1 };
	w->dns.n_routes = 4;
	w->dns.resolvers = other;
	w->dns.n_resolvers = 2;
	make(w);
	assert_string_equal(ask(w, "wiki.corp.example.com", "A"),
			    "FORWARD 10.0.0.53 100.64.0.2!");
	assert_string_equal(ask(w, "a.lab.corp.example.com", "A"), "FORWARD 10.0.0.54");
	assert_string_equal(ask(w, "notcorp.example.com", "A"), "FORWARD 192.0.2.53");
	assert_string_equal(ask(w, "x.internal", "A"), "NXDOMAIN SOA");
	/* A longer suffix is led away even from the network's own domain. */
	assert_string_equal(ask(w, "x.dev.tail.example.com", "A"), "FORWARD 10.0.0.54");
	assert_string_equal(ask(w, "x.tail.example.com", "A"), "NXDOMAIN SOA");
	/* The operator's words go first. */
	w->words.split = calloc(2, sizeof(*w->words.split));
	w->words.n_split = 2;
	assert_int_equal(dns_name_parse("corp.example.com", &w->words.split[0].suffix), 0);
	assert_int_equal(dns_upstream_parse("10.9.9.9", &w->words.split[0].to.up[0]), 0);
	w->words.split[0].to.n = 1;
	assert_int_equal(dns_name_parse("void.example.com", &w->words.split[1].suffix), 0);
	assert_int_equal(dns_upstream_parse("[2001:db8::53]:53", &w->words.upstream.up[0]), 0);
	w->words.upstream.n = 1;
	make(w);
	assert_string_equal(ask(w, "wiki.corp.example.com", "A"), "FORWARD 10.9.9.9");
	assert_string_equal(ask(w, "a.lab.corp.example.com", "A"), "FORWARD 10.0.0.54");
	assert_string_equal(ask(w, "x.void.example.com", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 2001:db8::53");
	/* Whoever does not take the network's settings still gets names of nodes. */
	w->words.accept = false;
	make(w);
	assert_string_equal(ask(w, "nas.tail.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "wiki.corp.example.com", "A"), "FORWARD 10.9.9.9");
	assert_string_equal(ask(w, "a.lab.corp.example.com", "A"), "FORWARD 10.9.9.9");
}

/* A world in which NAS is used as an exit node, and takes questions. */
static void use_exit_node(struct world *w)
{
	static const struct warren_service services[] = {
		{ .proto = "peerapi6", .port = 6001 }, { .proto = "peerapi4", .port = 4001 },
		{ .proto = "peerapi-dns-proxy", .port = 1 },
	};
	static const struct warren_resolver corp[] = {
		{ .address = "10.0.0.53" },
		{ .address = "10.0.0.54", .use_with_exit_node = true },
	};

	w->nodes[1].services = services;
	w->nodes[1].n_services = 3;
	for (int i = 0; i < 4; i++)
		w->nodes[i].id = 10 + i;
	w->map.exit_chosen = true;
	w->map.exit_node = 11;
	w->routes[0] = (struct warren_dns_route){ "corp.example.com", corp, 2 };
	w->routes[1] = (struct warren_dns_route){ "lab.example.com", corp, 1 };
	w->routes[2] = (struct warren_dns_route){ "void.example.com", NULL, 0 };
	w->dns.n_routes = 3;
	w->resolvers[0].address = "192.0.2.53";
	w->resolvers[1].address = "192.0.2.54";
	w->dns.n_resolvers = 2;
}

static void test_exit_node(void **state)
{
	struct world *w = *state;

	use_exit_node(w);
	make(w);			/* its API cannot be asked */
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.53 192.0.2.54");
	w->words.reach = true;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 100.64.0.2!");
	assert_int_equal(dns_plan_route(w->plan, &(struct dns_name){ .len = 1 })->up[0].at.port,
			 4001);
	assert_int_equal(dns_plan_route(w->plan, &(struct dns_name){ .len = 1 })->up[0].peer, 11);
	/* Only what the server says is for this, and what nobody is asked for. */
	assert_string_equal(ask(w, "x.corp.example.com", "A"), "FORWARD 10.0.0.54");
	assert_string_equal(ask(w, "x.lab.example.com", "A"), "FORWARD 100.64.0.2!");
	assert_string_equal(ask(w, "x.void.example.com", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "nas.tail.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "x.tail.example.com", "A"), "NXDOMAIN SOA");
	w->resolvers[1].use_with_exit_node = true;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.54");
	w->resolvers[1].use_with_exit_node = false;
	/* The family that this node has itself. */
	w->nodes[0].addresses++;
	w->nodes[0].n_addresses--;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD fd7a:115c:a1e0::2!");
}

static void test_without_its_resolver(void **state)
{
	struct world *w = *state;

	use_exit_node(w);
	w->words.reach = true;
	/* The operator's words go first. */
	assert_int_equal(dns_upstream_parse("9.9.9.9", &w->words.upstream.up[0]), 0);
	w->words.upstream.n = 1;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 9.9.9.9");
	w->words.upstream.n = 0;
	/* One that is not there, or takes no questions, or nobody's settings are taken. */
	w->map.exit_node = 99;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.53 192.0.2.54");
	w->map.exit_node = 11;
	w->nodes[1].n_services = 2;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.53 192.0.2.54");
	w->nodes[1].n_services = 3;
	w->words.accept = false;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "SERVFAIL");
}

static const char *ask_as_peer(const struct world *w, const char *name, const char *type)
{
	struct dns_query q = { .type = dns_type_parse(type), .class_ = DNS_IN };
	struct dns_decision d;

	assert_int_equal(dns_name_parse(name, &q.name), 0);
	dns_decide_peer(w->plan, &q, &d);
	if (d.verdict == DNS_FORWARD)
		return "asked";
	if (d.verdict == DNS_ABSENT)
		return "absent";
	assert_int_equal(d.verdict, DNS_REFUSE);
	return d.rcode == DNS_REFUSED ? "refused" : "failed";
}

static void test_what_peers_are_told(void **state)
{
	static const char *const filtered[] = { "secret.example.org", ".inner.example.org", ".." };
	static const struct {
		const char *name, *type, *told;
	} cases[] = {
		{ "example.org", "A", "asked" },
		{ "com", "DS", "asked" },
		{ ".", "NS", "asked" },
		{ "1.100.51.198.in-addr.arpa", "PTR", "asked" },
		{ "corp.example.com", "A", "asked" },
		/* of the network */
		{ "nas.tail.example.com", "A", "refused" },
		{ "nas.tail.example.com", "NS", "failed" },
		{ "x.tail.example.com", "A", "refused" },
		{ "nas", "A", "refused" },
		{ "2.0.64.100.in-addr.arpa", "PTR", "refused" },
		{ "10-1-1-16-via-7", "AAAA", "refused" },
		{ "x.lab.example.com", "A", "refused" },
		/* of the host and its neighbours */
		{ "localhost", "A", "refused" },
		{ "printer", "A", "refused" },
		{ "printer.local", "A", "refused" },
		{ "printer.home.arpa", "A", "refused" },
		{ "db.internal", "A", "refused" },
		{ "1.1.168.192.in-addr.arpa", "PTR", "refused" },
		{ "1.0.0.10.in-addr.arpa", "PTR", "refused" },
		/* nobody's */
		{ "x.onion", "A", "absent" },
		{ "use-application-dns.net", "A", "absent" },
		/* by the server's words */
		{ "secret.example.org", "A", "refused" },
		{ "x.secret.example.org", "A", "asked" },
		{ "inner.example.org", "A", "asked" },
		{ "x.inner.example.org", "A", "refused" },
	};
	static const struct warren_resolver lab[] = { { .address = "10.0.0.54" } };
	static const struct warren_resolver others[] = { { .address = "192.0.2.53" } };
	struct world *w = *state;

	w->routes[0] = (struct warren_dns_route){ "lab.example.com", lab, 1 };
	w->dns.n_routes = 1;
	w->dns.resolvers = others;
	w->dns.n_resolvers = 1;
	w->dns.exit_filtered = filtered;
	w->dns.n_exit_filtered = 3;
	make(w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(ask_as_peer(w, cases[i].name, cases[i].type), cases[i].told);
	w->dns.n_resolvers = 0;
	make(w);
	assert_string_equal(ask_as_peer(w, "example.org", "A"), "failed");
}

static void test_only_bad_resolvers(void **state)
{
	static const struct warren_resolver loop[] = { { .address = "fd7a:115c:a1e0::53" } };
	struct world *w = *state;

	w->dns.resolvers = loop;
	w->dns.n_resolvers = 1;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "SERVFAIL");
	assert_int_equal(addrport_parse("192.0.2.53:53", &w->words.listen[0]), 0);
	w->words.n_listen = 1;
	w->resolvers[0].address = "192.0.2.53";
	w->dns.resolvers = w->resolvers;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "SERVFAIL");
	w->dns.n_resolvers = 0;
	w->dns.fallback = w->resolvers;
	w->resolvers[0].address = "192.0.2.1";
	w->dns.n_fallback = 1;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.1");
}

static void test_records(void **state)
{
	struct world *w = *state;

	w->records[0] = (struct warren_dns_record){ "wiki.tail.example.com", NULL, "100.64.0.7" };
	w->records[1] = (struct warren_dns_record){ "wiki.tail.example.com.", "A", "100.64.0.8" };
	w->records[2] = (struct warren_dns_record){ "git.example.org", "", "2001:db8::7" };
	w->records[3] = (struct warren_dns_record){ "_sip._tcp.tail.example.com", "SRV",
						    "0 0 5060 nas.tail.example.com" };
	w->records[4] = (struct warren_dns_record){ "wiki.tail.example.com", "TXT", "hello" };
	w->records[5] = (struct warren_dns_record){ "bad.tail.example.com", "CNAME", "x.y" };
	w->records[6] = (struct warren_dns_record){ "nas.tail.example.com", NULL, "100.64.0.9" };
	w->dns.n_records = 7;
	w->resolvers[0].address = "192.0.2.1";
	w->dns.n_resolvers = 1;
	make(w);
	assert_string_equal(ask(w, "wiki.tail.example.com", "A"),
			    "NOERROR 100.64.0.7 100.64.0.8");
	assert_string_equal(ask(w, "wiki.tail.example.com", "TXT"), "NOERROR \"hello\"");
	assert_string_equal(ask(w, "_sip._tcp.tail.example.com", "SRV"),
			    "NOERROR 0 0 5060 nas.tail.example.com.");
	assert_int_equal(w->plan->bad_records, 1);
	/* A record goes before the node of its name. */
	assert_string_equal(ask(w, "nas.tail.example.com", "A"), "NOERROR 100.64.0.9");
	/* One outside of every domain, and what is below it, stays here; what is beside it not. */
	assert_string_equal(ask(w, "git.example.org", "AAAA"), "NOERROR 2001:db8::7");
	assert_string_equal(ask(w, "git.example.org", "A"), "NOERROR SOA");
	assert_string_equal(ask(w, "x.git.example.org", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.1");
}

static void test_without_magic(void **state)
{
	struct world *w = *state;

	w->dns.proxied = false;
	w->resolvers[0].address = "192.0.2.1";
	w->dns.n_resolvers = 1;
	make(w);
	assert_string_equal(ask(w, "nas.tail.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "nas", "A"), "FORWARD 192.0.2.1");
	assert_string_equal(ask(w, "nobody.tail.example.com", "A"), "FORWARD 192.0.2.1");
}

static void test_plain_names(void **state)
{
	struct world *w = *state;

	w->dns = (struct warren_dns){ .proxied = false };
	w->nodes[0].name = NULL;
	snprintf(w->words.hostname, sizeof(w->words.hostname), "self");
	w->nodes[1].name = "nas";
	w->nodes[2].name = w->nodes[3].name = NULL;
	make(w);
	assert_string_equal(ask(w, "nas", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "2.0.64.100.in-addr.arpa", "PTR"), "NOERROR nas.");
	assert_int_equal(dns_name_parse("home.example.com", &w->words.domain), 0);
	make(w);
	assert_string_equal(ask(w, "nas", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "nas.home.example.com", "A"), "NOERROR 100.64.0.2");
	assert_string_equal(ask(w, "x.home.example.com", "A"), "NXDOMAIN SOA");
	assert_string_equal(ask(w, "2.0.64.100.in-addr.arpa", "PTR"),
			    "NOERROR nas.home.example.com.");
	assert_string_equal(ask(w, "self.home.example.com", "A"), "NOERROR 100.64.0.1");
	assert_int_equal(w->plan->n_search, 1);
}

static void test_host_configuration(void **state)
{
	static const char text[] =
		"; 127.0.0.53 is the systemd-resolved stub resolver.\n"
		"# Generated by NetworkManager\n"
		"domain old.example.com\n"
		"# resolvconf\n"
		"search  lan.example.com\thome.example.com . bad..name\n"
		"nameserver 100.100.100.100\nnameserver fe80::1%eth0\n"
		"nameserver 192.168.1.1 \n\tnameserver 2001:db8::53\r\n"
		"nameserver [192.168.1.2]:5353\nnameserver\noptions ndots:2\nnameserver 9.9.9.9";
	static const char debian[] =
		"# Dynamic file for glibc resolver(3) generated by resolvconf(8)\n"
		"# 127.0.0.53 is the systemd-resolved stub resolver.\n";
	struct world *w = *state;
	struct dns_hostconf *host = &w->words.host;
	char longer[2048];

	dns_hostconf_parse(text, sizeof(text) - 1, host);
	assert_string_equal(host->owner, "NetworkManager");
	assert_int_equal(host->servers.n, 3);
	/* Debian's resolvconf names another one in passing. */
	dns_hostconf_parse(debian, sizeof(debian) - 1, host);
	assert_string_equal(host->owner, "resolvconf");
	dns_hostconf_parse(text, sizeof(text) - 1, host);
	assert_int_equal(host->n_search, 2);
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.168.1.1 2001:db8::53 9.9.9.9");
	assert_int_equal(w->plan->n_search, 4);
	/* Its search domains count only where its resolvers do. */
	w->resolvers[0].address = "192.0.2.1";
	w->dns.n_resolvers = 1;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.0.2.1");
	assert_int_equal(w->plan->n_search, 2);
	w->words.accept = false;
	make(w);
	assert_string_equal(ask(w, "example.org", "A"), "FORWARD 192.168.1.1 2001:db8::53 9.9.9.9");
	/* Lines that are too long, or have a NUL, are none. */
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "nameserver ", 11);
	dns_hostconf_parse(longer, sizeof(longer), host);
	assert_int_equal(host->servers.n, 0);
	dns_hostconf_parse("nameserver 9.9.9.9\0\nnameserver 9.9.9.8\n", 38, host);
	assert_int_equal(host->servers.n, 1);
	dns_hostconf_parse("", 0, host);
	assert_null(host->owner);
}

static void test_no_map(void **state)
{
	struct world *w = *state;

	w->plan = dns_plan_new(&w->words, NULL);
	assert_non_null(w->plan);
	assert_string_equal(ask(w, "example.org", "A"), "SERVFAIL");
	assert_string_equal(ask(w, "x.onion", "A"), "NXDOMAIN");
}

static void test_routes_compared(void **state)
{
	struct world *w = *state;
	struct dns_plan *before;

	make(w);
	before = w->plan;
	w->plan = NULL;
	make(w);
	assert_true(dns_plan_routes_equal(before, w->plan));
	w->resolvers[0].address = "192.0.2.1";
	w->dns.n_resolvers = 1;
	make(w);
	assert_false(dns_plan_routes_equal(before, w->plan));
	assert_false(dns_plan_routes_equal(w->plan, before));
	dns_plan_free(before);
	before = w->plan;
	w->plan = NULL;
	w->resolvers[0].address = "192.0.2.2";
	make(w);
	assert_false(dns_plan_routes_equal(before, w->plan));
	dns_plan_free(before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nodes), TEST(test_below_a_node), TEST(test_reverse),
		TEST(test_special_names), TEST(test_sites), TEST(test_split),
		TEST(test_only_bad_resolvers), TEST(test_records), TEST(test_without_magic),
		TEST(test_plain_names), TEST(test_host_configuration), TEST(test_no_map),
		TEST(test_routes_compared), TEST(test_exit_node), TEST(test_without_its_resolver),
		TEST(test_what_peers_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
