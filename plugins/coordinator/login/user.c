/*
 * From claims to a user of the tailnet.
 */
#include "token.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../tailnet/record.h"
#include "base/str.h"
#include "base/util.h"

/* Providers say it as a string as well. */
static bool is_true(const json_t *value)
{
	return json_is_true(value) || str_equal(json_string_value(value), "true");
}

static const char *text_of(const json_t *claims, const char *key, size_t max)
{
	const char *text = json_string_value(json_object_get(claims, key));

	return text && strlen(text) <= max ? text : "";
}

/* One "@", something on both sides, nothing that could break a line or a policy. */
static bool is_address(const char *text)
{
	const char *at = strchr(text, '@');

	if (!at || at == text || !at[1] || strchr(at + 1, '@'))
		return false;
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	}
	return true;
}

static bool domain_allowed(const char *email, const struct login_gate *gate)
{
	const char *at = strchr(email, '@');

	for (uint32_t i = 0; at && i < gate->n_domains; i++) {
		if (strcasecmp(at + 1, gate->domains[i]) == 0)
			return true;
	}
	return false;
}

static bool user_allowed(const struct login_user *user, const struct login_gate *gate)
{
	for (uint32_t i = 0; i < gate->n_users; i++) {
		if (strcasecmp(user->login, gate->users[i]) == 0 ||
		    strcasecmp(user->email, gate->users[i]) == 0)
			return true;
	}
	return false;
}

static bool groups_allowed(const struct login_user *user, const struct login_gate *gate)
{
	for (uint32_t i = 0; i < user->n_groups; i++) {
		for (uint32_t k = 0; k < gate->n_groups; k++) {
			if (strcmp(user->groups[i], gate->groups[k]) == 0)
				return true;
		}
	}
	return false;
}

/* A list, or one as a bare string. More than we keep is an error: what is cut off might deny. */
static int read_groups(const json_t *value, struct login_user *out, struct warren_err *err)
{
	size_t n = json_is_string(value) ? 1 : json_array_size(value);

	if (n > TAILNET_GROUPS)
		return warren_fail_key(err, -EACCES, NULL, NULL, "you are in more groups than the "
				       "%d that are kept; let the provider send fewer",
				       TAILNET_GROUPS);
	if (!n)
		return 0;
	out->groups = calloc(n, sizeof(*out->groups));
	if (!out->groups)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_is_string(value) ? value :
						     json_array_get(value, i));

		if (name && name[0] && strlen(name) <= TAILNET_TEXT)
			out->groups[out->n_groups++] = name;
	}
	return 0;
}

/* "SUB@accounts.example.com" */
static char *made_up_login(const char *issuer, const char *sub)
{
	const char *host = strstr(issuer, "://");
	struct str login = STR_INIT;

	host = host ? host + 3 : issuer;
	for (const char *at = sub; *at; at++)
		str_addc(&login, (unsigned char)*at <= ' ' || *at == '@' ? '_' : *at);
	str_addc(&login, '@');
	str_addn(&login, host, strcspn(host, "/:"));
	str_cut(&login, TAILNET_TEXT);
	return str_take(&login);
}

static int gate_check(const struct login_user *user, const struct login_gate *gate,
		      struct warren_err *err)
{
	if ((gate->require_email || gate->n_domains) && !user->email[0])
		return warren_fail_key(err, -EACCES, NULL, NULL, "the provider has not verified "
				       "your e-mail address, and this network asks for that");
	if (gate->n_domains && !domain_allowed(user->email, gate))
		return warren_fail_key(err, -EACCES, NULL, NULL, "addresses of your domain may not "
				       "log in here");
	if (gate->n_users && !user_allowed(user, gate))
		return warren_fail_key(err, -EACCES, NULL, NULL, "you are none of the users that "
				       "may log in here");
	if (gate->n_groups && !groups_allowed(user, gate))
		return warren_fail_key(err, -EACCES, NULL, NULL, "you are in none of the groups "
				       "that may log in here");
	return 0;
}

int login_user_read(const char *issuer, const json_t *claims, const char *login,
		    const struct login_gate *gate, struct login_user *out, struct warren_err *err)
{
	const char *sub = json_string_value(json_object_get(claims, "sub"));
	const char *email = text_of(claims, "email", TAILNET_TEXT);
	const char *picture = text_of(claims, "picture", TAILNET_URL);
	struct str subject = STR_INIT;
	int rc;

	*out = (struct login_user){ .display = text_of(claims, "name", TAILNET_TEXT) };
	if (!sub || !sub[0])
		return warren_fail_key(err, -EACCES, NULL, NULL, "the provider does not say who "
				       "you are");
	out->email = is_true(json_object_get(claims, "email_verified")) && is_address(email) ?
		     email : "";
	out->picture = str_starts(picture, "https://") ? picture : "";
	out->expiry = (int64_t)json_number_value(json_object_get(claims, "exp"));
	rc = read_groups(json_object_get(claims, gate->groups_claim ? gate->groups_claim :
					 "groups"), out, err);
	if (rc)
		return rc;
	/* No issuer holds a blank, so no two pairs read the same. */
	str_addf(&subject, "%s %s", issuer, sub);
	out->subject = str_take(&subject);
	if (login)
		out->login = strdup(login);
	else
		out->login = out->email[0] ? strdup(out->email) : made_up_login(issuer, sub);
	if (!out->subject || !out->login)
		return -ENOMEM;
	return gate_check(out, gate, err);
}

void login_user_free(struct login_user *user)
{
	free(user->subject);
	free(user->login);
	free(user->groups);
	*user = (struct login_user){ .subject = NULL };
}
