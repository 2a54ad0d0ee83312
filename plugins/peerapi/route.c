/*
 * Which plugin serves what. A handful of rows, compared one by one.
 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "guard.h"
#include "peerapi.h"

struct row {
	struct list link;
	void *tie;			/* of warren_on_end(), on the owner's context */
	struct warren_ctx *owner;
	struct warren_peerapi_route route;
	char path[128];
};

static void row_free(void *arg)
{
	struct row *row = arg;

	list_del(&row->link);
	warren_release(row);
}

int papi_route(void *self, struct warren_ctx *ctx, const struct warren_peerapi_route *route,
	       struct warren_err *err)
{
	struct peerapi *p = self;
	struct row *row, *other;

	if (!route->path || route->path[0] != '/' || route->path[1] == '\0' || !route->request ||
	    route->flags || strlen(route->path) >= sizeof(row->path))
		return warren_fail(err, NULL, "a route needs a path that begins with / and is not "
				   "that alone, and a callback");
	list_for_each(other, &p->routes, link) {
		if (strcmp(other->path, route->path) == 0) {
			warren_fail(err, NULL, "%s is served by plugin %s already", route->path,
				    warren_name(other->owner));
			return -EEXIST;
		}
	}
	row = warren_zalloc(p->ctx, sizeof(*row));
	if (row)
		row->tie = warren_on_end(ctx, row_free, row);
	if (!row || !row->tie) {
		warren_release(row);
		warren_fail(err, NULL, "no memory");
		return -ENOMEM;
	}
	str_copy(row->path, sizeof(row->path), route->path);
	row->owner = ctx;
	row->route = *route;
	row->route.path = row->path;
	list_add_tail(&p->routes, &row->link);
	return 0;
}

const struct warren_peerapi_route *papi_route_find(const struct peerapi *p, const char *path)
{
	const struct row *found = NULL, *row;

	list_for_each(row, &p->routes, link) {
		if (papi_below(path, row->path) &&
		    (!found || strlen(row->path) > strlen(found->path)))
			found = row;
	}
	return found ? &found->route : NULL;
}

void papi_routes_free(struct peerapi *p)
{
	struct row *row, *next;

	list_for_each_safe(row, next, &p->routes, link) {
		warren_release(row->tie);
		row_free(row);
	}
}

void papi_each_route(const struct peerapi *p,
		     void (*fn)(const char *path, const char *owner, void *arg), void *arg)
{
	const struct row *row;

	list_for_each(row, &p->routes, link)
		fn(row->path, warren_name(row->owner), arg);
}
