/*
 * The certificates that answer, one per name, and where they come from: files of the operator, or
 * one that we sign ourselves. Those of an authority come from acme.c.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/priv.h>

#include "base/str.h"
#include "front.h"

enum {
	FILE_MAX = 1 << 20,
	SELF_DAYS = 3650,		/* checked by its fingerprint alone, so never renewed */
	FORMAT = 1,
};

static const char *const alpn[] = { "h2", "http/1.1", NULL };

/* ---- the set ---- */

static void cert_free(struct front_cert *cert)
{
	list_del(&cert->link);
	warren_tls_server_free(cert->tls);
	free(cert);
}

void front_certs_drop_named(struct front *front)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link) {
		if (cert->name[0])
			cert_free(cert);
	}
}

void front_certs_free(struct front *front)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link)
		cert_free(cert);
}

static int64_t seconds(const ASN1_TIME *time)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, rest = 0;

	if (epoch)
		ASN1_TIME_diff(&days, &rest, epoch, time);
	ASN1_TIME_free(epoch);
	return (int64_t)days * 86400 + rest;
}

static bool read_facts(const char *pem, struct front_cert *cert)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	unsigned int len = 0;
	bool ok = x509 && X509_digest(x509, EVP_sha256(), cert->sha256, &len) && len == 32;

	if (ok) {
		cert->not_before = seconds(X509_get0_notBefore(x509));
		cert->not_after = seconds(X509_get0_notAfter(x509));
	}
	X509_free(x509);
	BIO_free(bio);
	ERR_clear_error();
	return ok;
}

void front_cert_drop(struct front *front, const char *name)
{
	struct front_cert *cert, *next;

	list_for_each_safe(cert, next, &front->certs, link) {
		if (strcmp(cert->name, name) == 0)
			cert_free(cert);
	}
}

int front_cert_set(struct front *front, const char *name, const char *cert_pem,
		   const uint8_t *key_pem, size_t key_len, struct warren_err *err)
{
	struct front_cert *cert = calloc(1, sizeof(*cert));

	if (!cert || !str_copy(cert->name, sizeof(cert->name), name)) {
		free(cert);
		warren_fail(err, NULL, "no memory for a certificate");
		return -ENOMEM;
	}
	cert->tls = warren_tls_server_new(cert_pem, key_pem, key_len, alpn, err);
	if (!cert->tls || !read_facts(cert_pem, cert) ||
	    warren_derp_meta_set(cert->tls, front->marker, err)) {
		warren_tls_server_free(cert->tls);
		free(cert);
		return -EINVAL;
	}
	front_cert_drop(front, name);
	list_add_tail(&front->certs, &cert->link);
	return 0;
}

const struct front_cert *front_cert_find(const struct front *front, const char *server_name)
{
	const struct front_cert *cert, *any = NULL;

	list_for_each(cert, &front->certs, link) {
		if (cert->name[0] && strcmp(cert->name, server_name) == 0)
			return cert;
		if (!cert->name[0] || !any)
			any = cert;
	}
	return any;
}

/* ---- a relay's marker ---- */

static void mark_all(struct front *front)
{
	struct front_cert *cert;

	list_for_each(cert, &front->certs, link) {
		if (warren_derp_meta_set(cert->tls, front->marker, NULL))
			warren_log(front->ctx, LOG_WARNING, "clients of the relay log in a round "
				   "trip slower: its key cannot be added to a certificate's chain");
	}
}

static void marker_ends(void *arg)
{
	struct front *front = arg;

	free(front->marker);
	front->marker = NULL;
	front->marker_of = NULL;
	mark_all(front);
}

int front_marker(void *self, struct warren_ctx *ctx, const char *pem, struct warren_err *err)
{
	struct front *front = self;
	char *copy;

	if (front->marker_of && front->marker_of != ctx) {
		warren_fail(err, NULL, "another plugin's relay is told in the certificates");
		return -EEXIST;
	}
	copy = strdup(pem);
	if (!copy || (!front->marker_of && !warren_on_end(ctx, marker_ends, front))) {
		free(copy);
		warren_fail(err, NULL, "no memory");
		return -ENOMEM;
	}
	free(front->marker);
	front->marker = copy;
	front->marker_of = ctx;
	mark_all(front);
	return 0;
}

bool front_pin(void *self, uint8_t sha256[32])
{
	const struct front *front = self;
	const struct front_cert *cert = front_cert_find(front, "");

	if (front_tls(front->conf) != FRONT_SELF_SIGNED || !cert)
		return false;
	memcpy(sha256, cert->sha256, 32);
	return true;
}

/* ---- the operator's files ---- */

/* The whole of @fd, which is closed, with a NUL behind it; the caller wipes and frees it. */
static uint8_t *read_all_take(int fd, size_t *len)
{
	uint8_t *data = malloc(FILE_MAX + 1);
	ssize_t n = 1;

	*len = 0;
	while (data && n > 0 && *len < FILE_MAX) {
		n = read(fd, data + *len, FILE_MAX - *len);
		if (n > 0)
			*len += (size_t)n;
	}
	close(fd);
	if (!data || n < 0) {
		free(data);
		return NULL;
	}
	data[*len] = '\0';
	return data;
}

static void wipe_free(uint8_t *data, size_t len)
{
	if (data)
		sodium_memzero(data, len);
	free(data);
}

/* Takes both descriptors. */
static int load_take(struct front *front, int cert_fd, int key_fd, struct warren_err *err)
{
	size_t cert_len, key_len;
	uint8_t *cert = read_all_take(cert_fd, &cert_len);
	uint8_t *key = read_all_take(key_fd, &key_len);
	int result = -EIO;

	if (!cert || !key || memchr(cert, 0, cert_len))
		warren_fail(err, NULL, "tls.cert or tls.key cannot be read as text");
	else
		result = front_cert_set(front, "", (const char *)cert, key, key_len, err);
	free(cert);
	wipe_free(key, key_len);
	return result;
}

int front_text_file(struct front *front, const struct warren_conf *at, const char *key, char **out,
		    struct warren_err *err)
{
	int fd = warren_conf_open_wait(front->ctx, at, key, err);
	size_t len;

	*out = NULL;
	if (fd < 0)
		return fd;
	*out = (char *)read_all_take(fd, &len);
	if (*out && strlen(*out) == len)
		return 0;
	free(*out);
	*out = NULL;
	return warren_fail_key(err, -EIO, at, key, "this file cannot be read as text");
}

int front_cert_files(struct front *front, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(front->conf, "tls");
	int cert = warren_conf_open_wait(front->ctx, tls, "cert", err);
	int key = cert < 0 ? cert : warren_conf_open_wait(front->ctx, tls, "key", err);

	if (key < 0) {
		if (cert >= 0)
			close(cert);
		return key;
	}
	return load_take(front, cert, key, err);
}

/* The second half of a new pair may come a moment after the first: both are read each time. */
struct reading {
	struct front *front;
	int cert;
};

static void key_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct reading *reading = arg;
	struct front *front = reading->front;

	if (answer->result < 0 || answer->count != 1) {
		close(reading->cert);
		warren_log(ctx, LOG_WARNING, "front.tls.key cannot be opened: %s; the certificate "
			   "before it still answers", answer->error ? answer->error : "no file");
	} else if (load_take(front, reading->cert, answer->fds[0], NULL)) {
		warren_log(ctx, LOG_WARNING, "front.tls: certificate and key have changed but do "
			   "not work together yet; the pair before them still answers");
	} else {
		warren_log(ctx, LOG_INFO, "front.tls: the new certificate answers");
	}
	warren_release(reading);
}

static int open_path(struct front *front, const char *key, warren_priv_fn *done, void *arg)
{
	struct warren_priv_open item = { .access = WARREN_READ };

	return !str_copy(item.key, sizeof(item.key), key) ? -EINVAL :
	       warren_priv(front->ctx, WARREN_OP_OPEN, &item, sizeof(item), done, arg);
}

static void cert_opened(struct warren_ctx *ctx, const struct warren_priv_answer *answer, void *arg)
{
	struct reading *reading = arg;

	if (answer->result < 0 || answer->count != 1) {
		warren_log(ctx, LOG_WARNING, "front.tls.cert cannot be opened: %s; the certificate "
			   "before it still answers", answer->error ? answer->error : "no file");
		warren_release(reading);
		return;
	}
	reading->cert = answer->fds[0];
	if (open_path(reading->front, "front.tls.key", key_opened, reading)) {
		close(reading->cert);
		warren_release(reading);
	}
}

static void files_changed(struct warren_ctx *ctx, void *arg)
{
	struct front *front = arg;
	struct reading *reading = warren_zalloc(ctx, sizeof(*reading));

	if (!reading)
		return;
	reading->front = front;
	if (open_path(front, "front.tls.cert", cert_opened, reading))
		warren_release(reading);
}

int front_cert_watch(struct front *front, struct warren_err *err)
{
	const struct warren_conf *tls = warren_conf_map(front->conf, "tls");
	int result = warren_watch(front->ctx, tls, "cert", files_changed, front);

	if (!result)
		result = warren_watch(front->ctx, tls, "key", files_changed, front);
	if (result)
		warren_fail(err, tls, "the certificate's files cannot be watched");
	return result;
}

/* ---- our own ---- */

static bool sign(X509 *x509, EVP_PKEY *key)
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
	     X509_sign(x509, key, EVP_sha256()) > 0;
	BN_free(bn);
	return ok;
}

/* Certificate and key as one PEM text, as it is stored. NULL: OpenSSL could not. */
static char *make_pair(size_t *len)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL, *data;
	long n;

	if (key && x509 && bio && sign(x509, key) && PEM_write_bio_X509(bio, x509) &&
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
	return text;
}

int front_cert_self_signed(struct front *front, struct warren_err *err)
{
	void *stored = NULL;
	char *text;
	size_t len = 0;
	int result = warren_state_read(front->ctx, "self-signed.pem", WARREN_STATE_KEY, FORMAT,
				       &stored, &len, err);

	if (result == -ENOENT) {
		text = make_pair(&len);
		if (!text)
			return warren_fail(err, NULL, "no certificate can be made");
		result = warren_state_write_wait(front->ctx, "self-signed.pem", WARREN_STATE_KEY,
						 FORMAT, text, len, err);
		if (!result)
			result = front_cert_set(front, "", text, (uint8_t *)text, len, err);
		wipe_free((uint8_t *)text, len);
		return result;
	}
	if (result)
		return result;
	text = strndup(stored, len);
	warren_release(stored);
	if (!text)
		return -ENOMEM;
	result = front_cert_set(front, "", text, (uint8_t *)text, len, err);
	wipe_free((uint8_t *)text, len);
	return result;
}
