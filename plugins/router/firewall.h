/*
 * What the packet filter should hold, as a pure function of network map and configuration, and what
 * the monitor says about the filters of others.
 */
#ifndef ROUTER_FIREWALL_H
#define ROUTER_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>
#include <warren/priv.h>
#include <warren/service/netmap.h>

enum { ROUTER_OPEN_MAX = 32, ROUTER_OFFERS_MAX = 256, ROUTER_MAPPED_MAX = 64 };

struct router_mapped {			/* a network that peers know by other addresses */
	struct warren_prefix as, local;
};

struct router_fw_conf {
	uint32_t mode;			/* WARREN_NFT_OFF ... */
	bool snat, stateful;
	uint32_t n_open;
	struct { uint8_t protocol; uint16_t port; } open[ROUTER_OPEN_MAX];
	uint32_t n_mapped;
	struct router_mapped mapped[ROUTER_MAPPED_MAX];
};

struct router_fw {			/* a request: the list of its items */
	struct warren_priv_nft *items;	/* NULL: none */
	size_t n;
};

/* "udp/3478", "tcp/443". 0 or -EINVAL. */
int router_fw_port(const char *text, uint8_t *protocol, uint16_t *port);
/*
 * Fills @out, which the caller frees. @offers: what this node leads to where no server has to
 * approve of it; @leads: all that this host sends goes into the tunnel, but for answers. @map
 * without self: nothing else is wanted. 0, -ENOMEM, or -E2BIG.
 */
int router_fw_want(const struct warren_netmap *map, const struct router_fw_conf *conf, bool leads,
		   const struct warren_prefix *offers, uint32_t n_offers, const char *ifname,
		   struct router_fw *out);
void router_fw_free(struct router_fw *fw);
bool router_fw_equal(const struct router_fw *a, const struct router_fw *b);
/* Whether it leads anywhere in @family (4, 6). */
bool router_fw_forwards(const struct router_fw *fw, uint8_t family);
/* What serves nobody any more: the table alone. */
bool router_fw_exit(const struct router_fw *fw, uint8_t family);

/* One sentence about a chain of others that drops what we approve. */
void router_fw_describe(const struct warren_nft_chain *chain, const char *ifname, char *out,
			size_t size);

#endif
