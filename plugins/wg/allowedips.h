/*
 * Allowed IPs (dataplane.md 1.13): longest-prefix match from address to owner, IPv4 and IPv6. A
 * prefix has one owner. Used for the destination of outgoing packets, and for the source of
 * decrypted ones: there the owner found must be the sending peer itself.
 *
 * Path-compressed tries, persistent: a change copies the nodes on its path and shares the rest.
 * All changes are made between begin and commit, invisible to readers; commit publishes each
 * changed root by one atomic store and then gives the replaced nodes to `retire`. Nodes that
 * were made in the same batch are changed in place, so that bulk building costs no copies.
 *
 * One writer (the lane); lookup from any thread, without locks. Owners are pointers that the
 * caller keeps alive: after commit it removes an owner's object by the same retirement.
 */
#ifndef WG_ALLOWEDIPS_H
#define WG_ALLOWEDIPS_H

#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

#include "index.h"

struct wg_allowedips;

struct wg_allowedips *wg_allowedips_new(wg_retire_fn *retire, void *arg); /* NULL: no memory */
void wg_allowedips_free(struct wg_allowedips *table);	/* no reader is left; NULL is allowed */

/* Writer. Opens a batch; one at a time. */
void wg_allowedips_begin(struct wg_allowedips *table);
/* Writer. Publishes; cannot fail. */
void wg_allowedips_commit(struct wg_allowedips *table);
/* Writer. Throws the batch away, for instance after -ENOMEM: readers never saw it. */
void wg_allowedips_abort(struct wg_allowedips *table);

/*
 * In a batch. Host bits are masked. @former (may be NULL) gets the owner from whom the very same
 * prefix was taken, or NULL. -EINVAL: family or bits; -ENOMEM: abort the batch.
 */
int wg_allowedips_insert(struct wg_allowedips *table, const struct warren_prefix *prefix,
			 void *owner, void **former);
/* In a batch. -ENOENT: @owner does not have this very prefix; -EINVAL; -ENOMEM: abort. */
int wg_allowedips_remove(struct wg_allowedips *table, const struct warren_prefix *prefix,
			 const void *owner);
/* In a batch. Removes every prefix of @owner. -ENOMEM: abort. */
int wg_allowedips_remove_owner(struct wg_allowedips *table, const void *owner);

/* Any thread. NULL: nobody. @bytes: address in network order, as it stands in the IP header. */
void *wg_allowedips_lookup4(const struct wg_allowedips *table, const uint8_t bytes[4]);
void *wg_allowedips_lookup6(const struct wg_allowedips *table, const uint8_t bytes[16]);

/* Writer. Prefixes in order, IPv4 first; @owner NULL: of all. Sees an open batch. */
typedef void wg_allowedips_fn(void *arg, const struct warren_prefix *prefix, void *owner);
void wg_allowedips_walk(const struct wg_allowedips *table, const void *owner,
			wg_allowedips_fn *fn, void *arg);
size_t wg_allowedips_count(const struct wg_allowedips *table);	/* writer; prefixes */

#endif
