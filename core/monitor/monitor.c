/*
 * The monitor's loop, start and end.
 *
 * Signals come through a descriptor, so the loop sees one event at a time. Every turn asks each
 * part when it wants to be called again; there are no other timers.
 */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "monitor/engine.h"
#include "monitor/job.h"
#include "monitor/notify.h"
#include "monitor/op.h"
#include "monitor/undo.h"
#include "priv/check.h"

enum {
	LEFTOVER_WAIT = 2000000,	/* microseconds for a dying engine to let go */
	CONTROL_BACKLOG = 64,
	POLL_SIGNALS = 0, POLL_ENGINE, POLL_INOTIFY, POLL_GUARD, POLL_NFT, POLL_JOBS,
	POLL_COUNT = POLL_JOBS + MON_FILE_JOBS,
};

uint64_t mon_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t mon_sooner(uint64_t a, uint64_t b)
{
	return a == 0 ? b : b == 0 || a < b ? a : b;
}

/*
 * ---- What a dead daemon left behind ----
 */

static bool still_held(const struct mon_thing *thing)
{
	if (thing->kind == MON_TUN)
		return if_nametoindex(thing->what.tun.req.ifname) != 0;
	return thing->kind == MON_PATH && mon_path_busy(&thing->what.path);
}

/* An engine that dies with its monitor needs a moment to let interface and sockets go. */
static void wait_for_release(const struct mon_thing *thing, uint64_t end)
{
	const struct timespec step = { 0, 2000000 };

	while (still_held(thing)) {
		if (mon_now() >= end) {
			mon_log(LOG_WARNING,
				"%s %s of a daemon that died is in use: does its engine run?",
				mon_kind_name(thing->kind),
				thing->kind == MON_TUN ? thing->what.tun.req.ifname :
							 thing->what.path.path);
			return;
		}
		nanosleep(&step, NULL);
	}
}

static void drop_unreachable(struct mon *mon, enum mon_journal_place place)
{
	struct mon_thing *thing, *next;
	uint32_t dropped = 0;

	if (place == MON_JOURNAL_HERE)
		return;
	list_for_each_safe(thing, next, &mon->things.all, node) {
		if (thing->kind == MON_PATH || thing->kind == MON_RESOLVER)
			continue;
		mon_thing_free(&mon->things, thing);
		dropped++;
	}
	if (place == MON_JOURNAL_OTHER_NETNS && dropped > 0)
		mon_log(LOG_WARNING,
			"a daemon that died in another network namespace may have left %u "
			"addresses, routes or rules there",
			dropped);
}

/* What stays gets numbers of this daemon's own, which others may not get. */
static void number_anew(struct mon_things *things)
{
	struct mon_thing *thing;

	things->next_id = 1;
	list_for_each(thing, &things->all, node)
		thing->id = things->next_id++;
}

static int undo_leftovers(struct mon *mon, bool keep_shut, struct warren_err *err)
{
	enum mon_journal_place place = MON_JOURNAL_HERE;
	int result = mon_journal_load(mon->state.monitor, &mon->things, &place, err);
	uint64_t end = mon_now() + LEFTOVER_WAIT;
	const struct mon_thing *thing;
	uint32_t count;

	if (result && result != -ENOENT)
		return result;
	drop_unreachable(mon, place);
	count = mon->things.count;
	if (count > 0)
		mon_log(LOG_NOTICE,
			"a daemon before this one did not end in order: %u leftovers are "
			"taken back",
			count);
	list_for_each(thing, &mon->things.all, node)
		wait_for_release(thing, end);
	/* A full disk must not keep us from taking it back, so the new journal comes after. */
	mon->journal = (struct mon_journal){ .fd = -1, .things = &mon->things };
	if (keep_shut)
		mon->was_shut = mon_undo_open(mon, false);
	else
		mon_undo_all(mon);
	if (mon->was_shut)
		mon_log(LOG_NOTICE, "the internet stays out of reach, as it was left, until the "
			"exit node is used again; `warrend --cleanup` opens the way");
	number_anew(&mon->things);
	return mon_journal_open(&mon->journal, mon->state.monitor, &mon->things, err);
}

/*
 * ---- Start ----
 */

static void mon_init(struct mon *mon, const struct mon_options *options)
{
	*mon = (struct mon){
		.options = options, .executors = mon_executors, .state = MON_STATE_INIT,
		.control = -1, .inotify = -1, .signals = -1, .resolver_signal = -1,
		.journal = { .fd = -1 }, .engine = { .fd = -1 }, .nft = { .signal = -1 },
	};
	mon_things_init(&mon->things);
	list_init(&mon->engine.queue);
	for (size_t i = 0; i < MON_FILE_JOBS; i++)
		mon->jobs[i].fd = -1;
}

static void mon_free(struct mon *mon)
{
	mon_things_free(&mon->things);
	mon_journal_close(&mon->journal);
	mon_netlink_close(&mon->netlink);
	mon_guard_close(&mon->guard);
	mon_nft_free(mon);
	mon_config_free(mon->next);
	mon_config_free(mon->config);
	auto_close(&mon->inotify);
	auto_close(&mon->signals);
	free(mon->engine.buf);
	mon_state_close(&mon->state);
}

static int open_signals(struct mon *mon, struct warren_err *err)
{
	const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		sigaddset(&set, wanted[i]);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return wpriv_refuse(err, -errno, "cannot block signals: %s", strerror(errno));
	mon->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (mon->signals == -1)
		return wpriv_refuse(err, -errno, "cannot receive signals: %s", strerror(errno));
	return 0;
}

static void setup_log(const struct mon *mon)
{
	const struct mon_options *options = mon->options;
	enum mon_log_format format = options->log_format;
	int level = options->log_level;

	if (!options->log_format_name && mon->config && str_equal(mon->config->log_format, "json"))
		format = MON_LOG_JSON;
	if (level < 0 && mon->config)
		level = mon->config->log_level;
	mon_log_setup(format, level < 0 ? LOG_NOTICE : level);
}

static int load_config(struct mon *mon, struct warren_err *err)
{
	const struct mon_config_from from = {
		.file = mon->options->config, .required = mon->options->config_given,
		.state = mon->options->state,
	};
	int result;

	mon->config = mon_config_load(&from, ++mon->generations, err);
	if (!mon->config)
		return -EINVAL;
	setup_log(mon);
	if (mon->options->privsep) {
		result = mon_config_user(mon->config->user, &mon->uid, &mon->gid, err);
		if (result)
			return result;
	}
	return mon_state_engine(&mon->state, mon->options->state, mon->uid, mon->gid, err);
}

static int open_control(struct mon *mon, struct warren_err *err)
{
	AUTO(str_free) struct str folder = STR_INIT;
	const char *path = mon->options->socket, *slash = strrchr(path, '/');

	if (slash && slash != path) {
		str_addn(&folder, path, (size_t)(slash - path));
		mon->made_folder = mkdir(str_text(&folder), 0755) == 0;
	}
	/* Whoever connects is judged by the credentials of his process. */
	mon->control = mon_listen_unix(mon, "", path, 0666, CONTROL_BACKLOG, err);
	return mon->control < 0 ? mon->control : 0;
}

static int prepare(struct mon *mon, struct warren_err *err)
{
	int result = open_signals(mon, err);

	if (!result)
		result = mon_state_open(&mon->state, mon->options->state, err);
	if (!result)
		result = mon_netlink_open(&mon->netlink, err);
	if (!result)
		result = undo_leftovers(mon, true, err);
	if (!result)
		result = load_config(mon, err);
	if (!result)
		result = mon_guard_open(&mon->guard, err);
	if (result)
		return result;
	mon->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	mon->engine.buf = malloc(WPRIV_MSG_MAX);
	mon->watchdog = getenv("WATCHDOG_USEC") != NULL;
	if (mon->inotify == -1 || !mon->engine.buf)
		return wpriv_refuse(err, -ENOMEM, "cannot watch files: %s", strerror(errno));
	result = open_control(mon, err);
	return result ? result : mon_engine_start(mon, err);
}

/*
 * ---- The loop ----
 */

static void collect_children(struct mon *mon)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == mon->engine.pid) {
			/* Its last words first: why it could not start, a context's end. */
			if (mon->engine.fd != -1)
				mon_engine_read(mon);
			mon_engine_died(mon, status);
		}
	}
}

static void read_signals(struct mon *mon)
{
	struct signalfd_siginfo info;

	while (read(mon->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			collect_children(mon);
			break;
		case SIGHUP:
			mon_engine_reload(mon, false);
			break;
		default:
			mon_engine_stop(mon);
			break;
		}
	}
}

static void fill(const struct mon *mon, struct pollfd *polls)
{
	bool answers_wait = !list_empty(&mon->engine.queue);

	polls[POLL_SIGNALS] = (struct pollfd){ .fd = mon->signals, .events = POLLIN };
	polls[POLL_ENGINE] = (struct pollfd){ .fd = mon->engine.fd,
					      .events = answers_wait ? POLLOUT : POLLIN };
	polls[POLL_INOTIFY] = (struct pollfd){ .fd = mon->inotify, .events = POLLIN };
	polls[POLL_GUARD] = (struct pollfd){ .fd = mon_guard_fd(&mon->guard), .events = POLLIN };
	polls[POLL_NFT] = (struct pollfd){ .fd = mon_nft_fd(mon), .events = POLLIN };
	for (size_t i = 0; i < MON_FILE_JOBS; i++)
		polls[POLL_JOBS + i] = (struct pollfd){ .fd = mon->jobs[i].fd, .events = POLLIN };
}

static int timeout_of(struct mon *mon)
{
	uint64_t now = mon_now();
	uint64_t next = mon_engine_tick(mon, now);

	next = mon_sooner(next, mon_watch_tell(mon, now));
	next = mon_sooner(next, mon_guard_repair(mon, now));
	next = mon_sooner(next, mon_nft_tick(mon, now));
	next = mon_sooner(next, mon_job_expire(mon, now));
	if (next == 0)
		return -1;
	if (next <= now)
		return 0;
	return next - now > 60000000 ? 60000 : (int)((next - now) / 1000) + 1;
}

static void turn(struct mon *mon)
{
	struct pollfd polls[POLL_COUNT];
	int timeout = timeout_of(mon);

	fill(mon, polls);
	if (poll(polls, POLL_COUNT, timeout) == -1)
		return;	/* EINTR: the next turn sees it again */
	if (polls[POLL_ENGINE].revents & POLLOUT)
		mon_engine_write(mon);
	else if (polls[POLL_ENGINE].revents)
		mon_engine_read(mon);
	if (polls[POLL_INOTIFY].revents)
		mon_watch_read(mon);
	if (polls[POLL_GUARD].revents)
		mon_guard_read(mon);
	if (polls[POLL_NFT].revents)
		mon_nft_read(mon);
	for (size_t i = 0; i < MON_FILE_JOBS; i++) {
		if (polls[POLL_JOBS + i].revents && mon->jobs[i].fd != -1)
			mon_job_read(mon, &mon->jobs[i]);
	}
	if (polls[POLL_SIGNALS].revents)
		read_signals(mon);
}

/* Folder of the control socket, if this daemon made it and nobody else uses it. */
static void remove_folder(const struct mon *mon)
{
	AUTO(str_free) struct str folder = STR_INIT;
	const char *path = mon->options->socket;

	if (!mon->made_folder)
		return;
	str_addn(&folder, path, (size_t)(strrchr(path, '/') - path));
	(void)rmdir(str_text(&folder));
}

int mon_run(const struct mon_options *options)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	AUTO(str_free) struct str text = STR_INIT;
	struct mon mon;

	mon_init(&mon, options);
	setup_log(&mon);
	if (prepare(&mon, &err)) {
		err_print(&err, &text);
		mon_log_lines(LOG_ERR, str_text(&text));
		mon.exit = 1;
	} else {
		while (!mon.quit)
			turn(&mon);
	}
	/* A start that failed is no reason to let out what must not leave. */
	if (mon.exit && !mon.was_shut)
		mon_undo_all(&mon);
	else if (mon_undo_open(&mon, !mon.exit))
		mon_log(LOG_NOTICE, "the internet stays out of reach until the next start, or "
			"`warrend --cleanup`");
	remove_folder(&mon);
	mon_free(&mon);
	return mon.exit;
}

int mon_cleanup(const struct mon_options *options, bool keep_shut)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	struct stat st;
	struct mon mon;
	int result;

	if (stat(options->state, &st) == -1 && errno == ENOENT)
		return 0;	/* no daemon was ever here */
	mon_init(&mon, options);
	setup_log(&mon);
	result = mon_state_open(&mon.state, options->state, &err);
	if (!result)
		result = mon_netlink_open(&mon.netlink, &err);
	if (!result)
		result = undo_leftovers(&mon, keep_shut, &err);
	if (result)
		mon_log(LOG_ERR, "%s", err_first(&err));
	mon_free(&mon);
	return result ? 1 : 0;
}
