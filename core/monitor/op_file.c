/*
 * FILE: files below a configured folder, in a child (job.h) with the uid and gid of the folder's
 * owner, or of the user whom the configuration names; where a command named the folder, with those
 * of whoever gave it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath.h"
#include "base/str.h"
#include "base/util.h"
#include "monitor/job.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum { LIST_MAX = 4 << 20 };		/* bytes of one listing */

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

static int list_one(void *arg, const char *name, const struct stat *st)
{
	struct str *data = arg;

	add_entry(data, st, name);
	return data->failed || data->len > LIST_MAX ? -E2BIG : 0;
}

static int do_file(const struct warren_priv_file *req, struct mon_outcome *out)
{
	int fd = beneath_file(MON_JOB_DIR, req->name, req->verb == WARREN_FILE_CREATE, req->mode);

	if (fd >= 0)
		out->fd = fd;
	return fd < 0 ? fd : 0;
}

static int do_stat(const struct warren_priv_file *req, struct mon_outcome *out)
{
	struct stat st;
	int result = beneath_stat(MON_JOB_DIR, req->name, &st);

	if (!result)
		add_entry(&out->data, &st, NULL);
	return result;
}

static int do_verb(const struct warren_priv_file *req, struct mon_outcome *out)
{
	switch (req->verb) {
	case WARREN_FILE_OPEN:
	case WARREN_FILE_CREATE:
		return do_file(req, out);
	case WARREN_FILE_RENAME:
		return beneath_rename(MON_JOB_DIR, req->name, req->to,
				      req->flags & WARREN_FILE_ALONE);
	case WARREN_FILE_UNLINK:
		return beneath_unlink(MON_JOB_DIR, req->name);
	case WARREN_FILE_MKDIR:
		return beneath_mkdir(MON_JOB_DIR, req->name, req->mode);
	case WARREN_FILE_STAT:
		return do_stat(req, out);
	default:
		return beneath_list(MON_JOB_DIR, req->name, list_one, &out->data);
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

/*
 * Whose the files are, if the operator has named somebody: in the files of /etc and nowhere else,
 * or a command could have the daemon write as anybody.
 */
static int read_owner(const struct mon_request *req, struct mon_work *work,
		      struct warren_err *err)
{
	const struct warren_priv_file *item = req->items;
	const struct ytree_node *node;
	uid_t uid;

	if (item->owner[0] == '\0')
		return 0;
	node = mon_config_scalar(req->config, item->owner, 0, &uid, err);
	if (!node)
		return -ENOENT;
	if (uid != 0 || work->uid != 0)
		return wpriv_refuse(err, -EPERM, "%s: the owner of files is named in the files "
				    "of the configuration, as is their folder, and not by a "
				    "command", item->owner);
	work->user = node->text;
	return 0;
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
	int result = node ? read_owner(req, &work, err) : -ENOENT;

	if (result)
		return result;
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
