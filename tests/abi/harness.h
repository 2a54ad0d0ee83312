/*
 * An engine in this process without a monitor, plugins from a folder of their own, and a record of
 * what the fixtures told the log.
 */
#ifndef WARREN_TESTS_HARNESS_H
#define WARREN_TESTS_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

struct wcore_config;
struct wcore_engine;

struct harness {
	char dir[64];			/* of the plugins */
	struct wcore_engine *engine;
};

/* Copies the fixtures into a new folder and begins to record. Aborts when it cannot. */
void harness_start(struct harness *h);
void harness_stop(struct harness *h);
void harness_engine(struct harness *h, uint64_t start_deadline, uint64_t stop_deadline);
void harness_engine_end(struct harness *h);

/* Puts @yaml into force; the text of the outcome lives until the next call. */
int harness_apply(struct harness *h, const char *yaml);
const char *harness_text(void);
struct wcore_config *harness_parse(const char *yaml);

/* What every secret holds that is read from now on; NULL: none can be opened. */
void harness_secret(const char *bytes);

/* "test.a start 0; test.b start 0; " since the last call, INFO lines only. */
const char *harness_record(void);
/* Whether a line with this text was logged at WARNING or worse since the last harness_record(). */
bool harness_warned(const char *text);
/* Turns the main lane until such a line was logged, 5 s at most; whether it was. */
bool harness_wait(struct harness *h, const char *text);
/* Turns the main lane for @usec, and on while a sequence runs. */
void harness_turn(struct harness *h, uint64_t usec);

#endif
