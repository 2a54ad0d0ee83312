/*
 * The connection to the server: dialled when somebody needs it, dialled again after growing pauses
 * when it breaks.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <syslog.h>

#include "session_impl.h"

static void link_redial(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	s->link.waiting = false;
	ctl_session_run(s);
}

int ctl_link_init(struct ctl_session *s)
{
	s->link.redial = warren_timer_new(s->ctx, link_redial, s);
	return s->link.redial ? 0 : -ENOMEM;
}

static void link_wait(struct ctl_session *s)
{
	s->link.waiting = true;
	warren_timer_set(s->link.redial, ctl_backoff(++s->link.failures));
}

static void link_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	struct ctl_session *s = arg;

	(void)http;
	(void)result;
	ctl_link_close(s, why ? why : "the server ended the connection");
	ctl_session_run(s);
}

static const struct warren_http_events events = {
	.size = sizeof(events),
	.ended = link_ended,
};

static void link_done(struct warren_ctx *ctx, struct warren_http *http, const char *why, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	s->link.connect = NULL;
	s->link.http = http;
	if (http) {
		s->link.since = warren_now();
		warren_stat_set(s->connected, 1);
		warren_stat_add(s->reconnects, 1);
	} else {
		ctl_session_error(s, false, "%s", why);
		link_wait(s);
	}
	ctl_session_run(s);
}

void ctl_link_open(struct ctl_session *s)
{
	char auth[WARREN_PROXY_AUTH];
	struct ctl_connect_options options = {
		.url = s->url,
		.version = CTL_CAP_VERSION,
		.proxy = warren_conf_str(s->conf, "proxy"),
		.plan = &s->persist.plan,
		.ca_file = warren_ca_file_path(&s->ca),
		.identity = s->identity,
		.identity_self = s->identity_self,
		.memory = &s->link.memory,
		.events = &events,
		.arg = s,
	};

	if (s->link.http || s->link.connect || s->link.waiting)
		return;
	options.proxy_auth = warren_proxy_auth(s->conf, auth);
	s->link.connect = ctl_connect(s->ctx, &options, link_done, s);
	sodium_memzero(auth, sizeof(auth));
	if (!s->link.connect) {
		ctl_session_error(s, false, "out of memory");
		link_wait(s);
	}
}

/* The requests go first: they shall not hear of the connection's end. */
void ctl_link_close(struct ctl_session *s, const char *why)
{
	struct warren_http *http = s->link.http;

	ctl_login_stop(s);
	ctl_poll_stop(s);
	ctl_update_stop(s);
	ctl_answer_stop(s);
	ctl_connect_cancel(s->link.connect);
	s->link.connect = NULL;
	s->link.http = NULL;
	if (http) {
		warren_stat_set(s->connected, 0);
		warren_http_close(http);
		/* Not every connection that was made was a good one. */
		if (warren_now() - s->link.since > CTL_LIVED_USEC)
			s->link.failures = 0;
	}
	if (why) {
		ctl_session_error(s, false, "%s: %s", s->url, why);
		link_wait(s);
		return;
	}
	s->link.waiting = false;
	s->link.failures = 0;
	warren_timer_stop(s->link.redial);
}
