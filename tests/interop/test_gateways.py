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


def resolver(net, port, answer):
    """dnsmasq on the Internet's host, which knows example.org."""
    proc = net.net.start(
        "dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv", "--no-hosts",
        "--bind-interfaces", f"--listen-address={NET}", f"--port={port}", "--log-queries",
        "--log-facility=-", "--pid-file=", f"--address=/example.org/{answer}", private=False,
        log=net.lab.dir / f"dnsmasq-{port}.log")
    wait_for("dnsmasq serves", lambda: "started" in proc.output())
    return proc


def questions(net, host):
    """Whether any left that host for its uplink; a function that lists them."""
    log = net.lab.dir / f"questions-{host.name}.log"
    proc = host.start("tcpdump", "-n", "-l", "-i", "eth0", "-p", "-Q", "out", "--immediate-mode",
                      "port 53 or port 5353", private=False, log=log)
    wait_for("tcpdump listens", lambda: "listening on" in proc.output())
    return lambda: [line for line in proc.output().splitlines() if " IP" in line]


def resolved(host, name):
    done = host.run("dig", "+short", "+time=6", "+tries=1", "@100.100.100.100", name, check=False)
    return done.stdout.split() if done.returncode == 0 else None


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


def calls_taken(host):
    """Of TCP, since the host is there."""
    names, values = (line.split() for line in host.run("cat", "/proc/net/snmp").stdout.splitlines()
                     if line.startswith("Tcp:"))
    return int(values[names.index("PassiveOpens")])


def test_two_sites_with_one_network(net):
    """4via6: the stock routers translate, and we go there."""
    routes, behind = {}, {}
    warren = our(net, extra="router: {accept: true}\ndns: {}\n")
    for site in (7, 8):
        routes[site] = warren.cli("debug", "via", site, "10.60.0.0/24").stdout.strip()
        gate = Tailscaled(net, f"gate{site}", up=(f"--auth-key={key(net)}",
                                                  f"--advertise-routes={routes[site]}"))
        gate.host.sysctl("net.ipv6.conf.all.forwarding", 1)
        behind[site] = net.behind(gate.host)
        net.control.cli("route", "approve", gate.name, routes[site])
        # What both take and refuse, in the same words.
        for args in ((str(site), "10.60.0.0/24"), (hex(site), "10.60.0.2/32"), (routes[site],),
                     ("70000", "10.60.0.0/24"), ("fd00::/96",), (routes[site][:-3] + "90",),
                     ("10.60.0.0/24",), ("7", "fd00::/96"), ("x7", "10.60.0.0/24")):
            theirs, ours = (who.cli("debug", "via", *args, check=False) for who in (gate, warren))
            assert (theirs.returncode, theirs.stdout) == (ours.returncode, ours.stdout), args
            assert theirs.returncode == 0 or theirs.stderr.strip() in ours.stderr, args
    for site in (7, 8, 7):
        address = f"fd7a:115c:a1e0:b1a:0:{site}:a3c:2"
        before = {n: calls_taken(host) for n, host in behind.items()}
        seen_as(warren.host, address, "10.60.0.1")
        assert {n for n, host in behind.items() if calls_taken(host) > before[n]} == {site}
        warren.host.pings(address)
        said = warren.cli("dns", "query", f"10-60-0-2-via-{site}", "AAAA").stdout
        assert address in said, said


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


def test_stock_node_asks_our_gateway_for_names(lab):
    net = Net(lab, ALL, f"\n  dns: {{nameservers: [{NET}]}}")
    net.control.user("alice")
    plain, its = resolver(net, 53, "198.51.100.77"), resolver(net, 5353, "198.51.100.88")
    warren = our(net, "gate", extra="exitnode: {advertise: true}\n"
                 f"dns: {{host: off, upstream: ['{NET}:5353']}}\n")
    net.control.cli("route", "approve", "gate", "exit")
    stock = Tailscaled(net, up=(f"--auth-key={key(net)}",))
    seen = questions(net, stock.host)
    wait_for("the network's resolver is asked",
             lambda: resolved(stock.host, "a.example.org") == ["198.51.100.77"])
    assert any("a.example.org" in line for line in seen())
    wait_for("it sees an exit node", lambda: stock.peer("gate")["ExitNodeOption"])
    stock.cli("set", "--exit-node=gate")
    wait_for("ours is asked", lambda: resolved(stock.host, "b.example.org") == ["198.51.100.88"],
             30)
    before = len(seen())
    for n in range(20):
        assert resolved(stock.host, f"name-{n}.example.org") == ["198.51.100.88"]
    assert f"name-7.example.org from {warren.host.ip4}" in its.output()
    assert "name-7.example.org" not in plain.output()
    assert resolved(stock.host, "gate.tail.test") == [warren.ip4]
    assert len(seen()) == before, seen()
    # So does its own command.
    said = stock.cli("dns", "query", "c.example.org").stdout
    assert "198.51.100.88" in said and "/dns-query" in said, said


def test_our_node_asks_stock_gateways_for_names(lab):
    net = Net(lab, ALL, f"\n  dns: {{nameservers: [{NET}]}}")
    net.control.user("alice")
    asked = resolver(net, 53, "198.51.100.77")
    stock = Tailscaled(net, "gate", up=(f"--auth-key={key(net)}", "--advertise-exit-node"))
    for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        stock.host.sysctl(name, 1)
    net.control.cli("route", "approve", "gate", "exit")
    warren = our(net, extra="dns: {host: off}\n")
    seen = questions(net, warren.host)
    wait_for("the network's resolver is asked",
             lambda: resolved(warren.host, "a.example.org") == ["198.51.100.77"])
    assert f"a.example.org from {warren.host.ip4}" in asked.output()
    assert any("a.example.org" in line for line in seen())
    wait_for("it is listed", lambda: "gate.tail.test" in
             warren.cli("exit-node", "list", check=False).stdout)
    before = len(seen())
    warren.cli("set", "--exit-node=gate")
    wait_for("the exit node is to be asked", lambda: any(
        r["Addr"].startswith(f"http://{stock.ip4}:") and r["Addr"].endswith("/dns-query")
        for r in warren.json("dns", "status")["Resolvers"]))
    wait_for("it is asked", lambda: resolved(warren.host, "b.example.org") == ["198.51.100.77"],
             20)
    answered = warren.metric('warren_dns_resolvers{result="answered"}')
    for n in range(20):
        assert resolved(warren.host, f"name-{n}.example.org") == ["198.51.100.77"]
    assert warren.metric('warren_dns_resolvers{result="answered"}') == answered + 20
    assert f"name-7.example.org from {stock.host.ip4}" in asked.output()
    assert "by HTTP, through the tunnel: answers in" in \
        warren.cli("dns", "why", "d.example.org").stdout
    assert resolved(warren.host, "gate.tail.test") == [stock.ip4]
    assert len(seen()) == before, seen()
    # It goes: nobody else is asked.
    stock.proc.kill(signal.SIGSTOP)
    assert not resolved(warren.host, "lost.example.org")
    assert "lost.example.org" not in asked.output() and len(seen()) == before
    stock.proc.kill(signal.SIGCONT)
    wait_for("it is asked again",
             lambda: resolved(warren.host, "back.example.org") == ["198.51.100.77"], 30)
