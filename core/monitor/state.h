/*
 * monitor/state.h - the state folder: layout, owners, and who may use it
 *
 *	<state>		root 0711
 *	monitor/	root 0700: journal, lock, overlay.yaml
 *	engine/		0700, the engine's user: all else
 */
#ifndef WARREN_MONITOR_STATE_H
#define WARREN_MONITOR_STATE_H

#include <sys/types.h>

struct warren_err;

struct mon_state {
	int monitor;			/* descriptor of monitor/ */
	int lock;
	char engine[256];		/* path of engine/ */
};
#define MON_STATE_INIT { -1, -1, "" }

/*
 * Makes what is missing of @path and monitor/ and takes the lock. -EBUSY: another daemon has it.
 * Errors come with a sentence that says what to do.
 */
int mon_state_open(struct mon_state *state, const char *path, struct warren_err *err);
/* engine/ for @uid and @gid; one that belongs to somebody else is an error. */
int mon_state_engine(struct mon_state *state, const char *path, uid_t uid, gid_t gid,
		     struct warren_err *err);
/* Gives the lock back; with it goes the right to touch the folder. */
void mon_state_close(struct mon_state *state);

#endif
