/*
 * login/page.h - the pages that a login's link leads to
 *
 * Plain HTML without script, image or anything else to load; whatever comes from a device or a
 * provider is escaped. The answer's fields forbid to frame it, to keep it, and to tell others the
 * link, which holds the code.
 */
#ifndef WARREN_COORDINATOR_LOGIN_PAGE_H
#define WARREN_COORDINATOR_LOGIN_PAGE_H

struct str;
struct tailnet_pending;
struct warren_exchange;

/* The whole document. @pending NULL: nobody waits under this link (any more). */
void login_page_write(const struct tailnet_pending *pending, struct str *out);
/* The answer to GET of the link. */
void login_page_reply(struct warren_exchange *x, const struct tailnet_pending *pending);

#endif
