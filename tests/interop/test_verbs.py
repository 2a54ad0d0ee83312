"""Joining with the commands of the README: a daemon that is told nothing else."""

import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from interop import Daemon, Tailscaled, Tsnet, wait_for
from lab import BINDIR


def bare(tailnet):
    """A daemon with an empty configuration."""
    return Daemon(tailnet.host("box"), "node: {hostname: box}\n")


def test_up_with_an_auth_key_then_down_up_logout(tailnet):
    tsnet, box = Tsnet(tailnet), bare(tailnet)
    up = box.cli("up", "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any")
    assert up.returncode == 0
    box.host.pings(tsnet.ip4)
    assert box.cli("ip", "-4").stdout.strip() == box.cli("ip").stdout.split()[0]
    assert re.search(rf"^{tsnet.ip4} +tsnet .*linux ", box.cli("status").stdout, re.M)
    assert "tsnet" in box.cli("whois", tsnet.ip4).stdout
    assert box.cli("ip", "tsnet").stdout.split() == [tsnet.ip4, tsnet.ip6]
    # Nothing has to be repeated, neither now nor after a restart.
    box.cli("down")
    assert box.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    box.cli("up")
    box.host.pings(tsnet.ip4)
    box.stop()
    box.start()
    box.host.pings(tsnet.ip4)
    # Its login is forgotten, and the server was told.
    box.cli("logout")
    wait_for("it is logged out", lambda: box.status()["control"]["state"] == "NeedsLogin")
    assert box.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    told = [r["Expiry"] for r in tailnet.control.requests("tailcfg.RegisterRequest")]
    assert told[-1] < "2020", told


def up_by_link(tailnet, box, *words):
    up = box.host.start(BINDIR / "warren", "--socket", box.socket, "up", *words, private=False,
                        log=box.dir / f"up{words[0]}.log")
    link = wait_for("the link", lambda: re.search(r"http://\S+/auth/\w+", up.output()))
    assert up.alive()
    tailnet.control.ask("auth", URL=link[0])
    assert up.popen.wait(15) == 0, up.output()
    assert box.status()["control"]["state"] == "Running"


@pytest.mark.control("-require-auth")
def test_up_shows_the_link_and_waits(tailnet):
    """And again with another key, by link: see README.md."""
    box = bare(tailnet)
    up_by_link(tailnet, box, "--login-server", tailnet.control.url)
    stock = Tailscaled(tailnet, up=None)
    stock.log_in()
    box.host.pings(stock.ip4)
    old = box.status()["identity"]["node"]
    up_by_link(tailnet, box, "--force-reauth")
    assert box.status()["identity"]["node"] != old
    box.host.pings(stock.ip4)


def test_networks_behind_peers_are_reached_unless_told_otherwise(tailnet):
    tsnet, box = Tsnet(tailnet), bare(tailnet)
    box.cli("up", "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any")
    tailnet.control.ask("routes", Key=tsnet.key, Routes=["10.91.0.0/16"])
    unused = "Some peers are advertising routes but --accept-routes is false"

    def routed():
        return "10.91.0.0/16" in box.host.ip("route", "show", "table", "52",
                                             check=False).stdout
    wait_for("the network is routed", routed)
    box.cli("set", "--accept-routes=false")
    wait_for("it is routed no more", lambda: not routed())
    assert unused in box.cli("status").stdout
    assert "10.91.0.0/16" in box.status()["Peer"][tsnet.key]["AllowedIPs"]
    box.cli("set", "--accept-routes")
    wait_for("the network is routed again", routed)
    assert unused not in box.cli("status").stdout
    # The kernel behind tsnet answers for nobody there; that its key is used tells enough.
    sent = box.status()["Peer"][tsnet.key]["TxBytes"]
    box.host.ping("10.91.0.1", wait=1, check=False)
    wait_for("it is sent to that peer",
             lambda: box.status()["Peer"][tsnet.key]["TxBytes"] > sent)
    assert unused in box.cli("up", "--accept-routes=false").stdout
    wait_for("the network is routed no more", lambda: not routed())
    box.host.pings(tsnet.ip4)


class Terminal:
    """`warren up` on a terminal of its own."""

    def __init__(self, box, *words):
        self.fd, slave = pty.openpty()
        self.text = ""
        argv = box.host.argv(BINDIR / "warren", "--socket", box.socket, "up", *words)
        self.popen = subprocess.Popen(
            [str(a) for a in argv], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=self.at_login)
        os.close(slave)

    @staticmethod
    def at_login():
        """What a shell on a terminal has, wherever the suite itself was started."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def until(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode()
                except OSError:         # the other end is closed
                    assert re.search(pattern, self.text), self.text
        return re.search(pattern, self.text)

    def press(self, key):
        os.write(self.fd, key)

    def end(self):
        code = self.popen.wait(15)
        self.until("(?s)$")
        os.close(self.fd)
        return code


@pytest.mark.control("-require-auth")
def test_an_interrupted_up_is_continued_by_the_next(tailnet):
    box = bare(tailnet)
    first = Terminal(box, "--login-server", tailnet.control.url)
    link = first.until(r"http://\S+/auth/\w+")[0]
    first.until("\u2588{20}")               # the QR code
    first.until("waiting for a user to log in")
    first.press(b"\x03")
    first.until("interrupted; the daemon goes on: `warren up` waits again")
    assert first.end() == 1
    status = box.status()
    assert (status["BackendState"], status["AuthURL"]) == ("NeedsLogin", link)
    shown = box.cli("status", check=False)
    assert (shown.returncode, shown.stdout) == (1, f"Logged out.\nLog in at: {link}\n")
    # The same link again; what was said before holds, and the script's form has the picture.
    second = Terminal(box)
    assert second.until(r"http://\S+/auth/\w+")[0] == link
    script = box.host.start(BINDIR / "warren", "--socket", box.socket, "up", "--json",
                            private=False, log=box.dir / "up.json")
    wait_for("the document", lambda: script.output().endswith("}\n"))
    tailnet.control.ask("auth", URL=link)
    second.until("Success")
    assert second.end() == 0
    assert script.popen.wait(15) == 0
    asked, end = json.JSONDecoder().raw_decode(script.output())
    done = json.loads(script.output()[end:])
    assert list(asked) == ["AuthURL", "QR", "BackendState"]
    assert asked["AuthURL"] == link and asked["BackendState"] == "NeedsLogin"
    assert asked["QR"].startswith("data:image/png;base64,iVBOR")
    assert done == {"BackendState": "Running"}
    assert box.cli("up").stdout == ""


@pytest.mark.control("-require-machine-auth")
def test_up_waits_for_an_administrator(tailnet):
    box = bare(tailnet)
    up = Terminal(box, "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any")
    up.until(rf"To approve your machine, visit \(as admin\):\s+{tailnet.control.url}/admin\r\n")
    up.until("waiting for an administrator to approve this machine")
    shown = box.cli("status", check=False)
    assert shown.returncode == 1
    assert shown.stdout == "Machine is not yet approved by tailnet admin.\n"
    assert box.status()["BackendState"] == "NeedsMachineAuth"
    assert box.cli("ip", "-4").stdout.startswith("100.")
    up.press(b"\x03")
    assert up.end() == 1
    again = Terminal(box)
    again.until("/admin\r\n")
    tailnet.control.ask("patch", Key=tailnet.control.key("box"),
                        Fields={"MachineAuthorized": True})
    again.until("Success")
    assert again.end() == 0
    assert box.status()["BackendState"] == "Running"


def test_what_is_offered_and_approved_is_led_to(tailnet):
    """And nothing else, whatever the server approves of."""
    stock, box = Tailscaled(tailnet, up=("--auth-key=tskey-auth-any", "--accept-routes")), \
        bare(tailnet)
    up = box.cli("up", "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any",
                 "--advertise-routes", "198.51.100.0/24", "--advertise-exit-node",
                 "--netfilter-mode", "off")
    assert "Warning: IP forwarding is disabled" in up.stderr
    assert "control.forwarding" in box.cli("doctor", "control", check=False).stdout
    # What is ours to do is done once the server approves.
    assert "Warning" not in box.cli("set", "--netfilter-mode=on").stderr
    forwarding = ("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
    assert box.host.run(*forwarding).stdout.split() == ["0", "0"]
    wait_for("the server is told", lambda: sorted(
        tailnet.control.node("box")["Hostinfo"].get("RoutableIPs") or []) ==
        ["0.0.0.0/0", "198.51.100.0/24", "::/0"])
    for address in ("198.51.100.9", "10.91.0.9", "1.1.1.1", "10.200.0.1"):
        box.host.ip("addr", "add", f"{address}/32", "dev", "lo")
    tailnet.control.ask("routes", Key=tailnet.control.key("box"), Routes=[
        "198.51.100.0/24", "10.91.0.0/24", "0.0.0.0/0", "::/0"])
    stock.pings("198.51.100.9")
    wait_for("both families are forwarded", lambda: box.host.run(*forwarding).stdout.split() ==
             ["1", "1"])
    # The server would lead it here; this node did not offer that.
    wait_for("the peer has both routes", lambda: "10.91.0.0/24" in
             stock.host.ip("route", "show", "table", "52").stdout)
    assert stock.host.ping("10.91.0.9", wait=1, check=False).returncode != 0
    assert stock.host.ping("1.1.1.1", wait=1, check=False).returncode != 0
    stock.cli("set", f"--exit-node={box.cli('ip', '-4').stdout.strip()}")
    stock.pings("1.1.1.1")
    assert stock.host.ping("10.200.0.1", wait=1, check=False).returncode != 0
    # A network that the host is attached to is no internet while it is; the host's own address is.
    box.host.ip("addr", "add", "1.1.1.9/24", "dev", "eth0")
    wait_for("the network is no internet",
             lambda: stock.host.ping("1.1.1.1", wait=1, check=False).returncode != 0)
    stock.pings("1.1.1.9")
    box.host.ip("addr", "del", "1.1.1.9/24", "dev", "eth0")
    stock.pings("1.1.1.1")
    box.cli("set", "--advertise-routes=", "--advertise-exit-node=false")
    assert stock.host.ping("198.51.100.9", wait=1, check=False).returncode != 0
    assert stock.host.ping("1.1.1.1", wait=1, check=False).returncode != 0


def readme_lines():
    """The commands of the README's "Join a tailnet", in order, without their comments."""
    text = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    section = text.partition("\n## Join a tailnet\n")[2].partition("\n## ")[0]
    code = re.findall(r"^    (\S.*)$", section, re.M)
    return [line.partition(" # ")[0].strip() for line in code]


def test_the_readme_word_by_word(tailnet):
    """From the first command until the ping of the peer is answered."""
    host = tailnet.host("box")
    lines = readme_lines()
    server = re.search(r"//([^:/]+)", lines[0])[1]
    host.names[server] = tailnet.CONTROL
    box = Daemon(host, "node: {hostname: box}\n")
    tools = tailnet.lab.dir / "tools"
    tools.mkdir()
    (tools / "warren").write_text(
        f'#!/bin/sh\nexec {BINDIR / "warren"} --socket {box.socket} "$@"\n')
    (tools / "warren").chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    assert lines[0].startswith("warren up "), lines
    assert host.run("sh", "-c", lines[0], env=env, timeout=30).returncode == 0
    peer = Tsnet(tailnet, "tokyo")
    wait_for("the peer is in the map", lambda: peer.ip4 in box.cli("status").stdout)
    at = next(i for i, line in enumerate(lines) if line.startswith("ping "))
    assert at > 1
    for line in lines[1:at]:
        assert peer.ip4 in host.run("sh", "-c", line, env=env).stdout, line
    assert lines[at] == f"ping {peer.ip4}"
    ping = host.start("sh", "-c", f"exec {lines[at]}", private=False, env=env,
                      log=box.dir / "ping.log")
    wait_for("an answer", lambda: f"bytes from {peer.ip4}" in ping.output())
    ping.kill(2)
    assert ping.popen.wait(5) == 0, ping.output()
