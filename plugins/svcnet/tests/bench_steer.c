/*
 * What the hooks cost a packet that is for nobody in the namespace, as all but a few are:
 * nanoseconds per packet of a vector like the data plane's. Prints a table; judges nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "steer.h"

enum { PACKETS = 64, LEN = 128, ROUNDS = 20000, RUNS = 31 };

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

static void measure(struct steer *s, const char *name, bool in)
{
	double runs[RUNS];

	for (int r = 0; r < RUNS; r++) {
		double begin = nanoseconds();

		for (uint64_t i = 0; i < ROUNDS; i++) {
			if (in) {
				steer_in_open(s, WARREN_PKT_IN, pkt, PACKETS, i);
				steer_in(s, WARREN_PKT_IN, pkt, PACKETS, i);
			} else {
				steer_out(s, WARREN_PKT_OUT, pkt, PACKETS, i);
			}
		}
		runs[r] = (nanoseconds() - begin) / ROUNDS / PACKETS;
	}
	qsort(runs, RUNS, sizeof(runs[0]), compare);
	printf("  %-44s %6.2f ns\n", name, runs[RUNS / 2]);
	for (uint32_t i = 0; i < PACKETS; i++) {
		if (pkt[i].verdict != WARREN_PKT_ACCEPT)
			exit(1);
	}
}

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
	printf("svcnet: a packet that is for no service\n");
	make(false, false);
	measure(&steer, "in, to this node, IPv4 (two hooks)", true);
	make(false, true);
	measure(&steer, "in, through a gateway, IPv4 (two hooks)", true);
	measure(&steer, "out, IPv4 (one hook)", false);
	make(true, false);
	measure(&steer, "in, to this node, IPv6 (two hooks)", true);
	make(true, true);
	measure(&steer, "in, through a gateway, IPv6 (two hooks)", true);
	measure(&steer, "out, IPv6 (one hook)", false);
	return 0;
}
