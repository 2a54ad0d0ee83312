/*
 * policy/posture.h - which devices may be a source (coordinator.md 2.9)
 */
#ifndef WARREN_COORDINATOR_POSTURE_H
#define WARREN_COORDINATOR_POSTURE_H

#include "policy.h"

/*
 * @attributes: an object of texts, numbers and booleans ("node:os": "linux"), or NULL. With none of
 * its own the policy's default postures hold for a rule.
 */
bool posture_allows(const struct policy *policy, const struct postures *postures,
		    const json_t *attributes);
/* Version order: below, at or above 0. */
int posture_compare(const char *a, const char *b);

/*
 * Whether a node may set @name, "custom:tier", for itself: attrConfig says so, and no other type
 * than that of @value, NULL where it is taken away.
 */
bool posture_by_node(const struct policy *policy, const char *name, const json_t *value);

#endif
