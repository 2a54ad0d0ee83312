/*
 * test.relay: a consumer of the service relay-client that the interop tests drive by commands. It
 * keeps what it is told in a list that `relayprobe events` takes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <warren/net.h>
#include <warren/service/relay.h>

#include "base/hex.h"

enum { EVENTS = 8192, DATA = 64, WHY = 200 };

struct event {
	const char *kind;
	uint32_t region, number;	/* state, reason or length */
	uint8_t key[32], data[DATA];
	char why[WHY];
};

struct probe {
	const struct warren_relay_ops *ops;
	void *self;
	uint32_t n, lost;
	struct event events[EVENTS];
};

static struct event *event_new(struct probe *p, const char *kind, uint32_t region, uint32_t number)
{
	static const uint8_t none[32];
	struct event *e;

	if (p->n == EVENTS) {
		p->lost++;
		return NULL;
	}
	e = &p->events[p->n++];
	*e = (struct event){ .kind = kind, .region = region, .number = number };
	memcpy(e->key, none, 32);
	return e;
}

static bool received(void *arg, uint32_t region, const uint8_t key[32], const uint8_t *data,
		     size_t len)
{
	struct event *e = event_new(arg, "packet", region, (uint32_t)len);

	if (!e)
		return true;
	memcpy(e->key, key, 32);
	if (len > 0)
		memcpy(e->data, data, len < DATA ? len : DATA);
	return true;
}

static void state(void *arg, uint32_t region, enum warren_relay_state now, const char *why)
{
	struct event *e = event_new(arg, "state", region, now);

	if (e)
		snprintf(e->why, sizeof(e->why), "%s", why ? why : "");
}

static void gone(void *arg, uint32_t region, const uint8_t key[32], uint32_t reason)
{
	struct event *e = event_new(arg, "gone", region, reason);

	if (e)
		memcpy(e->key, key, 32);
}

static void health(void *arg, uint32_t region, const char *problem)
{
	struct event *e = event_new(arg, "health", region, problem != NULL);

	if (e)
		snprintf(e->why, sizeof(e->why), "%s", problem ? problem : "");
}

static const struct warren_relay_events events = {
	.size = sizeof(events), .received = received, .state = state, .gone = gone,
	.health = health,
};

static int run_home(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct probe *p = warren_self(ctx);

	(void)reply;
	(void)err;
	p->ops->home(p->self, (uint32_t)warren_conf_int(args, "region"));
	return 0;
}

static int run_send(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct probe *p = warren_self(ctx);
	const char *hex = warren_conf_str(args, "hex");
	uint8_t key[32], data[2048];
	size_t len = strlen(hex) / 2;
	uint32_t via = 0;
	int result = 0;

	if (warren_keytext_parse(WARREN_KEYTEXT_NODE, warren_conf_str(args, "key"), key, err) ||
	    len > sizeof(data) || hex_decode(data, len, hex))
		return warren_fail(err, NULL, "no key, or no bytes");
	for (int64_t i = 0; i < warren_conf_int(args, "count") && result == 0; i++)
		result = p->ops->send(p->self, (uint32_t)warren_conf_int(args, "region"), key,
				      data, len, &via);
	warren_reply_int(reply, "result", result);
	warren_reply_int(reply, "via", via);
	return 0;
}

static int run_events(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	struct probe *p = warren_self(ctx);
	char key[WARREN_KEYTEXT_MAX], hex[2 * DATA + 1];

	(void)args;
	(void)err;
	warren_reply_int(reply, "lost", p->lost);
	warren_reply_open(reply, "events", '[');
	for (uint32_t i = 0; i < p->n; i++) {
		const struct event *e = &p->events[i];

		hex_encode(hex, e->data, e->number < DATA ? e->number : DATA);
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "kind", "%s", e->kind);
		warren_reply_int(reply, "region", e->region);
		warren_reply_int(reply, "number", e->number);
		warren_reply_str(reply, "key", "%s",
				 warren_keytext_format(WARREN_KEYTEXT_NODE, e->key, key));
		if (e->kind[0] == 'p')
			warren_reply_str(reply, "hex", "%s", hex);
		warren_reply_str(reply, "why", "%s", e->why);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	p->n = p->lost = 0;
	return 0;
}

static const struct warren_option home_args[] = {
	{ .key = "region", .type = WARREN_INT, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "Its number." },
};
static const struct warren_option send_args[] = {
	{ .key = "region", .type = WARREN_INT, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The peer's home." },
	{ .key = "key", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The peer." },
	{ .key = "hex", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "The bytes." },
	{ .key = "count", .type = WARREN_INT, .def = "1", .brief = "How often." },
};
static const struct warren_command commands[] = {
	{ .path = "relayprobe home", .flags = WARREN_CMD_ROOT, .args = WARREN_TABLE(home_args),
	  .brief = "Choose the home.", .run = run_home },
	{ .path = "relayprobe send", .flags = WARREN_CMD_ROOT, .args = WARREN_TABLE(send_args),
	  .brief = "Send a packet.", .run = run_send },
	{ .path = "relayprobe events", .flags = WARREN_CMD_ROOT, .brief = "Take what was told.",
	  .run = run_events },
};
static const struct warren_port needs[] = {
	{ .name = "relay-client", .major = 0, .minor = 2, .flags = WARREN_ENABLE,
	  .provider = "derp", .brief = "What is tested." },
};

static int probe_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct probe *p = warren_zalloc(ctx, sizeof(*p));
	const void *ops;
	int result;

	(void)conf;
	if (!p)
		return warren_fail(err, NULL, "out of memory");
	warren_self_set(ctx, p);
	result = warren_need(ctx, "relay-client", &ops, &p->self);
	if (result)
		return result;
	p->ops = ops;
	return p->ops->attach(p->self, ctx, &events, p);
}

WARREN_PLUGIN(test_relay, "test.relay",
	.version = "0.1",
	.license = "ISC",
	.brief = "Drives the relay client by commands, for tests.",
	.commands = WARREN_TABLE(commands),
	.needs = WARREN_TABLE(needs),
	.start = probe_start,
);
