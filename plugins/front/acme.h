/*
 * front/acme.h - certificates of an authority, ordered and renewed by themselves
 *
 * Kept as warren/acme.h says. On the plugin's lane.
 */
#ifndef WARREN_FRONT_ACME_H
#define WARREN_FRONT_ACME_H

#include <warren/acme.h>

#include "front.h"

struct front_acme;

/*
 * Reads what is stored, puts it in force and begins to order what is missing. Copies @options,
 * whose account, names and ways are not looked at. `start` and `reload` only; 0, or -errno with a
 * sentence.
 */
int front_acme_new(struct front *front, const struct warren_acme_options *options,
		   struct front_acme **out, struct warren_err *err);
void front_acme_free(struct front_acme *acme);	/* its certificates go on; NULL is allowed */
/* The names may have changed. NULL is allowed. */
void front_acme_names(struct front_acme *acme);
/* Tries @name again now, NULL: all that are due or have failed. Returns how many. */
uint32_t front_acme_again(struct front_acme *acme, const char *name);

/* The answer for somebody who asks for acme-tls/1; NULL: there is none, now or for that name. */
struct warren_tls_server *front_acme_tls(const struct front_acme *acme, const char *server_name);
/* True: @path is a challenge's, and is answered. NULL @acme is allowed. */
bool front_acme_http(const struct front_acme *acme, struct warren_exchange *x, const char *path);

/* A name that has no certificate of the authority, or could not renew it: what is wrong. */
struct front_acme_state {
	const char *name, *why;		/* @why "": the order is under way or waits its turn */
	int64_t again;			/* seconds since 1970 of the next try */
	bool has_cert;
};
void front_acme_each(const struct front_acme *acme,
		     void (*fn)(const struct front_acme_state *state, void *arg), void *arg);
/* How far our clock is ahead of the authority's, seconds; false: not known. */
bool front_acme_skew(const struct front_acme *acme, int64_t *seconds);

#endif
