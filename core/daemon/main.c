/*
 * warrend: the command line of the monitor. All the work is in core/monitor.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "monitor/log.h"

enum { OPT_STATE = 256, OPT_SOCKET, OPT_PLUGIN_DIR, OPT_ENGINE, OPT_NO_PRIVSEP, OPT_CLEANUP,
       OPT_LOG_FORMAT, OPT_LOG_LEVEL };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "state", required_argument, NULL, OPT_STATE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "plugin-dir", required_argument, NULL, OPT_PLUGIN_DIR },
	{ "engine", required_argument, NULL, OPT_ENGINE },
	{ "no-privsep", no_argument, NULL, OPT_NO_PRIVSEP },
	{ "cleanup", no_argument, NULL, OPT_CLEANUP },
	{ "log-format", required_argument, NULL, OPT_LOG_FORMAT },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: warrend [OPTION]...\n"
	"Runs Warren in the foreground.\n"
	"\n"
	"  -c, --config FILE     the configuration (" WARREN_SYSCONFDIR "/warren.yaml);\n"
	"                        conf.d/*.yaml beside it is read too\n"
	"      --state DIR       what is kept over a restart (" WARREN_STATEDIR ")\n"
	"      --socket PATH     where `warren` connects to (" WARREN_RUNDIR "/warrend.sock)\n"
	"      --plugin-dir DIR  where plugins are (system.plugin-dir, " WARREN_PLUGINDIR ")\n"
	"      --engine PATH     the engine (" WARREN_ENGINEDIR "/warren-engine)\n"
	"      --no-privsep      run the engine as root, for debugging\n"
	"      --cleanup         take back what a daemon that died has left, and exit\n"
	"      --log-format F    text, json or auto\n"
	"      --log-level L     error, warning, notice, info or debug\n"
	"  -V, --version         print the version and exit\n"
	"  -h, --help            print this and exit\n"
	"\n"
	"Exit status: 0 stopped in order, 1 failed, 2 wrong usage.\n";

static bool parse_format(struct mon_options *options, const char *text)
{
	options->log_format_name = text;
	if (strcmp(text, "auto") == 0)
		options->log_format = MON_LOG_AUTO;
	else if (strcmp(text, "text") == 0)
		options->log_format = MON_LOG_TEXT;
	else if (strcmp(text, "json") == 0)
		options->log_format = MON_LOG_JSON;
	else
		return false;
	return true;
}

/* Handed to the engine in fields of this size. */
static bool fits(const char *name, const char *path)
{
	if (path[0] == '/' && strlen(path) < WPRIV_PATH)
		return true;
	fprintf(stderr, "warrend: --%s %s: give an absolute path of at most %d bytes\n", name, path,
		WPRIV_PATH - 1);
	return false;
}

/* 0: go on; else the exit status plus 1. */
static int parse(int argc, char **argv, struct mon_options *options, bool *cleanup)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->config = optarg;
			options->config_given = true;
			break;
		case OPT_STATE:
			options->state = optarg;
			break;
		case OPT_SOCKET:
			options->socket = optarg;
			break;
		case OPT_PLUGIN_DIR:
			options->plugin_dir = optarg;
			break;
		case OPT_ENGINE:
			options->engine = optarg;
			break;
		case OPT_NO_PRIVSEP:
			options->privsep = false;
			break;
		case OPT_CLEANUP:
			*cleanup = true;
			break;
		case OPT_LOG_FORMAT:
			if (parse_format(options, optarg))
				break;
			fprintf(stderr, "warrend: --log-format is text, json or auto, not \"%s\"\n",
				optarg);
			return 3;
		case OPT_LOG_LEVEL:
			options->log_level = mon_log_level_parse(optarg);
			if (options->log_level >= 0)
				break;
			fprintf(stderr,
				"warrend: --log-level is error, warning, notice, info or debug, "
				"not \"%s\"\n",
				optarg);
			return 3;
		case 'V':
			printf("warrend %s\n", VERSION);
			return 1;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			fputs("warrend: --help tells the options\n", stderr);
			return 3;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "warrend: what is \"%s\"? --help tells the options\n",
			argv[optind]);
		return 3;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct mon_options options = {
		.config = WARREN_SYSCONFDIR "/warren.yaml",
		.state = WARREN_STATEDIR,
		.socket = WARREN_RUNDIR "/warrend.sock",
		.engine = WARREN_ENGINEDIR "/warren-engine",
		.privsep = true, .log_format = MON_LOG_AUTO, .log_level = -1,
	};
	bool cleanup = false;
	int status = parse(argc, argv, &options, &cleanup);

	if (status)
		return status - 1;
	if (!fits("config", options.config) || !fits("state", options.state) ||
	    !fits("socket", options.socket) || !fits("engine", options.engine) ||
	    (options.plugin_dir && !fits("plugin-dir", options.plugin_dir)))
		return 2;
	if (geteuid() != 0) {
		fputs("warrend: it has to be started as root; its engine then runs as another user "
		      "(system.user)\n", stderr);
		return 1;
	}
	if (!cleanup)
		return mon_run(&options);
	/* Under systemd it follows each end of the service, of which another start may come. */
	return mon_cleanup(&options, getenv("SERVICE_RESULT") != NULL);
}
