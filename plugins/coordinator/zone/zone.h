/*
 * zone/zone.h - the public zone in which devices prove their names
 *
 * For a certificate an authority wants to see a TXT record below the device's name. Its zone is
 * either served from here, for who is delegated it, or changed on a server elsewhere. All on the
 * plugin's lane.
 */
#ifndef WARREN_COORDINATOR_ZONE_H
#define WARREN_COORDINATOR_ZONE_H

#include <warren/plugin.h>

struct zone;
struct zone_wait;

enum { ZONE_OPTIONS = 4 };
extern const struct warren_option coord_zone_options[ZONE_OPTIONS];
/* @section: `zone`; @host: of the coordinator's URL. 0 or -EINVAL with a sentence. */
int coord_zone_check(const struct warren_conf *section, const char *base_domain, const char *host,
		     struct warren_err *err);

/* Begins from the loop, so that the files it is from are in force. NULL with a sentence. */
struct zone *coord_zone_new(struct warren_ctx *ctx, const struct warren_conf *section,
			    const char *base_domain, const char *host, struct warren_err *err);
void coord_zone_free(struct zone *zone);	/* who waits is told; NULL is allowed */

/* 0: everybody can see it; else -errno and a sentence. */
typedef void coord_zone_fn(void *arg, int result, const char *why);
/*
 * Publishes @text as a TXT record of @name. @done is called later, once, unless it is cancelled.
 * -errno, as of zone_records_set(): @done is not called.
 */
int coord_zone_set(struct zone *zone, const char *name, const char *text, coord_zone_fn *done,
		   void *arg, struct zone_wait **out);
void coord_zone_cancel(struct zone_wait *wait);
/* Why nobody can prove a name at the moment; NULL: all is well, or not known yet. */
const char *coord_zone_problem(const struct zone *zone);

#endif
