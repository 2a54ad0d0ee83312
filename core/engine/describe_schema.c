/*
 * Option tables as a JSON schema (draft 2020-12), for editors that complete and check YAML while it
 * is written. It knows forms and limits, not what `check` callbacks know, and allows what other
 * YAML readers make of our words: "off" is false for some, 0 a number.
 */
#include <inttypes.h>
#include <string.h>

#include "engine/describe_impl.h"
#include "engine/table.h"

static const char definitions[] =
	"\"$defs\":{\n"
	"\"bool\":{\"enum\":[true,false,\"yes\",\"no\",\"on\",\"off\",\"true\",\"false\"]},\n"
	"\"size\":{\"type\":[\"integer\",\"string\"],\"minimum\":0,"
	"\"pattern\":\"^[0-9]+(B|[KMGT](iB)?|kB|[MGT]B)?$\"},\n"
	"\"duration\":{\"anyOf\":[{\"const\":0},{\"const\":false},{\"type\":\"string\","
	"\"pattern\":\"^(off|0|(?=.)([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?"
	"([0-9]+ms)?([0-9]+us)?)$\"}]},\n"
	"\"addr\":{\"type\":\"string\",\"pattern\":\"^[0-9a-fA-F:.]+$\"},\n"
	"\"addrport\":{\"type\":\"string\","
	"\"pattern\":\"^([0-9.]+|\\\\[[0-9a-fA-F:.]+\\\\]):[0-9]+$\"},\n"
	"\"prefix\":{\"type\":\"string\",\"pattern\":\"^[0-9a-fA-F:.]+(/[0-9]{1,3})?$\"},\n"
	"\"path\":{\"type\":\"string\",\"pattern\":\"^/\"},\n"
	"\"secret\":{\"type\":\"object\",\"additionalProperties\":false,\"minProperties\":1,"
	"\"maxProperties\":1,\"properties\":{\"file\":{\"$ref\":\"#/$defs/path\"},"
	"\"credential\":{\"type\":\"string\",\"pattern\":\"^[^/]+$\"}}}\n"
	"}";

static void add_string(struct str *out, const char *text)
{
	str_add_json(out, text, strlen(text));
}

static void add_scalar(const struct warren_option *row, struct str *out)
{
	static const char *const names[] = {
		[WARREN_BOOL] = "bool", [WARREN_SIZE] = "size", [WARREN_DURATION] = "duration",
		[WARREN_ADDR] = "addr", [WARREN_ADDRPORT] = "addrport",
		[WARREN_PREFIX] = "prefix", [WARREN_PATH] = "path",
		[WARREN_SECRET_REF] = "secret", [WARREN_FD_DIR] = NULL,
	};
	bool limited = row->min != 0 || row->max != 0;

	if (row->type <= WARREN_FD_DIR && names[row->type]) {
		str_addf(out, "\"$ref\":\"#/$defs/%s\"", names[row->type]);
	} else if (row->type == WARREN_INT) {
		str_add(out, "\"type\":\"integer\"");
		if (limited)
			str_addf(out, ",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64, row->min,
				 row->max);
	} else if (row->type == WARREN_ENUM) {
		str_add(out, "\"enum\":[");
		for (size_t i = 0; row->values && row->values[i]; i++) {
			str_add(out, i ? "," : "");
			add_string(out, row->values[i]);
		}
		str_addc(out, ']');
	} else {
		/* A text of digits is a number for others. */
		str_add(out, "\"type\":[\"string\",\"number\",\"boolean\"]");
		if (limited)
			str_addf(out, ",\"minLength\":%d,\"maxLength\":%" PRId64, row->min > 0,
				 row->max);
	}
}

static void add_row(const struct warren_option *row, uint32_t nesting, struct str *out);

static void add_map(const struct warren_table *table, uint32_t nesting, struct str *out)
{
	struct warren_option row;
	bool first = true;

	str_add(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":false,"
		"\"properties\":{");
	for (uint32_t i = 0; wcore_table_row(table, i, &row, sizeof(row)); i++) {
		str_add(out, i ? ",\n" : "\n");
		add_string(out, row.key ? row.key : "");
		str_addc(out, ':');
		add_row(&row, nesting + 1, out);
	}
	str_addc(out, '}');
	for (uint32_t i = 0; wcore_table_row(table, i, &row, sizeof(row)); i++) {
		if (!(row.flags & WARREN_REQUIRED))
			continue;
		str_add(out, first ? ",\"required\":[" : ",");
		first = false;
		add_string(out, row.key ? row.key : "");
	}
	if (!first)
		str_addc(out, ']');
}

static void add_texts(const struct warren_option *row, struct str *out)
{
	struct str text = STR_INIT;

	if (row->brief)
		str_add(&text, row->brief);
	if (row->help)
		str_addf(&text, "%s%s", text.len ? "\n" : "", row->help);
	if (text.len > 0) {
		str_add(out, ",\"description\":");
		str_add_json(out, str_text(&text), text.len);
	}
	if (row->def) {
		str_add(out, ",\"default\":");
		add_string(out, row->def);
	}
	if (row->flags & WARREN_DEPRECATED)
		str_add(out, ",\"deprecated\":true");
	str_free(&text);
}

/* The type of a row without braces and texts. */
static void add_form(const struct warren_option *row, uint32_t nesting, struct str *out)
{
	struct warren_option elem;
	struct str inner = STR_INIT;

	if (nesting > DESCRIBE_NESTING)
		return;
	switch (describe_kind(row, &elem)) {
	case DESCRIBE_SCALAR:
		add_scalar(row, out);
		break;
	case DESCRIBE_MAP:
		if (row->flags & WARREN_OR_TEXT &&
		    wcore_table_row(&row->sub, 0, &elem, sizeof(elem))) {
			add_map(&row->sub, nesting, &inner);
			str_addf(out, "\"anyOf\":[{%s},{", str_text(&inner));
			add_form(&elem, nesting + 1, out);
			str_add(out, "}]");
			break;
		}
		add_map(&row->sub, nesting, out);
		break;
	case DESCRIBE_LIST:
		add_form(&elem, nesting + 1, &inner);
		str_addf(out, "\"anyOf\":[{\"type\":\"array\",\"items\":{%s}},{%s}]",
			 str_text(&inner), str_text(&inner));
		break;
	case DESCRIBE_KEYED:
		str_add(out, "\"type\":[\"object\",\"null\"],\"additionalProperties\":");
		add_row(&elem, nesting + 1, out);
		break;
	}
	str_free(&inner);
}

static void add_row(const struct warren_option *row, uint32_t nesting, struct str *out)
{
	struct str form = STR_INIT, texts = STR_INIT;

	add_form(row, nesting, &form);
	add_texts(row, &texts);
	/* The texts begin with the comma that an empty form does not want. */
	str_addf(out, "{%s%s}", str_text(&form), str_text(&texts) + (form.len == 0 && texts.len));
	str_free(&form);
	str_free(&texts);
}

void wcore_describe_schema(const struct wcore_conf_schema *schemas, size_t count, struct str *out)
{
	str_add(out, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\n"
		"\"title\":\"Warren configuration\",\"type\":[\"object\",\"null\"],"
		"\"additionalProperties\":false,\n\"properties\":{");
	for (size_t i = 0; i < count; i++) {
		const struct warren_option row = describe_section(&schemas[i]);

		str_add(out, i ? ",\n" : "\n");
		add_string(out, schemas[i].name);
		str_addc(out, ':');
		if (schemas[i].flags & WCORE_SCHEMA_OPAQUE)
			str_add(out, "{}");
		else
			add_row(&row, 0, out);
	}
	str_addf(out, "\n},\n%s\n}\n", definitions);
}
