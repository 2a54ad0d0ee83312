/*
 * node.h - a node in a test: an engine with the real `identity` and `control`, a state folder, and
 * a coordinator of our own (coordinator.h)
 */
#ifndef CTL_TESTS_NODE_H
#define CTL_TESTS_NODE_H

#include "../session.h"
#include "../session_impl.h"
#include "coordinator.h"

struct wcore_config;
struct wcore_engine;

struct node {
	char folder[64];
	struct wcore_engine *engine;
	const struct warren_plugin *third;	/* a plugin beside these two, or NULL */
	struct warren_ctx *ctx;		/* of `control`; NULL: it does not run */
	struct ctl_session *session;
	struct coord coord;
	char map[4096];
};

/* Around a test; *@state is the node, which runs nothing yet. All of these fail the test. */
int node_setup(void **state);
int node_teardown(void **state);

/* `control: {url: "http://ctl.example"@control}`, with what it needs. */
struct wcore_config *node_config(const char *control);
void node_open(struct node *node);	/* the engine, without a configuration */
void node_start(struct node *node, const char *control);	/* with that one */
void node_find(struct node *node);	/* fills ctx and session after another one */
void node_stop(struct node *node);

void node_turn(struct node *node);
enum ctl_state node_state(struct node *node);
void node_key(struct node *node, char out[WARREN_KEYTEXT_MAX]);
/* The error is printed where there is a session. */
void node_complain(struct node *node);

#define WAIT(node, cond) do {								\
	for (int wait_ = 0; !(cond) && wait_ < 10000; wait_++)				\
		node_turn(node);							\
	if (!(cond))									\
		node_complain(node);							\
	assert_true(cond);								\
} while (0)

#endif
