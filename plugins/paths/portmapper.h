/*
 * The port mapping of this node: finds the gateway, has a socket to it, and drives portmap.h.
 */
#ifndef PATHS_PORTMAPPER_H
#define PATHS_PORTMAPPER_H

#include <warren/plugin.h>

#include "igd_client.h"
#include "portmap.h"

struct paths;
struct str;

struct portmapper {
	struct paths *paths;
	bool on, opening, stopping, told_refusal;
	struct portmap map;
	struct igd_client igd;
	struct warren_timer *timer;
	struct warren_io *io;		/* NULL: no socket */
	int fd;
	/* What the socket is for; family 0: no gateway that could map anything. */
	struct warren_addr gateway, self, asked_for;
	uint16_t port;
	struct warren_limit log;
};

int portmapper_init(struct portmapper *pm, struct paths *p);
/* The option. Off: a mapping is deleted. */
void portmapper_set(struct portmapper *pm, bool on);
/* With a netcheck; @full: the gateway may be another one, and services may have come. */
void portmapper_look(struct portmapper *pm, bool full);
bool portmapper_is_busy(const struct portmapper *pm);	/* about to know more */
/* Deletes the mapping. True: warren_stopped() is called when that is done. */
bool portmapper_stop(struct portmapper *pm);

/* Where peers reach us through it; NULL: nowhere. */
const struct warren_addrport *portmapper_endpoint(const struct portmapper *pm);
uint8_t portmapper_there(const struct portmapper *pm, enum portmap_service service);
bool portmapper_refused(const struct portmapper *pm);
/* In what state it is, as a sentence without its end. */
void portmapper_describe(const struct portmapper *pm, struct str *out);

#endif
