/*
 * Texts of the code flow: URLs, forms, queries, cookies.
 */
#include "flow.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/util.h"

/* RFC 3986 2.3: what needs no percent sign. */
static void add_escaped(struct str *out, const char *text, size_t len)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";

	for (size_t i = 0; i < len; i++) {
		if (text[i] && strchr(plain, text[i]))
			str_addc(out, text[i]);
		else
			str_addf(out, "%%%02X", (unsigned char)text[i]);
	}
}

static void add_pair(struct str *out, const char *name, const char *value)
{
	if (out->len && out->s[out->len - 1] != '?')
		str_addc(out, '&');
	add_escaped(out, name, strlen(name));
	str_addc(out, '=');
	add_escaped(out, value, strlen(value));
}

static bool is_ours(const char *name, bool anew)
{
	static const char *const names[] = {
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state",
		"nonce", "code_challenge", "code_challenge_method", "request", "request_uri",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return anew && strcmp(name, "max_age") == 0;
}

void login_flow_url(const struct login_provider *provider, const struct login_client *client,
		    const struct login_flow *flow, struct str *out)
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	char challenge[LOGIN_RANDOM];

	crypto_hash_sha256(hash, (const uint8_t *)flow->verifier, strlen(flow->verifier));
	sodium_bin2base64(challenge, sizeof(challenge), hash, sizeof(hash),
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	str_add(out, provider->authorization);
	if (!strchr(provider->authorization, '?'))
		str_addc(out, '?');
	add_pair(out, "response_type", "code");
	add_pair(out, "client_id", client->client_id);
	add_pair(out, "redirect_uri", client->redirect_uri);
	add_pair(out, "scope", client->scopes);
	add_pair(out, "state", flow->state);
	add_pair(out, "nonce", flow->nonce);
	add_pair(out, "code_challenge", challenge);
	add_pair(out, "code_challenge_method", "S256");
	if (flow->anew)
		add_pair(out, "max_age", "0");
	for (uint32_t i = 0; i < client->n_extra; i++) {
		if (!is_ours(client->extra[2 * i], flow->anew))
			add_pair(out, client->extra[2 * i], client->extra[2 * i + 1]);
	}
}

void login_token_body(const struct login_client *client, const struct login_flow *flow,
		      const char *code, struct str *out)
{
	add_pair(out, "grant_type", "authorization_code");
	add_pair(out, "code", code);
	add_pair(out, "redirect_uri", client->redirect_uri);
	add_pair(out, "code_verifier", flow->verifier);
}

void login_token_secret(const char *client_id, const uint8_t *secret, size_t len,
			struct str *out)
{
	add_pair(out, "client_id", client_id);
	str_add(out, "&client_secret=");
	add_escaped(out, (const char *)secret, len);
}

void login_basic(const char *client_id, const uint8_t *secret, size_t len, struct str *out)
{
	struct str pair = STR_INIT;
	char *text;

	add_escaped(&pair, client_id, strlen(client_id));
	str_addc(&pair, ':');
	add_escaped(&pair, (const char *)secret, len);
	text = pair.failed ? NULL : malloc(BASE64_TEXT(pair.len));
	if (text) {
		base64_encode(text, pair.s, pair.len);
		str_addf(out, "Basic %s", text);
		sodium_memzero(text, BASE64_TEXT(pair.len));
		free(text);
	} else {
		out->failed = true;
	}
	if (pair.s)
		sodium_memzero(pair.s, pair.len);
	str_free(&pair);
}

/*
 * ---- Back from the provider ----
 */

/* @text up to @len, decoded as a form is. False: malformed, a NUL, or too long. */
static bool unescape(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char pair[3] = "", c = text[i] == '+' ? ' ' : text[i];

		if (c == '%') {
			if (len - i < 3)
				return false;
			memcpy(pair, text + i + 1, 2);
			if (hex_decode(&c, 1, pair) || !c)
				return false;
			i += 2;
		}
		if (n + 1 >= size)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

/* One "name=value". Names that we do not know are left alone. */
static bool read_pair(const char *text, size_t len, struct login_query *out)
{
	const struct {
		const char *name;
		char *value;
	} known[] = {
		{ "code", out->code }, { "state", out->state }, { "error", out->error },
		{ "iss", out->iss },
	};
	const char *equals = memchr(text, '=', len);
	size_t n = equals ? (size_t)(equals - text) : len;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strlen(known[i].name) != n || memcmp(known[i].name, text, n) != 0)
			continue;
		if (!equals || known[i].value[0])
			return false;
		return unescape(equals + 1, len - n - 1, known[i].value, LOGIN_VALUE);
	}
	return true;
}

bool login_query_parse(const char *path, struct login_query *out)
{
	const char *at = strchr(path, '?');
	size_t len;

	*out = (struct login_query){ .code = "" };
	if (!at || strlen(at) > LOGIN_QUERY)
		return false;
	for (at++; *at; at += len + (at[len] == '&')) {
		len = strcspn(at, "&");
		if (!read_pair(at, len, out)) {
			*out = (struct login_query){ .code = "" };
			return false;
		}
	}
	return true;
}

bool login_form_says(const char *form, const char *name, const char *value)
{
	size_t n = strlen(name), len;

	for (const char *at = form; *at; at += len + (at[len] == '&')) {
		len = strcspn(at, "&");
		if (len == n + 1 + strlen(value) && strncmp(at, name, n) == 0 && at[n] == '=' &&
		    strncmp(at + n + 1, value, strlen(value)) == 0)
			return true;
	}
	return false;
}

void login_cookie_name(const char *state, char out[LOGIN_COOKIE_NAME])
{
	snprintf(out, LOGIN_COOKIE_NAME, "warren-login-%.6s", state);
}

bool login_cookie_find(const char *field, const char *name, char out[LOGIN_RANDOM])
{
	size_t n = strlen(name), len;

	out[0] = '\0';
	for (const char *at = field; at && *at; at += len) {
		at += strspn(at, "; ");
		len = strcspn(at, ";");
		if (len <= n || memcmp(at, name, n) != 0 || at[n] != '=')
			continue;
		if (len - n - 1 >= LOGIN_RANDOM)
			return false;
		memcpy(out, at + n + 1, len - n - 1);
		out[len - n - 1] = '\0';
		return true;
	}
	return false;
}
