/*
 * A file that comes: its body goes to a partial file by jobs, one piece at a time, while the peer
 * waits; when it is whole it gets its name. A transfer takes no more memory than two pieces,
 * however large the file is. What has come when something breaks stays, to be gone on with.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/util.h"
#include "taildrop.h"

enum {
	PIECE = 256 << 10,		/* more waits for the disk */
	SAME_MAX = 10,			/* "name (10).txt" is the last */
	COMPARE = 1 << 20,		/* bytes of a job */
};

struct piece {
	uint8_t *s;
	size_t len, cap;
};

struct incoming {
	struct list link;
	struct taildrop *td;
	struct warren_exchange *x;	/* NULL: the peer is gone, or was answered */
	int64_t node;
	char who[128];
	char name[DROP_NAME], partial[DROP_NAME], final[DROP_NAME];
	int fd, other;			/* -1: not open yet; of a file of the same name */
	int64_t offset, expected;	/* where it begins; bytes that are to come, -1: not known */
	int64_t room;			/* bytes that may come; -1: no limit */
	int64_t got, written;
	struct piece filling, writing;
	bool busy;			/* a job has it */
	bool waiting;			/* an answer of the folder is due */
	bool paused, whole, ended;
	int n;				/* of the name that is tried */
	int result;			/* of a job */
	bool same;
	int64_t compared, size;
};

static void incoming_free(struct incoming *in)
{
	list_del(&in->link);
	auto_close(&in->fd);
	auto_close(&in->other);
	free(in->filling.s);
	free(in->writing.s);
	warren_release(in);
}

/* It is over. What a job or the folder still has to do with it is waited for. */
static void over(struct incoming *in)
{
	in->ended = true;
	if (!in->busy && !in->waiting)
		incoming_free(in);
}

static void fail(struct incoming *in, int status, const char *words)
{
	struct warren_exchange *x = in->x;

	in->x = NULL;
	if (x)
		warren_exchange_say(x, status, words);
	over(in);
}

/* Of our side: the operator should know. */
static void fail_here(struct incoming *in, int result, const char *why)
{
	bool full = result == -ENOSPC || result == -EDQUOT;
	int64_t kept = in->offset + in->written;
	char words[400];

	warren_log_limit(in->td->ctx, &in->td->log_failed, LOG_WARNING,
			 "a file of %s cannot be kept: %s; %lld bytes of it are here, and sending "
			 "it again goes on there", in->who,
			 full ? "no space is left in the inbox, make room" : why, (long long)kept);
	if (full)
		snprintf(words, sizeof(words), "no space is left where the file should go; %lld "
			 "bytes of it are kept, send it again to go on", (long long)kept);
	else
		snprintf(words, sizeof(words), "the file cannot be kept: %.300s", why);
	fail(in, full ? 507 : 500, words);
}

/*
 * ---- To its name ----
 */

static void try_name(struct incoming *in);

static void finished(struct incoming *in)
{
	struct taildrop *td = in->td;
	struct warren_exchange *x = in->x;

	warren_stat_add(td->received, 1);
	warren_log(td->ctx, LOG_INFO, "%s sent a file of %lld bytes", in->who,
		   (long long)(in->offset + in->written));
	in->x = NULL;
	if (x)
		warren_exchange_answer(x, 200, "application/json", "{}\n", 3);
	over(in);
	drop_get_wake(td);
}

static void unlinked(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	(void)ctx;
	(void)answer;
	((struct incoming *)arg)->waiting = false;
	finished(arg);
}

static void compare_job(void *arg)
{
	struct incoming *in = arg;
	size_t len = in->size - in->compared < COMPARE ? (size_t)(in->size - in->compared) :
							  COMPARE;
	uint8_t *a = malloc(COMPARE), *b = malloc(COMPARE);

	in->same = a && b && drop_read(in->fd, a, len, in->compared) == len &&
		   drop_read(in->other, b, len, in->compared) == len && memcmp(a, b, len) == 0;
	in->compared += (int64_t)len;
	free(a);
	free(b);
}

static void next_name(struct incoming *in)
{
	auto_close(&in->other);
	in->n++;
	try_name(in);
}

static void compared(struct warren_ctx *ctx, void *arg)
{
	struct incoming *in = arg;

	in->busy = false;
	if (in->ended) {
		incoming_free(in);
		return;
	}
	if (in->same && in->compared < in->size) {
		in->busy = warren_work(ctx, compare_job, compared, in) == 0;
		if (!in->busy)
			next_name(in);
	} else if (in->same) {
		/* It is here already, by this name. */
		in->waiting = warren_dir_unlink(in->td->dir, in->partial, unlinked, in) == 0;
		if (!in->waiting)
			finished(in);
	} else {
		next_name(in);
	}
}

static void other_open(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct incoming *in = arg;
	struct stat st;

	in->waiting = false;
	in->other = answer->fd;
	if (in->ended) {
		incoming_free(in);
		return;
	}
	in->size = in->offset + in->written;
	in->compared = 0;
	if (in->other == -1 || fstat(in->other, &st) == -1 || st.st_size != in->size) {
		next_name(in);
		return;
	}
	in->same = true;
	in->busy = true;
	if (warren_work(ctx, compare_job, compared, in)) {
		in->busy = false;
		next_name(in);
	}
}

static void renamed(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct incoming *in = arg;

	(void)ctx;
	in->waiting = false;
	if (in->ended) {
		incoming_free(in);
	} else if (answer->result == 0) {
		finished(in);
	} else if (answer->result != -EEXIST) {
		fail_here(in, answer->result, answer->why);
	} else {
		in->waiting = warren_dir_open(in->td->dir, in->final, other_open, in) == 0;
		if (!in->waiting)
			next_name(in);
	}
}

static void try_name(struct incoming *in)
{
	if (in->n > SAME_MAX || !drop_numbered(in->name, in->n, in->final)) {
		fail(in, 409, "file already exists, and so do ten others of nearly that name");
		return;
	}
	in->waiting = warren_dir_rename(in->td->dir, in->partial, in->final, true, renamed,
					in) == 0;
	if (!in->waiting)
		fail_here(in, -EAGAIN, "too much is under way");
}

static void sync_job(void *arg)
{
	struct incoming *in = arg;

	in->result = fdatasync(in->fd) == -1 ? -errno : 0;
}

static void synced(struct warren_ctx *ctx, void *arg)
{
	struct incoming *in = arg;

	(void)ctx;
	in->busy = false;
	if (in->ended)
		incoming_free(in);
	else if (in->result)
		fail_here(in, in->result, strerror(-in->result));
	else
		try_name(in);
}

/*
 * ---- To the disk ----
 */

static void write_job(void *arg)
{
	struct incoming *in = arg;
	const uint8_t *s = in->writing.s;
	size_t len = in->writing.len;
	int64_t at = in->offset + in->written;

	in->result = 0;
	while (len > 0 && in->result == 0) {
		ssize_t n = pwrite(in->fd, s, len, at);

		if (n == -1 && errno != EINTR)
			in->result = -errno;
		if (n <= 0)
			continue;
		s += n;
		len -= (size_t)n;
		at += n;
	}
	in->writing.len -= len;
}

static void kick(struct incoming *in);

static void wrote(struct warren_ctx *ctx, void *arg)
{
	struct incoming *in = arg;

	(void)ctx;
	in->busy = false;
	in->written += (int64_t)in->writing.len;
	warren_stat_add(in->td->received_bytes, (int64_t)in->writing.len);
	in->writing.len = 0;
	if (in->ended) {
		incoming_free(in);
		return;
	}
	if (in->result) {
		fail_here(in, in->result, strerror(-in->result));
		return;
	}
	kick(in);
}

/* False: it is over. */
static bool start_job(struct incoming *in, void (*job)(void *arg), warren_call_fn *done)
{
	in->busy = warren_work(in->td->ctx, job, done, in) == 0;
	if (!in->busy)
		fail_here(in, -EAGAIN, "too much is under way");
	return in->busy;
}

/* Whatever is to be done next. */
static void kick(struct incoming *in)
{
	struct piece full = in->filling;

	if (in->busy || in->waiting || in->fd == -1)
		return;
	if (full.len > 0) {
		in->filling = in->writing;
		in->filling.len = 0;
		in->writing = full;
		if (!start_job(in, write_job, wrote))
			return;
	} else if (in->whole) {
		start_job(in, sync_job, synced);
		return;
	} else if (!in->x) {
		over(in);		/* the peer is gone, and all of it is on disk */
		return;
	}
	if (in->paused && in->x) {
		in->paused = false;
		warren_exchange_resume(in->x);
	}
}

/*
 * ---- From the peer ----
 */

static bool add(struct piece *piece, const uint8_t *data, size_t len)
{
	if (piece->len + len > piece->cap) {
		size_t cap = piece->len + len > PIECE ? piece->len + len : PIECE;
		uint8_t *more = realloc(piece->s, cap);

		if (!more)
			return false;
		piece->s = more;
		piece->cap = cap;
	}
	memcpy(piece->s + piece->len, data, len);
	piece->len += len;
	return true;
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct incoming *in = arg;

	(void)x;
	if (in->room >= 0 && in->got + (int64_t)len > in->room) {
		fail(in, 413, "the file is larger than is accepted here");
		return 0;
	}
	if (!add(&in->filling, data, len)) {
		fail(in, 500, "no memory");
		return 0;
	}
	in->got += (int64_t)len;
	in->paused = in->filling.len >= PIECE / 2 && (in->busy || in->fd == -1);
	if (!in->paused) {
		kick(in);
		return 0;
	}
	return WARREN_PENDING;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct incoming *in = arg;

	(void)x;
	in->whole = true;
	kick(in);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct incoming *in = arg;

	(void)x;
	(void)result;
	(void)why;
	in->x = NULL;
	in->paused = false;
	if (in->fd == -1)
		over(in);
	else
		kick(in);		/* what has come is kept */
}

static const struct warren_exchange_events events = {
	.size = sizeof(events), .body = on_body, .complete = on_complete, .failed = on_failed,
};

/* ---- the beginning ---- */

static void cut_job(void *arg)
{
	struct incoming *in = arg;
	struct stat st;

	in->result = fstat(in->fd, &st) == -1 ? -errno : 0;
	if (!in->result && st.st_size < in->offset)
		in->result = -ERANGE;
	else if (!in->result && ftruncate(in->fd, in->offset) == -1)
		in->result = -errno;
}

static void cut(struct warren_ctx *ctx, void *arg)
{
	struct incoming *in = arg;

	(void)ctx;
	in->busy = false;
	if (in->ended)
		incoming_free(in);
	else if (in->result == -ERANGE)
		fail(in, 400, "invalid Range");
	else if (in->result)
		fail_here(in, in->result, strerror(-in->result));
	else
		kick(in);
}

static void opened(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct incoming *in = arg;

	(void)ctx;
	in->waiting = false;
	in->fd = answer->fd;
	if (in->ended)
		incoming_free(in);
	else if (answer->result)
		fail_here(in, answer->result, answer->why);
	else
		start_job(in, cut_job, cut);
}

static void open_partial(struct incoming *in)
{
	in->waiting = warren_dir_create(in->td->dir, in->partial, in->td->direct ? 0644 : 0600,
					opened, in) == 0;
	if (!in->waiting)
		fail_here(in, -EAGAIN, "too much is under way");
}

static void limit(struct incoming *in, int64_t room)
{
	if (in->room < 0 || room < in->room)
		in->room = room > 0 ? room : 0;
}

/* What others that are under way will still take. */
static int64_t reserved(const struct incoming *in)
{
	const struct incoming *other;
	int64_t all = 0;

	list_for_each(other, &in->td->incoming, link) {
		if (other != in && other->expected > other->written)
			all += other->expected - other->written;
	}
	return all;
}

static void listed(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct incoming *in = arg;
	int64_t all = reserved(in);

	in->waiting = false;
	if (in->ended) {
		incoming_free(in);
		return;
	}
	if (answer->result) {
		fail_here(in, answer->result, answer->why);
		return;
	}
	/* Of the partial file that is gone on with, what is behind the offset will be cut off. */
	for (uint32_t i = 0; i < answer->n_entries; i++) {
		if (!S_ISREG(answer->entries[i].mode))
			continue;
		all += strcmp(answer->entries[i].name, in->partial) == 0 ?
			       in->offset : (int64_t)answer->entries[i].size;
	}
	limit(in, in->td->max_total - all);
	if (in->expected <= in->room) {
		open_partial(in);
		return;
	}
	warren_log_limit(ctx, &in->td->log_failed, LOG_WARNING,
			 "a file of %s is refused: the inbox would have more than "
			 "taildrop.max-total; %s makes room", in->who,
			 in->td->direct ? "moving files on" : "`warren file get`");
	fail(in, 507, "the inbox is full");
}

static const char *too_many(const struct taildrop *td, int64_t node)
{
	const struct incoming *in;
	uint32_t all = 0, same = 0;

	list_for_each(in, &td->incoming, link) {
		all++;
		same += in->node == node;
	}
	return all >= DROP_ALL_MAX || same >= DROP_PEER_MAX ? "too many files are coming at once" :
							      NULL;
}

bool drop_is_coming(const struct taildrop *td, const char *partial)
{
	const struct incoming *in;

	list_for_each(in, &td->incoming, link) {
		if (strcmp(in->partial, partial) == 0)
			return true;
	}
	return false;
}

static void begin(struct incoming *in)
{
	struct taildrop *td = in->td;

	warren_exchange_set(in->x, &events, in);
	if (td->max_file)
		limit(in, td->max_file - in->offset);
	if (in->room >= 0 && in->expected > in->room) {
		fail(in, 413, "the file is larger than is accepted here");
		return;
	}
	if (!td->max_total) {
		open_partial(in);
		return;
	}
	in->waiting = warren_dir_list(td->dir, listed, in) == 0;
	if (!in->waiting)
		fail_here(in, -EAGAIN, "too much is under way");
}

void drop_receive(struct taildrop *td, struct warren_exchange *x,
		  const struct warren_http_head *head, const struct warren_node *node,
		  const char *name)
{
	const char *range = warren_http_field(head, "range"), *busy = too_many(td, node->id);
	char partial[DROP_NAME];
	struct incoming *in;
	int64_t offset = 0;

	drop_partial(name, node->stable_id, partial);
	if (range && !drop_range(range, &offset)) {
		warren_exchange_say(x, 400, "invalid Range");
		return;
	}
	if (drop_is_coming(td, partial) || busy) {
		warren_exchange_say(x, busy ? 503 : 409, busy ? busy : "file already exists");
		return;
	}
	in = warren_zalloc(td->ctx, sizeof(*in));
	if (!in) {
		warren_exchange_say(x, 500, "no memory");
		return;
	}
	in->td = td;
	in->x = x;
	in->node = node->id;
	in->fd = in->other = -1;
	in->offset = offset;
	in->expected = head->length;
	in->room = -1;
	str_copy(in->who, sizeof(in->who), node->name ? node->name : "");
	str_copy(in->name, sizeof(in->name), name);
	str_copy(in->partial, sizeof(in->partial), partial);
	list_add_tail(&td->incoming, &in->link);
	begin(in);
}

void drop_receive_end(struct taildrop *td)
{
	struct incoming *in, *next;

	list_for_each_safe(in, next, &td->incoming, link) {
		if (in->x)
			warren_exchange_cancel(in->x);
		in->x = NULL;
		in->waiting = false;	/* the folder is closed, and tells nobody */
		over(in);
	}
}

bool drop_coming(const struct taildrop *td, const char **name, int64_t *done, int64_t *total)
{
	const struct incoming *in = list_first(&td->incoming, struct incoming, link);

	if (!in)
		return false;
	*name = in->name;
	*done = in->offset + in->written;
	*total = in->expected < 0 ? -1 : in->offset + in->expected;
	return true;
}

uint32_t drop_n_coming(const struct taildrop *td)
{
	const struct incoming *in;
	uint32_t n = 0;

	list_for_each(in, &td->incoming, link)
		n++;
	return n;
}
