/*
 * `warren why`: facts about a peer, the verdict, and the evidence.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "paths.h"
#include "peer_impl.h"
#include "why.h"

#define LONG_BUSY (10 * PATHS_SECOND)

/* When we began to send, and whether an address answered since. */
static void look_at_history(const struct paths_peer *peer, uint64_t now, struct paths_facts *facts)
{
	const struct paths_event *event;

	for (uint32_t i = 0; (event = paths_peer_past(peer, i)); i++) {
		facts->was_direct = facts->was_direct || (event->trusted && !event->vni);
		if (event->reason == PATHS_LINK_CHANGE)
			return;
		if (event->reason == PATHS_BUSY) {
			facts->busy_long = now - event->at >= LONG_BUSY;
			return;
		}
	}
	facts->busy_long = true;	/* longer ago than the history goes back */
}

static void look_at_peer(const struct paths_node *node, uint64_t now, struct paths_facts *facts)
{
	const struct paths_peer *peer = &node->peer;

	facts->expired = peer->expired;
	facts->disco = !node->plain;
	facts->active = paths_peer_active(peer);
	facts->direct = paths_peer_trusted(peer, now);
	facts->narrow = paths_peer_narrow(peer);
	facts->relay_failed = paths_relay_failure(node->paths, paths_peer_region(peer)) &&
			      !paths_peer_relayed(peer, now);
	facts->candidates = peer->n_candidates;
	for (uint32_t i = 0; i < peer->n_candidates; i++) {
		const struct paths_candidate *c = &peer->candidates[i];

		facts->pings += c->pings;
		facts->pongs += c->pongs;
		facts->pinged_us = facts->pinged_us ||
				   (c->got_ping && now - c->got_ping < PATHS_SESSION);
	}
	look_at_history(peer, now, facts);
}

static struct paths_facts gather_facts(const struct paths *p, const struct warren_node *known)
{
	const struct paths_report *report = &p->netcheck.last;
	struct paths_node *node = known ? paths_node(p, known->key.bytes) : NULL, *other;
	uint64_t now = warren_now();
	struct paths_facts facts = {
		.joined = p->map && p->map->self,
		.known = node != NULL,
		.offline = known && known->online == WARREN_TRI_NO,
		/* Without servers there is nothing to conclude from their silence. */
		.probed = report->at != 0 && p->map && p->map->n_regions > 0,
		.can_send = report->can_send[0] || report->can_send[1],
		.udp = report->udp,
		.mapping_varies = report->mapping_varies == WARREN_TRI_YES,
		.captive = report->captive == WARREN_TRI_YES,
		.mapping_refused = portmapper_refused(&p->portmapper),
	};

	if (node)
		look_at_peer(node, now, &facts);
	list_for_each(other, &p->all, all)
		facts.udp_elsewhere = facts.udp_elsewhere ||
				      (other != node && paths_peer_trusted(&other->peer, now));
	return facts;
}

static void ago(uint64_t then, uint64_t now, struct str *out)
{
	if (then)
		str_addf(out, "%llu s ago", (unsigned long long)((now - then) / PATHS_SECOND));
	else
		str_add(out, "never");
}

static void write_candidate(struct warren_reply *reply, const struct paths_candidate *c,
			    uint32_t full, uint64_t now)
{
	AUTO(str_free) struct str line = STR_INIT;
	char address[ADDRPORT_TEXT];

	addrport_format(&c->address, address);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "address", "%s", address);
	warren_reply_bool(reply, "in-map", c->in_map);
	warren_reply_bool(reply, "called", c->called != 0);
	warren_reply_int(reply, "pings", c->pings);
	warren_reply_int(reply, "pongs", c->pongs);
	warren_reply_int(reply, "large-pings", c->large_pings);
	warren_reply_int(reply, "large-pongs", c->large_pongs);
	warren_reply_int(reply, "mtu", paths_candidate_mtu(c));
	warren_reply_bool(reply, "narrow", c->narrow);
	warren_reply_int(reply, "last-pong-usec-ago", c->last_pong ?
			 (int64_t)(now - c->last_pong) : -1);
	warren_reply_int(reply, "last-ping-from-there-usec-ago", c->got_ping ?
			 (int64_t)(now - c->got_ping) : -1);
	warren_reply_close(reply);
	str_addf(&line, "  %s: %u pings, %u answers, the last ", address, c->pings, c->pongs);
	ago(c->last_pong, now, &line);
	str_add(&line, "; pinged us ");
	ago(c->got_ping, now, &line);
	warren_reply_text(reply, "%s", str_text(&line));
	if (c->narrow)
		warren_reply_text(reply, "    packets of %u bytes: %u sent, no answer to the last "
				  "%u; the largest that was answered has %u",
				  paths_wire_size(&c->address, full), c->large_pings, c->lost,
				  paths_candidate_mtu(c));
	else if (c->size)
		warren_reply_text(reply, "    packets of up to %u bytes arrive",
				  paths_candidate_mtu(c));
}

static void write_via(const struct paths_via *via, struct warren_reply *reply)
{
	char address[ADDRPORT_TEXT];

	addrport_format(&via->address, address);
	warren_reply_str(reply, "peer-relay", "%s:vni:%u", address, via->vni);
	warren_reply_text(reply, "  meanwhile a peer relay carries the packets: %s:vni:%u, "
			  "%.1f ms", address, via->vni, (double)via->latency / 1000);
}

static void write_evidence(struct paths *p, const struct paths_node *node,
			   struct warren_reply *reply)
{
	const struct paths_report *report = &p->netcheck.last;
	AUTO(str_free) struct str mapping = STR_INIT;
	uint64_t now = warren_now();
	const char *failure;

	warren_reply_open(reply, "candidates", '[');
	for (uint32_t i = 0; node && i < node->peer.n_candidates; i++)
		write_candidate(reply, &node->peer.candidates[i], node->peer.full, now);
	warren_reply_close(reply);
	if (node && paths_peer_relayed(&node->peer, now))
		write_via(&node->peer.via, reply);
	warren_reply_int(reply, "peer-relay-candidates", p->servers.n);
	failure = node ? paths_relay_failure(p, paths_peer_region(&node->peer)) : NULL;
	if (failure) {
		warren_reply_str(reply, "relay-failure", "%s", failure);
		warren_reply_text(reply, "  its relay: %s", failure);
	}
	portmapper_describe(&p->portmapper, &mapping);
	warren_reply_str(reply, "port-mapping", "%s", str_text(&mapping));
	warren_reply_open(reply, "netcheck", '{');
	warren_reply_bool(reply, "done", report->at != 0);
	warren_reply_bool(reply, "udp", report->udp);
	warren_reply_bool(reply, "can-send", report->can_send[0] || report->can_send[1]);
	if (report->mapping_varies == WARREN_TRI_UNKNOWN)
		warren_reply_null(reply, "mapping-varies");
	else
		warren_reply_bool(reply, "mapping-varies",
				  report->mapping_varies == WARREN_TRI_YES);
	warren_reply_close(reply);
	if (report->at)
		warren_reply_text(reply, "  STUN: %s, %llu s ago",
				  report->udp ? "answers" : "no answer",
				  (unsigned long long)((now - report->at) / PATHS_SECOND));
	else
		warren_reply_text(reply, "  STUN: not tried");
	warren_reply_text(reply, "  port mapping: %s", str_text(&mapping));
	if (node)
		warren_reply_text(reply, "  disco: %llu messages sent, %llu received",
				  (unsigned long long)node->tx, (unsigned long long)node->rx);
}

int paths_command_why(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	const char *host = warren_conf_str(args, "peer");
	struct paths *p = warren_self(ctx);
	const struct warren_node *known;
	struct paths_node *node;
	struct paths_facts facts;
	enum paths_why why;
	bool self;

	known = paths_find(p, host, &self);
	if (self)
		return warren_fail(err, NULL, "\"%s\" is this node", host);
	node = known ? paths_node(p, known->key.bytes) : NULL;
	facts = gather_facts(p, known);
	why = paths_why(&facts);
	warren_reply_str(reply, "verdict", "%s", paths_why_code(why));
	warren_reply_str(reply, "sentence", "%s", paths_why_sentence(why));
	warren_reply_str(reply, "action", "%s", paths_why_action(why));
	warren_reply_text(reply, "%s: %s", paths_why_code(why), paths_why_sentence(why));
	if (*paths_why_action(why))
		warren_reply_text(reply, "what to do: %s", paths_why_action(why));
	if (facts.joined && (facts.known || !known))
		write_evidence(p, node, reply);
	return 0;
}
