"""Names through an exit node: asked at its peer API, and nowhere on the way there.

    box 192.0.2.2 -- isp -- gate 203.0.113.2
    guest 192.0.3.2 -- isp -- net 198.51.100.2, two resolvers

isp has the network's coordinator as well. What box sends to it is captured on its side.
"""

import base64
import json
import re
import struct

import pytest

from lab import Daemon, wait_for
from test_dns import MAGIC, dig

ISP, GATE, NET = "192.0.2.1", "203.0.113.2", "198.51.100.2"
DOMAIN = "tail.test"
# The network's resolver, and the one that the exit node asks, do not say the same.
PLAIN, ITS = "198.51.100.77", "198.51.100.88"
OPEN = {"src": ["alice@"], "dst": ["*"], "ip": ["*"]}
GUEST = {"src": ["bob@"], "dst": ["alice@"], "ip": ["tcp:7"]}
GUEST_OUT = {"src": ["bob@"], "dst": ["autogroup:internet"], "ip": ["*"]}


def question(name, rrtype=1):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    head = struct.pack(">6H", 0x1234, 0x100, 1, 0, 0, 0)
    return head + labels + struct.pack(">BHH", 0, rrtype, 1)


class Net:
    """The hosts and what is no node's: resolvers, the coordinator with its section `dns`."""

    def __init__(self, lab, dns):
        self.lab = lab
        self.box, self.guest, self.isp, self.gate, self.net = (
            lab.host(n) for n in ("box", "guest", "isp", "gate", "net"))
        self.uplink = {}
        for host, address in ((self.box, "192.0.2.2"), (self.guest, "192.0.3.2"),
                              (self.gate, GATE), (self.net, NET)):
            there = address[:-1] + "1"
            self.uplink[host.name] = lab.wire(host, self.isp, f"{address}/24", f"{there}/24")[1]
            host.ip("route", "add", "default", "via", there)
        self.isp.sysctl("net.ipv4.ip_forward", 1)
        self.resolvers = {port: self.resolver(port, answer)
                          for port, answer in ((53, PLAIN), (5353, ITS))}
        self.policy = lab.dir / "policy"
        self.set_policy(OPEN, GUEST)
        relays = lab.dir / "relays"
        # One that is not there: nodes reach each other.
        relays.write_text(json.dumps({"Regions": {"1": {
            "RegionID": 1, "RegionCode": "x", "RegionName": "X", "Nodes": [
                {"Name": "1a", "RegionID": 1, "HostName": ISP, "IPv4": ISP, "IPv6": "none"}]}}}))
        self.hq_yaml = (f"coordinator:\n  url: http://{ISP}:8080\n  listen: 0.0.0.0:8080\n"
                        f"  base-domain: {DOMAIN}\n  policy: {self.policy}\n"
                        f"  derp-map: {relays}\n  dns: ")
        self.hq = Daemon(self.isp, self.hq_yaml + dns, name="-hq")
        for user in ("alice", "bob"):
            self.hq.cli("user", "create", user)
        self.db = self.node(self.box, "alice", "dns: {host: off}\n")
        self.dg = self.node(self.gate, "alice", f"dns: {{host: off, upstream: ['{NET}:5353']}}\n"
                            "exitnode: {advertise: true}\n")
        self.served()

    def served(self):
        wait_for("the service addresses are served", lambda: [
            l["missing"] for l in self.db.status()["svcnet"]["listeners"]
            if l["owner"] == "dns"] == [0, 0], 20)

    def set_policy(self, *grants):
        temporary = self.lab.dir / "policy.new"
        temporary.write_text(json.dumps({"grants": grants}))
        temporary.rename(self.policy)

    def resolver(self, port, answer):
        proc = self.net.start(
            "dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv", "--no-hosts",
            "--bind-interfaces", f"--listen-address={NET}", f"--port={port}", "--log-queries",
            "--log-facility=-", "--pid-file=", f"--address=/example.org/{answer}",
            f"--address=/corp.example.com/{answer}", f"--address=/internal/{answer}",
            "--txt-record=large.example.org," + ",".join("y" * 250 for _ in range(12)),
            private=False, log=self.lab.dir / f"dnsmasq-{port}.log")
        wait_for("dnsmasq serves", lambda: "started" in proc.output())
        return proc

    def node(self, host, user, more):
        key = self.hq.json("key", "create", "--user", user, "--reusable")["secret"]
        daemon = Daemon(host, f"""
node: {{hostname: {host.name}}}
wg: {{port: 41641}}
control:
  url: http://{ISP}:8080
  auth-key: {{file: {self.lab.secret(f"{host.name}.authkey", key)}}}
{more}""")
        wait_for(f"{host.name} joins", lambda: daemon.status()["control"]["state"] == "Running", 20)
        return daemon

    def address(self, name):
        found = [n for n in self.hq.json("node", "list")["nodes"] if n["name"] == name]
        return found[0]["addresses"][0]

    def asked(self, port, name):
        """Who asked that resolver for a name."""
        return set(re.findall(rf"query\[\w+\] {re.escape(name)} from (\S+)",
                              self.resolvers[port].output()))

    def capture(self, host):
        log = self.lab.dir / f"questions{len(self.lab.procs)}.log"
        proc = self.isp.start("tcpdump", "-n", "-l", "-i", self.uplink[host.name], "-p", "-Q", "in",
                              "--immediate-mode", "port 53 or port 5353 or port 853",
                              private=False, log=log)
        wait_for("tcpdump listens", lambda: "listening on" in proc.output())
        return lambda: [line for line in proc.output().splitlines() if " IP" in line]


@pytest.fixture
def net(lab):
    one = Net(lab, f"{{nameservers: [{NET}], split: {{corp.example.com: [{NET}]}}}}\n")
    one.hq.cli("route", "approve", "gate", "exit")
    return one


def use(net):
    wait_for("it is one", lambda: "gate" in net.db.cli("exit-node", "list", check=False).stdout)
    net.db.cli("set", "--exit-node=gate")
    wait_for("the exit node is asked for names", lambda: any(
        "/dns-query" in r["Addr"] for r in net.db.json("dns", "status")["Resolvers"]), 20)


def test_all_other_names_are_asked_there(net):
    seen = net.capture(net.box)
    wait_for("the network's resolver is asked",
             lambda: dig(net.box, "www.example.org", check=False).data == [PLAIN])
    assert dig(net.box, "wiki.corp.example.com").data == [PLAIN]
    for name in ("www.example.org", "wiki.corp.example.com"):
        wait_for("that is seen", lambda name=name: any(name in line for line in seen()))
    before = len(seen())
    use(net)
    # The first one may wait for a handshake. What was kept before is void.
    wait_for("the exit node is asked", lambda: dig(net.box, "www.example.org",
                                                   check=False).data == [ITS], 20)
    for n in range(100):
        assert dig(net.box, f"name-{n}.example.org").data == [ITS]
    assert net.asked(5353, "name-7.example.org") == {GATE}
    # Resolvers of single domains too are only asked if the server says so.
    assert dig(net.box, "x.corp.example.com").status == "REFUSED"
    large = dig(net.box, "large.example.org", "TXT")
    assert large.tcp and len(large.data[0]) > 3000
    assert dig(net.box, f"gate.{DOMAIN}").data == [net.address("gate")]
    assert dig(net.box, "nobody.example.net").status == "REFUSED"      # dnsmasq's word
    why = net.db.json("dns", "why", "www.example.org")
    assert "the exit node" in why["steps"][-1] and "by HTTP" in why["resolvers"][0], why
    assert net.db.cli("doctor", "dns.upstream").returncode == 0
    # Many at once, by the connections that there may be.
    path = net.lab.dir / "queries"
    path.write_text("".join(f"many-{i}.example.org A\n" for i in range(400)))
    said = net.box.run("dnsperf", "-s", MAGIC, "-d", path, "-n", 1, "-c", 4, "-q", 100,
                       timeout=60).stdout
    assert re.search(r"Queries lost: +0 ", said) and "NOERROR 400" in said, said
    # It goes: nobody else is asked.
    assert net.dg.stop() == 0
    assert dig(net.box, "lost.example.org").status in ("SERVFAIL", None)
    assert len(seen()) == before, seen()[before:]
    assert not net.asked(53, "name-7.example.org") and not net.asked(53, "lost.example.org")
    net.dg.start()
    wait_for("it is asked again", lambda: dig(net.box, "back.example.org",
                                              check=False).data == [ITS], 30)
    assert len(seen()) == before, seen()[before:]
    net.db.cli("set", "--exit-node=")
    wait_for("the network's resolver is asked",
             lambda: dig(net.box, "www.example.org", check=False).data == [PLAIN])


def test_who_may_ask_and_for_what(net):
    base = net.dg.status()["peerapi"]["urls"][0]
    use(net)

    def told(host, name, *options, rrtype=1):
        """Status, and of the answer its code and its addresses."""
        path = net.lab.dir / "question"
        path.write_bytes(question(name, rrtype))
        done = host.run("curl", "-sS", "-m", "8", "-w", "%{http_code} %{content_type}",
                        "-H", "Content-Type: application/dns-message", "--data-binary", f"@{path}",
                        "-o", net.lab.dir / "answer", f"{base}/dns-query", *options, check=False)
        status, _, kind = done.stdout.partition(" ")
        if status != "200":
            return int(status)
        assert kind == "application/dns-message"
        answer = (net.lab.dir / "answer").read_bytes()
        assert answer[:2] == b"\x12\x34"
        return answer[3] & 15, ".".join(str(b) for b in answer[-4:]) if answer[7] else None

    wait_for("it answers", lambda: told(net.box, "www.example.org") == (0, ITS), 20)
    assert told(net.box, "www.example.org", "--http2-prior-knowledge") == (0, ITS)
    for name in (f"gate.{DOMAIN}", f"box.{DOMAIN}", "gate", "wiki.corp.example.com",
                 "db.internal", "localhost"):
        assert told(net.box, name) == (5, None), name
    assert told(net.box, "x.onion") == (3, None)
    assert not net.asked(5353, "db.internal")

    def got(host, path, *options):
        return host.run("curl", "-sS", "-m", "8", "-o", net.lab.dir / "answer",
                        "-w", "%{http_code}", *options, base + path).stdout

    text = base64.urlsafe_b64encode(question("www.example.org")).decode().rstrip("=")
    assert got(net.box, f"/dns-query?dns={text}") == "200"
    assert (net.lab.dir / "answer").read_bytes().endswith(bytes(map(int, ITS.split("."))))
    for path, status in (("/dns-query", "400"), ("/dns-query?dns=", "400"),
                         ("/dns-query?dns=AAAA", "400"), ("/dns-query?dns=%21", "400"),
                         ("/dns-query?dns=" + "A" * 5500, "414")):
        assert got(net.box, path) == status, path
    assert got(net.box, "/dns-query", "-X", "PUT") == "405"
    assert got(net.box, "/dns-query", "-d", "x=1") == "415"
    large = net.lab.dir / "large"
    large.write_bytes(question("www.example.org") + bytes(5000))
    for options in ((), ("-H", "Transfer-Encoding: chunked")):
        assert got(net.box, "/dns-query", "-H", "Content-Type: application/dns-message",
                   "--data-binary", f"@{large}", *options) == "413"
    # A GET with a body is cut off; its answer, which comes later, is nobody's.
    for n in range(20):
        text = base64.urlsafe_b64encode(question(f"body-{n}.example.org")).decode().rstrip("=")
        net.box.run("curl", "-sS", "-m", "8", "-X", "GET", "-d", "x",
                    f"{base}/dns-query?dns={text}", check=False)
    assert got(net.box, f"/dns-query?dns={text}") == "200"
    # Another user's node, which the policy does not let to the internet; and then it does.
    net.node(net.guest, "bob", "")
    wait_for("it is refused", lambda: told(net.guest, "www.example.org") == 403, 20)
    assert net.dg.metric('warren_dns_queries{answer="dropped"}') >= 1
    net.set_policy(OPEN, GUEST, GUEST_OUT)
    wait_for("it is let in", lambda: told(net.guest, "www.example.org") == (0, ITS), 20)
    # Nobody is served who could not use it.
    net.hq.cli("route", "revoke", "gate", "exit", "--yes")
    wait_for("it is over", lambda: told(net.box, "www.example.org") == 404, 20)
