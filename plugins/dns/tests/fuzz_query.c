/*
 * A client's datagram: read, decided by a map with some of everything, answered.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "plugins/dns/decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_plan *make_plan(void)
{
	static const struct warren_prefix addresses[] = {
		{ { 4, { 100, 64, 0, 1 } }, 32 },
		{ { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 1 } }, 128 },
	};
	static const struct warren_resolver resolvers[] = { { .address = "192.0.2.53" } };
	static const struct warren_dns_route routes[] = { { "corp.example.com", resolvers, 1 },
							  { "void.example.com", NULL, 0 } };
	static const struct warren_dns_record records[] = {
		{ "wiki.tail.example.com", "TXT", "a text" },
		{ "wiki.tail.example.com", NULL, "100.64.0.7" },
	};
	static const struct warren_dns dns = {
		.proxied = true, .routes = routes, .n_routes = 2, .records = records,
		.n_records = 2, .resolvers = resolvers, .n_resolvers = 1,
	};
	static const struct warren_node self = {
		.name = "nas.tail.example.com.", .addresses = addresses, .n_addresses = 2,
	};
	static const struct warren_netmap map = { .self = &self, .dns = &dns };
	static const struct dns_words words = { .accept = true };

	return dns_plan_new(&words, &map);
}

/* What is refused is answered too, and so are all others but those that are passed on. */
static size_t answer(const struct dns_plan *plan, const struct dns_query *q, int refuse,
		     uint8_t *made, size_t room)
{
	AUTO(str_free) struct str why = STR_INIT;
	struct dns_decision decision;

	if (refuse > 0)
		return dns_reply_refuse(q, refuse, made, room);
	dns_decide(plan, q, &decision, &why);
	if (why.len == 0)
		abort();
	if (decision.verdict == DNS_FORWARD) {
		struct dns_query back;
		size_t len = dns_query_write(q, 7, true, made);

		if (dns_query_parse(made, len, &back) || !dns_name_equal(&back.name, &q->name))
			abort();
		return 0;
	}
	return dns_answer_local(&decision, q, 7, made, room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dns_plan *plan;
	uint8_t made[4096], out[4096 + DNS_OPT];
	struct dns_record_view record;
	struct dns_query q;
	struct dns_walk walk;
	size_t len;
	int result;

	if (!plan)
		plan = make_plan();
	result = dns_query_parse(data, size, &q);
	if (result < 0)
		return 0;
	len = answer(plan, &q, result, made, sizeof(made));
	if (len == 0)
		return 0;
	len = dns_reply_finish(made, len, &q, q.room, 0, out);
	if (len > q.room || !dns_walk_begin(&walk, out, len))
		abort();
	while ((result = dns_walk_next(&walk, &record)) == 1)
		;
	if (result < 0 || (size_t)(walk.r.at - out) != len)
		abort();
	return 0;
}
