/*
 * The second source of packets, dataplane.h. There is one at a time. It is published by one store
 * and retired as any other object of the workers, its descriptor with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "device.h"
#include "tunio.h"
#include "worker.h"

static void source_free(void *ptr)
{
	struct wg_source *source = ptr;
	struct wg_device *dev = source->device;

	close(source->fd);
	free(source);
	wg_device_returned(dev);
}

static void withdraw(struct wg_device *dev)
{
	struct wg_source *source = atomic_exchange_explicit(&dev->source, NULL,
							    memory_order_acq_rel);

	if (!source)
		return;
	wg_device_retire(dev, source, source_free);
	/* A poll of the old queue ends. */
	if (dev->worker)
		wg_worker_wake(dev->worker);
}

static void owner_ended(void *opaque)
{
	withdraw(opaque);
}

int wg_source_take(struct wg_device *dev, struct warren_ctx *ctx,
		   const struct warren_source *source)
{
	struct wg_source *made = NULL;
	int r = -EBUSY;

	if (!atomic_load_explicit(&dev->source, memory_order_relaxed)) {
		r = wg_tun_prepare(source->fd);
		made = r < 0 ? NULL : calloc(1, sizeof(*made));
		if (!r && !made)
			r = -ENOMEM;
	}
	if (made) {
		*made = (struct wg_source){ dev, ctx, source->fd, source->fn, source->self, NULL };
		made->end = warren_on_end(ctx, owner_ended, dev);
		if (made->end) {
			atomic_store_explicit(&dev->source, made, memory_order_release);
			wg_worker_wake(dev->worker);
			return 0;
		}
		free(made);
		r = -ENOMEM;
	}
	close(source->fd);
	return r;
}

void wg_source_forget(struct wg_device *dev)
{
	struct wg_source *source = atomic_load_explicit(&dev->source, memory_order_relaxed);

	if (source)
		warren_release(source->end);
	withdraw(dev);
}
