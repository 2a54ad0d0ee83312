"""The packet filter: peers get through, nobody else does, and other programs' rules stay theirs."""

import re

import pytest

import wired as w
from gateway import BOX, BOX6, LAN, LAN6, PEER, PEER6, Gateway
from lab import ENGINE_USER, need, wait_for

IPTABLES = pytest.mark.skipif(bool(need("iptables-nft-restore")), reason="no iptables")
RULESETS = [
    pytest.param((), id="none"),
    pytest.param(("drop-all",), id="drop-all"),
    pytest.param(("firewalld-public",), id="firewalld"),
    pytest.param(("ufw-default.nft",), id="ufw-native"),
    pytest.param(("docker28.nft",), id="docker-native"),
    pytest.param(("ufw-default.iptables-save", "ufw-default.ip6tables-save"), id="ufw",
                 marks=IPTABLES),
    pytest.param(("docker28.iptables-save",), id="docker", marks=IPTABLES),
]


def firewall(g):
    return g.db.status()["router"]["firewall"]


@pytest.mark.parametrize("ruleset", RULESETS)
def test_peers_pass_and_nobody_else(lab, ruleset):
    g = Gateway(lab, ruleset=ruleset)
    g.reach(g.peer, LAN, "10.77.0.1")
    g.reach(g.peer, LAN6, "2001:db8:77::1")
    g.reach(g.peer, BOX, PEER)
    g.reach(g.peer, BOX6, PEER6)
    g.reach(g.lan, PEER, LAN)
    g.reach(g.lan, PEER6, LAN6)
    for address in (PEER, PEER6, BOX, BOX6):
        g.refused(g.net, address)
    assert not firewall(g)["drops"]
    assert g.db.cli("doctor", "firewall").returncode == 0
    assert g.db.stop() == 0
    assert g.state() == g.before


def test_what_flushes_all_rules_changes_nothing(lab):
    g = Gateway(lab, ruleset=("drop-all",))
    g.reach(g.peer, LAN)
    g.box.run("nft", "flush", "ruleset")
    assert "table inet warren" in g.box.run("nft", "list", "ruleset").stdout
    g.reach(g.peer, LAN, "10.77.0.1")
    g.refused(g.net, PEER)
    done = g.box.run("nft", "delete", "table", "inet", "warren", check=False)
    assert done.returncode != 0 and "not permitted" in done.stderr


def test_other_programs_load_their_rules_again(lab):
    """As firewalld and ufw do when they are reloaded: at first it stands alone, then not."""
    g = Gateway(lab, ruleset=("firewalld-public",))
    g.reach(g.peer, LAN)
    theirs = g.theirs()
    for count in (2, 4):
        g.box.run("nft", "delete", "table", "inet", "firewalld")
        g.load("firewalld-public")
        wait_for("our rule is back", lambda: g.box.run(
            "nft", "list", "table", "inet", "firewalld").stdout.count('comment "warren"') == 2)
        g.reach(g.peer, LAN)
        g.reach(g.lan, PEER)
        g.refused(g.net, PEER)
    assert g.theirs() == theirs
    g.load("drop-all")      # its first line flushes all
    wait_for("another program's chains have it",
             lambda: g.box.run("nft", "list", "table", "inet", "filter").stdout.count(
                 'comment "warren"') == 2)
    g.reach(g.peer, LAN)
    assert not firewall(g)["drops"]
    g.db.stop()
    assert "warren" not in g.box.run("nft", "list", "ruleset").stdout


def test_a_removed_rule_is_counted_and_told(lab):
    g = Gateway(lab, ruleset=("drop-all",))
    g.reach(g.peer, LAN)
    assert firewall(g)["repairs"] == 0
    handle = re.search(r'comment "warren" # handle (\d+)', g.box.run(
        "nft", "-a", "list", "chain", "inet", "filter", "forward").stdout).group(1)
    g.box.run("nft", "delete", "rule", "inet", "filter", "forward", "handle", handle)
    wait_for("it is counted", lambda: firewall(g)["repairs"] == 1)
    g.reach(g.peer, LAN)
    assert re.search(r"nft has removed our rule from 1 chains of its packet filter: put back",
                     g.db.log())


@IPTABLES
def test_containers_are_reached_where_they_are_offered(lab):
    """Docker drops what others send to a container before the packet is routed."""
    g = Gateway(lab, box="router: {advertise: [172.17.0.0/16]}\n",
                peer_ips="10.90.0.1, 172.17.0.0/16", start=False)
    container = lab.host("container")
    name, _ = lab.wire(g.box, container, "172.17.0.1/16", "172.17.0.2/16")
    for change in (("down",), ("name", "docker0"), ("up",)):
        g.box.ip("link", "set", "docker0" if change == ("up",) else name, *change)
    container.ip("route", "add", "default", "via", "172.17.0.1")
    g.net.ip("route", "add", "172.17.0.0/16", "via", "198.51.100.1")
    g.serve(container, 7000)
    g.load("docker28.iptables-save")
    g.before = g.state()
    g.start()
    g.reach(g.peer, "172.17.0.2", "172.17.0.1")
    g.refused(g.net, "172.17.0.2")
    assert "0x40000/0xff0000" in g.box.run("iptables-nft", "-t", "raw", "-S").stdout
    assert g.db.stop() == 0
    assert g.state() == g.before


@IPTABLES
def test_iptables_reads_saves_and_restores(lab):
    g = Gateway(lab, ruleset=("docker28.iptables-save",))
    g.reach(g.peer, LAN)
    assert "0x40000" not in g.box.run("iptables-nft", "-t", "raw", "-S").stdout
    listed = g.box.run("iptables-nft", "-S", "FORWARD").stdout
    assert "--mark 0x40000/0xff0000" in listed and "ACCEPT" in listed
    saved = g.box.run("iptables-nft-save").stdout
    # What comes back has lost the comment that we know it by, but not its shape.
    g.box.run("iptables-nft-restore", input=saved)
    g.reach(g.peer, LAN)
    g.db.stop()
    assert "0x40000" not in g.box.run("iptables-nft", "-S").stdout


@pytest.mark.skipif(bool(need("iptables-legacy")), reason="no iptables-legacy")
def test_the_command_for_what_cannot_be_changed_from_here(lab):
    """With marks of the operator's own; as printed it opens the way."""
    g = Gateway(lab, box="router: {advertise: [10.77.0.0/24]}\n"
                f'system: {{user: "{ENGINE_USER}", marks: {{subnet: 0x50000}}}}\n', start=False)
    g.box.run("iptables-legacy", "-P", "FORWARD", "DROP")
    g.start()
    g.refused(g.peer, LAN)
    told = " ".join(g.db.cli("doctor", "firewall", check=False).stdout.split())
    command = re.search(r"iptables-legacy -I FORWARD -m mark --mark \S+ -j ACCEPT", told)
    g.box.run(*command[0].split())
    g.reach(g.peer, LAN)


@pytest.mark.skipif(bool(need("iptables-legacy")), reason="no iptables-legacy")
def test_legacy_rules_that_come_later_are_told(lab):
    g = Gateway(lab)
    g.reach(g.peer, LAN)
    assert not firewall(g)["drops"]
    g.box.run("iptables-legacy", "-P", "FORWARD", "DROP")
    wait_for("it is told", lambda: "iptables-legacy" in str(firewall(g)["drops"]), 30)


def test_killed_daemon_leaves_nothing_that_opens(lab):
    g = Gateway(lab, ruleset=("drop-all",))
    g.reach(g.peer, LAN)
    engine = g.db.engine_pid()
    g.db.proc.kill()
    g.db.proc.popen.wait(5)
    wait_for("its engine is gone", lambda: not pid_exists(engine))
    assert "table inet warren" not in g.box.run("nft", "list", "ruleset").stdout
    g.refused(g.net, LAN)
    g.box.run(w.SBINDIR / "warrend", "--state", g.db.state_dir, "--cleanup")
    assert g.state() == g.before


def pid_exists(pid):
    try:
        open(f"/proc/{pid}/stat").close()
        return True
    except OSError:
        return False


def test_modes(lab):
    g = Gateway(lab, ruleset=("drop-all",), box="router: {firewall: own-table-only, "
                "advertise: [10.77.0.0/24]}\n")
    wait_for("it is told", lambda: firewall(g)["drops"])
    g.refused(g.peer, LAN)
    found = g.db.cli("doctor", "firewall", check=False)
    assert found.returncode == 1
    assert "table inet filter, chain forward, drops packets between peers and what is behind " \
        "this host: policy drop" in found.stdout
    for mode, count in (("append", 2), ("off", 0), ("auto", 2), ("nodivert", 0)):
        g.db.write(g.box_yaml.replace("own-table-only", mode))
        g.db.cli("reload")
        wait_for(f"{mode} is in force", lambda: g.box.run(
            "nft", "list", "ruleset").stdout.count('comment "warren"') == count)
        has = "table inet warren" in g.box.run("nft", "list", "ruleset").stdout
        assert has == (mode != "off")
        if mode in ("append", "auto"):
            g.reach(g.peer, LAN)
    listed = g.box.run("nft", "list", "chain", "inet", "filter", "forward").stdout
    assert "warren" not in listed


def test_open_ports(lab):
    g = Gateway(lab, ruleset=("drop-all",), box="router: {firewall: {open: [tcp/7001]}, "
                "advertise: [10.77.0.0/24]}\n")
    for host in (g.box, g.lan):
        g.serve(host, 7001)
    g.reach(g.peer, LAN)
    g.reach(g.net, "198.51.100.1", port=7001)
    g.refused(g.net, "198.51.100.1")            # 7000 was not opened
    g.refused(g.net, LAN, port=7001)            # nor the same port of others
    g.db.write(g.box_yaml.replace("{open: [tcp/7001]}", "auto"))
    g.db.cli("reload")
    g.refused(g.net, "198.51.100.1", port=7001)


def test_without_snat_and_stateful(lab):
    g = Gateway(lab, box="router: {snat: false, stateful-filtering: true, "
                "advertise: [10.77.0.0/24]}\n")
    g.reach(g.peer, LAN, PEER)
    g.refused(g.lan, PEER)


def test_only_what_is_offered(lab):
    """A peer that sends elsewhere, and a neighbour who takes a peer's address."""
    g = Gateway(lab, peer_ips="10.90.0.1, 10.77.0.0/24, 198.51.100.0/24")
    g.reach(g.peer, LAN)
    g.refused(g.peer, "198.51.100.2")
    g.net.ip("addr", "add", f"{PEER}/32", "dev", "lo")
    spoof = g.net.run("ping", "-n", "-c", "2", "-W", "1", "-I", PEER, "198.51.100.1", check=False)
    assert spoof.returncode != 0
    counters = g.box.run("nft", "list", "chain", "inet", "warren", "input").stdout
    assert re.search(r"ip saddr 10\.90\.0\.0/24 .*counter packets [1-9]", counters), counters


def test_refused_at_the_border(lab):
    """What an engine of somebody else's making may not ask for."""
    host = lab.host("a")
    d = w.Wired(host, yaml="router: {firewall: {open: [tcp/443]}}\n")
    table = w.nft(w.N_TABLE, mode=w.N_AUTO, ifname="warren0")
    d.ok(w.TUN, w.tun("warren0"), owner="wg")
    d.refused(w.EPERM, "udp/443 does not stand in router.firewall.open", w.NFT, table,
              w.nft(w.N_OPEN, port=443, protocol=17))
    d.refused(w.EPERM, "system.interfaces", w.NFT, w.nft(w.N_TABLE, mode=w.N_AUTO, ifname="eth0"))
    d.refused(w.EINVAL, "malformed network", w.NFT, table, w.nft(w.N_BEHIND, "0.0.0.0/0"))
    d.refused(w.EINVAL, "malformed network", w.NFT, table, w.nft(w.N_SELF, "10.0.0.0/8"))
    d.refused(w.EINVAL, "its only TABLE", w.NFT, table, table)
    d.ok(w.ADDR, w.address("warren0", "10.90.0.1/24"))
    d.ok(w.SOCKET, w.sock(port=2049, bind="10.90.0.1"))
    d.refused(w.EPERM, "port 2049 does not stand", w.SOCKET,
              w.sock(port=2049, bind="10.90.0.1", flags=w.SOCK_OPEN))
    d.ok(w.NFT, table, w.nft(w.N_OPEN, port=443, protocol=6), owner="router")
    assert "tcp dport 443" in host.run("nft", "list", "ruleset").stdout
    d.refused(16, "plugin router has a table already", w.NFT, table, owner="other")
    d.kill_engine()
    assert "table inet warren" in host.run("nft", "list", "ruleset").stdout, "it is held"
    d.ok(w.NFT, table, owner="router")
    assert "tcp dport 443" not in host.run("nft", "list", "ruleset").stdout
    d.do("raw", type=7, hex=b"router".ljust(32, b"\0").hex())
    wait_for("it goes with its plugin",
             lambda: not host.run("nft", "list", "ruleset").stdout)
