/*
 * FILE: files below a configured folder, in a child (job.h) with the uid and gid of the folder's
 * owner; where a command named the folder, with those of whoever gave it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/job.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum { LIST_MAX = 4 << 20 };		/* bytes of one listing */

static int open_beneath(const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC |
				    (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, MON_JOB_DIR, name, &how, sizeof(how));

	return fd == -1 ? -errno : fd;
}

/* The folder that @name lies in; *@leaf is its last part. */
static int open_parent(const char *name, const char **leaf)
{
	const char *slash = strrchr(name, '/');
	char folder[WARREN_PRIV_NAME];

	*leaf = slash ? slash + 1 : name;
	if (!slash)
		return open_beneath(".", O_PATH | O_DIRECTORY, 0);
	memcpy(folder, name, (size_t)(slash - name));
	folder[slash - name] = '\0';
	return open_beneath(folder, O_PATH | O_DIRECTORY, 0);
}

static int do_open(const struct warren_priv_file *req, struct mon_outcome *out)
{
	int flags = req->verb == WARREN_FILE_CREATE ? O_RDWR | O_CREAT : O_RDONLY;
	AUTO(auto_close) int fd = open_beneath(req->name, flags, req->mode);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == -1)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	out->fd = TAKE_FD(fd);
	return 0;
}

static int do_rename(const struct warren_priv_file *req)
{
	const char *from_leaf, *to_leaf;
	AUTO(auto_close) int from = open_parent(req->name, &from_leaf);
	AUTO(auto_close) int to = open_parent(req->to, &to_leaf);

	if (from < 0 || to < 0)
		return from < 0 ? from : to;
	return renameat(from, from_leaf, to, to_leaf) == -1 ? -errno : 0;
}

static int do_leaf(const struct warren_priv_file *req)
{
	const char *leaf;
	AUTO(auto_close) int dir = open_parent(req->name, &leaf);

	if (dir < 0)
		return dir;
	if (req->verb == WARREN_FILE_MKDIR)
		return mkdirat(dir, leaf, req->mode) == -1 ? -errno : 0;
	return unlinkat(dir, leaf, 0) == -1 ? -errno : 0;
}

static void add_entry(struct str *data, const struct stat *st, const char *name)
{
	static const char padding[8];
	size_t len = name ? strlen(name) + 1 : 0, padded = (len + 7) & ~(size_t)7;
	const struct wpriv_entry entry = {
		.size = (uint64_t)st->st_size,
		.mtime = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000,
		.mode = st->st_mode, .name = (uint32_t)padded,
	};

	str_addn(data, (const char *)&entry, sizeof(entry));
	if (name)
		str_addn(data, name, len);
	str_addn(data, padding, padded - len);
}

static int do_stat(const struct warren_priv_file *req, struct mon_outcome *out)
{
	AUTO(auto_close)
	int fd = open_beneath(req->name[0] ? req->name : ".", O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == -1)
		return -errno;
	add_entry(&out->data, &st, NULL);
	return 0;
}

static int do_list(const struct warren_priv_file *req, struct mon_outcome *out)
{
	int fd = open_beneath(req->name[0] ? req->name : ".", O_RDONLY | O_DIRECTORY, 0);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1)
			continue;
		add_entry(&out->data, &st, entry->d_name);
		if (out->data.failed || out->data.len > LIST_MAX)
			return -E2BIG;
	}
	return 0;
}

static int do_verb(const struct warren_priv_file *req, struct mon_outcome *out)
{
	switch (req->verb) {
	case WARREN_FILE_OPEN:
	case WARREN_FILE_CREATE:
		return do_open(req, out);
	case WARREN_FILE_RENAME:
		return do_rename(req);
	case WARREN_FILE_UNLINK:
	case WARREN_FILE_MKDIR:
		return do_leaf(req);
	case WARREN_FILE_STAT:
		return do_stat(req, out);
	default:
		return do_list(req, out);
	}
}

/* A folder that a command named is opened by the child, as whoever gave the command. */
static int run(const struct mon_work *work, struct mon_outcome *out)
{
	const struct warren_priv_file *item = work->item;
	int dir = -1, result = 0;

	if (work->path) {
		dir = open(work->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir == -1 || dup2(dir, MON_JOB_DIR) == -1)
			result = -errno;
	}
	if (!result)
		result = do_verb(item, out);
	if (result)
		str_addf(&out->why, "%s: %s", item->name[0] ? item->name : "the folder",
			 strerror(-result));
	return result;
}

int mon_op_file(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		struct warren_err *err)
{
	const struct warren_priv_file *item = req->items;
	struct mon_work work = { .dir = -1, .item = item, .run = run };
	const struct ytree_node *node = mon_config_scalar(req->config, item->key, item->index,
							  &work.uid, err);
	AUTO(auto_close) int dir = -1;
	struct stat st;

	if (!node)
		return -ENOENT;
	if (work.uid != 0) {
		work.own_groups = true;
		work.path = node->text;
		return mon_job_start(mon, req, reply, &work, err);
	}
	dir = mon_open_path(node->text, O_PATH | O_DIRECTORY, 0, err);
	if (dir < 0)
		return dir;
	if (fstat(dir, &st) == -1)
		return wpriv_refuse(err, -errno, "%s: %s", node->text, strerror(errno));
	work.dir = dir;
	work.uid = st.st_uid;
	work.gid = st.st_gid;
	return mon_job_start(mon, req, reply, &work, err);
}
