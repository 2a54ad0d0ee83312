/*
 * Steering: what the hooks take out of the path and write to the namespace's queue, and where the
 * packets of the namespace go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "steer.h"

enum { TCP = 6, UDP = 17, ICMP = 1, ROOM = 2048 };

static const struct warren_addr self4 = { 4, { 100, 64, 0, 1 } };
static const struct warren_addr self6 = { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 1 } };

struct fixture {
	struct steer *steer;
	struct steer_table *table;
	int queue;			/* our end: what was written to the namespace */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_int_equal(sodium_init() < 0, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds), 0);
	f->steer = calloc(1, sizeof(*f->steer));
	f->table = calloc(1, sizeof(*f->table));
	f->queue = fds[0];
	steer_init(f->steer, fds[1]);
	assert_true(steer_table_add_self(f->table, &self4));
	assert_true(steer_table_add_self(f->table, &self6));
	steer_table_add_port(f->table, STEER_OPEN, STEER_TCP, 40000);
	steer_table_add_port(f->table, STEER_FILTERED, STEER_TCP, 443);
	steer_table_add_port(f->table, STEER_MAGIC, STEER_UDP, 53);
	atomic_store(&f->steer->table, f->table);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->queue);
	close(f->steer->fd);
	free(f->steer);
	free(f->table);
	free(f);
	return 0;
}

struct spec {
	const char *from, *to;
	uint8_t protocol;
	uint16_t from_port, to_port;
	uint32_t cut;			/* bytes missing at the end */
	uint16_t fragment;		/* IPv4: flags and offset */
};

static uint8_t bytes[ROOM];

static struct warren_packet make(const struct spec *s)
{
	struct warren_packet pkt = { .data = bytes };
	uint8_t *ports;
	uint16_t from = htons(s->from_port), to = htons(s->to_port);

	memset(bytes, 0, sizeof(bytes));
	if (strchr(s->to, ':')) {
		bytes[0] = 0x60;
		bytes[5] = 20;
		bytes[6] = s->protocol;
		assert_int_equal(inet_pton(AF_INET6, s->from, bytes + 8), 1);
		assert_int_equal(inet_pton(AF_INET6, s->to, bytes + 24), 1);
		ports = bytes + 40;
	} else {
		bytes[0] = 0x46;	/* one word of options */
		bytes[3] = 44;
		bytes[6] = (uint8_t)(s->fragment >> 8);
		bytes[7] = (uint8_t)s->fragment;
		bytes[9] = s->protocol;
		assert_int_equal(inet_pton(AF_INET, s->from, bytes + 12), 1);
		assert_int_equal(inet_pton(AF_INET, s->to, bytes + 16), 1);
		ports = bytes + 24;
	}
	memcpy(ports, &from, 2);
	memcpy(ports + 2, &to, 2);
	pkt.len = (uint32_t)(ports - bytes) + 20 - s->cut;
	return pkt;
}

/* The verdict; and that the namespace got exactly what was taken. */
static uint8_t run(struct fixture *f, warren_packet_fn *fn, uint32_t direction,
		   const struct spec *s)
{
	struct warren_packet pkt = make(s);
	uint8_t got[ROOM];
	ssize_t n;

	fn(f->steer, direction, &pkt, 1, 1000000);
	n = recv(f->queue, got, sizeof(got), MSG_DONTWAIT);
	if (fn == steer_from) {
		assert_int_equal(n, -1);
	} else if (pkt.verdict == WARREN_PKT_TAKEN) {
		assert_int_equal(n, pkt.len);
		assert_memory_equal(got, bytes, pkt.len);
	} else {
		assert_int_equal(n, -1);
	}
	return pkt.verdict;
}

#define SPEC(...) &(struct spec){ __VA_ARGS__, 0, 0 }
#define IN_OPEN(...) run(*state, steer_in_open, WARREN_PKT_IN, SPEC(__VA_ARGS__))
#define IN(...) run(*state, steer_in, WARREN_PKT_IN, SPEC(__VA_ARGS__))
#define OUT(...) run(*state, steer_out, WARREN_PKT_OUT, SPEC(__VA_ARGS__))
#define FROM(...) run(*state, steer_from, WARREN_PKT_OUT, SPEC(__VA_ARGS__))
/* The same from a peer to port 443, odd in some way. */
#define ODD(from, to, cut, fragment) run(*state, steer_in, WARREN_PKT_IN, \
	&(struct spec){ from, to, TCP, 5000, 443, cut, fragment })
#define PEER4 "100.64.0.2"
#define SELF4 "100.64.0.1"
#define PEER6 "fd7a:115c:a1e0::2"
#define SELF6 "fd7a:115c:a1e0::1"

static void test_ports_of_listeners(void **state)
{
	assert_int_equal(IN_OPEN(PEER4, SELF4, TCP, 5000, 40000), WARREN_PKT_TAKEN);
	assert_int_equal(IN_OPEN(PEER6, SELF6, TCP, 5000, 40000), WARREN_PKT_TAKEN);
	assert_int_equal(IN(PEER4, SELF4, TCP, 5000, 443), WARREN_PKT_TAKEN);
	assert_int_equal(IN(PEER6, SELF6, TCP, 5000, 443), WARREN_PKT_TAKEN);
	assert_int_equal(OUT(SELF4, "100.100.100.100", UDP, 5000, 53), WARREN_PKT_TAKEN);
	assert_int_equal(OUT(SELF6, "fd7a:115c:a1e0::53", UDP, 5000, 53), WARREN_PKT_TAKEN);
}

/* Each set has its own hook: a filtered port is not taken ahead of the filter. */
static void test_sets_are_apart(void **state)
{
	assert_int_equal(IN_OPEN(PEER4, SELF4, TCP, 5000, 443), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, TCP, 5000, 40000), WARREN_PKT_ACCEPT);
	/* Peers do not speak to the service addresses, nor does what a gateway forwards there. */
	assert_int_equal(IN_OPEN(PEER4, "100.100.100.100", UDP, 5000, 53), WARREN_PKT_DROP);
	assert_int_equal(IN_OPEN(PEER6, "fd7a:115c:a1e0::53", ICMP, 0, 0), WARREN_PKT_DROP);
	assert_int_equal(OUT("192.0.2.1", "100.100.100.100", UDP, 5000, 53), WARREN_PKT_ACCEPT);
	assert_int_equal(OUT(PEER6, "fd7a:115c:a1e0::53", UDP, 5000, 53), WARREN_PKT_ACCEPT);
	assert_int_equal(OUT(SELF4, PEER4, TCP, 5000, 443), WARREN_PKT_ACCEPT);
	assert_int_equal(OUT(SELF4, "100.100.100.100", TCP, 5000, 53), WARREN_PKT_ACCEPT);
}

static void test_every_other_port(void **state)
{
	for (uint32_t port = 1; port < 65536; port++) {
		if (port != 443)
			assert_int_equal(IN(PEER4, SELF4, TCP, 5000, (uint16_t)port),
					 WARREN_PKT_ACCEPT);
		if (port != 40000)
			assert_int_equal(IN_OPEN(PEER6, SELF6, TCP, 5000, (uint16_t)port),
					 WARREN_PKT_ACCEPT);
		assert_int_equal(IN(PEER4, SELF4, UDP, 5000, (uint16_t)port), WARREN_PKT_ACCEPT);
	}
}

static void test_nobodys(void **state)
{
	assert_int_equal(IN(PEER4, "100.64.0.3", TCP, 5000, 443), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER6, "fd7a:115c:a1e0::3", TCP, 5000, 443), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, ICMP, 5000, 443), WARREN_PKT_ACCEPT);
	/* Without ports, and fragments: the first and a later one. */
	assert_int_equal(ODD(PEER4, SELF4, 17, 0), WARREN_PKT_ACCEPT);
	assert_int_equal(ODD(PEER6, SELF6, 17, 0), WARREN_PKT_ACCEPT);
	assert_int_equal(ODD(PEER4, SELF4, 0, 0x2000), WARREN_PKT_ACCEPT);
	assert_int_equal(ODD(PEER4, SELF4, 0, 1), WARREN_PKT_ACCEPT);
	assert_int_equal(ODD(PEER4, SELF4, 0, 0x4000), WARREN_PKT_TAKEN);
}

static void test_without_a_table(void **state)
{
	struct fixture *f = *state;

	atomic_store(&f->steer->table, NULL);
	assert_int_equal(IN_OPEN(PEER4, SELF4, TCP, 5000, 40000), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, TCP, 5000, 443), WARREN_PKT_ACCEPT);
	assert_int_equal(OUT(SELF4, "100.100.100.100", UDP, 5000, 53), WARREN_PKT_ACCEPT);
	assert_int_equal(FROM(SELF4, PEER4, TCP, 443, 5000), WARREN_PKT_TAKEN);
}

static void test_out_of_the_namespace(void **state)
{
	assert_int_equal(FROM(SELF4, PEER4, TCP, 443, 5000), WARREN_PKT_ACCEPT);
	assert_int_equal(FROM(SELF6, PEER6, TCP, 443, 5000), WARREN_PKT_ACCEPT);
	assert_int_equal(FROM("100.100.100.100", SELF4, UDP, 53, 5000), WARREN_PKT_HOST);
	assert_int_equal(FROM("fd7a:115c:a1e0::53", SELF6, UDP, 53, 5000), WARREN_PKT_HOST);
	/* The service addresses never speak to peers, nor we to ourselves, nor anybody else. */
	assert_int_equal(FROM("100.100.100.100", PEER4, UDP, 53, 5000), WARREN_PKT_TAKEN);
	assert_int_equal(FROM(SELF4, SELF4, TCP, 443, 5000), WARREN_PKT_TAKEN);
	assert_int_equal(FROM("192.0.2.1", PEER4, TCP, 443, 5000), WARREN_PKT_TAKEN);
	assert_int_equal(FROM("fe80::1", "ff02::16", 58, 0, 0), WARREN_PKT_TAKEN);
}

static void test_answers_to_dialed_connections(void **state)
{
	assert_int_equal(IN(PEER4, SELF4, TCP, 22, 61234), WARREN_PKT_ACCEPT);
	assert_int_equal(FROM(SELF4, PEER4, TCP, 61234, 22), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, TCP, 22, 61234), WARREN_PKT_TAKEN);
	/* Another port, peer, protocol is the host's. */
	assert_int_equal(IN(PEER4, SELF4, TCP, 23, 61234), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, TCP, 22, 61235), WARREN_PKT_ACCEPT);
	assert_int_equal(IN("100.64.0.3", SELF4, TCP, 22, 61234), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, UDP, 22, 61234), WARREN_PKT_ACCEPT);
	/* A listener's answers are no flow. */
	assert_int_equal(FROM(SELF4, PEER4, TCP, 60999, 22), WARREN_PKT_ACCEPT);
	assert_int_equal(IN(PEER4, SELF4, TCP, 22, 60999), WARREN_PKT_ACCEPT);
}

/* As many as there are ports: hardly one is pushed out by others. */
static void test_many_flows(void **state)
{
	uint32_t known = 0;

	for (uint32_t port = 61000; port < 65536; port++)
		assert_int_equal(FROM(SELF6, PEER6, TCP, (uint16_t)port, 443), WARREN_PKT_ACCEPT);
	for (uint32_t port = 61000; port < 65536; port++)
		known += IN(PEER6, SELF6, TCP, 443, (uint16_t)port) == WARREN_PKT_TAKEN;
	assert_true(known > 4536 * 99 / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ports_of_listeners, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sets_are_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_other_port, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobodys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_a_table, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_out_of_the_namespace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_answers_to_dialed_connections, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_many_flows, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
