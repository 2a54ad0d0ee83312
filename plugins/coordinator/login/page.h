/*
 * login/page.h - the pages that a login's link leads to
 *
 * Plain HTML without script, image or anything else to load; whatever comes from a device or a
 * provider is escaped. The answer's fields forbid to frame it, to keep it, and to tell others the
 * link, which holds the code.
 */
#ifndef WARREN_COORDINATOR_LOGIN_PAGE_H
#define WARREN_COORDINATOR_LOGIN_PAGE_H

#include <stdbool.h>

struct login_check;
struct login_user;
struct str;
struct tailnet_node;
struct tailnet_pending;
struct warren_exchange;

/*
 * Whole documents. The link: @pending NULL: nobody waits under it (any more). @provider is where
 * users sign in, as text; NULL: the operator lets them in.
 */
void login_page_waiting(const struct tailnet_pending *pending, const char *provider,
			struct str *out);
/* Back from the provider: names the device, and asks. @ticket is the last part of the address. */
void login_page_confirm(const struct tailnet_pending *pending, const struct login_user *user,
			const char *ticket, struct str *out);
/*
 * The same for an SSH session that is held, @check NULL: there is none. @provider NULL: the
 * operator lets it in.
 */
void login_page_held(const struct login_check *check, const char *code, const char *provider,
		     struct str *out);
void login_page_confirm_check(const struct login_check *check, const struct login_user *user,
			      const char *ticket, struct str *out);
/* The device is in; or, not authorized yet, waits for the operator. */
void login_page_done(const struct tailnet_node *node, const char *login, struct str *out);
/* @title is ours; @text may be others'. */
void login_page_tell(const char *title, const char *text, struct str *out);

/* Answers with one of these; @cookie (NULL: none) is the value of Set-Cookie. */
void login_page_send(struct warren_exchange *x, int status, const char *cookie,
		     const struct str *page);
/* Sends the browser to @url. */
void login_page_redirect(struct warren_exchange *x, const char *url, const char *cookie);

#endif
