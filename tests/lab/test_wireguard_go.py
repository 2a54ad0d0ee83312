"""Our data plane against wireguard-go, which nobody here wrote."""

import pathlib
import signal
import sys
import time

import pytest

import lab as lablib
from lab import Daemon, WireGuardGo, genkey, genpsk, pubkey, wait_for

HERE = pathlib.Path(__file__).parent
OURS, THEIRS = "10.90.0.1", "10.90.0.2"
OURS6, THEIRS6 = "fd00:90::1", "fd00:90::2"

pytestmark = pytest.mark.skipif(bool(lablib.need("wireguard-go", "wg")),
                                reason="wireguard-go or wireguard-tools is not installed")


def yaml(lab, key, peer_key, endpoint="", psk=None, keepalive=None, name="ours"):
    secret = lab.secret(f"{name}.key", key)
    lines = [
        f"identity: {{node-key: {{file: {secret}}}}}",
        "wg: {port: 41641}",
        "static:",
        f"  addresses: [{OURS}/24, '{OURS6}/64']",
        "  peers:",
        "    theirs:",
        f"      public-key: {peer_key}",
        f"      allowed-ips: [{THEIRS}/32, '{THEIRS6}/128']",
    ]
    if endpoint:
        lines.append(f"      endpoint: '{endpoint}'")
    if psk:
        lines.append(f"      psk: {{file: {lab.secret(f'{name}.psk', psk)}}}")
    if keepalive:
        lines.append(f"      keepalive: {keepalive}s")
    lines.append("router: {}")
    return "\n".join(lines) + "\n"


class Tunnel:
    """Ours on host a, wireguard-go on host b."""

    def __init__(self, lab, pair, endpoint="192.0.2.2:51820", back=None, psk=None,
                 keepalive=None, their_keepalive=None, their_psk=None):
        self.lab = lab
        self.a, self.b = pair
        key = genkey()
        self.public = pubkey(key)
        self.theirs = WireGuardGo(self.b, [f"{THEIRS}/24", f"{THEIRS6}/64"])
        self.theirs.peer(self.public, [f"{OURS}/32", f"{OURS6}/128"], endpoint=back,
                         psk=their_psk or psk, keepalive=their_keepalive)
        self.ours = Daemon(self.a, yaml(lab, key, self.theirs.public, endpoint, psk, keepalive))

    def peer(self):
        """Our status of the one peer."""
        return self.ours.status()["wg"]["peers"][0]

    def their_peer(self):
        return self.theirs.dump()[self.public]


def stream(sender, receiver, address, mib, port=5001):
    """Sends mib MiB over TCP and compares checksums on both ends."""
    server = receiver.start(sys.executable, HERE / "stream.py", "serve", address, port,
                            private=False,
                            log=receiver.lab.dir / f"stream-{receiver.name}-{port}.log")
    wait_for("the stream's server listens", lambda: "listening" in server.output())
    sender.run(sys.executable, HERE / "stream.py", "send", address, port, mib, timeout=150)
    assert server.popen.wait(10) == 0


def test_we_initiate(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    t.a.pings(THEIRS6)
    t.a.ping(THEIRS, count=20, interval=0.01)
    assert t.peer()["state"] == "active"


def test_they_initiate(lab, pair):
    t = Tunnel(lab, pair, endpoint="", back="192.0.2.1:41641")
    t.b.pings(OURS)
    t.b.pings(OURS6)
    assert t.peer()["endpoint"] == "192.0.2.2:51820", "the endpoint is learned from the peer"


def test_outer_ipv6(lab, pair):
    t = Tunnel(lab, pair, endpoint="[2001:db8::2]:51820")
    t.a.pings(THEIRS)
    t.a.pings(THEIRS6)
    assert t.peer()["endpoint"] == "[2001:db8::2]:51820"
    stream(t.a, t.b, THEIRS6, 16)


@pytest.mark.alone
@pytest.mark.parametrize("direction", ["out", "in"])
def test_256_mib_over_tcp(lab, pair, direction):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    if direction == "out":
        stream(t.a, t.b, THEIRS, 256)
    else:
        stream(t.b, t.a, OURS, 256)
    peer = t.peer()
    assert peer["tx_bytes" if direction == "out" else "rx_bytes"] > 256 << 20


def test_packets_of_every_size(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    for size in [0, 1, 15, 16, 17, 100, 1200, 1251, 1252]:
        t.a.ping(THEIRS, size=size)
        t.b.ping(OURS, size=size)
    t.b.ping(OURS, size=3000)


def test_preshared_key(lab, pair):
    t = Tunnel(lab, pair, psk=genpsk())
    t.a.pings(THEIRS)


def test_wrong_preshared_key_gives_no_session(lab, pair):
    t = Tunnel(lab, pair, psk=genpsk(), their_psk=genpsk())
    assert t.a.ping(THEIRS, count=3, wait=1, check=False).returncode != 0
    assert t.peer()["last_handshake"] is None
    assert t.peer()["rx_bytes"] == 0


def test_keepalive_of_ours_reaches_an_idle_peer(lab, pair):
    t = Tunnel(lab, pair, keepalive=1)
    wait_for("a handshake without traffic", lambda: t.their_peer()["handshake"])
    before = t.their_peer()["rx"]
    wait_for("keepalives arrive", lambda: t.their_peer()["rx"] >= before + 3 * 32, 8)


def test_passive_keepalive(lab, pair):
    """A peer that received data and has nothing to say answers within 10 s (KEEPALIVE_TIMEOUT)."""
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    t.a.run("nft", "-f", "-", input=f"table ip t {{ chain i {{ type filter hook input priority 0;\n"
            f"ip saddr {THEIRS} drop\n }}\n }}\n")
    before = t.their_peer()["rx"]
    t.b.run("ping", "-n", "-q", "-c", "1", "-W", "1", OURS, check=False)
    wait_for("something comes back", lambda: t.their_peer()["rx"] >= before + 32, 13)


def test_the_peer_roams(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    link = [l for l in t.b.ip("-o", "-4", "addr").stdout.splitlines() if "192.0.2.2" in l]
    dev = link[0].split()[1]
    stream_log = lab.dir / "roam-ping.log"
    ping = t.b.start("ping", "-n", "-i", "0.05", "-W", "1", OURS, private=False, log=stream_log)
    time.sleep(0.5)
    t.b.ip("addr", "add", "192.0.2.77/24", "dev", dev)
    t.b.ip("addr", "del", "192.0.2.2/24", "dev", dev)
    t.b.ip("addr", "replace", "192.0.2.77/24", "dev", dev)
    t.b.ip("route", "replace", "192.0.2.0/24", "dev", dev)
    wait_for("we follow the peer", lambda: t.peer()["endpoint"] == "192.0.2.77:51820", 20)
    assert ping.alive()
    t.b.pings(OURS)
    t.a.pings(THEIRS)


def test_we_roam(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    link = [l for l in t.a.ip("-o", "-4", "addr").stdout.splitlines() if "192.0.2.1/" in l]
    dev = link[0].split()[1]
    t.a.ip("addr", "add", "192.0.2.66/24", "dev", dev)
    t.a.ip("addr", "del", "192.0.2.1/24", "dev", dev)
    t.a.ip("addr", "replace", "192.0.2.66/24", "dev", dev)
    t.a.ip("route", "replace", "192.0.2.0/24", "dev", dev)
    t.a.pings(THEIRS, timeout=20)
    wait_for("the peer follows us", lambda: t.their_peer()["endpoint"] == "192.0.2.66:41641", 20)


@pytest.mark.long
def test_rekey_under_traffic(lab, pair):
    """After REKEY_AFTER_TIME (120 s) the initiator makes a new session; no packet may be lost.

    Two tunnels at a time: in one we are the initiator, in the other the peer is.
    """
    other = lab.host("c"), lab.host("d")
    lab.wire(*other, "192.0.2.1/24", "192.0.2.2/24")
    ours, theirs = Tunnel(lab, pair), Tunnel(lab, other, endpoint="", back="192.0.2.1:41641")
    ours.a.pings(THEIRS)
    theirs.b.pings(OURS)
    first = [t.their_peer()["handshake"] for t in (ours, theirs)]
    pings = [host.start("ping", "-n", "-q", "-i", "0.02", "-c", "6400", "-W", "2", target,
                        private=False)
             for host, target in ((ours.a, THEIRS), (theirs.b, OURS))]
    for ping in pings:
        ping.popen.wait(200)
    for tunnel, ping, before in zip((ours, theirs), pings, first):
        assert tunnel.their_peer()["handshake"] >= before + 119
        words = ping.output().split()
        received = int(words[words.index("received,") - 1])
        assert received >= 6400 - 2, ping.output()


def test_restart_of_the_peer(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    private, public = t.theirs.private, t.theirs.public
    t.theirs.proc.kill(signal.SIGKILL)
    t.theirs.proc.popen.wait(5)
    t.theirs.control.unlink(missing_ok=True)
    t.theirs = WireGuardGo(t.b, [f"{THEIRS}/24", f"{THEIRS6}/64"], private=private)
    assert t.theirs.public == public
    t.theirs.peer(t.public, [f"{OURS}/32", f"{OURS6}/128"])
    # 15 s without an answer, then a new handshake (KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter).
    t.a.pings(THEIRS, timeout=30)


def test_restart_of_ours(lab, pair):
    t = Tunnel(lab, pair, back="192.0.2.1:41641")
    t.a.pings(THEIRS)
    t.ours.stop()
    t.ours.start()
    t.a.pings(THEIRS, timeout=15)
    t.b.pings(OURS, timeout=15)


def flood(lab, host, key, address, port, seconds, *flags, rate=40000):
    return host.start(sys.executable, HERE / "flood.py", *flags, key, address, port, seconds, rate,
                      private=False, log=lab.dir / "flood.log")


@pytest.mark.alone
def test_cookies_from_ours_under_flood(lab, pair):
    """Spoofed initiations load us; the real peer comes through with the cookie we send it."""
    t = Tunnel(lab, pair, endpoint="", back="192.0.2.1:41641")
    t.a.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.2")
    noise = flood(lab, t.b, t.public, "192.0.2.1", 41641, 14)
    wait_for("we are under load", lambda: metric(t.ours, "cookies_sent") > 0, 10)
    t.b.pings(OURS, timeout=12)
    assert noise.alive(), "the handshake came through while the flood was on"
    assert metric(t.ours, "cookies_sent") > 0


@pytest.mark.alone
def test_cookies_from_theirs_under_flood(lab, pair):
    """wireguard-go is loaded and sends cookies; our next initiation carries MAC2."""
    t = Tunnel(lab, pair)
    t.b.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.1")
    noise = flood(lab, t.a, t.theirs.public, "192.0.2.2", 51820, 20)
    time.sleep(1)
    t.a.pings(THEIRS, timeout=18)
    assert noise.alive()
    noise.popen.wait(30)


def metric(daemon, name, **labels):
    """The sum of a metric of wg over its labels."""
    total = 0
    for line in daemon.cli("metrics").stdout.splitlines():
        if line.startswith(f"warren_wg_{name}") and line[len(f"warren_wg_{name}")] in " {":
            if all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += int(float(line.rsplit(" ", 1)[1]))
    return total


def test_garbage_on_the_port(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    noise = flood(lab, t.b, t.public, "192.0.2.1", 41641, 5, "--garbage")
    noise.popen.wait(20)
    t.a.ping(THEIRS, count=10, interval=0.05)
    assert t.ours.proc.alive()


def test_wg_quick_configuration(lab, pair):
    a, b = pair
    key, psk = genkey(), genpsk()
    theirs = WireGuardGo(b, f"{THEIRS}/24")
    theirs.peer(pubkey(key), [f"{OURS}/32"], psk=psk)
    conf = lab.secret("wg0.conf", f"""[Interface]
# the gateway
PrivateKey = {key}
Address = {OURS}/24
ListenPort = 51999
MTU = 1380
PostUp = iptables -A FORWARD -i %i -j ACCEPT

[Peer]
PublicKey = {theirs.public}
PresharedKey = {psk}
AllowedIPs = {THEIRS}/32, 10.91.0.0/16
Endpoint = 192.0.2.2:51820
PersistentKeepalive = 15
""")
    done = lablib.run(lablib.BINDIR / "warren", "wg", "import", conf)
    assert key not in done.stdout and psk not in done.stdout, "secrets stay out of the YAML"
    assert "PostUp" in done.stdout, "what has no equivalent is named"
    text = done.stdout
    # The output names the files that hold the secrets; put them where it says.
    for line, value in (("node-key", key), ("psk", psk)):
        path = next(l for l in text.splitlines() if line in l and "file:" in l)
        path = path.split("file:")[1].strip(" {}'\"")
        text = text.replace(path, str(lab.secret(f"imported-{line}", value)))
    ours = Daemon(a, text)
    a.pings(THEIRS)
    status = ours.status()
    assert status["wg"]["peers"][0]["endpoint"] == "192.0.2.2:51820"
    assert "10.91.0.0/16" in a.ip("route", "show", "table", "52").stdout
