/*
 * net/tls_impl.h - between tls.c (the layer) and tls_setup.c (certificates and what is trusted)
 */
#ifndef WARREN_NET_TLS_IMPL_H
#define WARREN_NET_TLS_IMPL_H

#include <openssl/ssl.h>

#include <warren/net.h>

struct warren_tls_server {
	SSL_CTX *ctx;
	uint8_t alpn[256];		/* as on the wire: RFC 7301 3.1 */
	unsigned int alpn_len;
	uint32_t refs;			/* the lane's: owner and connections */
};

/*
 * A client's session with all that @options ask for; @pin (32 bytes) must live as long. NULL with a
 * sentence.
 */
SSL *tls_client_setup(const struct warren_tls_client *options, uint8_t pin[32],
		      struct warren_err *err);
struct warren_tls_server *tls_server_ref(struct warren_tls_server *server);

#endif
