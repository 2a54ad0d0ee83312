/*
 * router: leads packets into the tunnel and keeps our own encrypted ones out of it.
 *
 * What should be there follows from network map and configuration (desired.c). What we have had
 * applied is kept beside it; only the difference is sent, part by part, one transaction at a time:
 * link, addresses, routes, rules. A new map, a reload and the start all go that one way, and no
 * item that stays is touched. What somebody else removes is put back by the monitor, which also
 * undoes all of it when this plugin ends.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/netstate.h>
#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>
#include <warren/service/router.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "commands.h"
#include "foreign.h"
#include "options.h"
#include "router.h"

static const struct warren_metric metrics[] = {
	{ .name = "routes", .kind = WARREN_GAUGE, .unit = "1", .brief = "Routes in force." },
	{ .name = "changes", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Addresses, routes and rules added or removed." },
	{ .name = "firewall_repairs", .kind = WARREN_GAUGE, .unit = "1",
	  .brief = "Rules of ours in others' chains that were put back." },
	{ .name = "failures", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Transactions that the monitor or the kernel refused." },
};

static const struct warren_port needs[] = {
	{ .name = "dataplane", .major = 0, .minor = 1, .brief = "The interface." },
	{ .name = "netmap", .major = 0, .minor = 2, .brief = "Addresses and networks." },
};

static const struct warren_port offers[] = {
	{ .name = "router", .major = 0, .minor = 3, .brief = "Routes into the tunnel." },
};

static const struct warren_check checks[] = {
	{
		.id = "router.foreign", .severity = WARREN_BAD,
		.brief = "Nobody else uses our rules and our routing table.",
		.help = "Another program of this kind, or what one left behind, would undo ours. "
			"Stop it, or move us with system.route-table and system.rule-priorities.",
		.run = router_check_foreign,
	},
	{
		.id = "router.applied", .severity = WARREN_BAD,
		.brief = "Addresses, routes and rules are as they should be.",
		.help = "What the kernel refused is tried again with growing pauses. Until then "
			"traffic may take a way around the tunnel.",
		.run = router_check_applied,
	},
	{
		.id = "router.rp-filter", .severity = WARREN_WARN,
		.brief = "The reverse-path filter lets encrypted packets in.",
		.help = "With all traffic led into the tunnel, a strict filter drops the answers "
			"of peers on the uplink.",
		.run = router_check_rp_filter,
	},
	{
		.id = "router.firewall", .severity = WARREN_BAD,
		.brief = "No rule of the host drops what may pass.",
		.help = "Each chain that would is named with its rule. With router.firewall auto, "
			"a rule of ours goes to the top of such chains.",
		.run = router_check_chains,
	},
	{
		.id = "router.firewall-table", .severity = WARREN_BAD,
		.brief = "Our own rules are in the kernel.",
		.help = "Without them nothing is forwarded for peers. `nft list table inet warren` "
			"shows them.",
		.run = router_check_table,
	},
};

enum { SLICE = 4096 };			/* items of one transaction; WARREN_PRIV_ITEMS at most */

static const uint64_t second = 1000000;
static const uint64_t longest_pause = 60;

/*
 * ---- One run ----
 */

static void run_next(struct router *r);

static void run_end(struct router *r)
{
	bool starting = r->starting, bad = r->failed_v4;

	r->running = false;
	r->starting = false;
	if (!r->failed && !r->again) {
		r->unsettled = false;
		router_state_free(&r->touched);
	}
	warren_stat_set(r->routes, (int64_t)(r->applied.parts[ROUTER_ROUTE4].n +
					     r->applied.parts[ROUTER_ROUTE6].n));
	if (starting) {
		warren_started(r->ctx, bad ? -EIO : 0);
		if (bad)
			return;
	}
	if (!r->failed) {
		r->pause = 0;
		r->problem[0] = '\0';
	}
	if (r->again) {
		r->again = false;
		warren_timer_set(r->retry, 0);
		return;
	}
	if (!r->failed)
		return;
	r->pause = r->pause ? 2 * r->pause : 1;
	if (r->pause > longest_pause)
		r->pause = longest_pause;
	warren_timer_set(r->retry, r->pause * second);
}

static void run_failed(struct router *r, const char *what, bool v6, const char *why)
{
	char problem[sizeof(r->problem)];

	snprintf(problem, sizeof(problem), "cannot change %s: %s", what, why);
	warren_stat_add(r->failures, 1);
	r->failed = true;
	r->failed_v4 = r->failed_v4 || !v6;
	/* The same failure again is not told again. */
	if (strcmp(problem, r->problem))
		warren_log(r->ctx, v6 ? LOG_WARNING : LOG_ERR, "%s", problem);
	memcpy(r->problem, problem, sizeof(problem));
}

/*
 * ---- The packet filter ----
 */

/* What this node leads to where no server has a say: the section, and what plugins offer. */
static uint32_t list_offers(const struct router *r, struct warren_prefix *out)
{
	uint32_t n = 0;

	if (strcmp(r->netmap->provider, "static") != 0)
		return 0;
	for (uint32_t i = 0; i < r->conf.n_offers; i++)
		out[n++] = r->conf.offers[i];
	for (const struct offer *offer = r->offers; offer; offer = offer->next) {
		for (uint32_t i = 0; i < offer->n && n < ROUTER_OFFERS_MAX; i++)
			out[n++] = offer->networks[i];
	}
	return n;
}

static void chains_read(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct router *r = arg;
	size_t size = answer->result < 0 ? 0 : answer->len;
	struct warren_nft_chain *chains = malloc(size ? size : 1);

	(void)ctx;
	if (answer->result < 0 || !chains) {
		free(chains);
		return;
	}
	if (size > 0)
		memcpy(chains, answer->data, size);
	free(r->chains);
	r->chains = chains;
	r->n_chains = size / sizeof(*chains);
	r->repairs = answer->value;
	warren_stat_set(r->repaired, r->repairs);
}

static void read_chains(struct router *r)
{
	const struct warren_priv_nft_read item = { .reserved = 0 };

	/* Where it cannot be sent, the next change brings it. */
	(void)warren_priv(r->ctx, WARREN_OP_NFT_READ, &item, sizeof(item), chains_read, r);
}

static void chains_changed(struct warren_ctx *ctx, int fd, uint32_t what, void *arg)
{
	uint64_t count;

	(void)ctx;
	(void)what;
	/* Whether it was one change or several does not matter. */
	if (read(fd, &count, sizeof(count)) == sizeof(count))
		read_chains(arg);
}

static void firewall_done(struct router *r, const struct warren_priv_answer *answer,
			  const char *why)
{
	if (answer->result < 0) {
		run_failed(r, "the firewall", true, why);
		return;
	}
	router_fw_free(&r->fw);
	r->fw = r->fw_wanted;
	r->fw_wanted = (struct router_fw){ .n = 0 };
	warren_stat_add(r->changes, 1);
	if (answer->count > 0 && !r->fw_news)
		r->fw_news = warren_io_new_take(r->ctx, answer->fds[0], chains_changed, r);
	else if (answer->count > 0)
		close(answer->fds[0]);
	if (answer->count > 1) {
		auto_close(&r->fw_hold);
		r->fw_hold = answer->fds[1];
	}
	if (r->fw_news)
		warren_io_want(r->fw_news, WARREN_IN);
	read_chains(r);
}

static void forward_done(struct router *r, const struct warren_priv_answer *answer, const char *why)
{
	bool six = r->step == STEP_FORWARD6;

	if (r->step == STEP_RP_FILTER) {
		if (answer->result < 0)
			run_failed(r, "the reverse-path filter", true, why);
		else
			r->loose = r->loose ? 0 : answer->handle;
		return;
	}
	if (answer->result < 0)
		run_failed(r, six ? "IPv6 forwarding" : "IPv4 forwarding", true, why);
	else
		r->forwarding[six] = r->forwarding[six] ? 0 : answer->handle;
}

static void step_done(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct router *r = arg;
	const char *why = answer->error ? answer->error : strerror(-answer->result);
	bool good = answer->result >= 0;

	(void)ctx;
	if (r->step == STEP_FIREWALL) {
		firewall_done(r, answer, why);
	} else if (r->step == STEP_LINK) {
		r->link_up = good;
		if (!good)
			run_failed(r, "the interface", false, why);
	} else if (r->step >= STEP_FORWARD4) {
		forward_done(r, answer, why);
	} else if (r->step == STEP_IPV6) {
		/* Where this is refused, adding the address tells what is wrong. */
		r->ipv6_on = true;
	} else if (!good) {
		run_failed(r, router_part_name((enum router_part)r->step),
			   router_part_is_v6((enum router_part)r->step), why);
		r->sent = r->diff.n;
	} else {
		const size_t size = router_part_size((enum router_part)r->step);

		if (router_apply((enum router_part)r->step, &r->applied.parts[r->step],
				 r->diff.items + (r->sent - r->slice) * size, r->slice))
			warren_fatal(r->ctx, "out of memory");
		warren_stat_add(r->changes, (int64_t)r->slice);
	}
	if (r->step >= 0 && r->step < ROUTER_PARTS && r->sent < r->diff.n) {
		run_next(r);
		return;
	}
	free(r->diff.items);
	r->diff = (struct router_list){ NULL, 0 };
	r->step = r->step == STEP_LINK && !good ? STEPS : r->step + 1;
	run_next(r);
}

static void step_send(struct router *r, enum warren_op op, const void *items, size_t len)
{
	int result = warren_priv(r->ctx, op, items, len, step_done, r);
	struct warren_priv_answer answer = { .size = sizeof(answer), .result = result };

	/* Not sent: the failure takes the way of an answer, from the loop. */
	if (result)
		step_done(r->ctx, &answer, r);
}

static void send_link(struct router *r)
{
	struct warren_priv_addr item = { .verb = WARREN_LINK_SET, .up = 1 };

	str_copy(item.ifname, sizeof(item.ifname), r->dataplane->ifname(r->dataplane_self));
	item.mtu = r->dataplane->mtu(r->dataplane_self);
	step_send(r, WARREN_OP_ADDR, &item, sizeof(item));
}

/* New interfaces inherit "no IPv6" on hosts that switched it off by default. */
static void send_ipv6(struct router *r)
{
	struct warren_priv_sysctl item = { .name = WARREN_SYSCTL_IP6_DISABLE, .value = 0 };

	str_copy(item.ifname, sizeof(item.ifname), r->dataplane->ifname(r->dataplane_self));
	step_send(r, WARREN_OP_SYSCTL, &item, sizeof(item));
}

static int make_diff(struct router *r, enum router_part part)
{
	const struct router_list *from = &r->applied.parts[part], *to = &r->wanted.parts[part];

	return r->unsettled ? router_diff(part, from, to, &r->diff) :
	       router_diff_touched(part, from, to, &r->touched.parts[part], &r->diff);
}

/* True: something was sent for this part. */
static bool send_part(struct router *r, enum router_part part)
{
	const size_t size = router_part_size(part);

	if (!r->diff.items) {
		r->sent = 0;
		if (make_diff(r, part)) {
			run_failed(r, router_part_name(part), router_part_is_v6(part),
				   "out of memory");
			return false;
		}
	}
	if (r->sent == r->diff.n) {
		free(r->diff.items);
		r->diff = (struct router_list){ NULL, 0 };
		return false;
	}
	r->slice = r->diff.n - r->sent < SLICE ? r->diff.n - r->sent : SLICE;
	r->sent += r->slice;
	step_send(r, router_part_op(part), r->diff.items + (r->sent - r->slice) * size,
		  r->slice * size);
	return true;
}

/* True: something was sent. */
static bool send_firewall(struct router *r)
{
	struct warren_priv_nft off = { .kind = WARREN_NFT_TABLE, .mode = WARREN_NFT_OFF };
	const char *ifname = r->dataplane->ifname(r->dataplane_self);
	struct warren_prefix ours[ROUTER_OFFERS_MAX];
	uint32_t n = list_offers(r, ours);
	int result;

	router_fw_free(&r->fw_wanted);
	/* Without a network there is nobody to let through, and nobody to keep out. */
	if (r->conf.fw.mode != WARREN_NFT_OFF && (!r->map || !r->map->self) && !r->conf.lead)
		return false;
	result = router_fw_want(r->map, &r->conf.fw, r->conf.lead != NULL, ours, n, ifname,
				&r->fw_wanted);
	if (result) {
		run_failed(r, "the firewall", true, result == -E2BIG ?
			   "more networks and ports than it can hold" : "out of memory");
		return false;
	}
	if (router_fw_equal(&r->fw, &r->fw_wanted))
		return false;
	if (r->fw_wanted.n > 0) {
		step_send(r, WARREN_OP_NFT, r->fw_wanted.items,
			  r->fw_wanted.n * sizeof(*r->fw_wanted.items));
	} else {
		str_copy(off.ifname, sizeof(off.ifname), ifname);
		step_send(r, WARREN_OP_NFT, &off, sizeof(off));
	}
	return true;
}

/* Forwarding is on while we lead somewhere, behind a filter that stands. True: sent. */
static bool send_forward(struct router *r, bool six)
{
	bool wanted = router_fw_forwards(&r->fw, six ? 6 : 4) && (!six || r->conf.ipv6);

	if (wanted == (r->forwarding[six] != 0))
		return false;
	if (wanted) {
		struct warren_priv_sysctl item = { .value = 1,
			.name = six ? WARREN_SYSCTL_IP6_FORWARD : WARREN_SYSCTL_IP4_FORWARD };

		if (six)
			str_copy(item.ifname, sizeof(item.ifname), "all");
		step_send(r, WARREN_OP_SYSCTL, &item, sizeof(item));
	} else {
		const struct warren_priv_close item = { WARREN_OP_SYSCTL, r->forwarding[six] };

		step_send(r, WARREN_OP_CLOSE, &item, sizeof(item));
	}
	return true;
}

/*
 * A strict filter asks our table for the way back, which is the tunnel, and drops what comes in on
 * an uplink. True: sent.
 */
static bool send_rp_filter(struct router *r)
{
	struct warren_priv_sysctl item = { .name = WARREN_SYSCTL_RP_FILTER, .value = 2,
					   .ifname = "all" };
	const struct warren_priv_close back = { WARREN_OP_SYSCTL, r->loose };
	char name[IF_NAMESIZE];

	if (!r->conf.lead && r->loose != 0) {
		step_send(r, WARREN_OP_CLOSE, &back, sizeof(back));
		return true;
	}
	if (!r->conf.lead || r->loose != 0 || !router_strict_filter(r, name, sizeof(name)))
		return false;
	step_send(r, WARREN_OP_SYSCTL, &item, sizeof(item));
	return true;
}

/* Sends the next transaction that is not empty, or ends the run. */
static void run_next(struct router *r)
{
	if (r->step == STEP_FIREWALL) {
		if (send_firewall(r))
			return;
		r->step++;
	}
	if (r->step == STEP_LINK) {
		if (!r->link_up && r->map && r->map->self) {
			send_link(r);
			return;
		}
		r->step++;
	}
	if (r->step == STEP_IPV6) {
		if (!r->ipv6_on && r->wanted.parts[ROUTER_ADDR6].n > 0) {
			send_ipv6(r);
			return;
		}
		r->step++;
	}
	while (r->step < ROUTER_PARTS) {
		if (send_part(r, (enum router_part)r->step))
			return;
		r->step++;
	}
	while (r->step < STEPS) {
		if (r->step == STEP_RP_FILTER ? send_rp_filter(r) :
						send_forward(r, r->step == STEP_FORWARD6))
			return;
		r->step++;
	}
	run_end(r);
}

/* What is desired now, from map and configuration alone. */
static int want_anew(struct router *r)
{
	int result;

	r->unsettled = true;
	router_state_free(&r->wanted);
	result = router_desired(r->map, &r->conf, r->dataplane->ifname(r->dataplane_self),
				&r->wanted);
	r->stale = result != 0;
	return result;
}

static void run_start(struct warren_ctx *ctx, void *arg)
{
	struct router *r = arg;

	(void)ctx;
	if (r->running) {
		r->again = true;
		return;
	}
	warren_timer_stop(r->retry);
	r->running = true;
	r->failed = r->failed_v4 = false;
	r->step = STEP_FIREWALL;
	if (r->stale && want_anew(r)) {
		run_failed(r, "anything", false, "out of memory");
		r->step = STEPS;
	}
	run_next(r);
}

void router_run(struct router *r)
{
	run_start(r->ctx, r);
}

/*
 * ---- Life ----
 */

static void router_netmap(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	struct router *r = arg;
	bool matters = router_map_matters(obj, r->map);
	bool follows = router_map_follows(obj, r->map);

	(void)topic;
	warren_obj_unref(r->map);
	r->map = warren_obj_ref(obj);
	/* What failed is tried again by its timer, with this map. */
	if (!matters)
		return;
	if (!follows || router_overlaps_differ(r->map, &r->conf))
		router_tell_overlaps(r);
	if (!follows || r->stale ||
	    router_follow(r->map, &r->conf, r->dataplane->ifname(r->dataplane_self), &r->wanted,
			  &r->touched))
		r->stale = true;
	run_start(ctx, r);
}

static int refuse_foreign(const struct router_conf *conf, struct warren_err *err)
{
	struct router_foreign foreign;
	char text[512];
	int result = router_foreign_look(conf, &foreign, err);

	if (result || (foreign.rules == 0 && foreign.routes == 0))
		return result;
	router_foreign_text(&foreign, conf, text, sizeof(text));
	warren_fail(err, NULL, "%s", text);
	return -EBUSY;
}

static void router_end(void *arg)
{
	struct router *r = arg;

	router_state_free(&r->applied);
	router_state_free(&r->wanted);
	router_state_free(&r->touched);
	warren_release(r->leader_end);
	router_lead_free(r);
	router_fw_free(&r->fw);
	router_fw_free(&r->fw_wanted);
	free(r->chains);
	auto_close(&r->fw_hold);
	free(r->diff.items);
	warren_obj_unref(r->map);
}

static int router_init(struct router *r, struct warren_ctx *ctx)
{
	r->ctx = ctx;
	r->fw_hold = -1;
	if (!warren_on_end(ctx, router_end, r))
		return -ENOMEM;
	r->retry = warren_timer_new(ctx, run_start, r);
	r->routes = warren_stat_open(ctx, "routes", NULL);
	r->changes = warren_stat_open(ctx, "changes", NULL);
	r->failures = warren_stat_open(ctx, "failures", NULL);
	r->repaired = warren_stat_open(ctx, "firewall_repairs", NULL);
	return r->retry && r->routes && r->changes && r->failures && r->repaired ? 0 : -ENOMEM;
}

static const char *ops_problem(void *self)
{
	const struct router *r = self;

	return r->problem[0] ? r->problem : NULL;
}

static int tell_offer(const struct router *r, struct warren_ctx *ctx,
		      const struct warren_prefix *networks, uint32_t n)
{
	struct str list = STR_INIT;
	char text[PREFIX_TEXT];
	int result = -ENOMEM;

	for (uint32_t i = 0; i < n; i++)
		str_addf(&list, "%c\"%s\"", i ? ',' : '[', prefix_format(&networks[i], text));
	str_add(&list, n ? "]" : "");
	if (!list.failed)
		result = r->netmap->self_set(r->netmap_self, ctx, WARREN_FACET_ROUTES,
					     n ? str_text(&list) : NULL);
	str_free(&list);
	return result;
}

static void take_offer(struct router *r, const struct warren_ctx *ctx)
{
	for (struct offer **at = &r->offers; *at; at = &(*at)->next) {
		struct offer *offer = *at;

		if (offer->ctx != ctx)
			continue;
		*at = offer->next;
		free(offer);
		return;
	}
}

struct offerer {
	struct router *router;
	struct warren_ctx *ctx;
};

/* The provider has forgotten its part with the context. */
static void offerer_ends(void *arg)
{
	const struct offerer *offerer = arg;

	take_offer(offerer->router, offerer->ctx);
	offerer->router->again = offerer->router->running;
	if (!offerer->router->running)
		warren_timer_set(offerer->router->retry, 0);
}

static bool has_offer(const struct router *r, const struct warren_ctx *ctx)
{
	for (const struct offer *offer = r->offers; offer; offer = offer->next) {
		if (offer->ctx == ctx)
			return true;
	}
	return false;
}

static int ops_offer(void *self, struct warren_ctx *ctx, const struct warren_prefix *networks,
		     uint32_t n)
{
	struct router *r = self;
	struct offer *offer = calloc(1, sizeof(*offer) + n * sizeof(*networks));
	struct offerer *offerer = has_offer(r, ctx) ? NULL : warren_zalloc(ctx, sizeof(*offerer));
	int result;

	if (!offer || (!offerer && !has_offer(r, ctx))) {
		free(offer);
		return -ENOMEM;
	}
	result = tell_offer(r, ctx, networks, n);
	if (!result && offerer) {
		*offerer = (struct offerer){ r, ctx };
		if (!warren_on_end(ctx, offerer_ends, offerer))
			result = -ENOMEM;
	}
	if (result) {
		free(offer);
		return result;
	}
	take_offer(r, ctx);
	*offer = (struct offer){ .next = r->offers, .ctx = ctx, .n = n };
	memcpy(offer->networks, networks, n * sizeof(*networks));
	r->offers = offer;
	run_start(r->ctx, r);
	return 0;
}

static void ops_serving(void *self, struct warren_router_serving *out)
{
	const struct router *r = self;

	for (int six = 0; six < 2; six++) {
		uint8_t family = six ? 6 : 4;

		out->approved[six] = r->map && r->map->self &&
				     (six ? r->map->self->exit_v6 : r->map->self->exit_v4);
		out->ready[six] = router_fw_exit(&r->fw, family) && r->forwarding[six] != 0;
		out->approved[six] = out->approved[six] || out->ready[six];
	}
}

static bool ops_forwards(void *self)
{
	const struct router *r = self;

	return r->conf.fw.mode != WARREN_NFT_OFF;
}

static int ops_lead(void *self, struct warren_ctx *ctx, const struct warren_router_lead *lead)
{
	return router_lead(self, ctx, lead);
}

static const struct warren_router_ops ops = {
	.size = sizeof(ops),
	.problem = ops_problem,
	.offer = ops_offer,
	.serving = ops_serving,
	.forwards = ops_forwards,
	.lead = ops_lead,
};

static int router_start(struct warren_ctx *ctx, const struct warren_conf *conf,
			struct warren_err *err)
{
	struct router *r = warren_zalloc(ctx, sizeof(*r));
	const void *found;
	int result;

	if (!r || router_init(r, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, r);
	router_conf_read(&r->conf, conf);
	result = warren_need(ctx, "dataplane", &found, &r->dataplane_self);
	if (result)
		return result;
	r->dataplane = found;
	result = warren_need(ctx, "netmap", &found, &r->netmap_self);
	if (result)
		return result;
	r->netmap = found;
	result = refuse_foreign(&r->conf, err);
	if (result)
		return result;
	r->starting = true;
	result = router_lead_init(r, err);
	if (result)
		return result;
	result = warren_offer(ctx, "router", &ops, r);
	if (result)
		return result;
	result = router_conf_tell(r->netmap, r->netmap_self, ctx, conf, err);
	if (result)
		return result;
	r->map = r->netmap->current(r->netmap_self);
	r->stale = true;
	result = warren_subscribe(ctx, "netmap", router_netmap, r);
	if (result)
		return result;
	result = warren_defer(ctx, run_start, r);
	return result ? result : WARREN_PENDING;
}

static int router_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			 const struct warren_conf *now, struct warren_err *err)
{
	struct router *r = warren_self(ctx);
	struct router_conf conf = { .lead = r->conf.lead, .host = r->conf.host };
	int result;

	(void)old;
	router_conf_read(&conf, now);
	if (conf.table != r->conf.table || conf.rule_priority != r->conf.rule_priority) {
		result = refuse_foreign(&conf, err);
		if (result)
			return result;
	}
	result = router_conf_tell(r->netmap, r->netmap_self, ctx, now, err);
	if (result)
		return result;
	r->conf = conf;
	r->stale = true;
	run_start(ctx, r);
	return 0;
}

WARREN_PLUGIN(router, "router",
	.version = "0.1",
	.license = "ISC",
	.brief = "Addresses, routes, rules and packet filter of the host.",
	.help = "Gives the interface its addresses, leads the peers' networks into it, keeps our "
		"own encrypted packets on the host's routes, and lets peers through to the "
		"networks behind this host, whatever its own firewall says. Table 52 and rules "
		"5210-5270 as the stock client has them.",
	.options = { sizeof(struct warren_option), ROUTER_OPTIONS, router_options },
	.commands = { sizeof(struct warren_command), ROUTER_COMMANDS, router_commands },
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(ADDR) | WARREN_PRIVOP(ROUTE) | WARREN_PRIVOP(RULE) |
		   WARREN_PRIVOP(SYSCTL) | WARREN_PRIVOP(CLOSE) | WARREN_PRIVOP(NFT) |
		   WARREN_PRIVOP(NFT_READ),
	.check = router_conf_check,
	.start = router_start,
	.reload = router_reload,
	.status = router_show_status,
);
