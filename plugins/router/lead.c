/*
 * All of the internet through the tunnel, on behalf of another plugin; and what the host reaches by
 * itself, which is looked up again when its interfaces, addresses or routes change.
 */
#include "router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/str.h"
#include "base/util.h"
#include "host.h"

enum {
	PAUSE = 50000,			/* microseconds, between two looks */
	OVERLAP_MAX = 400,		/* bytes of a line about one */
};

void router_overlap_text(const struct warren_node *peer, const struct warren_prefix *network,
			 const struct router_net *attached, bool lost, struct str *out)
{
	char theirs[PREFIX_TEXT], ours[PREFIX_TEXT];

	str_addf(out, "%s of %s overlaps %s of this host's interface %s, which %s",
		 prefix_format(network, theirs), peer->name ? peer->name : "a peer",
		 prefix_format(&attached->prefix, ours), attached->ifname,
		 lost ? "wins (router.prefer)" : "gives way");
}

static void sum_overlap(const struct warren_node *peer, const struct warren_prefix *network,
			const struct router_net *attached, bool lost, void *arg)
{
	uint64_t *sum = arg;
	const uint64_t before[2] = { *sum, (uint64_t)peer->id << 1 | lost };
	uint8_t pair[sizeof(*network) + sizeof(attached->prefix) + sizeof(attached->ifname)];

	memcpy(pair, network, sizeof(*network));
	memcpy(pair + sizeof(*network), &attached->prefix, sizeof(attached->prefix));
	memcpy(pair + sizeof(*network) + sizeof(attached->prefix), attached->ifname,
	       sizeof(attached->ifname));
	*sum = hash_siphash(before, pair, sizeof(pair));
}

struct telling {
	struct router *router;
	size_t n;
};

static void tell_overlap(const struct warren_node *peer, const struct warren_prefix *network,
			 const struct router_net *attached, bool lost, void *arg)
{
	struct telling *telling = arg;
	AUTO(str_free) struct str text = STR_INIT;

	if (++telling->n > ROUTER_OVERLAPS_SHOWN)
		return;
	router_overlap_text(peer, network, attached, lost, &text);
	warren_log_limit(telling->router->ctx, &telling->router->log_overlaps, LOG_WARNING,
			 "%.*s", OVERLAP_MAX, str_text(&text));
}

/* Told once for each set of them. */
void router_tell_overlaps(struct router *r)
{
	struct telling telling = { .router = r };
	uint64_t sum = 0;

	router_overlaps(r->map, &r->conf, sum_overlap, &sum);
	if (sum != 0 && sum != r->overlaps)
		router_overlaps(r->map, &r->conf, tell_overlap, &telling);
	if (telling.n > ROUTER_OVERLAPS_SHOWN)
		warren_log_limit(r->ctx, &r->log_overlaps, LOG_WARNING, "%zu more networks of "
				 "peers overlap those of this host: `warren status --json` has "
				 "them all", telling.n - ROUTER_OVERLAPS_SHOWN);
	r->overlaps = sum;
}

void router_look_at_host(struct router *r)
{
	uint64_t now = warren_now(), again;
	bool changed;
	int result = router_host_look(&r->host, r->conf.lead,
				      r->dataplane->ifindex(r->dataplane_self), now, &changed,
				      &again);

	r->looked = now;
	if (result)
		warren_log(r->ctx, LOG_WARNING, "cannot read the routes of this host (%s): what "
			   "it is attached to is taken as it was", strerror(-result));
	if (again)
		warren_timer_set(r->look, again > now ? again - now : 0);
	if (!changed)
		return;
	r->stale = true;
	router_tell_overlaps(r);
	if (!r->starting)
		router_run(r);
}

static void look_now(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	router_look_at_host(arg);
}

static void host_changed(struct warren_ctx *ctx, uint32_t what, void *arg)
{
	struct router *r = arg;
	uint64_t since = warren_now() - r->looked;

	(void)ctx;
	(void)what;
	warren_timer_set(r->look, since >= PAUSE ? 0 : PAUSE - since);
}

int router_lead_init(struct router *r, struct warren_err *err)
{
	r->look = warren_timer_new(r->ctx, look_now, r);
	if (!r->look)
		return warren_fail(err, NULL, "out of memory");
	r->conf.host = &r->host;
	router_look_at_host(r);
	/* Where this is forbidden, the networks are those of the start. */
	if (warren_net_watch(r->ctx, WARREN_NET_LINKS | WARREN_NET_ADDRESSES | WARREN_NET_ROUTES,
			     host_changed, r, NULL))
		warren_log(r->ctx, LOG_WARNING, "changes of this host's networks are not seen: "
			   "rtnetlink is forbidden here");
	return 0;
}

void router_lead_free(struct router *r)
{
	free(r->lead);
	r->lead = NULL;
	r->conf.lead = NULL;
	router_host_free(&r->host);
}

static void lead_set(struct router *r, struct router_lead *lead)
{
	free(r->lead);
	r->lead = lead;
	r->conf.lead = lead ? &lead->lead : NULL;
	r->stale = true;
	router_look_at_host(r);
	if (!r->starting)
		router_run(r);
}

static void leader_ends(void *arg)
{
	struct router *r = arg;

	r->leader = NULL;
	r->leader_end = NULL;
	lead_set(r, NULL);
}

int router_lead(struct router *r, struct warren_ctx *ctx, const struct warren_router_lead *lead)
{
	struct router_lead *copy = NULL;

	if (r->leader && r->leader != ctx)
		return -EBUSY;
	if (lead && lead->n_bypass > WARREN_BYPASS_MAX)
		return -EINVAL;
	if (lead) {
		copy = calloc(1, sizeof(*copy) + lead->n_bypass * sizeof(copy->bypass[0]));
		if (!copy)
			return -ENOMEM;
		copy->lead = *lead;
		copy->lead.bypass = copy->bypass;
		if (lead->n_bypass > 0)
			memcpy(copy->bypass, lead->bypass,
			       lead->n_bypass * sizeof(copy->bypass[0]));
	}
	if (!r->leader) {
		r->leader_end = warren_on_end(ctx, leader_ends, r);
		if (!r->leader_end) {
			free(copy);
			return -ENOMEM;
		}
		r->leader = ctx;
	}
	lead_set(r, copy);
	return 0;
}
