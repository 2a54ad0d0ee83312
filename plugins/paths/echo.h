/*
 * paths/echo.h - asks relays for an ICMP echo, for a netcheck that gets no answer over UDP
 */
#ifndef PATHS_ECHO_H
#define PATHS_ECHO_H

#include <warren/plugin.h>

#include "report.h"

struct paths;

#define ECHO_TIME UINT64_C(1000000)

struct echo_flight {
	const struct warren_relay_node *node;	/* of the run's map; NULL: none, or answered */
	struct warren_addr to;
	uint32_t region;		/* id */
	uint64_t at;
};

struct echo {
	struct paths *paths;
	struct warren_timer *timer;	/* the end */
	struct warren_io *io;		/* NULL: no socket */
	int fd;
	bool opening, wanted;
	uint16_t id;			/* of this run's requests */
	struct echo_flight flight[PATHS_REGIONS];
	uint32_t n, pending;
	struct warren_limit log;
};

int echo_init(struct echo *echo, struct paths *p);
/* netcheck_on_echo() is told of every answer, and netcheck_on_echo_end() once, unless stopped. */
void echo_start(struct echo *echo);
void echo_stop(struct echo *echo);
bool echo_is_busy(const struct echo *echo);

#endif
