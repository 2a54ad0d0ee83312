/*
 * The port mapping of a gateway that answers as each case needs it, with a clock of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../peer.h"
#include "../portmap.h"
#include "base/addr.h"
#include "base/buf.h"

enum { PORT = 41641, LEASE = 3600, EPOCH = 1000 };

static struct portmap pm;
static uint64_t now;
static uint32_t epoch_zero;		/* when the gateway started, in seconds of our clock */
static char log_of[512];		/* what was sent and what happened, a word each */
static uint8_t last[PCP_MAP_SIZE];	/* the last request */
static uint16_t igd_port;		/* of the last one to the device */
static struct warren_addr gateway, self;
static const uint8_t public[4] = { 198, 51, 100, 7 };

static void note(const char *word)
{
	size_t len = strlen(log_of);

	assert_true(len + strlen(word) + 2 < sizeof(log_of));
	snprintf(log_of + len, sizeof(log_of) - len, "%s%s", len ? " " : "", word);
}

/* What happened since the last look. */
static void happened(const char *words)
{
	assert_string_equal(log_of, words);
	log_of[0] = '\0';
}

static bool is_zero(const uint8_t *at, size_t n)
{
	while (n > 0 && at[n - 1] == 0)
		n--;
	return n == 0;
}

static void gateway_gets(void *arg, const uint8_t *data, size_t len)
{
	(void)arg;
	assert_true(len <= sizeof(last));
	memcpy(last, data, len);
	switch (len) {
	case PMP_PUBLIC_SIZE:
		note("public?");
		return;
	case PCP_ANNOUNCE_SIZE:
		note("announce?");
		return;
	case PMP_MAP_SIZE:
		note(is_zero(data + 8, 4) ? "pmp-delete" : "pmp-map?");
		return;
	case PCP_MAP_SIZE:
		note(is_zero(data + 4, 4) ? "pcp-delete" : "pcp-map?");
		return;
	}
	fail();
}

static void machine_says(void *arg, enum portmap_event event)
{
	static const char *const words[] = {
		[PORTMAP_PROBED] = "PROBED", [PORTMAP_MAPPED] = "MAPPED", [PORTMAP_LOST] = "LOST",
		[PORTMAP_REFUSED] = "REFUSED", [PORTMAP_RELEASED] = "RELEASED",
	};

	(void)arg;
	note(words[event]);
}

static void device_is_sought(void *arg)
{
	(void)arg;
	note("search?");
}

static void device_gets(void *arg, enum portmap_igd what, uint16_t external)
{
	static const char *const words[] = {
		[PORTMAP_IGD_MAP] = "igd-map?", [PORTMAP_IGD_DELETE] = "igd-delete?",
		[PORTMAP_IGD_FORGET] = "igd-delete",
	};

	(void)arg;
	note(words[what]);
	igd_port = external;
}

static const struct portmap_acts acts = { .send = gateway_gets, .event = machine_says };
static const struct portmap_acts acts_upnp = { gateway_gets, machine_says, device_is_sought,
					       device_gets };

/*
 * ---- The gateway's answers ----
 */

static struct buf_writer writer;
static uint8_t bytes[PCP_MAP_SIZE];

static uint32_t epoch(void)
{
	return (uint32_t)(now / PATHS_SECOND) - epoch_zero;
}

static void answer_begin(uint8_t version, uint8_t op)
{
	buf_writer_init(&writer, bytes, sizeof(bytes));
	buf_put_u8(&writer, version);
	buf_put_u8(&writer, 0x80 | op);
}

static void answer_end(void)
{
	portmap_received(&pm, bytes, buf_written(&writer), now);
}

static void says_public(uint16_t result, const uint8_t address[4])
{
	answer_begin(0, 0);
	buf_put_be16(&writer, result);
	buf_put_be32(&writer, epoch());
	buf_put_bytes(&writer, address, 4);
	answer_end();
}

static void says_pmp_map(uint16_t result, uint16_t internal, uint16_t external, uint32_t lifetime)
{
	answer_begin(0, 1);
	buf_put_be16(&writer, result);
	buf_put_be32(&writer, epoch());
	buf_put_be16(&writer, internal);
	buf_put_be16(&writer, external);
	buf_put_be32(&writer, lifetime);
	answer_end();
}

static void pcp_header(uint8_t op, uint8_t result, uint32_t lifetime)
{
	answer_begin(2, op);
	buf_put_u8(&writer, 0);
	buf_put_u8(&writer, result);
	buf_put_be32(&writer, lifetime);
	buf_put_be32(&writer, epoch());
	buf_put_zero(&writer, 12);
}

static void says_announce(uint8_t result)
{
	pcp_header(0, result, 0);
	answer_end();
}

static void says_pcp_map(uint8_t result, const uint8_t nonce[PCP_NONCE], uint16_t external,
			 const uint8_t address[4], uint32_t lifetime)
{
	pcp_header(1, result, lifetime);
	buf_put_bytes(&writer, nonce, PCP_NONCE);
	buf_put_be32(&writer, 17u << 24);
	buf_put_be16(&writer, PORT);
	buf_put_be16(&writer, external);
	buf_put_zero(&writer, 10);
	buf_put_be16(&writer, 0xffff);
	buf_put_bytes(&writer, address, 4);
	answer_end();
}

/* NAT-PMP's answer to a request of PCP. */
static void says_wrong_version(uint8_t op)
{
	answer_begin(0, op);
	buf_put_be16(&writer, 1);
	buf_put_be32(&writer, epoch());
	answer_end();
}

/* Lets @usec pass, with all that falls due. */
static void pass(uint64_t usec)
{
	uint64_t end = now + usec;

	while (portmap_deadline(&pm) <= end) {
		now = portmap_deadline(&pm) > now ? portmap_deadline(&pm) : now;
		portmap_turn(&pm, now);
	}
	now = end;
}

static int set_up(void **state)
{
	(void)state;
	now = 5000 * PATHS_SECOND;
	epoch_zero = 5000 - EPOCH;
	log_of[0] = '\0';
	assert_int_equal(addr_parse("192.168.1.1", &gateway), 0);
	assert_int_equal(addr_parse("192.168.1.2", &self), 0);
	portmap_init(&pm, &acts, NULL);
	portmap_begin(&pm, &gateway, &self, PORT, now);
	happened("announce? public?");
	return 0;
}

static void map_by_pcp(uint32_t lifetime)
{
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	says_pcp_map(0, pm.nonce, 1024, public, lifetime);
	happened("MAPPED");
}

static void map_by_pmp(uint32_t lifetime)
{
	says_wrong_version(0);
	says_public(0, public);
	happened("PROBED public? pmp-map?");
	says_public(0, public);
	says_pmp_map(0, PORT, 1024, lifetime);
	happened("MAPPED");
}

static void mapped_at(const char *text)
{
	char out[ADDRPORT_TEXT];

	assert_string_equal(addrport_format(&pm.external, out), text);
}

static void refused(const char *text)
{
	enum portmap_service by;

	assert_string_equal(portmap_refusal(&pm, &by), text);
}

/*
 * ---- Cases ----
 */

static void test_pcp(void **state)
{
	uint8_t nonce[PCP_NONCE];

	(void)state;
	map_by_pcp(LEASE);
	mapped_at("198.51.100.7:1024");
	memcpy(nonce, last + 24, sizeof(nonce));
	assert_int_equal(pm.at[PORTMAP_PCP].there, WARREN_TRI_YES);
	assert_int_equal(pm.at[PORTMAP_PMP].there, WARREN_TRI_YES);
	/* Renewed at half the lease: the same nonce, and the port that we have. */
	assert_int_equal(portmap_deadline(&pm), now + LEASE / 2 * PATHS_SECOND);
	pass(LEASE / 2 * PATHS_SECOND);
	happened("pcp-map?");
	assert_memory_equal(last + 24, nonce, sizeof(nonce));
	assert_int_equal(last[42] << 8 | last[43], 1024);
	assert_memory_equal(last + 56, public, 4);
	says_pcp_map(0, nonce, 1024, public, LEASE);
	happened("");
	assert_int_equal(portmap_deadline(&pm), now + LEASE / 2 * PATHS_SECOND);
}

static void test_pmp(void **state)
{
	(void)state;
	map_by_pmp(LEASE);
	mapped_at("198.51.100.7:1024");
	assert_int_equal(pm.at[PORTMAP_PCP].there, WARREN_TRI_NO);
	pass(LEASE / 2 * PATHS_SECOND);
	happened("public? pmp-map?");
	assert_int_equal(last[6] << 8 | last[7], 1024);
	/* The answers in the other order, and another port. */
	says_pmp_map(0, PORT, 1025, LEASE);
	happened("");
	says_public(0, public);
	happened("MAPPED");
	mapped_at("198.51.100.7:1025");
}

static void test_silence(void **state)
{
	(void)state;
	pass(10 * PATHS_SECOND);
	happened("announce? public? PROBED");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
	assert_int_equal(pm.at[PORTMAP_PCP].there, WARREN_TRI_NO);
	/* Later it is there; what answered is not asked again. */
	portmap_probe(&pm, now);
	says_public(0, public);
	pass(500 * PATHS_MSEC);
	happened("announce? public? announce? PROBED public? pmp-map?");
}

static void test_lost_requests(void **state)
{
	(void)state;
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	pass(249 * PATHS_MSEC);
	happened("");
	pass(1 * PATHS_MSEC);
	happened("pcp-map?");
	pass(500 * PATHS_MSEC);
	happened("pcp-map?");
	pass(1 * PATHS_SECOND);
	happened("pcp-map?");
	/* Then the next service. */
	pass(2 * PATHS_SECOND);
	happened("public? pmp-map?");
	says_public(0, public);
	says_pmp_map(0, PORT, 1024, LEASE);
	happened("MAPPED");
}

static void test_refused(void **state)
{
	(void)state;
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	says_pcp_map(8, pm.nonce, 0, public, 30);
	happened("public? pmp-map?");
	says_pmp_map(4, PORT, 0, 0);
	happened("REFUSED");
	refused("no resources");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
	/* The next probe is another chance. */
	portmap_probe(&pm, now);
	happened("announce? public?");
	map_by_pcp(LEASE);
}

/* A gateway without a network of its own says so when asked for its address. */
static void test_refused_in_probe(void **state)
{
	(void)state;
	says_announce(12);
	says_public(3, public);
	happened("PROBED REFUSED");
	refused("address mismatch: another NAT is between this host and the gateway");
	portmap_probe(&pm, now);
	says_wrong_version(0);
	says_public(3, public);
	happened("announce? public? PROBED REFUSED");
	refused("network failure");
}

static void test_not_public(void **state)
{
	static const uint8_t cgnat[4] = { 100, 64, 1, 2 }, none[4];

	(void)state;
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	says_pcp_map(0, pm.nonce, 1024, cgnat, LEASE);
	happened("pcp-delete public? pmp-map?");
	says_public(0, none);
	says_pmp_map(0, PORT, 1024, LEASE);
	happened("pmp-delete REFUSED");
	refused("the gateway's own address is not a public one");
	assert_int_equal(pm.external.addr.family, 0);
}

static void test_answers_to_others(void **state)
{
	uint8_t nonce[PCP_NONCE];

	(void)state;
	/* Before anybody was asked. */
	says_pcp_map(0, pm.nonce, 1024, public, LEASE);
	says_pmp_map(0, PORT, 1024, LEASE);
	happened("");
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	memcpy(nonce, pm.nonce, sizeof(nonce));
	nonce[11] ^= 1;
	says_pcp_map(0, nonce, 1024, public, LEASE);
	says_pcp_map(2, nonce, 1024, public, LEASE);
	says_pmp_map(2, PORT, 1024, LEASE);
	happened("");
	says_pcp_map(2, pm.nonce, 1024, public, LEASE);
	happened("public? pmp-map?");
	says_public(0, public);
	says_pmp_map(0, PORT + 1, 1024, LEASE);
	happened("");
	says_pmp_map(0, PORT, 1024, LEASE);
	happened("MAPPED");
}

/* Unanswered, a renewal is tried at half of what is left, until nothing is. */
static void test_expiry(void **state)
{
	(void)state;
	map_by_pcp(64);
	pass(32 * PATHS_SECOND);
	happened("pcp-map?");
	pass(PATHS_SECOND * 15 / 4);
	happened("pcp-map? pcp-map? pcp-map?");
	assert_int_equal(portmap_deadline(&pm), now + PATHS_SECOND * 113 / 8);
	pass(PATHS_SECOND * 113 / 8);
	happened("pcp-map?");
	mapped_at("198.51.100.7:1024");
	pass(PATHS_SECOND * 15 / 4);
	happened("pcp-map? pcp-map? pcp-map?");
	/* 10.375 s are left: a half, a try, and then less than a try takes. */
	pass(11 * PATHS_SECOND);
	assert_int_equal(pm.external.addr.family, 0);
	assert_non_null(strstr(log_of, "LOST announce? public?"));
	log_of[0] = '\0';
	pass(5 * PATHS_SECOND);
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
}

static void test_restarted_gateway(void **state)
{
	(void)state;
	map_by_pcp(LEASE);
	/* Its clock is a little slow: no restart. */
	pass(100 * PATHS_SECOND);
	epoch_zero += 12;
	portmap_probe(&pm, now);
	says_announce(0);
	says_public(0, public);
	happened("announce? public? PROBED");
	pass(100 * PATHS_SECOND);
	epoch_zero = (uint32_t)(now / PATHS_SECOND) - 5;
	portmap_probe(&pm, now);
	says_announce(0);
	happened("announce? public? pcp-map?");
	assert_int_equal(last[42] << 8 | last[43], 1024);
	says_public(0, public);
	happened("PROBED");
	/* What peers know stays true, if it has the port for us again. */
	mapped_at("198.51.100.7:1024");
	says_pcp_map(0, pm.nonce, 1024, public, LEASE);
	happened("");
	portmap_probe(&pm, now);
	says_announce(0);
	happened("announce? public?");
}

static void test_restarted_and_refuses(void **state)
{
	(void)state;
	map_by_pmp(LEASE);
	pass(100 * PATHS_SECOND);
	epoch_zero = (uint32_t)(now / PATHS_SECOND);
	portmap_probe(&pm, now);
	says_wrong_version(0);
	says_public(0, public);
	happened("announce? public? public? pmp-map? PROBED");
	says_pmp_map(2, PORT, 0, 0);
	happened("LOST REFUSED");
	refused("not authorized");
}

static void test_public_address_moves(void **state)
{
	static const uint8_t other[4] = { 198, 51, 100, 8 }, none[4];

	(void)state;
	map_by_pmp(LEASE);
	says_public(0, other);
	happened("MAPPED");
	mapped_at("198.51.100.8:1024");
	says_public(0, none);
	happened("");
}

static void test_release(void **state)
{
	(void)state;
	assert_false(portmap_release(&pm, now));
	map_by_pcp(LEASE);
	assert_true(portmap_release(&pm, now));
	happened("pcp-delete");
	/* Late news of what was there do not count. */
	says_pcp_map(0, pm.nonce, 1024, public, LEASE);
	says_announce(0);
	happened("");
	says_pcp_map(0, pm.nonce, 0, public, 0);
	happened("RELEASED");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
}

static void test_release_unanswered(void **state)
{
	(void)state;
	map_by_pmp(LEASE);
	assert_true(portmap_release(&pm, now));
	pass(750 * PATHS_MSEC);
	happened("pmp-delete pmp-delete RELEASED");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
}

/* While it is asked: the request may have been granted. */
static void test_release_early(void **state)
{
	(void)state;
	says_announce(0);
	says_public(0, public);
	happened("PROBED pcp-map?");
	assert_true(portmap_release(&pm, now));
	says_pcp_map(2, pm.nonce, 0, public, 30);
	happened("pcp-delete RELEASED");
}

static void test_another_gateway(void **state)
{
	uint8_t nonce[PCP_NONCE];

	(void)state;
	map_by_pcp(LEASE);
	memcpy(nonce, pm.nonce, sizeof(nonce));
	portmap_forget(&pm);
	happened("pcp-delete LOST");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
	says_announce(0);
	happened("");
	portmap_begin(&pm, &gateway, &self, PORT, now);
	happened("announce? public?");
	map_by_pcp(LEASE);
	assert_memory_not_equal(pm.nonce, nonce, sizeof(nonce));
}

/*
 * ---- UPnP ----
 */

static int set_up_upnp(void **state)
{
	set_up(state);
	portmap_init(&pm, &acts_upnp, NULL);
	portmap_begin(&pm, &gateway, &self, PORT, now);
	happened("announce? public? search?");
	return 0;
}

static void device_maps(uint16_t port)
{
	struct warren_addrport external = { .port = port };

	external.addr.family = 4;
	memcpy(external.addr.bytes, public, 4);
	portmap_igd_answer(&pm, 0, &external, LEASE, now);
}

static void device_says(uint16_t result)
{
	const struct warren_addrport none = { .port = 0 };

	portmap_igd_answer(&pm, result, &none, 0, now);
}

static void map_by_upnp(void)
{
	says_wrong_version(0);
	says_public(3, public);
	portmap_igd_found(&pm, 17, now);
	happened("PROBED igd-map?");
	assert_int_equal(igd_port, 0);
	device_maps(1024);
	happened("MAPPED");
	mapped_at("198.51.100.7:1024");
}

static void test_upnp(void **state)
{
	(void)state;
	map_by_upnp();
	assert_int_equal(pm.at[PORTMAP_UPNP].there, WARREN_TRI_YES);
	pass(LEASE / 2 * PATHS_SECOND);
	happened("igd-map?");
	assert_int_equal(igd_port, 1024);
	device_maps(1024);
	happened("");
	assert_true(portmap_release(&pm, now));
	happened("igd-delete?");
	device_says(0);
	happened("RELEASED");
	/* What comes later belongs to nothing. */
	device_maps(1024);
	happened("");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
}

/* The others are better, where they work; a device is what is left. */
static void test_upnp_is_the_last(void **state)
{
	(void)state;
	says_announce(0);
	says_public(0, public);
	happened("");
	portmap_igd_found(&pm, 0, now);
	happened("PROBED pcp-map?");
	says_pcp_map(2, pm.nonce, 0, public, 30);
	says_pmp_map(2, PORT, 0, 0);
	happened("public? pmp-map? igd-map?");
	device_says(606);
	happened("REFUSED");
	/* The first that refused is what is told. */
	refused("not authorized");
}

static void test_upnp_refuses(void **state)
{
	(void)state;
	pass(250 * PATHS_MSEC);
	portmap_igd_found(&pm, 17, now);
	pass(250 * PATHS_MSEC);
	happened("announce? public? search? PROBED igd-map?");
	device_says(PORTMAP_USELESS);
	happened("REFUSED");
	refused("the gateway's own address is not a public one");
	portmap_probe(&pm, now);
	portmap_igd_found(&pm, 17, now);
	pass(500 * PATHS_MSEC);
	happened("announce? public? search? announce? public? PROBED igd-map?");
	device_says(728);
	happened("REFUSED");
	refused("no port mappings are left");
}

static void test_upnp_late(void **state)
{
	(void)state;
	pass(PATHS_SECOND);
	happened("announce? public? search? PROBED");
	portmap_igd_found(&pm, 17, now);
	portmap_igd_found(&pm, 17, now);
	happened("PROBED igd-map?");
	device_maps(1024);
	happened("MAPPED");
}

static void test_upnp_silent(void **state)
{
	(void)state;
	pass(PATHS_SECOND);
	portmap_igd_found(&pm, 17, now);
	happened("announce? public? search? PROBED PROBED igd-map?");
	/* The owner knows sooner; should it not, the machine does not wait for ever. */
	pass(60 * PATHS_SECOND);
	happened("");
	assert_int_equal(portmap_deadline(&pm), PATHS_NEVER);
	portmap_probe(&pm, now);
	portmap_igd_found(&pm, 17, now);
	pass(PATHS_SECOND);
	happened("announce? public? search? announce? public? PROBED igd-map?");
	device_maps(1024);
	assert_true(portmap_release(&pm, now));
	pass(5 * PATHS_SECOND);
	happened("MAPPED igd-delete? RELEASED");
}

static void test_upnp_restarted(void **state)
{
	(void)state;
	map_by_upnp();
	portmap_probe(&pm, now);
	portmap_igd_found(&pm, 17, now);
	happened("announce? public? search?");
	portmap_igd_found(&pm, 18, now);
	happened("igd-map?");
	assert_int_equal(igd_port, 1024);
	device_maps(1024);
	happened("");
}

static void test_upnp_another_gateway(void **state)
{
	(void)state;
	map_by_upnp();
	portmap_forget(&pm);
	happened("igd-delete LOST");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_pcp, set_up),
		cmocka_unit_test_setup(test_pmp, set_up),
		cmocka_unit_test_setup(test_silence, set_up),
		cmocka_unit_test_setup(test_lost_requests, set_up),
		cmocka_unit_test_setup(test_refused, set_up),
		cmocka_unit_test_setup(test_refused_in_probe, set_up),
		cmocka_unit_test_setup(test_not_public, set_up),
		cmocka_unit_test_setup(test_answers_to_others, set_up),
		cmocka_unit_test_setup(test_expiry, set_up),
		cmocka_unit_test_setup(test_restarted_gateway, set_up),
		cmocka_unit_test_setup(test_restarted_and_refuses, set_up),
		cmocka_unit_test_setup(test_public_address_moves, set_up),
		cmocka_unit_test_setup(test_release, set_up),
		cmocka_unit_test_setup(test_release_unanswered, set_up),
		cmocka_unit_test_setup(test_release_early, set_up),
		cmocka_unit_test_setup(test_another_gateway, set_up),
		cmocka_unit_test_setup(test_upnp, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_is_the_last, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_refuses, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_late, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_silent, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_restarted, set_up_upnp),
		cmocka_unit_test_setup(test_upnp_another_gateway, set_up_upnp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
