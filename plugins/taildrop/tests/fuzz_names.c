/*
 * What a peer says: a path with a name, a range, a list of blocks, in lines; and a name of a file
 * that lies in a folder. What is taken cannot leave a folder and fits in it.
 */
#include <stdlib.h>
#include <string.h>

#include <warren/plugin.h>

#include "../names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void name(const char *path)
{
	static const char id[] = "n123CNTRL";
	char out[DROP_NAME], partial[DROP_NAME], back[DROP_NAME], from[DROP_NAME];
	struct str escaped = STR_INIT;

	if (!drop_path_name(path, out) || !drop_name_ok(out, id))
		return;
	require(!strchr(out, '/') && strcmp(out, ".") != 0 && strcmp(out, "..") != 0);
	drop_partial(out, id, partial);
	require(strlen(partial) < DROP_NAME && drop_partial_split(partial, back, from));
	require(strcmp(back, out) == 0 && strcmp(from, id) == 0);
	drop_add_escaped(&escaped, out);
	require(drop_path_name(str_text(&escaped), back) && strcmp(back, out) == 0);
	str_free(&escaped);
}

static void blocks(const char *text, size_t len)
{
	struct drop_block block;
	size_t used;

	while (drop_block_parse(text, len, &block, &used) == 0) {
		require(used > 0 && used <= len && block.size > 0 && block.size <= DROP_BLOCK_MAX);
		text += used;
		len -= used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *rest = text, back[DROP_NAME], from[DROP_NAME];
	int64_t at = 0;
	const char *line;

	require(text);
	memcpy(text, data, size);
	text[size] = '\0';
	blocks(text, size);
	line = strsep(&rest, "\n");
	name(line);
	if (drop_partial_split(line, back, from))
		require(drop_name_ok(back, from));
	if (rest && drop_range(rest, &at))
		require(at >= 0);
	free(text);
	return 0;
}
