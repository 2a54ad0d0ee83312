/*
 * Changes to the server elsewhere: one message at a time. What comes while it is on its way shares
 * the next. One that failed is tried again a minute later, or with the next.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "impl.h"

enum { ANSWER = 4096 };
static const uint64_t timeout_usec = 10000000;

struct zone_sender {
	struct zone *zone;
	struct zone_key key;
	struct zone_update update;	/* that is on its way */
	struct warren_addrport server;
	uint64_t wait;			/* until other servers have it */
	struct warren_dial *dial;
	struct warren_stream *stream;
	struct warren_timer *timer;	/* of an answer; of `wait` */
	bool busy, done;		/* done: the server has it */
	struct warren_limit limit;
	char problem[ZONE_PROBLEM];
	uint8_t out[2 + ZONE_UPDATE];
	size_t len;
};

static void let_go(struct zone_sender *sender)
{
	warren_dial_cancel(sender->dial);
	sender->dial = NULL;
	warren_stream_close(sender->stream);
	sender->stream = NULL;
	warren_timer_stop(sender->timer);
}

/* Sets what was on its way to told or not told. */
static void over(struct zone_sender *sender, bool told)
{
	struct zone_record *record;

	list_for_each(record, &sender->zone->records.all, link) {
		record->changed = record->changed || (record->sending && !told);
		record->sending = false;
	}
	sender->busy = sender->done = false;
}

static void failed(struct zone_sender *sender, const char *why)
{
	char at[ADDRPORT_TEXT], text[ZONE_PROBLEM];

	let_go(sender);
	over(sender, false);
	snprintf(text, sizeof(text), "records of the zone cannot be changed on %s: %s",
		 addrport_format(&sender->server, at), why);
	str_copy(sender->problem, sizeof(sender->problem), text);
	warren_log_limit(sender->zone->ctx, &sender->limit, LOG_WARNING, "%s", text);
	zone_answer_waits(sender->zone, true, -EIO,
			  "the server of the zone of this tailnet's names does not take the "
			  "record; the coordinator's log says more");
}

static void finished(struct zone_sender *sender)
{
	over(sender, true);
	zone_answer_waits(sender->zone, true, 0, NULL);
	zone_sender_kick(sender);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct zone_sender *sender = arg;

	(void)ctx;
	if (sender->done)
		finished(sender);
	else
		failed(sender, "no answer");
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	struct zone_sender *sender = arg;
	char why[ZONE_WHY];
	size_t len, want;
	const uint8_t *data = warren_stream_input(stream, &len);

	if (len < 2)
		return;
	want = (size_t)data[0] << 8 | data[1];
	if (len - 2 < want && want <= ANSWER)
		return;
	if (want > ANSWER) {
		failed(sender, "the answer is too long");
	} else if (zone_update_read(&sender->update, data + 2, want, warren_realtime() / 1000000,
				    why)) {
		failed(sender, why);
	} else {
		let_go(sender);
		sender->problem[0] = '\0';
		sender->done = true;
		warren_timer_set(sender->timer, sender->wait);
	}
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	(void)stream;
	failed(arg, result ? why : "it ends the connection without an answer");
}

static void on_dialed(struct warren_ctx *ctx, struct warren_stream *stream, const char *why,
		      void *arg)
{
	static const struct warren_stream_events events = {
		.size = sizeof(events), .readable = on_readable, .ended = on_ended,
	};
	struct zone_sender *sender = arg;

	(void)ctx;
	sender->dial = NULL;
	sender->stream = stream;
	if (!stream) {
		failed(sender, why);
		return;
	}
	warren_stream_set(stream, &events, sender);
	if (warren_stream_write(stream, sender->out, sender->len))
		failed(sender, "no memory");
}

/* As many records as fit; false: there is nothing to say. */
static bool gather(struct zone_sender *sender)
{
	struct zone_update *u = &sender->update;
	struct zone_record *record;
	struct zone_wait *wait;

	u->n = 0;
	list_for_each(record, &sender->zone->records.all, link) {
		if (!record->changed || u->n == ZONE_BATCH)
			continue;
		record->changed = false;
		record->sending = true;
		u->records[u->n++] = record;
	}
	list_for_each(wait, &sender->zone->waits, link)
		wait->sent = wait->record->sending;
	u->id = (uint16_t)randombytes_uniform(UINT16_MAX + 1u);
	u->time = warren_realtime() / 1000000;
	return u->n > 0;
}

void zone_sender_kick(struct zone_sender *sender)
{
	char text[ADDR_TEXT];
	const struct warren_dial_options to = {
		.size = sizeof(to), .flags = WARREN_DIAL_NO_PROXY,
		.name = addr_format(&sender->server.addr, text), .port = sender->server.port,
		.timeout = timeout_usec,
	};
	size_t len;

	if (sender->busy || !gather(sender))
		return;
	len = zone_update_write(&sender->update, sender->out + 2);
	sender->out[0] = (uint8_t)(len >> 8);
	sender->out[1] = (uint8_t)len;
	sender->len = 2 + len;
	sender->busy = true;
	warren_timer_set(sender->timer, 2 * timeout_usec);
	sender->dial = warren_dial(sender->zone->ctx, &to, on_dialed, sender);
	if (!sender->dial)
		warren_timer_set(sender->timer, 0);	/* as one that is not answered */
}

struct zone_sender *zone_sender_new(struct zone *zone, const struct warren_conf *update,
				    struct warren_err *err)
{
	struct zone_sender *sender = calloc(1, sizeof(*sender));

	if (!sender)
		return NULL;
	sender->zone = zone;
	sender->server = warren_conf_addrport(update, "server");
	sender->wait = (uint64_t)warren_conf_int(update, "wait");
	sender->update.key = &sender->key;
	sender->update.zone = zone->base;
	sender->timer = warren_timer_new(zone->ctx, on_timer, sender);
	if (!zone_key_read(update, &sender->key))
		warren_fail_key(err, -EINVAL, update, "secret", "this is no secret of a key: "
				"expected base64 of %d bytes at most, as tsig-keygen writes it",
				ZONE_SECRET);
	else if (sender->timer && (!warren_conf_has(update, "zone") ||
				   dns_name_parse(warren_conf_str(update, "zone"),
						  &sender->update.zone) == 0))
		return sender;
	zone_sender_free(sender);
	return NULL;
}

void zone_sender_free(struct zone_sender *sender)
{
	if (!sender)
		return;
	if (sender->timer)
		let_go(sender);
	warren_release(sender->timer);
	sodium_memzero(&sender->key, sizeof(sender->key));
	free(sender);
}

const char *zone_sender_problem(const struct zone_sender *sender)
{
	return sender->problem[0] ? sender->problem : NULL;
}
