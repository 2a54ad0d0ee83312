/*
 * The way to a peer through a peer relay (path-protocols.md 8): all relays that the policy allows
 * are asked for an offer, the peer is told of each that comes, and both bind to it. The first ping
 * that is answered through one makes it the way, until an address of the peer answers.
 */
#include "peer_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

struct ask {				/* for an offer */
	struct paths_server server;
	uint32_t generation;
	uint64_t at;
	bool again;			/* it was sent twice */
};

struct binding {			/* a handshake */
	struct warren_disco_relay relay;
	uint32_t generation;
	uint64_t until;
	struct warren_addrport from;	/* of the first challenge; family 0: none so far */
	uint32_t pings;
};

struct paths_search {
	struct ask asks[PATHS_PEER_RELAYS];
	struct binding bindings[PATHS_PEER_RELAYS];
	uint32_t n_asks, n_bindings;
};

/*
 * ---- The way in use ----
 */

bool paths_via_answers(const struct paths_peer *peer, uint64_t now)
{
	return peer->via.vni && now <= peer->via.trust_until;
}

bool paths_peer_relayed(const struct paths_peer *peer, uint64_t now)
{
	return paths_via_answers(peer, now) && !paths_peer_trusted(peer, now);
}

void paths_via_clear(struct paths_peer *peer, uint64_t now, enum paths_reason reason)
{
	if (!peer->via.vni)
		return;
	memset(&peer->via, 0, sizeof(peer->via));
	if (!paths_peer_trusted(peer, now))
		paths_peer_note(peer, now, reason);
}

void paths_via_ping(struct paths_peer *peer, uint64_t now, enum paths_purpose purpose,
		    void *command)
{
	if (peer->via.vni)
		paths_peer_ping(peer, (struct paths_ping){ .to = peer->via.address,
							   .vni = peer->via.vni,
							   .purpose = purpose, .at = now,
							   .command = command });
}

static bool is_via(const struct paths_via *via, const struct warren_addrport *address,
		   uint32_t vni)
{
	return via->vni && via->vni == vni && addrport_equal(&via->address, address);
}

void paths_via_missed(struct paths_peer *peer, uint64_t now, const struct paths_ping *late)
{
	if (late->purpose != PATHS_BINDING && is_via(&peer->via, &late->to, late->vni) &&
	    !paths_via_answers(peer, now))
		paths_via_clear(peer, now, PATHS_NO_ANSWER);
}

/*
 * The peer answers there. What binds anew to the relay in use takes its place in any case: from
 * then on that forwards nothing from where we bound before.
 */
static void ready(struct paths_peer *peer, uint64_t now, const struct paths_via *found)
{
	struct paths_via *via = &peer->via;
	bool answers = paths_via_answers(peer, now);
	bool same = via->vni && memcmp(via->server, found->server, sizeof(via->server)) == 0;
	enum paths_reason reason = answers ? PATHS_BETTER : PATHS_PEER_RELAY;

	if (paths_peer_trusted(peer, now) ||
	    (answers && !same && !paths_better(&found->address, found->latency, &via->address,
					       via->latency)))
		return;
	if (is_via(via, &found->address, found->vni))
		reason = via->doubted ? PATHS_ANSWERS_AGAIN : 0;
	*via = *found;
	via->trust_until = now + PATHS_TRUST;
	if (reason)
		paths_peer_note(peer, now, reason);
}

/*
 * ---- Handshakes ----
 */

static struct paths_search *search_get(struct paths_peer *peer)
{
	if (!peer->search)
		peer->search = calloc(1, sizeof(*peer->search));
	return peer->search;
}

static void search_tidy(struct paths_peer *peer)
{
	if (!peer->search || peer->search->n_asks || peer->search->n_bindings)
		return;
	free(peer->search);
	peer->search = NULL;
}

static uint32_t generation_next(struct paths_peer *peer)
{
	if (++peer->generation == 0)
		peer->generation++;
	return peer->generation;
}

static void ask_drop(struct paths_search *s, uint32_t i)
{
	s->asks[i] = s->asks[--s->n_asks];
}

static void binding_drop(struct paths_peer *peer, uint32_t i)
{
	struct paths_search *s = peer->search;
	struct binding *b = &s->bindings[i];

	peer->acts->expect(peer->arg, peer, b->relay.server, false);
	*b = s->bindings[--s->n_bindings];
}

void paths_via_stop(struct paths_peer *peer)
{
	struct paths_search *s = peer->search;

	if (!s)
		return;
	s->n_asks = 0;
	while (s->n_bindings)
		binding_drop(peer, s->n_bindings - 1);
	search_tidy(peer);
}

/* The addresses are of others' choosing: so many in a while. */
static bool may_bind(struct paths_peer *peer, uint64_t now)
{
	if (now - peer->binds_since >= PATHS_BIND_TIMEOUT) {
		peer->binds_since = now;
		peer->binds = 0;
	}
	return peer->binds++ < PATHS_BINDS;
}

static void bind_send(struct paths_peer *peer, const struct binding *b,
		      const struct warren_addrport *to, uint32_t type, const uint8_t *challenge)
{
	struct warren_disco_binding msg = { .vni = b->relay.vni,
					    .generation = b->generation };

	if (challenge)
		memcpy(msg.challenge, challenge, sizeof(msg.challenge));
	peer->acts->bind(peer->arg, peer, b->relay.server, to, type, &msg);
}

static void bind_begin(struct paths_peer *peer, uint64_t now, const struct paths_offer *offer)
{
	uint64_t lives = offer->relay.bind_usec;
	struct paths_search *s = search_get(peer);
	struct binding *b;

	if (!s || s->n_bindings == PATHS_PEER_RELAYS || !may_bind(peer, now) ||
	    peer->acts->expect(peer->arg, peer, offer->relay.server, true) < 0)
		return;
	b = &s->bindings[s->n_bindings++];
	*b = (struct binding){
		.relay = offer->relay,
		.generation = generation_next(peer),
		.until = now + (lives < PATHS_BIND_TIMEOUT ? lives : PATHS_BIND_TIMEOUT),
	};
	for (uint32_t i = 0; i < offer->n_addrs; i++)
		bind_send(peer, b, &offer->addrs[i], WARREN_DISCO_BIND, NULL);
}

/* Whether a handshake with that server is as new as the offer; an older one ends. */
static bool is_known(struct paths_peer *peer, const struct warren_disco_relay *relay)
{
	struct paths_search *s = peer->search;

	for (uint32_t i = 0; s && i < s->n_bindings; i++) {
		const struct warren_disco_relay *old = &s->bindings[i].relay;

		if (memcmp(old->server, relay->server, sizeof(old->server)) != 0)
			continue;
		if (old->lamport >= relay->lamport)
			return true;
		binding_drop(peer, i);
		return false;
	}
	return false;
}

/* @ours: we asked for it, and the peer is to hear of it. */
static void offered(struct paths_peer *peer, uint64_t now, const struct paths_offer *offer,
		    bool ours)
{
	const struct warren_disco_relay *relay = &offer->relay;
	bool in_use = peer->via.vni == relay->vni &&
		      memcmp(peer->via.server, relay->server, sizeof(relay->server)) == 0;

	if (!relay->vni || !offer->n_addrs || peer->expired || is_known(peer, relay))
		return;
	if (ours && paths_peer_region(peer))
		peer->acts->call_via(peer->arg, peer, paths_peer_region(peer), offer);
	/* To bind again, perhaps by another address, would cut the way that is in use. */
	if (!in_use || !paths_via_answers(peer, now))
		bind_begin(peer, now, offer);
}

static void ping_through(struct paths_peer *peer, uint64_t now, struct binding *b)
{
	if (b->pings++ < PATHS_BIND_PINGS)
		paths_peer_ping(peer, (struct paths_ping){ .to = b->from,
							   .vni = b->relay.vni,
							   .purpose = PATHS_BINDING, .at = now });
}

/* The handshake whose challenge came from there. */
static struct binding *bound(const struct paths_peer *peer, const struct warren_addrport *from,
			     uint32_t vni)
{
	struct paths_search *s = peer->search;

	for (uint32_t i = 0; s && i < s->n_bindings; i++)
		if (s->bindings[i].relay.vni == vni &&
		    addrport_equal(&s->bindings[i].from, from))
			return &s->bindings[i];
	return NULL;
}

/*
 * ---- What comes ----
 */

void paths_peer_got_challenge(struct paths_peer *peer, uint64_t now, const uint8_t server[32],
			      const struct warren_addrport *from, uint32_t vni,
			      const struct warren_disco_binding *binding)
{
	struct paths_search *s = peer->search;

	for (uint32_t i = 0; s && i < s->n_bindings; i++) {
		struct binding *b = &s->bindings[i];

		if (b->relay.vni != vni || binding->vni != vni ||
		    b->generation != binding->generation || b->from.addr.family ||
		    memcmp(b->relay.server, server, sizeof(b->relay.server)) != 0)
			continue;
		/* The first one came by the best way; those from other addresses do not count. */
		b->from = *from;
		bind_send(peer, b, from, WARREN_DISCO_BIND_ANSWER, binding->challenge);
		ping_through(peer, now, b);
		return;
	}
}

void paths_peer_got_ping_via(struct paths_peer *peer, uint64_t now,
			     const struct warren_addrport *from, uint32_t vni)
{
	struct binding *b = bound(peer, from, vni);

	/* The peer is bound as well: our ping may have come before it was. */
	if (b)
		ping_through(peer, now, b);
}

void paths_via_answered(struct paths_peer *peer, uint64_t now, const struct paths_ping *sent,
			uint64_t latency)
{
	struct binding *b = bound(peer, &sent->to, sent->vni);
	struct paths_via *via = &peer->via;

	if (sent->purpose == PATHS_BINDING && b) {
		struct paths_via found = { .address = sent->to, .vni = sent->vni,
					   .latency = latency };

		memcpy(found.server, b->relay.server, sizeof(found.server));
		binding_drop(peer, (uint32_t)(b - peer->search->bindings));
		search_tidy(peer);
		ready(peer, now, &found);
		return;
	}
	if (!is_via(via, &sent->to, sent->vni))
		return;
	via->latency = latency;
	via->trust_until = now + PATHS_TRUST;
	if (!via->doubted)
		return;
	via->doubted = false;
	if (!paths_peer_trusted(peer, now))
		paths_peer_note(peer, now, PATHS_ANSWERS_AGAIN);
}

void paths_peer_got_allocated(struct paths_peer *peer, uint64_t now, const uint8_t server[32],
			      uint32_t generation, const struct paths_offer *offer)
{
	struct paths_search *s = peer->search;

	for (uint32_t i = 0; s && i < s->n_asks; i++) {
		if (s->asks[i].generation != generation ||
		    memcmp(s->asks[i].server.key, server, sizeof(s->asks[i].server.key)) != 0)
			continue;
		ask_drop(s, i);
		offered(peer, now, offer, true);
		search_tidy(peer);
		paths_peer_settle(peer, now);
		return;
	}
}

void paths_peer_got_call_via(struct paths_peer *peer, uint64_t now,
			     const struct paths_offer *offer)
{
	if (!peer->relay_capable)
		return;
	offered(peer, now, offer, false);
	search_tidy(peer);
	paths_peer_settle(peer, now);
}

/*
 * ---- The search ----
 */

static bool want_search(const struct paths_peer *peer, uint64_t now)
{
	if (!peer->servers || !peer->servers->n || !peer->relay_capable || peer->expired ||
	    paths_peer_trusted(peer, now))
		return false;
	if (peer->last_search && now - peer->last_search < PATHS_SEARCH_SPACING)
		return false;
	return !paths_via_answers(peer, now) ||
	       (peer->last_search && now - peer->last_search >= PATHS_SEARCH_UPGRADE);
}

void paths_via_search(struct paths_peer *peer, uint64_t now)
{
	struct paths_search *s;

	if (!want_search(peer, now))
		return;
	peer->last_search = now;
	s = peer->search ? NULL : search_get(peer);
	for (uint32_t i = 0; s && i < peer->servers->n; i++) {
		struct ask *ask = &s->asks[s->n_asks];

		*ask = (struct ask){ .server = peer->servers->list[i], .at = now,
				     .generation = generation_next(peer) };
		/* What cannot be sent now is sent again in any case. */
		peer->acts->allocate(peer->arg, peer, &ask->server, ask->generation);
		s->n_asks++;
	}
}

static uint64_t ask_due(const struct ask *ask)
{
	return ask->at + (ask->again ? PATHS_ASK_TIMEOUT : PATHS_ASK_AGAIN);
}

uint64_t paths_via_deadline(const struct paths_peer *peer)
{
	const struct paths_search *s = peer->search;
	uint64_t next = PATHS_NEVER;

	if (peer->via.vni && !peer->via.doubted)
		next = peer->via.trust_until + 1;
	for (uint32_t i = 0; s && i < s->n_asks; i++)
		next = ask_due(&s->asks[i]) < next ? ask_due(&s->asks[i]) : next;
	for (uint32_t i = 0; s && i < s->n_bindings; i++)
		next = s->bindings[i].until < next ? s->bindings[i].until : next;
	return next;
}

void paths_via_turn(struct paths_peer *peer, uint64_t now)
{
	struct paths_search *s;

	if (peer->via.vni && !peer->via.doubted && now > peer->via.trust_until) {
		peer->via.doubted = true;
		if (paths_peer_active(peer) && !paths_peer_trusted(peer, now)) {
			paths_peer_note(peer, now, PATHS_IN_DOUBT);
			paths_via_search(peer, now);
		}
	}
	s = peer->search;
	for (uint32_t i = 0; s && i < s->n_asks;) {
		struct ask *ask = &s->asks[i];

		if (now < ask_due(ask)) {
			i++;
		} else if (ask->again) {
			ask_drop(s, i);
		} else {
			ask->again = true;
			peer->acts->allocate(peer->arg, peer, &ask->server, ask->generation);
			i++;
		}
	}
	for (uint32_t i = 0; s && i < s->n_bindings;) {
		if (now < s->bindings[i].until)
			i++;
		else
			binding_drop(peer, i);
	}
	search_tidy(peer);
}
