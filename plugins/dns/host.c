/*
 * The host's own resolver configuration.
 *
 * What other programs have said there is where names go that nobody else is named for. Once the
 * service addresses are served, they are named in its place (RESOLVER, which sets it back at the
 * end): by way of the program that keeps the configuration, or in the file itself. Another program
 * that overwrites them is told of; what it wrote counts from then on as what was there, and ours is
 * written again, unless that happens again and again.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/str.h"
#include "dns.h"
#include "hostconf.h"

enum { DUEL = 9 };			/* times in a window; the stock client's numbers */
static const uint64_t duel_window = 5000000;
static const uint64_t retry_soon = 200000, retry_first = 1000000, retry_last = 30000000;

static void apply(struct dns *dns);

/* @answer of READ. True: it says something else than before. */
static bool take_base(struct dns *dns, const struct warren_priv_answer *answer)
{
	struct dns_hostconf base;
	bool other;

	dns_hostconf_parse(answer->len ? answer->data : "", answer->len, &base);
	other = memcmp(&base, &dns->words.host, sizeof(base)) != 0;
	dns->words.host = base;
	dns->host.ours = answer->value & WARREN_RESOLVER_OURS;
	dns->host.by = (uint32_t)answer->value >> WARREN_RESOLVER_BY_SHIFT;
	return other;
}

static void on_event(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct dns *dns = arg;
	uint64_t count;

	(void)ctx;
	(void)what;
	if (read(fd, &count, sizeof(count)) == sizeof(count)) {
		dns->host.changed = true;
		apply(dns);
	}
}

static void take_event(struct dns *dns, const struct warren_priv_answer *answer)
{
	for (uint32_t i = 0; i < answer->count; i++) {
		if (dns->host.event) {
			close(answer->fds[i]);
			continue;
		}
		dns->host.event = warren_io_new_take(dns->ctx, answer->fds[i], on_event, dns);
		if (dns->host.event)
			warren_io_want(dns->host.event, WARREN_IN);
	}
}

/* It is tried again: soon where the configuration was just being read anew, else ever later. */
static void failed(struct dns *dns, const struct warren_priv_answer *answer)
{
	const char *why = answer->error ? answer->error : strerror(-answer->result);

	if (strcmp(dns->host.problem, why) != 0)
		warren_log(dns->ctx, LOG_WARNING, "this host does not ask us for names: %s", why);
	str_copy(dns->host.problem, sizeof(dns->host.problem), why);
	if (answer->result == -ESTALE || answer->result == -EAGAIN)
		dns->host.delay = retry_soon;
	else if (dns->host.delay < retry_first)
		dns->host.delay = retry_first;
	else if (dns->host.delay < retry_last)
		dns->host.delay *= 2;
	warren_timer_set(dns->host.retry, dns->host.delay);
}

static void well(struct dns *dns)
{
	dns->host.problem[0] = '\0';
	dns->host.delay = 0;
}

/* Something has changed since the request that failed. */
static void look_again(struct dns *dns)
{
	if (dns->host.changed)
		apply(dns);
}

static void on_retry(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	apply(arg);
}

/*
 * What the daemon itself looks up must not depend on its own answers: it asks who was there before,
 * or who is asked for all other names.
 */
void dns_host_clear(struct dns *dns, bool ours)
{
	static const struct dns_name root = { .len = 1 };
	const struct dns_route *route = dns_plan_route(dns->plan, &root);
	struct warren_addrport list[2 * DNS_UPSTREAMS];
	uint32_t n = 0;

	for (uint32_t i = 0; ours && i < dns->words.host.servers.n; i++)
		list[n++] = dns->words.host.servers.up[i].at;
	for (uint32_t i = 0; ours && route && i < route->n; i++) {
		if (!route->up[i].tailnet)
			list[n++] = route->up[i].at;
	}
	if (warren_resolve_by(dns->ctx, list, n))
		warren_log(dns->ctx, LOG_WARNING, "no memory: names that the daemon itself looks "
			   "up may wait for its own resolver");
}

/*
 * ---- Requests, one at a time ----
 */

static void on_set(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns *dns = arg;

	(void)ctx;
	dns->host.asking = false;
	if (answer->result < 0) {
		dns->host.set.verb = 0;		/* it is to be asked for again */
		failed(dns, answer);
		look_again(dns);
		return;
	}
	take_event(dns, answer);
	well(dns);
	dns->host.handle = answer->handle;
	dns->host.ours = true;
	dns_host_clear(dns, true);
	apply(dns);
}

static void on_closed(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns *dns = arg;

	(void)ctx;
	dns->host.asking = false;
	if (answer->result < 0 && answer->result != -ENOENT) {
		failed(dns, answer);
		look_again(dns);
		return;
	}
	dns->host.handle = 0;
	well(dns);
	dns_host_clear(dns, false);
	apply(dns);
}

/* Another program wrote the file. False: it is left to it. */
static bool may_insist(struct dns *dns)
{
	uint64_t now = warren_now();

	if (!dns->words.insist)
		return false;
	if (now - dns->host.window > duel_window) {
		dns->host.window = now;
		dns->host.repairs = 0;
	}
	if (++dns->host.repairs <= DUEL)
		return true;
	if (dns->host.repairs == DUEL + 1)
		warren_log(dns->ctx, LOG_ERR, "another program (%s) keeps writing "
			   "/etc/resolv.conf: it is left to it until the next change of settings",
			   dns->words.host.owner ? dns->words.host.owner : "unknown");
	return false;
}

static void on_read(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct dns *dns = arg;
	bool was_ours = dns->host.handle && dns->host.ours, other;

	(void)ctx;
	dns->host.asking = false;
	take_event(dns, answer);
	if (answer->result < 0) {
		failed(dns, answer);
		look_again(dns);
		dns->host.changed = true;	/* for the next time */
		return;
	}
	other = take_base(dns, answer);
	if (dns->host.handle && dns->host.ours)
		well(dns);
	if (was_ours && !dns->host.ours) {
		warren_stat_add(dns->stats.overwritten, 1);
		dns->host.overwritten++;
		dns->host.lost = !may_insist(dns);
		warren_log_limit(dns->ctx, &dns->host.limit, LOG_WARNING,
				 "another program (%s) has written /etc/resolv.conf: %s",
				 dns->words.host.owner ? dns->words.host.owner : "unknown",
				 dns->host.lost ? "it is left as it is" : "ours is written again");
	}
	if (other)
		dns_base_changed(dns);	/* and on */
	else
		apply(dns);
}

static void ask(struct dns *dns, const struct warren_priv_resolver *request, warren_priv_fn *done)
{
	dns->host.asking = warren_priv(dns->ctx, WARREN_OP_RESOLVER, request, sizeof(*request),
				       done, dns) == 0;
}

/*
 * ---- What should be there ----
 */

static void add_search(struct warren_priv_resolver *out, const struct dns_name *name)
{
	char text[DNS_NAME_TEXT];

	dns_name_text(name, text);
	if (out->n_search < WARREN_PRIV_SEARCH && !strchr(text, '\\') && text[0] != '-' &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(text))
		out->n_search += str_copy(out->search[out->n_search], WARREN_PRIV_NAME, text);
}

/* False: the file is not to be ours. */
static bool wanted(const struct dns *dns, struct warren_priv_resolver *out)
{
	const struct warren_node *self = dns->map ? dns->map->self : NULL;

	memset(out, 0, sizeof(*out));
	out->verb = WARREN_RESOLVER_SET;
	out->by = dns->words.file ? WARREN_RESOLVER_FILE : dns->host.by;
	if (!dns->words.write || !dns->words.accept || !self || !dns_serve_ready(dns))
		return false;
	for (uint32_t i = 0; i < self->n_addresses; i++)
		out->servers |= self->addresses[i].addr.family == 4 ? WARREN_RESOLVER_IPV4 :
								      WARREN_RESOLVER_IPV6;
	for (uint32_t i = 0; i < dns->plan->n_search; i++)
		add_search(out, &dns->plan->search[i]);
	return out->servers != 0;
}

static void close_it(struct dns *dns)
{
	const struct warren_priv_close item = { WARREN_OP_RESOLVER, dns->host.handle };

	dns->host.asking = warren_priv(dns->ctx, WARREN_OP_CLOSE, &item, sizeof(item), on_closed,
				       dns) == 0;
}

static void apply(struct dns *dns)
{
	static const struct warren_priv_resolver read_it = { .verb = WARREN_RESOLVER_READ };
	struct warren_priv_resolver want;
	bool set;

	if (dns->host.asking)
		return;
	if (dns->host.changed) {
		dns->host.changed = false;
		ask(dns, &read_it, on_read);
		return;
	}
	set = wanted(dns, &want);
	if (!set && dns->host.handle) {
		close_it(dns);
	} else if (set && !dns->host.lost &&
		   (!dns->host.handle || !dns->host.ours ||
		    memcmp(&want, &dns->host.set, sizeof(want)) != 0)) {
		dns->host.set = want;
		ask(dns, &want, on_set);
	}
}

void dns_host_update(struct dns *dns, bool settings)
{
	if (settings) {
		dns->host.lost = false;
		dns->host.repairs = 0;
	}
	apply(dns);
}

int dns_host_start(struct dns *dns)
{
	static const struct warren_priv_resolver read_it = { .verb = WARREN_RESOLVER_READ };
	struct warren_priv_answer answer = { .size = sizeof(answer) };
	int result = warren_priv_wait(dns->ctx, WARREN_OP_RESOLVER, &read_it, sizeof(read_it),
				      &answer, NULL);

	dns->host.retry = warren_timer_new(dns->ctx, on_retry, dns);
	if (!dns->host.retry)
		return -ENOMEM;
	if (result) {			/* names of the network are resolved all the same */
		dns->host.changed = true;
		failed(dns, &answer);
		return 0;
	}
	(void)take_base(dns, &answer);
	take_event(dns, &answer);
	return 0;
}
