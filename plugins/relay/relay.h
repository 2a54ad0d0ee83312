/*
 * relay/relay.h - what the files of this plugin share
 *
 * A *client* is one connection, a *peer* a node key with all of its connections, a *link* remembers
 * that a client has had packets of a peer and wants to know when that leaves. All on lane main.
 */
#ifndef WARREN_PLUGIN_RELAY_H
#define WARREN_PLUGIN_RELAY_H

#include <warren/derp.h>
#include <warren/service/front.h>
#include <warren/service/relay-server.h>
#include <warren/stun.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"

enum {
	RELAY_HIGH = 64 << 10,		/* bytes of output above which packets queue */
	RELAY_QUEUE = 32,		/* packets of a kind that wait for one client */
	RELAY_QUEUED_MAX = 64 << 20,	/* bytes that wait for all of them */
	RELAY_LINKS_MAX = 1 << 18,	/* of all peers, */
	RELAY_LINKS_PEER = 4096,	/* and of one */
	RELAY_ROUTES_MAX = 100000,	/* keys at one other relay */
	RELAY_PLACES = 8,		/* of `listen`, and of `listen-http` */
};

/* Where the certificate of a listener of our own comes from. */
enum relay_tls { RELAY_TLS_SELF_SIGNED, RELAY_TLS_FILES, RELAY_TLS_OFF };
enum relay_verify { RELAY_VERIFY_COORDINATOR, RELAY_VERIFY_URL, RELAY_VERIFY_ANYONE };

/* Why a packet was dropped: label of the metric `dropped`. */
enum relay_drop {
	RELAY_DROP_UNKNOWN, RELAY_DROP_OLDEST, RELAY_DROP_NEWEST, RELAY_DROP_GONE,
	RELAY_DROPS
};

struct relay_bucket {			/* tokens at @at, in millionths */
	uint64_t at, tokens;
};

struct relay_packet {
	struct list link;
	size_t len;
	uint8_t from[32];
	uint8_t data[];
};

struct relay_queue {
	struct list packets;
	uint32_t count;
};

enum relay_state { RELAY_LOGIN, RELAY_VERIFYING, RELAY_UP, RELAY_DOOMED };
enum { RELAY_DATA, RELAY_PATH, RELAY_QUEUES };	/* PATH: disco, and WireGuard's handshakes */

struct relay_client {
	struct list all, of_peer, watch;
	struct list login;		/* of those whose login has not come */
	struct relay *relay;
	struct relay_peer *peer;	/* from RELAY_UP on */
	struct warren_stream *stream;
	struct warren_timer *timer;	/* login's end, keep-alives, the end of a doomed one */
	struct warren_timer *wait;	/* for tokens; made with the first wait */
	struct warren_fetch *fetch;	/* verification */
	struct warren_derp_reader reader;
	enum relay_state state;
	bool home, prober, not_ideal;
	bool of_front;			/* its stream is of front's context */
	bool mesh;			/* another relay of the region */
	bool blocked;			/* its output went above RELAY_HIGH and has not drained */
	bool waiting;			/* for tokens: its input is left alone */
	bool pong_due;
	uint8_t pong[WARREN_DERP_PING_DATA];
	uint8_t key[32];
	struct warren_addrport from;
	uint64_t since, received, sent, dropped;	/* packets */
	struct relay_queue queues[RELAY_QUEUES];
	struct list links;		/* of peers whose packets it has had */
	struct relay_bucket bytes, gone;
	struct list dirty;		/* of what was written in this turn: */
	uint8_t *gathered;
	uint32_t n_gathered, gather_room;
};

struct relay_peer {			/* it has clients, or routes */
	uint8_t key[32];
	struct list clients;		/* the last one gets the packets: it spoke last */
	struct list routes;		/* other relays where it is */
	struct list links;
	uint32_t n_links, n_clients;
};

/* Why a connection was turned away: label of the metric `refused`. */
enum relay_refused {
	RELAY_REFUSED_FULL, RELAY_REFUSED_RATE, RELAY_REFUSED_VERIFY, RELAY_REFUSED_TLS,
	RELAY_REFUSED_CROWD, RELAY_REFUSALS
};

enum relay_stun {			/* the same of the metric `stun` */
	RELAY_STUN_ANSWERED, RELAY_STUN_FOREIGN, RELAY_STUN_LIMITED, RELAY_STUN_OTHER,
	RELAY_STUN_FAILED, RELAY_STUNS
};

struct relay_stats {
	struct warren_stat *websockets, *not_ideal, *watchers, *remote, *home_moves[2];
	struct warren_stat *dropped_bytes[RELAY_DROPS];
	struct warren_stat *clients, *peers, *homes, *duplicates, *accepted;
	struct warren_stat *refused[RELAY_REFUSALS];
	struct warren_stat *packets[2], *bytes[2], *dropped[RELAY_DROPS];
	struct warren_stat *forwarded[2], *pongs, *gone[2], *shed, *protocol;
	struct warren_stat *stun[RELAY_STUNS];
};

struct relay_place {
	char text[ADDRPORT_TEXT];	/* as in YAML */
	struct warren_listener *listener;
	bool plain;			/* without TLS, for what needs none */
};
struct relay_own {			/* listeners of our own; n 0: none */
	struct relay_place places[2 * RELAY_PLACES];
	uint32_t n;
	struct warren_tls_server *tls;	/* NULL: off */
	struct warren_cert_facts facts;
	char *marker;			/* the meta certificate, PEM */
	bool is_new;			/* the self-signed one; nobody has been told it yet, */
	struct warren_timer *settled;	/* until this fires at the latest */
	struct list conns;
	uint32_t crowd;			/* of them */
	struct warren_limit limit;
};

struct relay {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;
	const struct warren_front *front;	/* NULL: it does not run */
	void *front_self;
	struct relay_own own;
	struct warren_private key;
	uint8_t public_key[32];
	struct warren_timer *marker;	/* when the meta certificate is made anew */

	struct list clients;
	struct hash peers, links;
	struct list logins;		/* clients whose login has not come, the oldest first */
	uint32_t n_clients, n_peers, n_homes, n_duplicates, n_not_ideal;
	uint32_t n_watchers, n_remote;
	uint64_t refused;		/* by the verifier */
	size_t queued;			/* bytes */
	struct relay_bucket accepts;

	uint64_t rate, burst;		/* of one client, bytes; 0: no limit */
	uint64_t accept_rate, write_timeout;
	uint32_t clients_max;

	enum relay_verify verify;
	bool mesh;			/* there is a key: */
	uint8_t mesh_key[32];
	struct list mates, watchers;	/* relays that we dial; clients that are relays */

	const char *verify_url;		/* of RELAY_VERIFY_URL, */
	struct warren_ca_file ca;	/* and who vouches for it */
	warren_relay_judge_fn *judge;
	void (*changed)(void *arg);
	void *judge_arg;
	struct warren_ctx *judge_of;
	void *judge_tie;

	struct relay_reach *reach;
	struct warren_io *stun[2];
	uint32_t stun_open[2];		/* IPv4, IPv6: handles of what the firewall lets in */
	uint16_t stun_port;
	struct relay_bucket stun_others;	/* answers to clients that are not Tailscale's */
	struct relay_stats stats;
	struct warren_limit refused_limit, ended_limit;
	struct list dirty;		/* clients for whom something was gathered, */
	struct warren_timer *dispatch;	/* and when it leaves: at the end of this turn */
	uint8_t out[WARREN_DERP_FRAME_MAX];	/* a long frame that is being written */
};

/* ---- table.c: who is here, and who has heard of whom ---- */

/* Of one that is zeroed: nobody is here. */
void relay_init(struct relay *relay);
/* Makes @client the newest of its key. 0 or -ENOMEM. */
int relay_join(struct relay_client *client);
/* Tells those who have had packets of its key, if this was the last connection. */
void relay_leave(struct relay_client *client);
/* It has said something: the packets for its key are for it, of all that have the key. */
void relay_spoke(struct relay_client *client);
struct relay_peer *relay_find(const struct relay *relay, const uint8_t key[32]);
/*
 * The same, made if it is not there; NULL: no memory. The other lets it go, if it has neither
 * clients nor routes, and tells those who wait for that.
 */
struct relay_peer *relay_peer_get(struct relay *relay, const uint8_t key[32]);
void relay_peer_check(struct relay *relay, struct relay_peer *peer);
/* Of a peer that has clients. */
struct relay_client *relay_active(const struct relay_peer *peer);
/* @client has a packet of @peer. */
void relay_link(struct relay *relay, struct relay_peer *peer, struct relay_client *client);

/* ---- client.c: a connection ---- */

/* Takes @stream, on which frames begin. */
void relay_client_take(struct relay *relay, struct warren_stream *stream, bool not_ideal,
		       bool of_front);
void relay_client_verified(struct relay_client *client, const char *refused);
/* After a verdict that came later: what has come meanwhile is looked at. */
void relay_client_resume(struct relay_client *client);
/* Is there room for another? Who has been slow to log in gives way. */
bool relay_make_room(struct relay *relay);
/* Later, from the loop; @why is a sentence for the log, NULL: none is due. */
void relay_client_doom(struct relay_client *client, const char *why);
void relay_client_gone(struct relay_client *client, const uint8_t key[32], uint8_t reason);
void relay_clients_close(struct relay *relay);
void relay_clients_close_front(struct relay *relay);	/* those that came through it */
/* Takes one of @cost tokens, of which @rate come each second and at most @burst wait. */
bool relay_bucket_take(struct relay_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t cost);

/* ---- queue.c: what waits for a client that reads slowly ---- */

void relay_dropped(struct relay *relay, enum relay_drop why, size_t len);
void relay_deliver(struct relay_client *to, const uint8_t from[32], const uint8_t *data,
		   size_t len);
/* Writes what waits while the stream takes it. */
void relay_flush(struct relay_client *client);
void relay_queues_free(struct relay_client *client);
int relay_gather_begin(struct relay *relay);
void relay_last_words(struct relay_client *client);	/* sends what was gathered */
void relay_write(struct relay_client *client, const struct warren_derp_frame *frame);
bool relay_is_disco(const uint8_t *data, size_t len);

/* ---- mesh.c: other relays of the region ---- */

int relay_mesh_check(const struct warren_conf *at, struct warren_err *err);
int relay_mesh_open(struct relay *relay, const struct warren_conf *conf, struct warren_err *err);
void relay_mesh_close(struct relay *relay);
/* To a peer that has routes. False: it was dropped. */
bool relay_mesh_forward(struct relay *relay, const struct relay_peer *to, const uint8_t from[32],
			const uint8_t *data, size_t len);
/* @watcher is told of all clients, now and later. */
void relay_watch(struct relay_client *watcher);
void relay_tell_present(const struct relay_client *client);
void relay_tell_gone(struct relay *relay, const uint8_t key[32]);
void relay_mesh_show(const struct relay *relay, struct warren_reply *reply);
bool relay_check_mesh(struct warren_ctx *ctx, struct warren_check_result *result);

/* ---- http.c ---- */

int relay_route(struct relay *relay, struct warren_err *err);	/* through front */
/* A request to a listener of our own. */
void relay_http_serve(struct relay *relay, struct warren_exchange *x,
		      const struct warren_http_head *head);
bool relay_http_is_plain(const struct warren_http_head *head);	/* it needs no TLS */

/* ---- own.c: a listener of our own ---- */

int relay_own_check_place(const struct warren_conf *at, struct warren_err *err);
int relay_own_check(const struct warren_conf *conf, struct warren_err *err);
enum relay_tls relay_own_tls(const struct warren_conf *conf);
/*
 * Listens as @now says; @old NULL: at the start. -errno with a sentence: what was changed by then
 * stays so, call it again with the settings before. `start` and `reload` only.
 */
int relay_own_set(struct relay *relay, const struct warren_conf *old,
		  const struct warren_conf *now, struct warren_err *err);
void relay_own_close(struct relay *relay);
void relay_own_marker_take(struct relay *relay, char *pem);
uint16_t relay_own_port(const struct relay *relay);	/* as clients are told */
bool relay_own_port80(const struct relay *relay);
/* True: clients must know it by its SHA-256, which they are told now. */
bool relay_own_pin(struct relay *relay, uint8_t sha256[32]);
bool relay_own_is_pinned(const struct relay *relay);
/* Clients are told to reach us by @host: a certificate that nobody knows yet is to say so. */
void relay_own_name(struct relay *relay, const char *host);
void relay_own_accept(struct warren_ctx *ctx, struct warren_stream *stream, void *relay);
void relay_own_accept_plain(struct warren_ctx *ctx, struct warren_stream *stream, void *relay);

/* ---- verify.c ---- */

/* Ends in relay_client_verified(), at once or later. */
void relay_ask(struct relay_client *client);
int relay_judge(void *relay, struct warren_ctx *ctx, warren_relay_judge_fn *fn,
		void (*changed)(void *arg), void *arg, struct warren_err *err);
/* What the verifier at a URL has said: 0 yes, -EACCES no, -EBADMSG neither. */
int relay_verdict(const uint8_t *body, size_t len);

/* ---- stun.c ---- */

int relay_stun_open(struct relay *relay, struct warren_err *err);
void relay_stun_close(struct relay *relay);
int relay_stun_take(struct relay *relay, int fd);	/* a bound socket; the next free place */

/* ---- reach.c: is STUN reached under our name? ---- */

/* On the context's memory; NULL: none is left. */
struct relay_reach *relay_reach_new(struct relay *relay);
void relay_reach_stop(struct relay_reach *reach);
void relay_reach_again(struct relay_reach *reach);	/* name or port have changed */
/* How clients are told to reach this box where relay.host is not set. */
void relay_reach_host(struct relay_reach *reach, const char *host);
/* A request has come to our STUN. NULL @reach is allowed. */
void relay_reach_saw(struct relay_reach *reach, const uint8_t txid[WARREN_STUN_TXID]);
/* What was found wrong last, a sentence; NULL: nothing. */
const char *relay_reach_why(const struct relay_reach *reach);

/* ---- show.c ---- */

void relay_status(struct warren_ctx *ctx, struct warren_reply *reply);
int relay_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err);
bool relay_check_served(struct warren_ctx *ctx, struct warren_check_result *result);
bool relay_check_certificate(struct warren_ctx *ctx, struct warren_check_result *result);
bool relay_check_verify(struct warren_ctx *ctx, struct warren_check_result *result);
bool relay_check_reach(struct warren_ctx *ctx, struct warren_check_result *result);
bool relay_check_duplicates(struct warren_ctx *ctx, struct warren_check_result *result);

#endif
