/*
 * Who is trusted, and with which certificate we answer. Defaults are strict: TLS 1.2 at least, the
 * peer verified against the system's authorities and its name, no renegotiation, no resumption.
 */
#include "tls_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

/* OpenSSL's own words about the first error in its queue. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text ? text : "unknown reason";
}

static SSL_CTX *context_new(const SSL_METHOD *method, struct warren_err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION)) {
		SSL_CTX_free(ctx);
		warren_fail(err, NULL, "TLS cannot be set up: %s", reason());
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
			    SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	return ctx;
}

/* The list as on the wire. Returns its length, or -EINVAL. */
static int alpn_wire(const char *const *list, uint8_t out[256], struct warren_err *err)
{
	size_t at = 0;

	for (; list && *list; list++) {
		size_t n = strlen(*list);

		if (n == 0 || n > 255 || at + 1 + n > 256)
			return warren_fail(err, NULL, "the list of TLS protocol names is too long, "
					   "or one is empty");
		out[at++] = (uint8_t)n;
		memcpy(out + at, *list, n);
		at += n;
	}
	return (int)at;
}

/* What @cert is refused for although it is the pinned one; X509_V_OK. */
static int pinned_fault(X509 *cert, const char *name)
{
	int from = X509_cmp_current_time(X509_get0_notBefore(cert));
	int to = X509_cmp_current_time(X509_get0_notAfter(cert));

	if (from >= 0)			/* or cannot be read: 0 */
		return X509_V_ERR_CERT_NOT_YET_VALID;
	if (to <= 0)
		return X509_V_ERR_CERT_HAS_EXPIRED;
	if (name && X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
				    NULL) != 1)
		return X509_V_ERR_HOSTNAME_MISMATCH;
	return X509_V_OK;
}

/*
 * Instead of a chain: the certificate itself is known. More of them would be certificates that
 * nobody has looked at; DERP's marker is none.
 */
static int check_pin(X509_STORE_CTX *store, void *arg)
{
	const uint8_t *pin = arg;
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
	X509 *cert = X509_STORE_CTX_get0_cert(store);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	uint8_t key[32];
	int fault = X509_V_ERR_CERT_UNTRUSTED;

	if (cert && X509_digest(cert, EVP_sha256(), digest, &len) && len == 32 &&
	    memcmp(digest, pin, 32) == 0)
		fault = pinned_fault(cert, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	for (int i = 1; fault == X509_V_OK && i < sk_X509_num(sent); i++) {
		if (!derp_meta_is(sk_X509_value(sent, i), key))
			fault = X509_V_ERR_CERT_CHAIN_TOO_LONG;
	}
	X509_STORE_CTX_set_error(store, fault);
	return fault == X509_V_OK;
}

/* A key that wants a password is refused; without this OpenSSL would ask the terminal. */
static int no_password(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int trust_pem(SSL_CTX *ctx, const char *pem, struct warren_err *err)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509 *cert;
	int n = 0;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
		n += X509_STORE_add_cert(store, cert);
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();		/* the loop ends with "no start line" */
	return n > 0 ? 0 : warren_fail(err, NULL, "the authority's certificates are not in PEM "
				       "form");
}

static int trust(SSL_CTX *ctx, const struct warren_tls_client *o, uint8_t pin[32],
		 struct warren_err *err)
{
	if (o->pin_sha256) {
		memcpy(pin, o->pin_sha256, 32);
		SSL_CTX_set_cert_verify_callback(ctx, check_pin, pin);
	} else if (o->flags & WARREN_TLS_INSECURE) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		return 0;
	} else if (o->ca_pem) {
		int result = trust_pem(ctx, o->ca_pem, err);

		if (result)
			return result;
	} else if (o->ca_file) {
		if (!SSL_CTX_load_verify_file(ctx, o->ca_file))
			return warren_fail(err, NULL, "%s: the certificates cannot be read: %s",
					   o->ca_file, reason());
	} else {
		X509_STORE *system = tls_trust_system();

		if (!system)
			return warren_fail(err, NULL, "no memory for the system's certificates");
		SSL_CTX_set_cert_store(ctx, system);	/* takes the reference */
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	return 0;
}

static bool verify_name(SSL *ssl, const char *name)
{
	struct warren_addr addr;

	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (addr_parse(name, &addr) == 0)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	return SSL_set1_host(ssl, name);
}

/* SNI is for names only (RFC 6066 3); an address is verified all the same. */
static int expect_name(SSL *ssl, const struct warren_tls_client *o, struct warren_err *err)
{
	bool verified = !o->pin_sha256 && !(o->flags & WARREN_TLS_INSECURE);
	const char *name = o->verify_name ? o->verify_name : o->server_name;
	struct warren_addr addr;

	if (verified && !name)
		return warren_fail(err, NULL, "TLS needs the server's name to verify its "
				   "certificate");
	if (o->server_name && addr_parse(o->server_name, &addr) != 0 &&
	    !SSL_set_tlsext_host_name(ssl, o->server_name))
		return warren_fail(err, NULL, "\"%s\" is no name for TLS: %s", o->server_name,
				   reason());
	if (verified && !verify_name(ssl, name))
		return warren_fail(err, NULL, "\"%s\" is no name that TLS can verify: %s", name,
				   reason());
	return 0;
}

SSL *tls_client_setup(const struct warren_tls_client *o, uint8_t pin[32], struct warren_err *err)
{
	SSL_CTX *ctx = context_new(TLS_client_method(), err);
	uint8_t alpn[256];
	int n = ctx ? alpn_wire(o->alpn, alpn, err) : -EINVAL;
	SSL *ssl = NULL;

	if (n >= 0 && trust(ctx, o, pin, err) == 0) {
		ssl = SSL_new(ctx);
		if (!ssl || (n > 0 && SSL_set_alpn_protos(ssl, alpn, (unsigned int)n))) {
			warren_fail(err, NULL, "TLS cannot be set up: %s", reason());
			SSL_free(ssl);
			ssl = NULL;
		} else if (expect_name(ssl, o, err)) {
			SSL_free(ssl);
			ssl = NULL;
		}
	}
	SSL_CTX_free(ctx);		/* the session holds its own reference */
	return ssl;
}

static int load_chain(SSL_CTX *ctx, const char *pem, struct warren_err *err)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	int ok = cert ? SSL_CTX_use_certificate(ctx, cert) : 0;

	if (!ok)
		warren_fail(err, NULL, "the TLS certificate is not in PEM form or cannot be "
			    "used: %s", reason());
	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
		ok = SSL_CTX_add0_chain_cert(ctx, cert);	/* takes it */
	BIO_free(bio);
	ERR_clear_error();		/* the loop ends with "no start line" */
	return ok ? 0 : -EINVAL;
}

static int load_key(SSL_CTX *ctx, const uint8_t *pem, size_t len, struct warren_err *err)
{
	BIO *bio = len <= 1 << 20 ? BIO_new_mem_buf(pem, (int)len) : NULL;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	int result = 0;

	if (!key)
		result = warren_fail(err, NULL, "the TLS key is not in PEM form, or wants a "
				     "password: %s", reason());
	else if (!SSL_CTX_use_PrivateKey(ctx, key) || !SSL_CTX_check_private_key(ctx))
		result = warren_fail(err, NULL, "the TLS key does not belong to the certificate: "
				     "%s", reason());
	EVP_PKEY_free(key);
	BIO_free(bio);
	return result;
}

/* Our order counts; a client that offers nothing of it is refused: RFC 7301 3.2. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned int in_len, void *arg)
{
	const struct warren_tls_server *server = arg;
	unsigned char *found;

	(void)ssl;
	if (SSL_select_next_proto(&found, out_len, server->alpn, server->alpn_len, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

struct warren_tls_server *warren_tls_server_new(const char *cert_pem, const uint8_t *key_pem,
						size_t key_len, const char *const *alpn,
						struct warren_err *err)
{
	struct warren_tls_server *server = calloc(1, sizeof(*server));
	int n = server ? alpn_wire(alpn, server->alpn, err) : -ENOMEM;

	ERR_clear_error();
	if (n < 0) {
		free(server);
		return NULL;
	}
	server->refs = 1;
	server->alpn_len = (unsigned int)n;
	server->ctx = context_new(TLS_server_method(), err);
	if (!server->ctx || load_chain(server->ctx, cert_pem, err) ||
	    load_key(server->ctx, key_pem, key_len, err)) {
		warren_tls_server_free(server);
		return NULL;
	}
	SSL_CTX_set_options(server->ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	if (n > 0)
		SSL_CTX_set_alpn_select_cb(server->ctx, select_alpn, server);
	return server;
}

struct warren_tls_server *tls_server_ref(struct warren_tls_server *server)
{
	server->refs++;
	return server;
}

void warren_tls_server_free(struct warren_tls_server *server)
{
	if (!server || --server->refs > 0)
		return;
	SSL_CTX_free(server->ctx);
	free(server);
}
