/*
 * The map stream: one request whose answer never ends (control-protocol.md 6.1, 6.2). Its bytes go
 * to map.c; here is when it is opened, when it counts as dead, and when it is tried again.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "base/util.h"
#include "session_impl.h"

static const uint64_t watchdog = 120000000;	/* since the last message, the first too (6.2) */
enum {
	REFUSALS_MAX = 3,		/* then the server has forgotten us: register (5.3) */
	REFUSAL_BYTES = 1024,
};

static void poll_retry(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	s->poll.waiting = false;
	ctl_session_run(s);
}

static void poll_dead(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	ctl_link_close(arg, "no message for two minutes");
	ctl_session_run(arg);
}

/* The server's wish to be left alone for a while; not inside the stream's own callback. */
static void poll_pause(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	ctl_poll_stop(s);
	s->poll.waiting = true;
	warren_timer_set(s->poll.retry, s->poll.pause_usec);
	ctl_session_changed(s);
}

int ctl_poll_init(struct ctl_session *s)
{
	s->poll.retry = warren_timer_new(s->ctx, poll_retry, s);
	s->poll.watchdog = warren_timer_new(s->ctx, poll_dead, s);
	s->poll.pause = warren_timer_new(s->ctx, poll_pause, s);
	return s->poll.retry && s->poll.watchdog && s->poll.pause ? 0 : -ENOMEM;
}

static void poll_over(struct ctl_session *s)
{
	s->poll.x = NULL;
	s->poll.status = 0;
	s->poll.since = 0;
	warren_timer_stop(s->poll.watchdog);
	warren_timer_stop(s->poll.pause);
	str_free(&s->poll.refusal);
	ctl_session_changed(s);
}

void ctl_poll_stop(struct ctl_session *s)
{
	struct warren_exchange *x = s->poll.x;

	s->poll.waiting = false;
	warren_timer_stop(s->poll.retry);
	if (!x)
		return;
	poll_over(s);
	warren_exchange_cancel(x);
}

static void poll_failed(struct ctl_session *s, const char *why)
{
	uint64_t after = s->poll.retry_after;

	if (s->poll.since && warren_now() - s->poll.since > CTL_LIVED_USEC)
		s->poll.failures = 0;
	poll_over(s);
	ctl_session_error(s, false, "map of %s: %s", s->url, why);
	s->poll.waiting = true;
	warren_timer_set(s->poll.retry, after ? after : ctl_backoff(++s->poll.failures));
	ctl_session_run(s);
}

/* An answer that is no stream. */
static void poll_refused(struct ctl_session *s)
{
	char text[CTL_HTTP_ERROR];
	int status = s->poll.status;

	ctl_http_error(status, (const uint8_t *)str_text(&s->poll.refusal), s->poll.refusal.len,
		       text);
	if (status >= 400 && status <= 404 && ++s->poll.refusals >= REFUSALS_MAX) {
		warren_log(s->ctx, LOG_WARNING, "%s does not know this node any more (%s): "
			   "registering anew", s->url, text);
		s->poll.refusals = 0;
		s->registered = false;
		s->login.needed = true;
		ctl_login_take_prepared(s);
	}
	poll_failed(s, text);
}

/*
 * ---- The stream ----
 */

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct ctl_session *s = arg;
	const char *after = warren_http_field(head, "retry-after");

	(void)x;
	s->poll.status = head->status;
	s->poll.retry_after = after && (head->status == 429 || head->status == 503) ?
			      warren_http_retry_after(after, warren_realtime() / 1000000,
						      CTL_RETRY_AFTER_MAX) : 0;
}

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct ctl_session *s = arg;
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result;

	if (s->poll.status != 200) {
		if (len > REFUSAL_BYTES - s->poll.refusal.len)
			len = REFUSAL_BYTES - s->poll.refusal.len;
		str_addn(&s->poll.refusal, (const char *)data, len);
		return 0;
	}
	result = ctl_map_feed(s->map, data, len, &err);
	if (result >= 0 || s->poll.x != x)
		return result > 0 ? WARREN_PENDING : 0;
	s->poll.x = NULL;
	warren_exchange_cancel(x);
	poll_failed(s, err_first(&err));
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	struct ctl_session *s = arg;

	(void)x;
	if (s->poll.status != 200)
		poll_refused(s);
	else
		poll_failed(s, ctl_map_at_boundary(s->map) ? "the server ended the stream"
							   : "the stream was cut off");
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	poll_failed(arg, why);
}

static const struct warren_exchange_events events = {
	.size = sizeof(events),
	.head = on_head,
	.body = on_body,
	.complete = on_complete,
	.failed = on_failed,
};

static int poll_send(struct ctl_session *s)
{
	AUTO(str_free) struct str body = STR_INIT;
	char key[WARREN_KEYTEXT_MAX];
	const struct warren_http_field lb = {
		"ts-lb", warren_keytext_format(WARREN_KEYTEXT_NODE, s->persist.node_key, key),
	};
	struct warren_http_head head = {
		.size = sizeof(head), .method = "POST", .scheme = "https",
		.authority = s->authority, .path = "/machine/map", .fields = &lb, .n_fields = 1,
	};
	int result;

	if (!ctl_map_request(s, true, &body))
		return -ENOMEM;
	head.length = (int64_t)body.len;
	s->poll.x = warren_http_request(s->link.http, &head, &events, s);
	if (!s->poll.x)
		return -EPIPE;
	result = warren_exchange_write(s->poll.x, str_text(&body), body.len);
	return result ? result : warren_exchange_end(s->poll.x);
}

void ctl_poll_run(struct ctl_session *s)
{
	struct warren_exchange *x;

	if (s->poll.x || s->poll.waiting)
		return;
	ctl_map_begin(s->map);
	s->poll.retry_after = 0;
	if (poll_send(s)) {
		x = s->poll.x;
		s->poll.x = NULL;
		if (x)
			warren_exchange_cancel(x);
		s->poll.waiting = true;
		warren_timer_set(s->poll.retry, ctl_backoff(++s->poll.failures));
		return;
	}
	warren_timer_set(s->poll.watchdog, watchdog);
	warren_stat_add(s->polls, 1);
	ctl_update_soon(s);
}

/*
 * ---- What the stream says ----
 */

static void map_published(void *arg, const struct warren_netmap *map)
{
	struct ctl_session *s = arg;

	if (ctl_shields_publish(s, map)) {
		warren_fatal(s->ctx, "out of memory: cannot publish the network map");
		return;
	}
	if (map->self)
		ctl_map_save(s->map);
	ctl_session_changed(s);
}

static void map_message(void *arg, bool keepalive)
{
	struct ctl_session *s = arg;

	(void)keepalive;
	warren_stat_add(s->messages, 1);
	if (!s->poll.x)
		return;
	s->last_contact = warren_realtime() / 1000000;
	warren_timer_set(s->poll.watchdog, watchdog);
	if (!s->poll.since) {
		s->poll.since = warren_now();
		s->poll.refusals = 0;
		ctl_session_good(s);
	}
}

static void map_resume(void *arg)
{
	struct ctl_session *s = arg;

	if (s->poll.x)
		warren_exchange_resume(s->poll.x);
}

static void map_failed(void *arg, int result, const char *why)
{
	struct ctl_session *s = arg;
	struct warren_exchange *x = s->poll.x;

	(void)result;
	if (!x)
		return;
	s->poll.x = NULL;
	warren_exchange_cancel(x);
	poll_failed(s, why);
}

static void map_ping(void *arg, const struct ctl_ping *ping)
{
	ctl_answer_ping(arg, ping);
}

/* Never opened: told to the operator, and that only where it can be nothing else. */
static void map_browser_url(void *arg, const char *url)
{
	struct ctl_session *s = arg;
	AUTO(str_free) struct str clean = STR_INIT;

	if (!str_starts(url, "https://") &&
	    !(str_starts(url, "http://") && str_starts(s->url, "http://")))
		return;
	str_add_clean(&clean, url, strlen(url), 200);
	warren_log_limit(s->ctx, &s->records, LOG_NOTICE, "%s asks you to open %s", s->url,
			 str_text(&clean));
}

static void map_debug(void *arg, const struct ctl_debug *debug)
{
	struct ctl_session *s = arg;

	if (debug->sleep && s->poll.x) {
		s->poll.pause_usec = debug->sleep;
		warren_timer_set(s->poll.pause, 0);
	}
	if (debug->has_exit)
		warren_log_limit(s->ctx, &s->records, LOG_WARNING, "%s wants this process to end: "
				 "ignored", s->url);
}

static void map_dial_plan(void *arg, const struct ctl_dial_candidate *candidates, uint32_t n)
{
	struct ctl_session *s = arg;
	struct ctl_plan plan;
	uint32_t left_out = ctl_plan_set(&plan, s->host_name, candidates, n);

	if (left_out)
		warren_log_limit(s->ctx, &s->records, LOG_WARNING, "left out of the dial plan of "
				 "%s: %u of %u candidates", s->url, left_out, n);
	if (ctl_plan_equal(&plan, &s->persist.plan))
		return;
	s->persist.plan = plan;
	ctl_persist_save(s->ctx, &s->persist);
}

static void map_client_version(void *arg, const struct ctl_client_version *version)
{
	struct ctl_session *s = arg;

	/* It speaks of the stock client's releases: only what is urgent is worth a line. */
	if (version->urgent && !version->running_latest)
		warren_log_limit(s->ctx, &s->records, LOG_NOTICE, "%s says that clients need an "
				 "urgent security update", s->url);
}

static void map_bad_record(void *arg, const char *why)
{
	struct ctl_session *s = arg;

	warren_stat_add(s->bad_records, 1);
	warren_log_limit(s->ctx, &s->records, LOG_WARNING, "left out of the map of %s: %s", s->url,
			 why);
}

const struct ctl_map_events ctl_session_map_events = {
	.published = map_published,
	.message = map_message,
	.resume = map_resume,
	.failed = map_failed,
	.ping = map_ping,
	.browser_url = map_browser_url,
	.debug = map_debug,
	.dial_plan = map_dial_plan,
	.client_version = map_client_version,
	.bad_record = map_bad_record,
};
