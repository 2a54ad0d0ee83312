/*
 * net/tls_impl.h - between tls.c (the layer), tls_setup.c (certificates and what is trusted),
 * tls_trust.c (the system's authorities), and dials
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
/* Of a stream whose handshake is done, or NULL. */
const SSL *tls_session(const struct warren_stream *stream);
/* Is @cert DERP's meta certificate? Then @key is the server's. In derp_meta.c. */
bool derp_meta_is(const X509 *cert, uint8_t key[32]);
/*
 * The system's authorities: a reference, as they were read last; read on the spot if they never
 * were. NULL: no memory. All three: any thread.
 */
X509_STORE *tls_trust_system(void);
bool tls_trust_is_fresh(void);		/* read, and the files have not changed since */
void tls_trust_read(void);		/* if not fresh; takes its time: for a job */
struct warren_tls_server *tls_server_ref(struct warren_tls_server *server);

#endif
