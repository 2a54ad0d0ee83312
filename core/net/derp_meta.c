/*
 * DERP's meta certificate (path-protocols.md 1.3): a marker at the end of a server's chain whose
 * name is the server's key. The name has 71 characters where X.509 allows 64; OpenSSL builds it
 * only if the string type is given, and cuts it off silently when it is asked for it as text.
 */
#include <warren/derp.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/str.h"
#include "tls_impl.h"

enum { DIGITS = 64, VALID_DAYS = 30, DAY = 86400, SERIAL_MAX = 255 };

static const char prefix[] = "derpkey";

bool derp_meta_is(const X509 *cert, uint8_t key[32])
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const X509_NAME_ENTRY *entry = at >= 0 ? X509_NAME_get_entry(name, at) : NULL;
	const ASN1_STRING *text = entry ? X509_NAME_ENTRY_get_data(entry) : NULL;
	const size_t n = sizeof(prefix) - 1;
	char digits[DIGITS + 1];

	if (!text || ASN1_STRING_length(text) != (int)n + DIGITS ||
	    memcmp(ASN1_STRING_get0_data(text), prefix, n) != 0)
		return false;
	memcpy(digits, ASN1_STRING_get0_data(text) + n, DIGITS);
	digits[DIGITS] = '\0';
	return hex_decode(key, 32, digits) == 0;
}

bool warren_derp_meta_key(struct warren_stream *stream, uint8_t key[32])
{
	const SSL *ssl = tls_session(stream);
	const STACK_OF(X509) *chain = ssl ? SSL_get_peer_cert_chain(ssl) : NULL;

	/* Before 1.3 certificates travel in the clear. */
	if (!chain || SSL_version(ssl) < TLS1_3_VERSION)
		return false;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const X509 *cert = sk_X509_value(chain, i);
		long serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));

		if (serial >= 0 && serial <= SERIAL_MAX && derp_meta_is(cert, key))
			return true;
	}
	return false;
}

static bool add_constraints(X509 *cert)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints,
						  "critical,CA:FALSE");
	bool ok = ext && X509_add_ext(cert, ext, -1);

	X509_EXTENSION_free(ext);
	return ok;
}

static bool fill(X509 *cert, EVP_PKEY *key, const uint8_t public_key[32], int64_t now)
{
	X509_NAME *name = X509_get_subject_name(cert);
	char text[sizeof(prefix) + DIGITS];

	memcpy(text, prefix, sizeof(prefix));
	hex_encode(text + sizeof(prefix) - 1, public_key, 32);
	return X509_set_version(cert, X509_VERSION_3) &&
	       ASN1_INTEGER_set(X509_get_serialNumber(cert), WARREN_DERP_VERSION) &&
	       ASN1_TIME_set(X509_getm_notBefore(cert), now - VALID_DAYS * DAY) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), now + VALID_DAYS * DAY) &&
	       X509_NAME_add_entry_by_txt(name, "CN", V_ASN1_PRINTABLESTRING,
					  (const unsigned char *)text, -1, -1, 0) &&
	       X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
	       add_constraints(cert) && X509_sign(cert, key, NULL);
}

static char *to_pem(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text = NULL;

	if (bio && PEM_write_bio_X509(bio, cert)) {
		long len = BIO_get_mem_data(bio, &data);

		text = strndup(data, (size_t)len);
	}
	BIO_free(bio);
	return text;
}

char *warren_derp_meta_new(const uint8_t public_key[32], int64_t now, struct warren_err *err)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	X509 *cert = X509_new();
	char *text = NULL;

	if (key && cert && fill(cert, key, public_key, now))
		text = to_pem(cert);
	if (!text)
		warren_fail(err, NULL, "the certificate that tells a relay's key cannot be made");
	X509_free(cert);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return text;
}

/* The chain without its marker; its certificates are borrowed. NULL: no memory. */
static STACK_OF(X509) *without_marker(SSL_CTX *ctx)
{
	STACK_OF(X509) *old = NULL, *out = sk_X509_new_null();
	uint8_t key[32];

	SSL_CTX_get0_chain_certs(ctx, &old);
	for (int i = 0; out && i < sk_X509_num(old); i++) {
		if (derp_meta_is(sk_X509_value(old, i), key))
			continue;
		if (!sk_X509_push(out, sk_X509_value(old, i))) {
			sk_X509_free(out);
			return NULL;
		}
	}
	return out;
}

int warren_derp_meta_set(struct warren_tls_server *server, const char *pem, struct warren_err *err)
{
	BIO *bio = pem ? BIO_new_mem_buf(pem, -1) : NULL;
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	STACK_OF(X509) *chain = without_marker(server->ctx);
	uint8_t key[32];
	bool ok = chain && (!pem || (cert && derp_meta_is(cert, key) && sk_X509_push(chain, cert)));

	ok = ok && SSL_CTX_set1_chain(server->ctx, chain);
	sk_X509_free(chain);
	X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return ok ? 0 : warren_fail(err, NULL, "the certificate that tells a relay's key cannot be "
				    "added to the chain");
}
