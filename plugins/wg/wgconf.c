/*
 * The parser takes what wg(8) and wg-quick(8) take: sections and keys in any case, # comments
 * anywhere, repeated lists, and of repeated single values the last. A table of keys says which
 * section a key belongs to and which function reads its value; unlike the originals, a mistake
 * does not end the work: up to ten are told at once.
 */
#include "wgconf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct span {				/* a piece of the file, not terminated */
	const char *at;
	size_t len;
};

struct parser {
	const char *name;
	struct warren_err *err;
	struct wg_conf *conf;
	struct wg_conf_peer *peer;	/* NULL: in [Interface] */
	bool any_section, skip;		/* skip: an unknown section */
	bool fresh_peer;		/* nothing but comments since [Peer] */
	struct span comment;		/* the line before, if it was one */
	uint32_t line;
	int errors;
	size_t items;
};

struct key {
	const char *name;
	bool peer;
	bool (*read)(struct parser *, const struct key *, struct span);
};

__attribute__((format(printf, 3, 4)))
static bool fail_at(struct parser *p, uint32_t line, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	warren_fail(p->err, NULL, "%s:%u: %s", p->name, line, text);
	p->errors++;
	return false;
}

/* What an error or a comment shows of foreign text: the start of it, in printable ASCII. */
struct shown {
	char text[81];
};

static struct shown show(struct span s)
{
	struct shown shown;
	size_t n = 0;

	for (; n < s.len && n < sizeof(shown.text) - 1; n++)
		shown.text[n] = s.at[n] >= ' ' && s.at[n] <= '~' ? s.at[n] : '?';
	shown.text[n] = '\0';
	return shown;
}

static bool out_of_memory(struct parser *p)
{
	return fail_at(p, p->line, "out of memory");
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct span trim(struct span s)
{
	while (s.len && blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len && blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

static bool equal(struct span s, const char *word)
{
	return strlen(word) == s.len && strncasecmp(s.at, word, s.len) == 0;
}

/* Cuts @s at the first @sep; true if there is one. The rest goes to @rest. */
static bool cut(struct span *s, char sep, struct span *rest)
{
	const char *at = s->len ? memchr(s->at, sep, s->len) : NULL;

	*rest = (struct span){ s->at + s->len, 0 };
	if (!at)
		return false;
	*rest = (struct span){ at + 1, s->len - (size_t)(at - s->at) - 1 };
	s->len = (size_t)(at - s->at);
	return true;
}

static bool copy(struct span s, char *out, size_t size)
{
	if (s.len >= size || (s.len && memchr(s.at, '\0', s.len)))
		return false;
	memcpy(out, s.at, s.len);
	out[s.len] = '\0';
	return true;
}

static bool number(struct span s, uint32_t max, uint32_t *out)
{
	uint64_t v = 0;

	if (!s.len || s.len > 10)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.at[i] < '0' || s.at[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.at[i] - '0');
	}
	*out = (uint32_t)v;
	return v <= max;
}

/*
 * Room for one more of @n elements. The old memory is wiped, for it may hold keys. NULL: none.
 */
static void *grow(void *old, size_t n, size_t *room, size_t size)
{
	size_t want = n ? 2 * n : 4;
	void *grown;

	if (n < *room)
		return old;
	grown = calloc(want, size);
	if (!grown)
		return NULL;
	if (n) {
		memcpy(grown, old, n * size);
		sodium_memzero(old, n * size);
	}
	free(old);
	*room = want;
	return grown;
}

static bool count_item(struct parser *p)
{
	if (p->items++ < WG_CONF_ITEMS_MAX)
		return true;
	return fail_at(p, p->line, "more than %d addresses, prefixes and commands in one file",
		       WG_CONF_ITEMS_MAX);
}

/* ---- Values ---- */

static bool read_key_bytes(struct parser *p, const struct key *key, struct span value,
			   uint8_t out[32])
{
	size_t len;

	if (value.len == 44 &&
	    sodium_base642bin(out, 32, value.at, value.len, NULL, &len, NULL,
			      sodium_base64_VARIANT_ORIGINAL) == 0 && len == 32)
		return true;
	sodium_memzero(out, 32);
	return fail_at(p, p->line, "%s is not a key: base64 of 32 bytes has 44 characters and ends "
		       "in =", key->name);
}

static bool read_private_key(struct parser *p, const struct key *key, struct span value)
{
	p->conf->has_private_key = true;
	return read_key_bytes(p, key, value, p->conf->private_key);
}

static bool read_public_key(struct parser *p, const struct key *key, struct span value)
{
	p->peer->has_key = true;
	return read_key_bytes(p, key, value, p->peer->public_key);
}

static bool read_psk(struct parser *p, const struct key *key, struct span value)
{
	if (!read_key_bytes(p, key, value, p->peer->psk))
		return false;
	p->peer->has_psk = !sodium_is_zero(p->peer->psk, sizeof(p->peer->psk));
	return true;
}

static bool read_prefix(struct span s, struct warren_prefix *prefix)
{
	char text[INET6_ADDRSTRLEN];
	struct span tail;
	bool has_bits = cut(&s, '/', &tail);
	uint32_t bits, max;

	memset(prefix, 0, sizeof(*prefix));
	if (!copy(s, text, sizeof(text)))
		return false;
	if (inet_pton(AF_INET, text, prefix->addr.bytes) == 1)
		prefix->addr.family = 4;
	else if (inet_pton(AF_INET6, text, prefix->addr.bytes) == 1)
		prefix->addr.family = 6;
	else
		return false;
	max = bits = prefix->addr.family == 4 ? 32 : 128;
	if (has_bits && !number(tail, max, &bits))
		return false;
	prefix->bits = (uint8_t)bits;
	return true;
}

static void clear_host_bits(struct warren_prefix *prefix)
{
	for (unsigned int i = prefix->bits; i < 128; i++)
		prefix->addr.bytes[i / 8] &= (uint8_t)~(0x80 >> i % 8);
}

/* A list with commas; empty is a list of none, as wg takes it for AllowedIPs. */
static bool read_prefixes(struct parser *p, const struct key *key, struct span value,
			  struct wg_conf_prefixes *list)
{
	struct span rest;

	for (; value.len; value = trim(rest)) {
		struct warren_prefix prefix, *grown;
		bool more = cut(&value, ',', &rest);

		value = trim(value);
		if (!read_prefix(value, &prefix))
			return fail_at(p, p->line, "%s: \"%s\" is not an address or a prefix",
				       key->name, show(value).text);
		if (key->peer)
			clear_host_bits(&prefix);
		if (!count_item(p))
			return false;
		grown = grow(list->at, list->n, &list->room, sizeof(*list->at));
		if (!grown)
			return out_of_memory(p);
		list->at = grown;
		list->at[list->n++] = prefix;
		if (more && !trim(rest).len)
			return fail_at(p, p->line, "%s ends in a comma", key->name);
	}
	return true;
}

static bool read_address(struct parser *p, const struct key *key, struct span value)
{
	return read_prefixes(p, key, value, &p->conf->address);
}

static bool read_allowed(struct parser *p, const struct key *key, struct span value)
{
	return read_prefixes(p, key, value, &p->peer->allowed);
}

static bool read_port(struct parser *p, const struct key *key, struct span value)
{
	if (number(value, 65535, &p->conf->port))
		return true;
	return fail_at(p, p->line, "%s: \"%s\" is not a port, 0 to 65535", key->name,
		       show(value).text);
}

static bool read_mtu(struct parser *p, const struct key *key, struct span value)
{
	/* RFC 791: every host takes 576 bytes. */
	if (number(value, 65535, &p->conf->mtu) && p->conf->mtu >= 576)
		return true;
	return fail_at(p, p->line, "%s: \"%s\" is not a number from 576 to 65535", key->name,
		       show(value).text);
}

static bool read_keepalive(struct parser *p, const struct key *key, struct span value)
{
	uint32_t seconds = 0;

	if (!equal(value, "off") && !number(value, 65535, &seconds))
		return fail_at(p, p->line, "%s: \"%s\" is not \"off\" or seconds, 0 to 65535",
			       key->name, show(value).text);
	p->peer->keepalive = (uint16_t)seconds;
	return true;
}

static bool host_ok(const char *host, bool bracketed)
{
	struct in6_addr addr;

	if (bracketed)
		return inet_pton(AF_INET6, host, &addr) == 1;
	for (; *host; host++) {
		if (!strchr("-_.", *host) && !(*host >= '0' && *host <= '9') &&
		    !((*host | 32) >= 'a' && (*host | 32) <= 'z'))
			return false;
	}
	return true;
}

static bool read_endpoint(struct parser *p, const struct key *key, struct span value)
{
	struct wg_conf_peer *peer = p->peer;
	const char *colon = memrchr(value.at, ':', value.len);
	struct span host = value, port = { value.at, 0 };
	bool bracketed = value.at[0] == '[';
	uint32_t n;

	if (colon) {
		host.len = (size_t)(colon - value.at);
		port = (struct span){ colon + 1, value.len - host.len - 1 };
	}
	if (bracketed && host.len >= 2 && host.at[host.len - 1] == ']')
		host = (struct span){ host.at + 1, host.len - 2 };
	else if (bracketed)
		host.len = 0;
	if (!number(port, 65535, &n) || !n || !host.len ||
	    !copy(host, peer->host, sizeof(peer->host)) || !host_ok(peer->host, bracketed)) {
		peer->host[0] = '\0';
		return fail_at(p, p->line, "%s: \"%s\" is not HOST:PORT or [IPV6]:PORT with a port "
			       "number", key->name, show(value).text);
	}
	peer->port = (uint16_t)n;
	return true;
}

/* What Warren does not do is kept as text, for the comments of the output. */
static bool read_text(struct parser *p, const struct key *key, struct span value)
{
	struct wg_conf *conf = p->conf;
	struct wg_conf_text *grown;

	if (!count_item(p))
		return false;
	grown = grow(conf->text, conf->text_n, &conf->text_room, sizeof(*conf->text));
	if (!grown)
		return out_of_memory(p);
	conf->text = grown;
	grown[conf->text_n] = (struct wg_conf_text){
		.key = key->name, .value = strndup(value.at, value.len), .line = p->line,
	};
	if (!grown[conf->text_n].value)
		return out_of_memory(p);
	conf->text_n++;
	return true;
}

static bool read_save(struct parser *p, const struct key *key, struct span value)
{
	if (equal(value, "true"))
		return read_text(p, key, value);
	return equal(value, "false") ||
	       fail_at(p, p->line, "%s: \"%s\" is not \"true\" or \"false\"", key->name,
		       show(value).text);
}

static bool read_table(struct parser *p, const struct key *key, struct span value)
{
	return equal(value, "auto") || read_text(p, key, value);
}

static const struct key keys[] = {	/* wg(8) CONFIGURATION FILE FORMAT, wg-quick(8) */
	{ "PrivateKey", false, read_private_key },
	{ "ListenPort", false, read_port },
	{ "FwMark", false, read_text },
	{ "Address", false, read_address },
	{ "DNS", false, read_text },
	{ "MTU", false, read_mtu },
	{ "Table", false, read_table },
	{ "PreUp", false, read_text },
	{ "PostUp", false, read_text },
	{ "PreDown", false, read_text },
	{ "PostDown", false, read_text },
	{ "SaveConfig", false, read_save },
	{ "PublicKey", true, read_public_key },
	{ "PresharedKey", true, read_psk },
	{ "AllowedIPs", true, read_allowed },
	{ "Endpoint", true, read_endpoint },
	{ "PersistentKeepalive", true, read_keepalive },
};

/* ---- Lines ---- */

static bool take_comment(struct parser *p, struct span comment)
{
	char *text = strndup(comment.at, comment.len);

	if (!text)
		return out_of_memory(p);
	free(p->peer->comment);
	p->peer->comment = text;
	return true;
}

static bool begin_peer(struct parser *p)
{
	struct wg_conf *conf = p->conf;
	struct wg_conf_peer *grown;

	if (conf->peer_n == WG_CONF_PEERS_MAX)
		return fail_at(p, p->line, "more than %d peers in one file", WG_CONF_PEERS_MAX);
	grown = grow(conf->peer, conf->peer_n, &conf->peer_room, sizeof(*conf->peer));
	if (!grown)
		return out_of_memory(p);
	conf->peer = grown;
	p->peer = &grown[conf->peer_n++];
	p->peer->line = p->line;
	p->fresh_peer = true;
	return !p->comment.len || take_comment(p, p->comment);
}

static bool section_line(struct parser *p, struct span line)
{
	p->any_section = true;
	p->skip = false;
	p->peer = NULL;
	p->fresh_peer = false;
	if (equal(line, "[Interface]"))
		return true;
	if (equal(line, "[Peer]"))
		return begin_peer(p);
	p->skip = true;
	return fail_at(p, p->line, "\"%s\" is no section: [Interface] or [Peer]",
		       show(line).text);
}

static bool key_line(struct parser *p, struct span line)
{
	struct span value;
	bool has_value = cut(&line, '=', &value);

	line = trim(line);
	value = trim(value);
	if (p->skip)
		return true;
	if (!has_value)
		return fail_at(p, p->line, "\"%s\" is neither a section nor KEY = VALUE",
			       show(line).text);
	if (!p->any_section)
		return fail_at(p, p->line, "%s comes before any section: [Interface] goes first",
			       show(line).text);
	p->fresh_peer = false;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!equal(line, keys[i].name))
			continue;
		if (keys[i].peer != (p->peer != NULL))
			return fail_at(p, p->line, "%s belongs into [%s]", keys[i].name,
				       keys[i].peer ? "Peer" : "Interface");
		if (!value.len && keys[i].read != read_allowed)
			return fail_at(p, p->line, "%s has no value", keys[i].name);
		return keys[i].read(p, &keys[i], value);
	}
	return fail_at(p, p->line, "\"%s\" is no key that wg or wg-quick knows", show(line).text);
}

static bool one_line(struct parser *p, struct span line)
{
	struct span comment;
	bool has_comment, ok = true;

	if (line.len > WG_CONF_LINE_MAX)
		return fail_at(p, p->line, "a line of more than %d bytes", WG_CONF_LINE_MAX);
	if (line.len && memchr(line.at, '\0', line.len))
		return fail_at(p, p->line, "a NUL byte: this is no text file");
	has_comment = cut(&line, '#', &comment);
	line = trim(line);
	comment = trim(comment);
	if (line.len) {
		ok = line.at[0] == '[' ? section_line(p, line) : key_line(p, line);
		comment.len = 0;
	} else if (has_comment && p->fresh_peer && comment.len) {
		ok = take_comment(p, comment);
		p->fresh_peer = false;
		comment.len = 0;
	}
	p->comment = comment;
	return ok;
}

static int compare_keys(const void *a, const void *b)
{
	const struct wg_conf_peer *const *x = a, *const *y = b;
	int order = memcmp((*x)->public_key, (*y)->public_key, 32);

	return order ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* What only the whole file shows: peers without a key, and two peers with one. */
static void check_peers(struct parser *p)
{
	const struct wg_conf *conf = p->conf;
	const struct wg_conf_peer **sorted;

	for (size_t i = 0; i < conf->peer_n && p->errors < WG_CONF_ERRORS_MAX; i++) {
		if (!conf->peer[i].has_key)
			fail_at(p, conf->peer[i].line, "this [Peer] has no PublicKey");
	}
	if (p->errors || !conf->peer_n)
		return;
	sorted = calloc(conf->peer_n, sizeof(*sorted));
	if (!sorted) {
		out_of_memory(p);
		return;
	}
	for (size_t i = 0; i < conf->peer_n; i++)
		sorted[i] = &conf->peer[i];
	qsort(sorted, conf->peer_n, sizeof(*sorted), compare_keys);
	for (size_t i = 1; i < conf->peer_n && p->errors < WG_CONF_ERRORS_MAX; i++) {
		if (!memcmp(sorted[i]->public_key, sorted[i - 1]->public_key, 32))
			fail_at(p, sorted[i]->line, "this [Peer] has the PublicKey of the one in "
				"line %u", sorted[i - 1]->line);
	}
	free(sorted);
}

struct wg_conf *wg_conf_parse(const char *name, const char *data, size_t len,
			      struct warren_err *err)
{
	struct parser p = { .name = name, .err = err, .conf = calloc(1, sizeof(*p.conf)) };
	struct span line = { data, len }, rest;
	bool more = true;

	if (!p.conf) {
		out_of_memory(&p);
		return NULL;
	}
	if (len > WG_CONF_FILE_MAX)
		fail_at(&p, 1, "the file has more than %d bytes", WG_CONF_FILE_MAX);
	while (more && p.errors < WG_CONF_ERRORS_MAX && len <= WG_CONF_FILE_MAX) {
		p.line++;
		more = cut(&line, '\n', &rest);
		one_line(&p, line);
		line = rest;
	}
	if (!p.errors && !p.any_section)
		fail_at(&p, 1, "there is no [Interface] in this file");
	if (p.errors < WG_CONF_ERRORS_MAX)
		check_peers(&p);
	if (!p.errors)
		return p.conf;
	wg_conf_free(p.conf);
	return NULL;
}

void wg_conf_free(struct wg_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->peer_n; i++) {
		free(conf->peer[i].comment);
		free(conf->peer[i].allowed.at);
	}
	if (conf->peer)
		sodium_memzero(conf->peer, conf->peer_n * sizeof(*conf->peer));
	for (size_t i = 0; i < conf->text_n; i++)
		free(conf->text[i].value);
	free(conf->peer);
	free(conf->text);
	free(conf->address.at);
	sodium_memzero(conf, sizeof(*conf));
	free(conf);
}
