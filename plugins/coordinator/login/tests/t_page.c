/*
 * The pages of a login: what a device says of itself is text and nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../tailnet/tailnet.h"
#include "../desk_impl.h"
#include "../page.h"
#include "../token.h"
#include "base/str.h"
#include "base/util.h"

static void expect(const struct tailnet_pending *p, const char *part, bool there)
{
	AUTO(str_free) struct str page = STR_INIT;

	login_page_waiting(p, NULL, &page);
	assert_false(page.failed);
	if (!!strstr(str_text(&page), part) != there)
		fail_msg("\"%s\" is %s in: %s", part, there ? "not" : "", str_text(&page));
}

static void waiting(void **state)
{
	static const char *const tags[] = { "tag:a", "tag:<b>" };
	static const struct tailnet_strings list = { 2, tags };
	const struct tailnet_pending p = {
		.code = "0123456789abcdef01234567", .hostname = "phone", .tags = &list,
	};

	(void)state;
	expect(&p, "<dd>phone</dd>", true);
	expect(&p, "warren node approve 0123456789abcdef01234567<", true);
	expect(&p, "tag:a, tag:&lt;b&gt;<", true);
	expect(&p, "<html lang=\"en\">", true);
	expect(NULL, "This link is over", true);
	expect(NULL, "approve", false);
}

static void part_of(struct str *page, const char *part, bool there)
{
	assert_false(page->failed);
	if (!!strstr(str_text(page), part) != there)
		fail_msg("\"%s\" is %s in: %s", part, there ? "not" : "", str_text(page));
}

static void with_a_provider(void **state)
{
	const struct tailnet_pending p = {
		.code = "0123456789abcdef01234567", .hostname = "<phone>",
		.hostinfo = "{\"OS\":\"iOS<\"}",
	};
	const struct login_user user = { .login = (char *)"a<b@example.com" };
	struct tailnet_node node = { .name = "phone", .user = 1, .authorized = true };
	AUTO(str_free) struct str link = STR_INIT, question = STR_INIT, done = STR_INIT;
	AUTO(str_free) struct str waits = STR_INIT, told = STR_INIT;

	(void)state;
	login_page_waiting(&p, "id.example.com", &link);
	part_of(&link, "href=\"/oidc/login/0123456789abcdef01234567\">Sign in with "
		"id.example.com</a>", true);
	part_of(&link, "<dd>iOS&lt;</dd>", true);
	part_of(&link, "warren node approve", false);
	login_page_confirm(&p, &user, "ticket", &question);
	part_of(&question, "<form method=\"post\" action=\"/oidc/confirm/ticket\">", true);
	part_of(&question, "value=\"yes\">Let <em>&lt;phone&gt;</em> in</button>", true);
	part_of(&question, "value=\"no\">It is not mine</button>", true);
	part_of(&question, "<strong>a&lt;b@example.com</strong>", true);
	part_of(&question, "0123456789abcdef", false);	/* the code is not for this page */
	login_page_done(&node, user.login, &done);
	part_of(&done, "<h1>The device is in</h1>", true);
	node.authorized = false;
	login_page_done(&node, user.login, &waits);
	part_of(&waits, "<h1>The device waits</h1>", true);
	login_page_tell("No", "a <b>: \"c\"", &told);
	part_of(&told, "<p>a &lt;b&gt;: &quot;c&quot;</p>", true);
}

static void foreign_names(void **state)
{
	static const struct { const char *name, *shown; } cases[] = {
		{ "<script>alert(1)</script>", "<dd>&lt;script&gt;alert(1)&lt;/script&gt;</dd>" },
		{ "a\" onload='x' &amp;", "<dd>a&quot; onload=&#39;x&#39; &amp;amp;</dd>" },
		{ "", "<dd>(no name)</dd>" },
		{ "h\xc3\xa9 \xf0\x9f\x90\xb0", "<dd>h\xc3\xa9 \xf0\x9f\x90\xb0</dd>" },
		{ "ok\xff<", "<dd>ok</dd>" },
		{ "a\nb\x1b[31m", "<dd>a&#xfffd;b&#xfffd;[31m</dd>" },
		{ "x\xe2\x80\xaegnp", "<dd>x&#xfffd;gnp</dd>" },
		{ "x\xe2\x81\xa9y", "<dd>x&#xfffd;y</dd>" },
		{ "x\xe2\x80\x93y", "<dd>x\xe2\x80\x93y</dd>" },
		{ "cut\xe2\x80", "<dd>cut</dd>" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tailnet_pending p = { .code = "c", .hostname = cases[i].name };

		expect(&p, cases[i].shown, true);
	}
}

static void sessions(void **state)
{
	const struct login_check check = { .src = "near", .dst = "far", .login = "<root>" };
	const struct login_user user = { .login = (char *)"a<b@example.com" };
	AUTO(str_free) struct str link = STR_INIT, bare = STR_INIT, over = STR_INIT;
	AUTO(str_free) struct str question = STR_INIT;

	(void)state;
	login_page_held(&check, "0123456789abcdef01234567", "id.example.com", &link);
	part_of(&link, "<dt>From</dt>\n<dd>near</dd>\n<dt>To</dt>\n<dd>far</dd>\n<dt>As</dt>\n"
		"<dd>&lt;root&gt;</dd>", true);
	part_of(&link, "href=\"/oidc/check/0123456789abcdef01234567\">Sign in with "
		"id.example.com</a>", true);
	part_of(&link, "warren node", false);
	login_page_held(&check, "0123456789abcdef01234567", NULL, &bare);
	part_of(&bare, "warren node approve 0123456789abcdef01234567<", true);
	part_of(&bare, "warren node reject 0123456789abcdef01234567<", true);
	part_of(&bare, "/oidc/", false);
	login_page_held(NULL, "", NULL, &over);
	part_of(&over, "<h1>This link is over</h1>", true);
	login_page_confirm_check(&check, &user, "ticket", &question);
	part_of(&question, "<form method=\"post\" action=\"/oidc/confirm/ticket\">", true);
	part_of(&question, "<strong>a&lt;b@example.com</strong>", true);
	part_of(&question, "value=\"yes\">Let it in</button>", true);
}

/* A provider that was asked for a new sign-in and says when the last one was. */
static void signed_in_anew(void **state)
{
	static const struct { const char *claims; bool anew, fresh; } cases[] = {
		{ "{\"auth_time\":1000}", true, true },
		{ "{\"auth_time\":940}", true, true },		/* clocks differ */
		{ "{\"auth_time\":939}", true, false },
		{ "{\"auth_time\":939}", false, true },		/* a device's login */
		{ "{\"auth_time\":\"1000\"}", true, false },
		{ "{\"auth_time\":null}", true, false },
		{ "{}", true, true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct visit v = { .flow = { .anew = cases[i].anew,
					     .until = 1000 + LOGIN_FLOW_SECONDS } };

		v.claims = json_loads(cases[i].claims, 0, NULL);
		assert_non_null(v.claims);
		if (check_is_fresh(&v) != cases[i].fresh)
			fail_msg("case %zu", i);
		json_decref(v.claims);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waiting), cmocka_unit_test(with_a_provider),
		cmocka_unit_test(foreign_names), cmocka_unit_test(sessions),
		cmocka_unit_test(signed_in_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
