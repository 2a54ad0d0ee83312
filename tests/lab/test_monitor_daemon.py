"""Monitor and engine together: what happens to traffic when one of them dies."""

import os
import pathlib
import re
import signal
import time

import pytest

from lab import run, wait_for
from test_gateways import A, B, Gateways

SNIFFER = """
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
s.settimeout(0.1)
print("listening", flush=True)
while True:
    try:
        packet, where = s.recvfrom(2048)
    except TimeoutError:
        continue
    if where[0].startswith("wr"):
        print(socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), flush=True)
"""


def engine_replaced(daemon, old):
    wait_for("another engine", lambda: daemon.engine_pid() not in (None, old))
    daemon.ready()


def alive(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_nothing_leaves_in_the_clear_while_the_engine_is_dead(lab, pair):
    g = Gateways(lab, pair)
    # Whatever is not caught by our routes goes over the wire.
    g.a.ip("route", "add", "default", "via", "192.0.2.2")
    g.a.pings(B)
    sniffer = g.b.start("/usr/bin/python3", "-c", SNIFFER, private=False,
                        log=lab.dir / "sniffer.log")
    wait_for("the sniffer listens", lambda: "listening" in sniffer.output())
    ping = g.a.start("ping", "-n", "-i", "0.002", "-c", "2500", "-W", "1", B, private=False,
                     log=lab.dir / "leak-ping.log")
    for _ in range(8):
        time.sleep(0.3)
        old = g.da.engine_pid()
        os.kill(old, signal.SIGKILL)
        engine_replaced(g.da, old)
    ping.popen.wait(30)
    seen = sniffer.output().split("\n")
    assert "192.0.2.1 192.0.2.2" in seen
    assert not [line for line in seen if A in line or B in line]
    g.a.pings(B, timeout=5)


def test_engine_killed_traffic_goes_on_soon(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    index = g.a.run("cat", "/sys/class/net/warren0/ifindex").stdout
    before = g.a.state()
    old = g.da.engine_pid()
    os.kill(old, signal.SIGKILL)
    start = time.monotonic()
    engine_replaced(g.da, old)
    # What the peer sends for the dead engine's sessions is answered by a new handshake.
    g.a.pings(B, timeout=5)
    g.b.pings(A, timeout=5)
    assert time.monotonic() - start < 10
    assert g.a.run("cat", "/sys/class/net/warren0/ifindex").stdout == index
    assert g.a.state() == before
    assert "interface warren0 was kept" in g.da.log()


def test_monitor_killed_engine_dies_and_next_start_cleans(lab, pair):
    before = pair[0].state()
    g = Gateways(lab, pair)
    g.a.pings(B)
    engine = g.da.engine_pid()
    g.da.proc.kill()
    g.da.proc.popen.wait(5)
    wait_for("the engine dies with it", lambda: not alive(engine))
    g.da.start()
    assert "leftovers are taken back" in g.da.log()
    g.a.pings(B)
    assert g.da.stop() == 0
    assert pair[0].state() == before


def test_both_killed_and_cleaned_up(lab, pair):
    before = pair[0].state()
    g = Gateways(lab, pair)
    g.a.pings(B)
    os.kill(g.da.engine_pid(), signal.SIGKILL)
    g.da.proc.kill()
    g.da.proc.popen.wait(5)
    assert pair[0].state() != before
    warrend = g.da.proc.argv[g.da.proc.argv.index("--config") - 1]
    pair[0].run(warrend, "--state", g.da.state_dir, "--cleanup")
    assert pair[0].state() == before


def test_engine_stopped_by_a_signal_of_its_own_goes_on(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    old = g.da.engine_pid()
    os.kill(old, signal.SIGABRT)
    engine_replaced(g.da, old)
    g.a.pings(B, timeout=5)
    assert re.search(r"the engine died \(signal 6, Aborted\)", g.da.log())


def test_reload_tells_the_caller_where_the_mistake_is(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    before = g.a.state()
    g.da.write("wg: {port: 41641\n  nonsense\n")
    done = g.da.cli("reload", check=False)
    assert done.returncode == 1 and re.search(rf"{g.da.config}:\d+:\d+: ", done.stderr), done.stderr
    g.da.write(g.yaml("a", g.key_a, A, []) + "nosuchsection: {}\n")
    done = g.da.cli("reload", check=False)
    assert done.returncode == 1 and f"{g.da.config}:" in done.stderr, done.stderr
    g.a.pings(B, timeout=2)
    assert g.a.state() == before
    g.da.write(g.yaml_a)
    assert g.da.cli("reload").returncode == 0


def test_reload_by_signal_and_by_command_at_once(lab, pair):
    g = Gateways(lab, pair)
    g.a.pings(B)
    for _ in range(10):
        os.kill(g.da.proc.pid, signal.SIGHUP)
        done = g.da.cli("reload", check=False)
        assert done.returncode == 0 or "going on already" in done.stderr, done.stderr
    assert g.da.cli("reload").returncode == 0
    g.a.pings(B, timeout=2)


def test_engine_of_a_running_daemon_has_no_rights(lab, pair):
    g = Gateways(lab, pair)
    status = pathlib.Path(f"/proc/{g.da.engine_pid()}/status").read_text()
    assert re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^CapBnd:\t0+$", status, re.M)
    assert re.search(r"^Uid:\t64321\t64321\t64321\t64321$", status, re.M)
    threads = os.listdir(f"/proc/{g.da.engine_pid()}/task")
    for tid in threads:
        text = pathlib.Path(f"/proc/{g.da.engine_pid()}/task/{tid}/status").read_text()
        assert re.search(r"^CapEff:\t0+$", text, re.M)


def test_without_privilege_separation(lab, pair):
    before = pair[0].state()
    g = Gateways(lab, pair)
    g.da.stop()
    g.da.args = ["--no-privsep"]
    g.da.start()
    g.a.pings(B)
    status = pathlib.Path(f"/proc/{g.da.engine_pid()}/status").read_text()
    assert re.search(r"^Uid:\t0\t", status, re.M)
    old = g.da.engine_pid()
    os.kill(old, signal.SIGKILL)
    engine_replaced(g.da, old)
    g.a.pings(B, timeout=5)
    assert g.da.stop() == 0
    assert pair[0].state() == before


@pytest.mark.parametrize("key", ["psk"])
def test_secret_is_read_by_the_monitor(lab, pair, key):
    """The engine's user cannot read the file; a wrong path is told with its place."""
    g = Gateways(lab, pair)
    psk = lab.secret("psk", run("wg", "genpsk").stdout.strip())
    for gateway, name, other, host in ((g.da, g.key_a, g.key_b, A), (g.db, g.key_b, g.key_a, B)):
        peer = ("gw-b", other, B, "192.0.2.2:41641") if host == A else \
            ("gw-a", other, A, "192.0.2.1:41641")
        text = g.yaml("a" if host == A else "b", name, host, [peer])
        gateway.write(text.replace("allowed-ips", f"psk: {{file: {psk}}}, allowed-ips"))
        assert gateway.cli("reload").returncode == 0
    g.a.pings(B, timeout=10)
    g.da.write(text.replace("allowed-ips", "psk: {file: /nonexistent/psk}, allowed-ips"))
    done = g.da.cli("reload", check=False)
    assert done.returncode == 1 and "/nonexistent/psk" in done.stderr, done.stderr
    assert re.search(rf"{g.da.config}:\d+:\d+: ", done.stderr)


def test_reload_that_fails_half_way_is_rolled_back(lab, pair):
    """The new port is taken: wg refuses it, and all that was changed before is changed back."""
    g = Gateways(lab, pair)
    g.a.pings(B)
    before = g.a.state()
    busy = g.a.start("/usr/bin/python3", "-c", "import socket, time\n"
                     "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
                     "s.bind(('::', 50000))\nprint('bound', flush=True)\ntime.sleep(600)",
                     private=False, log=lab.dir / "busy.log")
    wait_for("the port is taken", lambda: "bound" in busy.output())
    peers = [("gw-b", g.key_b, B, "192.0.2.2:41641")]
    for _ in range(3):
        text = g.yaml("a", g.key_a, A, peers).replace("port: 41641", "port: 50000")
        g.da.write(text)
        done = g.da.cli("reload", check=False)
        assert done.returncode == 1 and "50000" in done.stderr, done.stderr
        g.a.pings(B, timeout=3)
        assert g.a.state() == before
    g.da.write(g.yaml_a)
    assert g.da.cli("reload").returncode == 0
    g.a.pings(B, timeout=3)
