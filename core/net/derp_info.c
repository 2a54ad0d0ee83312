/*
 * What the boxes of DERP's login hold (path-protocols.md 1.5). The stock server finds members
 * whatever case their names have, takes null for absent, and refuses values of another type.
 */
#include <warren/derp.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#include "base/hex.h"
#include "base/str.h"
#include "base/util.h"

enum { MESH_DIGITS = 64 };

/* The last member of that name counts, as in Go. */
static const json_t *member(json_t *o, const char *name)
{
	const json_t *found = NULL;
	const char *key;
	json_t *value;

	json_object_foreach(o, key, value) {
		if (strcasecmp(key, name) == 0 && !json_is_null(value))
			found = value;
	}
	return found;
}

static int refuse(struct warren_err *err, const char *name, const char *what)
{
	warren_fail(err, NULL, "%s of the login is no %s", name, what);
	return -EBADMSG;
}

static int get_bool(json_t *o, const char *name, bool *out, struct warren_err *err)
{
	const json_t *value = member(o, name);

	if (value && !json_is_boolean(value))
		return refuse(err, name, "boolean");
	*out = json_is_true(value);
	return 0;
}

static int get_number(json_t *o, const char *name, uint64_t max, uint64_t *out,
		      struct warren_err *err)
{
	const json_t *value = member(o, name);
	json_int_t n = json_integer_value(value);

	if (value && (!json_is_integer(value) || n < 0 || (uint64_t)n > max))
		return refuse(err, name, "number that can be used");
	*out = (uint64_t)n;
	return 0;
}

static int get_version(json_t *o, uint32_t *out, struct warren_err *err)
{
	uint64_t n;
	int result = get_number(o, "version", UINT32_MAX, &n, err);

	*out = (uint32_t)n;
	return result;
}

static int get_mesh_key(json_t *o, struct warren_derp_client_info *out, struct warren_err *err)
{
	const json_t *value = member(o, "meshKey");
	const char *text = json_string_value(value);

	if (!value)
		return 0;
	if (!text || strlen(text) != MESH_DIGITS || hex_decode(out->mesh_key, 32, text)) {
		sodium_memzero(out->mesh_key, sizeof(out->mesh_key));
		return refuse(err, "meshKey", "text of 64 hexadecimal digits");
	}
	out->has_mesh_key = true;
	return 0;
}

static int get_app(json_t *o, char out[WARREN_DERP_APP], struct warren_err *err)
{
	const json_t *value = member(o, "AppName");

	if (value && !json_is_string(value))
		return refuse(err, "AppName", "text");
	snprintf(out, WARREN_DERP_APP, "%s", value ? json_string_value(value) : "");
	return 0;
}

static json_t *parse(const uint8_t *text, size_t len, struct warren_err *err)
{
	json_t *o = len <= WARREN_DERP_INFO_MAX ?
		    json_loadb((const char *)text, len, 0, NULL) : NULL;

	if (!json_is_object(o)) {
		json_decref(o);
		warren_fail(err, NULL, "the login's text is no JSON object");
		return NULL;
	}
	return o;
}

int warren_derp_client_info_parse(const uint8_t *text, size_t len,
				  struct warren_derp_client_info *out, struct warren_err *err)
{
	json_t *o = parse(text, len, err);
	int result = -EBADMSG;

	*out = (struct warren_derp_client_info){ .size = sizeof(*out) };
	if (o && get_version(o, &out->version, err) == 0 &&
	    get_bool(o, "CanAckPings", &out->can_ack_pings, err) == 0 &&
	    get_bool(o, "IsProber", &out->prober, err) == 0 &&
	    get_app(o, out->app_name, err) == 0 && get_mesh_key(o, out, err) == 0)
		result = 0;
	json_decref(o);
	return result;
}

int warren_derp_server_info_parse(const uint8_t *text, size_t len,
				  struct warren_derp_server_info *out, struct warren_err *err)
{
	json_t *o = parse(text, len, err);
	int result = -EBADMSG;

	*out = (struct warren_derp_server_info){ .size = sizeof(*out) };
	if (o && get_version(o, &out->version, err) == 0 &&
	    get_number(o, "TokenBucketBytesPerSecond", INT64_MAX, &out->bytes_per_second,
		       err) == 0 &&
	    get_number(o, "TokenBucketBytesBurst", INT64_MAX, &out->burst, err) == 0)
		result = 0;
	json_decref(o);
	return result;
}

/* The longest text fits: see the sizes in the header. */
static size_t copy_out(struct str *text, char out[WARREN_DERP_INFO_TEXT])
{
	size_t len = str_copy(out, WARREN_DERP_INFO_TEXT, str_text(text)) ? text->len : 0;

	if (text->s)
		sodium_memzero(text->s, text->len);
	str_free(text);
	return len;
}

size_t warren_derp_client_info_text(const struct warren_derp_client_info *info,
				    char out[WARREN_DERP_INFO_TEXT])
{
	char digits[MESH_DIGITS + 1];
	struct str text = STR_INIT;

	str_add(&text, "{");
	if (info->has_mesh_key) {
		hex_encode(digits, info->mesh_key, 32);
		str_addf(&text, "\"meshKey\":\"%s\",", digits);
		sodium_memzero(digits, sizeof(digits));
	}
	str_addf(&text, "\"version\":%u,\"CanAckPings\":%s", info->version,
		 info->can_ack_pings ? "true" : "false");
	if (info->prober)
		str_add(&text, ",\"IsProber\":true");
	if (info->app_name[0]) {
		str_add(&text, ",\"AppName\":");
		str_add_json(&text, info->app_name, strlen(info->app_name));
	}
	str_add(&text, "}");
	return copy_out(&text, out);
}

size_t warren_derp_server_info_text(const struct warren_derp_server_info *info,
				    char out[WARREN_DERP_INFO_TEXT])
{
	struct str text = STR_INIT;

	str_addf(&text, "{\"version\":%u", info->version);
	if (info->bytes_per_second)
		str_addf(&text, ",\"TokenBucketBytesPerSecond\":%llu,\"TokenBucketBytesBurst\":"
			 "%llu", (unsigned long long)info->bytes_per_second,
			 (unsigned long long)info->burst);
	str_add(&text, "}");
	return copy_out(&text, out);
}
