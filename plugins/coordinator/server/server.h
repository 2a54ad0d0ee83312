/*
 * server/server.h - what the files of the coordinator's server share
 *
 * All on the plugin's lane. A connection goes: HTTP/1 from outside (outer.c), an upgrade to Noise,
 * HTTP/2 inside it (session.c), whose requests are registrations (register.c), map streams (map.c)
 * and some small ones.
 */
#ifndef WARREN_COORDINATOR_SERVER_H
#define WARREN_COORDINATOR_SERVER_H

#include <jansson.h>

#include <warren/net.h>
#include <warren/service/front.h>

#include "../policy/world.h"
#include "../tailnet/tailnet.h"
#include "base/hash.h"
#include "base/list.h"

struct tailnet_host;

enum {
	COORD_BODY = 1 << 20,		/* bytes of a request */
	COORD_BODIES = 64 << 20,	/* of all that are being received */
	COORD_CAPVER = 106,		/* the oldest client that is served: 1.74, of 2024 */
};

struct coord_stats {
	struct warren_stat *connections, *sessions, *streams, *registrations, *maps, *shed;
};

struct coord {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	struct tailnet_host *host;
	struct tailnet *tailnet;
	struct tailnet_listener *listener_of_changes;
	struct policy *policy;
	struct policy_world *world;
	struct policy_changes changes;
	char url[300];			/* without a slash at the end */
	char base_domain[254];
	struct warren_private key;	/* of the server, for Noise */
	struct warren_noise_key noise;
	json_t *derp_map;		/* or NULL */
	char *dns_config;		/* JSON */

	struct warren_listener *listener;	/* of its own; or through front: */
	bool routed;
	struct list outers, asked, sessions, streams;
	struct hash by_node;		/* streams, the first of each node */
	struct list dirty;		/* streams with something to say */
	struct warren_timer *flush;
	uint64_t flushed;		/* when streams were told last */
	struct ZSTD_CCtx_s *zstd;
	uint64_t secret[2];		/* of the hashes of what streams were told */
	struct hash fragments;		/* of peers, by node id */
	struct coord_stats stats;
	char *names;			/* JSON: this server's name and addresses, or NULL */
	uint64_t names_at;		/* when they were looked up last */
	size_t bodies;			/* bytes of requests that are being received */
	struct warren_limit refused_limit;
};

/* ---- outer.c: what is asked without Noise ---- */

extern const struct warren_exchange_events coord_outer_events;	/* argument: the coord */
void coord_accept(struct warren_ctx *ctx, struct warren_stream *stream, void *coord);
/* To the listeners of `front`; 0 or -errno with a sentence. */
int coord_route(struct coord *coord, const struct warren_front *front, void *self,
		struct warren_err *err);
void coord_outers_close(struct coord *coord);

/* ---- session.c: a machine that has proven its key ---- */

struct session {
	struct list link;
	struct coord *coord;
	struct warren_http *http;
	uint8_t machine[32];
	uint16_t capver;
	uint32_t open;			/* requests whose memory is not yet gone */
};
/* Takes @stream, which is past the handshake. */
void coord_session_take(struct coord *coord, struct warren_stream *stream);
void coord_sessions_close(struct coord *coord);

struct request {			/* inside a session */
	struct session *session;
	struct coord *coord;
	struct warren_exchange *x;	/* NULL: gone */
	char method[8], path[512];	/* without the query */
	char query[256];
	struct str *body;
	/* Called once when the client is gone before an answer; may be NULL. */
	void (*gone)(struct request *request);
	void *arg;
};
/* Answers, and the request is gone. JSON is taken; NULL: no memory. */
void answer_json_take(struct request *request, json_t *body);
void answer_text(struct request *request, int status, const char *text);
/* The exchange belongs to somebody else from now on; the request is gone. */
struct warren_exchange *answer_steal(struct request *request);
/* The node of that key, of this machine; NULL: none, or somebody else's. */
const struct tailnet_node *asked_node(const struct request *request, const uint8_t key[32]);

/* ---- register.c, map.c ---- */

void coord_register(struct request *request);
void coord_map(struct request *request);
void coord_streams_close(struct coord *coord);
/* Map streams of a node end, so that it comes again. */
void coord_streams_of(struct coord *coord, int64_t node);
/* The same for one that is gone, with the news that its key is over. */
void coord_streams_part(struct coord *coord, const struct tailnet_node *before);

/* ---- view.c: the policy over the tailnet ---- */

int coord_view_start(struct coord *coord, struct warren_err *err);
void coord_view_stop(struct coord *coord);
/* A policy from text; the one before stays when it is refused. */
int coord_view_policy(struct coord *coord, const char *text, size_t len, struct warren_err *err);
/* The same for a file that has changed meanwhile: what is wrong is logged. */
void coord_view_reloaded(struct coord *coord, const char *text, size_t len);

/* ---- map.c: what view.c tells ---- */

enum {
	DIRTY_SELF = 1u << 0, DIRTY_FILTER = 1u << 1, DIRTY_ALL = 1u << 2,
	DIRTY_USERS = 1u << 3,
};
void coord_tell_node(struct coord *coord, int64_t node, uint32_t what);
/* @peer is new, different (@whole: not to be said by a patch), or gone for @viewer. */
enum peer_news { PEER_PATCH = 1, PEER_WHOLE, PEER_GONE };
void coord_tell_peer(struct coord *coord, int64_t viewer, int64_t peer, enum peer_news news,
		     uint32_t fields);
void coord_tell_viewers(struct coord *coord, int64_t peer, enum peer_news news, uint32_t fields);
void coord_tell_everybody(struct coord *coord);
/* Somebody's name or picture is another one. */
void coord_tell_users(struct coord *coord);

/* ---- encode.c ---- */

struct str;
/* A peer as @viewer sees it, with all that does not depend on the viewer from a cache. */
bool coord_encode_peer(struct coord *coord, int64_t viewer, const struct tailnet_node *node,
		       struct str *out);
void coord_encode_self(struct coord *coord, const struct tailnet_node *node, struct str *out);
void coord_encode_patch(const struct tailnet_node *node, uint32_t fields, struct str *out);
void coord_encode_user(const struct tailnet_user *user, struct str *out);	/* NULL: tagged */
void coord_encode_time(int64_t usec, struct str *out);	/* in quotes; 0: the zero time */
void coord_encode_json_take(json_t *json, struct str *out);
/*
 * A node that has been here and has no disco key: it does without path discovery. Stock clients
 * send to the endpoints of such a peer as they are, if they are told so.
 */
bool coord_wireguard_only(const struct tailnet_node *node);
/* Have others to be told of this node once more, because of its capabilities? */
bool coord_caps_changed(struct coord *coord, int64_t node);
/* Does what others see of Hostinfo differ? */
bool coord_hostinfo_differs(const struct tailnet_node *before, const struct tailnet_node *after);
void coord_fragment_drop(struct coord *coord, int64_t node);
void coord_fragments_free(struct coord *coord);
int64_t coord_user_id(const struct tailnet_node *node);	/* as clients see it */

/* ---- derp.c ---- */

/* A DERPMap, checked; NULL with a sentence. */
json_t *coord_derp_parse(const char *text, size_t len, struct warren_err *err);

/* ---- request.c: what clients send ---- */

struct register_request {		/* points into the JSON */
	uint8_t node_key[32], old_node_key[32];
	int64_t version, expiry;
	bool has_expiry;
	const char *auth_key, *followup, *hostname;
	char *hostinfo;			/* JSON text, owned */
	const char *tags[TAILNET_TAGS];
	uint32_t n_tags;
	struct warren_prefix *routes;	/* owned */
	uint32_t n_routes, home_derp;
	json_t *json;
};
/* 0, or -EBADMSG with a sentence. register_request_free() in any case. */
int register_request_parse(const void *data, size_t len, struct register_request *out,
			   struct warren_err *err);
void register_request_free(struct register_request *request);

struct map_request {
	uint8_t node_key[32], disco_key[32];
	int64_t version;
	bool zstd, keep_alive, stream, omit_peers;
	struct tailnet_endpoint endpoints[TAILNET_ENDPOINTS];
	uint32_t n_endpoints;
	bool has_hostinfo;
	const char *hostname;
	char *hostinfo;
	struct warren_prefix *routes;
	uint32_t n_routes, home_derp;
	json_t *json;
};
int map_request_parse(const void *data, size_t len, struct map_request *out,
		      struct warren_err *err);
void map_request_free(struct map_request *request);
int verify_request_parse(const void *data, size_t len, uint8_t key[32], struct warren_err *err);

#endif
