/*
 * Children that do one request with the rights of somebody else.
 */
#include "monitor/job.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

enum {
	JOB_DEADLINE = 15000000,	/* microseconds */
	ANSWER_FD = MON_JOB_DIR + 1,	/* in the child */
	NOBODY = 65534,			/* the group of who is not in the password file */
};

/*
 * ---- The child ----
 */

static void send_outcome(int result, struct mon_outcome *out)
{
	struct wpriv_head head = { .type = WPRIV_ANSWER, .result = result };
	struct wpriv_answer answer = { .value = out->value, .handle = out->handle,
				       .data = (uint32_t)out->data.len };
	struct wpriv_part parts[3] = { { &answer, sizeof(answer) } };
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
		if (out->why.len == 0)
			str_add(&out->why, strerror(-result));
		answer.text = (uint32_t)out->why.len;
		parts[2] = (struct wpriv_part){ out->why.s, out->why.len };
	}
	wpriv_send(ANSWER_FD, &head, parts, ARRAY_SIZE(parts), fds, n_fds);
}

/* The descriptors that the child keeps get their numbers; all others are closed. */
static bool keep_two(int dir, int answer)
{
	/* Out of the way of the two numbers. */
	answer = fcntl(answer, F_DUPFD, ANSWER_FD + 1);
	dir = dir == -1 ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : dir;
	dir = dir == -1 ? -1 : fcntl(dir, F_DUPFD, ANSWER_FD + 1);
	return dir != -1 && answer != -1 && dup2(dir, MON_JOB_DIR) != -1 &&
	       dup2(answer, ANSWER_FD) != -1 && close_range(ANSWER_FD + 1, ~0U, 0) == 0;
}

/* -errno with the reason in @out. */
static int become(const struct mon_work *work, struct mon_outcome *out)
{
	const struct passwd *pw = work->user ? getpwnam(work->user) :
				  work->own_groups ? getpwuid(work->uid) : NULL;
	uid_t uid = work->user && pw ? pw->pw_uid : work->uid;
	gid_t gid = pw ? pw->pw_gid : work->own_groups ? NOBODY : work->gid;

	if (work->user && !pw) {
		str_addf(&out->why, "there is no user \"%s\" on this host", work->user);
		return -ENOENT;
	}
	if ((pw ? initgroups(pw->pw_name, gid) : setgroups(0, NULL)) == 0 &&
	    setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 &&
	    prctl(PR_SET_DUMPABLE, 0) == 0)
		return 0;
	_exit(1);
}

static void run_child(const struct mon_work *work, int answer)
{
	struct mon_outcome out = { .fd = -1, .data = STR_INIT, .why = STR_INIT };
	sigset_t none;
	int result;

	if (!keep_two(work->dir, answer))
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(0);
	result = become(work, &out);
	if (!result)
		result = work->run(work, &out);
	send_outcome(result, &out);
	_exit(0);
}

/*
 * ---- The monitor ----
 */

int mon_job_start(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  const struct mon_work *work, struct warren_err *err)
{
	struct mon_job *job = NULL;
	int pair[2];
	pid_t pid;

	for (size_t i = 0; i < MON_FILE_JOBS && !job; i++) {
		if (mon->jobs[i].pid == 0)
			job = &mon->jobs[i];
	}
	if (!job)
		return wpriv_refuse(err, -EAGAIN, "%d requests are being worked on already: "
				    "try again", MON_FILE_JOBS);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return wpriv_refuse(err, -errno, "cannot make a socket pair: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		run_child(work, pair[1]);
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

void mon_job_read(struct mon *mon, struct mon_job *job)
{
	AUTO(auto_free) void *buf = malloc(WPRIV_MSG_MAX);
	struct wpriv_msg msg;
	int got = buf ? wpriv_recv(job->fd, buf, &msg) : -ENOMEM;

	if (got == -EAGAIN)
		return;
	if (got != 1) {
		end_job(mon, job, -EIO, "the child process ended without an answer");
		return;
	}
	msg.head.seq = job->seq;
	mon_engine_send(mon, &msg.head, &(struct wpriv_part){ msg.data, msg.head.len }, 1, msg.fds,
			msg.n_fds, true);
	end_job(mon, job, 0, NULL);
}

uint64_t mon_job_expire(struct mon *mon, uint64_t now)
{
	uint64_t next = 0;

	for (size_t i = 0; i < MON_FILE_JOBS; i++) {
		struct mon_job *job = &mon->jobs[i];

		if (job->pid == 0)
			continue;
		if (now >= job->deadline) {
			kill(job->pid, SIGKILL);
			end_job(mon, job, -ETIMEDOUT, "what was asked for was not done in time");
		} else if (next == 0 || job->deadline < next) {
			next = job->deadline;
		}
	}
	return next;
}

void mon_job_end_all(struct mon *mon)
{
	for (size_t i = 0; i < MON_FILE_JOBS; i++) {
		struct mon_job *job = &mon->jobs[i];

		if (job->pid == 0)
			continue;
		kill(job->pid, SIGKILL);
		end_job(mon, job, 0, NULL);
	}
}
