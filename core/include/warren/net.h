/*
 * warren/net.h - the network toolkit: streams, TLS, keys as text, Noise of the control protocol,
 * URLs, HTTP messages, pieces of a JSON document
 *
 * Lives in libwarren-net, which a plugin links if it uses it. Every parser has a size limit; what
 * goes past one is refused with a sentence.
 */
#ifndef WARREN_NET_H
#define WARREN_NET_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * ---- Streams: bytes both ways, over a connected socket or a layer on another stream ----
 *
 * A stream is on the lane of its context and goes with it. Callbacks come from the loop, never from
 * inside a call, and may close the stream that calls them. Reading is by taking from the input:
 * what is not taken stays, and at the limit nothing more is read. Writing never blocks; a writer
 * that can wait asks warren_stream_pending() and goes on in `drained`.
 */
struct warren_stream;
struct warren_stream_events {
	uint32_t size;
	/*
	 * Bytes have come: warren_stream_input(). Called again only when more come. May be NULL:
	 * they are read, up to the limit, and told to the next events.
	 */
	void (*readable)(struct warren_stream *stream, void *arg);
	/* The output fell to the low mark after it was above the high one. May be NULL. */
	void (*drained)(struct warren_stream *stream, void *arg);
	/*
	 * The end of the input, once: @result 0, the other side closed in order; else -errno, and
	 * @why is a sentence. What was not taken is still there. After 0 writing still works
	 * until it says -EPIPE. The owner closes the stream, here or later.
	 */
	void (*ended)(struct warren_stream *stream, int result, const char *why, void *arg);
};

/* Takes a connected stream socket. NULL: no memory, @fd is closed. */
struct warren_stream *warren_stream_new_take(struct warren_ctx *ctx, int fd);
/* Replaces the callbacks; NULL pauses reading. Input and an end that are there are told again. */
void warren_stream_set(struct warren_stream *stream, const struct warren_stream_events *events,
		       void *arg);
/* All input that is there; valid until the next call or the callback's return. */
const uint8_t *warren_stream_input(struct warren_stream *stream, size_t *len);
void warren_stream_drain(struct warren_stream *stream, size_t len);
/* Pushes bytes back in front of the input: an upgrade hands over what its parser had read. */
int warren_stream_unread(struct warren_stream *stream, const void *data, size_t len);
/* -EPIPE: finished, or failed; -ENOBUFS: 16 MiB wait already, nothing was taken; -ENOMEM. */
int warren_stream_write(struct warren_stream *stream, const void *data, size_t len);
size_t warren_stream_pending(const struct warren_stream *stream);	/* bytes not yet sent */
/* Bytes of input kept before reading pauses (64 KiB); marks of the output (64 KiB, 256 KiB). */
void warren_stream_limits(struct warren_stream *stream, size_t input, size_t low, size_t high);
/* No byte in while we read, or none out while some wait: ends with -ETIMEDOUT. 0: never. */
void warren_stream_timeouts(struct warren_stream *stream, uint64_t read_usec, uint64_t write_usec);
/*
 * Over TCP: a peer that has acknowledged nothing for so long is gone, with -ETIMEDOUT; one to whom
 * nothing is sent is asked now and then.
 */
void warren_stream_dead_after(struct warren_stream *stream, uint64_t usec);
/* Ends our direction after the output is sent; `ended` follows when the other side is done too. */
void warren_stream_finish(struct warren_stream *stream);
/* Now; unsent output is dropped. NULL is allowed. */
void warren_stream_close(struct warren_stream *stream);
/* Sends the output, waits for the other side's end, at most @usec; nobody is called any more. */
void warren_stream_close_later(struct warren_stream *stream, uint64_t usec);
/* Of the socket at the bottom; false: it has none. */
bool warren_stream_peer(const struct warren_stream *stream, struct warren_addrport *out);
bool warren_stream_local(const struct warren_stream *stream, struct warren_addrport *out);

/*
 * A layer of one's own: encodes what is written and decodes what comes. The stream below belongs to
 * the upper one from then on, with its limits and timeouts.
 */
struct warren_layer_ops {
	uint32_t size;
	/* Encodes @data and writes it to @below. 0 or -errno. */
	int (*write)(void *layer, struct warren_stream *below, const void *data, size_t len);
	/*
	 * Takes input of @below, decodes it and calls warren_layer_feed(). @eof: no more will come;
	 * what is no proper end is an error then. 0, or -errno with *@why: a sentence that lives as
	 * long as the layer. Must not close @up.
	 */
	int (*input)(void *layer, struct warren_stream *below, struct warren_stream *up, bool eof,
		     const char **why);
	/* Writes to @below what says that no more follows. May be NULL. */
	void (*finish)(void *layer, struct warren_stream *below);
	void (*free)(void *layer);
};
/* Takes both. NULL: no memory, both are gone. */
struct warren_stream *warren_layer_new_take(struct warren_stream *below,
					    const struct warren_layer_ops *ops, void *layer);
/* From inside `input`. 0 or -ENOMEM. */
int warren_layer_feed(struct warren_stream *up, const void *data, size_t len);
/* The same: the other side has ended in order, though @below may go on. */
void warren_layer_end(struct warren_stream *up);

/*
 * ---- TLS 1.2 and 1.3 (OpenSSL) ----
 *
 * A layer on a stream. The handshake has 15 s; then the stream is used as any other. An end without
 * TLS's own mark (close_notify) is -ECONNRESET: something may have been cut off.
 */
enum { WARREN_TLS_INSECURE = 1u << 0 };	/* the peer is proven by something else (ts2021) */
struct warren_tls_client {
	uint32_t size, flags;
	const char *server_name;	/* SNI, and the name or address that is verified */
	const char *const *alpn;	/* NULL-terminated, or NULL */
	const char *ca_file;		/* PEM, instead of the system's; NULL: the system's */
	/*
	 * SHA-256 of the one certificate (DER) that is trusted, self-signed or not. It must be
	 * valid now, for server_name if that is a name, and come alone (but for DERP's marker).
	 */
	const uint8_t *pin_sha256;
	const char *ca_pem;		/* certificates as text, as ca_file */
	const char *verify_name;	/* verified instead of server_name, which stays the SNI */
};
struct warren_tls_server;		/* certificate and key, shared by connections */
struct warren_tls_info {
	uint32_t size;
	const char *version;		/* "TLSv1.3" */
	const char *alpn, *server_name;	/* or NULL */
	const uint8_t *peer_cert;	/* DER, or NULL */
	size_t peer_cert_len;
};
/*
 * Told once, from the loop: 0, the handshake is done; set the callbacks. Else -errno with a
 * sentence; close the stream.
 */
typedef void warren_tls_fn(struct warren_stream *stream, int result, const char *why, void *arg);
/*
 * Takes @below in any case; copies @options. Returns the upper stream, which may be closed to give
 * up, but not written before @done. NULL with a sentence: it cannot begin, @done is not called.
 */
struct warren_stream *warren_tls_connect_take(struct warren_stream *below,
					      const struct warren_tls_client *options,
					      warren_tls_fn *done, void *arg,
					      struct warren_err *err);
/* PEM texts: the chain, its own certificate first; @key is not kept as text. */
struct warren_tls_server *warren_tls_server_new(const char *cert_pem, const uint8_t *key_pem,
						size_t key_len, const char *const *alpn,
						struct warren_err *err);
void warren_tls_server_free(struct warren_tls_server *server);	/* its connections go on */
struct warren_stream *warren_tls_accept_take(struct warren_stream *below,
					     struct warren_tls_server *server,
					     warren_tls_fn *done, void *arg,
					     struct warren_err *err);
/* After @done; lives as long as the stream. False: @stream is no TLS, or not yet. */
bool warren_tls_info(struct warren_stream *stream, struct warren_tls_info *info);

/*
 * ---- The certificate of a server of this box ----
 *
 * Files of the operator, or a pair that is signed by itself and kept in the plugin's state folder.
 * Who uses it makes of the texts what he needs: 0, or -errno with a sentence. They are wiped then.
 */
typedef int warren_pair_fn(void *arg, const char *cert_pem, const uint8_t *key_pem, size_t key_len,
			   struct warren_err *err);
/* Rows of a map `tls` whose first row is `mode`. */
#define WARREN_PAIR_OPTIONS                                                                        \
	{ .key = "cert", .type = WARREN_PATH, .flags = WARREN_READ,                                \
	  .brief = "The certificate with its chain, in PEM form.",                                 \
	  .help = "Read again when it changes, so that renewing needs no reload.",                 \
	  .example = "/etc/ssl/hq.example.com.crt" },                                              \
	{ .key = "key", .type = WARREN_PATH, .flags = WARREN_READ,                                 \
	  .brief = "Its key, in PEM form, without a password.",                                    \
	  .example = "/etc/ssl/private/hq.example.com.key" }
/* Both files or none, and as the mode says. 0, or -EINVAL with a sentence; @tls may be NULL. */
int warren_pair_check(const struct warren_conf *tls, bool files, struct warren_err *err);
/* Of those two files. `start` and `reload` only. */
int warren_pair_files_wait(struct warren_ctx *ctx, const struct warren_conf *tls,
			   warren_pair_fn *fn, void *arg, struct warren_err *err);
/*
 * Calls @fn again with what they hold whenever one of them changes, and says in the log what came
 * of it. @where is the path of @tls in YAML ("front.tls"). `start` and `reload` only.
 */
int warren_pair_watch(struct warren_ctx *ctx, const struct warren_conf *tls, const char *where,
		      warren_pair_fn *fn, void *arg, struct warren_err *err);
/*
 * The pair of the state folder (document "self-signed.pem"). Where there is none it is made, for
 * these names and addresses, and @made is true. `start` and `reload` only.
 */
int warren_pair_own_wait(struct warren_ctx *ctx, const char *const *names, uint32_t n,
			 warren_pair_fn *fn, void *arg, bool *made, struct warren_err *err);
/* Makes it anew instead of the one before, which nobody may have seen yet. */
int warren_pair_make(struct warren_ctx *ctx, const char *const *names, uint32_t n,
		     warren_pair_fn *fn, void *arg, struct warren_err *err);
struct warren_cert_facts {
	uint32_t size;
	int64_t not_before, not_after;	/* seconds since 1970 */
	uint8_t sha256[32];		/* of the certificate (DER) */
};
/* Of the first certificate in @pem. False: there is none. */
bool warren_cert_facts(const char *pem, struct warren_cert_facts *out);
/* For a doctor's check: valid now, and for another week? @name is whose it is. */
bool warren_cert_check(const struct warren_cert_facts *facts, const char *name,
		       struct warren_check_result *result);
/* The whole of @fd, which is closed, with a NUL behind it; for wiping and free(). NULL: neither. */
uint8_t *warren_file_text_take(int fd, size_t *len);

/*
 * ---- Keys as text (control protocol, section 1.1) ----
 *
 * X25519 keys are a prefix and 64 hexadecimal digits. The kind decides the prefix; another one is
 * refused. All functions of this part: any thread.
 */
enum warren_keytext {
	WARREN_KEYTEXT_MACHINE = 0,	/* mkey: */
	WARREN_KEYTEXT_NODE,		/* nodekey: */
	WARREN_KEYTEXT_DISCO,		/* discokey: */
	WARREN_KEYTEXT_CHALLENGE,	/* chalpub: */
};
enum { WARREN_KEYTEXT_MAX = 9 + 64 + 1, WARREN_KEYTEXT_SHORT = 2 + 16 + 1 };

/* Write the text and return @out. The short form is for people and logs: [AbCdE], d:89ab... */
const char *warren_keytext_format(enum warren_keytext kind, const uint8_t key[32],
				  char out[WARREN_KEYTEXT_MAX]);
const char *warren_keytext_short(enum warren_keytext kind, const uint8_t key[32],
				 char out[WARREN_KEYTEXT_SHORT]);
/*
 * The whole of @text, digits of either case. The zero key means "absent" and is accepted. -EINVAL:
 * @out is zeroed, and @err says what is wrong without repeating the text.
 */
int warren_keytext_parse(enum warren_keytext kind, const char *text, uint8_t out[32],
			 struct warren_err *err);

/* A private key. It has no printable form but the one of warren_private_format(). */
struct warren_private {
	uint8_t secret[32];
};
void warren_private_new(struct warren_private *out);	/* random, clamped (RFC 7748 5) */
void warren_private_wipe(struct warren_private *key);
void warren_private_public(const struct warren_private *key, uint8_t out[32]);
bool warren_private_equal(const struct warren_private *a, const struct warren_private *b);
enum { WARREN_PRIVATE_TEXT = 8 + 64 + 1 };
/*
 * NaCl boxes, nonce || box, with a key of our own; for those of this node there is the service
 * "identity". `seal`: @out has room for @len + 40 bytes; -EINVAL for a @peer of small order.
 * `open`: @out for @len - 40; -EBADMSG: forged, or too short.
 */
int warren_private_seal(const struct warren_private *key, const uint8_t peer[32],
			const uint8_t *msg, size_t len, uint8_t *out);
int warren_private_open(const struct warren_private *key, const uint8_t peer[32],
			const uint8_t *box, size_t len, uint8_t *out);
/* "privkey:" and digits, for a key file; the caller wipes @out. */
void warren_private_format(const struct warren_private *key, char out[WARREN_PRIVATE_TEXT]);
/* The reverse, clamped. -EINVAL: no such text, or the zero key; @out is zeroed. */
int warren_private_parse(const char *text, struct warren_private *out, struct warren_err *err);

/*
 * ---- Noise of the control protocol, ts2021 (section 3) ----
 *
 * Noise_IK_25519_ChaChaPoly_BLAKE2s, both sides. A session turns bytes into records and back and
 * does no input or output itself. One thread at a time.
 */
enum {
	WARREN_NOISE_INIT = 101,	/* the client's first message */
	WARREN_NOISE_RESPONSE = 51,
	WARREN_NOISE_OVERHEAD = 3 + 16,	/* of a record */
	WARREN_NOISE_PLAIN = 4077,	/* most plaintext in a record */
	WARREN_NOISE_RECORD = 4096,
};
struct warren_noise;
struct warren_noise_key {		/* our static key; its owner does the DH */
	uint32_t size;
	uint8_t public_key[32];
	int (*dh)(void *arg, const uint8_t peer[32], uint8_t out[32]);	/* 0 or -errno */
	void *arg;
};

/*
 * Client: makes the first message, which names @version. NULL with a sentence. The second is taken
 * by warren_noise_client_read(): 0, the first @used bytes of @data were the server's answer, and
 * the session is open. WARREN_PENDING: call again with more (@used is 0). Else -errno; the
 * server's own words, which nobody vouches for, are in the sentence.
 */
struct warren_noise *warren_noise_client_new(uint16_t version,
					     const struct warren_noise_key *self,
					     const uint8_t server[32],
					     uint8_t init[WARREN_NOISE_INIT],
					     struct warren_err *err);
int warren_noise_client_read(struct warren_noise *noise, const uint8_t *data, size_t len,
			     size_t *used, struct warren_err *err);
/*
 * Server: answers a client's first message of exactly WARREN_NOISE_INIT bytes; the session is open.
 * NULL with a sentence: not one, or forged.
 */
struct warren_noise *warren_noise_server_new(const struct warren_noise_key *self,
					     const uint8_t *init, size_t len,
					     uint8_t response[WARREN_NOISE_RESPONSE],
					     struct warren_err *err);
void warren_noise_free(struct warren_noise *noise);	/* wipes; NULL is allowed */

uint16_t warren_noise_version(const struct warren_noise *noise);
const uint8_t *warren_noise_peer(const struct warren_noise *noise);	/* proven static key */
const uint8_t *warren_noise_hash(const struct warren_noise *noise);	/* of the handshake */

/*
 * Seals @len (at most WARREN_NOISE_PLAIN) bytes to one record of @len + WARREN_NOISE_OVERHEAD bytes
 * at @out. -EINVAL: too long or not open; -EOVERFLOW: the counter is used up.
 */
int warren_noise_seal(struct warren_noise *noise, const void *plain, size_t len, uint8_t *out);
/*
 * Opens the record at the front of @data. Returns its length on the wire, with the plaintext (it
 * may be empty) at @out, which has WARREN_NOISE_PLAIN bytes; 0: it is not there as a whole;
 * -EBADMSG with a sentence: forged or malformed, now and at every later call.
 */
int warren_noise_open(struct warren_noise *noise, const uint8_t *data, size_t len, uint8_t *out,
		      size_t *plain_len, struct warren_err *err);

/*
 * The session as a layer on a stream. Client: @noise made the first message, which is sent already
 * (in the upgrade); the layer reads the answer, for which there are 15 s, and is closed or has its
 * callbacks set in @done, as with TLS. Takes @below and @noise in any case; NULL: no memory.
 *
 * A server's early payload (section 3.6) is taken out of the stream, at most 64 KiB of it.
 */
typedef void warren_noise_fn(struct warren_stream *stream, int result, const char *why, void *arg);
struct warren_stream *warren_noise_connect_take(struct warren_stream *below,
						struct warren_noise *noise, warren_noise_fn *done,
						void *arg);
/*
 * Server: answers the first message, and sends @early (JSON, below 1024 bytes for all clients'
 * sake; NULL: none). The stream is open at once. Takes @below in any case; NULL with a sentence.
 */
struct warren_stream *warren_noise_accept_take(struct warren_stream *below,
					       const struct warren_noise_key *self,
					       const uint8_t *init, size_t len, const char *early,
					       struct warren_err *err);
/* To ask for the peer, version and hash; NULL: @stream is none of these. */
const struct warren_noise *warren_noise_session(const struct warren_stream *stream);
/* The challenge of the early payload, once it has come. False: none. */
bool warren_noise_challenge(const struct warren_stream *stream, uint8_t out[32]);

/*
 * ---- The one way out ----
 *
 * Resolves @name (upstream resolvers only, never ourselves; a cache that outlives DNS), races
 * address families (RFC 8305), gets marked sockets from the monitor, adds TLS if wanted.
 *
 * Via the uplink a plugin needs WARREN_PRIVOP(SOCKET) in its `privops`; without it the dial fails.
 * Only a process that has no monitor at all, as in unit tests, dials with a socket of its own. The
 * proxy's environment is the daemon's HTTPS_PROXY or ALL_PROXY, and NO_PROXY; it is used by CONNECT
 * for whatever port, and gets the name to resolve. Of its user and password (RFC 7617) no sentence
 * tells anything.
 */
enum { WARREN_VIA_UPLINK = 0, WARREN_VIA_TAILNET = 1 };
enum {
	WARREN_DIAL_NO_PROXY = 1u << 0,
	WARREN_DIAL_NO_IPV4 = 1u << 1,	/* of what @name resolves to; a proxy does as it likes */
	WARREN_DIAL_NO_IPV6 = 1u << 2,
};
struct warren_dial_options {
	uint32_t size, flags;
	const char *name;		/* host name or address */
	uint16_t port;
	uint32_t via;
	uint64_t timeout;		/* microseconds for the whole; 0: 10 s */
	const struct warren_addr *addresses;	/* instead of resolving; the name stays for TLS */
	uint32_t n_addresses;
	const struct warren_tls_client *tls;	/* NULL: none */
	/*
	 * http:// or https:// (TLS to the proxy itself), [USER:PASSWORD@]HOST:PORT, user and
	 * password percent-encoded; NULL: from the environment or none.
	 */
	const char *proxy;
	const char *proxy_auth;		/* "user:password" for @proxy; NULL: as its URL says */
	const char *proxy_ca_file;	/* PEM, for https:// proxies; NULL: the system's */
	struct warren_addr proxy_address;	/* of the proxy, instead of resolving its name */
};
/* @stream, or NULL and a sentence. Called from the loop, once; @stream is the callee's. */
typedef void warren_stream_fn(struct warren_ctx *ctx, struct warren_stream *stream,
			      const char *why, void *arg);
struct warren_dial;
/*
 * Copies @options (16 addresses at most). NULL: no memory, or a text that is far too long. @done is
 * called later, once; not when the context ends before.
 */
struct warren_dial *warren_dial(struct warren_ctx *ctx, const struct warren_dial_options *options,
				warren_stream_fn *done, void *arg);
void warren_dial_cancel(struct warren_dial *dial);	/* @done is not called */
/*
 * In `start`: the addresses by which the plugin's dials reach names are kept in its state folder
 * from now on (document "addresses", 16 names), and those of before are used where the resolver has
 * no answer. A document that cannot be used is warned of, and made anew with the next connection.
 * -ENOMEM with a sentence.
 */
int warren_dial_remember(struct warren_ctx *ctx, struct warren_err *err);

/*
 * ---- Listening ----
 *
 * A TCP socket of the monitor's (WARREN_PRIVOP(SOCKET) in the plugin's `privops`). Connections of
 * all addresses that are open, in whosever hands, count against the limit; what is above it waits
 * in the kernel's queue.
 */
struct warren_listener;
enum { WARREN_LISTEN_KEEP = 1u << 0 };	/* outlives the engine's crash: WARREN_SOCK_KEEP */
struct warren_listen_options {
	uint32_t size, flags;
	const char *key;		/* where the port stands in YAML: "front.https-port" */
	uint32_t index;			/* element, where the value is a list */
	struct warren_addrport at;	/* family 0 or [::]: every address of both families */
	uint32_t connections;		/* 0: 1024 */
};
/* From the loop; @stream is the callee's, on the listener's context. */
typedef void warren_accept_fn(struct warren_ctx *ctx, struct warren_stream *stream, void *arg);
/* In `start` and `reload` only; copies @options. 0, or -errno with a sentence. */
int warren_listen_wait(struct warren_ctx *ctx, const struct warren_listen_options *options,
		       warren_accept_fn *fn, void *arg, struct warren_listener **out,
		       struct warren_err *err);
uint16_t warren_listener_port(const struct warren_listener *listener);
uint32_t warren_listener_open(const struct warren_listener *listener);	/* connections now */
/* Those above it stay; 0: 1024. */
void warren_listener_limit(struct warren_listener *listener, uint32_t connections);
/* No more are accepted; those that are open go on. NULL is allowed. */
void warren_listener_close(struct warren_listener *listener);

/*
 * ---- URLs: http and https, without user and fragment ----
 */
struct warren_url {
	char scheme[8];			/* lower case */
	char host[256];			/* lower case, an IPv6 address without brackets */
	uint16_t port;			/* the scheme's when none is given */
	bool port_given;
	char path[2048];		/* with the query, at least "/" */
};
/* 0, or -EINVAL with a sentence that does not repeat the URL. Any thread. */
int warren_url_parse(const char *text, struct warren_url *out, struct warren_err *err);

/*
 * For options named `proxy`, with `proxy-auth` beside them: a `check` that takes the address of a
 * proxy and nothing else. What the proxy passes on is encrypted and proven end to end.
 */
int warren_proxy_check(const struct warren_conf *at, struct warren_err *err);
/* USER:PASSWORD of `proxy-auth`, for the caller to wipe; NULL: none, or one that no proxy takes. */
enum { WARREN_PROXY_AUTH = 512 };
const char *warren_proxy_auth(const struct warren_conf *conf, char out[WARREN_PROXY_AUTH]);

/*
 * The authorities of an option `ca-file`, a WARREN_PATH to read: open for as long as connections
 * are verified by it. All zero: none, those of the system count.
 */
struct warren_ca_file {
	int fd;
	char path[32];			/* by which it can be opened again; "": none */
};
/* Inside `start` and `reload`. @out is written in any case. 0, or -errno with a sentence. */
int warren_ca_file_open_wait(struct warren_ctx *ctx, const struct warren_conf *conf,
			     struct warren_ca_file *out, struct warren_err *err);
const char *warren_ca_file_path(const struct warren_ca_file *ca);	/* or NULL */
void warren_ca_file_close(struct warren_ca_file *ca);

/*
 * ---- HTTP messages ----
 */
enum { WARREN_HTTP_FIELDS = 128, WARREN_HTTP_HEAD_MAX = 64 << 10 };	/* of a head */
struct warren_http_field {
	const char *name, *value;	/* name in lower case when received */
};
struct warren_http_head {
	uint32_t size;
	const char *method, *scheme, *authority, *path;	/* of a request; path with query */
	int status;			/* of a response */
	const struct warren_http_field *fields;
	uint32_t n_fields;
	int64_t length;			/* of the body; -1: until its end is told */
};
/* The value of the first field of that name (lower case), or NULL. Any thread. */
const char *warren_http_field(const struct warren_http_head *head, const char *name);
/* A date in one of the three forms of RFC 9110 5.6.7; @out: seconds since 1970. Any thread. */
bool warren_http_date(const char *text, int64_t *out);
/*
 * Retry-After: seconds or a date (RFC 9110 10.2.3) to microseconds from @now (seconds since 1970),
 * at most @most; 0: neither, or in the past. Any thread.
 */
uint64_t warren_http_retry_after(const char *text, int64_t now, uint64_t most);

/*
 * An exchange: one request and its response. Both sides use the same object: the client sends the
 * request and receives the response, the server the other way round.
 *
 * It lives until both messages are complete: the other side's with `complete`, ours with
 * warren_exchange_end(), or with its head if that says length 0. A client's is over with `complete`
 * in any case: a server that answers before the request was sent wants no more of it. It is gone
 * after `failed`, cancelling and an upgrade as well. What is NULL here nobody wants to know.
 */
struct warren_exchange;
struct warren_exchange_events {		/* each may be NULL: it is not told, a body is dropped */
	uint32_t size;
	/* The other side's head; lives for the call. Client: not for 1xx but 101. */
	void (*head)(struct warren_exchange *x, const struct warren_http_head *head, void *arg);
	/* A piece of the body. 0, or WARREN_PENDING: paused until warren_exchange_resume(). */
	int (*body)(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg);
	/* The other side's message is complete. */
	void (*complete)(struct warren_exchange *x, void *arg);
	/* Our output fell to the low mark. */
	void (*drained)(struct warren_exchange *x, void *arg);
	/* Over before both messages were: -errno and a sentence. Freed after this. */
	void (*failed)(struct warren_exchange *x, int result, const char *why, void *arg);
};
void warren_exchange_set(struct warren_exchange *x, const struct warren_exchange_events *events,
			 void *arg);
/*
 * Server: the response's head; client: at warren_http_request(). Unless its length is 0, the end
 * follows, also when the body is there or is not sent (HEAD, 204, 304).
 */
int warren_exchange_head(struct warren_exchange *x, const struct warren_http_head *head);
int warren_exchange_write(struct warren_exchange *x, const void *data, size_t len);
int warren_exchange_end(struct warren_exchange *x);
/* Head, body and end at once; for errors: text/plain. */
int warren_exchange_reply(struct warren_exchange *x, int status, const char *type,
			  const void *body, size_t len);
/* What still comes of the body nobody wants: it cancels. Nothing is told any more. */
void warren_exchange_let_go(struct warren_exchange *x);
/* Let go of it with that answer; `say`: a line of text. What cannot be sent is cancelled. */
void warren_exchange_answer(struct warren_exchange *x, int status, const char *type,
			    const void *body, size_t len);
void warren_exchange_say(struct warren_exchange *x, int status, const char *words);
/* To the same place over TLS at @port (308); an authority is wanted for that. */
int warren_exchange_to_https(struct warren_exchange *x, const struct warren_http_head *head,
			     uint16_t port);
size_t warren_exchange_pending(const struct warren_exchange *x);
void warren_exchange_resume(struct warren_exchange *x);
void warren_exchange_cancel(struct warren_exchange *x);
/*
 * HTTP/1.1: after a 101 (client: inside `head`; server: sends it with @fields) the connection's
 * stream, with what was read behind the head as input; the exchange is gone. Server, @fields NULL:
 * no answer is sent, the other protocol begins at once.
 */
struct warren_stream *warren_exchange_upgrade(struct warren_exchange *x,
					      const struct warren_http_field *fields, uint32_t n);
const struct warren_stream *warren_exchange_stream(const struct warren_exchange *x);

/*
 * WebSocket (RFC 6455), server. Does @head ask for one with subprotocol @protocol? If so, `accept`
 * answers; the stream's bytes are those of binary messages, which may be cut in any way, and its
 * end a close. Other messages end it. NULL: it was refused and answered, or there is no memory.
 */
bool warren_websocket_asked(const struct warren_http_head *head, const char *protocol);
struct warren_stream *warren_websocket_accept(struct warren_exchange *x,
					      const struct warren_http_head *head,
					      const char *protocol);

/* A connection of either version over any stream, either side. */
struct warren_http;
enum { WARREN_HTTP_1 = 1, WARREN_HTTP_2 = 2 };
struct warren_http_options {
	uint32_t size, version;
	uint64_t head_timeout, idle_timeout;	/* 0: 30 s; 0: 120 s, UINT64_MAX: none */
	int64_t body_max;		/* received; 0: 16 MiB, -1: none */
	uint32_t streams_max;		/* HTTP/2, of the other side; 0: 128 */
};
struct warren_http_events {
	uint32_t size;
	/*
	 * Server: a request begins; set the exchange's callbacks, then its `head` follows. NULL:
	 * they are those of `exchange`, with the connection's argument.
	 */
	void (*request)(struct warren_http *http, struct warren_exchange *x, void *arg);
	/*
	 * No exchange is left and none can follow; @why NULL: in order. Close it. Told to a server
	 * after an upgrade as well.
	 */
	void (*ended)(struct warren_http *http, int result, const char *why, void *arg);
	const struct warren_exchange_events *exchange;
};
struct warren_http *warren_http_client_take(struct warren_stream *stream,
					    const struct warren_http_options *options,
					    const struct warren_http_events *events, void *arg);
struct warren_http *warren_http_server_take(struct warren_stream *stream,
					    const struct warren_http_options *options,
					    const struct warren_http_events *events, void *arg);
/*
 * Client: begins an exchange; @head->length -1 with a body that follows by write and end, 0 none.
 * HTTP/1.1 does one at a time: -EBUSY. NULL events inside @events are allowed but `failed`.
 */
struct warren_exchange *warren_http_request(struct warren_http *http,
					    const struct warren_http_head *head,
					    const struct warren_exchange_events *events, void *arg);
/* HTTP/2: a ping; @done within @usec or the connection ends with -ETIMEDOUT. */
int warren_http_ping(struct warren_http *http, uint64_t usec);
/* Its exchanges go without a word: no event of theirs is called any more. NULL is allowed. */
void warren_http_close(struct warren_http *http);
/* The same, but they are told: `failed`, with @result, -errno, and @why. */
void warren_http_abort(struct warren_http *http, int result, const char *why);

/*
 * One request to a URL with all that it takes (dial, TLS, version by ALPN, one redirect chain of
 * @redirects); the body is collected up to @limit bytes, and more is an error.
 *
 * No redirect leads from https to http. To another scheme, host or port go neither the request's
 * body nor its fields but accept, accept-language, content-type and user-agent.
 */
enum { WARREN_FETCH_NO_PROXY = 1u << 0 };	/* for a host of the local network */
struct warren_fetch_options {
	uint32_t size, flags;
	const char *method, *url;
	const struct warren_http_field *fields;
	uint32_t n_fields;
	const void *body;
	size_t body_len, limit;		/* limit 0: 1 MiB */
	uint64_t timeout;		/* 0: 30 s */
	uint32_t redirects;		/* 0: a redirect is an answer as any other */
	const struct warren_tls_client *tls;	/* further settings; server_name is the URL's */
	const char *proxy, *proxy_auth, *proxy_ca_file;	/* as in warren_dial_options */
};
/* @status 0: no answer, @why says why. The fetch is gone then. */
typedef void warren_fetch_fn(struct warren_ctx *ctx, int status,
			     const struct warren_http_head *head, const uint8_t *body, size_t len,
			     const char *why, void *arg);
struct warren_fetch;
/* Copies @options. NULL: no memory. @done is called later, once. */
struct warren_fetch *warren_fetch(struct warren_ctx *ctx,
				  const struct warren_fetch_options *options,
				  warren_fetch_fn *done, void *arg);
void warren_fetch_cancel(struct warren_fetch *fetch);	/* @done is not called */

/*
 * ---- A JSON document in pieces ----
 *
 * Cuts a document that is an object into its members, and the members named in `split` further, so
 * that the whole is never in memory. The cutter follows strings and brackets; that each piece is
 * JSON is for jansson to say, which gets the piece. One thread at a time.
 */
enum warren_json_kind {
	WARREN_JSON_MEMBER = 1,		/* of the document; a member of `split` that is a scalar */
	WARREN_JSON_BEGIN,		/* a member to split begins: @text is "[" or "{" */
	WARREN_JSON_ELEMENT,		/* of it; @name of an object's member, else NULL */
	WARREN_JSON_END,		/* of it */
	WARREN_JSON_LIST,		/* in one of `deep` an array begins, which is @name */
	WARREN_JSON_ITEM,		/* an element of that array; @name is the array's */
	WARREN_JSON_LIST_END,		/* of that array */
};
struct warren_json_piece {
	uint32_t size;
	enum warren_json_kind kind;
	const char *key;		/* of the document's member, unescaped */
	const char *name;
	const char *text;		/* the value, without white space around it; no NUL after */
	size_t len;
};
/* Lives for the call. Return 0 to go on; anything else ends warren_json_feed() with that value. */
typedef int warren_json_fn(void *arg, const struct warren_json_piece *piece);
struct warren_json_options {
	uint32_t size;
	const char *const *split;	/* NULL-terminated; kept, not copied */
	const char *const *deep;	/* those of `split` whose arrays are split too; or NULL */
	size_t piece_max;		/* bytes of one piece; 0: 1 MiB */
	uint64_t total_max;		/* bytes of the document; 0: 64 MiB */
	uint32_t depth_max;		/* brackets in brackets; 0: 64 */
	uint32_t keys_max;		/* members of the document; 0: 256 */
	uint32_t elements_max;		/* of all split members together; 0: 1 million */
};
struct warren_json;
/* Copies @options. NULL: no memory. */
struct warren_json *warren_json_new(const struct warren_json_options *options, warren_json_fn *fn,
				    void *arg);
/*
 * The next bytes, in portions of any size. -EBADMSG: no JSON; -EMSGSIZE: a limit; -ENOMEM; each
 * with a sentence, or what the callback returned. The cutter has failed then, and
 * answers -EBADMSG from there on. A key of the document that comes twice is an error; of a split
 * object it is not noticed.
 */
int warren_json_feed(struct warren_json *json, const void *data, size_t len,
		     struct warren_err *err);
/* The document must end here. */
int warren_json_finish(struct warren_json *json, struct warren_err *err);
void warren_json_free(struct warren_json *json);	/* NULL is allowed */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
