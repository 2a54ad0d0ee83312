/*
 * The text form is the plain one with two other digits and without padding.
 */
#include "doh.h"

#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/str.h"

enum { TEXT_MAX = BASE64_TEXT(DNS_DOH_MAX) - 1 };

static int decode(const char *text, size_t len, uint8_t out[DNS_DOH_MAX])
{
	char plain[TEXT_MAX];
	ssize_t n;

	if (len > sizeof(plain))
		return -EMSGSIZE;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '+' || text[i] == '/' || text[i] == '=')
			return -EINVAL;
		plain[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
	}
	while (len % 4 != 0 && len < sizeof(plain))
		plain[len++] = '=';
	n = base64_decode(out, DNS_DOH_MAX, plain, len);
	if (n == -EOVERFLOW)
		return -EMSGSIZE;
	return n <= 0 ? -EINVAL : (int)n;
}

int dns_doh_query(const char *path, uint8_t out[DNS_DOH_MAX])
{
	const char *at = strchr(path, '?');

	while (at) {
		size_t len = strcspn(++at, "&");

		if (str_starts(at, "dns="))
			return decode(at + 4, len - 4, out);
		at = at[len] ? at + len : NULL;
	}
	return -ENOENT;
}
