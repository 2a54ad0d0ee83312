/*
 * parts.h - what a network map has beside nodes: filters, DNS, relays, SSH policy, messages
 *
 * Each part is an immutable object with its own memory, shared by the snapshots that have it. The
 * JSON that it was made from is kept in it: the map on disk is written from that.
 * Reference counts: any thread. Making parts: the lane.
 */
#ifndef CTL_PARTS_H
#define CTL_PARTS_H

#include <stdatomic.h>

#include "base/str.h"
#include "json.h"
#include "map.h"

struct ctl_part {			/* the first member of each */
	atomic_uint refs;
	struct arena arena;		/* all that the part points to */
};
/* Zeroed, with one reference. NULL: no memory. */
void *ctl_part_new(size_t size);
void *ctl_part_ref(void *part);		/* NULL is allowed */
void ctl_part_unref(void *part);	/* NULL is allowed */

struct ctl_text {			/* the domain */
	struct ctl_part part;
	const char *text;
};

/*
 * ---- Packet filters ----
 */

struct ctl_filter {			/* one name of PacketFilters */
	struct ctl_part part;
	const char *name, *json;
	const struct warren_filter_rule *rules;
	uint32_t n_rules, n_ips;
	bool obsolete;			/* SrcBits or Bits occur: no filter at all is good then */
};

/* Collects the rules of one filter, one at a time. */
struct ctl_filter_build {
	struct ctl_filter *filter;	/* NULL: none under way */
	struct warren_filter_rule *rules;
	uint32_t n_rules, room, rules_max, ips_max, seen;
	struct str json;
};
/* 0 or -ENOMEM. */
int ctl_filter_begin(struct ctl_filter_build *build, const char *name, uint32_t rules_max,
		     uint32_t ips_max);
/*
 * The next rule; a bad one or a bad address is told by @p and left out. 0, -ENOMEM, or -EMSGSIZE
 * for a limit.
 */
int ctl_filter_rule(struct ctl_filter_build *build, struct ctl_parse *p, const json_t *o,
		    const char *text, size_t len);
/* The filter, a reference for the caller; NULL: no memory. */
struct ctl_filter *ctl_filter_end(struct ctl_filter_build *build);
void ctl_filter_abort(struct ctl_filter_build *build);

struct ctl_filters {			/* all names, in order */
	struct ctl_part part;
	struct ctl_filter **named;
	uint32_t n_named;
	const struct warren_filter_rule *rules;	/* of all; none when one is obsolete */
	uint32_t n_rules;
};
struct ctl_filter_change {
	const char *name;		/* "*" without a filter: all that are there */
	struct ctl_filter *filter;	/* NULL: delete */
};
/* @before (or NULL) with the changes in order; NULL: no memory, or -EMSGSIZE in @result. */
struct ctl_filters *ctl_filters_new(const struct ctl_filters *before,
				    const struct ctl_filter_change *changes, uint32_t n,
				    const struct ctl_map_limits *limits, int *result);
void ctl_filters_unref(struct ctl_filters *filters);

/*
 * ---- The others ----
 *
 * NULL: @p says what is wrong with the whole; elements that are bad are told and left out.
 */

struct ctl_dns {
	struct ctl_part part;
	struct warren_dns dns;
	const char *json;
};
struct ctl_dns *ctl_dns_new(struct ctl_parse *p, const json_t *o, const char *text, size_t len);

struct ctl_relays {
	struct ctl_part part;
	const struct warren_relay_region *regions;
	uint32_t n_regions;
	const char *regions_json, *params_json;	/* NULL: never told */
};
/* What @o does not have is that of @before (or NULL). */
struct ctl_relays *ctl_relays_new(struct ctl_parse *p, const json_t *o,
				  const struct ctl_relays *before);

struct ctl_ssh {
	struct ctl_part part;
	const struct warren_ssh_rule *rules;
	uint32_t n_rules;
	const char *json;
};
struct ctl_ssh *ctl_ssh_new(struct ctl_parse *p, const json_t *o, const char *text, size_t len);

struct ctl_message {			/* DisplayMessages */
	const char *id, *json, *sentence;
};
struct ctl_health {
	struct ctl_part part;
	const char *const *health;	/* the old style, when there are no messages */
	uint32_t n_health;
	const struct ctl_message *messages;	/* sorted by id */
	uint32_t n_messages;
	const char *const *sentences;	/* what is in force */
	uint32_t n_sentences;
};
/* @health or @messages may be NULL: as @before (or NULL) has them. */
struct ctl_health *ctl_health_new(struct ctl_parse *p, const json_t *health,
				  const json_t *messages, const struct ctl_health *before);

#endif
