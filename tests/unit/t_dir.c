/*
 * Folders of a plugin: what is made is there, nothing leads out, nothing is overwritten unasked,
 * and who has closed a folder hears of nothing any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/priv.h>

#include "engine/ctx.h"
#include "engine/engine.h"
#include "parts.h"

static char top[64], folder[128];
static struct wcore_engine *engine;
static struct warren_ctx *ctx;
static struct warren_dir *dir;

static struct {
	volatile bool told;
	int result, fd;
	uint32_t n;
	char why[128], names[256];
} got;

static void done(struct warren_ctx *owner, const struct warren_dir_answer *answer, void *arg)
{
	assert_ptr_equal(owner, ctx);
	assert_ptr_equal(arg, &got);
	got.told = true;
	got.result = answer->result;
	got.fd = answer->fd;
	got.n = answer->n_entries;
	snprintf(got.why, sizeof(got.why), "%s", answer->why ? answer->why : "");
	got.names[0] = '\0';
	for (uint32_t i = 0; i < answer->n_entries; i++) {
		size_t len = strlen(got.names);

		snprintf(got.names + len, sizeof(got.names) - len, "%s:%llu ",
			 answer->entries[i].name, (unsigned long long)answer->entries[i].size);
	}
}

/* What @started has come to. */
static int outcome(int started)
{
	assert_int_equal(started, 0);
	assert_true(parts_until(engine, &got.told));
	got.told = false;
	return got.result;
}

static int begin(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/warren-dir.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(folder, sizeof(folder), "%s/parts/box", top);
	engine = parts_engine(open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	memset(&got, 0, sizeof(got));
	return warren_dir_state(ctx, "box", &dir, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int finish(void **state)
{
	(void)state;
	parts_jobs(engine, ctx);
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make(const char *name, const char *text)
{
	assert_int_equal(outcome(warren_dir_create(dir, name, 0600, done, &got)), 0);
	assert_true(got.fd >= 0);
	assert_int_equal(pwrite(got.fd, text, strlen(text), 0), strlen(text));
	close(got.fd);
}

static void files(void **state)
{
	char buf[8];

	(void)state;
	make("a", "hello");
	assert_int_equal(outcome(warren_dir_open(dir, "a", done, &got)), 0);
	assert_int_equal(read(got.fd, buf, sizeof(buf)), 5);
	assert_int_equal(write(got.fd, buf, 1), -1);
	close(got.fd);
	make("a", "HE");		/* it is not emptied */
	assert_int_equal(outcome(warren_dir_list(dir, done, &got)), 0);
	assert_string_equal(got.names, "a:5 ");
	make("b", "");
	assert_int_equal(outcome(warren_dir_rename(dir, "a", "b", true, done, &got)), -EEXIST);
	assert_string_equal(got.why, "a: File exists");
	assert_int_equal(outcome(warren_dir_rename(dir, "a", "b", false, done, &got)), 0);
	assert_int_equal(outcome(warren_dir_rename(dir, "b", "c", true, done, &got)), 0);
	assert_int_equal(outcome(warren_dir_unlink(dir, "b", done, &got)), -ENOENT);
	assert_int_equal(outcome(warren_dir_unlink(dir, "c", done, &got)), 0);
	assert_int_equal(outcome(warren_dir_list(dir, done, &got)), 0);
	assert_int_equal(got.n, 0);
	for (char name[] = "x00"; name[2] <= '9'; name[2]++)
		make(name, "1");
	assert_int_equal(outcome(warren_dir_list(dir, done, &got)), 0);
	assert_int_equal(got.n, 10);
}

static void nothing_leads_out(void **state)
{
	static const char *const bad[] = { "/etc/passwd", "..", "../x", "a/../../x", "", "." };
	char link[160];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int result = warren_dir_open(dir, bad[i], done, &got);

		/* The folder itself is a name, but no file. */
		assert_true(bad[i][0] ? result == -EINVAL : outcome(result) == -EINVAL);
	}
	snprintf(link, sizeof(link), "%s/out", folder);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	snprintf(link, sizeof(link), "%s/up", folder);
	assert_int_equal(symlink("..", link), 0);
	make("inner", "x");
	snprintf(link, sizeof(link), "%s/in", folder);
	assert_int_equal(symlink("inner", link), 0);
	assert_int_equal(outcome(warren_dir_open(dir, "out", done, &got)), -EXDEV);
	assert_int_equal(outcome(warren_dir_create(dir, "up/x", 0600, done, &got)), -EXDEV);
	/* Within the folder a link is read through, but nothing is written through it. */
	assert_int_equal(outcome(warren_dir_open(dir, "in", done, &got)), 0);
	close(got.fd);
	assert_int_equal(outcome(warren_dir_create(dir, "in", 0600, done, &got)), -ELOOP);
	assert_int_equal(outcome(warren_dir_open(dir, "up", done, &got)), -EXDEV);
}

static void a_closed_folder_says_nothing(void **state)
{
	char path[160];
	struct stat st;

	(void)state;
	assert_int_equal(warren_dir_create(dir, "late", 0600, done, &got), 0);
	warren_dir_close(dir);
	snprintf(path, sizeof(path), "%s/late", folder);
	for (int i = 0; i < 1000 && stat(path, &st); i++) {
		parts_settle(engine);
		usleep(1000);
	}
	parts_jobs(engine, ctx);
	parts_settle(engine);
	assert_int_equal(stat(path, &st), 0);
	assert_false(got.told);
}

static void a_folder_of_others_is_refused(void **state)
{
	struct warren_dir *other;

	(void)state;
	assert_int_equal(chmod(folder, 0755), 0);
	assert_int_equal(warren_dir_state(ctx, "box", &other, NULL), -EPERM);
	assert_null(other);
	assert_int_equal(warren_dir_state(ctx, "../x", &other, NULL), -EINVAL);
	assert_int_equal(chmod(folder, 0700), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files, begin, finish),
		cmocka_unit_test_setup_teardown(nothing_leads_out, begin, finish),
		cmocka_unit_test_setup_teardown(a_closed_folder_says_nothing, begin, finish),
		cmocka_unit_test_setup_teardown(a_folder_of_others_is_refused, begin, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
