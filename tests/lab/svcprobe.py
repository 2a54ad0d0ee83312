"""Clients and rivals for test_svcnet.py, run inside the namespaces.

    svcprobe.py tcp ADDRESS PORT SECONDS    prints the greeting and what comes back of "moin"
    svcprobe.py udp ADDRESS PORT SECONDS    the same of a datagram, sent once a second
    svcprobe.py scan ADDRESS                prints the TCP ports that accept, one a line
    svcprobe.py many ADDRESS PORT COUNT     so many connections at a time, each used
    svcprobe.py bulk ADDRESS PORT MIB       sends so much and compares what comes back
    svcprobe.py occupy PORT...              "other program" on 0.0.0.0 and [::], UDP and TCP
"""

import hashlib
import random
import resource
import select
import socket
import sys
import threading

WINDOW = 1000               # connections of a scan under way


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address, port, seconds):
    with socket.create_connection((address, int(port)), timeout=int(seconds)) as conn:
        stream = conn.makefile("rw")
        print(stream.readline(), end="", flush=True)
        stream.write("moin\n")
        stream.flush()
        print(stream.readline(), end="")


def udp(address, port, seconds):
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((address, int(port)))
        for _ in range(int(seconds)):
            sock.send(b"moin")
            try:
                print(sock.recv(4096).decode())
                return
            except TimeoutError:
                pass
    sys.exit("no answer")


def scan(address):
    """Every port is connected to; one that says nothing within 5 s counts as shut."""
    poll, pending, ports = select.poll(), {}, iter(range(1, 65536))
    left = 65535
    while left:
        while len(pending) < WINDOW and (port := next(ports, None)):
            sock = socket.socket(family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            # None in TIME_WAIT: there are more ports over there than here.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.connect_ex((address, port))
            pending[sock.fileno()] = sock, port
            poll.register(sock, select.POLLOUT)
        events = poll.poll(5000)
        done = [fd for fd, _ in events] or list(pending)
        for fd in done:
            sock, port = pending.pop(fd)
            if events and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                print(port, flush=True)
            poll.unregister(fd)
            sock.close()
            left -= 1


def many(address, port, count):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    socks = []
    for _ in range(int(count)):
        socks.append(socket.create_connection((address, int(port)), timeout=60))
    for n, sock in enumerate(socks):
        sock.sendall(b"number %d\n" % n)
    for n, sock in enumerate(socks):
        stream = sock.makefile("rb")
        greeting, echo = stream.readline(), stream.readline()
        if not greeting.startswith(b"peer ") or echo != b"number %d\n" % n:
            sys.exit(f"{n}: {greeting} {echo}")
    print(len(socks))


def bulk(address, port, mib):
    block = random.Random(1).randbytes(1 << 20)
    sent, got, count = hashlib.sha256(), hashlib.sha256(), int(mib) << 20

    with socket.create_connection((address, int(port)), timeout=60) as conn:
        greeting = b""
        while not greeting.endswith(b"\n"):
            greeting += conn.recv(1)

        def send():
            for n in range(int(mib)):
                piece = n.to_bytes(8, "little") + block[8:]
                sent.update(piece)
                conn.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        while count:
            piece = conn.recv(min(count, 1 << 16))
            if not piece:
                break
            got.update(piece)
            count -= len(piece)
        sender.join()
    print(sent.hexdigest(), got.hexdigest())
    if sent.digest() != got.digest():
        sys.exit("what came back is not what was sent")


def serve_tcp(sock):
    while True:
        conn, _ = sock.accept()
        with conn:
            conn.sendall(b"other program\n")
            conn.shutdown(socket.SHUT_WR)
            while conn.recv(4096):
                pass


def serve_udp(sock):
    while True:
        data, address = sock.recvfrom(4096)
        sock.sendto(b"other program " + data, address)


def occupy(*ports):
    threads = []
    for port in map(int, ports):
        for kind, serve in ((socket.SOCK_STREAM, serve_tcp), (socket.SOCK_DGRAM, serve_udp)):
            sock = socket.socket(socket.AF_INET6, kind)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            threads.append(threading.Thread(target=serve, args=[sock]))
    for thread in threads:
        thread.start()
    print("occupied", flush=True)


if __name__ == "__main__":
    {f.__name__: f for f in (tcp, udp, scan, many, bulk, occupy)}[sys.argv[1]](*sys.argv[2:])
