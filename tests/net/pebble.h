/*
 * For tests of ACME: pebble, an authority that is made for tests, with a DNS server that leads
 * every name to this host. Both from Debian's package pebble.
 */
#ifndef WARREN_TESTS_PEBBLE_H
#define WARREN_TESTS_PEBBLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "certs.h"

struct pebble {
	char directory[64];		/* URL */
	char dns_url[64];		/* the DNS server's management: POST /set-txt */
	struct cert ca;			/* vouches for its service, not for what it signs */
	pid_t server, dns;
	char folder[64];
};

/*
 * Validates on @http_port and @tls_port. False: it is not installed. Answers some moments later;
 * aborts when it cannot be started.
 */
bool pebble_start(struct pebble *pebble, uint16_t http_port, uint16_t tls_port);
void pebble_stop(struct pebble *pebble);
uint16_t pebble_free_port(void);

#endif
