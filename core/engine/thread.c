/*
 * Threads of the core. Stacks are small because a box may have little memory; sanitizers need
 * several times as much for the same code.
 */
#include "engine/thread.h"

#include <signal.h>
#include <stdio.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_FACTOR 8
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_FACTOR 8
#endif
#ifndef STACK_FACTOR
#define STACK_FACTOR 1
#endif

int wcore_thread_start(pthread_t *thread, const char *name, size_t stack, void *(*run)(void *arg),
		       void *arg)
{
	char cut[WCORE_THREAD_NAME];
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	rc = pthread_attr_init(&attr);
	if (rc)
		return -rc;
	rc = pthread_attr_setstacksize(&attr, stack * STACK_FACTOR);
	if (!rc) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		rc = pthread_create(thread, &attr, run, arg);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	snprintf(cut, sizeof(cut), "%s", name);
	/* A thread that has ended already has no name to set; nothing is lost. */
	(void)pthread_setname_np(*thread, cut);
	return 0;
}
