/*
 * Commands of plugins that live on another lane than the control socket.
 */
#ifndef WARREN_ENGINE_REMOTE_H
#define WARREN_ENGINE_REMOTE_H

struct warren_command;
struct warren_ctx;
struct warren_reply;
struct wcore_config;

/*
 * On the main lane: as wcore_cmd_call(), but @ctx is on another lane. @reply stays on this one;
 * what the command writes comes over line by line.
 */
void wcore_remote_call(const struct warren_command *row, struct warren_ctx *ctx,
		       struct wcore_config *values, struct warren_reply *reply);

#endif
