/*
 * What a client answers when the daemon has asked it for a file: a line of whoever may talk to the
 * control socket. It is refused, or says one thing that can be acted on.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wcore_made made;

	if (size > WCORE_MADE_LINE || wcore_made_parse((const char *)data, size, &made))
		return 0;
	if (made.made + (made.result != 0) + (made.name[0] != '\0') != 1)
		abort();
	if (made.result > 0 || made.result <= -WCORE_MADE_ERRNO || strchr(made.name, '/') ||
	    !memchr(made.name, 0, sizeof(made.name)))
		abort();
	return 0;
}
