/*
 * captive.h - is there a captive portal?
 */
#ifndef PATHS_CAPTIVE_H
#define PATHS_CAPTIVE_H

#include <warren/net.h>

struct paths;

enum { CAPTIVE_QUESTIONS = 5, CAPTIVE_HOST = 61 };

struct captive;
struct captive_question {
	struct captive *captive;
	struct warren_fetch *fetch;	/* NULL: none, or answered */
	char challenge[CAPTIVE_HOST + 4];	/* 64 bytes at most are answered */
};
struct captive {
	struct paths *paths;
	struct warren_timer *timer;	/* the questions are asked a little after the probes */
	struct captive_question questions[CAPTIVE_QUESTIONS];
	uint32_t pending;
};

int captive_init(struct captive *captive, struct paths *p);
/* Asks; netcheck_on_captive() is told, if any relay of the run's map can be asked. */
void captive_start(struct captive *captive);
void captive_stop(struct captive *captive);

#endif
