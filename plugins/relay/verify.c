/*
 * May this node use the relay? Asked once, at login, of a key that the client has proven to have.
 * Where nobody can answer, nobody is let in (path-protocols.md 1.11; a stock relay admits).
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "relay.h"

enum { ASK_USEC = 5000000, ANSWER_MAX = 4096 };

int relay_verdict(const uint8_t *body, size_t len)
{
	json_t *answer = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *allow = json_object_get(answer, "Allow");
	int result = json_is_true(allow) ? 0 : json_is_false(allow) ? -EACCES : -EBADMSG;

	json_decref(answer);
	return result;
}

static void answered(struct warren_ctx *ctx, int status, const struct warren_http_head *head,
		     const uint8_t *body, size_t len, const char *why, void *arg)
{
	struct relay_client *client = arg;
	int verdict = status == 200 ? relay_verdict(body, len) : -EBADMSG;
	char text[160];

	(void)ctx;
	(void)head;
	client->fetch = NULL;
	if (status == 0)
		snprintf(text, sizeof(text), "relay.verify does not answer, so nobody is let in: "
			 "%s", why);
	else if (verdict == -EBADMSG)
		snprintf(text, sizeof(text), "relay.verify answered with status %d and no "
			 "{\"Allow\": true or false}, so nobody is let in", status);
	else
		snprintf(text, sizeof(text), "relay.verify does not know it");
	relay_client_verified(client, verdict ? text : NULL);
	relay_client_resume(client);
}

static void fetch(struct relay_client *client, const char *url)
{
	static const struct warren_http_field json = { "Content-Type", "application/json" };
	char key[WARREN_KEYTEXT_MAX], from[ADDR_TEXT], body[WARREN_KEYTEXT_MAX + ADDR_TEXT + 64];
	const struct warren_tls_client tls = {
		.size = sizeof(tls), .ca_file = warren_ca_file_path(&client->relay->ca),
	};
	struct warren_fetch_options options = {
		.size = sizeof(options), .method = "POST", .url = url, .fields = &json,
		.n_fields = 1, .tls = &tls, .body = body, .limit = ANSWER_MAX, .timeout = ASK_USEC,
	};

	warren_keytext_format(WARREN_KEYTEXT_NODE, client->key, key);
	options.body_len = (size_t)snprintf(body, sizeof(body), "{\"NodePublic\":\"%s\","
					    "\"Source\":\"%s\"}", key,
					    addr_format(&client->from.addr, from));
	client->fetch = warren_fetch(client->relay->ctx, &options, answered, client);
	if (!client->fetch)
		relay_client_verified(client, "no memory");
}

void relay_ask(struct relay_client *client)
{
	const struct relay *relay = client->relay;

	switch (relay->verify) {
	case RELAY_VERIFY_ANYONE:
		relay_client_verified(client, NULL);
		break;
	case RELAY_VERIFY_URL:
		fetch(client, relay->verify_url);
		break;
	case RELAY_VERIFY_COORDINATOR:
		if (!relay->judge)
			relay_client_verified(client, "no coordinator runs here that could know "
					      "it");
		else
			relay_client_verified(client, relay->judge(relay->judge_arg, client->key) ?
					      NULL : "the coordinator does not know it");
		break;
	}
}

static void judge_ends(void *arg)
{
	struct relay *relay = arg;

	relay->judge = NULL;
	relay->changed = NULL;
	relay->judge_of = NULL;
	relay->judge_tie = NULL;
}

int relay_judge(void *self, struct warren_ctx *ctx, warren_relay_judge_fn *fn,
		void (*changed)(void *arg), void *arg, struct warren_err *err)
{
	struct relay *relay = self;

	if (relay->judge_of && relay->judge_of != ctx) {
		warren_fail(err, NULL, "another plugin says who may use the relay");
		return -EEXIST;
	}
	if (!relay->judge_of) {
		relay->judge_tie = warren_on_end(ctx, judge_ends, relay);
		if (!relay->judge_tie) {
			warren_fail(err, NULL, "no memory");
			return -ENOMEM;
		}
	}
	relay->judge = fn;
	relay->changed = changed;
	relay->judge_arg = arg;
	relay->judge_of = ctx;
	return 0;
}
