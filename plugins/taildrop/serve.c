/*
 * What peers ask for: to send a file, and what is here of one that was cut off. A partial file is
 * told of to its sender alone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include "base/util.h"
#include "taildrop.h"

enum { BLOCKS = 16, HIGH = 256 << 10 };	/* of a job; bytes of the answer that may wait */

/*
 * ---- Hashes ----
 */

struct hashing {
	struct list link;
	struct taildrop *td;
	struct warren_exchange *x;	/* NULL: the peer is gone */
	int64_t node;
	int fd;
	bool waiting, busy, end;
	int64_t at;
	struct str text;
};

struct listing {
	struct list link;
	struct warren_exchange *x;
	int64_t node;
	char id[DROP_NAME];
};

static void hashing_free(struct hashing *h)
{
	list_del(&h->link);
	auto_close(&h->fd);
	str_free(&h->text);
	warren_release(h);
}

static void hashing_over(struct hashing *h)
{
	if (h->x)
		warren_exchange_cancel(h->x);
	h->x = NULL;
	if (!h->busy && !h->waiting)
		hashing_free(h);
}

size_t drop_read(int fd, uint8_t *buf, size_t len, int64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, at + (int64_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static void hash_job(void *arg)
{
	struct hashing *h = arg;
	uint8_t *buf = malloc(DROP_BLOCK);

	h->end = !buf;
	for (int i = 0; i < BLOCKS && !h->end; i++) {
		size_t len = drop_read(h->fd, buf, DROP_BLOCK, h->at);
		struct drop_block block = { .size = (uint32_t)len };

		h->end = block.size < DROP_BLOCK;
		if (block.size == 0)
			break;
		crypto_hash_sha256(block.sha256, buf, block.size);
		drop_block_format(&block, &h->text);
		h->at += block.size;
	}
	free(buf);
}

static void hashed(struct warren_ctx *ctx, void *arg);

static void hash_on(struct hashing *h)
{
	if (h->busy || !h->x || warren_exchange_pending(h->x) > HIGH)
		return;
	if (h->end) {
		struct warren_exchange *x = h->x;

		h->x = NULL;
		warren_exchange_let_go(x);
		if (warren_exchange_end(x))
			warren_exchange_cancel(x);
		hashing_over(h);
		return;
	}
	h->busy = warren_work(h->td->ctx, hash_job, hashed, h) == 0;
	if (!h->busy)
		hashing_over(h);
}

static void hashed(struct warren_ctx *ctx, void *arg)
{
	struct hashing *h = arg;

	(void)ctx;
	h->busy = false;
	if (!h->x || h->text.failed || warren_exchange_write(h->x, h->text.s, h->text.len)) {
		hashing_over(h);
		return;
	}
	str_cut(&h->text, 0);
	hash_on(h);
}

static void hash_drained(struct warren_exchange *x, void *arg)
{
	(void)x;
	hash_on(arg);
}

static void hash_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	struct hashing *h = arg;

	(void)x;
	(void)result;
	(void)why;
	h->x = NULL;
	hashing_over(h);
}

static const struct warren_exchange_events hash_events = {
	.size = sizeof(hash_events), .drained = hash_drained, .failed = hash_failed,
};

static void hash_opened(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct warren_http_field type = { "Content-Type", "application/json" };
	struct warren_http_head head = { .size = sizeof(head), .status = 200, .fields = &type,
					 .n_fields = 1, .length = answer->fd >= 0 ? -1 : 0 };
	struct hashing *h = arg;

	(void)ctx;
	h->waiting = false;
	h->fd = answer->fd;
	if (h->x && h->fd == -1) {
		struct warren_exchange *x = h->x;

		/* Nothing is here of it: with that answer the exchange is over. */
		h->x = NULL;
		warren_exchange_let_go(x);
		if (warren_exchange_head(x, &head))
			warren_exchange_cancel(x);
		hashing_over(h);
	} else if (!h->x || warren_exchange_head(h->x, &head)) {
		hashing_over(h);
	} else {
		hash_on(h);
	}
}

/* Answered with that, if so: each costs a job, and memory for what the peer does not read. */
static bool too_many(struct taildrop *td, struct warren_exchange *x, int64_t node)
{
	uint32_t all = 0, same = 0;
	const struct hashing *h;
	const struct listing *l;

	list_for_each(h, &td->hashings, link) {
		all++;
		same += h->node == node;
	}
	list_for_each(l, &td->listings, link) {
		all++;
		same += l->node == node;
	}
	if (all < DROP_ALL_MAX && same < DROP_PEER_MAX)
		return false;
	warren_exchange_say(x, 503, "too many questions at once");
	return true;
}

void drop_hashes(struct taildrop *td, struct warren_exchange *x, const struct warren_node *node,
		 const char *partial)
{
	struct hashing *h;

	if (too_many(td, x, node->id))
		return;
	h = warren_zalloc(td->ctx, sizeof(*h));
	if (!h) {
		warren_exchange_say(x, 500, "no memory");
		return;
	}
	h->td = td;
	h->x = x;
	h->node = node->id;
	h->fd = -1;
	list_add_tail(&td->hashings, &h->link);
	warren_exchange_set(x, &hash_events, h);
	h->waiting = warren_dir_open(td->dir, partial, hash_opened, h) == 0;
	if (!h->waiting)
		hashing_over(h);
}

void drop_hashes_end(struct taildrop *td)
{
	struct hashing *h, *next;
	struct listing *l, *next_l;

	list_for_each_safe(h, next, &td->hashings, link) {
		h->waiting = false;
		hashing_over(h);
	}
	list_for_each_safe(l, next_l, &td->listings, link) {
		if (l->x)
			warren_exchange_cancel(l->x);
		list_del(&l->link);
		warren_release(l);
	}
}

/*
 * ---- Partial files ----
 */

static void list_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	((struct listing *)arg)->x = NULL;
}

static const struct warren_exchange_events list_events = {
	.size = sizeof(list_events), .failed = list_failed,
};

static void list_done(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct listing *l = arg;
	struct str text = STR_INIT;

	(void)ctx;
	str_addc(&text, '[');
	for (uint32_t i = 0; i < answer->n_entries; i++) {
		const char *entry = answer->entries[i].name;
		char name[DROP_NAME], id[DROP_NAME];

		if (!drop_partial_split(entry, name, id) || strcmp(id, l->id) != 0)
			continue;
		str_add(&text, text.len > 1 ? "," : "");
		str_add_json(&text, entry, strlen(entry));
	}
	str_add(&text, "]\n");
	if (l->x && (answer->result || text.failed))
		warren_exchange_say(l->x, 500, "the folder cannot be read");
	else if (l->x)
		warren_exchange_answer(l->x, 200, "application/json", text.s, text.len);
	str_free(&text);
	list_del(&l->link);
	warren_release(l);
}

void drop_list_partials(struct taildrop *td, struct warren_exchange *x,
			const struct warren_node *node)
{
	struct listing *l;

	if (too_many(td, x, node->id))
		return;
	l = warren_zalloc(td->ctx, sizeof(*l));
	if (!l) {
		warren_exchange_say(x, 500, "no memory");
		return;
	}
	l->x = x;
	l->node = node->id;
	str_copy(l->id, sizeof(l->id), node->stable_id);
	list_add_tail(&td->listings, &l->link);
	warren_exchange_set(x, &list_events, l);
	if (warren_dir_list(td->dir, list_done, l) == 0)
		return;
	list_del(&l->link);
	warren_release(l);
	warren_exchange_say(x, 500, "too much is under way");
}

/*
 * ---- Requests ----
 */

static void refuse(struct taildrop *td, struct warren_exchange *x, const struct warren_node *node)
{
	warren_stat_add(td->refused, 1);
	warren_log_limit(td->ctx, &td->log_refused, LOG_INFO, "%s may not send files here",
			 node->name ? node->name : "a peer");
	warren_exchange_say(x, 403, "Taildrop disabled; no storage directory");
}

void drop_request(struct warren_exchange *x, const struct warren_http_head *head,
		  const struct warren_peerapi_caller *caller, void *arg)
{
	bool get = strcmp(head->method, "GET") == 0, put = strcmp(head->method, "PUT") == 0;
	char name[DROP_NAME] = "", partial[DROP_NAME];
	struct taildrop *td = arg;

	if (!td->dir) {
		warren_exchange_say(x, 503, "taildrop is stopping");
	} else if (!drop_may_send(td, caller->map, caller->node)) {
		refuse(td, x, caller->node);
	} else if (!get && !put) {
		warren_exchange_say(x, 405, "expected method GET or PUT");
	} else if (!drop_path_name(head->path, name) ||
		   (name[0] && !drop_name_ok(name, caller->node->stable_id)) ||
		   (put && !name[0])) {
		warren_exchange_say(x, 400, "invalid filename");
	} else if (put) {
		drop_receive(td, x, head, caller->node, name);
	} else if (name[0]) {
		drop_partial(name, caller->node->stable_id, partial);
		drop_hashes(td, x, caller->node, partial);
	} else {
		drop_list_partials(td, x, caller->node);
	}
}
