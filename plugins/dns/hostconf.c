/*
 * What /etc/resolv.conf says.
 */
#include "hostconf.h"

#include <string.h>

#include "base/resolv.h"
#include "base/str.h"

enum { LINE_MAX_BYTES = 1024 };

/* The next word of a line, cut out of it; NULL: none. */
static char *next_word(char **at)
{
	char *word = *at + strspn(*at, " \t\r");
	size_t len = strcspn(word, " \t\r");

	if (len == 0)
		return NULL;
	*at = word + len + (word[len] != '\0');
	word[len] = '\0';
	return word;
}

/* One that needs an interface to be reached ("fe80::1%eth0") is left out. */
static void read_server(char *at, struct dns_hostconf *out)
{
	const char *word = next_word(&at);
	struct dns_upstream server;

	if (word && out->servers.n < DNS_UPSTREAMS && !strchr(word, '[') &&
	    dns_upstream_parse(word, &server) == 0 && server.at.port == 53 &&
	    !dns_is_service(&server.at.addr))
		out->servers.up[out->servers.n++] = server;
}

/* The last line of this kind counts, whole. */
static void read_search(char *at, struct dns_hostconf *out)
{
	const char *word;

	out->n_search = 0;
	while ((word = next_word(&at)) && out->n_search < DNS_SEARCH) {
		struct dns_name *to = &out->search[out->n_search];

		if (dns_name_parse(word, to) == 0 && to->len > 1)
			out->n_search++;
	}
}

void dns_hostconf_parse(const char *text, size_t len, struct dns_hostconf *out)
{
	size_t size;

	memset(out, 0, sizeof(*out));
	out->owner = resolv_keeper(text, len);
	for (; len > 0; text += size, len -= size) {
		const char *end = memchr(text, '\n', len);
		char line[LINE_MAX_BYTES], *at = line;
		const char *word;
		size_t n = end ? (size_t)(end - text) : len;

		size = n + (end != NULL);
		if (n >= sizeof(line) || memchr(text, '\0', n))
			continue;
		memcpy(line, text, n);
		line[n] = '\0';
		word = line[0] == '#' || line[0] == ';' ? NULL : next_word(&at);
		if (!word)
			continue;
		if (str_equal(word, "nameserver"))
			read_server(at, out);
		else if (str_equal(word, "search") || str_equal(word, "domain"))
			read_search(at, out);
	}
}
