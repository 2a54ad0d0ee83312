"""identity, static, router and filter with a real kernel and a real second node."""

import json
import re
import stat
import sys
import time

import lab as lablib
import pytest
from lab import Daemon, genkey, need, pubkey, wait_for
from test_gateways import A, B, Gateways

# `ip rule` of the stock client (its transcripts, 02-up).
STOCK_RULES = """\
5210:	from all fwmark 0x80000/0xff0000 lookup main
5230:	from all fwmark 0x80000/0xff0000 lookup default
5250:	from all fwmark 0x80000/0xff0000 unreachable
5270:	from all lookup 52
"""

# A route that says whether somebody watches.
MARK = "198.51.100.9"


def ours(rules):
    """The rules in our range, without the protocol that newer iproute2 shows."""
    lines = [re.sub(r" proto \S+$", "", line.rstrip()) for line in rules.splitlines()]
    return "".join(line + "\n" for line in lines if line.startswith("52"))


def routes(host, family="-4"):
    return set(host.ip(family, "route", "show", "table", "52", check=False).stdout.splitlines())


def single(lab, host, static, router="{}", rest="", **kw):
    secret = lab.secret(f"{host.name}.key", genkey())
    return Daemon(host, f"identity: {{node-key: {{file: {secret}}}}}\nwg: {{}}\n"
                  f"router: {router}\n{rest}static:\n{static}", **kw)


class Listener:
    """Accepts and closes connections to a port until the lab ends."""

    CODE = ("import socket,sys\ns=socket.create_server((sys.argv[1],int(sys.argv[2])))\n"
            "print('listening',flush=True)\nwhile True: s.accept()[0].close()\n")

    def __init__(self, host, address, port):
        self.address, self.port = address, port
        proc = host.start(sys.executable, "-c", self.CODE, address, port, private=False,
                          log=host.lab.dir / f"listen-{port}.log")
        wait_for("listener", lambda: "listening" in proc.output())

    def answers(self, client):
        code = ("import socket; socket.create_connection(("
                f"'{self.address}', {self.port}), timeout=1).close()")
        return client.run(sys.executable, "-c", code, check=False).returncode == 0


def test_rules_and_table_are_those_of_the_stock_client(lab):
    host = lab.host("a")
    key = pubkey(genkey())
    single(lab, host, "  addresses: [100.64.0.1/32, 'fd7a:115c:a1e0::1/48']\n  peers:\n"
           f"    b: {{public-key: {key}, "
           "allowed-ips: [100.64.0.2, 10.99.0.0/24, 'fd00:99::/64']}\n")
    wait_for("routes", lambda: len(routes(host, "-6")) == 2)
    assert ours(host.ip("-4", "rule").stdout) == STOCK_RULES
    assert ours(host.ip("-6", "rule").stdout) == STOCK_RULES
    assert {r.split(" proto")[0].strip() for r in routes(host)} == {
        "100.64.0.2 dev warren0", "100.100.100.100 dev warren0", "10.99.0.0/24 dev warren0"}
    assert {r.split(" proto")[0] for r in routes(host, "-6")} == {
        "fd00:99::/64 dev warren0", "fd7a:115c:a1e0::/48 dev warren0"}
    link = json.loads(host.ip("-j", "addr", "show", "dev", "warren0").stdout)[0]
    assert link["mtu"] == 1280 and "UP" in link["flags"]
    assert [(a["local"], a["prefixlen"]) for a in link["addr_info"]] == [
        ("100.64.0.1", 32), ("fd7a:115c:a1e0::1", 128)]


@pytest.mark.parametrize("what,words", [
    (("rule", "add", "pref", "5230", "fwmark", "0x80000/0xff0000", "lookup", "default"),
     "rules with priorities 5210-5270 (1, the first is 5230)"),
    (("route", "add", "blackhole", "203.0.113.0/24", "table", "52"), "routes in table 52 (1)"),
])
def test_foreign_state_stops_the_start_and_options_move_us(lab, what, words):
    host = lab.host("a")
    host.ip(*what)
    before = host.state()
    daemon = single(lab, host, "  addresses: [10.90.0.1/24]\n", wait=False)
    wait_for("refusal", lambda: words in daemon.log())
    assert "router.table" in daemon.log() and "rule-priorities" in daemon.log()
    assert ("look like Tailscale's" in daemon.log()) == (what[0] == "rule")
    daemon.stop()
    assert host.state() == before
    moved = single(lab, host, "  addresses: [10.90.0.1/24]\n",
                   "{table: 60, rule-priority: 5310}",
                   f'system: {{user: "{lablib.ENGINE_USER}", route-table: 60, '
                   'rule-priorities: 5310-5370}\n')
    wait_for("the rule", lambda: "lookup 60" in host.ip("rule").stdout)
    moved.stop()
    assert host.state() == before


def test_reload_touches_only_what_differs(lab):
    host = lab.host("a")
    keys = [pubkey(genkey()) for _ in range(3)]

    def static(*peers):
        return "  addresses: [10.90.0.1/24]\n  peers:\n" + "".join(
            f"    p{n}: {{public-key: {keys[n]}, allowed-ips: [10.90.0.{n + 2}, 10.{n}.0.0/16]}}\n"
            for n in peers)

    daemon = single(lab, host, static(0, 1))
    wait_for("routes", lambda: len(routes(host)) == 6)
    text = daemon.config.read_text()
    monitor = host.start("ip", "monitor", "route", "rule", "address", "link", private=False,
                         log=lab.dir / "monitor.log")

    def changed():
        return sorted(line.split(" dev")[0] for line in monitor.output().splitlines()
                      if line.strip() and MARK not in line)

    def listens():
        for how in ("add", "del"):
            host.ip("route", how, MARK, "dev", "lo")
        return MARK in monitor.output()
    wait_for("ip monitor listens", listens)
    daemon.write(text.replace(static(0, 1), static(1, 2)))
    daemon.cli("reload")
    wait_for("all of it is seen", lambda: len(changed()) >= 4)
    daemon.cli("reload")
    time.sleep(0.3)
    monitor.kill()
    assert changed() == ["10.2.0.0/16", "10.90.0.4", "Deleted 10.0.0.0/16", "Deleted 10.90.0.2"]


def test_what_others_remove_comes_back(lab):
    host = lab.host("a")
    daemon = single(lab, host, "  addresses: [10.90.0.1/24]\n  peers:\n"
                    f"    b: {{public-key: {pubkey(genkey())}, allowed-ips: [10.90.0.2]}}\n")
    wait_for("routes", lambda: len(routes(host)) == 3)
    host.ip("route", "flush", "table", "52")
    host.ip("rule", "del", "pref", "5270")
    host.ip("addr", "flush", "dev", "warren0")
    wait_for("routes again", lambda: len(routes(host)) == 3)
    wait_for("rules again", lambda: ours(host.ip("rule").stdout) == STOCK_RULES)
    wait_for("address again", lambda: "10.90.0.1" in host.ip("addr", "show", "warren0").stdout)
    assert "ok" in daemon.cli("doctor", "router", check=False).stdout.lower()


def test_keys_are_made_once_and_guarded(lab):
    host = lab.host("a")
    daemon = Daemon(host, "identity: {}\nwg: {}\nrouter: {}\n"
                    "static: {addresses: [10.90.0.1/24]}\n")
    first = daemon.json("identity", "show")
    files = {p.name: p for p in daemon.state_dir.rglob("*.key")}
    assert set(files) == {"machine.key", "node.key"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert re.fullmatch(r"privkey:[0-9a-f]{64}\n", path.read_text())
    daemon.stop()
    daemon.start()
    again = daemon.json("identity", "show")
    assert again["node"] == first["node"] and again["machine"] == first["machine"]
    assert again["disco"] != first["disco"]
    private = bytes.fromhex(files["node.key"].read_text().split(":")[1])
    log_and_status = daemon.log() + daemon.cli("status").stdout + json.dumps(again)
    assert private.hex() not in log_and_status
    daemon.stop()
    files["node.key"].chmod(0o644)
    daemon.start(wait=False)
    wait_for("refusal", lambda: "node.key: others may read or write it" in daemon.log())
    assert "warren0" not in host.ip("link").stdout
    daemon.stop()
    files["node.key"].chmod(0o600)
    files["node.key"].write_text("privkey:00\n")
    daemon.start(wait=False)
    wait_for("refusal", lambda: "holds no private key" in daemon.log())
    daemon.stop()


def test_another_node_key_by_reload(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    new = genkey()
    g.da.write(g.da.config.read_text().replace("a.key", "a2.key"))
    lab.secret("a2.key", new)
    g.db.write(g.db.config.read_text().replace(pubkey(g.key_a), pubkey(new)))
    g.da.cli("reload")
    g.db.cli("reload")
    assert g.da.json("identity", "show")["node"]["base64"] == pubkey(new)
    g.b.pings(A, timeout=20)


def test_accept_follows_reloads_under_traffic(lab, pair):
    g = Gateways(lab, pair, accept_b='[{from: gw-a, ports: [icmp]}]')
    g.a.pings(B)
    text = g.db.config.read_text()
    listener, other = Listener(g.b, B, 8080), Listener(g.b, B, 8081)
    ping = g.a.start("ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "1", B, private=False,
                     log=lab.dir / "accept-ping.log")
    for n in range(10):
        ports = "icmp, tcp/8080" if n % 2 == 0 else "icmp"
        g.db.write(text.replace("ports: [icmp]", f"ports: [{ports}]"))
        g.db.cli("reload")
        wait_for("the policy", lambda: (g.db.cli("filter", "test", A, B, "tcp/8080",
                                                 check=False).returncode == 0) == (n % 2 == 0))
        assert listener.answers(g.a) == (n % 2 == 0)
        if ping.popen.poll() is not None:
            break
    assert ping.popen.wait(30) == 0
    assert "400 packets transmitted, 400 received" in ping.output(), ping.output()
    # Without `accept:` everything passes, and back.
    g.db.write(re.sub(r"  accept: .*\n", "", text))
    g.db.cli("reload")
    wait_for("open", lambda: other.answers(g.a))
    g.db.write(text)
    g.db.cli("reload")
    wait_for("shut", lambda: not other.answers(g.a))
    dropped = [line for line in g.db.cli("metrics").stdout.splitlines()
               if "filter_inbound_dropped_packets" in line and "acl" in line]
    assert dropped and int(float(dropped[0].split()[-1])) > 0


def test_accept_without_filter_section_and_with_ipv6(lab, pair):
    a, b = pair
    keys = genkey(), genkey()

    def yaml(name, key, address, peer, other, endpoint, accept):
        return (f"identity: {{node-key: {{file: {lab.secret(name, key)}}}}}\nwg: {{}}\n"
                f"router: {{}}\nstatic:\n  addresses: ['{address}/64']\n  peers:\n"
                f"    peer: {{public-key: {pubkey(peer)}, allowed-ips: ['{other}'], "
                f"endpoint: '{endpoint}'}}\n{accept}")

    Daemon(a, yaml("k1", keys[0], "fd90::1", keys[1], "fd90::2", "[2001:db8::2]:41641", ""))
    db = Daemon(b, yaml("k2", keys[1], "fd90::2", keys[0], "fd90::1", "[2001:db8::1]:41641",
                        "  accept: [{from: 'fd90::/64', to: self, ports: [icmp]}]\n"))
    a.pings("fd90::2")
    assert db.cli("filter", "test", "fd90::1", "fd90::2", "tcp/22", check=False).returncode == 1
    assert "no rule allows it" in db.cli("filter", "test", "fd90::1", "fd90::2", "tcp/22",
                                         check=False).stdout
    shown = db.cli("config", "show").stdout
    assert "implied" in shown and "filter" in shown


def test_endpoint_by_name(lab, pair):
    g = Gateways(lab, pair)
    etc = lab.dir / "a-hosts"
    etc.write_text("127.0.0.1 localhost\n192.0.2.2 gw-b.lab.example\n")
    g.da.stop()
    text = g.da.config.read_text().replace("192.0.2.2:41641", "gw-b.lab.example:41641")
    g.da.write(text)
    g.da.proc = g.a.start("unshare", "-m", "sh", "-c", f"mount --bind {etc} /etc/hosts && exec "
                          '"$@"', "sh", *g.da.proc.argv[g.da.proc.argv.index("sh", 8) + 1:],
                          private=False, log=lab.dir / "named.log")
    g.da.ready()
    g.a.pings(B)
    assert g.da.status()["wg"]["peers"][0]["endpoint"] == "192.0.2.2:41641"
    # A name that nobody knows is told once, and does not hold up anything else.
    g.da.write(text.replace("gw-b.lab", "nobody.lab"))
    g.da.cli("reload")
    wait_for("complaint", lambda: "cannot look up nobody.lab.example" in g.da.log(), 20)
    assert "nobody.lab.example has no address" in g.da.cli("doctor", "static", check=False).stdout


def test_all_traffic_through_a_peer(lab, pair):
    g = Gateways(lab, pair)
    g.b.ip("addr", "add", "198.51.100.7/32", "dev", "lo")
    text = g.da.config.read_text()
    g.da.write(text.replace(f"allowed-ips: [{B}/32]", "allowed-ips: [0.0.0.0/0]"))
    g.da.cli("reload")
    wait_for("the default route",
             lambda: "dev warren0" in g.a.ip("route", "get", "198.51.100.7",
                                             check=False).stdout)
    # Our own encrypted packets still find the wire, by their mark.
    g.a.pings("198.51.100.7")
    g.a.pings(B)
    assert "(strict)" not in g.da.cli("doctor", "router", check=False).stdout
    g.a.sysctl("net.ipv4.conf.all.rp_filter", 1)
    done = g.da.cli("doctor", "router", check=False)
    assert "net.ipv4.conf.all.rp_filter is 1 (strict)" in done.stdout, done.stdout
    g.a.sysctl("net.ipv4.conf.all.rp_filter", 2)
    assert "(strict)" not in g.da.cli("doctor", "router", check=False).stdout


def test_limits_of_the_operator_are_named(lab):
    host = lab.host("a")
    before = host.state()
    daemon = single(lab, host, "  addresses: [10.90.0.1/24]\n", "{table: 60}", wait=False)
    wait_for("refusal", lambda: "table 60: system.route-table is 52" in daemon.log())
    daemon.stop()
    assert host.state() == before


def test_ipv6_on_a_host_that_has_it_off_by_default(lab):
    host = lab.host("a")
    host.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    daemon = single(lab, host, "  addresses: [10.90.0.1/24, 'fd90::1/64']\n")
    wait_for("the address", lambda: "fd90::1" in host.ip("addr", "show", "warren0").stdout)
    assert daemon.status()["router"]["problem"] == ""


@pytest.mark.skipif(bool(need("curl")), reason="not installed: curl")
def test_a_coordinator_that_nobody_reaches_is_told(lab):
    host = lab.host("a")
    alone = "coordinator: {url: 'https://hq.example.com', base-domain: tail.example.net}\n"
    daemon = Daemon(host, alone)
    assert "no client reaches https://hq.example.com" in daemon.cli(
        "doctor", "coordinator", check=False).stdout
    daemon.write(alone + "front: {tls: self-signed, https-port: 8443, http-port: 8080}\n")
    daemon.cli("reload")
    wait_for("front serves it", lambda: "no client" not in daemon.cli(
        "doctor", "coordinator", check=False).stdout)
    answer = host.run("curl", "-sk", "--resolve", "hq.example.com:8443:127.0.0.1",
                      "https://hq.example.com:8443/health")
    assert "pass" in answer.stdout
    daemon.write(alone)
    daemon.cli("reload")
    wait_for("it is told again", lambda: "coordinator.served" in daemon.cli(
        "doctor", "coordinator", check=False).stdout)
