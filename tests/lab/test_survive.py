"""What the data plane must survive: replay, clocks, wrong sources, many peers."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest

import lab as lablib
from lab import Daemon, genkey, pubkey, wait_for
from test_wireguard_go import HERE, OURS, OURS6, THEIRS, THEIRS6, Tunnel, metric, yaml

pytestmark = pytest.mark.skipif(bool(lablib.need("wireguard-go", "wg")),
                                reason="wireguard-go or wireguard-tools is not installed")

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

REPLAY = """
import socket, struct, sys, time
port, target, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
tap.settimeout(0.2)
seen, end = [], time.monotonic() + seconds
print("sniffing", flush=True)
while time.monotonic() < end:
    try:
        data, where = tap.recvfrom(65535)
    except TimeoutError:
        continue
    if where[1] == 0x0800 and data[9] == 17 and data[16:20] == socket.inet_aton(target):
        if struct.unpack("!H", data[22:24])[0] == port:
            # The kernel leaves the checksum of what it sends to the device; none is valid too.
            seen.append(data[:26] + bytes(2) + data[28:])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for _ in range(3):
    for data in seen:
        raw.sendto(data, (target, 0))
print(len(seen), flush=True)
"""


def test_replayed_handshakes_and_packets(lab, pair):
    """Everything the peer sent is sent again three times, byte for byte, from its own address."""
    t = Tunnel(lab, pair, endpoint="", back="192.0.2.1:41641")
    replay = t.b.start(sys.executable, "-c", REPLAY, "41641", "192.0.2.1", "3", private=False,
                       log=lab.dir / "replay.log")
    wait_for("the replayer sniffs", lambda: "sniffing" in replay.output())
    t.b.pings(OURS)
    t.b.ping(OURS, count=50, interval=0.02)
    inner_before = t.peer()["rx_packets"]
    assert replay.popen.wait(20) == 0, replay.output()
    count = int(replay.output().split()[-1])
    assert count > 50
    wait_for("the replay is counted", lambda: metric(t.ours, "drops", reason="replay") > 0)
    assert t.peer()["rx_packets"] <= inner_before + 2, "no replayed packet was delivered"
    assert t.peer()["endpoint"] == "192.0.2.2:51820"
    t.b.ping(OURS, count=10, interval=0.02)


def test_source_outside_allowed_ips(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    t.b.ip("addr", "add", "10.99.0.1/32", "dev", t.theirs.ifname)
    before = t.peer()["rx_packets"]
    t.b.run("ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.99.0.1", OURS,
            check=False)
    wait_for("the drops are counted", lambda: metric(t.ours, "drops", reason="source") >= 3)
    assert t.peer()["rx_packets"] <= before + 1
    t.a.ping(THEIRS)


def fake_engine(lab, name, when):
    """An engine that believes it is another time; the monotonic clocks stay as they are."""
    path = lab.dir / name
    path.write_text("#!/bin/sh\n"
                    f"LD_PRELOAD={FAKETIME} "
                    f"FAKETIME='{when}' FAKETIME_DONT_FAKE_MONOTONIC=1 "
                    "exec \"$(dirname \"$0\")/engine.real\" \"$@\"\n")
    path.chmod(0o755)
    real = lab.dir / "engine.real"
    if not real.exists():
        real.symlink_to(pathlib.Path(lablib.os.environ["WARREN_LIBEXECDIR"]) / "warren-engine")
    return path


@pytest.mark.skipif(not pathlib.Path(FAKETIME).exists(),
                    reason="faketime is not installed")
@pytest.mark.parametrize("when", ["-1y", "@1970-01-01 00:00:10"])
def test_clock_behind_after_restart(lab, pair, when):
    """The peer has seen a later TAI64N; ours must not go below it, whatever the clock says."""
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    t.ours.stop()
    t.ours.args = ["--engine", fake_engine(lab, "engine.fake", when)]
    t.ours.start()
    t.a.pings(THEIRS, timeout=20)


def test_five_thousand_peers(lab, pair):
    a, _ = pair
    key = genkey()
    secret = lab.secret("many.key", key)
    head = f"identity: {{node-key: {{file: {secret}}}}}\nwg: {{port: 41641}}\nrouter: {{}}\n"
    head += f"static:\n  addresses: [{OURS}/24]\n  peers:\n"

    def peer(n):
        import base64
        import hashlib
        # Any 32 bytes are a valid X25519 public key.
        public = base64.b64encode(hashlib.sha256(b"%d" % n).digest()).decode()
        return (f"    p{n}: {{public-key: {public}, endpoint: 192.0.2.2:{1024 + n}, "
                f"allowed-ips: [10.{100 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32]}}\n")

    text = head + "".join(peer(n) for n in range(5000))
    daemon = Daemon(a, text)
    assert len(daemon.status()["wg"]["peers"]) == 5000
    assert a.ip("route", "show", "table", "52").stdout.count("\n") >= 5000
    daemon.write(text + peer(5000))
    daemon.cli("reload")
    assert len(daemon.status()["wg"]["peers"]) == 5001
    daemon.stop()
    assert a.ip("route", "show", "table", "52", check=False).stdout == ""


def test_oversized_datagrams(lab, pair):
    t = Tunnel(lab, pair)
    t.a.pings(THEIRS)
    code = ("import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "for n in list(range(0,200))+[1500,9000,65507]:\n"
            " for t in range(6): s.sendto(bytes([t,0,0,0])[:n]+bytes(max(0,n-4)),"
            "('192.0.2.1',41641))\n")
    t.b.run(sys.executable, "-c", code)
    t.a.ping(THEIRS, count=5, interval=0.05)
