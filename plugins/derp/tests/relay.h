/*
 * relay.h - a relay in a test, for what the stock one never does: it restarts, is unwell, keeps
 * silent, refuses. Its bytes are those of the toolkit's own HTTP, TLS and frames.
 */
#ifndef DERP_TESTS_RELAY_H
#define DERP_TESTS_RELAY_H

#include <warren/derp.h>

struct cert;

enum {
	RELAY_META = 1u << 0,		/* tells its key in TLS */
	RELAY_REFUSE = 1u << 1,		/* answers 403 to the upgrade */
	RELAY_SILENT = 1u << 2,		/* answers no ping */
	RELAY_LOCKED = 1u << 3,		/* lets nobody in */
	RELAY_FORGED = 1u << 4,		/* has not the key that it tells */
	RELAY_LIMITED = 1u << 5,	/* allows 1000 bytes, and one more each second */
};
enum { RELAY_TYPES = 0x16, RELAY_DATA = 2048 };

struct relay {
	struct warren_ctx *ctx;
	struct warren_private key;
	struct warren_tls_server *tls;
	uint32_t flags;
	uint16_t port;
	struct warren_io *io;
	struct stand_conn *conn;	/* the newest, NULL: none */
	uint32_t connects, logins, fast;	/* TCP; ClientInfo opened; of these without 101 */
	uint32_t seen[RELAY_TYPES];	/* frames by type, over all connections */
	uint8_t client[32];		/* who logged in last */
	char ideal[64];			/* its Ideal-Node, or "" */
	bool preferred;			/* its last NotePreferred */
	uint8_t to[32], data[RELAY_DATA];	/* of the last SendPacket */
	size_t len;
};

/* @cert NULL: without TLS. On a port of 127.0.0.1. Fails the test if it cannot. */
void stand_open(struct relay *relay, struct warren_ctx *ctx, const struct cert *cert,
		uint32_t flags);
void stand_send(struct relay *relay, const struct warren_derp_frame *frame);
/* Any bytes. */
void stand_write(struct relay *relay, const void *data, size_t len);
void stand_drop(struct relay *relay);	/* the connection */
void stand_close(struct relay *relay);	/* and the port */

#endif
