/*
 * The log. Its state is global because everything may log at any time, before there is an engine
 * and on any thread. Levels are read without a lock: a table that only grows, of atomics.
 */
#include "engine/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "engine/plugin_load.h"

enum { OWN_LEVELS = 64, BURST = 5, WINDOW = 10 * 1000000 };

struct own_level {
	char plugin[WCORE_PLUGIN_NAME];
	atomic_int level;		/* -1: none */
};

static struct {
	atomic_int level;
	struct own_level own[OWN_LEVELS];
	atomic_uint n_own;		/* entries before it are complete */
	pthread_mutex_t mutex;		/* writers of `own`, and open against close */
	atomic_int target, format, fd;
	atomic_uint lost;		/* lines that the target did not take */
	_Atomic(wcore_log_sink_fn *) sink;
	_Atomic(void *) sink_arg;
} the_log = {
	.level = LOG_NOTICE, .mutex = PTHREAD_MUTEX_INITIALIZER,
	.target = WCORE_LOG_STDERR, .format = WCORE_LOG_TEXT, .fd = STDERR_FILENO,
};

static const char *const level_names[] = {
	[LOG_CRIT] = "critical", [LOG_ERR] = "error", [LOG_WARNING] = "warning",
	[LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

int wcore_log_level_parse(const char *name)
{
	for (int i = LOG_ERR; i <= LOG_DEBUG; i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

const char *wcore_log_level_name(int level)
{
	return level < LOG_CRIT ? level_names[LOG_CRIT] :
	       level > LOG_DEBUG ? level_names[LOG_DEBUG] : level_names[level];
}

static struct own_level *own_find(const char *plugin)
{
	unsigned int n = atomic_load_explicit(&the_log.n_own, memory_order_acquire);

	for (unsigned int i = 0; i < n; i++)
		if (strcmp(the_log.own[i].plugin, plugin) == 0)
			return &the_log.own[i];
	return NULL;
}

int wcore_log_level_set(const char *plugin, int level)
{
	struct own_level *own;
	unsigned int n;
	int rc = 0;

	if (!plugin) {
		atomic_store(&the_log.level, level);
		return 0;
	}
	pthread_mutex_lock(&the_log.mutex);
	own = own_find(plugin);
	n = atomic_load(&the_log.n_own);
	if (own) {
		atomic_store(&own->level, level);
	} else if (n == OWN_LEVELS || !str_copy(the_log.own[n].plugin, WCORE_PLUGIN_NAME, plugin)) {
		rc = -ENOSPC;
	} else {
		atomic_store(&the_log.own[n].level, level);
		atomic_store_explicit(&the_log.n_own, n + 1, memory_order_release);
	}
	pthread_mutex_unlock(&the_log.mutex);
	return rc;
}

int wcore_log_level(const char *plugin)
{
	struct own_level *own = plugin ? own_find(plugin) : NULL;
	int level = own ? atomic_load(&own->level) : -1;

	return level == -1 ? atomic_load(&the_log.level) : level;
}

/*
 * ---- Targets ----
 */

/* systemd.exec(5): the device and inode of the journal's stream, if standard error is one. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

static const char *socket_of(int target)
{
	return target == WCORE_LOG_JOURNAL ? "/run/systemd/journal/socket" :
	       target == WCORE_LOG_SYSLOG ? "/dev/log" : NULL;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return -errno;
	str_copy(addr.sun_path, sizeof(addr.sun_path), path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void use_target(int target, int fd)
{
	int old;

	pthread_mutex_lock(&the_log.mutex);
	old = atomic_exchange(&the_log.fd, fd);
	atomic_store(&the_log.target, target);
	pthread_mutex_unlock(&the_log.mutex);
	if (old != STDERR_FILENO && old != fd)
		close(old);
}

int wcore_log_open(enum wcore_log_target target, enum wcore_log_format format,
		   struct warren_err *err)
{
	int fd = STDERR_FILENO;
	const char *path;

	atomic_store(&the_log.format, (int)format);
	if (target == WCORE_LOG_AUTO)
		target = stderr_is_journal() ? WCORE_LOG_JOURNAL : WCORE_LOG_STDERR;
	path = socket_of((int)target);
	if (path)
		fd = connect_to(path);
	if (fd < 0) {
		warren_fail(err, NULL, "cannot log to %s: %s; set log.target to `stderr`", path,
			    strerror(-fd));
		return fd;
	}
	use_target((int)target, fd);
	return 0;
}

void wcore_log_close(void)
{
	use_target(WCORE_LOG_STDERR, STDERR_FILENO);
}

void wcore_log_sink(wcore_log_sink_fn *fn, void *arg)
{
	atomic_store(&the_log.sink_arg, arg);
	atomic_store(&the_log.sink, fn);
}

static void add_time(struct str *out)
{
	int64_t usec = warren_realtime();
	time_t sec = (time_t)(usec / 1000000);
	char text[32];
	struct tm tm;

	gmtime_r(&sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	str_addf(out, "%s.%03dZ", text, (int)(usec / 1000 % 1000));
}

static void format_stderr(struct str *out, const char *plugin, int level, const char *text)
{
	if (atomic_load(&the_log.format) == WCORE_LOG_JSON) {
		str_add(out, "{\"time\":\"");
		add_time(out);
		str_addf(out, "\",\"level\":\"%s\",\"plugin\":\"%s\",\"message\":",
			 wcore_log_level_name(level), plugin);
		str_add_json(out, text, strlen(text));
		str_add(out, "}\n");
		return;
	}
	add_time(out);
	str_addf(out, " %s %s: ", wcore_log_level_name(level), plugin);
	str_add_clean(out, text, strlen(text), WCORE_LOG_LINE);
	str_addc(out, '\n');
}

/* RFC 3164 4.1, facility "daemon"; the local form without a host name. */
static void format_syslog(struct str *out, const char *plugin, int level, const char *text)
{
	time_t now = (time_t)(warren_realtime() / 1000000);
	char stamp[32];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm);
	str_addf(out, "<%d>%s warren[%d]: %s: ", LOG_DAEMON | level, stamp, (int)getpid(), plugin);
	str_add_clean(out, text, strlen(text), WCORE_LOG_LINE);
}

/* systemd's "Native Journal Protocol": NAME=value lines; str_add_clean() leaves no newline in. */
static void format_journal(struct str *out, const char *plugin, int level, const char *text)
{
	str_addf(out, "PRIORITY=%d\nSYSLOG_IDENTIFIER=warren\nWARREN_PLUGIN=%s\nMESSAGE=%s: ",
		 level, plugin, plugin);
	str_add_clean(out, text, strlen(text), WCORE_LOG_LINE);
	str_addc(out, '\n');
}

/*
 * A logger that was restarted has another socket under the same name. Ours keeps its number, so
 * that no other thread sends to a descriptor that is something else by now.
 */
static bool reconnect(int target, int fd)
{
	int again = connect_to(socket_of(target));
	bool ok = again >= 0 && dup3(again, fd, O_CLOEXEC) == fd;

	if (again >= 0)
		close(again);
	return ok;
}

static ssize_t send_line(int target, int fd, const struct str *line)
{
	ssize_t n = send(fd, line->s, line->len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n == -1 && (errno == ECONNREFUSED || errno == ECONNRESET || errno == ENOTCONN) &&
	    reconnect(target, fd))
		n = send(fd, line->s, line->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n;
}

/* A pipe that polls writable takes PIPE_BUF bytes at once, and a line is shorter. */
static bool deliver(int target, const struct str *line)
{
	struct pollfd pfd = { .fd = atomic_load(&the_log.fd), .events = POLLOUT };
	ssize_t n;

	if (target != WCORE_LOG_STDERR)
		n = send_line(target, pfd.fd, line);
	else if (poll(&pfd, 1, 0) == 1)
		n = write(pfd.fd, line->s, line->len);
	else
		n = -1;
	return n == (ssize_t)line->len;
}

static void emit(const char *plugin, int level, const char *text)
{
	int target = atomic_load(&the_log.target);
	AUTO(str_free) struct str line = STR_INIT;
	unsigned int lost;

	if (target == WCORE_LOG_JOURNAL)
		format_journal(&line, plugin, level, text);
	else if (target == WCORE_LOG_SYSLOG)
		format_syslog(&line, plugin, level, text);
	else
		format_stderr(&line, plugin, level, text);
	if (line.failed || !deliver(target, &line)) {
		atomic_fetch_add(&the_log.lost, 1);
		return;
	}
	lost = atomic_exchange(&the_log.lost, 0);
	if (lost)
		wcore_log(LOG_WARNING, "%u log lines were lost: the log did not take them", lost);
}

/*
 * ---- Lines ----
 */

void wcore_vlog(const char *plugin, int level, const char *fmt, va_list ap)
{
	wcore_log_sink_fn *sink = atomic_load(&the_log.sink);
	char text[WCORE_LOG_LINE];
	int n;

	if (level > wcore_log_level(plugin))
		return;
	n = vsnprintf(text, sizeof(text), fmt, ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);
	if (sink)
		sink(atomic_load(&the_log.sink_arg), plugin, level, text);
	else
		emit(plugin, level, text);
}

void wcore_log(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	wcore_vlog("core", level, fmt, ap);
	va_end(ap);
}

void warren_log(struct warren_ctx *ctx, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	wcore_vlog(warren_name(ctx), level, fmt, ap);
	va_end(ap);
}

/*
 * opaque[0]: when the window began; opaque[1]: lines in it. Returns whether this line may pass;
 * *@dropped lines of the last window did not.
 */
static bool limit_pass(struct warren_limit *bucket, uint64_t *dropped)
{
	uint64_t now = warren_now(), start, count;

	*dropped = 0;
	start = __atomic_load_n(&bucket->opaque[0], __ATOMIC_RELAXED);
	if (now - start >= WINDOW &&
	    __atomic_compare_exchange_n(&bucket->opaque[0], &start, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED)) {
		count = __atomic_exchange_n(&bucket->opaque[1], 1, __ATOMIC_RELAXED);
		*dropped = count > BURST ? count - BURST : 0;
		return true;
	}
	return __atomic_fetch_add(&bucket->opaque[1], 1, __ATOMIC_RELAXED) < BURST;
}

__attribute__((format(printf, 4, 0)))
static void vlog_limit(const char *plugin, struct warren_limit *bucket, int level, const char *fmt,
		       va_list ap)
{
	char text[WCORE_LOG_LINE];
	uint64_t dropped;

	if (level > wcore_log_level(plugin) || !limit_pass(bucket, &dropped))
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	if (dropped)
		wcore_log_as(plugin, level, "%s (%llu more like this were not logged)", text,
			     (unsigned long long)dropped);
	else
		wcore_log_as(plugin, level, "%s", text);
}

void wcore_log_as(const char *plugin, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	wcore_vlog(plugin, level, fmt, ap);
	va_end(ap);
}

void wcore_log_limit(struct warren_limit *bucket, int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog_limit("core", bucket, level, fmt, ap);
	va_end(ap);
}

void warren_log_limit(struct warren_ctx *ctx, struct warren_limit *bucket, int level,
		      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog_limit(warren_name(ctx), bucket, level, fmt, ap);
	va_end(ap);
}
