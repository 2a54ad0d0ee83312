/*
 * What /etc/resolv.conf says.
 */
#include "hostconf.h"

#include <string.h>

#include "base/str.h"
#include "base/util.h"

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

/* Whose file it is stands in the comments ahead of all else; the last one that says so counts. */
static void read_comment(const char *line, struct dns_hostconf *out)
{
	static const char *const owners[] = { "systemd-resolved", "NetworkManager", "resolvconf" };

	for (size_t i = 0; i < ARRAY_SIZE(owners); i++) {
		if (strstr(line, owners[i]))
			out->owner = owners[i];
	}
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
	bool begun = false;
	size_t size;

	memset(out, 0, sizeof(*out));
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
		if (line[0] == '#' || line[0] == ';') {
			if (!begun)
				read_comment(line, out);
			continue;
		}
		word = next_word(&at);
		if (!word)
			continue;
		begun = true;
		if (str_equal(word, "nameserver"))
			read_server(at, out);
		else if (str_equal(word, "search") || str_equal(word, "domain"))
			read_search(at, out);
	}
}
