/*
 * Does what others do: asks for each of our names on each of our ports, and looks whether it is us
 * who answers. What is wrong is said once, and stays to be seen in `warren doctor`.
 */
#include "reach.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "base/hex.h"
#include "base/str.h"

static const uint64_t second = 1000000;
enum { NAMES_MAX = 64, FIRST = 1, TIMEOUT = 10, AGAIN = 6 * 3600, TOKEN = 16 };
static const char self_path[] = "/.well-known/warren/self";

struct place {				/* a name and a port */
	struct list link;
	char name[256];
	uint16_t port;
	bool tls, named;
	char why[768];			/* "": it is us */
};

struct front_reach {
	struct front *front;
	char token[2 * TOKEN + 1];
	struct list places;
	uint32_t n, rounds;
	struct warren_timer *timer;
	struct warren_fetch *fetch;
	struct place *current;		/* what @fetch is about */
	bool tls;			/* which port front_each_name() is walked for */
};

static void next(struct front_reach *reach);

bool front_reach_http(const struct front_reach *reach, struct warren_exchange *x, const char *path)
{
	if (!reach || strcmp(path, self_path) != 0)
		return false;
	warren_exchange_reply(x, 200, "text/plain", reach->token, strlen(reach->token));
	return true;
}

static void judge(struct front_reach *reach, struct place *place, const char *why)
{
	bool same = strcmp(place->why, why) == 0;

	snprintf(place->why, sizeof(place->why), "%s", why);
	if (why[0] && !same)
		warren_log(reach->front->ctx, LOG_WARNING, "%s", place->why);
}

static void answered(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		     const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct front_reach *reach = arg;
	struct place *place = reach->current;
	char text[sizeof(place->why)] = "";

	(void)ctx;
	(void)head;
	reach->fetch = NULL;
	reach->current = NULL;
	if (status == 0)
		snprintf(text, sizeof(text), "%s does not lead to this box, as seen from itself: "
			 "%.300s: look at the name's address and at whether TCP port %u is let in "
			 "(a router that does not take us back in shows the same)", place->name,
			 why, place->port);
	else if (len != strlen(reach->token) || memcmp(body, reach->token, len) != 0)
		snprintf(text, sizeof(text), "%s leads to another machine: what answers on its TCP "
			 "port %u is not this box", place->name, place->port);
	judge(reach, place, text);
	place->named = false;
	next(reach);
}

static void ask(struct front_reach *reach, struct place *place)
{
	const struct warren_tls_client tls = {
		.size = sizeof(tls), .flags = WARREN_TLS_INSECURE,	/* the token is the proof */
	};
	char url[400];
	const struct warren_fetch_options options = {
		.size = sizeof(options), .url = url, .limit = 4096, .timeout = TIMEOUT * second,
		.tls = &tls,
	};

	snprintf(url, sizeof(url), "%s://%s:%u%s", place->tls ? "https" : "http", place->name,
		 place->port, self_path);
	reach->current = place;
	reach->fetch = warren_fetch(reach->front->ctx, &options, answered, reach);
	if (!reach->fetch) {
		reach->current = NULL;
		place->named = false;
	}
}

/* @named means in this round: still to ask. */
static void next(struct front_reach *reach)
{
	struct place *place;

	list_for_each(place, &reach->places, link) {
		if (!reach->fetch && place->named)
			ask(reach, place);
	}
	if (reach->fetch)
		return;
	reach->rounds++;
	warren_timer_set(reach->timer, AGAIN * second);
}

static struct warren_listener *listener_of(const struct front_reach *reach, bool tls)
{
	return tls ? reach->front->https : reach->front->http;
}

static void want(const char *name, void *arg)
{
	struct front_reach *reach = arg;
	struct place *place;
	uint16_t port = warren_listener_port(listener_of(reach, reach->tls));

	list_for_each(place, &reach->places, link) {
		if (strcasecmp(place->name, name) == 0 && place->port == port) {
			place->named = true;
			return;
		}
	}
	place = reach->n < NAMES_MAX ? calloc(1, sizeof(*place)) : NULL;
	if (!place)
		return;
	if (!str_copy(place->name, sizeof(place->name), name)) {
		free(place);
		return;
	}
	place->port = port;
	place->tls = reach->tls;
	place->named = true;
	list_add_tail(&reach->places, &place->link);
	reach->n++;
}

static void forget(struct front_reach *reach, struct place *place)
{
	list_del(&place->link);
	reach->n--;
	free(place);
}

static void begin(struct warren_ctx *ctx, void *arg)
{
	struct front_reach *reach = arg;
	struct place *place, *after;

	(void)ctx;
	for (int tls = 0; tls < 2; tls++) {
		reach->tls = tls;
		/* Without a certificate there is no TLS; the first one asks for this again. */
		if (listener_of(reach, tls) && (!tls || !list_empty(&reach->front->certs)))
			front_each_name(reach->front, want, reach);
	}
	list_for_each_safe(place, after, &reach->places, link) {
		if (!place->named)
			forget(reach, place);
	}
	next(reach);
}

struct front_reach *front_reach_new(struct front *front)
{
	struct front_reach *reach = calloc(1, sizeof(*reach));
	uint8_t token[TOKEN];

	if (!reach || RAND_bytes(token, sizeof(token)) != 1) {
		free(reach);
		return NULL;
	}
	hex_encode(reach->token, token, sizeof(token));
	reach->front = front;
	list_init(&reach->places);
	reach->timer = warren_timer_new(front->ctx, begin, reach);
	if (!reach->timer) {
		free(reach);
		return NULL;
	}
	front_reach_again(reach);
	return reach;
}

void front_reach_again(struct front_reach *reach)
{
	struct place *place;

	if (!reach)
		return;
	warren_fetch_cancel(reach->fetch);
	reach->fetch = NULL;
	reach->current = NULL;
	list_for_each(place, &reach->places, link)
		place->named = false;
	warren_timer_set(reach->timer, FIRST * second);
}

void front_reach_free(struct front_reach *reach)
{
	struct place *place, *after;

	if (!reach)
		return;
	warren_fetch_cancel(reach->fetch);
	list_for_each_safe(place, after, &reach->places, link)
		forget(reach, place);
	warren_release(reach->timer);
	free(reach);
}

void front_reach_each(const struct front_reach *reach, void (*fn)(const char *why, void *arg),
		      void *arg)
{
	const struct place *place;

	list_for_each(place, &reach->places, link) {
		if (place->why[0])
			fn(place->why, arg);
	}
}

uint32_t front_reach_rounds(const struct front_reach *reach)
{
	return reach->rounds;
}
