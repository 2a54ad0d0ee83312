/*
 * core/yaml: places of values, key paths, laying files over another, the limits, and the time that
 * a large file takes. Texts of errors are in tests/golden.
 */
#include "yaml/tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "base/util.h"

static struct ytree_node *parse(struct ytree *tree, const char *text)
{
	struct warren_err err = ERR_INIT;
	struct ytree_node *root;
	int result = ytree_parse(tree, "t.yaml", text, strlen(text), 0, &root, &err);

	if (result < 0)
		print_message("%s\n", err_first(&err));
	err_free(&err);
	assert_int_equal(result, 0);
	assert_non_null(root);
	return root;
}

/* Parses text that must fail, with exactly this first error. */
static void refuse(const void *text, size_t len, const char *expected)
{
	struct ytree *tree = ytree_new();
	struct warren_err err = ERR_INIT;
	struct ytree_node *root;

	assert_true(ytree_parse(tree, "t.yaml", text, len, 0, &root, &err) < 0);
	assert_null(root);
	assert_string_equal(err_first(&err), expected);
	err_free(&err);
	ytree_free(tree);
}

static void test_places(void **state)
{
	struct ytree *tree = ytree_new();
	struct ytree_node *root = parse(tree, "# c\nwg:\n  port: 1\n  \xc3\xa9: \"2\"\n"
					"list: [a, {b: c}]\n");
	const struct ytree_node *port = ytree_at(root, "wg.port", 0);
	const struct ytree_node *other = ytree_at(root, "wg.\xc3\xa9", 0);
	struct err_at at = ytree_place(tree, port);

	(void)state;
	assert_string_equal(at.file, "t.yaml");
	assert_int_equal(at.line, 3);
	assert_int_equal(at.column, 9);
	at = ytree_key_place(tree, port);
	assert_int_equal(at.column, 3);
	assert_string_equal(port->text, "1");
	assert_false(port->quoted);
	assert_string_equal(other->text, "2");
	assert_true(other->quoted);
	at = ytree_place(tree, other);
	assert_int_equal(at.column, 6);
	other = ytree_at(root, "list[1].b", 0);
	assert_string_equal(other->text, "c");
	assert_ptr_equal(ytree_at(root, "list", 0), ytree_get(root, "list")->first);
	ytree_free(tree);
}

static void test_paths(void **state)
{
	static const char *const bad[] = { "", ".", "a.", "a..b", ".a", "a[", "a[]", "a[x]", "a[1",
					   "a[0]b", "\"a", "a]", "b", "a.b.c", "a.l[2]", "a[1]",
					   "a.l[99999999999]", "\"a\\", "\"a\"b" };
	struct ytree *tree = ytree_new();
	struct ytree_node *root = parse(tree, "a: {b: 1, l: [x, y], "
					"\"q.\\\"\\\\[]\": 2, \"\": 3}\n");
	struct str path = STR_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(ytree_at(root, bad[i], 0));
	assert_string_equal(ytree_at(root, "a.l", 1)->text, "y");
	assert_string_equal(ytree_at(root, "a.l[1]", 0)->text, "y");
	assert_null(ytree_at(root, "a.l", 2));
	assert_null(ytree_at(root, "a.b", 1));
	assert_string_equal(ytree_at(root, "a.b[0]", 0)->text, "1");
	assert_string_equal(ytree_at(root, "\"a\".\"b\"", 0)->text, "1");
	ytree_path_add(&path, "a");
	ytree_path_add(&path, "q.\"\\[]");
	assert_string_equal(str_text(&path), "a.\"q.\\\"\\\\[]\"");
	assert_string_equal(ytree_at(root, str_text(&path), 0)->text, "2");
	str_cut(&path, 1);
	ytree_path_add(&path, "");
	assert_string_equal(ytree_at(root, str_text(&path), 0)->text, "3");
	str_free(&path);
	ytree_free(tree);
}

static void test_nulls(void **state)
{
	struct ytree *tree = ytree_new();
	struct ytree_node *root = parse(tree, "a:\nb: ~\nc: null\nd: \"null\"\ne: nullify\n");

	(void)state;
	assert_int_equal(ytree_get(root, "a")->kind, YTREE_NULL);
	assert_false(ytree_get(root, "a")->explicit_null);
	assert_true(ytree_get(root, "b")->explicit_null);
	assert_true(ytree_get(root, "c")->explicit_null);
	assert_int_equal(ytree_get(root, "d")->kind, YTREE_SCALAR);
	assert_int_equal(ytree_get(root, "e")->kind, YTREE_SCALAR);
	/* Laid on nothing, what is null goes. */
	root = ytree_merge(NULL, root);
	assert_non_null(ytree_get(root, "a"));
	assert_null(ytree_get(root, "b"));
	assert_null(ytree_get(root, "c"));
	assert_int_equal(root->count, 3);
	root = parse(tree, "");
	assert_int_equal(root->kind, YTREE_NULL);
	ytree_free(tree);
}

static void test_merge(void **state)
{
	struct ytree *tree = ytree_new();
	struct ytree_node *root = ytree_merge(NULL, parse(tree,
		"wg: {port: 1, mtu: 2, listen: [a, b]}\nstatic: {peers: {x: {k: 1}}}\ndns: {}\n"));

	(void)state;
	root = ytree_merge(root, parse(tree,
		"wg: {mtu: 3, listen: [c], port: ~, none: ~}\n"
		"static: {peers: {y: {k: 2}, x: {j: 9}}}\ndns:\nnew: {a: ~, b: [{c: ~}]}\n"));
	root = ytree_merge(root, parse(tree, ""));
	assert_null(ytree_at(root, "wg.port", 0));
	assert_null(ytree_at(root, "wg.none", 0));
	assert_string_equal(ytree_at(root, "wg.mtu", 0)->text, "3");
	assert_int_equal(ytree_place(tree, ytree_at(root, "wg.mtu", 0)).order, 1);
	assert_int_equal(ytree_get(ytree_get(root, "wg"), "listen")->count, 1);
	assert_int_equal(ytree_get(root, "wg")->count, 2);
	assert_string_equal(ytree_at(root, "static.peers.x.k", 0)->text, "1");
	assert_string_equal(ytree_at(root, "static.peers.x.j", 0)->text, "9");
	assert_int_equal(ytree_place(tree, ytree_at(root, "static.peers.x.k", 0)).order, 0);
	assert_string_equal(ytree_at(root, "static.peers.y.k", 0)->text, "2");
	assert_int_equal(ytree_get(root, "dns")->kind, YTREE_MAP);
	assert_int_equal(ytree_get(root, "new")->count, 1);
	assert_int_equal(ytree_at(root, "new.b[0]", 0)->count, 0);
	root = ytree_merge(root, parse(tree, "dns: null\nwg: 7\n"));
	assert_null(ytree_get(root, "dns"));
	assert_string_equal(ytree_get(root, "wg")->text, "7");
	assert_string_equal(ytree_get(root, "wg")->next->key, "static");
	ytree_free(tree);
}

/* Enough keys for the indexed way, with removals at both ends. */
static void test_merge_large(void **state)
{
	struct ytree *tree = ytree_new();
	struct str base = STR_INIT, over = STR_INIT;
	struct ytree_node *root;
	char key[16];

	(void)state;
	for (int i = 0; i < 100; i++) {
		str_addf(&base, "k%d: old\n", i);
		str_addf(&over, "k%d: %s\n", i + 50, i % 2 ? "new" : "~");
	}
	str_add(&over, "last: new\n");
	root = ytree_merge(NULL, parse(tree, str_text(&base)));
	root = ytree_merge(root, parse(tree, str_text(&over)));
	for (int i = 0; i < 150; i++) {
		const struct ytree_node *node;

		snprintf(key, sizeof(key), "k%d", i);
		node = ytree_get(root, key);
		if (i >= 50 && i % 2 == 0)
			assert_null(node);
		else
			assert_string_equal(node->text, i < 50 ? "old" : "new");
	}
	assert_int_equal(root->count, 50 + 50 + 1);
	str_free(&base);
	str_free(&over);
	ytree_free(tree);
}

static void test_limits(void **state)
{
	struct str s = STR_INIT;
	struct ytree *tree = ytree_new();

	(void)state;
	for (int i = 0; i < 31; i++)
		str_add(&s, "{a: ");
	str_add(&s, "1");
	for (int i = 0; i < 31; i++)
		str_addc(&s, '}');
	parse(tree, str_text(&s));
	ytree_free(tree);
	str_cut(&s, 0);
	for (int i = 0; i < 100; i++)
		str_add(&s, "{a: ");
	refuse(str_text(&s), s.len, "t.yaml:1:129: more than 32 levels of maps and lists inside "
	       "each other; no option is that deep");
	str_cut(&s, 0);
	for (int i = 0; i < 100000; i++)
		str_addc(&s, '[');
	refuse(str_text(&s), s.len, "t.yaml:1:33: more than 32 levels of maps and lists inside "
	       "each other; no option is that deep");
	str_cut(&s, 0);
	str_add(&s, "a: [");
	for (int i = 0; i < YTREE_MAX_NODES; i++)
		str_add(&s, i % 1000 ? "1," : "1,\n");
	str_add(&s, "]");
	refuse(str_text(&s), s.len, "t.yaml:401:1995: the configuration has more than 400000 "
	       "values; split it over several machines or leave some out");
	while (s.len <= YTREE_MAX_BYTES)
		str_add(&s, "# a comment that is as long as it is dull\n");
	refuse(str_text(&s), s.len, "t.yaml: the file is larger than 4 MiB; split it");
	str_free(&s);
}

static void test_bytes(void **state)
{
	(void)state;
	refuse("a: 1\nb: \0", 9, "t.yaml:2:4: a control character (byte 0x00, NUL); remove it");
	refuse("a: \"\\0\"\n", 8, "t.yaml:1:4: this value holds a NUL byte; take out the \\0");
	refuse("\"\\0\": 1\n", 8, "t.yaml:1:1: this key holds a NUL byte; take out the \\0");
	refuse("\xc3\xa9: \xff", 5, "t.yaml:1:4: byte 0xff is not UTF-8; save the file as UTF-8");
	refuse("\xff\xfe" "a\0", 4, "t.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8");
	refuse("a: \x1b[2J", 7, "t.yaml:1:4: a control character (byte 0x1b); remove it");
}

static void test_bom(void **state)
{
	struct ytree *tree = ytree_new();

	(void)state;
	assert_string_equal(ytree_at(parse(tree, "\xef\xbb\xbf" "a: 1\r\n"), "a", 0)->text, "1");
	ytree_free(tree);
}

static void test_overlay(void **state)
{
	static const char text[] = "wg: {}\nsystem: {}\ncoordinator: {}\n";
	struct ytree *tree = ytree_new();
	struct warren_err err = ERR_INIT;
	struct ytree_node *root;

	(void)state;
	assert_int_equal(ytree_parse(tree, "overlay", text, strlen(text), YTREE_OVERLAY, &root,
				     &err), -EINVAL);
	assert_int_equal(err.errors, 2);
	assert_string_equal(err_first(&err), "overlay:2:1: \"system\" cannot be set by a command; "
			    "write it into the configuration files");
	err_free(&err);
	ytree_free(tree);
}

/* A bad file leaves the tree usable: the next one is read, with the next index. */
static void test_after_error(void **state)
{
	struct ytree *tree = ytree_new();
	struct warren_err err = ERR_INIT;
	struct ytree_node *root;

	(void)state;
	assert_int_equal(ytree_parse(tree, "bad", "a: [", 4, 0, &root, &err), -EINVAL);
	root = parse(tree, "b: 1\n");
	assert_int_equal(root->file, 1);
	assert_string_equal(ytree_file(tree, root), "t.yaml");
	err_free(&err);
	ytree_free(tree);
}

static void test_many_errors(void **state)
{
	struct ytree *tree = ytree_new();
	struct warren_err err = ERR_INIT;
	struct str s = STR_INIT;
	struct ytree_node *root;

	(void)state;
	for (int i = 0; i < 50; i++)
		str_addf(&s, "k%d: *alias\n", i);
	assert_int_equal(ytree_parse(tree, "t", str_text(&s), s.len, 0, &root, &err), -EINVAL);
	assert_int_equal(err.errors, ERR_MAX);
	err_free(&err);
	str_free(&s);
	ytree_free(tree);
}

static void test_fd(void **state)
{
	static const char text[] = "a: 1\n";
	struct ytree *tree = ytree_new();
	struct warren_err err = ERR_INIT;
	struct ytree_node *root;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], text, strlen(text)), (int)strlen(text));
	close(fds[1]);
	assert_int_equal(ytree_parse_fd(tree, "pipe", fds[0], 0, &root, &err), 0);
	assert_string_equal(ytree_at(root, "a", 0)->text, "1");
	close(fds[0]);
	assert_int_equal(ytree_parse_fd(tree, "gone", fds[0], 0, &root, &err), -EBADF);
	assert_string_equal(err_first(&err), "gone: cannot be read: Bad file descriptor");
	err_free(&err);
	ytree_free(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_nulls),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_merge_large),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_bom),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_after_error),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
