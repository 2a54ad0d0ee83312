/*
 * The TUN queue: one packet per call, without virtio header (dataplane.md 4.1 adds it).
 */
#ifndef WG_TUNIO_H
#define WG_TUNIO_H

#include <stddef.h>
#include <stdint.h>

int wg_tun_prepare(int fd);		/* non-blocking. -errno */
/*
 * Length of the packet read; 0: none now. -EBADFD: the device is gone. Other -errno: not this time.
 * A packet longer than @room is cut.
 */
long wg_tun_read(int fd, uint8_t *data, size_t room);
/* 0; -EBADFD: the device is gone; other -errno: this packet is lost (-EIO: the link is down). */
int wg_tun_write(int fd, const uint8_t *data, size_t len);

#endif
