/*
 * Loading. The order of the tests matters: nothing of a descriptor is believed before its magic,
 * version and size were, and nothing of a file before its owner was.
 */
#include "engine/plugin_load.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <warren/priv.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/builtins.h"
#include "engine/conf.h"
#include "engine/lane.h"
#include "engine/table.h"

enum {
	/* Up to `name`: what every major of the ABI has in the same place. */
	SIZE_LEAST = offsetof(struct warren_plugin, name) + sizeof(const char *),
	SIZE_MOST = 64 << 10,
	/* What a row has at least; one that is shorter than ours is zero behind that. */
	OPTION_LEAST = offsetof(struct warren_option, def),
	COMMAND_LEAST = sizeof(struct warren_command),
	PORT_LEAST = offsetof(struct warren_port, provider),
	METRIC_LEAST = offsetof(struct warren_metric, brief),
	TOPIC_LEAST = offsetof(struct warren_topic, brief),
	CHECK_LEAST = sizeof(struct warren_check),
	STRIDE_MOST = 4096,
	ROWS_MOST = 4096,
	DEPTH_MOST = 8,
	KNOWN_FLAGS = WARREN_PLUGIN_LANE,
	KNOWN_PORT_FLAGS = WARREN_SOFT | WARREN_ENABLE,
	KNOWN_COMMAND_FLAGS = WARREN_CMD_OFFLINE | WARREN_CMD_ALWAYS | WARREN_CMD_STOCK,
	KNOWN_OPTION_FLAGS = (WARREN_VERBATIM << 1) - 1,
};

static struct wcore_plugin *loaded;	/* what was mapped stays mapped: RTLD_NODELETE */

bool wcore_plugin_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.");

	return len > 0 && !name[len] && len < WCORE_PLUGIN_NAME && name[0] >= 'a' &&
	       name[0] <= 'z' && !strstr(name, "..") && name[len - 1] != '.';
}

/*
 * ---- The descriptor ----
 */

static int table_check(const char *plugin, const char *what, const struct warren_table *table,
		       size_t least, struct warren_err *err)
{
	if (!table->count)
		return 0;
	if (table->rows && table->stride >= least && table->stride <= STRIDE_MOST &&
	    table->stride % sizeof(uint32_t) == 0 && table->count <= ROWS_MOST)
		return 0;
	return warren_fail(err, NULL, "plugin `%s` has a broken table `%s` (%u rows of %u bytes); "
			   "rebuild it with WARREN_TABLE()", plugin, what, table->count,
			   table->stride);
}

static int flag_error(const char *plugin, const char *what, const char *row, uint32_t flags,
		      struct warren_err *err)
{
	return warren_fail(err, NULL, "plugin `%s` sets flags 0x%x of %s%s%s%s, which this version "
			   "of Warren does not know; rebuild it against the installed headers",
			   plugin, flags, what, row ? " `" : "", row ? row : "", row ? "`" : "");
}

static int options_check(const char *plugin, const struct warren_table *table, int depth,
			 struct warren_err *err)
{
	struct warren_option row;
	int rc = table_check(plugin, "options", table, OPTION_LEAST, err);

	if (!rc && depth > DEPTH_MOST)
		rc = warren_fail(err, NULL, "plugin `%s` nests its options more than %d deep",
				 plugin, DEPTH_MOST);
	for (uint32_t i = 0; !rc && wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (row.type < WARREN_BOOL || row.type > WARREN_FD_DIR)
			rc = warren_fail(err, NULL, "plugin `%s`: option `%s` has the unknown type "
					 "%u; rebuild it against the installed headers", plugin,
					 row.key ? row.key : "", row.type);
		else if (row.flags & ~(uint32_t)KNOWN_OPTION_FLAGS)
			rc = flag_error(plugin, "option", row.key, row.flags & ~(uint32_t)
					KNOWN_OPTION_FLAGS, err);
		else
			rc = options_check(plugin, &row.sub, depth + 1, err);
	}
	return rc;
}

static int ports_check(const char *plugin, const char *what, const struct warren_table *table,
		       struct warren_err *err)
{
	struct warren_port row;
	int rc = table_check(plugin, what, table, PORT_LEAST, err);

	for (uint32_t i = 0; !rc && wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (!row.name)
			rc = warren_fail(err, NULL, "plugin `%s`: a row of `%s` has no name",
					 plugin, what);
		else if (row.flags & ~(uint32_t)KNOWN_PORT_FLAGS)
			rc = flag_error(plugin, "service", row.name,
					row.flags & ~(uint32_t)KNOWN_PORT_FLAGS, err);
		else if ((row.flags & WARREN_ENABLE) && !row.provider)
			rc = warren_fail(err, NULL, "plugin `%s`: the need `%s` has WARREN_ENABLE "
					 "and names no provider", plugin, row.name);
	}
	return rc;
}

static int commands_check(const char *plugin, const struct warren_table *table,
			  struct warren_err *err)
{
	struct warren_command row;
	int rc = table_check(plugin, "commands", table, COMMAND_LEAST, err);

	for (uint32_t i = 0; !rc && wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (!row.path || !row.run)
			rc = warren_fail(err, NULL, "plugin `%s`: a command has no name or no "
					 "function", plugin);
		else if ((row.flags & ~(uint32_t)KNOWN_COMMAND_FLAGS) > WARREN_CMD_ROOT)
			rc = flag_error(plugin, "command", row.path, row.flags, err);
		else
			rc = options_check(plugin, &row.args, 0, err);
	}
	return rc;
}

static int tables_check(const struct warren_plugin *d, struct warren_err *err)
{
	int rc = options_check(d->name, &d->options, 0, err);

	if (!rc)
		rc = commands_check(d->name, &d->commands, err);
	if (!rc)
		rc = ports_check(d->name, "needs", &d->needs, err);
	if (!rc)
		rc = ports_check(d->name, "offers", &d->offers, err);
	if (!rc)
		rc = table_check(d->name, "metrics", &d->metrics, METRIC_LEAST, err);
	if (!rc)
		rc = table_check(d->name, "topics", &d->topics, TOPIC_LEAST, err);
	if (!rc)
		rc = table_check(d->name, "checks", &d->checks, CHECK_LEAST, err);
	return rc;
}

static int version_check(const char *where, const struct warren_plugin *entry,
			 struct warren_err *err)
{
	if (entry->magic != WARREN_ABI_MAGIC)
		return warren_fail(err, NULL, "%s is no Warren plugin of this machine (magic "
				   "0x%08x, not 0x%08x); install the file that belongs here",
				   where, entry->magic, WARREN_ABI_MAGIC);
	if (entry->abi_major != WARREN_ABI_MAJOR)
		return warren_fail(err, NULL, "%s was built for plugin ABI %u.%u, this is %u.%u; "
				   "rebuild it against the installed headers", where,
				   entry->abi_major, entry->abi_minor, WARREN_ABI_MAJOR,
				   WARREN_ABI_MINOR);
	/* While the major is 0 nothing is promised between minors. */
	if (entry->abi_minor > WARREN_ABI_MINOR ||
	    (WARREN_ABI_MAJOR == 0 && entry->abi_minor != WARREN_ABI_MINOR))
		return warren_fail(err, NULL, "%s was built for plugin ABI %u.%u, this is %u.%u; "
				   "%s", where, entry->abi_major, entry->abi_minor,
				   WARREN_ABI_MAJOR, WARREN_ABI_MINOR,
				   entry->abi_minor > WARREN_ABI_MINOR ?
				   "install a newer Warren, or rebuild it against the installed "
				   "headers" : "rebuild it against the installed headers");
	if (entry->size < SIZE_LEAST || entry->size > SIZE_MOST)
		return warren_fail(err, NULL, "%s has a descriptor of %u bytes, which cannot be; "
				   "rebuild it with WARREN_PLUGIN()", where, entry->size);
	return 0;
}

static int descriptor_check(const char *where, const char *name, const struct warren_plugin *d,
			    struct warren_err *err)
{
	const uint64_t known = (UINT64_C(2) << WARREN_OP_LAST) - 1;

	if (!d->name || strcmp(d->name, name) != 0)
		return warren_fail(err, NULL, "%s calls itself `%s`; the file's name must be the "
				   "plugin's", where, d->name ? d->name : "(nothing)");
	if (d->flags & ~(uint32_t)KNOWN_FLAGS)
		return flag_error(name, "its descriptor", NULL, d->flags & ~(uint32_t)KNOWN_FLAGS,
				  err);
	if (d->privops & ~known)
		return warren_fail(err, NULL, "plugin `%s` asks for privileged operations (mask "
				   "0x%llx) that this version of Warren does not have; install a "
				   "newer Warren", name, (unsigned long long)(d->privops & ~known));
	if (!d->start)
		return warren_fail(err, NULL, "plugin `%s` has no `start`", name);
	return tables_check(d, err);
}

/* The one option that the core adds, for plugins that may live on a lane of their own. */
static int lane_check(const struct warren_conf *at, struct warren_err *err)
{
	const char *name = warren_conf_str(at, NULL);

	if (!name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		return 0;
	return warren_fail(err, at, "`%s` is no name of a lane: use a-z, 0-9 and `-`", name);
}

static const struct warren_option lane_row = {
	.key = "lane", .type = WARREN_STRING, .flags = WARREN_RESTART, .min = 1,
	.max = WCORE_LANE_NAME - 1, .check = lane_check,
	.brief = "Thread that this plugin runs on.",
	.help = "Plugins that name the same lane share one thread. Without a name the plugin runs "
		"on the lane \"main\", as most do.",
};

static int add_lane_option(struct wcore_plugin *plugin)
{
	struct warren_table *table = &plugin->desc.options;
	struct warren_option *rows;
	uint32_t n = 0;

	rows = calloc((size_t)table->count + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	while (wcore_table_row(table, n, &rows[n], sizeof(*rows)))
		n++;
	rows[n++] = lane_row;
	*table = (struct warren_table){ sizeof(*rows), n, rows };
	return 0;
}

/* Copies what the plugin has of a descriptor, checks it and adds it to the list. */
static struct wcore_plugin *adopt(const char *name, const char *path,
				  const struct warren_plugin *entry, struct warren_err *err)
{
	struct wcore_plugin *plugin;

	if (version_check(path, entry, err))
		return NULL;
	plugin = calloc(1, sizeof(*plugin));
	if (!plugin || !(plugin->path = strdup(path))) {
		free(plugin);
		warren_fail(err, NULL, "no memory to load plugin `%s`", name);
		return NULL;
	}
	memcpy(&plugin->desc, entry,
	       entry->size < sizeof(plugin->desc) ? entry->size : sizeof(plugin->desc));
	if (descriptor_check(path, name, &plugin->desc, err)) {
		free(plugin->path);
		free(plugin);
		return NULL;
	}
	if ((plugin->desc.flags & WARREN_PLUGIN_LANE) && add_lane_option(plugin)) {
		free(plugin->path);
		free(plugin);
		warren_fail(err, NULL, "no memory to load plugin `%s`", name);
		return NULL;
	}
	plugin->next = loaded;
	loaded = plugin;
	return plugin;
}

/*
 * ---- The file ----
 */

static int owner_check(const char *path, const struct stat *st, uid_t owner, struct warren_err *err)
{
	if (st->st_uid != 0 && st->st_uid != owner)
		return warren_fail(err, NULL, "%s belongs to user %u; plugins must belong to root: "
				   "chown root %s", path, st->st_uid, path);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return warren_fail(err, NULL, "%s may be written by others than its owner: "
				   "chmod go-w %s", path, path);
	return 0;
}

/*
 * The folder first: who cannot write into it cannot swap the file between the test and dlopen().
 */
static int file_check(const char *dir, const char *path, uid_t owner, struct warren_err *err)
{
	struct stat st;

	if (stat(dir, &st) == -1)
		return warren_fail(err, NULL, "cannot look into the plugin folder %s: %s", dir,
				   strerror(errno));
	if (owner_check(dir, &st, owner, err))
		return -EPERM;
	if (stat(path, &st) == -1)
		return warren_fail(err, NULL, "cannot read %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return warren_fail(err, NULL, "%s is no file", path);
	return owner_check(path, &st, owner, err);
}

static struct wcore_plugin *load_file(const char *name, const char *dir, const char *path,
				      uid_t owner, struct warren_err *err)
{
	const struct warren_plugin *entry;
	struct wcore_plugin *plugin;
	void *handle;

	if (file_check(dir, path, owner, err))
		return NULL;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!handle) {
		warren_fail(err, NULL, "cannot load plugin `%s`: %s", name, dlerror());
		return NULL;
	}
	entry = dlsym(handle, "warren_plugin_entry");
	if (!entry)
		warren_fail(err, NULL, "%s has no `warren_plugin_entry`: it is no Warren plugin",
			    path);
	plugin = entry ? adopt(name, path, entry, err) : NULL;
	dlclose(handle);		/* NODELETE: the code stays */
	return plugin;
}

static const struct warren_plugin *find_builtin(const char *name)
{
	for (size_t i = 0; wcore_builtins[i]; i++)
		if (strcmp(wcore_builtins[i]->name, name) == 0)
			return wcore_builtins[i];
	return NULL;
}

static bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

static void say_unknown(const char *name, const char *dir, struct warren_err *err)
{
	AUTO(auto_free) char **names = wcore_plugin_scan(dir);
	struct str_guess guess = { .word = name };
	size_t n_core;
	const struct wcore_conf_schema *core = wcore_core_schemas(&n_core);

	/* It may have been meant as a section of the core. */
	for (size_t i = 0; i < n_core; i++)
		str_guess_try(&guess, core[i].name);
	for (size_t i = 0; names && names[i]; i++)
		str_guess_try(&guess, names[i]);
	if (guess.best)
		warren_fail(err, NULL, "there is no plugin `%s`; did you mean `%s`?", name,
			    guess.best);
	else
		warren_fail(err, NULL, "there is no plugin `%s`: %s%s%s", name,
			    dir ? "install " : "this daemon has builtin plugins only",
			    dir ? dir : "", dir ? "/NAME.so, or remove its section" : "");
}

const struct wcore_plugin *wcore_plugin_load(const char *name, const char *dir, uid_t owner,
					     struct warren_err *err)
{
	const struct warren_plugin *builtin = find_builtin(name);
	AUTO(str_free) struct str path = STR_INIT;
	struct wcore_plugin *plugin;

	if (!wcore_plugin_name_ok(name)) {
		warren_fail(err, NULL, "`%s` cannot be a plugin: a name has a-z, 0-9, `-` and `.`, "
			    "begins with a letter and is shorter than %d", name,
			    WCORE_PLUGIN_NAME);
		return NULL;
	}
	str_addf(&path, "%s/%s.so", dir ? dir : "", name);
	if (path.failed) {
		warren_fail(err, NULL, "no memory to load plugin `%s`", name);
		return NULL;
	}
	for (plugin = loaded; plugin; plugin = plugin->next)
		if (strcmp(plugin->desc.name, name) == 0 &&
		    strcmp(plugin->path, builtin ? "builtin" : path.s) == 0)
			return plugin;
	if (builtin)
		return adopt(name, "builtin", builtin, err);
	if (dir && is_file(path.s))
		return load_file(name, dir, path.s, owner, err);
	say_unknown(name, dir, err);
	return NULL;
}

/*
 * ---- Looking around ----
 */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Collects "name\0name\0" in @text; pointers are made when it no longer moves. */
static size_t collect(const char *dir, struct str *text)
{
	size_t count = 0, len;
	struct dirent *entry;
	DIR *d;

	for (; wcore_builtins[count]; count++)
		str_addn(text, wcore_builtins[count]->name,
			 strlen(wcore_builtins[count]->name) + 1);
	d = dir ? opendir(dir) : NULL;
	while (d && (entry = readdir(d))) {
		len = strlen(entry->d_name);
		if (len < 4 || len - 3 >= WCORE_PLUGIN_NAME ||
		    strcmp(entry->d_name + len - 3, ".so") != 0)
			continue;
		str_addn(text, entry->d_name, len - 3);
		str_addn(text, "", 1);
		count++;
	}
	if (d)
		closedir(d);
	return count;
}

char **wcore_plugin_scan(const char *dir)
{
	AUTO(str_free) struct str text = STR_INIT;
	size_t count = collect(dir, &text), n = 0;
	char **names, *at;

	names = text.failed ? NULL : malloc((count + 1) * sizeof(*names) + text.len + 1);
	if (!names)
		return NULL;
	at = (char *)(names + count + 1);
	memcpy(at, str_text(&text), text.len + 1);
	for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
		names[i] = at;
	qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 0; i < count; i++)
		if (wcore_plugin_name_ok(names[i]) &&
		    (n == 0 || strcmp(names[n - 1], names[i]) != 0))
			names[n++] = names[i];
	names[n] = NULL;
	return names;
}
