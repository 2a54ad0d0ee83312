/*
 * Messages over a SOCK_SEQPACKET socket.
 *
 * The kernel keeps the borders of messages, so a message is there whole or not at all, and a
 * truncated one is an error of the sender. Structures are copied, not cast. The credentials of the
 * peer are not asked for: the socketpair has no other holder.
 */
#include "priv/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

enum { PARTS_MAX = 6 };

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(WPRIV_MSG_FDS * sizeof(int))];
};

static void put_fds(struct msghdr *mh, union control *control, const int *fds, size_t n_fds)
{
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	mh->msg_control = control->bytes;
	mh->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	cmsg = CMSG_FIRSTHDR(mh);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
}

int wpriv_send(int fd, const struct wpriv_head *head, const struct wpriv_part *parts,
	       size_t n_parts, const int *fds, size_t n_fds)
{
	struct iovec iov[PARTS_MAX + 1];
	struct wpriv_head copy = *head;
	struct msghdr mh = { .msg_iov = iov };
	union control control;
	size_t len = 0;
	ssize_t sent;

	if (n_parts > PARTS_MAX || n_fds > WPRIV_MSG_FDS)
		return -EMSGSIZE;
	iov[0] = (struct iovec){ &copy, sizeof(copy) };
	for (size_t i = 0; i < n_parts; i++) {
		iov[i + 1] = (struct iovec){ (void *)parts[i].data, parts[i].len };
		if (!size_add(len, parts[i].len, &len))
			return -EMSGSIZE;
	}
	if (len > WPRIV_MSG_MAX - sizeof(copy))
		return -EMSGSIZE;
	copy.len = (uint32_t)len;
	mh.msg_iovlen = n_parts + 1;
	if (n_fds > 0)
		put_fds(&mh, &control, fds, n_fds);
	do {
		sent = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent == -1 && errno == EINTR);
	return sent == -1 ? -errno : 0;
}

static void take_fds(struct wpriv_msg *msg, struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* The control buffer has room for WPRIV_MSG_FDS in all, so this always fits. */
		memcpy(msg->fds + msg->n_fds, CMSG_DATA(c), n * sizeof(int));
		msg->n_fds += (uint32_t)n;
	}
}

void wpriv_msg_close(struct wpriv_msg *msg)
{
	for (uint32_t i = 0; i < msg->n_fds; i++)
		auto_close(&msg->fds[i]);
	msg->n_fds = 0;
}

int wpriv_recv(int fd, void *buf, struct wpriv_msg *msg)
{
	struct iovec iov = { buf, WPRIV_MSG_MAX };
	union control control;
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t got;

	msg->n_fds = 0;
	do {
		got = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (got == -1 && errno == EINTR);
	if (got == -1)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(msg, &mh);
	if (got == 0 && msg->n_fds == 0)
		return 0;
	if ((mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)got < sizeof(msg->head))
		goto bad;
	memcpy(&msg->head, buf, sizeof(msg->head));
	msg->data = (const uint8_t *)buf + sizeof(msg->head);
	if (msg->head.len != (size_t)got - sizeof(msg->head))
		goto bad;
	return 1;
bad:
	wpriv_msg_close(msg);
	return -EBADMSG;
}

static bool write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

int wpriv_memfd(const char *name, const void *data, size_t len)
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	AUTO(auto_close) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1)
		return -errno;
	if (!write_all(fd, data, len) || fcntl(fd, F_ADD_SEALS, seals) == -1 ||
	    lseek(fd, 0, SEEK_SET) == -1)
		return -errno;
	return TAKE_FD(fd);
}

int wpriv_memfd_read(int fd, void *data, size_t len)
{
	const int needed = F_SEAL_WRITE | F_SEAL_SHRINK;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	char *at = data;

	/* Only a memfd has seals: a file or pipe that could block or change fails here. */
	if (seals == -1 || (seals & needed) != needed || fstat(fd, &st) == -1 ||
	    (uint64_t)st.st_size != len)
		return -EBADF;
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, at + done, len - done, (off_t)done);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? -EBADF : -errno;
		done += (size_t)n;
	}
	return 0;
}
