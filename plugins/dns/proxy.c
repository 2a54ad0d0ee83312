/*
 * Whom peers ask while they use this node as an exit node: DNS over HTTP, by the peer API.
 *
 * A peer gets what anybody on the internet would be told, and nothing that is this host's or its
 * neighbours' own (dns_decide_peer()). Who may ask: nodes of the same user, and those whom the
 * policy would let to port 53 of the internet through this node, as the stock client has it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <warren/net.h>
#include <warren/service/filter.h>

#include "base/err.h"
#include "base/util.h"
#include "dns.h"
#include "doh.h"

enum { ALL_MAX = 512, PEER_MAX = 64 };	/* questions at once */
static const char path[] = "/dns-query";

struct dns_guest {			/* a request of a peer */
	struct list node;
	struct dns *dns;
	struct warren_exchange *x;
	int64_t peer;
	struct dns_wait wait;
	struct dns_query q;
	size_t len;
	uint8_t msg[DNS_DOH_MAX];
};

/*
 * ---- Answers ----
 */

static void guest_free(struct dns_guest *guest)
{
	list_del(&guest->node);
	list_del(&guest->wait.node);
	free(guest);
}

static void answer(struct dns_guest *guest, const uint8_t *msg, size_t len, uint32_t age)
{
	struct warren_exchange *x = guest->x;
	struct dns *dns = guest->dns;

	len = dns_reply_finish(msg, len, &guest->q, DNS_MSG_MAX, age, dns->out);
	guest_free(guest);
	warren_exchange_answer(x, 200, DNS_DOH_TYPE, dns->out, len);
}

static void on_answer(void *arg, const uint8_t *msg, size_t len)
{
	answer(arg, msg, len, 0);
}

static void fail(struct dns_guest *guest, int status, const char *words)
{
	struct warren_exchange *x = guest->x;

	warren_stat_add(guest->dns->stats.dropped, 1);
	guest_free(guest);
	warren_exchange_say(x, status, words);
}

static void resolve(struct dns_guest *guest)
{
	struct dns *dns = guest->dns;
	int result = dns_query_parse(guest->msg, guest->len, &guest->q);
	struct dns_route *route;
	const uint8_t *made;
	uint32_t age;
	size_t len;

	if (result < 0) {
		fail(guest, 400, "no DNS query");
	} else if (result > 0) {
		warren_stat_add(dns->stats.refused, 1);
		len = dns_reply_refuse(&guest->q, result, dns->made, DNS_MADE);
		answer(guest, dns->made, len, 0);
	} else if (dns_resolve(dns, &guest->q, true, &made, &len, &age, &route) == 0) {
		answer(guest, made, len, age);
	} else if (dns_forward(dns, &guest->q, route, &guest->wait)) {
		fail(guest, 503, "too many queries are waiting for answers");
	}
}

/*
 * ---- Requests ----
 */

static int on_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	struct dns_guest *guest = arg;

	(void)x;
	if (len > sizeof(guest->msg) - guest->len) {
		fail(guest, 413, "the query is too long");
		return 0;
	}
	memcpy(guest->msg + guest->len, data, len);
	guest->len += len;
	return 0;
}

static void on_complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	resolve(arg);
}

static void on_failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	guest_free(arg);
}

/* A GET has nothing more to tell. */
static int on_get_body(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	guest_free(arg);
	warren_exchange_cancel(x);
	return 0;
}

/* Of a question that is answered from `complete` on. */
static const struct warren_exchange_events post_events = {
	.size = sizeof(post_events), .body = on_body, .complete = on_complete, .failed = on_failed,
};
static const struct warren_exchange_events get_events = {
	.size = sizeof(get_events), .body = on_get_body, .failed = on_failed,
};

static struct dns_guest *guest_new(struct dns *dns, struct warren_exchange *x, int64_t peer)
{
	struct dns_guest *guest;
	uint32_t all = 0, its = 0;

	list_for_each(guest, &dns->proxy.guests, node) {
		all++;
		its += guest->peer == peer;
	}
	guest = all < ALL_MAX && its < PEER_MAX ? calloc(1, sizeof(*guest)) : NULL;
	if (!guest)
		return NULL;
	guest->dns = dns;
	guest->x = x;
	guest->peer = peer;
	guest->wait.ctx = dns->ctx;
	guest->wait.done = on_answer;
	guest->wait.arg = guest;
	list_init(&guest->wait.node);
	list_add_tail(&dns->proxy.guests, &guest->node);
	return guest;
}

static void get(struct dns_guest *guest, const struct warren_http_head *head)
{
	int len = dns_doh_query(head->path, guest->msg);

	if (len == -EMSGSIZE) {
		fail(guest, 414, "the query is too long");
	} else if (len < 0) {
		fail(guest, 400, len == -ENOENT ? "a parameter \"dns\" is missing" :
		     "\"dns\" is no base64url");
	} else {
		guest->len = (size_t)len;
		warren_exchange_set(guest->x, &get_events, guest);
		resolve(guest);
	}
}

static void post(struct dns_guest *guest, const struct warren_http_head *head)
{
	const char *type = warren_http_field(head, "content-type");

	if (!type || strcmp(type, DNS_DOH_TYPE) != 0)
		fail(guest, 415, "expected " DNS_DOH_TYPE);
	else if (head->length > DNS_DOH_MAX)
		fail(guest, 413, "the query is too long");
	else
		warren_exchange_set(guest->x, &post_events, guest);
}

/*
 * ---- Who may ----
 */

static bool offers(const struct warren_netmap *map)
{
	return map && map->self && !map->self->shields_up &&
	       (map->self->exit_v4 || map->self->exit_v6);
}

/* All tagged nodes carry one user, so tags count. */
static bool is_same_user(const struct warren_netmap *map, const struct warren_node *node)
{
	return node->n_tags == 0 && map->self->n_tags == 0 && node->user == map->self->user;
}

/* Would it be let to a resolver on the internet, from any of its addresses? */
static bool policy_allows(const struct dns *dns, const struct warren_node *node)
{
	/* Any address of the internet would do; these are the lowest. */
	static const struct warren_addr internet[2] = { { 4, { 1 } }, { 6, { 0x20 } } };
	struct warren_filter_query query = {
		.size = sizeof(query), .protocol = 6, .port = 53,
	};

	if (!dns->proxy.filter)
		return false;
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		query.source = node->addresses[i].addr;
		query.destination = internet[query.source.family == 6];
		if (dns->proxy.filter->test(dns->proxy.filter_self, &query) == 0)
			return true;
	}
	return false;
}

static void on_request(struct warren_exchange *x, const struct warren_http_head *head,
		       const struct warren_peerapi_caller *caller, void *arg)
{
	const struct warren_node *node = caller->node;
	struct dns *dns = arg;
	struct dns_guest *guest;
	bool is_get = strcmp(head->method, "GET") == 0;

	if (!offers(caller->map)) {
		warren_exchange_say(x, 404, "unsupported peerapi path");
		return;
	}
	if (!is_same_user(caller->map, node) && !policy_allows(dns, node)) {
		warren_stat_add(dns->stats.dropped, 1);
		warren_log_limit(dns->ctx, &dns->proxy.denied, LOG_INFO, "%s may not ask for names "
				 "here: the policy does not let it to the internet through this "
				 "node", node->name ? node->name : "a peer");
		warren_exchange_say(x, 403, "DNS access denied");
		return;
	}
	if (!is_get && strcmp(head->method, "POST") != 0) {
		warren_exchange_say(x, 405, "method not allowed");
		return;
	}
	guest = guest_new(dns, x, node->id);
	if (!guest) {
		warren_stat_add(dns->stats.dropped, 1);
		warren_exchange_say(x, 503, "too many queries are waiting for answers");
	} else if (is_get) {
		get(guest, head);
	} else {
		post(guest, head);
	}
}

/*
 * ---- Life ----
 */

/* What peers are told: that they can ask here. */
static void tell(struct dns *dns, bool serving)
{
	if (dns->proxy.serving == serving)
		return;
	dns->proxy.serving = serving;
	if (dns->netmap->self_set(dns->netmap_self, dns->ctx, WARREN_FACET_SERVICES, serving ?
				  "[{\"Proto\":\"peerapi-dns-proxy\",\"Port\":1}]" : NULL))
		warren_log(dns->ctx, LOG_ERR, "peers that use this exit node cannot be told to ask "
			   "it for names: out of memory");
}

void dns_proxy_follow(struct dns *dns)
{
	const struct warren_peerapi_route route = {
		.size = sizeof(route), .path = path, .request = on_request, .arg = dns,
	};
	const struct warren_peerapi_ops *peerapi = dns->peerapi;
	AUTO(err_free) struct warren_err err = ERR_INIT;

	if (peerapi && !dns->proxy.routed && offers(dns->map)) {
		dns->proxy.routed = peerapi->route(dns->peerapi_self, dns->ctx, &route, &err) == 0;
		if (!dns->proxy.routed)
			warren_log(dns->ctx, LOG_ERR, "peers cannot ask for names here: %s",
				   err_first(&err));
	}
	tell(dns, dns->proxy.routed && offers(dns->map));
}

void dns_proxy_found(struct dns *dns, const char *service, const void *ops, void *self)
{
	if (strcmp(service, "filter") == 0) {
		dns->proxy.filter = ops;
		dns->proxy.filter_self = self;
		return;
	}
	if (!ops) {
		dns_proxy_end(dns);
		dns_http_lost(dns);
		dns->proxy.routed = false;
	}
	dns->peerapi = ops;
	dns->peerapi_self = self;
}

void dns_proxy_end(struct dns *dns)
{
	struct dns_guest *guest, *next;

	list_for_each_safe(guest, next, &dns->proxy.guests, node) {
		warren_exchange_cancel(guest->x);
		guest_free(guest);
	}
}
