/*
 * The limits of `system:` before the operator changed any: the numbers of the stock client.
 */
#include "priv/limits.h"

#include <string.h>

void wpriv_limits_init(struct wpriv_limits *limits)
{
	*limits = (struct wpriv_limits){
		.table = WPRIV_TABLE,
		.rule_low = WPRIV_RULE_LOW,
		.rule_high = WPRIV_RULE_HIGH,
		.mark_mask = WPRIV_MARK_MASK,
		.mark_bypass = WPRIV_MARK_BYPASS,
		.mark_subnet = WPRIV_MARK_SUBNET,
		.n_interfaces = 1,
		.interfaces = { "warren*" },
	};
}

bool wpriv_limits_interface(const struct wpriv_limits *limits, const char *ifname)
{
	for (uint32_t i = 0; i < limits->n_interfaces; i++) {
		const char *pattern = limits->interfaces[i];
		size_t len = strlen(pattern);

		if (len > 0 && pattern[len - 1] == '*' ? strncmp(pattern, ifname, len - 1) == 0 :
							 strcmp(pattern, ifname) == 0)
			return true;
	}
	return false;
}

bool wpriv_limits_port(const struct wpriv_limits *limits, uint16_t port)
{
	for (uint32_t i = 0; i < limits->n_ports; i++) {
		if (limits->ports[i] == port)
			return true;
	}
	return false;
}
