/*
 * stock.h - what the stock client printed (data/cli)
 */
#ifndef CTL_TESTS_STOCK_H
#define CTL_TESTS_STOCK_H

#include <jansson.h>

#include "base/str.h"

struct stock {
	char command[512];		/* "tailscale status --header" */
	int exit;
	struct str out, err;		/* what it wrote */
};

/* @name without folder and ".txt". Aborts where there is none, as all of these. */
void stock_read(const char *name, struct stock *stock);
void stock_free(struct stock *stock);
/* The file @name of data/cli as it is; free() it. */
char *stock_file(const char *name);
/* A network map from the files of that folder, each one message. */
struct feed;
struct warren_netmap;
struct feed *stock_map_new(void);
const struct warren_netmap *stock_map_feed(struct feed *map, const char *name);	/* the newest */
void stock_map_free(struct feed *map);
/* Our words for theirs: the name of the program. */
void stock_rename(struct str *text);

/*
 * Compares what they wrote with what we wrote. A line in *@out for each difference: the path, then
 * both values; the finer part of their times (nanoseconds) is none.
 */
void stock_compare(const json_t *theirs, const json_t *ours, struct str *out);

#endif
