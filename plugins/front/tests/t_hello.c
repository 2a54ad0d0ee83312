/*
 * ClientHellos that OpenSSL made, whole, in pieces, in many records, and spoiled.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include <warren/plugin.h>

#include "../hello.h"

enum { ROOM = 32 << 10 };

/* What a client would send first. */
static size_t client_hello(const char *name, const char *alpn, uint8_t *out)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, in, to);
	if (name)
		SSL_set_tlsext_host_name(ssl, name);
	if (alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned int)strlen(alpn));
	SSL_set_connect_state(ssl);
	SSL_do_handshake(ssl);
	n = BIO_read(to, out, ROOM);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	assert_true(n > 0);
	return (size_t)n;
}

static void name_and_protocols(void **state)
{
	uint8_t data[ROOM];
	struct hello hello;
	size_t len;

	(void)state;
	len = client_hello("HQ.example.com", "\x02h2\x08http/1.1", data);
	assert_int_equal(hello_parse(data, len, &hello), 0);
	assert_string_equal(hello.server_name, "hq.example.com");
	assert_int_equal(hello.n_alpn, 2);
	assert_true(hello_offers(&hello, "h2"));
	assert_true(hello_offers(&hello, "http/1.1"));
	assert_false(hello_offers(&hello, "acme-tls/1"));

	len = client_hello(NULL, NULL, data);
	assert_int_equal(hello_parse(data, len, &hello), 0);
	assert_string_equal(hello.server_name, "");
	assert_int_equal(hello.n_alpn, 0);
}

static void in_any_pieces(void **state)
{
	uint8_t data[ROOM], split[ROOM];
	struct hello hello;
	size_t len, at = 0, payload;

	(void)state;
	len = client_hello("hq.example.com", "\x0a" "acme-tls/1", data);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(hello_parse(data, n, &hello), WARREN_PENDING);
	/* The same message, seven bytes to a record: RFC 8446 5.1. */
	payload = len - 5;
	for (size_t done = 0; done < payload; done += 7) {
		size_t n = payload - done < 7 ? payload - done : 7;
		const uint8_t head[5] = { 22, 3, 1, 0, (uint8_t)n };

		memcpy(split + at, head, 5);
		memcpy(split + at + 5, data + 5 + done, n);
		at += 5 + n;
	}
	assert_int_equal(hello_parse(split, at, &hello), 0);
	assert_string_equal(hello.server_name, "hq.example.com");
	assert_true(hello_offers(&hello, "acme-tls/1"));
}

static void what_is_no_hello(void **state)
{
	uint8_t data[ROOM];
	struct hello hello;
	size_t len;

	(void)state;
	assert_int_equal(hello_parse((const uint8_t *)"GET / HTTP/1.1\r\n", 16, &hello), -EPROTO);
	assert_int_equal(hello_parse((const uint8_t *)"\x15\x03\x01\0\x02\x02\x28", 7, &hello),
			 -EPROTO);
	len = client_hello("hq.example.com", NULL, data);
	data[5] = 2;			/* a ServerHello */
	assert_int_equal(hello_parse(data, len, &hello), -EPROTO);
	data[5] = 1;
	data[6] = 1;			/* 64 KiB and more */
	assert_int_equal(hello_parse(data, len, &hello), -EMSGSIZE);
}

/* Every single byte changed: an answer, and no step out of bounds (ASan watches). */
static void spoiled(void **state)
{
	uint8_t data[ROOM];
	struct hello hello;
	size_t len = client_hello("hq.example.com", "\x02h2", data);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			data[i] ^= (uint8_t)(1 << bit);
			assert_true(hello_parse(data, len, &hello) <= WARREN_PENDING);
			data[i] ^= (uint8_t)(1 << bit);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_and_protocols),
		cmocka_unit_test(in_any_pieces),
		cmocka_unit_test(what_is_no_hello),
		cmocka_unit_test(spoiled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
