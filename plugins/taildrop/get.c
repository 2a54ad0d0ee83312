/*
 * `warren file get`: from the inbox to a folder of whoever types it. The client makes the files;
 * we copy what is in ours into them, and remove ours when theirs is whole and has its name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "taildrop.h"

enum { PIECE = 1 << 20 };
static const char refusing[] = "refusing to overwrite file: open ";
static const uint64_t show_usec = SECOND / 4, error_usec = 5 * SECOND;

struct get {
	struct list link;
	struct taildrop *td;
	struct warren_reply *reply;	/* NULL: the client hung up */
	const struct warren_conf *args;
	struct warren_timer *timer;
	char **names;			/* of this round, sorted */
	uint32_t n, at, moved;
	int from, to;			/* -1: not open */
	bool discard;			/* the folder is /dev/null */
	bool waiting;			/* an answer of the inbox is due */
	bool idle;			/* until files come */
	bool missed;			/* one came since the inbox was looked at */
	bool ended;			/* it is over, as soon as nothing is due any more */
	bool busy;			/* a job has it */
	int64_t size, done;
	uint64_t shown_at;
	int result;
	char error[600];		/* the last one: it is told at the end */
};

static void names_free(struct get *get)
{
	for (uint32_t i = 0; i < get->n; i++)
		free(get->names[i]);
	free(get->names);
	get->names = NULL;
	get->n = get->at = get->moved = 0;
}

static void get_free(struct get *get)
{
	list_del(&get->link);
	names_free(get);
	auto_close(&get->from);
	auto_close(&get->to);
	warren_release(get->timer);
	warren_release(get);
}

/* What still has to do with it is waited for. */
static void leave(struct get *get)
{
	get->reply = NULL;
	get->ended = true;
	warren_timer_stop(get->timer);
	if (!get->waiting && !get->busy)
		get_free(get);
}

static void get_over(struct get *get, int exit, const char *error)
{
	struct warren_reply *reply = get->reply;
	char text[sizeof(get->error)];

	snprintf(text, sizeof(text), "%s", error ? error : "");
	leave(get);
	warren_reply_end(reply, exit, error ? text : NULL);
}

static void cancelled(struct warren_reply *reply, void *arg)
{
	(void)reply;
	leave(arg);
}

/* True: nobody waits for it any more, and it is gone or will be. */
static bool is_over(struct get *get)
{
	if (!get->ended)
		return false;
	if (!get->waiting && !get->busy)
		get_free(get);
	return true;
}

static const char *folder(const struct get *get)
{
	return warren_conf_str(get->args, "folder");
}

static void next_file(struct get *get);
static void scan(struct get *get);

/* All but the last error are lines of the answer, the last is what it ends with. */
static void add_error(struct get *get, const char *text)
{
	if (get->error[0])
		warren_reply_text(get->reply, "%s", get->error);
	snprintf(get->error, sizeof(get->error), "%s", text);
}

/*
 * ---- Rounds ----
 */

static void wait_for_files(struct get *get)
{
	if (get->missed) {
		scan(get);
		return;
	}
	get->idle = true;
	warren_timer_set(get->timer, show_usec);
}

static void round_over(struct get *get)
{
	bool loop = warren_conf_bool(get->args, "loop"), failed;
	char text[64];

	snprintf(text, sizeof(text), "moved %u/%u files", get->moved, get->n);
	if (get->n > 0 && get->moved == 0)
		add_error(get, text);
	else if (get->n > 0 && warren_conf_bool(get->args, "verbose"))
		warren_reply_text(get->reply, "%s", text);
	failed = get->error[0] != '\0';
	names_free(get);
	if (!loop) {
		get_over(get, failed, failed ? get->error : NULL);
		return;
	}
	if (failed)
		warren_reply_note(get->reply, "%s", get->error);
	get->error[0] = '\0';
	if (failed)
		warren_timer_set(get->timer, error_usec);
	else
		wait_for_files(get);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool take_names(struct get *get, const struct warren_dir_answer *answer)
{
	get->names = calloc(answer->n_entries + 1, sizeof(*get->names));
	for (uint32_t i = 0; get->names && i < answer->n_entries; i++) {
		const struct warren_dir_entry *entry = &answer->entries[i];

		if (!S_ISREG(entry->mode) || !drop_is_whole(entry->name))
			continue;
		get->names[get->n] = strdup(entry->name);
		if (!get->names[get->n])
			return false;
		get->n++;
	}
	if (get->names)
		qsort(get->names, get->n, sizeof(*get->names), compare_names);
	return get->names != NULL;
}

static void scanned(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct get *get = arg;

	(void)ctx;
	get->waiting = false;
	if (is_over(get))
		return;
	if (answer->result || !take_names(get, answer)) {
		get_over(get, 1, answer->why ? answer->why : "no memory");
		return;
	}
	if (get->n == 0 && (warren_conf_bool(get->args, "wait") ||
			    warren_conf_bool(get->args, "loop"))) {
		names_free(get);
		wait_for_files(get);
		return;
	}
	next_file(get);
}

static void scan(struct get *get)
{
	get->idle = get->missed = false;
	warren_timer_stop(get->timer);
	names_free(get);
	get->waiting = warren_dir_list(get->td->dir, scanned, get) == 0;
	if (!get->waiting)
		get_over(get, 1, "too much is under way");
}

void drop_get_wake(struct taildrop *td)
{
	struct get *get, *next;

	list_for_each_safe(get, next, &td->gets, link) {
		get->missed = true;
		if (get->idle && !get->ended)
			scan(get);
	}
}

/* While it waits, what is coming is shown. After an error in a loop: the next try. */
static void timed(struct warren_ctx *ctx, void *arg)
{
	struct get *get = arg;
	int64_t done, total;
	const char *name;

	(void)ctx;
	if (!get->idle) {
		scan(get);
		return;
	}
	if (drop_coming(get->td, &name, &done, &total))
		warren_reply_transfer(get->reply, name, done, total);
	warren_timer_set(get->timer, show_usec);
}

/*
 * ---- One file ----
 */

static void file_over(struct get *get)
{
	auto_close(&get->from);
	auto_close(&get->to);
	get->at++;
	next_file(get);
}

static void file_failed(struct get *get, const char *fmt, int result)
{
	char text[sizeof(get->error)];

	snprintf(text, sizeof(text), "%s%s/%.255s: %s", fmt, folder(get), get->names[get->at],
		 result == -EEXIST ? "file exists" : strerror(-result));
	add_error(get, text);
	file_over(get);
}

static void removed(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct get *get = arg;

	(void)ctx;
	get->waiting = false;
	if (is_over(get))
		return;
	if (answer->result) {
		add_error(get, answer->why);
	} else {
		get->moved++;
	}
	file_over(get);
}

static void remove_ours(struct get *get)
{
	get->waiting = warren_dir_unlink(get->td->dir, get->names[get->at], removed, get) == 0;
	if (!get->waiting)
		get_over(get, 1, "too much is under way");
}

static void kept(struct warren_reply *reply, int result, int fd, const char *name, void *arg)
{
	struct get *get = arg;

	(void)fd;
	if (result) {
		file_failed(get, result == -EEXIST ? refusing : "", result);
		return;
	}
	if (warren_reply_json(reply)) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "name", "%s", get->names[get->at]);
		warren_reply_str(reply, "path", "%s/%s", folder(get), name);
		warren_reply_int(reply, "size", get->size);
		warren_reply_close(reply);
	} else if (warren_conf_bool(get->args, "verbose"))
		warren_reply_text(reply, "wrote %s as %s/%s (%lld bytes)", get->names[get->at],
				  folder(get), name, (long long)get->size);
	remove_ours(get);
}

static void copy_job(void *arg)
{
	struct get *get = arg;
	size_t most = get->size - get->done < PIECE ? (size_t)(get->size - get->done) : PIECE;
	uint8_t *buf = malloc(PIECE), *at = buf;
	ssize_t n = buf ? pread(get->from, buf, most, get->done) : -1;

	get->result = n == -1 ? -errno : n == 0 && most > 0 ? -EIO : 0;
	while (n > 0 && !get->result) {
		ssize_t put = write(get->to, at, (size_t)n);

		if (put == -1 && errno != EINTR)
			get->result = -errno;
		if (put <= 0)
			continue;
		at += put;
		n -= put;
		get->done += put;
	}
	if (!get->result && get->done == get->size && fdatasync(get->to) == -1 && errno != EINVAL)
		get->result = -errno;
	free(buf);
}

static void copied(struct warren_ctx *ctx, void *arg);

static void copy_on(struct get *get)
{
	get->busy = warren_work(get->td->ctx, copy_job, copied, get) == 0;
	if (!get->busy)
		get_over(get, 1, "too much is under way");
}

static void copied(struct warren_ctx *ctx, void *arg)
{
	struct get *get = arg;

	(void)ctx;
	get->busy = false;
	if (is_over(get))
		return;
	if (get->result) {
		warren_reply_drop(get->reply);
		file_failed(get, "cannot write ", get->result);
		return;
	}
	if (get->size > PIECE && warren_now() - get->shown_at > show_usec) {
		get->shown_at = warren_now();
		warren_reply_transfer(get->reply, get->names[get->at], get->done, get->size);
	}
	if (get->done < get->size)
		copy_on(get);
	else if (warren_reply_keep(get->reply, kept, get))
		get_over(get, 1, "the client keeps no files");
}

static void made(struct warren_reply *reply, int result, int fd, const char *name, void *arg)
{
	struct get *get = arg;
	struct stat st;

	(void)reply;
	(void)name;
	if (result) {
		file_failed(get, result == -EEXIST ? refusing : "", result);
		return;
	}
	get->to = fd;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		get_over(get, 1, "the client made no file");
	else
		copy_on(get);
}

static void opened(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	static const enum warren_make ways[] = {
		WARREN_MAKE_SKIP, WARREN_MAKE_OVERWRITE, WARREN_MAKE_RENAME,
	};
	struct get *get = arg;
	struct stat st;
	int result;

	(void)ctx;
	get->waiting = false;
	get->from = answer->fd;
	if (is_over(get))
		return;
	if (answer->result || fstat(get->from, &st) == -1) {
		add_error(get, answer->why ? answer->why : strerror(errno));
		file_over(get);
		return;
	}
	get->size = st.st_size;
	get->done = 0;
	result = warren_reply_make(get->reply, "folder", get->names[get->at],
				   ways[warren_conf_enum(get->args, "conflict")], made, get);
	if (result)
		get_over(get, 1, strerror(-result));
}

static void next_file(struct get *get)
{
	if (get->at == get->n) {
		round_over(get);
		return;
	}
	if (get->discard) {
		remove_ours(get);
		return;
	}
	get->waiting = warren_dir_open(get->td->dir, get->names[get->at], opened, get) == 0;
	if (!get->waiting)
		get_over(get, 1, "too much is under way");
}

int drop_command_get(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err)
{
	struct taildrop *td = warren_self(ctx);
	int fd = warren_reply_take_fd(reply, "folder");
	struct stat st = { .st_mode = 0 };
	struct get *get;

	if (fd >= 0 && fstat(fd, &st) == -1)
		st.st_mode = 0;
	auto_close(&fd);
	if (!S_ISDIR(st.st_mode) && !S_ISCHR(st.st_mode))
		return warren_fail(err, NULL, "\"%s\" is not a directory",
				   warren_conf_str(args, "folder"));
	if (td->direct)
		return warren_fail(err, NULL, "files go to %s by themselves (taildrop.inbox): "
				   "there is nothing to get", warren_conf_str(td->conf, "inbox"));
	get = warren_zalloc(ctx, sizeof(*get));
	if (!get)
		return -ENOMEM;
	get->td = td;
	get->reply = reply;
	get->args = args;
	get->from = get->to = -1;
	get->discard = S_ISCHR(st.st_mode);
	list_add_tail(&td->gets, &get->link);
	get->timer = warren_timer_new(ctx, timed, get);
	if (!get->timer) {
		get_free(get);
		return -ENOMEM;
	}
	warren_reply_on_cancel(reply, cancelled, get);
	scan(get);
	return WARREN_PENDING;
}

void drop_get_end(struct taildrop *td)
{
	struct get *get, *next;

	list_for_each_safe(get, next, &td->gets, link) {
		get->waiting = false;	/* the folder is closed, and tells nobody */
		if (get->ended)
			leave(get);
		else
			get_over(get, 1, "the inbox has changed, or taildrop is stopping: ask "
				 "again");
	}
}
