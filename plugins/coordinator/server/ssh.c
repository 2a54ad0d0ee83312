/*
 * SSH that the policy wants to have checked (coordinator.md 2.10, control-protocol.md 4.4): the
 * node that somebody logs in to asks, over its own session, and is held until the operator or the
 * source's owner has said yes or no. What was said counts for this source, destination and login,
 * for as long as the rule's checkPeriod; all of it is in memory, and a new policy ends it.
 */
#include "server.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../login/desk.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/str.h"
#include "base/units.h"

enum { CHECKS_MAX = 1024, PASSES_MAX = 4096, LOGIN_MAX = 128 };
static const uint64_t patience = UINT64_C(900) * 1000000;

struct who {				/* from where to where, as whom */
	int64_t src, dst;
	char login[LOGIN_MAX];
};
struct check {				/* waits for somebody to say yes */
	struct list link;		/* the oldest first */
	char code[TAILNET_CODE];
	struct who who;
	uint64_t until;
	bool refused;			/* to be told to who asks with this code */
	struct list waiters;
};
struct waiter {
	struct list link;
	struct request *request;
};
struct pass {				/* somebody has said yes */
	struct list link;
	char code[TAILNET_CODE];
	struct who who;
	int64_t user;			/* the source's owner then */
	uint64_t since;
	bool unused;			/* the session that waited for it has not come for it yet */
};
struct coord_ssh {
	struct list checks, passes;
	uint32_t n_checks, n_passes;
	struct warren_timer *timer;
};

static bool same(const struct who *a, const struct who *b)
{
	return a->src == b->src && a->dst == b->dst && strcmp(a->login, b->login) == 0;
}

/* ---- what was asked ---- */

static int hex_digit(char c)
{
	uint8_t byte;
	const char pair[] = { '0', c, '\0' };

	return hex_decode(&byte, 1, pair) == 0 ? byte : -1;
}

/* The value behind @key ("local_user=") of the query, decoded; false: absent, or not to be read. */
static bool query_value(const char *query, const char *key, char *out, size_t size)
{
	const char *at = query;
	size_t n = 0;

	while (*at && !str_starts(at + 1, key))
		at += 1 + strcspn(at + 1, "&");
	if (!*at)
		return false;
	for (at += 1 + strlen(key); *at && *at != '&'; at++) {
		int c = *at == '+' ? ' ' : *at;

		if (*at == '%') {
			int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);

			c = low < 0 ? 0 : high << 4 | low;
			at += 2;
		}
		if (c < ' ' || c > '~' || n + 1 >= size)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0;
}

/* /machine/ssh/action/SRC/to/DST?local_user=... */
static bool read_who(const struct request *r, struct who *who)
{
	const char *at = r->path + strlen(COORD_SSH_PATH), *to = strstr(at, "/to/");
	char src[24];

	if (!to || (size_t)(to - at) >= sizeof(src))
		return false;
	memcpy(src, at, (size_t)(to - at));
	src[to - at] = '\0';
	return units_parse_int(src, &who->src) == 0 && units_parse_int(to + 4, &who->dst) == 0 &&
	       query_value(r->query, "local_user=", who->login, sizeof(who->login));
}

/* ---- answers ---- */

static json_t *reject(const char *why)
{
	return json_pack("{s:s,s:b}", "message", why, "reject", 1);
}

static json_t *delegate(const struct coord *coord, const struct check *c)
{
	struct str url = STR_INIT, message = STR_INIT;
	json_t *o;

	str_addf(&url, "%s" COORD_SSH_PATH "%" PRId64 "/to/%" PRId64 "?local_user=", coord->url,
		 c->who.src, c->who.dst);
	coord_escape(&url, c->who.login);
	str_addf(&url, "&auth_id=%s", c->code);
	str_addf(&message, "# This session needs an approval. See\r\n#\r\n#    %s/auth/%s\r\n#\r\n",
		 coord->url, c->code);
	o = json_pack("{s:s,s:s}", "message", str_text(&message), "holdAndDelegate",
		      str_text(&url));
	str_free(&url);
	str_free(&message);
	return o;
}

/* What the policy says now; *@action lets it in. A tagged source has nobody who could say yes. */
static enum policy_ssh judge(const struct coord *coord, const struct who *who, int64_t *period,
			     json_t **action)
{
	const struct tailnet_node *src = tailnet_node(coord->tailnet, who->src);
	enum policy_ssh said = policy_world_ssh_of(coord->world, who->src, who->dst, who->login,
						   period, action);

	if (said != POLICY_SSH_CHECK || (src && src->user))
		return said;
	json_decref(*action);
	*action = NULL;
	return POLICY_SSH_DENY;
}

/* ---- who said yes ---- */

static void pass_free(struct coord_ssh *ssh, struct pass *p)
{
	list_del(&p->link);
	ssh->n_passes--;
	free(p);
}

static void pass_new(struct coord *coord, const struct check *c, bool unused)
{
	struct coord_ssh *ssh = coord->ssh;
	const struct tailnet_node *src = tailnet_node(coord->tailnet, c->who.src);
	struct pass *p, *next;

	list_for_each_safe(p, next, &ssh->passes, link) {
		if (same(&p->who, &c->who))
			pass_free(ssh, p);
	}
	if (ssh->n_passes >= PASSES_MAX)
		pass_free(ssh, list_first(&ssh->passes, struct pass, link));
	p = calloc(1, sizeof(*p));
	if (!p)
		return;			/* then it is asked for again */
	*p = (struct pass){ .who = c->who, .user = src ? src->user : 0, .since = warren_now(),
			    .unused = unused };
	memcpy(p->code, c->code, sizeof(p->code));
	list_add_tail(&ssh->passes, &p->link);
	ssh->n_passes++;
}

/* Has it been approved, so that @period (seconds; 0: each time) is not over? */
static bool passes(const struct coord *coord, const struct who *who, int64_t period,
		   const char *code)
{
	const struct tailnet_node *src = tailnet_node(coord->tailnet, who->src);
	struct pass *p, *next;

	list_for_each_safe(p, next, &coord->ssh->passes, link) {
		uint64_t age = warren_now() - p->since;
		bool mine = p->unused && strcmp(p->code, code) == 0 && age < patience;

		if (!same(&p->who, who))
			continue;
		if (!src || src->user != p->user)
			break;
		if (mine)
			p->unused = false;
		if (mine || age < (uint64_t)period * 1000000)
			return true;
		pass_free(coord->ssh, p);
		break;
	}
	return false;
}

/* ---- who waits ---- */

static void check_free(struct coord_ssh *ssh, struct check *c)
{
	list_del(&c->link);
	ssh->n_checks--;
	free(c);
}

/* All who wait for it are answered; @action is borrowed. */
static void answer_all(struct check *c, json_t *action)
{
	struct waiter *w;

	while ((w = list_first(&c->waiters, struct waiter, link))) {
		list_del(&w->link);
		w->request->gone = NULL;
		answer_json_take(w->request, json_incref(action));
		free(w);
	}
}

static void check_over(struct coord_ssh *ssh, struct check *c, const char *why)
{
	json_t *action = reject(why);

	answer_all(c, action);
	json_decref(action);
	check_free(ssh, c);
}

static void on_timer(struct warren_ctx *ctx, void *arg)
{
	struct coord *coord = arg;
	struct check *c;

	(void)ctx;
	while ((c = list_first(&coord->ssh->checks, struct check, link))) {
		if (c->until > warren_now()) {
			warren_timer_set(coord->ssh->timer, c->until - warren_now());
			break;
		}
		check_over(coord->ssh, c, "# Nobody has approved this session in time.\r\n");
	}
}

static struct check *check_find(const struct coord *coord, const char *code)
{
	struct check *c;

	list_for_each(c, &coord->ssh->checks, link) {
		if (strcmp(c->code, code) == 0)
			return c;
	}
	return NULL;
}

/* The one that waits for the same, or a new one. */
static struct check *check_for(struct coord *coord, const struct who *who)
{
	struct coord_ssh *ssh = coord->ssh;
	uint8_t random[12];
	struct check *c;

	list_for_each(c, &ssh->checks, link) {
		if (!c->refused && same(&c->who, who))
			return c;
	}
	if (ssh->n_checks >= CHECKS_MAX)
		check_over(ssh, list_first(&ssh->checks, struct check, link),
			   "# Too many sessions wait for an approval.\r\n");
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct check){ .who = *who, .until = warren_now() + patience };
	list_init(&c->waiters);
	randombytes_buf(random, sizeof(random));
	hex_encode(c->code, random, sizeof(random));
	list_add_tail(&ssh->checks, &c->link);
	if (ssh->n_checks++ == 0)
		warren_timer_set(ssh->timer, patience);
	return c;
}

static void gone(struct request *r)
{
	struct waiter *w = r->arg;

	list_del(&w->link);
	free(w);
}

static void hold(struct request *r, struct check *c)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		answer_text(r, 500, "no memory\n");
		return;
	}
	w->request = r;
	list_add_tail(&c->waiters, &w->link);
	r->arg = w;
	r->gone = gone;
}

/* With the code of a login that is over it is asked for again: ours may have been lost. */
static void ask(struct request *r, const struct who *who, const char *code)
{
	struct check *c = code[0] ? check_find(r->coord, code) : NULL;

	if (c && same(&c->who, who) && c->refused) {
		check_free(r->coord->ssh, c);
		answer_json_take(r, reject("# This session was refused.\r\n"));
	} else if (c && same(&c->who, who)) {
		hold(r, c);
	} else {
		c = check_for(r->coord, who);
		answer_json_take(r, c ? delegate(r->coord, c) : NULL);
	}
}

void coord_ssh_action(struct request *r)
{
	const struct tailnet_node *dst;
	char code[TAILNET_CODE] = "";
	json_t *action = NULL;
	struct who who;
	int64_t period = 0;

	if (!read_who(r, &who)) {
		answer_text(r, 400, "expected /machine/ssh/action/SRC/to/DST?local_user=NAME\n");
		return;
	}
	dst = tailnet_node(r->coord->tailnet, who.dst);
	if (!dst || memcmp(dst->machine_key, r->session->machine, 32) != 0) {
		answer_text(r, 401, "this session is not of that node\n");
		return;
	}
	(void)query_value(r->query, "auth_id=", code, sizeof(code));
	switch (judge(r->coord, &who, &period, &action)) {
	case POLICY_SSH_ACCEPT:
		answer_json_take(r, action);
		return;
	case POLICY_SSH_CHECK:
		if (passes(r->coord, &who, period, code)) {
			answer_json_take(r, action);
			return;
		}
		json_decref(action);
		ask(r, &who, code);
		return;
	case POLICY_SSH_DENY:
		answer_json_take(r, reject("# The policy does not allow this session.\r\n"));
		return;
	}
}

/* ---- the verdict ---- */

bool coord_ssh_shown(const struct coord *coord, const char *code, struct coord_ssh_check *out)
{
	const struct check *c = check_find(coord, code);
	const struct tailnet_node *src, *dst;

	if (!c || c->refused)
		return false;
	src = tailnet_node(coord->tailnet, c->who.src);
	dst = tailnet_node(coord->tailnet, c->who.dst);
	if (!src || !dst)
		return false;
	*out = (struct coord_ssh_check){ .code = c->code, .src = src, .dst = dst,
					 .login = c->who.login, .left = c->until - warren_now() };
	return true;
}

bool coord_ssh_next(const struct coord *coord, uint32_t *pos, struct coord_ssh_check *out)
{
	const struct check *c;
	uint32_t i = 0;

	list_for_each(c, &coord->ssh->checks, link) {
		if (i++ >= *pos && coord_ssh_shown(coord, c->code, out)) {
			*pos = i;
			return true;
		}
	}
	return false;
}

static void verdict(struct coord *coord, const char *code, bool yes)
{
	struct check *c = check_find(coord, code);
	json_t *action = NULL;
	int64_t period = 0;
	bool waits = c && !list_empty(&c->waiters);

	if (!c || c->refused)
		return;
	yes = yes && judge(coord, &c->who, &period, &action) != POLICY_SSH_DENY;
	if (yes)
		pass_new(coord, c, !waits);
	else
		action = reject("# This session was refused.\r\n");
	answer_all(c, action);
	json_decref(action);
	/* Who asked before and has not come back yet is told then. */
	c->refused = !yes;
	if (yes || waits)
		check_free(coord->ssh, c);
}

struct deciding {
	struct coord *coord;
	char code[TAILNET_CODE];
	bool yes;
	coord_decided_fn *done;
	void *arg;
};

static void decided(void *arg, const struct tailnet_outcome *outcome)
{
	struct deciding *d = arg;

	if (!outcome->result && d->coord->ssh)
		verdict(d->coord, d->code, d->yes);
	d->done(d->arg, outcome->result ? outcome->error : NULL);
	free(d);
}

int coord_ssh_decide(struct coord *coord, const struct coord_ssh_decision *from,
		     coord_decided_fn *done, void *arg, struct warren_err *err)
{
	struct tailnet_act note = { .verb = TAILNET_NOTE, .actor = from->actor,
				    .origin = from->origin, .kind = "node" };
	struct coord_ssh_check shown;
	char after[LOGIN_MAX * 2 + 64];
	struct deciding *d;

	if (!coord_ssh_shown(coord, from->code, &shown))
		return warren_fail_key(err, -ENOENT, NULL, NULL, "no SSH session waits under this "
				       "code: it is over, or older than 15 minutes");
	if (from->user && from->user != shown.src->user)
		return warren_fail_key(err, -EACCES, NULL, NULL, "the session comes from a device "
				       "of somebody else");
	d = calloc(1, sizeof(*d));
	if (!d)
		return warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory");
	*d = (struct deciding){ .coord = coord, .yes = from->yes, .done = done, .arg = arg };
	memcpy(d->code, shown.code, sizeof(d->code));
	note.text = from->yes ? "ssh.approve" : "ssh.refuse";
	note.node = shown.dst->id;
	note.display = shown.dst->name;
	snprintf(after, sizeof(after), "{\"src\":%" PRId64 ",\"login\":\"%s\"}", shown.src->id,
		 strpbrk(shown.login, "\"\\") ? "?" : shown.login);
	note.after = after;
	if (tailnet_do(coord->tailnet, &note, decided, d) == 0)
		return 0;
	free(d);
	return warren_fail_key(err, -ENOMEM, NULL, NULL, "no memory");
}

/* ---- for the pages ---- */

static bool desk_shown(void *self, const char *code, struct login_check *out)
{
	const struct coord *coord = self;
	struct coord_ssh_check shown;

	if (!coord->ssh || !coord_ssh_shown(coord, code, &shown))
		return false;
	*out = (struct login_check){ .src = shown.src->name, .dst = shown.dst->name,
				     .login = shown.login, .owner = shown.src->user };
	return true;
}

static int desk_decide(void *self, const struct login_verdict *verdict, login_decided_fn *done,
		       void *arg, struct warren_err *err)
{
	const struct coord_ssh_decision decision = {
		.code = verdict->code, .yes = verdict->yes, .user = verdict->user,
		.actor = verdict->actor, .origin = "login",
	};

	return coord_ssh_decide(self, &decision, done, arg, err);
}

const struct login_checks coord_ssh_checks = { .shown = desk_shown, .decide = desk_decide };

/* ---- begin and end ---- */

void coord_ssh_forget(struct coord *coord)
{
	struct pass *p;

	while (coord->ssh && (p = list_first(&coord->ssh->passes, struct pass, link)))
		pass_free(coord->ssh, p);
}

int coord_ssh_start(struct coord *coord)
{
	struct coord_ssh *ssh = calloc(1, sizeof(*ssh));

	if (!ssh)
		return -ENOMEM;
	list_init(&ssh->checks);
	list_init(&ssh->passes);
	coord->ssh = ssh;
	ssh->timer = warren_timer_new(coord->ctx, on_timer, coord);
	return ssh->timer ? 0 : -ENOMEM;
}

void coord_ssh_stop(struct coord *coord)
{
	struct check *c;

	if (!coord->ssh)
		return;
	while ((c = list_first(&coord->ssh->checks, struct check, link)))
		check_over(coord->ssh, c, "# The coordinator stops: try again.\r\n");
	coord_ssh_forget(coord);
	warren_release(coord->ssh->timer);
	free(coord->ssh);
	coord->ssh = NULL;
}
