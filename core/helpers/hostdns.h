/*
 * helpers/hostdns.h - warren-hostdns: whoever keeps the host's resolver configuration
 *
 * A program that the monitor starts as root, for one thing each time:
 *	read NAME LINK		who keeps it, and what it would be without us
 *	set WHO NAME LINK	what stands on standard input counts from now on
 *	undo WHO NAME LINK	not any more; may be done twice
 * NAME is ours, and no other daemon's, on this host; LINK our interface, or "-". The configuration
 * has the form of resolv.conf(5). For `read`, standard input is what /etc/resolv.conf would be
 * without us, and the answer is a line "by WHO" and, unless that is the file alone, a line "ours
 * yes" or "ours no" and the configuration without us. Exit status 0; else standard output is a
 * sentence for the operator.
 */
#ifndef WARREN_HELPERS_HOSTDNS_H
#define WARREN_HELPERS_HOSTDNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { HOSTDNS_TEXT_MAX = 64 << 10 };

/* Writes the sentence to @why and returns @result. */
int hostdns_fail(struct str *why, int result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* @line, or NULL: the first one of @*text, cut out of it, which then is what follows. */
char *hostdns_line(char **text);
/* The words after @key where a line begins with it as a word; else NULL. */
const char *hostdns_words(const char *line, const char *key);
bool hostdns_is_service(const char *address);	/* one of ours */

/*
 * Runs a program by its absolute path, with @in (or NULL) as standard input and all that it says
 * in @out. Its exit status, or -errno.
 */
int hostdns_run(const char *const argv[], const struct str *in, struct str *out);

/* What others have said, gathered: servers in their order, search domains once each. */
struct hostdns_base {
	struct str servers, search;
};
void hostdns_base_add(struct hostdns_base *base, const char *line);
void hostdns_base_free(struct hostdns_base *base);

/*
 * ---- resolvconf.c: the program of that name, Debian's own or openresolv ----
 */
/* 0; -ENOENT: there is none that is known. */
int resolvconf_read(const char *name, struct hostdns_base *base, bool *ours, struct str *why);
int resolvconf_set(const char *name, const struct str *text, struct str *why);
int resolvconf_undo(const char *name, struct str *why);
/* Called by Debian's after each change: what is ours alone counts, if there is any. */
int resolvconf_hook(struct str *why);
bool resolvconf_is_hook(const char *program);

/*
 * ---- resolved.c: systemd-resolved ----
 */
/* Programs of this host ask it, where @text is what /etc/resolv.conf would be without us. */
bool resolved_is_asked(const struct str *text);
/* NetworkManager, if it runs, tells it of resolvers, and nobody else. */
bool resolved_is_fed(void);
/* 0; -ENOENT: it does not run, and need not. */
int resolved_read(const char *link, const struct str *text, struct hostdns_base *base, bool *ours,
		  struct str *why);
int resolved_set(const char *link, const struct str *text, struct str *why);
int resolved_undo(const char *link, struct str *why);

#endif
