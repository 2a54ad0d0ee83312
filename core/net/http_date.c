/*
 * Times in HTTP fields.
 */
#include <string.h>
#include <time.h>

#include <warren/net.h>

#include "base/util.h"

bool warren_http_date(const char *text, int64_t *out)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT",	/* IMF-fixdate */
		"%A, %d-%b-%y %H:%M:%S GMT",	/* the obsolete two */
		"%a %b %e %H:%M:%S %Y",
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, forms[i], &tm);

		if (end && !*end) {
			*out = timegm(&tm);
			return true;
		}
	}
	return false;
}

uint64_t warren_http_retry_after(const char *text, int64_t now, uint64_t most)
{
	const int64_t limit = (int64_t)(most / 1000000);
	int64_t seconds = 0, then;
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && !text[digits]) {
		for (size_t i = 0; i < digits && seconds <= limit; i++)
			seconds = seconds * 10 + (text[i] - '0');
	} else if (warren_http_date(text, &then)) {
		seconds = then - now;
	}
	if (seconds <= 0)
		return 0;
	return (uint64_t)(seconds < limit ? seconds : limit) * 1000000;
}
