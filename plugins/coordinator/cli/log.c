/*
 * warren coordinator backup, log: what is read from the database, by a job
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../store/store.h"
#include "base/str.h"
#include "base/util.h"

struct row {
	int64_t id, time, target;
	char *actor, *origin, *action, *kind, *name, *before, *after;
};
struct errand {
	struct store *store;
	struct warren_reply *reply;
	int fd, result;			/* backup; -1 */
	char why[STORE_WHY];
	int64_t since;			/* log */
	uint32_t limit, n;
	struct row *rows;
};

static void errand_free(struct errand *e)
{
	for (uint32_t i = 0; i < e->n; i++) {
		struct row *r = &e->rows[i];
		char *const texts[] = { r->actor, r->origin, r->action, r->kind, r->name,
					r->before, r->after };

		for (size_t k = 0; k < ARRAY_SIZE(texts); k++)
			free(texts[k]);
	}
	free(e->rows);
	auto_close(&e->fd);
	free(e);
}

static struct errand *errand_new(struct warren_ctx *ctx, struct warren_reply *reply)
{
	struct errand *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->store = tailnet_store(coord_cli_tailnet(ctx));
	e->reply = reply;
	e->fd = -1;
	return e;
}

/* Takes @e, which may be NULL. */
static int begin_take(struct warren_ctx *ctx, struct errand *e, void (*job)(void *arg),
		      warren_call_fn *done, struct warren_err *err)
{
	int rc = e ? warren_work(ctx, job, done, e) : -ENOMEM;

	if (!rc)
		return WARREN_PENDING;
	if (e)
		errand_free(e);
	return warren_fail(err, NULL, "too much is going on at once; try again");
}

/*
 * ---- Backup ----
 */

static void backup_job(void *arg)
{
	struct errand *e = arg;

	e->result = store_backup(e->store, e->fd, e->why);
	if (!e->result && fsync(e->fd) < 0 && errno != EINVAL && errno != EROFS) {
		e->result = -errno;
		str_copy(e->why, sizeof(e->why), "the backup could not be written to its disk");
	}
}

static void backup_done(struct warren_ctx *ctx, void *arg)
{
	struct errand *e = arg;

	(void)ctx;
	if (e->result) {
		warren_reply_end(e->reply, 1, e->why);
	} else {
		warren_reply_text(e->reply, "The backup is whole. To restore: stop warrend, put it "
				  "in the place of the database, start.");
		warren_reply_bool(e->reply, "whole", true);
		warren_reply_end(e->reply, 0, NULL);
	}
	errand_free(e);
}

int coord_run_backup(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err)
{
	struct errand *e = errand_new(ctx, reply);

	(void)args;
	if (e)
		e->fd = warren_reply_take_fd(reply, "file");
	return begin_take(ctx, e, backup_job, backup_done, err);
}

/*
 * ---- Audit log ----
 */

static bool keep(char **out, const char *text)
{
	*out = text ? strdup(text) : NULL;
	return *out || !text;
}

static int log_row(const struct store_audit *audit, void *arg)
{
	struct errand *e = arg;
	struct row *r = &e->rows[e->n];

	if (e->n == e->limit)
		return -E2BIG;
	e->n++;
	r->id = audit->id;
	r->time = audit->time;
	r->target = audit->target;
	return keep(&r->actor, audit->actor) && keep(&r->origin, audit->origin) &&
	       keep(&r->action, audit->action) && keep(&r->kind, audit->kind) &&
	       keep(&r->name, audit->name) && keep(&r->before, audit->before) &&
	       keep(&r->after, audit->after) ? 0 : -ENOMEM;
}

static void log_job(void *arg)
{
	struct errand *e = arg;

	e->rows = calloc(e->limit, sizeof(*e->rows));
	e->result = e->rows ? store_audit_read(e->store, e->since, e->limit, log_row, e, e->why) :
			      -ENOMEM;
	if (e->result && !e->why[0])
		str_copy(e->why, sizeof(e->why), strerror(-e->result));
}

static const char *or_none(const char *text)
{
	return text ? text : "";
}

static void log_print(struct warren_reply *reply, const struct row *r)
{
	char when[COORD_TIME];

	warren_reply_text(reply, "%s\t%s\t%s\t%s %s\t%s%s%s", coord_time_text(r->time, when),
			  or_none(r->actor), or_none(r->action), or_none(r->kind),
			  or_none(r->name), or_none(r->before),
			  r->before && r->after ? " -> " : "", or_none(r->after));
	warren_reply_open(reply, NULL, '{');
	warren_reply_int(reply, "id", r->id);
	coord_show_time(reply, "time", r->time);
	warren_reply_str(reply, "actor", "%s", or_none(r->actor));
	warren_reply_str(reply, "origin", "%s", or_none(r->origin));
	warren_reply_str(reply, "action", "%s", or_none(r->action));
	warren_reply_str(reply, "kind", "%s", or_none(r->kind));
	warren_reply_int(reply, "target", r->target);
	warren_reply_str(reply, "name", "%s", or_none(r->name));
	warren_reply_str(reply, "before", "%s", or_none(r->before));
	warren_reply_str(reply, "after", "%s", or_none(r->after));
	warren_reply_close(reply);
}

static void log_done(struct warren_ctx *ctx, void *arg)
{
	struct errand *e = arg;

	(void)ctx;
	if (e->n)
		warren_reply_text(e->reply, "TIME\tWHO\tWHAT\tOF\tBEFORE -> AFTER");
	warren_reply_open(e->reply, "log", '[');
	for (uint32_t i = 0; i < e->n; i++)
		log_print(e->reply, &e->rows[i]);
	warren_reply_close(e->reply);
	/* What was read up to a row that was tampered with is shown all the same. */
	warren_reply_end(e->reply, e->result ? 1 : 0, e->result ? e->why : NULL);
	errand_free(e);
}

int coord_run_log(struct warren_ctx *ctx, const struct warren_conf *args,
		  struct warren_reply *reply, struct warren_err *err)
{
	struct errand *e = errand_new(ctx, reply);

	if (e) {
		e->limit = (uint32_t)warren_conf_int(args, "limit");
		if (warren_conf_has(args, "since"))
			e->since = warren_realtime() - warren_conf_int(args, "since");
	}
	return begin_take(ctx, e, log_job, log_done, err);
}
