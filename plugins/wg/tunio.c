/*
 * System calls on the TUN queue.
 */
#include "tunio.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int wg_tun_prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return -errno;
	return 0;
}

long wg_tun_read(int fd, uint8_t *data, size_t room)
{
	ssize_t n;

	do {
		n = read(fd, data, room);
	} while (n == -1 && errno == EINTR);
	if (n >= 0)
		return n;
	return errno == EAGAIN ? 0 : -errno;
}

int wg_tun_write(int fd, const uint8_t *data, size_t len)
{
	ssize_t n;

	do {
		n = write(fd, data, len);
	} while (n == -1 && errno == EINTR);
	return n == -1 ? -errno : 0;
}
