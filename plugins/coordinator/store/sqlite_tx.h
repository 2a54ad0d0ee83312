/*
 * store/sqlite_tx.h - the inside of a transaction
 */
#ifndef WARREN_COORDINATOR_SQLITE_TX_H
#define WARREN_COORDINATOR_SQLITE_TX_H

#include "sqlite_impl.h"

struct store_op {
	enum store_op_kind kind;
	const struct tailnet_user *user;	/* references; NULL where the kind has none */
	const struct tailnet_node *node;
	const struct tailnet_key *key;
	struct store_audit *audit;	/* one block with its texts */
	struct store_machine machine;
	struct warren_addr addr;
	int64_t id, value;
};

struct store_tx {
	struct store_op *ops;
	uint32_t count, room;
	bool failed;			/* memory ran out */
};

#endif
