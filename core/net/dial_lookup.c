/*
 * Addresses of names, with a memory. The host's resolver does the work on the job pool; a look-up
 * cannot be called off, so that one that was cancelled stays until its answer.
 *
 * The memory is the process's, since the same few servers are dialled by several plugins. Its
 * entries do not age: an old address is tried only where the resolver has no better.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"

#include "dial_impl.h"

enum { ENTRIES = 64, PATIENCE_USEC = 2000000 };

static struct {
	pthread_mutex_t lock;
	uint64_t now;			/* counts uses: the least recent is replaced */
	struct {
		char name[DIAL_NAME];
		uint64_t used;
		uint32_t n;
		struct warren_addr addrs[DIAL_ADDRS];
	} entries[ENTRIES];
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct dial_lookup {
	struct warren_ctx *ctx;
	dial_lookup_fn *done;		/* NULL: called, or cancelled */
	void *arg;
	struct warren_timer *patience;
	bool asking;			/* the resolver will call */
	char name[DIAL_NAME];
	char why[160];
};

void dial_cache_put(const char *name, const struct warren_addr *addrs, uint32_t n)
{
	size_t at = 0;

	if (n > DIAL_ADDRS)
		n = DIAL_ADDRS;
	pthread_mutex_lock(&cache.lock);
	for (size_t i = 0; i < ENTRIES; i++) {
		if (strcasecmp(cache.entries[i].name, name) == 0) {
			at = i;
			break;
		}
		if (cache.entries[i].used < cache.entries[at].used)
			at = i;
	}
	if (str_copy(cache.entries[at].name, DIAL_NAME, name)) {
		cache.entries[at].used = ++cache.now;
		cache.entries[at].n = n;
		memcpy(cache.entries[at].addrs, addrs, n * sizeof(*addrs));
	}
	pthread_mutex_unlock(&cache.lock);
}

uint32_t dial_cache_get(const char *name, struct warren_addr addrs[DIAL_ADDRS])
{
	uint32_t n = 0;

	pthread_mutex_lock(&cache.lock);
	for (size_t i = 0; i < ENTRIES && n == 0; i++) {
		if (strcasecmp(cache.entries[i].name, name) != 0)
			continue;
		cache.entries[i].used = ++cache.now;
		n = cache.entries[i].n;
		memcpy(addrs, cache.entries[i].addrs, n * sizeof(*addrs));
	}
	pthread_mutex_unlock(&cache.lock);
	return n;
}

static void release(struct dial_lookup *lookup)
{
	warren_release(lookup->patience);
	lookup->patience = NULL;
	lookup->done = NULL;
	if (!lookup->asking)
		warren_release(lookup);
}

void dial_lookup_cancel(struct dial_lookup *lookup)
{
	if (lookup)
		release(lookup);
}

static void tell(struct dial_lookup *lookup, const struct warren_addr *addrs, uint32_t n)
{
	dial_lookup_fn *done = lookup->done;
	void *arg = lookup->arg;
	char why[160];

	memcpy(why, lookup->why, sizeof(why));
	release(lookup);
	done(addrs, n, n > 0 ? NULL : why, arg);
}

static void tell_known(struct dial_lookup *lookup)
{
	struct warren_addr addrs[DIAL_ADDRS];
	uint32_t n = dial_cache_get(lookup->name, addrs);

	if (n > 0 || !lookup->asking)
		tell(lookup, addrs, n);
}

static void on_patience(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	tell_known(arg);
}

static void resolved(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
		     const char *why, void *arg)
{
	struct dial_lookup *lookup = arg;

	(void)ctx;
	lookup->asking = false;
	if (result > 0)
		dial_cache_put(lookup->name, addrs, (uint32_t)result);
	else
		snprintf(lookup->why, sizeof(lookup->why), "%s", why);
	if (!lookup->done)
		warren_release(lookup);
	else if (result > 0)
		tell(lookup, addrs, (uint32_t)result);
	else
		tell_known(lookup);
}

struct dial_lookup *dial_lookup_new(struct warren_ctx *ctx, const char *name, dial_lookup_fn *done,
				    void *arg)
{
	struct dial_lookup *lookup = warren_zalloc(ctx, sizeof(*lookup));

	if (!lookup)
		return NULL;
	lookup->ctx = ctx;
	lookup->done = done;
	lookup->arg = arg;
	lookup->patience = warren_timer_new(ctx, on_patience, lookup);
	if (!lookup->patience || !str_copy(lookup->name, sizeof(lookup->name), name)) {
		release(lookup);
		return NULL;
	}
	lookup->asking = warren_resolve(ctx, name, resolved, lookup) == 0;
	if (!lookup->asking)
		snprintf(lookup->why, sizeof(lookup->why), "the resolver has too much to do");
	warren_timer_set(lookup->patience, lookup->asking ? PATIENCE_USEC : 0);
	return lookup;
}
