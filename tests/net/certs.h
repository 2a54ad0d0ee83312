/*
 * Certificates for tests: an authority and what it signs, as PEM.
 */
#ifndef WARREN_TESTS_CERTS_H
#define WARREN_TESTS_CERTS_H

#include <stdint.h>

struct cert {
	char *pem, *key_pem;
	void *x509, *key;		/* X509, EVP_PKEY */
	uint8_t sha256[32];		/* of the DER */
};

/*
 * @issuer NULL: an authority. @san as OpenSSL writes it ("DNS:a.example,IP:192.0.2.1"). Valid from
 * two days ago for @days. Aborts when it cannot.
 */
struct cert cert_new(const struct cert *issuer, const char *san, int days);
void cert_free(struct cert *cert);

#endif
