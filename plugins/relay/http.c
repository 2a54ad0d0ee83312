/*
 * What the relay serves over HTTP: the upgrade to frames, and what clients measure and probe
 * (path-protocols.md 1.2).
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "base/hex.h"
#include "base/util.h"
#include "relay.h"

enum { CHALLENGE_MAX = 64 };

static bool is_path(const struct warren_http_head *head, const char *path)
{
	size_t n = strcspn(head->path, "?");

	return strlen(path) == n && memcmp(head->path, path, n) == 0;
}

static bool is_get(const struct warren_http_head *head)
{
	return strcmp(head->method, "GET") == 0 || strcmp(head->method, "HEAD") == 0;
}

static void empty(struct warren_exchange *x, int status, const struct warren_http_field *fields,
		  uint32_t n)
{
	const struct warren_http_head head = {
		.size = sizeof(head), .status = status, .fields = fields, .n_fields = n,
	};

	warren_exchange_head(x, &head);
}

/* ---- the upgrade ---- */

/* A WebSocket without our subprotocol is none: very old clients only wrote its name. */
static bool wants_derp(const struct warren_http_head *head)
{
	const char *upgrade = warren_http_field(head, "upgrade");

	return upgrade && (strcasecmp(upgrade, "derp") == 0 ||
			   strcasecmp(upgrade, "websocket") == 0);
}

/* NULL: it was answered, or there is no memory. */
static struct warren_stream *upgrade(const struct relay *relay, struct warren_exchange *x,
				     const struct warren_http_head *head)
{
	static const struct warren_http_field wanted = { "Upgrade", "DERP" };
	char key[65];
	const struct warren_http_field fields[] = {
		{ "Upgrade", "DERP" }, { "Connection", "Upgrade" }, { "Derp-Version", "2" },
		{ "Derp-Public-Key", key },
	};
	bool fast = warren_http_field(head, "derp-fast-start") != NULL;
	struct warren_stream *stream;

	if (warren_websocket_asked(head, "derp")) {
		stream = warren_websocket_accept(x, head, "derp");
		if (stream)
			warren_stat_add(relay->stats.websockets, 1);
		return stream;
	}
	hex_encode(key, relay->public_key, 32);
	stream = warren_exchange_upgrade(x, fast ? NULL : fields,
					 fast ? 0 : (uint32_t)ARRAY_SIZE(fields));
	if (!stream)
		empty(x, 426, &wanted, 1);	/* HTTP/2 has no such upgrade */
	return stream;
}

static void refuse(struct relay *relay, struct warren_exchange *x, int reason, const char *why)
{
	static const struct warren_http_field retry = { "Retry-After", "5" };

	warren_stat_add(relay->stats.refused[reason], 1);
	warren_log_limit(relay->ctx, &relay->refused_limit, LOG_WARNING,
			 "clients of the relay are turned away: %s", why);
	empty(x, 503, &retry, 1);
}

static void derp(struct relay *relay, struct warren_exchange *x,
		 const struct warren_http_head *head, bool of_front)
{
	static const struct warren_http_field wanted = { "Upgrade", "DERP" };
	bool not_ideal = warren_http_field(head, "ideal-node") != NULL;
	struct warren_stream *stream;

	if (!is_get(head) || !wants_derp(head)) {
		empty(x, 426, &wanted, 1);
		return;
	}
	if (!relay_make_room(relay)) {
		refuse(relay, x, RELAY_REFUSED_FULL, "relay.clients are connected");
		return;
	}
	if (relay->accept_rate && !relay_bucket_take(&relay->accepts, relay->accept_rate,
						     relay->accept_rate, 1)) {
		refuse(relay, x, RELAY_REFUSED_RATE, "more than relay.accept-rate in a second");
		return;
	}
	stream = upgrade(relay, x, head);
	if (stream)
		relay_client_take(relay, stream, not_ideal, of_front);
}

static bool is_probe(const struct warren_http_head *head)
{
	return is_path(head, "/derp/probe") || is_path(head, "/derp/latency-check");
}

static void probe(struct warren_exchange *x, const struct warren_http_head *head)
{
	static const struct warren_http_field cors = { "Access-Control-Allow-Origin", "*" };

	empty(x, is_get(head) ? 200 : 405, &cors, 1);
}

static void not_here(struct warren_exchange *x)
{
	static const char words[] = "Nothing is served here.\n";

	warren_exchange_reply(x, 404, "text/plain; charset=utf-8", words, sizeof(words) - 1);
}

static void on_derp(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct relay *relay = arg;

	if (is_path(head, "/derp") && relay->own.n == 0)
		derp(relay, x, head, true);
	else if (is_probe(head))
		probe(x, head);
	else
		not_here(x);
}

/* ---- is there a captive portal? ---- */

static bool challenge_ok(const char *challenge)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:-";
	size_t n = challenge ? strlen(challenge) : 0;

	return n > 0 && n <= CHALLENGE_MAX && strspn(challenge, allowed) == n;
}

static void on_204(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	const char *challenge = warren_http_field(head, "x-tailscale-challenge");
	char response[16 + CHALLENGE_MAX];
	const struct warren_http_field fields[] = {
		{ "Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0" },
		{ "X-Tailscale-Response", response },
	};
	bool answered = challenge_ok(challenge);

	(void)arg;
	if (answered)
		snprintf(response, sizeof(response), "response %s", challenge);
	empty(x, 204, fields, answered ? 2 : 1);
}

static const struct warren_exchange_events derp_events = {
	.size = sizeof(derp_events), .head = on_derp,
};
static const struct warren_exchange_events portal_events = {
	.size = sizeof(portal_events), .head = on_204,
};

bool relay_http_is_plain(const struct warren_http_head *head)
{
	return is_path(head, "/generate_204") || is_probe(head);
}

void relay_http_serve(struct relay *relay, struct warren_exchange *x,
		      const struct warren_http_head *head)
{
	if (is_path(head, "/derp"))
		derp(relay, x, head, false);
	else if (is_path(head, "/generate_204"))
		on_204(x, head, relay);
	else if (is_probe(head))
		probe(x, head);
	else
		not_here(x);
}

int relay_route(struct relay *relay, struct warren_err *err)
{
	const struct warren_front_route derp_route = {
		.size = sizeof(derp_route), .path = "/derp", .events = &derp_events, .arg = relay,
	};
	const struct warren_front_route portal_route = {
		.size = sizeof(portal_route), .path = "/generate_204", .flags = WARREN_FRONT_PLAIN,
		.events = &portal_events, .arg = relay,
	};
	int result = relay->front->route(relay->front_self, relay->ctx, &derp_route, err);

	return result ? result :
	       relay->front->route(relay->front_self, relay->ctx, &portal_route, err);
}
