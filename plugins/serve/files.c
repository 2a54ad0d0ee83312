/*
 * Files and folders. The monitor opens them, with the rights of whoever named the path, and nothing
 * below a folder can lead out of it. What is in a file is read by jobs, a piece at a time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "serve.h"

enum { PIECE = 64 << 10, DATE = 40 };

enum step { STEP_FILE = 1, STEP_BELOW, STEP_INDEX, STEP_LIST };

struct sent {
	struct list link;
	struct serve *s;
	struct warren_exchange *x;	/* NULL: gone */
	const struct warren_conf *conf;	/* until the first answer */
	const char *type;		/* of the path itself, if it is a file */
	struct warren_dir *dir;
	enum step step;
	bool asking;			/* an answer is waited for that names this */
	bool alone;			/* that answer is the monitor's and comes in any case */
	bool busy;			/* a job runs */
	bool head_only, slash;		/* HEAD; the path ends with a slash */
	int fd;
	int64_t at, end;		/* of the file */
	uint8_t *piece;
	ssize_t got;
	char name[SRV_NAME];		/* below the folder */
	char url[SRV_PATH];		/* the path that was asked for */
	char range[64], since[DATE], if_range[DATE];
};

static void sent_free(struct sent *f)
{
	list_del(&f->link);
	auto_close(&f->fd);
	free(f->piece);
	warren_release(f);
}

static void over(struct sent *f)
{
	f->x = NULL;
	if (!f->busy && !f->asking)
		sent_free(f);
}

static void refuse(struct sent *f, int status, const char *words)
{
	warren_exchange_say(f->x, status, words);
	over(f);
}

/* ---- what is in a file ---- */

static void read_job(void *arg)
{
	struct sent *f = arg;
	int64_t left = f->end - f->at;

	do {
		f->got = pread(f->fd, f->piece, left < PIECE ? (size_t)left : PIECE, f->at);
	} while (f->got == -1 && errno == EINTR);
}

static void read_done(struct warren_ctx *ctx, void *arg);

static void read_on(struct sent *f)
{
	if (f->busy || !f->x || warren_exchange_pending(f->x) > SRV_HIGH)
		return;
	if (f->at == f->end) {
		struct warren_exchange *x = f->x;

		warren_exchange_let_go(x);
		if (warren_exchange_end(x))
			warren_exchange_cancel(x);
		over(f);
		return;
	}
	f->busy = warren_work(f->s->ctx, read_job, read_done, f) == 0;
	if (!f->busy) {
		warren_exchange_cancel(f->x);
		over(f);
	}
}

static void read_done(struct warren_ctx *ctx, void *arg)
{
	struct sent *f = arg;

	(void)ctx;
	f->busy = false;
	/* A file that has become shorter cannot be told in any other way. */
	if (f->x && (f->got <= 0 || warren_exchange_write(f->x, f->piece, (size_t)f->got))) {
		warren_exchange_cancel(f->x);
		f->x = NULL;
	}
	if (!f->x) {
		over(f);
		return;
	}
	f->at += f->got;
	read_on(f);
}

static void x_drained(struct warren_exchange *x, void *arg)
{
	(void)x;
	read_on(arg);
}

static void x_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	over(arg);
}

static int x_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	warren_exchange_cancel(x);
	over(arg);
	return 0;
}

static const struct warren_exchange_events events = {
	.size = sizeof(events), .body = x_body, .drained = x_drained, .failed = x_failed,
};

static void format_date(int64_t seconds, char out[DATE])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&t, &tm))
		strftime(out, DATE, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static bool is_since(const char *text, int64_t seconds)
{
	int64_t when;

	return warren_http_date(text, &when) && seconds <= when;
}

/* The head; @length of the body, which follows unless it is 0. */
static void begin(struct sent *f, int status, const char *date, const char *span, int64_t length)
{
	const struct warren_http_field fields[] = {
		{ "Content-Type", f->name[0] ? srv_media_type(f->name) : f->type },
		{ "Last-Modified", date },
		{ "Accept-Ranges", "bytes" },
		{ "X-Content-Type-Options", "nosniff" },
		{ "Content-Range", span },
	};
	const struct warren_http_head head = {
		.size = sizeof(head), .status = status, .fields = fields,
		.n_fields = span[0] ? 5 : 4, .length = length,
	};
	struct warren_exchange *x = f->x;

	if (length == 0 || f->head_only)
		warren_exchange_let_go(x);
	if (warren_exchange_head(x, &head) ||
	    (f->head_only && length != 0 && warren_exchange_end(x))) {
		warren_exchange_cancel(x);
		over(f);
	} else if (length == 0 || f->head_only) {
		over(f);
	} else {
		read_on(f);
	}
}

static void send_file(struct sent *f)
{
	char date[DATE], span[80] = "";
	int64_t last;
	struct stat st;
	int ranged = 1;

	f->piece = malloc(PIECE);
	if (!f->piece || fstat(f->fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		refuse(f, 500, "the file cannot be read");
		return;
	}
	format_date(st.st_mtim.tv_sec, date);
	f->end = st.st_size;
	if (f->since[0] && is_since(f->since, st.st_mtim.tv_sec)) {
		begin(f, 304, date, "", 0);
		return;
	}
	/* A part of another version would be put together with what the client has. */
	if (f->range[0] && (!f->if_range[0] || strcmp(f->if_range, date) == 0))
		ranged = srv_range(f->range, st.st_size, &f->at, &last);
	if (ranged == -ERANGE) {
		snprintf(span, sizeof(span), "bytes */%lld", (long long)st.st_size);
		begin(f, 416, date, span, 0);
		return;
	}
	if (ranged == 0) {
		f->end = last + 1;
		snprintf(span, sizeof(span), "bytes %lld-%lld/%lld", (long long)f->at,
			 (long long)last, (long long)st.st_size);
	} else {
		f->at = 0;
	}
	begin(f, ranged == 0 ? 206 : 200, date, span, f->end - f->at);
}

/* ---- folders ---- */

static int by_name(const void *a, const void *b)
{
	const struct warren_dir_entry *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void add_entry(struct str *text, const struct warren_dir_entry *entry)
{
	const char *slash = S_ISDIR(entry->mode) ? "/" : "";

	/* "./": a colon in the name makes no scheme of it. */
	str_add(text, "<a href=\"./");
	srv_add_escaped(text, entry->name);
	str_addf(text, "%s\">", slash);
	str_add_html(text, entry->name);
	str_addf(text, "%s</a>\n", slash);
}

static void send_list(struct sent *f, const struct warren_dir_answer *answer)
{
	const struct warren_dir_entry **sorted = calloc(answer->n_entries + 1, sizeof(*sorted));
	struct warren_exchange *x = f->x;
	struct str text = STR_INIT;

	for (uint32_t i = 0; sorted && i < answer->n_entries; i++)
		sorted[i] = &answer->entries[i];
	if (sorted)
		qsort(sorted, answer->n_entries, sizeof(*sorted), by_name);
	str_add(&text, "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
		"content=\"width=device-width\">\n<pre>\n");
	for (uint32_t i = 0; sorted && i < answer->n_entries; i++) {
		if (S_ISDIR(sorted[i]->mode) || S_ISREG(sorted[i]->mode))
			add_entry(&text, sorted[i]);
	}
	str_add(&text, "</pre>\n");
	if (sorted)
		srv_answer(x, 200, "text/html; charset=utf-8", &text);
	else
		warren_exchange_say(x, 503, "no memory");
	free(sorted);
	str_free(&text);
	over(f);
}

/* Relative links of a folder's page need the slash. */
static void add_slash(struct sent *f)
{
	AUTO(str_free) struct str where = STR_INIT;
	struct warren_http_field field = { "Location", NULL };
	const struct warren_http_head head = { .size = sizeof(head), .status = 302,
					       .fields = &field, .n_fields = 1 };
	struct warren_exchange *x = f->x;
	const char *last = strrchr(f->url, '/');

	/* Relative, so that a path which begins with two slashes is no other host's. */
	str_addf(&where, "./%s/", last ? last + 1 : "");
	field.value = str_text(&where);
	warren_exchange_let_go(x);
	if (where.failed || warren_exchange_head(x, &head))
		warren_exchange_cancel(x);
	over(f);
}

static void go(struct sent *f);

static void file_missing(struct sent *f, int result)
{
	if (result == -ENOENT || result == -ENOTDIR)
		refuse(f, 404, "404 page not found");
	else if (result == -EAGAIN)
		refuse(f, 503, "too much is under way");
	else
		refuse(f, 403, "403 forbidden");
}

/* False: another answer is waited for, or nothing is left. */
static bool is_over(struct sent *f)
{
	f->asking = false;
	if (f->x)
		return false;
	over(f);
	return true;
}

static void listed(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct sent *f = arg;

	(void)ctx;
	if (is_over(f))
		return;
	if (answer->result)
		file_missing(f, answer->result);
	else
		send_list(f, answer);
}

static void below_opened(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct sent *f = arg;
	size_t len;

	(void)ctx;
	f->fd = answer->fd;
	if (is_over(f))
		return;
	if (f->fd >= 0 && !(f->step == STEP_BELOW && f->slash)) {
		send_file(f);
		return;
	}
	if (f->step == STEP_INDEX) {
		/* Back to the folder's own name. */
		len = strlen(f->name) - strlen("index.html");
		f->name[len > 0 ? len - 1 : 0] = '\0';
		f->step = STEP_LIST;
	} else if (f->fd >= 0) {
		refuse(f, 404, "404 page not found");
		return;
	} else if (answer->result != -EINVAL && answer->result != -EISDIR) {
		file_missing(f, answer->result);
		return;
	} else {
		f->step = STEP_INDEX;	/* a folder */
	}
	go(f);
}

static void file_opened(struct warren_ctx *ctx, int result, int fd, const char *why, void *arg)
{
	struct sent *f = arg;

	(void)ctx;
	(void)why;
	f->alone = false;
	f->fd = fd;
	if (is_over(f))
		return;
	if (!result) {
		send_file(f);
	} else if (f->dir && (result == -EINVAL || result == -EISDIR)) {
		f->step = STEP_INDEX;	/* a folder */
		go(f);
	} else {
		file_missing(f, result);
	}
}

static int ask(struct sent *f)
{
	size_t len = strlen(f->name);

	switch (f->step) {
	case STEP_FILE:
		f->alone = true;
		return warren_conf_open(f->s->ctx, f->conf, "path", file_opened, f);
	case STEP_BELOW:
		return warren_dir_open(f->dir, f->name, below_opened, f);
	case STEP_INDEX:
		if (len + sizeof("/index.html") > sizeof(f->name))
			return -ENAMETOOLONG;
		snprintf(f->name + len, sizeof(f->name) - len, "%sindex.html", len ? "/" : "");
		return warren_dir_open(f->dir, f->name, below_opened, f);
	case STEP_LIST:
		return warren_dir_list_at(f->dir, f->name, listed, f);
	}
	return -EINVAL;
}

static void go(struct sent *f)
{
	int result;

	if (f->step == STEP_INDEX && !f->slash) {
		add_slash(f);
		return;
	}
	f->asking = true;
	result = ask(f);
	if (!result)
		return;
	f->asking = false;
	f->alone = false;
	file_missing(f, result == -EINVAL ? -ENOENT : result);
}

static void keep(char *out, size_t size, const char *value)
{
	if (!value || !str_copy(out, size, value))
		out[0] = '\0';
}

void srv_files(struct serve *s, struct warren_exchange *x, const struct warren_http_head *head,
	       const struct srv_mount *mount, const char *clean)
{
	bool head_only = strcmp(head->method, "HEAD") == 0;
	const char *rest = srv_mount_rest(mount->mount, clean);
	struct sent *f;

	if (!head_only && strcmp(head->method, "GET") != 0) {
		warren_exchange_say(x, 405, "method not allowed");
		return;
	}
	f = warren_zalloc(s->ctx, sizeof(*f));
	if (!f) {
		warren_exchange_say(x, 503, "no memory");
		return;
	}
	f->s = s;
	f->x = x;
	f->fd = -1;
	f->conf = mount->conf;
	f->type = srv_media_type(mount->text);
	f->dir = mount->dir;
	f->head_only = head_only;
	f->slash = clean[strlen(clean) - 1] == '/';
	str_copy(f->url, sizeof(f->url), clean);
	keep(f->range, sizeof(f->range), warren_http_field(head, "range"));
	keep(f->since, sizeof(f->since), warren_http_field(head, "if-modified-since"));
	keep(f->if_range, sizeof(f->if_range), warren_http_field(head, "if-range"));
	if (head_only)
		f->range[0] = '\0';
	list_add_tail(&s->files, &f->link);
	warren_exchange_set(x, &events, f);
	if (!srv_path_name(rest, f->name)) {
		refuse(f, 404, "404 page not found");
		return;
	}
	f->step = f->name[0] ? STEP_BELOW : mount->below ? STEP_INDEX : STEP_FILE;
	go(f);
}

void srv_files_end(struct serve *s)
{
	struct sent *f, *next;

	list_for_each_safe(f, next, &s->files, link) {
		/* What is open is sent to its end. */
		if (!f->asking)
			continue;
		/* The folder is closed, and tells nobody any more. */
		f->asking = f->alone;
		if (f->x)
			warren_exchange_say(f->x, 503,
					    "what is served has just changed: try again");
		over(f);
	}
}
