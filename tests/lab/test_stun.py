"""STUN with coturn, both ways: our node asks its server, its client asks our relay."""

import re
import sys

import pytest

from lab import need, wait_for
from nat import Internet
from test_nat import World

PORT = 3479

pytestmark = pytest.mark.skipif(bool(need("turnserver", "turnutils_stunclient")),
                                reason="coturn is not installed")


def coturn(host):
    """A STUN server and nothing else, at both addresses of that host."""
    server = host.start(
        "turnserver", "-S", "-n", "--no-tls", "--no-dtls", "--no-cli", "-L", host.ip4, "-L",
        host.ip6, "-p", PORT, "--log-file", "stdout", "--pidfile", "/run/turnserver.pid")
    wait_for("coturn listens", lambda: f"{host.ip4}:{PORT} " in host.run("ss", "-lun").stdout)
    return server


def test_our_node_asks_coturn(lab):
    net = Internet(lab, stun_port=PORT)
    for relay in net.relays:
        coturn(relay.host)
    world = World(lab, {"one": ("easy",), "dual": ("easy+six",), "hard": ("hard",)}, net)
    for name, node in world.nodes.items():
        report = node.json("netcheck")
        outside = node.host.switch.outside
        assert report["UDP"] and report["IPv4"], report
        assert report["GlobalV4"].startswith(f"{outside}:"), report
        assert report["MappingVariesByDestIP"] is (name == "hard"), report
    dual = world.nodes["dual"]
    assert dual.json("netcheck")["GlobalV6"] == f"[{dual.host.ip6}]:{dual.port}"
    for relay in net.relays:
        assert relay.metric('warren_relay_stun{result="answered"}') == 0


def test_two_servers_of_the_only_region(lab):
    """Whether a NAT is hard only the second one can tell."""
    net = Internet(lab, mesh="alone")
    world = World(lab, {"one": ("easy",), "hard": ("hard",)}, net)
    for name, node in world.nodes.items():
        for run in range(2):                 # a full one, and one that builds on it
            report = node.json("netcheck")
            assert report["MappingVariesByDestIP"] is (name == "hard"), (name, run, report)


def test_coturn_asks_our_relay(lab):
    """It is no client of ours, and is answered all the same; who asks too much is not."""
    net = Internet(lab)
    relay, host = net.relays[0], net.host("c")
    count = lambda result: relay.metric(f'warren_relay_stun{{result="{result}"}}')
    asks = ["turnutils_stunclient", "-p", 3478]
    seen = host.run("timeout", 5, *asks, relay.host.ip4, check=False).stdout
    assert re.search(rf"UDP reflexive addr: {re.escape(host.ip4)}:", seen), seen
    assert count("foreign") >= 1 and count("answered") == count("other") == 0
    got = host.run(sys.executable, "-c", "import os, socket, time\n"
                   "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n"
                   f"s.connect(('{relay.host.ip4}', 3478))\n"
                   "ask = lambda more: s.send(bytes.fromhex('0001%04x2112a442' % len(more)) + "
                   "os.urandom(12) + more)\n"
                   "ask(bytes.fromhex('0003000400000006'))\n"     # CHANGE-REQUEST
                   "print(s.recv(99)[:2].hex(), flush=True)\n"
                   "for n in range(2000): ask(b''); n % 50 or time.sleep(0.01)\n").stdout
    assert got == "0111\n"
    wait_for("the rest is counted", lambda: count("limited") > 500)
    assert count("answered") == 0
