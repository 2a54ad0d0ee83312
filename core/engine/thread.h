/*
 * Starting a thread: the same stack, signals and name everywhere.
 */
#ifndef WARREN_ENGINE_THREAD_H
#define WARREN_ENGINE_THREAD_H

#include <pthread.h>
#include <stddef.h>

enum {
	WCORE_THREAD_NAME = 16,		/* with NUL; the kernel's limit */
	WCORE_THREAD_STACK = 256 << 10,
};

/*
 * A thread with all signals blocked, so that they reach lane main only. Longer names are cut. 0 or
 * -errno. Any thread.
 */
int wcore_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *arg),
		       void *arg);

#endif
