/*
 * Whose address a request comes from: that of the connection, or of the client in front of a proxy
 * that the operator trusts. X-Forwarded-For is read from its end, where the proxies add what they
 * have seen; what stands before the first one that is not trusted anybody can have written.
 */
#include "server.h"

#include <string.h>

#include "base/addr.h"
#include "base/str.h"

enum { HOPS = 16 };

struct cursor {				/* the next element is the last one before it */
	const struct warren_http_head *head;
	uint32_t field;			/* fields that were not looked at */
	const char *value;		/* of the present one, or NULL */
	size_t left;
};

/* Several fields of the name are one list (RFC 9110 5.3). */
static bool element_before(struct cursor *c, const char **text, size_t *len)
{
	size_t from;

	while (!c->value) {
		if (c->field == 0)
			return false;
		c->field--;
		if (strcmp(c->head->fields[c->field].name, "x-forwarded-for") == 0) {
			c->value = c->head->fields[c->field].value;
			c->left = strlen(c->value);
		}
	}
	for (from = c->left; from > 0 && c->value[from - 1] != ','; from--)
		;
	*text = c->value + from;
	*len = c->left - from;
	if (from > 0)
		c->left = from - 1;
	else
		c->value = NULL;
	return true;
}

/* "192.0.2.7", "2001:db8::7" or that in brackets; nothing else is guessed at. */
static bool parse_element(const char *text, size_t len, struct warren_addr *out)
{
	char plain[ADDR_TEXT];
	struct warren_addr addr;

	for (; len > 0 && (text[0] == ' ' || text[0] == '\t'); len--)
		text++;
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(plain))
		return false;
	memcpy(plain, text, len);
	plain[len] = '\0';
	if (addr_parse(plain, &addr))
		return false;
	*out = addr_unmap(&addr);
	return true;
}

static bool trusted(const struct coord_proxies *proxies, const struct warren_addr *addr)
{
	for (uint32_t i = 0; i < proxies->n; i++) {
		if (prefix_contains(&proxies->at[i], addr))
			return true;
	}
	return false;
}

struct warren_addr coord_forwarded(const struct coord_proxies *proxies,
				   const struct warren_addr *peer,
				   const struct warren_http_head *head)
{
	struct cursor cursor = { .head = head, .field = head->n_fields };
	struct warren_addr at = *peer;
	const char *text;
	size_t len;

	for (int hop = 0; hop < HOPS && trusted(proxies, &at); hop++) {
		if (!element_before(&cursor, &text, &len) || !parse_element(text, len, &at))
			break;
	}
	return at;
}
