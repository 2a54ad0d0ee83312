/*
 * Fuzz target: a question to the zone; with an odd first byte, what a server elsewhere answers to a
 * change. Only the answer that a real one has signed may be believed.
 */
#include <stdlib.h>
#include <string.h>

#include "../answer.h"
#include "../update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void question(const uint8_t *data, size_t size)
{
	static struct zone_facts facts;
	static struct zone_records records;
	struct dns_name name;
	struct zone_record *record;
	uint8_t out[ZONE_ANSWER];

	if (facts.n_servers == 0) {
		facts.n_servers = 1;
		(void)dns_name_parse("tail.example.com", &facts.name);
		(void)dns_name_parse("hq.example.com", &facts.servers[0]);
		(void)dns_name_parse("hostmaster.example.com", &facts.contact);
		zone_records_init(&records, 1);
		(void)dns_name_parse("_acme-challenge.nas.tail.example.com", &name);
		(void)zone_records_set(&records, &name, "proof", 1, &record);
	}
	for (int stream = 0; stream < 2; stream++) {
		size_t len = zone_answer(&facts, &records, data, size, stream, out);

		if (len > sizeof(out) || (len > 0 && len < DNS_HEADER) ||
		    (!stream && len > DNS_UDP_PLAIN))
			abort();
	}
}

static void answer(const uint8_t *data, size_t size)
{
	static const struct zone_key key = { .name = { 8, "\006warren" }, .secret = "s", .len = 1 };
	const struct zone_update update = { .zone = { 6, "\004test" }, .key = &key, .id = 0x1234 };
	char why[ZONE_WHY];

	if (zone_update_read(&update, data, size, 1795827919, why) == 0 || strlen(why) >= ZONE_WHY)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size == 0 || size > DNS_MSG_MAX)
		return 0;
	copy = malloc(size - 1 + (size == 1));	/* of that size, so that a byte too far is seen */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	if (data[0] % 2 == 0)
		question(copy, size - 1);
	else
		answer(copy, size - 1);
	free(copy);
	return 0;
}
