/*
 * The words behind a command: options and operands.
 *
 * Operands are given to the POSITIONAL rows in order; a row with MANY takes all that are left, but
 * for one for each row behind it.
 */
#include "engine/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/table.h"

struct reader {
	struct wcore_args *args;
	const struct warren_table *rows;
	const char *const *argv;
	size_t at, argc;
	uint32_t operand;		/* row of the next operand */
	struct warren_err *err;
};

/* The option row with the key @name of @len bytes. */
static bool find_option(const struct warren_table *rows, const char *name, size_t len,
			struct warren_option *row)
{
	for (uint32_t i = 0; wcore_table_row(rows, i, row, sizeof(*row)); i++)
		if (!(row->flags & WARREN_POSITIONAL) && strlen(row->key) == len &&
		    memcmp(row->key, name, len) == 0)
			return true;
	return false;
}

static void add(struct reader *r, const struct warren_option *row, const char *value, size_t skip)
{
	static const char prefix[] = "file:";
	struct wcore_arg arg = {
		.pair = { .name = row->key, .value = value },
		.type = row->type, .word = r->at, .skip = skip,
	};

	if (row->flags & WARREN_OR_TEXT && value && str_starts(value, prefix))
		arg.skip += sizeof(prefix) - 1;
	else if (row->flags & WARREN_OR_TEXT)
		arg.type = WARREN_STRING;
	r->args->v[r->args->count++] = arg;
}

static int fail_unknown(struct reader *r, const char *name, size_t len)
{
	AUTO(str_free) struct str word = STR_INIT;
	struct str_guess guess = { 0 };
	struct warren_option row;

	str_addn(&word, name, len);
	guess.word = str_text(&word);
	str_guess_try(&guess, "json");
	str_guess_try(&guess, "help");
	for (uint32_t i = 0; wcore_table_row(r->rows, i, &row, sizeof(row)); i++)
		if (!(row.flags & WARREN_POSITIONAL))
			str_guess_try(&guess, row.key);
	if (guess.best)
		return err_add(r->err, NULL, "unknown option --%s, did you mean --%s",
			       str_text(&word), guess.best);
	return err_add(r->err, NULL, "unknown option --%s", str_text(&word));
}

/* @word is the current one, without its two dashes. */
static int read_option(struct reader *r, const char *word)
{
	const char *equal = strchr(word, '=');
	size_t len = equal ? (size_t)(equal - word) : strlen(word);
	struct warren_option row;

	if (find_option(r->rows, word, len, &row)) {
		if (equal) {
			add(r, &row, equal + 1, (size_t)(equal + 1 - r->argv[r->at]));
		} else if (row.type == WARREN_BOOL) {
			add(r, &row, NULL, 0);
		} else if (r->at + 1 < r->argc) {
			r->at++;
			add(r, &row, r->argv[r->at], 0);
		} else {
			return err_add(r->err, NULL, "option --%s needs a value", row.key);
		}
		return 0;
	}
	if (!equal && str_starts(word, "no-") &&
	    find_option(r->rows, word + 3, len - 3, &row) && row.type == WARREN_BOOL) {
		add(r, &row, "false", 0);
		return 0;
	}
	if (strcmp(word, "json") == 0)
		r->args->json = true;
	else if (strcmp(word, "help") == 0)
		r->args->help = true;
	else
		return fail_unknown(r, word, len);
	return 0;
}

/* "-4": a flag whose key is that letter. */
static bool read_letter(struct reader *r, const char *word)
{
	struct warren_option row;

	if (strlen(word) != 2 || !find_option(r->rows, word + 1, 1, &row) ||
	    row.type != WARREN_BOOL)
		return false;
	add(r, &row, NULL, 0);
	return true;
}

static int read_operand(struct reader *r)
{
	struct warren_option row;

	while (wcore_table_row(r->rows, r->operand, &row, sizeof(row))) {
		if (row.flags & WARREN_POSITIONAL) {
			add(r, &row, r->argv[r->at], 0);
			if (!(row.flags & WARREN_MANY))
				r->operand++;
			return 0;
		}
		r->operand++;
	}
	r->args->surplus++;
	return err_add(r->err, NULL, "there is no place for the operand \"%s\"", r->argv[r->at]);
}

/* Whether the next operand is a word for another program. */
static bool is_verbatim(struct reader *r)
{
	struct warren_option row;

	for (; wcore_table_row(r->rows, r->operand, &row, sizeof(row)); r->operand++) {
		if (row.flags & WARREN_POSITIONAL)
			return row.flags & WARREN_VERBATIM;
	}
	return false;
}

static int read_words(struct reader *r)
{
	bool options = true;
	int ret = 0;

	for (; r->at < r->argc; r->at++) {
		const char *word = r->argv[r->at];
		int one = 0;

		options = options && !is_verbatim(r);
		if (options && strcmp(word, "--") == 0)
			options = false;
		else if (options && str_starts(word, "--"))
			one = read_option(r, word + 2);
		else if (options && strcmp(word, "-h") == 0)
			r->args->help = true;
		else if (options && word[0] == '-' && read_letter(r, word))
			continue;
		else if (options && word[0] == '-' && word[1] != '\0')
			one = err_add(r->err, NULL, "unknown option %s (an operand that begins "
				      "with a dash goes after --)", word);
		else
			one = read_operand(r);
		ret = one < 0 ? one : ret;
	}
	return r->args->help ? 0 : ret;
}

/* The rows behind one with MANY take its last words, if they leave it any or it may have none. */
static void share_operands(struct reader *r)
{
	struct warren_option many = { 0 }, row;
	uint32_t rows[WCORE_ARGS_LAST], n = 0;
	size_t at = r->args->count;

	for (uint32_t i = 0; wcore_table_row(r->rows, i, &row, sizeof(row)); i++) {
		if (!(row.flags & WARREN_POSITIONAL))
			continue;
		if (many.key && n < WCORE_ARGS_LAST)
			rows[n++] = i;
		else if (row.flags & WARREN_MANY)
			many = row;
	}
	while (n > 0 && at > 0) {
		struct wcore_arg *arg = &r->args->v[--at];

		if (arg->pair.name != many.key)
			continue;
		if (wcore_table_row(r->rows, rows[--n], &row, sizeof(row))) {
			arg->pair.name = row.key;
			arg->type = row.type;
		}
	}
}

int wcore_args_parse(struct wcore_args *args, const struct warren_table *rows,
		     const char *const *argv, size_t from, size_t argc, struct warren_err *err)
{
	struct reader r = {
		.args = args, .rows = rows, .argv = argv, .at = from, .argc = argc, .err = err,
	};
	int ret;

	memset(args, 0, sizeof(*args));
	/* Each word is at most one argument. */
	args->v = calloc(argc - from + 1, sizeof(*args->v));
	if (!args->v) {
		err_add(err, NULL, "there is no memory for the arguments");
		return -ENOMEM;
	}
	ret = read_words(&r);
	share_operands(&r);
	return ret;
}

void wcore_args_free(struct wcore_args *args)
{
	free(args->v);
	args->v = NULL;
	args->count = 0;
}

struct wcore_config *wcore_args_build(const struct wcore_args *args, const char *what,
				      const struct warren_table *rows, struct warren_err *err)
{
	AUTO(auto_free) struct wcore_conf_pair *pairs = NULL;

	pairs = calloc(args->count + 1, sizeof(*pairs));
	if (!pairs) {
		err_add(err, NULL, "there is no memory for the arguments");
		return NULL;
	}
	for (size_t i = 0; i < args->count; i++)
		pairs[i] = args->v[i].pair;
	return wcore_conf_build(what, rows, pairs, args->count, err);
}
