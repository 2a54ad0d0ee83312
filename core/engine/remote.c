/*
 * Commands of plugins that live on another lane than the control socket.
 *
 * There are two replies: the client's, on the main lane, and one on the plugin's lane, which the
 * command writes to. Its lines travel as errands and are passed on as they are; that the client
 * hung up travels the other way. Each side touches only its own reply. What both know, struct
 * remote, is counted: by each of the two replies and by each errand under way.
 */
#include "engine/remote.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/reply.h"

struct message;

struct remote {
	atomic_uint refs;
	struct warren_command row;
	struct warren_ctx *ctx;		/* of the plugin; the structure outlives the plugin */
	struct warren_ctx *core;
	struct warren_reply *outer;	/* main lane; NULL: it ended */
	struct warren_reply *inner;	/* the plugin's lane; NULL: it ended */
	struct wcore_config *values;	/* until the command has them */
	struct message *last;		/* made beforehand, so that there is always an end */
	bool lost;			/* the plugin's lane: there was no memory for a line */
};

struct message {			/* from the plugin's lane to the main lane */
	struct remote *remote;
	bool end, lost;			/* the last one; some before it are missing */
	int exit;
	size_t len;
	char line[];
};

static void remote_unref(void *arg)
{
	struct remote *remote = arg;

	if (atomic_fetch_sub_explicit(&remote->refs, 1, memory_order_acq_rel) > 1)
		return;
	wcore_config_unref(remote->values);
	free(remote->last);
	free(remote);
}

static void remote_ref(struct remote *remote)
{
	atomic_fetch_add_explicit(&remote->refs, 1, memory_order_relaxed);
}

/*
 * ---- To the client ----
 */

static void outer_end(struct remote *remote, int exit, bool lost)
{
	struct warren_reply *outer = remote->outer;

	remote->outer = NULL;
	if (lost)
		warren_reply_end(outer, 1, "the answer is incomplete: there was no memory for it");
	else
		wcore_reply_forward_end(outer, exit);
	wcore_reply_unref(outer);
	remote_unref(remote);
}

static void message_drop(void *arg)
{
	struct message *message = arg;

	remote_unref(message->remote);
	free(message);
}

static void message_arrived(struct warren_ctx *core, void *arg)
{
	struct message *message = arg;
	struct remote *remote = message->remote;

	(void)core;
	if (remote->outer && message->end)
		outer_end(remote, message->exit, message->lost);
	else if (remote->outer)
		wcore_reply_forward(remote->outer, message->line, message->len);
	message_drop(message);
}

static void post_message(struct remote *remote, struct message *message)
{
	message->remote = remote;
	remote_ref(remote);
	if (wcore_ctx_post(remote->core, message_arrived, message, message_drop, "answer") < 0)
		message_drop(message);
}

static void inner_line(void *arg, const char *json, size_t len)
{
	struct remote *remote = arg;
	struct message *message = remote->lost ? NULL : calloc(1, sizeof(*message) + len + 1);

	if (!message) {
		remote->lost = true;
		return;
	}
	message->len = len;
	memcpy(message->line, json, len);
	post_message(remote, message);
}

static void inner_end(void *arg, struct warren_reply *reply, int exit)
{
	struct remote *remote = arg;
	struct message *message = TAKE_PTR(remote->last);

	(void)reply;
	remote->inner = NULL;
	message->end = true;
	message->lost = remote->lost;
	message->exit = exit;
	post_message(remote, message);
	remote_unref(remote);
}

static const struct wcore_reply_sink inner_sink = { .line = inner_line, .end = inner_end };

/*
 * ---- To the plugin ----
 */

static void remote_run(struct warren_ctx *ctx, void *arg)
{
	struct remote *remote = arg;

	if (remote->inner)
		wcore_cmd_call(&remote->row, ctx, TAKE_PTR(remote->values), remote->inner);
	remote_unref(remote);
}

/* The plugin has stopped since; its lane may have ended, so nothing else touches `inner`. */
static void remote_run_drop(void *arg)
{
	struct remote *remote = arg;

	if (remote->inner)
		warren_reply_end(remote->inner, 1, "the plugin of this command was stopped before "
				 "it could answer");
	remote_unref(remote);
}

static void inner_hang_up(struct warren_ctx *ctx, void *arg)
{
	struct remote *remote = arg;
	struct warren_reply *inner = remote->inner;

	(void)ctx;
	if (inner) {
		/* From now on the reply does not call us: its share of `remote` goes here. */
		remote->inner = NULL;
		wcore_reply_hang_up(inner);
		remote_unref(remote);
	}
	remote_unref(remote);
}

static void outer_hung_up(struct warren_reply *reply, void *arg)
{
	struct remote *remote = arg;

	(void)reply;
	remote_ref(remote);
	if (wcore_ctx_post(remote->ctx, inner_hang_up, remote, remote_unref, "cancel") < 0)
		remote_unref(remote);
	outer_end(remote, 1, false);
}

/*
 * ---- The call ----
 */

static struct remote *remote_new(const struct warren_command *row, struct warren_ctx *ctx,
				 struct wcore_config *values, struct warren_reply *outer)
{
	struct remote *remote = calloc(1, sizeof(*remote));

	if (!remote)
		return NULL;
	remote->last = calloc(1, sizeof(*remote->last) + 1);
	remote->inner = wcore_reply_new(&inner_sink, remote, wcore_reply_flags(outer),
					wcore_reply_width(outer));
	if (!remote->inner || !remote->last) {
		if (remote->inner)
			wcore_reply_unref(remote->inner);
		free(remote->last);
		free(remote);
		return NULL;
	}
	wcore_reply_name(remote->inner, row->path);
	wcore_reply_caller_copy(remote->inner, outer);
	wcore_reply_move_fds(outer, remote->inner);
	wcore_reply_ref(outer);
	atomic_init(&remote->refs, 3);		/* outer, inner, the errand */
	remote->row = *row;
	remote->ctx = ctx;
	remote->core = wcore_engine_ctx(ctx->engine);
	remote->outer = outer;
	remote->values = values;
	return remote;
}

void wcore_remote_call(const struct warren_command *row, struct warren_ctx *ctx,
		       struct wcore_config *values, struct warren_reply *reply)
{
	struct remote *remote = remote_new(row, ctx, values, reply);

	if (!remote) {
		wcore_config_unref(values);
		warren_reply_end(reply, 1, "there is no memory for the command");
		return;
	}
	warren_reply_on_cancel(reply, outer_hung_up, remote);
	if (wcore_ctx_post(ctx, remote_run, remote, remote_run_drop, row->path) < 0)
		remote_run_drop(remote);
}
