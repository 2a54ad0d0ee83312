/*
 * Attributes of devices: what the operator sets and, where attrConfig allows it, the device itself
 * decides who sees whom, at once.
 */
#include "clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store.h"

static const char text[] =
	"{\"tagOwners\": {\"tag:db\": []},"
	" \"postures\": {\"posture:ok\": [\"custom:risk < 1.5\", \"custom:tier == 'prod'\"]},"
	" \"attrConfig\": {\"custom:risk\": {\"type\": \"number\", \"allowSetByNode\": true},"
	"  \"custom:note\": {\"allowSetByNode\": true}, \"custom:tier\": {\"type\": \"string\"}},"
	" \"grants\": [{\"src\": [\"autogroup:member\"], \"dst\": [\"tag:db\"],"
	"  \"ip\": [\"tcp:5432\"], \"srcPosture\": [\"posture:ok\"]}]}";

static struct client a, b;

static int begin(void **state)
{
	int rc = clients_begin(state);

	two_kinds_of_nodes(&a, &b);
	assert_int_equal(coord_view_policy(&coord, text, strlen(text), NULL), 0);
	return rc;
}

static int end(void **state)
{
	client_end(&a);
	client_end(&b);
	return clients_end(state);
}

#define BOTH_JOINED(test) cmocka_unit_test_setup_teardown(test, begin, end)

static const struct tailnet_node *node(void)
{
	return tailnet_node_by_key(coord.tailnet, a.node_key);
}

/* Of the node of @a, asked by @c. */
static void patch(struct client *c, const char *update, int status)
{
	AUTO(str_free) struct str body = STR_INIT;

	str_addf(&body, "{\"Version\":137,\"NodeKey\":\"%s\",\"Update\":%s}",
		 key_text(a.node_key), update);
	json_decref(ask_with(c, "PATCH", "/machine/set-device-attr", str_text(&body), status));
}

static void by_operator(const char *attribute)
{
	act((struct tailnet_act){ .verb = TAILNET_NODE_ATTRIBUTES, .node = node()->id,
				  .strings = &attribute, .n_strings = 1 });
}

static bool sees(void)
{
	const struct tailnet_node *other = tailnet_node_by_key(coord.tailnet, b.node_key);

	return policy_world_sees(coord.world, other->id, node()->id);
}

static void who_sees_whom_follows(void **state)
{
	const char *removed = "PeersRemoved", *changed = "PeersChanged";

	(void)state;
	stream(&b, false);
	assert_non_null(map_with(&b, "DNSConfig"));
	assert_false(sees());
	by_operator("custom:tier=\"prod\"");
	assert_false(sees());			/* risk is not set: the test fails */
	patch(&a, "{\"custom:risk\":0.5}", 200);
	assert_true(sees());
	assert_int_equal(json_array_size(map_with(&b, changed)), 1);
	patch(&a, "{\"custom:risk\":1.5}", 200);
	assert_int_equal(json_array_size(map_with(&b, removed)), 1);
	patch(&a, "{\"custom:risk\":-3}", 200);
	assert_int_equal(json_array_size(map_with(&b, changed)), 1);
	by_operator("custom:tier=\"test\"");
	assert_int_equal(json_array_size(map_with(&b, removed)), 1);
	by_operator("custom:tier=\"prod\"");
	assert_true(sees());
	patch(&a, "{\"custom:risk\":null}", 200);
	assert_false(sees());
}

static void only_what_attr_config_allows(void **state)
{
	(void)state;
	patch(&a, "{\"custom:tier\":\"prod\"}", 403);
	patch(&a, "{\"custom:other\":1}", 403);
	patch(&a, "{\"node:os\":\"linux\"}", 403);
	patch(&a, "{\"custom:risk\":\"0\"}", 403);	/* of another type */
	patch(&a, "{\"custom:risk\":0,\"custom:tier\":\"prod\"}", 403);
	assert_null(node()->attributes);
	by_operator("custom:tier=\"prod\"");
	patch(&a, "{\"custom:tier\":null}", 403);
	assert_int_equal(node()->attributes->count, 1);
	/* A policy without attrConfig: nothing. */
	assert_int_equal(coord_view_policy(&coord, clients_policy, strlen(clients_policy), NULL),
			 0);
	patch(&a, "{\"custom:risk\":0}", 403);
}

static void what_is_no_attribute(void **state)
{
	static const char *const bad[] = {
		"7", "[]", "null", "{\"custom:note\":[]}", "{\"custom:note\":{}}",
		"{\"custom:note\":\"a\\\"b\"}", "{\"custom:note\":\"a\\u0000b\"}",
		"{\"custom:note\":\"\\u00e9\"}", "{\"custom:risk\":1e20}",
		"{\"custom:risk\":1234567890123456}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		patch(&a, bad[i], 400);
	patch(&b, "{\"custom:risk\":0}", 404);
	json_decref(ask(&a, "/machine/set-device-attr", "{}", 405));
	assert_null(node()->attributes);
	patch(&a, "{\"custom:risk\":0.25,\"custom:note\":\"two words\"}", 200);
	assert_int_equal(node()->attributes->count, 2);
	assert_string_equal(node()->attributes->at[0], "custom:note=\"two words\"");
	assert_string_equal(node()->attributes->at[1], "custom:risk=0.25");
}

static int row(const struct store_audit *audit, void *arg)
{
	str_addf(arg, "%s %s %s %s %s>%s;", audit->actor, audit->origin, audit->action,
		 audit->name, audit->before, audit->after);
	return 0;
}

static void changes_are_in_the_log_and_counted(void **state)
{
	AUTO(str_free) struct str rows = STR_INIT;
	char why[STORE_WHY];

	(void)state;
	patch(&a, "{\"custom:note\":true}", 200);
	assert_int_equal(store_audit_read(tailnet_store(coord.tailnet), 0, 1, row, &rows, why), 0);
	assert_string_equal(str_text(&rows), "node client node.attributes laptop "
			    "{\"attributes\":[]}>{\"attributes\":[\"custom:note=true\"]};");
	coord.reports = COORD_REPORTS;
	coord.reports_from = warren_now();
	patch(&a, "{\"custom:note\":false}", 429);
	coord.reports_from = warren_now() - 60000000;
	patch(&a, "{\"custom:note\":false}", 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_JOINED(who_sees_whom_follows),
		BOTH_JOINED(only_what_attr_config_allows),
		BOTH_JOINED(what_is_no_attribute),
		BOTH_JOINED(changes_are_in_the_log_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
