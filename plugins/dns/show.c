/*
 * What the operator sees. The data of `dns status` and `dns query` is the stock client's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "dns.h"
#include "record.h"

/*
 * ---- Resolvers ----
 */

static const char *upstream_text(const struct dns_upstream *up, char out[ADDRPORT_TEXT])
{
	return up->at.port == 53 ? addr_format(&up->at.addr, out) : addrport_format(&up->at, out);
}

static const struct dns_way *way_of(const struct dns *dns, const struct dns_upstream *up)
{
	const struct dns_way *way;

	list_for_each(way, &dns->ways, node) {
		if (dns_upstream_equal(&way->to, up))
			return way;
	}
	return NULL;
}

/* "10.0.0.53, through the tunnel: answers in 1.2 ms" */
static void describe(const struct dns *dns, const struct dns_upstream *up, struct str *out)
{
	const struct dns_way *way = way_of(dns, up);
	char text[ADDRPORT_TEXT];

	str_addf(out, "%s%s%s: ", upstream_text(up, text), up->peer ? ", by HTTP" : "",
		 up->tailnet ? ", through the tunnel" : "");
	if (!way || way->n_sent == 0)
		str_add(out, "not asked yet");
	else if (way->failing_since)
		str_addf(out, "silent for %llu s",
			 (unsigned long long)(warren_now() - way->failing_since) / 1000000);
	else
		str_addf(out, "answers in %llu.%llu ms", (unsigned long long)way->rtt / 1000,
			 (unsigned long long)way->rtt % 1000 / 100);
}

static void resolvers_data(struct warren_reply *reply, const char *key,
			   const struct dns_route *route)
{
	char text[ADDRPORT_TEXT];

	warren_reply_open(reply, key, '[');
	for (uint32_t i = 0; route && i < route->n; i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "Addr", route->up[i].peer ? "http://%s/dns-query" : "%s",
				 upstream_text(&route->up[i], text));
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

static int by_name(const void *a, const void *b)
{
	char x[DNS_NAME_TEXT], y[DNS_NAME_TEXT];

	return strcmp(dns_name_text(&(*(const struct dns_route *const *)a)->suffix, x),
		      dns_name_text(&(*(const struct dns_route *const *)b)->suffix, y));
}

/* In order, for free(); @n of them. */
static const struct dns_route **sorted(const struct dns_plan *plan, uint32_t *n)
{
	const struct dns_route **list = calloc(plan->n_routes + 1, sizeof(*list)), *route;

	*n = 0;
	for (uint32_t pos = 0; list && (route = hash_next(&plan->routes, &pos));)
		list[(*n)++] = route;
	if (list)
		qsort(list, *n, sizeof(*list), by_name);
	return list;
}

static const struct dns_route *default_route(const struct dns_plan *plan)
{
	static const struct dns_name root = { .len = 1 };

	return dns_plan_route(plan, &root);
}

/*
 * ---- dns status ----
 */

static void status_data(const struct dns *dns, struct warren_reply *reply)
{
	const struct dns_plan *plan = dns->plan;
	char text[DNS_NAME_TEXT];
	uint32_t n;
	AUTO(auto_free) const struct dns_route **list = sorted(plan, &n);

	warren_reply_bool(reply, "TailscaleDNS", dns->words.accept);
	if (plan->networked) {
		warren_reply_open(reply, "CurrentTailnet", '{');
		warren_reply_bool(reply, "MagicDNSEnabled", plan->magic);
		warren_reply_str(reply, "MagicDNSSuffix", "%s",
				 dns_name_text(&plan->suffix, text));
		warren_reply_str(reply, "SelfDNSName", "%s%s", dns_name_text(&plan->self, text),
				 plan->self.len ? "." : "");
		warren_reply_close(reply);
	}
	resolvers_data(reply, "Resolvers", default_route(plan));
	warren_reply_open(reply, "SplitDNSRoutes", '{');
	for (uint32_t i = 0; i < n; i++) {
		if (list[i]->suffix.len > 1 && !list[i]->local)
			resolvers_data(reply, dns_name_text(&list[i]->suffix, text), list[i]);
	}
	warren_reply_close(reply);
	warren_reply_open(reply, "SearchDomains", '[');
	for (uint32_t i = 0; i < plan->n_search; i++)
		warren_reply_str(reply, NULL, "%s", dns_name_text(&plan->search[i], text));
	warren_reply_close(reply);
	warren_reply_open(reply, "ExtraRecords", '[');
	for (uint32_t i = 0; dns->map && i < dns->map->dns->n_records; i++) {
		const struct warren_dns_record *record = &dns->map->dns->records[i];

		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "Name", "%s", record->name);
		if (record->type)
			warren_reply_str(reply, "Type", "%s", record->type);
		warren_reply_str(reply, "Value", "%s", record->value);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
}

/* Why the host's own programs do not ask here, in few words; NULL: they do. */
static const char *host_problem(const struct dns *dns)
{
	if (dns->host.problem[0])
		return dns->host.problem;
	if (dns->host.lost)
		return "another program has written it";
	return dns->host.handle ? NULL : !dns->words.write ? "dns.host is off" :
	       !dns->words.accept ? "dns.accept is off" : "not yet";
}

static const char *host_way(const struct dns *dns)
{
	static const char *const ways[] = { "/etc/resolv.conf", "resolvconf",
					    "systemd-resolved" };

	return ways[dns->host.set.by];
}

static void system_data(const struct dns *dns, struct warren_reply *reply)
{
	const struct dns_hostconf *host = &dns->words.host;
	char text[DNS_NAME_TEXT], addr[ADDRPORT_TEXT];

	warren_reply_open(reply, "SystemDNS", '{');
	warren_reply_open(reply, "Nameservers", '[');
	for (uint32_t i = 0; i < host->servers.n; i++)
		warren_reply_str(reply, NULL, "%s", upstream_text(&host->servers.up[i], addr));
	warren_reply_close(reply);
	warren_reply_open(reply, "SearchDomains", '[');
	for (uint32_t i = 0; i < host->n_search; i++)
		warren_reply_str(reply, NULL, "%s", dns_name_text(&host->search[i], text));
	warren_reply_close(reply);
	warren_reply_open(reply, "MatchDomains", '[');
	warren_reply_close(reply);
	warren_reply_close(reply);
	warren_reply_open(reply, "Host", '{');
	warren_reply_str(reply, "Way", "%s", host_way(dns));
	if (host_problem(dns))
		warren_reply_str(reply, "Problem", "%s", host_problem(dns));
	else
		warren_reply_null(reply, "Problem");
	warren_reply_int(reply, "Overwritten", (int64_t)dns->host.overwritten);
	warren_reply_close(reply);
}

static void system_text(const struct dns *dns, struct warren_reply *reply)
{
	const struct dns_hostconf *host = &dns->words.host;
	char text[DNS_NAME_TEXT], addr[ADDRPORT_TEXT];

	warren_reply_text(reply, "\n=== System DNS configuration ===\n\nNameservers:");
	for (uint32_t i = 0; i < host->servers.n; i++)
		warren_reply_text(reply, "  - %s", upstream_text(&host->servers.up[i], addr));
	if (host->servers.n == 0)
		warren_reply_text(reply, "  (no nameservers found)");
	warren_reply_text(reply, "\nSearch domains:");
	for (uint32_t i = 0; i < host->n_search; i++)
		warren_reply_text(reply, "  - %s", dns_name_text(&host->search[i], text));
	if (host->n_search == 0)
		warren_reply_text(reply, "  (no search domains found)");
	if (host_problem(dns))
		warren_reply_text(reply, "\nPrograms of this host do not ask here: %s.",
				  host_problem(dns));
	else
		warren_reply_text(reply, "\nPrograms of this host ask here, by way of %s.",
				  host_way(dns));
	if (dns->host.overwritten)
		warren_reply_text(reply, "Others have undone that %u times since the start.",
				  dns->host.overwritten);
}

static void routes_text(const struct dns *dns, struct warren_reply *reply, bool all)
{
	uint32_t n;
	AUTO(auto_free) const struct dns_route **list = sorted(dns->plan, &n);
	char name[DNS_NAME_TEXT];

	for (uint32_t i = 0; i < n; i++) {
		AUTO(str_free) struct str way = STR_INIT;

		if (list[i]->local && !all && !dns_name_equal(&list[i]->suffix, &dns->plan->suffix))
			continue;
		dns_name_text(&list[i]->suffix, name);
		if (list[i]->local)
			warren_reply_text(reply, "  - %s\t-> answered here (%s)", name,
					  list[i]->origin);
		for (uint32_t k = 0; k < list[i]->n; k++) {
			str_cut(&way, 0);
			describe(dns, &list[i]->up[k], &way);
			warren_reply_text(reply, "  - %s\t-> %s (%s)", name, str_text(&way),
					  list[i]->origin);
		}
		if (list[i]->unusable)
			warren_reply_text(reply, "  - %s\t-> %u that cannot be asked (%s)", name,
					  list[i]->unusable, list[i]->origin);
	}
	if (n == 0)
		warren_reply_text(reply, "  (none)");
}

static void status_text(const struct dns *dns, struct warren_reply *reply, bool all)
{
	const struct dns_plan *plan = dns->plan;
	char text[DNS_NAME_TEXT];

	warren_reply_text(reply, "Settings of the network: %s", dns->words.accept ? "accepted." :
			  "not accepted (dns.accept).");
	if (!plan->networked)
		warren_reply_text(reply, "MagicDNS: there is no network map.");
	else
		warren_reply_text(reply, "MagicDNS: %s (suffix = %s)", plan->magic ?
				  "enabled tailnet-wide" : "disabled tailnet-wide",
				  plan->suffix.len ? dns_name_text(&plan->suffix, text) : "none");
	if (plan->self.len)
		warren_reply_text(reply, "Other devices in your tailnet can reach this device at "
				  "%s", dns_name_text(&plan->self, text));
	warren_reply_text(reply, "\nWho answers for which names (\".\": all others):");
	routes_text(dns, reply, all);
	warren_reply_text(reply, "\nSearch Domains:");
	for (uint32_t i = 0; i < plan->n_search; i++)
		warren_reply_text(reply, "  - %s", dns_name_text(&plan->search[i], text));
	if (plan->n_search == 0)
		warren_reply_text(reply, "  (no search domains found)");
	system_text(dns, reply);
	if (!all)
		return;
	warren_reply_text(reply, "\nAdditional DNS Records:");
	for (uint32_t i = 0; dns->map && i < dns->map->dns->n_records; i++) {
		const struct warren_dns_record *record = &dns->map->dns->records[i];

		warren_reply_text(reply, "  - %s\t%s\t-> %s", record->name,
				  record->type ? record->type : "", record->value);
	}
	if (!dns->map || dns->map->dns->n_records == 0)
		warren_reply_text(reply, "  (no extra records found)");
	if (plan->bad_records)
		warren_reply_text(reply, "  (%u that cannot be understood)", plan->bad_records);
}

int dns_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	const struct dns *dns = warren_self(ctx);

	(void)err;
	status_data(dns, reply);
	system_data(dns, reply);
	status_text(dns, reply, warren_conf_bool(args, "all"));
	return 0;
}

/*
 * ---- dns query ----
 */

struct asked {
	struct dns_wait wait;
	struct warren_reply *reply;
	struct dns_query q;
	char type[17];
};

static int read_question(const struct warren_conf *args, struct dns_query *q,
			 struct warren_err *err)
{
	memset(q, 0, sizeof(*q));
	q->flags = DNS_RD;
	q->class_ = DNS_IN;
	q->type = dns_type_parse(warren_conf_str(args, "type"));
	if (!q->type)
		return warren_fail(err, NULL, "unknown DNS message type: %s",
				   warren_conf_str(args, "type"));
	if (dns_name_parse(warren_conf_str(args, "name"), &q->name))
		return warren_fail(err, NULL, "\"%s\" is no name",
				   warren_conf_str(args, "name"));
	memcpy(q->asked, q->name.wire, q->name.len);
	return 0;
}

static const char *code_text(int rcode, char out[16])
{
	static const char *const names[] = {
		"RCodeSuccess", "RCodeFormatError", "RCodeServerFailure", "RCodeNameError",
		"RCodeNotImplemented", "RCodeRefused",
	};

	if ((size_t)rcode < ARRAY_SIZE(names))
		return names[rcode];
	snprintf(out, 16, "%d", rcode);
	return out;
}

static void record_row(struct warren_reply *reply, const uint8_t *msg, size_t len,
		       const struct dns_record_view *record)
{
	AUTO(str_free) struct str body = STR_INIT;
	char name[DNS_NAME_TEXT] = "", type[16];
	struct dns_name owner;

	if (dns_name_expand(msg, len, record->owner, &owner))
		dns_name_text(&owner, name);
	dns_record_text(msg, len, record, &body);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "Name", "%s%s", name, owner.len > 1 ? "." : "");
	warren_reply_int(reply, "TTL", record->ttl);
	warren_reply_str(reply, "Class", "ClassINET");
	warren_reply_str(reply, "Type", "Type%s", dns_type_text(record->type, type));
	warren_reply_str(reply, "Body", "%s", str_text(&body));
	warren_reply_close(reply);
	warren_reply_text(reply, "%s%s\t%u\tClassINET\tType%s\t%s", name,
			  owner.len > 1 ? "." : "", record->ttl,
			  dns_type_text(record->type, type), str_text(&body));
}

static void show_answer(struct dns *dns, struct warren_reply *reply, const struct dns_query *q,
			const uint8_t *msg, size_t len, uint32_t age)
{
	struct dns_record_view record;
	struct dns_walk walk;
	char code[16];

	len = dns_reply_finish(msg, len, q, DNS_MSG_MAX, age, dns->out);
	msg = dns->out;
	warren_reply_str(reply, "ResponseCode", "%s", code_text(msg[3] & DNS_RCODE, code));
	warren_reply_text(reply, "Response code: %s\n", code_text(msg[3] & DNS_RCODE, code));
	if (msg[6] == 0 && msg[7] == 0)
		warren_reply_text(reply, "No answers were returned.");
	else
		warren_reply_text(reply, "Name\tTTL\tClass\tType\tBody\n----\t---\t-----\t----\t"
				  "----");
	warren_reply_open(reply, "Answers", '[');
	if (dns_walk_begin(&walk, msg, len)) {
		while (dns_walk_next(&walk, &record) == 1 && record.section == DNS_ANSWER)
			record_row(reply, msg, len, &record);
	}
	warren_reply_close(reply);
}

static void query_head(struct warren_reply *reply, const struct warren_conf *args,
		       const struct dns_query *q, const struct dns_route *route)
{
	const char *name = warren_conf_str(args, "name");
	char text[ADDRPORT_TEXT], type[16];

	warren_reply_str(reply, "Name", "%s", name);
	warren_reply_str(reply, "QueryType", "%s", dns_type_text(q->type, type));
	resolvers_data(reply, "Resolvers", route);
	warren_reply_text(reply, "DNS query for \"%s\" (%s) using internal resolver:\n", name,
			  dns_type_text(q->type, type));
	for (uint32_t i = 0; route && i < route->n; i++)
		warren_reply_text(reply, "Forwarding to resolver: %s",
				  upstream_text(&route->up[i], text));
	if (route && route->n > 0)
		warren_reply_text(reply, "%s", "");
}

static void on_answer(void *arg, const uint8_t *msg, size_t len)
{
	struct asked *asked = arg;
	struct warren_reply *reply = asked->reply;

	show_answer(warren_self(asked->wait.ctx), reply, &asked->q, msg, len, 0);
	warren_release(asked);
	warren_reply_end(reply, 0, NULL);
}

static void on_cancel(struct warren_reply *reply, void *arg)
{
	struct asked *asked = arg;

	(void)reply;
	list_del(&asked->wait.node);
	warren_release(asked);
}

int dns_run_query(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err)
{
	struct dns *dns = warren_self(ctx);
	struct dns_route *route = NULL;
	struct dns_decision decision;
	struct asked *asked;
	struct dns_query q;
	const uint8_t *msg;
	uint32_t age;
	size_t len;
	int result = read_question(args, &q, err);

	if (result)
		return result;
	dns_decide(dns->plan, &q, &decision, NULL);
	query_head(reply, args, &q, decision.route);
	if (dns_resolve(dns, &q, false, &msg, &len, &age, &route) == 0) {
		show_answer(dns, reply, &q, msg, len, age);
		return 0;
	}
	asked = warren_zalloc(ctx, sizeof(*asked));
	if (!asked)
		return warren_fail(err, NULL, "out of memory");
	asked->q = q;
	asked->reply = reply;
	asked->wait.ctx = ctx;
	asked->wait.done = on_answer;
	asked->wait.arg = asked;
	list_init(&asked->wait.node);
	if (dns_forward(dns, &asked->q, route, &asked->wait)) {
		warren_release(asked);
		return warren_fail(err, NULL, "too many queries are waiting for answers");
	}
	warren_reply_on_cancel(reply, on_cancel, asked);
	return WARREN_PENDING;
}

/*
 * ---- dns why ----
 */

static void why_steps(struct warren_reply *reply, const char *steps)
{
	warren_reply_open(reply, "steps", '[');
	for (const char *at = steps; *at;) {
		int len = (int)strcspn(at, "\n");

		warren_reply_str(reply, NULL, "%.*s", len, at);
		warren_reply_text(reply, "%.*s", len, at);
		at += len + (at[len] == '\n');
	}
	warren_reply_close(reply);
}

int dns_run_why(struct warren_ctx *ctx, const struct warren_conf *args,
		struct warren_reply *reply, struct warren_err *err)
{
	static const char *const outcomes[] = {
		[DNS_REFUSE] = "refused", [DNS_NODATA] = "no-data", [DNS_ABSENT] = "absent",
		[DNS_HOST] = "local", [DNS_ADDRESS] = "local", [DNS_WHOSE] = "local",
		[DNS_FORWARD] = "forward",
	};
	struct dns *dns = warren_self(ctx);
	AUTO(str_free) struct str steps = STR_INIT;
	struct dns_decision decision;
	struct dns_query q;
	uint32_t age;
	size_t len;
	int result = read_question(args, &q, err);

	if (result)
		return result;
	dns_decide(dns->plan, &q, &decision, &steps);
	warren_reply_str(reply, "name", "%s", warren_conf_str(args, "name"));
	warren_reply_str(reply, "outcome", "%s", outcomes[decision.verdict]);
	why_steps(reply, str_text(&steps));
	warren_reply_open(reply, "resolvers", '[');
	for (uint32_t i = 0; decision.route && i < decision.route->n; i++) {
		AUTO(str_free) struct str way = STR_INIT;

		describe(dns, &decision.route->up[i], &way);
		warren_reply_str(reply, NULL, "%s", str_text(&way));
		warren_reply_text(reply, "  %s", str_text(&way));
	}
	warren_reply_close(reply);
	if (decision.verdict != DNS_FORWARD)
		return 0;
	warren_reply_bool(reply, "cached", dns_cache_get(&dns->cache, &q, warren_now(), &len,
							 &age));
	if (dns_cache_get(&dns->cache, &q, warren_now(), &len, &age))
		warren_reply_text(reply, "an answer that is %u s old is kept and told", age);
	return 0;
}

/*
 * ---- Status and doctor ----
 */

void dns_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct dns *dns = warren_self(ctx);
	const char *problem = dns_serve_problem(dns), *host = host_problem(dns);

	warren_reply_bool(reply, "accept", dns->words.accept);
	warren_reply_int(reply, "names", dns->plan->zone.n);
	warren_reply_int(reply, "asking", dns->n_asks);
	warren_reply_int(reply, "cached", dns->cache.n);
	warren_reply_int(reply, "cache-bytes", (int64_t)dns->cache.bytes);
	if (problem)
		warren_reply_str(reply, "problem", "%s", problem);
	else
		warren_reply_null(reply, "problem");
	warren_reply_str(reply, "host", "%s", host ? host : "ours");
	if (problem)
		warren_reply_text(reply, "names are not resolved: %s", problem);
	else
		warren_reply_text(reply, "resolves %u names of the network: warren dns status",
				  dns->plan->zone.n);
	if (host)
		warren_reply_text(reply, "/etc/resolv.conf does not lead here: %s", host);
}

bool dns_doctor_listener(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const char *problem = dns_serve_problem(warren_self(ctx));
	const char *lan = dns_lan_problem(warren_self(ctx));

	if (problem)
		warren_finding(result, "nobody can ask 100.100.100.100: %s", problem);
	if (lan)
		warren_finding(result, "the LAN is not served: %s", lan);
	return !problem && !lan;
}

bool dns_doctor_host(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct dns *dns = warren_self(ctx);
	const char *problem = dns->host.problem[0] || dns->host.lost ? host_problem(dns) : NULL;

	if (problem)
		warren_finding(result, "programs of this host do not ask here (/etc/resolv.conf): "
			       "%s%s%s", problem, dns->words.host.owner ? ": " : "",
			       dns->words.host.owner ? dns->words.host.owner : "");
	return !problem;
}

bool dns_doctor_upstream(struct warren_ctx *ctx, struct warren_check_result *result)
{
	static const uint64_t grace = 15000000;
	const struct dns *dns = warren_self(ctx);
	const struct dns_way *way;
	bool good = true;

	list_for_each(way, &dns->ways, node) {
		AUTO(str_free) struct str text = STR_INIT;

		if (!way->failing_since || warren_now() - way->failing_since < grace)
			continue;
		describe(dns, &way->to, &text);
		warren_finding(result, "resolver %s", str_text(&text));
		good = false;
	}
	if (default_route(dns->plan))
		return good;
	warren_finding(result, "no resolver is known for names outside of the network: set "
		       "dns.upstream");
	return false;
}
