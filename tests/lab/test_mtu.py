"""A link on the way that takes less than the tunnel sends, and loses the fragments."""

import json
import time

from lab import wait_for
from nat import Stream
from test_nat import World, are_direct, become_direct, both, carry_nothing_by_relay
from test_nat_events import AGAIN, DOUBT, since

MIB = (1 << 20) // 1280             # packets of a MiB

# Before conntrack puts them together again.
NO_FRAGMENTS = """
table ip holes {
  chain pre {
    type filter hook prerouting priority -450;
    ip frag-off & 0x3fff != 0 drop
  }
}
"""


def link(node, mtu):
    """Its LAN's: it and its router send nothing larger there but in fragments."""
    node.host.ip("link", "set", "eth0", "mtu", mtu)
    node.host.switch.ip("link", "set", "lan0", "mtu", mtu)


def lose_fragments(node):
    """Both ways on that link."""
    for end in (node.host, node.host.switch):
        end.nft(NO_FRAGMENTS)
    return time.time()


def take_fragments(node):
    start = time.time()
    for end in (node.host, node.host.switch):
        end.run("nft", "delete", "table", "ip", "holes")
    return start


def is_narrow(one, two, start):
    wait_for(f"{one.name} finds the way to {two.name} narrow",
             lambda: "too-narrow" in since(one, two, start), 30)
    wait_for("a relay is used", lambda: one.way(two).get("narrow"), 30)
    assert one.why(two) == "mtu-black-hole"


def goes_by_relay(one, two):
    before = one.relayed()
    one.streams(two)
    assert one.relayed() - before >= MIB
    text = one.cli("ping", "--c", "1", "--until-direct=false", two.tail4).stdout
    assert " via DERP(" in text, text


def evidence(one, two):
    return next(c for c in one.json("why", two.name)["candidates"] if c["narrow"])


def test_black_hole(lab):
    """It was there before the first packet, and goes."""
    world = World(lab, {"one": ("easy",), "two": ("",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    link(one, 1300)
    start = lose_fragments(one)
    one.flow(two)
    for a, b in both([pair]):
        is_narrow(a, b, start)
        events = since(a, b, start)
        assert events["too-narrow"] - events["first-answer"] <= DOUBT
        found = evidence(a, b)
        # Small packets arrive, some of 1280 bytes too, and none of the tunnel's 1340.
        assert found["pongs"] > 0 and found["large-pings"] >= 5
        assert wait_for("the size is known", lambda a=a, b=b: evidence(a, b)["mtu"]) == 1280
    goes_by_relay(one, two)
    goes_by_relay(two, one)
    text = one.cli("why", two.name).stdout
    assert "packets of 1340 bytes" in text and "raise the MTU" in text, text
    start = take_fragments(one)
    are_direct([pair], AGAIN)
    for a, b in both([pair]):
        assert since(a, b, start)["wide-again"] <= AGAIN
        assert a.why(b) == "direct"
    carry_nothing_by_relay([pair])


def test_black_hole_under_traffic(lab):
    """It comes while a stream runs, which goes on over the relay, and back when it is gone."""
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    become_direct([pair])
    stream = Stream(one, two, mib=100, seconds=100)
    before = two.relayed()
    link(one, 1300)
    start = lose_fragments(one)
    is_narrow(one, two, start)
    assert since(one, two, start)["too-narrow"] <= DOUBT
    wait_for("the stream goes on", lambda: two.relayed() - before > MIB, 30)
    start = take_fragments(one)
    wait_for("direct again", lambda: one.direct(two), AGAIN)
    assert since(one, two, start)["wide-again"] <= AGAIN
    stream.stop()
    are_direct([pair], AGAIN)
    carry_nothing_by_relay([pair])


def test_probing_as_the_stock_client(lab):
    """Told to by the server, it forbids fragments, and knows what the way takes."""
    world = World(lab, {"one": ("easy",), "two": ("",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    (lab.dir / "policy").write_text(json.dumps({
        "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}],
        "nodeAttrs": [{"target": ["*"], "attr": ["peer-mtu-enable"]}]}))

    def mtu(a, b):
        return max((c["mtu"] for c in a.json("why", b.name)["candidates"]), default=0)

    for node in pair:
        wait_for(f"{node.name} is told", lambda node=node: node.json("status")["paths"][
            "mtu-probing"])
    become_direct([pair])
    for a, b in both([pair]):
        wait_for("the Ethernet's", lambda a=a, b=b: mtu(a, b) == 1500, 30)
    carry_nothing_by_relay([pair])
    # No fragments are made, so none need be lost.
    link(one, 1300)
    start = time.time()
    stream = Stream(one, two)
    is_narrow(one, two, start)
    assert wait_for("the size is known", lambda: evidence(one, two)["mtu"]) == 1280
    stream.ends()
    goes_by_relay(one, two)
    link(one, 1500)
    # What ICMP has told the kernel holds for ten minutes.
    for node in pair:
        node.host.ip("route", "flush", "cache")
    are_direct([pair], AGAIN)
    carry_nothing_by_relay([pair])
