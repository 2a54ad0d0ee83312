/*
 * A request of a peer: lines of method, Host, path and fields, and the bytes of a connection's
 * beginning. What is let through names us, and what is served lies below its path.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/util.h"

#include "../guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static const struct warren_prefix addresses[] = {
	{ { 4, { 100, 64, 0, 1 } }, 32 },
	{ { 6, { 0xfd, 0x7a, [15] = 1 } }, 128 },
};
static const struct warren_node self = { .id = 1, .addresses = addresses, .n_addresses = 2 };
static const struct warren_node peer = { .id = 2 };
static const struct warren_addrport at = { { 4, { 100, 64, 0, 1 } }, 41000 };

static void look(const char *host, const char *path, const char *name)
{
	static const char *const ours[] = { "peer", "100.64.0.1:41000", "[fd7a::1]:41000" };
	const struct warren_http_field field = { name, "x" };
	const struct warren_http_head head = {
		.size = sizeof(head), .method = "GET", .path = path, .authority = host,
		.fields = &field, .n_fields = 1,
	};
	struct warren_addrport said;
	bool let = papi_refusal(&head, &self, &peer, &at) == NULL, named = false;

	/* As text or, for IPv6, in another spelling of the same address. */
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		named = named || strcmp(host, ours[i]) == 0;
	named = named || (addrport_parse(host, &said) == 0 && said.port == at.port &&
			  warren_netmap_has(&self, &said.addr));
	require(!let || named);
	require(!let || (strcmp(name, "origin") != 0 && strcmp(name, "referer") != 0));
	if (papi_below(path, "/v0/put"))
		require(strncmp(path, "/v0/put", 7) == 0 && strchr("/?", path[7]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text;
	struct str html = STR_INIT;
	const char *host, *path, *name;
	uint32_t version = papi_version(data, size);

	require(text);
	require(version || size < 24);
	memcpy(text, data, size);
	text[size] = '\0';
	host = strsep(&rest, "\n");
	path = rest ? strsep(&rest, "\n") : "";
	name = rest ? strsep(&rest, "\n") : "";
	look(host, path, name);
	str_add_html(&html, host);
	require(!strpbrk(str_text(&html), "<>\"'"));
	require(str_utf8_check(str_text(&html), html.len) == html.len);
	str_free(&html);
	free(text);
	return 0;
}
