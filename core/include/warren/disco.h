/*
 * warren/disco.h - messages by which nodes find and keep paths (path-protocols.md 2)
 *
 * Codecs without state and without keys: an envelope is made and opened with the disco key of the
 * service "identity". In libwarren-net. Any thread.
 */
#ifndef WARREN_DISCO_H
#define WARREN_DISCO_H

#include <warren/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/*
 * ---- The envelope: magic, the sender's public key, NaCl box (nonce, tag, message) ----
 */
enum {
	WARREN_DISCO_HEAD = 6 + 32,		/* magic and key: what is in clear */
	WARREN_DISCO_OVERHEAD = WARREN_DISCO_HEAD + 24 + 16,
	WARREN_DISCO_TXID = 12,
};
/* Writes the part in clear; the box goes behind it. */
void warren_disco_head(const uint8_t sender[32], uint8_t out[WARREN_DISCO_HEAD]);
/*
 * The sender's key inside @data, or NULL: no envelope of a message. The box is what follows the
 * head.
 */
const uint8_t *warren_disco_sender(const uint8_t *data, size_t len);

/*
 * ---- Messages ----
 */
enum {
	WARREN_DISCO_PING = 1,
	WARREN_DISCO_PONG,
	WARREN_DISCO_CALL_ME_MAYBE,
	WARREN_DISCO_BIND,			/* to a peer relay */
	WARREN_DISCO_BIND_CHALLENGE,		/* from it */
	WARREN_DISCO_BIND_ANSWER,
	WARREN_DISCO_CALL_ME_MAYBE_VIA,
	WARREN_DISCO_ALLOCATE,
	WARREN_DISCO_ALLOCATED,
};
enum {					/* addresses taken from one message; more are counted */
	WARREN_DISCO_ADDRESSES = 16,
	/* Room for the message of the longest list that is made, and for padding beyond. */
	WARREN_DISCO_MESSAGE = 512,
};

struct warren_disco_binding {		/* BIND, BIND_CHALLENGE, BIND_ANSWER */
	uint32_t vni, generation;
	uint8_t remote[32];		/* disco key of the other client */
	uint8_t challenge[32];
};

struct warren_disco_relay {		/* CALL_ME_MAYBE_VIA, ALLOCATED: where a relay waits */
	uint8_t server[32];		/* its disco key */
	uint8_t clients[2][32];		/* as they came: neither sorted nor compared */
	uint64_t lamport;
	uint32_t vni;			/* 24 bits */
	uint64_t bind_usec, steady_usec;	/* lifetimes, at most a day */
};

struct warren_disco {
	uint32_t type;
	uint8_t txid[WARREN_DISCO_TXID];	/* PING, PONG */
	bool has_node_key;			/* PING */
	uint8_t node_key[32];
	size_t padding;				/* PING: zeros behind it */
	struct warren_addrport seen;		/* PONG: the address that the ping came from */
	struct warren_disco_binding binding;
	uint32_t generation;			/* ALLOCATE, ALLOCATED */
	uint8_t clients[2][32];			/* ALLOCATE */
	struct warren_disco_relay relay;
	/* CALL_ME_MAYBE, VIA, ALLOCATED. */
	struct warren_addrport addrs[WARREN_DISCO_ADDRESSES];
	uint32_t n_addrs, n_ignored;		/* taken; beyond the limit */
	/* VIA, ALLOCATE, ALLOCATED of a version that is not ours: nothing above is set. */
	bool empty;
};

/*
 * An opened message. 0; -ENOMSG: of a type that is not known here, to be ignored; -EBADMSG: its
 * body is no such message. v4-mapped addresses come out as IPv4.
 */
int warren_disco_parse(const uint8_t *data, size_t len, struct warren_disco *out);
/* Writes @msg to @out, of @size bytes. Its length, or -EINVAL: no such message, -ENOBUFS. */
int warren_disco_format(const struct warren_disco *msg, uint8_t *out, size_t size);
/* "ping"; "unknown" for a type that is not known. */
const char *warren_disco_name(uint32_t type);

/* The address 127.3.3.40:region, which stands for a relay in the PONG of a ping that came by it. */
struct warren_addrport warren_disco_relay_address(uint32_t region);
/* Its region, or 0: an address as any other. */
uint32_t warren_disco_relay_region(const struct warren_addrport *addr);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
