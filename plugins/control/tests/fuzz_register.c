/*
 * The answer to a registration: any bytes; what comes out is printable and ends in its array.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../register.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	if (strnlen(text, size) == size)
		abort();
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ctl_registered out;

	memset(&out, 0xff, sizeof(out));
	ctl_register_parse(data, size, &out, NULL);
	check_text(out.auth_url, sizeof(out.auth_url));
	check_text(out.error, sizeof(out.error));
	check_text(out.login, sizeof(out.login));
	check_text(out.display_name, sizeof(out.display_name));
	return 0;
}
