/*
 * WATCH: "that file changed".
 *
 * Editors and package managers replace files by rename, so the folder is watched, not the file.
 * A burst of events is told once, when it has been quiet for a moment, or has lasted too long.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum {
	QUIET = 200000,			/* microseconds without an event before it is told */
	BURST = 1000000,		/* told at the latest this long after the first one */
	RETRY = 1000000,		/* looking for a folder that went away */
	WATCHES_MAX = 256,
};

static const uint32_t WATCH_MASK = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
				   IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
				   IN_ONLYDIR;

int mon_watch_folder(struct mon *mon, const char *path)
{
	AUTO(str_free) struct str folder = STR_INIT;
	const char *slash = strrchr(path, '/');

	str_addn(&folder, path, slash == path ? 1 : (size_t)(slash - path));
	return inotify_add_watch(mon->inotify, str_text(&folder), WATCH_MASK);
}

int mon_op_watch(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		 struct warren_err *err)
{
	const struct warren_priv_watch *item = req->items;
	const struct ytree_node *node = mon_config_scalar(req->config, item->key, item->index, NULL,
							  err);
	union mon_what what = { .watch = { .wd = -1 } };
	struct mon_thing *thing;
	uint32_t n = 0;

	if (!node)
		return -ENOENT;
	if (node->text[0] != '/' || !str_copy(what.watch.path, sizeof(what.watch.path), node->text))
		return wpriv_refuse(err, -EINVAL,
				    "\"%s\" is not an absolute path of at most %zu bytes",
				    node->text, sizeof(what.watch.path) - 1);
	list_for_each(thing, &mon->things.watches, what.watch.node)
		n++;
	if (n >= WATCHES_MAX)
		return wpriv_refuse(err, -ENOSPC, "%d files are watched already", WATCHES_MAX);
	what.watch.wd = mon_watch_folder(mon, what.watch.path);
	if (what.watch.wd == -1)
		return wpriv_refuse(err, -errno, "cannot watch the folder of %s: %s", node->text,
				    strerror(errno));
	thing = mon_thing_new(&mon->things, MON_WATCH, req->owner, &what);
	if (!thing)
		return wpriv_refuse(err, -ENOMEM, "no room for another watch");
	reply->handle = thing->id;
	return 0;
}

void mon_watch_end(struct mon *mon, struct mon_thing *ended)
{
	const struct mon_thing *thing;

	if (ended->what.watch.wd == -1)
		return;
	/* Files of one folder share its watch. */
	list_for_each(thing, &mon->things.watches, what.watch.node) {
		if (thing != ended && thing->what.watch.wd == ended->what.watch.wd)
			return;
	}
	inotify_rm_watch(mon->inotify, ended->what.watch.wd);
}

static void touch(struct mon_watch *watch, uint64_t now)
{
	if (watch->since == 0)
		watch->since = now;
	watch->due = now + QUIET < watch->since + BURST ? now + QUIET : watch->since + BURST;
}

static bool is_about(const struct mon_watch *watch, const char *name)
{
	const char *its = strrchr(watch->path, '/') + 1;

	return !*its || strcmp(its, name) == 0;
}

static void handle_event(struct mon *mon, const struct inotify_event *event, uint64_t now)
{
	bool folder_gone = event->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT);
	bool all = event->mask & IN_Q_OVERFLOW;
	struct mon_thing *thing;

	list_for_each(thing, &mon->things.watches, what.watch.node) {
		struct mon_watch *watch = &thing->what.watch;

		if (!all && watch->wd != event->wd)
			continue;
		if (all || folder_gone || (event->len > 0 && is_about(watch, event->name)))
			touch(watch, now);
		if (folder_gone)
			watch->wd = -1;
	}
	/* A folder that was moved away is watched on under its new name: not what was asked for. */
	if (event->mask & IN_MOVE_SELF)
		inotify_rm_watch(mon->inotify, event->wd);
}

void mon_watch_read(struct mon *mon)
{
	union {
		struct inotify_event align;
		char bytes[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	} buf;
	ssize_t n = read(mon->inotify, buf.bytes, sizeof(buf.bytes));
	uint64_t now = mon_now();

	for (char *at = buf.bytes; n > 0;) {
		const struct inotify_event *event = (const struct inotify_event *)at;
		size_t len = sizeof(*event) + event->len;

		handle_event(mon, event, now);
		at += len;
		n -= (ssize_t)len;
	}
}

static void tell(struct mon *mon, const struct mon_thing *thing)
{
	const struct wpriv_head head = { .type = WPRIV_EVENT };
	const struct wpriv_event event = { .op = WARREN_OP_WATCH, .handle = thing->id };

	if (thing->what.watch.resolver) {
		mon_resolver_look(mon);
		return;
	}
	mon_engine_send(mon, &head, &(struct wpriv_part){ &event, sizeof(event) }, 1, NULL, 0,
			false);
}

uint64_t mon_watch_tell(struct mon *mon, uint64_t now)
{
	struct mon_thing *thing;
	uint64_t next = 0;

	list_for_each(thing, &mon->things.watches, what.watch.node) {
		struct mon_watch *watch = &thing->what.watch;
		uint64_t at;

		if (watch->wd == -1) {
			watch->wd = mon_watch_folder(mon, watch->path);
			if (watch->wd != -1)
				touch(watch, now);
		}
		/* While the engine does not read, what happened is remembered, not queued. */
		if (watch->due != 0 && now >= watch->due && list_empty(&mon->engine.queue)) {
			watch->due = watch->since = 0;
			tell(mon, thing);
		}
		at = watch->due != 0 ? watch->due : watch->wd == -1 ? now + RETRY : 0;
		if (at != 0 && at < now)
			at = now + QUIET;
		if (at != 0 && (next == 0 || at < next))
			next = at;
	}
	return next;
}
