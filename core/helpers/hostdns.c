/*
 * warren-hostdns: its command line, and what its parts share.
 */
#include "helpers/hostdns.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/resolv.h"
#include "base/util.h"

enum { PATIENCE = 12, STEP = 50 };	/* seconds for all of it; milliseconds */

int hostdns_fail(struct str *why, int result, const char *fmt, ...)
{
	va_list ap;

	str_cut(why, 0);
	va_start(ap, fmt);
	str_vaddf(why, fmt, ap);
	va_end(ap);
	return result;
}

/*
 * ---- Other programs ----
 */

static void exec_program(const char *const argv[], int in, int out, pid_t parent)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", locale[] = "LC_ALL=C";
	char *const environment[] = { path, locale, NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, STDIN_FILENO) == -1 || dup2(out, STDOUT_FILENO) == -1 ||
	    dup2(out, STDERR_FILENO) == -1 || close_range(STDERR_FILENO + 1, ~0U, 0) == -1 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid() != parent)
		_exit(127);
	execve(argv[0], (char *const *)argv, environment);
	_exit(127);
}

static int input_of(const struct str *in)
{
	AUTO(auto_close) int fd = in ? memfd_create("warren-hostdns", MFD_CLOEXEC) :
				       open("/dev/null", O_RDONLY | O_CLOEXEC);
	int result;

	if (fd == -1)
		return -errno;
	result = in ? file_write_fd(fd, str_text(in), in->len) : 0;
	if (!result && in && lseek(fd, 0, SEEK_SET) == -1)
		result = -errno;
	return result ? result : TAKE_FD(fd);
}

/* What is there; what is too much is left out. False: there will be no more. */
static bool read_some(int fd, struct str *out)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n == -1 && errno != EINTR)
			return errno == EAGAIN;
		if (n > 0 && out->len + (size_t)n <= HOSTDNS_TEXT_MAX)
			str_addn(out, buf, (size_t)n);
	}
	return false;
}

int hostdns_run(const char *const argv[], const struct str *in, struct str *out)
{
	AUTO(auto_close) int fd = input_of(in);
	AUTO(auto_close) int from = -1;
	pid_t parent = getpid(), pid, ended = 0;
	int pipes[2], status = 0;

	if (fd < 0)
		return fd;
	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == -1)
		return -errno;
	from = pipes[0];
	pid = fork();
	if (pid == 0)
		exec_program(argv, fd, pipes[1], parent);
	auto_close(&pipes[1]);
	if (pid == -1)
		return -EAGAIN;
	/* Until it ends: a daemon that it has started may keep the pipe open. */
	while (ended == 0) {
		struct pollfd polls = { .fd = from, .events = POLLIN };

		if (poll(&polls, 1, STEP) == 1 && !read_some(from, out))
			ended = waitpid(pid, &status, 0);
		else
			ended = waitpid(pid, &status, WNOHANG);
	}
	(void)read_some(from, out);
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/*
 * ---- The command line ----
 */

struct hostdns_args {
	const char *name, *link;
};

struct found {
	const char *by;
	struct hostdns_base base;
	bool ours;
};

/* -ENOENT: nobody keeps the file who could be told. */
static int read_of(const char *keeper, const struct hostdns_args *args, const struct str *in,
		   struct found *out, struct str *why)
{
	if (str_equal(keeper, "resolvconf")) {
		out->by = "resolvconf";
		return resolvconf_read(args->name, &out->base, &out->ours, why);
	}
#ifdef HAVE_SYSTEMD
	/* Whoever has written a file that leads to it alone: programs ask it. */
	if (resolved_is_named(in) ||
	    (str_equal(keeper, "systemd-resolved") && resolved_is_source_here())) {
		int result = resolved_read(args->link, in, &out->base, &out->ours, why);

		out->by = "resolved";
		/* A file of an operator's own may mean another program at that address. */
		return result && !*keeper ? -ENOENT : result;
	}
#else
	(void)in;
#endif
	return -ENOENT;
}

static int run_read(const struct hostdns_args *args, const struct str *in, struct str *out)
{
	struct found found = { .base = { STR_INIT, STR_INIT } };
	const char *keeper = resolv_keeper(str_text(in), in->len);
	int result = read_of(keeper ? keeper : "", args, in, &found, out);

	if (!result) {
		str_addf(out, "by %s\nours %s\n", found.by, found.ours ? "yes" : "no");
		hostdns_base_print(&found.base, out);
	} else if (result == -ENOENT) {
		str_cut(out, 0);
		str_add(out, "by file\n");
		result = 0;
	}
	hostdns_base_free(&found.base);
	return result;
}

static int run(int argc, char **argv, struct str *out)
{
	AUTO(str_free) struct str in = STR_INIT;
	struct hostdns_args args = { argc > 2 ? argv[argc - 2] : "",
				     argc > 2 ? argv[argc - 1] : "" };
	const char *verb = argc > 1 ? argv[1] : "", *who = argc == 5 ? argv[2] : "";
	bool set = str_equal(verb, "set"), undo = str_equal(verb, "undo");

	(void)read_some(STDIN_FILENO, &in);
	if (argc == 4 && str_equal(verb, "read"))
		return run_read(&args, &in, out);
	if (str_equal(who, "resolvconf") && set)
		return resolvconf_set(args.name, &in, out);
	if (str_equal(who, "resolvconf") && undo)
		return resolvconf_undo(args.name, out);
#ifdef HAVE_SYSTEMD
	if (str_equal(who, "resolved") && set)
		return resolved_set(args.link, &in, out);
	if (str_equal(who, "resolved") && undo)
		return resolved_undo(args.link, out);
#endif
	return hostdns_fail(out, -EINVAL, "warren-hostdns is started by warrend only");
}

int main(int argc, char **argv)
{
	AUTO(str_free) struct str out = STR_INIT;
	int result;

	umask(022);
	signal(SIGPIPE, SIG_IGN);
	alarm(PATIENCE);
	result = argc > 0 && resolvconf_is_hook(argv[0]) ? resolvconf_hook(&out) :
							   run(argc, argv, &out);
	if (out.failed)
		result = hostdns_fail(&out, -ENOMEM, "no memory");
	(void)file_write_fd(STDOUT_FILENO, str_text(&out), out.len);
	return result ? 1 : 0;
}
