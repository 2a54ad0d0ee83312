/*
 * taildrop: files between nodes. Read this first: the tables that declare it, and its folder.
 *
 *	access.c	who may send to whom
 *	names.c		names, ranges, hashes of blocks: all that peers say
 *	serve.c		requests of peers; hashes of what is here
 *	receive.c	a file that comes
 *	send.c		a file that goes
 *	cp.c, get.c	`warren file cp`, `warren file get`
 *	show.c		status
 *
 * What comes lies in a folder below the state, until it is fetched, or in the operator's `inbox`.
 * Files are read and written by jobs of the pool, a piece at a time.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include <sodium.h>

#include "taildrop.h"

static const uint64_t sweep_usec = 600 * SECOND;
static const int64_t stale_usec = 3600 * (int64_t)SECOND;

static const struct warren_option options[] = {
	{
		.key = "inbox", .type = WARREN_PATH, .flags = WARREN_WRITE | WARREN_DIR,
		.brief = "Folder that files of peers are put into.",
		.help = "They belong to the owner of the folder, or to `owner`. Nothing has to be "
			"fetched then; without it files wait for `warren file get`.",
		.example = "/srv/inbox",
	},
	{
		.key = "owner", .type = WARREN_STRING, .min = 1, .max = 64,
		.brief = "Local user whose the files in `inbox` are.",
		.help = "Who may write in that folder. Only where both are set by the files of "
			"the configuration.",
		.example = "wells",
	},
	{
		.key = "max-file", .type = WARREN_SIZE, .def = "0", .max = INT64_MAX,
		.brief = "Largest file that is accepted; 0: no limit.",
	},
	{
		.key = "max-total", .type = WARREN_SIZE, .def = "0", .max = INT64_MAX,
		.brief = "Most bytes in the inbox, those that are still coming included; 0: no "
			 "limit.",
	},
	{
		.key = "accept-from", .type = WARREN_STRING, .flags = WARREN_MANY, .max = 255,
		.brief = "Who may send, of those whom the network lets: nodes, tags, logins.",
		.help = "Names and addresses of nodes, tags, login names of users. Without it "
			"everybody whom the network lets: nodes of the same user, and others by "
			"a grant of the policy.",
		.example = "[alice@example.com, \"tag:ci\"]",
	},
};

static const struct warren_option cp_args[] = {
	{ .key = "name", .type = WARREN_STRING, .max = 255,
	  .brief = "Another name for the file; for standard input (-) above all." },
	{ .key = "targets", .type = WARREN_BOOL, .def = "false",
	  .brief = "List the nodes that files can be sent to." },
	{ .key = "update-interval", .type = WARREN_DURATION, .def = "250ms",
	  .brief = "How often progress is shown on a terminal; 0: not at all." },
	{ .key = "verbose", .type = WARREN_BOOL, .def = "false", .brief = "Say what is done." },
	{ .key = "files", .type = WARREN_FD_IN,
	  .flags = WARREN_POSITIONAL | WARREN_MANY, .brief = "Files; - is standard input." },
	{ .key = "target", .type = WARREN_STRING, .flags = WARREN_POSITIONAL, .max = 255,
	  .brief = "Name or address of a node, and a colon." },
};

static const char *const conflicts[] = { "skip", "overwrite", "rename", NULL };
static const struct warren_option get_args[] = {
	{ .key = "conflict", .type = WARREN_ENUM, .values = conflicts, .def = "skip",
	  .brief = "What to do where the folder has a file of that name." },
	{ .key = "loop", .type = WARREN_BOOL, .def = "false",
	  .brief = "Go on for ever, as files come." },
	{ .key = "verbose", .type = WARREN_BOOL, .def = "false", .brief = "Say what is done." },
	{ .key = "wait", .type = WARREN_BOOL, .def = "false",
	  .brief = "Wait for a file if none is there." },
	{ .key = "folder", .type = WARREN_FD_DIR, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "Where to; /dev/null deletes all that wait." },
};

static const struct warren_command commands[] = {
	{ .path = "file cp", .flags = WARREN_CMD_OPERATOR | WARREN_CMD_STOCK,
	  .args = WARREN_TABLE(cp_args),
	  .brief = "Send files to a node.",
	  .help = "What the node has already of a file, after a connection that broke, is not "
		  "sent again.",
	  .example = "warren file cp ./report.pdf laptop:", .run = drop_command_cp },
	{ .path = "file get", .flags = WARREN_CMD_OPERATOR | WARREN_CMD_STOCK,
	  .args = WARREN_TABLE(get_args),
	  .brief = "Move files that peers sent into a folder.",
	  .help = "The files belong to whoever types this. They stay in the inbox until they are "
		  "whole in the folder.",
	  .example = "warren file get .", .run = drop_command_get },
};

static const struct warren_metric metrics[] = {
	{ .name = "received", .kind = WARREN_COUNTER, .unit = "1", .brief = "Files of peers." },
	{ .name = "received_bytes", .kind = WARREN_COUNTER, .unit = "bytes",
	  .brief = "Bytes of files of peers, of those that were cut off too." },
	{ .name = "sent", .kind = WARREN_COUNTER, .unit = "1", .brief = "Files to peers." },
	{ .name = "sent_bytes", .kind = WARREN_COUNTER, .unit = "bytes",
	  .brief = "Bytes of files to peers." },
	{ .name = "refused", .kind = WARREN_COUNTER, .unit = "1",
	  .brief = "Requests of peers that may not send." },
};

static const struct warren_port needs[] = {
	{ .name = "netmap", .major = 0, .minor = 1, .brief = "Who is who, and may what." },
	{ .name = "peerapi", .major = 0, .minor = 1, .flags = WARREN_ENABLE,
	  .provider = "peerapi", .brief = "Requests of peers, and to them." },
};

/*
 * ---- The folder ----
 */

static bool is_peer(const struct warren_netmap *map, const char *id)
{
	for (uint32_t i = 0; map && i < map->n_peers; i++) {
		if (map->peers[i]->stable_id && strcmp(map->peers[i]->stable_id, id) == 0)
			return true;
	}
	return false;
}

static void removed(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	(void)arg;
	if (answer->result)
		warren_log(ctx, LOG_WARNING, "a partial file that nobody goes on with stays: %s",
			   answer->why);
}

/* In the operator's folder there may be others' files that look alike: only those of peers. */
static void swept(struct warren_ctx *ctx, const struct warren_dir_answer *answer, void *arg)
{
	struct taildrop *td = arg;
	const struct warren_netmap *map = td->netmap->current(td->netmap_self);
	int64_t now = warren_realtime();

	(void)ctx;
	for (uint32_t i = 0; i < answer->n_entries; i++) {
		const struct warren_dir_entry *entry = &answer->entries[i];
		char name[DROP_NAME], id[DROP_NAME];

		if (S_ISREG(entry->mode) && now - entry->mtime > stale_usec &&
		    drop_partial_split(entry->name, name, id) &&
		    (!td->direct || is_peer(map, id)) && !drop_is_coming(td, entry->name))
			(void)warren_dir_unlink(td->dir, entry->name, removed, td);
	}
	warren_obj_unref(map);
	warren_timer_set(td->sweep, sweep_usec);
}

static void sweep(struct warren_ctx *ctx, void *arg)
{
	struct taildrop *td = arg;

	(void)ctx;
	if (warren_dir_list(td->dir, swept, td))
		warren_timer_set(td->sweep, sweep_usec);
}

static int open_dir(struct taildrop *td, const struct warren_conf *conf, struct warren_dir **out,
		    struct warren_err *err)
{
	int result;

	if (!warren_conf_has(conf, "inbox"))
		return warren_dir_state(td->ctx, "inbox", out, err);
	result = warren_dir_conf(td->ctx, conf, "inbox", "owner", out);
	return result ? warren_fail(err, NULL, "out of memory"), result : 0;
}

/* Nobody hears of the folder any more. Between a stop and the end requests may still come. */
static void shut(struct taildrop *td)
{
	warren_dir_close(td->dir);
	td->dir = NULL;
	drop_receive_end(td);
	drop_hashes_end(td);
	drop_get_end(td);
}

/*
 * ---- Life ----
 */

static void conf_read(struct taildrop *td, const struct warren_conf *conf)
{
	td->conf = conf;
	td->direct = warren_conf_has(conf, "inbox");
	td->max_file = warren_conf_int(conf, "max-file");
	td->max_total = warren_conf_int(conf, "max-total");
}

static int drop_check(const struct warren_conf *conf, struct warren_err *err)
{
	if (warren_conf_has(conf, "owner") && !warren_conf_has(conf, "inbox"))
		return warren_fail_key(err, -EINVAL, conf, "owner", "the owner of files is that of "
				       "those in `inbox`, which is not set");
	return 0;
}

static int init(struct taildrop *td, struct warren_ctx *ctx)
{
	td->ctx = ctx;
	list_init(&td->incoming);
	list_init(&td->hashings);
	list_init(&td->listings);
	list_init(&td->sendings);
	list_init(&td->cps);
	list_init(&td->gets);
	td->sweep = warren_timer_new(ctx, sweep, td);
	td->received = warren_stat_open(ctx, "received", NULL);
	td->received_bytes = warren_stat_open(ctx, "received_bytes", NULL);
	td->sent = warren_stat_open(ctx, "sent", NULL);
	td->sent_bytes = warren_stat_open(ctx, "sent_bytes", NULL);
	td->refused = warren_stat_open(ctx, "refused", NULL);
	return td->sweep && td->received && td->received_bytes && td->sent && td->sent_bytes &&
	       td->refused ? 0 : -ENOMEM;
}

static int drop_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		      struct warren_err *err)
{
	struct taildrop *td = warren_zalloc(ctx, sizeof(*td));
	struct warren_peerapi_route route = {
		.size = sizeof(route), .path = "/v0/put", .request = drop_request, .arg = td,
	};
	const void *found;
	int result;

	if (!td || sodium_init() < 0 || init(td, ctx))
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, td);
	conf_read(td, conf);
	result = warren_need(ctx, "netmap", &found, &td->netmap_self);
	if (result)
		return result;
	td->netmap = found;
	result = warren_need(ctx, "peerapi", &found, &td->peerapi_self);
	if (result)
		return result;
	td->peerapi = found;
	result = open_dir(td, conf, &td->dir, err);
	if (result)
		return result;
	warren_timer_set(td->sweep, 0);
	return td->peerapi->route(td->peerapi_self, ctx, &route, err);
}

static int drop_reload(struct warren_ctx *ctx, const struct warren_conf *old,
		       const struct warren_conf *now, struct warren_err *err)
{
	struct taildrop *td = warren_self(ctx);
	struct warren_dir *dir = NULL;

	if (!warren_conf_equal(old, now, "inbox") || !warren_conf_equal(old, now, "owner")) {
		int result = open_dir(td, now, &dir, err);

		if (result)
			return result;
		shut(td);
		td->dir = dir;
		warren_timer_set(td->sweep, 0);
	}
	conf_read(td, now);
	return 0;
}

static int drop_stop(struct warren_ctx *ctx)
{
	struct taildrop *td = warren_self(ctx);

	warren_timer_stop(td->sweep);
	shut(td);
	drop_cp_end(td);
	return 0;
}

WARREN_PLUGIN(taildrop, "taildrop",
	.version = "0.1",
	.license = "ISC",
	.brief = "Files between nodes.",
	.help = "Sends files to nodes of the network and takes those that they send, as the stock "
		"client does and with it. Transfers that broke go on where they ended.",
	.options = WARREN_TABLE(options),
	.commands = WARREN_TABLE(commands),
	.metrics = WARREN_TABLE(metrics),
	.needs = WARREN_TABLE(needs),
	.privops = WARREN_PRIVOP(FILE),
	.check = drop_check,
	.start = drop_start,
	.reload = drop_reload,
	.stop = drop_stop,
	.status = drop_status,
);
