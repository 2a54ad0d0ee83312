/*
 * relay/talk.h - a client of another relay: of `warren relay check`, and of the mesh
 */
#ifndef WARREN_PLUGIN_RELAY_TALK_H
#define WARREN_PLUGIN_RELAY_TALK_H

#include <warren/derp.h>

enum { TALK_WHY = 320 };

enum talk_state {
	TALK_NONE, TALK_DIALLING, TALK_UPGRADING,
	TALK_AWAIT_KEY,			/* the server's first frame */
	TALK_MET,			/* it came; and we log in */
	TALK_UP,			/* ServerInfo came */
	TALK_REFUSED,			/* the connection ended instead */
	TALK_FAILED,			/* before that; or after it was up */
};

struct talk;
struct talk_options {			/* what it points to outlives the talk */
	struct warren_ctx *ctx;
	const struct warren_url *url;
	const struct warren_addr *address;	/* NULL: as the name resolves */
	const struct warren_tls_client *tls;	/* NULL: none; not kept */
	bool fast;			/* where TLS tells the server's key */
	bool prober;
	const struct warren_private *key;	/* NULL: one that is thrown away */
	const uint8_t *mesh_key;	/* or NULL */
	/* It has another state; and, once it is up, a frame for its owner. */
	void (*changed)(struct talk *talk, void *arg);
	void (*frame)(struct talk *talk, const struct warren_derp_frame *frame, void *arg);
	void *arg;
};
struct talk {
	struct talk_options options;
	enum talk_state state;
	bool fast;
	struct warren_dial *dial;
	struct warren_http *http;
	struct warren_stream *stream;
	struct warren_derp_reader reader;
	struct warren_private key;
	uint8_t public_key[32], server_key[32];
	uint64_t sent;			/* when the upgrade was asked for */
	char why[TALK_WHY];
};

void talk_begin(struct talk *talk, const struct talk_options *options);
/* Not from inside its callbacks. */
void talk_end(struct talk *talk);
int talk_put(struct talk *talk, const struct warren_derp_frame *frame);
/* "relay.example.com:8443", as HTTP wants it. */
void talk_authority(const struct warren_url *url, char *out, size_t size);

#endif
