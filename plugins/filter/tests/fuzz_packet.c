/*
 * Packets of a peer's making, in both directions, against a policy that lets some of them in.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct filter_flows flows[FILTER_FLOW_TABLES];

static struct filter_table *policy(void)
{
	static const struct warren_src src = { .kind = WARREN_SRC_ANY };
	static const struct warren_dst dst = { .kind = WARREN_SRC_ANY, .port_first = 80,
					       .port_last = 90 };
	static const struct warren_filter_rule rule = { .srcs = &src, .n_srcs = 1, .dsts = &dst,
							.n_dsts = 1 };
	static const struct warren_prefix all[] = {
		{ { .family = 4 }, 0 }, { { .family = 6 }, 0 },
	};
	static const struct warren_node self = { .allowed_ips = all, .n_allowed_ips = 2 };
	static const struct warren_netmap map = { .self = &self, .filter = &rule, .n_filter = 1 };
	int result;

	filter_flows_init(&flows[FILTER_FLOWS_OPEN]);
	return filter_table_new(&map, flows, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct filter_table *table;

	if (!table)
		table = policy();
	if (!table)
		abort();
	if (filter_table_decide(table, WARREN_PKT_OUT, data, size, 0) >= FILTER_REASONS ||
	    filter_table_decide(table, WARREN_PKT_IN, data, size, 0) >= FILTER_REASONS)
		abort();
	return 0;
}
