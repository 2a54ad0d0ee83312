/*
 * The way through a peer relay, with a clock of its own: path-protocols.md 4.7 and 8.
 */
#include <string.h>

#include "base/addr.h"
#include "peer_world.h"

#define NEAR "192.0.2.40:40000"		/* addresses of a relay */
#define FAR "198.51.100.40:40000"
enum { VNI = 77, SERVER = 5, DISCO = 15 };	/* first bytes of keys */

/* @n peers may be relays. */
static void servers(struct world *w, uint32_t n)
{
	w->peer.relay_capable = true;
	w->servers.n = n;
	for (uint32_t i = 0; i < n; i++)
		w->servers.list[i] = (struct paths_server){ .key = { (uint8_t)(SERVER + i) },
							    .region = REGION };
}

static struct paths_offer offer(uint8_t disco, uint32_t vni, uint64_t lamport)
{
	return (struct paths_offer){
		.relay = { .server = { disco }, .lamport = lamport, .vni = vni,
			   .bind_usec = 30 * PATHS_SECOND, .steady_usec = 300 * PATHS_SECOND },
		.addrs = { at(NEAR), at(FAR) },
		.n_addrs = 2,
	};
}

/* What was asked for last is given. */
static void allocated(struct world *w, const struct paths_offer *given)
{
	const struct asked *last = &w->asked[w->n_asked - 1];

	assert_true(w->n_asked > 0);
	paths_peer_got_allocated(&w->peer, w->now, last->server.key, last->generation, given);
}

static void called_via(struct world *w, const struct paths_offer *given)
{
	paths_peer_got_call_via(&w->peer, w->now, given);
}

/* The relay with that key challenges the last that bound to it. */
static void challenge(struct world *w, uint8_t disco, const char *from)
{
	struct warren_disco_binding binding = { 0 };
	const uint8_t server[32] = { disco };
	struct warren_addrport ap = at(from);

	for (uint32_t i = 0; i < w->n_bound; i++)
		if (w->bound[i].server == disco)
			binding = w->bound[i].binding;
	memset(binding.challenge, 0xcc, sizeof(binding.challenge));
	paths_peer_got_challenge(&w->peer, w->now, server, &ap, binding.vni, &binding);
}

static uint32_t pings_via(const struct world *w, const char *to, uint32_t vni)
{
	struct warren_addrport ap = at(to);
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->n_sent; i++)
		n += w->sent[i].vni == vni && addrport_equal(&w->sent[i].to, &ap);
	return n;
}

/* The last ping through a relay is answered after @usec. */
static bool answer_via(struct world *w, uint64_t usec)
{
	for (uint32_t i = w->n_sent; i-- > 0;) {
		if (!w->sent[i].vni)
			continue;
		if (w->now < w->sent[i].at + usec)
			w->now = w->sent[i].at + usec;
		return paths_peer_got_pong(&w->peer, w->now, w->sent[i].txid);
	}
	fail_msg("nothing was sent through a peer relay");
	return false;
}

static void assert_via(const struct world *w, const char *address, uint32_t vni, uint32_t region)
{
	struct paths_path path = paths_peer_path(&w->peer, w->now);
	char text[ADDRPORT_TEXT];

	assert_string_equal(addrport_format(&path.address, text), address);
	assert_int_equal(path.vni, vni);
	assert_int_equal(path.region, region);
	assert_true(addrport_equal(&path.address, &w->peer.told.address));
	assert_int_equal(path.vni, w->peer.told.vni);
	assert_int_equal(path.region, w->peer.told.region);
}

/* The first packet, and all that leads to the way through the one relay that there is. */
static void relayed(struct world *w, uint64_t usec)
{
	struct paths_offer given = offer(DISCO, VNI, 1);

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	allocated(w, &given);
	challenge(w, DISCO, NEAR);
	assert_true(answer_via(w, usec));
	assert_via(w, NEAR, VNI, 0);
	assert_reason(w, PATHS_PEER_RELAY);
}

/*
 * ---- 4.7 When relays are asked, 8.3 allocation ----
 */

static void test_who_asks(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	paths_peer_send(&w->peer, w->now);
	pass(w, 40 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, 0);	/* there is none */
	servers(w, 2);
	w->peer.relay_capable = false;
	pass(w, 40 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, 0);	/* the peer does not know of them */
	w->peer.relay_capable = true;
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_asked, 2);
	assert_int_equal(w->asked[0].server.key[0], SERVER);
	assert_int_equal(w->asked[1].server.key[0], SERVER + 1);
	assert_true(w->asked[0].generation != w->asked[1].generation);
}

static void test_not_while_direct(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	direct(w, LAN, PATHS_MSEC);
	servers(w, 1);
	for (int i = 0; i < 30; i++) {
		pass(w, 3 * PATHS_SECOND, true);
		answer(w, LAN, PATHS_MSEC);
	}
	assert_int_equal(w->n_asked, 0);
	/* From the moment on that it is in doubt. */
	pass(w, PATHS_TRUST + PATHS_MSEC, true);
	assert_reason(w, PATHS_IN_DOUBT);
	assert_int_equal(w->n_asked, 1);
}

static void test_rhythm_of_asking(void **state)
{
	struct world *w = *state;
	uint32_t generation;

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	generation = w->asked[0].generation;
	pass(w, 3 * PATHS_SECOND - 1, true);
	assert_int_equal(w->n_asked, 1);
	pass(w, 1, true);
	assert_int_equal(w->n_asked, 2);	/* once more */
	assert_int_equal(w->asked[1].generation, generation);
	pass(w, 26 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, 2);
	/* Not before 30 s are over; ticks come each 3 s. */
	pass(w, 2 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, 3);
	assert_true(w->asked[2].generation != generation);
	pass(w, 57 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, 2 * 3);
}

static void test_late_or_foreign_offers(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);
	uint8_t other[32] = { 99 };

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	paths_peer_got_allocated(&w->peer, w->now, w->asked[0].server.key,
				 w->asked[0].generation + 1, &given);
	paths_peer_got_allocated(&w->peer, w->now, other, w->asked[0].generation, &given);
	assert_int_equal(w->n_bound, 0);
	pass(w, 10 * PATHS_SECOND, true);
	allocated(w, &given);
	assert_int_equal(w->n_bound, 0);
	assert_int_equal(w->n_told, 0);
	assert_null(w->peer.search);
}

/*
 * ---- 8.4 Handshake ----
 */

static void test_handshake(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);
	const struct bound *b = w->bound;

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	allocated(w, &given);
	/* The peer is told, and all addresses of the relay are tried. */
	assert_int_equal(w->n_told, 1);
	assert_memory_equal(&w->told, &given, sizeof(given));
	assert_int_equal(w->n_bound, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(b[i].type, WARREN_DISCO_BIND);
		assert_int_equal(b[i].binding.vni, VNI);
		assert_int_equal(b[i].binding.generation, b[0].binding.generation);
	}
	assert_true(addrport_equal(&b[0].to, &given.addrs[0]));
	assert_true(addrport_equal(&b[1].to, &given.addrs[1]));
	assert_path(w, NULL, REGION);
	challenge(w, DISCO, FAR);
	assert_int_equal(w->n_bound, 3);
	assert_int_equal(b[2].type, WARREN_DISCO_BIND_ANSWER);
	assert_int_equal(b[2].binding.challenge[31], 0xcc);
	assert_true(addrport_equal(&b[2].to, &given.addrs[1]));
	assert_int_equal(pings_via(w, FAR, VNI), 1);
	/* The first one counts. */
	challenge(w, DISCO, NEAR);
	assert_int_equal(w->n_bound, 3);
	assert_int_equal(pings_via(w, NEAR, VNI), 0);
	assert_true(answer_via(w, 20 * PATHS_MSEC));
	assert_via(w, FAR, VNI, 0);
	assert_reason(w, PATHS_PEER_RELAY);
	assert_int_equal(w->event.vni, VNI);
	assert_int_equal(w->event.latency, 20 * PATHS_MSEC);
	assert_true(w->event.trusted);
	assert_true(paths_peer_relayed(&w->peer, w->now));
	assert_int_equal(w->expected, 0);
	assert_null(w->peer.search);
}

static void test_challenges_that_do_not_count(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);
	uint8_t server[32] = { DISCO }, other[32] = { DISCO + 1 };
	struct warren_addrport from = at(NEAR);
	struct warren_disco_binding good, bad;

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	allocated(w, &given);
	good = bad = w->bound[0].binding;
	paths_peer_got_challenge(&w->peer, w->now, other, &from, VNI, &good);
	paths_peer_got_challenge(&w->peer, w->now, server, &from, VNI + 1, &good);
	bad.vni++;
	paths_peer_got_challenge(&w->peer, w->now, server, &from, VNI, &bad);
	bad = good;
	bad.generation++;
	paths_peer_got_challenge(&w->peer, w->now, server, &from, VNI, &bad);
	assert_int_equal(w->n_bound, 2);
	paths_peer_got_challenge(&w->peer, w->now, server, &from, VNI, &good);
	assert_int_equal(w->n_bound, 3);
}

/* Our first ping came before the peer was bound: its own says that it is. */
static void test_ping_of_the_peer(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);
	struct warren_addrport near = at(NEAR), far = at(FAR);

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	paths_peer_send(&w->peer, w->now);
	allocated(w, &given);
	paths_peer_got_ping_via(&w->peer, w->now, &near, VNI);
	assert_int_equal(pings_via(w, NEAR, VNI), 0);
	challenge(w, DISCO, NEAR);
	paths_peer_got_ping_via(&w->peer, w->now, &far, VNI);
	paths_peer_got_ping_via(&w->peer, w->now, &near, VNI + 1);
	assert_int_equal(pings_via(w, NEAR, VNI), 1);
	for (int i = 0; i < 30; i++)
		paths_peer_got_ping_via(&w->peer, w->now, &near, VNI);
	assert_int_equal(pings_via(w, NEAR, VNI), PATHS_BIND_PINGS);
	assert_true(answer_via(w, PATHS_MSEC));
	assert_via(w, NEAR, VNI, 0);
	/* Nothing comes of its pings from then on. */
	paths_peer_got_ping_via(&w->peer, w->now, &near, VNI);
	assert_int_equal(pings_via(w, NEAR, VNI), PATHS_BIND_PINGS);
}

static void test_handshake_times_out(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	given.relay.bind_usec = 2 * PATHS_SECOND;
	paths_peer_send(&w->peer, w->now);
	allocated(w, &given);
	assert_int_equal(w->expected, 1);
	pass(w, 2 * PATHS_SECOND, true);
	assert_int_equal(w->expected, 0);
	challenge(w, DISCO, NEAR);
	assert_int_equal(w->n_bound, 2);
	/* However long the relay would wait. */
	given.relay.bind_usec = 3600 * PATHS_SECOND;
	called_via(w, &given);
	pass(w, 30 * PATHS_SECOND - 1, true);
	assert_int_equal(w->expected, 1);
	pass(w, 1, true);
	assert_int_equal(w->expected, 0);
}

static void test_call_via(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 4);

	map(w, REGION, 1, LAN_WAN);
	called_via(w, &given);
	assert_int_equal(w->n_bound, 0);	/* of a version that cannot be */
	w->peer.relay_capable = true;
	called_via(w, &given);
	assert_int_equal(w->n_bound, 2);
	assert_int_equal(w->n_told, 0);
	/* The same again, an older one, and a newer one. */
	called_via(w, &given);
	given.relay.lamport = 3;
	called_via(w, &given);
	assert_int_equal(w->n_bound, 2);
	given.relay.lamport = 5;
	given.relay.vni = VNI + 1;
	called_via(w, &given);
	assert_int_equal(w->n_bound, 4);
	assert_int_equal(w->expected, 1);
	challenge(w, DISCO, NEAR);
	assert_true(answer_via(w, PATHS_MSEC));
	assert_via(w, NEAR, VNI + 1, 0);
	/* What names nothing is nothing. */
	given.relay.server[0]++;
	given.relay.vni = 0;
	called_via(w, &given);
	given.relay.vni = 1;
	given.n_addrs = 0;
	called_via(w, &given);
	assert_int_equal(w->expected, 0);
}

static void test_calls_have_a_limit(void **state)
{
	struct world *w = *state;

	map(w, REGION, 1, LAN_WAN);
	w->peer.relay_capable = true;
	for (uint32_t i = 0; i < 100; i++) {
		struct paths_offer given = offer(DISCO, VNI, i);

		called_via(w, &given);
	}
	assert_int_equal(w->n_bound, 2 * PATHS_BINDS);
	pass(w, PATHS_BIND_TIMEOUT, false);
	for (uint32_t i = 0; i < 100; i++) {
		struct paths_offer given = offer((uint8_t)(DISCO + i), VNI, i);

		called_via(w, &given);
	}
	assert_int_equal(w->n_bound, 2 * (PATHS_BINDS + PATHS_PEER_RELAYS));
	assert_int_equal(w->expected, PATHS_PEER_RELAYS);
}

/*
 * ---- The way in use ----
 */

static void test_heart_beats_through_it(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);
	uint32_t asked;

	relayed(w, 20 * PATHS_MSEC);
	asked = w->n_asked;
	for (int i = 0; i < 19; i++) {
		pass(w, 3 * PATHS_SECOND, true);
		assert_true(answer_via(w, 30 * PATHS_MSEC));
	}
	assert_int_equal(pings_via(w, NEAR, VNI), 1 + 19);
	assert_int_equal(w->peer.via.latency, 30 * PATHS_MSEC);
	assert_reason(w, PATHS_PEER_RELAY);
	/* Meanwhile addresses of the peer are tried, and after 60 s relays are asked again. */
	assert_true(sent_to(w, LAN, 0) >= 10);
	assert_int_equal(w->n_asked, asked);
	pass(w, 3 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, asked + 1);
	answer_via(w, 10 * PATHS_MSEC);
	/* The way in use is left alone, and the peer told, who may have lost it. */
	allocated(w, &given);
	assert_int_equal(w->n_bound, 3);
	assert_int_equal(w->n_told, 2);
	assert_via(w, NEAR, VNI, 0);
}

static void test_it_dies(void **state)
{
	struct world *w = *state;

	relayed(w, PATHS_MSEC);
	pass(w, PATHS_TRUST, true);
	assert_via(w, NEAR, VNI, 0);
	pass(w, 1, true);
	assert_via(w, NEAR, VNI, REGION);
	assert_reason(w, PATHS_IN_DOUBT);
	assert_int_equal(w->event.vni, VNI);
	assert_false(w->event.trusted);
	pass(w, 2 * PATHS_SECOND, true);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_NO_ANSWER);
	assert_int_equal(w->peer.via.vni, 0);
}

static void test_it_answers_again(void **state)
{
	struct world *w = *state;

	relayed(w, PATHS_MSEC);
	pass(w, PATHS_TRUST + 1, true);
	assert_reason(w, PATHS_IN_DOUBT);
	assert_true(answer_via(w, PATHS_MSEC));
	assert_reason(w, PATHS_ANSWERS_AGAIN);
	assert_via(w, NEAR, VNI, 0);
}

static void test_after_idling(void **state)
{
	struct world *w = *state;
	uint32_t asked, pings;

	relayed(w, PATHS_MSEC);
	for (int i = 0; i < 18; i++) {
		pass(w, 3 * PATHS_SECOND, false);
		if (paths_peer_active(&w->peer))
			answer_via(w, PATHS_MSEC);
	}
	assert_false(paths_peer_active(&w->peer));
	assert_via(w, NEAR, VNI, REGION);
	asked = w->n_asked;
	pings = pings_via(w, NEAR, VNI);
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_asked, asked + 1);
	assert_int_equal(pings_via(w, NEAR, VNI), pings + 1);
	answer_via(w, PATHS_MSEC);
	assert_via(w, NEAR, VNI, 0);
}

static void test_direct_is_better(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO + 1, VNI, 1);

	relayed(w, PATHS_MSEC);
	assert_true(answer(w, LAN, 900 * PATHS_MSEC));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_BETTER);
	assert_int_equal(w->peer.via.vni, 0);
	assert_false(paths_peer_relayed(&w->peer, w->now));
	/* And stays it. */
	called_via(w, &given);
	challenge(w, DISCO + 1, NEAR);
	assert_true(answer_via(w, 1));
	assert_path(w, LAN, 0);
	assert_reason(w, PATHS_BETTER);
}

static void test_direct_dies(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	direct(w, LAN, PATHS_MSEC);
	/* It was asked with the first packet, and is again 30 s later. */
	pass(w, 32 * PATHS_SECOND, true);
	allocated(w, &given);
	challenge(w, DISCO, NEAR);
	assert_true(answer_via(w, PATHS_MSEC));
	assert_via(w, NEAR, VNI, 0);
	assert_true(answer(w, LAN, PATHS_MSEC));
	assert_path(w, LAN, 0);
}

/* Small packets alone arrive at its address: the peer relay has the data, not that of the map. */
static void test_narrow(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);

	map(w, REGION, 1, LAN_WAN);
	servers(w, 1);
	w->width = 1000;
	paths_peer_send(&w->peer, w->now);
	answer(w, LAN, PATHS_MSEC);
	for (int i = 0; i < 8 && !paths_peer_narrow(&w->peer); i++) {
		pass(w, PATHS_SECOND, true);
		answer(w, LAN, PATHS_MSEC);
	}
	assert_true(paths_peer_narrow(&w->peer));
	assert_path(w, NULL, REGION);
	called_via(w, &given);
	challenge(w, DISCO, NEAR);
	assert_true(answer_via(w, PATHS_MSEC));
	assert_via(w, NEAR, VNI, 0);
	w->width = UINT32_MAX;
	pass(w, 4 * PATHS_SECOND, true);
	assert_path(w, LAN, 0);
}

static void test_which_relay(void **state)
{
	struct world *w = *state;
	struct paths_offer slow = offer(DISCO + 1, VNI + 1, 1), fast = offer(DISCO + 2, VNI + 2, 1);
	struct paths_offer again = offer(DISCO + 2, VNI + 3, 2);

	relayed(w, 20 * PATHS_MSEC);
	called_via(w, &slow);
	challenge(w, DISCO + 1, NEAR);
	answer_via(w, 30 * PATHS_MSEC);
	assert_via(w, NEAR, VNI, 0);
	called_via(w, &fast);
	challenge(w, DISCO + 2, FAR);
	answer_via(w, 5 * PATHS_MSEC);
	assert_via(w, FAR, VNI + 2, 0);
	assert_reason(w, PATHS_BETTER);
	/* A new place on the same relay takes that of the old one, whatever it is worth. */
	called_via(w, &again);
	challenge(w, DISCO + 2, NEAR);
	answer_via(w, 40 * PATHS_MSEC);
	assert_via(w, NEAR, VNI + 3, 0);
}

static void test_link_change(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO + 1, VNI, 1);
	uint32_t asked;

	relayed(w, PATHS_MSEC);
	called_via(w, &given);
	asked = w->n_asked;
	paths_peer_reset(&w->peer, w->now);
	assert_path(w, NULL, REGION);
	assert_reason(w, PATHS_LINK_CHANGE);
	assert_int_equal(w->expected, 0);
	assert_null(w->peer.search);
	/* At once: nothing leads to where we are now. */
	paths_peer_send(&w->peer, w->now);
	assert_int_equal(w->n_asked, asked + 1);
}

static void test_other_key(void **state)
{
	struct world *w = *state;
	uint32_t asked;

	map(w, REGION, 1, LAN_WAN);
	servers(w, 2);
	paths_peer_send(&w->peer, w->now);
	asked = w->n_asked;
	paths_peer_rekey(&w->peer);
	assert_null(w->peer.search);
	pass(w, 3 * PATHS_SECOND, true);
	assert_int_equal(w->n_asked, asked + 2);
}

static void test_command(void **state)
{
	struct world *w = *state;

	relayed(w, PATHS_MSEC);
	paths_peer_command(&w->peer, w->now, w, 0);
	assert_true(answer_via(w, 7 * PATHS_MSEC));
	assert_int_equal(w->n_pongs, 1);
	assert_int_equal(w->pong.vni, VNI);
	assert_int_equal(w->pong.region, 0);
	/* The addresses as well, but no relay of the map. */
	for (uint32_t i = 0; i < w->n_sent; i++)
		assert_int_equal(w->sent[i].region, 0);
	assert_true(answer(w, LAN, 9 * PATHS_MSEC));
	assert_int_equal(w->n_pongs, 2);
	assert_int_equal(w->pong.vni, 0);
}

static void test_no_memory_of_refused(void **state)
{
	struct world *w = *state;
	struct paths_offer given = offer(DISCO, VNI, 1);

	map(w, REGION, 1, LAN_WAN);
	w->peer.relay_capable = true;
	called_via(w, &given);
	w->refuse = -101;
	challenge(w, DISCO, NEAR);
	assert_int_equal(w->peer.n_pings, 0);
	w->refuse = 0;
	pass(w, PATHS_BIND_TIMEOUT, false);
	assert_null(w->peer.search);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_asks), TEST(not_while_direct), TEST(rhythm_of_asking),
		TEST(late_or_foreign_offers), TEST(handshake),
		TEST(challenges_that_do_not_count), TEST(ping_of_the_peer),
		TEST(handshake_times_out), TEST(call_via), TEST(calls_have_a_limit),
		TEST(heart_beats_through_it), TEST(it_dies), TEST(it_answers_again),
		TEST(after_idling), TEST(direct_is_better), TEST(direct_dies), TEST(narrow),
		TEST(which_relay), TEST(link_change), TEST(other_key), TEST(command),
		TEST(no_memory_of_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
