/*
 * The relay behind front, with clients whose logins are recorded ones of the stock client. A client
 * here is the other end of a socket pair.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include <warren/stun.h>

#include "base/addr.h"
#include "base/hex.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "plugins/front/front.h"
#include "tests/unit/parts.h"

#include "../relay.h"

/* Keys that were made for the recording, and the logins of four nodes with that server. */
static const char server_key[] =
	"privkey:a03d3c6b07fd3b3ac2933401c05e0a3b83758edc1e09fa469bf39ed6ceadd772";
static const char a_key[] =
	"privkey:88b0e5602d226e85b56064e505492b46cefb0cfecf82c88be8939a92ecdb1151";
static const char b_public[] = "33b1370ad05cebd7ea336d0e8eb7fa77a6fcfc4a0e9b723fcd988292e8061051";
static const char a_public[] = "7053e3da431c2a0add5990c1aad928c2137c0ca5a3541be4ff8823cbf79b3872";
static const char d_public[] = "141705bad807b88f57ad80229b51595a606b1d193d9dbf305e29f8b04365a471";
static const char login_a[] =
	"02000000687053e3da431c2a0add5990c1aad928c2137c0ca5a3541be4ff8823cbf79b3872f9"
	"eeb5a0973a1ee556215248e87804b61d0568dd04c5bd90c96d7bbc0c9b176ef89e996eeecafe"
	"794f10a682f5887e1d4242043aed72fe4cc31c71289c507ff4966499ab7b69202d";
static const char login_b[] =
	"020000008033b1370ad05cebd7ea336d0e8eb7fa77a6fcfc4a0e9b723fcd988292e8061051e9"
	"a4f31ccb73127db10fca6018653f1a277da10c43e3bef486b7a0965798a5f8475c9c4051bbec"
	"a47dc06239e0b3ab81163981f35a9c1fa0ff294983250275b4fa518479c10ceee8ea2e579dc6"
	"47f2da9ff7538eb6eef4cd45c75f00146d0bde";
static const char login_c[] =
	"02000000b6cc229f5ede0f2b5866208837f028e6a3102bb0c688cd48751d1ca6182967f60237"
	"2d0c80524ec5a03e48c3ab41b87f483af65b419f8ac501a131905318b0c9ac2f5c66b2102962"
	"50c9e3100a4a7c995ad6cc6c2c125cc144bba260d0158f645e7559d12e0f2bdd9fbefa7a9864"
	"87403dbd3fe2eac8857bf5501fb26f6cf02c35fc8535b086f3a8c2fe35cf878272dffa07c6ed"
	"a7776931a04887b71220aaa854a618d43d1606fea53c8e5e47c5ea164696a5aed95b2b";
static const char login_b2[] =
	"020000006933b1370ad05cebd7ea336d0e8eb7fa77a6fcfc4a0e9b723fcd988292e806105114"
	"3063f717c3065b80aa1604bf92897d7f9de0033da0a5e5693d4ad465ab41baf35b70322ea473"
	"1db0283e8c8321bcb1861a9134698b40febc8c3486d0fca97439ccc665483a24ebab";

enum { ROOM = 8 << 20 };

struct end {				/* a client */
	int fd;
	uint8_t *in;
	size_t len;
	struct warren_derp_reader reader;
	bool closed;
};

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct front front;
static struct relay relay;
static struct end ends[4];

static const struct warren_front front_ops = {
	.size = sizeof(front_ops), .route = front_route,
};

static bool everybody(void *arg, const uint8_t key[32])
{
	(void)arg;
	(void)key;
	return true;
}

static bool only_a(void *arg, const uint8_t key[32])
{
	uint8_t a[32];

	(void)arg;
	assert_int_equal(hex_decode(a, 32, a_public), 0);
	return memcmp(a, key, 32) == 0;
}

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&front, 0, sizeof(front));
	front.ctx = ctx;
	list_init(&front.conns);
	list_init(&front.routes);
	list_init(&front.raws);
	list_init(&front.names);
	list_init(&front.certs);
	memset(&relay, 0, sizeof(relay));
	relay.ctx = ctx;
	relay.front = &front_ops;
	relay.front_self = &front;
	relay.clients_max = 4;
	relay.verify = RELAY_VERIFY_COORDINATOR;
	relay.write_timeout = 60000000;
	relay_init(&relay);
	assert_int_equal(relay_gather_begin(&relay), 0);
	assert_int_equal(warren_private_parse(server_key, &relay.key, NULL), 0);
	warren_private_public(&relay.key, relay.public_key);
	assert_int_equal(relay_route(&relay, NULL), 0);
	assert_int_equal(relay_judge(&relay, ctx, everybody, NULL, NULL, NULL), 0);
	memset(ends, 0, sizeof(ends));
	for (int i = 0; i < 4; i++)
		ends[i].fd = -1;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	relay_clients_close(&relay);
	assert_int_equal(relay.n_clients, 0);
	assert_int_equal(relay.peers.count, 0);
	assert_int_equal(relay.links.count, 0);
	assert_int_equal(relay.queued, 0);
	hash_free(&relay.peers);
	hash_free(&relay.links);
	relay_stun_close(&relay);
	front_close_all(&front);
	front_routes_free(&front);
	for (int i = 0; i < 4; i++) {
		if (ends[i].fd != -1)
			close(ends[i].fd);
		free(ends[i].in);
	}
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/* ---- a client's side ---- */

static void gather(struct end *end)
{
	ssize_t n = 1;

	while (n > 0 && end->len < ROOM) {
		n = recv(end->fd, end->in + end->len, ROOM - end->len, MSG_DONTWAIT);
		if (n > 0)
			end->len += (size_t)n;
	}
	end->closed = end->closed || n == 0 || (n == -1 && errno != EAGAIN);
}

static void send_all(struct end *end, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = send(end->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -1)
			assert_int_equal(errno, EAGAIN);
		else
			at += n, len -= (size_t)n;
		parts_settle(engine);
	}
}

static struct end *connect_to_front(const char *request)
{
	struct end *end = ends;
	int fds[2];

	while (end->fd != -1)
		end++;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	end->fd = fds[0];
	end->in = malloc(ROOM);
	end->reader = (struct warren_derp_reader){ .size = sizeof(end->reader),
						   .side = WARREN_DERP_CLIENT };
	front_accept_plain(ctx, warren_stream_new_take(ctx, fds[1]), &front);
	send_all(end, request, strlen(request));
	return end;
}

/* The answer's head, without which @end goes on; it lives until the next call. */
static const char *head_of(struct end *end)
{
	static char head[1024];
	uint8_t *over = NULL;
	size_t n;

	for (int i = 0; i < 1000 && !over; i++) {
		parts_settle(engine);
		gather(end);
		over = memmem(end->in, end->len, "\r\n\r\n", 4);
	}
	assert_non_null(over);
	n = (size_t)(over - end->in) + 4;
	assert_true(n < sizeof(head));
	memcpy(head, end->in, n);
	head[n] = '\0';
	memmove(end->in, end->in + n, end->len - n);
	end->len -= n;
	return head;
}

/* The next frame, copied; a test fails that waits for one that does not come. */
static struct warren_derp_frame next(struct end *end)
{
	static uint8_t copy[WARREN_DERP_FRAME_MAX];
	struct warren_derp_frame frame;
	size_t used = 0;
	int result = WARREN_PENDING;

	for (int i = 0; i < 2000 && result == WARREN_PENDING; i++) {
		result = warren_derp_read(&end->reader, end->in, end->len, &used, &frame, NULL);
		if (result == WARREN_PENDING) {
			parts_settle(engine);
			gather(end);
		}
	}
	assert_int_equal(result, 0);
	assert_true(used <= sizeof(copy));
	memcpy(copy, end->in, used);
	if (frame.key)
		frame.key = copy + (frame.key - end->in);
	if (frame.data)
		frame.data = copy + (frame.data - end->in);
	memmove(end->in, end->in + used, end->len - used);
	end->len -= used;
	return frame;
}

static struct warren_derp_frame expect(struct end *end, uint32_t type)
{
	struct warren_derp_frame frame = next(end);

	assert_int_equal(frame.type, type);
	return frame;
}

static void send_hex(struct end *end, const char *hex)
{
	uint8_t bytes[1024];
	size_t n = strlen(hex) / 2;

	assert_true(n <= sizeof(bytes));
	assert_int_equal(hex_decode(bytes, n, hex), 0);
	send_all(end, bytes, n);
}

static struct end *upgraded(void)
{
	struct end *end = connect_to_front("GET /derp HTTP/1.1\r\nHost: 10.77.0.1:81\r\n"
					   "Upgrade: DERP\r\nConnection: Upgrade\r\n\r\n");

	assert_non_null(strstr(head_of(end), "HTTP/1.1 101 "));
	assert_memory_equal(expect(end, WARREN_DERP_SERVER_KEY).key, relay.public_key, 32);
	return end;
}

static struct end *logged_in(const char *login)
{
	struct end *end = upgraded();

	send_hex(end, login);
	expect(end, WARREN_DERP_SERVER_INFO);
	return end;
}

static void send_to(struct end *end, const char *to, const void *data, size_t len)
{
	static uint8_t out[WARREN_DERP_FRAME_MAX];
	uint8_t key[32];
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_SEND_PACKET, .key = key, .data = data, .len = len,
	};
	size_t n;

	assert_int_equal(hex_decode(key, 32, to), 0);
	n = warren_derp_put(&frame, out, sizeof(out));
	assert_true(n > 0);
	send_all(end, out, n);
}

static void expect_packet(struct end *end, const char *from, const char *text)
{
	struct warren_derp_frame frame = expect(end, WARREN_DERP_RECV_PACKET);
	uint8_t key[32];

	assert_int_equal(hex_decode(key, 32, from), 0);
	assert_memory_equal(frame.key, key, 32);
	assert_int_equal(frame.len, strlen(text));
	assert_memory_equal(frame.data, text, frame.len);
}

static void expect_gone(struct end *end, const char *who, uint8_t reason)
{
	struct warren_derp_frame frame = expect(end, WARREN_DERP_PEER_GONE);
	uint8_t key[32];

	assert_int_equal(hex_decode(key, 32, who), 0);
	assert_memory_equal(frame.key, key, 32);
	assert_int_equal(frame.reason, reason);
}

static void expect_closed(struct end *end)
{
	for (int i = 0; i < 1000 && !end->closed; i++) {
		parts_settle(engine);
		gather(end);
	}
	assert_true(end->closed);
}

static void hang_up(struct end *end, uint32_t left)
{
	close(end->fd);
	end->fd = -1;
	free(end->in);
	end->in = NULL;
	end->len = 0;
	end->closed = false;
	for (int i = 0; i < 1000 && relay.n_clients > left; i++)
		parts_settle(engine);
	assert_int_equal(relay.n_clients, left);
}

/* ---- tests ---- */

static void as_recorded(void **state)
{
	struct warren_private key;
	struct warren_derp_server_info info;
	struct warren_derp_frame frame;
	struct end *a, *b;
	uint8_t plain[256];

	(void)state;
	assert_int_equal(warren_private_parse(a_key, &key, NULL), 0);
	a = upgraded();
	send_hex(a, login_a);
	frame = expect(a, WARREN_DERP_SERVER_INFO);
	assert_true(frame.len < sizeof(plain));
	assert_int_equal(warren_private_open(&key, relay.public_key, frame.data, frame.len, plain),
			 0);
	assert_int_equal(warren_derp_server_info_parse(plain, frame.len - 40, &info, NULL), 0);
	assert_int_equal(info.version, WARREN_DERP_VERSION);
	b = logged_in(login_b);
	send_hex(a, "0700000001" "01" "1200000008" "0102030405060708");
	assert_memory_equal(expect(a, WARREN_DERP_PONG).data, "\1\2\3\4\5\6\7\10", 8);
	assert_int_equal(relay.n_homes, 1);
	send_hex(a, "7f00000003" "aabbcc");	/* of no type that is known */
	send_to(a, b_public, "hello from a", 12);
	expect_packet(b, a_public, "hello from a");
	send_to(b, a_public, "hello from b", 12);
	expect_packet(a, b_public, "hello from b");
	hang_up(b, 1);
	expect_gone(a, b_public, WARREN_DERP_GONE_DISCONNECTED);
	send_hex(a, "0700000001" "00" "1200000008" "0102030405060708");
	expect(a, WARREN_DERP_PONG);
	assert_int_equal(relay.n_homes, 0);
}

static struct end *fast_started(void)
{
	struct end *end = connect_to_front("");
	char text[512];
	uint8_t login[256];
	size_t n = (size_t)snprintf(text, sizeof(text), "GET /derp HTTP/1.1\r\nHost: x\r\n"
				    "Upgrade: DERP\r\nConnection: Upgrade\r\n"
				    "Derp-Fast-Start: 1\r\n\r\n");

	assert_int_equal(hex_decode(login, strlen(login_a) / 2, login_a), 0);
	memcpy(text + n, login, strlen(login_a) / 2);
	send_all(end, text, n + strlen(login_a) / 2);	/* in one piece, as stock clients do */
	return end;
}

static void without_an_answer(void **state)
{
	struct end *end = fast_started();

	(void)state;
	expect(end, WARREN_DERP_SERVER_KEY);
	expect(end, WARREN_DERP_SERVER_INFO);
}

static void nobody_here(void **state)
{
	static uint8_t disco[64] = "TS\xf0\x9f\x92\xac";
	struct end *a;

	(void)state;
	a = logged_in(login_a);
	send_to(a, d_public, "no disco", 8);
	for (int i = 0; i < 6; i++)
		send_to(a, d_public, disco, sizeof(disco));
	for (int i = 0; i < 3; i++)
		expect_gone(a, d_public, WARREN_DERP_GONE_NOT_HERE);
	assert_true(relay.n_clients == 1);
}

static void the_last_to_speak(void **state)
{
	struct end *a, *first, *second;

	(void)state;
	a = logged_in(login_a);
	first = logged_in(login_b);
	second = logged_in(login_b2);
	assert_int_equal(relay.n_duplicates, 1);
	send_to(a, b_public, "one", 3);
	expect_packet(second, a_public, "one");
	send_to(first, a_public, "me", 2);
	expect_packet(a, b_public, "me");
	send_to(a, b_public, "two", 3);
	expect_packet(first, a_public, "two");
	hang_up(first, 2);
	assert_int_equal(relay.n_duplicates, 0);
	send_to(a, b_public, "three", 5);	/* and nobody was told that b has gone */
	expect_packet(second, a_public, "three");
	assert_int_equal(a->len, 0);
}

static void who_is_not_known(void **state)
{
	struct end *end;

	(void)state;
	relay.judge = only_a;
	end = upgraded();
	send_hex(end, login_b);
	expect_closed(end);
	assert_int_equal(end->len, 0);
	hang_up(end, 0);
	hang_up(logged_in(login_a), 0);
	relay.judge = NULL;			/* nobody can say */
	end = upgraded();
	send_hex(end, login_a);
	expect_closed(end);
	assert_int_equal(end->len, 0);
	end = fast_started();			/* that it is a relay is told all the same */
	expect(end, WARREN_DERP_SERVER_KEY);
	expect_closed(end);
}

static void what_ends_a_connection(void **state)
{
	static const char *const after_login[] = {
		"1000000000",			/* WatchConns, without the key of a mesh */
		"0700000002" "0100",		/* NotePreferred of two bytes */
		"0400000003" "aabbcc",		/* no room for a key */
		"0400ffffff",			/* too long */
	};
	struct end *end;
	char forged[sizeof(login_a)];

	(void)state;
	memcpy(forged, login_a, sizeof(forged));
	forged[sizeof(login_a) - 2] = forged[sizeof(login_a) - 2] == '0' ? '1' : '0';
	end = upgraded();
	send_hex(end, forged);
	expect_closed(end);
	hang_up(end, 0);
	end = upgraded();
	send_hex(end, "1200000008" "0102030405060708");	/* before its login */
	expect_closed(end);
	hang_up(end, 0);
	for (size_t i = 0; i < 4; i++) {
		end = logged_in(i == 0 ? login_c : login_a);
		send_hex(end, after_login[i]);
		expect_closed(end);
		hang_up(end, 0);
	}
}

/* Long and short ones of one turn stay in order, though the short ones are gathered. */
static void in_one_turn(void **state)
{
	enum { N = 40, LONG = 17000 };
	static uint8_t data[LONG], wire[128 << 10];
	uint8_t key[32];
	struct warren_derp_frame frame = { .type = WARREN_DERP_SEND_PACKET, .key = key,
					   .data = data };
	struct end *a, *b;
	size_t n = 0;

	(void)state;
	a = logged_in(login_a);
	b = logged_in(login_b);
	assert_int_equal(hex_decode(key, 32, b_public), 0);
	for (uint8_t i = 0; i < N; i++) {
		data[0] = i;
		frame.len = i % 10 == 9 ? LONG : 100u + i;
		n += warren_derp_put(&frame, wire + n, sizeof(wire) - n);
	}
	send_all(a, wire, n);
	for (uint8_t i = 0; i < N; i++) {
		frame = expect(b, WARREN_DERP_RECV_PACKET);
		assert_int_equal(frame.len, i % 10 == 9 ? LONG : 100u + i);
		assert_int_equal(frame.data[0], i);
		assert_int_equal(frame.data[1], 0);
	}
	assert_true(list_empty(&relay.dirty));
	assert_int_equal(b->len, 0);
}

/* ---- another relay ---- */

static struct end *relay_in(const uint8_t mesh_key[32])
{
	struct warren_derp_client_info info = { .version = WARREN_DERP_VERSION,
						.has_mesh_key = true };
	uint8_t public_key[32], box[WARREN_DERP_INFO_TEXT + 40], wire[2 * sizeof(box)];
	struct warren_derp_frame frame = { .type = WARREN_DERP_CLIENT_INFO, .key = public_key,
					   .data = box };
	struct end *end = upgraded();
	struct warren_private key;
	char text[WARREN_DERP_INFO_TEXT];
	size_t n;

	memcpy(info.mesh_key, mesh_key, 32);
	n = warren_derp_client_info_text(&info, text);
	warren_private_new(&key);
	warren_private_public(&key, public_key);
	assert_int_equal(warren_private_seal(&key, relay.public_key, (uint8_t *)text, n, box), 0);
	frame.len = n + 40;
	send_all(end, wire, warren_derp_put(&frame, wire, sizeof(wire)));
	send_hex(end, "1000000000");		/* WatchConns */
	return end;
}

static void expect_present(struct end *end, const char *who, uint8_t flags)
{
	struct warren_derp_frame frame = expect(end, WARREN_DERP_PEER_PRESENT);
	uint8_t key[32];

	assert_int_equal(hex_decode(key, 32, who), 0);
	assert_memory_equal(frame.key, key, 32);
	assert_int_equal(frame.flags, flags);
}

static void hand_over(struct end *end, const char *from, const char *to, const char *data)
{
	uint8_t keys[2][32], wire[256];
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_FORWARD_PACKET, .key = keys[0], .to = keys[1],
		.data = (const uint8_t *)data, .len = strlen(data),
	};

	assert_int_equal(hex_decode(keys[0], 32, from), 0);
	assert_int_equal(hex_decode(keys[1], 32, to), 0);
	send_all(end, wire, warren_derp_put(&frame, wire, sizeof(wire)));
}

static void another_relay(void **state)
{
	struct end *a, *other, *b;

	(void)state;
	relay.mesh = true;
	memset(relay.mesh_key, 7, sizeof(relay.mesh_key));
	assert_int_equal(relay_judge(&relay, ctx, only_a, NULL, NULL, NULL), 0);
	a = logged_in(login_a);
	other = relay_in(relay.mesh_key);	/* nobody judges it */
	expect(other, WARREN_DERP_SERVER_INFO);
	expect_present(other, a_public, WARREN_DERP_PEER_REGULAR);
	assert_int_equal(expect(other, WARREN_DERP_PEER_PRESENT).flags, WARREN_DERP_PEER_MESH);
	relay.judge = everybody;
	b = logged_in(login_b);
	expect_present(other, b_public, WARREN_DERP_PEER_REGULAR);
	hand_over(other, d_public, a_public, "from afar");
	expect_packet(a, d_public, "from afar");
	hand_over(other, a_public, d_public, "for nobody");	/* comes to nobody, nor back */
	hang_up(b, 2);
	expect_gone(other, b_public, WARREN_DERP_GONE_DISCONNECTED);
	send_hex(other, "1100000020"		/* ClosePeer */
		 "7053e3da431c2a0add5990c1aad928c2137c0ca5a3541be4ff8823cbf79b3872");
	expect_closed(a);
	expect_gone(other, a_public, WARREN_DERP_GONE_DISCONNECTED);
	assert_int_equal(other->len, 0);
}

static void a_relay_of_another_mesh(void **state)
{
	static const uint8_t guess[32] = { 1 };
	struct end *end;

	(void)state;
	memset(relay.mesh_key, 7, sizeof(relay.mesh_key));
	relay.mesh = true;
	end = relay_in(guess);			/* a client as any other, that wants too much */
	expect(end, WARREN_DERP_SERVER_INFO);
	expect_closed(end);
	memset(relay.mesh_key, 0, sizeof(relay.mesh_key));
	relay.mesh = false;			/* without a key zeroes are none */
	end = relay_in(relay.mesh_key);
	expect(end, WARREN_DERP_SERVER_INFO);
	expect_closed(end);
}

/* What is sent while a client reads nothing: the oldest of each kind gives way. */
static void a_slow_reader(void **state)
{
	enum { N = 150, LEN = 32 << 10 };
	static uint8_t data[LEN];
	struct warren_derp_frame frame;
	struct end *a, *b;
	uint8_t handshake[148] = { 1 };
	uint32_t got = 0, last = 0, handshakes = 0;
	uint8_t newest = 0;

	(void)state;
	a = logged_in(login_a);
	b = logged_in(login_b);
	memset(data, 4, sizeof(data));
	for (uint32_t i = 0; i < N; i++) {
		memcpy(data + 4, &i, 4);
		send_to(a, b_public, data, sizeof(data));
		handshake[4] = (uint8_t)i;
		send_to(a, b_public, handshake, sizeof(handshake));
	}
	assert_int_equal(relay.n_clients, 2);
	assert_true(relay.queued >= RELAY_QUEUE * LEN);
	assert_true(relay.queued <= RELAY_QUEUE * (LEN + sizeof(handshake)));
	while (last != N - 1) {
		frame = expect(b, WARREN_DERP_RECV_PACKET);
		if (frame.len == sizeof(handshake)) {
			handshakes++;
			newest = frame.data[4];
			continue;
		}
		assert_int_equal(frame.len, LEN);
		assert_true(got == 0 || memcmp(frame.data + 4, &last, 4) != 0);
		memcpy(&last, frame.data + 4, 4);
		got++;
	}
	assert_true(got >= RELAY_QUEUE && got < N);
	assert_true(handshakes >= RELAY_QUEUE && handshakes < N);
	assert_int_equal(newest, N - 1);
	assert_int_equal(relay.queued, 0);
}

static void read_all(struct end *end)
{
	for (int quiet = 0; quiet < 3; quiet++) {
		parts_settle(engine);
		gather(end);
		if (end->len > 0)
			quiet = 0;
		end->len = 0;
	}
}

/*
 * Blocked is only what the stream tells the end of: with what is gathered beside it over the mark,
 * and gone before it is handed on, nothing would ever drain.
 */
static void a_reader_at_the_mark(void **state)
{
	enum { LEN = 1 << 10, BURST = 12 };
	static uint8_t data[LEN], from[32];
	struct relay_client *to;
	uint8_t key[32];
	struct end *b;

	(void)state;
	(void)logged_in(login_a);
	b = logged_in(login_b);
	read_all(b);
	assert_int_equal(hex_decode(key, 32, b_public), 0);
	to = relay_active(relay_find(&relay, key));
	for (size_t fill = RELAY_HIGH - BURST * LEN; fill <= RELAY_HIGH; fill += LEN) {
		while (warren_stream_pending(to->stream) < fill && !to->blocked) {
			relay_deliver(to, from, data, sizeof(data));
			parts_settle(engine);
		}
		for (int i = 0; i < BURST; i++)
			relay_deliver(to, from, data, sizeof(data));
		assert_true(!to->blocked || warren_stream_pending(to->stream) > RELAY_HIGH);
		read_all(b);
		assert_false(to->blocked);
		assert_int_equal(relay.queued, 0);
	}
}

static void over_the_rate(void **state)
{
	enum { LEN = 32 << 10 };
	static uint8_t data[LEN];
	struct relay_client *client;
	struct end *a;

	(void)state;
	relay.rate = 1;
	relay.burst = 128 << 10;
	a = logged_in(login_a);
	for (int i = 0; i < 3; i++)
		send_to(a, d_public, data, sizeof(data));
	client = list_first(&relay.clients, struct relay_client, all);
	for (int i = 0; i < 100 && client->received < 3; i++)
		parts_settle(engine);
	assert_int_equal(client->received, 3);
	assert_false(client->waiting);
	send_to(a, d_public, data, sizeof(data));
	for (int i = 0; i < 100 && !client->waiting; i++)
		parts_settle(engine);
	assert_true(client->waiting);
	assert_int_equal(client->received, 3);
}

static void what_http_answers(void **state)
{
	const char *head;

	(void)state;
	relay.clients_max = 0;
	head = head_of(connect_to_front("GET /derp HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_non_null(strstr(head, "HTTP/1.1 426 "));
	head = head_of(connect_to_front("GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n"));
	assert_non_null(strstr(head, "HTTP/1.1 200 "));
	assert_non_null(strstr(head, "Access-Control-Allow-Origin: *\r\n"));
	head = head_of(connect_to_front("GET /generate_204 HTTP/1.1\r\nHost: x\r\n"
					"X-Tailscale-Challenge: ts_a.b:1\r\n\r\n"));
	assert_non_null(strstr(head, "HTTP/1.1 204 "));
	assert_non_null(strstr(head, "X-Tailscale-Response: response ts_a.b:1\r\n"));
	head = head_of(connect_to_front("GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\n"
					"Connection: Upgrade\r\n\r\n"));
	assert_non_null(strstr(head, "HTTP/1.1 503 "));
}

static void what_a_verifier_says(void **state)
{
	static const struct { const char *text; int verdict; } said[] = {
		{ "{\"Allow\":true}", 0 }, { "{\"Allow\":false}", -EACCES },
		{ "{\"Allow\":1}", -EBADMSG }, { "{\"Allow\":\"true\"}", -EBADMSG },
		{ "{}", -EBADMSG }, { "true", -EBADMSG }, { "", -EBADMSG },
		{ "{\"Allow\":true}x", -EBADMSG }, { "{\"Allow\":false,\"Allow\":true}", -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		assert_int_equal(relay_verdict((const uint8_t *)said[i].text,
					       strlen(said[i].text)), said[i].verdict);
}

static void by_which_address(void **state)
{
	struct sockaddr_storage ss;
	struct warren_addrport at = { .addr = { .family = 4, .bytes = { 127, 0, 0, 1 } } }, seen;
	socklen_t len = addrport_to_sockaddr(&at, &ss);
	int server = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	uint8_t txid[WARREN_STUN_TXID] = { 1, 2, 3 }, got[WARREN_STUN_TXID];
	uint8_t out[WARREN_STUN_REQUEST], in[256];
	ssize_t n = -1;

	(void)state;
	assert_int_equal(bind(server, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(relay_stun_take(&relay, server), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	warren_stun_request(txid, out);
	assert_int_equal(send(fd, "no request", 10, 0), 10);
	assert_int_equal(send(fd, out, sizeof(out), 0), sizeof(out));
	for (int i = 0; i < 1000 && n == -1; i++) {
		parts_settle(engine);
		n = recv(fd, in, sizeof(in), 0);
	}
	assert_true(n > 0);
	assert_int_equal(warren_stun_answer_parse(in, (size_t)n, got, &seen), 0);
	assert_memory_equal(got, txid, sizeof(txid));
	len = sizeof(ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(addrport_from_sockaddr((struct sockaddr *)&ss, len, &at), 0);
	assert_int_equal(seen.port, at.port);
	assert_memory_equal(seen.addr.bytes, at.addr.bytes, 4);
	close(fd);
}

/* A place is for who logs in: the slowest of the others gives way, but not while it may be near. */
static void who_does_not_log_in(void **state)
{
	static const char asks[] = "GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\n"
				   "Connection: Upgrade\r\n\r\n";
	struct end *first;

	(void)state;
	logged_in(login_a);
	first = upgraded();
	upgraded();
	assert_int_equal(relay.n_clients, 3);
	relay.clients_max = 3;
	assert_non_null(strstr(head_of(connect_to_front(asks)), "HTTP/1.1 503 "));
	hang_up(&ends[3], 3);
	list_first(&relay.logins, struct relay_client, login)->since -= 3000000;
	assert_non_null(strstr(head_of(connect_to_front(asks)), "HTTP/1.1 101 "));
	expect_closed(first);
	assert_int_equal(relay.n_clients, 3);
	assert_int_equal(relay.n_peers, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(as_recorded, begin, finish),
		cmocka_unit_test_setup_teardown(without_an_answer, begin, finish),
		cmocka_unit_test_setup_teardown(nobody_here, begin, finish),
		cmocka_unit_test_setup_teardown(the_last_to_speak, begin, finish),
		cmocka_unit_test_setup_teardown(who_is_not_known, begin, finish),
		cmocka_unit_test_setup_teardown(what_ends_a_connection, begin, finish),
		cmocka_unit_test_setup_teardown(in_one_turn, begin, finish),
		cmocka_unit_test_setup_teardown(another_relay, begin, finish),
		cmocka_unit_test_setup_teardown(a_relay_of_another_mesh, begin, finish),
		cmocka_unit_test_setup_teardown(who_does_not_log_in, begin, finish),
		cmocka_unit_test_setup_teardown(a_slow_reader, begin, finish),
		cmocka_unit_test_setup_teardown(a_reader_at_the_mark, begin, finish),
		cmocka_unit_test_setup_teardown(over_the_rate, begin, finish),
		cmocka_unit_test_setup_teardown(what_http_answers, begin, finish),
		cmocka_unit_test_setup_teardown(by_which_address, begin, finish),
		cmocka_unit_test(what_a_verifier_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
