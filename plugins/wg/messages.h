/*
 * Sizes, offsets, limits and times of the WireGuard protocol. Sources: the WireGuard paper (5.4, 6)
 * and dataplane.md section 1; the number after each group is the section there.
 * Times are microseconds, the unit of warren_now().
 */
#ifndef WG_MESSAGES_H
#define WG_MESSAGES_H

#include <stdint.h>

enum {					/* 1.1 */
	WG_KEY_LEN = 32,
	WG_TAG_LEN = 16,
	WG_HASH_LEN = 32,
	WG_MAC_LEN = 16,
	WG_COOKIE_LEN = 16,
	WG_COOKIE_NONCE_LEN = 24,
	WG_TIMESTAMP_LEN = 12,
};

enum {					/* the first LE32 of a message: type and three zero bytes */
	WG_INITIATION = 1,
	WG_RESPONSE = 2,
	WG_COOKIE_REPLY = 3,
	WG_TRANSPORT = 4,
};

enum {					/* 1.2 */
	WG_INITIATION_LEN = 148,
	WG_INITIATION_SENDER = 4,
	WG_INITIATION_EPHEMERAL = 8,
	WG_INITIATION_STATIC = 40,
	WG_INITIATION_TIMESTAMP = 88,
	WG_INITIATION_MAC1 = 116,
	WG_INITIATION_MAC2 = 132,
};

enum {					/* 1.3 */
	WG_RESPONSE_LEN = 92,
	WG_RESPONSE_SENDER = 4,
	WG_RESPONSE_RECEIVER = 8,
	WG_RESPONSE_EPHEMERAL = 12,
	WG_RESPONSE_EMPTY = 44,
	WG_RESPONSE_MAC1 = 60,
	WG_RESPONSE_MAC2 = 76,
};

enum {					/* 1.4 */
	WG_COOKIE_REPLY_LEN = 64,
	WG_COOKIE_REPLY_RECEIVER = 4,
	WG_COOKIE_REPLY_NONCE = 8,
	WG_COOKIE_REPLY_COOKIE = 32,
};

enum {					/* 1.5 */
	WG_TRANSPORT_HEADER = 16,
	WG_TRANSPORT_MIN = 32,
	WG_TRANSPORT_RECEIVER = 4,
	WG_TRANSPORT_COUNTER = 8,
	WG_PADDING = 16,
};

#define WG_REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)				/* 1.9 */
#define WG_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))	/* 1.9: 2^64 - 2^13 - 1 */

#define WG_SECOND UINT64_C(1000000)
#define WG_REKEY_AFTER_TIME (120 * WG_SECOND)		/* 1.9, initiator only, on send */
#define WG_REJECT_AFTER_TIME (180 * WG_SECOND)
#define WG_REKEY_TIMEOUT (5 * WG_SECOND)
#define WG_REKEY_JITTER (WG_SECOND / 3)			/* retry and no-answer, at most this */
#define WG_KEEPALIVE_TIMEOUT (10 * WG_SECOND)
#define WG_REKEY_ON_RECEIVE_TIME (WG_REJECT_AFTER_TIME - WG_KEEPALIVE_TIMEOUT - WG_REKEY_TIMEOUT)
#define WG_NO_ANSWER_TIMEOUT (WG_KEEPALIVE_TIMEOUT + WG_REKEY_TIMEOUT)
#define WG_ZERO_KEYS_TIME (3 * WG_REJECT_AFTER_TIME)
#define WG_COOKIE_SECRET_TIME (120 * WG_SECOND)		/* 1.8 */
#define WG_COOKIE_VALID_TIME (115 * WG_SECOND)		/* 1.8: less 5 s of latency */
#define WG_INITIATION_INTERVAL (WG_SECOND / 50)		/* 1.7: so close or closer is dropped */
#define WG_LOAD_STICKY_TIME WG_SECOND			/* 1.8 */

enum {
	WG_MAX_RETRIES = 19,		/* 1.9: one initiation and 19 retries */
	WG_MAX_STAGED = 128,		/* 1.9: packets of a peer without a key */
	WG_REPLAY_BITS = 8192,		/* 1.11 */
	WG_REPLAY_WINDOW = 8128,
	WG_RATE_PER_SECOND = 20,	/* 1.8 */
	WG_RATE_BURST = 5,
	WG_LOAD_FRACTION = 8,		/* 1.8: loaded from 1/8 of the handshake queue on */
};

#endif
