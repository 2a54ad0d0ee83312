/*
 * monitor/notify.h - sd_notify(3) by hand
 */
#ifndef WARREN_MONITOR_NOTIFY_H
#define WARREN_MONITOR_NOTIFY_H

/*
 * Sends "NAME=value" lines to the service manager, if there is one: $NOTIFY_SOCKET. Errors are
 * ignored: the service manager has its own deadlines.
 */
void mon_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "RELOADING=1" with the time stamp that Type=notify-reload asks for. */
void mon_notify_reloading(void);

#endif
