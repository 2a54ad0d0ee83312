/*
 * What the stock client printed.
 */
#include "stock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "feed.h"

static void require(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "data/cli: %s\n", what);
		abort();
	}
}

char *stock_file(const char *name)
{
	const char *top = getenv("WARREN_SRCDIR");
	AUTO(str_free) struct str path = STR_INIT;
	char *text = calloc(1, 65536);
	FILE *f;

	str_addf(&path, "%s/plugins/control/tests/data/cli/%s", top ? top : ".", name);
	f = fopen(str_text(&path), "r");
	require(f && text, str_text(&path));
	require(fread(text, 1, 65535, f) < 65535 && !ferror(f), "a file cannot be read");
	fclose(f);
	return text;
}

/* "command\nexit: N\n[note: ...\n]--- stdout\n...--- stderr\n..." */
void stock_read(const char *name, struct stock *stock)
{
	static const char cut[] = "\\ no newline at end\n";
	AUTO(str_free) struct str file = STR_INIT;
	AUTO(auto_free) char *text = NULL;
	char *out, *err, *mark;

	*stock = (struct stock){ .out = STR_INIT, .err = STR_INIT };
	str_addf(&file, "%s.txt", name);
	text = stock_file(str_text(&file));
	out = strstr(text, "--- stdout\n");
	err = strstr(text, "--- stderr\n");
	require(out && err && sscanf(text, "%511[^\n]\nexit: %d", stock->command,
				     &stock->exit) == 2, name);
	str_addn(&stock->out, out + 11, (size_t)(err - out) - 11);
	str_add(&stock->err, err + 11);
	mark = strstr(str_text(&stock->out), cut);
	if (mark)
		str_cut(&stock->out, (size_t)(mark - str_text(&stock->out)));
}

void stock_free(struct stock *stock)
{
	str_free(&stock->out);
	str_free(&stock->err);
}

struct feed *stock_map_new(void)
{
	struct feed *map = calloc(1, sizeof(*map));

	require(map, "no memory");
	feed_open(map, NULL, NULL);
	return map;
}

const struct warren_netmap *stock_map_feed(struct feed *map, const char *name)
{
	AUTO(auto_free) char *text = stock_file(name);

	require(feed_json(map, text) == 0 && map->bad.len == 0, name);
	return map->now;
}

void stock_map_free(struct feed *map)
{
	feed_close(map);
	free(map);
}

void stock_rename(struct str *text)
{
	static const char theirs[] = "Tailscale", ours[] = "Warren";
	AUTO(str_free) struct str from = STR_INIT;
	const char *at, *next;

	str_addn(&from, str_text(text), text->len);
	str_cut(text, 0);
	for (at = str_text(&from); (next = strstr(at, theirs)); at = next + strlen(theirs)) {
		str_addn(text, at, (size_t)(next - at));
		str_add(text, ours);
	}
	str_add(text, at);
}

/* "...T17:39:45.060302892Z" to six digits, and no zeros at their end. */
static bool same_time(const char *theirs, const char *ours)
{
	const char *dot = strchr(theirs, '.');
	char cut[64];
	size_t len;

	if (!dot || strspn(dot + 1, "0123456789") != strlen(dot) - 2)
		return false;
	len = (size_t)(dot - theirs) + (strlen(dot) > 8 ? 7 : strlen(dot) - 1);
	if (len >= sizeof(cut) - 1)
		return false;
	memcpy(cut, theirs, len);
	while (cut[len - 1] == '0')
		len--;
	len -= cut[len - 1] == '.';
	memcpy(cut + len, "Z", 2);
	return strcmp(cut, ours) == 0;
}

static bool same(const json_t *a, const json_t *b)
{
	return json_equal(a, b) || (json_is_string(a) && json_is_string(b) &&
				    same_time(json_string_value(a), json_string_value(b)));
}

static void add_difference(const char *path, const json_t *theirs, const json_t *ours,
			   struct str *out)
{
	char *a = json_dumps(theirs, JSON_ENCODE_ANY), *b = json_dumps(ours, JSON_ENCODE_ANY);

	str_addf(out, "%s %s %s\n", path, a ? a : "(absent)", b ? b : "(absent)");
	free(a);
	free(b);
}

static void compare(const char *path, const json_t *theirs, const json_t *ours, struct str *out)
{
	const char *key;
	json_t *value;

	if (!json_is_object(theirs) || !json_is_object(ours)) {
		if (!same(theirs, ours))
			add_difference(path, theirs, ours, out);
		return;
	}
	json_object_foreach((json_t *)theirs, key, value) {
		AUTO(str_free) struct str below = STR_INIT;

		str_addf(&below, "%s/%s", path, key);
		compare(str_text(&below), value, json_object_get(ours, key), out);
	}
	json_object_foreach((json_t *)ours, key, value) {
		AUTO(str_free) struct str below = STR_INIT;

		str_addf(&below, "%s/%s", path, key);
		if (!json_object_get(theirs, key))
			add_difference(str_text(&below), NULL, value, out);
	}
}

void stock_compare(const json_t *theirs, const json_t *ours, struct str *out)
{
	compare("", theirs, ours, out);
}
