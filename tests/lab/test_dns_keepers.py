"""dns beside programs that keep a host's resolver configuration: they are told, not the file."""

import os
import signal

import pytest

from foreign import with_package
from lab import wait_for
from test_dns import B, BARE, DOMAIN, MAGIC, MAGIC6, OUT, HostDaemon, Names, crashes

LINES = f"nameserver {OUT}\nsearch lan.example.com\n"


class Keeper(HostDaemon):
    """A host where resolvconf has been told of one uplink."""

    def tell(self, name, text):
        self.inside("resolvconf", "-a", name, input=text)

    def forget(self, name):
        self.inside("resolvconf", "-d", name)

    def text(self):
        return self.inside("cat", "/etc/resolv.conf", check=False).stdout

    def records(self):
        return self.inside("resolvconf", "-l", check=False).stdout

    def ours(self):
        servers = [line for line in self.text().splitlines() if line.startswith("nameserver ")]
        return servers == [f"nameserver {MAGIC}", f"nameserver {MAGIC6}"]

    def found(self):
        """What all of it is."""
        files = self.inside("find", "/etc/resolv.conf", "/etc/resolvconf", "/run/resolvconf",
                            "!", "-type", "d", "-printf", "%p %l %M %U\\n", check=False).stdout
        folders = self.inside("find", "/etc/resolvconf", check=False).stdout
        return self.text(), self.records(), sorted(files.splitlines()), folders


class Openresolv(Keeper):
    def prepare(self):
        self.tell("lan0.dhcp", LINES)


class Debian(Keeper):
    def prepare(self):
        # Of other packages, whose programs do not run here.
        self.inside("find", "/etc/resolvconf/update.d", "-type", "f", "!", "-name", "libc",
                    "-delete")
        # What its unit and tmpfiles.d do.
        self.inside("mkdir", "-p", "/run/resolvconf/interface")
        self.inside("touch", "/run/resolvconf/resolv.conf")
        self.inside("ln", "-s", "/run/resolvconf/resolv.conf", "/etc/resolv.conf")
        self.inside("resolvconf", "--enable-updates")
        self.tell("eth0.dhcp", LINES)


@pytest.fixture(name="n", params=["openresolv", "resolvconf"])
def a_host(request, lab):
    class One(Openresolv if request.param == "openresolv" else Debian):
        hold = with_package(request.param, "sleep", "1000")

    n = Names(lab, dns=BARE, daemon=One)
    n.da.becomes_ours()
    return n


def system(n):
    return n.da.json("dns", "status")["SystemDNS"]


def host(n):
    return n.da.json("dns", "status")["Host"]


def test_resolvconf_is_told_and_forgets_us(n):
    assert f"search {DOMAIN} lan.example.com\n" in n.da.text()
    assert "resolvconf" in n.da.text(), "the file is still its own"
    assert host(n) == {"Way": "resolvconf", "Problem": None, "Overwritten": 0}
    assert "ask here, by way of resolvconf." in n.da.cli("dns", "status").stdout
    assert n.da.looks_up(f"nas.{DOMAIN}") == B
    assert n.da.looks_up("nas") == B
    # What others have told it is asked for all else.
    assert n.da.looks_up("www.example.org") == "198.51.100.1"
    assert system(n) == {"Nameservers": [OUT], "SearchDomains": ["lan.example.com"],
                         "MatchDomains": []}
    # An uplink that comes and one that goes are nothing to our word.
    n.da.tell("wlan0.dhcp", "nameserver 203.0.113.77\nsearch more.example.com\n")
    wait_for("it is known", lambda: "203.0.113.77" in system(n)["Nameservers"], 20)
    wait_for("its search domain is ours", lambda: "more.example.com" in n.da.text(), 20)
    assert n.da.ours()
    n.da.forget("wlan0.dhcp")
    wait_for("it is forgotten", lambda: system(n)["Nameservers"] == [OUT], 20)
    wait_for("its search domain too", lambda: "more.example.com" not in n.da.text(), 20)
    assert n.da.metric("warren_dns_host_overwritten") == 0
    assert n.da.stop() == 0
    assert n.da.found() == n.da.before
    crashes(n)


def test_somebody_removes_our_word(n):
    ours = next(line.split()[-1] for line in n.da.records().splitlines()
                if "from tun-warren." in line)
    n.da.forget(ours)
    wait_for("it is told", lambda: n.da.metric("warren_dns_host_overwritten") >= 1, 20)
    wait_for("it is there again", lambda: ours in n.da.records(), 20)
    n.da.becomes_ours()
    n.reload(f"{{domain: {DOMAIN}, insist: false}}")
    n.da.forget(ours)
    wait_for("it stays as it is", lambda: "does not lead here: another program" in
             n.da.cli("status").stdout, 20)
    assert not n.da.ours()
    assert host(n)["Problem"] and host(n)["Overwritten"] >= 2
    n.reload(BARE)
    n.da.becomes_ours()
    n.da.stop()
    assert n.da.found() == n.da.before


def test_another_daemon_has_told_resolvconf(n):
    n.reload(f"{{domain: {DOMAIN}, host: off}}")
    wait_for("it is taken back", lambda: n.da.found() == n.da.before, 20)
    n.da.tell("tun-warren.00000000", f"nameserver {MAGIC}\n")
    theirs = n.da.found()
    n.reload(BARE)
    wait_for("it is refused", lambda: "`resolvconf -d tun-warren.00000000`" in
             n.da.cli("doctor", "dns", check=False).stdout, 20)
    assert n.da.found() == theirs
    n.da.stop()
    assert n.da.found() == theirs


def test_resolvconf_while_engines_die_and_settings_change(n):
    engine = n.da.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_for("another engine", lambda: n.da.engine_pid() not in (None, engine), 30)
    n.da.ready(30)
    n.served()
    assert n.da.ours()
    n.reload(f"{{domain: {DOMAIN}, host: off}}")
    wait_for("it is taken back", lambda: n.da.found() == n.da.before, 20)
    n.reload(f"{{domain: {DOMAIN}, host: file}}")
    wait_for("the file is ours", lambda: "generated by warren" in n.da.text(), 20)
    assert "tun-warren." not in n.da.records()
    n.reload(BARE)
    wait_for("resolvconf is told", lambda: "tun-warren." in n.da.records(), 20)
    n.da.becomes_ours()
    assert n.da.looks_up("www.example.org") == "198.51.100.1"
    n.da.stop()
    assert n.da.found() == n.da.before
