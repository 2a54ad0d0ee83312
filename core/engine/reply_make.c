/*
 * Files that the client makes (WARREN_FD_DIR): a question on the way out, whose answer, a line and
 * perhaps a descriptor, is the one thing that is read of a client while a command runs.
 *
 *	{"make":{"key":"folder","name":"a.txt","how":"skip"}}	{"made":true} and a descriptor
 *	{"keep":true}						{"kept":"a.txt"}
 *	{"drop":true}						nothing
 *
 * or {"failed":17}: an errno.
 */
#include "engine/reply_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/util.h"
#include "engine/client.h"

static const char *const ways[] = {
	[WARREN_MAKE_SKIP] = "skip", [WARREN_MAKE_OVERWRITE] = "overwrite",
	[WARREN_MAKE_RENAME] = "rename",
};

bool wcore_reply_asks(const struct warren_reply *reply)
{
	return reply->made != NULL;
}

int wcore_made_parse(const char *line, size_t len, struct wcore_made *out)
{
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *kept = json_object_get(json, "kept");
	const json_t *failed = json_object_get(json, "failed");
	int result = 0;

	memset(out, 0, sizeof(*out));
	if (json_object_size(json) != 1)
		result = -EBADMSG;
	else if (json_is_true(json_object_get(json, "made")))
		out->made = true;
	else if (json_is_integer(failed) && json_integer_value(failed) > 0 &&
		 json_integer_value(failed) < WCORE_MADE_ERRNO)
		out->result = -(int)json_integer_value(failed);
	else if (!json_is_string(kept) ||
		 !str_copy(out->name, sizeof(out->name), json_string_value(kept)) ||
		 out->name[0] == '\0' || strchr(out->name, '/'))
		result = -EBADMSG;
	json_decref(json);
	return result;
}

int wcore_reply_answered(struct warren_reply *reply, const char *line, size_t len, int fd)
{
	warren_make_fn *done = reply->made;
	bool keeping = reply->keeping;
	struct wcore_made made;
	int result = wcore_made_parse(line, len, &made);

	if (!result && !made.result && (keeping ? made.made : !made.made))
		result = -EBADMSG;
	if (!result && (fd >= 0) != (made.made && !made.result))
		result = -EBADMSG;
	if (result) {
		if (fd >= 0)
			close(fd);
		return result;
	}
	reply->made = NULL;
	reply->has_made = made.made;
	wcore_reply_ref(reply);
	done(reply, made.result, fd, keeping && !made.result ? made.name : NULL, reply->made_arg);
	wcore_reply_unref(reply);
	return 0;
}

/* The question is whole: @done gets the answer. */
static int ask(struct warren_reply *reply, const char *json, warren_make_fn *done, void *arg,
	       bool keeping)
{
	reply->made = done;
	reply->made_arg = arg;
	reply->keeping = keeping;
	wcore_reply_forward(reply, json, strlen(json));
	return 0;
}

int warren_reply_make(struct warren_reply *reply, const char *key, const char *name,
		      enum warren_make how, warren_make_fn *done, void *arg)
{
	AUTO(str_free) struct str line = STR_INIT;

	if (reply->made || reply->has_made)
		return -EBUSY;
	if (name[0] == '\0' || strlen(name) >= WCORE_MADE_NAME || strchr(name, '/') ||
	    str_utf8_check(name, strlen(name)) != strlen(name))
		return -EINVAL;
	if (wcore_client_fd(reply) == -1)
		return -EOPNOTSUPP;
	str_add(&line, "{\"make\":{\"key\":");
	str_add_json(&line, key, strlen(key));
	str_add(&line, ",\"name\":");
	str_add_json(&line, name, strlen(name));
	str_addf(&line, ",\"how\":\"%s\"}}", ways[how]);
	return line.failed ? -ENOMEM : ask(reply, str_text(&line), done, arg, false);
}

int warren_reply_keep(struct warren_reply *reply, warren_make_fn *done, void *arg)
{
	if (reply->made || !reply->has_made)
		return -EINVAL;
	return ask(reply, "{\"keep\":true}", done, arg, true);
}

void warren_reply_drop(struct warren_reply *reply)
{
	static const char line[] = "{\"drop\":true}";

	if (reply->made || !reply->has_made)
		return;
	reply->has_made = false;
	wcore_reply_forward(reply, line, sizeof(line) - 1);
}
