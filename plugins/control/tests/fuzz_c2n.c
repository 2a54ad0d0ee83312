/*
 * A request of the server to this node: any bytes give one whole answer, and leave the map alone.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../c2n.h"
#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *metrics(void *arg)
{
	(void)arg;
	return strdup("");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctl_c2n_facts facts = { .prefs = "{}", .health = "{}", .metrics = metrics };
	struct str out = STR_INIT;
	struct feed feed;
	uint64_t serial;

	feed_open(&feed, NULL, NULL);
	if (feed_json(&feed, FULL))
		abort();
	facts.map = feed.now;
	serial = feed.now->serial;
	if (ctl_c2n(&facts, data, size, &out) == 0 && !strstr(str_text(&out), "\r\n\r\n"))
		abort();
	if (feed.now->serial != serial)
		abort();
	str_free(&out);
	feed_close(&feed);
	return 0;
}
