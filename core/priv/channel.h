/*
 * priv/channel.h - one message with descriptors over the socketpair, and sealed memory
 */
#ifndef WARREN_PRIV_CHANNEL_H
#define WARREN_PRIV_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "priv/wire.h"

struct wpriv_msg {
	struct wpriv_head head;
	const uint8_t *data;		/* head.len bytes, inside the caller's buffer */
	int fds[WPRIV_MSG_FDS];
	uint32_t n_fds;			/* the receiver owns those that it does not take */
};

/*
 * Sends without waiting and without SIGPIPE. @parts[0] ... are laid one after the other behind the
 * header, whose `len` is set here. 0, -EAGAIN: the peer does not read, -EMSGSIZE, -EPIPE, -errno.
 */
struct wpriv_part {
	const void *data;
	size_t len;
};
int wpriv_send(int fd, const struct wpriv_head *head, const struct wpriv_part *parts,
	       size_t n_parts, const int *fds, size_t n_fds);

/*
 * Receives into @buf, which has WPRIV_MSG_MAX bytes aligned for any type. 1: @msg is filled; its
 * descriptors are close-on-exec. 0: the peer is gone. -EAGAIN: nothing there. -EBADMSG: what came
 * is no message (its descriptors are closed); the peer is broken or hostile.
 */
int wpriv_recv(int fd, void *buf, struct wpriv_msg *msg);
/* Closes the descriptors that were not taken (fds[i] = -1). */
void wpriv_msg_close(struct wpriv_msg *msg);

/* A memfd with @len bytes that nobody can change any more. The descriptor, or -errno. */
int wpriv_memfd(const char *name, const void *data, size_t len);
/*
 * Copies @len bytes out of a memfd that a stranger made. Refused (-EBADF) unless it is a memfd
 * sealed against writing and shrinking, of exactly @len bytes.
 */
int wpriv_memfd_read(int fd, void *data, size_t len);

#endif
