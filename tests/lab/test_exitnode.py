"""An exit node of one line of YAML: client > exit node > "Internet", and nothing else."""

import json
import os
import re
import signal

import pytest

from gateway import BOX, LAN, NET, NET6, PEER, PEER6, Capture, Gateway, readme
from lab import wait_for

EXIT = "router: {}\nexitnode: {advertise: true}\n"
ALL = "'0.0.0.0/0', '::/0'"
FORWARDING = ("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def node(g):
    return g.db.status()["exitnode"]


@pytest.mark.parametrize("ruleset", ["none", "firewalld-public", "ufw-default.nft",
                                     "docker28.nft", "drop-all"])
def test_one_line_is_enough(lab, ruleset):
    g = Gateway(lab, box=EXIT, peer_ips=ALL, ruleset=() if ruleset == "none" else (ruleset,))
    assert g.box.run(*FORWARDING).stdout.split() == ["1", "1"]
    g.reach(g.peer, NET, "198.51.100.1")
    g.reach(g.peer, NET6, "2001:db8:51::1")
    g.refused(g.peer, LAN)          # a guest does not see the neighbours
    g.refused(g.net, PEER)
    g.refused(g.net, BOX)
    g.refused(g.lan, PEER)          # nor they him: they were not offered
    status = node(g)
    assert status.pop("use")["state"] == "unused"
    assert status == {"advertised": True, "state": "serving", "ipv4": True, "ipv6": True}
    assert g.db.cli("doctor", "firewall").returncode == 0
    assert g.db.stop() == 0
    assert g.state() == g.before


def test_the_readme_makes_an_exit_node(lab):
    g = Gateway(lab, box=readme("Be an exit node"), peer_ips=ALL)
    g.reach(g.peer, NET, "198.51.100.1")
    g.reach(g.peer, NET6, "2001:db8:51::1")


def test_the_readme_routes_a_subnet(lab):
    yaml = readme("Route a subnet")
    g = Gateway(lab, box=yaml, peer_ips="10.90.0.1, 'fd90::1', 10.146.0.0/20")
    link = g.lan.ip("-o", "-4", "addr", "show", "to", LAN).stdout.split()[1]
    peer = json.loads(g.lan.ip("-j", "link", "show", link).stdout)[0]["link_index"]
    g.lan.ip("addr", "add", "10.146.0.2/20", "dev", link)
    name = next(one["ifname"] for one in json.loads(g.box.ip("-j", "link").stdout)
                if one["ifindex"] == peer)
    g.box.ip("addr", "add", "10.146.0.1/20", "dev", name)
    g.reach(g.peer, "10.146.0.2", "10.146.0.1")
    g.refused(g.peer, LAN)


def test_switched_on_and_off_by_a_reload(lab):
    g = Gateway(lab, box=EXIT.replace("true", "false"), peer_ips=ALL)
    g.reach(g.peer, BOX)
    g.refused(g.peer, NET)
    assert g.box.run(*FORWARDING).stdout.split() == ["0", "0"]
    assert node(g)["state"] == "off"
    g.db.write(g.box_yaml.replace("false", "true"))
    g.db.cli("reload")
    g.reach(g.peer, NET, "198.51.100.1")
    g.db.write(g.box_yaml.replace(EXIT.replace("true", "false"), "router: {}\n"))
    g.db.cli("reload")
    wait_for("forwarding is set back",
             lambda: g.box.run(*FORWARDING).stdout.split() == ["0", "0"])
    g.refused(g.peer, NET)
    g.reach(g.peer, BOX)


def test_uplinks_go_on_listening_to_router_advertisements(lab):
    g = Gateway(lab, box=EXIT, peer_ips=ALL, start=False)
    links = [link["ifname"] for link in json.loads(g.box.ip("-j", "link").stdout)
             if link["ifname"] != "lo"]
    names = [f"net.ipv6.conf.{name}.accept_ra" for name in links]
    assert set(g.box.run("sysctl", "-n", *names).stdout.split()) == {"1"}
    g.start()
    g.reach(g.peer, NET6)
    assert set(g.box.run("sysctl", "-n", *names).stdout.split()) == {"2"}
    assert g.db.stop() == 0
    assert set(g.box.run("sysctl", "-n", *names).stdout.split()) == {"1"}


def test_firewall_off_is_told(lab):
    g = Gateway(lab, box=EXIT.replace("{}", "{firewall: off}"), peer_ips=ALL)
    assert node(g)["state"] != "serving"
    assert g.box.run("nft", "list", "ruleset").stdout == ""
    assert g.box.run(*FORWARDING).stdout.split() == ["0", "0"]
    g.refused(g.peer, NET)


def test_nothing_leaks_while_everything_changes(lab):
    """A peer floods; rules are flushed, configurations change, the engine dies, all stops."""
    g = Gateway(lab, box=EXIT, peer_ips=ALL)
    g.reach(g.peer, NET)
    # Forwarding that is on anyway, so that the end of the daemon does not close the way.
    for name in FORWARDING[2:]:
        g.box.sysctl(name, 1)
    capture = Capture(g)
    for target in (NET, NET6):
        g.peer.start("ping", "-n", "-q", "-i", "0.002", target, private=False,
                     log=lab.dir / f"flood-{len(target)}.log")
    g.box.run("nft", "flush", "ruleset")
    g.load("drop-all")
    g.box.run("nft", "flush", "ruleset")
    g.db.write(g.box_yaml.replace("router: {}", "router: {snat: false}"))
    g.db.cli("reload")
    pid = g.db.engine_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for("another engine", lambda: g.db.engine_pid() not in (None, pid))
    g.db.ready()
    g.reach(g.peer, NET)
    assert g.db.stop() == 0
    g.db.start()
    g.reach(g.peer, NET)
    assert not capture.leaks()
    engine = g.db.engine_pid()
    g.db.proc.kill()        # the monitor, and with it its engine
    wait_for("both are gone", lambda: not os.path.exists(f"/proc/{engine}/stat"))
    assert "table" not in g.box.run("nft", "list", "ruleset").stdout
    assert not capture.leaks()
    # It sees leaks where there are some.
    g.box.ip("addr", "add", "10.90.0.9/32", "dev", "lo")
    g.box.run("ping", "-n", "-c", "1", "-W", "1", "-I", "10.90.0.9", NET, check=False)
    assert re.search(r"10\.90\.0\.9", "\n".join(capture.leaks()))


def test_a_network_that_peers_know_by_other_addresses(lab):
    g = Gateway(lab, box="router: {advertise: [{local: 10.77.0.0/24, as: 10.11.0.0/24}, "
                "{local: '2001:db8:77::/64', as: 'fd11::/64'}]}\n",
                peer_ips="10.90.0.1, 'fd90::1', 10.11.0.0/24, 'fd11::/64', 10.77.0.0/24",
                ruleset=("drop-all",))
    g.reach(g.peer, "10.11.0.2", "10.77.0.1")
    g.reach(g.peer, "fd11::2", "2001:db8:77::1")
    g.reach(g.lan, PEER, "10.11.0.2")
    g.reach(g.lan, PEER6, "fd11::2")
    g.refused(g.peer, LAN)
    g.refused(g.net, PEER)
    g.db.write(g.box_yaml.replace("{local: 10.77.0.0/24, as: 10.11.0.0/24}, ", ""))
    g.db.cli("reload")
    g.refused(g.peer, "10.11.0.2")
    g.reach(g.peer, "fd11::2")
    assert g.db.stop() == 0
    assert g.state() == g.before
