/*
 * The document "login" of the state folder. JSON, as all our state; a document that cannot be
 * understood is an error, because going on without it would make this node log in anew, perhaps
 * as somebody else.
 */
#include "persist.h"

#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/hex.h"
#include "base/str.h"

enum { DOCUMENT_VERSION = 1 };
static const char document[] = "login.json";

static bool get_text(const json_t *o, const char *key, char *out, size_t size)
{
	const json_t *value = json_object_get(o, key);

	return json_is_string(value) && strlen(json_string_value(value)) ==
	       json_string_length(value) && str_copy(out, size, json_string_value(value));
}

static bool get_key(const json_t *o, const char *key, uint8_t out[32])
{
	char text[65];

	return get_text(o, key, text, sizeof(text)) && hex_decode(out, 32, text) == 0;
}

static bool document_read(const json_t *o, struct ctl_persist *out)
{
	if (!json_is_object(o) || !json_is_boolean(json_object_get(o, "logged_in")) ||
	    !json_is_boolean(json_object_get(o, "logged_out")) ||
	    !json_is_integer(json_object_get(o, "user")))
		return false;
	out->logged_in = json_is_true(json_object_get(o, "logged_in"));
	out->logged_out = json_is_true(json_object_get(o, "logged_out"));
	out->user = json_integer_value(json_object_get(o, "user"));
	return get_text(o, "url", out->url, sizeof(out->url)) &&
	       get_text(o, "log_id", out->log_id, sizeof(out->log_id)) && out->log_id[0] &&
	       get_text(o, "login", out->login, sizeof(out->login)) &&
	       get_text(o, "display_name", out->display_name, sizeof(out->display_name)) &&
	       get_key(o, "node_key", out->node_key) &&
	       get_key(o, "old_node_key", out->old_node_key);
}

int ctl_persist_load(struct warren_ctx *ctx, const char *host, struct ctl_persist *out,
		     struct warren_err *err)
{
	uint8_t id[32];
	void *data = NULL;
	size_t len = 0;
	json_t *o;
	int result;

	memset(out, 0, sizeof(*out));
	result = warren_state_read(ctx, document, 0, DOCUMENT_VERSION, &data, &len, err);
	if (result == -ENOENT) {
		randombytes_buf(id, sizeof(id));
		hex_encode(out->log_id, id, sizeof(id));
		out->log_id[2 * sizeof(id)] = '\0';
		return 0;
	}
	if (result)
		return result;
	o = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);
	if (!document_read(o, out))
		result = warren_fail(err, NULL, "%s in the state folder of this plugin is "
				     "damaged: restore it, or remove it to log in anew", document);
	else if (json_object_get(o, "dial_plan") &&
		 !ctl_plan_load(&out->plan, host, json_object_get(o, "dial_plan")))
		warren_log(ctx, LOG_WARNING, "%s has no usable dial plan: the control server is "
			   "reached by its name only, until it sends another", document);
	json_decref(o);
	warren_release(data);
	return result;
}

void ctl_persist_wipe(struct ctl_persist *p)
{
	p->logged_in = false;
	p->login[0] = p->display_name[0] = '\0';
	p->user = 0;
	memset(p->node_key, 0, sizeof(p->node_key));
	memset(p->old_node_key, 0, sizeof(p->old_node_key));
	memset(&p->plan, 0, sizeof(p->plan));
}

static void saved(struct warren_ctx *ctx, int result, void *arg)
{
	(void)arg;
	if (result)
		warren_log(ctx, LOG_ERR, "cannot write %s: %s; after a restart this node may have "
			   "to log in again", document, strerror(-result));
}

void ctl_persist_save(struct warren_ctx *ctx, const struct ctl_persist *p)
{
	char key[65], old[65], *text = NULL;
	json_t *o;
	int result = -ENOMEM;

	hex_encode(key, p->node_key, 32);
	hex_encode(old, p->old_node_key, 32);
	key[64] = old[64] = '\0';
	o = json_pack("{s:s,s:s,s:b,s:b,s:s,s:s,s:I,s:s,s:s}", "url", p->url, "log_id", p->log_id,
		      "logged_in", p->logged_in, "logged_out", p->logged_out, "login", p->login,
		      "display_name", p->display_name, "user", (json_int_t)p->user, "node_key",
		      key, "old_node_key", old);
	if (o && p->plan.n && json_object_set_new(o, "dial_plan", ctl_plan_json(&p->plan))) {
		json_decref(o);
		o = NULL;
	}
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (text)
		result = warren_state_write(ctx, document, 0, DOCUMENT_VERSION, text,
					    strlen(text), saved, NULL);
	free(text);
	if (result)
		saved(ctx, result, NULL);
}
