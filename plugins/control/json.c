/*
 * Members of a JSON object by the conventions of the control protocol. Everything that comes from
 * the server passes here once, and what leaves is checked, bounded and copied.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/base64.h"
#include "base/str.h"
#include "json.h"

enum { BASE64_MAX = 64 << 10 };

bool ctl_parse_fail(struct ctl_parse *p, const char *fmt, ...)
{
	va_list ap;

	if (p->failed)
		return false;
	p->failed = true;
	va_start(ap, fmt);
	(void)vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
	return false;
}

bool ctl_parse_oom(struct ctl_parse *p)
{
	p->no_memory = p->no_memory || !p->failed;
	return ctl_parse_fail(p, "out of memory");
}

struct ctl_parse ctl_parse_element(const struct ctl_parse *p)
{
	return (struct ctl_parse){ .arena = p->arena, .list_max = p->list_max,
				   .left_out = p->left_out, .arg = p->arg };
}

bool ctl_parse_merge(struct ctl_parse *p, const struct ctl_parse *element, const char *what,
		     int64_t n)
{
	char why[sizeof(element->why) + 64];

	if (!element->failed)
		return true;
	if (element->no_memory) {
		return ctl_parse_oom(p);
	}
	(void)snprintf(why, sizeof(why), "%s %lld: %s", what, (long long)n, element->why);
	if (p->left_out)
		p->left_out(p->arg, why);
	return false;
}

void *ctl_parse_alloc(struct ctl_parse *p, size_t n, size_t size)
{
	void *made = p->failed ? NULL : arena_alloc(p->arena, (n ? n : 1) * size);

	if (!made && !p->failed) {
		ctl_parse_oom(p);
	}
	return made;
}

static const char *copy_text(struct ctl_parse *p, const json_t *value)
{
	const char *made = arena_text(p->arena, json_string_value(value),
				      json_string_length(value));

	if (!made) {
		ctl_parse_oom(p);
	}
	return made;
}

/*
 * ---- Scalars ----
 */

const json_t *ctl_get(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	return json_is_null(value) ? NULL : value;
}

const json_t *ctl_get_object(struct ctl_parse *p, const json_t *o, const char *key)
{
	const json_t *value = ctl_get(o, key);

	if (value && !json_is_object(value))
		ctl_parse_fail(p, "%s: not an object", key);
	return p->failed ? NULL : value;
}

const json_t *ctl_get_array(struct ctl_parse *p, const json_t *o, const char *key, uint32_t *n)
{
	const json_t *value = ctl_get(o, key);

	*n = 0;
	if (!value || p->failed)
		return NULL;
	if (!json_is_array(value))
		ctl_parse_fail(p, "%s: not a list", key);
	else if (json_array_size(value) > p->list_max)
		ctl_parse_fail(p, "%s: more than %u elements", key, p->list_max);
	if (p->failed)
		return NULL;
	*n = (uint32_t)json_array_size(value);
	return value;
}

static const char *text_of(struct ctl_parse *p, const json_t *value, const char *key, size_t max)
{
	if (!value || p->failed)
		return NULL;
	if (!json_is_string(value)) {
		ctl_parse_fail(p, "%s: not a string", key);
		return NULL;
	}
	if (json_string_length(value) > max) {
		ctl_parse_fail(p, "%s: longer than %zu bytes", key, max);
		return NULL;
	}
	return json_string_value(value);
}

const char *ctl_get_str(struct ctl_parse *p, const json_t *o, const char *key, size_t max)
{
	const json_t *value = ctl_get(o, key);
	const char *text = text_of(p, value, key, max);

	return text && *text ? copy_text(p, value) : NULL;
}

int64_t ctl_get_int(struct ctl_parse *p, const json_t *o, const char *key, int64_t min,
		    int64_t max)
{
	const json_t *value = ctl_get(o, key);

	if (!value || p->failed)
		return 0;
	if (!json_is_integer(value)) {
		ctl_parse_fail(p, "%s: not a whole number", key);
		return 0;
	}
	if (json_integer_value(value) < min || json_integer_value(value) > max) {
		ctl_parse_fail(p, "%s: %lld is out of range", key,
			       (long long)json_integer_value(value));
		return 0;
	}
	return json_integer_value(value);
}

uint8_t ctl_get_tri(struct ctl_parse *p, const json_t *o, const char *key)
{
	const json_t *value = ctl_get(o, key);

	if (!value || p->failed)
		return WARREN_TRI_UNKNOWN;
	if (!json_is_boolean(value)) {
		ctl_parse_fail(p, "%s: neither true nor false", key);
		return WARREN_TRI_UNKNOWN;
	}
	return json_is_true(value) ? WARREN_TRI_YES : WARREN_TRI_NO;
}

bool ctl_get_bool(struct ctl_parse *p, const json_t *o, const char *key)
{
	return ctl_get_tri(p, o, key) == WARREN_TRI_YES;
}

int32_t ctl_get_scaled(struct ctl_parse *p, const json_t *o, const char *key, double scale)
{
	const json_t *value = ctl_get(o, key);
	double number;

	if (!value || p->failed)
		return 0;
	if (!json_is_number(value)) {
		ctl_parse_fail(p, "%s: not a number", key);
		return 0;
	}
	number = json_number_value(value) * scale;
	if (!(number > INT32_MIN))
		return INT32_MIN;
	return number < INT32_MAX ? (int32_t)(number < 0 ? number - 0.5 : number + 0.5) : INT32_MAX;
}

uint64_t ctl_get_micros(struct ctl_parse *p, const json_t *o, const char *key, double max)
{
	const json_t *value = ctl_get(o, key);
	double number = json_number_value(value);

	if (value && !json_is_number(value))
		ctl_parse_fail(p, "%s: not a number", key);
	if (!(number > 0))
		return 0;
	return number > max ? (uint64_t)(max * 1e6) : (uint64_t)(number * 1e6);
}

/*
 * ---- Times ----
 */

/* @count digits at *@at; -1: there are others. */
static int digits(const char **at, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		if (**at < '0' || **at > '9')
			return -1;
		value = value * 10 + (*(*at)++ - '0');
	}
	return value;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar. */
static int64_t days_from_civil(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_fraction(const char **at, int64_t *nanos)
{
	int64_t unit = 100000000;

	*nanos = 0;
	if (**at != '.')
		return true;
	(*at)++;
	if (**at < '0' || **at > '9')
		return false;
	for (; **at >= '0' && **at <= '9'; (*at)++) {
		*nanos += (**at - '0') * unit;
		unit /= 10;
	}
	return true;
}

static bool parse_zone(const char **at, int64_t *seconds)
{
	int sign = **at == '-' ? -1 : 1, hours, minutes;

	*seconds = 0;
	if (**at == 'Z') {
		(*at)++;
		return true;
	}
	if (**at != '+' && **at != '-')
		return false;
	(*at)++;
	hours = digits(at, 2);
	if (hours < 0 || hours > 23 || *(*at)++ != ':')
		return false;
	minutes = digits(at, 2);
	if (minutes < 0 || minutes > 59)
		return false;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

bool ctl_time_parse(const char *text, int64_t *out)
{
	const int64_t second = 1000000000, latest = INT64_MAX / second - 1;
	const char *at = text;
	int year, month, day, hour, minute, sec;
	int64_t nanos, zone, seconds;

	year = digits(&at, 4);
	if (year < 0 || *at++ != '-')
		return false;
	month = digits(&at, 2);
	if (month < 1 || month > 12 || *at++ != '-')
		return false;
	day = digits(&at, 2);
	if (day < 1 || day > 31 || *at++ != 'T')
		return false;
	hour = digits(&at, 2);
	if (hour < 0 || hour > 23 || *at++ != ':')
		return false;
	minute = digits(&at, 2);
	if (minute < 0 || minute > 59 || *at++ != ':')
		return false;
	sec = digits(&at, 2);
	if (sec < 0 || sec > 60 || !parse_fraction(&at, &nanos) || !parse_zone(&at, &zone) || *at)
		return false;
	seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + sec -
		  zone;
	if (year <= 1)
		*out = 0;
	else if (seconds <= 0)
		*out = second;
	else if (seconds > latest)
		*out = latest * second;
	else
		*out = seconds * second + nanos;
	return true;
}

int64_t ctl_get_time(struct ctl_parse *p, const json_t *o, const char *key)
{
	const char *text = text_of(p, ctl_get(o, key), key, 64);
	int64_t time = 0;

	if (text && *text && !ctl_time_parse(text, &time))
		ctl_parse_fail(p, "%s: not a time of RFC 3339", key);
	return time;
}

/*
 * ---- Keys, addresses, bytes ----
 */

void ctl_get_key(struct ctl_parse *p, const json_t *o, const char *key, enum warren_keytext kind,
		 struct warren_key32 *out)
{
	const char *text = text_of(p, ctl_get(o, key), key, 128);

	if (text && *text && warren_keytext_parse(kind, text, out->bytes, NULL))
		ctl_parse_fail(p, "%s: not a key of its kind", key);
}

struct warren_addr ctl_get_addr(struct ctl_parse *p, const json_t *o, const char *key)
{
	const char *text = text_of(p, ctl_get(o, key), key, 64);
	struct warren_addr addr = { 0 };

	if (text && *text && addr_parse(text, &addr))
		ctl_parse_fail(p, "%s: not an address", key);
	return addr;
}

const uint8_t *ctl_get_base64(struct ctl_parse *p, const json_t *o, const char *key, uint32_t *n)
{
	const json_t *value = ctl_get(o, key);
	const char *text = text_of(p, value, key, BASE64_MAX);
	size_t len = text ? json_string_length(value) : 0;
	uint8_t *made;
	ssize_t got;

	*n = 0;
	if (!len)
		return NULL;
	made = ctl_parse_alloc(p, len, 1);
	got = made ? base64_decode(made, len, text, len) : 0;
	if (got < 0)
		ctl_parse_fail(p, "%s: not base64", key);
	if (got <= 0)
		return NULL;
	*n = (uint32_t)got;
	return made;
}

/*
 * ---- Lists ----
 */

const char *const *ctl_get_strs(struct ctl_parse *p, const json_t *o, const char *key,
				uint32_t *n)
{
	const json_t *list = ctl_get_array(p, o, key, n);
	const char **made = *n ? ctl_parse_alloc(p, *n, sizeof(*made)) : NULL;

	for (uint32_t i = 0; made && i < *n; i++) {
		const json_t *value = json_array_get(list, i);

		if (!text_of(p, value, key, CTL_TEXT_MAX))
			break;
		made[i] = copy_text(p, value);
	}
	return made;
}

const struct warren_prefix *ctl_get_prefixes(struct ctl_parse *p, const json_t *o,
					     const char *key, uint32_t *n)
{
	const json_t *list = ctl_get_array(p, o, key, n);
	struct warren_prefix *made = *n ? ctl_parse_alloc(p, *n, sizeof(*made)) : NULL;

	for (uint32_t i = 0; made && i < *n; i++) {
		const char *text = text_of(p, json_array_get(list, i), key, 64);

		if (!text || prefix_parse(text, &made[i])) {
			ctl_parse_fail(p, "%s: element %u is no prefix", key, i);
			break;
		}
		prefix_mask(&made[i]);
	}
	return made;
}

const struct warren_addrport *ctl_get_addrports(struct ctl_parse *p, const json_t *o,
						const char *key, uint32_t *n)
{
	const json_t *list = ctl_get_array(p, o, key, n);
	struct warren_addrport *made = *n ? ctl_parse_alloc(p, *n, sizeof(*made)) : NULL;
	uint32_t kept = 0;

	for (uint32_t i = 0; made && i < *n; i++) {
		const char *text = text_of(p, json_array_get(list, i), key, 128);

		if (!text)
			break;
		if (strchr(text, '%'))
			continue;
		if (addrport_parse(text, &made[kept++])) {
			ctl_parse_fail(p, "%s: element %u is no address and port", key, i);
			break;
		}
	}
	*n = kept;
	return made;
}

/*
 * ---- Capabilities ----
 */

static int by_name(const void *a, const void *b)
{
	const struct warren_cap *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->n_values < y->n_values) - (x->n_values > y->n_values);
}

uint32_t ctl_caps_sort(struct warren_cap *caps, uint32_t n)
{
	uint32_t kept = 0;

	qsort(caps, n, sizeof(*caps), by_name);
	for (uint32_t i = 0; i < n; i++) {
		if (kept == 0 || strcmp(caps[kept - 1].name, caps[i].name))
			caps[kept++] = caps[i];
	}
	return kept;
}

static const char *dump_value(struct ctl_parse *p, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *made = text ? arena_text(p->arena, text, strlen(text)) : NULL;

	free(text);
	if (!made) {
		ctl_parse_oom(p);
	}
	return made;
}

static void fill_cap(struct ctl_parse *p, const char *key, const char *name, const json_t *values,
		     struct warren_cap *cap)
{
	const char **made;

	if (!json_is_null(values) && !json_is_array(values)) {
		ctl_parse_fail(p, "%s: a value is not a list", key);
		return;
	}
	if (strlen(name) > CTL_TEXT_MAX || json_array_size(values) > p->list_max) {
		ctl_parse_fail(p, "%s: a name or list is too long", key);
		return;
	}
	cap->name = arena_text(p->arena, name, strlen(name));
	made = ctl_parse_alloc(p, json_array_size(values), sizeof(*made));
	if (!cap->name || !made) {
		ctl_parse_oom(p);
		return;
	}
	for (size_t i = 0; i < json_array_size(values) && !p->failed; i++)
		made[cap->n_values++] = dump_value(p, json_array_get(values, i));
	cap->values = cap->n_values ? made : NULL;
}

const struct warren_cap *ctl_get_caps(struct ctl_parse *p, const json_t *o, const char *key,
				      uint32_t *n)
{
	json_t *map = (json_t *)(uintptr_t)ctl_get_object(p, o, key), *values;
	struct warren_cap *made;
	const char *name;
	uint32_t count = 0;

	*n = 0;
	if (!map || !json_object_size(map))
		return NULL;
	if (json_object_size(map) > p->list_max) {
		ctl_parse_fail(p, "%s: more than %u members", key, p->list_max);
		return NULL;
	}
	made = ctl_parse_alloc(p, json_object_size(map), sizeof(*made));
	if (!made)
		return NULL;
	json_object_foreach(map, name, values)
		fill_cap(p, key, name, values, &made[count++]);
	if (p->failed)
		return NULL;
	*n = ctl_caps_sort(made, count);
	return made;
}

/*
 * ---- Resolvers ----
 */

void ctl_resolver_parse(struct ctl_parse *p, const json_t *o, struct warren_resolver *out)
{
	const json_t *list;
	struct warren_addr *made;

	if (!json_is_object(o)) {
		ctl_parse_fail(p, "a resolver is not an object");
		return;
	}
	out->address = ctl_get_str(p, o, "Addr", CTL_TEXT_MAX);
	if (!p->failed && !out->address)
		ctl_parse_fail(p, "a resolver without Addr");
	out->use_with_exit_node = ctl_get_bool(p, o, "UseWithExitNode");
	list = ctl_get_array(p, o, "BootstrapResolution", &out->n_bootstrap);
	made = ctl_parse_alloc(p, out->n_bootstrap, sizeof(*made));
	for (uint32_t i = 0; made && i < out->n_bootstrap; i++) {
		const char *text = text_of(p, json_array_get(list, i), "BootstrapResolution", 64);

		if (!text || addr_parse(text, &made[i])) {
			ctl_parse_fail(p, "BootstrapResolution: element %u is no address", i);
			break;
		}
	}
	out->bootstrap = made;
}
