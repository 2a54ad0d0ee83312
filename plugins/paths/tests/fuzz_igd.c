/*
 * Bytes of a device: an answer to a search, its description, and the answer to an action.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../igd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void good(const struct igd_place *place)
{
	if (!place->port || place->path[0] != '/' ||
	    !memchr(place->path, '\0', sizeof(place->path)) ||
	    strpbrk(place->path, " \r\n\t"))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct igd_place from = { .port = 80, .path = "/a/b" };
	struct igd_found found;
	struct igd_device device;
	struct igd_answer answer;

	if (igd_answer_parse(data, size, &found) == 0)
		good(&found.at);
	if (igd_device_parse(&from, data, size, &device) == 0) {
		if (device.n == 0 || device.n > IGD_SERVICES)
			abort();
		for (uint32_t i = 0; i < device.n; i++)
			good(&device.services[i].at);
	} else if (device.n != 0) {
		abort();
	}
	igd_soap_parse(data, size, &answer);
	return 0;
}
