"""Two of our daemons, each described by a YAML file."""

import re
import sys
import time

import lab as lablib
from lab import Daemon, genkey, pubkey, wait_for
from test_wireguard_go import HERE, stream

A, B = "10.90.0.1", "10.90.0.2"


class Gateways:
    def __init__(self, lab, pair, accept_b=None, extra_a="", extra_b=""):
        self.lab = lab
        self.a, self.b = pair
        self.key_a, self.key_b = genkey(), genkey()
        self.accept_b = accept_b
        self.yaml_a = self.yaml("a", self.key_a, A, [("gw-b", self.key_b, B, "192.0.2.2:41641")],
                                extra=extra_a)
        self.yaml_b = self.yaml("b", self.key_b, B, [("gw-a", self.key_a, A, "192.0.2.1:41641")],
                                accept_b, extra=extra_b)
        self.da, self.db = Daemon(self.a, self.yaml_a), Daemon(self.b, self.yaml_b)

    def yaml(self, name, key, address, peers, accept=None, extra=""):
        secret = self.lab.secret(f"{name}.key", key)
        text = f"node: {{hostname: gw-{name}}}\nidentity: {{node-key: {{file: {secret}}}}}\n"
        text += f"wg: {{port: 41641}}\nrouter: {{}}\nstatic:\n  addresses: [{address}/24]\n"
        text += "  peers:\n"
        for peer, private, allowed, endpoint in peers:
            text += (f"    {peer}: {{public-key: {pubkey(private)}, allowed-ips: [{allowed}/32], "
                     f"endpoint: '{endpoint}'}}\n")
        if accept is not None:
            text += f"  accept: {accept}\nfilter: {{}}\n"
        return text + extra


def tcp_answers(client, server, address, port):
    log = server.lab.dir / f"tcp-{server.name}-{port}.log"
    proc = server.start(sys.executable, HERE / "stream.py", "serve", address, port, private=False,
                        log=log)
    wait_for("server listens", lambda: "listening" in proc.output())
    code = f"import socket; socket.create_connection(('{address}', {port}), timeout=2).close()"
    ok = client.run(sys.executable, "-c", code, check=False).returncode == 0
    proc.kill()
    proc.popen.wait(5)
    return ok


def test_traffic_both_ways_and_nothing_left(lab, pair):
    before = [h.state() for h in pair]
    g = Gateways(lab, pair)
    g.a.pings(B)
    g.b.pings(A)
    stream(g.a, g.b, B, 32)
    stream(g.b, g.a, A, 32)
    assert g.da.stop() == 0 and g.db.stop() == 0
    assert [h.state() for h in pair] == before


def test_accept_lets_through_what_it_names_and_no_more(lab, pair):
    g = Gateways(lab, pair, accept_b=f'[{{from: [{A}], to: [self], ports: ["tcp/8080", icmp]}}]')
    g.a.pings(B)
    assert tcp_answers(g.a, g.b, B, 8080)
    assert not tcp_answers(g.a, g.b, B, 8081)
    # What b starts itself is answered: return traffic.
    assert tcp_answers(g.b, g.a, A, 9000)


def test_empty_accept_refuses_all_but_answers(lab, pair):
    g = Gateways(lab, pair, accept_b="[]")
    assert g.a.ping(B, count=3, wait=1, check=False).returncode != 0
    g.b.pings(A)
    assert not tcp_answers(g.a, g.b, B, 8080)
    assert tcp_answers(g.b, g.a, A, 9000)


def test_reload_of_one_peer_leaves_the_others_alone(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    ping = g.a.start("ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "1", B, private=False,
                     log=lab.dir / "reload-ping.log")
    for n in range(8):
        third = genkey()
        peers = [("gw-b", g.key_b, B, "192.0.2.2:41641")]
        if n % 2 == 0:
            peers.append(("gw-c", third, "10.90.0.3", "192.0.2.9:41641"))
        g.da.write(g.yaml("a", g.key_a, A, peers))
        g.da.cli("reload")
        assert len(g.da.status()["wg"]["peers"]) == len(peers)
        wait_for("the routes follow", lambda there=n % 2 == 0: (
            "10.90.0.3" in g.a.ip("route", "show", "table", "52").stdout) == there)
        time.sleep(0.3)
    assert ping.popen.wait(20) == 0
    assert re.search(r"400 packets transmitted, 400 received", ping.output()), ping.output()


def test_reload_with_a_mistake_changes_nothing(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    g.da.write(g.yaml_a.replace("allowed-ips:", "allowed-ipz:"))
    done = g.da.cli("reload", check=False)
    assert done.returncode == 1
    line = 1 + g.da.config.read_text().splitlines().index(
        next(l for l in g.da.config.read_text().splitlines() if "allowed-ipz" in l))
    assert re.search(rf"warren\.yaml:{line}:\d+: .*allowed-ipz.*did you mean.*allowed-ips",
                     done.stderr + done.stdout), done.stderr + done.stdout
    g.a.ping(B, count=5, interval=0.05)


def test_port_change_by_reload(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    g.da.write(g.yaml_a.replace("port: 41641}", "port: 41999}"))
    g.da.cli("reload")
    g.a.pings(B)
    wait_for("b sees the new port",
             lambda: g.db.status()["wg"]["peers"][0]["endpoint"] == "192.0.2.1:41999", 15)


def test_killed_engine_comes_back(lab, pair):
    """Twice: the second one starts from the time stamps that the first reserved ahead."""
    g = Gateways(lab, pair)
    g.a.pings(B)
    for _ in range(2):
        pid = g.da.engine_pid()
        lablib.os.kill(pid, lablib.signal.SIGKILL)
        wait_for("another engine", lambda: g.da.engine_pid() not in (None, pid))
        g.da.ready()
        g.a.pings(B, timeout=15)
    assert "behind" not in g.da.log(), "nothing is wrong with the clock"
    findings = g.da.cli("doctor", "wg", check=False).stdout
    assert re.search(r"^ok +wg\.clock ", findings, re.M), findings
