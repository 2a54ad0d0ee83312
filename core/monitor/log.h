/*
 * monitor/log.h - the monitor's lines on standard error, in the form of the engine's log
 */
#ifndef WARREN_MONITOR_LOG_H
#define WARREN_MONITOR_LOG_H

#include <stdbool.h>
#include <syslog.h>

enum mon_log_format { MON_LOG_AUTO, MON_LOG_TEXT, MON_LOG_JSON };

/* Lines above @level (LOG_ERR ... LOG_DEBUG) are dropped. AUTO: text, or what the journal wants. */
void mon_log_setup(enum mon_log_format format, int level);
void mon_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One line for each line of @text. */
void mon_log_lines(int level, const char *text);
/* "error" "warning" "notice" "info" "debug"; -1: none of them. */
int mon_log_level_parse(const char *name);

#endif
