/*
 * warren: the client. What it prints and what it was told to do.
 */
#ifndef WARREN_CLI_CLI_H
#define WARREN_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct json_t;
struct warren_reply;
struct wcore_request;

enum {
	CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2,	/* exit statuses */
	CLI_FDS = 64,			/* files of one command: WCORE_REPLY_FDS */
	CLI_LINE = 32 << 20,		/* bytes of one line of an answer */
};

struct cli_open {			/* a file that a command asked for */
	char *key;
	int fd;				/* -1: not open yet */
	size_t word, skip;
	bool write;
	bool dir;			/* a folder, in which it will have files made */
};

struct cli_made {			/* a file in such a folder that has no name yet */
	int dir;			/* borrowed; -1: there is none */
	char temporary[32], name[256];
	int how;			/* WARREN_MAKE_ */
};

struct cli_rate {			/* of a transfer that is shown */
	char name[256];
	long long first, last;
	unsigned long long began;	/* microseconds */
};

struct cli_answer {
	struct str *capture;		/* text goes here; NULL: it is printed */
	bool ended;			/* with `exit` */
	int exit;
	struct str error;		/* why it failed; empty: no reason */
	bool local;			/* the daemon leaves the command to us */
	char *config, *plugin_dir;	/* then: what it uses itself; NULL: not told */
	struct cli_open opens[CLI_FDS];	/* files that are wanted before it can run */
	size_t n_opens;
	bool progress;			/* such a line is on the terminal */
	struct cli_rate rate;
	const struct cli_answer *files;	/* those of the first round; or NULL */
	int socket;			/* to the daemon */
	struct cli_made made;
	char *hint;			/* what to say when interrupted; NULL: nothing */
};

/* progress.c: shows it on a terminal. */
void cli_progress(struct cli_answer *answer, const struct json_t *progress);
/* make.c: the daemon's wishes about files in a folder, and the answers to it. */
void cli_make(struct cli_answer *answer, const struct json_t *make);
void cli_keep(struct cli_answer *answer);
void cli_drop(struct cli_answer *answer);

/* Takes in one line of an answer: prints text and data, remembers the rest. */
void cli_answer_line(struct cli_answer *answer, const char *line, size_t len);
/* Takes the progress line off the terminal. */
void cli_answer_clear(struct cli_answer *answer);
/* Closes files that nobody took. */
void cli_answer_free(struct cli_answer *answer);

/* Opens what @answer wants of @request's words. False, with a message printed: it cannot be. */
bool cli_open_files(struct cli_answer *answer, const struct wcore_request *request);

/* How a question to the daemon ended. */
enum cli_asked {
	CLI_ANSWERED,			/* see the struct cli_answer */
	CLI_ABSENT,			/* nobody listens on the socket */
	CLI_BROKEN,			/* a message was printed */
};
/* Connects to @path and sends @request; @answer has all lines when it returns. */
enum cli_asked cli_ask(const char *path, const struct wcore_request *request,
		       struct cli_answer *answer);

void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
