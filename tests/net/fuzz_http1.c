/*
 * Fuzz target: HTTP/1.1 messages. The first byte chooses requests or responses and what they
 * answer. The same bytes in one portion and byte by byte must tell the same and fail the same way.
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static int on_head(void *arg, const struct warren_http_head *head)
{
	struct str *told = arg;

	require(head->length >= -1 && head->n_fields <= WARREN_HTTP_FIELDS);
	require(!head->method == (head->status > 0));
	str_addf(told, "\nhead %s %s %s %s %d %lld", head->method ? head->method : "",
		 head->scheme ? head->scheme : "", head->authority ? head->authority : "",
		 head->path ? head->path : "", head->status, (long long)head->length);
	for (uint32_t i = 0; i < head->n_fields; i++) {
		require(http1_is_token(head->fields[i].name, strlen(head->fields[i].name)));
		require(http1_is_value(head->fields[i].value, strlen(head->fields[i].value)));
		str_addf(told, "|%s=%s", head->fields[i].name, head->fields[i].value);
	}
	str_add(told, "\n");
	return 0;
}

static int on_body(void *arg, const uint8_t *data, size_t len)
{
	require(len > 0);
	str_addn(arg, (const char *)data, len);
	return 0;
}

static int on_complete(void *arg)
{
	str_add(arg, "\ncomplete");
	return 0;
}

static const struct http1_events events = {
	.head = on_head, .body = on_body, .complete = on_complete,
};

static int run(uint8_t choice, const uint8_t *data, size_t size, size_t portion, struct str *told)
{
	static const char *const methods[] = { "GET", "HEAD", "CONNECT" };
	struct http1 *http = http1_new(choice & 1 ? HTTP1_RESPONSES : HTTP1_REQUESTS, &events,
				       told);
	size_t at = 0;
	int result = 0;

	require(http);
	http1_expect(http, methods[choice / 2 % 3]);
	while (at < size && !(http1_idle(http) && http1_upgraded(http))) {
		size_t n = size - at < portion ? size - at : portion;
		ssize_t used = http1_feed(http, data + at, n, NULL);

		if (used < 0) {
			result = (int)used;
			break;
		}
		require((size_t)used <= n);
		at += (size_t)used;
	}
	if (result == 0)
		result = http1_eof(http, NULL);
	str_addf(told, "\nend %zu", result ? 0 : at);
	http1_free(http);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str one = STR_INIT, two = STR_INIT;

	if (size < 1)
		return 0;
	require(run(data[0], data + 1, size - 1, size, &one) ==
		run(data[0], data + 1, size - 1, 1, &two));
	require(one.len == two.len && memcmp(str_text(&one), str_text(&two), one.len) == 0);
	str_free(&one);
	str_free(&two);
	return 0;
}
