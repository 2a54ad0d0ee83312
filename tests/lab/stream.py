"""A TCP stream with a checksum: `stream.py serve ADDRESS PORT`, `stream.py send ADDRESS PORT MIB
[SECONDS]`: a part of one, or whole ones spread over so many seconds, or until SIGTERM.

Both print the SHA-256 and the number of bytes, and first that they listen or send. Run inside the
namespaces by the lab tests.
"""

import hashlib
import random
import signal
import socket
import sys
import time

CHUNK = 1 << 16


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    with socket.create_server((address, port), family=family(address)) as server:
        print("listening", flush=True)
        conn, _ = server.accept()
        digest, count = hashlib.sha256(), 0
        with conn:
            while data := conn.recv(CHUNK):
                digest.update(data)
                count += len(data)
            conn.sendall(b"%s %d\n" % (digest.hexdigest().encode(), count))
    print(digest.hexdigest(), count, flush=True)


def send(address, port, mib, seconds=0):
    block = random.Random(mib).randbytes(int(CHUNK * 16 * min(mib, 1)))
    digest, sent, stop = hashlib.sha256(), 0, []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    with socket.create_connection((address, port), timeout=60) as conn:
        conn.settimeout(120)
        for n in range(max(int(mib), 1)):
            piece = n.to_bytes(8, "little") + block[8:]
            digest.update(piece)
            conn.sendall(piece)
            sent += len(piece)
            if n == 0:
                print("sending", flush=True)
            time.sleep(seconds / mib)
            if stop:
                break
        conn.shutdown(socket.SHUT_WR)
        answer = conn.makefile().readline().split()
    expected = [digest.hexdigest(), str(sent)]
    print(*answer)
    if answer != expected:
        sys.exit(f"sent {expected}, the other side received {answer}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), *(float(text) for text in sys.argv[4:]))
