/*
 * OPEN: files and sockets that the operator named in /etc, opened as root; and those that a command
 * named, opened as whoever gave it.
 *
 * The path is the operator's, but folders on the way may belong to somebody else, who could turn
 * one into a link to /etc/shadow and have the engine read it. So a link is followed only where
 * just root could have put it: in a folder that nobody else can write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/job.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum { LINKS_MAX = 16 };

struct walk {
	int dir;			/* where we are */
	char rest[4096];		/* what is left of the path */
	char name[256];			/* of the next component */
	bool trusted;			/* only root can put something into `dir` */
	uint32_t links;
};

static int enter(struct walk *walk, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		return -errno;
	walk->trusted = st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH));
	auto_close(&walk->dir);
	walk->dir = fd;
	return 0;
}

/* Cuts the next component off; false when none is left. */
static bool next_name(struct walk *walk)
{
	size_t skip = strspn(walk->rest, "/"), len = strcspn(walk->rest + skip, "/");

	if (len == 0 || len >= sizeof(walk->name))
		return false;
	memcpy(walk->name, walk->rest + skip, len);
	walk->name[len] = '\0';
	memmove(walk->rest, walk->rest + skip + len, strlen(walk->rest + skip + len) + 1);
	return true;
}

static int follow(struct walk *walk)
{
	char target[2048], whole[sizeof(walk->rest)];
	ssize_t n = readlinkat(walk->dir, walk->name, target, sizeof(target) - 1);
	AUTO(str_free) struct str path = STR_INIT;
	int root;

	if (n == -1)
		return -errno;
	if (!walk->trusted || ++walk->links > LINKS_MAX)
		return -ELOOP;
	target[n] = '\0';
	str_addf(&path, "%s%s", target, walk->rest);
	if (!str_copy(whole, sizeof(whole), str_text(&path)))
		return -ENAMETOOLONG;
	memcpy(walk->rest, whole, sizeof(whole));
	if (target[0] != '/')
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root == -1 ? -errno : enter(walk, root);
}

/* Goes down to the folder of the last component, which is then in walk->name. */
static int walk_down(struct walk *walk)
{
	while (next_name(walk)) {
		bool last = walk->rest[strspn(walk->rest, "/")] == '\0';
		struct stat st;
		int fd, result;

		if (fstatat(walk->dir, walk->name, &st, AT_SYMLINK_NOFOLLOW) == -1)
			return last && errno == ENOENT ? 0 : -errno;
		if (S_ISLNK(st.st_mode)) {
			result = follow(walk);
			if (result)
				return result;
			continue;
		}
		if (last)
			return 0;
		fd = openat(walk->dir, walk->name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
		if (fd == -1)
			return -errno;
		result = enter(walk, fd);
		if (result)
			return result;
	}
	return -EISDIR;
}

int mon_open_path(const char *path, int flags, mode_t mode, struct warren_err *err)
{
	struct walk walk = { .dir = -1 };
	int root, fd = -1, result;

	if (path[0] != '/' || !str_copy(walk.rest, sizeof(walk.rest), path))
		return wpriv_refuse(err, -EINVAL, "\"%s\" is not an absolute path", path);
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	result = root == -1 ? -errno : enter(&walk, root);
	if (!result)
		result = walk_down(&walk);
	if (!result) {
		fd = openat(walk.dir, walk.name, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
		result = fd == -1 ? -errno : 0;
	}
	auto_close(&walk.dir);
	if (result)
		return wpriv_refuse(err, result, "cannot open %s: %s%s", path, strerror(-result),
				    result == -ELOOP
					    ? ": a link in a folder that others than root can "
					      "write is not followed"
					    : "");
	return fd;
}

/* Only plain files: a fifo could block, a device could do anything. */
static int open_file(const char *path, int flags, struct warren_err *err)
{
	AUTO(auto_close) int fd = mon_open_path(path, flags | O_NONBLOCK, 0600, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
		return wpriv_refuse(err, -EINVAL, "%s is not a plain file", path);
	return TAKE_FD(fd);
}

static int open_below(const char *path, const char *name, int flags, struct warren_err *err)
{
	AUTO(auto_close) int dir = mon_open_path(path, O_PATH | O_DIRECTORY, 0, err);
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	AUTO(auto_close) int fd = -1;
	struct stat st;

	if (dir < 0)
		return dir;
	fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (fd == -1 || fstat(fd, &st) == -1)
		return wpriv_refuse(err, -errno, "cannot open %s in %s: %s", name, path,
				    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wpriv_refuse(err, -EINVAL, "%s in %s is not a plain file", name, path);
	return TAKE_FD(fd);
}

static int connect_to(const char *path, struct warren_err *err)
{
	AUTO(auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (!str_copy(sun.sun_path, sizeof(sun.sun_path), path) || path[0] != '/')
		return wpriv_refuse(err, -EINVAL, "socket %s: give an absolute path of at most %zu "
				    "bytes", path, sizeof(sun.sun_path) - 1);
	if (fd == -1 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		return wpriv_refuse(err, -errno, "cannot connect to %s: %s", path, strerror(errno));
	return TAKE_FD(fd);
}

/*
 * "{credential: NAME}" names a file that the service manager has put into a folder which only root
 * can enter (systemd.exec(5), LoadCredential=).
 */
static int open_credential(const char *name, struct warren_err *err)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");

	if (!folder || !wpriv_name_valid(name) || strchr(name, '/'))
		return wpriv_refuse(err, -ENOENT, "there is no credential \"%s\": give it to the "
				    "service with LoadCredential=%s:PATH", name, name);
	return open_below(folder, name, O_RDONLY, err);
}

static bool is_credential(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot && strcmp(dot, ".credential") == 0;
}

/*
 * ---- What a command named: as whoever gave it, in a child ----
 */

static int connect_as(const char *path)
{
	AUTO(auto_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (!str_copy(sun.sun_path, sizeof(sun.sun_path), path))
		return -ENAMETOOLONG;
	if (fd == -1 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		return -errno;
	return TAKE_FD(fd);
}

static int open_as(const char *path, const char *name, int flags)
{
	AUTO(auto_close) int dir = -1;
	AUTO(auto_close) int fd = -1;
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = RESOLVE_NO_MAGICLINKS,
	};
	struct stat st;

	if (name[0]) {
		dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir == -1)
			return -errno;
		how.resolve |= RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
	}
	fd = (int)syscall(SYS_openat2, name[0] ? dir : AT_FDCWD, name[0] ? name : path, &how,
			  sizeof(how));
	if (fd == -1 || fstat(fd, &st) == -1)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static int run_as(const struct mon_work *work, struct mon_outcome *out)
{
	const struct warren_priv_open *item = work->item;
	int flags = item->access == WARREN_WRITE ? O_WRONLY | O_CREAT : O_RDONLY;
	int fd = work->path[0] != '/' ? -EINVAL :
		 item->access == WARREN_CONNECT ? connect_as(work->path) :
		 open_as(work->path, item->name, flags);

	if (fd >= 0) {
		out->fd = fd;
		return 0;
	}
	str_addf(&out->why, "cannot open %s%s%s as uid %u, who set it: %s", work->path,
		 item->name[0] ? "/" : "", item->name, (unsigned)work->uid,
		 fd == -EINVAL ? "it is no plain file with an absolute path" : strerror(-fd));
	return fd;
}

static int open_for(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		    const char *path, uid_t uid, struct warren_err *err)
{
	const struct mon_work work = {
		.uid = uid, .own_groups = true, .dir = -1, .path = path, .item = req->items,
		.run = run_as,
	};

	return mon_job_start(mon, req, reply, &work, err);
}

int mon_op_open(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		struct warren_err *err)
{
	const struct warren_priv_open *item = req->items;
	int flags = item->access == WARREN_WRITE ? O_WRONLY | O_CREAT : O_RDONLY;
	const struct ytree_node *node;
	uid_t uid;
	int fd;

	node = mon_config_scalar(req->config, item->key, item->index, &uid, err);
	if (!node)
		return -ENOENT;
	if (uid != 0)
		return open_for(mon, req, reply, node->text, uid, err);
	if (is_credential(item->key) && item->access == WARREN_READ && !item->name[0])
		fd = open_credential(node->text, err);
	else if (item->access == WARREN_CONNECT)
		fd = connect_to(node->text, err);
	else if (item->name[0])
		fd = open_below(node->text, item->name, flags, err);
	else
		fd = open_file(node->text, flags, err);
	if (fd < 0)
		return fd;
	reply->fds[0] = fd;
	reply->n_fds = 1;
	reply->give = true;
	return 0;
}
