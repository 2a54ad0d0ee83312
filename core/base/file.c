/*
 * Whole files. Reading grows by copying and wiping, not by realloc(), because key files come
 * through here too and realloc() leaves copies behind.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

enum { READ_FIRST = 4096, NAME_MAX_LEN = 255 };

struct content {
	uint8_t *bytes;
	size_t len, cap;
};

static void content_free(struct content *c)
{
	if (c->bytes)
		explicit_bzero(c->bytes, c->cap);
	free(c->bytes);
	*c = (struct content){ 0 };
}

static int content_grow(struct content *c, size_t cap)
{
	struct content bigger = { .bytes = malloc(cap), .len = c->len, .cap = cap };

	if (!bigger.bytes)
		return -ENOMEM;
	if (c->len > 0)
		memcpy(bigger.bytes, c->bytes, c->len);
	content_free(c);
	*c = bigger;
	return 0;
}

/* What fstat() says is only the first guess: pipes and /proc say 0. */
static size_t first_size(int fd, size_t limit)
{
	struct stat st;
	size_t size = READ_FIRST;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		size = (uint64_t)st.st_size < limit ? (size_t)st.st_size : limit;
	return size + 2;		/* one byte to see the end, one for the NUL */
}

int file_read_fd(int fd, size_t limit, void **data, size_t *len)
{
	AUTO(content_free) struct content c = { 0 };
	int result = content_grow(&c, first_size(fd, limit));

	while (result == 0) {
		ssize_t n = read(fd, c.bytes + c.len, c.cap - c.len - 1);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		if (n == 0)
			break;
		c.len += (size_t)n;
		if (c.len > limit)
			return -EFBIG;
		if (c.len == c.cap - 1)
			result = content_grow(&c, c.cap * 2);
	}
	if (result < 0)
		return result;
	c.bytes[c.len] = '\0';
	*data = TAKE_PTR(c.bytes);
	*len = c.len;
	return 0;
}

int file_read_at(int dirfd, const char *name, size_t limit, void **data, size_t *len)
{
	AUTO(auto_close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd == -1)
		return -errno;
	return file_read_fd(fd, limit, data, len);
}

int file_write_fd(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_sync_dir(int dirfd)
{
	/* A file system that cannot sync folders (some FUSE) says EINVAL: nothing to wait for. */
	if (fsync(dirfd) == -1 && errno != EINVAL)
		return -errno;
	return 0;
}

static int write_new(int dirfd, const char *name, mode_t mode, const void *data, size_t len)
{
	AUTO(auto_close) int fd = -1;
	int result;

	/* A left-over of a crash; nobody else writes below this name. */
	if (unlinkat(dirfd, name, 0) == -1 && errno != ENOENT)
		return -errno;
	fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return -errno;
	if (fchmod(fd, mode) == -1)
		return -errno;
	result = file_write_fd(fd, data, len);
	if (result == 0 && fsync(fd) == -1)
		result = -errno;
	/* Network file systems report a full disk here. */
	if (close(TAKE_FD(fd)) == -1 && result == 0)
		result = -errno;
	return result;
}

int file_replace_at(int dirfd, const char *name, mode_t mode, const void *data, size_t len)
{
	char temporary[NAME_MAX_LEN + 1];
	int n = snprintf(temporary, sizeof(temporary), ".%s.new", name);
	int result;

	if (n < 0 || (size_t)n >= sizeof(temporary))
		return -ENAMETOOLONG;
	if (!*name || strchr(name, '/'))
		return -EINVAL;
	result = write_new(dirfd, temporary, mode, data, len);
	if (result == 0 && renameat(dirfd, temporary, dirfd, name) == -1)
		result = -errno;
	if (result < 0) {
		/* The first error counts. */
		(void)unlinkat(dirfd, temporary, 0);
		return result;
	}
	return file_sync_dir(dirfd);
}
