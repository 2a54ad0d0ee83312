/*
 * Host names in endpoints. One timer runs at the earliest time that any name is due; the set of a
 * few thousand peers is walked then. A look-up remembers key and name of its peer, not the peer: a
 * reload may have replaced or removed it by the time the answer comes.
 */
#include "resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "static.h"

static const uint64_t second = 1000000;
static const uint64_t refresh = 300 * second;	/* and the longest pause after failures */
static const uint64_t first_pause = 2 * second;
static const uint64_t busy_pause = second / 4;	/* the pool's queue is full */

struct lookup {
	struct static_resolver *resolver;
	struct warren_key32 key;
	char name[STATIC_HOST_MAX + 1];
};

static struct static_peer *lookup_peer(const struct lookup *lookup)
{
	const struct static_set *set = lookup->resolver->set;

	for (uint32_t i = 0; set && i < set->n_peers; i++) {
		struct static_peer *peer = set->peers[i];

		if (!memcmp(&peer->record->node.key, &lookup->key, sizeof(lookup->key)) &&
		    !strcmp(peer->host.name, lookup->name))
			return peer;
	}
	return NULL;
}

static uint64_t failure_pause(uint32_t attempts)
{
	uint64_t pause = attempts < 8 ? first_pause << attempts : refresh;

	return pause < refresh ? pause : refresh;
}

static void lookup_failed(struct static_resolver *r, struct static_peer *peer, const char *why)
{
	struct static_host *host = &peer->host;

	host->due = warren_now() + failure_pause(host->attempts);
	host->attempts++;
	if (!host->failed)
		warren_log(r->ctx, LOG_WARNING, "peer %s: cannot look up %s: %s; trying again",
			   peer->record->node.name, host->name, why ? why : "no address");
	host->failed = true;
}

static void lookup_succeeded(struct static_resolver *r, struct static_peer *peer,
			     const struct warren_addr *addrs, uint32_t n)
{
	struct static_host *host = &peer->host;
	int result = static_peer_resolved(peer, addrs, n);

	if (result < 0) {
		lookup_failed(r, peer, "out of memory");
		return;
	}
	if (host->failed)
		warren_log(r->ctx, LOG_NOTICE, "peer %s: found %s", peer->record->node.name,
			   host->name);
	host->failed = false;
	host->attempts = 0;
	host->due = warren_now() + refresh;
	if (result)
		r->changed(r->arg);
}

static void resolver_run(struct warren_ctx *ctx, void *arg);

static void lookup_done(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
			const char *why, void *arg)
{
	struct lookup *lookup = arg;
	struct static_resolver *r = lookup->resolver;
	struct static_peer *peer = lookup_peer(lookup);

	r->in_flight--;
	free(lookup);
	if (result == -ECANCELED)	/* at the end */
		return;
	if (peer) {
		peer->host.busy = false;
		if (result > 0)
			lookup_succeeded(r, peer, addrs, (uint32_t)result);
		else
			lookup_failed(r, peer, why);
	}
	resolver_run(ctx, r);
}

static void lookup_start(struct static_resolver *r, struct static_peer *peer)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	int result = -ENOMEM;

	if (lookup) {
		lookup->resolver = r;
		lookup->key = peer->record->node.key;
		memcpy(lookup->name, peer->host.name, sizeof(lookup->name));
		result = warren_resolve(r->ctx, lookup->name, lookup_done, lookup);
	}
	if (result) {
		free(lookup);
		peer->host.due = warren_now() + busy_pause;
		return;
	}
	peer->host.busy = true;
	r->in_flight++;
}

/* Starts what is due, as far as there is room, and sets the timer for the rest. */
static void resolver_run(struct warren_ctx *ctx, void *arg)
{
	struct static_resolver *r = arg;
	uint64_t now = warren_now(), next = UINT64_MAX;

	(void)ctx;
	for (uint32_t i = 0; r->set && i < r->set->n_peers; i++) {
		struct static_peer *peer = r->set->peers[i];
		struct static_host *host = &peer->host;

		if (!host->name[0] || host->busy)
			continue;
		if (host->due <= now && host->n_addrs > 0 && !host->failed &&
		    r->answers(r->arg, peer->record->node.key.bytes))
			host->due = now + refresh;
		if (host->due <= now && r->in_flight < STATIC_LOOKUPS)
			lookup_start(r, peer);
		/* What is due but has no room waits for an answer, not for the timer. */
		if (!host->busy && host->due > now && host->due < next)
			next = host->due;
	}
	if (next != UINT64_MAX)
		warren_timer_set(r->timer, next - now);
	else
		warren_timer_stop(r->timer);
}

int static_resolver_init(struct static_resolver *r)
{
	r->timer = warren_timer_new(r->ctx, resolver_run, r);
	return r->timer ? 0 : -ENOMEM;
}

void static_resolver_use(struct static_resolver *r, struct static_set *set)
{
	r->set = set;
	if (set)
		resolver_run(r->ctx, r);
}

uint32_t static_resolver_missing(const struct static_resolver *r)
{
	uint32_t missing = 0;

	for (uint32_t i = 0; r->set && i < r->set->n_peers; i++) {
		const struct static_host *host = &r->set->peers[i]->host;

		missing += host->name[0] && host->n_addrs == 0;
	}
	return missing;
}
