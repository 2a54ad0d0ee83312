/*
 * A request of the server to this node: any bytes give one whole answer.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../c2n.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ctl_c2n_facts facts = { .prefs = "{}", .health = "{}" };
	struct str out = STR_INIT;

	if (ctl_c2n(&facts, data, size, &out) == 0 && !strstr(str_text(&out), "\r\n\r\n"))
		abort();
	str_free(&out);
	return 0;
}
