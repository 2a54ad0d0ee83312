/*
 * model.h - what a map message does, the slow way: one JSON tree, and the rules of
 * control-protocol.md 6.3-6.6 written down once more, without the map's code
 */
#ifndef CTL_TESTS_MODEL_H
#define CTL_TESTS_MODEL_H

#include <jansson.h>
#include <stdint.h>

struct model {
	json_t *state;			/* "peers", "users", "filters", "messages" by name */
};
void model_open(struct model *model);
void model_close(struct model *model);
/* @now: the server's time, seconds since 1970. */
void model_apply(struct model *model, const json_t *message, int64_t now);
/* The state as one full message; the caller drops it. */
json_t *model_message(const struct model *model);

#endif
