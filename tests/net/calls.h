/*
 * For tests of HTTP: connections and exchanges that note what they are told, and do what the test
 * wants inside a callback.
 */
#ifndef WARREN_TESTS_NET_CALLS_H
#define WARREN_TESTS_NET_CALLS_H

#include <stdbool.h>

#include <warren/net.h>

#include "base/str.h"

enum when { NEVER = 0, AT_REQUEST, AT_HEAD, AT_BODY, AT_COMPLETE, AT_DRAINED, AT_FAILED };
enum { CALLS = 320, CALL_WINDOW = 128 << 10 };

struct side;

/* One exchange as one side saw it. */
struct call {
	struct side *side;
	struct warren_exchange *x;	/* NULL: it may be gone */
	struct str head, body;		/* what came; the head as text */
	int status;
	int64_t length;
	bool complete, failed;
	volatile bool done;		/* either */
	int result;
	char why[320];

	bool pause;			/* after each piece, until the test resumes */
	bool paused;
	uint32_t pieces;
	const char *send;		/* the body that goes out, with back-pressure */
	size_t send_len, sent;
	bool ended;			/* all of it */
	enum when cancel, close;
};

/* One connection. */
struct side {
	struct warren_http *http;
	struct call calls[CALLS];	/* a server's requests, in order */
	uint32_t n_calls, n_complete, n_failed;
	volatile bool done;		/* ended was told */
	int result;
	char why[320];
	enum when cancel, close;	/* what new calls do */
	bool pause, hold;		/* hold: requests are not answered */
	const char *answer;		/* instead of the echo of the request's body */
	size_t answer_len;
};

extern const struct warren_exchange_events call_events;
extern const struct warren_http_events side_events;

/* Begins a request of @call; @length as in struct warren_http_head. False: refused. */
bool call_request(struct side *client, struct call *call, const char *method, const char *path,
		  int64_t length);
/* Sends more of call->send, and the end after it. */
void call_send(struct call *call);
void call_free(struct call *call);
void side_close(struct side *side);	/* and frees the calls of a server */

#endif
