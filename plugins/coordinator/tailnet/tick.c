/*
 * What happens by time, and the answers.
 *
 * Every timer is a time in the record or place that it is about; one look over all of them finds
 * those that are due and the next. A look at 10,000 nodes is some 100 microseconds, and there are
 * ten in a second at most: that is cheaper to get right than 10,000 timers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/store.h"
#include "base/util.h"
#include "impl.h"

static void wake(struct tailnet *tn, uint64_t at)
{
	uint64_t now = now_mono(tn);

	if (tn->wake_at && tn->wake_at <= at)
		return;
	tn->wake_at = at > now ? at : now;
	tn->env.wake(tn->env.self, at > now ? at - now : 0);
}

void tick_soon(struct tailnet *tn)
{
	wake(tn, now_mono(tn));
}

void tick_at(struct tailnet *tn, uint64_t mono)
{
	if (!tn->scan_at || mono < tn->scan_at)
		tn->scan_at = mono;
	wake(tn, tn->scan_at);
}

/*
 * ---- Answers ----
 */

static void answer_registered(struct tailnet *tn, const struct tailnet_request *request)
{
	struct tailnet_registered answer = {
		.as = request->result ? TAILNET_REFUSED : request->as, .result = request->result,
		.code = request->code, .error = request->error,
	};

	if (answer.as == TAILNET_REGISTERED || answer.as == TAILNET_KEY_EXPIRED)
		answer.node = tailnet_node(tn, request->node);
	/* It may have been deleted in the same commit. */
	if (answer.as == TAILNET_REGISTERED && !answer.node) {
		answer.as = TAILNET_REFUSED;
		answer.result = -ENOENT;
		answer.error = "node not found";
	}
	if (answer.node)
		answer.user = tailnet_user(tn, answer.node->user);
	if (answer.as == TAILNET_REFUSED && !answer.error)
		answer.error = "internal error";
	request->registered(request->arg, &answer);
}

static void answer(struct tailnet *tn, struct tailnet_request *request)
{
	struct tailnet_outcome outcome = {
		.result = request->result, .error = request->result ? request->error : NULL,
	};

	switch (request->kind) {
	case REQUEST_REGISTER:
		answer_registered(tn, request);
		return;
	case REQUEST_ACT:
		if (!request->acted)
			return;
		outcome.user = tailnet_user(tn, request->user);
		outcome.node = tailnet_node(tn, request->node);
		outcome.key = tailnet_key(tn, request->key);
		if (!request->result && request->secret[0])
			outcome.secret = request->secret;
		if (request->result && !outcome.error)
			outcome.error = strerror(-request->result);
		request->acted(request->arg, &outcome);
		return;
	case REQUEST_FACTS:
		if (request->updated)
			request->updated(request->arg, request->result);
		return;
	case REQUEST_APPROVALS:
		return;
	}
}

static void answer_all(struct tailnet *tn)
{
	struct list due = LIST_INIT(due);
	struct tailnet_request *request;

	list_splice_tail(&due, &tn->answers);
	while ((request = list_first(&due, struct tailnet_request, in))) {
		list_del(&request->in);
		if (!request->cancelled)
			answer(tn, request);
		request_free(tn, request);
	}
}

/*
 * ---- Timers ----
 */

static void sooner(uint64_t *next, uint64_t at)
{
	if (at < *next)
		*next = at;
}

/* Wall times as mono ones, as of now. */
static uint64_t as_mono(int64_t wall, int64_t now, uint64_t mono)
{
	return wall > now ? mono + (uint64_t)(wall - now) : mono;
}

static void go_offline(struct tailnet *tn, struct place *place)
{
	struct tailnet_node *now = node_copy(place->node);

	if (!now)
		return;			/* looked at again with the next tick */
	place->offline_at = 0;
	now->live.online = false;
	now->soft.last_seen = now_wall(tn);
	soft_mark(tn, place);
	state_put_node(tn, now);
}

static void expire(struct tailnet *tn, struct place *place)
{
	struct tailnet_node *now = node_copy(place->node);

	if (now)
		state_put_node(tn, now);	/* sees by itself that it is expired */
}

static void delete_ephemeral(struct tailnet *tn, struct place *place)
{
	const struct tailnet_act act = {
		.verb = TAILNET_NODE_DELETE, .actor = "coordinator", .origin = "timer",
		.node = place->node->id,
	};

	/* Again later, if the disk refuses. */
	place->delete_at = now_mono(tn) + UINT64_C(60) * SECOND;
	tailnet_do(tn, &act, NULL, NULL);
}

static void scan_node(struct tailnet *tn, struct place *place, int64_t wall, uint64_t mono,
		      uint64_t *next)
{
	const struct tailnet_node *node = place->node;

	if (place->offline_at && place->offline_at <= mono)
		go_offline(tn, place);
	if (place->node->expiry && !place->node->live.expired && place->node->expiry <= wall)
		expire(tn, place);
	if (place->delete_at && place->delete_at <= mono)
		delete_ephemeral(tn, place);
	node = place->node;
	if (place->offline_at)
		sooner(next, place->offline_at);
	if (place->delete_at)
		sooner(next, place->delete_at);
	if (node->expiry && !node->live.expired)
		sooner(next, as_mono(node->expiry, wall, mono));
}

/* Those whose time is over are forgotten; it is no harm when the disk learns that late. */
static void scan_held(struct tailnet *tn, int64_t wall, uint64_t mono, uint64_t *next)
{
	struct warren_addr due[256];
	const struct held *held;
	struct store_tx *tx;
	uint32_t pos = 0, n = 0;

	while (n < ARRAY_SIZE(due) && (held = hash_next(&tn->held, &pos))) {
		if (held->until <= wall)
			due[n++] = held->addr;
		else
			sooner(next, as_mono(held->until, wall, mono));
	}
	tx = n ? store_tx_new() : NULL;
	if (!tx)
		return;
	for (uint32_t i = 0; i < n; i++) {
		store_tx_hold(tx, &due[i], 0);
		state_hold(tn, &due[i], 0);
	}
	change_background(tn, tx);
	/* There may be more. */
	sooner(next, mono);
}

static void scan(struct tailnet *tn)
{
	uint64_t mono = now_mono(tn), next = mono + SCAN_AT_MOST;
	int64_t wall = now_wall(tn), wall_next = INT64_MAX;

	for (uint32_t i = 0; i < tn->nodes.count; i++)
		scan_node(tn, tn->places[i], wall, mono, &next);
	scan_held(tn, wall, mono, &next);
	pending_expire(tn, wall, &wall_next);
	if (wall_next != INT64_MAX)
		sooner(&next, as_mono(wall_next, wall, mono));
	tn->scan_at = next > mono + SCAN_AT_LEAST ? next : mono + SCAN_AT_LEAST;
	tell_flush(tn);
}

void tailnet_tick(struct tailnet *tn)
{
	uint64_t mono = now_mono(tn);

	tn->wake_at = 0;
	answer_all(tn);
	if (!tn->draining) {
		if (tn->scan_at <= mono)
			scan(tn);
		if (tn->soft_at && tn->soft_at <= mono)
			soft_flush(tn);
	}
	change_kick(tn);
	if (tn->drained && !tn->flying && list_empty(&tn->queue) && list_empty(&tn->answers)) {
		void (*done)(void *arg) = tn->drained;

		/* It may free the tailnet. */
		tn->drained = NULL;
		done(tn->drained_arg);
		return;
	}
	if (!list_empty(&tn->answers))
		tick_soon(tn);
	else if (!tn->draining)
		wake(tn, tn->soft_at && tn->soft_at < tn->scan_at ? tn->soft_at : tn->scan_at);
	else if (!list_empty(&tn->queue) && !tn->flying)
		wake(tn, mono + 10000);
}
