/*
 * One request of the control socket: a line of JSON.
 *
 * Anybody on the host may write to the socket, so this is a parser of foreign bytes: the length is
 * bounded by the caller, the nesting by jansson, the number of words here.
 */
#include "engine/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/err.h"
#include "base/util.h"

typedef int member_fn(struct wcore_request *request, const json_t *value, struct warren_err *err);

static int read_argv(struct wcore_request *request, const json_t *value, struct warren_err *err)
{
	size_t count = json_array_size(value), i;
	json_t *word;

	if (!json_is_array(value))
		return err_add(err, NULL, "a request's \"argv\" is a list of strings");
	if (count > WCORE_REQUEST_WORDS)
		return err_add(err, NULL, "a request has at most %d words, this one has %zu",
			       WCORE_REQUEST_WORDS, count);
	request->argv = calloc(count + 1, sizeof(*request->argv));
	if (!request->argv) {
		err_add(err, NULL, "there is no memory for the request");
		return -ENOMEM;
	}
	json_array_foreach(value, i, word) {
		if (!json_is_string(word))
			return err_add(err, NULL, "word %zu of a request's \"argv\" is no string",
				       i + 1);
		request->argv[i] = json_string_value(word);
	}
	request->argc = count;
	return 0;
}

static int read_format(struct wcore_request *request, const json_t *value, struct warren_err *err)
{
	const char *text = json_string_value(value);

	if (text && strcmp(text, "json") == 0)
		request->flags |= WCORE_REPLY_JSON;
	else if (!text || strcmp(text, "text") != 0)
		return err_add(err, NULL, "a request's \"format\" is \"text\" or \"json\"");
	return 0;
}

static int read_width(struct wcore_request *request, const json_t *value, struct warren_err *err)
{
	json_int_t width = json_integer_value(value);

	if (!json_is_integer(value) || width < 0)
		return err_add(err, NULL, "a request's \"width\" is a number of columns");
	request->width = width > WCORE_REQUEST_WIDTH ? WCORE_REQUEST_WIDTH : (uint32_t)width;
	return 0;
}

static int read_colour(struct wcore_request *request, const json_t *value, struct warren_err *err)
{
	if (!json_is_boolean(value))
		return err_add(err, NULL, "a request's \"colour\" is true or false");
	if (json_is_true(value))
		request->flags |= WCORE_REPLY_COLOUR;
	return 0;
}

static int read_fds(struct wcore_request *request, const json_t *value, struct warren_err *err)
{
	size_t count = json_array_size(value), i;
	json_t *key;

	if (!json_is_array(value))
		return err_add(err, NULL, "a request's \"fds\" is a list of operands");
	if (count > WCORE_REPLY_FDS)
		return err_add(err, NULL, "a request brings at most %d descriptors, not %zu",
			       WCORE_REPLY_FDS, count);
	json_array_foreach(value, i, key) {
		request->fds[i] = json_string_value(key);
		if (!request->fds[i])
			return err_add(err, NULL, "entry %zu of a request's \"fds\" is no string",
				       i + 1);
	}
	request->n_fds = count;
	return 0;
}

static const struct {
	const char *name;
	member_fn *read;
} members[] = {
	{ "argv", read_argv },
	{ "format", read_format },
	{ "width", read_width },
	{ "colour", read_colour },
	{ "fds", read_fds },
};

static int read_members(struct wcore_request *request, struct warren_err *err)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(request->json, name, value) {
		int ret;

		for (i = 0; i < ARRAY_SIZE(members); i++)
			if (strcmp(name, members[i].name) == 0)
				break;
		if (i == ARRAY_SIZE(members))
			return err_add(err, NULL, "a request has no member \"%.64s\"", name);
		ret = members[i].read(request, value, err);
		if (ret < 0)
			return ret;
	}
	if (!request->argv)
		return err_add(err, NULL, "a request needs \"argv\", the words of the command");
	return 0;
}

int wcore_request_parse(struct wcore_request *request, const char *line, size_t len,
			struct warren_err *err)
{
	json_error_t error;
	int ret;

	memset(request, 0, sizeof(*request));
	request->json = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (!request->json)
		return err_add(err, NULL, "a request is a line of JSON, and this is none: %s "
			       "(byte %d)", error.text, error.position);
	if (json_is_object(request->json))
		ret = read_members(request, err);
	else
		ret = err_add(err, NULL, "a request is a JSON object with \"argv\"");
	if (ret < 0)
		wcore_request_free(request);
	return ret;
}

void wcore_request_free(struct wcore_request *request)
{
	free(request->argv);
	json_decref(request->json);
	memset(request, 0, sizeof(*request));
}
