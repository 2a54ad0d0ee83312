/*
 * Registration (control-protocol.md 5.3): which key to show, what to do with each answer, waiting
 * for a user to open the link, and logging out.
 *
 * A new node key is only prepared; the data plane goes on with the old one until the server has
 * accepted the new one, so that peers are not dropped while somebody logs in again.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "session_impl.h"

static const uint64_t second = 1000000;
enum {
	ANSWER_SECONDS = 120,		/* but a followup may take as long as the user does */
	LOGOUT_SECONDS = 15,
	LEAVE_SECONDS = 5,		/* the stock client's; a stop has 10 */
	KEY_STORED_USEC = 20000,	/* how often to ask whether a new key is stored */
	ANSWER_MAX = 1 << 20,		/* section 3.7 */
};

static void login_retry(struct warren_ctx *ctx, void *arg)
{
	struct ctl_session *s = arg;

	(void)ctx;
	s->login.waiting = false;
	ctl_session_run(s);
}

static void logout_late(struct warren_ctx *ctx, void *arg)
{
	(void)ctx;
	ctl_logout_end(arg, -ETIMEDOUT, "the server could not be told: its administrator sees "
					"this node until its key expires");
}

int ctl_login_init(struct ctl_session *s)
{
	s->login.retry = warren_timer_new(s->ctx, login_retry, s);
	s->login.logout_limit = warren_timer_new(s->ctx, logout_late, s);
	return s->login.retry && s->login.logout_limit ? 0 : -ENOMEM;
}

static void login_wait(struct ctl_session *s, uint64_t usec)
{
	s->login.waiting = true;
	warren_timer_set(s->login.retry, usec ? usec : ctl_backoff(++s->login.failures));
}

void ctl_login_stop(struct ctl_session *s)
{
	ctl_request_cancel(s->login.request);
	s->login.request = NULL;
}

static void auth_key_wipe(struct ctl_session *s)
{
	if (s->login.auth_key)
		sodium_memzero(s->login.auth_key, strlen(s->login.auth_key));
	free(s->login.auth_key);
	s->login.auth_key = NULL;
}

void ctl_login_reset(struct ctl_session *s)
{
	ctl_login_stop(s);
	s->login.waiting = false;
	s->login.failures = 0;
	s->login.refused_once = false;
	s->login.key_useless = false;
	warren_timer_stop(s->login.retry);
	s->auth_url[0] = '\0';
}

void ctl_login_end(struct ctl_session *s)
{
	ctl_login_reset(s);
	auth_key_wipe(s);
}

/*
 * ---- Asking ----
 */

/* The auth key without the suffix of tailnet lock, which is not for the server. NULL: none. */
static char *auth_key(struct ctl_session *s)
{
	const struct warren_secret *secret = warren_conf_secret(s->conf, "auth-key");
	const char *from = s->login.auth_key;
	const char *end;
	size_t len = from ? strlen(from) : 0;
	char *copy;

	if (!from && secret)
		from = (const char *)warren_secret_bytes(secret, &len);
	if (!from || len == 0)
		return NULL;
	while (len > 0 && strchr(" \t\r\n", from[len - 1]))
		len--;
	copy = strndup(from, len);
	end = copy ? strstr(copy, "--TL") : NULL;
	if (end)
		copy[end - copy] = '\0';
	return copy;
}

/* True: the key that is in force will not do. */
static bool wants_new_key(const struct ctl_session *s)
{
	return s->login.prepared || s->login.refused_once ||
	       (s->persist.logged_in && (s->login.force || s->login.expired));
}

/*
 * A server that does not know the key in force may have said yes to the one that was prepared,
 * just before a crash: the same question again. False: there is none, or it was asked already.
 */
bool ctl_login_take_prepared(struct ctl_session *s)
{
	if (s->login.prepared || !s->identity->prepared(s->identity_self, WARREN_KEY_NODE))
		return false;
	s->login.prepared = true;
	return true;
}

/* Chooses the key to show; 0, -errno, or WARREN_PENDING while a new one is being stored. */
static int login_key(struct ctl_session *s)
{
	int result;

	if (s->auth_url[0])
		return 0;		/* a followup: the key that was shown before */
	if (!wants_new_key(s)) {
		ctl_session_node_key(s, s->login.trying);
		return 0;
	}
	result = s->identity->prepare(s->identity_self, WARREN_KEY_NODE, s->login.trying);
	if (result == -EPERM)
		ctl_session_error(s, true, "the node key is refused, and it is a file of yours "
				  "(identity.node-key): put another key there");
	else if (result < 0)
		ctl_session_error(s, false, "cannot make a node key: %s", strerror(-result));
	s->login.prepared = result == 0;
	return result;
}

/* The one before; repeated later too (5.3). */
static void old_key(const struct ctl_session *s, uint8_t out[32])
{
	uint8_t current[32];

	memcpy(out, s->persist.old_node_key, 32);
	ctl_session_node_key(s, current);
	if (s->persist.logged_in && s->login.prepared)
		memcpy(out, current, 32);
	else if (s->persist.logged_in && memcmp(s->persist.node_key, current, 32))
		memcpy(out, s->persist.node_key, 32);
}

static void login_answered(struct warren_ctx *ctx, const struct ctl_answer *answer, void *arg);

static void str_wipe(struct str *s)
{
	if (s->s)
		sodium_memzero(s->s, s->cap);
	str_free(s);
}

static int login_send(struct ctl_session *s, const struct ctl_register *wish)
{
	AUTO(str_wipe) struct str body = STR_INIT;
	AUTO(str_free) struct str lb = STR_INIT;
	char key[WARREN_KEYTEXT_MAX];
	struct ctl_request_options options = {
		.method = "POST",
		.path = "/machine/register",
		.authority = s->authority,
		.limit = ANSWER_MAX,
		.timeout = wish->followup ? 0 : ANSWER_SECONDS * second,
	};

	ctl_register_body(wish, &body);
	str_add(&lb, warren_keytext_format(WARREN_KEYTEXT_NODE, wish->node_key, key));
	if (body.failed || lb.failed)
		return -ENOMEM;
	options.lb = str_text(&lb);
	options.body = str_text(&body);
	options.body_len = body.len;
	s->login.request = ctl_request_new(s->ctx, s->link.http, &options, login_answered, s);
	return s->login.request ? 0 : -EPIPE;
}

void ctl_login_run(struct ctl_session *s)
{
	AUTO(str_free) struct str hostinfo = STR_INIT;
	struct ctl_register wish = {
		.ephemeral = warren_conf_bool(s->conf, "ephemeral"),
		.logout = s->login.logout,
		.followup = s->auth_url[0] ? s->auth_url : NULL,
	};
	char *key = NULL;
	int result;

	if (s->login.request || s->login.waiting)
		return;
	if (s->login.logout) {
		wish.followup = NULL;
		memcpy(s->login.trying, s->persist.node_key, 32);
	} else {
		result = login_key(s);
		if (result) {
			login_wait(s, result == WARREN_PENDING ? KEY_STORED_USEC : 0);
			return;
		}
	}
	memcpy(wish.node_key, s->login.trying, 32);
	old_key(s, wish.old_node_key);
	/* A restart shows the key alone: a one-shot auth key would be used up (5.5). */
	if (!s->login.logout && !wish.followup && !s->login.key_useless &&
	    (!s->persist.logged_in || s->login.auth_key || s->login.prepared))
		key = auth_key(s);
	s->login.key_tried = key != NULL;
	wish.auth_key = key;
	result = ctl_self_hostinfo(s, &hostinfo) ? 0 : -ENOMEM;
	wish.hostinfo = str_text(&hostinfo);
	if (result == 0)
		result = login_send(s, &wish);
	if (key)
		sodium_memzero(key, strlen(key));
	free(key);
	/* -EPIPE: the connection is ending, which tells itself. */
	if (result && result != -EPIPE)
		ctl_session_error(s, false, "cannot ask the server to log in: %s",
				  strerror(-result));
	if (result)
		login_wait(s, 0);
}

/*
 * ---- Answers ----
 */

static void login_accepted(struct ctl_session *s, const struct ctl_registered *reply)
{
	uint8_t before[32];
	bool was_new = s->login.prepared;

	ctl_session_node_key(s, before);
	if (s->persist.logged_in && was_new)
		memcpy(s->persist.old_node_key, before, 32);
	memcpy(s->persist.node_key, s->login.trying, 32);
	s->persist.logged_in = true;
	s->persist.logged_out = false;
	s->persist.user = reply->user;
	memcpy(s->persist.login, reply->login, sizeof(s->persist.login));
	memcpy(s->persist.display_name, reply->display_name, sizeof(s->persist.display_name));
	ctl_persist_save(s->ctx, &s->persist);
	ctl_login_reset(s);
	auth_key_wipe(s);
	s->login.needed = s->login.force = s->login.expired = s->login.prepared = false;
	s->registered = true;
	s->poll.refusals = 0;
	warren_stat_add(s->logins, 1);
	warren_log(s->ctx, LOG_NOTICE, "logged in at %s%s%s", s->url,
		   reply->login[0] ? " as " : "", reply->login);
	ctl_session_good(s);
	ctl_update_forget(s);
	if (was_new) {
		s->login.renewed = warren_now();
		ctl_poll_stop(s);
		if (s->identity->commit(s->identity_self, WARREN_KEY_NODE))
			ctl_session_error(s, false, "the new node key cannot be stored");
	}
}

/* The link that a user must open; the next request waits for it. */
static void login_link(struct ctl_session *s, const char *url)
{
	if (!strcmp(s->auth_url, url)) {
		login_wait(s, 0);
		return;
	}
	str_copy(s->auth_url, sizeof(s->auth_url), url);
	warren_log(s->ctx, LOG_NOTICE, "to log in, open %s", url);
	s->login.failures = 0;
	ctl_session_changed(s);
}

static void login_reply(struct ctl_session *s, const struct ctl_registered *reply)
{
	s->answered = true;
	if (reply->error[0]) {
		/* What was being waited for is over: the next try begins anew. */
		s->auth_url[0] = '\0';
		ctl_session_error(s, true, "%s says: %s", s->url, reply->error);
		login_wait(s, 0);
	} else if (reply->node_key_expired && s->login.refused_once) {
		s->login.refused_once = false;
		ctl_session_error(s, true, "%s says that the node key is expired, of a new key "
				  "too", s->url);
		login_wait(s, 0);
	} else if (reply->node_key_expired) {
		/* Where the old key was shown, one that waits for its yes is still good. */
		if (s->login.prepared)
			s->identity->abandon(s->identity_self, WARREN_KEY_NODE);
		s->login.prepared = false;
		s->login.refused_once = true;
		s->auth_url[0] = '\0';
	} else if (reply->wants_signature) {
		ctl_session_error(s, true, "%s runs a tailnet lock, which this node cannot sign "
				  "for: an administrator must sign it", s->url);
		login_wait(s, 0);
	} else if (reply->auth_url[0] && s->persist.logged_in && ctl_login_take_prepared(s)) {
		s->auth_url[0] = '\0';
	} else if (reply->auth_url[0] && s->persist.logged_in && !s->login.key_tried &&
		   !s->auth_url[0] && warren_conf_has(s->conf, "auth-key") &&
		   !s->login.key_useless) {
		/* The server forgot us: the auth key may help, but for this once. */
		s->persist.logged_in = false;
	} else if (reply->auth_url[0]) {
		s->login.key_useless = true;
		ctl_session_good(s);
		login_link(s, reply->auth_url);
	} else {
		login_accepted(s, reply);
	}
}

static void login_answered(struct warren_ctx *ctx, const struct ctl_answer *answer, void *arg)
{
	struct ctl_session *s = arg;
	struct ctl_registered *reply;
	char text[CTL_HTTP_ERROR];

	(void)ctx;
	s->login.request = NULL;
	if (s->login.logout) {
		if (answer->status == 200)
			ctl_logout_end(s, 0, NULL);
		else
			login_wait(s, answer->retry_after);
		return;
	}
	if (answer->status != 200) {
		ctl_session_error(s, false, "register request: %s", answer->status ?
				  ctl_http_error(answer->status, answer->body, answer->len, text) :
				  answer->why);
		/* 429 without the field: 5-10 s (5.3) */
		login_wait(s, answer->retry_after ? answer->retry_after :
			   answer->status == 429 ? (5 + randombytes_uniform(5)) * second : 0);
		ctl_session_run(s);
		return;
	}
	reply = calloc(1, sizeof(*reply));
	if (!reply || ctl_register_parse(answer->body, answer->len, reply, NULL)) {
		ctl_session_error(s, false, "the answer of %s to the login cannot be used", s->url);
		login_wait(s, 0);
	} else {
		login_reply(s, reply);
	}
	free(reply);
	ctl_session_run(s);
}

/*
 * ---- From outside ----
 */

int ctl_session_login(struct ctl_session *s, const char *key, bool force, struct warren_err *err)
{
	bool expired = ctl_session_expired(s);
	bool fine = s->registered && !s->login.needed && !s->auth_url[0] && !expired;

	if (s->login.logout) {
		warren_fail(err, NULL, "a logout is under way");
		return -EBUSY;
	}
	if (fine && !force && !s->persist.logged_out)
		return 0;
	if (key) {
		auth_key_wipe(s);
		s->login.auth_key = strdup(key);
		if (!s->login.auth_key) {
			warren_fail(err, NULL, "out of memory");
			return -ENOMEM;
		}
	}
	if (s->persist.logged_out) {
		s->persist.logged_out = false;
		ctl_persist_save(s->ctx, &s->persist);
	}
	s->login.force = s->login.force || force;
	s->login.expired = s->login.expired || expired;
	/* Without a new wish the login under way goes on: a second `up` continues the first. */
	if (key || force || !s->auth_url[0])
		ctl_login_reset(s);
	s->login.needed = true;
	s->link.failures = 0;
	ctl_session_good(s);
	ctl_session_run(s);
	return 0;
}

int ctl_session_logout(struct ctl_session *s, ctl_logout_fn *done, void *arg)
{
	if (s->login.logout)
		return -EBUSY;
	ctl_login_reset(s);
	s->login.logout = true;
	s->login.logout_done = done;
	s->login.logout_arg = arg;
	/* Never logged in: there is nothing to tell. The answer comes later all the same. */
	warren_timer_set(s->login.logout_limit, s->persist.logged_in ? LOGOUT_SECONDS * second : 0);
	ctl_session_run(s);
	return 0;
}

static void left(struct warren_ctx *ctx, int result, const char *why, void *arg)
{
	(void)arg;
	if (result)
		warren_log(ctx, LOG_WARNING, "%s", why);
	warren_stopped(ctx);
}

bool ctl_login_leave(struct ctl_session *s)
{
	if (!warren_conf_bool(s->conf, "ephemeral") || !s->persist.logged_in || !s->link.http ||
	    !s->up || ctl_session_logout(s, left, NULL))
		return false;
	s->login.leaving = true;
	warren_timer_set(s->login.logout_limit, LEAVE_SECONDS * second);
	return true;
}

void ctl_logout_end(struct ctl_session *s, int result, const char *why)
{
	ctl_logout_fn *done = s->login.logout_done;
	bool told = result == 0 || !s->persist.logged_in;

	warren_timer_stop(s->login.logout_limit);
	s->login.logout = false;
	s->login.logout_done = NULL;
	auth_key_wipe(s);
	if (result != -ECANCELED) {
		ctl_link_close(s, NULL);
		ctl_session_forget(s);
		s->persist.logged_out = !s->login.leaving;
		ctl_persist_save(s->ctx, &s->persist);
		warren_log(s->ctx, LOG_NOTICE, "logged out at %s", s->url);
	}
	if (done)
		done(s->ctx, told ? 0 : result, told ? NULL : why, s->login.logout_arg);
	if (result != -ECANCELED)
		ctl_session_run(s);
}
