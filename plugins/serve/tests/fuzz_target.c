/*
 * What clients and operators write: a mount, a path, a range, a target, a name. What is taken stays
 * below its folder and within its bounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../serve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool has_dots(const char *path)
{
	size_t len = strlen(path);

	return strstr(path, "/../") || strstr(path, "/./") ||
	       (len >= 3 && strcmp(path + len - 3, "/..") == 0) ||
	       (len >= 2 && strcmp(path + len - 2, "/.") == 0);
}

static void path(const char *mount, const char *raw)
{
	char clean[SRV_PATH], again[SRV_PATH], name[SRV_NAME], whole[SRV_NAME + 2];
	struct str escaped = STR_INIT;

	if (!srv_path_clean(raw, clean))
		return;
	require(clean[0] == '/' && !has_dots(clean));
	require(srv_path_clean(clean, again) && strcmp(clean, again) == 0);
	if (srv_mount_ok(mount) && srv_mount_fits(mount, clean, raw)) {
		const char *rest = srv_mount_rest(mount, clean);

		require(rest >= clean && rest <= clean + strlen(clean));
		require(rest[0] == '\0' || rest[0] == '/');
	}
	if (!srv_path_name(clean, name) || !name[0])
		return;
	require(name[0] != '/' && !strstr(name, "//"));
	snprintf(whole, sizeof(whole), "/%s", name);
	require(!has_dots(whole));
	srv_add_escaped(&escaped, whole);
	require(srv_path_name(str_text(&escaped), again) && strcmp(again, name) == 0);
	str_free(&escaped);
}

static void range(const char *text)
{
	static const int64_t sizes[] = { 0, 1, 500, INT64_MAX };
	int64_t first, last;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (srv_range(text, sizes[i], &first, &last) == 0)
			require(first >= 0 && first <= last && last < sizes[i]);
	}
}

static void words(const char *text)
{
	struct str out = STR_INIT;

	srv_add_words(&out, text);
	for (const char *c = str_text(&out); *c; c++)
		require(*c >= ' ' && *c < 0x7f);
	str_cut(&out, 0);
	require(srv_redirect(text, "gw", "/x", &out) / 100 == 3);
	str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text;
	const char *first, *second;
	struct srv_target target;

	require(text);
	memcpy(text, data, size);
	text[size] = '\0';
	first = strsep(&rest, "\n");
	second = rest ? strsep(&rest, "\n") : "";
	path(first, second);
	path("/", first);
	range(second);
	words(first);
	if (srv_target_http(first, &target, NULL) == 0)
		require(target.host[0] && target.port && (!target.path[0] ||
			target.path[strlen(target.path) - 1] != '/'));
	if (srv_target_tcp(first, &target, NULL) == 0)
		require(target.host[0] && target.port);
	(void)srv_field_is_forged(first);
	(void)srv_field_is_hop(first);
	free(text);
	return 0;
}
