/*
 * priv/limits.h - the operator's `system:` section as plain numbers
 *
 * Filled by the monitor from the files in /etc (core/monitor/config.h), read by the validators.
 */
#ifndef WARREN_PRIV_LIMITS_H
#define WARREN_PRIV_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/priv.h>

enum {
	WPRIV_INTERFACES = 16,
	WPRIV_PORTS = 256,
	/* Marks our routes and rules (rtm_protocol, FRA_PROTOCOL): 'W', unused in rt_protos. */
	WPRIV_RT_PROTOCOL = 87,
	WPRIV_TABLE = 52,		/* those of the stock client */
	/* Those of the stock client are 5210-5270; below: bypass, above: the last resort. */
	WPRIV_RULE_LOW = 5200,
	WPRIV_RULE_HIGH = 5279,
	WPRIV_MARK_MASK = 0xff0000,
	WPRIV_MARK_BYPASS = 0x80000,
	WPRIV_MARK_SUBNET = 0x40000,
};

struct wpriv_limits {
	uint32_t table;			/* system.route-table */
	bool main_table;		/* routes in table 254 are allowed too */
	uint32_t rule_low, rule_high;	/* system.rule-priorities */
	uint32_t mark_mask, mark_bypass, mark_subnet;	/* system.marks */
	uint32_t n_interfaces;		/* names; one that ends with '*' stands for a prefix */
	char interfaces[WPRIV_INTERFACES][WARREN_PRIV_IFNAME];
	uint32_t n_ports;
	uint16_t ports[WPRIV_PORTS];	/* may be bound though no other key names them */
};

/* The stock values; interfaces "warren*". */
void wpriv_limits_init(struct wpriv_limits *limits);
bool wpriv_limits_interface(const struct wpriv_limits *limits, const char *ifname);
bool wpriv_limits_port(const struct wpriv_limits *limits, uint16_t port);

#endif
