/*
 * The service "relay-client", which may be there or not.
 */
#ifndef PATHS_RELAYS_H
#define PATHS_RELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct paths;
struct warren_err;
struct warren_relay_ops;

struct paths_relays {
	const struct warren_relay_ops *ops;	/* NULL: it is not there */
	void *self;
	uint32_t lost;			/* the home region, while it is not reached */
	uint32_t kept;			/* the home region in the state folder */
};

/* A frame came from that region since @since or within the last 8 s. */
bool paths_relay_heard(const struct paths *p, uint32_t region, uint64_t since);
/* 0; -ENOTCONN: there is no relay client; or its -errno. */
int paths_relay_send(struct paths *p, uint32_t region, const uint8_t key[32], const uint8_t *data,
		     size_t len);
bool paths_relay_connected(const struct paths *p, uint32_t region);
/* Why it is not reached, though it is wanted; NULL: it is, or nobody tried. */
const char *paths_relay_failure(const struct paths *p, uint32_t region);
/* The home is @region; kept for the next start. */
void paths_relay_home(struct paths *p, uint32_t region);
/*
 * In `start`: the home is where it was, until a netcheck says otherwise: without the server peers
 * look for this node there. 0 or -errno with a sentence.
 */
int paths_home_restore(struct paths *p, struct warren_err *err);
void paths_relay_rebind(struct paths *p);
/* The service came (@ops), or is about to go (NULL). */
int paths_relay_found(struct paths *p, const void *ops, void *self);

/* Asks how far a region is; netcheck_on_measured() gets the answer, once. 0 or -errno. */
int paths_relay_measure(struct paths *p, uint32_t region);

#endif
