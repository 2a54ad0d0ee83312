/*
 * Runs golden cases. What is printed must parse again to the same, as YAML and as JSON.
 */
#include "cases.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"

enum { MAX_SOURCES = 16, MAX_FILE = 8 << 20 };

struct sources {
	struct wcore_conf_source list[MAX_SOURCES];
	char names[MAX_SOURCES][NAME_MAX + 1];
	void *bytes[MAX_SOURCES];
	size_t count;
};

static bool add_source(struct sources *s, const char *dir, const char *name, uint32_t flags)
{
	struct wcore_conf_source *source = &s->list[s->count];
	AUTO(str_free) struct str path = STR_INIT;

	str_addf(&path, "%s/%s", dir, name);
	if (s->count == MAX_SOURCES || !str_copy(s->names[s->count], NAME_MAX + 1, name) ||
	    file_read_at(AT_FDCWD, str_text(&path), MAX_FILE, &s->bytes[s->count],
			 &source->len) < 0)
		return false;
	source->name = s->names[s->count];
	source->bytes = s->bytes[s->count];
	source->flags = flags;
	s->count++;
	return true;
}

static void add_all(struct sources *s, const char *dir, const char *name)
{
	AUTO(str_free) struct str path = STR_INIT;
	struct dirent **entries;
	int count;

	str_addf(&path, "%s.yaml", name);
	add_source(s, dir, str_text(&path), 0);
	str_cut(&path, 0);
	str_addf(&path, "%s/%s.d", dir, name);
	count = scandir(str_text(&path), &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.')
			add_source(s, str_text(&path), entries[i]->d_name, 0);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	str_cut(&path, 0);
	str_addf(&path, "%s.overlay", name);
	add_source(s, dir, str_text(&path), WCORE_SOURCE_OVERLAY);
}

/* "/psk" is the file of that name in the folder `secrets` beside that of the cases. */
static int open_secret(const struct wcore_secret_ask *ask, void *arg)
{
	AUTO(str_free) struct str path = STR_INIT;
	int fd;

	str_addf(&path, "%s/../secrets/%s", (const char *)arg, ask->value);
	fd = open(str_text(&path), O_RDONLY | O_CLOEXEC);
	return fd == -1 ? -errno : fd;
}

static struct wcore_config *read_config(const struct golden *g,
					const struct wcore_conf_source *sources, size_t count,
					struct str *errors)
{
	struct warren_err err = ERR_INIT;
	struct wcore_config *cfg = wcore_config_parse(sources, count, &err);

	if (cfg && wcore_config_bind(cfg, g->schemas, g->n_schemas, 0, open_secret, (void *)g->dir,
				     &err) < 0) {
		wcore_config_unref(cfg);
		cfg = NULL;
	}
	err_print(&err, errors);
	err_free(&err);
	return cfg;
}

/* The printed form, read again, must print the same and have the same values. */
static bool comes_back(const struct golden *g, const struct wcore_config *cfg, uint32_t flags)
{
	AUTO(str_free) struct str printed = STR_INIT, first = STR_INIT, second = STR_INIT;
	struct wcore_conf_source source = { .name = "printed" };
	struct wcore_config *again;
	bool same;

	wcore_config_print(cfg, 0, &first);
	wcore_config_print(cfg, flags, &printed);
	source.bytes = str_text(&printed);
	source.len = printed.len;
	again = read_config(g, &source, 1, &second);
	if (!again) {
		printf("the printed form is refused:\n%s%s", str_text(&printed), str_text(&second));
		return false;
	}
	str_cut(&second, 0);
	wcore_config_print(again, 0, &second);
	same = wcore_config_diff(cfg, again, NULL, NULL) == 0 &&
	       (flags & WCORE_PRINT_DEFAULTS || str_equal(str_text(&first), str_text(&second)));
	if (!same)
		printf("the printed form reads as something else:\n%s---\n%s", str_text(&printed),
		       str_text(&second));
	wcore_config_unref(again);
	return same;
}

static bool compare(const char *dir, const char *name, const struct str *got)
{
	AUTO(str_free) struct str path = STR_INIT;
	AUTO(auto_free) void *expected = NULL;
	size_t len;

	str_addf(&path, "%s/%s.out", dir, name);
	if (getenv("GOLDEN_UPDATE")) {
		AUTO(auto_close) int fd = open(str_text(&path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

		return fd != -1 && file_write_fd(fd, str_text(got), got->len) == 0;
	}
	if (file_read_at(AT_FDCWD, str_text(&path), MAX_FILE, &expected, &len) < 0) {
		printf("%s is missing\n", str_text(&path));
		return false;
	}
	if (str_equal(expected, str_text(got)))
		return true;
	printf("--- expected\n%s--- got\n%s", (const char *)expected, str_text(got));
	return false;
}

static bool run_case(const struct golden *g, const char *name)
{
	AUTO(str_free) struct str got = STR_INIT;
	struct sources s = { .count = 0 };
	struct wcore_config *cfg;
	bool ok;

	add_all(&s, g->dir, name);
	cfg = read_config(g, s.list, s.count, &got);
	if (cfg)
		wcore_config_print(cfg, 0, &got);
	ok = compare(g->dir, name, &got);
	if (cfg)
		ok = comes_back(g, cfg, 0) && comes_back(g, cfg, WCORE_PRINT_JSON) &&
		     comes_back(g, cfg, WCORE_PRINT_DEFAULTS) && ok;
	wcore_config_unref(cfg);
	for (size_t i = 0; i < s.count; i++)
		free(s.bytes[i]);
	return ok;
}

static int is_case(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && strcmp(dot, ".yaml") == 0;
}

void golden_run(struct golden *g)
{
	struct dirent **entries;
	int count = scandir(g->dir, &entries, is_case, alphasort);

	for (int i = 0; i < count; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		g->cases++;
		if (!run_case(g, entries[i]->d_name)) {
			printf("FAIL %s/%s\n", g->dir, entries[i]->d_name);
			g->failed++;
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}
