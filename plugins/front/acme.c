/*
 * Certificates of an authority, for the names of this listener. What is ordered when, and kept, is
 * the toolkit's (warren/acme.h).
 */
#include "acme.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"
#include "reach.h"

static const char well_known[] = "/.well-known/acme-challenge/";
static const char *const challenge_alpn[] = { "acme-tls/1", NULL };

struct front_acme {
	struct front *front;
	struct warren_acme_keeper *keeper;
	struct warren_tls_server *challenge_tls;
	char challenge_name[256], token[128], answer[256];
};

/* ---- names and pairs ---- */

static void want(const char *name, void *arg)
{
	struct front_acme *acme = arg;

	warren_acme_keeper_want(acme->keeper, name);
}

void front_acme_names(struct front_acme *acme)
{
	if (!acme)
		return;
	warren_acme_keeper_mark(acme->keeper);
	front_each_name(acme->front, want, acme);
	warren_acme_keeper_sweep(acme->keeper);
}

/* A plugin may have gone with its names. */
static void look(void *arg)
{
	front_acme_names(arg);
}

static int take(void *arg, const char *name, const struct warren_acme_cert *cert, bool fresh,
		struct warren_err *err)
{
	struct front_acme *acme = arg;
	const struct front_cert *mine = front_cert_find(acme->front, name);
	bool first = !mine || strcmp(mine->name, name) != 0;
	int result = front_cert_set(acme->front, name, cert->chain_pem, cert->key_pem,
				    cert->key_len, err);

	if (result || !fresh)
		return result;
	front_cert_drop(acme->front, "");	/* of another way, before */
	if (first)
		front_reach_again(acme->front->reach);
	return 0;
}

/* ---- challenges ---- */

static int present(struct warren_acme *order, const struct warren_acme_challenge *challenge,
		   void *arg)
{
	struct front_acme *acme = arg;
	char *pair;
	size_t len;

	(void)order;
	if (challenge->way == WARREN_ACME_HTTP_01) {
		if (!acme->front->http)
			return -EOPNOTSUPP;
		return str_copy(acme->token, sizeof(acme->token), challenge->token) &&
		       str_copy(acme->answer, sizeof(acme->answer), challenge->answer) ?
		       0 : -EMSGSIZE;
	}
	pair = warren_acme_alpn_pair(challenge, &len);
	if (!pair || !str_copy(acme->challenge_name, sizeof(acme->challenge_name),
			       challenge->name)) {
		free(pair);
		return -ENOMEM;
	}
	acme->challenge_tls = warren_tls_server_new(pair, (const uint8_t *)pair, len,
						    challenge_alpn, NULL);
	sodium_memzero(pair, len);
	free(pair);
	return acme->challenge_tls ? 0 : -ENOMEM;
}

static void withdraw(struct warren_acme *order, const struct warren_acme_challenge *challenge,
		     void *arg)
{
	struct front_acme *acme = arg;

	(void)order;
	(void)challenge;
	warren_tls_server_free(acme->challenge_tls);
	acme->challenge_tls = NULL;
	acme->challenge_name[0] = acme->token[0] = acme->answer[0] = '\0';
}

/* ---- what the authority asks us ---- */

struct warren_tls_server *front_acme_tls(const struct front_acme *acme, const char *server_name)
{
	return acme && acme->challenge_tls && strcmp(acme->challenge_name, server_name) == 0 ?
	       acme->challenge_tls : NULL;
}

bool front_acme_http(const struct front_acme *acme, struct warren_exchange *x, const char *path)
{
	if (!acme || !acme->token[0] || !str_starts(path, well_known) ||
	    strcmp(path + sizeof(well_known) - 1, acme->token) != 0)
		return false;
	warren_exchange_reply(x, 200, "application/octet-stream", acme->answer,
			      strlen(acme->answer));
	return true;
}

/* ---- begin, end, state ---- */

static const struct warren_acme_keeper_events keeper_events = {
	.size = sizeof(keeper_events), .present = present, .withdraw = withdraw, .take = take,
	.look = look,
};

int front_acme_new(struct front *front, const struct warren_acme_options *options,
		   struct front_acme **out, struct warren_err *err)
{
	static const enum warren_acme_way ways[] = { WARREN_ACME_TLS_ALPN_01,
						     WARREN_ACME_HTTP_01 };
	struct warren_acme_options wanted = *options;
	struct front_acme *acme = calloc(1, sizeof(*acme));
	int result;

	if (!acme)
		return -ENOMEM;
	acme->front = front;
	wanted.ways = ways;
	wanted.n_ways = ARRAY_SIZE(ways);
	result = warren_acme_keeper_new(front->ctx, &wanted, &keeper_events, acme, &acme->keeper,
					err);
	if (result) {
		front_acme_free(acme);
		return result;
	}
	front_acme_names(acme);
	*out = acme;
	return 0;
}

void front_acme_free(struct front_acme *acme)
{
	if (!acme)
		return;
	warren_acme_keeper_free(acme->keeper);
	warren_tls_server_free(acme->challenge_tls);
	free(acme);
}

uint32_t front_acme_again(struct front_acme *acme, const char *name)
{
	return warren_acme_keeper_again(acme->keeper, name);
}

struct each {
	void (*fn)(const struct front_acme_state *state, void *arg);
	void *arg;
};

static void tell(const struct warren_acme_state *of, void *arg)
{
	const struct each *each = arg;
	const struct front_acme_state state = {
		.name = of->name, .why = of->why, .again = of->due, .has_cert = of->not_after != 0,
	};

	if (!state.has_cert || of->failures)
		each->fn(&state, each->arg);
}

void front_acme_each(const struct front_acme *acme,
		     void (*fn)(const struct front_acme_state *state, void *arg), void *arg)
{
	struct each each = { fn, arg };

	warren_acme_keeper_each(acme->keeper, tell, &each);
}

bool front_acme_skew(const struct front_acme *acme, int64_t *seconds)
{
	return warren_acme_keeper_skew(acme->keeper, seconds);
}
