/*
 * RFC 6479: the ring is one word longer than the window, so that moving the top clears whole words
 * and never shifts. A bit's place depends on its counter alone.
 */
#include "replay.h"

enum { WORDS = WG_REPLAY_BITS / 64 };

static uint64_t bit_of(uint64_t counter)
{
	return UINT64_C(1) << (counter & 63);
}

static uint64_t word_of(uint64_t counter)
{
	return (counter >> 6) & (WORDS - 1);
}

bool wg_replay_check(const struct wg_replay *window, uint64_t counter)
{
	if (counter >= WG_REJECT_AFTER_MESSAGES)
		return false;
	if (counter > window->greatest)
		return true;
	if (window->greatest - counter > WG_REPLAY_WINDOW)
		return false;
	return !(window->bits[word_of(counter)] & bit_of(counter));
}

bool wg_replay_accept(struct wg_replay *window, uint64_t counter)
{
	if (!wg_replay_check(window, counter))
		return false;
	if (counter > window->greatest) {
		uint64_t top = window->greatest >> 6, words = (counter >> 6) - top;

		if (words > WORDS)
			words = WORDS;
		for (uint64_t i = 1; i <= words; i++)
			window->bits[(top + i) & (WORDS - 1)] = 0;
		window->greatest = counter;
	}
	window->bits[word_of(counter)] |= bit_of(counter);
	return true;
}
