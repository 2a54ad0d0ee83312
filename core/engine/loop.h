/*
 * The clock of the loops, and its fake for tests.
 *
 * Deadlines count on CLOCK_BOOTTIME: a box that slept has missed its keepalives and must know it
 * at once. libevent's own timeouts stand still during suspend, so lanes keep a heap of deadlines
 * (timer.c) and one timerfd each.
 */
#ifndef WARREN_ENGINE_LOOP_H
#define WARREN_ENGINE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/*
 * Makes warren_now() and warren_realtime() return these values; 0 for both ends it. While the
 * clock is fake, no lane wakes for a timer by itself: set the clock, then wcore_lane_turn().
 * Any thread.
 */
void wcore_clock_set_fake(uint64_t now, int64_t realtime);
bool wcore_clock_is_fake(void);
/* CLOCK_MONOTONIC in microseconds, never faked: for measuring callbacks. Any thread. */
uint64_t wcore_clock_stopwatch(void);

#pragma GCC visibility pop

#endif
