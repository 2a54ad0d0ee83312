/*
 * The clocks. The fake one is two atomics, so that tests may set it from any thread while lanes and
 * workers read it.
 */
#include "engine/loop.h"

#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <warren/plugin.h>

static _Atomic uint64_t fake_now;
static _Atomic int64_t fake_realtime;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void wcore_clock_set_fake(uint64_t now, int64_t realtime)
{
	atomic_store_explicit(&fake_realtime, realtime, memory_order_relaxed);
	atomic_store_explicit(&fake_now, now, memory_order_relaxed);
}

bool wcore_clock_is_fake(void)
{
	return atomic_load_explicit(&fake_now, memory_order_relaxed) != 0;
}

uint64_t wcore_clock_stopwatch(void)
{
	return (uint64_t)read_clock(CLOCK_MONOTONIC);
}

uint64_t warren_now(void)
{
	uint64_t fake = atomic_load_explicit(&fake_now, memory_order_relaxed);

	return fake ? fake : (uint64_t)read_clock(CLOCK_BOOTTIME);
}

int64_t warren_realtime(void)
{
	if (wcore_clock_is_fake())
		return atomic_load_explicit(&fake_realtime, memory_order_relaxed);
	return read_clock(CLOCK_REALTIME);
}
