/*
 * Fuzz target: the early payload of the control protocol. The first byte says in what pieces the
 * rest comes; whatever they are, the same bytes belong to the reader.
 */
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "net/early.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

/* Returns how early_feed() ended; @at is where the reader begins, the head's bytes apart. */
static int run(struct early *early, const uint8_t *data, size_t size, size_t piece, size_t *at)
{
	int result = WARREN_PENDING;

	*at = 0;
	while (result == WARREN_PENDING && *at < size) {
		size_t n = size - *at < piece ? size - *at : piece, used;

		result = early_feed(early, data + *at, n, &used, NULL);
		require(used <= n && (result != WARREN_PENDING || used == n));
		*at += used;
	}
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct early whole = { .have = 0 }, cut = { .have = 0 };
	size_t at, at_cut;
	int result;

	if (size < 1)
		return 0;
	result = run(&whole, data + 1, size - 1, size, &at);
	require(run(&cut, data + 1, size - 1, (size_t)data[0] + 1, &at_cut) == result);
	require(whole.have == cut.have && whole.none == cut.none);
	require(whole.has_challenge == cut.has_challenge);
	require(memcmp(whole.challenge, cut.challenge, sizeof(cut.challenge)) == 0);
	if (result == 0)
		require(at == at_cut);
	if (result == 0 && whole.none)
		require(memcmp(whole.head, data + 1, whole.have) == 0 && at == whole.have);
	early_free(&whole);
	early_free(&cut);
	return 0;
}
