/*
 * Running warren-hostdns.
 *
 * It has a clean environment and two pipes. It ends by itself when it takes too long, and with the
 * process that waits for it.
 */
#include "monitor/hostdns.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/util.h"
#include "monitor/monitor.h"
#include "priv/channel.h"

#define PROGRAM "warren-hostdns"

enum { ANSWER_MAX = 128 << 10 };
static const uint64_t patience = 14000000;	/* a little more than its own */

/* By which others know our words; another daemon's state folder has another name. */
static void name_of(const struct mon *mon, char *name, size_t size)
{
	static const uint64_t no_secret[2];
	const char *state = mon->options->state;

	snprintf(name, size, "tun-warren.%08" PRIx32,
		 (uint32_t)hash_siphash(no_secret, state, strlen(state)));
}

/* Beside the engine; where that is another one, as in tests, the one that is installed. */
static const char *find_program(const struct mon *mon, struct str *path)
{
	const char *const engine = mon->options->engine, *slash = strrchr(engine, '/');

	str_addn(path, engine, (size_t)(slash - engine) + 1);
	str_add(path, PROGRAM);
	return access(str_text(path), X_OK) == 0 ? str_text(path) :
						   WARREN_ENGINEDIR "/" PROGRAM;
}

static void run_child(const char *const argv[], int in, int out, pid_t parent)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *const environment[] = { path, NULL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(in, STDIN_FILENO) == -1 || dup2(out, STDOUT_FILENO) == -1 ||
	    close_range(STDERR_FILENO + 1, ~0U, 0) == -1 || chdir("/") == -1 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(127);
	execve(argv[0], (char *const *)argv, environment);
	_exit(127);
}

/* Reads to the end of it. False: it takes too long, or says too much. */
static bool read_answer(int fd, struct str *out)
{
	uint64_t end = mon_now() + patience;
	char buf[4096];
	ssize_t n;

	do {
		uint64_t now = mon_now();
		struct pollfd polls = { .fd = fd, .events = POLLIN };

		if (now >= end || out->len > ANSWER_MAX)
			return false;
		n = poll(&polls, 1, (int)((end - now) / 1000) + 1) == 1 ?
			read(fd, buf, sizeof(buf)) : -1;
		if (n > 0)
			str_addn(out, buf, (size_t)n);
	} while (n != 0);
	return true;
}

static int run(const char *const argv[], int in, struct str *out)
{
	AUTO(auto_close) int from = -1;
	pid_t parent = getpid(), pid;
	int pipes[2], status = -1;
	bool all;

	if (pipe2(pipes, O_CLOEXEC) == -1)
		return -errno;
	from = pipes[0];
	pid = fork();
	if (pid == 0)
		run_child(argv, in, pipes[1], parent);
	auto_close(&pipes[1]);
	if (pid == -1)
		return -EAGAIN;
	all = read_answer(from, out);
	if (!all)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (!all)
		return -ETIMEDOUT;
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && out->len == 0))
		return -EIO;
	return WEXITSTATUS(status) ? -EREMOTEIO : 0;
}

int mon_hostdns(const struct mon *mon, const struct mon_hostdns *how, struct str *out)
{
	AUTO(str_free) struct str path = STR_INIT;
	AUTO(auto_close) int fd = wpriv_memfd(PROGRAM, how->in ? how->in : "", how->len);
	const char *link = how->link && *how->link ? how->link : "-", *argv[6];
	char name[32];
	size_t n = 0;
	int result;

	name_of(mon, name, sizeof(name));
	argv[n++] = find_program(mon, &path);
	argv[n++] = how->verb;
	if (how->who)
		argv[n++] = how->who;
	argv[n++] = name;
	argv[n++] = link;
	argv[n] = NULL;
	result = fd < 0 ? fd : path.failed ? -ENOMEM : run(argv, fd, out);
	if (result && result != -EREMOTEIO) {	/* which has a sentence */
		str_cut(out, 0);
		str_addf(out, "cannot run %s: %s", argv[0], result == -EIO ?
			 "it ended without an answer" : strerror(-result));
	}
	return result;
}
