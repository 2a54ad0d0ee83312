/*
 * Fuzz target: the answer to GET /key. A key comes out, or a sentence and zeros; never both.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#include "../connect_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct warren_err err = ERR_INIT;
	uint8_t key[32];

	memset(key, 0xff, sizeof(key));
	if (ctl_key_parse(data, size, key, &err) == 0)
		require(!err_any(&err) && !sodium_is_zero(key, 32));
	else
		require(err_any(&err) && sodium_is_zero(key, 32));
	err_free(&err);
	return 0;
}
