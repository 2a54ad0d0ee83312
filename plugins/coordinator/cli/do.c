/*
 * What all verbs share: what an operand means, confirmation, an act and its answer.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "base/util.h"

/*
 * ---- Operands ----
 */

static bool is_id(const char *text, int64_t *id)
{
	return text[0] && strspn(text, "0123456789") == strlen(text) &&
	       units_parse_int(text, id) == 0;
}

/* Logins of providers may be the same at two of them: then only the id will do. */
static const struct tailnet_user *user_of_login(struct tailnet *tn, const char *login,
						struct warren_err *err)
{
	uint32_t n, found = 0;
	const struct tailnet_user *const *users = tailnet_users(tn, &n), *user = NULL;
	struct str_guess guess = { .word = login };

	for (uint32_t i = 0; i < n; i++) {
		str_guess_try(&guess, users[i]->login);
		if (strcmp(users[i]->login, login) == 0) {
			user = users[i];
			found++;
		}
	}
	if (found == 1)
		return user;
	if (found)
		warren_fail(err, NULL, "%u users are called %s: say the id, which `warren user "
			    "list` shows", found, login);
	else if (guess.best)
		warren_fail(err, NULL, "there is no user \"%s\": did you mean %s?", login,
			    guess.best);
	else
		warren_fail(err, NULL, "there is no user \"%s\": `warren user list` shows all",
			    login);
	return NULL;
}

const struct tailnet_user *coord_find_user(struct tailnet *tn, const char *text,
					   struct warren_err *err)
{
	const struct tailnet_user *user;
	int64_t id;

	if (!is_id(text, &id))
		return user_of_login(tn, text, err);
	user = tailnet_user(tn, id);
	if (!user)
		warren_fail(err, NULL, "there is no user with the id %" PRId64, id);
	return user;
}

/* The label in front of the domain, if that is ours. */
static const struct tailnet_node *node_of_name(struct tailnet *tn, const char *text)
{
	char label[TAILNET_LABEL + 1], fqdn[TAILNET_FQDN];
	const struct tailnet_node *node;
	size_t len = strcspn(text, "."), all = strlen(text);

	if (len >= sizeof(label))
		return NULL;
	memcpy(label, text, len);
	label[len] = '\0';
	node = tailnet_node_by_name(tn, label);
	if (!node || !text[len])
		return node;
	tailnet_fqdn(tn, node, fqdn);
	/* With or without the dot at the end. */
	if (strncmp(fqdn, text, all) != 0 || (fqdn[all] && strcmp(fqdn + all, ".") != 0))
		return NULL;
	return node;
}

const struct tailnet_node *coord_find_node(struct tailnet *tn, const char *text,
					   struct warren_err *err)
{
	const struct tailnet_node *const *nodes, *node;
	struct str_guess guess = { .word = text };
	struct warren_addr addr;
	int64_t id;
	uint32_t n;

	node = node_of_name(tn, text);
	if (!node && addr_parse(text, &addr) == 0)
		node = tailnet_node_by_addr(tn, &addr);
	if (!node && is_id(text, &id))
		node = tailnet_node(tn, id);
	if (node)
		return node;
	nodes = tailnet_nodes(tn, &n);
	for (uint32_t i = 0; i < n; i++)
		str_guess_try(&guess, nodes[i]->name);
	if (guess.best)
		warren_fail(err, NULL, "there is no node \"%s\": did you mean %s?", text,
			    guess.best);
	else
		warren_fail(err, NULL, "there is no node \"%s\": `warren node list` shows all",
			    text);
	return NULL;
}

const struct tailnet_key *coord_find_key(struct tailnet *tn, const struct warren_conf *args,
					 struct warren_err *err)
{
	int64_t id = warren_conf_int(args, "key");
	const struct tailnet_key *key = tailnet_key(tn, id);

	if (!key)
		warren_fail(err, NULL, "there is no key with the id %" PRId64 ": `warren key list` "
			    "shows all", id);
	return key;
}

const char *coord_owner(struct tailnet *tn, const struct tailnet_node *node)
{
	const struct tailnet_user *user = node->user ? tailnet_user(tn, node->user) : NULL;

	return user ? user->login : "tagged-devices";
}

bool coord_confirmed(const struct warren_conf *args, struct warren_err *err, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	if (warren_conf_bool(args, "yes"))
		return true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	warren_fail(err, NULL, "%s. Nothing was done: say it again with --yes to do it", what);
	return false;
}

/*
 * ---- Acts ----
 */

struct op {
	struct warren_ctx *ctx;
	struct warren_reply *reply;
	struct coord_said said;
};

static void answer(struct op *op, const struct tailnet_outcome *outcome)
{
	struct tailnet *tn = coord_cli_tailnet(op->ctx);
	struct warren_reply *reply = op->reply;

	warren_reply_text(reply, "%s", op->said.text);
	if (outcome->secret) {
		warren_reply_text(reply, "%s", outcome->secret);
		warren_reply_str(reply, "secret", "%s", outcome->secret);
	}
	if (op->said.id) {
		warren_reply_str(reply, "deleted", "%s", op->said.kind);
		warren_reply_int(reply, "id", op->said.id);
	} else if (outcome->key) {
		coord_show_key(tn, outcome->key, reply);
	} else if (outcome->node) {
		coord_show_node(tn, outcome->node, reply);
	} else if (outcome->user) {
		coord_show_user(tn, outcome->user, reply);
	} else {
		warren_reply_str(reply, "done", "%s", op->said.kind);
	}
	warren_reply_end(reply, 0, NULL);
}

static void done(void *arg, const struct tailnet_outcome *outcome)
{
	struct op *op = arg;

	if (outcome->result)
		warren_reply_end(op->reply, 1, outcome->error ? outcome->error :
				 strerror(-outcome->result));
	else
		answer(op, outcome);
	free(op);
}

int coord_do(struct warren_ctx *ctx, struct tailnet_act *act, const struct coord_said *said,
	     struct warren_reply *reply, struct warren_err *err)
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return warren_fail(err, NULL, "there is no memory for the command");
	*op = (struct op){ .ctx = ctx, .reply = reply, .said = *said };
	act->actor = warren_reply_caller(reply);
	act->origin = "command";
	if (tailnet_do(coord_cli_tailnet(ctx), act, done, op)) {
		free(op);
		return warren_fail(err, NULL, "there is no memory for the command");
	}
	return WARREN_PENDING;
}

/*
 * ---- Values ----
 */

static bool split(int64_t usec, struct tm *tm)
{
	time_t t = (time_t)(usec / 1000000);

	return usec && gmtime_r(&t, tm);
}

const char *coord_time_rfc(int64_t usec, char out[COORD_TIME])
{
	struct tm tm;

	if (!split(usec, &tm) || !strftime(out, COORD_TIME, "%Y-%m-%dT%H:%M:%SZ", &tm))
		out[0] = '\0';
	return out;
}

const char *coord_time_text(int64_t usec, char out[COORD_TIME])
{
	struct tm tm;

	if (!split(usec, &tm) || !strftime(out, COORD_TIME, "%Y-%m-%d %H:%M", &tm))
		str_copy(out, COORD_TIME, "never");
	return out;
}

void coord_show_time(struct warren_reply *reply, const char *key, int64_t usec)
{
	char text[COORD_TIME];

	if (usec)
		warren_reply_str(reply, key, "%s", coord_time_rfc(usec, text));
	else
		warren_reply_null(reply, key);
}

void coord_show_strings(struct warren_reply *reply, const char *key,
			const struct tailnet_strings *list)
{
	warren_reply_open(reply, key, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		warren_reply_str(reply, NULL, "%s", list->at[i]);
	warren_reply_close(reply);
}

void coord_show_prefixes(struct warren_reply *reply, const char *key,
			 const struct tailnet_prefixes *list)
{
	char text[PREFIX_TEXT];

	warren_reply_open(reply, key, '[');
	for (uint32_t i = 0; list && i < list->count; i++)
		warren_reply_str(reply, NULL, "%s", prefix_format(&list->at[i], text));
	warren_reply_close(reply);
}
