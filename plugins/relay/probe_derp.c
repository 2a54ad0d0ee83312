/*
 * The steps of `warren relay check` that speak DERP: two clients, and a packet from one to the
 * other.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "probe.h"

enum { DERP_USEC = 8000000, PINGS = 5 };

static bool is_met(const struct talk *talk)
{
	return talk->state >= TALK_MET && talk->state <= TALK_REFUSED;
}

static bool both_up(const struct probe *probe)
{
	return probe->talks[0].state == TALK_UP && probe->talks[1].state == TALK_UP;
}

static void begin(struct talk *talk, struct probe *probe, bool fast);

/* ---- the two ways in ---- */

void probe_step_upgrade(struct probe *probe)
{
	if (!probe->chosen) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "TCP does not reach it");
		return;
	}
	probe_within(probe, DERP_USEC);
	begin(&probe->talks[0], probe, false);
}

static void upgraded(struct probe *probe, const struct talk *talk)
{
	if (is_met(talk))
		probe_done(probe, PROBE_OK, warren_now() - talk->sent, "101, and its first frame");
	else if (talk->state == TALK_FAILED)
		probe_done(probe, PROBE_FAILED, 0, "%s", talk->why);
}

void probe_late_upgrade(struct probe *probe)
{
	talk_end(&probe->talks[0]);
	probe_done(probe, PROBE_FAILED, 0, "GET /derp is not answered with 101 and a frame within "
		   "8 s: does a proxy in front of it wait for an answer that never comes?");
}

void probe_step_fast(struct probe *probe)
{
	if (probe->talks[0].state == TALK_NONE || probe->talks[0].state == TALK_FAILED) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "there is no upgrade");
		return;
	}
	probe_within(probe, DERP_USEC);
	begin(&probe->talks[1], probe, probe->tls);
}

static void fast_started(struct probe *probe, const struct talk *talk)
{
	if (talk->state == TALK_FAILED)
		probe_done(probe, PROBE_FAILED, 0, "%s", talk->why);
	else if (!is_met(talk))
		return;
	else if (talk->fast)
		probe_done(probe, PROBE_OK, warren_now() - talk->sent, "its key is told inside of "
			   "TLS");
	else if (probe->tls)
		probe_done(probe, PROBE_WARNING, 0, "its certificates tell no key: clients log in "
			   "a round trip later; is TLS 1.3 off, or does a proxy end TLS?");
	else
		probe_done(probe, PROBE_LEFT_OUT, 0, "the key is told by TLS only");
}

void probe_late_fast(struct probe *probe)
{
	talk_end(&probe->talks[1]);
	probe_done(probe, PROBE_FAILED, 0, "no frame within 8 s of an upgrade with fast start: "
		   "clients that have seen its key in TLS do not get in");
}

void probe_step_key(struct probe *probe)
{
	const struct talk *one = &probe->talks[0], *two = &probe->talks[1];
	char key[65];

	if (!is_met(one)) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "there is no upgrade");
		return;
	}
	hex_encode(key, one->server_key, 32);
	if (is_met(two) && memcmp(one->server_key, two->server_key, 32) != 0)
		probe_done(probe, PROBE_FAILED, 0, "two connections meet two keys: more than one "
			   "relay answers at this address, and clients do not find each other");
	else
		probe_done(probe, PROBE_OK, 0, "%s", key);
}

/* ---- login ---- */

static void logged_in(struct probe *probe)
{
	const struct talk *at = probe->talks;

	if (at[0].state == TALK_MET || at[1].state == TALK_MET)
		return;
	if (both_up(probe))
		probe_done(probe, PROBE_OK, 0, "keys that nobody knows get in: anyone may use it");
	else if (at[0].state == TALK_FAILED || at[1].state == TALK_FAILED)
		probe_done(probe, PROBE_FAILED, 0, "%s",
			   at[at[0].state != TALK_FAILED].why);
	else if (at[0].state == TALK_NONE || at[1].state == TALK_NONE)
		probe_done(probe, PROBE_LEFT_OUT, 0, "there is no upgrade");
	else if (probe->anyone)
		probe_done(probe, PROBE_FAILED, 0, "it does not admit keys that nobody knows: set "
			   "its verification to anyone, or leave out --anyone");
	else
		probe_done(probe, PROBE_OK, 0, "it admits only nodes that it knows: that these get "
			   "in is to be seen there (`warren derp status`)");
}

void probe_step_login(struct probe *probe)
{
	probe_within(probe, DERP_USEC);
	logged_in(probe);
}

void probe_late_login(struct probe *probe)
{
	probe_done(probe, PROBE_FAILED, 0, "neither let in nor turned away within 8 s: does who "
		   "verifies its clients answer?");
}

/* ---- a packet, and how far it is ---- */

void probe_step_packet(struct probe *probe)
{
	struct talk *from = &probe->talks[0];
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_SEND_PACKET, .key = probe->talks[1].public_key,
		.data = probe->packet, .len = sizeof(probe->packet),
	};

	if (!both_up(probe)) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "no key of ours gets in");
		return;
	}
	randombytes_buf(probe->packet, sizeof(probe->packet));
	probe_within(probe, DERP_USEC);
	probe->began = warren_now();
	if (talk_put(from, &frame))
		probe_done(probe, PROBE_FAILED, 0, "the connection has ended");
}

static void packet_frame(struct probe *probe, const struct talk *talk,
			 const struct warren_derp_frame *frame)
{
	if (talk != &probe->talks[1] || frame->type != WARREN_DERP_RECV_PACKET)
		return;
	if (memcmp(frame->key, probe->talks[0].public_key, 32) != 0 ||
	    frame->len != sizeof(probe->packet) ||
	    memcmp(frame->data, probe->packet, sizeof(probe->packet)) != 0)
		probe_done(probe, PROBE_FAILED, 0, "what arrived is not what was sent");
	else
		probe_done(probe, PROBE_OK, warren_now() - probe->began, "from one key to another");
}

void probe_late_packet(struct probe *probe)
{
	probe_done(probe, PROBE_FAILED, 0, "it did not arrive within 8 s: with several relays "
		   "behind one address, are they a mesh?");
}

static void ping(struct probe *probe)
{
	const struct warren_derp_frame frame = {
		.type = WARREN_DERP_PING, .data = probe->ping, .len = sizeof(probe->ping),
	};

	probe->tries++;
	randombytes_buf(probe->ping, sizeof(probe->ping));
	probe->began = warren_now();
	if (talk_put(&probe->talks[0], &frame))
		probe_done(probe, PROBE_FAILED, 0, "the connection has ended");
}

void probe_step_latency(struct probe *probe)
{
	if (!both_up(probe)) {
		probe_done(probe, PROBE_LEFT_OUT, 0, "no key of ours gets in");
		return;
	}
	probe->tries = 0;
	probe->best = UINT64_MAX;
	probe_within(probe, DERP_USEC);
	ping(probe);
}

static void latency_frame(struct probe *probe, const struct warren_derp_frame *frame)
{
	uint64_t usec = warren_now() - probe->began;

	if (frame->type != WARREN_DERP_PONG ||
	    memcmp(frame->data, probe->ping, sizeof(probe->ping)) != 0)
		return;
	if (usec < probe->best)
		probe->best = usec;
	if (probe->tries < PINGS)
		ping(probe);
	else
		probe_done(probe, PROBE_OK, probe->best, "the best of %d pings", PINGS);
}

void probe_late_latency(struct probe *probe)
{
	probe_done(probe, PROBE_FAILED, 0, "its pings have no answer within 8 s");
}

/* ---- the clients ---- */

static void on_changed(struct talk *talk, void *arg)
{
	struct probe *probe = arg;

	if (probe_at(probe, probe_step_upgrade) && talk == &probe->talks[0])
		upgraded(probe, talk);
	else if (probe_at(probe, probe_step_fast) && talk == &probe->talks[1])
		fast_started(probe, talk);
	else if (probe_at(probe, probe_step_login))
		logged_in(probe);
	else if (talk->state == TALK_FAILED && (probe_at(probe, probe_step_packet) ||
						 probe_at(probe, probe_step_latency)))
		probe_done(probe, PROBE_FAILED, 0, "%s", talk->why);
}

static void on_frame(struct talk *talk, const struct warren_derp_frame *frame, void *arg)
{
	struct probe *probe = arg;

	if (probe_at(probe, probe_step_packet))
		packet_frame(probe, talk, frame);
	else if (probe_at(probe, probe_step_latency) && talk == &probe->talks[0])
		latency_frame(probe, frame);
}

static void begin(struct talk *talk, struct probe *probe, bool fast)
{
	struct warren_tls_client tls;
	const struct talk_options options = {
		.ctx = probe->ctx, .url = &probe->url, .address = probe->chosen,
		.tls = probe->tls ? &tls : NULL, .fast = fast, .prober = true,
		.changed = on_changed, .frame = on_frame, .arg = probe,
	};

	probe_tls(probe, &tls);
	talk_begin(talk, &options);
}
