/*
 * Logins that wait for their user. They are made by machines that nobody knows, so there is a
 * limit: the oldest that no client waits for any more goes first, then the oldest at all; and of
 * one address there is a share, so that whoever sends many pushes out his own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/hex.h"
#include "base/util.h"
#include "impl.h"
#include "rules.h"

struct pending *pending_find(const struct tailnet *tn, const char *code)
{
	return hash_get_str(&tn->pending, code);
}

/* How many wait is counted when somebody looks: clients come and go without a word. */
static const struct tailnet_pending *show(struct pending *p)
{
	const struct list *at;

	if (!p)
		return NULL;
	p->shown.followers = 0;
	for (at = p->followers.next; at != &p->followers; at = at->next)
		p->shown.followers++;
	return &p->shown;
}

const struct tailnet_pending *tailnet_pending(const struct tailnet *tn, const char *code)
{
	return show(pending_find(tn, code));
}

const struct tailnet_pending *tailnet_pending_next(const struct tailnet *tn, uint32_t *pos)
{
	return show(hash_next(&tn->pending, pos));
}

static void pending_free(struct pending *p)
{
	counted_unref(p->tags);
	arena_free(&p->arena);
	free(p);
}

void pending_close(struct tailnet *tn, struct pending *p, const char *error)
{
	struct tailnet_request *request;

	hash_del_str(&tn->pending, p->code);
	list_del(&p->order);
	while ((request = list_first(&p->followers, struct tailnet_request, in))) {
		list_del(&request->in);
		if (error) {
			request_fail(request, -EACCES, "%s", error);
			request_answer(tn, request);
		} else {
			/* Behind what is being answered now; its code is unknown then. */
			request->state = REQUEST_WAITS;
			list_add_tail(&tn->waiting, &request->in);
		}
	}
	pending_free(p);
}

static bool same_source(const struct warren_addr *a, const struct warren_addr *b)
{
	return a->family && a->family == b->family &&
	       memcmp(a->bytes, b->bytes, a->family == 4 ? 4 : 8) == 0;
}

/* For one more from @from. One source fills its own share only. */
static void make_room(struct tailnet *tn, const struct warren_addr *from)
{
	bool full = tn->pending.count >= PENDING_MAX;
	struct pending *p, *oldest = NULL, *idle = NULL;
	uint32_t n = 0;

	list_for_each(p, &tn->pending_order, order) {
		if (!full && !same_source(&p->reg.from, from))
			continue;
		n++;
		oldest = oldest ? oldest : p;
		if (!idle && list_empty(&p->followers))
			idle = p;
	}
	if (full || n >= PENDING_OF_ONE)
		pending_close(tn, idle ? idle : oldest, "too many logins are waiting at the "
			      "coordinator; try again in a while");
}

static bool copy_text(struct pending *p, const char **text)
{
	if (*text)
		*text = arena_text(&p->arena, *text, strlen(*text));
	return true;
}

static bool copy_register(struct pending *p, const struct tailnet_register *from)
{
	struct tailnet_register *reg = &p->reg;
	struct warren_prefix *routes = NULL;

	*reg = *from;
	reg->auth_key = reg->code = NULL;
	reg->tags = NULL;
	copy_text(p, &reg->hostname);
	copy_text(p, &reg->hostinfo);
	if (from->n_routes) {
		routes = arena_alloc(&p->arena, from->n_routes * sizeof(*routes));
		if (!routes)
			return false;
		memcpy(routes, from->routes, from->n_routes * sizeof(*routes));
	}
	reg->routes = routes;
	if (from->hostname && !reg->hostname)
		return false;
	if (from->hostinfo && !reg->hostinfo)
		return false;
	return set_strings(&p->tags, from->tags, from->n_tags);
}

/* The same machine asks again with the same node key: it is the same login. */
static struct pending *pending_same(const struct tailnet *tn, const struct tailnet_register *reg)
{
	struct pending *p;

	list_for_each(p, &tn->pending_order, order) {
		if (memcmp(p->reg.machine_key, reg->machine_key, TAILNET_KEY_SIZE) == 0 &&
		    memcmp(p->reg.node_key, reg->node_key, TAILNET_KEY_SIZE) == 0)
			return p;
	}
	return NULL;
}

static struct pending *pending_new(struct tailnet *tn, const struct tailnet_register *reg)
{
	struct pending *p = calloc(1, sizeof(*p));
	uint8_t random[12];

	if (!p)
		return NULL;
	list_init(&p->order);
	list_init(&p->followers);
	randombytes_buf(random, sizeof(random));
	hex_encode(p->code, random, sizeof(random));
	if (!copy_register(p, reg) || hash_put_str(&tn->pending, p->code, p, NULL) != 0) {
		pending_free(p);
		return NULL;
	}
	p->shown.code = p->code;
	p->shown.hostname = p->reg.hostname ? p->reg.hostname : "";
	p->shown.hostinfo = p->reg.hostinfo;
	p->shown.tags = p->tags;
	p->shown.from = p->reg.from;
	memcpy(p->shown.machine_key, reg->machine_key, TAILNET_KEY_SIZE);
	memcpy(p->shown.node_key, reg->node_key, TAILNET_KEY_SIZE);
	p->shown.created = now_wall(tn);
	return p;
}

int pending_open(struct tailnet *tn, struct tailnet_request *request)
{
	struct pending *p = pending_same(tn, &request->reg);

	if (!p) {
		make_room(tn, &request->reg.from);
		p = pending_new(tn, &request->reg);
		if (!p)
			return -ENOMEM;
	}
	list_del(&p->order);
	list_add_tail(&tn->pending_order, &p->order);
	p->shown.until = now_wall(tn) + PENDING_TTL;
	tick_at(tn, now_mono(tn) + (uint64_t)PENDING_TTL);
	request->as = TAILNET_LOGIN;
	str_copy(request->code, sizeof(request->code), p->code);
	return 0;
}

int pending_follow(struct tailnet *tn, struct tailnet_request *request)
{
	const struct tailnet_register *reg = &request->reg;
	struct pending *p = reg->code ? pending_find(tn, reg->code) : NULL;

	/* Who saw the URL but is another machine learns nothing of it. */
	if (!p || memcmp(p->reg.machine_key, reg->machine_key, TAILNET_KEY_SIZE) != 0 ||
	    memcmp(p->reg.node_key, reg->node_key, TAILNET_KEY_SIZE) != 0)
		return pending_open(tn, request);
	request->state = REQUEST_FOLLOWS;
	list_add_tail(&p->followers, &request->in);
	return WARREN_PENDING;
}

void pending_expire(struct tailnet *tn, int64_t now, int64_t *next)
{
	struct pending *p, *after;
	bool any = false;

	list_for_each_safe(p, after, &tn->pending_order, order) {
		if (p->shown.until > now) {
			if (p->shown.until < *next)
				*next = p->shown.until;
			continue;
		}
		pending_close(tn, p, NULL);
		any = true;
	}
	if (any)
		request_run_waiting(tn);
}

void pending_free_all(struct tailnet *tn)
{
	struct pending *p;

	while ((p = list_first(&tn->pending_order, struct pending, order)))
		pending_close(tn, p, "the coordinator is stopping");
}
