/*
 * What can be said of a request and of an address without knowing any connection.
 */
#ifndef WARREN_PEERAPI_GUARD_H
#define WARREN_PEERAPI_GUARD_H

#include <warren/net.h>
#include <warren/service/netmap.h>

#include "base/str.h"

enum { PAPI_ATTEMPTS = 5 };		/* ports that follow from an address */

/*
 * The port that a node with @addr begins with, @attempt 0 ... PAPI_ATTEMPTS - 1, so that it has the
 * same one after a restart (node-services.md 4.1).
 */
uint16_t papi_port(const struct warren_addr *addr, uint32_t attempt);

/* WARREN_HTTP_1 or _2 by what a client begins with; 0: cannot be told yet. */
uint32_t papi_version(const uint8_t *data, size_t len);

/*
 * NULL, or why a request is not one that a peer's daemon makes: it names another host than this
 * node, or a browser was led here by somebody's page. @at: what it was sent to; @node: by whom.
 */
const char *papi_refusal(const struct warren_http_head *head, const struct warren_node *self,
			 const struct warren_node *node, const struct warren_addrport *at);

/* @path of a request, with a query or not, is @prefix or below it. */
bool papi_below(const char *path, const char *prefix);

/* The port that @node tells for its addresses of @family; 0: none. */
uint16_t papi_told_port(const struct warren_node *node, uint8_t family);
/* The first address of that family; NULL: none. */
const struct warren_addr *papi_address(const struct warren_node *node, uint8_t family);

#endif
