/*
 * warren-engine: the unprivileged process. The monitor starts it with a socket on descriptor 3,
 * tells it its settings and the files, and does for it what needs rights. Here both ends meet: what
 * the monitor asks becomes a call of the engine, and the outcome goes back.
 *
 * SIGINT, SIGTERM and SIGHUP are the monitor's business, also where a terminal sends them to both.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/ipc.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/priv_client.h"
#include "priv/wire.h"

enum { EXIT_BAD_USE = 2 };

struct daemon {
	struct wcore_engine *engine;
	struct wcore_priv *priv;
	struct wcore_ipc *ipc;
	const struct wcore_priv_settings *settings;
	bool stopping;
	int exit;
};

static void log_lines(int level, const char *text)
{
	size_t len;

	for (; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		wcore_log(level, "%.*s", (int)len, text);
	}
}

static void log_errors(const struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT;

	err_print(err, &text);
	log_lines(LOG_ERR, str_text(&text));
}

/* What the command line of warrend says goes before the files. */
static void apply_log_settings(const struct daemon *d)
{
	struct wcore_config *config = wcore_engine_config(d->engine);
	const struct warren_conf *log = config ? wcore_config_section(config, "log") : NULL;
	const struct wcore_priv_settings *s = d->settings;
	enum wcore_log_format format = WCORE_LOG_TEXT;
	enum wcore_log_target target = WCORE_LOG_AUTO;
	struct warren_err err = ERR_INIT;
	int level = LOG_NOTICE;

	if (log) {
		level = LOG_ERR + (int)warren_conf_enum(log, "level");
		format = (enum wcore_log_format)warren_conf_enum(log, "format");
		target = (enum wcore_log_target)warren_conf_enum(log, "target");
	}
	if (s->log_level >= 0)
		level = s->log_level;
	if (s->log_format && strcmp(s->log_format, "auto") != 0)
		format = strcmp(s->log_format, "json") == 0 ? WCORE_LOG_JSON : WCORE_LOG_TEXT;
	wcore_log_level_set(NULL, level);
	if (wcore_log_open(target, format, &err))
		log_errors(&err);
	err_free(&err);
}

static struct daemon *daemon_of(struct wcore_engine *engine)
{
	return warren_self(wcore_engine_ctx(engine));
}

/*
 * ---- Files to a running configuration ----
 */

/* Parses and frees @files. NULL with sentences in @err. */
static struct wcore_config *parse(struct wcore_priv_files *files, struct warren_err *err)
{
	struct wcore_config *config = wcore_config_parse(files->sources, files->count, err);

	if (config)
		wcore_config_set_generation(config, files->generation);
	wcore_priv_files_free(files);
	return config;
}

static void daemon_end(struct daemon *d, int status)
{
	d->exit = status;
	wcore_lane_break(wcore_engine_main(d->engine));
}

static void started(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	struct daemon *d = arg;
	const struct wcore_instance *i;
	unsigned int n = 0;
	char status[64];

	if (result) {
		log_lines(LOG_ERR, text);
		daemon_end(d, EXIT_FAILURE);
		return;
	}
	apply_log_settings(d);
	for (i = wcore_engine_plugins(engine); i; i = i->next)
		n++;
	snprintf(status, sizeof(status), "%u plugin%s running", n, n == 1 ? "" : "s");
	wcore_priv_ready(d->priv, status);
	wcore_log(LOG_NOTICE, "ready: %s", status);
}

static int start(struct daemon *d)
{
	struct wcore_priv_files files = { 0 };
	struct warren_err err = ERR_INIT;
	struct wcore_config *config;

	wcore_priv_take_files(d->priv, &files);
	config = parse(&files, &err);
	log_errors(&err);
	err_free(&err);
	if (!config)
		return -EINVAL;
	wcore_engine_apply_take(d->engine, config, started, d);
	return 0;
}

static void reloaded(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	struct daemon *d = arg;

	(void)engine;
	/* What is wrong, the monitor logs. */
	if (!result) {
		apply_log_settings(d);
		wcore_log(LOG_NOTICE, "reload: %s", text);
	}
	wcore_priv_reloaded(d->priv, result, text);
}

static void on_reload(struct wcore_engine *engine, struct wcore_priv_files *files)
{
	struct daemon *d = daemon_of(engine);
	AUTO(str_free) struct str text = STR_INIT;
	struct warren_err err = ERR_INIT;
	struct wcore_config *config = parse(files, &err);

	if (config) {
		wcore_engine_apply_take(engine, config, reloaded, d);
	} else {
		err_print(&err, &text);
		reloaded(engine, -EINVAL, str_text(&text), d);
	}
	err_free(&err);
}

/*
 * ---- The end ----
 */

static void stopped(struct wcore_engine *engine, int result, const char *text, void *arg)
{
	(void)engine;
	if (result)
		log_lines(LOG_ERR, text);
	daemon_end(arg, EXIT_SUCCESS);
}

static void on_stop(struct wcore_engine *engine)
{
	struct daemon *d = daemon_of(engine);

	if (d->stopping)
		return;
	d->stopping = true;
	wcore_engine_stop(engine, stopped, d);
}

static void on_lost(struct wcore_engine *engine)
{
	struct daemon *d = daemon_of(engine);

	wcore_log(LOG_ERR, "the monitor is gone, so nothing can be done for us any more: ending");
	daemon_end(d, EXIT_FAILURE);
}

/*
 * ---- Setting up ----
 */

static void prepare_process(void)
{
	const struct rlimit no_core = { 0, 0 };

	umask(077);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	setrlimit(RLIMIT_CORE, &no_core);	/* it would hold keys */
	mallopt(M_ARENA_MAX, 1);		/* our threads allocate little */
}

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int configure(struct daemon *d, struct warren_err *err)
{
	const struct wcore_priv_settings *s = d->settings;
	struct wcore_engine_options options = {
		.plugin_dir = s->plugin_dir, .state_dir = -1, .state_shown = s->state,
		/* As the monitor's own user the engine trusts what that one owns. */
		.plugin_owner = s->privsep ? 0 : geteuid(),
		.load = wcore_priv_open_secret, .load_arg = d->priv,
	};

	if (s->state) {
		options.state_dir = open(s->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (options.state_dir == -1)
			return warren_fail(err, NULL, "cannot open the state folder %s: %s",
					   s->state, strerror(errno));
	}
	if (wcore_engine_configure(d->engine, &options))
		return warren_fail(err, NULL, "no memory");
	return 0;
}

static int set_up(struct daemon *d, struct warren_err *err)
{
	static const struct wcore_priv_handlers handlers = {
		.reload = on_reload, .stop = on_stop, .lost = on_lost,
	};
	int fd, rc;

	d->engine = wcore_engine_new(&(struct wcore_engine_options){ .state_dir = -1 }, err);
	if (!d->engine)
		return -ENOMEM;
	warren_self_set(wcore_engine_ctx(d->engine), d);
	d->priv = wcore_priv_attach(d->engine, WPRIV_FD, &handlers, err);
	if (!d->priv)
		return -EPIPE;
	d->settings = wcore_priv_settings(d->priv);
	apply_log_settings(d);
	rc = configure(d, err);
	if (!rc)
		rc = wcore_priv_start(d->priv);
	if (rc)
		return rc;
	fd = wcore_priv_take_control(d->priv);
	if (fd < 0)
		return 0;
	d->ipc = wcore_ipc_start_take(d->engine, fd, err);
	return d->ipc ? 0 : -ENOMEM;
}

static void tear_down(struct daemon *d)
{
	wcore_ipc_stop(d->ipc);
	wcore_priv_free(d->priv);
	wcore_engine_free(d->engine);
	wcore_log_close();
}

int main(void)
{
	struct daemon d = { .exit = EXIT_FAILURE };
	struct warren_err err = ERR_INIT;

	if (!is_socket(WPRIV_FD)) {
		fprintf(stderr, "warren-engine: this program is started by warrend, with a socket "
			"on descriptor %d; start warrend instead\n", WPRIV_FD);
		return EXIT_BAD_USE;
	}
	prepare_process();
	if (set_up(&d, &err) == 0 && start(&d) == 0)
		wcore_lane_run(wcore_engine_main(d.engine));
	log_errors(&err);
	err_free(&err);
	/* Not in order: plugins may still run, so nothing is taken away from under them. */
	if (d.exit != EXIT_SUCCESS)
		_exit(d.exit);
	tear_down(&d);
	return EXIT_SUCCESS;
}
