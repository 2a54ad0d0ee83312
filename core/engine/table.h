/*
 * engine/table.h - rows that cross the plugin boundary
 *
 * A plugin's table has the stride of the header it was compiled against. Rows are read through
 * copies that have our size: a shorter row is extended with zeros, of a longer one the tail, which
 * only a newer core would know, is left out.
 */
#ifndef WARREN_ENGINE_TABLE_H
#define WARREN_ENGINE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct warren_table;

#pragma GCC visibility push(default)

/*
 * Copies row @i of @table into @row, which has @size bytes. False when there is no such row:
 *	struct warren_option row;
 *	for (uint32_t i = 0; wcore_table_row(&table, i, &row, sizeof(row)); i++)
 */
bool wcore_table_row(const struct warren_table *table, uint32_t i, void *row, size_t size);

#pragma GCC visibility pop

#endif
