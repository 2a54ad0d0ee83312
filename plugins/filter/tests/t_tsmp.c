/*
 * TSMP: bytes as the stock client writes and reads them, what is refused with an answer and what
 * without, and the limit on what a peer can cause.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "craft.h"
#include "plugins/filter/flow.h"
#include "plugins/filter/tsmp.h"

static const uint64_t second = 1000000;
static struct filter_flows flows[FILTER_FLOW_TABLES];

static struct filter_packet parsed(const struct craft *craft)
{
	struct filter_packet packet;
	uint8_t data[CRAFT_MAX];

	assert_true(filter_packet_parse(data, craft_packet(craft, data), &packet));
	return packet;
}

static const struct craft syn = { .source = "10.0.0.5", .destination = "10.0.0.1", .protocol = 6,
				  .tcp_flags = 2, .source_port = 51234, .port = 22 };

/* Bytes that net/packet.Generate of the stock client 1.102.3 made. */
static void writes_a_refusal_as_the_stock_client(void **state)
{
	static const uint8_t want[] = {
		0x45, 0, 0, 27, 0, 0, 0, 0, 64, 99, 0x66, 0x7b, 10, 0, 0, 1, 10, 0, 0, 5,
		'!', 6, 'A', 0xc8, 0x22, 0, 22,
	};
	struct filter_packet packet = parsed(&syn);
	uint8_t out[FILTER_TSMP_MAX];

	(void)state;
	assert_int_equal(filter_tsmp_refuse(&packet, FILTER_ACL, false, out), sizeof(want));
	assert_memory_equal(out, want, sizeof(want));
	assert_int_equal(filter_tsmp_refuse(&packet, FILTER_NOT_LOCAL, true, out), sizeof(want));
	assert_int_equal(out[22], 'S');
}

static void refuses_first_packets_of_tcp_alone(void **state)
{
	const struct craft silent[] = {
		{ .source = "10.0.0.5", .destination = "10.0.0.1", .protocol = 17, .port = 22 },
		{ .source = "10.0.0.5", .destination = "10.0.0.1", .protocol = 1, .icmp_type = 8 },
		{ .source = "10.0.0.5", .destination = "10.0.0.1", .protocol = 6,
		  .tcp_flags = 0x12 },
		{ .source = "fd00::5", .destination = "fd00::1", .protocol = 6, .tcp_flags = 2 },
		{ .source = "10.0.0.5", .destination = "10.0.0.1", .protocol = 99 },
	};
	uint8_t out[FILTER_TSMP_MAX];
	struct filter_packet packet;

	(void)state;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		packet = parsed(&silent[i]);
		assert_int_equal(filter_tsmp_refuse(&packet, FILTER_ACL, false, out), 0);
	}
	packet = parsed(&syn);
	for (int why = 0; why < FILTER_REASONS; why++) {
		bool told = why == FILTER_ACL || why == FILTER_NOT_LOCAL;

		assert_int_equal(filter_tsmp_refuse(&packet, (enum filter_reason)why, false,
						    out) > 0, told);
	}
}

/* An IP packet around @body; of IPv6 if @six. */
static size_t message(bool six, const void *body, size_t len, uint8_t *out)
{
	const struct craft four_craft = { .source = "10.0.0.5", .destination = "10.0.0.1",
					  .protocol = 99, .body = (uint16_t)len };
	const struct craft six_craft = { .source = "fd00::5", .destination = "fd00::1",
					 .protocol = 99, .body = (uint16_t)len };
	size_t total = craft_packet(six ? &six_craft : &four_craft, out);

	memcpy(out + total - len, body, len);
	return total;
}

static struct filter_tsmp read_message(bool six, const void *body, size_t len)
{
	struct filter_packet packet;
	struct filter_tsmp tsmp;
	uint8_t data[CRAFT_MAX], *exact;
	size_t total = message(six, body, len, data);

	exact = malloc(total);	/* a byte read too far is seen */
	memcpy(exact, data, total);
	assert_true(filter_packet_parse(exact, total, &packet));
	filter_tsmp_read(&packet, exact, total, &tsmp);
	free(exact);
	return tsmp;
}

static void reads_refusals(void **state)
{
	static const uint8_t body[] = { '!', 6, 'W', 0xc8, 0x22, 0, 22, 1 };
	struct filter_tsmp tsmp;

	(void)state;
	for (int six = 0; six < 2; six++) {
		tsmp = read_message(six, body, 8);
		assert_int_equal(tsmp.kind, FILTER_TSMP_REFUSAL);
		assert_true(tsmp.maybe);
		assert_int_equal(tsmp.reason, 'W');
		assert_int_equal(tsmp.refused.version, six ? 6 : 4);
		assert_int_equal(tsmp.refused.protocol, 6);
		assert_int_equal(tsmp.refused.source_port, 51234);
		assert_int_equal(tsmp.refused.port, 22);
		assert_int_equal(tsmp.refused.source.low & 0xff, 1);	/* we began it */
		assert_int_equal(tsmp.refused.destination.low & 0xff, 5);
	}
	tsmp = read_message(false, body, 7);
	assert_int_equal(tsmp.kind, FILTER_TSMP_REFUSAL);
	assert_false(tsmp.maybe);
	for (size_t len = 1; len < 7; len++) {
		tsmp = read_message(false, body, len);
		assert_int_equal(tsmp.kind, FILTER_TSMP_OTHER);
	}
	assert_string_equal(filter_tsmp_reason('A'), "acl");
	assert_string_equal(filter_tsmp_reason('S'), "shields");
	assert_string_equal(filter_tsmp_reason('x'), "other");
	assert_string_equal(filter_tsmp_reason(0), "other");
}

static void answers_pings(void **state)
{
	static const uint8_t ping[] = { 'p', 1, 2, 3, 4, 5, 6, 7, 8 };
	static const uint8_t want4[] = {
		0x45, 0, 0, 31, 0, 0, 0, 0, 64, 99, 0x66, 0x77, 10, 0, 0, 1, 10, 0, 0, 5,
		'o', 1, 2, 3, 4, 5, 6, 7, 8, 0xa1, 0x12,
	};
	static const uint8_t want6[] = {
		0x60, 0, 0, 0, 0, 11, 99, 64,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5,
		'o', 1, 2, 3, 4, 5, 6, 7, 8, 0xa1, 0x12,
	};
	struct filter_packet packet;
	struct filter_tsmp tsmp;
	uint8_t data[CRAFT_MAX], out[FILTER_TSMP_MAX];
	size_t len;

	(void)state;
	for (int six = 0; six < 2; six++) {
		len = message(six, ping, sizeof(ping), data);
		assert_true(filter_packet_parse(data, len, &packet));
		filter_tsmp_read(&packet, data, len, &tsmp);
		assert_int_equal(tsmp.kind, FILTER_TSMP_PING);
		len = filter_tsmp_pong(&packet, &tsmp, 0xa112, out);
		assert_int_equal(len, six ? sizeof(want6) : sizeof(want4));
		assert_memory_equal(out, six ? want6 : want4, len);
		/* It goes back where it came from. */
		assert_true(filter_packet_parse(out, len, &packet));
		assert_int_equal(packet.source.low & 0xff, 1);
		assert_int_equal(packet.destination.low & 0xff, 5);
	}
	tsmp = read_message(false, ping, 8);
	assert_int_equal(tsmp.kind, FILTER_TSMP_OTHER);
}

static void believes_refusals_of_its_own_connections_only(void **state)
{
	const struct warren_netmap map = { 0 };
	const struct craft out = { .source = "10.0.0.1", .destination = "10.0.0.5", .protocol = 6,
				   .tcp_flags = 2, .source_port = 51234, .port = 22 };
	const uint8_t body[] = { '!', 6, 'A', 0xc8, 0x22, 0, 22 };
	struct filter_tsmp tsmp = read_message(false, body, sizeof(body)), other = tsmp;
	uint8_t data[CRAFT_MAX];
	struct filter_table *table;
	size_t len;
	int result;

	(void)state;
	for (int i = 0; i < FILTER_FLOW_TABLES; i++)
		filter_flows_init(&flows[i]);
	table = filter_table_new(&map, flows, &result);
	assert_non_null(table);
	assert_false(filter_table_began(table, &tsmp.refused, second));
	len = craft_packet(&out, data);
	assert_int_equal(filter_table_decide(table, WARREN_PKT_OUT, data, len, second),
			 FILTER_ACCEPTED);
	assert_true(filter_table_began(table, &tsmp.refused, second));
	other.refused.port = 23;
	assert_false(filter_table_began(table, &other.refused, second));
	other = tsmp;
	other.refused.destination.low++;
	assert_false(filter_table_began(table, &other.refused, second));
	assert_false(filter_table_began(table, &tsmp.refused, 400 * second));
	filter_table_free(table);
}

static uint32_t passed(struct filter_pace *pace, uint32_t peers, uint32_t each, uint64_t now)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < peers * each; i++) {
		const struct filter_addr peer = { 0, i % peers };

		n += filter_pace_allows(pace, 4, &peer, now);
	}
	return n;
}

static void limits_what_a_peer_can_cause(void **state)
{
	struct filter_pace pace;

	(void)state;
	filter_pace_init(&pace);
	assert_int_equal(passed(&pace, 1, 1000, second), FILTER_TSMP_RATE);
	assert_int_equal(passed(&pace, 1, 1000, second + second / FILTER_TSMP_RATE), 1);
	assert_int_equal(passed(&pace, 1, 1000, 100 * second), FILTER_TSMP_RATE);
	/* All together. */
	filter_pace_init(&pace);
	assert_int_equal(passed(&pace, 1000, 20, second), FILTER_TSMP_RATE_ALL);
	/* One peer that is over its limit leaves the others theirs. */
	filter_pace_init(&pace);
	memset(pace.secret, 1, sizeof(pace.secret));	/* places by chance may be the same */
	passed(&pace, 1, 1000, second);
	assert_true(passed(&pace, 5, 1, second) >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_a_refusal_as_the_stock_client),
		cmocka_unit_test(refuses_first_packets_of_tcp_alone),
		cmocka_unit_test(reads_refusals),
		cmocka_unit_test(answers_pings),
		cmocka_unit_test(believes_refusals_of_its_own_connections_only),
		cmocka_unit_test(limits_what_a_peer_can_cause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
