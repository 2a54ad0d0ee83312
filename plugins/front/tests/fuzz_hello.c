/*
 * Bytes that are said to be a ClientHello.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hello hello;

	if (hello_parse(data, size, &hello) == 0 &&
	    (strlen(hello.server_name) >= sizeof(hello.server_name) || hello.n_alpn > HELLO_ALPN))
		abort();
	return 0;
}
