/*
 * Members of a map message that are no part of the map: what the server asks for or tells once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "map_impl.h"

enum { URL_MAX = 4096, PLANS_MAX = 64 };
static const double sleep_max = 300;	/* seconds: section 6.3, Debug */

int ctl_member_health(struct ctl_map *map, const json_t *o,
		      const struct warren_json_piece *piece)
{
	json_t **slot = strcmp(piece->key, "Health") ? &map->delta.messages : &map->delta.health;

	*slot = json_incref((json_t *)(uintptr_t)o);
	return 0;
}

int ctl_member_flag(struct ctl_map *map, const json_t *o,
		    const struct warren_json_piece *piece)
{
	if (!json_is_boolean(o)) {
		char why[128];

		(void)snprintf(why, sizeof(why), "%.64s: neither true nor false", piece->key);
		ctl_map_bad(map, why);
	} else if (!strcmp(piece->key, "KeepAlive")) {
		map->delta.keepalive = json_is_true(o);
	} else {
		map->delta.collect_services = json_is_true(o) ? WARREN_TRI_YES : WARREN_TRI_NO;
	}
	return 0;
}

int ctl_member_time(struct ctl_map *map, const json_t *o,
		    const struct warren_json_piece *piece)
{
	(void)piece;
	if (!json_is_string(o) ||
	    !ctl_time_parse(json_string_value(o), &map->delta.control_time))
		ctl_map_bad(map, "ControlTime: not a time of RFC 3339");
	return 0;
}

int ctl_member_browser(struct ctl_map *map, const json_t *o,
		       const struct warren_json_piece *piece)
{
	(void)piece;
	if (!json_is_string(o) || json_string_length(o) > URL_MAX) {
		ctl_map_bad(map, "PopBrowserURL: not a string of a sensible length");
		return 0;
	}
	map->delta.browser_url = arena_text(&map->delta.arena, json_string_value(o),
					    json_string_length(o));
	return map->delta.browser_url ? 0 : ctl_map_error(map, -ENOMEM, "out of memory");
}

int ctl_member_ping(struct ctl_map *map, const json_t *o,
		    const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);
	struct ctl_ping *ping = &map->delta.ping;
	uint32_t n;

	(void)piece;
	if (!json_is_object(o))
		ctl_parse_fail(&p, "not an object");
	ping->url = ctl_get_str(&p, o, "URL", URL_MAX);
	ping->url_is_noise = ctl_get_bool(&p, o, "URLIsNoise");
	ping->log = ctl_get_bool(&p, o, "Log");
	ping->types = ctl_get_str(&p, o, "Types", CTL_TEXT_MAX);
	ping->types = ping->types ? ping->types : "";
	ping->ip = ctl_get_addr(&p, o, "IP");
	ping->payload = ctl_get_base64(&p, o, "Payload", &n);
	ping->n_payload = n;
	if (!p.failed && !ping->url)
		ctl_parse_fail(&p, "URL: there is none");
	map->delta.has_ping = !p.failed;
	return ctl_decode_done(map, &p, "PingRequest");
}

static uint64_t microseconds(struct ctl_parse *p, const json_t *o, const char *key)
{
	const json_t *value = ctl_get(o, key);
	double number = json_number_value(value);

	if (value && !json_is_number(value))
		ctl_parse_fail(p, "%s: not a number", key);
	if (!(number > 0))
		return 0;
	return number > sleep_max ? (uint64_t)(sleep_max * 1e6) : (uint64_t)(number * 1e6);
}

int ctl_member_debug(struct ctl_map *map, const json_t *o,
		     const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);

	(void)piece;
	if (!json_is_object(o))
		ctl_parse_fail(&p, "not an object");
	map->delta.debug.sleep = microseconds(&p, o, "SleepSeconds");
	map->delta.debug.disable_log_tail = ctl_get_bool(&p, o, "DisableLogTail");
	map->delta.debug.has_exit = ctl_get(o, "Exit");
	map->delta.has_debug = !p.failed;
	return ctl_decode_done(map, &p, "Debug");
}

int ctl_member_plan(struct ctl_map *map, const json_t *o,
		    const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);
	const json_t *list;
	uint32_t n;

	(void)piece;
	p.list_max = PLANS_MAX;
	if (!json_is_object(o))
		ctl_parse_fail(&p, "not an object");
	list = ctl_get_array(&p, o, "Candidates", &n);
	map->delta.plan = ctl_parse_alloc(&p, n, sizeof(*map->delta.plan));
	for (uint32_t i = 0; !p.failed && i < n; i++) {
		const json_t *from = json_array_get(list, i);
		struct ctl_dial_candidate *to = &map->delta.plan[i];

		to->ip = ctl_get_addr(&p, from, "IP");
		to->ace_host = ctl_get_str(&p, from, "ACEHost", 255);
		to->ace_host = to->ace_host ? to->ace_host : "";
		to->delay = microseconds(&p, from, "DialStartDelaySec");
		to->timeout = microseconds(&p, from, "DialTimeoutSec");
		to->priority = (int32_t)ctl_get_int(&p, from, "Priority", INT32_MIN, INT32_MAX);
	}
	map->delta.n_plan = n;
	map->delta.has_plan = !p.failed;
	return ctl_decode_done(map, &p, "ControlDialPlan");
}

int ctl_member_version(struct ctl_map *map, const json_t *o,
		       const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);
	struct ctl_client_version *version = &map->delta.version;

	(void)piece;
	if (!json_is_object(o))
		ctl_parse_fail(&p, "not an object");
	version->running_latest = ctl_get_bool(&p, o, "RunningLatest");
	version->urgent = ctl_get_bool(&p, o, "UrgentSecurityUpdate");
	version->notify = ctl_get_bool(&p, o, "Notify");
	version->latest = ctl_get_str(&p, o, "LatestVersion", CTL_TEXT_MAX);
	version->notify_url = ctl_get_str(&p, o, "NotifyURL", URL_MAX);
	version->notify_text = ctl_get_str(&p, o, "NotifyText", 4096);
	map->delta.has_version = !p.failed;
	return ctl_decode_done(map, &p, "ClientVersion");
}
