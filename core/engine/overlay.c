/*
 * warren_overlay_set(): a command's changes become one YAML text, which the monitor lays on the
 * overlay for the user of the command. The engine only asks and then reloads as ever.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/client.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/priv_client.h"
#include "engine/reply.h"
#include "priv/wire.h"

struct change {
	struct warren_ctx *ctx;
	struct wcore_priv *priv;
	warren_overlay_fn *done;
	void *arg;
	void *hook;			/* on the end of ctx */
};

static void context_ended(void *arg)
{
	struct change *change = arg;

	wcore_priv_reload_forget(change->priv, change);
	free(change);
}

static void reloaded(int result, const char *text, void *arg)
{
	struct change change = *(struct change *)arg;

	warren_release(change.hook);
	free(arg);
	change.done(change.ctx, result, result < 0 && (!text || !text[0]) ? strerror(-result) :
		    text, change.arg);
}

/* Puts @value (taken) at @key, a path with dots, into @root. */
static int put(json_t *root, const char *key, json_t *value)
{
	json_t *map = root;

	for (const char *dot; (dot = strchr(key, '.')); key = dot + 1) {
		json_t *below = json_object_getn(map, key, (size_t)(dot - key));

		if (!below) {
			below = json_object();
			if (json_object_setn_new(map, key, (size_t)(dot - key), below)) {
				json_decref(value);
				return -ENOMEM;
			}
		}
		map = below;
	}
	return json_object_set_new(map, key, value) ? -ENOMEM : 0;
}

/* For free(); NULL: no memory, or a value is no JSON. */
static char *compose(const struct warren_overlay_change *changes, uint32_t n)
{
	json_t *root = json_object();
	char *text = NULL;
	uint32_t i;

	for (i = 0; root && i < n; i++) {
		json_t *value = changes[i].value ?
				json_loads(changes[i].value, JSON_DECODE_ANY, NULL) : json_null();

		if (!value || put(root, changes[i].key, value))
			break;
	}
	if (root && i == n)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

int warren_overlay_set(struct warren_ctx *ctx, struct warren_reply *reply,
		       const struct warren_overlay_change *changes, uint32_t n, uint32_t flags,
		       warren_overlay_fn *done, void *arg, struct warren_err *err)
{
	struct wcore_priv *priv = wcore_engine_priv(ctx->engine);
	int client = wcore_client_fd(reply), result = -ENOMEM;
	AUTO(auto_free) char *text = NULL;
	struct change *change;

	if (!priv || client < 0 || !wcore_lane_here(wcore_engine_main(ctx->engine)))
		return warren_fail(err, NULL, "settings are changed for clients of the control "
				   "socket only, by a daemon with a monitor");
	text = compose(changes, n);
	change = calloc(1, sizeof(*change));
	if (text && change) {
		*change = (struct change){ .ctx = ctx, .priv = priv, .done = done, .arg = arg };
		change->hook = warren_on_end(ctx, context_ended, change);
	}
	if (change && change->hook)
		result = wcore_priv_overlay(priv, client, text, flags & WARREN_OVERLAY_OVERRIDE ?
					    WPRIV_OVERLAY_OVERRIDE : 0, reloaded, change);
	if (result == 0)
		return 0;
	if (change)
		warren_release(change->hook);
	free(change);
	warren_fail(err, NULL, "cannot ask the monitor: %s", strerror(-result));
	return result;
}
