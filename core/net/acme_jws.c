/*
 * The account's key and what it signs: JSON Web Signatures with ES256 (RFC 7515, RFC 7518 3.4) in
 * the form that ACME wants (RFC 8555 6.2).
 */
#include "acme_impl.h"

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

enum { SCALAR = 32 };

void acme_b64url(struct str *out, const void *data, size_t len)
{
	char *text = malloc(BASE64_TEXT(len));

	if (!text) {
		out->failed = true;
		return;
	}
	base64_encode(text, data, len);
	for (char *p = text; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	str_addn(out, text, strcspn(text, "="));
	explicit_bzero(text, strlen(text));
	free(text);
}

uint8_t *acme_key_pem(EVP_PKEY *key, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	uint8_t *text = NULL;
	char *data;
	long n;

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		n = BIO_get_mem_data(bio, &data);
		text = n > 0 ? malloc((size_t)n) : NULL;
		if (text)
			memcpy(text, data, (size_t)n);
		*len = n > 0 ? (size_t)n : 0;
	}
	BIO_free(bio);
	ERR_clear_error();
	return text;
}

uint8_t *warren_acme_account_new(size_t *len)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t *text = key ? acme_key_pem(key, len) : NULL;

	EVP_PKEY_free(key);
	ERR_clear_error();
	return text;
}

EVP_PKEY *acme_key_read(const uint8_t *pem, size_t len, struct warren_err *err)
{
	BIO *bio = len > 0 && len < 1 << 16 ? BIO_new_mem_buf(pem, (int)len) : NULL;
	char none[] = "";		/* asked for no password on a terminal */
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, none) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) == 256)
		return key;
	EVP_PKEY_free(key);
	warren_fail(err, NULL, "the account's key is no P-256 key in PEM form");
	return NULL;
}

static bool coordinate(EVP_PKEY *key, const char *which, struct str *out)
{
	BIGNUM *bn = NULL;
	uint8_t bytes[SCALAR];
	bool ok = EVP_PKEY_get_bn_param(key, which, &bn) == 1 &&
		  BN_bn2binpad(bn, bytes, sizeof(bytes)) == SCALAR;

	if (ok)
		acme_b64url(out, bytes, sizeof(bytes));
	BN_free(bn);
	return ok;
}

/* The public key as JSON; members in the order that the thumbprint wants (RFC 7638 3.2). */
static bool add_jwk(EVP_PKEY *key, struct str *out)
{
	str_add(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
	if (!coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, out))
		return false;
	str_add(out, "\",\"y\":\"");
	if (!coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, out))
		return false;
	str_add(out, "\"}");
	return !out->failed;
}

bool acme_key_authorization(EVP_PKEY *key, const char *token, struct str *out)
{
	struct str jwk = STR_INIT;
	uint8_t hash[32];
	bool ok = add_jwk(key, &jwk) && EVP_Digest(jwk.s, jwk.len, hash, NULL, EVP_sha256(), NULL);

	str_add(out, token);
	str_addc(out, '.');
	if (ok)
		acme_b64url(out, hash, sizeof(hash));
	str_free(&jwk);
	return ok && !out->failed;
}

/* The two numbers of an ECDSA signature, which OpenSSL gives as DER. */
static bool raw_signature(const uint8_t *der, size_t len, uint8_t out[2 * SCALAR])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, SCALAR) == SCALAR &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + SCALAR, SCALAR) == SCALAR;

	ECDSA_SIG_free(sig);
	return ok;
}

static bool sign(EVP_PKEY *key, const struct str *text, uint8_t out[2 * SCALAR])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	size_t len = sizeof(der);
	bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		  EVP_DigestSign(ctx, der, &len, (const uint8_t *)text->s, text->len) == 1 &&
		  raw_signature(der, len, out);

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

static bool add_protected(EVP_PKEY *key, const char *kid, const char *nonce, const char *url,
			  struct str *out)
{
	struct str head = STR_INIT;
	bool ok = true;

	str_add(&head, "{\"alg\":\"ES256\",\"nonce\":");
	str_add_json(&head, nonce, strlen(nonce));
	str_add(&head, ",\"url\":");
	str_add_json(&head, url, strlen(url));
	str_add(&head, kid ? ",\"kid\":" : ",\"jwk\":");
	if (kid)
		str_add_json(&head, kid, strlen(kid));
	else
		ok = add_jwk(key, &head);
	str_addc(&head, '}');
	ok = ok && !head.failed;
	if (ok)
		acme_b64url(out, head.s, head.len);
	str_free(&head);
	return ok && !out->failed;
}

/* @input is what was signed: the protected part, which ends at @head, and the payload. */
static void add_body(struct str *out, const struct str *input, size_t head, const uint8_t *sig,
		     size_t len)
{
	str_add(out, "{\"protected\":\"");
	str_addn(out, input->s, head);
	str_addf(out, "\",\"payload\":\"%s\",\"signature\":\"", input->s + head + 1);
	acme_b64url(out, sig, len);
	str_add(out, "\"}");
}

char *acme_jws(EVP_PKEY *key, const char *kid, const char *nonce, const char *url,
	       const char *payload)
{
	struct str input = STR_INIT, body = STR_INIT;
	uint8_t signature[2 * SCALAR];
	bool ok = add_protected(key, kid, nonce, url, &input);
	size_t head = input.len;

	str_addc(&input, '.');
	acme_b64url(&input, payload, strlen(payload));
	ok = ok && !input.failed && sign(key, &input, signature);
	if (ok)
		add_body(&body, &input, head, signature, sizeof(signature));
	str_free(&input);
	if (!ok)
		str_free(&body);
	return str_take(&body);
}

char *acme_binding(EVP_PKEY *account, const char *kid, const uint8_t *mac_key, size_t len,
		   const char *url)
{
	struct str head = STR_INIT, jwk = STR_INIT, input = STR_INIT, body = STR_INIT;
	uint8_t mac[32];
	size_t end;
	bool ok = add_jwk(account, &jwk);

	str_add(&head, "{\"alg\":\"HS256\",\"kid\":");
	str_add_json(&head, kid, strlen(kid));
	str_add(&head, ",\"url\":");
	str_add_json(&head, url, strlen(url));
	str_addc(&head, '}');
	ok = ok && !head.failed;
	if (ok)
		acme_b64url(&input, head.s, head.len);
	end = input.len;
	str_addc(&input, '.');
	if (ok)
		acme_b64url(&input, jwk.s, jwk.len);
	ok = ok && !input.failed && HMAC(EVP_sha256(), mac_key, (int)len,
					 (const uint8_t *)input.s, input.len, mac, NULL);
	if (ok)
		add_body(&body, &input, end, mac, sizeof(mac));
	str_free(&head);
	str_free(&jwk);
	str_free(&input);
	if (!ok)
		str_free(&body);
	return str_take(&body);
}
