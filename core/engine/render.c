/*
 * Text for people, derived from the data of an answer.
 *
 * Most commands write text of their own. Those that only have a few values write data and leave
 * the text to this. It knows nothing about any command; keys are the labels.
 */
#include "engine/render.h"

#include <ctype.h>

#include "base/str.h"

struct render {
	wcore_render_fn *fn;
	void *arg;
};

static void add_scalar(struct str *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		str_add(out, json_string_value(value));
		break;
	case JSON_INTEGER:
		str_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		str_addf(out, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
		str_add(out, "yes");
		break;
	case JSON_FALSE:
		str_add(out, "no");
		break;
	case JSON_NULL:
	case JSON_OBJECT:
	case JSON_ARRAY:
		str_add(out, "-");
		break;
	}
}

static bool is_scalar(const json_t *value)
{
	return !json_is_object(value) && !json_is_array(value);
}

/* An object or a list that holds scalars only, and something at all. */
static bool is_flat(const json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach(value, i, member)
			if (!is_scalar(member))
				return false;
		return true;
	}
	if (!json_is_object(value))
		return false;
	json_object_foreach((json_t *)value, key, member)
		if (!is_scalar(member) && !(json_is_array(member) && is_flat(member)))
			return false;
	return true;
}

static void add_cell(struct str *out, const json_t *value)
{
	json_t *member;
	size_t i;

	if (!value) {
		str_addc(out, '-');
	} else if (is_scalar(value)) {
		add_scalar(out, value);
	} else {
		json_array_foreach(value, i, member) {
			str_add(out, i > 0 ? ", " : "");
			add_scalar(out, member);
		}
		if (json_array_size(value) == 0)
			str_addc(out, '-');
	}
}

static void line_out(const struct render *r, struct str *line)
{
	r->fn(r->arg, str_text(line));
	str_free(line);
}

static bool is_table(const json_t *list)
{
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
		if (!json_is_object(row) || !is_flat(row))
			return false;
	return true;
}

static void render_table(const struct render *r, const json_t *list, unsigned depth)
{
	const json_t *head = json_array_get(list, 0);
	struct str line = STR_INIT;
	json_t *row, *unused;
	const char *key;
	size_t i;

	str_addf(&line, "%*s", (int)(2 * depth), "");
	json_object_foreach((json_t *)head, key, unused) {
		for (const char *c = key; *c; c++)
			str_addc(&line, (char)toupper((unsigned char)*c));
		str_addc(&line, '\t');
	}
	line_out(r, &line);
	json_array_foreach(list, i, row) {
		str_addf(&line, "%*s", (int)(2 * depth), "");
		json_object_foreach((json_t *)head, key, unused) {
			add_cell(&line, json_object_get(row, key));
			str_addc(&line, '\t');
		}
		line_out(r, &line);
	}
}

static void render_value(const struct render *r, const json_t *value, unsigned depth);

static void render_member(const struct render *r, const char *key, const json_t *value,
			  unsigned depth)
{
	bool below = !is_scalar(value) && !(json_is_array(value) && is_flat(value));
	struct str line = STR_INIT;

	str_addf(&line, "%*s", (int)(2 * depth), "");
	str_addf(&line, "%s:", key);
	if (!below) {
		str_addc(&line, '\t');
		add_cell(&line, value);
	}
	line_out(r, &line);
	if (below)
		render_value(r, value, depth + 1);
}

static void render_value(const struct render *r, const json_t *value, unsigned depth)
{
	struct str line = STR_INIT;
	json_t *member;
	const char *key;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, member)
			render_member(r, key, member, depth);
	} else if (json_is_array(value) && !is_flat(value)) {
		if (is_table(value)) {
			render_table(r, value, depth);
			return;
		}
		json_array_foreach(value, i, member)
			render_value(r, member, depth);
	} else {
		str_addf(&line, "%*s", (int)(2 * depth), "");
		add_cell(&line, value);
		line_out(r, &line);
	}
}

void wcore_render(const json_t *value, unsigned depth, wcore_render_fn *fn, void *arg)
{
	const struct render r = { fn, arg };

	render_value(&r, value, depth);
}
