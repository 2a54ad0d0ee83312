/*
 * What contexts share: events, metrics, jobs and lookups; from one lane to another.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/engine_impl.h"
#include "engine/lane.h"
#include "engine/stat.h"
#include "engine/work.h"
#include "parts.h"

enum { EVENTS = 500 };

static struct wcore_engine *engine;
static struct wcore_lane *lane;
static struct warren_ctx *ctx;

static int begin(void **state)
{
	(void)state;
	engine = parts_engine(-1);
	lane = wcore_engine_main(engine);
	ctx = parts_ctx(engine, lane);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (!engine)
		return 0;
	if (ctx->phase != WCORE_PHASE_GONE)
		wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return 0;
}

/*
 * ---- Events ----
 */

struct number {
	struct warren_obj obj;
	uint32_t value;
};

static atomic_uint alive;

static void number_free(struct warren_obj *obj)
{
	atomic_fetch_sub(&alive, 1);
	free(obj);
}

static struct number *number_new(uint32_t value)
{
	struct number *n = calloc(1, sizeof(*n));

	warren_obj_init(&n->obj, sizeof(*n), number_free);
	n->value = value;
	atomic_fetch_add(&alive, 1);
	return n;
}

struct taker {
	uint32_t count, last;
	bool disorder;
	atomic_uint seen;
};

static void take(struct warren_ctx *c, const char *topic, const void *obj, void *arg)
{
	const struct number *n = obj;
	struct taker *t = arg;

	(void)c;
	(void)topic;
	t->disorder |= t->count && n->value != t->last + 1;
	t->last = n->value;
	t->count++;
	atomic_fetch_add(&t->seen, 1);
}

static void events_come_after_the_publisher_returned(void **state)
{
	struct taker t = { 0 };

	(void)state;
	assert_int_equal(warren_subscribe(ctx, "plain", take, &t), 0);
	assert_int_equal(warren_publish_take(ctx, "plain", number_new(1)), 0);
	assert_int_equal(t.count, 0);
	parts_settle(engine);
	assert_int_equal(t.count, 1);
	assert_int_equal(atomic_load(&alive), 0);
	assert_int_equal(warren_publish_take(ctx, "unknown", number_new(1)), -ENOENT);
	assert_int_equal(atomic_load(&alive), 0);
}

static void sticky_topic_keeps_its_last_object(void **state)
{
	struct warren_ctx *late = parts_ctx(engine, lane), *other;
	struct taker t = { 0 }, plain = { 0 }, after = { 0 };

	(void)state;
	warren_publish_take(ctx, "sticky", number_new(6));
	warren_publish_take(ctx, "sticky", number_new(7));
	warren_publish_take(ctx, "plain", number_new(8));
	assert_int_equal(atomic_load(&alive), 1);
	warren_subscribe(late, "sticky", take, &t);
	warren_subscribe(late, "plain", take, &plain);
	parts_settle(engine);
	assert_int_equal(t.count, 1);
	assert_int_equal(t.last, 7);
	assert_int_equal(plain.count, 0);
	/* What a publisher said goes with it. */
	wcore_ctx_close(ctx);
	assert_int_equal(atomic_load(&alive), 0);
	other = parts_ctx(engine, lane);
	warren_subscribe(other, "sticky", take, &after);
	parts_settle(engine);
	assert_int_equal(after.count, 0);
	wcore_ctx_close(late);
	wcore_ctx_close(other);
}

static void closed_subscriber_gets_nothing(void **state)
{
	struct warren_ctx *other = parts_ctx(engine, lane);
	struct taker t = { 0 };

	(void)state;
	warren_subscribe(other, "plain", take, &t);
	warren_publish_take(ctx, "plain", number_new(1));
	wcore_ctx_close(other);
	parts_settle(engine);
	warren_publish_take(ctx, "plain", number_new(2));
	parts_settle(engine);
	assert_int_equal(t.count, 0);
	assert_int_equal(atomic_load(&alive), 0);
}

struct elsewhere {			/* runs @fn on another lane and waits */
	struct wcore_post post;
	void (*fn)(struct elsewhere *e);
	struct warren_ctx *ctx;
	struct taker *taker;
	sem_t done;
};

static void elsewhere_run(struct wcore_post *post)
{
	struct elsewhere *e = (struct elsewhere *)(void *)post;

	e->fn(e);
	sem_post(&e->done);
}

static void run_elsewhere(struct elsewhere *e, struct wcore_lane *other,
			  void (*fn)(struct elsewhere *))
{
	e->post = (struct wcore_post){ .run = elsewhere_run, .drop = elsewhere_run };
	e->fn = fn;
	assert_int_equal(wcore_lane_post(other, &e->post), 0);
	while (sem_wait(&e->done) == -1)
		;
}

static void do_subscribe(struct elsewhere *e)
{
	warren_subscribe(e->ctx, "plain", take, e->taker);
}

static void do_close(struct elsewhere *e)
{
	wcore_ctx_close(e->ctx);
}

static void events_cross_lanes_in_order(void **state)
{
	struct wcore_lane *other = wcore_engine_lane(engine, "other", NULL);
	struct taker here = { 0 }, there = { 0 };
	struct elsewhere e = { .taker = &there };

	(void)state;
	assert_non_null(other);
	assert_ptr_equal(wcore_engine_lane(engine, "other", NULL), other);
	assert_ptr_equal(wcore_engine_lane(engine, "main", NULL), lane);
	sem_init(&e.done, 0, 0);
	e.ctx = parts_ctx(engine, other);
	run_elsewhere(&e, other, do_subscribe);
	warren_subscribe(ctx, "plain", take, &here);
	for (uint32_t i = 0; i < EVENTS; i++)
		assert_int_equal(warren_publish_take(ctx, "plain", number_new(i)), 0);
	parts_settle(engine);
	for (int i = 0; i < 5000 && atomic_load(&there.seen) < EVENTS; i++)
		usleep(1000);
	run_elsewhere(&e, other, do_close);
	assert_int_equal(here.count, EVENTS);
	assert_int_equal(there.count, EVENTS);
	assert_false(here.disorder || there.disorder);
	assert_int_equal(atomic_load(&alive), 0);
	sem_destroy(&e.done);
}

/*
 * ---- Metrics ----
 */

static void metrics_are_shared_by_name_and_printed(void **state)
{
	struct warren_stat *a = warren_stat_open(ctx, "bytes", NULL);
	struct warren_stat *b = warren_stat_open(ctx, "bytes", NULL);
	struct warren_stat *ring = warren_stat_open(ctx, "queue-depth", "a\"b\\c\nd");
	char *text;

	(void)state;
	assert_ptr_equal(a, b);
	warren_stat_add(a, 5);
	warren_release(a);		/* one of two holders */
	warren_stat_add(b, 6);
	warren_stat_set(ring, -3);
	warren_stat_add(NULL, 1);
	text = wcore_stats_text(wcore_engine_stats(engine));
	assert_string_equal(text,
			    "# HELP warren_parts_bytes A \\\\ and\\nmore.\n"
			    "# TYPE warren_parts_bytes counter\n"
			    "warren_parts_bytes 11\n"
			    "# HELP warren_parts_queue_depth Filled places.\n"
			    "# TYPE warren_parts_queue_depth gauge\n"
			    "warren_parts_queue_depth{ring=\"a\\\"b\\\\c\\nd\"} -3\n");
	free(text);
	warren_release(b);
	warren_release(ring);
	text = wcore_stats_text(wcore_engine_stats(engine));
	assert_string_equal(text, "");
	free(text);
}

/*
 * ---- Jobs and lookups ----
 */

static atomic_uint ran;
static sem_t gate;
static unsigned int done;
static pthread_t main_thread;

static void wait_at_gate(void *arg)
{
	(void)arg;
	while (sem_wait(&gate) == -1)
		;
	atomic_fetch_add(&ran, 1);
}

static void job_done(struct warren_ctx *c, void *arg)
{
	(void)c;
	(void)arg;
	assert_true(pthread_equal(pthread_self(), main_thread));
	done++;
}

static void the_queue_of_jobs_is_bounded(void **state)
{
	struct wcore_pool *pool = wcore_engine_pool(engine);
	unsigned int n = 0;

	(void)state;
	main_thread = pthread_self();
	sem_init(&gate, 0, 0);
	assert_int_equal(wcore_pool_threads(pool), 0);
	while (warren_work(ctx, wait_at_gate, job_done, NULL) == 0)
		n++;
	assert_true(n >= WCORE_POOL_QUEUE && n <= WCORE_POOL_QUEUE + WCORE_POOL_THREADS);
	assert_int_equal(warren_work(ctx, wait_at_gate, job_done, NULL), -EAGAIN);
	assert_int_equal(wcore_pool_threads(pool), WCORE_POOL_THREADS);
	assert_int_equal(ctx->jobs, n);
	for (unsigned int i = 0; i < n; i++)
		sem_post(&gate);
	for (int i = 0; i < 5000 && done < n; i++) {
		wcore_lane_turn(lane, false);
		usleep(1000);
	}
	assert_int_equal(atomic_load(&ran), n);
	assert_int_equal(done, n);
	assert_int_equal(ctx->jobs, 0);
	sem_destroy(&gate);
}

struct lookup {
	bool done;
	int result;
	struct warren_addr first;
	char why[128];
};

static void resolved(struct warren_ctx *c, int result, const struct warren_addr *addrs,
		     const char *why, void *arg)
{
	struct lookup *l = arg;

	(void)c;
	l->done = true;
	l->result = result;
	if (result > 0)
		l->first = addrs[0];
	snprintf(l->why, sizeof(l->why), "%s", why ? why : "");
}

static void addresses_and_names_are_looked_up(void **state)
{
	struct lookup v4 = { 0 }, v6 = { 0 }, local = { 0 }, none = { 0 };
	char longname[300];

	(void)state;
	assert_int_equal(warren_resolve(ctx, "192.0.2.7", resolved, &v4), 0);
	assert_false(v4.done);
	assert_int_equal(warren_resolve(ctx, "2001:db8::7", resolved, &v6), 0);
	parts_settle(engine);
	assert_int_equal(v4.result, 1);
	assert_int_equal(v4.first.family, 4);
	assert_memory_equal(v4.first.bytes, ((uint8_t[]){ 192, 0, 2, 7 }), 4);
	assert_int_equal(v6.first.family, 6);
	assert_int_equal(v6.first.bytes[15], 7);
	assert_int_equal(warren_resolve(ctx, "localhost", resolved, &local), 0);
	assert_true(parts_until(engine, &local.done));
	assert_true(local.result >= 1);
	/* A label longer than 63 bytes (RFC 1035 2.3.4): no resolver asks anybody about it. */
	memset(longname, 'a', sizeof(longname));
	longname[100] = '\0';
	assert_int_equal(warren_resolve(ctx, longname, resolved, &none), 0);
	assert_true(parts_until(engine, &none.done));
	assert_true(none.result < 0);
	assert_true(none.why[0]);
	longname[100] = 'a';
	longname[299] = '\0';
	assert_int_equal(warren_resolve(ctx, longname, resolved, &none), -EINVAL);
	assert_int_equal(warren_resolve(ctx, "", resolved, &none), -EINVAL);
}

/* Answers two questions: an address to the one for it, nothing to the other. */
static void *resolver_thread(void *arg)
{
	static const uint8_t address[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 9 };
	int fd = *(int *)arg;

	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		uint8_t msg[512];
		ssize_t n = recvfrom(fd, msg, sizeof(msg) - sizeof(address), 0,
				     (struct sockaddr *)&from, &size);
		size_t end = 12;

		if (n < 17)
			return NULL;
		while (end + 4 < (size_t)n && msg[end])
			end += 1u + msg[end];
		end += 5;
		msg[2] = 0x81;
		msg[3] = 0x80;
		msg[7] = msg[end - 3] == 1;	/* the type is A */
		msg[11] = 0;
		memcpy(msg + end, address, sizeof(address));
		(void)sendto(fd, msg, end + (msg[7] ? sizeof(address) : 0), 0,
			     (struct sockaddr *)&from, size);
	}
	return NULL;
}

/* A resolver on loopback, for all look-ups. */
static int resolver_socket(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	struct warren_addrport server = { { 4, { 127, 0, 0, 1 } }, 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct timeval patience = { .tv_sec = 5 };
	socklen_t size = sizeof(sin);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &size), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	server.port = ntohs(sin.sin_port);
	assert_int_equal(warren_resolve_by(ctx, &server, 1), 0);
	return fd;
}

static void look_ups_go_to_whom_they_are_told(void **state)
{
	int fd = resolver_socket();
	struct lookup found = { 0 };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, resolver_thread, &fd), 0);
	assert_int_equal(warren_resolve(ctx, "a.probe.invalid", resolved, &found), 0);
	assert_true(parts_until(engine, &found.done));
	assert_int_equal(found.result, 1);
	assert_memory_equal(found.first.bytes, ((uint8_t[]){ 192, 0, 2, 9 }), 4);
	pthread_join(thread, NULL);
	close(fd);
	assert_int_equal(warren_resolve_by(ctx, NULL, 0), 0);
}

/* The C library asks again after 5 s, if it is waited for. */
static void nobody_waits_for_a_look_up(void **state)
{
	int fd = resolver_socket(), asked = 0;
	struct lookup none = { 0 }, late = { 0 };
	uint8_t msg[512];

	(void)state;
	assert_int_equal(warren_resolve(ctx, "b.probe.invalid", resolved, &none), 0);
	assert_true(recv(fd, msg, sizeof(msg), 0) > 0);
	assert_int_equal(ctx->jobs, 0);
	wcore_lookups_end(ctx);
	assert_true(none.done);
	assert_int_equal(none.result, -ECANCELED);
	assert_int_equal(warren_resolve(ctx, "c.probe.invalid", resolved, &late), -ECANCELED);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	engine = NULL;
	while (recv(fd, msg, sizeof(msg), MSG_DONTWAIT) > 0)
		asked++;
	assert_true(asked <= 1);	/* for the other family */
	close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_come_after_the_publisher_returned),
		TEST(sticky_topic_keeps_its_last_object),
		TEST(closed_subscriber_gets_nothing),
		TEST(events_cross_lanes_in_order),
		TEST(metrics_are_shared_by_name_and_printed),
		TEST(the_queue_of_jobs_is_bounded),
		TEST(addresses_and_names_are_looked_up),
		TEST(look_ups_go_to_whom_they_are_told),
		TEST(nobody_waits_for_a_look_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
