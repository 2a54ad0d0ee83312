/*
 * How far a command is, on one line of the terminal, which is overwritten. A transfer is shown with
 * its rate and the time that is left, as the stock client shows it.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/util.h"

static unsigned long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned long long)ts.tv_sec * 1000000 + (unsigned long long)ts.tv_nsec / 1000;
}

/* "10.00KiB", "1.39KiB/s" with "/s" for @per. */
static const char *iec(double n, const char *per, char *out, size_t size)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	size_t unit = 0;

	for (; n >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		n /= 1024;
	snprintf(out, size, "%.2f%sB%s", n, units[unit], per);
	return out;
}

static const char *time_left(double rate, long long left, char *out, size_t size)
{
	unsigned long long sec;

	if (rate <= 0)
		return "-";
	sec = (unsigned long long)((double)left / rate);
	snprintf(out, size, "%02llu:%02llu:%02llu", sec / 3600, sec / 60 % 60, sec % 60);
	return out;
}

static void transfer(struct cli_rate *rate, const char *name, long long done, long long total)
{
	char bytes[32], per[32], eta[40], percent[16] = "";
	unsigned long long at = now();
	double speed;

	if (strcmp(rate->name, name) != 0 || done < rate->last) {
		snprintf(rate->name, sizeof(rate->name), "%s", name);
		rate->first = done;
		rate->began = at;
	}
	rate->last = done;
	speed = at > rate->began ? (double)(done - rate->first) * 1e6 / (double)(at - rate->began) :
				   0;
	if (total >= 0)
		snprintf(percent, sizeof(percent), "%.2f%%",
			 total > 0 ? 100.0 * (double)done / (double)total : 100.0);
	fprintf(stderr, "\r\033[K%-36s    %10s    %12s    %7s    ETA %s", name,
		iec((double)done, "", bytes, sizeof(bytes)), iec(speed, "/s", per, sizeof(per)),
		percent, total < 0 ? "-" : time_left(speed, total - done, eta, sizeof(eta)));
}

void cli_progress(struct cli_answer *answer, const json_t *progress)
{
	long long done = json_integer_value(json_object_get(progress, "done"));
	long long total = json_integer_value(json_object_get(progress, "total"));
	const char *unit = json_string_value(json_object_get(progress, "unit"));
	const char *name = json_string_value(json_object_get(progress, "name"));

	if (!isatty(STDERR_FILENO))
		return;
	fflush(stdout);
	if (name)
		transfer(&answer->rate, name, done, total);
	else if (total > 0)
		fprintf(stderr, "\r%lld of %lld %s (%lld%%)\033[K", done, total, unit ? unit : "",
			done * 100 / total);
	else
		fprintf(stderr, "\r%lld %s\033[K", done, unit ? unit : "");
	answer->progress = true;
}
