/*
 * A UDP port of ours, mapped by the gateway: which of its protocols to ask, when to ask again, and
 * what it gave us (path-protocols.md 6). Pure, as peer.h is: events and a time in, acts out. After
 * each event its owner asks portmap_deadline() when to call portmap_turn().
 *
 * A probe tells which services there are and whether the gateway was restarted since; the best
 * service is asked first, the next one when it refuses. A mapping is only ever for the address
 * that the requests come from.
 */
#ifndef PATHS_PORTMAP_H
#define PATHS_PORTMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/service/netmap.h>

#include "pmp.h"

/* The better one first. */
enum portmap_service { PORTMAP_PCP, PORTMAP_PMP, PORTMAP_UPNP, PORTMAP_SERVICES };

enum portmap_event {
	PORTMAP_PROBED,			/* which services there are is known again */
	PORTMAP_MAPPED,			/* there is a mapping, or it is another one */
	PORTMAP_LOST,			/* there is none any more */
	PORTMAP_REFUSED,		/* services are there, and none maps our port */
	PORTMAP_RELEASED,		/* portmap_release() is through */
};
enum portmap_igd {			/* to a device of UPnP */
	PORTMAP_IGD_MAP,		/* portmap_igd_answer() follows */
	PORTMAP_IGD_DELETE,		/* the same */
	PORTMAP_IGD_FORGET,		/* deletes, and nobody waits */
};
struct portmap_acts {
	/* To the gateway's PMP_PORT. */
	void (*send)(void *arg, const uint8_t *data, size_t len);
	void (*event)(void *arg, enum portmap_event event);
	/* NULL: without UPnP. The answers come later, not in the call. */
	void (*search)(void *arg);
	void (*igd)(void *arg, enum portmap_igd what, uint16_t external);
};

/* A result that no gateway sends: its mapping is of no use, since its address is not public. */
enum { PORTMAP_USELESS = 0xffff };

struct portmap_at {			/* a service */
	uint8_t there;			/* WARREN_TRI_: what the last probe found */
	uint8_t said;			/* the same of the one under way */
	uint16_t refused;		/* result, PORTMAP_USELESS; 0: not refused */
	uint32_t epoch;			/* of UPnP: which start of the device it is */
	uint64_t epoch_at;		/* when that was told; 0: never */
};

struct portmap {
	const struct portmap_acts *acts;
	void *arg;
	struct warren_addr gateway, self;	/* family 0: nobody to ask */
	uint16_t port;
	uint8_t nonce[PCP_NONCE];
	struct portmap_at at[PORTMAP_SERVICES];
	uint32_t probes;		/* sent of those under way */
	uint64_t probe_due;		/* PATHS_NEVER: none is under way */
	enum portmap_service asked;
	uint32_t asks;
	uint64_t ask_due;		/* PATHS_NEVER: nobody is asked */
	bool releasing;
	struct pmp_answer got;		/* NAT-PMP tells address and port in two answers */
	bool got_public, got_map;
	struct warren_addrport external;	/* family 0: no mapping */
	enum portmap_service mapped_by;
	uint64_t until, renew_at;
};

void portmap_init(struct portmap *pm, const struct portmap_acts *acts, void *arg);
/* Maps @port of @self at @gateway from now on; what was before has been released or forgotten. */
void portmap_begin(struct portmap *pm, const struct warren_addr *gateway,
		   const struct warren_addr *self, uint16_t port, uint64_t now);
/* Asks for nothing any more; a mapping is deleted, by one message that may get lost. */
void portmap_forget(struct portmap *pm);
/* Deletes it and waits for the answer. True: PORTMAP_RELEASED follows; false: nothing is there. */
bool portmap_release(struct portmap *pm, uint64_t now);
/* Looks again. Without a mapping, one is asked for at its end. */
void portmap_probe(struct portmap *pm, uint64_t now);
bool portmap_is_probing(const struct portmap *pm);
/* From the gateway's PMP_PORT: the owner has looked at the source. */
void portmap_received(struct portmap *pm, const uint8_t *data, size_t len, uint64_t now);
/* A device of UPnP is there. @boot: which start of it this is; 0: not told. */
void portmap_igd_found(struct portmap *pm, uint32_t boot, uint64_t now);
/* The end of PORTMAP_IGD_MAP or _DELETE: see igd_done_fn. */
void portmap_igd_answer(struct portmap *pm, uint16_t result,
			const struct warren_addrport *external, uint32_t lifetime, uint64_t now);
void portmap_turn(struct portmap *pm, uint64_t now);
uint64_t portmap_deadline(const struct portmap *pm);

/* NULL: no service has refused; else the better one that did, and why. */
const char *portmap_refusal(const struct portmap *pm, enum portmap_service *by);
const char *portmap_service_name(enum portmap_service service);

#endif
