/*
 * Entries of `bypass`.
 */
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "base/units.h"
#include "exitnode.h"

static int parse_users(const char *text, struct warren_router_bypass *out)
{
	char first[24], *dash;
	int64_t from, to;

	if (!str_copy(first, sizeof(first), text))
		return -EINVAL;
	dash = strchr(first, '-');
	if (dash)
		*dash = '\0';
	if (units_parse_int(first, &from) || units_parse_int(dash ? dash + 1 : first, &to) ||
	    from < 0 || from > to || to >= UINT32_MAX)
		return -EINVAL;
	out->kind = WARREN_BYPASS_USERS;
	out->uid_first = (uint32_t)from;
	out->uid_last = (uint32_t)to;
	return 0;
}

int exitnode_bypass_parse(const char *text, struct warren_router_bypass *out)
{
	*out = (struct warren_router_bypass){ .kind = WARREN_BYPASS_NETWORK };
	if (str_starts(text, "interface:")) {
		out->kind = WARREN_BYPASS_INTERFACE;
		text += strlen("interface:");
		return text[0] && !strchr(text, '/') &&
		       str_copy(out->ifname, sizeof(out->ifname), text) ? 0 : -EINVAL;
	}
	if (str_starts(text, "uid:"))
		return parse_users(text + strlen("uid:"), out);
	if (prefix_parse(text, &out->network))
		return -EINVAL;
	/* All of the internet is what an exit node is for. */
	return prefix_mask(&out->network) || out->network.bits == 0 ? -EINVAL : 0;
}
