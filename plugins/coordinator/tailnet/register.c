/*
 * Requests of machines to be a node.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"
#include "impl.h"
#include "keytext.h"
#include "rules.h"

static bool copy_request(struct tailnet_request *request, const struct tailnet_register *from)
{
	struct tailnet_register *reg = &request->reg;

	*reg = *from;
	if (reg->n_routes > TAILNET_ROUTES)
		reg->n_routes = TAILNET_ROUTES;
	if (reg->hostinfo && strlen(reg->hostinfo) > TAILNET_HOSTINFO)
		reg->hostinfo = NULL;
	return request_text(request, &reg->auth_key) && request_text(request, &reg->code) &&
	       request_text(request, &reg->hostname) && request_text(request, &reg->hostinfo) &&
	       request_texts(request, &reg->tags, reg->n_tags) &&
	       request_prefixes(request, &reg->routes, reg->n_routes);
}

struct tailnet_request *tailnet_register(struct tailnet *tn,
					 const struct tailnet_register *reg,
					 tailnet_registered_fn *done, void *arg)
{
	struct tailnet_request *request = request_new(tn, REQUEST_REGISTER);

	if (!request)
		return NULL;
	request->registered = done;
	request->arg = arg;
	if (!copy_request(request, reg)) {
		request_free(tn, request);
		return NULL;
	}
	request_run(tn, request);
	tell_flush(tn);
	return request;
}

/* The node as it is; only what the client says about itself is taken over. @node is gone then. */
static int answer_current(struct tailnet *tn, struct tailnet_request *request,
			  const struct tailnet_node *node)
{
	request->as = TAILNET_REGISTERED;
	request->node = node->id;
	soft_registered(tn, node->id, &request->reg);
	return 0;
}

/* How a request came, for the audit log. */
enum { ORIGIN = 16 + ADDR_TEXT };
static const char *origin_of(const struct tailnet_register *reg, char out[ORIGIN])
{
	char addr[ADDR_TEXT];

	if (reg->from.family)
		snprintf(out, ORIGIN, "register from %s", addr_format(&reg->from, addr));
	else
		str_copy(out, ORIGIN, "register");
	return out;
}

static int log_out(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		   const struct tailnet_node *node)
{
	char origin[ORIGIN];
	const struct tailnet_act who = {
		.actor = "node", .origin = origin_of(&request->reg, origin),
	};
	struct tailnet_node *now;
	int rc;

	request->as = TAILNET_LOGGED_OUT;
	if (node->ephemeral) {
		rc = drop_node(tn, ch, node);
		if (!rc)
			audit_node(ch, tn, &who, "node.logout", node, NULL);
		return rc;
	}
	rc = hold_node(tn, ch, node);
	if (rc)
		return rc;
	now = node_copy(node);
	if (!now)
		return -ENOMEM;
	now->expiry = now_wall(tn);	/* not what the client sent, which is 1970 */
	change_put_node(ch, now);
	audit_node(ch, tn, &who, "node.logout", node, now);
	tailnet_node_unref(now);
	return 0;
}

/* Tags that are asked for beside a key: those on the key, or none. */
static int check_asked(const struct tailnet *tn, struct tailnet_request *request,
		       const struct tailnet_key *key)
{
	const struct tailnet_register *reg = &request->reg;
	const struct tailnet_machine *machine = state_machine(tn, reg->machine_key);
	struct str bad = STR_INIT;

	/* The tags of a node that is there are the operator's business. */
	if (machine && machine->n_nodes)
		return 0;
	for (uint32_t i = 0; i < reg->n_tags; i++) {
		if (!tailnet_strings_have(key->tags, reg->tags[i]))
			str_addf(&bad, "%s%.64s", bad.len ? " " : "", reg->tags[i]);
	}
	if (bad.len)
		request_fail(request, -EACCES, "requested tags [%s] are invalid or not permitted",
			     str_text(&bad));
	str_free(&bad);
	return request->result;
}

static int by_key(struct tailnet *tn, struct tailnet_request *request, struct change *ch,
		  const struct tailnet_node *node)
{
	const struct tailnet_register *reg = &request->reg;
	char origin[ORIGIN];
	struct login login = { .reg = reg, .origin = origin_of(reg, origin) };
	const struct tailnet_key *key;
	const char *wrong;
	uint8_t hash[32];
	char actor[64];
	int rc;

	keytext_hash(reg->auth_key, hash);
	key = hash_get(&tn->by_hash, hash, sizeof(hash));
	if (node && rules_returns(node, key, now_wall(tn)))
		return answer_current(tn, request, node);
	if (key) {
		rc = key->reusable ? change_shared(tn, ch, ON_KEY, &key->id, sizeof(key->id)) :
				     change_alone(tn, ch, ON_KEY, &key->id, sizeof(key->id));
		if (!rc && key->user)
			rc = change_shared(tn, ch, ON_USER, &key->user, sizeof(key->user));
		if (rc)
			return rc;
	}
	wrong = rules_key(key, now_wall(tn));
	if (wrong)
		return request_fail(request, -EACCES, "%s", wrong);
	rc = check_asked(tn, request, key);
	if (rc)
		return rc;
	snprintf(actor, sizeof(actor), "key %s", key->prefix);
	login.key = key;
	login.user = tailnet_user(tn, key->user);
	login.tags = key->tags;
	login.authorized = key->preauthorized;
	login.actor = actor;
	return login_apply(tn, request, ch, &login);
}

int decide_register(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_register *reg = &request->reg;
	const struct tailnet_node *node = tailnet_node_by_key(tn, reg->node_key);
	struct rules_request facts = {
		.known = node, .has_expiry = reg->has_expiry,
		.expiry_past = reg->expiry <= now_wall(tn),
		.has_followup = reg->code || reg->code_broken, .has_auth_key = reg->auth_key,
	};
	int rc = change_alone(tn, ch, ON_MACHINE, reg->machine_key, TAILNET_KEY_SIZE);

	if (!rc)
		rc = change_alone(tn, ch, ON_NODE_KEY, reg->node_key, TAILNET_KEY_SIZE);
	if (rc)
		return rc;
	if (node) {
		facts.same_machine = memcmp(node->machine_key, reg->machine_key,
					    TAILNET_KEY_SIZE) == 0;
		facts.node_expired = node->expiry && node->expiry <= now_wall(tn);
	}
	if (node && !facts.same_machine)
		return request_fail(request, -EACCES, "node exists with a different machine key");
	switch (rules_step(&facts)) {
	case STEP_WRONG_MACHINE:
		break;
	case STEP_LOG_OUT:
		return log_out(tn, request, ch, node);
	case STEP_EXPIRED:
		request->as = TAILNET_KEY_EXPIRED;
		request->node = node->id;
		return 0;
	case STEP_CURRENT:
		return answer_current(tn, request, node);
	case STEP_NO_EXTENSION:
		return request_fail(request, -EACCES, "extending key is not allowed");
	case STEP_FOLLOW:
		if (reg->code_broken)
			return request_fail(request, -EINVAL, "invalid registration ID");
		return pending_follow(tn, request);
	case STEP_AUTH_KEY:
		return by_key(tn, request, ch, node);
	case STEP_INTERACTIVE:
		return pending_open(tn, request);
	}
	return -EINVAL;
}
