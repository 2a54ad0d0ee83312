/*
 * What the host reaches by itself.
 *
 * Networks that it has an address in are those to which the kernel made a route of its own.
 * Networks behind an interface to be bypassed are learnt from the main table and kept: while the
 * interface is away, as a VPN's is when it reconnects, they must not be led anywhere else.
 */
#include "host.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include <warren/netstate.h>

#include "base/addr.h"
#include "base/str.h"

enum { TABLE_MAIN = 254 };

const uint64_t router_host_patience = 60000000;

static int by_net(const void *a, const void *b)
{
	const struct router_net *x = a, *y = b;
	int order = prefix_compare(&x->prefix, &y->prefix);

	return order ? order : strcmp(x->ifname, y->ifname);
}

static const struct router_net *find(const struct router_net *list, size_t n,
				     const struct router_net *net)
{
	return n > 0 ? bsearch(net, list, n, sizeof(*list), by_net) : NULL;
}

static bool has_interface(const struct router_net *list, size_t n, const char *ifname)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i].ifname, ifname) == 0)
			return true;
	}
	return false;
}

static bool any_bypassed(const struct warren_router_lead *lead)
{
	for (uint32_t i = 0; lead && i < lead->n_bypass; i++) {
		if (lead->bypass[i].kind == WARREN_BYPASS_INTERFACE)
			return true;
	}
	return false;
}

static bool is_bypassed(const struct warren_router_lead *lead, const char *ifname)
{
	for (uint32_t i = 0; lead && i < lead->n_bypass; i++) {
		if (lead->bypass[i].kind == WARREN_BYPASS_INTERFACE &&
		    strcmp(lead->bypass[i].ifname, ifname) == 0)
			return true;
	}
	return false;
}

/* Sorts, and removes what stands there twice. */
static void tidy(struct router_net *list, size_t *n)
{
	size_t kept = 0;

	if (*n > 0)
		qsort(list, *n, sizeof(*list), by_net);
	for (size_t i = 0; i < *n; i++) {
		if (kept == 0 || by_net(&list[kept - 1], &list[i]) != 0)
			list[kept++] = list[i];
	}
	*n = kept;
}

static bool equal(const struct router_net *a, size_t n_a, const struct router_net *b, size_t n_b)
{
	for (size_t i = 0; n_a == n_b && i < n_a; i++) {
		if (by_net(&a[i], &b[i]) != 0)
			return false;
	}
	return n_a == n_b;
}

/*
 * What is held from now on: what is there, and what was. Of an interface that is there with other
 * networks, one that is missing is given up after a while.
 */
static int hold(const struct router_host *host, const struct router_host *seen,
		const struct warren_router_lead *lead, uint64_t now, struct router_host *out,
		uint64_t *again)
{
	out->held = calloc(host->n_held + seen->n_held + 1, sizeof(*out->held));
	if (!out->held)
		return -ENOMEM;
	if (seen->n_held > 0)
		memcpy(out->held, seen->held, seen->n_held * sizeof(*out->held));
	out->n_held = seen->n_held;
	for (size_t i = 0; i < host->n_held; i++) {
		struct router_net net = host->held[i];

		if (!is_bypassed(lead, net.ifname) || find(seen->held, seen->n_held, &net))
			continue;
		if (!has_interface(seen->held, seen->n_held, net.ifname))
			net.missing = 0;
		else if (net.missing == 0)
			net.missing = now;
		if (net.missing != 0 && now - net.missing >= router_host_patience)
			continue;
		if (net.missing != 0 && (*again == 0 ||
					 net.missing + router_host_patience < *again))
			*again = net.missing + router_host_patience;
		out->held[out->n_held++] = net;
	}
	tidy(out->held, &out->n_held);
	return 0;
}

int router_host_take(struct router_host *host, struct router_host *seen,
		     const struct warren_router_lead *lead, uint64_t now, bool *changed,
		     uint64_t *again)
{
	struct router_host next = { .attached = seen->attached, .n_attached = seen->n_attached };
	int result;

	*again = 0;
	tidy(seen->attached, &seen->n_attached);
	next.n_attached = seen->n_attached;
	tidy(seen->held, &seen->n_held);
	result = hold(host, seen, lead, now, &next, again);
	if (result)
		return result;
	*changed = !equal(host->attached, host->n_attached, next.attached, next.n_attached) ||
		   !equal(host->held, host->n_held, next.held, next.n_held);
	seen->attached = NULL;
	router_host_free(host);
	*host = next;
	return 0;
}

void router_host_free(struct router_host *host)
{
	free(host->attached);
	free(host->held);
	*host = (struct router_host){ .n_held = 0 };
}

struct look {
	struct router_host *out;
	const struct warren_router_lead *lead;
	uint32_t ours;
	bool failed;
};

static void add(struct look *look, struct router_net **list, size_t *n,
		const struct warren_net_route *route, const char *ifname)
{
	struct router_net *grown = reallocarray(*list, *n + 1, sizeof(*grown));

	if (!grown) {
		look->failed = true;
		return;
	}
	*list = grown;
	grown[*n] = (struct router_net){ .prefix = route->dst };
	str_copy(grown[*n].ifname, sizeof(grown[*n].ifname), ifname);
	prefix_mask(&grown[*n].prefix);
	(*n)++;
}

static bool is_link_local(const struct warren_prefix *prefix)
{
	return prefix->addr.family == 6 && prefix->addr.bytes[0] == 0xfe &&
	       (prefix->addr.bytes[1] & 0xc0) == 0x80;
}

static void look_at(const struct warren_net_route *route, void *arg)
{
	struct look *look = arg;
	uint32_t all = route->family == 6 ? 128 : 32;
	bool attached = route->protocol == RTPROT_KERNEL && route->gateway.family == 0 &&
			route->dst.bits < all;
	char ifname[IF_NAMESIZE];

	/* A name is a system call or three, and a router may have very many routes. */
	if (route->type != RTN_UNICAST || route->dst.bits == 0 || route->ifindex == 0 ||
	    route->ifindex == look->ours || is_link_local(&route->dst) ||
	    (!attached && !any_bypassed(look->lead)) ||
	    !if_indextoname(route->ifindex, ifname) || strcmp(ifname, "lo") == 0)
		return;
	if (attached)
		add(look, &look->out->attached, &look->out->n_attached, route, ifname);
	if (is_bypassed(look->lead, ifname))
		add(look, &look->out->held, &look->out->n_held, route, ifname);
}

int router_host_look(struct router_host *host, const struct warren_router_lead *lead,
		     uint32_t ours, uint64_t now, bool *changed, uint64_t *again)
{
	struct router_host seen = { .n_held = 0 };
	struct look look = { .out = &seen, .lead = lead, .ours = ours };
	int result = warren_net_routes(TABLE_MAIN, look_at, &look, NULL);

	*changed = false;
	*again = 0;
	if (!result && look.failed)
		result = -ENOMEM;
	if (!result)
		result = router_host_take(host, &seen, lead, now, changed, again);
	router_host_free(&seen);
	return result;
}
