/*
 * hostinfo.h - what this node tells the server about itself (control-protocol.md 6.1, 6.8)
 */
#ifndef CTL_HOSTINFO_H
#define CTL_HOSTINFO_H

#include <warren/plugin.h>
#include <warren/service/netmap.h>

#include "base/str.h"

/* Facts of the host that stay while we run. */
struct ctl_host {
	char os_version[65], machine[65];	/* uname: kernel release, hardware */
	char distro[65], distro_version[65], distro_code_name[65];	/* os-release(5) */
};
/* In `start`: reads a file. What cannot be read stays empty. */
void ctl_host_read(struct ctl_host *out);
/* The values of an os-release text; unknown lines are skipped. */
void ctl_host_os_release(struct ctl_host *out, const char *text);

/* Parts that other plugins own: netmap->self_set(). */
struct ctl_facets {
	struct ctl_facet *first;
	/* After each change, also when an owner ended. */
	void (*changed)(void *arg);
	void *arg;
};
/* @value NULL: withdraws. 0; -EINVAL: @value is no JSON of the facet's type, or over 64 KiB. */
int ctl_facets_set(struct ctl_facets *facets, struct warren_ctx *owner, enum warren_facet facet,
		   const char *value);
void ctl_facets_free(struct ctl_facets *facets);

struct ctl_self {			/* what a description is made from */
	const struct ctl_host *host;
	const struct ctl_facets *facets;
	const char *version, *log_id, *hostname;
	const struct warren_prefix *routes;
	uint32_t n_routes;
	const char *const *tags;
	uint32_t n_tags;
	bool shields_up;
};
/* Appends the object Hostinfo. False: no memory. */
bool ctl_hostinfo(const struct ctl_self *self, struct str *out);

/* What other plugins offer to lead to (facet `routes`); returns how many of @room. */
uint32_t ctl_facets_routes(const struct ctl_facets *facets, struct warren_prefix *out,
			   uint32_t room);
/* Appends the facet `endpoints`, members without braces. @out NULL: only asks. False: no owner. */
bool ctl_facets_endpoints(const struct ctl_facets *facets, struct str *out);
/*
 * UDP candidates: facet `endpoints` if somebody owns it, else the addresses of this host's
 * interfaces with @port[0] (IPv4) and @port[1] (IPv6); 0: none of that family. Neither loopback,
 * nor link-local, nor an address of @skip_ifname. Appends `"Endpoints":[...],"EndpointTypes":[...]`
 * or nothing.
 */
void ctl_endpoints(const struct ctl_facets *facets, const char *skip_ifname,
		   const uint16_t port[2], struct str *out);

#endif
