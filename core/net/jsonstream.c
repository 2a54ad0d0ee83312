/*
 * A JSON document in pieces. One byte is one step of a small machine: between pieces it is strict
 * about what may come; inside a piece it follows strings and brackets only, because the reader of
 * the piece (jansson) is strict there. A piece that lies whole in the caller's bytes is handed up
 * where it is; what straddles two portions is collected in `held`.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

#include "base/str.h"

enum { KEY_MAX = 256, DEPTH_LIMIT = 1024 };

enum state {
	BEFORE = 0,			/* the document's "{" */
	NAME_OR_END, NAME, COLON, VALUE, COMMA,
	ELEMENT_OR_END,			/* after "[" of a split array */
	AFTER,				/* the document's "}" */
	FAILED,
};
enum inside {				/* which kind of piece is under way */
	NOTHING = 0, STRING, ESCAPE, SCALAR, BRACKETS, BRACKETS_STRING, BRACKETS_ESCAPE,
};

struct warren_json {
	struct warren_json_options options;
	warren_json_fn *fn;
	void *arg;
	uint64_t at;			/* bytes before the portion */
	enum state state;
	enum inside inside;
	char split;			/* '[' or '{': inside a split member; 0: not */
	bool list;			/* inside an array that is a value of that member */
	uint32_t depth, keys, elements;
	uint8_t brackets[DEPTH_LIMIT / 8];	/* bit set: "{" */
	struct str held, key, name, seen;	/* seen: all keys, each with its NUL */
};

struct warren_json *warren_json_new(const struct warren_json_options *options, warren_json_fn *fn,
				    void *arg)
{
	struct warren_json *json = calloc(1, sizeof(*json));
	struct warren_json_options *o;

	if (!json)
		return NULL;
	o = &json->options;
	*o = *options;
	o->piece_max = o->piece_max ? o->piece_max : 1 << 20;
	o->total_max = o->total_max ? o->total_max : 64 << 20;
	o->depth_max = o->depth_max ? o->depth_max : 64;
	if (o->depth_max > DEPTH_LIMIT)
		o->depth_max = DEPTH_LIMIT;
	o->keys_max = o->keys_max ? o->keys_max : 256;
	o->elements_max = o->elements_max ? o->elements_max : 1000000;
	json->fn = fn;
	json->arg = arg;
	return json;
}

void warren_json_free(struct warren_json *json)
{
	if (!json)
		return;
	str_free(&json->held);
	str_free(&json->key);
	str_free(&json->name);
	str_free(&json->seen);
	free(json);
}

/* One step's view: where it is, and where the sentence goes. */
struct step {
	struct warren_json *json;
	const char *data;
	size_t i, start;		/* start: of the piece, in this portion */
	struct warren_err *err;
};

static int bad(struct step *s, const char *what)
{
	warren_fail(s->err, NULL, "byte %" PRIu64 " of the JSON document: %s", s->json->at + s->i,
		    what);
	return -EBADMSG;
}

static int too_much(struct step *s, const char *what, uint64_t limit)
{
	warren_fail(s->err, NULL, "byte %" PRIu64 " of the JSON document: %s %" PRIu64,
		    s->json->at + s->i, what, limit);
	return -EMSGSIZE;
}

static int no_memory(struct step *s)
{
	warren_fail(s->err, NULL, "no memory for a piece of the JSON document");
	return -ENOMEM;
}

static bool is_space(char c)		/* RFC 8259 2 */
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What numbers and words are made of; anything else could hide where a piece ends. */
static bool is_scalar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
	       c == '.' || c == 'E';
}

static bool has_key(const struct warren_json *json, const char *const *keys)
{
	for (const char *const *k = keys; k && *k; k++)
		if (str_equal(*k, str_text(&json->key)))
			return true;
	return false;
}

static int tell(struct warren_json *json, enum warren_json_kind kind, const char *text, size_t len)
{
	struct warren_json_piece piece = {
		.size = sizeof(piece), .kind = kind, .key = str_text(&json->key),
		.name = json->split == '{' && kind != WARREN_JSON_BEGIN &&
			kind != WARREN_JSON_END ? str_text(&json->name) : NULL,
		.text = text, .len = len,
	};

	return json->fn(json->arg, &piece);
}

/* Unescapes a name with the reader that will read the values; U+0000 is an error there. */
static int set_name(struct step *s, struct str *out, const char *text, size_t len)
{
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY, &error);

	if (!value)
		return bad(s, "the name before it is no valid string");
	str_cut(out, 0);
	str_addn(out, json_string_value(value), json_string_length(value));
	json_decref(value);
	return out->failed ? no_memory(s) : 0;
}

static int note_key(struct step *s)
{
	struct warren_json *json = s->json;
	const char *key = str_text(&json->key), *seen = str_text(&json->seen);

	if (++json->keys > json->options.keys_max)
		return too_much(s, "more members than", json->options.keys_max);
	for (const char *end = seen + json->seen.len; seen < end; seen += strlen(seen) + 1)
		if (str_equal(seen, key))
			return bad(s, "a key comes twice");
	str_addn(&json->seen, key, json->key.len + 1);
	return json->seen.failed ? no_memory(s) : 0;
}

/* A piece is whole: @end is the byte after it. */
static int piece_done(struct step *s, size_t end)
{
	struct warren_json *json = s->json;
	const char *text = s->data + s->start;
	size_t len = end - s->start;
	int result;

	if (json->held.len + len > json->options.piece_max)
		return too_much(s, "one value is longer than", json->options.piece_max);
	if (json->held.len > 0) {
		str_addn(&json->held, text, len);
		if (json->held.failed)
			return no_memory(s);
		text = str_text(&json->held);
		len = json->held.len;
	}
	json->inside = NOTHING;
	if (json->state == NAME) {
		result = set_name(s, json->split ? &json->name : &json->key, text, len);
		if (result == 0 && !json->split)
			result = note_key(s);
		json->state = COLON;
	} else {
		json->state = COMMA;
		result = tell(json, json->list ? WARREN_JSON_ITEM :
			      json->split ? WARREN_JSON_ELEMENT : WARREN_JSON_MEMBER, text, len);
	}
	str_cut(&json->held, 0);
	return result;
}

static int open_bracket(struct step *s, char c)
{
	struct warren_json *json = s->json;
	uint32_t d = json->depth;

	if (d >= json->options.depth_max)
		return too_much(s, "brackets in brackets, more than", json->options.depth_max);
	json->brackets[d / 8] &= (uint8_t)~(1u << d % 8);
	if (c == '{')
		json->brackets[d / 8] |= (uint8_t)(1u << d % 8);
	json->depth++;
	return 0;
}

/* A piece begins at the current byte. */
static int begin_value(struct step *s, char c)
{
	struct warren_json *json = s->json;
	bool bracket = c == '{' || c == '[';

	s->start = s->i;
	if (json->split && ++json->elements > json->options.elements_max)
		return too_much(s, "more elements than", json->options.elements_max);
	if (c == '[' && json->split == '{' && !json->list && has_key(json, json->options.deep)) {
		json->list = true;
		json->state = ELEMENT_OR_END;
		return tell(json, WARREN_JSON_LIST, s->data + s->i, 1);
	}
	if (bracket && !json->split && has_key(json, json->options.split)) {
		int result = tell(json, WARREN_JSON_BEGIN, s->data + s->i, 1);

		json->split = c;
		json->state = c == '{' ? NAME_OR_END : ELEMENT_OR_END;
		return result;
	}
	json->state = VALUE;
	if (bracket) {
		json->inside = BRACKETS;
		json->depth = 0;
		return open_bracket(s, c);
	}
	if (c == '"')
		json->inside = STRING;
	else if (is_scalar(c))
		json->inside = SCALAR;
	else
		return bad(s, "no value begins so");
	return 0;
}

static int begin_name(struct step *s, char c)
{
	if (c != '"')
		return bad(s, "a name in quotes is missing");
	s->start = s->i;
	s->json->state = NAME;
	s->json->inside = STRING;
	return 0;
}

/* The bracket that closes a list in a split member, a split member, or the document. */
static int end_container(struct step *s)
{
	struct warren_json *json = s->json;

	if (json->list) {
		json->state = COMMA;
		json->list = false;
		return tell(json, WARREN_JSON_LIST_END, s->data + s->i, 1);
	}
	if (!json->split) {
		json->state = AFTER;
		return 0;
	}
	json->split = 0;
	json->state = COMMA;
	return tell(json, WARREN_JSON_END, s->data + s->i, 1);
}

static int step_between(struct step *s, char c)
{
	struct warren_json *json = s->json;
	bool array = json->list || json->split == '[';
	char closing = array ? ']' : '}';

	if (is_space(c))
		return 0;
	switch (json->state) {
	case BEFORE:
		if (c != '{')
			return bad(s, "it does not begin with \"{\"");
		json->state = NAME_OR_END;
		return 0;
	case NAME_OR_END:
		return c == '}' ? end_container(s) : begin_name(s, c);
	case NAME:
		return begin_name(s, c);
	case COLON:
		if (c != ':')
			return bad(s, "a \":\" is missing");
		json->state = VALUE;
		return 0;
	case ELEMENT_OR_END:
		return c == ']' ? end_container(s) : begin_value(s, c);
	case VALUE:
		return begin_value(s, c);
	case COMMA:
		if (c == closing)
			return end_container(s);
		if (c != ',')
			return bad(s, "a \",\" or the closing bracket is missing");
		json->state = array ? VALUE : NAME;
		return 0;
	case AFTER:
		return bad(s, "something follows the document");
	case FAILED:
		break;
	}
	return bad(s, "it has failed before");
}

static int step_brackets(struct step *s, char c)
{
	struct warren_json *json = s->json;
	uint32_t d;

	if (c == '"')
		json->inside = BRACKETS_STRING;
	if (c == '[' || c == '{')
		return open_bracket(s, c);
	if (c != ']' && c != '}')
		return 0;
	d = --json->depth;
	if ((json->brackets[d / 8] >> d % 8 & 1) != (c == '}'))
		return bad(s, "the closing bracket does not match");
	return d == 0 ? piece_done(s, s->i + 1) : 0;
}

static int step(struct step *s, char c)
{
	struct warren_json *json = s->json;

	switch (json->inside) {
	case NOTHING:
		return step_between(s, c);
	case STRING:
		if (json->state == NAME && json->held.len + s->i - s->start > KEY_MAX)
			return too_much(s, "a name longer than", KEY_MAX);
		if (c == '\\')
			json->inside = ESCAPE;
		return c == '"' ? piece_done(s, s->i + 1) : 0;
	case ESCAPE:
		json->inside = STRING;
		return 0;
	case SCALAR:
		if (c == ',' || c == '}' || c == ']' || is_space(c)) {
			int result = piece_done(s, s->i);

			return result ? result : step_between(s, c);
		}
		return is_scalar(c) ? 0 : bad(s, "a number or word has a character too much");
	case BRACKETS:
		return step_brackets(s, c);
	case BRACKETS_STRING:
		if (c == '\\')
			json->inside = BRACKETS_ESCAPE;
		else if (c == '"')
			json->inside = BRACKETS;
		return 0;
	case BRACKETS_ESCAPE:
		json->inside = BRACKETS_STRING;
		return 0;
	}
	return bad(s, "it has failed before");
}

/* Where the text inside a string ends, or has an escape: most of a document is such text. */
static size_t skip_text(const char *data, size_t i, size_t len)
{
	while (i < len && data[i] != '"' && data[i] != '\\')
		i++;
	return i;
}

int warren_json_feed(struct warren_json *json, const void *data, size_t len,
		     struct warren_err *err)
{
	struct step s = { .json = json, .data = data, .err = err };
	int result = json->state == FAILED ? bad(&s, "it has failed before") : 0;

	if (result == 0 && len > json->options.total_max - json->at)
		result = too_much(&s, "the document is longer than", json->options.total_max);
	for (; result == 0 && s.i < len; s.i++) {
		if (json->inside == BRACKETS_STRING)
			s.i = skip_text(data, s.i, len);
		if (s.i == len)
			break;
		result = step(&s, s.data[s.i]);
	}
	if (result == 0 && json->inside != NOTHING) {
		size_t n = len - s.start;

		if (json->held.len + n > json->options.piece_max)
			result = too_much(&s, "one value is longer than", json->options.piece_max);
		else if (n > 0)
			str_addn(&json->held, s.data + s.start, n);
		if (json->held.failed)
			result = no_memory(&s);
	}
	json->at += s.i;
	if (result)
		json->state = FAILED;
	return result;
}

int warren_json_finish(struct warren_json *json, struct warren_err *err)
{
	struct step s = { .json = json, .err = err };

	if (json->state == AFTER)
		return 0;
	return bad(&s, json->state == FAILED ? "it has failed before" : "the document ends here, "
		   "before its last bracket");
}
