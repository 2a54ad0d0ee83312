/*
 * What is asked without Noise (control-protocol.md 2, 3.5, 4.3): the server's key, the upgrade,
 * health, and whether a relay may serve a key. The pages that links lead to: login/desk.h.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "../login/desk.h"
#include "base/addr.h"
#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"

enum {
	HEAD_USEC = 15000000, IDLE_USEC = 60000000, VERIFY_BODY = 4096,
	KEY_CAPVER = 39,		/* clients before it do not speak Noise */
	EARLY_CAPVER = 49,		/* and before this one know no early payload */
};
static const char protocol[] = "tailscale-control-protocol";

struct outer {				/* a connection to a listener of our own */
	struct list link;
	struct coord *coord;
	struct warren_http *http;
};
struct asked {				/* a request with a body */
	struct list link;
	struct coord *coord;
	struct warren_exchange *x;
	struct str body;
};

static void text(struct warren_exchange *x, int status, const char *what)
{
	warren_exchange_set(x, NULL, NULL);
	warren_exchange_reply(x, status, "text/plain; charset=utf-8", what, strlen(what));
}

static void json(struct warren_exchange *x, const char *type, const char *what)
{
	warren_exchange_set(x, NULL, NULL);
	warren_exchange_reply(x, 200, type, what, strlen(what));
}

/* ---- the key ---- */

/* The number behind "v=" of the query; -1: there is none, -2: it is no number. */
static int64_t version_of(const char *path)
{
	const char *at = strchr(path, '?');
	char *end;
	long v;

	while (at && strncmp(at + 1, "v=", 2) != 0)
		at = strchr(at + 1, '&');
	if (!at)
		return -1;
	v = strtol(at + 3, &end, 10);
	return end == at + 3 || (*end && *end != '&') || v < 0 ? -2 : v;
}

/* Too old a client is told so in words that it shows, when it registers (2.2). */
static void reply_key(struct coord *coord, struct warren_exchange *x, const char *path)
{
	char key[WARREN_KEYTEXT_MAX], body[256];
	int64_t v = version_of(path);
	int n = 0;

	if (v < 0) {
		text(x, 400, v == -1 ? "capability version must be set\n" :
				       "invalid capability version\n");
		return;
	}
	warren_keytext_format(WARREN_KEYTEXT_MACHINE, coord->noise.public_key, key);
	if (v >= KEY_CAPVER)
		n = snprintf(body, sizeof(body), "{\"legacyPublicKey\":\"mkey:%064d\","
			     "\"publicKey\":\"%s\"}", 0, key);
	warren_exchange_set(x, NULL, NULL);
	warren_exchange_reply(x, 200, "application/json", body, (size_t)n);
}

/* ---- the upgrade ---- */

/* The early payload: a key to prove a node key to, of this connection only (3.6). */
static const char *challenge(const uint8_t *init, char out[128])
{
	struct warren_private private;
	uint8_t public[32];
	char key[WARREN_KEYTEXT_MAX];

	if ((init[0] << 8 | init[1]) < EARLY_CAPVER)
		return NULL;
	warren_private_new(&private);
	warren_private_public(&private, public);
	warren_private_wipe(&private);
	snprintf(out, 128, "{\"nodeKeyChallenge\":\"%s\"}",
		 warren_keytext_format(WARREN_KEYTEXT_CHALLENGE, public, key));
	return out;
}

static struct warren_addr from_whom(const struct coord *coord, const struct warren_exchange *x,
				    const struct warren_http_head *head)
{
	const struct warren_stream *stream = warren_exchange_stream(x);
	struct warren_addrport peer;

	if (!stream || !warren_stream_peer(stream, &peer))
		return (struct warren_addr){ .family = 0 };
	return coord_forwarded(&coord->proxies, &peer.addr, head);
}

static void begin_noise(struct coord *coord, struct warren_exchange *x, const uint8_t *init,
			const struct warren_addr *from)
{
	static const struct warren_http_field fields[] = {
		{ "Upgrade", protocol }, { "Connection", "upgrade" },
	};
	struct warren_err err = ERR_INIT;
	struct warren_stream *stream;
	char early[128];

	warren_exchange_set(x, NULL, NULL);
	stream = warren_exchange_upgrade(x, fields, ARRAY_SIZE(fields));
	if (!stream)
		return;
	stream = warren_noise_accept_take(stream, &coord->noise, init, WARREN_NOISE_INIT,
					  challenge(init, early), &err);
	if (stream)
		coord_session_take(coord, stream, from);
	else
		warren_log_limit(coord->ctx, &coord->refused_limit, LOG_INFO,
				 "a client's handshake is refused: %s; a client that has the key "
				 "of another server sends such", err_first(&err));
	err_free(&err);
}

static void upgrade(struct coord *coord, struct warren_exchange *x,
		    const struct warren_http_head *head)
{
	const char *to = warren_http_field(head, "upgrade");
	const char *hello = warren_http_field(head, "x-tailscale-handshake");
	struct warren_addr from = from_whom(coord, x, head);
	uint8_t init[WARREN_NOISE_INIT];

	if (!to)
		text(x, 400, "missing next protocol\n");
	else if (strcasecmp(to, protocol) != 0)
		text(x, 400, "unknown next protocol\n");
	else if (!hello)
		text(x, 400, "missing Tailscale handshake header\n");
	else if (base64_decode(init, sizeof(init), hello, strlen(hello)) != sizeof(init))
		text(x, 400, "invalid tailscale handshake header\n");
	else
		begin_noise(coord, x, init, &from);
}

/* ---- verify ---- */

static int verify_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct asked *a = arg;

	(void)x;
	if (a->body.len + len <= VERIFY_BODY)
		str_addn(&a->body, (const char *)data, len);
	else
		a->body.failed = true;
	return 0;
}

static void asked_free(struct asked *a)
{
	list_del(&a->link);
	str_free(&a->body);
	free(a);
}

static void verify_complete(struct warren_exchange *x, void *arg)
{
	struct asked *a = arg;
	uint8_t key[32];
	const struct tailnet_node *node;

	warren_exchange_set(x, NULL, NULL);
	if (a->body.failed || verify_request_parse(str_text(&a->body), a->body.len, key, NULL)) {
		text(x, 400, "a JSON object with NodePublic is expected\n");
	} else {
		node = tailnet_node_by_key(a->coord->tailnet, key);
		json(x, "application/json", node && node->authorized && !node->live.expired ?
		     "{\"Allow\":true}" : "{\"Allow\":false}");
	}
	asked_free(a);
}

static void verify_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	asked_free(arg);
}

static const struct warren_exchange_events verify_events = {
	.size = sizeof(verify_events), .body = verify_body, .complete = verify_complete,
	.failed = verify_failed,
};

static void verify(struct coord *coord, struct warren_exchange *x)
{
	struct asked *a = calloc(1, sizeof(*a));

	if (!a) {
		text(x, 500, "no memory\n");
		return;
	}
	a->coord = coord;
	a->x = x;
	list_add_tail(&coord->asked, &a->link);
	warren_exchange_set(x, &verify_events, a);
}

/* ---- addresses of this server, for clients whose resolver fails ---- */

static const uint64_t names_fresh = 600 * UINT64_C(1000000);

static void resolved(struct warren_ctx *ctx, int result, const struct warren_addr *addrs,
		     const char *why, void *arg)
{
	struct coord *coord = arg;
	struct warren_url url;
	struct str list = STR_INIT;
	char text[ADDR_TEXT];

	(void)ctx;
	(void)why;
	/* What was known stays; while we stop nobody asks any more. */
	if (!coord->world || result <= 0 || warren_url_parse(coord->url, &url, NULL))
		return;
	str_addf(&list, "{\"%s\":[", url.host);
	for (int i = 0; i < result; i++)
		str_addf(&list, "%s\"%s\"", i > 0 ? "," : "", addr_format(&addrs[i], text));
	str_add(&list, "]}");
	free(coord->names);
	coord->names = str_take(&list);
}

/* Nothing before the first look-up is done, as relays do that have no names (path-protocols.md). */
static void bootstrap_dns(struct coord *coord, struct warren_exchange *x)
{
	struct warren_url url;

	if ((!coord->names_at || warren_now() - coord->names_at > names_fresh) &&
	    warren_url_parse(coord->url, &url, NULL) == 0) {
		coord->names_at = warren_now();
		(void)warren_resolve(coord->ctx, url.host, resolved, coord);
	}
	json(x, "application/json", coord->names ? coord->names : "");
}

/* ---- requests ---- */

static bool is(const struct warren_http_head *head, const char *method, const char *path)
{
	size_t len = strcspn(head->path, "?");

	return strcmp(head->method, method) == 0 && strlen(path) == len &&
	       strncmp(head->path, path, len) == 0;
}

static void on_head(struct warren_exchange *x, const struct warren_http_head *head, void *arg)
{
	struct coord *coord = arg;

	if (is(head, "POST", "/ts2021"))
		upgrade(coord, x, head);
	else if (is(head, "GET", "/key"))
		reply_key(coord, x, head->path);
	else if (is(head, "GET", "/health"))
		json(x, "application/health+json", "{\"status\":\"pass\"}\n");
	else if (is(head, "GET", "/robots.txt"))
		text(x, 200, "User-agent: *\nDisallow: /\n");
	else if (is(head, "GET", "/bootstrap-dns"))
		bootstrap_dns(coord, x);
	else if (is(head, "POST", "/verify"))
		verify(coord, x);
	else if (!login_desk_serve(coord->desk, x, head))
		text(x, 404, "not found\n");
}

const struct warren_exchange_events coord_outer_events = {
	.size = sizeof(coord_outer_events), .head = on_head,
};

/* ---- connections ---- */

static void on_request(struct warren_http *http, struct warren_exchange *x, void *arg)
{
	struct outer *o = arg;

	(void)http;
	warren_exchange_set(x, &coord_outer_events, o->coord);
}

static void outer_free(struct outer *o)
{
	list_del(&o->link);
	warren_http_close(o->http);
	free(o);
}

static void on_ended(struct warren_http *http, int result, const char *why, void *arg)
{
	(void)http;
	(void)result;
	(void)why;
	outer_free(arg);
}

static const struct warren_http_events http_events = {
	.size = sizeof(http_events), .request = on_request, .ended = on_ended,
};

void coord_accept(struct warren_ctx *ctx, struct warren_stream *stream, void *arg)
{
	const struct warren_http_options options = {
		.size = sizeof(options), .version = WARREN_HTTP_1, .head_timeout = HEAD_USEC,
		.idle_timeout = IDLE_USEC, .body_max = COORD_BODY,
	};
	struct coord *coord = arg;
	struct outer *o = calloc(1, sizeof(*o));

	(void)ctx;
	warren_stat_add(coord->stats.connections, 1);
	if (!o) {
		warren_stream_close(stream);
		return;
	}
	o->coord = coord;
	list_add_tail(&coord->outers, &o->link);
	o->http = warren_http_server_take(stream, &options, &http_events, o);
	if (!o->http)
		outer_free(o);
}

int coord_route(struct coord *coord, const struct warren_front *front, void *self,
		struct warren_err *err)
{
	static const char *const paths[] = { "/key", "/ts2021", "/health", "/verify",
					     "/bootstrap-dns", "/register", "/oidc", "/auth" };
	struct warren_url url;
	int result = warren_url_parse(coord->url, &url, err);

	for (size_t i = 0; !result && i < ARRAY_SIZE(paths); i++) {
		const struct warren_front_route route = {
			.size = sizeof(route), .path = paths[i], .host = url.host,
			.flags = i < 2 ? WARREN_FRONT_PLAIN : 0,
			.events = &coord_outer_events, .arg = coord,
		};

		result = front->route(self, coord->ctx, &route, err);
	}
	return result ? result : front->name(self, coord->ctx, url.host, err);
}

void coord_outers_close(struct coord *coord)
{
	struct outer *o, *next;
	struct asked *a, *after;

	/* While their connections live, which tell nobody when they are closed. */
	if (coord->desk)
		login_desk_hang_up(coord->desk);
	list_for_each_safe(a, after, &coord->asked, link) {
		warren_exchange_set(a->x, NULL, NULL);
		warren_exchange_cancel(a->x);
		asked_free(a);
	}
	list_for_each_safe(o, next, &coord->outers, link)
		outer_free(o);
	free(coord->names);
	coord->names = NULL;
}
