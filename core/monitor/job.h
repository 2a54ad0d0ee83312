/*
 * monitor/job.h - children that do one request with the rights of somebody else
 *
 * A child has become that user, with nothing of the monitor left open but a folder: it can reach
 * what he can reach, and a slow network file system holds up nobody else. It writes the whole
 * answer; the monitor passes it on. A child that takes too long is killed and the request answered
 * with an error.
 */
#ifndef WARREN_MONITOR_JOB_H
#define WARREN_MONITOR_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

struct mon;
struct mon_job;
struct mon_reply;
struct mon_request;

struct mon_outcome {			/* what the child finds out */
	int64_t value;
	uint32_t handle;
	int fd;				/* to give away; -1: none */
	struct str data;
	struct str why;			/* of a failure; empty: the words for its errno */
};

struct mon_work {
	uid_t uid;
	gid_t gid;
	bool own_groups;		/* @uid's of the password file, and not @gid */
	int dir;			/* kept open for the child as MON_JOB_DIR; -1: none */
	const char *path;
	const char *user;		/* its name, instead of @uid and @gid; NULL: none */
	const void *item;		/* of the request */
	/* In the child. 0 or -errno. */
	int (*run)(const struct mon_work *work, struct mon_outcome *out);
};
enum { MON_JOB_DIR = 3 };

/* Starts @work, which will answer @req; sets reply->later. 0, or -errno with a sentence. */
int mon_job_start(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		  const struct mon_work *work, struct warren_err *err);

void mon_job_read(struct mon *mon, struct mon_job *job);	/* it answered or died */
/* Kills those that take too long; returns when to come back (0: never). */
uint64_t mon_job_expire(struct mon *mon, uint64_t now);
void mon_job_end_all(struct mon *mon);

#endif
