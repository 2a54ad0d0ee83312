/*
 * policy_verbs.h - warren policy: eval, check, test, explain, diff (rows: cli/commands.c)
 */
#ifndef WARREN_COORDINATOR_POLICY_VERBS_H
#define WARREN_COORDINATOR_POLICY_VERBS_H

#include <warren/plugin.h>

struct policy;

enum { POLICY_FILE_ARGS = 1, POLICY_EXPLAIN_ARGS = 3 };
extern const struct warren_option policy_file_args[POLICY_FILE_ARGS];
extern const struct warren_option policy_explain_args[POLICY_EXPLAIN_ARGS];

typedef int policy_run_fn(struct warren_ctx *ctx, const struct warren_conf *args,
			  struct warren_reply *reply, struct warren_err *err);
policy_run_fn policy_run_check, policy_run_diff, policy_run_eval, policy_run_explain,
	policy_run_test;

/* The policy in the file that the client opened; NULL with a sentence. */
struct policy *policy_read(struct warren_reply *reply, struct warren_err *err);

#endif
