/*
 * The control socket's parser of requests, and behind it all that reads the words of a command
 * line: matching, options, operands, values of every type, help and completion.
 *
 * Whatever comes in, there is an answer, it ends once, and each of its lines is JSON.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <jansson.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "engine/cmd.h"
#include "engine/reply.h"
#include "engine/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const values[] = { "one", "two", NULL };

static const struct warren_option args[] = {
	{ .key = "bool", .type = WARREN_BOOL, .def = "true", .brief = "B." },
	{ .key = "int", .type = WARREN_INT, .max = 1000, .brief = "I." },
	{ .key = "size", .type = WARREN_SIZE, .brief = "S." },
	{ .key = "duration", .type = WARREN_DURATION, .brief = "D." },
	{ .key = "string", .type = WARREN_STRING, .flags = WARREN_MANY, .brief = "S." },
	{ .key = "enum", .type = WARREN_ENUM, .values = values, .brief = "E." },
	{ .key = "addr", .type = WARREN_ADDR, .brief = "A." },
	{ .key = "addrport", .type = WARREN_ADDRPORT, .brief = "A." },
	{ .key = "prefix", .type = WARREN_PREFIX, .brief = "P." },
	{ .key = "in", .type = WARREN_FD_IN, .brief = "F." },
	{ .key = "first", .type = WARREN_STRING, .flags = WARREN_POSITIONAL | WARREN_REQUIRED,
	  .brief = "F." },
	{ .key = "rest", .type = WARREN_PREFIX, .flags = WARREN_POSITIONAL | WARREN_MANY,
	  .brief = "R." },
};

static int run(struct warren_ctx *ctx, const struct warren_conf *conf, struct warren_reply *reply,
	       struct warren_err *err)
{
	(void)ctx;
	(void)err;
	warren_reply_str(reply, "first", "%s", warren_conf_str(conf, "first"));
	warren_reply_open(reply, "strings", '[');
	for (uint32_t i = 0; i < warren_conf_count(conf, "string"); i++)
		warren_reply_str(reply, NULL, "%s",
				 warren_conf_str(warren_conf_at(conf, "string", i), NULL));
	warren_reply_close(reply);
	return 0;
}

static const struct warren_command commands[] = {
	{ .path = "do", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(args), .brief = "Do.",
	  .help = "Do it.", .run = run },
	{ .path = "do more", .flags = WARREN_CMD_OFFLINE, .args = WARREN_TABLE(args),
	  .brief = "Do more.", .run = run },
	{ .path = "root", .flags = WARREN_CMD_OFFLINE | WARREN_CMD_ROOT, .brief = "Not you.",
	  .run = run },
};
static const struct warren_table table = WARREN_TABLE(commands);

static void on_line(void *arg, const char *json, size_t len)
{
	json_t *line = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);

	(void)arg;
	if (!json_is_object(line))
		abort();
	json_decref(line);
}

static void on_end(void *arg, struct warren_reply *reply, int exit)
{
	unsigned *ends = arg;

	(void)reply;
	(void)exit;
	(*ends)++;
}

static const struct wcore_reply_sink sink = { .line = on_line, .end = on_end };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct warren_err err = ERR_INIT;
	struct wcore_request request;
	struct wcore_cmds cmds = { 0 };
	struct wcore_env env = { .cmds = &cmds, .socket = "" };
	unsigned ends = 0;

	if (size > WCORE_REQUEST_BYTES)
		return 0;
	if (wcore_request_parse(&request, (const char *)data, size, &err) < 0) {
		if (!err_any(&err))
			abort();
		err_free(&err);
		return 0;
	}
	if (wcore_cmds_add(&cmds, "fuzz", NULL, &table, &err) == 0) {
		struct warren_reply *reply = wcore_reply_new(&sink, &ends, request.flags,
							     request.width);

		wcore_cmd_run(&env, &request, WARREN_CMD_ANY, reply);
		if (ends != 1)
			abort();
	}
	wcore_cmds_free(&cmds);
	wcore_request_free(&request);
	err_free(&err);
	return 0;
}
