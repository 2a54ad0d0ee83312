/*
 * Host names in endpoints: looked up at first, again until they are found, and again every five
 * minutes while their peer does not answer (its address may have changed).
 */
#ifndef STATIC_RESOLVE_H
#define STATIC_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>

struct static_set;

enum { STATIC_LOOKUPS = 8 };		/* at the same time */

struct static_resolver {
	struct warren_ctx *ctx;
	struct warren_timer *timer;
	struct static_set *set;		/* the one in force; borrowed */
	uint32_t in_flight;
	/* True: the peer with this key answers, so its address is good. */
	bool (*answers)(void *arg, const uint8_t key[32]);
	/* The record of a peer was replaced by one with other endpoints. */
	void (*changed)(void *arg);
	void *arg;
};

/* ctx, answers, changed and arg are set. 0 or -ENOMEM. */
int static_resolver_init(struct static_resolver *r);
/* Puts another set into force (NULL: none) and starts what is due. */
void static_resolver_use(struct static_resolver *r, struct static_set *set);
/* Host names of the set without an address. */
uint32_t static_resolver_missing(const struct static_resolver *r);

#endif
