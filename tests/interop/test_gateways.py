"""Exit nodes and subnet routers: ours for stock nodes, stock ones for ours; and two of ours."""

import os
import re
import signal
import sys

import pytest

from interop import OwnTailnet, Tailscaled, Warren, wait_for
from gateway import CLIENT, SERVER      # of tests/lab; interop has put it on the path

PORT = 7000
NET, NET6 = "198.51.100.2", "2001:db8:51::2"
BEHIND = "10.60.0.2"
ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}


class Net(OwnTailnet):
    """With an Internet behind the switch, which is no network of a node's own."""

    def begin(self, *options):
        super().begin(*options)
        self.switch.sysctl("net.ipv4.ip_forward", 1)
        self.switch.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.switch.ip("addr", "add", "fe80::1/64", "dev", "br0", "nodad")
        self.net = self.lab.host("net")
        self.lab.wire(self.switch, self.net, "198.51.100.1/24,2001:db8:51::1/64,fe80::1/64",
                      f"{NET}/24,{NET6}/64")
        self.net.ip("route", "add", "default", "via", "198.51.100.1")
        self.net.ip("-6", "route", "add", "default", "via", "2001:db8:51::1")
        self.serve(self.net)

    def serve(self, host):
        proc = host.start(sys.executable, "-c", SERVER, PORT, private=False,
                          log=self.lab.dir / f"serve-{host.name}.log")
        wait_for(f"{host.name} serves", lambda: "listening" in proc.output())

    def behind(self, router):
        """A host behind that one, with 10.60.0.2."""
        host = self.lab.host(f"behind-{router.name}")
        self.lab.wire(router, host, "10.60.0.1/24", f"{BEHIND}/24")
        host.ip("route", "add", "default", "via", "10.60.0.1")
        self.serve(host)
        return host


@pytest.fixture
def net(lab):
    one = Net(lab, ALL)
    one.control.user("alice")
    yield one
    assert one.control.proc.alive(), one.control.log()


def key(net):
    return net.control.auth_key("--user", "alice", "--reusable")


def ask(host, address, timeout=2):
    done = host.run(sys.executable, "-c", CLIENT, address, PORT, timeout, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def seen_as(host, address, source, timeout=30):
    wait_for(f"{address} sees {source} where {host.name} asks",
             lambda: ask(host, address) == source, timeout)


def our(net, name="warren", extra=""):
    warren = Warren(net, name, extra=extra, auth_key=key(net), joined=False)
    wait_for("it runs", lambda: warren.control()["state"] == "Running", 20)
    node = wait_for("the coordinator knows it", lambda: net.control.node(name))
    warren.ip4, warren.ip6 = node["addresses"]
    return warren


def test_our_gateway_uses_stock_ones(net):
    stock = Tailscaled(net, "gate", up=(f"--auth-key={key(net)}", "--advertise-exit-node",
                                        "--advertise-routes=10.60.0.0/24"))
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        stock.host.sysctl(name, 1)
    stock.host.ip("addr", "add", "fe80::9/64", "dev", "eth0", "nodad")
    net.behind(stock.host)
    warren = our(net, extra="router: {accept: true}\n")
    refused = warren.cli("set", "--exit-node=gate", check=False)
    assert refused.returncode == 1
    assert 'node "gate" is not advertising an exit node' in refused.stderr
    net.control.cli("route", "approve", "gate", "10.60.0.0/24", "exit")
    seen_as(warren.host, BEHIND, "10.60.0.1")
    assert ask(warren.host, NET) == warren.host.ip4
    wait_for("it is listed", lambda: "gate.tail.test" in
             warren.cli("exit-node", "list", check=False).stdout)
    warren.cli("set", "--exit-node=gate")
    seen_as(warren.host, NET, stock.host.ip4)
    seen_as(warren.host, NET6, stock.host.ip6)
    seen_as(warren.host, BEHIND, "10.60.0.1")
    listed = warren.cli("exit-node", "list").stdout
    assert re.search(rf"{re.escape(stock.ip4)} +gate\.tail\.test +- +- +selected", listed), listed
    assert "exit node" in next(line for line in warren.cli("status").stdout.splitlines()
                               if line.startswith(stock.ip4))
    gate = next(p for p in warren.status()["Peer"].values() if p["HostName"] == "gate")
    assert gate["ExitNode"] and gate["ExitNodeOption"]
    # Server and relays are reached past it, also anew.
    net.control.cli("status")
    pid = warren.engine_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for("another engine", lambda: warren.engine_pid() not in (None, pid))
    warren.ready()
    wait_for("it is connected", lambda: warren.control()["connected"], 20)
    seen_as(warren.host, NET, stock.host.ip4)
    # It is no way to the internet any more: nothing leaves.
    net.control.cli("route", "revoke", "gate", "exit", "--yes")
    wait_for("it is seen", lambda: warren.status()["exitnode"]["use"]["state"] == "not-offered")
    assert ask(warren.host, NET) is None and ask(warren.host, NET6) is None
    warren.cli("set", "--exit-node=")
    seen_as(warren.host, NET, warren.host.ip4)


def test_stock_node_uses_our_gateway(net):
    warren = our(net, "gate", extra="router: {advertise: [10.60.0.0/24]}\n"
                 "exitnode: {advertise: true}\n")
    warren.host.ip("addr", "add", "fe80::9/64", "dev", "eth0", "nodad")
    net.behind(warren.host)
    net.control.cli("route", "approve", "gate", "10.60.0.0/24", "exit")
    stock = Tailscaled(net, up=(f"--auth-key={key(net)}", "--accept-routes"))
    neighbour = net.host("neighbour")
    net.serve(neighbour)
    seen_as(stock.host, BEHIND, "10.60.0.1")
    assert ask(stock.host, NET) == stock.host.ip4
    wait_for("it sees an exit node", lambda: stock.peer("gate")["ExitNodeOption"])
    stock.cli("set", "--exit-node=gate")
    seen_as(stock.host, NET, warren.host.ip4)
    seen_as(stock.host, NET6, warren.host.ip6)
    seen_as(stock.host, BEHIND, "10.60.0.1")
    assert ask(stock.host, neighbour.ip4) is None
    stock.cli("set", "--exit-node-allow-lan-access")
    seen_as(stock.host, neighbour.ip4, stock.host.ip4)
    seen_as(stock.host, NET, warren.host.ip4)
    stock.cli("set", "--exit-node=")
    seen_as(stock.host, NET, stock.host.ip4)


def test_another_gateway_of_ours_takes_over(lab):
    net = Net(lab, ALL, "\n  probe-interval: 4s")
    net.control.user("alice")
    gates = [our(net, name, extra="router: {advertise: [10.60.0.0/24]}\n")
             for name in ("gw1", "gw2")]
    for gate in gates:
        net.behind(gate.host)
        net.control.cli("route", "approve", gate.name, "10.60.0.0/24")
    warren = our(net, extra="router: {accept: true}\n")
    stock = Tailscaled(net, up=(f"--auth-key={key(net)}", "--accept-routes"))

    def primary():
        return [n["name"] for n in net.control.nodes() if n["primary"] == ["10.60.0.0/24"]]

    wait_for("one serves", lambda: primary() == ["gw1"])
    for one in (warren, stock):
        seen_as(one.host, BEHIND, "10.60.0.1")
    gates[0].proc.kill()
    wait_for("the other one serves", lambda: primary() == ["gw2"], 60)
    for one in (warren, stock):
        seen_as(one.host, BEHIND, "10.60.0.1")
