/*
 * Bodies of the register request. The answer is small and comes once, so it is one JSON tree; what
 * it says to people is made printable here, because terminals and logs will show it.
 */
#include "register.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

/* "Unix second 123": in the past, but not the zero time, which is "unset" (5.1, 5.4). */
static const char logout_expiry[] = "1970-01-01T00:02:03Z";
static const char no_expiry[] = "0001-01-01T00:00:00Z";

static void add_key(struct str *out, const char *name, const uint8_t key[32])
{
	char text[WARREN_KEYTEXT_MAX];

	str_addf(out, "\"%s\":\"%s\",", name,
		 warren_keytext_format(WARREN_KEYTEXT_NODE, key, text));
}

void ctl_register_body(const struct ctl_register *request, struct str *out)
{
	str_addf(out, "{\"Version\":%d,", CTL_CAP_VERSION);
	add_key(out, "NodeKey", request->node_key);
	add_key(out, "OldNodeKey", request->old_node_key);
	str_add(out, "\"NLKey\":\"nlpub:0000000000000000000000000000000000000000000000000000000000"
		"000000\",");
	if (request->auth_key) {
		str_add(out, "\"Auth\":{\"AuthKey\":");
		str_add_json(out, request->auth_key, strlen(request->auth_key));
		str_add(out, "},");
	}
	str_addf(out, "\"Expiry\":\"%s\",\"Followup\":",
		 request->logout ? logout_expiry : no_expiry);
	str_add_json(out, request->followup ? request->followup : "",
		     request->followup ? strlen(request->followup) : 0);
	str_addf(out, ",\"Hostinfo\":%s", request->hostinfo);
	if (request->ephemeral)
		str_add(out, ",\"Ephemeral\":true");
	str_add(out, ",\"NodeKeySignature\":null}");
}

/*
 * ---- The answer ----
 */

struct reader {
	const char *why;		/* NULL: good so far */
};

/* NULL: absent or null. */
static const json_t *member(struct reader *r, const json_t *o, const char *key, json_type type,
			    const char *why)
{
	const json_t *value = json_object_get(o, key);

	if (!value || json_is_null(value))
		return NULL;
	if (json_typeof(value) == type)
		return value;
	r->why = r->why ? r->why : why;
	return NULL;
}

static bool flag(struct reader *r, const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	if (value && !json_is_null(value) && !json_is_boolean(value) && !r->why)
		r->why = "a flag is neither true nor false";
	return json_is_true(value);
}

/* Printable text, cut to fit. */
static void text(struct reader *r, const json_t *o, const char *key, char *out, size_t size)
{
	const json_t *value = member(r, o, key, JSON_STRING, "a text is none");
	struct str clean = STR_INIT;

	if (!value)
		return;
	str_add_clean(&clean, json_string_value(value), json_string_length(value), size / 2);
	str_cut(&clean, size - 1);
	str_copy(out, size, str_text(&clean));
	str_free(&clean);
}

static void auth_url(struct reader *r, const json_t *o, struct ctl_registered *out)
{
	const json_t *value = member(r, o, "AuthURL", JSON_STRING, "AuthURL is no text");
	const char *url = value ? json_string_value(value) : "";
	size_t len = strlen(url);

	if (!len && (!value || json_string_length(value) == 0))
		return;
	if (len != json_string_length(value) || len >= sizeof(out->auth_url) ||
	    (!str_starts(url, "https://") && !str_starts(url, "http://"))) {
		r->why = r->why ? r->why : "AuthURL is no web address";
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (url[i] <= ' ' || url[i] > '~' || strchr("\"'<>\\^`{|}", url[i])) {
			r->why = r->why ? r->why : "AuthURL has characters that no URL has";
			return;
		}
	}
	memcpy(out->auth_url, url, len + 1);
}

static void users(struct reader *r, const json_t *o, struct ctl_registered *out)
{
	const json_t *user = member(r, o, "User", JSON_OBJECT, "User is no object");
	const json_t *login = member(r, o, "Login", JSON_OBJECT, "Login is no object");
	const json_t *id = user ? member(r, user, "ID", JSON_INTEGER, "User.ID is no integer")
				: NULL;

	out->user = id ? json_integer_value(id) : 0;
	if (login) {
		text(r, login, "LoginName", out->login, sizeof(out->login));
		text(r, login, "DisplayName", out->display_name, sizeof(out->display_name));
	}
	if (user && !out->display_name[0])
		text(r, user, "DisplayName", out->display_name, sizeof(out->display_name));
}

int ctl_register_parse(const uint8_t *body, size_t len, struct ctl_registered *out,
		       struct warren_err *err)
{
	struct reader r = { NULL };
	const json_t *signature;
	json_error_t error;
	json_t *o = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, &error);

	memset(out, 0, sizeof(*out));
	if (!json_is_object(o)) {
		json_decref(o);
		warren_fail(err, NULL, "the server's answer to the login is no JSON object");
		return -EBADMSG;
	}
	text(&r, o, "Error", out->error, sizeof(out->error));
	out->node_key_expired = flag(&r, o, "NodeKeyExpired");
	out->machine_authorized = flag(&r, o, "MachineAuthorized");
	signature = member(&r, o, "NodeKeySignature", JSON_STRING, "NodeKeySignature is no text");
	out->wants_signature = signature && json_string_length(signature) > 0;
	auth_url(&r, o, out);
	users(&r, o, out);
	json_decref(o);
	if (!r.why)
		return 0;
	memset(out, 0, sizeof(*out));
	warren_fail(err, NULL, "the server's answer to the login cannot be used: %s", r.why);
	return -EBADMSG;
}
