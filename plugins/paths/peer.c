/*
 * The state machine of one peer. Only a pong moves the path: pings and calls add candidates, what
 * WireGuard hears moves nothing. While the address in use has not answered lately, packets go over
 * the relay as well.
 */
#include "peer_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"

/* UDP payloads of the MTUs that the stock client probes, over IPv4 (2.8). */
static const uint16_t sizes[] = { 1252, 1332, 1372, 1472, 7972, PATHS_LARGEST };
enum { SIX_MORE = 20 };			/* bytes of an IPv6 header beyond one of IPv4 */

const char *paths_reason_word(enum paths_reason reason)
{
	static const char *const words[] = {
		[PATHS_FIRST_ANSWER] = "first-answer",
		[PATHS_BETTER] = "better",
		[PATHS_IN_DOUBT] = "in-doubt",
		[PATHS_ANSWERS_AGAIN] = "answers-again",
		[PATHS_REPLACED] = "replaced",
		[PATHS_NO_ANSWER] = "no-answer",
		[PATHS_WITHDRAWN] = "withdrawn",
		[PATHS_LINK_CHANGE] = "link-change",
		[PATHS_IDLE] = "idle",
		[PATHS_BUSY] = "busy",
		[PATHS_RELAY_MOVED] = "relay-moved",
		[PATHS_NARROW] = "too-narrow",
		[PATHS_WIDE_AGAIN] = "wide-again",
		[PATHS_PEER_RELAY] = "peer-relay",
	};

	return reason > 0 && reason < ARRAY_SIZE(words) ? words[reason] : "unknown";
}

void paths_peer_init(struct paths_peer *peer, const struct paths_acts *acts, void *arg)
{
	memset(peer, 0, sizeof(*peer));
	peer->acts = acts;
	peer->arg = arg;
	peer->heartbeat_at = peer->check_due = PATHS_NEVER;
}

void paths_peer_fini(struct paths_peer *peer)
{
	paths_via_stop(peer);
	free(peer->candidates);
	free(peer->pings);
	free(peer->history);
}

/*
 * @list of @n elements with room for one more: most peers of a large network have two or three
 * addresses and are never sent anything, so lists begin small. NULL: it has @most, or no memory.
 */
static void *room_for_one(void *list, uint32_t n, uint32_t *room, uint32_t most, size_t size)
{
	uint32_t more = *room ? 4 * *room : 3;

	if (n < *room)
		return list;
	if (*room == most)
		return NULL;
	more = more < most ? more : most;
	list = reallocarray(list, more, size);
	if (list)
		*room = more;
	return list;
}

/*
 * ---- What it is now ----
 */

static struct paths_candidate *candidate(const struct paths_peer *peer,
					 const struct warren_addrport *address)
{
	for (uint32_t i = 0; i < peer->n_candidates; i++)
		if (addrport_equal(&peer->candidates[i].address, address))
			return &peer->candidates[i];
	return NULL;
}

static struct paths_candidate *best(const struct paths_peer *peer)
{
	return peer->best.addr.family ? candidate(peer, &peer->best) : NULL;
}

/* The address in use has answered lately, to packets of whatever size. */
static bool answers(const struct paths_peer *peer, uint64_t now)
{
	return peer->best.addr.family && now <= peer->trust_until;
}

bool paths_peer_narrow(const struct paths_peer *peer)
{
	const struct paths_candidate *c = best(peer);

	return c && c->narrow;
}

bool paths_peer_trusted(const struct paths_peer *peer, uint64_t now)
{
	return answers(peer, now) && !paths_peer_narrow(peer);
}

/* Whether large packets arrive there is not known yet. */
static bool is_unproven(const struct paths_peer *peer)
{
	const struct paths_candidate *c = best(peer);

	return c && !c->narrow && c->size < peer->full;
}

bool paths_peer_active(const struct paths_peer *peer)
{
	return peer->heartbeat_at != PATHS_NEVER;
}

uint32_t paths_peer_region(const struct paths_peer *peer)
{
	return peer->home ? peer->home : peer->learned;
}

struct paths_path paths_peer_path(const struct paths_peer *peer, uint64_t now)
{
	struct paths_path path = { .tell = !paths_peer_active(peer) };

	if (peer->expired)
		return path;
	path.address = peer->best;
	if (paths_peer_relayed(peer, now) || (!peer->best.addr.family && peer->via.vni)) {
		path.address = peer->via.address;
		path.vni = peer->via.vni;
	}
	if (!paths_peer_trusted(peer, now) && !paths_peer_relayed(peer, now))
		path.region = paths_peer_region(peer);
	/* Without a relay it is better than nothing. */
	if (path.region && !path.vni && paths_peer_narrow(peer))
		memset(&path.address, 0, sizeof(path.address));
	return path;
}

static bool path_equal(const struct paths_path *a, const struct paths_path *b)
{
	return addrport_equal(&a->address, &b->address) && a->vni == b->vni &&
	       a->region == b->region && a->tell == b->tell;
}

void paths_peer_settle(struct paths_peer *peer, uint64_t now)
{
	struct paths_path path = paths_peer_path(peer, now);

	if (path_equal(&path, &peer->told))
		return;
	peer->told = path;
	peer->acts->path(peer->arg, peer);
}

/*
 * ---- History ----
 */

void paths_peer_note(struct paths_peer *peer, uint64_t now, enum paths_reason reason)
{
	struct paths_path path = paths_peer_path(peer, now);
	struct paths_event event = {
		.at = now,
		.reason = reason,
		.address = path.vni ? path.address : peer->best,
		.vni = path.vni,
		.trusted = paths_peer_trusted(peer, now) || paths_peer_relayed(peer, now),
		.latency = path.vni ? peer->via.latency
			   : peer->best.addr.family ? peer->best_latency : 0,
	};

	event.region = event.trusted ? 0 : paths_peer_region(peer);
	peer->acts->event(peer->arg, peer, &event);
	if (peer->n_history < PATHS_HISTORY) {
		struct paths_event *list = room_for_one(peer->history, peer->n_history,
							&peer->history_room, PATHS_HISTORY,
							sizeof(*list));

		if (!list)
			return;
		peer->history = list;
		peer->n_history++;
	}
	peer->history[peer->history_next] = event;
	peer->history_next = (peer->history_next + 1) % PATHS_HISTORY;
}

const struct paths_event *paths_peer_past(const struct paths_peer *peer, uint32_t i)
{
	if (i >= peer->n_history)
		return NULL;
	return &peer->history[(peer->history_next + PATHS_HISTORY - 1 - i) % PATHS_HISTORY];
}

static void clear_best(struct paths_peer *peer, uint64_t now, enum paths_reason reason)
{
	if (!peer->best.addr.family)
		return;
	memset(&peer->best, 0, sizeof(peer->best));
	peer->trust_until = 0;
	peer->check_due = PATHS_NEVER;
	peer->doubted = false;
	paths_peer_note(peer, now, reason);
}

/*
 * ---- Candidates ----
 */

static void candidate_remove(struct paths_peer *peer, uint64_t now, struct paths_candidate *c)
{
	struct warren_addrport gone = c->address;

	*c = peer->candidates[--peer->n_candidates];
	if (addrport_equal(&gone, &peer->best))
		clear_best(peer, now, PATHS_WITHDRAWN);
}

static uint32_t n_learned(const struct paths_peer *peer)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < peer->n_candidates; i++)
		n += !peer->candidates[i].in_map;
	return n;
}

const struct warren_addrport *paths_peer_named(const struct paths_peer *peer, uint32_t i)
{
	uint32_t n = peer->n_candidates - n_learned(peer);

	for (uint32_t k = 0, left = n ? i % n : 0; k < peer->n_candidates && n; k++)
		if (peer->candidates[k].in_map && left-- == 0)
			return &peer->candidates[k].address;
	return NULL;
}

/* Learned by pings alone, and not pinged from there any more. */
static bool is_stale(const struct paths_candidate *c, uint64_t now)
{
	return !c->in_map && !c->called && now - c->got_ping > PATHS_SESSION;
}

/* The one that pings alone vouch for and that was quiet for longest, or NULL. */
static struct paths_candidate *weakest(const struct paths_peer *peer)
{
	struct paths_candidate *found = NULL;

	for (uint32_t i = 0; i < peer->n_candidates; i++) {
		struct paths_candidate *c = &peer->candidates[i];

		if (!c->in_map && !c->called && !addrport_equal(&c->address, &peer->best) &&
		    (!found || c->got_ping < found->got_ping))
			found = c;
	}
	return found;
}

/* The one of that address, new if need be; NULL: there are too many, or there is no memory. */
static struct paths_candidate *candidate_add(struct paths_peer *peer, uint64_t now,
					     const struct warren_addrport *address, bool in_map)
{
	struct paths_candidate *c = candidate(peer, address);

	if (c)
		return c;
	if (peer->n_candidates == PATHS_CANDIDATES ||
	    (!in_map && n_learned(peer) >= PATHS_LEARNED)) {
		c = weakest(peer);
		if (!c)
			return NULL;
		candidate_remove(peer, now, c);
	}
	c = room_for_one(peer->candidates, peer->n_candidates, &peer->candidates_room,
			 PATHS_CANDIDATES, sizeof(*c));
	if (!c)
		return NULL;
	peer->candidates = c;
	c += peer->n_candidates++;
	memset(c, 0, sizeof(*c));
	c->address = *address;
	return c;
}

/*
 * ---- Pings ----
 */

static void ping_drop(struct paths_peer *peer, uint32_t i)
{
	peer->n_pings--;
	memmove(&peer->pings[i], &peer->pings[i + 1],
		(peer->n_pings - i) * sizeof(peer->pings[0]));
}

/* What cannot be sent is forgotten at once, so that it is no timeout later. */
void paths_peer_ping(struct paths_peer *peer, struct paths_ping ask)
{
	struct paths_candidate *c;
	struct paths_ping *list;

	if (peer->n_pings == PATHS_PINGS)
		ping_drop(peer, 0);
	list = room_for_one(peer->pings, peer->n_pings, &peer->pings_room, PATHS_PINGS,
			    sizeof(*list));
	if (!list)
		return;
	peer->pings = list;
	c = ask.to.addr.family && !ask.vni ? candidate(peer, &ask.to) : NULL;
	if (c && (ask.purpose == PATHS_DISCOVERY || ask.purpose == PATHS_HEARTBEATING))
		c->last_ping = ask.at;
	if (peer->acts->ping(peer->arg, peer, &ask) < 0)
		return;
	if (c && ask.size)
		c->large_pings++;
	else if (c)
		c->pings++;
	peer->pings[peer->n_pings++] = ask;
}

static void ping_small(struct paths_peer *peer, uint64_t now, const struct warren_addrport *to,
		       enum paths_purpose purpose)
{
	paths_peer_ping(peer, (struct paths_ping){ .to = *to, .purpose = purpose, .at = now });
}

static void ping_large(struct paths_peer *peer, uint64_t now, const struct warren_addrport *to,
		       uint32_t size)
{
	paths_peer_ping(peer, (struct paths_ping){ .to = *to, .purpose = PATHS_CHECK, .at = now,
					.size = size });
}

static bool full_ping(struct paths_peer *peer, uint64_t now)
{
	uint32_t sent = 0;

	peer->last_full_ping = now;
	for (uint32_t i = 0; i < peer->n_candidates;) {
		struct paths_candidate *c = &peer->candidates[i];

		if (is_stale(c, now)) {
			candidate_remove(peer, now, c);
			continue;
		}
		i++;
		if (c->last_ping && now - c->last_ping < PATHS_PING_SPACING)
			continue;
		ping_small(peer, now, &c->address, PATHS_DISCOVERY);
		if (c->narrow && !addrport_equal(&c->address, &peer->best))
			ping_large(peer, now, &c->address, peer->full);
		sent++;
	}
	return sent > 0;
}

/* Pings go first: they open our side before the peer learns to ping us. */
static void discover(struct paths_peer *peer, uint64_t now)
{
	if (full_ping(peer, now) && paths_peer_region(peer))
		peer->acts->call_me_maybe(peer->arg, peer, paths_peer_region(peer));
}

static bool want_full_ping(const struct paths_peer *peer, uint64_t now)
{
	if (!peer->last_full_ping || !paths_peer_trusted(peer, now))
		return true;
	if (peer->best_latency <= PATHS_GOOD_ENOUGH)
		return false;
	return now - peer->last_full_ping >= PATHS_UPGRADE;
}

/*
 * ---- Whether large packets arrive (2.8) ----
 *
 * An address that answers may still lose what the tunnel sends: a link on the way takes less, and
 * fragments or the ICMP message about it are dropped. So the one in use is sent a ping as large as
 * the largest packet of the tunnel: first of all, and then with a heartbeat after some data. Where
 * those are in vain while small ones are answered, it is narrow: the relay carries the data, and
 * each heartbeat tries again.
 */

uint32_t paths_wire_size(const struct warren_addrport *to, uint32_t payload)
{
	return payload + 8 + 20 + (to->addr.family == 6 ? SIX_MORE : 0);
}

uint32_t paths_candidate_mtu(const struct paths_candidate *c)
{
	return c->size ? paths_wire_size(&c->address, c->size) : 0;
}

/* Of the sizes of the stock client those below @below. */
static void ping_series(struct paths_peer *peer, uint64_t now, uint32_t below)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t size = sizes[i] - (peer->best.addr.family == 6 ? SIX_MORE : 0);

		if (size < below)
			ping_large(peer, now, &peer->best, size);
	}
}

static void check_send(struct paths_peer *peer, uint64_t now)
{
	peer->check_sent = now;
	peer->check_due = now + PATHS_CHECK_WAIT + 2 * peer->best_latency;
	ping_large(peer, now, &peer->best, peer->full);
}

static uint32_t largest(const struct paths_tunnel *tunnel)
{
	return tunnel->largest < PATHS_LARGEST ? tunnel->largest : PATHS_LARGEST;
}

static void check_begin(struct paths_peer *peer, uint64_t now, const struct paths_tunnel *tunnel)
{
	peer->full = largest(tunnel);
	peer->checked_bytes = tunnel->bytes;
	peer->check_due = PATHS_NEVER;
	if (!peer->full || paths_peer_narrow(peer))
		return;
	check_send(peer, now);
	if (tunnel->series)
		ping_series(peer, now, UINT32_MAX);
}

static void check_anew(struct paths_peer *peer, uint64_t now)
{
	struct paths_tunnel tunnel = { 0 };

	peer->acts->tunnel(peer->arg, peer, &tunnel);
	check_begin(peer, now, &tunnel);
}

/* With the heartbeat, which is the small ping beside it. */
static void check_again(struct paths_peer *peer, uint64_t now, const struct paths_tunnel *tunnel)
{
	if (paths_peer_narrow(peer))
		ping_large(peer, now, &peer->best, peer->full);
	else if (peer->check_due == PATHS_NEVER && answers(peer, now) &&
		 (is_unproven(peer) || largest(tunnel) != peer->full ||
		  tunnel->bytes - peer->checked_bytes >= PATHS_CHECK_BYTES))
		check_begin(peer, now, tunnel);
}

/* No answer came. That counts if a small ping was answered meanwhile. */
static void check_over(struct paths_peer *peer, uint64_t now)
{
	struct paths_candidate *c = best(peer);
	uint32_t most = c->size < peer->full ? PATHS_CHECKS : PATHS_CHECKS_PROVEN;

	peer->check_due = PATHS_NEVER;
	if (c->last_pong > peer->check_sent && ++c->lost >= most) {
		c->narrow = true;
		c->size = 0;
		/* For the operator: what does arrive. */
		ping_series(peer, now, peer->full);
		paths_peer_note(peer, now, PATHS_NARROW);
	} else if (answers(peer, now) && paths_peer_active(peer)) {
		check_send(peer, now);
		ping_small(peer, now, &peer->best, PATHS_HEARTBEATING);
	}
}

/* A ping of that size was answered. */
static void arrived(struct paths_peer *peer, uint64_t now, struct paths_candidate *c, uint32_t size)
{
	bool was_narrow = c->narrow;

	c->size = size > c->size ? size : c->size;
	if (size < peer->full)
		return;
	c->lost = 0;
	c->narrow = false;
	if (c != best(peer))
		return;
	peer->check_due = PATHS_NEVER;
	if (was_narrow && answers(peer, now))
		paths_peer_note(peer, now, PATHS_WIDE_AGAIN);
}

/*
 * ---- Sending, and the heart that beats while we do ----
 */

static void sent_something(struct paths_peer *peer, uint64_t now)
{
	peer->last_send = now;
	if (paths_peer_active(peer))
		return;
	peer->heartbeat_at = now + PATHS_HEARTBEAT;
	paths_peer_note(peer, now, PATHS_BUSY);
}

void paths_peer_send(struct paths_peer *peer, uint64_t now)
{
	if (peer->expired)
		return;
	if (!paths_peer_trusted(peer, now)) {
		discover(peer, now);
		/* One that fell into doubt while nothing was sent. */
		if (!paths_via_answers(peer, now))
			paths_via_ping(peer, now, PATHS_HEARTBEATING, NULL);
	}
	paths_via_search(peer, now);
	sent_something(peer, now);
	paths_peer_settle(peer, now);
}

static void heartbeat(struct paths_peer *peer, uint64_t now)
{
	struct paths_tunnel tunnel = { 0 };

	peer->acts->tunnel(peer->arg, peer, &tunnel);
	if (tunnel.last_sent > peer->last_send)
		peer->last_send = tunnel.last_sent;
	if (peer->expired || (now > peer->last_send && now - peer->last_send > PATHS_SESSION)) {
		peer->heartbeat_at = PATHS_NEVER;
		paths_peer_note(peer, now, PATHS_IDLE);
		return;
	}
	if (peer->best.addr.family) {
		ping_small(peer, now, &peer->best, PATHS_HEARTBEATING);
		check_again(peer, now, &tunnel);
	}
	paths_via_ping(peer, now, PATHS_HEARTBEATING, NULL);
	if (want_full_ping(peer, now))
		discover(peer, now);
	paths_via_search(peer, now);
	peer->heartbeat_at = now + PATHS_HEARTBEAT;
}

void paths_peer_command(struct paths_peer *peer, uint64_t now, void *command, uint32_t size)
{
	struct paths_ping ask = { .purpose = PATHS_COMMAND, .at = now, .size = size,
				  .command = command };
	const struct paths_candidate *c = best(peer);

	if (peer->expired)
		return;
	if (c && paths_peer_trusted(peer, now) && size <= c->size) {
		ask.to = peer->best;
		paths_peer_ping(peer, ask);
	} else {
		for (uint32_t i = 0; i < peer->n_candidates; i++) {
			c = &peer->candidates[i];
			/* Where data does not go its small answer would be misleading. */
			if (c->narrow && !size && paths_peer_region(peer))
				continue;
			ask.to = c->address;
			paths_peer_ping(peer, ask);
		}
		memset(&ask.to, 0, sizeof(ask.to));
		ask.region = paths_peer_region(peer);
		/* How large a packet a peer relay lets through is not known. */
		if (!size)
			paths_via_ping(peer, now, PATHS_COMMAND, command);
		if (ask.region && (size || !paths_peer_relayed(peer, now)))
			paths_peer_ping(peer, ask);
		paths_via_search(peer, now);
	}
	sent_something(peer, now);
	paths_peer_settle(peer, now);
}

void paths_peer_forget_command(struct paths_peer *peer, const void *command)
{
	for (uint32_t i = 0; i < peer->n_pings; i++)
		if (peer->pings[i].command == command)
			peer->pings[i].command = NULL;
}

/*
 * ---- What comes ----
 */

bool paths_peer_got_ping(struct paths_peer *peer, uint64_t now, const struct warren_addrport *from,
			 const uint8_t txid[WARREN_DISCO_TXID])
{
	struct paths_candidate *c;
	bool twice;

	if (!from->addr.family)
		return true;
	c = candidate_add(peer, now, from, false);
	if (!c) {
		paths_peer_settle(peer, now);
		return true;
	}
	twice = c->got_ping && memcmp(c->got_txid, txid, WARREN_DISCO_TXID) == 0;
	c->got_ping = now;
	memcpy(c->got_txid, txid, WARREN_DISCO_TXID);
	/* The way to us is open; ours there was perhaps not yet when it was pinged last. */
	if (paths_peer_active(peer) && !answers(peer, now) &&
	    (!c->returned || now - c->returned >= PATHS_RETURN_SPACING)) {
		c->returned = now;
		ping_small(peer, now, from, PATHS_DISCOVERY);
	}
	paths_peer_settle(peer, now);
	return !twice;
}

/* Whether it is to take the place of the address in use. A narrow one is the last choice. */
static bool is_preferred(const struct paths_peer *peer, uint64_t now,
			 const struct paths_candidate *c, uint64_t latency)
{
	if (!answers(peer, now))
		return true;
	if (c->narrow || paths_peer_narrow(peer))
		return !c->narrow;
	return paths_better(&c->address, latency, &peer->best, peer->best_latency);
}

/* The pinged address has answered: it may become the best, and is trusted if it is. */
static void answered(struct paths_peer *peer, uint64_t now, const struct paths_candidate *c,
		     uint64_t latency)
{
	bool none = !peer->best.addr.family && !peer->via.vni;
	bool trusted = paths_peer_trusted(peer, now) || paths_peer_relayed(peer, now);
	bool same = addrport_equal(&c->address, &peer->best);
	enum paths_reason reason = 0;

	if (!same && is_preferred(peer, now, c, latency)) {
		reason = none ? PATHS_FIRST_ANSWER : trusted ? PATHS_BETTER : PATHS_REPLACED;
		peer->best = c->address;
		peer->best_at = now;
	} else if (!same) {
		return;
	} else if (peer->doubted) {
		reason = PATHS_ANSWERS_AGAIN;
	}
	peer->best_latency = latency;
	peer->trust_until = now + PATHS_TRUST;
	peer->doubted = false;
	/* Below a direct one there is no use for it, and so no news. */
	if (paths_peer_trusted(peer, now))
		paths_via_clear(peer, now, reason);
	if (!reason)
		return;
	paths_peer_note(peer, now, reason);
	check_anew(peer, now);
}

bool paths_peer_got_pong(struct paths_peer *peer, uint64_t now,
			 const uint8_t txid[WARREN_DISCO_TXID])
{
	struct paths_candidate *c;
	struct paths_ping sent;
	uint64_t latency;
	uint32_t i = 0;

	while (i < peer->n_pings && memcmp(peer->pings[i].txid, txid, WARREN_DISCO_TXID) != 0)
		i++;
	if (i == peer->n_pings)
		return false;
	sent = peer->pings[i];
	ping_drop(peer, i);
	latency = now > sent.at ? now - sent.at : 0;
	c = sent.to.addr.family && !sent.vni ? candidate(peer, &sent.to) : NULL;
	if (c && sent.size) {
		c->large_pongs++;
		arrived(peer, now, c, sent.size);
		/* What takes longer for its size says nothing about the way. */
		if (c->latency && sent.purpose == PATHS_CHECK)
			latency = c->latency;
	} else if (c) {
		c->latency = latency;
		c->pongs++;
	}
	if (c)
		c->last_pong = now;
	if (sent.to.addr.family && !sent.vni && !c)
		return true;
	if (sent.command)
		peer->acts->pong(peer->arg, peer, sent.command,
				 &(struct paths_pong){ .latency = latency, .address = sent.to,
						       .vni = sent.vni,
						       .region = sent.region });
	/* The address that was pinged counts, wherever the pong came from. */
	if (c)
		answered(peer, now, c, latency);
	else if (sent.vni)
		paths_via_answered(peer, now, &sent, latency);
	paths_peer_settle(peer, now);
	return true;
}

static bool is_listed(const struct warren_addrport *address, const struct warren_addrport *list,
		      uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (addrport_equal(address, &list[i]))
			return true;
	return false;
}

void paths_peer_got_call(struct paths_peer *peer, uint64_t now,
			 const struct warren_addrport *addrs, uint32_t n)
{
	for (uint32_t i = 0; i < peer->n_candidates;) {
		struct paths_candidate *c = &peer->candidates[i];

		if (c->called && !is_listed(&c->address, addrs, n)) {
			candidate_remove(peer, now, c);
			continue;
		}
		c->last_ping = 0;
		i++;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct paths_candidate *c = candidate_add(peer, now, &addrs[i], false);

		if (c)
			c->called = now;
	}
	/* No call in return, or it would never end. */
	full_ping(peer, now);
	paths_via_search(peer, now);
	paths_peer_settle(peer, now);
}

/*
 * ---- What the map and this host say ----
 */

int paths_peer_map(struct paths_peer *peer, uint64_t now, const struct warren_addrport *addrs,
		   uint32_t n, uint32_t home, bool expired)
{
	bool moved = home != peer->home;
	int result = 0;

	for (uint32_t i = 0; i < peer->n_candidates; i++)
		peer->candidates[i].in_map = false;
	for (uint32_t i = 0; i < n && i < PATHS_CANDIDATES - PATHS_LEARNED; i++) {
		struct paths_candidate *c = candidate_add(peer, now, &addrs[i], true);

		if (c)
			c->in_map = true;
		else
			result = -ENOMEM;
	}
	for (uint32_t i = 0; i < peer->n_candidates;) {
		struct paths_candidate *c = &peer->candidates[i];

		if (!c->in_map && !c->called && !c->got_ping)
			candidate_remove(peer, now, c);
		else
			i++;
	}
	peer->home = home;
	peer->expired = expired;
	if (expired)
		peer->heartbeat_at = PATHS_NEVER;
	if (moved && paths_peer_active(peer))
		paths_peer_note(peer, now, PATHS_RELAY_MOVED);
	paths_peer_settle(peer, now);
	return result;
}

void paths_peer_relay(struct paths_peer *peer, uint64_t now, uint32_t region_id)
{
	peer->learned = region_id;
	paths_peer_settle(peer, now);
}

void paths_peer_reset(struct paths_peer *peer, uint64_t now)
{
	peer->n_pings = 0;
	peer->last_full_ping = peer->last_search = 0;
	paths_via_stop(peer);
	for (uint32_t i = 0; i < peer->n_candidates; i++) {
		struct paths_candidate *c = &peer->candidates[i];

		c->last_ping = c->latency = c->last_pong = 0;
		c->size = c->lost = 0;
		c->narrow = false;
	}
	clear_best(peer, now, PATHS_LINK_CHANGE);
	paths_via_clear(peer, now, PATHS_LINK_CHANGE);
	paths_peer_settle(peer, now);
}

void paths_peer_rekey(struct paths_peer *peer)
{
	peer->n_pings = 0;
	/* Offers are for a pair of keys. */
	paths_via_stop(peer);
	peer->last_search = 0;
}

/*
 * ---- Time ----
 */

uint64_t paths_peer_deadline(const struct paths_peer *peer)
{
	uint64_t next = paths_via_deadline(peer);

	if (peer->heartbeat_at < next)
		next = peer->heartbeat_at;
	if (peer->n_pings > 0 && peer->pings[0].at + PATHS_PING_TIMEOUT < next)
		next = peer->pings[0].at + PATHS_PING_TIMEOUT;
	if (peer->check_due < next)
		next = peer->check_due;
	if (peer->best.addr.family && !peer->doubted && peer->trust_until + 1 < next)
		next = peer->trust_until + 1;
	return next;
}

void paths_peer_turn(struct paths_peer *peer, uint64_t now)
{
	if (peer->best.addr.family && !peer->doubted && now > peer->trust_until) {
		peer->doubted = true;
		/* A path that nobody uses falls into doubt without news. */
		if (paths_peer_active(peer)) {
			paths_peer_note(peer, now, PATHS_IN_DOUBT);
			paths_via_search(peer, now);
		}
	}
	while (peer->n_pings > 0 && now >= peer->pings[0].at + PATHS_PING_TIMEOUT) {
		struct paths_ping late = peer->pings[0];

		ping_drop(peer, 0);
		if (late.vni)
			paths_via_missed(peer, now, &late);
		else if (late.purpose != PATHS_CHECK && late.to.addr.family &&
			 addrport_equal(&late.to, &peer->best) && !answers(peer, now))
			clear_best(peer, now, PATHS_NO_ANSWER);
	}
	if (now >= peer->check_due)
		check_over(peer, now);
	paths_via_turn(peer, now);
	if (now >= peer->heartbeat_at)
		heartbeat(peer, now);
	paths_peer_settle(peer, now);
}
