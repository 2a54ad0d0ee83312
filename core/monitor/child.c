/*
 * Starting the engine.
 *
 * Between fork and exec everything that root means is given up, in the order that still allows the
 * next step. The engine can get nothing of it back: no capability in any set, no new ones through
 * set-user-id programs.
 */
#include "monitor/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "priv/check.h"
#include "priv/wire.h"

enum { FILES_MAX = 65536 };

static void fail(const char *what)
{
	/* After fork in a single thread, so the standard library may be used. */
	const char *why = strerror(errno);
	struct { const char *text; } parts[] = {
		{ "monitor: cannot start the engine: " }, { what }, { ": " }, { why }, { "\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (write(STDERR_FILENO, parts[i].text, strlen(parts[i].text)) == -1)
			break;
	}
	_exit(127);
}

static void drop_privileges(const struct mon_child *child)
{
	/* Capability numbers have no holes: the first that is unknown ends them. */
	for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (errno != EINVAL)
		fail("bounding set");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1 && errno != EINVAL)
		fail("ambient capabilities");
	if (setgroups(0, NULL) == -1)
		fail("setgroups");
	if (setresgid(child->gid, child->gid, child->gid) == -1)
		fail("setresgid");
	/* Leaving uid 0 empties the effective and permitted sets. */
	if (setresuid(child->uid, child->uid, child->uid) == -1)
		fail("setresuid");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fail("no_new_privs");
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Keeps 0, 1, 2 and makes child->fd number 3; all else is closed. */
static void arrange_descriptors(const struct mon_child *child)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null == -1 || dup2(null, STDIN_FILENO) == -1)
		fail("/dev/null");
	if (child->fd == WPRIV_FD) {
		if (fcntl(WPRIV_FD, F_SETFD, 0) == -1)
			fail("descriptor 3");
	} else if (dup2(child->fd, WPRIV_FD) == -1) {
		fail("descriptor 3");
	}
	if (close_range(WPRIV_FD + 1, ~0U, 0) == -1)
		fail("close_range");
}

static void run(const struct mon_child *child, pid_t parent)
{
	struct rlimit files = { FILES_MAX, FILES_MAX };
	char *const argv[] = { (char *)child->program, NULL };

	reset_signals();
	arrange_descriptors(child);
	/* Where the hard limit may not be raised, all of it is what there is. */
	if (setrlimit(RLIMIT_NOFILE, &files) == -1 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	umask(077);
	if (chdir("/") == -1)
		fail("chdir");
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	if (child->drop)
		drop_privileges(child);
	/* After the change of user, which resets it. The parent may be gone already. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == -1)
		fail("parent death signal");
	if (getppid() != parent)
		_exit(127);
	execv(child->program, argv);
	fail(child->program);
}

pid_t mon_child_start(const struct mon_child *child, struct warren_err *err)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0)
		run(child, parent);
	if (pid == -1)
		return wpriv_refuse(err, -errno, "cannot start the engine: fork: %s",
				    strerror(errno));
	return pid;
}
