/*
 * For tests of the store: rows to write, and all that is in a database as text.
 */
#ifndef WARREN_COORDINATOR_TESTS_ROWS_H
#define WARREN_COORDINATOR_TESTS_ROWS_H

#include "../store.h"

struct str;

/* A user, two machines, a pin, a reusable and a single-use key, two nodes, a held address. */
struct store_tx *rows_full(void);
/* A node of user 1 that collides with no other of another id. */
struct tailnet_node *rows_node(int64_t id, int64_t machine);
/* Writes every row to @out as a line; NULL: nowhere. */
struct store_visitor rows_visitor(struct str *out);
/* All rows; aborts when they cannot be read. For free(). */
char *rows_dump(struct store *store);

#endif
