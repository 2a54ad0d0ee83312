/*
 * A change on its way to the disk and back.
 *
 * A reservation is an entry in one hash: of a thing that exists (a node that is being changed) or
 * of one that will (a name). Alone, or shared with others that only need it to stay as it is. A
 * request that meets one waits, in order, until a commit is over; then it is decided anew. What it
 * had reserved by then stays so meanwhile, or a later request could overtake it there; all of that
 * is given back before the waiting ones are decided again, so nobody waits for each other.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "../store/store.h"
#include "base/addr.h"
#include "base/util.h"
#include "impl.h"

struct reservation {
	struct reservation *next;	/* of the change that holds it */
	uint32_t holders;
	bool shared, wanted;		/* somebody waits to have it alone */
	uint8_t what;
	size_t len;
	uint8_t key[];			/* `what` first: the hash key begins there */
};
struct hold {				/* a change's part in a reservation */
	struct hold *next;
	struct reservation *on;
};

enum effect_kind { PUT_NODE = 1, DROP_NODE, PUT_USER, DROP_USER, PUT_KEY, DROP_KEY, PUT_MACHINE,
		   DROP_MACHINE, PIN, UNPIN, HOLD, SOFT };
struct effect {
	struct effect *next;
	enum effect_kind kind;
	const void *record;		/* reference */
	int64_t id, value;
	struct warren_addr addr;
	uint8_t key[TAILNET_KEY_SIZE];
};

struct change {
	struct list in;			/* the queue */
	struct tailnet *tn;
	struct store_tx *tx;
	struct hold *holds;
	struct effect *effects, **tail;
	struct tailnet_request *request;	/* NULL: nobody waits */
	void (*then)(struct tailnet *tn, struct tailnet_request *request);
	bool failed, used;		/* no memory; the transaction has something in it */
};

struct batch {				/* what the writer job has */
	struct tailnet *tn;
	struct store *store;
	uint32_t count;
	struct change *changes[BATCH_MAX];
	struct store_tx *txs[BATCH_MAX];
	int results[BATCH_MAX];
	char why[STORE_WHY];
};

/*
 * ---- Reservations ----
 */

static struct reservation *reserved_get(const struct tailnet *tn, enum what what, const void *key,
					size_t len)
{
	uint8_t text[1 + 512];

	text[0] = (uint8_t)what;
	memcpy(text + 1, key, len);
	return hash_get(&tn->reserved, text, len + 1);
}

bool change_reserved(const struct tailnet *tn, enum what what, const void *key, size_t len)
{
	return reserved_get(tn, what, key, len) != NULL;
}

static struct reservation *reserved_new(struct tailnet *tn, enum what what, const void *key,
					size_t len, bool shared)
{
	struct reservation *r = calloc(1, sizeof(*r) + 1 + len);

	if (!r)
		return NULL;
	r->shared = shared;
	r->len = len + 1;
	r->key[0] = (uint8_t)what;
	memcpy(r->key + 1, key, len);
	if (hash_put(&tn->reserved, r->key, r->len, r, NULL) != 0) {
		free(r);
		return NULL;
	}
	return r;
}

static int reserve(struct tailnet *tn, struct change *ch, enum what what, const void *key,
		   size_t len, bool shared)
{
	struct reservation *r = reserved_get(tn, what, key, len);
	struct hold *hold;

	/* Once is enough, and what is held alone is not shared with oneself. */
	for (hold = ch->holds; r && hold; hold = hold->next) {
		if (hold->on != r)
			continue;
		if (r->shared && !shared && r->holders > 1)
			return -EBUSY;
		r->shared = r->shared && shared;
		return 0;
	}
	if (r && !shared)
		r->wanted = true;	/* or those who share it could go on for ever */
	if (r && !(r->shared && shared && !r->wanted))
		return -EBUSY;
	hold = calloc(1, sizeof(*hold));
	if (!hold)
		return -ENOMEM;
	if (!r)
		r = reserved_new(tn, what, key, len, shared);
	if (!r) {
		free(hold);
		return -ENOMEM;
	}
	r->holders++;
	*hold = (struct hold){ ch->holds, r };
	ch->holds = hold;
	return 0;
}

int change_alone(struct tailnet *tn, struct change *ch, enum what what, const void *key, size_t len)
{
	return reserve(tn, ch, what, key, len, false);
}

int change_shared(struct tailnet *tn, struct change *ch, enum what what, const void *key,
		  size_t len)
{
	return reserve(tn, ch, what, key, len, true);
}

static void release_all(struct tailnet *tn, struct change *ch)
{
	struct hold *hold;
	struct warren_addr addr;

	while ((hold = ch->holds)) {
		ch->holds = hold->next;
		if (--hold->on->holders == 0) {
			hash_del(&tn->reserved, hold->on->key, hold->on->len);
			if (hold->on->key[0] == ON_ADDR) {
				memcpy(&addr, hold->on->key + 1, sizeof(addr));
				address_freed(&tn->v4, &addr);
				address_freed(&tn->v6, &addr);
			}
			if (hold->on->key[0] == ON_NAME)
				name_freed(tn, (const char *)hold->on->key + 1,
					   hold->on->len - 1);
			free(hold->on);
		}
		free(hold);
	}
}

/*
 * ---- Composing ----
 */

static struct change *change_new(struct tailnet *tn, struct tailnet_request *request)
{
	struct change *ch = calloc(1, sizeof(*ch));

	if (ch)
		ch->tx = store_tx_new();
	if (!ch || !ch->tx) {
		free(ch);
		return NULL;
	}
	list_init(&ch->in);
	ch->tn = tn;
	ch->tail = &ch->effects;
	ch->request = request;
	return ch;
}

static void record_unref(const struct effect *e)
{
	switch (e->kind) {
	case PUT_NODE:
		tailnet_node_unref(e->record);
		break;
	case PUT_USER:
		tailnet_user_unref(e->record);
		break;
	case PUT_KEY:
		tailnet_key_unref(e->record);
		break;
	case DROP_NODE: case DROP_USER: case DROP_KEY: case PUT_MACHINE: case DROP_MACHINE:
	case PIN: case UNPIN: case HOLD: case SOFT:
		break;
	}
}

static void change_free(struct change *ch)
{
	struct effect *e;

	while ((e = ch->effects)) {
		ch->effects = e->next;
		record_unref(e);
		free(e);
	}
	release_all(ch->tn, ch);
	store_tx_free(ch->tx);
	free(ch);
}

struct store_tx *change_tx(struct change *ch)
{
	ch->used = true;
	return ch->tx;
}

/* A failure is remembered; the result is NULL then. */
static struct effect *effect(struct change *ch, enum effect_kind kind, const void *record,
			     int64_t id)
{
	struct effect *e = calloc(1, sizeof(*e));

	if (!e) {
		ch->failed = true;
		return NULL;
	}
	e->kind = kind;
	e->record = record ? counted_ref(record) : NULL;
	e->id = id;
	*ch->tail = e;
	ch->tail = &e->next;
	return e;
}

void change_put_node(struct change *ch, const struct tailnet_node *node)
{
	effect(ch, PUT_NODE, node, node->id);
	store_tx_node(change_tx(ch), node);
}

void change_drop_node(struct change *ch, int64_t id)
{
	effect(ch, DROP_NODE, NULL, id);
	store_tx_drop_node(change_tx(ch), id);
}

void change_put_user(struct change *ch, struct tailnet_user *user)
{
	user->generation = ++ch->tn->generation;
	effect(ch, PUT_USER, user, user->id);
	store_tx_user(change_tx(ch), user);
}

void change_drop_user(struct change *ch, int64_t id)
{
	effect(ch, DROP_USER, NULL, id);
	store_tx_drop_user(change_tx(ch), id);
}

void change_put_key(struct change *ch, struct tailnet_key *key)
{
	key->generation = ++ch->tn->generation;
	effect(ch, PUT_KEY, key, key->id);
	store_tx_key(change_tx(ch), key);
}

void change_consume_key(struct change *ch, struct tailnet_key *used)
{
	used->generation = ++ch->tn->generation;
	effect(ch, PUT_KEY, used, used->id);
	store_tx_consume(change_tx(ch), used->id, used->used);
}

void change_drop_key(struct change *ch, int64_t id)
{
	effect(ch, DROP_KEY, NULL, id);
	store_tx_drop_key(change_tx(ch), id);
}

void change_put_machine(struct change *ch, int64_t id, int64_t created, const uint8_t key[32])
{
	struct effect *e = effect(ch, PUT_MACHINE, NULL, id);
	struct store_machine machine = { .id = id, .created = created };

	memcpy(machine.key, key, sizeof(machine.key));
	if (e) {
		e->value = created;
		memcpy(e->key, key, sizeof(e->key));
	}
	store_tx_machine(change_tx(ch), &machine);
}

void change_drop_machine(struct change *ch, int64_t id)
{
	effect(ch, DROP_MACHINE, NULL, id);
	store_tx_drop_machine(change_tx(ch), id);
}

void change_pin(struct change *ch, int64_t machine, int64_t user, bool pinned)
{
	struct effect *e = effect(ch, pinned ? PIN : UNPIN, NULL, machine);

	if (e)
		e->value = user;
	store_tx_pin(change_tx(ch), machine, user, pinned);
}

void change_hold(struct change *ch, const struct warren_addr *addr, int64_t until)
{
	struct effect *e;

	if (!addr->family)
		return;
	e = effect(ch, HOLD, NULL, 0);
	if (e) {
		e->addr = *addr;
		e->value = until;
	}
	store_tx_hold(change_tx(ch), addr, until);
}

void change_then(struct change *ch, void (*fn)(struct tailnet *tn, struct tailnet_request *request))
{
	ch->then = fn;
}

/*
 * ---- Committing ----
 */

static void apply(struct tailnet *tn, const struct effect *e)
{
	switch (e->kind) {
	case PUT_NODE:
		state_put_hard(tn, e->record);
		break;
	case DROP_NODE:
		state_drop_node(tn, e->id);
		break;
	case PUT_USER:
		state_put_user(tn, e->record);
		break;
	case DROP_USER:
		state_drop_user(tn, e->id);
		break;
	case PUT_KEY:
		state_put_key(tn, e->record);
		break;
	case DROP_KEY:
		state_drop_key(tn, e->id);
		break;
	case PUT_MACHINE:
		state_put_machine(tn, e->id, e->value, e->key);
		break;
	case DROP_MACHINE:
		state_drop_machine(tn, e->id);
		break;
	case PIN: case UNPIN:
		state_pin(tn, e->id, e->value, e->kind == PIN);
		break;
	case HOLD:
		state_hold(tn, &e->addr, e->value);
		break;
	case SOFT:			/* was in force before */
		break;
	}
}

/* What was in force before it was on the disk has to be written once more. */
static void take_back(struct tailnet *tn, const struct effect *e)
{
	struct place *place = e->kind == SOFT ? state_place(tn, e->id) : NULL;

	if (place)
		soft_mark(tn, place);
}

/* The job: nothing of the tailnet, but the store and the transactions. */
static void batch_write(void *arg)
{
	struct batch *batch = arg;

	store_commit(batch->store, batch->txs, batch->count, batch->results, batch->why);
}

static void log_text(struct tailnet *tn, int level, const char *fmt, ...) WARREN_PRINTF(3, 4);
static void log_text(struct tailnet *tn, int level, const char *fmt, ...)
{
	char text[STORE_WHY + 128];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) > 0)
		tn->env.log(tn->env.self, level, text);
	va_end(ap);
}

static void finish(struct tailnet *tn, struct change *ch, int result)
{
	struct tailnet_request *request = ch->request;

	if (!result) {
		for (const struct effect *e = ch->effects; e; e = e->next)
			apply(tn, e);
		if (ch->then)
			ch->then(tn, request);
	} else {
		tn->stats.failed++;
		for (const struct effect *e = ch->effects; e; e = e->next)
			take_back(tn, e);
	}
	if (request && result)
		request_fail(request, result, "the coordinator cannot store this now (%s); try "
			     "again later", strerror(-result));
	change_free(ch);
}

static void unblock(struct tailnet *tn)
{
	struct change *ch;

	while ((ch = list_first(&tn->blocked, struct change, in))) {
		list_del(&ch->in);
		change_free(ch);
	}
}

void request_run_waiting(struct tailnet *tn)
{
	struct list again = LIST_INIT(again);
	struct tailnet_request *request;

	unblock(tn);
	list_splice_tail(&again, &tn->waiting);
	while ((request = list_first(&again, struct tailnet_request, in))) {
		list_del(&request->in);
		request_run(tn, request);
	}
}

static void batch_done(void *arg)
{
	struct batch *batch = arg;
	struct tailnet *tn = batch->tn;
	struct tailnet_request *request;
	uint32_t failed = 0;

	tn->flying = NULL;
	tn->stats.flying = 0;
	tn->stats.commits++;
	tn->stats.transactions += batch->count;
	for (uint32_t i = 0; i < batch->count; i++) {
		request = batch->changes[i]->request;
		finish(tn, batch->changes[i], batch->results[i]);
		failed += batch->results[i] != 0;
		if (request)
			request_answer(tn, request);
	}
	if (failed)
		log_text(tn, LOG_ERR, "%u change%s not stored and not in force: %s", failed,
			 failed == 1 ? " is" : "s are", batch->why[0] ? batch->why :
			 "no memory for it");
	free(batch);
	tell_flush(tn);
	request_run_waiting(tn);
	change_kick(tn);
	tick_soon(tn);
}

void change_kick(struct tailnet *tn)
{
	struct batch *batch;
	struct change *ch;
	int rc;

	if (tn->flying || list_empty(&tn->queue))
		return;
	batch = calloc(1, sizeof(*batch));
	if (!batch) {
		tick_at(tn, now_mono(tn) + 10000);
		return;
	}
	batch->tn = tn;
	batch->store = tn->store;
	while (batch->count < BATCH_MAX && (ch = list_first(&tn->queue, struct change, in))) {
		list_del(&ch->in);
		batch->changes[batch->count] = ch;
		batch->txs[batch->count++] = ch->tx;
	}
	rc = tn->env.work(tn->env.self, batch_write, batch_done, batch);
	if (rc == 0) {
		tn->flying = batch;
		tn->stats.flying = batch->count;
		return;
	}
	/* The pool is full: all that waits can wait a little longer. */
	while (batch->count)
		list_add_head(&tn->queue, &batch->changes[--batch->count]->in);
	free(batch);
	tick_at(tn, now_mono(tn) + 10000);
}

void change_background(struct tailnet *tn, struct store_tx *tx)
{
	struct change *ch = change_new(tn, NULL);

	if (!ch) {
		store_tx_free(tx);
		return;
	}
	store_tx_free(ch->tx);
	ch->tx = tx;
	list_add_tail(&tn->queue, &ch->in);
	change_kick(tn);
}

void change_soft(struct tailnet *tn)
{
	struct change *ch = change_new(tn, NULL);

	for (uint32_t i = 0; ch && i < tn->nodes.count; i++) {
		if (!tn->places[i]->dirty)
			continue;
		tn->places[i]->dirty = false;
		effect(ch, SOFT, NULL, tn->places[i]->node->id);
		store_tx_soft(change_tx(ch), tn->places[i]->node);
	}
	if (!ch)
		return;
	tn->n_dirty = 0;
	list_add_tail(&tn->queue, &ch->in);
	change_kick(tn);
}

void change_free_all(struct tailnet *tn)
{
	struct change *ch;

	unblock(tn);
	while ((ch = list_first(&tn->queue, struct change, in))) {
		list_del(&ch->in);
		if (ch->request)
			request_free(tn, ch->request);
		change_free(ch);
	}
}

/*
 * ---- Deciding ----
 */

static int decide(struct tailnet *tn, struct tailnet_request *request, struct change *ch)
{
	switch (request->kind) {
	case REQUEST_REGISTER:
		return decide_register(tn, request, ch);
	case REQUEST_ACT:
		return decide_act(tn, request, ch);
	case REQUEST_FACTS:
		return decide_facts(tn, request, ch);
	case REQUEST_APPROVALS:
		return decide_approvals(tn, request, ch);
	}
	return -EINVAL;
}

void request_run(struct tailnet *tn, struct tailnet_request *request)
{
	struct change *ch = change_new(tn, request);
	int rc = -ENOMEM;

	if (tn->draining)
		rc = -ESHUTDOWN;
	else if (ch)
		rc = decide(tn, request, ch);
	if (rc == 0 && (ch->failed || store_tx_failed(ch->tx)))
		rc = -ENOMEM;
	if (rc == 0 && ch->used) {
		request->state = REQUEST_FLIES;
		list_add_tail(&tn->queue, &ch->in);
		change_kick(tn);
		return;
	}
	if (rc == -EBUSY) {
		request->state = REQUEST_WAITS;
		list_add_tail(&tn->waiting, &request->in);
		list_add_tail(&tn->blocked, &ch->in);
		return;
	}
	if (rc == 0 && ch->then)
		ch->then(tn, request);
	if (ch)
		change_free(ch);
	if (rc != WARREN_PENDING) {
		if (rc && !request->error)
			request_fail(request, rc, "%s", rc == -ESHUTDOWN ?
				     "the coordinator is stopping" : strerror(-rc));
		request_answer(tn, request);
	}
}
