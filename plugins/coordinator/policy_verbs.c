/*
 * What an operator asks of a policy: whether it is one, what its tests say, which rule lets
 * somebody reach something. What another one would open and close: policy_diff.c.
 */
#include "policy_verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/str.h"
#include "server/server.h"

enum { FILE_MAX = 64 << 20, EXIT_REFUSED = 1 };

/* ---- input and output ---- */

/* The file that the client opened, with a NUL behind it; NULL with a sentence. */
static char *read_operand(struct warren_reply *reply, size_t max, size_t *len,
			  struct warren_err *err)
{
	int fd = warren_reply_take_fd(reply, "file");
	char *text = malloc(max + 1);
	ssize_t n = 1;

	*len = 0;
	while (text && fd >= 0 && n > 0 && *len < max) {
		n = read(fd, text + *len, max - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (text && fd >= 0 && n == 0) {
		text[*len] = '\0';
		return text;
	}
	free(text);
	warren_fail(err, NULL, n > 0 ? "the file is longer than %zu bytes" :
		    "the file cannot be read (%zu bytes at most)", max);
	return NULL;
}

static void reply_json(struct warren_reply *reply, const char *key, const json_t *value)
{
	const char *name;
	json_t *item;
	size_t i;

	if (json_is_object(value) || json_is_array(value)) {
		warren_reply_open(reply, key, json_is_object(value) ? '{' : '[');
		json_object_foreach((json_t *)(uintptr_t)value, name, item)
			reply_json(reply, name, item);
		json_array_foreach(value, i, item)
			reply_json(reply, NULL, item);
		warren_reply_close(reply);
	} else if (json_is_string(value)) {
		warren_reply_str(reply, key, "%s", json_string_value(value));
	} else if (json_is_integer(value)) {
		warren_reply_int(reply, key, json_integer_value(value));
	} else if (json_is_boolean(value)) {
		warren_reply_bool(reply, key, json_is_true(value));
	} else if (json_is_real(value)) {
		warren_reply_str(reply, key, "%.17g", json_real_value(value));
	} else {
		warren_reply_null(reply, key);
	}
}

const struct warren_option policy_file_args[POLICY_FILE_ARGS] = {
	{ .key = "file", .type = WARREN_FD_IN, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The file; - is standard input." },
};

/* ---- eval ---- */

int policy_run_eval(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	size_t len;
	char *text = read_operand(reply, FILE_MAX, &len, err), *out;
	json_t *one = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL, *result;

	(void)ctx;
	(void)args;
	free(text);
	if (!text)
		return -EINVAL;
	result = policy_eval(one, err);
	json_decref(one);
	if (!result)
		return -EINVAL;
	if (warren_reply_json(reply)) {
		const char *key;
		json_t *value;

		json_object_foreach(result, key, value)
			reply_json(reply, key, value);
	} else {
		out = json_dumps(result, JSON_COMPACT | JSON_SORT_KEYS);
		warren_reply_text(reply, "%s", out ? out : "");
		free(out);
	}
	json_decref(result);
	return 0;
}

/* ---- check and test ---- */

struct policy *policy_read(struct warren_reply *reply, struct warren_err *err)
{
	struct policy_error error = { .line = 0 };
	struct policy *policy;
	size_t len;
	char *text = read_operand(reply, HJ_SIZE, &len, err);

	if (!text)
		return NULL;
	policy = policy_parse(text, len, NULL, &error);
	free(text);
	if (!policy && error.line)
		warren_fail(err, NULL, "%u:%u: %s", error.line, error.column, error.text);
	else if (!policy)
		warren_fail(err, NULL, "%s", error.text);
	return policy;
}

int policy_run_check(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err)
{
	struct policy *policy = policy_read(reply, err);

	(void)ctx;
	(void)args;
	if (!policy)
		return -EINVAL;
	warren_reply_int(reply, "rules", policy->n_grants);
	warren_reply_int(reply, "ssh_rules", policy->n_ssh);
	warren_reply_int(reply, "tests", policy->n_tests + policy->n_ssh_tests);
	warren_reply_text(reply, "The policy is well formed: rules for traffic: %u, for SSH: %u; "
			  "tests: %u%s", policy->n_grants, policy->n_ssh,
			  policy->n_tests + policy->n_ssh_tests, policy->n_tests +
			  policy->n_ssh_tests ? " (`warren policy test` runs them)" : "");
	policy_free(policy);
	return 0;
}

int policy_run_test(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct coord *coord = warren_self(ctx);
	struct policy *policy = policy_read(reply, err);
	struct policy_error error = { .line = 0 };
	struct policy_world *world;
	bool ok;

	(void)args;
	if (!policy)
		return -EINVAL;
	world = policy_world_copy(coord->world);
	if (!world || policy_world_set(world, policy, NULL)) {
		policy_world_free(world);
		policy_free(policy);
		return -ENOMEM;
	}
	ok = policy_world_tests(world, &error);
	policy_world_free(world);
	warren_reply_bool(reply, "passed", ok);
	warren_reply_int(reply, "tests", policy->n_tests + policy->n_ssh_tests);
	if (ok)
		warren_reply_text(reply, "All of the %u tests pass.",
				  policy->n_tests + policy->n_ssh_tests);
	else
		warren_fail(err, NULL, "%u:%u: this test does not pass", error.line, error.column);
	policy_free(policy);
	return ok ? 0 : -EINVAL;
}

/* ---- explain ---- */

static const char *const protocols[] = { "tcp", "udp", "icmp", NULL };
const struct warren_option policy_explain_args[POLICY_EXPLAIN_ARGS] = {
	{ .key = "src", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .max = 255, .brief = "Who: a user, group, tag, node or address.",
	  .example = "alice@example.com" },
	{ .key = "dst", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .max = 255, .brief = "What, with the port behind a colon.", .example = "tag:db:5432" },
	{ .key = "proto", .type = WARREN_ENUM, .values = protocols, .def = "tcp",
	  .brief = "The protocol." },
};

/* The address of a node of that name; a user's login as the policy writes it; else the text. */
static const char *node_or(struct coord *coord, const char *text, char out[TAILNET_TEXT + 2])
{
	const struct tailnet_node *node = tailnet_node_by_name(coord->tailnet, text);

	if (node)
		return addr_format(node->v4.family ? &node->v4 : &node->v6, out);
	if (strchr(text, '@') || !tailnet_user_by_login(coord->tailnet, text))
		return text;
	snprintf(out, TAILNET_TEXT + 2, "%s@", text);
	return out;
}

int policy_run_explain(struct warren_ctx *ctx, const struct warren_conf *args,
		       struct warren_reply *reply, struct warren_err *err)
{
	static const int numbers[] = { 6, 17, 1 };
	struct coord *coord = warren_self(ctx);
	char dst[256], why[HJ_ERROR], a[TAILNET_TEXT + 2], b[TAILNET_TEXT + 2], *colon;
	uint16_t port = 0;
	bool allowed;

	str_copy(dst, sizeof(dst), warren_conf_str(args, "dst"));
	colon = strrchr(dst, ':');
	if (warren_conf_enum(args, "proto") != 2) {
		if (!colon || port_parse(colon + 1, &port))
			return warren_fail(err, NULL, "\"%s\" has no port: expected as in "
					   "tag:db:5432", dst);
		*colon = '\0';
	}
	if (dst[0] == '[' && dst[strlen(dst) - 1] == ']') {
		dst[strlen(dst) - 1] = '\0';
		memmove(dst, dst + 1, strlen(dst));
	}
	allowed = policy_world_explain(coord->world,
				       node_or(coord, warren_conf_str(args, "src"), a),
				       node_or(coord, dst, b),
				       numbers[warren_conf_enum(args, "proto")], port, why);
	warren_reply_bool(reply, "allowed", allowed);
	warren_reply_str(reply, "why", "%s", why);
	warren_reply_text(reply, "%s", why);
	if (allowed)
		return 0;
	warren_reply_end(reply, EXIT_REFUSED, NULL);	/* no error, but no either */
	return WARREN_PENDING;
}
