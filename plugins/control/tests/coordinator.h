/*
 * A coordinator for tests of the session: the server side of our own HTTP/2 on one end of a socket
 * pair, in the engine of the node under test. It stands behind ctl_connect(): /key, the upgrade
 * and Noise have tests of their own, and the stock server is the judge (tests/interop).
 */
#ifndef CTL_TEST_COORDINATOR_H
#define CTL_TEST_COORDINATOR_H

#include <jansson.h>
#include <stdbool.h>

#include <warren/net.h>

struct wcore_engine;

enum { COORD_KEPT = 64 };
struct coord_request {
	char method[8], path[256];
	json_t *json;			/* NULL: no JSON */
	char body[4096];		/* cut */
};

struct coord {
	/* Set by the test. */
	bool away;			/* nobody can connect */
	const char *reply;		/* to register; NULL: the request is held */
	int register_status;		/* 0: 200 */
	const char *retry_after;	/* with another status */
	int map_status;			/* 0: 200 */
	const char *map;		/* first message of each stream; NULL: none */

	/* Told to the test. */
	struct coord_request registers[COORD_KEPT], streams[COORD_KEPT], updates[COORD_KEPT],
			     others[COORD_KEPT];
	uint32_t n_registers, n_streams, n_updates, n_others, connects;
	char fetched[256];		/* URL of the newest warren_fetch(), which gets no answer */

	/* Internal. */
	struct warren_ctx *ctx;
	struct warren_http *http;
	struct warren_exchange *held, *stream;
};

/* One at a time; @engine's main lane. */
void coord_init(struct coord *coord, struct wcore_engine *engine);
void coord_fini(struct coord *coord);
void coord_forget(struct coord *coord);		/* all requests so far */
void coord_answer(struct coord *coord, const char *reply);	/* the register that is held */
void coord_send(struct coord *coord, const char *message);	/* on the map stream */
void coord_drop(struct coord *coord);		/* closes the connection */

#endif
