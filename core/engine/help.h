/*
 * What commands say about themselves: usage lines, help, lists.
 *
 * All of it comes from the rows; the manual (man/) is made by the same functions.
 */
#ifndef WARREN_ENGINE_HELP_H
#define WARREN_ENGINE_HELP_H

#include <stddef.h>

struct str;
struct str_guess;
struct warren_option;
struct warren_reply;
struct wcore_cmd;
struct wcore_env;

#pragma GCC visibility push(default)

/* "warren wg import [--name NAME] FILE" */
void wcore_help_usage(const struct wcore_cmd *cmd, struct str *out);
/* The word that stands for the value of an option or operand: "FILE", "TIME", "on|off". */
void wcore_help_value(const struct warren_option *row, struct str *out);

/* Writes the help of a command as answer; the caller ends it. */
void wcore_help_command(const struct wcore_cmd *cmd, struct warren_reply *reply);
/* Writes the list of the commands below the first @argc words (0: all). */
void wcore_help_list(const struct wcore_env *env, const char *const *argv, size_t argc,
		     struct warren_reply *reply);
/* A sentence: after the first @known words of @argv comes one that begins no command. */
void wcore_help_unknown(const char *const *argv, size_t known, const struct str_guess *guess,
			struct str *out);

#pragma GCC visibility pop

#endif
