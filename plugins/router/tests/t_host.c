/*
 * Networks behind an interface to be bypassed are held while it is away, and given up when it is
 * there without them for long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/str.h"
#include "plugins/router/host.h"

static const struct warren_router_bypass wt0 = { .kind = WARREN_BYPASS_INTERFACE,
						 .ifname = "wt0" };
static const struct warren_router_lead lead = { .bypass = &wt0, .n_bypass = 1 };

/* Takes a look at @nets, "10.0.0.0/16 10.1.0.0/16", behind wt0; is something other than before? */
static bool look(struct router_host *host, const char *nets, uint64_t now, uint64_t *again)
{
	struct router_host seen = { .held = calloc(8, sizeof(*seen.held)) };
	char copy[256], *at = copy, *word;
	bool changed;

	assert_non_null(seen.held);
	str_copy(copy, sizeof(copy), nets);
	while ((word = strsep(&at, " "))) {
		struct router_net *net = &seen.held[seen.n_held];

		if (!word[0])
			continue;
		assert_int_equal(prefix_parse(word, &net->prefix), 0);
		str_copy(net->ifname, sizeof(net->ifname), "wt0");
		seen.n_held++;
	}
	assert_int_equal(router_host_take(host, &seen, &lead, now, &changed, again), 0);
	router_host_free(&seen);
	return changed;
}

static void holds_what_is_away(void **state)
{
	struct router_host host = { .n_held = 0 };
	uint64_t again;

	(void)state;
	assert_false(look(&host, "", 1, &again));
	assert_true(look(&host, "10.1.0.0/16 10.0.0.0/16 10.0.0.0/16", 2, &again));
	assert_int_equal(host.n_held, 2);
	/* The interface is gone, for as long as it likes. */
	assert_false(look(&host, "", 3, &again));
	assert_false(look(&host, "", 10 * router_host_patience, &again));
	assert_int_equal(again, 0);
	assert_int_equal(host.n_held, 2);
	/* It is back with less: the rest may follow. */
	assert_false(look(&host, "10.0.0.0/16", 100, &again));
	assert_int_equal(again, 100 + router_host_patience);
	assert_false(look(&host, "10.0.0.0/16", again - 1, &again));
	assert_true(look(&host, "10.0.0.0/16", 100 + router_host_patience, &again));
	assert_int_equal(host.n_held, 1);
	assert_int_equal(again, 0);
	router_host_free(&host);
}

static void begins_to_wait_anew(void **state)
{
	struct router_host host = { .n_held = 0 };
	uint64_t again;

	(void)state;
	look(&host, "10.0.0.0/16 10.1.0.0/16", 1, &again);
	look(&host, "10.0.0.0/16", 2, &again);
	look(&host, "10.0.0.0/16 10.1.0.0/16", 3, &again);
	look(&host, "10.0.0.0/16", 50, &again);
	assert_int_equal(again, 50 + router_host_patience);
	assert_int_equal(host.n_held, 2);
	router_host_free(&host);
}

static void forgets_what_is_no_longer_bypassed(void **state)
{
	struct router_host host = { .n_held = 0 }, seen = { .n_held = 0 };
	uint64_t again;
	bool changed;

	(void)state;
	look(&host, "10.0.0.0/16", 1, &again);
	assert_int_equal(router_host_take(&host, &seen, NULL, 2, &changed, &again), 0);
	assert_true(changed);
	assert_int_equal(host.n_held, 0);
	router_host_free(&host);
	router_host_free(&seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_what_is_away),
		cmocka_unit_test(begins_to_wait_anew),
		cmocka_unit_test(forgets_what_is_no_longer_bypassed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
