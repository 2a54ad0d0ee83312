/*
 * session_impl.h - the session's insides, for the plugin's own files
 */
#ifndef CTL_SESSION_IMPL_H
#define CTL_SESSION_IMPL_H

#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>

#include "session.h"

struct ctl_session {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	const struct warren_identity_ops *identity;
	void *identity_self;
	const struct warren_netmap *map;
	enum ctl_state state;
};

/* In `start`; it ends with @ctx. */
int ctl_session_new(struct warren_ctx *ctx, const struct warren_conf *conf,
		    struct ctl_session **out, struct warren_err *err);
int ctl_session_reload(struct ctl_session *session, const struct warren_conf *conf,
		       struct warren_err *err);
/* A soft need has come, or (@ops NULL) goes. */
void ctl_session_found(struct ctl_session *session, const char *service, const void *ops,
		       void *self);
/* netmap->self_set() */
int ctl_session_facet(struct ctl_session *session, struct warren_ctx *owner,
		      enum warren_facet facet, const char *value);

#endif
