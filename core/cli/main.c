/*
 * warren: the client.
 *
 * It knows no command. The words of the command line go to the daemon, which matches, checks and
 * answers; the client prints. What the daemon leaves to it (commands that need none) and what is
 * asked while no daemon runs, it hands to the same code in its own process, with the tables of the
 * plugins that are installed.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/installed.h"
#include "engine/request.h"

struct options {
	const char *socket, *plugin_dir, *config;
	struct wcore_request request;
};

void cli_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("warren: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/*
 * ---- Commands in this process ----
 */

static void local_line(void *arg, const char *json, size_t len)
{
	cli_answer_line(arg, json, len);
}

static void local_end(void *arg, struct warren_reply *reply, int exit)
{
	(void)arg;
	(void)reply;
	(void)exit;
}

static const struct wcore_reply_sink local_sink = { .line = local_line, .end = local_end };

static bool run_once(const struct wcore_env *env, const struct wcore_request *request,
		     struct cli_answer *files, struct cli_answer *answer)
{
	struct warren_reply *reply;

	reply = wcore_reply_new(&local_sink, answer, request->flags, request->width);
	if (!reply)
		return false;
	for (size_t i = 0; i < files->n_opens; i++)
		if (wcore_reply_add_fd_take(reply, files->opens[i].key,
					    TAKE_FD(files->opens[i].fd)) < 0)
			return false;
	wcore_cmd_run(env, request, WARREN_CMD_ROOT, reply);
	return true;
}

static bool run_with_env(const struct wcore_env *env, const struct wcore_request *request,
			 struct cli_answer *answer)
{
	struct cli_answer first = { 0 };
	struct cli_answer none = { 0 };
	bool good = run_once(env, request, &none, &first);

	if (good && first.n_opens > 0) {
		good = cli_open_files(&first, request);
		if (!good) {
			answer->ended = true;
			answer->exit = CLI_FAILED;
			good = true;
		} else {
			good = run_once(env, request, &first, answer);
		}
		cli_answer_free(&first);
	} else {
		*answer = first;
	}
	return good;
}

static int ask_for_text(const struct wcore_env *env, const char *const *argv, size_t argc,
			struct str *out, struct warren_err *err)
{
	struct wcore_request request = { .argv = (const char **)argv, .argc = argc };
	struct cli_answer answer = { .capture = out };
	enum cli_asked asked = cli_ask(env->socket, &request, &answer);
	int ret = 0;

	if (asked == CLI_ABSENT)
		ret = err_add(err, NULL, "warrend is not running (nobody listens on %s); start it: "
			      "systemctl start warrend", env->socket);
	else if (asked == CLI_BROKEN || answer.exit != 0)
		ret = err_add(err, NULL, "the daemon did not answer: %s",
			      answer.error.len > 0 ? str_text(&answer.error) : "no reason given");
	cli_answer_free(&answer);
	return ret;
}

static void print_notes(const struct warren_err *err)
{
	const struct err_line *line;

	for (uint32_t i = 0; (line = err_nth(err, i)); i++)
		cli_error("%s", line->text);
}

/* What the user says goes before what a running daemon uses, and that before the defaults. */
static const char *choose(const char *given, const char *daemons, const char *fallback)
{
	return given ? given : daemons ? daemons : fallback;
}

/* @daemons is the answer of a daemon that leaves the command to us; NULL: none runs. */
static bool run_here(const struct options *options, const struct cli_answer *daemons,
		     struct cli_answer *answer)
{
	struct wcore_installed installed;
	struct wcore_cmds cmds = { 0 };
	struct warren_err err = ERR_INIT;
	const struct wcore_env env = {
		.cmds = &cmds, .socket = options->socket, .daemon_runs = daemons != NULL,
		.config = choose(options->config, daemons ? daemons->config : NULL,
				 WARREN_SYSCONFDIR "/warren.yaml"),
		.plugin_dir = choose(options->plugin_dir, daemons ? daemons->plugin_dir : NULL,
				     WARREN_PLUGINDIR),
		.installed = &installed, .ask = ask_for_text,
	};
	const struct wcore_request *request = &options->request;
	bool good;

	good = wcore_installed_load(&installed, env.plugin_dir, geteuid(), &err) == 0;
	if (good) {
		good = wcore_installed_commands(&installed, &cmds, &err) == 0;
		if (request->argc == 0 || strcmp(request->argv[0], "__complete") != 0)
			print_notes(&err);
		if (good)
			good = run_with_env(&env, request, answer);
		wcore_cmds_free(&cmds);
		wcore_installed_free(&installed);
	}
	err_free(&err);
	return good;
}

/*
 * ---- The command line ----
 */

static uint32_t terminal_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1)
		return 0;
	return size.ws_col;
}

/* https://no-color.org: set and not empty means none. */
static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no && no[0]) && !(term && strcmp(term, "dumb") == 0);
}

/* The value of "--name VALUE" or "--name=VALUE" at argv[*i]; NULL: it is another option. */
static const char *option_value(char **argv, int argc, int *i, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(argv[*i], name, len) != 0)
		return NULL;
	if (argv[*i][len] == '=')
		return argv[*i] + len + 1;
	if (argv[*i][len] != '\0')
		return NULL;
	if (*i + 1 == argc) {
		cli_error("option %s needs a value", name);
		exit(CLI_USAGE);
	}
	return argv[++*i];
}

/* Options in front of the command; returns the index of its first word. */
static int read_options(struct options *options, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char *value;

		if ((value = option_value(argv, argc, &i, "--socket"))) {
			options->socket = value;
		} else if ((value = option_value(argv, argc, &i, "--plugin-dir"))) {
			options->plugin_dir = value;
		} else if ((value = option_value(argv, argc, &i, "--config"))) {
			options->config = value;
		} else if (strcmp(argv[i], "--json") == 0) {
			options->request.flags |= WCORE_REPLY_JSON;
		} else if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-V") == 0) {
			printf("warren %s (plugin ABI %d.%d)\n", PACKAGE_VERSION,
			       WARREN_ABI_MAJOR, WARREN_ABI_MINOR);
			exit(CLI_DONE);
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			break;
		} else {
			cli_error("unknown option %s\nUsage: warren [--socket PATH] [--plugin-dir "
				  "DIR] [--config FILE] [--json] COMMAND ...", argv[i]);
			exit(CLI_USAGE);
		}
	}
	return i;
}

static int finish(const struct cli_answer *answer, bool good)
{
	if (!good || !answer->ended) {
		cli_error("there was no memory for the command");
		return CLI_FAILED;
	}
	if (fflush(stdout) == EOF || ferror(stdout)) {
		cli_error("cannot write the answer: %s", strerror(errno));
		return CLI_FAILED;
	}
	if (answer->error.len > 0)
		fprintf(stderr, "%s\n", str_text(&answer->error));
	return answer->exit;
}

int main(int argc, char **argv)
{
	struct options options = {
		.socket = WARREN_RUNDIR "/warrend.sock",
	};
	struct cli_answer daemons = { 0 }, own = { 0 };
	enum cli_asked asked;
	int first, status = CLI_FAILED;

	first = read_options(&options, argc, argv);
	options.request.argv = (const char **)argv + first;
	options.request.argc = (size_t)(argc - first);
	options.request.width = terminal_width();
	if (wants_colour())
		options.request.flags |= WCORE_REPLY_COLOUR;
	asked = cli_ask(options.socket, &options.request, &daemons);
	if (asked == CLI_ANSWERED && !daemons.local)
		status = finish(&daemons, true);
	else if (asked != CLI_BROKEN)
		status = finish(&own, run_here(&options, asked == CLI_ANSWERED ? &daemons : NULL,
					       &own));
	cli_answer_free(&daemons);
	cli_answer_free(&own);
	return status;
}
