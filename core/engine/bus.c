/*
 * Topics and subscribers. A publication is one errand per subscriber, queued under the bus's mutex,
 * so that all lanes see the publications of a topic in the same order. Nothing of a plugin is
 * called under that mutex: the last reference to an object is always dropped outside it.
 */
#include "engine/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

struct subscriber {
	struct subscriber *next;	/* in the order of subscription */
	struct warren_ctx *ctx;
	const char *topic;
	warren_event_fn *fn;
	void *arg;
};

struct topic {
	struct topic *next;
	struct subscriber *subscribers;
	void *last;			/* of a sticky topic: one reference */
	struct warren_ctx *by;		/* who published it */
	char name[];
};

struct event {
	struct wcore_post post;
	struct subscriber *to;		/* lives as long as its context takes errands */
	void *obj;			/* one reference */
	struct event *next;
};

struct wcore_bus {
	pthread_mutex_t mutex;
	struct topic *topics;
};

struct wcore_bus *wcore_bus_new(void)
{
	struct wcore_bus *bus = calloc(1, sizeof(*bus));

	if (bus)
		pthread_mutex_init(&bus->mutex, NULL);
	return bus;
}

void wcore_bus_free(struct wcore_bus *bus)
{
	struct topic *t;

	if (!bus)
		return;
	while ((t = bus->topics)) {
		bus->topics = t->next;
		warren_obj_unref(t->last);
		free(t);
	}
	pthread_mutex_destroy(&bus->mutex);
	free(bus);
}

static struct topic *topic_get(struct wcore_bus *bus, const char *name)
{
	struct topic **at, *t;
	size_t size = strlen(name) + 1;

	for (at = &bus->topics; (t = *at); at = &t->next)
		if (strcmp(t->name, name) == 0)
			return t;
	t = calloc(1, sizeof(*t) + size);
	if (!t)
		return NULL;
	memcpy(t->name, name, size);
	*at = t;
	return t;
}

static void event_free(struct event *event)
{
	warren_obj_unref(event->obj);
	free(event);
}

static void event_run(struct wcore_post *post)
{
	struct event *event = CONTAINER_OF(post, struct event, post);
	struct warren_ctx *ctx = post->ctx;
	const char *topic = event->to->topic;
	uint64_t entered = wcore_ctx_enter(ctx);

	event->to->fn(ctx, topic, event->obj, event->to->arg);
	wcore_ctx_leave(ctx, entered, topic);
	event_free(event);
}

static void event_drop(struct wcore_post *post)
{
	event_free(CONTAINER_OF(post, struct event, post));
}

static struct event *event_new(struct subscriber *to, void *obj)
{
	struct event *event = calloc(1, sizeof(*event));

	if (!event)
		return NULL;
	*event = (struct event){
		.post = { .ctx = to->ctx, .run = event_run, .drop = event_drop },
		.to = to, .obj = warren_obj_ref(obj),
	};
	return event;
}

/* The caller holds a reference to the object of its own, so this drops no last one. */
static void event_send(struct event *event)
{
	if (wcore_lane_post(event->post.ctx->lane, &event->post))
		event_free(event);
}

int warren_subscribe(struct warren_ctx *ctx, const char *name, warren_event_fn *fn, void *arg)
{
	struct wcore_bus *bus = wcore_engine_bus(ctx->engine);
	struct subscriber *sub, **at;
	struct event *event = NULL;
	struct topic *topic;
	int rc = -ENOMEM;

	wcore_ctx_assert_open(ctx, "warren_subscribe");
	sub = calloc(1, sizeof(*sub));
	if (!sub)
		return -ENOMEM;
	pthread_mutex_lock(&bus->mutex);
	topic = topic_get(bus, name);
	if (!topic)
		goto out;
	*sub = (struct subscriber){ .ctx = ctx, .topic = topic->name, .fn = fn, .arg = arg };
	if (topic->last) {
		event = event_new(sub, topic->last);
		if (!event)
			goto out;
		event_send(event);
	}
	for (at = &topic->subscribers; *at; at = &(*at)->next)
		;
	*at = sub;
	sub = NULL;
	rc = 0;
out:
	pthread_mutex_unlock(&bus->mutex);
	free(sub);
	return rc;
}

static bool find_row(const struct warren_ctx *ctx, const char *name, struct warren_topic *row)
{
	for (uint32_t i = 0; ctx->plugin &&
	     wcore_table_row(&ctx->plugin->desc.topics, i, row, sizeof(*row)); i++)
		if (strcmp(row->name, name) == 0)
			return true;
	return false;
}

/* One event per subscriber, or none at all. */
static int make_events(struct topic *topic, void *obj, struct event **out)
{
	struct event **tail = out, *event;

	*out = NULL;
	for (struct subscriber *sub = topic->subscribers; sub; sub = sub->next) {
		event = event_new(sub, obj);
		if (!event)
			break;
		*tail = event;
		tail = &event->next;
		if (!sub->next)
			return 0;
	}
	if (!topic->subscribers)
		return 0;
	while ((event = *out)) {
		*out = event->next;
		event_free(event);
	}
	return -ENOMEM;
}

int warren_publish_take(struct warren_ctx *ctx, const char *name, void *obj)
{
	struct wcore_bus *bus = wcore_engine_bus(ctx->engine);
	struct event *events, *event;
	struct warren_topic row;
	struct topic *topic;
	void *old = NULL;
	int rc = -ENOMEM;

	wcore_ctx_assert_open(ctx, "warren_publish_take");
	if (!find_row(ctx, name, &row)) {
		wcore_log(LOG_ERR, "plugin `%s` published `%s`, which is no row of its topics",
			  ctx->name, name);
		warren_obj_unref(obj);
		return -ENOENT;
	}
	pthread_mutex_lock(&bus->mutex);
	topic = topic_get(bus, name);
	if (topic)
		rc = make_events(topic, obj, &events);
	if (!rc) {
		if (row.flags & WARREN_STICKY) {
			old = topic->last;
			topic->last = warren_obj_ref(obj);
			topic->by = ctx;
		}
		while ((event = events)) {
			events = event->next;
			event_send(event);
		}
	}
	pthread_mutex_unlock(&bus->mutex);
	warren_obj_unref(old);
	warren_obj_unref(obj);
	return rc;
}

/* With the mutex held. Returns a sticky object of @ctx that is to be dropped, or NULL. */
static void *topic_forget(struct topic *topic, struct warren_ctx *ctx)
{
	struct subscriber **at = &topic->subscribers, *sub;
	void *last = NULL;

	while ((sub = *at)) {
		if (sub->ctx == ctx) {
			*at = sub->next;
			free(sub);
		} else {
			at = &sub->next;
		}
	}
	if (topic->last && topic->by == ctx) {
		last = topic->last;
		topic->last = NULL;
		topic->by = NULL;
	}
	return last;
}

void wcore_bus_forget(struct wcore_bus *bus, struct warren_ctx *ctx)
{
	struct topic *topic;
	void *last;

	pthread_mutex_lock(&bus->mutex);
	for (topic = bus->topics; topic; topic = topic->next) {
		last = topic_forget(topic, ctx);
		if (!last)
			continue;
		/* Topics are never removed, so the place in the list is still good. */
		pthread_mutex_unlock(&bus->mutex);
		warren_obj_unref(last);
		pthread_mutex_lock(&bus->mutex);
	}
	pthread_mutex_unlock(&bus->mutex);
}
