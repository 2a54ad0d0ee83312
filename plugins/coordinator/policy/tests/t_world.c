/*
 * A world that goes through random changes says the same as one that is made anew from what is
 * there; and the changes that it tells lead from one to the next.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"

#include "../world.h"

enum { NODES = 40, USERS = 4, ROUNDS = 400 };

static const char *const texts[] = {
	"{}",
	"{\"acls\": []}",
	"{\"acls\": [{\"action\": \"accept\", \"src\": [\"*\"], \"dst\": [\"*:*\"]}]}",
	"{\"grants\": [{\"src\": [\"autogroup:member\"], \"dst\": [\"autogroup:self\"], "
	"\"ip\": [\"*\"]}]}",
	"{\"tagOwners\": {\"tag:a\": [], \"tag:b\": []}, \"groups\": {\"group:g\": "
	"[\"u1@example.com\", \"u2@example.com\"]}, \"grants\": ["
	"{\"src\": [\"group:g\"], \"dst\": [\"tag:a\"], \"ip\": [\"tcp:22\", \"tcp:80\"]},"
	"{\"src\": [\"tag:a\"], \"dst\": [\"tag:b\", \"10.1.0.0/16\"], \"ip\": [\"*\"]},"
	"{\"src\": [\"u3@example.com\"], \"dst\": [\"autogroup:internet\"], \"ip\": [\"*\"]},"
	"{\"src\": [\"tag:b\"], \"dst\": [\"autogroup:member\"], \"app\": "
	"{\"tailscale.com/cap/drive\": [{}]}}]}",
	"{\"tagOwners\": {\"tag:a\": [], \"tag:b\": []}, \"grants\": ["
	"{\"src\": [\"autogroup:member\"], \"dst\": [\"10.1.0.0/16\"], \"ip\": [\"*\"], \"via\": "
	"[\"tag:a\"]}, {\"src\": [\"100.64.0.0/27\"], \"dst\": [\"autogroup:tagged\"], \"ip\": "
	"[\"53\"]}]}",
};
enum { POLICIES = sizeof(texts) / sizeof(texts[0]) };

struct model {				/* what is there */
	struct policy *policy;
	bool present[NODES + 1];
	int64_t user[NODES + 1];
	const char *tag[NODES + 1];
	int route[NODES + 1];		/* 0: none, 1: a network, 2: exit */
};

static uint32_t seed = 1;

static uint32_t pick(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static void put(struct policy_world *world, const struct model *m, int64_t id,
		struct policy_changes *changes)
{
	static const char *const routes[] = { "10.1.0.0/16", "0.0.0.0/0" };
	const char *const tags[] = { m->tag[id] };
	struct warren_prefix prefix = { .bits = 0 };
	struct policy_node node = { .id = id, .user = m->user[id], .tags = tags,
				    .n_tags = m->tag[id] ? 1 : 0 };
	char text[64];

	snprintf(text, sizeof(text), "100.64.0.%d", (int)id);
	assert_int_equal(addr_parse(text, &node.v4), 0);
	snprintf(text, sizeof(text), "fd7a:115c:a1e0::%d", (int)id);
	assert_int_equal(addr_parse(text, &node.v6), 0);
	if (m->route[id]) {
		assert_int_equal(prefix_parse(routes[m->route[id] - 1], &prefix), 0);
		node.announced = node.approved = &prefix;
		node.n_announced = node.n_approved = 1;
	}
	assert_int_equal(policy_world_put(world, &node, changes), 0);
}

static struct policy_world *begin(void)
{
	struct policy_world *world = policy_world_new();

	assert_non_null(world);
	for (int64_t id = 1; id <= USERS; id++) {
		char login[32];
		struct policy_user user = { .id = id,
					    .login = login,
					    .email = login,
					    .name = login };

		snprintf(login, sizeof(login), "u%d@example.com", (int)id);
		assert_int_equal(policy_world_user(world, &user, NULL), 0);
	}
	return world;
}

static struct policy_world *anew(const struct model *m)
{
	struct policy_world *world = begin();

	assert_int_equal(policy_world_set(world, m->policy, NULL), 0);
	for (int64_t id = 1; id <= NODES; id++) {
		if (m->present[id])
			put(world, m, id, NULL);
	}
	return world;
}

static void same_json(json_t *a, json_t *b)
{
	assert_non_null(a);
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
}

static void same(struct policy_world *a, struct policy_world *b, const struct model *m)
{
	for (int64_t v = 1; v <= NODES; v++) {
		if (!m->present[v])
			continue;
		same_json(policy_world_filter(a, v), policy_world_filter(b, v));
		same_json(policy_world_ssh(a, v, "u"), policy_world_ssh(b, v, "u"));
		for (int64_t p = 1; p <= NODES; p++) {
			assert_int_equal(policy_world_sees(a, v, p), policy_world_sees(b, v, p));
			assert_int_equal(policy_world_sees(a, v, p), policy_world_sees(a, p, v));
			if (m->present[p] && policy_world_sees(a, v, p))
				same_json(policy_world_allowed(a, v, p, NULL),
					  policy_world_allowed(b, v, p, NULL));
		}
	}
}

/* What a follower of the changes believes, and the filters and routes it has been given. */
struct follower {
	bool sees[NODES + 1][NODES + 1];
	json_t *filter[NODES + 1];
	json_t *allowed[NODES + 1][NODES + 1];
};

static void learn(struct follower *f, struct policy_world *world, int64_t v, int64_t p)
{
	json_decref(f->allowed[v][p]);
	f->allowed[v][p] = policy_world_allowed(world, v, p, NULL);
}

static void follow(struct follower *f, struct policy_world *world, struct policy_changes *c)
{
	assert_false(c->failed);
	for (uint32_t i = 0; i < c->n_pairs; i++) {
		const struct policy_pair *pair = &c->pairs[i];

		f->sees[pair->viewer][pair->peer] = pair->appears;
		learn(f, world, pair->viewer, pair->peer);
	}
	for (uint32_t i = 0; i < c->n_filters; i++) {
		json_decref(f->filter[c->filters[i]]);
		f->filter[c->filters[i]] = policy_world_filter(world, c->filters[i]);
		for (int64_t p = 1; p <= NODES; p++)	/* whose part has moved */
			learn(f, world, c->filters[i], p);
	}
	for (uint32_t i = 0; i < c->n_routes; i++) {
		for (int64_t v = 1; v <= NODES; v++)
			learn(f, world, v, c->routes[i]);
	}
	policy_changes_clear(c);
}

static void believed(const struct follower *f, struct policy_world *world, const struct model *m)
{
	for (int64_t v = 1; v <= NODES; v++) {
		json_t *filter = policy_world_filter(world, v);

		if (m->present[v] && !json_equal(filter, f->filter[v]))
			fail_msg("filter of %d was not told", (int)v);
		json_decref(filter);
		for (int64_t p = 1; m->present[v] && p <= NODES; p++) {
			json_t *allowed = policy_world_allowed(world, v, p, NULL);

			assert_int_equal(f->sees[v][p], policy_world_sees(world, v, p));
			if (f->sees[v][p] && !json_equal(allowed, f->allowed[v][p]))
				fail_msg("routes of %d for %d were not told", (int)p, (int)v);
			json_decref(allowed);
		}
	}
}

static void follower_free(struct follower *f)
{
	for (int v = 0; v <= NODES; v++) {
		json_decref(f->filter[v]);
		for (int p = 0; p <= NODES; p++)
			json_decref(f->allowed[v][p]);
	}
	free(f);
}

static void change(struct policy_world *world, struct model *m, struct policy_changes *c)
{
	static const char *const tags[] = { NULL, NULL, "tag:a", "tag:b" };
	int64_t id = 1 + pick(NODES);
	struct policy *old = m->policy;
	struct policy_error error;
	const char *text;

	if (pick(20) == 0) {
		text = texts[pick(POLICIES)];
		m->policy = policy_parse(text, strlen(text), NULL, &error);
		assert_non_null(m->policy);
		assert_int_equal(policy_world_set(world, m->policy, c), 0);
		policy_free(old);
	} else if (m->present[id] && pick(3) == 0) {
		m->present[id] = false;
		policy_world_remove(world, id, c);
	} else {
		m->present[id] = true;
		m->tag[id] = tags[pick(4)];
		m->user[id] = 1 + pick(USERS);
		m->route[id] = pick(4) == 0 ? 1 + (int)pick(2) : 0;
		put(world, m, id, c);
	}
}

static void changes_lead_to_the_same(void **state)
{
	struct policy_world *world = begin(), *other;
	struct policy_changes changes = { .failed = false };
	struct follower *follower = calloc(1, sizeof(*follower));
	struct model m = { .policy = policy_default() };

	(void)state;
	assert_non_null(follower);
	assert_int_equal(policy_world_set(world, m.policy, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		change(world, &m, &changes);
		follow(follower, world, &changes);
		believed(follower, world, &m);
		if (i % 10 != 0)
			continue;
		other = anew(&m);
		same(world, other, &m);
		policy_world_free(other);
	}
	policy_world_free(world);
	policy_changes_free(&changes);
	policy_free(m.policy);
	follower_free(follower);
}

struct seen {
	bool sees[NODES + 1][NODES + 1];
};

static void note_pair(void *arg, int64_t viewer, int64_t peer, bool appears)
{
	struct seen *seen = arg;

	assert_int_not_equal(seen->sees[viewer][peer], appears);
	seen->sees[viewer][peer] = appears;
}

/* Another policy in a copy, while the original goes on: what is told of leads to what is there. */
static void copies_take_the_place(void **state)
{
	struct policy_world *world = begin(), *copy, *other;
	struct model m = { .policy = policy_default() };
	struct seen *seen = calloc(1, sizeof(*seen));
	struct policy_error error;
	struct policy *fresh;

	(void)state;
	assert_non_null(seen);
	assert_int_equal(policy_world_set(world, m.policy, NULL), 0);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t serial = policy_world_serial(world);

		change(world, &m, NULL);
		assert_true(serial != policy_world_serial(world));
		if (i % 4 != 0)
			continue;
		for (int v = 1; v <= NODES; v++)
			for (int p = 1; p <= NODES; p++)
				seen->sees[v][p] = policy_world_sees(world, v, p);
		copy = policy_world_copy(world);
		assert_non_null(copy);
		assert_true(policy_world_serial(copy) == policy_world_serial(world));
		fresh = policy_parse(texts[i / 4 % POLICIES], strlen(texts[i / 4 % POLICIES]), NULL,
				     &error);
		assert_int_equal(policy_world_set(copy, fresh, NULL), 0);
		for (uint32_t k = 0, from = 0; k < policy_world_slots(world); k += from == 0)
			policy_world_differs(world, copy, k, &from, note_pair, seen);
		policy_world_free(world);
		policy_free(m.policy);
		world = copy;
		m.policy = fresh;
		other = anew(&m);
		same(world, other, &m);
		policy_world_free(other);
		for (int v = 1; v <= NODES; v++)
			for (int p = 1; p <= NODES; p++)
				assert_int_equal(seen->sees[v][p], policy_world_sees(world, v, p));
	}
	policy_world_free(world);
	policy_free(m.policy);
	free(seen);
}

static void explains(void **state)
{
	struct model m = { .policy = NULL };
	struct policy_world *world = begin();
	struct policy_error error;
	char text[HJ_ERROR];

	(void)state;
	assert_false(policy_world_explain(world, "*", "*", 6, 80, text));
	assert_string_equal(text, "there is no policy: nothing is allowed");
	m.policy = policy_parse(texts[4], strlen(texts[4]), NULL, &error);
	assert_int_equal(policy_world_set(world, m.policy, NULL), 0);
	m.user[1] = 1;
	m.tag[2] = "tag:a";
	put(world, &m, 1, NULL);
	put(world, &m, 2, NULL);
	assert_true(policy_world_explain(world, "u1@example.com", "tag:a", 6, 22, text));
	assert_string_equal(text, "allowed by grants[0], line 1");
	assert_false(policy_world_explain(world, "u1@example.com", "tag:a", 6, 23, text));
	assert_non_null(strstr(text, "lets 100.64.0.1 reach 100.64.0.2, but not on tcp port 23"));
	assert_false(policy_world_explain(world, "tag:a", "u1@example.com", 6, 22, text));
	assert_non_null(strstr(text, "none of the 1 rule with 100.64.0.2 as a source"));
	assert_false(policy_world_explain(world, "u9@example.com", "tag:a", 6, 22, text));
	assert_non_null(strstr(text, "no device of it is there"));
	assert_true(policy_world_may_tag(world, 1, NULL, 0, "tag:a") == false);
	policy_world_free(world);
	policy_free(m.policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_lead_to_the_same),
		cmocka_unit_test(copies_take_the_place),
		cmocka_unit_test(explains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
