/*
 * The document of the login: it comes back whole; one that is damaged, cut off, of another version
 * or too large is refused with a sentence, and stays as it is for the operator to mend.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/file.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/state.h"
#include "tests/unit/parts.h"

#include "../persist.h"

static const char path[] = "parts/login.json";
static char dir[64];
static int dirfd_ = -1;
static struct wcore_engine *engine;
static struct warren_ctx *ctx;

static int begin(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-persist.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	engine = parts_engine(dup(dirfd_));
	ctx = parts_ctx(engine, wcore_engine_main(engine));
	return 0;
}

static int end(void **state)
{
	(void)state;
	wcore_ctx_close(ctx);
	wcore_engine_free(engine);
	unlinkat(dirfd_, path, 0);
	unlinkat(dirfd_, "parts", AT_REMOVEDIR);
	close(dirfd_);
	return rmdir(dir);
}

static void save_one(struct ctl_persist *p)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->url, sizeof(p->url), "https://control.example.com");
	snprintf(p->log_id, sizeof(p->log_id), "0123abcd");
	snprintf(p->login, sizeof(p->login), "anna@example.com");
	snprintf(p->display_name, sizeof(p->display_name), "Anna \"A\" \xc3\x84");
	p->logged_in = true;
	p->user = INT64_MAX;
	memset(p->node_key, 0xa5, sizeof(p->node_key));
	p->old_node_key[31] = 1;
	ctl_persist_save(ctx, p);
	parts_jobs(engine, ctx);
}

/* @raw is on disk: refused with @why, and still there to the byte. */
static void assert_refused(const void *raw, size_t len, const char *why)
{
	struct warren_err err = ERR_INIT;
	struct ctl_persist p;
	size_t after_len;
	void *after;
	int folder = openat(dirfd_, "parts", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_not_equal(folder, -1);
	assert_int_equal(file_replace_at(folder, "login.json", 0600, raw, len), 0);
	close(folder);
	assert_true(ctl_persist_load(ctx, "control.example.com", &p, &err) < 0);
	if (!strstr(err_first(&err), why) || !strstr(err_first(&err), "login.json"))
		fail_msg("\"%s\" does not say \"%s\"", err_first(&err), why);
	err_free(&err);
	assert_int_equal(file_read_at(dirfd_, path, len + 1, &after, &after_len), 0);
	assert_int_equal(after_len, len);
	assert_memory_equal(after, raw, len);
	free(after);
}

static void it_comes_back(void **state)
{
	struct warren_err err = ERR_INIT;
	struct ctl_persist wrote, p;

	(void)state;
	assert_int_equal(ctl_persist_load(ctx, "control.example.com", &p, &err), 0);
	assert_int_equal(strlen(p.log_id), 64);
	assert_false(p.logged_in);
	save_one(&wrote);
	assert_int_equal(ctl_persist_load(ctx, "control.example.com", &p, &err), 0);
	assert_string_equal(p.url, wrote.url);
	assert_string_equal(p.log_id, wrote.log_id);
	assert_string_equal(p.login, wrote.login);
	assert_string_equal(p.display_name, wrote.display_name);
	assert_true(p.logged_in && !p.logged_out && p.user == INT64_MAX);
	assert_memory_equal(p.node_key, wrote.node_key, 32);
	assert_memory_equal(p.old_node_key, wrote.old_node_key, 32);
	assert_false(err_any(&err));
}

static void cut_off_anywhere(void **state)
{
	struct ctl_persist wrote;
	size_t len;
	char *raw;
	void *data;

	(void)state;
	save_one(&wrote);
	assert_int_equal(file_read_at(dirfd_, path, 4096, &data, &len), 0);
	raw = data;
	for (size_t n = 0; n < len; n++)
		assert_refused(raw, n, n < sizeof("{\"format\":1}") ? "format" : "damaged");
	free(raw);
}

static void damaged(void **state)
{
	static const char *const bad[] = {
		"{\"format\":1}\n[]", "{\"format\":1}\n{}", "{\"format\":1}\nnull",
		"{\"format\":1}\n{\"url\":\"a\",\"url\":\"b\"}",
	};
	struct ctl_persist wrote;
	size_t len;
	char *raw, *key;
	void *data;

	(void)state;
	save_one(&wrote);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i], strlen(bad[i]), "damaged");
	save_one(&wrote);
	assert_int_equal(file_read_at(dirfd_, path, 4096, &data, &len), 0);
	raw = data;
	key = strstr(raw, "a5a5");
	assert_non_null(key);
	*key = 'g';
	assert_refused(raw, len, "damaged");
	*key = 'a';
	key = strstr(raw, "0123abcd");
	assert_non_null(key);
	memcpy(key, "\\u0000gh", 8);	/* a NUL in a text */
	assert_refused(raw, len, "damaged");
	free(raw);
}

static void another_version(void **state)
{
	static const char newer[] = "{\"format\":2}\n{}";

	(void)state;
	assert_int_equal(warren_state_write_wait(ctx, "login.json", 0, 1, "{}", 2, NULL), 0);
	assert_refused(newer, sizeof(newer) - 1, "it has format 2");
}

static void too_large(void **state)
{
	size_t len = (size_t)WCORE_STATE_MAX + 1;
	char *raw = malloc(len);

	(void)state;
	assert_non_null(raw);
	assert_int_equal(warren_state_write_wait(ctx, "login.json", 0, 1, "{}", 2, NULL), 0);
	memset(raw, ' ', len);
	memcpy(raw, "{\"format\":1}\n", 13);
	assert_refused(raw, len, strerror(EFBIG));
	free(raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_comes_back, begin, end),
		cmocka_unit_test_setup_teardown(cut_off_anywhere, begin, end),
		cmocka_unit_test_setup_teardown(damaged, begin, end),
		cmocka_unit_test_setup_teardown(another_version, begin, end),
		cmocka_unit_test_setup_teardown(too_large, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
