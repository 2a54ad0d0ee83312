/*
 * What a relayed flow costs the lane: 100 Mb/s each way at once, over TLS, while a timer of 10 ms
 * runs beside it. The relay is on the same lane, so what is shown is the sum of both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "node.h"
#include "relay.h"
#include "tests/net/certs.h"

enum { PACKET = 1200, TICK = 10000, SECONDS = 5, PER_MS = 10 };	/* 10 x 1200 x 8 x 1000 */

static const uint8_t peer[32] = { 7 }, data[PACKET];
static struct relay relay;
static struct warren_timer *tick, *source;
static uint64_t due, worst, sent_until;

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void on_tick(struct warren_ctx *ctx, void *arg)
{
	uint64_t now = warren_now();

	(void)ctx;
	(void)arg;
	if (now - due > worst)
		worst = now - due;
	due = now + TICK;
	warren_timer_set(tick, TICK);
}

/* As many packets as are due since the last time, each way. */
static void on_source(struct warren_ctx *ctx, void *arg)
{
	const struct warren_derp_frame frame = { .type = WARREN_DERP_RECV_PACKET, .key = peer,
						 .data = data, .len = PACKET };
	struct node *node = node_of();

	(void)ctx;
	(void)arg;
	for (uint64_t now = warren_now(); sent_until < now; sent_until += 1000 / PER_MS) {
		stand_send(&relay, &frame);
		node->ops->send(node->self, 1, peer, data, PACKET, NULL);
	}
	warren_timer_set(source, 1000);
}

static void flow(void **state)
{
	struct cert cert = cert_new(NULL, "IP:127.0.0.1", 30);
	struct warren_relay_node at = {
		.name = "1a", .host_name = "127.0.0.1", .no_ipv6 = true, .insecure_for_tests = true,
		.ipv4 = { .family = 4, .bytes = { 127, 0, 0, 1 } },
	};
	const struct warren_relay_region region = { .id = 1, .code = "one", .nodes = &at,
						    .n_nodes = 1 };
	struct node *node = node_of();
	uint64_t end;
	double cpu;

	(void)state;
	node_apply("", true);
	stand_open(&relay, node->ctx, &cert, RELAY_META);
	at.derp_port = relay.port;
	node_map(&region, 1);
	node->ops->home(node->self, 1);
	WAIT(node->told[1].connected == 1);
	node_real_time();
	tick = warren_timer_new(node->ctx, on_tick, NULL);
	source = warren_timer_new(node->ctx, on_source, NULL);
	sent_until = warren_now();
	end = sent_until + SECONDS * UINT64_C(1000000);
	due = sent_until + TICK;
	warren_timer_set(tick, TICK);
	warren_timer_set(source, 0);
	cpu = cpu_ms();
	while (warren_now() < end)
		node_wait();
	cpu = cpu_ms() - cpu;
	print_message("relay client, %d s of 96 Mb/s each way over TLS: %u of %u packets received, "
		      "%u sent, %lld dropped; a 10 ms timer was late by %.1f ms at most; %.0f %% "
		      "of a core, the relay included\n", SECONDS, node->told[1].received,
		      SECONDS * PER_MS * 1000, relay.seen[WARREN_DERP_SEND_PACKET],
		      (long long)node_stat("drops{reason", "queue-full"),
		      (double)worst / 1e3, cpu / SECONDS / 10);
	stand_close(&relay);
	cert_free(&cert);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flow, node_setup, node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
