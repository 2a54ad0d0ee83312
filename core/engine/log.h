/*
 * The log: one per process, the core's only mutable global. Lines go to standard error (text or
 * JSON), to syslog (RFC 3164 on /dev/log) or to the journal (its native protocol, so that the
 * plugin and the fields can be searched). Any thread; a line is written by one system call that
 * never blocks: what the target does not take is counted, and told when it takes lines again.
 */
#ifndef WARREN_ENGINE_LOG_H
#define WARREN_ENGINE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <syslog.h>

#include <warren/plugin.h>

#pragma GCC visibility push(default)

enum wcore_log_target {
	WCORE_LOG_AUTO = 0,		/* journal if it is our stderr, else stderr */
	WCORE_LOG_STDERR, WCORE_LOG_SYSLOG, WCORE_LOG_JOURNAL,
};
enum wcore_log_format { WCORE_LOG_TEXT = 0, WCORE_LOG_JSON };

enum { WCORE_LOG_LINE = 1024 };		/* bytes of one message; longer ones end with "..." */

/* Before the first call: text on standard error, level NOTICE. 0 or -errno with a sentence. */
int wcore_log_open(enum wcore_log_target target, enum wcore_log_format format,
		   struct warren_err *err);
void wcore_log_close(void);

/*
 * The level of @plugin ("core" is the core), or of all that have none of their own (NULL). @level
 * -1 takes an own level away. -ENOSPC: too many own levels.
 */
int wcore_log_level_set(const char *plugin, int level);
int wcore_log_level(const char *plugin);	/* in force */
/* "error" "warning" "notice" "info" "debug"; -1 if it is none. */
int wcore_log_level_parse(const char *name);
const char *wcore_log_level_name(int level);

/* The core's own lines. */
void wcore_log(int level, const char *fmt, ...) WARREN_PRINTF(2, 3);
void wcore_log_limit(struct warren_limit *bucket, int level, const char *fmt, ...)
	WARREN_PRINTF(3, 4);
/* In the name of @plugin. */
void wcore_log_as(const char *plugin, int level, const char *fmt, ...) WARREN_PRINTF(3, 4);
void wcore_vlog(const char *plugin, int level, const char *fmt, va_list ap) WARREN_PRINTF(3, 0);

/* For tests: lines go to @fn instead, whatever their target; NULL ends it. */
typedef void wcore_log_sink_fn(void *arg, const char *plugin, int level, const char *text);
void wcore_log_sink(wcore_log_sink_fn *fn, void *arg);

#pragma GCC visibility pop

#endif
