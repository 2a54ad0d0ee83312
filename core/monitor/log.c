/*
 * The monitor's log.
 *
 * A line is one write(), so that lines of monitor and engine, which share standard error, do not
 * mix. The service manager reads "<3>" at the start of a line as its priority; it adds the time
 * itself. Level and format are the monitor's only mutable globals.
 */
#include "monitor/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

enum { LINE_MAX_BYTES = 2048 };

static struct {
	enum mon_log_format format;
	int level;
	bool journal;
} setup = { MON_LOG_TEXT, LOG_NOTICE, false };

static const char *const level_names[] = {
	[LOG_ERR] = "error", [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

/* Whether standard error is the journal's stream: sd-daemon(3), JOURNAL_STREAM. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void mon_log_setup(enum mon_log_format format, int level)
{
	setup.format = format;
	setup.level = level;
	setup.journal = format == MON_LOG_AUTO && stderr_is_journal();
}

int mon_log_level_parse(const char *name)
{
	for (int level = LOG_ERR; level <= LOG_DEBUG; level++) {
		if (strcmp(name, level_names[level]) == 0)
			return level;
	}
	return -1;
}

static void format_time(char *out, size_t size)
{
	char date[32];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, size, "%s.%03ldZ", date, now.tv_nsec / 1000000);
}

static void write_line(int level, const char *text)
{
	AUTO(str_free) struct str line = STR_INIT;
	char when[64];

	format_time(when, sizeof(when));
	if (setup.format == MON_LOG_JSON) {
		str_addf(&line,
			 "{\"time\":\"%s\",\"level\":\"%s\",\"plugin\":\"monitor\",\"text\":", when,
			 level_names[level]);
		str_add_json(&line, text, strlen(text));
		str_add(&line, "}\n");
	} else {
		if (setup.journal)
			str_addf(&line, "<%d>monitor: ", level);
		else
			str_addf(&line, "%s %s monitor: ", when, level_names[level]);
		str_add_clean(&line, text, strlen(text), LINE_MAX_BYTES);
		str_addc(&line, '\n');
	}
	/* Nobody could be told that the log does not take lines. */
	if (line.s && write(STDERR_FILENO, line.s, line.len) == -1)
		return;
}

void mon_log(int level, const char *fmt, ...)
{
	AUTO(str_free) struct str text = STR_INIT;
	va_list ap;

	if (level > setup.level)
		return;
	va_start(ap, fmt);
	str_vaddf(&text, fmt, ap);
	va_end(ap);
	write_line(level, str_text(&text));
}

void mon_log_lines(int level, const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (len > 0)
			mon_log(level, "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}
