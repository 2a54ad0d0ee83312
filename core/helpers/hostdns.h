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

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { HOSTDNS_TEXT_MAX = 64 << 10 };

/* Writes the sentence to @why and returns @result. */
int hostdns_fail(struct str *why, int result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Runs a program by its absolute path, with @in (or NULL) as standard input and all that it says
 * in @out. Its exit status, or -errno.
 */
int hostdns_run(const char *const argv[], const struct str *in, struct str *out);

/*
 * ---- words.c: what others say, as texts ----
 */
/* @line, or NULL: the first one of @*text, cut out of it, which then is what follows. */
char *hostdns_line(char **text);
/* The words after @key where a line begins with it as a word; else NULL. */
const char *hostdns_words(const char *line, const char *key);
bool hostdns_is_service(const char *address);	/* one of ours */
/* The bytes of an address as text. False: they are none. */
bool hostdns_address(int family, const void *bytes, size_t len, char text[INET6_ADDRSTRLEN]);

/* What others have said, gathered: servers in their order, search domains once each. */
struct hostdns_base {
	struct str servers, search;
};
void hostdns_base_add(struct hostdns_base *base, const char *line);
void hostdns_base_add_address(struct hostdns_base *base, int family, const void *bytes, size_t len);
/* Resolvers at loopback addresses most likely ask whom resolvconf names, so us. */
void hostdns_base_leave_out_loops(struct hostdns_base *base);
void hostdns_base_print(const struct hostdns_base *base, struct str *out);
void hostdns_base_free(struct hostdns_base *base);

#define RESOLVCONF_OURS "tun-warren."	/* how names begin that daemons of ours go by */

struct resolvconf_records {
	struct hostdns_base base;	/* of others */
	bool ours;			/* there is one of ours */
	char other[64];			/* one of another daemon's; "": none */
};
/* What `resolvconf -l` says, which is cut up. */
void resolvconf_records(char *text, const char *name, struct resolvconf_records *out);
/* The comments and options of @file, around the words of @record; both are cut up. */
void resolvconf_compose(char *file, char *record, struct str *out);

/* resolved is ahead of dns among the sources of host names (nsswitch.conf(5), which is cut up). */
bool resolved_is_source(char *nsswitch);
bool resolved_is_named(const struct str *text);	/* the file names it alone */

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
bool resolved_is_source_here(void);	/* by nsswitch.conf of this host */
/* 0; -ENOENT: it does not run, and need not. */
int resolved_read(const char *link, const struct str *text, struct hostdns_base *base, bool *ours,
		  struct str *why);
int resolved_set(const char *link, const struct str *text, struct str *why);
int resolved_undo(const char *link, struct str *why);

#endif
