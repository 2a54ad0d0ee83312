/*
 * Domain names.
 */
#include "base/dnsname.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <warren/plugin.h>

enum { POINTER = 0xc0, JUMPS_MAX = 64 };

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool add_label(struct dns_name *out, const uint8_t *label, size_t len)
{
	if (len == 0 || len > DNS_LABEL_MAX || out->len + 1 + len + 1 > DNS_NAME_MAX)
		return false;
	out->wire[out->len++] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		out->wire[out->len++] = lower(label[i]);
	return true;
}

static bool add_root(struct dns_name *out)
{
	if (out->len >= DNS_NAME_MAX)
		return false;
	out->wire[out->len++] = 0;
	return true;
}

int dns_name_parse(const char *text, struct dns_name *out)
{
	struct dns_name made = { .len = 0 };
	size_t len;

	if (strcmp(text, ".") == 0)
		text++;
	else if (!*text)
		return -EINVAL;
	for (; *text; text += len + (text[len] == '.')) {
		len = strcspn(text, ".");
		for (size_t i = 0; i < len; i++) {
			uint8_t c = (uint8_t)text[i];

			if (c <= ' ' || c >= 0x7f || c == '\\')
				return -EINVAL;
		}
		if (!add_label(&made, (const uint8_t *)text, len))
			return -EINVAL;
	}
	if (!add_root(&made))
		return -EINVAL;
	*out = made;
	return 0;
}

bool dns_name_read(struct buf_reader *r, struct dns_name *out, uint8_t asked[DNS_NAME_MAX])
{
	const uint8_t *start = r->at;
	uint8_t len;

	out->len = 0;
	while (buf_u8(r, &len) && len != 0) {
		const uint8_t *label = len <= DNS_LABEL_MAX ? buf_view(r, len) : NULL;

		if (!label || !add_label(out, label, len))
			return false;
	}
	if (r->failed || !add_root(out))
		return false;
	if (asked)
		memcpy(asked, start, out->len);
	return true;
}

bool dns_name_skip(struct buf_reader *r)
{
	uint8_t len;

	for (size_t total = 0; total < DNS_NAME_MAX && buf_u8(r, &len); total += 1u + len) {
		if (len == 0)
			return true;
		if ((len & POINTER) == POINTER)
			return buf_skip(r, 1);
		if (len > DNS_LABEL_MAX || !buf_skip(r, len))
			return false;
	}
	return false;
}

bool dns_name_expand(const uint8_t *msg, size_t len, size_t at, struct dns_name *out)
{
	uint32_t jumps = 0;

	out->len = 0;
	while (at < len && msg[at] != 0) {
		size_t n = msg[at];

		if ((n & POINTER) == POINTER) {
			size_t to;

			if (at + 1 >= len || ++jumps > JUMPS_MAX)
				return false;
			to = (n & ~(size_t)POINTER) << 8 | msg[at + 1];
			if (to >= at)
				return false;
			at = to;
			continue;
		}
		if (at + 1 + n > len || !add_label(out, msg + at + 1, n))
			return false;
		at += 1 + n;
	}
	return at < len && add_root(out);
}

const char *dns_name_text(const struct dns_name *name, char out[DNS_NAME_TEXT])
{
	size_t at = 0, to = 0;

	if (name->len <= 1)
		return memcpy(out, name->len ? "." : "", name->len + 1u);
	while (name->wire[at]) {
		uint8_t len = name->wire[at++];

		if (to > 0)
			out[to++] = '.';
		for (; len > 0; len--, at++) {
			uint8_t c = name->wire[at];

			if (c == '.' || c == '\\' || c <= ' ' || c >= 0x7f) {
				snprintf(out + to, 5, "\\%03u", c);
				to += 4;
			} else {
				out[to++] = (char)c;
			}
		}
	}
	out[to] = '\0';
	return out;
}

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->wire, b->wire, a->len) == 0;
}

bool dns_name_under(const struct dns_name *name, const struct dns_name *zone)
{
	size_t at = 0;

	if (zone->len == 0 || zone->len > name->len)
		return false;
	while (name->len - at > zone->len)
		at += 1u + name->wire[at];
	return name->len - at == zone->len && memcmp(name->wire + at, zone->wire, zone->len) == 0;
}

uint32_t dns_name_labels(const struct dns_name *name)
{
	uint32_t n = 0;

	for (size_t at = 0; at < name->len && name->wire[at]; at += 1u + name->wire[at])
		n++;
	return n;
}

bool dns_name_parent(const struct dns_name *name, struct dns_name *out)
{
	size_t first = 1u + name->wire[0];

	if (name->len <= 1)
		return false;
	memmove(out->wire, name->wire + first, name->len - first);
	out->len = (uint8_t)(name->len - first);
	return true;
}

bool dns_name_join(const char *label, size_t len, const struct dns_name *zone,
		   struct dns_name *out)
{
	struct dns_name made = { .len = 0 };

	if (!add_label(&made, (const uint8_t *)label, len) ||
	    made.len + zone->len > DNS_NAME_MAX)
		return false;
	memcpy(made.wire + made.len, zone->wire, zone->len);
	made.len = (uint8_t)(made.len + zone->len);
	*out = made;
	return true;
}

/*
 * ---- Reverse ----
 */

static const uint8_t arpa4[] = "\7in-addr\4arpa";	/* the text's NUL is the root */
static const uint8_t arpa6[] = "\3ip6\4arpa";

static void add_number(struct dns_name *out, bool hex, unsigned int value)
{
	char text[4];
	int len = snprintf(text, sizeof(text), hex ? "%x" : "%u", value);

	/* Three digits always fit. */
	(void)add_label(out, (const uint8_t *)text, (size_t)len);
}

void dns_name_reverse(const struct warren_addr *addr, struct dns_name *out)
{
	const uint8_t *tail = addr->family == 4 ? arpa4 : arpa6;
	size_t size = addr->family == 4 ? sizeof(arpa4) : sizeof(arpa6);

	out->len = 0;
	for (size_t i = addr->family == 4 ? 4 : 16; i > 0; i--) {
		if (addr->family == 4) {
			add_number(out, false, addr->bytes[i - 1]);
		} else {
			add_number(out, true, addr->bytes[i - 1] & 0xfu);
			add_number(out, true, addr->bytes[i - 1] >> 4);
		}
	}
	memcpy(out->wire + out->len, tail, size);
	out->len = (uint8_t)(out->len + size);
}

static int digit_of(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_nibbles(const struct dns_name *name, struct warren_addr *out)
{
	for (size_t i = 0; i < 32; i++) {
		int digit = digit_of(name->wire[2 * i + 1]);

		if (name->wire[2 * i] != 1 || digit < 0)
			return false;
		out->bytes[15 - i / 2] |= (uint8_t)(i % 2 ? digit << 4 : digit);
	}
	return true;
}

static bool read_octets(const struct dns_name *name, struct warren_addr *out)
{
	size_t at = 0;

	for (size_t i = 4; i > 0; i--) {
		uint8_t len = name->wire[at++];
		unsigned int value = 0;

		if (len < 1 || len > 3 || (len > 1 && name->wire[at] == '0'))
			return false;
		for (; len > 0; len--, at++) {
			if (name->wire[at] < '0' || name->wire[at] > '9')
				return false;
			value = 10 * value + (unsigned int)(name->wire[at] - '0');
		}
		if (value > 255)
			return false;
		out->bytes[i - 1] = (uint8_t)value;
	}
	return true;
}

bool dns_name_address(const struct dns_name *name, struct warren_addr *out)
{
	uint32_t labels = dns_name_labels(name);
	struct dns_name zone;

	memset(out, 0, sizeof(*out));
	memcpy(zone.wire, arpa4, sizeof(arpa4));
	zone.len = sizeof(arpa4);
	if (labels == 6 && dns_name_under(name, &zone)) {
		out->family = 4;
		return read_octets(name, out);
	}
	memcpy(zone.wire, arpa6, sizeof(arpa6));
	zone.len = sizeof(arpa6);
	out->family = 6;
	return labels == 34 && dns_name_under(name, &zone) && read_nibbles(name, out);
}
