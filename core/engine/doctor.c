/*
 * warren doctor: the check rows of the plugins that run, and a few of the core.
 *
 * A check says what is wrong and what to do; its row says how bad that is.
 */
#include "engine/verbs.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/plugin_load.h"
#include "engine/reply.h"
#include "engine/table.h"
#include "engine/visit.h"

struct warren_check_result {
	struct str text;
};

struct doctor {
	struct wcore_engine *engine;
	char *area;			/* NULL: all */
	unsigned checks, bad;
};

void warren_finding(struct warren_check_result *result, const char *fmt, ...)
{
	va_list ap;

	if (result->text.len > 0)
		str_add(&result->text, "; ");
	va_start(ap, fmt);
	str_vaddf(&result->text, fmt, ap);
	va_end(ap);
}

static const char *severity_name(uint32_t severity)
{
	static const char *const names[] = {
		[WARREN_OK] = "ok", [WARREN_NOTE] = "note", [WARREN_WARN] = "warning",
		[WARREN_BAD] = "bad",
	};

	return severity < ARRAY_SIZE(names) ? names[severity] : "bad";
}

static const char *severity_colour(uint32_t severity)
{
	static const char *const colours[] = {
		[WARREN_OK] = "32", [WARREN_NOTE] = "36", [WARREN_WARN] = "33",
		[WARREN_BAD] = "31",
	};

	return severity < ARRAY_SIZE(colours) ? colours[severity] : "31";
}

static bool begins(const char *id, const char *area)
{
	size_t len = strlen(area);

	return strncmp(id, area, len) == 0 && strchr(".-", id[len]) != NULL;
}

/*
 * The area is all checks of a plugin ("wg"), one of them ("wg.socket-buffer"), or what the names of
 * some begin with after their plugin's ("firewall").
 */
static bool in_area(const struct doctor *doctor, const char *id)
{
	const char *dot = strchr(id, '.');

	return !doctor->area || begins(id, doctor->area) || (dot && begins(dot + 1, doctor->area));
}

static void run_check(struct doctor *doctor, const struct warren_check *check,
		      struct warren_ctx *ctx, struct warren_reply *reply)
{
	struct warren_check_result result = { STR_INIT };
	uint32_t severity = check->run(ctx, &result) ? WARREN_OK : check->severity;
	const char *found = result.text.len > 0 ? str_text(&result.text) : check->brief;

	doctor->checks++;
	doctor->bad += severity >= WARREN_BAD;
	warren_reply_open(reply, check->id, '{');
	warren_reply_str(reply, "severity", "%s", severity_name(severity));
	warren_reply_str(reply, "brief", "%s", check->brief);
	if (severity != WARREN_OK)
		warren_reply_str(reply, "finding", "%s", found);
	warren_reply_close(reply);
	warren_reply_text(reply, "\033[%sm%s\033[0m\t%s\t%s", severity_colour(severity),
			  severity_name(severity), check->id,
			  severity == WARREN_OK ? check->brief : found);
	str_free(&result.text);
}

static void run_table(struct doctor *doctor, const struct warren_table *table,
		      struct warren_ctx *ctx, struct warren_reply *reply)
{
	struct warren_check check;

	for (uint32_t i = 0; wcore_table_row(table, i, &check, sizeof(check)); i++)
		if (in_area(doctor, check.id))
			run_check(doctor, &check, ctx, reply);
}

/*
 * ---- The core's own checks ----
 */

static bool check_plugins(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct wcore_instance *p = wcore_engine_plugins(ctx->engine);
	bool good = true;

	for (; p; p = p->next) {
		if (p->state != WCORE_PLUGIN_FAILED)
			continue;
		warren_finding(result, "%s does not run: %s", p->name,
			       p->reason ? p->reason : "no reason was given");
		good = false;
	}
	return good;
}

static bool check_configured(struct warren_ctx *ctx, struct warren_check_result *result)
{
	if (wcore_engine_plugins(ctx->engine))
		return true;
	warren_finding(result, "no plugin is configured, so the daemon does nothing; "
		       "`warren config example` prints what could be in warren.yaml");
	return false;
}

static bool check_privileges(struct warren_ctx *ctx, struct warren_check_result *result)
{
	(void)ctx;
	if (geteuid() != 0)
		return true;
	warren_finding(result, "the engine, which reads packets of strangers, runs as root; do not "
		       "start warrend with --no-privsep except for debugging");
	return false;
}

static bool check_clock(struct warren_ctx *ctx, struct warren_check_result *result)
{
	enum { BUILT_AFTER = 1735689600 };	/* 2025-01-01: no true clock is before it */

	(void)ctx;
	if (warren_realtime() / 1000000 >= BUILT_AFTER)
		return true;
	warren_finding(result, "the clock of this host is years behind, so other nodes refuse its "
		       "handshakes and certificates; set it, and let systemd-timesyncd or chrony "
		       "keep it");
	return false;
}

static const struct warren_check core_checks[] = {
	{ .id = "core.plugins", .severity = WARREN_BAD, .run = check_plugins,
	  .brief = "All configured plugins run.",
	  .help = "A plugin that failed to start is named with its reason." },
	{ .id = "core.configured", .severity = WARREN_NOTE, .run = check_configured,
	  .brief = "Something is configured.",
	  .help = "Without any section in warren.yaml the daemon only answers on its socket." },
	{ .id = "core.privileges", .severity = WARREN_WARN, .run = check_privileges,
	  .brief = "The engine runs without privileges.",
	  .help = "Only the small monitor process needs root." },
	{ .id = "core.clock", .severity = WARREN_BAD, .run = check_clock,
	  .brief = "The clock is plausible.",
	  .help = "Handshakes carry the time, and peers refuse an older one." },
};
const struct warren_table wcore_checks = WARREN_TABLE(core_checks);

/*
 * ---- The command ----
 */

static bool any_in_area(const struct doctor *doctor, const struct warren_table *table)
{
	struct warren_check check;

	for (uint32_t i = 0; wcore_table_row(table, i, &check, sizeof(check)); i++)
		if (in_area(doctor, check.id))
			return true;
	return false;
}

static bool has_checks(const struct wcore_instance *p, void *arg)
{
	return any_in_area(arg, &p->plugin->desc.checks);
}

static void check_plugin(struct warren_ctx *ctx, struct warren_reply *reply, void *arg)
{
	run_table(arg, &ctx->plugin->desc.checks, ctx, reply);
}

static void doctor_free(void *arg)
{
	struct doctor *doctor = arg;

	free(doctor->area);
	free(doctor);
}

static void doctor_done(struct warren_reply *reply, void *arg)
{
	struct doctor *doctor = arg;
	AUTO(str_free) struct str error = STR_INIT;

	if (doctor->checks == 0)
		str_addf(&error, "there is no check \"%s\" in the plugins that run",
			 doctor->area ? doctor->area : "");
	else if (doctor->bad > 0)
		str_addf(&error, "%u of %u checks found something that does not work",
			 doctor->bad, doctor->checks);
	warren_reply_end(reply, error.len > 0, error.len > 0 ? str_text(&error) : NULL);
	doctor_free(doctor);
}

static const struct wcore_visit doctor_visit = {
	.what = "doctor", .wanted = has_checks, .run = check_plugin, .done = doctor_done,
	.drop = doctor_free,
};

int wcore_verb_doctor(struct warren_ctx *ctx, const struct warren_conf *args,
		      struct warren_reply *reply, struct warren_err *err)
{
	const char *area = warren_conf_str(args, "area");
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	int ret;

	if (doctor && area)
		doctor->area = strdup(area);
	if (!doctor || (area && !doctor->area)) {
		free(doctor);
		err_add(err, NULL, "there is no memory for the checks");
		return -ENOMEM;
	}
	doctor->engine = wcore_reply_env(reply)->engine;
	if (any_in_area(doctor, &wcore_checks)) {
		warren_reply_open(reply, "core", '{');
		run_table(doctor, &wcore_checks, ctx, reply);
		warren_reply_close(reply);
	}
	ret = wcore_visit_start(doctor->engine, &doctor_visit, doctor, reply, err);
	if (ret < 0)
		doctor_free(doctor);
	return ret;
}
