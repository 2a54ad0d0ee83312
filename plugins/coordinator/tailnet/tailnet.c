/*
 * The tailnet as a whole: opening, configuration, looking, requests and their answers.
 */
#include "tailnet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/util.h"
#include "impl.h"
#include "rules.h"

int64_t now_wall(const struct tailnet *tn)
{
	return tn->env.wall(tn->env.self);
}

uint64_t now_mono(const struct tailnet *tn)
{
	return tn->env.mono(tn->env.self);
}

/*
 * ---- Configuration ----
 */

static bool domain_valid(const char *domain)
{
	char label[TAILNET_LABEL + 1];
	size_t len;

	/* Room for a label of 63, two dots, and a NUL: coordinator.md 1.10. */
	if (!*domain || strlen(domain) > TAILNET_FQDN - TAILNET_LABEL - 3)
		return false;
	for (;;) {
		len = strcspn(domain, ".");
		if (len > TAILNET_LABEL)
			return false;
		memcpy(label, domain, len);
		label[len] = '\0';
		if (!rules_label_valid(label))
			return false;
		if (!domain[len])
			return true;
		domain += len + 1;
	}
}

int tailnet_config_check(const struct tailnet_config *config, char why[TAILNET_WHY])
{
	const struct warren_prefix *pools[] = { &config->v4, &config->v6 };
	char text[PREFIX_TEXT];
	const char *wrong;

	why[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
		wrong = address_pool_wrong(pools[i], i ? 6 : 4);
		if (!wrong)
			continue;
		snprintf(why, TAILNET_WHY, "%s cannot be a pool of addresses: %s",
			 prefix_format(pools[i], text), wrong);
		return -EINVAL;
	}
	if (!config->v4.addr.family && !config->v6.addr.family) {
		snprintf(why, TAILNET_WHY, "there is no pool of addresses; give one prefix of "
			 "IPv4 or IPv6 at least");
		return -EINVAL;
	}
	if (!config->base_domain || !domain_valid(config->base_domain)) {
		snprintf(why, TAILNET_WHY, "\"%.200s\" cannot be the domain of the nodes' names: "
			 "lower-case labels with dots between them, 190 bytes at most",
			 config->base_domain ? config->base_domain : "");
		return -EINVAL;
	}
	return 0;
}

int tailnet_configure(struct tailnet *tn, const struct tailnet_config *config,
		      char why[TAILNET_WHY])
{
	int rc = tailnet_config_check(config, why);

	if (rc)
		return rc;
	tn->config = *config;
	str_copy(tn->base_domain, sizeof(tn->base_domain), config->base_domain);
	tn->config.base_domain = tn->base_domain;
	if (!tn->config.ephemeral_timeout)
		tn->config.ephemeral_timeout = INT64_C(1800) * SECOND;
	if (tn->config.ephemeral_timeout < INT64_C(65) * SECOND)
		tn->config.ephemeral_timeout = INT64_C(65) * SECOND;
	if (!tn->config.quarantine)
		tn->config.quarantine = INT64_C(48) * 3600 * SECOND;
	tn->v4 = (struct address_pool){ config->v4, 0 };
	tn->v6 = (struct address_pool){ config->v6, 0 };
	return 0;
}

/*
 * ---- Life ----
 */

static void init(struct tailnet *tn, const struct tailnet_env *env)
{
	struct hash *const hashes[] = {
		&tn->by_node_key, &tn->by_name, &tn->by_addr, &tn->by_login, &tn->by_subject,
		&tn->by_hash, &tn->machines, &tn->machine_ids, &tn->routes, &tn->held,
		&tn->reserved, &tn->pending, &tn->series,
	};

	tn->env = *env;
	for (size_t i = 0; i < ARRAY_SIZE(hashes); i++)
		hash_init(hashes[i]);
	list_init(&tn->waiting);
	list_init(&tn->blocked);
	list_init(&tn->queue);
	list_init(&tn->answers);
	list_init(&tn->pending_order);
}

static void request_free_list(struct tailnet *tn, struct list *list)
{
	struct tailnet_request *request;

	while ((request = list_first(list, struct tailnet_request, in)))
		request_free(tn, request);
}

struct tailnet *tailnet_open(const struct tailnet_env *env, const struct tailnet_config *config,
			     struct store *store, char why[TAILNET_WHY])
{
	struct tailnet *tn = calloc(1, sizeof(*tn));
	int rc;

	if (!tn) {
		snprintf(why, TAILNET_WHY, "no memory for the tailnet");
		return NULL;
	}
	init(tn, env);
	rc = tailnet_configure(tn, config, why);
	if (!rc) {
		tn->store = store;
		rc = state_load(tn, why);
	}
	if (rc) {
		tn->store = NULL;
		tailnet_free(tn);
		return NULL;
	}
	tick_at(tn, now_mono(tn));
	return tn;
}

void tailnet_drain(struct tailnet *tn, void (*done)(void *arg), void *arg)
{
	struct list waiting = LIST_INIT(waiting);
	struct tailnet_request *request;

	soft_flush(tn);
	tn->draining = true;
	tn->drained = done;
	tn->drained_arg = arg;
	list_splice_tail(&waiting, &tn->waiting);
	while ((request = list_first(&waiting, struct tailnet_request, in))) {
		list_del(&request->in);
		request_run(tn, request);
	}
	pending_free_all(tn);
	change_kick(tn);
	tick_soon(tn);
}

void tailnet_free(struct tailnet *tn)
{
	if (!tn)
		return;
	change_free_all(tn);
	request_free_list(tn, &tn->waiting);
	request_free_list(tn, &tn->answers);
	tn->draining = true;
	pending_free_all(tn);
	request_free_list(tn, &tn->answers);
	route_free(tn);
	series_free(tn);
	tell_free(tn);
	state_free(tn);
	hash_free(&tn->reserved);
	hash_free(&tn->pending);
	store_close(tn->store);
	free(tn);
}

struct store *tailnet_store(struct tailnet *tn)
{
	return tn->store;
}

void tailnet_set_rules(struct tailnet *tn, const struct tailnet_rules *rules)
{
	struct tailnet_request *request;
	bool first = !tn->has_rules;

	tn->rules = *rules;
	tn->has_rules = true;
	if (first)
		return;
	request = request_new(tn, REQUEST_APPROVALS);
	if (request)
		request_run(tn, request);
	else
		tn->env.log(tn->env.self, LOG_ERR, "no memory to approve the routes that the new "
			    "policy approves; load it once more");
}

/*
 * ---- Looking ----
 */

const struct tailnet_node *tailnet_node(const struct tailnet *tn, int64_t id)
{
	return vector_get(&tn->nodes, id);
}

const struct tailnet_node *tailnet_node_by_key(const struct tailnet *tn,
					       const uint8_t node_key[32])
{
	return hash_get(&tn->by_node_key, node_key, TAILNET_KEY_SIZE);
}

const struct tailnet_node *tailnet_node_by_name(const struct tailnet *tn, const char *label)
{
	return hash_get_str(&tn->by_name, label);
}

const struct tailnet_node *tailnet_node_by_addr(const struct tailnet *tn,
						const struct warren_addr *addr)
{
	return hash_get(&tn->by_addr, addr, sizeof(*addr));
}

const struct tailnet_user *tailnet_user(const struct tailnet *tn, int64_t id)
{
	return vector_get(&tn->users, id);
}

const struct tailnet_user *tailnet_user_by_login(const struct tailnet *tn, const char *login)
{
	return hash_get_str(&tn->by_login, login);
}

const struct tailnet_user *tailnet_user_by_subject(const struct tailnet *tn, const char *subject)
{
	return hash_get_str(&tn->by_subject, subject);
}

const struct tailnet_key *tailnet_key(const struct tailnet *tn, int64_t id)
{
	return vector_get(&tn->keys, id);
}

const struct tailnet_node *const *tailnet_nodes(const struct tailnet *tn, uint32_t *count)
{
	*count = tn->nodes.count;
	return (const struct tailnet_node *const *)tn->nodes.at;
}

const struct tailnet_user *const *tailnet_users(const struct tailnet *tn, uint32_t *count)
{
	*count = tn->users.count;
	return (const struct tailnet_user *const *)tn->users.at;
}

const struct tailnet_key *const *tailnet_keys(const struct tailnet *tn, uint32_t *count)
{
	*count = tn->keys.count;
	return (const struct tailnet_key *const *)tn->keys.at;
}

const char *tailnet_fqdn(const struct tailnet *tn, const struct tailnet_node *node,
			 char out[TAILNET_FQDN])
{
	int len = snprintf(out, TAILNET_FQDN, "%.63s.%.190s.", node->name, tn->base_domain);

	return len > 0 ? out : "";
}

void tailnet_stats(const struct tailnet *tn, struct tailnet_stats *stats)
{
	const struct list *at;

	*stats = tn->stats;
	for (at = tn->waiting.next; at != &tn->waiting; at = at->next)
		stats->waiting++;
	for (at = tn->queue.next; at != &tn->queue; at = at->next)
		stats->flying++;
}

/*
 * ---- Requests ----
 */

struct tailnet_request *request_new(struct tailnet *tn, enum request_kind kind)
{
	struct tailnet_request *request;

	if (tn->n_requests >= REQUESTS_MAX)
		return NULL;
	request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	list_init(&request->in);
	request->kind = kind;
	tn->n_requests++;
	return request;
}

void request_free(struct tailnet *tn, struct tailnet_request *request)
{
	if (!request)
		return;
	list_del(&request->in);
	memset(request->secret, 0, sizeof(request->secret));
	arena_free(&request->arena);
	free(request->error);
	free(request);
	tn->n_requests--;
}

int request_fail(struct tailnet_request *request, int result, const char *fmt, ...)
{
	struct str s = STR_INIT;
	va_list ap;

	va_start(ap, fmt);
	str_vaddf(&s, fmt, ap);
	va_end(ap);
	free(request->error);
	request->error = str_take(&s);
	request->result = result;
	return result;
}

bool request_text(struct tailnet_request *request, const char **text)
{
	if (!*text)
		return true;
	*text = arena_text(&request->arena, *text, strlen(*text));
	return *text != NULL;
}

bool request_texts(struct tailnet_request *request, const char *const **at, uint32_t n)
{
	const char **copy = n ? arena_alloc(&request->arena, n * sizeof(*copy)) : NULL;

	if (n && !copy)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		copy[i] = (*at)[i];
		if (!request_text(request, &copy[i]))
			return false;
	}
	*at = copy;
	return true;
}

bool request_prefixes(struct tailnet_request *request, const struct warren_prefix **at,
		      uint32_t n)
{
	struct warren_prefix *copy = n ? arena_alloc(&request->arena, n * sizeof(*copy)) : NULL;

	if (n && !copy)
		return false;
	if (n)
		memcpy(copy, *at, n * sizeof(*copy));
	*at = copy;
	return true;
}

void request_answer(struct tailnet *tn, struct tailnet_request *request)
{
	request->state = REQUEST_DONE;
	list_add_tail(&tn->answers, &request->in);
	tick_soon(tn);
}

void tailnet_cancel(struct tailnet *tn, struct tailnet_request *request)
{
	request->cancelled = true;
	/* What only waits is nobody's wish any more. */
	if (request->state != REQUEST_FLIES)
		request_free(tn, request);
}
