/*
 * What a node gets and gives back: addresses, a name; and its hard facts from map requests.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/util.h"
#include "impl.h"
#include "rules.h"

static bool address_taken(void *arg, const struct warren_addr *addr)
{
	const struct tailnet *tn = arg;

	return tailnet_node_by_addr(tn, addr) || state_held(tn, addr) ||
	       change_reserved(tn, ON_ADDR, addr, sizeof(*addr));
}

int pick_addresses(struct tailnet *tn, struct change *ch, struct tailnet_node *node)
{
	struct {
		struct address_pool *pool;
		struct warren_addr *addr;
	} both[] = { { &tn->v4, &node->v4 }, { &tn->v6, &node->v6 } };
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		if (!both[i].pool->prefix.addr.family || both[i].addr->family)
			continue;
		rc = address_find(both[i].pool, address_taken, tn, both[i].addr);
		if (!rc)
			rc = change_alone(tn, ch, ON_ADDR, both[i].addr, sizeof(*both[i].addr));
		if (rc)
			return rc;
	}
	return 0;
}

static bool name_taken(const struct tailnet *tn, const char *name, int64_t but)
{
	const struct tailnet_node *node = tailnet_node_by_name(tn, name);

	return (node && node->id != but) || change_reserved(tn, ON_NAME, name, strlen(name));
}

/*
 * Thousands of devices call themselves "localhost". Where a search was long, the next begins where
 * it ended. Bases that numbers would shorten are searched from the start: they are not so many.
 */
enum { LONG_SEARCH = 16, BASE_MAX = TAILNET_LABEL - 8 };

static void remember(struct tailnet *tn, struct series *series, const char *base, uint32_t n)
{
	if (series) {
		series->hint = n;
		return;
	}
	if (n < LONG_SEARCH || strlen(base) > BASE_MAX)
		return;
	series = calloc(1, sizeof(*series));
	if (!series)
		return;			/* the search is only longer */
	str_copy(series->base, sizeof(series->base), base);
	series->hint = n;
	if (hash_put_str(&tn->series, series->base, series, NULL) != 0)
		free(series);
}

static void lower(struct tailnet *tn, const char *base, uint32_t n)
{
	struct series *series = hash_get_str(&tn->series, base);

	if (!series || series->hint <= n)
		return;
	series->hint = n;
	if (n >= LONG_SEARCH)
		return;
	hash_del_str(&tn->series, series->base);
	free(series);
}

void name_freed(struct tailnet *tn, const char *name, size_t len)
{
	char base[TAILNET_LABEL + 1];
	uint32_t n = 0, scale = 1;
	size_t digits = 0;

	if (!tn->series.count || len > TAILNET_LABEL)
		return;
	memcpy(base, name, len);
	base[len] = '\0';
	lower(tn, base, 0);
	while (digits < len && digits < 7 && base[len - 1 - digits] >= '0' &&
	       base[len - 1 - digits] <= '9') {
		n += scale * (uint32_t)(base[len - 1 - digits++] - '0');
		scale *= 10;
	}
	if (!digits || digits + 1 >= len || base[len - 1 - digits] != '-')
		return;
	base[len - 1 - digits] = '\0';
	lower(tn, base, n);
}

void series_free(struct tailnet *tn)
{
	struct series *series;

	for (uint32_t pos = 0; (series = hash_next(&tn->series, &pos)); )
		free(series);
	hash_free(&tn->series);
}

int pick_name(struct tailnet *tn, struct change *ch, struct tailnet_node *node)
{
	char base[TAILNET_LABEL + 1], name[TAILNET_LABEL + 1];
	struct series *series;
	uint32_t n;

	rules_label(node->hostname, base);
	/* The number that it has it keeps, though a lower one may be free by now. */
	if (node->name[0] && rules_label_of(node->name, base))
		return 0;
	series = hash_get_str(&tn->series, base);
	n = series ? series->hint : 0;
	for (;; n++) {
		rules_label_number(base, n, name);
		if (!name_taken(tn, name, node->id))
			break;
	}
	remember(tn, series, base, n);
	if (!set_text(&node->name, name, TAILNET_LABEL))
		return -ENOMEM;
	return change_alone(tn, ch, ON_NAME, name, strlen(name));
}

int hold_node(struct tailnet *tn, struct change *ch, const struct tailnet_node *node)
{
	int rc = change_alone(tn, ch, ON_NODE, &node->id, sizeof(node->id));

	if (!rc && node->auth_key)
		rc = change_shared(tn, ch, ON_KEY, &node->auth_key, sizeof(node->auth_key));
	return rc;
}

int drop_node(struct tailnet *tn, struct change *ch, const struct tailnet_node *node)
{
	const struct tailnet_machine *machine = state_machine_by_id(tn, node->machine);
	bool brief = node->ephemeral && tn->config.quarantine > EPHEMERAL_QUARANTINE;
	int64_t until = now_wall(tn) + (brief ? EPHEMERAL_QUARANTINE : tn->config.quarantine);
	int rc = change_alone(tn, ch, ON_NODE, &node->id, sizeof(node->id));

	if (!rc)
		rc = change_alone(tn, ch, ON_MACHINE, node->machine_key, TAILNET_KEY_SIZE);
	if (rc)
		return rc;
	change_drop_node(ch, node->id);
	change_hold(ch, &node->v4, until);
	change_hold(ch, &node->v6, until);
	if (machine && machine->n_nodes == 1 && !machine->n_pins)
		change_drop_machine(ch, machine->id);
	return 0;
}

/* What the policy approves by itself is an act of the coordinator. */
static void note_approvals(const struct tailnet *tn, struct change *ch,
			   const struct tailnet_node *before, const struct tailnet_node *now)
{
	static const struct tailnet_act who = { .actor = "coordinator", .origin = "policy" };

	if (!prefix_lists_equal(before->approved, now->approved))
		audit_node(ch, tn, &who, "node.routes", before, now);
}

int decide_facts(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	const struct tailnet_node *node = tailnet_node(tn, request->facts.node);
	struct tailnet_node *now;
	int rc = node ? hold_node(tn, ch, node) : -ENOENT;

	if (rc)
		return rc;
	now = node_copy(node);
	if (!now)
		return -ENOMEM;
	rc = -ENOMEM;
	if (set_text(&now->hostname, request->facts.hostname, TAILNET_HOSTNAME) &&
	    set_prefixes(&now->announced, request->facts.routes, request->facts.n_routes) &&
	    route_approve(tn, now))
		rc = now->automatic ? pick_name(tn, ch, now) : 0;
	if (!rc && node_diff(node, now)) {
		change_put_node(ch, now);
		note_approvals(tn, ch, node, now);
	}
	tailnet_node_unref(now);
	return rc;
}

int decide_approvals(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	int rc = 0;

	(void)request;
	for (uint32_t i = 0; !rc && i < tn->nodes.count; i++) {
		const struct tailnet_node *node = tn->nodes.at[i];
		struct tailnet_node *now = node->announced ? node_copy(node) : NULL;

		if (!now)
			continue;
		if (!route_approve(tn, now))
			rc = -ENOMEM;
		if (!rc && !prefix_lists_equal(now->approved, node->approved)) {
			rc = hold_node(tn, ch, node);
			if (!rc) {
				change_put_node(ch, now);
				note_approvals(tn, ch, node, now);
			}
		}
		tailnet_node_unref(now);
	}
	return rc;
}
