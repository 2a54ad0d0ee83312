/*
 * Names, ranges, blocks.
 */
#include "names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/hex.h"
#include "base/util.h"

static const char partial[] = ".partial", deleted[] = ".deleted";

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

/* The character at @s, of valid UTF-8; its length is returned. */
static size_t character(const unsigned char *s, uint32_t *out)
{
	size_t n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;

	*out = n == 1 ? *s : *s & (0x7fu >> n);
	for (size_t i = 1; i < n; i++)
		*out = *out << 6 | (s[i] & 0x3f);
	return n;
}

struct range {
	uint32_t first, last;
};

static bool within(const struct range *ranges, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n; i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

static bool is_space(uint32_t c)
{
	static const struct range spaces[] = {
		{ ' ', ' ' }, { 0xa0, 0xa0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200a },
		{ 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 },
	};

	return within(spaces, ARRAY_SIZE(spaces), c);
}

/* Controls, what orders or hides text, private use, and what is no character. */
static bool is_unseen(uint32_t c)
{
	static const struct range unseen[] = {
		{ 0, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x600, 0x605 }, { 0x61c, 0x61c },
		{ 0x6dd, 0x6dd }, { 0x70f, 0x70f }, { 0x180e, 0x180e }, { 0x200b, 0x200f },
		{ 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0xd800, 0xf8ff }, { 0xfdd0, 0xfdef },
		{ 0xfeff, 0xfeff }, { 0xfff0, 0xfffb }, { 0xfffe, 0xffff },
		{ 0x110bd, 0x110bd }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a },
		{ 0xe0000, 0x10ffff },
	};

	return within(unseen, ARRAY_SIZE(unseen), c);
}

bool drop_id_ok(const char *id)
{
	size_t len = id ? strlen(id) : 0;

	return len > 0 && len <= 64 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
		       len;
}

bool drop_name_ok(const char *name, const char *id)
{
	size_t len = strlen(name);
	uint32_t c = ' ';

	if (len == 0 || len + 1 + strlen(id) + strlen(partial) >= DROP_NAME ||
	    str_utf8_check(name, len) != len || strpbrk(name, "/\\:*\"<>|") ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || ends_with(name, partial) ||
	    ends_with(name, deleted))
		return false;
	for (const unsigned char *s = (const unsigned char *)name; *s;) {
		bool first = s == (const unsigned char *)name;

		s += character(s, &c);
		if (is_unseen(c) || (first && is_space(c)))
			return false;
	}
	return !is_space(c);
}

void drop_partial(const char *name, const char *id, char out[DROP_NAME])
{
	if (snprintf(out, DROP_NAME, "%s.%s%s", name, id, partial) >= DROP_NAME)
		abort();		/* drop_name_ok() has seen to it */
}

bool drop_partial_split(const char *entry, char name[DROP_NAME], char id[DROP_NAME])
{
	size_t len = strlen(entry), tail = strlen(partial);
	const char *dot;

	if (len >= DROP_NAME || !ends_with(entry, partial))
		return false;
	memcpy(name, entry, len - tail);
	name[len - tail] = '\0';
	dot = strrchr(name, '.');
	if (!dot || dot == name)
		return false;
	memcpy(id, dot + 1, strlen(dot + 1) + 1);
	name[dot - name] = '\0';
	return drop_id_ok(id) && drop_name_ok(name, id);
}

bool drop_is_whole(const char *entry)
{
	return !ends_with(entry, partial) && !ends_with(entry, deleted);
}

bool drop_numbered(const char *name, int n, char out[DROP_NAME])
{
	const char *dot = strrchr(name, '.');
	size_t base = dot && dot != name ? (size_t)(dot - name) : strlen(name);

	if (n == 0)
		return str_copy(out, DROP_NAME, name);
	return snprintf(out, DROP_NAME, "%.*s (%d)%s", (int)base, name, n, name + base) <
	       DROP_NAME;
}

bool drop_path_name(const char *path, char out[DROP_NAME])
{
	static const char prefix[] = "/v0/put";
	size_t len = 0;

	path += str_starts(path, prefix) ? sizeof(prefix) - 1 : 0;
	path += *path == '/';
	while (*path && *path != '?') {
		uint8_t byte = (uint8_t)*path;

		if (byte == '%') {
			char digits[3] = { path[1], path[1] ? path[2] : '\0', '\0' };

			if (hex_decode(&byte, 1, digits) || byte == '\0')
				return false;
			path += 2;
		}
		path++;
		if (byte == '/' || len + 1 >= DROP_NAME)
			return false;
		out[len++] = (char)byte;
	}
	out[len] = '\0';
	return true;
}

void drop_add_escaped(struct str *out, const char *name)
{
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    strchr("-._~", c))
			str_addc(out, *name);
		else
			str_addf(out, "%%%02X", c);
	}
}

bool drop_range(const char *text, int64_t *offset)
{
	static const char prefix[] = "bytes=";
	int64_t n = 0;

	if (!str_starts(text, prefix))
		return false;
	text += sizeof(prefix) - 1;
	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (n > INT64_MAX / 16)
			return false;
		n = 10 * n + (*text - '0');
	}
	*offset = n;
	return strcmp(text, "-") == 0;
}

void drop_block_format(const struct drop_block *block, struct str *out)
{
	char hex[65];

	hex_encode(hex, block->sha256, sizeof(block->sha256));
	str_addf(out, "{\"checksum\":\"%s\",\"algo\":\"sha256\",\"size\":%u}\n", hex, block->size);
}

static int block_of(const json_t *json, struct drop_block *out)
{
	const char *sum = json_string_value(json_object_get(json, "checksum"));
	const char *algo = json_string_value(json_object_get(json, "algo"));
	json_int_t size = json_integer_value(json_object_get(json, "size"));

	if (!sum || !algo || strcmp(algo, "sha256") != 0 || size < 1 || size > DROP_BLOCK_MAX ||
	    strlen(sum) != 2 * sizeof(out->sha256) ||
	    hex_decode(out->sha256, sizeof(out->sha256), sum))
		return -EBADMSG;
	out->size = (uint32_t)size;
	return 0;
}

int drop_block_parse(const char *text, size_t len, struct drop_block *out, size_t *used)
{
	size_t skip = 0;
	const char *end;
	json_t *json;
	int result;

	while (skip < len && (text[skip] == ' ' || text[skip] == '\n' || text[skip] == '\r' ||
			      text[skip] == '\t'))
		skip++;
	end = memchr(text + skip, '}', len - skip);
	if (!end)
		return len - skip > DROP_BLOCK_TEXT ? -EBADMSG : WARREN_PENDING;
	*used = (size_t)(end - text) + 1;
	if (*used - skip > DROP_BLOCK_TEXT)
		return -EBADMSG;
	json = json_loadb(text + skip, *used - skip, JSON_REJECT_DUPLICATES, NULL);
	result = json_is_object(json) ? block_of(json, out) : -EBADMSG;
	json_decref(json);
	return result;
}
