/*
 * FILE: files below a configured folder.
 *
 * A child does it, with the uid and gid of the folder's owner and nothing of the monitor left open
 * but the folder: it can reach what that user can reach, and a slow network file system holds up
 * nobody else. The child writes the whole answer; the monitor passes it on. A child that takes too
 * long is killed and the request answered with an error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum {
	JOB_DEADLINE = 15000000,	/* microseconds */
	DIR_FD = 3, ANSWER_FD = 4,	/* in the child */
	LIST_MAX = 4 << 20,		/* bytes of one listing */
};

struct outcome {
	int fd;				/* OPEN, CREATE; -1: none */
	struct str data;		/* STAT, LIST */
};

static int open_beneath(const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC |
				    (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, DIR_FD, name, &how, sizeof(how));

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

static int do_open(const struct warren_priv_file *req, struct outcome *out)
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

static int do_stat(const struct warren_priv_file *req, struct outcome *out)
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

static int do_list(const struct warren_priv_file *req, struct outcome *out)
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

static int do_verb(const struct warren_priv_file *req, struct outcome *out)
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

static void send_outcome(int result, struct outcome *out, const char *name)
{
	struct wpriv_head head = { .type = WPRIV_ANSWER, .result = result };
	struct wpriv_answer answer = { .data = (uint32_t)out->data.len };
	struct wpriv_part parts[3] = { { &answer, sizeof(answer) } };
	AUTO(str_free) struct str text = STR_INIT;
	int fds[2];
	size_t n_fds = 0;

	if (out->fd >= 0)
		fds[n_fds++] = out->fd;
	if (out->data.len > WPRIV_INLINE_MAX) {
		fds[n_fds] = wpriv_memfd("warren-answer", out->data.s, out->data.len);
		if (fds[n_fds] < 0)
			return;	/* the monitor sees that no answer came */
		answer.flags = WPRIV_ANSWER_MEMFD;
		n_fds++;
	} else {
		parts[1] = (struct wpriv_part){ out->data.s, out->data.len };
	}
	if (result < 0) {
		str_addf(&text, "%s: %s", name[0] ? name : "the folder", strerror(-result));
		answer.text = (uint32_t)text.len;
		parts[2] = (struct wpriv_part){ text.s, text.len };
	}
	wpriv_send(ANSWER_FD, &head, parts, ARRAY_SIZE(parts), fds, n_fds);
}

static void run_child(const struct warren_priv_file *req, int dir, int answer)
{
	struct outcome out = { .fd = -1, .data = STR_INIT };
	sigset_t none;
	struct stat st;
	int result;

	/* Out of the way of the two numbers that they get. */
	dir = fcntl(dir, F_DUPFD, ANSWER_FD + 1);
	answer = fcntl(answer, F_DUPFD, ANSWER_FD + 1);
	if (dir == -1 || answer == -1 || dup2(dir, DIR_FD) == -1 || dup2(answer, ANSWER_FD) == -1 ||
	    close_range(ANSWER_FD + 1, ~0U, 0) == -1 || fstat(DIR_FD, &st) == -1)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(0);
	if (prctl(PR_SET_DUMPABLE, 0) == -1 || setgroups(0, NULL) == -1 ||
	    setresgid(st.st_gid, st.st_gid, st.st_gid) == -1 ||
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == -1)
		_exit(1);
	result = do_verb(req, &out);
	send_outcome(result, &out, req->name);
	_exit(0);
}

int mon_op_file(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		struct warren_err *err)
{
	const struct warren_priv_file *item = req->items;
	const struct ytree_node *node = mon_config_scalar(req->config, item->key, item->index, err);
	AUTO(auto_close) int dir = -1;
	struct mon_job *job = NULL;
	int pair[2];
	pid_t pid;

	if (!node)
		return -ENOENT;
	for (size_t i = 0; i < MON_FILE_JOBS && !job; i++) {
		if (mon->jobs[i].pid == 0)
			job = &mon->jobs[i];
	}
	if (!job)
		return wpriv_refuse(err, -EAGAIN, "%d files are being worked on already: try again",
				    MON_FILE_JOBS);
	dir = mon_open_path(node->text, O_PATH | O_DIRECTORY, 0, err);
	if (dir < 0)
		return dir;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return wpriv_refuse(err, -errno, "cannot make a socket pair: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		run_child(item, dir, pair[1]);
	auto_close(&pair[1]);
	if (pid == -1) {
		auto_close(&pair[0]);
		return wpriv_refuse(err, -EAGAIN, "cannot start a child process");
	}
	*job = (struct mon_job){ .pid = pid, .fd = pair[0], .seq = req->seq,
				 .deadline = mon_now() + JOB_DEADLINE };
	reply->later = true;
	return 0;
}

static void end_job(struct mon *mon, struct mon_job *job, int result, const char *sentence)
{
	struct mon_reply reply = { .n_fds = 0 };

	if (result)
		mon_op_answer(mon, job->seq, result, &reply, NULL, 0, sentence);
	auto_close(&job->fd);
	*job = (struct mon_job){ .fd = -1 };	/* the pid is collected with all others */
}

void mon_file_read(struct mon *mon, struct mon_job *job)
{
	AUTO(auto_free) void *buf = malloc(WPRIV_MSG_MAX);
	struct wpriv_msg msg;
	int got = buf ? wpriv_recv(job->fd, buf, &msg) : -ENOMEM;

	if (got == -EAGAIN)
		return;
	if (got != 1) {
		end_job(mon, job, -EIO, "the child for this file ended without an answer");
		return;
	}
	msg.head.seq = job->seq;
	mon_engine_send(mon, &msg.head, &(struct wpriv_part){ msg.data, msg.head.len }, 1, msg.fds,
			msg.n_fds, true);
	end_job(mon, job, 0, NULL);
}

uint64_t mon_file_expire(struct mon *mon, uint64_t now)
{
	uint64_t next = 0;

	for (size_t i = 0; i < MON_FILE_JOBS; i++) {
		struct mon_job *job = &mon->jobs[i];

		if (job->pid == 0)
			continue;
		if (now >= job->deadline) {
			kill(job->pid, SIGKILL);
			end_job(mon, job, -ETIMEDOUT, "the file system did not answer in time");
		} else if (next == 0 || job->deadline < next) {
			next = job->deadline;
		}
	}
	return next;
}

void mon_file_end_all(struct mon *mon)
{
	for (size_t i = 0; i < MON_FILE_JOBS; i++) {
		struct mon_job *job = &mon->jobs[i];

		if (job->pid == 0)
			continue;
		kill(job->pid, SIGKILL);
		end_job(mon, job, 0, NULL);
	}
}
