/*
 * The control half of the data plane: two devices without sockets and threads, on a clock that the
 * test moves. Messages travel by the relay hook and a queue, where the test may lose, keep, repeat
 * or forge them; a few lines stand for the worker. Sections are those of dataplane.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../device.h"
#include "../handshake.h"
#include "../netmap.h"
#include "../transport.h"
#include "base/err.h"
#include "base/util.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"

enum { QUEUE = 64, MTU = 1280, REGION = 1 };
#define S WG_SECOND

struct box {
	uint8_t private_key[32], public_key[32];
	struct wg_device *dev;
	struct warren_node node;	/* the other one, as it comes into this box's map */
	struct snapshot {
		struct warren_netmap map;
		struct warren_node node;
		const struct warren_node *peers[1];
	} snapshot[4];
	uint64_t serial;
	struct warren_dns dns;
	int staged;			/* packets that wait for a session */
	int dropped;
	int received;			/* transport messages, keepalives too */
};

struct message {
	struct box *to;
	uint32_t len;
	uint8_t data[WG_INITIATION_LEN];
};

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct box box[2], *const a = &box[0], *const b = &box[1];
static struct message queue[QUEUE];
static size_t queued;
static bool lossy;			/* what is sent is lost */
static long loss;			/* of 100 messages */
static struct message history[32];	/* for replays */
static size_t sent;
static uint64_t now;

static void set_clock(uint64_t t)
{
	now = t;
	wcore_clock_set_fake(t, INT64_C(1800000000000000) + (int64_t)t);
}

/* ---- What the devices take from outside ---- */

static void identity_key(void *self, enum warren_key_kind kind, uint8_t out[32])
{
	assert_int_equal(kind, WARREN_KEY_NODE);
	memcpy(out, ((struct box *)self)->public_key, 32);
}

static int identity_dh(void *self, enum warren_key_kind kind, const uint8_t peer[32],
		       uint8_t out[32])
{
	assert_int_equal(kind, WARREN_KEY_NODE);
	return crypto_scalarmult(out, ((struct box *)self)->private_key, peer) == -1 ? -EINVAL : 0;
}

static const struct warren_identity_ops identity = {
	.size = sizeof(identity), .public_key = identity_key, .dh = identity_dh,
};

static void post(const uint8_t to[32], const uint8_t *data, size_t len)
{
	struct message *m = &queue[queued];

	if (lossy)
		return;
	assert_true(queued < QUEUE && len <= sizeof(m->data));
	m->to = memcmp(to, a->public_key, 32) ? b : a;
	m->len = (uint32_t)len;
	memcpy(m->data, data, len);
	history[sent++ % 32] = *m;
	if (!loss || random() % 100 >= loss)
		queued++;
}

static void relay_out(void *arg, uint32_t region, const uint8_t peer[32], const uint8_t *data,
		      size_t len)
{
	(void)arg;
	(void)region;
	post(peer, data, len);
}

static void no_timer(struct warren_ctx *context, void *arg)
{
	(void)context;
	(void)arg;
}

static int noise_dh(void *arg, const uint8_t peer[32], uint8_t out[32])
{
	return identity_dh(arg, WARREN_KEY_NODE, peer, out);
}

static void noise_stamp(void *arg, uint8_t out[WG_TIMESTAMP_LEN])
{
	wg_guard_stamp(((struct box *)arg)->dev->guard, out);
}

/* ---- Boxes ---- */

static struct wg_peer *peer_of(struct box *x)
{
	return wg_peers_find(&x->dev->peers, x->node.key.bytes);
}

static struct wg_live *live_of(struct box *x)
{
	return peer_of(x)->live;
}

static struct wg_session *sending(struct box *x)
{
	return atomic_load(&peer_of(x)->send);
}

static uint64_t count(struct box *x, enum wg_counter which)
{
	return x->dev->counts.n[which];
}

static void load_key(struct box *x)
{
	const struct wg_noise_env env = { .dh = noise_dh, .tai64n = noise_stamp, .arg = x };

	randombytes_buf(x->private_key, 32);
	crypto_scalarmult_base(x->public_key, x->private_key);
	wg_noise_local_init(&x->dev->local, &env, x->public_key);
	wg_cookie_checker_init(&x->dev->checker, x->public_key, NULL, NULL);
}

static void box_start(struct box *x)
{
	struct wg_device *dev = calloc(1, sizeof(*dev));
	struct warren_err err = ERR_INIT;

	memset(x, 0, sizeof(*x));
	x->dev = dev;
	dev->ctx = ctx;
	dev->tun_fd = dev->lane_fd = -1;
	dev->timer_at = WG_NEVER;
	dev->options.new_peers = 10;
	dev->options.ring_slots = 2;
	dev->identity = &identity;
	dev->identity_self = x;
	dev->guard = wg_guard_new(ctx, &err);
	if (!dev->guard)
		fail_msg("%s", err_first(&err));
	dev->sessions = wg_slab_new(sizeof(struct wg_session));
	dev->lives = wg_slab_new(sizeof(struct wg_live));
	dev->ratelimit = wg_ratelimit_new(16);
	dev->timer = warren_timer_new(ctx, no_timer, NULL);
	dev->slice = warren_timer_new(ctx, no_timer, NULL);
	dev->writer = (struct wg_writer){ .ctx = ctx, .events.relay_out = relay_out };
	assert_int_equal(wg_peers_init(&dev->peers), 0);
	assert_int_equal(wg_netmap_init(dev), 0);
	assert_int_equal(wg_device_set_mtu(dev, MTU), 0);
	load_key(x);
}

static void apply_map(struct box *x)
{
	struct snapshot *shot = &x->snapshot[x->serial];

	assert_true(x->serial < sizeof(x->snapshot) / sizeof(x->snapshot[0]));
	warren_obj_init(&shot->map.obj, sizeof(shot->map), NULL);
	warren_obj_ref(&shot->map);		/* never freed: it is part of the box */
	shot->node = x->node;
	shot->peers[0] = &shot->node;
	shot->map.serial = ++x->serial;
	shot->map.peers = shot->peers;
	shot->map.n_peers = 1;
	shot->map.dns = &x->dns;
	assert_int_equal(wg_netmap_apply(x->dev, &shot->map), 0);
}

static void box_meet(struct box *x, const struct box *other)
{
	const struct warren_data_path path = {
		.size = sizeof(path), .kind = WARREN_PATH_RELAY, .region = REGION,
	};

	x->node.id = 1;
	memcpy(x->node.key.bytes, other->public_key, 32);
	apply_map(x);
	wg_peer_set_path(peer_of(x), wg_path_new(&path, other->public_key));
}

static int setup(void **state)
{
	char dir[] = "/tmp/t_control.XXXXXX";
	struct wcore_engine_options options = { .state_shown = dir };
	struct warren_err err = ERR_INIT;

	(void)state;
	set_clock(1000 * S);
	assert_non_null(mkdtemp(dir));
	options.state_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Nothing is kept: reads find nothing, writes fail. */
	assert_int_equal(rmdir(dir), 0);
	engine = wcore_engine_new(&options, &err);
	if (!engine)
		fail_msg("%s", err_first(&err));
	ctx = wcore_engine_ctx(engine);
	queued = sent = 0;
	lossy = false;
	loss = 0;
	box_start(a);
	box_start(b);
	box_meet(a, b);
	box_meet(b, a);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wg_device_stop(a->dev);
	wg_device_stop(b->dev);
	while (ctx->jobs)			/* state is being written */
		wcore_lane_turn(wcore_engine_main(engine), true);
	wg_device_free(a->dev);
	wg_device_free(b->dev);
	wcore_engine_free(engine);
	wcore_clock_set_fake(0, 0);
	return 0;
}

/* ---- The worker's part, and time ---- */

static void send_transport(struct box *x, bool data)
{
	uint8_t msg[WG_TRANSPORT_MIN + WG_PADDING] = { 0 };
	struct wg_session *session = sending(x);
	struct wg_peer *peer = peer_of(x);
	size_t len;

	len = wg_transport_seal(session->keys.send_key, session->keys.remote_index,
				atomic_fetch_add(&session->counter, 1), msg, data ? 1 : 0, MTU);
	post(peer->key, msg, len);
	if (data)
		wg_marks_data_sent(&peer->marks, now);
	else
		wg_marks_sent(&peer->marks, now);
	if (wg_key_rekey_on_send(session->keys.initiator, session->born, session->counter, now))
		wg_handshake_want(peer, now);
	wg_device_look(x->dev, peer, now);
}

static void obey(struct box *x)
{
	struct wg_peer *peer = atomic_exchange(&x->dev->todo, NULL);
	uint32_t todo = peer ? atomic_exchange(&peer->todo, 0) : 0;

	if (todo & WG_TODO_DROP) {
		x->dropped += x->staged;
		x->staged = 0;
	}
	if (!sending(x))
		return;
	if (todo & WG_TODO_KEEPALIVE && !x->staged)
		send_transport(x, false);
	for (; todo & WG_TODO_FLUSH && x->staged; x->staged--)
		send_transport(x, true);
}

static void receive_transport(struct box *x, struct message *m)
{
	struct wg_entry *entry = wg_index_find(x->dev->index,
					       wg_message_receiver(m->data, WG_TRANSPORT));
	struct wg_session *session = (struct wg_session *)entry;
	uint64_t counter = wg_transport_counter(m->data);

	if (!entry || entry->kind != WG_ENTRY_SESSION ||
	    !wg_key_usable(session->born, counter, now) ||
	    wg_transport_open(session->keys.receive_key, m->data, m->len) < 0 ||
	    !wg_replay_accept(&session->replay, counter))
		return;
	x->received++;
	if (m->len == WG_TRANSPORT_MIN)
		wg_marks_received(&entry->peer->marks, now);
	else
		wg_marks_data_received(&entry->peer->marks, now);
	if (!session->keys.initiator && !session->confirmed) {
		session->confirmed = true;
		wg_handshake_confirmed(entry->peer, session->keys.local_index, now);
	}
	wg_device_look(x->dev, entry->peer, now);
}

/* As if @waiting messages were in the handshake queue. */
static void deliver(const struct message *m, uint32_t waiting, uint32_t region)
{
	struct wg_handshake_slot slot = {
		.origin = { .kind = WARREN_PATH_RELAY, .region = region }, .len = m->len,
	};
	struct box *other = m->to == a ? b : a;
	struct message copy = *m;
	uint32_t type = wg_message_type(m->data, m->len);

	assert_int_not_equal(type, 0);
	if (type == WG_TRANSPORT) {
		receive_transport(m->to, &copy);
		return;
	}
	if (type != WG_COOKIE_REPLY && !wg_cookie_check_mac1(&m->to->dev->checker, m->data, m->len))
		return;
	memcpy(slot.origin.relay_peer, other->public_key, 32);
	memcpy(slot.data, m->data, m->len);
	wg_handshake_receive(m->to->dev, &slot, waiting, now);
}

static struct message take(void)
{
	struct message m = queue[0];

	assert_true(queued > 0);
	memmove(queue, queue + 1, --queued * sizeof(queue[0]));
	return m;
}

static void settle(void)
{
	do {
		while (queued) {
			struct message m = take();

			deliver(&m, 1, REGION);
		}
		obey(a);
		obey(b);
	} while (queued);
}

static uint64_t look(struct box *x)
{
	struct schedule_entry *due;

	while ((due = schedule_first(&x->dev->schedule)) && due->deadline <= now) {
		schedule_set(&x->dev->schedule, due, now + S);
		wg_device_look(x->dev, CONTAINER_OF(due, struct wg_live, due)->entry.peer, now);
	}
	return due ? due->deadline : WG_NEVER;
}

/* Lets @time pass: every deadline is met exactly, and what is sent arrives at once. */
static void pass(uint64_t time)
{
	uint64_t end = now + time;

	for (;;) {
		uint64_t next = look(a), other = look(b);

		settle();
		look(a);
		look(b);
		settle();
		next = look(a);
		other = look(b);
		next = other < next ? other : next;
		if (now >= end)
			return;
		set_clock(next < end ? next : end);
	}
}

static void want(struct box *x)
{
	x->staged++;
	if (sending(x) && wg_key_usable(sending(x)->born, 0, now)) {
		x->staged--;
		send_transport(x, true);
	} else {
		wg_handshake_want(peer_of(x), now);
	}
}

static void connect_boxes(void)
{
	want(a);
	settle();
	assert_non_null(sending(a));
	assert_non_null(sending(b));
}

/* ---- 1.10: slots and the responder rule ---- */

static void one_handshake(void **state)
{
	struct message m;

	(void)state;
	assert_null(live_of(a));		/* peers are made lazily */
	want(a);
	assert_int_equal(queued, 1);
	m = take();
	deliver(&m, 1, REGION);			/* initiation */
	assert_null(sending(b));		/* not before the key is confirmed */
	assert_non_null(live_of(b)->next);
	assert_int_equal(peer_of(b)->session_state, WARREN_SESSION_ESTABLISHED);
	m = take();
	deliver(&m, 1, REGION);			/* response */
	assert_ptr_equal(sending(a), live_of(a)->current);
	assert_false(live_of(a)->noise.sent.waiting);
	obey(a);
	assert_int_equal(a->staged, 0);		/* the staged packet is the confirmation */
	assert_int_equal(queued, 1);
	settle();
	assert_ptr_equal(sending(b), live_of(b)->current);
	assert_null(live_of(b)->next);
	assert_int_equal(b->received, 1);
	want(b);
	settle();
	assert_int_equal(a->received, 1);
}

static void confirmation_without_staged_packets(void **state)
{
	(void)state;
	wg_handshake_want(peer_of(a), now);
	settle();
	assert_non_null(sending(b));
	assert_int_equal(b->received, 1);
}

static void crossing(void **state)
{
	struct message from_a, from_b;

	(void)state;
	want(a);
	want(b);
	from_a = take();
	from_b = take();
	deliver(&from_a, 1, REGION);
	deliver(&from_b, 1, REGION);
	settle();
	/* Without a retry both have sessions, each sends with the one it began. */
	assert_true(sending(a)->keys.initiator);
	assert_true(sending(b)->keys.initiator);
	assert_int_equal(a->received, 1);
	assert_int_equal(b->received, 1);
}

static void lost_response_is_retried(void **state)
{
	struct message m;

	(void)state;
	want(a);
	m = take();
	lossy = true;
	deliver(&m, 1, REGION);
	assert_null(sending(a));
	lossy = false;
	pass(4999 * S / 1000);
	assert_null(sending(a));
	pass(S / 2);
	assert_non_null(sending(a));
	assert_non_null(sending(b));
	assert_int_equal(count(b, WG_C_ANSWERED), 2);
	assert_int_equal(count(a, WG_C_RETRIED), 1);
}

static void old_session_serves_until_the_new_is_confirmed(void **state)
{
	struct wg_session *old;
	struct message m;
	int received;

	(void)state;
	connect_boxes();
	old = sending(b);
	pass(125 * S);
	received = a->received;
	wg_handshake_want(peer_of(a), now);
	m = take();
	deliver(&m, 1, REGION);
	assert_non_null(live_of(b)->next);
	assert_ptr_equal(sending(b), old);
	send_transport(b, true);		/* with the old one; a takes it */
	m = queue[1];				/* behind the response */
	deliver(&m, 1, REGION);
	assert_int_equal(a->received, received + 1);
	settle();
	assert_ptr_not_equal(sending(b), old);
	assert_ptr_equal(live_of(b)->previous, old);
}

static void only_the_initiator_rekeys(void **state)
{
	(void)state;
	connect_boxes();
	pass(119 * S);
	want(a);
	want(b);
	settle();
	assert_int_equal(count(a, WG_C_INITIATED), 1);
	pass(2 * S);
	want(b);
	settle();
	assert_int_equal(count(b, WG_C_INITIATED), 0);
	want(a);
	settle();
	assert_int_equal(count(a, WG_C_INITIATED), 2);
	assert_true(sending(a)->born == now);
	assert_true(sending(b)->born == now);
}

/* ---- 1.7, 2: who may make us work ---- */

static void replayed_initiation_changes_nothing(void **state)
{
	struct wg_session *session;
	struct message m;

	(void)state;
	want(a);
	m = queue[0];
	settle();
	session = sending(b);
	pass(S);
	deliver(&m, 1, REGION);
	assert_int_equal(count(b, WG_C_HS_REPLAY), 1);
	assert_int_equal(queued, 0);
	assert_ptr_equal(sending(b), session);
	assert_null(live_of(b)->next);
	/* Nor after the peer was forgotten for want of traffic (2). */
	pass(1200 * S);
	assert_null(live_of(b));
	deliver(&m, 1, REGION);
	assert_int_equal(count(b, WG_C_HS_REPLAY), 2);
	assert_null(live_of(b));
	assert_int_equal(queued, 0);
}

/* An initiation to b by somebody who has both public keys, but no private one of them. */
static struct message forge(const uint8_t claimed[32])
{
	struct message m = { .to = b, .len = WG_INITIATION_LEN };
	struct wg_noise_local local = a->dev->local;
	uint8_t ss[32] = { 7 };
	struct wg_cookie_peer cookie;
	struct wg_noise_peer noise;

	memcpy(local.public_key, claimed, 32);
	wg_noise_peer_init_ss(&noise, b->public_key, ss, NULL);
	assert_int_equal(wg_noise_create_initiation(&local, &noise, 99, m.data), 0);
	wg_cookie_peer_init(&cookie, b->public_key);
	wg_cookie_add_macs(&cookie, m.data, m.len, now);
	return m;
}

static void forged_initiation_allocates_nothing(void **state)
{
	const uint8_t stranger[32] = { 9 };
	struct message m = forge(a->public_key);

	(void)state;
	deliver(&m, 1, REGION);
	assert_int_equal(count(b, WG_C_HS_FORGED), 1);
	m = forge(stranger);
	deliver(&m, 1, REGION);
	assert_int_equal(count(b, WG_C_HS_UNKNOWN), 1);
	assert_null(live_of(b));
	assert_int_equal(wg_slab_used(b->dev->lives), 0);
	assert_int_equal(wg_slab_used(b->dev->sessions), 0);
	assert_int_equal(queued, 0);
}

static void waking_is_bounded(void **state)
{
	struct message m;

	(void)state;
	b->dev->new_peers_at = now;
	b->dev->new_peers_left = 0;
	want(a);
	m = take();
	deliver(&m, 1, REGION);
	assert_int_equal(count(b, WG_C_HS_FLOOD), 1);
	assert_null(live_of(b));
	pass(6 * S);			/* the retry finds a new second */
	assert_non_null(sending(b));
}

/* ---- 1.8: under load ---- */

static void cookie_under_load(void **state)
{
	struct message m;

	(void)state;
	want(a);
	m = take();
	deliver(&m, 128, REGION);
	assert_null(live_of(b));
	assert_int_equal(count(b, WG_C_COOKIE_OUT), 1);
	m = take();
	assert_int_equal(wg_message_type(m.data, m.len), WG_COOKIE_REPLY);
	deliver(&m, 1, REGION);
	assert_int_equal(count(a, WG_C_COOKIE_IN), 1);
	assert_int_equal(queued, 0);		/* used in the retry, not at once */
	set_clock(now + 6 * S);
	look(a);
	m = take();
	deliver(&m, 128, REGION + 1);		/* from elsewhere: the cookie is not for there */
	assert_int_equal(count(b, WG_C_COOKIE_OUT), 2);
	queued = 0;
	deliver(&m, 128, REGION);
	assert_non_null(live_of(b)->next);
	settle();
	assert_non_null(sending(b));
}

/* ---- 1.9 through the device ---- */

static void gives_up_and_drops(void **state)
{
	(void)state;
	lossy = true;
	want(a);
	pass(110 * S);
	assert_int_equal(count(a, WG_C_INITIATED) + count(a, WG_C_RETRIED), 20);
	assert_int_equal(count(a, WG_C_GAVE_UP), 1);
	assert_int_equal(a->dropped, 1);
	assert_int_equal(peer_of(a)->session_state, WARREN_SESSION_NONE);
	lossy = false;
	want(a);
	settle();
	assert_non_null(sending(a));
}

static void passive_keepalive_and_silence(void **state)
{
	(void)state;
	connect_boxes();
	assert_int_equal(b->received, 1);
	pass(S);
	want(a);
	settle();
	pass(8 * S);
	assert_int_equal(a->received, 0);
	pass(2 * S);
	assert_int_equal(a->received, 1);	/* 10 s after b received the first data */
	pass(100 * S);
	assert_int_equal(a->received, 1);	/* and no more: keepalives are not thanked */
	/* b falls silent: 15 s after data a begins a new handshake. */
	lossy = true;
	want(a);
	pass(14 * S);
	assert_int_equal(count(a, WG_C_INITIATED), 1);
	pass(2 * S);
	assert_int_equal(count(a, WG_C_INITIATED), 2);
}

static void idle_peers_are_forgotten(void **state)
{
	(void)state;
	connect_boxes();
	pass(179 * S);
	assert_int_equal(peer_of(a)->session_state, WARREN_SESSION_ESTABLISHED);
	pass(2 * S);
	assert_int_equal(peer_of(a)->session_state, WARREN_SESSION_EXPIRED);
	pass(400 * S);
	assert_null(live_of(a));
	assert_null(live_of(b));
	assert_null(sending(a));
	assert_int_equal(wg_index_count(a->dev->index), 0);
	assert_int_equal(wg_index_count(b->dev->index), 0);
	assert_int_equal(peer_of(a)->session_state, WARREN_SESSION_NONE);
	connect_boxes();			/* and come back by traffic */
}

/* ---- Changes under way ---- */

static void new_private_key(void **state)
{
	struct wg_session *old;

	(void)state;
	connect_boxes();
	old = live_of(b)->current;
	load_key(b);
	wg_peer_rekey(peer_of(b));
	assert_null(sending(b));
	send_transport(a, true);		/* the old key still receives */
	settle();
	assert_int_equal(b->received, 2);
	assert_ptr_equal(live_of(b)->current, old);
	/* a does not know the new key: its map says so, then all is well again. */
	wg_handshake_want(peer_of(b), now);
	settle();
	assert_null(sending(b));
	assert_int_equal(count(a, WG_C_HS_UNKNOWN), 1);
}

static void new_psk_reaches_the_waiting_handshake(void **state)
{
	static const struct warren_key32 psk = { { 5 } };

	(void)state;
	b->node.psk = &psk;
	apply_map(b);
	want(a);
	settle();
	assert_null(sending(a));
	assert_int_equal(count(a, WG_C_HS_FORGED), 1);
	assert_true(live_of(a)->noise.sent.waiting);
	set_clock(now + S);
	/* The same PSK here: the handshake begins anew at once, in spite of the hold-off. */
	a->node.psk = &psk;
	apply_map(a);
	settle();
	assert_non_null(sending(a));
	assert_non_null(sending(b));
}

/* ---- All at once ---- */

/* What the index table holds is what the peer has. */
static void check_indices(struct box *x)
{
	const struct wg_live *live = live_of(x);
	size_t want_n = 0;

	if (live)
		want_n = !!live->current + !!live->next + !!live->previous +
			 live->noise.sent.waiting;
	assert_int_equal(wg_index_count(x->dev->index), want_n);
	if (sending(x)) {
		assert_non_null(live);
		assert_ptr_equal(sending(x), live->current);
	}
}

static void one_disturbance(void)
{
	struct box *x = &box[random() % 2];

	switch (random() % 8) {
	case 0:
		wg_peer_sleep(peer_of(x));	/* as after a restart */
		x->staged = 0;
		break;
	case 1:
	case 2:
		if (sent)
			deliver(&history[(size_t)random() % (sent < 32 ? sent : 32)],
				random() % 4 ? 1 : 200, REGION);
		break;
	case 3:
		pass((uint64_t)random() % (200 * S));
		break;
	default:
		if (x->staged < 10)
			want(x);
		pass((uint64_t)random() % (7 * S));
	}
}

/*
 * Loss, replays, load and restarts in any order; whatever state they leave, traffic flows again
 * once they end, within a retry and the no-answer timer.
 */
static void recovers_from_anything(void **state)
{
	int before[2];

	(void)state;
	for (unsigned int seed = 1; seed <= 60; seed++) {
		srandom(seed);
		loss = random() % 70;
		for (int i = 0; i < 60; i++) {
			one_disturbance();
			check_indices(a);
			check_indices(b);
		}
		loss = 0;
		for (int i = 0; i < 25; i++) {
			want(a);
			want(b);
			pass(S);
		}
		before[0] = a->received;
		before[1] = b->received;
		want(a);
		want(b);
		settle();
		if (a->received <= before[0] || b->received <= before[1])
			fail_msg("seed %u: no traffic after the storm", seed);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_handshake),
		TEST(confirmation_without_staged_packets),
		TEST(crossing),
		TEST(lost_response_is_retried),
		TEST(old_session_serves_until_the_new_is_confirmed),
		TEST(only_the_initiator_rekeys),
		TEST(replayed_initiation_changes_nothing),
		TEST(forged_initiation_allocates_nothing),
		TEST(waking_is_bounded),
		TEST(cookie_under_load),
		TEST(gives_up_and_drops),
		TEST(passive_keepalive_and_silence),
		TEST(idle_peers_are_forgotten),
		TEST(new_private_key),
		TEST(new_psk_reaches_the_waiting_handshake),
		TEST(recovers_from_anything),
	};

	return sodium_init() == -1 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
