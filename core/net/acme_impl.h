/*
 * net/acme_impl.h - what the files of the ACME client share
 */
#ifndef WARREN_NET_ACME_IMPL_H
#define WARREN_NET_ACME_IMPL_H

#include <openssl/ec.h>
#include <openssl/evp.h>

#include <warren/acme.h>

#include "base/str.h"

enum { ACME_URL = 1024, ACME_TOKEN = 128, ACME_NONCE = 256, ACME_CHALLENGES = 8 };

/*
 * ---- acme_jws.c: keys and signatures ----
 */

/* Base64url without padding (RFC 7515 2), added to @out. */
void acme_b64url(struct str *out, const void *data, size_t len);
/* A P-256 key of a PEM text. NULL with a sentence. */
EVP_PKEY *acme_key_read(const uint8_t *pem, size_t len, struct warren_err *err);
/*
 * A request's body (RFC 8555 6.2): @payload signed by @key for @url; @kid NULL: with the key
 * itself. @payload "": POST-as-GET. NULL for want of memory; for free().
 */
char *acme_jws(EVP_PKEY *key, const char *kid, const char *nonce, const char *url,
	       const char *payload);
/*
 * The account's key bound to an account that the authority knows as @kid (RFC 8555 7.3.4), for
 * requests to @url: JSON text, for free(). NULL for want of memory.
 */
char *acme_binding(EVP_PKEY *account, const char *kid, const uint8_t *mac_key, size_t len,
		   const char *url);
/* token.thumbprint (RFC 8555 8.1), or false. */
bool acme_key_authorization(EVP_PKEY *key, const char *token, struct str *out);

/*
 * ---- acme_cert.c: what is ordered ----
 */

/* The request for @names, signed by @key, as base64url of its DER; NULL: it cannot be made. */
char *acme_csr(EVP_PKEY *key, const char *const *names, uint32_t n);
/* PEM of @key; NULL: it cannot be made. The caller wipes and frees it. */
uint8_t *acme_key_pem(EVP_PKEY *key, size_t *len);
/* Is @chain PEM certificates whose first is @key's, for all of @names? A sentence if not. */
int acme_chain_check(const char *chain, EVP_PKEY *key, const char *const *names, uint32_t n,
		     struct warren_err *err);

/*
 * ---- acme_json.c: the authority's answers ----
 *
 * 0, or -EBADMSG with a sentence. URLs are https, or it is an error.
 */

struct acme_directory {
	char nonce[ACME_URL], account[ACME_URL], order[ACME_URL];
	char terms[ACME_URL];		/* for people; "" */
};
int acme_parse_directory(const void *data, size_t len, struct acme_directory *out,
			 struct warren_err *err);

struct acme_problem {			/* RFC 7807; "": none */
	char type[64];			/* without urn:ietf:params:acme:error: */
	char detail[512];		/* cleaned for a terminal */
};
/* What is no problem document is one without words. */
void acme_parse_problem(const void *data, size_t len, struct acme_problem *out);

enum acme_status {
	ACME_PENDING = 1, ACME_READY, ACME_PROCESSING, ACME_VALID, ACME_INVALID,
};
struct acme_order {
	enum acme_status status;
	char authorizations[WARREN_ACME_NAMES][ACME_URL];
	uint32_t n;
	char finalize[ACME_URL];
	char certificate[ACME_URL];	/* "": not yet */
	struct acme_problem problem;
};
int acme_parse_order(const void *data, size_t len, struct acme_order *out, struct warren_err *err);

struct acme_challenge {			/* of a kind that we know */
	enum warren_acme_way way;
	char url[ACME_URL], token[ACME_TOKEN];
	struct acme_problem problem;
};
struct acme_authorization {
	enum acme_status status;	/* deactivated, expired and revoked are invalid here */
	char name[256];
	struct acme_challenge challenges[ACME_CHALLENGES];
	uint32_t n;
};
int acme_parse_authorization(const void *data, size_t len, struct acme_authorization *out,
			     struct warren_err *err);

#endif
