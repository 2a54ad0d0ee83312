/*
 * The session's words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../session.h"

/* Scripts read these: the stock client's words (ipn/backend.go). */
static void test_state_names(void **state)
{
	(void)state;
	assert_string_equal(ctl_state_name(CTL_NO_STATE), "NoState");
	assert_string_equal(ctl_state_name(CTL_NEEDS_LOGIN), "NeedsLogin");
	assert_string_equal(ctl_state_name(CTL_NEEDS_MACHINE_AUTH), "NeedsMachineAuth");
	assert_string_equal(ctl_state_name(CTL_STOPPED), "Stopped");
	assert_string_equal(ctl_state_name(CTL_STARTING), "Starting");
	assert_string_equal(ctl_state_name(CTL_RUNNING), "Running");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
