/*
 * An answer that several plugins write, each on its own lane.
 *
 * A plugin on the main lane writes into the answer itself. One on another lane writes into a reply
 * of its own there, whose lines come back as an errand and are copied into the answer. Either may
 * take several turns of its lane. A plugin that stops in between has no part, or not all of it.
 */
#include "engine/visit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/plugin_load.h"
#include "engine/reply.h"

struct tour {
	struct wcore_engine *engine;
	const struct wcore_visit *visit;
	void *arg;
	struct warren_reply *reply;
	const char **names;		/* of plugins; they live as long as the process */
	size_t count, at;
};

/* A visit to another lane, or one that takes more than one turn. */
struct guest {
	struct tour *tour;
	const char *name;
	struct warren_reply *reply;	/* NULL, until there is one there; the answer itself */
	bool here;
	uint32_t flags, width;
	bool mute;			/* nothing worth a line was said */
	struct str lines;
};

static void tour_free(struct tour *tour)
{
	wcore_reply_unref(tour->reply);
	free(tour->names);
	free(tour);
}

static void tour_go_on(struct tour *tour);

static void leave(const struct tour *tour, const char *name, struct warren_reply *reply)
{
	if (!wcore_reply_leave(reply))
		wcore_log(LOG_ERR, "plugin %s wrote its part of `%s` wrongly (a programming error)",
			  name, tour->visit->what);
}

/*
 * ---- Guests ----
 */

static void guest_line(void *arg, const char *json, size_t len)
{
	struct guest *guest = arg;

	if (guest->mute)
		return;
	str_addn(&guest->lines, json, len);
	str_addc(&guest->lines, '\n');
}

static void guest_end(void *arg, struct warren_reply *reply, int exit)
{
	(void)arg;
	(void)reply;
	(void)exit;
}

static const struct wcore_reply_sink guest_sink = { .line = guest_line, .end = guest_end };

static void copy_line(struct guest *guest, const char *line, size_t len)
{
	json_t *json = json_loadb(line, len, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "text"));
	json_t *data = json_object_get(json_object_get(json, "data"), guest->name);
	AUTO(auto_free) char *dump = NULL;

	if (text)
		warren_reply_text(guest->tour->reply, "%s", text);
	if (data)
		dump = json_dumps(data, JSON_COMPACT);
	if (dump)
		wcore_reply_json(guest->tour->reply, guest->name, dump);
	json_decref(json);
}

/* Back on the main lane. */
static void guest_back(struct warren_ctx *ctx, void *arg)
{
	struct guest *guest = arg;
	struct tour *tour = guest->tour;
	const char *at = str_text(&guest->lines), *nl;

	(void)ctx;
	if (guest->here)
		leave(tour, guest->name, tour->reply);
	for (; (nl = strchr(at, '\n')); at = nl + 1)
		copy_line(guest, at, (size_t)(nl - at));
	str_free(&guest->lines);
	free(guest);
	tour_go_on(tour);
}

/* The main lane ends: so did the reply. */
static void guest_lost(void *arg)
{
	struct guest *guest = arg;

	if (guest->tour->visit->drop)
		guest->tour->visit->drop(guest->tour->arg);
	tour_free(guest->tour);
	str_free(&guest->lines);
	free(guest);
}

static void guest_return(void *arg)
{
	struct guest *guest = arg;
	struct warren_ctx *core = wcore_engine_ctx(guest->tour->engine);

	if (wcore_ctx_post(core, guest_back, guest, guest_lost, guest->tour->visit->what) < 0)
		guest_lost(guest);
}

/* All is written, or nobody is there any more to write. */
static void guest_end_visit(void *arg)
{
	struct guest *guest = arg;

	if (!guest->here && guest->reply) {
		leave(guest->tour, guest->name, guest->reply);
		guest->mute = !warren_reply_json(guest->reply) &&
			      !wcore_reply_has_text(guest->reply);
		warren_reply_end(guest->reply, 0, NULL);
	}
	guest_return(guest);
}

static void guest_more(struct warren_ctx *ctx, void *arg)
{
	struct guest *guest = arg;

	if (!guest->reply || !wcore_reply_more(guest->reply, ctx) ||
	    wcore_ctx_post(ctx, guest_more, guest, guest_end_visit, guest->tour->visit->what) < 0)
		guest_end_visit(guest);
}

static void guest_visit(struct warren_ctx *ctx, void *arg)
{
	struct guest *guest = arg;

	guest->reply = wcore_reply_new(&guest_sink, guest, guest->flags, guest->width);
	if (guest->reply) {
		wcore_reply_enter(guest->reply, guest->name, guest->tour->visit->heading);
		guest->tour->visit->run(ctx, guest->reply, guest->tour->arg);
	}
	guest_more(ctx, guest);
}

static bool visit_there(struct tour *tour, const struct wcore_instance *p)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	if (!guest)
		return false;
	guest->tour = tour;
	guest->name = p->plugin->desc.name;
	guest->flags = warren_reply_json(tour->reply) ? WCORE_REPLY_JSON : WCORE_REPLY_COLOUR;
	guest->width = wcore_reply_width(tour->reply);
	if (wcore_ctx_post(p->ctx, guest_visit, guest, guest_return, tour->visit->what) == 0)
		return true;
	free(guest);
	return false;
}

/*
 * ---- On the main lane ----
 */

/* False: more is written later. */
static bool visit_here(struct tour *tour, const struct wcore_instance *p)
{
	uint64_t entered = wcore_ctx_enter(p->ctx);
	struct guest *guest = NULL;

	wcore_reply_enter(tour->reply, p->ctx->name, tour->visit->heading);
	tour->visit->run(p->ctx, tour->reply, tour->arg);
	wcore_ctx_leave(p->ctx, entered, tour->visit->what);
	if (wcore_reply_wants_more(tour->reply))
		guest = calloc(1, sizeof(*guest));
	if (guest) {
		*guest = (struct guest){
			.tour = tour, .name = p->ctx->name, .reply = tour->reply, .here = true,
		};
		if (wcore_ctx_post(p->ctx, guest_more, guest, guest_end_visit,
				   tour->visit->what) == 0)
			return false;
		free(guest);
	}
	leave(tour, p->ctx->name, tour->reply);
	return true;
}

static void tour_go_on(struct tour *tour)
{
	while (tour->at < tour->count) {
		const struct wcore_instance *p =
			wcore_engine_plugin(tour->engine, tour->names[tour->at++]);

		if (!p || p->state != WCORE_PLUGIN_UP || !tour->visit->wanted(p, tour->arg))
			continue;
		if (wcore_lane_here(p->ctx->lane) ? !visit_here(tour, p) : visit_there(tour, p))
			return;
	}
	tour->visit->done(tour->reply, tour->arg);
	tour_free(tour);
}

int wcore_visit_start(struct wcore_engine *engine, const struct wcore_visit *visit, void *arg,
		      struct warren_reply *reply, struct warren_err *err)
{
	const struct wcore_instance *p;
	struct tour *tour = calloc(1, sizeof(*tour));
	size_t count = 0;

	for (p = wcore_engine_plugins(engine); p; p = p->next)
		count++;
	if (tour)
		tour->names = calloc(count + 1, sizeof(*tour->names));
	if (!tour || !tour->names) {
		free(tour);
		err_add(err, NULL, "there is no memory for the answer");
		return -ENOMEM;
	}
	for (p = wcore_engine_plugins(engine); p; p = p->next)
		tour->names[tour->count++] = p->plugin->desc.name;
	tour->engine = engine;
	tour->visit = visit;
	tour->arg = arg;
	tour->reply = reply;
	wcore_reply_ref(reply);
	tour_go_on(tour);
	return WARREN_PENDING;
}
