/*
 * What the files of net.h share.
 */
#ifndef WG_TEST_NET_IMPL_H
#define WG_TEST_NET_IMPL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "net.h"

struct wcore_priv;

#define REQUIRE(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #x); \
			abort(); \
		} \
	} while (0)

struct net_impl {
	pthread_t thread, monitor;
	int monitor_fd;
	struct wcore_priv *priv;
	sem_t ready;
	char *yaml;
	_Atomic bool stop;
};

/* net_monitor.c: says hello on node->impl->monitor_fd; then answers until the engine hangs up. */
void net_monitor_hello(struct net_node *node);
void *net_monitor_run(void *node);

#endif
