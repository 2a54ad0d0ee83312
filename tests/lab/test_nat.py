"""The table of scenarios: which pairs of nodes reach each other directly, and why others do not."""

import re
import time

from lab import wait_for
from nat import Internet


class World:
    """Nodes by name, each at a place, with flags of its host."""

    def __init__(self, lab, places, net=None):
        self.net = net or Internet(lab)
        ends = [self.net.at(way).host(name, *flags) for name, (way, *flags) in places.items()]
        self.nodes = dict(zip(places, self.net.join(*ends)))

    def pairs(self, *texts):
        return [tuple(self.nodes[name] for name in text.split()) for text in texts]


def both(pairs):
    return [way for one, two in pairs for way in ((one, two), (two, one))]


def are_direct(pairs, timeout=30):
    for one, two in both(pairs):
        wait_for(f"{one.name} reaches {two.name} directly", lambda o=one, t=two: o.direct(t),
                 timeout)


def become_direct(pairs, timeout=30):
    for one, two in pairs:
        one.flow(two)
    are_direct(pairs, timeout)


def carry_nothing_by_relay(pairs):
    """Streams with checksums on direct paths; no packet of a peer goes through a relay."""
    nodes = {node for pair in pairs for node in pair}

    def relayed():
        return {node.name: node.relayed() for node in nodes}

    def quiet():
        """What was on its way has come."""
        counts = relayed()
        time.sleep(0.5)
        return counts if relayed() == counts else None

    before = wait_for("the relays are quiet", quiet)
    for one, two in pairs:
        one.streams(two)
    assert relayed() == before
    for one, two in both(pairs):
        assert one.why(two) == "direct", f"{one.name} to {two.name}"
        text = one.cli("ping", "--c", "1", two.tail4).stdout
        assert re.search(r" via \S+:\d+ in ", text), text


def addresses(pairs):
    return {one.way(two)["address"].rpartition(":")[0] for one, two in both(pairs)}


def stay_relayed(table):
    """{pair: (verdict of one, of the other)}, with traffic meanwhile."""
    for one, two in table:
        one.flow(two)
    for one, two in table:
        before = one.relayed()
        one.streams(two)
        assert one.relayed() - before >= (1 << 20) // 1280
    for (one, two), verdicts in table.items():
        for a, b, verdict in ((one, two, verdicts[0]), (two, one, verdicts[1])):
            found = wait_for("a verdict", lambda a=a, b=b: (
                a.why(b) if a.why(b) not in ("searching", "idle") else None), 30)
            assert found == verdict, f"{a.name} of {b.name}"
            reasons = [event["reason"] for event in a.events(b)]
            assert "first-answer" not in reasons, f"{a.name} to {b.name}: {reasons}"


def test_direct(lab):
    world = World(lab, {
        "open": ("",), "public": ("",), "wall": ("", "firewall"), "fort": ("", "firewall"),
        "easy": ("easy",), "home": ("easy",), "moving": ("moving",), "hard": ("hard",),
        "one": ("one",), "double": ("easy/easy",), "walled": ("easy", "firewall")})
    pairs = world.pairs(
        "open public", "open wall", "wall fort", "open easy", "wall easy", "easy home",
        "easy moving", "easy double", "easy walled", "walled wall", "one easy", "one open",
        "hard open", "hard one", "double wall", "double moving")
    become_direct(pairs)
    carry_nothing_by_relay(pairs)
    for node in world.nodes.values():
        assert not re.search(r"127\.0\.0\.1|\[::1\]", str(node.status()["paths"]["endpoints"]))


def test_relayed(lab):
    world = World(lab, {
        "open": ("",), "easy": ("easy",), "hard": ("hard",), "harder": ("hard",),
        "mute": ("easy+noudp",), "dumb": ("easy+noudp",), "nostun": ("easy+nostun",),
        "left": ("isp:easy/easy",), "right": ("isp/easy",)})
    become_direct(world.pairs("nostun open"))
    pairs = world.pairs("easy hard", "hard harder", "easy mute", "mute dumb", "left right",
                        "nostun easy")
    stay_relayed(dict(zip(pairs, (
        ("no-answer", "hard-nat"), ("hard-nat", "hard-nat"), ("no-answer", "udp-blocked"),
        ("udp-blocked", "udp-blocked"), ("no-answer", "no-answer"),
        ("stun-unreachable", "no-answer")))))
    report = world.nodes["mute"].json("netcheck")
    assert not report["UDP"] and report["ICMPv4"], report
    assert not world.nodes["open"].json("netcheck")["ICMPv4"]


def test_one_provider_or_one_lan(lab):
    """Behind one carrier's NAT that takes its own back in, in one LAN, and in one of 100.64/10."""
    world = World(lab, {
        "left": ("isp:hairpin/easy",), "right": ("isp/easy",),
        "desk": ("office:hard",), "shelf": ("office",),
        "odd": ("odd:easy+cgnat",), "easy": ("easy",)})
    pairs = world.pairs("left right", "desk shelf", "odd easy")
    become_direct(pairs)
    carry_nothing_by_relay(pairs)
    assert addresses(pairs[:1]) == {world.net.boxes["isp"].outside}
    assert addresses(pairs[1:2]) == {world.nodes[n].host.ip4 for n in ("desk", "shelf")}
    endpoints = world.nodes["odd"].status()["paths"]["endpoints"]
    assert len(endpoints) == 1 and "100.100." not in endpoints[0], endpoints


def test_ipv6(lab):
    """IPv6 alone, beside IPv4 that would not do, and with one who has none of it."""
    world = World(lab, {
        "six": ("", "six"), "sixth": ("", "six", "firewall"), "dual": ("easy+six",),
        "hard": ("hard+six",), "four": ("easy",)})
    pairs = world.pairs("six sixth", "dual sixth", "dual hard")
    become_direct(pairs)
    carry_nothing_by_relay(pairs)
    assert all(address.startswith("[2001:db8:") for address in addresses(pairs))
    stay_relayed({world.pairs("four six")[0]: ("no-answer", "no-answer")})
