/*
 * The answer to a command.
 *
 * Data is written front to back into one buffer, as JSON text: a tree of an answer about 5,000
 * peers would cost more memory than the daemon itself. A small stack of brackets knows what may
 * follow. Where the first mistake is found the reply remembers a sentence and drops the rest; the
 * end then reports that sentence and exit 1.
 *
 * In text form the data is kept only as long as there is no text, to derive some from it.
 */
#include "engine/reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/render.h"
#include "engine/reply_impl.h"

/* What may be wrong with an answer; each a whole sentence. */
#define NO_MEMORY "the answer is incomplete: there was no memory for it"
#define TOO_LARGE "the answer is incomplete: it is larger than 16 MiB"
#define MISUSED "the answer is incomplete, by a programming error of its command: "

struct warren_reply *wcore_reply_new(const struct wcore_reply_sink *sink, void *arg,
				     uint32_t flags, uint32_t width)
{
	struct warren_reply *reply = calloc(1, sizeof(*reply));

	if (!reply)
		return NULL;
	reply->sink = sink;
	reply->arg = arg;
	reply->flags = flags;
	reply->width = width;
	reply->refs = 1;
	return reply;
}

void wcore_reply_ref(struct warren_reply *reply)
{
	reply->refs++;
}

void wcore_reply_unref(struct warren_reply *reply)
{
	if (--reply->refs > 0)
		return;
	for (unsigned i = 0; i < reply->n_fds; i++) {
		auto_close(&reply->fds[i].fd);
		free(reply->fds[i].key);
	}
	str_free(&reply->data);
	str_free(&reply->only_text);
	str_free(&reply->drafted);
	wcore_columns_free(&reply->columns);
	wcore_config_unref(reply->args);
	free(reply);
}

void *wcore_reply_sink_arg(const struct warren_reply *reply, const struct wcore_reply_sink *sink)
{
	return reply->sink == sink && !reply->gone && !reply->ended ? reply->arg : NULL;
}

bool wcore_reply_ended(const struct warren_reply *reply)
{
	return reply->ended;
}

uint32_t wcore_reply_flags(const struct warren_reply *reply)
{
	return reply->flags;
}

bool wcore_reply_has_text(const struct warren_reply *reply)
{
	return reply->lines > 0;
}

uint32_t wcore_reply_width(const struct warren_reply *reply)
{
	return reply->width;
}

void wcore_reply_want_json(struct warren_reply *reply)
{
	reply->flags |= WCORE_REPLY_JSON;
}

void wcore_reply_want_indent(struct warren_reply *reply)
{
	reply->flags |= WCORE_REPLY_INDENT;
}

void wcore_reply_name(struct warren_reply *reply, const char *path)
{
	reply->path = path;
}

void wcore_reply_caller_set(struct warren_reply *reply, uint32_t scope, const char *operator_)
{
	if (scope >= WARREN_CMD_ROOT)
		snprintf(reply->caller, sizeof(reply->caller), "root");
	else if (scope == WARREN_CMD_OPERATOR)
		snprintf(reply->caller, sizeof(reply->caller), "operator %s",
			 operator_ ? operator_ : "");
	else
		snprintf(reply->caller, sizeof(reply->caller), "anybody");
}

void wcore_reply_caller_copy(struct warren_reply *to, const struct warren_reply *from)
{
	memcpy(to->caller, from->caller, sizeof(to->caller));
}

const char *warren_reply_caller(const struct warren_reply *reply)
{
	return reply->caller;
}

const struct wcore_env *wcore_reply_env(const struct warren_reply *reply)
{
	return reply->env;
}

void wcore_reply_env_set(struct warren_reply *reply, const struct wcore_env *env)
{
	reply->env = env;
}

void wcore_reply_keep_take(struct warren_reply *reply, struct wcore_config *args)
{
	reply->args = args;
}

bool warren_reply_json(const struct warren_reply *reply)
{
	return (reply->flags & WCORE_REPLY_JSON) != 0;
}

static bool is_silent(const struct warren_reply *reply)
{
	return reply->ended || reply->gone || reply->broken;
}

static void set_broken(struct warren_reply *reply, const char *sentence)
{
	if (!reply->broken)
		reply->broken = sentence;
}

static void send_line(struct warren_reply *reply, const char *json, size_t len)
{
	if (!reply->gone)
		reply->sink->line(reply->arg, json, len);
}

/*
 * ---- Text ----
 */

static void send_text(void *arg, const char *text, size_t len)
{
	struct warren_reply *reply = arg;
	struct str line = STR_INIT;

	str_add(&line, "{\"text\":");
	str_add_json(&line, text, len);
	str_addc(&line, '}');
	if (line.failed)
		set_broken(reply, NO_MEMORY);
	else
		send_line(reply, str_text(&line), line.len);
	str_free(&line);
}

static void flush_columns(struct warren_reply *reply)
{
	wcore_columns_flush(&reply->columns, send_text, reply);
}

/* Length of a colour sequence, ESC [ digits and semicolons m, at @s; 0: it is none. */
static size_t colour_len(const char *s, size_t len)
{
	size_t n = 2;

	if (len < 3 || s[0] != '\033' || s[1] != '[')
		return 0;
	while (n < len && ((s[n] >= '0' && s[n] <= '9') || s[n] == ';'))
		n++;
	return n < len && s[n] == 'm' ? n + 1 : 0;
}

/* Appends @text without what could play tricks on a terminal: names come from peers. */
static void add_clean(struct str *out, const char *text, size_t len, bool colour)
{
	size_t plain = 0;		/* bytes before @i that are fine and not yet added */

	for (size_t i = 0; i < len; i++) {
		unsigned char b = (unsigned char)text[i];
		bool c1 = b == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0;
		size_t n;

		if ((b >= 0x20 && b != 0x7f && !c1) || b == '\t' || b == '\n') {
			plain++;
			continue;
		}
		str_addn(out, text + i - plain, plain);
		plain = 0;
		n = colour_len(text + i, len - i);
		if (n > 0 && colour)
			str_addn(out, text + i, n);
		else if (n == 0)
			str_addc(out, '?');
		/* U+0080 to U+009F, two bytes, are controls as well. */
		i += n > 0 ? n - 1 : c1;
	}
	str_addn(out, text + len - plain, plain);
}

static void write_heading(struct warren_reply *reply)
{
	AUTO(str_free) struct str line = STR_INIT;

	if (!reply->heading || warren_reply_json(reply))
		return;
	str_addf(&line, "%s:", reply->heading);
	reply->heading = NULL;
	flush_columns(reply);
	send_text(reply, "", 0);
	send_text(reply, str_text(&line), line.len);
}

static void text_line(struct warren_reply *reply, const char *text, size_t len)
{
	struct str line = STR_INIT;

	write_heading(reply);
	add_clean(&line, text, len, (reply->flags & WCORE_REPLY_COLOUR) != 0);
	reply->lines++;
	if (line.failed || reply->columns.rows.len + line.len > WCORE_REPLY_MAX ||
	    reply->only_text.len + line.len > WCORE_REPLY_MAX) {
		set_broken(reply, TOO_LARGE);
	} else if (warren_reply_json(reply)) {
		if (reply->only_text.len > 0)
			str_addc(&reply->only_text, '\n');
		str_addn(&reply->only_text, str_text(&line), line.len);
	} else if (memchr(str_text(&line), '\t', line.len)) {
		wcore_columns_add(&reply->columns, str_text(&line), line.len);
	} else {
		flush_columns(reply);
		send_text(reply, str_text(&line), line.len);
	}
	str_free(&line);
}

static void text_lines(struct warren_reply *reply, const char *text, size_t len)
{
	const char *end = text + len;

	if (len > 0 && end[-1] == '\n')
		end--;
	for (;;) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));

		text_line(reply, text, (size_t)((nl ? nl : end) - text));
		if (!nl)
			break;
		text = nl + 1;
	}
}

/* In JSON form, text matters only as long as there is no data. */
static bool wants_text(const struct warren_reply *reply)
{
	if (!warren_reply_json(reply))
		return true;
	return reply->in_part ? reply->data.len == reply->part_data : !reply->had_data;
}

void warren_reply_text(struct warren_reply *reply, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;

	if (is_silent(reply) || !wants_text(reply))
		return;
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	if (text.failed)
		set_broken(reply, NO_MEMORY);
	else
		text_lines(reply, str_text(&text), text.len);
	str_free(&text);
	if (!warren_reply_json(reply) && !reply->in_part)
		str_cut(&reply->data, 0);
}

/* A line of its own kind, outside of text and data. */
__attribute__((format(printf, 3, 0)))
static void send_aside(struct warren_reply *reply, const char *key, const char *fmt, va_list ap)
{
	AUTO(str_free) struct str text = STR_INIT;
	AUTO(str_free) struct str clean = STR_INIT;
	AUTO(str_free) struct str line = STR_INIT;

	if (is_silent(reply))
		return;
	str_vaddf(&text, fmt, ap);
	add_clean(&clean, str_text(&text), text.len, false);
	str_addf(&line, "{\"%s\":", key);
	str_add_json(&line, str_text(&clean), clean.len);
	str_addc(&line, '}');
	if (text.failed || clean.failed || line.failed) {
		set_broken(reply, NO_MEMORY);
		return;
	}
	flush_columns(reply);
	send_line(reply, str_text(&line), line.len);
}

void warren_reply_note(struct warren_reply *reply, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send_aside(reply, "note", fmt, ap);
	va_end(ap);
}

void warren_reply_hint(struct warren_reply *reply, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	send_aside(reply, "hint", fmt, ap);
	va_end(ap);
}

/*
 * ---- Data ----
 */

/* In text form, data matters only while it may have to stand in for text. */
static bool wants_data(const struct warren_reply *reply)
{
	if (warren_reply_json(reply))
		return true;
	return reply->lines == (reply->in_part ? reply->part_lines : 0);
}

/* The answer may be megabytes: it is written as the line that is sent. */
static void begin_data(struct warren_reply *reply)
{
	if (warren_reply_json(reply))
		str_add(&reply->data, "{\"data\":");
}

static void send_data(struct warren_reply *reply)
{
	str_add(&reply->data, reply->flags & WCORE_REPLY_INDENT ? ",\"indent\":true}" : "}");
	if (reply->data.failed)
		set_broken(reply, NO_MEMORY);
	else
		send_line(reply, str_text(&reply->data), reply->data.len);
	str_free(&reply->data);
}

/* What stands before a value: a comma, and the key in an object. */
static bool value_begin(struct warren_reply *reply, const char *key)
{
	if (is_silent(reply))
		return false;
	if (reply->depth == 0 && key) {
		reply->kinds[0] = '{';
		reply->filled[0] = false;
		reply->depth = 1;
		reply->floor = 1;
		reply->implicit = true;
		if (wants_data(reply)) {
			begin_data(reply);
			str_addc(&reply->data, '{');
		}
	}
	if (reply->depth > 0 && (reply->kinds[reply->depth - 1] == '{') != (key != NULL)) {
		set_broken(reply, key ? MISUSED "a member with a key inside a list" :
			   MISUSED "a member without a key inside an object");
		return false;
	}
	if (reply->data.len > WCORE_REPLY_MAX || reply->data.failed) {
		set_broken(reply, TOO_LARGE);
		return false;
	}
	reply->had_data = true;
	if (!reply->in_part)
		str_cut(&reply->only_text, 0);
	if (!wants_data(reply))
		return true;
	if (reply->depth == 0)
		begin_data(reply);
	if (reply->depth > 0 && reply->filled[reply->depth - 1])
		str_addc(&reply->data, ',');
	if (key) {
		str_add_json(&reply->data, key, strlen(key));
		str_addc(&reply->data, ':');
	}
	return true;
}

static bool scalar_begin(struct warren_reply *reply, const char *key)
{
	if (!is_silent(reply) && reply->depth == 0 && !key)
		set_broken(reply, MISUSED "a value without a key outside of any object");
	if (!value_begin(reply, key))
		return false;
	reply->filled[reply->depth - 1] = true;
	return wants_data(reply);
}

void warren_reply_open(struct warren_reply *reply, const char *key, char kind)
{
	if (!is_silent(reply) && kind != '{' && kind != '[')
		set_broken(reply, MISUSED "an opening bracket that is neither { nor [");
	if (!is_silent(reply) && reply->depth == WCORE_REPLY_DEPTH)
		set_broken(reply, MISUSED "objects and lists nested too deeply");
	if (!value_begin(reply, key))
		return;
	if (reply->depth > 0)
		reply->filled[reply->depth - 1] = true;
	if (reply->depth == WCORE_REPLY_DEPTH) {
		set_broken(reply, MISUSED "objects and lists nested too deeply");
		return;
	}
	reply->kinds[reply->depth] = kind;
	reply->filled[reply->depth] = false;
	reply->depth++;
	if (wants_data(reply))
		str_addc(&reply->data, kind);
}

static void close_one(struct warren_reply *reply)
{
	reply->depth--;
	if (wants_data(reply))
		str_addc(&reply->data, reply->kinds[reply->depth] == '{' ? '}' : ']');
}

void warren_reply_close(struct warren_reply *reply)
{
	if (is_silent(reply))
		return;
	if (reply->depth <= reply->floor) {
		set_broken(reply, MISUSED "a closing bracket without an opening one");
		return;
	}
	close_one(reply);
	if (reply->depth > 0)
		return;
	if (warren_reply_json(reply)) {
		send_data(reply);
	} else if (wants_data(reply)) {
		str_addc(&reply->data, '\n');
	}
}

void warren_reply_str(struct warren_reply *reply, const char *key, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;

	if (!scalar_begin(reply, key))
		return;
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	if (text.failed)
		set_broken(reply, NO_MEMORY);
	else
		str_add_json(&reply->data, str_text(&text), text.len);
	str_free(&text);
}

void warren_reply_int(struct warren_reply *reply, const char *key, int64_t value)
{
	if (scalar_begin(reply, key))
		str_addf(&reply->data, "%lld", (long long)value);
}

void warren_reply_null(struct warren_reply *reply, const char *key)
{
	if (scalar_begin(reply, key))
		str_add(&reply->data, "null");
}

void warren_reply_bool(struct warren_reply *reply, const char *key, bool value)
{
	if (scalar_begin(reply, key))
		str_add(&reply->data, value ? "true" : "false");
}

void wcore_reply_json(struct warren_reply *reply, const char *key, const char *json)
{
	if (!scalar_begin(reply, key))
		return;
	/* A line of the protocol has no newline; outside of strings it is as good as a blank. */
	for (; *json; json++)
		str_addc(&reply->data, *json == '\n' ? ' ' : *json);
}

/*
 * ---- Parts ----
 */

static void derived_line(void *arg, const char *line)
{
	text_line(arg, line, strlen(line));
}

/* Renders the documents in @text, indented by @depth. */
static void derive_text(struct warren_reply *reply, const char *text, size_t len, unsigned depth)
{
	while (len > 0) {
		json_error_t error;
		json_t *value = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, &error);

		if (!value) {
			set_broken(reply, MISUSED "values that make no JSON");
			return;
		}
		wcore_render(value, depth, derived_line, reply);
		json_decref(value);
		text += error.position;
		len -= (size_t)error.position;
		while (len > 0 && *text == '\n') {
			text++;
			len--;
		}
	}
}

void wcore_reply_enter(struct warren_reply *reply, const char *key, bool heading)
{
	warren_reply_open(reply, key, '{');
	if (is_silent(reply))
		return;
	reply->in_part = true;
	reply->heading = heading ? key : NULL;
	reply->outer_floor = reply->floor;
	reply->floor = reply->depth;
	reply->part_data = reply->data.len;
	reply->part_lines = reply->lines;
	str_cut(&reply->only_text, 0);
}

void warren_reply_more(struct warren_reply *reply, warren_more_fn *fn, uint32_t at)
{
	reply->more = fn;
	reply->more_at = at;
}

bool wcore_reply_wants_more(const struct warren_reply *reply)
{
	return reply->more && !is_silent(reply);
}

bool wcore_reply_more(struct warren_reply *reply, struct warren_ctx *ctx)
{
	warren_more_fn *fn = reply->more;

	reply->more = NULL;
	if (fn && !is_silent(reply))
		fn(ctx, reply, reply->more_at);
	return wcore_reply_wants_more(reply);
}

bool wcore_reply_leave(struct warren_reply *reply)
{
	bool good = !reply->broken;

	if (!reply->in_part || is_silent(reply))
		return good;
	while (reply->depth > reply->floor) {
		close_one(reply);
		good = false;
	}
	if (warren_reply_json(reply)) {
		if (reply->data.len == reply->part_data && reply->only_text.len > 0)
			warren_reply_str(reply, "text", "%s", str_text(&reply->only_text));
	} else if (reply->lines == reply->part_lines && reply->data.len > reply->part_data) {
		struct str part = STR_INIT;

		str_addc(&part, '{');
		str_addn(&part, str_text(&reply->data) + reply->part_data,
			reply->data.len - reply->part_data);
		str_addc(&part, '}');
		derive_text(reply, str_text(&part), part.len, 1);
		str_free(&part);
	}
	reply->in_part = false;
	reply->heading = NULL;
	reply->more = NULL;
	reply->floor = reply->outer_floor;
	str_cut(&reply->only_text, 0);
	if (!warren_reply_json(reply) && reply->lines > 0)
		str_cut(&reply->data, 0);
	warren_reply_close(reply);
	return good;
}

/*
 * ---- Drafts ----
 */

static void draft_line(void *arg, const char *json, size_t len)
{
	struct warren_reply *draft = arg;

	if (draft->drafted.len > 0)
		str_addc(&draft->drafted, '\n');
	str_addn(&draft->drafted, json, len);
}

static const struct wcore_reply_sink draft_sink = { .line = draft_line };

struct warren_reply *wcore_reply_draft(const struct warren_reply *reply)
{
	struct warren_reply *draft = wcore_reply_new(&draft_sink, NULL, reply->flags, reply->width);

	if (draft)
		draft->arg = draft;
	return draft;
}

static void send_lines(struct warren_reply *reply, struct str *lines)
{
	char *at = lines->s, *end;

	if (reply->sink->lines) {
		reply->sink->lines(reply->arg, lines->s, lines->len);
		return;
	}
	for (; (end = strchr(at, '\n')); at = end + 1) {
		*end = '\0';
		send_line(reply, at, (size_t)(end - at));
	}
	send_line(reply, at, strlen(at));
}

void wcore_reply_draft_end(struct warren_reply *draft)
{
	if (!is_silent(draft))
		flush_columns(draft);
	if (draft->drafted.failed)
		set_broken(draft, NO_MEMORY);
	else if (draft->depth > (draft->implicit ? 1 : 0))
		set_broken(draft, MISUSED "an object or a list that was never closed");
}

void wcore_reply_adopt(struct warren_reply *reply, struct warren_reply *draft)
{
	if (draft->broken)
		set_broken(reply, draft->broken);
	if (is_silent(reply))
		return;
	if (draft->drafted.len > 0)
		send_lines(reply, &draft->drafted);
	if (draft->only_text.len > 0)
		text_lines(reply, str_text(&draft->only_text), draft->only_text.len);
	if (draft->implicit) {
		reply->data = draft->data;
		draft->data = (struct str)STR_INIT;
		reply->kinds[0] = '{';
		reply->filled[0] = draft->filled[0];
		reply->depth = reply->floor = 1;
		reply->implicit = true;
	}
	reply->had_data = reply->had_data || draft->had_data;
	reply->lines += draft->lines;
}

/*
 * ---- Progress, cancel, end ----
 */

void warren_reply_progress(struct warren_reply *reply, int64_t done, int64_t total,
			   const char *unit)
{
	struct str line = STR_INIT;

	if (is_silent(reply))
		return;
	str_addf(&line, "{\"progress\":{\"done\":%lld,\"total\":%lld,\"unit\":",
		   (long long)done, (long long)total);
	str_add_json(&line, unit ? unit : "", unit ? strlen(unit) : 0);
	str_add(&line, "}}");
	if (!line.failed)
		send_line(reply, str_text(&line), line.len);
	str_free(&line);
}

void warren_reply_transfer(struct warren_reply *reply, const char *name, int64_t done,
			   int64_t total)
{
	AUTO(str_free) struct str clean = STR_INIT;
	AUTO(str_free) struct str line = STR_INIT;

	if (is_silent(reply))
		return;
	add_clean(&clean, name, strlen(name), false);
	str_addf(&line, "{\"progress\":{\"done\":%lld,\"total\":%lld,\"unit\":\"bytes\",\"name\":",
		 (long long)done, (long long)total);
	str_add_json(&line, str_text(&clean), clean.len);
	str_add(&line, "}}");
	if (!clean.failed && !line.failed)
		send_line(reply, str_text(&line), line.len);
}

void warren_reply_on_cancel(struct warren_reply *reply, void (*fn)(struct warren_reply *, void *),
			    void *arg)
{
	reply->cancel = fn;
	reply->cancel_arg = arg;
}

void wcore_reply_hang_up(struct warren_reply *reply)
{
	if (reply->gone || reply->ended)
		return;
	reply->gone = true;
	wcore_reply_ref(reply);
	if (reply->cancel) {
		reply->cancel(reply, reply->cancel_arg);
		wcore_reply_forward_end(reply, 1);
	}
	wcore_reply_unref(reply);
}

static void finish_data(struct warren_reply *reply)
{
	if (reply->depth > (reply->implicit ? 1 : 0)) {
		set_broken(reply, MISUSED "an object or a list that was never closed");
		return;
	}
	if (reply->implicit)
		close_one(reply);
	if (!warren_reply_json(reply)) {
		if (reply->lines == 0 && reply->data.len > 0)
			derive_text(reply, str_text(&reply->data), reply->data.len, 0);
	} else if (reply->implicit) {
		send_data(reply);
	} else if (!reply->had_data && reply->only_text.len > 0) {
		begin_data(reply);
		str_add(&reply->data, "{\"text\":");
		str_add_json(&reply->data, str_text(&reply->only_text), reply->only_text.len);
		str_addc(&reply->data, '}');
		send_data(reply);
	}
}

static void send_end(struct warren_reply *reply, int exit, const char *error)
{
	struct str line = STR_INIT;

	str_addf(&line, "{\"end\":{\"exit\":%d", exit);
	if (reply->broken)
		error = reply->broken;
	if (error) {
		struct str text = STR_INIT;

		str_addf(&text, reply->path ? "warren %s: " : "warren%s: ",
			 reply->path ? reply->path : "");
		add_clean(&text, error, strlen(error), false);
		while (text.len > 0 && text.s[text.len - 1] == '\n')
			str_cut(&text, text.len - 1);
		str_add(&line, ",\"error\":");
		str_add_json(&line, str_text(&text), text.len);
		str_free(&text);
	}
	str_add(&line, "}}");
	if (!line.failed)
		send_line(reply, str_text(&line), line.len);
	str_free(&line);
}

/* After the last line. */
static void finish(struct warren_reply *reply, int exit)
{
	reply->ended = true;
	if (reply->tie)
		wcore_disown(reply->tie);
	reply->tie = NULL;
	if (!reply->gone)
		reply->sink->end(reply->arg, reply, exit);
	wcore_reply_unref(reply);
}

void warren_reply_end(struct warren_reply *reply, int exit, const char *error)
{
	if (reply->ended)
		return;
	if (!is_silent(reply))
		finish_data(reply);
	if (!is_silent(reply))
		flush_columns(reply);
	if (reply->broken)
		exit = 1;
	send_end(reply, exit, error);
	finish(reply, exit);
}

void wcore_reply_ask(struct warren_reply *reply, const char *json)
{
	if (reply->ended)
		return;
	send_line(reply, json, strlen(json));
	finish(reply, 0);
}

void wcore_reply_forward(struct warren_reply *reply, const char *json, size_t len)
{
	if (!is_silent(reply))
		send_line(reply, json, len);
}

void wcore_reply_forward_end(struct warren_reply *reply, int exit)
{
	if (!reply->ended)
		finish(reply, exit);
}

static void context_closed(void *obj)
{
	struct warren_reply *reply = obj;

	reply->tie = NULL;
	warren_reply_end(reply, 1, "the plugin of this command was stopped before it could answer");
}

int wcore_reply_tie(struct warren_reply *reply, struct warren_ctx *ctx)
{
	reply->tie = wcore_own(ctx, reply, context_closed);
	return reply->tie ? 0 : -ENOMEM;
}
