"""`warren relay check` on the stock relay and on ours."""

import json
import re

from lab import BINDIR, Daemon
from test_our_relay import RelayTailnet
from derper import Authority, Derper


class Looker(Daemon):
    """A daemon that is neither node nor relay."""

    def __init__(self, net):
        super().__init__(net.host("looker"), "", name="-looker")

    def check(self, *argv):
        """Exit status, and the checks by name; of several of a name the last."""
        done = self.cli("relay", "check", *argv, "--json", check=False)
        answer = json.loads(done.stdout)
        assert answer["ok"] == (done.returncode == 0), done.stdout
        self.texts = {c["check"]: c["text"] for c in answer["checks"]}
        return done.returncode, {c["check"]: c["result"] for c in answer["checks"]}


def results(**other):
    every = {name: "ok" for name in (
        "name", "tcp", "certificate", "probe", "upgrade", "fast-start", "key", "login", "packet",
        "latency", "stun", "port80")}
    return {**every, "name": "left-out", **{k.replace("_", "-"): v for k, v in other.items()}}


def test_the_stock_relay_and_ours(lab):
    net = RelayTailnet(lab)
    looker = Looker(net)
    the_stock_relay(net, looker)
    ours(net, looker)


def the_stock_relay(net, looker):
    host = net.host("derper")
    ca = Authority(net.lab.dir)
    stock = Derper(net, host, name="relay.test", ca=ca, options=("-stun", "-http-port", "80"))
    at = ("relay.test", "--address", host.ip4)
    assert looker.check(*at, "--ca-file", ca.pem, "--anyone") == (
        0, results(certificate="warning"))
    assert re.search("but it ends in [12] day", looker.texts["certificate"])
    assert looker.texts["stun"].startswith("UDP port 3478 sees us as ")
    # Nobody vouches for it here: all else is looked at nevertheless.
    assert looker.check(*at) == (1, results(certificate="failed"))
    assert "issuer" in looker.texts["certificate"]
    stock.stop()
    # Whoever looks may lose patience, in the first steps and in the last ones.
    for options in (("192.0.2.250",), ("relay.test", "--address", host.ip4)):
        done = looker.host.run("timeout", "-s", "INT", "0.3", BINDIR / "warren", "--socket",
                               looker.socket, "relay", "check", *options, check=False)
        assert done.returncode == 124, done.stdout
    dead = looker.check(*at)
    assert dead[0] == 1 and dead[1]["tcp"] == dead[1]["stun"] == dead[1]["port80"] == "failed"
    assert "TCP port 443" in looker.texts["tcp"] and dead[1]["packet"] == "left-out"


def ours(net, looker):
    relay = net.control
    url = net.CONTROL
    status, told = looker.check(url)
    assert (status, told["certificate"], told["packet"]) == (1, "failed", "left-out")
    pin = re.search("--pin (sha256-raw:[0-9a-f]{64})", looker.texts["certificate"])[1]
    closed = results(packet="left-out", latency="left-out", name="ok")
    assert looker.check(url, "--pin", pin) == (0, closed)
    assert looker.texts["key"] == relay.json("relay", "status")["key"]
    assert looker.check(url, "--pin", pin, "--anyone") == (1, {**closed, "login": "failed"})
    relay.write(relay.text("code: tst, verify: anyone, stun-port: 0"))
    relay.cli("reload")
    assert looker.check(url, "--pin", pin) == (1, results(name="ok", stun="failed"))
    assert looker.check(url, "--pin", pin, "--stun-port", "0") == (
        0, results(name="ok", stun="left-out"))
    text = looker.cli("relay", "check", url, "--pin", pin, check=False).stdout
    assert re.search(r"^packet +ok +from one key to another; \d+\.\d ms$", text, re.M), text
    assert re.search(r"^stun +failed +no answer from UDP port 3478: ", text, re.M), text
    assert looker.check(f"http://{url}:80", "--stun-port", "0")[0] == 1
