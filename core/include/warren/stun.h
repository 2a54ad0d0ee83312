/*
 * warren/stun.h - STUN binding requests and answers (RFC 8489; path-protocols.md 5.1)
 *
 * Codecs without state, for client and server. A request of ours has the habits of the stock one:
 * it names its software and ends with a fingerprint. In libwarren-net. Any thread.
 */
#ifndef WARREN_STUN_H
#define WARREN_STUN_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum {
	WARREN_STUN_TXID = 12,
	WARREN_STUN_REQUEST = 40,
	WARREN_STUN_ANSWER = 44,		/* at most: 32 for IPv4 */
};

void warren_stun_request(const uint8_t txid[WARREN_STUN_TXID], uint8_t out[WARREN_STUN_REQUEST]);
struct warren_stun_asked {
	uint32_t size;
	uint8_t txid[WARREN_STUN_TXID];
	/* SOFTWARE "tailnode" and a FINGERPRINT at the end; a stock server answers no other. */
	bool tailscale;
	/* What must be understood and is not, the first ones: then the answer is a refusal. */
	uint16_t unknown[2];
	uint32_t n_unknown;
};
/*
 * Server. 0; -EBADMSG: no binding request, or one that is malformed or says a wrong FINGERPRINT: it
 * gets no answer.
 */
int warren_stun_request_parse(const uint8_t *data, size_t len, struct warren_stun_asked *out);
/* Error 420 (RFC 8489 6.3.1); its length. */
size_t warren_stun_refusal(const struct warren_stun_asked *asked, uint8_t out[WARREN_STUN_ANSWER]);
/* The answer that tells @seen; its length, or 0 for family 0. */
size_t warren_stun_answer(const uint8_t txid[WARREN_STUN_TXID], const struct warren_addrport *seen,
			  uint8_t out[WARREN_STUN_ANSWER]);
/* Client. -EBADMSG: no answer that succeeded, or none that tells an address. */
int warren_stun_answer_parse(const uint8_t *data, size_t len, uint8_t txid[WARREN_STUN_TXID],
			     struct warren_addrport *seen);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
