/*
 * The control socket: who may connect, whose turn it is, and the way from a request to a command.
 *
 * The set of commands is put together for each request from the plugins that are there at that
 * moment: some dozens of rows, and nothing to keep up to date. The operator's name is looked up on
 * the job pool, because a directory server may be behind it; requests wait for that.
 *
 * A user who is neither root nor the operator gets a tenth of the loop: after a command that took
 * one millisecond, the next request of that user, on whatever connection, waits for ten.
 */
#include "engine/ipc.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <warren/plugin.h>

#include "base/err.h"
#include "base/util.h"
#include "engine/client.h"
#include "engine/cmd.h"
#include "engine/conf.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/installed.h"
#include "engine/log.h"
#include "engine/loop.h"
#include "engine/plugin_load.h"
#include "engine/priv_client.h"
#include "engine/request.h"
#include "engine/verbs.h"

enum { TURNS = 16, OPERATOR_NAME = 64 };

struct turn {				/* of a user */
	uid_t uid;
	uint64_t not_before;		/* warren_now() */
};

struct wcore_ipc {
	struct wcore_engine *engine;
	struct warren_ctx *ctx;
	struct warren_io *listener;
	struct warren_timer *pause;	/* until the process may have descriptors again */
	struct wcore_client *clients;
	uint64_t since;
	size_t queued;
	struct turn turns[TURNS];
	char operator_[OPERATOR_NAME];	/* the name that operator_uid belongs to */
	uid_t operator_uid;		/* (uid_t)-1: nobody */
	struct lookup *lookup;		/* runs */
	struct wcore_installed installed;	/* for commands of plugins that do not run */
	bool looked;				/* `installed` is filled in, once */
	struct warren_limit full;	/* of the line about too many clients */
};

/*
 * ---- The operator ----
 */

struct lookup {
	struct wcore_ipc *ipc;		/* NULL: nobody waits any more */
	char name[OPERATOR_NAME];
	uid_t uid;
};

static void lookup_job(void *arg)
{
	struct lookup *lookup = arg;
	struct passwd pw, *found = NULL;
	char buf[4096], *end;
	unsigned long n = strtoul(lookup->name, &end, 10);

	lookup->uid = (uid_t)-1;
	if (lookup->name[0] && *end == '\0' && n < (uid_t)-1)
		lookup->uid = (uid_t)n;
	else if (getpwnam_r(lookup->name, &pw, buf, sizeof(buf), &found) == 0 && found)
		lookup->uid = found->pw_uid;
}

static void lookup_done(struct warren_ctx *ctx, void *arg)
{
	struct lookup *lookup = arg;
	struct wcore_ipc *ipc = lookup->ipc;

	(void)ctx;
	if (ipc) {
		ipc->lookup = NULL;
		ipc->operator_uid = lookup->uid;
		memcpy(ipc->operator_, lookup->name, sizeof(ipc->operator_));
		if (lookup->uid == (uid_t)-1)
			wcore_log(LOG_WARNING, "node.operator: there is no user \"%s\" on this "
				  "host; only root may change things", lookup->name);
		for (struct wcore_client *c = ipc->clients; c; c = c->next)
			warren_timer_set(c->timer, 0);
	}
	free(lookup);
}

static const char *operator_name(const struct wcore_ipc *ipc)
{
	struct wcore_config *config = wcore_engine_config(ipc->engine);
	const struct warren_conf *node = config ? wcore_config_section(config, "node") : NULL;

	return node ? warren_conf_str(node, "operator") : NULL;
}

/* Whether it is known who the operator is; if not, a lookup runs. */
static bool operator_known(struct wcore_ipc *ipc, const char *name)
{
	struct lookup *lookup;

	if (ipc->lookup)
		return false;
	if (!name || strcmp(name, ipc->operator_) == 0)
		return true;
	ipc->operator_uid = (uid_t)-1;
	lookup = calloc(1, sizeof(*lookup));
	if (lookup && str_copy(lookup->name, sizeof(lookup->name), name)) {
		lookup->ipc = ipc;
		if (warren_work(ipc->ctx, lookup_job, lookup_done, lookup) == 0) {
			ipc->lookup = lookup;
			return false;
		}
	}
	/* Without memory or room in the queue: nobody is the operator, until the next request. */
	free(lookup);
	return true;
}

static uint32_t scope_of(const struct wcore_ipc *ipc, uid_t uid, const char *operator_)
{
	if (uid == 0 || uid == geteuid())
		return WARREN_CMD_ROOT;
	if (operator_ && ipc->operator_uid != (uid_t)-1 && uid == ipc->operator_uid)
		return WARREN_CMD_OPERATOR;
	return WARREN_CMD_ANY;
}

/*
 * ---- Turns ----
 */

/* The user's entry, or the one whose turn was longest ago. */
static struct turn *turn_of(struct wcore_ipc *ipc, uid_t uid)
{
	struct turn *oldest = &ipc->turns[0];

	for (size_t i = 0; i < TURNS; i++) {
		struct turn *turn = &ipc->turns[i];

		if (turn->uid == uid && turn->not_before > 0)
			return turn;
		if (turn->not_before < oldest->not_before)
			oldest = turn;
	}
	*oldest = (struct turn){ .uid = uid };
	return oldest;
}

/* Microseconds until the user may ask again. */
static uint64_t turn_wait(struct wcore_ipc *ipc, uid_t uid)
{
	uint64_t now = warren_now();
	const struct turn *turn = turn_of(ipc, uid);

	return turn->not_before > now ? turn->not_before - now : 0;
}

static void turn_taken(struct wcore_ipc *ipc, uid_t uid, uint64_t usec)
{
	turn_of(ipc, uid)->not_before = warren_now() + usec * WCORE_IPC_SHARE;
}

/*
 * ---- Requests ----
 */

/*
 * Commands of plugins that do not run: `up` switches `control` on. Their files are mapped when
 * somebody first asks for a word that nobody else has, or for a list, and not at the start, where
 * they would cost every node the libraries of features that it does not use.
 */
static int add_installed(struct wcore_ipc *ipc, struct wcore_cmds *cmds, struct warren_err *err)
{
	const struct wcore_engine_options *opts = wcore_engine_opts(ipc->engine);
	int ret = 0;

	if (!ipc->looked)
		(void)wcore_installed_load(&ipc->installed, opts->plugin_dir, opts->plugin_owner,
					   NULL);
	ipc->looked = true;
	for (size_t i = 0; i < ipc->installed.count && ret == 0; i++) {
		const struct warren_plugin *desc = &ipc->installed.plugins[i]->desc;

		if (!wcore_engine_plugin(ipc->engine, desc->name))
			ret = wcore_cmds_add_always(cmds, desc->name, &desc->commands, err);
	}
	return ret;
}

static bool wants_all(const struct wcore_cmds *cmds, const struct wcore_request *request)
{
	size_t words;
	const struct wcore_cmd *cmd =
		wcore_cmds_match(cmds, request->argv, request->argc, &words);

	return !cmd || cmd->row.run == wcore_verb_help || cmd->row.run == wcore_verb_complete;
}

static int collect_commands(struct wcore_ipc *ipc, const struct wcore_request *request,
			    struct wcore_cmds *cmds, struct warren_err *err)
{
	const struct wcore_instance *p = wcore_engine_plugins(ipc->engine);
	int ret = wcore_cmds_add(cmds, NULL, NULL, &wcore_verbs, err);

	for (; p && ret == 0; p = p->next)
		ret = wcore_cmds_add(cmds, p->name, p->state == WCORE_PLUGIN_UP ? p->ctx : NULL,
				     &p->plugin->desc.commands, err);
	return ret == 0 && wants_all(cmds, request) ? add_installed(ipc, cmds, err) : ret;
}

/* Gives the descriptors that came to the operands that the request names. */
static bool hand_over_fds(struct wcore_client *client, const struct wcore_request *request,
			  struct warren_reply *reply)
{
	bool good = request->n_fds == client->n_fds;

	for (unsigned i = 0; i < client->n_fds && good; i++)
		good = wcore_reply_add_fd_take(reply, request->fds[i],
					       TAKE_FD(client->fds[i])) == 0;
	for (unsigned i = 0; i < client->n_fds; i++)
		auto_close(&client->fds[i]);
	client->n_fds = 0;
	return good;
}

static void run_request(struct wcore_client *client, const struct wcore_request *request,
			const char *operator_)
{
	struct wcore_ipc *ipc = client->ipc;
	struct wcore_cmds cmds = { 0 };
	struct warren_err err = ERR_INIT;
	const struct wcore_priv *priv = wcore_engine_priv(ipc->engine);
	struct wcore_env env = {
		.engine = ipc->engine, .cmds = &cmds, .operator_ = operator_, .since = ipc->since,
		.config = priv ? wcore_priv_settings(priv)->config : NULL,
		.plugin_dir = priv ? wcore_priv_settings(priv)->plugin_dir : NULL,
	};
	uint32_t scope = scope_of(ipc, client->uid, operator_);
	uint64_t began = wcore_clock_stopwatch();
	struct warren_reply *reply;

	reply = wcore_reply_new(&wcore_client_sink, client, request->flags, request->width);
	client->reply = reply;
	client->running = true;
	if (!reply)
		wcore_client_refuse(client, "warren: the daemon has no memory for the request");
	else if (!hand_over_fds(client, request, reply))
		warren_reply_end(reply, 2, "a request names each descriptor that it brings");
	else if (collect_commands(ipc, request, &cmds, &err) < 0)
		warren_reply_end(reply, 1, err_first(&err));
	else
		wcore_cmd_run(&env, request, scope, reply);
	client->running = false;
	wcore_cmds_free(&cmds);
	err_free(&err);
	if (scope == WARREN_CMD_ANY)
		turn_taken(ipc, client->uid, wcore_clock_stopwatch() - began);
}

static void parse_and_run(struct wcore_client *client, const struct str *line,
			  const char *operator_)
{
	struct warren_err err = ERR_INIT;
	struct wcore_request request;

	if (line->failed || line->len > WCORE_REQUEST_BYTES) {
		wcore_client_refuse(client, "warren: the request is longer than 64 KiB");
	} else if (wcore_request_parse(&request, str_text(line), line->len, &err) < 0) {
		AUTO(str_free) struct str text = STR_INIT;

		str_addf(&text, "warren: %s", err_first(&err));
		wcore_client_refuse(client, str_text(&text));
	} else {
		run_request(client, &request, operator_);
		wcore_request_free(&request);
	}
	err_free(&err);
}

void wcore_ipc_ready(struct wcore_client *client)
{
	struct wcore_ipc *ipc = client->ipc;
	AUTO(str_free) struct str line = STR_INIT;
	const char *operator_ = operator_name(ipc);
	uint64_t wait;

	if (client->reply || client->closing || client->doomed)
		return;
	if (!wcore_client_has_line(client)) {
		if (client->in.len > WCORE_REQUEST_BYTES)
			wcore_client_refuse(client, "warren: the request is longer than 64 KiB");
		return;
	}
	wait = turn_wait(ipc, client->uid);
	if (wait > 0) {
		warren_timer_set(client->timer, wait);
		return;
	}
	if (!operator_known(ipc, operator_))
		return;
	warren_timer_stop(client->timer);
	if (wcore_client_take_line(client, &line))
		parse_and_run(client, &line, operator_);
	if (!client->reply && !client->doomed)
		wcore_client_idle(client);
	wcore_client_flush(client);
}

void wcore_ipc_timer(struct wcore_client *client)
{
	if (wcore_client_has_line(client)) {
		wcore_ipc_ready(client);
	} else if (client->reply) {
		return;
	} else if (client->idle_until <= warren_now()) {
		wcore_ipc_drop(client);
		return;
	} else {
		warren_timer_set(client->timer, client->idle_until - warren_now());
	}
	wcore_client_flush(client);
}

void wcore_ipc_drop(struct wcore_client *client)
{
	struct wcore_client **at = &client->ipc->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	wcore_client_free(client);
}

bool wcore_ipc_queue(struct wcore_ipc *ipc, ssize_t more)
{
	if (more > 0 && ipc->queued + (size_t)more > WCORE_IPC_QUEUES)
		return false;
	ipc->queued = (size_t)((ssize_t)ipc->queued + more);
	return true;
}

/*
 * ---- Connections ----
 */

static bool has_room(const struct wcore_ipc *ipc, uid_t uid)
{
	unsigned all = 0, users = 0, same = 0;

	for (const struct wcore_client *c = ipc->clients; c; c = c->next) {
		all++;
		users += c->uid != 0;
		same += c->uid == uid;
	}
	if (uid == 0)
		return all < WCORE_IPC_CLIENTS;
	return users < WCORE_IPC_CLIENTS_USERS && same < WCORE_IPC_CLIENTS_USER;
}

static void add_client_take(struct wcore_ipc *ipc, int fd)
{
	static const char busy[] = "{\"end\":{\"exit\":1,\"error\":"
		"\"warren: too many clients talk to the daemon; try again later\"}}\n";
	AUTO(auto_close) int owned = fd;
	socklen_t len = sizeof(struct ucred);
	struct wcore_client *client;
	struct ucred peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return;
	if (!has_room(ipc, peer.uid)) {
		wcore_log_limit(&ipc->full, LOG_WARNING, "control socket: no more clients of "
				"uid %u are let in", (unsigned)peer.uid);
		/* Best effort: whoever is turned away may be gone or may not read. */
		if (send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
			return;
		return;
	}
	client = wcore_client_new_take(ipc, ipc->ctx, TAKE_FD(owned), peer.uid);
	if (!client)
		return;
	client->next = ipc->clients;
	ipc->clients = client;
}

static void on_connect(struct warren_ctx *ctx, int listener, uint32_t what, void *arg)
{
	struct wcore_ipc *ipc = arg;
	int fd;

	(void)ctx;
	(void)what;
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd != -1) {
		add_client_take(ipc, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* No descriptor is left: the waiting connection would wake us again at once. */
		wcore_log_limit(&ipc->full, LOG_WARNING, "control socket: cannot accept: %s",
				strerror(errno));
		warren_io_want(ipc->listener, 0);
		warren_timer_set(ipc->pause, 1000000);
	}
}

static void on_pause_over(struct warren_ctx *ctx, void *arg)
{
	struct wcore_ipc *ipc = arg;

	(void)ctx;
	warren_io_want(ipc->listener, WARREN_IN);
}

struct wcore_ipc *wcore_ipc_start_take(struct wcore_engine *engine, int fd, struct warren_err *err)
{
	struct warren_ctx *ctx = wcore_engine_ctx(engine);
	struct wcore_ipc *ipc = calloc(1, sizeof(*ipc));

	if (!ipc) {
		auto_close(&fd);
		err_add(err, NULL, "there is no memory for the control socket");
		return NULL;
	}
	ipc->engine = engine;
	ipc->ctx = ctx;
	ipc->since = warren_now();
	ipc->operator_uid = (uid_t)-1;
	ipc->listener = warren_io_new_take(ctx, fd, on_connect, ipc);
	ipc->pause = warren_timer_new(ctx, on_pause_over, ipc);
	if (!ipc->listener || !ipc->pause) {
		wcore_ipc_stop(ipc);
		err_add(err, NULL, "there is no memory for the control socket");
		return NULL;
	}
	warren_io_want(ipc->listener, WARREN_IN);
	return ipc;
}

void wcore_ipc_stop(struct wcore_ipc *ipc)
{
	if (!ipc)
		return;
	while (ipc->clients) {
		if (ipc->clients->reply)
			wcore_client_refuse(ipc->clients, "warren: the daemon is stopping");
		wcore_ipc_drop(ipc->clients);
	}
	if (ipc->lookup)
		ipc->lookup->ipc = NULL;
	warren_release(ipc->listener);
	warren_release(ipc->pause);
	wcore_installed_free(&ipc->installed);
	free(ipc);
}
