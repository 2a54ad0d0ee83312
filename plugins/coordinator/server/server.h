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
#include <warren/service/relay-server.h>

#include "../policy/world.h"
#include "../tailnet/tailnet.h"
#include "base/hash.h"
#include "base/list.h"

struct coord_dns;
struct login_desk;
struct tailnet_host;
struct zone;

enum {
	COORD_BODY = 1 << 20,		/* bytes of a request */
	COORD_BODIES = 64 << 20,	/* of all that are being received */
	COORD_CAPVER = 106,		/* the oldest client that is served: 1.74, of 2024 */
};

struct coord_stats {
	struct warren_stat *connections, *sessions, *streams, *registrations, *maps, *shed;
};

enum { COORD_PROXIES = 32 };
struct coord_proxies {			/* of trusted-proxies */
	uint32_t n;
	struct warren_prefix at[COORD_PROXIES];
};

struct coord {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	struct tailnet_host *host;
	struct tailnet *tailnet;
	struct tailnet_listener *listener_of_changes;
	struct login_desk *desk;
	struct policy *policy;
	char policy_hash[65];		/* SHA-256 of its text; empty: the default, or none yet */
	struct policy_world *world;
	struct policy_changes changes;
	struct coord_edit *edit;	/* a policy that is being tried, or NULL */
	struct coord_telling *telling;	/* of the last one; or NULL */
	char url[300];			/* without a slash at the end */
	char base_domain[254];
	struct warren_private key;	/* of the server, for Noise */
	struct warren_noise_key noise;
	char *derp_file;		/* of `derp-map`, JSON, or NULL */
	char *derp_map;			/* with the relay of this box; as clients get it, or NULL */
	const struct warren_relay_server *relay;	/* or NULL */
	void *relay_self;
	struct coord_dns *dns;
	struct zone *zone;		/* in which devices prove their names, or NULL */
	struct coord_proxies proxies;	/* whose word on addresses is taken */

	struct warren_listener *listener;	/* of its own; or through front: */
	bool routed;
	struct list outers, asked, sessions, streams;
	struct hash by_node;		/* streams, the first of each node */
	struct list dirty;		/* streams with something to say */
	uint32_t wholes;		/* lists of all peers that are being made */
	struct warren_timer *flush;
	uint64_t flushed;		/* when streams were told last */
	uint64_t stuck;			/* a stream that took nothing for so long goes */
	struct ZSTD_CCtx_s *zstd;
	uint64_t secret[2];		/* of the hashes of what streams were told */
	struct hash fragments;		/* of peers, by node id */
	struct coord_stats stats;
	char *names;			/* JSON: this server's name and addresses, or NULL */
	uint64_t names_at;		/* when they were looked up last */
	size_t bodies;			/* bytes of requests that are being received */
	struct warren_limit refused_limit, health_limit;
	uint64_t reports_from;		/* the minute in which `reports` came for the audit log */
	uint32_t reports;
	struct list pings;		/* what was asked of nodes and is not answered */
	uint64_t probe_interval;	/* microseconds */
	struct coord_prober *prober;
	struct coord_ssh *ssh;		/* sessions that wait for a yes, and those that had it */
};

/* ---- outer.c: what is asked without Noise ---- */

extern const struct warren_exchange_events coord_outer_events;	/* argument: the coord */
void coord_accept(struct warren_ctx *ctx, struct warren_stream *stream, void *coord);
/* To the listeners of `front`; 0 or -errno with a sentence. */
int coord_route(struct coord *coord, const struct warren_front *front, void *self,
		struct warren_err *err);
void coord_outers_close(struct coord *coord);

/* ---- forwarded.c ---- */

/* @peer, or who is in front of it while the proxies on the way are trusted. */
struct warren_addr coord_forwarded(const struct coord_proxies *proxies,
				   const struct warren_addr *peer,
				   const struct warren_http_head *head);

/* ---- session.c: a machine that has proven its key ---- */

struct session {
	struct list link;
	struct coord *coord;
	struct warren_http *http;
	uint8_t machine[32];
	struct warren_addr from;	/* family 0: not known */
	uint16_t capver;
	struct list requests;		/* that are not answered */
};
/* Takes @stream, which is past the handshake. */
void coord_session_take(struct coord *coord, struct warren_stream *stream,
			const struct warren_addr *from);
void coord_sessions_close(struct coord *coord);

struct request {			/* inside a session */
	struct session *session;
	struct list link;
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

/*
 * A text to the streams of @node that are not behind. -ENOTCONN: it has none; -EAGAIN: only such as
 * are younger than @age, or have not had their first message; -ENOBUFS: they do not read.
 */
int coord_stream_say(struct coord *coord, int64_t node, const char *json, size_t len,
		     uint64_t age);

/* Bytes that its streams have not taken yet. */
size_t coord_streams_pending(const struct coord *coord, int64_t node);

/* ---- ping.c: what is asked of a node ---- */

struct coord_ping_options {
	int64_t node;
	const char *types;		/* "c2n", "disco", "TSMP", ...; NULL: does it answer? */
	const struct warren_addr *ip;	/* whom it pings; NULL: nobody */
	const char *payload;		/* c2n: a request of HTTP/1.1; NULL: none */
	uint64_t timeout;
	uint64_t age;			/* only streams that are so old */
};
struct coord_pong {
	int result;			/* 0; -ETIMEDOUT; -ESHUTDOWN: the server stops */
	uint64_t usec;
	const char *body;		/* c2n: a response of HTTP/1.1; else a PingResponse */
	size_t len;
};
/* Called once, never before coord_ping() has returned. */
typedef void coord_pinged_fn(void *arg, const struct coord_pong *pong);
struct coord_ping;
/* 0, or as coord_stream_say(): then @done is not called. */
int coord_ping(struct coord *coord, const struct coord_ping_options *options,
	       coord_pinged_fn *done, void *arg, struct coord_ping **out);
void coord_ping_cancel(struct coord_ping *ping);	/* @done is not called */
void coord_pings_close(struct coord *coord);
void coord_pong(struct request *request);	/* /machine/ping-response */

/* ---- aside.c: small requests that clients make beside ---- */

enum { COORD_REPORTS = 60 };		/* for the audit log, of all nodes, in a minute */
void coord_feature(struct request *request);	/* /machine/feature/query */
void coord_report(struct request *request);	/* /machine/audit-log */
void coord_attributes(struct request *request);	/* /machine/set-device-attr */

/* ---- prove.c: records that prove a node's name ---- */

void coord_set_dns(struct request *request);	/* /machine/set-dns */
/* As configured; *@out NULL: not at all. False: with a sentence, or no memory. */
bool coord_zone_load(struct coord *coord, struct zone **out, struct warren_err *err);
void coord_zone_use_take(struct coord *coord, struct zone *zone);
bool coord_zone_served(struct warren_ctx *ctx, struct warren_check_result *result);

/* ---- probe.c: do routers that could stand in for each other still answer? ---- */

int coord_probe_start(struct coord *coord);
void coord_probe_stop(struct coord *coord);

/* ---- ssh.c: sessions that the policy wants to have checked ---- */

#define COORD_SSH_PATH "/machine/ssh/action/"
void coord_ssh_action(struct request *request);
int coord_ssh_start(struct coord *coord);
void coord_ssh_stop(struct coord *coord);
extern const struct login_checks coord_ssh_checks;	/* for the desk; @self: the coord */
/* The policy is another one: all are asked for again. */
void coord_ssh_forget(struct coord *coord);

struct coord_ssh_check {		/* a session that waits; lent until the next call */
	const char *code;
	const struct tailnet_node *src, *dst;
	const char *login;		/* the system's user on @dst */
	uint64_t left;			/* microseconds that it waits still */
};
/* False: none waits under that code (any more). */
bool coord_ssh_shown(const struct coord *coord, const char *code, struct coord_ssh_check *out);
/* All: start with *@pos 0. */
bool coord_ssh_next(const struct coord *coord, uint32_t *pos, struct coord_ssh_check *out);

struct coord_ssh_decision {
	const char *code;
	bool yes;
	int64_t user;			/* who has signed in and must own the source; 0: operator */
	const char *actor, *origin;	/* for the audit log */
};
/* @error NULL: it is in the log and in force. */
typedef void coord_decided_fn(void *arg, const char *error);
/* 0, or -errno with a sentence, and @done is not called. */
int coord_ssh_decide(struct coord *coord, const struct coord_ssh_decision *decision,
		     coord_decided_fn *done, void *arg, struct warren_err *err);

/* ---- view.c: the policy over the tailnet ---- */

int coord_view_start(struct coord *coord, struct warren_err *err);
void coord_view_stop(struct coord *coord);
/* Tells the streams what coord->changes has, and clears it. */
void coord_view_tell(struct coord *coord);
/* Whose part in the rules has moved gets the routers that it sees once more. */
void coord_view_tell_routers(struct coord *coord, int64_t viewer);
/* The tailnet asks the policy that is in force now. */
void coord_view_rules(struct coord *coord);
/* The users once more: whether their provider's groups count has changed. */
void coord_view_users(struct coord *coord);

/* ---- policy.c: another policy ---- */

/*
 * From text (NULL: the default), in force when this returns; the one before stays when it is
 * refused.
 */
int coord_view_policy(struct coord *coord, const char *text, size_t len, struct warren_err *err);
/* For a file that has changed: it is in force soon, and what is wrong is logged. */
void coord_view_reloaded(struct coord *coord, const char *text, size_t len);
void coord_policy_stop(struct coord *coord);

/* ---- map.c: what these tell ---- */

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
void coord_escape(struct str *out, const char *text);	/* for a value in a query */
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

/* A DERPMap, checked, as clients get it, for free(); NULL with a sentence. */
char *coord_derp_parse(const char *text, size_t len, struct warren_err *err);
/*
 * @map (as above, or NULL) with a region for the relay of this box, which is reached at @host where
 * it does not say; a region of the file with the same number stays. For free(); NULL: no memory.
 */
char *coord_derp_with(const char *map, const struct warren_relay_server_info *relay,
		      const char *host);
/* Makes `derp_map` from `derp_file` and the relay. */
void coord_derp_merge(struct coord *coord);

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
/* What is asked beside; `json` is the caller's in any case. */
struct feature_query {
	uint8_t node_key[32];
	const char *feature;
	json_t *json;
};
int feature_query_parse(const void *data, size_t len, struct feature_query *out,
			struct warren_err *err);
enum { AUDIT_DETAILS = 1024 };		/* bytes of what a client says */
struct audit_report {			/* of the one action that clients know */
	uint8_t node_key[32];
	const char *details;
	json_t *json;
};
int audit_report_parse(const void *data, size_t len, struct audit_report *out,
		       struct warren_err *err);
struct attribute_update {		/* PATCH /machine/set-device-attr */
	uint8_t node_key[32];
	json_t *update;			/* name to text, number, boolean or null; in `json` */
	json_t *json;
};
int attribute_update_parse(const void *data, size_t len, struct attribute_update *out,
			   struct warren_err *err);
struct dns_request {			/* POST /machine/set-dns */
	uint8_t node_key[32];
	const char *name, *value;	/* of a TXT record; in `json` */
	json_t *json;
};
int dns_request_parse(const void *data, size_t len, struct dns_request *out,
		      struct warren_err *err);
/* "name=JSON" as the tailnet keeps it; false: such a value is not kept. */
bool attribute_spell(struct str *out, const char *name, const json_t *value);
int verify_request_parse(const void *data, size_t len, uint8_t key[32], struct warren_err *err);

#endif
