/*
 * The pages of a login.
 */
#include "page.h"

#include <string.h>

#include <warren/net.h>

#include "../tailnet/tailnet.h"
#include "base/str.h"
#include "base/util.h"

static const char head[] =
	"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<meta name=\"robots\" content=\"noindex\">\n"
	"<style>:root{color-scheme:light dark}body{font:1.1rem/1.6 system-ui,sans-serif;"
	"max-width:38rem;margin:10vh auto;padding:0 1.5rem}pre{padding:1rem;overflow-x:auto;"
	"border:1px solid;border-radius:.3rem;user-select:all}dt{font-weight:bold}</style>\n";

/* Text between tags or in quotes. What would turn the line round is shown as a mark. */
static void add_text(struct str *out, const char *text)
{
	size_t len;

	for (; *text; text++) {
		switch (*text) {
		case '<':
			str_add(out, "&lt;");
			break;
		case '>':
			str_add(out, "&gt;");
			break;
		case '&':
			str_add(out, "&amp;");
			break;
		case '"':
			str_add(out, "&quot;");
			break;
		case '\'':
			str_add(out, "&#39;");
			break;
		default:
			/* U+202A..U+202E, U+2066..U+2069 */
			len = str_starts(text, "\xe2\x80") &&
			      (unsigned char)text[2] >= 0xaa && (unsigned char)text[2] <= 0xae ?
			      3 : str_starts(text, "\xe2\x81") &&
			      (unsigned char)text[2] >= 0xa6 && (unsigned char)text[2] <= 0xa9 ?
			      3 : 0;
			if (len || (unsigned char)*text < ' ' || *text == 0x7f)
				str_add(out, "&#xfffd;");
			else
				str_addc(out, *text);
			text += len ? len - 1 : 0;
		}
	}
}

/* What came from outside and is to be text: bytes that are not UTF-8 end it. */
static void add_foreign(struct str *out, const char *text)
{
	char shown[TAILNET_HOSTNAME + 1];

	str_copy(shown, sizeof(shown), text);
	shown[str_utf8_check(shown, strlen(shown))] = '\0';
	add_text(out, shown[0] ? shown : "(no name)");
}

static void write_waiting(const struct tailnet_pending *p, struct str *out)
{
	str_add(out, "<title>A device wants to join</title>\n</head>\n<body>\n<main>\n"
		"<h1>A device wants to join</h1>\n<dl>\n<dt>It calls itself</dt>\n<dd>");
	add_foreign(out, p->hostname);
	str_add(out, "</dd>\n");
	if (p->tags && p->tags->count) {
		str_add(out, "<dt>It asks for</dt>\n<dd>");
		for (uint32_t i = 0; i < p->tags->count; i++) {
			str_add(out, i ? ", " : "");
			add_foreign(out, p->tags->at[i]);
		}
		str_add(out, "</dd>\n");
	}
	str_add(out, "</dl>\n<p>If this is not a device in front of you, close this page: "
		"somebody else would get in.</p>\n"
		"<p>Whoever runs this network lets it in with</p>\n"
		"<pre><code>warren node approve ");
	add_text(out, p->code);
	str_add(out, "</code></pre>\n<p>The device goes on by itself then; this page can be "
		"closed. The code is good for 15 minutes.</p>\n");
}

void login_page_write(const struct tailnet_pending *pending, struct str *out)
{
	str_add(out, head);
	if (pending)
		write_waiting(pending, out);
	else
		str_add(out, "<title>This link is over</title>\n</head>\n<body>\n<main>\n"
			"<h1>This link is over</h1>\n<p>The device may be in already: look "
			"there. Else start again on the device; a link is good once, for 15 "
			"minutes.</p>\n");
	str_add(out, "</main>\n</body>\n</html>\n");
}

void login_page_reply(struct warren_exchange *x, const struct tailnet_pending *pending)
{
	static const struct warren_http_field fields[] = {
		{ "content-type", "text/html; charset=utf-8" },
		{ "content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; "
		  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'" },
		{ "cache-control", "no-store" },
		{ "referrer-policy", "no-referrer" },
		{ "x-content-type-options", "nosniff" },
	};
	AUTO(str_free) struct str page = STR_INIT;
	struct warren_http_head answer = {
		.size = sizeof(answer), .status = pending ? 200 : 404, .fields = fields,
		.n_fields = ARRAY_SIZE(fields),
	};

	warren_exchange_set(x, NULL, NULL);
	login_page_write(pending, &page);
	if (page.failed) {
		warren_exchange_reply(x, 500, "text/plain", "no memory\n", 10);
		return;
	}
	answer.length = (int64_t)page.len;
	if (warren_exchange_head(x, &answer) == 0 &&
	    warren_exchange_write(x, page.s, page.len) == 0)
		warren_exchange_end(x);
	else
		warren_exchange_cancel(x);
}
