/*
 * Another policy. At a start and by `warren reload` it is in force when the call returns. When its
 * file changes, it is compiled and tried in a copy of the world on the job pool, which takes the
 * world's place if nobody has changed that meanwhile; then who sees whom is told node by node, some
 * in each turn of the loop: with thousands of nodes there are millions of pairs.
 */
#include "server.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/err.h"
#include "base/hex.h"

enum { SLICE = 3000, TRIES = 4 };	/* microseconds of a turn; copies that came too late */

struct coord_edit {			/* a policy on its way into force */
	struct coord *coord;
	const char *text;		/* NULL: the default */
	size_t len;
	char *copy;			/* of the text, where it must outlive the call */
	uint32_t tries;
	uint64_t serial;		/* of the world when it was copied */
	/* The job's alone: */
	struct policy_world *world;
	struct policy *policy;		/* NULL: it is refused, or memory ran out */
	struct policy_error error;
	bool passes;

	char *next;			/* text that came meanwhile, or NULL */
	size_t next_len;
};

struct coord_telling {
	struct policy_world *old;	/* as it was before; NULL: all are told */
	struct policy *policy;		/* whose rules its rows are */
	uint32_t at, peer;		/* slots that are told next */
	bool later;			/* a turn is on its way */
};

/*
 * ---- What follows from another one ----
 */

static void hash_text(char out[80], const char *hash)
{
	if (hash[0])
		snprintf(out, 80, "{\"sha256\":\"%s\"}", hash);
	else
		snprintf(out, 80, "{\"default\":true}");
}

/* Who may do what has changed: the log says when, and from which text to which. */
static void note_policy(struct coord *coord, const char *text, size_t len, bool first)
{
	struct tailnet_act note = {
		.verb = TAILNET_NOTE, .actor = "coordinator", .kind = "policy",
		.origin = first ? "start" : "file", .text = "policy.set", .display = "policy",
	};
	uint8_t hash[crypto_hash_sha256_BYTES];
	char before[80], after[80], fresh[65] = "";

	if (text) {
		crypto_hash_sha256(hash, (const uint8_t *)text, len);
		hex_encode(fresh, hash, sizeof(hash));
	}
	if (!first && strcmp(fresh, coord->policy_hash) == 0)
		return;
	hash_text(before, coord->policy_hash);
	hash_text(after, fresh);
	note.before = first ? NULL : before;
	note.after = after;
	memcpy(coord->policy_hash, fresh, sizeof(fresh));
	if (tailnet_do(coord->tailnet, &note, NULL, NULL))
		warren_log(coord->ctx, LOG_ERR, "no memory for the audit log's row of a policy");
}

static void tell_pair(void *arg, int64_t viewer, int64_t peer, bool appears)
{
	coord_tell_peer(arg, viewer, peer, appears ? PEER_WHOLE : PEER_GONE, 0);
}

/* What the policy says of one node, or some of it, to itself and to others. */
static void tell_slot(struct coord *coord, uint32_t slot)
{
	struct coord_telling *t = coord->telling;
	int64_t id = policy_world_differs(t->old, coord->world, slot, &t->peer, tell_pair, coord);
	const struct tailnet_node *node = id ? tailnet_node(coord->tailnet, id) : NULL;

	if (!node || t->peer > 0)
		return;
	coord_tell_node(coord, id, DIRTY_FILTER | DIRTY_SELF);
	coord_view_tell_routers(coord, id);
	if (coord_caps_changed(coord, id) || (node->approved && node->approved->count > 0))
		coord_tell_viewers(coord, id, PEER_WHOLE, 0);
}

static void tell_later(struct warren_ctx *ctx, void *arg);

/* Some of the nodes, or all. */
static void tell(struct coord *coord, bool all)
{
	struct coord_telling *t = coord->telling;
	uint64_t start = warren_now();
	int result = 0;

	if (!t || !t->old)
		return;
	/* A node that came since is told of as any other that comes. */
	while (t->at < policy_world_slots(t->old) && (all || warren_now() - start < SLICE)) {
		tell_slot(coord, t->at);
		t->at += t->peer == 0;
	}
	if (t->at < policy_world_slots(t->old)) {
		if (!t->later)
			result = warren_defer(coord->ctx, tell_later, coord);
		t->later = true;
		if (result)
			tell(coord, true);
		return;
	}
	policy_world_free(t->old);
	policy_free(t->policy);
	t->old = NULL;
	t->policy = NULL;
}

static void tell_later(struct warren_ctx *ctx, void *arg)
{
	struct coord *coord = arg;

	(void)ctx;
	if (!coord->telling)
		return;
	coord->telling->later = false;
	tell(coord, false);
}

/*
 * ---- One edit ----
 */

static void edit_fini(struct coord_edit *e)
{
	policy_world_free(e->world);
	policy_free(e->policy);
	e->world = NULL;
	e->policy = NULL;
}

/* Any thread. */
static void try_policy(void *arg)
{
	struct coord_edit *e = arg;

	e->error = (struct policy_error){ .line = 0 };
	e->policy = e->text ? policy_parse(e->text, e->len, NULL, &e->error) : policy_default();
	if (!e->policy)
		return;
	if (policy_world_set(e->world, e->policy, NULL)) {
		policy_free(e->policy);
		e->policy = NULL;
		snprintf(e->error.text, sizeof(e->error.text), "no memory for it");
		return;
	}
	e->passes = policy_world_tests(e->world, &e->error);
}

/* 0, or -EINVAL with a sentence: it may not come into force. */
static int judge(const struct coord_edit *e, struct warren_err *err)
{
	bool first = !e->coord->policy;

	if (!e->policy && e->error.line)
		return warren_fail(err, NULL, "the policy is refused at line %u, column %u: %s",
				   e->error.line, e->error.column, e->error.text);
	if (!e->policy)
		return warren_fail(err, NULL, "the policy is refused: %s", e->error.text);
	if (!e->passes && !first)
		return warren_fail(err, NULL, "the policy is refused: the test at line %u does not "
				   "pass: `warren policy test` says why", e->error.line);
	/* At a start there is none to keep. */
	if (!e->passes)
		warren_log(e->coord->ctx, LOG_WARNING, "the policy's test at line %u does not "
			   "pass: `warren policy test` says why; it is in force all the same, as "
			   "there is none before it", e->error.line);
	return 0;
}

/* Puts what was tried in the place of what is there. */
static void take(struct coord_edit *e)
{
	struct coord *coord = e->coord;
	struct coord_telling *t = coord->telling;
	bool first = !coord->policy;

	tell(coord, true);
	t->old = coord->world;
	t->policy = coord->policy;
	t->at = t->peer = 0;
	coord->world = e->world;
	coord->policy = e->policy;
	e->world = NULL;
	e->policy = NULL;
	note_policy(coord, e->text, e->len, first);
	coord_ssh_forget(coord);
	/* Without streams, as at a start, there is nobody to tell. */
	if (list_empty(&coord->streams))
		t->at = policy_world_slots(t->old);
	tell(coord, false);
	coord_view_rules(coord);
}

/* NULL: no memory. */
static struct policy_world *copy_world(struct coord *coord)
{
	if (!coord->telling)
		coord->telling = calloc(1, sizeof(*coord->telling));
	return coord->telling ? policy_world_copy(coord->world) : NULL;
}

int coord_view_policy(struct coord *coord, const char *text, size_t len, struct warren_err *err)
{
	struct coord_edit e = {
		.coord = coord, .text = text, .len = len, .world = copy_world(coord),
	};
	int result;

	if (!e.world) {
		warren_fail(err, NULL, "no memory for the policy");
		return -ENOMEM;
	}
	try_policy(&e);
	result = judge(&e, err);
	if (result == 0)
		take(&e);
	edit_fini(&e);
	return result;
}

/*
 * ---- By a change of the file ----
 */

static void reload_now(struct coord *coord, const char *text, size_t len)
{
	struct warren_err err = ERR_INIT;

	if (coord_view_policy(coord, text, len, &err))
		warren_log(coord->ctx, LOG_WARNING, "%s; the one before it stays in force",
			   err_first(&err));
	else
		warren_log(coord->ctx, LOG_NOTICE, "the new policy is in force");
	err_free(&err);
}

static void edit_start(struct coord_edit *e);

static void edit_free(struct coord_edit *e)
{
	edit_fini(e);
	free(e->copy);
	free(e->next);
	free(e);
}

/* The job is done, and the world is still what it was a copy of. */
static void edit_settle(struct coord_edit *e)
{
	struct warren_err err = ERR_INIT;

	if (judge(e, &err)) {
		warren_log(e->coord->ctx, LOG_WARNING, "%s; the one before it stays in force",
			   err_first(&err));
	} else {
		take(e);
		warren_log(e->coord->ctx, LOG_NOTICE, "the new policy is in force");
	}
	err_free(&err);
}

static void edit_tried(struct warren_ctx *ctx, void *arg)
{
	struct coord_edit *e = arg;
	struct coord *coord = e->coord;

	(void)ctx;
	if (!coord->world) {		/* it is being stopped */
		coord->edit = NULL;
		edit_free(e);
		return;
	}
	if (e->next) {
		free(e->copy);
		e->text = e->copy = e->next;
		e->len = e->next_len;
		e->next = NULL;
		e->tries = 0;
		edit_start(e);
	} else if (policy_world_serial(coord->world) != e->serial && e->tries < TRIES) {
		edit_start(e);
	} else {
		if (policy_world_serial(coord->world) == e->serial)
			edit_settle(e);
		else
			reload_now(coord, e->text, e->len);
		coord->edit = NULL;
		edit_free(e);
	}
}

static void edit_start(struct coord_edit *e)
{
	struct coord *coord = e->coord;

	edit_fini(e);
	e->tries++;
	e->serial = policy_world_serial(coord->world);
	e->world = copy_world(coord);
	if (e->world && warren_work(coord->ctx, try_policy, edit_tried, e) == 0)
		return;
	reload_now(coord, e->text, e->len);
	coord->edit = NULL;
	edit_free(e);
}

void coord_view_reloaded(struct coord *coord, const char *text, size_t len)
{
	struct coord_edit *e = coord->edit;
	char *copy = malloc(len + 1);

	if (copy) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	if (copy && e) {
		free(e->next);
		e->next = copy;
		e->next_len = len;
		return;
	}
	e = copy ? calloc(1, sizeof(*e)) : NULL;
	if (!e) {
		free(copy);
		reload_now(coord, text, len);
		return;
	}
	*e = (struct coord_edit){ .coord = coord, .text = copy, .len = len, .copy = copy };
	coord->edit = e;
	edit_start(e);
}

void coord_policy_stop(struct coord *coord)
{
	struct coord_telling *t = coord->telling;

	if (!t)
		return;
	policy_world_free(t->old);
	policy_free(t->policy);
	free(t);
	coord->telling = NULL;
}
