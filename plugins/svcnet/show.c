/*
 * What the operator sees.
 */
#include <stdio.h>

#include "svcnet.h"

static const char *protocol_name(uint32_t protocol)
{
	return protocol == WARREN_SVC_UDP ? "udp" : "tcp";
}

static void listener_row(const struct svc_view *view, void *arg)
{
	struct warren_reply *reply = arg;

	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "owner", "%s", view->owner);
	warren_reply_str(reply, "protocol", "%s", protocol_name(view->protocol));
	warren_reply_int(reply, "port", view->port);
	warren_reply_str(reply, "at", "%s", view->at == WARREN_SVC_MAGIC ? "service" : "self");
	warren_reply_int(reply, "sockets", view->open);
	warren_reply_int(reply, "missing", view->missing);
	if (view->problem)
		warren_reply_str(reply, "problem", "%s", view->problem);
	else
		warren_reply_null(reply, "problem");
	warren_reply_close(reply);
}

static void listener_text(const struct svc_view *view, void *arg)
{
	warren_reply_text(arg, "%s/%u%s\t%s\t%s", protocol_name(view->protocol), view->port,
			  view->at == WARREN_SVC_MAGIC ? " (service address)" : "", view->owner,
			  view->problem ? view->problem : view->missing ? "on the way" : "open");
}

void svc_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct svcnet *svc = warren_self(ctx);

	warren_reply_str(reply, "mode", "%s", svc->apart ? "namespace" : "host");
	if (svc->apart)
		warren_reply_null(reply, "why");
	else
		warren_reply_str(reply, "why", "%s", svc->why);
	warren_reply_int(reply, "dialing", svc->n_dials);
	warren_reply_open(reply, "listeners", '[');
	svc_listeners(svc, listener_row, reply);
	warren_reply_close(reply);
	if (svc->apart)
		warren_reply_text(reply, "services listen in a network of their own");
	else
		warren_reply_text(reply, "services listen on the host itself: %s", svc->why);
	svc_listeners(svc, listener_text, reply);
}

bool svc_check_namespace(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct svcnet *svc = warren_self(ctx);

	if (svc->apart)
		return true;
	warren_finding(result, "services listen on the host itself (%s): the host's firewall must "
		       "let peers in, and no other program may have their ports", svc->why);
	return false;
}

struct findings {
	struct warren_check_result *result;
	bool good;
};

static void look(const struct svc_view *view, void *arg)
{
	struct findings *f = arg;

	if (!view->problem)
		return;
	f->good = false;
	warren_finding(f->result, "%s/%u of %s: %s", protocol_name(view->protocol), view->port,
		       view->owner, view->problem);
}

bool svc_check_listeners(struct warren_ctx *ctx, struct warren_check_result *result)
{
	struct findings f = { result, true };

	svc_listeners(warren_self(ctx), look, &f);
	return f.good;
}
