/*
 * tests/clients.h - a server over loopback, and clients of it, for tests of the coordinator
 */
#ifndef WARREN_COORDINATOR_CLIENTS_H
#define WARREN_COORDINATOR_CLIENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#include "../../../tests/unit/parts.h"
#include "../server/server.h"

extern struct wcore_engine *engine;
extern struct warren_ctx *ctx;
extern struct coord coord;
extern char secret[TAILNET_SECRET];	/* of the key that was made last */
extern const char *clients_forwarded;	/* X-Forwarded-For of those that connect, or NULL */
extern const char clients_policy[];	/* in force: members reach port 5432 of tag:db */

int clients_begin(void **state);
int clients_end(void **state);
#define ON_LOOP(test) cmocka_unit_test_setup_teardown(test, clients_begin, clients_end)

/* Done when it returns; the id of the user that was made, or 0. */
int64_t act(struct tailnet_act what);

struct client {
	struct warren_private machine, node;
	uint8_t node_key[32];
	struct warren_http *http;
	struct warren_exchange *stream;	/* of maps */
	struct str in;			/* of the stream, not cut yet */
	volatile bool up;
	bool zstd;
};

void connect_client(struct client *c);
void client_end(struct client *c);
struct warren_exchange *request(struct client *c, const char *method, const char *path,
				const char *body, const struct warren_exchange_events *events,
				void *arg);
struct warren_exchange *post(struct client *c, const char *path, const char *body,
			     const struct warren_exchange_events *events, void *arg);
/* The answer's JSON, or what it says as text. @body NULL: none. */
json_t *ask_with(struct client *c, const char *method, const char *path, const char *body,
		 int status);
json_t *ask(struct client *c, const char *path, const char *body, int status);	/* POST */
const char *key_text(const uint8_t key[32]);
json_t *do_register(struct client *c, const char *hostname, const char *auth, const char *rest);
void join_as(struct client *c, const char *hostname);
/* A lite update; @rest begins with a comma. */
void lite(struct client *c, const char *rest);
/* @a of alice, @b of tag:db. */
void two_kinds_of_nodes(struct client *a, struct client *b);

/* ---- a map stream ---- */

void stream(struct client *c, bool zstd);
void stream_as(struct client *c, const char *rest);	/* @rest begins with a comma */
/* The message that has come; NULL: none has. */
json_t *take_map(struct client *c);
/* The next message; NULL: none comes, or the stream has ended. */
json_t *next_map(struct client *c);
/* Messages until one has @key; its value is lent. */
json_t *map_with(struct client *c, const char *key);

#endif
