"""Networks behind NATs and firewalls, said in a few lines, and a tailnet of our daemons on them.

    net = Internet(lab)                       # a switch; our coordinator and two of our relays
    a = net.at("easy").host("a")              # a host in the LAN of a NAT
    b = net.at("isp:hairpin/easy").host("b")  # in a LAN behind a NAT behind the NAT of a provider,
    c = net.at("isp/hard").host("c")          # and another customer of that
    d = net.host("d", "firewall")             # on the Internet itself

A place is a way of boxes from the outside in; `name:` makes one that later ways go through. What a
box does: easy, hard and the rest of KINDS, with `+` what it does besides (FLAGS). The Internet is
203.0.113.0/24 and 2001:db8::/64, LANs are 10.N.0.0/24 (`cgnat`: 100.100.N.0/24) and
2001:db8:0:N::/64; the box has .1.
"""

import json
import pathlib
import re
import secrets
import signal
import subprocess
import sys

from lab import Daemon, Host, wait_for

HERE = pathlib.Path(__file__).resolve().parent

# Of what cables lose.
SEED = 6

# Without the drop on the way in a packet of the peer's that comes too early takes the port that
# ours would have had.
FILTER = """
table ip filter {
  chain input {
    type filter hook input priority filter; policy accept;
    ct state established,related accept
    iifname "w0" drop
  }
  chain ahead {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" oifname "w0" accept
    ct status dnat accept
  }
}
"""

POST = """
table ip nat {
  chain post {
    type nat hook postrouting priority srcnat;
    %s
  }
}
"""

# What a packet to the outside address of a LAN's own box comes to: the host that uses the port.
CONE = """
table ip nat {
  map cone {
    type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 5m; size 4096;
  }
  chain pre {
    type nat hook prerouting priority dstnat;
    ip daddr OUTSIDE meta l4proto udp dnat ip to udp dport map @cone
  }
  chain post {
    type nat hook postrouting priority srcnat;
    oifname "w0" meta l4proto udp update @cone { udp sport : ip saddr . udp sport }
    oifname "w0" masquerade
    oifname "lan0" ct status dnat snat to OUTSIDE
  }
}
"""

ONE_TO_ONE = """
table ip nat {
  chain pre { type nat hook prerouting priority dstnat; iifname "w0" dnat to INSIDE; }
  chain post { type nat hook postrouting priority srcnat; oifname "w0" snat to OUTSIDE; }
}
"""

KINDS = {
    "easy": POST % 'oifname "w0" masquerade',                   # one mapping for all destinations
    "moving": POST % 'oifname "w0" meta l4proto udp masquerade to :50000-59999\n'
                     '    oifname "w0" masquerade',             # the same, at another port
    "hard": POST % 'oifname "w0" masquerade fully-random',      # another one for each
    "hairpin": CONE,                                            # open to all, also from inside
    "one": ONE_TO_ONE,                                          # an address for the first host
    "router": "",                                               # no NAT: a firewall
}

BLOCK = """
table ip block {
  chain ahead { type filter hook forward priority -10; %s drop; }
}
"""

FLAGS = {
    "noudp": BLOCK % "meta l4proto udp",
    "nostun": BLOCK % "udp dport 3478",
    "six": """
table ip6 filter {
  chain input {
    type filter hook input priority filter; policy accept;
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    iifname "w0" drop
  }
  chain ahead {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" oifname "w0" accept
  }
}
""",
    "cgnat": "",        # the LAN has addresses of the range that tailnets use
}

# A host's own.
WALL = """
table inet wall {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    iifname != "eth0" accept
  }
}
"""


class Cable:
    """cable.py between an interface of a host and a port of a switch."""

    def __init__(self, host, name, switch, port):
        self.proc = switch.start(
            sys.executable, HERE / "cable.py", f"/run/netns/{host.ns}", name,
            f"/run/netns/{switch.ns}", port, SEED, private=False, stdin=subprocess.PIPE,
            log=switch.lab.dir / f"cable-{host.name}-{name}.log")
        self.says("ready")

    def says(self, words):
        wait_for(f"the cable says {words}", lambda: words in self.proc.output(), 30)

    def becomes(self, delay, loss):
        """Milliseconds and percent, of each way."""
        self.proc.popen.stdin.write(f"{delay} {loss}\n".encode())
        self.proc.popen.stdin.flush()
        self.says(f"delay {delay} loss {loss}")


class Switch(Host):
    """A bridge, `lan0`, in a namespace that routes for those on it."""

    def __init__(self, net, name, prefix4, prefix6=None):
        super().__init__(net.lab, name)
        net.lab.hosts.append(self)
        self.net, self.prefix4, self.prefix6, self.count = net, prefix4, prefix6, 1
        # What stays in the LAN is nothing that a router filters; some kernels do not know of it.
        self.run("sysctl", "-qe", "net.bridge.bridge-nf-call-iptables=0",
                 "net.bridge.bridge-nf-call-ip6tables=0", check=False)
        # An address of its own: else it is that of the lowest port, and changes with new ones.
        self.ip("link", "add", "lan0", "address", "02:00:00:00:00:01", "type", "bridge",
                "forward_delay", "0")
        self.ip("link", "set", "lan0", "addrgenmode", "none", "up")
        self.ip("addr", "add", f"{prefix4}.1/24", "dev", "lan0")
        if prefix6:
            self.address6("lan0", f"{prefix6}1")

    def address6(self, dev, address):
        # A router asks for its neighbours with a link-local address.
        for each in (address, f"fe80::{address.rpartition(':')[2]}"):
            self.ip("addr", "add", f"{each}/64", "dev", dev, "nodad")

    def plug(self, host, name):
        """A cable from a port of the switch to an interface of that host; returns its addresses."""
        self.count += 1
        port = f"{self.lab.prefix}p{self.count}"
        if "cable" in getattr(host, "flags", ()):
            host.cable = Cable(host, name, self, port)
        else:
            host.ip("link", "add", name, "type", "veth", "peer", "name", port, "netns", self.ns)
        self.ip("link", "set", port, "master", "lan0", "addrgenmode", "none", "up")
        host.ip("link", "set", name, "addrgenmode", "none", "up")
        return f"{self.prefix4}.{self.count}", self.prefix6 and f"{self.prefix6}{self.count:x}"

    def host(self, name, *flags):
        return End(self, name, flags)

    def nat(self, kind, *flags, name=None):
        return Box(self, kind, flags, name)

    def at(self, way):
        """The LAN behind the boxes of that way; "" is here."""
        here = self
        for step in filter(None, way.split("/")):
            name, _, what = step.rpartition(":")
            if step in self.net.boxes:
                here = self.net.boxes[step]
            else:
                here = here.nat(*what.split("+"), name=name or None)
        return here


class Box(Switch):
    """A NAT or firewall, in whose LAN hosts and further boxes are."""

    def __init__(self, outer, kind, flags, name):
        net = outer.net
        net.networks += 1
        self.kind, self.flags, n = kind, flags, net.networks
        super().__init__(net, f"{name or kind}-{n}",
                         f"100.100.{n}" if "cgnat" in flags else f"10.{n}.0",
                         f"2001:db8:0:{n:x}::" if "six" in flags else None)
        net.boxes[name or self.name] = self
        self.outside, six = outer.plug(self, "w0")
        self.ip("addr", "add", f"{self.outside}/24", "dev", "w0")
        self.ip("route", "add", "default", "via", f"{outer.prefix4}.1")
        self.sysctl("net.ipv4.ip_forward", 1)
        if self.prefix6:
            self.address6("w0", six)
            self.ip("route", "add", "default", "via", f"{outer.prefix6}1")
            self.sysctl("net.ipv6.conf.all.forwarding", 1)
            outer.ip("route", "add", f"{self.prefix6}/64", "via", six)
        self.load()

    def load(self):
        rules = KINDS[self.kind].replace("OUTSIDE", self.outside)
        rules = FILTER + rules.replace("INSIDE", f"{self.prefix4}.2")
        self.nft("flush ruleset\n" + rules + "".join(FLAGS[flag] for flag in self.flags))

    def nft(self, text):
        self.run("nft", "-f", "-", input=text)


class End(Host):
    """A host on a switch. Flags: firewall, dual (IPv6 as well), six (nothing but IPv6), cable (to
    the switch: one that can become bad)."""

    def __init__(self, switch, name, flags):
        super().__init__(switch.lab, name)
        switch.lab.hosts.append(self)
        net = self.net = switch.net
        self.switch, self.flags = switch, flags
        self.ip4, self.ip6 = switch.plug(self, "eth0")
        if "six" in flags:
            self.ip4 = None
        else:
            self.ip("addr", "add", f"{self.ip4}/24", "dev", "eth0")
            self.ip("route", "add", "default", "via", f"{switch.prefix4}.1")
        if not switch.prefix6 or switch is net and not {"six", "dual"} & set(flags):
            self.ip6 = None
        else:
            self.ip("addr", "add", f"{self.ip6}/64", "dev", "eth0", "nodad")
            self.ip("route", "add", "default", "via", f"{switch.prefix6}1")
        if "firewall" in flags:
            self.nft(WALL)

    def nft(self, text):
        self.run("nft", "-f", "-", input=text)


class Internet(Switch):
    """The outermost switch, with our coordinator and a relay in each of two regions. `control`: an
    address that the coordinator has as well, and is named by. `mesh`: two relays in the east;
    "alone": and no other region.
    `stun_port`: where nodes ask the relays' hosts, 0 for as ever."""

    def __init__(self, lab, control=None, mesh=False, stun_port=0):
        self.lab, self.boxes, self.nodes = lab, {}, {}
        self.networks = self.streams = 0
        super().__init__(self, "internet", "203.0.113", "2001:db8::")
        self.boxes[self.name] = self
        # Between IPv6 networks it forwards; what is sent to private addresses ends here.
        self.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.relays = [Relay(self.host(name, "dual"), region)
                       for name, region in (("east", 900), ("west", 901), ("easter", 900))
                       if name == "east" or (mesh if name == "easter" else mesh != "alone")]
        for relay in self.relays:
            relay.ready()
        if mesh:
            self.mesh(self.relays[0], self.relays[-1])
        hq = self.host("hq", "dual")
        if control:
            hq.ip("addr", "add", f"{control}/32", "dev", "eth0")
            self.ip("route", "add", control, "via", hq.ip4)
            self.ip("route", "add", "blackhole", "default")
            self.sysctl("net.ipv4.ip_forward", 1)
        self.hq = Coordinator(hq, self.relays, control or "hq.test", stun_port)

    def mesh(self, *relays):
        key = self.lab.secret("mesh.key", secrets.token_hex(32))
        mates = ", ".join(f"'{relay.host.ip4} {relay.pin()}'" for relay in relays)
        for relay in relays:
            relay.write(relay.config.read_text().replace(
                "relay: {", f"relay: {{mesh-key: {{file: {key}}}, mesh-with: [{mates}], "))
            relay.cli("reload")
        for relay in relays:
            wait_for("the mesh is up", lambda relay=relay: all(
                mate["connected"] for mate in relay.json("relay", "status")["mesh"]), 30)

    def join(self, *ends, extra=""):
        """Our daemon on each of those hosts; returns when all are in the tailnet."""
        key = self.hq.auth_key()
        nodes = [Node(end, key, extra) for end in ends]
        for node in nodes:
            node.joined()
        return nodes


class Relay(Daemon):
    """For whoever finds it; clients know its certificate by the pin."""

    def __init__(self, host, region):
        self.region = region
        super().__init__(host, "front: {tls: self-signed}\n"
                         f"relay: {{region: {region}, code: {host.name}, verify: anyone}}\n",
                         wait=False)

    def pin(self):
        return re.search(r"sha256-raw:[0-9a-f]{64}", self.cli("status").stdout)[0]

    def enter(self, regions, stun_port):
        """Into those of a DERPMap."""
        nodes = regions.setdefault(str(self.region), {
            "RegionID": self.region, "RegionCode": self.host.name, "Nodes": []})["Nodes"]
        nodes.append({"Name": f"{self.region}{'ab'[len(nodes)]}", "RegionID": self.region,
                      "CertName": self.pin(), "HostName": self.host.ip4, "IPv4": self.host.ip4,
                      "IPv6": self.host.ip6, "CanPort80": True, "STUNPort": stun_port})


class Coordinator(Daemon):
    """Everybody reaches everybody."""

    def __init__(self, host, relays, name, stun_port):
        folder = host.lab.dir
        (folder / "policy").write_text('{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}')
        regions = {}
        for relay in relays:
            relay.enter(regions, stun_port)
        (folder / "relays").write_text(json.dumps({"Regions": regions}))
        self.url = f"http://{name}:8080"
        super().__init__(host, f"coordinator:\n  url: {self.url}\n  listen: '[::]:8080'\n"
                         f"  base-domain: tail.test\n  policy: {folder}/policy\n"
                         f"  derp-map: {folder}/relays\n")
        self.cli("user", "create", "alice")

    def auth_key(self):
        return self.json("key", "create", "--user", "alice", "--reusable")["secret"]


class Stream:
    """TCP between two nodes, whose ends compare checksums."""

    def __init__(self, one, two, mib=1, seconds=0):
        one.net.streams += 1
        port = 5000 + one.net.streams
        self.server = self.start(two, "serve", two.tail4, port)
        wait_for("the stream's server listens", lambda: "listening" in self.server.output())
        self.client = self.start(one, "send", two.tail4, port, mib, seconds)
        # What happens next happens to a connection, and stop() to a program that expects it.
        wait_for("the stream is under way", lambda: "sending" in self.client.output(), 60)

    @staticmethod
    def start(node, *argv):
        return node.host.start(sys.executable, HERE / "stream.py", *argv, private=False,
                               log=node.dir / f"stream-{secrets.token_hex(3)}.log")

    def stop(self):
        """Its end comes before its time."""
        self.client.kill(signal.SIGTERM)
        self.ends()

    def ends(self, timeout=60):
        for side in (self.client, self.server):
            assert side.popen.wait(timeout) == 0, side.output()


class Node(Daemon):
    """Our daemon on a host, in the tailnet."""

    def __init__(self, end, key, extra):
        net = self.net = end.net
        self.name = end.name
        # Each has its own port: two of them behind one NAT would be in each other's way.
        self.port = 41641 + len(net.nodes)
        net.nodes[self.name] = self
        end.names["hq.test"] = ",".join(
            getattr(net.hq.host, family) for family in ("ip4", "ip6") if getattr(end, family))
        secret = end.lab.secret(f"{end.name}.authkey", key)
        super().__init__(end, f"node: {{hostname: {end.name}}}\nwg: {{port: {self.port}}}\n"
                         f"control: {{url: {net.hq.url}, auth-key: {{file: {secret}}}}}\n{extra}",
                         wait=False)

    def joined(self, timeout=30):
        self.ready(timeout)
        wait_for(f"{self.name} joins", lambda: self.status()["control"]["state"] == "Running",
                 timeout)
        wait_for(f"{self.name} has a home", lambda: self.status()["paths"]["home"], timeout)
        self.tail4, self.tail6 = self.cli("ip").stdout.split()

    def flow(self, peer, seconds=120):
        """Traffic both ways, since pings are answered."""
        return self.host.start("ping", "-n", "-q", "-i", "0.5", "-w", seconds, peer.tail4,
                               private=False, log=self.dir / f"ping-{peer.name}.log")

    def streams(self, peer):
        """A TCP stream, with checksums compared on both sides."""
        Stream(self, peer).ends()

    def way(self, peer):
        """What its status says of the way to that node, or nothing."""
        return next((p for p in self.status()["paths"]["peers"]
                     if p["name"].startswith(peer.name + ".")), {})

    def address(self, peer):
        """By which that node is reached directly, or nothing."""
        way = self.way(peer)
        return way["address"] if way.get("trusted") and way["active"] else ""

    def direct(self, peer):
        """And in use: of a way that is not nobody finds out when it dies."""
        return bool(self.address(peer))

    def why(self, peer):
        return self.json("why", peer.name)["verdict"]

    def events(self, peer):
        return self.json("paths", "history", peer.name)["events"]

    def relayed(self):
        """Packets of peers, as wg counts them: disco is not among them."""
        return sum(self.metric(f'warren_wg_relayed{{direction="{way}"}}')
                   for way in ("sent", "received"))
