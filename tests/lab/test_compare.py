"""Before, and after: the host is as it was to the byte (compare.py)."""

import pathlib
import sys

import pytest

from gateway import BOX, LAN, NET, Gateway
from lab import wait_for
from test_exituse import OUT, Use
from test_exituse import NET as USE_NET

COMPARE = pathlib.Path(__file__).with_name("compare.py")
SERVES = ("router: {advertise: [10.77.0.0/24, {local: '2001:db8:77::/64', as: 'fd11::/64'}], "
          "firewall: {open: [tcp/443]}}\nexitnode: {advertise: true}\n")


class Compare:
    def __init__(self, host):
        self.host = host
        self.file = host.lab.dir / f"before-{host.name}"
        host.run(sys.executable, COMPARE, "save", self.file)

    def difference(self):
        return self.host.run(sys.executable, COMPARE, "diff", self.file, check=False).stdout

    def same(self):
        said = self.difference()
        assert not said, said


def kill(daemon):
    daemon.proc.kill()
    daemon.proc.popen.wait(10)
    wait_for("its interface is gone",
             lambda: "warren0" not in daemon.host.ip("-o", "link").stdout)


@pytest.mark.parametrize("ruleset", ["firewalld-public", "ufw-default.nft"])
def test_a_gateway_leaves_the_host_as_it_was(lab, ruleset):
    g = Gateway(lab, box=SERVES, peer_ips="'0.0.0.0/0', '::/0'", start=False,
                ruleset=(ruleset,))
    before = Compare(g.box)
    g.start()
    g.reach(g.peer, LAN)
    g.reach(g.peer, NET)
    assert "inet warren" in before.difference()
    assert g.db.stop() == 0
    before.same()
    g.db.start()
    g.reach(g.peer, NET)
    kill(g.db)
    g.db.start()
    g.reach(g.peer, BOX)
    assert g.db.stop() == 0
    before.same()


def test_who_used_an_exit_node_leaves_the_host_as_it_was(lab):
    u = Use(lab, 'use: a, allow-lan-access: true, bypass: ["uid:7", 10.0.0.0/16]', start=False)
    u.box.sysctl("net.ipv4.conf.all.rp_filter", 1)
    before = Compare(u.box)
    u.start()
    u.seen_as(USE_NET, OUT["a"])
    assert u.d.stop() == 0
    before.same()
    u.d.start()
    u.seen_as(USE_NET, OUT["a"])
    kill(u.d)
    assert "unreachable default" in before.difference()     # on purpose
    u.d.start()
    u.seen_as(USE_NET, OUT["a"])
    assert u.d.stop() == 0
    before.same()
