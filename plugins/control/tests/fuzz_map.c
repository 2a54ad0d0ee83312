/*
 * Map messages: any bytes, taken as the JSON of a message on top of a full map, as a stream with
 * its lengths, and as the inside of a zstd frame. The same message must have the same outcome in
 * whatever way it came; what is saved of a map must read back as that map; and the changes must
 * lead from the map before to this one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"
#include "feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char start[] =
	"{\"Node\":{\"ID\":1,\"Key\":\"nodekey:"
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
	"\"Addresses\":[\"100.64.0.1/32\"]},\"Peers\":[{\"ID\":2,\"Key\":\"nodekey:"
	"2222222222222222222222222222222222222222222222222222222222222222\",\"DiscoKey\":\"di"
		"scokey:"
	"2222222222222222222222222222222222222222222222222222222222222222\","
	"\"Addresses\":[\"100.64.0.2/32\"],\"LastSeen\":\"2026-01-01T00:00:00Z\"},"
	"{\"ID\":3,\"Key\":\"nodekey:"
	"3333333333333333333333333333333333333333333333333333333333333333\",\"HomeDERP\":1}],"
	"\"UserProfiles\":[{\"ID\":7,\"LoginName\":\"alice\"}],\"PacketFilter\":[{\"SrcIPs\":"
		"[\"*\"],"
	"\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{\"First\":0,\"Last\":65535}}]}],"
	"\"Health\":[\"h\"],\"DERPMap\":{\"Regions\":{\"1\":{\"RegionID\":1,\"Nodes\":[]}}}}";

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void begin(struct feed *feed)
{
	feed_open(feed, NULL, NULL);
	require(feed_json(feed, start) == 0);
}

static void compare(const struct warren_netmap *a, const struct warren_netmap *b)
{
	struct str x = STR_INIT, y = STR_INIT;

	dump_map(&x, a);
	dump_map(&y, b);
	require(x.s && y.s && !strcmp(x.s, y.s));
	str_free(&x);
	str_free(&y);
}

static void check_stored(const struct feed *feed)
{
	struct str json = STR_INIT;
	struct feed other;

	ctl_store_write(ctl_snapshot_of(feed->now), &json);
	feed_open(&other, NULL, NULL);
	other.map->stats.clock_delta = feed->map->stats.clock_delta;
	require(feed_json_n(&other, json.s, json.len) == 0);
	compare(feed->now, other.now);
	feed_close(&other);
	str_free(&json);
}

static void check_changes(const struct warren_netmap *before, const struct warren_netmap *now)
{
	uint32_t i = 0, k = 0, c = 0;

	if (now == before)
		return;
	while (i < before->n_peers || k < now->n_peers) {
		const struct warren_node *a = i < before->n_peers ? before->peers[i] : NULL;
		const struct warren_node *b = k < now->n_peers ? now->peers[k] : NULL;

		if (a && b && a->id != b->id) {
			b = a->id < b->id ? NULL : b;
			a = b ? NULL : a;
		}
		i += a != NULL;
		k += b != NULL;
		if (a == b)
			continue;
		if (c < now->n_changes && now->changes[c].before == a && now->changes[c].after == b)
			c++;
		else
			require(a && b && !ctl_node_diff(a, b));
	}
	require(c == now->n_changes);
}

/* What depends on the moment is not compared. */
static bool has_clock(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "PeerSeenChange", "KeyExpiry", "ControlTime" };

	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
		if (memmem(data, size, words[w], strlen(words[w])))
			return true;
	}
	/* A name may be written with escapes. */
	return memchr(data, '\\', size) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed plain, packed, stream;
	const struct warren_netmap *before;
	int result;

	begin(&plain);
	begin(&packed);
	before = warren_obj_ref(plain.now);
	result = feed_json_n(&plain, (const char *)data, size);
	if (size)
		require(feed_zstd(&packed, (const char *)data, size, 7) == result ||
			result == -EBADMSG);
	check_changes(before, plain.now);
	if (!result && !has_clock(data, size))
		compare(plain.now, packed.now);
	check_stored(&plain);
	warren_obj_unref(before);
	feed_close(&plain);
	feed_close(&packed);

	begin(&stream);
	(void)ctl_map_feed(stream.map, data, size, NULL);
	feed_close(&stream);
	return 0;
}
