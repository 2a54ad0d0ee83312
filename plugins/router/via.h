/*
 * 4via6: IPv4 networks of numbered sites, as networks of IPv6 that no two sites share:
 * fd7a:115c:a1e0:b1a:SITE:v4, the site in 32 bits.
 * Source: node-services.md 8.4.
 */
#ifndef ROUTER_VIA_H
#define ROUTER_VIA_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/plugin.h>

struct warren_err;

enum { ROUTER_SITE_MAX = 0xffff };	/* what is above is reserved */

/* Whether all of @prefix is of sites, or it is all that sites have. */
bool router_via_is(const struct warren_prefix *prefix);
/* "7", "0x7". 0, or -EINVAL with a sentence of the stock client's. */
int router_via_site(const char *text, uint32_t *site, struct warren_err *err);
/* @v4 is of IPv4. */
struct warren_prefix router_via_map(uint32_t site, const struct warren_prefix *v4);
/* 0, or -EINVAL with a sentence: it is no network of a site's. */
int router_via_unmap(const struct warren_prefix *route, uint32_t *site, struct warren_prefix *v4,
		     struct warren_err *err);

#endif
