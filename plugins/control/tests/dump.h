/*
 * dump.h - a snapshot as text, for comparisons in tests
 */
#ifndef CTL_TESTS_DUMP_H
#define CTL_TESTS_DUMP_H

#include <warren/service/netmap.h>

#include "base/str.h"

void dump_node(struct str *out, const struct warren_node *node);
/* All that consumers can see but serial and changes. */
void dump_map(struct str *out, const struct warren_netmap *map);

#endif
