"""A host with two uplinks, each behind a NAT of its own; see test_nat.py."""

import time

from lab import wait_for
from nat import FLAGS, Stream
from test_nat import World, are_direct, become_direct
from test_nat_events import back

MOVED = 2 * 3


def second_uplink(host):
    """To another router, whose default route is the one that is used while the first is away."""
    box = host.net.at("easy")
    address, _ = box.plug(host, "eth1")
    host.ip("addr", "add", f"{address}/24", "dev", "eth1")
    host.ip("route", "add", "default", "via", f"{box.prefix4}.1", "dev", "eth1", "metric", "200")
    return box


def test_the_other_uplink_takes_over(lab):
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    box = second_uplink(one.host)
    become_direct([pair])
    wait_for("by the first one", lambda:
             two.address(one).startswith(one.host.switch.outside + ":"))
    stream = Stream(one, two, mib=100, seconds=100)
    start = time.time()
    one.host.ip("link", "set", "eth0", "down")
    wait_for("the sessions are on the other one",
             lambda: two.address(one).startswith(box.outside + ":"), 30)
    wait_for("both are", lambda: one.direct(two), 30)
    for a, b in (one, two), (two, one):
        assert back(a, b, start) <= MOVED
    stream.stop()


def test_peers_know_the_other_uplink_beforehand(lab):
    """And need nobody to tell it when it is there: no STUN server answers any more by then."""
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    box = second_uplink(one.host)
    become_direct([pair])
    endpoint = f"{box.outside}:{one.port}"
    wait_for("it is asked about", lambda: one.status()["paths"]["other-uplinks"] == [
        {"interface": "eth1", "endpoint": endpoint}], 40)
    wait_for("the peer knows it", lambda: endpoint in {
        candidate["address"] for candidate in two.way(one)["candidates"]}, 30)
    assert two.address(one).startswith(one.host.switch.outside + ":")
    box.nft(FLAGS["nostun"])
    stream = Stream(one, two, mib=100, seconds=100)
    start = time.time()
    one.host.ip("link", "set", "eth0", "down")
    wait_for("the sessions are on the other one", lambda: two.address(one) == endpoint, 30)
    wait_for("both are", lambda: one.direct(two), 30)
    for a, b in (one, two), (two, one):
        assert back(a, b, start) <= MOVED
    assert not one.status()["paths"]["other-uplinks"]
    stream.stop()


def test_the_other_uplink_is_lost(lab):
    """What is in use stays in use."""
    world = World(lab, {"one": ("easy",), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    box = second_uplink(one.host)
    become_direct([pair])
    endpoint = f"{box.outside}:{one.port}"
    wait_for("it is told", lambda: endpoint in one.status()["paths"]["endpoints"], 40)
    one.host.ip("link", "set", "eth1", "down")
    wait_for("it is told no more", lambda:
             endpoint not in one.status()["paths"]["endpoints"], 40)
    are_direct([pair])
    assert two.address(one).startswith(one.host.switch.outside + ":")
