"""Our relay, beside our coordinator: stock nodes and our daemon that reach each other by it alone,
and the stock relay client."""

import re
import secrets

from interop import Failed, Ours, OwnTailnet, Tailscaled, Tsnet, Warren, kernel_sink, wait_for
from lab import Daemon
from test_relay import Peer

ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}


class WithRelay(Ours):
    """One daemon is coordinator and relay; clients know its certificate by the pin alone."""

    def __init__(self, net):
        self.net = net
        self.url = f"http://{net.CONTROL}:8080"
        self.policy = net.lab.dir / "policy.hujson"
        self.set_policy(ALL)
        Daemon.__init__(self, net.switch, self.text(), name="-coordinator")

    def text(self, relay="code: tst"):
        return (f"coordinator:\n  url: {self.url}\n  listen: 0.0.0.0:8080\n"
                f"  base-domain: {self.DOMAIN}\n  policy: {self.policy}\n"
                f"front: {{tls: self-signed}}\nrelay: {{{relay}}}\n")

    def clients(self):
        return self.json("relay", "status")["connections"]

    def region_node(self):
        return {"Name": "900a", "RegionID": 900, "HostName": self.net.CONTROL,
                "IPv4": self.net.CONTROL, "IPv6": "none", "STUNPort": -1, "DERPPort": 443}


class RelayTailnet(OwnTailnet):
    def begin(self):
        self.control = WithRelay(self)


def without_udp(host):
    """None but STUN."""
    host.run("nft", "-f", "-", input="table inet apart {\n" + "\n".join(
        f" chain {hook} {{ type filter hook {hook} priority 0;"
        f" iifname eth0 udp sport != 3478 drop; oifname eth0 udp dport != 3478 drop; }}"
        for hook in ("input", "output")) + "\n}\n")


def test_nodes_that_reach_each_other_by_it_alone(lab):
    net = RelayTailnet(lab)
    relay = net.control
    relay.user("alice")
    auth_key = relay.auth_key("--user", "alice", "--reusable")
    hosts = {name: net.host(name) for name in ("tsnet", "warren")}
    for host in hosts.values():
        without_udp(host)
    stock = Tailscaled(net, up=None)
    without_udp(stock.host)
    stock.up(f"--auth-key={auth_key}")
    tsnet = Tsnet(net, host=hosts["tsnet"], auth_key=auth_key)
    ours = Warren(net, host=hosts["warren"], auth_key=auth_key, joined=False,
                  extra="paths: {}\nderp: {}\n")
    wait_for("all are at home", lambda: sum(c["home"] for c in relay.clients()) == 3, 40)
    ours.ip4 = relay.node("warren")["addresses"][0]
    stock.pings(tsnet.ip4)
    tsnet.pings(ours.ip4)
    ours.pings(stock.ip4)
    text = stock.cli("ping", "--c=1", "--timeout=5s", tsnet.ip4, check=False).stdout
    assert "via DERP(tst)" in text, text
    sink = kernel_sink(ours.host, ours.ip4, 8081)
    tsnet.sends(ours.ip4, 8081, 4)
    sink.popen.wait(30)
    report = stock.cli("netcheck").stdout
    assert re.search(r"\* UDP: true$", report, re.M), report
    assert re.search(rf"\* IPv4: yes, {re.escape(stock.host.ip4)}:", report), report
    assert re.search(r"- tst: [0-9.]+(ms|µs)", report), report
    assert "CaptivePortal: true" not in report, report
    assert ours.json("derp", "status")["regions"][0]["fast_start"]
    keys = {c["key"] for c in relay.clients()}
    assert len(keys) == 3 and tsnet.key in keys
    try:
        Peer(net, net.host("stranger"), [relay.region_node()])
    except Failed:                           # the stock library learns of it now, or later
        pass
    wait_for("it is refused", lambda: relay.json("relay", "status")["refused"])
    assert {c["key"] for c in relay.clients()} == keys
    relay.write(relay.text("code: tst, verify: anyone"))
    relay.cli("reload")
    by_the_stock_library(net, relay)
    over_websocket(net, relay)


def by_the_stock_library(net, relay, names=("one", "two"), **env):
    one, two = (Peer(net, net.host(name), [relay.region_node()], **env) for name in names)
    wait_for("both are there", lambda: {one.key, two.key} <= {c["key"] for c in relay.clients()})
    big = secrets.token_hex(65000)
    one.ask("send", To=two.key, Hex="aabb")
    assert two.packet() == {"kind": "packet", "from": one.key, "hex": "aabb"}
    two.ask("send", To=one.key, Hex=big)
    assert one.packet()["hex"] == big
    one.ask("ping", Seconds=5)
    one.ask("prefer", On=True)
    wait_for("its home", lambda: [c["home"] for c in relay.clients() if c["key"] == one.key][0])
    two.popen.stdin.close()
    two.popen.wait(5)
    gone = one.ask("receive", Seconds=5)
    assert gone["kind"] == "gone" and gone["from"] == two.key and gone.get("reason", 0) == 0


def over_websocket(net, relay):
    """As in a browser, which knows a certificate by who vouches for it and by its names: ours is
    for the address, and for itself here."""
    pem = net.lab.dir / "relay.pem"
    place = f"{net.CONTROL}:443"
    pem.write_text(relay.host.run("sh", "-c", f"echo | openssl s_client -connect {place} "
                                  "2>/dev/null | openssl x509").stdout)
    before = relay.metric("warren_relay_websockets")
    by_the_stock_library(net, relay, ("three", "four"), TS_DEBUG_DERP_WS_CLIENT="1",
                         SSL_CERT_FILE=str(pem))
    assert relay.metric("warren_relay_websockets") >= before + 2


class OwnRelay(WithRelay):
    """The same without front: the relay has a port and a certificate of its own."""

    def text(self, relay="code: tst"):
        return (f"coordinator:\n  url: {self.url}\n  listen: 0.0.0.0:8080\n"
                f"  base-domain: {self.DOMAIN}\n  policy: {self.policy}\n"
                f"relay: {{listen: ':443', listen-http: ':80', {relay}}}\n")


class OwnRelayTailnet(OwnTailnet):
    def begin(self):
        self.control = OwnRelay(self)


def test_by_a_listener_of_its_own(lab):
    net = OwnRelayTailnet(lab)
    relay = net.control
    relay.user("alice")
    auth_key = relay.auth_key("--user", "alice", "--reusable")
    stock = Tailscaled(net, up=None)
    host = net.host("warren")
    for each in (stock.host, host):
        without_udp(each)
    stock.up(f"--auth-key={auth_key}")
    ours = Warren(net, host=host, auth_key=auth_key, joined=False, extra="paths: {}\nderp: {}\n")
    wait_for("both are at home", lambda: sum(c["home"] for c in relay.clients()) == 2, 40)
    ours.ip4 = relay.node("warren")["addresses"][0]
    stock.pings(ours.ip4)
    text = stock.cli("ping", "--c=1", "--timeout=5s", ours.ip4, check=False).stdout
    assert "via DERP(tst)" in text, text
    report = stock.cli("netcheck").stdout
    assert re.search(r"- tst: [0-9.]+(ms|µs)", report), report
    assert "CaptivePortal: true" not in report, report
    assert ours.json("derp", "status")["regions"][0]["fast_start"]
    relay.write(relay.text("code: tst, verify: anyone"))
    relay.cli("reload")
    by_the_stock_library(net, relay)
    over_websocket(net, relay)
    assert sum(c["home"] for c in relay.clients()) >= 2     # whom the reload left alone
