/*
 * The session as it is while nobody is logged in: an empty map, which tells every consumer that
 * this node is in no network.
 */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "session_impl.h"

static const char *const state_names[] = {
	[CTL_NO_STATE] = "NoState", [CTL_NEEDS_LOGIN] = "NeedsLogin",
	[CTL_NEEDS_MACHINE_AUTH] = "NeedsMachineAuth", [CTL_STOPPED] = "Stopped",
	[CTL_STARTING] = "Starting", [CTL_RUNNING] = "Running",
};

const char *ctl_state_name(enum ctl_state state)
{
	return state_names[state];
}

static void empty_free(struct warren_obj *obj)
{
	free(obj);
}

static int session_publish_empty(struct ctl_session *s)
{
	static const struct warren_dns no_dns;
	struct warren_netmap *map = calloc(1, sizeof(*map));

	if (!map)
		return -ENOMEM;
	warren_obj_init(&map->obj, sizeof(*map), empty_free);
	map->serial = 1;
	map->changed = WARREN_NETMAP_ALL;
	map->dns = &no_dns;
	s->map = warren_obj_ref(map);
	return warren_publish_take(s->ctx, "netmap", map);
}

static void session_end(void *arg)
{
	struct ctl_session *s = arg;

	warren_obj_unref(s->map);
}

int ctl_session_new(struct warren_ctx *ctx, const struct warren_conf *conf,
		    struct ctl_session **out, struct warren_err *err)
{
	struct ctl_session *s = warren_zalloc(ctx, sizeof(*s));
	const void *identity;
	int result;

	if (!s || !warren_on_end(ctx, session_end, s))
		return warren_fail(err, NULL, "out of memory");
	s->ctx = ctx;
	s->conf = conf;
	s->state = CTL_NEEDS_LOGIN;
	result = warren_need(ctx, "identity", &identity, &s->identity_self);
	if (result)
		return result;
	s->identity = identity;
	*out = s;
	return session_publish_empty(s);
}

int ctl_session_reload(struct ctl_session *s, const struct warren_conf *conf,
		       struct warren_err *err)
{
	(void)err;
	s->conf = conf;
	return 0;
}

void ctl_session_found(struct ctl_session *s, const char *service, const void *ops, void *self)
{
	(void)s;
	(void)service;
	(void)ops;
	(void)self;
}

int ctl_session_facet(struct ctl_session *s, struct warren_ctx *owner, enum warren_facet facet,
		      const char *value)
{
	(void)s;
	(void)owner;
	(void)facet;
	(void)value;
	return 0;
}

const struct warren_netmap *ctl_session_map(struct ctl_session *s)
{
	return warren_obj_ref(s->map);
}

void ctl_session_info(const struct ctl_session *s, struct ctl_session_info *out)
{
	memset(out, 0, sizeof(*out));
	out->state = s->state;
	out->up = warren_conf_bool(s->conf, "up");
	out->url = warren_conf_str(s->conf, "url");
}
