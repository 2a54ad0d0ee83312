/*
 * What a map of 10,000 peers costs: time of the full map, time of a delta of one peer, memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../map.h"
#include "base/str.h"
#include "feed.h"

enum { PEERS = 10000, DELTAS = 2000 };

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Kilobytes of a line of /proc/self/status. */
static long status_kb(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long value = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, strlen(name)))
			value = strtol(line + strlen(name), NULL, 10);
	}
	if (file)
		fclose(file);
	return value;
}

static void add_key(struct str *out, const char *prefix, int id)
{
	uint64_t x = (uint64_t)id * 0x9e3779b97f4a7c15u;

	str_addf(out, "\"%s:", prefix);
	for (int i = 0; i < 4; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		str_addf(out, "%016llx", (unsigned long long)x);
	}
	str_addc(out, '"');
}

/* A node as Headscale sends it, which is more than the hosted service does. */
static void add_node(struct str *out, int id)
{
	str_addf(out, "{\"ID\":%d,\"StableID\":\"%d\",\"Name\":\"host-%d.tail.example.\","
		 "\"User\":%d,\"Key\":", id, id, id, 1 + id % 200);
	add_key(out, "nodekey", id);
	str_addf(out, ",\"KeyExpiry\":\"2099-06-01T12:00:00Z\",\"Machine\":");
	add_key(out, "mkey", id + 1);
	str_addf(out, ",\"DiscoKey\":");
	add_key(out, "discokey", id + 2);
	str_addf(out, ",\"Addresses\":[\"100.%d.%d.%d/32\",\"fd7a:115c:a1e0::%x/128\"],"
		 "\"AllowedIPs\":[\"100.%d.%d.%d/32\",\"fd7a:115c:a1e0::%x/128\"],"
		 "\"Endpoints\":[\"203.0.113.%d:41641\",\"192.168.1.%d:41641\","
		 "\"[2001:db8::%x]:41641\"],\"HomeDERP\":%d,", 64 + id / 65536, id / 256 % 256,
		 id % 256, id, 64 + id / 65536, id / 256 % 256, id % 256, id, id % 250, id % 250,
		 id, 1 + id % 20);
	str_addf(out, "\"Hostinfo\":{\"IPNVersion\":\"1.102.3\",\"BackendLogID\":");
	add_key(out, "log", id + 3);
	str_addf(out, ",\"OS\":\"linux\",\"OSVersion\":\"6.18.44\",\"Distro\":\"debian\","
		 "\"Hostname\":\"host-%d\",\"Machine\":\"x86_64\",\"GoArch\":\"amd64\","
		 "\"GoVersion\":\"go1.27.3\",\"Services\":[{\"Proto\":\"peerapi4\",\"Port\":%d},"
		 "{\"Proto\":\"peerapi6\",\"Port\":%d},{\"Proto\":\"peerapi-dns-proxy\",\"Por"
			"t\":1}]},"
		 "\"Created\":\"2026-01-02T03:04:05.678901234Z\",\"Cap\":142,\"Tags\":[\"tag:"
			"server\"],"
		 "\"Online\":true,\"MachineAuthorized\":true}", id, 30000 + id % 30000,
		 30000 + id % 30000);
}

static void full_map(struct str *out)
{
	str_add(out, "{\"Node\":");
	add_node(out, PEERS + 1);
	str_add(out, ",\"Peers\":[");
	for (int i = 1; i <= PEERS; i++) {
		add_node(out, i);
		str_add(out, i < PEERS ? "," : "],\"UserProfiles\":[");
	}
	for (int i = 1; i <= 200; i++)
		str_addf(out, "%s{\"ID\":%d,\"LoginName\":\"u%d@example.com\"}",
			i > 1 ? "," : "", i,
			 i);
	str_add(out, "],\"PacketFilters\":{\"base\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP"
		"\":\"*\","
		"\"Ports\":{\"First\":0,\"Last\":65535}}]}]},\"Domain\":\"tail.example\"}");
}

static void must(int result)
{
	if (result) {
		fprintf(stderr, "bench_map: a message was refused: %d\n", result);
		exit(1);
	}
}

/* In portions as they come from HTTP/2, so that the message itself is not in memory. */
static double feed_file(struct feed *feed, const char *path)
{
	FILE *file = fopen(path, "rb");
	static uint8_t portion[16384];
	double start = cpu_ms();
	size_t n;

	if (!file)
		exit(1);
	while ((n = fread(portion, 1, sizeof(portion), file)) > 0)
		must(ctl_map_feed(feed->map, portion, n, NULL));
	fclose(file);
	return cpu_ms() - start;
}

static void make_file(const char *path)
{
	struct str json = STR_INIT;
	size_t len;
	uint8_t *frame;
	FILE *file = fopen(path, "wb");

	full_map(&json);
	frame = feed_frame(json.s, json.len, true, &len);
	if (!file || fwrite(frame, 1, len, file) != len || fclose(file))
		exit(1);
	printf("map: %d peers, JSON %.1f MiB, zstd %.1f MiB\n", PEERS,
	       (double)json.len / 1048576, (double)len / 1048576);
	fflush(stdout);
	free(frame);
	str_free(&json);
}

static void run(const char *path)
{
	struct feed feed;
	double full, again, delta, start;
	char json[128];
	long before = status_kb("VmRSS:");

	feed_open(&feed, NULL, NULL);
	full = feed_file(&feed, path);
	printf("map: full map applied        %8.1f ms of CPU    aim: 400\n", full);
	printf("map: memory after it         %8.1f MiB resident aim: 40 (%.1f before, peak %.1f)\n",
	       (double)status_kb("VmRSS:") / 1024, (double)before / 1024,
	       (double)status_kb("VmHWM:") / 1024);
	ctl_map_begin(feed.map);
	again = feed_file(&feed, path);
	printf("map: the same map again      %8.1f ms of CPU\n", again);
	start = cpu_ms();
	for (int i = 0; i < DELTAS; i++) {
		(void)snprintf(json, sizeof(json), "{\"PeersChangedPatch\":[{\"NodeID\":%d,"
			       "\"DERPRegion\":%d}]}", 1 + i * 37 % PEERS, 100 + i);
		must(feed_json(&feed, json));
	}
	delta = (cpu_ms() - start) / DELTAS;
	printf("map: delta of one peer       %8.4f ms of CPU    aim: 1\n", delta);
	feed_close(&feed);
}

int main(int argc, char **argv)
{
	char path[] = "/tmp/warren-bench-map.XXXXXX";
	int fd = argc > 1 ? -1 : mkstemp(path);

	if (argc > 1) {
		run(argv[1]);
		return unlink(argv[1]) != 0;
	}
	if (fd < 0)
		return 1;
	close(fd);
	make_file(path);
	/* Another process measures, which never had the message in memory. */
	execl("/proc/self/exe", argv[0], path, (char *)NULL);
	return 1;
}
