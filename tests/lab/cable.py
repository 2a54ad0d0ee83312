"""A cable between two namespaces that delays and loses frames, for kernels without netem.

`cable.py NETNS NAME NETNS NAME SEED` makes a TAP device of each name in that namespace (a path
below /run/netns) and carries frames from one to the other. It says "ready" when both are there. A
line on standard input changes both ways: milliseconds of delay, percent of loss. It ends at the end
of input. TAP devices have no offloads, so each frame is a packet of the link's.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0002, 0x1000, 0x40000000
FRAME = 1 << 16
# As a queue of a link: what is behind it is lost as well.
WAITING = 2000
# Frames of one end in a turn, so that none waits for the other end's.
ONCE = 64


def tap(netns, name):
    """A new TAP device in that namespace; this process stays in it."""
    with open(netns, "rb") as target:
        if ctypes.CDLL(None, use_errno=True).setns(target.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {netns}")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


class Way:
    """Frames from one end on their way to the other."""

    def __init__(self, source, sink, rng):
        self.source, self.sink, self.rng = source, sink, rng
        self.delay = self.loss = 0.0
        self.frames, self.order = [], itertools.count()

    def take(self):
        for _ in range(ONCE):
            try:
                frame = os.read(self.source, FRAME)
            except (BlockingIOError, OSError):     # nothing more, or the device is down
                return
            if self.rng.random() >= self.loss and len(self.frames) < WAITING:
                heapq.heappush(self.frames,
                               (time.monotonic() + self.delay, next(self.order), frame))

    def give(self):
        """Returns the seconds until the next one is due, or nothing."""
        while self.frames and self.frames[0][0] <= time.monotonic():
            try:
                os.write(self.sink, heapq.heappop(self.frames)[2])
            except OSError:     # it is down: as if the plug were out
                pass
        return max(self.frames[0][0] - time.monotonic(), 0) if self.frames else None


def main(netns_a, name_a, netns_b, name_b, seed):
    ends = tap(netns_a, name_a), tap(netns_b, name_b)
    ways = [Way(one, two, random.Random(f"{seed} {n}"))
            for n, (one, two) in enumerate((ends, ends[::-1]))]
    print("ready", flush=True)
    poll = select.poll()
    for fd in (0, *ends):
        poll.register(fd, select.POLLIN)
    while True:
        due = [seconds for way in ways if (seconds := way.give()) is not None]
        # Rounded up: a wait that ends too early would be none the next time.
        ready = poll.poll(int(min(due) * 1000) + 1 if due else None)
        for fd, _ in ready:
            if fd == 0:
                line = os.read(0, 4096).decode().split()
                if not line:
                    return
                for way in ways:
                    way.delay, way.loss = float(line[-2]) / 1000, float(line[-1]) / 100
                print("delay", line[-2], "loss", line[-1], flush=True)
            else:
                ways[ends.index(fd)].take()


if __name__ == "__main__":
    main(*sys.argv[1:])
