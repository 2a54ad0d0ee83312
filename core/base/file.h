/*
 * base/file.h - whole files: read with a limit, replaced atomically
 *
 * Functions return 0 or -errno and block: never call them on a loop (the job pool, `start`, the
 * monitor and the command line may).
 */
#ifndef WARREN_BASE_FILE_H
#define WARREN_BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads from @fd to its end. *@data is the caller's (free()), has a NUL after its @len bytes, and
 * no other copy of the bytes is left in memory. More than @limit bytes: -EFBIG.
 */
int file_read_fd(int fd, size_t limit, void **data, size_t *len);
/* The same for @name in the folder @dirfd (or AT_FDCWD). A symbolic link is followed. */
int file_read_at(int dirfd, const char *name, size_t limit, void **data, size_t *len);

/* Writes all, whatever the kernel takes at once. */
int file_write_fd(int fd, const void *data, size_t len);
/*
 * Replaces the plain name @name in folder @dirfd: writes ".<name>.new" with @mode, fsync, rename,
 * fsync of the folder. After a crash at any point either the old or the new content is there.
 * On error the old file is untouched and the temporary one is gone.
 */
int file_replace_at(int dirfd, const char *name, mode_t mode, const void *data, size_t len);
int file_sync_dir(int dirfd);

#endif
