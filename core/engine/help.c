/*
 * What commands say about themselves: usage lines, help, lists.
 */
#include "engine/help.h"

#include <ctype.h>
#include <string.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/describe.h"
#include "engine/reply.h"
#include "engine/table.h"

static const char *value_word(uint32_t type)
{
	static const char *const words[] = {
		[WARREN_BOOL] = "yes|no", [WARREN_INT] = "N", [WARREN_SIZE] = "SIZE",
		[WARREN_DURATION] = "TIME", [WARREN_ADDR] = "ADDRESS",
		[WARREN_ADDRPORT] = "ADDRESS:PORT", [WARREN_PREFIX] = "ADDRESS/BITS",
		[WARREN_PATH] = "PATH", [WARREN_FD_IN] = "FILE", [WARREN_FD_OUT] = "FILE",
		[WARREN_FD_DIR] = "FOLDER",
	};

	return type < ARRAY_SIZE(words) ? words[type] : NULL;
}

void wcore_help_value(const struct warren_option *row, struct str *out)
{
	const char *word = value_word(row->type);

	if (row->type == WARREN_ENUM) {
		for (size_t i = 0; row->values[i]; i++)
			str_addf(out, "%s%s", i > 0 ? "|" : "", row->values[i]);
	} else if (word && !(row->flags & WARREN_POSITIONAL)) {
		str_add(out, word);
	} else {
		for (const char *c = row->key; *c; c++)
			str_addc(out, (char)toupper((unsigned char)*c));
	}
}

/* "--name NAME", "--[no-]flag", "FILE..." */
static void add_form(const struct warren_option *row, struct str *out)
{
	if (row->flags & WARREN_POSITIONAL) {
		wcore_help_value(row, out);
		str_add(out, row->flags & WARREN_MANY ? "..." : "");
	} else if (row->type == WARREN_BOOL) {
		bool on = row->def && strcmp(row->def, "false") != 0 &&
			  strcmp(row->def, "no") != 0 && strcmp(row->def, "off") != 0;

		str_addf(out, "--%s%s", on ? "no-" : "", row->key);
	} else {
		str_addf(out, "--%s ", row->key);
		wcore_help_value(row, out);
	}
}

void wcore_help_usage(const struct wcore_cmd *cmd, struct str *out)
{
	struct warren_option row;

	str_addf(out, "warren %s", cmd->row.path);
	for (int operands = 0; operands < 2; operands++) {
		for (uint32_t i = 0; wcore_table_row(&cmd->row.args, i, &row, sizeof(row)); i++) {
			bool optional = !(row.flags & WARREN_REQUIRED);

			if (((row.flags & WARREN_POSITIONAL) != 0) != (operands == 1))
				continue;
			str_add(out, optional ? " [" : " ");
			add_form(&row, out);
			str_add(out, optional ? "]" : "");
		}
	}
}

/* Whether there is an operand (or an option) in the table. */
static bool has_rows(const struct warren_table *rows, bool operands)
{
	struct warren_option row;

	for (uint32_t i = 0; wcore_table_row(rows, i, &row, sizeof(row)); i++)
		if (((row.flags & WARREN_POSITIONAL) != 0) == operands)
			return true;
	return false;
}

/* What the form does not say already. */
static void add_type(const struct warren_option *row, struct str *out)
{
	if (row->type == WARREN_BOOL)
		return;
	if (row->type != WARREN_ENUM)
		wcore_describe_row(row, out);
	else if (row->def)
		str_addf(out, "default %s", row->def);
}

static void write_row_text(const struct warren_option *row, struct warren_reply *reply)
{
	AUTO(str_free) struct str form = STR_INIT;
	AUTO(str_free) struct str type = STR_INIT;
	bool typed;

	add_form(row, &form);
	add_type(row, &type);
	typed = type.len > 0;
	warren_reply_text(reply, "  %s\t%s%s%s%s", str_text(&form), row->brief,
			  typed ? " (" : "", str_text(&type), typed ? ")" : "");
}

static void write_row_data(const struct warren_option *row, struct warren_reply *reply)
{
	AUTO(str_free) struct str form = STR_INIT;
	AUTO(str_free) struct str type = STR_INIT;

	add_form(row, &form);
	wcore_describe_row(row, &type);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "key", "%s", row->key);
	warren_reply_str(reply, "form", "%s", str_text(&form));
	warren_reply_str(reply, "type", "%s", str_text(&type));
	warren_reply_bool(reply, "operand", (row->flags & WARREN_POSITIONAL) != 0);
	warren_reply_bool(reply, "required", (row->flags & WARREN_REQUIRED) != 0);
	warren_reply_bool(reply, "many", (row->flags & WARREN_MANY) != 0);
	warren_reply_str(reply, "brief", "%s", row->brief);
	warren_reply_close(reply);
}

static const char *scope_name(uint32_t flags)
{
	switch (flags & WCORE_CMD_SCOPE) {
	case WARREN_CMD_ANY:
		return "any";
	case WARREN_CMD_OPERATOR:
		return "operator";
	default:
		return "root";
	}
}

static void write_data(const struct wcore_cmd *cmd, struct warren_reply *reply)
{
	AUTO(str_free) struct str usage = STR_INIT;
	struct warren_option row;

	wcore_help_usage(cmd, &usage);
	warren_reply_str(reply, "command", "%s", cmd->row.path);
	warren_reply_str(reply, "plugin", "%s", cmd->plugin ? cmd->plugin : "core");
	warren_reply_str(reply, "scope", "%s", scope_name(cmd->row.flags));
	warren_reply_bool(reply, "offline", (cmd->row.flags & WARREN_CMD_OFFLINE) != 0);
	warren_reply_str(reply, "usage", "%s", str_text(&usage));
	warren_reply_str(reply, "brief", "%s", cmd->row.brief);
	if (cmd->row.help)
		warren_reply_str(reply, "help", "%s", cmd->row.help);
	if (cmd->row.example)
		warren_reply_str(reply, "example", "%s", cmd->row.example);
	warren_reply_open(reply, "args", '[');
	for (uint32_t i = 0; wcore_table_row(&cmd->row.args, i, &row, sizeof(row)); i++)
		write_row_data(&row, reply);
	warren_reply_close(reply);
}

static void write_rows_text(const struct wcore_cmd *cmd, bool operands, struct warren_reply *reply)
{
	struct warren_option row;

	for (uint32_t i = 0; wcore_table_row(&cmd->row.args, i, &row, sizeof(row)); i++)
		if (((row.flags & WARREN_POSITIONAL) != 0) == operands)
			write_row_text(&row, reply);
}

/* A paragraph, wrapped between words. */
static void write_wrapped(const char *text, uint32_t width, struct warren_reply *reply)
{
	AUTO(str_free) struct str line = STR_INIT;

	while (*text) {
		size_t len = strcspn(text, " \n");

		if (line.len > 0 && line.len + 1 + len > width) {
			warren_reply_text(reply, "%s", str_text(&line));
			str_cut(&line, 0);
		}
		str_add(&line, line.len > 0 ? " " : "");
		str_addn(&line, text, len);
		text += len;
		if (*text == '\n') {
			warren_reply_text(reply, "%s", str_text(&line));
			str_cut(&line, 0);
		}
		text += *text != '\0';
	}
	if (line.len > 0)
		warren_reply_text(reply, "%s", str_text(&line));
}

void wcore_help_command(const struct wcore_cmd *cmd, struct warren_reply *reply)
{
	AUTO(str_free) struct str usage = STR_INIT;
	uint32_t width = wcore_reply_width(reply);

	if (warren_reply_json(reply)) {
		write_data(cmd, reply);
		return;
	}
	wcore_help_usage(cmd, &usage);
	warren_reply_text(reply, "Usage: %s\n\n%s", str_text(&usage), cmd->row.brief);
	if (cmd->row.help) {
		warren_reply_text(reply, "%s", "");
		write_wrapped(cmd->row.help, width ? width : 80, reply);
	}
	if (has_rows(&cmd->row.args, true)) {
		warren_reply_text(reply, "\nOperands:");
		write_rows_text(cmd, true, reply);
	}
	warren_reply_text(reply, "\nOptions:");
	write_rows_text(cmd, false, reply);
	warren_reply_text(reply, "  --json\tAnswer with JSON.\n  --help\tSay this.");
	if (cmd->row.example)
		warren_reply_text(reply, "\nExample:\n  %s", cmd->row.example);
	if ((cmd->row.flags & WCORE_CMD_SCOPE) != WARREN_CMD_ANY)
		warren_reply_text(reply, "\nAllowed to: root%s.",
				  (cmd->row.flags & WCORE_CMD_SCOPE) == WARREN_CMD_OPERATOR ?
				  " and the operator (node.operator)" : "");
}

void wcore_help_list(const struct wcore_env *env, const char *const *argv, size_t argc,
		     struct warren_reply *reply)
{
	if (argc == 0)
		warren_reply_text(reply, "Usage: warren [--socket PATH] [--json] COMMAND ...\n\n"
				  "Commands:");
	else
		warren_reply_text(reply, "Commands:");
	warren_reply_open(reply, "commands", '[');
	for (size_t i = 0; i < env->cmds->count; i++) {
		const struct wcore_cmd *cmd = &env->cmds->v[i];

		if (wcore_cmd_hidden(cmd) || !wcore_cmd_below(cmd, argv, argc))
			continue;
		warren_reply_text(reply, "  %s\t%s", cmd->row.path, cmd->row.brief);
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "command", "%s", cmd->row.path);
		warren_reply_str(reply, "plugin", "%s", cmd->plugin ? cmd->plugin : "core");
		warren_reply_str(reply, "brief", "%s", cmd->row.brief);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	warren_reply_text(reply, "\nMore about one of them: warren COMMAND --help");
	if (env->engine)
		warren_reply_text(reply, "Also those of plugins that are not switched on: "
				  "warren help --all");
}

void wcore_help_unknown(const char *const *argv, size_t known, const struct str_guess *guess,
			struct str *out)
{
	str_addf(out, "unknown command \"");
	for (size_t i = 0; i <= known; i++)
		str_addf(out, "%s%s", i > 0 ? " " : "", argv[i]);
	str_addc(out, '"');
	if (guess->best) {
		str_add(out, ", did you mean \"");
		for (size_t i = 0; i < known; i++)
			str_addf(out, "%s ", argv[i]);
		str_addf(out, "%s\"", guess->best);
	}
	str_add(out, "\nAll commands: warren help");
}
