/*
 * What a raw ICMP socket hears. A reply that is taken lies within the packet, behind its headers.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "plugins/paths/icmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct warren_addr from;
	struct icmp_echo echo;

	if (!icmp_reply_parse(data, size, &from, &echo))
		return 0;
	if (from.family != 4 || echo.data < data + 20 + ICMP_ECHO_HEADER ||
	    echo.data + echo.len != data + size)
		abort();
	return 0;
}
