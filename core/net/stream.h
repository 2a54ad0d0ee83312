/*
 * net/stream.h - what layers of this library need beyond <warren/net.h>
 */
#ifndef WARREN_NET_STREAM_H
#define WARREN_NET_STREAM_H

#include <warren/net.h>

enum { STREAM_OUTPUT_MAX = 16 << 20 };	/* bytes that may wait to be sent */

/* Calls @fn once when the one with the socket is gone for good, whatever is above it by then. */
void stream_on_free(struct warren_stream *stream, void (*fn)(void *arg), void *arg);
struct warren_ctx *stream_ctx(const struct warren_stream *stream);
/* The layer, if @stream is one of @ops; else NULL. */
void *stream_layer(const struct warren_stream *stream, const struct warren_layer_ops *ops);

#endif
