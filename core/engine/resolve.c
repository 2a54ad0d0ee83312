/*
 * Needs and offers. Each function looks at the descriptors only; there are some dozen plugins, so
 * everything is a loop over all.
 */
#include "engine/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/plugin_load.h"
#include "engine/table.h"

#define NEEDS(plugin, i, row) \
	wcore_table_row(&(plugin)->desc.needs, i, row, sizeof(*(row)))

bool wcore_plugin_offers(const struct wcore_plugin *plugin, const char *service,
			 struct warren_port *row)
{
	struct warren_port local;

	if (!row)
		row = &local;
	for (uint32_t i = 0; wcore_table_row(&plugin->desc.offers, i, row, sizeof(*row)); i++)
		if (strcmp(row->name, service) == 0)
			return true;
	return false;
}

bool wcore_plugin_depends(const struct wcore_plugin *plugin, const struct wcore_plugin *provider)
{
	struct warren_port need;

	for (uint32_t i = 0; NEEDS(plugin, i, &need); i++)
		if (!(need.flags & WARREN_SOFT) && wcore_plugin_offers(provider, need.name, NULL))
			return true;
	return false;
}

static struct wcore_plan_item *find_provider(const struct wcore_plan *plan, const char *service,
					     struct warren_port *row)
{
	for (size_t i = 0; i < plan->count; i++)
		if (wcore_plugin_offers(plan->items[i].plugin, service, row))
			return &plan->items[i];
	return NULL;
}

static bool has_item(const struct wcore_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->items[i].name, name) == 0)
			return true;
	return false;
}

/* The section's text for messages: "`wg` (warren.yaml:3:1)". */
static void add_item(struct str *out, const struct wcore_plan_item *item)
{
	str_addf(out, "`%s`", item->name);
	if (item->implied_by)
		str_addf(out, " (implied by `%s`)", item->implied_by);
	else if (item->conf)
		str_addf(out, " (%s)", warren_conf_where(item->conf, NULL));
}

/* Where to point at: an implied section stands in no file. */
static const struct warren_conf *place(const struct wcore_plan_item *item)
{
	return item->implied_by ? NULL : item->conf;
}

/*
 * ---- What needs imply ----
 */

static int append(struct wcore_plan *plan, const struct wcore_plugin *plugin, const char *by)
{
	struct wcore_plan_item *items;

	items = reallocarray(plan->items, plan->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	plan->items = items;
	items[plan->count++] = (struct wcore_plan_item){
		.plugin = plugin, .name = plugin->desc.name, .implied_by = by,
	};
	return 0;
}

static int imply_one(struct wcore_plan *plan, const struct wcore_plan_item *item,
		     const struct warren_port *need, wcore_plan_load_fn *load, void *arg,
		     struct warren_err *err)
{
	const struct wcore_plugin *plugin;

	/* Its section is there, but what it offers is not the service: `order` says so. */
	if (has_item(plan, need->provider))
		return 0;
	plugin = load(need->provider, arg, need->flags & WARREN_SOFT ? NULL : err);
	if (plugin)
		return append(plan, plugin, item->name);
	if (need->flags & WARREN_SOFT) {
		err_note(err, NULL, "plugin `%s`, which `%s` would switch on for `%s`, is not "
			 "installed", need->provider, item->name, need->name);
		return 0;
	}
	return -EINVAL;
}

int wcore_plan_imply(struct wcore_plan *plan, wcore_plan_load_fn *load, void *arg,
		     struct warren_err *err)
{
	struct warren_port need;
	int rc = 0, one;

	/* The list grows while we walk: what is implied has needs too. */
	for (size_t i = 0; i < plan->count; i++) {
		for (uint32_t k = 0; NEEDS(plan->items[i].plugin, k, &need); k++) {
			if (!(need.flags & WARREN_ENABLE) || find_provider(plan, need.name, NULL))
				continue;
			one = imply_one(plan, &plan->items[i], &need, load, arg, err);
			if (one == -ENOMEM)
				return one;
			if (one)
				rc = one;
		}
	}
	return rc;
}

/*
 * ---- Errors of needs and offers ----
 */

static int check_need(const struct wcore_plan *plan, const struct wcore_plan_item *item,
		      const struct warren_port *need, wcore_plan_suggest_fn *suggest, void *arg,
		      struct warren_err *err)
{
	const struct wcore_plan_item *provider;
	struct warren_port offer;
	const char *hint;

	provider = find_provider(plan, need->name, &offer);
	if (!provider && (need->flags & WARREN_SOFT))
		return 0;
	if (!provider) {
		hint = suggest ? suggest(need->name, arg) : NULL;
		return warren_fail(err, place(item), "`%s` needs service %s %u.x; enable %s%s%s",
				   item->name, need->name, need->major, hint ? "`" : "a plugin "
				   "that offers it (none of the installed ones does)",
				   hint ? hint : "", hint ? ":`" : "");
	}
	if (offer.major == need->major && offer.minor >= need->minor)
		return 0;
	return warren_fail(err, place(item), "`%s` needs service %s %u.%u, and `%s` offers %u.%u; "
			   "install versions that belong together", item->name, need->name,
			   need->major, need->minor, provider->name, offer.major, offer.minor);
}

static int check_needs(const struct wcore_plan *plan, wcore_plan_suggest_fn *suggest, void *arg,
		       struct warren_err *err)
{
	struct warren_port need;
	int rc = 0;

	for (size_t i = 0; i < plan->count; i++)
		for (uint32_t k = 0; NEEDS(plan->items[i].plugin, k, &need); k++)
			if (check_need(plan, &plan->items[i], &need, suggest, arg, err))
				rc = -EINVAL;
	return rc;
}

static int say_two(const struct wcore_plan_item *a, const struct wcore_plan_item *b,
		   const char *service, struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT;

	add_item(&text, a);
	str_add(&text, " and ");
	add_item(&text, b);
	return warren_fail(err, place(b) ? place(b) : place(a), "%s both offer service %s; remove "
			   "one of the two sections", str_text(&text), service);
}

static int check_offers(const struct wcore_plan *plan, struct warren_err *err)
{
	struct warren_port row;
	int rc = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct warren_table *offers = &plan->items[i].plugin->desc.offers;

		for (uint32_t k = 0; wcore_table_row(offers, k, &row, sizeof(row)); k++)
			for (size_t j = i + 1; j < plan->count; j++)
				if (wcore_plugin_offers(plan->items[j].plugin, row.name, NULL))
					rc = say_two(&plan->items[i], &plan->items[j], row.name,
						     err);
	}
	return rc;
}

/*
 * ---- The order ----
 */

/* An item of [from, count) whose hard needs are all met by [0, from), the first by name. */
static size_t next_ready(const struct wcore_plan *plan, size_t from)
{
	size_t best = plan->count;

	for (size_t i = from; i < plan->count; i++) {
		bool ready = true;

		for (size_t j = from; ready && j < plan->count; j++)
			ready = !wcore_plugin_depends(plan->items[i].plugin,
						      plan->items[j].plugin);
		if (ready && (best == plan->count ||
			      strcmp(plan->items[i].name, plan->items[best].name) < 0))
			best = i;
	}
	return best;
}

/* Some service that @item needs from @provider. */
static const char *needed_service(const struct wcore_plan_item *item,
				  const struct wcore_plan_item *provider)
{
	struct warren_port need;

	for (uint32_t i = 0; NEEDS(item->plugin, i, &need); i++)
		if (!(need.flags & WARREN_SOFT) &&
		    wcore_plugin_offers(provider->plugin, need.name, NULL))
			return need.name;
	return "";
}

static size_t depends_on(const struct wcore_plan *plan, size_t from, size_t item)
{
	for (size_t i = from; i < plan->count; i++)
		if (wcore_plugin_depends(plan->items[item].plugin, plan->items[i].plugin))
			return i;
	return plan->count;
}

/*
 * Everything from @from on waits for something from @from on: following the first such need from
 * anywhere must come back to where it was, and from there on it is the cycle.
 */
static int say_cycle(const struct wcore_plan *plan, size_t from, struct warren_err *err)
{
	AUTO(str_free) struct str text = STR_INIT;
	size_t at = from, start, next;

	for (size_t i = from; i < plan->count; i++)
		at = depends_on(plan, from, at);
	start = at;
	do {
		next = depends_on(plan, from, at);
		if (at == start)
			add_item(&text, &plan->items[at]);
		str_addf(&text, "%s needs %s of ", at == start ? "" : ", which",
			 needed_service(&plan->items[at], &plan->items[next]));
		add_item(&text, &plan->items[next]);
		at = next;
	} while (at != start);
	return warren_fail(err, place(&plan->items[start]), "a circle of needs: %s; none of them "
			   "can start first, so remove one of the sections", str_text(&text));
}

int wcore_plan_order(struct wcore_plan *plan, wcore_plan_suggest_fn *suggest, void *arg,
		     struct warren_err *err)
{
	struct wcore_plan_item item;
	int rc = check_needs(plan, suggest, arg, err);
	size_t ready;

	if (check_offers(plan, err))
		rc = -EINVAL;
	for (size_t i = 0; i < plan->count; i++) {
		ready = next_ready(plan, i);
		if (ready == plan->count)
			return say_cycle(plan, i, err);
		item = plan->items[ready];
		memmove(&plan->items[i + 1], &plan->items[i], (ready - i) * sizeof(item));
		plan->items[i] = item;
	}
	return rc;
}
