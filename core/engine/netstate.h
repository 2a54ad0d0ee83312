/*
 * engine/netstate.h - the parser behind warren/netstate.h
 */
#ifndef WARREN_ENGINE_NETSTATE_H
#define WARREN_ENGINE_NETSTATE_H

#include <stddef.h>
#include <stdint.h>

#include <warren/netstate.h>

struct wcore_net_dump {
	uint32_t seq;			/* of the request; messages of others are skipped */
	warren_net_route_fn *route;
	warren_net_rule_fn *rule;
	warren_net_filter_fn *filter;
	void *arg;
};

/*
 * Goes through the messages of one datagram from the kernel. 1: the dump goes on, 0: it ended,
 * -errno: the kernel's error; -EBADMSG: lengths that do not fit.
 */
int wcore_net_parse(const struct wcore_net_dump *dump, const void *data, size_t len);

/* WARREN_NET_ bits of what the messages of one datagram from the kernel tell of. */
uint32_t wcore_net_news(const void *data, size_t len);

#endif
