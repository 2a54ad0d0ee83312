/*
 * front/front.h - what the files of this plugin share
 *
 * A connection is a `struct conn` until its stream went to somebody else or its HTTP is over. All
 * on the plugin's lane.
 */
#ifndef WARREN_FRONT_H
#define WARREN_FRONT_H

#include <warren/derp.h>
#include <warren/service/front.h>

#include "base/list.h"

struct front_acme;
struct front_reach;
struct hello;

struct front_stats {
	struct warren_stat *connections, *open, *requests, *refused_tls, *refused_path;
};

enum front_tls { FRONT_SELF_SIGNED, FRONT_FILES, FRONT_ACME };	/* where certificates come from */

struct front {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	struct warren_listener *https, *http;
	struct list conns;
	struct list routes, raws, names;
	struct list certs;
	char *marker;			/* of a relay (PEM), at the end of every chain; or NULL */
	struct warren_ctx *marker_of;
	bool own_is_new;		/* the self-signed one; nobody has been told it yet, */
	struct warren_timer *settled;	/* until this fires at the latest */
	struct front_acme *acme;	/* NULL: certificates come from elsewhere */
	struct front_reach *reach;
	struct front_stats stats;
	struct warren_limit tls_limit;
};

enum front_tls front_tls(const struct warren_conf *conf);	/* plugin.c */

/* ---- show.c ---- */

bool front_check_certificate(struct warren_ctx *ctx, struct warren_check_result *result);
bool front_check_acme(struct warren_ctx *ctx, struct warren_check_result *result);
bool front_check_clock(struct warren_ctx *ctx, struct warren_check_result *result);
bool front_check_reach(struct warren_ctx *ctx, struct warren_check_result *result);
void front_status(struct warren_ctx *ctx, struct warren_reply *reply);

/* ---- conn.c ---- */

void front_accept_tls(struct warren_ctx *ctx, struct warren_stream *stream, void *front);
void front_accept_plain(struct warren_ctx *ctx, struct warren_stream *stream, void *front);
void front_close_all(struct front *front);
/* The exchange's connection is ours and came over TLS. */
bool front_secure(void *front, const struct warren_exchange *x);

/* ---- route.c: what others registered ---- */

int front_route(void *front, struct warren_ctx *ctx, const struct warren_front_route *route,
		struct warren_err *err);
int front_raw(void *front, struct warren_ctx *ctx, const struct warren_front_raw *raw,
	      struct warren_err *err);
int front_name(void *front, struct warren_ctx *ctx, const char *name, struct warren_err *err);
const struct warren_front_route *front_route_find(const struct front *front,
						  const char *authority, const char *path);
const struct warren_front_raw *front_raw_find(const struct front *front,
					      const struct hello *hello);
void front_routes_free(struct front *front);
/* Calls @fn for each name of the configuration and of others, once each. */
void front_each_name(const struct front *front, void (*fn)(const char *name, void *arg),
		     void *arg);

/* ---- certs.c: which certificate answers ---- */

struct front_cert {
	struct list link;
	char name[256];			/* empty: for all that have none of their own */
	struct warren_tls_server *tls;
	struct warren_cert_facts facts;
};

/*
 * Puts the pair in force for @name, instead of the one before; its connections go on. 0, or -errno
 * with a sentence and the old one still answers.
 */
int front_cert_set(struct front *front, const char *name, const char *cert_pem,
		   const uint8_t *key_pem, size_t key_len, struct warren_err *err);
const struct front_cert *front_cert_find(const struct front *front, const char *server_name);
/* Of @name no longer; its connections go on. */
void front_cert_drop(struct front *front, const char *name);
void front_certs_drop_named(struct front *front);	/* all but the one for any name */
void front_certs_free(struct front *front);
/* The pair of tls.cert and tls.key. `start` and `reload` only. */
int front_cert_files(struct front *front, struct warren_err *err);
/* Reads them again when they change. `start` only. */
int front_cert_watch(struct front *front, struct warren_err *err);
/* As text, of a PATH option of @at; for free(). `start` and `reload` only. */
int front_text_file(struct front *front, const struct warren_conf *at, const char *key, char **out,
		    struct warren_err *err);
/* As in the service. */
int front_marker(void *front, struct warren_ctx *ctx, const char *pem, struct warren_err *err);
bool front_pin(void *front, uint8_t sha256[32]);
/* Ours, from the state folder; made at the first start. `start` and `reload` only. */
enum { FRONT_OWN_NAMES = 32 };
int front_cert_self_signed(struct front *front, struct warren_err *err);
void front_cert_own_names(struct front *front);	/* there is another name */

#endif
