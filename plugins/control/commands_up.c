/*
 * up, login, down, logout, set.
 *
 * They run whether or not the plugin does: `up` writes the section that switches it on. So they
 * belong to the core's context, and what they know of the session they hold through a watch that
 * ends with the plugin. The order of `up` is: read the key, write the settings, log in, wait. Each
 * step stands for itself, so that a client may go away after any of them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/err.h"
#include "base/str.h"
#include "base/util.h"
#include "commands.h"
#include "commands_settings.h"
#include "session_impl.h"
#include "status_view.h"

enum {
	KEY_MAX = 512,			/* bytes of an auth key */
	CHANGES = CTL_SETTINGS + 2,	/* and url, up */
	SECOND = 1000000,
};

struct up {
	struct warren_ctx *ctx;		/* of the core */
	struct warren_reply *reply;	/* NULL: the client is gone */
	struct warren_timer *timer;
	struct warren_ctx *plugin;	/* what the watch belongs to, or NULL */
	struct ctl_watch *watch;
	void *plugin_end;
	uint64_t began, timeout;
	bool force, qr, logs_in;	/* logs_in: up and login; else just settings */
	bool waited;			/* the network was not there at once */
	bool told, approval;		/* a link was shown; that for approval */
	bool offers;			/* networks, by this command */
	bool pending;			/* a job or a change of settings holds this */
	char url[512];			/* the link that was shown last */
	char key[KEY_MAX];
	int key_fd;
	int key_error;
	struct str values[CHANGES];
	struct warren_overlay_change changes[CHANGES];
	uint32_t n_changes, flags;
};

/*
 * ---- The end ----
 */

static void forget_plugin(struct up *up)
{
	if (!up->plugin)
		return;
	ctl_session_unwatch(up->watch);
	warren_release(up->plugin_end);
	up->watch = NULL;
	up->plugin_end = NULL;
	up->plugin = NULL;
}

static void up_free(struct up *up)
{
	forget_plugin(up);
	warren_release(up->timer);
	auto_close(&up->key_fd);
	sodium_memzero(up->key, sizeof(up->key));
	for (uint32_t i = 0; i < CHANGES; i++)
		str_free(&up->values[i]);
	free(up);
}

static void up_end(struct up *up, int exit, const char *error)
{
	struct warren_reply *reply = up->reply;

	up->reply = NULL;
	forget_plugin(up);
	if (reply)
		warren_reply_end(reply, exit, error);
	if (!up->pending)
		up_free(up);
}

/* The daemon goes on with what it was told; a later `up` finds it there. */
static void up_cancel(struct warren_reply *reply, void *arg)
{
	(void)reply;
	up_end(arg, 1, NULL);
}

/*
 * ---- Waiting for the network ----
 */

/* The JSON is the stock client's (cmd/tailscale/cli/up.go, type upOutputJSON). */
static void show_link(struct up *up, const struct ctl_session_info *info)
{
	AUTO(str_free) struct str png = STR_INIT;

	snprintf(up->url, sizeof(up->url), "%s", info->auth_url);
	up->told = true;
	if (!warren_reply_json(up->reply)) {
		warren_reply_note(up->reply, "\nTo authenticate, visit:\n\n\t%s\n",
				  info->auth_url);
		if (up->qr)
			ctl_qr_note(up->reply, info->auth_url);
		return;
	}
	warren_reply_open(up->reply, NULL, '{');
	warren_reply_str(up->reply, "AuthURL", "%s", info->auth_url);
	if (ctl_qr_png(info->auth_url, &png))
		warren_reply_str(up->reply, "QR", "data:image/png;base64,%s", str_text(&png));
	warren_reply_str(up->reply, "BackendState", "%s", ctl_state_name(info->state));
	warren_reply_close(up->reply);
}

static void show_state(struct up *up, enum ctl_state state)
{
	warren_reply_open(up->reply, NULL, '{');
	warren_reply_str(up->reply, "BackendState", "%s", ctl_state_name(state));
	warren_reply_close(up->reply);
}

static void ask_approval(struct up *up, const struct ctl_session_info *info)
{
	up->approval = up->told = true;
	if (warren_reply_json(up->reply))
		show_state(up, info->state);
	else
		warren_reply_note(up->reply, "\nTo approve your machine, visit (as admin):\n\n"
				  "\t%s/admin\n", info->url);
}

static void running(struct up *up)
{
	const struct warren_netmap *map = ctl_session_map(ctl_session_of(up->plugin));

	if (up->waited && warren_reply_json(up->reply))
		show_state(up, CTL_RUNNING);
	else if (up->told)
		warren_reply_note(up->reply, "Success.");
	if (ctl_routes_unused(map))
		warren_reply_text(up->reply, CTL_ROUTES_UNUSED);
	warren_obj_unref(map);
	up_end(up, 0, NULL);
}

/* What a terminal shows below, with the seconds. */
static const char *waits_for(const struct ctl_session_info *info)
{
	if (info->state == CTL_NEEDS_MACHINE_AUTH)
		return "s, waiting for an administrator to approve this machine";
	if (info->auth_url)
		return "s, waiting for a user to log in";
	return info->connected ? "s, waiting for the network map" : "s, waiting for the server";
}

static void keep_waiting(struct up *up, const struct ctl_session_info *info)
{
	if (!up->waited)
		warren_reply_hint(up->reply, "the daemon goes on: `warren up` waits again, "
				  "`warren status` says how far it is, `warren down` stops it");
	up->waited = true;
	warren_reply_progress(up->reply, (int64_t)((warren_now() - up->began) / SECOND),
			      (int64_t)(up->timeout / SECOND), waits_for(info));
	warren_timer_set(up->timer, SECOND);
}

/* Called inside the session: what ends the command is left to the loop. */
static void session_changed(struct ctl_session *session, void *arg)
{
	struct up *up = arg;

	(void)session;
	warren_timer_set(up->timer, 0);
}

static void plugin_ended(void *arg)
{
	struct up *up = arg;

	/* The watch went with it. */
	up->watch = NULL;
	up->plugin_end = NULL;
	up->plugin = NULL;
	warren_timer_set(up->timer, 0);
}

static int watch_plugin(struct up *up)
{
	struct warren_ctx *plugin = warren_running(up->ctx, "control");

	if (!plugin)
		return -ENOENT;
	up->watch = ctl_session_watch(ctl_session_of(plugin), session_changed, up);
	up->plugin_end = warren_on_end(plugin, plugin_ended, up);
	if (up->watch && up->plugin_end) {
		up->plugin = plugin;
		return 0;
	}
	ctl_session_unwatch(up->watch);
	warren_release(up->plugin_end);
	up->watch = NULL;
	up->plugin_end = NULL;
	return -ENOMEM;
}

static void look(struct warren_ctx *ctx, void *arg)
{
	AUTO(str_free) struct str why = STR_INIT;
	struct ctl_session_info info;
	struct up *up = arg;

	(void)ctx;
	if (!up->plugin && watch_plugin(up) == -ENOENT) {
		up_end(up, 1, "plugin control does not run; `warren plugins` says why");
		return;
	}
	if (!up->plugin) {
		up_end(up, 1, "there is no memory to wait");
		return;
	}
	ctl_session_info(ctl_session_of(up->plugin), &info);
	if (info.state == CTL_RUNNING && !info.busy) {
		running(up);
		return;
	}
	if (info.error_final && info.error && !info.auth_url) {
		str_addf(&why, "backend error: %s", info.error);
		up_end(up, 1, str_text(&why));
		return;
	}
	if (info.auth_url && strcmp(up->url, info.auth_url) != 0)
		show_link(up, &info);
	if (info.state == CTL_NEEDS_MACHINE_AUTH && !up->approval)
		ask_approval(up, &info);
	if (up->timeout && warren_now() - up->began >= up->timeout) {
		str_add(&why, "timeout waiting for the network; the daemon goes on: `warren "
			"status` says how far it is");
		if (info.error)
			str_addf(&why, " (%s)", info.error);
		up_end(up, 1, str_text(&why));
		return;
	}
	keep_waiting(up, &info);
}

static void log_in(struct up *up)
{
	struct warren_ctx *plugin = warren_running(up->ctx, "control");
	AUTO(str_free) struct str why = STR_INIT;
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result;

	if (!plugin) {
		up_end(up, 1, "plugin control does not run; `warren plugins` says why");
		return;
	}
	result = ctl_session_login(ctl_session_of(plugin), up->key[0] ? up->key : NULL, up->force,
				   &err);
	sodium_memzero(up->key, sizeof(up->key));
	if (result < 0) {
		str_addf(&why, "cannot log in: %s", err_any(&err) ? err_first(&err) :
			 strerror(-result));
		up_end(up, 1, str_text(&why));
		return;
	}
	up->began = warren_now();
	look(up->ctx, up);
}

/*
 * ---- Settings ----
 */

static void warn_forwarding(struct up *up, const struct ctl_session *session)
{
	char why[CTL_FORWARDING_TEXT];

	if (ctl_forwarding_problem(session, why))
		warren_reply_note(up->reply, "Warning: %s", why);
}

static void settings_done(struct warren_ctx *ctx, int result, const char *text, void *arg)
{
	struct up *up = arg;

	up->pending = false;
	/* The name of this node is no key of our section, whose changes the session sees. */
	if (result >= 0 && warren_running(ctx, "control")) {
		struct ctl_session *session = ctl_session_of(warren_running(ctx, "control"));

		ctl_update_soon(session);
		if (up->reply && up->offers)
			warn_forwarding(up, session);
	}
	if (!up->reply)
		up_free(up);
	else if (result < 0)
		up_end(up, 1, text);
	else if (up->logs_in)
		log_in(up);
	else
		up_end(up, 0, NULL);
}

static void apply(struct up *up)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	int result;

	if (up->n_changes == 0) {
		settings_done(up->ctx, 0, NULL, up);
		return;
	}
	up->pending = true;
	result = warren_overlay_set(up->ctx, up->reply, up->changes, up->n_changes, up->flags,
				    settings_done, up, &err);
	if (result == 0)
		return;
	up->pending = false;
	up_end(up, 1, err_first(&err));
}

/* @text NULL: remove. */
static void change(struct up *up, const char *key, const char *text)
{
	struct str *value = &up->values[up->n_changes];

	if (text)
		str_add(value, text);
	up->changes[up->n_changes++] = (struct warren_overlay_change){
		key, text ? str_text(value) : NULL,
	};
}

static void change_url(struct up *up, const char *url)
{
	AUTO(str_free) struct str json = STR_INIT;

	str_add_json(&json, url, strlen(url));
	change(up, "control.url", str_text(&json));
}

static void change_one(void *arg, const char *key, const char *value)
{
	change(arg, key, value);
}

/* In the stock client's words; a name is looked for among the peers of this moment. */
static int check_exit_node(struct warren_ctx *core, const struct warren_conf *args,
			   struct warren_err *err)
{
	struct warren_ctx *plugin = warren_running(core, "control");
	const struct ctl_session *s = plugin ? ctl_session_of(plugin) : NULL;
	const char *use = warren_conf_str(args, "exit-node");
	char why[WARREN_EXITNODE_TEXT];

	if (!use || !use[0])
		return 0;
	if (warren_conf_has(args, "advertise-exit-node") &&
	    warren_conf_bool(args, "advertise-exit-node"))
		return warren_fail(err, NULL, "Cannot advertise an exit node and use an exit node "
				   "at the same time.");
	if (s && s->exitnode && !s->exitnode->usable(s->exitnode_self, use, why))
		return warren_fail(err, NULL, "%s", why);
	return 0;
}

static int collect(struct up *up, const struct warren_conf *args, bool reset,
		   struct warren_err *err)
{
	up->offers = warren_conf_has(args, "advertise-routes") ||
		     warren_conf_has(args, "advertise-exit-node");
	if (check_exit_node(up->ctx, args, err))
		return -EINVAL;
	if (warren_conf_bool(args, "override"))
		up->flags |= WARREN_OVERLAY_OVERRIDE;
	return ctl_settings_read(up->ctx, args, reset, change_one, up, err);
}

/*
 * ---- Verbs ----
 */

static struct up *up_new(struct warren_ctx *ctx, struct warren_reply *reply,
			 struct warren_err *err)
{
	struct up *up = calloc(1, sizeof(*up));

	if (up)
		up->timer = warren_timer_new(ctx, look, up);
	if (!up || !up->timer) {
		free(up);
		warren_fail(err, NULL, "there is no memory for the command");
		return NULL;
	}
	up->ctx = ctx;
	up->reply = reply;
	up->key_fd = -1;
	warren_reply_on_cancel(reply, up_cancel, up);
	return up;
}

/* Nothing was begun: the core ends the reply. */
static void up_refuse(struct up *up)
{
	warren_reply_on_cancel(up->reply, NULL, NULL);
	up->reply = NULL;
	up_free(up);
}

/* The pool may wait for a slow file; the loop may not. */
static void read_key(void *arg)
{
	struct up *up = arg;
	ssize_t n = read(up->key_fd, up->key, sizeof(up->key) - 1);

	if (n < 0)
		up->key_error = errno;
	else if (n == sizeof(up->key) - 1)
		up->key_error = EFBIG;
	else
		up->key[n] = '\0';
	up->key[strcspn(up->key, " \t\r\n")] = '\0';
}

static void key_read(struct warren_ctx *ctx, void *arg)
{
	struct up *up = arg;

	(void)ctx;
	up->pending = false;
	if (!up->reply)
		up_free(up);
	else if (up->key_error || !up->key[0])
		up_end(up, 1, up->key_error == EFBIG ?
		       "the file of --auth-key is too long for a key" : up->key_error ?
		       "the file of --auth-key cannot be read" : "the file of --auth-key is empty");
	else
		apply(up);
}

/* 1: it is being read, and `apply` comes later. */
static int take_key(struct up *up, const struct warren_conf *args, struct warren_err *err)
{
	const char *text = warren_conf_str(args, "auth-key");
	struct stat st;
	int result;

	up->key_fd = warren_reply_take_fd(up->reply, "auth-key");
	if (up->key_fd < 0) {
		up->key_fd = -1;
		if (text && !str_copy(up->key, sizeof(up->key), text))
			return warren_fail(err, NULL, "--auth-key is too long for a key");
		return 0;
	}
	if (fstat(up->key_fd, &st) == -1 || !S_ISREG(st.st_mode))
		return warren_fail(err, NULL, "--auth-key: %s is not a plain file", text + 5);
	result = warren_work(up->ctx, read_key, key_read, up);
	if (result < 0)
		return warren_fail(err, NULL, "--auth-key: too much is going on: try again");
	up->pending = true;
	return 1;
}

/* Of a logged-in node the server is not changed by the way. */
static int check_server(struct warren_ctx *ctx, const char *server, bool force,
			struct warren_reply *reply, struct warren_err *err)
{
	struct warren_ctx *plugin = warren_running(ctx, "control");
	struct ctl_session_info info;

	if (!plugin && !server) {
		warren_reply_end(reply, 2, "which control server? Give --login-server URL, or set "
				 "control.url in warren.yaml");
		return -EINVAL;
	}
	if (!plugin || !server || force)
		return 0;
	ctl_session_info(ctl_session_of(plugin), &info);
	if (info.login && strcmp(info.url, server) != 0)
		return warren_fail(err, NULL, "can't change --login-server without --force-reauth "
				   "(this node is logged in at %s)", info.url);
	return 0;
}

int ctl_run_up(struct warren_ctx *ctx, const struct warren_conf *args, struct warren_reply *reply,
	       struct warren_err *err)
{
	const char *server = warren_conf_str(args, "login-server");
	bool force = warren_conf_bool(args, "force-reauth");
	int result = check_server(ctx, server, force, reply, err);
	struct up *up;

	if (result < 0)
		return result;
	up = up_new(ctx, reply, err);
	if (!up)
		return -ENOMEM;
	up->logs_in = true;
	up->force = force;
	up->qr = warren_conf_bool(args, "qr");
	up->timeout = (uint64_t)warren_conf_int(args, "timeout");
	up->began = warren_now();
	if (server)
		change_url(up, server);
	change(up, "control.up", "true");
	result = collect(up, args, warren_conf_bool(args, "reset"), err);
	if (result == 0)
		result = take_key(up, args, err);
	if (result < 0) {
		up_refuse(up);
		return result;
	}
	if (result == 0)
		apply(up);
	return WARREN_PENDING;
}

int ctl_run_set(struct warren_ctx *ctx, const struct warren_conf *args, struct warren_reply *reply,
		struct warren_err *err)
{
	struct up *up = up_new(ctx, reply, err);
	int result;

	if (!up)
		return -ENOMEM;
	result = collect(up, args, false, err);
	if (result < 0) {
		up_refuse(up);
		return result;
	}
	if (up->n_changes == 0)
		warren_reply_note(reply, "Nothing to set: `warren help set` lists the settings.");
	apply(up);
	return WARREN_PENDING;
}

int ctl_run_down(struct warren_ctx *ctx, const struct warren_conf *args,
		 struct warren_reply *reply, struct warren_err *err)
{
	struct warren_ctx *plugin = warren_running(ctx, "control");
	struct ctl_session_info info;
	struct up *up;

	(void)args;
	if (!plugin)
		return 0;
	ctl_session_info(ctl_session_of(plugin), &info);
	if (!info.up) {
		warren_reply_note(reply, "Warren was already stopped.");
		return 0;
	}
	up = up_new(ctx, reply, err);
	if (!up)
		return -ENOMEM;
	change(up, "control.up", "false");
	apply(up);
	return WARREN_PENDING;
}

static void logged_out(struct warren_ctx *ctx, int result, const char *why, void *arg)
{
	struct up *up = arg;

	(void)ctx;
	up->pending = false;
	if (!up->reply)
		up_free(up);
	else
		up_end(up, result < 0 ? 1 : 0, result < 0 ? why : NULL);
}

int ctl_run_logout(struct warren_ctx *ctx, const struct warren_conf *args,
		   struct warren_reply *reply, struct warren_err *err)
{
	struct warren_ctx *plugin = warren_running(ctx, "control");
	struct up *up;
	int result;

	(void)args;
	if (!plugin)
		return 0;
	up = up_new(ctx, reply, err);
	if (!up)
		return -ENOMEM;
	up->pending = true;
	result = ctl_session_logout(ctl_session_of(plugin), logged_out, up);
	if (result == 0)
		return WARREN_PENDING;
	up->pending = false;
	up_end(up, 1, strerror(-result));
	return WARREN_PENDING;
}
