"""Port mappings at a home router: miniupnpd with each of its protocols, and one that refuses.

miniupnpd maps nothing while its outer address is one of documentation, private or shared networks.
So the good router has an ordinary address, in namespaces that nothing leaves.
"""

import itertools
import json
import sys
import uuid

import pytest

from lab import Daemon, genkey, need, pubkey, wait_for

pytestmark = pytest.mark.skipif(need("miniupnpd"), reason="no miniupnpd")

INNER, OUTER = "10.91.0.1", "10.91.0.2"
PORT = 41641

# Only what was answered or mapped comes in. A router that speaks NAT-PMP alone hears no PCP.
RULES = """
table inet filter {
  chain input { type filter hook input priority filter; %s }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" oifname "wan0" accept
    jump miniupnpd
  }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd;
    oifname "wan0" masquerade; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
"""
NO_PCP = "udp dport 5351 @th,64,8 2 drop;"
ONLY_GROUP = "ip daddr 10.1.0.1 udp dport 1900 drop;"

CONFIG = """ext_ifname=wan0
listening_ip=lan0
http_port=0
enable_natpmp={pmp}
enable_upnp={upnp}
secure_mode=yes
{clock}
uuid={uuid}
min_lifetime=2
max_lifetime={lease}
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 10.1.0.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


# A device without leases, which says that its services are at another host.
FOREVER = """
import http.server, re, socket, threading

class Device(http.server.BaseHTTPRequestHandler):
    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.answer(200, "<root><service><serviceType>"
                    "urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>"
                    "<controlURL>http://192.0.2.99:5000/ctl</controlURL></service></root>")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = self.headers["SOAPAction"].strip('"').split("#")[1]
        lease = re.search("<NewLeaseDuration>(.*)</NewLease", body)
        print("asked:", action, lease[1] if lease else "", flush=True)
        if lease and lease[1] != "0":
            self.answer(500, "<e><errorCode>725</errorCode></e>")
        else:
            self.answer(200, "<a><NewExternalIPAddress>1.2.3.1</NewExternalIPAddress></a>")

server = http.server.HTTPServer(("10.1.0.1", 5000), Device)
threading.Thread(target=server.serve_forever, daemon=True).start()
ssdp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ssdp.bind(("", 1900))
print("listening", flush=True)
while True:
    _, peer = ssdp.recvfrom(2048)
    ssdp.sendto(b"HTTP/1.1 200 OK\\r\\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1"
                b"\\r\\nLOCATION: http://10.1.0.1:5000/\\r\\n\\r\\n", peer)
"""


class Home:
    """A node behind a router, and a peer outside that knows nothing but the mapped port."""

    def __init__(self, lab, wan="1.2.3", rules="", lease=7200):
        self.lab, self.wan, self.lease = lab, wan, lease
        self.node, self.router, self.peer = (lab.host(n) for n in ("node", "router", "peer"))
        for host, net, inner in ((self.node, "10.1.0", "lan0"), (self.peer, wan, "wan0")):
            _, name = lab.wire(host, self.router, f"{net}.2/24", f"{net}.1/24")
            self.router.ip("link", "set", name, "down")
            self.router.ip("link", "set", name, "name", inner, "up")
        self.node.ip("route", "add", "default", "via", "10.1.0.1")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.run("nft", "-f", "-", input=RULES % rules)
        self.keys = genkey(), genkey()
        self.daemon = None

    def serve(self, clock="system_uptime=no", upnp=False):
        config = self.lab.dir / "miniupnpd.conf"
        config.write_text(CONFIG.format(uuid=uuid.uuid4(), lease=self.lease, clock=clock,
                                        pmp="no" if upnp else "yes",
                                        upnp="yes" if upnp else "no"))
        self.mapper = self.router.start("miniupnpd", "-d", "-f", config, "-P", "/run/mu.pid")
        port = ":1900 " if upnp else ":5351 "
        wait_for("miniupnpd listens", lambda: port in self.router.run("ss", "-uln").stdout)

    def flush(self):
        """miniupnpd leaves its rules behind."""
        self.mapper.kill()
        self.mapper.popen.wait(5)
        for chain in ("miniupnpd", "prerouting_miniupnpd", "postrouting_miniupnpd"):
            self.router.run("nft", "flush", "chain", "inet", "filter", chain)

    def yaml(self, ours, theirs, address, peer, rest, port=PORT):
        key = self.lab.secret(f"{address}.key", self.keys[ours])
        return (f"identity: {{node-key: {{file: {key}}}}}\nwg: {{port: {port}}}\nrouter: {{}}\n"
                f"static:\n  addresses: [{address}/24]\n  peers:\n    far: {{public-key: "
                f"{pubkey(self.keys[theirs])}, allowed-ips: [{peer}/32]{rest}}}\n")

    def config(self, portmap=""):
        return self.yaml(0, 1, INNER, OUTER, "") + f"paths: {{{portmap}}}\n"

    def start(self):
        self.daemon = Daemon(self.node, self.config())

    def endpoints(self):
        return self.daemon.status()["paths"]["endpoints"]

    def mapped(self):
        """The endpoint at the router's outer address."""
        return next((e for e in self.endpoints() if e.startswith(f"{self.wan}.1:")), None)

    def mapping(self):
        return json.loads(self.daemon.cli("why", "far", "--json").stdout)["port-mapping"]

    def rules(self):
        return self.router.run("nft", "list", "chain", "inet", "filter",
                               "prerouting_miniupnpd").stdout.count("dnat")

    def peer_comes_in(self, endpoint):
        outside = Daemon(self.peer, self.yaml(1, 0, OUTER, INNER, f", endpoint: '{endpoint}'"))
        self.peer.pings(INNER)
        outside.stop()


@pytest.mark.parametrize("protocol,rules", (
    ("PCP", ""), ("NAT-PMP", NO_PCP), ("UPnP", ""), ("UPnP", ONLY_GROUP)),
    ids=("PCP", "NAT-PMP", "UPnP", "UPnP-by-multicast"))
def test_a_peer_comes_in_by_the_mapped_port(lab, protocol, rules):
    home = Home(lab, rules=rules)
    home.serve(upnp=protocol == "UPnP")
    home.start()
    endpoint = wait_for("the port is mapped", home.mapped)
    assert home.mapping() == (f"the gateway 10.1.0.1 maps {endpoint} to our port {PORT} "
                              f"({protocol})")
    assert home.endpoints()[0] == endpoint
    home.peer_comes_in(endpoint)
    # Off, on, and the end: a mapping is there as long as somebody wants it.
    home.daemon.write(home.config("portmap: false"))
    home.daemon.cli("reload")
    wait_for("the mapping is deleted", lambda: home.rules() == 0)
    wait_for("it is told to nobody", lambda: not home.mapped())
    assert home.mapping() == "switched off by paths.portmap"
    home.daemon.write(home.config())
    home.daemon.cli("reload")
    wait_for("the port is mapped again", home.mapped)
    assert home.rules() == 1
    assert home.daemon.stop() == 0
    assert home.rules() == 0


def test_renewed(lab):
    home = Home(lab, lease=16)
    home.serve()
    home.start()
    endpoint = wait_for("the port is mapped", home.mapped)
    # What is renewed too late is no longer there to be replaced.
    wait_for("the mapping is renewed", lambda: "port 41641 udp already redirected to "
             "10.1.0.2:41641, replacing" in home.mapper.output(), timeout=30)
    assert home.mapped() == endpoint
    assert "maps 1.2.3.1:" in home.daemon.log() and "is gone" not in home.daemon.log()


def test_back_after_a_restart_of_the_router(lab):
    home = Home(lab)
    home.serve(clock="system_uptime=yes")
    home.start()
    endpoint = wait_for("the port is mapped", home.mapped)
    home.flush()
    assert home.rules() == 0
    # Its clock begins anew. A change of the links is one of the times when we look.
    home.serve()
    last = itertools.count(1)

    def mapped_again():
        home.node.ip("addr", "add", f"192.0.2.{next(last)}/32", "dev", "lo")
        return home.rules() == 1
    wait_for("the port is mapped again", mapped_again, timeout=20, step=1)
    wait_for("it is the same", lambda: home.mapped() == endpoint)


def test_another_address_of_ours(lab):
    home = Home(lab)
    home.serve()
    home.start()
    wait_for("the port is mapped", home.mapped)
    device = json.loads(home.node.ip("-j", "route", "show", "default").stdout)[0]["dev"]
    home.node.ip("addr", "del", "10.1.0.2/24", "dev", device)
    home.node.ip("addr", "add", "10.1.0.3/24", "dev", device)
    home.node.ip("route", "replace", "default", "via", "10.1.0.1")
    wait_for("the port is mapped for it", lambda: "10.1.0.3" in home.router.run(
        "nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").stdout)
    home.peer_comes_in(wait_for("peers are told", home.mapped))


@pytest.mark.parametrize("upnp", (False, True), ids=("PCP", "UPnP"))
def test_a_router_that_refuses(lab, upnp):
    home = Home(lab, wan="203.0.113")
    home.serve(upnp=upnp)
    home.start()
    wait_for("the refusal is known", lambda: "refuses our port" in home.mapping())
    assert not home.mapped() and home.rules() == 0
    assert "refuses our port" in home.daemon.log()
    assert home.daemon.stop() == 0


def test_a_router_that_maps_nothing(lab):
    home = Home(lab)
    home.start()
    wait_for("nobody answers", lambda: home.mapping() == "the gateway 10.1.0.1 offers none")
    assert home.daemon.stop() == 0


def test_a_device_without_leases(lab, monkeypatch):
    # A proxy is for the Internet. That there is none would be noticed.
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.98:3128")
    home = Home(lab)
    device = home.router.start(sys.executable, "-c", FOREVER, log=lab.dir / "device.log",
                               private=False)
    wait_for("the device listens", lambda: "listening" in device.output())
    home.start()
    wait_for("the port is mapped", home.mapped)
    assert home.mapping().endswith("(UPnP)")
    asked = [line for line in device.output().splitlines() if line.startswith("asked:")]
    assert "asked: AddPortMapping 7200" in asked
    assert asked[0] == "asked: GetExternalIPAddress "
    assert asked[-1] == "asked: AddPortMapping 0"
    assert home.daemon.stop() == 0
    assert "asked: DeletePortMapping" in device.output()
