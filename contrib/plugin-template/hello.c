/*
 * hello - greets the log every now and then, and whoever asks for it
 *
 * A plugin is one file that ends with WARREN_PLUGIN(). What it declares in tables (options,
 * commands, metrics) the daemon parses, checks, documents and completes for it. What it registers
 * (memory, timers) is freed for it when it stops: there is no stop function here because there is
 * nothing left to do.
 */
#include <errno.h>
#include <syslog.h>

#include <warren/plugin.h>

struct hello {
	const char *greeting;		/* lives as long as the configuration it came from */
	uint64_t every;
	uint64_t times;
	struct warren_timer *timer;
	struct warren_stat *greetings;
};

static const struct warren_option options[] = {
	{
		.key = "greeting", .type = WARREN_STRING, .def = "hello", .min = 1, .max = 80,
		.brief = "What to say.",
	}, {
		.key = "every", .type = WARREN_DURATION, .def = "30s", .min = 1000,
		.max = INT64_C(86400000000), .brief = "Pause between two greetings.",
	},
};

static const struct warren_metric metrics[] = {
	{
		.name = "greetings", .kind = WARREN_COUNTER, .unit = "1",
		.brief = "Greetings since the start.",
	},
};

static void greet(struct warren_ctx *ctx, void *arg)
{
	struct hello *h = arg;

	h->times++;
	warren_stat_add(h->greetings, 1);
	warren_log(ctx, LOG_NOTICE, "%s", h->greeting);
	warren_timer_set(h->timer, h->every);
}

/* `warren hello`, and `warren hello --json`. */
static int hello_command(struct warren_ctx *ctx, const struct warren_conf *args,
			 struct warren_reply *reply, struct warren_err *err)
{
	struct hello *h = warren_self(ctx);

	(void)args;
	(void)err;
	warren_reply_str(reply, "greeting", "%s", h->greeting);
	warren_reply_int(reply, "times", (int64_t)h->times);
	warren_reply_text(reply, "%s (said %llu times)", h->greeting, (unsigned long long)h->times);
	return 0;
}

static const struct warren_command commands[] = {
	{
		.path = "hello", .flags = WARREN_CMD_ANY, .run = hello_command,
		.brief = "Greet the caller.", .example = "warren hello",
	},
};

static void read_options(struct hello *h, const struct warren_conf *conf)
{
	h->greeting = warren_conf_str(conf, "greeting");
	h->every = (uint64_t)warren_conf_int(conf, "every");
}

static int hello_start(struct warren_ctx *ctx, const struct warren_conf *conf,
		       struct warren_err *err)
{
	struct hello *h = warren_zalloc(ctx, sizeof(*h));

	if (!h || !(h->timer = warren_timer_new(ctx, greet, h)) ||
	    !(h->greetings = warren_stat_open(ctx, "greetings", NULL))) {
		warren_fail(err, NULL, "no memory");
		return -ENOMEM;
	}
	warren_self_set(ctx, h);
	read_options(h, conf);
	greet(ctx, h);
	return 0;
}

/* New values are in force at once; the daemon calls this only if something changed. */
static int hello_reload(struct warren_ctx *ctx, const struct warren_conf *old,
			const struct warren_conf *now, struct warren_err *err)
{
	struct hello *h = warren_self(ctx);

	(void)old;
	(void)err;
	read_options(h, now);
	greet(ctx, h);
	return 0;
}

WARREN_PLUGIN(hello, "hello", .version = "1.0", .license = "ISC",
	      .brief = "Greets the log and whoever asks.",
	      .options = WARREN_TABLE(options), .metrics = WARREN_TABLE(metrics),
	      .commands = WARREN_TABLE(commands), .start = hello_start, .reload = hello_reload);
