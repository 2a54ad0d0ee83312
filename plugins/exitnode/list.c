/*
 * Which exit nodes are shown, and in what order: as the stock client's list has them. A provider of
 * exits has hundreds in a city, so one of each stands for the others until a country is named.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "exitnode.h"

static const char *text_or(const char *text)
{
	return text ? text : "";
}

const char *exitnode_country(const struct warren_node *node)
{
	return node->location ? text_or(node->location->country) : "";
}

const char *exitnode_city(const struct warren_node *node)
{
	return node->location ? text_or(node->location->city) : "";
}

static int32_t priority_of(const struct warren_node *node)
{
	return node->location ? node->location->priority : 0;
}

static int by_priority(const struct warren_node *a, const struct warren_node *b)
{
	return (priority_of(a) < priority_of(b)) - (priority_of(a) > priority_of(b));
}

/* Those that tell no country come first, by name alone. */
static int by_place(const void *x, const void *y)
{
	const struct warren_node *a = *(const struct warren_node *const *)x;
	const struct warren_node *b = *(const struct warren_node *const *)y;
	int order = strcmp(exitnode_country(a), exitnode_country(b));

	if (order == 0 && exitnode_country(a)[0]) {
		order = strcmp(exitnode_city(a), exitnode_city(b));
		order = order ? order : by_priority(a, b);
	}
	return order ? order : strcmp(text_or(a->name), text_or(b->name));
}

static bool same_country(const struct warren_node *a, const struct warren_node *b)
{
	return strcmp(exitnode_country(a), exitnode_country(b)) == 0;
}

static bool same_city(const struct warren_node *a, const struct warren_node *b)
{
	return strcmp(exitnode_city(a), exitnode_city(b)) == 0;
}

static bool passes(const struct warren_node *node, const char *filter)
{
	return warren_netmap_is_exit(node) &&
	       (!filter[0] || strcasecmp(exitnode_country(node), filter) == 0);
}

/* The rows of the country that begins at @sorted; returns how many of its nodes there are. */
static size_t add_country(const struct warren_node *const *sorted, size_t n, bool all,
			  int64_t used, struct exitnode_row **at)
{
	const struct warren_node *best = sorted[0];
	struct exitnode_row *any = (*at)++;
	bool cities = false;
	size_t i;

	for (i = 0; i < n && same_country(sorted[0], sorted[i]); i++) {
		bool first = i == 0 || !same_city(sorted[i - 1], sorted[i]);

		cities = cities || (i > 0 && first);
		if (by_priority(sorted[i], best) < 0)
			best = sorted[i];
		*(*at)++ = (struct exitnode_row){
			.node = sorted[i], .shown = all || first || sorted[i]->id == used ||
						    !exitnode_country(sorted[i])[0],
		};
	}
	*any = (struct exitnode_row){ .node = best, .any = true,
				      .shown = cities && exitnode_country(best)[0] };
	return i;
}

int exitnode_rows(const struct warren_netmap *map, const char *filter, int64_t used,
		  struct exitnode_row **out, size_t *n_out)
{
	uint32_t most = map ? map->n_peers : 0;
	const struct warren_node **sorted = calloc(most + 1, sizeof(const struct warren_node *));
	/* No more countries than nodes. */
	struct exitnode_row *rows = calloc(2 * (size_t)most + 1, sizeof(*rows)), *at = rows;
	size_t n = 0;

	if (!sorted || !rows) {
		free(sorted);
		free(rows);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < most; i++) {
		if (passes(map->peers[i], filter))
			sorted[n++] = map->peers[i];
	}
	qsort(sorted, n, sizeof(const struct warren_node *), by_place);
	for (size_t i = 0; i < n;)
		i += add_country(sorted + i, n - i, filter[0], used, &at);
	free(sorted);
	*out = rows;
	*n_out = (size_t)(at - rows);
	return 0;
}
