/*
 * Reference-counted objects, the payload of events. The counter is the plugin's memory, so it is
 * an ordinary integer in the header and atomic only here.
 */
#include <stdlib.h>
#include <syslog.h>

#include <warren/plugin.h>

#include "engine/log.h"

void warren_obj_init(struct warren_obj *obj, size_t size, void (*free_fn)(struct warren_obj *))
{
	obj->size = (uint32_t)size;
	obj->free = free_fn;
	__atomic_store_n(&obj->refs, 1, __ATOMIC_RELAXED);
}

void *warren_obj_ref(const void *ptr)
{
	struct warren_obj *obj = (struct warren_obj *)ptr;

	if (__atomic_fetch_add(&obj->refs, 1, __ATOMIC_RELAXED) == 0) {
		wcore_log(LOG_CRIT, "warren_obj_ref: object %p was freed already", ptr);
		abort();
	}
	return obj;
}

void warren_obj_unref(const void *ptr)
{
	struct warren_obj *obj = (struct warren_obj *)ptr;

	if (obj && __atomic_sub_fetch(&obj->refs, 1, __ATOMIC_ACQ_REL) == 0)
		obj->free(obj);
}
