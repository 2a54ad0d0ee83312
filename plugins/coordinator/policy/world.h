/*
 * policy/world.h - a policy in force over the users and nodes of a tailnet
 *
 * Who may see whom is kept up to date: a change of one node costs what its own rules and bits cost,
 * not a look at all pairs, and says which pairs and filters it concerns. Filters, SSH policies and
 * routes are computed when they are asked for. One thread at a time. No call keeps what it was
 * given but the policy, which the caller keeps alive.
 *
 * Source: coordinator.md 2.4 to 2.11, control-protocol.md 8.
 */
#ifndef WARREN_COORDINATOR_WORLD_H
#define WARREN_COORDINATOR_WORLD_H

#include "policy.h"

struct policy_user {
	int64_t id;			/* positive */
	const char *login;		/* or "" */
	const char *email, *name;	/* or "" */
	enum policy_role role;
	const char *const *groups;	/* "group:NAME", from the provider */
	uint32_t n_groups;
};
struct policy_node {
	int64_t id;			/* positive; the lower one is the older */
	int64_t user;			/* 0: none; of a tagged node it means nothing */
	const char *const *tags;
	uint32_t n_tags;
	struct warren_addr v4, v6;	/* family 0: none */
	const struct warren_prefix *announced, *approved;
	uint32_t n_announced, n_approved;
	const json_t *attributes;	/* for postures, or NULL */
	/* The networks that it was elected for; where nobody elects, the oldest node serves one. */
	bool elected;
	const struct warren_prefix *primary;
	uint32_t n_primary;
};

struct policy_pair {
	int64_t viewer, peer;
	bool appears;			/* else it goes */
};
/* What a change concerns; reused by the caller, zeroed at first. */
struct policy_changes {
	struct policy_pair *pairs;	/* both directions are listed */
	uint32_t n_pairs, cap_pairs;
	int64_t *filters;		/* filter, SSH policy or capabilities may differ */
	uint32_t n_filters, cap_filters;
	int64_t *routes;		/* what others may send through these may differ */
	uint32_t n_routes, cap_routes;
	bool failed;			/* memory had run out: treat all as changed */
};
void policy_changes_clear(struct policy_changes *changes);	/* keeps its memory */
void policy_changes_free(struct policy_changes *changes);

struct policy_world;
struct policy_world *policy_world_new(void);	/* with no policy: nobody sees anybody */
void policy_world_free(struct policy_world *world);
/*
 * 0, or -ENOMEM and the world is as it was. @changes may be NULL. Putting is adding or replacing.
 * A user that nodes name must be there before them.
 */
int policy_world_user(struct policy_world *world, const struct policy_user *user,
		      struct policy_changes *changes);
void policy_world_user_remove(struct policy_world *world, int64_t id,
			      struct policy_changes *changes);
int policy_world_put(struct policy_world *world, const struct policy_node *node,
		     struct policy_changes *changes);
void policy_world_remove(struct policy_world *world, int64_t id, struct policy_changes *changes);
int policy_world_set(struct policy_world *world, const struct policy *policy,
		     struct policy_changes *changes);

/*
 * ---- Two worlds: world_copy.c ----
 */

/*
 * The same users, nodes and rows, and no policy; shares nothing, so that each may be used by a
 * thread of its own. NULL: no memory.
 */
struct policy_world *policy_world_copy(const struct policy_world *world);
/* Another one after each change; a copy begins with that of the original. */
uint64_t policy_world_serial(const struct policy_world *world);
/* A node is in the same slot of a world and of its copy, as long as it is in both. */
uint32_t policy_world_slots(const struct policy_world *world);
/*
 * Calls @fn for the peers that the node in @slot of both sees in one of them only: for
 * POLICY_PAIRS of them, beginning with *@from, 0 at first; then *@from says where to go on, 0 when
 * all were told. Returns its id, or 0: no node is there in both. All slots of the older one tell
 * all pairs, both ways.
 */
enum { POLICY_PAIRS = 32 };
typedef void policy_pair_fn(void *arg, int64_t viewer, int64_t peer, bool appears);
int64_t policy_world_differs(const struct policy_world *old, const struct policy_world *now,
			     uint32_t slot, uint32_t *from, policy_pair_fn *fn, void *arg);

/*
 * ---- Questions; ids that are not there see nothing ----
 *
 * JSON is the caller's (json_decref); NULL: no memory.
 */
bool policy_world_sees(const struct policy_world *world, int64_t viewer, int64_t peer);
/* Ids of the peers of @viewer, ascending, up to @max of them; returns how many there are. */
uint32_t policy_world_peers(const struct policy_world *world, int64_t viewer, int64_t *out,
			    uint32_t max);
/* FilterRules of a node; [] when nothing may reach it. */
json_t *policy_world_filter(struct policy_world *world, int64_t node);
/* The rules of its SSHPolicy, [] included; @url: of the server, for actions that are held. */
json_t *policy_world_ssh(const struct policy_world *world, int64_t node, const char *url);
/*
 * What @login of @dst is to @src; to be checked: once in *@period seconds, 0 each time. *@action is
 * the SSHAction that lets it in, NULL where it is denied or memory has run out.
 */
enum policy_ssh { POLICY_SSH_DENY, POLICY_SSH_ACCEPT, POLICY_SSH_CHECK };
enum policy_ssh policy_world_ssh_of(const struct policy_world *world, int64_t src, int64_t dst,
				    const char *login, int64_t *period, json_t **action);
/* What nodeAttrs give it: key to null or a list. */
json_t *policy_world_caps(const struct policy_world *world, int64_t node);
/* Of these, the ones that others see of a peer. */
json_t *policy_world_peer_caps(const struct policy_world *world, int64_t peer);
/*
 * AllowedIPs of @peer as @viewer has them, texts; and those of them that are subnets it is primary
 * for (may be NULL).
 */
json_t *policy_world_allowed(const struct policy_world *world, int64_t viewer, int64_t peer,
			     json_t **subnets);
/* Would the policy's autoApprovers approve this prefix for that node, which may be a new one? */
bool policy_world_approves(struct policy_world *world, const struct policy_node *node,
			   const struct warren_prefix *prefix);
/* May this user's (or these tags') owner give @tag? 2.7. */
bool policy_world_may_tag(const struct policy_world *world, int64_t user,
			  const char *const *tags, uint32_t n_tags, const char *tag);

/* ---- check.c ---- */

/* All of `tests` and `sshTests` pass; else the first one that does not. */
bool policy_world_tests(struct policy_world *world, struct policy_error *error);
/*
 * Which rule lets @src (a selector) reach @dst (a selector) on a port of a protocol, or why none:
 * one sentence. True: it may.
 */
bool policy_world_explain(struct policy_world *world, const char *src, const char *dst,
			  int protocol, uint16_t port, char out[HJ_ERROR]);

/* What @src may begin with @dst: "tcp:22", "udp:53-54", "*"; texts in the order of the rules. */
json_t *policy_world_flows(const struct policy_world *world, int64_t src, int64_t dst);

/* ---- eval.c ---- */

/*
 * One case in the form of the corpus ({policy, users, nodes}): computes accepted, response and
 * expect. NULL with a sentence: it is no case.
 */
json_t *policy_eval(const json_t *one, struct warren_err *err);

#endif
