/*
 * Fuzz target: transport messages. The input is taken twice: as a datagram, and as an inner packet
 * that an authentic peer sent, which is what the checks after decryption meet.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "../replay.h"
#include "../transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[32] = { 1, 2, 3 };

static void look_inside(const uint8_t *inner, size_t len)
{
	int64_t n = len ? wg_inner_len(inner, len) : -1;
	volatile uint8_t last;
	uint32_t family;

	if (n < 0)
		return;
	if (n < 20 || (size_t)n > len)
		abort();
	last = wg_inner_source(inner, &family)[family == 4 ? 3 : 15];
	last = wg_inner_destination(inner, &family)[family == 4 ? 3 : 15];
	(void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { MTU = 1420 };
	struct wg_replay window = { 0 };
	size_t len = wg_transport_len(size, MTU);
	uint8_t *copy = malloc(size + 1), *msg = malloc(len);

	if (!copy || !msg || size > 65535)
		goto out;
	memcpy(copy, data, size);
	if (wg_message_type(copy, size) == WG_TRANSPORT) {
		wg_replay_accept(&window, wg_transport_counter(copy));
		if (wg_transport_open(key, copy, size) == 0)
			look_inside(copy + WG_TRANSPORT_HEADER, size - WG_TRANSPORT_MIN);
	}
	memcpy(msg + WG_TRANSPORT_HEADER, data, size);
	if (wg_transport_seal(key, 9, 0, msg, size, MTU) != len ||
	    wg_message_type(msg, len) != WG_TRANSPORT || wg_transport_open(key, msg, len) != 0 ||
	    memcmp(msg + WG_TRANSPORT_HEADER, data, size) != 0)
		abort();
	look_inside(msg + WG_TRANSPORT_HEADER, len - WG_TRANSPORT_MIN);
out:
	free(copy);
	free(msg);
	return 0;
}
