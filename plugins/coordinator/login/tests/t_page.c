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
#include "../page.h"
#include "base/str.h"
#include "base/util.h"

static void expect(const struct tailnet_pending *p, const char *part, bool there)
{
	AUTO(str_free) struct str page = STR_INIT;

	login_page_write(p, &page);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waiting), cmocka_unit_test(foreign_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
