/*
 * conn.h - one connection, between conn.c (until the login) and talk.c (after it)
 */
#ifndef DERP_CONN_H
#define DERP_CONN_H

#include "client.h"

enum derp_phase {
	DERP_DIALLING, DERP_UPGRADING,
	DERP_AWAIT_KEY,			/* the server's, in its first frame */
	DERP_AWAIT_INFO,		/* we have logged in, and may send */
	DERP_OPEN,
};

struct derp_conn {
	struct derp_region *region;
	struct warren_ctx *ctx;
	const struct warren_netmap *map;	/* a reference, for `ways` */
	struct derp_way ways[DERP_WAYS];
	uint32_t n_ways, way;		/* the one being tried is ways[way - 1] */
	enum derp_phase phase;
	uint64_t deadline;
	struct warren_timer *timer;	/* of the login; then of silence and pings */
	struct warren_timer *kick;	/* the next way; then: flush */
	void *tie;			/* drops the reference with the context */
	char why[DERP_WHY];		/* of the first way that failed */

	struct warren_dial *dial;
	struct warren_http *http;
	struct warren_stream *stream;
	struct warren_derp_reader reader;
	uint64_t passed_unknown, passed_malformed;	/* counted so far */
	uint8_t server_key[32];
	bool fast;			/* it came with TLS: no answer to the upgrade was due */
	char node[DERP_NODE];
	uint32_t busy;			/* callbacks under way */
	bool dead;			/* free it after them */
	bool dropping;

	bool pinged;			/* an answer is due */
	uint8_t ping[WARREN_DERP_PING_DATA];
	uint64_t ping_sent;
	uint64_t rate, burst, tokens, tokens_at;	/* of the server; rate 0: none */
};

extern const struct warren_stream_events derp_talk_events;

/* Ends the connection, and tells its region; @conn may be gone. */
void derp_conn_fail(struct derp_conn *conn, const char *why);
void derp_conn_enter(struct derp_conn *conn);
void derp_conn_leave(struct derp_conn *conn);
/* Sends ClientInfo, and what the stream must carry before it. 0, or -errno: it has failed. */
int derp_conn_login(struct derp_conn *conn, const char *request, size_t len);
/* A frame by itself; one that cannot be sent is left out. */
void derp_conn_put(struct derp_conn *conn, const struct warren_derp_frame *frame);
/* The login is done: silence is watched from now on. */
void derp_talk_begin(struct derp_conn *conn);
void derp_talk_timer(struct derp_conn *conn);
void derp_talk_flush(struct derp_conn *conn);

#endif
