/*
 * Soft facts and streams: in force at once, written behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/util.h"
#include "impl.h"

void soft_mark(struct tailnet *tn, struct place *place)
{
	if (!place->dirty) {
		place->dirty = true;
		tn->n_dirty++;
	}
	if (!tn->soft_at) {
		tn->soft_at = now_mono(tn) + SOFT_DELAY;
		tick_soon(tn);
	}
}

void soft_flush(struct tailnet *tn)
{
	tn->soft_at = 0;
	if (tn->n_dirty)
		change_soft(tn);
}

static bool is_zero(const uint8_t key[TAILNET_KEY_SIZE])
{
	static const uint8_t zero[TAILNET_KEY_SIZE];

	return memcmp(key, zero, sizeof(zero)) == 0;
}

static bool put_hostinfo(struct tailnet_soft *soft, const char *hostinfo)
{
	size_t len = hostinfo ? strlen(hostinfo) : 0;

	/* Too long a one would be cut to what is no JSON: keep the one before. */
	if (!len || len > TAILNET_HOSTINFO || str_equal(hostinfo, soft->hostinfo))
		return true;
	return set_bytes(&soft->hostinfo, hostinfo, len);
}

bool soft_from_register(struct tailnet_soft *soft, const struct tailnet_register *reg)
{
	if (reg->home_derp)
		soft->home_derp = reg->home_derp;
	if (reg->capver)
		soft->capver = reg->capver;
	return put_hostinfo(soft, reg->hostinfo);
}

/* Puts @now in the place of what it is a copy of, if it differs. */
static void soft_put(struct tailnet *tn, struct place *place, struct tailnet_node *now)
{
	if (!node_diff(place->node, now)) {
		tailnet_node_unref(now);
		return;
	}
	soft_mark(tn, place);
	state_put_node(tn, now);
}

void soft_registered(struct tailnet *tn, int64_t node, const struct tailnet_register *reg)
{
	struct place *place = state_place(tn, node);
	struct tailnet_node *now = place ? node_copy(place->node) : NULL;

	if (!now)
		return;
	if (soft_from_register(&now->soft, reg))
		soft_put(tn, place, now);
	else
		tailnet_node_unref(now);
}

static bool take_update(struct tailnet_soft *soft, const struct tailnet_update *u)
{
	struct tailnet_endpoints *same;
	uint32_t n = u->n_endpoints < TAILNET_ENDPOINTS ? u->n_endpoints : TAILNET_ENDPOINTS;
	const struct tailnet_endpoints *old = soft->endpoints;

	if (u->disco_key && !is_zero(u->disco_key))
		memcpy(soft->disco_key, u->disco_key, sizeof(soft->disco_key));
	if (u->home_derp)
		soft->home_derp = u->home_derp;
	if (u->capver)
		soft->capver = u->capver;
	if (u->has_endpoints) {
		counted_ref(old);
		if (!set_endpoints(&soft->endpoints, u->endpoints, n)) {
			counted_unref(old);
			return false;
		}
		if (endpoints_equal(old, soft->endpoints)) {
			same = (struct tailnet_endpoints *)soft->endpoints;
			soft->endpoints = counted_ref(old);
			counted_unref(same);
		}
		counted_unref(old);
	}
	return put_hostinfo(soft, u->hostinfo);
}

static bool routes_differ(const struct tailnet_node *node, const struct tailnet_update *u)
{
	const struct tailnet_prefixes *list = NULL;
	uint32_t n = u->n_routes < TAILNET_ROUTES ? u->n_routes : TAILNET_ROUTES;
	bool differ = !set_prefixes(&list, u->routes, n) ||
		      !prefix_lists_equal(list, node->announced);

	counted_unref(list);
	return differ;
}

/* Starts the change of hostname and routes. */
static int harden(struct tailnet *tn, int64_t node, const struct tailnet_update *u,
		  void (*done)(void *arg, int result), void *arg)
{
	struct tailnet_request *request = request_new(tn, REQUEST_FACTS);

	if (!request)
		return -ENOMEM;
	request->facts.node = node;
	request->facts.hostname = u->hostname ? u->hostname : "";
	request->facts.routes = u->routes;
	request->facts.n_routes = u->n_routes < TAILNET_ROUTES ? u->n_routes : TAILNET_ROUTES;
	request->updated = done;
	request->arg = arg;
	if (!request_text(request, &request->facts.hostname) ||
	    !request_prefixes(request, &request->facts.routes, request->facts.n_routes)) {
		request_free(tn, request);
		return -ENOMEM;
	}
	request_run(tn, request);
	return 0;
}

static bool hostname_differs(const struct tailnet_node *node, const char *hostname)
{
	const char *kept = NULL;
	bool differ = !set_text(&kept, hostname, TAILNET_HOSTNAME) ||
		      strcmp(kept, node->hostname) != 0;

	counted_unref(kept);
	return differ;
}

int tailnet_update(struct tailnet *tn, int64_t node, const struct tailnet_update *update,
		   void (*done)(void *arg, int result), void *arg)
{
	struct place *place = state_place(tn, node);
	struct tailnet_node *now = place ? node_copy(place->node) : NULL;
	bool hard;
	int rc = 0;

	if (!now)
		return place ? -ENOMEM : -ENOENT;
	if (!take_update(&now->soft, update)) {
		tailnet_node_unref(now);
		return -ENOMEM;
	}
	soft_put(tn, place, now);
	/* A change that is on its way may lead elsewhere: the request looks again, behind it. */
	hard = update->hostinfo && (hostname_differs(place->node, update->hostname) ||
				    routes_differ(place->node, update) ||
				    change_reserved(tn, ON_NODE, &node, sizeof(node)));
	if (hard || done)
		rc = harden(tn, node, hard ? update : &(struct tailnet_update){
				.hostname = place->node->hostname,
				.routes = place->node->announced ? place->node->announced->at :
					  NULL,
				.n_routes = place->node->announced ?
					    place->node->announced->count : 0,
			    }, done, arg);
	tell_flush(tn);
	return rc;
}

/*
 * ---- Streams ----
 */

void live_arm(struct tailnet *tn, struct place *place)
{
	const struct tailnet_node *node = place->node;

	place->delete_at = 0;
	if (node->ephemeral && !node->live.sessions) {
		place->delete_at = now_mono(tn) + (uint64_t)tn->config.ephemeral_timeout;
		tick_at(tn, place->delete_at);
	}
}

void tailnet_stream_opened(struct tailnet *tn, int64_t id)
{
	struct place *place = state_place(tn, id);
	struct tailnet_node *now = place ? node_copy(place->node) : NULL;

	if (!now)
		return;
	now->live.sessions++;
	now->live.online = true;
	/* A new session has not failed a probe yet. */
	now->live.unhealthy = false;
	place->offline_at = 0;
	state_put_node(tn, now);
	live_arm(tn, place);
	tell_flush(tn);
}

void tailnet_stream_closed(struct tailnet *tn, int64_t id)
{
	struct place *place = state_place(tn, id);
	struct tailnet_node *now = place && place->node->live.sessions ? node_copy(place->node) :
				   NULL;

	if (!now)
		return;
	now->live.sessions--;
	state_put_node(tn, now);
	if (!place->node->live.sessions) {
		place->offline_at = now_mono(tn) + OFFLINE_GRACE;
		tick_at(tn, place->offline_at);
		live_arm(tn, place);
	}
	tell_flush(tn);
}

static void set_health(struct tailnet *tn, const struct tailnet_health *found)
{
	struct place *place = state_place(tn, found->node);
	struct tailnet_node *now;

	if (!place || place->node->live.unhealthy == !found->healthy)
		return;
	now = node_copy(place->node);
	if (!now)
		return;
	now->live.unhealthy = !found->healthy;
	state_put_node(tn, now);
}

void tailnet_set_health(struct tailnet *tn, const struct tailnet_health *found, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		set_health(tn, &found[i]);
	tell_flush(tn);
}
