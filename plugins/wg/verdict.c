/*
 * The verdict slot. The policy that workers see follows from two facts: who holds the slot, and
 * whether the map selects the built-in policy. The built-in one accepts: what it stands for,
 * allowed IPs, was checked when the packet was decrypted, or decides where it goes.
 */
#include "verdict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "device.h"

static void policy_free(void *ptr)
{
	struct wg_policy *policy = ptr;

	if (policy->free)
		policy->free(policy->table);
	free(policy);
}

static void publish(struct wg_device *dev, struct wg_policy *policy)
{
	struct wg_policy *old = atomic_exchange_explicit(&dev->policy, policy,
							 memory_order_acq_rel);

	if (old)
		warren_retire(dev->ctx, old, policy_free);
}

static void accept_all(void *self, uint32_t direction, struct warren_packet *pkt, uint32_t n,
		       uint64_t now)
{
	/* Packets come with the verdict ACCEPT. */
	(void)self;
	(void)direction;
	(void)pkt;
	(void)n;
	(void)now;
}

static struct wg_policy *policy_new(const struct warren_verdict *verdict)
{
	struct wg_policy *policy = calloc(1, sizeof(*policy));

	if (!policy)
		return NULL;
	policy->fn = verdict->fn;
	policy->table = verdict->table;
	policy->free = verdict->free;
	snprintf(policy->name, sizeof(policy->name), "%s", verdict->name ? verdict->name : "?");
	return policy;
}

/* What counts while nobody holds the slot. Out of memory empties it: closed, not open. */
static int publish_default(struct wg_device *dev)
{
	static const struct warren_verdict builtin = { .fn = accept_all, .name = "allowed-ips" };
	struct wg_policy *policy = dev->slot.builtin ? policy_new(&builtin) : NULL;

	publish(dev, policy);
	return dev->slot.builtin && !policy ? -ENOMEM : 0;
}

static void drop_args_of(struct wg_device *dev, const struct warren_ctx *ctx)
{
	struct wg_peer *peer;

	for (uint32_t at = 0; (peer = wg_peers_next(&dev->peers, &at));) {
		struct wg_arg *arg = atomic_load_explicit(&peer->arg, memory_order_relaxed);

		if (arg && arg->ctx == ctx)
			wg_peer_set_arg(peer, NULL);
	}
}

static void holder_ended(void *opaque)
{
	struct wg_device *dev = opaque;
	struct warren_ctx *ctx = dev->slot.holder;

	dev->slot.holder = NULL;
	dev->slot.end = NULL;
	publish_default(dev);
	drop_args_of(dev, ctx);
}

/* The slot has one holder; its peer arguments go with it. */
static int hold(struct wg_device *dev, struct warren_ctx *ctx)
{
	if (dev->slot.holder == ctx)
		return 0;
	if (dev->slot.holder)
		return -EBUSY;
	dev->slot.end = warren_on_end(ctx, holder_ended, dev);
	if (!dev->slot.end)
		return -ENOMEM;
	dev->slot.holder = ctx;
	return 0;
}

int wg_verdict_set(struct wg_device *dev, struct warren_ctx *ctx,
		   const struct warren_verdict *verdict)
{
	struct wg_policy *policy;
	int r;

	if (!verdict->fn)
		return -EINVAL;
	if (dev->slot.holder && dev->slot.holder != ctx)
		return -EBUSY;
	policy = policy_new(verdict);
	if (!policy)
		return -ENOMEM;
	r = hold(dev, ctx);
	if (r < 0) {
		free(policy); /* on error the table stays the caller's */
		return r;
	}
	publish(dev, policy);
	return 0;
}

int wg_verdict_builtin(struct wg_device *dev, bool selected)
{
	if (dev->slot.builtin == selected)
		return 0;
	dev->slot.builtin = selected;
	return dev->slot.holder ? 0 : publish_default(dev);
}

int wg_verdict_arg_set(struct wg_device *dev, struct warren_ctx *ctx, const uint8_t peer_key[32],
		       void *arg, void (*free_fn)(void *))
{
	struct wg_peer *peer = wg_peers_find(&dev->peers, peer_key);
	struct wg_arg *made = NULL;

	if (!peer)
		return -ENOENT;
	if (dev->slot.holder != ctx)
		return -EBUSY; /* only who holds the slot has a use for it */
	if (arg) {
		made = calloc(1, sizeof(*made));
		if (!made)
			return -ENOMEM;
		made->ctx = ctx;
		made->arg = arg;
		made->free = free_fn;
	}
	wg_peer_set_arg(peer, made);
	return 0;
}

void wg_verdict_fini(struct wg_device *dev)
{
	if (dev->slot.end)
		warren_release(dev->slot.end);
	dev->slot.end = NULL;
	publish(dev, NULL);
}

const char *wg_verdict_text(const struct wg_device *dev)
{
	const struct wg_policy *policy = atomic_load_explicit(&dev->policy, memory_order_relaxed);

	if (!policy)
		return "no policy: every inner packet is dropped";
	if (!dev->slot.holder)
		return "no policy: every peer reaches this host";
	return policy->name;
}
