/*
 * Scalars: one text to one value of the row's type and back, and the sentences about texts that do
 * not fit. Every refusal says what was expected, with an example, and what was there.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"
#include "engine/conf_impl.h"

enum { SHOWN_BYTES = 60, LISTED_VALUES = 20 };

static const struct {
	const char *name, *expected;
} types[] = {
	[WARREN_BOOL] = { "boolean", "true or false" },
	[WARREN_INT] = { "number", "a whole number, as in 42" },
	[WARREN_SIZE] = { "size", "a size in bytes, as in 512 or 64KiB" },
	[WARREN_DURATION] = { "duration", "a duration, as in 30s or 1m30s" },
	[WARREN_STRING] = { "text", "a text" },
	[WARREN_ENUM] = { "choice", "one of" },
	[WARREN_ADDR] = { "address", "an IP address, as in 192.0.2.1 or 2001:db8::1" },
	[WARREN_ADDRPORT] = { "address and port", "an address with a port, as in "
						  "192.0.2.1:41641 or [2001:db8::1]:41641" },
	[WARREN_PREFIX] = { "network", "a network, as in 10.0.0.0/8 or 2001:db8::/32" },
	[WARREN_PATH] = { "path", "an absolute path, as in /srv/files" },
	[WARREN_SECRET_REF] = { "secret",
				"a reference to a secret, as in {file: /etc/warren/x.key} or "
				"{credential: NAME}" },
	[WARREN_MAP] = { "map", "a map of options" },
	[WARREN_FD_IN] = { "file to read", "a file to read" },
	[WARREN_FD_OUT] = { "file to write", "a file to write" },
	[WARREN_FD_DIR] = { "folder", "a folder to make files in" },
};

const char *conf_type_name(uint32_t type)
{
	return type < ARRAY_SIZE(types) && types[type].name ? types[type].name : "unknown";
}

void conf_type_expected(const struct warren_option *opt, struct str *out)
{
	if (opt->flags & WARREN_KEYED) {
		str_add(out, "a map of names that you choose");
		return;
	}
	if (opt->type == WARREN_PREFIX && (opt->flags & WARREN_HOST_BITS))
		str_add(out, "an address with its network's length, as in 10.90.0.1/24");
	else
		str_add(out, types[opt->type].expected);
	for (size_t i = 0; opt->type == WARREN_ENUM && opt->values[i]; i++) {
		if (i == LISTED_VALUES) {
			str_add(out, ", ...");
			break;
		}
		str_addf(out, "%s %s", i ? "," : "", opt->values[i]);
	}
}

struct scalar {				/* what is being parsed, for sentences */
	struct conf_bind *b;
	const struct err_at *at;
	const struct warren_conf *value;
	const char *text;
};

static bool fail(const struct scalar *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static bool fail(const struct scalar *s, const char *fmt, ...)
{
	struct str text = STR_INIT;
	va_list ap;

	if (!s->b->command)
		str_addf(&text, "\"%s\" ", s->value->name ? s->value->name : "value");
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	err_add(s->b->err, s->at, "%s", str_text(&text));
	str_free(&text);
	return false;
}

static bool fail_form(const struct scalar *s)
{
	struct str expected = STR_INIT, got = STR_INIT;

	conf_type_expected(&s->value->row->opt, &expected);
	str_add_clean(&got, s->text, strlen(s->text), SHOWN_BYTES);
	fail(s, "must be %s, not \"%s\"", str_text(&expected), str_text(&got));
	str_free(&expected);
	str_free(&got);
	return false;
}

void conf_number_format(const struct warren_option *opt, int64_t number, struct str *out)
{
	char text[UNITS_TEXT];

	if (opt->type == WARREN_SIZE)
		str_add(out, units_format_size(number, text));
	else if (opt->type == WARREN_DURATION)
		str_add(out, units_format_duration(number, text));
	else
		str_addf(out, "%" PRId64, number);
}

/* @what is "" for a number, " bytes" for a length. */
static bool check_limits(const struct scalar *s, int64_t number, bool length)
{
	const struct warren_option *opt = &s->value->row->opt;
	bool low = number < opt->min;
	struct str limit = STR_INIT;

	if ((opt->min == 0 && opt->max == 0) || (!low && number <= opt->max))
		return true;
	if (length) {
		fail(s, "must have at %s %" PRId64 " bytes, not %" PRId64, low ? "least" : "most",
		     low ? opt->min : opt->max, number);
		return false;
	}
	conf_number_format(opt, low ? opt->min : opt->max, &limit);
	fail(s, "must be at %s %s, not %s", low ? "least" : "most", str_text(&limit), s->text);
	str_free(&limit);
	return false;
}

static bool parse_bool(const struct scalar *s, struct warren_conf *value)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(s->text, words[i]) == 0) {
			value->number = i % 2;
			return true;
		}
	}
	return fail_form(s);
}

static bool parse_number(const struct scalar *s, struct warren_conf *value)
{
	const struct warren_option *opt = &value->row->opt;
	int result;

	if (opt->type == WARREN_INT)
		result = units_parse_int(s->text, &value->number);
	else if (opt->type == WARREN_SIZE)
		result = units_parse_size(s->text, &value->number);
	else
		result = units_parse_duration(s->text, &value->number);
	if (result == -ERANGE)
		return fail(s, "is too large: %.*s", SHOWN_BYTES, s->text);
	if (result < 0 && opt->type == WARREN_DURATION &&
	    units_parse_int(s->text, &value->number) == 0 && value->number > 0)
		return fail(s, "needs a unit: write %ss if you mean seconds", s->text);
	if (result < 0)
		return fail_form(s);
	return check_limits(s, value->number, false);
}

static bool parse_text(const struct scalar *s, struct warren_conf *value)
{
	if (!check_limits(s, (int64_t)strlen(s->text), true))
		return false;
	value->text = conf_bind_text(s->b, s->text);
	return value->text;
}

static bool parse_path(const struct scalar *s, struct warren_conf *value)
{
	if (s->text[0] != '/')
		return fail_form(s);
	if (strlen(s->text) >= PATH_MAX)
		return fail(s, "is longer than a path can be (%d bytes)", PATH_MAX - 1);
	return parse_text(s, value);
}

static bool parse_enum(const struct scalar *s, struct warren_conf *value)
{
	const char *const *values = value->row->opt.values;
	struct str_guess guess = { .word = s->text };
	struct str expected = STR_INIT, got = STR_INIT;

	for (size_t i = 0; values[i]; i++) {
		if (strcmp(s->text, values[i]) == 0) {
			value->number = (int64_t)i;
			return true;
		}
		str_guess_try(&guess, values[i]);
	}
	if (!guess.best)
		return fail_form(s);
	conf_type_expected(&value->row->opt, &expected);
	str_add_clean(&got, s->text, strlen(s->text), SHOWN_BYTES);
	fail(s, "must be %s, not \"%s\"; did you mean \"%s\"?", str_text(&expected),
	     str_text(&got), guess.best);
	str_free(&expected);
	str_free(&got);
	return false;
}

static bool parse_prefix(const struct scalar *s, struct warren_conf *value)
{
	struct warren_prefix masked;
	char text[PREFIX_TEXT];

	if (prefix_parse(s->text, &value->prefix) < 0)
		return fail_form(s);
	masked = value->prefix;
	if (!(value->row->opt.flags & WARREN_HOST_BITS) && prefix_mask(&masked))
		return fail(s, "has address bits after its length: %s; write %s for the network, "
			    "or the address alone", s->text, prefix_format(&masked, text));
	return true;
}

bool conf_scalar_parse(struct conf_bind *b, const struct err_at *at, const char *text,
		       struct warren_conf *value)
{
	const struct scalar s = { .b = b, .at = at, .value = value, .text = text };

	value->shape = CONF_SCALAR;
	switch (value->row->opt.type) {
	case WARREN_BOOL:
		return parse_bool(&s, value);
	case WARREN_INT:
	case WARREN_SIZE:
	case WARREN_DURATION:
		return parse_number(&s, value);
	case WARREN_STRING:
	case WARREN_FD_IN:
	case WARREN_FD_OUT:
	case WARREN_FD_DIR:
		return parse_text(&s, value);
	case WARREN_ENUM:
		return parse_enum(&s, value);
	case WARREN_ADDR:
		return addr_parse(text, &value->addr) == 0 || fail_form(&s);
	case WARREN_ADDRPORT:
		return addrport_parse(text, &value->addrport) == 0 || fail_form(&s);
	case WARREN_PREFIX:
		return parse_prefix(&s, value);
	case WARREN_PATH:
		return parse_path(&s, value);
	}
	return false;			/* unknown types were refused with their table */
}

void conf_scalar_format(const struct warren_conf *value, struct str *out)
{
	const struct warren_option *opt = &value->row->opt;
	char text[ADDRPORT_TEXT];

	switch (opt->type) {
	case WARREN_BOOL:
		str_add(out, value->number ? "true" : "false");
		break;
	case WARREN_INT:
	case WARREN_SIZE:
	case WARREN_DURATION:
		conf_number_format(opt, value->number, out);
		break;
	case WARREN_ENUM:
		str_add(out, opt->values[value->number]);
		break;
	case WARREN_ADDR:
		str_add(out, addr_format(&value->addr, text));
		break;
	case WARREN_ADDRPORT:
		str_add(out, addrport_format(&value->addrport, text));
		break;
	case WARREN_PREFIX:
		str_add(out, prefix_format(&value->prefix, text));
		break;
	default:
		str_add(out, value->text);
		break;
	}
}
