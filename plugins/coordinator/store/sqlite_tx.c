/*
 * Transactions in memory: what is to be written, with references to the records it is in.
 */
#include "sqlite_tx.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct store_tx *store_tx_new(void)
{
	return calloc(1, sizeof(struct store_tx));
}

static void op_release(struct store_op *op)
{
	tailnet_user_unref(op->user);
	tailnet_node_unref(op->node);
	tailnet_key_unref(op->key);
	free(op->audit);
}

void store_tx_free(struct store_tx *tx)
{
	if (!tx)
		return;
	for (uint32_t i = 0; i < tx->count; i++)
		op_release(&tx->ops[i]);
	free(tx->ops);
	free(tx);
}

bool store_tx_failed(const struct store_tx *tx)
{
	return tx->failed;
}

/* Adds @op, whose references it takes. */
static void add(struct store_tx *tx, struct store_op op)
{
	uint32_t room = tx->room ? tx->room * 2 : 4;
	struct store_op *ops;

	if (tx->count == tx->room) {
		ops = reallocarray(tx->ops, room, sizeof(*ops));
		if (!ops) {
			tx->failed = true;
			op_release(&op);
			return;
		}
		tx->ops = ops;
		tx->room = room;
	}
	tx->ops[tx->count++] = op;
}

void store_tx_user(struct store_tx *tx, const struct tailnet_user *user)
{
	add(tx, (struct store_op){ .kind = STORE_OP_USER, .user = tailnet_user_ref(user) });
}

void store_tx_machine(struct store_tx *tx, const struct store_machine *machine)
{
	add(tx, (struct store_op){ .kind = STORE_OP_MACHINE, .machine = *machine });
}

void store_tx_key(struct store_tx *tx, const struct tailnet_key *key)
{
	add(tx, (struct store_op){ .kind = STORE_OP_KEY, .key = tailnet_key_ref(key) });
}

void store_tx_node(struct store_tx *tx, const struct tailnet_node *node)
{
	add(tx, (struct store_op){ .kind = STORE_OP_NODE, .node = tailnet_node_ref(node) });
}

void store_tx_soft(struct store_tx *tx, const struct tailnet_node *node)
{
	add(tx, (struct store_op){ .kind = STORE_OP_SOFT, .node = tailnet_node_ref(node) });
}

void store_tx_consume(struct store_tx *tx, int64_t key, int64_t when)
{
	add(tx, (struct store_op){ .kind = STORE_OP_CONSUME, .id = key, .value = when });
}

void store_tx_pin(struct store_tx *tx, int64_t machine, int64_t user, bool pinned)
{
	add(tx, (struct store_op){ .kind = pinned ? STORE_OP_PIN : STORE_OP_UNPIN, .id = machine,
				   .value = user });
}

void store_tx_drop_user(struct store_tx *tx, int64_t id)
{
	add(tx, (struct store_op){ .kind = STORE_OP_DROP_USER, .id = id });
}

void store_tx_drop_key(struct store_tx *tx, int64_t id)
{
	add(tx, (struct store_op){ .kind = STORE_OP_DROP_KEY, .id = id });
}

void store_tx_drop_node(struct store_tx *tx, int64_t id)
{
	add(tx, (struct store_op){ .kind = STORE_OP_DROP_NODE, .id = id });
}

void store_tx_hold(struct store_tx *tx, const struct warren_addr *addr, int64_t until)
{
	add(tx, (struct store_op){ .kind = until ? STORE_OP_HOLD : STORE_OP_RELEASE, .addr = *addr,
				   .value = until });
}

void store_tx_drop_machine(struct store_tx *tx, int64_t id)
{
	add(tx, (struct store_op){ .kind = STORE_OP_DROP_MACHINE, .id = id });
}

/* Appends @text to the block at *@at and gives where it is; NULL stays NULL. */
static const char *keep(char **at, const char *text)
{
	size_t len = text ? strlen(text) + 1 : 0;
	char *to = *at;

	if (!text)
		return NULL;
	memcpy(to, text, len);
	*at = to + len;
	return to;
}

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

void store_tx_audit(struct store_tx *tx, const struct store_audit *a)
{
	size_t size = sizeof(*a) + text_size(a->actor) + text_size(a->origin) +
		      text_size(a->action) + text_size(a->kind) + text_size(a->name) +
		      text_size(a->before) + text_size(a->after);
	struct store_audit *copy = malloc(size);
	char *at = (char *)(copy + 1);

	if (!copy) {
		tx->failed = true;
		return;
	}
	*copy = *a;
	copy->actor = keep(&at, a->actor);
	copy->origin = keep(&at, a->origin);
	copy->action = keep(&at, a->action);
	copy->kind = keep(&at, a->kind);
	copy->name = keep(&at, a->name);
	copy->before = keep(&at, a->before);
	copy->after = keep(&at, a->after);
	add(tx, (struct store_op){ .kind = STORE_OP_AUDIT, .audit = copy });
}
