/*
 * front/hello.h - the first message of TLS, read before anything is answered
 *
 * RFC 8446 4.1.2 (ClientHello), RFC 6066 3 (server name), RFC 7301 3.1 (ALPN); TLS 1.2 clients send
 * the same. Nothing else is looked at.
 */
#ifndef WARREN_FRONT_HELLO_H
#define WARREN_FRONT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HELLO_MAX = 16 << 10, HELLO_ALPN = 16, HELLO_ALPN_TEXT = 32 };

struct hello {
	char server_name[256];		/* lower case; empty: none */
	char alpn[HELLO_ALPN][HELLO_ALPN_TEXT];	/* those that fit */
	uint32_t n_alpn;
};

/*
 * 0: @out is filled in. WARREN_PENDING: @len bytes are not the whole of it. -EPROTO: no TLS, or
 * malformed; -EMSGSIZE: longer than HELLO_MAX. Any thread.
 */
int hello_parse(const uint8_t *data, size_t len, struct hello *out);
bool hello_offers(const struct hello *hello, const char *alpn);

#endif
