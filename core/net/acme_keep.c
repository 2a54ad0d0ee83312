/*
 * Certificates that are kept: which names want one, when, what came of it, and what is stored. The
 * protocol is acme.c's.
 */
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
#include "base/list.h"
#include "base/str.h"
#include "base/util.h"

enum { NAMES_MAX = 64, FORMAT = 1, HOUR = 3600, DATE_TEXT = 32 };
static const char index_name[] = "acme.json", account_name[] = "account.pem";

struct wanted {
	struct list link;
	char name[256];
	int64_t due;			/* seconds since 1970 */
	uint32_t failures;
	bool named;			/* since warren_acme_keeper_mark() */
	char why[1024];			/* of the last failure */
};

struct pair {				/* that was taken, wanted or not */
	struct list link;
	char name[256];
	int64_t not_before, not_after;
	bool foreign;			/* of another authority: serves until there is a new one */
};

struct warren_acme_keeper {
	struct warren_ctx *ctx;
	struct warren_acme_keeper_events events;
	void *arg;
	char directory[256], contact[256];
	char binding_id[256];		/* "": none */
	uint8_t binding_key[WARREN_ACME_BINDING];
	size_t binding_len;
	enum warren_acme_way ways[WARREN_ACME_WAYS];
	uint32_t n_ways;
	char *ca_pem;
	uint8_t *account;
	size_t account_len;
	struct list names, pairs;
	uint32_t n_names;
	struct warren_timer *timer;
	struct warren_acme *order;	/* of @current */
	struct wanted *current;
	bool foreign;			/* what is being loaded is another authority's */
	bool has_skew;
	int64_t skew;
};

static int64_t now_seconds(void)
{
	return warren_realtime() / 1000000;
}

bool warren_acme_can(const char *name)
{
	struct warren_addr addr;

	return strchr(name, '.') && addr_parse(name, &addr) != 0 && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") ==
	       strlen(name);
}

static struct pair *pair_of(const struct warren_acme_keeper *k, const char *name)
{
	struct pair *pair;

	list_for_each(pair, &k->pairs, link) {
		if (strcmp(pair->name, name) == 0)
			return pair;
	}
	return NULL;
}

/* The owner takes it, and it is remembered. */
static int pair_take(struct warren_acme_keeper *k, const char *name,
		     const struct warren_acme_cert *cert, bool fresh, struct warren_err *err)
{
	struct warren_cert_facts facts = { .size = sizeof(facts) };
	struct pair *pair = pair_of(k, name), *made = NULL;
	int result;

	if (!pair)
		pair = made = calloc(1, sizeof(*pair));
	if (!pair)
		return warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory for a certificate");
	result = warren_cert_facts(cert->chain_pem, &facts) ?
		 k->events.take(k->arg, name, cert, fresh, err) :
		 warren_fail_key(err, -EINVAL, NULL, NULL, "this is no certificate");
	if (result) {
		free(made);
		return result;
	}
	pair->not_before = facts.not_before;
	pair->not_after = facts.not_after;
	pair->foreign = !fresh && k->foreign;
	if (made) {
		str_copy(made->name, sizeof(made->name), name);
		list_add_tail(&k->pairs, &made->link);
	}
	return 0;
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

static void index_save(struct warren_acme_keeper *k)
{
	json_t *list = json_array(), *o;
	const struct wanted *wanted;
	char *text = NULL;

	list_for_each(wanted, &k->names, link) {
		if (pair_of(k, wanted->name))
			json_array_append_new(list, json_string(wanted->name));
	}
	o = json_pack("{s:s,s:o}", "directory", k->directory, "names", list);
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text || warren_state_write(k->ctx, index_name, 0, FORMAT, text, strlen(text), saved,
					NULL))
		saved(k->ctx, -ENOMEM, NULL);
	free(text);
}

static void pair_save(struct warren_acme_keeper *k, const char *name,
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
		result = warren_state_write(k->ctx, document, WARREN_STATE_KEY, FORMAT, both, len,
					    saved, NULL);
		sodium_memzero(both, len);
	}
	free(both);
	if (result)
		saved(k->ctx, result, NULL);
}

/* A pair that cannot be read is ordered anew; the others are none the worse. */
static void pair_load(struct warren_acme_keeper *k, const char *name)
{
	struct warren_err err = ERR_INIT;
	char document[300], *text;
	void *data = NULL;
	size_t len = 0;
	int result;

	document_of(name, document);
	result = warren_state_read(k->ctx, document, WARREN_STATE_KEY, FORMAT, &data, &len, &err);
	text = result ? NULL : strndup(data, len);
	if (text) {
		const struct warren_acme_cert cert = { .size = sizeof(cert), .chain_pem = text,
						       .key_pem = data, .key_len = len };

		result = pair_take(k, name, &cert, false, &err);
	}
	if (result)
		warren_log(k->ctx, LOG_WARNING, "the certificate of %s is ordered anew: %s", name,
			   result == -ENOENT ? "its file is gone" : err_first(&err));
	if (text)
		sodium_memzero(text, len);
	free(text);
	warren_release(data);
	err_free(&err);
}

static int index_load(struct warren_acme_keeper *k, struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0, i;
	json_t *o, *name;
	const char *directory;
	int result = warren_state_read(k->ctx, index_name, 0, FORMAT, &data, &len, err);

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
	k->foreign = strcmp(directory, k->directory) != 0;
	json_array_foreach(json_object_get(o, "names"), i, name) {
		const char *text = json_string_value(name);

		if (text && warren_acme_can(text) && strlen(text) < sizeof(k->current->name))
			pair_load(k, text);
	}
	json_decref(o);
	return 0;
}

static int account_load(struct warren_acme_keeper *k, struct warren_err *err)
{
	void *data = NULL;
	int result = warren_state_read(k->ctx, account_name, WARREN_STATE_KEY, FORMAT, &data,
				       &k->account_len, err);

	if (result && result != -ENOENT)
		return result;
	if (result)
		k->account = warren_acme_account_new(&k->account_len);
	else if ((k->account = malloc(k->account_len)))
		memcpy(k->account, data, k->account_len);
	warren_release(data);
	if (!k->account)
		return warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory for the account's key");
	if (!result)
		return 0;
	return warren_state_write(k->ctx, account_name, WARREN_STATE_KEY, FORMAT, k->account,
				  k->account_len, saved, NULL);
}

/* ---- when ---- */

static void schedule(struct warren_acme_keeper *k)
{
	const struct wanted *wanted;
	int64_t now = now_seconds(), next = now + HOUR;	/* the clock may be set meanwhile */

	if (k->order)
		return;
	list_for_each(wanted, &k->names, link) {
		if (wanted->due < next)
			next = wanted->due;
	}
	warren_timer_set(k->timer, next > now ? (uint64_t)(next - now) * 1000000 : 0);
}

/* A third of the lifetime before the end, some earlier, so that not all ask at the same time. */
static int64_t renew_at(const struct pair *pair)
{
	int64_t life = pair->not_after - pair->not_before;

	return pair->not_after - life / 3 -
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

static struct wanted *find(const struct warren_acme_keeper *k, const char *name)
{
	struct wanted *wanted;

	list_for_each(wanted, &k->names, link) {
		if (strcmp(wanted->name, name) == 0)
			return wanted;
	}
	return NULL;
}

void warren_acme_keeper_mark(struct warren_acme_keeper *k)
{
	struct wanted *wanted;

	list_for_each(wanted, &k->names, link)
		wanted->named = false;
}

static struct wanted *wanted_new(struct warren_acme_keeper *k, const char *name)
{
	struct wanted *wanted = k->n_names < NAMES_MAX ? calloc(1, sizeof(*wanted)) : NULL;
	const struct pair *pair = pair_of(k, name);

	if (!wanted) {
		warren_log(k->ctx, LOG_WARNING, "no certificate is ordered for %s: there are %d "
			   "names already", name, NAMES_MAX);
		return NULL;
	}
	str_copy(wanted->name, sizeof(wanted->name), name);
	wanted->due = pair && !pair->foreign ? renew_at(pair) : 0;
	list_add_tail(&k->names, &wanted->link);
	k->n_names++;
	return wanted;
}

void warren_acme_keeper_want(struct warren_acme_keeper *k, const char *text)
{
	struct wanted *wanted;
	char name[256];

	if (!warren_acme_can(text) || !str_copy(name, sizeof(name), text))
		return;
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	wanted = find(k, name);
	if (!wanted)
		wanted = wanted_new(k, name);
	if (wanted)
		wanted->named = true;
}

static void forget(struct warren_acme_keeper *k, struct wanted *wanted)
{
	if (k->current == wanted) {
		warren_acme_free(k->order);
		k->order = NULL;
		k->current = NULL;
	}
	list_del(&wanted->link);
	k->n_names--;
	free(wanted);
}

void warren_acme_keeper_sweep(struct warren_acme_keeper *k)
{
	struct wanted *wanted, *next;

	list_for_each_safe(wanted, next, &k->names, link) {
		if (!wanted->named)
			forget(k, wanted);
	}
	schedule(k);
}

uint32_t warren_acme_keeper_again(struct warren_acme_keeper *k, const char *name)
{
	struct wanted *wanted;
	uint32_t n = 0;

	list_for_each(wanted, &k->names, link) {
		bool idle = pair_of(k, wanted->name) && !wanted->failures;

		if (name ? strcmp(wanted->name, name) != 0 : idle)
			continue;
		wanted->due = 0;
		n++;
	}
	schedule(k);
	return n;
}

/* ---- an order ---- */

static int present(struct warren_acme *order, const struct warren_acme_challenge *challenge,
		   void *arg)
{
	struct warren_acme_keeper *k = arg;

	return k->events.present(order, challenge, k->arg);
}

static void withdraw(struct warren_acme *order, const struct warren_acme_challenge *challenge,
		     void *arg)
{
	struct warren_acme_keeper *k = arg;

	k->events.withdraw(order, challenge, k->arg);
}

static const char *date(int64_t seconds, char out[DATE_TEXT])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, DATE_TEXT, "%Y-%m-%d %H:%M UTC", &tm))
		out[0] = '\0';
	return out;
}

static void failed(struct warren_acme_keeper *k, struct wanted *wanted, const char *why,
		   uint64_t retry_after)
{
	char when[DATE_TEXT];

	wanted->failures++;
	wanted->due = next_try(wanted->failures, retry_after);
	snprintf(wanted->why, sizeof(wanted->why), "%s", why);
	warren_log(k->ctx, LOG_WARNING, "no certificate for %s: %s; the next try is at %s",
		   wanted->name, why, date(wanted->due, when));
}

static void succeeded(struct warren_acme_keeper *k, struct wanted *wanted,
		      const struct warren_acme_cert *cert)
{
	struct warren_err err = ERR_INIT;
	char until[DATE_TEXT];
	const struct pair *pair;

	if (pair_take(k, wanted->name, cert, true, &err)) {
		failed(k, wanted, err_first(&err), 0);
		err_free(&err);
		return;
	}
	pair = pair_of(k, wanted->name);
	wanted->failures = 0;
	wanted->why[0] = '\0';
	wanted->due = renew_at(pair);
	pair_save(k, wanted->name, cert);
	index_save(k);
	warren_log(k->ctx, LOG_INFO, "the certificate of %s is there; it holds until %s",
		   wanted->name, date(pair->not_after, until));
}

static void done(struct warren_acme *order, const struct warren_acme_cert *cert, const char *why,
		 uint64_t retry_after, void *arg)
{
	struct warren_acme_keeper *k = arg;
	struct wanted *wanted = k->current;

	k->has_skew = warren_acme_skew(order, &k->skew) || k->has_skew;
	if (cert)
		succeeded(k, wanted, cert);
	else
		failed(k, wanted, why, retry_after);
	warren_acme_free(order);
	k->order = NULL;
	k->current = NULL;
	schedule(k);
	if (k->events.changed)
		k->events.changed(k->arg);
}

static const struct warren_acme_events order_events = {
	.size = sizeof(order_events), .present = present, .withdraw = withdraw, .done = done,
};

static void begin(struct warren_acme_keeper *k, struct wanted *wanted)
{
	const char *name = wanted->name;
	const struct warren_acme_options options = {
		.size = sizeof(options), .directory = k->directory,
		.contact = k->contact[0] ? k->contact : NULL, .ca_pem = k->ca_pem,
		.account_pem = k->account, .account_len = k->account_len, .names = &name,
		.binding_id = k->binding_id[0] ? k->binding_id : NULL,
		.binding_key = k->binding_key, .binding_len = k->binding_len,
		.n_names = 1, .ways = k->ways, .n_ways = k->n_ways,
	};
	struct warren_err err = ERR_INIT;

	k->current = wanted;
	k->order = warren_acme_new(k->ctx, &options, &order_events, k, &err);
	if (k->order)
		return;
	k->current = NULL;
	failed(k, wanted, err_first(&err), 0);
	err_free(&err);
}

static void tick(struct warren_ctx *ctx, void *arg)
{
	struct warren_acme_keeper *k = arg;
	struct wanted *wanted;

	(void)ctx;
	if (k->events.look)
		k->events.look(k->arg);
	list_for_each(wanted, &k->names, link) {
		if (!k->order && wanted->due <= now_seconds())
			begin(k, wanted);
	}
	schedule(k);
}

/* ---- begin, end, state ---- */

static bool copy(struct warren_acme_keeper *k, const struct warren_acme_options *options)
{
	if (options->n_ways > WARREN_ACME_WAYS ||
	    (options->ca_pem && !(k->ca_pem = strdup(options->ca_pem))))
		return false;
	k->n_ways = options->n_ways;
	memcpy(k->ways, options->ways, options->n_ways * sizeof(k->ways[0]));
	if (options->binding_id) {
		if (options->binding_len > sizeof(k->binding_key))
			return false;
		k->binding_len = options->binding_len;
		memcpy(k->binding_key, options->binding_key, options->binding_len);
	}
	return str_copy(k->binding_id, sizeof(k->binding_id),
			options->binding_id ? options->binding_id : "") &&
	       str_copy(k->directory, sizeof(k->directory), options->directory) &&
	       str_copy(k->contact, sizeof(k->contact), options->contact ? options->contact : "");
}

int warren_acme_keeper_new(struct warren_ctx *ctx, const struct warren_acme_options *options,
			   const struct warren_acme_keeper_events *events, void *arg,
			   struct warren_acme_keeper **out, struct warren_err *err)
{
	struct warren_acme_keeper *k = calloc(1, sizeof(*k));
	int result;

	if (!k)
		return -ENOMEM;
	k->ctx = ctx;
	k->events = *events;
	k->arg = arg;
	list_init(&k->names);
	list_init(&k->pairs);
	k->timer = warren_timer_new(ctx, tick, k);
	result = !k->timer || !copy(k, options) ?
		 warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory") : account_load(k, err);
	if (!result)
		result = index_load(k, err);
	if (result) {
		warren_acme_keeper_free(k);
		return result;
	}
	schedule(k);
	*out = k;
	return 0;
}

void warren_acme_keeper_free(struct warren_acme_keeper *k)
{
	if (!k)
		return;
	warren_acme_free(k->order);
	k->order = NULL;
	k->current = NULL;
	while (!list_empty(&k->names))
		forget(k, list_first(&k->names, struct wanted, link));
	while (!list_empty(&k->pairs)) {
		struct pair *pair = list_first(&k->pairs, struct pair, link);

		list_del(&pair->link);
		free(pair);
	}
	warren_release(k->timer);
	if (k->account)
		sodium_memzero(k->account, k->account_len);
	free(k->account);
	free(k->ca_pem);
	sodium_memzero(k->binding_key, sizeof(k->binding_key));
	free(k);
}

void warren_acme_keeper_each(const struct warren_acme_keeper *k,
			     void (*fn)(const struct warren_acme_state *state, void *arg),
			     void *arg)
{
	const struct wanted *wanted;

	list_for_each(wanted, &k->names, link) {
		const struct pair *pair = pair_of(k, wanted->name);
		const struct warren_acme_state state = {
			.size = sizeof(state), .name = wanted->name, .why = wanted->why,
			.due = wanted->due, .failures = wanted->failures,
			.not_after = pair ? pair->not_after : 0,
			.ordering = k->current == wanted,
		};

		fn(&state, arg);
	}
}

bool warren_acme_keeper_skew(const struct warren_acme_keeper *k, int64_t *seconds)
{
	*seconds = k->skew;
	return k->has_skew;
}
