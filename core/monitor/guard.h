/*
 * monitor/guard.h - puts back what others flush
 *
 * Network managers remove rules, routes and addresses that they do not know. The guard listens to
 * the kernel's notifications, waits a moment, and adds again what is ours and gone.
 */
#ifndef WARREN_MONITOR_GUARD_H
#define WARREN_MONITOR_GUARD_H

#include <stdint.h>

struct mnl_socket;
struct mon;
struct warren_err;

struct mon_guard {
	struct mnl_socket *socket;
	uint64_t due;			/* of the next look; 0: nothing happened */
	uint64_t window;		/* start of the time over which repairs are counted */
	uint32_t repairs;		/* in it */
};

int mon_guard_open(struct mon_guard *guard, struct warren_err *err);
void mon_guard_close(struct mon_guard *guard);
int mon_guard_fd(const struct mon_guard *guard);
/* The socket has something. */
void mon_guard_read(struct mon *mon);
/* Repairs when it is time; returns when to come back (0: never). */
uint64_t mon_guard_repair(struct mon *mon, uint64_t now);

#endif
