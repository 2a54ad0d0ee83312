/*
 * What the operator sees.
 */
#include "base/addr.h"
#include "peerapi.h"

static void route_data(const char *path, const char *owner, void *arg)
{
	warren_reply_open(arg, NULL, '{');
	warren_reply_str(arg, "path", "%s", path);
	warren_reply_str(arg, "plugin", "%s", owner);
	warren_reply_close(arg);
}

static void route_text(const char *path, const char *owner, void *arg)
{
	warren_reply_text(arg, "%s\t%s", path, owner);
}

static const char *shut(const struct peerapi *p)
{
	if (p->open)
		return NULL;
	return p->map && p->map->self && p->map->self->shields_up ? "shields are up" :
	       "this node has no address";
}

static const char *url(const struct papi_side *side, char out[ADDRPORT_TEXT])
{
	const struct warren_addrport at = { .addr = side->addr, .port = side->port };

	return addrport_format(&at, out);
}

void papi_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	const struct peerapi *p = warren_self(ctx);
	const char *why = shut(p);
	char text[ADDRPORT_TEXT];

	warren_reply_open(reply, "urls", '[');
	for (int i = 0; i < 2; i++) {
		if (p->sides[i].port)
			warren_reply_str(reply, NULL, "http://%s", url(&p->sides[i], text));
	}
	warren_reply_close(reply);
	if (why)
		warren_reply_str(reply, "shut", "%s", why);
	else
		warren_reply_null(reply, "shut");
	warren_reply_int(reply, "connections", p->n_conns);
	warren_reply_open(reply, "routes", '[');
	papi_each_route(p, route_data, reply);
	warren_reply_close(reply);
	if (why)
		warren_reply_text(reply, "peers are not served: %s", why);
	for (int i = 0; i < 2; i++) {
		if (p->sides[i].port)
			warren_reply_text(reply, "peers are served at http://%s",
					  url(&p->sides[i], text));
	}
	papi_each_route(p, route_text, reply);
}

bool papi_check_reachable(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct peerapi *p = warren_self(ctx);
	bool good = true;

	for (int i = 0; i < 2; i++) {
		const struct papi_side *side = &p->sides[i];
		const char *problem = side->listener ?
				      p->svcnet->problem(p->svcnet_self, side->listener) : NULL;

		if (p->open && side->addr.family && !side->port) {
			warren_finding(result, "no port for IPv%d could be had: see the log",
				       side->addr.family);
			good = false;
		} else if (problem) {
			warren_finding(result, "port %u: %s", side->port, problem);
			good = false;
		}
	}
	return good;
}
