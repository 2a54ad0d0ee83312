/*
 * An opened disco message, and bytes that are said to be an envelope. What was read must come out
 * the same when it is written and read again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <warren/disco.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[1 << 16];
	struct warren_disco msg, again;
	int len;

	if (warren_disco_sender(data, size) && size < WARREN_DISCO_OVERHEAD)
		abort();
	if (size > sizeof(out) - 1 || warren_disco_parse(data, size, &msg) != 0 || msg.empty)
		return 0;
	if (msg.n_addrs > WARREN_DISCO_ADDRESSES)
		abort();
	len = warren_disco_format(&msg, out, sizeof(out));
	msg.n_ignored = 0;
	if (len < 0 || warren_disco_parse(out, (size_t)len, &again) != 0 ||
	    memcmp(&msg, &again, sizeof(msg)) != 0)
		abort();
	return 0;
}
