/*
 * The state folder.
 *
 * The lock is a record lock: the kernel drops it with the process however that ends, a child does
 * not inherit it, and it tells who holds it.
 */
#include "monitor/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/util.h"
#include "priv/check.h"

/* Opens the folder @name, makes it when it is not there, and looks whose it is. */
static int open_folder(int at, const char *name, mode_t mode, const char *shown,
		       struct warren_err *err)
{
	AUTO(auto_close) int fd = -1;
	struct stat st;

	if (mkdirat(at, name, mode) == -1 && errno != EEXIST)
		return wpriv_refuse(err, -errno, "cannot make the state folder %s: %s%s", shown,
				    strerror(errno), errno == ENOENT ?
				    ": make the folder above it first" : "");
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1)
		return wpriv_refuse(err, -errno, "cannot open the state folder %s: %s", shown,
				    strerror(errno));
	if (st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH))
		return wpriv_refuse(err, -EPERM, "state folder %s is writable by others than root "
				    "(owner %u, mode %04o): chown root and chmod go-w, or choose "
				    "another with --state", shown, st.st_uid, st.st_mode & 07777);
	/* The umask may have taken bits from a new folder, and an old one may be too open. */
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) == -1)
		return wpriv_refuse(err, -errno, "cannot set the mode of %s to %04o: %s", shown,
				    mode, strerror(errno));
	return TAKE_FD(fd);
}

static int take_lock(struct mon_state *state, const char *path, struct warren_err *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	state->lock = openat(state->monitor, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			     0600);
	if (state->lock == -1)
		return wpriv_refuse(err, -errno, "cannot open %s/monitor/lock: %s", path,
				    strerror(errno));
	if (fcntl(state->lock, F_SETLK, &lock) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES)
		return wpriv_refuse(err, -errno, "cannot lock %s/monitor/lock: %s", path,
				    strerror(errno));
	if (fcntl(state->lock, F_GETLK, &lock) == -1)
		lock.l_pid = 0;
	return wpriv_refuse(err, -EBUSY,
			    "another warrend (pid %d) uses the state folder %s: stop it, "
			    "or give this one its own --state, --socket and interface",
			    lock.l_pid, path);
}

int mon_state_open(struct mon_state *state, const char *path, struct warren_err *err)
{
	AUTO(auto_close) int top = -1;
	char monitor[sizeof(state->engine)];
	int len = snprintf(state->engine, sizeof(state->engine), "%s/engine", path);

	if (path[0] != '/' || len < 0 || (size_t)len >= sizeof(state->engine))
		return wpriv_refuse(err, -EINVAL,
				    "state folder %s: give an absolute path of at most "
				    "%zu bytes",
				    path, sizeof(state->engine) - 9);
	top = open_folder(AT_FDCWD, path, 0711, path, err);
	if (top < 0)
		return top;
	snprintf(monitor, sizeof(monitor), "%.*s/monitor", len - 7, path);
	state->monitor = open_folder(top, "monitor", 0700, monitor, err);
	if (state->monitor < 0)
		return state->monitor;
	return take_lock(state, path, err);
}

int mon_state_engine(struct mon_state *state, const char *path, uid_t uid, gid_t gid,
		     struct warren_err *err)
{
	AUTO(auto_close) int fd = -1;
	bool fresh = mkdir(state->engine, 0700) == 0;
	struct stat st;

	if (!fresh && errno != EEXIST)
		return wpriv_refuse(err, -errno, "cannot make the state folder %s/engine: %s", path,
				    strerror(errno));
	fd = open(state->engine, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1)
		return wpriv_refuse(err, -errno, "cannot open the state folder %s/engine: %s", path,
				    strerror(errno));
	if (fresh && fchown(fd, uid, gid) == -1)
		return wpriv_refuse(err, -errno, "cannot give %s/engine to uid %u: %s", path, uid,
				    strerror(errno));
	/* As root (--no-privsep) the engine may use what an unprivileged one has left. */
	if (!fresh && uid != 0 && st.st_uid != uid)
		return wpriv_refuse(err, -EPERM,
				    "%s/engine belongs to uid %u, but system.user is uid "
				    "%u: chown -R %u:%u %s/engine",
				    path, st.st_uid, uid, uid, gid, path);
	if (fchmod(fd, 0700) == -1)
		return wpriv_refuse(err, -errno, "cannot set the mode of %s/engine: %s", path,
				    strerror(errno));
	return 0;
}

void mon_state_close(struct mon_state *state)
{
	auto_close(&state->lock);
	auto_close(&state->monitor);
	*state = (struct mon_state)MON_STATE_INIT;
}
