/*
 * Fuzz target: single values as text. The first byte chooses the parser. Whatever a parser accepts,
 * its formatter must write in a form that parses to the same value.
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/units.h"
#include "yaml/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_addresses(const char *text)
{
	struct warren_addr addr, addr2;
	struct warren_addrport ap, ap2;
	struct warren_prefix prefix, prefix2;
	char out[ADDRPORT_TEXT];

	if (addr_parse(text, &addr) == 0)
		require(addr_parse(addr_format(&addr, out), &addr2) == 0 &&
			addr_equal(&addr, &addr2));
	if (addrport_parse(text, &ap) == 0)
		require(addrport_parse(addrport_format(&ap, out), &ap2) == 0 &&
			addrport_equal(&ap, &ap2));
	if (prefix_parse(text, &prefix) == 0) {
		require(prefix_parse(prefix_format(&prefix, out), &prefix2) == 0 &&
			prefix_equal(&prefix, &prefix2));
		prefix_mask(&prefix2);
		require(!prefix_mask(&prefix2) && prefix_contains(&prefix2, &prefix.addr));
	}
}

static void check_hostport(const char *text)
{
	char host[64];
	uint16_t port;

	if (hostport_parse(text, host, sizeof(host), &port) == 0)
		require(port > 0 && host[0] && !strpbrk(host, "[]/ "));
}

static void check_units(const char *text)
{
	int64_t value, again;
	char out[UNITS_TEXT];

	if (units_parse_duration(text, &value) == 0)
		require(value >= 0 &&
			units_parse_duration(units_format_duration(value, out), &again) == 0 &&
			value == again);
	if (units_parse_size(text, &value) == 0)
		require(value >= 0 &&
			units_parse_size(units_format_size(value, out), &again) == 0 &&
			value == again);
	if (units_parse_int(text, &value) == 0)
		require(text[0] == '-' ? value <= 0 : value >= 0);
}

static void check_codecs(const char *text, size_t len)
{
	uint8_t bytes[64], key[32];
	char out[BASE64_TEXT(64)];
	ssize_t n = base64_decode(bytes, sizeof(bytes), text, len);

	if (n >= 0) {
		/* Only the canonical form is accepted. */
		base64_encode(out, bytes, (size_t)n);
		require(strlen(out) == len && memcmp(out, text, len) == 0);
	}
	if (base64_key_decode(key, text) == 0)
		require(n == 32 && memcmp(key, bytes, 32) == 0);
	if (len / 2 <= sizeof(bytes) && hex_decode(bytes, len / 2, text) == 0) {
		char again[2 * sizeof(bytes) + 1];

		hex_encode(again, bytes, len / 2);
		require(strlen(again) == len);
	}
}

static void check_text(const char *text, size_t len)
{
	struct str_guess guess = { .word = text };
	struct str out = STR_INIT;

	str_add_json(&out, text, len);
	require(str_utf8_check(str_text(&out), out.len) == out.len);
	str_cut(&out, 0);
	str_add_clean(&out, text, len, 50);
	for (size_t i = 0; i < out.len; i++)
		require((unsigned char)out.s[i] >= 0x20 && out.s[i] != 0x7f);
	str_guess_try(&guess, "allowed-ips");
	str_guess_try(&guess, text);
	require(!guess.best || guess.distance <= 64);
	str_free(&out);
}

/* A path that was written for a key leads to that key. */
static void check_path(const char *text)
{
	struct ytree_node value = { .kind = YTREE_SCALAR, .key = text, .text = "x" };
	struct ytree_node root = { .kind = YTREE_MAP, .count = 1, .first = &value };
	struct str path = STR_INIT;

	ytree_path_add(&path, text);
	require(strlen(text) > YTREE_MAX_KEY || ytree_at(&root, str_text(&path), 0) == &value);
	(void)ytree_at(&root, text, 1);	/* any text must do no harm */
	str_free(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = size > 0 ? size - 1 : 0;
	char *text = malloc(len + 1);

	if (!text)
		return 0;
	if (len > 0)
		memcpy(text, data + 1, len);
	text[len] = '\0';
	switch (size > 0 ? data[0] % 6 : 0) {
	case 0:
		check_addresses(text);
		break;
	case 1:
		check_hostport(text);
		break;
	case 2:
		check_units(text);
		break;
	case 3:
		check_codecs(text, strlen(text));
		break;
	case 4:
		check_text(text, len);
		break;
	case 5:
		check_path(text);
		break;
	}
	free(text);
	return 0;
}
