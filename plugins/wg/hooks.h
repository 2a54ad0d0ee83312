/*
 * Packet hooks: what the lane registers, and the chain that the workers run. The chain is built
 * anew at each change, with the steps of each direction in order, and swapped as a whole.
 */
#ifndef WG_HOOKS_H
#define WG_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/packet.h>
#include <warren/plugin.h>

enum { WG_HOOKS_MAX = 32 };		/* per direction, both anchors included */

enum { WG_STEP_HOOK = 0, WG_STEP_FILTER, WG_STEP_ROUTE };
struct wg_step {
	uint32_t kind;
	uint64_t identity;		/* of the hook; a worker finds its place again by it */
	warren_packet_fn *fn;		/* HOOK */
	void *self;
};

struct wg_chain {			/* immutable; ends with plain free() */
	uint32_t count[2];		/* by direction */
	struct wg_step step[2][WG_HOOKS_MAX];
};

struct wg_hook;
struct wg_hooks {			/* zeroed: none */
	struct wg_hook *first;
	uint64_t identities;
};

/*
 * Copies @hook. *@chain gets the new chain; the caller publishes it and retires the old one.
 * -EEXIST, -ELOOP, -EINVAL (a name or direction that cannot be), -ENOSPC, -ENOMEM with a sentence.
 */
int wg_hooks_add(struct wg_hooks *hooks, struct warren_ctx *ctx, const struct warren_hook *hook,
		 struct wg_chain **chain, struct warren_err *err);
/* Removes the hooks of @ctx. The same chain contract; it cannot fail but for -ENOMEM. */
int wg_hooks_remove(struct wg_hooks *hooks, const struct warren_ctx *ctx, struct wg_chain **chain);
/* The chain without hooks. NULL: no memory. */
struct wg_chain *wg_hooks_chain(const struct wg_hooks *hooks);
void wg_hooks_fini(struct wg_hooks *hooks);

bool wg_hooks_has(const struct wg_hooks *hooks, const struct warren_ctx *ctx);
/* Identity of the last hook of @ctx in @direction; 0: it has none. */
uint64_t wg_hooks_last_of(const struct wg_hooks *hooks, const struct wg_chain *chain,
			  const struct warren_ctx *ctx, uint32_t direction);
/* Worker. Index of the step after the hook @identity; 0 if it is gone. */
uint32_t wg_chain_after(const struct wg_chain *chain, uint32_t direction, uint64_t identity);
/* Worker. Index of the step after the verdict slot, which is always there. */
uint32_t wg_chain_after_filter(const struct wg_chain *chain, uint32_t direction);

#endif
