/*
 * `warren ping`: pings of disco until one came back by a direct way, or one inside the tunnel or of
 * the peer API until it is answered, in the words of the stock client (path-protocols.md 4.10).
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include <warren/service/peerapi.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/util.h"
#include "inner.h"
#include "paths.h"

#define PAUSE PATHS_SECOND

struct ping_run {
	struct list runs;
	struct paths *paths;
	struct warren_reply *reply;	/* NULL: the client hung up */
	struct warren_timer *timer;	/* no answer came; or the pause is over */
	uint8_t key[32];
	char name[256], ip[ADDR_TEXT];
	int64_t sent, count;		/* count 0: for ever */
	uint64_t timeout;
	uint32_t size;
	bool until_direct, waiting, any;
	bool inner;			/* inside the tunnel: */
	enum inner_kind kind;
	struct warren_addr to;
	uint8_t nonce[INNER_NONCE];
	uint64_t began;
	bool api;			/* of the peer API: */
	struct warren_peerapi_call *call;
	char at[ADDRPORT_TEXT];
};

static void run_free(struct ping_run *run)
{
	struct paths_node *node = paths_node(run->paths, run->key);
	const struct paths *p = run->paths;

	if (p->peerapi)
		p->peerapi->cancel(p->peerapi_self, run->call);
	if (node)
		paths_peer_forget_command(&node->peer, run);
	list_del(&run->runs);
	warren_release(run->timer);
	warren_release(run);
}

static void run_end(struct ping_run *run, int exit, const char *error)
{
	struct warren_reply *reply = run->reply;

	run_free(run);
	warren_reply_end(reply, exit, error);
}

static void cancelled(struct warren_reply *reply, void *arg)
{
	(void)reply;
	run_free(arg);
}

static const struct warren_addr *own_address(const struct paths *p, uint8_t family)
{
	const struct warren_node *self = p->map ? p->map->self : NULL;

	for (uint32_t i = 0; self && i < self->n_addresses; i++) {
		if (self->addresses[i].addr.family == family)
			return &self->addresses[i].addr;
	}
	return NULL;
}

/* What the data plane has no room for is as lost as what the network drops. */
static void send_inner(struct ping_run *run)
{
	const struct paths *p = run->paths;
	const struct warren_addr *from = own_address(p, run->to.family);
	uint8_t packet[INNER_MAX];
	size_t len;

	if (!from) {
		run_end(run, 1, "this node has no address of that family");
		return;
	}
	randombytes_buf(run->nonce, sizeof(run->nonce));
	len = inner_ping(run->kind, from, &run->to, run->nonce, packet);
	run->sent++;
	run->waiting = true;
	run->began = warren_now();
	warren_timer_set(run->timer, run->timeout);
	(void)p->dataplane->packet_reply(p->dataplane_self, packet, len);
}

static warren_peerapi_ping_fn told_api;

/* To the address that the peer tells of, whichever was asked for. */
static void send_api(struct ping_run *run, const struct warren_node *node)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	const struct paths *p = run->paths;
	struct warren_addrport at;

	if (!p->peerapi || !node) {
		run_end(run, 1, p->peerapi ? "no matching peer" :
			"the plugin peerapi does not run: add `peerapi: {}`");
		return;
	}
	run->sent++;
	if (p->peerapi->base(p->peerapi_self, node, &at)) {
		run->to = at.addr;
		addr_format(&run->to, run->ip);
		addrport_format(&at, run->at);
	}
	run->call = p->peerapi->ping(p->peerapi_self, p->ctx, node, run->timeout, told_api, run,
				     &err);
	if (!run->call)
		run_end(run, 1, err_first(&err));
}

static void send_one(struct ping_run *run)
{
	struct paths_node *node = paths_node(run->paths, run->key);

	if (!node) {
		run_end(run, 1, "no matching peer");
		return;
	}
	if (run->api) {
		send_api(run, paths_in_map(run->paths, node));
		return;
	}
	if (run->inner) {
		send_inner(run);
		return;
	}
	run->sent++;
	run->waiting = true;
	warren_timer_set(run->timer, run->timeout);
	paths_peer_command(&node->peer, warren_now(), run, run->size);
	paths_touched(node);
}

/* After an answer or the lack of one. */
static void next(struct ping_run *run, bool direct)
{
	run->waiting = false;
	if ((run->inner || run->api) && run->any)
		run_end(run, 0, NULL);
	else if (direct && run->until_direct)
		run_end(run, 0, NULL);
	else if (run->count > 0 && run->sent >= run->count)
		run_end(run, run->any && !run->until_direct ? 0 : 1,
			!run->any ? "no reply"
			: run->until_direct ? "direct connection not established" : NULL);
	else
		warren_timer_set(run->timer, PAUSE);
}

static void lost(struct ping_run *run)
{
	warren_reply_open(run->reply, NULL, '{');
	warren_reply_str(run->reply, "IP", "%s", run->ip);
	warren_reply_str(run->reply, "Err", "timed out");
	warren_reply_close(run->reply);
	warren_reply_text(run->reply, "ping \"%s\" timed out", run->ip);
	next(run, false);
}

static void time_is_up(struct warren_ctx *ctx, void *arg)
{
	struct ping_run *run = arg;
	struct paths_node *node = paths_node(run->paths, run->key);

	(void)ctx;
	if (!run->waiting) {
		send_one(run);
		return;
	}
	if (node)
		paths_peer_forget_command(&node->peer, run);
	lost(run);
}

/* What every kind of pong says first; close_pong() follows. */
static void open_pong(const struct ping_run *run, uint64_t usec)
{
	struct warren_reply *reply = run->reply;

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "IP", "%s", run->ip);
	warren_reply_str(reply, "NodeIP", "%s", run->ip);
	warren_reply_str(reply, "NodeName", "%s", run->name);
	warren_reply_str(reply, "Err", "%s", "");
	warren_reply_int(reply, "LatencyMicroseconds", (int64_t)usec);
}

static const char *time_text(uint64_t usec, char out[24])
{
	uint64_t msec = (usec + 500) / 1000;

	snprintf(out, 24, msec > 0 ? "%llums" : "0s", (unsigned long long)msec);
	return out;
}

/* @port: of the peer API, with the comma before it, or empty. */
static void close_pong(struct ping_run *run, const char *port, const char *via, uint64_t usec)
{
	char time[24];

	time_text(usec, time);
	warren_reply_close(run->reply);
	warren_reply_text(run->reply, "pong from %s (%s%s) via %s in %s", run->name, run->ip, port,
			  via, time);
	warren_timer_stop(run->timer);
}

void paths_ping_answer(void *command, const struct paths_pong *pong)
{
	struct ping_run *run = command;
	struct warren_reply *reply = run->reply;
	const char *code = paths_region_code(run->paths, pong->region);
	bool udp = pong->address.addr.family != 0, direct = udp && !pong->vni;
	char via[ADDRPORT_TEXT + 32], address[ADDRPORT_TEXT] = "";

	if (!run->waiting)
		return;
	run->any = true;
	if (udp)
		addrport_format(&pong->address, address);
	if (direct)
		snprintf(via, sizeof(via), "%s", address);
	else if (udp)
		snprintf(via, sizeof(via), "peer-relay(%s:vni:%u)", address, pong->vni);
	else
		snprintf(via, sizeof(via), "DERP(%.40s)", code);
	open_pong(run, pong->latency);
	warren_reply_str(reply, "Endpoint", "%s", direct ? address : "");
	if (pong->vni)
		warren_reply_str(reply, "PeerRelay", "%s:vni:%u", address, pong->vni);
	warren_reply_int(reply, "DERPRegionID", pong->region);
	warren_reply_str(reply, "DERPRegionCode", "%s", udp ? "" : code);
	close_pong(run, "", via, pong->latency);
	next(run, direct);
}

static void told_inner(struct ping_run *run, const struct inner_pong *pong)
{
	struct warren_reply *reply = run->reply;
	uint64_t usec = warren_now() - run->began;
	char port[8] = "";

	run->any = true;
	if (pong->port)
		snprintf(port, sizeof(port), ", %u", pong->port);
	open_pong(run, usec);
	if (pong->port)
		warren_reply_int(reply, "PeerAPIPort", pong->port);
	close_pong(run, port, run->kind == INNER_TSMP ? "TSMP" : "ICMP", usec);
	next(run, false);
}

static void told_api(struct warren_ctx *ctx, int result, const char *why, uint64_t usec, void *arg)
{
	struct ping_run *run = arg;
	struct paths_node *found = paths_node(run->paths, run->key);
	const struct warren_node *node = found ? paths_in_map(run->paths, found) : NULL;
	char time[24];

	(void)ctx;
	run->call = NULL;
	if (result == -ETIMEDOUT) {
		lost(run);
		return;
	}
	if (result) {
		run_end(run, 1, why);
		return;
	}
	run->any = true;
	open_pong(run, usec);
	warren_reply_str(run->reply, "PeerAPIURL", "http://%s", run->at);
	warren_reply_close(run->reply);
	warren_reply_text(run->reply, "hit peerapi of %s (%s) at http://%s in %s", run->ip,
			  node && node->name ? node->name : run->name, run->at,
			  time_text(usec, time));
	next(run, false);
}

void paths_on_pong(void *arg, const struct warren_addrport *from, uint32_t vni,
		   const uint8_t *data, size_t len)
{
	struct paths *p = arg;
	struct inner_pong pong;
	struct ping_run *run;

	(void)from;
	(void)vni;
	if (!inner_pong_parse(data, len, &pong))
		return;
	list_for_each(run, &p->pings, runs) {
		if (run->inner && run->waiting && run->kind == pong.kind &&
		    addr_equal(&run->to, &pong.from) &&
		    memcmp(run->nonce, pong.nonce, INNER_NONCE) == 0) {
			told_inner(run, &pong);
			return;
		}
	}
}

static struct ping_run *run_new(struct paths *p, const struct warren_node *node,
				const struct warren_conf *args, struct warren_reply *reply)
{
	struct ping_run *run = warren_zalloc(p->ctx, sizeof(*run));

	if (!run)
		return NULL;
	run->paths = p;
	run->reply = reply;
	run->timer = warren_timer_new(p->ctx, time_is_up, run);
	if (!run->timer) {
		warren_release(run);
		return NULL;
	}
	memcpy(run->key, node->key.bytes, sizeof(run->key));
	paths_node_name(node, run->name, sizeof(run->name));
	run->to = node->addresses[0].addr;
	/* The address that was asked for, if it is one. */
	for (uint32_t i = 0; i < node->n_addresses; i++) {
		struct warren_addr addr;

		if (addr_parse(warren_conf_str(args, "host"), &addr) == 0 &&
		    addr_equal(&addr, &node->addresses[i].addr))
			run->to = addr;
	}
	addr_format(&run->to, run->ip);
	run->inner = warren_conf_bool(args, "tsmp") || warren_conf_bool(args, "icmp");
	run->api = warren_conf_bool(args, "peerapi");
	run->kind = warren_conf_bool(args, "icmp") ? INNER_ICMP : INNER_TSMP;
	run->count = warren_conf_int(args, "c");
	run->timeout = (uint64_t)warren_conf_int(args, "timeout");
	run->size = (uint32_t)warren_conf_int(args, "size");
	run->until_direct = warren_conf_bool(args, "until-direct");
	list_add_tail(&p->pings, &run->runs);
	return run;
}

int paths_command_ping(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	const char *host = warren_conf_str(args, "host");
	struct paths *p = warren_self(ctx);
	const struct warren_node *node;
	struct ping_run *run;
	struct warren_addr addr;
	bool self;

	if (warren_conf_bool(args, "tsmp") + warren_conf_bool(args, "icmp") +
	    warren_conf_bool(args, "peerapi") > 1)
		return warren_fail(err, NULL, "--tsmp, --icmp and --peerapi are kinds of ping: "
				   "choose one"), -EINVAL;
	if (!p->map || !p->map->self)
		return warren_fail(err, NULL, "this node is in no network"), -ENOTCONN;
	node = paths_find(p, host, &self);
	if (self) {
		warren_reply_text(reply, "%s is local Tailscale IP", host);
		return 0;
	}
	if (!node && addr_parse(host, &addr) == 0)
		return warren_fail(err, NULL, "no matching peer"), -ENOENT;
	if (!node)
		return warren_fail(err, NULL, "no node of this network is called \"%s\"", host),
		       -ENOENT;
	if (!paths_node(p, node->key.bytes) || node->n_addresses == 0)
		return warren_fail(err, NULL, "no matching peer"), -ENOENT;
	run = run_new(p, node, args, reply);
	if (!run)
		return -ENOMEM;
	warren_reply_on_cancel(reply, cancelled, run);
	send_one(run);
	return WARREN_PENDING;
}

void paths_pings_end(struct paths *p)
{
	struct ping_run *run, *other;

	list_for_each_safe(run, other, &p->pings, runs)
		run_end(run, 1, "paths is stopping");
}

void paths_peerapi_found(struct paths *p, const void *ops, void *self)
{
	struct ping_run *run, *other;

	list_for_each_safe(run, other, &p->pings, runs) {
		if (run->api && !ops)
			run_end(run, 1, "the plugin peerapi is stopping");
	}
	p->peerapi = ops;
	p->peerapi_self = self;
}
