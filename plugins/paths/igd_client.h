/*
 * A gateway device's actions over HTTP, one after the other: find its description, ask for its
 * address, map, delete. It answers each request of portmap.h once.
 */
#ifndef PATHS_IGD_CLIENT_H
#define PATHS_IGD_CLIENT_H

#include <warren/net.h>
#include <warren/plugin.h>

#include "igd.h"

struct igd_client;

/*
 * A request ended. @result 0 with a family in @external: mapped; without: deleted, or nobody
 * answered; else the device's error, or PORTMAP_USELESS.
 */
typedef void igd_done_fn(void *arg, uint16_t result, const struct warren_addrport *external,
			 uint32_t lifetime);

struct igd_client {
	struct warren_ctx *ctx;
	igd_done_fn *done;
	void *arg;
	struct warren_fetch *fetch, *forgotten;
	enum { IGD_IDLE, IGD_DESCRIBES, IGD_TELLS_ADDRESS, IGD_MAPS, IGD_DELETES } doing;
	struct warren_addr gateway, self;
	uint16_t port;
	struct igd_place at;		/* of the description; port 0: not found */
	struct igd_device device;
	uint32_t service;		/* index of the one that is asked */
	uint32_t tries;			/* of this request */
	bool permanent;			/* the device has no leases */
	struct warren_addrport external;	/* asked for */
	struct igd_service had_at;	/* where we have a mapping */
	uint16_t had;			/* its outer port; 0: none */
	struct warren_timer *later;
};

int igd_client_init(struct igd_client *c, struct warren_ctx *ctx, igd_done_fn *done, void *arg);
/* Of another gateway or host; nothing is known of it. */
void igd_client_begin(struct igd_client *c, const struct warren_addr *gateway,
		      const struct warren_addr *self, uint16_t port);
void igd_client_found(struct igd_client *c, const struct igd_found *found);
/* @external: the port that we would like to have; 0: ours, or another. */
void igd_client_map(struct igd_client *c, uint16_t external);
void igd_client_delete(struct igd_client *c);	/* what was mapped last */
/* Ends what is under way, and deletes what was mapped; nobody waits. */
void igd_client_forget(struct igd_client *c);

#endif
