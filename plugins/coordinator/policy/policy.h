/*
 * policy/policy.h - the policy language of a tailnet (coordinator.md 2)
 *
 * Text in, an immutable tree out, or the first thing that is wrong with it, in the words of the
 * hosted service where they are known. Needs nothing of the tailnet but its own domain. Any thread;
 * a policy may be read by many.
 */
#ifndef WARREN_COORDINATOR_POLICY_H
#define WARREN_COORDINATOR_POLICY_H

#include "ast.h"

struct policy_options {
	const char *const *domains;	/* of the tailnet's users, lower case; for user:*@DOMAIN */
	uint32_t n_domains;
};
/* NULL with @error. @options may be NULL: then every domain is the tailnet's own. */
struct policy *policy_parse(const char *text, size_t len, const struct policy_options *options,
			    struct policy_error *error);
void policy_free(struct policy *policy);	/* NULL is allowed */
/* The policy of a tailnet that has none: members reach their own devices. */
struct policy *policy_default(void);

/* Reads one selector as the source of a rule does; false with @error. */
bool policy_selector(const struct policy *policy, const char *text, struct sel *out,
		     struct policy_error *error);
const struct named *policy_find(const struct names *names, const char *name);

#endif
