/*
 * Requests are repeated after 250 ms and then after twice as long each time (RFC 6886 3.1), but not
 * for minutes: the next probe comes with the next full netcheck.
 */
#include "portmap.h"

#include <sodium.h>
#include <string.h>

#include "base/addr.h"
#include "endpoints.h"
#include "igd.h"
#include "peer.h"

#define FIRST_WAIT (250 * PATHS_MSEC)
#define RENEW_SOONEST (4 * PATHS_SECOND)	/* RFC 6887 11.2.1 */
#define IGD_WAIT (30 * PATHS_SECOND)	/* its owner knows sooner */
#define IGD_RELEASE_WAIT (4 * PATHS_SECOND)
enum { PROBES = 2, ASKS = 4, RELEASES = 2, LEASE_MAX = 86400 };

void portmap_init(struct portmap *pm, const struct portmap_acts *acts, void *arg)
{
	memset(pm, 0, sizeof(*pm));
	pm->acts = acts;
	pm->arg = arg;
	pm->probe_due = PATHS_NEVER;
	pm->ask_due = PATHS_NEVER;
}

static bool is_mapped(const struct portmap *pm)
{
	return pm->external.addr.family != 0;
}

static bool is_asking(const struct portmap *pm)
{
	return pm->ask_due != PATHS_NEVER;
}

bool portmap_is_probing(const struct portmap *pm)
{
	return pm->probe_due != PATHS_NEVER;
}

/*
 * ---- Out ----
 */

static void send_map(struct portmap *pm, enum portmap_service service, uint32_t lifetime)
{
	static const struct warren_addrport any;
	uint8_t pmp[PMP_MAP_SIZE], pcp[PCP_MAP_SIZE];
	/* What we had we would like to have again; a deletion names nothing. */
	const struct warren_addrport *wanted = lifetime ? &pm->external : &any;

	switch (service) {
	case PORTMAP_PCP:
		pcp_map_request(&pm->self, pm->nonce, pm->port, wanted, lifetime, pcp);
		pm->acts->send(pm->arg, pcp, sizeof(pcp));
		return;
	case PORTMAP_PMP:
		pmp_map_request(pm->port, wanted->port, lifetime, pmp);
		pm->acts->send(pm->arg, pmp, sizeof(pmp));
		return;
	case PORTMAP_UPNP:
		pm->acts->igd(pm->arg, lifetime ? PORTMAP_IGD_MAP : pm->releasing ?
			      PORTMAP_IGD_DELETE : PORTMAP_IGD_FORGET, wanted->port);
		return;
	case PORTMAP_SERVICES:
		return;
	}
}

static void send_probe(struct portmap *pm, enum portmap_service service)
{
	uint8_t pmp[PMP_PUBLIC_SIZE], pcp[PCP_ANNOUNCE_SIZE];

	switch (service) {
	case PORTMAP_PCP:
		pcp_announce_request(&pm->self, pcp);
		pm->acts->send(pm->arg, pcp, sizeof(pcp));
		return;
	case PORTMAP_PMP:
		pmp_public_request(pmp);
		pm->acts->send(pm->arg, pmp, sizeof(pmp));
		return;
	case PORTMAP_UPNP:
		pm->acts->search(pm->arg);
		return;
	case PORTMAP_SERVICES:
		return;
	}
}

static void send_probes(struct portmap *pm, uint64_t now)
{
	for (int s = 0; s < PORTMAP_SERVICES; s++)
		if (pm->at[s].said == WARREN_TRI_UNKNOWN)
			send_probe(pm, s);
	pm->probes++;
	pm->probe_due = now + FIRST_WAIT;
}

static void send_ask(struct portmap *pm, uint64_t now)
{
	if (pm->asked == PORTMAP_UPNP)
		pm->ask_due = now + (pm->releasing ? IGD_RELEASE_WAIT : IGD_WAIT);
	else
		pm->ask_due = now + (FIRST_WAIT << pm->asks);
	pm->asks++;
	if (pm->asked == PORTMAP_PMP && !pm->releasing && !pm->got_public)
		send_probe(pm, PORTMAP_PMP);
	if (!pm->got_map)
		send_map(pm, pm->asked, pm->releasing ? 0 : PMP_LIFETIME);
}

static uint32_t asks_max(const struct portmap *pm)
{
	if (pm->asked == PORTMAP_UPNP)
		return 1;
	return pm->releasing ? RELEASES : ASKS;
}

/*
 * ---- Asking ----
 */

static void ask(struct portmap *pm, enum portmap_service service, uint64_t now)
{
	pm->asked = service;
	pm->asks = 0;
	pm->got_public = false;
	pm->got_map = false;
	memset(&pm->got, 0, sizeof(pm->got));
	send_ask(pm, now);
}

/* The next service from @first on; false: none is left. */
static bool ask_next(struct portmap *pm, int first, uint64_t now)
{
	for (int s = first; s < PORTMAP_SERVICES; s++) {
		if (pm->at[s].there == WARREN_TRI_YES && !pm->at[s].refused) {
			ask(pm, s, now);
			return true;
		}
	}
	return false;
}

static void lose(struct portmap *pm)
{
	memset(&pm->external, 0, sizeof(pm->external));
	pm->acts->event(pm->arg, PORTMAP_LOST);
}

/* @result 0: no answer came. */
static void ask_failed(struct portmap *pm, uint16_t result, uint64_t now)
{
	bool ours = is_mapped(pm) && pm->mapped_by == pm->asked;
	enum portmap_service by;

	pm->ask_due = PATHS_NEVER;
	if (pm->releasing) {
		pm->releasing = false;
		pm->acts->event(pm->arg, PORTMAP_RELEASED);
		return;
	}
	if (ours && !result) {
		uint64_t half = pm->until > now ? (pm->until - now) / 2 : 0;

		pm->renew_at = now + (half > RENEW_SOONEST ? half : RENEW_SOONEST);
		return;
	}
	pm->at[pm->asked].refused = result;
	if (ours)
		lose(pm);
	if (!ask_next(pm, (int)pm->asked + 1, now) && portmap_refusal(pm, &by))
		pm->acts->event(pm->arg, PORTMAP_REFUSED);
}

static void ask_answered(struct portmap *pm, const struct warren_addrport *external,
			 uint32_t lifetime, uint64_t now)
{
	bool news = !addrport_equal(&pm->external, external);
	uint64_t lease = (lifetime < LEASE_MAX ? lifetime : LEASE_MAX) * PATHS_SECOND;

	if (!external->port || !lifetime ||
	    paths_address_use(&external->addr) != PATHS_USE) {
		send_map(pm, pm->asked, 0);
		ask_failed(pm, PORTMAP_USELESS, now);
		return;
	}
	pm->ask_due = PATHS_NEVER;
	pm->at[pm->asked].refused = 0;
	pm->external = *external;
	pm->mapped_by = pm->asked;
	pm->until = now + lease;
	pm->renew_at = now + (lease / 2 > RENEW_SOONEST ? lease / 2 : RENEW_SOONEST);
	if (news)
		pm->acts->event(pm->arg, PORTMAP_MAPPED);
}

/*
 * ---- Life ----
 */

void portmap_begin(struct portmap *pm, const struct warren_addr *gateway,
		   const struct warren_addr *self, uint16_t port, uint64_t now)
{
	portmap_init(pm, pm->acts, pm->arg);
	pm->gateway = *gateway;
	pm->self = *self;
	pm->port = port;
	randombytes_buf(pm->nonce, sizeof(pm->nonce));
	portmap_probe(pm, now);
}

void portmap_forget(struct portmap *pm)
{
	bool mapped = is_mapped(pm), probing = portmap_is_probing(pm);

	if (mapped)
		send_map(pm, pm->mapped_by, 0);
	if (is_asking(pm) && !(mapped && pm->asked == pm->mapped_by))
		send_map(pm, pm->asked, 0);
	portmap_init(pm, pm->acts, pm->arg);
	if (mapped)
		pm->acts->event(pm->arg, PORTMAP_LOST);
	if (probing)
		pm->acts->event(pm->arg, PORTMAP_PROBED);
}

bool portmap_release(struct portmap *pm, uint64_t now)
{
	enum portmap_service service = is_asking(pm) ? pm->asked : pm->mapped_by;

	if (pm->releasing)
		return true;
	if (!is_mapped(pm) && !is_asking(pm))
		return false;
	/* Another service is being asked in place of the one that mapped: both may have it. */
	if (is_mapped(pm) && pm->mapped_by != service)
		send_map(pm, pm->mapped_by, 0);
	memset(&pm->external, 0, sizeof(pm->external));
	pm->probe_due = PATHS_NEVER;
	pm->releasing = true;
	ask(pm, service, now);
	return true;
}

void portmap_probe(struct portmap *pm, uint64_t now)
{
	if (!pm->gateway.family || portmap_is_probing(pm) || pm->releasing)
		return;
	for (int s = 0; s < PORTMAP_SERVICES; s++)
		pm->at[s].said = s == PORTMAP_UPNP && !pm->acts->search ? WARREN_TRI_NO :
									    WARREN_TRI_UNKNOWN;
	pm->probes = 0;
	send_probes(pm, now);
}

static void probe_end(struct portmap *pm, uint64_t now)
{
	enum portmap_service by;

	pm->probe_due = PATHS_NEVER;
	for (int s = 0; s < PORTMAP_SERVICES; s++) {
		bool there = pm->at[s].said == WARREN_TRI_YES;

		pm->at[s].there = there ? WARREN_TRI_YES : WARREN_TRI_NO;
		if (!there)
			pm->at[s].refused = 0;
	}
	pm->acts->event(pm->arg, PORTMAP_PROBED);
	if (!is_mapped(pm) && !is_asking(pm) && !ask_next(pm, 0, now) && portmap_refusal(pm, &by))
		pm->acts->event(pm->arg, PORTMAP_REFUSED);
}

/*
 * ---- In ----
 */

/* Whether the gateway's clock shows that it lost what it knew (RFC 6886 3.6). */
static bool was_restarted(struct portmap_at *at, uint32_t epoch, uint64_t now)
{
	uint64_t elapsed = (now - at->epoch_at) / PATHS_SECOND;
	bool restarted = at->epoch_at && epoch + UINT64_C(2) < at->epoch + elapsed * 7 / 8;

	at->epoch = epoch;
	at->epoch_at = now;
	return restarted;
}

/* @refused: asked to map, it would say the same. */
static void probe_answered(struct portmap *pm, enum portmap_service service, uint8_t said,
			   uint16_t refused, uint64_t now)
{
	struct portmap_at *at = &pm->at[service];
	bool all = true;

	if (!portmap_is_probing(pm) || at->said != WARREN_TRI_UNKNOWN)
		return;
	at->said = said;
	at->refused = refused;
	for (int s = 0; s < PORTMAP_SERVICES; s++)
		all = all && pm->at[s].said != WARREN_TRI_UNKNOWN;
	if (all)
		probe_end(pm, now);
}

/* The gateway's own address is another one. */
static void public_moved(struct portmap *pm, const struct pmp_answer *answer)
{
	if (is_asking(pm) || !is_mapped(pm) || pm->mapped_by != PORTMAP_PMP ||
	    paths_address_use(&answer->external.addr) != PATHS_USE ||
	    addr_equal(&pm->external.addr, &answer->external.addr))
		return;
	pm->external.addr = answer->external.addr;
	pm->acts->event(pm->arg, PORTMAP_MAPPED);
}

static void pmp_asked(struct portmap *pm, const struct pmp_answer *answer, uint64_t now)
{
	if (answer->result) {
		ask_failed(pm, answer->result, now);
		return;
	}
	if (answer->map && answer->internal != pm->port)
		return;
	if (pm->releasing) {
		if (answer->map && !answer->lifetime)
			ask_failed(pm, 0, now);
		return;
	}
	if (answer->map) {
		pm->got.external.port = answer->external.port;
		pm->got.lifetime = answer->lifetime;
		pm->got_map = true;
	} else {
		pm->got.external.addr = answer->external.addr;
		pm->got_public = true;
	}
	if (pm->got_map && pm->got_public)
		ask_answered(pm, &pm->got.external, pm->got.lifetime, now);
}

static void pcp_asked(struct portmap *pm, const struct pmp_answer *answer, uint64_t now)
{
	if (!answer->map || (answer->has_nonce &&
			     (memcmp(answer->nonce, pm->nonce, sizeof(pm->nonce)) != 0 ||
			      answer->internal != pm->port)))
		return;
	if (answer->result)
		ask_failed(pm, answer->result, now);
	else if (!pm->releasing)
		ask_answered(pm, &answer->external, answer->lifetime, now);
	else if (!answer->lifetime)
		ask_failed(pm, 0, now);
}

/* The gateway speaks the other protocol and says so in that one. */
static void wrong_version(struct portmap *pm, enum portmap_service meant,
			  const struct pmp_answer *answer, uint64_t now)
{
	if (!answer->map)
		probe_answered(pm, meant, WARREN_TRI_NO, 0, now);
	else if (is_asking(pm) && pm->asked == meant)
		ask_failed(pm, answer->result, now);
}

void portmap_received(struct portmap *pm, const uint8_t *data, size_t len, uint64_t now)
{
	struct pmp_answer answer;
	enum portmap_service service;
	bool restarted;

	if (!pm->gateway.family || pmp_answer_parse(data, len, &answer))
		return;
	service = answer.pcp ? PORTMAP_PCP : PORTMAP_PMP;
	if (answer.result == PMP_WRONG_VERSION) {
		wrong_version(pm, answer.pcp ? PORTMAP_PMP : PORTMAP_PCP, &answer, now);
		return;
	}
	restarted = was_restarted(&pm->at[service], answer.epoch, now);
	if (restarted && is_mapped(pm) && pm->mapped_by == service && !is_asking(pm))
		ask(pm, service, now);
	if (!answer.map) {
		if (!answer.pcp && !answer.result)
			public_moved(pm, &answer);
		probe_answered(pm, service, WARREN_TRI_YES, answer.result, now);
	}
	if (!is_asking(pm) || pm->asked != service)
		return;
	if (answer.pcp)
		pcp_asked(pm, &answer, now);
	else
		pmp_asked(pm, &answer, now);
}

void portmap_igd_found(struct portmap *pm, uint32_t boot, uint64_t now)
{
	struct portmap_at *at = &pm->at[PORTMAP_UPNP];
	bool restarted = boot && at->epoch && boot != at->epoch;

	if (!pm->gateway.family || pm->releasing)
		return;
	at->epoch = boot;
	at->epoch_at = now;
	if (restarted && is_mapped(pm) && pm->mapped_by == PORTMAP_UPNP && !is_asking(pm))
		ask(pm, PORTMAP_UPNP, now);
	if (portmap_is_probing(pm)) {
		probe_answered(pm, PORTMAP_UPNP, WARREN_TRI_YES, 0, now);
	} else if (at->there != WARREN_TRI_YES) {
		/* A device may take its time. */
		at->there = WARREN_TRI_YES;
		at->refused = 0;
		pm->acts->event(pm->arg, PORTMAP_PROBED);
		if (!is_mapped(pm) && !is_asking(pm))
			ask_next(pm, PORTMAP_UPNP, now);
	}
}

void portmap_igd_answer(struct portmap *pm, uint16_t result,
			const struct warren_addrport *external, uint32_t lifetime, uint64_t now)
{
	if (!is_asking(pm) || pm->asked != PORTMAP_UPNP)
		return;
	if (!pm->releasing && !result && external->addr.family)
		ask_answered(pm, external, lifetime, now);
	else
		ask_failed(pm, result, now);
}

void portmap_turn(struct portmap *pm, uint64_t now)
{
	if (now >= pm->probe_due) {
		if (pm->probes < PROBES)
			send_probes(pm, now);
		else
			probe_end(pm, now);
	}
	if (is_mapped(pm) && now >= pm->until) {
		lose(pm);
		portmap_probe(pm, now);
	}
	if (now >= pm->ask_due) {
		if (pm->asks < asks_max(pm))
			send_ask(pm, now);
		else
			ask_failed(pm, 0, now);
	} else if (is_mapped(pm) && !is_asking(pm) && now >= pm->renew_at) {
		ask(pm, pm->mapped_by, now);
	}
}

uint64_t portmap_deadline(const struct portmap *pm)
{
	uint64_t due = pm->probe_due < pm->ask_due ? pm->probe_due : pm->ask_due;

	if (!is_mapped(pm))
		return due;
	if (!is_asking(pm) && pm->renew_at < due)
		due = pm->renew_at;
	return pm->until < due ? pm->until : due;
}

/*
 * ---- What there is to tell ----
 */

const char *portmap_refusal(const struct portmap *pm, enum portmap_service *by)
{
	for (int s = 0; s < PORTMAP_SERVICES; s++) {
		if (!pm->at[s].refused || pm->at[s].there != WARREN_TRI_YES)
			continue;
		*by = s;
		if (pm->at[s].refused == PORTMAP_USELESS)
			return "the gateway's own address is not a public one";
		return s == PORTMAP_UPNP ? igd_error_text(pm->at[s].refused) :
					   pmp_result_text(s == PORTMAP_PCP, pm->at[s].refused);
	}
	return NULL;
}

const char *portmap_service_name(enum portmap_service service)
{
	static const char *const names[] = {
		[PORTMAP_PCP] = "PCP", [PORTMAP_PMP] = "NAT-PMP", [PORTMAP_UPNP] = "UPnP",
		[PORTMAP_SERVICES] = "none",
	};

	return names[service];
}
