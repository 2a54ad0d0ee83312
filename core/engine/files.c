/*
 * The configuration files as the monitor reads them, for the client.
 *
 * The monitor has its own reader, with checks of ownership that only it needs; both follow the
 * same rule: the file, then the names in conf.d that end with .yaml, in the order of their bytes.
 */
#include "engine/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "yaml/tree.h"

struct sources {
	struct wcore_conf_source v[YTREE_MAX_FILES];
	char *names[YTREE_MAX_FILES];
	size_t count;
};

static void add_source(struct sources *sources, int at, const char *name, const char *shown,
		       struct warren_err *err)
{
	int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char *copy = strdup(shown);

	if (fd == -1 || !copy || sources->count == YTREE_MAX_FILES) {
		if (fd == -1)
			err_add(err, NULL, "cannot open %s: %s", shown, strerror(errno));
		else
			err_add(err, NULL, "cannot read %s: too many files, or no memory", shown);
		auto_close(&fd);
		free(copy);
		return;
	}
	sources->names[sources->count] = copy;
	sources->v[sources->count++] = (struct wcore_conf_source){ .name = copy, .fd = fd };
}

static int is_yaml(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_folder(struct sources *sources, const char *path, struct warren_err *err)
{
	AUTO(auto_close) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries;
	int count;

	if (dir == -1 && (errno == ENOENT || errno == ENOTDIR))
		return;
	count = dir == -1 ? -1 : scandirat(dir, ".", &entries, is_yaml, by_bytes);
	if (count == -1) {
		err_add(err, NULL, "cannot list %s: %s", path, strerror(errno));
		return;
	}
	for (int i = 0; i < count; i++) {
		AUTO(str_free) struct str shown = STR_INIT;

		str_addf(&shown, "%s/%s", path, entries[i]->d_name);
		add_source(sources, dir, entries[i]->d_name, str_text(&shown), err);
		free(entries[i]);
	}
	free(entries);
}

struct wcore_config *wcore_files_parse(const char *path, struct warren_err *err)
{
	AUTO(str_free) struct str folder = STR_INIT;
	const char *slash = strrchr(path, '/');
	struct wcore_config *config = NULL;
	struct sources *sources = calloc(1, sizeof(*sources));

	if (!sources) {
		err_add(err, NULL, "there is no memory for the files");
		return NULL;
	}
	if (slash)
		str_addn(&folder, path, (size_t)(slash - path));
	else
		str_add(&folder, ".");
	str_add(&folder, "/conf.d");
	add_source(sources, AT_FDCWD, path, path, err);
	add_folder(sources, str_text(&folder), err);
	if (!err_any(err))
		config = wcore_config_parse(sources->v, sources->count, err);
	for (size_t i = 0; i < sources->count; i++) {
		auto_close(&sources->v[i].fd);
		free(sources->names[i]);
	}
	free(sources);
	return config;
}
