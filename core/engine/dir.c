/*
 * Folders: struct warren_dir of priv.h. Two kinds with one face: the plugin's own, whose files the
 * engine's user has, and the operator's, for which the monitor starts a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/beneath.h"
#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/state.h"
#include "priv/check.h"
#include "priv/wire.h"

enum { ENTRIES = 65536, TRIES = 100 };
static const uint64_t try_usec = 50000;	/* the monitor has few children at a time */

struct warren_dir {
	struct warren_ctx *ctx;
	int fd;				/* of the plugin's own; -1: the operator's */
	char key[WARREN_PRIV_KEY], owner[WARREN_PRIV_KEY];
	uint32_t index;
	bool closed;			/* nobody waits any more */
	struct list ops;
};

struct op {
	struct list link;
	struct warren_dir *dir;
	int fd;				/* a copy of the folder's */
	struct warren_priv_file req;
	warren_dir_fn *done;
	void *arg;
	struct warren_timer *again;
	uint32_t tries;
	/* What came of it. */
	int result, file;
	char why[256];
	struct warren_dir_entry *entries;
	uint32_t n_entries;
};

/* But for its timer, which is the context's. */
static void op_destroy(struct op *op)
{
	for (uint32_t i = 0; i < op->n_entries; i++)
		free((void *)(uintptr_t)op->entries[i].name);
	free(op->entries);
	auto_close(&op->fd);
	auto_close(&op->file);
	list_del(&op->link);
	free(op);
}

static void op_free(struct op *op)
{
	warren_release(op->again);
	op_destroy(op);
}

static void tell(struct warren_ctx *ctx, struct op *op)
{
	const struct warren_dir_answer answer = {
		.size = sizeof(answer), .result = op->result,
		.why = op->result ? op->why : NULL, .fd = op->file,
		.entries = op->entries, .n_entries = op->n_entries,
	};

	if (!op->dir->closed) {
		op->file = -1;
		op->done(ctx, &answer, op->arg);
	}
	op_free(op);
}

static int add_entry(struct op *op, const char *name, uint64_t size, int64_t mtime, uint32_t mode)
{
	struct warren_dir_entry *more;

	if (op->n_entries == ENTRIES)
		return -E2BIG;
	/* Grows with each power of two. */
	if ((op->n_entries & (op->n_entries + 1)) == 0) {
		more = reallocarray(op->entries, 2 * (size_t)op->n_entries + 2, sizeof(*more));
		if (!more)
			return -ENOMEM;
		op->entries = more;
	}
	op->entries[op->n_entries] = (struct warren_dir_entry){
		.name = strdup(name), .size = size, .mtime = mtime, .mode = mode,
	};
	if (!op->entries[op->n_entries].name)
		return -ENOMEM;
	op->n_entries++;
	return 0;
}

/*
 * ---- The plugin's own ----
 */

static int list_one(void *arg, const char *name, const struct stat *st)
{
	return add_entry(arg, name, (uint64_t)st->st_size,
			 (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000,
			 st->st_mode);
}

static void job(void *arg)
{
	struct op *op = arg;
	const struct warren_priv_file *req = &op->req;

	switch (req->verb) {
	case WARREN_FILE_OPEN:
	case WARREN_FILE_CREATE:
		op->file = beneath_file(op->fd, req->name, req->verb == WARREN_FILE_CREATE,
					req->mode);
		op->result = op->file < 0 ? op->file : 0;
		op->file = op->file < 0 ? -1 : op->file;
		break;
	case WARREN_FILE_RENAME:
		op->result = beneath_rename(op->fd, req->name, req->to,
					    req->flags & WARREN_FILE_ALONE);
		break;
	case WARREN_FILE_UNLINK:
		op->result = beneath_unlink(op->fd, req->name);
		break;
	default:
		op->result = beneath_list(op->fd, req->name, list_one, op);
		break;
	}
	if (op->result)
		snprintf(op->why, sizeof(op->why), "%.200s: %.50s", req->name,
			 strerror(-op->result));
}

static void job_done(struct warren_ctx *ctx, void *arg)
{
	tell(ctx, arg);
}

/*
 * ---- The operator's ----
 */

/* The monitor's records: each a head and a name with its padding. */
static int take_entries(struct op *op, const char *data, size_t len)
{
	int result = 0;

	while (len > 0 && !result) {
		struct wpriv_entry entry;

		if (len < sizeof(entry))
			return -EBADMSG;
		memcpy(&entry, data, sizeof(entry));
		data += sizeof(entry);
		len -= sizeof(entry);
		if (entry.name > len || entry.name == 0 || !memchr(data, 0, entry.name))
			return -EBADMSG;
		result = add_entry(op, data, entry.size, entry.mtime, entry.mode);
		data += entry.name;
		len -= entry.name;
	}
	return result;
}

static warren_priv_fn answered;

static int ask(struct op *op, struct warren_ctx *ctx)
{
	return warren_priv(ctx, WARREN_OP_FILE, &op->req, sizeof(op->req), answered, op);
}

static void fail(struct op *op, int result, const char *why)
{
	op->result = result;
	str_copy(op->why, sizeof(op->why), why ? why : strerror(-result));
}

static void ask_again(struct warren_ctx *ctx, void *arg)
{
	struct op *op = arg;
	int result = ask(op, ctx);

	if (result) {
		fail(op, result, NULL);
		tell(ctx, op);
	}
}

static void answered(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct op *op = arg;

	if (answer->result == -EAGAIN && op->tries++ < TRIES) {
		warren_timer_set(op->again, try_usec);
		return;
	}
	for (uint32_t i = 0; i < answer->count; i++) {
		if (op->file == -1)
			op->file = answer->fds[i];
		else
			close(answer->fds[i]);
	}
	if (answer->result < 0)
		fail(op, answer->result, answer->error);
	else if (op->req.verb == WARREN_FILE_LIST)
		op->result = take_entries(op, answer->data, answer->len);
	if (op->result && !op->why[0])
		fail(op, op->result, NULL);
	tell(ctx, op);
}

/*
 * ---- Both ----
 */

static int start(struct warren_dir *dir, uint32_t verb, uint32_t mode, uint32_t flags,
		 const char *name, const char *to, warren_dir_fn *done, void *arg)
{
	struct op *op = calloc(1, sizeof(*op));
	int result = -ENOMEM;

	wcore_ctx_assert(dir->ctx, "warren_dir");
	if (!op)
		return -ENOMEM;
	*op = (struct op){ .dir = dir, .fd = -1, .file = -1, .done = done, .arg = arg };
	op->req = (struct warren_priv_file){
		.index = dir->index, .verb = verb, .mode = mode, .flags = flags,
	};
	list_add_tail(&dir->ops, &op->link);
	op->again = warren_timer_new(dir->ctx, ask_again, op);
	memcpy(op->req.key, dir->key, sizeof(op->req.key));
	memcpy(op->req.owner, dir->owner, sizeof(op->req.owner));
	if (!str_copy(op->req.name, sizeof(op->req.name), name) ||
	    !str_copy(op->req.to, sizeof(op->req.to), to) ||
	    (name[0] && !wpriv_name_valid(name)) || (to[0] && !wpriv_name_valid(to))) {
		result = -EINVAL;
	} else if (op->again && dir->fd >= 0) {
		op->fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 3);
		result = op->fd == -1 ? -errno : warren_work(dir->ctx, job, job_done, op);
	} else if (op->again) {
		result = ask(op, dir->ctx);
	}
	if (result)
		op_free(op);
	return result;
}

int warren_dir_open(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_OPEN, 0, 0, name, "", done, arg);
}

int warren_dir_create(struct warren_dir *dir, const char *name, uint32_t mode,
		      warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_CREATE, mode, 0, name, "", done, arg);
}

int warren_dir_rename(struct warren_dir *dir, const char *name, const char *to, bool alone,
		      warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_RENAME, 0, alone ? WARREN_FILE_ALONE : 0, name, to, done,
		     arg);
}

int warren_dir_unlink(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_UNLINK, 0, 0, name, "", done, arg);
}

int warren_dir_list(struct warren_dir *dir, warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_LIST, 0, 0, "", "", done, arg);
}

int warren_dir_list_at(struct warren_dir *dir, const char *name, warren_dir_fn *done, void *arg)
{
	return start(dir, WARREN_FILE_LIST, 0, 0, name, "", done, arg);
}

/* With its context, for which no answer of the monitor comes any more, and whose jobs are done. */
static void dir_end(void *obj)
{
	struct warren_dir *dir = obj;
	struct op *op, *next;

	list_for_each_safe(op, next, &dir->ops, link)
		op_destroy(op);
	auto_close(&dir->fd);
}

static const struct wcore_kind dir_kind = { .name = "folder", .end = dir_end };

static struct warren_dir *dir_new(struct warren_ctx *ctx)
{
	struct warren_dir *dir = wcore_own_new(ctx, &dir_kind, sizeof(*dir));

	if (dir) {
		dir->ctx = ctx;
		dir->fd = -1;
		list_init(&dir->ops);
	}
	return dir;
}

int warren_dir_state(struct warren_ctx *ctx, const char *name, struct warren_dir **out,
		     struct warren_err *err)
{
	struct warren_dir *dir;
	int fd;

	*out = NULL;
	wcore_ctx_assert_open(ctx, "warren_dir_state");
	fd = wcore_state_subfolder(ctx, name, err);
	if (fd < 0)
		return fd;
	dir = dir_new(ctx);
	if (!dir) {
		auto_close(&fd);
		warren_fail(err, NULL, "no memory");
		return -ENOMEM;
	}
	dir->fd = fd;
	*out = dir;
	return 0;
}

int warren_dir_conf(struct warren_ctx *ctx, const struct warren_conf *conf, const char *key,
		    const char *owner, struct warren_dir **out)
{
	AUTO(str_free) struct str path = STR_INIT;
	AUTO(str_free) struct str owner_path = STR_INIT;
	struct warren_dir *dir = dir_new(ctx);

	*out = dir;
	if (!dir)
		return -ENOMEM;
	wcore_conf_path(conf, key, &path, &dir->index);
	if (owner && warren_conf_has(conf, owner))
		wcore_conf_path(conf, owner, &owner_path, NULL);
	if (path.failed || owner_path.failed ||
	    !str_copy(dir->key, sizeof(dir->key), str_text(&path)) ||
	    !str_copy(dir->owner, sizeof(dir->owner), str_text(&owner_path))) {
		warren_release(dir);
		*out = NULL;
		return -ENOMEM;
	}
	return 0;
}

void warren_dir_close(struct warren_dir *dir)
{
	if (dir)
		dir->closed = true;
}
