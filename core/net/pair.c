/*
 * The certificate and key of a server of this box: files of the operator, read again when they
 * change, or a pair that we sign ourselves and keep in the plugin's state folder.
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/net.h>
#include <warren/priv.h>

#include "base/addr.h"
#include "base/file.h"
#include "base/str.h"

enum {
	FILE_MAX = 1 << 20,
	SELF_DAYS = 3650,		/* checked by its fingerprint alone, so never renewed */
	FORMAT = 1,
	EXPIRES_SOON = 7 * 86400,
};

static const char document[] = "self-signed.pem";

/* ---- what a certificate says of itself ---- */

static int64_t seconds(const ASN1_TIME *time)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, rest = 0;

	if (epoch)
		ASN1_TIME_diff(&days, &rest, epoch, time);
	ASN1_TIME_free(epoch);
	return (int64_t)days * 86400 + rest;
}

static X509 *read_first(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return x509;
}

bool warren_cert_facts(const char *pem, struct warren_cert_facts *out)
{
	X509 *x509 = read_first(pem);
	unsigned int len = 0;
	bool ok = x509 && X509_digest(x509, EVP_sha256(), out->sha256, &len) && len == 32;

	if (ok) {
		out->not_before = seconds(X509_get0_notBefore(x509));
		out->not_after = seconds(X509_get0_notAfter(x509));
	}
	X509_free(x509);
	ERR_clear_error();
	return ok;
}

bool warren_cert_check(const struct warren_cert_facts *facts, const char *name,
		       struct warren_check_result *result)
{
	int64_t now = warren_realtime() / 1000000;

	if (now < facts->not_before)
		warren_finding(result, "the certificate of %s is valid only in %" PRId64 " h: is "
			       "the clock right?", name, (facts->not_before - now) / 3600 + 1);
	else if (now >= facts->not_after)
		warren_finding(result, "the certificate of %s has expired %" PRId64 " days ago: "
			       "renew it", name, (now - facts->not_after) / 86400);
	else if (facts->not_after - now < EXPIRES_SOON)
		warren_finding(result, "the certificate of %s expires in %" PRId64 " days: renew "
			       "it", name, (facts->not_after - now) / 86400);
	else
		return true;
	return false;
}

/* ---- the operator's files ---- */

int warren_pair_check(const struct warren_conf *tls, bool files, struct warren_err *err)
{
	bool cert = tls && warren_conf_has(tls, "cert"), key = tls && warren_conf_has(tls, "key");

	if (cert != key)
		return warren_fail(err, tls, "\"tls\" needs both \"cert\" and \"key\"");
	if (files && !cert)
		return warren_fail(err, tls, "\"tls\" is \"files\" but names none: add \"cert\" "
				   "and \"key\"");
	if (!files && cert)
		return warren_fail(err, tls, "\"tls\" has files and is \"%s\" as well: take one "
				   "of them out", warren_conf_str(tls, "mode"));
	return 0;
}

uint8_t *warren_file_text_take(int fd, size_t *len)
{
	void *data = NULL;

	*len = 0;
	(void)file_read_fd(fd, FILE_MAX, &data, len);	/* NULL says it */
	close(fd);
	return data;
}

static void wipe_free(void *data, size_t len)
{
	if (data)
		sodium_memzero(data, len);
	free(data);
}

/* Takes both descriptors. */
static int load_take(int cert_fd, int key_fd, warren_pair_fn *fn, void *arg,
		     struct warren_err *err)
{
	size_t cert_len, key_len;
	uint8_t *cert = warren_file_text_take(cert_fd, &cert_len);
	uint8_t *key = warren_file_text_take(key_fd, &key_len);
	int result = -EIO;

	if (!cert || !key || memchr(cert, 0, cert_len))
		warren_fail(err, NULL, "tls.cert or tls.key cannot be read as text");
	else
		result = fn(arg, (const char *)cert, key, key_len, err);
	free(cert);
	wipe_free(key, key_len);
	return result;
}

int warren_pair_files_wait(struct warren_ctx *ctx, const struct warren_conf *tls,
			   warren_pair_fn *fn, void *arg, struct warren_err *err)
{
	int cert = warren_conf_open_wait(ctx, tls, "cert", err);
	int key = cert < 0 ? cert : warren_conf_open_wait(ctx, tls, "key", err);

	if (key < 0) {
		if (cert >= 0)
			close(cert);
		return key;
	}
	return load_take(cert, key, fn, arg, err);
}

/* The second half of a new pair may come a moment after the first: both are read each time. */
struct pair_watch {			/* as long as the context */
	struct warren_ctx *ctx;
	char where[64];			/* "front.tls" */
	warren_pair_fn *fn;
	void *arg;
};
struct reading {
	const struct pair_watch *watch;
	int cert;
};

static void not_opened(struct reading *reading, const char *key,
		       const struct warren_priv_answer *answer)
{
	warren_log(reading->watch->ctx, LOG_WARNING, "%s.%s cannot be opened: %s; the certificate "
		   "before it still answers", reading->watch->where, key,
		   answer->error ? answer->error : "no file");
}

static void key_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct reading *reading = arg;
	const struct pair_watch *watch = reading->watch;

	if (answer->result < 0 || answer->count != 1) {
		close(reading->cert);
		not_opened(reading, "key", answer);
	} else if (load_take(reading->cert, answer->fds[0], watch->fn, watch->arg, NULL)) {
		warren_log(ctx, LOG_WARNING, "%s: certificate and key have changed but do not work "
			   "together yet; the pair before them still answers", watch->where);
	} else {
		warren_log(ctx, LOG_INFO, "%s: the new certificate answers", watch->where);
	}
	warren_release(reading);
}

static int open_path(const struct pair_watch *watch, const char *key, warren_priv_fn *done,
		     void *arg)
{
	struct warren_priv_open item = { .access = WARREN_READ };

	snprintf(item.key, sizeof(item.key), "%s.%s", watch->where, key);
	return warren_priv(watch->ctx, WARREN_OP_OPEN, &item, sizeof(item), done, arg);
}

static void cert_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct reading *reading = arg;

	(void)ctx;
	if (answer->result < 0 || answer->count != 1) {
		not_opened(reading, "cert", answer);
		warren_release(reading);
		return;
	}
	reading->cert = answer->fds[0];
	if (open_path(reading->watch, "key", key_opened, reading)) {
		close(reading->cert);
		warren_release(reading);
	}
}

static void files_changed(struct warren_ctx *ctx, void *arg)
{
	const struct pair_watch *watch = arg;
	struct reading *reading = warren_zalloc(ctx, sizeof(*reading));

	if (!reading)
		return;
	reading->watch = watch;
	if (open_path(watch, "cert", cert_opened, reading))
		warren_release(reading);
}

int warren_pair_watch(struct warren_ctx *ctx, const struct warren_conf *tls, const char *where,
		      warren_pair_fn *fn, void *arg, struct warren_err *err)
{
	struct pair_watch *watch = warren_zalloc(ctx, sizeof(*watch));
	int result = watch && str_copy(watch->where, sizeof(watch->where), where) ? 0 : -ENOMEM;

	if (!result) {
		watch->ctx = ctx;
		watch->fn = fn;
		watch->arg = arg;
		result = warren_watch(ctx, tls, "cert", files_changed, watch);
	}
	if (!result)
		result = warren_watch(ctx, tls, "key", files_changed, watch);
	if (result)
		warren_fail(err, tls, "the certificate's files cannot be watched");
	return result;
}

/* ---- our own ---- */

/* A name or an address of the certificate; NULL: no memory. */
static GENERAL_NAME *alternative(const char *text)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *value = NULL;
	struct warren_addr addr;
	bool is_addr = addr_parse(text, &addr) == 0;
	const void *data = is_addr ? (const void *)addr.bytes : text;
	int len = (int)(is_addr ? addr_size(&addr) : strlen(text));

	if (name)
		value = ASN1_STRING_type_new(is_addr ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
	if (!value || !ASN1_STRING_set(value, data, len)) {
		ASN1_STRING_free(value);
		GENERAL_NAME_free(name);
		return NULL;
	}
	GENERAL_NAME_set0_value(name, is_addr ? GEN_IPADD : GEN_DNS, value);
	return name;
}

static bool add_names(X509 *x509, const char *const *names, uint32_t n)
{
	GENERAL_NAMES *all = n ? GENERAL_NAMES_new() : NULL;
	bool ok = n == 0 || all;

	for (uint32_t i = 0; ok && i < n; i++) {
		GENERAL_NAME *name = alternative(names[i]);

		ok = name && sk_GENERAL_NAME_push(all, name) > 0;
		if (!ok)
			GENERAL_NAME_free(name);
	}
	if (ok && n > 0)
		ok = X509_add1_ext_i2d(x509, NID_subject_alt_name, all, 0, 0) == 1;
	GENERAL_NAMES_free(all);
	return ok;
}

static bool sign(X509 *x509, EVP_PKEY *key, const char *const *names, uint32_t n)
{
	X509_NAME *name = X509_get_subject_name(x509);
	uint8_t serial[8];
	BIGNUM *bn;
	bool ok;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] &= 0x7f;
	bn = BN_bin2bn(serial, sizeof(serial), NULL);
	ok = bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x509)) &&
	     X509_set_version(x509, 2) &&
	     X509_gmtime_adj(X509_getm_notBefore(x509), -86400) &&
	     X509_gmtime_adj(X509_getm_notAfter(x509), 86400L * SELF_DAYS) &&
	     X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
					(const unsigned char *)"warren", -1, -1, 0) &&
	     X509_set_issuer_name(x509, name) && X509_set_pubkey(x509, key) &&
	     add_names(x509, names, n) && X509_sign(x509, key, EVP_sha256()) > 0;
	BN_free(bn);
	return ok;
}

/* Certificate and key as one PEM text, as it is stored. NULL: OpenSSL could not. */
static char *make_text(const char *const *names, uint32_t n_names, size_t *len)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *data;
	long n;

	if (key && x509 && bio && sign(x509, key, names, n_names) &&
	    PEM_write_bio_X509(bio, x509) &&
	    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		n = BIO_get_mem_data(bio, &data);
		text = n > 0 ? malloc((size_t)n + 1) : NULL;
		if (text) {
			memcpy(text, data, (size_t)n);
			text[n] = '\0';
			*len = (size_t)n;
		}
		OPENSSL_cleanse(data, n > 0 ? (size_t)n : 0);
	}
	BIO_free(bio);
	X509_free(x509);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return text;
}

static void stored(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	if (result)
		warren_log(ctx, LOG_ERR, "the certificate that was made cannot be stored: %s: the "
			   "next start makes another one, which nobody knows", strerror(-result));
}

int warren_pair_make(struct warren_ctx *ctx, const char *const *names, uint32_t n,
		     warren_pair_fn *fn, void *arg, struct warren_err *err)
{
	size_t len = 0;
	char *text = make_text(names, n, &len);
	int result;

	if (!text)
		return warren_fail(err, NULL, "no certificate can be made");
	result = fn(arg, text, (uint8_t *)text, len, err);
	if (!result)
		result = warren_state_write(ctx, document, WARREN_STATE_KEY, FORMAT, text, len,
					    stored, NULL);
	wipe_free(text, len);
	return result;
}

int warren_pair_own_wait(struct warren_ctx *ctx, const char *const *names, uint32_t n,
			 warren_pair_fn *fn, void *arg, bool *made, struct warren_err *err)
{
	void *kept = NULL;
	char *text;
	size_t len = 0;
	int result = warren_state_read(ctx, document, WARREN_STATE_KEY, FORMAT, &kept, &len, err);

	*made = result == -ENOENT;
	if (*made)
		return warren_pair_make(ctx, names, n, fn, arg, err);
	if (result)
		return result;
	text = strndup(kept, len);
	warren_release(kept);
	if (!text)
		return -ENOMEM;
	result = fn(arg, text, (uint8_t *)text, strlen(text), err);
	wipe_free(text, len);
	return result;
}
