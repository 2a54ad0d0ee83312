"""firewalld and ufw themselves beside us: no command of theirs is needed, none of them breaks."""

import collections
import re

import pytest

from foreign import Firewalld, Ufw
from gateway import BOX, BOX6, LAN, LAN6, NET, NET6, PEER, PEER6, Capture, Gateway
from lab import need, wait_for

pytestmark = pytest.mark.skipif(bool(need("dbus-daemon", "iptables-nft")), reason="no programs")

BOX_YAML = ("router: {advertise: [10.77.0.0/24, '2001:db8:77::/64']}\n"
            "exitnode: {advertise: true}\n")
ALL = "'0.0.0.0/0', '::/0'"


def gateway(lab):
    return Gateway(lab, box=BOX_YAML, peer_ips=ALL, start=False)


class Flow:
    """A peer that never rests, and what of it gets out unmasked."""

    def __init__(self, g):
        self.g, self.capture = g, Capture(g)
        self.pings = [g.peer.start("ping", "-n", "-q", "-i", "0.005", address, private=False,
                                   log=g.lab.dir / f"flow-{n}.log")
                      for n, address in enumerate((NET, NET6))]

    def leaks(self):
        assert all(ping.alive() for ping in self.pings)
        return self.capture.leaks()


def begin(g):
    g.before = g.state()
    g.start()
    g.flow = Flow(g)


def passes(g):
    """client > exit node > "Internet", peer > LAN and back; nobody from the Internet."""
    g.reach(g.peer, NET, "198.51.100.1")
    g.reach(g.peer, NET6, "2001:db8:51::1")
    g.reach(g.peer, LAN)
    g.reach(g.peer, LAN6)
    g.reach(g.peer, BOX, PEER)
    g.reach(g.lan, PEER, LAN)
    g.reach(g.lan, PEER6, LAN6)
    for address in (PEER, PEER6, BOX, BOX6):
        g.refused(g.net, address)


def ends(g):
    """All is as before, but for the order: programs that load their rules again change it."""
    assert g.db.stop() == 0
    assert not g.flow.leaks()
    (rules, switches), (rules_before, switches_before) = g.state(), g.before
    now, before = (collections.Counter(text.splitlines()) for text in (rules, rules_before))
    assert (now - before, before - now) == ({}, {})
    assert switches == switches_before
    g.refused(g.peer, LAN)


@pytest.mark.parametrize("zone", ("public", "drop"))
def test_firewalld(lab, zone):
    g = gateway(lab)
    program = Firewalld(g.box, zone)
    listed = program.cmd("--list-all-zones")
    begin(g)
    passes(g)
    for how in ("--reload", "--complete-reload"):
        program.cmd(how)
        passes(g)
    program.end()
    passes(g)
    program.begin()
    passes(g)
    assert program.cmd("--list-all-zones") == listed
    assert not g.db.status()["router"]["firewall"]["drops"]
    assert g.db.cli("doctor", "firewall").returncode == 0
    ends(g)


def test_firewalld_panics(lab):
    """Then nothing passes, ours neither; and all is as before when it is over."""
    g = gateway(lab)
    program = Firewalld(g.box, "public")
    begin(g)
    passes(g)
    program.cmd("--panic-on")
    for host, address in ((g.peer, BOX), (g.peer, LAN), (g.peer, NET), (g.lan, PEER)):
        g.refused(host, address)
    program.cmd("--panic-off")
    passes(g)
    ends(g)


def test_firewalld_is_told_what_it_wants(lab):
    """Its own settings go on to count for what is not ours."""
    g = gateway(lab)
    program = Firewalld(g.box, "public")
    begin(g)
    g.reach(g.peer, LAN)
    g.refused(g.net, "198.51.100.1")
    program.cmd("--add-port=7000/tcp")
    g.reach(g.net, "198.51.100.1")
    g.refused(g.net, LAN)
    program.cmd("--runtime-to-permanent")
    saved = program.run("sh", "-c", "cat /etc/firewalld/zones/*.xml").stdout
    assert 'port="7000"' in saved and "warren" not in saved


def test_ufw(lab):
    g = gateway(lab)
    program = Ufw(g.box)
    shown = program.cmd("status", "verbose")
    begin(g)
    passes(g)
    program.cmd("reload")
    passes(g)
    program.cmd("disable")
    program.cmd("--force", "enable")
    passes(g)
    for tool in ("iptables", "ip6tables"):
        listed = g.box.run(f"{tool}-nft", "-S").stdout
        assert listed.count("0x40000/0xff0000") == 2, listed
    assert "Status: active" in program.cmd("status", "verbose")
    assert g.db.cli("doctor", "firewall").returncode == 0
    ends(g)
    assert program.cmd("status", "verbose") == shown


def test_ufw_with_dockers_rules(lab):
    g = gateway(lab)
    g.load("docker28.iptables-save")
    program = Ufw(g.box)
    begin(g)
    passes(g)
    program.cmd("reload")
    passes(g)
    saved = g.box.run("iptables-nft-save").stdout
    g.box.run("iptables-nft-restore", input=saved)
    wait_for("our rule stands once", lambda: len(re.findall(
        "-A FORWARD.*0x40000/0xff0000", g.box.run("iptables-nft-save").stdout)) == 1)
    passes(g)
    ends(g)
