#include "peer_world.h"

#include <string.h>

#include "base/addr.h"

struct warren_addrport at(const char *text)
{
	struct warren_addrport ap;

	assert_int_equal(addrport_parse(text, &ap), 0);
	return ap;
}

/*
 * ---- What it does ----
 */

static int on_ping(void *arg, struct paths_peer *peer, struct paths_ping *ping)
{
	struct world *w = arg;

	assert_ptr_equal(peer, &w->peer);
	if (w->refuse)
		return w->refuse;
	memset(ping->txid, 0, sizeof(ping->txid));
	ping->txid[0] = w->next_txid++;
	ping->txid[1] = (uint8_t)(w->n_sent >> 8);
	if (ping->purpose == PATHS_CHECK) {
		assert_true(ping->size > 0 && w->n_large < SENT);
		ping->txid[2] = (uint8_t)(1 + w->n_checks % 255);
		w->n_checks++;
		w->large[w->n_large++] = *ping;
		return 0;
	}
	assert_true(w->n_sent < SENT);
	w->sent[w->n_sent++] = *ping;
	return 0;
}

static void on_call(void *arg, struct paths_peer *peer, uint32_t region)
{
	struct world *w = arg;

	(void)peer;
	assert_int_equal(region, REGION);
	w->n_calls++;
}

static void on_path(void *arg, struct paths_peer *peer)
{
	(void)peer;
	((struct world *)arg)->n_paths++;
}

static void on_event(void *arg, struct paths_peer *peer, const struct paths_event *event)
{
	struct world *w = arg;

	(void)peer;
	w->event = *event;
	w->n_events++;
}

static void on_pong(void *arg, struct paths_peer *peer, void *command,
		    const struct paths_pong *pong)
{
	struct world *w = arg;

	(void)peer;
	assert_ptr_equal(command, w);
	w->pong = *pong;
	w->n_pongs++;
}

static void on_tunnel(void *arg, struct paths_peer *peer, struct paths_tunnel *out)
{
	(void)peer;
	*out = ((struct world *)arg)->tunnel;
}

/*
 * ---- Peer relays ----
 */

static int on_allocate(void *arg, struct paths_peer *peer, const struct paths_server *server,
		       uint32_t generation)
{
	struct world *w = arg;

	(void)peer;
	assert_true(w->n_asked < SENT && generation);
	w->asked[w->n_asked++] = (struct asked){ *server, generation };
	return 0;
}

static void on_call_via(void *arg, struct paths_peer *peer, uint32_t region,
			const struct paths_offer *offer)
{
	struct world *w = arg;

	(void)peer;
	assert_int_equal(region, REGION);
	w->told = *offer;
	w->n_told++;
}

static int on_expect(void *arg, struct paths_peer *peer, const uint8_t server[32], bool on)
{
	struct world *w = arg;

	(void)peer;
	assert_true(server[0] != 0);
	w->expected += on ? 1 : -1;
	assert_true(w->expected >= 0);
	return w->refuse;
}

static void on_bind(void *arg, struct paths_peer *peer, const uint8_t server[32],
		    const struct warren_addrport *to, uint32_t type,
		    const struct warren_disco_binding *binding)
{
	struct world *w = arg;

	(void)peer;
	assert_true(w->n_bound < SENT && binding->generation);
	w->bound[w->n_bound++] = (struct bound){ server[0], *to, type, *binding };
}

static const struct paths_acts acts = {
	on_ping, on_call, on_path, on_event, on_pong, on_tunnel, on_allocate, on_call_via,
	on_expect, on_bind,
};

int set_up(void **state)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.now = 1000 * PATHS_SECOND;
	w.width = UINT32_MAX;
	w.tunnel.largest = FULL;
	paths_peer_init(&w.peer, &acts, &w);
	w.peer.servers = &w.servers;
	*state = &w;
	return 0;
}

int tear_down(void **state)
{
	struct world *w = *state;

	paths_peer_fini(&w->peer);
	/* Whatever was awaited is not any more. */
	assert_int_equal(w->expected, 0);
	return 0;
}

/*
 * ---- Turning the world ----
 */

void map(struct world *w, uint32_t home, uint32_t n, const char *const *texts)
{
	struct warren_addrport list[40];

	for (uint32_t i = 0; i < n; i++)
		list[i] = at(texts[i]);
	assert_int_equal(paths_peer_map(&w->peer, w->now, list, n, home, false), 0);
}

/* Those that are not too large have arrived, and their answers. */
void deliver(struct world *w)
{
	uint32_t n = w->n_large;

	w->n_large = 0;
	for (uint32_t i = 0; i < n; i++)
		if (w->large[i].size <= w->width || addrport_equal(&w->large[i].to, &w->wide))
			paths_peer_got_pong(&w->peer, w->now, w->large[i].txid);
}

/* Lets time pass, every deadline in its turn; @busy: WireGuard sends all the time. */
void pass(struct world *w, uint64_t usec, bool busy)
{
	uint64_t end = w->now + usec;

	for (uint64_t next; (next = paths_peer_deadline(&w->peer)) <= end;) {
		if (next > w->now)
			w->now = next;
		if (busy)
			w->tunnel.last_sent = w->now;
		paths_peer_turn(&w->peer, w->now);
		deliver(w);
	}
	w->now = end;
	if (busy)
		w->tunnel.last_sent = end;
}

uint32_t sent_to(const struct world *w, const char *text, uint32_t from)
{
	struct warren_addrport ap = at(text);
	uint32_t n = 0;

	for (uint32_t i = from; i < w->n_sent; i++)
		n += addrport_equal(&w->sent[i].to, &ap) && !w->sent[i].vni;
	return n;
}

/* The last ping to @text is answered after @usec. */
bool answer(struct world *w, const char *text, uint64_t usec)
{
	struct warren_addrport ap = at(text);

	for (uint32_t i = w->n_sent; i-- > 0;) {
		bool mine;

		if (!addrport_equal(&w->sent[i].to, &ap) || w->sent[i].vni)
			continue;
		if (w->now < w->sent[i].at + usec)
			w->now = w->sent[i].at + usec;
		mine = paths_peer_got_pong(&w->peer, w->now, w->sent[i].txid);
		deliver(w);
		return mine;
	}
	fail_msg("no ping went to %s", text);
	return false;
}

bool ping_from(struct world *w, const char *text, uint8_t n)
{
	uint8_t txid[WARREN_DISCO_TXID] = { n, 0xff };
	struct warren_addrport ap = at(text);

	return paths_peer_got_ping(&w->peer, w->now, &ap, txid);
}

void call(struct world *w, uint32_t n, const char *const *texts)
{
	struct warren_addrport list[40];

	for (uint32_t i = 0; i < n; i++)
		list[i] = at(texts[i]);
	paths_peer_got_call(&w->peer, w->now, list, n);
}

void assert_path(struct world *w, const char *address, uint32_t region)
{
	struct paths_path path = paths_peer_path(&w->peer, w->now);
	char text[ADDRPORT_TEXT];

	if (address)
		assert_string_equal(addrport_format(&path.address, text), address);
	else
		assert_int_equal(path.address.addr.family, 0);
	assert_int_equal(path.vni, 0);
	assert_int_equal(path.region, region);
	/* Whoever acts on it has been told of just this. */
	assert_true(addrport_equal(&path.address, &w->peer.told.address));
	assert_int_equal(path.region, w->peer.told.region);
	assert_int_equal(path.tell, w->peer.told.tell);
}

void assert_reason(const struct world *w, enum paths_reason reason)
{
	assert_string_equal(paths_reason_word(w->event.reason), paths_reason_word(reason));
}

/* Sends, and has @address answer. */
void direct(struct world *w, const char *address, uint64_t usec)
{
	paths_peer_send(&w->peer, w->now);
	assert_true(answer(w, address, usec));
	assert_path(w, address, 0);
}
