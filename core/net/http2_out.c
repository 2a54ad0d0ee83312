/*
 * HTTP/2: what we send. Nothing is sent from inside a call of the owner: what he gives is queued,
 * and the loop lets the library frame it, so that no exchange ends under its owner's hands.
 */
#include "http2_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

enum { OUT_LOW = 64 << 10, OUT_MAX = 16 << 20 };	/* of one exchange */

static void stall_begins(struct h2 *h2, struct h2_exchange *e)
{
	e->out_by = h2->http.server && e->out.len > 0 ? h2_deadline(H2_WRITE_STALL) : 0;
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct h2 *h2 = arg;
	struct h2_exchange *e = h2_find(h2, id);
	size_t n;

	(void)session;
	(void)source;
	if (!e)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = e->out.len < len ? e->out.len : len;
	if (n == 0 && !e->out_end) {
		e->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	memcpy(buf, bytes_at(&e->out), n);
	bytes_take(&e->out, n);
	stall_begins(h2, e);
	if (e->was_high && e->out.len <= OUT_LOW) {
		e->was_high = false;
		e->drain_due = true;
		warren_timer_set(h2->kick, 0);
	}
	if (e->out.len == 0 && e->out_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		http_sent_all(&e->x);
	}
	return (ssize_t)n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	nghttp2_nv nv = { .name = (uint8_t *)(uintptr_t)name, .namelen = strlen(name),
			  .value = (uint8_t *)(uintptr_t)value, .valuelen = strlen(value) };

	return nv;
}

struct block {				/* a head as the library wants it */
	nghttp2_nv nv[WARREN_HTTP_FIELDS + 5];
	size_t n;
	char number[24];
};

static void add(struct block *b, const char *name, const char *value)
{
	b->nv[b->n++] = pair(name, value);
}

/* The fields after the pseudo ones. False: one that HTTP/2 has no place for (RFC 9113 8.2.2). */
static bool add_fields(struct block *b, const struct warren_http_head *head)
{
	for (uint32_t i = 0; i < head->n_fields; i++) {
		if (strcasecmp(head->fields[i].name, "connection") == 0 ||
		    strcasecmp(head->fields[i].name, "upgrade") == 0)
			return false;
		add(b, head->fields[i].name, head->fields[i].value);
	}
	return true;
}

static void add_length(struct block *b, int64_t length)
{
	snprintf(b->number, sizeof(b->number), "%lld", (long long)length);
	add(b, "content-length", b->number);
}

/* The other side's limit is reached, or it takes no more at all. */
static bool is_full(struct h2 *h2)
{
	uint32_t max = nghttp2_session_get_remote_settings(
			h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	const struct h2_exchange *e;
	uint32_t n = 0;

	list_for_each(e, &h2->http.exchanges, x.link)
		n++;
	return h2->end_due || h2->broken || n >= max ||
	       !nghttp2_session_check_request_allowed(h2->session);
}

static bool has_length_zero(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
	       strcmp(method, "PATCH") == 0;
}

struct warren_exchange *h2_request(struct warren_http *http, const struct warren_http_head *head)
{
	struct h2 *h2 = h2_of(http);
	nghttp2_data_provider provider = { .read_callback = read_out };
	struct block b = { .n = 0 };
	struct h2_exchange *e;

	if (is_full(h2))
		return NULL;
	add(&b, ":method", head->method);
	add(&b, ":scheme", head->scheme ? head->scheme : "https");
	add(&b, ":authority", head->authority);
	add(&b, ":path", head->path);
	if (!add_fields(&b, head))
		return NULL;
	if (head->length > 0 || (head->length == 0 && has_length_zero(head->method)))
		add_length(&b, head->length);
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	http_exchange_init(&e->x, http);
	e->left = head->length;
	e->out_end = head->length == 0;
	e->id = nghttp2_submit_request(h2->session, NULL, b.nv, b.n,
				       head->length ? &provider : NULL, NULL);
	if (e->id < 0) {
		http_exchange_bury(&e->x);
		return NULL;
	}
	warren_timer_set(h2->kick, 0);
	return &e->x;
}

int h2_head(struct warren_exchange *x, const struct warren_http_head *head)
{
	struct h2 *h2 = h2_of(x->http);
	struct h2_exchange *e = h2_exchange_of(x);
	nghttp2_data_provider provider = { .read_callback = read_out };
	bool never = head->status == 204 || head->status == 304;
	struct block b = { .n = 0 };
	char status[16];

	if (h2->broken)
		return -EPIPE;
	snprintf(status, sizeof(status), "%d", head->status);
	add(&b, ":status", status);
	if (!add_fields(&b, head))
		return -EINVAL;
	if (head->length >= 0 && !never)
		add_length(&b, head->length);
	e->no_body = e->no_body || never;
	e->left = head->length;
	if (nghttp2_submit_response(h2->session, e->id, b.nv, b.n,
				    e->no_body || e->left == 0 ? NULL : &provider))
		return -ENOMEM;
	if (head->length == 0) {
		e->out_end = true;
		http_sent_all(x);
	}
	warren_timer_set(h2->kick, 0);
	return 0;
}

/* The library asks for output when it has none; else it goes on by itself. */
static void offer(struct h2 *h2, struct h2_exchange *e)
{
	if (e->deferred && !h2->broken) {
		e->deferred = false;
		nghttp2_session_resume_data(h2->session, e->id);
	}
	warren_timer_set(h2->kick, 0);
}

int h2_write(struct warren_exchange *x, const void *data, size_t len)
{
	struct h2 *h2 = h2_of(x->http);
	struct h2_exchange *e = h2_exchange_of(x);
	bool first = e->out.len == 0;

	if (e->no_body)
		return 0;
	if (e->out_end)
		return -EPIPE;
	if (e->left >= 0 && len > (uint64_t)e->left)
		return -EMSGSIZE;
	if (len > OUT_MAX - e->out.len)
		return -ENOBUFS;
	if (bytes_add(&e->out, data, len))
		return -ENOMEM;
	if (e->left >= 0)
		e->left -= (int64_t)len;
	if (e->out.len > OUT_LOW)
		e->was_high = true;	/* whatever its writer calls too much, he is told */
	if (first)
		stall_begins(h2, e);
	offer(h2, e);
	return 0;
}

int h2_end(struct warren_exchange *x)
{
	struct h2_exchange *e = h2_exchange_of(x);

	if (e->no_body) {
		e->out_end = true;
		http_sent_all(x);
		warren_timer_set(h2_of(x->http)->kick, 0);
		return 0;
	}
	if (e->out_end)
		return -EPIPE;
	if (e->left > 0)
		return -EINVAL;
	e->out_end = true;
	offer(h2_of(x->http), e);
	return 0;
}

size_t h2_pending(const struct warren_exchange *x)
{
	return CONTAINER_OF(x, const struct h2_exchange, x)->out.len;
}
