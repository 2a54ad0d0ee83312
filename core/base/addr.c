/*
 * Addresses as text. inet_pton() and inet_ntop() do the work: they are strict (no octal, no short
 * forms, no zone) and write IPv6 as RFC 5952 wants it.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

size_t addr_size(const struct warren_addr *addr)
{
	if (addr->family == 4)
		return 4;
	return addr->family == 6 ? 16 : 0;
}

int addr_parse(const char *text, struct warren_addr *out)
{
	struct warren_addr addr = { 0 };

	if (inet_pton(AF_INET, text, addr.bytes) == 1)
		addr.family = 4;
	else if (inet_pton(AF_INET6, text, addr.bytes) == 1)
		addr.family = 6;
	else
		return -EINVAL;
	*out = addr;
	return 0;
}

/* Decimal digits without sign or leading zero, at most @max. */
static int number_parse(const char *text, uint32_t max, uint32_t *out)
{
	uint32_t value = 0;

	if (!*text || (*text == '0' && text[1]))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint32_t)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	*out = value;
	return 0;
}

int port_parse(const char *text, uint16_t *out)
{
	uint32_t value;

	if (number_parse(text, UINT16_MAX, &value) < 0 || value == 0)
		return -EINVAL;
	*out = (uint16_t)value;
	return 0;
}

/* Splits at the last colon; brackets around the host are taken off and reported. */
static int split_port(const char *text, char *host, size_t size, uint16_t *port, bool *brackets)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (!colon || colon == text)
		return -EINVAL;
	len = (size_t)(colon - text);
	*brackets = text[0] == '[';
	if (*brackets) {
		if (text[len - 1] != ']' || len < 3)
			return -EINVAL;
		text++;
		len -= 2;
	}
	if (len >= size)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	return port_parse(colon + 1, port);
}

int addrport_parse(const char *text, struct warren_addrport *out)
{
	struct warren_addrport ap = { 0 };
	char host[ADDR_TEXT];
	bool brackets;

	if (split_port(text, host, sizeof(host), &ap.port, &brackets) < 0 ||
	    addr_parse(host, &ap.addr) < 0 || brackets != (ap.addr.family == 6))
		return -EINVAL;
	*out = ap;
	return 0;
}

int hostport_parse(const char *text, char *host, size_t size, uint16_t *port)
{
	struct warren_addr addr;
	uint16_t value;
	bool brackets;

	if (split_port(text, host, size, &value, &brackets) < 0)
		return -EINVAL;
	/* "::1:80" could be read in two ways, "[name]:80" in none. */
	if (brackets ? addr_parse(host, &addr) < 0 || addr.family != 6 : strchr(host, ':') != NULL)
		return -EINVAL;
	if (strpbrk(host, " \t\r\n/@[]"))
		return -EINVAL;
	*port = value;
	return 0;
}

int prefix_parse(const char *text, struct warren_prefix *out)
{
	struct warren_prefix prefix = { 0 };
	const char *slash = strchr(text, '/');
	char host[ADDR_TEXT];
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint32_t bits;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (addr_parse(host, &prefix.addr) < 0)
		return -EINVAL;
	bits = (uint32_t)addr_size(&prefix.addr) * 8;
	if (slash && number_parse(slash + 1, bits, &bits) < 0)
		return -EINVAL;
	prefix.bits = (uint8_t)bits;
	*out = prefix;
	return 0;
}

const char *addr_format(const struct warren_addr *addr, char out[ADDR_TEXT])
{
	int family = addr->family == 4 ? AF_INET : AF_INET6;

	if (addr->family == 0 || !inet_ntop(family, addr->bytes, out, ADDR_TEXT))
		str_copy(out, ADDR_TEXT, "none");
	return out;
}

const char *addrport_format(const struct warren_addrport *ap, char out[ADDRPORT_TEXT])
{
	char text[ADDR_TEXT];

	addr_format(&ap->addr, text);
	if (ap->addr.family == 0)
		str_copy(out, ADDRPORT_TEXT, text);
	else if (ap->addr.family == 6)
		snprintf(out, ADDRPORT_TEXT, "[%s]:%u", text, ap->port);
	else
		snprintf(out, ADDRPORT_TEXT, "%s:%u", text, ap->port);
	return out;
}

const char *prefix_format(const struct warren_prefix *prefix, char out[PREFIX_TEXT])
{
	char text[ADDR_TEXT];

	addr_format(&prefix->addr, text);
	if (prefix->addr.family == 0)
		str_copy(out, PREFIX_TEXT, text);
	else
		snprintf(out, PREFIX_TEXT, "%s/%u", text, prefix->bits);
	return out;
}

bool addr_is_any(const struct warren_addr *addr)
{
	static const uint8_t zero[16];

	return memcmp(addr->bytes, zero, addr_size(addr)) == 0;
}

bool addr_equal(const struct warren_addr *a, const struct warren_addr *b)
{
	return addr_compare(a, b) == 0;
}

bool addrport_equal(const struct warren_addrport *a, const struct warren_addrport *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

bool prefix_equal(const struct warren_prefix *a, const struct warren_prefix *b)
{
	return a->bits == b->bits && addr_equal(&a->addr, &b->addr);
}

bool addrports_equal(const struct warren_addrport *a, uint32_t n_a,
		     const struct warren_addrport *b, uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++) {
		if (!addrport_equal(&a[i], &b[i]))
			return false;
	}
	return true;
}

bool prefixes_equal(const struct warren_prefix *a, uint32_t n_a, const struct warren_prefix *b,
		    uint32_t n_b)
{
	if (n_a != n_b)
		return false;
	for (uint32_t i = 0; i < n_a; i++) {
		if (!prefix_equal(&a[i], &b[i]))
			return false;
	}
	return true;
}

int addr_compare(const struct warren_addr *a, const struct warren_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, addr_size(a));
}

int prefix_compare(const struct warren_prefix *a, const struct warren_prefix *b)
{
	int order = addr_compare(&a->addr, &b->addr);

	return order ? order : (int)a->bits - (int)b->bits;
}

bool prefix_contains(const struct warren_prefix *prefix, const struct warren_addr *addr)
{
	struct warren_prefix host = { .addr = *addr, .bits = prefix->bits };

	if (prefix->addr.family != addr->family || addr->family == 0)
		return false;
	prefix_mask(&host);
	return addr_equal(&host.addr, &prefix->addr);
}

bool prefix_mask(struct warren_prefix *prefix)
{
	bool changed = false;
	size_t size = addr_size(&prefix->addr);

	for (size_t i = prefix->bits / 8; i < size; i++) {
		uint8_t keep = 0;

		if (i == prefix->bits / 8)
			keep = (uint8_t)(0xff00 >> prefix->bits % 8);
		changed |= prefix->addr.bytes[i] & ~keep;
		prefix->addr.bytes[i] &= keep;
	}
	return changed;
}

struct warren_prefix prefix_of_host(const struct warren_addr *addr)
{
	return (struct warren_prefix){ .addr = *addr, .bits = (uint8_t)(addr_size(addr) * 8) };
}

struct warren_addr addr_unmap(const struct warren_addr *addr)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };	/* RFC 4291 2.5.5.2 */
	struct warren_addr v4 = { .family = 4 };

	if (addr->family != 6 || memcmp(addr->bytes, mapped, sizeof(mapped)) != 0)
		return *addr;
	memcpy(v4.bytes, addr->bytes + sizeof(mapped), 4);
	return v4;
}

socklen_t addrport_to_sockaddr(const struct warren_addrport *ap, struct sockaddr_storage *out)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(ap->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(ap->port) };

	memset(out, 0, sizeof(*out));
	if (ap->addr.family == 4) {
		memcpy(&v4.sin_addr, ap->addr.bytes, 4);
		memcpy(out, &v4, sizeof(v4));
		return sizeof(v4);
	}
	if (ap->addr.family == 6) {
		memcpy(&v6.sin6_addr, ap->addr.bytes, 16);
		memcpy(out, &v6, sizeof(v6));
		return sizeof(v6);
	}
	return 0;
}

int addrport_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct warren_addrport *out)
{
	struct warren_addrport ap = { 0 };

	if (len < sizeof(sa->sa_family))
		return -EINVAL;
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in v4;

		if (len < sizeof(v4))
			return -EINVAL;
		memcpy(&v4, sa, sizeof(v4));
		ap.addr.family = 4;
		memcpy(ap.addr.bytes, &v4.sin_addr, 4);
		ap.port = ntohs(v4.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 v6;

		if (len < sizeof(v6))
			return -EINVAL;
		memcpy(&v6, sa, sizeof(v6));
		ap.addr.family = 6;
		memcpy(ap.addr.bytes, &v6.sin6_addr, 16);
		ap.addr = addr_unmap(&ap.addr);
		ap.port = ntohs(v6.sin6_port);
	} else {
		return -EAFNOSUPPORT;
	}
	*out = ap;
	return 0;
}
