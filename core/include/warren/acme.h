/*
 * warren/acme.h - certificates from an authority: ACME (RFC 8555), proven by tls-alpn-01 (RFC
 * 8737), http-01 or dns-01 (RFC 8555 8.3, 8.4)
 *
 * Lives in libwarren-net. An object is one order: from the account to the certificate. All of it on
 * the lane of its context; callbacks come from the loop, never from inside a call.
 */
#ifndef WARREN_ACME_H
#define WARREN_ACME_H

#include <warren/net.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum warren_acme_way {
	WARREN_ACME_TLS_ALPN_01 = 1, WARREN_ACME_HTTP_01, WARREN_ACME_DNS_01,
};
enum { WARREN_ACME_NAMES = 16, WARREN_ACME_WAYS = 3, WARREN_ACME_BINDING = 256 };

struct warren_acme_challenge {		/* lives until `withdraw` */
	uint32_t size;
	enum warren_acme_way way;
	const char *name;		/* what is to be proven; a wildcard's without "*." */
	const char *token;		/* http-01: the last part of the path */
	const char *answer;		/* http-01: the body; dns-01: the TXT record; else NULL */
	uint8_t digest[32];		/* tls-alpn-01: for the certificate's extension */
};

struct warren_acme_cert {		/* lives for the call */
	uint32_t size;
	const char *chain_pem;		/* its own certificate first */
	const uint8_t *key_pem;
	size_t key_len;
};

struct warren_acme;
struct warren_acme_events {
	uint32_t size;
	/*
	 * Show the authority the answer of @challenge. 0: it can be seen now; WARREN_PENDING:
	 * warren_acme_presented() follows; -errno: it cannot be shown in this way.
	 */
	int (*present)(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
		       void *arg);
	/* It need not be seen any more; for each one that `present` was called with. */
	void (*withdraw)(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
			 void *arg);
	/*
	 * Once. @cert, or NULL and a sentence; @retry_after: microseconds that the authority wants
	 * to be left alone for, 0: it did not say. Free @acme, here or later.
	 */
	void (*done)(struct warren_acme *acme, const struct warren_acme_cert *cert,
		     const char *why, uint64_t retry_after, void *arg);
};

struct warren_acme_options {
	uint32_t size;
	const char *directory;		/* https URL */
	const char *contact;		/* e-mail address; NULL: none */
	const char *ca_pem;		/* who vouches for its server; NULL: the system's */
	const uint8_t *account_pem;	/* of warren_acme_account_new() */
	size_t account_len;
	const char *const *names;	/* DNS names, lower case; one certificate for all of them */
	uint32_t n_names;
	/* In the order to try them: after one was refused the order begins again with the next. */
	const enum warren_acme_way *ways;
	uint32_t n_ways;
	uint64_t timeout;		/* microseconds for the whole; 0: 5 minutes */
	/* An account of its own that the authority knows us by (RFC 8555 7.3.4); NULL: none. */
	const char *binding_id;
	const uint8_t *binding_key;	/* for HMAC-SHA256; WARREN_ACME_BINDING bytes at most */
	size_t binding_len;
};

/* A new account's key (P-256) in PEM, for free() after it was wiped. NULL: no memory. */
uint8_t *warren_acme_account_new(size_t *len);
/*
 * Copies @options. Using it is agreeing to the authority's terms of service, whose URL is logged
 * at level info. NULL with a sentence.
 */
struct warren_acme *warren_acme_new(struct warren_ctx *ctx,
				    const struct warren_acme_options *options,
				    const struct warren_acme_events *events, void *arg,
				    struct warren_err *err);
void warren_acme_presented(struct warren_acme *acme, int result);
/*
 * How far our clock is ahead of the authority's, in seconds, by its last answer; false: it has not
 * answered yet.
 */
bool warren_acme_skew(const struct warren_acme *acme, int64_t *seconds);
void warren_acme_free(struct warren_acme *acme);	/* withdraws; `done` is not called; NULL */

/*
 * For tls-alpn-01: the certificate that is shown to who asks for acme-tls/1, and its key, as one
 * PEM text (for free()), @len without its NUL. NULL: no memory.
 */
char *warren_acme_alpn_pair(const struct warren_acme_challenge *challenge, size_t *len);

/*
 * ---- Certificates that are kept: ordered, stored, renewed ----
 *
 * One order at a time. Account and pairs are in the plugin's state folder: account.pem,
 * cert-NAME.pem, and acme.json, which says whose they are. A pair is renewed a third of its
 * lifetime before its end, and serves until then; what fails is tried again, later each time.
 */
struct warren_acme_keeper;
struct warren_acme_keeper_events {
	uint32_t size;
	/* As in struct warren_acme_events. */
	int (*present)(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
		       void *arg);
	void (*withdraw)(struct warren_acme *acme, const struct warren_acme_challenge *challenge,
			 void *arg);
	/*
	 * There is a pair for @name: one that was stored (@fresh false; inside _new()), or one
	 * that was ordered. 0, or -errno with a sentence: it is of no use, and is ordered anew.
	 */
	int (*take)(void *arg, const char *name, const struct warren_acme_cert *cert, bool fresh,
		    struct warren_err *err);
	void (*look)(void *arg);	/* before it looks what is due; may be NULL */
	void (*changed)(void *arg);	/* an order is over; may be NULL */
};
/*
 * Copies @options, whose account and names are not looked at. `start` and `reload` only; 0, or
 * -errno with a sentence.
 */
int warren_acme_keeper_new(struct warren_ctx *ctx, const struct warren_acme_options *options,
			   const struct warren_acme_keeper_events *events, void *arg,
			   struct warren_acme_keeper **out, struct warren_err *err);
void warren_acme_keeper_free(struct warren_acme_keeper *keeper);	/* NULL is allowed */
/* The names: those that were wanted between _mark() and _sweep(), 64 at most, in any case. */
void warren_acme_keeper_mark(struct warren_acme_keeper *keeper);
void warren_acme_keeper_want(struct warren_acme_keeper *keeper, const char *name);
void warren_acme_keeper_sweep(struct warren_acme_keeper *keeper);
/* Tries @name again now, NULL: all that are due or have failed. Returns how many. */
uint32_t warren_acme_keeper_again(struct warren_acme_keeper *keeper, const char *name);
struct warren_acme_state {		/* of a name that is wanted */
	uint32_t size;
	const char *name, *why;		/* @why "": no failure since the last pair */
	int64_t due;			/* seconds since 1970: the next order */
	int64_t not_after;		/* of the pair; 0: there is none */
	uint32_t failures;		/* since then */
	bool ordering;			/* at this moment */
};
void warren_acme_keeper_each(const struct warren_acme_keeper *keeper,
			     void (*fn)(const struct warren_acme_state *state, void *arg),
			     void *arg);
/* How far our clock is ahead of the authority's, seconds; false: not known. */
bool warren_acme_keeper_skew(const struct warren_acme_keeper *keeper, int64_t *seconds);
/* A name that an authority can certify: letters, digits, hyphens and dots, no address. */
bool warren_acme_can(const char *name);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
