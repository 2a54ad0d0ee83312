/*
 * Disco messages: the known answers of the reference's appendix A, messages that stock nodes
 * exchanged (data/disco-first-contact.jsonl), and what a strange or hostile sender may try.
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

#include <warren/disco.h>
#include <warren/net.h>

#include "base/addr.h"
#include "base/hex.h"

#define TXID "0102030405060708090a0b0c"
#define N "0001020000000000000000000000000000000000000000000000000000001e1f"
#define K1 "0001020300000000000000000000000000000000000000000000000000001e1f"
#define K2 "0001020004000000000000000000000000000000000000000000000000001e1f"
#define CHALLENGE "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define TWO "00000000000000000000ffff01020304" "0237" "20010000000000000000000000003456" "0315"

static uint8_t bytes[2048];

static size_t unhex(const char *hex)
{
	size_t len = strlen(hex) / 2;

	assert_true(len <= sizeof(bytes));
	assert_int_equal(hex_decode(bytes, len, hex), 0);
	return len;
}

/* Of @hex; it must come out the same when written again. */
static struct warren_disco parsed(const char *hex)
{
	struct warren_disco msg;
	uint8_t again[sizeof(bytes)];
	size_t len = unhex(hex);

	assert_int_equal(warren_disco_parse(bytes, len, &msg), 0);
	assert_int_equal(warren_disco_format(&msg, again, sizeof(again)), len);
	assert_memory_equal(again, bytes, len);
	assert_int_equal(warren_disco_format(&msg, again, len - 1), -ENOBUFS);
	return msg;
}

static void refused(const char *hex, int result)
{
	struct warren_disco msg;

	assert_int_equal(warren_disco_parse(bytes, unhex(hex), &msg), result);
}

static void assert_address(const struct warren_addrport *ap, const char *text)
{
	char got[ADDRPORT_TEXT];

	assert_string_equal(addrport_format(ap, got), text);
}

static void assert_two(const struct warren_disco *msg)
{
	assert_int_equal(msg->n_addrs, 2);
	assert_int_equal(msg->n_ignored, 0);
	assert_address(&msg->addrs[0], "1.2.3.4:567");
	assert_address(&msg->addrs[1], "[2001::3456]:789");
}

static void test_ping_and_pong(void **state)
{
	struct warren_disco msg = parsed("0100" TXID);

	(void)state;
	assert_int_equal(msg.type, WARREN_DISCO_PING);
	assert_int_equal(msg.txid[11], 12);
	assert_false(msg.has_node_key);
	msg = parsed("0100" TXID N);
	assert_true(msg.has_node_key);
	assert_int_equal(msg.node_key[31], 0x1f);
	assert_int_equal(msg.padding, 0);
	msg = parsed("0100" TXID "000000");
	assert_false(msg.has_node_key);
	assert_int_equal(msg.padding, 3);
	msg = parsed("0100" TXID N "0000");
	assert_int_equal(msg.padding, 2);
	msg = parsed("0200" TXID "00000000000000000000ffff02030405" "04d2");
	assert_address(&msg.seen, "2.3.4.5:1234");
	msg = parsed("0200" TXID "fed00000000000000000000000000012" "1a0a");
	assert_address(&msg.seen, "[fed0::12]:6666");
}

static void test_call_me_maybe(void **state)
{
	char long_list[4 + 20 * 36 + 1] = "0300";
	struct warren_disco msg = parsed("0300");

	(void)state;
	assert_int_equal(msg.n_addrs, 0);
	msg = parsed("0300" TWO);
	assert_two(&msg);
	/* A list that cannot be one is an empty one, and no error. */
	assert_int_equal(warren_disco_parse(bytes, unhex("0300" TWO "00"), &msg), 0);
	assert_int_equal(msg.n_addrs, 0);
	assert_int_equal(warren_disco_parse(bytes, unhex("0301" TWO), &msg), 0);
	assert_int_equal(msg.n_addrs, 0);
	assert_int_equal(msg.type, WARREN_DISCO_CALL_ME_MAYBE);
	for (int i = 0; i < 20; i++)
		memcpy(long_list + 4 + i * 36, "00000000000000000000ffff01020304" "0237", 37);
	assert_int_equal(warren_disco_parse(bytes, unhex(long_list), &msg), 0);
	assert_int_equal(msg.n_addrs, WARREN_DISCO_ADDRESSES);
	assert_int_equal(msg.n_ignored, 4);
}

static void test_peer_relay(void **state)
{
	static const char relay[] = N K1 K2 "000000000000007b" "000001c8" "000000003b9aca00"
				    "0000000df8475800" TWO;
	char hex[1024];
	struct warren_disco msg;

	(void)state;
	for (int type = 4; type <= 6; type++) {
		snprintf(hex, sizeof(hex), "0%d00" "00000001" "00000002" N CHALLENGE, type);
		msg = parsed(hex);
		assert_int_equal(msg.type, type);
		assert_int_equal(msg.binding.vni, 1);
		assert_int_equal(msg.binding.generation, 2);
		assert_int_equal(msg.binding.challenge[31], 0x1f);
	}
	msg = parsed("0800" K1 K2 "00000001");
	assert_int_equal(msg.generation, 1);
	assert_int_equal(msg.clients[0][3], 3);
	assert_int_equal(msg.clients[1][4], 4);
	snprintf(hex, sizeof(hex), "0700%s", relay);
	msg = parsed(hex);
	assert_two(&msg);
	assert_int_equal(msg.relay.lamport, 123);
	assert_int_equal(msg.relay.vni, 456);
	assert_int_equal(msg.relay.bind_usec, 1000000);
	assert_int_equal(msg.relay.steady_usec, 60000000);
	snprintf(hex, sizeof(hex), "090000000001%s", relay);
	msg = parsed(hex);
	assert_two(&msg);
	assert_int_equal(msg.generation, 1);
	/* Of another version: known to have come, but without content. */
	memcpy(hex, "0701", 4);
	assert_int_equal(warren_disco_parse(bytes, unhex(hex), &msg), 0);
	assert_int_equal(warren_disco_parse(bytes, unhex("0701"), &msg), 0);
	assert_true(msg.empty);
	assert_int_equal(msg.n_addrs, 0);
}

static void test_lifetimes_are_bounded(void **state)
{
	char hex[1024];
	struct warren_disco msg;

	(void)state;
	snprintf(hex, sizeof(hex), "0700" N K1 K2 "000000000000007b" "000001c8"
		 "7fffffffffffffff" "8000000000000000" TWO);
	assert_int_equal(warren_disco_parse(bytes, unhex(hex), &msg), 0);
	assert_int_equal(msg.relay.bind_usec, UINT64_C(86400000000));
	assert_int_equal(msg.relay.steady_usec, 0);
}

static void test_refused(void **state)
{
	(void)state;
	refused("", -EBADMSG);
	refused("01", -EBADMSG);
	refused("00000000", -ENOMSG);
	refused("0a00" TXID, -ENOMSG);
	refused("0a01" TXID, -ENOMSG);
	refused("0100" "01020304", -EBADMSG);
	refused("0200" TXID "00000000000000000000ffff02030405" "04", -EBADMSG);
	refused("0500" "00000001" "00000002" N "0001", -EBADMSG);
	refused("0500" "01000000" "00000002" N CHALLENGE, -EBADMSG); /* 25 bits of VNI */
	refused("0700" N K1 K2 "000000000000007b" "000001c8" "000000003b9aca00"
		"0000000df8475800", -EBADMSG);
	refused("0700" N K1 K2 "000000000000007b" "000001c8" "000000003b9aca00"
		"0000000df8475800" TWO "00", -EBADMSG);
}

static void test_later_bytes_are_allowed(void **state)
{
	struct warren_disco msg;

	(void)state;
	assert_int_equal(warren_disco_parse(bytes, unhex("0107" TXID N "ff"), &msg), 0);
	assert_true(msg.has_node_key);
	assert_int_equal(warren_disco_parse(bytes, unhex("0200" TXID "00000000000000000000ffff"
						      "02030405" "04d2" "aabb"), &msg), 0);
	assert_address(&msg.seen, "2.3.4.5:1234");
}

static void test_relay_address(void **state)
{
	struct warren_addrport ap = warren_disco_relay_address(900);

	(void)state;
	assert_address(&ap, "127.3.3.40:900");
	assert_int_equal(warren_disco_relay_region(&ap), 900);
	ap.addr.bytes[3] = 41;
	assert_int_equal(warren_disco_relay_region(&ap), 0);
}

/* Appendix A: the whole envelope, as libsodium makes it from given keys and nonce. */
static void test_envelope(void **state)
{
	static const char known[] =
		"5453f09f92ac7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
		"000102030405060708090a0b0c0d0e0f1011121314151617"
		"93efd0d78eccaab722b566ed92b232c65a8c18945d97ffce3da53ca6da5d09f4754eac0b4a79c51c"
		"01d5011b0f6f2dc6df9e2a79d87e2f3f0987ec311c39";
	uint8_t client[32], server[32], public[32], server_public[32], nonce[24], made[256];
	struct warren_disco ping = { .type = WARREN_DISCO_PING, .has_node_key = true };
	uint8_t plain[64];
	int len;

	(void)state;
	memset(client, 0x11, 32);
	memset(server, 0x22, 32);
	assert_int_equal(crypto_scalarmult_base(public, client), 0);
	assert_int_equal(crypto_scalarmult_base(server_public, server), 0);
	for (uint8_t i = 0; i < 24; i++)
		nonce[i] = i;
	for (uint8_t i = 0; i < 12; i++)
		ping.txid[i] = i + 1;
	memcpy(ping.node_key, public, 32);
	len = warren_disco_format(&ping, plain, sizeof(plain));
	assert_int_equal(len, 46);
	warren_disco_head(public, made);
	memcpy(made + WARREN_DISCO_HEAD, nonce, sizeof(nonce));
	assert_int_equal(crypto_box_easy(made + WARREN_DISCO_HEAD + 24, plain, (size_t)len, nonce,
					 server_public, client), 0);
	assert_int_equal(unhex(known), WARREN_DISCO_OVERHEAD + len);
	assert_memory_equal(made, bytes, WARREN_DISCO_OVERHEAD + len);
	assert_memory_equal(warren_disco_sender(made, (size_t)(WARREN_DISCO_OVERHEAD + len)),
			    public, 32);
	assert_null(warren_disco_sender(made, WARREN_DISCO_OVERHEAD + 1));
	made[0] ^= 1;
	assert_null(warren_disco_sender(made, sizeof(made)));
}

/*
 * ---- What stock nodes said ----
 */

static const char *field(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	assert_non_null(text);
	return text;
}

static void check_recorded(const json_t *nodes, const json_t *line)
{
	const json_t *receiver = json_object_get(nodes, field(line, "opened_with_key_of"));
	uint8_t private[32], plain[sizeof(bytes)], sender[32], want[sizeof(bytes)];
	size_t len = unhex(field(line, "hex")), plain_len = len - WARREN_DISCO_OVERHEAD;
	const uint8_t *from = warren_disco_sender(bytes, len), *box = bytes + WARREN_DISCO_HEAD;
	char key[WARREN_KEYTEXT_MAX];
	struct warren_disco msg;

	assert_non_null(from);
	assert_string_equal(warren_keytext_format(WARREN_KEYTEXT_DISCO, from, key),
			    field(line, "sender"));
	memcpy(sender, from, 32);
	assert_int_equal(hex_decode(private, 32, field(receiver, "private")), 0);
	assert_int_equal(crypto_box_open_easy(plain, box + 24, plain_len + 16, box, sender,
					      private), 0);
	assert_int_equal(strlen(field(line, "plain_hex")), 2 * plain_len);
	assert_int_equal(hex_decode(want, plain_len, field(line, "plain_hex")), 0);
	assert_memory_equal(plain, want, plain_len);
	msg = parsed(field(line, "plain_hex"));
	if (strcmp(field(line, "message"), "Ping") == 0) {
		assert_int_equal(msg.type, WARREN_DISCO_PING);
		assert_true(msg.has_node_key);
		assert_string_equal(warren_keytext_format(WARREN_KEYTEXT_NODE, msg.node_key, key),
				    field(line, "node_key"));
	} else {
		assert_string_equal(field(line, "message"), "Pong");
		assert_int_equal(msg.type, WARREN_DISCO_PONG);
		assert_address(&msg.seen, field(line, "src"));
	}
}

static void test_recorded(void **state)
{
	const char *src = getenv("WARREN_SRCDIR");
	json_t *line, *nodes = NULL;
	char path[4096];
	int count = 0;
	FILE *file;

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/net/data/disco-first-contact.jsonl",
		 src ? src : ".");
	file = fopen(path, "re");
	assert_non_null(file);
	while ((line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
		if (!nodes) {
			nodes = json_incref(json_object_get(line, "nodes"));
			assert_non_null(nodes);
		} else if (strcmp(field(line, "kind"), "disco") == 0) {
			check_recorded(nodes, line);
			count++;
		}
		json_decref(line);
	}
	json_decref(nodes);
	fclose(file);
	assert_true(count >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ping_and_pong),
		cmocka_unit_test(test_call_me_maybe),
		cmocka_unit_test(test_peer_relay),
		cmocka_unit_test(test_lifetimes_are_bounded),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_later_bytes_are_allowed),
		cmocka_unit_test(test_relay_address),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_recorded),
	};

	if (sodium_init() == -1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
