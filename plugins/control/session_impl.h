/*
 * session_impl.h - the session's insides, shared by the files of this plugin
 *
 * session.c is the middle: ctl_session_run() looks at what is wanted and at what there is, and
 * starts what is missing. link.c keeps the connection, login.c registers, poll.c reads the map
 * stream, update.c tells the server about this node, answer.c does what the server asks. Each of
 * them fails by its own backoff and ends by calling ctl_session_run() again.
 */
#ifndef CTL_SESSION_IMPL_H
#define CTL_SESSION_IMPL_H

#include <pthread.h>

#include <warren/net.h>
#include <warren/plugin.h>
#include <warren/service/dataplane.h>
#include <warren/service/identity.h>
#include <warren/service/netmap.h>
#include <warren/service/exitnode.h>
#include <warren/service/router.h>

#include "connect.h"
#include "hostinfo.h"
#include "map.h"
#include "persist.h"
#include "register.h"
#include "request.h"
#include "session.h"

struct ctl_link {
	struct ctl_memory memory;
	struct ctl_connect *connect;	/* under way */
	struct warren_http *http;	/* NULL: not connected */
	uint64_t since;			/* of the connection */
	struct warren_timer *redial;
	uint32_t failures;
	bool waiting;			/* for redial */
};

struct ctl_login {
	bool needed;			/* the server has not yet accepted the node key */
	bool force;			/* with a new node key */
	bool expired;			/* needed because the key expired, and for nothing else */
	bool refused_once;		/* NodeKeyExpired, one time */
	bool prepared;			/* `trying` is a key that identity has prepared */
	bool key_tried;			/* the auth key went with the request under way */
	bool key_useless;		/* it was answered with a link: the user must log in */
	uint64_t renewed;		/* warren_now() when a new key replaced another; 0: never */
	uint8_t trying[32];
	char *auth_key;			/* given to this login; wiped; NULL: that of the section */
	struct ctl_request *request;
	struct warren_timer *retry;
	uint32_t failures;
	bool waiting;			/* for retry */

	bool logout;			/* wanted */
	bool leaving;			/* with the daemon: the next start may log in again */
	struct warren_timer *logout_limit;
	ctl_logout_fn *logout_done;
	void *logout_arg;
};

struct ctl_poll {
	struct warren_exchange *x;	/* NULL: no stream */
	int status;			/* of the stream; 0: no head yet */
	uint64_t retry_after;
	struct str refusal;		/* body of an answer that is not 200 */
	uint64_t since;			/* of the first message; 0: none yet */
	struct warren_timer *retry, *watchdog, *pause;
	uint64_t pause_usec;		/* the server wants us to be quiet */
	uint32_t failures, refusals;
	bool waiting;			/* for retry */
};

struct ctl_update {
	struct ctl_request *request;
	struct warren_timer *timer;
	struct str sent;		/* the newest body that the server took */
	struct str body;		/* under way */
	uint32_t failures;
	bool due, waiting;
};

/* A clock tells nobody when it changes: looked at so often. */
#define CTL_CHECK_USEC UINT64_C(10000000)
enum { CTL_CHECKS_LOOK = 6 };		/* every so many checks the host is looked at */

/* What lasted longer than so was good: the next failure is the first. */
#define CTL_LIVED_USEC UINT64_C(5000000)
/* A key that expires sooner than so after it was made is not replaced by itself. */
#define CTL_RENEW_USEC UINT64_C(600000000)

enum { CTL_ANSWERS = 4, CTL_C2N_JOBS = 2 };
struct ctl_answers {
	char last_url[2048];		/* a PingRequest with the same URL again is ignored (4.6) */
	struct ctl_request *requests[CTL_ANSWERS];
	struct warren_fetch *fetches[CTL_ANSWERS];
	uint32_t jobs;			/* c2n answers being made */
};

struct ctl_session {
	struct warren_ctx *ctx;
	const struct warren_conf *conf;	/* of the section in force */
	const struct warren_identity_ops *identity;
	void *identity_self;
	const struct warren_dataplane_ops *dataplane;	/* NULL: not there */
	void *dataplane_self;
	bool filter;			/* there */
	const struct warren_router_ops *router;	/* NULL: not there */
	void *router_self;
	const struct warren_exitnode_ops *exitnode;	/* NULL: not there */
	void *exitnode_self;
	bool held;			/* nothing is said before the router has told its part */

	char url[256], authority[264];
	char host_name[256];		/* of url */
	struct warren_ca_file ca;
	bool up;
	struct ctl_persist persist;
	struct ctl_host host;
	struct ctl_facets facets;
	bool disco_told;		/* our disco key is known to the server */
	struct warren_ctx *accept_owner;	/* netmap->accept_set(); NULL: nobody */
	void *accept_end;
	bool accept;
	struct warren_ctx *exit_owner;		/* netmap->exit_set(); NULL: nobody */
	void *exit_end;
	bool exit_chosen;
	int64_t exit_node;

	struct ctl_link link;
	struct ctl_login login;
	bool registered;		/* in this process: the poll may run */
	struct ctl_map *map;
	struct ctl_poll poll;
	struct ctl_update update;
	struct ctl_answers answers;

	/* What is shown. */
	enum ctl_state state;
	char auth_url[CTL_AUTH_URL_MAX];
	char error[CTL_ERROR_MAX + 128];
	bool error_final;
	bool answered;			/* the server has said something about our login */
	int64_t last_contact;
	struct warren_timer *notify, *check;
	uint32_t checks;
	struct ctl_watch *watches;

	/* The map as it is published: shields.c. */
	pthread_mutex_t lock;
	const struct warren_netmap *published;	/* under lock */
	uint64_t serial;
	const struct warren_netmap *known;	/* the last one before `up: false`, or NULL */

	struct warren_limit records, errors;	/* log limits of what the server can cause */
	bool foreign_key;		/* that in force is not that of the login; seen once */
	struct warren_stat *polls, *messages, *bad_records, *logins, *updates, *reconnects,
			   *connected;
};

/* ---- session.c ---- */
/* In `start`; it ends with @ctx. */
int ctl_session_new(struct warren_ctx *ctx, const struct warren_conf *conf,
		    struct ctl_session **out, struct warren_err *err);
/* In `stop`; what that returns. An ephemeral node is logged out first, as the stock one is. */
int ctl_session_stop(struct ctl_session *session);
int ctl_session_reload(struct ctl_session *session, const struct warren_conf *conf,
		       struct warren_err *err);
/* A soft need has come, or (@ops NULL) goes. */
void ctl_session_found(struct ctl_session *session, const char *service, const void *ops,
		       void *self);
/* netmap->self_set() */
int ctl_session_facet(struct ctl_session *session, struct warren_ctx *owner,
		      enum warren_facet facet, const char *value);
/* netmap->accept_set() */
int ctl_session_accept(struct ctl_session *session, struct warren_ctx *owner, bool accept);
/* netmap->exit_set() */
int ctl_session_exit(struct ctl_session *session, struct warren_ctx *owner, bool chosen,
		     int64_t id);
/* Starts what is missing, ends what is not wanted, and works out the state. */
void ctl_session_run(struct ctl_session *session);
/* Something that is shown has changed. */
void ctl_session_changed(struct ctl_session *session);
/* @final: the server's own "no". A sentence that is new is logged. */
void ctl_session_error(struct ctl_session *session, bool final, const char *fmt, ...)
	WARREN_PRINTF(3, 4);
void ctl_session_good(struct ctl_session *session);	/* no error any more */
/* Seconds that the server's clock is ahead of ours; 0 within a minute, or if it makes no sense. */
int64_t ctl_session_delta(const struct ctl_session *session);
/* True: the node key that the newest map knows us by has expired by the server's clock. */
bool ctl_session_expired(struct ctl_session *session);
/* Forgets login and map. */
void ctl_session_forget(struct ctl_session *session);
void ctl_session_node_key(const struct ctl_session *session, uint8_t out[32]);
/* n squared times 10 ms, at most 30 s, times 0.5-1.5 (control-protocol.md 5.3). */
uint64_t ctl_backoff(uint32_t failures);

/* ---- link.c ---- */
int ctl_link_init(struct ctl_session *session);
void ctl_link_open(struct ctl_session *session);	/* if it is not there or on its way */
/* Now, with all requests on it. @why: it is broken; NULL: it is not wanted. */
void ctl_link_close(struct ctl_session *session, const char *why);

/* ---- login.c ---- */
int ctl_login_init(struct ctl_session *session);
void ctl_login_run(struct ctl_session *session);	/* connected and needed */
void ctl_login_stop(struct ctl_session *session);	/* gives up what is under way */
/* Also the wait: the next ctl_login_run() begins anew. */
void ctl_login_reset(struct ctl_session *session);
/* Logs an ephemeral node out for the stop. False: nothing to do; else warren_stopped() comes. */
bool ctl_login_leave(struct ctl_session *session);
bool ctl_login_take_prepared(struct ctl_session *session);	/* true: the next login shows it */
void ctl_login_end(struct ctl_session *session);	/* and the auth key that was given */
void ctl_logout_end(struct ctl_session *session, int result, const char *why);

/* ---- poll.c ---- */
extern const struct ctl_map_events ctl_session_map_events;
int ctl_poll_init(struct ctl_session *session);
void ctl_poll_run(struct ctl_session *session);
void ctl_poll_stop(struct ctl_session *session);

/* ---- update.c ---- */
int ctl_update_init(struct ctl_session *session);
/* Something about this node changed, or may have: compared with what was sent, in 100 ms. */
void ctl_update_soon(struct ctl_session *session);
void ctl_update_stop(struct ctl_session *session);
/* The server knows nothing of us any more. */
void ctl_update_forget(struct ctl_session *session);
bool ctl_self_hostinfo(struct ctl_session *session, struct str *out);
/* The body of a map request; @stream or a lite update. False: no memory. */
bool ctl_map_request(struct ctl_session *session, bool stream, struct str *out);

/* ---- answer.c ---- */
void ctl_answer_ping(struct ctl_session *session, const struct ctl_ping *ping);
void ctl_answer_stop(struct ctl_session *session);

/* ---- shields.c ---- */
/* All that this node offers to lead to, at most @room networks; returns how many. */
enum { CTL_ROUTES_MAX = 256, CTL_FORWARDING_TEXT = 200 };
uint32_t ctl_offers(const struct ctl_session *session, struct warren_prefix *out, uint32_t room);
/* What the kernel does not forward of that, as a sentence; false: nothing. */
bool ctl_forwarding_problem(const struct ctl_session *session, char why[CTL_FORWARDING_TEXT]);
/* The map as consumers see it: with our own `shields-up`. 0 or -ENOMEM. */
int ctl_shields_publish(struct ctl_session *session, const struct warren_netmap *map);
/* The same map, since our own word has changed; or only if what we lead to has. */
int ctl_shields_again(struct ctl_session *session);
int ctl_shields_offers(struct ctl_session *session);
/* The map is about to be emptied, and questions about it shall be answered all the same. */
void ctl_known_keep(struct ctl_session *session);
void ctl_known_drop(struct ctl_session *session);

#endif
