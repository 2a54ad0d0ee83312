/*
 * What an order is about: the request that is signed, the chain that comes, and the certificate
 * that answers a tls-alpn-01 challenge.
 */
#include "acme_impl.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static X509_EXTENSION *names_extension(const char *const *names, uint32_t n)
{
	struct str text = STR_INIT;
	X509_EXTENSION *made;

	for (uint32_t i = 0; i < n; i++)
		str_addf(&text, "%sDNS:%s", i > 0 ? "," : "", names[i]);
	made = text.failed ? NULL : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
							str_text(&text));
	str_free(&text);
	return made;
}

char *acme_csr(EVP_PKEY *key, const char *const *names, uint32_t n)
{
	X509_REQ *req = X509_REQ_new();
	X509_EXTENSION *san = names_extension(names, n);
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	struct str out = STR_INIT;
	uint8_t *der = NULL;
	int len = -1;

	if (req && san && list && sk_X509_EXTENSION_push(list, san) > 0) {
		san = NULL;
		if (X509_REQ_add_extensions(req, list) && X509_REQ_set_pubkey(req, key) &&
		    X509_REQ_sign(req, key, EVP_sha256()) > 0)
			len = i2d_X509_REQ(req, &der);
	}
	if (len > 0)
		acme_b64url(&out, der, (size_t)len);
	OPENSSL_free(der);
	X509_EXTENSION_free(san);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	ERR_clear_error();
	return str_take(&out);
}

int acme_chain_check(const char *chain, EVP_PKEY *key, const char *const *names, uint32_t n,
		     struct warren_err *err)
{
	BIO *bio = BIO_new_mem_buf(chain, -1);
	X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int result = 0;

	if (!x509)
		result = warren_fail(err, NULL, "the authority has sent no certificate "
				     "in PEM form");
	else if (X509_check_private_key(x509, key) != 1)
		result = warren_fail(err, NULL, "the authority has sent a certificate for another "
				     "key than ours");
	for (uint32_t i = 0; !result && i < n; i++) {
		if (X509_check_host(x509, names[i], 0, 0, NULL) != 1)
			result = warren_fail(err, NULL, "the authority has sent a certificate that "
					     "does not hold for %s", names[i]);
	}
	X509_free(x509);
	BIO_free(bio);
	ERR_clear_error();
	return result;
}

/*
 * ---- tls-alpn-01 (RFC 8737 3) ----
 */

/* id-pe-acmeIdentifier, critical: an octet string that holds an octet string. */
static X509_EXTENSION *digest_extension(const uint8_t digest[32])
{
	uint8_t der[2 + 32] = { 0x04, 32 };
	ASN1_OBJECT *id = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *made = NULL;

	memcpy(der + 2, digest, 32);
	if (id && value && ASN1_OCTET_STRING_set(value, der, sizeof(der)))
		made = X509_EXTENSION_create_by_OBJ(NULL, id, 1, value);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(id);
	return made;
}

static bool fill(X509 *x509, EVP_PKEY *key, const struct warren_acme_challenge *challenge)
{
	X509_EXTENSION *san = names_extension(&challenge->name, 1);
	X509_EXTENSION *digest = digest_extension(challenge->digest);
	X509_NAME *name = X509_get_subject_name(x509);
	bool ok = san && digest && X509_set_version(x509, 2) &&
		  ASN1_INTEGER_set(X509_get_serialNumber(x509), 1) &&
		  X509_gmtime_adj(X509_getm_notBefore(x509), -86400) &&
		  X509_gmtime_adj(X509_getm_notAfter(x509), 7L * 86400) &&
		  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					     (const unsigned char *)"acme", -1, -1, 0) &&
		  X509_set_issuer_name(x509, name) && X509_set_pubkey(x509, key) &&
		  X509_add_ext(x509, san, -1) && X509_add_ext(x509, digest, -1) &&
		  X509_sign(x509, key, EVP_sha256()) > 0;

	X509_EXTENSION_free(san);
	X509_EXTENSION_free(digest);
	return ok;
}

char *warren_acme_alpn_pair(const struct warren_acme_challenge *challenge, size_t *len)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *data;
	long n;

	if (key && x509 && bio && fill(x509, key, challenge) && PEM_write_bio_X509(bio, x509) &&
	    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		n = BIO_get_mem_data(bio, &data);
		text = n > 0 ? strndup(data, (size_t)n) : NULL;
		*len = n > 0 ? (size_t)n : 0;
	}
	BIO_free(bio);
	X509_free(x509);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return text;
}
