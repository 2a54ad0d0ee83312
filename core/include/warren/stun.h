/*
 * warren/stun.h - STUN binding requests and answers (RFC 8489; path-protocols.md 5.1)
 *
 * Codecs without state, for client and server, with the habits of the stock ones: a request names
 * its software and ends with a fingerprint, and a server answers no other. In libwarren-net. Any
 * thread.
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
/*
 * Server. 0, or -EBADMSG: no binding request; -EPERM: one of another client, which a stock server
 * leaves without an answer (no SOFTWARE "tailnode", or no right FINGERPRINT at its end).
 */
int warren_stun_request_parse(const uint8_t *data, size_t len, uint8_t txid[WARREN_STUN_TXID]);
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
