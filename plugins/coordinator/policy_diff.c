/*
 * `warren policy diff`: which flows between nodes another policy would open and close. All pairs
 * are compared, in two copies of the world and on the job pool, some in each job; the answer is of
 * the moment of the question.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy_verbs.h"
#include "server/server.h"

enum { DIFF_MAX = 1000, JOB_USEC = 200 * 1000 };

struct flow {
	bool opens;
	uint32_t src, dst;		/* in `nodes` */
	char *text;
};
struct member {
	int64_t id;
	char *name;
};

struct diff {
	struct warren_reply *reply;	/* NULL: the client hung up */
	struct member *nodes;
	uint32_t n, at;			/* the next source */
	struct policy *policies[2];	/* before, after */
	struct policy_world *worlds[2];
	bool ready, failed;		/* the rules are in the worlds */
	struct flow flows[DIFF_MAX];
	uint32_t n_flows, opened, closed;
};

static void diff_free(struct diff *d)
{
	for (int i = 0; i < 2; i++) {
		policy_world_free(d->worlds[i]);
		policy_free(d->policies[i]);
	}
	for (uint32_t i = 0; i < d->n; i++)
		free(d->nodes[i].name);
	for (uint32_t i = 0; i < d->n_flows; i++)
		free(d->flows[i].text);
	free(d->nodes);
	free(d);
}

/*
 * ---- On the pool ----
 */

static bool among(const json_t *list, const json_t *item)
{
	size_t i;
	json_t *have;

	json_array_foreach(list, i, have) {
		if (json_equal(have, item))
			return true;
	}
	return false;
}

static void note(struct diff *d, uint32_t src, uint32_t dst, const json_t *flows,
		 const json_t *without, bool opens)
{
	size_t i;
	json_t *flow;

	json_array_foreach(flows, i, flow) {
		char *text;

		if (among(without, flow))
			continue;
		*(opens ? &d->opened : &d->closed) += 1;
		if (d->n_flows == DIFF_MAX)
			continue;
		text = strdup(json_string_value(flow));
		d->failed = d->failed || !text;
		if (text)
			d->flows[d->n_flows++] = (struct flow){ opens, src, dst, text };
	}
}

static void compare(struct diff *d, uint32_t src, uint32_t dst)
{
	int64_t a = d->nodes[src].id, b = d->nodes[dst].id;
	json_t *flows[2];

	/* Who may begin anything sees the other. */
	if (!policy_world_sees(d->worlds[0], a, b) && !policy_world_sees(d->worlds[1], a, b))
		return;
	for (int i = 0; i < 2; i++)
		flows[i] = policy_world_flows(d->worlds[i], a, b);
	note(d, src, dst, flows[1], flows[0], true);
	note(d, src, dst, flows[0], flows[1], false);
	json_decref(flows[0]);
	json_decref(flows[1]);
}

static void some_rows(void *arg)
{
	struct diff *d = arg;
	uint64_t start = warren_now();

	for (int i = 0; !d->ready && i < 2; i++)
		d->failed = d->failed || policy_world_set(d->worlds[i], d->policies[i], NULL);
	d->ready = true;
	for (; !d->failed && d->at < d->n && warren_now() - start < JOB_USEC; d->at++)
		for (uint32_t i = 0; i < d->n; i++)
			compare(d, d->at, i);
}

/*
 * ---- On the lane ----
 */

static void answer(const struct diff *d)
{
	struct warren_reply *reply = d->reply;

	warren_reply_open(reply, "flows", '[');
	for (uint32_t i = 0; i < d->n_flows; i++) {
		const struct flow *flow = &d->flows[i];
		const char *src = d->nodes[flow->src].name, *dst = d->nodes[flow->dst].name;

		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "change", "%s", flow->opens ? "opens" : "closes");
		warren_reply_str(reply, "src", "%s", src);
		warren_reply_str(reply, "dst", "%s", dst);
		warren_reply_str(reply, "flow", "%s", flow->text);
		warren_reply_close(reply);
		warren_reply_text(reply, "%s\t%s\t%s\t%s", flow->opens ? "+" : "-", src, dst,
				  flow->text);
	}
	warren_reply_close(reply);
	warren_reply_int(reply, "opened", d->opened);
	warren_reply_int(reply, "closed", d->closed);
	warren_reply_text(reply, "Flows that open: %u, that close: %u%s", d->opened, d->closed,
			  d->opened + d->closed > d->n_flows ? "; the first 1000 are shown" : "");
	warren_reply_end(reply, 0, NULL);
}

static void rows_done(struct warren_ctx *ctx, void *arg)
{
	struct diff *d = arg;

	if (d->reply && !d->failed && d->at < d->n) {
		warren_reply_progress(d->reply, d->at, d->n, "nodes");
		if (warren_work(ctx, some_rows, rows_done, d) == 0)
			return;
		d->failed = true;
	}
	if (d->reply && d->failed)
		warren_reply_end(d->reply, 1, "there is no memory to compare the policies");
	else if (d->reply)
		answer(d);
	diff_free(d);
}

static void cancelled(struct warren_reply *reply, void *arg)
{
	struct diff *d = arg;

	(void)reply;
	d->reply = NULL;
}

static bool take_nodes(struct diff *d, const struct tailnet *tailnet)
{
	uint32_t n;
	const struct tailnet_node *const *nodes = tailnet_nodes(tailnet, &n);

	d->nodes = calloc(n + 1, sizeof(*d->nodes));
	for (uint32_t i = 0; d->nodes && i < n; i++) {
		d->nodes[i] = (struct member){ nodes[i]->id, strdup(nodes[i]->name) };
		d->n++;
		if (!d->nodes[i].name)
			return false;
	}
	return d->nodes != NULL;
}

int policy_run_diff(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	const struct coord *coord = warren_self(ctx);
	struct policy *fresh = policy_read(reply, err);
	struct policy_error error;
	struct diff *d;

	(void)args;
	if (!fresh)
		return -EINVAL;
	d = calloc(1, sizeof(*d));
	if (!d) {
		policy_free(fresh);
		return -ENOMEM;
	}
	d->reply = reply;
	d->policies[0] = policy_parse(coord->policy->text, coord->policy->len, NULL, &error);
	d->policies[1] = fresh;
	for (int i = 0; i < 2; i++)
		d->worlds[i] = policy_world_copy(coord->world);
	if (!d->policies[0] || !d->worlds[0] || !d->worlds[1] || !take_nodes(d, coord->tailnet) ||
	    warren_work(ctx, some_rows, rows_done, d)) {
		diff_free(d);
		return -ENOMEM;
	}
	warren_reply_on_cancel(reply, cancelled, d);
	return WARREN_PENDING;
}
