/*
 * What the operator sees.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/hex.h"
#include "relay.h"

enum { SHOWN_ONCE = 256 };

static const char *verify_text(const struct relay *relay)
{
	switch (relay->verify) {
	case RELAY_VERIFY_ANYONE:
		return "anyone may use it";
	case RELAY_VERIFY_URL:
		return "a URL says who may use it";
	case RELAY_VERIFY_COORDINATOR:
		return relay->judge ? "the coordinator says who may use it" :
		       "nobody is let in: no coordinator runs here";
	}
	return "";
}

static void summary(const struct relay *relay, struct warren_reply *reply)
{
	char key[65];

	hex_encode(key, relay->public_key, 32);
	warren_reply_int(reply, "region", warren_conf_int(relay->conf, "region"));
	warren_reply_str(reply, "code", "%s", warren_conf_str(relay->conf, "code"));
	warren_reply_str(reply, "key", "%s", key);
	warren_reply_str(reply, "verify", "%s", warren_conf_str(relay->conf, "verify"));
	warren_reply_bool(reply, "judged", relay->verify != RELAY_VERIFY_COORDINATOR ||
			  relay->judge);
	warren_reply_int(reply, "stun_port", relay->stun_port);
	warren_reply_int(reply, "clients", relay->n_clients);
	warren_reply_int(reply, "clients_max", relay->clients_max);
	warren_reply_int(reply, "peers", relay->n_peers);
	warren_reply_int(reply, "homes", relay->n_homes);
	warren_reply_int(reply, "duplicates", relay->n_duplicates);
	warren_reply_int(reply, "refused", (int64_t)relay->refused);
	warren_reply_int(reply, "queued_bytes", (int64_t)relay->queued);
	warren_reply_text(reply, "region %" PRId64 " %s: %u of %u clients, %u at home here; %s",
			  warren_conf_int(relay->conf, "region"),
			  warren_conf_str(relay->conf, "code"), relay->n_clients,
			  relay->clients_max, relay->n_homes, verify_text(relay));
}

static void listeners(const struct relay *relay, struct warren_reply *reply)
{
	const struct relay_own *own = &relay->own;
	char hex[65];

	warren_reply_open(reply, "listen", '[');
	for (uint32_t i = 0; i < own->n; i++) {
		warren_reply_open(reply, NULL, '{');
		warren_reply_str(reply, "at", "%s", own->places[i].text);
		warren_reply_int(reply, "port", warren_listener_port(own->places[i].listener));
		warren_reply_bool(reply, "tls", own->tls && !own->places[i].plain);
		warren_reply_close(reply);
	}
	warren_reply_close(reply);
	warren_reply_bool(reply, "front", relay->front && own->n == 0);
	if (own->n == 0 || !relay_own_is_pinned(relay))
		return;
	hex_encode(hex, own->facts.sha256, 32);
	warren_reply_str(reply, "sha256", "%s", hex);
	warren_reply_text(reply, "certificate: self-signed, sha256-raw:%s", hex);
}

void relay_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	summary(warren_self(ctx), reply);
	listeners(warren_self(ctx), reply);
}

static void client_row(const struct relay_client *client, struct warren_reply *reply)
{
	uint64_t seconds = (warren_now() - client->since) / 1000000;
	char key[WARREN_KEYTEXT_MAX], from[ADDRPORT_TEXT];
	bool active = relay_active(client->peer) == client;

	warren_keytext_format(WARREN_KEYTEXT_NODE, client->key, key);
	addrport_format(&client->from, from);
	warren_reply_open(reply, NULL, '{');
	warren_reply_str(reply, "key", "%s", key);
	warren_reply_str(reply, "address", "%s", from);
	warren_reply_int(reply, "seconds", (int64_t)seconds);
	warren_reply_bool(reply, "home", client->home);
	warren_reply_bool(reply, "active", active);
	warren_reply_bool(reply, "prober", client->prober);
	warren_reply_bool(reply, "not_ideal", client->not_ideal);
	warren_reply_bool(reply, "mesh", client->mesh);
	warren_reply_int(reply, "received", (int64_t)client->received);
	warren_reply_int(reply, "sent", (int64_t)client->sent);
	warren_reply_int(reply, "dropped", (int64_t)client->dropped);
	warren_reply_int(reply, "queued",
			 client->queues[RELAY_DATA].count + client->queues[RELAY_PATH].count);
	warren_reply_close(reply);
	warren_reply_text(reply, "%s\t%s\t%" PRIu64 " s%s%s\t%" PRIu64 " received, %" PRIu64
			  " sent, %" PRIu64 " dropped", key, from, seconds,
			  client->home ? ", home" : "", active ? "" : ", a duplicate",
			  client->received, client->sent, client->dropped);
}

int relay_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		     struct warren_reply *reply, struct warren_err *err)
{
	const struct relay *relay = warren_self(ctx);
	const struct relay_client *client;
	uint32_t shown = 0, left = 0;

	(void)args;
	(void)err;
	summary(relay, reply);
	listeners(relay, reply);
	relay_mesh_show(relay, reply);
	warren_reply_open(reply, "connections", '[');
	list_for_each(client, &relay->clients, all) {
		if (client->state != RELAY_UP)
			continue;
		if (shown++ < SHOWN_ONCE)
			client_row(client, reply);
		else
			left++;
	}
	warren_reply_close(reply);
	warren_reply_int(reply, "left_off", left);
	if (left > 0)
		warren_reply_text(reply, "and %u more", left);
	return 0;
}

bool relay_check_served(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);

	if (relay->own.n > 0 || relay->front)
		return true;
	warren_finding(result, "no client reaches the relay: the section `relay` has no `listen`, "
		       "and the plugin front does not run; add the section `front`, or `listen` "
		       "for ports of its own");
	return false;
}

bool relay_check_certificate(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);

	return !relay->own.tls || warren_cert_check(&relay->own.facts, "relay.listen", result);
}

bool relay_check_verify(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);

	if (relay->verify != RELAY_VERIFY_COORDINATOR || relay->judge)
		return true;
	warren_finding(result, "relay.verify is \"coordinator\" and no coordinator runs here: "
		       "nobody is let in; add the section `coordinator`, or set relay.verify to "
		       "the /verify URL of yours");
	return false;
}

bool relay_check_reach(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);
	const char *why = relay_reach_why(relay->reach);

	if (why)
		warren_finding(result, "%s", why);
	return !why;
}

bool relay_check_duplicates(struct warren_ctx *ctx, struct warren_check_result *result)
{
	const struct relay *relay = warren_self(ctx);

	if (relay->n_duplicates == 0)
		return true;
	warren_finding(result, "%u keys are connected more than once: if it stays so, the state "
		       "folder of a node was copied to another machine; `warren relay status` "
		       "shows the addresses", relay->n_duplicates);
	return false;
}
