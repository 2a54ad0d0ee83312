/*
 * Requests: from bytes to an executor and back.
 *
 * The order is: size, owner, copy, generation, validator, executor. A malformed envelope means that
 * the engine is not ours any more and ends it; a request that is refused is an answer.
 */
#include "monitor/op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/monitor.h"
#include "monitor/undo.h"
#include "priv/check.h"

static int op_close(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		    struct warren_err *err)
{
	const struct warren_priv_close *item = req->items;
	uint32_t kind = item->op == WARREN_OP_TUN ? MON_TUN :
			item->op == WARREN_OP_SOCKET ? MON_SOCKET :
			item->op == WARREN_OP_SYSCTL ? MON_SYSCTL :
			item->op == WARREN_OP_RESOLVER ? MON_RESOLVER : MON_WATCH;
	struct mon_thing *thing = mon_thing_by_id(&mon->things, kind, item->handle), *next;
	bool with_ra;

	(void)reply;
	if (!thing && kind == MON_SOCKET)
		thing = mon_thing_by_id(&mon->things, MON_PATH, item->handle);
	if (!thing || strcmp(thing->owner, req->owner) != 0)
		return wpriv_refuse(err, -ENOENT, "%s holds no %s with handle %u", req->owner,
				    mon_kind_name(kind), item->handle);
	with_ra = kind == MON_SYSCTL && mon_sysctl_is_ip6_forward(&thing->what.sysctl);
	mon_undo(mon, thing);
	list_for_each_safe(thing, next, &mon->things.all, node) {
		if (with_ra && thing->kind == MON_SYSCTL &&
		    thing->what.sysctl.req.name == WARREN_SYSCTL_ACCEPT_RA &&
		    strcmp(thing->owner, req->owner) == 0)
			mon_undo(mon, thing);
	}
	return 0;
}

const struct mon_executor mon_executors[WARREN_OP_LAST + 1] = {
	[WARREN_OP_OPEN] = { mon_op_open },
	[WARREN_OP_WATCH] = { mon_op_watch },
	[WARREN_OP_FILE] = { mon_op_file },
	[WARREN_OP_TUN] = { mon_op_tun },
	[WARREN_OP_SOCKET] = { mon_op_socket },
	[WARREN_OP_ADDR] = { mon_op_net },
	[WARREN_OP_ROUTE] = { mon_op_net },
	[WARREN_OP_RULE] = { mon_op_net },
	[WARREN_OP_SYSCTL] = { mon_op_sysctl },
	[WARREN_OP_CLOSE] = { op_close },
	[WARREN_OP_NFT] = { mon_op_nft },
	[WARREN_OP_NFT_READ] = { mon_op_nft_read },
	[WARREN_OP_RESOLVER] = { mon_op_resolver },
};

void mon_op_answer(struct mon *mon, uint32_t seq, int result, struct mon_reply *reply,
		   const void *data, size_t len, const char *sentence)
{
	struct wpriv_head head = { .type = WPRIV_ANSWER, .seq = seq, .result = result };
	struct wpriv_answer answer = { .value = reply->value, .handle = reply->handle };
	struct wpriv_part parts[3] = { { &answer, sizeof(answer) } };
	int fds[WARREN_PRIV_FDS + 1];
	size_t n_fds = reply->n_fds;
	int memfd = -1;

	memcpy(fds, reply->fds, n_fds * sizeof(int));
	if (len > WPRIV_INLINE_MAX) {
		memfd = wpriv_memfd("warren-answer", data, len);
		if (memfd < 0) {
			head.result = memfd;
			sentence = "no memory for the answer";
			len = 0;
		} else {
			answer.flags = WPRIV_ANSWER_MEMFD;
			fds[n_fds++] = memfd;
		}
	}
	answer.data = (uint32_t)len;
	if (memfd < 0)
		parts[1] = (struct wpriv_part){ data, len };
	if (sentence && head.result < 0) {
		size_t text = strnlen(sentence, WPRIV_TEXT_MAX);

		answer.text = (uint32_t)text;
		parts[2] = (struct wpriv_part){ sentence, text };
	}
	mon_engine_send(mon, &head, parts, ARRAY_SIZE(parts), fds, n_fds, reply->give);
	/* When it had to be queued, the queue has a copy of its own. */
	if (!reply->give && memfd >= 0)
		auto_close(&memfd);
}

/* The items, copied to aligned memory; NULL with *@result set. */
static void *copy_items(const struct wpriv_request *head, struct wpriv_msg *msg, int *result)
{
	size_t inside = msg->head.len - sizeof(*head);
	void *items;

	*result = -EBADMSG;
	if (msg->n_fds == 0 ? inside != head->size || head->size > WPRIV_INLINE_MAX :
			      msg->n_fds != 1 || inside != 0)
		return NULL;
	if (head->size == 0 || head->size > WARREN_PRIV_ITEMS * sizeof(struct warren_priv_route))
		return NULL;
	items = malloc(head->size);
	if (!items) {
		*result = -ENOMEM;
		return NULL;
	}
	*result = 0;
	if (msg->n_fds == 0)
		memcpy(items, msg->data + sizeof(*head), head->size);
	else
		*result = wpriv_memfd_read(msg->fds[0], items, head->size);
	if (*result == 0)
		return items;
	free(items);
	return NULL;
}

static const struct mon_config *config_of(const struct mon *mon, uint64_t generation)
{
	if (mon->next && mon->next->generation == generation)
		return mon->next;
	return mon->config->generation == generation ? mon->config : NULL;
}

static int run(struct mon *mon, struct mon_request *req, size_t bytes, uint64_t generation,
	       struct mon_reply *reply, struct warren_err *err)
{
	size_t size = wpriv_op_size(req->op);
	int result;

	if (size == 0 || bytes % size != 0)
		return wpriv_refuse(err, -EINVAL, "%zu bytes are no request %s", bytes,
				    wpriv_op_name(req->op));
	req->count = bytes / size;
	req->config = config_of(mon, generation);
	if (!req->config)
		return wpriv_refuse(err, -ESTALE, "the configuration was read again meanwhile: try "
				    "again");
	result = wpriv_check(&req->config->limits, req->op, req->items, req->count, err);
	return result ? result : mon->executors[req->op].run(mon, req, reply, err);
}

int mon_op_request(struct mon *mon, struct wpriv_msg *msg)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(auto_free) void *items = NULL;
	struct mon_request req = { .seq = msg->head.seq };
	struct mon_reply reply = { .n_fds = 0 };
	struct wpriv_request head;
	int result;

	if (msg->head.len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, msg->data, sizeof(head));
	if (!wpriv_owner_valid(head.owner, sizeof(head.owner)))
		return -EBADMSG;
	items = copy_items(&head, msg, &result);
	if (result == -EBADMSG || result == -EBADF)
		return -EBADMSG;
	req.op = head.op;
	req.owner = head.owner;
	req.items = items;
	if (result)
		wpriv_refuse(&err, result, "no memory for the request");
	else
		result = run(mon, &req, head.size, head.generation, &reply, &err);
	if (result)
		mon_log(LOG_INFO, "%s for %s refused: %s", wpriv_op_name(head.op), head.owner,
			err_first(&err));
	if (!reply.later)
		mon_op_answer(mon, req.seq, result, &reply, reply.data, reply.len,
			      result ? err_first(&err) : NULL);
	free(reply.data);
	return 0;
}
