/*
 * router.h - the plugin's state, shared by what runs it and what shows it
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/dataplane.h>
#include <warren/service/netmap.h>

#include "desired.h"
#include "firewall.h"

/* Before the parts, and after them. Nothing flows until the firewall stands. */
enum { STEP_FIREWALL = -3, STEP_LINK, STEP_IPV6,
       STEP_FORWARD4 = ROUTER_PARTS, STEP_FORWARD6, STEPS };

struct offer {				/* of another plugin */
	struct offer *next;
	struct warren_ctx *ctx;
	uint32_t n;
	struct warren_prefix networks[];
};

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
	struct offer *offers;
	struct router_fw fw, fw_wanted;	/* in force; being sent */
	uint32_t forwarding[2];		/* handles: IPv4, IPv6; 0: it is not ours that is on */
	int fw_hold;			/* keeps the table while we live; -1: none */
	struct warren_io *fw_news;	/* readable: others' chains are other than told */
	struct warren_nft_chain *chains;	/* others' that may drop */
	size_t n_chains;
	int64_t repairs;
	struct warren_timer *retry;
	uint64_t pause;			/* before the next try, seconds; 0: the last one was good */
	struct warren_stat *routes, *changes, *failures, *repaired;

	/* A run: from the first difference to the last answer. */
	bool running, again, starting, link_up, ipv6_on;
	bool failed, failed_v4;		/* in this run */
	int step;			/* STEP_ or enum router_part */
	struct router_list diff;	/* of this part */
	size_t sent, slice;		/* of diff: sent so far, in the last transaction */
	char problem[256];		/* the newest failure; empty: none */
};

/* ---- What the operator sees (show.c) ---- */
bool router_check_foreign(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_applied(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_rp_filter(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_chains(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_table(struct warren_ctx *ctx, struct warren_check_result *result);
void router_show_status(struct warren_ctx *ctx, struct warren_reply *reply);

#endif
