/*
 * For tests of the state: a tailnet on a database of its own, with a clock that stands still and a
 * writer that runs when it is told to.
 */
#ifndef WARREN_COORDINATOR_TESTS_WORLD_H
#define WARREN_COORDINATOR_TESTS_WORLD_H

#include "../../store/store.h"
#include "../tailnet.h"
#include "base/str.h"

struct world {
	struct tailnet *tn;
	struct tailnet_env env;
	struct tailnet_config config;
	struct tailnet_rules rules;
	char dir[64], path[96], why[TAILNET_WHY];
	int64_t wall;
	uint64_t mono, wake_at;		/* 0: no wish */
	/* The job that the writer has, if any; the pool refuses while `full`. */
	void (*job)(void *arg), (*done)(void *arg);
	void *arg;
	bool full;
	struct str log, told;		/* what was logged; what listeners were told, as lines */
	const char *tags;		/* that exist: "tag:a tag:b" */
	const char *owner;		/* login of whoever may give them */
	const char *routes;		/* that are approved by themselves: "10.0.0.0/8 ..." */
};

/* The answer of a request, copied out. */
struct reply {
	bool came;
	enum tailnet_registered_as as;
	int result;
	int64_t node, user, key;
	char code[TAILNET_CODE], secret[TAILNET_SECRET], error[512];
};

void world_begin(struct world *w);
/* Opens; `config` and `rules` as they are set. Listens. */
void world_open(struct world *w);
/* Ends as a crash does: what is not on the disk is gone. */
void world_crash(struct world *w);
void world_reopen(struct world *w);
void world_end(struct world *w);

/* Runs the writer and the loop until nothing is to be done now. */
void world_turn(struct world *w);
/* The loop only: whatever is with the writer stays there. */
void world_loop(struct world *w);
/* Lets time pass, step by step, with turns whenever the tailnet asked for them. */
void world_pass(struct world *w, int64_t usec);

/* A registration of machine @m with node key @k: answered in @reply, after a turn. */
struct tailnet_register world_reg(uint8_t m, uint8_t k, const char *hostname);
void world_register(struct world *w, const struct tailnet_register *reg, struct reply *reply);
/* Starts it; the answer comes with a later turn. */
struct tailnet_request *world_start(struct world *w, const struct tailnet_register *reg,
				    struct reply *reply);
int world_do(struct world *w, struct tailnet_act act, struct reply *reply);
void world_act(struct world *w, const struct tailnet_act *act, struct reply *reply);

/* Short cuts that must work: a user, a key's secret, a node joined with it. */
int64_t world_user(struct world *w, const char *login);
void world_key(struct world *w, struct tailnet_act act, char secret[TAILNET_SECRET]);
int64_t world_join(struct world *w, uint8_t m, uint8_t k, const char *hostname,
		   const char *secret);
const struct tailnet_node *world_node(struct world *w, int64_t id);
void world_addr(const char *text, struct warren_addr *out);

#endif
