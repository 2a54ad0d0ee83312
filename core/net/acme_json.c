/*
 * What an ACME server answers (RFC 8555 7.1), taken out of its JSON.
 */
#include "acme_impl.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/util.h"

static json_t *load(const void *data, size_t len, struct warren_err *err)
{
	json_t *o = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(o))
		return o;
	json_decref(o);
	warren_fail_key(err, -EBADMSG, NULL, NULL, "the authority's answer is no JSON object");
	return NULL;
}

/* The end of every parser: a result and no object. */
static int finish(json_t *o, const char *missing, struct warren_err *err)
{
	json_decref(o);
	if (!missing)
		return 0;
	return warren_fail_key(err, -EBADMSG, NULL, NULL, "the authority's answer has no usable "
			       "\"%s\"", missing);
}

/* A URL that we would go to; "" when it is none. */
static bool get_url(const json_t *o, char out[ACME_URL])
{
	const char *text = json_string_value(o);
	struct warren_url url;

	out[0] = '\0';
	return text && str_starts(text, "https://") && warren_url_parse(text, &url, NULL) == 0 &&
	       str_copy(out, ACME_URL, text);
}

/* For people: at most what fits. */
static void put_clean(const char *text, char *out, size_t size)
{
	struct str clean = STR_INIT;

	str_add_clean(&clean, text, strlen(text), size);
	str_cut(&clean, size - 1);
	if (!str_copy(out, size, str_text(&clean)))
		out[0] = '\0';
	str_free(&clean);
}

static void get_clean(const json_t *o, const char *key, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(o, key));

	put_clean(text ? text : "", out, size);
}

int acme_parse_directory(const void *data, size_t len, struct acme_directory *out,
			 struct warren_err *err)
{
	json_t *o = load(data, len, err);
	const char *missing = NULL;

	memset(out, 0, sizeof(*out));
	if (!o)
		return -EBADMSG;
	get_clean(json_object_get(o, "meta"), "termsOfService", out->terms, sizeof(out->terms));
	if (!get_url(json_object_get(o, "newNonce"), out->nonce))
		missing = "newNonce";
	else if (!get_url(json_object_get(o, "newAccount"), out->account))
		missing = "newAccount";
	else if (!get_url(json_object_get(o, "newOrder"), out->order))
		missing = "newOrder";
	return finish(o, missing, err);
}

static void get_problem(const json_t *o, struct acme_problem *out)
{
	static const char common[] = "urn:ietf:params:acme:error:";
	const json_t *first = json_array_get(json_object_get(o, "subproblems"), 0);
	const char *type = json_string_value(json_object_get(o, "type"));

	if (type && str_starts(type, common))
		type += sizeof(common) - 1;
	put_clean(type ? type : "", out->type, sizeof(out->type));
	get_clean(first ? first : o, "detail", out->detail, sizeof(out->detail));
}

void acme_parse_problem(const void *data, size_t len, struct acme_problem *out)
{
	json_t *o = json_loadb(data, len, 0, NULL);

	get_problem(o, out);
	json_decref(o);
}

static bool get_status(const json_t *o, enum acme_status *out)
{
	static const struct {
		const char *text;
		enum acme_status status;
	} all[] = {
		{ "pending", ACME_PENDING }, { "ready", ACME_READY },
		{ "processing", ACME_PROCESSING }, { "valid", ACME_VALID },
		{ "invalid", ACME_INVALID }, { "deactivated", ACME_INVALID },
		{ "expired", ACME_INVALID }, { "revoked", ACME_INVALID },
	};
	const char *text = json_string_value(json_object_get(o, "status"));

	for (size_t i = 0; text && i < ARRAY_SIZE(all); i++) {
		if (strcmp(text, all[i].text) == 0) {
			*out = all[i].status;
			return true;
		}
	}
	return false;
}

int acme_parse_order(const void *data, size_t len, struct acme_order *out, struct warren_err *err)
{
	json_t *o = load(data, len, err);
	const json_t *list;
	const char *missing = NULL;

	memset(out, 0, sizeof(*out));
	if (!o)
		return -EBADMSG;
	list = json_object_get(o, "authorizations");
	if (!get_status(o, &out->status))
		missing = "status";
	else if (!get_url(json_object_get(o, "finalize"), out->finalize))
		missing = "finalize";
	else if (json_array_size(list) == 0 || json_array_size(list) > WARREN_ACME_NAMES)
		missing = "authorizations";
	else if (json_object_get(o, "certificate") &&
		 !get_url(json_object_get(o, "certificate"), out->certificate))
		missing = "certificate";
	for (; !missing && out->n < json_array_size(list); out->n++) {
		if (!get_url(json_array_get(list, out->n), out->authorizations[out->n]))
			missing = "authorizations";
	}
	get_problem(json_object_get(o, "error"), &out->problem);
	return finish(o, missing, err);
}

/* Base64url, because it becomes part of a path and is what people see in a log. */
static bool get_token(const json_t *o, char out[ACME_TOKEN])
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-_";
	const char *text = json_string_value(json_object_get(o, "token"));

	return text && text[0] && strspn(text, allowed) == strlen(text) &&
	       str_copy(out, ACME_TOKEN, text);
}

/* False: a kind that we do not know, or it makes no sense: the others may. */
static bool get_challenge(const json_t *o, struct acme_challenge *out)
{
	static const struct {
		const char *text;
		enum warren_acme_way way;
	} all[] = {
		{ "tls-alpn-01", WARREN_ACME_TLS_ALPN_01 }, { "http-01", WARREN_ACME_HTTP_01 },
		{ "dns-01", WARREN_ACME_DNS_01 },
	};
	const char *type = json_string_value(json_object_get(o, "type"));

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; type && i < ARRAY_SIZE(all); i++) {
		if (strcmp(type, all[i].text) == 0)
			out->way = all[i].way;
	}
	get_problem(json_object_get(o, "error"), &out->problem);
	return out->way && get_url(json_object_get(o, "url"), out->url) &&
	       get_token(o, out->token);
}

int acme_parse_authorization(const void *data, size_t len, struct acme_authorization *out,
			     struct warren_err *err)
{
	json_t *o = load(data, len, err);
	const json_t *list, *name;
	const char *missing = NULL;

	memset(out, 0, sizeof(*out));
	if (!o)
		return -EBADMSG;
	list = json_object_get(o, "challenges");
	name = json_object_get(json_object_get(o, "identifier"), "value");
	if (!get_status(o, &out->status))
		missing = "status";
	else if (!json_is_string(name) ||
		 !str_copy(out->name, sizeof(out->name), json_string_value(name)))
		missing = "identifier";
	for (size_t i = 0; i < json_array_size(list) && out->n < ACME_CHALLENGES; i++) {
		if (get_challenge(json_array_get(list, i), &out->challenges[out->n]))
			out->n++;
	}
	return finish(o, missing, err);
}
