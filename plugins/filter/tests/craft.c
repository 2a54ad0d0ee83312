/*
 * Makes inner packets for tests: headers right, checksums zero.
 */
#include "craft.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put_body(const struct craft *craft, uint8_t *at, size_t len)
{
	uint8_t header[20] = { 0 };

	if (craft->protocol == 1 || craft->protocol == 58) {
		header[0] = craft->icmp_type;
		header[1] = craft->icmp_code;
	} else {
		put16(header, craft->source_port);
		put16(header + 2, craft->port);
	}
	if (craft->protocol == 6) {
		header[12] = 0x50;
		header[13] = craft->tcp_flags;
	}
	memcpy(at, header, len < sizeof(header) ? len : sizeof(header));
}

/* Writes the extension headers; returns their length. */
static size_t put_chain(const struct craft *craft, uint8_t *at)
{
	uint8_t *start = at;

	for (uint8_t i = 0; i < craft->n_chain; i++) {
		bool fragment = craft->chain[i] == 44;

		at[0] = i + 1 < craft->n_chain ? craft->chain[i + 1] : craft->protocol;
		at[1] = fragment ? 0 : craft->chain_words;
		if (fragment)
			put16(at + 2, craft->fragment);
		if (craft->chain[i] == 43)
			at[3] = craft->segments_left;
		at += fragment ? 8 : 8 + 8 * (size_t)craft->chain_words;
	}
	return (size_t)(at - start);
}

size_t craft_packet(const struct craft *craft, uint8_t out[CRAFT_MAX])
{
	struct warren_addr from = craft->from, to = craft->to;
	size_t body = craft->body ? craft->body : 40, header;

	if (craft->source)
		assert_int_equal(addr_parse(craft->source, &from), 0);
	if (craft->destination)
		assert_int_equal(addr_parse(craft->destination, &to), 0);
	memset(out, 0, CRAFT_MAX);
	if (from.family == 6) {
		header = 40 + put_chain(craft, out + 40);
		out[0] = 0x60;
		put16(out + 4, (uint16_t)(header - 40 + body));
		out[6] = craft->n_chain ? craft->chain[0] : craft->protocol;
		out[7] = 64;
		memcpy(out + 8, from.bytes, 16);
		memcpy(out + 24, to.bytes, 16);
	} else {
		header = 20 + 4 * (size_t)craft->options;
		out[0] = (uint8_t)(0x45 + craft->options);
		put16(out + 2, (uint16_t)(header + body));
		put16(out + 6, craft->fragment);
		out[8] = 64;
		out[9] = craft->protocol;
		memcpy(out + 12, from.bytes, 4);
		memcpy(out + 16, to.bytes, 4);
	}
	assert_true(header + body <= CRAFT_MAX);
	put_body(craft, out + header, body);
	return header + body;
}
