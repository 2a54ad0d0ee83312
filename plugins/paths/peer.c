/*
 * The state machine of one peer. Only a pong moves the path: pings and calls add candidates, what
 * WireGuard hears moves nothing. While the address in use has not answered lately, packets go over
 * the relay as well.
 */
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/util.h"

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
	};

	return reason > 0 && reason < ARRAY_SIZE(words) ? words[reason] : "unknown";
}

void paths_peer_init(struct paths_peer *peer, const struct paths_acts *acts, void *arg)
{
	memset(peer, 0, sizeof(*peer));
	peer->acts = acts;
	peer->arg = arg;
	peer->heartbeat_at = PATHS_NEVER;
}

void paths_peer_fini(struct paths_peer *peer)
{
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

bool paths_peer_trusted(const struct paths_peer *peer, uint64_t now)
{
	return peer->best.addr.family && now <= peer->trust_until;
}

bool paths_peer_active(const struct paths_peer *peer)
{
	return peer->heartbeat_at != PATHS_NEVER;
}

static uint32_t region(const struct paths_peer *peer)
{
	return peer->home ? peer->home : peer->learned;
}

struct paths_path paths_peer_path(const struct paths_peer *peer, uint64_t now)
{
	struct paths_path path = { .tell = !paths_peer_active(peer) };

	if (peer->expired)
		return path;
	path.address = peer->best;
	if (!paths_peer_trusted(peer, now))
		path.region = region(peer);
	return path;
}

static bool path_equal(const struct paths_path *a, const struct paths_path *b)
{
	return addrport_equal(&a->address, &b->address) && a->region == b->region &&
	       a->tell == b->tell;
}

/* At the end of every event. */
static void settle(struct paths_peer *peer, uint64_t now)
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

static void note(struct paths_peer *peer, uint64_t now, enum paths_reason reason)
{
	struct paths_event event = {
		.at = now,
		.reason = reason,
		.address = peer->best,
		.trusted = paths_peer_trusted(peer, now),
		.latency = peer->best.addr.family ? peer->best_latency : 0,
	};

	event.region = event.trusted ? 0 : region(peer);
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
	peer->doubted = false;
	note(peer, now, reason);
}

/*
 * ---- Candidates ----
 */

static struct paths_candidate *candidate(const struct paths_peer *peer,
					 const struct warren_addrport *address)
{
	for (uint32_t i = 0; i < peer->n_candidates; i++)
		if (addrport_equal(&peer->candidates[i].address, address))
			return &peer->candidates[i];
	return NULL;
}

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
static void ping(struct paths_peer *peer, struct paths_ping ask, size_t size)
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
	c = ask.to.addr.family ? candidate(peer, &ask.to) : NULL;
	if (c && ask.purpose != PATHS_COMMAND)
		c->last_ping = ask.at;
	if (peer->acts->ping(peer->arg, peer, &ask, size) < 0)
		return;
	if (c)
		c->pings++;
	peer->pings[peer->n_pings++] = ask;
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
		ping(peer, (struct paths_ping){ .to = c->address, .purpose = PATHS_DISCOVERY,
						.at = now }, 0);
		sent++;
	}
	return sent > 0;
}

/* Pings go first: they open our side before the peer learns to ping us. */
static void discover(struct paths_peer *peer, uint64_t now)
{
	if (full_ping(peer, now) && region(peer))
		peer->acts->call_me_maybe(peer->arg, peer, region(peer));
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
 * ---- Sending, and the heart that beats while we do ----
 */

static void sent_something(struct paths_peer *peer, uint64_t now)
{
	peer->last_send = now;
	if (paths_peer_active(peer))
		return;
	peer->heartbeat_at = now + PATHS_HEARTBEAT;
	note(peer, now, PATHS_BUSY);
}

void paths_peer_send(struct paths_peer *peer, uint64_t now)
{
	if (peer->expired)
		return;
	if (!paths_peer_trusted(peer, now))
		discover(peer, now);
	sent_something(peer, now);
	settle(peer, now);
}

static void heartbeat(struct paths_peer *peer, uint64_t now)
{
	uint64_t sent = peer->acts->last_sent(peer->arg, peer);

	if (sent > peer->last_send)
		peer->last_send = sent;
	if (peer->expired || (now > peer->last_send && now - peer->last_send > PATHS_SESSION)) {
		peer->heartbeat_at = PATHS_NEVER;
		note(peer, now, PATHS_IDLE);
		return;
	}
	if (peer->best.addr.family)
		ping(peer, (struct paths_ping){ .to = peer->best, .purpose = PATHS_HEARTBEATING,
						.at = now }, 0);
	if (want_full_ping(peer, now))
		discover(peer, now);
	peer->heartbeat_at = now + PATHS_HEARTBEAT;
}

void paths_peer_command(struct paths_peer *peer, uint64_t now, void *command, size_t size)
{
	struct paths_ping ask = { .purpose = PATHS_COMMAND, .at = now, .command = command };

	if (peer->expired)
		return;
	if (paths_peer_trusted(peer, now)) {
		ask.to = peer->best;
		ping(peer, ask, size);
	} else {
		for (uint32_t i = 0; i < peer->n_candidates; i++) {
			ask.to = peer->candidates[i].address;
			ping(peer, ask, size);
		}
		memset(&ask.to, 0, sizeof(ask.to));
		ask.region = region(peer);
		if (ask.region)
			ping(peer, ask, size);
	}
	sent_something(peer, now);
	settle(peer, now);
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
		settle(peer, now);
		return true;
	}
	twice = c->got_ping && memcmp(c->got_txid, txid, WARREN_DISCO_TXID) == 0;
	c->got_ping = now;
	memcpy(c->got_txid, txid, WARREN_DISCO_TXID);
	/* The way to us is open; ours there was perhaps not yet when it was pinged last. */
	if (paths_peer_active(peer) && !paths_peer_trusted(peer, now) &&
	    (!c->returned || now - c->returned >= PATHS_RETURN_SPACING)) {
		c->returned = now;
		ping(peer, (struct paths_ping){ .to = *from, .purpose = PATHS_DISCOVERY,
						.at = now }, 0);
	}
	settle(peer, now);
	return !twice;
}

/* The pinged address has answered: it may become the best, and is trusted if it is. */
static void answered(struct paths_peer *peer, uint64_t now, const struct warren_addrport *address,
		     uint64_t latency)
{
	bool none = !peer->best.addr.family, trusted = paths_peer_trusted(peer, now);
	bool same = addrport_equal(address, &peer->best);
	enum paths_reason reason = 0;

	if (!same && (!trusted || paths_better(address, latency, &peer->best,
					       peer->best_latency))) {
		reason = none ? PATHS_FIRST_ANSWER : trusted ? PATHS_BETTER : PATHS_REPLACED;
		peer->best = *address;
		peer->best_at = now;
	} else if (!same) {
		return;
	} else if (peer->doubted) {
		reason = PATHS_ANSWERS_AGAIN;
	}
	peer->best_latency = latency;
	peer->trust_until = now + PATHS_TRUST;
	peer->doubted = false;
	if (reason)
		note(peer, now, reason);
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
	c = sent.to.addr.family ? candidate(peer, &sent.to) : NULL;
	if (c) {
		c->latency = latency;
		c->last_pong = now;
		c->pongs++;
	}
	if (sent.to.addr.family && !c)
		return true;
	if (sent.command)
		peer->acts->pong(peer->arg, peer, sent.command,
				 &(struct paths_pong){ .latency = latency, .address = sent.to,
						       .region = sent.region });
	/* The address that was pinged counts, wherever the pong came from. */
	if (c)
		answered(peer, now, &sent.to, latency);
	settle(peer, now);
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
	settle(peer, now);
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
		note(peer, now, PATHS_RELAY_MOVED);
	settle(peer, now);
	return result;
}

void paths_peer_relay(struct paths_peer *peer, uint64_t now, uint32_t region_id)
{
	peer->learned = region_id;
	settle(peer, now);
}

void paths_peer_reset(struct paths_peer *peer, uint64_t now)
{
	peer->n_pings = 0;
	peer->last_full_ping = 0;
	for (uint32_t i = 0; i < peer->n_candidates; i++) {
		struct paths_candidate *c = &peer->candidates[i];

		c->last_ping = c->latency = c->last_pong = 0;
	}
	clear_best(peer, now, PATHS_LINK_CHANGE);
	settle(peer, now);
}

void paths_peer_rekey(struct paths_peer *peer)
{
	peer->n_pings = 0;
}

/*
 * ---- Time ----
 */

uint64_t paths_peer_deadline(const struct paths_peer *peer)
{
	uint64_t next = peer->heartbeat_at;

	if (peer->n_pings > 0 && peer->pings[0].at + PATHS_PING_TIMEOUT < next)
		next = peer->pings[0].at + PATHS_PING_TIMEOUT;
	if (peer->best.addr.family && !peer->doubted && peer->trust_until + 1 < next)
		next = peer->trust_until + 1;
	return next;
}

void paths_peer_turn(struct paths_peer *peer, uint64_t now)
{
	if (peer->best.addr.family && !peer->doubted && now > peer->trust_until) {
		peer->doubted = true;
		/* A path that nobody uses falls into doubt without news. */
		if (paths_peer_active(peer))
			note(peer, now, PATHS_IN_DOUBT);
	}
	while (peer->n_pings > 0 && now >= peer->pings[0].at + PATHS_PING_TIMEOUT) {
		struct warren_addrport to = peer->pings[0].to;

		ping_drop(peer, 0);
		if (to.addr.family && addrport_equal(&to, &peer->best) &&
		    !paths_peer_trusted(peer, now))
			clear_best(peer, now, PATHS_NO_ANSWER);
	}
	if (now >= peer->heartbeat_at)
		heartbeat(peer, now);
	settle(peer, now);
}
