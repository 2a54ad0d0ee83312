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

#include <warren/netstate.h>
#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>
#include <warren/service/router.h>

#include "base/addr.h"
#include "base/str.h"
#include "desired.h"
#include "foreign.h"
#include "options.h"

static bool check_foreign(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_applied(struct warren_ctx *ctx, struct warren_check_result *result);
static bool check_rp_filter(struct warren_ctx *ctx, struct warren_check_result *result);

static const struct warren_metric metrics[] = {
	{ .name = "routes", .kind = WARREN_GAUGE, .unit = "1", .brief = "Routes in force." },
	{ .name = "changes", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Addresses, routes and rules added or removed." },
	{ .name = "failures", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Transactions that the monitor or the kernel refused." },
};

static const struct warren_port needs[] = {
	{ .name = "dataplane", .major = 0, .minor = 1, .brief = "The interface." },
	{ .name = "netmap", .major = 0, .minor = 2, .brief = "Addresses and networks." },
};

static const struct warren_port offers[] = {
	{ .name = "router", .major = 0, .minor = 1, .brief = "Routes into the tunnel." },
};

static const struct warren_check checks[] = {
	{
		.id = "router.foreign", .severity = WARREN_BAD,
		.brief = "Nobody else uses our rules and our routing table.",
		.help = "Another program of this kind, or what one left behind, would undo ours. "
			"Stop it, or move us with system.route-table and system.rule-priorities.",
		.run = check_foreign,
	},
	{
		.id = "router.applied", .severity = WARREN_BAD,
		.brief = "Addresses, routes and rules are as they should be.",
		.help = "What the kernel refused is tried again with growing pauses. Until then "
			"traffic may take a way around the tunnel.",
		.run = check_applied,
	},
	{
		.id = "router.rp-filter", .severity = WARREN_WARN,
		.brief = "The reverse-path filter lets encrypted packets in.",
		.help = "With all traffic led into the tunnel, a strict filter drops the answers "
			"of peers on the uplink.",
		.run = check_rp_filter,
	},
};

enum { STEP_LINK = -2, STEP_IPV6 = -1 };	/* before the parts */
enum { SLICE = 4096 };			/* items of one transaction; WARREN_PRIV_ITEMS at most */

static const uint64_t second = 1000000;
static const uint64_t longest_pause = 60;

struct router {
	struct warren_ctx *ctx;
	const struct warren_dataplane_ops *dataplane;
	void *dataplane_self;
	const struct warren_netmap_ops *netmap;
	void *netmap_self;
	struct router_conf conf;
	const struct warren_netmap *map;	/* the newest, with a reference */
	struct router_state applied, wanted;
	bool stale;			/* `wanted` is not what `map` and `conf` ask for */
	/* The two may differ in these alone, unless `unsettled`; kept until a run ended well. */
	struct router_state touched;
	bool unsettled;
	struct warren_timer *retry;
	uint64_t pause;			/* before the next try, seconds; 0: the last one was good */
	struct warren_stat *routes, *changes, *failures;

	/* A run: from the first difference to the last answer. */
	bool running, again, starting, link_up, ipv6_on;
	bool failed, failed_v4;		/* in this run */
	int step;			/* STEP_ or enum router_part */
	struct router_list diff;	/* of this part */
	size_t sent, slice;		/* of diff: sent so far, in the last transaction */
	char problem[256];		/* the newest failure; empty: none */
};

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

static void step_done(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct router *r = arg;
	const char *why = answer->error ? answer->error : strerror(-answer->result);
	bool good = answer->result >= 0;

	(void)ctx;
	if (r->step == STEP_LINK) {
		r->link_up = good;
		if (!good)
			run_failed(r, "the interface", false, why);
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
	if (r->step >= 0 && r->sent < r->diff.n) {
		run_next(r);
		return;
	}
	free(r->diff.items);
	r->diff = (struct router_list){ NULL, 0 };
	r->step = r->step == STEP_LINK && !good ? ROUTER_PARTS : r->step + 1;
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

/* Sends the next transaction that is not empty, or ends the run. */
static void run_next(struct router *r)
{
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
	r->step = STEP_LINK;
	if (r->stale && want_anew(r)) {
		run_failed(r, "anything", false, "out of memory");
		r->step = ROUTER_PARTS;
	}
	run_next(r);
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
	free(r->diff.items);
	warren_obj_unref(r->map);
}

static int router_init(struct router *r, struct warren_ctx *ctx)
{
	r->ctx = ctx;
	if (!warren_on_end(ctx, router_end, r))
		return -ENOMEM;
	r->retry = warren_timer_new(ctx, run_start, r);
	r->routes = warren_stat_open(ctx, "routes", NULL);
	r->changes = warren_stat_open(ctx, "changes", NULL);
	r->failures = warren_stat_open(ctx, "failures", NULL);
	return r->retry && r->routes && r->changes && r->failures ? 0 : -ENOMEM;
}

static const char *ops_problem(void *self)
{
	const struct router *r = self;

	return r->problem[0] ? r->problem : NULL;
}

static const struct warren_router_ops ops = {
	.size = sizeof(ops),
	.problem = ops_problem,
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
	r->starting = true;
	result = warren_defer(ctx, run_start, r);
	return result ? result : WARREN_PENDING;
}

static int router_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			 const struct warren_conf *now, struct warren_err *err)
{
	struct router *r = warren_self(ctx);
	struct router_conf conf;
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

/*
 * ---- What the operator sees ----
 */

static bool check_foreign(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);
	struct router_foreign foreign;
	char text[512];

	if (router_foreign_look(&r->conf, &foreign, NULL)) {
		warren_finding(result, "the kernel's rules and routes cannot be read");
		return false;
	}
	if (foreign.rules == 0 && foreign.routes == 0)
		return true;
	router_foreign_text(&foreign, &r->conf, text, sizeof(text));
	warren_finding(result, "%s", text);
	return false;
}

static bool check_applied(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);

	if (!r->problem[0])
		return true;
	warren_finding(result, "%s; trying again every %llu s", r->problem,
		       (unsigned long long)r->pause);
	return false;
}

struct strict {
	uint32_t ours;
	int32_t all;
	char name[IF_NAMESIZE];		/* of a strict interface; empty: none */
};

static void look_for_strict(const struct warren_net_filter *filter, void *arg)
{
	struct strict *strict = arg;

	if (filter->ifindex == -1)
		strict->all = filter->rp_filter;
	else if (filter->ifindex > 1 && (uint32_t)filter->ifindex != strict->ours &&
		 filter->rp_filter == 1)
		if_indextoname((unsigned int)filter->ifindex, strict->name);
}

static bool has_default_route(const struct router *r)
{
	const struct router_list *list = &r->applied.parts[ROUTER_ROUTE4];
	const struct warren_priv_route *routes = (const struct warren_priv_route *)list->items;

	for (size_t i = 0; i < list->n; i++) {
		if (routes[i].dst.bits == 0)
			return true;
	}
	return false;
}

/* The kernel takes the larger of "all" and the interface's own: 1 is strict, 2 loose. */
static bool check_rp_filter(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);
	struct strict strict = { .ours = r->dataplane->ifindex(r->dataplane_self) };

	if (!has_default_route(r) || warren_net_filters(look_for_strict, &strict, NULL))
		return true;
	if (strict.all == 2 || (strict.all != 1 && !strict.name[0]))
		return true;
	warren_finding(result, "net.ipv4.conf.%s.rp_filter is 1 (strict) while all traffic goes "
		       "into the tunnel: set it to 2, or net.ipv4.conf.all.src_valid_mark to 1",
		       strict.all == 1 ? "all" : strict.name);
	return false;
}

static void router_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct router *r = warren_self(ctx);
	const struct router_state *state = &r->applied;
	char text[ADDR_TEXT];
	struct str line = STR_INIT;

	warren_reply_open(reply, "addresses", '[');
	for (int part = ROUTER_ADDR4; part <= ROUTER_ADDR6; part++) {
		const struct warren_priv_addr *items =
			(const struct warren_priv_addr *)state->parts[part].items;

		for (size_t i = 0; i < state->parts[part].n; i++) {
			addr_format(&items[i].prefix.addr, text);
			warren_reply_str(reply, NULL, "%s", text);
			str_addf(&line, "%s%s", line.len ? " " : "", text);
		}
	}
	warren_reply_close(reply);
	warren_reply_int(reply, "routes", (int64_t)(state->parts[ROUTER_ROUTE4].n +
						    state->parts[ROUTER_ROUTE6].n));
	warren_reply_int(reply, "rules", (int64_t)(state->parts[ROUTER_RULE4].n +
						   state->parts[ROUTER_RULE6].n));
	warren_reply_int(reply, "table", r->conf.table);
	warren_reply_str(reply, "problem", "%s", r->problem);
	warren_reply_text(reply, "%s: %s; routes in table %u: %zu",
			  r->dataplane->ifname(r->dataplane_self),
			  line.len ? str_text(&line) : "no address", r->conf.table,
			  state->parts[ROUTER_ROUTE4].n + state->parts[ROUTER_ROUTE6].n);
	if (r->problem[0])
		warren_reply_text(reply, "%s", r->problem);
	str_free(&line);
}

WARREN_PLUGIN(router, "router",
	.version = "0.1",
	.license = "ISC",
	.brief = "Addresses, routes and rules of the host.",
	.help = "Gives the interface its addresses, leads the peers' networks into it, and keeps "
		"our own encrypted packets on the host's routes. Table 52 and rules 5210-5270 as "
		"the stock client has them.",
	.options = { sizeof(struct warren_option), ROUTER_OPTIONS, router_options },
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.offers = WARREN_TABLE(offers),
	.checks = WARREN_TABLE(checks),
	.privops = WARREN_PRIVOP(ADDR) | WARREN_PRIVOP(ROUTE) | WARREN_PRIVOP(RULE) |
		   WARREN_PRIVOP(SYSCTL),
	.check = router_conf_check,
	.start = router_start,
	.reload = router_reload,
	.status = router_status,
);
