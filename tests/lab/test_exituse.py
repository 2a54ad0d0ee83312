"""Using an exit node: everything goes through it, or nowhere.

    box 192.0.2.1 -- isp -- exits a 203.0.113.2, b 203.0.114.2 -- net 198.51.100.2, a server
    box 10.77.0.1 -- lan 10.77.0.2; box wt0 10.99.0.1 -- company, which has 10.0.1.100

The provider leads private networks to the Internet's host, which has those addresses too: what is
meant for somebody else and leaves in the clear arrives, and is seen.
"""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from gateway import CLIENT, SERVER, readme
from lab import SBINDIR, Daemon, genkey, pubkey, wait_for

NET, NET6 = "198.51.100.2", "2001:db8:51::2"
BOX, BOX6 = "192.0.2.1", "2001:db8:1::1"
OUT = {"a": "203.0.113.2", "b": "203.0.114.2"}
OUT6 = {"a": "2001:db8:a::2", "b": "2001:db8:b::2"}
OFFICE = "10.0.1.100"
LAN = "10.77.0.2"
PORT = 7000


class Use:
    def __init__(self, lab, exitnode, start=True, peers="ab"):
        self.lab = lab
        self.peers = dict(zip(OUT, peers))
        self.box, self.isp, self.net, self.lan = (lab.host(n) for n in ("box", "isp", "net", "lan"))
        self.exits = {n: lab.host(f"exit-{n}") for n in OUT}
        self.uplink, self.isp_side = lab.wire(self.box, self.isp, f"{BOX}/24,{BOX6}/64",
                                              "192.0.2.254/24,2001:db8:1::fe/64,fe80::fe/64")
        for n, host in self.exits.items():
            v4, v6 = OUT[n], OUT6[n]
            # Who forwards asks for neighbours from his link-local address.
            lab.wire(host, self.isp, f"{v4}/24,{v6}/64,fe80::2/64",
                     f"{v4[:-1]}254/24,{v6[:-1]}fe/64,fe80::fe/64")
            host.ip("route", "add", "default", "via", f"{v4[:-1]}254")
            host.ip("-6", "route", "add", "default", "via", f"{v6[:-1]}fe")
        lab.wire(self.net, self.isp, f"{NET}/24,{NET6}/64",
                 "198.51.100.1/24,2001:db8:51::1/64,fe80::fe/64")
        lab.wire(self.box, self.lan, "10.77.0.1/24", f"{LAN}/24")
        self.box.ip("route", "add", "default", "via", "192.0.2.254")
        self.box.ip("-6", "route", "add", "default", "via", "2001:db8:1::fe")
        self.net.ip("route", "add", "default", "via", "198.51.100.1")
        self.net.ip("-6", "route", "add", "default", "via", "2001:db8:51::1")
        self.isp.sysctl("net.ipv4.ip_forward", 1)
        self.isp.sysctl("net.ipv6.conf.all.forwarding", 1)
        for network in ("10.0.0.0/8", "198.51.100.130/32"):
            self.isp.ip("route", "add", network, "via", NET)
        for address in (OFFICE, LAN):
            self.net.ip("addr", "add", f"{address}/32", "dev", "lo")
        for host in (self.net, self.lan, self.box):
            self.serve(host)
        self.keys = {n: genkey() for n in ("box", "a", "b")}
        self.exitnode = exitnode
        for host, source in ((self.box, BOX6), (self.exits["a"], OUT6["a"]),
                             (self.exits["b"], OUT6["b"])):
            self.seen_as(NET6, source, host=host)       # IPv6 needs a moment on a new link
        self.before = self.state()
        self.daemons = {n: self.exit_daemon(n, i) for i, n in enumerate(OUT, 2)}
        if start:
            self.start()

    def secret(self, name):
        return self.lab.secret(f"{name}.key", self.keys[name])

    def exit_daemon(self, name, number):
        return Daemon(self.exits[name], f"""
node: {{hostname: {name}}}
identity: {{node-key: {{file: {self.secret(name)}}}}}
wg: {{port: 41641}}
router: {{}}
exitnode: {{advertise: true}}
static:
  addresses: [10.90.0.{number}/24, 'fd90::{number}/64']
  peers:
    box: {{public-key: {pubkey(self.keys["box"])}, allowed-ips: [10.90.0.1/32, 'fd90::1/128']}}
""")

    def yaml(self, exitnode=None):
        exitnode = self.exitnode if exitnode is None else exitnode
        peers = "".join(
            f"    {self.peers[n]}: {{public-key: {pubkey(self.keys[n])}, "
            f"endpoint: '{OUT[n]}:41641', allowed-ips: [10.90.0.{i}/32, 'fd90::{i}/128'], "
            f"exit-node: true}}\n"
            for i, n in enumerate(OUT, 2))
        return (f"node: {{hostname: box}}\nidentity: {{node-key: {{file: {self.secret('box')}}}}}\n"
                f"wg: {{port: 41641}}\nrouter: {{}}\n"
                + (exitnode if ":\n" in exitnode else f"exitnode: {{{exitnode}}}\n")
                + f"static:\n  addresses: [10.90.0.1/24, 'fd90::1/64']\n  peers:\n{peers}")

    def start(self):
        self.d = Daemon(self.box, self.yaml())

    def reload(self, exitnode):
        self.d.write(self.yaml(exitnode))
        self.d.cli("reload")

    def serve(self, host, port=PORT):
        proc = host.start(sys.executable, "-c", SERVER, port, private=False,
                          log=self.lab.dir / f"serve-{host.name}-{port}.log")
        wait_for(f"{host.name} serves", lambda: "listening" in proc.output())

    def ask(self, address, host=None, timeout=2, user=0):
        """From where the server saw us come; None: it did not answer."""
        argv = ["setpriv", f"--reuid={user}", "--clear-groups"] if user else []
        done = (host or self.box).run(*argv, sys.executable, "-c", CLIENT, address, PORT, timeout,
                                      check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def seen_as(self, address, source, timeout=20, **kw):
        wait_for(f"{address} sees {source}", lambda: self.ask(address, **kw) == source, timeout)

    def office(self):
        """The company's VPN comes up: its interface, and the route that its program lays."""
        company = self.lab.host(f"company{len(self.lab.hosts)}")
        self.box.ip("link", "add", "wt0", "type", "veth", "peer", "name", "wt0", "netns",
                    company.ns)
        for host, n in ((self.box, 1), (company, 2)):
            host.ip("link", "set", "wt0", "addrgenmode", "none")
            host.ip("addr", "add", f"10.99.0.{n}/30", "dev", "wt0")
            host.ip("link", "set", "wt0", "up")
        company.ip("addr", "add", f"{OFFICE}/32", "dev", "lo")
        company.ip("route", "add", "default", "via", "10.99.0.1")
        # At once, as such a program does: the kernel looks for the gateway by our rules.
        self.box.ip("route", "add", "10.0.0.0/16", "via", "10.99.0.2", "dev", "wt0")
        self.serve(company)
        return company

    def state(self):
        return {**self.box.state(), "sysctl": self.box.run(
            "sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding",
            "net.ipv4.conf.all.rp_filter").stdout}

    def route(self, dst):
        """The rule that decides, the interface, and the peer, as `route get` has it."""
        said = self.d.json("route", "get", dst)
        return (said["rule"]["priority"], said.get("route", {}).get("interface") or None,
                (said.get("peer") or {}).get("name"))

    def shut(self):
        return ["unreachable default" in self.box.ip(family, "route", "show", "table", "52",
                                                     check=False).stdout
                for family in ("-4", "-6")]

    def node(self):
        return self.d.status()["exitnode"]["use"]


class Capture:
    """What the box sends to its provider, but for encrypted packets to the exits."""

    def __init__(self, u, but=""):
        self.log = u.lab.dir / f"leaks{len(u.lab.procs)}.log"
        self.proc = u.isp.start(
            "tcpdump", "-n", "-l", "-i", u.isp_side, "-p", "-Q", "in", "--immediate-mode",
            # What belongs to the link alone: neighbours, and who listens to which group.
            f"(ip or ip6) and not udp port 41641 and not (icmp6 and ip6[40] >= 130) "
            f"and not dst net ff02::/16 {but}",
            private=False, log=self.log)
        wait_for("tcpdump listens", lambda: "listening on" in self.proc.output())

    def leaks(self):
        time.sleep(0.5)     # what is on its way
        return [line for line in self.proc.output().splitlines() if " IP" in line]


def flood(u, *targets):
    for n, target in enumerate(targets):
        u.box.start("ping", "-n", "-q", "-i", "0.005", target, private=False,
                    log=u.lab.dir / f"flood-{n}.log")
        # Another one by connections: each picks its source and its way anew.
        u.box.start(sys.executable, "-c", f"""
import socket, time
while True:
    try:
        with socket.create_connection(({target!r}, {PORT}), timeout=0.2) as s:
            s.recv(100)
    except OSError:
        time.sleep(0.01)
""", private=False, log=u.lab.dir / f"flood-tcp-{n}.log")


def test_everything_goes_through_it_and_nothing_is_left(lab):
    u = Use(lab, "", start=False)
    assert u.ask(NET) == BOX and u.ask(NET6) == BOX6
    u.exitnode = "use: a"
    u.start()
    u.seen_as(NET, OUT["a"])
    u.seen_as(NET6, OUT6["a"])
    assert u.ask(LAN, timeout=1) is None        # the neighbours are looked for behind the exit
    assert u.shut() == [True, True]
    assert u.node()["state"] == "used" and u.node()["node"] == "a"
    assert "out of reach" in u.d.cli("status").stdout
    u.reload("use: b")
    u.seen_as(NET, OUT["b"])
    u.seen_as(NET6, OUT6["b"])
    u.reload("use: 10.90.0.2, allow-lan-access: true")
    u.seen_as(NET, OUT["a"])
    u.seen_as(LAN, "10.77.0.1")
    u.reload("")
    u.seen_as(NET, BOX)
    assert u.shut() == [False, False]
    u.reload("use: b")
    u.seen_as(NET, OUT["b"])
    assert u.d.stop() == 0
    assert u.state() == u.before
    assert u.ask(NET) == BOX


def test_one_that_is_not_there_shuts_the_way(lab):
    u = Use(lab, "use: nobody")
    capture = Capture(u)
    assert u.ask(NET) is None and u.ask(NET6) is None
    assert u.node()["state"] == "unknown"
    doctor = u.d.cli("doctor", "exitnode", check=False)
    assert doctor.returncode and "nothing leaves this host" in doctor.stdout
    u.box.pings("10.90.0.2")        # peers are reached as always
    u.reload("use: b")
    u.seen_as(NET, OUT["b"])
    u.daemons["b"].stop()
    assert u.ask(NET) is None and u.ask(NET6) is None
    assert not capture.leaks()


def test_nothing_leaks_while_everything_changes(lab):
    u = Use(lab, "use: a")
    u.seen_as(NET, OUT["a"])
    u.seen_as(NET6, OUT6["a"])
    capture = Capture(u)
    flood(u, NET, NET6)
    for name in ("b", "nobody", "a"):
        u.reload(f"use: {name}")
        time.sleep(0.3)
    u.seen_as(NET, OUT["a"])
    u.box.run("nft", "flush", "ruleset")
    take_by_force(u)
    wait_for("they are back", lambda: "5270:" in u.box.ip("rule").stdout and all(u.shut()))
    pid = u.d.engine_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for("another engine", lambda: u.d.engine_pid() not in (None, pid))
    u.d.ready()
    u.seen_as(NET, OUT["a"])
    time.sleep(6)                   # beyond the sweep of what nobody asked for again
    u.seen_as(NET, OUT["a"])
    engine = u.d.engine_pid()
    u.d.proc.kill()                 # the monitor, and with it its engine
    wait_for("both are gone", lambda: not os.path.exists(f"/proc/{engine}/stat"))
    assert u.shut() == [True, True] and "5270:" in u.box.ip("-6", "rule").stdout
    assert u.ask(NET) is None and u.ask(NET6) is None
    u.d.start()
    u.seen_as(NET, OUT["a"])
    u.seen_as(NET6, OUT6["a"])
    time.sleep(6)
    assert not capture.leaks()
    assert u.shut() == [True, True]
    assert u.d.stop() == 0
    assert u.state() == u.before
    assert capture.leaks()          # it sees some where there are some


def take_by_force(u):
    """What of it is there: the monitor may be at it, or have given up."""
    for family in ("-4", "-6"):
        u.box.ip(family, "route", "flush", "table", "52", check=False)
        u.box.ip(family, "rule", "del", "pref", "5270", check=False)
    # ip(8) leaves that one when it flushes.
    u.box.ip("-6", "route", "del", "unreachable", "default", "table", "52", check=False)


def test_nothing_leaks_while_somebody_flushes_our_table(lab):
    u = Use(lab, "use: a, allow-lan-access: true")
    u.seen_as(NET, OUT["a"])
    u.seen_as(NET6, OUT6["a"])
    u.seen_as(LAN, "10.77.0.1")
    capture = Capture(u, "and not dst net fe80::/10")
    flood(u, NET, NET6)

    def back():
        return all(u.shut()) and all("5270:" in u.box.ip(family, "rule").stdout
                                     for family in ("-4", "-6"))

    def given_up():
        return "once a minute" in u.d.log()

    while not given_up():
        take_by_force(u)
        wait_for("they are back, or the monitor has enough", lambda: back() or given_up())
    take_by_force(u)
    time.sleep(1)
    assert u.shut() == [False, False], "nobody has put anything back"
    assert u.ask(NET) is None and u.ask(NET6) is None
    assert u.ask(LAN) == "10.77.0.1"
    u.box.pings(f"fe80::fe%{u.uplink}")
    assert not capture.leaks()
    assert u.d.stop() == 0
    assert u.state() == u.before
    u.seen_as(NET, BOX)
    assert capture.leaks()          # it sees some where there are some


@pytest.mark.parametrize("how", ["cleanup", "start", "service-failed"])
def test_what_a_crash_leaves_is_taken_back(lab, how):
    u = Use(lab, "use: a")
    u.seen_as(NET, OUT["a"])
    u.d.proc.kill()
    wait_for("it is gone", lambda: "warren0" not in u.box.ip("link").stdout)
    assert u.shut() == [True, True]
    env = dict(os.environ, SERVICE_RESULT="signal")
    cleanup = (SBINDIR / "warrend", "--state", u.d.state_dir, "--cleanup")
    if how == "service-failed":     # systemd cleans up, and starts it again
        u.box.run(*cleanup, env=env)
        assert u.shut() == [True, True] and u.ask(NET) is None
    if how != "start":
        u.box.run(*cleanup)
    else:
        u.exitnode = ""
        u.d.write(u.yaml())
        u.d.start()
        wait_for("what nobody wants any more is gone", lambda: u.shut() == [False, False])
        assert u.d.stop() == 0
    assert u.state() == u.before
    assert u.ask(NET) == BOX


def test_on_crash_open_leaves_nothing(lab):
    u = Use(lab, "use: a, on-crash: open")
    u.seen_as(NET, OUT["a"])
    assert u.shut() == [False, False]
    u.d.proc.kill()
    u.seen_as(NET, BOX)


def test_a_restart_leaks_nothing(lab):
    """An upgrade: stopped in order, cleaned up as systemd does, and started again."""
    u = Use(lab, "use: a, on-stop: closed")
    u.seen_as(NET, OUT["a"])
    capture = Capture(u)
    flood(u, NET, NET6)
    assert u.d.stop() == 0
    cleanup = (SBINDIR / "warrend", "--state", u.d.state_dir, "--cleanup")
    u.box.run(*cleanup, env=dict(os.environ, SERVICE_RESULT="success"))
    assert u.shut() == [True, True]
    assert u.ask(NET) is None and u.ask(NET6) is None
    u.d.start()
    u.seen_as(NET, OUT["a"])
    u.seen_as(NET6, OUT6["a"])
    assert u.d.stop() == 0
    assert not capture.leaks()
    u.box.run(*cleanup)
    assert u.state() == u.before
    assert capture.leaks()


def test_who_came_in_is_answered_there(lab):
    """The operator's SSH: `use:` typed over it does not cut him off."""
    u = Use(lab, "")
    u.box.sysctl("net.ipv4.conf.all.rp_filter", 1)
    code = f"""
import socket, sys
with socket.create_server(("::", 22), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("listening", flush=True)
    import threading
    def echo(conn):
        while data := conn.recv(100):
            conn.sendall(data)
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
"""
    sshd = u.box.start(sys.executable, "-c", code, private=False, log=lab.dir / "sshd.log")
    wait_for("sshd listens", lambda: "listening" in sshd.output())
    talk = f"""
import socket, sys
socks = [socket.create_connection((a, 22), timeout=10) for a in ({BOX!r}, {BOX6!r})]
print("in", flush=True)
for line in sys.stdin:
    for s in socks:
        s.sendall(line.encode())
        assert s.recv(100) == line.encode()
    print(line, end="", flush=True)
"""
    client = u.net.start(sys.executable, "-c", talk, private=False, stdin=subprocess.PIPE,
                         log=lab.dir / "ssh.log")
    wait_for("it is in", lambda: "in\n" in client.output())

    def types(word):
        client.popen.stdin.write(f"{word}\n".encode())
        client.popen.stdin.flush()
        wait_for(f"{word} comes back", lambda: f"{word}\n" in client.output(), 15)

    types("before")
    u.reload("use: a")
    types("typed-over-it")
    u.seen_as(NET, OUT["a"])
    types("while-it-is-used")
    assert u.ask(BOX, host=u.net) == NET and u.ask(BOX6, host=u.net) == NET6
    assert u.ask("10.77.0.1", host=u.lan) == LAN
    u.net.ping(BOX)
    u.daemons["a"].stop()
    types("while-it-is-away")
    assert u.ask(BOX, host=u.net) == NET
    u.reload("use: nobody")
    types("while-there-is-none")
    os.kill(u.d.engine_pid(), signal.SIGKILL)
    types("after-a-crash")
    u.d.ready()
    u.reload("")
    types("after")
    assert client.alive()
    assert u.d.stop() == 0
    u.box.sysctl("net.ipv4.conf.all.rp_filter", 0)
    assert u.state() == u.before


def test_the_office_vpn_stays(lab):
    u = Use(lab, "")
    u.office()
    u.reload('use: a, bypass: [10.0.0.0/16, "interface:wt0"]')
    u.seen_as(OFFICE, "10.99.0.1")
    u.seen_as(NET, OUT["a"])
    assert u.route(OFFICE) == (5200, "wt0", None) and u.route(NET) == (5270, "warren0", "a")
    assert u.route("10.90.0.3") == (5270, "warren0", "b")
    assert u.route(LAN) == (5270, "warren0", "a") and u.route(BOX) == (0, u.uplink, None)
    capture = Capture(u)
    flood(u, OFFICE, NET, NET6)
    for _ in range(2):              # it reconnects
        u.box.ip("link", "del", "wt0")
        assert u.ask(OFFICE) is None
        assert u.route(OFFICE) == (5201, None, None)
        u.seen_as(NET, OUT["a"])
        u.office()
        u.seen_as(OFFICE, "10.99.0.1")
    u.reload('use: b, bypass: ["interface:wt0", 10.0.0.0/16]')
    u.seen_as(OFFICE, "10.99.0.1")
    u.seen_as(NET, OUT["b"])
    pid = u.d.engine_pid()
    os.kill(pid, signal.SIGKILL)
    u.seen_as(OFFICE, "10.99.0.1")  # by rules of the host's, which need no engine
    wait_for("another engine", lambda: u.d.engine_pid() not in (None, pid))
    u.seen_as(NET, OUT["b"])
    assert not capture.leaks()
    # Nor did any of it go to the exit: it would have come to the Internet's host.
    assert not re.search(r"10\.0\.1\.100", (lab.dir / "serve-net-7000.log").read_text())
    u.box.ip("link", "del", "wt0")
    assert u.d.stop() == 0
    assert u.state() == u.before


def test_the_readme_keeps_the_office_vpn(lab):
    u = Use(lab, readme("Keep the office VPN"), peers=("gw-tokyo", "b"))
    u.office()
    u.seen_as(OFFICE, "10.99.0.1")
    u.seen_as(NET, OUT["a"])
    u.box.ip("link", "del", "wt0")
    assert u.ask(OFFICE) is None


def test_users_and_networks_go_around_it(lab):
    u = Use(lab, 'use: a, bypass: ["uid:4321", "uid:5000-5009"]')
    u.net.ip("addr", "add", "198.51.100.130/32", "dev", "lo")
    u.seen_as(NET, OUT["a"])
    assert u.ask(NET, user=4321) == BOX and u.ask(NET6, user=5009) == BOX6
    assert u.ask(NET, user=5010) == OUT["a"]
    u.reload("use: a")
    u.seen_as(NET, OUT["a"], user=4321)
    u.seen_as("198.51.100.130", OUT["a"])
    u.reload("use: a, bypass: [198.51.100.128/25]")
    u.seen_as("198.51.100.130", BOX)
    u.seen_as(NET, OUT["a"])


def test_auto_takes_another_when_one_fails(lab):
    u = Use(lab, "use: auto")
    u.seen_as(NET, OUT["a"])
    capture = Capture(u)
    flood(u, NET)
    u.daemons["a"].proc.kill()
    u.seen_as(NET, OUT["b"], timeout=60)
    assert u.node() == {"wanted": "auto", "state": "used", "node": "b", "lan": False,
                        "shut_after_crash": True, "shut_after_stop": False}
    lines = u.d.cli("exit-node", "list").stdout
    assert re.search(r"10\.90\.0\.3 +b +- +- +selected", lines), lines
    assert "a " in u.d.cli("exit-node", "list").stdout
    assert "Suggested exit node: b" in u.d.cli("exit-node", "suggest").stdout
    assert not capture.leaks()
