/*
 * Names to addresses: getaddrinfo() on a pool of threads, so that the host's own idea of names
 * (hosts file, resolv.conf, NSS modules) counts and no lane waits for it. Where no resolver answers
 * it takes its time and cannot be told to end, so jobs have another pool, and no stop waits.
 *
 * The C library keeps a configuration per thread, which a thread may change. Once the host's
 * configuration names ourselves, the threads of the pool get the resolvers that were named before.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <warren/plugin.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/work.h"

enum { ADDRS_MAX = 16, NAME_BYTES = 254 };	/* RFC 1035 2.3.4: 253 characters */

enum { SERVERS_MAX = MAXNS };
static struct {
	pthread_mutex_t lock;
	uint64_t generation;		/* rises with each change */
	void *owner;			/* of the last one */
	int n;
	struct sockaddr_in servers[SERVERS_MAX];
} others = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct wcore_lookup {
	struct wcore_lookup *prev, *next;	/* of the context, while it wants to know */
	bool given_up;
	warren_resolve_fn *done;
	void *arg;
	int result;
	struct warren_addr addrs[ADDRS_MAX];
	char why[128];
	char name[NAME_BYTES];
};

static bool from_sockaddr(const struct sockaddr *sa, struct warren_addr *addr)
{
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;

	*addr = (struct warren_addr){ 0 };
	if (sa->sa_family == AF_INET) {
		memcpy(&in4, sa, sizeof(in4));
		memcpy(addr->bytes, &in4.sin_addr, 4);
		addr->family = 4;
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(addr->bytes, &in6.sin6_addr, 16);
		addr->family = 6;
	}
	return addr->family != 0;
}

static int result_of(int gai)
{
	if (gai == EAI_NONAME)
		return -ENOENT;
	if (gai == EAI_AGAIN)
		return -EAGAIN;
	if (gai == EAI_MEMORY)
		return -ENOMEM;
	return gai == EAI_SYSTEM && errno ? -errno : -EIO;
}

static void use_others(void)
{
	static _Thread_local uint64_t seen;

	pthread_mutex_lock(&others.lock);
	if (seen != others.generation && res_init() == 0) {
		for (int i = 0; i < others.n; i++)
			_res.nsaddr_list[i] = others.servers[i];
		if (others.n > 0)
			_res.nscount = others.n;
		seen = others.generation;
	}
	pthread_mutex_unlock(&others.lock);
}

static void set_others(void *owner, const struct sockaddr_in *servers, int n)
{
	pthread_mutex_lock(&others.lock);
	others.owner = owner;
	others.n = n;
	memcpy(others.servers, servers, (size_t)n * sizeof(*servers));
	others.generation++;
	pthread_mutex_unlock(&others.lock);
}

static void lookup_job(void *arg)
{
	struct wcore_lookup *l = arg;
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM };
	struct addrinfo *list = NULL;
	int gai, n = 0;

	use_others();
	gai = getaddrinfo(l->name, NULL, &hints, &list);
	if (gai) {
		l->result = result_of(gai);
		snprintf(l->why, sizeof(l->why), "%s", gai == EAI_SYSTEM ? strerror(-l->result) :
			 gai_strerror(gai));
		return;
	}
	for (struct addrinfo *ai = list; ai && n < ADDRS_MAX; ai = ai->ai_next)
		if (from_sockaddr(ai->ai_addr, &l->addrs[n]))
			n++;
	freeaddrinfo(list);
	l->result = n ? n : -ENOENT;
	if (!n)
		snprintf(l->why, sizeof(l->why), "the name has no address");
}

static void lookup_link(struct warren_ctx *ctx, struct wcore_lookup *l)
{
	l->next = ctx->lookups;
	if (l->next)
		l->next->prev = l;
	ctx->lookups = l;
}

static void lookup_unlink(struct warren_ctx *ctx, struct wcore_lookup *l)
{
	if (l->prev)
		l->prev->next = l->next;
	else
		ctx->lookups = l->next;
	if (l->next)
		l->next->prev = l->prev;
}

static void lookup_done(struct warren_ctx *ctx, void *arg)
{
	struct wcore_lookup *l = arg;

	if (!l->given_up) {
		lookup_unlink(ctx, l);
		l->done(ctx, l->result, l->addrs, l->result < 0 ? l->why : NULL, l->arg);
	}
	free(l);
}

void wcore_lookups_end(struct warren_ctx *ctx)
{
	struct wcore_lookup *l;

	ctx->lookups_over = true;
	while ((l = ctx->lookups)) {
		uint64_t entered;

		lookup_unlink(ctx, l);
		l->given_up = true;
		entered = wcore_ctx_enter(ctx);
		l->done(ctx, -ECANCELED, NULL, "given up, since it is not needed any more", l->arg);
		wcore_ctx_leave(ctx, entered, "end of a lookup");
	}
}

static bool is_literal(const char *name, struct warren_addr *addr)
{
	*addr = (struct warren_addr){ .family = 4 };
	if (inet_pton(AF_INET, name, addr->bytes) == 1)
		return true;
	addr->family = 6;
	return inet_pton(AF_INET6, name, addr->bytes) == 1;
}

int warren_resolve(struct warren_ctx *ctx, const char *name, warren_resolve_fn *done, void *arg)
{
	struct wcore_lookup *l;
	int rc;

	wcore_ctx_assert_open(ctx, "warren_resolve");
	if (ctx->lookups_over)
		return -ECANCELED;
	if (!*name || strlen(name) >= NAME_BYTES)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->done = done;
	l->arg = arg;
	memcpy(l->name, name, strlen(name) + 1);
	l->result = 1;
	if (is_literal(name, &l->addrs[0]))
		rc = wcore_ctx_post(ctx, lookup_done, l, free, "answer of a lookup");
	else
		rc = wcore_pool_lasting(wcore_engine_lookups(ctx->engine), ctx, lookup_job,
					lookup_done, free, l);
	if (rc)
		free(l);
	else
		lookup_link(ctx, l);
	return rc;
}

static void owner_ended(void *arg)
{
	static const struct sockaddr_in none;

	if (others.owner == arg)
		set_others(NULL, &none, 0);
}

int warren_resolve_by(struct warren_ctx *ctx, const struct warren_addrport *servers, uint32_t n)
{
	struct sockaddr_in list[SERVERS_MAX] = { { .sin_family = AF_INET } };
	int taken = 0;

	wcore_ctx_assert_open(ctx, "warren_resolve_by");
	if (others.owner != ctx && !warren_on_end(ctx, owner_ended, ctx))
		return -ENOMEM;
	for (uint32_t i = 0; i < n && taken < SERVERS_MAX; i++) {
		if (servers[i].addr.family != 4)
			continue;
		list[taken].sin_family = AF_INET;
		list[taken].sin_port = htons(servers[i].port);
		memcpy(&list[taken++].sin_addr, servers[i].addr.bytes, 4);
	}
	set_others(ctx, list, taken);
	return 0;
}
