/*
 * Files below a folder.
 */
#include "base/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"

int beneath_open(int dir, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC |
				    (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir, name[0] ? name : ".", &how, sizeof(how));

	return fd == -1 ? -errno : fd;
}

/* The folder that @name lies in; *@leaf is its last part. */
static int open_parent(int dir, const char *name, const char **leaf)
{
	const char *slash = strrchr(name, '/');
	char folder[BENEATH_NAME];

	*leaf = slash ? slash + 1 : name;
	if (!slash)
		return beneath_open(dir, "", O_PATH | O_DIRECTORY, 0);
	if ((size_t)(slash - name) >= sizeof(folder))
		return -ENAMETOOLONG;
	memcpy(folder, name, (size_t)(slash - name));
	folder[slash - name] = '\0';
	return beneath_open(dir, folder, O_PATH | O_DIRECTORY, 0);
}

int beneath_file(int dir, const char *name, bool create, mode_t mode)
{
	/* Through a link at the end nothing is made or written, wherever it leads. */
	int flags = create ? O_RDWR | O_CREAT | O_NOFOLLOW : O_RDONLY;
	AUTO(auto_close) int fd = beneath_open(dir, name, flags, mode);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == -1)
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

/* Without RENAME_NOREPLACE a hard link does the same; file systems have one of them. */
static int rename_alone(int from, const char *name, int to, const char *new_name)
{
	if (renameat2(from, name, to, new_name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	return linkat(from, name, to, new_name, 0) == -1 || unlinkat(from, name, 0) == -1 ?
		       -errno : 0;
}

int beneath_rename(int dir, const char *name, const char *to, bool alone)
{
	const char *from_leaf, *to_leaf;
	AUTO(auto_close) int from_dir = open_parent(dir, name, &from_leaf);
	AUTO(auto_close) int to_dir = open_parent(dir, to, &to_leaf);

	if (from_dir < 0 || to_dir < 0)
		return from_dir < 0 ? from_dir : to_dir;
	if (alone)
		return rename_alone(from_dir, from_leaf, to_dir, to_leaf);
	return renameat(from_dir, from_leaf, to_dir, to_leaf) == -1 ? -errno : 0;
}

int beneath_unlink(int dir, const char *name)
{
	const char *leaf;
	AUTO(auto_close) int parent = open_parent(dir, name, &leaf);

	if (parent < 0)
		return parent;
	return unlinkat(parent, leaf, 0) == -1 ? -errno : 0;
}

int beneath_mkdir(int dir, const char *name, mode_t mode)
{
	const char *leaf;
	AUTO(auto_close) int parent = open_parent(dir, name, &leaf);

	if (parent < 0)
		return parent;
	return mkdirat(parent, leaf, mode) == -1 ? -errno : 0;
}

int beneath_stat(int dir, const char *name, struct stat *st)
{
	AUTO(auto_close) int fd = beneath_open(dir, name, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	return fstat(fd, st) == -1 ? -errno : 0;
}

int beneath_list(int dir, const char *name,
		 int (*fn)(void *arg, const char *entry, const struct stat *st), void *arg)
{
	int fd = beneath_open(dir, name, O_RDONLY | O_DIRECTORY, 0), result = 0;
	struct dirent *entry;
	DIR *list;

	if (fd < 0)
		return fd;
	list = fdopendir(fd);
	if (!list) {
		result = -errno;
		close(fd);
		return result;
	}
	while (!result && (entry = readdir(list))) {
		struct stat st;

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			result = fn(arg, entry->d_name, &st);
	}
	closedir(list);
	return result;
}
