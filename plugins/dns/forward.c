/*
 * Asks resolvers. Who asks what is being asked already waits for the same answer.
 *
 * The resolver that answered last is asked first. When it is silent for a moment or has no good
 * answer, the next one is asked as well; the first good answer counts. "Failed" and "refused" are
 * kept and told only if nobody knows better.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "dns.h"

enum {
	ASKS_MAX = 1024,
	WAITS_MAX = 256,		/* for one question */
	TRIES_MAX = DNS_UPSTREAMS + 2,
};
static const uint64_t patience_usec = 300000;	/* before the next resolver is asked too */
static const uint64_t repeat_usec = 1000000;	/* once all were asked */
static const uint64_t limit_usec = 4500000;	/* clients repeat after 5 s */

struct slot {				/* one question to one resolver */
	struct dns_try try;
	struct ask *ask;
	bool over;			/* nothing more comes of it */
};

struct ask {
	struct list node;
	struct dns *dns;
	struct dns_query q;
	uint8_t key[DNS_NAME_MAX + 6];
	uint8_t key_len;
	struct dns_name suffix;		/* of the route */
	struct dns_upstream up[DNS_UPSTREAMS];
	uint32_t n, next, begun, n_waits;
	struct slot slots[TRIES_MAX];
	uint64_t started;
	struct warren_timer *timer;
	struct list waits;
	uint8_t *soft;			/* the best of the bad answers */
	size_t soft_len;
};

static uint8_t make_key(const struct dns_query *q, uint8_t *key)
{
	uint8_t *at = key + q->name.len;

	memcpy(key, q->name.wire, q->name.len);
	*at++ = (uint8_t)(q->type >> 8);
	*at++ = (uint8_t)q->type;
	*at++ = (uint8_t)(q->dnssec_ok << 2 | !!(q->flags & DNS_CD) << 1 | !!(q->flags & DNS_AD));
	return (uint8_t)(at - key);
}

static void ask_free(struct ask *ask)
{
	for (uint32_t i = 0; i < ask->begun; i++)
		dns_try_end(&ask->slots[i].try);
	if (ask->key_len > 0)
		hash_del(&ask->dns->asks_by_question, ask->key, ask->key_len);
	list_del(&ask->node);
	ask->dns->n_asks--;
	warren_release(ask->timer);
	free(ask->soft);
	free(ask);
}

/* All who wait; each may ask again, but not this, which is over. */
static void tell(struct ask *ask, const uint8_t *msg, size_t len)
{
	struct list waits = LIST_INIT(waits);

	hash_del(&ask->dns->asks_by_question, ask->key, ask->key_len);
	ask->key_len = 0;
	list_splice_tail(&waits, &ask->waits);
	while (!list_empty(&waits)) {
		struct dns_wait *wait = list_first(&waits, struct dns_wait, node);

		list_del(&wait->node);
		wait->done(wait->arg, msg, len);
	}
}

static void give_up(struct ask *ask)
{
	uint8_t made[DNS_QUERY_MAX];
	const struct dns *dns = ask->dns;

	warren_stat_add(ask->soft ? dns->stats.soft : dns->stats.timeout, 1);
	if (ask->soft)
		tell(ask, ask->soft, ask->soft_len);
	else
		tell(ask, made, dns_reply_refuse(&ask->q, DNS_SERVFAIL, made, sizeof(made)));
	ask_free(ask);
}

static bool is_waiting(const struct ask *ask)
{
	for (uint32_t i = 0; i < ask->begun; i++) {
		if (!ask->slots[i].over)
			return true;
	}
	return false;
}

static const struct dns_try_events events;

/* One more resolver; false: no more tries are left. */
static bool begin(struct ask *ask)
{
	uint32_t most = ask->n + 2 < TRIES_MAX ? ask->n + 2 : TRIES_MAX;

	while (ask->begun < most) {
		const struct dns_upstream *to = &ask->up[ask->next++ % ask->n];
		struct dns_way *way = dns_way_get(ask->dns, to);
		struct slot *slot = &ask->slots[ask->begun++];

		slot->ask = ask;
		slot->over = true;
		slot->try.q = &ask->q;
		slot->try.events = &events;
		slot->try.arg = slot;
		slot->try.edns = true;
		if (way && ask->begun > ask->n)
			dns_way_renew(way);	/* it was silent */
		if (!way || dns_try_begin(way, &slot->try))
			continue;
		slot->over = false;
		warren_timer_set(ask->timer, ask->begun < ask->n ? patience_usec : repeat_usec);
		return true;
	}
	return false;
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct ask *ask = arg;
	uint64_t spent = warren_now() - ask->started;

	(void)ctx;
	if (spent < limit_usec && begin(ask))
		return;
	if (spent < limit_usec && is_waiting(ask)) {
		warren_timer_set(ask->timer, limit_usec - spent);
		return;
	}
	for (uint32_t i = 0; i < ask->begun; i++) {
		if (!ask->slots[i].over)
			dns_way_failed(ask->slots[i].try.way);
	}
	give_up(ask);
}

/* The resolver of this try will not do: the next one now, if none is being waited for. */
static void next(struct ask *ask)
{
	if (ask->begun < ask->n ? begin(ask) : is_waiting(ask))
		return;
	if (!is_waiting(ask))
		give_up(ask);
}

/* The next question of this kind goes to whom answered this one. */
static void remember(const struct ask *ask, const struct dns_upstream *to)
{
	struct dns_route *route = dns_plan_route(ask->dns->plan, &ask->q.name);

	if (!route || !dns_name_equal(&route->suffix, &ask->suffix))
		return;
	for (uint32_t i = 0; i < route->n; i++) {
		if (dns_upstream_equal(&route->up[i], to))
			route->first = i;
	}
}

static void keep_soft(struct ask *ask, const uint8_t *msg, size_t len)
{
	if (ask->soft)
		return;
	ask->soft = malloc(len);
	if (!ask->soft)
		return;
	memcpy(ask->soft, msg, len);
	ask->soft_len = len;
}

static bool again(struct slot *slot, int (*how)(struct dns_way *, struct dns_try *))
{
	struct dns_way *way = slot->try.way;

	dns_try_end(&slot->try);
	slot->over = how(way, &slot->try) != 0;
	return !slot->over;
}

static void on_answer(void *arg, struct dns_try *try, uint8_t *msg, size_t len,
		      const struct dns_answer *answer)
{
	struct slot *slot = arg;
	struct ask *ask = slot->ask;
	struct dns *dns = ask->dns;

	if (answer->flags & DNS_TC && !try->tcp && !try->way->to.peer && again(slot, dns_try_tcp)) {
		warren_stat_add(dns->stats.by_tcp, 1);
		return;
	}
	/* RFC 6891 7: one that has never heard of EDNS. */
	if ((answer->rcode == DNS_FORMERR || answer->rcode == DNS_NOTIMP) && try->edns &&
	    !answer->edns) {
		try->edns = false;
		try->way->plain = true;
		if (again(slot, dns_try_begin))
			return;
	}
	len = dns_answer_strip(msg, answer);
	if (answer->rcode != DNS_NOERROR && answer->rcode != DNS_NXDOMAIN) {
		if (answer->rcode <= DNS_RCODE)
			keep_soft(ask, msg, len);
		slot->over = true;
		dns_try_end(try);
		next(ask);
		return;
	}
	warren_stat_add(dns->stats.answered, 1);
	remember(ask, &try->way->to);
	if (!(answer->flags & DNS_TC)) {
		dns_cache_put(&dns->cache, &ask->q, warren_now(), msg, len, answer->ttl);
		warren_stat_set(dns->stats.entries, dns->cache.n);
	}
	tell(ask, msg, len);
	ask_free(ask);
}

static void on_failure(void *arg, struct dns_try *try)
{
	struct slot *slot = arg;

	slot->over = true;
	dns_try_end(try);
	next(slot->ask);
}

static const struct dns_try_events events = { on_answer, on_failure };

static struct ask *ask_new(struct dns *dns, const struct dns_query *q,
			   const struct dns_route *route)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (!ask)
		return NULL;
	ask->dns = dns;
	ask->q = *q;
	ask->suffix = route->suffix;
	ask->n = route->n;
	ask->next = route->first;
	memcpy(ask->up, route->up, sizeof(ask->up));
	ask->started = warren_now();
	ask->key_len = make_key(q, ask->key);
	list_init(&ask->waits);
	ask->timer = warren_timer_new(dns->ctx, on_timer, ask);
	if (!ask->timer ||
	    hash_put(&dns->asks_by_question, ask->key, ask->key_len, ask, NULL)) {
		warren_release(ask->timer);
		free(ask);
		return NULL;
	}
	list_add_tail(&dns->asks, &ask->node);
	dns->n_asks++;
	return ask;
}

int dns_forward(struct dns *dns, const struct dns_query *q, const struct dns_route *route,
		struct dns_wait *wait)
{
	uint8_t key[DNS_NAME_MAX + 6];
	struct ask *ask = hash_get(&dns->asks_by_question, key, make_key(q, key));

	if (ask && ask->n_waits >= WAITS_MAX)
		return -EAGAIN;
	if (!ask) {
		ask = dns->n_asks < ASKS_MAX ? ask_new(dns, q, route) : NULL;
		if (!ask)
			return -EAGAIN;
		if (!begin(ask))
			warren_timer_set(ask->timer, 0);	/* told from the loop */
	}
	ask->n_waits++;
	list_add_tail(&ask->waits, &wait->node);
	return 0;
}

void dns_forward_init(struct dns *dns)
{
	list_init(&dns->asks);
	hash_init(&dns->asks_by_question);
}

void dns_forward_end(struct dns *dns)
{
	while (!list_empty(&dns->asks))
		ask_free(list_first(&dns->asks, struct ask, node));
	hash_free(&dns->asks_by_question);
}
