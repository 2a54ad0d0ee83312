/*
 * Fuzz target: URLs. What parses is put together again and must parse to the same parts; neither
 * the host nor the path may hold what would end a line or a head of HTTP.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <warren/net.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct warren_url url, again;
	char *text = malloc(size + 1), built[4096];
	bool v6;

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (warren_url_parse(text, &url, NULL) == 0) {
		require(url.path[0] == '/' && url.port > 0 && url.host[0]);
		require(!strpbrk(url.path, " \r\n\t#\\") && !strpbrk(url.host, " \r\n\t@/\\[]%"));
		v6 = strchr(url.host, ':') != NULL;
		snprintf(built, sizeof(built), "%s://%s%s%s:%u%s", url.scheme, v6 ? "[" : "",
			 url.host, v6 ? "]" : "", url.port, url.path);
		require(warren_url_parse(built, &again, NULL) == 0);
		require(strcmp(url.host, again.host) == 0 && url.port == again.port &&
			strcmp(url.path, again.path) == 0);
	}
	free(text);
	return 0;
}
