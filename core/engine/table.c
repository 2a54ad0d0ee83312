/*
 * Rows of a plugin's tables, whatever header it was compiled against.
 */
#include "engine/table.h"

#include <string.h>

#include <warren/plugin.h>

bool wcore_table_row(const struct warren_table *table, uint32_t i, void *row, size_t size)
{
	size_t have = table->stride < size ? table->stride : size;

	if (i >= table->count || !table->rows)
		return false;
	memcpy(row, (const char *)table->rows + (size_t)i * table->stride, have);
	memset((char *)row + have, 0, size - have);
	return true;
}
