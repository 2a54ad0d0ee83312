/*
 * The verdict slot: who decides about inner packets. Workers see one immutable policy, or NULL:
 * drop all. The lane swaps it; a provider that comes, changes its table or goes never leaves a
 * moment in which packets pass undecided.
 */
#ifndef WG_VERDICT_H
#define WG_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/packet.h>
#include <warren/plugin.h>
#include <warren/service/dataplane.h>

struct wg_device;

struct wg_policy {
	warren_packet_fn *fn;
	void *table;
	void (*free)(void *table);
	char name[32];
};

struct wg_slot {			/* lane; zeroed: empty */
	struct warren_ctx *holder;
	void *end;			/* of warren_on_end */
	bool builtin;			/* the map selects the built-in policy */
};

/* Lane. As warren_dataplane_ops.verdict_set. */
int wg_verdict_set(struct wg_device *dev, struct warren_ctx *ctx,
		   const struct warren_verdict *verdict);
/* Lane. What the map says about the built-in policy; counts while nobody holds the slot. */
int wg_verdict_builtin(struct wg_device *dev, bool selected);
/* Lane. As warren_dataplane_ops.peer_arg_set. */
int wg_verdict_arg_set(struct wg_device *dev, struct warren_ctx *ctx, const uint8_t peer[32],
		       void *arg, void (*free_fn)(void *));
/* Lane, at the end. */
void wg_verdict_fini(struct wg_device *dev);

/* Lane. One line for `status`: who decides. */
const char *wg_verdict_text(const struct wg_device *dev);

#endif
