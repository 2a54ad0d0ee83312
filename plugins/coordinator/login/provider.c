/*
 * What the provider says of itself, and its keys: asked for when somebody logs in, kept for a
 * while, and asked for again when it signs with a key that we do not know.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"

static const uint64_t second = 1000000;
enum {
	FRESH = 3600,			/* what is older is asked for again */
	KEYS_AGAIN = 10,		/* between two looks for a new key */
	FAILED = 5,			/* so long a failure stands for the next one */
	TIMEOUT = 15,
	ANSWER = 512 << 10,
};

struct warren_fetch *provider_fetch(struct login_desk *desk, const char *url, const char *bearer,
				    const char *basic, const struct str *body,
				    warren_fetch_fn *done, void *arg)
{
	bool github = desk->settings->github;
	const struct warren_tls_client tls = { .size = sizeof(tls),
					       .ca_pem = desk->settings->ca_pem };
	struct warren_http_field fields[5] = {
		{ "accept", github && !body ? "application/vnd.github+json" : "application/json" },
		{ "user-agent", "warren" },
	};
	struct warren_fetch_options options = {
		.size = sizeof(options), .method = body ? "POST" : "GET", .url = url,
		.fields = fields, .n_fields = 2, .limit = ANSWER, .timeout = TIMEOUT * second,
		.tls = &tls,
	};
	AUTO(str_free) struct str line = STR_INIT;
	struct warren_fetch *fetch;

	if (bearer)
		str_addf(&line, "Bearer %s", bearer);
	if (bearer || basic)
		fields[options.n_fields++] = (struct warren_http_field){
			"authorization", bearer ? str_text(&line) : basic };
	if (body) {
		fields[options.n_fields++] = (struct warren_http_field){
			"content-type", "application/x-www-form-urlencoded" };
		options.body = str_text(body);
		options.body_len = body->len;
	} else if (github) {
		fields[options.n_fields++] = (struct warren_http_field){
			"x-github-api-version", "2022-11-28" };
	}
	fetch = line.failed ? NULL : warren_fetch(desk->ctx, &options, done, arg);
	if (line.s)
		explicit_bzero(line.s, line.len);
	return fetch;
}

/* All who wait; @why NULL: it is there. */
static void wake(struct login_desk *desk, const char *why)
{
	struct visit *v, *next;

	list_for_each_safe(v, next, &desk->visits, link) {
		void (*ready)(struct visit *v) = v->ready;

		v->ready = NULL;
		if (ready && why)
			visit_away(v, why);
		else if (ready)
			ready(v);
	}
}

static void failed(struct login_desk *desk, const char *why)
{
	desk->failed_at = warren_now();
	snprintf(desk->why, sizeof(desk->why), "%s", why);
	warren_log_limit(desk->ctx, &desk->away, LOG_WARNING, "nobody can log in: %s; devices that "
			 "are in are not touched by it", desk->why);
	wake(desk, desk->why);
}

/* False: told. */
static bool is_answer(struct login_desk *desk, const char *what, int status, const char *why)
{
	char text[640];

	if (status == 200)
		return true;
	if (status == 0)
		snprintf(text, sizeof(text), "the login provider %.200s cannot be asked for its "
			 "%s: %.300s", desk->settings->issuer, what, why);
	else
		snprintf(text, sizeof(text), "the login provider %.200s answers with status %d "
			 "when it is asked for its %s", desk->settings->issuer, status, what);
	failed(desk, text);
	return false;
}

static void keys_came(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		      const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct login_desk *desk = arg;
	struct warren_err err = ERR_INIT;
	struct login_keys *keys;

	(void)head;
	desk->fetch = NULL;
	if (!is_answer(desk, "keys", status, why))
		return;
	keys = login_keys_parse((const char *)body, len, &err);
	if (keys) {
		login_keys_free(desk->keys);
		desk->keys = keys;
		if (desk->failed_at)
			warren_log(ctx, LOG_NOTICE, "the login provider %s is there again",
				   desk->settings->issuer);
		desk->failed_at = 0;
		wake(desk, NULL);
	} else {
		failed(desk, err_first(&err));
	}
	err_free(&err);
}

static void ask_keys(struct login_desk *desk)
{
	desk->keys_at = warren_now();
	desk->fetch = provider_fetch(desk, desk->provider.jwks, NULL, NULL, NULL, keys_came, desk);
	if (!desk->fetch)
		failed(desk, "there is no memory to ask the login provider for its keys");
}

static void description_came(struct warren_ctx *ctx, int status,
			     const struct warren_http_head *head, const uint8_t *body, size_t len,
			     const char *why, void *arg)
{
	struct login_desk *desk = arg;
	struct warren_err err = ERR_INIT;

	(void)ctx;
	(void)head;
	desk->fetch = NULL;
	if (!is_answer(desk, "description", status, why))
		return;
	if (login_discovery_parse((const char *)body, len, desk->settings->issuer,
				  &desk->provider, &err)) {
		desk->provider_at = 0;
		failed(desk, err_first(&err));
	} else {
		desk->provider_at = warren_now();
		ask_keys(desk);
	}
	err_free(&err);
}

static void ask(struct login_desk *desk)
{
	char url[LOGIN_VALUE];

	if (login_discovery_url(desk->settings->issuer, url))
		desk->fetch = provider_fetch(desk, url, NULL, NULL, NULL, description_came, desk);
	if (!desk->fetch)
		failed(desk, "there is no memory to ask the login provider what it is");
}

/* GitHub does not describe itself. */
static void know_github(struct login_desk *desk)
{
	struct login_provider *p = &desk->provider;
	const char *issuer = desk->settings->issuer;

	str_copy(p->issuer, sizeof(p->issuer), issuer);
	snprintf(p->authorization, sizeof(p->authorization), "%s/login/oauth/authorize", issuer);
	snprintf(p->token, sizeof(p->token), "%s/login/oauth/access_token", issuer);
	p->post = true;
	desk->provider_at = warren_now();
}

void provider_begin(struct login_desk *desk)
{
	if (desk->settings->github)
		know_github(desk);
	else if (!desk->fetch)
		ask(desk);
}

static bool is_recent(uint64_t at, uint64_t seconds)
{
	return at && warren_now() - at < seconds * second;
}

void provider_ready(struct visit *v, void (*ready)(struct visit *v))
{
	struct login_desk *desk = v->desk;

	if (desk->settings->github ||
	    (desk->keys && !desk->failed_at && is_recent(desk->provider_at, FRESH))) {
		ready(v);
		return;
	}
	if (!desk->fetch && is_recent(desk->failed_at, FAILED)) {
		visit_away(v, desk->why);
		return;
	}
	v->ready = ready;
	if (!desk->fetch)
		ask(desk);
}

bool provider_keys(struct visit *v, void (*ready)(struct visit *v))
{
	struct login_desk *desk = v->desk;

	if (!desk->fetch && is_recent(desk->keys_at, KEYS_AGAIN))
		return false;
	v->ready = ready;
	if (!desk->fetch)
		ask_keys(desk);
	return true;
}

void provider_forget(struct login_desk *desk)
{
	if (desk->fetch)
		warren_fetch_cancel(desk->fetch);
	desk->fetch = NULL;
	login_keys_free(desk->keys);
	desk->keys = NULL;
	desk->provider_at = desk->keys_at = desk->failed_at = 0;
	desk->provider = (struct login_provider){ .issuer = "" };
}
