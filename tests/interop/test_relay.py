"""Our relay client with the stock relay (derper) and a stock relay client."""

import json
import re
import shutil
import secrets

import pytest

import interop
from derper import REGION, Authority, Derper
from interop import Failed, Talk, Tsnet, Warren, kernel_sink, wait_for
from lab import need

CLOSED, CONNECTING, CONNECTED, FAILED = range(4)


def region(*nodes):
    return {"RegionID": REGION, "RegionCode": "tst", "RegionName": "Test", "Nodes": list(nodes)}


class Peer(Talk):
    """The stock client package, connected to a region."""

    def __init__(self, net, host, nodes, **env):
        text = json.dumps(region(*(dict(n, InsecureForTests=True) for n in nodes)))
        super().__init__(host, "derpclient", "-region", text, **env)
        self.key = self.answer()["key"]

    def packet(self, seconds=5):
        """The next packet; other messages are passed over."""
        while True:
            message = self.ask("receive", Seconds=seconds)
            if message["kind"] == "packet":
                return message


class Node(Warren):
    """Our daemon with the plugin that drives its relay client."""

    def __init__(self, net, derp="", **kw):
        plugins = net.lab.dir / "plugins"
        if not plugins.exists():
            plugins.mkdir()
            for folder in interop.PLUGINS:
                for module in folder.glob("*.so"):
                    if module.name != "paths.so":    # it would be the relay client's consumer
                        shutil.copy(module, plugins)
        self.seen = []
        super().__init__(net, extra=f"derp: {{{derp}}}\ntest.relay: {{}}\n",
                         args=["--plugin-dir", plugins], **kw)
        self.key = net.control.key(self.name)

    def use(self, *nodes):
        relays = {"OmitDefaultRegions": True, "Regions": {str(REGION): region(*nodes)}}
        self.net.control.ask("raw", Key=self.key, Response={"DERPMap": relays})
        self.cli("relayprobe", "home", str(REGION))

    def events(self):
        told = self.json("relayprobe", "events")
        assert told["lost"] == 0
        self.seen += told["events"]
        return self.seen

    def told(self, kind, **fields):
        return [e for e in self.events() if e["kind"] == kind and
                all(e[name] == value for name, value in fields.items())]

    def connected(self, times=1, timeout=15):
        wait_for(f"{times} connections to the relay", lambda: len(
            self.told("state", number=CONNECTED)) >= times, timeout)

    def send(self, key, data, **options):
        return self.json("relayprobe", "send", str(REGION), key, data,
                         *(f"--{name}={value}" for name, value in options.items()))

    def region(self):
        return self.json("derp", "status")["regions"][0]


def exchange(node, peer):
    """A packet each way, and the key that vouches for it."""
    there, back = secrets.token_hex(40), secrets.token_hex(40)
    node.send(peer.key, there)
    got = peer.packet()
    assert (got["from"], got["hex"]) == (node.key, there)
    peer.ask("send", To=node.key, Hex=back)
    wait_for("the packet back", lambda: node.told("packet", key=peer.key, hex=back))


def test_pinned_self_signed(tailnet):
    relay = Derper(tailnet, tailnet.host("relay"))
    node = Node(tailnet)
    at = relay.node(CertName=relay.pin())
    node.use(at)
    node.connected()
    state = node.region()
    assert (state["state"], state["home"], state["node"]) == ("connected", True, "900a")
    assert state["address"] == f"{relay.host.ip4}:443" and state["fast_start"]
    peer = Peer(tailnet, tailnet.host("peer"), [at])
    exchange(node, peer)
    wait_for("the relay counts a home",
             lambda: relay.metric("derp_current_home_connections") == 1)
    # A peer that leaves, and one that never was: disco only is answered.
    peer.kill()
    wait_for("the relay says that the peer left",
             lambda: node.told("gone", key=peer.key, number=0))
    nobody = "nodekey:" + "77" * 32
    node.send(nobody, "5453f09f92ac" + "00" * 74)
    wait_for("the relay says that nobody is there", lambda: node.told("gone", key=nobody, number=1))
    # Another pin is another server.
    node.use(relay.node(CertName="sha256-raw:" + "00" * 32))
    wait_for("the pin does not fit", lambda: node.told("state", number=FAILED))
    assert "not the one that is pinned" in node.region()["error"]


def test_certificate_of_an_authority(tailnet):
    ca = Authority(tailnet.lab.dir)
    relay = Derper(tailnet, tailnet.host("relay"), name="relay.test", ca=ca)
    node = Node(tailnet, f"ca-file: {ca.pem}")
    node.use(relay.node())
    node.connected()
    exchange(node, Peer(tailnet, tailnet.host("peer"), [relay.node()]))
    # It is in nobody's name but its own, unless the map says so.
    node.use(relay.node(CertName="other.test"))
    wait_for("the name does not fit", lambda: node.told("state", number=FAILED))
    assert "hostname mismatch" in node.region()["error"]
    other = Node(tailnet, name="other")
    other.use(relay.node())
    wait_for("nobody vouches for it", lambda: other.told("state", number=FAILED))
    assert "local issuer certificate" in other.region()["error"]
    other.use(relay.node(InsecureForTests=True))
    other.connected()


def test_plain_http(tailnet):
    relay = Derper(tailnet, tailnet.host("relay"), tls=False)
    node = Node(tailnet, "tls: false")
    node.use(relay.node())
    node.connected()
    assert not node.region()["fast_start"]
    # The stock client speaks it at this port only by a debug setting.
    peer = Peer(tailnet, tailnet.host("peer"), [relay.node()], TS_DEBUG_USE_DERP_HTTP="1")
    exchange(node, peer)


def test_a_relay_that_does_not_admit_us(tailnet):
    relay = Derper(tailnet, tailnet.host("relay"), options=(
        "-verify-client-url", "http://127.0.0.1:9/", "-verify-client-url-fail-open=false"))
    node = Node(tailnet)
    node.use(relay.node(CertName=relay.pin()))
    wait_for("it is refused", lambda: node.told("state", number=FAILED))
    assert not node.told("state", number=CONNECTED)
    # The stock relay resets the connection then.
    assert re.search("does it admit this node|cut off|reset", node.region()["error"])
    finding = node.cli("doctor", "derp", check=False).stdout
    assert "our home" in finding and "is TCP to it open" in finding


def test_a_flow(tailnet):
    """More than all queues and buffers hold, both ways; the relay drops what it cannot pass on, so
    the receiver's order is what is judged, and that nothing else came."""
    relay = Derper(tailnet, tailnet.host("relay"))
    node = Node(tailnet)
    at = relay.node(CertName=relay.pin())
    node.use(at)
    node.connected()
    peer = Peer(tailnet, tailnet.host("peer"), [at])
    peer.ask("send", To=node.key, Hex="ab" * 1200, Count=3000)
    exchange(node, peer)
    got = node.told("packet", key=peer.key, number=1200)
    assert 30 < len(got) <= 3000
    assert all(e["hex"] == "ab" * 64 for e in got)
    sent = node.send(peer.key, "cd" * 1200, count=3000)
    assert sent["result"] == 0
    state = wait_for("the queue is empty", lambda: (
        lambda s: s if s["tx_packets"] + s["dropped"] >= 3001 else None)(node.region()))
    assert state["dropped"] == 3000 - 128       # in one turn of the loop: those are what may wait
    for _ in range(30):
        assert peer.packet()["hex"] == "cd" * 1200


def test_the_second_node(tailnet):
    hosts = [tailnet.host("relay1"), tailnet.host("relay2")]
    first, second = (Derper(tailnet, host) for host in hosts)
    nodes = [first.node("900a", CertName=first.pin()), second.node("900b", CertName=second.pin())]
    node = Node(tailnet)
    node.use(*nodes)
    node.connected()
    assert node.region()["node"] == "900a"
    first.stop()
    wait_for("the connection is lost", lambda: node.told("state", number=FAILED))
    node.connected(2)
    assert node.region()["node"] == "900b"
    # It is told which one we would rather have.
    wait_for("the relay knows that it is not the first",
             lambda: second.metric("derp_current_notideal_connections") == 1)
    exchange(node, Peer(tailnet, tailnet.host("peer"), nodes[1:]))
    first.start()
    second.stop()
    node.connected(3)
    assert node.region()["node"] == "900a"


def test_through_a_proxy(tailnet):
    missing = need("tinyproxy")
    if missing:
        pytest.skip(f"not installed: {missing}")
    proxy, relay = tailnet.host("proxy"), Derper(tailnet, tailnet.host("relay"))
    config = tailnet.lab.dir / "tinyproxy.conf"
    config.write_text("Port 3128\nMaxClients 20\nTimeout 600\nBasicAuth user word\n"
                      "ConnectPort 443\n")
    proxy.start("tinyproxy", "-d", "-c", config, private=False)
    wait_for("tinyproxy listens", lambda: ":3128 " in proxy.run("ss", "-ltn").stdout)
    secret = tailnet.lab.secret("proxy-auth", "user:word")
    node = Node(tailnet, f"proxy: 'http://{proxy.ip4}:3128', proxy-auth: {{file: {secret}}}")
    at = relay.node(CertName=relay.pin())
    node.use(at)
    node.connected()
    assert node.region()["address"] == f"{proxy.ip4}:3128"
    exchange(node, Peer(tailnet, tailnet.host("peer"), [at]))


def test_the_relay_of_a_control_server(tailnet):
    """The map as it comes with the first answer; the peer is whoever asks first."""
    node = Node(tailnet)
    relays = tailnet.control.ask("relays")["Regions"]["1"]
    node.cli("relayprobe", "home", "1")
    node.connected()
    peer = Peer(tailnet, tailnet.host("peer"), relays["Nodes"])
    peer.ask("send", To=node.key, Hex="aabb")
    wait_for("the packet", lambda: node.told("packet", key=peer.key, hex="aabb"))
    # Its home is not known: by the way that it came.
    answer = node.json("relayprobe", "send", "0", peer.key, "ccdd")
    assert answer == {"result": 0, "via": 1}
    assert peer.packet()["hex"] == "ccdd"
    with pytest.raises(Failed):
        peer.ask("receive", Seconds=0.2)


def test_peers_without_udp(tailnet):
    """Data plane, paths and relay together: a stock node that no datagram of ours reaches."""
    node = Warren(tailnet, extra="paths: {}\nderp: {}\n")
    peer = Tsnet(tailnet)
    rules = "\n".join(
        f"  chain {hook} {{ type filter hook {hook} priority 0; "
        f"udp sport {interop.PORT} {family} {end} {address} drop; }}"
        for hook, end in (("output", "daddr"), ("input", "saddr"))
        for family, address in (("ip", peer.host.ip4), ("ip6", peer.host.ip6)))
    node.host.run("nft", "-f", "-", input=f"table inet apart {{\n{rules}\n}}\n")
    wait_for("the home is connected",
             lambda: node.json("derp", "status")["regions"][0]["state"] == "connected", 30)
    node.pings(peer.ip4, 30)
    peer.pings(node.ip4, timeout=30)
    sink = kernel_sink(node.host, node.ip4, 8081)
    peer.sends(node.ip4, 8081, 4)
    sink.popen.wait(30)
    state = node.json("derp", "status")["regions"][0]
    assert state["rx_bytes"] > 4 << 20 and state["tx_packets"] > 0
