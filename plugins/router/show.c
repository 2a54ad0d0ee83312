/*
 * What the operator sees: status and doctor.
 */
#include "router.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "foreign.h"

bool router_check_foreign(struct warren_ctx *ctx, struct warren_check_result *result)
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

bool router_check_applied(struct warren_ctx *ctx, struct warren_check_result *result)
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

bool router_strict_filter(const struct router *r, char *name, size_t size)
{
	struct strict strict = { .ours = r->dataplane->ifindex(r->dataplane_self) };

	if (warren_net_filters(look_for_strict, &strict, NULL) || strict.all == 2 ||
	    (strict.all != 1 && !strict.name[0]))
		return false;
	str_copy(name, size, strict.all == 1 ? "all" : strict.name);
	return true;
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
bool router_check_rp_filter(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);
	char name[IF_NAMESIZE];

	if (!has_default_route(r) || !router_strict_filter(r, name, sizeof(name)))
		return true;
	warren_finding(result, "net.ipv4.conf.%s.rp_filter is 1 (strict) while all traffic goes "
		       "into the tunnel: set it to 2, or net.ipv4.conf.all.src_valid_mark to 1",
		       name);
	return false;
}

bool router_check_chains(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);
	bool good = true;
	char text[768];

	for (size_t i = 0; i < r->n_chains; i++) {
		if (r->chains[i].state == WARREN_NFT_PASSES)
			continue;
		router_fw_describe(&r->chains[i], r->dataplane->ifname(r->dataplane_self), text,
				   sizeof(text));
		warren_finding(result, "%s", text);
		good = false;
	}
	return good;
}

bool router_check_table(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct router *r = warren_self(ctx);

	if (r->fw.n > 0 || r->conf.fw.mode == WARREN_NFT_OFF || !r->map || !r->map->self)
		return true;
	warren_finding(result, "%s", r->problem[0] ? r->problem : "they are not there yet");
	return false;
}

static const char *mode_name(const struct router *r)
{
	static const char *const names[] = { "off", "own-table-only", "append", "auto" };

	return names[r->conf.fw.mode];
}

static void firewall_status(const struct router *r, struct warren_reply *reply)
{
	size_t passes = 0;
	char text[768];

	for (size_t i = 0; i < r->n_chains; i++)
		passes += r->chains[i].state == WARREN_NFT_PASSES;
	warren_reply_open(reply, "firewall", '{');
	warren_reply_str(reply, "mode", "%s", mode_name(r));
	warren_reply_bool(reply, "table", r->fw.n > 0);
	warren_reply_int(reply, "helped", (int64_t)passes);
	warren_reply_int(reply, "repairs", r->repairs);
	warren_reply_bool(reply, "forwarding4", r->forwarding[0] != 0);
	warren_reply_bool(reply, "forwarding6", r->forwarding[1] != 0);
	warren_reply_open(reply, "drops", '[');
	for (size_t i = 0; i < r->n_chains; i++) {
		router_fw_describe(&r->chains[i], r->dataplane->ifname(r->dataplane_self), text,
				   sizeof(text));
		if (r->chains[i].state != WARREN_NFT_PASSES)
			warren_reply_str(reply, NULL, "%s", text);
	}
	warren_reply_close(reply);
	warren_reply_close(reply);
	warren_reply_text(reply, "firewall %s: %s, a rule in %zu chains of the host, put back %lld "
			  "times%s%s", mode_name(r), r->fw.n > 0 ? "table in place" : "no table",
			  passes, (long long)r->repairs,
			  passes < r->n_chains ? "; some drop: warren doctor firewall" : "",
			  r->forwarding[0] || r->forwarding[1] ? "; forwarding" : "");
}

struct showing {
	struct warren_reply *reply;
	size_t n;
};

static void show_overlap(const struct warren_node *peer, const struct warren_prefix *network,
			 const struct router_net *attached, bool lost, void *arg)
{
	struct showing *showing = arg;
	AUTO(str_free) struct str text = STR_INIT;

	router_overlap_text(peer, network, attached, lost, &text);
	warren_reply_str(showing->reply, NULL, "%s", str_text(&text));
	if (showing->n++ < ROUTER_OVERLAPS_SHOWN)
		warren_reply_text(showing->reply, "%s", str_text(&text));
}

static void show_overlaps(const struct router *r, struct warren_reply *reply)
{
	struct showing showing = { .reply = reply };

	warren_reply_open(reply, "overlaps", '[');
	router_overlaps(r->map, &r->conf, show_overlap, &showing);
	warren_reply_close(reply);
	if (showing.n > ROUTER_OVERLAPS_SHOWN)
		warren_reply_text(reply, "%zu more networks overlap: --json has them all",
				  showing.n - ROUTER_OVERLAPS_SHOWN);
}

void router_show_status(struct warren_ctx *ctx, struct warren_reply *reply)
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
	firewall_status(r, reply);
	show_overlaps(r, reply);
	warren_reply_str(reply, "problem", "%s", r->problem);
	warren_reply_text(reply, "%s: %s; routes in table %u: %zu",
			  r->dataplane->ifname(r->dataplane_self),
			  line.len ? str_text(&line) : "no address", r->conf.table,
			  state->parts[ROUTER_ROUTE4].n + state->parts[ROUTER_ROUTE6].n);
	if (r->problem[0])
		warren_reply_text(reply, "%s", r->problem);
	str_free(&line);
}
