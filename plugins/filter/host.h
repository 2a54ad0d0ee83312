/*
 * The networks of the host, for the local set of an exit node.
 */
#ifndef FILTER_HOST_H
#define FILTER_HOST_H

#include "table.h"

enum { FILTER_HOST_NETWORKS = 1024 };	/* with more they count as unknown */

/* Reads them from the kernel; the caller frees out->networks. Any thread. */
void filter_host_read(struct filter_host *out);

#endif
