/*
 * Certificates of an authority: which names want one, when, and what came of it. The protocol is
 * the toolkit's (warren/acme.h).
 */
#include "acme.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include <warren/acme.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "reach.h"

enum { NAMES_MAX = 64, FORMAT = 1, HOUR = 3600, DATE_TEXT = 32 };
static const char index_name[] = "acme.json", account_name[] = "account.pem";
static const char well_known[] = "/.well-known/acme-challenge/";
static const char *const challenge_alpn[] = { "acme-tls/1", NULL };

struct wanted {
	struct list link;
	char name[256];
	int64_t due;			/* seconds since 1970 */
	uint32_t failures;
	bool named;			/* for the sweep of front_acme_names() */
	char why[1024];			/* of the last failure */
};

struct front_acme {
	struct front *front;
	char directory[256], contact[256];
	char binding_id[256];		/* "": none */
	uint8_t binding_key[FRONT_BINDING];
	size_t binding_len;
	char *ca_pem;
	uint8_t *account;
	size_t account_len;
	struct list names;
	uint32_t n_names;
	struct warren_timer *timer;
	struct warren_acme *order;	/* of @current */
	struct wanted *current;
	struct warren_tls_server *challenge_tls;
	char challenge_name[256], token[128], answer[256];
	bool has_skew;
	int64_t skew;
};

static int64_t now_seconds(void)
{
	return warren_realtime() / 1000000;
}

bool front_acme_can(const char *name)
{
	struct warren_addr addr;

	return strchr(name, '.') && addr_parse(name, &addr) != 0 && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
	       strlen(name);
}

/* ---- what is stored ---- */

static void document_of(const char *name, char out[300])
{
	snprintf(out, 300, "cert-%s.pem", name);
}

static void saved(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	if (result)
		warren_log(ctx, LOG_WARNING, "the certificate cannot be stored: %s; it is ordered "
			   "anew after a restart", strerror(-result));
}

static void index_save(struct front_acme *acme)
{
	json_t *list = json_array(), *o;
	const struct wanted *wanted;
	char *text = NULL;

	list_for_each(wanted, &acme->names, link) {
		const struct front_cert *cert = front_cert_find(acme->front, wanted->name);

		if (cert && strcmp(cert->name, wanted->name) == 0)
			json_array_append_new(list, json_string(wanted->name));
	}
	o = json_pack("{s:s,s:o}", "directory", acme->directory, "names", list);
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text || warren_state_write(acme->front->ctx, index_name, 0, FORMAT, text,
					strlen(text), saved, NULL))
		saved(acme->front->ctx, -ENOMEM, NULL);
	free(text);
}

static void pair_save(struct front_acme *acme, const char *name,
		      const struct warren_acme_cert *cert)
{
	size_t chain = strlen(cert->chain_pem), len = chain + cert->key_len;
	uint8_t *both = malloc(len);
	char document[300];
	int result = -ENOMEM;

	document_of(name, document);
	if (both) {
		memcpy(both, cert->key_pem, cert->key_len);
		memcpy(both + cert->key_len, cert->chain_pem, chain);
		result = warren_state_write(acme->front->ctx, document, WARREN_STATE_KEY, FORMAT,
					    both, len, saved, NULL);
		sodium_memzero(both, len);
	}
	free(both);
	if (result)
		saved(acme->front->ctx, result, NULL);
}

/* A pair that cannot be read is ordered anew; the others are none the worse. */
static void pair_load(struct front_acme *acme, const char *name)
{
	struct warren_ctx *ctx = acme->front->ctx;
	struct warren_err err = ERR_INIT;
	char document[300], *text;
	void *data = NULL;
	size_t len = 0;
	int result;

	document_of(name, document);
	result = warren_state_read(ctx, document, WARREN_STATE_KEY, FORMAT, &data, &len, &err);
	text = result ? NULL : strndup(data, len);
	if (text)
		result = front_cert_set(acme->front, name, text, data, len, &err);
	if (result)
		warren_log(ctx, LOG_WARNING, "the certificate of %s is ordered anew: %s", name,
			   result == -ENOENT ? "its file is gone" : err_first(&err));
	if (text)
		sodium_memzero(text, len);
	free(text);
	warren_release(data);
	err_free(&err);
}

/* Sets *@same to whether it was this authority's. */
static int index_load(struct front_acme *acme, bool *same, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0, i;
	json_t *o, *name;
	const char *directory;
	int result = warren_state_read(acme->front->ctx, index_name, 0, FORMAT, &data, &len, err);

	*same = false;
	if (result)
		return result == -ENOENT ? 0 : result;
	o = json_loadb(data, len, 0, NULL);
	warren_release(data);
	directory = json_string_value(json_object_get(o, "directory"));
	if (!directory || !json_is_array(json_object_get(o, "names"))) {
		json_decref(o);
		return warren_fail(err, NULL, "%s in the state folder of this plugin is damaged: "
				   "remove it to order the certificates anew", index_name);
	}
	*same = strcmp(directory, acme->directory) == 0;
	json_array_foreach(json_object_get(o, "names"), i, name) {
		const char *text = json_string_value(name);

		if (text && front_acme_can(text) && strlen(text) < sizeof(acme->challenge_name))
			pair_load(acme, text);
	}
	json_decref(o);
	return 0;
}

static int account_load(struct front_acme *acme, struct warren_err *err)
{
	struct warren_ctx *ctx = acme->front->ctx;
	void *data = NULL;
	int result = warren_state_read(ctx, account_name, WARREN_STATE_KEY, FORMAT, &data,
				       &acme->account_len, err);

	if (result && result != -ENOENT)
		return result;
	if (result)
		acme->account = warren_acme_account_new(&acme->account_len);
	else if ((acme->account = malloc(acme->account_len)))
		memcpy(acme->account, data, acme->account_len);
	warren_release(data);
	if (!acme->account)
		return warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory for the account's key");
	if (!result)
		return 0;
	return warren_state_write(ctx, account_name, WARREN_STATE_KEY, FORMAT, acme->account,
				  acme->account_len, saved, NULL);
}

/* ---- when ---- */

static void schedule(struct front_acme *acme)
{
	const struct wanted *wanted;
	int64_t now = now_seconds(), next = now + HOUR;	/* the clock may be set meanwhile */

	if (acme->order)
		return;
	list_for_each(wanted, &acme->names, link) {
		if (wanted->due < next)
			next = wanted->due;
	}
	warren_timer_set(acme->timer, next > now ? (uint64_t)(next - now) * 1000000 : 0);
}

/* A third of the lifetime before the end, some earlier, so that not all ask at the same time. */
static int64_t renew_at(const struct front_cert *cert)
{
	int64_t life = cert->facts.not_after - cert->facts.not_before;

	return cert->facts.not_after - life / 3 -
	       (int64_t)randombytes_uniform((uint32_t)(life / 60 + 1));
}

static int64_t next_try(uint32_t failures, uint64_t retry_after)
{
	static const uint32_t seconds[] = { 120, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR };
	uint32_t wait = seconds[failures <= ARRAY_SIZE(seconds) ? failures - 1 :
				ARRAY_SIZE(seconds) - 1];

	if (wait < retry_after / 1000000)
		wait = (uint32_t)(retry_after / 1000000);
	return now_seconds() + wait + randombytes_uniform(wait / 10 + 1);
}

static struct wanted *find(const struct front_acme *acme, const char *name)
{
	struct wanted *wanted;

	list_for_each(wanted, &acme->names, link) {
		if (strcmp(wanted->name, name) == 0)
			return wanted;
	}
	return NULL;
}

static const struct front_cert *own_cert(const struct front_acme *acme, const char *name)
{
	const struct front_cert *cert = front_cert_find(acme->front, name);

	return cert && strcmp(cert->name, name) == 0 ? cert : NULL;
}

static void want(const char *text, void *arg)
{
	struct front_acme *acme = arg;
	const struct front_cert *cert;
	struct wanted *wanted;
	char name[256];

	if (!front_acme_can(text) || !str_copy(name, sizeof(name), text))
		return;
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	wanted = find(acme, name);
	if (!wanted) {
		wanted = acme->n_names < NAMES_MAX ? calloc(1, sizeof(*wanted)) : NULL;
		if (!wanted) {
			warren_log(acme->front->ctx, LOG_WARNING, "no certificate is ordered for "
				   "%s: there are %d names already", name, NAMES_MAX);
			return;
		}
		str_copy(wanted->name, sizeof(wanted->name), name);
		cert = own_cert(acme, name);
		wanted->due = cert ? renew_at(cert) : 0;
		list_add_tail(&acme->names, &wanted->link);
		acme->n_names++;
	}
	wanted->named = true;
}

static void forget(struct front_acme *acme, struct wanted *wanted)
{
	if (acme->current == wanted) {
		warren_acme_free(acme->order);
		acme->order = NULL;
		acme->current = NULL;
	}
	list_del(&wanted->link);
	acme->n_names--;
	free(wanted);
}

void front_acme_names(struct front_acme *acme)
{
	struct wanted *wanted, *next;

	if (!acme)
		return;
	list_for_each(wanted, &acme->names, link)
		wanted->named = false;
	front_each_name(acme->front, want, acme);
	list_for_each_safe(wanted, next, &acme->names, link) {
		if (!wanted->named)
			forget(acme, wanted);
	}
	schedule(acme);
}

uint32_t front_acme_again(struct front_acme *acme, const char *name)
{
	struct wanted *wanted;
	uint32_t n = 0;

	list_for_each(wanted, &acme->names, link) {
		bool idle = own_cert(acme, wanted->name) && !wanted->failures;

		if (name ? strcmp(wanted->name, name) != 0 : idle)
			continue;
		wanted->due = 0;
		n++;
	}
	schedule(acme);
	return n;
}

/* ---- an order ---- */

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

static const char *date(int64_t seconds, char out[DATE_TEXT])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, DATE_TEXT, "%Y-%m-%d %H:%M UTC", &tm))
		out[0] = '\0';
	return out;
}

static void failed(struct front_acme *acme, struct wanted *wanted, const char *why,
		   uint64_t retry_after)
{
	char when[DATE_TEXT];

	wanted->failures++;
	wanted->due = next_try(wanted->failures, retry_after);
	snprintf(wanted->why, sizeof(wanted->why), "%s", why);
	warren_log(acme->front->ctx, LOG_WARNING, "no certificate for %s: %s; the next try is at "
		   "%s", wanted->name, why, date(wanted->due, when));
}

static void succeeded(struct front_acme *acme, struct wanted *wanted,
		      const struct warren_acme_cert *cert)
{
	struct warren_err err = ERR_INIT;
	char until[DATE_TEXT];
	const struct front_cert *mine = own_cert(acme, wanted->name);
	bool first = !mine;

	if (front_cert_set(acme->front, wanted->name, cert->chain_pem, cert->key_pem,
			   cert->key_len, &err)) {
		failed(acme, wanted, err_first(&err), 0);
		err_free(&err);
		return;
	}
	mine = own_cert(acme, wanted->name);
	wanted->failures = 0;
	wanted->why[0] = '\0';
	wanted->due = renew_at(mine);
	front_cert_drop(acme->front, "");	/* of another way, before */
	pair_save(acme, wanted->name, cert);
	index_save(acme);
	if (first)
		front_reach_again(acme->front->reach);
	warren_log(acme->front->ctx, LOG_INFO, "the certificate of %s is there; it holds until %s",
		   wanted->name, date(mine->facts.not_after, until));
}

static void done(struct warren_acme *order, const struct warren_acme_cert *cert, const char *why,
		 uint64_t retry_after, void *arg)
{
	struct front_acme *acme = arg;
	struct wanted *wanted = acme->current;

	acme->has_skew = warren_acme_skew(order, &acme->skew) || acme->has_skew;
	if (cert)
		succeeded(acme, wanted, cert);
	else
		failed(acme, wanted, why, retry_after);
	warren_acme_free(order);
	acme->order = NULL;
	acme->current = NULL;
	schedule(acme);
}

static const struct warren_acme_events order_events = {
	.size = sizeof(order_events), .present = present, .withdraw = withdraw, .done = done,
};

static void begin(struct front_acme *acme, struct wanted *wanted)
{
	static const enum warren_acme_way ways[] = { WARREN_ACME_TLS_ALPN_01,
						     WARREN_ACME_HTTP_01 };
	const char *name = wanted->name;
	const struct warren_acme_options options = {
		.size = sizeof(options), .directory = acme->directory,
		.contact = acme->contact[0] ? acme->contact : NULL, .ca_pem = acme->ca_pem,
		.account_pem = acme->account, .account_len = acme->account_len, .names = &name,
		.binding_id = acme->binding_id[0] ? acme->binding_id : NULL,
		.binding_key = acme->binding_key, .binding_len = acme->binding_len,
		.n_names = 1, .ways = ways, .n_ways = ARRAY_SIZE(ways),
	};
	struct warren_err err = ERR_INIT;

	acme->current = wanted;
	acme->order = warren_acme_new(acme->front->ctx, &options, &order_events, acme, &err);
	if (acme->order)
		return;
	acme->current = NULL;
	failed(acme, wanted, err_first(&err), 0);
	err_free(&err);
}

static void tick(struct warren_ctx *ctx, void *arg)
{
	struct front_acme *acme = arg;
	struct wanted *wanted;

	(void)ctx;
	front_acme_names(acme);		/* a plugin may have gone with its names */
	list_for_each(wanted, &acme->names, link) {
		if (!acme->order && wanted->due <= now_seconds())
			begin(acme, wanted);
	}
	schedule(acme);
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

static bool copy(struct front_acme *acme, const struct front_acme_options *options)
{
	if (options->ca_pem && !(acme->ca_pem = strdup(options->ca_pem)))
		return false;
	if (options->binding_id) {
		if (options->binding_len > sizeof(acme->binding_key))
			return false;
		acme->binding_len = options->binding_len;
		memcpy(acme->binding_key, options->binding_key, options->binding_len);
	}
	return str_copy(acme->binding_id, sizeof(acme->binding_id),
			options->binding_id ? options->binding_id : "") &&
	       str_copy(acme->directory, sizeof(acme->directory), options->directory) &&
	       str_copy(acme->contact, sizeof(acme->contact),
			options->contact ? options->contact : "");
}

int front_acme_new(struct front *front, const struct front_acme_options *options,
		   struct front_acme **out, struct warren_err *err)
{
	struct front_acme *acme = calloc(1, sizeof(*acme));
	struct wanted *wanted;
	bool same;
	int result;

	if (!acme)
		return -ENOMEM;
	acme->front = front;
	list_init(&acme->names);
	acme->timer = warren_timer_new(front->ctx, tick, acme);
	result = !acme->timer || !copy(acme, options) ?
		 warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory") : account_load(acme, err);
	if (!result)
		result = index_load(acme, &same, err);
	if (result) {
		front_acme_free(acme);
		return result;
	}
	front_each_name(front, want, acme);
	list_for_each(wanted, &acme->names, link) {
		if (!same)		/* what another authority signed serves until then */
			wanted->due = 0;
	}
	schedule(acme);
	*out = acme;
	return 0;
}

void front_acme_free(struct front_acme *acme)
{
	struct wanted *wanted, *next;

	if (!acme)
		return;
	warren_acme_free(acme->order);
	acme->order = NULL;
	acme->current = NULL;
	list_for_each_safe(wanted, next, &acme->names, link)
		forget(acme, wanted);
	warren_release(acme->timer);
	if (acme->account)
		sodium_memzero(acme->account, acme->account_len);
	free(acme->account);
	free(acme->ca_pem);
	sodium_memzero(acme->binding_key, sizeof(acme->binding_key));
	free(acme);
}

void front_acme_each(const struct front_acme *acme,
		     void (*fn)(const struct front_acme_state *state, void *arg), void *arg)
{
	const struct wanted *wanted;

	list_for_each(wanted, &acme->names, link) {
		const struct front_acme_state state = {
			.name = wanted->name, .why = wanted->why, .again = wanted->due,
			.has_cert = own_cert(acme, wanted->name),
		};

		if (!state.has_cert || wanted->failures)
			fn(&state, arg);
	}
}

bool front_acme_skew(const struct front_acme *acme, int64_t *seconds)
{
	*seconds = acme->skew;
	return acme->has_skew;
}
