/*
 * Is there a captive portal (path-protocols.md 5.6)? Relays are asked over plain HTTP for an empty
 * answer, which a portal replaces by its own page. Only relays of the map are asked: what others
 * run is no business of this network.
 */
#include "captive.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/util.h"
#include "paths.h"

#define DELAY (200 * PATHS_MSEC)
#define TIMEOUT (3 * PATHS_SECOND)

static void finish(struct captive *c, uint8_t found)
{
	captive_stop(c);
	netcheck_on_captive(&c->paths->netcheck, found);
}

static void answered(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		     const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct captive_question *q = arg;
	struct captive *c = q->captive;
	const char *response = head ? warren_http_field(head, "x-tailscale-response") : NULL;
	char expected[sizeof(q->challenge) + 16];

	(void)ctx;
	(void)body;
	(void)len;
	(void)why;
	q->fetch = NULL;
	c->pending--;
	snprintf(expected, sizeof(expected), "response %s", q->challenge);
	/* No answer says nothing. */
	if (status && (status != 204 || !response || strcmp(response, expected) != 0))
		finish(c, WARREN_TRI_YES);
	else if (c->pending == 0)
		finish(c, WARREN_TRI_NO);
}

static void ask(struct captive *c, const struct warren_relay_node *node)
{
	static const char cache[] = "no-cache, no-store, must-revalidate, no-transform, max-age=0";
	struct captive_question *q = &c->questions[c->pending];
	const struct warren_http_field fields[] = {
		{ "X-Tailscale-Challenge", q->challenge }, { "Cache-Control", cache },
	};
	char address[ADDR_TEXT], url[ADDR_TEXT + 64];
	const struct warren_fetch_options options = {
		.size = sizeof(options), .method = "GET", .url = url, .fields = fields,
		.n_fields = ARRAY_SIZE(fields), .limit = 64 << 10, .timeout = TIMEOUT,
		.flags = WARREN_FETCH_NO_PROXY,	/* it would answer for a network that is not ours */
	};

	q->captive = c;
	snprintf(q->challenge, sizeof(q->challenge), "ts_%s", node->host_name);
	snprintf(url, sizeof(url), "http://%s/generate_204?t=%lld",
		 addr_format(&node->ipv4, address), (long long)time(NULL));
	q->fetch = warren_fetch(c->paths->ctx, &options, answered, q);
	c->pending += q->fetch != NULL;
}

static void ask_region(struct captive *c, const struct warren_relay_region *region)
{
	for (uint32_t i = 0; i < region->n_nodes && c->pending < CAPTIVE_QUESTIONS; i++) {
		const struct warren_relay_node *node = &region->nodes[i];

		/* A longer name is not answered: relays bound what they repeat. */
		if (node->can_port80 && node->ipv4.family == 4 && node->host_name &&
		    strlen(node->host_name) <= CAPTIVE_HOST)
			ask(c, node);
	}
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct captive *c = arg;
	const struct netcheck *check = &c->paths->netcheck;
	uint32_t home = check->last.preferred;

	(void)ctx;
	for (int other = 0; other < 2; other++)		/* the home first */
		for (uint32_t i = 0; check->map && i < check->map->n_regions; i++) {
			const struct warren_relay_region *region = &check->map->regions[i];

			if ((region->id != home) == other && !region->avoid &&
			    !region->no_measure_no_home)
				ask_region(c, region);
		}
}

int captive_init(struct captive *c, struct paths *p)
{
	c->paths = p;
	c->timer = warren_timer_new(p->ctx, on_timer, c);
	return c->timer ? 0 : -1;
}

void captive_start(struct captive *c)
{
	captive_stop(c);
	warren_timer_set(c->timer, DELAY);
}

void captive_stop(struct captive *c)
{
	warren_timer_stop(c->timer);
	for (uint32_t i = 0; i < CAPTIVE_QUESTIONS; i++) {
		warren_fetch_cancel(c->questions[i].fetch);
		c->questions[i].fetch = NULL;
	}
	c->pending = 0;
}
