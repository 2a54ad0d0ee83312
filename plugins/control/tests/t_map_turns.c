/*
 * The map on the loop: a large map takes turns, and the map on disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "dump.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/loop.h"
#include "feed.h"
#include "unit/parts.h"

enum { PEERS = 5000 };

static char folder[] = "/tmp/t_map_turns.XXXXXX";
static int folder_fd;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;

static int setup(void **state)
{
	(void)state;
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(folder_fd >= 0);
	engine = parts_engine(fcntl(folder_fd, F_DUPFD_CLOEXEC, 0));	/* which closes it */
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	while (ctx->jobs)
		wcore_lane_turn(wcore_engine_main(engine), true);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	unlinkat(folder_fd, "parts/map", 0);
	unlinkat(folder_fd, "parts", AT_REMOVEDIR);
	close(folder_fd);
	return rmdir(folder);
}

static void large_map(struct str *out, const char *tail)
{
	str_add(out, "{\"Node\":{\"ID\":100000,\"Key\":\"nodekey:"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},\"Peers\":[");
	for (int i = 1; i <= PEERS; i++)
		str_addf(out, "%s{\"ID\":%d,\"Name\":\"h%d.example.\",\"Key\":\"nodekey:%064x\","
			 "\"HomeDERP\":1,\"Addresses\":[\"100.64.%d.%d/32\"],\"Hostinfo\":{\"OS\":"
			 "\"linux\",\"Hostname\":\"h%d\"}}", i > 1 ? "," : "", i, i, i, i / 256,
			 i % 256, i);
	str_addf(out, "]%s", tail);
}

/* Turns until the map wants more, or says that it failed. */
static void settle(struct feed *feed)
{
	for (int i = 0; i < 100000; i++) {
		if (strstr(str_text(&feed->events), "resume") ||
		    strstr(str_text(&feed->events), "failed"))
			return;
		wcore_lane_turn(wcore_engine_main(engine), true);
	}
	fail_msg("the map does not go on by itself");
}

static void test_turns(void **state)
{
	struct str json = STR_INIT;
	struct feed feed;
	uint8_t *frame;
	size_t len;

	(void)state;
	large_map(&json, "}");
	frame = feed_frame(json.s, json.len, true, &len);
	feed_open(&feed, ctx, NULL);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), WARREN_PENDING);
	/* The turn is over, the message is not. */
	assert_int_equal(feed.published, 0);
	assert_false(ctl_map_at_boundary(feed.map));
	settle(&feed);
	assert_string_equal(str_text(&feed.events), "message\nresume\n");
	assert_int_equal(feed.now->n_peers, PEERS);
	assert_true(ctl_map_at_boundary(feed.map));
	/* A new stream in the middle: what is held is gone. */
	feed_close(&feed);
	feed_open(&feed, ctx, NULL);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), WARREN_PENDING);
	ctl_map_begin(feed.map);
	parts_settle(engine);
	assert_string_equal(str_text(&feed.events), "");
	assert_true(ctl_map_at_boundary(feed.map));
	feed_close(&feed);
	free(frame);
	str_free(&json);
}

/* The rules of one name are no single turn's work either. */
static void test_turns_of_rules(void **state)
{
	enum { RULES = 20000 };
	struct str json = STR_INIT;
	struct feed feed;
	uint8_t *frame;
	size_t len;

	(void)state;
	str_add(&json, "{\"Node\":" SELF ",\"PacketFilters\":{\"a\":[");
	for (int i = 0; i < RULES; i++)
		str_addf(&json, "%s{\"SrcIPs\":[\"10.%d.%d.0/24\",\"fd00::%x\"],\"DstPorts\":[{"
			 "\"IP\":\"*\",\"Ports\":{\"First\":1,\"Last\":%d}}]}", i ? "," : "",
			 i / 256, i % 256, i, 1 + i);
	str_add(&json, "],\"b\":[]}}");
	frame = feed_frame(json.s, json.len, true, &len);
	feed_open(&feed, ctx, NULL);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), WARREN_PENDING);
	assert_int_equal(feed.published, 0);
	settle(&feed);
	assert_string_equal(str_text(&feed.events), "message\nresume\n");
	assert_int_equal(feed.now->n_filter, RULES);
	feed_close(&feed);
	free(frame);
	str_free(&json);
}

static void test_failure_in_a_later_turn(void **state)
{
	struct str json = STR_INIT;
	struct feed feed;
	uint8_t *frame;
	size_t len;

	(void)state;
	large_map(&json, ",]");
	frame = feed_frame(json.s, json.len, true, &len);
	feed_open(&feed, ctx, NULL);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), WARREN_PENDING);
	settle(&feed);
	assert_non_null(strstr(feed.events.s, "failed "));
	assert_int_equal(feed.published, 0);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), -EBADMSG);
	/* And it may go away while it has something to do. */
	ctl_map_begin(feed.map);
	assert_int_equal(ctl_map_feed(feed.map, frame, len, NULL), WARREN_PENDING);
	feed_close(&feed);
	parts_settle(engine);
	free(frame);
	str_free(&json);
}

static void save(struct feed *feed)
{
	ctl_map_save(feed->map);
	ctl_map_flush(feed->map);
	while (feed->map->saving)
		wcore_lane_turn(wcore_engine_main(engine), true);
}

static void test_disk(void **state)
{
	static const char json[] = "{\"Node\":{\"ID\":1,\"Key\":\"nodekey:"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},\"Domain"
			"\":\"d\"}";
	struct feed feed, other;
	struct warren_err err = ERR_INIT;
	struct str a = STR_INIT, b = STR_INIT;
	uint8_t key[32];

	(void)state;
	memset(key, 0xaa, sizeof(key));
	feed_open(&feed, ctx, NULL);
	assert_int_equal(feed_json(&feed, json), 0);
	save(&feed);
	feed_open(&other, ctx, NULL);
	ctx->phase = WCORE_PHASE_START;
	assert_int_equal(ctl_map_load(other.map, key, &err), 0);
	assert_int_equal(other.published, 1);
	/* Loading is no news of the server. */
	assert_string_equal(str_text(&other.events), "");
	dump_map(&a, feed.now);
	dump_map(&b, other.now);
	assert_string_equal(a.s, b.s);
	feed_close(&other);
	/* Of another node key: as good as none. */
	feed_open(&other, ctx, NULL);
	key[0] = 1;
	assert_int_equal(ctl_map_load(other.map, key, &err), -ENOENT);
	assert_int_equal(other.published, 0);
	/* And then a stream is read all the same. */
	assert_int_equal(feed_json(&other, json), 0);
	feed_close(&other);
	ctx->phase = WCORE_PHASE_UP;
	/* Logged out: there is nothing to come back to. */
	feed.map->flushing = false;
	assert_int_equal(ctl_map_clear(feed.map), 0);
	save(&feed);
	feed_open(&other, ctx, NULL);
	ctx->phase = WCORE_PHASE_START;
	key[0] = 0xaa;
	assert_int_equal(ctl_map_load(other.map, key, &err), -ENOENT);
	assert_int_equal(err.errors, 0);
	ctx->phase = WCORE_PHASE_UP;
	feed_close(&other);
	feed_close(&feed);
	str_free(&a);
	str_free(&b);
}

static void test_damaged(void **state)
{
	static const char json[] = "{\"Node\":{\"ID\":1,\"Key\":\"nodekey:"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}";
	struct feed feed;
	uint8_t key[32], document[256] = { 0 }, *frame;
	size_t len;

	(void)state;
	memset(key, 0xaa, sizeof(key));
	frame = feed_frame(json, strlen(json), true, &len);
	memcpy(document + 32, frame, len);
	free(frame);
	feed_open(&feed, ctx, NULL);
	assert_int_equal(ctl_store_read(feed.map, document, 20, key), -EBADMSG);
	assert_string_equal(feed.map->why, "the saved network map is cut short");
	assert_int_equal(ctl_store_read(feed.map, document, 32 + len, key), -EBADMSG);
	assert_string_equal(feed.map->why, "the saved network map is damaged");
	assert_int_equal(feed.published, 0);
	feed_close(&feed);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_turns_of_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure_in_a_later_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
