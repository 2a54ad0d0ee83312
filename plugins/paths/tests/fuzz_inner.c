/*
 * What peers answer to pings inside the tunnel. An answer that is taken has the bytes of one.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/paths/inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inner_pong pong;

	if (!inner_pong_parse(data, size, &pong))
		return 0;
	if (pong.from.family != data[0] >> 4 || (pong.kind == INNER_ICMP && pong.port != 0) ||
	    !memmem(data, size, pong.nonce, INNER_NONCE))
		abort();
	return 0;
}
