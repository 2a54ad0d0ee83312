/*
 * For tests of HTTP: a server that answers by path, and a client's exchange that collects. Both
 * fail the test when a callback comes that must not come.
 */
#ifndef WARREN_TESTS_TALK_H
#define WARREN_TESTS_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include <warren/net.h>

#include "base/str.h"

/*
 * A server's connection. Its paths: /echo answers with the request's body, /chunks the same without
 * saying its length first, /empty with 204, /early (before the body has come) with 403, /hold not
 * at all: the test does, or the test has set what to do.
 */
struct talk_server {
	struct warren_http *http;
	struct warren_exchange *x;	/* of /hold, while it is there */
	struct str log;			/* "POST /echo a.example 5\n" of each request */
	struct str body;		/* of the latest request */
	bool pause;			/* pauses at every piece of a body */
	size_t pauses;
	bool complete;			/* the latest request is */
	volatile bool held, failed, ended;
	int result;			/* of the failure, or the end */
	char why[256];
};
extern const struct warren_http_events talk_server_events;

/* A request of a client, and what comes of it. */
struct talk_client {
	struct warren_exchange *x;	/* NULL: over */
	int status;
	int64_t length;
	struct str fields;		/* "name: value\n" of each, but date */
	struct str body;
	const uint8_t *out;		/* still to be sent, as it drains */
	size_t out_len;
	bool pause;
	size_t pauses;
	volatile bool done;
	int result;
	char why[256];
};
extern const struct warren_exchange_events talk_client_events;

/* The end of a client's connection. */
struct talk_end {
	volatile bool ended;
	int result;
	char why[256];
};
extern const struct warren_http_events talk_end_events;

/*
 * Begins a request to a.example and sends @len bytes of body; @length is what is said about it.
 * Aborts when it is refused. talk_client_free() before the structure is used again.
 */
void talk_request(struct talk_client *client, struct warren_http *http, const char *method,
		  const char *path, const void *body, size_t len, int64_t length);
void talk_client_free(struct talk_client *client);
void talk_server_free(struct talk_server *server);

#endif
