/*
 * DERP frames: connections that the stock relay and its clients made, replayed for both readers in
 * pieces of any size and written again; the known answer of the login; and what a hostile other
 * side may send.
 */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <warren/derp.h>
#include <warren/service/identity.h>

#include "base/err.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/util.h"

enum { CONNS = 8, BYTES = 64 << 10 };

struct bytes_of {			/* one direction of a connection */
	uint8_t data[BYTES];
	size_t len;
};

struct recording {
	const char *name;
	json_t *keys;
	FILE *frames;
	struct bytes_of flow[CONNS][2];	/* c2s, s2c */
	size_t at[CONNS][2];		/* frames compared so far */
	struct warren_derp_reader reader[CONNS][2];
	uint8_t client[CONNS][32];	/* told by its ClientInfo */
	uint8_t server[32];
	uint32_t n_frames;
};

static FILE *open_data(const char *name, const char *what)
{
	const char *src = getenv("WARREN_SRCDIR");
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/tests/net/data/derp-%s.%s", src ? src : ".", name, what);
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s cannot be opened", path);
	return file;
}

static json_t *next_line(FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	json_t *o = NULL;

	if (getline(&line, &size, file) > 0)
		o = json_loads(line, 0, NULL);
	free(line);
	return o;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text ? text : "";
}

static size_t conn_of(const json_t *o)
{
	json_int_t n = json_integer_value(json_object_get(o, "conn"));

	assert_true(n > 0 && n < CONNS);
	return (size_t)n;
}

static size_t dir_of(const json_t *o)
{
	return strcmp(text_of(o, "dir"), "c2s") == 0 ? 0 : 1;
}

/* The bytes of each direction, without the HTTP head in front of them. */
static void load_flows(struct recording *rec)
{
	FILE *file = open_data(rec->name, "chunks.jsonl");
	json_t *o;

	while ((o = next_line(file))) {
		struct bytes_of *flow = &rec->flow[conn_of(o)][dir_of(o)];
		const char *hex = text_of(o, "hex");
		size_t n = strlen(hex) / 2;

		assert_true(n <= sizeof(flow->data) - flow->len);
		assert_true(n == 0 || hex_decode(flow->data + flow->len, n, hex) == 0);
		flow->len += n;
		json_decref(o);
	}
	fclose(file);
	for (size_t i = 1; i < CONNS; i++) {
		for (size_t d = 0; d < 2 && rec->flow[i][d].len > 0; d++) {
			uint8_t *head = rec->flow[i][d].data;
			uint8_t *end = memmem(head, rec->flow[i][d].len, "\r\n\r\n", 4);

			assert_non_null(end);
			rec->flow[i][d].len -= (size_t)(end + 4 - head);
			memmove(head, end + 4, rec->flow[i][d].len);
		}
	}
}

static const char *secret_of(const struct recording *rec, const uint8_t public_key[32])
{
	char text[WARREN_KEYTEXT_MAX];
	const char *name;
	json_t *node;

	warren_keytext_format(WARREN_KEYTEXT_NODE, public_key, text);
	json_object_foreach(json_object_get(rec->keys, "nodes"), name, node) {
		if (strcmp(text_of(node, "node_public"), text) == 0)
			return text_of(node, "node_private");
	}
	fail_msg("no key for %s", text);
	return NULL;
}

static void begin_recording(struct recording *rec, const char *name)
{
	FILE *file = open_data(name, "keys.json");
	struct warren_private server;

	memset(rec, 0, sizeof(*rec));
	rec->name = name;
	rec->keys = json_loadf(file, 0, NULL);
	fclose(file);
	assert_int_equal(warren_private_parse(text_of(rec->keys, "server_private"), &server, NULL),
			 0);
	warren_private_public(&server, rec->server);
	load_flows(rec);
	rec->frames = open_data(name, "frames.jsonl");
	for (size_t i = 0; i < CONNS; i++) {
		rec->reader[i][0].side = WARREN_DERP_SERVER;
		rec->reader[i][1].side = WARREN_DERP_CLIENT;
	}
}

static void end_recording(struct recording *rec)
{
	fclose(rec->frames);
	json_decref(rec->keys);
}

/* The box of a login, opened by whom it is for, and by us with the other private key. */
static void check_box(struct recording *rec, const struct warren_derp_frame *frame,
		      const char *plain, size_t conn)
{
	bool from_client = frame->type == WARREN_DERP_CLIENT_INFO;
	struct warren_private server, client;
	uint8_t text[1024], key[32];
	size_t len = frame->len - WARREN_BOX_OVERHEAD;

	if (from_client)
		memcpy(rec->client[conn], frame->key, 32);
	warren_private_parse(text_of(rec->keys, "server_private"), &server, NULL);
	warren_private_parse(secret_of(rec, rec->client[conn]), &client, NULL);
	warren_private_public(from_client ? &client : &server, key);
	assert_true(len < sizeof(text));
	assert_int_equal(warren_private_open(from_client ? &server : &client, key, frame->data,
					     frame->len, text), 0);
	assert_int_equal(len, strlen(plain));
	assert_memory_equal(text, plain, len);
	if (from_client) {
		struct warren_derp_client_info info;
		char again[WARREN_DERP_INFO_TEXT];

		assert_int_equal(warren_derp_client_info_parse(text, len, &info, NULL), 0);
		assert_int_equal(info.version, 2);
		assert_int_equal(warren_derp_client_info_text(&info, again), len);
		assert_string_equal(again, plain);
	} else {
		struct warren_derp_server_info info;

		assert_int_equal(warren_derp_server_info_parse(text, len, &info, NULL), 0);
		assert_int_equal(info.version, 2);
		assert_int_equal(info.bytes_per_second, 0);
	}
}

/* The next frame of a direction, given @step bytes more at a time. */
static void check_frame(struct recording *rec, const json_t *o, size_t step)
{
	size_t conn = conn_of(o), dir = dir_of(o), used, wire, n = 0;
	struct bytes_of *flow = &rec->flow[conn][dir];
	const uint8_t *data = flow->data + rec->at[conn][dir];
	size_t left = flow->len - rec->at[conn][dir];
	struct warren_derp_frame frame;
	uint8_t again[WARREN_DERP_FRAME_MAX], expected[1024];
	int result = WARREN_PENDING;

	while (result == WARREN_PENDING && n < left) {
		n = step < left - n ? n + step : left;
		result = warren_derp_read(&rec->reader[conn][dir], data, n, &used, &frame, NULL);
		assert_true(result == 0 || used == 0);
	}
	assert_int_equal(result, 0);
	assert_int_equal(frame.type, json_integer_value(json_object_get(o, "type")));
	assert_string_equal(warren_derp_name(frame.type), text_of(o, "frame"));
	wire = strlen(text_of(o, "hex")) / 2;
	assert_int_equal(used, wire);
	assert_true(wire <= sizeof(expected));
	assert_int_equal(hex_decode(expected, wire, text_of(o, "hex")), 0);
	assert_int_equal(warren_derp_put(&frame, again, sizeof(again)), wire);
	assert_memory_equal(again, expected, wire);
	assert_int_equal(warren_derp_put(&frame, again, wire - 1), 0);
	if (frame.type == WARREN_DERP_SERVER_KEY)
		assert_memory_equal(frame.key, rec->server, 32);
	if (json_object_get(o, "plain"))
		check_box(rec, &frame, text_of(o, "plain"), conn);
	rec->at[conn][dir] += wire;
	rec->n_frames++;
}

static void replay(const char *name, size_t step, uint32_t frames)
{
	static struct recording rec;
	json_t *o;

	begin_recording(&rec, name);
	while ((o = next_line(rec.frames))) {
		if (json_object_get(o, "frame"))
			check_frame(&rec, o, step);
		json_decref(o);
	}
	assert_int_equal(rec.n_frames, frames);
	for (size_t i = 1; i < CONNS; i++) {
		for (size_t d = 0; d < 2; d++) {
			assert_int_equal(rec.at[i][d], rec.flow[i][d].len);
			assert_int_equal(rec.reader[i][d].unknown, 0);
			assert_int_equal(rec.reader[i][d].malformed, 0);
		}
	}
	end_recording(&rec);
}

static void recorded_connections(void **state)
{
	(void)state;
	for (size_t step = 1; step < 200; step += 13) {
		replay("scripted", step, 45);
		replay("stock-nodes", step, 13);
	}
}

/* Appendix A: private keys of one value, a nonce that counts. */
static void the_known_login(void **state)
{
	static const char wire[] =
		"0200000068"
		"7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
		"000102030405060708090a0b0c0d0e0f1011121314151617"
		"a858a062bb55fbd0e565bf952225b5e220ae6ff32ce093a7548f0f9efd7331db"
		"8b94711fe4546f1ed0d738121d94abe3";
	struct warren_derp_client_info info = { .version = 2, .can_ack_pings = true };
	struct warren_derp_reader reader = { .side = WARREN_DERP_SERVER };
	struct warren_derp_frame frame;
	struct warren_private client, server;
	uint8_t data[sizeof(wire) / 2], key[32], plain[128], again[256];
	char text[WARREN_DERP_INFO_TEXT];
	size_t used, n;

	(void)state;
	memset(client.secret, 0x11, 32);
	memset(server.secret, 0x22, 32);
	assert_int_equal(hex_decode(data, sizeof(data), wire), 0);
	assert_int_equal(warren_derp_read(&reader, data, sizeof(data), &used, &frame, NULL), 0);
	assert_int_equal(frame.type, WARREN_DERP_CLIENT_INFO);
	warren_private_public(&client, key);
	assert_memory_equal(frame.key, key, 32);
	assert_int_equal(warren_private_open(&server, key, frame.data, frame.len, plain), 0);
	n = warren_derp_client_info_text(&info, text);
	assert_string_equal(text, "{\"version\":2,\"CanAckPings\":true}");
	assert_int_equal(n + WARREN_BOX_OVERHEAD, frame.len);
	assert_memory_equal(plain, text, n);
	assert_int_equal(warren_derp_put(&frame, again, sizeof(again)), sizeof(data));
	assert_memory_equal(again, data, sizeof(data));

	/* What we seal ourselves opens on the other side; a bit more or less does not. */
	warren_private_public(&server, key);
	assert_int_equal(warren_private_seal(&client, key, (uint8_t *)text, n, again), 0);
	warren_private_public(&client, key);
	assert_int_equal(warren_private_open(&server, key, again, n + WARREN_BOX_OVERHEAD, plain),
			 0);
	assert_memory_equal(plain, text, n);
	again[30] ^= 1;
	assert_int_equal(warren_private_open(&server, key, again, n + WARREN_BOX_OVERHEAD, plain),
			 -EBADMSG);
	assert_int_equal(warren_private_open(&server, key, again, WARREN_BOX_OVERHEAD - 1, plain),
			 -EBADMSG);
}

/* A frame of zeros but for @type; returns its length. */
static size_t blank(uint8_t *out, uint8_t type, uint32_t len)
{
	memset(out, 0, WARREN_DERP_HEADER + (size_t)len);
	out[0] = type;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
	return WARREN_DERP_HEADER + (size_t)len;
}

static void a_client_passes_over(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t len;
		uint32_t unknown, malformed;
	} frames[] = {
		{ 0x7f, 0, 1, 0 }, { 0x00, 70000, 1, 0 }, { 0xff, 1 << 20, 1, 0 },
		{ WARREN_DERP_SEND_PACKET, 40, 1, 0 },	/* clients do not get these */
		{ WARREN_DERP_RECV_PACKET, 31, 0, 1 },
		{ WARREN_DERP_RECV_PACKET, 32 + WARREN_DERP_PACKET_MAX + 1, 0, 1 },
		{ WARREN_DERP_PEER_GONE, 31, 0, 1 }, { WARREN_DERP_PING, 7, 0, 1 },
		{ WARREN_DERP_RESTARTING, 7, 0, 1 }, { WARREN_DERP_SERVER_KEY, 40, 0, 1 },
	};
	static uint8_t data[3 << 20];
	size_t len = 0, at = 0, most = 0;
	uint32_t unknown = 0, malformed = 0;
	struct warren_derp_reader reader = { .side = WARREN_DERP_CLIENT };
	struct warren_derp_frame frame;
	int result;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		len += blank(data + len, frames[i].type, frames[i].len);
		unknown += frames[i].unknown;
		malformed += frames[i].malformed;
	}
	len += blank(data + len, WARREN_DERP_PING, 100);
	/* Never more than one frame that counts is kept. */
	do {
		size_t n = len - at < 1000 ? len - at : 1000, used;

		result = warren_derp_read(&reader, data + at, n, &used, &frame, NULL);
		at += used;
		most = n - used > most ? n - used : most;
	} while (result == WARREN_PENDING && at < len);
	assert_int_equal(result, 0);
	assert_int_equal(at, len);
	assert_int_equal(frame.type, WARREN_DERP_PING);
	assert_int_equal(frame.len, 8);
	assert_true(most < 200);
	assert_int_equal(reader.unknown, unknown);
	assert_int_equal(reader.malformed, malformed);
}

static void refused(enum warren_derp_side side, uint8_t type, uint32_t len, int expected,
		    const char *why)
{
	static uint8_t data[WARREN_DERP_FRAME_MAX];
	struct warren_derp_reader reader = { .side = side };
	struct warren_derp_frame frame;
	struct warren_err err = ERR_INIT;
	size_t used;

	blank(data, type, 0);
	data[1] = (uint8_t)(len >> 24);
	data[2] = (uint8_t)(len >> 16);
	data[3] = (uint8_t)(len >> 8);
	data[4] = (uint8_t)len;
	/* By the header alone. */
	assert_int_equal(warren_derp_read(&reader, data, WARREN_DERP_HEADER, &used, &frame, &err),
			 expected);
	assert_string_equal(err_first(&err), why);
	err_free(&err);
}

static void what_ends_a_connection(void **state)
{
	(void)state;
	refused(WARREN_DERP_CLIENT, WARREN_DERP_RECV_PACKET, (1 << 20) + 1, -EMSGSIZE,
		"the other side announced a frame of 1048577 bytes, type 0x05: longer than any "
		"frame of DERP");
	refused(WARREN_DERP_SERVER, 0x7f, UINT32_MAX, -EMSGSIZE, "the other side announced a frame "
		"of 4294967295 bytes, type 0x7f: longer than any frame of DERP");
	refused(WARREN_DERP_SERVER, WARREN_DERP_SEND_PACKET, 31, -EBADMSG,
		"a SendPacket frame of 31 bytes: 32 to 65568 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_SEND_PACKET, 65569, -EMSGSIZE,
		"a SendPacket frame of 65569 bytes: 32 to 65568 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_NOTE_PREFERRED, 2, -EMSGSIZE,
		"a NotePreferred frame of 2 bytes: 1 to 1 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_CLIENT_INFO, 71, -EBADMSG,
		"a ClientInfo frame of 71 bytes: 72 to 16456 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_PING, 1001, -EMSGSIZE,
		"a Ping frame of 1001 bytes: 8 to 1000 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_CLOSE_PEER, 33, -EMSGSIZE,
		"a ClosePeer frame of 33 bytes: 32 to 32 are possible");
	refused(WARREN_DERP_SERVER, WARREN_DERP_WATCH_CONNS, 1, -EMSGSIZE,
		"a WatchConns frame of 1 bytes: 0 to 0 are possible");
}

static void read_one(const char *hex, struct warren_derp_frame *frame)
{
	static uint8_t data[256];
	struct warren_derp_reader reader = { .side = WARREN_DERP_CLIENT };
	size_t used, n = strlen(hex) / 2;

	assert_int_equal(hex_decode(data, n, hex), 0);
	assert_int_equal(warren_derp_read(&reader, data, n, &used, frame, NULL), 0);
	assert_int_equal(used, n);
}

#define KEY "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"

/* What the recorded server never sends. */
static void frames_of_other_versions(void **state)
{
	static const uint8_t v4[] = { 192, 0, 2, 7 };
	struct warren_derp_frame frame;

	(void)state;
	read_one("0800000020" KEY, &frame);
	assert_int_equal(frame.reason, WARREN_DERP_GONE_DISCONNECTED);
	read_one("0800000022" KEY "01ff", &frame);
	assert_int_equal(frame.reason, WARREN_DERP_GONE_NOT_HERE);
	read_one("0900000020" KEY, &frame);
	assert_int_equal(frame.address.addr.family, 0);
	read_one("0900000032" KEY "00000000000000000000ffffc00002071234", &frame);
	assert_int_equal(frame.address.addr.family, 4);
	assert_memory_equal(frame.address.addr.bytes, v4, 4);
	assert_int_equal(frame.address.port, 0x1234);
	assert_int_equal(frame.flags, 0);
	read_one("0900000034" KEY "20010db80000000000000000000000011234" "0aff", &frame);
	assert_int_equal(frame.address.addr.family, 6);
	assert_int_equal(frame.flags, WARREN_DERP_PEER_MESH | WARREN_DERP_PEER_NOT_IDEAL);
	read_one("1400000000", &frame);
	assert_int_equal(frame.len, 0);
	read_one("14000000057765616b21", &frame);
	assert_memory_equal(frame.data, "weak!", 5);
	read_one("15000000090000006400002710ff", &frame);
	assert_int_equal(frame.reconnect_in, 100000);
	assert_int_equal(frame.try_for, 10000000);
	read_one("0100000029" "44455250f09f9491" KEY "00", &frame);
	assert_non_null(frame.key);
}

static void what_cannot_be_written(void **state)
{
	static const uint8_t key[32], data[WARREN_DERP_PACKET_MAX + 1];
	const struct warren_derp_frame frames[] = {
		{ .type = 0 }, { .type = 0x7f }, { .type = WARREN_DERP_SEND_PACKET },
		{ .type = WARREN_DERP_FORWARD_PACKET, .key = key },
		{ .type = WARREN_DERP_SEND_PACKET, .key = key, .data = data, .len = sizeof(data) },
		{ .type = WARREN_DERP_PING, .data = data, .len = 7 },
		{ .type = WARREN_DERP_PONG, .data = data, .len = 9 },
		{ .type = WARREN_DERP_CLIENT_INFO, .key = key, .data = data, .len = 39 },
		{ .type = WARREN_DERP_KEEP_ALIVE, .data = data, .len = 1 },
	};
	struct warren_derp_frame most = { .type = WARREN_DERP_FORWARD_PACKET, .key = key,
					  .to = key, .data = data,
					  .len = WARREN_DERP_PACKET_MAX };
	static uint8_t out[2 * WARREN_DERP_FRAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		assert_int_equal(warren_derp_put(&frames[i], out, sizeof(out)), 0);
	assert_int_equal(warren_derp_put(&most, out, sizeof(out)), WARREN_DERP_FRAME_MAX);
}

static int parse_client(const char *text, struct warren_derp_client_info *info)
{
	return warren_derp_client_info_parse((const uint8_t *)text, strlen(text), info, NULL);
}

#define HALF_MESH "ab12ab12ab12ab12ab12ab12ab12ab12"
#define MESH HALF_MESH HALF_MESH

static void texts_of_the_login(void **state)
{
	struct warren_derp_client_info info = { .version = 2, .prober = true, .has_mesh_key = true,
						.app_name = "a \"b\"" };
	struct warren_derp_server_info server = { .version = 2, .bytes_per_second = 1000,
						  .burst = 65568 };
	char out[WARREN_DERP_INFO_TEXT], deep[2 * 3000 + 1];
	static const char *const wrong[] = {
		"", "[]", "{", "{\"version\":\"2\"}", "{\"version\":-1}", "{\"version\":2.5}",
		"{\"CanAckPings\":1}", "{\"meshKey\":\"\"}", "{\"meshKey\":\"<none>\"}",
		"{\"meshkey\":5}", "{\"AppName\":1}", "{\"IsProber\":\"no\"}",
		"{\"meshKey\":\"" HALF_MESH "\"}",
	};

	(void)state;
	hex_decode(info.mesh_key, 32, MESH);
	warren_derp_client_info_text(&info, out);
	assert_string_equal(out, "{\"meshKey\":\"" MESH "\",\"version\":2,\"CanAckPings\":false,"
			    "\"IsProber\":true,\"AppName\":\"a \\\"b\\\"\"}");
	memset(info.app_name, 1, sizeof(info.app_name) - 1);	/* the longest there is */
	info.app_name[sizeof(info.app_name) - 1] = '\0';
	info.version = UINT32_MAX;
	assert_true(warren_derp_client_info_text(&info, out) > 500);
	assert_int_equal(parse_client(out, &info), 0);
	assert_int_equal(info.app_name[62], 1);

	assert_int_equal(parse_client("{\"VERSION\":3,\"canackpings\":true,\"new\":{},"
				      "\"meshKey\":null}", &info), 0);
	assert_int_equal(info.version, 3);
	assert_true(info.can_ack_pings && !info.has_mesh_key && !info.prober);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(parse_client(wrong[i], &info), -EBADMSG);
	memset(deep, '[', 3000);
	memset(deep + 3000, ']', 3000);
	deep[6000] = '\0';
	assert_int_equal(parse_client(deep, &info), -EBADMSG);

	warren_derp_server_info_text(&server, out);
	assert_string_equal(out, "{\"version\":2,\"TokenBucketBytesPerSecond\":1000,"
			    "\"TokenBucketBytesBurst\":65568}");
	assert_int_equal(warren_derp_server_info_parse((uint8_t *)out, strlen(out), &server, NULL),
			 0);
	assert_int_equal(server.bytes_per_second, 1000);
	assert_int_equal(server.burst, 65568);
	assert_int_equal(warren_derp_server_info_parse((const uint8_t *)"{}", 2, &server, NULL), 0);
	assert_int_equal(server.bytes_per_second, 0);
}

static int begin(void **state)
{
	(void)state;
	return sodium_init() == -1 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_connections),
		cmocka_unit_test(the_known_login),
		cmocka_unit_test(a_client_passes_over),
		cmocka_unit_test(what_ends_a_connection),
		cmocka_unit_test(frames_of_other_versions),
		cmocka_unit_test(what_cannot_be_written),
		cmocka_unit_test(texts_of_the_login),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
