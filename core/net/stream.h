/*
 * net/stream.h - what layers of this library need beyond <warren/net.h>
 */
#ifndef WARREN_NET_STREAM_H
#define WARREN_NET_STREAM_H

#include <warren/net.h>

struct warren_ctx *stream_ctx(const struct warren_stream *stream);
/* While true, the layer gets input though nobody has set callbacks: its handshake. */
void stream_pull_always(struct warren_stream *up, bool always);
/* The layer, if @stream is one of @ops; else NULL. */
void *stream_layer(const struct warren_stream *stream, const struct warren_layer_ops *ops);

#endif
