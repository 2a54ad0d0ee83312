/*
 * State documents. Reading happens where it is allowed to block, in `start` and `reload`; writing
 * is a job. Per document one write is under way and one waits: a newer one takes the waiting one's
 * place and its callers, since what they wanted on disk is superseded by something younger.
 */
#include "engine/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/plugin.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"

struct wcore_state {
	int dirfd;
	uid_t owner;			/* of the folder */
	char *shown;
};

struct waiter {				/* somebody who wants to know */
	struct waiter *next;
	warren_state_fn *done;
	void *arg;
};

struct write {				/* a copy of what is to be written */
	void *data;
	size_t len;
	struct waiter *waiters;		/* in the order of their calls */
};

struct wcore_document {			/* owned by the context */
	struct wcore_document *next;
	struct warren_ctx *ctx;
	bool busy;			/* `now` is a job */
	struct write now, later;
	bool has_later;
	int result;
	char name[WCORE_STATE_NAME];
};

struct wcore_state *wcore_state_new_take(int dirfd, const char *shown)
{
	struct wcore_state *state = calloc(1, sizeof(*state));
	struct stat st;

	if (state)
		state->shown = strdup(shown ? shown : "(no state folder)");
	if (!state || !state->shown) {
		free(state);
		if (dirfd != -1)
			close(dirfd);
		return NULL;
	}
	state->dirfd = dirfd;
	state->owner = geteuid();
	if (dirfd != -1 && fstat(dirfd, &st) == 0)
		state->owner = st.st_uid;
	return state;
}

void wcore_state_free(struct wcore_state *state)
{
	if (!state)
		return;
	if (state->dirfd != -1)
		close(state->dirfd);
	free(state->shown);
	free(state);
}

static bool name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.");

	return len > 0 && !name[len] && name[0] != '.' && len < WCORE_STATE_NAME;
}

static int refuse(struct wcore_state *state, struct warren_ctx *ctx, const char *name, int rc,
		  struct warren_err *err, const char *why)
{
	return warren_fail_key(err, rc, NULL, NULL, "%s/%s/%s: %s", state->shown, ctx->name, name,
			       why);
}

/* Whether somebody else could have read or written it. NULL: no; else what is wrong. */
static const char *judge(const struct wcore_state *state, int fd, bool folder)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return strerror(errno);
	if (!folder && !S_ISREG(st.st_mode))
		return "it is no regular file; move it away";
	if (st.st_uid != geteuid() && st.st_uid != state->owner)
		return "it belongs to another user; `chown` it to the daemon's user or remove it";
	if (st.st_mode & 077)
		return "others may read or write it; `chmod go=` it, and replace keys that were "
		       "in it";
	return NULL;
}

/* The plugin's folder, or -errno. */
static int open_folder(struct wcore_state *state, const char *plugin)
{
	int fd = openat(state->dirfd, plugin, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd == -1 ? -errno : fd;
}

/* `{"format":N}` and a newline: its length, or 0 if it is not there. */
static size_t parse_format(const char *text, size_t len, uint32_t *version)
{
	static const char prefix[] = "{\"format\":";
	size_t at = sizeof(prefix) - 1;
	uint64_t n = 0;

	if (len < at || memcmp(text, prefix, at) != 0)
		return 0;
	for (; at < len && text[at] >= '0' && text[at] <= '9' && n < UINT32_MAX; at++)
		n = 10 * n + (uint64_t)(text[at] - '0');
	if (n > UINT32_MAX || at + 2 > len || text[at] != '}' || text[at + 1] != '\n')
		return 0;
	*version = (uint32_t)n;
	return at + 2;
}

static const struct wcore_kind document_kind = { .name = "state" };
static const struct wcore_kind key_kind = { .name = "key", .wipe = true };

/* Moves the bytes behind the version line into memory of the context. */
static int hand_over(struct warren_ctx *ctx, uint32_t flags, uint32_t version, const char *raw,
		     size_t raw_len, void **data, size_t *len, char *why, size_t why_size)
{
	bool key = flags & WARREN_STATE_KEY;
	uint32_t found = 0;
	size_t skip = 0;
	char *copy;

	if (!key) {
		skip = parse_format(raw, raw_len, &found);
		if (!skip || found != version) {
			snprintf(why, why_size, skip ? "it has format %u, and this version of the "
				 "daemon reads %u; run the version that wrote it, or move it away" :
				 "it does not begin with its format; restore it from a backup or "
				 "move it away", found, version);
			return -EPROTO;
		}
	}
	/* A NUL behind the bytes, for parsers of text. */
	copy = wcore_own_new(ctx, key ? &key_kind : &document_kind, raw_len - skip + 1);
	if (!copy) {
		snprintf(why, why_size, "no memory");
		return -ENOMEM;
	}
	memcpy(copy, raw + skip, raw_len - skip);
	*data = copy;
	*len = raw_len - skip;
	return 0;
}

int warren_state_read(struct warren_ctx *ctx, const char *name, uint32_t flags, uint32_t version,
		      void **data, size_t *len, struct warren_err *err)
{
	struct wcore_state *state = wcore_engine_state(ctx->engine);
	AUTO(auto_close) int folder = -1;
	AUTO(auto_close) int fd = -1;
	const char *problem;
	size_t raw_len = 0;
	void *raw = NULL;
	char why[160];
	int rc;

	wcore_ctx_assert_open(ctx, "warren_state_read");
	if (!name_ok(name))
		return refuse(state, ctx, name, -EINVAL, err, "that is no name of a document");
	if (state->dirfd == -1)
		return -ENOENT;
	folder = open_folder(state, ctx->name);
	if (folder == -ENOENT)
		return -ENOENT;
	if (folder < 0)
		return refuse(state, ctx, name, folder, err, strerror(-folder));
	problem = judge(state, folder, true);
	if (problem)
		return warren_fail_key(err, -EPERM, NULL, NULL, "%s/%s: %s", state->shown,
				       ctx->name, problem);
	fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1 && errno == ENOENT)
		return -ENOENT;
	if (fd == -1)
		return refuse(state, ctx, name, -errno, err, strerror(errno));
	problem = judge(state, fd, false);
	if (problem)
		return refuse(state, ctx, name, -EPERM, err, problem);
	rc = file_read_fd(fd, WCORE_STATE_MAX, &raw, &raw_len);
	if (rc)
		return refuse(state, ctx, name, rc, err, strerror(-rc));
	rc = hand_over(ctx, flags, version, raw, raw_len, data, len, why, sizeof(why));
	sodium_memzero(raw, raw_len);
	free(raw);
	return rc ? refuse(state, ctx, name, rc, err, why) : 0;
}

/*
 * ---- Writing ----
 */

/* Opens the plugin's folder, making it when it is not there: a descriptor or -errno. */
static int make_folder(struct wcore_state *state, const char *plugin)
{
	AUTO(auto_close) int folder = -1;

	if (state->dirfd == -1)
		return -EROFS;
	folder = open_folder(state, plugin);
	if (folder == -ENOENT) {
		if (mkdirat(state->dirfd, plugin, 0700) == -1 && errno != EEXIST)
			return -errno;
		(void)file_sync_dir(state->dirfd);	/* the document's own sync is what counts */
		folder = open_folder(state, plugin);
	}
	if (folder < 0)
		return folder;
	return judge(state, folder, true) ? -EPERM : TAKE_FD(folder);
}

/* Blocks. Any thread. */
static int write_now(struct wcore_state *state, const char *plugin, const char *name,
		     const struct write *w)
{
	AUTO(auto_close) int folder = make_folder(state, plugin);

	if (folder < 0)
		return folder;
	return file_replace_at(folder, name, 0600, w->data, w->len);
}

static int write_fill(struct write *w, uint32_t flags, uint32_t version, const void *data,
		      size_t len)
{
	char head[32] = "";
	size_t head_len = 0;

	if (len > WCORE_STATE_MAX - sizeof(head))
		return -EFBIG;
	if (!(flags & WARREN_STATE_KEY))
		head_len = (size_t)snprintf(head, sizeof(head), "{\"format\":%u}\n", version);
	*w = (struct write){ .len = head_len + len };
	w->data = malloc(w->len + 1);
	if (!w->data)
		return -ENOMEM;
	memcpy(w->data, head, head_len);
	memcpy((char *)w->data + head_len, data, len);
	return 0;
}

static void write_wipe(struct write *w)
{
	if (w->data)
		sodium_memzero(w->data, w->len);
	free(w->data);
	w->data = NULL;
}

static int write_wait(struct write *w, warren_state_fn *done, void *arg)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter)), **at;

	if (!waiter)
		return -ENOMEM;
	*waiter = (struct waiter){ .done = done, .arg = arg };
	for (at = &w->waiters; *at; at = &(*at)->next)
		;
	*at = waiter;
	return 0;
}

static void write_tell(struct warren_ctx *ctx, struct write *w, int result)
{
	struct waiter *waiter;

	while ((waiter = w->waiters)) {
		w->waiters = waiter->next;
		waiter->done(ctx, result, waiter->arg);
		free(waiter);
	}
}

static void document_job(void *arg)
{
	struct wcore_document *doc = arg;

	doc->result = write_now(wcore_engine_state(doc->ctx->engine), doc->ctx->name, doc->name,
				&doc->now);
}

static void document_done(struct warren_ctx *ctx, void *arg);

static int document_start(struct wcore_document *doc)
{
	int rc;

	doc->busy = true;
	rc = warren_work(doc->ctx, document_job, document_done, doc);
	if (rc)
		doc->busy = false;
	return rc;
}

/*
 * Callbacks may write again: the finished write has left the document by then, and what they add
 * becomes `later` of one that is busy, or starts.
 */
static void document_done(struct warren_ctx *ctx, void *arg)
{
	struct wcore_document *doc = arg;
	struct write finished = doc->now, refused;
	int result = doc->result, rc;

	write_wipe(&finished);
	doc->busy = false;
	if (doc->has_later) {
		doc->now = doc->later;
		doc->later = (struct write){ 0 };
		doc->has_later = false;
		rc = document_start(doc);
		if (rc) {
			refused = doc->now;
			write_wipe(&refused);
			write_tell(ctx, &refused, rc);
		}
	}
	if (result)
		warren_log(ctx, LOG_ERR, "cannot write the document `%s`: %s; the one before it "
			   "is whole", doc->name, strerror(-result));
	write_tell(ctx, &finished, result);
}

static void document_end(void *obj)
{
	struct wcore_document *doc = obj;

	write_wipe(&doc->later);
}

static const struct wcore_kind writing_kind = { .name = "document", .end = document_end };

static struct wcore_document *document_get(struct warren_ctx *ctx, const char *name)
{
	struct wcore_document *doc;

	for (doc = ctx->documents; doc; doc = doc->next)
		if (strcmp(doc->name, name) == 0)
			return doc;
	doc = wcore_own_new(ctx, &writing_kind, sizeof(*doc));
	if (!doc)
		return NULL;
	str_copy(doc->name, sizeof(doc->name), name);
	doc->ctx = ctx;
	doc->next = ctx->documents;
	ctx->documents = doc;
	return doc;
}

int warren_state_write(struct warren_ctx *ctx, const char *name, uint32_t flags, uint32_t version,
		       const void *data, size_t len, warren_state_fn *done, void *arg)
{
	struct wcore_document *doc;
	struct write w;
	int rc;

	wcore_ctx_assert_open(ctx, "warren_state_write");
	if (!name_ok(name))
		return -EINVAL;
	rc = write_fill(&w, flags, version, data, len);
	if (rc)
		return rc;
	doc = document_get(ctx, name);
	if (!doc) {
		write_wipe(&w);
		return -ENOMEM;
	}
	if (doc->has_later)
		w.waiters = doc->later.waiters;
	if (done && write_wait(&w, done, arg)) {
		write_wipe(&w);
		return -ENOMEM;
	}
	if (doc->busy) {
		if (doc->has_later)
			write_wipe(&doc->later);
		doc->later = w;
		doc->has_later = true;
		return 0;
	}
	doc->now = w;
	rc = document_start(doc);
	if (rc) {
		free(doc->now.waiters);
		write_wipe(&doc->now);
	}
	return rc;
}

int warren_state_write_wait(struct warren_ctx *ctx, const char *name, uint32_t flags,
			    uint32_t version, const void *data, size_t len, struct warren_err *err)
{
	struct wcore_state *state = wcore_engine_state(ctx->engine);
	struct write w;
	int rc;

	wcore_ctx_assert_open(ctx, "warren_state_write_wait");
	if (!name_ok(name))
		return refuse(state, ctx, name, -EINVAL, err, "that is no name of a document");
	rc = write_fill(&w, flags, version, data, len);
	if (!rc) {
		rc = write_now(state, ctx->name, name, &w);
		write_wipe(&w);
	}
	return rc ? refuse(state, ctx, name, rc, err, strerror(-rc)) : 0;
}

/* The kernel knows the descriptor's path; what stands in a message may be a short form of it. */
static int folder_path(int folder, char *out, size_t size)
{
	char link[32];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", folder);
	len = readlink(link, out, size);
	if (len == -1)
		return -errno;
	if ((size_t)len >= size)
		return -ENAMETOOLONG;
	out[len] = '\0';
	/* By path it needs every folder above, which the descriptor did not. */
	return access(out, R_OK | W_OK | X_OK) == -1 ? -errno : 0;
}

int warren_state_path(struct warren_ctx *ctx, const char *name, char *out, size_t size,
		      struct warren_err *err)
{
	struct wcore_state *state = wcore_engine_state(ctx->engine);
	AUTO(auto_close) int folder = -1;
	size_t len;
	int rc;

	wcore_ctx_assert_open(ctx, "warren_state_path");
	if (!name_ok(name))
		return refuse(state, ctx, name, -EINVAL, err, "that is no name of a file");
	folder = make_folder(state, ctx->name);
	if (folder == -EPERM)
		return refuse(state, ctx, name, folder, err, "others than the daemon's user may "
			      "read or write its folder: `chmod go=` it");
	rc = folder < 0 ? folder : folder_path(folder, out, size);
	if (rc == -EACCES)
		return refuse(state, ctx, name, rc, err, "the daemon's user may not pass a folder "
			      "above it: `chmod a+x` that, or choose another with --state");
	len = rc ? 0 : strlen(out);
	if (!rc && snprintf(out + len, size - len, "/%s", name) >= (int)(size - len))
		rc = -ENAMETOOLONG;
	return rc ? refuse(state, ctx, name, rc, err, strerror(-rc)) : 0;
}

int wcore_state_subfolder(struct warren_ctx *ctx, const char *name, struct warren_err *err)
{
	struct wcore_state *state = wcore_engine_state(ctx->engine);
	AUTO(auto_close) int folder = -1;
	AUTO(auto_close) int fd = -1;
	const char *problem;

	if (!name_ok(name))
		return refuse(state, ctx, name, -EINVAL, err, "that is no name of a folder");
	folder = make_folder(state, ctx->name);
	if (folder < 0)
		return refuse(state, ctx, name, folder, err, strerror(-folder));
	if (mkdirat(folder, name, 0700) == -1 && errno != EEXIST)
		return refuse(state, ctx, name, -errno, err, strerror(errno));
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return refuse(state, ctx, name, -errno, err, strerror(errno));
	problem = judge(state, fd, true);
	return problem ? refuse(state, ctx, name, -EPERM, err, problem) : TAKE_FD(fd);
}
