/*
 * Members of a map message that are no part of the map: what the server asks for or tells once.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "map_impl.h"

enum { URL_MAX = 4096 };
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

int ctl_member_debug(struct ctl_map *map, const json_t *o,
		     const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);

	(void)piece;
	if (!json_is_object(o))
		ctl_parse_fail(&p, "not an object");
	map->delta.debug.sleep = ctl_get_micros(&p, o, "SleepSeconds", sleep_max);
	map->delta.debug.disable_log_tail = ctl_get_bool(&p, o, "DisableLogTail");
	map->delta.debug.has_exit = ctl_get(o, "Exit");
	map->delta.has_debug = !p.failed;
	return ctl_decode_done(map, &p, "Debug");
}

int ctl_member_plan(struct ctl_map *map, const json_t *o,
		    const struct warren_json_piece *piece)
{
	struct ctl_parse p = ctl_decode_parse(map, &map->delta.arena);

	(void)piece;
	map->delta.plan = ctl_plan_parse(&p, o, &map->delta.n_plan);
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
