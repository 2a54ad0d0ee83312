/*
 * The code for tokens, the tokens for a user.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "desk_impl.h"

static void check_token(struct visit *v);

static void failed(struct visit *v, int result, struct warren_err *err)
{
	if (result == -ENOMEM)
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
	else
		visit_refused(v, err_first(err));
	err_free(err);
}

/* False: told. */
static bool is_answer(struct visit *v, const char *what, int status, const char *why)
{
	AUTO(str_free) struct str text = STR_INIT;

	if (status == 200)
		return true;
	str_addf(&text, "the login provider %s ", v->desk->settings->issuer);
	if (status == 0)
		str_addf(&text, "cannot be asked for %s: %s", what, why);
	else
		str_addf(&text, "answers with status %d when it is asked for %s", status, what);
	if (status == 0 || status >= 500)
		visit_away(v, str_text(&text));
	else
		visit_refused(v, str_text(&text));
	return false;
}

static void info_came(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		      const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct warren_err err = ERR_INIT;
	struct visit *v = arg;
	json_t *info;
	int result;

	(void)ctx;
	(void)head;
	v->fetch = NULL;
	if (!is_answer(v, "its userinfo", status, why))
		return;
	info = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, NULL);
	result = json_is_object(info) ? login_claims_merge(v->claims, info, &err) :
		 warren_fail_key(&err, -EACCES, NULL, NULL, "the provider's answer is refused: its "
				 "userinfo is no JSON object");
	json_decref(info);
	if (result)
		failed(v, result, &err);
	else
		visit_known(v);
}

static void ask_info(struct visit *v)
{
	struct login_desk *desk = v->desk;

	if (!desk->provider.userinfo[0]) {
		visit_known(v);
		return;
	}
	v->fetch = provider_fetch(desk, desk->provider.userinfo, v->tokens.access, NULL, NULL,
				  info_came, v);
	if (!v->fetch)
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
}

static void check_token(struct visit *v)
{
	struct login_desk *desk = v->desk;
	struct warren_err err = ERR_INIT;
	const struct login_expect expect = {
		.issuer = desk->settings->issuer, .client_id = desk->settings->client.client_id,
		.nonce = v->flow.nonce, .now = warren_realtime() / 1000000,
	};
	int result = login_token_verify(desk->keys, v->tokens.id, strlen(v->tokens.id), &expect,
					&v->claims, &err);

	if (result == -ESTALE && !v->again) {
		v->again = true;
		if (provider_keys(v, check_token)) {
			err_free(&err);
			return;
		}
	}
	if (result) {
		failed(v, result, &err);
		return;
	}
	if (check_is_fresh(v))
		ask_info(v);
	else
		visit_refused(v, "the provider did not ask you to sign in again, which this "
			      "network wants before it lets an SSH session in");
}

static void tokens_came(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
			const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct warren_err err = ERR_INIT;
	struct visit *v = arg;
	bool github = v->desk->settings->github;
	int result;

	(void)ctx;
	(void)head;
	v->fetch = NULL;
	/* 400 and 401 say in JSON what is wrong. */
	if (status != 400 && status != 401 && !is_answer(v, "a token", status, why))
		return;
	result = login_tokens_parse((const char *)body, len, &v->tokens, &err);
	if (!result && status != 200)
		result = warren_fail_key(&err, -EACCES, NULL, NULL, "the provider does not take "
					 "the login's code");
	if (!result && !github && !v->tokens.id)
		result = warren_fail_key(&err, -EACCES, NULL, NULL, "the provider's answer is "
					 "refused: it has no ID token");
	if (result)
		failed(v, result, &err);
	else if (github)
		github_begin(v);
	else
		check_token(v);
}

void exchange_begin(struct visit *v)
{
	struct login_desk *desk = v->desk;
	const struct login_client *client = &desk->settings->client;
	AUTO(str_free) struct str body = STR_INIT, basic = STR_INIT;
	size_t len = 0;
	const uint8_t *secret = warren_secret_bytes(desk->settings->secret, &len);

	while (len && strchr(" \t\r\n", secret[len - 1]))
		len--;
	login_token_body(client, &v->flow, v->code, &body);
	if (desk->provider.post)
		login_token_secret(client->client_id, secret, len, &body);
	else
		login_basic(client->client_id, secret, len, &basic);
	if (!body.failed && !basic.failed)
		v->fetch = provider_fetch(desk, desk->provider.token, NULL, desk->provider.post ?
					  NULL : str_text(&basic), &body, tokens_came, v);
	if (body.s)
		explicit_bzero(body.s, body.len);
	if (basic.s)
		explicit_bzero(basic.s, basic.len);
	if (!v->fetch)
		visit_tell(v, 500, "Out of memory", "Try again in a while.");
}
