#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/util.h"

static void need(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "the world is broken: %s\n", what);
		abort();
	}
}

static int64_t wall(void *self)
{
	return ((struct world *)self)->wall;
}

static uint64_t mono(void *self)
{
	return ((struct world *)self)->mono;
}

static int work(void *self, void (*job)(void *arg), void (*done)(void *arg), void *arg)
{
	struct world *w = self;

	if (w->full)
		return -EAGAIN;
	need(!w->job, "two jobs at once");
	w->job = job;
	w->done = done;
	w->arg = arg;
	return 0;
}

static void wake(void *self, uint64_t usec)
{
	struct world *w = self;

	w->wake_at = w->mono + usec + 1;
}

static void log_line(void *self, int level, const char *text)
{
	struct world *w = self;

	str_addf(&w->log, "<%d>%s\n", level, text);
}

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = words; at && (at = strstr(at, word)); at += len) {
		if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	}
	return false;
}

static bool tag_exists(void *self, const char *tag)
{
	return has_word(((struct world *)self)->tags, tag);
}

static bool may_tag(void *self, const struct tailnet_user *user, const char *tag)
{
	struct world *w = self;

	return has_word(w->tags, tag) && str_equal(user->login, w->owner);
}

static bool approves(void *self, const struct tailnet_node *node,
		     const struct warren_prefix *prefix)
{
	char text[PREFIX_TEXT];

	(void)node;
	return has_word(((struct world *)self)->routes, prefix_format(prefix, text));
}

static void told(void *arg, const struct tailnet_changes *changes)
{
	static const char *const kinds[] = { "", "added", "changed", "removed" };
	struct world *w = arg;

	for (uint32_t i = 0; i < changes->nodes; i++) {
		const struct tailnet_change *c = &changes->node[i];
		const struct tailnet_node *node = c->after ? c->after : c->before;

		str_addf(&w->told, "node %lld %s %x\n", (long long)node->id, kinds[c->kind],
			 c->fields);
	}
	for (uint32_t i = 0; i < changes->users; i++) {
		const struct tailnet_user_change *c = &changes->user[i];
		const struct tailnet_user *user = c->after ? c->after : c->before;

		str_addf(&w->told, "user %lld %s\n", (long long)user->id, kinds[c->kind]);
	}
}

void world_begin(struct world *w)
{
	*w = (struct world){
		.wall = INT64_C(1800000000000000), .mono = 1000000,
		.config = { .base_domain = "tail.example.com" },
	};
	need(prefix_parse("100.64.0.0/10", &w->config.v4) == 0, "prefix");
	need(prefix_parse("fd7a:115c:a1e0::/48", &w->config.v6) == 0, "prefix");
	snprintf(w->dir, sizeof(w->dir), "/tmp/warren-tailnet.XXXXXX");
	need(mkdtemp(w->dir), "mkdtemp");
	snprintf(w->path, sizeof(w->path), "%s/coordinator.db", w->dir);
	w->env = (struct tailnet_env){ w, wall, mono, work, wake, log_line };
	w->rules = (struct tailnet_rules){ w, tag_exists, may_tag, approves };
}

void world_open(struct world *w)
{
	int result;
	struct store *store = store_open(w->path, &result, w->why);

	need(store, w->why);
	w->tn = tailnet_open(&w->env, &w->config, store, w->why);
	need(w->tn, w->why);
	tailnet_set_rules(w->tn, &w->rules);
	need(tailnet_listen(w->tn, told, w), "listen");
	world_turn(w);
}

void world_crash(struct world *w)
{
	/* The job may have committed, or not begun: both are crashes. */
	if (w->job)
		w->done(w->arg);
	w->job = NULL;
	w->wake_at = 0;
	tailnet_free(w->tn);
	w->tn = NULL;
}

void world_reopen(struct world *w)
{
	world_crash(w);
	world_open(w);
}

void world_end(struct world *w)
{
	static const char *const tails[] = { "", "-wal", "-shm", ".backup" };
	char name[128];

	if (w->tn)
		world_crash(w);
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		snprintf(name, sizeof(name), "%s%s", w->path, tails[i]);
		unlink(name);
	}
	need(rmdir(w->dir) == 0, "something is left in the folder");
	str_free(&w->log);
	str_free(&w->told);
}

void world_loop(struct world *w)
{
	for (int i = 0; i < 1000 && w->wake_at && w->wake_at <= w->mono + 1; i++) {
		w->wake_at = 0;
		tailnet_tick(w->tn);
	}
}

void world_turn(struct world *w)
{
	void (*done)(void *arg) = w->done;

	world_loop(w);
	for (int i = 0; i < 10000 && w->job; i++) {
		w->job(w->arg);
		done = w->done;
		w->job = NULL;
		done(w->arg);
		world_loop(w);
	}
	need(!w->job, "the writer never ends");
}

void world_pass(struct world *w, int64_t usec)
{
	uint64_t until = w->mono + (uint64_t)usec, next;

	world_turn(w);
	while (w->mono < until) {
		next = w->wake_at && w->wake_at - 1 < until ? w->wake_at - 1 : until;
		if (next <= w->mono)
			next = w->mono + 1;
		w->wall += (int64_t)(next - w->mono);
		w->mono = next;
		world_turn(w);
	}
}

struct tailnet_register world_reg(uint8_t m, uint8_t k, const char *hostname)
{
	struct tailnet_register reg = { .hostname = hostname, .hostinfo = "{}", .capver = 113 };

	memset(reg.machine_key, m, sizeof(reg.machine_key));
	memset(reg.node_key, k, sizeof(reg.node_key));
	return reg;
}

static void registered(void *arg, const struct tailnet_registered *answer)
{
	struct reply *reply = arg;

	need(!reply->came, "answered twice");
	*reply = (struct reply){ .came = true, .as = answer->as, .result = answer->result };
	reply->node = answer->node ? answer->node->id : 0;
	reply->user = answer->user ? answer->user->id : 0;
	snprintf(reply->code, sizeof(reply->code), "%s", answer->code ? answer->code : "");
	snprintf(reply->error, sizeof(reply->error), "%s", answer->error ? answer->error : "");
}

struct tailnet_request *world_start(struct world *w, const struct tailnet_register *reg,
				    struct reply *reply)
{
	struct tailnet_request *request;

	*reply = (struct reply){ .came = false };
	request = tailnet_register(w->tn, reg, registered, reply);
	need(request && !reply->came, "an answer before the call was over");
	return request;
}

void world_register(struct world *w, const struct tailnet_register *reg, struct reply *reply)
{
	world_start(w, reg, reply);
	world_turn(w);
}

static void acted(void *arg, const struct tailnet_outcome *outcome)
{
	struct reply *reply = arg;

	need(!reply->came, "answered twice");
	*reply = (struct reply){ .came = true, .result = outcome->result };
	reply->node = outcome->node ? outcome->node->id : 0;
	reply->user = outcome->user ? outcome->user->id : 0;
	reply->key = outcome->key ? outcome->key->id : 0;
	snprintf(reply->secret, sizeof(reply->secret), "%s",
		 outcome->secret ? outcome->secret : "");
	snprintf(reply->error, sizeof(reply->error), "%s", outcome->error ? outcome->error : "");
}

void world_act(struct world *w, const struct tailnet_act *act, struct reply *reply)
{
	struct tailnet_act copy = *act;

	*reply = (struct reply){ .came = false };
	copy.actor = "root";
	copy.origin = "command";
	need(tailnet_do(w->tn, &copy, acted, reply) == 0, "an act");
}

int world_do(struct world *w, struct tailnet_act act, struct reply *reply)
{
	struct reply own;

	reply = reply ? reply : &own;
	world_act(w, &act, reply);
	world_turn(w);
	need(reply->came, "no answer");
	return reply->result;
}

int64_t world_user(struct world *w, const char *login)
{
	struct reply reply;
	struct tailnet_act act = { .verb = TAILNET_USER_CREATE, .text = login };

	need(world_do(w, act, &reply) == 0, reply.error);
	return reply.user;
}

void world_key(struct world *w, struct tailnet_act act, char secret[TAILNET_SECRET])
{
	struct reply reply;

	act.verb = TAILNET_KEY_CREATE;
	need(world_do(w, act, &reply) == 0, reply.error);
	memcpy(secret, reply.secret, TAILNET_SECRET);
	need(secret[0], "a key without a secret");
}

int64_t world_join(struct world *w, uint8_t m, uint8_t k, const char *hostname,
		   const char *secret)
{
	struct tailnet_register reg = world_reg(m, k, hostname);
	struct reply reply;

	reg.auth_key = secret;
	world_register(w, &reg, &reply);
	need(reply.came && reply.as == TAILNET_REGISTERED, reply.error);
	return reply.node;
}

const struct tailnet_node *world_node(struct world *w, int64_t id)
{
	const struct tailnet_node *node = tailnet_node(w->tn, id);

	need(node, "no such node");
	return node;
}

void world_addr(const char *text, struct warren_addr *out)
{
	need(addr_parse(text, out) == 0, text);
}
