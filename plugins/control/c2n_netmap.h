/*
 * c2n_netmap.h - /debug/netmap: the network map in the stock client's form (types/netmap)
 */
#ifndef CTL_C2N_NETMAP_H
#define CTL_C2N_NETMAP_H

#include <jansson.h>

#include "c2n.h"

/*
 * Appends the answer to a request with @body (NULL: a GET). -EINVAL: the request is to blame; else
 * -errno; both with a sentence. Any thread.
 */
int ctl_c2n_netmap(const struct ctl_c2n_facts *facts, const uint8_t *body, size_t len,
		   struct str *out, char *why, size_t size);

struct ctl_snapshot;
/*
 * A snapshot as the stock client's NetworkMap, without the fields whose names the array @omit (or
 * NULL) has: they are zero. NULL: no map. NodeKey is that of @in_force (or NULL), since a candidate
 * is not shown with a key that this node does not have.
 */
void ctl_store_write_netmap(const struct ctl_snapshot *snapshot,
			    const struct ctl_snapshot *in_force, bool cached,
			    const json_t *omit, struct str *out);

#endif
