/*
 * Completion of command lines.
 *
 * Everything comes from the rows: words of paths, options, values of enumerations and the place of
 * file names. What only a running plugin knows (names of peers) is not offered.
 */
#include "engine/complete.h"

#include <string.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "engine/cmd.h"
#include "engine/table.h"

struct complete {
	struct warren_reply *reply;
	const char *word;		/* what is there of it */
};

static void offer(const struct complete *c, const char *word, const char *brief)
{
	if (str_starts(word, c->word))
		warren_reply_text(c->reply, "%s %s", word, brief);
}

/* The next word of each command that is below the words before the last. */
static void offer_paths(const struct complete *c, const struct wcore_env *env,
			const char *const *argv, size_t before)
{
	char last[64] = "";

	for (size_t i = 0; i < env->cmds->count; i++) {
		const struct wcore_cmd *cmd = &env->cmds->v[i];
		const char *path = cmd->row.path;
		char word[sizeof(last)] = "";
		size_t len;

		if (wcore_cmd_hidden(cmd) || !wcore_cmd_below(cmd, argv, before))
			continue;
		for (size_t k = 0; k < before; k++)
			path += strcspn(path, " ") + 1;
		len = strcspn(path, " ");
		if (len >= sizeof(word))
			continue;
		memcpy(word, path, len);
		/* Paths are sorted, so words that come twice come in a row. */
		if (strcmp(word, last) != 0)
			offer(c, word, path[len] ? "..." : cmd->row.brief);
		memcpy(last, word, sizeof(last));
	}
}

static void offer_values(const struct complete *c, const struct warren_option *row)
{
	switch (row->type) {
	case WARREN_ENUM:
		for (size_t i = 0; row->values[i]; i++)
			offer(c, row->values[i], "");
		break;
	case WARREN_BOOL:
		offer(c, "yes", "");
		offer(c, "no", "");
		break;
	case WARREN_FD_IN:
	case WARREN_FD_OUT:
	case WARREN_FD_DIR:
	case WARREN_PATH:
		warren_reply_text(c->reply, ":file");
		break;
	default:
		break;
	}
}

static void offer_options(const struct complete *c, const struct warren_table *rows)
{
	struct warren_option row;

	for (uint32_t i = 0; wcore_table_row(rows, i, &row, sizeof(row)); i++) {
		char word[80];

		if (row.flags & WARREN_POSITIONAL)
			continue;
		if (str_copy(word, sizeof(word), "--") && strlen(row.key) < sizeof(word) - 2) {
			memcpy(word + 2, row.key, strlen(row.key) + 1);
			offer(c, word, row.brief);
		}
	}
	offer(c, "--json", "Answer with JSON.");
	offer(c, "--help", "Say what it does.");
}

/* The option that @word is, if it waits for a value in the next word. */
static bool awaits_value(const struct warren_table *rows, const char *word,
			 struct warren_option *row)
{
	if (!str_starts(word, "--") || strchr(word, '='))
		return false;
	for (uint32_t i = 0; wcore_table_row(rows, i, row, sizeof(*row)); i++)
		if (!(row->flags & WARREN_POSITIONAL) && row->type != WARREN_BOOL &&
		    strcmp(row->key, word + 2) == 0)
			return true;
	return false;
}

/* Completes behind a command; @argv begins after its path and has at least one word. */
static void offer_arguments(const struct complete *c, const struct warren_table *rows,
			    const char *const *argv, size_t argc)
{
	struct warren_option row;
	size_t operands = 0, place = 0;

	if (argc > 1 && awaits_value(rows, argv[argc - 2], &row)) {
		offer_values(c, &row);
		return;
	}
	if (c->word[0] == '-') {
		offer_options(c, rows);
		return;
	}
	for (size_t i = 0; i + 1 < argc; i++) {
		if (awaits_value(rows, argv[i], &row))
			i++;
		else if (argv[i][0] != '-')
			operands++;
	}
	for (uint32_t i = 0; wcore_table_row(rows, i, &row, sizeof(row)); i++) {
		if (!(row.flags & WARREN_POSITIONAL))
			continue;
		if (place++ == operands || (row.flags & WARREN_MANY)) {
			offer_values(c, &row);
			break;
		}
	}
}

void wcore_complete(const struct wcore_env *env, const char *const *argv, size_t argc,
		    struct warren_reply *reply)
{
	struct complete c = { .reply = reply, .word = argc > 0 ? argv[argc - 1] : "" };
	size_t before = argc > 0 ? argc - 1 : 0, words;
	const struct wcore_cmd *cmd;

	offer_paths(&c, env, argv, before);
	cmd = wcore_cmds_match(env->cmds, argv, before, &words);
	if (cmd)
		offer_arguments(&c, &cmd->row.args, argv + words, argc - words);
}
