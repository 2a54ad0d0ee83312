/*
 * NAT-PMP (RFC 6886) and its successor PCP (RFC 6887), as far as one IPv4 host maps one UDP port:
 * requests and answers (path-protocols.md 6). Pure. The two share a port of the gateway and tell
 * each other apart by the version in the first byte.
 */
#ifndef PATHS_PMP_H
#define PATHS_PMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <warren/plugin.h>

enum {
	PMP_PORT = 5351,
	PMP_PUBLIC_SIZE = 2,		/* of requests */
	PMP_MAP_SIZE = 12,
	PCP_ANNOUNCE_SIZE = 24,
	PCP_MAP_SIZE = 60,
	PCP_NONCE = 12,
	PMP_ANSWER_MAX = 1100,
	PMP_LIFETIME = 7200,		/* that is asked for, in seconds */
};

/* Result codes that both have are those of RFC 6887 only with version 2. */
enum {
	PMP_OK = 0,
	PMP_WRONG_VERSION = 1,		/* the gateway speaks the other one */
};

void pmp_public_request(uint8_t out[PMP_PUBLIC_SIZE]);
/* @lifetime 0 deletes; @external 0: any. */
void pmp_map_request(uint16_t internal, uint16_t external, uint32_t lifetime,
		     uint8_t out[PMP_MAP_SIZE]);
/* @self: our address as the gateway sees it, IPv4. */
void pcp_announce_request(const struct warren_addr *self, uint8_t out[PCP_ANNOUNCE_SIZE]);
/* @external: what we would like to have, or all zero. */
void pcp_map_request(const struct warren_addr *self, const uint8_t nonce[PCP_NONCE],
		     uint16_t internal, const struct warren_addrport *external, uint32_t lifetime,
		     uint8_t out[PCP_MAP_SIZE]);

struct pmp_answer {
	bool pcp;			/* version 2, else NAT-PMP */
	bool map;			/* to a map request; else to PUBLIC or ANNOUNCE */
	uint16_t result;
	uint32_t epoch;			/* seconds since the gateway lost its state, if ever */
	/* Of a map answer, and only where it has them: all zero in many refusals. */
	bool has_nonce;
	uint8_t nonce[PCP_NONCE];
	uint16_t internal;
	uint32_t lifetime;
	struct warren_addrport external;	/* NAT-PMP: port and address in two answers */
};
/* -EBADMSG: no such answer, or none about UDP. */
int pmp_answer_parse(const uint8_t *data, size_t len, struct pmp_answer *out);
const char *pmp_result_text(bool pcp, uint16_t result);

#endif
