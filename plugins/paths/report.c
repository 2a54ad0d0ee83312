/*
 * Plans, answers and the choice of the home region.
 */
#include "report.h"

#include <string.h>

#include "base/addr.h"

#define MSEC UINT64_C(1000)

uint64_t paths_region_latency(const struct paths_region *region)
{
	uint64_t four = region->latency[0], six = region->latency[1];

	return !four || (six && six < four) ? six : four;
}

const struct paths_region *paths_report_region(const struct paths_report *report, uint32_t id)
{
	for (uint32_t i = 0; i < report->n_regions; i++)
		if (report->regions[i].id == id)
			return &report->regions[i];
	return NULL;
}

bool paths_report_worked(const struct paths_report *report, int six)
{
	return report->n_seen[six] > 0;
}

static void count_seen(struct paths_report *report, int six, const struct warren_addrport *address)
{
	struct paths_seen *seen = report->seen[six];
	uint32_t n = report->n_seen[six];

	for (uint32_t i = 0; i < n; i++) {
		if (addrport_equal(&seen[i].address, address)) {
			seen[i].count++;
			return;
		}
	}
	if (n < PATHS_SEEN)
		seen[report->n_seen[six]++] = (struct paths_seen){ *address, 1 };
}

static void note_latency(struct paths_report *report, uint32_t id, int six, uint64_t usec)
{
	struct paths_region *region = NULL;

	for (uint32_t i = 0; i < report->n_regions && !region; i++)
		if (report->regions[i].id == id)
			region = &report->regions[i];
	if (!region && report->n_regions < PATHS_REGIONS) {
		region = &report->regions[report->n_regions++];
		*region = (struct paths_region){ .id = id };
	}
	usec = usec ? usec : 1;
	if (region && (!region->latency[six] || usec < region->latency[six]))
		region->latency[six] = usec;
}

void paths_report_reached(struct paths_report *report, uint32_t id, int six, uint64_t usec)
{
	note_latency(report, id, six, usec);
	report->reached[six] = true;
}

bool paths_fallback_helps(const struct warren_relay_region *region)
{
	if (region->avoid || region->no_measure_no_home)
		return false;
	for (uint32_t i = 0; i < region->n_nodes; i++)
		if (!region->nodes[i].stun_only)
			return true;
	return false;
}

void paths_report_answer(struct paths_report *report, uint32_t id, int six, uint64_t usec,
			 const struct warren_addrport *seen)
{
	note_latency(report, id, six, usec);
	report->udp = true;
	if (six) {
		report->global[1] = *seen;
	} else if (!report->global[0].addr.family) {
		report->global[0] = *seen;
	} else if (!addrport_equal(&report->global[0], seen)) {
		report->mapping_varies = WARREN_TRI_YES;
	} else if (report->mapping_varies == WARREN_TRI_UNKNOWN) {
		report->mapping_varies = WARREN_TRI_NO;
	}
	count_seen(report, six, seen);
}

/*
 * ---- Plan ----
 */

static bool node_has_stun(const struct warren_relay_node *node, int six)
{
	return node->stun_port != -1 && !(six ? node->no_ipv6 : node->no_ipv4);
}

struct plan {
	const struct warren_netmap *map;
	struct paths_probe *out;
	uint32_t n;
};

/* @tries probes of one set, the k-th after k times @step; nodes take turns. */
static void add_set(struct plan *plan, uint32_t region, int six, uint32_t tries, uint64_t step)
{
	const struct warren_relay_region *r = &plan->map->regions[region];

	for (uint32_t k = 0; k < tries && r->n_nodes > 0; k++) {
		uint32_t node = k % r->n_nodes;

		if (!node_has_stun(&r->nodes[node], six) || plan->n == PATHS_PROBES)
			continue;
		plan->out[plan->n++] = (struct paths_probe){
			.delay = k * step + (k > 1 ? k * 50 * MSEC : 0),
			.region = region, .node = node, .six = six,
		};
	}
}

static void plan_full(struct plan *plan, const bool have[2])
{
	for (uint32_t i = 0; i < plan->map->n_regions; i++) {
		if (plan->map->regions[i].no_measure_no_home)
			continue;
		for (int six = 0; six < 2; six++)
			if (have[six])
				add_set(plan, i, six, 3, 100 * MSEC);
	}
}

struct ranked {
	uint32_t region;		/* index in the map */
	uint64_t latency;		/* 0: not known */
};

static uint32_t rank(const struct warren_netmap *map, const struct paths_report *last,
		     uint32_t home, struct ranked *out)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < map->n_regions && n < PATHS_REGIONS; i++) {
		const struct warren_relay_region *r = &map->regions[i];
		const struct paths_region *seen = paths_report_region(last, r->id);
		struct ranked now = { i, seen ? paths_region_latency(seen) : 0 };
		uint32_t at = n;

		if (r->no_measure_no_home || (r->avoid && r->id != home))
			continue;
		while (at > 0 && now.latency &&
		       (!out[at - 1].latency || out[at - 1].latency > now.latency)) {
			out[at] = out[at - 1];
			at--;
		}
		out[at] = now;
		n++;
	}
	return n;
}

static void plan_next(struct plan *plan, const struct paths_report *last, uint32_t home,
		      const bool have[2])
{
	bool both = paths_report_worked(last, 0) && paths_report_worked(last, 1);
	struct ranked ranked[PATHS_REGIONS];
	uint32_t n = rank(plan->map, last, home, ranked);

	for (uint32_t i = 0; i < n; i++) {
		bool is_home = plan->map->regions[ranked[i].region].id == home;
		uint32_t tries = is_home ? 4 : i < 2 ? 2 : 1;
		uint64_t step = ranked[i].latency ? ranked[i].latency * 12 / 10 : 200 * MSEC;
		bool four = have[0], six = have[1];

		if (i >= 3 && !is_home)
			continue;
		if (i >= 2 && !is_home && both) {
			four = four && i % 2 == 0;
			six = six && i % 2 == 1;
		}
		if (!is_home && i >= 2 && !paths_report_worked(last, 1))
			six = false;
		if (four)
			add_set(plan, ranked[i].region, 0, tries, step);
		if (six)
			add_set(plan, ranked[i].region, 1,
				paths_report_worked(last, 1) ? tries : 1, step);
	}
}

uint32_t paths_plan(const struct warren_netmap *map, const struct paths_report *last,
		    uint32_t home, const bool have[2], struct paths_probe *out)
{
	struct plan plan = { .map = map, .out = out };

	if (last && last->n_regions > 0)
		plan_next(&plan, last, home, have);
	else
		plan_full(&plan, have);
	return plan.n;
}

/*
 * Of what is sent after the first answer of a set: where no other region has told, another server
 * of this one does, whether our NAT gives each of them another port.
 */
static bool tells_mapping(const struct paths_report *report, const struct paths_probe *probe)
{
	return !probe->six && probe->node > 0 && paths_report_worked(report, 0) &&
	       report->mapping_varies == WARREN_TRI_UNKNOWN;
}

bool paths_mapping_is_due(const struct paths_report *report, const struct paths_probe *probes,
			  uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if ((!probes[i].done || probes[i].sent) && tells_mapping(report, &probes[i]))
			return true;
	}
	return false;
}

bool paths_probe_helps(const struct paths_report *report, const struct warren_netmap *map,
		       const struct paths_probe *probe)
{
	const struct paths_region *region =
		paths_report_region(report, map->regions[probe->region].id);

	if (!region || paths_region_latency(region) == 0)
		return true;
	if (region->latency[probe->six])	/* its set has an answer */
		return tells_mapping(report, probe);
	return probe->six ? !paths_report_worked(report, 1)
			  : report->mapping_varies == WARREN_TRI_UNKNOWN;
}

/* The first answer of a set, a region in a family, makes its other probes needless. */
bool paths_probes_over(const struct paths_report *report, const struct warren_netmap *map,
		       const struct paths_probe *probes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct paths_probe *probe = &probes[i];
		const struct paths_region *region = paths_report_region(
			report, map->regions[probe->region].id);

		if ((!probe->done || probe->sent) && (!region || !region->latency[probe->six]))
			return false;
	}
	return true;
}

/*
 * ---- Home ----
 */

void paths_reports_add(struct paths_reports *history, const struct paths_report *report)
{
	uint32_t old = 0;

	while (old < history->n && report->at - history->list[old].at > PATHS_HISTORY_TIME)
		old++;
	if (history->n - old == PATHS_REPORTS)
		old++;
	history->n -= old;
	memmove(history->list, history->list + old, history->n * sizeof(history->list[0]));
	history->list[history->n++] = *report;
}

static uint64_t best_of(const struct paths_reports *history, const struct paths_report *report,
			uint32_t id)
{
	uint64_t best = paths_region_latency(paths_report_region(report, id));

	for (uint32_t i = 0; i < history->n; i++) {
		const struct paths_region *r = paths_report_region(&history->list[i], id);
		uint64_t latency = r ? paths_region_latency(r) : 0;

		if (latency && report->at - history->list[i].at <= PATHS_HISTORY_TIME &&
		    latency < best)
			best = latency;
	}
	return best;
}

static const struct warren_relay_region *in_map(const struct warren_netmap *map, uint32_t id)
{
	for (uint32_t i = 0; i < map->n_regions; i++)
		if (map->regions[i].id == id)
			return &map->regions[i];
	return NULL;
}

uint32_t paths_prefer(const struct paths_reports *history, const struct paths_report *report,
		      const struct warren_netmap *map, uint32_t before, bool heard, bool told)
{
	const struct paths_region *old = paths_report_region(report, before);
	uint64_t old_now = old ? paths_region_latency(old) : 0, best = 0;
	uint32_t found = 0;

	if (!in_map(map, before))
		before = 0;
	/* They would go on to look for us at the old one. */
	if (before && !told)
		return before;
	for (uint32_t i = 0; i < report->n_regions; i++) {
		uint32_t id = report->regions[i].id;
		const struct warren_relay_region *r = in_map(map, id);
		uint64_t latency;

		if (!r || r->no_measure_no_home || (r->avoid && id != before))
			continue;
		latency = best_of(history, report, id);
		if (r->score_e3 > 0)
			latency = latency * (uint64_t)r->score_e3 / 1000;
		if (!found || latency < best) {
			found = id;
			best = latency;
		}
	}
	if (!found)
		return before;
	if (found == before || !before || (!old_now && !heard))
		return found;
	/* The old one answers, and the other is not so much better that moving pays. */
	if (old_now < best + PATHS_HOME_SLACK || best * 3 > old_now * 2)
		return before;
	return found;
}
