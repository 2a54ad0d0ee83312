/*
 * SSH sessions that the policy wants to have checked: who may ask, how long a yes counts, and what
 * becomes of those that nobody approves.
 */
#include "clients.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

static const char rules[] =
	"{\"tagOwners\": {\"tag:db\": []}, \"grants\": ["
	"{\"src\": [\"autogroup:member\"], \"dst\": [\"tag:db\"], \"ip\": [\"*\"]}],"
	"\"ssh\": [{\"action\": \"check\", \"src\": [\"autogroup:member\"],"
	"\"dst\": [\"tag:db\"], \"users\": [\"ops\", \"a b\"], \"checkPeriod\": \"%s\"},"
	"{\"action\": \"accept\", \"src\": [\"autogroup:member\"],"
	"\"dst\": [\"tag:db\"], \"users\": [\"ops\", \"guest\"]}]}";

static struct client a, b;
static int64_t src, dst;

static void begin_with(const char *period)
{
	char text[1024];

	two_kinds_of_nodes(&a, &b);
	src = tailnet_node_by_key(coord.tailnet, a.node_key)->id;
	dst = tailnet_node_by_key(coord.tailnet, b.node_key)->id;
	snprintf(text, sizeof(text), rules, period);
	assert_int_equal(coord_view_policy(&coord, text, strlen(text), NULL), 0);
}

static void end(void)
{
	client_end(&a);
	client_end(&b);
}

static json_t *action(struct client *c, const char *login, int status)
{
	char path[256];

	snprintf(path, sizeof(path), COORD_SSH_PATH "%lld/to/%lld?local_user=%s", (long long)src,
		 (long long)dst, login);
	return ask_with(c, "GET", path, NULL, status);
}

static bool has(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* Asks for @login, which is held; the path to ask again is in @path. */
static void held(const char *login, char path[400])
{
	json_t *o = action(&b, login, 200);
	const char *url = json_string_value(json_object_get(o, "holdAndDelegate"));

	assert_non_null(url);
	assert_true(str_starts(url, coord.url));
	snprintf(path, 400, "%s", url + strlen(coord.url));
	assert_non_null(strstr(json_string_value(json_object_get(o, "message")), "/auth/"));
	json_decref(o);
}

struct waiting {
	struct str body;
	volatile bool over;
};

static int got(struct warren_exchange *x, const uint8_t *data, size_t len, void *arg)
{
	(void)x;
	str_addn(&((struct waiting *)arg)->body, (const char *)data, len);
	return 0;
}

static void complete(struct warren_exchange *x, void *arg)
{
	(void)x;
	((struct waiting *)arg)->over = true;
}

static void failed(struct warren_exchange *x, int result, const char *why, void *arg)
{
	(void)x;
	(void)result;
	(void)why;
	((struct waiting *)arg)->over = true;
}

static struct warren_exchange *wait_at(struct client *c, const char *path, struct waiting *w)
{
	static const struct warren_exchange_events events = {
		.size = sizeof(events), .body = got, .complete = complete, .failed = failed,
	};
	struct warren_exchange *x;

	*w = (struct waiting){ .over = false };
	x = request(c, "GET", path, NULL, &events, w);
	for (int i = 0; i < 20; i++)
		parts_settle(engine);
	assert_false(w->over);
	return x;
}

static volatile bool decided;
static char why[200];

static void on_decided(void *arg, const char *error)
{
	(void)arg;
	snprintf(why, sizeof(why), "%s", error ? error : "");
	decided = true;
}

/* By @user, or by the operator: of the session that waits. */
static void decide(bool yes, int64_t user)
{
	struct coord_ssh_decision d = { .yes = yes, .user = user, .actor = "x", .origin = "test" };
	struct coord_ssh_check check;
	uint32_t pos = 0;

	assert_true(coord_ssh_next(&coord, &pos, &check));
	d.code = check.code;
	decided = false;
	assert_int_equal(coord_ssh_decide(&coord, &d, on_decided, NULL, NULL), 0);
	assert_true(parts_until(engine, &decided));
	assert_string_equal(why, "");
}

static json_t *outcome(struct waiting *w)
{
	json_t *o;

	assert_true(parts_until(engine, &w->over));
	o = json_loads(str_text(&w->body), 0, NULL);
	assert_non_null(o);
	str_free(&w->body);
	return o;
}

static void a_yes_counts_for_its_period(void **state)
{
	struct waiting w, v;
	char path[400], again[400];
	json_t *o;

	(void)state;
	begin_with("1h");
	held("ops", path);
	held("ops", again);		/* the same session: one question, not two */
	assert_string_equal(path, again);
	wait_at(&b, path, &w);
	wait_at(&b, path, &v);
	decide(true, 0);
	o = outcome(&w);
	assert_true(has(o, "accept"));
	assert_true(has(o, "allowAgentForwarding"));
	json_decref(o);
	json_decref(outcome(&v));
	o = action(&b, "ops", 200);
	assert_true(has(o, "accept"));
	json_decref(o);
	held("a+b", again);		/* another login is another question */
	assert_non_null(strstr(again, "local_user=a%20b&auth_id="));
	assert_int_equal(coord_view_policy(&coord, clients_policy, strlen(clients_policy), NULL),
			 0);
	o = action(&b, "ops", 200);	/* not even a question any more */
	assert_true(has(o, "reject"));
	json_decref(o);
	end();
}

static void always_is_each_time(void **state)
{
	struct waiting w;
	char path[400], again[400];
	json_t *o;

	(void)state;
	begin_with("always");
	held("ops", path);
	decide(true, 0);		/* before it has come back for the answer */
	o = ask_with(&b, "GET", path, NULL, 200);
	assert_true(has(o, "accept"));
	json_decref(o);
	held("ops", again);
	assert_string_not_equal(path, again);
	wait_at(&b, again, &w);
	decide(true, 0);
	json_decref(outcome(&w));
	held("ops", path);
	end();
}

static void no_is_said_once(void **state)
{
	struct waiting w;
	char path[400];
	json_t *o;

	(void)state;
	begin_with("1h");
	held("ops", path);
	wait_at(&b, path, &w);
	decide(false, 0);
	o = outcome(&w);
	assert_true(has(o, "reject"));
	json_decref(o);
	held("ops", path);
	decide(false, 0);
	o = ask_with(&b, "GET", path, NULL, 200);
	assert_true(has(o, "reject"));
	json_decref(o);
	held("ops", path);		/* whoever asks anew is asked anew */
	/* A code that is lost, or from before a restart. */
	path[strlen(path) - 1] ^= 1;
	o = ask_with(&b, "GET", path, NULL, 200);
	assert_non_null(json_object_get(o, "holdAndDelegate"));
	json_decref(o);
	end();
}

static void who_may(void **state)
{
	struct coord_ssh_decision d = { .yes = true, .actor = "x", .origin = "test" };
	struct warren_err err = ERR_INIT;
	struct coord_ssh_check check;
	struct waiting w;
	char path[400];
	uint32_t pos = 0;
	json_t *o;

	(void)state;
	begin_with("1h");
	json_decref(action(&a, "ops", 401));	/* the source asks for the destination */
	json_decref(ask_with(&b, "GET", COORD_SSH_PATH "1/to/x?local_user=ops", NULL, 400));
	json_decref(ask_with(&b, "GET", COORD_SSH_PATH "1/to/2?local_user=", NULL, 400));
	json_decref(ask_with(&b, "POST", COORD_SSH_PATH "1/to/2?local_user=ops", "", 404));
	o = action(&b, "root", 200);
	assert_true(has(o, "reject"));
	json_decref(o);
	o = action(&b, "guest", 200);	/* of a rule that does not check */
	assert_true(has(o, "accept"));
	json_decref(o);
	held("ops", path);
	assert_true(coord_ssh_next(&coord, &pos, &check));
	assert_int_equal(check.src->id, src);
	assert_int_equal(check.dst->id, dst);
	assert_string_equal(check.login, "ops");
	d.code = check.code;
	d.user = check.src->user + 1;
	assert_int_equal(coord_ssh_decide(&coord, &d, on_decided, NULL, &err), -EACCES);
	err_free(&err);
	/* The client goes while it is held; then the server does. */
	warren_exchange_cancel(wait_at(&b, path, &w));
	str_free(&w.body);
	wait_at(&b, path, &w);
	decide(true, check.src->user);
	o = outcome(&w);
	assert_true(has(o, "accept"));
	json_decref(o);
	coord_ssh_forget(&coord);
	held("ops", path);
	wait_at(&b, path, &w);
	coord_ssh_stop(&coord);
	o = outcome(&w);
	assert_true(has(o, "reject"));
	json_decref(o);
	end();
}

/* The names of tailcfg.SSHRecorderFailureAction, which nodes look for letter by letter. */
static void what_cannot_be_recorded_is_ended(void **state)
{
	static const char recorded[] =
		"{\"tagOwners\": {\"tag:db\": [], \"tag:rec\": []},"
		"\"ssh\": [{\"action\": \"accept\", \"src\": [\"autogroup:member\"],"
		"\"dst\": [\"tag:db\"], \"users\": [\"ops\"],"
		"\"recorder\": [\"tag:rec\"], \"enforceRecorder\": true}]}";
	struct warren_err err = ERR_INIT;
	const json_t *failure;
	json_t *rules_json;

	(void)state;
	begin_with("1h");
	if (coord_view_policy(&coord, recorded, strlen(recorded), &err))
		fail_msg("%s", err_first(&err));
	rules_json = policy_world_ssh(coord.world, dst, coord.url);
	failure = json_object_get(json_object_get(json_array_get(rules_json, 0), "action"),
				  "onRecordingFailure");
	assert_true(json_is_string(json_object_get(failure, "RejectSessionWithMessage")));
	assert_true(json_is_string(json_object_get(failure, "TerminateSessionWithMessage")));
	json_decref(rules_json);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(a_yes_counts_for_its_period),
		ON_LOOP(always_is_each_time),
		ON_LOOP(no_is_said_once),
		ON_LOOP(who_may),
		ON_LOOP(what_cannot_be_recorded_is_ended),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
