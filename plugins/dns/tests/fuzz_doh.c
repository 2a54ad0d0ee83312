/*
 * The path of a peer's request, and the question in it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/dnsmsg.h"
#include "plugins/dns/doh.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was read is what a client would write of it. */
static void check_text(const char *path, const uint8_t *msg, size_t len)
{
	static char text[BASE64_TEXT(DNS_DOH_MAX)];
	const char *value = strstr(path, "dns=") + 4;

	base64_encode(text, msg, len);
	text[strcspn(text, "=")] = '\0';
	for (char *at = text; *at; at++)
		*at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
	if (!strstr(path, text) || (value[0] != text[0] && !strstr(value, "dns=")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t msg[DNS_DOH_MAX];
	char *path = malloc(size + 1);
	struct dns_query q;
	int len;

	if (!path)
		abort();
	memcpy(path, data, size);
	path[size] = '\0';
	len = dns_doh_query(path, msg);
	if (len > DNS_DOH_MAX || len == 0)
		abort();
	if (len > 0) {
		check_text(path, msg, (size_t)len);
		if (dns_query_parse(msg, (size_t)len, &q) == 0 && q.name.len == 0)
			abort();
	}
	free(path);
	return 0;
}
