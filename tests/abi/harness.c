/*
 * See harness.h. The fixtures are copied so that owner and mode of file and folder are what the
 * test wants, whoever built them with whatever umask.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/err.h"
#include "engine/conf.h"
#include "engine/engine.h"
#include "engine/lane.h"
#include "engine/log.h"
#include "engine/loop.h"

enum { RECORD = 64 << 10, PATIENCE = 5000000 };

/* Lanes log at the same time; the test reads when they are done. */
static struct {
	pthread_mutex_t mutex;
	char info[RECORD], bad[RECORD], out[RECORD];
	char *text;
} record = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void add(char *to, const char *plugin, const char *text)
{
	size_t len = strlen(to);

	snprintf(to + len, RECORD - len, "%s %s; ", plugin, text);
}

static void sink(void *arg, const char *plugin, int level, const char *text)
{
	(void)arg;
	pthread_mutex_lock(&record.mutex);
	if (level == LOG_INFO)
		add(record.info, plugin, text);
	if (level <= LOG_WARNING)
		add(record.bad, plugin, text);
	pthread_mutex_unlock(&record.mutex);
}

const char *harness_record(void)
{
	pthread_mutex_lock(&record.mutex);
	memcpy(record.out, record.info, RECORD);
	record.info[0] = record.bad[0] = '\0';
	pthread_mutex_unlock(&record.mutex);
	return record.out;
}

bool harness_warned(const char *text)
{
	bool found;

	pthread_mutex_lock(&record.mutex);
	found = strstr(record.bad, text) != NULL;
	pthread_mutex_unlock(&record.mutex);
	return found;
}

static const char *secret_bytes;

void harness_secret(const char *bytes)
{
	secret_bytes = bytes;
}

static int open_secret(const struct wcore_secret_ask *ask, void *arg)
{
	int fds[2];

	(void)ask;
	(void)arg;
	if (!secret_bytes || pipe(fds) == -1)
		return -ENOENT;
	if (write(fds[1], secret_bytes, strlen(secret_bytes)) == -1)
		abort();
	close(fds[1]);
	return fds[0];
}

static bool recorded(const char *text)
{
	bool found;

	pthread_mutex_lock(&record.mutex);
	found = strstr(record.info, text) || strstr(record.bad, text);
	pthread_mutex_unlock(&record.mutex);
	return found;
}

static void die(const char *what)
{
	perror(what);
	abort();
}

static void copy(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
	ssize_t n;

	if (in == -1 || out == -1)
		die(from);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			die(to);
	close(in);
	close(out);
}

void harness_start(struct harness *h)
{
	char from[1024], path[2048], to[2048];
	struct dirent *entry;
	size_t len;
	DIR *d;

	snprintf(h->dir, sizeof(h->dir), "/tmp/warren-abi.XXXXXX");
	if (!mkdtemp(h->dir) || chmod(h->dir, 0755) == -1)
		die(h->dir);
	snprintf(from, sizeof(from), "%s/tests/abi/.libs", getenv("WARREN_BUILDDIR"));
	d = opendir(from);
	if (!d)
		die(from);
	umask(022);
	while ((entry = readdir(d))) {
		len = strlen(entry->d_name);
		if (len < 3 || strcmp(entry->d_name + len - 3, ".so") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", from, entry->d_name);
		snprintf(to, sizeof(to), "%s/%s", h->dir, entry->d_name);
		copy(path, to);
	}
	closedir(d);
	wcore_log_level_set(NULL, LOG_INFO);
	wcore_log_sink(sink, NULL);
}

void harness_stop(struct harness *h)
{
	struct dirent *entry;
	DIR *d = opendir(h->dir);

	while (d && (entry = readdir(d)))
		unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	rmdir(h->dir);
	free(record.text);
	record.text = NULL;
	wcore_log_sink(NULL, NULL);
}

void harness_engine(struct harness *h, uint64_t start_deadline, uint64_t stop_deadline)
{
	struct wcore_engine_options options = {
		.plugin_dir = h->dir, .plugin_owner = geteuid(), .state_dir = -1,
		.start_deadline = start_deadline, .stop_deadline = stop_deadline,
		.load = open_secret,
	};

	h->engine = wcore_engine_new(&options, NULL);
	if (!h->engine)
		die("engine");
	harness_record();
}

void harness_engine_end(struct harness *h)
{
	if (wcore_engine_stop_wait(h->engine, NULL))
		die("stop");
	wcore_engine_free(h->engine);
	h->engine = NULL;
}

struct wcore_config *harness_parse(const char *yaml)
{
	struct wcore_conf_source source = {
		.name = "test.yaml", .bytes = yaml, .len = strlen(yaml), .fd = -1,
	};
	struct warren_err err = ERR_INIT;
	struct wcore_config *config = wcore_config_parse(&source, 1, &err);

	if (!config) {
		fprintf(stderr, "%s\n", err_first(&err));
		abort();
	}
	err_free(&err);
	return config;
}

int harness_apply(struct harness *h, const char *yaml)
{
	free(record.text);
	record.text = NULL;
	return wcore_engine_apply_wait(h->engine, harness_parse(yaml), &record.text);
}

const char *harness_text(void)
{
	return record.text ? record.text : "";
}

void harness_turn(struct harness *h, uint64_t usec)
{
	uint64_t until = wcore_clock_stopwatch() + usec, now;

	/* On a busy machine a sequence that has begun may take longer than the test thinks. */
	while ((now = wcore_clock_stopwatch()) < until ||
	       (wcore_engine_busy(h->engine) && now < until + PATIENCE)) {
		wcore_lane_turn(wcore_engine_main(h->engine), false);
		usleep(1000);
	}
}

bool harness_wait(struct harness *h, const char *text)
{
	uint64_t until = wcore_clock_stopwatch() + PATIENCE;

	while (!recorded(text) && wcore_clock_stopwatch() < until)
		harness_turn(h, 1000);
	return recorded(text);
}
