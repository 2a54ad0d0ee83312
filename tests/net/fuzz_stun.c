/*
 * A datagram as STUN request and as answer. An address that was read is told again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <warren/stun.h>

#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t txid[WARREN_STUN_TXID], back[WARREN_STUN_TXID], out[WARREN_STUN_ANSWER];
	struct warren_stun_asked asked;
	struct warren_addrport seen, again;
	size_t len;

	if (warren_stun_request_parse(data, size, &asked) == 0) {
		if (asked.tailscale && size < WARREN_STUN_REQUEST)
			abort();
		len = warren_stun_refusal(&asked, out);
		if (asked.n_unknown && (len > sizeof(out) ||
					warren_stun_answer_parse(out, len, back, &seen) == 0))
			abort();
	}
	if (warren_stun_answer_parse(data, size, txid, &seen) != 0)
		return 0;
	len = warren_stun_answer(txid, &seen, out);
	if (!len || warren_stun_answer_parse(out, len, back, &again) != 0 ||
	    memcmp(txid, back, sizeof(txid)) != 0 || !addrport_equal(&seen, &again))
		abort();
	return 0;
}
