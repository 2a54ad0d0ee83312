/*
 * The last verified map on disk: a hash, then the state as one message of a map stream. It is
 * written by a job from a snapshot that the job holds, and read by the decoder of the stream.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "map_impl.h"

#define DOCUMENT "map"
enum { DOCUMENT_VERSION = 1, HASH = 32, LEVEL = 3 };
static const uint64_t pause_usec = 30000000, first_pause_usec = 1000000;

/* One writing. Between its start and its end the map may go away. */
struct ctl_save {
	struct ctl_map *map;		/* NULL: it is gone; lane */
	const struct warren_netmap *snapshot;
	uint8_t *data;
	size_t len;
	int result;
};

static void save_free(struct ctl_save *save)
{
	warren_obj_unref(save->snapshot);
	free(save->data);
	free(save);
}

/*
 * ---- Making the document (a worker) ----
 */

static int compress(struct ctl_save *save, const struct str *json)
{
	size_t room = ZSTD_compressBound(json->len), n;
	uint8_t *at;

	save->data = malloc(HASH + 4 + room);
	if (!save->data)
		return -ENOMEM;
	at = save->data + HASH;
	n = ZSTD_compress(at + 4, room, json->s, json->len, LEVEL);
	if (ZSTD_isError(n))
		return -ENOMEM;
	if (n > UINT32_MAX)
		return -EMSGSIZE;
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(n >> (8 * i));
	save->len = HASH + 4 + n;
	crypto_generichash(save->data, HASH, at, 4 + n, NULL, 0);
	return 0;
}

static void save_job(void *arg)
{
	struct ctl_save *save = arg;
	struct str json = STR_INIT;

	/* Nobody is logged in: an empty document. */
	if (!save->snapshot->self)
		return;
	ctl_store_write(ctl_snapshot_of(save->snapshot), &json);
	save->result = json.failed ? -ENOMEM : compress(save, &json);
	str_free(&json);
}

/*
 * ---- When it is made ----
 */

static void save_failed(struct ctl_map *map, int result)
{
	warren_log(map->ctx, LOG_WARNING, "the network map is not saved to disk (%s); after a "
		   "restart without the server this node has the one saved before",
		   strerror(-result));
}

static void written(struct warren_ctx *ctx, int result, void *arg)
{
	struct ctl_save *save = arg;
	struct ctl_map *map = save->map;

	(void)ctx;
	save_free(save);
	if (!map)
		return;
	map->saving = NULL;
	map->saved = warren_now();
	if (result)
		save_failed(map, result);
	if (map->save_due)
		ctl_map_save(map);
}

static void save_made(struct warren_ctx *ctx, void *arg)
{
	struct ctl_save *save = arg;
	int result = save->result;

	if (!result && save->map)
		result = warren_state_write(ctx, DOCUMENT, 0, DOCUMENT_VERSION,
			save->len ? save->data
										 : (void *)"",
					    save->len, written, save);
	else
		result = result ? result : -ESHUTDOWN;
	if (result)
		written(ctx, save->map ? result : 0, save);
}

void ctl_store_fired(struct warren_ctx *ctx, void *arg)
{
	struct ctl_map *map = arg;
	struct ctl_save *save;

	map->save_set = false;
	if (map->saving || !map->current)
		return;
	map->save_due = false;
	save = calloc(1, sizeof(*save));
	if (!save) {
		save_failed(map, -ENOMEM);
		return;
	}
	save->map = map;
	save->snapshot = warren_obj_ref(&map->current->map);
	map->saving = save;
	if (warren_work(ctx, save_job, save_made, save)) {
		/* The queue of jobs is full: later. */
		map->saving = NULL;
		save_free(save);
		map->saved = warren_now();
		if (!map->flushing)
			ctl_map_save(map);
	}
}

void ctl_map_save(struct ctl_map *map)
{
	uint64_t now = warren_now(), due = map->saved ? map->saved + pause_usec
						      : now + first_pause_usec;

	if (!map->ctx)
		return;
	map->save_due = true;
	if (map->saving || map->save_set)
		return;
	if (map->flushing) {
		ctl_store_fired(map->ctx, map);
		return;
	}
	map->save_set = true;
	warren_timer_set(map->save, due > now ? due - now : 0);
}

void ctl_map_flush(struct ctl_map *map)
{
	map->flushing = true;
	if (!map->save_due || !map->ctx)
		return;
	warren_timer_stop(map->save);
	map->save_set = false;
	ctl_map_save(map);
}

void ctl_store_end(struct ctl_map *map)
{
	if (map->saving)
		map->saving->map = NULL;
	map->saving = NULL;
}

/*
 * ---- Loading ----
 */

static int check_hash(struct ctl_map *map, const uint8_t *data, size_t len)
{
	uint8_t hash[HASH];

	if (len <= HASH)
		return ctl_map_error(map, -EBADMSG, "the saved network map is cut short");
	crypto_generichash(hash, HASH, data + HASH, len - HASH, NULL, 0);
	if (sodium_memcmp(hash, data, HASH))
		return ctl_map_error(map, -EBADMSG, "the saved network map is damaged");
	return 0;
}

int ctl_store_read(struct ctl_map *map, const uint8_t *data, size_t len,
		   const uint8_t node_key[32])
{
	int result;

	if (!len)
		return ctl_map_error(map, -ENOENT, "no network map was saved");
	result = check_hash(map, data, len);
	if (result)
		return result;
	ctl_map_begin(map);
	map->loading = node_key;
	result = ctl_map_run(map, data + HASH, len - HASH);
	if (!result && !ctl_map_at_boundary(map))
		result = ctl_map_error(map, -EBADMSG, "the saved network map is cut short");
	map->loading = NULL;
	ctl_map_begin(map);
	return result;
}

int ctl_map_load(struct ctl_map *map, const uint8_t node_key[32], struct warren_err *err)
{
	void *data = NULL;
	size_t len = 0;
	int result = warren_state_read(map->ctx, DOCUMENT, 0, DOCUMENT_VERSION, &data, &len, err);

	if (result)
		return result;
	result = ctl_store_read(map, data, len, node_key);
	warren_release(data);
	if (result && result != -ENOENT)
		warren_fail(err, NULL, "%s; the map comes from the server", map->why);
	return result;
}
