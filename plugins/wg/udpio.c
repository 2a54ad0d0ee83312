/*
 * Datagrams in and out. Receive slots take a whole 64 KiB datagram each; only what is used becomes
 * resident. A send that the kernel refuses is counted by reason and never ends the device: ICMP
 * errors, firewalls and missing routes come and go (dataplane.md 3.28). A full socket queue stops
 * the batch where it is, so that the worker can leave the TUN alone until there is room.
 */
#include "udpio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

int wg_udp_prepare(int fd, int family)
{
	int one = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return -errno;
	if (family == 6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) == -1
			: setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) == -1)
		return -errno;
	return wg_udp_dont_fragment(fd, family, false);
}

int wg_udp_dont_fragment(int fd, int family, bool on)
{
	/*
	 * Routers may fragment: the inner MTU is chosen to fit, and ICMP must not shrink it. With
	 * IPv6 they never do; there the host does what ICMP tells.
	 */
	int four = on ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT;
	int six = on ? IPV6_PMTUDISC_DO : IPV6_PMTUDISC_WANT;
	int r = family == 6
			? setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &six, sizeof(six))
			: setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &four, sizeof(four));

	return r == -1 ? -errno : 0;
}

/*
 * ---- Receive ----
 */

int wg_udp_in_init(struct wg_udp_in *in, uint32_t slots)
{
	in->slots = slots;
	in->area = malloc((size_t)slots * WG_UDP_SLOT);
	if (!in->area)
		return -ENOMEM;
	for (uint32_t i = 0; i < slots; i++) {
		in->iov[i] = (struct iovec){ in->area + (size_t)i * WG_UDP_SLOT, WG_UDP_SLOT };
		in->msg[i].msg_hdr = (struct msghdr){
			.msg_name = &in->name[i],
			.msg_iov = &in->iov[i],
			.msg_iovlen = 1,
			.msg_control = in->control[i],
		};
	}
	return 0;
}

void wg_udp_in_fini(struct wg_udp_in *in)
{
	free(in->area);
	in->area = NULL;
}

int wg_udp_receive(struct wg_udp_in *in, int fd)
{
	int n;

	for (uint32_t i = 0; i < in->slots; i++) {
		in->msg[i].msg_hdr.msg_namelen = sizeof(in->name[i]);
		in->msg[i].msg_hdr.msg_controllen = WG_UDP_CONTROL;
		in->msg[i].msg_hdr.msg_flags = 0;
	}
	n = recvmmsg(fd, in->msg, in->slots, MSG_DONTWAIT, NULL);
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static void read_local(struct msghdr *hdr, struct wg_local *local)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			local->addr.family = 4;
			memcpy(local->addr.bytes, &info.ipi_spec_dst, 4);
			local->ifindex = (uint32_t)info.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			local->addr.family = 6;
			memcpy(local->addr.bytes, &info.ipi6_addr, 16);
			local->ifindex = info.ipi6_ifindex;
		}
	}
}

bool wg_udp_datagram(const struct wg_udp_in *in, uint32_t i, uint8_t **data, size_t *len,
		     struct wg_origin *origin)
{
	const struct msghdr *hdr = &in->msg[i].msg_hdr;
	const struct sockaddr_in6 *name = &in->name[i];

	*data = in->iov[i].iov_base;
	*len = in->msg[i].msg_len;
	if (hdr->msg_flags & MSG_TRUNC)
		return false;
	memset(origin, 0, sizeof(*origin));
	origin->kind = WARREN_PATH_UDP;
	if (name->sin6_family == AF_INET6) {
		origin->from.addr.family = 6;
		memcpy(origin->from.addr.bytes, &name->sin6_addr, 16);
		origin->from.port = ntohs(name->sin6_port);
		origin->scope = name->sin6_scope_id;
	} else {
		struct sockaddr_in v4;

		memcpy(&v4, name, sizeof(v4));
		origin->from.addr.family = 4;
		memcpy(origin->from.addr.bytes, &v4.sin_addr, 4);
		origin->from.port = ntohs(v4.sin_port);
	}
	read_local((struct msghdr *)hdr, &origin->local);
	return true;
}

/*
 * ---- Send ----
 */

bool wg_udp_out_full(const struct wg_udp_out *out)
{
	return out->n == WG_BATCH;
}

/* The control message that fixes our address; returns its length, 0: the kernel chooses. */
static size_t write_local(uint8_t control[WG_UDP_CONTROL], const struct wg_local *local)
{
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (local->addr.family == 4) {
		struct in_pktinfo info = { .ipi_ifindex = (int)local->ifindex };

		memcpy(&info.ipi_spec_dst, local->addr.bytes, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	if (local->addr.family == 6) {
		struct in6_pktinfo info = { .ipi6_ifindex = local->ifindex };

		memcpy(&info.ipi6_addr, local->addr.bytes, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		return CMSG_SPACE(sizeof(info));
	}
	return 0;
}

void wg_udp_add(struct wg_udp_out *out, const struct wg_path *path, uint8_t *data, size_t len,
		struct wg_udp_ref ref)
{
	uint32_t i = out->n++;
	struct msghdr *hdr = &out->msg[i].msg_hdr;

	memcpy(&out->name[i], &path->name, sizeof(out->name[i]));
	out->iov[i] = (struct iovec){ data, len };
	out->ref[i] = ref;
	memset(hdr, 0, sizeof(*hdr));
	hdr->msg_name = &out->name[i];
	hdr->msg_namelen = path->name_len;
	hdr->msg_iov = &out->iov[i];
	hdr->msg_iovlen = 1;
	hdr->msg_controllen = write_local(out->control[i], &path->local);
	if (hdr->msg_controllen)
		hdr->msg_control = out->control[i];
}

/* The kernel says that the address or interface we want to send from is not ours. */
static bool is_source_error(int error)
{
	return error == EINVAL || error == EADDRNOTAVAIL || error == ENODEV ||
	       error == ENETUNREACH || error == EHOSTUNREACH || error == ENXIO;
}

int wg_udp_flush(struct wg_udp_out *out, int fd, struct wg_counts *counts,
		 void (*lost)(void *arg, struct wg_udp_ref ref), void *arg)
{
	while (out->done < out->n) {
		struct mmsghdr *first = &out->msg[out->done];
		int sent = sendmmsg(fd, first, out->n - out->done, MSG_DONTWAIT);
		int error = errno;

		if (sent > 0) {
			out->done += (uint32_t)sent;
			continue;
		}
		if (error == EINTR)
			continue;
		if (error == EAGAIN) {
			wg_count(counts, WG_C_BLOCKED, 1);
			return -EAGAIN;
		}
		if (first->msg_hdr.msg_control && is_source_error(error)) {
			first->msg_hdr.msg_control = NULL;
			first->msg_hdr.msg_controllen = 0;
			lost(arg, out->ref[out->done]);
			continue;
		}
		wg_count(counts, WG_C_OUT_SEND, 1);
		out->done++;
	}
	out->n = out->done = 0;
	return 0;
}

static int send_one(int fd, const struct wg_path *path, const uint8_t *data, size_t len,
		    bool strict)
{
	_Alignas(struct cmsghdr) uint8_t control[WG_UDP_CONTROL];
	struct iovec iov = { (void *)data, len };
	struct msghdr hdr = {
		.msg_name = (void *)&path->name,
		.msg_namelen = path->name_len,
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};

	hdr.msg_controllen = write_local(control, &path->local);
	hdr.msg_control = hdr.msg_controllen ? control : NULL;
	for (int tries = 0;; tries++) {
		if (sendmsg(fd, &hdr, MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (hdr.msg_control && !strict && is_source_error(errno)) {
			hdr.msg_control = NULL;
			hdr.msg_controllen = 0;
			continue;
		}
		/* A pending ICMP error of an earlier datagram is told once. */
		if (errno == ECONNREFUSED && !tries)
			continue;
		return -errno;
	}
}

int wg_udp_send(int fd, const struct wg_path *path, const uint8_t *data, size_t len)
{
	return send_one(fd, path, data, len, false);
}

int wg_udp_send_strict(int fd, const struct wg_path *path, const uint8_t *data, size_t len)
{
	return send_one(fd, path, data, len, true);
}
