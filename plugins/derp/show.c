/*
 * What the operator sees of the relay client.
 */
#include "show.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/addr.h"
#include "client.h"

static const char *state_name(enum warren_relay_state state)
{
	switch (state) {
	case WARREN_RELAY_CLOSED:
		return "closed";
	case WARREN_RELAY_CONNECTING:
		return "connecting";
	case WARREN_RELAY_CONNECTED:
		return "connected";
	case WARREN_RELAY_FAILED:
		return "failed";
	}
	return "";
}

static void region_data(struct warren_reply *reply, const struct warren_relay_status *s, bool fast)
{
	uint64_t now = warren_now();
	char text[ADDRPORT_TEXT];

	warren_reply_open(reply, NULL, '{');
	warren_reply_int(reply, "region", s->region);
	warren_reply_str(reply, "code", "%s", s->code);
	warren_reply_str(reply, "state", "%s", state_name(s->state));
	warren_reply_bool(reply, "home", s->home);
	warren_reply_str(reply, "node", "%s", s->node);
	if (s->peer.addr.family)
		warren_reply_str(reply, "address", "%s", addrport_format(&s->peer, text));
	if (s->since) {
		warren_reply_int(reply, "connected_s", (int64_t)((now - s->since) / 1000000));
		warren_reply_bool(reply, "fast_start", fast);
	}
	if (s->rtt)
		warren_reply_int(reply, "rtt_us", (int64_t)s->rtt);
	if (s->why[0])
		warren_reply_str(reply, "error", "%s", s->why);
	if (s->health[0])
		warren_reply_str(reply, "health", "%s", s->health);
	warren_reply_int(reply, "rx_packets", (int64_t)s->rx_packets);
	warren_reply_int(reply, "tx_packets", (int64_t)s->tx_packets);
	warren_reply_int(reply, "rx_bytes", (int64_t)s->rx_bytes);
	warren_reply_int(reply, "tx_bytes", (int64_t)s->tx_bytes);
	warren_reply_int(reply, "dropped", (int64_t)s->dropped);
	warren_reply_close(reply);
}

static void region_text(struct warren_reply *reply, const struct warren_relay_status *s)
{
	char at[ADDRPORT_TEXT + DERP_NODE + 8] = "";
	char text[ADDRPORT_TEXT];

	if (s->peer.addr.family)
		snprintf(at, sizeof(at), "%s, %s", s->node, addrport_format(&s->peer, text));
	warren_reply_text(reply, "%u %s%s\t%s\t%s\t%" PRIu64 " received, %" PRIu64 " sent, %" PRIu64
			  " dropped", s->region, s->code, s->home ? " (home)" : "",
			  state_name(s->state), s->why[0] ? s->why : at, s->rx_packets,
			  s->tx_packets, s->dropped);
	if (s->health[0])
		warren_reply_text(reply, "it says of itself: %s", s->health);
}

int derp_run_status(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err)
{
	struct derp_client *client = warren_self(ctx);
	const struct derp_region *region;
	struct warren_relay_status status;

	(void)args;
	(void)err;
	if (list_empty(&client->regions))
		warren_reply_text(reply, client->consumer ? "no relay is in use" :
				  "no relay is in use: nobody asks for one");
	warren_reply_open(reply, "regions", '[');
	list_for_each(region, &client->regions, link) {
		derp_client_status(region, &status);
		region_data(reply, &status, region->conn && derp_conn_fast(region->conn));
		region_text(reply, &status);
	}
	warren_reply_close(reply);
	return 0;
}

void derp_status(struct warren_ctx *ctx, struct warren_reply *reply)
{
	struct derp_client *client = warren_self(ctx);
	const struct derp_region *region;
	struct warren_relay_status status;
	uint32_t connected = 0;
	char label[DERP_LABEL];

	list_for_each(region, &client->regions, link)
		connected += region->state == WARREN_RELAY_CONNECTED;
	warren_reply_int(reply, "home", client->home);
	warren_reply_int(reply, "connected", connected);
	list_for_each(region, &client->regions, link) {
		derp_client_status(region, &status);
		if (!status.home)
			continue;
		warren_reply_str(reply, "home_state", "%s", state_name(status.state));
		warren_reply_text(reply, "home %s: %s%s%s", derp_region_label(region, label),
				  state_name(status.state), status.why[0] ? ", " : "", status.why);
	}
}

bool derp_check_home(struct warren_ctx *ctx, struct warren_check_result *result)
{
	struct derp_client *client = warren_self(ctx);
	const struct derp_region *region;
	char label[DERP_LABEL];
	bool good = true;

	list_for_each(region, &client->regions, link) {
		if (region->id != client->home || region->state != WARREN_RELAY_FAILED)
			continue;
		warren_finding(result, "%s, our home: %s; peers that cannot reach this node "
			       "directly cannot reach it at all: is TCP to it open, here and "
			       "there?", derp_region_label(region, label), region->why);
		good = false;
	}
	return good;
}

bool derp_check_health(struct warren_ctx *ctx, struct warren_check_result *result)
{
	struct derp_client *client = warren_self(ctx);
	const struct derp_region *region;
	char label[DERP_LABEL];
	bool good = true;

	list_for_each(region, &client->regions, link) {
		if (!region->health[0])
			continue;
		warren_finding(result, "%s says of itself: %s; who runs it should know",
			       derp_region_label(region, label), region->health);
		good = false;
	}
	return good;
}
