"""Relays of one region: two of ours and a stock one, each of which dials the others."""

import secrets

from interop import BIN, Failed, Tailnet, wait_for
from lab import Daemon
from derper import Authority, Derper
from test_relay import Peer


class Net(Tailnet):
    def begin(self):
        pass


class StockRelay(Derper):
    """With a mesh: it trusts our authority, and knows the others by name and address."""

    def __init__(self, net, host, ca, key, mates):
        self.ca, self.mesh = ca, ("-mesh-psk-file", key, "-mesh-with", ",".join(mates))
        super().__init__(net, host, name="stock.test", ca=ca)

    def start(self):
        self.proc = self.host.start(
            "env", f"SSL_CERT_FILE={self.ca.pem}", BIN / "derper", "-a", f":{self.port}",
            "-http-port", "-1", "-stun=false", "-hostname", self.name, "-c",
            self.folder / "derper.conf", "-certmode", "manual", "-certdir", self.folder,
            *self.mesh, log=self.folder / f"log-{secrets.token_hex(3)}", private=False)
        wait_for("derper listens",
                 lambda: f":{self.port} " in self.host.run("ss", "-ltn").stdout)


class OurRelay(Daemon):
    def __init__(self, net, host, ca, key, mates):
        self.name = f"{host.name}.test"
        folder = net.lab.dir / f"cert-{host.name}"
        folder.mkdir()
        ca.sign(self.name, folder)
        mine = net.lab.secret(f"{host.name}.key", (folder / f"{self.name}.key").read_text())
        super().__init__(host, (
            f"front: {{tls: {{cert: {folder / self.name}.crt, key: {mine}}}, http-port: 0}}\n"
            f"relay: {{verify: anyone, stun-port: 0, ca-file: {ca.pem}, mesh-key: {{file: {key}}},"
            f" mesh-with: [{', '.join(mates)}]}}\n"))

    def node(self):
        return {"Name": "900a", "RegionID": 900, "HostName": self.name, "IPv4": self.host.ip4,
                "IPv6": "none", "STUNPort": -1, "DERPPort": 443}

    def mates(self):
        return {m["host"]: m for m in self.json("relay", "status")["mesh"]}


def passes(one, two):
    """Until the relays know of both, packets for the other are lost."""
    def arrives():
        text = secrets.token_hex(40)
        one.ask("send", To=two.key, Hex=text)
        try:
            while two.packet(0.3) != {"kind": "packet", "from": one.key, "hex": text}:
                pass                             # of a try before, and late
            return True
        except Failed:
            return False
    wait_for(f"a packet from {one.key} to {two.key}", arrives, 20)


def hears_that_it_left(peer, other):
    message = {"kind": "packet"}
    while message["kind"] == "packet":
        message = peer.ask("receive", Seconds=5)
    assert message["kind"] == "gone" and message["from"] == other.key, message


def test_two_of_ours_and_a_stock_one(lab):
    net = Net(lab)
    ca = Authority(lab.dir)
    hosts = [net.host(name) for name in ("first", "second", "stock")]
    key = lab.secret("mesh.key", secrets.token_hex(32) + "\n")
    mates = [f"{host.name}.test/{host.ip4}" for host in hosts]
    first, second = (OurRelay(net, host, ca, key, mates) for host in hosts[:2])
    stock = StockRelay(net, hosts[2], ca, key, mates[:2])
    for ours in (first, second):
        wait_for("it reaches all others",
                 lambda ours=ours: all(m["connected"] for m in ours.mates().values()), 20)
        assert [m["host"] for m in ours.mates().values() if m["ourselves"]] == [ours.name]
        assert ours.cli("doctor", "relay.mesh", check=False).returncode == 0
    peers = [Peer(net, net.host(name), [relay.node()])
             for name, relay in (("a", first), ("b", second), ("c", stock))]
    for one in peers:
        for two in peers:
            if one is not two:
                passes(one, two)
    assert first.json("relay", "status")["peers"] == 3      # the client, and two relays
    a, b, c = peers
    for leaving in (c, b):
        leaving.popen.stdin.close()
        leaving.popen.wait(5)
        hears_that_it_left(a, leaving)
    stock.stop()
    wait_for("it is missed", lambda: not first.mates()["stock.test"]["connected"])
    assert "stock.test" in first.cli("doctor", "relay.mesh", check=False).stdout
    stock.start()
    wait_for("it is back", lambda: first.mates()["stock.test"]["connected"], 20)
    d = Peer(net, net.host("d"), [stock.node()])
    passes(d, a)
    passes(a, d)
    # Who has not the key is a client as any other.
    first.write(first.config.read_text().replace(str(key), str(
        lab.secret("other.key", secrets.token_hex(32)))))
    first.cli("reload")
    wait_for("it is not let in as a relay", lambda: not [
        m for m in second.json("relay", "status")["connections"]
        if m["mesh"] and m["address"].startswith(first.host.ip4 + ":")], 20)
