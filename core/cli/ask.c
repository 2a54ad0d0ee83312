/*
 * The conversation with the daemon: one request, sent with its descriptors, and lines back until
 * the last one. The end of this process, by SIGINT for example, closes the connection, which
 * cancels the command. A command that goes on without us has given a hint, which is said then.
 */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "base/util.h"
#include "engine/request.h"

/* False, with a message, if a word is no UTF-8. */
static bool make_line(const struct wcore_request *request, const struct cli_answer *files,
		      struct str *line)
{
	str_add(line, "{\"argv\":[");
	for (size_t i = 0; i < request->argc; i++) {
		const char *word = request->argv[i];

		if (str_utf8_check(word, strlen(word)) != strlen(word)) {
			cli_error("word %zu of the command line is no UTF-8", i + 1);
			return false;
		}
		str_add(line, i > 0 ? "," : "");
		str_add_json(line, word, strlen(word));
	}
	str_addf(line, "],\"format\":\"%s\",\"width\":%u,\"colour\":%s,\"fds\":[",
		 request->flags & WCORE_REPLY_JSON ? "json" : "text", request->width,
		 request->flags & WCORE_REPLY_COLOUR ? "true" : "false");
	for (size_t i = 0; i < files->n_opens; i++) {
		str_add(line, i > 0 ? "," : "");
		str_add_json(line, files->opens[i].key, strlen(files->opens[i].key));
	}
	str_add(line, "]}\n");
	if (line->failed || line->len > WCORE_REQUEST_BYTES) {
		cli_error("the command line is too long: at most 64 KiB");
		return false;
	}
	return true;
}

static bool send_request(int fd, const struct str *line, const struct cli_answer *files)
{
	union {
		char bytes[CMSG_SPACE(CLI_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { line->s, line->len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t sent = 0;

	if (files->n_opens > 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(files->n_opens * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(files->n_opens * sizeof(int));
		for (size_t i = 0; i < files->n_opens; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &files->opens[i].fd, sizeof(int));
	}
	while (sent < line->len) {
		ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return false;
		sent += (size_t)n;
		iov = (struct iovec){ line->s + sent, line->len - sent };
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
	return true;
}

/* Takes in the whole lines of @in and removes them. */
static void take_lines(struct str *in, struct cli_answer *answer)
{
	size_t at = 0;
	char *nl;

	while ((nl = memchr(in->s + at, '\n', in->len - at))) {
		size_t len = (size_t)(nl - (in->s + at));

		cli_answer_line(answer, in->s + at, len);
		at += len + 1;
	}
	memmove(in->s, in->s + at, in->len - at);
	str_cut(in, in->len - at);
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	interrupted = sig;
}

/* SIGINT arrives while we wait and at no other time. False: whoever started us ignores it. */
static bool watch_begin(sigset_t *waiting)
{
	const struct sigaction action = { .sa_handler = on_interrupt };
	struct sigaction before;
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	return sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler == SIG_DFL &&
	       sigprocmask(SIG_BLOCK, &blocked, waiting) == 0 &&
	       sigaction(SIGINT, &action, NULL) == 0;
}

static void watch_end(const sigset_t *waiting)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };

	sigaction(SIGINT, &usual, NULL);
	sigprocmask(SIG_SETMASK, waiting, NULL);
}

/* With what the command wants to be said, or else as the shell expects it: by the signal. */
static void end_interrupted(struct cli_answer *answer, const sigset_t *waiting)
{
	cli_drop(answer);
	cli_answer_clear(answer);
	if (answer->hint) {
		answer->ended = true;
		answer->exit = CLI_FAILED;
		str_addf(&answer->error, "interrupted; %s", answer->hint);
		return;
	}
	fflush(stdout);
	watch_end(waiting);
	raise(SIGINT);
}

static void read_answer(int fd, struct cli_answer *answer)
{
	AUTO(str_free) struct str in = STR_INIT;
	char buf[65536];
	sigset_t waiting;
	bool watched = watch_begin(&waiting);

	while (!answer->ended && !answer->local && answer->n_opens == 0) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (watched && ppoll(&pfd, 1, NULL, &waiting) == -1 && interrupted) {
			end_interrupted(answer, &waiting);
			break;
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		str_addn(&in, buf, (size_t)n);
		if (in.failed || in.len > CLI_LINE) {
			str_add(&answer->error, "warren: the answer of the daemon is too long");
			break;
		}
		take_lines(&in, answer);
		/* What is here already should be seen, also by the next program of a pipe. */
		fflush(stdout);
	}
	if (watched)
		watch_end(&waiting);
	cli_drop(answer);
	cli_answer_clear(answer);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (!str_copy(address.sun_path, sizeof(address.sun_path), path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
		auto_close(&fd);
		return -1;
	}
	return fd;
}

/* Asks once; @files are those that the command asked for the first time. */
static enum cli_asked ask_once(const char *path, const struct wcore_request *request,
			       const struct cli_answer *files, struct cli_answer *answer)
{
	AUTO(str_free) struct str line = STR_INIT;
	AUTO(auto_close) int fd = -1;

	if (!make_line(request, files, &line))
		return CLI_BROKEN;
	fd = connect_to(path);
	if (fd == -1 && (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR))
		return CLI_ABSENT;
	if (fd == -1 && errno == EACCES) {
		cli_error("you may not connect to %s: ask root for access to its folder", path);
		return CLI_BROKEN;
	}
	if (fd == -1 || !send_request(fd, &line, files)) {
		cli_error("cannot talk to the daemon on %s: %s", path, strerror(errno));
		return CLI_BROKEN;
	}
	answer->socket = fd;
	answer->files = files;
	read_answer(fd, answer);
	answer->files = NULL;
	return CLI_ANSWERED;
}

enum cli_asked cli_ask(const char *path, const struct wcore_request *request,
		       struct cli_answer *answer)
{
	struct cli_answer first = { .capture = answer->capture };
	struct cli_answer none = { 0 };
	enum cli_asked asked = ask_once(path, request, &none, &first);

	if (asked == CLI_ANSWERED && first.n_opens > 0) {
		asked = cli_open_files(&first, request) ?
			ask_once(path, request, &first, answer) : CLI_BROKEN;
		cli_answer_free(&first);
	} else {
		*answer = first;
	}
	if (asked == CLI_ANSWERED && !answer->ended && !answer->local) {
		cli_error("%s", answer->error.len > 0 ? str_text(&answer->error) :
			  "the daemon ended before it had answered");
		return CLI_BROKEN;
	}
	return asked;
}
