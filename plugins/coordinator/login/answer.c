/*
 * Answers of a provider that nobody signed.
 */
#include "answer.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "base/util.h"
#include "token.h"

static int refuse(struct warren_err *err, const char *why)
{
	return warren_fail_key(err, -EACCES, NULL, NULL, "the provider's answer is refused: %s",
			       why);
}

static const char *text_of(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* What may stand in a field of a request. */
static bool is_token(const char *text)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

static int read_tokens(const json_t *o, struct login_tokens *out, struct warren_err *err)
{
	const char *access = text_of(o, "access_token"), *type = text_of(o, "token_type");
	const char *id = text_of(o, "id_token"), *error = text_of(o, "error");
	AUTO(str_free) struct str clean = STR_INIT;

	if (error) {
		str_add_clean(&clean, error, strlen(error), 64);
		return warren_fail_key(err, -EACCES, NULL, NULL, "the provider does not take the "
				       "login's code: %s", str_text(&clean));
	}
	if (!access || !access[0] || strlen(access) > LOGIN_BEARER || !is_token(access))
		return refuse(err, "it has no access token");
	if (!type || strcasecmp(type, "bearer") != 0)
		return refuse(err, "its access token is no bearer token");
	out->access = strdup(access);
	out->id = id ? strdup(id) : NULL;
	return out->access && (!id || out->id) ? 0 : -ENOMEM;
}

int login_tokens_parse(const char *json, size_t len, struct login_tokens *out,
		       struct warren_err *err)
{
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	int rc;

	*out = (struct login_tokens){ .access = NULL };
	rc = json_is_object(o) ? read_tokens(o, out, err) :
	     refuse(err, "it is no answer to the login's code");
	json_decref(o);
	return rc;
}

static void wipe(char *text)
{
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
}

void login_tokens_free(struct login_tokens *tokens)
{
	wipe(tokens->access);
	wipe(tokens->id);
	*tokens = (struct login_tokens){ .access = NULL };
}

/*
 * ---- GitHub ----
 */

static bool is_name(const char *name)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789-_.";
	size_t len = name ? strlen(name) : 0;

	return len && len <= 100 && strspn(name, digits) == len;
}

static bool set_text(json_t *claims, const char *key, const char *text)
{
	return !text || json_object_set_new(claims, key, json_string(text)) == 0;
}

int login_github_user(const char *json, size_t len, json_t **claims, char **login,
		      struct warren_err *err)
{
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	json_int_t id = json_integer_value(json_object_get(o, "id"));
	const char *name = text_of(o, "login");
	char sub[24];
	bool ok;

	*claims = NULL;
	*login = NULL;
	if (id <= 0 || !is_name(name)) {
		json_decref(o);
		return refuse(err, "it does not say who the user is");
	}
	snprintf(sub, sizeof(sub), "%lld", (long long)id);
	*claims = json_pack("{s:s,s:[]}", "sub", sub, "groups");
	ok = *claims && set_text(*claims, "name", text_of(o, "name")) &&
	     set_text(*claims, "picture", text_of(o, "avatar_url")) &&
	     asprintf(login, "%s@github", name) > 0;
	json_decref(o);
	if (ok)
		return 0;
	json_decref(*claims);
	*claims = NULL;
	*login = NULL;
	return -ENOMEM;
}

int login_github_emails(const char *json, size_t len, json_t *claims, struct warren_err *err)
{
	json_t *list = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL), *o;
	bool ok = json_is_array(list);
	int rc = ok ? 0 : refuse(err, "it is no list of addresses");
	size_t i;

	json_array_foreach(list, i, o) {
		if (json_is_true(json_object_get(o, "primary")) &&
		    json_is_true(json_object_get(o, "verified")) &&
		    (!set_text(claims, "email", text_of(o, "email")) ||
		     json_object_set_new(claims, "email_verified", json_true())))
			rc = -ENOMEM;
	}
	json_decref(list);
	return rc;
}

/* Names of organisations are the same in any case. */
static bool is_ours(const char *org, const struct login_gate *gate)
{
	size_t len = strlen(org);

	for (uint32_t i = 0; i < gate->n_groups; i++) {
		if (strcspn(gate->groups[i], "/") == len &&
		    strncasecmp(gate->groups[i], org, len) == 0)
			return true;
	}
	return false;
}

static int add_group(const json_t *o, bool teams, const struct login_gate *gate, json_t *groups)
{
	const char *org = text_of(teams ? json_object_get(o, "organization") : o, "login");
	const char *team = text_of(o, "slug");

	if (!is_name(org) || (teams && !is_name(team)) || !is_ours(org, gate))
		return 0;
	return json_array_append_new(groups, teams ? json_sprintf("%s/%s", org, team) :
				     json_string(org)) ? -ENOMEM : 0;
}

int login_github_groups(const char *json, size_t len, bool teams, const struct login_gate *gate,
			json_t *claims, uint32_t *n, struct warren_err *err)
{
	json_t *list = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL), *o;
	json_t *groups = json_object_get(claims, "groups");
	int rc = json_is_array(list) ? 0 : refuse(err, teams ? "it is no list of teams" :
						  "it is no list of organisations");
	size_t i;

	*n = (uint32_t)json_array_size(list);
	json_array_foreach(list, i, o) {
		if (!rc)
			rc = add_group(o, teams, gate, groups);
	}
	json_decref(list);
	return rc;
}
