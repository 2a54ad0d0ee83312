/*
 * /debug/netmap (tailcfg.C2NDebugNetmapRequest and -Response): the map in force, and what a map of
 * the server's would become here. Such a candidate goes through the same decoder as a map stream,
 * in a map of its own that nobody else sees.
 */
#include "c2n_netmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/util.h"
#include "map_impl.h"

static void json_free(json_t **o)
{
	json_decref(*o);
}

static int candidate_feed(struct ctl_map *map, const char *text, char *why, size_t size)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	size_t len = strlen(text);
	const uint8_t prefix[4] = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
				    (uint8_t)(len >> 24) };
	const struct warren_netmap *made;
	int result = ctl_map_feed(map, prefix, sizeof(prefix), &err);

	if (!result)
		result = ctl_map_feed(map, text, len, &err);
	made = ctl_map_current(map);
	warren_obj_unref(made);
	if (!result && made)
		return 0;
	snprintf(why, size, "failed to convert candidate MapResponse: %s",
		 result ? err_first(&err) : "it is no full map");
	return result == -ENOMEM ? result : -EINVAL;
}

static int candidate(const json_t *message, const struct ctl_snapshot *in_force,
		     const json_t *omit, struct str *out, char *why, size_t size)
{
	static const struct ctl_map_events none = { .published = NULL };
	const struct ctl_map_limits limits = {
		.message_max = CTL_C2N_ANSWER_MAX, .decoded_max = CTL_C2N_ANSWER_MAX,
	};
	AUTO(auto_free) char *text = json_dumps(message, JSON_COMPACT);
	struct ctl_map *map = ctl_map_new(NULL, &limits, &none, NULL);
	const struct warren_netmap *made;
	int result = -ENOMEM;

	snprintf(why, size, "out of memory");
	if (text && map)
		result = candidate_feed(map, text, why, size);
	if (!result) {
		str_add(out, ",\"candidate\":");
		made = ctl_map_current(map);
		ctl_store_write_netmap(ctl_snapshot_of(made), in_force, false, omit, out);
		warren_obj_unref(made);
	}
	ctl_map_free(map);
	return result;
}

int ctl_c2n_netmap(const struct ctl_c2n_facts *facts, const uint8_t *body, size_t len,
		   struct str *out, char *why, size_t size)
{
	json_error_t error = { .text = "EOF" };
	AUTO(json_free) json_t *request = body && len ? json_loadb((const char *)body, len,
							    JSON_DISABLE_EOF_CHECK, &error) :
						 NULL;
	const json_t *omit = json_object_get(request, "omitFields");
	const json_t *message = json_object_get(request, "candidate");
	const struct ctl_snapshot *in_force = facts->map ? ctl_snapshot_of(facts->map) : NULL;
	int result = 0;

	if (body && !json_is_object(request)) {
		snprintf(why, size, "failed to decode request body: %s",
			 request ? "not an object" : error.text);
		return -EINVAL;
	}
	if (message && !json_is_null(message) && !json_is_object(message)) {
		snprintf(why, size, "failed to decode request body: candidate is no object");
		return -EINVAL;
	}
	str_add(out, "{\"current\":");
	ctl_store_write_netmap(in_force, in_force, facts->cached, omit, out);
	if (message && !json_is_null(message))
		result = candidate(message, in_force, omit, out, why, size);
	str_addc(out, '}');
	if (!out->failed)
		return result;
	snprintf(why, size, "out of memory");
	return -ENOMEM;
}
