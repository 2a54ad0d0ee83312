"""Peer relays: a stock node in the open carries what nodes behind hard NATs have for each other,
with our coordinator and relays; see tests/lab/test_nat.py."""

import datetime
import json
import re
import time

from interop import Tailnet, Tailscaled, kernel_sends, kernel_sink, wait_for
from nat import Internet, Stream
from test_nat import Place

RELAY_PORT, SINK_PORT = 40000, 5001
# Twice what is promised.
DOUBT, AGAIN = 2 * 6.5, 2 * 30
WAY = rf"203\.0\.113\.\d+:{RELAY_PORT}:vni:[1-9]\d*"


class World:
    """A stock peer relay for `clients` of ours and `stock` ones, all behind NATs of their own."""

    def __init__(self, lab, clients, stock=(), nat="hard"):
        net = self.net = Internet(lab, control=Tailnet.CONTROL)
        self.key = net.hq.auth_key()
        ends = [net.at(nat).host(name) for name in clients]
        for node, end in zip(net.join(*ends), ends):
            setattr(self, end.name, node)
        for name in stock:
            setattr(self, name, self.tailscaled(nat, name))
        self.relay = self.tailscaled("", "carrier")
        self.relay.cli("set", f"--relay-server-port={RELAY_PORT}")

    def tailscaled(self, way, name):
        return Tailscaled(Place(self.net, way), name, up=(f"--auth-key={self.key}",))

    def allow(self, *addresses):
        """Those may use the relay."""
        policy = self.net.lab.dir / "policy"
        policy.with_suffix(".new").write_text(json.dumps({"grants": [
            {"src": ["*"], "dst": ["*"], "ip": ["*"]},
            {"src": list(addresses), "dst": [self.relay.ip4],
             "app": {"tailscale.com/cap/relay": [{}]}}]}))
        policy.with_suffix(".new").rename(policy)

    def relayed(self, *nodes):
        return [node.relayed() for node in nodes]


def since(node, peer, start):
    """{reason: seconds after start} of what its history says of the way to that peer."""
    found = {}
    for event in node.events(peer):
        when = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
        if when >= start:
            found.setdefault(event["reason"], when - start)
    return found


def candidates(node):
    return node.status()["paths"]["peer-relay-candidates"]


def by_peer_relay(node, name):
    """By which address of a peer relay, or nothing."""
    way = next((p for p in node.status()["paths"]["peers"] if p["name"].startswith(f"{name}.")), {})
    return way.get("peer-relayed") and way["peer-relay"]


def test_between_our_nodes(lab):
    world = World(lab, ("one", "two"))
    one, two = world.one, world.two
    world.allow(one.tail4, two.tail4)
    for node in one, two:
        wait_for(f"{node.name} may use it", lambda node=node: candidates(node) == 1)
    one.flow(two)
    for a, b in (one, two), (two, one):
        way = wait_for("by the peer relay", lambda a=a, b=b: by_peer_relay(a, b.name), 40)
        assert re.fullmatch(WAY, way), way
        assert way.startswith(f"{world.relay.host.ip4}:")
        text = a.cli("ping", "--c", "1", b.tail4, check=False)
        assert text.returncode == 1 and "direct connection not established" in text.stderr
        assert re.search(rf"^pong from {b.name} \({re.escape(b.tail4)}\) via "
                         rf"peer-relay\({WAY}\) in \d+m?s$", text.stdout, re.M), text.stdout
        assert re.search(rf"{b.name} .* active; peer-relay {WAY},", a.cli("status").stdout)
        peers = a.json("status")["Peer"].values()
        peer = next(p for p in peers if b.tail4 in p["TailscaleIPs"])
        assert re.fullmatch(WAY, peer["PeerRelay"]) and not peer["CurAddr"], peer
        assert wait_for("a verdict", lambda a=a, b=b: a.why(b) if a.why(b) != "searching" else None,
                        30) == "hard-nat"
        assert re.fullmatch(WAY, a.json("why", b.name)["peer-relay"])
        assert "peer-relay" in {event["reason"] for event in a.events(b)}
    before = world.relayed(one, two)
    one.streams(two)
    two.streams(one)
    assert world.relayed(one, two) == before
    assert one.metric('warren_wg_peer_relayed{direction="sent"}') > (1 << 20) // 1280
    # It is killed under traffic: the relays of the map carry on.
    stream = Stream(one, two, mib=20, seconds=30)
    start = time.time()
    world.relay.proc.kill()
    for a, b in (one, two), (two, one):
        wait_for(f"{a.name} doubts", lambda a=a, b=b: "in-doubt" in since(a, b, start), 30)
        assert since(a, b, start)["in-doubt"] <= DOUBT
    stream.ends(120)
    assert all(now > then + (1 << 20) // 1280
               for now, then in zip(world.relayed(one, two)[1:], before[1:]))
    for a, b in (one, two), (two, one):
        wait_for("it is given up", lambda a=a, b=b: "no-answer" in since(a, b, start), 30)
        assert not by_peer_relay(a, b.name)
    # And it comes back.
    world.relay.restart()
    for a, b in (one, two), (two, one):
        wait_for("by the peer relay", lambda a=a, b=b: by_peer_relay(a, b.name), 120)
    one.streams(two)


def carries(world, ours, stock, port):
    """Streams both ways; those of ours go past the relays of the map."""
    wait_for("ours goes by the peer relay", lambda: by_peer_relay(ours, stock.name), 60)
    wait_for("theirs does", lambda: stock.peer(ours.name)["PeerRelay"], 60)
    assert re.fullmatch(WAY, stock.peer(ours.name)["PeerRelay"])
    sink = kernel_sink(stock.host, stock.ip4, port)
    before = ours.relayed()
    kernel_sends(ours.host, stock.ip4, port, 4)
    assert sink.popen.wait(20) == 0
    assert ours.relayed() == before
    text = stock.cli("ping", "--c=1", "--timeout=5s", ours.tail4, check=False).stdout
    assert re.search(rf" via peer-relay\({WAY}\) in ", text), text
    assert world.relay.proc.alive()


def flow(host, to):
    host.start("ping", "-n", "-q", "-i", "0.5", "-w", "150", to, private=False)


def test_with_stock_peers(lab):
    """Who of the two may use the relay asks for it, and tells the other one."""
    world = World(lab, ("ours",), ("first", "second"))
    ours = world.ours
    world.allow(ours.tail4)
    wait_for("ours may use it", lambda: candidates(ours) == 1)
    flow(ours.host, world.first.ip4)
    carries(world, ours, world.first, SINK_PORT)
    world.allow(world.second.ip4)
    wait_for("ours may not any more", lambda: candidates(ours) == 0)
    flow(world.second.host, ours.tail4)
    carries(world, ours, world.second, SINK_PORT + 1)


CUT = """
table ip cut {
  chain ahead {
    type filter hook forward priority -20;
    meta l4proto udp ip daddr %s drop
    meta l4proto udp ip saddr %s drop
  }
}
"""


def test_a_direct_way_takes_over(lab):
    """Between NATs that let the two meet, once UDP passes between them."""
    world = World(lab, ("one", "two"), nat="easy")
    one, two = world.one, world.two
    box, other = one.host.switch, two.host.switch.outside
    box.nft(CUT % (other, other))
    world.allow(one.tail4, two.tail4)
    one.flow(two)
    for a, b in (one, two), (two, one):
        wait_for("by the peer relay", lambda a=a, b=b: by_peer_relay(a, b.name), 40)
    stream = Stream(one, two, mib=100, seconds=100)
    start = time.time()
    box.run("nft", "delete", "table", "ip", "cut")
    for a, b in (one, two), (two, one):
        wait_for("direct", lambda a=a, b=b: a.direct(b), 30)
        assert since(a, b, start)["better"] <= AGAIN
        assert a.why(b) == "direct" and not by_peer_relay(a, b.name)
    before = world.relayed(one, two)
    counts = [node.metric('warren_wg_peer_relayed{direction="sent"}') for node in (one, two)]
    one.streams(two)
    assert world.relayed(one, two) == before
    assert counts == [node.metric('warren_wg_peer_relayed{direction="sent"}')
                      for node in (one, two)]
    # And back, when the direct way is gone.
    box.nft(CUT % (other, other))
    for a, b in (one, two), (two, one):
        wait_for("by the peer relay", lambda a=a, b=b: by_peer_relay(a, b.name), 60)
    stream.stop()
