/*
 * base/beneath.h - files below an open folder, which no name and no link leads out of
 *
 * @name is relative, "" the folder itself. Linux's openat2() sees to it: RESOLVE_BENEATH and
 * RESOLVE_NO_MAGICLINKS. All block. They return 0, or a descriptor, or -errno.
 */
#ifndef WARREN_BASE_BENEATH_H
#define WARREN_BASE_BENEATH_H

#include <stdbool.h>
#include <sys/stat.h>

enum { BENEATH_NAME = 256 };		/* bytes of a name, with NUL */

int beneath_open(int dir, const char *name, int flags, mode_t mode);
/* A regular file, to read; or with @create, made with @mode if it is not there, to write too. */
int beneath_file(int dir, const char *name, bool create, mode_t mode);
/* @alone: -EEXIST if there is something called @to. */
int beneath_rename(int dir, const char *name, const char *to, bool alone);
int beneath_unlink(int dir, const char *name);
int beneath_mkdir(int dir, const char *name, mode_t mode);
int beneath_stat(int dir, const char *name, struct stat *st);
/* Calls @fn for each entry; a result other than 0 ends it and is returned. */
int beneath_list(int dir, const char *name,
		 int (*fn)(void *arg, const char *entry, const struct stat *st), void *arg);

#endif
