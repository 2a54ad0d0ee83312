"""One tailnet of four stock nodes and two of our gateways, whose coordinator is ours."""

import concurrent.futures
import datetime
import json
import re

import pytest

from interop import SINK, Failed, OwnTailnet, Tailscaled, Tsnet, Warren, wait_for

TAGS = {"tagOwners": {"tag:gw": [], "tag:db": []}}
ALL = {**TAGS, "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
SOME = {**TAGS, "grants": [
    {"src": ["alice@"], "dst": ["alice@"], "ip": ["*"]},
    {"src": ["alice@"], "dst": ["tag:gw"], "ip": [f"tcp:{SINK}"]},
    {"src": ["tag:gw"], "dst": ["bob@"], "ip": [f"tcp:{SINK + 1}"]}]}

SERVE = f"""
import socket
server = socket.create_server(("::", {SINK}), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
while True:
    server.accept()[0].close()
"""
DIAL = f"""
import json, socket, sys, threading
reached = []
def dial(address):
    try:
        socket.create_connection((address, {SINK}), 1.5).close()
        reached.append(address)
    except OSError:
        pass
threads = [threading.Thread(target=dial, args=(a,)) for a in sys.argv[1:]]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps(reached))
"""


class Node:
    """A member of the matrix: who owns it, and how it reaches others."""

    def __init__(self, one, name, owner):
        self.one, self.name, self.owner = one, name, owner
        self.host = one.host
        if not isinstance(one, Tsnet):
            served = self.host.start("/usr/bin/python3", "-c", SERVE, private=False,
                                     log=self.host.lab.dir / f"serve-{name}.log")
            wait_for("it serves", lambda: "listening" in served.output())

    def dials(self, addresses):
        """Those that a TCP connection reaches."""
        if isinstance(self.one, Tsnet):
            return {a for a in addresses if self.one.reaches(a, SINK, seconds=1)}
        return set(json.loads(self.host.run("/usr/bin/python3", "-c", DIAL, *addresses).stdout))

    def pinged(self, address):
        if isinstance(self.one, Tsnet):
            try:
                return bool(self.one.ping(address, seconds=1))
            except Failed:
                return False
        return self.host.ping(address, wait=1, check=False).returncode == 0

    def sees(self):
        """Names of the peers in its status."""
        if isinstance(self.one, Warren):
            return {p["name"].partition(".")[0] for p in self.one.status()["wg"]["peers"]}
        status = self.one.ask("status") if isinstance(self.one, Tsnet) else self.one.status()
        return {p["DNSName"].partition(".")[0] for p in (status["Peer"] or {}).values()}


class Matrix:
    """All ordered pairs, asked of all nodes at the same time."""

    def __init__(self, nodes):
        self.nodes = nodes

    def of(self, ask):
        with concurrent.futures.ThreadPoolExecutor(len(self.nodes)) as pool:
            return dict(zip((n.name for n in self.nodes), pool.map(ask, self.nodes)))

    def others(self, node):
        return [n for n in self.nodes if n is not node]

    def tcp(self):
        def ask(node):
            reached = node.dials([n.one.ip4 for n in self.others(node)])
            return {n.name for n in self.others(node) if n.one.ip4 in reached}
        return self.of(ask)

    def ping(self, family="ip6"):
        return self.of(lambda node: {n.name for n in self.others(node)
                                     if node.pinged(getattr(n.one, family))})

    def seen(self):
        return self.of(lambda node: node.sees())

    def expected(self, allowed):
        return {n.name: {m.name for m in self.others(n) if allowed(n, m)} for n in self.nodes}

    def becomes(self, tcp, ping):
        """The matrix is what those functions of two nodes say; who may not talk is not seen."""
        def seen(a, b):
            return any(f(x, y) for f in (tcp, ping) for x, y in ((a, b), (b, a)))

        last = {}
        for what, ask, allowed in (("seen", self.seen, seen), ("tcp", self.tcp, tcp),
                                   ("ping", self.ping, ping)):
            def equal(what=what, ask=ask, allowed=allowed):
                last[what] = ask()
                return last[what] == self.expected(allowed)
            try:
                wait_for(f"{what} is what the policy says", equal, 20)
            except AssertionError as error:
                raise AssertionError(f"{error}: {last[what]}, not {self.expected(allowed)}") \
                    from error


def said(daemon, what):
    """When its log said so last."""
    found = re.findall(rf"^(\S+)Z \w+ \w+: {what}$", daemon.log(), re.M)
    return datetime.datetime.fromisoformat(found[-1])


def everybody(_from, _to):
    return True


def some_ping(a, b):
    """ICMP goes where any port is open, as the stock filter has it."""
    return (a.owner, b.owner) in {("alice", "alice"), ("alice", "tag:gw"), ("tag:gw", "bob")}


def some_tcp(a, b):
    return (a.owner, b.owner) in {("alice", "alice"), ("alice", "tag:gw")}


def test_matrix_of_four_stock_nodes_and_two_gateways(lab):
    own = OwnTailnet(lab, ALL)
    for login in ("alice", "bob"):
        own.control.user(login)
    keys = {"alice": own.control.auth_key("--user", "alice", "--reusable"),
            "bob": own.control.auth_key("--user", "bob", "--reusable"),
            "tag:gw": own.control.auth_key("--tag", "tag:gw", "--reusable")}

    def member(kind, name, owner):
        if kind is Tailscaled:
            one = Tailscaled(own, name, up=(f"--auth-key={keys[owner]}",))
        elif kind is Tsnet:
            one = Tsnet(own, name, auth_key=keys[owner])
        else:
            one = Warren(own, name, auth_key=keys[owner], joined=False)
            wait_for("it runs", lambda: one.control()["state"] == "Running")
            one.ip4, one.ip6 = own.control.node(name)["addresses"]
        return Node(one, name, owner)

    matrix = Matrix([member(Tailscaled, "stock1", "alice"), member(Tailscaled, "stock2", "bob"),
                     member(Tsnet, "tsnet1", "alice"), member(Tsnet, "tsnet2", "bob"),
                     member(Warren, "gw1", "alice"), member(Warren, "gw2", "tag:gw")])
    matrix.becomes(everybody, everybody)
    gateways = [n.one for n in matrix.nodes if isinstance(n.one, Warren)]
    for gateway in gateways:
        gateway.cli("log", "level", "filter", "debug")
    other = lab.dir / "other.hujson"
    other.write_text(json.dumps(SOME))
    diff = own.control.json("policy", "diff", other)
    assert {(f["change"], f["src"], f["dst"]) for f in diff["flows"]} == {
        (change, a.name, b.name) for a in matrix.nodes for b in matrix.others(a)
        for change in (["closes", "opens"] if some_ping(a, b) and not a.owner == b.owner == "alice"
                       else [] if a.owner == b.owner == "alice" else ["closes"])}, diff
    own.control.set_policy(SOME)
    matrix.becomes(some_tcp, some_ping)
    for gateway in gateways:
        late = said(gateway, r"\d+ rules are in force") - \
            said(own.control, "the new policy is in force")
        assert datetime.timedelta(0) < late < datetime.timedelta(seconds=1), late

    # Tags and owners decide anew for nodes that are there.
    stock2 = matrix.nodes[1]
    own.control.cli("node", "tag", "stock2", "tag:gw", "--yes")
    stock2.owner = "tag:gw"
    matrix.becomes(some_tcp, some_ping)
    own.control.cli("node", "move", "stock2", "alice", "--yes")
    stock2.owner = "alice"
    matrix.becomes(some_tcp, some_ping)
    own.control.set_policy(ALL)
    matrix.becomes(everybody, everybody)
    assert own.control.proc.alive() and "assertion" not in own.control.log()


def test_stock_nodes_wait_for_approval(lab):
    own = OwnTailnet(lab, ALL, "\n  approval: required")
    own.control.user("alice")
    keys = ("--user", "alice", "--reusable")
    known = Tsnet(own, "known", auth_key=own.control.auth_key(*keys, "--preauthorized"))
    stock = Tailscaled(own, up=None)
    up = stock.start_up(f"--auth-key={own.control.auth_key(*keys)}")
    wait_for("it waits", lambda: stock.status()["BackendState"] == "NeedsMachineAuth")
    waiting = own.control.node("stock")
    assert waiting
    own.control.cli("node", "rename", "known", "first")     # news that both streams are asked for
    wait_for("it is renamed", lambda: own.control.node("first"))
    assert not stock.status()["Peer"]
    assert not known.ask("status")["Peer"]
    own.control.cli("node", "approve", "stock")
    assert up.popen.wait(30) == 0, up.output()
    wait_for("it runs", lambda: stock.status()["BackendState"] == "Running")
    known.pings(waiting["addresses"][0])
    stock.pings(known.ip4)
    own.control.cli("node", "suspend", "stock", "--yes")
    wait_for("nobody sees it", lambda: not known.ask("status")["Peer"])
    wait_for("it sees nobody", lambda: not stock.status()["Peer"])
    assert own.control.node("stock")["addresses"] == waiting["addresses"]


def test_tsnet_joins_by_link_and_expires_under_traffic(lab):
    own = OwnTailnet(lab, ALL)
    own.control.user("alice")
    stock = Tailscaled(own, up=(f"--auth-key={own.control.auth_key('--user', 'alice')}",))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        joining = pool.submit(Tsnet, own, "tsnet", auth_key="")
        logins = wait_for("a login waits", lambda: own.control.json("node", "pending")["pending"])
        own.control.cli("node", "approve", logins[0]["code"], "--user", "alice")
        tsnet = joining.result(60)
    stock.pings(tsnet.ip4)
    own.control.cli("node", "expire", "tsnet", "--in", "3s", "--yes")
    assert not own.control.node("tsnet")["expired"]
    wait_for("packets stop", lambda: stock.host.ping(tsnet.ip4, wait=1,
                                                     check=False).returncode != 0, 20)
    assert own.control.node("tsnet")["expired"]
    wait_for("it has to log in", lambda: tsnet.ask("status")["BackendState"] == "NeedsLogin", 20)
    own.control.cli("node", "expire", "tsnet", "--never", "--yes")
    wait_for("it does not expire", lambda: own.control.node("tsnet")["expiry"] is None)
    stock.pings(tsnet.ip4, 30)


@pytest.fixture
def taggable(lab):
    own = OwnTailnet(lab, {"tagOwners": {"tag:one": ["alice@"], "tag:two": ["bob@"]},
                           "grants": ALL["grants"]})
    for login in ("alice", "bob"):
        own.control.user(login)
    return own


def asks(stock, *options):
    """`tailscale up` on a node that runs, which may end well, or wait for a login in vain."""
    up = stock.start_up("--reset", *options, timeout="3s")
    assert up.popen.wait(30) in (0, 1), up.output()     # 2 is a mistake of its usage
    wished = options[0].partition("=")[2]
    assert (wished.split(",") if wished else None) == stock.prefs()["AdvertiseTags"]


def test_tags_that_nodes_ask_for(taggable):
    own = taggable
    tagged = own.control.auth_key("--tag", "tag:one", "--reusable")
    mine = own.control.auth_key("--user", "alice", "--reusable")
    stock = Tailscaled(own, up=None)

    def refused(auth_key, tag):
        """Asked again while the stock client still says what it was told before."""
        def says():
            up = stock.start_up(f"--auth-key={auth_key}", f"--advertise-tags={tag}")
            assert up.popen.wait(40) == 1, up.output()
            return up.output().splitlines()[-1] == (
                f"backend error: requested tags [{tag}] are invalid or not permitted")
        wait_for(f"{tag} is refused", says)
        assert own.control.node("stock") is None

    refused(tagged, "tag:two")     # another one than the key's
    refused(tagged, "tag:none")
    refused(mine, "tag:nil")       # no such tag
    refused(mine, "tag:two")       # somebody else's
    stock.up(f"--auth-key={tagged}", "--reset")
    assert own.control.node("stock")["tags"] == ["tag:one"]
    asks(stock, "--advertise-tags=tag:two")
    assert own.control.node("stock")["tags"] == ["tag:one"]
    own.control.cli("node", "tag", "stock", "tag:two", "--yes")
    wait_for("it is told", lambda: stock.status()["Self"].get("Tags") == ["tag:two"])
    stock.cli("down")
    stock.cli("up")
    asks(stock, "--advertise-tags=tag:one,tag:two")
    assert own.control.node("stock")["tags"] == ["tag:two"]
    said = own.control.cli("node", "tag", "stock", "tag:none", "--yes", check=False)
    assert said.returncode != 0 and "tag:none" in said.stderr, said
    said = own.control.cli("node", "tag", "stock", "none", "--yes", check=False)
    assert said.returncode != 0, said
    stock.cli("set", "--hostname=other")
    wait_for("the device's name is followed", lambda: own.control.node("other"))
    said = own.control.cli("node", "rename", "other", "x" * 64, check=False)
    assert said.returncode != 0, said


def test_tags_of_a_node_that_its_owner_joined(taggable):
    """A key without tags: neither adds the node one, nor takes it away what the operator gave."""
    own = taggable
    stock = Tailscaled(own, up=(f"--auth-key={own.control.auth_key('--user', 'alice')}",))
    asks(stock, "--advertise-tags=tag:one")
    assert own.control.node("stock")["tags"] == []
    own.control.cli("node", "tag", "stock", "tag:one", "tag:two", "--yes")
    wait_for("it is told",
             lambda: sorted(stock.status()["Self"].get("Tags") or []) == ["tag:one", "tag:two"])
    for wish in ("tag:one", ""):
        asks(stock, f"--advertise-tags={wish}")
        assert sorted(own.control.node("stock")["tags"]) == ["tag:one", "tag:two"]
