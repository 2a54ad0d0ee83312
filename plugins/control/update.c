/*
 * Telling the server about this node: the lite update of control-protocol.md 6.1. One at a time,
 * because the server applies them in the order of arrival; compared with what was told before,
 * because whoever calls only knows that something may have changed.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/util.h"
#include "session_impl.h"

static const uint64_t merge = 100000;		/* changes that come together are told together */
enum { ANSWER_SECONDS = 30, ANSWER_MAX = 64 << 10 };

static void update_run(struct warren_ctx *ctx, void *arg);

int ctl_update_init(struct ctl_session *s)
{
	s->update.timer = warren_timer_new(s->ctx, update_run, s);
	return s->update.timer ? 0 : -ENOMEM;
}

void ctl_update_stop(struct ctl_session *s)
{
	ctl_request_cancel(s->update.request);
	s->update.request = NULL;
	s->update.due = s->update.waiting = false;
	s->update.failures = 0;
	str_free(&s->update.body);
	warren_timer_stop(s->update.timer);
}

void ctl_update_forget(struct ctl_session *s)
{
	str_free(&s->update.sent);
}

/*
 * ---- The node's description ----
 */

bool ctl_self_hostinfo(struct ctl_session *s, struct str *out)
{
	struct warren_prefix routes[CTL_ROUTES_MAX];
	const char *tags[64];
	char hostname[256];
	struct ctl_self self = {
		.host = &s->host,
		.facets = &s->facets,
		.version = PACKAGE_VERSION,
		.log_id = s->persist.log_id,
		.hostname = hostname,
		.routes = routes,
		.tags = tags,
		.shields_up = warren_conf_bool(s->conf, "shields-up"),
	};

	warren_hostname(s->ctx, hostname, sizeof(hostname));
	self.n_routes = ctl_offers(s, routes, ARRAY_SIZE(routes));
	for (uint32_t i = 0; i < warren_conf_count(s->conf, "tags") &&
			     self.n_tags < ARRAY_SIZE(tags); i++)
		tags[self.n_tags++] = warren_conf_str(warren_conf_at(s->conf, "tags", i), NULL);
	return ctl_hostinfo(&self, out);
}

static void add_key(struct str *out, const char *name, enum warren_keytext kind,
		    const uint8_t key[32])
{
	char text[WARREN_KEYTEXT_MAX];

	str_addf(out, "\"%s\":\"%s\",", name, warren_keytext_format(kind, key, text));
}

static void add_endpoints(struct ctl_session *s, struct str *out)
{
	const struct warren_dataplane_ops *plane = s->dataplane;
	AUTO(str_free) struct str list = STR_INIT;
	uint16_t port[2] = { 0, 0 };

	if (plane) {
		port[0] = plane->port(s->dataplane_self, 4);
		port[1] = plane->port(s->dataplane_self, 6);
	}
	ctl_endpoints(&s->facets, plane ? plane->ifname(s->dataplane_self) : NULL, port, &list);
	if (list.len > 0)
		str_addf(out, "%s,", str_text(&list));
}

/*
 * A disco key promises answers to disco: who has one and neither answers nor has a relay is sent
 * nothing at all by stock peers (path-protocols.md 2.5, 4.5). The zero key says that there is no
 * disco; to such a node, marked WireGuard-only by the server, they send plain UDP (4.9). Who finds
 * our endpoints answers disco too.
 *
 * A key that was told is not taken back, neither while we stop nor before `paths` is up again:
 * stock peers of version 1.102 end with a nil pointer where a node's disco key becomes zero.
 */
static bool speaks_disco(struct ctl_session *s)
{
	const void *ops;
	void *self;
	int found = warren_need(s->ctx, "paths", &ops, &self);

	if (found == 0 || found == -EAGAIN || ctl_facets_endpoints(&s->facets, NULL))
		s->disco_told = true;
	return s->disco_told;
}

bool ctl_map_request(struct ctl_session *s, bool stream, struct str *out)
{
	uint8_t disco[32] = { 0 };

	if (speaks_disco(s))
		s->identity->public_key(s->identity_self, WARREN_KEY_DISCO, disco);
	str_addf(out, "{\"Version\":%d,\"Compress\":\"zstd\",\"KeepAlive\":true,",
		 CTL_CAP_VERSION);
	add_key(out, "NodeKey", WARREN_KEYTEXT_NODE, s->persist.node_key);
	add_key(out, "DiscoKey", WARREN_KEYTEXT_DISCO, disco);
	add_endpoints(s, out);
	str_add(out, stream ? "\"Stream\":true,\"Hostinfo\":" : "\"OmitPeers\":true,\"Hostinfo\":");
	if (!ctl_self_hostinfo(s, out))
		return false;
	str_addc(out, '}');
	return !out->failed;
}

/*
 * ---- Sending ----
 */

void ctl_update_soon(struct ctl_session *s)
{
	s->update.due = true;
	if (s->update.waiting || s->update.request)
		return;
	warren_timer_set(s->update.timer, merge);
}

static void update_wait(struct ctl_session *s, uint64_t usec)
{
	s->update.due = s->update.waiting = true;
	warren_timer_set(s->update.timer, usec ? usec : ctl_backoff(++s->update.failures));
}

static void update_answered(struct warren_ctx *ctx, const struct ctl_answer *answer, void *arg)
{
	struct ctl_session *s = arg;
	char text[CTL_HTTP_ERROR];

	(void)ctx;
	s->update.request = NULL;
	if (answer->status == 200) {
		s->update.failures = 0;
		str_free(&s->update.sent);
		s->update.sent = s->update.body;
		s->update.body = (struct str)STR_INIT;
		warren_stat_add(s->updates, 1);
		if (s->update.due)
			ctl_update_soon(s);
		return;
	}
	str_free(&s->update.body);
	warren_log_limit(s->ctx, &s->records, LOG_INFO, "%s did not take what this node says about "
			 "itself: %s", s->url, answer->status ?
			 ctl_http_error(answer->status, answer->body, answer->len, text) :
			 answer->why);
	update_wait(s, answer->status == 429 || answer->status == 503 ? answer->retry_after : 0);
}

static void update_run(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;
	struct ctl_request_options options = {
		.method = "POST", .path = "/machine/map", .authority = s->authority,
		.limit = ANSWER_MAX, .timeout = ANSWER_SECONDS * UINT64_C(1000000),
	};

	(void)ctx;
	s->update.waiting = s->update.due = false;
	/* Without a stream nobody listens; the next one begins with an update. */
	if (!s->link.http || !s->poll.x || s->update.request)
		return;
	str_free(&s->update.body);
	if (!ctl_map_request(s, false, &s->update.body)) {
		str_free(&s->update.body);
		update_wait(s, 0);
		return;
	}
	if (str_equal(str_text(&s->update.body), str_text(&s->update.sent))) {
		str_free(&s->update.body);
		return;
	}
	options.body = str_text(&s->update.body);
	options.body_len = s->update.body.len;
	s->update.request = ctl_request_new(s->ctx, s->link.http, &options, update_answered, s);
	if (!s->update.request) {
		str_free(&s->update.body);
		update_wait(s, 0);
	}
}
