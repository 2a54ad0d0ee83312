/*
 * json.h - members of a JSON object by the conventions of the control protocol (section 0.2)
 *
 * A getter that meets a value of the wrong type or beyond its limit fails the whole parse, with a
 * sentence that names the member; after that all getters return nothing. Absent, null and the zero
 * value are the same to them. Results live in the parse's arena.
 */
#ifndef CTL_JSON_H
#define CTL_JSON_H

#include <jansson.h>
#include <warren/net.h>
#include <warren/service/netmap.h>

#include "base/arena.h"

enum { CTL_TEXT_MAX = 1024 };		/* bytes of an ordinary string */

struct ctl_parse {
	struct arena *arena;
	uint32_t list_max;		/* elements of one list */
	bool failed;
	bool no_memory;			/* it is that, not the record */
	char why[200];
	/* Told of elements that are left out of what is good as a whole. May be NULL. */
	void (*left_out)(void *arg, const char *why);
	void *arg;
};

/* A parse of one element of what @p reads. */
struct ctl_parse ctl_parse_element(const struct ctl_parse *p);
/*
 * What it came to: true: it is good. False: it was bad, and that was told with "@what N: " before
 * the reason; or there is no memory, and @p fails.
 */
bool ctl_parse_merge(struct ctl_parse *p, const struct ctl_parse *element, const char *what,
		     int64_t n);

/* Fails @p, which keeps the first reason; returns false. */
bool ctl_parse_fail(struct ctl_parse *p, const char *fmt, ...) WARREN_PRINTF(2, 3);
bool ctl_parse_oom(struct ctl_parse *p);	/* the same, for want of memory */
/* Zeroed memory for @n of something; NULL fails @p. For @n 0 some pointer. */
void *ctl_parse_alloc(struct ctl_parse *p, size_t n, size_t size);

/* NULL: absent or null. */
const json_t *ctl_get(const json_t *o, const char *key);
const json_t *ctl_get_object(struct ctl_parse *p, const json_t *o, const char *key);
/* @n is 0 for none; more than @p->list_max fails. */
const json_t *ctl_get_array(struct ctl_parse *p, const json_t *o, const char *key, uint32_t *n);
const char *ctl_get_str(struct ctl_parse *p, const json_t *o, const char *key, size_t max);
int64_t ctl_get_int(struct ctl_parse *p, const json_t *o, const char *key, int64_t min,
		    int64_t max);
bool ctl_get_bool(struct ctl_parse *p, const json_t *o, const char *key);
uint8_t ctl_get_tri(struct ctl_parse *p, const json_t *o, const char *key);
/* A real or an integer times @scale, kept within int32_t. */
int32_t ctl_get_scaled(struct ctl_parse *p, const json_t *o, const char *key, double scale);
/* Of seconds, whole or not: microseconds, at most @max seconds; negative is 0. */
uint64_t ctl_get_micros(struct ctl_parse *p, const json_t *o, const char *key, double max);
/* Nanoseconds since 1970; 0: absent or the zero time; times before 1970 become one second. */
int64_t ctl_get_time(struct ctl_parse *p, const json_t *o, const char *key);
/* The same of a text. False: no RFC 3339. */
bool ctl_time_parse(const char *text, int64_t *out);
void ctl_get_key(struct ctl_parse *p, const json_t *o, const char *key, enum warren_keytext kind,
		 struct warren_key32 *out);
struct warren_addr ctl_get_addr(struct ctl_parse *p, const json_t *o, const char *key);
const uint8_t *ctl_get_base64(struct ctl_parse *p, const json_t *o, const char *key, uint32_t *n);
const char *const *ctl_get_strs(struct ctl_parse *p, const json_t *o, const char *key,
				uint32_t *n);
/* Host bits are zeroed. */
const struct warren_prefix *ctl_get_prefixes(struct ctl_parse *p, const json_t *o,
					     const char *key, uint32_t *n);
/* Zoned addresses are left out: they mean nothing on another host. */
const struct warren_addrport *ctl_get_addrports(struct ctl_parse *p, const json_t *o,
						const char *key, uint32_t *n);
/* By name, each once, with its values if it has them anywhere; returns how many are left. */
uint32_t ctl_caps_sort(struct warren_cap *caps, uint32_t n);
/* Capabilities with their values, sorted by name. */
const struct warren_cap *ctl_get_caps(struct ctl_parse *p, const json_t *o, const char *key,
				      uint32_t *n);
/* A Resolver, section 6.10. */
void ctl_resolver_parse(struct ctl_parse *p, const json_t *o, struct warren_resolver *out);

#endif
