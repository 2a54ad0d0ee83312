/*
 * UDP sockets: plain recvmmsg and sendmmsg in batches, with the local address of each datagram in
 * control messages. The only place of the worker that knows socket calls.
 */
#ifndef WG_UDPIO_H
#define WG_UDPIO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "counters.h"
#include "path.h"

enum {
	WG_BATCH = 64,			/* packets of one turn and direction */
	WG_UDP_CONTROL = 64,		/* bytes of control messages: one PKTINFO */
	/*
	 * A whole datagram fits, and the remainder keeps the starts of slots from falling on the
	 * same cache sets.
	 */
	WG_UDP_SLOT = 65536 + 2048 + 64,
};

/* Options that need no privilege: PKTINFO on, fragments allowed, non-blocking. -errno. */
int wg_udp_prepare(int fd, int family);
/* Whether datagrams may be fragmented on their way; they may at first. 0 or -errno. */
int wg_udp_dont_fragment(int fd, int family, bool on);

/*
 * ---- Receive ----
 */

struct wg_udp_in {
	uint32_t slots;
	uint8_t *area;			/* slots * WG_UDP_SLOT */
	struct mmsghdr msg[WG_BATCH];
	struct iovec iov[WG_BATCH];
	struct sockaddr_in6 name[WG_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[WG_BATCH][WG_UDP_CONTROL];
};

int wg_udp_in_init(struct wg_udp_in *in, uint32_t slots);	/* -ENOMEM */
void wg_udp_in_fini(struct wg_udp_in *in);
/* Receives a batch. The number of datagrams, 0: none now; -errno: not even that. */
int wg_udp_receive(struct wg_udp_in *in, int fd);
/* Datagram @i of the batch. false: it was larger than a slot. */
bool wg_udp_datagram(const struct wg_udp_in *in, uint32_t i, uint8_t **data, size_t *len,
		     struct wg_origin *origin);

/*
 * ---- Send ----
 */

struct wg_udp_ref {			/* whose datagram it is, for errors */
	uint32_t number;
	uint64_t serial;
};

struct wg_udp_out {			/* datagrams that lie somewhere until they are flushed */
	uint32_t n, done;
	struct mmsghdr msg[WG_BATCH];
	struct iovec iov[WG_BATCH];
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name[WG_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[WG_BATCH][WG_UDP_CONTROL];
	struct wg_udp_ref ref[WG_BATCH];
};

bool wg_udp_out_full(const struct wg_udp_out *out);
/* @data stays where it is until wg_udp_flush() has returned 0. @path: UDP or GENEVE. */
void wg_udp_add(struct wg_udp_out *out, const struct wg_path *path, uint8_t *data, size_t len,
		struct wg_udp_ref ref);
/*
 * 0: all gone (or refused and counted); -EAGAIN: the socket's queue is full, call again later.
 * @lost is called for a datagram whose source address is not ours any more; it was sent without.
 */
int wg_udp_flush(struct wg_udp_out *out, int fd, struct wg_counts *counts,
		 void (*lost)(void *arg, struct wg_udp_ref ref), void *arg);

/* One datagram, from any thread. 0 or -errno. */
int wg_udp_send(int fd, const struct wg_path *path, const uint8_t *data, size_t len);
/* The same, but from the path's local end or not at all. */
int wg_udp_send_strict(int fd, const struct wg_path *path, const uint8_t *data, size_t len);

#endif
