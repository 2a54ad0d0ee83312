/*
 * Numbers with units. All arithmetic is checked: "9999999w" is out of range, not a small number.
 */
#include "base/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Digits at *@text, which moves behind them. @base 10 or 16. */
static int parse_digits(const char **text, unsigned int base, int64_t *out)
{
	const char *p = *text;
	bool fits = true;
	int64_t value = 0;

	for (; *p; p++) {
		unsigned int digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned int)(*p - '0');
		else if (base == 16 && *p >= 'a' && *p <= 'f')
			digit = (unsigned int)(*p - 'a') + 10;
		else if (base == 16 && *p >= 'A' && *p <= 'F')
			digit = (unsigned int)(*p - 'A') + 10;
		else
			break;
		if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
		    __builtin_add_overflow(value, (int64_t)digit, &value))
			fits = false;
	}
	if (p == *text)
		return -EINVAL;
	*text = p;
	*out = value;
	return fits ? 0 : -ERANGE;
}

int units_parse_int(const char *text, int64_t *out)
{
	bool negative = *text == '-';
	unsigned int base = 10;
	int64_t value;
	int result;

	if (negative)
		text++;
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	} else if (text[0] == '0' && text[1]) {
		return -EINVAL;		/* octal for some, decimal for others */
	}
	result = parse_digits(&text, base, &value);
	if (*text)
		return -EINVAL;
	if (result < 0)
		return result;
	*out = negative ? -value : value;
	return 0;
}

int units_parse_size(const char *text, int64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 }, { "B", 1 },
		{ "K", INT64_C(1) << 10 }, { "KiB", INT64_C(1) << 10 }, { "kB", 1000 },
		{ "M", INT64_C(1) << 20 }, { "MiB", INT64_C(1) << 20 }, { "MB", 1000000 },
		{ "G", INT64_C(1) << 30 }, { "GiB", INT64_C(1) << 30 }, { "GB", 1000000000 },
		{ "T", INT64_C(1) << 40 }, { "TiB", INT64_C(1) << 40 }, { "TB", 1000000000000 },
	};
	int64_t value;
	int result = parse_digits(&text, 10, &value);

	if (result == -EINVAL)
		return result;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		if (result < 0 || __builtin_mul_overflow(value, units[i].factor, &value))
			return -ERANGE;
		*out = value;
		return 0;
	}
	return -EINVAL;
}

static const struct unit durations[] = {	/* the order that the text must keep */
	{ "w", INT64_C(604800000000) }, { "d", INT64_C(86400000000) }, { "h", INT64_C(3600000000) },
	{ "m", 60000000 }, { "s", 1000000 }, { "ms", 1000 }, { "us", 1 },
};

/* The unit that is all letters at @text, from @first on, or ARRAY_SIZE(durations). */
static size_t find_duration(const char *text, size_t len, size_t first)
{
	for (size_t i = first; i < ARRAY_SIZE(durations); i++) {
		if (strlen(durations[i].name) == len && memcmp(text, durations[i].name, len) == 0)
			return i;
	}
	return ARRAY_SIZE(durations);
}

int units_parse_duration(const char *text, int64_t *out)
{
	int64_t total = 0;
	size_t first = 0;
	bool fits = true;

	if (strcmp(text, "off") == 0 || strcmp(text, "0") == 0) {
		*out = 0;
		return 0;
	}
	if (!*text)
		return -EINVAL;
	while (*text) {
		int64_t value;
		int result = parse_digits(&text, 10, &value);
		size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz");
		size_t unit = find_duration(text, len, first);

		if (result == -EINVAL || unit == ARRAY_SIZE(durations))
			return -EINVAL;
		if (result < 0 || __builtin_mul_overflow(value, durations[unit].factor, &value) ||
		    __builtin_add_overflow(total, value, &total))
			fits = false;
		text += len;
		first = unit + 1;
	}
	if (!fits)
		return -ERANGE;
	*out = total;
	return 0;
}

const char *units_format_size(int64_t bytes, char out[UNITS_TEXT])
{
	static const char *const names[] = { "", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	while (bytes > 0 && bytes % 1024 == 0 && unit + 1 < ARRAY_SIZE(names)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(out, UNITS_TEXT, "%" PRId64 "%s", bytes, names[unit]);
	return out;
}

const char *units_format_duration(int64_t usec, char out[UNITS_TEXT])
{
	size_t len = 0;

	if (usec <= 0) {
		snprintf(out, UNITS_TEXT, "off");
		return out;
	}
	/* Weeks are read but not written: "10d" says more than "1w3d". */
	for (size_t i = 1; i < ARRAY_SIZE(durations); i++) {
		int64_t n = usec / durations[i].factor;

		usec %= durations[i].factor;
		if (n > 0)
			len += (size_t)snprintf(out + len, UNITS_TEXT - len, "%" PRId64 "%s", n,
						durations[i].name);
	}
	return out;
}
