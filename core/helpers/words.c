/*
 * What resolvconf, systemd-resolved and files of the host say, as texts.
 */
#include "helpers/hostdns.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Bytes of servers or of search domains: more than anybody asks. */
enum { WORDS_MAX = 4096 };

char *hostdns_line(char **text)
{
	char *line = *text, *end;

	if (!line || !*line)
		return NULL;
	end = line + strcspn(line, "\n");
	*text = *end ? end + 1 : end;
	*end = '\0';
	return line;
}

const char *hostdns_words(const char *line, const char *key)
{
	size_t len = strlen(key);

	line += strspn(line, " \t");
	if (strncmp(line, key, len) != 0 || !strchr(" \t", line[len]) || !line[len])
		return NULL;
	return line + len + strspn(line + len, " \t");
}

bool hostdns_is_service(const char *address)
{
	size_t len = strcspn(address, " \t\r");

	return (len == 15 && strncmp(address, "100.100.100.100", len) == 0) ||
	       (len == 18 && strncmp(address, "fd7a:115c:a1e0::53", len) == 0);
}

/*
 * ---- What others have said, gathered ----
 */

static bool has_word(const struct str *words, const char *word, size_t len)
{
	for (const char *at = str_text(words); *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");

		if (n == len && strncmp(at, word, len) == 0)
			return true;
		at += n;
	}
	return false;
}

/* At most @max of them. */
static void add_words(struct str *to, const char *words, size_t max)
{
	static const char space[] = " \t\r\n";

	for (const char *at = words; max > 0 && *at && *at != '#'; at += strspn(at, space)) {
		size_t n = strcspn(at, space);

		max--;
		if (to->len + n < WORDS_MAX && !has_word(to, at, n)) {
			if (to->len > 0)
				str_addc(to, ' ');
			str_addn(to, at, n);
		}
		at += n;
	}
}

void hostdns_base_add(struct hostdns_base *base, const char *line)
{
	const char *words = hostdns_words(line, "nameserver");

	if (words && !hostdns_is_service(words))
		add_words(&base->servers, words, 1);
	words = hostdns_words(line, "search");
	if (!words)
		words = hostdns_words(line, "domain");
	if (words)
		add_words(&base->search, words, SIZE_MAX);
}

void hostdns_base_free(struct hostdns_base *base)
{
	str_free(&base->servers);
	str_free(&base->search);
}

void hostdns_base_print(const struct hostdns_base *base, struct str *out)
{
	const char *at = str_text(&base->servers);

	while (*at) {
		size_t n = strcspn(at, " ");

		str_add(out, "nameserver ");
		str_addn(out, at, n);
		str_addc(out, '\n');
		at += n + strspn(at + n, " ");
	}
	if (base->search.len > 0)
		str_addf(out, "search %s\n", str_text(&base->search));
}

/*
 * ---- resolvconf ----
 */

void resolvconf_records(char *text, const char *name, struct resolvconf_records *out)
{
	static const char head[] = "# resolv.conf from ";
	char *line;
	bool skip = false;

	while ((line = hostdns_line(&text))) {
		if (str_starts(line, head)) {
			const char *whose = line + strlen(head);

			skip = str_starts(whose, RESOLVCONF_OURS);
			if (str_equal(whose, name))
				out->ours = true;
			else if (skip)
				str_copy(out->other, sizeof(out->other), whose);
		} else if (!skip) {
			hostdns_base_add(&out->base, line);
		}
	}
}

void hostdns_base_leave_out_loops(struct hostdns_base *base)
{
	AUTO(str_free) struct str kept = STR_INIT;
	const char *at = str_text(&base->servers);

	while (*at) {
		size_t n = strcspn(at, " ");

		if (!str_starts(at, "127.") && !str_starts(at, "::1")) {
			if (kept.len > 0)
				str_addc(&kept, ' ');
			str_addn(&kept, at, n);
		}
		at += n + strspn(at + n, " ");
	}
	if (kept.len == 0)
		return;
	str_cut(&base->servers, 0);
	str_addn(&base->servers, str_text(&kept), kept.len);
}

void resolvconf_compose(char *file, char *record, struct str *out)
{
	AUTO(str_free) struct str rest = STR_INIT;
	bool begun = false;
	char *line;

	while ((line = hostdns_line(&file))) {
		bool comment = line[0] == '#' || line[0] == ';';

		begun = begun || !comment;
		if (!begun)
			str_addf(out, "%s\n", line);
		else if (!hostdns_words(line, "nameserver") && !hostdns_words(line, "search") &&
			 !hostdns_words(line, "domain"))
			str_addf(&rest, "%s\n", line);
	}
	while ((line = hostdns_line(&record))) {
		if (line[0] != '#')
			str_addf(out, "%s\n", line);
	}
	str_addn(out, str_text(&rest), rest.len);
}

/*
 * ---- systemd-resolved ----
 */

bool resolved_is_source(char *nsswitch)
{
	static const char key[] = "hosts:";
	const char *words = NULL;
	char *line;

	while (!words && (line = hostdns_line(&nsswitch))) {
		line += strspn(line, " \t");
		words = str_starts(line, key) ? line + strlen(key) : NULL;
	}
	for (; words && *words && *words != '#'; words += strspn(words, " \t")) {
		size_t n = strcspn(words, " \t");

		if (n == 7 && strncmp(words, "resolve", n) == 0)
			return true;
		if (n == 3 && strncmp(words, "dns", n) == 0)
			return false;
		words += n;
	}
	return false;
}

bool resolved_is_named(const struct str *text)
{
	AUTO(auto_free) char *copy = strdup(str_text(text));
	char *at = copy, *line;
	bool named = false;

	while ((line = hostdns_line(&at))) {
		const char *address = hostdns_words(line, "nameserver");

		if (address &&
		    (strncmp(address, "127.0.0.53", 10) != 0 || !strchr(" \t\r", address[10])))
			return false;
		named = named || address;
	}
	return named;
}

bool hostdns_address(int family, const void *bytes, size_t len, char text[INET6_ADDRSTRLEN])
{
	return (family == AF_INET ? len == 4 : family == AF_INET6 && len == 16) &&
	       inet_ntop(family, bytes, text, INET6_ADDRSTRLEN);
}

void hostdns_base_add_address(struct hostdns_base *base, int family, const void *bytes, size_t len)
{
	AUTO(str_free) struct str line = STR_INIT;
	char text[INET6_ADDRSTRLEN];

	if (!hostdns_address(family, bytes, len, text))
		return;
	str_addf(&line, "nameserver %s", text);
	hostdns_base_add(base, str_text(&line));
}
