/*
 * An order's way through an ACME server (RFC 8555 7.1): directory, nonce, account, order, one
 * authorization after the other, the request, the chain. One request at a time.
 */
#include "acme_impl.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "base/util.h"

static const uint64_t second = 1000000;
enum {
	ANSWER_MAX = 256 << 10, TOTAL = 300, WEEK = 7 * 86400,
	POLL_FIRST = 1, POLL_MOST = 10, RETRY_AFTER_MOST = 30,
	NONCE_TRIES = 6, TOO_MANY_REQUESTS = 429,
};

struct answer {
	const struct warren_http_head *head;
	const uint8_t *body;
	size_t len;
};
typedef void answer_fn(struct warren_acme *a, const struct answer *answer);

struct warren_acme {
	struct warren_ctx *ctx;
	struct warren_acme_events events;
	void *arg;
	void *tie;			/* of warren_on_end() */
	char *directory_url, *contact, *ca_pem, *binding_id;
	uint8_t *binding_key;
	size_t binding_len;
	char *names[WARREN_ACME_NAMES];
	uint32_t n_names;
	enum warren_acme_way ways[WARREN_ACME_WAYS];
	uint32_t n_ways, way;
	EVP_PKEY *account, *key;	/* @key: of the certificate */

	struct warren_timer *first, *total, *poll;
	uint64_t pause;			/* before the next look, microseconds */
	struct warren_fetch *fetch;
	struct {			/* the request under way */
		char url[ACME_URL];
		char *payload;
		const char *accept;
		answer_fn *fn;
		uint32_t tries;
	} ask;
	char nonce[ACME_NONCE], kid[ACME_URL], order_url[ACME_URL];
	struct acme_directory directory;
	struct acme_order order;
	uint32_t at;			/* of its authorizations */
	struct acme_authorization *authorization;
	struct acme_challenge *challenge;	/* in @authorization; NULL: none is presented */
	struct warren_acme_challenge shown;
	struct str answer;
	bool presenting, presented, has_skew;
	int64_t skew;
	uint64_t retry_after;
	char why[1200];
};

/* ---- how it ends ---- */

static void withdraw(struct warren_acme *a)
{
	if (!a->challenge)
		return;
	a->challenge = NULL;
	a->presenting = a->presented = false;
	a->events.withdraw(a, &a->shown, a->arg);
	str_free(&a->answer);
}

static void rest(struct warren_acme *a)
{
	warren_fetch_cancel(a->fetch);
	a->fetch = NULL;
	warren_timer_stop(a->first);
	warren_timer_stop(a->total);
	warren_timer_stop(a->poll);
	withdraw(a);
}

static void destroy(struct warren_acme *a)
{
	warren_release(a->tie);
	warren_release(a->first);
	warren_release(a->total);
	warren_release(a->poll);
	EVP_PKEY_free(a->account);
	EVP_PKEY_free(a->key);
	for (uint32_t i = 0; i < a->n_names; i++)
		free(a->names[i]);
	free(a->directory_url);
	free(a->contact);
	free(a->ca_pem);
	free(a->binding_id);
	if (a->binding_key)
		explicit_bzero(a->binding_key, a->binding_len);
	free(a->binding_key);
	free(a->ask.payload);
	free(a->authorization);
	str_free(&a->answer);
	free(a);
}

void warren_acme_free(struct warren_acme *a)
{
	if (!a)
		return;
	rest(a);
	destroy(a);
}

static void context_ends(void *arg)
{
	struct warren_acme *a = arg;

	a->tie = NULL;			/* fetch and timers have gone with the context */
	a->first = a->total = a->poll = NULL;
	destroy(a);
}

static void fail(struct warren_acme *a, const char *fmt, ...) WARREN_PRINTF(2, 3);
static void fail(struct warren_acme *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	rest(a);
	a->events.done(a, NULL, a->why, a->retry_after, a->arg);
}

static void fail_problem(struct warren_acme *a, const char *what, const struct acme_problem *p)
{
	fail(a, "%s: %s%s%s%s", what, p->detail[0] ? p->detail : "the authority does not say why",
	     p->type[0] ? " (" : "", p->type, p->type[0] ? ")" : "");
}

static void fail_err(struct warren_acme *a, const char *what, struct warren_err *err)
{
	fail(a, "%s: %s", what, err_first(err));
	err_free(err);
}

/* ---- a request ---- */

static void send_ask(struct warren_acme *a);

static uint64_t wanted_pause(const struct warren_http_head *head)
{
	const char *after = warren_http_field(head, "retry-after");

	return after ? warren_http_retry_after(after, warren_realtime() / 1000000,
					       WEEK * second) : 0;
}

static void look_at_head(struct warren_acme *a, const struct warren_http_head *head)
{
	const char *nonce = warren_http_field(head, "replay-nonce");
	const char *date = warren_http_field(head, "date");
	int64_t then;

	if (nonce && !str_copy(a->nonce, sizeof(a->nonce), nonce))
		a->nonce[0] = '\0';
	if (date && warren_http_date(date, &then)) {
		a->skew = warren_realtime() / 1000000 - then;
		a->has_skew = true;
	}
}

static void refused(struct warren_acme *a, int status, const struct answer *answer)
{
	struct acme_problem problem;

	acme_parse_problem(answer->body, answer->len, &problem);
	if (strcmp(problem.type, "badNonce") == 0 && ++a->ask.tries < NONCE_TRIES) {
		send_ask(a);
		return;
	}
	a->retry_after = wanted_pause(answer->head);
	if (problem.detail[0])
		fail_problem(a, status == TOO_MANY_REQUESTS ? "the authority wants us to wait" :
			     "the authority refuses", &problem);
	else
		fail(a, "the authority answers with HTTP status %d", status);
}

static void asked(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		  const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct warren_acme *a = arg;
	const struct answer answer = { .head = head, .body = body, .len = len };

	(void)ctx;
	a->fetch = NULL;
	if (status == 0) {
		fail(a, "%s", why);
		return;
	}
	look_at_head(a, head);
	if (status >= 200 && status < 300)
		a->ask.fn(a, &answer);
	else
		refused(a, status, &answer);
}

static void begin_fetch(struct warren_acme *a, const char *method, const char *url,
			const char *body, warren_fetch_fn *done)
{
	const struct warren_tls_client tls = { .size = sizeof(tls), .ca_pem = a->ca_pem };
	const struct warren_http_field fields[] = {
		{ "User-Agent", "warren" },
		{ "Accept", a->ask.accept ? a->ask.accept : "application/json" },
		{ "Content-Type", "application/jose+json" },
	};
	const struct warren_fetch_options options = {
		.size = sizeof(options), .method = method, .url = url, .fields = fields,
		.n_fields = body ? 3 : 2, .body = body, .body_len = body ? strlen(body) : 0,
		.limit = ANSWER_MAX, .tls = &tls,
	};

	a->fetch = warren_fetch(a->ctx, &options, done, a);
	if (!a->fetch)
		fail(a, "no memory");
}

static void nonce_came(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		       const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct warren_acme *a = arg;

	(void)ctx;
	(void)body;
	(void)len;
	a->fetch = NULL;
	if (status == 0) {
		fail(a, "%s", why);
		return;
	}
	look_at_head(a, head);
	if (a->nonce[0])
		send_ask(a);
	else
		fail(a, "the authority gives no nonce (HTTP status %d)", status);
}

static void send_ask(struct warren_acme *a)
{
	char *body;

	if (!a->ask.payload) {
		begin_fetch(a, "GET", a->ask.url, NULL, asked);
		return;
	}
	if (!a->nonce[0]) {
		begin_fetch(a, "HEAD", a->directory.nonce, NULL, nonce_came);
		return;
	}
	body = acme_jws(a->account, a->kid[0] ? a->kid : NULL, a->nonce, a->ask.url,
			a->ask.payload);
	a->nonce[0] = '\0';		/* good for one request */
	if (body)
		begin_fetch(a, "POST", a->ask.url, body, asked);
	else
		fail(a, "the request cannot be signed");
	free(body);
}

/* @payload NULL: a plain GET; "": POST-as-GET. */
static void ask(struct warren_acme *a, const char *url, const char *payload, const char *accept,
		answer_fn *fn)
{
	free(a->ask.payload);
	a->ask.payload = payload ? strdup(payload) : NULL;
	a->ask.fn = fn;
	a->ask.accept = accept;
	a->ask.tries = 0;
	if ((payload && !a->ask.payload) || !str_copy(a->ask.url, sizeof(a->ask.url), url))
		fail(a, "no memory");
	else
		send_ask(a);
}

static void ask_json(struct warren_acme *a, const char *url, json_t *payload, answer_fn *fn)
{
	char *text = payload ? json_dumps(payload, JSON_COMPACT) : NULL;

	json_decref(payload);
	if (text)
		ask(a, url, text, NULL, fn);
	else
		fail(a, "no memory");
	free(text);
}

/* As the authority says, but within what an order can bear. */
static void look_again(struct warren_acme *a, const struct answer *answer)
{
	uint64_t wanted = wanted_pause(answer->head), most = RETRY_AFTER_MOST * second;

	if (!wanted) {
		wanted = a->pause ? a->pause : POLL_FIRST * second;
		a->pause = wanted * 2 < POLL_MOST * second ? wanted * 2 : POLL_MOST * second;
	}
	warren_timer_set(a->poll, wanted < most ? wanted : most);
}

/* ---- authorizations ---- */

static void next_authorization(struct warren_acme *a);
static void new_order(struct warren_acme *a);
static void ask_order(struct warren_acme *a);
static void authorization_came(struct warren_acme *a, const struct answer *answer);

/* One way has failed; the order is void with it. */
static void way_failed(struct warren_acme *a, const char *why)
{
	static const char *const names[] = { "", "tls-alpn-01", "http-01", "dns-01" };
	size_t len = strlen(a->why);

	if (a->n_ways > 1)
		snprintf(a->why + len, sizeof(a->why) - len, "%s%s: %s", len > 0 ? "; " : "",
			 names[a->ways[a->way]], why);
	else
		snprintf(a->why, sizeof(a->why), "%s", why);
	withdraw(a);
	if (++a->way < a->n_ways) {
		new_order(a);
		return;
	}
	rest(a);
	a->events.done(a, NULL, a->why, 0, a->arg);
}

static void challenge_taken(struct warren_acme *a, const struct answer *answer)
{
	look_again(a, answer);
}

static void tell_ready(struct warren_acme *a)
{
	a->presenting = false;
	a->presented = true;
	a->pause = 0;
	ask(a, a->challenge->url, "{}", NULL, challenge_taken);
}

static void presented(struct warren_acme *a, int result)
{
	char why[128];

	if (!result) {
		tell_ready(a);
		return;
	}
	a->presenting = false;
	snprintf(why, sizeof(why), "it cannot be shown here (%s)", strerror(-result));
	way_failed(a, why);
}

void warren_acme_presented(struct warren_acme *a, int result)
{
	if (a->presenting)
		presented(a, result);
}

/* What the challenge wants to see. */
static bool make_answer(struct warren_acme *a)
{
	struct str text = STR_INIT;
	uint8_t digest[32];
	bool ok = acme_key_authorization(a->account, a->challenge->token, &text) &&
		  EVP_Digest(text.s, text.len, digest, NULL, EVP_sha256(), NULL) == 1;

	a->shown = (struct warren_acme_challenge){
		.size = sizeof(a->shown), .way = a->challenge->way,
		.name = a->authorization->name, .token = a->challenge->token,
	};
	str_free(&a->answer);
	if (ok && a->challenge->way == WARREN_ACME_HTTP_01)
		str_add(&a->answer, str_text(&text));
	else if (ok && a->challenge->way == WARREN_ACME_DNS_01)
		acme_b64url(&a->answer, digest, sizeof(digest));
	else if (ok)
		memcpy(a->shown.digest, digest, sizeof(digest));
	if (a->answer.s)
		a->shown.answer = a->answer.s;
	str_free(&text);
	return ok && !a->answer.failed;
}

static void present(struct warren_acme *a)
{
	struct acme_authorization *from = a->authorization;
	int result;

	for (uint32_t i = 0; i < from->n && !a->challenge; i++) {
		if (from->challenges[i].way == a->ways[a->way])
			a->challenge = &from->challenges[i];
	}
	if (!a->challenge) {
		way_failed(a, "the authority does not offer it");
		return;
	}
	if (!make_answer(a)) {
		a->challenge = NULL;
		fail(a, "no memory");
		return;
	}
	a->presenting = true;
	result = a->events.present(a, &a->shown, a->arg);
	if (result != WARREN_PENDING)
		presented(a, result);
}

static void authorization_failed(struct warren_acme *a)
{
	const struct acme_problem *problem = NULL;
	char why[1024];

	for (uint32_t i = 0; i < a->authorization->n; i++) {
		if (a->authorization->challenges[i].problem.detail[0])
			problem = &a->authorization->challenges[i].problem;
	}
	snprintf(why, sizeof(why), "the authority could not see that %s is ours: %s",
		 a->authorization->name, problem ? problem->detail : "it does not say why");
	way_failed(a, why);
}

static void authorization_came(struct warren_acme *a, const struct answer *answer)
{
	struct acme_authorization *fresh = calloc(1, sizeof(*fresh));
	struct warren_err err = ERR_INIT;

	if (!fresh) {
		fail(a, "no memory");
		return;
	}
	if (acme_parse_authorization(answer->body, answer->len, fresh, &err)) {
		free(fresh);
		fail_err(a, "authorization", &err);
		return;
	}
	if (a->presented && fresh->status == ACME_PENDING) {
		free(fresh);		/* what is presented lives in the one before */
		look_again(a, answer);
		return;
	}
	withdraw(a);
	free(a->authorization);
	a->authorization = fresh;
	if (fresh->status == ACME_VALID) {	/* now, or from an order before */
		a->at++;
		next_authorization(a);
	} else if (fresh->status == ACME_PENDING) {
		present(a);
	} else {
		authorization_failed(a);
	}
}

static void next_authorization(struct warren_acme *a)
{
	a->pause = 0;
	if (a->at < a->order.n)
		ask(a, a->order.authorizations[a->at], "", NULL, authorization_came);
	else
		ask_order(a);
}

/* ---- the order ---- */

static void finished(struct warren_acme *a, const char *chain)
{
	struct warren_acme_cert cert = { .size = sizeof(cert), .chain_pem = chain };
	struct warren_err err = ERR_INIT;
	uint8_t *pem;

	if (acme_chain_check(chain, a->key, (const char *const *)a->names, a->n_names, &err)) {
		fail_err(a, "certificate", &err);
		return;
	}
	pem = acme_key_pem(a->key, &cert.key_len);
	if (!pem) {
		fail(a, "no memory");
		return;
	}
	cert.key_pem = pem;
	rest(a);
	a->events.done(a, &cert, NULL, 0, a->arg);
	explicit_bzero(pem, cert.key_len);
	free(pem);
}

static void chain_came(struct warren_acme *a, const struct answer *answer)
{
	char *chain = strndup((const char *)answer->body, answer->len);

	if (!chain)
		fail(a, "no memory");
	else if (strlen(chain) != answer->len)
		fail(a, "the authority has sent no certificate in PEM form");
	else
		finished(a, chain);	/* @a may be gone */
	free(chain);
}

static void order_came(struct warren_acme *a, const struct answer *answer);

static void finalize(struct warren_acme *a)
{
	char *csr;

	EVP_PKEY_free(a->key);
	a->key = EVP_EC_gen("P-256");
	csr = a->key ? acme_csr(a->key, (const char *const *)a->names, a->n_names) : NULL;
	if (csr)
		ask_json(a, a->order.finalize, json_pack("{s:s}", "csr", csr), order_came);
	else
		fail(a, "the certificate's request cannot be made");
	free(csr);
}

static void order_came(struct warren_acme *a, const struct answer *answer)
{
	struct warren_err err = ERR_INIT;

	if (acme_parse_order(answer->body, answer->len, &a->order, &err)) {
		fail_err(a, "order", &err);
	} else if (a->order.status == ACME_INVALID) {
		fail_problem(a, "the authority has given up the order", &a->order.problem);
	} else if (a->order.status == ACME_READY && !a->key) {
		finalize(a);
	} else if (a->order.status == ACME_VALID && a->order.certificate[0] && a->key) {
		ask(a, a->order.certificate, "", "application/pem-certificate-chain", chain_came);
	} else {
		look_again(a, answer);
	}
}

static void ask_order(struct warren_acme *a)
{
	ask(a, a->order_url, "", NULL, order_came);
}

static void on_poll(struct warren_ctx *ctx, void *arg)
{
	struct warren_acme *a = arg;

	(void)ctx;
	if (a->challenge)
		ask(a, a->order.authorizations[a->at], "", NULL, authorization_came);
	else
		ask_order(a);
}

/* The Location of what was made; false: it has failed. */
static bool take_location(struct warren_acme *a, const struct answer *answer, char out[ACME_URL])
{
	const char *location = warren_http_field(answer->head, "location");
	struct warren_url url;

	if (location && str_starts(location, "https://") &&
	    warren_url_parse(location, &url, NULL) == 0 && str_copy(out, ACME_URL, location))
		return true;
	fail(a, "the authority does not say where what it made can be found");
	return false;
}

static void order_made(struct warren_acme *a, const struct answer *answer)
{
	struct warren_err err = ERR_INIT;

	if (!take_location(a, answer, a->order_url))
		return;
	if (acme_parse_order(answer->body, answer->len, &a->order, &err)) {
		fail_err(a, "order", &err);
		return;
	}
	a->at = 0;
	next_authorization(a);
}

static void new_order(struct warren_acme *a)
{
	json_t *list = json_array();

	EVP_PKEY_free(a->key);
	a->key = NULL;
	for (uint32_t i = 0; i < a->n_names; i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "type", "dns", "value",
						      a->names[i]));
	ask_json(a, a->directory.order, json_pack("{s:o}", "identifiers", list), order_made);
}

static void account_came(struct warren_acme *a, const struct answer *answer)
{
	if (take_location(a, answer, a->kid))
		new_order(a);
}

/* False: no memory. */
static bool add_binding(struct warren_acme *a, json_t *account)
{
	char *text = acme_binding(a->account, a->binding_id, a->binding_key, a->binding_len,
				  a->directory.account);
	json_t *binding = text ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return binding && json_object_set_new(account, "externalAccountBinding", binding) == 0;
}

static void directory_came(struct warren_acme *a, const struct answer *answer)
{
	struct warren_err err = ERR_INIT;
	json_t *account = json_pack("{s:b}", "termsOfServiceAgreed", 1);

	if (acme_parse_directory(answer->body, answer->len, &a->directory, &err)) {
		json_decref(account);
		fail_err(a, a->directory_url, &err);
		return;
	}
	if (a->directory.terms[0])
		warren_log(a->ctx, LOG_INFO, "certificates are ordered at %s; its terms of service "
			   "are %s", a->directory_url, a->directory.terms);
	if (a->contact)
		json_object_set_new(account, "contact",
				    json_pack("[s+]", "mailto:", a->contact));
	if (a->binding_id && !add_binding(a, account)) {
		json_decref(account);
		fail(a, "no memory");
		return;
	}
	ask_json(a, a->directory.account, account, account_came);
}

static void on_total(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	fail(arg, "the order was not through in time");
}

/* ---- how it begins ---- */

static bool copy_binding(struct warren_acme *a, const struct warren_acme_options *options)
{
	if (options->size < sizeof(*options) || !options->binding_id)
		return true;
	a->binding_id = strdup(options->binding_id);
	a->binding_key = malloc(options->binding_len);
	if (!a->binding_id || !a->binding_key)
		return false;
	a->binding_len = options->binding_len;
	memcpy(a->binding_key, options->binding_key, options->binding_len);
	return true;
}

static bool copy(struct warren_acme *a, const struct warren_acme_options *options)
{
	a->directory_url = strdup(options->directory);
	if (!a->directory_url || (options->contact && !(a->contact = strdup(options->contact))) ||
	    (options->ca_pem && !(a->ca_pem = strdup(options->ca_pem))) ||
	    !copy_binding(a, options))
		return false;
	for (; a->n_names < options->n_names; a->n_names++) {
		a->names[a->n_names] = strdup(options->names[a->n_names]);
		if (!a->names[a->n_names])
			return false;
	}
	a->n_ways = options->n_ways;
	memcpy(a->ways, options->ways, options->n_ways * sizeof(a->ways[0]));
	return true;
}

static int check(const struct warren_acme_options *options, struct warren_err *err)
{
	struct warren_url url;

	if (warren_url_parse(options->directory, &url, err))
		return -EINVAL;
	if (strcmp(url.scheme, "https") != 0 || strlen(options->directory) >= ACME_URL)
		return warren_fail(err, NULL, "%s: the authority's directory is an https URL",
				   options->directory);
	if (options->n_names == 0 || options->n_names > WARREN_ACME_NAMES)
		return warren_fail(err, NULL, "a certificate holds for 1 to %d names",
				   WARREN_ACME_NAMES);
	if (options->n_ways == 0 || options->n_ways > WARREN_ACME_WAYS)
		return warren_fail(err, NULL, "there is no way to prove whose the names are");
	return 0;
}

static void begin(struct warren_ctx *ctx, void *arg)
{
	struct warren_acme *a = arg;

	(void)ctx;
	ask(a, a->directory_url, NULL, NULL, directory_came);
}

struct warren_acme *warren_acme_new(struct warren_ctx *ctx,
				    const struct warren_acme_options *options,
				    const struct warren_acme_events *events, void *arg,
				    struct warren_err *err)
{
	struct warren_acme *a;

	if (check(options, err))
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a) {
		warren_fail(err, NULL, "no memory");
		return NULL;
	}
	a->ctx = ctx;
	a->events = *events;
	a->arg = arg;
	a->account = acme_key_read(options->account_pem, options->account_len, err);
	a->tie = warren_on_end(ctx, context_ends, a);
	a->total = warren_timer_new(ctx, on_total, a);
	a->poll = warren_timer_new(ctx, on_poll, a);
	a->first = warren_timer_new(ctx, begin, a);
	if (!a->account || !a->tie || !a->first || !a->total || !a->poll || !copy(a, options)) {
		if (a->account)
			warren_fail(err, NULL, "no memory");
		destroy(a);
		return NULL;
	}
	warren_timer_set(a->total, options->timeout ? options->timeout : TOTAL * second);
	warren_timer_set(a->first, 0);
	return a;
}

bool warren_acme_skew(const struct warren_acme *a, int64_t *seconds)
{
	*seconds = a->skew;
	return a->has_skew;
}
