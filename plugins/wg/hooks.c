/*
 * Order of packet hooks. Two anchors are always there: "filter", the verdict slot, before "route".
 * A new chain is a topological sort in order of registration; a hook that names nobody comes
 * before "filter". Names that nobody has yet are kept: they count when their hook arrives.
 */
#include "hooks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LEN = 32 };

struct wg_hook {
	struct wg_hook *next;
	struct warren_ctx *ctx;
	uint64_t identity;
	char name[NAME_MAX_LEN], before[NAME_MAX_LEN], after[NAME_MAX_LEN];
	uint32_t directions;
	warren_packet_fn *fn;
	void *self;
};

struct item { /* one step while it is sorted */
	const char *name, *before, *after;
	struct wg_step step;
	bool placed;
};

static bool must_precede(const struct item *a, const struct item *b)
{
	return !strcmp(a->before, b->name) || !strcmp(b->after, a->name);
}

static bool is_free(const struct item *items, uint32_t n, const struct item *candidate)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!items[i].placed && &items[i] != candidate &&
		    must_precede(&items[i], candidate))
			return false;
	}
	return true;
}

static int sort(struct wg_chain *chain, uint32_t direction, struct item *items, uint32_t n)
{
	for (uint32_t done = 0; done < n; done++) {
		struct item *next = NULL;

		for (uint32_t i = 0; i < n && !next; i++) {
			if (!items[i].placed && is_free(items, n, &items[i]))
				next = &items[i];
		}
		if (!next)
			return -ELOOP;
		next->placed = true;
		chain->step[direction][done] = next->step;
	}
	chain->count[direction] = n;
	return 0;
}

static int build(const struct wg_hooks *hooks, struct wg_chain *chain)
{
	for (uint32_t direction = 0; direction < 2; direction++) {
		struct item items[WG_HOOKS_MAX];
		uint32_t n = 0;
		int r;

		for (const struct wg_hook *h = hooks->first; h; h = h->next) {
			/* Who asks for no place is seen before the policy decides. */
			const char *before = h->before[0] || h->after[0] ? h->before : "filter";

			if (!(h->directions & 1u << direction))
				continue;
			if (n == WG_HOOKS_MAX - 2)
				return -ENOSPC;
			items[n++] = (struct item){ h->name,
						    before,
						    h->after,
						    { WG_STEP_HOOK, h->identity, h->fn, h->self },
						    false };
		}
		items[n++] =
			(struct item){ "filter", "route", "", { .kind = WG_STEP_FILTER }, false };
		items[n++] = (struct item){ "route", "", "", { .kind = WG_STEP_ROUTE }, false };
		r = sort(chain, direction, items, n);
		if (r < 0)
			return r;
	}
	return 0;
}

struct wg_chain *wg_hooks_chain(const struct wg_hooks *hooks)
{
	struct wg_chain *chain = calloc(1, sizeof(*chain));

	if (chain && build(hooks, chain) < 0) {
		free(chain);
		return NULL;
	}
	return chain;
}

static bool copy_name(char out[NAME_MAX_LEN], const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len >= NAME_MAX_LEN)
		return false;
	if (name)
		memcpy(out, name, len + 1);
	return true;
}

static bool name_taken(const struct wg_hooks *hooks, const char *name)
{
	if (!strcmp(name, "filter") || !strcmp(name, "route"))
		return true;
	for (const struct wg_hook *h = hooks->first; h; h = h->next) {
		if (!strcmp(h->name, name))
			return true;
	}
	return false;
}

static int check(const struct wg_hooks *hooks, const struct warren_hook *hook, struct wg_hook *copy,
		 struct warren_err *err)
{
	if (!hook->name || !hook->name[0] || !copy_name(copy->name, hook->name) ||
	    !copy_name(copy->before, hook->before) || !copy_name(copy->after, hook->after))
		return warren_fail(err, NULL, "a packet hook needs names of 1 to %d bytes",
				   NAME_MAX_LEN - 1);
	if (!hook->fn || !hook->directions || hook->directions & ~3u)
		return warren_fail(err, NULL, "packet hook \"%s\" has no function or no direction",
				   hook->name);
	if (hook->directions & 1u << WARREN_PKT_IN && !strcmp(copy->after, "route"))
		return warren_fail(err, NULL,
				   "packet hook \"%s\": nothing comes after \"route\" on the"
				   " way in, the packet is delivered there",
				   hook->name);
	if (name_taken(hooks, hook->name)) {
		warren_fail(err, NULL, "there is a packet hook \"%s\" already", hook->name);
		return -EEXIST;
	}
	return 0;
}

int wg_hooks_add(struct wg_hooks *hooks, struct warren_ctx *ctx, const struct warren_hook *hook,
		 struct wg_chain **chain, struct warren_err *err)
{
	struct wg_hook *copy = calloc(1, sizeof(*copy)), **last = &hooks->first;
	struct wg_chain *made = calloc(1, sizeof(*made));
	int r = copy && made ? check(hooks, hook, copy, err) : -ENOMEM;

	if (r < 0)
		goto fail;
	copy->ctx = ctx;
	copy->directions = hook->directions;
	copy->fn = hook->fn;
	copy->self = hook->self;
	copy->identity = ++hooks->identities;
	while (*last)
		last = &(*last)->next;
	*last = copy;
	r = build(hooks, made);
	if (r < 0) {
		*last = NULL;
		warren_fail(
			err, NULL,
			r == -ELOOP
				? "packet hook \"%s\" cannot be placed: its before and after "
				  "form a circle"
				: "packet hook \"%s\" cannot be placed: there are too many",
			hook->name);
		goto fail;
	}
	*chain = made;
	return 0;
fail:
	free(copy);
	free(made);
	return r;
}

int wg_hooks_remove(struct wg_hooks *hooks, const struct warren_ctx *ctx, struct wg_chain **chain)
{
	struct wg_hook **at = &hooks->first;

	while (*at) {
		struct wg_hook *hook = *at;

		if (hook->ctx != ctx) {
			at = &hook->next;
			continue;
		}
		*at = hook->next;
		free(hook);
	}
	*chain = wg_hooks_chain(hooks);
	return *chain ? 0 : -ENOMEM;
}

void wg_hooks_fini(struct wg_hooks *hooks)
{
	while (hooks->first) {
		struct wg_hook *hook = hooks->first;

		hooks->first = hook->next;
		free(hook);
	}
}

bool wg_hooks_has(const struct wg_hooks *hooks, const struct warren_ctx *ctx)
{
	for (const struct wg_hook *h = hooks->first; h; h = h->next) {
		if (h->ctx == ctx)
			return true;
	}
	return false;
}

uint64_t wg_hooks_last_of(const struct wg_hooks *hooks, const struct wg_chain *chain,
			  const struct warren_ctx *ctx, uint32_t direction)
{
	for (uint32_t i = chain->count[direction]; i-- > 0;) {
		for (const struct wg_hook *h = hooks->first; h; h = h->next) {
			if (h->ctx == ctx && h->identity == chain->step[direction][i].identity)
				return h->identity;
		}
	}
	return 0;
}

uint32_t wg_chain_after(const struct wg_chain *chain, uint32_t direction, uint64_t identity)
{
	for (uint32_t i = 0; chain && identity && i < chain->count[direction]; i++) {
		if (chain->step[direction][i].identity == identity)
			return i + 1;
	}
	return 0;
}

uint32_t wg_chain_after_filter(const struct wg_chain *chain, uint32_t direction)
{
	uint32_t i = 0;

	while (chain && i < chain->count[direction] &&
	       chain->step[direction][i].kind != WG_STEP_FILTER)
		i++;
	return i + 1;
}
