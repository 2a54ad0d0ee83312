"""A TCP stream with a checksum: `stream.py serve ADDRESS PORT`, `stream.py send ADDRESS PORT MIB`.

Both print the SHA-256 and the number of bytes. Run inside the namespaces by the lab tests.
"""

import hashlib
import random
import socket
import sys

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


def send(address, port, mib):
    block = random.Random(mib).randbytes(CHUNK * 16)
    digest = hashlib.sha256()
    with socket.create_connection((address, port), timeout=30) as conn:
        conn.settimeout(120)
        for n in range(mib):
            piece = n.to_bytes(8, "little") + block[8:]
            digest.update(piece)
            conn.sendall(piece)
        conn.shutdown(socket.SHUT_WR)
        answer = conn.makefile().readline().split()
    expected = [digest.hexdigest(), str(mib * len(block))]
    print(*answer)
    if answer != expected:
        sys.exit(f"sent {expected}, the other side received {answer}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
