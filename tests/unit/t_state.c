/*
 * State documents: what is written comes back, what somebody else could have touched is refused,
 * and a write that fails leaves the old document.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/log.h"
#include "parts.h"

static char dir[64];
static int dirfd_;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;

static void quiet(void *arg, const char *plugin, int level, const char *text)
{
	(void)arg;
	(void)plugin;
	(void)level;
	(void)text;
}

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-state.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	engine = parts_engine(dup(dirfd_));
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	wcore_log_sink(quiet, NULL);
	return 0;
}

static int end(void **state)
{
	static const char *const names[] = { "parts/doc", "parts/key", "parts/other" };

	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dirfd_, names[i], 0);
	unlinkat(dirfd_, "parts", AT_REMOVEDIR);
	close(dirfd_);
	wcore_log_sink(NULL, NULL);
	return rmdir(dir);
}

static void assert_file(const char *name, const char *content)
{
	void *data;
	size_t len;

	assert_int_equal(file_read_at(dirfd_, name, 1000, &data, &len), 0);
	assert_string_equal(data, content);
	free(data);
}

/* Reads a document of version 2, which must be refused with @why. */
static void assert_refused(uint32_t flags, const char *name, int result, const char *why)
{
	struct warren_err err = ERR_INIT;
	void *data = NULL;
	size_t len;

	assert_int_equal(warren_state_read(ctx, name, flags, 2, &data, &len, &err), result);
	assert_null(data);
	if (!strstr(err_first(&err), why))
		fail_msg("\"%s\" does not say \"%s\"", err_first(&err), why);
	err_free(&err);
}

static void documents_come_back_with_their_format(void **state)
{
	struct warren_err err = ERR_INIT;
	struct stat st;
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(warren_state_read(ctx, "doc", 0, 2, &data, &len, &err), -ENOENT);
	assert_int_equal(warren_state_write_wait(ctx, "doc", 0, 2, "{\"a\":1}", 7, &err), 0);
	assert_file("parts/doc", "{\"format\":2}\n{\"a\":1}");
	assert_int_equal(fstatat(dirfd_, "parts/doc", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fstatat(dirfd_, "parts", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(warren_state_read(ctx, "doc", 0, 2, &data, &len, &err), 0);
	assert_int_equal(len, 7);
	assert_string_equal(data, "{\"a\":1}");
	assert_false(err_any(&err));

	assert_int_equal(warren_state_write_wait(ctx, "doc", 0, 3, "x", 1, NULL), 0);
	assert_refused(0, "doc", -EPROTO, "state/parts/doc: it has format 3, and this version of "
		       "the daemon reads 2");
	assert_int_equal(warren_state_write_wait(ctx, "doc", WARREN_STATE_KEY, 0, "rubbish", 7,
						 NULL), 0);
	assert_refused(0, "doc", -EPROTO, "does not begin with its format");
}

static void keys_are_raw_bytes(void **state)
{
	const uint8_t key[4] = { 0, 1, 2, 255 };
	void *data;
	size_t len;

	(void)state;
	assert_int_equal(warren_state_write_wait(ctx, "key", WARREN_STATE_KEY, 0, key, 4, NULL),
			 0);
	assert_int_equal(warren_state_read(ctx, "key", WARREN_STATE_KEY, 0, &data, &len, NULL), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(data, key, 4);
}

static void paths_are_for_libraries_that_open_files(void **state)
{
	struct warren_err err = ERR_INIT;
	char path[128], wanted[128];
	struct stat st;

	(void)state;
	snprintf(wanted, sizeof(wanted), "%s/parts/doc", dir);
	assert_int_equal(warren_state_path(ctx, "doc", path, sizeof(path), &err), 0);
	assert_string_equal(path, wanted);
	assert_int_equal(fstatat(dirfd_, "parts", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(dirfd_, "parts/doc", &st, 0), -1);
	assert_int_equal(warren_state_path(ctx, "doc", path, strlen(wanted), &err), -ENAMETOOLONG);
	assert_int_equal(warren_state_path(ctx, "../doc", path, sizeof(path), &err), -EINVAL);
	assert_int_equal(fchmodat(dirfd_, "parts", 0750, 0), 0);
	assert_int_equal(warren_state_path(ctx, "doc", path, sizeof(path), &err), -EPERM);
	assert_int_equal(fchmodat(dirfd_, "parts", 0700, 0), 0);
	err_free(&err);
}

static void what_others_could_touch_is_refused(void **state)
{
	(void)state;
	assert_int_equal(warren_state_write_wait(ctx, "doc", 0, 2, "x", 1, NULL), 0);
	assert_int_equal(fchmodat(dirfd_, "parts/doc", 0640, 0), 0);
	assert_refused(0, "doc", -EPERM, "others may read or write it; `chmod go=` it");
	assert_int_equal(fchmodat(dirfd_, "parts/doc", 0600, 0), 0);
	assert_int_equal(fchmodat(dirfd_, "parts", 0755, 0), 0);
	assert_refused(0, "doc", -EPERM, "state/parts: others may");
	assert_int_equal(fchmodat(dirfd_, "parts", 0700, 0), 0);
	if (geteuid() == 0) {
		assert_int_equal(fchownat(dirfd_, "parts/doc", 12345, 0, 0), 0);
		assert_refused(0, "doc", -EPERM, "it belongs to another user");
	}
	assert_int_equal(unlinkat(dirfd_, "parts/doc", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", dirfd_, "parts/doc"), 0);
	assert_refused(0, "doc", -ELOOP, "state/parts/doc: ");
	assert_int_equal(unlinkat(dirfd_, "parts/doc", 0), 0);
	assert_int_equal(mkfifoat(dirfd_, "parts/doc", 0600), 0);
	assert_refused(0, "doc", -EPERM, "it is no regular file");
	assert_refused(0, "../doc", -EINVAL, "no name of a document");
	assert_refused(0, ".doc", -EINVAL, "no name of a document");
}

struct told {
	bool done;
	int result;
	unsigned int times;
};

static void tell(struct warren_ctx *c, int result, void *arg)
{
	struct told *t = arg;

	(void)c;
	t->done = true;
	t->result = result;
	t->times++;
}

static void the_latest_of_several_writes_wins(void **state)
{
	struct told told[10] = { 0 }, other = { 0 };
	char text[2] = "0";

	(void)state;
	for (int i = 0; i < 10; i++) {
		text[0] = (char)('0' + i);
		assert_int_equal(warren_state_write(ctx, "doc", 0, 1, text, 1, tell, &told[i]), 0);
	}
	assert_int_equal(warren_state_write(ctx, "other", 0, 1, "x", 1, tell, &other), 0);
	assert_true(parts_until(engine, &told[9].done));
	assert_true(parts_until(engine, &other.done));
	assert_file("parts/doc", "{\"format\":1}\n9");
	for (int i = 0; i < 10; i++) {
		assert_int_equal(told[i].times, 1);
		assert_int_equal(told[i].result, 0);
	}
	assert_int_equal(ctx->jobs, 0);
}

static void full_disk_leaves_the_old_document(void **state)
{
	struct warren_err err = ERR_INIT;
	struct rlimit old, tiny = { 64, 64 };
	struct told told = { 0 };
	char big[4096];

	(void)state;
	memset(big, 'b', sizeof(big));
	assert_int_equal(warren_state_write_wait(ctx, "doc", 0, 1, "old", 3, NULL), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tiny.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tiny), 0);
	assert_int_equal(warren_state_write_wait(ctx, "doc", 0, 1, big, sizeof(big), &err),
			 -EFBIG);
	assert_string_equal(err_first(&err), "state/parts/doc: File too large");
	assert_int_equal(warren_state_write(ctx, "doc", 0, 1, big, sizeof(big), tell, &told), 0);
	assert_true(parts_until(engine, &told.done));
	assert_int_equal(told.result, -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_file("parts/doc", "{\"format\":1}\nold");
	assert_int_equal(faccessat(dirfd_, "parts/.doc.new", F_OK, 0), -1);
	err_free(&err);
}

static void without_a_folder_nothing_is_kept(void **state)
{
	struct wcore_engine *none;
	struct warren_ctx *c;
	void *data;
	size_t len;

	(void)state;
	none = parts_engine(-1);
	c = parts_ctx(none, wcore_engine_main(none));
	assert_int_equal(warren_state_read(c, "doc", 0, 1, &data, &len, NULL), -ENOENT);
	assert_int_equal(warren_state_write_wait(c, "doc", 0, 1, "x", 1, NULL), -EROFS);
	wcore_ctx_close(c);
	wcore_engine_free(none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(documents_come_back_with_their_format),
		TEST(keys_are_raw_bytes),
		TEST(paths_are_for_libraries_that_open_files),
		TEST(what_others_could_touch_is_refused),
		TEST(the_latest_of_several_writes_wins),
		TEST(full_disk_leaves_the_old_document),
		cmocka_unit_test(without_a_folder_nothing_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
