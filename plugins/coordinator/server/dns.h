/*
 * server/dns.h - what clients are told of DNS
 */
#ifndef WARREN_COORDINATOR_DNS_H
#define WARREN_COORDINATOR_DNS_H

#include <jansson.h>

#include <warren/plugin.h>

#include "../tailnet/tailnet.h"

struct str;
struct coord_dns;

enum { COORD_DNS_OPTIONS = 7, COORD_DNS_RECORDS = 10000 };
extern const struct warren_option coord_dns_options[COORD_DNS_OPTIONS];
/* @dns: the section, or NULL. */
int coord_dns_check(const struct warren_conf *dns, struct warren_err *err);

/* NULL: no memory. */
struct coord_dns *coord_dns_new(const struct warren_conf *options, const char *base_domain);
void coord_dns_free(struct coord_dns *dns);
/* Nodes may have certificates for their names below @base_domain; NULL: they may not. */
void coord_dns_certify(struct coord_dns *dns, const char *base_domain);
/* Instead of those of the options; tests have no options. */
void coord_dns_resolvers(struct coord_dns *dns, json_t *list);
/*
 * The records of a file: 1 they are others than before, 0, or -errno with a sentence, and
 * the ones before stay.
 */
int coord_dns_records(struct coord_dns *dns, const char *text, size_t len, struct warren_err *err);
/* The DNSConfig of @node, which the policy gives @caps. */
void coord_dns_add(const struct coord_dns *dns, const struct tailnet_node *node,
		   const json_t *caps, struct str *out);
/* Is it another one for each node? */
bool coord_dns_differs(const struct coord_dns *dns);

#endif
