/*
 * The session's middle: what is wanted, what there is, and what to start next. Every event ends in
 * ctl_session_run(), which may be called at any time and does only what is missing.
 *
 *     wanted: up, and not logged out (or just logging out)
 *       no  -> close the connection; down: an empty map, the login is kept
 *       yes -> connected? -> node key accepted? -> map stream, updates
 *
 * The newest map stays in force while the server is away, and comes from disk after a restart.
 */
#include "session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <sodium.h>

#include <warren/netstate.h>

#include "base/err.h"
#include "base/util.h"
#include "session_impl.h"

static const char *const state_names[] = {
	[CTL_NO_STATE] = "NoState", [CTL_NEEDS_LOGIN] = "NeedsLogin",
	[CTL_NEEDS_MACHINE_AUTH] = "NeedsMachineAuth", [CTL_STOPPED] = "Stopped",
	[CTL_STARTING] = "Starting", [CTL_RUNNING] = "Running",
};

const char *ctl_state_name(enum ctl_state state)
{
	return state_names[state];
}

uint64_t ctl_backoff(uint32_t failures)
{
	const uint64_t longest = 30000000;
	uint64_t usec = failures < 60 ? (uint64_t)failures * failures * 10000 : longest;

	if (usec > longest)
		usec = longest;
	return usec / 2 + (uint64_t)(usec / 1000) * randombytes_uniform(1000);
}

/*
 * ---- The end of a key ----
 */

int64_t ctl_session_delta(const struct ctl_session *s)
{
	const int64_t epoch = 1672531200;	/* 2023: before it no server has the right time */
	struct ctl_map_stats stats;

	ctl_map_stats_get(s->map, &stats);
	return warren_realtime() / 1000000 + stats.clock_delta < epoch ? 0 : stats.clock_delta;
}

static int64_t server_time(const struct ctl_session *s)
{
	return warren_realtime() / 1000000 + ctl_session_delta(s);
}

bool ctl_session_expired(struct ctl_session *s)
{
	const struct warren_node *self = s->published ? s->published->self : NULL;

	/* A map of an older key says nothing about the one that replaced it. */
	if (!self || !s->persist.logged_in || memcmp(&self->key, s->persist.node_key, 32))
		return false;
	return self->expired || (self->key_expiry && self->key_expiry <= server_time(s));
}

static bool just_renewed(const struct ctl_session *s)
{
	return s->login.renewed && warren_now() - s->login.renewed < CTL_RENEW_USEC;
}

/* A map or the clock has ended our key, or a map has given it more time: there is work. */
static bool expiry_due(struct ctl_session *s)
{
	return ctl_session_expired(s) ? !s->login.needed && !just_renewed(s) : s->login.expired;
}

static void session_expiry(struct ctl_session *s)
{
	bool expired = ctl_session_expired(s);

	if (expired && !s->login.needed && just_renewed(s)) {
		/* A new key after the other would help nobody. */
		if (!s->error[0])
			ctl_session_error(s, true, "%s took a new node key and says that it has "
					  "expired: its administrator must look", s->url);
	} else if (expired && !s->login.needed) {
		warren_log(s->ctx, LOG_WARNING, "the node key has expired: somebody must log in");
		s->login.needed = s->login.expired = true;
	} else if (!expired && s->login.expired) {
		s->identity->abandon(s->identity_self, WARREN_KEY_NODE);
		s->login.needed = s->login.expired = s->login.prepared = false;
		ctl_login_reset(s);
	}
}

/*
 * ---- What is shown ----
 */

struct ctl_watch {
	struct ctl_watch *next;
	struct ctl_session *session;
	ctl_watch_fn *fn;
	void *arg;
	bool gone;			/* taken out, while they are being called */
};

static void session_notify(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;
	struct ctl_watch **link = &s->watches;

	(void)ctx;
	if (expiry_due(s))
		ctl_session_run(s);
	for (struct ctl_watch *w = s->watches; w; w = w->next) {
		if (!w->gone)
			w->fn(s, w->arg);
	}
	while (*link) {
		struct ctl_watch *w = *link;

		if (!w->gone) {
			link = &w->next;
			continue;
		}
		*link = w->next;
		free(w);
	}
}

struct ctl_watch *ctl_session_watch(struct ctl_session *s, ctl_watch_fn *fn, void *arg)
{
	struct ctl_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->session = s;
	watch->fn = fn;
	watch->arg = arg;
	watch->next = s->watches;
	s->watches = watch;
	warren_timer_set(s->notify, 0);
	return watch;
}

void ctl_session_unwatch(struct ctl_watch *watch)
{
	if (!watch)
		return;
	watch->gone = true;
	warren_timer_set(watch->session->notify, 0);
}

static enum ctl_state state_now(struct ctl_session *s)
{
	const struct warren_node *self = s->published ? s->published->self : NULL;

	if (!s->up)
		return CTL_STOPPED;
	if (s->persist.logged_out || s->auth_url[0] || ctl_session_expired(s))
		return CTL_NEEDS_LOGIN;
	if (!s->persist.logged_in)
		return s->answered ? CTL_NEEDS_LOGIN : CTL_NO_STATE;
	if (!self)
		return CTL_STARTING;
	return self->machine_authorized ? CTL_RUNNING : CTL_NEEDS_MACHINE_AUTH;
}

void ctl_session_changed(struct ctl_session *s)
{
	enum ctl_state now = state_now(s);

	if (now != s->state) {
		warren_log(s->ctx, LOG_NOTICE, "%s (was %s)", ctl_state_name(now),
			   ctl_state_name(s->state));
		s->state = now;
	}
	warren_timer_set(s->notify, 0);
}

void ctl_session_error(struct ctl_session *s, bool final, const char *fmt, ...)
{
	char text[sizeof(s->error)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->error_final = final;
	/* The same failure again, from the next try, is not told again. */
	if (strcmp(text, s->error))
		warren_log_limit(s->ctx, &s->errors, LOG_WARNING, "%s", text);
	memcpy(s->error, text, sizeof(text));
	ctl_session_changed(s);
}

void ctl_session_good(struct ctl_session *s)
{
	s->error[0] = '\0';
	s->error_final = false;
	ctl_session_changed(s);
}

void ctl_session_info(const struct ctl_session *s, struct ctl_session_info *out)
{
	const struct warren_node *self = s->published ? s->published->self : NULL;
	struct ctl_map_stats stats;

	ctl_map_stats_get(s->map, &stats);
	*out = (struct ctl_session_info){
		.state = s->state,
		.up = s->up,
		.logged_out = s->persist.logged_out,
		.connected = s->poll.since != 0,
		.busy = s->login.logout || (s->login.needed && !s->auth_url[0]),
		.url = s->url,
		.auth_url = s->auth_url[0] ? s->auth_url : NULL,
		.error = s->error[0] ? s->error : NULL,
		.error_final = s->error_final,
		.login = s->persist.logged_in && s->persist.login[0] ? s->persist.login : NULL,
		.display_name = s->persist.logged_in && s->persist.display_name[0] ?
				s->persist.display_name : NULL,
		.stable_id = self ? self->stable_id : NULL,
		.user = s->persist.user,
		.key_expiry = self ? self->key_expiry : 0,
		.last_contact = s->last_contact,
	};
}

/*
 * ---- What to do next ----
 */

void ctl_session_node_key(const struct ctl_session *s, uint8_t out[32])
{
	s->identity->public_key(s->identity_self, WARREN_KEY_NODE, out);
}

void ctl_session_forget(struct ctl_session *s)
{
	int result;

	ctl_login_reset(s);
	ctl_persist_wipe(&s->persist);
	ctl_persist_save(s->ctx, &s->persist);
	s->identity->abandon(s->identity_self, WARREN_KEY_NODE);
	s->login.prepared = s->login.force = s->login.expired = false;
	s->login.needed = true;
	s->registered = s->answered = false;
	ctl_map_clear(s->map);
	ctl_known_drop(s);
	ctl_map_save(s->map);
	ctl_update_forget(s);
	s->answers.last_url[0] = '\0';
	result = s->identity->rotate(s->identity_self, WARREN_KEY_NODE);
	if (result && result != -EPERM && result != -EALREADY)
		warren_log(s->ctx, LOG_ERR, "the node key cannot be replaced: %s",
			   strerror(-result));
}

/*
 * A server that hears from us before the router has said what it leads to would take back what it
 * has approved. The start of plugins tells by `found` when that is over.
 */
static bool is_held(struct ctl_session *s)
{
	const void *ops;
	void *self;

	s->held = !s->router && warren_need(s->ctx, "router", &ops, &self) == -EAGAIN;
	return s->held;
}

void ctl_session_run(struct ctl_session *s)
{
	bool wanted = s->up && !s->persist.logged_out && !s->login.leaving;
	uint8_t key[32];

	session_expiry(s);
	if (!wanted && !s->login.logout) {
		ctl_link_close(s, NULL);
		ctl_login_reset(s);
	} else if (!s->link.http) {
		if (!is_held(s))
			ctl_link_open(s);
	} else {
		if (s->login.needed || s->login.logout)
			ctl_login_run(s);
		ctl_session_node_key(s, key);
		if (s->link.http && wanted && s->registered && !s->login.logout &&
		    !memcmp(key, s->persist.node_key, 32))
			ctl_poll_run(s);
	}
	ctl_session_changed(s);
}

/* The key in force is not the one that we are logged in with, and no login is under way. */
static bool key_is_foreign(const struct ctl_session *s)
{
	uint8_t key[32];

	ctl_session_node_key(s, key);
	return s->persist.logged_in && !s->login.needed && memcmp(key, s->persist.node_key, 32);
}

static void key_register(struct ctl_session *s)
{
	ctl_poll_stop(s);
	s->registered = s->foreign_key = false;
	s->login.needed = true;
}

/* A key of ours is another one now. */
static void identity_changed(struct warren_ctx *ctx, const char *topic, const void *obj, void *arg)
{
	const struct warren_identity_event *event = obj;
	struct ctl_session *s = arg;

	(void)ctx;
	(void)topic;
	/* The operator's, by identity.node-key: the server must learn of it. */
	if ((event->changed & 1u << WARREN_KEY_NODE) && key_is_foreign(s))
		key_register(s);
	if (event->changed & 1u << WARREN_KEY_DISCO)
		ctl_update_soon(s);
	ctl_session_run(s);
}

static void session_check(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;
	bool foreign = key_is_foreign(s), lost = foreign && s->foreign_key;

	(void)ctx;
	warren_timer_set(s->check, CTL_CHECK_USEC);
	/* The kernel tells of names and addresses; this is for what it did not. */
	if (s->poll.x && ++s->checks % CTL_CHECKS_LOOK == 0)
		ctl_update_soon(s);
	/* An accepted key that identity could not store: the one in force is shown again. */
	s->foreign_key = foreign;
	if (lost)
		key_register(s);
	if (lost || s->held || expiry_due(s))
		ctl_session_run(s);
}

static void host_changed(struct warren_ctx *ctx, uint32_t what, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	(void)what;
	if (s->poll.x)
		ctl_update_soon(s);
}

static void watch_host(struct ctl_session *s)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;

	if (warren_net_watch(s->ctx, WARREN_NET_LINKS | WARREN_NET_ADDRESSES | WARREN_NET_HOSTNAME,
			     host_changed, s, &err))
		warren_log(s->ctx, LOG_WARNING, "%s; the server learns of new addresses and names "
			   "within %d s instead", err_first(&err),
			   (int)(CTL_CHECKS_LOOK * CTL_CHECK_USEC / 1000000));
}

static void facets_changed(void *arg)
{
	struct ctl_session *s = arg;

	if (ctl_shields_offers(s))
		warren_log(s->ctx, LOG_ERR, "out of memory: what this node leads to stays as it "
			   "was");
	ctl_update_soon(s);
}

int ctl_session_facet(struct ctl_session *s, struct warren_ctx *owner, enum warren_facet facet,
		      const char *value)
{
	return ctl_facets_set(&s->facets, owner, facet, value);
}

static void accept_change(struct ctl_session *s, bool accept)
{
	if (accept == s->accept)
		return;
	s->accept = accept;
	if (ctl_shields_again(s))
		warren_log(s->ctx, LOG_ERR, "out of memory: the networks behind peers are %s still",
			   accept ? "not taken" : "taken");
}

static void accept_ended(void *arg)
{
	struct ctl_session *s = arg;

	s->accept_owner = NULL;
	s->accept_end = NULL;
	accept_change(s, false);
}

int ctl_session_accept(struct ctl_session *s, struct warren_ctx *owner, bool accept)
{
	if (s->accept_owner && s->accept_owner != owner)
		return -EBUSY;
	if (!s->accept_owner) {
		s->accept_end = warren_on_end(owner, accept_ended, s);
		if (!s->accept_end)
			return -ENOMEM;
		s->accept_owner = owner;
	}
	accept_change(s, accept);
	return 0;
}

static void exit_change(struct ctl_session *s, bool chosen, int64_t id)
{
	if (chosen == s->exit_chosen && id == s->exit_node)
		return;
	s->exit_chosen = chosen;
	s->exit_node = id;
	if (ctl_shields_again(s))
		warren_log(s->ctx, LOG_ERR, "out of memory: the way to the internet stays as it "
			   "was until the next network map");
}

static void exit_ended(void *arg)
{
	struct ctl_session *s = arg;

	s->exit_owner = NULL;
	s->exit_end = NULL;
	exit_change(s, false, 0);
}

int ctl_session_exit(struct ctl_session *s, struct warren_ctx *owner, bool chosen, int64_t id)
{
	if (s->exit_owner && s->exit_owner != owner)
		return -EBUSY;
	if (!s->exit_owner) {
		s->exit_end = warren_on_end(owner, exit_ended, s);
		if (!s->exit_end)
			return -ENOMEM;
		s->exit_owner = owner;
	}
	exit_change(s, chosen, chosen ? id : 0);
	return 0;
}

void ctl_session_found(struct ctl_session *s, const char *service, const void *ops, void *self)
{
	if (!strcmp(service, "dataplane")) {
		s->dataplane = ops;
		s->dataplane_self = self;
		if (s->poll.x)
			ctl_update_soon(s);
	} else if (!strcmp(service, "filter")) {
		s->filter = ops != NULL;
	} else if (!strcmp(service, "exitnode")) {
		s->exitnode = ops;
		s->exitnode_self = self;
	} else if (!strcmp(service, "router")) {
		s->router = ops;
		s->router_self = self;
		if (s->held)
			ctl_session_run(s);
	}
}

/*
 * ---- Options ----
 */

static void options_take(struct ctl_session *s, const struct warren_conf *conf,
			 const struct warren_ca_file *ca)
{
	struct warren_url url;

	s->conf = conf;
	s->up = warren_conf_bool(conf, "up");
	str_copy(s->url, sizeof(s->url), warren_conf_str(conf, "url"));
	if (warren_url_parse(s->url, &url, NULL) == 0) {
		str_copy(s->host_name, sizeof(s->host_name), url.host);
		snprintf(s->authority, sizeof(s->authority),
			 strchr(url.host, ':') ? "[%s]" : "%s", url.host);
		if (url.port_given)
			snprintf(s->authority + strlen(s->authority),
				 sizeof(s->authority) - strlen(s->authority), ":%u", url.port);
	}
	warren_ca_file_close(&s->ca);
	s->ca = *ca;
}

/* Another server: what this node was at the one before is of no use to it. */
static void options_server(struct ctl_session *s)
{
	if (!strcmp(s->persist.url, s->url))
		return;
	if (s->persist.url[0] && s->persist.logged_in) {
		warren_log(s->ctx, LOG_NOTICE, "the control server is %s now: leaving %s", s->url,
			   s->persist.url);
		ctl_link_close(s, NULL);
		str_copy(s->persist.url, sizeof(s->persist.url), s->url);
		ctl_session_forget(s);
	}
	sodium_memzero(&s->link.memory, sizeof(s->link.memory));
	memset(&s->persist.plan, 0, sizeof(s->persist.plan));
	s->persist.logged_out = false;
	str_copy(s->persist.url, sizeof(s->persist.url), s->url);
	ctl_persist_save(s->ctx, &s->persist);
}

int ctl_session_reload(struct ctl_session *s, const struct warren_conf *conf,
		       struct warren_err *err)
{
	bool was_up = s->up, moved, shown;
	struct warren_ca_file ca;
	int result = warren_ca_file_open_wait(s->ctx, conf, &ca, err);

	if (result)
		return result;
	moved = !warren_conf_equal(s->conf, conf, "url") ||
		!warren_conf_equal(s->conf, conf, "proxy") ||
		!warren_conf_equal(s->conf, conf, "proxy-auth") ||
		!warren_conf_equal(s->conf, conf, "ca-file");
	shown = !warren_conf_equal(s->conf, conf, "shields-up") ||
		!warren_conf_equal(s->conf, conf, "advertise-exit-node");
	options_take(s, conf, &ca);
	options_server(s);
	if (moved)
		ctl_link_close(s, NULL);
	if (was_up && !s->up) {
		ctl_link_close(s, NULL);
		s->registered = false;
		s->login.needed = true;
		ctl_known_keep(s);
		ctl_map_clear(s->map);
	} else if (shown) {
		result = ctl_shields_again(s);
	}
	ctl_update_soon(s);
	ctl_session_run(s);
	return result;
}

/*
 * ---- Life ----
 */

/* What belongs to the connection goes first: the context ends the newest of what it owns first. */
int ctl_session_stop(struct ctl_session *s)
{
	if (!s->login.logout && ctl_login_leave(s))
		return WARREN_PENDING;
	ctl_link_close(s, NULL);
	if (s->login.logout)
		ctl_logout_end(s, -ECANCELED, "the plugin stops");
	ctl_map_flush(s->map);
	return 0;
}

static void session_end(void *arg)
{
	struct ctl_session *s = arg;

	ctl_login_end(s);
	ctl_update_forget(s);
	ctl_facets_free(&s->facets);
	warren_release(s->accept_end);
	warren_release(s->exit_end);
	ctl_map_free(s->map);
	ctl_known_drop(s);
	warren_obj_unref(s->published);
	while (s->watches) {
		struct ctl_watch *w = s->watches;

		s->watches = w->next;
		free(w);
	}
	warren_ca_file_close(&s->ca);
	pthread_mutex_destroy(&s->lock);
}

static int session_stats(struct ctl_session *s)
{
	s->polls = warren_stat_open(s->ctx, "polls", NULL);
	s->messages = warren_stat_open(s->ctx, "messages", NULL);
	s->bad_records = warren_stat_open(s->ctx, "bad_records", NULL);
	s->logins = warren_stat_open(s->ctx, "logins", NULL);
	s->updates = warren_stat_open(s->ctx, "updates", NULL);
	s->reconnects = warren_stat_open(s->ctx, "connections", NULL);
	s->connected = warren_stat_open(s->ctx, "connected", NULL);
	return s->polls && s->messages && s->bad_records && s->logins && s->updates &&
	       s->reconnects && s->connected ? 0 : -ENOMEM;
}

static int session_init(struct ctl_session *s, struct warren_ctx *ctx)
{
	s->ctx = ctx;
	s->facets.changed = facets_changed;
	s->facets.arg = s;
	if (pthread_mutex_init(&s->lock, NULL))
		return -ENOMEM;
	s->notify = warren_timer_new(ctx, session_notify, s);
	s->check = warren_timer_new(ctx, session_check, s);
	s->map = ctl_map_new(ctx, NULL, &ctl_session_map_events, s);
	if (!s->notify || !s->check || !s->map || ctl_link_init(s) || ctl_login_init(s) ||
	    ctl_poll_init(s) || ctl_update_init(s) || session_stats(s) ||
	    !warren_on_end(ctx, session_end, s)) {
		ctl_map_free(s->map);
		pthread_mutex_destroy(&s->lock);
		return -ENOMEM;
	}
	return 0;
}

/* The last map, if it is of the key in force; else an empty one: consumers wait for either. */
static int session_first_map(struct ctl_session *s)
{
	AUTO(err_free) struct warren_err err = ERR_INIT;
	uint8_t key[32];
	int result = -ENOENT;

	ctl_session_node_key(s, key);
	if (s->up && s->persist.logged_in && !memcmp(key, s->persist.node_key, 32))
		result = ctl_map_load(s->map, key, &err);
	if (result && result != -ENOENT)
		warren_log(s->ctx, LOG_WARNING, "the last network map cannot be used: %s",
			   err_first(&err));
	return result ? ctl_map_clear(s->map) : 0;
}

int ctl_session_new(struct warren_ctx *ctx, const struct warren_conf *conf,
		    struct ctl_session **out, struct warren_err *err)
{
	struct ctl_session *s = warren_zalloc(ctx, sizeof(*s));
	const void *identity;
	struct warren_ca_file ca;
	int result;

	if (!s || session_init(s, ctx))
		return warren_fail(err, NULL, "out of memory");
	result = warren_need(ctx, "identity", &identity, &s->identity_self);
	if (result)
		return result;
	s->identity = identity;
	result = warren_ca_file_open_wait(ctx, conf, &ca, err);
	if (result)
		return result;
	options_take(s, conf, &ca);
	ctl_host_read(&s->host);
	result = ctl_persist_load(ctx, s->host_name, &s->persist, err);
	if (result)
		return result;
	s->login.needed = true;
	*out = s;
	options_server(s);
	if (!s->published && session_first_map(s))
		return warren_fail(err, NULL, "out of memory");
	warren_timer_set(s->check, CTL_CHECK_USEC);
	watch_host(s);
	return warren_subscribe(ctx, "identity", identity_changed, s);
}
