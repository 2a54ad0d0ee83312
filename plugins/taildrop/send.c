/*
 * One file to one peer. First the peer is asked for the hashes of what it has of it, and ours are
 * compared with them block by block, at most ten seconds long; then comes what is behind the last
 * one that agreed. Files are read by jobs, a piece at a time; of what can be read only once (a
 * pipe), nothing is compared, and a job reads when there is something to be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"
#include "taildrop.h"

enum { PIECE = 256 << 10, HIGH = 256 << 10, BLOCKS = 32, SAID = 300 };
static const uint64_t dial_usec = 30 * SECOND, compare_usec = 10 * SECOND,
		      stall_usec = 60 * SECOND, answer_usec = 600 * SECOND;

struct drop_sending {
	struct list link;
	struct taildrop *td;
	struct drop_send what;
	char name[DROP_NAME], host[ADDRPORT_TEXT];
	int64_t node;
	int fd;
	bool pipe;			/* it can be read once only; `io` watches it */
	int64_t size;			/* -1: not known */
	struct warren_peerapi_call *call;
	struct warren_http *http;
	struct warren_exchange *x;
	struct warren_timer *start, *timer;
	struct warren_io *io;
	bool putting, busy, ended, eof, sent_all;
	/* Comparing. */
	struct str text;
	struct drop_block blocks[BLOCKS];
	uint32_t n_blocks;
	bool agreed, asked_all;
	int64_t offset;			/* what the peer has */
	/* Sending. */
	uint8_t *buf;
	size_t len;
	int64_t read, written;
	int result;
	int status;
	char said[SAID + 1];
};

static void sending_free(struct drop_sending *s)
{
	list_del(&s->link);
	s->td->peerapi->cancel(s->td->peerapi_self, s->call);
	warren_http_close(s->http);
	warren_release(s->start);
	warren_release(s->timer);
	warren_release(s->io);
	auto_close(&s->fd);
	str_free(&s->text);
	free(s->buf);
	warren_release(s);
}

static void hang_up(struct drop_sending *s)
{
	warren_http_close(s->http);
	s->http = NULL;
	s->x = NULL;
}

/* Over for whoever waits; a job may still have it. */
static void leave(struct drop_sending *s)
{
	s->ended = true;
	hang_up(s);
	s->td->peerapi->cancel(s->td->peerapi_self, s->call);
	s->call = NULL;
	warren_timer_stop(s->timer);
	if (s->io)
		warren_io_want(s->io, 0);
	if (!s->busy)
		sending_free(s);
}

static void finish(struct drop_sending *s, int result, const char *why)
{
	void (*done)(int, const char *, void *) = s->what.done;
	void *arg = s->what.arg;
	char text[512];

	if (s->ended)
		return;
	snprintf(text, sizeof(text), "%.500s", why ? why : "");
	if (result == 0)
		warren_stat_add(s->td->sent, 1);
	leave(s);
	done(result, result ? text : NULL, arg);
}

static void failed_at(struct drop_sending *s, int result, const char *why)
{
	char text[512];

	if (s->putting && s->written > 0)
		snprintf(text, sizeof(text), "%.300s; what has arrived is kept for an hour, send "
			 "it again to go on", why);
	else
		snprintf(text, sizeof(text), "%.400s", why);
	finish(s, result, text);
}

static void connect_to_peer(struct drop_sending *s);

/*
 * ---- Comparing ----
 */

static void put(struct drop_sending *s)
{
	hang_up(s);
	s->putting = true;
	warren_timer_stop(s->timer);
	connect_to_peer(s);
}

static void compare_job(void *arg)
{
	struct drop_sending *s = arg;
	uint8_t *buf = malloc(DROP_BLOCK_MAX), hash[32];

	for (uint32_t i = 0; i < s->n_blocks && s->agreed; i++) {
		size_t len = s->blocks[i].size;

		s->agreed = buf && drop_read(s->fd, buf, len, s->offset) == len;
		if (!s->agreed)
			break;
		crypto_hash_sha256(hash, buf, len);
		s->agreed = memcmp(hash, s->blocks[i].sha256, sizeof(hash)) == 0;
		if (s->agreed)
			s->offset += (int64_t)len;
	}
	free(buf);
}

static bool compare(struct drop_sending *s);

static void compared(struct warren_ctx *ctx, void *arg)
{
	struct drop_sending *s = arg;

	(void)ctx;
	s->busy = false;
	s->n_blocks = 0;
	if (s->ended)
		sending_free(s);
	else if (!s->agreed)
		put(s);
	else if (!compare(s) && s->asked_all)
		put(s);
	else if (!s->busy && s->x)
		warren_exchange_resume(s->x);
}

/* Blocks that have come are compared. False: there are none that are whole. */
static bool compare(struct drop_sending *s)
{
	size_t at = 0, used;

	while (s->n_blocks < BLOCKS && s->text.len > at) {
		int result = drop_block_parse(s->text.s + at, s->text.len - at,
					      &s->blocks[s->n_blocks], &used);

		if (result == WARREN_PENDING)
			break;
		if (result) {
			s->text.len = at;
			s->asked_all = true;	/* what is before it counts */
			break;
		}
		at += used;
		s->n_blocks++;
	}
	if (at > 0) {
		memmove(s->text.s, s->text.s + at, s->text.len - at);
		str_cut(&s->text, s->text.len - at);
	}
	if (s->n_blocks == 0)
		return false;
	s->busy = warren_work(s->td->ctx, compare_job, compared, s) == 0;
	return s->busy;
}

static void ask_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)x;
	if (head->status != 200)	/* a peer that cannot go on with files */
		put(arg);
}

static int ask_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	str_addn(&s->text, (const char *)data, len);
	if (s->text.failed || s->text.len > HIGH) {
		put(s);
		return 0;
	}
	return compare(s) ? WARREN_PENDING : 0;
}

static void ask_complete(struct warren_exchange *x, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	s->x = NULL;
	s->asked_all = true;
	if (!s->busy)
		put(s);
}

/* Without an answer the whole file is sent. */
static void ask_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	(void)result;
	(void)why;
	s->x = NULL;
	s->asked_all = true;
	if (!s->busy)
		put(s);
}

static const struct warren_exchange_events ask_events = {
	.size = sizeof(ask_events), .head = ask_head, .body = ask_body,
	.complete = ask_complete, .failed = ask_failed,
};

/*
 * ---- Sending ----
 */

static void pump(struct drop_sending *s);

static void read_job(void *arg)
{
	struct drop_sending *s = arg;
	size_t most = PIECE;
	ssize_t n;

	if (s->size >= 0 && s->size - s->read < (int64_t)most)
		most = (size_t)(s->size - s->read);
	do {
		n = s->pipe ? read(s->fd, s->buf, most) : pread(s->fd, s->buf, most, s->read);
	} while (n == -1 && errno == EINTR);
	s->result = n == -1 ? -errno : 0;
	s->len = n > 0 ? (size_t)n : 0;
}

static void read_done(struct warren_ctx *ctx, void *arg)
{
	struct drop_sending *s = arg;

	(void)ctx;
	s->busy = false;
	if (s->ended) {
		sending_free(s);
		return;
	}
	if (s->result == -EAGAIN) {
		pump(s);
		return;
	}
	if (s->result) {
		failed_at(s, s->result, strerror(-s->result));
		return;
	}
	s->read += (int64_t)s->len;
	s->eof = s->len == 0 || s->read == s->size;
	if (s->size >= 0 && s->len == 0 && s->read < s->size) {
		failed_at(s, -EIO, "the file became shorter while it was sent");
		return;
	}
	if (!s->x)
		return;			/* the peer has answered already */
	if (s->len > 0 && warren_exchange_write(s->x, s->buf, s->len)) {
		failed_at(s, -EPIPE, "the connection was closed");
		return;
	}
	s->written += (int64_t)s->len;
	warren_stat_add(s->td->sent_bytes, (int64_t)s->len);
	warren_timer_set(s->timer, stall_usec);
	pump(s);
}

static void start_read(struct drop_sending *s)
{
	s->busy = warren_work(s->td->ctx, read_job, read_done, s) == 0;
	if (!s->busy)
		failed_at(s, -EAGAIN, "too much is under way");
}

static void on_pipe(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	struct drop_sending *s = arg;

	(void)ctx;
	(void)fd;
	(void)what;
	warren_io_want(s->io, 0);
	if (!s->busy && !s->ended)
		start_read(s);
}

static void pump(struct drop_sending *s)
{
	if (s->busy || !s->x || s->sent_all || warren_exchange_pending(s->x) > HIGH)
		return;
	if (s->eof) {
		s->sent_all = true;
		warren_timer_set(s->timer, answer_usec);
		if (warren_exchange_end(s->x))
			failed_at(s, -EPIPE, "the connection was closed");
	} else if (s->io) {
		warren_timer_stop(s->timer);	/* whoever writes into it may take his time */
		warren_io_want(s->io, WARREN_IN);
	} else {
		start_read(s);
	}
}

static void put_drained(struct warren_exchange *x, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	if (!s->sent_all)
		warren_timer_set(s->timer, stall_usec);
	pump(s);
}

static void put_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	(void)x;
	((struct drop_sending *)arg)->status = head->status;
}

static int put_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct drop_sending *s = arg;
	size_t has = strlen(s->said), room = SAID - has;

	(void)x;
	len = len < room ? len : room;
	memcpy(s->said + has, data, len);
	s->said[has + len] = '\0';
	return 0;
}

/* Its words, for a terminal: the core cleans them. */
static void refused(struct drop_sending *s)
{
	char why[SAID + 64];
	size_t len = strcspn(s->said, "\r\n");

	s->said[len] = '\0';
	if (len > 0)
		snprintf(why, sizeof(why), "the peer refused it: %s", s->said);
	else
		snprintf(why, sizeof(why), "the peer refused it with HTTP status %d", s->status);
	finish(s, -EREMOTEIO, why);
}

static void put_complete(struct warren_exchange *x, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	s->x = NULL;
	if (s->status != 200)
		refused(s);
	else if (!s->eof)
		finish(s, -EREMOTEIO, "the peer answered before it had the whole file");
	else
		finish(s, 0, NULL);
}

static void put_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct drop_sending *s = arg;

	(void)x;
	s->x = NULL;
	failed_at(s, result, why);
}

static const struct warren_exchange_events put_events = {
	.size = sizeof(put_events), .head = put_head, .body = put_body, .drained = put_drained,
	.complete = put_complete, .failed = put_failed,
};

/*
 * ---- Connections ----
 */

static void http_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct drop_sending *s = arg;

	(void)http;
	hang_up(s);
	if (s->putting)
		failed_at(s, result ? result : -ECONNRESET, why ? why : "the peer hung up");
	else if (!s->busy)
		put(s);
	else
		s->asked_all = true;
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .ended = http_ended,
};

static void request(struct drop_sending *s)
{
	char range[64];
	const struct warren_http_field field = { "Range", range };
	AUTO(str_free) struct str path = STR_INIT;
	struct warren_http_head head = {
		.size = sizeof(head), .method = s->putting ? "PUT" : "GET", .authority = s->host,
		.fields = &field, .n_fields = s->putting && s->offset > 0,
	};

	snprintf(range, sizeof(range), "bytes=%lld-", (long long)s->offset);
	if (s->putting)
		head.length = s->size < 0 ? -1 : s->size - s->offset;
	s->read = s->offset;
	s->eof = head.length == 0;
	s->sent_all = head.length == 0;
	str_add(&path, "/v0/put/");
	drop_add_escaped(&path, s->name);
	head.path = str_text(&path);
	s->x = path.failed ? NULL : warren_http_request(s->http, &head,
							s->putting ? &put_events : &ask_events, s);
	if (!s->x) {
		finish(s, -ENOMEM, "no memory");
		return;
	}
	warren_timer_set(s->timer, !s->putting ? compare_usec : s->sent_all ? answer_usec :
								 stall_usec);
	if (s->putting)
		pump(s);
}

static void connected(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		      void *arg)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .body_max = -1,
		.idle_timeout = UINT64_MAX,
	};
	struct drop_sending *s = arg;

	(void)ctx;
	s->call = NULL;
	if (!stream) {
		finish(s, -EHOSTUNREACH, why);
		return;
	}
	s->http = warren_http_client_take(stream, &options, &http_events, s);
	if (s->http)
		request(s);
	else
		finish(s, -ENOMEM, "no memory");
}

static void connect_to_peer(struct drop_sending *s)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct taildrop *td = s->td;
	const struct warren_netmap *map = td->netmap->current(td->netmap_self);
	const struct warren_node *node = warren_netmap_peer(map, s->node);
	struct warren_addrport at;

	if (node && td->peerapi->base(td->peerapi_self, node, &at)) {
		addrport_format(&at, s->host);
		s->call = td->peerapi->connect(td->peerapi_self, td->ctx, node, dial_usec,
					       connected, s, &err);
	}
	warren_obj_unref(map);
	if (!s->call)
		finish(s, -EHOSTUNREACH, err_any(&err) ? err_first(&err) :
		       "the peer is not in the network any more, or lets nobody in");
}

static void late(struct warren_ctx *ctx, void *arg)
{
	struct drop_sending *s = arg;

	(void)ctx;
	if (s->putting && s->sent_all) {
		failed_at(s, -ETIMEDOUT, "the peer has the whole file and does not answer");
	} else if (s->putting) {
		failed_at(s, -ETIMEDOUT, "the peer takes nothing more");
	} else if (!s->busy) {
		put(s);
	} else {
		hang_up(s);		/* the blocks that a job compares are the last */
		str_cut(&s->text, 0);
		s->asked_all = true;
	}
}

static void begin(struct warren_ctx *ctx, void *arg)
{
	struct drop_sending *s = arg;

	(void)ctx;
	if (!s->ended)
		connect_to_peer(s);
}

static bool open_source(struct drop_sending *s, struct warren_err *err)
{
	struct stat st;
	int copy;

	if (fstat(s->fd, &st) == -1 || S_ISDIR(st.st_mode)) {
		warren_fail(err, NULL, "directories not supported");
		return false;
	}
	s->size = -1;
	s->agreed = true;
	if (S_ISREG(st.st_mode)) {
		s->size = st.st_size;
		return true;
	}
	s->pipe = true;
	s->putting = true;
	copy = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	s->io = copy == -1 ? NULL : warren_io_new_take(s->td->ctx, copy, on_pipe, s);
	if (!s->io)
		warren_fail(err, NULL, "\"%s\" is neither a file nor a pipe: nothing else can be "
			    "sent", s->name);
	return s->io != NULL;
}

struct drop_sending *drop_send_take(struct taildrop *td, const struct drop_send *send,
				    struct warren_err *err)
{
	struct drop_sending *s = warren_zalloc(td->ctx, sizeof(*s));

	if (!s) {
		close(send->fd);
		warren_fail(err, NULL, "no memory");
		return NULL;
	}
	s->td = td;
	s->what = *send;
	s->node = send->node->id;
	s->fd = send->fd;
	list_add_tail(&td->sendings, &s->link);
	s->buf = malloc(PIECE);
	s->start = warren_timer_new(td->ctx, begin, s);
	s->timer = warren_timer_new(td->ctx, late, s);
	if (!s->buf || !s->timer || !s->start || !str_copy(s->name, sizeof(s->name), send->name) ||
	    !open_source(s, err)) {
		if (!err_any(err))
			warren_fail(err, NULL, "no memory");
		sending_free(s);
		return NULL;
	}
	warren_timer_set(s->start, 0);
	return s;
}

void drop_send_cancel(struct drop_sending *s)
{
	if (s && !s->ended)
		leave(s);
}

void drop_send_progress(const struct drop_sending *s, int64_t *done, int64_t *total)
{
	size_t pending = s->x && s->putting ? warren_exchange_pending(s->x) : 0;

	*done = s->offset + s->written - (int64_t)pending;
	*done = *done < 0 ? 0 : *done;
	*total = s->size;
}

int64_t drop_send_resumed(const struct drop_sending *s)
{
	return s->offset;
}
