"""The peer API between two of ours, without a server: who gets there and who does not."""

import re
import sys

from lab import wait_for
from test_svcnet import ALONE, A, A6, LAN, WALL, Mesh, occupy, refused

# Connects and says nothing until the other side closes.
IDLE = "import socket, sys; socket.create_connection(sys.argv[1:]).recv(1)"
LISTEN = "\npeerapi: {per-peer: 3}\n"


def curl(host, url, *options, check=True):
    return host.run("curl", "-sS", "-m", "10", *options, url, check=check)


def urls(mesh):
    return wait_for("it listens", lambda: mesh.da.status()["peerapi"]["urls"])


def test_peers_alone_get_there_and_past_the_wall(lab):
    mesh = Mesh(lab, listen=LISTEN, router=ALONE)
    four, six = urls(mesh)
    port = int(four.rpartition(":")[2])
    assert re.fullmatch(rf"http://{A}:\d+", four) and six.startswith(f"http://[{A6}]:")
    # Another program has the port on the host, which lets nobody in.
    occupy(mesh.a, port)
    mesh.a.run("nft", "-f", "-", input=WALL)
    for url in (four, six):
        assert "Hello, " in curl(mesh.b, url).stdout
        assert "Hello, " in curl(mesh.b, url, "--http2-prior-knowledge").stdout
    # The LAN by its address and by a's, and the host itself: none of them is a peer.
    assert refused(mesh.c, "tcp", LAN, port)
    assert curl(mesh.c, four, "-m", "2", check=False).returncode != 0
    assert "Hello, " not in curl(mesh.a, four, "-m", "2", check=False).stdout
    # It is the same after a restart.
    mesh.da.stop()
    mesh.da.start()
    assert urls(mesh) == [four, six]


def test_a_peer_has_so_many_connections(lab):
    mesh = Mesh(lab, listen=LISTEN)
    four = urls(mesh)[0]
    port = four.rpartition(":")[2]
    idle = [mesh.b.start(sys.executable, "-c", IDLE, A, port, private=False,
                         log=lab.dir / f"idle-{i}.log") for i in range(5)]
    wait_for("two of five are closed", lambda: sum(p.alive() for p in idle) == 3)
    assert mesh.da.status()["peerapi"]["connections"] == 3
    assert "Hello, " not in curl(mesh.b, four, check=False).stdout
    mesh.da.write(mesh.da.config.read_text().replace("per-peer: 3", "per-peer: 4"))
    mesh.da.cli("reload")
    assert "Hello, " in curl(mesh.b, four).stdout
    for proc in idle:
        proc.kill()
    wait_for("they are gone", lambda: mesh.da.status()["peerapi"]["connections"] == 0)
