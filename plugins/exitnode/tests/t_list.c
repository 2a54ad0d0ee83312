/*
 * Which exit nodes are shown: order, the best of a place, countries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/util.h"

#include "plugins/exitnode/exitnode.h"

static const struct warren_location berlin1 = { .country = "Germany", .city = "Berlin",
						.priority = 10 };
static const struct warren_location berlin2 = { .country = "Germany", .city = "Berlin",
						.priority = 90 };
static const struct warren_location bonn = { .country = "Germany", .city = "Bonn",
					     .priority = 95 };
static const struct warren_location taipei = { .country = "Taiwan", .city = "Taipei" };
static const struct warren_location nameless = { .latitude_e4 = 1 };

static struct warren_node nodes[] = {
	{ .id = 1, .name = "tpe2.", .location = &taipei, .exit_v4 = true },
	{ .id = 2, .name = "zoe.", .exit_v4 = true, .exit_v6 = true },
	{ .id = 3, .name = "ber1.", .location = &berlin1, .exit_v4 = true },
	{ .id = 4, .name = "printer.", .location = &taipei },
	{ .id = 5, .name = "bonn.", .location = &bonn, .exit_v6 = true },
	{ .id = 6, .name = "tpe1.", .location = &taipei, .exit_v4 = true },
	{ .id = 7, .name = "ber2.", .location = &berlin2, .exit_v4 = true },
	{ .id = 8, .name = "adam.", .location = &nameless, .exit_v4 = true },
	{ .id = 9, .exit_v4 = true },
};

/* A node's name; `*`: stands for its country, in parentheses: for programs alone. */
static void expect(const char *filter, int64_t used, const char *wanted)
{
	const struct warren_node *list[ARRAY_SIZE(nodes)];
	const struct warren_netmap map = { .peers = list, .n_peers = ARRAY_SIZE(nodes) };
	AUTO(str_free) struct str text = STR_INIT;
	struct exitnode_row *rows;
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		list[i] = &nodes[i];
	assert_int_equal(exitnode_rows(&map, filter, used, &rows, &n), 0);
	for (size_t i = 0; i < n; i++) {
		const char *name = rows[i].node->name ? rows[i].node->name : "?.";

		if (rows[i].any && !rows[i].shown)
			continue;
		str_addf(&text, rows[i].shown ? "%.*s%s " : "(%.*s)%s ", (int)strlen(name) - 1,
			 name, rows[i].any ? "*" : "");
	}
	assert_string_equal(str_text(&text), wanted);
	free(rows);
}

static void shows_the_best_of_each_place(void **state)
{
	(void)state;
	expect("", 0, "? adam zoe bonn* ber2 (ber1) bonn tpe1 (tpe2) ");
	/* And the one that is used. */
	expect("", 3, "? adam zoe bonn* ber2 ber1 bonn tpe1 (tpe2) ");
}

static void shows_all_of_a_country(void **state)
{
	(void)state;
	expect("germany", 0, "bonn* ber2 ber1 bonn ");
	expect("TAIWAN", 0, "tpe1 tpe2 ");
	expect("Tai", 0, "");
	/* What is shown where there is none. */
	expect("-", 0, "");
}

static void knows_no_network(void **state)
{
	const struct warren_netmap map = { .n_peers = 0 };
	struct exitnode_row *rows;
	size_t n;

	(void)state;
	assert_int_equal(exitnode_rows(NULL, "", 0, &rows, &n), 0);
	assert_int_equal(n, 0);
	free(rows);
	assert_int_equal(exitnode_rows(&map, "", 0, &rows, &n), 0);
	assert_int_equal(n, 0);
	free(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_the_best_of_each_place),
		cmocka_unit_test(shows_all_of_a_country),
		cmocka_unit_test(knows_no_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
