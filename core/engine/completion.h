/*
 * The completion scripts of conf/completion, as texts (completion.c is made from them).
 */
#ifndef WARREN_ENGINE_COMPLETION_H
#define WARREN_ENGINE_COMPLETION_H

/* In the order of the shells of `warren completion`: bash, zsh, fish. */
extern const char *const wcore_completion_scripts[];

#endif
