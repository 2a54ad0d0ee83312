/*
 * A node in a test.
 */
#include "node.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"

extern const struct warren_plugin warren_plugin_control, warren_plugin_identity;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

struct wcore_config *node_config(const char *control)
{
	AUTO(str_free) struct str text = STR_INIT;
	struct warren_err err = ERR_INIT;
	struct wcore_conf_source source = { .name = "test.yaml", .fd = -1 };
	struct wcore_config *config;

	str_addf(&text, "node: {hostname: gw1}\nidentity: {}\n"
		 "control: {url: \"http://ctl.example\"%s}\n", control);
	source.bytes = str_text(&text);
	source.len = text.len;
	config = wcore_config_parse(&source, 1, &err);
	if (!config)
		print_error("%s\n", err_first(&err));
	assert_non_null(config);
	err_free(&err);
	return config;
}

static const struct wcore_plugin *const *plugins(const struct warren_plugin *more)
{
	static char path[] = "test";
	static struct wcore_plugin identity, control, third;
	static const struct wcore_plugin *list[] = { &identity, &control, NULL, NULL };

	identity.desc = warren_plugin_identity;
	control.desc = warren_plugin_control;
	identity.path = control.path = third.path = path;
	if (more)
		third.desc = *more;
	list[2] = more ? &third : NULL;
	return list;
}

void node_open(struct node *node)
{
	struct wcore_engine_options options = {
		.extra = plugins(node->third),
		.extra_only = true,	/* `control` switches others on, which need a monitor */
		.state_dir = open(node->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		.state_shown = node->folder,
	};

	node->engine = wcore_engine_new(&options, NULL);
	assert_non_null(node->engine);
	coord_init(&node->coord, node->engine);
}

void node_find(struct node *node)
{
	const struct wcore_instance *p = wcore_engine_plugins(node->engine);

	node->ctx = NULL;
	for (; p; p = p->next) {
		if (!strcmp(p->name, "control") && p->state == WCORE_PLUGIN_UP)
			node->ctx = p->ctx;
	}
	node->session = node->ctx ? ctl_session_of(node->ctx) : NULL;
}

void node_start(struct node *node, const char *control)
{
	char *text = NULL;
	int result;

	node_open(node);
	result = wcore_engine_apply_wait(node->engine, node_config(control), &text);
	if (result)
		print_error("%s\n", text);
	assert_int_equal(result, 0);
	free(text);
	node_find(node);
	assert_non_null(node->ctx);
}

void node_stop(struct node *node)
{
	char *text = NULL;

	coord_drop(&node->coord);
	wcore_engine_stop_wait(node->engine, &text);
	free(text);
	wcore_engine_free(node->engine);
	node->engine = NULL;
	node->ctx = NULL;
	node->session = NULL;
}

int node_setup(void **state)
{
	struct node *node = calloc(1, sizeof(*node));

	assert_true(node && sodium_init() >= 0);
	snprintf(node->folder, sizeof(node->folder), "/tmp/warren-control-test-XXXXXX");
	assert_non_null(mkdtemp(node->folder));
	*state = node;
	return 0;
}

int node_teardown(void **state)
{
	struct node *node = *state;

	if (node->engine)
		node_stop(node);
	coord_fini(&node->coord);
	nftw(node->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(node);
	return 0;
}

void node_turn(struct node *node)
{
	wcore_lane_turn(wcore_engine_main(node->engine), false);
	usleep(500);
}

enum ctl_state node_state(struct node *node)
{
	struct ctl_session_info info;

	ctl_session_info(node->session, &info);
	return info.state;
}

void node_key(struct node *node, char out[WARREN_KEYTEXT_MAX])
{
	uint8_t key[32];

	ctl_session_node_key(node->session, key);
	warren_keytext_format(WARREN_KEYTEXT_NODE, key, out);
}

void node_complain(struct node *node)
{
	if (node->session)
		print_error("state %s, error \"%s\"\n", ctl_state_name(node->session->state),
			    node->session->error);
}
