/*
 * relay/probe.h - `warren relay check`: a relay, ours or a stock one, looked at from outside
 *
 * A *probe* is one run of the command. It goes through its steps one after the other and tells each
 * outcome as it comes; what a step cannot do without is named by those after it that are left out.
 * It is on the core's context, for the command works where the plugin does not run: what it takes
 * it gives back by itself.
 */
#ifndef WARREN_PLUGIN_RELAY_PROBE_H
#define WARREN_PLUGIN_RELAY_PROBE_H

#include <warren/stun.h>

#include "talk.h"

enum { PROBE_ADDRS = 8, PROBE_WHY = TALK_WHY };

enum probe_result { PROBE_OK, PROBE_WARNING, PROBE_FAILED, PROBE_LEFT_OUT };

struct probe {
	struct warren_ctx *ctx;
	struct warren_reply *reply;	/* NULL: nobody waits any more */
	uint32_t busy;			/* calls that come whatever happens */
	struct warren_timer *timer, *next;
	uint32_t step;			/* from 1 */
	bool over;			/* it has ended */

	struct warren_url url;
	bool tls, pinned, anyone;
	bool insecure;			/* its certificate is no good: go on without */
	uint8_t pin[32];
	char *ca_pem;
	int ca_fd;
	uint16_t stun_port, http_port;
	struct warren_addr addrs[PROBE_ADDRS];
	uint32_t n_addrs, at;
	const struct warren_addr *chosen;	/* the first that TCP reached; NULL: none */

	uint64_t began;			/* what the step waits for */
	struct warren_dial *dial;
	struct warren_stream *stream;
	struct warren_http *http;
	struct warren_io *udp;
	int udp_fd;
	uint8_t txid[WARREN_STUN_TXID];
	uint32_t tries;
	char challenge[32], why[PROBE_WHY];	/* a certificate is not trusted */
	uint8_t ping[WARREN_DERP_PING_DATA], packet[64];
	uint64_t best;			/* of the pings */

	struct talk talks[2];		/* by the upgrade that is answered; by fast start */
	uint32_t failed, warnings;
};

/* ---- probe.c: the command and its steps ---- */

/* One line: what this step has found, and in which time if @usec is not 0. */
void probe_tell(struct probe *probe, enum probe_result result, uint64_t usec, const char *fmt, ...)
	WARREN_PRINTF(4, 5);
void probe_next(struct probe *probe);
bool probe_at(const struct probe *probe, void (*step)(struct probe *probe));
/* Both. */
void probe_done(struct probe *probe, enum probe_result result, uint64_t usec, const char *fmt, ...)
	WARREN_PRINTF(4, 5);
/* The step has @usec from now. */
void probe_within(struct probe *probe, uint64_t usec);
/* Inside a call that was counted in `busy`: false, nobody waits, and @probe may be gone. */
bool probe_still(struct probe *probe);
/* One of the host's addresses, without a name server and a proxy; NULL: no memory. */
void probe_tls(struct probe *probe, struct warren_tls_client *out);
struct warren_dial *probe_dial(struct probe *probe, const struct warren_addr *addr, uint16_t port,
			       bool tls, warren_stream_fn *done, void *arg);

/* ---- probe_net.c: the steps that are no DERP ---- */

void probe_step_name(struct probe *probe);
void probe_step_tcp(struct probe *probe);
void probe_step_certificate(struct probe *probe);
void probe_step_http(struct probe *probe);
void probe_step_stun(struct probe *probe);
void probe_step_portal(struct probe *probe);
/* The time of the step is over. */
void probe_late_http(struct probe *probe);
void probe_late_stun(struct probe *probe);
void probe_late_portal(struct probe *probe);
/* Whatever the step still holds. */
void probe_net_drop(struct probe *probe);

/* ---- probe_derp.c: the steps with clients ---- */

void probe_step_upgrade(struct probe *probe);
void probe_step_fast(struct probe *probe);
void probe_step_key(struct probe *probe);
void probe_step_login(struct probe *probe);
void probe_step_packet(struct probe *probe);
void probe_step_latency(struct probe *probe);
void probe_late_upgrade(struct probe *probe);
void probe_late_fast(struct probe *probe);
void probe_late_login(struct probe *probe);
void probe_late_packet(struct probe *probe);
void probe_late_latency(struct probe *probe);
int relay_run_check(struct warren_ctx *ctx, const struct warren_conf *args,
		    struct warren_reply *reply, struct warren_err *err);

#endif
