/*
 * Datagrams of a gateway, one after the other, to a port mapping that probes, asks, has, and lets
 * go: first byte, how it stands; then each datagram behind its length.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../endpoints.h"
#include "../peer.h"
#include "../portmap.h"
#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_send(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	(void)data;
	if (len != PMP_PUBLIC_SIZE && len != PMP_MAP_SIZE && len != PCP_ANNOUNCE_SIZE &&
	    len != PCP_MAP_SIZE)
		abort();
}

static void fuzz_event(void *arg, enum portmap_event event)
{
	const struct portmap *pm = arg;

	if (event == PORTMAP_MAPPED &&
	    (!pm->external.port || paths_address_use(&pm->external.addr) != PATHS_USE))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct portmap_acts acts = { .send = fuzz_send, .event = fuzz_event };
	const struct warren_addr gateway = { 4, { 192, 168, 1, 1 } };
	const struct warren_addr self = { 4, { 192, 168, 1, 2 } };
	uint64_t now = PATHS_SECOND;
	struct portmap pm;

	portmap_init(&pm, &acts, &pm);
	portmap_begin(&pm, &gateway, &self, 41641, now);
	/* A nonce that an input can have. */
	memset(pm.nonce, 0, sizeof(pm.nonce));
	while (size > 1) {
		size_t len = data[0] < size - 1 ? data[0] : size - 1;

		portmap_received(&pm, data + 1, len, now);
		data += 1 + len;
		size -= 1 + len;
		/* A long answer leaves no time, a short one a lot. */
		now += len < 8 ? 100 * PATHS_MSEC << len : PATHS_MSEC;
		for (int i = 0; i < 8 && portmap_deadline(&pm) <= now; i++)
			portmap_turn(&pm, now);
	}
	portmap_release(&pm, now);
	portmap_forget(&pm);
	if (portmap_deadline(&pm) != PATHS_NEVER)
		abort();
	return 0;
}
