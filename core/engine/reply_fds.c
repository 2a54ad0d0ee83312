/*
 * The descriptors that a client passed with its request.
 */
#include "engine/reply_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int wcore_reply_add_fd_take(struct warren_reply *reply, const char *key, int fd)
{
	char *copy;

	if (reply->n_fds == WCORE_REPLY_FDS) {
		close(fd);
		return -E2BIG;
	}
	copy = strdup(key);
	if (!copy) {
		close(fd);
		return -ENOMEM;
	}
	reply->fds[reply->n_fds++] = (struct reply_fd){ copy, fd };
	return 0;
}

void wcore_reply_move_fds(struct warren_reply *from, struct warren_reply *to)
{
	memcpy(to->fds, from->fds, sizeof(to->fds));
	to->n_fds = from->n_fds;
	from->n_fds = 0;
}

bool wcore_reply_has_fd(const struct warren_reply *reply, const char *key)
{
	for (unsigned i = 0; i < reply->n_fds; i++)
		if (strcmp(reply->fds[i].key, key) == 0 && reply->fds[i].fd != -1)
			return true;
	return false;
}

int warren_reply_take_fd(struct warren_reply *reply, const char *key)
{
	for (unsigned i = 0; i < reply->n_fds; i++) {
		int fd = reply->fds[i].fd;

		if (fd != -1 && strcmp(reply->fds[i].key, key) == 0) {
			reply->fds[i].fd = -1;
			return fd;
		}
	}
	return -ENOENT;
}
