/*
 * TLS as a layer. OpenSSL takes the input of the stream below and writes to it: a BIO of ours is
 * between them, and keeps nothing, as most of many connections are quiet. While the handshake runs
 * the layer is its own reader; how it went is told by a timer, since a layer's input must not call
 * its owner.
 */
#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

#include "stream.h"
#include "tls_impl.h"

enum { HANDSHAKE_USEC = 15000000, RECORD = 16 << 10, RECORD_OVERHEAD = 256 };

struct tls {
	SSL *ssl;
	struct warren_stream *up, *below;
	int sent;			/* 0, or the error of what was written below */
	struct warren_tls_server *server;
	warren_tls_fn *done;		/* NULL: called */
	void *arg;
	struct warren_timer *timer;	/* of the handshake; or tells its end */
	bool open;
	char why[256];
	uint8_t pin[32];
	unsigned char *peer_cert;
	int peer_cert_len;
	char alpn[256];
};

/* ---- between OpenSSL and the stream below ---- */

static int bio_read(BIO *bio, char *out, int room)
{
	struct tls *tls = BIO_get_data(bio);
	size_t len;
	const uint8_t *data = warren_stream_input(tls->below, &len);

	BIO_clear_retry_flags(bio);
	if (len == 0 || room <= 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	if (len > (size_t)room)
		len = (size_t)room;
	memcpy(out, data, len);
	warren_stream_drain(tls->below, len);
	return (int)len;
}

/* What is encrypted cannot be taken back: an error is told after OpenSSL is done. */
static int bio_write(BIO *bio, const char *data, int len)
{
	struct tls *tls = BIO_get_data(bio);
	int result = len > 0 ? warren_stream_write(tls->below, data, (size_t)len) : 0;

	if (!tls->sent)
		tls->sent = result;
	return len;
}

static long bio_ctrl(BIO *bio, int what, long number, void *arg)
{
	(void)bio;
	(void)number;
	(void)arg;
	return what == BIO_CTRL_FLUSH;
}

static pthread_once_t bio_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
	BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

	if (made && BIO_meth_set_read(made, bio_read) && BIO_meth_set_write(made, bio_write) &&
	    BIO_meth_set_ctrl(made, bio_ctrl))
		bio_method = made;
	else
		BIO_meth_free(made);
}

static int bio_put(struct tls *tls)
{
	BIO *bio;

	pthread_once(&bio_once, bio_method_make);
	bio = bio_method ? BIO_new(bio_method) : NULL;
	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	return 0;
}

/* How what OpenSSL wanted to send has gone. */
static int sent(struct tls *tls)
{
	int result = tls->sent;

	tls->sent = 0;
	return result;
}

/* ---- the layer ---- */

/* Why the last call failed: the peer's certificate first, then OpenSSL's queue. */
static int explain(struct tls *tls, const char *doing)
{
	long verify = SSL_get_verify_result(tls->ssl);
	const char *text = ERR_reason_error_string(ERR_peek_error());

	if (tls->open || SSL_get_verify_mode(tls->ssl) == SSL_VERIFY_NONE)
		verify = X509_V_OK;
	if (verify == X509_V_ERR_CERT_UNTRUSTED)
		text = "its certificate is not the one that is pinned";
	else if (verify != X509_V_OK)
		text = X509_verify_cert_error_string(verify);
	snprintf(tls->why, sizeof(tls->why), "TLS failed while %s: %s", doing,
		 text ? text : "the other side broke off");
	ERR_clear_error();
	return verify != X509_V_OK ? -EKEYREJECTED : -EPROTO;
}

static int opened(struct tls *tls)
{
	X509 *cert = SSL_get0_peer_certificate(tls->ssl);
	const unsigned char *alpn;
	unsigned int n;

	SSL_get0_alpn_selected(tls->ssl, &alpn, &n);
	snprintf(tls->alpn, sizeof(tls->alpn), "%.*s", (int)n, n > 0 ? (const char *)alpn : "");
	tls->peer_cert_len = cert ? i2d_X509(cert, &tls->peer_cert) : 0;
	if (tls->peer_cert_len < 0)
		return -ENOMEM;
	tls->open = true;
	warren_timer_set(tls->timer, 0);
	return 0;
}

static int shake(struct tls *tls)
{
	int n, error, result;

	ERR_clear_error();
	n = SSL_do_handshake(tls->ssl);
	error = SSL_get_error(tls->ssl, n);
	result = sent(tls);	/* an alert, if it failed */
	if (n == 1)
		return result ? result : opened(tls);
	if (error == SSL_ERROR_WANT_READ)
		return result;
	return explain(tls, "connecting");
}

/* Decodes all that is there; the amount is bounded by the input limit of @below. */
static int decode(struct tls *tls, struct warren_stream *up)
{
	unsigned char plain[RECORD];

	for (;;) {
		int n, error, result;

		ERR_clear_error();
		n = SSL_read(tls->ssl, plain, sizeof(plain));
		if (n > 0) {
			result = warren_layer_feed(up, plain, (size_t)n);
			if (result)
				return result;
			continue;
		}
		error = SSL_get_error(tls->ssl, n);
		result = sent(tls);	/* answers to key updates, alerts */
		if (error == SSL_ERROR_ZERO_RETURN) {
			warren_layer_end(up);
			return 0;
		}
		/* -EPIPE: we finished; what still comes counts. */
		if (error == SSL_ERROR_WANT_READ)
			return result == -EPIPE ? 0 : result;
		return explain(tls, "reading");
	}
}

static int tls_input(void *layer, struct warren_stream *below, struct warren_stream *up, bool eof,
		     const char **why)
{
	struct tls *tls = layer;
	int result = 0;

	(void)below;
	if (!tls->open)
		result = shake(tls);
	if (result == 0 && tls->open)
		result = decode(tls, up);
	if (result == 0 && eof && !(SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN)) {
		snprintf(tls->why, sizeof(tls->why), "the other side closed the connection %s",
			 tls->open ? "without ending TLS: something may have been cut off" :
			 "in the middle of the TLS handshake");
		result = -ECONNRESET;
	}
	*why = tls->why[0] ? tls->why : NULL;
	return result;
}

static int tls_write(void *layer, struct warren_stream *below, const void *data, size_t len)
{
	struct tls *tls = layer;
	size_t waiting = warren_stream_pending(below);
	size_t most = STREAM_OUTPUT_MAX - RECORD_OVERHEAD;

	if (!tls->open)
		return -ENOTCONN;
	/* Asked first: what is encrypted cannot be taken back. */
	if (len > most || waiting > most || len + len / RECORD * RECORD_OVERHEAD > most - waiting)
		return -ENOBUFS;
	ERR_clear_error();
	if (SSL_write(tls->ssl, data, (int)len) != (int)len)
		return explain(tls, "writing");
	return sent(tls);
}

static void tls_finish(void *layer, struct warren_stream *below)
{
	struct tls *tls = layer;

	(void)below;
	if (!tls->open)
		return;
	ERR_clear_error();
	/* Whether the other side has answered does not matter, nor whether it still listens. */
	(void)SSL_shutdown(tls->ssl);
	(void)sent(tls);
	ERR_clear_error();
}

static void tls_free(void *layer)
{
	struct tls *tls = layer;

	warren_release(tls->timer);
	SSL_free(tls->ssl);
	warren_tls_server_free(tls->server);
	OPENSSL_free(tls->peer_cert);
	free(tls);
}

static const struct warren_layer_ops tls_ops = {
	.size = sizeof(tls_ops), .write = tls_write, .input = tls_input, .finish = tls_finish,
	.free = tls_free,
};

/* The owner is told, and may close the stream, which frees @tls. */
static void tell(struct tls *tls, int result, const char *why)
{
	warren_tls_fn *done = tls->done;

	tls->done = NULL;
	warren_timer_stop(tls->timer);
	warren_stream_set(tls->up, NULL, NULL);
	done(tls->up, result, why, tls->arg);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct tls *tls = arg;

	(void)ctx;
	if (tls->open)
		tell(tls, 0, NULL);
	else
		tell(tls, -ETIMEDOUT, "the TLS handshake took too long");
}

static void shaking_ended(struct warren_stream *up, int result, const char *why, void *arg)
{
	struct tls *tls = arg;

	(void)up;
	if (!tls->open)
		tell(tls, result ? result : -ECONNRESET, why ? why : "the other side broke off");
}

/* What can be read stays, and is told again to the owner. */
static const struct warren_stream_events shaking = {
	.size = sizeof(shaking), .ended = shaking_ended,
};

static struct warren_stream *start(struct warren_stream *below, struct tls *tls, bool client,
				   struct warren_err *err)
{
	struct warren_stream *up;

	tls->below = below;
	if (bio_put(tls)) {
		tls_free(tls);
		warren_stream_close(below);
		warren_fail(err, NULL, "no memory for a TLS connection");
		return NULL;
	}
	tls->timer = warren_timer_new(stream_ctx(below), on_timer, tls);
	up = tls->timer ? warren_layer_new_take(below, &tls_ops, tls) : NULL;
	if (!tls->timer) {
		tls_free(tls);
		warren_stream_close(below);
	}
	if (!up) {
		warren_fail(err, NULL, "no memory for a TLS connection");
		return NULL;
	}
	tls->up = up;
	warren_timer_set(tls->timer, HANDSHAKE_USEC);
	warren_stream_set(up, &shaking, tls);
	if (!client) {
		SSL_set_accept_state(tls->ssl);
		return up;
	}
	SSL_set_connect_state(tls->ssl);
	if (shake(tls)) {
		warren_fail(err, NULL, "%s", tls->why[0] ? tls->why :
			    "the connection is closed already");
		warren_stream_close(up);
		return NULL;
	}
	return up;
}

struct warren_stream *warren_tls_connect_take(struct warren_stream *below,
					      const struct warren_tls_client *options,
					      warren_tls_fn *done, void *arg,
					      struct warren_err *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	ERR_clear_error();
	if (tls)
		tls->ssl = tls_client_setup(options, tls->pin, err);
	else
		warren_fail(err, NULL, "no memory for a TLS connection");
	if (!tls || !tls->ssl) {
		free(tls);
		warren_stream_close(below);
		return NULL;
	}
	tls->done = done;
	tls->arg = arg;
	return start(below, tls, true, err);
}

struct warren_stream *warren_tls_accept_take(struct warren_stream *below,
					     struct warren_tls_server *server,
					     warren_tls_fn *done, void *arg,
					     struct warren_err *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	ERR_clear_error();
	if (tls)
		tls->ssl = SSL_new(server->ctx);
	if (!tls || !tls->ssl) {
		free(tls);
		warren_stream_close(below);
		warren_fail(err, NULL, "no memory for a TLS connection");
		return NULL;
	}
	tls->server = tls_server_ref(server);
	tls->done = done;
	tls->arg = arg;
	return start(below, tls, false, err);
}

bool warren_tls_info(struct warren_stream *stream, struct warren_tls_info *info)
{
	const struct tls *tls = stream_layer(stream, &tls_ops);

	if (!tls || !tls->open)
		return false;
	info->version = SSL_get_version(tls->ssl);
	info->alpn = tls->alpn[0] ? tls->alpn : NULL;
	info->server_name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
	info->peer_cert = tls->peer_cert;
	info->peer_cert_len = (size_t)tls->peer_cert_len;
	return true;
}

const SSL *tls_session(const struct warren_stream *stream)
{
	const struct tls *tls = stream_layer(stream, &tls_ops);

	return tls && tls->open ? tls->ssl : NULL;
}
