/*
 * dns/hostconf.h - what /etc/resolv.conf says (resolv.conf(5))
 */
#ifndef DNS_HOSTCONF_H
#define DNS_HOSTCONF_H

#include "plan.h"

/* Never fails: what it cannot read means nothing. */
void dns_hostconf_parse(const char *text, size_t len, struct dns_hostconf *out);

#endif
