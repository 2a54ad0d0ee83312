/*
 * A resolv.conf of whatever program.
 */
#include <stdlib.h>
#include <string.h>

#include "plugins/dns/hostconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct dns_hostconf conf;

	if (!text)
		abort();
	memcpy(text, data, size);
	dns_hostconf_parse(text, size, &conf);
	free(text);
	for (uint32_t i = 0; i < conf.servers.n; i++) {
		if (dns_is_service(&conf.servers.up[i].at.addr) || conf.servers.up[i].at.port != 53)
			abort();
	}
	for (uint32_t i = 0; i < conf.n_search; i++) {
		if (conf.search[i].len <= 1 || conf.search[i].wire[conf.search[i].len - 1])
			abort();
	}
	return 0;
}
