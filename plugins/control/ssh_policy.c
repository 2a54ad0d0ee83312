/*
 * SSHPolicy, section 6.12. The first rule that matches decides, so a rule that cannot be read must
 * not be left out: it may be the one that rejects. The list ends before it.
 */
#include <string.h>

#include "parts.h"

static const struct warren_ssh_principal *parse_principals(struct ctl_parse *p, const json_t *o,
							    uint32_t *n)
{
	const json_t *list = ctl_get_array(p, o, "principals", n);
	struct warren_ssh_principal *made = ctl_parse_alloc(p, *n, sizeof(*made));

	for (uint32_t i = 0; made && i < *n; i++) {
		const json_t *principal = json_array_get(list, i);

		made[i].node = ctl_get_str(p, principal, "node", 255);
		made[i].user_login = ctl_get_str(p, principal, "userLogin", CTL_TEXT_MAX);
		made[i].node_ip = ctl_get_addr(p, principal, "nodeIP");
		made[i].any = ctl_get_bool(p, principal, "any");
	}
	return made;
}

static const struct warren_ssh_user *parse_users(struct ctl_parse *p, const json_t *o, uint32_t *n)
{
	json_t *map = (json_t *)(uintptr_t)ctl_get_object(p, o, "sshUsers"), *local;
	struct warren_ssh_user *made;
	const char *requested;

	if (json_object_size(map) > p->list_max) {
		ctl_parse_fail(p, "sshUsers: more than %u members", p->list_max);
		return NULL;
	}
	made = map ? ctl_parse_alloc(p, json_object_size(map), sizeof(*made)) : NULL;
	if (!made)
		return NULL;
	json_object_foreach(map, requested, local) {
		const char *name = json_string_value(local);

		if (!name) {
			ctl_parse_fail(p, "sshUsers: a value is not a string");
			return NULL;
		}
		made[*n].requested = arena_text(p->arena, requested, strlen(requested));
		made[*n].local = arena_text(p->arena, name, strlen(name));
		if (!made[*n].requested || !made[*n].local)
			ctl_parse_oom(p);
		(*n)++;
	}
	return made;
}

static void parse_on_failure(struct ctl_parse *p, const json_t *o, struct warren_ssh_action *action)
{
	const json_t *failure = ctl_get_object(p, o, "onRecordingFailure");

	action->recording_reject_message = ctl_get_str(p, failure, "RejectSessionWithMessage",
						       CTL_TEXT_MAX);
	action->recording_terminate_message = ctl_get_str(p, failure,
							  "TerminateSessionWithMessage",
							  CTL_TEXT_MAX);
	action->recording_notify_url = ctl_get_str(p, failure, "NotifyURL", 2048);
}

static const struct warren_ssh_action *parse_action(struct ctl_parse *p, const json_t *o)
{
	struct warren_ssh_action *action = ctl_parse_alloc(p, 1, sizeof(*action));

	if (!action)
		return NULL;
	action->message = ctl_get_str(p, o, "message", 16 << 10);
	action->hold_and_delegate = ctl_get_str(p, o, "holdAndDelegate", 2048);
	action->reject = ctl_get_bool(p, o, "reject");
	action->accept = ctl_get_bool(p, o, "accept");
	action->agent_forwarding = ctl_get_bool(p, o, "allowAgentForwarding");
	action->local_forwarding = ctl_get_bool(p, o, "allowLocalPortForwarding");
	action->remote_forwarding = ctl_get_bool(p, o, "allowRemotePortForwarding");
	action->session_duration = ctl_get_int(p, o, "sessionDuration", 0, INT64_MAX) / 1000;
	/* Less than a microsecond is not "no limit". */
	if (!action->session_duration && ctl_get_int(p, o, "sessionDuration", 0, INT64_MAX))
		action->session_duration = 1;
	action->recorders = ctl_get_addrports(p, o, "recorders", &action->n_recorders);
	parse_on_failure(p, o, action);
	return action;
}

/* False: the rule has no action, which makes it none. */
static bool parse_rule(struct ctl_parse *p, const json_t *o, struct warren_ssh_rule *rule)
{
	const json_t *action;
	int64_t expires;

	if (!json_is_object(o))
		return ctl_parse_fail(p, "not an object");
	action = ctl_get_object(p, o, "action");
	if (!action)
		return false;
	expires = ctl_get_time(p, o, "ruleExpires");
	rule->expires = expires / 1000000000;
	rule->principals = parse_principals(p, o, &rule->n_principals);
	rule->users = parse_users(p, o, &rule->n_users);
	rule->accept_env = ctl_get_strs(p, o, "acceptEnv", &rule->n_accept_env);
	rule->action = parse_action(p, action);
	return true;
}

struct ctl_ssh *ctl_ssh_new(struct ctl_parse *p, const json_t *o, const char *text, size_t len)
{
	struct ctl_ssh *ssh = ctl_part_new(sizeof(*ssh));
	struct warren_ssh_rule *made;
	const json_t *list;
	uint32_t n = 0;

	if (!ssh) {
		ctl_parse_oom(p);
		return NULL;
	}
	p->arena = &ssh->part.arena;
	if (!json_is_object(o))
		ctl_parse_fail(p, "not an object");
	list = ctl_get_array(p, o, "rules", &n);
	made = ctl_parse_alloc(p, n, sizeof(*made));
	for (uint32_t i = 0; made && i < n; i++) {
		struct ctl_parse element = ctl_parse_element(p);
		struct warren_ssh_rule rule = { 0 };
		bool counts = parse_rule(&element, json_array_get(list, i), &rule);

		if (!ctl_parse_merge(p, &element, "SSH rule (this and all after it are ignored)",
				     i))
			break;
		if (counts)
			made[ssh->n_rules++] = rule;
	}
	ssh->rules = made;
	ssh->json = p->failed ? NULL : arena_text(p->arena, text, len);
	if (!ssh->json) {
		ctl_parse_oom(p);
		ctl_part_unref(ssh);
		return NULL;
	}
	return ssh;
}
