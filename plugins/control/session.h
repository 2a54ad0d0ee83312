/*
 * session.h - the login and the map poll of this node at a control server
 *
 * One session per started plugin. What the operator wants is three things: the section's options,
 * `up` (wants to run), and whether the node is logged in; the session does the rest by itself and
 * never gives up. All functions: the lane of the context.
 */
#ifndef CTL_SESSION_H
#define CTL_SESSION_H

#include <warren/plugin.h>
#include <warren/service/netmap.h>

enum ctl_state {			/* of the stock client; its words are ctl_state_name() */
	CTL_NO_STATE = 0,		/* before the first answer of the server */
	CTL_NEEDS_LOGIN,		/* somebody must log in: auth_url, or `warren login` */
	CTL_NEEDS_MACHINE_AUTH,		/* an administrator must approve this machine */
	CTL_STOPPED,			/* `up: false` */
	CTL_STARTING,			/* logged in; no map yet */
	CTL_RUNNING,
};
const char *ctl_state_name(enum ctl_state state);	/* "NeedsLogin" */

struct ctl_session;

/* Strings live until the session changes: use them at once. */
struct ctl_session_info {
	enum ctl_state state;
	bool up;			/* the operator wants to run */
	bool logged_out;		/* by `warren logout`, until the next login */
	bool connected;			/* a map stream is open and alive */
	bool busy;			/* a request to log in or out is under way */
	const char *url;		/* of the server */
	const char *auth_url;		/* where the user logs in; NULL: none is asked for */
	const char *error;		/* the newest failure, a sentence; NULL: none since */
	bool error_final;		/* the server's own "no" (RegisterResponse.Error) */
	const char *login;		/* "alice@example.com"; NULL: not logged in */
	const char *display_name;	/* NULL likewise */
	const char *stable_id;		/* NULL: not known */
	int64_t user;			/* id; 0: none */
	int64_t key_expiry;		/* seconds since 1970; 0: never */
	int64_t last_contact;		/* seconds since 1970 of the last message; 0: none */
};

/* Of a running plugin `control`; NULL: it does not run. */
struct ctl_session *ctl_session_of(struct warren_ctx *ctx);
void ctl_session_info(const struct ctl_session *session, struct ctl_session_info *out);

/*
 * Log in, or begin anew if that is under way. @auth_key (NULL: the one of the section, else
 * interactively) is used for this login and not stored. @force: with a new node key even where
 * the old one is good (the data plane keeps the old one until the server has accepted). Without
 * @force, nothing happens where the node is logged in. 0, or -errno with a sentence.
 */
int ctl_session_login(struct ctl_session *session, const char *auth_key, bool force,
		      struct warren_err *err);
/*
 * Tells the server, then forgets login and node key; the machine key stays. @done (may be NULL)
 * is called later, once: 0, or -errno with a sentence: the server was not told within 15 s, but
 * this node has forgotten all the same. It comes also when the plugin stops before.
 */
typedef void ctl_logout_fn(struct warren_ctx *ctx, int result, const char *why, void *arg);
int ctl_session_logout(struct ctl_session *session, ctl_logout_fn *done, void *arg);

/*
 * Calls @fn, from the loop, after each change of what ctl_session_info() says, and once at the
 * beginning. NULL: no memory.
 */
struct ctl_watch;
typedef void ctl_watch_fn(struct ctl_session *session, void *arg);
struct ctl_watch *ctl_session_watch(struct ctl_session *session, ctl_watch_fn *fn, void *arg);
void ctl_session_unwatch(struct ctl_watch *watch);	/* NULL is allowed */

/* A reference to the newest map, or NULL. */
const struct warren_netmap *ctl_session_map(struct ctl_session *session);
/* The same, but while the node is stopped what was known when it was: for people's questions. */
const struct warren_netmap *ctl_session_known(struct ctl_session *session);

#endif
