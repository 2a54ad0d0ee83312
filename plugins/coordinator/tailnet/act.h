/*
 * tailnet/act.h - the deciders of administrative acts; return values as decide_act()
 */
#ifndef WARREN_COORDINATOR_ACT_H
#define WARREN_COORDINATOR_ACT_H

#include "impl.h"

typedef int act_fn(struct tailnet *tn, struct tailnet_request *request, struct change *ch);

act_fn act_user_create, act_user_login, act_user_rename, act_user_role, act_user_pin,
       act_user_delete, act_machine_pin;
act_fn act_node_rename, act_node_expiry, act_node_tag, act_node_routes, act_node_approve,
       act_node_move, act_node_address, act_node_attributes, act_node_logout, act_node_delete;
act_fn act_key_create, act_key_revoke, act_key_delete, act_login_approve, act_login_reject,
       act_note;

/* The user of the act, reserved; NULL: *@rc says why. @shared: it only must stay as it is. */
const struct tailnet_user *act_user(struct tailnet *tn, struct tailnet_request *request,
				    struct change *ch, bool shared, int *rc);
/* The node of the act, reserved, and a copy to be changed; NULL: *@rc says why. */
struct tailnet_node *act_edit(struct tailnet *tn, struct tailnet_request *request,
			      struct change *ch, const struct tailnet_node **before, int *rc);
/* Stores @now, which is taken, unless @rc says that something went wrong or nothing differs. */
int act_put_take(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		 const struct tailnet_node *before, struct tailnet_node *now, int rc);
/* The tags of the act are well-formed and in the policy. */
int act_check_tags(const struct tailnet *tn, struct tailnet_request *request);

#endif
