/*
 * persist.h - what the session keeps on disk: one document, "login"
 *
 * Keys are not in it: they are `identity`'s. It is read once in `start` and written whole after
 * each change.
 */
#ifndef CTL_PERSIST_H
#define CTL_PERSIST_H

#include <warren/plugin.h>

#include "plan.h"

struct ctl_persist {
	char url[256];			/* of the server that the rest is about */
	char log_id[65];		/* BackendLogID: random, of this installation */
	bool logged_in;			/* the server accepted the node key */
	bool logged_out;		/* by `warren logout`: no login by itself */
	char login[320], display_name[256];
	int64_t user;
	uint8_t node_key[32];		/* accepted; zero: none */
	uint8_t old_node_key[32];	/* the one before; zero: none */
	struct ctl_plan plan;		/* other ways to that server */
};

/*
 * In `start`; @host is that of the configured URL. No document: all zero but a new log_id. An error
 * has a sentence; a plan that makes no sense is none.
 */
int ctl_persist_load(struct warren_ctx *ctx, const char *host, struct ctl_persist *out,
		     struct warren_err *err);
/* Forgets the login; url and log_id stay. */
void ctl_persist_wipe(struct ctl_persist *persist);
/* Writes off the lane; a failure is logged: the next change tries again. */
void ctl_persist_save(struct warren_ctx *ctx, const struct ctl_persist *persist);

#endif
