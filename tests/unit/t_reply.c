/*
 * Replies: nesting, tables, derived text, and what happens when a command gets it wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <warren/plugin.h>

#include "base/str.h"
#include "engine/reply.h"

struct seen {
	struct str lines;		/* one after the other, each with a newline */
	unsigned ends;
	int exit;
};

static void on_line(void *arg, const char *json, size_t len)
{
	struct seen *seen = arg;

	str_addn(&seen->lines, json, len);
	str_addc(&seen->lines, '\n');
}

static void on_end(void *arg, struct warren_reply *reply, int exit)
{
	struct seen *seen = arg;

	assert_true(wcore_reply_ended(reply));
	seen->ends++;
	seen->exit = exit;
}

static const struct wcore_reply_sink sink = { .line = on_line, .end = on_end };

static struct warren_reply *reply_new(struct seen *seen, uint32_t flags)
{
	struct warren_reply *reply = wcore_reply_new(&sink, seen, flags, 80);

	assert_non_null(reply);
	return reply;
}

/* Ends @reply and compares all that was sent. */
static void expect(struct seen *seen, struct warren_reply *reply, const char *lines)
{
	if (reply)
		warren_reply_end(reply, 0, NULL);
	assert_int_equal(seen->ends, 1);
	assert_string_equal(str_text(&seen->lines), lines);
	str_free(&seen->lines);
	memset(seen, 0, sizeof(*seen));
}

#define END "{\"end\":{\"exit\":0}}\n"

static void test_data(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_JSON);

	(void)state;
	assert_true(warren_reply_json(reply));
	warren_reply_str(reply, "name", "gw-%d \"x\"\n", 7);
	warren_reply_open(reply, "peers", '[');
	warren_reply_open(reply, NULL, '{');
	warren_reply_int(reply, "rx", INT64_MIN);
	warren_reply_bool(reply, "up", true);
	warren_reply_close(reply);
	warren_reply_str(reply, NULL, "text");
	warren_reply_close(reply);
	warren_reply_open(reply, "empty", '{');
	warren_reply_close(reply);
	warren_reply_text(reply, "text is not wanted");
	expect(&seen, reply, "{\"data\":{\"name\":\"gw-7 \\\"x\\\"\\n\",\"peers\":[{\"rx\":"
	       "-9223372036854775808,\"up\":true},\"text\"],\"empty\":{}}}\n" END);
}

static void test_stream_of_documents(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_JSON);

	(void)state;
	for (int i = 0; i < 2; i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_int(reply, "n", i);
		warren_reply_close(reply);
	}
	expect(&seen, reply, "{\"data\":{\"n\":0}}\n{\"data\":{\"n\":1}}\n" END);
}

static void test_bytes_that_are_no_text(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_JSON);

	(void)state;
	warren_reply_str(reply, "name", "a\xff" "b");
	expect(&seen, reply, "{\"data\":{\"name\":\"a\\ufffdb\"}}\n" END);

	/* What a peer calls itself must not move the cursor or rename the terminal. */
	reply = reply_new(&seen, 0);
	warren_reply_text(reply, "a\033]0;x\007b\rc\xc2\x9b" "d");
	expect(&seen, reply, "{\"text\":\"a?]0;x?b?c?d\"}\n" END);
}

static void test_colours(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_COLOUR);

	(void)state;
	warren_reply_text(reply, "\033[1;31mbad\033[0m");
	expect(&seen, reply, "{\"text\":\"\\u001b[1;31mbad\\u001b[0m\"}\n" END);
	reply = reply_new(&seen, 0);
	warren_reply_text(reply, "\033[1;31mbad\033[0m \033[2J \033[");
	expect(&seen, reply, "{\"text\":\"bad ?[2J ?[\"}\n" END);
}

static void test_table(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_COLOUR);

	(void)state;
	warren_reply_text(reply, "first");
	warren_reply_text(reply, "NAME\tADDRESS\tSTATE\nb\t10.0.0.1\tup");
	warren_reply_text(reply, "\033[32mlonger\xc3\xa9\033[0m\t\tdown");
	warren_reply_text(reply, "last");
	expect(&seen, reply, "{\"text\":\"first\"}\n"
	       "{\"text\":\"NAME     ADDRESS   STATE\"}\n"
	       "{\"text\":\"b        10.0.0.1  up\"}\n"
	       "{\"text\":\"\\u001b[32mlonger\xc3\xa9\\u001b[0m            down\"}\n"
	       "{\"text\":\"last\"}\n" END);
}

static void test_derived_text(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);

	(void)state;
	warren_reply_str(reply, "key", "x");
	warren_reply_bool(reply, "long-name", false);
	warren_reply_open(reply, "peers", '[');
	for (int i = 0; i < 2; i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "name", "p%d", i);
		warren_reply_int(reply, "rx", i * 1000);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	expect(&seen, reply, "{\"text\":\"key:        x\"}\n{\"text\":\"long-name:  no\"}\n"
	       "{\"text\":\"peers:\"}\n{\"text\":\"  NAME  RX\"}\n{\"text\":\"  p0    0\"}\n"
	       "{\"text\":\"  p1    1000\"}\n" END);
}

static void test_text_replaces_data(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);

	(void)state;
	warren_reply_str(reply, "key", "x");
	warren_reply_text(reply, "one\n\ntwo\n");
	warren_reply_str(reply, "more", "y");
	expect(&seen, reply,
	       "{\"text\":\"one\"}\n{\"text\":\"\"}\n{\"text\":\"two\"}\n" END);

	/* And in JSON form text becomes data where there is none. */
	reply = reply_new(&seen, WCORE_REPLY_JSON);
	warren_reply_text(reply, "one");
	warren_reply_text(reply, "two");
	expect(&seen, reply, "{\"data\":{\"text\":\"one\\ntwo\"}}\n" END);
}

/* Aside from what scripts read: in both forms, at once, and no text to derive data from. */
static void test_notes_and_hints(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);

	(void)state;
	warren_reply_text(reply, "a\tb");
	warren_reply_note(reply, "open\n\t%s\033[2J", "http://x");
	warren_reply_hint(reply, "it goes on");
	warren_reply_text(reply, "c");
	expect(&seen, reply, "{\"text\":\"a  b\"}\n{\"note\":\"open\\n\\thttp://x?[2J\"}\n"
	       "{\"hint\":\"it goes on\"}\n{\"text\":\"c\"}\n" END);
	reply = reply_new(&seen, WCORE_REPLY_JSON);
	warren_reply_note(reply, "wait");
	warren_reply_int(reply, "n", 1);
	expect(&seen, reply, "{\"note\":\"wait\"}\n{\"data\":{\"n\":1}}\n" END);
	reply = reply_new(&seen, WCORE_REPLY_JSON);
	wcore_reply_want_indent(reply);
	warren_reply_int(reply, "n", 1);
	expect(&seen, reply, "{\"data\":{\"n\":1},\"indent\":true}\n" END);
}

static void test_parts(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);

	(void)state;
	warren_reply_text(reply, "head");
	wcore_reply_enter(reply, "wg", true);
	warren_reply_text(reply, "peer");
	assert_true(wcore_reply_leave(reply));
	wcore_reply_enter(reply, "silent", true);
	assert_true(wcore_reply_leave(reply));
	wcore_reply_enter(reply, "data", true);
	warren_reply_int(reply, "n", 1);
	assert_true(wcore_reply_leave(reply));
	expect(&seen, reply, "{\"text\":\"head\"}\n{\"text\":\"\"}\n{\"text\":\"wg:\"}\n"
	       "{\"text\":\"peer\"}\n{\"text\":\"\"}\n{\"text\":\"data:\"}\n"
	       "{\"text\":\"  n:  1\"}\n" END);

	reply = reply_new(&seen, WCORE_REPLY_JSON);
	wcore_reply_enter(reply, "wg", true);
	warren_reply_text(reply, "only text");
	assert_true(wcore_reply_leave(reply));
	wcore_reply_enter(reply, "open", true);
	warren_reply_open(reply, "list", '[');
	assert_false(wcore_reply_leave(reply));
	warren_reply_int(reply, "after", 1);
	expect(&seen, reply, "{\"data\":{\"wg\":{\"text\":\"only text\"},"
	       "\"open\":{\"list\":[]},\"after\":1}}\n" END);
}

/* A part must not close what the core opened. */
static void test_part_closes_too_much(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_JSON);

	(void)state;
	wcore_reply_enter(reply, "wg", false);
	warren_reply_close(reply);
	assert_false(wcore_reply_leave(reply));
	warren_reply_end(reply, 0, NULL);
	assert_int_equal(seen.exit, 1);
	assert_non_null(strstr(str_text(&seen.lines), "closing bracket"));
	str_free(&seen.lines);
}

static void key_in_list(struct warren_reply *reply)
{
	warren_reply_open(reply, "list", '[');
	warren_reply_int(reply, "key", 1);
}

static void no_key_in_object(struct warren_reply *reply)
{
	warren_reply_open(reply, "object", '{');
	warren_reply_int(reply, NULL, 1);
}

static void no_key_at_top(struct warren_reply *reply)
{
	warren_reply_int(reply, NULL, 1);
}

static void too_many_closes(struct warren_reply *reply)
{
	warren_reply_int(reply, "key", 1);
	warren_reply_close(reply);
}

static void never_closed(struct warren_reply *reply)
{
	warren_reply_open(reply, "object", '{');
}

static void odd_bracket(struct warren_reply *reply)
{
	warren_reply_open(reply, "object", '(');
}

static void too_deep(struct warren_reply *reply)
{
	for (int i = 0; i <= WCORE_REPLY_DEPTH; i++)
		warren_reply_open(reply, i == 0 ? "list" : NULL, '[');
}

static void too_large(struct warren_reply *reply)
{
	static char big[1 << 20];

	memset(big, 'x', sizeof(big) - 1);
	for (int i = 0; i < 20; i++)
		warren_reply_str(reply, "key", "%s", big);
}

/* Half an answer is never taken for a whole one. */
static void test_mistakes(void **state)
{
	static const struct {
		void (*make)(struct warren_reply *reply);
		const char *says;
	} mistakes[] = {
		{ key_in_list, "a member with a key inside a list" },
		{ no_key_in_object, "a member without a key inside an object" },
		{ no_key_at_top, "a value without a key outside" },
		{ too_many_closes, "a closing bracket without" },
		{ never_closed, "that was never closed" },
		{ odd_bracket, "neither { nor [" },
		{ too_deep, "nested too deeply" },
		{ too_large, "larger than 16 MiB" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct seen seen = { 0 };
		struct warren_reply *reply = reply_new(&seen, WCORE_REPLY_JSON);

		mistakes[i].make(reply);
		warren_reply_str(reply, "more", "dropped");
		warren_reply_end(reply, 0, NULL);
		assert_int_equal(seen.ends, 1);
		assert_int_equal(seen.exit, 1);
		if (!strstr(str_text(&seen.lines), mistakes[i].says))
			fail_msg("%s: %s", mistakes[i].says, str_text(&seen.lines));
		assert_null(strstr(str_text(&seen.lines), "\"data\""));
		str_free(&seen.lines);
	}
}

static void test_end(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);

	(void)state;
	wcore_reply_name(reply, "wg show");
	wcore_reply_ref(reply);
	warren_reply_end(reply, 3, "no \033[1msuch\033[0m peer\r\nwhat now");
	warren_reply_end(reply, 0, NULL);
	warren_reply_text(reply, "too late");
	assert_int_equal(seen.exit, 3);
	wcore_reply_unref(reply);
	expect(&seen, NULL, "{\"end\":{\"exit\":3,\"error\":"
	       "\"warren wg show: no such peer?\\nwhat now\"}}\n");
}

static void on_cancel(struct warren_reply *reply, void *arg)
{
	unsigned *cancels = arg;

	(void)reply;
	(*cancels)++;
}

static void test_hang_up(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);
	unsigned cancels = 0;

	(void)state;
	warren_reply_on_cancel(reply, on_cancel, &cancels);
	warren_reply_progress(reply, 1, 2, "files");
	wcore_reply_ref(reply);
	wcore_reply_hang_up(reply);
	wcore_reply_hang_up(reply);
	assert_int_equal(cancels, 1);
	/* Whether its command says so or not: nobody keeps it any longer. */
	assert_true(wcore_reply_ended(reply));
	wcore_reply_unref(reply);
	/* The client is gone: nothing after that, not even the end. */
	assert_int_equal(seen.ends, 0);
	assert_string_equal(str_text(&seen.lines),
			    "{\"progress\":{\"done\":1,\"total\":2,\"unit\":\"files\"}}\n");
	str_free(&seen.lines);
}

static void test_descriptors(void **state)
{
	struct seen seen = { 0 };
	struct warren_reply *reply = reply_new(&seen, 0);
	int ends[2], fd;
	char byte;

	(void)state;
	assert_return_code(pipe(ends), 0);
	assert_int_equal(wcore_reply_add_fd_take(reply, "file", ends[1]), 0);
	assert_true(wcore_reply_has_fd(reply, "file"));
	assert_false(wcore_reply_has_fd(reply, "other"));
	assert_true(warren_reply_take_fd(reply, "other") < 0);
	fd = warren_reply_take_fd(reply, "file");
	assert_int_equal(fd, ends[1]);
	assert_true(warren_reply_take_fd(reply, "file") < 0);
	/* One that nobody takes is closed with the reply: the pipe ends. */
	assert_int_equal(wcore_reply_add_fd_take(reply, "file", fd), 0);
	expect(&seen, reply, END);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

/* The same bytes whether the head was written to the answer or to a draft of it. */
static void drafted(uint32_t flags, bool draft, void (*head)(struct warren_reply *),
		    struct seen *seen)
{
	struct warren_reply *reply = reply_new(seen, flags), *part = reply;

	if (draft)
		part = wcore_reply_draft(reply);
	assert_non_null(part);
	head(part);
	if (draft) {
		wcore_reply_draft_end(part);
		wcore_reply_adopt(reply, part);
		wcore_reply_unref(part);
	}
	warren_reply_open(reply, "daemon", '{');
	warren_reply_int(reply, "pid", 7);
	warren_reply_close(reply);
	warren_reply_text(reply, "the rest");
	warren_reply_end(reply, 0, NULL);
}

static void head_of_both(struct warren_reply *reply)
{
	warren_reply_text(reply, "a\tb");
	warren_reply_text(reply, "long\tc");
	warren_reply_str(reply, "Version", "1");
	warren_reply_open(reply, "Peer", '{');
	warren_reply_close(reply);
}

static void head_of_text(struct warren_reply *reply)
{
	warren_reply_text(reply, "one\ntwo");
}

static void head_of_data(struct warren_reply *reply)
{
	warren_reply_str(reply, "Version", "1");
}

static void head_unclosed(struct warren_reply *reply)
{
	warren_reply_open(reply, "Peer", '{');
}

static void test_drafts(void **state)
{
	static void (*const heads[])(struct warren_reply *) = {
		head_of_both, head_of_text, head_of_data,
	};
	struct seen whole = { 0 }, seen = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		for (uint32_t json = 0; json <= WCORE_REPLY_JSON; json += WCORE_REPLY_JSON) {
			drafted(json, false, heads[i], &whole);
			drafted(json, true, heads[i], &seen);
			expect(&seen, NULL, str_text(&whole.lines));
			str_free(&whole.lines);
			memset(&whole, 0, sizeof(whole));
		}
	}
	drafted(WCORE_REPLY_JSON, true, head_unclosed, &seen);
	assert_non_null(strstr(str_text(&seen.lines), "never closed"));
	assert_int_equal(seen.exit, 1);
	str_free(&seen.lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_notes_and_hints),
		cmocka_unit_test(test_stream_of_documents),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_colours),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_derived_text),
		cmocka_unit_test(test_text_replaces_data),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_part_closes_too_much),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_drafts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
