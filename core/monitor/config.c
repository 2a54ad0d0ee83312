/*
 * Reading the configuration as root.
 *
 * A file that others may write is as good as a root shell for them, so it is refused, as is one in
 * a folder where others could put theirs in its place. `system:` is read from the files in /etc
 * alone: its limits hold against the engine, so they must not come from anything that it can have
 * written. Types and unknown keys are the engine's business, which has the tables.
 */
#include "monitor/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/file.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"
#include "monitor/log.h"
#include "monitor/overlay.h"
#include "priv/channel.h"
#include "priv/check.h"

void mon_config_free(struct mon_config *config)
{
	if (!config)
		return;
	for (uint32_t i = 0; i < config->n_files; i++)
		auto_close(&config->fds[i]);
	ytree_free(config->tree);
	free(config->overlay);
	free(config);
}

/*
 * ---- system: ----
 */

struct reader {
	struct mon_config *config;
	struct warren_err *err;
};

static void complain(struct reader *r, const struct ytree_node *node, const char *what)
{
	struct err_at at = ytree_place(r->config->tree, node);

	err_add(r->err, &at, "system: %s", what);
}

static const char *scalar(struct reader *r, const struct ytree_node *map, const char *key)
{
	const struct ytree_node *node = ytree_get(map, key);

	if (!node || node->kind == YTREE_NULL)
		return NULL;
	if (node->kind == YTREE_SCALAR)
		return node->text;
	complain(r, node, "a single value is expected here");
	return NULL;
}

static void read_number(struct reader *r, const struct ytree_node *map, const char *key,
			int64_t min, int64_t max, uint32_t *out)
{
	const char *text = scalar(r, map, key);
	int64_t value;

	if (!text)
		return;
	if (units_parse_int(text, &value) || value < min || value > max) {
		struct err_at at = ytree_place(r->config->tree, ytree_get(map, key));

		err_add(r->err, &at, "system: \"%s\" is not a number from %lld to %lld", text,
			(long long)min, (long long)max);
		return;
	}
	*out = (uint32_t)value;
}

static void read_priorities(struct reader *r, const struct ytree_node *system)
{
	const char *text = scalar(r, system, "rule-priorities");
	struct wpriv_limits *limits = &r->config->limits;
	char low[16], high[16];
	int64_t a, b;

	if (!text)
		return;
	if (sscanf(text, "%15[0-9]-%15[0-9]", low, high) != 2 || units_parse_int(low, &a) ||
	    units_parse_int(high, &b) || a < 1 || b > 32765 || a > b) {
		complain(r, ytree_get(system, "rule-priorities"),
			 "a range is expected here, as \"5210-5270\", within 1-32765");
		return;
	}
	limits->rule_low = (uint32_t)a;
	limits->rule_high = (uint32_t)b;
}

/* Calls @fn with each element of a list, or with a single value. */
static void each(struct reader *r, const struct ytree_node *node,
		 void (*fn)(struct reader *r, const struct ytree_node *element))
{
	if (!node || node->kind == YTREE_NULL)
		return;
	if (node->kind == YTREE_SCALAR) {
		fn(r, node);
	} else if (node->kind == YTREE_LIST) {
		for (const struct ytree_node *e = node->first; e; e = e->next) {
			if (e->kind == YTREE_SCALAR)
				fn(r, e);
			else
				complain(r, e, "a single value is expected here");
		}
	} else {
		complain(r, node, "a list is expected here");
	}
}

static void add_interface(struct reader *r, const struct ytree_node *element)
{
	struct wpriv_limits *limits = &r->config->limits;

	if (limits->n_interfaces == WPRIV_INTERFACES)
		complain(r, element, "too many interfaces: use a prefix, as \"warren*\"");
	else if (element->text[0] == '\0' ||
		 !str_copy(limits->interfaces[limits->n_interfaces], WARREN_PRIV_IFNAME,
			   element->text))
		complain(r, element, "an interface name has 1 to 15 bytes");
	else
		limits->n_interfaces++;
}

static void add_port(struct reader *r, const struct ytree_node *element)
{
	struct wpriv_limits *limits = &r->config->limits;

	if (limits->n_ports == WPRIV_PORTS)
		complain(r, element, "too many ports");
	else if (port_parse(element->text, &limits->ports[limits->n_ports]))
		complain(r, element, "a port is a number from 1 to 65535");
	else
		limits->n_ports++;
}

static void read_system(struct reader *r, const struct ytree_node *system)
{
	struct mon_config *config = r->config;
	struct wpriv_limits *limits = &config->limits;
	const struct ytree_node *marks = ytree_get(system, "marks");
	const struct ytree_node *interfaces = ytree_get(system, "interfaces");
	const char *text = scalar(r, system, "user");

	if (text && !str_copy(config->user, sizeof(config->user), text))
		complain(r, ytree_get(system, "user"), "this name is too long");
	text = scalar(r, system, "plugin-dir");
	if (text &&
	    (text[0] != '/' || !str_copy(config->plugin_dir, sizeof(config->plugin_dir), text)))
		complain(r, ytree_get(system, "plugin-dir"), "an absolute path is expected here");
	read_number(r, system, "route-table", 1, UINT32_MAX, &limits->table);
	text = scalar(r, system, "main-table");
	limits->main_table = text && (str_equal(text, "true") || str_equal(text, "yes") ||
				      str_equal(text, "on"));
	read_priorities(r, system);
	if (marks && marks->kind == YTREE_MAP) {
		read_number(r, marks, "mask", 1, UINT32_MAX, &limits->mark_mask);
		read_number(r, marks, "bypass", 1, UINT32_MAX, &limits->mark_bypass);
		read_number(r, marks, "subnet", 1, UINT32_MAX, &limits->mark_subnet);
		if ((limits->mark_bypass | limits->mark_subnet) & ~limits->mark_mask)
			complain(r, marks, "a mark has bits outside the mask");
		if (limits->mark_bypass == limits->mark_subnet)
			complain(r, marks, "bypass and subnet must be two marks");
	}
	if (interfaces)
		limits->n_interfaces = 0;
	each(r, interfaces, add_interface);
	each(r, ytree_get(system, "ports"), add_port);
}

static bool from_overlay(const struct mon_config *config, const struct ytree_node *node)
{
	return node->file < config->n_files &&
	       config->files[node->file].kind == WPRIV_FILE_OVERLAY;
}

static void evaluate(struct mon_config *config, struct warren_err *err)
{
	struct reader r = { config, err };
	const struct ytree_node *system = ytree_get(config->root, "system");
	const struct ytree_node *interface = ytree_at(config->root, "wg.interface", 0);
	const struct ytree_node *log = ytree_get(config->root, "log");
	const struct ytree_node *format = ytree_get(log, "format"),
				*level = ytree_get(log, "level");

	if (system && system->kind == YTREE_MAP)
		read_system(&r, system);
	/* The interface that the operator named needs no second mention. */
	if (interface && interface->kind == YTREE_SCALAR && !from_overlay(config, interface) &&
	    !wpriv_limits_interface(&config->limits, interface->text))
		add_interface(&r, interface);
	/* Wrong words here are the engine's to report; until then the defaults hold. */
	if (level && level->kind == YTREE_SCALAR)
		config->log_level = mon_log_level_parse(level->text);
	if (format && format->kind == YTREE_SCALAR)
		str_copy(config->log_format, sizeof(config->log_format), format->text);
}

/*
 * ---- Files ----
 */

static int check_owner(const char *path, const struct stat *st, struct warren_err *err)
{
	bool folder = S_ISDIR(st->st_mode);
	/* In a sticky folder others cannot replace what is not theirs. */
	mode_t others = folder && st->st_mode & S_ISVTX ? 0 : S_IWGRP | S_IWOTH;

	if (st->st_uid == 0 && !(st->st_mode & others))
		return 0;
	return wpriv_refuse(err, -EPERM, "%s%s can be written by others than root (owner %u, mode "
			    "%04o): chown root and chmod go-w it", folder ? "folder " : "", path,
			    st->st_uid, st->st_mode & 07777);
}

/* Reads and checks one file; -ENOENT without a sentence when it is not there. */
static int read_file(int at, const char *name, const char *shown, void **data, size_t *len,
		     struct warren_err *err)
{
	AUTO(auto_close) int fd = openat(at, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int result;

	if (fd == -1 && errno == ENOENT)
		return -ENOENT;
	if (fd == -1 || fstat(fd, &st) == -1)
		return wpriv_refuse(err, -errno, "cannot open %s: %s", shown, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wpriv_refuse(err, -EINVAL, "%s is not a plain file", shown);
	result = check_owner(shown, &st, err);
	if (result)
		return result;
	result = file_read_fd(fd, YTREE_MAX_BYTES, data, len);
	if (result)
		return wpriv_refuse(err, result, "cannot read %s: %s", shown, result == -EFBIG ?
				    "it has more than 4 MiB" : strerror(-result));
	return 0;
}

/* Seals and parses what a file holds. */
static int add_file(struct mon_config *config, const char *shown, uint32_t kind, const void *data,
		    size_t len, struct warren_err *err)
{
	struct wpriv_file *file = &config->files[config->n_files];
	struct ytree_node *root;
	int memfd, result;

	if (config->n_files == WPRIV_FILES_MAX || !str_copy(file->name, sizeof(file->name), shown))
		return wpriv_refuse(err, -E2BIG,
				    "%s: more than %d files, or a path of more than %zu "
				    "bytes",
				    shown, WPRIV_FILES_MAX, sizeof(file->name) - 1);
	memfd = wpriv_memfd("warren-yaml", data, len);
	if (memfd < 0)
		return wpriv_refuse(err, memfd, "cannot copy %s: %s", shown, strerror(-memfd));
	file->kind = kind;
	file->size = (uint32_t)len;
	config->fds[config->n_files++] = memfd;
	result = ytree_parse(config->tree, shown, data, len,
			     kind == WPRIV_FILE_OVERLAY ? YTREE_OVERLAY : 0, &root, err);
	if (result)
		return result;
	config->root = ytree_merge(config->root, root);
	return config->root ? 0 : wpriv_refuse(err, -ENOMEM, "out of memory");
}

static int load_file(struct mon_config *config, int at, const char *name, const char *shown,
		     uint32_t kind, struct warren_err *err)
{
	AUTO(auto_free) void *data = NULL;
	size_t len;
	int result = read_file(at, name, shown, &data, &len, err);

	return result ? result : add_file(config, shown, kind, data, len, err);
}

static int yaml_name(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);	/* the same order in every locale */
}

static void load_confd(struct mon_config *config, const char *path, struct warren_err *err)
{
	AUTO(auto_close) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries;
	struct stat st;
	int count;

	if (dir == -1 && errno == ENOENT)
		return;
	if (dir == -1 || fstat(dir, &st) == -1) {
		err_add(err, NULL, "cannot open %s: %s", path, strerror(errno));
		return;
	}
	if (check_owner(path, &st, err))
		return;
	count = scandirat(dir, ".", &entries, yaml_name, by_bytes);
	if (count == -1) {
		err_add(err, NULL, "cannot list %s: %s", path, strerror(errno));
		return;
	}
	for (int i = 0; i < count; i++) {
		AUTO(str_free) struct str shown = STR_INIT;

		str_addf(&shown, "%s/%s", path, entries[i]->d_name);
		/* Failures have their sentences; the other files' errors are wanted too. */
		load_file(config, dir, entries[i]->d_name, str_text(&shown), WPRIV_FILE_CONFD, err);
		free(entries[i]);
	}
	free(entries);
}

/* The main file and conf.d beside it. */
static void load_etc(struct mon_config *config, const struct mon_config_from *from,
		     struct warren_err *err)
{
	AUTO(str_free) struct str folder = STR_INIT;
	const char *slash = strrchr(from->file, '/');
	struct stat st;

	if (slash)
		str_addn(&folder, from->file,
			 slash == from->file ? 1 : (size_t)(slash - from->file));
	else
		str_add(&folder, ".");
	if (stat(str_text(&folder), &st) == -1) {
		if (from->required || errno != ENOENT)
			err_add(err, NULL, "cannot open %s: %s", str_text(&folder),
				strerror(errno));
		return;
	}
	if (check_owner(str_text(&folder), &st, err))
		return;
	if (load_file(config, AT_FDCWD, from->file, from->file, WPRIV_FILE_MAIN, err) == -ENOENT &&
	    from->required)
		err_add(err, NULL, "there is no file %s", from->file);
	str_add(&folder, "/conf.d");
	load_confd(config, str_text(&folder), err);
}

static void load_overlay(struct mon_config *config, const struct mon_config_from *from,
			 struct warren_err *err)
{
	AUTO(str_free) struct str shown = STR_INIT;
	AUTO(auto_free) void *data = NULL;
	const char *text;
	size_t len = 0;
	int result;

	str_addf(&shown, "%s/monitor/overlay.yaml", from->state);
	result = read_file(AT_FDCWD, str_text(&shown), str_text(&shown), &data, &len, err);
	if (result && result != -ENOENT)
		return;
	text = data;
	if (from->edit) {
		/* A file that does not parse as it is has its sentences already. */
		if (err_any(err) || mon_overlay_compose(config->tree, config->root, data, len,
							from->edit, from->overlay, err))
			return;
		text = str_text(from->overlay);
		len = from->overlay->len;
	}
	if (!text)
		return;
	config->overlay = malloc(len + 1);
	if (!config->overlay) {
		err_add(err, NULL, "out of memory");
		return;
	}
	memcpy(config->overlay, text, len);
	config->overlay_len = len;
	add_file(config, str_text(&shown), WPRIV_FILE_OVERLAY, text, len, err);
}

struct mon_config *mon_config_load(const struct mon_config_from *from, uint64_t generation,
				   struct warren_err *err)
{
	struct mon_config *config = calloc(1, sizeof(*config));

	if (config)
		config->tree = ytree_new();
	if (!config || !config->tree) {
		free(config);
		err_add(err, NULL, "out of memory");
		return NULL;
	}
	config->generation = generation;
	config->log_level = -1;
	str_copy(config->user, sizeof(config->user), "warren");
	wpriv_limits_init(&config->limits);
	load_etc(config, from, err);
	load_overlay(config, from, err);
	if (!err_any(err))
		evaluate(config, err);
	if (err_any(err)) {
		mon_config_free(config);
		return NULL;
	}
	return config;
}

static int owner_of(const struct mon_config *config, const struct ytree_node *node,
		    const char *key, uid_t *uid, struct warren_err *err)
{
	uid_t who = 0;

	if (from_overlay(config, node)) {
		if (!uid)
			return wpriv_refuse(err, -EPERM, "%s was set by a command: what root uses "
					    "for it must stand in the files of /etc", key);
		who = mon_overlay_uid(config->overlay, config->overlay_len, node->line);
		if (who == MON_NO_UID)
			return wpriv_refuse(err, -EPERM, "%s is set in the overlay, which does not "
					    "say by whom: set it again", key);
	}
	if (uid)
		*uid = who;
	return 0;
}

const struct ytree_node *mon_config_scalar(const struct mon_config *config, const char *key,
					   uint32_t index, uid_t *uid, struct warren_err *err)
{
	const struct ytree_node *node = ytree_at(config->root, key, index);

	if (!node || node->kind != YTREE_SCALAR) {
		wpriv_refuse(err, -ENOENT, "the files have no value at %s (element %u)", key,
			     index);
		return NULL;
	}
	return owner_of(config, node, key, uid, err) ? NULL : node;
}

static bool parse_ids(const char *text, uid_t *uid, gid_t *gid)
{
	char a[16], b[16];
	int64_t u, g;
	int end = 0;

	if (sscanf(text, "%15[0-9]:%15[0-9]%n", a, b, &end) != 2 || text[end] != '\0' ||
	    units_parse_int(a, &u) || units_parse_int(b, &g) || u >= UINT32_MAX || g >= UINT32_MAX)
		return false;
	*uid = (uid_t)u;
	*gid = (gid_t)g;
	return true;
}

bool mon_config_operator(const struct mon_config *config, uid_t *uid)
{
	const struct ytree_node *node = ytree_at(config->root, "node.operator", 0);
	const struct passwd *pw;
	int64_t number;
	uid_t by = 0;

	if (!node || node->kind != YTREE_SCALAR)
		return false;
	/* Root's word, wherever it stands. */
	if (from_overlay(config, node))
		by = mon_overlay_uid(config->overlay, config->overlay_len, node->line);
	if (by != 0 && by != geteuid())
		return false;
	if (units_parse_int(node->text, &number) == 0 && number >= 0 && number < UINT32_MAX) {
		*uid = (uid_t)number;
		return true;
	}
	pw = getpwnam(node->text);
	if (pw)
		*uid = pw->pw_uid;
	return pw != NULL;
}

int mon_config_user(const char *text, uid_t *uid, gid_t *gid, struct warren_err *err)
{
	if (!parse_ids(text, uid, gid)) {
		const struct passwd *pw = getpwnam(text);

		if (!pw)
			return wpriv_refuse(
				err, -ENOENT,
				"there is no user \"%s\" for the engine: run "
				"\"systemd-sysusers warren.conf\" or \"useradd --system "
				"--no-create-home --shell /usr/sbin/nologin %s\", or set "
				"system.user to a name or \"uid:gid\"",
				text, text);
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
	}
	if (*uid == 0 || *gid == 0)
		return wpriv_refuse(
			err, -EPERM,
			"system.user is \"%s\", which is root: name an "
			"unprivileged user (for debugging as root: warrend --no-privsep)",
			text);
	return 0;
}
