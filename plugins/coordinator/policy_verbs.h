/*
 * policy_verbs.h - warren policy: eval, check, test, explain, diff
 */
#ifndef WARREN_COORDINATOR_POLICY_VERBS_H
#define WARREN_COORDINATOR_POLICY_VERBS_H

#include <warren/plugin.h>

enum { POLICY_VERBS = 5 };
extern const struct warren_command policy_verbs[POLICY_VERBS];

#endif
