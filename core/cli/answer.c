/*
 * What comes back: lines of JSON, from the daemon or from a command that runs in this process.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/util.h"
#include "engine/request.h"

static void print_text(struct cli_answer *answer, const char *text)
{
	if (answer->capture) {
		str_add(answer->capture, text);
		str_addc(answer->capture, '\n');
	} else {
		puts(text);
	}
}

static void print_data(struct cli_answer *answer, const json_t *data, bool indent)
{
	size_t flags = indent || isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
	AUTO(auto_free) char *text = json_dumps(data, flags | JSON_ENCODE_ANY);

	if (text)
		print_text(answer, text);
}

void cli_answer_clear(struct cli_answer *answer)
{
	if (answer->progress)
		fputs("\r\033[K", stderr);
	answer->progress = false;
}

/* Where standard output is the same terminal, what was written before comes before. */
static void print_note(const char *text)
{
	fflush(stdout);
	fprintf(stderr, "%s\n", text);
}

static void read_hint(struct cli_answer *answer, const char *text)
{
	free(answer->hint);
	answer->hint = strdup(text);
}

static void read_end(struct cli_answer *answer, const json_t *end)
{
	const char *error = json_string_value(json_object_get(end, "error"));

	answer->ended = true;
	answer->exit = (int)json_integer_value(json_object_get(end, "exit"));
	if (error)
		str_add(&answer->error, error);
}

static void read_opens(struct cli_answer *answer, const json_t *opens)
{
	json_t *entry;
	size_t i;

	json_array_foreach(opens, i, entry) {
		const char *key = json_string_value(json_object_get(entry, "key"));
		struct cli_open *open = &answer->opens[answer->n_opens];

		if (!key || answer->n_opens == CLI_FDS)
			return;
		*open = (struct cli_open){
			.key = strdup(key), .fd = -1,
			.word = (size_t)json_integer_value(json_object_get(entry, "word")),
			.skip = (size_t)json_integer_value(json_object_get(entry, "skip")),
			.write = json_is_true(json_object_get(entry, "write")),
			.dir = json_is_true(json_object_get(entry, "dir")),
		};
		if (!open->key)
			return;
		answer->n_opens++;
	}
}

static void keep_text(char **to, const json_t *text)
{
	if (json_is_string(text) && !*to)
		*to = strdup(json_string_value(text));
}

static void read_local(struct cli_answer *answer, const json_t *json)
{
	answer->local = true;
	keep_text(&answer->config, json_object_get(json, "config"));
	keep_text(&answer->plugin_dir, json_object_get(json, "plugin-dir"));
}

void cli_answer_line(struct cli_answer *answer, const char *line, size_t len)
{
	json_t *json = json_loadb(line, len, 0, NULL), *value;

	if (!json_is_object(json)) {
		str_add(&answer->error, "warren: the answer is no JSON");
	} else if ((value = json_object_get(json, "progress"))) {
		cli_progress(answer, value);
	} else {
		cli_answer_clear(answer);
		value = json_object_get(json, "text");
		if (json_is_string(value))
			print_text(answer, json_string_value(value));
		value = json_object_get(json, "note");
		if (json_is_string(value))
			print_note(json_string_value(value));
		value = json_object_get(json, "hint");
		if (json_is_string(value))
			read_hint(answer, json_string_value(value));
		value = json_object_get(json, "data");
		if (value)
			print_data(answer, value, json_is_true(json_object_get(json, "indent")));
		value = json_object_get(json, "end");
		if (value)
			read_end(answer, value);
		read_opens(answer, json_object_get(json, "open"));
		value = json_object_get(json, "make");
		if (value)
			cli_make(answer, value);
		if (json_is_true(json_object_get(json, "keep")))
			cli_keep(answer);
		if (json_is_true(json_object_get(json, "drop")))
			cli_drop(answer);
		if (json_is_true(json_object_get(json, "local")))
			read_local(answer, json);
	}
	json_decref(json);
}

void cli_answer_free(struct cli_answer *answer)
{
	for (size_t i = 0; i < answer->n_opens; i++) {
		auto_close(&answer->opens[i].fd);
		free(answer->opens[i].key);
	}
	answer->n_opens = 0;
	free(answer->config);
	free(answer->plugin_dir);
	free(answer->hint);
	answer->config = answer->plugin_dir = answer->hint = NULL;
	str_free(&answer->error);
}

/*
 * ---- Files ----
 */

/*
 * Opened with the rights of the user who runs this. Only words of the command line are opened, so
 * the daemon cannot make us open anything else. "-" is our standard input or output.
 */
static int open_word(const char *path, bool write)
{
	if (strcmp(path, "-") == 0)
		return fcntl(write ? STDOUT_FILENO : STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (write)
		return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

/* /dev/null stands for a folder too, which takes everything and keeps nothing. */
static int open_folder(const char *path)
{
	return strcmp(path, "/dev/null") == 0 ? open(path, O_WRONLY | O_CLOEXEC) :
		       open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool open_one(struct cli_open *open, const char *path)
{
	open->fd = open->dir ? open_folder(path) : open_word(path, open->write);
	if (open->fd == -1 && open->dir && (errno == ENOTDIR || errno == ENOENT))
		cli_error("\"%s\" is not a directory", path);
	else if (open->fd == -1)
		cli_error("cannot open %s: %s", path, strerror(errno));
	return open->fd != -1;
}

bool cli_open_files(struct cli_answer *answer, const struct wcore_request *request)
{
	for (size_t i = 0; i < answer->n_opens; i++) {
		struct cli_open *open = &answer->opens[i];

		if (open->word >= request->argc ||
		    open->skip > strlen(request->argv[open->word])) {
			cli_error("the daemon asks for a file that is not on the command line");
			return false;
		}
		if (!open_one(open, request->argv[open->word] + open->skip))
			return false;
	}
	return true;
}
