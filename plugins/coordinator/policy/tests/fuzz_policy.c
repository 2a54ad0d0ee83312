/*
 * Fuzz target: a policy file. What is accepted can be put in force over a small tailnet, and its
 * text is kept byte for byte; what is refused has a sentence.
 */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

#include "../world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void put(struct policy_world *world, int64_t id, int64_t user, const char *tag,
		const char *v4, const char *route)
{
	const char *const tags[] = { tag };
	struct warren_prefix prefix = { .bits = 0 };
	struct policy_node node = { .id = id, .user = user, .tags = tags, .n_tags = tag ? 1 : 0 };

	require(addr_parse(v4, &node.v4) == 0);
	if (route) {
		require(prefix_parse(route, &prefix) == 0);
		node.announced = node.approved = &prefix;
		node.n_announced = node.n_approved = 1;
	}
	require(policy_world_put(world, &node, NULL) == 0);
}

static void use(struct policy *policy)
{
	struct policy_world *world = policy_world_new();
	const struct policy_user user = { .id = 1, .login = "a@example.com", .name = "a" };
	struct policy_error error;

	require(world && policy_world_user(world, &user, NULL) == 0);
	put(world, 1, 1, NULL, "100.64.0.1", NULL);
	put(world, 2, 0, "tag:a", "100.64.0.2", "10.0.0.0/8");
	put(world, 3, 0, "tag:a", "100.64.0.3", "0.0.0.0/0");
	require(policy_world_set(world, policy, NULL) == 0);
	for (int64_t id = 1; id <= 3; id++) {
		json_t *filter = policy_world_filter(world, id);
		json_t *ssh = policy_world_ssh(world, id, "https://example.com");
		json_t *caps = policy_world_caps(world, id);
		json_t *allowed = policy_world_allowed(world, 1, id, NULL);

		require(json_is_array(filter) && json_is_array(ssh) && json_is_object(caps) &&
			json_is_array(allowed));
		json_decref(filter);
		json_decref(ssh);
		json_decref(caps);
		json_decref(allowed);
	}
	(void)policy_world_tests(world, &error);
	policy_world_free(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_error error;
	struct policy *policy = policy_parse((const char *)data, size, NULL, &error);

	if (!policy) {
		require(error.text[0] != '\0');
		return 0;
	}
	require(policy->len == size && memcmp(policy->text, data, size) == 0);
	use(policy);
	policy_free(policy);
	return 0;
}
