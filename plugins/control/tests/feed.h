/*
 * feed.h - a map in a test: messages in, events and snapshots out
 */
#ifndef CTL_TESTS_FEED_H
#define CTL_TESTS_FEED_H

#include "../map_impl.h"
#include "base/str.h"

struct feed {
	struct ctl_map *map;
	const struct warren_netmap *now;	/* the newest published, with a reference */
	uint32_t published;
	struct str bad;				/* reports, one a line */
	struct str events;			/* the others, one a line */
};

/* @ctx NULL: nothing is put off. Aborts when there is no memory, as all of these. */
void feed_open(struct feed *feed, struct warren_ctx *ctx, const struct ctl_map_limits *limits);
void feed_close(struct feed *feed);
/* One message of plain JSON, in one piece: what ctl_map_feed() returned. */
int feed_json(struct feed *feed, const char *json);
int feed_json_n(struct feed *feed, const char *json, size_t len);
/* The same as a zstd frame, fed in portions of @portion bytes. */
int feed_zstd(struct feed *feed, const char *json, size_t len, size_t portion);
/* The framed message, for tests that feed it themselves; free() it. */
uint8_t *feed_frame(const char *json, size_t len, bool compress, size_t *out_len);
/* The peer of the newest snapshot, or NULL. */
const struct warren_node *feed_peer(const struct feed *feed, int64_t id);
/* Forgets the events and reports so far. */
void feed_forget(struct feed *feed);

/*
 * Around a test, with *@state a feed: an empty one, or one that has had FULL. Pieces of messages.
 */
int feed_setup(void **state);
int feed_setup_full(void **state);
int feed_teardown(void **state);

#define KEY(digit) "nodekey:" digit digit digit digit
#define D(c) c c c c c c c c c c c c c c c c
#define DISCO(digit) "discokey:" digit digit digit digit
#define SELF "{\"ID\":1,\"StableID\":\"n1\",\"Name\":\"a.ts.example.\",\"User\":7,\"Key\":\"" \
	KEY(D("a")) "\",\"Addresses\":[\"100.64.0.1/32\",\"fd7a:115c:a1e0::1/128\"]," \
	"\"MachineAuthorized\":true}"
#define PEER_(id, digit, rest) "{\"ID\":" #id ",\"Name\":\"p" #id ".ts.example.\",\"User\":7," \
	"\"Key\":\"" KEY(D(#digit)) "\",\"DiscoKey\":\"" DISCO(D(#digit)) "\"," \
	"\"Addresses\":[\"100.64.0." #id "/32\"]" rest "}"
#define PEER(id, rest) PEER_(id, id, rest)
#define FULL "{\"Node\":" SELF ",\"Peers\":[" PEER(2, "") "," PEER(3, "") "," PEER(4, "") "]," \
	"\"UserProfiles\":[{\"ID\":7,\"LoginName\":\"alice\",\"DisplayName\":\"Alice\"}]," \
	"\"PacketFilter\":[{\"SrcIPs\":[\"*\"],\"DstPorts\":[{\"IP\":\"*\"," \
	"\"Ports\":{\"First\":0,\"Last\":65535}}]}],\"Domain\":\"ts.example\"}"

#define RULE(src, port) "{\"SrcIPs\":[\"" src "\"],\"DstPorts\":[{\"IP\":\"*\",\"Ports\":{" \
	"\"First\":" port ",\"Last\":" port "}}]}"

#endif
