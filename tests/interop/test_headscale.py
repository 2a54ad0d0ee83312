"""Our daemon in a tailnet that Headscale runs.

It never says IsWireGuardOnly, and who has neither disco key nor relay is no peer to anybody
(README.md): until our node finds paths no packet flows here. What it is told is judged by what it
shows, what it tells by what Headscale and a stock node show.
"""

import json

import pytest

from interop import BIN, Tailnet, Tailscaled, Warren, wait_for

pytestmark = pytest.mark.skipif(not (BIN / "headscale").exists(),
                                reason=f"no headscale in {BIN}: build.sh says why")

CONFIG = """
server_url: {url}
listen_addr: 0.0.0.0:8080
metrics_listen_addr: 127.0.0.1:9090
grpc_listen_addr: 127.0.0.1:50443
noise: {{private_key_path: {dir}/noise.key}}
prefixes: {{v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48"}}
derp:
  server: {{enabled: false}}
  urls: []
  paths: [{dir}/relays.yaml]
  auto_update_enabled: false
disable_check_updates: true
database: {{type: sqlite, sqlite: {{path: {dir}/db.sqlite}}}}
log: {{level: debug}}
policy: {{mode: database}}
dns:
  magic_dns: true
  base_domain: tail.test
  override_local_dns: false
  nameservers: {{global: []}}
unix_socket: {dir}/headscale.sock
"""
# Named and not there: a region is all that Headscale insists on.
RELAYS = """
regions:
  900:
    regionid: 900
    regioncode: lab
    regionname: Lab
    nodes: [{{name: lab1, regionid: 900, hostname: relay.test, ipv4: {gateway}}}]
"""


class Headscale:
    """On the switch, with one user."""

    def __init__(self, net):
        self.net, self.url = net, f"http://{net.CONTROL}:8080"
        self.dir = net.lab.dir / "headscale"
        self.dir.mkdir()
        (self.dir / "relays.yaml").write_text(RELAYS.format(gateway=net.GATEWAY4))
        self.config = self.dir / "config.yaml"
        self.config.write_text(CONFIG.format(url=self.url, dir=self.dir))
        self.proc = net.switch.start(BIN / "headscale", "-c", self.config, "serve")
        wait_for("headscale listens", lambda: ":8080 " in net.switch.run("ss", "-ltn").stdout, 30)
        self.user = self.cli("users", "create", "alice")["id"]

    def cli(self, *argv):
        done = self.net.switch.run(BIN / "headscale", "-c", self.config, "-o", "json", *argv)
        return json.loads(done.stdout or "null")

    def auth_key(self, *options):
        return self.cli("preauthkeys", "create", "-u", self.user, *options)["key"]

    def policy(self, *acls):
        file = self.dir / "policy.hujson"
        file.write_text(json.dumps({"acls": acls}))
        self.net.switch.run(BIN / "headscale", "-c", self.config, "policy", "set", "-f", file)

    def node(self, name):
        found = [n for n in self.cli("nodes", "list") or [] if n["name"] == name]
        assert len(found) < 2, f"two nodes are called {name}"
        return found[0] if found else None

    def register(self, link):
        return self.cli("nodes", "register", "-u", "alice", "-k", link.rsplit("/", 1)[1])

    def expire(self, name):
        self.cli("nodes", "expire", "-i", self.node(name)["id"])

    def alive(self):
        return self.proc.alive()


class HeadscaleTailnet(Tailnet):
    """The lab's switch with Headscale on it."""

    def begin(self, *options):
        self.control = Headscale(self)


@pytest.fixture
def tailnet(lab):
    one = HeadscaleTailnet(lab)
    yield one
    assert one.control.alive(), f"headscale ended:\n{one.control.proc.output()}"


class Node(Warren):
    """Ours; its addresses are those that it says it has."""

    def joined(self, timeout=15):
        wait_for(f"{self.name} joins", lambda: self.control()["state"] == "Running", timeout)
        self.ip4, self.ip6 = self.cli("ip").stdout.split()
        wait_for("the addresses are there",
                 lambda: self.ip6 in self.host.ip("-o", "addr").stdout, timeout)


def peer(box, name):
    """What it shows of that peer, or None."""
    return next((p for p in box.status()["Peer"].values() if p["HostName"] == name), None)


def test_join_by_key_and_by_link(tailnet):
    one = Node(tailnet, "one", auth_key=tailnet.control.auth_key())
    assert tailnet.control.node("one")["register_method"] == 1    # REGISTER_METHOD_AUTH_KEY
    assert tailnet.control.node("one")["ip_addresses"] == [one.ip4, one.ip6]
    two = Node(tailnet, "two", auth_key=None, joined=False)
    link = two.auth_url()
    assert link.startswith(f"{tailnet.control.url}/register/")
    tailnet.control.register(link)
    two.joined()
    stock = Tailscaled(tailnet, up=(f"--auth-key={tailnet.control.auth_key()}",))
    for box in (one, two):
        theirs = wait_for("it knows the stock node", lambda box=box: peer(box, "stock"))
        assert theirs["TailscaleIPs"] == [stock.ip4, stock.ip6]
        ours = wait_for("the stock node knows it", lambda box=box: stock.peer(box.name))
        assert ours["TailscaleIPs"] == [box.ip4, box.ip6]
        wait_for("it is online to it", lambda box=box: stock.peer(box.name)["Online"])
    assert "two.tail.test" in one.cli("whois", two.ip4).stdout
    # A restart is no new login.
    key = tailnet.control.node("two")["node_key"]
    two.stop()
    wait_for("it is offline", lambda: not stock.peer("two")["Online"], 30)
    two.start()
    two.joined()
    assert tailnet.control.node("two")["node_key"] == key
    wait_for("it is back", lambda: stock.peer("two")["Online"])


def test_policy_changes_under_way(tailnet):
    key = tailnet.control.auth_key("--reusable")
    one, two = Node(tailnet, "one", auth_key=key), Node(tailnet, "two", auth_key=key)
    wait_for("they know each other", lambda: peer(one, "two") and peer(two, "one"))
    tailnet.control.policy({"action": "accept", "src": [f"{one.ip4}"], "dst": [f"{two.ip4}:80"]},
                           {"action": "accept", "src": [f"{one.ip4}"], "dst": [f"{two.ip6}:81"]})
    wait_for("two has both rules", lambda: two.status()["filter"]["rules"] == 2)
    wait_for("one has none", lambda: one.status()["filter"]["rules"] == 0)
    tailnet.control.policy({"action": "accept", "src": ["*"], "dst": ["*:*"]})
    for box in (one, two):
        wait_for("all is allowed", lambda box=box: box.status()["filter"]["rules"] == 1)


def test_routes_are_approved(tailnet):
    key = tailnet.control.auth_key("--reusable")
    gate = Node(tailnet, "gate", auth_key=key, extra="router: {advertise: [10.77.0.0/24]}\n")
    other = Node(tailnet, "other", auth_key=key)
    wait_for("they know each other", lambda: peer(other, "gate"))
    node = tailnet.control.node("gate")
    assert node["available_routes"] == ["10.77.0.0/24"]
    tailnet.control.cli("nodes", "approve-routes", "-i", node["id"], "-r", "10.77.0.0/24")
    wait_for("the other is told", lambda: "10.77.0.0/24" in peer(other, "gate")["AllowedIPs"])
    wait_for("so is the gateway", lambda: "10.77.0.0/24" in gate.status()["Self"]["AllowedIPs"])
    gate.stop()
    gate.start()
    gate.joined()
    assert tailnet.control.node("gate")["approved_routes"] == ["10.77.0.0/24"]
    gate.cli("set", "--override", "--advertise-routes=")
    wait_for("it offers nothing", lambda: not tailnet.control.node("gate").get("available_routes"))


def test_expiry_and_a_new_login(tailnet):
    one = Node(tailnet, "one", auth_key=tailnet.control.auth_key())
    two = Node(tailnet, "two", auth_key=None, joined=False)
    tailnet.control.register(two.auth_url())
    two.joined()
    addresses = two.ip4, two.ip6
    wait_for("they know each other", lambda: peer(one, "two"))
    tailnet.control.expire("two")
    # A node without a key to log in by asks for its user.
    tailnet.control.register(two.auth_url())
    two.joined()
    assert (two.ip4, two.ip6) == addresses
    wait_for("its peer has it back", lambda: not peer(one, "two").get("Expired"))


def test_logout(tailnet):
    key = tailnet.control.auth_key("--reusable")
    one, two = Node(tailnet, "one", auth_key=key), Node(tailnet, "two", auth_key=key)
    wait_for("they know each other", lambda: peer(one, "two"))
    two.cli("logout")
    assert two.control()["state"] == "NeedsLogin"
    wait_for("the other is told", lambda: peer(one, "two").get("Expired"))
    two.cli("up", "--auth-key", key)
    two.joined()
    wait_for("and again", lambda: not peer(one, "two").get("Expired"))
