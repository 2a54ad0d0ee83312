"""svcnet: services in a network of their own, with the plugin svcecho as their user."""

import os
import pathlib
import shutil
import signal
import sys

import pytest

import lab as lablib
from lab import SBINDIR, Daemon, genkey, pubkey, wait_for

HERE = pathlib.Path(__file__).parent
PROBE = HERE / "svcprobe.py"
A, B = "100.64.0.1", "100.64.0.2"
A6, B6 = "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"
MAGIC, MAGIC6 = "100.100.100.100", "fd7a:115c:a1e0::53"
LAN = "203.0.113.1"

WALL = """
table inet wall {
	chain input {
		type filter hook input priority 0; policy drop;
		iifname lo accept
		udp dport 41641 accept
		ct state established accept
	}
}
"""

LISTEN = """
svcecho:
  listen:
    - {port: 443}
    - {port: 22}
    - {port: 8443}
    - {port: 40000, unfiltered: true}
    - {port: 5353, udp: true}
    - {port: 53, udp: true, magic: true}
    - {port: 53, magic: true}
"""


def plugin_dir(lab):
    """The installed plugins and svcecho; a folder that the engine's user can read."""
    folder = lab.dir / "plugins"
    if not folder.exists():
        shutil.copytree(os.environ["WARREN_PLUGINDIR"], folder)
        folder.chmod(0o755)
        built = pathlib.Path(os.environ["WARREN_BUILDDIR"]) / "tests/lab/.libs/svcecho.so"
        shutil.copy(built, folder / built.name)
    return folder


class Mesh:
    """a with services and b on a wire, and c on a's LAN, with a route to the tailnet by a."""

    def __init__(self, lab, listen=LISTEN, extra_a="", policy="", start=None,
                 router="{}"):
        self.lab, self.router = lab, router
        self.a, self.b, self.c = lab.host("a"), lab.host("b"), lab.host("c")
        lab.wire(self.a, self.b, "192.0.2.1/24", "192.0.2.2/24")
        lab.wire(self.a, self.c, f"{LAN}/24", "203.0.113.2/24")
        self.c.ip("route", "add", "100.64.0.0/10", "via", LAN)
        key_a, key_b = genkey(), genkey()
        args = ["--plugin-dir", plugin_dir(lab)]
        self.yaml_a = self.yaml("a", key_a, A, A6, pubkey(key_b), B, B6, 2,
                                policy + listen + extra_a)
        make = start or Daemon
        self.da = make(self.a, self.yaml_a, args=args)
        self.db = Daemon(self.b, self.yaml("b", key_b, B, B6, pubkey(key_a), f"{A}, 100.64.0.9",
                                           A6, 1, "\nsvcecho: {}\n"), args=args)
        self.listeners_open()
        self.b.pings(A)

    def yaml(self, name, private, own, own6, public, other, other6, host, extra):
        secret = self.lab.secret(f"{name}.key", private)
        return (f"node: {{hostname: {name}}}\nidentity: {{node-key: {{file: {secret}}}}}\n"
                f"wg: {{port: 41641}}\nrouter: {self.router}\n"
                f"static:\n  addresses: [{own}/10, '{own6}/48']\n  peers:\n"
                f"    peer: {{public-key: {public}, allowed-ips: [{other}, '{other6}'], "
                f"endpoint: '192.0.2.{host}:41641'}}\n" + extra)

    def listeners(self):
        return self.da.status()["svcnet"]["listeners"]

    def listeners_open(self):
        """All but those that another program keeps from it."""
        wait_for("listeners", lambda: all(l["missing"] == 0 or l["problem"]
                                          for l in self.listeners()), 30)


def probe(host, *argv, check=True, timeout=60):
    return host.run(sys.executable, PROBE, *argv, check=check, timeout=timeout)


def tcp(host, address, port):
    return probe(host, "tcp", address, port, 20).stdout.split("\n")[:2]


def udp(host, address, port):
    return probe(host, "udp", address, port, 20).stdout.split("\n")[:2]


def refused(host, kind, address, port):
    return probe(host, kind, address, port, 2, check=False).returncode != 0


def occupy(host, *ports):
    proc = host.start(sys.executable, PROBE, "occupy", *ports, private=False,
                      log=host.lab.dir / f"occupy-{host.name}.log")
    wait_for("another program has the ports", lambda: "occupied" in proc.output())
    return proc


def scan(host, address, timeout=180):
    return {int(line) for line in probe(host, "scan", address, timeout=timeout).stdout.split()}


# Without the rules by which `router` lets peers through the wall and keeps the LAN out.
ALONE = "{firewall: off}"


def test_behind_a_wall_and_beside_other_programs(lab):
    a = Mesh(lab, router=ALONE)
    host = a.a
    occupy(host, 22, 53, 443)
    host.run("nft", "-f", "-", input=WALL)
    for address, me in ((A, B), (A6, B6)):
        for port in (443, 22, 8443, 40000):
            assert tcp(a.b, address, port) == [f"peer {me} at {address}", "moin"]
        assert udp(a.b, address, 5353) == [f"peer {me} at {address}", "moin"]
    # The host itself, at the service addresses: its own program on port 53 is not met.
    assert udp(host, MAGIC, 53) == [f"host {A} at {MAGIC}", "moin"]
    assert udp(host, MAGIC6, 53) == [f"host {A6} at {MAGIC6}", "moin"]
    assert tcp(host, MAGIC, 53) == [f"host {A} at {MAGIC}", "moin"]
    # What is not served is the host's, as ever, and walled off.
    assert refused(a.b, "tcp", A, 53)
    assert refused(a.b, "udp", MAGIC, 53)


def test_host_reaches_its_own_services_but_for_taken_ports(lab):
    a = Mesh(lab, listen="\nsystem: {ports: [22, 443], user: '64321:64321'}" + LISTEN)
    assert tcp(a.a, A, 443) == [f"host {A} at {A}", "moin"]
    assert tcp(a.a, A6, 8443) == [f"host {A6} at {A6}", "moin"]
    assert udp(a.a, A, 5353) == [f"host {A} at {A}", "moin"]
    a.da.stop()
    occupy(a.a, 443)
    a.da.start()
    a.listeners_open()
    taken = [l for l in a.listeners() if l["problem"]]
    assert [l["port"] for l in taken] == [443] and "another program has it" in taken[0]["problem"]
    findings = a.da.cli("doctor", "svcnet", check=False).stdout
    assert "443 of svcecho" in findings and "another program has it" in findings
    assert tcp(a.a, A, 443)[0] == "other program"
    a.a.pings(B)
    assert tcp(a.b, A, 443) == [f"peer {B} at {A}", "moin"]


def test_nobody_else_gets_in(lab):
    """All ports, from the LAN and from a peer: services are the peer's, the rest the host's."""
    a = Mesh(lab, router=ALONE)
    assert scan(a.b, A) == {443, 22, 8443, 40000}
    assert scan(a.b, A6) == {443, 22, 8443, 40000}
    for address in (A, LAN):
        assert scan(a.c, address) == set()
    assert refused(a.c, "udp", A, 5353)
    for address in (MAGIC, MAGIC6):
        assert refused(a.b, "udp", address, 53)
    assert refused(a.c, "udp", MAGIC, 53)
    # The daemon's other sockets are not in there, nor the host's loopback.
    occupy(a.a, 9999)
    assert tcp(a.b, A, 9999)[0] == "other program"
    loopback = a.a.start(sys.executable, "-m", "http.server", "-b", "127.0.0.1", "9998",
                         private=False)
    wait_for("it listens", lambda: "9998" in a.a.run("ss", "-lnt").stdout)
    assert refused(a.b, "tcp", A, 9998)
    assert loopback.alive()


def test_packet_filter_decides_unless_told_otherwise(lab):
    a = Mesh(lab, policy=f"  accept: [{{from: ['{B}'], ports: [tcp/22, icmp]}}]\nfilter: {{}}\n")
    assert tcp(a.b, A, 22) == [f"peer {B} at {A}", "moin"]
    assert tcp(a.b, A, 40000) == [f"peer {B} at {A}", "moin"]
    for port in (443, 8443):
        assert refused(a.b, "tcp", A, port)
    # Answers to what it dials itself need no rule.
    occupy(a.b, 9000)
    assert "other program" in a.da.cli("svcecho", "dial", f"{B}:9000", "program").stdout
    assert "other program" in a.da.cli("svcecho", "dial", "--udp", f"{B}:9000", "moin").stdout


def test_dial_goes_through_the_tailnet_whatever_the_routes_say(lab):
    a = Mesh(lab)
    occupy(a.b, 9000)
    for prefix in ("100.64.0.0/10", "fd7a:115c:a1e0::/48"):
        family = "-6" if ":" in prefix else "-4"
        a.a.ip(family, "rule", "add", "pref", "100", "to", prefix, "blackhole")
    assert a.a.ping(B, check=False, wait=1).returncode != 0
    for address in (f"{B}:9000", f"[{B6}]:9000"):
        for _ in range(3):
            assert "other program" in a.da.cli("svcecho", "dial", address, "program").stdout
        assert "other program" in a.da.cli("svcecho", "dial", "--udp", address, "moin").stdout
    refused = a.da.cli("svcecho", "dial", f"{B}:9001", "moin", check=False)
    assert refused.returncode == 1 and "Connection refused" in refused.stderr
    itself = a.da.cli("svcecho", "dial", f"{A}:443", "moin", check=False)
    assert itself.returncode == 1 and "this node itself" in itself.stderr


def test_ports_of_dialed_connections_stay_the_hosts(lab):
    """One that the host has bound above 61000 is not taken by connections of the namespace."""
    a = Mesh(lab)
    occupy(a.b, 9000)
    occupy(a.a, 61000, 62000, 65000)
    for _ in range(20):
        assert "other program" in a.da.cli("svcecho", "dial", f"{B}:9000", "program").stdout
    for port in (61000, 62000, 65000):
        assert tcp(a.b, A, port)[0] == "other program"


def namespace_of(daemon):
    """The inode that the monitor holds of the service namespace."""
    own = os.readlink(f"/proc/{daemon.proc.pid}/ns/net")
    links = set()
    for fd in pathlib.Path(f"/proc/{daemon.proc.pid}/fd").iterdir():
        try:
            links.add(os.readlink(fd))
        except OSError:         # closed meanwhile
            pass
    found = [link for link in links if link.startswith("net:") and link != own]
    assert len(set(found)) == 1, found
    return found[0]


def holders(namespace):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            links = [path / "ns/net", *(path / "fd").iterdir()]
            found += [path.name for link in links if os.readlink(link) == namespace]
        except OSError:         # it ended, or its descriptor did
            continue
    return found


def test_nothing_is_left(lab):
    a = Mesh(lab)
    host = a.a
    a.da.stop()
    before = host.state()
    for how in ("stop", "kill"):
        a.da.start()
        a.listeners_open()
        a.a.pings(B, timeout=20)
        assert tcp(a.b, A, 443) == [f"peer {B} at {A}", "moin"]
        namespace = namespace_of(a.da)
        engine = a.da.engine_pid()
        if how == "stop":
            assert a.da.stop() == 0
        else:
            os.kill(a.da.proc.pid, signal.SIGKILL)
            os.kill(engine, signal.SIGKILL)
            a.da.proc.popen.wait(10)
        wait_for("nobody holds the namespace", lambda: not holders(namespace))
        assert "svc0" not in host.ip("link").stdout
        if how == "kill":
            a.da.start()
            a.da.ready()
            a.da.stop()
        assert host.state() == before


def test_killed_engine_serves_again(lab):
    a = Mesh(lab)
    for _ in range(2):
        engine = a.da.engine_pid()
        os.kill(engine, signal.SIGKILL)
        wait_for("another engine", lambda: a.da.engine_pid() not in (None, engine), 30)
        a.da.ready(30)
        a.listeners_open()
        a.a.pings(B, timeout=20)
        assert tcp(a.b, A, 443) == [f"peer {B} at {A}", "moin"]
        assert udp(a.a, MAGIC, 53) == [f"host {A} at {MAGIC}", "moin"]
        assert namespace_of(a.da), "one, the old one is gone"


def test_ten_thousand_connections(lab):
    a = Mesh(lab)
    assert probe(a.b, "many", A, 443, 10000, timeout=300).stdout.strip() == "10000"
    # All of them are over, and the next one is served.
    assert tcp(a.b, A6, 443) == [f"peer {B6} at {A6}", "moin"]


def test_bulk_both_ways(lab):
    a = Mesh(lab)
    probe(a.b, "bulk", A, 443, 32, timeout=120)
    probe(a.b, "bulk", A6, 40000, 8, timeout=120)


def test_sockets_follow_the_addresses(lab):
    a = Mesh(lab)
    a.da.write(a.yaml_a.replace(f"[{A}/10,", f"[{A}/10, 100.64.0.9/10,"))
    a.da.cli("reload")
    a.listeners_open()
    wait_for("the new address is served", lambda: not refused(a.b, "tcp", "100.64.0.9", 443), 20)
    assert tcp(a.b, "100.64.0.9", 443) == [f"peer {B} at 100.64.0.9", "moin"]
    assert udp(a.b, "100.64.0.9", 5353) == [f"peer {B} at 100.64.0.9", "moin"]
    a.da.write(a.yaml_a)
    a.da.cli("reload")
    wait_for("it is not any more", lambda: refused(a.b, "tcp", "100.64.0.9", 443), 20)
    assert tcp(a.b, A, 443) == [f"peer {B} at {A}", "moin"]


class Bounded(Daemon):
    """A daemon that may not make namespaces."""

    def start(self, wait=True):
        self.proc = self.host.start(
            "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin",
            SBINDIR / "warrend", "--config", self.config, "--state", self.state_dir, "--socket",
            self.socket, *self.args, log=self.dir / "warrend.log")
        if wait:
            self.ready()


@pytest.mark.parametrize("how", ["bounded", "asked"])
def test_on_the_host_where_no_namespace_can_be_made(lab, how):
    assert not lablib.need("setpriv")
    extra = "\nsystem: {ports: [22, 53, 443], user: '64321:64321'}\n"
    if how == "bounded":
        a = Mesh(lab, extra_a=extra, start=Bounded)
    else:
        a = Mesh(lab, extra_a=extra + "svcnet: {mode: host}\n")
    before = a.da.status()["svcnet"]
    assert before["mode"] == "host"
    assert ("CAP_SYS_ADMIN is missing" if how == "bounded" else "mode is host") in before["why"]
    for address, me in ((A, B), (A6, B6)):
        assert tcp(a.b, address, 443) == [f"peer {me} at {address}", "moin"]
        assert udp(a.b, address, 5353) == [f"peer {me} at {address}", "moin"]
        assert tcp(a.a, address, 8443) == [f"host {address} at {address}", "moin"]
    assert udp(a.a, MAGIC, 53)[0].endswith(f"at {MAGIC}")
    occupy(a.b, 9000)
    assert "other program" in a.da.cli("svcecho", "dial", f"{B}:9000", "program").stdout
    # Nobody on the LAN, and not the peer at the service address.
    for port in (443, 8443):
        assert refused(a.c, "tcp", A, port)
    assert refused(a.c, "udp", A, 5353)
    assert refused(a.b, "udp", MAGIC, 53)
    assert "listen on the host itself" in a.da.cli("doctor", "svcnet", check=False).stdout
