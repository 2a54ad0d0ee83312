/*
 * A world around the machine of one peer, for its tests: a clock, what it sends, and answers.
 */
#ifndef PATHS_TESTS_PEER_WORLD_H
#define PATHS_TESTS_PEER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../peer.h"

enum { SENT = 512, REGION = 900, FULL = 1312 };

struct asked {				/* for an offer */
	struct paths_server server;
	uint32_t generation;
};

struct bound {				/* what went to a peer relay */
	uint8_t server;			/* the first byte of its disco key */
	struct warren_addrport to;
	uint32_t type;
	struct warren_disco_binding binding;
};

struct world {
	struct paths_peer peer;
	uint64_t now;
	struct paths_tunnel tunnel;
	struct paths_ping sent[SENT];
	struct paths_ping large[SENT];	/* on their way; answered if the way is wide enough */
	uint32_t n_large, n_checks, width;
	struct warren_addrport wide;	/* the way to that one always is */
	uint32_t n_sent, n_calls, n_paths, n_events, n_pongs;
	struct paths_event event;
	struct paths_pong pong;
	uint8_t next_txid;
	int refuse;			/* what a send returns */
	struct paths_servers servers;
	struct asked asked[SENT];
	struct bound bound[SENT];
	struct paths_offer told;
	uint32_t n_asked, n_bound, n_told;
	int expected;			/* handshakes whose messages are awaited */
};

#define LAN "10.0.0.2:41641"
#define WAN "192.0.2.7:41641"
#define SIX "[2001:db8::7]:41641"
#define LAN_WAN ((const char *const[]){ LAN, WAN })

struct warren_addrport at(const char *text);
int set_up(void **state);
int tear_down(void **state);
/* The map names these addresses. */
void map(struct world *w, uint32_t home, uint32_t n, const char *const *texts);
/* Those large pings that the way is wide enough for have arrived, and their answers. */
void deliver(struct world *w);
/* Lets time pass, every deadline in its turn; @busy: WireGuard sends all the time. */
void pass(struct world *w, uint64_t usec, bool busy);
/* Pings to @text, from the number @from on. */
uint32_t sent_to(const struct world *w, const char *text, uint32_t from);
/* The last ping to @text is answered after @usec. */
bool answer(struct world *w, const char *text, uint64_t usec);
bool ping_from(struct world *w, const char *text, uint8_t n);
void call(struct world *w, uint32_t n, const char *const *texts);
void assert_path(struct world *w, const char *address, uint32_t region);
void assert_reason(const struct world *w, enum paths_reason reason);
/* Sends, and has @address answer. */
void direct(struct world *w, const char *address, uint64_t usec);

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

#endif
