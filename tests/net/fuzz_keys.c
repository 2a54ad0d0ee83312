/*
 * Fuzz target: keys as text. What parses is written again as the same text but for the case of its
 * digits (and, for a private key, the bits that clamping sets), and no text is of two kinds.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <warren/net.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_private(const char *text)
{
	struct warren_private key, again;
	char out[WARREN_PRIVATE_TEXT];

	if (warren_private_parse(text, &key, NULL))
		return;
	warren_private_format(&key, out);
	require(strlen(out) == strlen(text));
	require(warren_private_parse(out, &again, NULL) == 0 && warren_private_equal(&key, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	int kinds = 0;

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	for (int i = WARREN_KEYTEXT_MACHINE; i <= WARREN_KEYTEXT_CHALLENGE; i++) {
		char out[WARREN_KEYTEXT_MAX];
		uint8_t key[32];

		if (warren_keytext_parse((enum warren_keytext)i, text, key, NULL))
			continue;
		kinds++;
		warren_keytext_format((enum warren_keytext)i, key, out);
		require(strcasecmp(out, text) == 0);
	}
	require(kinds <= 1);
	check_private(text);
	free(text);
	return 0;
}
