/*
 * Allowed IPs against a naive list with the same operations, what readers see during a batch and
 * beside the writer, what is retired, what a large table costs, and batches that run out of memory.
 */
#include "../allowedips.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { OWNERS = 20, PREFIXES = 600 };
static char owner[OWNERS];

/* The linker puts these before the allocator for the code under test (--wrap). */
static long allocations_left = -1;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool may_allocate(void)
{
	return allocations_left < 0 || allocations_left-- > 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

static size_t retired;

static void retire(void *arg, void *ptr)
{
	(void)arg;
	retired++;
	free(ptr);
}

static struct warren_prefix prefix(const char *text)
{
	struct warren_prefix p = { 0 };
	char addr[64];
	unsigned int bits;

	assert_int_equal(sscanf(text, "%63[^/]/%u", addr, &bits), 2);
	p.addr.family = strchr(addr, ':') ? 6 : 4;
	p.bits = (uint8_t)bits;
	assert_int_equal(inet_pton(p.addr.family == 6 ? AF_INET6 : AF_INET, addr, p.addr.bytes), 1);
	return p;
}

static void *lookup(struct wg_allowedips *t, const char *addr)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, addr, bytes) == 1)
		return wg_allowedips_lookup4(t, bytes);
	assert_int_equal(inet_pton(AF_INET6, addr, bytes), 1);
	return wg_allowedips_lookup6(t, bytes);
}

static void insert(struct wg_allowedips *t, const char *text, void *who, void *want_former)
{
	struct warren_prefix p = prefix(text);
	void *former;

	assert_int_equal(wg_allowedips_insert(t, &p, who, &former), 0);
	assert_ptr_equal(former, want_former);
}

static void longest_match(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);

	(void)state;
	wg_allowedips_begin(t);
	insert(t, "10.0.0.0/8", &owner[0], NULL);
	insert(t, "10.1.2.3/16", &owner[1], NULL);		/* host bits are masked */
	insert(t, "10.1.2.3/32", &owner[2], NULL);
	insert(t, "0.0.0.0/0", &owner[3], NULL);
	insert(t, "fd00::/8", &owner[4], NULL);
	insert(t, "fd00::ffff:0:0:1/128", &owner[5], NULL);
	assert_null(lookup(t, "10.0.0.1"));			/* not before commit */
	wg_allowedips_commit(t);
	assert_ptr_equal(lookup(t, "10.255.0.1"), &owner[0]);
	assert_ptr_equal(lookup(t, "10.1.255.255"), &owner[1]);
	assert_ptr_equal(lookup(t, "10.1.2.3"), &owner[2]);
	assert_ptr_equal(lookup(t, "10.1.2.2"), &owner[1]);
	assert_ptr_equal(lookup(t, "192.0.2.1"), &owner[3]);
	assert_ptr_equal(lookup(t, "fd12::1"), &owner[4]);
	assert_ptr_equal(lookup(t, "fd00::ffff:0:0:1"), &owner[5]);
	assert_ptr_equal(lookup(t, "fd00::ffff:0:0:2"), &owner[4]);
	assert_null(lookup(t, "fe80::1"));
	assert_int_equal(wg_allowedips_count(t), 6);
	wg_allowedips_free(t);
}

static void one_owner(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);
	struct warren_prefix p = prefix("10.1.0.0/16");

	(void)state;
	wg_allowedips_begin(t);
	insert(t, "10.1.0.0/16", &owner[0], NULL);
	insert(t, "10.1.99.1/16", &owner[1], &owner[0]);	/* the same prefix: it moves */
	insert(t, "10.1.0.0/17", &owner[2], NULL);		/* another one */
	wg_allowedips_commit(t);
	assert_ptr_equal(lookup(t, "10.1.200.1"), &owner[1]);
	assert_int_equal(wg_allowedips_count(t), 2);

	wg_allowedips_begin(t);
	assert_int_equal(wg_allowedips_remove(t, &p, &owner[0]), -ENOENT);
	assert_int_equal(wg_allowedips_remove(t, &p, &owner[1]), 0);
	assert_int_equal(wg_allowedips_remove(t, &p, &owner[1]), -ENOENT);
	assert_ptr_equal(lookup(t, "10.1.200.1"), &owner[1]);
	wg_allowedips_commit(t);
	assert_null(lookup(t, "10.1.200.1"));
	assert_ptr_equal(lookup(t, "10.1.3.1"), &owner[2]);
	wg_allowedips_free(t);
}

static void bad_prefixes(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);
	struct warren_prefix p = prefix("10.1.0.0/16");

	(void)state;
	wg_allowedips_begin(t);
	p.bits = 33;
	assert_int_equal(wg_allowedips_insert(t, &p, &owner[0], NULL), -EINVAL);
	assert_int_equal(wg_allowedips_remove(t, &p, &owner[0]), -EINVAL);
	p.addr.family = 6;
	p.bits = 129;
	assert_int_equal(wg_allowedips_insert(t, &p, &owner[0], NULL), -EINVAL);
	p.addr.family = 0;
	p.bits = 0;
	assert_int_equal(wg_allowedips_insert(t, &p, &owner[0], NULL), -EINVAL);
	wg_allowedips_commit(t);
	assert_int_equal(wg_allowedips_count(t), 0);
	wg_allowedips_free(t);
}

/* ---- The naive model ---- */

struct model {
	struct {
		struct warren_prefix p;
		void *owner;
	} row[PREFIXES];
	size_t n;
};

static bool covers(const struct warren_prefix *p, const uint8_t *bytes, uint8_t family)
{
	if (p->addr.family != family)
		return false;
	for (unsigned int i = 0; i < p->bits; i++) {
		if ((p->addr.bytes[i / 8] ^ bytes[i / 8]) & 0x80 >> i % 8)
			return false;
	}
	return true;
}

static void *model_lookup(const struct model *m, const uint8_t *bytes, uint8_t family)
{
	void *best = NULL;
	int bits = -1;

	for (size_t i = 0; i < m->n; i++) {
		if (m->row[i].p.bits > bits && covers(&m->row[i].p, bytes, family)) {
			bits = m->row[i].p.bits;
			best = m->row[i].owner;
		}
	}
	return best;
}

static void model_remove(struct model *m, size_t i)
{
	m->row[i] = m->row[--m->n];
}

static size_t model_find(const struct model *m, const struct warren_prefix *p)
{
	size_t i = 0;

	while (i < m->n && memcmp(&m->row[i].p, p, sizeof(*p)) != 0)
		i++;
	return i;
}

/* Few different bits, so that prefixes nest, repeat and fork at every depth. */
static void random_bytes(uint8_t bytes[16])
{
	for (int i = 0; i < 16; i++)
		bytes[i] = random() % 3 ? 0 : (uint8_t)(1 << random() % 8);
}

static struct warren_prefix random_prefix(void)
{
	struct warren_prefix p = { .addr.family = random() % 2 ? 4 : 6 };
	unsigned int max = p.addr.family == 4 ? 32 : 128;

	p.bits = (uint8_t)((unsigned long)random() % (max + 1));
	random_bytes(p.addr.bytes);
	for (unsigned int i = p.bits; i < 128; i++)
		p.addr.bytes[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	return p;
}

static void random_operation(struct wg_allowedips *t, struct model *m)
{
	struct warren_prefix p = random_prefix();
	void *who = &owner[random() % OWNERS], *former, *want = NULL;
	size_t i = model_find(m, &p);

	switch (random() % 40) {
	case 0:
		assert_int_equal(wg_allowedips_remove_owner(t, who), 0);
		for (i = m->n; i-- > 0;) {
			if (m->row[i].owner == who)
				model_remove(m, i);
		}
		break;
	case 1 ... 15:
		if (m->n && random() % 4) {
			i = (size_t)random() % m->n;
			p = m->row[i].p;
			who = m->row[i].owner;
		}
		if (i < m->n && m->row[i].owner == who) {
			assert_int_equal(wg_allowedips_remove(t, &p, who), 0);
			model_remove(m, i);
		} else {
			assert_int_equal(wg_allowedips_remove(t, &p, who), -ENOENT);
		}
		break;
	default:
		if (i < m->n)
			want = m->row[i].owner;
		else if (m->n == PREFIXES)
			break;
		assert_int_equal(wg_allowedips_insert(t, &p, who, &former), 0);
		assert_ptr_equal(former, want);
		m->row[i].p = p;
		m->row[i].owner = who;
		m->n += i == m->n;
	}
}

static void compare(struct wg_allowedips *t, const struct model *m)
{
	uint8_t bytes[16];

	for (int i = 0; i < 40; i++) {
		random_bytes(bytes);
		assert_ptr_equal(wg_allowedips_lookup4(t, bytes), model_lookup(m, bytes, 4));
		assert_ptr_equal(wg_allowedips_lookup6(t, bytes), model_lookup(m, bytes, 6));
	}
}

struct walked {
	const struct model *model;
	size_t n;
};

static void check_walked(void *arg, const struct warren_prefix *p, void *who)
{
	struct walked *walked = arg;
	size_t i = model_find(walked->model, p);

	assert_true(i < walked->model->n);
	assert_ptr_equal(walked->model->row[i].owner, who);
	walked->n++;
}

static void against_model(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);
	static struct model m, before;

	(void)state;
	srandom(3);
	for (int batch = 0; batch < 400; batch++) {
		struct walked walked = { .model = &m };

		before = m;
		wg_allowedips_begin(t);
		for (long n = random() % 60; n >= 0; n--)
			random_operation(t, &m);
		wg_allowedips_walk(t, NULL, check_walked, &walked);
		assert_int_equal(walked.n, m.n);
		compare(t, &before);			/* readers see the batch not yet */
		if (random() % 4) {
			wg_allowedips_commit(t);
		} else {
			wg_allowedips_abort(t);		/* or never */
			m = before;
		}
		compare(t, &m);
		assert_int_equal(wg_allowedips_count(t), m.n);
		walked.n = 0;
		wg_allowedips_walk(t, &owner[1], check_walked, &walked);
		for (size_t i = 0; i < m.n; i++)
			walked.n -= m.row[i].owner == &owner[1];
		assert_int_equal(walked.n, 0);
	}
	wg_allowedips_free(t);
}

/* Random changes until memory ends somewhere; then the old table is there, whole, and no leak. */
static void out_of_memory(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);
	static struct model m;
	int failed = 0;

	(void)state;
	srandom(4);
	memset(&m, 0, sizeof(m));
	wg_allowedips_begin(t);
	for (int i = 0; i < 1500; i++)
		random_operation(t, &m);
	wg_allowedips_commit(t);
	for (int round = 0; round < 2000; round++) {
		int err = 0;

		wg_allowedips_begin(t);
		allocations_left = random() % 60;
		for (int i = 0; i < 30 && !err; i++) {
			struct warren_prefix p = m.row[(size_t)random() % m.n].p;
			struct warren_prefix q = random_prefix();

			err = random() % 2 ? wg_allowedips_insert(t, &q, &owner[0], NULL) :
			      random() % 2 ? wg_allowedips_insert(t, &p, &owner[0], NULL) :
			      wg_allowedips_remove_owner(t, &owner[random() % OWNERS]);
		}
		allocations_left = -1;
		if (err)
			assert_int_equal(err, -ENOMEM);
		failed += err != 0;
		wg_allowedips_abort(t);
		assert_int_equal(wg_allowedips_count(t), m.n);
		compare(t, &m);
	}
	assert_true(failed > 500);
	wg_allowedips_free(t);
}

/* ---- Cost ---- */

static void bulk_build_copies_nothing(void **state)
{
	struct wg_allowedips *t = wg_allowedips_new(retire, NULL);
	struct warren_prefix p = { .addr.family = 4, .bits = 32 };
	struct timespec a, b;
	long ms;

	(void)state;
	retired = 0;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	wg_allowedips_begin(t);
	for (uint32_t i = 0; i < 50000; i++) {
		uint32_t v = htonl(0x64400000 + i * 7);

		memcpy(p.addr.bytes, &v, 4);
		assert_int_equal(wg_allowedips_insert(t, &p, &owner[i % OWNERS], NULL), 0);
	}
	wg_allowedips_commit(t);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	print_message("50,000 prefixes: %ld ms\n", ms);
	assert_int_equal(retired, 0);
	assert_int_equal(wg_allowedips_count(t), 50000);

	/* One more change copies its path, not the table. */
	wg_allowedips_begin(t);
	insert(t, "100.64.0.1/32", &owner[0], NULL);
	wg_allowedips_commit(t);
	assert_in_range(retired, 1, 32);
	wg_allowedips_begin(t);
	for (int i = 0; i < OWNERS; i++)
		assert_int_equal(wg_allowedips_remove_owner(t, &owner[i]), 0);
	wg_allowedips_commit(t);
	assert_int_equal(wg_allowedips_count(t), 0);
	assert_null(lookup(t, "100.64.0.0"));
	wg_allowedips_free(t);
}

/* ---- Readers beside the writer ---- */

struct race {
	struct wg_allowedips *table;
	_Atomic bool stop;
	_Atomic uint64_t wrong;
};

static void *reader(void *arg)
{
	static const uint8_t in[4] = { 10, 1, 1, 1 }, out[4] = { 10, 2, 1, 1 };
	struct race *race = arg;
	uint64_t wrong = 0;

	while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
		void *a = wg_allowedips_lookup4(race->table, in);

		/* /16 of owner 1 comes and goes; /8 of owner 0 stays. */
		wrong += a != &owner[0] && a != &owner[1];
		wrong += wg_allowedips_lookup4(race->table, out) != &owner[0];
	}
	atomic_fetch_add(&race->wrong, wrong);
	return NULL;
}

/* Retired nodes are collected and freed at the end: the epoch of this test. */
struct collected {
	void *ptr[1 << 20];
	size_t n;
};

static void collect(void *arg, void *ptr)
{
	struct collected *c = arg;

	assert_true(c->n < sizeof(c->ptr) / sizeof(c->ptr[0]));
	c->ptr[c->n++] = ptr;
}

static void readers_see_whole_tables(void **state)
{
	static struct collected collected;
	struct race race = { .table = wg_allowedips_new(collect, &collected) };
	struct warren_prefix p = prefix("10.1.0.0/16");
	pthread_t thread;

	(void)state;
	wg_allowedips_begin(race.table);
	insert(race.table, "10.0.0.0/8", &owner[0], NULL);
	wg_allowedips_commit(race.table);
	assert_int_equal(pthread_create(&thread, NULL, reader, &race), 0);
	for (int i = 0; i < 50000; i++) {
		wg_allowedips_begin(race.table);
		assert_int_equal(wg_allowedips_insert(race.table, &p, &owner[1], NULL), 0);
		wg_allowedips_commit(race.table);
		wg_allowedips_begin(race.table);
		assert_int_equal(wg_allowedips_remove_owner(race.table, &owner[1]), 0);
		wg_allowedips_commit(race.table);
	}
	atomic_store(&race.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&race.wrong), 0);
	wg_allowedips_free(race.table);
	for (size_t i = 0; i < collected.n; i++)
		free(collected.ptr[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_match),
		cmocka_unit_test(one_owner),
		cmocka_unit_test(bad_prefixes),
		cmocka_unit_test(against_model),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(bulk_build_copies_nothing),
		cmocka_unit_test(readers_see_whole_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
