/*
 * Fuzz target: the answers of an ACME server. The first byte says which; the URLs and tokens that
 * come out of it are fit to be used.
 */
#include <stdlib.h>
#include <string.h>

#include "net/acme_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void require_url(const char *text)
{
	struct warren_url url;

	require(warren_url_parse(text, &url, NULL) == 0 && strcmp(url.scheme, "https") == 0);
}

static void directory(const uint8_t *data, size_t size)
{
	struct acme_directory out;

	if (acme_parse_directory(data, size, &out, NULL))
		return;
	require_url(out.nonce);
	require_url(out.account);
	require_url(out.order);
}

static void order(const uint8_t *data, size_t size)
{
	struct acme_order out;

	if (acme_parse_order(data, size, &out, NULL))
		return;
	require(out.n > 0 && out.n <= WARREN_ACME_NAMES);
	for (uint32_t i = 0; i < out.n; i++)
		require_url(out.authorizations[i]);
	require_url(out.finalize);
	if (out.certificate[0])
		require_url(out.certificate);
}

static void authorization(const uint8_t *data, size_t size)
{
	static struct acme_authorization out;

	if (acme_parse_authorization(data, size, &out, NULL))
		return;
	for (uint32_t i = 0; i < out.n; i++) {
		require_url(out.challenges[i].url);
		require(out.challenges[i].token[0] &&
			!strpbrk(out.challenges[i].token, "/.? \r\n"));
	}
}

static void problem(const uint8_t *data, size_t size)
{
	struct acme_problem out;

	acme_parse_problem(data, size, &out);
	for (const char *p = out.detail; *p; p++)
		require((unsigned char)*p >= ' ' && *p != 0x7f);
	for (const char *p = out.type; *p; p++)
		require((unsigned char)*p >= ' ' && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(const uint8_t *, size_t) = { directory, order, authorization,
								problem };

	if (size > 0)
		all[data[0] % 4](data + 1, size - 1);
	return 0;
}
