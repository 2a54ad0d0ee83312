/*
 * Builds axes by a sweep. Runs on the job pool; nothing here is read by workers.
 */
#include "axis.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct end {				/* where a range begins, or the address after its end */
	struct filter_addr at;
	uint32_t id;
	bool begins;
};

struct known {				/* a set of ids that was met before */
	struct filter_addr name;
	uint32_t value;
};

struct sweep {
	struct filter_meaning *meaning;
	uint32_t *covering;		/* by id: how many ranges of it cover the place */
	uint64_t *bits;
	struct filter_active active;
	struct filter_addr name;
};

int filter_addr_compare(const struct filter_addr *a, const struct filter_addr *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return (a->low > b->low) - (a->low < b->low);
}

int filter_range_add(struct filter_ranges *ranges, struct filter_addr first,
		     struct filter_addr last, uint32_t id)
{
	if (ranges->n == ranges->size) {
		uint32_t size = ranges->size ? 2 * ranges->size : 16;
		struct filter_range *grown;

		if (size > FILTER_RANGES)
			return -E2BIG;
		grown = realloc(ranges->at, size * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		ranges->at = grown;
		ranges->size = size;
	}
	ranges->at[ranges->n++] = (struct filter_range){ first, last, id };
	return 0;
}

void filter_ranges_free(struct filter_ranges *ranges)
{
	free(ranges->at);
	memset(ranges, 0, sizeof(*ranges));
}

int filter_meaning_init(struct filter_meaning *meaning, uint32_t n_ids,
			int64_t (*value)(void *, const struct filter_active *), void *arg)
{
	size_t bytes;

	memset(meaning, 0, sizeof(*meaning));
	meaning->value = value;
	meaning->arg = arg;
	meaning->n_ids = n_ids;
	hash_init(&meaning->known);
	if (!size_mul(n_ids ? n_ids : 1, sizeof(*meaning->names), &bytes))
		return -ENOMEM;
	meaning->names = malloc(bytes);
	if (!meaning->names)
		return -ENOMEM;
	randombytes_buf(meaning->names, bytes);
	return 0;
}

void filter_meaning_free(struct filter_meaning *meaning)
{
	hash_free(&meaning->known);
	arena_free(&meaning->arena);
	free(meaning->names);
}

static int by_address(const void *a, const void *b)
{
	return filter_addr_compare(&((const struct end *)a)->at, &((const struct end *)b)->at);
}

/* The ends of @ranges, sorted. A range that reaches the last address has no end. */
static struct end *ends_of(const struct filter_ranges *ranges, bool wide, uint32_t *n)
{
	const struct filter_addr highest = {
		wide ? UINT64_MAX : 0, wide ? UINT64_MAX : UINT32_MAX };
	struct end *ends = calloc(2 * (size_t)ranges->n + 1, sizeof(*ends));

	*n = 0;
	if (!ends)
		return NULL;
	for (uint32_t i = 0; i < ranges->n; i++) {
		const struct filter_range *range = &ranges->at[i];
		struct filter_addr after = range->last;

		ends[(*n)++] = (struct end){ range->first, range->id, true };
		if (filter_addr_compare(&after, &highest) >= 0)
			continue;
		after.low++;
		after.high += after.low == 0;
		ends[(*n)++] = (struct end){ after, range->id, false };
	}
	qsort(ends, *n, sizeof(*ends), by_address);
	return ends;
}

static void sweep_step(struct sweep *s, const struct end *end)
{
	const struct filter_addr *name = &s->meaning->names[end->id];

	if (end->begins ? s->covering[end->id]++ > 0 : --s->covering[end->id] > 0)
		return;
	s->bits[end->id / 64] ^= UINT64_C(1) << (end->id % 64);
	s->active.n += end->begins ? 1 : UINT32_MAX;
	s->name.high ^= name->high;
	s->name.low ^= name->low;
}

/* The value of the ids that cover the place, or -errno. */
static int64_t sweep_value(struct sweep *s)
{
	struct filter_meaning *meaning = s->meaning;
	struct known *known = hash_get(&meaning->known, &s->name, sizeof(s->name));
	int64_t value;

	if (known)
		return known->value;
	value = meaning->value(meaning->arg, &s->active);
	if (value < 0)
		return value;
	known = arena_alloc(&meaning->arena, sizeof(*known));
	if (!known)
		return -ENOMEM;
	known->name = s->name;
	known->value = (uint32_t)value;
	return hash_put(&meaning->known, &known->name, sizeof(known->name), known, NULL) ? -ENOMEM
											 : value;
}

static int sweep_run(struct sweep *s, const struct end *ends, uint32_t n, bool wide,
		     struct filter_axis *axis, struct arena *arena)
{
	uint32_t *narrow_at = NULL, *values = arena_alloc(arena, (n + 1) * sizeof(*values));
	struct filter_addr *wide_at = NULL, at = { 0, 0 };

	if (wide)
		wide_at = arena_alloc(arena, (n + 1) * sizeof(*wide_at));
	else
		narrow_at = arena_alloc(arena, (n + 1) * sizeof(*narrow_at));
	if (!values || (!wide_at && !narrow_at))
		return -ENOMEM;
	for (uint32_t i = 0, k = 0;; at = ends[i].at) {
		int64_t value;

		for (; i < n && filter_addr_compare(&ends[i].at, &at) == 0; i++)
			sweep_step(s, &ends[i]);
		value = sweep_value(s);
		if (value < 0)
			return (int)value;
		if (k == 0 || values[k - 1] != value) {
			if (wide)
				wide_at[k] = at;
			else
				narrow_at[k] = (uint32_t)at.low;
			values[k++] = (uint32_t)value;
		}
		axis->n = k;
		if (i == n)
			break;
	}
	axis->narrow = narrow_at;
	axis->wide = wide_at;
	axis->value = values;
	return 0;
}

int filter_axis_build(struct filter_axis *axis, const struct filter_ranges *ranges, bool wide,
		      struct filter_meaning *meaning, struct arena *arena)
{
	uint32_t n_words = meaning->n_ids / 64 + 1, n = 0;
	struct sweep s = {
		.meaning = meaning,
		.covering = calloc((size_t)meaning->n_ids + 1, sizeof(*s.covering)),
		.bits = calloc(n_words, sizeof(*s.bits)),
	};
	struct end *ends = ends_of(ranges, wide, &n);
	int result = -ENOMEM;

	s.active.bits = s.bits;
	s.active.n_bits = meaning->n_ids;
	if (s.covering && s.bits && ends)
		result = sweep_run(&s, ends, n, wide, axis, arena);
	free(s.covering);
	free(s.bits);
	free(ends);
	return result;
}
