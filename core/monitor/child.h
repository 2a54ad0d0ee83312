/*
 * monitor/child.h - fork and execute a program without privileges
 */
#ifndef WARREN_MONITOR_CHILD_H
#define WARREN_MONITOR_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct warren_err;

struct mon_child {
	const char *program;		/* absolute path */
	int fd;				/* becomes descriptor 3 */
	bool drop;			/* give up root: */
	uid_t uid;
	gid_t gid;
};
/* The process id, or -errno with a sentence. A failure inside the child ends it with status 127. */
pid_t mon_child_start(const struct mon_child *child, struct warren_err *err);

#endif
