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
#include <warren/service/router.h>

#include "desired.h"
#include "firewall.h"

/* Before the parts, and after them. Nothing flows until the firewall stands. */
enum { STEP_FIREWALL = -3, STEP_LINK, STEP_IPV6,
       STEP_FORWARD4 = ROUTER_PARTS, STEP_FORWARD6, STEP_RP_FILTER, STEPS };

struct offer {				/* of another plugin */
	struct offer *next;
	struct warren_ctx *ctx;
	uint32_t n;
	struct warren_prefix networks[];
};

struct router_lead {			/* of another plugin, copied */
	struct warren_router_lead lead;
	struct warren_router_bypass bypass[];
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
	struct router_lead *lead;	/* NULL: nobody leads all into the tunnel */
	struct warren_ctx *leader;
	void *leader_end;
	struct router_host host;
	struct warren_timer *look;	/* at the host */
	uint64_t looked;
	struct warren_limit log_overlaps;
	uint64_t overlaps;		/* a sum of those that were told; 0: none */
	uint32_t loose;			/* handle: reverse-path filters; 0: left alone */
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

void router_run(struct router *router);	/* applies what is desired now */

/* ---- All of the internet, and what the host reaches by itself (lead.c) ---- */
struct str;
int router_lead_init(struct router *router, struct warren_err *err);
void router_lead_free(struct router *router);
int router_lead(struct router *router, struct warren_ctx *ctx,
		const struct warren_router_lead *lead);
void router_look_at_host(struct router *router);
void router_tell_overlaps(struct router *router);
enum { ROUTER_OVERLAPS_SHOWN = 4 };	/* at once: a peer may lead to thousands of networks */
void router_overlap_text(const struct warren_node *peer, const struct warren_prefix *network,
			 const struct router_net *attached, bool lost, struct str *out);

/* ---- What the operator sees (show.c) ---- */
bool router_check_foreign(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_applied(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_rp_filter(struct warren_ctx *ctx, struct warren_check_result *result);
bool router_check_chains(struct warren_ctx *ctx, struct warren_check_result *result);
/* A strict reverse-path filter is at work outside of the tunnel; @name: on which interface. */
bool router_strict_filter(const struct router *router, char *name, size_t size);
bool router_check_table(struct warren_ctx *ctx, struct warren_check_result *result);
void router_show_status(struct warren_ctx *ctx, struct warren_reply *reply);

#endif
