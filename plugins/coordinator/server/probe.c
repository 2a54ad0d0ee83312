/*
 * Whether routers that could stand in for each other still answer (coordinator.md 1.11). Every
 * interval all of them are asked at once and have half of it to answer; who did not is no primary
 * while another one is well. What is found counts together, so that no network goes to one that
 * has failed in the same moment.
 *
 * A server that is slow must not take that for dead routers: a cycle in which our own timer came
 * late is void, and where most of those that were well fall silent together, once is not enough.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

struct probe {
	struct coord *coord;
	int64_t node;
	struct coord_ping *ping;	/* NULL: over */
	bool answered;
};

struct coord_prober {
	struct warren_timer *timer;
	struct probe *probes;		/* of the cycle that is under way */
	uint32_t n_probes, waiting;
	uint64_t due;			/* when the last of them is over */
	bool doubted;			/* the cycle before was not believed */
};

static void forget(struct coord_prober *p)
{
	for (uint32_t i = 0; i < p->n_probes; i++) {
		if (p->probes[i].ping)
			coord_ping_cancel(p->probes[i].ping);
	}
	free(p->probes);
	p->probes = NULL;
	p->n_probes = p->waiting = 0;
}

static void say(struct coord *coord, const struct tailnet_node *node, bool healthy)
{
	warren_log_limit(coord->ctx, &coord->health_limit, healthy ? LOG_NOTICE : LOG_WARNING,
			 healthy ? "router %s answers again" :
			 "router %s does not answer though its stream is open: another one that "
			 "is well serves its networks", node->name);
}

/* Did most of those that were well fall silent at once? Then it may be us, or the way to all. */
static bool doubtful(const struct coord_prober *p, const struct coord *coord)
{
	uint32_t well = 0, silent = 0;

	for (uint32_t i = 0; i < p->n_probes; i++) {
		const struct tailnet_node *node = tailnet_node(coord->tailnet, p->probes[i].node);

		if (!node || node->live.unhealthy)
			continue;
		well++;
		silent += !p->probes[i].answered;
	}
	return silent > 1 && silent * 2 > well;
}

static void judge(struct coord *coord)
{
	struct coord_prober *p = coord->prober;
	struct tailnet_health *found = calloc(p->n_probes + 1, sizeof(*found));
	bool late = warren_now() > p->due + coord->probe_interval / 4;
	bool doubted = !late && !p->doubted && doubtful(p, coord);
	uint32_t n = p->n_probes;

	for (uint32_t i = 0; found && i < n; i++) {
		const struct tailnet_node *node = tailnet_node(coord->tailnet, p->probes[i].node);

		found[i] = (struct tailnet_health){ p->probes[i].node, p->probes[i].answered };
		if (node && !late && !doubted && node->live.unhealthy == p->probes[i].answered)
			say(coord, node, p->probes[i].answered);
	}
	forget(p);
	if (!late)
		p->doubted = doubted;
	if (found && !late && !doubted)
		tailnet_set_health(coord->tailnet, found, n);
	free(found);
}

static void pinged(void *arg, const struct coord_pong *pong)
{
	struct probe *probe = arg;
	struct coord *coord = probe->coord;

	probe->ping = NULL;
	probe->answered = pong->result == 0;
	if (--coord->prober->waiting == 0 && pong->result != -ESHUTDOWN)
		judge(coord);
}

/* False: one of them cannot be asked, and then nothing of the others is believed. */
static bool ask(struct coord *coord, int64_t node)
{
	struct coord_prober *p = coord->prober;
	struct probe *probe = &p->probes[p->n_probes];
	const struct coord_ping_options options = {
		.node = node, .timeout = coord->probe_interval / 2,
		.age = coord->probe_interval * 2,
	};
	int result;

	*probe = (struct probe){ .coord = coord, .node = node };
	result = coord_ping(coord, &options, pinged, probe, &probe->ping);
	if (result == 0) {
		p->n_probes++;
		p->waiting++;
	}
	/* One that is on its way out, or has just come, is judged by that alone. */
	return result == 0 || result == -ENOTCONN || result == -EAGAIN;
}

static void cycle(struct warren_ctx *ctx, void *arg)
{
	struct coord *coord = arg;
	struct coord_prober *p = coord->prober;
	uint32_t n;
	int64_t *ids = tailnet_contested(coord->tailnet, &n);
	bool whole = true;

	(void)ctx;
	warren_timer_set(p->timer, coord->probe_interval);
	forget(p);
	p->probes = n > 0 ? calloc(n, sizeof(*p->probes)) : NULL;
	for (uint32_t i = 0; p->probes && whole && i < n; i++)
		whole = ask(coord, ids[i]);
	free(ids);
	p->due = warren_now() + coord->probe_interval / 2;
	if (!whole)
		forget(p);
}

int coord_probe_start(struct coord *coord)
{
	struct coord_prober *p = calloc(1, sizeof(*p));

	coord->prober = p;
	if (p)
		p->timer = warren_timer_new(coord->ctx, cycle, coord);
	if (!p || !p->timer)
		return -ENOMEM;
	warren_timer_set(p->timer, coord->probe_interval);
	return 0;
}

void coord_probe_stop(struct coord *coord)
{
	if (!coord->prober)
		return;
	forget(coord->prober);
	warren_release(coord->prober->timer);
	free(coord->prober);
	coord->prober = NULL;
}
