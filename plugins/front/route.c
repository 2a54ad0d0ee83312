/*
 * Who gets what. Few rows, compared one by one: a tailnet's box has a dozen of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "acme.h"
#include "front.h"
#include "hello.h"
#include "reach.h"

struct row {				/* of one of the three lists */
	struct list link;
	void *tie;			/* of warren_on_end(), on the owner's context */
	struct warren_front_route route;
	struct warren_front_raw raw;
	char host[256], path[256], alpn[HELLO_ALPN_TEXT];
};

static void row_free(void *arg)
{
	struct row *row = arg;

	list_del(&row->link);
	free(row);
}

/* Into @list, until @ctx ends. Takes @row. */
static int row_add_take(struct list *list, struct warren_ctx *ctx, struct row *row,
			struct warren_err *err)
{
	list_add_tail(list, &row->link);
	row->tie = warren_on_end(ctx, row_free, row);
	if (row->tie)
		return 0;
	row_free(row);
	warren_fail(err, NULL, "no memory");
	return -ENOMEM;
}

static struct row *row_new(const char *host, const char *path, const char *alpn,
			   struct warren_err *err)
{
	struct row *row = calloc(1, sizeof(*row));

	if (!row) {
		warren_fail(err, NULL, "no memory");
		return NULL;
	}
	if ((host && !str_copy(row->host, sizeof(row->host), host)) ||
	    (path && !str_copy(row->path, sizeof(row->path), path)) ||
	    (alpn && !str_copy(row->alpn, sizeof(row->alpn), alpn))) {
		warren_fail(err, NULL, "a name, a path or a protocol is too long");
		free(row);
		return NULL;
	}
	return row;
}

int front_route(void *self, struct warren_ctx *ctx, const struct warren_front_route *route,
		struct warren_err *err)
{
	struct front *front = self;
	struct row *row, *other;

	if (!route->path || route->path[0] != '/' || !route->events || !route->events->head)
		return warren_fail(err, NULL, "a route needs a path that begins with /, and a "
				   "callback for the head");
	row = row_new(route->host, route->path, NULL, err);
	if (!row)
		return -ENOMEM;
	list_for_each(other, &front->routes, link) {
		if (strcmp(other->host, row->host) == 0 && strcmp(other->path, row->path) == 0) {
			warren_fail(err, NULL, "%s%s is served by another plugin already",
				    row->host, row->path);
			free(row);
			return -EEXIST;
		}
	}
	row->route = *route;
	row->route.host = row->host[0] ? row->host : NULL;
	row->route.path = row->path;
	return row_add_take(&front->routes, ctx, row, err);
}

int front_raw(void *self, struct warren_ctx *ctx, const struct warren_front_raw *raw,
	      struct warren_err *err)
{
	struct front *front = self;
	struct row *row;

	if ((!raw->server_name && !raw->alpn) || !raw->accept)
		return warren_fail(err, NULL, "raw connections need a server name or a protocol, "
				   "and a callback");
	row = row_new(raw->server_name, NULL, raw->alpn, err);
	if (!row)
		return -ENOMEM;
	row->raw = *raw;
	return row_add_take(&front->raws, ctx, row, err);
}

int front_name(void *self, struct warren_ctx *ctx, const char *name, struct warren_err *err)
{
	struct front *front = self;
	struct row *row = row_new(name, NULL, NULL, err);
	int result = row ? row_add_take(&front->names, ctx, row, err) : -ENOMEM;

	if (!result) {
		front_acme_names(front->acme);
		front_reach_again(front->reach);
		front_cert_own_names(front);
	}
	return result;
}

/* "hq.example.com:443", "[2001:db8::1]:443" without the port. */
static size_t host_len(const char *authority)
{
	const char *end;

	if (authority[0] == '[') {
		end = strchr(authority, ']');
		return end ? (size_t)(end + 1 - authority) : strlen(authority);
	}
	return strcspn(authority, ":");
}

static bool path_is_below(const char *path, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(path, prefix, len) != 0)
		return false;
	return prefix[len - 1] == '/' || path[len] == '\0' || path[len] == '/' ||
	       path[len] == '?';
}

/* How exactly it fits; 0: not at all. */
static size_t fit(const struct row *row, const char *authority, size_t len, const char *path)
{
	bool named = row->host[0] != '\0';

	if (!path_is_below(path, row->path))
		return 0;
	if (named && (strlen(row->host) != len || strncasecmp(row->host, authority, len) != 0))
		return 0;
	return (named ? sizeof(row->path) : 0) + strlen(row->path);
}

const struct warren_front_route *front_route_find(const struct front *front,
						  const char *authority, const char *path)
{
	size_t len = authority ? host_len(authority) : 0, best = 0;
	const struct row *found = NULL, *row;

	list_for_each(row, &front->routes, link) {
		size_t n = fit(row, authority ? authority : "", len, path);

		if (n > best) {
			best = n;
			found = row;
		}
	}
	return found ? &found->route : NULL;
}

const struct warren_front_raw *front_raw_find(const struct front *front,
					      const struct hello *hello)
{
	const struct row *row;

	list_for_each(row, &front->raws, link) {
		if (row->host[0] && strcmp(row->host, hello->server_name) != 0)
			continue;
		if (row->alpn[0] && !hello_offers(hello, row->alpn))
			continue;
		return &row->raw;
	}
	return NULL;
}

static void rows_free(struct list *list)
{
	struct row *row, *next;

	list_for_each_safe(row, next, list, link) {
		warren_release(row->tie);
		row_free(row);
	}
}

void front_routes_free(struct front *front)
{
	rows_free(&front->routes);
	rows_free(&front->raws);
	rows_free(&front->names);
}

static uint32_t configured(const struct front *front)
{
	return front->conf ? warren_conf_count(front->conf, "names") : 0;
}

static bool is_configured(const struct front *front, const char *name)
{
	for (uint32_t i = 0; i < configured(front); i++) {
		if (strcasecmp(warren_conf_str(warren_conf_at(front->conf, "names", i), NULL),
			       name) == 0)
			return true;
	}
	return false;
}

void front_each_name(const struct front *front, void (*fn)(const char *name, void *arg),
		     void *arg)
{
	const struct row *row, *before;

	for (uint32_t i = 0; i < configured(front); i++)
		fn(warren_conf_str(warren_conf_at(front->conf, "names", i), NULL), arg);
	list_for_each(row, &front->names, link) {
		bool seen = is_configured(front, row->host);

		list_for_each(before, &front->names, link) {
			if (before == row)
				break;
			seen = seen || strcmp(before->host, row->host) == 0;
		}
		if (!seen)
			fn(row->host, arg);
	}
}
