/*
 * A hostile engine: the input is a series of messages, each a 16-bit length (little-endian) and its
 * bytes, as they would arrive on the socket. The executors are replaced by one that looks whether
 * the validators let something through that they must not: real ones need root and are covered by
 * tests/lab/test_monitor.py.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "monitor/engine.h"
#include "monitor/monitor.h"
#include "monitor/op.h"
#include "priv/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static int look(struct mon *mon, const struct mon_request *req, struct mon_reply *reply,
		struct warren_err *err)
{
	const struct wpriv_limits *limits = &req->config->limits;

	(void)mon;
	must(req->count > 0 && terminated(req->owner, WPRIV_OWNER));
	for (size_t i = 0; i < req->count; i++) {
		const void *item = (const char *)req->items + i * wpriv_op_size(req->op);
		const struct warren_priv_tun *tun = item;
		const struct warren_priv_route *route = item;
		const struct warren_priv_rule *rule = item;
		const struct warren_priv_file *file = item;
		const struct warren_priv_nft *nft = item;
		const struct warren_priv_resolver *resolver = item;

		if (req->op == WARREN_OP_TUN)
			must(wpriv_limits_interface(limits, tun->ifname) && tun->queues <= 4);
		else if (req->op == WARREN_OP_ROUTE)
			must(route->table == limits->table || route->verb == WARREN_ROUTE_DEL);
		else if (req->op == WARREN_OP_RULE)
			must((rule->pref >= limits->rule_low && rule->pref <= limits->rule_high) ||
			     rule->verb == WARREN_RULE_DEL);
		else if (req->op == WARREN_OP_NFT)
			must((nft->kind == WARREN_NFT_TABLE) == (i == 0) &&
			     (i > 0 || wpriv_limits_interface(limits, nft->ifname)) &&
			     (nft->prefix.bits > 0 || nft->prefix.addr.family == 0));
		else if (req->op == WARREN_OP_RESOLVER)
			must(resolver->n_search <= WARREN_PRIV_SEARCH &&
			     terminated(resolver->search[0], sizeof(resolver->search[0])));
		else if (req->op == WARREN_OP_FILE)
			must(terminated(file->name, sizeof(file->name)) &&
			     !strstr(file->name, "..//") && file->name[0] != '/');
	}
	reply->value = (int64_t)req->count;
	reply->fds[0] = STDIN_FILENO;
	reply->n_fds = req->op == WARREN_OP_SOCKET;
	return req->op == WARREN_OP_SYSCTL ? wpriv_refuse(err, -1, "as an executor would") : 0;
}

static const struct mon_executor lookers[WARREN_OP_LAST + 1] = {
	[WARREN_OP_OPEN] = { look }, [WARREN_OP_WATCH] = { look }, [WARREN_OP_FILE] = { look },
	[WARREN_OP_TUN] = { look }, [WARREN_OP_SOCKET] = { look }, [WARREN_OP_ADDR] = { look },
	[WARREN_OP_ROUTE] = { look }, [WARREN_OP_RULE] = { look }, [WARREN_OP_SYSCTL] = { look },
	[WARREN_OP_CLOSE] = { look }, [WARREN_OP_NFT] = { look }, [WARREN_OP_NFT_READ] = { look },
	[WARREN_OP_RESOLVER] = { look },
};

static void drain(int fd)
{
	static _Alignas(16) uint8_t buf[WPRIV_MSG_MAX];
	struct wpriv_msg msg;

	while (wpriv_recv(fd, buf, &msg) == 1)
		wpriv_msg_close(&msg);
}

static void one_message(struct mon *mon, const uint8_t *bytes, size_t len)
{
	struct wpriv_msg msg = { .n_fds = 0 };

	if (len < sizeof(msg.head))
		return;
	/* As wpriv_recv() leaves it. */
	memcpy(&msg.head, bytes, sizeof(msg.head));
	msg.head.len = (uint32_t)(len - sizeof(msg.head));
	msg.data = bytes + sizeof(msg.head);
	(void)mon_engine_message(mon, &msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mon_options options = { .config = "/nonexistent/warren.yaml",
					     .state = "/nonexistent", .log_level = -1 };
	const struct mon_config_from from = { .file = options.config, .state = options.state };
	struct mon mon = { .options = &options, .executors = lookers, .control = -1 };
	struct buf_reader reader;
	uint16_t len;
	int pair[2];

	mon_log_setup(MON_LOG_TEXT, -1);
	mon_things_init(&mon.things);
	list_init(&mon.engine.queue);
	mon.journal = (struct mon_journal){ .fd = -1, .things = &mon.things };
	mon.config = mon_config_load(&from, ++mon.generations, NULL);
	if (!mon.config || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		abort();
	mon.engine.fd = pair[0];
	buf_reader_init(&reader, data, size);
	while (mon.engine.fd != -1 && buf_le16(&reader, &len)) {
		const uint8_t *bytes = buf_view(&reader, len);

		if (!bytes)
			break;
		one_message(&mon, bytes, len);
		drain(pair[1]);
	}
	close(pair[0]);
	close(pair[1]);
	must(mon.things.count == 0 && list_empty(&mon.engine.queue));
	mon_config_free(mon.next);
	mon_config_free(mon.config);
	mon_things_free(&mon.things);
	return 0;
}
