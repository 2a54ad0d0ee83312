"""dns beside programs that keep a host's resolver configuration: they are told, not the file."""

import os
import signal

import pytest

from foreign import BUS, with_package
from lab import need, wait_for
from test_dns import (B, BARE, DOMAIN, LAN, MAGIC, MAGIC6, OUT, HostDaemon, Names, crashes,
                      interface_of)

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
    # Its answer comes after what it does.
    wait_for("the daemon knows", lambda: host(n)["Problem"] is None, 20)
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


RESOLVED_USER = "systemd-resolve:x:64322:64322::/:/usr/sbin/nologin\n"


class Resolved(HostDaemon):
    """A host whose stub resolver is systemd-resolved, which has been told of one uplink."""

    def prepare(self):
        (self.etc / "passwd").open("a").write(RESOLVED_USER)
        (self.etc / "group").open("a").write("systemd-resolve:x:64322:\n")
        self.inside("mkdir", "-p", "/run/dbus", "/run/systemd")
        self.inside("install", "-d", "-o", "64322", "-g", "64322", "/run/systemd/resolve")
        config = self.dir / "bus.conf"
        config.write_text(BUS)
        self.begin("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        self.inside("ln", "-s", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
        self.uplink = interface_of(self.host, LAN)
        self.resolve()

    def begin(self, *argv):
        return self.host.start("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *argv,
                               private=False, log=self.dir / f"{argv[0].split('/')[-1]}.log")

    def resolve(self):
        """Starts it, and does what a manager of the uplink does."""
        self.resolved = self.begin("/usr/lib/systemd/systemd-resolved")
        wait_for("resolved runs", lambda: self.inside("resolvectl", "dns", check=False)
                 .returncode == 0, 20)
        self.tell(OUT)

    def tell(self, *servers):
        self.inside("resolvectl", "dns", self.uplink, *servers)
        self.inside("resolvectl", "domain", self.uplink, "lan.example.com")

    def link(self, what):
        done = self.inside("resolvectl", what, "warren0", check=False).stdout
        return done.partition(":")[2].split()

    def ours(self):
        return self.link("dns") == [MAGIC, MAGIC6] and "~." in self.link("domain")

    def found(self):
        """What it was told by others, and where programs look for it."""
        lines = [line for what in ("dns", "domain", "default-route", "llmnr", "dnssec")
                 for line in self.inside("resolvectl", what).stdout.splitlines()
                 if "(warren0)" not in line]
        return lines, os.readlink(self.file), self.inside("cat", "/etc/resolv.conf").stdout


@pytest.fixture(name="r")
def a_resolved_host(lab):
    if need("dbus-daemon"):
        pytest.skip("no dbus-daemon")

    class One(Resolved):
        hold = with_package("systemd-resolved", "sleep", "1000")

    n = Names(lab, dns=BARE, daemon=One)
    n.da.becomes_ours()
    # Its answer comes after what it does.
    wait_for("the daemon knows", lambda: host(n)["Problem"] is None, 20)
    return n


def test_resolved_is_told_and_forgets_us(r):
    assert host(r) == {"Way": "systemd-resolved", "Problem": None, "Overwritten": 0}
    assert r.da.link("domain") == [DOMAIN, "lan.example.com", "~."]
    assert r.da.link("default-route") == ["yes"]
    for what in ("llmnr", "mdns", "dnssec"):
        assert r.da.link(what) == ["no"]
    assert os.readlink(r.da.file) == "/run/systemd/resolve/stub-resolv.conf"
    assert r.da.looks_up(f"nas.{DOMAIN}") == B
    assert r.da.looks_up("nas") == B
    # All other names go by way of us to the resolvers of the uplink.
    assert r.da.looks_up("www.example.org") == "198.51.100.1"
    assert r.da.metric('warren_dns_queries{answer="resolver"}') >= 1
    assert system(r) == {"Nameservers": [OUT], "SearchDomains": ["lan.example.com"],
                         "MatchDomains": []}
    r.da.tell(OUT, "203.0.113.77")
    wait_for("it is known", lambda: "203.0.113.77" in system(r)["Nameservers"], 20)
    r.da.tell(OUT)
    wait_for("it is forgotten", lambda: system(r)["Nameservers"] == [OUT], 20)
    assert r.da.metric("warren_dns_host_overwritten") == 0
    assert r.da.stop() == 0
    assert r.da.found() == r.da.before
    assert r.da.looks_up("www.example.org") == "198.51.100.1"
    crashes(r, stays=False)     # it goes with the interface


# By hand, and as NetworkManager has it where it feeds systemd-resolved.
@pytest.mark.parametrize("head", ["", "# Generated by NetworkManager\n"])
def test_a_file_of_others_leads_to_resolved(r, head):
    assert r.da.stop() == 0
    text = f"{head}nameserver 127.0.0.53\n"
    r.da.file.unlink()
    r.da.file.write_text(text)
    before = HostDaemon.found(r.da)
    r.da.start()
    r.served()
    r.da.becomes_ours()
    wait_for("the daemon knows", lambda: host(r) == {
        "Way": "systemd-resolved", "Problem": None, "Overwritten": 0}, 20)
    assert HostDaemon.found(r.da) == before
    assert r.da.looks_up(f"nas.{DOMAIN}") == B
    assert system(r)["Nameservers"] == [OUT]
    assert r.da.stop() == 0
    assert HostDaemon.found(r.da) == before
    # It does not run: only who says whose the file is means it for sure.
    r.da.resolved.stop()
    r.da.start()
    r.served()
    if head:
        wait_for("it is told of", lambda: "cannot be reached over D-Bus" in str(
            host(r)["Problem"]), 20)
        assert HostDaemon.found(r.da) == before
    else:
        wait_for("the file is ours", lambda: "generated by warren" in r.da.file.read_text(), 20)
    assert r.da.stop() == 0
    assert HostDaemon.found(r.da) == before


def test_resolved_forgets_us_by_itself(r):
    r.da.inside("resolvectl", "revert", "warren0")
    wait_for("it is told", lambda: r.da.metric("warren_dns_host_overwritten") >= 1, 20)
    r.da.becomes_ours()
    r.da.resolved.stop()
    r.da.resolve()
    r.da.becomes_ours()
    wait_for("its uplink counts", lambda: system(r)["Nameservers"] == [OUT], 20)
    assert r.da.looks_up(f"nas.{DOMAIN}") == B
    wait_for("names are looked up", lambda: r.da.looks_up("www.example.org") == "198.51.100.1",
             20)
    r.da.stop()
    assert r.da.found() == r.da.before


def test_resolved_while_engines_die_and_settings_change(r):
    engine = r.da.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_for("another engine", lambda: r.da.engine_pid() not in (None, engine), 30)
    r.da.ready(30)
    r.served()
    r.da.becomes_ours()
    r.reload(f"{{domain: {DOMAIN}, host: off}}")
    wait_for("it is taken back", lambda: not r.da.link("dns") and r.da.found() == r.da.before, 20)
    r.reload(f"{{domain: {DOMAIN}, host: file}}")
    wait_for("the file is ours", lambda: r.da.file.is_file() and "generated by warren" in
             r.da.file.read_text(), 20)
    assert not r.da.link("dns")
    r.reload(BARE)
    r.da.becomes_ours()
    assert r.da.looks_up("www.example.org") == "198.51.100.1"
    r.da.stop()
    assert r.da.found() == r.da.before
