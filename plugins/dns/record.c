/*
 * What records say, as text.
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

/*
 * ---- Reading ----
 */

/* The next word of a value, at most 253 bytes; NULL: none. Moves *@text behind it. */
static const char *next_word(const char **text, char out[256])
{
	size_t len;

	*text += strspn(*text, " \t");
	len = strcspn(*text, " \t");
	if (len == 0 || len > 255)
		return NULL;
	memcpy(out, *text, len);
	out[len] = '\0';
	*text += len;
	return out;
}

static bool put_number(struct buf_writer *w, const char **text)
{
	char word[256];
	int64_t value;

	if (!next_word(text, word) || units_parse_int(word, &value) || value < 0 ||
	    value > UINT16_MAX)
		return false;
	return buf_put_be16(w, (uint16_t)value);
}

static bool put_name(struct buf_writer *w, const char **text)
{
	struct dns_name name;
	char word[256];

	return next_word(text, word) && dns_name_parse(word, &name) == 0 &&
	       buf_put_bytes(w, name.wire, name.len);
}

static bool put_address(struct buf_writer *w, const char **text, int family)
{
	struct warren_addr addr;
	char word[256];

	return next_word(text, word) && addr_parse(word, &addr) == 0 && addr.family == family &&
	       buf_put_bytes(w, addr.bytes, addr_size(&addr));
}

/*
 * Character strings (RFC 1035 3.3): in quotes with \" and \\, or the whole value as one text. Cut
 * to pieces of 255 bytes.
 */
static bool put_texts(struct buf_writer *w, const char **text)
{
	bool quoted = **text == '"';
	uint8_t piece[255];
	size_t n = 0;

	if (quoted)
		(*text)++;
	while (**text && !(quoted && **text == '"')) {
		if (quoted && **text == '\\' && (*text)[1])
			(*text)++;
		piece[n++] = (uint8_t)*(*text)++;
		if (n < sizeof(piece))
			continue;
		buf_put_u8(w, (uint8_t)n);
		buf_put_bytes(w, piece, n);
		n = 0;
	}
	buf_put_u8(w, (uint8_t)n);
	buf_put_bytes(w, piece, n);
	if (!quoted)
		return !w->failed;
	if (*(*text)++ != '"')
		return false;
	*text += strspn(*text, " \t");
	return **text ? **text == '"' && put_texts(w, text) : !w->failed;
}

/* "\# 4 c0000201" */
static bool put_raw(struct buf_writer *w, const char **text)
{
	AUTO(str_free) struct str digits = STR_INIT;
	char word[256];
	int64_t len;
	uint8_t *to;

	*text += strlen("\\#");
	if (!next_word(text, word) || units_parse_int(word, &len) || len < 0 || len > UINT16_MAX)
		return false;
	while (next_word(text, word))
		str_add(&digits, word);
	to = digits.len == 2 * (size_t)len ? buf_reserve(w, (size_t)len) : NULL;
	return to && hex_decode(to, (size_t)len, str_text(&digits)) == 0;
}

static bool put(struct buf_writer *w, uint16_t type, const char **text)
{
	if (str_starts(*text, "\\#"))
		return type != DNS_CNAME && put_raw(w, text);
	switch (type) {
	case DNS_A:
		return put_address(w, text, 4);
	case DNS_AAAA:
		return put_address(w, text, 6);
	case DNS_NS:
	case DNS_PTR:
		return put_name(w, text);
	case DNS_MX:
		return put_number(w, text) && put_name(w, text);
	case DNS_SRV:
		return put_number(w, text) && put_number(w, text) && put_number(w, text) &&
		       put_name(w, text);
	case DNS_TXT:
		return put_texts(w, text);
	default:
		return false;
	}
}

int dns_record_parse(uint16_t type, const char *value, uint8_t *out, size_t size)
{
	struct buf_writer w;

	buf_writer_init(&w, out, size);
	value += strspn(value, " \t");
	if (!put(&w, type, &value))
		return -EINVAL;
	value += strspn(value, " \t");
	return *value ? -EINVAL : (int)buf_written(&w);
}

/*
 * ---- Writing ----
 */

struct source {
	const uint8_t *msg;
	size_t at, end;
};

static bool add_number(struct source *s, struct str *out)
{
	if (s->at + 2 > s->end)
		return false;
	str_addf(out, "%u", s->msg[s->at] << 8 | s->msg[s->at + 1]);
	s->at += 2;
	return true;
}

static bool add_number32(struct source *s, struct str *out)
{
	uint32_t value = 0;

	if (s->at + 4 > s->end)
		return false;
	for (int i = 0; i < 4; i++)
		value = value << 8 | s->msg[s->at++];
	str_addf(out, "%u", value);
	return true;
}

static bool add_name(struct source *s, struct str *out)
{
	char text[DNS_NAME_TEXT];
	struct dns_name name;
	struct buf_reader r;

	buf_reader_init(&r, s->msg + s->at, s->end - s->at);
	if (!dns_name_skip(&r) || !dns_name_expand(s->msg, s->end, s->at, &name))
		return false;
	s->at = (size_t)(r.at - s->msg);
	dns_name_text(&name, text);
	str_addf(out, "%s%s", text, name.len > 1 ? "." : "");
	return true;
}

static bool add_address(struct source *s, int family, struct str *out)
{
	struct warren_addr addr = { .family = (uint8_t)family };
	char text[ADDR_TEXT];

	if (s->end - s->at != addr_size(&addr))
		return false;
	memcpy(addr.bytes, s->msg + s->at, s->end - s->at);
	s->at = s->end;
	str_add(out, addr_format(&addr, text));
	return true;
}

static bool add_texts(struct source *s, struct str *out)
{
	for (bool first = true; s->at < s->end; first = false) {
		size_t n = s->msg[s->at++];

		if (s->at + n > s->end)
			return false;
		str_add(out, first ? "\"" : " \"");
		str_add_clean(out, (const char *)s->msg + s->at, n, n);
		str_add(out, "\"");
		s->at += n;
	}
	return true;
}

static bool add(struct source *s, uint16_t type, struct str *out)
{
	static const char forms[][9] = {
		[DNS_NS] = "n", [DNS_CNAME] = "n", [DNS_PTR] = "n", [DNS_MX] = "2n",
		[DNS_SRV] = "222n", [DNS_SOA] = "nn44444",
	};

	if (type == DNS_A || type == DNS_AAAA)
		return add_address(s, type == DNS_A ? 4 : 6, out);
	if (type == DNS_TXT)
		return add_texts(s, out);
	if (type >= ARRAY_SIZE(forms) || !forms[type][0])
		return false;
	for (const char *form = forms[type]; *form; form++) {
		bool good = *form == 'n' ? add_name(s, out) :
			    *form == '2' ? add_number(s, out) : add_number32(s, out);

		if (!good)
			return false;
		if (form[1])
			str_addc(out, ' ');
	}
	return s->at == s->end;
}

void dns_record_text(const uint8_t *msg, size_t len, const struct dns_record_view *record,
		     struct str *out)
{
	struct source s = { msg, record->data, record->data + record->len };
	size_t before = out->len;

	if (s.end <= len && add(&s, record->type, out))
		return;
	str_cut(out, before);
	str_addf(out, "\\# %u ", record->len);
	for (size_t i = record->data; i < record->data + record->len && i < len; i++)
		str_addf(out, "%02x", msg[i]);
}
