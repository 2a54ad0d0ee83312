/*
 * zone/impl.h - what the files of the zone share
 */
#ifndef WARREN_COORDINATOR_ZONE_IMPL_H
#define WARREN_COORDINATOR_ZONE_IMPL_H

#include <warren/net.h>

#include "answer.h"
#include "update.h"
#include "zone.h"

enum { ZONE_LISTEN = 8, ZONE_PROBLEM = 300 };

struct zone_wait {
	struct list link;
	struct zone_record *record;
	coord_zone_fn *done;
	void *arg;
	bool sent;			/* what it waits for is on its way */
};

struct zone_server;
struct zone_sender;
struct zone {
	struct warren_ctx *ctx;
	struct dns_name base;		/* names are below it */
	struct zone_facts facts;
	struct zone_records records;
	struct list waits;
	struct warren_timer *tick;	/* what is over goes */
	struct warren_timer *answers;	/* those that wait for us alone */
	struct zone_server *server;	/* of our own; or: */
	struct zone_sender *sender;
};

/* serve.c: the records by UDP and TCP */
struct zone_server *zone_server_new(struct zone *zone, const struct warren_conf *section);
void zone_server_free(struct zone_server *server);
const char *zone_server_problem(const struct zone_server *server);
bool zone_server_open(const struct zone_server *server);	/* does any socket answer? */

/* send.c: the records to a server elsewhere */
struct zone_sender *zone_sender_new(struct zone *zone, const struct warren_conf *update,
				    struct warren_err *err);
void zone_sender_free(struct zone_sender *sender);
const char *zone_sender_problem(const struct zone_sender *sender);
void zone_sender_kick(struct zone_sender *sender);	/* something is `changed` */

/* options.c */
bool zone_key_read(const struct warren_conf *update, struct zone_key *out);

/* zone.c: all of them, or those that are `sent`. */
void zone_answer_waits(struct zone *zone, bool sent_only, int result, const char *why);

#endif
