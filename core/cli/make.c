/*
 * Files in a folder of the command line, which the daemon fills: it gets descriptors, and the
 * folder's owner keeps the say. A file has a name that nobody looks for until the daemon says that
 * it is whole; then it gets its own, and no other file is touched unless that was asked for.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/beneath.h"
#include "base/util.h"

enum { NUMBERS = 99 };			/* "name (99).txt" is the last one */

static void send_line(const struct cli_answer *answer, const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	/* Far shorter than the socket's buffer. If the daemon is gone, reading says so. */
	while (sendmsg(answer->socket, &msg, MSG_NOSIGNAL) == -1 && errno == EINTR)
		;
}

static void fail(const struct cli_answer *answer, int error)
{
	char line[40];

	snprintf(line, sizeof(line), "{\"failed\":%d}\n", error);
	send_line(answer, line, -1);
}

/* The folder which the command line named for operand @key; -1: none. */
static int folder_of(const struct cli_answer *answer, const char *key)
{
	for (size_t i = 0; key && answer->files && i < answer->files->n_opens; i++) {
		const struct cli_open *open = &answer->files->opens[i];

		if (open->dir && strcmp(open->key, key) == 0)
			return open->fd;
	}
	return -1;
}

/* A name in the folder and nothing else, whatever the daemon says. */
static bool name_ok(const char *name)
{
	return name && name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0 && strlen(name) < sizeof(((struct cli_made *)0)->name);
}

static int way(const char *text)
{
	return !text ? 0 : strcmp(text, "skip") == 0 ? WARREN_MAKE_SKIP :
	       strcmp(text, "overwrite") == 0 ? WARREN_MAKE_OVERWRITE :
	       strcmp(text, "rename") == 0 ? WARREN_MAKE_RENAME : 0;
}

static bool is_there(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int make(struct cli_made *made)
{
	uint64_t number;

	if (made->how == WARREN_MAKE_SKIP && is_there(made->dir, made->name)) {
		errno = EEXIST;
		return -1;
	}
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -1;
	snprintf(made->temporary, sizeof(made->temporary), ".warren-%016llx",
		 (unsigned long long)number);
	return openat(made->dir, made->temporary,
		      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
}

void cli_make(struct cli_answer *answer, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "name"));
	struct cli_made *made = &answer->made;
	AUTO(auto_close) int fd = -1;

	cli_drop(answer);
	made->how = way(json_string_value(json_object_get(request, "how")));
	made->dir = folder_of(answer, json_string_value(json_object_get(request, "key")));
	if (made->dir == -1 || !made->how || !name_ok(name)) {
		fail(answer, EINVAL);
		return;
	}
	snprintf(made->name, sizeof(made->name), "%s", name);
	fd = make(made);
	if (fd == -1) {
		made->temporary[0] = '\0';
		fail(answer, errno);
		return;
	}
	send_line(answer, "{\"made\":true}\n", fd);
}

/* "photo (2).jpg" of "photo.jpg"; false: it would be too long. */
static bool numbered(const char *name, int n, char *out, size_t size)
{
	const char *dot = strrchr(name, '.');
	size_t base = dot && dot != name ? (size_t)(dot - name) : strlen(name);

	return snprintf(out, size, "%.*s (%d)%s", (int)base, name, n, name + base) < (int)size;
}

/* 0 or -errno. */
static int give_name(struct cli_made *made)
{
	bool alone = made->how != WARREN_MAKE_OVERWRITE;
	int result = beneath_rename(made->dir, made->temporary, made->name, alone);
	char name[sizeof(made->name)];

	for (int n = 1; made->how == WARREN_MAKE_RENAME && result == -EEXIST && n <= NUMBERS; n++) {
		if (!numbered(made->name, n, name, sizeof(name)))
			return -ENAMETOOLONG;
		result = beneath_rename(made->dir, made->temporary, name, true);
		if (result == 0)
			memcpy(made->name, name, sizeof(name));
	}
	return result;
}

void cli_keep(struct cli_answer *answer)
{
	struct cli_made *made = &answer->made;
	AUTO(str_free) struct str line = STR_INIT;
	int result = made->temporary[0] ? give_name(made) : -EINVAL;

	if (result) {
		cli_drop(answer);
		fail(answer, -result);
		return;
	}
	made->temporary[0] = '\0';
	str_add(&line, "{\"kept\":");
	str_add_json(&line, made->name, strlen(made->name));
	str_add(&line, "}\n");
	if (!line.failed)
		send_line(answer, str_text(&line), -1);
}

void cli_drop(struct cli_answer *answer)
{
	struct cli_made *made = &answer->made;

	if (made->temporary[0])
		(void)unlinkat(made->dir, made->temporary, 0);	/* nothing is left to be done */
	made->temporary[0] = '\0';
}
