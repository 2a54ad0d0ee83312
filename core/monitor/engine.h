/*
 * monitor/engine.h - the engine's process: start, conversation, death
 */
#ifndef WARREN_MONITOR_ENGINE_H
#define WARREN_MONITOR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "priv/channel.h"

struct mon;
struct mon_config;
struct warren_err;

/* Forks and executes it, and sends HELLO. 0 or -errno with a sentence. */
int mon_engine_start(struct mon *mon, struct warren_err *err);
/* It exited with @status as of waitpid(2). */
void mon_engine_died(struct mon *mon, int status);
/* Asks it to end in order; after a deadline it is killed. */
void mon_engine_stop(struct mon *mon);
/* It broke the rules, or does not answer: end it now. */
void mon_engine_kill(struct mon *mon, const char *why);
/* Reads the files and hands them over, for SIGHUP or because the engine asked. */
void mon_engine_reload(struct mon *mon, bool asked);

/* Gives @config to the engine to try, which runs; @seq is that of the OVERLAY or 0. */
void mon_engine_try_take(struct mon *mon, struct mon_config *config, uint32_t seq);
/* Answers OVERLAY @seq: nothing changes, @why. */
void mon_engine_refuse(struct mon *mon, uint32_t seq, int result, const char *why);

/* Its socket is readable / writable again. */
void mon_engine_read(struct mon *mon);
void mon_engine_write(struct mon *mon);
/* One message from it. 0; -EBADMSG: it is not one that an engine of ours sends. */
int mon_engine_message(struct mon *mon, struct wpriv_msg *msg);
/*
 * Sends, or queues when the socket is full. @take: @fds are closed afterwards, else they stay the
 * caller's. When even the queue is full, the engine is killed: it does not read.
 */
void mon_engine_send(struct mon *mon, const struct wpriv_head *head, const struct wpriv_part *parts,
		     size_t n_parts, const int *fds, size_t n_fds, bool take);
/* Looks at its deadlines; returns when to come back (0: never). */
uint64_t mon_engine_tick(struct mon *mon, uint64_t now);

#endif
