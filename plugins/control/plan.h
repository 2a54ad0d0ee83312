/*
 * plan.h - ControlDialPlan (control-protocol.md 3.5): where else the control server can be reached
 *
 * The server tells it while we are connected, for when its name does not resolve or does not lead
 * to it. It is no authority: what is found there must have the key that we know the server by. The
 * stock client keeps it for as long as it runs; we also keep it on disk, with the login.
 */
#ifndef CTL_PLAN_H
#define CTL_PLAN_H

#include <jansson.h>

#include <warren/plugin.h>

enum { CTL_PLAN_MAX = 16, CTL_PLAN_HOST = 256 };

struct ctl_dial_candidate {		/* as the server sends it */
	struct warren_addr ip;		/* family 0: none */
	const char *ace_host;		/* "": none */
	uint64_t delay, timeout;	/* microseconds; 0: none given */
	int32_t priority;
};

struct ctl_plan_way {			/* a candidate that makes sense */
	struct warren_addr ip;		/* of the server, or of @ace; family 0: resolve @ace */
	char ace[CTL_PLAN_HOST];	/* HTTPS proxy to CONNECT through; "": none */
	uint64_t delay, timeout;	/* microseconds */
	int32_t priority;
};
struct ctl_plan {
	uint32_t n;
	struct ctl_plan_way ways[CTL_PLAN_MAX];	/* in the order to try them */
};

struct ctl_parse;
/* The object ControlDialPlan; *@n candidates in @p's arena. */
struct ctl_dial_candidate *ctl_plan_parse(struct ctl_parse *p, const json_t *o, uint32_t *n);

/*
 * Takes over the candidates that make sense for a server that the configuration calls @host, the
 * first CTL_PLAN_MAX by delay, then priority. Returns how many were left out. Not: what is no host
 * name or no address of one host; and this host or its link, unless @host is such a one.
 */
uint32_t ctl_plan_set(struct ctl_plan *plan, const char *host,
		      const struct ctl_dial_candidate *candidates, uint32_t n);
bool ctl_plan_equal(const struct ctl_plan *a, const struct ctl_plan *b);
/* For a document, in the server's form; NULL: no memory. */
json_t *ctl_plan_json(const struct ctl_plan *plan);
/* The reverse, validated as if the server had sent it; false: @o is no plan, and @plan is empty. */
bool ctl_plan_load(struct ctl_plan *plan, const char *host, const json_t *o);

/* Microseconds that all ways of it may take, at least 5 s and at most 55 s. */
uint64_t ctl_plan_time(const struct ctl_plan *plan);

/* A host by address that is not of the internet, or "localhost" (section 3.5, the row "never"). */
bool ctl_host_is_private(const char *host);

#endif
