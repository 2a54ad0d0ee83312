"""A gateway between a tunnel, a network behind it and the Internet, described by YAML files.

    peer (10.90.0.2) ==tunnel== box (10.90.0.1) -- lan (10.77.0.2)
    peer 192.0.2.2 -- 192.0.2.1 box 198.51.100.1 -- 198.51.100.2 net, which has a server

Only the peer knows where the other one is, so the box must let a stranger's handshake in.
"""

import pathlib
import re
import sys
import time

from lab import Daemon, genkey, pubkey, wait_for

HERE = pathlib.Path(__file__).parent
RULES = HERE / "firewall"
BOX, PEER = "10.90.0.1", "10.90.0.2"
BOX6, PEER6 = "fd90::1", "fd90::2"
LAN, LAN6 = "10.77.0.2", "2001:db8:77::2"
NET, NET6 = "198.51.100.2", "2001:db8:51::2"
PORT = 7000

# Says to each who connects from where he came; both families.
SERVER = """
import socket, sys, threading
def serve(sock):
    while True:
        conn, peer = sock.accept()
        conn.sendall(peer[0].encode() + b"\\n")
        conn.close()
sock = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
serve(sock)
"""

CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as s:
        print(s.makefile().readline().strip().removeprefix("::ffff:"))
except OSError:
    sys.exit(1)
"""


def readme(section):
    """The YAML of a section of the README."""
    text = (HERE.parents[1] / "README.md").read_text()
    text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.sub(r"^ {4}", "", re.search(r"(?:^ {4}.*\n)+", text, re.M)[0], flags=re.M)


class Gateway:
    def __init__(self, lab, box="", peer_ips=f"10.90.0.1, 10.77.0.0/24, 'fd90::1', "
                 "'2001:db8:77::/64'", ruleset=(), box_extra="", start=True):
        self.lab = lab
        self.box, self.peer, self.lan, self.net = (lab.host(n) for n in ("box", "peer", "lan",
                                                                         "net"))
        lab.wire(self.box, self.peer, "192.0.2.1/24", "192.0.2.2/24")
        lab.wire(self.box, self.lan, "10.77.0.1/24,2001:db8:77::1/64",
                 "10.77.0.2/24,2001:db8:77::2/64")
        lab.wire(self.box, self.net, "198.51.100.1/24,2001:db8:51::1/64",
                 "198.51.100.2/24,2001:db8:51::2/64")
        self.lan.ip("route", "add", "default", "via", "10.77.0.1")
        self.lan.ip("-6", "route", "add", "default", "via", "2001:db8:77::1")
        # An attacker's: as if his provider did not look at what he sends.
        self.net.ip("route", "add", "10.0.0.0/8", "via", "198.51.100.1")
        self.net.ip("-6", "route", "add", "fd90::/64", "via", "2001:db8:51::1")
        self.net.ip("-6", "route", "add", "2001:db8:77::/64", "via", "2001:db8:51::1")
        self.load(*ruleset)
        self.before = self.state()
        self.keys = genkey(), genkey()
        self.box_yaml = self.yaml("box", 0, f"{BOX}/24, '{BOX6}/64'", 1, f"{PEER}, '{PEER6}'",
                                  None, box or "router: {advertise: [10.77.0.0/24, "
                                  "'2001:db8:77::/64']}\n", box_extra)
        self.peer_yaml = self.yaml("peer", 1, f"{PEER}/24, '{PEER6}/64'", 0, peer_ips,
                                   "192.0.2.1:41641", "router: {}\n")
        for host in (self.lan, self.net, self.peer, self.box):
            self.serve(host, PORT)
        if start:
            self.start()

    def yaml(self, name, own, addresses, other, allowed, endpoint, router, extra=""):
        secret = self.lab.secret(f"{name}.key", self.keys[own])
        to = f", endpoint: '{endpoint}'" if endpoint else ""
        return (f"node: {{hostname: {name}}}\nidentity: {{node-key: {{file: {secret}}}}}\n"
                f"wg: {{port: 41641}}\n{router}static:\n  addresses: [{addresses}]\n  peers:\n"
                f"    other: {{public-key: {pubkey(self.keys[other])}, "
                f"allowed-ips: [{allowed}]{to}}}\n{extra}")

    def start(self):
        self.db, self.dp = Daemon(self.box, self.box_yaml), Daemon(self.peer, self.peer_yaml)

    def serve(self, host, port):
        log = self.lab.dir / f"serve-{host.name}-{port}.log"
        proc = host.start(sys.executable, "-c", SERVER, port, private=False, log=log)
        wait_for(f"{host.name} serves", lambda: "listening" in proc.output())

    def load(self, *names):
        """Loads recorded rules of other programs into the box."""
        for name in names:
            path = RULES / f"{name}.rules"
            if "tables-save" in name:
                tool = "ip6tables" if "ip6" in name else "iptables"
                self.box.run(f"{tool}-nft-restore", "--noflush", input=path.read_text())
            else:
                self.box.run("nft", "-f", path)

    def state(self):
        """What other programs would find: their rules, and the switches."""
        return (self.box.run("nft", "-s", "list", "ruleset").stdout,
                self.box.run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
                             ).stdout)

    def theirs(self):
        """Rules that are neither ours nor in our table."""
        text = self.box.run("nft", "-s", "list", "ruleset").stdout
        text = re.sub(r"table inet warren .*?^}\n", "", text, flags=re.S | re.M)
        return re.sub(r'^.*comment "warren"\n', "", text, flags=re.M)

    def ask(self, host, address, timeout=5, port=PORT):
        """From where the server saw @host come; None: it did not answer."""
        done = host.run(sys.executable, "-c", CLIENT, address, port, timeout, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def reach(self, host, address, source=None, port=PORT):
        """Waits until it is reached; then it was from @source."""
        seen = wait_for(f"{host.name} reaches {address}",
                        lambda: self.ask(host, address, port=port), 30)
        assert source is None or seen == source, f"{address} sees {seen} and not {source}"

    def refused(self, host, address, port=PORT):
        assert self.ask(host, address, timeout=1, port=port) is None, \
            f"{host.name} reaches {address}"


class Capture:
    """Counts packets with an inner source address on the Internet's side."""

    def __init__(self, g):
        self.log = g.lab.dir / "leaks.log"
        self.proc = g.net.start("tcpdump", "-n", "-l", "-i", "any", "-p", "--immediate-mode",
                                "src net 10.90.0.0/24 or src net fd90::/64", private=False,
                                log=self.log)
        wait_for("tcpdump listens", lambda: "listening on" in self.proc.output())

    def leaks(self):
        time.sleep(0.5)     # what is on its way
        return [line for line in self.proc.output().splitlines() if " IP" in line]
