/*
 * The engine as the monitor sees it: a process that may have been taken over.
 *
 * Nothing that it sends makes the monitor wait or grow: messages are taken one after the other, and
 * none while answers wait to be read. What breaks the protocol ends the engine. When it dies, what
 * it has built stays in place, unused, until its successor asks for it again (undo.h): between the
 * two nothing leaves the host in the clear.
 */
#include "monitor/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/child.h"
#include "monitor/job.h"
#include "monitor/monitor.h"
#include "monitor/notify.h"
#include "monitor/op.h"
#include "monitor/overlay.h"
#include "monitor/undo.h"
#include "priv/check.h"

enum {
	/* microseconds */
	READY_DEADLINE = 80000000,
	HEARTBEAT_DEADLINE = 30000000,
	RELOAD_DEADLINE = 60000000,
	STOP_DEADLINE = 15000000,
	END_DEADLINE = 2000000,		/* from the end of the conversation to the process's */
	/*
	 * From "ready" until what nobody has asked for again is undone: a plugin may be up before
	 * it knows which routes it wants, and until then they must not be missing.
	 */
	SWEEP_AFTER = 5000000,
	STABLE = 60000000,		/* up this long, its failures are forgotten */
	BACKOFF_FIRST = 100000,
	BACKOFF_LAST = 10000000,

	CRASH_LOOP = 5,			/* failures in a row that are called one */
	MESSAGES_PER_TURN = 64,
	STATUS_MAX = 200,
};

struct queued {
	struct list node;
	struct wpriv_head head;
	uint32_t n_fds;
	int fds[WPRIV_MSG_FDS];
	uint8_t data[];
};

/*
 * ---- Sending ----
 */

static void close_fds(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static void free_queued(struct mon *mon, struct queued *q)
{
	list_del(&q->node);
	mon->engine.queued--;
	close_fds(q->fds, q->n_fds);
	free(q);
}

static struct queued *copy_message(const struct wpriv_head *head, const struct wpriv_part *parts,
				   size_t n_parts)
{
	struct queued *q;
	size_t len = 0;

	for (size_t i = 0; i < n_parts; i++)
		len += parts[i].len;
	q = calloc(1, sizeof(*q) + len);
	if (!q)
		return NULL;
	list_init(&q->node);
	q->head = *head;
	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].len > 0)
			memcpy(q->data + q->head.len, parts[i].data, parts[i].len);
		q->head.len += (uint32_t)parts[i].len;
	}
	return q;
}

static void enqueue(struct mon *mon, const struct wpriv_head *head,
		    const struct wpriv_part *parts, size_t n_parts, const int *fds, size_t n_fds)
{
	struct queued *q = NULL;

	if (mon->engine.queued < MON_QUEUE_MAX)
		q = copy_message(head, parts, n_parts);
	if (!q) {
		mon_engine_kill(mon, "does not read its answers");
		return;
	}
	list_add_tail(&mon->engine.queue, &q->node);
	mon->engine.queued++;
	for (size_t i = 0; i < n_fds; i++) {
		q->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (q->fds[i] == -1) {
			mon_engine_kill(mon, "cannot be answered: out of descriptors");
			return;
		}
		q->n_fds++;
	}
}

void mon_engine_send(struct mon *mon, const struct wpriv_head *head, const struct wpriv_part *parts,
		     size_t n_parts, const int *fds, size_t n_fds, bool take)
{
	int result = -EAGAIN;

	if (mon->engine.fd != -1) {
		if (list_empty(&mon->engine.queue))
			result = wpriv_send(mon->engine.fd, head, parts, n_parts, fds, n_fds);
		if (result == -EAGAIN)
			enqueue(mon, head, parts, n_parts, fds, n_fds);
		else if (result && result != -EPIPE && result != -ECONNRESET)
			mon_log(LOG_ERR, "cannot send to the engine: %s", strerror(-result));
	}
	if (take)
		close_fds(fds, n_fds);
}

void mon_engine_write(struct mon *mon)
{
	while (!list_empty(&mon->engine.queue)) {
		struct queued *q = list_first(&mon->engine.queue, struct queued, node);
		int result = wpriv_send(mon->engine.fd, &q->head,
					&(struct wpriv_part){ q->data, q->head.len }, 1, q->fds,
					q->n_fds);

		if (result == -EAGAIN)
			return;
		free_queued(mon, q);
	}
}

static void put_files(const struct mon_config *config, int *fds, struct wpriv_part *part)
{
	for (uint32_t i = 0; i < config->n_files; i++) {
		/* A descriptor's position is shared with every copy that was handed out before. */
		(void)lseek(config->fds[i], 0, SEEK_SET);
		fds[i] = config->fds[i];
	}
	*part = (struct wpriv_part){ config->files, config->n_files * sizeof(config->files[0]) };
}

static void send_hello(struct mon *mon)
{
	const struct mon_options *options = mon->options;
	const struct wpriv_head head = { .type = WPRIV_HELLO };
	struct wpriv_hello hello = {
		.version = WPRIV_VERSION,
		.flags = options->privsep ? 0 : WPRIV_HELLO_NO_PRIVSEP,
		.generation = mon->config->generation,
		.files = mon->config->n_files,
		.log_level = options->log_level < 0 ? UINT32_MAX : (uint32_t)options->log_level,
	};
	struct wpriv_part parts[2] = { { &hello, sizeof(hello) } };
	const char *plugins = options->plugin_dir;
	int fds[WPRIV_MSG_FDS];

	if (!plugins)
		plugins = mon->config->plugin_dir[0] ? mon->config->plugin_dir : WARREN_PLUGINDIR;
	/* All of these were measured when they were read. */
	str_copy(hello.state, sizeof(hello.state), mon->state.engine);
	str_copy(hello.plugin_dir, sizeof(hello.plugin_dir), plugins);
	str_copy(hello.config, sizeof(hello.config), options->config);
	str_copy(hello.socket, sizeof(hello.socket), options->socket);
	if (options->log_format_name)
		str_copy(hello.log_format, sizeof(hello.log_format), options->log_format_name);
	fds[0] = mon->control;
	put_files(mon->config, fds + 1, &parts[1]);
	mon_engine_send(mon, &head, parts, 2, fds, mon->config->n_files + 1, false);
}

static void send_reload(struct mon *mon, uint32_t seq, int result, const char *text)
{
	const struct wpriv_head head = { .type = WPRIV_RELOAD_FILES, .seq = seq,
					 .result = result };
	struct wpriv_reload_files reload = { .generation = 0 };
	struct wpriv_part parts[2] = { { &reload, sizeof(reload) } };
	int fds[WPRIV_MSG_FDS];

	if (result) {
		parts[1] = (struct wpriv_part){ text, strnlen(text, WPRIV_TEXT_MAX) };
		mon_engine_send(mon, &head, parts, 2, NULL, 0, false);
		return;
	}
	reload.generation = mon->next->generation;
	reload.files = mon->next->n_files;
	put_files(mon->next, fds, &parts[1]);
	mon_engine_send(mon, &head, parts, 2, fds, mon->next->n_files, false);
}

/*
 * ---- The process ----
 */

int mon_engine_start(struct mon *mon, struct warren_err *err)
{
	struct mon_engine *engine = &mon->engine;
	struct mon_child child = {
		.program = mon->options->engine, .drop = mon->options->privsep,
		.uid = mon->uid, .gid = mon->gid,
	};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == -1)
		return wpriv_refuse(err, -errno, "cannot make a socket pair: %s", strerror(errno));
	child.fd = pair[1];
	pid = mon_child_start(&child, err);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return (int)pid;
	}
	engine->pid = pid;
	engine->fd = pair[0];
	engine->ready = false;
	engine->restart = 0;
	engine->started = mon_now();
	engine->starts++;
	send_hello(mon);
	return 0;
}

static void close_conversation(struct mon_engine *engine)
{
	auto_close(&engine->fd);
	engine->fd = -1;
	engine->end_deadline = mon_now() + END_DEADLINE;
}

void mon_engine_kill(struct mon *mon, const char *why)
{
	struct mon_engine *engine = &mon->engine;

	if (engine->pid <= 0)
		return;
	mon_log(LOG_ERR, "the engine (pid %d) %s: it is killed", engine->pid, why);
	kill(engine->pid, SIGKILL);
	/* Nothing that it may still have sent counts. */
	close_conversation(engine);
}

void mon_engine_stop(struct mon *mon)
{
	const struct wpriv_head head = { .type = WPRIV_STOP };
	struct mon_engine *engine = &mon->engine;

	if (engine->stopping) {
		mon_engine_kill(mon, "is stopped for the second time");
		return;
	}
	engine->stopping = true;
	engine->stop_deadline = mon_now() + STOP_DEADLINE;
	mon_notify("STOPPING=1\nSTATUS=stopping");
	mon_log(LOG_NOTICE, "stopping");
	if (engine->pid <= 0) {
		mon->quit = true;
		return;
	}
	mon_engine_send(mon, &head, NULL, 0, NULL, 0, false);
}

static void describe_death(int status, struct str *out)
{
	if (WIFSIGNALED(status))
		str_addf(out, "signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		str_addf(out, "exit status %d", WEXITSTATUS(status));
}

static void schedule_restart(struct mon *mon, const char *how)
{
	struct mon_engine *engine = &mon->engine;
	uint64_t now = mon_now(), delay = 0;

	if (engine->ready && now - engine->started > STABLE)
		engine->failures = 0;
	if (engine->failures > 0) {
		delay = BACKOFF_FIRST;
		for (uint32_t i = 1; i < engine->failures && delay < BACKOFF_LAST; i++)
			delay *= 2;
		delay = delay < BACKOFF_LAST ? delay : BACKOFF_LAST;
	}
	engine->failures++;
	engine->restart = now + delay;
	mon_log(LOG_ERR,
		"the engine died (%s); interfaces, routes and ports are held, nothing passes; "
		"it is started again in %llu ms",
		how, (unsigned long long)delay / 1000);
	mon_notify("STATUS=the engine died (%s), starting again", how);
	if (engine->failures == CRASH_LOOP)
		mon_log(LOG_ERR,
			"the engine has died %d times in a row: look at its last lines above; "
			"traffic stays blocked, \"systemctl stop warrend\" gives the host back",
			CRASH_LOOP);
}

void mon_engine_died(struct mon *mon, int status)
{
	struct mon_engine *engine = &mon->engine;
	AUTO(str_free) struct str how = STR_INIT;
	struct queued *q, *next;

	engine->pid = 0;
	auto_close(&engine->fd);
	engine->fd = -1;
	list_for_each_safe(q, next, &engine->queue, node)
		free_queued(mon, q);
	mon_job_end_all(mon);
	if (mon->next) {
		mon_log(LOG_ERR,
			"the engine died while it tried the new configuration: the old one "
			"stays in force");
		mon_config_free(mon->next);
		mon->next = NULL;
		mon_overlay_settle(mon, false);
	}
	engine->reload_deadline = engine->sweep = 0;
	describe_death(status, &how);
	if (engine->stopping) {
		if (status != 0)
			mon_log(LOG_WARNING, "the engine did not end in order: %s", str_text(&how));
		mon->quit = true;
		return;
	}
	if (engine->starts == 1 && !engine->ready) {
		mon_log(LOG_ERR, "the engine could not start (%s)", str_text(&how));
		mon->quit = true;
		mon->exit = 1;
		return;
	}
	mon_hold(mon);
	schedule_restart(mon, str_text(&how));
	engine->ready = false;
}

/*
 * ---- Messages ----
 */

/* The text at the end of a message, harmless for logs and for the service manager. */
static void clean_text(const struct wpriv_msg *msg, size_t at, size_t max, bool lines,
		       struct str *out)
{
	const char *text = (const char *)msg->data + at;
	size_t len = msg->head.len - at;

	if (len > WPRIV_TEXT_MAX)
		len = WPRIV_TEXT_MAX;
	while (lines && len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		str_add_clean(out, text, n, max);
		str_addc(out, '\n');
		n += end != NULL;
		text += n;
		len -= n;
	}
	if (len > 0)
		str_add_clean(out, text, len, max);
}

static int handle_ready(struct mon *mon, const struct wpriv_msg *msg)
{
	struct mon_engine *engine = &mon->engine;
	AUTO(str_free) struct str status = STR_INIT;

	if (msg->head.len < sizeof(struct wpriv_ready))
		return -EBADMSG;
	clean_text(msg, sizeof(struct wpriv_ready), STATUS_MAX, false, &status);
	mon_notify("READY=1\nSTATUS=%s", str_text(&status));
	engine->heartbeat = mon_now();
	if (engine->ready)
		return 0;
	engine->ready = true;
	mon_log(LOG_NOTICE, "the engine is up after %llu ms: %s",
		(unsigned long long)(engine->heartbeat - engine->started) / 1000,
		str_text(&status));
	engine->sweep = engine->heartbeat + SWEEP_AFTER;
	return 0;
}

static int handle_reload_done(struct mon *mon, const struct wpriv_msg *msg)
{
	struct wpriv_reload_done done;
	AUTO(str_free) struct str text = STR_INIT;

	if (msg->head.len < sizeof(done) || !mon->next)
		return -EBADMSG;
	memcpy(&done, msg->data, sizeof(done));
	if (done.generation != mon->next->generation)
		return -EBADMSG;
	clean_text(msg, sizeof(done), 1024, true, &text);
	mon->engine.reload_deadline = 0;
	mon_overlay_settle(mon, msg->head.result == 0);
	if (msg->head.result == 0) {
		mon_config_free(mon->config);
		mon->config = mon->next;
		mon_log(LOG_NOTICE, "the new configuration is in force");
	} else {
		mon_config_free(mon->next);
		mon_log(LOG_ERR, "the new configuration was refused, the old one stays in force:");
		mon_log_lines(LOG_ERR, str_text(&text));
	}
	mon->next = NULL;
	mon->engine.sweep = mon_now() + SWEEP_AFTER;
	mon_notify("READY=1");
	return 0;
}

static int handle_owner_end(struct mon *mon, const struct wpriv_msg *msg)
{
	struct wpriv_owner_end end;

	if (msg->head.len != sizeof(end))
		return -EBADMSG;
	memcpy(&end, msg->data, sizeof(end));
	if (!wpriv_owner_valid(end.owner, sizeof(end.owner)))
		return -EBADMSG;
	mon_undo_owner(mon, end.owner);
	return 0;
}

int mon_engine_message(struct mon *mon, struct wpriv_msg *msg)
{
	if (msg->head.type != WPRIV_REQUEST && msg->head.type != WPRIV_OVERLAY && msg->n_fds > 0)
		return -EBADMSG;
	switch (msg->head.type) {
	case WPRIV_READY:
		return handle_ready(mon, msg);
	case WPRIV_HEARTBEAT_MSG:
		if (msg->head.len != 0)
			return -EBADMSG;
		mon->engine.heartbeat = mon_now();
		if (mon->watchdog && mon->engine.ready)
			mon_notify("WATCHDOG=1");
		return 0;
	case WPRIV_REQUEST:
		return mon_op_request(mon, msg);
	case WPRIV_OWNER_END:
		return handle_owner_end(mon, msg);
	case WPRIV_RELOAD_ASK:
		if (msg->head.len != 0)
			return -EBADMSG;
		mon_engine_reload(mon, true);
		return 0;
	case WPRIV_OVERLAY:
		return mon_overlay_message(mon, msg);
	case WPRIV_RELOAD_DONE:
		return handle_reload_done(mon, msg);
	default:
		return -EBADMSG;
	}
}

void mon_engine_read(struct mon *mon)
{
	struct mon_engine *engine = &mon->engine;

	for (int i = 0; i < MESSAGES_PER_TURN && list_empty(&engine->queue) && engine->fd != -1;
	     i++) {
		struct wpriv_msg msg;
		int got = wpriv_recv(engine->fd, engine->buf, &msg);

		if (got == -EAGAIN)
			return;
		if (got == 1)
			got = mon_engine_message(mon, &msg) ? -EBADMSG : 1;
		wpriv_msg_close(&msg);
		if (got == 1)
			continue;
		if (got == 0) {
			/* It ends; one that only closed its socket is of no use and is helped. */
			close_conversation(engine);
			return;
		}
		mon_engine_kill(mon, got == -EBADMSG ? "sent what is no message" :
						       "cannot be read from");
		return;
	}
}

/*
 * ---- Reload, deadlines ----
 */

void mon_engine_reload(struct mon *mon, bool asked)
{
	const struct mon_config_from from = {
		.file = mon->options->config, .required = mon->options->config_given,
		.state = mon->options->state,
	};
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str text = STR_INIT;
	struct mon_config *config;

	if (mon->next || mon->engine.stopping) {
		if (asked)
			send_reload(mon, 0, -EBUSY, "a reload is going on already");
		return;
	}
	mon_notify_reloading();
	config = mon_config_load(&from, mon->generations + 1, &err);
	if (!config) {
		err_print(&err, &text);
		mon_log(LOG_ERR, "the files were read again and refused, nothing changes:");
		mon_log_lines(LOG_ERR, str_text(&text));
		if (asked)
			send_reload(mon, 0, -EINVAL, str_text(&text));
		mon_notify("READY=1");
		return;
	}
	if (mon->engine.fd == -1) {
		/* The next engine gets it. */
		mon->generations++;
		mon_config_free(mon->config);
		mon->config = config;
		mon_notify("READY=1");
		return;
	}
	mon_engine_try_take(mon, config, 0);
}

void mon_engine_try_take(struct mon *mon, struct mon_config *config, uint32_t seq)
{
	mon->generations++;
	mon->next = config;
	mon->engine.reload_deadline = mon_now() + RELOAD_DEADLINE;
	send_reload(mon, seq, 0, NULL);
}

void mon_engine_refuse(struct mon *mon, uint32_t seq, int result, const char *why)
{
	send_reload(mon, seq, result, why);
}

static void start_again(struct mon *mon)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;

	if (mon_engine_start(mon, &err) == 0)
		return;
	mon_log(LOG_ERR, "%s", err_first(&err));
	mon->engine.failures++;
	mon->engine.restart = mon_now() + BACKOFF_LAST;
}

uint64_t mon_engine_tick(struct mon *mon, uint64_t now)
{
	struct mon_engine *engine = &mon->engine;
	uint64_t alive;

	if (engine->restart != 0 && now >= engine->restart && !engine->stopping) {
		engine->restart = 0;
		start_again(mon);
	}
	if (engine->sweep != 0 && now >= engine->sweep) {
		engine->sweep = 0;
		mon_undo_unclaimed(mon);
	}
	if (engine->pid == 0)
		return engine->restart;
	if (engine->fd == -1) {
		if (now >= engine->end_deadline)
			mon_engine_kill(mon, "has left the conversation but did not end");
		return engine->end_deadline;
	}
	if (engine->stopping) {
		if (now >= engine->stop_deadline)
			mon_engine_kill(mon, "did not stop in time");
		return engine->stop_deadline;
	}
	alive = engine->ready ? engine->heartbeat + HEARTBEAT_DEADLINE :
				engine->started + READY_DEADLINE;
	if (now >= alive)
		mon_engine_kill(mon, engine->ready ? "has given no sign of life for 30 s" :
						     "was not ready within 80 s");
	else if (engine->reload_deadline != 0 && now >= engine->reload_deadline)
		mon_engine_kill(mon, "did not finish the reload within 60 s");
	return mon_sooner(mon_sooner(alive, engine->reload_deadline), engine->sweep);
}
