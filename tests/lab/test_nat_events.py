"""What happens to the ways between nodes when the networks change; see test_nat.py.

Times are those of the daemon's own events, and limits are twice what is promised.
"""

import datetime
import sys
import time

import pytest

from lab import wait_for
from nat import Internet, Stream
from test_nat import World, are_direct, become_direct, both, carry_nothing_by_relay

DOUBT, AGAIN = 2 * 6.5, 2 * 30


def when(event):
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


def since(node, peer, start):
    """{reason: seconds after start} of what its history says of the way to that peer."""
    found = {}
    for event in node.events(peer):
        if when(event) >= start:
            found.setdefault(event["reason"], when(event) - start)
    return found


def back(node, peer, start):
    """Seconds until an address answered again."""
    return min(seconds for reason, seconds in since(node, peer, start).items()
               if reason in ("first-answer", "answers-again", "replaced"))


def cut(box, address):
    """No UDP between that LAN and that address."""
    box.nft("table ip cut {\n  chain ahead {\n    type filter hook forward priority -20;\n"
            f"    meta l4proto udp ip daddr {address} drop\n"
            f"    meta l4proto udp ip saddr {address} drop\n  }}\n}}\n")
    return time.time()


def mend(box):
    start = time.time()
    box.run("nft", "delete", "table", "ip", "cut")
    return start


def no_stun(relay):
    """Nobody finds out that it is near."""
    relay.host.nft("table inet far {\n  chain input {\n    type filter hook input priority 0;"
                   " udp dport 3478 drop;\n  }\n}\n")


def test_path_dies_and_comes_back_under_traffic(lab):
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    become_direct([pair])
    stream = Stream(one, two, mib=100, seconds=100)
    box = one.host.switch
    start = cut(box, two.host.switch.outside)
    for a, b in both([pair]):
        wait_for(f"{a.name} doubts", lambda a=a, b=b: "in-doubt" in since(a, b, start), 30)
        assert since(a, b, start)["in-doubt"] <= DOUBT
    before = two.relayed()
    wait_for("the stream goes on", lambda: two.relayed() - before > (1 << 20) // 1280, 20)
    for a, b in both([pair]):
        assert a.why(b) == "endpoint-black-holed"
    start = mend(box)
    are_direct([pair], AGAIN)
    for a, b in both([pair]):
        assert back(a, b, start) <= AGAIN
    stream.stop()
    carry_nothing_by_relay([pair])


@pytest.mark.long
def test_nat_reboots(lab):
    """All mappings are gone, and the live ones come back at other ports."""
    world = World(lab, {"one": ("moving",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    become_direct([pair])
    before = two.address(one)
    stream = Stream(one, two, mib=100, seconds=100)
    box = one.host.switch
    # Nothing passes meanwhile: such a packet takes the port of a mapping that still stands.
    cut(box, "0.0.0.0/0")
    box.run("conntrack", "-F")
    mend(box)
    wait_for("another port is in use",
             lambda: two.address(one) not in (before, ""), AGAIN)
    are_direct([pair], AGAIN)
    stream.stop()


@pytest.mark.long
def test_mappings_expire(lab):
    """While nothing is sent: the next packets find a way again, by other ports."""
    world = World(lab, {"one": ("moving",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    for node in pair:
        for name in "udp_timeout", "udp_timeout_stream":
            node.host.switch.sysctl(f"net.netfilter.nf_conntrack_{name}", 5)
    flow = one.flow(two)
    are_direct([pair])
    flow.stop()
    start = time.time()
    for a, b in both([pair]):
        wait_for(f"{a.name} is idle", lambda a=a, b=b: "idle" in since(a, b, start), 120, step=1)
    for node in pair:
        outside = node.host.switch
        wait_for("no mapping is left", lambda outside=outside: "sport=4164" not in outside.run(
            "conntrack", "-L", "-p", "udp").stdout, 60, step=0.5)
    start = time.time()
    become_direct([pair], AGAIN)
    for a, b in both([pair]):
        assert back(a, b, start) <= AGAIN
    carry_nothing_by_relay([pair])


def test_address_changes_under_traffic(lab):
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    become_direct([pair])
    stream = Stream(one, two, mib=100, seconds=100)
    lan = one.host.switch.prefix4
    start = time.time()
    one.host.ip("addr", "del", f"{one.host.ip4}/24", "dev", "eth0")
    one.host.ip("addr", "add", f"{lan}.77/24", "dev", "eth0")
    one.host.ip("route", "add", "default", "via", f"{lan}.1")
    wait_for("it notices", lambda: "link-change" in since(one, two, start), 10)
    wait_for("direct again", lambda: "first-answer" in since(one, two, start), AGAIN)
    are_direct([pair], AGAIN)
    stream.stop()


def at_home_elsewhere(nodes, home):
    for node in nodes:
        wait_for(f"{node.name} is at home elsewhere", lambda node=node:
                 node.status()["paths"]["home"] not in (home, ""), AGAIN)


def goes_on_by_relay(node):
    before = node.relayed()
    wait_for("the stream goes on", lambda: node.relayed() - before > (1 << 20) // 1280, 60)


@pytest.mark.long
def test_relays_are_killed(lab):
    """The home of one who is silent, and then the only one while packets go through it."""
    world = World(lab, {"one": ("hard",), "two": ("hard",)})
    nodes = one, two = world.pairs("one two")[0]
    relays = {relay.host.name: relay for relay in world.net.relays}
    first = relays.pop(two.status()["paths"]["home"])
    second, = relays.values()
    first.proc.kill()
    at_home_elsewhere(nodes, first.host.name)
    stream = Stream(one, two, mib=100, seconds=100)
    wait_for("packets go through it", lambda: two.relayed() > (1 << 20) // 1280, 30)
    first.start()
    start = time.time()
    second.proc.kill()
    at_home_elsewhere(nodes, second.host.name)
    wait_for("the peer is told", lambda: "relay-moved" in since(one, two, start), AGAIN)
    goes_on_by_relay(two)
    stream.stop()


@pytest.mark.long
def test_control_is_away(lab):
    """Who knows each other finds new ways without it."""
    world = World(lab, {"one": ("easy",), "two": ("easy",), "three": ("", "firewall")})
    pairs = world.pairs("one two", "one three", "two three")
    become_direct(pairs[:1])
    world.net.hq.host.nft("table inet away {\n  chain input {\n"
                          "    type filter hook input priority 0; tcp dport 8080 drop;\n  }\n}\n")
    become_direct(pairs[1:])
    box = pairs[0][0].host.switch
    cut(box, pairs[0][1].host.switch.outside)
    wait_for("doubt", lambda: not pairs[0][0].direct(pairs[0][1]), 30)
    mend(box)
    are_direct(pairs, AGAIN)
    carry_nothing_by_relay(pairs)


def test_narrow_link(lab):
    """A link of 1300 bytes on the way: packets of the tunnel's go in fragments."""
    world = World(lab, {"one": ("easy",), "two": ("",)})
    pair = world.pairs("one two")[0]
    become_direct([pair])
    one = pair[0].host
    one.ip("link", "set", "eth0", "mtu", "1300")
    one.switch.ip("link", "set", "lan0", "mtu", "1300")
    carry_nothing_by_relay([pair])


def test_restart_while_control_is_away(lab):
    """Its peers go on to look for it at the home that they know."""
    world = World(lab, {"one": ("hard",), "two": ("hard",)})
    one, two = world.pairs("one two")[0]
    home = one.status()["paths"]["home"]
    for a, b in both([(one, two)]):
        wait_for(f"{a.name} is told of {b.name}'s home", lambda a=a, b=b: a.way(b)["relay"]
                 and a.way(b)["relay"] == b.status()["paths"]["home"], 30)
    one.streams(two)
    world.net.hq.stop()
    one.stop()
    # It was the nearest; now another one is.
    relay = next(relay for relay in world.net.relays if relay.host.name == home)
    no_stun(relay)
    one.start()
    wait_for("it has looked", lambda: one.json("netcheck")["PreferredDERP"] == relay.region)
    two.streams(one)
    one.streams(two)


CLOSED_RELAY = """
table inet closed {
  chain input {
    type filter hook input priority 0;
    tcp dport 443 reject with tcp reset;
  }
}
"""


def test_relays_are_not_reached(lab):
    """Their STUN servers answer, and nothing else."""
    world = World(lab, {"one": ("easy",), "two": ("hard",)})
    one, two = world.pairs("one two")[0]
    one.streams(two)
    for relay in world.net.relays:
        relay.host.nft(CLOSED_RELAY)
    one.flow(two)
    wait_for("the verdict", lambda: one.why(two) == "relay-unreachable", 60)
    assert one.json("why", two.name)["relay-failure"]
    for relay in world.net.relays:
        relay.host.run("nft", "delete", "table", "inet", "closed")
    one.streams(two)
    wait_for("the other verdict", lambda: one.why(two) == "no-answer", 60)


# Nothing goes through; whoever asks for a page has another one.
CLOSED = """
table ip portal {
  chain ahead { type filter hook forward priority -20; iifname "lan0" drop; }
  chain pre { type nat hook prerouting priority -110; iifname "lan0" tcp dport 80 redirect; }
}
"""
PAGE = """
import http.server
class Page(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"agree!")
server = http.server.HTTPServer(("", 80), Page)
print("serving", flush=True)
server.serve_forever()
"""


def test_captive_portal(lab):
    """Until somebody agrees to its terms; no path was known by then."""
    world = World(lab, {"guest": ("easy",), "two": ("easy",)})
    pair = world.pairs("guest two")[0]
    guest, two = pair
    box = guest.host.switch
    page = box.start(sys.executable, "-c", PAGE, private=False)
    wait_for("the portal serves", lambda: "serving" in page.output())
    box.nft(CLOSED)
    guest.flow(two)
    wait_for("it is noticed", lambda: guest.json("netcheck")["CaptivePortal"], 60)
    wait_for("the verdict", lambda: guest.why(two) == "captive-portal", 60)
    assert "browser" in guest.cli("why", two.name).stdout
    box.run("nft", "delete", "table", "ip", "portal")
    are_direct([pair], AGAIN)
    carry_nothing_by_relay([pair])
    assert not guest.json("netcheck")["CaptivePortal"]


@pytest.mark.long
def test_region_is_killed(lab):
    """One relay of the home region, then the other one as well: what is left carries on."""
    net = Internet(lab, mesh=True)
    first, west, second = net.relays
    no_stun(west)       # so that nobody is at home there
    world = World(lab, {"one": ("hard",), "two": ("hard",), "three": ("easy",), "four": ("",)}, net)
    nodes, (relayed, direct) = world.nodes.values(), world.pairs("one two", "three four")
    become_direct([direct])
    carry_nothing_by_relay([direct])
    counts, start = [node.relayed() for node in direct], time.time()
    streams = [Stream(*pair, mib=150, seconds=150) for pair in (relayed, direct)]
    goes_on_by_relay(relayed[1])
    first.proc.kill()
    goes_on_by_relay(relayed[1])
    assert {node.status()["paths"]["home"] for node in nodes} == {"east"}
    west.host.nft("flush ruleset")
    died = time.time()
    second.proc.kill()
    at_home_elsewhere(nodes, "east")
    for a, b in both([relayed, direct]):
        wait_for(f"{a.name} is told of {b.name}",
                 lambda a=a, b=b: "relay-moved" in since(a, b, died), AGAIN)
        assert since(a, b, died)["relay-moved"] <= AGAIN
    goes_on_by_relay(relayed[1])
    for stream in streams:
        stream.stop()
    assert [node.relayed() for node in direct] == counts
    for a, b in both([direct]):
        assert set(since(a, b, start)) <= {"relay-moved"}
        assert a.why(b) == "direct"
    # One STUN server is left, and what NATs do shows only beside another one.
    for a, b in both([relayed]):
        assert a.why(b) in ("hard-nat", "no-answer")
