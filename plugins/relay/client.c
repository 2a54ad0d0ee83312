/*
 * A connection: login, then frames until either side ends it (path-protocols.md 1.6). What a client
 * says wrongly ends its connection.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/addr.h"
#include "base/err.h"
#include "relay.h"

enum {
	LOGIN_USEC = 10000000, KEEP_ALIVE_USEC = 60000000, KEEP_ALIVE_SPREAD = 5000000,
	LOW = 16 << 10, MESH_WRITE_USEC = 30000000,
	DEAD_USEC = 15000000,		/* without a byte acknowledged */
	FIRST_HOME_USEC = 5000000,	/* in which a client says where its home was all along */
	SLOW_LOGIN_USEC = 2000000,
	GONE_BURST = 3,			/* "not here" answers, and one more each second */
};

static const uint64_t million = 1000000;

bool relay_bucket_take(struct relay_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t cost)
{
	uint64_t now = warren_now(), passed = now - bucket->at, room;

	if (bucket->at == 0) {
		bucket->tokens = burst * million;
	} else {
		room = burst * million - bucket->tokens;
		bucket->tokens += passed > room / rate ? room : passed * rate;
	}
	bucket->at = now;
	if (bucket->tokens < cost * million)
		return false;
	bucket->tokens -= cost * million;
	return true;
}

static void client_free(struct relay_client *client)
{
	struct relay *relay = client->relay;

	if (client->fetch)
		warren_fetch_cancel(client->fetch);
	relay_leave(client);
	relay_queues_free(client);
	relay_last_words(client);
	list_del(&client->all);
	list_del(&client->login);
	relay->n_clients--;
	relay->n_homes -= client->home;
	relay->n_not_ideal -= client->not_ideal;
	warren_stat_set(relay->stats.clients, relay->n_clients);
	warren_stat_set(relay->stats.not_ideal, relay->n_not_ideal);
	warren_stat_set(relay->stats.homes, relay->n_homes);
	warren_release(client->timer);
	warren_release(client->wait);
	warren_stream_close(client->stream);
	free(client);
}

void relay_clients_close(struct relay *relay)
{
	struct relay_client *client, *next;

	list_for_each(client, &relay->clients, all)
		client->state = RELAY_DOOMED;	/* nobody is told of the others' end */
	list_for_each_safe(client, next, &relay->clients, all)
		client_free(client);
}

void relay_clients_close_front(struct relay *relay)
{
	struct relay_client *client, *next;

	list_for_each_safe(client, next, &relay->clients, all) {
		if (client->of_front)
			client_free(client);
	}
}

bool relay_make_room(struct relay *relay)
{
	struct relay_client *client;

	if (relay->n_clients < relay->clients_max)
		return true;
	if (list_empty(&relay->logins))
		return false;
	client = list_first(&relay->logins, struct relay_client, login);
	if (warren_now() - client->since < SLOW_LOGIN_USEC)
		return false;
	client_free(client);
	return relay->n_clients < relay->clients_max;
}

void relay_client_doom(struct relay_client *client, const char *why)
{
	char text[ADDRPORT_TEXT], key[WARREN_KEYTEXT_SHORT];

	if (client->state == RELAY_DOOMED)
		return;
	if (why)
		warren_log_limit(client->relay->ctx, &client->relay->ended_limit, LOG_INFO,
				 "the relay's client %s at %s is disconnected: %s",
				 warren_keytext_short(WARREN_KEYTEXT_NODE, client->key, key),
				 addrport_format(&client->from, text), why);
	client->state = RELAY_DOOMED;
	warren_timer_set(client->timer, 0);
}

void relay_client_gone(struct relay_client *client, const uint8_t key[32], uint8_t reason)
{
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_PEER_GONE, .key = key, .reason = reason,
	};

	warren_stat_add(client->relay->stats.gone[reason != WARREN_DERP_GONE_DISCONNECTED], 1);
	relay_write(client, &frame);
}

/* ---- login ---- */

static void keep_alive_later(struct relay_client *client)
{
	warren_timer_set(client->timer, KEEP_ALIVE_USEC + randombytes_uniform(KEEP_ALIVE_SPREAD));
}

static void tell_info(struct relay_client *client)
{
	struct relay *relay = client->relay;
	const struct warren_derp_server_info info = { .version = WARREN_DERP_VERSION };
	uint8_t box[WARREN_DERP_INFO_TEXT + 40];
	char text[WARREN_DERP_INFO_TEXT];
	struct warren_derp_frame frame = { .type = WARREN_DERP_SERVER_INFO, .data = box };
	size_t n = warren_derp_server_info_text(&info, text);

	if (warren_private_seal(&relay->key, client->key, (uint8_t *)text, n, box)) {
		relay_client_doom(client, "its key is none");
		return;
	}
	frame.len = n + 40;
	relay_write(client, &frame);
}

void relay_client_verified(struct relay_client *client, const char *refused)
{
	struct relay *relay = client->relay;

	if (client->state != RELAY_VERIFYING)
		return;
	if (refused) {
		relay->refused++;
		warren_stat_add(relay->stats.refused[RELAY_REFUSED_VERIFY], 1);
		relay_client_doom(client, refused);
		return;
	}
	client->state = RELAY_UP;
	if (relay_join(client)) {
		relay_client_doom(client, "no memory");
		return;
	}
	warren_stat_add(relay->stats.accepted, 1);
	tell_info(client);
	keep_alive_later(client);
}

static void log_in(struct relay_client *client, const struct warren_derp_frame *frame)
{
	struct relay *relay = client->relay;
	struct warren_derp_client_info info = { .size = sizeof(info) };
	uint8_t plain[WARREN_DERP_INFO_MAX];
	int result = -EBADMSG;

	list_del(&client->login);
	memcpy(client->key, frame->key, 32);
	if (frame->len >= 40 && frame->len - 40 <= sizeof(plain))
		result = warren_private_open(&relay->key, frame->key, frame->data, frame->len,
					     plain);
	if (!result)
		result = warren_derp_client_info_parse(plain, frame->len - 40, &info, NULL);
	client->mesh = !result && relay->mesh && info.has_mesh_key &&
		       sodium_memcmp(info.mesh_key, relay->mesh_key, 32) == 0;
	sodium_memzero(plain, sizeof(plain));
	sodium_memzero(info.mesh_key, sizeof(info.mesh_key));
	if (client->mesh && memcmp(client->key, relay->public_key, 32) == 0) {
		relay_client_doom(client, NULL);	/* our own call: mesh.c has seen it too */
		return;
	}
	if (result || sodium_is_zero(client->key, 32) ||
	    memcmp(client->key, relay->public_key, 32) == 0) {
		warren_stat_add(relay->stats.protocol, 1);
		relay_client_doom(client, "its login is forged or malformed");
		return;
	}
	client->prober = info.prober;
	client->state = RELAY_VERIFYING;
	if (client->mesh) {		/* no node, so nobody knows it */
		warren_stream_timeouts(client->stream, 0, MESH_WRITE_USEC);
		relay_client_verified(client, NULL);
	} else {
		relay_ask(client);
	}
}

/* ---- frames ---- */

static void take_packet(struct relay_client *client, const struct warren_derp_frame *frame)
{
	struct relay *relay = client->relay;
	struct relay_peer *to = relay_find(relay, frame->key);

	client->received++;
	warren_stat_add(relay->stats.packets[0], 1);
	warren_stat_add(relay->stats.bytes[0], (int64_t)frame->len);
	if (to && to->n_clients > 0) {
		if (to != client->peer)
			relay_link(relay, client->peer, relay_active(to));
		relay_deliver(relay_active(to), client->key, frame->data, frame->len);
		return;
	}
	if (to) {
		if (relay_mesh_forward(relay, to, client->key, frame->data, frame->len))
			warren_stat_add(relay->stats.forwarded[1], 1);
		else
			relay_dropped(relay, RELAY_DROP_NEWEST, frame->len);
		return;
	}
	relay_dropped(relay, RELAY_DROP_UNKNOWN, frame->len);
	if (relay_is_disco(frame->data, frame->len) &&
	    relay_bucket_take(&client->gone, 1, GONE_BURST, 1))
		relay_client_gone(client, frame->key, WARREN_DERP_GONE_NOT_HERE);
}

/* Of another relay, for a key that is here, or was: no further. */
static void take_forward(struct relay_client *client, const struct warren_derp_frame *frame)
{
	struct relay *relay = client->relay;
	struct relay_peer *from = relay_find(relay, frame->key);
	struct relay_peer *to = relay_find(relay, frame->to);

	warren_stat_add(relay->stats.forwarded[0], 1);
	if (!to || to->n_clients == 0) {
		relay_dropped(relay, RELAY_DROP_UNKNOWN, frame->len);
		return;
	}
	if (from && from != to)
		relay_link(relay, from, relay_active(to));
	relay_deliver(relay_active(to), frame->key, frame->data, frame->len);
}

static void take_close(struct relay *relay, const uint8_t key[32])
{
	struct relay_peer *peer = relay_find(relay, key);
	struct relay_client *client;

	if (!peer)
		return;
	list_for_each(client, &peer->clients, of_peer)
		relay_client_doom(client, "another relay of the mesh wants it closed");
}

static void take_mesh(struct relay_client *client, const struct warren_derp_frame *frame)
{
	if (!client->mesh) {
		warren_stat_add(client->relay->stats.protocol, 1);
		relay_client_doom(client, "it asked for what only relays of a mesh may have");
	} else if (frame->type == WARREN_DERP_FORWARD_PACKET) {
		take_forward(client, frame);
	} else if (frame->type == WARREN_DERP_WATCH_CONNS) {
		relay_watch(client);
	} else {
		take_close(client->relay, frame->key);
	}
}

static void take_preferred(struct relay_client *client, bool preferred)
{
	struct relay *relay = client->relay;

	if (preferred != client->home && warren_now() - client->since > FIRST_HOME_USEC)
		warren_stat_add(relay->stats.home_moves[!preferred], 1);
	relay->n_homes += preferred - client->home;
	client->home = preferred;
	warren_stat_set(relay->stats.homes, relay->n_homes);
}

static void take_ping(struct relay_client *client, const struct warren_derp_frame *frame)
{
	memcpy(client->pong, frame->data, sizeof(client->pong));
	if (client->pong_due)
		return;
	client->pong_due = true;
	warren_stat_add(client->relay->stats.pongs, 1);
	if (!client->blocked)
		relay_flush(client);
}

static void take_frame(struct relay_client *client, const struct warren_derp_frame *frame)
{
	if (client->state == RELAY_LOGIN) {
		if (frame->type == WARREN_DERP_CLIENT_INFO)
			log_in(client, frame);
		else
			relay_client_doom(client, "it does not begin with its login");
		return;
	}
	relay_spoke(client);
	switch (frame->type) {
	case WARREN_DERP_SEND_PACKET:
		take_packet(client, frame);
		break;
	case WARREN_DERP_NOTE_PREFERRED:
		take_preferred(client, frame->preferred);
		break;
	case WARREN_DERP_PING:
		take_ping(client, frame);
		break;
	case WARREN_DERP_FORWARD_PACKET:
	case WARREN_DERP_WATCH_CONNS:
	case WARREN_DERP_CLOSE_PEER:
		take_mesh(client, frame);
		break;
	default:			/* such as a second login: passed over, as unknown ones */
		break;
	}
}

static void take(struct relay_client *client);

void relay_client_resume(struct relay_client *client)
{
	take(client);
}

static void on_wait(struct warren_ctx *ctx, void *arg)
{
	struct relay_client *client = arg;

	(void)ctx;
	client->waiting = false;
	take(client);
}

/* Over the limit the input stays where it is, so that the sender's TCP slows down. */
static bool may_go_on(struct relay_client *client, size_t cost)
{
	struct relay *relay = client->relay;
	uint64_t missing;

	if (!relay->rate || client->mesh || client->state != RELAY_UP ||
	    relay_bucket_take(&client->bytes, relay->rate, relay->burst, cost))
		return true;
	if (!client->wait)
		client->wait = warren_timer_new(relay->ctx, on_wait, client);
	if (!client->wait) {
		relay_client_doom(client, "no memory");
		return false;
	}
	missing = cost * million - client->bytes.tokens;
	client->waiting = true;
	warren_timer_set(client->wait, missing / relay->rate + 1);
	return false;
}

static void take(struct relay_client *client)
{
	struct warren_err err = ERR_INIT;
	struct warren_derp_frame frame;
	const uint8_t *data;
	size_t len, used;
	int result = 0;

	while (!client->waiting && (client->state == RELAY_LOGIN || client->state == RELAY_UP)) {
		data = warren_stream_input(client->stream, &len);
		used = 0;
		result = warren_derp_read(&client->reader, data, len, &used, &frame, &err);
		if (result || !may_go_on(client, used))
			break;
		take_frame(client, &frame);
		warren_stream_drain(client->stream, used);
	}
	if (result == WARREN_PENDING) {
		warren_stream_drain(client->stream, used);
	} else if (result) {
		warren_stat_add(client->relay->stats.protocol, 1);
		relay_client_doom(client, err_first(&err));
	}
	err_free(&err);
}

static void on_readable(struct warren_stream *stream, void *arg)
{
	(void)stream;
	take(arg);
}

static void on_drained(struct warren_stream *stream, void *arg)
{
	(void)stream;
	relay_flush(arg);
}

static void on_ended(struct warren_stream *stream, int result, const char *why, void *arg)
{
	struct relay_client *client = arg;

	(void)stream;
	(void)why;
	if (result == -ETIMEDOUT && client->state == RELAY_UP)
		warren_stat_add(client->relay->stats.shed, 1);
	client_free(client);
}

static const struct warren_stream_events events = {
	.size = sizeof(events), .readable = on_readable, .drained = on_drained,
	.ended = on_ended,
};

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	static const struct warren_derp_frame frame = { .type = WARREN_DERP_KEEP_ALIVE };
	struct relay_client *client = arg;

	(void)ctx;
	switch (client->state) {
	case RELAY_LOGIN:
	case RELAY_VERIFYING:
	case RELAY_DOOMED:
		client_free(client);
		break;
	case RELAY_UP:
		relay_write(client, &frame);
		if (client->state == RELAY_UP)
			keep_alive_later(client);
		break;
	}
}

static void begin(struct relay_client *client)
{
	struct relay *relay = client->relay;
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_SERVER_KEY, .key = relay->public_key,
	};

	warren_timer_set(client->timer, LOGIN_USEC);
	warren_stream_limits(client->stream, WARREN_DERP_FRAME_MAX, LOW, RELAY_HIGH);
	warren_stream_timeouts(client->stream, 0, relay->write_timeout);
	warren_stream_dead_after(client->stream, DEAD_USEC);
	warren_stream_set(client->stream, &events, client);
	relay_write(client, &frame);
}

void relay_client_take(struct relay *relay, struct warren_stream *stream, bool not_ideal,
		       bool of_front)
{
	struct relay_client *client = calloc(1, sizeof(*client));

	if (client)
		client->timer = warren_timer_new(relay->ctx, on_timer, client);
	if (!client || !client->timer) {
		free(client);
		warren_stream_close(stream);
		return;
	}
	client->relay = relay;
	client->stream = stream;
	client->not_ideal = not_ideal;
	client->of_front = of_front;
	client->since = warren_now();
	client->reader = (struct warren_derp_reader){ .size = sizeof(client->reader),
						      .side = WARREN_DERP_SERVER };
	for (int i = 0; i < RELAY_QUEUES; i++)
		list_init(&client->queues[i].packets);
	list_init(&client->links);
	list_init(&client->dirty);
	list_init(&client->watch);
	list_init(&client->of_peer);
	list_add_tail(&relay->clients, &client->all);
	list_add_tail(&relay->logins, &client->login);
	relay->n_clients++;
	relay->n_not_ideal += not_ideal;
	warren_stat_set(relay->stats.not_ideal, relay->n_not_ideal);
	warren_stat_set(relay->stats.clients, relay->n_clients);
	warren_stream_peer(stream, &client->from);
	begin(client);
}
