/*
 * What the hooks cost a packet that is for nobody in the namespace, as all but a few are:
 * nanoseconds per packet of a vector like the data plane's. Prints a table; judges nothing.
 *
 * Cases take turns, each for less time than the scheduler gives: the least of many runs is what the
 * hooks cost, and how far the middle is above that is what else the machine did.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "steer.h"

enum { PACKETS = 64, LEN = 128, ROUNDS = 250, RUNS = 2001 };

static uint8_t bytes[PACKETS][LEN];
static struct warren_packet pkt[PACKETS];

static double nanoseconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return 1e9 * (double)ts.tv_sec + (double)ts.tv_nsec;
}

/* To our own address, or (@through) to somebody behind us, as a gateway's packets are. */
static void make(bool six, bool through)
{
	for (uint32_t i = 0; i < PACKETS; i++) {
		uint8_t *p = bytes[i], *to = p + (six ? 24 : 16), *ports = p + (six ? 40 : 20);

		memset(p, 0, LEN);
		p[0] = six ? 0x60 : 0x45;
		p[six ? 6 : 9] = 6;
		if (six)
			memcpy(to, "\xfd\x7a\x11\x5c\xa1\xe0\0\0\0\0\0\0\0\0\0\x01", 16);
		else
			memcpy(to, "\x64\x40\0\x01", 4);
		if (through)
			to[3] = (uint8_t)(i + 2);
		ports[2] = (uint8_t)(0x30 + i % 16);	/* 12288 and above: unserved */
		ports[3] = (uint8_t)i;
		pkt[i] = (struct warren_packet){ .data = p, .len = LEN };
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct bench {
	const char *name;
	bool six, through, in;
	double runs[RUNS];
};

static double run(struct steer *s, bool in)
{
	double begin = nanoseconds();

	for (uint64_t i = 0; i < ROUNDS; i++) {
		if (in) {
			steer_in_open(s, WARREN_PKT_IN, pkt, PACKETS, i);
			steer_in(s, WARREN_PKT_IN, pkt, PACKETS, i);
		} else {
			steer_out(s, WARREN_PKT_OUT, pkt, PACKETS, i);
		}
	}
	return (nanoseconds() - begin) / ROUNDS / PACKETS;
}

static void measure(struct steer *s, struct bench *b, int at)
{
	make(b->six, b->through);
	(void)run(s, b->in);	/* all is in the caches then, as in a busy data plane */
	b->runs[at] = run(s, b->in);
	for (uint32_t i = 0; i < PACKETS; i++) {
		if (pkt[i].verdict != WARREN_PKT_ACCEPT)
			exit(1);
	}
}

static struct bench benches[] = {
	{ .name = "in, to this node, IPv4 (two hooks)", .in = true },
	{ .name = "in, through a gateway, IPv4 (two hooks)", .in = true, .through = true },
	{ .name = "out, IPv4 (one hook)", .through = true },
	{ .name = "in, to this node, IPv6 (two hooks)", .in = true, .six = true },
	{ .name = "in, through a gateway, IPv6 (two hooks)", .in = true, .six = true,
	  .through = true },
	{ .name = "out, IPv6 (one hook)", .six = true, .through = true },
};

int main(void)
{
	static struct steer steer;
	static struct steer_table table;
	struct warren_addr self4 = { 4, { 0x64, 0x40, 0, 1 } };
	struct warren_addr self6 = { 6, { 0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, [15] = 1 } };

	steer_init(&steer, -1);
	(void)steer_table_add_self(&table, &self4);
	(void)steer_table_add_self(&table, &self6);
	steer_table_add_port(&table, STEER_OPEN, STEER_TCP, 40001);
	steer_table_add_port(&table, STEER_FILTERED, STEER_TCP, 443);
	steer_table_add_port(&table, STEER_FILTERED, STEER_TCP, 22);
	steer_table_add_port(&table, STEER_MAGIC, STEER_UDP, 53);
	steer_table_add_port(&table, STEER_MAGIC, STEER_TCP, 53);
	atomic_store(&steer.table, &table);
	for (int r = 0; r < RUNS; r++) {
		for (size_t i = 0; i < ARRAY_SIZE(benches); i++)
			measure(&steer, &benches[i], r);
	}
	printf("svcnet: a packet that is for no service%30s\n", "least     middle");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		qsort(benches[i].runs, RUNS, sizeof(double), compare);
		printf("  %-44s %9.2f %9.2f ns\n", benches[i].name, benches[i].runs[0],
		       benches[i].runs[RUNS / 2]);
	}
	return 0;
}
