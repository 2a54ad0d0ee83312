/*
 * The way from an offer to an exit node that serves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plugins/exitnode/exitnode.h"

static void expect(bool advertise, bool approved4, bool approved6, bool ready4, bool ready6,
		   enum exitnode_state wanted)
{
	const struct warren_router_serving serving = {
		.size = sizeof(serving), .approved = { approved4, approved6 },
		.ready = { ready4, ready6 },
	};

	assert_int_equal(exitnode_state(advertise, &serving), wanted);
}

static void test_states(void **state)
{
	(void)state;
	expect(false, false, false, false, false, EXITNODE_OFF);
	/* Somebody else's offer, of router.advertise: not this section's. */
	expect(false, true, true, true, true, EXITNODE_OFF);
	expect(true, false, false, false, false, EXITNODE_WAITS);
	expect(true, true, false, false, false, EXITNODE_STUCK);
	expect(true, false, true, false, false, EXITNODE_STUCK);
	expect(true, true, true, true, false, EXITNODE_SERVES);
	expect(true, true, true, false, true, EXITNODE_SERVES);
}

static void test_each_has_words(void **state)
{
	(void)state;
	for (int i = EXITNODE_OFF; i <= EXITNODE_SERVES; i++) {
		assert_non_null(exitnode_state_name((enum exitnode_state)i));
		assert_non_null(exitnode_state_words((enum exitnode_state)i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_each_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
