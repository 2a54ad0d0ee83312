/*
 * Two path-compressed binary tries of one node type. An address is two 64-bit numbers, most
 * significant bit first; an IPv4 address stands in the upper 32 bits of the first. A node is a
 * prefix, with an owner or only as a fork (both children present), so a lookup visits no more
 * nodes than there are stored prefixes above the address, plus forks.
 *
 * Every node carries the number of the batch that made it. Nodes of earlier batches are never
 * written: they are copied, and the old one goes to the list of replaced nodes, which is handed to
 * `retire` after the new roots are published. A node of the present batch is reachable through new
 * nodes only, which is what lets abort find and free exactly those.
 */
#include "allowedips.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

struct addr {
	uint64_t hi, lo;
};

struct node {
	struct addr addr;			/* bits past `bits` are zero */
	void *owner;				/* NULL: a fork */
	struct node *child[2];
	struct node *replaced;			/* writer's list; readers never look */
	uint64_t batch;
	uint8_t bits;
};

struct trie {
	struct node *_Atomic root;		/* what readers see */
	struct node *next;			/* the root under construction */
	size_t count, next_count;
	unsigned int max_bits;
};

struct wg_allowedips {
	struct trie trie4, trie6;
	uint64_t batch;
	bool open;
	struct node *replaced;
	wg_retire_fn *retire;
	void *arg;
};

static struct addr load4(const uint8_t bytes[4])
{
	return (struct addr){ .hi = (uint64_t)wg_load_be32(bytes) << 32 };
}

static struct addr load6(const uint8_t bytes[16])
{
	return (struct addr){ .hi = wg_load_be64(bytes), .lo = wg_load_be64(bytes + 8) };
}

static struct addr mask(struct addr a, unsigned int bits)
{
	if (bits == 0)
		return (struct addr){ 0 };
	if (bits <= 64)
		return (struct addr){ .hi = a.hi & (UINT64_MAX << (64 - bits)) };
	if (bits < 128)
		a.lo &= UINT64_MAX << (128 - bits);
	return a;
}

static unsigned int common_bits(struct addr a, struct addr b)
{
	if (a.hi != b.hi)
		return (unsigned int)__builtin_clzll(a.hi ^ b.hi);
	if (a.lo != b.lo)
		return 64 + (unsigned int)__builtin_clzll(a.lo ^ b.lo);
	return 128;
}

/* Bit @i from the left, @i < 128. */
static unsigned int bit(struct addr a, unsigned int i)
{
	return (i < 64 ? a.hi >> (63 - i) : a.lo >> (127 - i)) & 1;
}

struct wg_allowedips *wg_allowedips_new(wg_retire_fn *retire, void *arg)
{
	struct wg_allowedips *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->trie4.max_bits = 32;
	table->trie6.max_bits = 128;
	table->retire = retire;
	table->arg = arg;
	return table;
}

/* At most 128 levels deep: each level has a longer prefix. */
static void free_all(struct node *n)
{
	if (!n)
		return;
	free_all(n->child[0]);
	free_all(n->child[1]);
	free(n);
}

static struct node *published(const struct trie *trie)
{
	return atomic_load_explicit(&trie->root, memory_order_relaxed);
}

void wg_allowedips_free(struct wg_allowedips *table)
{
	if (!table)
		return;
	if (table->open)
		wg_allowedips_abort(table);
	free_all(published(&table->trie4));
	free_all(published(&table->trie6));
	free(table);
}

static void trie_begin(struct trie *trie)
{
	trie->next = published(trie);
	trie->next_count = trie->count;
}

void wg_allowedips_begin(struct wg_allowedips *table)
{
	table->open = true;
	table->batch++;
	table->replaced = NULL;
	trie_begin(&table->trie4);
	trie_begin(&table->trie6);
}

static void trie_commit(struct trie *trie)
{
	atomic_store_explicit(&trie->root, trie->next, memory_order_release);
	trie->count = trie->next_count;
}

void wg_allowedips_commit(struct wg_allowedips *table)
{
	struct node *n = table->replaced;

	trie_commit(&table->trie4);
	trie_commit(&table->trie6);
	table->open = false;
	table->replaced = NULL;
	while (n) {
		struct node *next = n->replaced;

		table->retire(table->arg, n);
		n = next;
	}
}

static void free_batch(struct node *n, uint64_t batch)
{
	if (!n || n->batch != batch)
		return;
	free_batch(n->child[0], batch);
	free_batch(n->child[1], batch);
	free(n);
}

void wg_allowedips_abort(struct wg_allowedips *table)
{
	free_batch(table->trie4.next, table->batch);
	free_batch(table->trie6.next, table->batch);
	table->open = false;
	table->replaced = NULL;
}

static struct node *node_new(const struct wg_allowedips *table, struct addr addr, unsigned int bits,
			     void *owner)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->addr = mask(addr, bits);
	n->bits = (uint8_t)bits;
	n->owner = owner;
	n->batch = table->batch;
	return n;
}

/* @n is out of the new trie. */
static void drop(struct wg_allowedips *table, struct node *n)
{
	if (n->batch == table->batch) {
		free(n);
		return;
	}
	n->replaced = table->replaced;
	table->replaced = n;
}

/* Makes *@link a node that this batch may write. */
static struct node *own(struct wg_allowedips *table, struct node **link)
{
	struct node *old = *link, *copy;

	if (old->batch == table->batch)
		return old;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return NULL;
	memcpy(copy, old, sizeof(*copy));
	copy->batch = table->batch;
	*link = copy;
	drop(table, old);
	return copy;
}

/* The trie of @prefix, and its address; NULL if it is none. */
static struct trie *trie_of(struct wg_allowedips *table, const struct warren_prefix *prefix,
			    struct addr *addr)
{
	if (prefix->addr.family == 4 && prefix->bits <= 32) {
		*addr = mask(load4(prefix->addr.bytes), prefix->bits);
		return &table->trie4;
	}
	if (prefix->addr.family == 6 && prefix->bits <= 128) {
		*addr = mask(load6(prefix->addr.bytes), prefix->bits);
		return &table->trie6;
	}
	return NULL;
}

/* Puts a new node above *@link, which has @shared bits in common with it but not all of its own. */
static int insert_above(struct wg_allowedips *table, struct node **link, struct addr addr,
			unsigned int bits, unsigned int shared, void *owner)
{
	struct node *below = *link, *leaf = node_new(table, addr, bits, owner), *fork;

	if (!leaf)
		return -ENOMEM;
	if (shared >= bits) {
		leaf->child[bit(below->addr, bits)] = below;
		*link = leaf;
		return 0;
	}
	fork = node_new(table, addr, shared, NULL);
	if (!fork) {
		free(leaf);
		return -ENOMEM;
	}
	fork->child[bit(addr, shared)] = leaf;
	fork->child[bit(below->addr, shared)] = below;
	*link = fork;
	return 0;
}

int wg_allowedips_insert(struct wg_allowedips *table, const struct warren_prefix *prefix,
			 void *owner, void **former)
{
	struct addr addr;
	struct trie *trie = trie_of(table, prefix, &addr);
	unsigned int bits = prefix->bits, shared;
	struct node **link, *n;
	int err;

	if (former)
		*former = NULL;
	if (!trie)
		return -EINVAL;
	for (link = &trie->next; (n = *link); link = &n->child[bit(addr, n->bits)]) {
		shared = common_bits(addr, n->addr);
		if (shared < n->bits || bits < n->bits) {
			err = insert_above(table, link, addr, bits, shared, owner);
			trie->next_count += !err;
			return err;
		}
		n = own(table, link);
		if (!n)
			return -ENOMEM;
		if (bits == n->bits) {
			if (former)
				*former = n->owner;
			trie->next_count += !n->owner;
			n->owner = owner;
			return 0;
		}
	}
	*link = node_new(table, addr, bits, owner);
	if (!*link)
		return -ENOMEM;
	trie->next_count++;
	return 0;
}

/* *@link has lost its owner or a child: takes it out unless it still is a fork. */
static void prune(struct wg_allowedips *table, struct node **link)
{
	struct node *n = *link;

	if (n->owner || (n->child[0] && n->child[1]))
		return;
	*link = n->child[0] ? n->child[0] : n->child[1];
	drop(table, n);
}

int wg_allowedips_remove(struct wg_allowedips *table, const struct warren_prefix *prefix,
			 const void *owner)
{
	struct addr addr;
	struct trie *trie = trie_of(table, prefix, &addr);
	struct node **link, **above = NULL, *n;

	if (!trie)
		return -EINVAL;
	/* Look first: what is not there must not cost a copy of the path. */
	for (n = trie->next; n && n->bits < prefix->bits; n = n->child[bit(addr, n->bits)])
		;
	if (!n || n->bits != prefix->bits || common_bits(addr, n->addr) < n->bits ||
	    !n->owner || n->owner != owner)
		return -ENOENT;

	for (link = &trie->next;; link = &n->child[bit(addr, n->bits)]) {
		n = own(table, link);
		if (!n)
			return -ENOMEM;
		if (n->bits == prefix->bits)
			break;
		above = link;
	}
	n->owner = NULL;
	trie->next_count--;
	prune(table, link);
	if (above)
		prune(table, above);
	return 0;
}

/* Recursion: at most 128 levels. */
static int remove_owner(struct wg_allowedips *table, struct trie *trie, struct node **link,
			const void *owner)
{
	for (int i = 0; *link && i < 2; i++) {
		struct node *n = *link, *child = n->child[i];
		int err;

		if (!child)
			continue;
		err = remove_owner(table, trie, &child, owner);
		if (child == n->child[i]) {
			if (err)
				return err;
			continue;
		}
		n = own(table, link);
		if (!n) {
			free_batch(child, table->batch);	/* abort could not find it */
			return -ENOMEM;
		}
		n->child[i] = child;
		if (err)
			return err;
	}
	if (*link && (*link)->owner == owner) {
		struct node *n = own(table, link);

		if (!n)
			return -ENOMEM;
		n->owner = NULL;
		trie->next_count--;
	}
	if (*link)
		prune(table, link);
	return 0;
}

int wg_allowedips_remove_owner(struct wg_allowedips *table, const void *owner)
{
	int err = remove_owner(table, &table->trie4, &table->trie4.next, owner);

	return err ? err : remove_owner(table, &table->trie6, &table->trie6.next, owner);
}

static void *lookup(const struct trie *trie, struct addr addr)
{
	const struct node *n = atomic_load_explicit(&trie->root, memory_order_acquire);
	void *best = NULL;

	while (n && common_bits(addr, n->addr) >= n->bits) {
		if (n->owner)
			best = n->owner;
		if (n->bits == trie->max_bits)
			break;
		n = n->child[bit(addr, n->bits)];
	}
	return best;
}

void *wg_allowedips_lookup4(const struct wg_allowedips *table, const uint8_t bytes[4])
{
	return lookup(&table->trie4, load4(bytes));
}

void *wg_allowedips_lookup6(const struct wg_allowedips *table, const uint8_t bytes[16])
{
	return lookup(&table->trie6, load6(bytes));
}

static void walk(const struct node *n, uint8_t family, const void *owner, wg_allowedips_fn *fn,
		 void *arg)
{
	if (!n)
		return;
	if (n->owner && (!owner || n->owner == owner)) {
		struct warren_prefix prefix = { .addr.family = family, .bits = n->bits };

		if (family == 4) {
			wg_store_be32(prefix.addr.bytes, (uint32_t)(n->addr.hi >> 32));
		} else {
			wg_store_be64(prefix.addr.bytes, n->addr.hi);
			wg_store_be64(prefix.addr.bytes + 8, n->addr.lo);
		}
		fn(arg, &prefix, n->owner);
	}
	walk(n->child[0], family, owner, fn, arg);
	walk(n->child[1], family, owner, fn, arg);
}

void wg_allowedips_walk(const struct wg_allowedips *table, const void *owner,
			wg_allowedips_fn *fn, void *arg)
{
	walk(table->open ? table->trie4.next : published(&table->trie4), 4, owner, fn, arg);
	walk(table->open ? table->trie6.next : published(&table->trie6), 6, owner, fn, arg);
}

size_t wg_allowedips_count(const struct wg_allowedips *table)
{
	if (table->open)
		return table->trie4.next_count + table->trie6.next_count;
	return table->trie4.count + table->trie6.count;
}
