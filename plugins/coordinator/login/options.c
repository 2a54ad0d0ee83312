/*
 * The section `oidc`.
 */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

static const char *const types[] = { "oidc", "github", NULL };

const struct warren_option login_options[LOGIN_OPTIONS] = {
	{ .key = "type", .type = WARREN_ENUM, .values = types, .def = "oidc",
	  .brief = "What the provider speaks.",
	  .help = "oidc is OpenID Connect. github is GitHub's own OAuth 2: a user is the numeric "
		  "id of the account, organisations and teams are the groups, as in acme and "
		  "acme/ops. A provider that speaks SAML or LDAP only is reached through a bridge "
		  "that speaks OpenID Connect, such as Keycloak, Dex or Authentik." },
	{ .key = "issuer", .type = WARREN_STRING, .min = 10, .max = 1024,
	  .brief = "The provider, letter by letter as it calls itself.",
	  .help = "An https URL; http on this machine only. With type github it may be left out, "
		  "or name a GitHub Enterprise server.",
	  .example = "https://id.example.com" },
	{ .key = "client-id", .type = WARREN_STRING, .flags = WARREN_REQUIRED, .min = 1,
	  .max = 255, .brief = "What the provider calls this server.",
	  .help = "It is registered there as a confidential web client, whose redirect URI is "
		  "this server's `url` followed by /oidc/callback.",
	  .example = "warren" },
	{ .key = "client-secret", .type = WARREN_SECRET_REF, .flags = WARREN_REQUIRED,
	  .brief = "What this server proves itself with to the provider.",
	  .example = "{file: /etc/warren/oidc.secret}" },
	{ .key = "scopes", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1, .max = 100,
	  .brief = "What the provider is asked to tell.",
	  .help = "Left out: openid, profile and email; with type github read:org and user:email.",
	  .example = "[openid, profile, email, groups]" },
	{ .key = "extra-params", .type = WARREN_STRING, .flags = WARREN_KEYED, .max = 1024,
	  .brief = "Further parameters of the address that the browser is sent to.",
	  .example = "{domain_hint: example.com}" },
	{ .key = "allowed-domains", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1,
	  .max = 253, .brief = "Domains whose addresses may log in.",
	  .help = "An address counts if the provider has verified it. Of allowed-domains, "
		  "allowed-users and allowed-groups each that is set must let the user in.",
	  .example = "[example.com]" },
	{ .key = "allowed-users", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1, .max = 255,
	  .brief = "Those who may log in, by verified e-mail address.",
	  .help = "With type github NAME@github as well.", .example = "[alice@example.com]" },
	{ .key = "allowed-groups", .type = WARREN_STRING, .flags = WARREN_MANY, .min = 1,
	  .max = 255, .brief = "Groups of the provider whose members may log in.",
	  .example = "[vpn-users]" },
	{ .key = "groups-claim", .type = WARREN_STRING, .def = "groups", .min = 1, .max = 255,
	  .brief = "The claim that has the groups of a user." },
	{ .key = "policy-groups", .type = WARREN_BOOL, .def = "false",
	  .brief = "The provider's groups are groups of the policy.",
	  .help = "Who is in the provider's group ops, as of the last login, is in group:ops of "
		  "the policy, which has to define it; an empty list will do. With type github "
		  "only organisations that allowed-groups names count." },
	{ .key = "require-email", .type = WARREN_BOOL, .def = "false",
	  .brief = "Only users with a verified e-mail address may log in." },
	{ .key = "expiry-follows-token", .type = WARREN_BOOL, .def = "false",
	  .brief = "A device has to log in again when the provider's token expires.",
	  .help = "Instead of after key-expiry. Many providers give tokens for minutes only." },
	{ .key = "ca-file", .type = WARREN_PATH, .flags = WARREN_READ,
	  .brief = "Authorities that the provider's certificate may be of (PEM).",
	  .help = "Instead of those of the system.", .example = "/etc/warren/ca.pem" },
};

static bool on_this_machine(const char *host)
{
	struct warren_addr addr;

	if (addr_parse(host, &addr))
		return strcmp(host, "localhost") == 0;
	if (addr.family == 4)
		return addr.bytes[0] == 127;
	return addr.bytes[15] == 1 && memcmp(addr.bytes, (const uint8_t[15]){ 0 }, 15) == 0;
}

static int check_issuer(const struct warren_conf *oidc, bool github, struct warren_err *err)
{
	const char *text = warren_conf_str(oidc, "issuer");
	struct warren_url url;

	if (!text && github)
		return 0;
	if (!text)
		return warren_fail(err, oidc, "\"issuer\" is missing: the provider, as it calls "
				   "itself, such as https://id.example.com");
	if (warren_url_parse(text, &url, NULL) || strpbrk(text, "?# "))
		return warren_fail_key(err, -EINVAL, oidc, "issuer", "\"%s\" is no issuer: "
				       "expected a URL such as https://id.example.com", text);
	if (strcmp(url.scheme, "https") != 0 && !on_this_machine(url.host))
		return warren_fail_key(err, -EINVAL, oidc, "issuer", "%s is not on this machine, "
				       "so it has to be an https URL", text);
	return 0;
}

/* Everybody may have an account at GitHub, and call an organisation what he likes. */
static int check_github(const struct warren_conf *oidc, struct warren_err *err)
{
	bool gate = warren_conf_count(oidc, "allowed-domains") ||
		    warren_conf_count(oidc, "allowed-users") ||
		    warren_conf_count(oidc, "allowed-groups");

	if (!gate)
		return warren_fail(err, oidc, "whoever has an account at GitHub could log in: set "
				   "allowed-groups, allowed-users or allowed-domains");
	if (warren_conf_bool(oidc, "policy-groups") && !warren_conf_count(oidc, "allowed-groups"))
		return warren_fail_key(err, -EINVAL, oidc, "policy-groups", "with type github the "
				       "organisations that count have to be in allowed-groups");
	if (warren_conf_bool(oidc, "expiry-follows-token"))
		return warren_fail_key(err, -EINVAL, oidc, "expiry-follows-token", "GitHub gives "
				       "no token with an expiry: leave it out, and set key-expiry");
	return 0;
}

static bool has_scope(const struct warren_conf *oidc, const char *name)
{
	for (uint32_t i = 0; i < warren_conf_count(oidc, "scopes"); i++) {
		if (strcmp(warren_conf_str(warren_conf_at(oidc, "scopes", i), NULL), name) == 0)
			return true;
	}
	return false;
}

static const char *text_at(const struct warren_conf *conf, const char *key, uint32_t i)
{
	return warren_conf_str(warren_conf_at(conf, key, i), NULL);
}

int login_options_check(const struct warren_conf *oidc, struct warren_err *err)
{
	bool github = warren_conf_enum(oidc, "type") == 1;
	uint32_t n = warren_conf_count(oidc, "scopes");
	size_t len = 0;
	int result = check_issuer(oidc, github, err);

	if (!result && github)
		result = check_github(oidc, err);
	for (uint32_t i = 0; i < n; i++)
		len += strlen(text_at(oidc, "scopes", i)) + 1;
	if (!result && len >= LOGIN_VALUE)
		result = warren_fail_key(err, -EINVAL, oidc, "scopes", "these are longer than %d "
					 "bytes together", LOGIN_VALUE);
	if (!result && !github && n && !has_scope(oidc, "openid"))
		result = warren_fail_key(err, -EINVAL, oidc, "scopes", "without \"openid\" the "
					 "provider does not say who logs in");
	return result;
}

/*
 * ---- As the flow uses it ----
 */

static void take_scopes(struct login_settings *s, const struct warren_conf *oidc)
{
	uint32_t n = warren_conf_count(oidc, "scopes");
	size_t len = 0;

	if (!n)
		str_copy(s->scopes, sizeof(s->scopes), s->github ? "read:org user:email" :
			 "openid profile email");
	for (uint32_t i = 0; i < n && len < sizeof(s->scopes); i++)
		len += (size_t)snprintf(s->scopes + len, sizeof(s->scopes) - len, "%s%s",
					i ? " " : "", text_at(oidc, "scopes", i));
}

static const char *const *take_list(const struct warren_conf *oidc, const char *key,
				    const char ***at, uint32_t *n)
{
	const char *const *list = *at;

	*n = warren_conf_count(oidc, key);
	for (uint32_t i = 0; i < *n; i++)
		*(*at)++ = text_at(oidc, key, i);
	return list;
}

static void take_lists(struct login_settings *s, const struct warren_conf *oidc)
{
	const char **at = s->texts;
	struct login_gate *gate = &s->gate;

	gate->domains = take_list(oidc, "allowed-domains", &at, &gate->n_domains);
	gate->users = take_list(oidc, "allowed-users", &at, &gate->n_users);
	gate->groups = take_list(oidc, "allowed-groups", &at, &gate->n_groups);
	gate->groups_claim = s->github ? NULL : warren_conf_str(oidc, "groups-claim");
	gate->require_email = warren_conf_bool(oidc, "require-email");
	s->client.extra = at;
	s->client.n_extra = warren_conf_count(oidc, "extra-params");
	for (uint32_t i = 0; i < s->client.n_extra; i++) {
		const struct warren_conf *one = warren_conf_at(oidc, "extra-params", i);

		*at++ = warren_conf_name(one);
		*at++ = warren_conf_str(one, NULL);
	}
}

struct login_settings *login_settings_new(const struct warren_conf *oidc, const char *url,
					  char *ca_pem)
{
	static const char hub[] = "https://github.com";
	struct login_settings *s = calloc(1, sizeof(*s));
	size_t n = warren_conf_count(oidc, "allowed-domains") +
		   warren_conf_count(oidc, "allowed-users") +
		   warren_conf_count(oidc, "allowed-groups") +
		   2 * (size_t)warren_conf_count(oidc, "extra-params");

	if (s)
		s->texts = calloc(n + 1, sizeof(*s->texts));
	if (!s || !s->texts) {
		free(s);
		free(ca_pem);
		return NULL;
	}
	s->ca_pem = ca_pem;
	s->github = warren_conf_enum(oidc, "type") == 1;
	s->policy_groups = warren_conf_bool(oidc, "policy-groups");
	s->follows_token = warren_conf_bool(oidc, "expiry-follows-token");
	s->issuer = warren_conf_has(oidc, "issuer") ? warren_conf_str(oidc, "issuer") : hub;
	s->secret = warren_conf_secret(oidc, "client-secret");
	if (strcmp(s->issuer, hub) == 0)
		str_copy(s->api, sizeof(s->api), "https://api.github.com");
	else
		snprintf(s->api, sizeof(s->api), "%s/api/v3", s->issuer);
	snprintf(s->redirect, sizeof(s->redirect), "%s/oidc/callback", url);
	take_scopes(s, oidc);
	s->client = (struct login_client){
		.client_id = warren_conf_str(oidc, "client-id"), .redirect_uri = s->redirect,
		.scopes = s->scopes,
	};
	take_lists(s, oidc);
	return s;
}

void login_settings_free(struct login_settings *s)
{
	if (!s)
		return;
	free(s->texts);
	free(s->ca_pem);
	free(s);
}
