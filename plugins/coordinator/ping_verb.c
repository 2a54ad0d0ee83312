/*
 * warren node ping: does a node answer its coordinator; or, asked by it, another node?
 */
#include "ping_verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/cli.h"
#include "server/server.h"

static const uint64_t patience = 10000000;
static const char *const kinds[] = { "disco", "TSMP", "ICMP", "peerapi", NULL };

const struct warren_option ping_args[PING_ARGS] = {
	{ .key = "node", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .min = 1, .max = 255, .brief = "Its name, an address of it, or its id.",
	  .example = "nas" },
	{ .key = "from", .type = WARREN_STRING, .min = 1, .max = 255,
	  .brief = "The node that is asked to ping it; else the coordinator does.",
	  .example = "laptop" },
	{ .key = "kind", .type = WARREN_ENUM, .values = kinds, .def = "disco",
	  .brief = "With --from: how." },
};

struct op {
	struct warren_reply *reply;
	char node[TAILNET_LABEL + 1], from[TAILNET_LABEL + 1];	/* @from empty: we ask */
	char nonce[33];
};

static void said(struct op *op, uint64_t usec, const char *via)
{
	warren_reply_int(op->reply, "usec", (int64_t)usec);
	warren_reply_text(op->reply, "%s answers%s%s in %" PRIu64 ".%03" PRIu64 " ms%s", op->node,
			  op->from[0] ? " " : "", op->from, usec / 1000, usec % 1000, via);
	warren_reply_end(op->reply, 0, NULL);
}

/* Its handler has sent the request's body back. */
static void echoed(struct op *op, const struct coord_pong *pong)
{
	const char *body = strstr(pong->body, "\r\n\r\n");
	char why[200];

	if (str_starts(pong->body, "HTTP/1.1 200") && body && strcmp(body + 4, op->nonce) == 0) {
		said(op, pong->usec, "");
		return;
	}
	snprintf(why, sizeof(why), "%s answers something else than what it was sent", op->node);
	warren_reply_end(op->reply, 1, why);
}

/* What the node that pinged says of it. */
static void told(struct op *op, const struct coord_pong *pong)
{
	json_t *o = json_loadb(pong->body, pong->len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_value(json_object_get(o, "Err"));
	const char *at = json_string_value(json_object_get(o, "Endpoint"));
	const char *relay = json_string_value(json_object_get(o, "DERPRegionCode"));
	double seconds = json_number_value(json_object_get(o, "LatencySeconds"));
	char why[400], via[200] = "";

	if (!json_is_object(o) || (error && error[0])) {
		snprintf(why, sizeof(why), "%s says: %s", op->from, error && error[0] ? error :
			 "something that is no PingResponse");
		warren_reply_end(op->reply, 1, why);
	} else {
		if (at && at[0])
			snprintf(via, sizeof(via), " at %s", at);
		else if (relay && relay[0])
			snprintf(via, sizeof(via), " through relay %s", relay);
		warren_reply_str(op->reply, "endpoint", "%s", at ? at : "");
		warren_reply_str(op->reply, "relay", "%s", relay ? relay : "");
		said(op, seconds > 0 && seconds < 3600 ? (uint64_t)(seconds * 1e6) : 0, via);
	}
	json_decref(o);
}

static void pinged(void *arg, const struct coord_pong *pong)
{
	struct op *op = arg;
	char why[200];

	if (!pong->result && op->from[0]) {
		told(op, pong);
	} else if (!pong->result) {
		echoed(op, pong);
	} else {
		snprintf(why, sizeof(why), pong->result == -ESHUTDOWN ? "the coordinator stops" :
			 op->from[0] ? "%s gives no answer within 10 s: nor does the node that it "
			 "pings" : "%s has a stream and gives no answer within 10 s",
			 op->from[0] ? op->from : op->node);
		warren_reply_end(op->reply, 1, why);
	}
	free(op);
}

static int refused(const char *node, int result, struct warren_err *err)
{
	if (result == -ENOTCONN)
		return warren_fail(err, NULL, "node %s is not connected to the coordinator", node);
	if (result == -ENOMEM)
		return warren_fail(err, NULL, "there is no memory for the command");
	return warren_fail(err, NULL, result == -EAGAIN ? "node %s is connecting; try again in a "
			   "moment" : "node %s does not read what the coordinator sends", node);
}

int ping_run(struct warren_ctx *ctx, const struct warren_conf *args, struct warren_reply *reply,
	     struct warren_err *err)
{
	struct coord *coord = warren_self(ctx);
	const struct tailnet_node *node = coord_find_node(coord->tailnet,
							  warren_conf_str(args, "node"), err);
	bool other = warren_conf_has(args, "from");
	const struct tailnet_node *asked = !node || !other ? node :
		coord_find_node(coord->tailnet, warren_conf_str(args, "from"), err);
	struct op *op = asked ? calloc(1, sizeof(*op)) : NULL;
	struct coord_ping_options options = { .timeout = patience };
	struct coord_ping *ping;
	char echo[160];
	int result;

	if (!op)
		return -EINVAL;
	op->reply = reply;
	str_copy(op->node, sizeof(op->node), node->name);
	options.node = asked->id;
	if (other) {
		str_copy(op->from, sizeof(op->from), asked->name);
		options.types = kinds[warren_conf_enum(args, "kind")];
		options.ip = node->v4.family ? &node->v4 : &node->v6;
	} else {
		snprintf(op->nonce, sizeof(op->nonce), "%016" PRIx64, warren_now());
		snprintf(echo, sizeof(echo), "POST /echo HTTP/1.1\r\nHost: unused\r\n"
			 "Content-Length: %zu\r\n\r\n%s", strlen(op->nonce), op->nonce);
		options.types = "c2n";
		options.payload = echo;
	}
	result = coord_ping(coord, &options, pinged, op, &ping);
	if (!result)
		return WARREN_PENDING;
	free(op);
	return refused(asked->name, result, err);
}
