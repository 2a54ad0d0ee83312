/*
 * Changes of the host's network are told: in namespaces of the test's own, so that it may change
 * addresses, links and the host name. Where none can be made (no user namespaces) it is skipped.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/netstate.h>

#include "base/err.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "parts.h"

enum { ALL = WARREN_NET_LINKS | WARREN_NET_ADDRESSES | WARREN_NET_HOSTNAME };

static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static uint32_t told, told_links;

static void see(struct warren_ctx *on, uint32_t what, void *arg)
{
	assert_ptr_equal(on, ctx);
	assert_true(what && !(what & ~(uint32_t)ALL));
	*(uint32_t *)arg |= what;
}

static int setup(void **state)
{
	struct warren_err err = ERR_INIT;

	(void)state;
	engine = parts_engine(-1);
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	told = told_links = 0;
	if (warren_net_watch(ctx, ALL, see, &told, &err) ||
	    warren_net_watch(ctx, WARREN_NET_LINKS, see, &told_links, &err)) {
		print_error("%s\n", err_first(&err));
		return 1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/* Turns of the loop until @what was told. */
static void expect(uint32_t what)
{
	for (int i = 0; i < 5000 && (told & what) != what; i++) {
		wcore_lane_turn(wcore_engine_main(engine), false);
		usleep(1000);
	}
	assert_int_equal(told & what, what);
}

static void quiet(void)
{
	for (int i = 0; i < 20; i++) {
		wcore_lane_turn(wcore_engine_main(engine), false);
		usleep(1000);
	}
	told = told_links = 0;
}

static void ask(unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(ifr->ifr_name, "lo", 3);
	assert_int_equal(ioctl(fd, request, ifr), 0);
	close(fd);
}

static void set_address(const char *text)
{
	struct ifreq ifr = { .ifr_addr = { .sa_family = AF_INET } };
	struct sockaddr_in *sin = (struct sockaddr_in *)&ifr.ifr_addr;

	assert_int_equal(inet_pton(AF_INET, text, &sin->sin_addr), 1);
	ask(SIOCSIFADDR, &ifr);
}

static void set_flags(short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };

	ask(SIOCSIFFLAGS, &ifr);
}

static void tells_of_links(void **state)
{
	(void)state;
	quiet();
	set_flags(IFF_UP);
	expect(WARREN_NET_LINKS);
	assert_int_equal(told_links, WARREN_NET_LINKS);
	assert_false(told & WARREN_NET_HOSTNAME);
}

static void tells_of_addresses(void **state)
{
	(void)state;
	set_flags(IFF_UP);
	quiet();
	set_address("192.0.2.7");
	expect(WARREN_NET_ADDRESSES);
	/* Who asked for links only is not told. */
	assert_int_equal(told_links & WARREN_NET_ADDRESSES, 0);
	quiet();
	set_address("192.0.2.8");
	expect(WARREN_NET_ADDRESSES);
}

static void tells_of_the_host_name(void **state)
{
	(void)state;
	quiet();
	assert_int_equal(told, 0);
	for (int i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "name%d", i);
		assert_int_equal(sethostname(name, strlen(name)), 0);
		expect(WARREN_NET_HOSTNAME);
		/* One change is one event, not a loop that never rests. */
		quiet();
		wcore_lane_turn(wcore_engine_main(engine), false);
		assert_int_equal(told, 0);
	}
}

static void ends_with_the_context(void **state)
{
	struct warren_ctx *other = parts_ctx(engine, wcore_engine_main(engine));
	uint32_t seen = 0;

	(void)state;
	assert_int_equal(warren_net_watch(other, ALL, see, &seen, NULL), 0);
	wcore_ctx_close(other);
	quiet();
	set_address("192.0.2.9");
	expect(WARREN_NET_ADDRESSES);
	assert_int_equal(seen, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_of_links, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_of_the_host_name, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_with_the_context, setup, teardown),
	};

	if (unshare(CLONE_NEWNET | CLONE_NEWUTS) &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWUTS)) {
		perror("skipped: no namespaces of its own");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
