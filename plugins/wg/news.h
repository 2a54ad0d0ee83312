/*
 * News of the workers: asks, confirmed sessions, relayed and foreign packets, handshakes.
 */
#ifndef WG_NEWS_H
#define WG_NEWS_H

#include <stdint.h>

struct warren_ctx;

/* Lane, when the event counter of the device @arg has risen: takes the news out of the rings. */
void wg_news_run(struct warren_ctx *ctx, int fd, uint32_t what, void *arg);

#endif
