/*
 * Completion of command lines, for the scripts of bash, zsh and fish.
 */
#ifndef WARREN_ENGINE_COMPLETE_H
#define WARREN_ENGINE_COMPLETE_H

#include <stddef.h>

struct warren_reply;
struct wcore_env;

/*
 * Answers with what the last of the @argc words may become, one candidate a line: the word, then
 * a blank and what it means. The line ":file" stands for names of files. @argc 0: the first word.
 */
void wcore_complete(const struct wcore_env *env, const char *const *argv, size_t argc,
		    struct warren_reply *reply);

#endif
