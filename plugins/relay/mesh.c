/*
 * Several relays that serve one region (path-protocols.md 1.10). Each dials all others as a client,
 * with its own key and the mesh's secret, and is told who is there: those are *routes*, by which
 * packets for keys that are not here are handed over. What was handed over is never again.
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/list.h"
#include "relay.h"
#include "talk.h"

enum {
	MATES = 16, LOGIN_USEC = 10000000, AGAIN_USEC = 5000000, SILENCE_USEC = 120000000,
	WRITE_USEC = 30000000, WAITING_MAX = 1 << 20,
};

struct relay_mate {			/* another relay of the region */
	struct list link;
	struct relay *relay;
	struct warren_url url;
	struct warren_addr address;	/* family 0: as the name resolves */
	bool pinned, ourselves, told;
	uint8_t pin[32];
	struct talk talk;
	struct warren_timer *timer;	/* the end of a login, or the next one */
	struct list routes;
	uint32_t n_routes;
};

struct relay_route {
	struct list of_peer, of_mate;
	struct relay_peer *peer;
	struct relay_mate *mate;
};

/* ---- routes ---- */

static void route_free(struct relay_route *route)
{
	struct relay_mate *mate = route->mate;
	struct relay_peer *peer = route->peer;

	list_del(&route->of_peer);
	list_del(&route->of_mate);
	mate->n_routes--;
	warren_stat_set(mate->relay->stats.remote, --mate->relay->n_remote);
	free(route);
	relay_peer_check(mate->relay, peer);
}

static struct relay_route *route_find(const struct relay_mate *mate, struct relay_peer *peer)
{
	struct relay_route *route;

	if (!peer)
		return NULL;
	list_for_each(route, &peer->routes, of_peer) {
		if (route->mate == mate)
			return route;
	}
	return NULL;
}

static void present(struct relay_mate *mate, const uint8_t key[32])
{
	struct relay *relay = mate->relay;
	struct relay_peer *peer;
	struct relay_route *route;

	if (memcmp(key, relay->public_key, 32) == 0 || mate->n_routes >= RELAY_ROUTES_MAX)
		return;
	peer = relay_peer_get(relay, key);
	if (!peer || route_find(mate, peer))
		return;
	route = calloc(1, sizeof(*route));
	if (!route) {
		relay_peer_check(relay, peer);
		return;
	}
	route->peer = peer;
	route->mate = mate;
	list_add_tail(&peer->routes, &route->of_peer);	/* the oldest one is used */
	list_add_tail(&mate->routes, &route->of_mate);
	mate->n_routes++;
	warren_stat_set(relay->stats.remote, ++relay->n_remote);
}

static void gone(struct relay_mate *mate, const uint8_t key[32])
{
	struct relay_route *route = route_find(mate, relay_find(mate->relay, key));

	if (route)
		route_free(route);
}

static void routes_free(struct relay_mate *mate)
{
	struct relay_route *route, *next;

	list_for_each_safe(route, next, &mate->routes, of_mate)
		route_free(route);
}

bool relay_mesh_forward(struct relay *relay, const struct relay_peer *to, const uint8_t from[32],
			const uint8_t *data, size_t len)
{
	const struct relay_route *route = list_first(&to->routes, struct relay_route, of_peer);
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_FORWARD_PACKET, .key = from, .to = to->key, .data = data,
		.len = len,
	};
	struct warren_stream *stream = route->mate->talk.stream;
	size_t n = warren_derp_put(&frame, relay->out, sizeof(relay->out));

	return n > 0 && warren_stream_pending(stream) < WAITING_MAX &&
	       warren_stream_write(stream, relay->out, n) == 0;
}

/* ---- another relay ---- */

static void up(struct relay_mate *mate)
{
	static const struct warren_derp_frame watch = { .type = WARREN_DERP_WATCH_CONNS };

	warren_timer_stop(mate->timer);
	warren_stream_timeouts(mate->talk.stream, SILENCE_USEC, WRITE_USEC);
	mate->told = false;
	warren_log(mate->relay->ctx, LOG_NOTICE, "the mesh reaches relay %s", mate->url.host);
	(void)talk_put(&mate->talk, &watch);
}

static void down(struct relay_mate *mate, const char *why)
{
	routes_free(mate);
	if (!mate->told && !mate->ourselves)
		warren_log(mate->relay->ctx, LOG_WARNING, "the mesh does not reach relay %s, and "
			   "tries on: %s", mate->url.host, why);
	mate->told = true;
	warren_timer_set(mate->timer, mate->ourselves ? 0 : AGAIN_USEC);
}

static void on_changed(struct talk *talk, void *arg)
{
	struct relay_mate *mate = arg;

	if (talk->state == TALK_MET &&
	    memcmp(talk->server_key, mate->relay->public_key, 32) == 0)
		mate->ourselves = true;		/* one list of relays may be given to all */
	else if (talk->state == TALK_UP)
		up(mate);
	else if (talk->state == TALK_REFUSED)
		down(mate, "it does not let us in: is relay.mesh-key the same there?");
	else if (talk->state == TALK_FAILED)
		down(mate, talk->why);
}

static void on_frame(struct talk *talk, const struct warren_derp_frame *frame, void *arg)
{
	const struct warren_derp_frame pong = {
		.type = WARREN_DERP_PONG, .data = frame->data, .len = frame->len,
	};

	if (frame->type == WARREN_DERP_PEER_PRESENT)
		present(arg, frame->key);
	else if (frame->type == WARREN_DERP_PEER_GONE)
		gone(arg, frame->key);
	else if (frame->type == WARREN_DERP_PING)
		(void)talk_put(talk, &pong);
}

static void dial(struct relay_mate *mate)
{
	struct relay *relay = mate->relay;
	const struct warren_tls_client tls = {
		.size = sizeof(tls), .server_name = mate->url.host,
		.pin_sha256 = mate->pinned ? mate->pin : NULL,
		.ca_file = mate->pinned ? NULL : warren_ca_file_path(&relay->ca),
	};
	const struct talk_options options = {
		.ctx = relay->ctx, .url = &mate->url, .tls = &tls, .fast = true,
		.address = mate->address.family ? &mate->address : NULL, .key = &relay->key,
		.mesh_key = relay->mesh_key, .changed = on_changed, .frame = on_frame,
		.arg = mate,
	};

	warren_timer_set(mate->timer, LOGIN_USEC);
	talk_begin(&mate->talk, &options);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct relay_mate *mate = arg;
	enum talk_state state = mate->talk.state;

	(void)ctx;
	talk_end(&mate->talk);
	if (mate->ourselves)
		return;
	if (state == TALK_NONE || state == TALK_REFUSED || state == TALK_FAILED)
		dial(mate);
	else
		down(mate, "no login within 10 s");
}

/* ---- settings ---- */

/* "relay.example.com:8443/192.0.2.5 sha256-raw:...": host[/dialhost], as the stock relay has it. */
static int mate_parse(struct relay_mate *mate, const char *text)
{
	static const char prefix[] = "sha256-raw:";
	size_t n = strcspn(text, " ");
	const char *pin = text + n + strspn(text + n, " ");
	char at[300], url[320];
	char *address;

	if (n >= sizeof(at))
		return -EINVAL;
	memcpy(at, text, n);
	at[n] = '\0';
	address = strchr(at, '/');
	if (address)
		*address++ = '\0';
	snprintf(url, sizeof(url), "https://%s", at);
	if (warren_url_parse(url, &mate->url, NULL) ||
	    (address && addr_parse(address, &mate->address)))
		return -EINVAL;
	mate->pinned = *pin != '\0';
	if (!mate->pinned)
		return 0;
	return strncmp(pin, prefix, sizeof(prefix) - 1) ||
	       strlen(pin) != sizeof(prefix) - 1 + 64 ? -EINVAL :
	       hex_decode(mate->pin, 32, pin + sizeof(prefix) - 1);
}

int relay_mesh_check(const struct warren_conf *at, struct warren_err *err)
{
	struct relay_mate mate = { 0 };
	const char *text = warren_conf_str(at, NULL);

	if (mate_parse(&mate, text) == 0)
		return 0;
	return warren_fail(err, at, "\"%s\" is no relay: expected HOST, HOST:PORT or HOST/ADDRESS, "
			   "and behind a blank the sha256-raw: of a certificate that it made for "
			   "itself", text);
}

static int take_key(struct relay *relay, const struct warren_conf *conf, struct warren_err *err)
{
	const struct warren_secret *secret = warren_conf_secret(conf, "mesh-key");
	size_t len;
	const char *text = (const char *)warren_secret_bytes(secret, &len);
	char digits[65] = "";
	int result = -EINVAL;

	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	if (len == 64) {
		memcpy(digits, text, len);
		result = hex_decode(relay->mesh_key, 32, digits);
	}
	sodium_memzero(digits, sizeof(digits));
	relay->mesh = result == 0;
	return result == 0 ? 0 :
	       warren_fail_key(err, result, conf, "mesh-key", "it is no key of a mesh: expected 64 "
			       "hexadecimal digits (openssl rand -hex 32)");
}

static struct relay_mate *mate_new(struct relay *relay, const char *text)
{
	struct relay_mate *mate = calloc(1, sizeof(*mate));

	if (!mate)
		return NULL;
	mate->relay = relay;
	list_init(&mate->routes);
	(void)mate_parse(mate, text);		/* checked */
	mate->timer = warren_timer_new(relay->ctx, on_timer, mate);
	if (!mate->timer) {
		free(mate);
		return NULL;
	}
	list_add_tail(&relay->mates, &mate->link);
	warren_timer_set(mate->timer, 0);
	return mate;
}

int relay_mesh_open(struct relay *relay, const struct warren_conf *conf, struct warren_err *err)
{
	uint32_t n = warren_conf_count(conf, "mesh-with");
	int result;

	if (!warren_conf_has(conf, "mesh-key"))
		return n == 0 ? 0 : warren_fail_key(err, -EINVAL, conf, "mesh-with", "relays of a "
						    "mesh know each other by relay.mesh-key: set "
						    "it");
	if (n > MATES)
		return warren_fail_key(err, -EINVAL, conf, "mesh-with", "at most %d relays serve "
				       "one region", MATES);
	result = take_key(relay, conf, err);
	for (uint32_t i = 0; i < n && !result; i++) {
		if (!mate_new(relay, warren_conf_str(warren_conf_at(conf, "mesh-with", i), NULL)))
			result = -ENOMEM;
	}
	return result;
}

void relay_mesh_close(struct relay *relay)
{
	struct relay_mate *mate, *next;
	struct relay_client *watcher;

	list_for_each(watcher, &relay->watchers, watch)
		relay_client_doom(watcher, NULL);	/* it had the key */
	list_for_each_safe(mate, next, &relay->mates, link) {
		routes_free(mate);
		talk_end(&mate->talk);
		warren_release(mate->timer);
		list_del(&mate->link);
		free(mate);
	}
	relay->mesh = false;
	sodium_memzero(relay->mesh_key, sizeof(relay->mesh_key));
}

/* ---- those who watch ---- */

static void tell(struct relay_client *watcher, const struct relay_client *client)
{
	uint8_t flags = (client->mesh ? WARREN_DERP_PEER_MESH : 0) |
			(client->prober ? WARREN_DERP_PEER_PROBER : 0) |
			(client->not_ideal ? WARREN_DERP_PEER_NOT_IDEAL : 0);
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_PEER_PRESENT, .key = client->key, .address = client->from,
		.flags = flags ? flags : WARREN_DERP_PEER_REGULAR,
	};

	relay_write(watcher, &frame);
}

void relay_watch(struct relay_client *watcher)
{
	struct relay *relay = watcher->relay;
	const struct relay_client *client;

	if (!list_empty(&watcher->watch))
		return;
	list_add_tail(&relay->watchers, &watcher->watch);
	warren_stat_set(relay->stats.watchers, ++relay->n_watchers);
	list_for_each(client, &relay->clients, all) {
		if (client->peer && relay_active(client->peer) == client)
			tell(watcher, client);
	}
}

void relay_tell_present(const struct relay_client *client)
{
	struct relay_client *watcher;

	list_for_each(watcher, &client->relay->watchers, watch)
		tell(watcher, client);
}

void relay_tell_gone(struct relay *relay, const uint8_t key[32])
{
	struct relay_client *watcher;

	list_for_each(watcher, &relay->watchers, watch)
		relay_client_gone(watcher, key, WARREN_DERP_GONE_DISCONNECTED);
}

/* ---- what the operator sees ---- */

static bool reaches(const struct relay_mate *mate)
{
	return mate->ourselves || mate->talk.state == TALK_UP;
}

void relay_mesh_show(const struct relay *relay, struct warren_reply *reply)
{
	const struct relay_mate *mate;

	warren_reply_open(reply, "mesh", '[');
	list_for_each(mate, &relay->mates, link) {
		const char *state = mate->ourselves ? "this relay" :
				    reaches(mate) ? "connected" : "not connected";

		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "host", "%s", mate->url.host);
		warren_reply_bool(reply, "connected", reaches(mate));
		warren_reply_bool(reply, "ourselves", mate->ourselves);
		warren_reply_int(reply, "routes", mate->n_routes);
		warren_reply_close(reply);
		warren_reply_text(reply, "mesh with %s: %s, %u keys are there", mate->url.host,
				  state, mate->n_routes);
	}
	warren_reply_close(reply);
}

bool relay_check_mesh(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);
	const struct relay_mate *mate;

	list_for_each(mate, &relay->mates, link) {
		if (reaches(mate))
			continue;
		warren_finding(result, "relay %s is not reached: nodes that are at home there and "
			       "here do not find each other; does it run, and has it the same "
			       "relay.mesh-key? %s", mate->url.host, mate->talk.why);
		return false;
	}
	return true;
}
