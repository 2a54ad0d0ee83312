/*
 * Packets of a peer's making, in both directions, against a policy that lets some of them in.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "plugins/filter/flow.h"
#include "plugins/filter/table.h"
#include "plugins/filter/tsmp.h"

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

/* What is answered is a packet, back to where @data came from. */
static void check_answer(const struct filter_packet *packet, const uint8_t *out, size_t len)
{
	struct filter_packet answer;

	if (len > FILTER_TSMP_MAX || !filter_packet_parse(out, len, &answer) ||
	    answer.protocol != FILTER_TSMP || answer.version != packet->version ||
	    answer.destination.low != packet->source.low ||
	    answer.source.low != packet->destination.low)
		abort();
}

static void tsmp(const uint8_t *data, size_t size)
{
	struct filter_packet packet;
	struct filter_tsmp message;
	uint8_t out[FILTER_TSMP_MAX];
	size_t len;

	if (!filter_packet_parse(data, size, &packet))
		return;
	filter_tsmp_read(&packet, data, size, &message);
	if (message.kind == FILTER_TSMP_PING)
		check_answer(&packet, out, filter_tsmp_pong(&packet, &message, 1, out));
	len = filter_tsmp_refuse(&packet, FILTER_ACL, false, out);
	if (len)
		check_answer(&packet, out, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct filter_table *table;

	tsmp(data, size);
	if (!table)
		table = policy();
	if (!table)
		abort();
	if (filter_table_decide(table, WARREN_PKT_OUT, data, size, 0) >= FILTER_REASONS ||
	    filter_table_decide(table, WARREN_PKT_IN, data, size, 0) >= FILTER_REASONS)
		abort();
	return 0;
}
