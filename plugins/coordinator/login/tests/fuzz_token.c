/*
 * What a provider and a browser send: the first byte says whether the rest is taken for keys, a
 * token, a description of the provider, the query of a callback, a Cookie field, a form, an answer
 * to the token request, GitHub's user, addresses, organisations or teams, or claims.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../answer.h"
#include "../flow.h"
#include "../token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char jwks[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\","
	"\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\","
	"\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}]}";

static void fuzz_token(const char *text, size_t len)
{
	const struct login_expect expect = {
		.issuer = "https://a", .client_id = "b", .nonce = "c", .now = 1800000000,
	};
	struct login_keys *keys = login_keys_parse(jwks, sizeof(jwks) - 1, NULL);
	json_t *claims;

	if (!keys)
		abort();
	if (login_token_verify(keys, text, len, &expect, &claims, NULL) == 0)
		abort();		/* nobody has the private key */
	login_keys_free(keys);
}

static void fuzz_claims(const char *text, size_t len)
{
	static const char *const domains[] = { "example.com" };
	const struct login_gate gate = { .domains = domains, .n_domains = 1 };
	json_t *claims = json_loadb(text, len, 0, NULL), *info;
	struct login_user user;

	if (!claims)
		return;
	info = json_deep_copy(claims);
	if (json_is_object(claims))
		login_claims_merge(claims, info, NULL);
	/* What the gate lets through has an address of that domain. */
	if (login_user_read("https://a", claims, NULL, &gate, &user, NULL) == 0 &&
	    (!user.email[0] || strcmp(user.email, user.login) != 0))
		abort();
	login_user_free(&user);
	json_decref(info);
	json_decref(claims);
}

static void fuzz_discovery(const char *text, size_t len)
{
	struct login_provider provider;
	struct warren_url url;

	if (login_discovery_parse(text, len, "https://a", &provider, NULL) == 0 &&
	    (warren_url_parse(provider.token, &url, NULL) || strcmp(url.scheme, "https") != 0))
		abort();
}

static void fuzz_tokens(const char *text, size_t len)
{
	struct login_tokens tokens;

	if (login_tokens_parse(text, len, &tokens, NULL) == 0 && !tokens.access)
		abort();
	login_tokens_free(&tokens);
}

static void fuzz_github(char what, const char *text, size_t len)
{
	static const char *const allowed[] = { "acme/ops" };
	const struct login_gate gate = { .groups = allowed, .n_groups = 1 };
	json_t *claims = NULL;
	struct login_user user;
	char *login = NULL;
	uint32_t n;

	if (what == 'u') {
		if (login_github_user(text, len, &claims, &login, NULL) == 0 && !login)
			abort();
	} else {
		claims = json_pack("{s:s,s:[]}", "sub", "1", "groups");
		if (what == 'e')
			login_github_emails(text, len, claims, NULL);
		else
			login_github_groups(text, len, what == 'm', &gate, claims, &n, NULL);
	}
	/* Nothing that is wrong comes through as an organisation of ours. */
	if (claims && login_user_read("https://a", claims, login, &gate, &user, NULL) == 0 &&
	    !user.n_groups)
		abort();
	if (claims)
		login_user_free(&user);
	json_decref(claims);
	free(login);
}

static void fuzz_form(const char *data, size_t len)
{
	char *text = strndup(data, len);

	if (text && login_form_says(text, "answer", "yes") && !strstr(text, "answer=yes"))
		abort();
	free(text);
}

static void fuzz_browser(bool cookie, const char *data, size_t len)
{
	char *text = strndup(data, len), value[LOGIN_RANDOM];
	struct login_query query;

	if (!text)
		return;
	if (cookie)
		login_cookie_find(text, "warren-login-a", value);
	else
		login_query_parse(text, &query);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	if (data[0] == 'k')
		login_keys_free(login_keys_parse(text, size - 1, NULL));
	else if (data[0] == 't')
		fuzz_token(text, size - 1);
	else if (data[0] == 'd')
		fuzz_discovery(text, size - 1);
	else if (data[0] == 'q' || data[0] == 'h')
		fuzz_browser(data[0] == 'h', text, size - 1);
	else if (data[0] == 'a')
		fuzz_tokens(text, size - 1);
	else if (data[0] == 'f')
		fuzz_form(text, size - 1);
	else if (strchr("uegm", data[0]) && data[0])
		fuzz_github((char)data[0], text, size - 1);
	else
		fuzz_claims(text, size - 1);
	return 0;
}
