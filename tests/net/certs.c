#include "certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds)
{
	if (!holds)
		abort();
}

static char *text_of(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	text = calloc(1, (size_t)len + 1);
	require(text != NULL);
	memcpy(text, data, (size_t)len);
	BIO_free(bio);
	return text;
}

static void add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	require(ext && X509_add_ext(x, ext, -1));
	X509_EXTENSION_free(ext);
}

struct cert cert_new(const struct cert *issuer, const char *san, int days)
{
	static long serial = 1;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
	BIO *pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
	struct cert cert = { .x509 = x, .key = key };
	unsigned int len;

	require(key && name && pem && key_pem);
	require(X509_set_version(x, 2) && ASN1_INTEGER_set(X509_get_serialNumber(x), serial++));
	require(X509_gmtime_adj(X509_getm_notBefore(x), -2 * 86400) != NULL);
	require(X509_gmtime_adj(X509_getm_notAfter(x), (days - 2) * 86400L) != NULL);
	require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)
					   (issuer ? "server" : "authority"), -1, -1, 0));
	require(X509_set_pubkey(x, key));
	require(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer->x509) : name));
	if (san)
		add_extension(x, NID_subject_alt_name, san);
	if (!issuer)
		add_extension(x, NID_basic_constraints, "critical,CA:TRUE");
	require(X509_sign(x, issuer ? issuer->key : key, EVP_sha256()));
	require(PEM_write_bio_X509(pem, x));
	require(PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL));
	require(X509_digest(x, EVP_sha256(), cert.sha256, &len) && len == 32);
	cert.pem = text_of(pem);
	cert.key_pem = text_of(key_pem);
	return cert;
}

void cert_free(struct cert *cert)
{
	free(cert->pem);
	free(cert->key_pem);
	X509_free(cert->x509);
	EVP_PKEY_free(cert->key);
}
