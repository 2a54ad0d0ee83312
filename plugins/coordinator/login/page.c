/*
 * The pages of a login.
 */
#include "page.h"

#include <jansson.h>
#include <sodium.h>
#include <string.h>

#include <warren/net.h>

#include "../tailnet/tailnet.h"
#include "base/base64.h"
#include "base/str.h"
#include "base/util.h"
#include "desk.h"
#include "token.h"

static const char style[] =
	":root{color-scheme:light dark}body{font:1.1rem/1.6 system-ui,sans-serif;"
	"max-width:38rem;margin:10vh auto;padding:0 1.5rem}pre{padding:1rem;overflow-x:auto;"
	"border:1px solid;border-radius:.3rem;user-select:all}dt{font-weight:bold}"
	"button,a.go{display:inline-block;font:inherit;padding:.5rem 1rem;margin:0 1rem 1rem 0;"
	"border:1px solid;border-radius:.3rem;color:inherit;background:none;cursor:pointer;"
	"text-decoration:none}button:hover,a.go:hover{text-decoration:underline}"
	"button:focus-visible,a:focus-visible{outline:3px solid}.first{font-weight:bold}";

/* @title is ours. */
static void begin(const char *title, struct str *out)
{
	str_addf(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		 "<meta name=\"robots\" content=\"noindex\">\n<style>%s</style>\n"
		 "<title>%s</title>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n", style, title,
		 title);
}

static void end(struct str *out)
{
	str_add(out, "</main>\n</body>\n</html>\n");
}

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

static void write_device(const struct tailnet_pending *p, struct str *out)
{
	json_t *info = p->hostinfo ? json_loads(p->hostinfo, 0, NULL) : NULL;
	const char *os = json_string_value(json_object_get(info, "OS"));

	str_add(out, "<dl>\n<dt>It calls itself</dt>\n<dd>");
	add_foreign(out, p->hostname);
	str_add(out, "</dd>\n");
	if (os && os[0]) {
		str_add(out, "<dt>It runs</dt>\n<dd>");
		add_foreign(out, os);
		str_add(out, "</dd>\n");
	}
	if (p->tags && p->tags->count) {
		str_add(out, "<dt>It asks for</dt>\n<dd>");
		for (uint32_t i = 0; i < p->tags->count; i++) {
			str_add(out, i ? ", " : "");
			add_foreign(out, p->tags->at[i]);
		}
		str_add(out, "</dd>\n");
	}
	str_add(out, "</dl>\n");
	json_decref(info);
}

void login_page_waiting(const struct tailnet_pending *p, const char *provider, struct str *out)
{
	if (!p) {
		login_page_tell("This link is over", "The device may be in already: look there. "
				"Else start again on the device; a link is good once, for 15 "
				"minutes.", out);
		return;
	}
	begin("A device wants to join", out);
	write_device(p, out);
	str_add(out, "<p>If this is not a device in front of you, close this page: somebody else "
		"would get in.</p>\n");
	if (provider) {
		str_add(out, "<p><a class=\"go first\" href=\"/oidc/login/");
		add_text(out, p->code);
		str_add(out, "\">Sign in with ");
		add_foreign(out, provider);
		str_add(out, "</a></p>\n<p>The next page asks once more before the device is let "
			"in. This link is good for 15 minutes.</p>\n");
	} else {
		str_add(out, "<p>Whoever runs this network lets it in with</p>\n"
			"<pre><code>warren node approve ");
		add_text(out, p->code);
		str_add(out, "</code></pre>\n<p>The device goes on by itself then; this page can "
			"be closed. The code is good for 15 minutes.</p>\n");
	}
	end(out);
}

void login_page_confirm(const struct tailnet_pending *p, const struct login_user *user,
			const char *ticket, struct str *out)
{
	begin("Let this device in?", out);
	write_device(p, out);
	str_add(out, "<p>It will be a device of <strong>");
	add_foreign(out, user->login);
	str_add(out, "</strong> and reach all that you may reach.</p>\n<p>Did somebody send you "
		"here, or did you not just log in on that device? Then it is not yours: do not let "
		"it in.</p>\n<form method=\"post\" action=\"/oidc/confirm/");
	add_text(out, ticket);
	str_add(out, "\">\n<button class=\"first\" name=\"answer\" value=\"yes\">Let <em>");
	add_foreign(out, p->hostname);
	str_add(out, "</em> in</button>\n<button name=\"answer\" value=\"no\">It is not mine"
		"</button>\n</form>\n");
	end(out);
}

static void write_session(const struct login_check *check, struct str *out)
{
	const char *const rows[][2] = {
		{ "From", check->src }, { "To", check->dst }, { "As", check->login },
	};

	str_add(out, "<dl>\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		str_addf(out, "<dt>%s</dt>\n<dd>", rows[i][0]);
		add_foreign(out, rows[i][1]);
		str_add(out, "</dd>\n");
	}
	str_add(out, "</dl>\n");
}

void login_page_held(const struct login_check *check, const char *code, const char *provider,
		     struct str *out)
{
	if (!check) {
		login_page_tell("This link is over", "The SSH session was let in or refused "
				"already, or is older than 15 minutes. Else start it again.", out);
		return;
	}
	begin("An SSH session waits", out);
	write_session(check, out);
	str_add(out, "<p>If it was not you who started it, leave it: somebody else would get in."
		"</p>\n");
	if (provider) {
		str_add(out, "<p><a class=\"go first\" href=\"/oidc/check/");
		add_text(out, code);
		str_add(out, "\">Sign in with ");
		add_foreign(out, provider);
		str_add(out, "</a></p>\n<p>The next page asks once more before the session is let "
			"in. This link is good for 15 minutes.</p>\n");
	} else {
		str_add(out, "<p>Whoever runs this network lets it in with</p>\n"
			"<pre><code>warren node approve ");
		add_text(out, code);
		str_add(out, "</code></pre>\n<p>and refuses it with</p>\n"
			"<pre><code>warren node reject ");
		add_text(out, code);
		str_add(out, "</code></pre>\n<p>The session goes on by itself then; this page can "
			"be closed. The code is good for 15 minutes.</p>\n");
	}
	end(out);
}

void login_page_confirm_check(const struct login_check *check, const struct login_user *user,
			      const char *ticket, struct str *out)
{
	begin("Let this SSH session in?", out);
	write_session(check, out);
	str_add(out, "<p>It comes from a device of <strong>");
	add_foreign(out, user->login);
	str_add(out, "</strong>.</p>\n<p>Did somebody send you here, or did you not just start "
		"this session? Then it is not yours: do not let it in.</p>\n"
		"<form method=\"post\" action=\"/oidc/confirm/");
	add_text(out, ticket);
	str_add(out, "\">\n<button class=\"first\" name=\"answer\" value=\"yes\">Let it in"
		"</button>\n<button name=\"answer\" value=\"no\">It is not mine</button>\n"
		"</form>\n");
	end(out);
}

void login_page_done(const struct tailnet_node *node, const char *login, struct str *out)
{
	begin(node->authorized ? "The device is in" : "The device waits", out);
	str_add(out, "<p><strong>");
	add_foreign(out, node->name);
	str_add(out, node->user ? "</strong> is a device of <strong>" :
		"</strong> belongs to this network, by the word of <strong>");
	add_foreign(out, login);
	str_add(out, node->authorized ? "</strong> now. It goes on by itself; this page can be "
		"closed.</p>\n" : "</strong>, and new devices wait until whoever runs this network "
		"has let them in. It goes on by itself then; this page can be closed.</p>\n");
	end(out);
}

void login_page_tell(const char *title, const char *text, struct str *out)
{
	begin(title, out);
	str_add(out, "<p>");
	add_text(out, text);
	str_add(out, "</p>\n");
	end(out);
}

/*
 * ---- Answers ----
 */

/* Nothing may run, be loaded or frame this; of styles only ours. */
static void add_policy(struct str *out)
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	char text[BASE64_TEXT(sizeof(hash))];

	crypto_hash_sha256(hash, (const uint8_t *)style, sizeof(style) - 1);
	base64_encode(text, hash, sizeof(hash));
	str_addf(out, "default-src 'none'; style-src 'sha256-%s'; form-action 'self'; "
		 "base-uri 'none'; frame-ancestors 'none'", text);
}

static void send_head(struct warren_exchange *x, int status, const char *extra[2],
		      const char *cookie, const struct str *page)
{
	AUTO(str_free) struct str policy = STR_INIT;
	struct warren_http_field fields[] = {
		{ "content-type", "text/html; charset=utf-8" },
		{ "content-security-policy", "" },
		{ "cache-control", "no-store" },
		{ "referrer-policy", "no-referrer" },
		{ "x-content-type-options", "nosniff" },
		{ "", "" }, { "", "" },
	};
	struct warren_http_head answer = {
		.size = sizeof(answer), .status = status, .fields = fields, .n_fields = 5,
		.length = (int64_t)page->len,
	};

	add_policy(&policy);
	fields[1].value = str_text(&policy);
	if (extra[0])
		fields[answer.n_fields++] = (struct warren_http_field){ extra[0], extra[1] };
	if (cookie)
		fields[answer.n_fields++] = (struct warren_http_field){ "set-cookie", cookie };
	warren_exchange_set(x, NULL, NULL);
	if (policy.failed || page->failed)
		warren_exchange_reply(x, 500, "text/plain", "no memory\n", 10);
	else if (warren_exchange_head(x, &answer) == 0 &&
		 (!page->len || (warren_exchange_write(x, page->s, page->len) == 0 &&
				 warren_exchange_end(x) == 0)))
		return;
	else
		warren_exchange_cancel(x);
}

void login_page_send(struct warren_exchange *x, int status, const char *cookie,
		     const struct str *page)
{
	const char *none[2] = { NULL, NULL };

	send_head(x, status, none, cookie, page);
}

void login_page_redirect(struct warren_exchange *x, const char *url, const char *cookie)
{
	const char *location[2] = { "location", url };
	const struct str empty = STR_INIT;

	send_head(x, 302, location, cookie, &empty);
}
