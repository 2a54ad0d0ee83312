/*
 * monitor/monitor.h - the root process
 *
 * One thread, one poll loop. It starts the engine, does for it what needs root (op.h), remembers
 * what it did (thing.h, journal.h), and takes it back.
 */
#ifndef WARREN_MONITOR_MONITOR_H
#define WARREN_MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "monitor/config.h"
#include "monitor/guard.h"
#include "monitor/journal.h"
#include "monitor/log.h"
#include "monitor/netlink.h"
#include "monitor/state.h"
#include "monitor/thing.h"
#include "priv/channel.h"

struct mon;
struct mon_executor;

struct mon_options {
	const char *config;		/* the main file */
	bool config_given;		/* on the command line: it must be there */
	const char *state, *socket, *engine;
	const char *plugin_dir;		/* NULL: system.plugin-dir, else the built-in one */
	bool privsep;
	enum mon_log_format log_format;
	const char *log_format_name;	/* NULL: not given */
	int log_level;			/* -1: not given */
};

enum {
	MON_FILE_JOBS = 8,		/* of these children at a time */
	MON_QUEUE_MAX = 32,		/* messages that the engine has not taken */
};

/* The engine's process and the conversation with it (engine.h). */
struct mon_engine {
	pid_t pid;			/* 0: none runs */
	int fd;				/* our end; -1: none */
	bool ready, stopping;
	bool reload_asked;		/* by the engine, not by SIGHUP */
	uint32_t starts, failures;	/* failures: in a row */
	uint64_t started;		/* times in microseconds, CLOCK_MONOTONIC */
	uint64_t heartbeat, restart, reload_deadline, stop_deadline;
	uint64_t sweep;			/* when to undo what nobody wants any more */
	uint64_t end_deadline;		/* the conversation is over, the process is not */
	struct list queue;		/* messages that did not fit into the socket */
	uint32_t queued;
	void *buf;			/* WPRIV_MSG_MAX bytes to receive into */
};

/* A child that does an operation with the rights of somebody else (job.h). */
struct mon_job {
	pid_t pid;			/* 0: free */
	int fd;				/* its answer comes here */
	uint32_t seq;
	uint64_t deadline;
};

enum { MON_NFT_PORTS = 64 };		/* open at a time; more are not */

/* The packet filter (op_nft.c). */
struct mon_nft {
	struct nft kernel;
	struct mnl_socket *events;	/* NULL: no table is wanted */
	int signal;			/* eventfd: what NFT_READ says is new; -1: none */
	struct warren_priv_nft *items;	/* in force; NULL: no table stands */
	size_t n_items;
	struct nft_port ports[MON_NFT_PORTS];
	size_t n_ports;
	struct warren_nft_chain *told;	/* what NFT_READ says */
	size_t n_told;
	bool stale;			/* sockets came or went: look at the ports */
	bool foreign;			/* somebody else is changing rules */
	char who[16];			/* the last who did */
	uint64_t due, last, window;	/* of looks at others' chains */
	bool legacy4, legacy6;		/* rules of iptables-legacy are there */
	uint64_t legacy_due;
	uint32_t in_window;		/* repairs since `window` */
	uint64_t repairs, told_repairs;
};

struct mon {
	const struct mon_options *options;
	const struct mon_executor *executors;	/* by enum warren_op */
	struct mon_state state;
	struct mon_config *config;	/* in force */
	struct mon_config *next;	/* being tried by the engine, or NULL */
	uint32_t overlay_seq;		/* of the OVERLAY that `next` tries, or 0 */
	uint64_t generations;		/* the newest number of a configuration */
	struct mon_things things;
	struct mon_journal journal;
	struct mon_netlink netlink;
	struct mon_guard guard;
	struct mon_nft nft;
	struct mon_engine engine;
	struct mon_job jobs[MON_FILE_JOBS];
	int control;			/* listening socket of the command line */
	int inotify, signals;
	int resolver_signal;		/* eventfd: the resolver configuration is not ours */
	uid_t uid;			/* of the engine */
	gid_t gid;
	bool watchdog;			/* the service manager wants to be fed */
	bool made_folder;		/* of the control socket */
	bool was_shut;			/* a daemon that died has left the internet out of reach */
	bool quit;
	int exit;			/* status, once quit */
};

uint64_t mon_now(void);			/* CLOCK_MONOTONIC in microseconds */
/* The earlier of two points in time, where 0 is never. */
uint64_t mon_sooner(uint64_t a, uint64_t b);

/* Runs the daemon until it is told to stop; returns the exit status. */
int mon_run(const struct mon_options *options);
/*
 * Undoes what a dead daemon left behind, as far as its journal knows; returns the exit status. With
 * @keep_shut a way to the internet that is shut stays so, for the next start.
 */
int mon_cleanup(const struct mon_options *options, bool keep_shut);

#endif
