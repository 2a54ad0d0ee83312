/*
 * engine/priv_client.h - the engine's end of the conversation with the monitor
 *
 * Implements warren_priv(), warren_priv_wait(), warren_watch() and warren_conf_open_wait() of the
 * public headers over descriptor 3 (priv/wire.h), and the core's own part: settings at start,
 * files of a new configuration, heartbeats, orderly stop. Requests may come from any lane; answers
 * are received on lane main and handed to the lane of the context that asked.
 */
#ifndef WARREN_ENGINE_PRIV_CLIENT_H
#define WARREN_ENGINE_PRIV_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/priv.h>

#include "engine/conf.h"

struct wcore_engine;
struct wcore_priv;

#pragma GCC visibility push(default)

/* The files of one configuration. The descriptors belong to the receiver of the structure. */
struct wcore_priv_files {
	uint64_t generation;
	struct wcore_conf_source *sources;
	size_t count;
};
void wcore_priv_files_free(struct wcore_priv_files *files);	/* closes what is left */

/* What warrend's command line said. */
struct wcore_priv_settings {
	bool privsep;
	int log_level;			/* LOG_ERR ... LOG_DEBUG; -1: not given */
	const char *log_format;		/* "text", "json", "auto"; NULL: not given */
	const char *state;		/* the folder that the engine may write */
	const char *plugin_dir, *config, *socket;
};

/* Called on lane main. */
struct wcore_priv_handlers {
	/*
	 * New files (takes what is in @files): check and apply them, now or later, then call
	 * wcore_priv_reloaded().
	 */
	void (*reload)(struct wcore_engine *engine, struct wcore_priv_files *files);
	/* End in order, then exit with status 0; the monitor waits some seconds, then kills. */
	void (*stop)(struct wcore_engine *engine);
	/* The monitor is gone: end at once, nothing can be asked any more. */
	void (*lost)(struct wcore_engine *engine);
};

/*
 * Takes @fd and waits for the monitor's first message: before there is a loop. NULL with a
 * sentence. The settings live as long as the result; the control socket and the files are there
 * to be taken once (the descriptors are the caller's then).
 */
struct wcore_priv *wcore_priv_attach(struct wcore_engine *engine, int fd,
				     const struct wcore_priv_handlers *handlers,
				     struct warren_err *err);
void wcore_priv_free(struct wcore_priv *priv);
const struct wcore_priv_settings *wcore_priv_settings(const struct wcore_priv *priv);
int wcore_priv_take_control(struct wcore_priv *priv);
void wcore_priv_take_files(struct wcore_priv *priv, struct wcore_priv_files *files);

/*
 * Begins to watch the descriptor on the loop of lane main and to send heartbeats; call it as soon
 * as that loop exists, before plugins start. 0 or -errno.
 */
int wcore_priv_start(struct wcore_priv *priv);

/* All plugins that could start have started: @status is a line for the service manager. */
void wcore_priv_ready(struct wcore_priv *priv, const char *status);

/*
 * Asks the monitor to read the files again, for `warren reload`. @done is called once with 0 or
 * -errno and what was wrong (or NULL), after the `reload` handler's work or instead of it.
 */
typedef void wcore_priv_reload_fn(int result, const char *text, void *arg);
int wcore_priv_reload(struct wcore_priv *priv, wcore_priv_reload_fn *done, void *arg);
/*
 * Asks the monitor to lay @text (YAML) on the overlay for the user at the other end of @client, and
 * to read the files again. @flags: WPRIV_OVERLAY_. Copies both; @done as above.
 */
int wcore_priv_overlay(struct wcore_priv *priv, int client, const char *text, uint32_t flags,
		       wcore_priv_reload_fn *done, void *arg);
/* The caller of wcore_priv_reload() is gone: forget @arg. */
void wcore_priv_reload_forget(struct wcore_priv *priv, void *arg);
/*
 * The outcome of the `reload` handler: 0, both sides are at the new generation; else both are at
 * the old one, and @text says why. The monitor logs it; everybody who asked for it is told.
 */
void wcore_priv_reloaded(struct wcore_priv *priv, int result, const char *text);
/*
 * The files whose key paths requests mean from now on, while a reload is tried and when it is
 * rolled back; wcore_priv_reloaded() settles it. 0 changes nothing.
 */
void wcore_priv_use(struct wcore_priv *priv, uint64_t generation);

/* A wcore_secret_fn for wcore_config_bind(); @arg is the struct wcore_priv. Lane main. */
int wcore_priv_open_secret(const struct wcore_secret_ask *ask, void *arg);

/*
 * A context ends: its answers are dropped, its watches end, and the monitor undoes what it asked
 * for. Called once by the core, on the context's lane, after its `fini`.
 */
void wcore_priv_owner_end(struct wcore_priv *priv, struct warren_ctx *ctx);

#pragma GCC visibility pop

#endif
