/*
 * Every map stream that was recorded between stock nodes and two servers (data/README), message by
 * message as it came. After each message the snapshot must be the one that a fresh map makes of the
 * whole state, which a slow model keeps; the list of changes must lead from the snapshot before to
 * this one; and what is saved to disk must be the same again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"
#include "feed.h"
#include "model.h"
#include "outcome.h"

enum { STREAMS = 64 };

struct stream {
	struct feed feed;
	struct model model;
	struct outcome outcome;
	const struct warren_netmap *before;
	bool open;
};

static struct {
	uint32_t files, streams, messages, snapshots, changes;
} total;

static void stream_open(struct stream *stream)
{
	feed_open(&stream->feed, NULL, NULL);
	model_open(&stream->model);
	outcome_open(&stream->outcome);
	stream->before = NULL;
	stream->open = true;
	total.streams++;
}

static void stream_close(struct stream *stream)
{
	if (!stream->open)
		return;
	outcome_close(&stream->outcome);
	warren_obj_unref(stream->before);
	feed_close(&stream->feed);
	model_close(&stream->model);
	stream->open = false;
}

/*
 * ---- Comparisons ----
 */

static void assert_same(const struct warren_netmap *a, const struct warren_netmap *b)
{
	struct str x = STR_INIT, y = STR_INIT;

	dump_map(&x, a);
	dump_map(&y, b);
	assert_string_equal(x.s, y.s);
	str_free(&x);
	str_free(&y);
}

/* A consumer that follows the changes has the peers of the snapshot, neither more nor fewer. */
static void check_changes(const struct warren_netmap *before, const struct warren_netmap *now)
{
	uint32_t had = before ? before->n_peers : 0, n = had, kept = 0;

	for (uint32_t i = 0; i < now->n_changes; i++) {
		const struct warren_netmap_change *change = &now->changes[i];

		total.changes++;
		n += change->what == WARREN_CHANGE_ADDED;
		n -= change->what == WARREN_CHANGE_REMOVED;
		assert_true(change->what != WARREN_CHANGE_MODIFIED || change->fields);
		for (uint32_t k = 0; change->before && k < had; k++)
			kept += before->peers[k] == change->before;
		if (change->after)
			assert_true(bsearch(&change->after, now->peers, now->n_peers,
					    sizeof(change->after),
					    outcome_node_order) != NULL);
	}
	assert_int_equal(n, now->n_peers);
	for (uint32_t i = 0; i < now->n_changes; i++)
		kept -= now->changes[i].before != NULL;
	assert_int_equal(kept, 0);
}

static void check_full(struct stream *stream)
{
	json_t *message = model_message(&stream->model);
	char *text = json_dumps(message, JSON_COMPACT);
	struct feed fresh;

	assert_non_null(text);
	feed_open(&fresh, NULL, NULL);
	assert_int_equal(feed_json(&fresh, text), 0);
	assert_same(stream->feed.now, fresh.now);
	outcome_compare(&stream->outcome, fresh.now);
	feed_close(&fresh);
	free(text);
	json_decref(message);
}

static void check_stored(const struct warren_netmap *map, int64_t clock_delta)
{
	struct str json = STR_INIT;
	struct feed other;

	ctl_store_write(ctl_snapshot_of(map), &json);
	feed_open(&other, NULL, NULL);
	/* The server's clock is not saved with the map. */
	other.map->stats.clock_delta = clock_delta;
	assert_int_equal(feed_json_n(&other, json.s, json.len), 0);
	assert_string_equal(str_text(&other.bad), "");
	assert_same(map, other.now);
	feed_close(&other);
	str_free(&json);
}

/*
 * ---- Files ----
 */

static void play(struct stream *stream, const char *text, size_t len, uint32_t i)
{
	uint32_t published = stream->feed.published;
	json_t *message = json_loadb(text, len, 0, NULL);

	assert_non_null(message);
	total.messages++;
	assert_int_equal(feed_zstd(&stream->feed, text, len, 1 + i % 700), 0);
	assert_string_equal(str_text(&stream->feed.bad), "");
	model_apply(&stream->model, message, ctl_map_time(stream->feed.map));
	json_decref(message);
	if (stream->feed.published != published) {
		total.snapshots++;
		check_changes(stream->before, stream->feed.now);
		warren_obj_unref(stream->before);
		stream->before = warren_obj_ref(stream->feed.now);
		outcome_follow(&stream->outcome, stream->feed.now);
		check_stored(stream->feed.now, stream->feed.map->stats.clock_delta);
	}
	check_full(stream);
}

static char *unpack(const char *path, size_t *len)
{
	uint8_t *packed;
	size_t packed_len;
	char *text;
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	packed = malloc(1 << 20);
	assert_non_null(packed);
	packed_len = fread(packed, 1, 1 << 20, file);
	fclose(file);
	*len = (size_t)ZSTD_getFrameContentSize(packed, packed_len);
	assert_true(*len < 16 << 20);
	text = malloc(*len + 1);
	assert_non_null(text);
	assert_int_equal(ZSTD_decompress(text, *len, packed, packed_len), *len);
	text[*len] = '\0';
	free(packed);
	return text;
}

static void play_file(const char *path)
{
	struct stream *streams = calloc(STREAMS, sizeof(*streams));
	size_t len;
	char *text = unpack(path, &len), *at = text;
	uint32_t i = 0;

	assert_non_null(streams);
	total.files++;
	while (at < text + len) {
		char *end = strchr(at, '\n'), *tab;
		unsigned long n = strtoul(at, &tab, 10);

		assert_true(end && *tab == '\t' && n < STREAMS);
		if (!streams[n].open)
			stream_open(&streams[n]);
		play(&streams[n], tab + 1, (size_t)(end - tab - 1), i++);
		at = end + 1;
	}
	for (uint32_t n = 0; n < STREAMS; n++)
		stream_close(&streams[n]);
	free(streams);
	free(text);
}

static void test_replay(void **state)
{
	const char *top = getenv("WARREN_SRCDIR");
	char folder[512], path[1024];
	struct dirent *entry;
	DIR *dir;

	(void)state;
	assert_non_null(top);
	(void)snprintf(folder, sizeof(folder), "%s/plugins/control/tests/data", top);
	dir = opendir(folder);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".maps.zst"))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		play_file(path);
	}
	closedir(dir);
	print_message("%u files, %u streams, %u messages, %u snapshots, %u changes of peers\n",
		      total.files, total.streams, total.messages, total.snapshots, total.changes);
	assert_int_equal(total.files, 15);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
